"""A diagram says in words what it shows, draws what it says, and is legible on light and on dark."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from xmodal_lab.plots import Arrow, Box, Diagram
from xmodal_lab.plots.diagrams import ROLES

TWO = (Box("a", "a picture\n<seen>", (0, 0)), Box("b", "loss & more", (1, 0.5), "loss"))


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_it_draws_what_it_says_and_needs_nothing_else(tmp_path: Path) -> None:
    shown = Diagram("a & b", TWO, (Arrow("a", "b", "x < y"),), "A note.")
    assert str(shown) == "a & b: a picture <seen> → (x < y) loss & more. A note."
    tree = ElementTree.fromstring(shown.svg())
    texts = ["".join(node.itertext()) for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a picture<seen>", "loss & more", "x < y", "data", "loss", "A note."]
    assert "http" not in shown.svg().replace("http://www.w3.org/2000/svg", "")
    assert shown.save(tmp_path / "d.svg").read_text(encoding="utf-8") == shown.svg()
    page = shown._repr_mimebundle_()
    source = re.search(r'src="data:image/svg\+xml,([^"]*)"', page["text/html"])[1].replace("&quot;", '"')
    assert ElementTree.fromstring(unquote(source)).attrib == tree.attrib
    assert page["text/plain"] == repr(shown)


def test_nothing_lies_outside_the_picture() -> None:
    shown = Diagram("wide", (Box("a", "a", (-2, -1)), Box("b", "b", (3, 2))), ()).svg()
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', shown).groups())
    for x, y, w, h in re.findall(r'<rect x="([\d.-]+)" y="([\d.-]+)" width="(\d+)" height="(\d+)"', shown):
        assert float(x) >= 0 and float(x) + float(w) <= width and float(y) >= 0 and float(y) + float(h) <= height


@pytest.mark.parametrize("scheme", [1, 2], ids=["light", "dark"])
def test_words_stand_out_from_their_boxes(scheme: int) -> None:
    ink = luminance({1: "#1c1c22", 2: "#ececf1"}[scheme])
    for role, colours in ROLES.items():
        fill = luminance(colours[scheme][0])
        assert (max(ink, fill) + 0.05) / (min(ink, fill) + 0.05) > 7, role


def test_what_does_not_fit_together_is_told() -> None:
    with pytest.raises(ValueError, match="role of 'c'"):
        Diagram("d", (Box("c", "c", (0, 0), "froze"),), ())
    with pytest.raises(ValueError, match="one key"):
        Diagram("d", (TWO[0], TWO[0]), ())
    with pytest.raises(ValueError, match="box of an arrow"):
        Diagram("d", TWO, (Arrow("a", "z"),))


def test_in_a_notebook_it_follows_the_theme_that_jupyterlab_names() -> None:
    page = Diagram("d", TWO, ())._repr_mimebundle_()["text/html"]
    rules = dict(re.findall(r'\[data-jp-theme-light="(\w+)"\] \.([\w-]+\{color-scheme:\w+)\}', page))
    assert rules == {"true": "xm-diagram{color-scheme:light", "false": "xm-diagram{color-scheme:dark"}
    assert '<img class="xm-diagram"' in page and "@media (prefers-color-scheme:dark)" in unquote(page)
