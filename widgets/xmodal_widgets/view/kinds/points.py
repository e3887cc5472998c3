"""What is counted: points of a plane, and rows of names with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..grid import Grid, one_of
from .view import View, two_numbers


@dataclass(frozen=True)
class Scatter(View):
    """Points, such as an embedding.

    Args:
        x: the variable to the right.
        y: the variable upwards.
        color: a variable or coordinate: whole numbers are classes (named by its attribute
            ``flag_meanings``), others a colour scale.
        points: the dimension that counts the points; the last of ``x`` by default.
        col: one panel per value of this dimension, all on one scale.
        fit: open with the axes fitted to what is shown, not to the whole cube; the reader can switch.
        title: what stands above the panel.
        curves: draw the points of each class as one curve, in their order.
        equal: one unit is as long upwards as to the right: for geometry.
        corners: three dimensions, the lengths of the sides (P* to P_i, P* to P_j, P_i to P_j) of a triangle whose
            corners the reader may drag; the points must be those sides in this order.
    """

    kind: ClassVar[str] = "scatter"

    x: str
    y: str
    color: str | None = None
    points: str | None = None
    col: str | None = None
    fit: bool = False
    title: str | None = None
    curves: bool = False
    equal: bool = False
    corners: tuple[str, str, str] | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The two axes and the colour."""
        return tuple(v for v in (self.x, self.y, self.color) if v is not None)

    def axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimension that counts points, and the columns."""
        points = self.points or grid.axes[self.x][-1]
        return (points,) if self.col is None else (points, self.col)

    def check(self, grid: Grid) -> None:
        """Compare with the cube; all variables must share the dimension that counts points.

        Raises:
            ValueError: variables without a dimension in common.
        """
        if self.points is not None and not isinstance(self.points, str):
            raise TypeError(f"points must name a dimension, got {type(self.points).__name__}.")
        if self.x is None or self.y is None:
            raise TypeError("the Scatter view needs x and y, got None.")
        for name in self.variables:
            one_of("variable in the Scatter view", name, tuple(grid.arrays))
        if not grid.axes[self.x]:
            raise ValueError(f"a Scatter needs many points, {self.x!r} is a single number.")
        super().check(grid)
        points = self.axes(grid)[0]
        for name in self.variables[1:]:
            if points not in grid.axes[name]:
                raise ValueError(
                    f"a Scatter counts points along {points!r}, but {name!r} has dimensions {grid.axes[name]}; "
                    "name the right one with points=."
                )

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it, with the inferred dimension."""
        return {**super().spec(grid), "points": self.axes(grid)[0]}


@dataclass(frozen=True)
class Intervals(View):
    """Rows of names, each with an interval and the value found in it (a forest plot); rows of NaN are left out.

    Args:
        var: the value of each row.
        low, high: the ends of its interval.
        mark: a number to compare it with, drawn as a diamond.
        margin: within ± this, drawn as brackets, a difference counts as none.
        color: a variable or coordinate of whole numbers, classes named by its attribute ``flag_meanings``.
        colors: of the classes, in their order; the palette of names by default.
        rows: the dimension that counts rows; the last of ``var`` by default.
        notes: a sentence for each row, for the read-out.
        shade: (from, to) of a grey band, such as what could not be seen.
        limits: (low, high) of the axis; what lies outside is an arrow at its end.
        title: what stands above the panel.
    """

    kind: ClassVar[str] = "intervals"

    var: str
    low: str
    high: str
    mark: str | None = None
    margin: str | None = None
    color: str | None = None
    colors: tuple[str, ...] | None = None
    rows: str | None = None
    notes: tuple[str, ...] | None = None
    shade: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None
    title: str | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """All that it reads, the value first."""
        asked = (self.mark, self.margin, self.color)
        return (self.var, self.low, self.high, *(name for name in asked if name is not None))

    def axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimension that counts rows."""
        return (self.rows or grid.axes[self.var][-1],)

    def check(self, grid: Grid) -> None:
        """Compare with the cube; all variables must share the dimension that counts rows.

        Raises:
            ValueError: variables without it, a colour that is no class, not one note for each row.
        """
        for name in self.variables:
            one_of("variable in the Intervals view", name, tuple(grid.arrays))
        if not grid.axes[self.var]:
            raise ValueError(f"Intervals need many rows, {self.var!r} is a single number.")
        super().check(grid)
        (rows,) = self.axes(grid)
        for name in self.variables[1:]:
            if rows not in grid.axes[name]:
                raise ValueError(
                    f"Intervals count rows along {rows!r}, but {name!r} has dimensions {grid.axes[name]}; "
                    "name the right one with rows=."
                )
        if self.color is not None and not grid.attrs[self.color]["whole"]:
            raise ValueError(f"the Intervals view colours by classes, and {self.color!r} holds no whole numbers.")
        if self.shade is not None and not two_numbers(self.shade):
            raise ValueError(f"shade of the Intervals view must be (low, high) with low < high, got {self.shade!r}.")
        count = len(grid.dims[rows].values)
        if self.notes is not None and len(self.notes) != count:
            raise ValueError(f"the Intervals view needs one note for each of {count} rows, got {len(self.notes)}.")

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it, with the inferred dimension."""
        return {**super().spec(grid), "rows": self.axes(grid)[0]}
