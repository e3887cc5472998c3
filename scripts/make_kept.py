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
        before = time.perf_counter()
        path = computed.keep(name, computed.kept(name, again=True))
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB in {time.perf_counter() - before:.0f} s", flush=True)
