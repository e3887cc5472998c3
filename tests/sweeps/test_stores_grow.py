"""Stores that grow, that notice an edit, and their compact copies; members that raise; workers that cannot start."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import types
from functools import partial
from pathlib import Path

import kill_sweeps
import numpy as np
import pytest
import torch
import xarray as xr
from kill_sweeps import AXES
from toy_experiments import CHEAP, DIVERGING, ENDING, ODD, PICKY, STACKED, lines

from xmodal_lab.sweeps import choose, compact, sweep
from xmodal_lab.sweeps import edited as _edited
from xmodal_lab.sweeps.cubes import alike, places_of
from xmodal_lab.sweeps.experiment import Experiment, Variable
from xmodal_lab.sweeps.facts import StoreError

quiet = partial(sweep, progress=False)


def same(a: xr.Dataset, b: xr.Dataset) -> None:
    for name in (*a.data_vars, *a.coords):
        one, other = a[name].values, b[name].values
        assert one.tolist() == other.tolist() if one.dtype.kind in "UOT" else one.tobytes() == other.tobytes(), name


# -- growth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grown", [{"seed": range(5)}, {"x": [0.5, 2.0, 0.0, 1.0]}, {"kind": ["new", "other"]}])
def test_a_store_grows_and_computes_what_is_missing(tmp_path, grown: dict) -> None:
    log = tmp_path / "log"
    quiet(CHEAP, store=tmp_path / "s.zarr", log=str(log), **AXES)
    wanted = {**AXES, **grown}
    cube = quiet(CHEAP, store=tmp_path / "s.zarr", log=str(log), **wanted)
    at_once = quiet(CHEAP, log="", **wanted)
    same(cube, at_once)
    held = {name: {*AXES[name], *wanted[name]} for name in AXES}
    every = len(held["x"]) * len(held["kind"]) * len(held["seed"])
    assert len(lines(log)) == every
    same(quiet(CHEAP, store=tmp_path / "s.zarr", log=str(log), **AXES), quiet(CHEAP, **AXES))  # a part of it
    assert len(lines(log)) == every
    opened = xr.open_zarr(tmp_path / "s.zarr", chunks=None).load()
    same(
        opened.sel({name: list(values) for name, values in wanted.items()})[list(cube.data_vars)],
        cube[list(cube.data_vars)],
    )


def test_numbers_that_differ_by_rounding_are_one_setting(tmp_path) -> None:
    log = str(tmp_path / "log")
    values = np.linspace(0, 1, 11)
    assert values.tolist()[3] != 0.3
    cube = quiet(CHEAP, store=tmp_path / "s.zarr", x=values, nap=0.1 + 0.2 - 0.3, log=log)
    typed = [round(v, 1) for v in values.tolist()]
    same(quiet(CHEAP, store=tmp_path / "s.zarr", x=[*typed, 1.1], nap=0.1 + 0.2 - 0.3, log=log).isel(x=slice(11)), cube)
    assert len(lines(Path(log))) == 12
    with pytest.raises(ValueError, match=r"axis 'x' holds 0.3 twice, once as 0.30000000000000004"):
        quiet(CHEAP, x=[0.3, 0.1 + 0.2])
    assert alike({"a": [0.3]}, {"a": [0.1 + 0.2]}) and not alike(0.3, 0.3 + 1e-15) and not alike(0.0, 1e-300)
    assert places_of([1e-20, 0.1 + 0.2], [0.3, 2e-20, 1e-20]) == [1, None, 0]


def test_what_means_the_same_is_not_computed_when_a_store_grows(tmp_path) -> None:
    log = tmp_path / "log"
    fixed = dataclasses.replace(CHEAP, normal=_without_x)
    quiet(fixed, store=tmp_path / "s.zarr", log=str(log), x=[0.0, 1.0], seed=[0, 1])
    assert len(lines(log)) == 2
    cube = quiet(fixed, store=tmp_path / "s.zarr", log=str(log), x=[0.0, 1.0, 2.0], seed=[0, 1, 2])
    assert len(lines(log)) == 3
    same(cube, quiet(fixed, x=[0.0, 1.0, 2.0], seed=[0, 1, 2]))


def _without_x(settings: dict) -> dict:
    return {**settings, "x": 0.0}


def test_stacks_of_what_is_new_leave_what_was_there(tmp_path) -> None:
    log = tmp_path / "log"
    asked = {"store": tmp_path / "s.zarr", "how": "stacked", "stack": 4, "log": str(log)}
    first = quiet(STACKED, seed=range(6), **asked)
    cube = quiet(STACKED, seed=range(9), **asked)
    same(cube.isel(seed=slice(6)), first)
    assert len(lines(log)) == 9


def test_kills_while_it_grows_lose_nothing(tmp_path, faults) -> None:
    store, log, kills = tmp_path / "s.zarr", tmp_path / "log", 0
    grids = [range(n) for n in (3, 5, 7)]
    for k in range(9):
        kills += kill_sweeps.killed_after(
            kill_sweeps.in_child(partial(_grow, store, log, grids[min(2, k // 2)])), 0.08 * k
        )
    faults("SIGKILL", kills)
    same(_grow(store, log, grids[2]), quiet(CHEAP, **{**AXES, "seed": grids[2]}))
    assert 42 <= len(lines(log)) <= 42 + kills
    same(xr.open_zarr(store, chunks=None).load(), quiet(CHEAP, **{**AXES, "seed": grids[2]}))


def _grow(store: Path, log: Path, seeds: range) -> xr.Dataset:
    return quiet(CHEAP, store=store, log=str(log), **{**AXES, "seed": seeds})


# -- new dimensions ----------------------------------------------------------------------------------

WHOLE = {**AXES, "seed": range(4), "flag": ["", "up"]}


@pytest.mark.parametrize("order", [list(WHOLE), ["flag", "seed", "kind", "x"]])
def test_a_fixed_setting_becomes_an_axis(tmp_path, order: list[str]) -> None:
    log, store = tmp_path / "log", tmp_path / "s.zarr"
    quiet(CHEAP, store=store, log=str(log), x=[0.0, 0.5])
    quiet(CHEAP, store=store, log=str(log), x=[0.5, 1.0], seed=[2, 0])  # seed was 0, and is an axis now
    assert len(lines(log)) == 2 + 1 + 2
    (store / "trained").mkdir()
    (store / "trained" / "kept.npz").write_text("a view's")
    wanted = {name: WHOLE[name] for name in order}
    cube = quiet(CHEAP, store=store, log=str(log), **wanted)
    assert tuple(cube.value.dims) == tuple(order)
    same(cube, quiet(CHEAP, **wanted))
    assert len(lines(log)) == 3 * 2 * 4 * 2
    for view in ({"x": [1.0, 0.0]}, {"flag": ["up"], "kind": "other"}, {}):
        same(quiet(CHEAP, store=store, log=str(log), **view), quiet(CHEAP, **view))
    assert len(lines(log)) == 48, "a sweep of fewer axes is a view of the store"
    opened = xr.open_zarr(store, chunks=None).load()
    same(opened[list(cube.data_vars)].sel(dict(wanted)).transpose(*cube.dims), cube)
    assert (store / "trained" / "kept.npz").read_text() == "a view's"
    assert not list(tmp_path.glob(".s.zarr*")) and not list(tmp_path.glob("*.part"))


def test_a_store_that_grew_in_every_way_and_was_killed_is_one_made_at_once(tmp_path, faults) -> None:
    store, log, kills = tmp_path / "s.zarr", tmp_path / "log", 0
    first = {"x": [0.0, 1.0], "seed": [0, 1]}
    steps = [first, {**first, "seed": range(4)}, {**first, "x": [0.0, 0.5, 1.0]},
             {**first, "kind": ["plain", "other"]}, {**WHOLE}]  # fmt: skip
    for k, asked in enumerate(steps):
        for wait in (0.02, 0.06 + 0.02 * k):
            child = kill_sweeps.in_child(partial(quiet, CHEAP, store=store, log=str(log), **asked))
            kills += kill_sweeps.killed_after(child, wait)
    faults("SIGKILL", kills)
    same(quiet(CHEAP, store=store, log=str(log), **WHOLE), quiet(CHEAP, **WHOLE))
    assert 48 <= len(lines(log)) <= 48 + kills
    same(xr.open_zarr(store, chunks=None).load().transpose(*WHOLE, ...).sel(dict(WHOLE)), quiet(CHEAP, **WHOLE))


@pytest.mark.parametrize("moment", range(3))  # two renames, and what is swept away
def test_a_kill_at_any_rename_leaves_the_store(tmp_path, moment: int, faults) -> None:
    store, log = tmp_path / "s.zarr", tmp_path / "log"
    quiet(CHEAP, store=store, log=str(log), x=[0.0, 0.5])

    def dying() -> None:
        count, rename, clear = 0, Path.rename, shutil.rmtree

        def step(act, *args, **options):  # type: ignore[no-untyped-def]
            nonlocal count
            count += 1
            if count > moment:
                os.kill(os.getpid(), 9)
            return act(*args, **options)

        Path.rename = lambda path, to: step(rename, path, to)  # type: ignore[method-assign]
        shutil.rmtree = partial(step, clear)
        quiet(CHEAP, store=store, log=str(log), x=[0.0, 0.5], seed=[0, 1])

    killed = kill_sweeps.was_killed(os.waitpid(kill_sweeps.in_child(dying), 0)[1])
    assert killed
    faults("SIGKILL", 1)
    wanted = {"x": [0.0, 0.5], "seed": [0, 1]}
    same(quiet(CHEAP, store=store, log=str(log), **wanted), quiet(CHEAP, **wanted))
    assert len(lines(log)) == 4
    assert [p.name for p in tmp_path.iterdir() if "dimension" in p.name] == []


def test_stacks_and_failures_keep_their_places_on_a_new_axis(tmp_path) -> None:
    asked = {"store": tmp_path / "s.zarr", "how": "stacked", "stack": 4}
    first = quiet(STACKED, x=[0.0, 1.0, 2.0], **asked)
    cube = quiet(STACKED, x=[0.0, 1.0, 2.0], seed=[1, 0], **asked)
    same(cube.sel(seed=0, drop=True), first)
    with pytest.warns(RuntimeWarning, match="diverged"):
        quiet(DIVERGING, store=tmp_path / "d.zarr", x=[0.0, 1.0], seed=1)
    with pytest.warns(RuntimeWarning, match="1 of 4 members diverged"):
        cube = quiet(DIVERGING, store=tmp_path / "d.zarr", x=[0.0, 1.0], seed=[0, 1])
    assert cube.value.isnull().sum() == 1 and bool(cube.value.sel(x=1.0, seed=1).isnull())


def test_what_cannot_become_an_axis_is_told(tmp_path) -> None:
    store = tmp_path / "s.zarr"
    quiet(CHEAP, store=store, x=[0.0, 1.0])
    with pytest.raises(StoreError, match=r"axis 'seed' of the store .* values of type int, such as 0; 'a' cannot join"):
        quiet(CHEAP, store=store, x=[0.0], seed=["a"])
    with pytest.raises(StoreError, match=r"fixed setting 'nap' as 0.0, this sweep has 0.5"):
        quiet(CHEAP, store=store, x=[0.0], seed=[0, 1], nap=0.5)
    edited = dataclasses.replace(CHEAP, member=_number)
    with pytest.raises(StoreError, match=r"`member`.* been edited since"):
        quiet(edited, store=store, x=[0.0], seed=[0, 1])
    assert list(json.loads(_told(store))["axes"]) == ["x"]
    assert quiet(CHEAP, store=store, x=[1.0]).sizes["x"] == 1, "refused growth leaves the store as it was"


def test_a_setting_that_was_none_has_no_place_on_an_axis(tmp_path) -> None:
    maybe = Experiment("maybe", {"x": 0.0, "shots": None}, lambda s, r: {"value": s["x"]}, ["value"])
    quiet(maybe, store=tmp_path / "s.zarr", x=[0.0])
    with pytest.raises(StoreError, match=r"without a value of 'shots' \(None\), which has no place on an axis"):
        quiet(maybe, store=tmp_path / "s.zarr", x=[0.0], shots=[1, 2])


def test_a_new_dimension_waits_for_whoever_computes_and_reaches_whoever_looks(tmp_path) -> None:
    from xmodal_lab.sweeps.cubes import layout_of
    from xmodal_lab.sweeps.store import Store

    path = tmp_path / "s.zarr"
    quiet(CHEAP, store=path, x=[0.0, 1.0])
    layout, _ = layout_of(CHEAP, {"x": [0.0, 1.0, 2.0]})
    identity = {k: v for k, v in json.loads(_told(path)).items() if k not in ("axes", "grown", "variables")}
    other = Store(path, layout, identity, identity["environment"])
    claim = other.claim([(2,)])
    assert claim is not None
    with pytest.raises(StoreError, match=r"another process is computing members .* new axis 'seed' once they are"):
        quiet(CHEAP, store=path, x=[0.0, 1.0], seed=[0, 1])
    claim.release()
    quiet(CHEAP, store=path, x=[0.0, 1.0], seed=[0, 1])
    other.refresh()
    assert other.finished() == {(0,), (1,)}
    values = layout.checked(CHEAP.member({**CHEAP.defaults, "x": 2.0}, lambda *_: None))
    other.write([([(2,)], values)], 0.0)
    same(quiet(CHEAP, store=path, x=[0.0, 1.0, 2.0], seed=[1, 0]), quiet(CHEAP, x=[0.0, 1.0, 2.0], seed=[1, 0]))


def _told(path: Path) -> str:
    return json.loads((path / "zarr.json").read_text())["attributes"]["xmodal_sweep"]


# -- the compact copy --------------------------------------------------------------------------------


def _number(settings: dict, report: object) -> dict:
    return {"value": settings["a"] + 100 * settings["seed"], "curve": [settings["a"], np.nan]}


NUMBERS = Experiment(
    "numbers", {"a": 0, "seed": 0, "word": "w"}, _number, {"value": Variable(), "curve": Variable({"k": range(2)})}
)


def test_a_finished_grid_has_a_copy_that_is_right_when_it_grows(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "s.zarr"
    first = quiet(NUMBERS, store=store, a=range(30), seed=range(4))
    same(xr.open_zarr(store / "compact", chunks=None).load(), first)
    cube = quiet(NUMBERS, store=store, a=range(35), seed=range(4))
    same(cube, quiet(NUMBERS, a=range(35), seed=range(4)))
    same(xr.open_zarr(store / "compact", chunks=None).load(), cube)
    mark = next((store / "done").glob("2-1.*.json"))
    mark.unlink()  # one member is computed again; the copy is not believed for it
    same(quiet(NUMBERS, store=store, a=range(35), seed=range(4)), cube)
    for path in (store / "value" / "c").rglob("*"):
        if path.is_file() and path.parent.name == "7":
            path.write_bytes(b"half")  # the copy has it
    same(quiet(NUMBERS, store=store, a=range(35), seed=range(4)), cube)
    for path in (store / "compact" / "curve" / "c").rglob("*"):
        if path.is_file():
            path.write_bytes(b"half")  # then the members' own files have it, but for those
    with pytest.warns(UserWarning, match="4 finished members were damaged"):
        same(quiet(NUMBERS, store=store, a=range(35), seed=range(4)), cube)
    monkeypatch.setattr(compact, "CHUNK", 64)
    same(quiet(NUMBERS, store=store, a=range(36), seed=range(4)), quiet(NUMBERS, a=range(36), seed=range(4)))
    same(xr.open_zarr(store / "compact", chunks=None).load(), quiet(NUMBERS, a=range(36), seed=range(4)))
    assert not list(store.glob(".compact.*"))


def test_a_copy_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compact, "_fill", full)
    cube = quiet(NUMBERS, store=tmp_path / "s.zarr", a=range(120))
    same(cube, quiet(NUMBERS, a=range(120)))
    assert not (tmp_path / "s.zarr" / "compact").exists()


# -- edits -------------------------------------------------------------------------------------------

CODE = '''
import functools
import numpy as np
from xmodal_lab.sweeps.experiment import Experiment
RATE = 2.0
SEEN = []
def helper(x):
    """Say."""
    return x * RATE
def make(scale):
    def member(settings, report):
        # a comment
        SEEN.append(1)
        return {"value": helper(settings["x"]) * scale}
    return member
def plain(table, settings, report):
    return {"value": float(table.sum()) + helper(settings["x"])}
E = Experiment("edited", {"x": 0.0}, make(3.0), ["value"])
P = Experiment("edited", {"x": 0.0}, functools.partial(plain, np.ones(3)), ["value"])
'''


def module(text: str) -> types.ModuleType:
    found = types.ModuleType("mine")
    exec(compile(text, "mine.py", "exec"), found.__dict__)
    return found


@pytest.mark.parametrize(
    ("name", "old", "new", "part"),
    [
        ("E", "* scale}", "* scale + 1}", "`member`"),
        ("E", "x * RATE", "x - RATE", "`helper`"),
        ("E", "RATE = 2.0", "RATE = 2.5", "`RATE`"),
        ("E", "make(3.0)", "make(4.0)", "`scale`"),
        ("P", "np.ones(3)", "np.zeros(3)", "`member, argument 0`"),
        ("P", "float(table.sum())", "int(table.sum())", "`member`"),
    ],
)
def test_an_edit_is_noticed_and_can_be_accepted(tmp_path, name: str, old: str, new: str, part: str) -> None:
    asked = {"store": tmp_path / "s.zarr", "x": [1.0, 2.0]}
    first = quiet(getattr(module(CODE), name), **asked)
    told = module(CODE.replace("a comment", "other words").replace('"""Say."""', '"""Say\n    more."""'))
    same(quiet(getattr(told, name), **asked), first)  # words are no edit, nor is what a member appends to
    edited = getattr(module(CODE.replace(old, new)), name)
    with pytest.raises(StoreError, match=f"another version of the experiment's code: {part} has been edited since"):
        quiet(edited, **asked)
    same(quiet(edited, accept_edited=True, **asked), first)
    same(quiet(edited, **asked), first)
    with pytest.raises(StoreError, match="has been edited since"):
        quiet(getattr(module(CODE), name), **asked)


BEHIND = """
import functools
from xmodal_lab.sweeps.experiment import Experiment
def deep(x): return x * 1.0
def helper(x): return deep(x)
class Base:
    floor = 0.0
class Tool(Base):
    gain = 2.0
    def __init__(self, fn=helper): self.fn = fn
    def go(self, x): return self.fn(x) * self.gain + self.floor
    @property
    def offset(self): return 3.0
    @functools.cached_property
    def lift(self): return 5.0
def twice(fn):
    @functools.wraps(fn)
    def inner(*a): return 2.0 * fn(*a)
    return inner
@twice
def plus(x): return x + 7.0
TABLE = {"one": [lambda x: x - 11.0, helper]}
TOOL = Tool()
def member(settings, report):
    x = settings["x"]
    return {"value": TOOL.go(x) + TOOL.offset + TOOL.lift + plus(x) + sum(f(x) for f in TABLE["one"])}
class Callable:
    def __init__(self, fn): self.fn = fn
    def __call__(self, settings, report): return self.fn(settings, report)
E = Experiment("behind", {"x": 0.0}, member, ["value"])
C = Experiment("behind", {"x": 0.0}, Callable(member), ["value"])
P = Experiment("behind", {"x": 0.0}, functools.partial(lambda fn, s, r: fn(s, r), member), ["value"])
"""


@pytest.mark.parametrize("name", ["E", "C", "P"])
@pytest.mark.parametrize(
    "edit",
    [
        ("x * 1.0", "x * 1.5"), ("floor = 0.0", "floor = 9.0"), ("gain = 2.0", "gain = 3.0"), ("self.fn(x) *", "x *"),
        ("return 3.0", "return 4.0"), ("return 5.0", "return 6.0"), ("2.0 * fn", "3.0 * fn"), ("x + 7.0", "x + 8.0"),
        ("x - 11.0", "x - 12.0"),
    ],
)  # fmt: skip
def test_an_edit_behind_objects_classes_and_decorators_is_noticed(tmp_path, name: str, edit: tuple[str, str]) -> None:
    asked = {"store": tmp_path / "s.zarr", "x": [1.0, 2.0]}
    first = quiet(getattr(module(BEHIND), name), **asked)
    same(quiet(getattr(module(BEHIND), name), **asked), first)  # run again, cached property and all
    with pytest.raises(StoreError, match=r"ha(s|ve) been edited since"):
        quiet(getattr(module(BEHIND.replace(*edit)), name), **asked)


def test_two_helpers_of_one_name_are_two_parts() -> None:
    first, second = module("def helper(x): return x"), module("def helper(x): return x + 1")
    pair = [first.helper, second.helper]
    known = _edited.parts(Experiment("two", {"x": 0.0}, lambda s, r: {"value": pair[0](pair[1](1))}, ["value"]))
    pair[1] = module("def helper(x): return x + 2").helper
    again = _edited.parts(Experiment("two", {"x": 0.0}, lambda s, r: {"value": pair[0](pair[1](1))}, ["value"]))
    assert _edited.differing(known, again)


def test_digests_tell_things_apart_and_know_them_again() -> None:
    net = torch.nn.Linear(2, 1)
    things = [
        1,
        1.0,
        "1",
        True,
        None,
        [1],
        (1,),
        {1: 2},
        {"a": net},
        np.ones(2),
        np.ones((2, 1)),
        torch.ones(2),
        net,
        len,
    ]
    found = [_edited.digest(thing) for thing in things]
    assert len(set(found)) == len(things)
    assert found == [_edited.digest(thing) for thing in things]
    before = _edited.digest(net)
    net.weight.data += 1
    assert _edited.digest(net) != before
    loop: list = []
    loop.append(loop)
    assert _edited.digest(loop)


# -- members that raise ------------------------------------------------------------------------------


def test_calling_again_goes_on_past_a_member_that_raises(tmp_path) -> None:
    log, asked = tmp_path / "log", {"store": tmp_path / "s.zarr", "seed": range(6), "log": str(tmp_path / "log")}
    with pytest.raises(KeyError, match="no 1"):
        quiet(PICKY, **asked)
    with pytest.raises(KeyError, match="no 3"):
        quiet(PICKY, **asked)
    with pytest.raises(KeyError) as error:
        quiet(PICKY, **asked)
    assert any("4 of 6 members are computed" in note and 'on_error="nan"' in note for note in error.value.__notes__)
    with pytest.warns(RuntimeWarning, match="2 of 6 members diverged and are NaN; the first, seed=1: raised KeyError"):
        cube = quiet(PICKY, on_error="nan", **asked)
    np.testing.assert_array_equal(cube["value"], [0, np.nan, 2, np.nan, 4, 5])
    done = len(lines(log))
    with pytest.warns(RuntimeWarning, match="2 of 6 members"):
        same(quiet(PICKY, on_error="nan", **asked), cube)
    assert len(lines(log)) == done
    with pytest.raises(KeyError, match="no 1"):  # asked to raise, they are tried again
        quiet(PICKY, **asked)


@pytest.mark.parametrize("result", [None, {"valu": 1}, {"value": None}, {"value": "high"}])
def test_results_that_make_no_sense_can_be_recorded(result: object) -> None:
    mine = Experiment("mine", {"x": 0}, lambda s, r: {"value": s["x"]} if s["x"] else result, ["value"])
    with pytest.raises((TypeError, ValueError)):
        quiet(mine, x=[0, 1])
    with pytest.warns(
        RuntimeWarning, match=r"1 of 2 members diverged and are NaN; the first, x=0: raised (Type|Value)Error"
    ):
        cube = quiet(mine, x=[0, 1], on_error="nan")
    np.testing.assert_array_equal(cube["value"], [np.nan, 1])
    with pytest.raises(ValueError, match="unknown on_error"):
        quiet(mine, on_error="ignore")


def test_a_stack_that_raises_is_taken_apart() -> None:
    def stack(settings: list[dict], report: object) -> list[dict]:
        return [_picky(s, report) for s in settings]

    mine = Experiment("mine", {"seed": 0}, _picky, ["value"], stack=stack)
    with pytest.warns(RuntimeWarning, match="1 of 4 members"):
        cube = quiet(mine, seed=range(4), how="stacked", on_error="nan")
    np.testing.assert_array_equal(cube["value"], [0, np.nan, 2, 3])


def _picky(settings: dict, report: object) -> dict:
    if settings["seed"] == 1:
        raise RuntimeError("not this one")
    return {"value": settings["seed"]}


# -- workers -----------------------------------------------------------------------------------------


def test_functions_that_processes_cannot_find_are_told_at_once() -> None:
    mine = dataclasses.replace(CHEAP, member=lambda s, r: {})
    with pytest.raises(ValueError, match=r"member is .*<lambda>.*, a lambda or a function within a function"):
        quiet(mine, seed=range(2), how="processes")

    def local(settings: dict, report: object) -> dict:
        return {}

    with pytest.raises(ValueError, match=r"stack is .*local.*; write it as a function of a module|stack is .*local"):
        quiet(dataclasses.replace(CHEAP, stack=partial(local)), seed=range(2), how="processes")


NOTEBOOK = """
from xmodal_lab import sweep
from xmodal_lab.sweeps.experiment import Experiment
def member(settings, report):
    return {"value": 1.0}
E = Experiment("mine", {"seed": 0}, member, ["value"])
try:
    sweep(E, seed=range(4), how="processes", progress=False)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_member_of_a_notebook_is_told_at_once() -> None:
    done = subprocess.run([sys.executable, "-"], input=NOTEBOOK, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("`member` lives in this notebook, where other processes cannot find it: put it in a")
    assert "use threads" in done.stdout


@pytest.mark.slow
def test_a_worker_that_ends_or_cannot_say_its_error_is_told_by_its_cause(tmp_path, monkeypatch, faults) -> None:
    with pytest.raises(RuntimeError, match=r"a worker process ended by itself with status 3, at its start or in a mem"):
        quiet(ENDING, seed=range(2), how="processes", retries=50)
    with pytest.raises(RuntimeError, match=r"(?s)Traceback .*Odd: this and that"):
        quiet(ODD, seed=range(2), how="processes")
    faults("a worker that ends", 1)
    (tmp_path / "only_here.py").write_text(
        "import os\nif 'NOT_HERE' in os.environ: raise ImportError('no such GPU')\n"
        "def member(s, r): return {'value': 1.0}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    monkeypatch.setitem(os.environ, "NOT_HERE", "1")
    mine = Experiment("mine", {"seed": 0}, only_here.member, ["value"])
    with pytest.raises(RuntimeError, match="a worker process cannot load the experiment: ImportError: no such GPU"):
        quiet(mine, seed=range(2), how="processes")


# -- choosing ----------------------------------------------------------------------------------------


def test_settings_are_chosen_on_validation() -> None:
    val = np.array([[[0.5, 0.9], [0.9, 0.2]], [[np.nan, np.nan], [0.1, np.nan]]])  # lr, decay, seed
    test = np.arange(8.0).reshape(2, 2, 2)
    cube = xr.Dataset(
        {"val_accuracy": (("lr", "decay", "seed"), val), "accuracy": (("lr", "decay", "seed"), test), "n": ((), 3)},
        {"lr": [0.1, 0.2], "decay": [0.0, 1.0], "seed": [0, 1]},
    )
    found = choose(cube, over=["lr", "decay"])
    np.testing.assert_array_equal(found["accuracy"], [2, 1])
    np.testing.assert_array_equal(found["decay"], [1.0, 0.0])
    assert found["lr"].dims == ("seed",) and found["n"] == 3
    one = choose(cube, over=["lr", "decay"], across="seed")  # means .7 and .55: one setting for all seeds
    np.testing.assert_array_equal(one["accuracy"], [0, 1])
    np.testing.assert_array_equal(choose(cube, over="lr")["accuracy"], [[0, 1], [2, 3]])
    tied = xr.Dataset({"val_accuracy": ("alpha", [0.8, 0.9, 0.9])}, {"alpha": [0.1, 0.3, 0.5]})
    assert choose(tied, over="alpha")["alpha"] == 0.3
    assert choose(-tied, over="alpha", by="val_accuracy")["alpha"] == 0.1
    with pytest.raises(ValueError, match="unknown dimension 'rate'"):
        choose(cube, over="rate")
    with pytest.raises(ValueError, match="unknown variable of the cube 'val'"):
        choose(cube, over="lr", by="val")
    with pytest.raises(ValueError, match="val_accuracy is NaN everywhere over lr"):
        choose(cube.isel(decay=[0]).where(cube.lr > 0.1), over="lr")


def test_facts_of_a_store_are_json(tmp_path) -> None:
    quiet(CHEAP, store=tmp_path / "s.zarr", seed=range(2))
    held = json.loads((tmp_path / "s.zarr" / "zarr.json").read_text(encoding="utf-8"))
    assert set(json.loads(held["attributes"]["xmodal_sweep"])["code"]) >= {"member", "began"}
