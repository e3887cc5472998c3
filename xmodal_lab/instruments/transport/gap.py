"""Distances between clouds of points, and transport plans between sets of tokens.

Clouds: :func:`w2` (exact, Gaussian, sliced, entropic), :func:`modality_gap`, :func:`sampling_bias`.
Tokens: :func:`emd`, :func:`ipot`, :func:`sinkhorn` on a :func:`cost_matrix`.
Theory: :func:`alpha_star` and :func:`interpolation_cost` (synergy Thm 1 and 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.points import cloud, magnitude, of_length_one
from ...utils.torch_state import wide
from .clouds import w2


@dataclass(frozen=True)
class ModalityGap:
    """How two modalities lie in one latent space, all on unit-norm latents (dml Sec 5.2).

    Attributes:
        w2_squared: W2² between the clouds, 0 to 4, by ``method``.
        centroid_gap: ‖mean of a - mean of b‖, 0 to 2 (Liang et al. 2022).
        variance_a, variance_b: Tr Σ of each cloud, 0 to 1.
        variance_ratio: the larger variance over the smaller, ≥ 1 (dml Tab 5); infinite where one modality has
            collapsed (all its latents point the same way), NaN where both have.
        method: how W2 was computed.
    """

    w2_squared: float
    centroid_gap: float
    variance_a: float
    variance_b: float
    variance_ratio: float
    method: str


def modality_gap(z_a: Any, z_b: Any, method: str = "exact", **options: Any) -> ModalityGap:
    """W2², distance of the centroids and variances of two modalities' latents, brought to unit norm.

    Args:
        z_a: (n, d) latents of one modality.
        z_b: (m, d) latents of the other, in the same space; rows need not be paired.
        method: of :func:`w2`; ``options`` go there as well.

    Returns:
        W2², the distance of the centroids, and both variances with their ratio.

    Raises:
        ValueError: as :func:`w2`; a latent of length 0.

    Source: dml Sec 5.2. W2² between samples is biased upwards: see :func:`sampling_bias`.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> pictures = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> gap = xl.transport.modality_gap(pictures, -pictures)
        >>> round(gap.w2_squared, 3), round(gap.centroid_gap, 3), round(gap.variance_ratio, 3)
        (2.0, 1.414, 1.0)
    """
    with torch.no_grad():
        a, b = _unit("z_a", z_a), _unit("z_b", z_b)
        distance = w2(a, b, method, **options)
        return ModalityGap(
            w2_squared=float(wide(distance)) ** 2,
            centroid_gap=float((wide(a).mean(0) - wide(b).mean(0)).norm()),
            variance_a=float(latent_variance(a)),
            variance_b=float(latent_variance(b)),
            variance_ratio=float(_ratio(latent_variance(a), latent_variance(b))),
            method=method,
        )


def latent_variance(z: Any) -> Tensor:
    """Tr Σ of latents brought to unit norm, Σ = 1/N Σ (z - z̄)(z - z̄)ᵀ: 1 - ‖z̄‖², 0 to 1.

    Args:
        z: (n, d) latents.

    Returns:
        0-d tensor, differentiable; exactly 0 where all latents point the same way, up to rounding.

    Raises:
        ValueError: an empty cloud, NaN or Inf, a latent of length 0.

    Source: dml Sec 5.2.
    """
    unit = _unit("z", z)
    double = wide(unit)
    spread: Tensor = (double - double.mean(0)).square().sum(1).mean()
    # Latents of length 1 lie within a rounding of each other where all point the same way.
    rounding = (4 * torch.finfo(unit.dtype).eps) ** 2
    return torch.where(spread > rounding, spread, 0 * spread).to(unit)


def variance_ratio(z_a: Any, z_b: Any) -> Tensor:
    """The larger of two latent variances over the smaller, ≥ 1: the ratio in brackets of dml Tab 5.

    Args:
        z_a, z_b: (n, d), (m, d') latents of two modalities.

    Returns:
        0-d tensor, differentiable. Infinite where one modality has collapsed, so that all its latents point the same
        way; NaN where both have, since 0 / 0 is no ratio.

    Raises:
        ValueError: as :func:`latent_variance`.
    """
    return _ratio(latent_variance(z_a), latent_variance(z_b))


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    dtype = torch.promote_types(a.dtype, b.dtype)
    low, high = torch.minimum(a.to(dtype), b.to(dtype)), torch.maximum(a.to(dtype), b.to(dtype))
    if float(low) > 0:
        return high / low
    return (low + high) * 0 + (torch.inf if float(high) > 0 else torch.nan)  # a constant: nothing to pull by


def _unit(what: str, value: Any) -> Tensor:
    z = cloud(what, value)
    zero = (z == 0).all(1)
    if bool(zero.any()):
        raise ValueError(
            f"{what} holds {int(zero.sum())} latent(s) of length 0, the first at row {int(zero.nonzero()[0])}; "
            "they have no direction. Drop those rows (absent modalities, say)."
        )
    return of_length_one(z)


@dataclass(frozen=True, eq=False)
class SamplingBias:
    """What W2 says about two halves of one cloud, whose true distance is 0.

    Attributes:
        value: mean over the splits, in the units of the points.
        stderr: its standard error over the splits. They share points, so it says how well ``value`` is known
            for this cloud, not for the law behind it.
        values: (splits,) W2 per split.
        points: points in each half.
    """

    value: float
    stderr: float
    values: Tensor
    points: int


def sampling_bias(a: Any, method: str = "exact", splits: int = 10, seed: int = 0, **options: Any) -> SamplingBias:
    """How much of an empirical W2 is there even when nothing differs: W2 between random halves of one cloud.

    The exact distance between two samples of one law falls only as n^(-1/d), so in 64 dimensions it is mostly
    this bias. A distance between two clouds means something as far as it exceeds the bias *at the same number of
    points*: compare it with clouds of ``points`` points each.

    Args:
        a: (n, d) points, n ≥ 2; of an odd number one is left out per split.
        method: of :func:`w2`; ``options`` go there as well (weights do not).
        splits: random splits, at least 2 (10: ours).
        seed: of the splits.

    Returns:
        W2 of each split, with mean and standard error.

    Raises:
        ValueError: one point only, weights given, and as :func:`w2`.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> cloud = torch.randn(60, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        >>> round(float(xl.transport.sampling_bias(cloud).value), 1)  # between halves of one cloud
        2.7
    """
    points = cloud("a", a).detach()
    splits = check.integer("splits", splits, at_least=2)
    half = len(points) // 2
    if half == 0:
        raise ValueError("sampling_bias needs at least 2 points to split, got 1.")
    if options.get("weights_a") is not None or options.get("weights_b") is not None:
        raise ValueError("sampling_bias splits points of equal weight; resample the cloud by its weights first.")
    generator = torch.Generator().manual_seed(check.integer("seed", seed))
    values = []
    for _ in range(splits):
        order = torch.randperm(len(points), generator=generator).to(points.device)
        values.append(w2(points[order[:half]], points[order[half : 2 * half]], method, **options))
    spread = wide(torch.stack(values))
    unit = magnitude(spread)
    stderr = unit * float((spread / unit).std()) / math.sqrt(splits)
    return SamplingBias(float(spread.mean()), stderr, spread, half)
