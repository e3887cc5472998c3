"""What a view takes from the cube that it opens on: its sweep's settings, what can train it, where that is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import Grid, listed, one_of
from .joining import WHY, joined
from .train import Compute

if TYPE_CHECKING:
    import xarray as xr


def offered_settings(cube: xr.Dataset, offers: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among ``offers`` that were the same for the whole cube, as its sweep tells them."""
    told: Any = cube.attrs.get("defaults", {})
    defaults = json.loads(told) if isinstance(told, str) else told
    known = {**defaults, **fixed_settings(cube)}
    return {name: known[name] for name in offers if name not in cube.dims and name in known}


def fixed_settings(cube: xr.Dataset) -> dict[str, Any]:
    """The settings that a sweep held fixed, as its cube tells them; none where the cube comes from elsewhere."""
    told = cube.attrs.get("settings", {})
    try:
        settings = json.loads(told) if isinstance(told, str) else told
    except ValueError:
        return {}
    return {str(k): v for k, v in settings.items() if k not in cube.dims} if isinstance(settings, Mapping) else {}


def trainable(cube: xr.Dataset, compute: Compute | None, experiment: Any) -> Compute | None:
    """What "Train here" runs; an experiment's own ``compute`` gets the cube's defaults and fixed settings."""
    owner = getattr(compute, "__self__", None)
    if experiment is None and hasattr(owner, "with_defaults") and hasattr(owner, "member"):
        experiment = owner
    if experiment is None:
        return compute
    from xmodal_lab import sweeps  # at use: a view needs no torch

    return sweeps.trainer(cube, experiment)


def store_of(cube: xr.Dataset, store: str | Path | None, may_train: bool) -> Path | None:
    """The folder that keeps what is trained here: the ``store`` asked for, or that of the sweep the cube comes from.

    Raises:
        ValueError: a file stands there.
    """
    if store is not None:
        from xmodal_lab.utils import checks as check  # at use: a view needs no torch

        path = check.path("store", store)
        if path.is_file():
            raise ValueError(f"store must name a folder, such as runs/name.zarr; {str(store)!r} is a file.")
        return path
    source = cube.encoding.get("source")
    if not may_train or "xmodal_sweep" not in cube.attrs or not isinstance(source, str) or not Path(source).is_dir():
        return None
    return Path(source)


def with_stored(cube: xr.Dataset, store: Path) -> xr.Dataset:
    """The cube with what earlier sessions trained into the store."""
    from xmodal_lab.sweeps import trained  # at use: a view needs no torch

    for setting, arrays in trained.read(store, fixed_settings(cube)):
        known = {name: array for name, array in arrays.items() if name in cube.data_vars or name == WHY}
        if known and all(name in cube.dims for name in setting):
            cube = joined(cube, setting, known)
    return cube


def parts_of(cube: xr.Dataset, at: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, xr.DataArray]:
    """What a result brought to the cube, with its coordinates."""
    import xarray as xr

    parts: dict[str, xr.DataArray] = {}
    for name, value in result.items():
        own = dims_of(value)
        rest = [d for d in cube[name].dims if d in own or d not in at]
        coords = {d: cube[d].values for d in rest if d in cube.coords}
        if own:
            parts[name] = value.transpose(*rest)
        else:
            parts[name] = xr.DataArray(np.asarray(value, dtype=float), coords, rest)
    return parts


def dims_of(value: Any) -> tuple[str, ...]:
    """The dimensions of a result that names its own; none of a plain array."""
    return tuple(str(d) for d in value.dims) if hasattr(value, "dims") and hasattr(value, "coords") else ()


def averages(average: str | Sequence[str], grid: Grid) -> tuple[str, ...]:
    """The dimensions whose control offers their mean.

    Raises:
        ValueError: the cube has no such dimension.
    """
    names = (average,) if isinstance(average, str) else tuple(listed("average", average))
    for name in names:
        if name != "seed":  # the default; a cube without seeds is fine
            one_of("dimension in average", name, tuple(grid.dims))
    return tuple(name for name in names if name in grid.dims)
