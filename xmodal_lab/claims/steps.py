"""One comparison of a claim: its outcomes seed by seed, the rule that judges them, and the word.

A step is data. What a rule needs (outcomes, the printed effect, a margin, a level) is kept in the row of the ledger,
so a row can be judged again, by the same rule or another, without a net being trained.

The words, for a claimed gain whose interval is [low, high] and whose printed effect is p:

    holds                 low > 0
    smaller than printed  high < p, with 0 inside; or the whole interval lies between 0 and p / 4
    undecided             0 and p are both inside; the step says how many seeds would decide
    fails                 high < 0

Where the paper prints no number, a stated smallest effect of interest (SESOI; Lakens 2018, doi:10.1177/
2515245918770963) takes p's place. Where neither is known, a null is never a finding: it stays undecided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from ..utils.statistics import detectable, fieller, mean_interval, seeds_within

HOLDS, DIRECTION, SMALLER, UNDECIDED, FAILS = "holds", "direction holds", "smaller than printed", "undecided", "fails"
NEEDS = "needs"
VERDICTS = (HOLDS, DIRECTION, SMALLER, UNDECIDED, FAILS, NEEDS)
NOTHING_DIFFERS = f"{NEEDS} outcomes that differ: every difference is exactly 0"
RULES = ("win", "tie", "no worse", "ratio", "exact")
LEVEL = 0.95
TINY = 0.25  # an effect that is certain, but wholly below this share of the printed one, is smaller than printed (ours)
KEPT_DIGITS = 6  # of each outcome in the ledger
# From good to bad: a claim of several steps is as good as its worst.
SEVERITY = (HOLDS, DIRECTION, UNDECIDED, NEEDS, SMALLER, FAILS)


@dataclass(frozen=True)
class Step:
    """One comparison, judged.

    Attributes:
        name: of the step, empty for a claim's only one.
        rule: one of :data:`RULES`. "win": the mean lies above ``null``. "tie": it lies within ±``margin``. "no worse":
            it lies above -``margin``. "ratio": mean(outcomes) / mean(below) lies above ``null``. "exact": ``held`` of
            ``n`` cases.
        unit: of all numbers here.
        outcomes: (n,) one number per seed; positive is what the claim says.
        below: (n,) a ratio's denominators.
        null: what "no effect" reads.
        effect: the printed effect.
        sesoi: the smallest effect of interest, where none is printed.
        margin: of a tie, or of "no worse".
        level: at which a refusal is judged; 1 - 0.05 / k in a claim of k steps (Bonferroni). That a step holds is
            judged at .95 always, since all must hold.
        held, cases: of "exact".
        summary: (mean, half width, n) of an older row that kept no outcomes; its interval is Student's too.
    """

    name: str = ""
    rule: str = "win"
    unit: str = "points"
    outcomes: tuple[float, ...] = ()
    below: tuple[float, ...] = ()
    null: float = 0.0
    effect: float | None = None
    sesoi: float | None = None
    margin: float | None = None
    level: float = LEVEL
    held: int = 0
    cases: int = 0
    summary: tuple[float, float, int] | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"a rule is one of {', '.join(RULES)}, got {self.rule!r}.")
        for name, size in (("printed effect", self.effect), ("smallest effect of interest", self.sesoi)):
            if size is not None and not size > self.null:
                raise ValueError(
                    f"the {name} of {self.name or 'a claim'} must lie on the claimed side of {self.null:g}, got {size}."
                )
        if self.rule in ("tie", "no worse") and not (self.margin is not None and self.margin > 0):
            raise ValueError(f"margin must be above 0, got {self.margin!r}.")

    @property
    def n(self) -> int:
        """Seeds, or cases of a theorem."""
        return self.cases if self.rule == "exact" else len(self.outcomes) or (self.summary[2] if self.summary else 0)

    @cached_property
    def value(self) -> float:
        """The mean, or the ratio of means; NaN for a theorem."""
        if self.summary is not None:
            return self.summary[0]
        if self.rule == "exact":
            return math.nan
        top = float(np.mean(self.outcomes))
        return top / float(np.mean(self.below)) if self.rule == "ratio" else top

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """At 95 %; None for one seed, a theorem, or a ratio whose denominator may be 0."""
        return self._interval(LEVEL)

    @cached_property
    def strict(self) -> tuple[float, float] | None:
        """The interval by which the step is refused: at ``level``."""
        return self.interval if self.level == LEVEL else self._interval(self.level)

    @cached_property
    def sd(self) -> float:
        """Standard deviation over seeds; of a ratio, that of its linear part."""
        if self.summary is not None:
            mean_zero = seeds_half(self.summary[2])
            return self.summary[1] / mean_zero
        values = np.asarray(self.outcomes, dtype=float)
        if self.rule == "ratio":
            below = np.asarray(self.below, dtype=float)
            values = (values - self.value * below) / below.mean()
        return float(values.std(ddof=1)) if len(values) > 1 else math.nan

    @property
    def target(self) -> float | None:
        """What a null has to exclude: the printed effect, else the smallest effect of interest."""
        return self.effect if self.effect is not None else self.sesoi

    @cached_property
    def seen(self) -> float | None:
        """The smallest effect that so many seeds see with 80 % power, in the unit; None where there is no spread."""
        if self.rule == "exact" or self.n < 2 or not math.isfinite(self.sd):
            return None
        return detectable(self.sd, self.n)

    @cached_property
    def word(self) -> str:
        """One of :data:`VERDICTS` (never "direction holds", which is about a control)."""
        if self.rule == "exact":
            return HOLDS if self.held == self.cases else FAILS
        if self.interval is None or self.strict is None:
            return UNDECIDED
        if self.n > 1 and self.rule != "ratio" and self.value == 0.0 and self.sd == 0.0:
            return NOTHING_DIFFERS
        judge = {"tie": self._tie, "no worse": self._no_worse}.get(self.rule, self._win)
        return judge(*self.interval, *self.strict)

    def _win(self, low: float, high: float, strict_low: float, strict_high: float) -> str:
        target = self.target
        if low > self.null:
            return SMALLER if target is not None and strict_high < self._tiny(target) else HOLDS
        if strict_high < self.null:
            return FAILS
        return SMALLER if target is not None and strict_high < target else UNDECIDED

    def _tiny(self, target: float) -> float:
        if self.sesoi is not None:
            return self.sesoi
        return self.null + TINY * (target - self.null)

    def _tie(self, low: float, high: float, strict_low: float, strict_high: float) -> str:
        assert self.margin is not None
        if -self.margin < low and high < self.margin:
            return HOLDS
        return FAILS if strict_low > self.margin or strict_high < -self.margin else UNDECIDED

    def _no_worse(self, low: float, high: float, strict_low: float, strict_high: float) -> str:
        assert self.margin is not None
        return HOLDS if low > -self.margin else FAILS if strict_high < -self.margin else UNDECIDED

    @cached_property
    def needed(self) -> int | None:
        """How many seeds would decide, with this spread: None where it is decided, or where no number is in reach.

        With that many, the interval is too narrow to hold both "no effect" and the printed effect.
        """
        if self.word != UNDECIDED or self.n < 2 or not math.isfinite(self.sd):
            return None
        if self.rule == "tie":
            assert self.margin is not None
            half = abs(self.margin - abs(self.value))
        elif self.rule == "no worse":
            assert self.margin is not None
            half = abs(self.value + self.margin)
        elif self.target is None:
            return None
        else:
            half = (self.target - self.null) / 2
        found = seeds_within(self.sd, half, self.level)
        return None if found is None else max(found, self.n + 1)

    @property
    def text(self) -> str:
        """The measurement, as in "+1.6 ± 0.4 points"."""
        if self.rule == "exact":
            return f"{self.held} of {self.cases} {self.unit}"
        if self.rule == "ratio":
            ends = "" if self.interval is None else f" ({self.interval[0]:.3g} to {self.interval[1]:.3g})"
            return f"{self.value:.3g}{ends} {self.unit}".strip()
        half = math.nan if self.interval is None else (self.interval[1] - self.interval[0]) / 2
        margin = "" if self.margin is None else f", margin {'±' if self.rule == 'tie' else ''}{self.margin:.3g}"
        return f"{plus_minus(self.value, half, self.unit)}{margin}"

    @property
    def said(self) -> str:
        """The word with what it rests on, as in "undecided, 31 seeds would decide"."""
        if self.word != UNDECIDED:
            return self.word
        if self.needed is not None:
            return f"{UNDECIDED}, {self.needed} seeds would decide"
        why = "no effect is printed or stated" if self.target is None and self.rule in ("win", "ratio") else ""
        return f"{UNDECIDED}, {why}" if why else UNDECIDED

    def row(self) -> dict[str, Any]:
        """As the ledger keeps it: what it was made from, and for a reader what follows from that."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {name: value for name, value in kept.items() if value not in (None, (), 0) or name == "name"}
        for name in ("outcomes", "below"):
            if name in kept:
                kept[name] = [float(f"{x:.{KEPT_DIGITS}g}") for x in kept[name]]
        found = {
            "word": self.word, "value": self.value, "interval": self.interval, "strict": self.strict,
            "mde": self.seen, "needed": self.needed, "n": self.n,
        }  # fmt: skip
        return kept | {k: v for k, v in found.items() if v is not None}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Step:
        """The step that :meth:`row` kept; what followed from it is worked out again."""
        known = {f.name for f in fields(cls)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k in known}
        return cls(**given)

    def _interval(self, level: float) -> tuple[float, float] | None:
        if self.rule == "exact" or self.n < 2:
            return None
        if self.rule == "ratio":
            return fieller(self.outcomes, self.below, level)
        if self.summary is not None:
            half = self.sd * seeds_half(self.n, level)
            return self.summary[0] - half, self.summary[0] + half
        mean, half = mean_interval(np.asarray(self.outcomes), level)
        return mean - half, mean + half


def seeds_half(n: int, level: float = LEVEL) -> float:
    """Half width of Student's interval for a standard deviation of 1."""
    from scipy import stats

    return float(stats.t.ppf(0.5 + level / 2, n - 1)) / n**0.5


def worst(words: Sequence[str]) -> str:
    """The word of a claim of several steps: that of its worst step, with what a "needs" needs."""
    return max(words, key=lambda word: SEVERITY.index(NEEDS if word.startswith(NEEDS) else word))


def plus_minus(mean: float, half: float, unit: str) -> str:
    """Mean and half width with as many digits as show on which side of 0 the interval ends."""
    size = max(abs(mean), 0 if math.isnan(half) else abs(half))
    digits = 1 if size >= 1 or size == 0 else min(6, 1 - math.floor(math.log10(size)))
    while digits < 6 and abs(mean) != half and round(abs(mean), digits) == round(half, digits):
        digits += 1
    spread = "" if math.isnan(half) else f" ± {half:.{digits}f}"
    return f"{mean:+.{digits}f}{spread} {unit}".strip()
