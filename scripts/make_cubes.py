"""Compute the cubes that explorers open on (``make cubes``); each is one zipped Zarr store of at most 3 MB.

python scripts/make_cubes.py [dml ...]

Members are computed in as many processes as there are cores, in stacks where they train faster together. A cube says
in ``attrs["processor_seconds"]`` what it took, all processes together.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from xmodal_widgets import explorers
from xmodal_widgets.explorers import shipped

from xmodal_lab.sweeps.tasks import cores


def processor() -> float:
    """Seconds of processor time of this process and of those that it has started and that have ended."""
    return sum(os.times()[:4])


def make(name: str) -> tuple[Path, float]:
    """Compute the cube called ``name`` and ship it; the file, and what it took in seconds of processor time."""
    before = processor()
    with ProcessPoolExecutor(cores(), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        cube = explorers.module(name).compute_cube(progress=True, executor=pool)
    cube.attrs["processor_seconds"] = round(processor() - before)
    return shipped.save(cube, name), processor() - before


if __name__ == "__main__":
    torch.set_num_threads(1)
    computed = [name for name in explorers.EXPLORERS if hasattr(explorers.module(name), "compute_cube")]
    for name in sys.argv[1:] or computed:
        wall = time.perf_counter()
        path, took = make(name)
        told = f"{time.perf_counter() - wall:.0f} s ({took:.0f} s of processor time)"
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB in {told}", flush=True)
