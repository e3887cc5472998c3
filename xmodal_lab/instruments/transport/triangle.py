"""Where between two modalities the best interpolated latent lies: synergy Theorems 1 and 2.

A triangle of distances Δ_i, Δ_j, Δ_ij decides. The public names live in :mod:`xmodal_lab.transport`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...utils import checks as check


@dataclass(frozen=True, eq=False)
class AlphaStar:
    """The interpolation that brings z_k = (1-α) z_i + α z_j closest to the true latent, by Theorem 1.

    Numbers, arrays, DataArrays or tensors, as the distances were given.

    Attributes:
        raw: α* by Eq 4. It may lie outside [0, 1]: the triangle inequality does not confine it.
        clipped: α* brought into [0, 1], which is what training can use.
        bounds: (low, high) by Cor 1.1 or 2.1. They hold for ``clipped``; of ``raw`` only the inner one does.
        delta_k: √f(clipped), the bound on Δ_k there, at most min(Δ_i, Δ_j).
        delta_k_raw: √f(raw), the smallest value of √f anywhere.
    """

    raw: Any
    clipped: Any
    bounds: tuple[Any, Any]
    delta_k: Any
    delta_k_raw: Any


def alpha_star(delta_i: Any, delta_j: Any, delta_ij: Any, *, delta: Any = None, tolerance: float = 1e-6) -> AlphaStar:
    """α* = (Δ_i² - Δ_j² + Δ_ij²) / (2 Δ_ij²), the weight on modality j that minimises f(α) (synergy Thm 1, Eq 4).

    With ``delta`` it is Theorem 2: ``delta_j`` and ``delta_ij`` are then Δ̂_j and Δ̂_ij, measured on the imperfect
    representation, and the lower bound becomes Δ_i / (Δ_i + Δ_j + δ) (Cor 2.1). With Δ̂_j in the place of Δ_j both
    bounds hold; Eq 41 of the paper takes Δ̂_j ≥ Δ_j for granted, which the definition of δ does not give.

    f bounds Δ_k² along generalised geodesics with base P*. Along a W2 geodesic the inequality turns round, and for
    another pairing it is neither.

    Args:
        delta_i, delta_j: W2(P*, P_i) and W2(P*, P_j), not squared.
        delta_ij: W2(P_i, P_j), above 0. All three: numbers, arrays or tensors that broadcast; DataArrays do so by
            the names of their dimensions.
        delta: δ = W2(P_j, P̂_j) of Def 4, or None for Theorem 1.
        tolerance: how far the triangle inequality may be missed, relative to the longest side (1e-6: ours, for
            rounding; estimates by different methods may need more).

    Returns:
        α* as printed and clipped, its bounds, and Δ_k there.

    Raises:
        ValueError: a negative or non-finite distance, Δ_ij = 0, sides that are no triangle, shapes that do not
            broadcast.

    Example:
        >>> import xmodal_lab as xl
        >>> best = xl.transport.alpha_star(1.0, 2.0, 1.5)  # the other model is far from the truth
        >>> round(best.raw, 3), round(best.clipped, 3)
        (-0.167, 0.0)
    """
    d_i, d_j, d_ij, back, beside = _sides(delta_i, delta_j, delta_ij, 0.0 if delta is None else delta)
    tolerance = check.non_negative("tolerance", tolerance)
    longest = torch.maximum(torch.maximum(d_i, d_j), d_ij)
    excess = 2 * longest - (d_i + d_j + d_ij)
    _refuse(
        excess > tolerance * longest,
        "no triangle: the longest of delta_i, delta_j, delta_ij exceeds the sum of the others by {:.3g}, so they are "
        "not W2 distances between the same three distributions. Did you pass squares, or mix estimators? "
        "Estimates with noise need a larger tolerance.",
        excess,
    )
    _refuse(
        d_ij == 0,
        "delta_ij is 0: P_i and P_j are the same distribution, so every α gives the same Δ_k = {:.3g} and no α* is "
        "best (Assumption 1 of the paper excludes this).",
        d_i,
    )
    raw = (d_i.square() - d_j.square() + d_ij.square()) / (2 * d_ij.square())
    clipped = raw.clamp(0, 1)
    extra = _side("delta", beside)
    if extra.ndim > d_i.ndim or any(n not in (1, m) for n, m in zip(extra.shape[::-1], d_i.shape[::-1], strict=False)):
        raise ValueError(f"delta must broadcast to the distances' {tuple(d_i.shape)}, got {tuple(extra.shape)}.")
    j_is_better = d_i > d_j
    low = torch.where(j_is_better, d_i / (d_i + d_j + extra), 0)
    high = torch.where(j_is_better, 1, d_i / (d_i + d_j))
    at_clipped, at_raw = (_quadratic(alpha, d_i, d_j, d_ij).clamp_min(0).sqrt() for alpha in (clipped, raw))
    return AlphaStar(back(raw), back(clipped), (back(low), back(high)), back(at_clipped), back(at_raw))


def interpolation_cost(alpha: Any, delta_i: Any, delta_j: Any, delta_ij: Any) -> Any:
    """f(α) = (1-α) Δ_i² + α Δ_j² - α(1-α) Δ_ij² (synergy Eq 13), the squared distance of z_k by Theorem 1.

    Args:
        alpha: weight on modality j; any real number.
        delta_i, delta_j, delta_ij: distances, not squared. All four broadcast.

    Returns:
        A number, an array or a tensor, as given.

    Raises:
        ValueError: a negative or non-finite distance, shapes that do not broadcast.

    Example:
        >>> import xmodal_lab as xl
        >>> [xl.transport.interpolation_cost(alpha, 1.0, 1.0, 1.0) for alpha in (0.0, 0.5, 1.0)]
        [1.0, 0.75, 1.0]
    """
    d_i, d_j, d_ij, back, weight = _sides(delta_i, delta_j, delta_ij, alpha)
    weight = check.finite("alpha", _double("alpha", weight))
    try:
        return back(_quadratic(weight, d_i, d_j, d_ij))
    except RuntimeError:
        raise ValueError(
            f"alpha must broadcast with the distances, got shapes {tuple(weight.shape)} and {tuple(d_i.shape)}."
        ) from None


def _quadratic(alpha: Tensor, d_i: Tensor, d_j: Tensor, d_ij: Tensor) -> Tensor:
    return (1 - alpha) * d_i.square() + alpha * d_j.square() - alpha * (1 - alpha) * d_ij.square()


def _sides(delta_i: Any, delta_j: Any, delta_ij: Any, other: Any) -> tuple[Tensor, Tensor, Tensor, Any, Any]:
    """The three sides in float64, broadcast; what turns a result into the kind that was given; the fourth."""
    given, frame = _aligned((delta_i, delta_j, delta_ij, other))
    names = ("delta_i", "delta_j", "delta_ij", "alpha")
    tensors = {name: value for name, value in zip(names, given, strict=False) if isinstance(value, Tensor)}
    # Numbers on the CPU go with tensors of any device, as in PyTorch.
    placed = {name: t for name, t in tensors.items() if t.ndim or t.device.type != "cpu"}
    if placed:
        check.one_device(**placed)
    device = next(iter(placed.values())).device if placed else torch.device("cpu")
    sides = [_side(name, value) for name, value in zip(names, given[:3], strict=False)]
    try:
        d_i, d_j, d_ij = torch.broadcast_tensors(*sides)
    except RuntimeError:
        shapes = ", ".join(str(tuple(side.shape)) for side in sides)
        raise ValueError(f"delta_i, delta_j and delta_ij must broadcast, got shapes {shapes}.") from None

    def back(result: Tensor) -> Any:
        check.finite("the result (from squares that overflow)", result)
        if tensors:
            dtype = torch.float64 if any(t.dtype == torch.float64 for t in tensors.values()) else torch.float32
            return check.finite("the result (from squares that overflow)", result.to(dtype)).to(device)
        if frame is not None:
            return frame.copy(data=np.broadcast_to(result.numpy(), frame.shape))
        several = any(isinstance(value, (np.ndarray, list, tuple)) for value in given)
        return result.numpy() if several else float(result)

    return d_i, d_j, d_ij, back, given[3]


def _aligned(given: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """DataArrays broadcast by the names of their dimensions, as arrays, and one of their frame; others as they are."""
    named = [k for k, value in enumerate(given) if hasattr(value, "dims") and hasattr(value, "coords")]
    if not named:
        return given, None
    import xarray as xr

    try:
        frames = xr.broadcast(*xr.align(*(given[k] for k in named), join="exact"))
    except ValueError as error:
        raise ValueError(f"the distances' labels differ, so they do not belong together: {error}") from None
    if any(np.ndim(v) for k, v in enumerate(given) if k not in named):
        raise ValueError("give all distances as DataArrays, or none: axes without names do not say where they belong.")
    values = list(given)
    for k, frame in zip(named, frames, strict=True):
        values[k] = frame.values
    plain = frames[0].drop_attrs() if hasattr(frames[0], "drop_attrs") else frames[0]
    return tuple(values), plain.rename(None)


def _side(name: str, value: Any) -> Tensor:
    side = check.finite(name, _double(name, value))
    if bool((side < 0).any()):
        raise ValueError(f"{name} is a distance and must be at least 0, got {float(side.min()):g}.")
    return side


def _double(name: str, value: Any) -> Tensor:
    """In double precision, on the CPU: not every device has it."""
    return check.as_tensor(
        name, check.as_tensor(name, value).cpu() if isinstance(value, Tensor) else value, torch.float64
    )


def _refuse(bad: Tensor, message: str, shown: Tensor) -> None:
    """Raise for the first entry that is ``bad``, and say which it was."""
    if bool(bad.any()):
        first = tuple(int(i) for i in bad.nonzero()[0])
        where = f" (the first of {int(bad.sum())} at {first})" if first else ""
        raise ValueError(message.format(float(shown[first])) + where)
