"""What was measured for a claim: its steps, controls and readings, and the word that follows from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from ..utils.statistics import ROUND_OFF
from .steps import DIRECTION, HOLDS, NEEDS, SMALLER, UNDECIDED, VERDICTS, Step, worst

Effect = float | Mapping[str, float] | None


@dataclass(frozen=True)
class Measured:
    """What was measured for a claim, and the word that a rule gave it.

    Attributes:
        verdict: one of :data:`VERDICTS`; "needs" goes on with what.
        text: the measurement, as the ledger prints it.
        value, interval: the number the verdict rests on, in the units of ``text``, and its 95 % interval.
        n: how many seeds, or cases of a theorem.
        note: controls and traps, in a sentence or two.
        numbers: further numbers, JSON-able, for a reader who looks closer; rounding below 1e-12 is 0, as in ``value``.
        steps: the comparisons that the verdict rests on, each with its own word.
        controls: effects of the method over its decisive controls; one that does not hold caps the verdict.
        readings: what shows that the instrument reads something; one that does not hold leaves "needs".
        room: how much better the baseline could become at all, in the unit of the steps; None where it is not known.
        cap: why the verdict is "direction holds" at most.

    Raises:
        ValueError: a verdict that is none.
    """

    verdict: str
    text: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    n: int = 0
    note: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    controls: tuple[Step, ...] = ()
    readings: tuple[Step, ...] = ()
    room: float | None = None
    cap: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS and not self.verdict.startswith(f"{NEEDS} "):
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}, got {self.verdict!r}.")
        if self.interval is not None:
            object.__setattr__(self, "interval", (float(self.interval[0]), float(self.interval[1])))
        if self.value is not None and abs(self.value) < ROUND_OFF:
            object.__setattr__(self, "value", 0.0)
        # As the ledger gives them back: a row judged from memory and one read from disk are the same.
        object.__setattr__(self, "numbers", _kept(json.loads(json.dumps(dict(self.numbers), default=_plain))))

    @property
    def weakest(self) -> Step | None:
        """The step that the word rests on: of the worst ones, that whose interval reaches lowest."""
        if not self.steps:
            return None
        word = worst([s.word for s in self.steps])
        return min((s for s in self.steps if s.word == word), key=lambda s: s.interval[0] if s.interval else -math.inf)

    def beside(self, effect: Effect, sesoi: Effect = None, *, partial: bool = False) -> Measured:
        """The same outcomes judged beside the effect that the paper prints, or a smallest effect of interest.

        Args:
            effect: in the unit of the steps; name of the step -> effect where there are several.
            sesoi: likewise, or one for all; where the paper prints none.
            partial: names that no step has are left out: on data of a user's own, steps have other names.

        Raises:
            ValueError: an effect for a step that does not exist, or one number for several steps.
        """
        if not self.steps:
            return self
        if isinstance(effect, float | int) and len(self.steps) > 1:
            names = ", ".join(repr(s.name) for s in self.steps)
            raise ValueError(f"this claim has several steps; give the printed effect of each by name: {names}.")
        steps = told_of(told_of(self.steps, effect, "effect", partial), sesoi, "sesoi", partial)
        return judged(replace(self, steps=steps))


def judged(m: Measured) -> Measured:
    """``m`` with the word that follows from its steps, controls, readings and cap; "needs" of its own stays."""
    weakest = m.weakest
    if weakest is None:
        return m
    if weakest.rule == "exact":  # its text and value say more than the step does
        return replace(m, verdict=word_of(m))
    said = [f"{s.name} {s.text}" + (f" ({s.said})" if len(m.steps) > 1 else "") for s in m.steps]
    return replace(
        m, verdict=word_of(m), text="; ".join(x.strip() for x in said), value=weakest.value, interval=weakest.interval,
        n=min(s.n for s in m.steps),
    )  # fmt: skip


def word_of(m: Measured) -> str:
    """The word that follows from the steps, controls, readings and cap of ``m``, which has steps."""
    word = worst([s.word for s in m.steps])
    for reading in m.readings:
        if reading.word != HOLDS:
            return f"{NEEDS} an instrument that reads ({reading.name} {reading.text})"
    weakest = m.weakest
    assert weakest is not None
    wanted = 0.0 if weakest.target is None else weakest.target - weakest.null
    if word in (SMALLER, UNDECIDED) and m.room is not None and m.room < wanted:
        return f"{NEEDS} headroom ({m.room:.2g} {weakest.unit} left, the effect looked for is {wanted:.3g})"
    if word == HOLDS and (m.cap or any(control.word != HOLDS for control in m.controls)):
        return DIRECTION
    return word


def told_of(steps: Sequence[Step], sizes: Effect, name: str, partial: bool = False) -> tuple[Step, ...]:
    """The steps with a printed effect, or a smallest one of interest, each its own; one that has it keeps it.

    A name with "*", as in "SML over *", is for steps that have no size of their own: those of a dataset whose
    modalities the paper does not have.
    """
    if sizes is None:
        return tuple(steps)
    if not isinstance(sizes, Mapping):
        sizes = {s.name: float(sizes) for s in steps if s.rule in ("win", "ratio")}
    given: Mapping[str, Any] = sizes
    names = [s.name for s in steps]
    if unknown := [] if partial else [key for key in given if key not in names and "*" not in key]:
        raise ValueError(f"no step is called {unknown[0]!r}; there are {', '.join(map(repr, names))}.")

    def told(step: Step) -> Step:
        key = step.name if step.name in given else None
        if key is None and step.target is None:
            key = next((k for k in given if "*" in k and fnmatchcase(step.name, k)), None)
        known: dict[str, Any] = {} if key is None else {name: float(given[key])}
        return replace(step, **known)

    return tuple(told(s) for s in steps)


def _kept(numbers: Any) -> Any:
    """The numbers without rounding: what is below :data:`~.statistics.ROUND_OFF` is 0."""
    if isinstance(numbers, dict):
        return {name: _kept(value) for name, value in numbers.items()}
    if isinstance(numbers, list):
        return [_kept(value) for value in numbers]
    return 0.0 if isinstance(numbers, float) and abs(numbers) < ROUND_OFF else numbers


def _plain(value: Any) -> Any:
    """NumPy and torch numbers and arrays as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"numbers must be JSON-able, got {type(value).__name__}.")
