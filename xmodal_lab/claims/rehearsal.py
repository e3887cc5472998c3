"""A measurement gone through without a net, so that a setting which a claim cannot take is refused before any work.

What a claim asks of its sweeps is known only when it asks. So with settings of a user's it is measured twice: first
with cubes of made-up numbers in place of sweeps, where every setting of every sweep is checked and nothing is trained.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweeps.cubes import layout_of
from ..sweeps.experiment import Experiment
from ..sweeps.tasks import Job, jobs_of

if TYPE_CHECKING:
    import xarray as xr


LARGEST = 2**53  # up to where a float counts one by one
# What a number of a user's may be: a net in float32 no longer adds 1 to more than 2^24, so beside such a weight nothing
# else is trained. A learning rate less: of those that papers print, 30 is the largest we know (MoCo's linear probe).
MOST: Mapping[str, float] = {"lr": 1000.0}
MOST_OF_ALL = 2**24
YEAR = 365 * 86_400.0  # seconds of one core that a sweep may take by its own guess (ours)


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
        _sized(name, value)
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
    _in_time(known, jobs, settings)
    # Other numbers for other arms and data: arms that are all alike would lead a claim astray.
    drawn = np.random.default_rng(zlib.crc32(repr((known.name, known.version, axes)).encode()))
    arrays = {name: _made_up(blank, drawn) for name, blank in layout.empty().items()}
    return layout.dataset(arrays, {"device": ""})


def _sized(name: str, value: Any) -> None:
    """Refuse a number that no net in float32 can do anything with; a seed may be any."""
    if isinstance(value, bool | str) or value is None or name.endswith("seed"):
        return
    most = MOST.get(name, MOST_OF_ALL)
    if not math.isfinite(value) or abs(value) > most:
        raise Refused(f"{name} must be a finite number, {most:,.0f} at most in size, got {value!r}.")


def _in_time(known: Experiment, jobs: Sequence[Job], settings: Mapping[str, Any]) -> None:
    """Refuse settings with which a sweep would take more than :data:`YEAR`, by the experiment's own guess."""
    if not settings or known.seconds is None:
        return
    years = len(jobs) * known.seconds(dict(jobs[0].settings)) / YEAR
    if years > 1:
        mine = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise Refused(f"with {mine} a sweep of this claim takes about {years:.2g} years of one core; ask for less.")


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
