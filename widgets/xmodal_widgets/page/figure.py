"""The static picture of a view, by Matplotlib: same data, same scales, no browser.

``Figure`` is used directly, never pyplot: callbacks run on other threads.
"""

from __future__ import annotations

import itertools
import math
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from ..view.grid import Dim, Grid
from ..view.kinds import Bars, Contour, Density, HeatMap, Intervals, Lines, Scatter, Surface, View
from ..view.own import Own, Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What the live view takes from view.css, light and dark; a test holds the two together.
LOOKS = {
    False: {"page": "#ffffff", "ink": "#1b1b1b", "muted": "#3d3d3d", "faint": "#767676", "line": "#d9d9d9"},
    True: {"page": "#141414", "ink": "#f2f2f2", "muted": "#d0d0d0", "faint": "#9a9a9a", "line": "#444444"},
}
# Palettes, as in js/data/palette.js: zero in the middle; seaborn's "colorblind".
DIVERGING = ("#143e86", "#4883c4", "#a0c7e4", "#f5f5f2", "#f4ba8c", "#d66e2e", "#84280e")
DIVERGING_DARK = ("#9ecaff", "#4c92de", "#28528a", "#262628", "#80421a", "#e27a32", "#ffc48c")  # zero as the page
NAMED = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#949494", "#56b4e9", "#fbafe4", "#ece133")
DASHES = ("-", "--", ":", "-.")
MARKS = ("o", "s", "^", "D", "v")
MARKED = "#d55e00"
FAINTEST = 1e-4  # of the largest density: what lies below is not shown (ours); as in js/draw/density.js
WIDTH = 11.0  # inches; at 100 dpi as wide as a notebook on a laptop
LINE = 140  # letters of one line above the views, at 10 points
LONGEST = 160  # letters of one text; more would push the axes out of the picture


_ON_DARK: ContextVar[bool] = ContextVar("on_dark", default=False)  # the page that is drawn on: what palettes ask


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
    page = _ON_DARK.set(dark)
    bands = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for band, row in zip(bands, rows, strict=True):
        parts = band.subfigures(1, len(row), squeeze=False)[0]
        for part, index in zip(parts, row, strict=True):
            _draw_view(part, grid, views[index], state, index, quantiles)
    _ON_DARK.reset(page)
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


def plain(text: object, most: int = LONGEST) -> str:
    """A name from the cube as the live view shows it: no mathematics, no control characters, not endless."""
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(text))
    shown = f" {shown}" if shown.startswith("_") else shown  # Matplotlib hides such names from a legend
    return (shown if len(shown) <= most else f"{shown[: most - 1]}…").replace("$", r"\$")


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
        artist = _draw_planes(axes, grid, view, settings, state, index)
    elif isinstance(view, Lines | Density | Bars):
        _draw_series(axes, grid, view, settings, state, index, quantiles)
    elif isinstance(view, Scatter):
        artist = _draw_scatter(axes, grid, view, settings)
    elif isinstance(view, Own):
        draw_own(axes[0], grid, view, state)
    elif isinstance(view, Intervals):
        _draw_intervals(axes[0], grid, view, state)
    for axis, setting in zip(axes, settings, strict=False):
        name = getattr(view, "title", None) or ("" if isinstance(view, Scatter) else grid.named(view.variables[0]))
        heading = plain(setting[col] if col else name)
        if isinstance(view, HeatMap) and view.words is not None and (rate := _rate(grid, view, setting)):
            heading += f"\n{plain(rate)}"
        axis.set_title(heading, fontsize=9, fontweight="normal" if col else "bold")
        axis.tick_params(labelsize=7)
    for axis in axes[count:]:
        axis.remove()
    if artist is not None:
        colored = view.variables[-1] if isinstance(view, Scatter) else view.variables[0]
        bar = part.colorbar(artist, ax=list(axes[:count]), shrink=0.8, pad=0.02)
        bar.set_label(plain(grid.named(colored)), fontsize=8)
        bar.ax.tick_params(labelsize=7)


# -- planes --------------------------------------------------------------------------------------


def _scale(grid: Grid, view: Any, slices: Sequence[np.ndarray], log: bool, fit: bool) -> tuple[float, float] | None:
    """What the scale spans: the view's limits, what is shown ("fit"), or the whole cube."""
    if view.limits is not None:
        return float(view.limits[0]), float(view.limits[1])
    shown = [s.ravel() for s in slices]
    whole = [] if fit or getattr(view, "versus", None) else [grid.arrays[view.var].ravel()]
    numbers = np.concatenate([*shown, *whole])
    numbers = numbers[np.isfinite(numbers) & ((numbers > 0) | (not log))]
    if not numbers.size:
        return None
    low, high = float(numbers.min()), float(numbers.max())
    if getattr(view, "palette", "") == "diverging" and not log:
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    return low, high


def _colors(view: Any) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    name = str(getattr(view, "palette", "viridis"))
    anchors = DIVERGING_DARK if _ON_DARK.get() else DIVERGING
    return LinearSegmentedColormap.from_list(name, anchors) if name == "diverging" else name


def _draw_planes(
    axes: Any, grid: Grid, view: Any, settings: Sequence[Any], state: Mapping[str, Any], index: int
) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    path = getattr(view, "path", None)
    if path is not None:  # a mean over seeds is no way that anyone went
        settings = [_one_of_means(grid, path, setting) for setting in settings]
    slices = [grid.take(view.var, setting, (view.x, view.y)) for setting in settings]
    log = state["log"][index] and bool((grid.arrays[view.var] > 0).any())
    span = _scale(grid, view, slices, log, state["fit"][index])
    cells = isinstance(view, HeatMap)
    x, y = (_places(grid.dims[d], cells) for d in (view.x, view.y))
    norm: Any = (LogNorm if log else Normalize)(*span) if span else None
    for axis, values, setting in zip(axes, slices, settings, strict=False):
        axis.set_xlabel(plain(grid.named(view.x)), fontsize=8)
        axis.set_ylabel(plain(grid.named(view.y)), fontsize=8)
        values = np.where(np.isfinite(values) & ((values > 0) | (not log)), values, np.nan)
        if span is None or np.isnan(values).all():
            _notice(axis, grid, view, setting)
        elif isinstance(view, Surface):
            _draw_surface(axis, x, y, values, norm, log, state, _colors(view))
        elif isinstance(view, HeatMap):
            _draw_cells(axis, grid, view, x, y, values, norm, setting)
        else:
            _draw_contour(axis, x, y, values, norm, log, _colors(view))
            if path is not None:
                steps = np.asarray(grid.dims[grid.axes[path][-2]].values, dtype=float)
                time = setting.get(view.at) if view.at else None
                at = (
                    None if time in (None, "mean") else np.interp(time, np.asarray(steps, float), np.arange(len(steps)))
                )
                _draw_path(axis, grid.take(path, setting, grid.axes[path][-2:]), at)
    return ScalarMappable(norm, _colors(view)) if span else None


def _means(grid: Grid, name: str, setting: Mapping[str, Any]) -> list[str]:
    """The dimensions of a variable over which a setting averages."""
    return [d for d in grid.axes[name] if setting.get(d) == "mean" and grid.dims[d].index("mean") is None]


def _one_of_means(grid: Grid, name: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    return {**setting, **{d: grid.dims[d].values[0] for d in _means(grid, name, setting)}}


def _draw_path(axis: Axes, places: np.ndarray, step: float | None = None) -> None:
    """The way across the plane: a ring where it begins, a dot where it ends, a mark at ``step``."""
    there = places[np.isfinite(places).all(1)]
    if not len(there):
        return
    for color, wide in (("black", 3.4), ("white", 1.6)):
        axis.plot(*there.T, color=color, lw=wide, alpha=0.65 if wide > 2 else 1)
    axis.plot(*there[0], "o", mfc="none", mec="white", ms=8)
    if step is not None:
        spot = [np.interp(step, np.arange(len(places)), places[:, k]) for k in range(2)]
        axis.plot(*spot, "o", mfc=MARKED, mec="white", ms=8, zorder=4)
    axis.plot(*there[-1], "o", color="white", mec="black", ms=6)


def _rate(grid: Grid, view: HeatMap, setting: Mapping[str, Any]) -> str:
    """What one step of x is worth in words, or that it has no such rate; as the live view says it."""
    from xmodal_lab.instruments.information import exchange_rate  # at use: a view needs no torch

    means = _means(grid, view.var, setting)
    x, y = grid.dims[view.x], grid.dims[view.y]
    values = grid.take(view.var, setting, (view.x, view.y, *means)).reshape(len(x.values), len(y.values), -1)
    values = values[..., np.isfinite(values).all((0, 1))]
    if not values.shape[2]:
        return ""
    images, texts = (np.asarray(dim.values, dtype=float) for dim in (x, y))
    found = exchange_rate(values if values.shape[2] > 1 else values[..., 0], images, texts, float(view.words or 1))
    if found.refused:
        return "no exchange rate"
    low, high = found.interval
    return f"one more of {x.label} ≈ {found.rate:.2g} words ({low:.2g} to {high:.2g})"


def _even(dim: Dim) -> bool:
    """Whether the values are numbers at even steps; only then do cells stand on a scale."""
    steps = np.diff(np.asarray(dim.values, dtype=float)) if dim.numeric else np.zeros(0)
    return bool(steps.size and np.ptp(steps) <= 1e-6 * abs(steps[0]))


def _places(dim: Dim, cells: bool) -> np.ndarray:
    return np.asarray(dim.values, dtype=float) if not cells or _even(dim) else np.arange(len(dim.values), dtype=float)


def _draw_cells(
    axis: Axes, grid: Grid, view: HeatMap, x: Any, y: Any, values: Any, norm: Any, setting: Mapping[str, Any]
) -> None:
    alpha: Any = None
    if view.under is not None:
        up, across = grid.axes[view.under][-2:]
        picture = grid.take(view.under, setting, (up, across))
        ends = (
            x[0] - (x[1] - x[0]) / 2,
            x[-1] + (x[1] - x[0]) / 2,
            y[0] - (y[1] - y[0]) / 2,
            y[-1] + (y[1] - y[0]) / 2,
        )
        axis.imshow(picture, cmap="gray", extent=ends, origin="lower", aspect="auto")
        alpha = 0.1 + 0.75 * np.clip(np.nan_to_num(np.asarray(norm(values.T))), 0, 1)
    axis.pcolormesh(x, y, values.T, norm=norm, cmap=_colors(view), shading="nearest", alpha=alpha)
    if view.levels and np.nanmax(values) > np.nanmin(values) and min(values.shape) > 1:
        lines = axis.contour(x, y, values.T, colors="white", linewidths=0.8)
        axis.clabel(lines, fontsize=6, fmt="%.3g")
    for dim, place, setter in ((grid.dims[view.x], x, axis.set_xticks), (grid.dims[view.y], y, axis.set_yticks)):
        if not _even(dim):
            setter(place, [f"{v:g}" if dim.numeric else plain(v, 16) for v in dim.values])


def _draw_surface(
    axis: Any, x: Any, y: Any, values: Any, norm: Any, log: bool, state: Mapping[str, Any], palette: Any
) -> None:
    import matplotlib as mpl

    clipped = np.clip(values, norm.vmin, norm.vmax)
    height = np.log10(clipped) if log else clipped
    colors = mpl.colormaps.get_cmap(palette)(np.ma.filled(norm(np.ma.masked_invalid(clipped)), 0.0))
    grid_x, grid_y = np.meshgrid(x, y, indexing="ij")
    stride = max(1, (len(x) - 1) // 20)  # a small picture: as many facets as it can show
    look = {"rstride": stride, "cstride": stride, "linewidth": 0.2, "edgecolor": (0, 0, 0, 0.3), "shade": False}
    axis.plot_surface(grid_x, grid_y, height, facecolors=colors, **look)
    ends = [math.log10(v) for v in (norm.vmin, norm.vmax)] if log else [norm.vmin, norm.vmax]
    if ends[1] > ends[0]:
        axis.set_zlim(*ends)
    axis.view_init(elev=state["elevation"], azim=-90 - state["azimuth"])
    axis.tick_params(pad=-2)
    for direction in (axis.xaxis, axis.yaxis, axis.zaxis):
        direction.set_major_locator(mpl.ticker.MaxNLocator(4))
        direction.labelpad = -4
    if log:
        axis.zaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{10**v:.2g}"))


def _draw_contour(axis: Axes, x: Any, y: Any, values: Any, norm: Any, log: bool, palette: Any) -> None:
    import matplotlib as mpl

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    locator = mpl.ticker.LogLocator(subs=(1, 2, 5)) if log and high > 5 * low else mpl.ticker.MaxNLocator(9)
    levels = [v for v in locator.tick_values(low, high) if low < v < high] if high > low else []
    clipped = np.clip(values, norm.vmin, norm.vmax)
    if levels:
        axis.contourf(x, y, clipped.T, levels=[low, *levels, high], norm=norm, cmap=palette)
        lines = axis.contour(x, y, values.T, levels=levels, colors="white", linewidths=0.7)
        axis.clabel(lines, fontsize=6, fmt="%.3g")
    else:
        axis.pcolormesh(x, y, clipped.T, norm=norm, cmap=palette, shading="nearest")
    axis.set_xlim(x[0], x[-1])
    axis.set_ylim(y[0], y[-1])


# -- lines, bars, points -------------------------------------------------------------------------


def _draw_series(
    axes: Any,
    grid: Grid,
    view: Any,
    settings: Sequence[Any],
    state: Mapping[str, Any],
    index: int,
    quantiles: Sequence[float],
) -> None:
    keep = [d for d in (view.hue, view.x, view.band) if d is not None]
    slices = [_less(grid, view, grid.take(view.var, setting, keep), keep) for setting in settings]
    log = state["log"][index] and bool((grid.arrays[view.var] > 0).any())
    span = _scale(grid, view, slices, log, state["fit"][index])
    if view.floor is not None and view.limits is None and span is not None:
        floor = grid.arrays[view.floor]
        floor = floor[np.isfinite(floor) & ((floor > 0) | (not log))]
        span = (min(span[0], float(floor.min())), max(span[1], float(floor.max()))) if floor.size else span
    banded = [band(values, quantiles) if view.band else (values, None) for values in slices]
    if view.limits is None and span is not None:
        span = _with_whiskers(span, banded, log)
    for axis, (mean, half), setting in zip(axes, banded, settings, strict=False):
        table = mean if view.hue else mean[None]
        spread = None if half is None else half if view.hue else half[None]
        if np.isfinite(table).any():
            (_draw_bars if isinstance(view, Bars) else _draw_lines)(axis, grid, view, table, spread, setting)
            if view.floor is not None:
                at = {**setting, view.band: "mean"} if view.band else setting
                floor = grid.take(view.floor, at, (view.x,))
                axis.plot(grid.dims[view.x].values, floor, "--", color="0.5", label=plain(grid.named(view.floor)))
        else:
            _notice(axis, grid, view, setting)
        axis.set_xlabel(plain(grid.named(view.x)), fontsize=8)
        less = f" less that at {next(iter(view.versus.values()))}" if view.versus else ""
        axis.set_ylabel(plain(grid.named(view.var) + less), fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="0.5", alpha=0.3, lw=0.6)
        axis.set_axisbelow(True)
        if log:
            axis.set_yscale("log")
        if span is not None and span[1] > span[0]:
            _set_span(axis, view, span, log)
        if isinstance(view, Density):
            _draw_spectrum(axis, grid, view, table, setting)
        drawn = bool(axis.get_legend_handles_labels()[0])
        if view.floor is not None and not view.hue and drawn:
            axis.legend(fontsize=7, frameon=False)
        if view.hue and drawn:
            dim = grid.dims[view.hue]
            title = plain(grid.named(dim.name))
            axis.legend(fontsize=7, title_fontsize=7, frameon=False, title=title)


def _less(grid: Grid, view: Any, values: np.ndarray, keep: Sequence[str]) -> np.ndarray:
    """Values less those at the reference of ``versus``, pair by pair."""
    if not view.versus:
        return values
    ((name, value),) = view.versus.items()
    axis = keep.index(name)
    reference = grid.dims[name].index(value) or 0
    difference: np.ndarray = values - values.take([reference], axis=axis)
    return difference


def band(values: np.ndarray, quantiles: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and half width of its 95 % interval (Student t) over the last axis, over finite members."""
    finite = np.where(np.isfinite(values), values, np.nan)
    count = np.isfinite(finite).sum(axis=-1)
    safe = np.maximum(count, 1)
    mean = np.where(count > 0, np.nansum(finite, axis=-1) / safe, np.nan)
    squares = np.nansum((finite - mean[..., None]) ** 2, axis=-1)
    table = np.asarray([np.nan, np.nan, *quantiles])
    half = table[np.minimum(count, len(table) - 1)] * np.sqrt(squares / np.maximum(count - 1, 1) / safe)
    return mean, np.where(count > 1, half, np.nan)


def _with_whiskers(
    span: tuple[float, float], banded: Sequence[tuple[np.ndarray, np.ndarray | None]], log: bool
) -> tuple[float, float]:
    """The scale, stretched to where intervals end: few members' are wider than the members lie apart."""
    ends = [m + sign * np.nan_to_num(h) for m, h in banded if h is not None for sign in (-1, 1)]
    numbers = np.concatenate([span, *(e.ravel() for e in ends)])
    numbers = numbers[np.isfinite(numbers) & ((numbers > 0) | (not log))]
    return float(numbers.min()), float(numbers.max())


def _set_span(axis: Axes, view: Any, span: tuple[float, float], log: bool) -> None:
    low, high = span
    if isinstance(view, Bars) and view.limits is None and not log:
        low, high = min(0.0, low) * 1.08, max(0.0, high) * 1.1
    elif isinstance(view, Density) and view.limits is None:
        low, high = (max(low, high * FAINTEST), high * 1.3) if log else (0.0, high * 1.05)
    elif view.limits is None:
        pad = 0.0 if log else 0.04 * (high - low)
        low, high = low - pad, high + pad
    axis.set_ylim(low, high)


def _draw_lines(
    axis: Axes, grid: Grid, view: Lines | Density, table: Any, spread: Any, setting: Mapping[str, Any]
) -> None:
    import matplotlib as mpl

    x = np.asarray(grid.dims[view.x].values, dtype=float)
    for h, values in enumerate(table):
        color = _hue_color(grid, view.hue, h)
        label = plain(grid.dims[view.hue].values[h]) if view.hue else None
        marker = "o" if len(x) <= 60 else None
        axis.plot(x, values, color=color, ls=DASHES[h % 4], marker=marker, ms=3, lw=1.6, label=label)
        if spread is not None and view.versus:  # differences with their whiskers: bands would cover each other
            axis.vlines(x, values - spread[h], values + spread[h], color=color, lw=1.2)
        elif spread is not None:
            axis.fill_between(x, values - spread[h], values + spread[h], color=color, alpha=0.22, lw=0)
    if isinstance(setting.get(view.x), int | float):
        axis.axvline(setting[view.x], color="0.3", ls="--", lw=1)
    if isinstance(view, Lines) and _geometric(x):  # as in js: numbers that double stand at even steps
        axis.set_xscale("log")
        axis.set_xticks(x, [f"{v:g}" for v in x])
        axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    elif grid.dims[view.x].kind == "int":
        axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))


def _geometric(x: np.ndarray) -> bool:
    """Whether numbers grow by about the same factor at each step."""
    if len(x) < 4 or not x[0] > 0:
        return False
    factors = x[1:] / x[:-1]
    return bool(factors.min() >= 1.5 and factors.max() <= 1.35 * factors.min())


def _draw_spectrum(axis: Axes, grid: Grid, view: Density, table: Any, setting: Mapping[str, Any]) -> None:
    """The symmetric-log axis of a density, the area under it, zero, and the leading eigenvalues on the axis."""
    import matplotlib as mpl

    grid_x, s = np.asarray(grid.dims[view.x].values, dtype=float), view.scale
    low, high = _lambda_span(grid, view)
    axis.set_xscale("function", functions=(lambda v: np.arcsinh(v / s), lambda u: s * np.sinh(u)))
    axis.set_xlim(low, high)
    powers = [10.0**e for e in range(round(math.log10(s)) + 1, 12)]
    ticks = [v for v in [*(-p for p in reversed(powers)), 0.0, *powers] if low <= v <= high]
    axis.set_xticks(ticks[:: 1 + len(ticks) // 11], [f"{v:g}" for v in ticks[:: 1 + len(ticks) // 11]])
    axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axis.set_xlabel(plain(view.spec(grid)["label"]), fontsize=8)
    axis.axvline(0.0, color="0.7", lw=0.8)
    for h, values in enumerate(table):
        axis.fill_between(grid_x, values, axis.get_ylim()[0], color=_hue_color(grid, view.hue, h), alpha=0.18, lw=0)
    if view.marks is None:
        return
    keep = [d for d in (view.hue,) if d in grid.axes[view.marks]]
    at = {**setting, view.band: "mean"} if view.band else setting
    marks = grid.take(view.marks, at, (*keep, view.counted(grid)))
    for h, values in enumerate(marks if keep else marks[None]):
        color = _hue_color(grid, view.hue, h) if keep else MARKED
        axis.plot(
            values, np.zeros(len(values)), "^", color=color, ms=7, transform=axis.get_xaxis_transform(), clip_on=False
        )


def _lambda_span(grid: Grid, view: Density) -> tuple[float, float]:
    """From where to where any density of the cube, or a marked eigenvalue, is seen."""
    x = np.asarray(grid.dims[view.x].values, dtype=float)
    values = np.moveaxis(grid.arrays[view.var], grid.axes[view.var].index(view.x), -1).reshape(-1, len(x))
    most = np.where(np.isfinite(values), values, 0.0).max(0)
    there = np.flatnonzero(most > FAINTEST * most.max())
    ends = [x[max(0, there[0] - 1)], x[min(len(x) - 1, there[-1] + 1)]] if there.size else [x[0], x[-1]]
    marked = grid.arrays[view.marks] if view.marks is not None else np.zeros(0)
    ends += [float(end(marked[np.isfinite(marked)])) for end in (np.min, np.max) if np.isfinite(marked).any()]
    return float(min(ends)), float(max(ends))


def _draw_bars(axis: Axes, grid: Grid, view: Bars, table: Any, spread: Any, setting: Mapping[str, Any]) -> None:
    names = [str(v) for v in grid.dims[view.x].values]
    width = 0.76 / len(table)
    for h, values in enumerate(table):
        places = np.arange(len(names)) + (h - (len(table) - 1) / 2) * width
        label = plain(grid.dims[view.hue].values[h]) if view.hue else None
        whiskers = None if spread is None else np.nan_to_num(spread[h])
        color = _hue_color(grid, view.hue, h)
        bars = axis.bar(places, np.nan_to_num(values), width, yerr=whiskers, capsize=2, color=color, label=label)
        if table.size <= 10:
            axis.bar_label(bars, labels=[f"{v:.3g}" if np.isfinite(v) else "–" for v in values], fontsize=7, padding=2)
    wrapped = ["\n".join(map(plain, textwrap.wrap(name, max(8, 44 // len(names)))[:6])) for name in names]
    axis.set_xticks(np.arange(len(names)), wrapped, fontsize=7)


def _hue_color(grid: Grid, hue: str | None, h: int) -> Any:
    import matplotlib as mpl

    if hue is not None and grid.dims[hue].numeric:
        return mpl.colormaps["viridis"](
            0.33 + 0.52 * h / max(1, len(grid.dims[hue].values) - 1)
        )  # as hueStyle in series.js
    return NAMED[h % len(NAMED)]


def _draw_scatter(axes: Any, grid: Grid, view: Scatter, settings: Sequence[Any]) -> Any:
    points = view.axes(grid)[0]
    artist = None
    for axis, setting in zip(axes, settings, strict=False):
        x, y = (grid.take(name, setting, (points,)) for name in (view.x, view.y))
        if view.equal:
            axis.set_aspect("equal", adjustable="datalim")
        if view.color is None:
            axis.scatter(x, y, s=5, color=NAMED[0], alpha=0.7)
        else:
            tone = grid.take(view.color, setting, (points,), codes=grid.attrs[view.color]["whole"])
            classes = np.unique(tone[np.isfinite(tone)])
            if grid.attrs[view.color]["whole"] and len(classes) <= len(NAMED):
                _draw_classes(axis, grid, view, classes, x, y, tone)
            else:
                artist = axis.scatter(x, y, s=5, c=tone, cmap="viridis")
        axis.set_xlabel(plain(grid.named(view.x)), fontsize=8)
        axis.set_ylabel(plain(grid.named(view.y)), fontsize=8)
    return artist


def _draw_classes(axis: Axes, grid: Grid, view: Scatter, classes: Any, x: Any, y: Any, tone: Any) -> None:
    color = str(view.color)
    meanings = grid.attrs[color]["meanings"]
    for k, code in enumerate(classes):
        name = meanings[int(code)] if 0 <= int(code) < len(meanings) else f"{code:g}"
        here = tone == code
        if view.curves:
            axis.plot(x[here], y[here], color=NAMED[k], ls=DASHES[k % 4], lw=1.6, label=plain(name))
            continue
        axis.scatter(x[here], y[here], s=5, color=NAMED[k], marker=MARKS[k % len(MARKS)], alpha=0.7, label=plain(name))
    axis.legend(fontsize=7, title_fontsize=7, frameon=False, markerscale=2, title=plain(grid.named(color)))


def _draw_intervals(axis: Axes, grid: Grid, view: Intervals, state: Mapping[str, Any]) -> None:
    (rows,) = view.axes(grid)
    read = {name: grid.take(name, state, (rows,), codes=name == view.color) for name in view.variables}
    kept = np.flatnonzero(np.isfinite(read[view.var]))
    if not kept.size:
        return _notice(axis, grid, view, state)
    low, high = view.limits or (
        min(0.0, float(np.nanmin(read[view.low][kept]))), max(0.0, float(np.nanmax(read[view.high][kept])))
    )  # fmt: skip
    if view.shade is not None:
        axis.axvspan(*view.shade, color="0.5", alpha=0.15, lw=0)
    axis.axvline(0.0, color="0.5", lw=1)
    tones = np.unique(grid.arrays[view.color]) if view.color else np.zeros(1)
    for place, k in enumerate(kept):
        tone = int(np.searchsorted(tones, read[view.color][k])) if view.color else 0
        color = (view.colors or NAMED)[tone % len(view.colors or NAMED)]
        ends = np.clip([read[view.low][k], read[view.high][k]], low, high)
        axis.plot(ends, [place, place], color=color, lw=2)
        for name, mark, tint in ((view.var, "o", color), (view.mark, "D", "0.4")):
            if name is not None and np.isfinite(read[name][k]):
                value = float(np.clip(read[name][k], low, high))
                shape = mark if value == read[name][k] else "<" if value == low else ">"
                axis.plot(value, place, shape, color=tint, ms=4, fillstyle="full" if mark == "o" else "none")
        margin = read[view.margin][k] if view.margin else math.nan
        for side, bracket in ((-1, "["), (1, "]")) if np.isfinite(margin) else ():
            if low < side * margin < high:
                axis.text(side * margin, place, bracket, color="0.4", ha="center", va="center", fontsize=7)
    axis.set_yticks(range(len(kept)), [plain(grid.dims[rows].values[k], 30) for k in kept])
    axis.set_ylim(len(kept) - 0.4, -0.6)
    axis.set_xlim(low, high)
    axis.set_xlabel(plain(grid.named(view.var)), fontsize=8)
    if view.color is not None:
        _interval_legend(axis, grid, view, tones)


def _interval_legend(axis: Axes, grid: Grid, view: Intervals, tones: np.ndarray) -> None:
    from matplotlib.lines import Line2D

    meanings = grid.attrs[str(view.color)]["meanings"]
    colors = view.colors or NAMED
    handles = [
        Line2D([], [], color=colors[k % len(colors)], marker="o", lw=2, label=plain(meanings[int(code)]))
        for k, code in enumerate(tones)
        if 0 <= int(code) < len(meanings)
    ]
    if view.mark is not None:
        label = plain(grid.named(view.mark))
        handles.append(Line2D([], [], color="0.4", marker="D", ls="", fillstyle="none", label=label))
    axis.legend(handles=handles, fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=7)


def _notice(axis: Any, grid: Grid, view: View, setting: Mapping[str, Any]) -> None:
    """Why a panel is empty: its sweep said so; or it was computed, and the view says why; or it was not computed."""
    text = axis.text2D if hasattr(axis, "text2D") else axis.text
    words = grid.why(view.variables, setting)
    if not words and _computed(grid, view.variables[0], setting):
        words = getattr(view, "absent", None) or "has no value here"
    words = textwrap.fill(plain(words) or "nothing computed here yet", 36)
    text(0.5, 0.5, words, ha="center", va="center", transform=axis.transAxes, fontsize=8)


def _computed(grid: Grid, name: str, setting: Mapping[str, Any]) -> bool:
    """Whether another variable that hangs on the same controls has a number at ``setting``."""
    wanted = {d for d in grid.axes[name] if d in setting}
    others = [n for n in grid.arrays if n != name and not grid.attrs[n]["extra"] and wanted <= {*grid.axes[n]}]
    return any(
        bool(np.isfinite(grid.take(n, setting, tuple(d for d in grid.axes[n] if d not in setting))).any())
        for n in others
    )
