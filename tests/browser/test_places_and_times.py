"""Sliders after trainings, empty panels that say why, time on a path, values on offer, and an output written anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from bridge import Bridge
from lab_server import fingerprint, ink
from xmodal_widgets import Contour, Lines, SweepView, explore

pytestmark = pytest.mark.browser
APP = "document.querySelector('.xm-root').xmodal"


@pytest.fixture
def bridge(new_page: Callable[..., Any], tmp_path: Path) -> Callable[[SweepView], Bridge]:
    return lambda view: Bridge(new_page(width=1366, height=768), view, tmp_path)


def graded(**options: Any) -> SweepView:
    cube = xr.Dataset({"y": (("alpha", "k"), np.arange(12.0).reshape(3, 4))}, {"alpha": [0.0, 0.5, 1.0]})
    return SweepView(
        cube, Lines("y", x="k"), compute=lambda setting, *_: {"y": np.full(4, setting["alpha"])}, **options
    )


def test_what_was_trained_stands_on_its_slider_by_its_value(bridge: Callable[..., Bridge]) -> None:
    """And a key, or the mouse, goes to it and to its neighbours, not between."""
    at = bridge(graded(free=True, alpha=0.1))
    page, view = at.page, at.view
    for value in (0.1, 1.5):
        view.set(alpha=value)
        view.train()
    at.pump(lambda: len(view.cube.alpha) == 5)
    slider = page.get_by_role("slider", name="alpha")
    marks = "() => [...document.querySelectorAll('.xm-tick')].map((t) => Number(t.style.getPropertyValue('--at')))"
    assert page.evaluate(marks) == pytest.approx(np.array([0, 0.2, 1, 2, 3]) / 3)
    page.get_by_label("between grid steps").uncheck()
    at.pump(lambda: not view.state["free"])
    seen = []
    for _ in range(5):
        slider.press("ArrowLeft")
        seen.append(page.evaluate(f"() => {APP}.state.alpha"))
    assert seen == [1.0, 0.5, 0.1, 0.0, 0.0]
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 8 + 0.09 * (box["width"] - 16), box["y"] + box["height"] / 2)
    at.pump(lambda: view.state["alpha"] == 0.1)
    assert float(slider.input_value()) == pytest.approx(0.2)
    assert page.problems == []


def test_an_empty_panel_says_why(bridge: Callable[..., Bridge]) -> None:
    coords = {"modalities": ["image", "image+audio", "audio"], "x": [1.0, 2.0, 3.0]}
    gap = xr.DataArray([[np.nan] * 3, [1.0, 2.0, 3.0], [np.nan] * 3], coords)
    accuracy = xr.DataArray([0.5, 0.7, np.nan], {"modalities": coords["modalities"]})
    shown = Lines("gap", x="x", absent="one modality alone has no gap")
    page = bridge(SweepView(xr.Dataset({"gap": gap, "accuracy": accuracy}), shown)).page
    label = "() => document.querySelector('.xm-canvas').getAttribute('aria-label')"
    assert page.evaluate(label) == "lines: one modality alone has no gap"
    assert min(ink(page, ".xm-canvas")) > 0.001
    page.get_by_label("audio", exact=True).check()
    page.wait_for_function(f"() => ({label})() === 'lines: nothing computed here yet'")


def test_the_bench_plays_over_epochs(bridge: Callable[..., Bridge]) -> None:
    """The spectrum changes, and so does the place on the way of training; nobody is asked to train for it."""
    at = bridge(explore("bench", seed=0))
    page, view = at.page, at.view
    index = next(k for k, one in enumerate(view._shown) if isinstance(one, Contour))
    way = page.locator(".xm-contour .xm-canvas")
    spectrum = page.locator(".xm-density .xm-canvas").last
    slider = page.get_by_role("slider", name="epoch")
    slider.press("Home")
    at.pump(lambda: view.state["checkpoint"] == 0)
    first = [fingerprint(way), fingerprint(spectrum)]
    page.get_by_role("button", name="play epoch").click()
    page.wait_for_function(
        f"() => {APP}.state.checkpoint === 39 && {APP}.views[{index}].panels[0].setting.checkpoint === 39"
    )
    at.pump(lambda: view.state["checkpoint"] == 39)
    last = [fingerprint(way), fingerprint(spectrum)]
    assert all(a != b for a, b in zip(first, last, strict=True))
    assert view._trainer._host.known(dict(view.state))
    slider.press("ArrowLeft")
    at.pump(lambda: view.state["checkpoint"] == 26)
    assert fingerprint(way) not in (first[0], last[0]) and view._trainer._host.known(dict(view.state))
    assert page.problems == []


def test_values_on_offer_are_never_grey(bridge: Callable[..., Bridge]) -> None:
    cube = xr.Dataset({"y": (("kind", "alpha", "k"), np.zeros((2, 2, 4)))}, {"kind": ["one", "two"], "alpha": [0, 1]})
    offered = {"kind": ["three"], "alpha": [5]}
    page = bridge(SweepView(cube, Lines("y", x="k"), compute=lambda *_: {"y": np.ones(4)}, offers=offered)).page
    page.wait_for_function("() => document.querySelectorAll('.xm-mute').length === 2")
    opacity = """(name) => { const one = [...document.querySelectorAll('.xm-segment')].find((s) => s.textContent === name);
      let all = 1; for (let e = one; e; e = e.parentElement) all *= Number(getComputedStyle(e).opacity); return all; }"""
    for name, grey in (("one", True), ("two", True), ("three", False), ("0", True), ("5", False)):
        page.wait_for_function(f"([name, grey]) => (({opacity})(name) < 0.6) === grey", arg=[name, grey])


def test_an_output_that_is_written_anew_shows_the_view_where_it_stood(bridge: Callable[..., Bridge]) -> None:
    """As JupyterLab does when an output is completed: the old place loses its element without a word."""
    at = bridge(graded(alpha=0.5))
    page, view = at.page, at.view
    page.get_by_role("button", name="Pin").click()
    page.get_by_role("slider", name="alpha").press("ArrowRight")
    at.pump(lambda: view.state["alpha"] == 1.0)
    page.evaluate("() => { document.getElementById('view').textContent = ''; window.show(); }")
    page.wait_for_function(f"() => {APP}.theme && {APP}.state.alpha === 1 && {APP}.pin.alpha === 0.5")
    page.wait_for_function("() => document.activeElement.getAttribute('aria-label') === 'alpha'")  # and the focus
    assert page.evaluate("() => globalThis[Symbol.for('xmodal_widgets')].cubes.values().next().value.places.size") == 1
    assert page.get_by_role("button", name="Unpin").is_visible()
    page.get_by_role("slider", name="alpha").press("ArrowLeft")
    at.pump(lambda: view.state["alpha"] == 0.5)
    # A whole cell that goes out of sight, and comes back, is left alone.
    page.evaluate("() => { window.cell = document.getElementById('view'); window.cell.remove(); }")
    page.evaluate("() => document.body.append(window.cell)")
    page.get_by_role("slider", name="alpha").press("ArrowLeft")
    at.pump(lambda: view.state["alpha"] == 0.0)
    assert min(ink(page, ".xm-canvas")) > 0.004 and page.problems == []
