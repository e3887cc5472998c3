"""The live layer without a browser: what travels, what state does, what errors say."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from xmodal_widgets import (
    Bars,
    Contour,
    HeatMap,
    Lines,
    Scatter,
    Surface,
    SweepView,
    explore,
    explorers,
)
from xmodal_widgets.page import assets, picture
from xmodal_widgets.page.series import band
from xmodal_widgets.view.grid import Grid
from xmodal_widgets.view.joining import joined

from xmodal_lab.app import browser

SVG = "http://www.w3.org/2000/svg"  # the name of a namespace: nobody is asked

MODALITIES = ["image", "audio", "both"]


def landscape_cube(n: int = 7) -> xr.Dataset:
    """Loss = curvature(modalities) * (a² + b²) * span² + share + seed/10: every slice is known in closed form."""
    curvature = xr.DataArray([3.0, 2.0, 0.5], dims="modalities", coords={"modalities": MODALITIES})
    share = xr.DataArray([0.0, 0.25, 1.0], dims="share", coords={"share": [0.0, 0.25, 1.0]})
    span = xr.DataArray([0.5, 2.0], dims="span", coords={"span": [0.5, 2.0]})
    seed = xr.DataArray([0, 1, 2], dims="seed", coords={"seed": [0, 1, 2]})
    axis = np.linspace(-1, 1, n)
    a = xr.DataArray(axis, dims="a", coords={"a": axis})
    b = xr.DataArray(axis, dims="b", coords={"b": axis})
    k = xr.DataArray([1, 2, 3, 4], dims="k", coords={"k": [1, 2, 3, 4]})
    loss = curvature * (a**2 + b**2) * span**2 + share + seed / 10
    cube = xr.Dataset(
        {
            "loss": loss.transpose("modalities", "share", "span", "seed", "a", "b"),
            "accuracy": (0.9 - 0.3 * share - 0.1 * curvature + 0.01 * seed).transpose("modalities", "share", "seed"),
            "eigenvalues": (curvature / k * (1 + share) * (1 + seed / 10)).transpose(
                "modalities", "share", "seed", "k"
            ),
        }
    )
    cube["loss"].attrs.update(long_name="test loss", units="nats")
    return cube


def point_cube() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "u": (("alpha", "point"), rng.normal(size=(3, 20))),
            "v": (("alpha", "point"), rng.normal(size=(3, 20))),
            "label": ("point", np.arange(20) % 3, {"flag_meanings": "cat dog bird"}),
        },
        coords={"alpha": [0.0, 0.5, 1.0], "weight": ("point", np.arange(20.0))},
    )


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return landscape_cube()


@pytest.fixture
def view(cube: xr.Dataset) -> SweepView:
    views = [Surface("loss", col="modalities"), Contour("loss"), Lines("eigenvalues", x="k", band="seed")]
    return SweepView(cube, views, title="Four landscapes")


class Wire:
    """Counts what a view sends."""

    def __init__(self) -> None:
        self.messages: list[tuple[dict, int]] = []

    def __call__(self, widget: SweepView, msg: dict, buffers: list | None = None) -> None:
        self.messages.append((msg, sum(len(b) for b in buffers or ())))

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.messages)


# -- what travels --------------------------------------------------------------------------------


def test_payload_decodes_bit_exact(view: SweepView, cube: xr.Dataset) -> None:
    back = Grid.decode(json.loads(json.dumps(view._layout)) | {"total": view._layout["total"]}, view._payload)
    for name, var in cube.data_vars.items():
        np.testing.assert_array_equal(back.arrays[name], var.values.astype(np.float32), strict=True)
        assert back.axes[name] == var.dims
    assert back.dims["modalities"].values == tuple(MODALITIES)
    assert back.dims["share"].values == (0.0, 0.25, 1.0)
    assert len(view._payload) == 4 * sum(var.size for var in cube.data_vars.values())


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(width=32), min_size=6, max_size=6),
    order=st.permutations(["p", "q"]),
    down=st.booleans(),
)
def test_any_floats_survive_the_journey(values: list[float], order: list[str], down: bool) -> None:
    """NaN, infinities and denormals included; a falling coordinate is turned round, values with it."""
    array = np.asarray(values, dtype=np.float32).reshape(2, 3)
    q = [2.0, 1.0, 0.5] if down else [0.5, 1.0, 2.0]
    dataset = xr.Dataset({"x": (("p", "q"), array)}, coords={"p": ["one", "two"], "q": q}).transpose(*order)
    grid = Grid.of(dataset)
    back = Grid.decode(grid.layout(), grid.payload())
    expected = dataset.sortby("q")["x"].values
    np.testing.assert_array_equal(back.arrays["x"], expected)
    assert back.dims["q"].values == (0.5, 1.0, 2.0)


def test_decode_refuses_a_payload_of_the_wrong_length(view: SweepView) -> None:
    with pytest.raises(ValueError, match="speaks of"):
        Grid.decode(view._layout, view._payload[:-4])


def test_layout_is_plain_json_and_knows_ranges(cube: xr.Dataset) -> None:
    cube = cube.copy(deep=True)
    cube["loss"][0, 0, 0, 0, 0, :2] = [np.nan, np.inf]
    layout = SweepView(cube, Surface("loss"))._layout
    text = json.dumps(layout, allow_nan=False)
    loss = next(v for v in json.loads(text)["vars"] if v["name"] == "loss")
    assert loss["range"] == pytest.approx([0.0, 3 * 2 * 4 + 1.2])
    assert loss["positive"] == pytest.approx(0.5 * 0.25 / 9)  # curvature * span² * (1/3)², nearest to the centre's 0
    assert (loss["label"], loss["units"]) == ("test loss", "nats")


def test_a_variable_with_nothing_computed_has_no_range() -> None:
    view = SweepView(xr.Dataset({"loss": (("a", "b"), np.full((3, 3), np.nan))}))
    assert view._layout["vars"][0]["range"] is None
    assert len(view._png()) > 1000


def test_moving_a_control_sends_no_buffer(view: SweepView) -> None:
    wire = Wire()
    with patch.object(SweepView, "_send", lambda *args, **kwargs: wire(*args, **kwargs)):
        view.set(share=1.0)
        view.state = {"modalities": "both", "seed": 2, "azimuth": 10.0}
    assert len(wire.messages) == 2
    assert wire.bytes == 0
    assert {key for msg, _ in wire.messages for key in msg["state"]} == {"state"}


def test_read_only_and_strided_arrays_are_taken() -> None:
    base = np.arange(32.0).reshape(4, 8)[:, ::2]
    base.flags.writeable = False
    view = SweepView(xr.Dataset({"z": (("a", "b"), base)}))
    np.testing.assert_array_equal(np.frombuffer(view._payload, "<f4"), base.astype("f4").ravel())


def test_scripts_are_small_and_ask_nobody() -> None:
    assert len(assets.module().encode()) + len(assets.style().encode()) <= 300 << 10
    sources = {path.relative_to(assets.FOLDER).as_posix() for path in assets.FOLDER.rglob("*.js")}
    assert set(re.findall(r"^// (\S+\.js)$", assets.script(), re.MULTILINE)) == sources, "a file that nobody imports"
    for text in (assets.module(), assets.style()):
        asks = re.findall(
            r"https?:|//cdn|@import|\bimport\(\w*|\bfetch\(|XMLHttpRequest|WebSocket", text.replace(SVG, "")
        )
        assert set(asks) <= {"import(address"}  # of a blob that holds a function of the reader's own
    assert assets.script().count("const address = URL.createObjectURL(") == 1


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (
            'import { b } from "./b.js";\nexport const a = b;',
            "export const c = 1;",
            "a.js imports b, which b.js does not",
        ),
        (
            'import { b } from "./b.js";\nexport const a = 1;',
            'import { a } from "./a.js";\nexport const b = 2;',
            "circle: a.js -> b.js -> a.js",
        ),
        ('import b from "./b.js";', "export const b = 1;", "the form 'import b from"),
        ("export let a = 1;", "", "the form 'export let a = 1;'"),
    ],
)
def test_a_bundle_refuses_what_it_does_not_know(tmp_path, first: str, second: str, words: str) -> None:
    (tmp_path / "a.js").write_text(first)
    (tmp_path / "b.js").write_text(second)
    with pytest.raises(ValueError, match=words):
        assets.bundle(tmp_path, "a.js")


# -- state ---------------------------------------------------------------------------------------


def test_opening_state(view: SweepView) -> None:
    assert view.state == {
        "modalities": "image",
        "share": 0.0,
        "span": 0.5,
        "seed": "mean",
        "free": False,
        "log": [False, False, False],
        "fit": [False, False, False],
        "azimuth": -55.0,
        "elevation": 30.0,
        "zoom": 1.0,
    }
    assert [c["dim"] for c in view._controls] == ["modalities", "share", "span", "seed"]


def test_state_restores_a_view(view: SweepView, cube: xr.Dataset) -> None:
    view.set(modalities="both", share=0.3, free=True, seed=1, log=[True, False, True], zoom=2)
    again = SweepView(cube, view._shown, **json.loads(json.dumps(view.state)))
    assert again.state == view.state
    other = SweepView(cube, view._shown)
    other.state = view.state
    assert other.state == view.state


def test_a_part_of_a_state_moves_only_that(view: SweepView) -> None:
    before = dict(view.state)
    view.state = {"share": 1}
    assert view.state == {**before, "share": 1.0}
    view.set(modalities="audio")
    assert view.state["modalities"] == "audio"


def test_going_back_to_the_grid_snaps(view: SweepView) -> None:
    view.set(free=True, share=0.2)
    assert view.state["share"] == 0.2
    view.set(free=False)
    assert view.state["share"] == 0.25


def test_what_the_browser_sends_is_not_sent_back(view: SweepView) -> None:
    """Otherwise a slider would jump while it is dragged."""
    state = json.loads(json.dumps({**view.state, "share": 1, "azimuth": -40}))
    wire = Wire()
    with patch.object(SweepView, "_send", lambda *args, **kwargs: wire(*args, **kwargs)):
        view.set_state({"state": state})
    assert view.state["share"] == 1.0
    assert [m for m, _ in wire.messages if m["method"] == "update"] == []


def test_observers_hear_of_moves(view: SweepView) -> None:
    heard = []
    view.observe(lambda change: heard.append(change["new"]["share"]), "state")
    view.set(share=0.25)
    view.set(share=0.25)
    assert heard == [0.25]


def test_a_bad_state_changes_nothing(view: SweepView) -> None:
    before = dict(view.state)
    with pytest.raises(ValueError, match="not on the grid"):
        view.set(modalities="both", share=0.3)
    assert view.state == before


def test_bool_and_integer_dimensions() -> None:
    cube = xr.Dataset(
        {"y": (("frozen", "shots", "k"), np.zeros((2, 3, 4)))}, coords={"frozen": [False, True], "shots": [1, 2, 8]}
    )
    view = SweepView(cube, Lines("y", x="k"))
    assert (view.state["frozen"], view.state["shots"]) == (False, 1)
    assert "free" not in view.state  # counts have no halves: nothing to interpolate
    view.set(frozen=np.True_, shots=np.int64(8))
    assert view.state["frozen"] is True
    assert view.state["shots"] == 8
    assert isinstance(view.state["shots"], int)
    with pytest.raises(ValueError, match=r"shots=3 is not on the grid; choose one of 1, 2, 8"):
        view.set(shots=3)
    with pytest.raises(ValueError, match="frozen=1 is not on the grid"):
        view.set(frozen=1)


def test_average_over_another_dimension(cube: xr.Dataset) -> None:
    view = SweepView(cube, Contour("loss"), average=("seed", "share"))
    assert (view.state["seed"], view.state["share"]) == ("mean", "mean")
    view.set(share=0.25)
    assert view.state["share"] == 0.25
    with pytest.raises(ValueError, match="span='mean' is not on the grid"):
        view.set(span="mean")


def test_controls_may_be_chosen_and_ordered(cube: xr.Dataset) -> None:
    view = explore(cube, Contour("loss"), controls=["span", "share"], modalities="both")
    assert [(c["dim"], c["hidden"]) for c in view._controls] == [
        ("span", False),
        ("share", False),
        ("modalities", True),
        ("seed", True),
    ]
    assert view.state["modalities"] == "both"


# -- views ---------------------------------------------------------------------------------------


def test_default_views_follow_the_dimensions(cube: xr.Dataset) -> None:
    kinds = [(spec["kind"], spec["var"], spec["x"]) for spec in explore(cube)._views]
    assert kinds == [
        ("surface", "loss", "a"),
        ("contour", "loss", "a"),
        ("lines", "accuracy", "share"),
        ("lines", "eigenvalues", "k"),
    ]
    accuracy = explore(cube[["accuracy"]])._views[0]
    assert (accuracy["hue"], accuracy["band"]) == ("modalities", "seed")
    bars = explore(cube["accuracy"].isel(share=0, drop=True))._views[0]
    assert (bars["kind"], bars["x"], bars["band"]) == ("bars", "modalities", "seed")


def test_a_dataarray_works_and_keeps_its_name(cube: xr.Dataset) -> None:
    assert explore(cube["loss"])._views[0]["var"] == "loss"
    assert explore(xr.DataArray(np.zeros((3, 3)), dims=("a", "b")))._views[0]["var"] == "value"


def test_axes_are_no_controls(cube: xr.Dataset) -> None:
    view = SweepView(cube, Lines("accuracy", x="share", hue="modalities", band="seed"))
    assert view._controls == []
    linked = SweepView(cube, [Lines("accuracy", x="share", hue="modalities", band="seed"), Contour("loss")])
    assert [c["dim"] for c in linked._controls] == ["modalities", "share", "seed", "span"]


def test_scatter_takes_coordinates_as_colour() -> None:
    view = SweepView(point_cube(), [Scatter("u", "v", color="label"), Scatter("u", "v", color="weight")])
    assert [spec["points"] for spec in view._views] == ["point", "point"]
    assert [c["dim"] for c in view._controls] == ["alpha"]
    described = {v["name"]: v for v in view._layout["vars"]}
    assert described["label"]["meanings"] == ["cat", "dog", "bird"]
    assert (described["label"]["whole"], described["weight"]["whole"]) == (True, False)


def test_views_are_values() -> None:
    assert Surface("loss") == Surface("loss", x="a", y="b")
    assert hash(Contour("loss", log=True)) == hash(Contour("loss", log=True))
    with pytest.raises(AttributeError):
        Surface("loss").var = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("views", "error", "words"),
    [
        (Surface("los"), ValueError, r"unknown variable in the Surface view 'los'; known: 'loss'.*Did you mean 'loss'"),
        (
            Surface("loss", x="c"),
            ValueError,
            r"unknown dimension of 'loss' in the Surface view 'c'; known: 'modalities'",
        ),
        (Lines("accuracy", x="k"), ValueError, r"unknown dimension of 'accuracy'"),
        (Lines("loss", x="modalities"), TypeError, r"Lines view draws 'modalities' as an axis of numbers.*use Bars"),
        (Surface("loss", x="a", y="a"), ValueError, "uses a dimension twice"),
        (Bars("accuracy", x="seed", band="seed"), ValueError, "uses a dimension twice"),
        (Contour("loss", limits=(2, 1)), ValueError, r"limits of the Contour view must be \(low, high\)"),
        (Contour("loss", log=True, limits=(0, 1)), ValueError, "must be above 0"),
        (Scatter("loss", "accuracy", points="a"), ValueError, "counts points along 'a'"),
        (Scatter("loss", "nothing"), ValueError, "unknown variable in the Scatter view 'nothing'"),
        ([], ValueError, "views is empty"),
        (
            [Surface("loss"), "lines"],
            TypeError,
            "a view is one of Surface, Contour, HeatMap, Lines, Density, Bars, Scatter",
        ),
    ],
)
def test_views_that_do_not_fit(cube: xr.Dataset, views: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SweepView(cube, views)  # type: ignore[arg-type]


def test_too_many_columns(cube: xr.Dataset) -> None:
    many = xr.Dataset({"z": (("member", "a", "b"), np.zeros((13, 3, 3)))})
    with pytest.raises(ValueError, match="would make 13 panels, at most 12"):
        SweepView(many, Surface("z", col="member"))
    with pytest.raises(ValueError, match="at least 2 points along 'a'"):
        SweepView(many.isel(a=[0]), Surface("z"))
    with pytest.raises(ValueError, match="no view suits the cube"):
        SweepView(xr.Dataset({"z": 1.0}))


# -- what a user may hand in ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (np.zeros((3, 3)), TypeError, r"needs an xarray.Dataset \(or DataArray\), got ndarray"),
        ({"loss": 1}, TypeError, "got dict"),
        (xr.Dataset(), ValueError, "has no variable to draw"),
        (xr.Dataset({"z": (("a", "b"), np.zeros((0, 3)))}), ValueError, "dimension 'a' of the cube has length 0"),
        (xr.Dataset({"z": ("a", np.zeros(3, complex))}), TypeError, "variable 'z' is complex; draw its parts"),
        (xr.Dataset({"z": ("a", ["x", "y"])}), TypeError, "variable 'z' has dtype"),
        (xr.Dataset({"z": ("a", np.zeros(2))}, {"a": [0.0, np.nan]}), ValueError, "coordinate 'a' holds NaN"),
        (xr.Dataset({"z": ("a", np.zeros(2))}, {"a": [1.0, 1.0]}), ValueError, "coordinate 'a' holds 1.0 twice"),
        (xr.Dataset({"z": ("a", np.zeros(2))}, {"a": [1j, 2j]}), TypeError, "coordinate 'a' is complex"),
        (
            xr.Dataset({"z": (("a", "b"), np.broadcast_to(np.float32(0), (5000, 5000)))}),
            ValueError,
            r"takes 95 MB in the browser, at most 64 MB go; draw less of it",
        ),
    ],
)
def test_cubes_that_cannot_be_drawn(given: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SweepView(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"shar": 1}, ValueError, r"unknown control 'shar'; known: 'modalities', 'share'.*Did you mean 'share'"),
        (
            {"share": 0.3},
            ValueError,
            r"share=0.3 is not on the grid; the nearest computed value is 0.25 of 0, 0.25, 1.*free=True",
        ),
        ({"share": 7, "free": True}, ValueError, "share=7 is outside the grid, which runs from 0 to 1"),
        ({"share": float("nan")}, ValueError, "share=nan is not on the grid"),
        ({"share": "much"}, ValueError, "share='much' is not on the grid"),
        (
            {"modalities": "smell"},
            ValueError,
            "modalities='smell' is not on the grid; choose one of 'image', 'audio', 'both'",
        ),
        ({"seed": 9}, ValueError, "seed=9 is not on the grid; choose one of 0, 1, 2 or 'mean'"),
        ({"free": 1}, TypeError, "free must be True or False"),
        ({"log": [True]}, TypeError, r"log must be True, False or a list of 3 of them"),
        ({"elevation": 120}, ValueError, "elevation must lie between 0 and 90"),
        ({"azimuth": "left"}, TypeError, "azimuth must be a finite number"),
        ({"zoom": 0}, ValueError, "zoom must lie between"),
        ({"controls": ["shar"]}, ValueError, "unknown control 'shar'"),
        ({"controls": ["share", "share"]}, ValueError, "names a dimension twice"),
        ({"average": "sed"}, ValueError, "unknown dimension in average 'sed'"),
        ({"compute": 3}, TypeError, "compute must be callable"),
    ],
)
def test_arguments_that_do_not_fit(cube: xr.Dataset, given: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SweepView(cube, [Surface("loss"), Contour("loss"), Lines("eigenvalues", x="k", band="seed")], **given)


def test_state_must_be_a_dict_and_dimensions_must_not_hide_arguments(view: SweepView, cube: xr.Dataset) -> None:
    with pytest.raises(Exception, match="state"):
        view.state = "left"
    with pytest.raises(ValueError, match="dimension 'zoom' has the name of an argument"):
        SweepView(cube.rename(share="zoom"), Contour("loss"))


def test_explorers_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("xmodal_widgets.explorers.shipped.FOLDER", tmp_path)
        with pytest.raises(ValueError, match=r"ships no cube 'wma'.*explore\(cube\)"):
            explore("wma")
    with pytest.raises(ValueError, match=r"unknown explorer 'dmll'; known: .*Did you mean 'dml'"):
        explore("dmll")


def test_an_explorer_is_a_module_with_open(cube: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("xmodal_widgets.explorers.mine")
    module.open = lambda **options: SweepView(cube, Contour("loss"), title="mine", controls=options["controls"])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(explorers.EXPLORERS, "mine", "mine")
    view = explore("mine", controls=["share"])
    assert view.title == "mine"
    assert [c["dim"] for c in view._controls if not c["hidden"]] == ["share"]


# -- numbers of a slice --------------------------------------------------------------------------


def test_slices_against_xarray(cube: xr.Dataset) -> None:
    grid = Grid.of(cube)
    setting = {"modalities": "audio", "share": 0.25, "span": 2.0, "seed": 1}
    np.testing.assert_allclose(grid.take("loss", setting, ("a", "b")), cube["loss"].sel(setting), rtol=1e-6)
    np.testing.assert_allclose(grid.take("loss", setting, ("b", "a")), cube["loss"].sel(setting).T, rtol=1e-6)
    mean = {**setting, "seed": "mean"}
    expected = cube["loss"].sel({k: v for k, v in setting.items() if k != "seed"}).mean("seed")
    np.testing.assert_allclose(grid.take("loss", mean, ("a", "b")), expected, rtol=1e-6)
    between = {**setting, "share": 0.4, "span": 1.1}
    expected = cube["loss"].sel(modalities="audio", seed=1).interp(share=0.4, span=1.1)
    np.testing.assert_allclose(grid.take("loss", between, ("a", "b")), expected, rtol=1e-5)
    assert grid.between("loss", between, ("a", "b"))
    assert not grid.between("loss", mean, ("a", "b"))
    assert not grid.between("accuracy", {**between, "share": 1.0}, ())


def test_a_diverged_seed_hides_nothing(cube: xr.Dataset) -> None:
    cube = cube.copy(deep=True)
    cube["loss"][:, :, :, 2] = np.inf
    cube["loss"][:, :, :, 1, 0, 0] = np.nan
    grid = Grid.of(cube)
    setting = {"modalities": "image", "share": 0.0, "span": 0.5, "seed": "mean"}
    got = grid.take("loss", setting, ("a", "b"))
    kept = cube["loss"].sel(modalities="image", share=0.0, span=0.5).isel(seed=[0, 1]).mean("seed")
    np.testing.assert_allclose(got, kept, rtol=1e-6)


def test_band_is_the_t_interval() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 6))
    values[1, 2] = np.nan
    values[2, 1:] = np.nan
    values[3] = np.inf
    quantiles = [stats.t.ppf(0.975, df) for df in range(1, 6)]
    mean, half = band(values, quantiles)
    for row in (0, 1):
        finite = values[row][np.isfinite(values[row])]
        low, high = stats.t.interval(0.95, len(finite) - 1, finite.mean(), stats.sem(finite))
        assert (mean[row] - half[row], mean[row] + half[row]) == pytest.approx((low, high))
    assert mean[2] == pytest.approx(values[2, 0])
    assert np.isnan(half[2])  # one seed has no interval
    assert np.isnan(mean[3])


def test_quantiles_travel_with_the_layout(view: SweepView) -> None:
    assert view._layout["quantiles"] == pytest.approx([stats.t.ppf(0.975, 1), stats.t.ppf(0.975, 2)])


# -- without a kernel ----------------------------------------------------------------------------


def test_mimebundle_has_a_picture_and_constant_text(view: SweepView) -> None:
    from PIL import Image

    data, _ = view._repr_mimebundle_()
    assert data["text/plain"] == explore(landscape_cube(5))._repr_mimebundle_()[0]["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in data
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.format == "PNG"
    assert picture.width == 1100
    assert len(set(np.asarray(picture.convert("L")).ravel().tolist())) > 50


def test_figure_shows_the_state(view: SweepView) -> None:
    view.set(modalities="audio", share=0.25, span=2.0, seed=1)
    figure = view.figure()
    contour = figure.subfigs[1].subfigs[0].axes[0]
    assert contour.get_xlabel() == "a"
    assert contour.get_title() == "test loss [nats]"
    caption = figure.get_suptitle()
    assert "Four landscapes" in caption
    assert "share: 0.25" in caption
    line = figure.subfigs[1].subfigs[1].axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), 2.0 / np.arange(1, 5) * 1.25 * 1.1, rtol=1e-6)


def test_figure_says_interpolated(view: SweepView) -> None:
    view.set(free=True, share=0.5)
    assert "share: 0.5 (interpolated)" in view.figure().get_suptitle()


def test_a_long_caption_stays_in_the_picture(cube: xr.Dataset) -> None:
    named = cube.rename(share="of_all_pairs_the_share_that_was_drawn_anew", span="half_the_width_of_the_plane " * 3)
    figure = SweepView(named, Contour("loss"), title="What a second modality does, " * 5).figure()
    figure.canvas.draw()
    text, whole = figure.texts[0].get_window_extent(), figure.bbox
    assert text.x0 >= whole.x0 and text.x1 <= whole.x1 and text.y1 <= whole.y1
    assert any(line.startswith("of_all_pairs_the_share_that_was_drawn_anew: ") for line in text_lines(figure))


def text_lines(figure) -> list[str]:
    return [part for line in figure.get_suptitle().split("\n") for part in line.split(" · ")]


@pytest.mark.parametrize(("count", "rows"), [(1, [1]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (7, [3, 2, 2])])
def test_rows_of_a_picture_are_of_like_length(cube: xr.Dataset, count: int, rows: list[int]) -> None:
    figure = SweepView(cube, [Contour("loss")] * count + [Lines("eigenvalues", x="k", col="modalities")]).figure()
    assert [len(row.subfigs) for row in figure.subfigs] == [*rows, 1]


def test_a_legend_says_of_what(cube: xr.Dataset) -> None:
    views = [Lines("eigenvalues", x="k", hue="share"), Lines("eigenvalues", x="k", hue="modalities")]
    axes = [part.axes[0] for part in SweepView(cube, views).figure().subfigs[0].subfigs]
    assert [axis.get_legend().get_title().get_text() for axis in axes] == ["share", "modalities"]


def test_small_multiples_share_one_scale(view: SweepView) -> None:
    figure = view.figure()
    panels = [axis for axis in figure.subfigs[0].subfigs[0].axes if hasattr(axis, "get_zlim")]
    assert len(panels) == 3
    assert len({axis.get_zlim() for axis in panels}) == 1


@pytest.mark.parametrize("fit", [False, True])
@pytest.mark.parametrize("kind", [Bars, Lines])
def test_no_interval_is_cut(kind: type, fit: bool) -> None:
    """Two members' interval reaches far beyond both: 6.4 times their distance to either side."""
    high = [[0.5, 0.9], [-0.2, 0.3]]
    cube = xr.Dataset({"acc": (("arm", "seed"), np.array(high))}, {"arm": [0.0, 1.0], "seed": [0, 1]})
    axis = SweepView(cube, [kind("acc", x="arm", band="seed", fit=fit)]).figure().subfigs[0].subfigs[0].axes[0]
    mean, half = band(np.array(high), [12.706204736432095])
    low, top = axis.get_ylim()
    assert low <= (mean - half).min() and top >= (mean + half).max()


@pytest.mark.parametrize(
    "views",
    [
        [HeatMap("loss", log=True), Surface("loss", log=True, limits=(0.1, 2.0))],
        [Bars("accuracy", x="modalities", hue="share", band="seed", log=True)],
        [Bars("accuracy", x="modalities"), Lines("accuracy", x="share", hue="modalities", col="seed")],
        [Lines("eigenvalues", x="k", hue="share", log=True, fit=True), Contour("loss", fit=True, title="mine")],
    ],
)
def test_every_kind_has_a_static_picture(cube: xr.Dataset, views: list) -> None:
    gaps = cube.copy(deep=True)
    gaps["loss"][0, 0, 0, :, 2:4, 2:4] = np.nan
    assert len(SweepView(gaps, views)._png()) > 5000


def test_scatter_has_a_static_picture() -> None:
    views = [Scatter("u", "v", color="label"), Scatter("u", "v", color="weight"), Scatter("u", "v", fit=True)]
    assert len(SweepView(point_cube(), views)._png()) > 5000


def test_to_html_is_one_file_that_asks_nobody(view: SweepView, tmp_path) -> None:
    view.set(modalities="both", share=1.0)
    path = view.to_html(tmp_path / "view.html")
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|<link|\bsrc=\"(?!data:)", text.replace(SVG, ""))
    traits = json.loads(re.search(r'id="traits">(.*?)</script>', text, re.S).group(1))
    assert traits["state"] == view.state
    payload = base64.b64decode(re.search(r'id="payload">(.*?)</script>', text, re.S).group(1))
    assert gzip.decompress(payload) == view._payload
    assert str(view.to_html(str(tmp_path / "other.html"))).endswith("other.html")
    with pytest.raises(ValueError, match="does not exist; create it first"):
        view.to_html(tmp_path / "missing" / "view.html")


def test_a_page_has_words_of_ones_own(view: SweepView, tmp_path) -> None:
    words = "# Does it hold?\n\nAt **α = 1** it does, see [the paper](https://example.org).\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    evil = "<script>alert(1)</script> [press](javascript:alert(1))"
    source = view.to_html(tmp_path / "page.html", text=words, below=evil).read_text(encoding="utf-8")
    above, rest = source.split('<main id="view"></main>')
    assert "<h1>Does it hold?</h1>" in above and "<strong>α = 1</strong>" in above and "<td>1</td>" in above
    assert '<a href="https://example.org">the paper</a>' in above
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in rest and "<script>alert" not in source
    assert 'href="javascript' not in source
    dark_words, media = (
        ".words { color: #e6e6e6; }",
        "@media (prefers-color-scheme: dark) {\n.words { color: #e6e6e6; }",
    )
    for theme, as_reader in ((None, True), ("dark", False), ("light", False)):  # words have the colours of their page
        page = view.to_html(tmp_path / "page.html", theme, text=words).read_text(encoding="utf-8")
        assert (dark_words in page) == (theme != "light") and (media in page) == as_reader
    plain = view.to_html(tmp_path / "plain.html").read_text(encoding="utf-8")
    assert '<section class="words">' not in plain
    with pytest.raises(TypeError, match="text must be"):
        view.to_html(tmp_path / "page.html", text=3)


def test_to_html_escapes_names(cube: xr.Dataset, tmp_path) -> None:
    evil = "</script><script>alert(1)</script>"
    cube = cube.assign_coords(modalities=[evil, "audio", "both"])
    text = SweepView(cube, Contour("loss"), title=evil).to_html(tmp_path / "v.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text


# -- errors in callbacks -------------------------------------------------------------------------


def test_guard_shows_the_error_and_clears_it(view: SweepView) -> None:
    @view.guard
    def follow(change: dict) -> None:
        if change["new"]["share"] == 1.0:
            raise KeyError("no such run")

    view.observe(follow, "state")
    view.set(share=1.0)
    first, *rest = view.error.split("\n")
    assert "KeyError: 'no such run'" in first
    assert "in your callback 'follow'; correct it" in first
    assert any("test_widgets" in line for line in rest)  # the traceback says where
    view.set(share=0.25)
    assert view.error == ""


def test_guard_passes_values_and_leaves_other_errors_alone(view: SweepView) -> None:
    assert view.guard(lambda x, y=1: x + y)(2, y=3) == 5
    view.guard(_fails)()
    view.guard(lambda: None)()
    assert "boom" in view.error
    with pytest.raises(TypeError, match="guard wraps a function"):
        view.guard(3)  # type: ignore[arg-type]


def test_an_unguarded_callback_shows_too_and_still_raises(view: SweepView) -> None:
    def follow(change: dict) -> None:
        if change["new"]["share"] == 1.0:
            raise KeyError("no such run")

    view.observe(follow, "state")
    with pytest.raises(KeyError, match="no such run"):
        view.set(share=1.0)
    assert "KeyError: 'no such run' (in a callback of view.observe; correct it" in view.error
    view.set(share=0.25)
    assert view.error == ""


def _fails() -> None:
    raise RuntimeError("boom")


# -- train here ----------------------------------------------------------------------------------


def make_plane(setting: dict, progress, cancelled) -> dict:
    """The closed form of landscape_cube at any setting."""
    curvature = dict(zip(MODALITIES, [3.0, 2.0, 0.5], strict=True))[setting["modalities"]]
    axis = np.linspace(-1, 1, 7)
    progress(0.5, "half way")
    base = axis[:, None] ** 2 + axis[None, :] ** 2
    return {"loss": curvature * base * setting["span"] ** 2 + setting["share"] + setting["seed"] / 10}


def test_trained_setting_joins_the_cube(cube: xr.Dataset) -> None:
    view = SweepView(
        cube, Contour("loss"), compute=make_plane, free=True, share=0.6, span=2.0, seed=1, modalities="both"
    )
    before = view._payload
    assert view._grid.between("loss", view.state, ("a", "b"))
    wire = Wire()
    with patch.object(SweepView, "_send", lambda *args, **kwargs: wire(*args, **kwargs)):
        view.train()
    assert view.error == ""
    assert view._grid.dims["share"].values == (0.0, 0.25, 0.6, 1.0)
    assert not view._grid.between("loss", view.state, ("a", "b"))
    expected = 0.5 * (cube.a**2 + cube.b**2) * 4 + 0.6 + 0.1
    here = view.cube["loss"].sel(modalities="both", share=0.6, span=2.0, seed=1)
    np.testing.assert_allclose(here, expected, rtol=1e-6)
    assert np.isnan(view.cube["loss"].sel(modalities="both", share=0.6, span=2.0, seed=0)).all()
    assert len(view._payload) > len(before)
    sent = [(msg["content"], size) for msg, size in wire.messages if msg["method"] == "custom"]
    assert [size for _, size in sent] == [4 * 7 * 7] == [wire.bytes]  # a slab, not the cube
    assert sent[0][0]["new"] == {"share": [2]}
    assert view._job["running"] is False
    assert cube.sizes["share"] == 3  # the user's cube is left alone


def test_mean_trains_each_seed(cube: xr.Dataset) -> None:
    seen = []

    def compute(setting, progress, cancelled):
        seen.append(setting["seed"])
        return make_plane(setting, progress, cancelled)

    holes = cube.copy(deep=True)
    holes["loss"][0, 0, 0] = np.nan
    view = SweepView(holes, Contour("loss"), compute=compute)
    view.train()
    assert seen == [0, 1, 2]
    np.testing.assert_allclose(view.cube["loss"], cube["loss"])


def test_training_can_be_cancelled(cube: xr.Dataset) -> None:
    started = threading.Event()

    def compute(setting, progress, cancelled):
        started.set()
        while True:
            progress(0.1)
            time.sleep(0.005)

    view = SweepView(cube, Contour("loss"), compute=compute, seed=0)
    view.train(wait=False)
    assert started.wait(60)
    with pytest.raises(RuntimeError, match="is training already"):
        view.train()
    view.cancel()
    view._trainer.join()
    assert view._job["message"] == "cancelled after 0 of 1"
    assert view.error == ""


def test_training_that_fails_says_so(cube: xr.Dataset) -> None:
    def compute(setting, progress, cancelled):
        raise FloatingPointError("loss is NaN in epoch 3; lower the learning rate")

    view = SweepView(cube, Contour("loss"), compute=compute)
    view.train()
    assert "FloatingPointError: loss is NaN in epoch 3" in view.error.split("\n")[0]
    assert view._job["message"] == "failed"
    with pytest.raises(ValueError, match="this view cannot train"):
        SweepView(cube, Contour("loss")).train()


def test_messages_from_the_button(cube: xr.Dataset) -> None:
    view = SweepView(cube, Contour("loss"), compute=make_plane)
    view._hear(view, {"kind": "compute", "state": {**view.state, "seed": 1}}, [])
    view._trainer.join()
    assert view._job["message"] == "done"
    plain = SweepView(cube, Contour("loss"))
    plain._hear(plain, {"kind": "compute", "state": plain.state}, [])
    assert "this view cannot train" in plain.error


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (3, TypeError, "compute must return a dict"),
        (
            {"los": np.zeros((7, 7))},
            ValueError,
            "compute returned 'los', which is no variable of the cube; known: 'loss'",
        ),
        ({"loss": np.zeros((2, 7))}, ValueError, r"shape \(2, 7\), expected \(7, 7\) for the dimensions \('a', 'b'\)"),
    ],
)
def test_results_that_do_not_fit(cube: xr.Dataset, result: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        joined(cube, {"modalities": "both", "share": 0.0, "span": 2.0, "seed": 0}, result)


def test_a_transposed_result_is_understood(cube: xr.Dataset) -> None:
    plane = cube["loss"].isel(modalities=0, share=0, span=0, seed=0, drop=True) + cube.a
    setting = {"modalities": "both", "share": 0.5, "span": 2.0, "seed": 0}
    grown = joined(cube, setting, {"loss": plane.transpose("b", "a")})
    np.testing.assert_allclose(grown["loss"].sel(setting), plane)
    assert grown["loss"].attrs["units"] == "nats"


# -- Chromium ------------------------------------------------------------------------------------


def test_find_chromium_takes_the_named_one(tmp_path, monkeypatch) -> None:
    program = tmp_path / "my-browser"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(program))
    assert browser.find() == str(program)
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    assert browser.find() is None
    monkeypatch.delenv("CHROMIUM")
    (tmp_path / "google-chrome").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browser.find() == str(tmp_path / "google-chrome")


# -- the first picture -----------------------------------------------------------------------------


def test_shipped_cubes_write_their_facts_as_a_sweep_does() -> None:
    from xmodal_widgets.explorers import shipped

    from xmodal_lab.sweeps.cubes import attributes

    facts = {"a": "word", "b": 2, "c": 0.5, "d": True, "e": None, "f": {"α": [1, 2]}, "g": ["x"]}
    assert shipped.attributes(facts) == attributes(facts)


def test_an_explorer_opens_without_torch() -> None:
    """A view draws numbers that are there; importing torch would take longer than all the rest."""
    code = "import sys; from xmodal_widgets import explore; explore('dml')._png(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "False"


def test_a_picture_is_drawn_once_for_a_state(view: SweepView, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path))
    first = view._png()
    with monkeypatch.context() as patched:
        patched.setattr(picture, "png", lambda _: b"again")
        assert view._png() == first
        view.set(share=1.0)
        assert view._png() == b"again"
