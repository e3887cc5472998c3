"""Directions in parameter space: which parameters a name stands for, normal numbers, norms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..utils import checks as check
from ..utils.torch_state import wide
from . import Loss

# Normal numbers that torch makes together; how many are drawn at once, and how many of them are worked on at once, in
# the second-level cache; from how many on it pays (ours, measured).
LANES, AT_ONCE, IN_CACHE, ENOUGH = 16, 1 << 17, 1 << 15, 1 << 12


def normalize_(direction: Tensor, theta: Tensor, normalization: str) -> Tensor:
    """Scale each filter of ``direction`` ("filter"), or all of it ("layer"), to the norm of ``theta``'s, in place."""
    whole = normalization == "layer" or theta.ndim < 2
    axes = tuple(range(theta.ndim)) if whole else tuple(range(1, theta.ndim))
    mine: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    wanted: Tensor = torch.linalg.vector_norm(theta, dim=axes, keepdim=True)
    return direction.mul_(wanted.div(mine.clamp_min(torch.finfo(mine.dtype).tiny)))


def gaussian(theta: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers shaped like θ, the same for every dtype and device.

    Drawn in float64 a piece at a time, so that a large layer needs no second copy.
    """
    flat = torch.empty(theta.numel(), dtype=theta.dtype, device=theta.device)
    _fill(flat, _pieces([len(flat)]), generator)
    return flat.view(theta.shape)


class Gaussians:
    """:func:`gaussian` for each of ``params``, anew at every call; where all are of one dtype they lie in one tensor.

    Args:
        params: name -> tensor of that shape, dtype and device.
        generator: of the CPU.
    """

    def __init__(self, params: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self._params, self._generator = params, generator
        self._kinds = list({(p.dtype, p.device) for p in params.values()})
        self._sizes = [p.numel() for p in params.values()]
        self._ranges = _pieces(self._sizes)

    def __call__(self) -> dict[str, Tensor]:
        """The next numbers; they go to a GPU in one copy."""
        if len(self._kinds) != 1:
            return {name: gaussian(p, self._generator) for name, p in self._params.items()}
        ((dtype, device),) = self._kinds
        flat = torch.empty(sum(self._sizes), dtype=dtype)
        _fill(flat, self._ranges, self._generator)
        parts = flat.to(device).split(self._sizes)
        return {name: part.view_as(p) for part, (name, p) in zip(parts, self._params.items(), strict=True)}


def normals(count: int, generator: torch.Generator) -> Tensor:
    """``torch.randn(count, dtype=torch.float64)`` to rounding, in two thirds of the time (Box and Muller 1958).

    Torch turns uniform numbers into normal ones sixteen at a time, eight radii and eight angles, each with a call of
    its own; here whole vectors of radii and of angles go through vector instructions.

    Args:
        count: how many.
        generator: of the CPU; it is left as torch would leave it.

    Returns:
        (count,) float64.
    """
    if count < ENOUGH:
        return torch.randn(count, generator=generator, dtype=torch.float64)
    found = torch.rand(count, generator=generator, dtype=torch.float64)
    for piece in found[: count - count % LANES].split(IN_CACHE):
        _box_muller_(piece)
    if count % LANES:  # torch draws the last sixteen once more, then
        last = torch.rand(LANES, generator=generator, dtype=torch.float64)
        _box_muller_(last)
        found[-LANES:] = last
    return found


def _box_muller_(uniform: Tensor) -> None:
    """Uniform numbers in [0, 1), eight for radii and eight for angles in turn, become normal ones, in place."""
    pairs = uniform.view(-1, 2, LANES // 2)
    radius, angle = pairs.transpose(0, 1).clone(memory_format=torch.contiguous_format)
    radius.neg_().add_(1).log_().mul_(-2).sqrt_()
    angle.mul_(2 * math.pi)
    torch.mul(radius, angle.cos(), out=pairs[:, 0])
    torch.mul(radius, angle.sin_(), out=pairs[:, 1])


def _pieces(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Where draws begin and end that fill parts of these ``sizes``; many small ones in one, where that is the same."""
    found, start, stop = [], 0, 0
    for size in [min(AT_ONCE, whole - at) for whole in sizes for at in range(0, whole, AT_ONCE)]:
        if size < LANES or stop + size - start > AT_ONCE:
            found.append((start, stop))
            start = stop
        stop += size
        if size % LANES:
            found.append((start, stop))
            start = stop
    return [(first, last) for first, last in [*found, (start, stop)] if last > first]


def _fill(flat: Tensor, ranges: Sequence[tuple[int, int]], generator: torch.Generator) -> None:
    for start, stop in ranges:
        flat[start:stop].copy_(normals(stop - start, generator))


def parameter_names(loss: Loss, params: str | Sequence[str] | None) -> list[str]:
    """Names of the parameters that a block name, a parameter name or a list of names stands for."""
    if params is None:
        return list(loss.params)
    blocks = loss.blocks
    asked = [params] if isinstance(params, str) else check.listed("params", params)
    names: list[str] = []
    for item in asked:
        check.instance("a block or parameter in params", item, str)
        if item in blocks:
            names += blocks[item]
        elif f"encoders.{item}" in blocks:  # a modality stands for its encoder
            names += blocks[f"encoders.{item}"]
        else:
            inside = [name for name in loss.params if name.startswith(f"{item}.")]
            names += inside or [check.one_of("block or parameter", item, [*blocks, *loss.params])]
    return list(dict.fromkeys(names))


def norm_of(params: Mapping[str, Tensor]) -> Tensor:
    """‖θ‖ over all parameters, float64."""
    parts = [wide(torch.linalg.vector_norm(p)) for p in params.values()]
    total: Tensor = torch.linalg.vector_norm(torch.stack(parts))
    return total
