"""Maximum mean discrepancy between two clouds. The public names live in :mod:`xmodal_lab.metrics`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...utils import checks as check
from ...utils.effort import tell_if_long
from ...utils.points import cloud
from ...utils.torch_state import wide
from .medians import median_above_zero

KERNELS = ("rbf", "laplacian", "linear", "polynomial")
_SUBSET = "take a random subset of each cloud (five thousand points have an error of about 1e-3), or kernel='linear'"
# Rows of a tile of the Gram matrix, numbers of all labels at a time, and tiles kept for a gradient (ours).
_ROWS, _LABELS, _WHOLE = 1024, 1 << 24, 1 << 24


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

    The Gram matrix is never held: its tiles are made, summed and forgotten, also for gradients and relabellings.

    Args:
        a: (n, d) points.
        b: (m, d) points.
        kernel: which.
        bandwidth: σ; the median distance between different points of both clouds when None (median heuristic).
        unbiased: leave out k(x, x): unbiased, may be negative. Otherwise ≥ 0, and 0 for equal clouds.
        permutations: relabellings of the pooled points for a p-value, 0 for none.
        seed: of the relabellings.

    Returns:
        MMD² as a differentiable 0-d tensor, the bandwidth, and the p-value where it was asked for.

    Warns:
        UserWarning: clouds so large that it takes more than about a minute.

    Raises:
        ValueError: clouds of different dimension or device, an empty cloud, one point with ``unbiased``, NaN.

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
    if kernel != "linear":
        pairs = (len(x) + len(y)) ** 2 / 2
        passes = 1 + (bandwidth is None and kernel != "polynomial") + (permutations > 0)
        tell_if_long(f"the MMD of {len(x)} and {len(y)} points", passes * pairs, _SUBSET)
    dtype = torch.promote_types(x.dtype, y.dtype)
    pooled = wide(torch.cat([x, y]))
    if kernel != "polynomial":  # changes no distance and no difference of means, and costs fewer digits
        pooled = pooled - pooled.detach().mean(0)
    gram = _Gram.of(pooled, kernel, bandwidth)
    sums = gram.sums(len(x))
    value = _discrepancy(*sums, len(x), len(y), gram.traces(len(x)) if unbiased else None)
    if not bool(torch.isfinite(value.detach())):
        raise ValueError(
            f"the {kernel} kernel overflows on points of this size; divide both clouds by one number first."
        )
    p_value = None
    if permutations:
        order = torch.Generator().manual_seed(check.integer("seed", seed))
        with torch.no_grad():
            shuffled, largest = _shuffled(gram, len(x), permutations, order, unbiased)
        p_value = (1 + int((shuffled >= value.detach() - 1e-12 * largest).sum())) / (1 + permutations)
    return MMD(value.to(x.device, dtype), gram.sigma, p_value)


@dataclass(frozen=True, eq=False)
class _Gram:
    """The kernel between all points (N, d), a tile at a time."""

    points: Tensor
    kernel: str
    sigma: float
    rows: int

    @staticmethod
    def of(points: Tensor, kernel: str, bandwidth: float | None) -> _Gram:
        rows = _ROWS if points.device.type == "cpu" else 8 * _ROWS
        if kernel in ("linear", "polynomial"):
            return _Gram(points, kernel, math.nan, rows)
        if bandwidth is not None:
            return _Gram(points, kernel, check.positive("bandwidth", bandwidth), rows)
        with torch.no_grad():
            distances, each = (_squared, _squared_each) if kernel == "rbf" else (_manhattan, _manhattan_each)
            median = median_above_zero(points.detach(), distances, each, rows)
        median = 1.0 if math.isnan(median) else median  # all points are the same point
        return _Gram(points, kernel, median**0.5 if kernel == "rbf" else median, rows)

    def tile(self, x: Tensor, y: Tensor) -> Tensor:
        """k(x_i, y_j), (n, m)."""
        if self.kernel == "linear":
            return x @ y.T
        if self.kernel == "polynomial":
            return (x @ y.T / x.shape[1] + 1) ** 3
        if self.kernel == "laplacian":
            return (-_manhattan(x, y) / self.sigma).exp()
        x, y = x / self.sigma, y / self.sigma
        apart = torch.addmm(x.square().sum(1)[:, None], x, y.T, beta=-0.5).sub_(y.square().sum(1), alpha=0.5)
        return apart.clamp_(max=0).exp_()

    def sums(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Σ k within the first n points, within the others, and across."""
        if self.kernel == "linear":
            a, b = self.points[:n].sum(0), self.points[n:].sum(0)
            return a @ a, b @ b, a @ b
        clouds = self.points[:n].split(self.rows), self.points[n:].split(self.rows)
        whole = len(self.points) ** 2 <= _WHOLE
        within = []
        for parts in clouds:
            own = [self._total(p, p, whole) for p in parts]
            apart = [2 * self._total(p, q, whole) for k, p in enumerate(parts) for q in parts[k + 1 :]]
            within.append(torch.stack([*own, *apart]).sum())
        across = [self._total(p, q, whole) for p in clouds[0] for q in clouds[1]]
        return within[0], within[1], torch.stack(across).sum()

    def _total(self, x: Tensor, y: Tensor, whole: bool) -> Tensor:
        """Σ k(x_i, y_j); a tile among many is made anew for its gradient, so that never more than one is kept."""

        def total(x: Tensor, y: Tensor) -> Tensor:
            return self.tile(x, y).sum()

        if whole or not (torch.is_grad_enabled() and self.points.requires_grad):
            return total(x, y)
        found: Tensor = checkpoint(total, x, y, use_reentrant=False, preserve_rng_state=False)
        return found

    def diagonal(self) -> Tensor:
        """k(x_i, x_i), (N,)."""
        if self.kernel in ("rbf", "laplacian"):
            return self.points.new_ones(len(self.points))
        norms = self.points.square().sum(1)
        return norms if self.kernel == "linear" else (norms / self.points.shape[1] + 1) ** 3

    def traces(self, n: int) -> tuple[Tensor, Tensor]:
        """Σ k(x, x) of the first n points and of the others."""
        own = self.diagonal()
        return own[:n].sum(), own[n:].sum()

    def times(self, columns: Tensor) -> tuple[Tensor, float]:
        """K @ columns (N, P), and the largest |k| seen."""
        parts, ends = self.points.split(self.rows), columns.split(self.rows)
        found = [torch.zeros_like(end) for end in ends]
        largest = 0.0
        for i, x in enumerate(parts):
            for j, y in enumerate(parts[i:], i):
                tile = self.tile(x, y)
                largest = max(largest, float(tile.abs().max()))
                found[i] += tile @ ends[j]
                if i != j:
                    found[j] += tile.T @ ends[i]
        return torch.cat(found), largest


def _shuffled(
    gram: _Gram, n: int, permutations: int, generator: torch.Generator, unbiased: bool
) -> tuple[Tensor, float]:
    """MMD² of relabellings, (permutations,), and the largest entry of the Gram matrix."""
    count = len(gram.points)
    first = torch.zeros(count, dtype=torch.float64)
    first[:n] = 1
    orders = torch.rand(permutations, count, generator=generator, dtype=torch.float32).argsort(1)
    own, found, largest = gram.diagonal(), [], 0.0
    for part in orders.split(max(1, _LABELS // count)):
        labels = torch.cat([first[part].T, torch.ones(count, 1, dtype=torch.float64)], 1).to(gram.points)
        through, most = gram.times(labels)
        largest = max(largest, most)
        labels, rows = labels[:, :-1], through[:, -1:]
        within_a = (labels * through[:, :-1]).sum(0)
        across = (labels * rows).sum(0) - within_a
        within_b = rows.sum() - 2 * across - within_a
        traces = (own @ labels, own.sum() - own @ labels) if unbiased else None
        found.append(_discrepancy(within_a, within_b, across, n, count - n, traces))
    return torch.cat(found), largest


def _discrepancy(
    within_a: Tensor, within_b: Tensor, across: Tensor, n: int, m: int, traces: tuple[Tensor, Tensor] | None
) -> Tensor:
    """MMD² from the sums over the Gram matrix; without the diagonal where its traces are given."""
    if traces is None:
        return within_a / n**2 + within_b / m**2 - 2 * across / (n * m)
    within_a, within_b = within_a - traces[0], within_b - traces[1]
    return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * across / (n * m)


def _squared(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i - y_j‖²; differences that are only the rounding of the points' lengths are exactly 0."""
    of_x, of_y = x.square().sum(1), y.square().sum(1)
    apart = torch.addmm(of_x[:, None], x, y.T, alpha=-2).add_(of_y)
    return torch.threshold_(apart, 8 * torch.finfo(x.dtype).eps * float(of_x.max() + of_y.max()), 0)


def _squared_each(x: Tensor, y: Tensor) -> Tensor:
    apart, size = (x - y).square().sum(1), x.square().sum(1).max() + y.square().sum(1).max()
    return apart.masked_fill_(apart <= 8 * torch.finfo(x.dtype).eps * float(size), 0)


def _manhattan(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, p=1)


def _manhattan_each(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).abs().sum(1)
