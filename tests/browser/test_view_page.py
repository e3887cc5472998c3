"""The exported page, opened from disk: the same JavaScript as in Jupyter, without a kernel and without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cubes
import numpy as np
import pytest
from lab_server import fingerprint, ink
from xmodal_widgets import Bars, Contour, HeatMap, Lines, Scatter, Surface, SweepView
from xmodal_widgets.page.series import band, hue_color

pytestmark = pytest.mark.browser
NO_WEBGL = """const original = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : original.call(this, kind, ...rest);
};"""
# The software that draws WebGL here goes by the name of a card: the view would not use it otherwise.
A_CARD = """const parameter = WebGL2RenderingContext.prototype.getParameter;
WebGL2RenderingContext.prototype.getParameter = function (which) {
  const value = parameter.call(this, which);
  return typeof value === "string" && /swiftshader|llvmpipe|software/i.test(value) ? "a card" : value;
};"""
PAINTS_BY_CARD = "() => Boolean(globalThis[Symbol.for('xmodal_widgets')].gl)"
APP = "document.querySelector('.xm-root').xmodal"


@pytest.fixture(scope="module")
def view() -> SweepView:
    views = [
        Surface("loss", col="modalities"),
        Contour("loss"),
        HeatMap("loss", log=True),
        Lines("eigenvalues", x="k", band="seed", log=True),
        Bars("accuracy", x="modalities", band="seed"),
        Lines("accuracy", x="share", hue="modalities", band="seed"),
    ]
    return SweepView(cubes.landscapes(), views, title="Four landscapes", span=1.0, modalities="audio")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[SweepView, Path]:
    """Exported files by view, each written once."""
    folder = tmp_path_factory.mktemp("pages")

    class Pages(dict[SweepView, Path]):
        def __missing__(self, view: SweepView) -> Path:
            self[view] = view.to_html(folder / f"{len(self)}.html")
            return self[view]

    return Pages()


@pytest.fixture
def show(new_page: Callable[..., Any], pages: dict[SweepView, Path]) -> Callable[..., Any]:
    """``show(view, width=1920)`` -> a page with the view's exported file, drawn."""

    def make(view: SweepView, script: str = "", **options: Any) -> Any:
        page = new_page(**options)
        page.context.set_offline(True)
        if script:
            page.add_init_script(script)
        page.goto(pages[view].as_uri())
        page.wait_for_selector(".xm-canvas")
        settle(page)
        return page

    return make


def settle(page: Any) -> None:
    """Let the next frame be drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def still(page: Any) -> bytes:
    """A screenshot of the page once two in a row are the same."""
    pictures = [b""]
    for _ in range(50):
        settle(page)
        pictures.append(page.screenshot())
        if pictures[-1] == pictures[-2]:
            break
        page.wait_for_timeout(100)
    return pictures[-1]


def pixel(page: Any, index: int, x: str, y: str) -> tuple[float, float]:
    """Where a point of a view's first panel stands on the screen; x and y are expressions in ``frame`` and ``slice``."""
    place = f"""() => {{
      const {{ canvas, frame, slice }} = {APP}.views[{index}].panels[0];
      canvas.scrollIntoView({{ block: "center" }});
      const box = canvas.getBoundingClientRect();
      return [box.x + {x}, box.y + {y}];
    }}"""
    x_pixel, y_pixel = page.evaluate(place)
    return x_pixel, y_pixel


def slider(page: Any, name: str) -> Any:
    return page.get_by_role("slider", name=name)


def test_every_view_is_drawn_offline(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    drawn = ink(page, ".xm-canvas")
    assert len(drawn) == 4 + 5
    assert min(drawn) > 0.02, drawn
    assert page.problems == []
    assert page.locator(".xm-error").is_hidden()


def test_slices_in_the_browser_equal_those_in_python(show: Callable[..., Any], view: SweepView) -> None:
    """Exact values, means over seeds, interpolation in two dimensions, and intervals."""
    page = show(view)
    grid = view._grid
    for setting in (
        {"modalities": "audio", "share": 0.25, "span": 2.0, "seed": 1},
        {"modalities": "image", "share": 1.0, "span": 0.5, "seed": "mean"},
        {"modalities": "both, true pairs", "share": 0.4, "span": 1.3, "seed": "mean", "free": True},
    ):
        page.evaluate(f"(setting) => {APP}.set(setting)", setting)
        settle(page)
        surfaces, contour, _, spectrum, bars, lines = page.evaluate(
            f"() => {APP}.views.map((v) => v.panels.map((p) => ({{ values: [...p.slice.values], half: [...(p.slice.half || [])] }})))"
        )
        for panel, name in zip(surfaces, cubes.MODALITIES, strict=True):
            expected = grid.take("loss", {**setting, "modalities": name}, ("a", "b"))
            np.testing.assert_allclose(panel["values"], expected.ravel(), rtol=1e-5)
        np.testing.assert_allclose(contour[0]["values"], grid.take("loss", setting, ("a", "b")).ravel(), rtol=1e-5)
        for panel, name, keep in (
            (spectrum, "eigenvalues", ("k", "seed")),
            (bars, "accuracy", ("modalities", "seed")),
            (lines, "accuracy", ("modalities", "share", "seed")),
        ):
            mean, half = band(grid.take(name, setting, keep), view._layout["quantiles"])
            np.testing.assert_allclose(panel[0]["values"], mean.ravel(), rtol=1e-5)
            np.testing.assert_allclose(panel[0]["half"], half.ravel(), rtol=1e-4)
        interpolated = "free" in setting
        assert page.locator(".xm-control .xm-badge:visible").count() == (2 if interpolated else 0)
        assert page.locator(".xm-view-head .xm-badge:visible").count() == (5 if interpolated else 0)


def test_keys_on_a_slider_move_every_linked_panel(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    before = [fingerprint(canvas) for canvas in page.locator(".xm-canvas").all()]
    share = slider(page, "share of shuffled pairs")
    share.focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    after = [fingerprint(canvas) for canvas in page.locator(".xm-canvas").all()]
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert share.get_attribute("aria-valuetext") == "0.25"
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert share.get_attribute("aria-valuetext") == "0.75"


def test_mouse_drag_on_a_slider_stops_on_the_grid(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    share = slider(page, "share of shuffled pairs")
    box = share.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 9, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.55, middle, steps=8)
    page.mouse.up()
    assert page.evaluate(f"() => {APP}.state.share") == 0.5
    page.get_by_label("between grid steps").check()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=8)
    page.mouse.up()
    state = page.evaluate(f"() => {APP}.state")
    assert 0.5 < state["share"] < 0.75
    assert page.get_by_text("interpolated", exact=True).first.is_visible()
    assert "interpolated" in share.get_attribute("aria-valuetext")
    page.get_by_label("between grid steps").uncheck()
    assert page.evaluate(f"() => {APP}.state.share") in (0.5, 0.75)


def test_names_are_segments_and_never_interpolated(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    group = page.get_by_role("radiogroup", name="modalities")
    group.get_by_label("image", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"() => {APP}.state.modalities") in cubes.MODALITIES
    group.get_by_label("both, same class").check()
    assert page.evaluate(f"() => {APP}.state.modalities") == "both, same class"
    assert group.get_by_label("both, same class").is_checked()
    page.get_by_role("radiogroup", name="seed").get_by_label("2", exact=True).check()
    assert page.evaluate(f"() => {APP}.state.seed") == 2


def test_surface_turns_and_zooms(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    canvas = page.locator(".xm-surface .xm-canvas").first
    others = page.locator(".xm-surface .xm-canvas").nth(3)
    start, linked = fingerprint(canvas), fingerprint(others)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 80, steps=6)
    page.mouse.up()
    settle(page)
    state = page.evaluate(f"() => {APP}.state")
    assert (state["azimuth"], state["elevation"]) == (-25.0, 20.0)
    assert fingerprint(canvas) != start
    assert fingerprint(others) != linked  # one camera for all
    canvas.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    state = page.evaluate(f"() => {APP}.state")
    assert (state["azimuth"], state["elevation"]) == (-30.0, 25.0)
    page.keyboard.press("+")
    assert page.evaluate(f"() => {APP}.state.zoom") == 1.15
    page.mouse.wheel(0, -200)
    page.wait_for_function(f"() => {APP}.state.zoom > 1.15")
    page.keyboard.press("0")
    state = page.evaluate(f"() => {APP}.state")
    assert (state["azimuth"], state["elevation"], state["zoom"]) == (-55, 30, 1)


def test_wheel_scrolls_the_page_until_a_surface_is_clicked(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view, height=380)
    box = page.locator(".xm-surface .xm-canvas").first.bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 80)
    page.mouse.wheel(0, 120)
    page.wait_for_function("() => window.scrollY > 0")
    assert page.evaluate(f"() => {APP}.state.zoom") == 1


def test_hover_reads_value_place_and_origin(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    page.evaluate(f"() => {APP}.set({{ share: 0.25, span: 2, seed: 1 }})")
    settle(page)
    x, y = pixel(page, 1, "frame.px(0.5) + 1", "frame.py(-0.2) + 1")
    page.mouse.move(x, y)
    settle(page)
    words = page.locator(".xm-contour .xm-readout").inner_text()
    value = float(
        view._grid.take("loss", {"modalities": "audio", "share": 0.25, "span": 2.0, "seed": 1}, ("a", "b"))[15, 8]
    )
    assert f"test loss = {float(f'{value:.4g}'):g} nats" in words
    assert "at a = 0.5, b = −0.2" in words
    assert words.endswith("computed")
    page.evaluate(f"() => {APP}.set({{ seed: 'mean', free: true, share: 0.3 }})")
    settle(page)
    assert "interpolated between grid steps, mean of 3" in page.locator(".xm-contour .xm-readout").inner_text()
    bar = pixel(page, 4, "frame.left + 20", "frame.top + frame.height - 5")
    page.mouse.move(*bar)
    settle(page)
    words = page.locator(".xm-bars .xm-readout").inner_text()
    assert "95 % interval of the mean" in words
    assert "modalities image" in words


def test_a_mark_shows_in_every_linked_panel(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    surfaces = page.locator(".xm-surface .xm-canvas")
    before = [fingerprint(surfaces.nth(k)) for k in range(4)]
    page.locator(".xm-heatmap .xm-canvas").hover()
    settle(page)
    assert all(fingerprint(surfaces.nth(k)) != before[k] for k in range(4))
    page.mouse.move(2, 2)
    settle(page)
    assert [fingerprint(surfaces.nth(k)) for k in range(4)] == before


def test_keys_walk_over_the_values_and_say_them(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    page.locator(".xm-contour .xm-canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    status = page.locator("[aria-live=polite]")
    page.wait_for_function("() => document.querySelector('[aria-live=polite]').textContent.includes('at a = 0')")
    assert "test loss =" in status.text_content()
    assert "b = 0.1" in status.text_content()
    page.keyboard.press("Escape")
    settle(page)
    assert page.locator(".xm-contour .xm-readout").is_hidden()
    page.locator(".xm-surface .xm-canvas").first.focus()
    page.keyboard.press("Shift+ArrowRight")
    settle(page)
    assert page.locator(".xm-surface .xm-readout").first.is_visible()


def test_everything_has_a_name(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button, canvas[role], progress")].filter((e) => {
          const label = e.getAttribute("aria-label") || e.textContent || [...(e.labels || [])].map((l) => l.textContent).join("");
          return !label.trim();
        }).map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    label = page.locator(".xm-contour .xm-canvas").get_attribute("aria-label")
    assert re.fullmatch(r"contour of test loss \[nats\] over a and b: from 0\.\d+ to \d+\.?\d*", label), label
    slider(page, "span").press("ArrowRight")
    settle(page)
    assert page.locator(".xm-contour .xm-canvas").get_attribute("aria-label") != label
    page.wait_for_function("() => document.querySelector('[aria-live=polite]').textContent.includes('span 2')")


def test_focus_is_visible(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    page.locator(".xm-canvas").first.focus()
    page.keyboard.press("Tab")
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"


def test_small_multiples_share_one_scale(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    scales = page.evaluate(f"() => {APP}.views[0].panels.map((p) => [p.scale.lo, p.scale.hi])")
    loss = cubes.landscapes()["loss"].values
    assert scales == [pytest.approx([loss.min(), loss.max()], rel=1e-6)] * 4
    assert page.locator(".xm-surface .xm-colorbar").count() == 1
    page.locator(".xm-surface .xm-toggle", has_text="fit").click()
    settle(page)
    fitted = page.evaluate(f"() => {APP}.views[0].panels.map((p) => [p.scale.lo, p.scale.hi])")
    shown = cubes.landscapes()["loss"].sel(share=0, span=1).mean("seed").values
    assert fitted == [pytest.approx([shown.min(), shown.max()], rel=1e-5)] * 4
    page.locator(".xm-surface .xm-toggle", has_text="log").click()
    assert page.evaluate(f"() => {APP}.state.log[0]") is True


def test_click_on_a_bar_moves_the_control(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    page.evaluate(f"() => {APP}.enlarge(4)")
    settle(page)
    spot = pixel(page, 4, "frame.left + frame.width - 20", "frame.top + frame.height - 8")
    page.mouse.move(*spot)
    settle(page)
    page.mouse.click(*spot)
    assert page.evaluate(f"() => {APP}.state.modalities") == "both, same class"


def test_without_webgl_the_painter_draws(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view, script=NO_WEBGL)
    assert not page.evaluate(PAINTS_BY_CARD)
    assert min(ink(page, ".xm-surface .xm-canvas")) > 0.05
    before = fingerprint(page.locator(".xm-surface .xm-canvas").first)
    page.locator(".xm-surface .xm-canvas").first.press("ArrowLeft")
    settle(page)
    assert fingerprint(page.locator(".xm-surface .xm-canvas").first) != before
    assert page.problems == []


def test_webgl_and_painter_agree(show: Callable[..., Any], new_page: Callable[..., Any], view: SweepView) -> None:
    """Both painters colour about the same pixels: the geometry is one."""
    covered = """(canvas) => {
      const { width, height } = canvas;
      const d = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      const mask = [];
      for (let y = 0; y < height; y += 6) {
        for (let x = 0; x < width; x += 6) {
          const rgb = d.subarray(4 * (y * width + x), 4 * (y * width + x) + 3);
          mask.push(Math.max(...rgb) - Math.min(...rgb) > 30 ? 1 : 0);
        }
      }
      return mask;
    }"""
    surface = SweepView(cubes.landscapes(), Surface("loss", fit=True), span=2.0)
    page = show(surface, script=A_CARD)
    assert page.evaluate(PAINTS_BY_CARD)
    gl = np.asarray(page.locator(".xm-canvas").evaluate(covered))
    flat = np.asarray(show(surface, script=NO_WEBGL).locator(".xm-canvas").evaluate(covered))
    assert gl.mean() > 0.1
    assert (gl & flat).sum() / (gl | flat).sum() > 0.9


def test_gaps_are_gaps(show: Callable[..., Any]) -> None:
    cube = cubes.landscapes()[["loss"]]
    cube["loss"][:, :, :, :, 3:9, 3:9] = np.nan
    cube["loss"][:, 1] = np.nan
    page = show(SweepView(cube, [Surface("loss"), Contour("loss"), HeatMap("loss")], seed=0))
    spot = pixel(page, 2, "frame.px(-0.5)", "frame.py(-0.5)")
    page.mouse.move(*spot)
    settle(page)
    assert "not computed, or not a number" in page.locator(".xm-heatmap .xm-readout").inner_text()
    slider(page, "share of shuffled pairs").press("ArrowRight")
    settle(page)
    assert "nothing computed here yet" in page.locator(".xm-surface .xm-canvas").get_attribute("aria-label")
    assert page.problems == []


def test_one_value_everywhere_and_long_lists(show: Callable[..., Any]) -> None:
    """A constant landscape, a control of one value, and one of many long names."""
    import xarray as xr

    names = [f"a rather long name, number {k}" for k in range(12)]
    values = np.full((12, 1, 4, 4), 2.5)
    cube = xr.Dataset({"z": (("name", "only", "a", "b"), values)}, coords={"name": names, "only": [0.5]})
    page = show(SweepView(cube, [Surface("z"), Contour("z"), HeatMap("z", log=True)]))
    assert min(ink(page, ".xm-canvas")) > 0.02
    page.get_by_role("combobox", name="name").select_option(label=names[7])
    assert page.evaluate(f"() => {APP}.state.name") == names[7]
    assert page.problems == []


def test_scatter_colours_classes_and_values(show: Callable[..., Any]) -> None:
    cube = cubes.linked(states=5, points=300, n=9)
    page = show(SweepView(cube, [Scatter("u", "v", color="label"), Scatter("u", "v", color="u")]))
    assert page.locator(".xm-scatter").first.locator(".xm-legend li").count() == 2
    assert page.locator(".xm-colorbar:visible").count() == 1
    before = fingerprint(page.locator(".xm-canvas").first)
    slider(page, "alpha").press("End")
    settle(page)
    assert fingerprint(page.locator(".xm-canvas").first) != before
    spot = pixel(page, 0, "frame.px(slice.x.values[7])", "frame.py(slice.y.values[7])")
    page.mouse.move(*spot)
    settle(page)
    words = page.locator(".xm-readout:visible").inner_text()
    assert "u = " in words
    assert "label: " in words


def test_dark_and_light_follow_the_system(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view, dark=True)
    assert page.locator(".xm-root").get_attribute("data-dark") == "yes"
    dark = fingerprint(page.locator(".xm-contour .xm-canvas"))
    page.emulate_media(color_scheme="light")
    page.wait_for_function("() => document.querySelector('.xm-root').dataset.dark === 'no'")
    settle(page)
    assert fingerprint(page.locator(".xm-contour .xm-canvas")) != dark


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_may_have_a_theme_of_its_own(new_page: Callable[..., Any], tmp_path: Path, theme: str) -> None:
    """As the page that frames it, whatever the system prefers; and then it looks as where the system prefers that."""
    cube = cubes.landscapes()
    shown = SweepView(cube, Contour("loss"))
    pictures = []
    for system, fixed in ((theme, None), ("dark", theme), ("light", theme)):
        page = new_page(dark=system == "dark")
        page.goto(shown.to_html(tmp_path / "page.html", theme=fixed).as_uri())
        page.wait_for_selector(".xm-canvas")
        pictures.append(still(page))
        assert page.problems == []
    assert pictures[0] == pictures[1] == pictures[2]
    with pytest.raises(ValueError, match="theme"):
        shown.to_html(tmp_path / "page.html", theme="sepia")


@pytest.mark.parametrize("dark", [False, True])
def test_text_contrast(show: Callable[..., Any], view: SweepView, dark: bool) -> None:
    """WCAG AA: 4.5 for text, 3 for the marks that carry meaning."""
    page = show(view, dark=dark)
    names = ["--xm-ink", "--xm-muted", "--xm-faint", "--xm-accent", "--xm-page"]
    resolve = """(names) => names.map((name) => {
      const probe = document.createElement("span");
      probe.style.color = `var(${name})`;
      document.querySelector(".xm-root").append(probe);
      return getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
    })"""
    *inks, paper = [_luminance(rgb) for rgb in page.evaluate(resolve, names)]
    contrast = [(max(v, paper) + 0.05) / (min(v, paper) + 0.05) for v in inks]
    assert min(contrast[:2]) >= 4.5
    assert min(contrast[2:]) >= 3.0


def _luminance(rgb: list[float]) -> float:
    linear = [v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_numbers_as_hues_are_seen_on_a_dark_page_and_as_in_the_static_figure(show: Callable[..., Any]) -> None:
    cube = cubes.landscapes()
    view = SweepView(cube, Lines("eigenvalues", x="k", hue="share", log=True))
    page = show(view, dark=True)
    middle = """(all) => all.map((c) =>
      [...c.getContext("2d").getImageData(c.width / 2, c.height / 2, 1, 1).data].slice(0, 3))"""
    drawn = page.eval_on_selector_all(".xm-swatch", middle)
    assert len(drawn) > 2
    dark = _luminance([20, 20, 20])
    for h, rgb in enumerate(drawn):
        assert (_luminance(rgb) + 0.05) / (dark + 0.05) >= 3
        assert rgb == pytest.approx([255 * v for v in hue_color(view._grid, "share", h)[:3]], abs=2)


@pytest.mark.parametrize("width", [480, 1100, 1920])
def test_widths_without_overflow(show: Callable[..., Any], view: SweepView, width: int) -> None:
    page = show(view, width=width)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert min(ink(page, ".xm-canvas")) > 0.02
    page.set_viewport_size({"width": width - 160, "height": 900})
    settle(page)
    settle(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width - 160


def test_crisp_on_a_dense_display(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view, device_scale_factor=2)
    sizes = page.eval_on_selector_all(".xm-canvas", "(all) => all.map((c) => [c.width, c.clientWidth * 2])")
    assert all(abs(real - wanted) <= 2 for real, wanted in sizes)


def test_reduced_motion_has_no_transitions(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view, reduced_motion="reduce")
    assert page.eval_on_selector(".xm-toggle", "(e) => getComputedStyle(e).transitionDuration") == "0s"


def test_the_address_keeps_the_state(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    slider(page, "share of shuffled pairs").press("End")
    page.wait_for_function("() => location.hash")
    address = page.evaluate("() => location.hash")
    assert json.loads(unquote(address[1:]))["share"] == 1
    page.reload()
    page.wait_for_selector(".xm-canvas")
    assert page.evaluate(f"() => {APP}.state.share") == 1


def test_a_view_may_leave_the_page_and_come_back(show: Callable[..., Any], view: SweepView) -> None:
    """As JupyterLab does with cells that are scrolled out of sight."""
    page = show(view)
    page.evaluate("() => { window.kept = document.querySelector('.xm-root'); kept.remove(); }")
    page.evaluate("() => kept.xmodal.set({ share: 1 })")
    settle(page)
    page.evaluate("() => document.querySelector('#view').append(kept)")
    settle(page)
    settle(page)
    label = page.locator(".xm-contour .xm-canvas").get_attribute("aria-label")
    shown = view._grid.take("loss", {**view.state, "share": 1.0}, ("a", "b"))
    assert f"from {float(f'{shown.min():.4g}'):g} to" in label
    assert min(ink(page, ".xm-canvas")) > 0.02
    assert page.problems == []


def test_errors_of_the_page_are_seen(show: Callable[..., Any], view: SweepView) -> None:
    page = show(view)
    page.evaluate(
        f"() => {{ {APP}.views[1].kind = {{ ...{APP}.views[1].kind, draw: () => {{ throw new Error('no ink'); }} }}; }}"
    )
    slider(page, "span").press("End")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "The view could not be drawn: no ink" in alert.inner_text()
    alert.get_by_role("button", name="Dismiss").click()
    assert alert.is_hidden()
    page.evaluate(f"() => {{ {APP}.views[3].kind.pick = () => {{ throw new Error('no pick'); }}; }}")
    page.locator(".xm-lines .xm-canvas").first.hover()
    assert "no pick" in alert.inner_text()


def test_hostile_names_are_words_and_the_policy_holds(show: Callable[..., Any]) -> None:
    """Names that would be elements are text; a script or a request that is not the page's own is refused."""
    harm = '</script><script>window.harmed = 1</script><img src=x onerror="window.harmed = 2">'
    cube = cubes.landscapes().assign_coords(
        modalities=[harm, f"{harm} 2", *cubes.landscapes()["modalities"].values[2:]]
    )
    cube["loss"].attrs = {"long_name": harm, "units": harm}
    page = show(SweepView(cube, [Contour("loss"), Bars("accuracy", x="modalities", band="seed")], title=harm))
    assert page.locator("h2, h3, .xm-title").first.inner_text().startswith("</script>")
    assert page.locator("img").count() == 0 and page.problems == []
    refused = """(act) => new Promise((done) => {
      document.addEventListener("securitypolicyviolation", (e) => done(e.effectiveDirective), { once: true });
      const acts = {
        fetch: () => fetch("https://example.invalid/").catch(() => {}),
        image: () => { new Image().src = "https://example.invalid/x.png"; },
        script: () => { const s = document.createElement("script"); s.textContent = "window.harmed = 3"; document.body.append(s); },
        attribute: () => { document.body.setAttribute("onclick", "window.harmed = 4"); document.body.click(); },
      };
      acts[act]();
    })"""
    directives = [page.evaluate(refused, act) for act in ("fetch", "image", "script", "attribute")]
    assert directives == ["connect-src", "img-src", "script-src-elem", "script-src-attr"]
    assert page.evaluate("() => window.harmed") is None
