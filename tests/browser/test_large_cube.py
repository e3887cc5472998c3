"""Ten million numbers: a page takes them slab by slab, and lives meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab_server
import numpy as np
import pytest
import xarray as xr
from xmodal_widgets import Lines, SweepView

pytestmark = pytest.mark.browser
SHAPE = (500, 20_000)
# A message to oneself is one turn of the page's loop: keys and frames have their turns between them.
TURNS = """
window.turns = 0;
const { port1, port2 } = new MessageChannel();
port1.onmessage = () => { if (!document.querySelector(".xm-canvas")) { if (document.getElementById("view")) turns++; port2.postMessage(0); } };
port2.postMessage(0);
"""


def test_the_page_lives_while_a_large_cube_opens(
    tmp_path: Path, new_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SweepView, "_png", lambda _: b"")
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    cube = xr.Dataset({"loss": (("alpha", "x"), values)}, {"alpha": np.arange(SHAPE[0]), "x": np.arange(SHAPE[1])})
    view = SweepView(cube, Lines("loss", x="x"), alpha=SHAPE[0] - 1)
    page = new_page()
    page.add_init_script(TURNS)
    page.goto(view.to_html(tmp_path / "large.html").as_uri())
    page.wait_for_selector(".xm-canvas", timeout=120_000)
    assert page.evaluate("turns") >= 40  # 53 slabs of a megabyte
    shown = page.evaluate(
        "Array.from(document.querySelector('.xm-root').xmodal.views[0].panels[0].slice.values.slice(-2))"
    )
    assert shown == [np.prod(SHAPE) - 2, np.prod(SHAPE) - 1]
    page.wait_for_timeout(200)
    assert lab_server.ink(page, ".xm-canvas")[0] > 0.001 and page.problems == []
