"""Verdicts: rules that turn a measurement into a word. Statistics only; nothing is trained here.

A claim of a gain is judged by the 95 % interval of the mean of *paired* differences, one per
seed, where positive is what the claim says.

    holds            the whole interval lies on the claimed side
    direction holds  the effect is there, but a control shows as much, or not every step is certain
    not seen here    the interval contains "no effect"
    fails            the whole interval lies on the other side (of k steps, one at level 1 - 0.05 / k); or a theorem
                     has a counterexample
    needs …          what is not here
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..utils.statistics import ROUND_OFF, mean_interval, printed

HOLDS, DIRECTION, NOT_SEEN, FAILS, NEEDS = "holds", "direction holds", "not seen here", "fails", "needs"
VERDICTS = (HOLDS, DIRECTION, NOT_SEEN, FAILS, NEEDS)

Differences = Sequence[float] | np.ndarray


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

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS and not self.verdict.startswith(f"{NEEDS} "):
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}, got {self.verdict!r}.")
        if self.interval is not None:
            object.__setattr__(self, "interval", (float(self.interval[0]), float(self.interval[1])))
        if self.value is not None and abs(self.value) < ROUND_OFF:
            object.__setattr__(self, "value", 0.0)
        object.__setattr__(self, "numbers", _kept(json.loads(json.dumps(dict(self.numbers), default=_plain))))


def gain(
    differences: Differences,
    *,
    control: Differences | None = None,
    control_name: str = "the control",
    unit: str = "points",
    scale: float = 100.0,
    note: str = "",
    numbers: Mapping[str, Any] | None = None,
) -> Measured:
    """Judge a claimed gain.

    Args:
        differences: (n,) paired differences, one per seed; positive is what the claim says. NaN (a run that
            diverged) is left out and counted in the note.
        control: (n,) the effect of the method minus the effect of the decisive control, seed by seed. If the gain
            holds and this does not, the verdict is "direction holds": the control explains the gain.
        control_name: how the note calls it.
        unit, scale: of the text; accuracies in [0, 1] are printed as points (times 100).
        note, numbers: kept in the result.

    Raises:
        ValueError: no difference that is finite.

    Example:
        >>> from xmodal_lab.claims import verdicts
        >>> verdicts.gain([0.02, 0.03, 0.025, 0.04, 0.03]).verdict  # five seeds, all above 0
        'holds'
        >>> verdicts.gain([0.02, -0.03, 0.025, -0.04, 0.03]).verdict
        'not seen here'
    """
    found, said = _finite(differences), _lost(differences)
    mean, half = mean_interval(found * scale)
    verdict, text = _side(mean, half), _text(mean, half, unit)
    if control is not None:
        over, over_half = mean_interval(_finite(control) * scale)
        said = _join(f"Over {control_name}: {_text(over, over_half, unit)}.", said)
        if verdict == HOLDS and _side(over, over_half) != HOLDS:
            verdict = DIRECTION
    interval = None if math.isnan(half) else (mean - half, mean + half)
    return Measured(verdict, text, mean, interval, len(found), _join(note, said), numbers or {})


def order(
    steps: Mapping[str, Differences], *, unit: str = "points", scale: float = 100.0, note: str = "",
    numbers: Mapping[str, Any] | None = None,
) -> Measured:  # fmt: skip
    """Judge a claim of several steps, such as "DML over SML over the best single modality".

    It holds if every step does. It fails if any of its k steps lies on the other side with an interval of
    level 1 - 0.05 / k (Bonferroni): without it, four steps of no effect would refute a claim in 10 % of all
    tries, and one step in 2.5 %. If all means have the claimed sign and at least one step holds, the direction
    holds. ``value`` is that of the weakest step.

    Args:
        steps: name of the step -> (n,) paired differences, positive is what the claim says.
        unit, scale, note, numbers: as in :func:`gain`.

    Raises:
        ValueError: no step, or one without a finite difference.
    """
    if not steps:
        raise ValueError("a claim of several steps needs at least one, got none.")
    each = {name: gain(found, unit=unit, scale=scale) for name, found in steps.items()}
    verdicts = [m.verdict for m in each.values()]
    positive = all(m.value is not None and m.value > 0 for m in each.values())
    strict = [mean_interval(_finite(found), 1 - 0.05 / len(steps)) for found in steps.values()]
    if any(_side(mean, half) == FAILS for mean, half in strict):
        verdict = FAILS
    elif all(v == HOLDS for v in verdicts):
        verdict = HOLDS
    else:
        verdict = DIRECTION if positive and HOLDS in verdicts else NOT_SEEN
    weakest = min(each.values(), key=lambda m: m.interval[0] if m.interval else -math.inf)
    text = "; ".join(f"{name} {m.text}" for name, m in each.items())
    lost = next((m.note for m in each.values() if m.note), "")
    n = min(m.n for m in each.values())
    return Measured(verdict, text, weakest.value, weakest.interval, n, _join(note, lost), numbers or {})


def same(
    differences: Differences, margin: float, *, unit: str = "points", scale: float = 100.0, note: str = "",
    numbers: Mapping[str, Any] | None = None,
) -> Measured:  # fmt: skip
    """Judge a claim that something makes no (large) difference: the interval must lie inside ±margin.

    Args:
        differences: (n,) paired differences.
        margin: what counts as no difference, in the units of ``differences`` (before ``scale``).
        unit, scale, note, numbers: as in :func:`gain`.

    Returns:
        Holds if the interval lies inside ±margin, fails if it lies outside, else not seen here.

    Raises:
        ValueError: a margin that is not above 0; no finite difference.
    """
    if not margin > 0:
        raise ValueError(f"margin must be above 0, got {margin!r}.")
    plain = gain(differences, unit=unit, scale=scale)
    mean, band = plain.value or 0.0, margin * scale
    low, high = plain.interval or (-math.inf, math.inf)
    verdict = HOLDS if -band < low and high < band else FAILS if low > band or high < -band else NOT_SEEN
    text = f"{plain.text}, margin ±{band:.3g}"
    return Measured(verdict, text, mean, plain.interval, plain.n, _join(note, plain.note), numbers or {})


def exact(
    held: int, total: int, what: str, *, note: str = "", worst: float | None = None,
    numbers: Mapping[str, Any] | None = None,
) -> Measured:  # fmt: skip
    """Judge a theorem by its cases: it holds if it held in all of them, otherwise it fails.

    Args:
        held, total: in how many of the cases it held.
        what: what was checked, as in "designs".
        worst: the largest error or violation, kept as the value.
        note, numbers: kept in the result.

    Raises:
        ValueError: no case, or more held than there are.
    """
    if not 0 <= held <= total or total == 0:
        raise ValueError(f"held must be between 0 and total, and total above 0; got {held} of {total}.")
    text = f"{held} of {total} {what}" + ("" if worst is None else f", worst {printed(worst)}")
    return Measured(HOLDS if held == total else FAILS, text, worst, None, total, note, numbers or {})


def missing(what: str, note: str = "") -> Measured:
    """The verdict of a claim that cannot be measured here: "needs ImageNet and 8 GPU days"."""
    if not what:
        raise ValueError("say what is needed, as in missing('ImageNet and 8 GPU days').")
    return Measured(f"{NEEDS} {what}", "", note=note)


def _side(mean: float, half: float) -> str:
    if math.isnan(half):  # one seed has no interval
        return NOT_SEEN
    return HOLDS if mean - half > 0 else FAILS if mean + half < 0 else NOT_SEEN


def _text(mean: float, half: float, unit: str) -> str:
    size = max(abs(mean), 0 if math.isnan(half) else abs(half))
    digits = 1 if size >= 1 or size == 0 else min(6, 1 - math.floor(math.log10(size)))
    while digits < 6 and abs(mean) != half and round(abs(mean), digits) == round(half, digits):
        digits += 1  # else a reader could not see on which side of 0 the interval ends
    spread = "" if math.isnan(half) else f" ± {half:.{digits}f}"
    return f"{mean:+.{digits}f}{spread} {unit}".strip()


def _finite(differences: Differences) -> np.ndarray:
    values = np.asarray(differences, dtype=float).ravel()
    values = values[np.isfinite(values)]
    if len(values) == 0:
        raise ValueError("no finite difference was given: all runs diverged, or there were none.")
    return values


def _lost(differences: Differences) -> str:
    values = np.asarray(differences, dtype=float).ravel()
    lost = int((~np.isfinite(values)).sum())
    return f"{lost} of {len(values)} seeds diverged and are left out." if lost else ""


def _join(*sentences: str) -> str:
    return " ".join(s for s in sentences if s)


def _kept(numbers: Any) -> Any:
    """The numbers without rounding: what is below :data:`~.intervals.ROUND_OFF` is 0."""
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
