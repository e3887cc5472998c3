"""What a panel can show: small frozen descriptions, checked against the cube before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from .grid import Grid, one_of

# Planes that the library makes, by the names of their two axes.
PLANES = (("a", "b"), ("x", "y"))
# More panels in a row than this are too small to read (ours).
MOST_PANELS = 12
MOST_VIEWS = 6
PALETTES = ("viridis", "diverging", "gray")


@dataclass(frozen=True)
class View:
    """One view: a drawing of one variable, in one panel or in one per value of ``col``.

    ``grid`` is the cube as the browser gets it; a view is checked against it before it is drawn.
    """

    kind: ClassVar[str] = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables it reads; the first one carries the controls."""
        return (getattr(self, "var"),)  # noqa: B009

    def axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions it shows; all others of its variables become controls."""
        return tuple(v for name in ("x", "y", "hue", "band", "col") if (v := getattr(self, name, None)) is not None)

    def own_axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions that its first variable must have."""
        return self.axes(grid)

    def check(self, grid: Grid) -> None:
        """Compare with the cube.

        Raises:
            ValueError: an unknown variable or dimension, one used twice, limits upside down.
            TypeError: an axis that needs numbers is not numeric; ``absent`` is no sentence.
        """
        title = f"{type(self).__name__} view"
        for name in self.variables:
            one_of(f"variable in the {title}", name, tuple(grid.arrays))
        axes = self.own_axes(grid)
        for dim in axes:
            one_of(f"dimension of {self.variables[0]!r} in the {title}", dim, grid.axes[self.variables[0]])
        if missing := [name for name in ("x", "y") if getattr(self, name, "") is None]:
            raise TypeError(f"the {title} needs {' and '.join(missing)}, got None.")
        if len(set(axes)) != len(axes):
            raise ValueError(f"the {title} uses a dimension twice: {axes}; each may carry one role.")
        for name in self.numeric_axes():
            if not grid.dims[name].numeric:
                raise TypeError(
                    f"the {title} draws {name!r} as an axis of numbers, but it holds names; use Bars or col=."
                )
        col = getattr(self, "col", None)
        if col is not None and len(grid.dims[col].values) > MOST_PANELS:
            raise ValueError(
                f"col={col!r} would make {len(grid.dims[col].values)} panels, at most {MOST_PANELS} are readable; "
                f"leave it to a slider, or thin the cube along {col!r}."
            )
        absent = getattr(self, "absent", None)
        if not (absent is None or isinstance(absent, str)):
            raise TypeError(f"absent of the {title} must be a sentence or None, got {type(absent).__name__}.")
        limits = getattr(self, "limits", None)
        if limits is not None and not _two_numbers(limits):
            raise ValueError(f"limits of the {title} must be (low, high) with low < high, got {limits!r}.")
        if limits is not None and getattr(self, "log", False) and limits[0] <= 0:
            raise ValueError(f"limits of a {title} on a log scale must be above 0, got {limits!r}.")

    def numeric_axes(self) -> tuple[str, ...]:
        """The axes that must be numbers."""
        return ()

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it."""
        return {"kind": self.kind, **asdict(self)}


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


@dataclass(frozen=True)
class _Series(View):
    """A variable over one dimension.

    Args:
        var: the variable.
        x: the dimension along the horizontal axis.
        hue: one colour per value of this dimension.
        band: average over this dimension (seeds) and show the 95 % interval of the mean (Student t).
        col: one panel per value of this dimension, all on one scale.
        log: open with a log10 scale; the reader can switch.
        fit: open with the scale fitted to what is shown, not to the whole cube; the reader can switch.
        limits: (low, high) of the vertical axis.
        title: what stands above the panel; the variable's name by default.
        floor: a variable with the dimension ``x``, drawn dashed and grey beside: what a measurement of nothing reads.
        versus: ``{"target": "zero"}``: draw each value less the one there, of the same seed; the band is that of the
            paired differences. Its dimension is ``hue`` or ``x``.
        absent: what the panel says where a setting was computed and the variable has no value there.
    """

    var: str
    x: str
    hue: str | None = None
    band: str | None = None
    col: str | None = None
    log: bool = False
    fit: bool = False
    limits: tuple[float, float] | None = None
    title: str | None = None
    floor: str | None = None
    versus: Mapping[str, Any] | None = None
    absent: str | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The values, and their floor."""
        return (self.var,) if self.floor is None else (self.var, self.floor)

    def own_axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions that the values must have; the floor needs x alone."""
        return super().axes(grid)

    def check(self, grid: Grid) -> None:
        """Compare with the cube.

        Raises:
            ValueError: ``versus`` names no value of ``hue`` or ``x``; a floor without the dimension ``x``.
        """
        super().check(grid)
        if self.floor is not None:
            one_of(f"dimension of floor={self.floor!r}", self.x, grid.axes[self.floor])
        if self.versus is None:
            return
        if not isinstance(self.versus, Mapping) or len(self.versus) != 1:
            raise ValueError(
                f"versus names one dimension and its reference, {{'target': 'zero'}}, got {self.versus!r}."
            )
        ((name, value),) = self.versus.items()
        one_of(f"dimension in versus of the {type(self).__name__} view", name, [d for d in (self.hue, self.x) if d])
        if grid.dims[name].index(value) is None:
            raise ValueError(f"versus: {name}={value!r} is not on the grid; choose one of {grid.dims[name].listed()}.")

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it, with the reference as the grid writes it."""
        spec = super().spec(grid)
        if self.versus is not None:
            ((name, value),) = self.versus.items()
            spec["versus"] = {name: grid.dims[name].values[grid.dims[name].index(value) or 0]}
        return spec


@dataclass(frozen=True)
class Lines(_Series):
    """Lines over a numeric dimension, with a mark on each computed point."""

    kind: ClassVar[str] = "lines"

    def numeric_axes(self) -> tuple[str, ...]:
        """The horizontal axis."""
        return (self.x,)


@dataclass(frozen=True)
class Density(_Series):
    """A spectral density over a symmetric-log axis, λ = scale · sinh(u): bulk, outliers and negative end at once.

    Values are densities per unit of u, as :func:`xmodal_lab.look` gives them, so that equal areas are equal shares of
    the eigenvalues.

    Args:
        x: the dimension of λ.
        marks: a variable of leading eigenvalues, such as ``eigenvalue`` (k), marked on the axis.
        along: the dimension that counts them; the last of ``marks`` by default.
        scale: where the axis turns from linear to logarithmic (0.1, that of the grid of ``look``).
    """

    kind: ClassVar[str] = "density"

    x: str = "lambda_"
    marks: str | None = None
    along: str | None = None
    scale: float = 0.1

    @property
    def variables(self) -> tuple[str, ...]:
        """The density, and the eigenvalues on its axis."""
        return super().variables if self.marks is None else (*super().variables, self.marks)

    def axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions that it shows, with the one that counts eigenvalues."""
        return super().axes(grid) if self.marks is None else (*super().axes(grid), self.counted(grid))

    def own_axes(self, grid: Grid) -> tuple[str, ...]:
        """Those that the density itself must have."""
        return super().axes(grid)

    def counted(self, grid: Grid) -> str:
        """The dimension that counts the marked eigenvalues."""
        own = grid.axes[str(self.marks)]
        if self.along is None:
            return own[-1]
        return one_of(f"dimension of {self.marks!r} in the Density view", self.along, own)

    def numeric_axes(self) -> tuple[str, ...]:
        """The axis of λ."""
        return (self.x,)

    def check(self, grid: Grid) -> None:
        """Compare with the cube.

        Raises:
            ValueError: eigenvalues without a dimension that counts them, a scale that is not above 0.
        """
        if not isinstance(self.scale, int | float) or not 0 < self.scale < math.inf:
            raise ValueError(f"scale of the Density view must be a number above 0, got {self.scale!r}.")
        if self.versus is not None:
            raise ValueError(
                "a Density view has no versus: differences of densities are not densities; pin one instead."
            )
        super().check(grid)
        if self.marks is None:
            return
        if not grid.axes[self.marks]:
            raise ValueError(f"marks={self.marks!r} is a single number; it needs a dimension that counts eigenvalues.")
        one_of(f"dimension of {self.marks!r} in the Density view", self.counted(grid), grid.axes[self.marks])
        if self.counted(grid) in self.own_axes(grid):
            raise ValueError(f"along={self.counted(grid)!r} is an axis of the density; name what counts eigenvalues.")

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it, with the inferred dimension."""
        label = "λ" if grid.dims[self.x].label == "lambda_" else grid.dims[self.x].label
        return {**super().spec(grid), "along": None if self.marks is None else self.counted(grid), "label": label}


@dataclass(frozen=True)
class Bars(_Series):
    """Bars over the values of a dimension."""

    kind: ClassVar[str] = "bars"


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
        if self.shade is not None and not _two_numbers(self.shade):
            raise ValueError(f"shade of the Intervals view must be (low, high) with low < high, got {self.shade!r}.")
        count = len(grid.dims[rows].values)
        if self.notes is not None and len(self.notes) != count:
            raise ValueError(f"the Intervals view needs one note for each of {count} rows, got {len(self.notes)}.")

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it, with the inferred dimension."""
        return {**super().spec(grid), "rows": self.axes(grid)[0]}


def _two_numbers(limits: object) -> bool:
    """Whether these are (low, high) with low < high."""
    if not isinstance(limits, Sequence) or len(limits) != 2:
        return False
    return all(isinstance(end, int | float) and math.isfinite(end) for end in limits) and limits[0] < limits[1]


def controls_of(view: View, grid: Grid) -> tuple[str, ...]:
    """The dimensions of the view's variables that it does not show: the reader chooses their values."""
    shown = view.axes(grid)
    found = dict.fromkeys(d for name in view.variables for d in grid.axes[name] if d not in shown)
    return tuple(found)


def default_views(grid: Grid, average: tuple[str, ...]) -> tuple[View, ...]:
    """Views that suit the cube's dimensions.

    Looks of a bench come as its screen: landscape, spectrum, gap, isolines, accuracy. Elsewhere a plane (``a``, ``b``)
    becomes Surface and Contour, λ a Density, one numeric dimension Lines, names Bars.
    """
    looks = look_views(grid)
    if len(looks) > 1:
        return looks
    views: list[View] = []
    for name in (n for n in grid.arrays if not grid.attrs[n]["extra"]):
        dims = grid.axes[name]
        band = next((d for d in dims if d in average), None)
        rest = [d for d in dims if d != band]
        numbers = [d for d in rest if grid.dims[d].numeric and len(grid.dims[d].values) > 1]
        names = [d for d in rest if not grid.dims[d].numeric]
        if tuple(dims[-2:]) in PLANES and all(d in numbers for d in dims[-2:]):
            x, y = dims[-2:]
            first = not any(isinstance(v, Surface) for v in views)
            views += [Surface(name, x, y), Contour(name, x, y)] if first else [Contour(name, x, y)]
        elif "lambda_" in numbers:
            views.append(Density(name, marks=_marks(grid, name), band=band))
        elif numbers:
            hue = names[0] if len(numbers) == 1 and len(names) == 1 and len(grid.dims[names[0]].values) <= 8 else None
            views.append(Lines(name, numbers[-1], hue=hue, band=band))
        elif names:
            views.append(Bars(name, names[-1], hue=names[-2] if len(names) > 1 else None, band=band))
        elif band is not None:
            views.append(Bars(name, band))
    if not views:
        raise ValueError(
            f"no view suits the cube: its variables ({', '.join(grid.arrays)}) have no dimension to draw along."
        )
    return tuple(views[:MOST_VIEWS])


# What xmodal_lab.look and a bench call their results, in the order of the screen: variable -> dimensions it must have.
LOOKS: dict[str, tuple[str, ...]] = {
    "landscape": ("a", "b"),
    "density": ("lambda_",),
    "curve_w2": ("checkpoint",),
    "accuracy_at_shots": ("images", "texts"),
    "trajectory": ("ta", "tb"),
    "accuracy_curve": ("epoch",),
    "train_loss_curve": ("epoch",),
}


def look_views(grid: Grid) -> tuple[View, ...]:
    """Views of the looks that the cube holds; without its course over training the gap stands over a swept setting."""
    views: list[View] = []
    for name, needed in LOOKS.items():
        drawn = "w2" if name == "curve_w2" and name not in grid.arrays else name
        dims = grid.axes.get(drawn, ())
        if drawn == "w2":
            needed = tuple(d for d in dims if grid.dims[d].numeric and len(grid.dims[d].values) > 1 and d != "seed")[:1]
        if not needed or not set(needed) <= set(dims) or any(len(grid.dims[d].values) < 2 for d in needed):
            continue
        if name == "landscape":
            views.append(Surface(name, log=True))
        elif name == "density":
            views.append(Density(name, marks=_marks(grid, name), log=True))
        elif name == "trajectory":
            views.append(Contour(name, needed[0], needed[1], path="path" if "path" in grid.arrays else None, log=True))
        elif name == "curve_w2" and drawn == name and "curve_w2_bias" in grid.arrays:
            views.append(Lines(name, needed[0], floor="curve_w2_bias"))
        elif name == "accuracy_at_shots":
            views.append(HeatMap(name, needed[0], needed[1], levels=True))
        else:
            views.append(Lines(drawn, needed[0]))
    return tuple(views[:MOST_VIEWS])


def _marks(grid: Grid, density: str) -> str | None:
    """The leading eigenvalues that belong to a density, if the cube has them."""
    dims = grid.axes.get("eigenvalue", ())
    return "eigenvalue" if density == "density" and dims and dims[-1] not in grid.axes[density] else None
