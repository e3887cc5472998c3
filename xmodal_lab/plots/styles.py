"""How large a figure is and how it is lettered: as on the screen, or for a column of a paper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..utils import checks as check

STYLES = ("screen", "paper", "slides")
# Inches of one column and of the whole width of a page, as most conferences print them (ours).
WIDTHS = {1: 3.25, 2: 6.75}
_POINTS = {"paper": 8.0, "slides": 16.0}
_SLIDE = 10.0  # inches
_size: ContextVar[tuple[float | None, float | None]] = ContextVar("size", default=(None, None))


@contextmanager
def style(
    name: str = "paper", *, columns: int = 1, width: float | None = None, height: float | None = None
) -> Iterator[None]:
    """Pictures that are drawn inside ``with`` have this style; those of ``xl.plots`` and of Matplotlib itself.

    Args:
        name: "paper" (8 points, thin lines, the width of its columns), "slides" (16 points, 10 inches) or "screen" (as
            without a style, but for a width or height that is given).
        columns: of a paper that the figure spans, 1 (3.25 inches) or 2 (6.75 inches).
        width: in inches, in place of the style's.
        height: in inches; in proportion to the width, as the picture has it by itself, when not given.

    Returns:
        A context for ``with``; afterwards everything is as it was.

    Raises:
        ValueError: an unknown style, columns other than 1 or 2, a width or height that is not above 0.

    Example:
        >>> import matplotlib; matplotlib.use("agg")
        >>> import xmodal_lab as xl
        >>> with xl.plots.style("paper", columns=2, height=2.5):
        ...     ax = xl.plots.spectra({"net": [3.0, 1.0, 0.5]})
        >>> ax.figure.get_size_inches().tolist()
        [6.75, 2.5]
    """
    import matplotlib as mpl

    check.one_of("style", name, STYLES)
    check.one_of("number of columns", str(check.integer("columns", columns)), [str(c) for c in WIDTHS])
    wide = {"paper": WIDTHS[columns], "slides": _SLIDE}.get(name)
    wide = wide if width is None else check.positive("width", width)
    high = None if height is None else check.positive("height", height)
    held = _size.set((wide, high))
    try:
        letters: Any = _letters(name) | {"figure.figsize": size(*mpl.rcParams["figure.figsize"])}
        with mpl.rc_context(letters):
            yield
    finally:
        _size.reset(held)


def size(width: float, height: float) -> tuple[float, float]:
    """Inches of a figure that is (width, height) by itself, under the style that holds."""
    wide, high = _size.get()
    wide = width if wide is None else wide
    return wide, height * wide / width if high is None else high


def _letters(name: str) -> dict[str, Any]:
    """Sizes in points and widths of lines; fonts that a printer has in the file itself."""
    if name not in _POINTS:
        return {}
    points, thin = _POINTS[name], _POINTS[name] / 10
    small = {f"{part}.labelsize": 0.875 * points for part in ("xtick", "ytick")}
    return {
        "font.size": points, "axes.titlesize": points, "axes.labelsize": points, "figure.titlesize": points,
        "legend.fontsize": 0.875 * points, **small, "axes.linewidth": 0.75 * thin, "lines.linewidth": 1.25 * thin,
        "lines.markersize": 0.5 * points, "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path",
    }  # fmt: skip


def legible(text: object) -> str:
    """Mathematics between dollars where it is any; else every letter as it stands, so that no name stops a picture."""
    from matplotlib.mathtext import MathTextParser

    shown = str(text)
    if "$" in shown:
        try:
            MathTextParser("path").parse(shown)
        except ValueError:
            return shown.replace("$", r"\$")
    return shown


def limits_of(limits: object) -> tuple[float, float]:
    """(low, high) of an axis or a colour scale.

    Raises:
        ValueError: no such pair.
    """
    ends = [check.real("an end of limits", end) for end in check.listed("limits", limits)]
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"limits must be (low, high) with low < high, got {limits!r}.")
    return ends[0], ends[1]
