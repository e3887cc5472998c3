"""Results join cubes: any cube, any place; what is between and beyond; the sweep's own settings; the store."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xmodal_widgets import HeatMap, Lines, Scatter, SweepView, explore
from xmodal_widgets.view.grid import Grid
from xmodal_widgets.view.joining import joined

import xmodal_lab as xl
from xmodal_lab.sweeps import Experiment, Variable

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")
NEW = {"alpha": [-1.0, 0.6, 0.30000000000000004, 7.5], "seed": [5, -2], "name": ["new", "ü"], "k": [9]}


def silent(*_: Any) -> None:
    return None


@st.composite
def cubes(draw: st.DrawFn) -> xr.Dataset:
    """Cubes with gaps, text axes (a store's own string type too), one-value axes, axes that run down, codes."""
    alpha = draw(st.sampled_from([[0.3], [0.0, 0.25, 1.0], [2.0, 0.5, 0.1], [0.0, 1e-9]]))
    names = draw(st.sampled_from([["one"], ["x", "a longer name"]]))
    text: Any = np.asarray(names, dtype=draw(st.sampled_from(["U", "T", "O"])))
    dims = draw(st.permutations(["alpha", "seed", "name", "k"]))
    sizes = {"alpha": len(alpha), "seed": draw(st.integers(1, 3)), "name": len(names), "k": 2}
    shape = [sizes[d] for d in dims]
    values = np.asarray(
        draw(st.lists(st.floats(-9, 9, width=32), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    )
    gaps = np.asarray(draw(st.lists(st.booleans(), min_size=values.size, max_size=values.size)))
    codes = np.arange(values.size).reshape(shape) % 3
    return xr.Dataset(
        {
            "loss": (dims, np.where(gaps, np.nan, values).reshape(shape)),
            "kind": (dims, codes.astype("int8"), {"flag_meanings": "low mid high"}),
        },
        {"alpha": alpha, "seed": range(sizes["seed"]), "name": ("name", text), "tone": ("k", [1.0, 2.0])},
    )


def plain(value: Any) -> str | float:
    """A coordinate to compare by: 0.1 + 0.2 is 0.3."""
    return str(value) if isinstance(value, str) else round(float(value), 11)


def key(setting: dict[str, Any]) -> tuple[str | float, ...]:
    return tuple(plain(setting[dim]) for dim in ("alpha", "seed", "name"))


def at(cube: xr.Dataset, name: str, setting: dict[str, Any]) -> np.ndarray:
    """The numbers of a variable at a setting, found without the house's code; k last."""
    var = cube[name].transpose(..., "k")
    for dim, value in setting.items():
        var = var.isel({dim: [plain(v) for v in cube[dim].values].index(plain(value))})
    return np.asarray(var.values, dtype=float)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cube=cubes(), data=st.data())
def test_any_results_join_any_cube(cube: xr.Dataset, data: st.DataObject) -> None:
    """Each result stands at its setting, the last one counts; all that was there stands where it stood."""
    known = {d: [v if d != "name" else str(v) for v in cube[d].values.tolist()] for d in ("alpha", "seed", "name")}
    one = st.fixed_dictionaries({d: st.sampled_from(known[d] + NEW[d]) for d in known})
    results: dict[tuple[Any, ...], tuple[dict[str, Any], np.ndarray]] = {}
    grown = cube
    for setting in data.draw(st.lists(one, min_size=1, max_size=4)):
        found = np.asarray(data.draw(st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=2)))
        grown = joined(grown, setting, {"loss": found, "kind": np.asarray([1, 2])})
        results[key(setting)] = (setting, found)
    for setting, found in results.values():
        np.testing.assert_array_equal(at(grown, "loss", setting), found)
        np.testing.assert_array_equal(at(grown, "kind", setting), [1, 2])
    for alpha in known["alpha"]:
        for seed in known["seed"]:
            for name in known["name"]:
                setting = {"alpha": alpha, "seed": seed, "name": name}
                if key(setting) not in results:
                    np.testing.assert_array_equal(at(grown, "loss", setting), at(cube, "loss", setting))
                    np.testing.assert_array_equal(at(grown, "kind", setting), at(cube, "kind", setting))
    empty = grown["loss"].size - cube["loss"].size - 2 * sum(
        any(plain(v) not in map(plain, known[d]) for d, v in setting.items()) for setting, _ in results.values()
    )  # fmt: skip
    assert int(grown["kind"].isnull().sum()) == empty
    assert (grown["kind"].dtype == np.int8) == (empty == 0), "codes stay whole where no gap needs NaN"
    view = SweepView(grown, Scatter("loss", "loss", color="kind", points="k"))
    kind = next(v for v in view._layout["vars"] if v["name"] == "kind")
    assert kind["whole"] and kind["meanings"] == ["low", "mid", "high"]
    assert view.cube["tone"].values.tolist() == [1.0, 2.0]


def test_a_store_with_a_text_axis(tmp_path: Path) -> None:
    """What `xr.open_zarr` gives, whose text has a type of its own."""
    swept(toy(), store=tmp_path / "toy.zarr")
    cube = xr.open_zarr(tmp_path / "toy.zarr", chunks=None)
    assert cube["name"].dtype.kind == "T"
    view = SweepView(
        cube, Lines("curve", x="k"), compute=lambda s, *_: {"curve": np.full(2, len(s["name"]))}, free=True
    )
    view.set(name="a new one")
    view.train()
    assert view.error == ""
    assert view.cube["curve"].sel(name="a new one", alpha=0.0).values.tolist() == [9.0] * 2
    assert view._grid.dims["name"].values == ("a", "bb", "a new one")


def test_a_data_array_brings_dimensions_of_the_setting() -> None:
    """All strengths of a test come from one training; they are placed by their own coordinates."""
    cube = xr.Dataset(
        {"y": (("alpha", "strength", "k"), np.zeros((2, 3, 2)))}, {"alpha": [0.0, 1.0], "strength": [0.0, 0.5, 1.0]}
    )
    found = xr.DataArray([[5.0, 6.0], [1.0, 2.0]], {"strength": [1.0, 0.0]}, ("strength", "k"))
    grown = joined(cube, {"alpha": 0.5, "strength": 0.7}, {"y": found})
    assert grown.sizes["strength"] == 3
    here = grown["y"].sel(alpha=0.5)
    assert here.sel(strength=1.0).values.tolist() == [5, 6] and here.sel(strength=0.0).values.tolist() == [1, 2]
    assert bool(here.sel(strength=0.5).isnull().all())
    with pytest.raises(ValueError, match=r"'y' at strength = 2.0, which the cube does not have"):
        joined(cube, {"alpha": 0.5}, {"y": found.assign_coords(strength=[2.0, 0.0])})


# -- gaps --------------------------------------------------------------------------------------------


def test_a_new_value_does_not_tear_what_was_interpolated() -> None:
    """A gap is passed over: between its neighbours where the control is free, not where it stands on the grid."""
    alpha = [0.0, 0.5, 1.0]
    cube = xr.Dataset(
        {"y": (("name", "alpha"), [[0.0, 1.0, 4.0], [8.0, 6.0, 2.0]])}, {"name": ["a", "b"], "alpha": alpha}
    )
    grid = Grid.of(joined(cube, {"name": "a", "alpha": 0.6}, {"y": 1.5}))
    assert grid.take("y", {"name": "a", "alpha": 0.6, "free": True}, ()) == 1.5
    assert grid.take("y", {"name": "b", "alpha": 0.6, "free": True}, ()) == pytest.approx(6 - 0.8)
    assert np.isnan(grid.take("y", {"name": "b", "alpha": 0.6, "free": False}, ()))
    assert grid.take("y", {"name": "b", "alpha": 0.55, "free": True}, ()) == pytest.approx(6 - 0.4)
    assert np.isnan(grid.take("y", {"name": "b", "alpha": 1.2, "free": True}, ())), "nothing is known beyond the ends"
    assert np.isnan(grid.take("y", {"name": "c", "alpha": 0.5, "free": True}, ()))


def test_codes_are_not_interpolated() -> None:
    cube = xr.Dataset({"kind": (("alpha", "k"), [[0, 2], [2, 1]])}, {"alpha": [0.0, 1.0]})
    grid = Grid.of(cube)
    take = lambda alpha: grid.take("kind", {"alpha": alpha, "free": True}, ("k",), codes=True).tolist()  # noqa: E731
    assert (take(0.3), take(0.8)) == ([0, 2], [2, 1])


@pytest.mark.skipif(NODE is None, reason="no node on the search path; the same code runs in the browser tier")
def test_gaps_in_the_browser_as_in_python(tmp_path: Path) -> None:
    """One random cube with gaps, many settings: both languages give the same numbers."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 3, 2, 3, 5))
    values[rng.random(values.shape) < 0.4] = np.nan
    cube = xr.Dataset(
        {"y": (("alpha", "beta", "name", "seed", "k"), values), "c": (("alpha", "k"), rng.integers(0, 3, (4, 5)))},
        {"alpha": [0.0, 0.1, 0.5, 1.0], "beta": [1.0, 2.0, 4.0], "name": ["a", "b"], "seed": [0, 1, 2]},
    )
    view = SweepView(cube, [Lines("y", x="k"), Lines("c", x="k")])
    choices = {
        "alpha": [0.0, 0.1, 0.3, 0.77, 1.0, 1.5], "beta": [1.0, 2.0, 3.3], "name": ["a", "b", "c"],
        "seed": [1, 2, "mean", 9], "free": [True, False],
    }  # fmt: skip
    asked = [{d: rng.choice(np.asarray(v, dtype=object)) for d, v in choices.items()} for _ in range(200)]
    (tmp_path / "cube.bin").write_bytes(view._payload)
    (tmp_path / "asked.json").write_text(json.dumps([view._layout, asked]))
    code = f"""
    import {{ readFileSync }} from "node:fs";
    import {{ readCube, take }} from "{(ROOT / "widgets/xmodal_widgets/js/data/cube.js").as_uri()}";
    const [layout, asked] = JSON.parse(readFileSync("asked.json", "utf8"));
    const bytes = readFileSync("cube.bin");
    const cube = readCube(layout, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    const found = asked.map((s) => [...take(cube, "y", s, ["k"]).values, ...take(cube, "c", s, ["k"], true).values]);
    console.log(JSON.stringify(found));"""
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    there = np.asarray([[np.nan if v is None else v for v in row] for row in json.loads(done.stdout)])
    here = [
        np.concatenate([view._grid.take("y", s, ("k",)), view._grid.take("c", s, ("k",), codes=True)]) for s in asked
    ]
    np.testing.assert_allclose(there, np.asarray(here), rtol=1e-5, atol=1e-6)
    assert 0.2 < np.isfinite(there).mean() < 0.9


# -- between, beyond, new ------------------------------------------------------------------------------


def toy(name: str = "toy", epochs: int = 1) -> Experiment:
    def member(s: dict[str, Any], report: Any) -> dict[str, Any]:
        return {"y": 100.0 * s["epochs"] + s["alpha"], "curve": [s["alpha"], float(len(s["name"]))]}

    return Experiment(
        name,
        {"alpha": 0.0, "name": "a", "epochs": epochs, "seed": 0},
        member,
        {"y": Variable(), "curve": Variable({"k": range(2)})},
    )


def swept(experiment: Experiment, **options: Any) -> xr.Dataset:
    return xl.sweep(experiment, alpha=[0.0, 1.0], name=["a", "bb"], epochs=10, progress=False, **options)


@pytest.mark.parametrize("how", ["experiment", "compute", "own function"])
def test_the_fixed_settings_of_the_sweep_apply(how: str) -> None:
    mine = toy()
    ways: dict[str, dict[str, Any]] = {
        "experiment": {"experiment": mine},
        "compute": {"compute": mine.compute},
        "own function": {"compute": lambda setting, *_: mine.compute(setting)},
    }
    view = explore(swept(mine), free=True, alpha=0.5, name="bb", **ways[how])
    view.train()
    assert view.error == ""
    assert view.cube["y"].sel(name="bb").values.tolist() == [1000.0, 1000.5, 1001.0]


@pytest.mark.parametrize(
    ("view", "free"), [(Lines("y", x="alpha"), {"free": True, "name": "ccc"}), (HeatMap("y", x="alpha", y="name"), {})]
)
def test_settings_that_are_drawn_are_trained_at_each_of_their_values(view: Any, free: dict[str, Any]) -> None:
    mine = toy()
    cube = swept(mine)
    cube["y"][:] = np.nan
    shown = explore(cube, [view], experiment=mine)
    shown.set(**free)
    shown.train()
    assert shown.error == ""
    found = shown.cube["y"].sel({k: v for k, v in free.items() if k == "name"})
    assert found.notnull().all() and found.sel(alpha=1.0).values.flat[0] == found.sel(alpha=0.0).values.flat[0] + 1
    assert view.kind != "lines" or bool(shown.cube["y"].sel(name=["a", "bb"]).isnull().all()), "no other name"


def test_an_experiment_that_is_not_the_cubes() -> None:
    with pytest.raises(ValueError, match="comes from the experiment 'toy', not from 'other'"):
        explore(swept(toy()), experiment=toy("other"))
    with pytest.raises(ValueError, match="either compute= or experiment="):
        explore(swept(toy()), experiment=toy(), compute=toy().compute)


def test_beyond_the_ends_and_beside_the_names() -> None:
    view = explore(swept(toy()), experiment=toy(), free=True)
    view.set(alpha=-2.5)
    assert np.isnan(view._grid.take("y", view.state, ()))
    assert view.figure().axes
    view.train()
    view.set(alpha=4.0, name="ccc")
    view.train()
    assert view.error == ""
    assert view.cube["alpha"].values.tolist() == [-2.5, 0.0, 1.0, 4.0]
    assert view.cube["curve"].sel(alpha=4.0, name="ccc").values.tolist() == [4.0, 3.0]
    view.set(free=False)
    assert view.state["alpha"] == 4.0, "it is on the grid now"


def test_without_training_nothing_is_beyond() -> None:
    view = explore(swept(toy()), free=True)
    with pytest.raises(ValueError, match="alpha=4 is outside the grid, which runs from 0 to 1"):
        view.set(alpha=4.0)
    with pytest.raises(ValueError, match="with free=True a new value may be trained"):
        explore(swept(toy()), experiment=toy(), name="ccc")


def test_one_member_that_raises_blocks_no_other() -> None:
    def compute(setting: dict[str, Any], progress: Any, cancelled: Any) -> dict[str, Any]:
        if setting["seed"] == 1:
            raise FloatingPointError("loss is NaN")
        return {"y": np.full(2, setting["seed"])}

    cube = xr.Dataset({"y": (("seed", "k"), np.full((3, 2), np.nan))}, {"seed": [0, 1, 2]})
    view = SweepView(cube, Lines("y", x="k"), compute=compute)
    view.train()
    assert view.cube["y"].isel(k=0).values.tolist()[::2] == [0, 2]
    assert "FloatingPointError: loss is NaN (at seed=1; 2 of 3 are computed;" in view.error.split("\n")[0]
    assert view._job["message"] == "failed"


# -- the store -----------------------------------------------------------------------------------------


def test_results_are_written_to_the_store_and_come_back(tmp_path: Path) -> None:
    store, mine = tmp_path / "toy.zarr", toy()
    view = explore(swept(mine, store=store), experiment=mine, store=store, free=True, alpha=0.25, name="new")
    view.train()
    assert view.error == ""
    opened = xr.open_zarr(store, chunks=None)
    again = explore(opened, experiment=mine)
    assert again.cube["y"].sel(alpha=0.25, name="new").item() == 1000.25
    assert again.cube["curve"].sel(alpha=0.25, name="new").values.tolist() == [0.25, 3.0]
    again.set(free=True, alpha=3.0)
    again.train()  # a cube opened from a sweep's store writes there by itself
    assert 3.0 in explore(opened, experiment=mine).cube["alpha"].values
    assert swept(mine, store=store).sizes["alpha"] == 2, "the sweep goes on as before"
    other = explore(
        xl.sweep(mine, alpha=[0.0, 1.0], name=["a"], epochs=2, progress=False), experiment=mine, store=store
    )
    assert other.cube.sizes["alpha"] == 2, "results of other fixed settings do not join"


def test_a_damaged_result_is_passed_over(tmp_path: Path) -> None:
    mine = toy()
    view = explore(swept(mine), experiment=mine, store=tmp_path / "mine", free=True, alpha=0.25)
    view.train()
    (path,) = (tmp_path / "mine" / "trained").iterdir()
    path.write_bytes(path.read_bytes()[:50])
    assert explore(swept(mine), experiment=mine, store=tmp_path / "mine").cube.sizes["alpha"] == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="store must name a folder"):
        explore(swept(mine), store=tmp_path / "file")
