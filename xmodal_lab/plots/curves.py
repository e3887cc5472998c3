"""Lines and dots: scores of runs, training histories, eigenvalues and spectral densities.

Categories are in seaborn's colour-blind-safe palette, the same as in the live views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..utils import checks as check
from ..utils.statistics import mean_interval
from .styles import legible, size

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


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
            i,
            mean,
            yerr=half,
            fmt="_",
            color=colors[i % 10],
            markersize=22,
            capsize=5,
            linewidth=2,
            label=legible(name),
        )
    names = list(dict.fromkeys(scores[x]))
    ax.set_xticks(range(len(names)), [legible(n) for n in names])
    ax.set_ylabel(y)
    ax.grid(axis="y", alpha=0.3)
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
        ax.plot(frame.index, frame[column], label=legible(name), color=color)
    ax.set_xlabel("epoch")
    ax.set_ylabel(column.replace("_", " "))
    ax.legend(frameon=False)
    ax.grid(alpha=0.3)
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
        ax.plot(np.arange(1, len(values) + 1), values, "o-", label=legible(name), color=color)
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
        ax.plot(array["lambda_"], array, color=color, label=legible(name) or None)
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
