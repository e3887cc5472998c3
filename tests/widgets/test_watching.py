"""A grid that fills is watched from another process: what is finished appears, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from kill_sweeps import AXES, MEMBERS
from toy_experiments import CHEAP
from xmodal_widgets import Lines, explore

from xmodal_lab.sweeps import sweep

# Another process fills half of the grid, and the rest once there is a flag.
FILL = """
import sys, time
from pathlib import Path
from kill_sweeps import AXES
from toy_experiments import CHEAP
from xmodal_lab.sweeps import sweep
store, flag = map(Path, sys.argv[1:])
sweep(CHEAP, store=store, progress=False, **{**AXES, "kind": ["plain"]})
while not flag.exists():
    time.sleep(0.01)
sweep(CHEAP, store=store, progress=False, **AXES)
"""


def filling(store: Path, flag: Path) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(Path(__file__).parents[1] / "helpers"), *sys.path])
    return subprocess.Popen([sys.executable, "-c", FILL, str(store), str(flag)], env={**os.environ, "PYTHONPATH": path})


def until(true: object, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
def test_a_grid_that_fills_is_watched_from_another_process(tmp_path: Path) -> None:
    store, flag = tmp_path / "s.zarr", tmp_path / "flag"
    child = filling(store, flag)
    try:
        assert until((store / "zarr.json").is_file)
        view = explore(str(store), Lines("value", "x"), seed=0)
        view.watch(store, every=0.02)
        assert until(lambda: int(view.cube["value"].count()) == MEMBERS // 2)
        counts: list[int] = []
        view.observe(lambda _: counts.append(int(view.cube["value"].count())), "_version")
        flag.touch()
        assert until(lambda: int(view.cube["value"].count()) == MEMBERS), counts
    finally:
        flag.touch()
        assert child.wait(60) == 0
    assert counts == sorted(counts) and counts[-1] == MEMBERS
    want = sweep(CHEAP, progress=False, **AXES)
    np.testing.assert_array_equal(view.cube["surface"], want["surface"])
    assert view.error == "" and view.state["seed"] == 0
    np.testing.assert_array_equal(view._grid.arrays["value"], want["value"].astype("float32"))
    grown = {**AXES, "x": [0.0, 0.5, 1.0, 2.0]}
    sweep(CHEAP, store=store, progress=False, **grown)
    assert until(lambda: view.cube.sizes["x"] == 4 and bool(view.cube["value"].notnull().all()))
    view.unwatch()


def test_what_cannot_be_watched_is_told(tmp_path: Path) -> None:
    sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, x=[0.0, 1.0])
    view = explore(tmp_path / "s.zarr", Lines("value", "x"))
    with pytest.raises(ValueError, match="there is no store at"):
        view.watch(tmp_path / "nothing")
    with pytest.raises(ValueError, match="every must be seconds above 0"):
        view.watch(tmp_path / "s.zarr", every=0)
    view.watch(tmp_path / "s.zarr", every=0.02)
    sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, x=[0.0, 1.0], seed=[0, 1])
    assert until(lambda: "other dimensions than this view: seed" in view.error)
    view.unwatch()
