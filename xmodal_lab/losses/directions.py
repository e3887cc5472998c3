"""Directions in parameter space: which parameters a name stands for, normal numbers, norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..utils import checks as check
from ..utils.torch_state import wide
from . import Loss


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
    for piece in flat.split(1 << 17):
        piece.copy_(torch.randn(len(piece), generator=generator, dtype=torch.float64))
    return flat.view(theta.shape)


def gaussians(params: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """:func:`gaussian` for each of ``params``; they go to a GPU in one copy for each dtype."""
    if all(p.device.type == "cpu" for p in params.values()):
        return {name: gaussian(p, generator) for name, p in params.items()}
    here = {name: gaussian(torch.empty(p.shape, dtype=p.dtype), generator) for name, p in params.items()}
    found: dict[str, Tensor] = {}
    for kind in dict.fromkeys((p.dtype, p.device) for p in params.values()):
        names = [name for name, p in params.items() if (p.dtype, p.device) == kind]
        there = torch.cat([here[name].reshape(-1) for name in names]).to(kind[1])
        parts = there.split([here[name].numel() for name in names])
        found |= {name: part.view(here[name].shape) for name, part in zip(names, parts, strict=True)}
    return {name: found[name] for name in params}


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
