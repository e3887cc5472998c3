"""The views that a cube is drawn with: the given ones, checked, or those that suit it."""

from __future__ import annotations

from dataclasses import fields

from .grid import Grid
from .kinds import Bars, Contour, Density, HeatMap, Intervals, Lines, Scatter, Surface, View, default_views
from .own import Own

# What the browser can draw.
DRAWN: tuple[type[View], ...] = (Surface, Contour, HeatMap, Lines, Density, Bars, Scatter, Intervals, Own)


def view_names() -> tuple[str, ...]:
    """The names of all kinds of views."""
    return tuple(cls.__name__ for cls in DRAWN)


def checked_views(views: object, grid: Grid, average: tuple[str, ...]) -> tuple[View, ...]:
    """The views to draw: the given ones, checked, or the default ones.

    Raises:
        TypeError: something that is not a view, or one that the browser could not draw.
        ValueError: an empty list, or a view that does not fit the cube.
    """
    if views is None:
        return default_views(grid, average)
    given = (views,) if isinstance(views, View) else tuple(views) if isinstance(views, list | tuple) else (views,)
    if not given:
        raise ValueError("views is empty; leave it out for the default ones, or name some.")
    for view in given:
        if not isinstance(view, View) or not fields(view):
            raise TypeError(f"a view is one of {', '.join(view_names())}, got {type(view).__name__} {view!r}.")
        if not any(isinstance(view, cls) and view.kind == cls.kind for cls in DRAWN):
            raise TypeError(
                f"the browser does not know how to draw a {type(view).__name__}; a panel of one's own is an Own with a "
                "drawing function, js='(p) => {...}' or matplotlib=function(axis, shown): see docs/own_panels.md."
            )
        view.check(grid)
    return given
