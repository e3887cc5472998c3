"""The static picture of a view, by Matplotlib: same data, same scales, no browser.

``Figure`` is used directly, never pyplot: callbacks run on other threads.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..view.grid import Grid
from ..view.kinds import Bars, Contour, Density, HeatMap, Intervals, Lines, Scatter, Surface, View
from ..view.own import Own, Shown
from .look import LOOKS, ON_DARK, plain, room_above
from .planes import draw_planes, rate_of
from .points import draw_intervals, draw_scatter
from .series import draw_series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0  # inches; at 100 dpi as wide as a notebook on a laptop
LINE = 140  # letters of one line above the views, at 10 points


def draw(
    grid: Grid,
    views: Sequence[View],
    state: Mapping[str, Any],
    title: str,
    quantiles: Sequence[float],
    dark: bool = False,
) -> Figure:
    """Draw all views at the state: single ones side by side, one row for each view with columns."""
    from matplotlib.figure import Figure

    rows = _rows(grid, views)
    heights = [max(_height(grid, views[index], state) for index in row) for row in rows]
    caption = _caption(grid, state, title)
    above = 0.2 + 0.2 * (1 + caption.count("\n"))
    figure = Figure(figsize=(WIDTH, sum(heights) + above), dpi=100, layout="constrained")
    figure.suptitle(caption, fontsize=10)
    page = ON_DARK.set(dark)
    bands = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for band, row in zip(bands, rows, strict=True):
        parts = band.subfigures(1, len(row), squeeze=False)[0]
        for part, index in zip(parts, row, strict=True):
            _draw_view(part, grid, views[index], state, index, quantiles)
    ON_DARK.reset(page)
    dress(figure, dark)
    return figure


def dress(figure: Figure, dark: bool) -> None:
    """Give a figure the live view's colours of page, letters and lines."""
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba_array
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    look = LOOKS[dark]
    figure.set_facecolor(look["page"])
    for axes in figure.findobj(Axes):
        axes.set_facecolor(look["page"])
        for spine in axes.spines.values():
            spine.set_edgecolor(look["faint"])
        sides = [axes.xaxis, axes.yaxis, *([axes.zaxis] if hasattr(axes, "zaxis") else [])]
        for side in sides:
            side.set_tick_params(color=look["faint"], labelcolor=look["muted"])
            if hasattr(side, "set_pane_color"):
                side.set_pane_color(look["page"])
                side.line.set_color(look["faint"])
                side._axinfo["grid"]["color"] = look["line"]
    lines: list[Any] = [*figure.findobj(Line2D), *figure.findobj(LineCollection)]
    for line in lines:
        if np.all(to_rgba_array(line.get_color()) == (0, 0, 0, 1)):  # whiskers
            line.set_color(look["ink"])
        if isinstance(line, Line2D) and np.all(to_rgba_array(line.get_markeredgecolor()) == (0, 0, 0, 1)):
            line.set_markeredgecolor(look["ink"])
    for text in figure.findobj(Text):
        if text.get_color() in ("black", "k"):
            text.set_color(look["ink"])


def draw_own(axis: Axes, grid: Grid, view: Own, state: Mapping[str, Any]) -> None:
    """A panel of one's own, by its Matplotlib function; a note where it has none."""
    if view.matplotlib is None:
        axis.text(0.5, 0.5, "live only", ha="center", va="center", transform=axis.transAxes, fontsize=8)
        axis.set_axis_off()
        return
    view.matplotlib(axis, Shown(grid, state, view.axes(grid)))


def _panels(grid: Grid, view: View) -> int:
    col = getattr(view, "col", None)
    return len(grid.dims[col].values) if col else 1


def _height(grid: Grid, view: View, state: Mapping[str, Any]) -> float:
    """Inches of a row of pictures; of names below each other as many as they need."""
    if isinstance(view, Intervals):
        return 1.2 + 0.14 * int(np.isfinite(grid.take(view.var, state, view.axes(grid))).sum())
    return 2.7 if 3 < _panels(grid, view) <= 6 else 3.5


def _rows(grid: Grid, views: Sequence[View]) -> list[list[int]]:
    """Views with columns each in a row of their own; the others up to three side by side, rows of like length."""
    rows: list[list[int]] = []
    for wide, run in itertools.groupby(range(len(views)), lambda index: _panels(grid, views[index]) > 1):
        single = list(run)
        count = len(single) if wide else math.ceil(len(single) / 3)
        rows += [part.tolist() for part in np.array_split(single, count)]
    return rows


def _caption(grid: Grid, state: Mapping[str, Any], title: str) -> str:
    parts = []
    for name in (n for n in state if n in grid.dims):
        dim, value = grid.dims[name], state[name]
        word = f"{value:g} {dim.units}".strip() if isinstance(value, int | float) and dim.numeric else str(value)
        between = dim.numeric and value != "mean" and dim.index(value) is None
        parts.append(f"{dim.label}: {word}" + (" (interpolated)" if between else ""))
    whole = (part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)  # lines end between settings, not within one
    settings = [line.strip(" ·") for line in textwrap.wrap(" · ".join(whole), LINE)]
    return "\n".join(map(plain, [*textwrap.wrap(title, LINE)[:2], *settings[:3]]))


def _draw_view(
    part: Any, grid: Grid, view: View, state: Mapping[str, Any], index: int, quantiles: Sequence[float]
) -> None:
    count = _panels(grid, view)
    across = count if count <= 6 else math.ceil(count / 2)
    down = math.ceil(count / across)
    kind = {"projection": "3d"} if isinstance(view, Surface) else {}
    axes = part.subplots(down, across, squeeze=False, subplot_kw=kind).ravel()
    col = getattr(view, "col", None)
    settings = [{**state, col: value} for value in grid.dims[col].values] if col else [state]
    artist = None
    if isinstance(view, Surface | Contour | HeatMap):
        artist = draw_planes(axes, grid, view, settings, state, index)
    elif isinstance(view, Lines | Density | Bars):
        draw_series(axes, grid, view, settings, state, index, quantiles)
    elif isinstance(view, Scatter):
        artist = draw_scatter(axes, grid, view, settings)
    elif isinstance(view, Own):
        draw_own(axes[0], grid, view, state)
    elif isinstance(view, Intervals):
        draw_intervals(axes[0], grid, view, state)
    for axis, setting in zip(axes, settings, strict=False):
        name = getattr(view, "title", None) or ("" if isinstance(view, Scatter) else grid.named(view.variables[0]))
        heading = plain(setting[col] if col else name)
        if isinstance(view, HeatMap) and view.words is not None and (rate := rate_of(grid, view, setting)):
            heading += f"\n{plain(rate)}"
        above = 0.0 if isinstance(view, Intervals) else room_above(axis)
        axis.set_title(heading, fontsize=9, fontweight="normal" if col else "bold", pad=6 + above)
        axis.tick_params(labelsize=7)
    for axis in axes[count:]:
        axis.remove()
    if artist is not None:
        colored = view.variables[-1] if isinstance(view, Scatter) else view.variables[0]
        bar = part.colorbar(artist, ax=list(axes[:count]), shrink=0.8, pad=0.02)
        bar.set_label(plain(grid.named(colored)), fontsize=8)
        bar.ax.tick_params(labelsize=7)
