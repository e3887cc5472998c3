"""Results of "Train here" on disk: one small file for each, beside the sweep whose cube they belong to.

    <store>/trained/<name>.npz      the setting, the fixed settings, and the arrays with their dimensions

A file is renamed into place when it is whole, so that a killed kernel leaves none that is half written.
``xarray.open_zarr`` does not look at the folder. A later :func:`xmodal_lab.sweep` into the store does: what was
trained here by its experiment, as its code is now, is not computed again.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..utils.files import beside
from ..utils.version import __version__
from . import edited
from .cubes import Arrays, Layout, Reasons
from .experiment import WHY, Experiment, as_json
from .tasks import Job

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "trained"


def source(experiment: Experiment, settings: Mapping[str, Any]) -> dict[str, Any]:
    """By what a result was computed: experiment, its code and data, and the member's settings in their normal form.

    Args:
        experiment: which.
        settings: of the member, as far as they are not the experiment's defaults.

    Returns:
        Facts, JSON-able; a result with the same ones is the same result.

    Raises:
        ValueError: settings that make no sense.
    """
    whole = experiment.settings(**settings)
    whole = dict(experiment.normal(dict(whole))) if experiment.normal is not None else whole
    return _facts(experiment, whole, edited.parts(experiment))


def _facts(experiment: Experiment, settings: Mapping[str, Any], code: Mapping[str, str]) -> dict[str, Any]:
    data = "" if experiment.data is None else experiment.data(dict(settings))
    facts = {"experiment": experiment.name, "version": experiment.version, "xmodal_lab": __version__, "data": data}
    found: dict[str, Any] = as_json({**facts, "code": dict(code), "settings": dict(settings)})
    return found


def write(
    store: Path,
    setting: Mapping[str, Any],
    fixed: Mapping[str, Any],
    arrays: Mapping[str, xr.DataArray],
    source: Mapping[str, Any] | None = None,
    why: Reasons | None = None,
) -> Path:
    """Keep what was computed; an older result for the same settings is replaced.

    Args:
        store: the folder of the sweep.
        setting: of the view's controls.
        fixed: the settings that were the same for its cube.
        arrays: variable -> array with its dimensions.
        source: as :func:`source` tells it; None where the computation is nobody's experiment.
        why: variable -> why it is NaN.

    Returns:
        The file.
    """
    (store / FOLDER).mkdir(parents=True, exist_ok=True)
    told = {"setting": dict(setting), "fixed": dict(fixed), "dims": {name: list(a.dims) for name, a in arrays.items()}}
    told |= {} if source is None else {"source": dict(source)}
    told |= {WHY: dict(why)} if why else {}
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


def read(store: Path, fixed: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Setting and arrays of every file whose fixed settings are these; damaged files are passed over.

    Args:
        store: the folder of the sweep.
        fixed: the settings that are the same for the cube which the results are to join.

    Returns:
        (setting, variable -> array) of each; under "why" variable -> why it is NaN, where it was told.
    """
    for told, arrays in _files(store):
        if told["fixed"] == json.loads(json.dumps(dict(fixed), default=_plain)):
            yield told["setting"], {**arrays, WHY: told[WHY]} if WHY in told else arrays


def members(store: Path, experiment: Experiment, layout: Layout, jobs: Sequence[Job]) -> Iterator[tuple[Job, Arrays]]:
    """Jobs of a sweep that a view has computed into its store, by the same code, and their results.

    Args:
        store: the folder of the sweep.
        experiment: of the sweep.
        layout: of its cube.
        jobs: what it is to compute.

    Returns:
        (job, arrays) of each.
    """
    if not (store / FOLDER).is_dir():
        return
    wanted = {json.dumps(as_json(dict(job.settings)), sort_keys=True): job for job in jobs}
    code = edited.parts(experiment)
    for told, arrays in _files(store):
        by = told.get("source", {})
        job = wanted.get(json.dumps(by.get("settings"), sort_keys=True))
        if job is None or edited.differing(by["code"], code) or by != {**_facts(experiment, job.settings, by["code"])}:
            continue
        try:
            known = {name: array for name, array in arrays.items() if name in layout.variables}
            yield job, layout.checked({**known, WHY: {n: why for n, why in told.get(WHY, {}).items() if n in known}})
        except (ValueError, TypeError):  # of a view that kept some of the variables
            continue


def _files(store: Path) -> Iterator[tuple[dict[str, Any], dict[str, xr.DataArray]]]:
    import xarray as xr

    for path in sorted((store / FOLDER).glob("*.npz")):
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                held = {name: file[name] for name in file.files}
            told = json.loads(str(held["words"]))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            continue
        arrays = {}
        for name, dims in told["dims"].items():
            coords = {dim: held[f"coord:{dim}"] for dim in dims if f"coord:{dim}" in held}
            arrays[name] = xr.DataArray(held[f"value:{name}"], coords, dims)
        yield told, arrays


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _storable(values: np.ndarray) -> np.ndarray:
    return values if values.dtype.kind in "fiub" else np.asarray([str(v) for v in values])
