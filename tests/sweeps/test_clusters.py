"""Sweeps on a Slurm allocation (dask-jobqueue), on joblib's workers, and what is lost when a part of it dies: nothing.

Slurm itself is not needed: an ``sbatch`` of our own runs each job script as a process of this machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import xarray as xr
from toy_experiments import CHEAP, DEADLY, lines

import xmodal_lab as xl

HELPERS = Path(__file__).parents[1] / "helpers"
ASKED = {"x": [0.0, 0.5], "seed": range(6)}
MEMBERS = 12

SBATCH = """#!/bin/sh
setsid sh "$1" > "$0.$$.log" 2>&1 &
echo $! >> "$0.jobs"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
for job in "$@"; do kill -TERM -"$job" 2>/dev/null || true; done
"""


def sweep(**given: object) -> xr.Dataset:
    return xl.sweep(CHEAP, progress=False, how="sequential", **given)


def finished(store: Path) -> set[str]:
    return {path.name for path in (store / "done").glob("*.json")}


def when(store: Path, count: int, act) -> Thread:  # type: ignore[no-untyped-def]
    """A thread that acts once ``count`` members of the store are finished."""

    def wait() -> None:
        while len(finished(store)) < count:
            time.sleep(0.01)
        act()

    thread = Thread(target=wait, daemon=True)
    thread.start()
    return thread


def begun_twice(log: Path) -> int:
    """How many members were begun more than once."""
    return sum(count > 1 for count in Counter(lines(log)).values())


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Iterator[object]:
    """Makes an allocation of two jobs of one worker each."""
    jobqueue = pytest.importorskip("dask_jobqueue")
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), *sys.path]))
    made = []

    def allocation():  # type: ignore[no-untyped-def]
        cluster = jobqueue.SLURMCluster(
            cores=1, processes=1, memory="1GB", walltime="00:10:00", python=sys.executable, host="127.0.0.1",
            scheduler_options={"dashboard_address": ":0"}, log_directory=str(tmp_path / "logs"),
        )  # fmt: skip
        made.append(cluster)
        assert "#SBATCH -t 00:10:00" in cluster.job_script() and "--memory-limit" in cluster.job_script()
        cluster.scale(jobs=2)
        return cluster

    yield allocation
    for cluster in made:
        cluster.close()


def jobs(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "sbatch.jobs").read_text().split()]


@pytest.mark.slow
@pytest.mark.once
def test_a_slurm_allocation_that_loses_a_job(slurm, tmp_path) -> None:
    distributed = pytest.importorskip("distributed")
    store, log = tmp_path / "s.zarr", tmp_path / "log"
    with slurm() as cluster, distributed.Client(cluster) as client, client.get_executor() as executor:
        client.wait_for_workers(2, timeout=90)
        killer = when(store, 3, lambda: os.killpg(jobs(tmp_path)[0], signal.SIGKILL))
        cube = sweep(executor=executor, store=store, log=str(log), nap=0.2, **ASKED)
        killer.join()
    assert len(jobs(tmp_path)) >= 2
    # A worker had at most two members at a time; those alone were begun again.
    assert begun_twice(log) <= 2 and len(set(lines(log))) == MEMBERS
    xr.testing.assert_equal(cube.drop_attrs(), sweep(log=str(log), nap=0.0, **ASKED).drop_attrs())


@pytest.mark.slow
@pytest.mark.once
def test_a_scheduler_that_dies_and_another_one_that_goes_on(slurm, tmp_path) -> None:
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    store, log = tmp_path / "s.zarr", tmp_path / "log"
    with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):  # so long it is looked for
        cluster = distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=":0")
        client = distributed.Client(cluster)
        killer = when(store, 3, lambda: cluster.close(timeout=1))
        with pytest.raises(Exception) as caught:
            sweep(executor=client.get_executor(), store=store, log=str(log), nap=0.2, **ASKED)
        killer.join()
        client.close(timeout=1)
    said = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "call sweep again with store=" in said
    kept = finished(store)
    before = Counter(lines(log))
    assert 3 <= len(kept) < MEMBERS
    with slurm() as cluster, distributed.Client(cluster) as client, client.get_executor() as executor:
        client.wait_for_workers(1, timeout=90)
        cube = sweep(executor=executor, store=store, log=str(log), nap=0.2, **ASKED)
    again = Counter(lines(log)) - before
    assert sum(again.values()) == MEMBERS - len(kept)  # no finished member was computed a second time
    assert bool(cube.value.notnull().all())


CLIENT = """
import sys
import distributed
from toy_experiments import CHEAP
import xmodal_lab as xl

store, log = sys.argv[1:]
client = distributed.Client(sys.stdin.readline().strip())
xl.sweep(CHEAP, progress=False, how="sequential", executor=client.get_executor(), store=store, log=log, nap=0.2,
         x=[0.0, 0.5], seed=range(6))
"""


@pytest.mark.slow
@pytest.mark.once
def test_a_client_that_is_killed(tmp_path) -> None:
    distributed = pytest.importorskip("distributed")
    store, log = tmp_path / "s.zarr", tmp_path / "log"
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path])}
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster:
        first = subprocess.Popen([sys.executable, "-c", CLIENT, store, log], stdin=subprocess.PIPE, text=True, env=path)
        when(store, 3, lambda: first.send_signal(signal.SIGKILL))
        first.communicate(f"{cluster.scheduler_address}\n", timeout=120)
        assert first.returncode == -signal.SIGKILL
        time.sleep(0.5)  # what the workers were at ends
        kept, before = finished(store), Counter(lines(log))
        assert 3 <= len(kept) < MEMBERS
        with distributed.Client(cluster) as client:
            cube = sweep(executor=client.get_executor(), store=store, log=str(log), nap=0.2, **ASKED)
    again = Counter(lines(log)) - before
    assert sum(again.values()) == MEMBERS - len(kept)
    assert bool(cube.value.notnull().all())


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
