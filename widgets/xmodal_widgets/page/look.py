"""Colours, words and scales that all static pictures share, as the live view has them."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..view.grid import Grid
from ..view.kinds import View

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
LONGEST = 160  # letters of one text; more would push the axes out of the picture
ON_DARK: ContextVar[bool] = ContextVar("on_dark", default=False)  # the page that is drawn on: what palettes ask


def plain(text: object, most: int = LONGEST) -> str:
    """A name from the cube as the live view shows it: no mathematics, no control characters, not endless."""
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(text))
    shown = f" {shown}" if shown.startswith("_") else shown  # Matplotlib hides such names from a legend
    return (shown if len(shown) <= most else f"{shown[: most - 1]}…").replace("$", r"\$")


def scale_of(grid: Grid, view: Any, slices: Sequence[np.ndarray], log: bool, fit: bool) -> tuple[float, float] | None:
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


def colors_of(view: Any) -> Any:
    """The colour map of a view's values, on a page of this colour."""
    from matplotlib.colors import LinearSegmentedColormap

    name = str(getattr(view, "palette", "viridis"))
    anchors = DIVERGING_DARK if ON_DARK.get() else DIVERGING
    return LinearSegmentedColormap.from_list(name, anchors) if name == "diverging" else name


def legend(axis: Any, title: str | None = None, **options: Any) -> None:
    """A legend above its panel, below the heading: no curve and no bar lies under it."""
    labels = axis.get_legend_handles_labels()[1]
    if labels:
        axis.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=_columns(axis, labels), borderaxespad=0.1, fontsize=7,
            title=title, title_fontsize=7, alignment="left", frameon=False, columnspacing=1.2, labelspacing=0.25,
            **options,
        )  # fmt: skip


def room_above(axis: Any) -> float:
    """Points that a legend takes between a panel and its heading."""
    there = axis.get_legend()
    if there is None:
        return 0.0
    labels = [text.get_text() for text in there.get_texts()]
    rows = math.ceil(len(labels) / _columns(axis, labels)) + bool(there.get_title().get_text())
    return ROW * rows + 3


ROW, LETTER, HANDLE = 9.6, 0.058, 0.5  # points of a legend's row; inches of a letter of 7 points, of a line before it


def _columns(axis: Any, labels: Sequence[str]) -> int:
    figure = axis.figure
    inches = 0.8 * figure.bbox.width / figure.dpi / axis.get_subplotspec().get_gridspec().ncols
    return max(1, min(len(labels), int(inches / (LETTER * max(map(len, labels)) + HANDLE))))


def notice(axis: Any, grid: Grid, view: View, setting: Mapping[str, Any]) -> None:
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
