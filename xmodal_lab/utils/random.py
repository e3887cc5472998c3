"""Random numbers by purpose: what is drawn for one thing changes nothing that is drawn for another.

Everything is drawn on the CPU, so that it is the same whatever device the numbers go to.
"""

from __future__ import annotations

import operator
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


def mixed(seed: int, stream: int = 0, offset: int = 1, bits: int = 63) -> int:
    """A generator's seed for (seed, stream): neighbours, which plain sums would make share a stream, lie far apart.

    Args:
        seed: the user's.
        stream: an epoch, or the number of a purpose.
        offset: tells callers apart that number their streams alike.
        bits: of the result.

    Returns:
        seed · ⌊2³²/φ⌋ + stream · 0x85EBCA77 + offset, cut to ``bits``.
    """
    return (seed * 0x9E3779B1 + stream * 0x85EBCA77 + offset) & ((1 << bits) - 1)


def seed_of(seed: int, *purpose: str) -> int:
    """A generator's seed for (seed, purpose), where a purpose has a name; a CRC of both."""
    # A NumPy integer or a 0-d tensor prints otherwise than the int that it equals.
    return zlib.crc32(":".join((str(operator.index(seed)), *purpose)).encode())


class Streams:
    """One generator per member of a stack, so that each draws as if it were alone.

    Args:
        seeds: of the members.
        stream: number of the purpose.
        device: where the numbers go.
    """

    def __init__(self, seeds: Sequence[int], stream: int, device: torch.device | None = None) -> None:
        self._each = [torch.Generator().manual_seed(100_003 * (seed + 1) + stream) for seed in seeds]
        self.device = torch.device("cpu") if device is None else device

    def _there(self, drawn: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(drawn)).to(self.device)

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        """(S, *shape) whole numbers below ``high``."""
        return self._there([torch.randint(0, high, shape, generator=g) for g in self._each])

    def normal(self, shape: Sequence[int]) -> Tensor:
        """(S, *shape) standard normal numbers."""
        return self._there([torch.randn(tuple(shape), generator=g) for g in self._each])

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """(S, *shape) in [-1, 1]."""
        return self._there([2 * torch.rand(tuple(shape), generator=g) - 1 for g in self._each])

    def orders(self, n: int) -> Tensor:
        """(S, n) a random order each."""
        return self._there([torch.randperm(n, generator=g) for g in self._each])

    def chosen(self, among: Tensor, n: int) -> Tensor:
        """(S, n) rows drawn with replacement where ``among`` (S, M) is True; from all rows where it never is."""
        weights = torch.where(among.any(1, keepdim=True), among, True).float().cpu()
        picks = [torch.multinomial(w, n, True, generator=g) for w, g in zip(weights, self._each, strict=True)]
        return self._there(picks)
