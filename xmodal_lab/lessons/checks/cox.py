"""Exercises of lesson 02."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...papers import cox
from ..exercises import exercise, number


@exercise("cox.1")
def coupling(answer: Any) -> str | None:
    """The new modality has to know much of the label before the bound covers plain noise of the old ones."""
    found = number(answer)
    if isinstance(found, str):
        return found
    at = cox.counterexample_cube().sel(flip=0.3, method="nearest")
    holds = (at["disagreement"] <= at["eq12"]).values
    grid = at["coupling"].values
    first = float(grid[holds.argmax()])
    near = int(np.abs(grid - found).argmin())
    if abs(found - grid[near]) > 1e-6:
        return f"{found:g} is no value of the slider; it goes {grid[0]:g}, {grid[1]:g}, … {grid[-1]:g}."
    if not holds[near]:
        disagreement, bound = float(at["disagreement"][near]), float(at["eq12"][near])
        return f"at {found:g} the disagreement {disagreement:.2f} is still above the bound {bound:.2f}."
    if abs(found - first) > 1e-6:
        return f"the bound holds at {found:g}, and at a smaller coupling too: the first one was asked for."
    return None


@exercise("cox.2")
def agreed(answer: Any) -> str | None:
    """Agreement is of classes, not of scores. More anchors than agreed rows cannot be had: top_agreed says so."""
    try:
        given = np.asarray(list(answer) if isinstance(answer, set) else answer)
    except (TypeError, ValueError):  # a cube, rows of unequal length
        given = np.array(None)
    if isinstance(answer, (str, bytes, Mapping)) or not given.ndim:
        return "a list of row numbers was asked for."
    rows = np.ravel(given).tolist()  # nonzero() gives a column
    if any(isinstance(row, bool) for row in rows):
        return "this says of each row whether it is agreed; the numbers of those rows were asked for."
    found = set(rows)
    right = {0, 2, 3}
    if found == right:
        return None
    if found == {r + 1 for r in right}:
        return "rows are counted from 0."
    if found == {1, 4}:
        return "these are the rows on which they disagree."
    extra, lacking = found - right, right - found
    if extra:
        return f"row {min(extra)} is none: the two classifiers have their largest score at different classes there."
    return f"row {min(lacking)} is missing: both classifiers have their largest score at the same class there."


@exercise("cox.3")
def senses(answer: Any) -> str | None:
    """Any dict of features with labels is a problem for COX; nothing here is about pictures or sound."""
    if not isinstance(answer, cox.Outcome):
        return "the outcome was asked for, that is what cox.run returns."
    if answer.options.algorithm != "cox":
        return f"this is {answer.options.algorithm}; COX is algorithm='cox', the default."
    if answer.options.label_share >= 0.5:
        return f"with {answer.options.label_share:.0%} of the labels there is little to find out; take a tenth."
    if answer.accuracy < 0.6:
        return f"three classes far apart should be learned; {answer.accuracy:.0%} are right: more steps, larger lr?"
    return None
