"""The static picture beside a live view: drawn once, kept, never in the way of the first picture."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from PIL import Image
from scipy.special import stdtrit
from xmodal_widgets import Bars, Contour, HeatMap, Lines, Surface, SweepView
from xmodal_widgets.page import assets, picture
from xmodal_widgets.page.look import DIVERGING, DIVERGING_DARK, LOOKS
from xmodal_widgets.view import student

import xmodal_lab.utils.cache as caches

PNG = b"\x89PNG\r\n\x1a\nbody" + b"IEND\xaeB`\x82"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pictures"


def view(**state: object) -> SweepView:
    cube = xr.DataArray(
        np.arange(12.0).reshape(2, 2, 3), {"alpha": [0, 1], "seed": [0, 1], "x": [1.0, 2, 3]}, name="loss"
    )
    return SweepView(cube, Lines("loss", x="x", band="seed"), **state)


def test_a_second_session_draws_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = view()._png()
    monkeypatch.setattr(SweepView, "figure", lambda _: pytest.fail("drawn again"))
    assert view()._png() == first and len(list(folder.glob("*.png"))) == 1
    with pytest.raises(pytest.fail.Exception):
        view(alpha=1)._png()


def test_other_numbers_another_title_another_drawing_are_other_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"state": {"alpha": 0}, "title": "a"}
    places = [picture._place(parts, b"1"), picture._place(parts, b"2"), picture._place({**parts, "title": "b"}, b"1")]
    monkeypatch.setattr(picture, "_drawing", lambda: b"later")
    assert len({*places, picture._place(parts, b"1")}) == 4


@pytest.mark.parametrize("damage", [b"", b"not a picture", PNG[:-3]])
def test_a_damaged_one_is_drawn_again(folder: Path, damage: bytes) -> None:
    assert picture.Kept({}, b"", lambda: PNG).get() == PNG
    (place,) = folder.glob("*.png")
    place.write_bytes(damage)
    assert picture.Kept({}, b"", lambda: PNG).get() == PNG == place.read_bytes()


def test_a_folder_that_cannot_be_written_costs_the_drawing_only(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert picture.Kept({}, b"", lambda: PNG).get() == PNG


def test_the_oldest_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "KEPT", 3)
    for k in range(6):
        picture.Kept({"k": k}, b"", lambda: PNG).get()
    assert len(list(folder.iterdir())) == 3


def test_pictures_lie_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XMODAL_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA", ""):
        monkeypatch.delenv("XMODAL_CACHE", raising=False)
        if name:
            monkeypatch.setenv(name, str(tmp_path / name))
        assert picture._folder() == caches.folder() / "pictures"


def test_quantiles_of_student() -> None:
    expected = [stdtrit(df, 0.975) for df in range(1, 1201)]
    np.testing.assert_allclose(student.quantiles(1200), expected, rtol=1e-12)
    assert student.quantiles(0) == []


def test_quantiles_of_many_seeds_cost_no_more_than_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was a sum over its degrees of freedom, sixty times: a view of 800 seeds opened in a second and a half."""
    spent, whole = [0], student._within

    def counted(angle: float, df: int) -> float:
        spent[0] += df // 2
        assert spent[0] < 500_000
        return whole(angle, df)

    monkeypatch.setattr(student, "_within", counted)
    assert len(student.quantiles(5000)) == 5000


def test_an_explorer_opens_on_few_packages() -> None:
    """Each of these takes longer to import than the rest of the first picture."""
    code = (
        "import sys; from xmodal_widgets import explore; explore('dml'); "
        "print([n for n in ('torch', 'scipy', 'matplotlib', 'dask.array', 'distributed') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_dimensions_come_in_the_order_of_the_variables() -> None:
    sizes = {"c": 2, "a": 3, "b": 4}
    data = {"y": (("c", "a"), np.zeros((2, 3))), "z": (("b", "a"), np.zeros((4, 3)))}
    for order in (["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]):
        cube = xr.Dataset(data, {name: np.arange(sizes[name]) for name in order})
        assert list(SweepView(cube, Lines("y", x="a"))._grid.dims) == ["c", "a", "b"]


def test_live_and_static_share_their_colours() -> None:
    css = assets.style()
    light, dark = css[: css.index("[data-dark")], css[css.index("[data-dark") : css.index(".xm-heading")]
    for look, part in ((LOOKS[False], light), (LOOKS[True], dark)):
        for name, css_name in (("page", "page"), ("ink", "ink"), ("muted", "muted"), ("faint", "(?:axis|faint)")):
            assert look[name] in re.findall(rf"--xm-{css_name}: (?:var\(.*?, )?(#\w+)", part), name
        assert look["line"] in re.findall(r"--xm-(?:grid|line): (?:var\(.*?, )?(#\w+)", part)


def test_live_and_static_share_their_palettes() -> None:
    text = (assets.FOLDER / "data" / "palette.js").read_text()
    for name, anchors in (("DIVERGING", DIVERGING), ("DIVERGING_DARK", DIVERGING_DARK)):
        (numbers,) = re.findall(rf"const {name} = between\(\[(.*)\]\);", text)
        live = [
            "#" + "".join(f"{int(part):02x}" for part in one.split(","))
            for one in re.findall(r"\[([^\[\]]+)\]", numbers)
        ]
        assert live == list(anchors), name


@pytest.mark.parametrize("kind", [HeatMap, Contour, Surface])
def test_static_gains_have_zero_as_the_page(kind: type[HeatMap | Contour | Surface]) -> None:
    coords = {"a": [0.0, 1.0, 2.0], "b": [0.0, 1.0, 2.0]}
    one = SweepView(
        xr.DataArray(np.arange(-4.0, 5.0).reshape(3, 3), coords, name="gain"), kind("gain", palette="diverging")
    )
    drawn = [np.asarray(Image.open(io.BytesIO(picture.png(one.figure(dark=dark))))) for dark in (False, True)]

    def count(pixels: np.ndarray, color: str) -> int:
        near = np.abs(pixels[..., :3].astype(int) - [int(color[k : k + 2], 16) for k in (1, 3, 5)])
        return int((near.max(-1) < 10).sum())

    for pixels, own, other in zip(drawn, (DIVERGING, DIVERGING_DARK), (DIVERGING_DARK, DIVERGING), strict=True):
        assert count(pixels, own[-1]) > 30 and count(pixels, own[-1]) > 5 * count(pixels, other[-1])


@pytest.mark.parametrize("dark", [False, True])
def test_a_static_picture_has_either_look(dark: bool) -> None:
    drawn = view().figure(dark=dark)
    (axis,) = drawn.subfigs[0].subfigs[0].axes
    look = LOOKS[dark]
    assert to_hex(drawn.get_facecolor()) == to_hex(axis.get_facecolor()) == look["page"]
    assert to_hex(axis.title.get_color()) == look["ink"]
    assert {to_hex(label.get_color()) for label in axis.get_xticklabels()} == {look["muted"]}


def test_a_look_that_is_undefined_says_why_and_one_that_was_never_computed_says_that() -> None:
    coords = {"modalities": ["image", "image+audio", "audio"], "x": [1.0, 2.0, 3.0]}
    gap = xr.DataArray([[np.nan] * 3, [1.0, 2.0, 3.0], [np.nan] * 3], coords)
    accuracy = xr.DataArray([0.5, 0.7, np.nan], {"modalities": coords["modalities"]})
    cube = xr.Dataset({"gap": gap, "accuracy": accuracy})

    def words(modalities: str, absent: str | None = "one modality alone has no gap") -> list[str]:
        drawn = SweepView(cube, Lines("gap", x="x", absent=absent), modalities=modalities).figure()
        return [text.get_text() for text in drawn.subfigs[0].subfigs[0].axes[0].texts]

    assert words("image") == ["one modality alone has no gap"]
    assert words("image", absent=None) == ["has no value here"]
    assert words("audio") == ["nothing computed here yet"]
    assert words("image+audio") == []
    with pytest.raises(TypeError, match="absent of the Lines view must be a sentence"):
        words("image", absent=3)  # type: ignore[arg-type]


def test_training_stands_on_its_path_where_the_control_of_time_says() -> None:
    plane = {"ta": [-1.0, 0.0, 1.0], "tb": [-1.0, 0.0, 1.0]}
    cube = xr.Dataset(
        {
            "loss": xr.DataArray(np.arange(9.0).reshape(3, 3), plane),
            "path": (("moment", "axis"), [[-1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]),
            "curve": (("epoch", "x"), np.ones((3, 2))),
        }
    ).assign_coords(moment=[0, 10, 20], axis=["ta", "tb"], epoch=[0, 5, 20], x=[0.0, 1.0])
    views = [Contour("loss", x="ta", y="tb", path="path", at="epoch"), Lines("curve", x="x")]
    drawn = SweepView(cube, views, epoch=5).figure().subfigs[0].subfigs[0].axes[0]
    assert [line.get_xydata().tolist() for line in drawn.lines if line.get_markerfacecolor() == "#d55e00"] == [
        [[-0.5, 0.5]]
    ]
    with pytest.raises(ValueError, match="give path= as well"):
        SweepView(cube, Contour("loss", x="ta", y="tb", at="epoch"))
    with pytest.raises(ValueError, match="dimension at of the Contour"):
        SweepView(cube, Contour("loss", x="ta", y="tb", path="path", at="age"))
    with pytest.raises(TypeError, match="must both be numbers"):
        SweepView(cube, Contour("loss", x="ta", y="tb", path="path", at="axis"))


@pytest.mark.parametrize("kind", [Lines, Bars])
def test_a_legend_lies_on_no_curve_and_no_bar(kind: type[Lines | Bars]) -> None:
    cube = xr.DataArray(np.ones((5, 4)), {"target": [f"target {k}" for k in range(5)], "x": range(4)}, name="gain")
    figure = SweepView(cube, [kind("gain", x="x", hue="target")] * 3).figure()
    figure.canvas.draw()
    for part in figure.subfigs[0].subfigs:
        axis = part.axes[0]
        box, panel, heading = (artist.get_window_extent() for artist in (axis.get_legend(), axis.patch, axis.title))
        assert box.y0 >= panel.y1 - 1, "above the panel"
        assert box.y1 <= heading.y0 + 2, "below its heading"
        assert box.x1 <= part.bbox.x1 + 1, "inside its part of the picture"
        assert axis.get_xlim()[0] < 0 and 3 < axis.get_xlim()[1] < 4


def test_whiskers_of_paired_differences_stand_beside_each_other_and_a_picture_is_not_stretched() -> None:
    rng = np.random.default_rng(0)
    cube = xr.Dataset(
        {
            "gain": (("target", "x", "seed"), rng.normal(size=(3, 4, 3))),
            "plan": (("row", "column"), [[0.5, np.nan], [0.1, 0.4]]),
            "picture": (("up", "across"), rng.normal(size=(8, 8))),
        },
        {"target": ["zero", "one", "two"], "x": range(4), "seed": range(3), "row": [0, 1], "column": [0, 1]},
    )
    gains = Lines("gain", x="x", hue="target", band="seed", versus={"target": "zero"})
    figure = SweepView(cube, [gains, HeatMap("plan", x="column", y="row", under="picture")]).figure()
    figure.canvas.draw()
    lines, plan = (part.axes[0] for part in figure.subfigs[0].subfigs)
    curves = [line for line in lines.lines if not line.get_label().startswith("_")]
    first = {round(float(line.get_transform().transform((0.0, 0.0))[0]), 1) for line in curves}
    assert len(curves) == 3 and len(first) == 3
    assert -0.5 < lines.get_xlim()[0] < 0 and 3 < lines.get_xlim()[1] < 3.5
    place, whole = plan.get_position(), plan.figure.bbox
    assert abs(place.width * whole.width - place.height * whole.height) < 1 and plan.patch.get_hatch()
