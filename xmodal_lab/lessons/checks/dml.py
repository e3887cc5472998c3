"""Exercises of lesson 05."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from ..exercises import exercise, number


@exercise("dml.1")
def equal_coverage(answer: Any) -> str | None:
    """Now both have seen every clip, and what is left of the difference is due to the pairing alone."""
    if not isinstance(answer, xr.Dataset) or "accuracy" not in answer:
        return "the cube was asked for, that is what xl.sweep('dml', …) returns."
    found = answer["accuracy"]
    if "alpha" not in found.dims or not {0, 1} <= set(found["alpha"].values.tolist()):
        return "both ends are needed: alpha=[0, 1], SML and DML."
    if "seed" not in found.dims or found.sizes["seed"] < 3:
        return "one seed says nothing about a difference: seed=range(3) at least."
    clips = found["clips_per_class"].values.ravel().tolist() if "clips_per_class" in found.coords else []
    if clips != [25] and '"clips_per_class": 25' not in str(answer.attrs.get("settings")):
        return "SML still has clips that it never hears: clips_per_class=25, as many as there are pictures."
    epochs = json.loads(answer.attrs.get("settings", "{}")).get("epochs", 40)
    if epochs < 20:
        return f"after {epochs} of 40 epochs neither has learned its pairs: epochs=40."
    return None


@exercise("dml.2")
def coin(answer: Any) -> str | None:
    """Shuffled within the class, the second bit is a coin given the first: nothing but chance is left."""
    found = number(answer)
    if isinstance(found, str):
        return found
    if found > 1:
        found /= 100
    if abs(found - 0.5) < 0.02:
        return None
    if found > 0.95:
        return "under fixed pairs, yes. But within a class (XOR = 1) picture and sound are then drawn independently."
    if abs(found - 0.75) < 0.02:
        return "three in four would take one bit that tells the label; of an XOR each bit alone tells nothing."
    if abs(found) < 0.02:
        return "always wrong would be as much knowledge as always right."
    told = "more" if found > 0.5 else "less"
    return (
        f"{found:.0%} is {told} than a coin gets: write the four rows (bit, bit, XOR), shuffle within XOR, and count."
    )


@exercise("dml.3")
def untouched(answer: Any) -> str | None:
    """At that width every ripple comes back as it was: finite variance, and no damping at all (Thm 2.2)."""
    found = number(answer)
    if isinstance(found, str):
        return found
    if abs(found - 1.0) < 1e-6:
        return None
    left = float(np.cos(2 * np.pi * found))
    if abs(found - 0.5) < 1e-6:
        return "there the ripple is as high, and upside down: cos(2π · 0.5) = −1."
    if found < 0:
        return "a width is not below 0."
    if found == 0:
        return "a shift of 0 changes nothing; a width above 0 was asked for."
    if abs(left - 1) < 1e-6:
        return f"true at {found:g}, and before that already: the smallest one was asked for."
    return f"at s = {found:g} the ripple is multiplied by cos(2π s) = {left:.2f}; it should be 1."
