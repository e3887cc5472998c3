"""Points, classes and intervals in the static picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..view.grid import Grid
from ..view.kinds import Intervals, Scatter
from .look import DASHES, MARKS, NAMED, legend, notice, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_scatter(axes: Any, grid: Grid, view: Scatter, settings: Sequence[Any]) -> Any:
    """Each panel's points; what a colour bar is drawn from, None where colours are classes or one."""
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
    legend(axis, plain(grid.named(color)), markerscale=2)


def draw_intervals(axis: Axes, grid: Grid, view: Intervals, state: Mapping[str, Any]) -> None:
    """A row for each name that has numbers: its interval, the value in it, and the mark."""
    (rows,) = view.axes(grid)
    read = {name: grid.take(name, state, (rows,), codes=name == view.color) for name in view.variables}
    kept = np.flatnonzero(np.isfinite(read[view.var]))
    if not kept.size:
        return notice(axis, grid, view, state)
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
