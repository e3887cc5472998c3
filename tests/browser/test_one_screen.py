"""One screen on a laptop: controls in sight, one large picture, pin, play, link, corners, greyed controls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cubes
import numpy as np
import pytest
import xarray as xr
from bridge import Bridge
from lab_server import fingerprint, ink
from xmodal_widgets import Bars, Contour, Density, HeatMap, Intervals, Lines, Scatter, Surface, SweepView, explore
from xmodal_widgets.explorers import ready
from xmodal_widgets.explorers.synergy import triangle

pytestmark = pytest.mark.browser
APP = "document.querySelector('.xm-root').xmodal"


@pytest.fixture
def show(new_page: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def make(view: SweepView, width: int = 1366, height: int = 768, **options: Any) -> Any:
        page = new_page(width=width, height=height, **options)
        page.goto(view.to_html(tmp_path / "view.html").as_uri())
        page.wait_for_selector(".xm-canvas")
        settle(page)
        return page

    return make


def settle(page: Any) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize("name", ready())
def test_an_explorer_fits_a_laptop(show: Callable[..., Any], name: str) -> None:
    """Nothing to scroll, every picture drawn, one of them large."""
    page = show(explore(name))
    assert page.evaluate("() => document.documentElement.scrollHeight") <= 768
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 1366
    assert min(ink(page, ".xm-canvas")) > 0.004
    areas = page.eval_on_selector_all(".xm-view", "(all) => all.map((v) => v.clientWidth * v.clientHeight)")
    assert areas[0] > 3 * max(areas[1:], default=0)
    assert page.problems == []


CUT = """() => {
  const box = document.querySelector('.xm-controls');
  const parts = [...document.querySelectorAll('.xm-control, .xm-actions, .xm-free, .xm-view')].filter((e) => e.offsetParent);
  const out = parts.filter((e) => { const r = e.getBoundingClientRect(); return r.bottom > innerHeight + 1 || r.right > innerWidth + 1; });
  const letters = [...document.querySelectorAll('.xm-segment span')].map((e) => parseFloat(getComputedStyle(e).fontSize));
  return { hidden: box.scrollHeight - box.clientHeight, out: out.map((e) => e.textContent), letters: Math.min(99, ...letters) };
}"""


@pytest.mark.parametrize("name", ready())
def test_every_control_is_in_sight_where_one_can_train(new_page: Callable[..., Any], tmp_path: Path, name: str) -> None:
    """In a notebook, which has most controls, on a laptop and on a projector: none is scrolled away, all are legible."""
    page = new_page(width=1366, height=768)
    Bridge(page, explore(name), tmp_path)
    for width, height in ((1366, 768), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(400)  # the notes beside greyed controls come once all rests
        found = page.evaluate(CUT)
        assert found["hidden"] <= 1 and found["out"] == [] and found["letters"] >= 11
    assert page.problems == []


def test_each_row_of_intervals_is_named(show: Callable[..., Any]) -> None:
    """However close the rows lie, each has its name: smaller letters, then names in several columns."""
    rows = [f"paper.{k}" for k in range(66)]
    value = np.linspace(-1.0, 1.0, 66)
    cube = xr.Dataset({n: ("id", value + k) for n, k in (("value", 0.0), ("low", -0.5), ("high", 0.5))}, {"id": rows})
    page = show(SweepView(cube, Intervals("value", "low", "high", rows="id")))
    draw = f"""() => {{
      const written = [];
      const real = CanvasRenderingContext2D.prototype.fillText;
      CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {{ written.push(text); real.call(this, text, ...at); }};
      {APP}.look++;
      {APP}.draw();
      return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(written))));
    }}"""
    assert set(rows) <= set(page.evaluate(draw))


def test_the_picture_that_answers_is_large(show: Callable[..., Any]) -> None:
    cube = cubes.landscapes()
    views = [Surface("loss"), Lines("accuracy", x="share"), Bars("accuracy", x="modalities", band="seed")]
    page = show(SweepView(cube, views))
    large = "() => [...document.querySelectorAll('.xm-view')].findIndex((v) => v.classList.contains('xm-large'))"
    assert page.evaluate(large) == 0
    page.get_by_role("slider", name="span").press("End")  # the surface answers: it stays
    assert page.evaluate(large) == 0
    page.get_by_role("button", name="enlarge accuracy").first.click()
    assert page.evaluate(large) == 1
    page.get_by_role("slider", name="span").press("Home")  # only the surface answers
    assert page.evaluate(large) == 0
    page.locator(".xm-small .xm-canvas").last.click()
    assert page.evaluate(large) == 2


def test_a_density_marks_eigenvalues_and_tells_them(show: Callable[..., Any]) -> None:
    grid = 0.1 * np.sinh(np.linspace(-8.0, 8.0, 65))
    share = xr.DataArray([0.0, 1.0], {"share": [0.0, 1.0]})
    u = xr.DataArray(np.arcsinh(grid / 0.1), {"lambda_": grid})
    density = np.exp(-(u**2)) + (1 + share) * 0.1 * np.exp(-((u + 3) ** 2) / 0.1)
    eigenvalue = (1 + share) * xr.DataArray([40.0, 20.0], {"k": [1, 2]})
    cube = xr.Dataset({"density": density.where(abs(u) < 5, 0).transpose("share", "lambda_"), "eigenvalue": eigenvalue})
    page = show(SweepView(cube, Density("density", marks="eigenvalue"), share=0.0))
    at = f"(v) => {{ const f = {APP}.views[0].panels[0].frame; return (f.px(v) - f.left) / f.width; }}"
    places = [page.evaluate(at, v) for v in (-1.0, 0.0, 1.0, 80.0)]
    assert places == sorted(places) and places[0] > 0.02 and places[-1] == pytest.approx(1.0)
    assert places[1] - places[0] == pytest.approx(places[2] - places[1]), "the axis is symmetric"
    before = fingerprint(page.locator(".xm-canvas").first)
    page.get_by_role("slider", name="share").press("End")
    settle(page)
    assert fingerprint(page.locator(".xm-canvas").first) != before
    assert "spectral density of density over lambda_" in str(page.locator(".xm-canvas").get_attribute("aria-label"))
    page.locator(".xm-canvas").focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    assert "eigenvalue: 80, 40" in page.locator(".xm-readout").inner_text()
    page.get_by_role("button", name="Logarithmic").click()
    settle(page)
    assert min(ink(page, ".xm-canvas")) > 0.004 and page.problems == []


def test_a_pinned_setting_stays_as_a_ghost_with_paired_numbers(show: Callable[..., Any]) -> None:
    cube = cubes.landscapes()
    cube["accuracy"][..., 1] += 0.3  # seeds differ, their differences do not
    page = show(SweepView(cube, [Lines("eigenvalues", x="k"), Bars("accuracy", x="modalities", band="seed")]))
    before = fingerprint(page.locator(".xm-canvas").first)
    page.get_by_role("button", name="Pin").click()
    page.get_by_role("slider", name="share of shuffled pairs").press("End")
    settle(page)
    with_ghost = fingerprint(page.locator(".xm-canvas").first)
    words = page.locator(".xm-pinned").inner_text()
    assert "share of shuffled pairs: 0 \u2192 1" in words
    assert "\u22120.2 \u00b1 0" in words and "paired over 3" in words
    page.get_by_role("button", name="Unpin").click()
    settle(page)
    assert len({before, with_ghost, fingerprint(page.locator(".xm-canvas").first)}) == 3
    assert page.locator(".xm-pinned").is_hidden()


def test_a_link_is_a_line_of_python(show: Callable[..., Any]) -> None:
    view = SweepView(cubes.landscapes(), Contour("loss"))
    page = show(view)
    page.get_by_role("slider", name="span").press("End")
    page.get_by_role("radiogroup", name="modalities").get_by_label("both, true pairs").check()
    page.get_by_role("button", name="Link").click()
    line = page.get_by_role("textbox", name="this setting as Python").input_value()
    exec(line, {"view": view})
    shown = page.evaluate(f"() => {APP}.state")
    assert view.state == shown


def test_play_runs_through_the_epochs(show: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    cube = xr.Dataset({"loss": (("epoch", "a", "b"), rng.normal(size=(5, 6, 6)))}, {"epoch": [1, 2, 5, 10, 20]})
    page = show(SweepView(cube, Contour("loss")))
    seen = {fingerprint(page.locator(".xm-canvas").first)}
    page.get_by_role("button", name="play epoch").click()
    page.wait_for_function(f"() => {APP}.state.epoch === 5")
    seen.add(fingerprint(page.locator(".xm-canvas").first))
    page.wait_for_function(f"() => {APP}.state.epoch === 20")
    assert len(seen) == 2
    page.wait_for_function("() => document.querySelector('.xm-play').getAttribute('aria-pressed') === 'false'")


def test_a_control_that_changes_nothing_says_why(show: Callable[..., Any]) -> None:
    values = np.zeros((2, 3, 4))
    values[1] = np.arange(1, 4)[:, None]
    cube = xr.Dataset({"y": (("kind", "alpha", "k"), values)}, {"kind": ["one", "both"], "alpha": [0.0, 0.5, 1.0]})
    page = show(SweepView(cube, Lines("y", x="k")))
    page.get_by_text("no effect at kind one").wait_for()
    assert page.locator(".xm-mute").count() == 1
    page.get_by_role("radiogroup", name="kind").get_by_label("both").check()
    page.wait_for_function("() => document.querySelectorAll('.xm-mute').length === 0")


def test_a_corner_is_dragged_and_stays_a_triangle(show: Callable[..., Any]) -> None:
    page = show(triangle())
    box = page.locator(".xm-large .xm-canvas").bounding_box()
    place = f"""(k) => {{ const {{ frame, slice }} = {APP}.views[0].panels[0];
      return [frame.px(slice.x.values[k]), frame.py(slice.y.values[k])]; }}"""
    x, y = page.evaluate(place, 0)  # P*
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x - 60, box["y"] + y + 30, steps=6)
    page.mouse.up()
    settle(page)
    moved = page.evaluate(place, 0)
    assert moved[0] == pytest.approx(x - 60, abs=30) and moved[1] == pytest.approx(y + 30, abs=30)
    assert abs(moved[0] - x) + abs(moved[1] - y) > 30
    for name, key in (("Δ_i", "Home"), ("Δ_j", "End"), ("Δ_ij", "End"), ("Δ_i", "Home")):
        page.get_by_role("slider", name=name, exact=True).press(key)
        settle(page)
        sides = page.evaluate(f"() => [{APP}.state.delta_i, {APP}.state.delta_j, {APP}.state.delta_ij]")
        assert 2 * max(sides) <= sum(sides) * (1 + 1e-9)
        labels = page.locator(".xm-canvas").evaluate_all("(all) => all.map((c) => c.getAttribute('aria-label'))")
        assert not any("nothing computed" in label for label in labels)


def test_equal_axes_uneven_cells_and_zero_in_the_middle(show: Callable[..., Any]) -> None:
    around = np.linspace(0, 2 * np.pi, 50)
    cube = xr.Dataset(
        {
            "x": ("point", np.cos(around)), "y": ("point", 0.3 * np.sin(around)),
            "gain": (("shots", "name"), np.linspace(-50, 0.5, 8).reshape(4, 2)),
        },
        {"shots": [1, 2, 4, 16], "name": ["a", "b"]},
    )  # fmt: skip
    views = [
        Scatter("x", "y", curves=True, equal=True),
        HeatMap("gain", x="shots", y="name", palette="diverging"),
    ]
    page = show(SweepView(cube, views))
    units = page.evaluate(f"""() => {{ const f = {APP}.views[0].panels[0].frame;
      return [f.width / (f.x.hi - f.x.lo), f.height / (f.y.hi - f.y.lo)]; }}""")
    assert units[0] == pytest.approx(units[1])
    places = page.evaluate(f"() => {{ const f = {APP}.views[1].panels[0].frame; return [1, 2, 4, 16].map(f.px); }}")
    assert np.diff(places) == pytest.approx([np.diff(places)[0]] * 3)
    assert page.evaluate(f"() => [{APP}.views[1].scale.lo, {APP}.views[1].scale.hi]") == [-50, 50]
    labels = page.evaluate(f"() => {APP}.views[1].panels[0].frame.y.labels")
    assert labels == ["a", "b"]


def test_gains_are_paired(show: Callable[..., Any]) -> None:
    """The interval is that of the differences: seeds that move together have none."""
    seeds = np.asarray([0.0, 5.0, -7.0])
    values = (
        np.asarray([0.0, 1.0, 3.0])[:, None, None]
        + np.arange(4)[:, None] * np.asarray([0, 1, 2])[:, None, None]
        + seeds
    )
    cube = xr.Dataset(
        {"y": (("arm", "alpha", "seed"), values)},
        {"arm": ["none", "one", "two"], "alpha": [0.0, 0.1, 0.2, 0.3], "seed": [0, 1, 2]},
    )
    view = SweepView(cube, Lines("y", x="alpha", hue="arm", band="seed", versus={"arm": "none"}))
    page = show(view)
    got = page.evaluate(f"() => {{ const s = {APP}.views[0].panels[0].slice; return [[...s.values], [...s.half]]; }}")
    expected = (values - values[:1]).mean(-1)
    np.testing.assert_allclose(np.reshape(got[0], (3, 4)), expected, atol=1e-5)
    np.testing.assert_allclose(got[1], 0, atol=1e-5)
    lines = {line.get_label(): line for line in view.figure().subfigs[0].subfigs[0].axes[0].lines}
    np.testing.assert_allclose(lines["two"].get_ydata(), expected[2], atol=1e-5)
    with pytest.raises(ValueError, match="versus: arm='three' is not on the grid"):
        SweepView(cube, Lines("y", x="alpha", hue="arm", versus={"arm": "three"}))
