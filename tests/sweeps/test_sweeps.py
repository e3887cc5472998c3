from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from toy_experiments import CHEAP, DEADLY, DIVERGING, FAILING, INTERRUPTED, STACKED, lines
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.app import main as cli
from xmodal_lab.app import sweep as sweep_command
from xmodal_lab.papers import dml
from xmodal_lab.sweeps import band, sweep, trainer, workers
from xmodal_lab.sweeps import experiment as experiments
from xmodal_lab.sweeps import tasks as _tasks
from xmodal_lab.sweeps.cubes import fact, layout_of
from xmodal_lab.sweeps.experiment import Experiment, Variable, on_demand

HELPERS = Path(__file__).parents[1] / "helpers"
AXES = {"x": [0.0, 0.5, 1.0], "kind": ["plain", "other"], "seed": range(3)}
# A dml that trains in no time.
SMALL = {"epochs": 2, "width": 4, "batch_size": 20}


def quiet(experiment: str | Experiment, **given: object) -> xr.Dataset:
    return sweep(experiment, progress=False, **given)


# -- the cube ----------------------------------------------------------------------------------------


def test_a_cube_has_the_axes_the_variables_and_its_story() -> None:
    cube = quiet(CHEAP, nap=0, **AXES)
    assert dict(cube.sizes) == {"x": 3, "kind": 2, "seed": 3, "a": 24, "b": 24, "step": 4}
    assert cube["surface"].dims == ("x", "kind", "seed", "a", "b")
    expected = cube["x"] + cube["seed"] / 3 + 0 * xr.ones_like(cube["value"])
    xr.testing.assert_allclose(cube["value"], expected.transpose(*cube["value"].dims))
    assert cube["value"].attrs == {"long_name": "a value", "units": "m"}
    assert cube["x"].attrs["long_name"] == "a place"
    assert cube["curve"].dtype == "float32"
    facts = {name: fact(value) if str(value)[:1] in "[{" else value for name, value in cube.attrs.items()}
    assert all(isinstance(value, (str, int, float)) for value in cube.attrs.values())
    assert facts["experiment"] == "cheap"
    assert facts["defaults"] == CHEAP.defaults
    assert facts["settings"] == {"nap": 0}
    assert set(facts["versions"]) == {"xmodal_lab", "torch", "numpy", "python"}
    assert facts["device"] == "cpu"
    assert facts["members"] == 18
    assert facts["wall_seconds"] > 0
    assert facts["diverged"] == []
    assert cube["value"].sel(x=0.5, kind="plain", seed=2) == pytest.approx(0.5 + 2 / 3)
    assert cube.mean("seed")["surface"].dims == ("x", "kind", "a", "b")


@settings(max_examples=15, deadline=None)
@given(
    x=st.lists(st.floats(-5, 5).map(lambda v: round(v, 2)), min_size=1, max_size=3, unique=True),
    seed=st.one_of(st.integers(0, 5), st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True)),
)
def test_every_place_holds_the_member_of_its_settings(x: list[float], seed: object) -> None:
    cube = quiet(CHEAP.with_defaults(kind="other"), x=x, seed=seed)
    assert cube["value"].dims == (("x", "seed") if isinstance(seed, list) else ("x",))
    for place in np.ndindex(cube["value"].shape):
        at = {d: cube[d].values[i].item() for d, i in zip(cube["value"].dims, place, strict=True)}
        whole = {**CHEAP.defaults, "kind": "other", "seed": seed, **at}
        result = CHEAP.member(whole, lambda *_: None)
        assert cube["value"].values[place] == result["value"]
        np.testing.assert_array_equal(cube["surface"].values[place], result["surface"])


def test_a_cube_goes_to_netcdf_and_back(tmp_path) -> None:
    cube = quiet(CHEAP, nap=0, **AXES)
    cube.to_netcdf(tmp_path / "cheap.nc")
    with xr.open_dataset(tmp_path / "cheap.nc") as back:
        xr.testing.assert_equal(cube, back.load())
        assert back.attrs["defaults"] == cube.attrs["defaults"] and back.attrs["diverged"] == "[]"
    opened = xr.open_zarr(quiet(CHEAP, nap=0, store=tmp_path / "s.zarr", **AXES) and tmp_path / "s.zarr", chunks=None)
    opened.load().to_netcdf(tmp_path / "opened.nc")


def test_axes_of_any_kind_of_vector() -> None:
    for x in ((0, 1), np.array([0.0, 1.0]), torch.tensor([0.0, 1.0]), [0, 1.0], np.float32([0, 1])):
        assert quiet(CHEAP, x=x)["x"].values.tolist() == [0.0, 1.0]
    assert quiet(CHEAP, x=np.float64(0.5), seed=torch.tensor(2)).attrs["settings"] == '{"x": 0.5, "seed": 2}'


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"experiment": "dlm"}, ValueError, "unknown experiment 'dlm'; known: .*'dml'"),
        ({"experiment": "nowhere:X"}, ValueError, "no experiment at 'nowhere:X'"),
        ({"experiment": "toy_experiments:lines"}, TypeError, "is a function, not an Experiment"),
        ({"experiment": 3}, TypeError, "must be a name or an Experiment, got int"),
        ({"y": [1]}, ValueError, "unknown setting of 'cheap' 'y'"),
        ({"x": []}, ValueError, "axis 'x' is empty"),
        ({"x": [1.0, 1]}, ValueError, "axis 'x' holds 1.0 twice"),
        ({"seed": range(10**15)}, ValueError, "axis 'seed' has more than 1,000,000 values"),
        ({"seed": range(10**30)}, ValueError, "axis 'seed' has more than 1,000,000 values"),
        ({"seed": range(2000), "x": np.arange(2000.0)}, ValueError, r"4,000,000 members \(2000 seed x 2000 x\)"),
        ({"experiment": "dml", "epochs": 10**9, "log": None}, ValueError, "'epoch' has more than 1,000,000 values"),
        ({"x": [0.0, float("nan")]}, ValueError, "must be finite"),
        ({"x": [0.0, "a"]}, TypeError, "axis 'x' mixes float, str"),
        ({"x": [0.0, None]}, TypeError, "axis 'x' mixes"),
        ({"x": np.zeros((2, 2))}, ValueError, r"must be a vector, got shape \(2, 2\)"),
        ({"x": {1.0, 2.0}}, TypeError, "must be a list, tuple, range or vector, got a set"),
        ({"x": object()}, TypeError, "must be a number, a string, a bool or None"),
        ({"how": "fast"}, ValueError, "unknown how 'fast'"),
        ({"how": "stacked"}, ValueError, "'cheap' cannot be stacked"),
        ({"stack": 0}, ValueError, "stack must be at least 1"),
        ({"retries": -1}, ValueError, "retries must be at least 0"),
        ({"executor": 2}, TypeError, "must be a concurrent.futures.Executor, got int"),
        ({"executor": workers.Here(print), "how": "processes"}, ValueError, "not both"),
    ],
)
def test_bad_sweeps_are_refused_before_any_work(tmp_path, given: dict, error: type, message: str) -> None:
    log = tmp_path / "log"
    with pytest.raises(error, match=message):
        asked = {"experiment": CHEAP, "log": str(log), "seed": [0, 1], **given}
        quiet(**{k: v for k, v in asked.items() if v is not None})
    assert not lines(log)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (3.0, TypeError, "must return a dict"),
        (None, TypeError, "must return a dict .*, got NoneType"),
        ({"value": 1.0}, ValueError, r"returned no 'surface', 'curve', only 'value'; .* Variable\(optional=True\)"),
        ({"value": None, "surface": np.zeros((24, 24)), "curve": range(4)}, ValueError, "returned no 'value', only 's"),
        ({"valu": 1}, ValueError, "unknown variable .* 'valu'; known: 'value'"),
        ({"surface": np.zeros(3)}, ValueError, r"shape \(3,\), declared is \(24, 24\)"),
        ({"value": 1j}, TypeError, "real numbers, got complex"),
        ({"value": "high"}, TypeError, "real numbers, got str"),
        ({"curve": xr.DataArray([1.0], {"step": [9]})}, ValueError, "step = 9, which was not declared"),
        ({"curve": xr.DataArray([1.0], {"a": [1.0]})}, ValueError, r"dims \('a',\), declared are \('step',\)"),
    ],
)
def test_results_that_were_not_declared_are_named(result: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        quiet(dataclasses.replace(CHEAP, member=lambda s, r: result), x=[0.5])
    assert any("x=0.5" in note for note in raised.value.__notes__)


def test_results_of_many_kinds_are_taken() -> None:
    partly = xr.DataArray([[1.0], [2.0]], {"step": [3, 1], "seed": [0]}).isel(seed=0, drop=True)
    loose = dataclasses.replace(CHEAP, variables=on_demand(CHEAP.outputs({})))
    cube = quiet(
        dataclasses.replace(loose, member=lambda s, r: {"value": torch.tensor(2.0), "curve": partly, "surface": None})
    )
    assert cube["value"] == 2
    np.testing.assert_array_equal(cube["curve"], [np.nan, 2, np.nan, 1])
    assert cube["surface"].isnull().all()
    assert np.isinf(quiet(dataclasses.replace(loose, member=lambda s, r: {"value": np.inf}))["value"])


def test_experiments_that_make_no_sense() -> None:
    def make(**change: object) -> Experiment:
        return Experiment(**{"name": "e", "defaults": {"x": 0}, "member": print, "variables": ["v"], **change})

    with pytest.raises(ValueError, match="needs a name"):
        make(name="")
    with pytest.raises(TypeError, match="member must be a function"):
        make(member=3)
    with pytest.raises(ValueError, match="a setting cannot be called 'store'"):
        make(defaults={"store": 1})
    with pytest.raises(TypeError, match="default of 'x' must be a number"):
        make(defaults={"x": [1, 2]})
    with pytest.raises(ValueError, match="dtype of a variable 'int8'"):
        Variable(dtype="int8")
    with pytest.raises(ValueError, match="coordinates of dimension 'k' repeat"):
        Variable({"k": [1, 1]})
    for variables, message in (
        ([], "declares no variable"),
        (["x"], "variable and a setting called 'x'"),
        ({"v": Variable({"x": [1]})}, "dimension 'x' of variable 'v' has the name of a setting"),
        ({"v": Variable({"k": [1]}), "w": Variable({"k": [2]})}, "disagree on the coordinates of 'k'"),
    ):
        with pytest.raises(ValueError, match=message):
            quiet(make(variables=variables))
    with pytest.raises(TypeError, match="must be a Variable"):
        quiet(make(variables={"v": 1}))


def test_members_that_diverge_are_nan_and_named(tmp_path) -> None:
    for store in (None, tmp_path / "s.zarr"):
        with pytest.warns(RuntimeWarning, match="1 of 4 members diverged and are NaN; the first, x=1, seed=1: it went"):
            cube = quiet(DIVERGING, store=store, x=[0.0, 1.0], seed=[0, 1])
        np.testing.assert_array_equal(cube["value"], [[0, 0], [1, np.nan]])
        assert cube.attrs["diverged"] == '["x=1, seed=1: it went to infinity"]'
    log = tmp_path / "log"
    with pytest.warns(RuntimeWarning, match="diverged"):  # what diverged is not tried again
        again = quiet(DIVERGING, store=tmp_path / "s.zarr", x=[0.0, 1.0], seed=[0, 1])
    xr.testing.assert_equal(again, cube)
    assert not lines(log)


def test_a_member_that_fails_stops_the_sweep_and_is_named(tmp_path) -> None:
    log = tmp_path / "log"
    with pytest.raises(KeyError, match="no such thing") as error:
        quiet(FAILING, store=tmp_path / "s.zarr", seed=range(5), log=str(log))
    assert any("seed=2" in note for note in error.value.__notes__)
    assert any("2 of 5 members are computed; call sweep again with store=" in note for note in error.value.__notes__)
    with pytest.raises(KeyError) as error:
        quiet(FAILING, seed=range(5))
    assert any("give sweep a store= to keep them" in note for note in error.value.__notes__)


def test_an_interrupt_leaves_a_store_that_goes_on(tmp_path) -> None:
    asked = {"store": tmp_path / "s.zarr", "seed": range(5), "log": str(tmp_path / "log"), "flag": str(tmp_path / "f")}
    with pytest.raises(KeyboardInterrupt) as error:
        quiet(INTERRUPTED, **asked)
    assert any("2 of 5 members are computed" in note for note in error.value.__notes__)
    cube = quiet(INTERRUPTED, **asked)
    assert not cube["value"].isnull().any()
    assert len(lines(tmp_path / "log")) == 5


def test_progress_shows(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(CHEAP, seed=range(3))
    shown = capsys.readouterr().err
    assert "cheap" in shown
    assert "/3" in shown
    quiet(CHEAP, seed=range(3))
    assert capsys.readouterr().err == ""


# -- tasks -------------------------------------------------------------------------------------------


def test_the_same_thing_is_computed_once(tmp_path) -> None:
    log = tmp_path / "log"
    fixed = dataclasses.replace(CHEAP, normal=lambda s: {**s, "x": 0.0} if s["kind"] == "plain" else s)
    cube = quiet(fixed, log=str(log), **AXES)
    assert len(lines(log)) == 3 + 9
    assert (cube["value"].sel(kind="plain") == cube["value"].sel(kind="plain", x=0)).all()
    assert quiet(fixed, **AXES).equals(quiet(fixed, store=tmp_path / "s.zarr", **AXES))


def test_stacks_are_even_and_depend_on_the_grid_alone() -> None:
    layout, fixed = layout_of(STACKED, AXES)
    jobs = _tasks.jobs_of(STACKED, layout, fixed)

    def sizes(how: str, size: int, workers: int = 1) -> list[int]:
        return [len(task.jobs) for task in _tasks.tasks_of(STACKED, jobs, how, size, workers)]

    assert sizes("auto", 16) == [9, 9]
    assert sizes("auto", 4) == [3, 4, 3, 4, 4]
    assert sizes("auto", 16, workers=4) == [4, 5, 4, 5]
    assert sizes("sequential", 16) == sizes("stacked", 1) == [1] * 18
    mixed = dataclasses.replace(
        STACKED,
        stack_key=lambda s: None if s["x"] == 0 else s["kind"],
        stack_pays=lambda s: s["kind"] == "plain",
    )
    tasks = _tasks.tasks_of(mixed, jobs, "auto", 16, 1)
    assert sorted(len(task.jobs) for task in tasks) == [1] * 12 + [6]
    assert {p for task in tasks for p in task.places} == set(layout.places())
    forced = _tasks.tasks_of(mixed, jobs, "stacked", 16, 1)
    assert sorted(len(task.jobs) for task in forced) == [1] * 6 + [6, 6]


def test_a_stack_of_the_wrong_length_is_named() -> None:
    with pytest.raises(ValueError, match="gave 1 results for 3 members"):
        quiet(dataclasses.replace(STACKED, stack=lambda s, r: [{}]), seed=range(3))
    with pytest.raises(KeyError) as error:
        quiet(dataclasses.replace(STACKED, stack=lambda s, r: [KeyError("x")] * len(s)), seed=range(5))
    assert any("in the members with" in note for note in error.value.__notes__)


def test_only_long_sweeps_go_to_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tasks, "cores", lambda: 2)
    layout, fixed = layout_of(CHEAP, AXES)
    for seconds, expected in ((1.0, False), (10.0, True)):
        slow = dataclasses.replace(CHEAP, seconds=lambda s, seconds=seconds: seconds)
        tasks = _tasks.tasks_of(slow, _tasks.jobs_of(slow, layout, fixed), "auto", 16, 1)
        assert _tasks.worth_processes(slow, tasks) is expected
    monkeypatch.setattr(_tasks, "cores", lambda: 1)
    assert not _tasks.worth_processes(slow, tasks)


# -- confidence bands --------------------------------------------------------------------------------


def test_a_band_is_the_t_interval() -> None:
    values = np.random.default_rng(0).standard_normal((3, 8))
    values[1, 5:] = np.nan
    cube = xr.Dataset({"v": (("x", "seed"), values, {"units": "m"}), "w": (("x",), [1.0, 2, 3])}, {"x": [0, 1, 2]})
    found = band(cube, level=0.9)
    assert found["v"].dims == ("x", "band")
    assert found["v"].attrs == {"units": "m"}
    xr.testing.assert_equal(found["w"], cube["w"])
    for i in range(3):
        row = values[i][~np.isnan(values[i])]
        low, high = stats.t.interval(0.9, len(row) - 1, row.mean(), stats.sem(row))
        np.testing.assert_allclose(found["v"][i], [row.mean(), low, high])
    lone = band(cube["v"].isel(seed=[0]))
    assert lone.sel(band="mean").notnull().all()
    assert lone.sel(band="low").isnull().all()
    with pytest.raises(ValueError, match="unknown dimension 'sed'"):
        band(cube, "sed")
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        band(cube, level=95)


# -- dml ---------------------------------------------------------------------------------------------


def test_dml_members_are_fits_and_their_landscapes() -> None:
    ds = toy()
    mine = dml.experiment(ds, **SMALL)
    axes = {"alpha": [0.0, 1.0], "pairing": ["same_class", "shuffled"], "seed": [0, 1], "eigenvalues": 2}
    cube = quiet(mine, landscape_points=3, how="sequential", **axes)
    net = xl.LateFusion.for_dataset(ds, fusion="concat_linear", architecture="mlp", width=4, seed=1)
    run = xl.fit(net, ds, pairing="shuffled", epochs=2, batch_size=20, choose="best", seed=1)
    at = cube.sel(alpha=1, pairing="shuffled", seed=1)
    loss = xl.loss_on(run.model, ds.test)
    assert at["accuracy"] == run.score
    assert at["loss"].item() == pytest.approx(float(loss().detach()))
    np.testing.assert_array_equal(at["accuracy_curve"], run.history["test_accuracy"])
    np.testing.assert_array_equal(at["train_loss_curve"], run.history["loss"])
    np.testing.assert_array_equal(at["landscape"], xl.landscape.plane(loss, points=3))
    np.testing.assert_allclose(at["eigenvalue"], xl.curvature.top_eigenvalues(loss, 2).values, rtol=1e-6)
    at_no_share = cube.sel(alpha=0)
    xr.testing.assert_equal(
        at_no_share.sel(pairing="shuffled", drop=True), at_no_share.sel(pairing="same_class", drop=True)
    )


def test_dml_stacks_equal_its_members() -> None:
    ds = toy().to(dtype=torch.float64)
    mine = dml.experiment(ds, **SMALL)
    axes = {
        "modalities": ["image", "audio", "image+audio"],
        "alpha": [0.0, 0.5, 1.0],
        "seed": [0, 1],
        "lr": [1e-3, 1e-2],
    }
    alone, together = (quiet(mine, how=how, **axes) for how in ("sequential", "stacked"))
    xr.testing.assert_allclose(alone, together, rtol=1e-10, atol=1e-10)
    assert alone["accuracy"].dims == ("modalities", "alpha", "seed", "lr")
    lone = alone["accuracy"].sel(modalities="image")
    assert (lone == lone.isel(alpha=0)).all()
    chosen = _tasks.tasks_of(mine, _tasks.jobs_of(mine, *layout_of(mine, axes)), "auto", 99, 1)
    assert [len(task.jobs) for task in chosen] == [2 * 2 * (1 + 1 + 3)]


def test_dml_by_name_knows_the_digits() -> None:
    cube = quiet("dml", alpha=[0.0, 1.0], epochs=1, images_per_class=5, clips_per_class=10)
    assert cube.attrs["experiment"] == "dml"
    assert 0 <= float(cube["accuracy"].min()) <= float(cube["accuracy"].max()) <= 1
    assert experiments.get("dml").compute({"epochs": 1, "images_per_class": 5, "clips_per_class": 10})["accuracy"] == (
        cube["accuracy"].sel(alpha=1)
    )


def test_a_cube_can_train_one_more_member(tmp_path) -> None:
    small = {"images_per_class": 5, "clips_per_class": 10, "eigenvalues": 1}
    quiet("dml", alpha=[0.0, 1.0], epochs=[1, 2], store=tmp_path / "s.zarr", **small)
    compute = trainer(xr.open_zarr(tmp_path / "s.zarr", chunks=None))
    seen: list[float] = []
    found = compute({"alpha": 0.5, "epochs": 1}, lambda share, message: seen.append(share), lambda: False)
    expected = quiet("dml", alpha=[0.5], epochs=[1, 2], **small).sel(alpha=0.5, epochs=1)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    for name, values in expected.data_vars.items():
        np.testing.assert_array_equal(found[name], values)
    with pytest.raises(ValueError, match="share must lie between 0 and 1"):
        compute({"alpha": 2.0})
    with pytest.raises(ValueError, match="the cube's experiment is 'cheap', which is not known by name"):
        trainer(quiet(CHEAP))


def test_dml_epochs_as_an_axis_leave_the_rest_of_shorter_curves_empty() -> None:
    cube = quiet(dml.experiment(toy(), **SMALL), epochs=[1, 3], eigenvalues=[0, 1])
    np.testing.assert_array_equal(cube["accuracy_curve"].isnull().sum("epoch"), [[2, 2], [0, 0]])
    np.testing.assert_array_equal(cube["eigenvalue"].isnull().isel(k=0), [[True, False]] * 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": [0.5, 1.5]}, r"share must lie between 0 and 1, got 1.5. \(at alpha=1.5\)"),
        ({"pairing": "same"}, "unknown pairing 'same'"),
        ({"modalities": "image+smell"}, "unknown modality 'smell'"),
        ({"fusion": ["additive", "mean"]}, "unknown fusion 'mean'"),
        ({"landscape_points": 2}, "landscape_points must be at least 3"),
        ({"landscape_points": [3, 5]}, "share the landscape's grid"),
        ({"look_at": "validation"}, "unknown look_at"),
        ({"eigenvalues": -1}, "eigenvalues must be at least 0"),
        ({"rows": "some"}, "unknown rows"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"width": 0}, "width must be at least 1"),
    ],
)
def test_dml_refuses_what_makes_no_sense(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quiet("dml", **given)


def test_a_store_knows_other_data_under_the_same_name(tmp_path) -> None:
    quiet(dml.experiment(toy(), **SMALL), store=tmp_path / "s.zarr")
    with pytest.raises(ValueError, match="version of the experiment"):
        quiet(dml.experiment(toy(seed=1), **SMALL), store=tmp_path / "s.zarr")


# -- executors ---------------------------------------------------------------------------------------


def test_threads_give_the_same_cube() -> None:
    ds = toy()
    mine = dml.experiment(ds, **SMALL)
    with ThreadPoolExecutor(4) as pool:
        threaded = quiet(mine, executor=pool, how="sequential", seed=range(8))
    xr.testing.assert_equal(threaded, quiet(mine, how="sequential", seed=range(8)))


class Flaky(Executor):
    """Loses every other task with its worker."""

    def __init__(self, error: Exception, good: bool = True) -> None:
        self.error, self.good, self.calls = error, good, 0

    def submit(self, fn, /, *args, **kwargs) -> Future:  # type: ignore[no-untyped-def, override]
        self.calls += 1
        future: Future = Future()
        if self.calls % 2 or not self.good:
            future.set_exception(self.error)
        else:
            future.set_result(fn(*args, **kwargs))
        return future


class KilledWorker(Exception):
    """As dask calls it."""


def test_lost_tasks_are_run_again_a_bounded_number_of_times() -> None:
    cube = quiet(CHEAP, executor=Flaky(KilledWorker()), seed=range(5))
    xr.testing.assert_equal(cube, quiet(CHEAP, seed=range(5)))
    with pytest.raises(RuntimeError, match=r"worker of the member with seed=\d died 3 times"):
        quiet(CHEAP, executor=Flaky(KilledWorker(), good=False), seed=range(5), retries=2)
    with pytest.raises(OSError, match="disk"):
        quiet(CHEAP, executor=Flaky(OSError("disk")), seed=range(5))


@pytest.mark.once
def test_processes_survive_a_killed_worker(tmp_path) -> None:
    asked = {"seed": range(5), "flag": str(tmp_path / "flag"), "log": str(tmp_path / "log")}
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        assert pool.submit(torch.get_num_threads).result() >= 1
        with pytest.warns(UserWarning, match="a worker process died; its members are computed again"):
            cube = quiet(DEADLY, executor=pool, store=tmp_path / "s.zarr", **asked)
    expected = quiet(CHEAP, seed=range(5))
    for name, values in expected.data_vars.items():
        np.testing.assert_array_equal(cube[name], values)
    assert len(lines(tmp_path / "log")) <= 5 + 4


@pytest.mark.once
def test_a_member_that_always_kills_its_worker_ends_the_sweep() -> None:
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
        pytest.warns(UserWarning, match="a worker process died"),
        pytest.raises(RuntimeError, match=r"the worker of the member with seed=2 died 2 times"),
    ):
        quiet(DEADLY, executor=pool, seed=[2], retries=1)


SCRIPT = """
import numpy as np
from xmodal_lab.sweeps import sweep
print("imported")
asked = {"alpha": [0.0, 1.0], "epochs": 1, "images_per_class": 5, "clips_per_class": 9}
alone, spread = (sweep("dml", how=how, progress=False, **asked) for how in ("sequential", "processes"))
print(spread["accuracy"].notnull().all().item())
for name, values in alone.data_vars.items():
    np.testing.assert_array_equal(spread[name].values, values.values, err_msg=str(name))
print("the bits of one process")
"""


@pytest.mark.slow
@pytest.mark.once
def test_processes_of_our_own_need_no_guard_in_the_script_and_give_its_bits(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment(), timeout=120)
    assert done.stdout.splitlines() == ["imported", "True", "the bits of one process"], done.stderr


@pytest.mark.once
@pytest.mark.slow
def test_a_dask_cluster_that_loses_a_worker(tmp_path) -> None:
    distributed = pytest.importorskip("distributed")
    asked = {"x": [0.0, 0.5], "seed": range(8), "log": str(tmp_path / "log")}
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        client.wait_for_workers(2, timeout=60)  # on a busy machine the second comes late
        assert workers.workers(executor) == 2
        whole = quiet(CHEAP, executor=executor, **asked)
        victim = next(iter(client.run(os.getpid).values()))
        store = tmp_path / "s.zarr"
        done_then: list[int] = []

        def kill_when_three_are_done() -> None:
            while len(list((store / "done").glob("*.json"))) < 3:
                time.sleep(0.01)
            os.kill(victim, signal.SIGKILL)
            done_then.append(len(list((store / "done").glob("*.json"))))

        killer = Thread(target=kill_when_three_are_done, daemon=True)
        killer.start()
        cube = quiet(CHEAP, executor=executor, store=store, nap=0.1, **asked)
        killer.join()
        assert 3 <= done_then[0] < 16
        assert victim not in client.run(os.getpid).values()
        stacked = quiet(STACKED, executor=executor, **asked)
    xr.testing.assert_equal(cube, whole)
    xr.testing.assert_equal(cube, quiet(CHEAP, **asked))
    xr.testing.assert_allclose(stacked, whole, atol=1e-6)


# -- the command -------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HELPERS), str(HELPERS.parents[1])]),
        "OMP_NUM_THREADS": "1",
    }


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("0:1:5", 0.0, [0, 0.25, 0.5, 0.75, 1]),
        ("0:1:11", 0.0, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        ("0.5", 0.0, 0.5),
        ("1e-4,1e-3", 0.0, [1e-4, 1e-3]),
        ("0,0.5:1:3", 0.0, [0, 0.5, 0.75, 1]),
        ("-1:1:3", 0.0, [-1, 0, 1]),
        ("0:5", 0, [0, 1, 2, 3, 4]),
        ("3", 0, 3),
        ("3,", 0, "error"),
        ("10:50:5", 0, [10, 20, 30, 40, 50]),
        ("0:1:3", 0, "error"),
        ("5:5", 0, "error"),
        ("0:5", 0.0, "error"),
        ("0:1:0", 0.0, "error"),
        ("a", 0.0, "error"),
        ("1.5", 0, "error"),
        ("fixed,same_class", "x", ["fixed", "same_class"]),
        ("fixed", "x", "fixed"),
        ("C:name", "x", "C:name"),
        ("true,false", True, [True, False]),
        ("maybe", True, "error"),
        ("3", None, 3),
        ("0.5,none", None, [0.5, None]),
        ("word", None, "word"),
    ],
)
def test_the_grammar_of_values(text: str, default: object, expected: object) -> None:
    if expected == "error":
        with pytest.raises(ValueError, match=r"--x .*: expected .*, such as"):
            sweep_command.values("x", text, default)
        return
    found = sweep_command.values("x", text, default)
    assert found == expected
    assert [type(v) for v in np.atleast_1d(found).tolist()] == [type(v) for v in np.atleast_1d(found).tolist()]


def test_the_command_sweeps_prints_a_table_and_goes_on(
    tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["sweep", "toy_experiments:CHEAP", "--x", "0:1:3", "--kind", "plain,other", "--seed=0:3", "--log", "log"]
    assert cli.main(line) == 0
    printed = capsys.readouterr()
    assert "18 members in runs/cheap.zarr" in printed.out
    assert "0.5 plain 0.8333 ± 0.83" in " ".join(printed.out.split())
    assert "/18" in printed.err
    assert cli.main([*line, "--quiet"]) == 0
    assert len(lines(tmp_path / "log")) == 18
    assert capsys.readouterr().err == ""
    opened = xr.open_zarr("runs/cheap.zarr", chunks=None)
    assert opened["value"].dims == ("x", "kind", "seed")
    assert cli.main(["sweep", "toy_experiments:CHEAP", "--seed", "1", "--quiet", "--store", "one.zarr"]) == 0
    assert "0.3333" in capsys.readouterr().out
    assert cli.main(["sweep", "toy_experiments:DIVERGING", "--x", "0,1", "--seed", "0:2", "--quiet"]) == 0
    assert "diverged: x=1, seed=1: it went to infinity" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["nothing"], "unknown experiment 'nothing'; known: "),
        (["dml", "--alfa", "0:1:3"], "unknown option of 'dml': 'alfa'.*Did you mean 'alpha'"),
        (["dml", "alpha", "0:1:3"], "'alpha' stands alone; a setting is written --alpha VALUES"),
        (["dml", "--alpha", "0:1"], "--alpha 0:1: expected start:stop:count or numbers, such as 0:1:21"),
        (["dml", "--alpha", "0:2:3"], "share must lie between 0 and 1"),
        (["toy_experiments:CHEAP", "--store", "taken"], "taken is not the store of a sweep"),
    ],
)
def test_the_command_refuses_before_any_work(
    tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    assert cli.main(["sweep", *line]) == 2
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep"]) == 2
    assert "experiments: bench, cox, dml, synergy" in capsys.readouterr().out
    assert cli.main(["sweep", "--help"]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(["sweep", "dml", "--help"])
    shown = capsys.readouterr().out
    assert "--landscape-points" in shown
    assert "0:1:21" in shown


@pytest.mark.once
@pytest.mark.slow
def test_control_c_leaves_a_store_and_says_how_to_go_on(tmp_path) -> None:
    line = [sys.executable, "-m", "xmodal_lab", "sweep", "toy_experiments:CHEAP", "--seed", "0:60", "--nap", "0.1"]
    line = [sys.executable, "-c", "import sys; from xmodal_lab.app.main import main; sys.exit(main())", *line[3:]]
    process = subprocess.Popen(
        line, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    done = tmp_path / "runs" / "cheap.zarr" / "done"
    deadline = time.monotonic() + 60
    while not (done.is_dir() and any(done.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "of 60 members are computed. They are in runs/cheap.zarr: run the same line to go on." in said
    assert "Traceback" not in said
    assert 0 < len(list(done.iterdir())) < 60
    assert not list((tmp_path / "runs").glob("*.part"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signals")
def test_a_worker_that_crashed_is_not_told_to_get_more_memory() -> None:
    from xmodal_lab.sweeps.workers import Ended

    crashed, killed = Ended(-signal.SIGSEGV), Ended(-signal.SIGKILL)
    assert "a crash in compiled code" in crashed.told and "faulthandler" in crashed.remedy
    assert "out of memory" in killed.told and "more memory" in killed.remedy == Ended(0).remedy
