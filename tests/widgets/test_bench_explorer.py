"""The explorer of the bench, on a small cube of the same names; and the screen that a bench of one's own opens with."""

from __future__ import annotations

import json
from functools import cache
from itertools import groupby

import numpy as np
import pytest
import xarray as xr
from xmodal_widgets import Bars, Contour, Density, HeatMap, Lines, Surface, explore
from xmodal_widgets.explorers import EXPLORERS, bench, ready, shipped
from xmodal_widgets.view.kinds import look_views
from xmodal_widgets.view.train import TOLERANCE

import xmodal_lab as xl
from xmodal_lab.experiments import beside
from xmodal_lab.experiments.bench import Bench
from xmodal_lab.experiments.world import world_of


def small() -> xr.Dataset:
    """Every variable that the explorer reads, on two values of each control."""
    rng = np.random.default_rng(0)
    axes = {name: values[:2] for name, values in bench.AXES.items()}
    axes["modalities"] = ["image", "image+audio"]
    own = {
        "landscape": {"a": [-1.0, 0.0, 1.0], "b": [-1.0, 0.0, 1.0]},
        "density": {"lambda_": 0.1 * np.sinh(np.linspace(-5, 5, 21))},
        "eigenvalue": {"k": [1, 2, 3]},
        "curve_density": {"checkpoint": [0, 13, 26], "lambda_": 0.1 * np.sinh(np.linspace(-5, 5, 21))},
        "curve_w2": {"checkpoint": [0, 13, 26]},
        "curve_w2_bias": {"checkpoint": [0, 13, 26]},
        "trajectory": {"ta": [-1.0, 0.0, 1.0], "tb": [-1.0, 0.0, 1.0]},
        "path": {"moment": [0, 5, 13, 26], "axis": ["ta", "tb"]},
        "noisy": {"modality": ["image", "audio"]},
        "missing": {"modality": ["image", "audio"]},
        "accuracy": {},
        "accuracy_at_shots": {"images": [1, 4, 16], "texts": [0, 1, 4, 12]},
        "accuracy_curve": {"epoch": [1, 2, 3]},
        "w2": {},
    }
    found = {}
    for name, dims in own.items():
        coords = {**axes, **dims}
        found[name] = xr.DataArray(rng.uniform(0.1, 1.0, [len(v) for v in coords.values()]), coords)
    cube = xr.Dataset(found)
    for name in ("modalities", "pairing"):  # text of any length, as stores have it
        cube[name] = cube[name].astype(object)
    return cube


def test_the_explorer_is_registered_and_says_when_its_cube_is_missing(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "bench" in EXPLORERS
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert ready() == ("uml_theory", "claims")
    with pytest.raises(ValueError, match="ships no cube 'bench'"):
        explore("bench")
    shipped.save(small(), "bench")
    assert ready() == ("uml_theory", "bench", "claims")
    view = explore("bench", modalities="image+audio", share=0.5)
    assert view.state["share"] == 0.5 and view.state["seed"] == "mean"
    assert [type(v) for v in view._shown] == [Surface, Density, Lines, HeatMap, Bars, Contour, Density]
    assert {v for one in view._shown for v in one.variables} == {*bench.VARIABLES, *bench.ALONG}
    assert [c["dim"] for c in view._controls] == [*bench.AXES, "checkpoint"]
    assert view.figure().axes and view.error == ""
    shipped.save(small().drop_vars(bench.ALONG), "bench")
    former = explore("bench")
    assert {v for one in former._shown for v in one.variables} == set(bench.VARIABLES), "a cube of fewer looks opens"


def test_train_here_lets_its_planes_miss_by_what_nobody_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cube itself has every point; both planes follow the looks' tolerance (test_look.py)."""
    worlds = [world_of(bench.experiment(*given), Bench) for given in ((), (TOLERANCE,))]
    assert [world.looks.tolerance for world in worlds] == [None, TOLERANCE]
    asked: list[float | None] = []
    quick = xl.bench(epochs=1)
    monkeypatch.setattr(bench, "experiment", lambda tolerance=None: asked.append(tolerance) or quick)
    setting = {"seed": 1, "checkpoint": 39}  # what the controls hold: a moment of training is no setting
    assert bench.train_here(setting, lambda share, message="": None, lambda: False)["accuracy"] > 0
    assert asked == [TOLERANCE]


def test_a_bench_of_ones_own_opens_with_its_looks() -> None:
    cube = small().isel(lam=0, pairing=0, drop=True).rename(share="my_weight")
    view = explore(cube, my_weight=0.5)
    assert [type(v) for v in view._shown] == [Surface, Density, Lines, HeatMap, Contour, Lines]
    assert view._shown[2].variables == ("curve_w2", "curve_w2_bias")
    assert view._shown[4].variables == ("trajectory", "path")
    assert view._shown[1].variables == ("density", "eigenvalue")
    fewer = explore(cube[["density", "w2", "landscape"]])
    assert [type(v) for v in fewer._shown] == [Surface, Density, Lines]
    assert fewer._shown[2] == Lines("w2", "my_weight"), "without its course the gap stands over a swept setting"
    assert not look_views(explore(xr.DataArray([1.0, 2.0], {"x": [0.0, 1.0]}, name="y"))._grid)


def test_the_shipped_cube_has_every_look_and_is_small() -> None:
    cube = shipped.load("bench")
    for axis, values in bench.AXES.items():
        assert cube[axis].values.tolist() == values
    whole = cube[[*bench.VARIABLES[:-1], *bench.ALONG, "accuracy", "noisy", "missing"]].sel(modalities="image+audio")
    assert {str(name): int(whole[name].isnull().sum()) for name in whole if whole[name].isnull().any()} == {}
    lone = cube.sel(modalities=["image", "audio"])
    assert bool(lone["trajectory"].notnull().all()) and bool(lone["curve_w2_bias"].isnull().all())
    assert shipped.FOLDER.joinpath("bench.zarr.zip").stat().st_size <= 1 << 20
    # All of it was computed at once, within half an hour on two cores, and what is NaN says why.
    assert "completed" not in cube.attrs and cube.attrs["processor_seconds"] < 2 * 1800
    told = json.loads(cube.attrs["why"])
    assert {"curve_w2", "curve_w2_bias", "w2", "w2_bias", "variance_ratio", "distance"} == set(told)
    for name, held in told.items():
        empty = cube[name].isnull().all([d for d in cube[name].dims if d != "modalities"])
        assert {m for one in held for m in one["at"]["modalities"]} == set(cube.modalities.values[empty]), name
    # The path ends at θ, where the loss of the first rows is the last of training; it leads through its own plane.
    assert float(np.abs(whole["path"]).max()) < 1
    assert bool((whole["trajectory"].max(("ta", "tb")) > whole["trajectory"].min(("ta", "tb"))).all())


@pytest.mark.slow
def test_a_sample_of_the_cube_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training differs in the last digits between processors, so the stated tolerance is not round-off."""
    monkeypatch.setattr("xmodal_lab.experiments.bench.ISOLINES", {"image": (4,), "text": (4,)})  # one cell of twelve
    at = {"modalities": "image+audio", "pairing": "same_class", "share": 0.5, "a_latent": 0.3, "a_align": 0.3,
          "b_align": 1.4, "lam": 1.0, "seed": 2}  # fmt: skip
    again = bench.train_here(at, lambda share, message="": None, lambda: False)
    known = shipped.load("bench").sel(at)
    np.testing.assert_allclose(again["accuracy"], known["accuracy"], atol=0.03)
    np.testing.assert_allclose(
        again["accuracy_at_shots"][0, 0], known["accuracy_at_shots"].sel(images=4, texts=4), atol=0.08
    )
    for name in ("curve_w2", "curve_w2_bias", "landscape", "trajectory", "eigenvalue"):
        np.testing.assert_allclose(np.asarray(again[name]), known[name].values, rtol=0.1, atol=0.1, err_msg=name)
    np.testing.assert_allclose(again["path"], known["path"], atol=0.05)


def test_on_the_way_the_gap_comes_before_the_spectra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all moments: it takes a tenth of their time, and somebody looks on."""
    told: list[str] = []

    class Hears:
        def __call__(self, share: float = 0.0, message: str = "") -> None: ...

        def tell(self, found: dict[str, object]) -> None:
            told.extend(name for name in found if name in ("curve_w2", "curve_density", "trajectory"))

    monkeypatch.setattr(beside, "cores", lambda: 1)  # alone: a second core brings the spectra when it has them
    quick = xl.bench(looks={"gap": True}, checkpoints=2, trajectory=3, epochs=2)
    monkeypatch.setattr(bench, "experiment", lambda tolerance=None: quick)
    found = bench.train_here({"seed": 1}, Hears(), lambda: False)
    assert [name for name, _ in groupby(told)] == ["trajectory", "curve_w2", "curve_density"]
    assert told.count("curve_w2") >= 3 and told.count("curve_density") >= 3, "each moment as it is looked at"
    assert np.isfinite(found["curve_density"]).all() and np.isfinite(found["curve_w2"]).all()


# α (dml: share, synergy and wma: weights), β, pairing and modalities against the four pictures of the bench.
CONTROLS = {
    "α": ("share", "a_latent", "a_align"),
    "β": ("b_align",),
    "pairing": ("pairing",),
    "modalities": ("modalities",),
}
PICTURES = {"landscape": "landscape", "spectrum": "density", "gap": "curve_w2", "isolines": "accuracy_at_shots"}


@cache
def offered() -> set[str]:
    """The controls that the explorer shows."""
    return {c["dim"] for c in explore("bench", seed=0)._controls if not c["hidden"]}


@cache
def drawn_as(picture: str) -> xr.DataArray:
    return bench.load_cube()[PICTURES[picture]].fillna(0.0)  # a lone modality has no gap: that is seen, too


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("control", CONTROLS)
def test_all_sixteen_pairs_of_control_and_picture_are_live(control: str, picture: str) -> None:
    """At some setting of the others, moving the control changes the picture by more than it is rounded."""
    drawn = drawn_as(picture)
    for name in CONTROLS[control]:
        steps = np.abs(drawn - drawn.isel({name: 0}))
        assert float(steps.max()) > 0.02 * float(np.abs(drawn).max()), name
        assert name in offered()
