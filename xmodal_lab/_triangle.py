"""Where between two modalities the best interpolated latent lies: synergy Theorems 1 and 2.

A triangle of distances Δ_i, Δ_j, Δ_ij decides. The public names live in :mod:`xmodal_lab.transport`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import _checks as check


@dataclass(frozen=True, eq=False)
class AlphaStar:
    """The interpolation that brings z_k = (1-α) z_i + α z_j closest to the true latent, by Theorem 1.

    Numbers, arrays or tensors, as the distances were given.

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
        delta_ij: W2(P_i, P_j), above 0. All three: numbers, arrays or tensors that broadcast.
        delta: δ = W2(P_j, P̂_j) of Def 4, or None for Theorem 1.
        tolerance: how far the triangle inequality may be missed, relative to the longest side (1e-6: ours, for
            rounding; estimates by different methods may need more).

    Raises:
        ValueError: a negative or non-finite distance, Δ_ij = 0, sides that are no triangle, shapes that do not
            broadcast.

    Example:
        >>> import xmodal_lab as xl
        >>> best = xl.transport.alpha_star(1.0, 2.0, 1.5)  # the other model is far from the truth
        >>> round(best.raw, 3), round(best.clipped, 3)
        (-0.167, 0.0)
    """
    d_i, d_j, d_ij, back = _sides(delta_i, delta_j, delta_ij)
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
    extra = torch.zeros_like(d_i) if delta is None else _side("delta", delta).to(d_i.device)
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
    weight = check.finite("alpha", check.as_tensor("alpha", alpha, torch.float64))
    d_i, d_j, d_ij, back = _sides(delta_i, delta_j, delta_ij, alpha)
    try:
        return back(_quadratic(weight, d_i, d_j, d_ij))
    except RuntimeError:
        raise ValueError(
            f"alpha must broadcast with the distances, got shapes {tuple(weight.shape)} and {tuple(d_i.shape)}."
        ) from None


def _quadratic(alpha: Tensor, d_i: Tensor, d_j: Tensor, d_ij: Tensor) -> Tensor:
    return (1 - alpha) * d_i.square() + alpha * d_j.square() - alpha * (1 - alpha) * d_ij.square()


def _sides(delta_i: Any, delta_j: Any, delta_ij: Any, *others: Any) -> tuple[Tensor, Tensor, Tensor, Any]:
    """The three sides in float64, broadcast, and what turns a result back into the kind that was given."""
    given = (delta_i, delta_j, delta_ij, *others)
    named = zip(("delta_i", "delta_j", "delta_ij"), given[:3], strict=True)
    sides = [_side(name, value) for name, value in named]
    try:
        d_i, d_j, d_ij = torch.broadcast_tensors(*sides)
    except RuntimeError:
        shapes = ", ".join(str(tuple(side.shape)) for side in sides)
        raise ValueError(f"delta_i, delta_j and delta_ij must broadcast, got shapes {shapes}.") from None
    tensors = [value for value in given if isinstance(value, Tensor)]
    if tensors:
        dtype = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
        return d_i, d_j, d_ij, lambda result: check.finite("the result (from squares that overflow)", result.to(dtype))
    if any(isinstance(value, (np.ndarray, list, tuple)) for value in given):
        return d_i, d_j, d_ij, lambda result: check.finite("the result (from squares that overflow)", result).numpy()
    return d_i, d_j, d_ij, lambda result: float(check.finite("the result (from squares that overflow)", result))


def _side(name: str, value: Any) -> Tensor:
    side = check.finite(name, check.as_tensor(name, value, torch.float64))
    if bool((side < 0).any()):
        raise ValueError(f"{name} is a distance and must be at least 0, got {float(side.min()):g}.")
    return side


def _refuse(bad: Tensor, message: str, shown: Tensor) -> None:
    """Raise for the first entry that is ``bad``, and say which it was."""
    if bool(bad.any()):
        first = tuple(int(i) for i in bad.nonzero()[0])
        where = f" (the first of {int(bad.sum())} at {first})" if first else ""
        raise ValueError(message.format(float(shown[first])) + where)
