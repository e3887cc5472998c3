"""Sweeps on joblib's processes, which take functions of a notebook, and one that dies."""

from __future__ import annotations

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
