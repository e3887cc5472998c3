"""The view in JupyterLab: state reaches the kernel, numbers do not travel twice, a busy or dead kernel stops nothing."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lab_server
import pytest
from lab_server import execute, fingerprint, ink
from PIL import Image

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent
IMPORTS = f"""import sys
sys.path.insert(0, {str(HERE)!r})
import cubes
from xmodal_widgets import *"""
VIEW = """view = SweepView(cubes.landscapes(), [Surface("loss", col="modalities"), Contour("loss"),
    Lines("eigenvalues", x="k", band="seed", log=True)], title="Four landscapes")
view"""
CALLBACK = """def follow(change):
    if change["new"]["share"] == 1.0:
        raise ValueError("no run has share 1; choose a smaller one")
view.observe(view.guard(follow), "state")"""
TRAIN = """import numpy as np
def compute(setting, progress, cancelled):
    for k in range(20):
        if setting["share"] > 0.8 and k == 3:
            raise FloatingPointError("loss is NaN in epoch 3; lower the learning rate")
        progress(k / 20, f"epoch {k}")
        __import__("time").sleep(0.02 if setting["share"] < 0.5 else 0.5)
    return {"loss": np.full((21, 21), 5.0)}
view = SweepView(cubes.landscapes(), Contour("loss"), compute=compute, free=True, share=0.1, seed=0)
view"""
APP = "document.querySelector('.xm-root').xmodal"


@pytest.fixture(scope="module")
def page(browser: Any, lab: str, lab_root: Path) -> Iterator[Any]:
    """One notebook for the tests that leave its kernel alive."""
    lab_server.write_notebook(lab_root / "view.ipynb", [IMPORTS, VIEW, CALLBACK])
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.problems = lab_server.watch(page)
    page.frames_sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda data: page.frames_sent.append(len(data))))
    page.frames_received = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: page.frames_received.append(len(data))))
    lab_server.open_in_lab(page, lab, "view.ipynb")
    page.wait_for_selector(".xm-canvas")
    yield page
    lab_server.shut_down(page)
    context.close()


@pytest.fixture(autouse=True)
def _nothing_goes_wrong(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "page" in request.fixturenames:
        page = request.getfixturevalue("page")
        assert page.problems == []
        assert page.evaluate("() => window.callbackErrors || []") == []


def kernel_state(page: Any) -> dict:
    state = execute(page, "import json; print(json.dumps(view.state))")
    return dict(json.loads(state))


def kernel_reaches(page: Any, name: str, value: object, patience: float = 10.0) -> None:
    deadline = time.monotonic() + patience
    while (state := kernel_state(page))[name] != value:
        assert time.monotonic() < deadline, f"the kernel has {name}={state[name]!r}, expected {value!r}"
        time.sleep(0.1)


def slider(page: Any, name: str) -> Any:
    return page.get_by_role("slider", name=name)


def wait_for_change(page: Any, canvas: Any, before: int, patience: float = 5.0) -> None:
    deadline = time.monotonic() + patience
    while fingerprint(canvas) == before:
        assert time.monotonic() < deadline, "the picture did not change"
        time.sleep(0.02)


def test_all_panels_are_drawn(page: Any) -> None:
    drawn = ink(page, ".xm-canvas")
    assert len(drawn) == 6
    assert min(drawn) > 0.02


def test_keys_move_the_view_and_reach_the_kernel(page: Any) -> None:
    """And JupyterLab does not take the arrows for itself."""
    active = "() => jupyterapp.shell.currentWidget.content.activeCellIndex"
    page.evaluate("() => { jupyterapp.shell.currentWidget.content.mode = 'command' }")
    span = slider(page, "span")
    canvas = page.locator(".xm-canvas").first
    span.focus()
    cell, before = page.evaluate(active), fingerprint(canvas)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    wait_for_change(page, canvas, before)
    kernel_reaches(page, "span", 2.0)
    assert page.evaluate(active) == cell
    canvas.focus()
    page.keyboard.press("ArrowDown")
    kernel_reaches(page, "elevation", 25.0)
    assert page.evaluate(active) == cell


def test_moving_sends_no_arrays(page: Any) -> None:
    page.frames_sent.clear()
    page.frames_received.clear()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        slider(page, "span").press(key)
    kernel_reaches(page, "span", 1.0)
    assert 0 < max(page.frames_sent) < 8_000
    assert max(page.frames_received) < 8_000  # the cube has 1.3 MB


def test_drag_and_rotate_by_mouse(page: Any) -> None:
    share = slider(page, "share of shuffled pairs")
    share.scroll_into_view_if_needed()
    box = share.bounding_box()
    page.mouse.move(box["x"] + 9, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=10)
    page.mouse.up()
    kernel_reaches(page, "share", 0.5)
    canvas = page.locator(".xm-surface .xm-canvas").nth(1)
    box, before = canvas.bounding_box(), fingerprint(canvas)
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 100, steps=5)
    page.mouse.up()
    wait_for_change(page, canvas, before)
    kernel_reaches(page, "azimuth", -35.0)


def test_the_kernel_moves_the_view(page: Any) -> None:
    execute(page, "view.set(modalities='image', share=0.25, span=2.0, seed=1)")
    page.wait_for_function(f"() => {APP}.state.share === 0.25")
    assert slider(page, "share of shuffled pairs").get_attribute("aria-valuetext") == "0.25"
    assert page.get_by_role("radiogroup", name="modalities").get_by_label("image", exact=True).is_checked()


def test_errors_of_callbacks_are_shown(page: Any) -> None:
    slider(page, "share of shuffled pairs").press("End")
    alert = page.get_by_role("alert")
    alert.wait_for()
    words = alert.inner_text()
    assert "ValueError: no run has share 1; choose a smaller one" in words
    assert "in your callback 'follow'" in words
    slider(page, "share of shuffled pairs").press("ArrowLeft")
    alert.wait_for(state="hidden")


def test_two_views_on_one_page_do_not_disturb_each_other(open_cells: Callable[..., Any]) -> None:
    page = open_cells(IMPORTS, VIEW, VIEW.replace("view =", "other =").replace("\nview", "\nother"))
    groups = page.get_by_role("radiogroup", name="modalities")
    groups.nth(1).wait_for()
    groups.nth(1).get_by_label("both, same class").check()
    assert groups.nth(0).get_by_label("image", exact=True).is_checked()
    assert groups.nth(1).get_by_label("both, same class").is_checked()
    assert json.loads(execute(page, "import json; print(json.dumps(other.state))"))["modalities"] == "both, same class"
    assert min(ink(page, ".xm-canvas")) > 0.02


def test_a_busy_kernel_stops_nothing(page: Any) -> None:
    page.evaluate(
        "() => { jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code: 'import time; time.sleep(6)' }) }"
    )
    page.wait_for_function("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'")
    canvas = page.locator(".xm-canvas").first
    for key in ("Home", "ArrowRight", "ArrowRight"):
        before = fingerprint(canvas)
        slider(page, "span").press(key)
        wait_for_change(page, canvas, before, patience=3.0)
    kernel_reaches(page, "span", 2.0, patience=20.0)
    assert page.evaluate(f"() => {APP}.state.span") == 2  # nothing old came back


def test_themes_of_the_lab(page: Any) -> None:
    light = fingerprint(page.locator(".xm-contour .xm-canvas"))
    page.evaluate("() => jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    page.wait_for_function("() => document.querySelector('.xm-root').dataset.dark === 'yes'")
    wait_for_change(page, page.locator(".xm-contour .xm-canvas"), light)
    page.evaluate("() => jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Light' })")
    page.wait_for_function("() => document.querySelector('.xm-root').dataset.dark === 'no'")


def test_reload_keeps_the_state(page: Any) -> None:
    execute(page, "view.set(modalities='audio', share=0.75, azimuth=20.0)")
    page.wait_for_function(f"() => {APP}.state.share === 0.75")
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector(".xm-canvas", timeout=120_000)
    state = page.evaluate(f"() => {APP}.state")
    assert (state["modalities"], state["share"], state["azimuth"]) == ("audio", 0.75, 20)
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel")


def test_a_saved_notebook_has_a_picture_and_no_widget_state(page: Any, lab_root: Path) -> None:
    saved = json.loads((lab_root / "view.ipynb").read_text())
    assert "widgets" not in saved["metadata"]
    data = saved["cells"][1]["outputs"][0]["data"]
    assert len(data["image/png"]) > 5_000
    assert "".join(data["text/plain"]).startswith("SweepView")


def test_a_dead_kernel_stops_nothing(open_cells: Callable[..., Any]) -> None:
    page = open_cells(IMPORTS, VIEW)
    page.wait_for_selector(".xm-canvas")
    lab_server.shut_down(page)
    page.wait_for_function("() => !jupyterapp.shell.currentWidget.sessionContext.session")
    canvas = page.locator(".xm-canvas").first
    for name, key in (("span", "End"), ("share of shuffled pairs", "ArrowRight")):
        before = fingerprint(canvas)
        slider(page, name).press(key)
        wait_for_change(page, canvas, before)
    assert page.locator(".xm-error").is_hidden()


def test_train_here(open_cells: Callable[..., Any]) -> None:
    """Progress, the new point on the grid, cancel, and an error with its remedy."""
    page = open_cells(IMPORTS, TRAIN)
    button = page.get_by_role("button", name="Train here")
    assert page.locator(".xm-view-head .xm-badge").is_visible()
    button.click()
    page.get_by_role("progressbar", name="Progress of the training").wait_for()
    page.get_by_text("done", exact=True).wait_for()
    page.wait_for_function(f"() => {APP}.cube.dims.get('share').size === 6")
    assert page.locator(".xm-view-head .xm-badge").is_hidden()  # computed now
    assert json.loads(execute(page, "print(view.cube.share.values.tolist())")) == [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
    slider(page, "share of shuffled pairs").press("End")
    page.get_by_role("button", name="Train here").click()
    page.get_by_role("alert").wait_for()
    assert (
        "FloatingPointError: loss is NaN in epoch 3; lower the learning rate" in page.get_by_role("alert").inner_text()
    )
    page.get_by_role("button", name="Dismiss").click()
    execute(page, "view.set(share=0.5)")
    page.get_by_role("button", name="Train here").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("cancelled after 0 of 1").wait_for()
    assert page.problems == []


def test_in_voila(browser: Any, new_page: Callable[..., Any], tmp_path: Path) -> None:
    """A notebook as an app: the same view, live."""
    pytest.importorskip("voila", reason="voila is in the extra [app]")
    (tmp_path / "notebooks").mkdir()
    lab_server.write_notebook(tmp_path / "notebooks" / "app.ipynb", [IMPORTS, VIEW])
    with lab_server.voila(tmp_path / "notebooks", tmp_path / "voila") as url:
        page = new_page()
        page.goto(f"{url}/voila/render/app.ipynb", wait_until="domcontentloaded")
        page.wait_for_selector(".xm-canvas", timeout=120_000)
        canvas = page.locator(".xm-canvas").first
        before = fingerprint(canvas)
        slider(page, "span").press("End")
        wait_for_change(page, canvas, before)
        assert page.problems == []


def test_a_diagram_follows_the_theme_of_the_lab(open_cells: Callable[..., Any]) -> None:
    page = open_cells(
        "from xmodal_lab import lessons\nlessons.method('dml')", dark=True
    )  # the system is dark, the lab light
    drawn = page.locator("img.xm-diagram")
    drawn.wait_for()
    shades = {"Light": [], "Dark": []}
    for theme in ("Light", "Dark", "Light"):
        page.evaluate(f"() => jupyterapp.commands.execute('apputils:change-theme', {{ theme: 'JupyterLab {theme}' }})")
        page.wait_for_function(f"() => document.body.dataset.jpThemeName === 'JupyterLab {theme}'")
        shades[theme].append(Image.open(io.BytesIO(drawn.screenshot())).convert("L").getpixel((20, 8)))
    assert min(shades["Light"]) > 230 and max(shades["Dark"]) < 60


WAITS = """import os, time, pathlib
os.environ["XMODAL_CACHE"] = {cache!r}
draw = SweepView.figure
def figure(self, dark=False):
    while not pathlib.Path({gate!r}).exists():
        time.sleep(0.05)
    return draw(self, dark)
SweepView.figure = figure"""


def test_the_live_view_comes_before_its_static_picture(lab: str, lab_root: Path, new_page: Callable[..., Any]) -> None:
    """It is drawn, and moves, while the kernel still draws; the picture comes into the same output, where the view stays."""
    gate = lab_root / "draw_now"
    waits = WAITS.format(cache=str(lab_root / "cache"), gate=str(gate))
    lab_server.write_notebook(lab_root / "later.ipynb", [IMPORTS, waits, VIEW])
    page = new_page(width=1400)
    lab_server.open_in_lab(page, lab, "later.ipynb", run=False)
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")  # not awaited: it cannot end yet
    page.wait_for_selector(".xm-canvas")
    busy = "() => [...jupyterapp.shell.currentWidget.content.model.cells].at(-1).executionCount === null"
    outputs = """() => { const { model } = jupyterapp.shell.currentWidget.content;
      return [...model.cells].at(-1).outputs.toJSON().map((o) => Object.keys(o.data).sort()); }"""
    assert page.evaluate(busy)
    page.get_by_role("button", name="Pin").click()
    slider(page, "share of shuffled pairs").press("ArrowRight")
    page.wait_for_function(f"() => {APP}.state.share > 0")
    assert page.evaluate(outputs) == [["application/vnd.jupyter.widget-view+json", "text/plain"]]
    gate.touch()
    page.wait_for_function(f"() => !({busy})()")
    page.wait_for_function(f"() => ({outputs})()[0].includes('image/png')")
    page.wait_for_function("() => document.querySelectorAll('.xm-root .xm-canvas').length === 6")
    assert len(page.evaluate(outputs)) == 1
    assert min(ink(page, ".xm-canvas")) > 0.02
    assert page.evaluate(f"() => [{APP}.state.share > 0, Boolean({APP}.pin)]") == [True, True]
    slider(page, "share of shuffled pairs").press("ArrowRight")
    kernel_reaches(page, "share", 0.5)
    assert page.problems == []
