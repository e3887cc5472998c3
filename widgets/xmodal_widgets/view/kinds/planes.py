"""A variable over two dimensions: as a surface, as level lines, as a table of cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..grid import Grid, one_of
from .view import View

PALETTES = ("viridis", "diverging", "gray")


@dataclass(frozen=True)
class _Plane(View):
    """A variable over two numeric dimensions.

    Args:
        var: the variable.
        x: the dimension to the right.
        y: the dimension upwards (contour, heat map) or to the back (surface).
        col: one panel per value of this dimension, all on one scale.
        log: open with a log10 scale; the reader can switch.
        fit: open with the scale fitted to what is shown, not to the whole cube; the reader can switch.
        limits: (low, high) of the scale; values beyond are drawn at the limit and said to be clipped.
        title: what stands above the panel; the variable's name by default.
        palette: "viridis"; "diverging" for what lies on both sides of zero (its middle is 0); "gray" for pictures.
        absent: what the panel says where a setting was computed and the variable has no value there.
    """

    var: str
    x: str = "a"
    y: str = "b"
    col: str | None = None
    log: bool = False
    fit: bool = False
    limits: tuple[float, float] | None = None
    title: str | None = None
    palette: str = "viridis"
    absent: str | None = None

    def numeric_axes(self) -> tuple[str, ...]:
        return (self.x, self.y)

    def check(self, grid: Grid) -> None:
        super().check(grid)
        one_of("palette", self.palette, PALETTES)
        for name in (self.x, self.y):
            if len(grid.dims[name].values) < 2:
                raise ValueError(f"a {type(self).__name__} needs at least 2 points along {name!r}, the cube has 1.")


@dataclass(frozen=True)
class Surface(_Plane):
    """A landscape in three dimensions: drag or arrow keys rotate, wheel or + and − zoom."""

    kind: ClassVar[str] = "surface"


@dataclass(frozen=True)
class Contour(_Plane):
    """A landscape as level lines over filled bands.

    Args:
        path: a variable whose last two dimensions are (steps, the two axes): the way that training took across the
            plane, with a ring where it began and a dot where it ended.
        at: the control of time, such as ``checkpoint``: where training stood then is marked on the path, whose steps
            have the same units.
    """

    kind: ClassVar[str] = "contour"

    path: str | None = None
    at: str | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The values, and the path over them."""
        return (self.var,) if self.path is None else (self.var, self.path)

    def axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions of the plane, and those of the path."""
        return super().axes(grid) if self.path is None else (*super().axes(grid), *grid.axes[self.path][-2:])

    def own_axes(self, grid: Grid) -> tuple[str, ...]:
        """Those that the values themselves must have."""
        return super().axes(grid)

    def check(self, grid: Grid) -> None:
        """Compare with the cube.

        Raises:
            ValueError: a path that does not end in two axes; ``at`` without one, or no dimension of numbers.
            TypeError: steps of the path that are no numbers.
        """
        if self.at is not None:
            if self.path is None:
                raise ValueError(f"at={self.at!r} marks a place on a path; give path= as well.")
            times = grid.dims[one_of("dimension at of the Contour", self.at, tuple(grid.dims))]
            steps = grid.dims[grid.axes[one_of("variable path of the Contour", self.path, tuple(grid.arrays))][-2]]
            if not (times.numeric and steps.numeric):
                raise TypeError(f"at={self.at!r} and the steps of {self.path!r} must both be numbers of the same unit.")
        if self.path is not None:
            dims = grid.axes[one_of("variable path of the Contour", self.path, tuple(grid.arrays))]
            if len(dims) < 2 or len(grid.dims[dims[-1]].values) != 2:
                raise ValueError(
                    f"{self.path!r} is no path: it has the dimensions {dims}, the last must be the two axes of the "
                    "plane and the one before it the steps."
                )
        super().check(grid)


@dataclass(frozen=True)
class HeatMap(_Plane):
    """A table of values as one cell per computed point; nothing between them is made up.

    Names, and numbers at uneven steps, have cells of one size, each with its own label.

    Args:
        levels: lines of equal value between the middles of the cells (isolines), as a contour has.
        words: how many words one step of y has: what one step of x is worth in them, its interval or why there is no
            such rate, is told below the heading (uml, Sec 4.4; as ``xl.information.exchange_rate`` finds it).
        under: a variable whose last two dimensions (up, across) are a picture that the cells lie over.
    """

    kind: ClassVar[str] = "heatmap"

    under: str | None = None
    levels: bool = False
    words: float | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The values, and the picture under them."""
        return (self.var,) if self.under is None else (self.var, self.under)

    def axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions of the cells, and those of the picture."""
        return super().axes(grid) if self.under is None else (*super().axes(grid), *grid.axes[self.under][-2:])

    def own_axes(self, grid: Grid) -> tuple[str, ...]:
        """Those that the values themselves must have."""
        return super().axes(grid)

    def freedom(self, grid: Grid, average: Sequence[str]) -> int:
        """Degrees of freedom of the rate's interval at most: of ``grid`` over the dims in ``average``, or the fit's."""
        if self.words is None:
            return 0
        sizes = [len(grid.dims[d].values) for d in grid.axes[self.var] if d in average]
        return max(math.prod(sizes) - 1, len(grid.dims[self.x].values) * len(grid.dims[self.y].values) - 3)

    def numeric_axes(self) -> tuple[str, ...]:
        """None: cells may stand for names."""
        return ()

    def check(self, grid: Grid) -> None:
        """Compare with the cube.

        Raises:
            ValueError: a picture with fewer than two dimensions; words that are no number above 0, or axes of names.
        """
        if self.words is not None:
            if isinstance(self.words, bool) or not isinstance(self.words, int | float) or not 0 < self.words < math.inf:
                raise ValueError(f"words of the HeatMap must be a number above 0, got {self.words!r}.")
            for name in (self.x, self.y):
                if not grid.dims[one_of("dimension", name, tuple(grid.dims))].numeric:
                    raise ValueError(f"an exchange rate needs numbers along both axes; {name!r} holds names.")
        if (
            self.under is not None
            and len(grid.axes[one_of("variable under the HeatMap", self.under, tuple(grid.arrays))]) < 2
        ):
            raise ValueError(
                f"{self.under!r} is no picture: it has the dimensions {grid.axes[self.under]}, two are needed."
            )
        super().check(grid)
