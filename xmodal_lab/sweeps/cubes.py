"""The shape of a cube: axes, variables, places; what may stand where."""

from __future__ import annotations

import bisect
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..utils import checks as check
from .experiment import MOST, WHY, Experiment, Variable, not_too_many, plain_value

if TYPE_CHECKING:
    import xarray as xr

Place = tuple[int, ...]
Arrays = dict[str, np.ndarray]
# Variable -> why it is NaN, of one member.
Reasons = Mapping[str, str]
# Numbers so many units in the last place apart are one setting (ours): 3 * 0.1 and 0.3 are one apart, the values of a
# linspace and those that one types a few.
ULPS = 4


class Answers(Arrays):
    """The arrays of one member, and ``why`` some of them are NaN, where it says so."""

    def __init__(self, arrays: Mapping[str, np.ndarray], why: Reasons | None = None) -> None:
        super().__init__(arrays)
        self.why: dict[str, str] = dict(why or {})


@dataclass(frozen=True)
class Layout:
    """Axes (name -> values), variables (name -> Variable) and words for the axes of one sweep."""

    axes: Mapping[str, tuple[Any, ...]]
    variables: Mapping[str, Variable]
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Members along each axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def members(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    def places(self) -> Iterator[Place]:
        """Every member's place, the last axis running fastest."""
        return itertools.product(*map(range, self.shape))

    def at(self, place: Place) -> dict[str, Any]:
        """The values of the axes at a place."""
        return {name: values[i] for (name, values), i in zip(self.axes.items(), place, strict=True)}

    def dims(self, name: str) -> tuple[str, ...]:
        """Dimensions of a variable: the axes, then its own."""
        return (*self.axes, *self.variables[name].dims)

    def empty(self) -> Arrays:
        """All variables, full of NaN."""
        return {n: np.full((*self.shape, *v.shape), np.nan, dtype=v.dtype) for n, v in self.variables.items()}

    def checked(self, result: Any) -> Answers:
        """One member's result as arrays of the declared shapes; an optional variable that is left out is NaN.

        Raises:
            TypeError: not a dict, not numbers.
            ValueError: an undeclared variable or one that is missing, a shape or coordinate that was not declared.
        """
        if not isinstance(result, Mapping):
            raise TypeError(f"a member must return a dict {{variable: value}}, got {type(result).__name__}.")
        told = result.get(WHY) or {}
        result = {name: value for name, value in result.items() if name != WHY}
        for name in (*result, *check.mapping(f"{WHY!r} of a member's result", told, "sentences")):
            check.one_of(
                "variable returned by a member (declare it in the experiment's variables)", name, self.variables
            )
        found = {name: self._value(name, result.get(name)) for name in self.variables}
        if missing := [n for n, v in self.variables.items() if result.get(n) is None and not v.optional]:
            came = ", ".join(repr(name) for name in result if name not in missing) or "nothing"
            raise ValueError(
                f"a member returned no {', '.join(map(repr, missing))}, only {came}; return every declared variable, "
                "or declare it Variable(optional=True), which is NaN where it is left out."
            )
        return Answers(found, {name: str(sentence) for name, sentence in told.items()})

    def _value(self, name: str, value: Any) -> np.ndarray:
        variable = self.variables[name]
        blank = np.full(variable.shape, np.nan, dtype=variable.dtype)
        if value is None:
            return blank
        if hasattr(value, "dims") and hasattr(value, "coords"):
            return self._labelled(name, value, blank)
        array = _numbers(name, value)
        if array.shape != variable.shape:
            raise ValueError(
                f"variable {name!r} came back with shape {array.shape}, declared is {variable.shape} "
                f"for the dimensions {tuple(variable.dims)}; return a DataArray to fill a part of it."
            )
        return array.astype(variable.dtype)

    def _labelled(self, name: str, value: xr.DataArray, blank: np.ndarray) -> np.ndarray:
        dims = self.variables[name].dims
        if set(map(str, value.dims)) != set(dims):
            raise ValueError(f"variable {name!r} came back with dims {value.dims}, declared are {tuple(dims)}.")
        places = []
        for dim, known in dims.items():
            exact = {label: i for i, label in enumerate(known)}
            places.append([exact[v] if v in exact else _near(name, dim, known, v) for v in value[dim].values.tolist()])
        blank[np.ix_(*places)] = _numbers(name, value.transpose(*dims).values)
        return blank

    def coordinates(self) -> dict[str, np.ndarray]:
        """Values along every dimension, the axes' first."""
        found = dict(self.axes)
        for variable in self.variables.values():
            found |= variable.dims  # type: ignore[arg-type]
        return {name: np.asarray(values) for name, values in found.items()}

    def words(self, name: str) -> dict[str, str]:
        """What to call a variable or dimension, as attributes."""
        variable = self.variables.get(name, Variable(label=self.labels.get(name, "")))
        return {"long_name": variable.label or name} | ({"units": variable.units} if variable.units else {})

    def dataset(self, arrays: Arrays, attrs: Mapping[str, Any]) -> xr.Dataset:
        """The cube as an xarray Dataset."""
        import xarray as xr

        coords = {name: ((name,), values, self.words(name)) for name, values in self.coordinates().items()}
        data = {name: (self.dims(name), arrays[name], self.words(name)) for name in self.variables}
        return xr.Dataset(data, coords, attributes(attrs))


def grouped(axes: Mapping[str, Sequence[Any]], why: Mapping[Place, Reasons]) -> dict[str, list[dict[str, Any]]]:
    """Why variables are NaN, and where: one entry for each reason and box of members that have it.

    Args:
        axes: of the cube, name -> values.
        why: place -> variable -> reason.

    Returns:
        Variable -> [{"why": reason, "at": {axis: values}}]. An axis along which a reason always holds is not named.
    """
    places: dict[tuple[str, str], set[Place]] = {}
    for place, reasons in why.items():
        for name, sentence in reasons.items():
            places.setdefault((name, sentence), set()).add(place)
    found: dict[str, list[dict[str, Any]]] = {}
    for (name, sentence), held in sorted(places.items()):
        for box in _boxes(held, tuple(map(len, axes.values()))):
            at = {axis: [axes[axis][i] for i in some] for axis, some in zip(axes, box, strict=True) if some is not None}
            found.setdefault(name, []).append({"why": sentence, "at": at})
    return found


def _boxes(held: set[Place], shape: Place) -> list[list[tuple[int, ...] | None]]:
    """``held`` as boxes, one choice per axis, None where that is all of it: one box if they are one, else points."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(np.transpose(sorted(held)))] = True
    free = [bool((mask.all(k) == mask.any(k)).all()) for k in range(len(shape))]
    rest = mask[tuple(slice(1) if is_free else slice(None) for is_free in free)]
    spans = [np.flatnonzero(rest.any(tuple(j for j in range(len(shape)) if j != k))) for k in range(len(shape))]
    if rest[np.ix_(*spans)].all():
        boxes = [[tuple(span.tolist()) for span in spans]]
    else:
        boxes = [[(i,) for i in at] for at in np.argwhere(rest).tolist()]
    return [[None if is_free else some for some, is_free in zip(box, free, strict=True)] for box in boxes]


def attributes(facts: Mapping[str, Any]) -> dict[str, str | int | float]:
    """``facts`` as attributes that any file format can hold: text and numbers as they are, all else as JSON."""
    plain = {k: v if isinstance(v, (str, int, float)) and not isinstance(v, bool) else None for k, v in facts.items()}
    return {k: json.dumps(facts[k], ensure_ascii=False) if v is None else v for k, v in plain.items()}


def fact(value: Any) -> Any:
    """What :func:`attributes` wrote as JSON; cubes and stores of earlier versions hold the thing itself."""
    return json.loads(value) if isinstance(value, str) else value


def alike(a: Any, b: Any) -> bool:
    """Whether two settings, or lists and dicts of them, are the same but for rounding (``ULPS``)."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) <= ULPS * math.ulp(max(abs(a), abs(b)))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    return bool(a == b)


def places_of(known: Sequence[Any], values: Iterable[Any]) -> list[int | None]:
    """Where each of ``values`` stands among ``known``, but for rounding; None where it does not."""
    exact = {v: i for i, v in enumerate(known)}
    floats = sorted((v, i) for i, v in enumerate(known) if isinstance(v, float))

    def near(value: Any) -> int | None:
        if not isinstance(value, float):
            return None
        k = bisect.bisect_left(floats, (value,))
        return next((i for v, i in floats[max(0, k - 1) : k + 1] if alike(v, value)), None)

    return [exact[v] if v in exact else near(v) for v in values]


def layout_of(experiment: Experiment, given: Mapping[str, Any]) -> tuple[Layout, dict[str, Any]]:
    """The layout that ``given`` asks for, and the settings that are the same for all members.

    A list, tuple, range or vector is an axis; a single value replaces a default.

    Raises:
        ValueError, TypeError: an unknown setting, an axis that is empty, repeats or mixes types.
    """
    axes: dict[str, tuple[Any, ...]] = {}
    fixed: dict[str, Any] = {}
    for name, value in given.items():
        check.one_of(f"setting of {experiment.name!r}", name, experiment.defaults)
        if _is_axis(value):
            axes[name] = _axis(name, value)
        else:
            fixed[name] = plain_value(name, value)
    values = {k: axes.get(k, (fixed.get(k, v),)) for k, v in experiment.defaults.items()}
    members = math.prod(map(len, axes.values()))
    if members > MOST:
        sizes = " x ".join(f"{len(v)} {k}" for k, v in axes.items())
        raise ValueError(f"the grid has {members:,} members ({sizes}), more than {MOST:,}; sweep a part of it.")
    return Layout(axes, experiment.outputs(values), experiment.labels), fixed


def _is_axis(value: Any) -> bool:
    if isinstance(value, (Mapping, set, frozenset)):
        raise TypeError(f"an axis must be a list, tuple, range or vector, got a {type(value).__name__}.")
    return not isinstance(value, (str, bytes)) and hasattr(value, "__len__") and getattr(value, "ndim", 1) != 0


def _axis(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"axis {name!r} must be a vector, got shape {tuple(getattr(values, 'shape', ()))}.")
    not_too_many(f"axis {name!r}", values)
    listed = [plain_value(f"a value of axis {name!r}", v) for v in values]
    if not listed:
        raise ValueError(f"axis {name!r} is empty; give at least one value, or leave it out for the default.")
    if len(set(listed)) != len(listed):
        again = next(v for v in listed if listed.count(v) > 1)
        raise ValueError(f"axis {name!r} holds {again!r} twice; give each value once.")
    kinds = {type(v) for v in listed}
    if kinds == {int, float}:
        listed, kinds = [float(v) for v in listed], {float}
    if kinds == {float}:
        for low, high in itertools.pairwise(sorted(listed)):
            if alike(low, high):
                raise ValueError(f"axis {name!r} holds {low!r} twice, once as {high!r}; give each value once.")
    if len(kinds) > 1 or None in listed:
        raise TypeError(f"axis {name!r} mixes {', '.join(sorted(k.__name__ for k in kinds))}; give values of one type.")
    return tuple(listed)


def _numbers(name: str, value: Any) -> np.ndarray:
    array = check.as_array(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"variable {name!r} must be made of real numbers, got {type(value).__name__} {array.dtype}.")
    return array


def _near(name: str, dim: str, known: Sequence[Any], label: Any) -> int:
    """The place of a coordinate that is a declared one but for rounding."""
    if isinstance(label, float):
        for i, k in enumerate(known):
            if isinstance(k, (int, float)) and np.isclose(k, label, rtol=1e-9, atol=1e-12):
                return i
    raise ValueError(f"variable {name!r} came back with {dim} = {label!r}, which was not declared.")
