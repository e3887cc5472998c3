"""Sweeps on joblib's processes, of which one dies; and on a cluster whose scheduler is gone."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from types import SimpleNamespace

import numpy as np
import pytest
from toy_experiments import CHEAP, DEADLY, lines

import xmodal_lab as xl


@pytest.mark.slow
@pytest.mark.once
def test_joblibs_workers_and_one_that_dies(tmp_path) -> None:
    loky = pytest.importorskip("joblib.externals.loky")
    pool = loky.get_reusable_executor(max_workers=2)
    asked = {"seed": range(5), "flag": str(tmp_path / "flag"), "log": str(tmp_path / "log")}
    with pytest.warns(UserWarning, match="a worker process died; its members are computed again"):
        cube = xl.sweep(DEADLY, executor=pool, store=tmp_path / "s.zarr", progress=False, **asked)
    expected = xl.sweep(CHEAP, seed=range(5), progress=False)
    for name, values in expected.data_vars.items():
        np.testing.assert_array_equal(cube[name], values)
    assert len(lines(tmp_path / "log")) <= 5 + 4
    loky.get_reusable_executor().shutdown(kill_workers=True)


class Dead(Executor):
    """As dask's executor when the scheduler has died: it took a task or two, and nothing ends any more."""

    def __init__(self) -> None:
        self._client = SimpleNamespace(status="running", scheduler=SimpleNamespace(ncores=None), sync=self._no_answer)
        self.taken = 0

    def _no_answer(self, *_: object, callback_timeout: float) -> None:
        raise TimeoutError

    def submit(self, fn, /, *args, **kwargs) -> Future:  # type: ignore[no-untyped-def, override]
        self.taken += 1
        future: Future = Future()
        if self.taken <= 2:
            future.set_result(fn(*args, **kwargs))
        else:
            self._client.status = "closed"
        return future


def test_a_scheduler_that_is_gone_ends_the_sweep_and_keeps_what_is_finished(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("xmodal_lab.sweeps.runner.WAKE", 0.05)
    asked = {"seed": range(6), "log": str(tmp_path / "log"), "progress": False, "store": tmp_path / "s.zarr"}
    with pytest.raises(RuntimeError, match="the scheduler of this cluster is gone; finished members are kept"):
        xl.sweep(CHEAP, executor=Dead(), **asked)
    assert len(lines(tmp_path / "log")) == 2
    cube = xl.sweep(CHEAP, **asked)
    assert len(lines(tmp_path / "log")) == 6 and bool(cube.value.notnull().all())  # the other four alone
