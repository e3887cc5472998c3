"""Maximum mean discrepancy between two clouds. The public names live in :mod:`xmodal_lab.metrics`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import _checks as check
from ._clouds import cloud
from ._costs import squared_distances

KERNELS = ("rbf", "laplacian", "linear", "polynomial")


@dataclass(frozen=True, eq=False)
class MMD:
    """A squared maximum mean discrepancy.

    Attributes:
        value: 0-d tensor, MMD², differentiable in the points.
        bandwidth: σ of the rbf or laplacian kernel, NaN for the others.
        p_value: share of relabellings with at least this value, or None when none were asked for.
    """

    value: Tensor
    bandwidth: float
    p_value: float | None


def mmd(
    a: Any,
    b: Any,
    kernel: str = "rbf",
    *,
    bandwidth: float | None = None,
    unbiased: bool = False,
    permutations: int = 0,
    seed: int = 0,
) -> MMD:
    """MMD² = E k(a, a') + E k(b, b') - 2 E k(a, b) (Gretton et al. 2012; cox Fig 5).

    Kernels: ``rbf`` exp(-‖x-y‖² / 2σ²), ``laplacian`` exp(-‖x-y‖₁ / σ), ``linear`` x·y (then MMD² is the squared
    distance of the means), ``polynomial`` (x·y / d + 1)³.

    Args:
        a: (n, d) points.
        b: (m, d) points.
        kernel: which.
        bandwidth: σ; the median distance between different points of both clouds when None (median heuristic).
        unbiased: leave out k(x, x): unbiased, may be negative. Otherwise ≥ 0, and 0 for equal clouds.
        permutations: relabellings of the pooled points for a p-value, 0 for none.
        seed: of the relabellings.

    Raises:
        ValueError: clouds of different dimension, an empty cloud, one point with ``unbiased``, NaN.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> a = torch.tensor([[0.0], [1.0]])
        >>> float(xl.metrics.mmd(a, a + 2.0, kernel="linear").value)  # the squared distance of the means
        4.0
    """
    check.one_of("kernel", kernel, KERNELS)
    x, y = cloud("a", a), cloud("b", b)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"the clouds have different dimension: a has {x.shape[1]} columns, b has {y.shape[1]}.")
    check.one_device(a=x, b=y)
    if unbiased and min(len(x), len(y)) < 2:
        raise ValueError(f"the unbiased MMD needs at least 2 points in each cloud, got {len(x)} and {len(y)}.")
    permutations = check.integer("permutations", permutations, at_least=0)
    dtype = torch.promote_types(x.dtype, y.dtype)
    pooled = torch.cat([x, y]).double()
    gram, sigma = _gram(pooled, kernel, bandwidth)
    first = torch.zeros(1, len(pooled), dtype=torch.float64, device=gram.device)
    first[:, : len(x)] = 1
    value = _discrepancy(gram, first, unbiased)[0]
    if not bool(torch.isfinite(value.detach())):
        raise ValueError(
            f"the {kernel} kernel overflows on points of this size; divide both clouds by one number first."
        )
    p_value = None
    if permutations:
        generator = torch.Generator().manual_seed(check.integer("seed", seed))
        orders = (
            torch.rand(permutations, len(pooled), generator=generator, dtype=torch.float32).argsort(1).to(gram.device)
        )
        shuffled = _discrepancy(gram.detach(), first[0][orders], unbiased)
        rounding = 1e-12 * gram.detach().abs().max()
        p_value = (1 + int((shuffled >= value.detach() - rounding).sum())) / (1 + permutations)
    return MMD(value.to(dtype), sigma, p_value)


def _gram(points: Tensor, kernel: str, bandwidth: float | None) -> tuple[Tensor, float]:
    if kernel == "linear":
        centred = points - points.detach().mean(0)  # changes no MMD, and costs fewer digits
        return centred @ centred.T, float("nan")
    if kernel == "polynomial":
        return (points @ points.T / points.shape[1] + 1) ** 3, float("nan")
    apart = squared_distances(points, points) if kernel == "rbf" else torch.cdist(points, points, p=1)
    if bandwidth is None:
        upper = torch.triu_indices(len(points), len(points), 1, device=points.device)
        distances = apart.detach()[upper[0], upper[1]]
        distances = distances[distances > 0]
        median = float(distances.median()) if len(distances) else 1.0
        sigma = median**0.5 if kernel == "rbf" else median
    else:
        sigma = check.positive("bandwidth", bandwidth)
    return (-0.5 * apart / sigma / sigma if kernel == "rbf" else -apart / sigma).exp(), sigma


def _discrepancy(gram: Tensor, first: Tensor, unbiased: bool) -> Tensor:
    """MMD² for each row of ``first`` (P, N), which is 1 on the points of the first cloud."""
    second = 1 - first
    n, m = first.sum(1), second.sum(1)
    to_first = first @ gram
    within_a, across = (to_first * first).sum(1), (to_first * second).sum(1)
    within_b = ((second @ gram) * second).sum(1)
    if not unbiased:
        return within_a / n**2 + within_b / m**2 - 2 * across / (n * m)
    own = gram.diagonal()
    within_a, within_b = within_a - first @ own, within_b - second @ own
    return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * across / (n * m)
