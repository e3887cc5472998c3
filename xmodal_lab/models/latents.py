"""What a recipe asks of a model: latents by modality, and logits from them, of all or of one alone.

Three methods make any module answer, as :class:`~xmodal_lab.LateFusion` and :class:`~xmodal_lab.one_tower.OneTower` do:

    modalities                      names of the modalities that are classified
    latents(inputs)                 {modality: (N, d)}, or tokens {modality: (N, T, d)} with masks (tokens.Hidden)
    classify(latents, only=None)    logits (N, C); ``only`` sends one modality alone through the shared part
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..utils import checks as check
from .tokens import Hidden

METHODS = ("modalities", "latents", "classify")


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model makes of one batch.

    Attributes:
        latents: modality -> (N, d), or (N, T, d) tokens.
        masks: modality -> (N, T) bool, which tokens are there; empty for vectors.
        outputs: (N, C) logits.
    """

    latents: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    outputs: Tensor


def answering(model: nn.Module) -> nn.Module:
    """Return ``model`` if it has the three methods.

    Raises:
        TypeError: which it lacks, and what they are.
    """
    lacking = [name for name in METHODS if not hasattr(model, name)]
    if lacking:
        raise TypeError(
            f"recipes and gaps need a model with {', '.join(METHODS)}; {type(model).__name__} lacks "
            f"{', '.join(lacking)}. latents(inputs) gives {{modality: (N, d)}}, classify(latents, only=None) logits "
            "(N, C), modalities their names; LateFusion and OneTower have all three."
        )
    return model


def encoders_of(model: nn.Module) -> tuple[str, ...]:
    """The modalities that the model can encode: those that it classifies, and its auxiliary ones."""
    names: Any = model.modalities
    return (*names, *getattr(model, "auxiliary", ()))


def apart(found: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Latents by modality and the masks of their tokens, from what ``model.latents`` gave.

    Raises:
        TypeError: neither a dict of tensors nor a Hidden.
    """
    if isinstance(found, Hidden):
        return dict(found.tokens), dict(found.masks)
    if not isinstance(found, Mapping) or not found or not all(isinstance(z, Tensor) for z in found.values()):
        raise TypeError(f"latents(inputs) must give {{modality: tensor}} or tokens.Hidden, got {type(found).__name__}.")
    for m, z in found.items():
        if z.ndim not in (2, 3):
            raise ValueError(f"latents of {m!r} must be (N, d), or tokens (N, T, d), got {tuple(z.shape)}.")
    masks = {m: z.new_ones(z.shape[:2], dtype=torch.bool) for m, z in found.items() if z.ndim == 3}
    return dict(found), masks


def see(model: nn.Module, inputs: Mapping[str, Tensor]) -> Seen:
    """Latents, masks and outputs of one batch, in one pass."""
    names: Any = model.modalities
    found = model.latents({m: inputs[m] for m in names})  # type: ignore[operator]
    outputs = model.classify(found)  # type: ignore[operator]
    return Seen(*apart(found), outputs)


def alone(model: nn.Module, modality: str, x: Tensor) -> Tensor:
    """Logits (N, C) of rows ``x`` (N, ...) of one modality, through the shared part of the model alone."""
    check.one_of("modality", modality, encoders_of(model))
    outputs: Tensor = model.classify(model.latents({modality: x}), only=modality)  # type: ignore[operator]
    return outputs


@torch.no_grad()
def latents_of(model: nn.Module, inputs: Mapping[str, Tensor], batch_size: int = 512) -> dict[str, Tensor]:
    """Latents of all rows as vectors, modality -> (N, d): of tokens the mean of those that are there."""
    names: Any = model.modalities
    rows = len(next(iter(inputs.values())))
    parts = []
    for k in range(0, rows, batch_size):
        values, masks = apart(model.latents({m: inputs[m][k : k + batch_size] for m in names}))  # type: ignore[operator]
        parts.append({m: pooled(z, masks.get(m)) for m, z in values.items()})
    return {m: torch.cat([part[m] for part in parts]) for m in parts[0]}


def pooled(z: Tensor, mask: Tensor | None) -> Tensor:
    """Vectors (..., d): ``z`` itself, or the mean of the tokens (..., T, d) that ``mask`` (..., T) says are there."""
    if mask is None:
        return z
    here = mask[..., None].to(z.dtype)
    return (z * here).sum(-2) / here.sum(-2).clamp_min(1)
