"""The button "Train here", pressed in every explorer: the new point is drawn, its neighbours stay, little is sent."""

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
# Explorer -> a setting that its cube does not have, what to type where, and the control to move afterwards.
NEW: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # Both modalities: one alone has no gap, so those two panels stay empty.
    "dml": ({"modalities": "image+audio", "pairing": "same_class", "seed": 0}, "alpha", "0.6", "pairing"),
    "synergy": ({"direction": "L→V", "seed": 0}, "alpha", "0.4", "direction"),
    "cox": ({"seed": 0, "count": 2}, "label_share", "0.1", "out"),
    "uml": ({"seed": 0}, "image_shots", "3", "image_shots"),
    "wma": ({"task": "red", "seed": 0}, "alpha", "0.6", "beta"),
    "uml_theory": ({}, "attenuation", "0.3", "n_x"),
}


@pytest.fixture
def bridge(new_page: Callable[..., Any], tmp_path: Path) -> Callable[[SweepView], Bridge]:
    return lambda view: Bridge(new_page(width=1366, height=768), view, tmp_path)


def type_value(page: Any, dim: str, text: str) -> None:
    """Open the field of a control and type a value of one's own."""
    label = page.evaluate(f"() => {APP}.cube.dims.get({dim!r}).label")
    page.get_by_role("button", name=f"type a value of {label}").first.click()
    field = page.get_by_role("textbox", name=f"another value of {label}").first
    field.fill(text)
    field.press("Enter")


def empty_panels(page: Any) -> int:
    labels = page.locator(".xm-canvas").evaluate_all("(all) => all.map((c) => c.getAttribute('aria-label'))")
    return sum("nothing computed here yet" in label for label in labels)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
def test_the_button_in_every_explorer(bridge: Callable[..., Bridge], name: str) -> None:
    setting, dim, text, neighbour = NEW[name]
    at = bridge(explore(name, **setting))
    page, view = at.page, at.view
    whole = len(view._payload)
    type_value(page, dim, text)
    at.pump(lambda: str(view.state[dim]) == text)
    before = [fingerprint(canvas) for canvas in page.locator(".xm-canvas").all()]
    page.get_by_role("button", name="Train here").click()
    at.pump(lambda: view._job.get("message") in ("done", "failed"))
    assert view.error == "" and view._job["message"] == "done"
    assert text in [f"{v:g}" for v in view.cube[dim].values]
    assert page.evaluate(f"() => {APP}.cube.dims.get({dim!r}).values").count(float(text)) == 1
    assert max(at.sent) < whole / 4, "a slab is sent, not the cube"
    after = [fingerprint(canvas) for canvas in page.locator(".xm-canvas").all()]
    assert before != after
    assert empty_panels(page) == 0 and min(ink(page, ".xm-canvas")) > 0.004
    same_as_python(page, view)
    values = page.evaluate(f"() => {APP}.cube.dims.get({neighbour!r}).values")
    other = next(v for v in values if v != view.state[neighbour])
    page.evaluate(f"(value) => {APP}.set({{ {neighbour}: value }})", other)
    at.pump(lambda: view.state[neighbour] == other)
    assert min(ink(page, ".xm-canvas")) > 0.004
    assert empty_panels(page) == 0, "beside the new point stands what was there, interpolated where it was"
    same_as_python(page, view)
    assert page.locator(".xm-error").is_hidden() and page.problems == []


def same_as_python(page: Any, view: SweepView) -> None:
    """What the panels show is what the kernel's cube holds at the present state."""
    for index, shown in enumerate(view._shown):
        if not hasattr(shown, "var"):
            continue
        band = getattr(shown, "band", None)
        keep = [d for d in (getattr(shown, "hue", None), shown.x, getattr(shown, "y", None)) if d is not None]
        if band is not None or getattr(shown, "col", None) is not None:
            continue
        values = page.evaluate(
            f"() => [...{APP}.views[{index}].panels[0].slice.values].map((v) => (Number.isNaN(v) ? null : v))"
        )
        there = np.asarray([np.nan if v is None else v for v in values])
        np.testing.assert_allclose(there, view._grid.take(shown.var, view.state, keep).ravel(), rtol=1e-4, atol=1e-5)


def little(compute: Callable[..., Any]) -> SweepView:
    values = np.arange(2 * 3 * 400, dtype=float).reshape(2, 3, 400)
    cube = xr.Dataset({"y": (("name", "alpha", "k"), values)}, {"name": ["a", "b"], "alpha": [0.0, 0.5, 1.0]})
    return SweepView(cube, Lines("y", x="k"), compute=compute, alpha=0.5)


def test_on_the_grid_one_slab_is_sent_and_nothing_is_built_anew(bridge: Callable[..., Bridge]) -> None:
    at = bridge(little(lambda setting, *_: {"y": np.full(400, 7.0)}))
    page, view = at.page, at.view
    page.evaluate(f"() => {{ window.kept = {APP}; }}")
    page.get_by_role("button", name="Train here").click()
    at.pump(lambda: view._job.get("message") == "done")
    assert max(at.sent) == 4 * 400
    assert page.evaluate(f"() => window.kept === {APP}")
    assert page.evaluate(f"() => [...{APP}.views[0].panels[0].slice.values].every((v) => v === 7)")
    np.testing.assert_array_equal(view.cube["y"].sel(name="a", alpha=0.5), 7.0)


def test_a_second_place_and_a_page_that_missed_a_change(bridge: Callable[..., Bridge]) -> None:
    """A view shown twice has one cube; a place made later, or one that heard nothing, gets the whole."""
    at = bridge(little(lambda setting, *_: {"y": np.full(400, 9.0)}))
    page, view = at.page, at.view
    page.evaluate("() => window.show()")
    type_value(page, "alpha", "3")  # the first of the two
    at.pump(lambda: view.state["alpha"] == 3.0)
    view.train()
    at.pump(lambda: True)
    seen = "() => [...document.querySelectorAll('.xm-root')].map((r) => r.xmodal.views[0].panels[0].slice.values[5])"
    assert page.evaluate(seen) == [9, 9]
    at.alive = False  # nothing is handed over for a while
    view.set(alpha=0.5)
    view.train()
    while not at._queue.empty():
        at._queue.get()
    at.alive = True
    view.set(alpha=0.0)
    view.train()
    at.pump(lambda: True)
    at.pump(lambda: page.evaluate(seen) == [9, 9], patience=30)
    assert page.evaluate(f"() => {APP}.cube.vars.get('y').range[0]") == 9 or view._grid.arrays["y"][0].min() == 9


def test_a_dead_kernel_is_told_by_the_button(bridge: Callable[..., Bridge]) -> None:
    at = bridge(little(lambda setting, *_: {"y": np.full(400, 7.0)}))
    at.alive = False
    page = at.page
    page.clock.install()
    page.get_by_role("button", name="Train here").click()
    page.get_by_text("asking the kernel").wait_for()
    page.clock.fast_forward(5_000)
    assert page.get_by_text("The kernel does not answer").is_visible()
    assert page.get_by_role("button", name="Train here").get_attribute("aria-disabled") == "false"
    at.alive = True
    page.get_by_role("button", name="Train here").click()
    at.pump(lambda: at.view._job.get("message") == "done")
    assert page.get_by_text("The kernel does not answer").count() == 0
    page.evaluate("() => { window.model.send = () => { throw new Error('Canceled'); }; }")
    page.get_by_role("button", name="Train here").click()
    page.get_by_text("There is no kernel to train with").wait_for()


def test_a_kernel_that_dies_while_it_trains_is_told(bridge: Callable[..., Bridge]) -> None:
    at = bridge(little(lambda setting, *_: {"y": np.full(400, 7.0)}))
    page = at.page
    page.clock.install()
    job = {"possible": True, "running": True, "share": 0.5, "message": "epoch 3"}
    page.evaluate("(job) => window.fromPython({ state: { _job: job }, custom: null, buffers: {} })", job)
    assert page.get_by_role("progressbar", name="Progress of the training").is_visible()
    page.clock.fast_forward(9_000)
    assert page.get_by_text("No word from the kernel for 9 seconds").is_visible()
    assert page.get_by_role("progressbar", name="Progress of the training").is_hidden()


def test_what_is_typed_is_checked(bridge: Callable[..., Bridge]) -> None:
    at = bridge(little(lambda setting, *_: {"y": np.full(400, len(setting["name"]))}))
    page, view = at.page, at.view
    type_value(page, "alpha", "many")
    field = page.get_by_role("textbox", name="another value of alpha")
    assert "Type a number; many is none" in field.evaluate("(e) => e.validationMessage")
    field.press("Escape")
    type_value(page, "name", "a third")
    at.pump(lambda: view.state["name"] == "a third")
    assert page.get_by_text("a third: not computed").is_visible()
    assert empty_panels(page) == 1
    page.get_by_role("button", name="Train here").click()
    at.pump(lambda: view._job.get("message") == "done")
    assert page.get_by_role("radiogroup", name="name").get_by_label("a third").is_checked()
    assert empty_panels(page) == 0


def test_a_diverging_member_leaves_the_contour_whole(bridge: Callable[..., Bridge]) -> None:
    """Between two settings of which one is half a gap, the other half is still interpolated."""
    plane = np.ones((3, 5, 5)) * np.arange(3)[:, None, None]
    plane[1, :2] = np.nan
    cube = xr.Dataset({"loss": (("alpha", "a", "b"), plane)}, {"alpha": [0.0, 1.0, 2.0]})
    at = bridge(SweepView(cube, Contour("loss"), free=True, alpha=1.5))
    values = at.page.evaluate(f"() => [...{APP}.views[0].panels[0].slice.values]")
    np.testing.assert_allclose(values, 1.5)
