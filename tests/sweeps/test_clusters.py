"""Sweeps on Dask: a client that is killed, a scheduler that is restarted, jobs of Slurm of which one is cancelled.

Nothing that was finished is computed again: members are counted as they begin.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import xarray as xr
from test_sweeps import environment, quiet
from toy_experiments import CHEAP, lines

pytestmark = [pytest.mark.slow, pytest.mark.once]
MEMBERS = 16
GRID = {"x": [0.0, 0.5], "seed": range(8)}

CLIENT = """
import sys
import toy_experiments
from distributed import Client
from xmodal_lab.sweeps import sweep
if __name__ == "__main__":
    address, store, log = sys.argv[1:]
    with Client(address) as client:
        sweep(toy_experiments.CHEAP, x=[0.0, 0.5], seed=range(8), nap=0.15, progress=False, store=store, log=log,
              executor=client.get_executor())
"""

# A Slurm of one machine: a job starts at once. Two submissions at a time get two numbers, since only one makes a folder.
# The job must not hold the pipe that sbatch's caller reads to its end: dask-jobqueue waits for that end, and so for ever.
SBATCH = """#!/bin/sh
here=$(dirname "$0")
for script; do :; done
id=1
until mkdir "$here/id-$id" 2> /dev/null; do id=$((id + 1)); done
cp "$script" "$here/job-$id"
setsid sh "$here/job-$id" > "$here/out-$id" 2>&1 < /dev/null &
echo $! > "$here/pid-$id"
echo "Submitted batch job $id"
"""
SCANCEL = """#!/bin/sh
here=$(dirname "$0")
for id; do kill -s TERM -- "-$(cat "$here/pid-$id")" 2> /dev/null; done
exit 0
"""


def finished(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "done").glob("*.json"))


def wait_until(there: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def counted(log: Path, kept: int, in_flight: int) -> None:
    """Each member was begun, and of those that were finished when something died none was begun again."""
    begun = Counter(lines(log))
    assert len(begun) == MEMBERS
    assert sum(begun.values()) <= MEMBERS + in_flight
    assert sum(1 for times in begun.values() if times == 1) >= kept


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen]:
    with subprocess.Popen([sys.executable, *words], env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_client_that_is_killed_loses_nothing_that_was_finished(tmp_path, monkeypatch) -> None:
    distributed = pytest.importorskip("distributed")
    script, store, log = tmp_path / "client.py", tmp_path / "s.zarr", tmp_path / "log"
    script.write_text(CLIENT)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    with distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        with started(str(script), cluster.scheduler_address, str(store), str(log)) as client:
            wait_until(lambda: len(finished(store)) >= 3)
            client.send_signal(signal.SIGKILL)
            client.wait()
        kept = finished(store)
        assert 3 <= len(kept) < MEMBERS
        with distributed.Client(cluster) as again:
            cube = quiet(CHEAP, executor=again.get_executor(), store=store, nap=0.15, log=str(log), **GRID)
    assert set(kept) <= set(finished(store))
    counted(log, len(kept), in_flight=4)  # two for each worker
    xr.testing.assert_equal(cube, quiet(CHEAP, **GRID))


def test_a_scheduler_that_is_restarted_loses_nothing_that_was_finished(tmp_path) -> None:
    distributed = pytest.importorskip("distributed")
    store, log, port = tmp_path / "s.zarr", tmp_path / "log", free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny",
              "--death-timeout", "30", "--local-directory", str(tmp_path)]  # fmt: skip
    asked = {"store": store, "nap": 0.15, "log": str(log), **GRID}
    with started(*scheduler) as first, started(*worker):
        wait_until(lambda: answers(port))
        # The client looks for a scheduler that is gone for as long as it looked for the first one.
        client = distributed.Client(address, timeout=5)
        client.wait_for_workers(1, timeout=60)

        def kill_when_three_are_done() -> None:
            wait_until(lambda: len(finished(store)) >= 3)
            first.kill()

        killer = Thread(target=kill_when_three_are_done, daemon=True)
        killer.start()
        with pytest.raises(RuntimeError, match="the scheduler of this cluster is gone; finished members are kept"):
            quiet(CHEAP, executor=client.get_executor(), **asked)
        killer.join()
    kept = finished(store)
    assert 3 <= len(kept) < MEMBERS
    with started(*scheduler), started(*worker), distributed.Client(address, timeout=60) as again:
        again.wait_for_workers(1, timeout=60)
        cube = quiet(CHEAP, executor=again.get_executor(), **asked)
    counted(log, len(kept), in_flight=2)
    xr.testing.assert_equal(cube, quiet(CHEAP, **GRID))


@pytest.mark.skipif(os.name != "posix", reason="shell scripts in the place of Slurm's commands")
def test_jobs_of_slurm_of_which_one_is_cancelled(tmp_path, monkeypatch) -> None:
    distributed = pytest.importorskip("distributed")
    jobqueue = pytest.importorskip("dask_jobqueue")
    slurm, store, log = tmp_path / "slurm", tmp_path / "s.zarr", tmp_path / "log"
    slurm.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (slurm / name).write_text(text)
        (slurm / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{slurm}{os.pathsep}{os.environ['PATH']}")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    with (
        jobqueue.SLURMCluster(
            cores=1, processes=1, memory="2GB", walltime="00:10:00", interface="lo", local_directory=str(tmp_path),
            scheduler_options={"dashboard_address": None},
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        assert "#SBATCH --cpus-per-task=1" in cluster.job_script() and "#SBATCH -t 00:10:00" in cluster.job_script()
        cluster.scale(jobs=2)
        client.wait_for_workers(2, timeout=90)
        kept: list[int] = []

        def cancel_when_three_are_done() -> None:
            wait_until(lambda: len(finished(store)) >= 3)
            subprocess.run([slurm / "scancel", "1"], check=True)
            kept.append(len(finished(store)))

        killer = Thread(target=cancel_when_three_are_done, daemon=True)
        killer.start()
        cube = quiet(CHEAP, executor=client.get_executor(), store=store, nap=0.15, log=str(log), **GRID)
        killer.join()
    assert 3 <= kept[0] < MEMBERS
    counted(log, kept[0], in_flight=4)
    xr.testing.assert_equal(cube, quiet(CHEAP, **GRID))
