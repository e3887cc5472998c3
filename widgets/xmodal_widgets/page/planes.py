"""Planes in the static picture: surfaces, contours and heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..view.grid import Dim, Grid
from ..view.kinds import HeatMap, Surface
from .look import MARKED, colors_of, notice, plain, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_planes(axes: Any, grid: Grid, view: Any, settings: Sequence[Any], state: Mapping[str, Any], index: int) -> Any:
    """Each panel's plane; what the colour bar is drawn from, None where no number is shown."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    path = getattr(view, "path", None)
    if path is not None:  # a mean over seeds is no way that anyone went
        settings = [_one_of_means(grid, path, setting) for setting in settings]
    slices = [grid.take(view.var, setting, (view.x, view.y)) for setting in settings]
    log = state["log"][index] and bool((grid.arrays[view.var] > 0).any())
    span = scale_of(grid, view, slices, log, state["fit"][index])
    cells = isinstance(view, HeatMap)
    x, y = (_places(grid.dims[d], cells) for d in (view.x, view.y))
    norm: Any = (LogNorm if log else Normalize)(*span) if span else None
    for axis, values, setting in zip(axes, slices, settings, strict=False):
        axis.set_xlabel(plain(grid.named(view.x)), fontsize=8)
        axis.set_ylabel(plain(grid.named(view.y)), fontsize=8)
        values = np.where(np.isfinite(values) & ((values > 0) | (not log)), values, np.nan)
        if span is None or np.isnan(values).all():
            notice(axis, grid, view, setting)
        elif isinstance(view, Surface):
            _draw_surface(axis, x, y, values, norm, log, state, colors_of(view))
        elif isinstance(view, HeatMap):
            _draw_cells(axis, grid, view, x, y, values, norm, setting)
        else:
            _draw_contour(axis, x, y, values, norm, log, colors_of(view))
            if path is not None:
                steps = np.asarray(grid.dims[grid.axes[path][-2]].values, dtype=float)
                time = setting.get(view.at) if view.at else None
                at = (
                    None if time in (None, "mean") else np.interp(time, np.asarray(steps, float), np.arange(len(steps)))
                )
                _draw_path(axis, grid.take(path, setting, grid.axes[path][-2:]), at)
    return ScalarMappable(norm, colors_of(view)) if span else None


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


def rate_of(grid: Grid, view: HeatMap, setting: Mapping[str, Any]) -> str:
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
        axis.imshow(picture, cmap="gray", extent=ends, origin="lower", aspect="equal")  # a picture is not stretched
        alpha = 0.1 + 0.75 * np.clip(np.nan_to_num(np.asarray(norm(values.T))), 0, 1)
    if np.isnan(values).any():
        axis.patch.set(hatch="////", edgecolor="0.6", linewidth=0)  # what was not computed, as in the live view
    axis.pcolormesh(x, y, values.T, norm=norm, cmap=colors_of(view), shading="nearest", alpha=alpha)
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
