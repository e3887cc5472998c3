"""Exercises of lesson 08."""

from __future__ import annotations

from typing import Any

import xarray as xr

from ..exercises import exercise, number


def _two(answer: Any, keys: tuple[Any, Any], what: str) -> tuple[float, float] | str:
    if not isinstance(answer, dict) or not set(keys) <= set(answer):
        return f"a dict was asked for: {what} for {keys[0]!r} and for {keys[1]!r}."
    found = [number(answer[k]) for k in keys]
    for key, value in zip(keys, found, strict=True):
        if isinstance(value, str):
            return f"{key!r}: {value}"
    return float(found[0]), float(found[1])


@exercise("bench.1")
def kept_or_pulled(answer: Any) -> str | None:
    """β = 0 pulls the modalities together, β = 1 asks them to stay as far apart as they began."""
    found = _two(answer, (0.0, 1.0), "the distance between the latents")
    if isinstance(found, str):
        return found
    pulled, kept = found
    if min(found) < 0:
        return "a distance is not below 0: xl.look(run, ds.test, gap=True).distance."
    if pulled == kept:
        return "both are equal: did each have its own recipe, wma(0.1, 0.0) and wma(0.1, 1.0)?"
    return None if pulled < kept else f"{pulled:.2f} under β = 0 and {kept:.2f} under β = 1: swapped?"


@exercise("bench.2")
def constant_target(answer: Any) -> str | None:
    """What the target says matters less than that there is one: a constant vector leaves a λ_max of that size."""
    found = _two(answer, ("teacher", "constant"), "λ_max")
    if isinstance(found, str):
        return found
    teacher, constant = found
    if min(found) <= 0:
        return "the largest eigenvalue of a trained net's Hessian is above 0: xl.look(…, eigenvalues=1).eigenvalue[0]."
    if teacher == constant:
        return "both are equal to the last digit: was kind='constant' given to one of them?"
    if not 1 / 3 < constant / teacher < 3:
        return f"{teacher:.1f} and {constant:.1f}: were both trained as long, with the same weight 0.3?"
    return None


@exercise("bench.3")
def along_a_training(answer: Any) -> str | None:
    """A gap belongs to an epoch: two nets compared at their ends may have crossed on the way."""
    if not isinstance(answer, xr.Dataset) or "epoch" not in answer.dims:
        return "what xl.along returns was asked for, a Dataset with the dimension epoch."
    if "w2" not in answer:
        return "it has no gap: xl.along(run, ds.test, gap=True)."
    if answer.sizes["epoch"] < 3:
        return "two looks are no path: fit(…, snapshots=5) keeps a checkpoint each five epochs."
    if float(answer["w2"][-1]) >= float(answer["w2"][0]):
        return "the gap did not narrow: was the net trained with wma's alignment, recipes.wma(0.1, 0.0)?"
    return None
