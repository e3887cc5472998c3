"""Why a variable of a member is NaN: kept from the member to the cube, through stores that grow, and told in views."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from toy_experiments import began, lines
from xmodal_widgets import Lines, SweepView, explore

import xmodal_lab as xl
from xmodal_lab.sweeps import sweep
from xmodal_lab.sweeps.cubes import grouped
from xmodal_lab.sweeps.experiment import Experiment, Variable

ALONE = "one alone has no gap"


def member(settings: dict[str, Any], report: object) -> dict[str, Any]:
    began(settings)
    both = settings["kind"] == "both"
    gap = {"gap": settings["x"] if both else math.nan, "curve": [1.0, 2.0] if both else [math.nan] * 2}
    return {"accuracy": settings["x"], **gap, "why": {} if both else {"gap": ALONE, "curve": ALONE}}


def stack(members: list[dict[str, Any]], report: object) -> list[dict[str, Any]]:
    return [member(one, report) for one in members]


VARIABLES = {"accuracy": Variable(), "gap": Variable(), "curve": Variable({"t": [0, 1]})}
GAPS = Experiment("gaps", {"kind": "both", "x": 0.5, "seed": 0, "log": "", "nap": 0.0}, member, VARIABLES)
STACKED = Experiment(
    "gaps", {"kind": "both", "x": 0.5, "seed": 0, "log": "", "nap": 0.0}, member, VARIABLES, stack=stack
)


def quiet(*args: Any, **kwargs: Any) -> xr.Dataset:
    return sweep(*args, progress=False, **kwargs)


def why(cube: xr.Dataset) -> dict[str, Any]:
    return json.loads(cube.attrs["why"])


@pytest.mark.parametrize("experiment", [GAPS, STACKED], ids=["alone", "stacked"])
def test_a_cube_says_why_and_where(experiment: Experiment) -> None:
    cube = quiet(experiment, kind=["both", "one"], x=[0.0, 1.0], seed=range(3))
    at = {"kind": ["one"]}
    assert why(cube) == {name: [{"at": at, "why": ALONE}] for name in ("gap", "curve")}
    assert why(quiet(experiment, x=[0.0, 1.0])) == {}
    assert why(quiet(experiment, kind="one", x=[0.0, 1.0])) == {n: [{"at": {}, "why": ALONE}] for n in ("gap", "curve")}


def test_a_store_keeps_it_while_it_grows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    how = {"store": tmp_path / "s.zarr", "log": str(log)}
    quiet(GAPS, kind=["one"], x=[0.0], **how)
    quiet(GAPS, kind=["both", "one"], x=[0.0, 1.0], **how)
    assert len(lines(log)) == 4
    grown = quiet(GAPS, kind=["both", "one"], x=[0.0, 1.0], seed=[0, 1], **how)
    assert len(lines(log)) == 8, "the new seed alone"
    at_once = quiet(GAPS, kind=["both", "one"], x=[0.0, 1.0], seed=[0, 1])
    assert grown.attrs["why"] == at_once.attrs["why"] and "gap" in why(grown)
    again = quiet(GAPS, kind=["both", "one"], x=[0.0, 1.0], seed=[0, 1], **how)
    assert len(lines(log)) == 8 and again.attrs["why"] == grown.attrs["why"]
    opened = xr.open_zarr(how["store"], chunks=None)
    assert why(opened) == why(grown), "whoever opens the store reads it too"
    explore(opened, kind="one")


def test_one_box_is_one_entry_and_the_rest_are_points() -> None:
    axes = {"a": ("p", "q"), "b": (1, 2, 3)}
    told = {(i, j): {"v": "no"} for i, j in ((0, 0), (0, 2), (1, 0), (1, 2))}
    assert grouped(axes, told) == {"v": [{"why": "no", "at": {"b": [1, 3]}}]}
    told = {(0, 0): {"v": "no"}, (1, 2): {"v": "no", "w": "never"}}
    assert grouped(axes, told) == {
        "v": [{"why": "no", "at": {"a": ["p"], "b": [1]}}, {"why": "no", "at": {"a": ["q"], "b": [3]}}],
        "w": [{"why": "never", "at": {"a": ["q"], "b": [3]}}],
    }
    assert grouped({}, {(): {"v": "no"}}) == {"v": [{"why": "no", "at": {}}]}


def test_a_reason_is_a_sentence_of_a_declared_variable() -> None:
    def wrong(settings: dict[str, Any], report: object) -> dict[str, Any]:
        return {"accuracy": 1.0, "why": {"acuracy": "a slip"}}

    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        quiet(Experiment("wrong", {}, wrong, ["accuracy"]))
    with pytest.raises(ValueError, match="cannot be called 'why'"):
        quiet(Experiment("taken", {}, wrong, ["why"]))


def test_a_panel_says_why_it_is_empty(tmp_path: Path) -> None:
    cube = quiet(GAPS, kind=["both", "one"], x=[0.0, 1.0])
    view = SweepView(cube, [Lines("curve", x="t")], kind="one", x=0.0)
    (told,) = [v["why"] for v in view._layout["vars"] if v["name"] == "curve"]
    assert told == [{"why": ALONE, "at": {"kind": ["one"]}}]
    assert ALONE in _words(view)
    view.set(kind="both")
    assert ALONE not in _words(view)
    left = SweepView(cube.sel(kind="one"), [Lines("curve", x="t")])
    assert ALONE in _words(left), "what was selected before is known"
    other = SweepView(cube.sel(kind="both"), [Lines("curve", x="t")])
    assert not [v["why"] for v in other._layout["vars"] if v["why"]]
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=40, n_test=20)
    seen = xl.look(xl.LateFusion.for_dataset(ds, "image", architecture="mlp"), ds.test, gap=True, landscape=3)
    assert "sees image alone" in explore(seen[["w2", "landscape"]])._grid.why(["w2"], {})


def test_what_is_trained_here_says_why_now_and_in_later_sessions(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "s.zarr"
    cube = quiet(GAPS, store=store, log=str(log), kind=["both"], x=[0.0, 1.0])
    view = SweepView(cube, [Lines("curve", x="t")], experiment=GAPS, store=store, offers={"kind": ["one"]}, kind="both")
    view.set(kind="one", x=1.0, free=True)
    view.train()
    assert view.error == "" and ALONE in _words(view)
    assert why(view.cube)["curve"] == [{"why": ALONE, "at": {"kind": ["one"], "x": [1.0]}}]
    later = SweepView(cube, [Lines("curve", x="t")], experiment=GAPS, store=store, kind="one", x=1.0)
    assert ALONE in _words(later)
    assert len(lines(log)) == 3
    swept = quiet(GAPS, store=store, log=str(log), kind=["both", "one"], x=[0.0, 1.0])
    assert len(lines(log)) == 4, "what was trained here is taken"
    assert why(swept)["curve"] == [{"why": ALONE, "at": {"kind": ["one"]}}]


def test_the_bench_says_why_of_every_look() -> None:
    bench = xl.bench(looks={"gap": True}, checkpoints=1, trajectory=3, epochs=1)
    cube = xl.sweep(bench, modalities=["image", "image+audio"], progress=False)
    told = why(cube)
    for name in ("w2", "w2_bias", "variance_ratio", "distance", "curve_w2", "curve_w2_bias"):
        (one,) = told[name]
        assert one["at"] == {"modalities": ["image"]} and "sees image alone" in one["why"], name
    for name in cube.data_vars:
        empty = cube[name].isnull().all([d for d in cube[name].dims if d != "modalities"])
        where = {m for one in told.get(name, []) for m in one["at"].get("modalities", cube.modalities.values)}
        assert where == set(cube.modalities.values[empty]), name


def _words(view: SweepView) -> str:
    """All words of the static picture."""
    from matplotlib.text import Text

    return " ".join(" ".join(text.get_text().split()) for text in view.figure().findobj(Text))
