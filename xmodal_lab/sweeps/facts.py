"""What a store says of its sweep in its attributes, and whether it is the one that is asked for."""

from __future__ import annotations

import contextlib
import json
import platform
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import compact
from .cubes import Layout, Place, Reasons, alike, fact, grouped, places_of
from .edited import differing
from .marks import Mark

FORMAT = 1
# Facts that must agree, and what to call them; then facts whose change is worth a warning.
IDENTITY = {
    "format": "store format", "experiment": "experiment", "xmodal_lab": "version of xmodal_lab",
    "version": "version of the experiment", "data": "fingerprint of its data", "defaults": "default",
    "variables": "variable",
}  # fmt: skip
ENVIRONMENT = ("torch", "numpy", "python", "device")
REMEDY = "Name another store=, or delete this folder to begin anew."
EDITED = (
    "If the edit changes no result, give accept_edited=True; if it does, raise the experiment's version= and name "
    "another store=."
)


class StoreError(ValueError):
    """The store cannot serve this sweep; the message says why and what to do."""


def held_at(path: Path) -> dict[str, Any]:
    """What the store at ``path`` says of its sweep."""
    return dict(fact(compact.root(path)["attributes"]["xmodal_sweep"]))


def fixed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every setting that a sweep with these facts does not vary."""
    return {**facts.get("defaults", {}), **facts.get("settings", {})}


def stamp(path: Path) -> tuple[int, int] | None:
    """Changes with the store's metadata; None while there are none."""
    try:
        found = (path / "zarr.json").stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def checked(path: Path, ours: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The facts of the store at ``path``, if they are those of a sweep with the facts ``ours``.

    Warns where the environment is another one.

    Raises:
        StoreError: it is no store, or another sweep's; says which fact differs.
    """
    try:
        held = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
        found = dict(fact(held["attributes"]["xmodal_sweep"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise StoreError(f"{path} is not the store of a sweep. {REMEDY}") from None
    # A fixed setting may shape a variable (epochs, its curves): the setting is told, for that is what was given.
    *first, last = IDENTITY.items()
    for key, what in (*first, ("settings", "fixed setting"), last):
        theirs, mine = found.get(key), ours.get(key)
        if key == "settings":
            varied = {*found.get("axes", ()), *ours["axes"]}
            theirs, mine = ({n: v for n, v in fixed(told).items() if n not in varied} for told in (found, ours))
        if alike(theirs, mine) or (key == "data" and _data_fit(found, ours)):
            continue
        told = what, _short(theirs), _short(mine)
        if isinstance(theirs, dict) and isinstance(mine, dict):
            told = _difference(what, theirs, mine)
        raise StoreError(f"the store {path} has {told[0]} {told[1]}, this sweep has {told[2]}. {REMEDY}")
    then = found.get("environment", {})
    changed = [f"{k} {then.get(k)} → {environment.get(k)}" for k in ENVIRONMENT if then.get(k) != environment.get(k)]
    if changed:
        warnings.warn(
            f"the store {path} was begun with another environment ({', '.join(changed)}): its older and newer "
            "members may differ by rounding.",
            UserWarning,
            stacklevel=4,
        )
    return found


def edited_code(path: Path, found: Mapping[str, Any], ours: Mapping[str, Any], *, accept: bool) -> bool:
    """Whether the store was filled by other code of the experiment; stores of earlier versions do not say by which.

    Raises:
        StoreError: it was, and the caller does not accept that.
    """
    then, now = found.get("code"), ours.get("code")
    same_python = found.get("environment", {}).get("python", "").split(".")[:2] == list(
        platform.python_version_tuple()[:2]
    )  # bytecode differs from one to the next
    if then is None or now is None or not same_python or not (names := differing(then, now)):
        return False
    if not accept:
        named = ", ".join(f"`{name}`" for name in names[:5])
        raise StoreError(
            f"the store {path} was filled by another version of the experiment's code: {named} "
            f"{'have' if len(names) > 1 else 'has'} been edited since. {EDITED}"
        )
    return True


def _data_fit(found: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether a sweep reads a part of the files that the store has read, or all of them and more."""
    theirs, mine = set(found.get("data") or ()), set(ours.get("data") or ())
    return not alike(found.get("axes"), ours["axes"]) and (theirs <= mine or mine <= theirs)


def settled(path: Path, layout: Layout) -> Layout:
    """``layout`` with the values of its axes as a store at ``path`` has them, where they differ by rounding."""
    try:
        held = held_at(path)
        values_of = {**{name: (value,) for name, value in fixed(held).items()}, **held["axes"]}
        known = {name: tuple(values_of.get(name, ())) for name in layout.axes}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return layout
    axes = {}
    for name, values in layout.axes.items():
        found = places_of(known[name], values)
        axes[name] = tuple(
            known[name][i] if i is not None and type(known[name][i]) is type(v) else v
            for i, v in zip(found, values, strict=True)
        )
    return replace(layout, axes=axes)


def joined(path: Path, held: Mapping[str, tuple[Any, ...]], asked: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """The axes of the store and, behind their values, those that a sweep asks for besides.

    Raises:
        StoreError: values of another type.
    """
    found = {}
    for name, values in held.items():
        new = [v for v, i in zip(asked[name], places_of(values, asked[name]), strict=True) if i is None]
        kinds = {type(v) for v in (*values, *new)}
        if kinds == {int, float} and isinstance(values[0], float):
            new, kinds = [float(v) for v in new], {float}
        if len(kinds) > 1:
            raise StoreError(
                f"axis {name!r} of the store {path} holds values of type {type(values[0]).__name__}, such as "
                f"{values[0]!r}; {new[0]!r} cannot join them. {REMEDY}"
            )
        found[name] = (*values, *new)
    return found


def why_at(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Why variables of the store at ``path`` are NaN, as :func:`~xmodal_lab.sweeps.cubes.grouped` tells it.

    Args:
        path: of a store, which may be filling.

    Returns:
        Variable -> reasons and where; nothing for a folder that is no store.
    """
    found: dict[Place, Reasons] = {}
    try:
        axes = held_at(path)["axes"]
        for name in compact.names(path / "done"):
            with contextlib.suppress(ValueError, FileNotFoundError):
                mark = Mark.loads((path / "done" / name).read_text(encoding="utf-8"))
                found |= {place: reasons for reasons, places in mark.why for place in places}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return grouped(axes, found)


def _difference(what: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, str, str]:
    """The first entry in which two dicts differ, as (what, theirs, ours)."""
    name = next(n for n in {**theirs, **ours} if n not in theirs or n not in ours or theirs[n] != ours[n])
    then, now = (_short(d[name]) if name in d else "none of that name" for d in (theirs, ours))
    return f"{what} {name!r} as", then, now


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
