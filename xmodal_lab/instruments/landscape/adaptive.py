"""A plane from few of its points: each next one where what is known says least, until no point may be far off.

Through the points that are known goes a smooth surface, a Gaussian process with a Matérn 3/2 kernel whose length is
twice the plane: nearly the spline of r³. How far it may be off at another point is a product. Its standard deviation
there says how far the next known points are. How much that means on this surface, here, is said by two things, whose
geometric mean counts: how far the six nearest points would have been missed by a surface through all others
(leave-one-out, in standard deviations), and how far a second, rougher surface (exponential kernel) runs from the first
around here. Where ``CAUTION`` times that is above the tolerance, points are computed, a quarter of each batch drawn at
random; and no plane is finished before one of ``FEWEST`` of its points is known and a whole batch was foreseen within
the tolerance. If four fifths of the points are not enough, or cannot be at the rate at which errors fall, all are
computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Axis = NDArray[np.int64]

# Points along an axis up to which every point is computed, as too little is left to save (ours).
WHOLE = 11
# What is computed first: a grid of so many points along each axis, and rings around θ at these shares of the axis, as
# what nets are built of changes fastest there (ours).
COARSEST, RINGS = 6, (1 / 40, 1 / 10)
# Points of a batch: at least, or one of so many of those known; one of so many of them is drawn at random (ours).
BATCH, ONE_OF, DRAWN = 9, 14, 4
# One of so many points that are known of any plane, so that nothing hides between the first ones (ours).
FEWEST = 14
# Share of the points, and number of them, beyond which the rest is computed too (ours; memory grows with the number).
ENOUGH, MOST = 0.8, 2000
# The power of the number of points by which errors fall at most (ours; 2 is the fourth order of a distance).
FALL = 3
# Lengths of the two kernels in half planes, and the variance of constant and slopes beside theirs, which is 1 (ours).
SMOOTH, ROUGH, TREND = 4.0, 8.0, 100.0
# Nearest points whose errors count, and the share of the median error of all points that is expected everywhere (ours).
NEAREST, EVERYWHERE = 6, 0.1
# By how much the largest of many errors is above what is expected of each: chosen on the nets of
# benchmarks/tolerance.py, which therefore do not judge it (docs/speed.md).
CAUTION = 4.0
# By how much more a point on the border may be off, which known points surround on one side only. Without it, of 75
# planes two were beyond the tolerance, both there.
BORDER = 2.0
# Errors below this share of the tolerance are nothing, and errors are alike up to these digits: where a surface fits to
# rounding, or points lie in symmetry, the next point is not one processor's rounding (ours).
NOTHING, DIGITS = 1e-3, 6
# Variance that counts as none: beside 1, and beside the rounding of float64 (ours).
_NONE = 1e-12


@dataclass(frozen=True)
class Filled:
    """A plane of which some points were computed.

    Attributes:
        values: (points, points); those computed are exact, the others read off a surface through them.
        computed: how many were computed.
        error: estimate of the largest error of the others; 0 where every point was computed.
    """

    values: Values
    computed: int
    error: float


def adaptive(evaluate: Callable[[Axis], Values], points: int, tolerance: float) -> Filled:
    """Fill a plane of ``points`` x ``points`` to within ``tolerance`` times the range of its values.

    Args:
        evaluate: indices (m, 2) of points -> their values (m,).
        points: along each axis.
        tolerance: largest error, as a share of the range.
    """
    plane = _Plane(evaluate, points)
    if points <= WHOLE:
        return plane.whole()
    plane.compute(start(points))
    if not plane.finite:
        return plane.whole()
    surface, beside = _Surface(points, _matern), _Surface(points, _exponential)
    trend = _quadratic(plane)
    new, foreseen, generator = plane.order, False, np.random.default_rng(0)
    for one in (surface, beside):
        one.extend(new)
        one.through(new, plane.flat[new] - trend[new])
    while True:
        scale = np.maximum(_scale(surface, beside), NOTHING * plane.allowed(tolerance) / CAUTION)
        expected = CAUTION * scale * np.sqrt(surface.variance)
        known, most = len(plane.order), min(ENOUGH * points**2, MOST)
        hopeless = expected.max() > plane.allowed(tolerance) * (most / known) ** FALL
        if hopeless or known > most:
            return plane.whole()
        if foreseen and known * FEWEST >= points**2 and expected.max() <= plane.allowed(tolerance):
            filled = (surface.mean + trend).reshape(points, points)
            return Filled(np.where(plane.known, plane.values, filled), len(plane.order), float(expected.max()))
        new = _batch(surface, scale, generator)
        beside.extend(new)
        plane.compute(new)
        if not plane.finite:
            return plane.whole()
        missed = np.abs(surface.mean[new] + trend[new] - plane.flat[new]).max()
        foreseen = bool(missed <= plane.allowed(tolerance))
        for one in (surface, beside):
            one.through(new, plane.flat[new] - trend[new])


def start(points: int) -> list[int]:
    """Numbers of the points that are computed first: a coarse grid, the centre, and rings of eight around it."""
    axis = np.unique(np.round(np.linspace(0, points - 1, COARSEST)).astype(int)).tolist()
    first, centre = set(itertools.product(axis, axis)), points // 2
    for ring in RINGS:
        radius = max(1, round(ring * (points - 1)))
        steps = (centre - radius, centre, centre + radius)
        first |= set(itertools.product(steps, steps))
    return sorted(i * points + j for i, j in first)


class _Plane:
    """The values that are known."""

    def __init__(self, evaluate: Callable[[Axis], Values], points: int) -> None:
        self._evaluate, self._points = evaluate, points
        self.flat: Values = np.zeros(points**2)
        self.order: list[int] = []

    def compute(self, wanted: list[int]) -> None:
        at = np.stack(np.divmod(np.array(wanted, dtype=np.int64), self._points), 1)
        self.flat[wanted] = self._evaluate(at)
        self.order = self.order + wanted

    def whole(self) -> Filled:
        """Every point computed."""
        rest = np.flatnonzero(~self.known.ravel()).tolist()
        if rest:
            self.compute(rest)
        return Filled(self.values, self.flat.size, 0.0)

    @property
    def values(self) -> Values:
        return self.flat.reshape(self._points, self._points)

    @property
    def known(self) -> NDArray[np.bool_]:
        mask = np.zeros(self.flat.size, dtype=bool)
        mask[self.order] = True
        return mask.reshape(self._points, self._points)

    @property
    def finite(self) -> bool:
        """Whether a surface can go through what is known."""
        return bool(np.isfinite(self.flat[self.order]).all())

    def allowed(self, tolerance: float) -> float:
        """A share of the range of what is known, which is no larger than that of the whole plane; rounding is free."""
        known = self.flat[self.order]
        return float(tolerance * np.ptp(known) + 8 * np.finfo(known.dtype).eps * np.abs(known).max())


class _Surface:
    """A Gaussian process through known points of a grid, built up one point at a time (Newton basis).

    Attributes:
        order: numbers of its points.
        mean, variance: (N,) at every point of the grid, given the values; the variance needs none of them.
    """

    def __init__(self, points: int, kernel: Callable[[Values], Values]) -> None:
        at = np.linspace(-1, 1, points)
        self.at: Values = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
        self._kernel, self._points = kernel, points
        self._trend = np.sqrt(TREND) * np.column_stack([np.ones(len(self.at)), self.at])
        self._rows: Values = np.zeros((64, len(self.at)))
        self._factors: Values = np.zeros(0)
        self.order: list[int] = []
        self.mean: Values = np.zeros(len(self.at))
        self.variance: Values = 1 + np.square(self._trend).sum(1)

    def add(self, i: int) -> None:
        """One more point, whose value is not asked for yet: the variance falls."""
        made = len(self.order)
        if made == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        row = self._kernel(np.sqrt(np.square(self.at - self.at[i]).sum(1))) + self._trend @ self._trend[i]
        row -= self._rows[:made, i] @ self._rows[:made]
        row /= np.sqrt(max(self.variance[i], _NONE))
        self._rows[made] = row
        self.order.append(i)
        self.variance = np.maximum(self.variance - row * row, 0)
        self.variance[i] = 0

    def extend(self, new: list[int]) -> None:
        """Several more points."""
        for i in new:
            self.add(i)

    def through(self, new: list[int], values: Values) -> None:
        """The values of the points added last: the mean goes through them."""
        from scipy.linalg import solve_triangular

        known = len(self._factors)
        rows = self._rows[known : len(self.order)]
        factors = solve_triangular(rows[:, new].T, values - self.mean[new], lower=True)
        self._factors = np.concatenate([self._factors, factors])
        self.mean = self.mean + factors @ rows

    def left_out(self) -> Values:
        """By how many standard deviations a surface through all other points would miss each, (m,)."""
        from scipy.linalg import solve_triangular

        made = len(self.order)
        inverse = solve_triangular(self._rows[:made, self.order].T, np.eye(made), lower=True)
        missed: Values = np.abs(inverse.T @ self._factors) / np.sqrt(np.square(inverse).sum(0))
        return missed

    def largest_around(self, values: Values) -> Values:
        """The largest of ``values`` (N,) at a point and its eight neighbours."""
        from scipy.ndimage import maximum_filter

        found: Values = maximum_filter(values.reshape(self._points, -1), 3, mode="nearest").ravel()
        return found


def _matern(distance: Values) -> Values:
    steps = np.sqrt(3) / SMOOTH * distance
    return (1 + steps) * np.exp(-steps)


def _exponential(distance: Values) -> Values:
    return np.exp(-distance / ROUGH)


def _quadratic(plane: _Plane) -> Values:
    """The quadratic function nearest to the first points, at every point: what a loss is near a minimum, and exact."""
    points = len(plane.values)
    at = np.linspace(-1, 1, points)
    a, b = (x.ravel() for x in np.meshgrid(at, at, indexing="ij"))
    terms = np.column_stack([np.ones_like(a), a, b, a * a, a * b, b * b])
    found: Values = terms @ np.linalg.lstsq(terms[plane.order], plane.flat[plane.order], rcond=None)[0]
    return found


def _scale(surface: _Surface, beside: _Surface) -> Values:
    """How many standard deviations the surface may be off at each point, (N,), less ``CAUTION``."""
    from scipy.spatial import cKDTree

    missed = surface.left_out()
    _, nearest = cKDTree(surface.at[surface.order]).query(surface.at, NEAREST)
    near = np.sqrt(np.square(missed)[nearest].mean(1) + (EVERYWHERE * np.median(missed)) ** 2)
    apart = surface.largest_around(np.abs(surface.mean - beside.mean))
    on_border = np.abs(surface.at).max(1) == 1
    return np.where(on_border, BORDER, 1) * np.sqrt(near * apart / np.sqrt(np.maximum(surface.variance, 1e-9)))


def _batch(surface: _Surface, scale: Values, generator: np.random.Generator) -> list[int]:
    """The next points, added to ``surface``: most where the largest error is expected, in turn, the others drawn."""
    before = len(surface.order)
    size = min(max(BATCH, before // ONE_OF), len(scale) - before)
    left = np.ones(len(scale), dtype=bool)
    left[surface.order] = False
    for _ in range(size - size // DRAWN):
        expected = scale * np.sqrt(surface.variance)
        worst = int(np.where(left, np.round(expected / expected.max(), DIGITS), -1).argmax())
        left[worst] = False
        surface.add(worst)
    surface.extend(generator.choice(np.flatnonzero(left), size // DRAWN, replace=False).tolist())
    return surface.order[before:]
