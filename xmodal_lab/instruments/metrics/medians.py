"""The median of all distances between points, exactly, without a table of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

# Distances that are kept at a time; fewest and most pairs drawn at random to guess where the median lies (ours).
_KEPT, _FEW, _MANY = 1 << 22, 1 << 14, 1 << 17

Distances = Callable[[Tensor, Tensor], Tensor]  # rows (n, d), (m, d) -> (n, m), exactly 0 for equal points


def median_above_zero(points: Tensor, distances: Distances, each: Distances, rows: int) -> float:
    """The (lower) median of the distances above 0 between ``points`` (N, d); NaN where there is none.

    A random sample of pairs says between which two values the median lies, to six standard errors of the sample; one
    pass over all pairs counts what is below and keeps what is between. Where that is too much, as among many equal
    distances, the bracket is narrowed to one of its bins first.

    Args:
        points: (N, d), float64.
        distances: of all pairs of two sets of rows; ``each``: of row i with row i, (n, d), (n, d) -> (n,).
        rows: at a time.
    """
    low, high = _guess(points, each)
    while True:
        below, inside, positive = _pass(points, distances, rows, low, high)
        middle = (positive - 1) // 2
        count = int(inside.sum()) if isinstance(inside, _Bins) else len(inside)
        if positive == 0:
            return math.nan
        if middle < below:  # missed: one case in a thousand millions, or a point far from all others
            low, high = -math.inf, low
        elif middle >= below + count:
            low, high = high, math.inf
        elif isinstance(inside, _Bins):
            low, high = inside.around(middle - below)
            if high - low <= 1e-14 * high:
                return high
        else:
            return _smallest(inside, middle - below)


def _smallest(values: Tensor, rank: int) -> float:
    """The one with ``rank`` smaller ones. NumPy selects with vector instructions, in a third of torch's time."""
    if values.device.type == "cpu":
        return float(np.partition(values.numpy(), rank)[rank])
    return float(values.kthvalue(rank + 1).values)


class _Bins:
    """How many distances lie in each of 4096 bins between two values."""

    def __init__(self, low: float, high: float, like: Tensor) -> None:
        self.edges = torch.linspace(low, high, 4097, dtype=torch.float64, device=like.device)
        self.counts = torch.zeros(4096, dtype=torch.int64, device=like.device)

    def add(self, values: Tensor) -> None:
        at = torch.bucketize(values, self.edges) - 1  # edge below < value ≤ edge above
        self.counts += torch.bincount(at.clamp(0, 4095), minlength=4096)

    def sum(self) -> int:
        return int(self.counts.sum())

    def around(self, rank: int) -> tuple[float, float]:
        k = int(torch.searchsorted(self.counts.cumsum(0), rank, right=True))
        return float(self.edges[k]), float(self.edges[k + 1])


def _guess(points: Tensor, each: Distances) -> tuple[float, float]:
    n = len(points)
    if n * n <= 2 * _KEPT:
        return -math.inf, math.inf
    # So many that half of what may be kept lies between the two guesses; to draw more costs more than to keep fewer.
    drawn = min(max(_FEW, int((6 * n * n / _KEPT) ** 2)), _MANY)
    pairs = torch.randint(n, (2, drawn), generator=torch.Generator().manual_seed(0)).to(points.device)
    found = torch.cat([each(points[i], points[j]) for i, j in pairs.split(1 << 12, 1)])
    found = found[found > 0].sort().values
    if len(found) < 1000:
        return -math.inf, math.inf
    reach = 3 / math.sqrt(len(found))  # six standard errors of a share near a half
    low, high = (float(found[int(share * (len(found) - 1))]) for share in (0.5 - reach, 0.5 + reach))
    return math.nextafter(low, -math.inf), high


def _pass(points: Tensor, distances: Distances, rows: int, low: float, high: float) -> tuple[int, Tensor | _Bins, int]:
    """How many distances above 0 are at most ``low``, those in (low, high], and how many there are above 0."""
    below = positive = 0
    kept: list[Tensor] = []
    bins: _Bins | None = None
    for part in _pairs(points, distances, rows):
        above_zero, above_low, inside = _split(part, max(low, 0.0), high)
        positive += above_zero
        below += above_zero - above_low
        if bins is None and sum(map(len, kept)) + len(inside) > _KEPT:
            top = high if math.isfinite(high) else _diameter(points, distances, rows)
            bins = _Bins(max(low, 0.0), top, points)
            for known in kept:
                bins.add(known)
        if bins is None:
            kept.append(inside)
        else:
            bins.add(inside)
    return below, torch.cat(kept) if bins is None else bins, positive


def _split(part: Tensor, low: float, high: float) -> tuple[int, int, Tensor]:
    """How many numbers are above 0, and above ``low`` ≥ 0; and those in (low, high].

    NumPy counts and picks with vector instructions, in a sixth of torch's time.
    """
    if part.device.type != "cpu":
        above = part > low
        return int((part > 0).sum()), int(above.sum()), part[above & (part <= high)]
    values = part.numpy()
    above_low = values > low
    inside = torch.from_numpy(values[above_low & (values <= high)])
    return int(np.count_nonzero(values > 0)), int(np.count_nonzero(above_low)), inside


def _diameter(points: Tensor, distances: Distances, rows: int) -> float:
    return max(float(part.max()) for part in _pairs(points, distances, rows) if part.numel())


def _pairs(points: Tensor, distances: Distances, rows: int) -> Iterator[Tensor]:
    """The distances of each two different rows, once, among zeros."""
    parts = points.split(rows)
    for k, first in enumerate(parts):
        own = distances(first, first)
        yield own.triu_(1)  # what is 0 is no distance that counts
        for second in parts[k + 1 :]:
            yield distances(first, second)
