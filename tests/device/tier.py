"""The tests of devices, and some of the project's own beside a device: cuda and mps at the same time.

    XMODAL_PRETEND_DEVICE=folder/of/pretend_device python tests/device/tier.py

Beside a device means that it is there while tests that know nothing of it run: what says "auto" then takes it. About
a minute and a half on two cores, besides a minute for each kind when it is compiled first.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Files whose subjects take devices, and that are quick.
BESIDE = {
    "cuda": ["tests/losses", "tests/instruments/test_flatness.py", "tests/training/test_descent.py",
             "tests/models/test_objectives.py", "tests/data/test_pairing.py"],
    "mps": ["tests/training/test_descent.py", "tests/models/test_objectives.py", "tests/data/test_pairing.py"],
}  # fmt: skip
# Of these there is a test on the device itself, or the device is not like the one they mean.
LEFT_OUT = "not slow"
LEAN = ["-p", "no:nbval", "-p", "no:zarr", "-p", "no:anyio"]  # three seconds of each process, as in tests/run_all.py


def commands(kind: str) -> list[list[str]]:
    """The runs of one kind of device, one after the other."""
    pytest = [sys.executable, "-m", "pytest", "-q", *LEAN, "-m", LEFT_OUT]
    plugin = f"{Path(os.environ['XMODAL_PRETEND_DEVICE']).name}.plugin"
    return [[*pytest, "tests/device"], [*pytest, "-p", plugin, *BESIDE[kind]]]


def environment(kind: str) -> dict[str, str]:
    """With the device's folder among the places of modules."""
    above = str(Path(os.environ["XMODAL_PRETEND_DEVICE"]).resolve().parent)
    places = os.pathsep.join(p for p in (above, os.environ.get("PYTHONPATH", "")) if p)
    return {**os.environ, "PRETEND_DEVICE": kind, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}


def main() -> int:
    """Two runs at a time, the longer ones first; one line each."""
    runs = [(kind, command) for command in range(2) for kind in BESIDE]

    def run(kind: str, which: int) -> bool:
        command = commands(kind)[which]
        status = subprocess.call(command, cwd=ROOT, env=environment(kind))
        print(f"{kind}: {' '.join(command[len(LEAN) + 6 :])}: {'passed' if status == 0 else 'FAILED'}", flush=True)
        return status == 0

    with ThreadPoolExecutor(2) as beside:
        return int(not all(list(beside.map(run, *zip(*runs, strict=True)))))


if __name__ == "__main__":
    sys.exit(main())
