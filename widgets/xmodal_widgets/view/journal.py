"""Results of "Train here" on disk: one small file for each, beside the sweep whose cube they belong to.

    <store>/trained/<name>.npz      the setting, the fixed settings, and the arrays with their dimensions

A file is renamed into place when it is whole, so that a killed kernel leaves none that is half written. A store of
:func:`xmodal_lab.sweep` may hold the folder: neither the sweep nor ``xarray.open_zarr`` looks at it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "trained"


def write(
    store: Path, setting: Mapping[str, Any], fixed: Mapping[str, Any], arrays: Mapping[str, xr.DataArray]
) -> Path:
    """Keep the ``arrays`` that were computed at ``setting`` and ``fixed``; an older result for both is replaced."""
    from xmodal_lab.utils.files import beside  # at use: a view needs no torch

    (store / FOLDER).mkdir(parents=True, exist_ok=True)
    told = {"setting": dict(setting), "fixed": dict(fixed), "dims": {name: list(a.dims) for name, a in arrays.items()}}
    words = json.dumps(told, sort_keys=True, default=_plain)
    name = hashlib.sha256(json.dumps([told["setting"], told["fixed"]], sort_keys=True, default=_plain).encode())
    held: dict[str, Any] = {f"value:{name}": np.asarray(a.values) for name, a in arrays.items()}
    for array in arrays.values():
        for dim in array.dims:
            if dim in array.coords:
                held[f"coord:{dim}"] = _storable(array[dim].values)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, words=np.asarray(words), **held)
    path = store / FOLDER / f"{name.hexdigest()[:20]}.npz"
    with beside(path) as unfinished:
        unfinished.write_bytes(buffer.getvalue())
    return path


def read(store: Path, fixed: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, xr.DataArray]]]:
    """Setting and arrays of every file whose fixed settings are these; damaged files are passed over."""
    import xarray as xr

    for path in sorted((store / FOLDER).glob("*.npz")):
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                held = {name: file[name] for name in file.files}
            told = json.loads(str(held["words"]))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            continue
        if told["fixed"] != json.loads(json.dumps(dict(fixed), default=_plain)):
            continue
        arrays = {}
        for name, dims in told["dims"].items():
            coords = {dim: held[f"coord:{dim}"] for dim in dims if f"coord:{dim}" in held}
            arrays[name] = xr.DataArray(held[f"value:{name}"], coords, dims)
        yield told["setting"], arrays


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _storable(values: np.ndarray) -> np.ndarray:
    return values if values.dtype.kind in "fiub" else np.asarray([str(v) for v in values])
