"""A plane from few of its points: each next one where what is known says least, until no point may be far off.

Through the points that are known goes a smooth surface, a Gaussian process with a Matérn 3/2 kernel whose length is
twice the plane: nearly the spline of r³. How far it may be off at another point is a product. Its standard deviation
there says how far the next known points are. How much that means is said by three things, each of them a guess at the
same number, taken to the powers 1/2, 1/4 and 1/4: how far the five nearest points would have been missed by a surface
through all others (leave-one-out, in standard deviations), how strongly the surface bends around here, and how far the
median point would have been missed. The first alone is a noisy guess; its noise is what made other rules compute too
much in one place and too little in another. Where ``CAUTION`` times the product is above the tolerance, points are
computed, an eighth of each batch drawn at random; and no plane is finished before one of ``FEWEST`` of its points is
known and a whole batch was foreseen within the tolerance. If four fifths of the points are not enough, or cannot be at
the rate at which errors fall, all are computed.
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
BATCH, ONE_OF, DRAWN = 9, 14, 8
# One of so many points that are known of any plane, so that nothing hides between the first ones (ours).
FEWEST = 14
# Share of the points, and number of them, beyond which the rest is computed too (ours; memory grows with the number).
ENOUGH, MOST = 0.8, 2000
# The power of the number of points by which errors fall at most (ours; 2 is the fourth order of a distance).
FALL = 3
# Length of the kernel in half planes, and the variance of constant and slopes beside its own, which is 1 (ours).
SMOOTH, TREND = 4.0, 100.0
# Nearest points whose errors count; the share of the median error, and of the median bend, expected everywhere (ours).
NEAREST, EVERYWHERE = 5, 0.1
# Powers of what near points missed, of the bend, and of what the median point missed (ours; they sum to 1).
POWERS = (0.5, 0.25, 0.25)
# By how much the largest of many errors is above what is expected of each. Chosen on nets of seeds 0 to 2, 100 and 101,
# with the other constants, and judged on other seeds (docs/speed.md).
CAUTION = 5.0
# By how much more a point on the border may be off, which known points surround on one side only, and the distance from
# the border, in half planes, over which that fades. Without it the largest errors are all found there.
BORDER, MARGIN = 1.75, 0.2
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
    surface, trend = _Surface(points, _matern), _quadratic(plane)
    new, foreseen, generator = plane.order, False, np.random.default_rng(0)
    while True:
        surface.add(new, plane.flat[new] - trend[new])
        scale = np.maximum(_scale(surface, trend), NOTHING * plane.allowed(tolerance) / CAUTION)
        expected = CAUTION * scale * np.sqrt(surface.variance)
        known, most = len(plane.order), min(ENOUGH * points**2, MOST)
        hopeless = expected.max() > plane.allowed(tolerance) * (most / known) ** FALL
        if hopeless or known > most:
            return plane.whole()
        if foreseen and known * FEWEST >= points**2 and expected.max() <= plane.allowed(tolerance):
            filled = (surface.mean + trend).reshape(points, points)
            return Filled(np.where(plane.known, plane.values, filled), len(plane.order), float(expected.max()))
        new = _batch(surface, scale, generator)
        plane.compute(new)
        if not plane.finite:
            return plane.whole()
        missed = np.abs(surface.mean[new] + trend[new] - plane.flat[new]).max()
        foreseen = bool(missed <= plane.allowed(tolerance))


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
    """A Gaussian process through known points of a grid, built up batch by batch (Newton basis).

    Attributes:
        order: numbers of its points.
        mean, variance: (N,) at every point of the grid, given the values; the variance needs none of them.
        nearest: (N,) distance to the nearest of its points.
    """

    def __init__(self, points: int, kernel: Callable[[Values], Values]) -> None:
        at = np.linspace(-1, 1, points)
        self.at: Values = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
        self.points = points
        self._kernel = kernel
        self._trend = np.sqrt(TREND) * np.column_stack([np.ones(len(self.at)), self.at])
        # The basis at every point, and the inverse of what it is at its own points: lower triangular, both grow.
        self._rows: Values = np.zeros((64, len(self.at)))
        self._inverse: Values = np.zeros((64, 64))
        # Of the inverse of the kernel matrix: its diagonal, and its product with the values.
        self._diagonal: Values = np.zeros(0)
        self._weights: Values = np.zeros(0)
        self.order: list[int] = []
        self.mean: Values = np.zeros(len(self.at))
        self.variance: Values = 1 + np.square(self._trend).sum(1)
        self.nearest: Values = np.full(len(self.at), np.inf)

    def add(self, new: list[int], values: Values) -> None:
        """More points and their values: the mean goes through them."""
        from scipy.linalg import cholesky, solve_triangular

        made = len(self.order)
        part = slice(made, made + len(new))
        self._grow(part.stop)
        apart = np.stack([self.distance(i) for i in new])
        self.nearest = np.minimum(self.nearest, apart.min(0))
        before = self._rows[:made, new]
        rows = self._kernel(apart) + self._trend[new] @ self._trend.T - before.T @ self._rows[:made]
        own = cholesky(rows[:, new] + _NONE * np.eye(len(new)), lower=True)
        rows = solve_triangular(own, rows, lower=True)
        factors = solve_triangular(own, values - self.mean[new], lower=True)
        mine = solve_triangular(own, np.eye(len(new)), lower=True)
        others = -mine @ (before.T @ self._inverse[:made, :made])
        self._rows[part], self._inverse[part, :made], self._inverse[part, part] = rows, others, mine
        self._diagonal = np.concatenate([self._diagonal + np.square(others).sum(0), np.square(mine).sum(0)])
        self._weights = np.concatenate([self._weights + factors @ others, factors @ mine])
        self.order = self.order + new
        self.mean = self.mean + factors @ rows
        self.variance = np.maximum(self.variance - np.square(rows).sum(0), 0)
        self.variance[self.order] = 0

    def _grow(self, size: int) -> None:
        """Room for ``size`` points."""
        if size > len(self._rows):
            room = max(size, 2 * len(self._rows))
            self._rows = np.pad(self._rows, ((0, room - len(self._rows)), (0, 0)))
            self._inverse = np.pad(self._inverse, (0, room - len(self._inverse)))

    def distance(self, i: int) -> Values:
        """(N,) from point ``i`` to every point; the plane is two wide."""
        found: Values = np.sqrt(np.square(self.at - self.at[i]).sum(1))
        return found

    def left_out(self) -> Values:
        """By how many standard deviations a surface through all other points would miss each, (m,)."""
        missed: Values = np.abs(self._weights) / np.sqrt(self._diagonal)
        return missed


def _matern(distance: Values) -> Values:
    steps = np.sqrt(3) / SMOOTH * distance
    return (1 + steps) * np.exp(-steps)


def _quadratic(plane: _Plane) -> Values:
    """The quadratic function nearest to the first points, at every point: what a loss is near a minimum, and exact."""
    points = len(plane.values)
    at = np.linspace(-1, 1, points)
    a, b = (x.ravel() for x in np.meshgrid(at, at, indexing="ij"))
    terms = np.column_stack([np.ones_like(a), a, b, a * a, a * b, b * b])
    found: Values = terms @ np.linalg.lstsq(terms[plane.order], plane.flat[plane.order], rcond=None)[0]
    return found


def _scale(surface: _Surface, trend: Values) -> Values:
    """How many standard deviations the surface may be off at each point, (N,), less ``CAUTION``."""
    from scipy.spatial import cKDTree

    missed = surface.left_out()
    median = np.median(missed)
    _, nearest = cKDTree(surface.at[surface.order]).query(surface.at, NEAREST)
    near = np.sqrt(np.square(missed)[nearest].mean(1) + (EVERYWHERE * median) ** 2)
    bend = _bend((surface.mean + trend).reshape(surface.points, -1))
    size = np.square(bend[surface.order]).mean()
    bend = bend * np.sqrt(np.square(missed).mean() / size) if size > 0 else near
    inside = np.minimum((1 - np.abs(surface.at).max(1)) / MARGIN, 1)
    one_sided = inside + BORDER * (1 - inside)
    found: Values = one_sided * near ** POWERS[0] * bend ** POWERS[1] * median ** POWERS[2]
    return found


def _bend(values: Values) -> Values:
    """The largest second difference of a surface (G, G) around each point, as a norm, (N,)."""
    from scipy.ndimage import maximum_filter

    wide = np.pad(values, 1, mode="reflect", reflect_type="odd")
    a = wide[2:, 1:-1] - 2 * values + wide[:-2, 1:-1]
    b = wide[1:-1, 2:] - 2 * values + wide[1:-1, :-2]
    both = (wide[2:, 2:] - wide[2:, :-2] - wide[:-2, 2:] + wide[:-2, :-2]) / 4
    found: Values = maximum_filter(np.sqrt(a * a + b * b + 2 * both * both), 3, mode="nearest").ravel()
    return found + EVERYWHERE * np.median(found)


def _batch(surface: _Surface, scale: Values, generator: np.random.Generator) -> list[int]:
    """The next points: most where the largest error is expected, in turn, the others drawn.

    Around a point that is taken errors are expected to grow with the distance r to it as r^{3/2}, as they do around
    those that are known.
    """
    known = surface.order
    size = min(max(BATCH, len(known) // ONE_OF), len(scale) - len(known))
    left = np.ones(len(scale), dtype=bool)
    left[known] = False
    deviation, new = np.sqrt(surface.variance), list[int]()
    for _ in range(size - size // DRAWN):
        expected = scale * deviation
        worst = int(np.where(left, np.round(expected / expected.max(), DIGITS), -1).argmax())
        left[worst] = False
        new.append(worst)
        around = deviation[worst] * (surface.distance(worst) / surface.nearest[worst]) ** 1.5
        deviation = np.minimum(deviation, around)
    return new + generator.choice(np.flatnonzero(left), size // DRAWN, replace=False).tolist()
