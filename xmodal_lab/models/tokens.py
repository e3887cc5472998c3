"""Tokens of several modalities in one sequence: before a transformer (:class:`Tokens`) and after (:class:`Hidden`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..utils import checks as check
from ..utils.torch_state import wide


@dataclass(frozen=True, eq=False)
class Tokens:
    """Embedded tokens, as they enter a transformer.

    Attributes:
        values: modality -> (N, L_m, d).
        masks: modality -> (N, L_m) bool, False at padding.
        special: (N, S, d) class tokens, which stand in front.
    """

    values: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    special: Tensor

    def sequence(self) -> tuple[Tensor, Tensor]:
        """[special; tokens_1; tokens_2; …] (N, L, d) and its mask (N, L)."""
        here = self.special.new_ones(self.special.shape[:2], dtype=torch.bool)
        return torch.cat([self.special, *self.values.values()], 1), torch.cat([here, *self.masks.values()], 1)

    def split(self, x: Tensor, cls: Tensor) -> Hidden:
        """The transformer's output ``x`` (N, L, d) by modality, beside its class token ``cls``."""
        sizes = [self.special.shape[1], *(v.shape[1] for v in self.values.values())]
        _, *parts = x.split(sizes, 1)
        return Hidden(dict(zip(self.values, parts, strict=True)), dict(self.masks), cls)

    def spread(self) -> dict[str, float]:
        """Standard deviation of each modality's embedded values, padding left out: the unit of relative noise."""
        return {m: float(wide(v.detach()[self.masks[m]]).std(correction=0)) for m, v in self.values.items()}

    def noisy(self, modality: str, amplitude: float, *, relative: bool = False, seed: int = 0) -> Tokens:
        """Uniform noise on [-amplitude, amplitude] added to one modality's embedded tokens (wma Sec 4.1: 3).

        Args:
            modality: which.
            amplitude: half the width; with ``relative`` in units of this modality's own :meth:`spread`.
            seed: of the noise.

        Returns:
            The tokens with the noise; these stay as they are.

        Raises:
            ValueError: an unknown modality, amplitude below 0.
        """
        check.one_of("modality", modality, self.values)
        size = check.non_negative("amplitude of the noise", amplitude)
        x = self.values[modality]
        size *= self.spread()[modality] if relative else 1.0
        draw = torch.rand(
            x.shape, generator=torch.Generator().manual_seed(check.integer("seed", seed)), dtype=x.dtype
        ).to(x)
        spoilt = check.finite(f"the tokens of {modality!r} with noise of amplitude {size:g}", x + size * (2 * draw - 1))
        return replace(self, values={**self.values, modality: spoilt})

    def without(self, modality: str, share: float = 0.5, *, seed: int = 0) -> Tokens:
        """One modality's embedded tokens set to 0 in round(share · N) samples (wma Sec 4.1: half of them).

        ``seed`` says which. The tokens stay in the sequence and are attended to, as the paper has it.

        Raises:
            ValueError: an unknown modality, a share outside [0, 1].
        """
        check.one_of("modality", modality, self.values)
        x = self.values[modality]
        gone = round(check.share("share of samples without the modality", share) * len(x))
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(check.integer("seed", seed)))[:gone].to(
            x.device
        )
        return replace(self, values={**self.values, modality: x.index_fill(0, rows, 0.0)})


@dataclass(frozen=True, eq=False)
class Hidden:
    """What a transformer made of tokens: H = [H_cls; H_1; H_2; …] (wma Eq 3).

    Attributes:
        tokens: modality -> (N, L_m, d).
        masks: modality -> (N, L_m) bool, False at padding.
        cls: (N, d) what the head reads.
    """

    tokens: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    cls: Tensor


def alone(hidden: Hidden, only: str | None) -> None:
    """Refuse to classify ``only`` one modality from a class token that has seen others.

    Raises:
        ValueError: which others.
    """
    if only is not None and tuple(hidden.tokens) != (only,):
        raise ValueError(
            f"the class token has seen {', '.join(hidden.tokens)}; for {only!r} alone use "
            f"classify(latents({{{only!r}: x}}), only={only!r})."
        )


def check_masks(masks: Mapping[str, Tensor]) -> None:
    """Refuse samples that have no token left in some modality.

    Raises:
        ValueError: which samples of which modality.
    """
    for m, mask in masks.items():
        empty = (~mask.any(-1)).nonzero().flatten().tolist()
        if empty:
            raise ValueError(
                f"all tokens of modality {m!r} are masked in {len(empty)} of {len(mask)} samples "
                f"({', '.join(map(str, empty[:5]))}{', …' if len(empty) > 5 else ''}); there is nothing to transport. "
                "Drop these samples, or leave them one token."
            )
