"""A sweep over two devices: a process on each. They are processes of their own, and so is what starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import FOLDER

HELPERS = Path(__file__).resolve().parent.parent / "helpers"


def test_members_are_spread_over_the_devices(gpu: Any, tmp_path: Path) -> None:
    if gpu.type != "cuda":
        pytest.skip("there is one device of this kind")
    folder = Path(FOLDER).resolve()
    # Python runs this at the start of every process, also of the pool's.
    start = f"import {folder.name}; {folder.name}.install('cuda', devices=2)"
    (tmp_path / "sitecustomize.py").write_text(start, encoding="utf-8")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent("""
        import toy_experiments as toy
        import xmodal_lab as xl

        if __name__ == "__main__":
            with xl.sweeps.Devices() as executor:
                assert executor.devices == ("cuda:0", "cuda:1"), executor.devices
                cube = xl.sweep(toy.PLACED, executor=executor, seed=range(40), kind="cuda", nap=0.2, progress=False)
            assert cube.auto.equals(cube.named), cube
            assert set(cube.auto.values.tolist()) == {0.0, 1.0}, cube.auto.values
            print("spread")
    """), encoding="utf-8")  # fmt: skip
    places = [str(tmp_path), str(folder.parent), str(HELPERS), os.environ.get("PYTHONPATH", "")]
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    ran = subprocess.run([sys.executable, str(script)], env=surroundings, capture_output=True, text=True, check=False)
    assert ran.stdout.strip().endswith("spread"), ran.stderr
