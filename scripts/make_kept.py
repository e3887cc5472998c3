"""Compute the sweeps that lessons keep, and write them into ``xmodal_lab/lessons/shipped/``.

python scripts/make_kept.py [cox.guided ...]
"""

from __future__ import annotations

import argparse
import time

import torch

from xmodal_lab.lessons import computed

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(computed.KEPT))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.names:
        before = time.process_time()
        cube = computed.kept(name, again=True)
        seconds = round(time.process_time() - before)
        path = computed.keep(name, cube.assign_attrs(processor_seconds=seconds))
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB in {seconds} s of processor time", flush=True)
