"""A plane from few of its points: strides that halve only where the surface asks for it, checked on points held out.

A coarse grid is computed first. Then, level by level, each cell gets the points half-way between its own, which say by
how much bicubic splines through the coarser grid miss them. Where that, divided by ``DECAY``, is within the tolerance,
the cell is left to the splines; elsewhere it is cut again. In the end points are held out: computed, and compared with
what the splines put there, half of them where the largest error is expected. If one of them misses, its surroundings
expect that error, all others a little more than before, more cells are cut, and other points are held out; if that does
not help, every point is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
Axis = NDArray[np.int64]

# Least intervals of the coarsest grid, and how often the expected errors may grow (ours).
COARSEST, ROUNDS = 5, 4
# Points held out: at least, at most, and one of so many (ours).
HELD_OUT, ONE_OF = (8, 24), 64
# By how much all expected errors grow when a point that was held out misses (ours); around it, what was seen counts.
GROWTH = 1.25
# By how much an error shrinks at least when a stride is halved (ours): 16 where the surface is smooth, 2 at a kink.
DECAY = 3.0
# Share of an error that a cell expects of its neighbours', so that what ends at a border is not missed (ours).
SPREAD = 1 / 3
# Share of the tolerance that what was seen may use up, as the worst point is hardly ever among those seen (ours).
SAFETY = 0.5


@dataclass(frozen=True)
class Filled:
    """A plane of which some points were computed.

    Attributes:
        values: (points, points); those computed are exact, the others splines.
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
    axes = strides(points)
    surface = _Surface(evaluate, points)
    surface.compute(surface.grid(axes[0]))
    missed, grown, generator = np.zeros_like(surface.values), 1.0, np.random.default_rng(0)
    for _ in range(ROUNDS):
        found = _refined(surface, axes, SAFETY * tolerance, missed, grown)
        if found is None or surface.known.all():
            break
        filled, expected = found
        held = _held_out(~surface.known, expected, generator)
        surface.compute(held)
        if not surface.finite:
            break
        missed = np.maximum(missed, np.where(held, np.abs(filled - surface.values), 0))
        seen = float(missed[held].max())
        allowed = SAFETY * tolerance * surface.range
        if seen <= allowed:
            left = ~surface.known
            largest = max(seen, float(expected[left].max(initial=0.0)))
            return Filled(np.where(left, filled, surface.values), int(surface.known.sum()), largest / SAFETY)
        grown *= GROWTH
    surface.compute(np.ones_like(surface.known))
    return Filled(surface.values, points**2, 0.0)


def strides(points: int) -> list[Axis]:
    """Indices along an axis, coarse to fine: each has every other one of the next, and the last."""
    axes: list[Axis] = [np.arange(points)]
    while len(axes[0]) > COARSEST + 1:
        axes.insert(0, np.union1d(axes[0][::2], points - 1))
    return axes


class _Surface:
    """The values that are known, and which."""

    def __init__(self, evaluate: Callable[[Axis], Values], points: int) -> None:
        self._evaluate = evaluate
        self.values: Values = np.zeros((points, points))
        self.known: Mask = np.zeros((points, points), dtype=bool)

    def grid(self, axis: Axis, among: Mask | None = None) -> Mask:
        """The points of a coarser grid, or those ``among`` them, as a mask of all points."""
        mask = np.zeros_like(self.known)
        mask[np.ix_(axis, axis)] = True if among is None else among
        return mask

    def compute(self, wanted: Mask) -> None:
        """Compute the ``wanted`` points that are not known yet."""
        new = wanted & ~self.known
        if new.any():
            self.values[new] = self._evaluate(np.argwhere(new))
            self.known |= new

    @property
    def finite(self) -> bool:
        """Whether splines can go through what is known."""
        return bool(np.isfinite(self.values).all())

    @property
    def range(self) -> float:
        """Largest minus smallest value that is known; those of the whole plane are no nearer to each other."""
        return float(np.ptp(self.values[self.known]))


def _refined(
    surface: _Surface, axes: list[Axis], tolerance: float, seen: Values, grown: float
) -> tuple[Values, Values] | None:
    """Go down the levels: all points filled, and the error expected at each; None where a value is not finite.

    Args:
        surface: what is known; it grows.
        axes: of :func:`strides`.
        tolerance: share of the range that may be expected of a cell that is left to the splines.
        seen: (points, points), errors of earlier splines at points that were held out, else 0.
        grown: factor of every expectation.
    """
    if not surface.finite or len(axes) == 1:
        return None
    filled = surface.values[np.ix_(axes[0], axes[0])]
    expected, everything = np.full((len(axes[0]) - 1,) * 2, np.inf), axes[-1]  # by cell
    for coarse, fine in pairwise(axes):
        expected = np.maximum(expected, _spread(_largest(seen, coarse, everything)))
        cut = expected > tolerance * surface.range
        surface.compute(surface.grid(fine, _touching(cut, coarse, fine)))
        if not surface.finite:
            return None
        splines, at = _splines(coarse, filled, fine), np.ix_(fine, fine)
        filled = np.where(surface.known[at], surface.values[at], splines)
        missed = _largest(np.abs(filled - splines), coarse, fine) * (grown / DECAY)
        expected = _spread(np.where(cut, missed, np.maximum(missed, expected)))
        cell = np.repeat(np.arange(len(coarse) - 1), np.diff(np.searchsorted(fine, coarse)))
        expected = expected[np.ix_(cell, cell)]
    return filled, np.pad(expected, ((0, 1), (0, 1)), mode="edge")


def _splines(axis: Axis, values: Values, to: Axis) -> Values:
    from scipy.interpolate import RectBivariateSpline

    order = min(3, len(axis) - 1)
    through: Values = RectBivariateSpline(axis, axis, values, kx=order, ky=order)(to, to)
    return through


def _touching(cells: Mask, coarse: Axis, fine: Axis) -> Mask:
    """The points of the finer grid inside ``cells`` of the coarser one, or on their border."""
    inside = (coarse[:-1, None] <= fine) & (fine <= coarse[1:, None])
    touched: Mask = inside.T.astype(float) @ cells.astype(float) @ inside.astype(float) > 0
    return touched


def _largest(errors: Values, coarse: Axis, fine: Axis) -> Values:
    """The largest of ``errors`` on the finer grid, in each cell of the coarser one, borders included."""
    ends = np.searchsorted(fine, coarse)
    rows = np.stack([errors[i : j + 1].max(0) for i, j in pairwise(ends)])
    return np.stack([rows[:, i : j + 1].max(1) for i, j in pairwise(ends)], 1)


def _spread(expected: Values) -> Values:
    """What each cell expects, and no less than a share of what its eight neighbours do."""
    wide, (n, m) = np.pad(expected, 1, mode="edge"), expected.shape
    around = np.max([wide[i : i + n, j : j + m] for i in range(3) for j in range(3)], 0)
    return np.maximum(expected, SPREAD * around)


def _held_out(unknown: Mask, expected: Values, generator: np.random.Generator) -> Mask:
    """Points to be computed as a check: half of them where the largest error is expected, half drawn from the rest."""
    where = generator.permutation(np.flatnonzero(unknown))
    by_error = where[np.argsort(-expected.ravel()[where], kind="stable")]
    count = min(max(unknown.size // ONE_OF, HELD_OUT[0]), HELD_OUT[1])
    worst, rest = by_error[: count // 2], by_error[count // 2 :]
    held = np.zeros(unknown.size, dtype=bool)
    held[worst] = held[generator.permutation(rest)[: count - len(worst)]] = True
    return held.reshape(unknown.shape)
