"""Static pictures: data in, Axes out. Nothing is trained or measured here.

Colours are seaborn's colour-blind-safe palette for categories and viridis for values, the
same as in the live views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..utils import checks as check
from ..utils.statistics import mean_interval as mean_interval
from .styles import size

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
    given = None if limits is None else _limits(limits)
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
        drawing.set_zlabel(_text(values.attrs.get("long_name", "loss")))
    elif kind == "contour":
        mappable = ax.contourf(a, b, shown.T, levels=np.linspace(low, high, levels), cmap="viridis", extend="both")
        ax.contour(a, b, shown.T, levels=np.linspace(low, high, levels), colors="white", linewidths=0.4)
        ax.set_aspect("equal")
    else:
        mappable = ax.pcolormesh(a, b, shown.T, cmap="viridis", vmin=low, vmax=high, shading="nearest")
        ax.set_aspect("equal")
    if ax.figure is not None:
        ax.figure.colorbar(mappable, ax=ax, shrink=0.8, label=_text(values.attrs.get("long_name", "loss")))
    ax.set_xlabel(_text(values["a"].attrs.get("long_name", "a")))
    ax.set_ylabel(_text(values["b"].attrs.get("long_name", "b")))
    ax.set_title(_text(title if title is not None else values.attrs.get("long_name", "")))
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


def accuracies(scores: pd.DataFrame, x: str = "arm", y: str = "accuracy", *, ax: Axes | None = None) -> Axes:
    """One dot per run, mean and 95 % t interval per group.

    Args:
        scores: one row per run, with columns ``x`` (group) and ``y``.
        x, y: names of those columns.
        ax: where to draw.

    Returns:
        The axes that were drawn on.
    """
    import matplotlib.pyplot as plt
    import pandas as pd
    import seaborn as sns

    check.instance("scores", scores, pd.DataFrame)
    for column in (x, y):
        check.one_of("column", column, [str(c) for c in scores.columns])
    if ax is None:
        _, ax = plt.subplots(figsize=size(5, 3.2), layout="constrained")
    colors = sns.color_palette("colorblind")
    for i, (name, group) in enumerate(scores.groupby(x, sort=False)[y]):
        values = group.to_numpy(dtype=float)
        jitter = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1)
        ax.plot(i + jitter, values, "o", color=colors[i % 10], alpha=0.5, markersize=5)
        mean, half = mean_interval(values)
        ax.errorbar(
            i, mean, yerr=half, fmt="_", color=colors[i % 10], markersize=22, capsize=5, linewidth=2, label=_text(name)
        )
    names = list(dict.fromkeys(scores[x]))
    ax.set_xticks(range(len(names)), [_text(n) for n in names])
    ax.set_ylabel(y)
    ax.grid(axis="y", alpha=0.3)
    return ax


def spectra(eigenvalues: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """The largest Hessian eigenvalues of several losses, one line each.

    Args:
        eigenvalues: name -> values.
        ax: where to draw; a new figure when not given.

    Returns:
        The axes that were drawn on.

    Raises:
        ValueError: nothing to draw.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    if not check.mapping("eigenvalues", eigenvalues, "lists of numbers"):
        raise ValueError("no eigenvalues were given.")
    for key, spectrum in eigenvalues.items():
        if check.as_tensor(f"eigenvalues[{key!r}]", spectrum).ndim != 1:
            raise ValueError(f"eigenvalues[{key!r}] must be a list of numbers, got {spectrum!r}.")
    if ax is None:
        _, ax = plt.subplots(figsize=size(5, 3.2), layout="constrained")
    for (name, values), color in zip(eigenvalues.items(), sns.color_palette("colorblind"), strict=False):
        ax.plot(np.arange(1, len(values) + 1), values, "o-", label=_text(name), color=color)
    ax.set_xlabel("rank")
    ax.set_ylabel("eigenvalue of the Hessian")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    ax.grid(alpha=0.3)
    return ax


def density(
    spectra: Any, *, eigenvalues: Mapping[str, Sequence[float]] | Sequence[float] | None = None, ax: Axes | None = None
) -> Axes:
    """Spectral densities on a symmetric-log axis: the negative end, the bulk at 0 and the leading eigenvalues.

    Args:
        spectra: a density as ``xl.curvature.density`` returns it, its ``to_xarray()``, the ``density`` of
            :func:`~xmodal_lab.look`, or a dict name -> one of these.
        eigenvalues: leading ones to mark on the axis; of a dict of spectra, a dict of the same names.
        ax: where to draw; a new figure when not given.

    Returns:
        The Axes.

    Raises:
        ValueError, TypeError: nothing to draw, or no density over λ.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    named = dict(spectra) if isinstance(spectra, Mapping) else {"": spectra}
    if not named:
        raise ValueError("no density was given.")
    marks = eigenvalues if isinstance(eigenvalues, Mapping) else {} if eigenvalues is None else {"": eigenvalues}
    for name in marks:
        check.one_of("spectrum whose eigenvalues are marked", name, named)
    if ax is None:
        _, ax = plt.subplots(figsize=size(5.5, 3.2), layout="constrained")
    for (name, found), color in zip(named.items(), sns.color_palette("colorblind"), strict=False):
        array = found.to_xarray() if hasattr(found, "to_xarray") and not hasattr(found, "dims") else found
        if getattr(array, "dims", None) != ("lambda_",):
            came = getattr(array, "dims", type(found).__name__)
            raise TypeError(
                f"spectrum {name!r} must be a density over lambda_, as curvature.density gives it, got {came}."
            )
        ax.plot(array["lambda_"], array, color=color, label=_text(name) or None)
        ax.fill_between(array["lambda_"], 0, array, color=color, alpha=0.15, linewidth=0)
        for value in check.listed("eigenvalues", marks.get(name, ())):
            ax.plot(
                [check.real("an eigenvalue", value)] * 2,
                [0, 0.04],
                transform=ax.get_xaxis_transform(),
                color=color,
                linewidth=1.2,
            )
    ax.set_xscale("symlog", linthresh=0.1)
    ax.set_xticks([-1e4, -1e2, -1, 0, 1, 1e2, 1e4])
    ax.set_yscale("symlog", linthresh=1e-3)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("eigenvalue λ of the Hessian")
    ax.set_ylabel("density")
    if any(named):
        ax.legend(frameon=False)
    ax.grid(alpha=0.3)
    return ax


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
        ax.plot(*points.T, "-o", color=color, markersize=3, linewidth=1.5, label=_text(name) or None)
        ax.plot(*points[0], "o", markerfacecolor="none", markeredgecolor=color, markersize=9)
        ax.plot(*points[-1], "o", color=color, markersize=7)
    if any(runs) and len(runs) > 1:
        ax.legend(frameon=False)
    return ax


def history(runs: Mapping[str, pd.DataFrame], column: str = "test_accuracy", *, ax: Axes | None = None) -> Axes:
    """One column of several training histories over epochs.

    Args:
        runs: name -> ``run.history``.
        column: of the histories.
        ax: where to draw; a new figure when not given.

    Returns:
        The axes that were drawn on.

    Raises:
        ValueError: nothing to draw, or no such column.
    """
    import matplotlib.pyplot as plt
    import pandas as pd
    import seaborn as sns

    if not check.mapping("runs", runs, "histories"):
        raise ValueError("no history was given.")
    for key, frame in runs.items():
        check.instance(f"runs[{key!r}]", frame, pd.DataFrame, "such as run.history")
    if ax is None:
        _, ax = plt.subplots(figsize=size(5, 3.2), layout="constrained")
    for (name, frame), color in zip(runs.items(), sns.color_palette("colorblind"), strict=False):
        check.one_of("column", column, [str(c) for c in frame.columns])
        ax.plot(frame.index, frame[column], label=_text(name), color=color)
    ax.set_xlabel("epoch")
    ax.set_ylabel(column.replace("_", " "))
    ax.legend(frameon=False)
    ax.grid(alpha=0.3)
    return ax


# Colour of each word of the ledger (seaborn's colour-blind-safe palette: readable on white and on black).
WORDS = {
    "holds": "#029e73", "direction holds": "#56b4e9", "smaller than printed": "#cc78bc", "undecided": "#949494",
    "fails": "#d55e00", "needs": "#ca9161",
}  # fmt: skip
INK = "#7f7f7f"  # of text and lines that stand on a page of either colour


def effects(found: pd.DataFrame, *, limits: tuple[float, float] = (-4.0, 8.0), ax: Axes | None = None) -> Axes:
    """A ledger as a forest plot: each claim's interval beside the printed effect, coloured by its word.

    The unit is the smallest effect that the claim's seeds see with 80 % power, so 1 is where an effect becomes visible,
    and a printed effect (a diamond) left of 1 could not have been seen. A tie's margin is a bracket. What lies outside
    the limits is an arrow at the edge.

    Args:
        found: as ``xl.claims.effects()`` gives it.
        limits: of the axis, in that unit.
        ax: where to draw; a new figure, as tall as there are rows, when not given.

    Returns:
        The axes that were drawn on.

    Raises:
        ValueError: nothing to draw, or columns that are missing.
    """
    import matplotlib.pyplot as plt
    import pandas as pd
    from matplotlib.lines import Line2D

    check.instance("found", found, pd.DataFrame)
    limits = _limits(limits)
    for column in ("id", "step", "verdict", "value_seen", "low_seen", "high_seen", "effect_seen", "margin_seen"):
        check.one_of("column", column, [str(c) for c in found.columns])
    drawn = found[np.isfinite(found["value_seen"].astype(float))]
    if drawn.empty:
        raise ValueError("no claim has an interval to draw.")
    if ax is None:
        _, ax = plt.subplots(figsize=size(8, 0.9 + 0.2 * len(drawn)), layout="constrained")
    names = []
    for place, row in enumerate(drawn.to_dict("records")):
        _effect(ax, place, row, limits)
        names.append(_text(row["id"]))
    ax.axvline(0, color=INK, linewidth=1)
    ax.axvspan(-1, 1, color=INK, alpha=0.12, linewidth=0)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(*limits)
    ax.set_xlabel("effect, in units of the smallest that these seeds see (80 % power)")
    handles = [Line2D([], [], color=c, marker="o", linewidth=2, label=w) for w, c in WORDS.items()]
    handles.append(Line2D([], [], color=INK, marker="D", linestyle="", fillstyle="none", label="printed"))
    legend = ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=7, frameon=False, fontsize=7.5,
        handlelength=1.2, columnspacing=1.0,
    )  # fmt: skip
    _in_ink(ax, legend.get_texts())
    return ax


def _effect(ax: Axes, place: int, row: Mapping[Any, Any], limits: tuple[float, float]) -> None:
    """One line of a forest plot."""
    word = row["verdict"]
    color = WORDS["needs" if word.startswith("needs") else word]
    low, high = limits
    ends = np.clip([row["low_seen"], row["high_seen"]], low, high)
    ax.plot(ends, [place, place], color=color, linewidth=2.5, solid_capstyle="butt")
    value = float(np.clip(row["value_seen"], low, high))
    outside = row["value_seen"] < low or row["value_seen"] > high
    marker = ("<" if value == low else ">") if outside else "o"
    ax.plot(value, place, marker, color=color, markersize=5, clip_on=False)
    if np.isfinite(row["effect_seen"]):
        at = float(np.clip(row["effect_seen"], low, high))
        beyond = row["effect_seen"] > high
        marker = ">" if beyond else "D"
        ax.plot(at, place, marker, color=INK, fillstyle="none", markersize=6, clip_on=False)
    if np.isfinite(row["margin_seen"]):
        for side, mark in ((-1, "["), (1, "]")):
            at = side * row["margin_seen"]
            if low < at < high:
                ax.text(at, place, mark, color=INK, ha="center", va="center", fontsize=9)


def _in_ink(ax: Axes, texts: Sequence[Any]) -> None:
    """Text and frame in a grey that reads on white and on black, and no background."""
    ax.tick_params(colors=INK)
    ax.xaxis.label.set_color(INK)
    for text in texts:
        text.set_color(INK)
    for side, spine in ax.spines.items():
        spine.set_color(INK)
        spine.set_visible(side == "bottom")
    ax.patch.set_alpha(0)
    ax.figure.patch.set_alpha(0)


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
    ax.figure.colorbar(picture, ax=ax, shrink=0.8, label=_text(accuracy.attrs.get("long_name", "accuracy")))
    ax.set_title("" if title is None else _text(title), fontsize=9)
    return ax


def _text(text: object) -> str:
    """Mathematics between dollars where it is any; else every letter as it stands, so that no name stops a picture."""
    from matplotlib.mathtext import MathTextParser

    shown = str(text)
    if "$" in shown:
        try:
            MathTextParser("path").parse(shown)
        except ValueError:
            return shown.replace("$", r"\$")
    return shown


def _limits(limits: object) -> tuple[float, float]:
    ends = [check.real("an end of limits", end) for end in check.listed("limits", limits)]
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"limits must be (low, high) with low < high, got {limits!r}.")
    return ends[0], ends[1]
