"""Compute the cubes that explorers open on (``make cubes``); each is one zipped Zarr store of at most 3 MB.

python scripts/make_cubes.py [dml ...]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import torch
import xarray as xr
from xmodal_widgets.explorers import dml

MAKERS = {"dml": dml.compute_cube}
LARGEST = 3 << 20


def save(cube: xr.Dataset, path: Path) -> None:
    """Write the cube as one zip of a Zarr store; a size above ``LARGEST`` is refused."""
    with tempfile.TemporaryDirectory() as folder:
        cube.to_zarr(folder, consolidated=False, zarr_format=3)
        shutil.make_archive(str(path.with_suffix("")), "zip", folder)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path.name} has {path.stat().st_size} bytes, more than {LARGEST}.")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MAKERS:
        save(MAKERS[name](progress=True), dml.CUBES / f"{name}.zarr.zip")
