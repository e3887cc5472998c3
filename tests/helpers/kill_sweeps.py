"""Kill sweeps and let them go on; a script, so that it forks from a process without threads.

    python kill_sweeps.py random FOLDER KILLS SEED    SIGKILL at random moments
    python kill_sweeps.py inside FOLDER               SIGKILL in the middle of each kind of write
    python kill_sweeps.py together FOLDER             two processes on one store

Prints what happened as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import forks
import numpy as np
import toy_experiments
import xarray  # noqa: F401  # before the forks, so that each need not
import zarr  # noqa: F401

from xmodal_lab.sweeps import chunks, sweep

AXES = {"x": [0.0, 0.5, 1.0], "kind": ["plain", "other"], "seed": range(3)}
MEMBERS = 18


def run(experiment: str, store: Path | None, log: Path | str = "", **options: object) -> object:
    how = "stacked" if experiment == "STACKED" else "auto"
    known = getattr(toy_experiments, experiment)
    return sweep(known, store=store, progress=False, how=how, stack=4, log=str(log), **AXES, **options)


def in_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    forks.locks_of_its_own()
    try:
        work()
    except BaseException as error:
        print(repr(error), getattr(error, "__notes__", ""), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def killed_after(child: int, seconds: float) -> bool:
    """Kill the child after so many seconds; False if it was done before."""
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return was_killed(status)
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    return was_killed(os.waitpid(child, 0)[1])


def was_killed(status: int) -> bool:
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit("a sweep that went on failed")
    return os.WIFSIGNALED(status)


def at_random(folder: Path, kills: int, seed: int) -> list[dict]:
    dice, stores = random.Random(seed), []
    while sum(s["kills"] for s in stores) < kills:
        experiment = ("CHEAP", "STACKED")[len(stores) % 2]
        store, log = folder / f"random-{len(stores)}.zarr", folder / f"random-{len(stores)}.log"
        killed, longest = 0, 0.15
        while killed_after(in_child(partial(run, experiment, store, log)), dice.uniform(0, longest)):
            killed += 1
            longest = min(2.0, 1.1 * longest)  # on a slow machine, let it come to something
        stores.append({"experiment": experiment, "store": str(store), "log": str(log), "kills": killed})
    return stores


def inside_writes(folder: Path) -> list[dict]:
    """The n-th write of the run leaves half a file behind and is its last."""
    store, log = folder / "inside.zarr", folder / "inside.log"
    kills = 0
    for n in (1, 3, 5, 10, 0):
        victims: list[Callable[[], None]] = [lambda n=n: chunk_dies(n), lambda n=n: mark_dies(n)]
        for victim in victims if n else [lambda: None]:
            child = in_child(lambda victim=victim: (victim(), run("CHEAP", store, log)))
            kills += was_killed(os.waitpid(child, 0)[1])
    return [{"experiment": "CHEAP", "store": str(store), "log": str(log), "kills": kills}]


def chunk_dies(n: int) -> None:
    count, write = 0, chunks.write

    def dying(array: Path, place: tuple[int, ...], values: np.ndarray) -> None:
        nonlocal count
        count += 1
        write(array, place, values)
        if count > n and values.ndim:
            newest = max((p for p in (array / "c").rglob("*") if p.is_file()), key=lambda p: p.stat().st_mtime_ns)
            newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    chunks.write = dying


def mark_dies(n: int) -> None:
    count, write = 0, Path.write_text

    def dying(path: Path, text: str, **how: str) -> int:
        nonlocal count
        count += 1
        write(path, text[: len(text) // 2] if count == n else text, **how)
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return len(text)

    Path.write_text = dying  # type: ignore[method-assign]


def together(folder: Path) -> list[dict]:
    """Two processes that fill one store; then two of which one is killed."""
    stores = []
    for name, patience in (("both", 60.0), ("one-killed", 0.25)):
        store, log = folder / f"{name}.zarr", folder / f"{name}.log"
        first, second = (in_child(partial(run, "CHEAP", store, log, nap=0.02)) for _ in range(2))
        killed = killed_after(second, patience)
        was_killed(os.waitpid(first, 0)[1])
        stores.append({"experiment": "CHEAP", "store": str(store), "log": str(log), "kills": int(killed)})
    return stores


if __name__ == "__main__":
    way, where, *numbers = sys.argv[1:]
    ways = {"random": at_random, "inside": inside_writes, "together": together}
    print(json.dumps(ways[way](Path(where), *map(int, numbers))))
