"""Exercises of lesson 03."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...instruments.information import Fisher
from ...papers.uml.theory import designs, theorems
from ..exercises import exercise, number


@exercise("uml.1")
def words(answer: Any) -> str | None:
    """A rate is a ratio of two slopes. Its denominator may be 0 within its interval: then there is no rate."""
    found = number(answer)
    if isinstance(found, str):
        return found
    if abs(found - 75) < 0.5:
        return None
    told = {
        5: "that many texts; a text has fifteen words.",
        0.2: "upside down: the image slope is the numerator.",
        3: "upside down, and in words: the image slope is the numerator.",
        15: "that is the length of one text; how many texts buy what one image buys?",
    }
    for value, word in told.items():
        if abs(found - value) < 0.01 * value:
            return f"{found:g}: {word}"
    texts = found / 15
    return f"{found:g} words are {texts:.3g} texts and buy {0.006 * texts:.3g} of accuracy; one image buys 0.030."


@exercise("uml.2")
def balanced_direction(answer: Any, world: Fisher) -> str | None:
    """Along this direction both modalities tell equally much; to one side of it X is worth more, to the other Y."""
    found = number(answer)
    if isinstance(found, str):
        return found
    if abs(found) <= 3.2 and found != round(found):
        return "degrees were asked for, and this looks like radians."

    def rate(degrees: float) -> float:
        return float(world.rate([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))]))

    rates = np.abs(np.log([rate(d) for d in range(180)]))
    worth = rate(found)
    if abs(np.log(worth)) <= rates.min() + 0.02:
        return None
    turn = "towards 90°, where X sees least" if worth > 1 else "away from 90°, where X sees least"
    return f"at {found:g}° one X is worth {worth:.2f} Y and not 1: turn v {turn}."


@exercise("uml.3")
def two_readings(answer: Any) -> str | None:
    """By block Y always adds; by Schur complement what Y says can be spent on Y's own unknowns."""
    if not isinstance(answer, dict) or set(answer) != {"block", "schur"}:
        return "a dict was asked for: {'block': True or False, 'schur': True or False}."
    inside = designs.draw(0, "inside")
    truth = {reading: theorems.theorem_1(inside, reading).holds for reading in ("block", "schur")}
    wrong = [reading for reading in truth if bool(answer[reading]) != truth[reading]]
    if len(wrong) == 2:
        return "the other way round: which reading counts Y's own unknowns θ_y as known?"
    if wrong:
        return f"not by {wrong[0]}: ask theorems.theorem_1(designs.draw(0, 'inside'), {wrong[0]!r}).holds."
    return None
