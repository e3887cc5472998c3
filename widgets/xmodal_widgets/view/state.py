"""Controls and state: which dimensions the reader moves, and a plain dict of where they stand.

State is flat, so that ``SweepView(cube, views, **view.state)`` restores a view: one entry
per control, and the switches ``free``, ``follow``, ``log``, ``fit``, ``azimuth``, ``elevation``, ``zoom``
where the views have use for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .grid import Dim, Grid, listed, one_of
from .kinds import Surface, View, controls_of

# Names that arguments and switches carry; a dimension of that name could not be a keyword.
SWITCHES = ("free", "follow", "log", "fit", "azimuth", "elevation", "zoom")
ARGUMENTS = ("cube", "views", "controls", "title", "average", "compute", "experiment", "store", "offers")
LOOK = "look"  # the heading of controls along which a result brings everything
# Nor is time during a training a setting of it.
TIMES = ("epoch", "checkpoint", "moment")
CAMERA = {"azimuth": -55.0, "elevation": 30.0, "zoom": 1.0}  # degrees; matplotlib's view of a surface, nearly
ZOOM = (0.4, 4.0)
LONGEST_NAME = 200  # letters of a name that is typed in (ours)


def dims_to_control(grid: Grid, views: Sequence[View]) -> tuple[str, ...]:
    """The dimensions that at least one view leaves open, in the order of their variables.

    Raises:
        ValueError: one of them bears the name of an argument.
    """
    open_dims = {d for view in views for d in controls_of(view, grid)}
    for name in open_dims & {*SWITCHES, *ARGUMENTS}:
        raise ValueError(
            f"dimension {name!r} has the name of an argument of SweepView; rename it: cube.rename({name}='{name}_')."
        )
    order = dict.fromkeys(d for view in views for name in view.variables for d in grid.axes[name])
    return tuple(d for d in order if d in open_dims)


def control_specs(
    grid: Grid,
    dims: Sequence[str],
    shown: Iterable[str] | Mapping[str, Iterable[str]] | None,
    average: Sequence[str],
    offers: Mapping[str, Sequence[Any]],
) -> list[dict[str, Any]]:
    """The controls as the browser reads them, in the order to show them; the others keep their value.

    ``shown`` may put them under headings; ``offers`` are values that the cube lacks.

    Raises:
        ValueError: ``controls`` names something that is no control.
    """
    if isinstance(shown, Mapping):
        groups = {name: str(heading) for heading, names in shown.items() for name in listed("controls", names)}
        order = [name for names in shown.values() for name in listed("controls", names)]
    else:
        groups = {}
        order = list(dims) if shown is None else [shown] if isinstance(shown, str) else listed("controls", shown)
    for name in order:
        one_of("control", name, dims)
    if len(set(order)) != len(order):
        raise ValueError(f"controls names a dimension twice: {order}.")
    hidden = [d for d in dims if d not in order]
    return [
        {"dim": d, "mean": d in average, "hidden": d in hidden, "group": groups.get(d, ""),
         "offers": [v for v in offers.get(d, ()) if grid.dims[d].index(v) is None]}
        for d in [*order, *hidden]
    ]  # fmt: skip


def checked_offers(grid: Grid, offers: object) -> dict[str, list[Any]]:
    """Values that controls offer beside those of the cube, each of its dimension's kind.

    Raises:
        TypeError: no mapping.
        ValueError: no dimension of the cube, or a value that it could not have.
    """
    if offers is None:
        return {}
    if not isinstance(offers, Mapping):
        raise TypeError(f"offers must be a dict such as {{'lam': [0.5, 2.0]}}, got {type(offers).__name__}.")
    found: dict[str, list[Any]] = {}
    for name, values in offers.items():
        dim = grid.dims[one_of("dimension in offers", name, tuple(grid.dims))]
        found[name] = []
        for value in listed(f"offers[{name!r}]", values):
            if dim.index(value) is None and (value := _new_value(dim, value)) is None:
                raise ValueError(f"offers[{name!r}] holds a value that {name!r} cannot have: its kind is {dim.kind}.")
            found[name].append(value)
    return found


def opening_state(
    grid: Grid, dims: Sequence[str], views: Sequence[View], average: Sequence[str], may_train: bool = False
) -> dict[str, Any]:
    """Where a view opens: first value of each control, the mean over seeds, switches as the views say."""
    state: dict[str, Any] = {}
    for name in dims:
        dim = grid.dims[name]
        state[name] = "mean" if name in average and len(dim.values) > 1 else dim.values[0]
    if any(_opens(grid.dims[d], may_train) for d in dims):
        state["free"] = False
        if may_train:
            state["follow"] = False
    state["log"] = [bool(getattr(view, "log", False)) for view in views]
    state["fit"] = [bool(getattr(view, "fit", False)) for view in views]
    if any(isinstance(view, Surface) for view in views):
        state.update(CAMERA)
    return state


def _opens(dim: Dim, may_train: bool) -> bool:
    """Whether the control may stand on a value that is not in the cube."""
    return dim.kind != "bool" if may_train else dim.kind == "float" and len(dim.values) > 1


def checked_state(
    grid: Grid, old: Mapping[str, Any], new: Mapping[str, Any], average: Sequence[str], may_train: bool = False
) -> dict[str, Any]:
    """``old`` with the entries of ``new``, each checked.

    With ``may_train`` a free control may stand where nothing is computed: beyond its ends, on another whole number, on
    a name that is new.

    Raises:
        TypeError: not a dict, a switch of the wrong type.
        ValueError: an unknown control or switch, a value that is not on the grid.
    """
    if not isinstance(new, Mapping):
        raise TypeError(f"state must be a dict such as {dict(list(old.items())[:2])}, got {type(new).__name__}.")
    merged = dict(old)
    for name in new:
        one_of("control", name, tuple(old))
    if "follow" in new:
        merged["follow"] = _flag("follow", new["follow"])
        merged["free"] = merged["free"] or merged["follow"]
    if "free" in new:
        merged["free"] = _flag("free", new["free"])
    for name, value in new.items():
        if name in ("log", "fit"):
            merged[name] = _flags(name, value, len(old[name]))
        elif name in CAMERA:
            merged[name] = _camera(name, value)
        elif name not in ("free", "follow"):
            merged[name] = _on_grid(grid.dims[name], value, merged.get("free", False), name in average, may_train)
    if not merged.get("free", False):  # switched back to the grid: step to the nearest computed value
        for name in old:
            if name in grid.dims and merged[name] != "mean" and grid.dims[name].index(merged[name]) is None:
                dim = grid.dims[name]
                merged[name] = _nearest(dim, merged[name]) if dim.numeric else dim.values[0]
    return merged


def _on_grid(dim: Dim, value: object, free: bool, may_average: bool, may_train: bool) -> Any:
    at = dim.index(value)
    if at is not None:
        return dim.values[at]
    if value == "mean" and may_average:
        return "mean"
    also = " or 'mean'" if may_average else ""
    if may_train and free and (new := _new_value(dim, value)) is not None:
        return new
    trains = "; with free=True a new value may be trained" if may_train and dim.kind != "bool" and not free else ""
    if dim.kind != "float" or isinstance(value, str | bool) or not _is_number(value):
        raise ValueError(f"{dim.name}={value!r} is not on the grid; choose one of {dim.listed()}{also}{trains}.")
    number = float(value)  # type: ignore[arg-type]
    low, high = float(dim.values[0]), float(dim.values[-1])
    if free and low <= number <= high:
        return number
    if not low <= number <= high:
        raise ValueError(f"{dim.name}={number:g} is outside the grid, which runs from {low:g} to {high:g}{trains}.")
    raise ValueError(
        f"{dim.name}={number:g} is not on the grid; the nearest computed value is {_nearest(dim, number):g} of "
        f"{dim.listed()}{also}. With free=True the view interpolates, and says so."
    )


def _new_value(dim: Dim, value: object) -> Any:
    """A value that the dimension could have, if it could: a number of its kind, a name."""
    if dim.kind == "category":
        return value if isinstance(value, str) and value.strip() and len(value) <= LONGEST_NAME else None
    if dim.kind == "bool" or isinstance(value, str | bool) or not _is_number(value):
        return None
    number = float(value)  # type: ignore[arg-type]
    return number if dim.kind == "float" else int(number) if number == int(number) else None


def _nearest(dim: Dim, value: Any) -> Any:
    return min(dim.values, key=lambda v: abs(float(v) - float(value)))


def _is_number(value: object) -> bool:
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}.")
    return value


def _flags(name: str, value: object, count: int) -> list[bool]:
    flags = [value] * count if isinstance(value, bool) else value
    if not isinstance(flags, list | tuple) or len(flags) != count or not all(isinstance(f, bool) for f in flags):
        raise TypeError(f"{name} must be True, False or a list of {count} of them (one per view), got {value!r}.")
    return list(flags)


def _camera(name: str, value: object) -> float:
    if isinstance(value, bool) or not _is_number(value):
        raise TypeError(f"{name} must be a finite number, got {value!r}.")
    number = float(value)  # type: ignore[arg-type]
    if name == "elevation" and not 0 <= number <= 90:
        raise ValueError(f"elevation must lie between 0 and 90 degrees, got {number:g}.")
    if name == "zoom" and not ZOOM[0] <= number <= ZOOM[1]:
        raise ValueError(f"zoom must lie between {ZOOM[0]} and {ZOOM[1]}, got {number:g}.")
    return number
