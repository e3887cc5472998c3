"""Follow in a page: switched on, a control dragged and let go; curves move while it trains, pixels change, cancels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from bridge import Bridge
from lab_server import fingerprint, ink
from xmodal_widgets import Lines, Surface, SweepView

pytestmark = pytest.mark.browser
APP = "document.querySelector('.xm-root').xmodal"
EPOCHS = 12
PATIENCE = 60.0


class Training:
    """Accuracy epoch by epoch, each when the test lets it, then a landscape."""

    def __init__(self) -> None:
        self.free = threading.Semaphore(0)
        self.begun: list[float] = []
        self.ended: list[float] = []

    def __call__(self, setting: dict[str, Any], progress: Any, cancelled: Any) -> dict[str, Any]:
        self.begun.append(setting["alpha"])
        curve = 1 - 0.5 * np.exp(-np.arange(EPOCHS) / (2 + 4 * setting["alpha"]))
        for epoch in range(1, EPOCHS + 1):
            assert self.free.acquire(timeout=PATIENCE)
            part = xr.DataArray(curve[:epoch], {"epoch": range(1, epoch + 1)}, ("epoch",))
            progress.tell({"accuracy_curve": part})
            progress(epoch / EPOCHS, f"epoch {epoch} of {EPOCHS}")
        progress.tell({"landscape": bowl(setting["alpha"])})
        self.ended.append(setting["alpha"])
        return {"accuracy_curve": curve, "landscape": bowl(setting["alpha"])}


def bowl(alpha: float) -> np.ndarray:
    at = np.linspace(-1, 1, 9)
    return (1 + 4 * alpha) * (at[:, None] ** 2 + at**2)


def opened(training: Training) -> SweepView:
    alpha = [0.0, 0.5, 1.0]
    cube = xr.Dataset(
        {
            "landscape": (("alpha", "loss", "a", "b"), np.stack([bowl(a) for a in alpha])[:, None]),
            "accuracy_curve": (
                ("alpha", "loss", "epoch"),
                np.stack([1 - 0.5 * np.exp(-np.arange(EPOCHS) / (2 + 4 * a)) for a in alpha])[:, None],
            ),
        },
        {"alpha": alpha, "loss": ["square"], "a": np.linspace(-1, 1, 9), "b": np.linspace(-1, 1, 9),
         "epoch": range(1, EPOCHS + 1)},
    )  # fmt: skip
    views = [Surface("landscape"), Lines("accuracy_curve", x="epoch")]
    controls = {"method": ["alpha", "loss"]}
    return SweepView(cube, views, controls, compute=training, offers={"loss": ["cosine"]}, alpha=0.0)


@pytest.fixture
def bridge(new_page: Callable[..., Any], tmp_path: Path) -> Callable[[SweepView], Bridge]:
    return lambda view: Bridge(new_page(width=1366, height=768), view, tmp_path)


def shown_curve(page: Any) -> list[float | None]:
    found: list[float | None] = page.evaluate(
        f"() => [...{APP}.views[1].panels[0].slice.values].map((v) => (Number.isFinite(v) ? v : null))"
    )
    return found


def epochs_until(at: Bridge, training: Training, least: int) -> int:
    """Give epochs free until the page shows at least so many; how many it shows (it is told ten times a second)."""
    for _ in range(EPOCHS - 1):
        training.free.release()
        at.page.wait_for_timeout(150)
        at.pump(lambda: True)
        curve = shown_curve(at.page)
        known = sum(v is not None for v in curve)
        if known < EPOCHS and known >= least:
            assert all(v is not None for v in curve[:known]), "nothing is bridged"
            return known
    raise AssertionError(f"the page shows {curve}")


def drag(page: Any, share: float) -> None:
    """Press the thumb of α, move it in steps, and let it go."""
    box = page.get_by_role("slider", name="alpha").bounding_box()
    middle = box["y"] + box["height"] / 2
    start = page.get_by_role("slider", name="alpha").evaluate("(e) => (e.value - e.min) / (e.max - e.min)")
    page.mouse.move(box["x"] + 8 + start * (box["width"] - 16), middle)
    page.mouse.down()
    for k in range(1, 6):
        page.mouse.move(box["x"] + 8 + (start + (share - start) * k / 5) * (box["width"] - 16), middle)
    page.mouse.up()


def test_follow_streams_curves_supersedes_and_joins(bridge: Callable[..., Bridge]) -> None:
    training = Training()
    at = bridge(opened(training))
    page, view = at.page, at.view
    assert page.locator(".xm-group").all_text_contents() == ["method"]
    page.get_by_label("Follow").check()
    at.pump(lambda: view.state["follow"] and view._job.get("message") == "in the cube already")
    drag(page, 0.3)
    at.pump(lambda: len(training.begun) == 1)
    first = training.begun[0]
    assert 0 < first < 0.5 and first not in view.cube["alpha"].values
    first_known = epochs_until(at, training, 1)
    assert first_known < EPOCHS, "the exact setting, as far as it is trained"
    before = fingerprint(page.locator(".xm-canvas").nth(1))
    epochs_until(at, training, first_known + 1)
    assert page.locator(".xm-curve polyline").count() == 1, "a small curve stands by the progress bar"
    assert fingerprint(page.locator(".xm-canvas").nth(1)) != before, "the curve moves while it trains"
    drag(page, 0.8)  # superseded, once the kernel hears of it
    at.pump(lambda: view._trainer._running.stop.is_set())
    for _ in range(2 * EPOCHS):
        training.free.release()
    at.pump(lambda: view._job["message"] == "done")
    assert len(training.begun) == 2 and training.ended == [training.begun[1]]
    assert view.cube.sizes["alpha"] == 4 and first not in view.cube["alpha"].values
    assert page.evaluate(f"() => {APP}.cube.dims.get('alpha').size") == 4, "no place of what was given up"
    np.testing.assert_allclose(
        shown_curve(page), view.cube["accuracy_curve"].sel(alpha=training.begun[1], loss="square"), rtol=1e-6
    )
    assert min(ink(page, ".xm-canvas")) > 0.004
    assert page.locator(".xm-error").is_hidden() and page.problems == []


def test_what_the_cube_lacks_is_offered_and_trained_when_chosen(bridge: Callable[..., Bridge]) -> None:
    training = Training()
    at = bridge(opened(training))
    page, view = at.page, at.view
    offered = page.get_by_role("radio", name="cosine")
    assert "not in the cube" in page.locator(".xm-offered").get_attribute("title")
    page.get_by_label("Follow").check()
    at.pump(lambda: bool(view.state["follow"]))
    page.locator(".xm-offered").click()
    at.pump(lambda: len(training.begun) == 1)
    assert view.state["loss"] == "cosine"
    for _ in range(EPOCHS):
        training.free.release()
    at.pump(lambda: view._job["message"] == "done")
    assert view.cube["loss"].values.tolist() == ["square", "cosine"]
    assert offered.is_checked() and page.locator(".xm-offered").count() == 0
    at.alive = False
    page.clock.install()
    page.get_by_role("slider", name="alpha").press("End")
    page.get_by_text("asking the kernel").wait_for()
    page.clock.fast_forward(5_000)
    assert page.get_by_text("The kernel does not answer").is_visible()
    assert page.problems == []


def test_nothing_is_built_anew_under_the_hand(bridge: Callable[..., Bridge]) -> None:
    """A result with a new place that comes while a slider is held waits for the release."""
    training = Training()
    at = bridge(opened(training))
    page, view = at.page, at.view
    box = page.get_by_role("slider", name="alpha").bounding_box()
    page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.evaluate(f"() => {{ window.kept = {APP}; }}")
    for _ in range(EPOCHS):
        training.free.release()
    view.set(free=True, alpha=0.25)
    view.train()
    at.pump(lambda: True)
    assert page.evaluate(f"() => window.kept === {APP}")
    page.mouse.up()
    page.wait_for_function(f"() => window.kept !== {APP}")
    assert page.evaluate(f"() => {APP}.cube.dims.get('alpha').size") == 4


def test_a_move_is_drawn_at_once_and_an_answer_to_an_earlier_one_does_not_undo_it(
    bridge: Callable[..., Bridge],
) -> None:
    at = bridge(opened(Training()))
    page, view = at.page, at.view
    seen = f"{APP}.views[1].panels[0].setting.alpha"
    place = page.evaluate(
        f"""() => {{
          const places = [];
          for (const alpha of [0.5, 1]) {{
            {APP}.set({{ free: true, alpha }});
            places.push({seen});
          }}
          window.fromPython({{ state: {{ state: {{ ...{APP}.state, alpha: 0.5 }} }}, buffers: {{}} }});
          return [...places, {APP}.state.alpha];
        }}"""
    )
    assert place == [0.5, 0.5, 1], "the first within its event, what comes before the next frame in that one"
    at.pump(lambda: view.state["alpha"] == 1)
    assert page.evaluate(f"() => [{seen}, {APP}.state.alpha]") == [1, 1]
    told = [page.evaluate(f"(alpha) => {{ {APP}.set({{ alpha }}); return {APP}.state; }}", 0.25)]
    page.wait_for_timeout(60)
    page.evaluate(f"() => {APP}.set({{ alpha: 0.75 }})")
    page.wait_for_timeout(60)
    echo = "(state) => window.fromPython({ state: { state }, buffers: {} })"
    page.evaluate(echo, told[0])
    assert page.evaluate(f"() => {APP}.state.alpha") == 0.75, "an answer to the move before the last"
    page.evaluate(echo, told[0])
    assert page.evaluate(f"() => {APP}.state.alpha") == 0.25, "said twice, it is the kernel's own wish"
    assert page.problems == []
