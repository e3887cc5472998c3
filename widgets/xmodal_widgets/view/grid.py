"""A cube as the browser sees it: one run of float32 and a layout that says where what is.

``Grid.of(dataset)`` checks what a user hands in; ``grid.layout()`` and ``grid.payload()``
are what travels, once; ``Grid.decode(layout, payload)`` is the way back, bit for bit.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .joining import CODES, reasons_of

if TYPE_CHECKING:
    import xarray as xr

# More than this takes a browser longer to receive than a reader waits (ours: 25 MB show in 4.4 s).
LIMIT_BYTES = 64 << 20

Value = str | float | int | bool


def one_of(what: str, value: object, known: Collection[str]) -> str:
    """Return ``value`` if it is one of ``known``; otherwise name the known ones."""
    if isinstance(value, str) and value in known:
        return value
    from xmodal_lab.utils import checks as check  # at use: a view needs no torch

    return check.one_of(what, value, known)


def listed(what: str, value: object) -> list[Any]:
    """``value`` as a list of names, or an error that says what came."""
    if isinstance(value, list | tuple):  # the rule's own file would import torch before the first picture
        return list(value)
    from xmodal_lab.utils import checks as check  # at use: a view needs no torch

    return check.listed(what, value)


@dataclass(frozen=True)
class Dim:
    """One dimension: its name, its kind ("float", "int", "category", "bool") and the values on the grid."""

    name: str
    kind: str
    values: tuple[Value, ...]
    label: str
    units: str = ""

    @property
    def numeric(self) -> bool:
        """Whether values have a distance; only "float" may be interpolated, since counts have no halves."""
        return self.kind in ("float", "int")

    def index(self, value: object) -> int | None:
        """The place of ``value`` on the grid, or None when it is not on it."""
        if self.kind == "category":
            return self.values.index(value) if isinstance(value, str) and value in self.values else None
        if isinstance(value, str) or (self.kind == "bool") != isinstance(value, bool | np.bool_):
            return None
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError, RuntimeError):
            return None
        grid = np.asarray(self.values, dtype=float)
        near = int(np.argmin(np.abs(grid - number))) if math.isfinite(number) else 0
        return near if math.isclose(grid[near], number, rel_tol=1e-9, abs_tol=1e-12) else None

    def listed(self, most: int = 12) -> str:
        """The values as text, shortened when there are many."""
        shown = [f"{v:g}" if self.numeric else repr(v) for v in self.values]
        if len(shown) > most:
            shown = [*shown[: most - 2], "...", shown[-1]]
        return ", ".join(shown)


@dataclass(frozen=True, eq=False)
class Grid:
    """A checked cube: dimensions and float32 arrays, ready to travel."""

    dims: Mapping[str, Dim]
    axes: Mapping[str, tuple[str, ...]]
    arrays: Mapping[str, np.ndarray]
    attrs: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, cube: xr.Dataset) -> Grid:
        """Check ``cube`` and take its numbers.

        Raises:
            TypeError: not a Dataset, a variable that is not made of real numbers.
            ValueError: nothing in it, a coordinate with repeated or missing values, more than 64 MB.
        """
        _checked(cube)
        # In the order of the variables: a Dataset's own order is another in each session.
        order = dict.fromkeys(name for key in cube.data_vars for name in cube[key].dims)
        dims = {str(name): _dim(cube, str(name)) for name in [*order, *(n for n in cube.dims if n not in order)]}
        for dim in dims.values():  # sliders and axes run upwards
            if dim.numeric and list(dim.values) != sorted(dim.values):
                return cls.of(cube.sortby(dim.name))
        axes, arrays, attrs, why = {}, {}, {}, reasons_of(cube)
        for key in [*cube.data_vars, *_numeric_extras(cube)]:
            name = str(key)
            axes[name] = tuple(str(d) for d in cube[key].dims)
            with np.errstate(over="ignore"):  # beyond float32 is drawn as a gap, like Inf
                arrays[name] = np.ascontiguousarray(cube[key].values, dtype=np.float32)
            attrs[name] = {**_attrs(cube[key], name), "extra": key in cube.coords, "why": why.get(name, [])}
        return cls(dims, axes, arrays, attrs)

    def layout(self) -> dict[str, Any]:
        """What the browser must know to read the payload: dimensions, and place and range of each variable."""
        at, described = 0, []
        for name, array in self.arrays.items():
            finite = array[np.isfinite(array)]
            positive = finite[finite > 0]
            described.append(
                {
                    "name": name,
                    "dims": list(self.axes[name]),
                    "shape": list(array.shape),
                    "offset": at,
                    "range": [float(finite.min()), float(finite.max())] if finite.size else None,
                    "positive": float(positive.min()) if positive.size else None,
                    **self.attrs[name],
                }
            )
            at += array.size
        dims = [
            {"name": d.name, "kind": d.kind, "values": list(d.values), "label": d.label, "units": d.units}
            for d in self.dims.values()
        ]
        return {"dims": dims, "vars": described, "total": at}

    def payload(self) -> bytes:
        """All variables, one after another, as little-endian float32."""
        return b"".join(array.astype("<f4", copy=False).tobytes() for array in self.arrays.values())

    def slabs(
        self, names: Sequence[str], setting: Mapping[str, Value], own: Mapping[str, Collection[str]]
    ) -> list[tuple[str, dict[str, int], np.ndarray]]:
        """The parts of variables that a result at ``setting`` fills: name, index along its dimensions, numbers.

        ``own`` names the dimensions of the setting that a variable's result brings itself.
        """
        found = []
        for name in names:
            place: dict[str, int] = {}
            for dim in self.axes[name]:
                if dim in setting and dim not in own[name] and (at := self.dims[dim].index(setting[dim])) is not None:
                    place[dim] = at
            index = tuple(place.get(dim, slice(None)) for dim in self.axes[name])
            found.append((name, place, self.arrays[name][index]))
        return found

    def holds(self, setting: Mapping[str, Value], looked_at: Collection[str] = ()) -> bool:
        """Whether a result was computed at ``setting``: some number of those variables that vary with most of it.

        Args:
            setting: dimension -> value.
            looked_at: dimensions that a result brings all of; where along them one stands makes no difference.
        """
        dims = [d for d in setting if d in self.dims and d not in looked_at]
        varies = {n: [d for d in dims if d in axes] for n, axes in self.axes.items() if not self.attrs[n]["extra"]}
        most = max(map(len, varies.values()), default=0)
        at = {d: self.dims[d].index(setting[d]) for d in dims}
        for name in (n for n, own in varies.items() if len(own) == most):
            index = tuple(at[d] if d in varies[name] else slice(None) for d in self.axes[name])
            if None not in index and bool(np.isfinite(self.arrays[name][index]).any()):
                return True
        return not most

    def since(self, before: Grid) -> dict[str, list[int]]:
        """Indices along each dimension that an earlier grid did not have."""
        new = {}
        for name, dim in self.dims.items():
            known = set(before.dims[name].values)
            if fresh := [k for k, value in enumerate(dim.values) if value not in known]:
                new[name] = fresh
        return new

    @classmethod
    def decode(cls, layout: Mapping[str, Any], payload: bytes) -> Grid:
        """The grid that ``layout()`` and ``payload()`` describe."""
        flat = np.frombuffer(payload, dtype="<f4")
        if len(flat) != layout["total"]:
            raise ValueError(f"the layout speaks of {layout['total']} numbers, the payload holds {len(flat)}.")
        dims = {
            d["name"]: Dim(d["name"], d["kind"], tuple(d["values"]), d["label"], d["units"]) for d in layout["dims"]
        }
        axes, arrays, attrs = {}, {}, {}
        for var in layout["vars"]:
            size = math.prod(var["shape"])
            arrays[var["name"]] = flat[var["offset"] : var["offset"] + size].reshape(var["shape"])
            axes[var["name"]] = tuple(var["dims"])
            attrs[var["name"]] = {key: var[key] for key in ("label", "units", "meanings", "whole", "extra", "why")}
        return cls(dims, axes, arrays, attrs)

    def named(self, name: str) -> str:
        """A variable or dimension as an axis writes it: ``loss [nats]``."""
        label, units = self.words(name)
        return f"{label} [{units}]" if units else label

    def words(self, name: str) -> tuple[str, str]:
        """The long name and the units of a variable or dimension."""
        if name in self.attrs:
            return str(self.attrs[name]["label"]), str(self.attrs[name]["units"])
        return self.dims[name].label, self.dims[name].units

    def take(self, name: str, setting: Mapping[str, Value], keep: Sequence[str], codes: bool = False) -> np.ndarray:
        """The part of a variable that a setting shows, with dimensions ``keep`` in that order.

        A value between grid steps is interpolated linearly between its nearest neighbours that are not NaN; with
        ``free`` in the setting a gap on the grid is, too. Beyond the ends of the grid nothing is known. "mean" averages
        what is finite, so that a seed which is missing or diverged does not hide the others. ``codes`` have nothing
        between them: the nearer neighbour's is taken.
        """
        part, left = self.arrays[name].astype(float), list(self.axes[name])
        means = [d for d in left if d not in keep and setting[d] == "mean" and self.dims[d].index("mean") is None]
        for dim in reversed([d for d in left if d not in keep and d not in means]):
            part = _along(part, left.index(dim), self.dims[dim], setting[dim], bool(setting.get("free", False)), codes)
            left.remove(dim)
        if means:
            part = np.where(np.isfinite(part), part, np.nan)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # all seeds missing: the mean is a gap too
                part = np.nanmean(part, axis=tuple(left.index(d) for d in means))
            left = [d for d in left if d not in means]
        shown: np.ndarray = part.transpose([left.index(d) for d in keep if d in left])
        return shown

    def why(self, names: Iterable[str], setting: Mapping[str, Value]) -> str:
        """Why nothing of these variables is known at a setting, where their sweep has said so; as ``js/data/cube.js``.

        "" where it has not.
        """
        for one in (one for name in names for one in self.attrs[name]["why"]):
            if all(d not in setting or self._among(d, setting[d], values) for d, values in one["at"].items()):
                return str(one["why"])
        return ""

    def _among(self, dim: str, value: Value, values: Iterable[Value]) -> bool:
        here = self.dims[dim].index(value)
        if value == "mean" and here is None:
            return True
        return here is not None and here in map(self.dims[dim].index, values)

    def between(self, name: str, setting: Mapping[str, Value], keep: Sequence[str]) -> bool:
        """Whether what a setting shows of a variable is interpolated, not computed."""
        return any(
            self.dims[d].numeric and setting[d] != "mean" and self.dims[d].index(setting[d]) is None
            for d in self.axes[name]
            if d not in keep
        )


def _along(part: np.ndarray, axis: int, dim: Dim, value: object, free: bool, codes: bool) -> np.ndarray:
    """``part`` at one value of a dimension; as ``js/data/cube.js`` does it."""
    at = dim.index(value)
    planes = np.moveaxis(part, axis, 0)
    if at is not None:
        here: np.ndarray = planes[at]
        if dim.kind != "float" or not free or not np.isnan(here).any():
            return here
        return np.where(np.isnan(here), _bridged(planes, dim, at - 1, at + 1, float(dim.values[at]), codes), here)
    if dim.kind != "float" or not dim.values[0] < float(value) < dim.values[-1]:  # type: ignore[arg-type, operator]
        return np.full(planes.shape[1:], np.nan)
    low = int(np.searchsorted(np.asarray(dim.values, dtype=float), float(value))) - 1  # type: ignore[arg-type]
    return _bridged(planes, dim, low, low + 1, float(value), codes)  # type: ignore[arg-type]


def _bridged(planes: np.ndarray, dim: Dim, low: int, high: int, value: float, codes: bool) -> np.ndarray:
    """Linear between the nearest planes up to ``low`` and from ``high`` on that are not NaN, number by number."""
    first, at_first = _nearest_known(planes, dim, range(low, -1, -1))
    second, at_second = _nearest_known(planes, dim, range(high, len(planes)))
    with np.errstate(invalid="ignore"):  # both infinite
        share = (value - at_first) / (at_second - at_first)
        if codes:
            share = np.where(np.isnan(share), share, share >= 0.5)
        return np.asarray(first * (1 - share) + second * share)


def _nearest_known(planes: np.ndarray, dim: Dim, order: range) -> tuple[np.ndarray, np.ndarray]:
    known = np.full(planes.shape[1:], np.nan)
    place = np.full(planes.shape[1:], np.nan)
    for index in order:
        fresh = np.isnan(known) & ~np.isnan(planes[index])
        known = np.where(fresh, planes[index], known)
        place = np.where(fresh, float(dim.values[index]), place)
        if not np.isnan(known).any():
            break
    return known, place


def _checked(cube: object) -> None:
    import xarray as xr

    if not isinstance(cube, xr.Dataset):
        raise TypeError(
            f"a view needs an xarray.Dataset (or DataArray), got {type(cube).__name__}; "
            "make one with xl.sweep(...) or xarray.Dataset({'loss': (('a', 'b'), values)})."
        )
    if not cube.data_vars:
        raise ValueError("the cube has no variable to draw; give a Dataset with at least one, e.g. cube[['loss']].")
    for name, size in cube.sizes.items():
        if size == 0:
            raise ValueError(f"dimension {name!r} of the cube has length 0; check the selection that made it.")
    for name, var in cube.data_vars.items():
        if var.dtype.kind == "c":
            raise TypeError(
                f"variable {name!r} is complex; draw its parts: cube.assign({name}=abs(cube[{str(name)!r}])) "
                "or .real and .imag."
            )
        if var.dtype.kind not in "fiub":
            raise TypeError(
                f"variable {name!r} has dtype {var.dtype}, a view draws numbers; drop it with "
                f"cube.drop_vars({str(name)!r}) or turn it into codes."
            )
    size = 4 * sum(math.prod(var.shape) for var in cube.data_vars.values())
    if size > LIMIT_BYTES:
        raise ValueError(
            f"the cube takes {size / 2**20:.0f} MB in the browser, at most {LIMIT_BYTES >> 20} MB go; draw less of it: "
            "cube[['loss']] for one variable, cube.mean('seed') for averages, "
            "cube.isel(a=slice(None, None, 2)) for every other point."
        )


def _dim(cube: xr.Dataset, name: str) -> Dim:
    if name not in cube.coords:
        return Dim(name, "int", tuple(range(cube.sizes[name])), name)
    coord = cube[name]
    if coord.ndim != 1 or getattr(cube.indexes.get(name), "nlevels", 1) > 1:
        raise ValueError(
            f"coordinate {name!r} must hold one value per step; flatten it with cube.reset_index({name!r})."
        )
    raw = coord.values
    values: tuple[Value, ...]
    if raw.dtype.kind == "f":
        kind, values = "float", tuple(float(v) for v in raw)
        if not np.isfinite(raw).all():
            raise ValueError(f"coordinate {name!r} holds NaN or infinite values; drop them: cube.dropna({name!r}).")
    elif raw.dtype.kind in "iu":
        kind, values = "int", tuple(int(v) for v in raw)
    elif raw.dtype.kind == "b":
        kind, values = "bool", tuple(bool(v) for v in raw)
    elif raw.dtype.kind == "c":
        raise TypeError(f"coordinate {name!r} is complex; use its real part, its angle or an index.")
    else:
        kind, values = "category", tuple(str(v) for v in raw)
    if len(set(values)) != len(values):
        again = next(v for v in values if values.count(v) > 1)
        raise ValueError(f"coordinate {name!r} holds {again!r} twice; keep one: cube.drop_duplicates({name!r}).")
    return Dim(name, kind, values, str(coord.attrs.get("long_name", name)), str(coord.attrs.get("units", "")))


def _numeric_extras(cube: xr.Dataset) -> Iterable[Any]:
    """Coordinates that are no dimension, such as the class of each point: a scatter may colour by them."""
    return [
        name
        for name, coord in cube.coords.items()
        if name not in cube.dims and coord.dtype.kind in "fiub" and coord.ndim
    ]


def _attrs(var: xr.DataArray, name: str) -> dict[str, Any]:
    meanings = var.attrs.get("flag_meanings", [])  # the CF convention's name for "what each code means"
    if isinstance(meanings, str) and meanings.startswith("["):  # a list, as a file holds it
        meanings = json.loads(meanings)
    return {
        "label": str(var.attrs.get("long_name", name)),
        "units": str(var.attrs.get("units", "")),
        "meanings": meanings.split() if isinstance(meanings, str) else [str(m) for m in meanings],
        "whole": var.dtype.kind in "iub" or CODES in var.attrs,
    }
