"""The tests of devices, and some of the project's own beside a device: cuda and mps at the same time.

    XMODAL_PRETEND_DEVICE=folder/of/pretend_device python tests/device/tier.py

Beside a device means that it is there while tests that know nothing of it run: what says "auto" then takes it. About
three minutes on two cores, besides a minute for each kind when it is compiled first.
"""

from __future__ import annotations

import os
import subprocess
import sys
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
    """Both kinds beside each other; one line each at the end."""
    status = 0
    for step in range(2):
        running = {kind: subprocess.Popen(commands(kind)[step], cwd=ROOT, env=environment(kind)) for kind in BESIDE}
        for kind, process in running.items():
            what = " ".join(commands(kind)[step][len(LEAN) + 6 :])
            print(f"{kind}: {what}: {'passed' if process.wait() == 0 else 'FAILED'}", flush=True)
            status |= process.returncode
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
