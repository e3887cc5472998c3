"""A method as boxes and arrows: described as data, drawn as SVG, legible on light and on dark.

    >>> from xmodal_lab.plots import Arrow, Box, Diagram
    >>> boxes = (Box("x", "picture", (0, 0)), Box("f", "encoder", (1, 0), "trained"), Box("L", "loss", (2, 0), "loss"))
    >>> drawn = Diagram("one net", boxes, (Arrow("x", "f"), Arrow("f", "L")))
    >>> print(drawn)
    one net: picture → encoder (trained); encoder (trained) → loss.
    >>> drawn.svg().startswith("<svg")
    True

In a notebook the last line of a cell shows it. The picture is light or dark as JupyterLab's theme says, elsewhere as
the system does, and stands on a ground of its own, so that it can be read where the page around it is of another mind.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..utils import checks as check

# What a box is -> (word of the legend, fill and stroke on light, on dark). Blue and orange are seaborn's "colorblind".
ROLES = {
    "data": ("data", ("#ffffff", "#767680"), ("#2a2b31", "#9a9aa6")),
    "frozen": ("frozen", ("#e4e6ec", "#767680"), ("#3b3d46", "#9a9aa6")),
    "trained": ("trained", ("#d6e8f5", "#0173b2"), ("#16384e", "#56b4e9")),
    "solved": ("computed at each step", ("#def2ea", "#029e73"), ("#123d31", "#3fc79d")),
    "loss": ("loss", ("#fbe7c8", "#c06c00"), ("#4a3413", "#e8a33d")),
    "look": ("looked at", ("#f3e0ee", "#a8508a"), ("#43293b", "#d990bf")),
}
# An image takes its colour scheme from the element that shows it; JupyterLab says only on <body> which theme is on.
FOLLOW = "".join(
    f'[data-jp-theme-light="{light}"] .xm-diagram{{color-scheme:{scheme}}}'
    for light, scheme in (("true", "light"), ("false", "dark"))
)
# Pixels of the drawing (ours): pitch of the grid, size of a box, margin, size of the letters.
COLUMN, ROW, WIDE, HIGH, EDGE, LETTER = 216, 84, 160, 50, 16, 13


@dataclass(frozen=True)
class Box:
    """One part of a method.

    Attributes:
        key: the name that arrows use.
        text: one or two short lines, parted by a newline.
        at: (column, row) of its centre, whole or between.
        role: "data" | "frozen" | "trained" | "solved" | "loss" | "look".
    """

    key: str
    text: str
    at: tuple[float, float]
    role: str = "data"


@dataclass(frozen=True)
class Arrow:
    """What flows from one box to another.

    Attributes:
        start: key of the box that it leaves.
        end: key of the box that it enters.
        text: a few words beside it.
        dashed: for a meeting that is drawn anew, or has no gradient.
    """

    start: str
    end: str
    text: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Diagram:
    """A method: who is frozen, what meets what, where the loss acts.

    Attributes:
        title: what is shown, in a few words.
        boxes: the parts.
        arrows: what flows between them.
        note: one line below the picture.
    """

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    note: str = ""

    def __post_init__(self) -> None:
        keys = [box.key for box in self.boxes]
        for box in self.boxes:
            check.one_of(f"role of {box.key!r}", box.role, ROLES)
        if len(set(keys)) < len(keys):
            raise ValueError(f"two boxes of {self.title!r} have one key; the keys are {keys}.")
        for arrow in self.arrows:
            for key in (arrow.start, arrow.end):
                check.one_of("box of an arrow", key, keys)

    def __str__(self) -> str:
        """The diagram in words, for terminals and screen readers."""
        said = {box.key: _words(box) for box in self.boxes}
        flows = (f"{said[a.start]} →{f' ({a.text})' if a.text else ''} {said[a.end]}" for a in self.arrows)
        return f"{self.title}: {'; '.join(flows)}.{f' {self.note}' if self.note else ''}"

    __repr__ = __str__

    def svg(self) -> str:
        """The drawing, a whole SVG document that needs nothing else.

        Returns:
            SVG; text in it is text, and the words of ``str(diagram)`` are its description.
        """
        left, top = (min(box.at[i] for box in self.boxes) for i in (0, 1))
        boxes = tuple(replace(box, at=(box.at[0] - left, box.at[1] - top)) for box in self.boxes)
        places = {box.key: _centre(box) for box in boxes}
        right = max(*(x + WIDE / 2 + EDGE for x, _ in places.values()), 2 * EDGE + 6.1 * len(self.note))
        low = max(y for _, y in places.values()) + HIGH / 2 + EDGE
        height = low + 26 + (20 if self.note else 0)
        drawn = [_arrow(arrow, places) for arrow in self.arrows]
        parts = [line for line, _ in drawn] + [_box(box) for box in boxes] + [words for _, words in drawn]
        parts += _legend(boxes, low + 10)
        if self.note:
            parts.append(f'<text x="{EDGE}" y="{low + 40:g}" class="small">{html.escape(self.note)}</text>')
        words = html.escape(str(self))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right:g} {height:g}" width="{right:g}" '
            f'height="{height:g}" role="img"><title>{html.escape(self.title)}</title><desc>{words}</desc>'
            f'<style>{_style()}</style><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" class="tip"/></marker></defs>'
            f'<rect width="100%" height="100%" rx="8" class="ground"/>{"".join(parts)}</svg>'
        )

    def save(self, path: str | Path) -> Path:
        """Write the SVG.

        Args:
            path: a file; its folder is there.

        Returns:
            The file that was written.
        """
        written = check.path("path", path)
        written.write_text(self.svg(), encoding="utf-8")
        return written

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """A picture in a page, which notebooks that nobody trusts yet show as well; elsewhere the words."""
        source = quote(self.svg(), safe="<>/ =:;,.'()#%{}\"").replace("#", "%23").replace('"', "&quot;")
        words = html.escape(str(self), quote=True)
        return {
            "text/html": f"<style>{FOLLOW}</style>"
            f'<img class="xm-diagram" alt="{words}" style="max-width:100%" src="data:image/svg+xml,{source}">',
            "text/plain": str(self),
        }


def _words(box: Box) -> str:
    text = " ".join(box.text.split())
    return f"{text} ({ROLES[box.role][0]})" if box.role in ("frozen", "trained") else text


def _centre(box: Box) -> tuple[float, float]:
    return EDGE + WIDE / 2 + COLUMN * box.at[0], EDGE + HIGH / 2 + ROW * box.at[1]


def _box(box: Box) -> str:
    x, y = _centre(box)
    lines = box.text.splitlines()
    top = y - (len(lines) - 1) * 8 + 4.5
    spans = "".join(
        f'<tspan x="{x:g}" y="{top + 16 * i:g}">{html.escape(line)}</tspan>' for i, line in enumerate(lines)
    )
    round_ = HIGH / 2 if box.role == "loss" else 7
    shape = f'x="{x - WIDE / 2:g}" y="{y - HIGH / 2:g}" width="{WIDE}" height="{HIGH}" rx="{round_:g}"'
    return f'<rect {shape} class="{box.role}"/><text text-anchor="middle">{spans}</text>'


def _arrow(arrow: Arrow, places: dict[str, tuple[float, float]]) -> tuple[str, str]:
    """A line from edge to edge, and its words at the middle."""
    (x0, y0), (x1, y1) = places[arrow.start], places[arrow.end]
    ax, ay = _edge(x0, y0, x1, y1, 1)
    bx, by = _edge(x1, y1, x0, y0, 4)
    dash = ' stroke-dasharray="5 4"' if arrow.dashed else ""
    drawn = f'<path d="M{ax:.1f} {ay:.1f} {bx:.1f} {by:.1f}" class="arrow" marker-end="url(#tip)"{dash}/>'
    if not arrow.text:
        return drawn, ""
    steep = abs(bx - ax) < 12
    x, y = (ax + bx) / 2 + (8 if steep else 0), (ay + by) / 2 + (4 if steep else -7)
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{"start" if steep else "middle"}"'
    return drawn, f'<text {place} class="small halo">{html.escape(arrow.text)}</text>'


def _edge(x: float, y: float, to_x: float, to_y: float, gap: float) -> tuple[float, float]:
    """Where the line from (x, y) to the other centre leaves the box around (x, y)."""
    dx, dy = to_x - x, to_y - y
    share = min(
        (WIDE / 2 + gap) / abs(dx) if dx else float("inf"), (HIGH / 2 + gap) / abs(dy) if dy else float("inf"), 1.0
    )
    return x + share * dx, y + share * dy


def _legend(boxes: tuple[Box, ...], y: float) -> list[str]:
    parts, x = [], float(EDGE)
    for role in dict.fromkeys(box.role for box in boxes):
        word = ROLES[role][0]
        parts.append(f'<rect x="{x:g}" y="{y - 9:g}" width="18" height="12" rx="3" class="{role}"/>')
        parts.append(f'<text x="{x + 24:g}" y="{y + 1:g}" class="small">{word}</text>')
        x += 46 + 6.4 * len(word)
    return parts


def _style() -> str:
    """Colours for light, and inside a media query for dark: an image follows the colour scheme of its page."""

    def scheme(which: int, ink: str, ground: str) -> str:
        kinds = "".join(f".{role}{{fill:{r[which][0]};stroke:{r[which][1]}}}" for role, r in ROLES.items())
        return (
            f"text{{fill:{ink}}}.halo{{stroke:{ground}}}.tip{{fill:{ink}}}.arrow{{stroke:{ink}}}"
            f".ground{{fill:{ground}}}{kinds}"
        )

    letters = f"text{{font:{LETTER}px system-ui,-apple-system,'Segoe UI',sans-serif}}text.small{{font-size:11.5px}}"
    lines = "rect{stroke-width:1.5}.arrow{fill:none;stroke-width:1.3}.halo{stroke-width:4px;paint-order:stroke}"
    light, dark = scheme(1, "#1c1c22", "#fbfbfd"), scheme(2, "#ececf1", "#1c1d22")
    return f"{letters}{lines}{light}@media (prefers-color-scheme:dark){{{dark}}}"
