"""A measurement gone through without a net, so that a setting which a claim cannot take is refused before any work.

What a claim asks of its sweeps is known only when it asks. So with settings of a user's it is measured twice: first
with cubes of made-up numbers in place of sweeps, where every setting of every sweep is checked and nothing is trained.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweeps.cubes import layout_of
from ..sweeps.experiment import Experiment
from ..sweeps.tasks import jobs_of

if TYPE_CHECKING:
    import xarray as xr


LARGEST = 2**53  # up to where a float counts one by one


class Refused(ValueError):
    """A setting that a claim cannot take."""


class Enough(Exception):
    """Here a claim would begin to train nets without a sweep: there is no more to hear of settings."""


def cube_of(known: Experiment, axes: Mapping[str, Any], settings: Mapping[str, Any]) -> xr.Dataset:
    """The cube that a sweep would give, with made-up numbers.

    Args:
        known: the experiment.
        axes: of the sweep, the user's settings among them.
        settings: those that are the user's.

    Raises:
        Refused: a value that the experiment does not take, though it takes the rest.
    """
    for name, value in settings.items():
        if not _fits(value, known.defaults[name]):
            was = known.defaults[name]
            raise Refused(f"{name} must be {_kind(was)} such as {was!r}, got {type(value).__name__} {value!r}.")
    try:
        layout, fixed = layout_of(known, axes)
        jobs = jobs_of(known, layout, fixed)
        if settings and (load := getattr(known.world, "load", None)) is not None:
            load(dict(jobs[0].settings))  # a loader checks its own options
    except (ValueError, TypeError) as error:
        rest = {name: value for name, value in axes.items() if name not in settings}
        jobs_of(known, *layout_of(known, rest))  # what fails without the user's settings too is not their fault
        mine = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        said = str(error) if any(name in str(error) for name in settings) else f"with {mine}: {error}"
        raise Refused(said) from None
    # Other numbers for other arms and data: arms that are all alike would lead a claim astray.
    drawn = np.random.default_rng(zlib.crc32(repr((known.name, known.version, axes)).encode()))
    arrays = {name: _made_up(blank, drawn) for name, blank in layout.empty().items()}
    return layout.dataset(arrays, {"device": ""})


def _made_up(blank: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
    """Numbers around a half that rise along every axis, as what is trained longer or on more does."""
    if blank.dtype.kind != "f":
        return blank
    found = drawn.uniform(0.4, 0.5, blank.shape)
    for axis, size in enumerate(blank.shape):
        found += np.linspace(0, 0.1, size).reshape([-1 if k == axis else 1 for k in range(blank.ndim)])
    return found.astype(blank.dtype)


def _fits(value: Any, default: Any) -> bool:
    """Whether a value is of its default's sort; where the default is None the experiment has to say."""
    if default is None:
        return value is None or isinstance(value, bool | int | float | str)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, int):
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < LARGEST)
    return isinstance(value, int | float) if isinstance(default, float) else isinstance(value, str)


def _kind(default: Any) -> str:
    names = {bool: "true or false,", int: "a whole number", float: "a number", str: "a word"}
    return names.get(type(default), "a number or a word")
