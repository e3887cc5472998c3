"""A computed setting joins a cube: at its place, or at a new one between, beyond or beside the known values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

# The attribute of a variable whose whole numbers became floats because a gap needs NaN; holds the dtype they had.
CODES = "codes"
# Where a result, and a cube's attributes, say why variables are NaN; as xmodal_lab.sweeps.experiment has it.
WHY = "why"
Places = Mapping[str, int]


def joined(cube: xr.Dataset, setting: Mapping[str, Any], result: Any) -> xr.Dataset:
    """``cube`` with ``result`` at ``setting``; a value that is new on an axis gets a place on it.

    Numbers keep their order, new names come last. What the new place leaves open is NaN; whole numbers (codes)
    stay whole where no gap arises, and keep the attribute :data:`CODES` where one does.

    Args:
        cube: the cube; it is left as it is.
        setting: dimension -> value; names that are no dimension are passed over.
        result: variable -> array of the variable's other dimensions. A DataArray may bring dimensions of the setting
            itself (all strengths of a test, say): it is then placed by its own coordinates. Under "why": variable ->
            why it is NaN.

    Returns:
        A new Dataset.

    Raises:
        TypeError: ``result`` is not a dict.
        ValueError: an unknown variable, an array of the wrong shape, a coordinate that the cube does not know.
    """
    if not isinstance(result, Mapping) or not result:
        raise TypeError(f"compute must return a dict such as {{'loss': array}}, got {type(result).__name__}.")
    result, why = parted(cube, result)
    for name in result:
        if name not in cube.data_vars:
            known = ", ".join(repr(str(v)) for v in cube.data_vars)
            raise ValueError(f"compute returned {name!r}, which is no variable of the cube; known: {known}.")
    grown, _ = with_places(cube, {dim: setting[dim] for dim in used_dims(cube, setting, result)})
    for name, value in result.items():
        grown[name] = _written(grown, name, setting, value)
    if why:
        at = {dim: [setting[dim]] for dim in setting if dim in cube.dims}
        told = {name: [one for one in held if one["at"] != at] for name, held in reasons_of(cube).items()}
        for name, sentence in why.items():
            told.setdefault(name, []).append({"why": str(sentence), "at": at})
        grown.attrs = {**grown.attrs, WHY: json.dumps(told, ensure_ascii=False, default=_plain)}
    return grown


def parted(cube: xr.Dataset, result: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The variables of a result, and variable -> why it is NaN."""
    variables = {name: value for name, value in result.items() if name != WHY or WHY in cube.data_vars}
    return variables, {} if WHY in variables else dict(result.get(WHY) or {})


def reasons_of(cube: xr.Dataset) -> dict[str, list[dict[str, Any]]]:
    """Why variables of the cube are NaN: variable -> [{"why": reason, "at": {dimension: values}}], as a sweep tells it.

    What holds elsewhere than in this part of a cube, or at a dimension that it does not know, is left out.
    """
    told = cube.attrs.get(WHY, {})
    try:
        told = json.loads(told) if isinstance(told, str) else told
    except ValueError:
        return {}
    found: dict[str, list[dict[str, Any]]] = {}
    for name, held in told.items() if isinstance(told, Mapping) else ():
        listed = [{"why": held, "at": {}}] if isinstance(held, str) else held  # of a single look
        for one in listed if isinstance(listed, list) else ():
            at = _within(cube, one["at"]) if isinstance(one, Mapping) and isinstance(one.get("at"), Mapping) else None
            if at is not None:
                found.setdefault(str(name), []).append({"why": str(one.get("why", "")), "at": at})
    return found


def _within(cube: xr.Dataset, at: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """``at`` in the dimensions of the cube; None where a value that was selected before is not in it."""
    left: dict[str, list[Any]] = {}
    for dim, values in at.items():
        if dim in cube.dims:
            left[dim] = list(values)
        elif dim not in cube.coords or cube[dim].ndim or cube[dim].item() not in values:
            return None
    return left


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def with_settings(cube: xr.Dataset, settings: Mapping[str, Any], variables: Sequence[str] | None = None) -> xr.Dataset:
    """The cube with a dimension of one value for each setting that was the same for all of it.

    Args:
        cube: without dimensions of these names.
        settings: setting -> the value that it had; a view can then offer others.
        variables: those that depend on the settings; all when not given.

    Returns:
        A new Dataset; it holds as many numbers as before.
    """
    names = [str(name) for name in cube.data_vars] if variables is None else list(variables)
    grown = cube.copy()
    for name in names:
        grown[name] = cube[name].expand_dims({k: [v] for k, v in settings.items()})
    return grown


def used_dims(cube: xr.Dataset, setting: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """The dimensions of ``setting`` at whose values ``result`` is placed: those it does not bring itself."""
    used = {d for name, value in result.items() for d in cube[name].dims if d in setting and d not in _dims_of(value)}
    return [dim for dim in setting if dim in used]


def new_places(cube: xr.Dataset, setting: Mapping[str, Any]) -> dict[str, int]:
    """Where the values of ``setting`` that the cube lacks would stand on their axes.

    Raises:
        ValueError: a place beyond a dimension without coordinates.
    """
    found: dict[str, int] = {}
    for dim, value in setting.items():
        if match(cube, dim, value) is not None:
            continue
        if dim not in cube.coords:
            raise ValueError(f"dimension {dim!r} has no coordinates and {cube.sizes[dim]} steps; {value!r} is no step.")
        values = cube[dim].values
        if values.dtype.kind not in "fiu":
            found[dim] = len(values)
        else:  # axes may run down, too
            found[dim] = int(((values > value) if values[0] > values[-1] else (values < value)).sum())
    return found


def with_places(cube: xr.Dataset, setting: Mapping[str, Any]) -> tuple[xr.Dataset, dict[str, int]]:
    """The cube with room for the values of ``setting``, and the index of each value that is new."""
    import xarray as xr

    inserted = new_places(cube, setting)
    if not inserted:
        return cube.copy(), {}
    coords: dict[str, Any] = {}
    for key, coord in cube.coords.items():
        name = str(key)
        if name in inserted and name in cube.dims:
            coords[name] = (name, _longer(coord.values, inserted[name], setting[name]), dict(coord.attrs))
        else:
            coords[name] = _with_gaps(coord, inserted)
    variables = {name: _with_gaps(var, inserted) for name, var in cube.data_vars.items()}
    return xr.Dataset(variables, coords, cube.attrs), inserted


def match(cube: xr.Dataset, dim: str, value: Any) -> int | None:
    """The index of ``value`` along ``dim``; None where the axis has no such value."""
    if dim not in cube.coords:
        return int(value) if 0 <= int(value) < cube.sizes[dim] else None
    values = cube[dim].values
    if values.dtype.kind == "f":
        same = np.isclose(values, float(value), rtol=1e-9, atol=1e-12)
    elif values.dtype.kind in "iu":
        same = values == value
    else:
        same = np.asarray([str(v) == str(value) for v in values])
    found = np.flatnonzero(same)
    return int(found[0]) if len(found) else None


def _dims_of(value: Any) -> tuple[str, ...]:
    return tuple(str(d) for d in value.dims) if hasattr(value, "dims") and hasattr(value, "coords") else ()


def _longer(values: np.ndarray, at: int, value: Any) -> np.ndarray:
    """Coordinates with one more; text of any kind (a store's own string type too) becomes NumPy's."""
    if values.dtype.kind in "fiu":  # float32 could not hold the exact value
        return np.insert(values.astype(float if isinstance(value, float) else values.dtype), at, value)
    listed = [str(v) for v in values]
    listed.insert(at, str(value))
    return np.asarray(listed)


def _with_gaps(var: xr.DataArray, inserted: Places) -> tuple[Any, ...]:
    """A variable with a gap at each inserted index of its dimensions."""
    values, attrs = var.values, dict(var.attrs)
    here = [(axis, inserted[str(dim)]) for axis, dim in enumerate(var.dims) if dim in inserted]
    if here and values.dtype.kind in "iub":
        attrs.setdefault(CODES, str(values.dtype))
        values = values.astype(float)
    for axis, at in here:
        values = np.insert(values, at, np.nan if values.dtype.kind == "f" else "", axis=axis)
    return (var.dims, values, attrs)


def _written(cube: xr.Dataset, name: str, setting: Mapping[str, Any], value: Any) -> tuple[Any, ...]:
    # Imported here, since it brings torch, which a view that only shows what is there does without.
    from xmodal_lab.utils import checks as check

    var, own = cube[name], _dims_of(value)
    dims = tuple(str(d) for d in var.dims)
    rest = [d for d in dims if d in own or d not in setting]
    array = check.as_array(value).astype(float)
    if own and set(own) == set(rest):
        array = np.asarray(value.transpose(*rest).values, dtype=float)
    places: list[Sequence[int]] = []
    for dim in dims:
        if dim not in rest:
            places.append([match(cube, dim, setting[dim])])  # type: ignore[list-item]
        elif dim in own and dim in value.coords and dim in cube.coords:
            places.append(_indices(cube, name, dim, value[dim].values.tolist()))
        else:
            places.append(range(cube.sizes[dim]))
    shape = tuple(len(places[dims.index(d)]) for d in rest)
    if array.shape != shape:
        raise ValueError(
            f"compute returned {name!r} of shape {array.shape}, expected {shape} for the dimensions {tuple(rest)}."
        )
    attrs = dict(var.attrs)
    values = var.values.astype(float) if var.dtype.kind in "iub" else var.values.copy()
    values[np.ix_(*places)] = array.reshape([len(p) for p in places])
    codes = str(var.dtype) if var.dtype.kind in "iub" else attrs.get(CODES)
    if codes is not None:
        whole = bool(np.isfinite(values).all() and (values == np.round(values)).all())
        attrs.pop(CODES, None)
        if whole:
            values = values.astype(codes)
        else:
            attrs[CODES] = codes
    return (var.dims, values, attrs)


def _indices(cube: xr.Dataset, name: str, dim: str, labels: Sequence[Any]) -> list[int]:
    found = [match(cube, dim, label) for label in labels]
    for label, at in zip(labels, found, strict=True):
        if at is None:
            raise ValueError(f"compute returned {name!r} at {dim} = {label!r}, which the cube does not have.")
    return found  # type: ignore[return-value]
