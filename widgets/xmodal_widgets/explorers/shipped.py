"""The cubes that explorers open on: one zipped Zarr store each, shipped with the package."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

FOLDER = Path(__file__).parent / "cubes"
LARGEST = 3 << 20  # bytes


def has(name: str) -> bool:
    """Whether this version ships the cube called ``name``."""
    return (FOLDER / f"{name}.zarr.zip").is_file()


def load(name: str) -> xr.Dataset:
    """The shipped cube called ``name``.

    Raises:
        ValueError: this version ships none.
    """
    import xarray as xr
    import zarr

    path = FOLDER / f"{name}.zarr.zip"
    if not path.is_file():
        raise ValueError(
            f"this version ships no cube {name!r}; from a clone, `make cubes` computes it, "
            "or give a cube of your own: explore(cube) with an xarray.Dataset."
        )
    with zarr.storage.ZipStore(path, mode="r") as store:
        cube = xr.open_zarr(store, consolidated=False, zarr_format=3, chunks=None).load()  # chunks would import dask
    # Zarr lists members in no order: without one, the same view would not be the same bytes each time.
    data, coords = ({name: part[name] for name in sorted(part)} for part in (cube.data_vars, cube.coords))
    cube = xr.Dataset(data, coords, cube.attrs)
    # Zarr holds dicts, netCDF does not: as xl.sweep gives them, so that a user may write the cube into either.
    for part in (cube, *(cube[name] for name in cube.variables)):
        part.attrs = attributes(part.attrs)
    return cube


def attributes(facts: Mapping[str, Any]) -> dict[str, str | int | float]:
    """As ``xmodal_lab.sweeps.cubes.attributes``, which would bring torch along; a test holds the two together."""
    plain = {k: v if isinstance(v, (str, int, float)) and not isinstance(v, bool) else None for k, v in facts.items()}
    return {k: json.dumps(facts[k], ensure_ascii=False) if v is None else v for k, v in plain.items()}


def save(cube: xr.Dataset, name: str) -> Path:
    """Write the cube as one zip.

    Raises:
        ValueError: more than :data:`LARGEST` bytes.
    """
    path = FOLDER / f"{name}.zarr.zip"
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Zarr's, that text of a fixed length may be unreadable elsewhere: it is ours
        cube.to_zarr(Path(folder) / "cube", consolidated=False, zarr_format=3)
        packed = Path(shutil.make_archive(str(Path(folder) / name), "zip", Path(folder) / "cube"))
        size = packed.stat().st_size
        if size > LARGEST:
            raise ValueError(f"the cube {name!r} takes {size} bytes, more than the {LARGEST} that may ship.")
        FOLDER.mkdir(exist_ok=True)
        shutil.move(packed, path)
    return path
