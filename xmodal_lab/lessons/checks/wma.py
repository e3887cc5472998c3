"""Exercises of lesson 04."""

from __future__ import annotations

from typing import Any

import torch

from ...papers import wma
from ..exercises import exercise, number


@exercise("wma.1")
def same_penalty(answer: Any) -> str | None:
    """With the batch's own mean, (1 − 2)² = (1 − 0)²: asking for twice the distance is asking for none."""
    found = number(answer, infinite=True)
    if isinstance(found, str):
        return found
    d = torch.rand(100, 1, generator=torch.Generator().manual_seed(0))
    right = float(wma.penalty(d, 1.0, 2.0) / wma.penalty(d, 1.0, 0.0))
    if abs(found - right) < 1e-3:
        return None
    if abs(found - 4) < 1e-3 or abs(found - 2) < 1e-3:
        return f"{found:g} is how β itself grows; in the identity it stands inside (1 − β)²."
    if abs(found) < 1e-6:
        return "0 would be β = 1, and there Var D is left all the same."
    if found < 0:
        return f"{found:g}: 1 − β is below 0 at β = 2, but it enters squared."
    if found == float("inf"):
        return "at β = 0 the penalty is not 0: (1 − 0)² D̄² is left, and Var D."
    size = "larger" if found > 1 else "smaller"
    return f"{found:g} needs (1 − 2)² to be {size} than (1 − 0)²; Var D is the same in both."


@exercise("wma.2")
def ceiling(answer: Any) -> str | None:
    """A cosine cost is at most 2, so no D passes 2: beyond 2 / D₀ a larger β only pushes harder, not further."""
    found = number(answer)
    if isinstance(found, str):
        return found
    if abs(found - 2.5) < 0.01:
        return None
    if abs(found - 1.25) < 0.01:
        return "1 / D₀ would be the ceiling if a cosine cost ended at 1; 1 − cos goes up to 2."
    if abs(found - 1.6) < 0.01:
        return "a product; the target is β · D₀, and it may not pass 2."
    if abs(found - 2) < 0.01:
        return "2 is the largest D; β counts in units of D₀."
    place = "above 2, the largest that 1 − cos can be" if found > 2.5 else "and 1 − cos can be larger than that"
    return f"β = {found:g} asks for β · D₀ = {0.8 * found:.3g}, {place}."


@exercise("wma.3")
def ipot_errors(answer: Any) -> str | None:
    """IPOT comes down to the exact cost with more steps; Sinkhorn with a fixed blur stays where it is."""
    if not isinstance(answer, dict) or not {5, 50, 500} <= set(answer):
        return "a dict was asked for: the mean relative error after 5, 50 and 500 steps."
    off = {n: number(answer[n]) for n in (5, 50, 500)}
    for n, value in off.items():
        if isinstance(value, str):
            return f"after {n} steps: {value}"
    a, b, c = (float(off[n]) for n in (5, 50, 500))
    if min(a, b, c) < 0:
        return "errors with a sign cancel in a mean; take the absolute value first."
    if not a > b > c:
        return f"more steps should come closer, and these are {a:.2g}, {b:.2g}, {c:.2g}: each beside the exact cost?"
    if c > 5e-3:
        return f"after 500 steps {c:.2g} is left, not a thousandth: beside wma.distances(hidden), the exact one?"
    return None
