"""Every word that a view draws is there in full: no "…", nothing beyond its canvas, at a laptop's width and others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xmodal_widgets import explore
from xmodal_widgets.explorers import ready
from xmodal_widgets.explorers.synergy import cigars, triangle

pytestmark = pytest.mark.browser
LISTEN = """
window.words = new Map();
const original = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const m = this.measureText(text);
  const turned = this.getTransform();
  const corners = [-m.actualBoundingBoxLeft, m.actualBoundingBoxRight].flatMap((dx) =>
    [-m.actualBoundingBoxAscent, m.actualBoundingBoxDescent].map((dy) => turned.transformPoint({ x: x + dx, y: y + dy })));
  const inside = corners.every((p) => p.x >= -1.5 && p.y >= -1.5 && p.x <= this.canvas.width + 1.5 && p.y <= this.canvas.height + 1.5);
  const drawn = words.get(this.canvas) || [];
  words.set(this.canvas, [...drawn, { text, inside }]);
  original.call(this, text, x, y);
};
const clear = CanvasRenderingContext2D.prototype.clearRect;
CanvasRenderingContext2D.prototype.clearRect = function (...box) {
  words.set(this.canvas, []);
  clear.call(this, ...box);
};
"""
CUT = """() => {
  const drawn = [...words].filter(([canvas]) => canvas.isConnected).flatMap(([, all]) => all);
  const lines = [...document.querySelectorAll(".xm-root *")].filter((e) => e.clientWidth && !e.matches(".xm-hidden, .xm-hidden *"));
  return {
    drawn: drawn.length,
    cut: [...drawn.filter((word) => !word.inside || word.text.endsWith("…")).map((word) => word.text),
      ...lines.filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflow !== "visible").map((e) => e.textContent)],
  };
}"""


OTHERS = {"triangle": triangle, "cigars": cigars}


@pytest.mark.parametrize("name", [*ready(), *OTHERS])
def test_no_word_is_cut(new_page: Callable[..., Any], tmp_path: Path, name: str) -> None:
    view = OTHERS[name]() if name in OTHERS else explore(name)
    page = new_page(width=1190)
    page.add_init_script(LISTEN)
    page.goto(view.to_html(tmp_path / "page.html").as_uri())
    page.wait_for_selector(".xm-canvas")
    cut = {}
    for width in (1190, 1740, 900, 480):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(150)
        found = page.evaluate(CUT)
        assert found["drawn"] > 15
        cut[width] = found["cut"]
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert not any(cut.values()), cut
