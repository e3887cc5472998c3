from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import warnings
from concurrent.futures import Executor, Future
from pathlib import Path

import children
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from kill_sweeps import AXES, MEMBERS, run
from toy_experiments import CHEAP, STACKED, lines

import xmodal_lab as xl
from xmodal_lab import sweeps
from xmodal_lab.sweeps import chunks, groups, sweep
from xmodal_lab.sweeps import facts as sweep_facts
from xmodal_lab.sweeps.cubes import Layout
from xmodal_lab.sweeps.experiment import Variable
from xmodal_lab.sweeps.facts import StoreError
from xmodal_lab.sweeps.marks import Mark
from xmodal_lab.sweeps.store import Store
from xmodal_lab.utils.locks import TaskLock

HELPERS = Path(__file__).parents[1] / "helpers"


def test_a_store_holds_the_cube_and_opens_without_us(tmp_path) -> None:
    cube = sweep(CHEAP, store=tmp_path / "deep" / "cheap.zarr", progress=False, **AXES)
    opened = xr.open_zarr(tmp_path / "deep" / "cheap.zarr", chunks=None).load()
    xr.testing.assert_equal(cube, opened)
    for name in (*cube.data_vars, *cube.coords):
        assert opened[name].attrs == cube[name].attrs
    for name in ("experiment", "defaults", "settings", "versions", "device", "commit"):
        assert opened.attrs[name] == cube.attrs[name]
    assert opened["curve"].dtype == "float32"
    group = zarr.open_group(tmp_path / "deep" / "cheap.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert group["surface"].chunks == (1, 1, 1, 24, 24)
    assert not list(tmp_path.glob("**/*.part"))
    assert not list(tmp_path.glob("**/claims/*"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (0,)])
@pytest.mark.parametrize("axes", [0, 2])
def test_a_chunk_is_the_file_that_zarr_writes(tmp_path, axes: int, shape: tuple[int, ...], dtype: str) -> None:
    variable = Variable({f"d{k}": range(n) for k, n in enumerate(shape)}, dtype=dtype)
    layout = Layout(dict.fromkeys("xy"[:axes], (0, 1)), {"v": variable})
    values = np.random.default_rng(0).standard_normal(shape[::-1]).astype(dtype).T  # not contiguous
    odd = np.where(np.arange(values.size).reshape(shape) % 2, np.nan, values).astype(dtype)
    for place in [(1,) * axes, (0,) * axes]:
        for k, written in enumerate([values, odd, np.full_like(values, np.nan)]):
            folders = [tmp_path / f"{name}{k}{place}" for name in ("ours", "theirs")]
            for folder in folders:
                groups.fill(folder, layout, {})
            array = groups.opened(folders[1], layout)["v"]
            array[place] = values  # what stood there before
            chunks.write(folders[0] / "v", place, values)
            array[place] = written
            chunks.write(folders[0] / "v", place, written)
            mine, theirs = (
                {p.relative_to(f): p.read_bytes() for p in (f / "v").rglob("*") if p.is_file()} for f in folders
            )
            assert mine == theirs
            np.testing.assert_array_equal(groups.opened(folders[0], layout)["v"][place], written)


def test_a_store_that_zarr_encodes_otherwise_is_refused(tmp_path) -> None:
    place = tmp_path / "s.zarr"
    run("CHEAP", place)
    held = json.loads((place / "curve" / "zarr.json").read_text(encoding="utf-8"))
    held["codecs"] = [codec for codec in held["codecs"] if codec["name"] != "crc32c"]
    (place / "curve" / "zarr.json").write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(
        StoreError, match=r"is damaged \('curve' is cut or encoded otherwise than here\)\. Name another"
    ):
        run("CHEAP", place)


def test_a_store_of_an_earlier_version_is_read(tmp_path) -> None:
    place = tmp_path / "s.zarr"
    first = run("CHEAP", place, tmp_path / "log")
    held = json.loads((place / "zarr.json").read_text(encoding="utf-8"))
    for name in ("defaults", "settings", "versions", "xmodal_sweep"):  # were no JSON text, but the thing itself
        held["attributes"][name] = json.loads(held["attributes"][name])
    (place / "zarr.json").write_text(json.dumps(held), encoding="utf-8")
    xr.testing.assert_equal(first, run("CHEAP", place, tmp_path / "log"))
    assert len(lines(tmp_path / "log")) == MEMBERS


def test_a_link_to_a_folder_serves_as_a_store(tmp_path) -> None:
    (tmp_path / "scratch").mkdir()
    for name, target in (("there", "scratch"), ("not yet", "later")):
        (tmp_path / name).symlink_to(tmp_path / target)
        cube = sweep(CHEAP, store=tmp_path / name, progress=False, **AXES)
        xr.testing.assert_equal(sweep(CHEAP, store=tmp_path / name, progress=False, **AXES), cube)
        assert (tmp_path / name).is_symlink() and (tmp_path / target / "zarr.json").is_file()


@pytest.mark.parametrize("address", ["s3://bucket/x.zarr", "file:///tmp/x.zarr", "memory://x"])
def test_an_address_is_no_folder_of_that_name(tmp_path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="store must be a path on this machine, got the address"):
        sweep(CHEAP, store=address, progress=False, **AXES)
    assert not list(tmp_path.iterdir())


def test_junk_in_a_store_is_no_mark_and_no_store(tmp_path) -> None:
    cube = sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES)
    for mark in (tmp_path / "s.zarr" / "done").iterdir():
        mark.write_text("[" * 100_000)
    xr.testing.assert_equal(sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES), cube)
    facts = json.loads((tmp_path / "s.zarr" / "zarr.json").read_text())
    facts["attributes"]["xmodal_sweep"] = 5
    (tmp_path / "s.zarr" / "zarr.json").write_text(json.dumps(facts))
    with pytest.raises(StoreError, match="is not the store of a sweep"):
        sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES)


class Eager(Executor):
    """An executor as one writes it who has not read PEP 3148."""

    def __init__(self, answer) -> None:
        self.answer = answer

    def submit(self, fn, /, *args, **kwargs):
        return self.answer(fn, *args, **kwargs)


def _settled(_fn, *_args, **_kwargs) -> Future:
    future: Future = Future()
    future.set_result("done")
    return future


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda fn, *a, **k: fn(*a, **k), r"Eager.submit must return a concurrent.futures.Future, got tuple"),
        (_settled, "Eager gave a str for a task; an executor must call what it is given"),
    ],
)
def test_an_executor_that_is_none(tmp_path, answer, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, executor=Eager(answer), **AXES)
    truth = sweep(CHEAP, progress=False, **AXES)
    xr.testing.assert_equal(sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES), truth)


def test_what_is_done_is_not_computed_again(tmp_path) -> None:
    log = tmp_path / "log"
    first = run("CHEAP", tmp_path / "s.zarr", log)
    assert len(lines(log)) == MEMBERS
    again = run("CHEAP", tmp_path / "s.zarr", log)
    assert len(lines(log)) == MEMBERS
    xr.testing.assert_equal(first, again)
    assert again.attrs["compute_seconds"] == pytest.approx(first.attrs["compute_seconds"])
    for mark in sorted((tmp_path / "s.zarr" / "done").iterdir())[:3]:
        mark.unlink()
    xr.testing.assert_equal(first, run("CHEAP", tmp_path / "s.zarr", log))
    assert len(lines(log)) == MEMBERS + 3


def test_an_unfinished_member_does_not_count_and_a_cut_off_chunk_is_not_read(tmp_path) -> None:
    cube = run("CHEAP", tmp_path / "s.zarr")
    mark = next((tmp_path / "s.zarr" / "done").glob("0-1-2.*.json"))
    mark.unlink()
    (tmp_path / "s.zarr" / "surface" / "c" / "0" / "1" / "2" / "0" / "0").write_bytes(b"half")
    layout = Layout({k: tuple(v) for k, v in AXES.items()}, CHEAP.outputs({}))
    held = Store(tmp_path / "s.zarr", layout, *facts())
    assert len(held.finished()) == MEMBERS - 1
    arrays = held.read(held.finished())
    assert np.isnan(arrays["surface"][0, 1, 2]).all()
    assert np.isnan(arrays["value"][0, 1, 2])
    np.testing.assert_array_equal(arrays["surface"][1:], cube["surface"][1:])
    xr.testing.assert_equal(cube, run("CHEAP", tmp_path / "s.zarr"))


def facts() -> tuple[dict, dict]:
    identity = {
        "experiment": "cheap", "version": "1", "xmodal_lab": xl.__version__, "defaults": CHEAP.defaults,
        "settings": {"log": ""},
    }  # fmt: skip
    return identity, sweeps.environment(CHEAP, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiment": STACKED}, "has experiment 'cheap', this sweep has 'stacked'"),
        ({"experiment": dataclasses.replace(CHEAP, version="2")}, "version of the experiment '1', this sweep has '2'"),
        ({"experiment": CHEAP.with_defaults(seed=7)}, "default 'seed' as 0, this sweep has 7"),
        ({"experiment": dataclasses.replace(CHEAP, variables=["value"])}, "variable 'surface' as .* none of that name"),
        ({"nap": 0.001}, "fixed setting 'nap' as 0.0, this sweep has 0.001"),
        ({"x": ["left"]}, r"axis 'x' of the store .* holds values of type float, such as 0.0; 'left' cannot join them"),
        ({"nap": [0.0], "log": "other"}, "fixed setting 'log' as '', this sweep has 'other'"),
    ],
)
def test_a_store_of_another_sweep_is_refused_with_the_reason(tmp_path, change: dict, message: str) -> None:
    sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES)
    asked = {"experiment": CHEAP, **AXES, **change}
    with pytest.raises(StoreError, match=message) as error:
        sweep(store=tmp_path / "s.zarr", progress=False, **asked)
    assert "delete this folder to begin anew" in str(error.value)


def test_a_setting_that_shapes_a_variable_is_named_itself(tmp_path) -> None:
    sweep("dml", epochs=1, seed=[0], store=tmp_path / "s.zarr", progress=False)
    with pytest.raises(StoreError, match="fixed setting 'epochs' as 1, this sweep has 2"):
        sweep("dml", epochs=2, seed=[0], store=tmp_path / "s.zarr", progress=False)


def test_another_version_of_the_lab_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES)
    monkeypatch.setattr("xmodal_lab.sweeps.sweeping.__version__", "9.9")
    with pytest.raises(StoreError, match=r"version of xmodal_lab '.*', this sweep has '9.9'"):
        sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES)
    monkeypatch.undo()
    monkeypatch.setattr(sweep_facts, "FORMAT", 2)
    with pytest.raises(StoreError, match="store format 1, this sweep has 2"):
        sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES)


def test_another_torch_warns(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES)
    now = sweeps.environment(CHEAP, {})
    monkeypatch.setattr("xmodal_lab.sweeps.sweeping.environment", lambda *_: {**now, "torch": "1.0"})
    with pytest.warns(UserWarning, match=r"another environment \(torch .* → 1.0\)"):
        sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, **AXES)


def test_a_path_that_is_no_store(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file; name a folder"):
        sweep(CHEAP, store=tmp_path / "file", progress=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="is not the store of a sweep"):
        sweep(CHEAP, store=tmp_path / "other", progress=False)
    assert (tmp_path / "other" / "letter.txt").read_text() == "dear"
    (tmp_path / "empty").mkdir()
    assert sweep(CHEAP, store=tmp_path / "empty", progress=False)["value"] == 0


def test_no_axis_and_axes_of_every_kind(tmp_path) -> None:
    one = sweep(CHEAP, store=tmp_path / "one.zarr", progress=False, seed=3)
    assert one["value"].shape == ()
    xr.testing.assert_equal(one, sweep(CHEAP, store=tmp_path / "one.zarr", progress=False, seed=3))
    kinds = {"yes": True, "count": 1, "name": "a", "share": 0.5}
    mine = dataclasses.replace(
        CHEAP, defaults=kinds, member=lambda s, r: {"v": s["count"] * s["share"]}, variables={"v": Variable({})}
    )
    axes = {"yes": [True, False], "count": np.arange(2), "name": ["a", "b"], "share": np.float32([0.5, 1])}
    cube = sweep(mine, store=tmp_path / "kinds.zarr", progress=False, **axes)
    xr.testing.assert_equal(cube, xr.open_zarr(tmp_path / "kinds.zarr", chunks=None).load())
    assert cube["v"].sel(yes=True, count=1, name="b", share=0.5) == 0.5


def test_half_made_stores_are_swept_away_in_time(tmp_path) -> None:
    old, new = (tmp_path / f"s.zarr.{name}.part" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    run("CHEAP", tmp_path / "s.zarr")
    assert not old.exists()
    assert new.exists()


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3), max_size=3),
    own=st.lists(st.integers(1, 3), max_size=2),
    dtype=st.sampled_from(["float64", "float32"]),
    dice=st.randoms(use_true_random=False),
)
def test_what_was_written_is_read_and_nothing_else(sizes: list[int], own: list[int], dtype: str, dice) -> None:
    axes = {f"x{i}": tuple(range(n)) for i, n in enumerate(sizes)}
    variable = Variable({f"d{i}": range(n) for i, n in enumerate(own)}, dtype=dtype)
    layout = Layout(axes, {"v": variable, "w": Variable()})
    places = list(layout.places())
    dice.shuffle(places)
    written = places[: dice.randint(0, len(places))]
    expected = layout.empty()
    with tempfile.TemporaryDirectory() as folder:
        writers = [Store(Path(folder) / "s.zarr", layout, *facts()) for _ in range(2)]
        while written:
            task, written = written[: dice.randint(1, 3)], written[3:]
            arrays = {"v": np.random.default_rng(len(written)).random(variable.shape).astype(dtype), "w": np.float64(1)}
            if dice.random() < 0.2:
                arrays = "it diverged"
            for place in task if isinstance(arrays, dict) else ():
                expected["v"][place], expected["w"][place] = arrays["v"], arrays["w"]
            dice.choice(writers).write([(task, arrays)], 0.5)
        for store in writers:
            store.refresh()
            found = store.read(store.finished())
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values)
        assert writers[0].marks == writers[1].marks


def test_a_claim_is_one_process_at_a_time(tmp_path) -> None:
    path = tmp_path / "task.lock"
    claim = TaskLock.take(path)
    assert claim is not None
    assert TaskLock.take(path) is None
    claim.release()
    again = TaskLock.take(path)
    assert again is not None
    again.release()


def test_a_mark_survives_the_journey() -> None:
    mark = Mark(((0, 1), (2, 3)), 1.5, {(2, 3): "it diverged"})
    assert Mark.loads(mark.dumps()) == mark
    assert Mark.loads(Mark(((),), 0.0, {(): "x"}).dumps()).failed == {(): "x"}


# -- killed runs -------------------------------------------------------------------------------------


def driven(*arguments: object) -> list[dict]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), str(HELPERS.parents[1])])}
    done = children.python((HELPERS / "kill_sweeps.py").read_text(), *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr, done.stderr
    found: list[dict] = json.loads(done.stdout)
    return found


def assert_whole(found: list[dict], lost: int) -> None:
    """Every store equals the uninterrupted run bit for bit; each kill cost at most ``lost`` members."""
    for one in found:
        expected = run(one["experiment"], None)
        opened = xr.open_zarr(one["store"], chunks=None).load()
        for name, values in expected.data_vars.items():
            assert values.values.tobytes() == opened[name].values.tobytes(), name
        begun = len(lines(Path(one["log"])))
        assert MEMBERS <= begun <= MEMBERS + lost * one["kills"]


@pytest.mark.slow
def test_thirty_kills_at_random_moments_lose_nothing(tmp_path, faults) -> None:
    found = driven("random", tmp_path, 30, 0)
    assert sum(one["kills"] for one in found) >= 30
    faults("SIGKILL", sum(one["kills"] for one in found))
    assert_whole(found, lost=4)


@pytest.mark.slow
def test_kills_inside_writes_lose_nothing(tmp_path, faults) -> None:
    found = driven("inside", tmp_path)
    assert found[0]["kills"] >= 6
    faults("SIGKILL", found[0]["kills"])
    assert_whole(found, lost=1)


@pytest.mark.slow
def test_two_processes_on_one_store_share_the_work(tmp_path, faults) -> None:
    both, one_killed = driven("together", tmp_path)
    assert both["kills"] == 0
    faults("SIGKILL", one_killed["kills"])
    faults("two processes on one store", 2)
    assert len(lines(Path(both["log"]))) == MEMBERS
    assert_whole([both, one_killed], lost=1)


def test_reading_while_another_writes_gives_whole_members_or_nan(tmp_path) -> None:
    layout = Layout({"x": (0.0, 1.0)}, {"v": Variable({"k": range(3)})})
    identity, environment = facts()
    writer = Store(tmp_path / "s.zarr", layout, identity, environment)
    reader = Store(tmp_path / "s.zarr", layout, identity, environment)
    writer.write([([(1,)], {"v": np.arange(3.0)})], 0.1)
    assert reader.finished() == set()
    reader.refresh()
    assert reader.finished() == {(1,)}
    np.testing.assert_array_equal(reader.read({(1,)})["v"], [[np.nan] * 3, [0, 1, 2]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xr.open_zarr(tmp_path / "s.zarr", chunks=None).load()
