"""Panels of one's own in exported pages, under the page's policy; errors in them; those that the kernel draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab_server
import numpy as np
import pytest
import xarray as xr
from bridge import Bridge
from own_panels import example
from xmodal_widgets import Lines, Own, SweepView

pytestmark = pytest.mark.browser
WATCH = 'window.violations = []; document.addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective));'
APP = "document.querySelector('.xm-root').xmodal"
BROKEN = "(p) => { p.nothing.here(); }"
GREEDY = (
    "(p) => { fetch('http://127.0.0.1:9/').catch(() => {}); try { eval('1'); } catch (e) { p.text('no', 20, 20); } }"
)
UNREADABLE = "(p) => { this is no script }"


def line_of(cube: xr.Dataset, *own: Own) -> SweepView:
    return SweepView(cube, [Lines("loss", x="x"), *own])


@pytest.fixture
def cube() -> xr.Dataset:
    return xr.Dataset({"loss": (("alpha", "x"), np.arange(6.0).reshape(2, 3))}, {"alpha": [0, 1], "x": [1, 2, 3]})


def test_the_page_example_moves_and_breaks_no_policy(tmp_path: Path, new_page: Callable[..., Any]) -> None:
    page = new_page()
    page.add_init_script(WATCH)
    page.goto(example()["view"].to_html(tmp_path / "page.html").as_uri())
    dial = page.get_by_role("img", name="accuracy 80 percent")
    dial.wait_for()
    before = lab_server.fingerprint(dial)
    page.get_by_role("slider", name="alpha").press("ArrowRight")
    after = page.get_by_role("img", name="accuracy 85 percent")
    after.wait_for()
    assert lab_server.fingerprint(after) != before
    assert page.evaluate("violations") == [] and page.problems == []


def test_one_that_fails_spoils_no_other(cube: xr.Dataset, tmp_path: Path, new_page: Callable[..., Any]) -> None:
    page = new_page(width=1400)
    page.add_init_script(
        WATCH + "window.words = []; const f = CanvasRenderingContext2D.prototype.fillText;"
        "CanvasRenderingContext2D.prototype.fillText = function (t, ...r) { words.push(t); f.call(this, t, ...r); };"
    )
    view = line_of(cube, *(Own("loss", over="x", js=js) for js in (BROKEN, GREEDY, UNREADABLE)))
    page.goto(view.to_html(tmp_path / "page.html").as_uri())
    page.wait_for_selector(".xm-canvas")
    page.wait_for_timeout(300)
    words = " ".join(page.evaluate("words"))
    assert "function failed" in words and "no function but undefined" in words and "no" in words.split()
    assert {"connect-src", "script-src"} <= set(page.evaluate("violations"))  # refused, as the page promises
    assert page.evaluate(f"{APP}.views[0].panels[0].slice.values.length") == 3
    assert lab_server.ink(page, ".xm-canvas")[0] > 0.01 and page.locator(".xm-error").is_hidden()


def test_the_kernel_draws_what_only_matplotlib_can(
    cube: xr.Dataset, tmp_path: Path, new_page: Callable[..., Any]
) -> None:
    drawn: list[Any] = []

    def bars(axis: Any, shown: Any) -> None:
        drawn.append(shown.setting["alpha"])
        axis.bar(shown.dim("x").values, shown.values("loss"))

    page = new_page()
    view = line_of(cube, Own("loss", over="x", matplotlib=bars))
    bridge = Bridge(page, view, tmp_path)
    bridge.pump(lambda: page.evaluate(f"Boolean({APP}.views[1].own.image)"))
    canvas = page.locator(".xm-canvas").nth(1)
    before = lab_server.fingerprint(canvas)
    page.evaluate(f"{APP}.set({{ alpha: 1 }})")
    bridge.pump(lambda: drawn[-1] == 1 and page.evaluate(f"{APP}.views[1].own.shown === {APP}.views[1].own.wanted"))
    assert drawn == [0, 1] and lab_server.fingerprint(canvas) != before
    still = new_page()
    still.goto(view.to_html(tmp_path / "still.html").as_uri())
    still.wait_for_function(f"() => {APP}.views[1].own.image")
    still.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )  # it is drawn
    assert lab_server.ink(still, ".xm-canvas")[1] > 0.05 and still.problems == []
