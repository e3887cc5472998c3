"""Compute the cubes that explorers open on (``make cubes``); each is one zipped Zarr store of at most 3 MB.

python scripts/make_cubes.py [dml ...]
"""

from __future__ import annotations

import sys
import time

import torch
from xmodal_widgets import explorers
from xmodal_widgets.explorers import shipped

if __name__ == "__main__":
    torch.set_num_threads(1)
    computed = [name for name in explorers.EXPLORERS if hasattr(explorers.module(name), "compute_cube")]
    for name in sys.argv[1:] or computed:
        wall, processor = time.perf_counter(), time.process_time()
        path = shipped.save(explorers.module(name).compute_cube(progress=True), name)
        took = f"{time.perf_counter() - wall:.0f} s ({time.process_time() - processor:.0f} s of this processor's time)"
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB in {took}", flush=True)
