"""Lines, densities and bars in the static picture."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..view.grid import Grid
from ..view.kinds import Bars, Density, Lines
from .look import DASHES, MARKED, NAMED, legend, notice, plain, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAINTEST = 1e-4  # of the largest density: what lies below is not shown (ours); as in js/draw/density.js


def draw_series(
    axes: Any,
    grid: Grid,
    view: Any,
    settings: Sequence[Any],
    state: Mapping[str, Any],
    index: int,
    quantiles: Sequence[float],
) -> None:
    """Each panel's lines or bars, with their intervals, on one scale."""
    keep = [d for d in (view.hue, view.x, view.band) if d is not None]
    slices = [_less(grid, view, grid.take(view.var, setting, keep), keep) for setting in settings]
    log = state["log"][index] and bool((grid.arrays[view.var] > 0).any())
    span = scale_of(grid, view, slices, log, state["fit"][index])
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
            notice(axis, grid, view, setting)
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
            legend(axis)
        if view.hue and drawn:
            dim = grid.dims[view.hue]
            title = plain(grid.named(dim.name))
            legend(axis, title)


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
        color = hue_color(grid, view.hue, h)
        label = plain(grid.dims[view.hue].values[h]) if view.hue else None
        marker = "o" if len(x) <= 60 else None
        look: dict[str, Any] = {"color": color}
        if view.versus:
            look["transform"] = _aside(axis, h - (len(table) - 1) / 2)
        axis.plot(x, values, ls=DASHES[h % 4], marker=marker, ms=3, lw=1.6, label=label, **look)
        if spread is not None and view.versus:  # differences with their whiskers: bands would cover each other
            axis.vlines(x, values - spread[h], values + spread[h], lw=1.2, **look)
            for end in (-1, 1):
                axis.plot(x, values + end * spread[h], "_", ms=4, mew=1.2, **look)
        elif spread is not None:
            axis.fill_between(x, values - spread[h], values + spread[h], color=color, alpha=0.22, lw=0)
    if view.versus:  # what stands aside is outside of Matplotlib's own count
        axis.update_datalim([(x.min(), 0.0), (x.max(), 0.0)], updatey=False)
        axis.autoscale_view(scaley=False)
    if isinstance(setting.get(view.x), int | float):
        axis.axvline(setting[view.x], color="0.3", ls="--", lw=1)
    if isinstance(view, Lines) and _geometric(x):  # as in js: numbers that double stand at even steps
        axis.set_xscale("log")
        axis.set_xticks(x, [f"{v:g}" for v in x])
        axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    elif grid.dims[view.x].kind == "int":
        axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))


def _aside(axis: Axes, steps: float) -> Any:
    """The axis's own transform, some points aside: whiskers of several curves stand beside each other, as in js."""
    from matplotlib.transforms import ScaledTranslation

    return axis.transData + ScaledTranslation(3 * steps / 72, 0, axis.figure.dpi_scale_trans)


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
    low, high = lambda_span(grid, view)
    axis.set_xscale("function", functions=(lambda v: np.arcsinh(v / s), lambda u: s * np.sinh(u)))
    axis.set_xlim(low, high)
    powers = [10.0**e for e in range(round(math.log10(s)) + 1, 12)]
    ticks = [v for v in [*(-p for p in reversed(powers)), 0.0, *powers] if low <= v <= high]
    axis.set_xticks(ticks[:: 1 + len(ticks) // 11], [f"{v:g}" for v in ticks[:: 1 + len(ticks) // 11]])
    axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axis.set_xlabel(plain(view.spec(grid)["label"]), fontsize=8)
    axis.axvline(0.0, color="0.7", lw=0.8)
    for h, values in enumerate(table):
        axis.fill_between(grid_x, values, axis.get_ylim()[0], color=hue_color(grid, view.hue, h), alpha=0.18, lw=0)
    if view.marks is None:
        return
    keep = [d for d in (view.hue,) if d in grid.axes[view.marks]]
    at = {**setting, view.band: "mean"} if view.band else setting
    marks = grid.take(view.marks, at, (*keep, view.counted(grid)))
    for h, values in enumerate(marks if keep else marks[None]):
        color = hue_color(grid, view.hue, h) if keep else MARKED
        axis.plot(
            values, np.zeros(len(values)), "^", color=color, ms=7, transform=axis.get_xaxis_transform(), clip_on=False
        )


def lambda_span(grid: Grid, view: Density) -> tuple[float, float]:
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
        color = hue_color(grid, view.hue, h)
        bars = axis.bar(places, np.nan_to_num(values), width, yerr=whiskers, capsize=2, color=color, label=label)
        if table.size <= 10:
            axis.bar_label(bars, labels=[f"{v:.3g}" if np.isfinite(v) else "–" for v in values], fontsize=7, padding=2)
    wrapped = ["\n".join(map(plain, textwrap.wrap(name, max(8, 44 // len(names)))[:6])) for name in names]
    axis.set_xticks(np.arange(len(names)), wrapped, fontsize=7)


def hue_color(grid: Grid, hue: str | None, h: int) -> Any:
    """The colour of one hue: along viridis for numbers, one of the named for names."""
    import matplotlib as mpl

    if hue is not None and grid.dims[hue].numeric:
        return mpl.colormaps["viridis"](
            0.33 + 0.52 * h / max(1, len(grid.dims[hue].values) - 1)
        )  # as hueStyle in series.js
    return NAMED[h % len(NAMED)]
