"""The views that suit a cube whose reader names none."""

from __future__ import annotations

from ..grid import Grid
from .planes import Contour, HeatMap, Surface
from .series import Bars, Density, Lines
from .view import View

# Planes that the library makes, by the names of their two axes.
PLANES = (("a", "b"), ("x", "y"))
MOST_VIEWS = 6
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
