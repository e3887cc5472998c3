"""Verdicts: one function per rule turns a measurement into a word. Statistics only; nothing is trained here.

Outcomes are *paired* differences, one per seed, where positive is what the claim says; intervals are Student's, 95 %.

    holds                 the whole interval lies on the claimed side
    direction holds       it does, but the decisive control shows as much
    smaller than printed  the interval excludes the paper's effect, with 0 inside; or what is left of it is tiny
    undecided             the interval holds both 0 and the paper's effect; the row says how many seeds would decide
    fails                 the whole interval lies on the other side (of k steps, one at level 1 - 0.05 / k); or a
                          theorem has a counterexample
    needs …               what is not here; also an instrument that reads nothing, or a world without headroom

- :func:`gain`: a win. :func:`same`: a tie, within a margin. :func:`at_least`: no worse, within a margin.
- :func:`ratio`: a ratio of means (Fieller); for functions of means, ``statistics.jackknife`` gives a gain's outcomes.
- :func:`order`: several steps, each with its own word. :func:`exact`: a theorem. :func:`missing`: what is not here.
- :func:`controlled`, :func:`capped`: what keeps a claim at "direction holds". :func:`reads`: does the instrument read?

The printed effect stands in the claim (``Claim(effect=…)``), which judges what a rule returned beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..utils.statistics import ROUND_OFF, printed
from .measured import Effect, Measured, judged, told_of
from .steps import DIRECTION, FAILS, HOLDS, LEVEL, NEEDS, SMALLER, UNDECIDED, VERDICTS, Step

Differences = Sequence[float] | np.ndarray


def gain(
    differences: Differences,
    *,
    control: Differences | None = None,
    control_name: str = "the control",
    effect: float | None = None,
    sesoi: float | None = None,
    unit: str = "points",
    scale: float = 100.0,
    note: str = "",
    numbers: Mapping[str, Any] | None = None,
) -> Measured:
    """Judge a claimed gain.

    Args:
        differences: (n,) paired differences, one per seed; positive is what the claim says. NaN (a run that
            diverged) is left out and counted in the note.
        control: (n,) the effect of the method minus the effect of the decisive control, seed by seed: see
            :func:`controlled`.
        control_name: how the note calls it.
        effect: the printed effect, in ``unit``. A claim of the ledger states it itself (``Claim(effect=…)``).
        sesoi: the smallest effect of interest, in ``unit``, where none is printed.
        unit, scale: of the text; accuracies in [0, 1] are printed as points (times 100).
        note, numbers: kept in the result.

    Raises:
        ValueError: no difference that is finite.

    Example:
        >>> from xmodal_lab.claims import verdicts
        >>> verdicts.gain([0.02, 0.03, 0.025, 0.04, 0.03]).verdict  # five seeds, all above 0
        'holds'
        >>> verdicts.gain([0.02, -0.03, 0.025, -0.04, 0.03], effect=1.0).verdict  # 0 and the paper's 1 point inside
        'undecided'
        >>> verdicts.gain([0.02, -0.03, 0.025, -0.04, 0.03], effect=9.0).verdict
        'smaller than printed'
    """
    step = Step(unit=unit, outcomes=_finite(differences, scale), effect=effect, sesoi=sesoi)
    found = _measured([step], [_lost(differences)], note, numbers)
    return found if control is None else controlled(found, control, f"over {control_name}", unit=unit, scale=scale)


def same(
    differences: Differences, *, margin: float, unit: str = "points", scale: float = 100.0, note: str = "",
    numbers: Mapping[str, Any] | None = None,
) -> Measured:  # fmt: skip
    """Judge a claim that something makes no (large) difference: the interval must lie inside ±margin.

    At 95 %, where two one-sided tests at 5 % (TOST) would take 90 %: one interval for all rules, and stricter.

    Args:
        differences: (n,) paired differences.
        margin: what counts as no difference, in ``unit``.
        unit, scale, note, numbers: as in :func:`gain`.

    Returns:
        Holds if the interval lies inside ±margin, fails if it lies outside, else undecided.

    Raises:
        ValueError: a margin that is not above 0; no finite difference.
    """
    step = Step(rule="tie", unit=unit, outcomes=_finite(differences, scale), margin=margin)
    return _measured([step], [_lost(differences)], note, numbers)


def at_least(
    differences: Differences, *, margin: float, unit: str = "points", scale: float = 100.0, note: str = "",
    numbers: Mapping[str, Any] | None = None,
) -> Measured:  # fmt: skip
    """Judge a claim of "at least as good": not worse by ``margin`` or more (non-inferiority).

    Args:
        differences: (n,) paired differences, positive is better.
        margin: a loss that one would still accept, in ``unit``.
        unit, scale, note, numbers: as in :func:`gain`.

    Returns:
        Holds if the interval lies above -margin, fails if it lies below, else undecided.

    Raises:
        ValueError: a margin that is not above 0; no finite difference.
    """
    step = Step(rule="no worse", unit=unit, outcomes=_finite(differences, scale), margin=margin)
    return _measured([step], [_lost(differences)], note, numbers)


def ratio(
    top: Differences, bottom: Differences, *, null: float = 1.0, effect: float | None = None,
    sesoi: float | None = None, unit: str = "times", note: str = "", numbers: Mapping[str, Any] | None = None,
) -> Measured:  # fmt: skip
    """Judge a claimed ratio of means, mean(top) / mean(bottom) above ``null``, by Fieller's interval.

    More seeds sharpen it; a rule that asks something of every seed's own ratio refuses the more, the more there are.

    Args:
        top, bottom: (n,) paired, one per seed. The mean of ``bottom`` has to be certain; else it is undecided.
        null: what "no effect" reads.
        effect, sesoi: the printed ratio, or the smallest one of interest; above ``null``.
        unit, note, numbers: as in :func:`gain`.

    Raises:
        ValueError: not as many below as above; no finite pair.
    """
    pairs = np.stack([np.asarray(x, dtype=float).ravel() for x in (top, bottom)])
    kept = pairs[:, np.isfinite(pairs).all(0)]
    above, below = (_finite(x, 1.0) for x in kept)
    step = Step(rule="ratio", unit=unit, outcomes=above, below=below, null=null, effect=effect, sesoi=sesoi)
    return _measured([step], [_lost(pairs.sum(0))], note, numbers)


def order(
    steps: Mapping[str, Differences | Measured], *, effect: Effect = None, sesoi: Effect = None,
    unit: str = "points", scale: float = 100.0, note: str = "", numbers: Mapping[str, Any] | None = None,
) -> Measured:  # fmt: skip
    """Judge a claim of several steps, such as "DML over SML over the best single modality".

    Each step gets its own word, and the claim that of its worst step. It holds if every step does. Any of its k
    steps refuses it ("fails", "smaller than printed") at level 1 - 0.05 / k (Bonferroni): without it, four steps of
    no effect would refute a claim in 10 % of all tries, and one step in 2.5 %. ``value`` is that of the step that
    the word rests on.

    Args:
        steps: name of the step -> (n,) paired differences, positive is what the claim says; or what another rule
            made of one, as in ``{"DML over SML": gains, "DML no worse than SAM": at_least(losses, margin=.5)}``.
        effect, sesoi: as in :func:`gain`, by name of the step.
        unit, scale, note, numbers: as in :func:`gain`.

    Raises:
        ValueError: no step, or one without a finite difference; an effect for a step that does not exist.
    """
    if not steps:
        raise ValueError("a claim of several steps needs at least one, got none.")
    level = 1 - (1 - LEVEL) / len(steps)
    held, lost = [], []
    for name, given in steps.items():
        one = given if isinstance(given, Measured) else gain(given, unit=unit, scale=scale)
        if len(one.steps) != 1:
            raise ValueError(f"step {name!r} must be one comparison, this one has {len(one.steps)}.")
        held.append(replace(one.steps[0], name=name, level=level))
        lost += [one.note]
    known = told_of(told_of(held, effect, "effect"), sesoi, "sesoi")
    return _measured(known, [next((x for x in lost if x), "")], note, numbers)


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
    step = Step(rule="exact", unit=what, held=held, cases=total)
    text = step.text + ("" if worst is None else f", worst {printed(worst)}")
    return Measured(step.word, text, worst, None, total, note, numbers or {}, (step,))


def missing(what: str, note: str = "") -> Measured:
    """A claim that cannot be measured here, for lack of ``what``.

    Raises:
        ValueError: an empty ``what``.
    """
    if not what:
        raise ValueError("say what is needed.")
    return Measured(f"{NEEDS} {what}", "", note=note)


def controlled(
    measured: Measured, over: Differences | Measured, name: str, *, unit: str = "points", scale: float = 100.0
) -> Measured:
    """The same beside its decisive control: "direction holds" at most, where the effect over it is not certain.

    Args:
        measured: of the claim.
        over: (n,) the effect of the method minus that of the control, seed by seed; or that as judged.
        name: of that comparison, as in "over a constant target"; the note begins with it.
        unit, scale: as in :func:`gain`.

    Raises:
        ValueError: no difference that is finite.

    Example:
        >>> from xmodal_lab.claims import verdicts
        >>> found = verdicts.gain([0.02, 0.03, 0.025, 0.04, 0.03])
        >>> verdicts.controlled(found, [0.01, -0.01, 0.0, 0.005, -0.005], "over a constant").verdict
        'direction holds'
    """
    control = over if isinstance(over, Measured) else gain(over, unit=unit, scale=scale)
    controls = [replace(step, name=f"{name}: {step.name}" if step.name else name) for step in control.steps]
    note = _join(measured.note, f"{name[:1].upper()}{name[1:]}: {control.text} ({control.verdict}).")
    return judged(replace(measured, controls=(*measured.controls, *controls), note=note))


def capped(measured: Measured, why: str) -> Measured:
    """The same, "direction holds" at most, for a reason that is no comparison.

    Raises:
        ValueError: no reason.
    """
    if not why:
        raise ValueError("say why the verdict is capped.")
    return judged(replace(measured, cap=why, note=_join(measured.note, why)))


def reads(
    measured: Measured, *, room: float | None = None, unit: str = "points", scale: float = 100.0,
    **readings: Differences,
) -> Measured:  # fmt: skip
    """The same if the instrument reads something; else "needs": a probe that training does not move tells nothing.

    Args:
        measured: of the claim.
        room: the headroom: how much better the baseline could become at all, in ``unit`` (100 minus its accuracy, or
            the gap to an oracle). Less than the printed effect leaves a null "needs headroom".
        unit, scale: as in :func:`gain`.
        readings: what must be certain for the instrument to read: ``trained_over_untrained=…``, or the method's own
            positive control; (n,) paired differences, positive is as it should be.

    Raises:
        ValueError: neither readings nor room; no difference that is finite.

    Example:
        >>> from xmodal_lab.claims import verdicts
        >>> found = verdicts.gain([0.002, -0.003, 0.001, 0.0, 0.001])
        >>> verdicts.reads(found, trained_over_untrained=[0.01, -0.01, 0.0, 0.02, -0.01]).verdict
        'needs an instrument that reads (trained over untrained +0.2 ± 1.6 points)'
    """
    if not readings and room is None:
        raise ValueError("say what shows that the instrument reads: a positive control by name, or room=.")
    told = [
        Step(name=name.replace("_", " "), unit=unit, outcomes=_finite(each, scale)) for name, each in readings.items()
    ]
    said = [f"{step.name}: {step.text} ({step.word})" for step in told]
    said += [] if room is None else [f"headroom {room:.3g} {unit}"]
    note = _join(measured.note, f"The instrument: {'; '.join(said)}.")
    left = measured.room if room is None else room
    return judged(replace(measured, readings=(*measured.readings, *told), room=left, note=note))


def _measured(steps: Sequence[Step], lost: Sequence[str], note: str, numbers: Mapping[str, Any] | None) -> Measured:
    return judged(Measured(UNDECIDED, "", note=_join(note, *lost), numbers=numbers or {}, steps=tuple(steps)))


def _finite(differences: Differences, scale: float) -> tuple[float, ...]:
    values = np.asarray(differences, dtype=float).ravel()
    values = values[np.isfinite(values)]
    if len(values) == 0:
        raise ValueError("no finite difference was given: all runs diverged, or there were none.")
    # Beside outcomes of an ordinary size, what is left of a difference of equal numbers is 0, not rounding.
    values = np.where(np.abs(values) < ROUND_OFF * np.abs(values).max(), 0.0, values)
    return tuple((values * scale).tolist())


def _lost(differences: Differences) -> str:
    values = np.asarray(differences, dtype=float).ravel()
    lost = int((~np.isfinite(values)).sum())
    return f"{lost} of {len(values)} seeds diverged and are left out." if lost else ""


def _join(*sentences: str) -> str:
    return " ".join(s for s in sentences if s)


__all__ = [
    "DIRECTION", "FAILS", "HOLDS", "NEEDS", "SMALLER", "UNDECIDED", "VERDICTS", "Differences", "Effect", "Measured",
    "Step", "at_least", "capped", "controlled", "exact", "gain", "missing", "order", "ratio", "reads", "same",
]  # fmt: skip
