"""Clouds of points: what is taken for one, lengths without overflow, squared distances."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from . import checks as check
from .shapes import Float
from .torch_state import full_precision


@full_precision()
@check.shapechecked
def squared_distances(a: Float[Tensor, "... p d"], b: Float[Tensor, "... q d"]) -> Float[Tensor, "... p q"]:
    """‖a_p - b_q‖² by one matrix product, centred first so that a common offset costs no digits."""
    centre = a.detach().nan_to_num(0, 0, 0).mean(-2, keepdim=True)  # any centre will do, but not a padded NaN
    a, b = a - centre, b - centre
    inner = a @ b.transpose(-1, -2)
    return (a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :] - 2 * inner).clamp_min(0)


def of_length_one(x: Tensor) -> Tensor:
    """The rows of ``x`` (..., d) brought to length 1, however large or small; rows of zeros stay zeros."""
    return F.normalize(x / power_near(x), dim=-1)


def power_near(x: Tensor) -> Tensor:
    """Per row a power of two near its largest number, by which one divides without rounding; 1 for rows of zeros."""
    largest = x.detach().abs().amax(-1, keepdim=True)
    return torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1)


def magnitude(*clouds: Tensor) -> float:
    """A power of two near the largest number in ``clouds``: divided by it, squares neither overflow nor vanish."""
    largest = max(float(x.detach().abs().max()) for x in clouds)
    return 2.0 ** max(-1000, min(math.frexp(largest)[1], 1000))


def floating(what: str, value: Any) -> Tensor:
    """``value`` as a real floating tensor of at least single precision."""
    tensor = check.as_tensor(what, value)
    if tensor.is_complex():
        raise TypeError(f"{what} must be real, got {tensor.dtype}; take .real or .abs() first.")
    if not tensor.is_floating_point():
        return tensor.to(torch.get_default_dtype())
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def cloud(what: str, value: Any) -> Tensor:
    """``value`` as a cloud (n, d), n and d at least 1, finite and of floating dtype."""
    _in_rows(what, value)
    points = floating(what, value)
    if points.ndim != 2:
        hint = f"; use {what}[:, None] for points on a line" if points.ndim == 1 else ""
        raise ValueError(f"{what} must have shape (points, d), got {tuple(points.shape)}{hint}.")
    if 0 in points.shape:
        raise ValueError(f"{what} is empty, shape {tuple(points.shape)}; a cloud needs at least one point.")
    check.finite(what, points.detach())
    return points


# Dimensions of a DataArray that count the numbers of a point (ours).
_ACROSS = ("feature", "features", "d", "dim", "latent", "component", "channel", "embedding")


def _in_rows(what: str, value: Any) -> None:
    """Refuse a DataArray whose names say that its points are columns; a plain array has none."""
    names = [str(d) for d in getattr(value, "dims", ())] if hasattr(value, "coords") else []
    if len(names) == 2 and names[0].casefold() in _ACROSS and names[1].casefold() not in _ACROSS:
        raise ValueError(
            f"{what} has dimensions ({names[0]!r}, {names[1]!r}), but a cloud has its points first; use "
            f"{what}.transpose({names[1]!r}, {names[0]!r})."
        )
