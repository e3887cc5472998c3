"""Planes: the loss around a net, the path that training took on one, accuracy over the shots of two modalities.

Values are in viridis, the same as in the live views.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..utils import checks as check
from .styles import legible, limits_of, size

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("contour", "surface", "heatmap")


def landscape(
    values: xr.DataArray,
    kind: str = "contour",
    *,
    ax: Axes | None = None,
    limits: tuple[float, float] | None = None,
    title: str | None = None,
    levels: int = 20,
) -> Axes:
    """Draw one plane of the loss.

    Args:
        values: dims ("a", "b"), as ``xl.landscape.plane`` returns it. Non-finite values are gaps.
        kind: "contour" | "surface" | "heatmap".
        ax: where to draw (a 3-D one for a surface); a new figure when not given.
        limits: of the colour scale; the finite range of the values when not given.
        title: the loss's name when not given.
        levels: number of contour lines.

    Returns:
        The Axes, with axis names, a colour bar and, in the corner, normalization and seed.

    Raises:
        ValueError: no plane, an unknown kind, a surface on flat axes.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([3.0, 4.0])})
        >>> axes = xl.plots.landscape(xl.landscape.plane(bowl, points=5))
        >>> axes.get_xlabel()
        'a'
    """
    import xarray as xr

    check.one_of("kind", kind, KINDS)
    check.instance("values", values, xr.DataArray, "as xl.landscape.plane returns it")
    levels = check.integer("levels", levels, at_least=2)
    given = None if limits is None else limits_of(limits)
    if tuple(values.dims) != ("a", "b"):
        raise ValueError(f"a landscape has dims ('a', 'b'), got {values.dims}; select the others first.")
    import matplotlib.pyplot as plt

    if ax is None:
        options = {"projection": "3d"} if kind == "surface" else None
        _, ax = plt.subplots(figsize=size(5, 4), subplot_kw=options, layout="constrained")
    shown = np.ma.masked_invalid(values.values)
    if given is None and not shown.count():
        raise ValueError("the landscape has no finite value.")
    low, high = given or (float(shown.min()), float(shown.max()))
    high = high if high > low else low + 1e-9 * max(1.0, abs(low))  # a flat plane still has a scale
    a, b = values["a"].values, values["b"].values
    drawing: Any = ax
    if kind == "surface":
        grid_a, grid_b = np.meshgrid(a, b, indexing="ij")
        mappable = drawing.plot_surface(
            grid_a, grid_b, shown, cmap="viridis", vmin=low, vmax=high, rcount=len(a), ccount=len(b), linewidth=0
        )
        drawing.set_zlim(low, high)
        drawing.set_zlabel(legible(values.attrs.get("long_name", "loss")))
    elif kind == "contour":
        mappable = ax.contourf(a, b, shown.T, levels=np.linspace(low, high, levels), cmap="viridis", extend="both")
        ax.contour(a, b, shown.T, levels=np.linspace(low, high, levels), colors="white", linewidths=0.4)
        ax.set_aspect("equal")
    else:
        mappable = ax.pcolormesh(a, b, shown.T, cmap="viridis", vmin=low, vmax=high, shading="nearest")
        ax.set_aspect("equal")
    if ax.figure is not None:
        ax.figure.colorbar(mappable, ax=ax, shrink=0.8, label=legible(values.attrs.get("long_name", "loss")))
    ax.set_xlabel(legible(values["a"].attrs.get("long_name", "a")))
    ax.set_ylabel(legible(values["b"].attrs.get("long_name", "b")))
    ax.set_title(legible(title if title is not None else values.attrs.get("long_name", "")))
    return ax


def landscapes(
    values: xr.DataArray | Mapping[str, xr.DataArray], over: str | None = None, kind: str = "contour"
) -> Figure:
    """Draw several planes side by side on one colour scale.

    Args:
        values: a dict of planes, or one DataArray with a further dimension ``over``.
        over: that dimension.
        kind: as in :func:`landscape`.

    Returns:
        The figure, one panel a plane.

    Raises:
        ValueError: no plane, or no dimension ``over``.
    """
    import matplotlib.pyplot as plt
    import xarray as xr

    check.one_of("kind", kind, KINDS)
    if not isinstance(values, Mapping):
        check.instance("values", values, xr.DataArray, "or a dict of them")
        if over is None:
            raise ValueError(f"name the dimension to lay side by side: over=…, one of {list(values.dims)}.")
        check.one_of("dimension", over, [str(d) for d in values.dims])
        values = {str(v): values.sel({over: v}) for v in values[over].values}
    if not values:
        raise ValueError("no landscape was given.")
    for name, one in values.items():
        check.instance(f"values[{name!r}]", one, xr.DataArray, "as xl.landscape.plane returns it")
    finite = np.concatenate([v.values[np.isfinite(v.values)] for v in values.values()])
    if len(finite) == 0:
        raise ValueError("no landscape has a finite value.")
    limits = (float(finite.min()), float(finite.max()))
    options = {"projection": "3d"} if kind == "surface" else None
    figure, axes = plt.subplots(
        1, len(values), figsize=size(3.4 * len(values), 3.4), subplot_kw=options, layout="constrained", squeeze=False
    )
    for ax, (name, plane) in zip(axes[0], values.items(), strict=True):
        landscape(plane, kind, ax=ax, limits=limits, title=name)
    for extra in [ax for ax in figure.axes if ax.get_label() == "<colorbar>"][:-1]:
        extra.remove()
    return figure


def trajectory(path: xr.Dataset, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Training drawn on the plane that it took.

    Args:
        path: as ``xl.landscape.trajectory_plane`` returns it, or :func:`~xmodal_lab.along` with ``trajectory=``.
        ax: where to draw; a new figure when not given.
        title: of the picture.

    Returns:
        The Axes: level lines of the loss, each run's checkpoints joined, a ring at the start and a dot at the end.

    Raises:
        TypeError: no trajectory.
    """
    import seaborn as sns
    import xarray as xr

    check.instance("path", path, xr.Dataset, "as landscape.trajectory_plane returns it")
    if "path" not in path or not {"loss", "trajectory"} & set(path):
        raise TypeError(f"path must hold a trajectory and its plane, got the variables {list(path)}.")
    own = "trajectory" in path
    plane = path["trajectory"].rename(ta="a", tb="b") if own else path["loss"]
    ax = landscape(plane, ax=ax, title=title if title is not None else "the plane that training took")
    runs = (
        {"": path["path"].to_numpy()}
        if own
        else {str(r): path["path"].sel(run=r).to_numpy() for r in path["run"].values}
    )
    for (name, points), color in zip(runs.items(), sns.color_palette("colorblind")[1:], strict=False):
        points = points[np.isfinite(points).all(1)]
        ax.plot(*points.T, "-o", color=color, markersize=3, linewidth=1.5, label=legible(name) or None)
        ax.plot(*points[0], "o", markerfacecolor="none", markeredgecolor=color, markersize=9)
        ax.plot(*points[-1], "o", color=color, markersize=7)
    if any(runs) and len(runs) > 1:
        ax.legend(frameon=False)
    return ax


def isolines(accuracy: xr.DataArray, lines: pd.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Accuracy over shots of two modalities, one cell per point measured, with lines of equal fitted accuracy.

    Args:
        accuracy: dims ("images", "texts"), mean over seeds.
        lines: columns "level", "images", "texts", as ``ExchangeRate.isolines`` returns them; none for an empty frame.
        ax: where to draw.
        title: such as ``ExchangeRate.summary()``.

    Returns:
        The axes that were drawn on.

    Raises:
        ValueError: other dimensions or columns.
    """
    import pandas as pd
    import xarray as xr

    check.instance("accuracy", accuracy, xr.DataArray, "such as ExchangeRate.measured")
    check.instance("lines", lines, pd.DataFrame, "such as ExchangeRate.isolines()")
    if tuple(accuracy.dims) != ("images", "texts"):
        raise ValueError(f"accuracies over shots have dims ('images', 'texts'), got {accuracy.dims}.")
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=size(5, 3.6), layout="constrained")
    rows, columns = accuracy["images"].values, accuracy["texts"].values
    # cells of one size: shots are spaced unevenly
    picture = ax.pcolormesh(np.arange(len(columns)), np.arange(len(rows)), accuracy.values, shading="nearest")
    for level, line in lines.groupby("level"):
        x = np.interp(line["texts"].to_numpy(float), columns, np.arange(len(columns)))
        y = np.interp(line["images"].to_numpy(float), rows, np.arange(len(rows)))
        ax.plot(x, y, color="white", lw=1.2)
        ax.annotate(f"{level:.2g}", (x.tolist()[len(line) // 2], y.tolist()[len(line) // 2]), color="white", fontsize=8)
    ax.set_xticks(range(len(columns)), [f"{v:g}" for v in columns])
    ax.set_yticks(range(len(rows)), [f"{v:g}" for v in rows])
    ax.set_xlabel("texts per class")
    ax.set_ylabel("images per class")
    ax.figure.colorbar(picture, ax=ax, shrink=0.8, label=legible(accuracy.attrs.get("long_name", "accuracy")))
    ax.set_title("" if title is None else legible(title), fontsize=9)
    return ax
