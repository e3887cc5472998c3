"""Exercises of lesson 07."""

from __future__ import annotations

import math
from typing import Any

from scipy import stats

from ...sweeps import StoreError
from ..exercises import exercise, number


@exercise("scale.1")
def workers(answer: Any) -> str | None:
    """Whole rounds and the start decide: the last worker you add often ends a round that was half empty."""
    found = number(answer)
    if isinstance(found, str):
        return found
    if found != round(found) or found < 1:
        return "workers come whole, and at least one."

    def seconds(w: int) -> float:
        return 5.0 + math.ceil(630 / w) * 40.0

    w = int(found)
    if seconds(w) > 3600:
        rounds = math.ceil(630 / w)
        return f"{w} take {rounds} rounds of 40 s and 5 s to start, {seconds(w):.0f} s: more than an hour."
    if w > 1 and seconds(w - 1) <= 3600:
        return f"{w} are done in {seconds(w):.0f} s; {w - 1} would do as well."
    return None


@exercise("scale.2")
def refused(answer: Any) -> str | None:
    """A store belongs to one sweep; refused before any work, with the reason, and the members are still there."""
    if not isinstance(answer, StoreError):
        return f"the error was asked for, caught as xl.sweeps.StoreError; this is {type(answer).__name__}."
    if "epochs" not in str(answer):
        return "this store was refused for another reason; give the same axes and only epochs=4 differently."
    return None


@exercise("scale.3")
def two_seeds(answer: Any) -> str | None:
    """With two seeds Student's t has one degree of freedom, and an interval that says next to nothing."""
    found = number(answer)
    if isinstance(found, str):
        return found
    right = float(stats.t.ppf(0.975, 1))
    if abs(found - right) < 0.05:
        return None
    if abs(found - 1.96) < 0.01:
        return "1.96 is the normal law's, for very many seeds; two seeds have one degree of freedom."
    if abs(found - float(stats.t.ppf(0.975, 2))) < 0.01:
        return f"{found:g} belongs to two degrees of freedom, three seeds."
    if abs(found - float(stats.t.ppf(0.95, 1))) < 0.01:
        return f"{found:g} leaves 5 % on each side; a 95 % interval leaves 2.5 %."
    if abs(found - right / 2**0.5) < 0.05:
        return f"{found:g} counts in spreads of the two; the standard error is the spread over √2."
    if found <= 0:
        return "an interval has a half width above 0."
    within = float(stats.t.cdf(found, 1) - stats.t.cdf(-found, 1))
    return f"with two seeds {within:.1%} of all means lie within {found:g} standard errors, and 95 % should."
