"""A ledger of claims as a forest plot: each interval beside the printed effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..utils import checks as check
from .styles import legible, limits_of, size

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


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
    limits = limits_of(limits)
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
        names.append(legible(row["id"]))
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
