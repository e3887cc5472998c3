"""Claims on a dataset within a given time: two seeds of each are tried, and so each row gets its number of seeds.

On the claims' own worlds what a seed costs is known beforehand (``Claim.cost``); on somebody's data nobody knows it.
The seeds that are tried are no row's, and what they find is not looked at: only how long it took.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from ..utils.files import seal, write_text
from .claim import LEAST_SEEDS, Claim, Conditions
from .ledger import Row, Rows, device_name, row_of, versions
from .seeds import SEEDS, TRIED, counts_of
from .verdicts import missing
from .working import in_order, measured, processor

SHARE = 0.1  # of the time that two seeds of a row may take: five would take a quarter of it (ours)
_LOOK = 0.2  # seconds between two looks at how long a row has taken

_TICK = 0.01  # seconds, of the clock that counts processor time

Tried = dict[str, float | None]


@dataclass(frozen=True)
class Fit:
    """How many seeds a row gets.

    Attributes:
        count: of seeds; 0 for a row that is left out.
        usual: by what a seed costs, had there been time.
        seconds: of processor time that a seed takes, of this row and all that share sweeps with it.
        tried: seconds that it took to try this row.
        why: it is left out, or has fewer seeds than usual; "" for neither.
    """

    count: int
    usual: int
    seconds: float
    tried: float
    why: str = ""


def within(claims: Sequence[Claim], conditions: Conditions, minutes: float, jobs: int = 1) -> Iterator[Row]:
    """The row of each claim as it is finished, and of those that are left out; each says what it was given.

    Args:
        claims: that are wanted.
        conditions: shared by all.
        minutes: of processor time for trial and rows together.
        jobs: processes.
    """
    plan = planned(claims, conditions, minutes)
    seeds = seeds_in(plan, claims)
    for row in measured([c for c in claims if c.id in seeds], conditions, seeds, jobs):
        yield told(row, plan[row["id"]], minutes)
    yield from left_out(claims, conditions, plan, minutes)


def finished(claims: Sequence[Claim], conditions: Conditions, minutes: float) -> Iterator[Row]:
    """The rows of :func:`within` that are finished, in a store.

    Raises:
        ValueError: a store in which nobody has begun.
    """
    plan = kept_plan(claims, conditions, minutes)
    if plan is None:
        raise ValueError(f"nobody has begun these claims within {minutes:g} minutes here; give --run first.")
    seeds = seeds_in(plan, claims)
    for claim in claims:
        of = conditions.of(claim, seeds.get(claim.id))
        row = Rows(None if of.store is None else of.store / "rows", of).get(claim) if claim.id in seeds else None
        if row is not None:
            yield told(row, plan[claim.id], minutes)
    yield from left_out(claims, conditions, plan, minutes)


def seeds_in(plan: Mapping[str, Fit], claims: Sequence[Claim]) -> dict[str, tuple[int, ...]]:
    """Seeds by id, of the claims that are measured: from each one's own first on."""
    return {c.id: tuple(range(c.first, c.first + plan[c.id].count)) for c in claims if plan[c.id].count}


def told(row: Row, fit: Fit, minutes: float) -> Row:
    """The row with what it was given; a note where it has fewer seeds than one of its cost gets."""
    why = fit.why if row["n"] or not fit.count else ""  # a row that needs something else is none of few seeds
    note = " ".join(part for part in (row["note"], why) if part)
    given = {"minutes": minutes, "seconds": round(fit.seconds, 2), "tried": round(fit.tried, 2), "usual": fit.usual}
    return {**row, "note": note, "within": given}


def planned(claims: Sequence[Claim], conditions: Conditions, minutes: float) -> dict[str, Fit]:
    """How many seeds each claim gets within so many core-minutes; kept in the store, so that a run goes on with it.

    Args:
        claims: that are wanted.
        conditions: dataset, budget, settings and store.
        minutes: of processor time for trial and rows together.
    """
    if (kept := kept_plan(claims, conditions, minutes)) is not None:
        return kept
    plan = fitted(claims, tried(claims, conditions, 60 * minutes * SHARE), minutes, conditions.budget)
    if (path := _path(claims, conditions, minutes)) is not None:
        held = json.loads(json.dumps({name: asdict(fit) for name, fit in plan.items()}))
        write_text(path, json.dumps({"seal": seal(held), "plan": held}, ensure_ascii=False, indent=1))
    return plan


def kept_plan(claims: Sequence[Claim], conditions: Conditions, minutes: float) -> dict[str, Fit] | None:
    """The plan that an earlier call made under the same conditions; None without one, or where it is damaged."""
    path = _path(claims, conditions, minutes)
    if path is None or not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["seal"] != seal(held["plan"]):
            return None
        return {name: Fit(**fit) for name, fit in held["plan"].items()}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def fitted(claims: Sequence[Claim], found: Mapping[str, float | None], minutes: float, budget: str) -> dict[str, Fit]:
    """The numbers of seeds, by what two seeds took: as many as a row of such a cost gets, where all of them fit.

    Rows that share sweeps get one number, by what they cost together. Where not all fit, none gets more than the 20 of
    a row of which a seed takes seconds; then the dearest are left out, since many rows of five seeds tell less than
    some of twenty. What remains of the time goes to what was left out, with fewer seeds, then to more for the cheapest.

    Args:
        claims: that are wanted.
        found: seconds of two seeds by id; None for a row that was stopped, 0 for one that lacks something else, such
            as a modality, which takes no time to say. Others were not tried.
        minutes: of processor time for trial and rows together.
        budget: "quick" or "full".
    """
    limit = 60 * minutes * SHARE
    left = 60 * minutes - sum(limit if s is None else s for s in found.values())
    stopped = _stopped(limit, minutes)
    plan = {c.id: Fit(0, 0, limit / 2, limit * (c.id in found), stopped) for c in claims if found.get(c.id) is None}
    units: dict[str, list[Claim]] = {}
    for claim in claims:
        if found.get(claim.id) == 0:
            plan[claim.id] = Fit(LEAST_SEEDS, LEAST_SEEDS, 0.0, 0.0)
        elif claim.id not in plan:
            units.setdefault(claim.shares or claim.id, []).append(claim)
    costs = {name: sum(found[c.id] or 0.0 for c in unit) / 2 for name, unit in units.items()}
    usual = {name: counts_of(costs[name] / len(unit), budget) for name, unit in units.items()}
    counts = _counts(costs, usual, left, SEEDS["seconds"][budget])
    for name, unit in units.items():
        why = _short(counts[name], usual[name], costs[name], minutes)
        plan |= {c.id: Fit(counts[name], usual[name][0], costs[name], found[c.id] or 0.0, why) for c in unit}
    return {claim.id: plan[claim.id] for claim in claims}


def _counts(
    costs: Mapping[str, float], usual: Mapping[str, tuple[int, ...]], left: float, enough: int
) -> dict[str, int]:  # fmt: skip
    """Seeds by name: see :func:`fitted`.

    Args:
        costs: seconds of a seed.
        usual: numbers of seeds that a row of such a cost may have, most first; all end with the same one.
        left: seconds in all.
        enough: so many are not thinned out; rather rows are left out.
    """
    counts = dict.fromkeys(costs, 0)

    def spent() -> float:
        return sum(n * costs[name] for name, n in counts.items())

    for most in sorted({n for numbers in usual.values() for n in numbers} | {enough}, reverse=True):
        counts = {name: next(n for n in numbers if n <= most) for name, numbers in usual.items()}
        if most <= enough or spent() <= left:
            break
    for name in sorted(costs, key=lambda name: -counts[name] * costs[name]):
        if spent() > left:
            counts[name] = 0
    for name in sorted(costs, key=lambda name: (counts[name] > 0, costs[name])):
        more = [n for n in usual[name] if n > counts[name] and spent() + (n - counts[name]) * costs[name] <= left]
        counts[name] = more[0] if more else counts[name]
    return counts


def left_out(
    claims: Sequence[Claim], conditions: Conditions, plan: Mapping[str, Fit], minutes: float
) -> Iterator[Row]:  # fmt: skip
    """The rows of claims for which there is no time: each says what it would take."""
    least = counts_of(float("inf"), conditions.budget)[0]
    for claim in claims:
        if not (fit := plan[claim.id]).count:
            more = "" if fit.usual else "more than "
            needs = missing(f"{more}{max(least * fit.seconds / 60, 0.1):.2g} core-minutes for {least} seeds")
            yield told(row_of(claim, conditions.of(claim, None), needs, 0.0, 0.0), fit, minutes)


def tried(claims: Sequence[Claim], conditions: Conditions, limit: float) -> Tried:
    """Seconds of processor time that two seeds of each claim took; None for more than ``limit``, 0 where it lacks data.

    In another process, which ends itself when a row takes too long; what shares sweeps with it is then not tried.
    """
    found: Tried = {}
    left = [claim for group in in_order(claims) for claim in group]
    bare = replace(conditions, store=None, executor=None, memory={}, told={}, devices=set(), rows=set())
    while left:
        here, there = Pipe(duplex=False)
        child = get_context("spawn").Process(target=_try, args=(left, bare, limit, there))
        child.start()
        there.close()
        _hear(here, found)
        child.join()
        if all(found.get(c.id) is not None for c in left):
            break
        late = next((c for c in left if c.id in found and found[c.id] is None), None)
        if late is None:  # somebody ended the process
            late = next(c for c in left if c.id not in found)
            found[late.id] = None
        left = [c for c in left if c.id not in found and not (late.shares and c.shares == late.shares)]
    return found


def _hear(here: Connection, found: Tried) -> None:
    """What the other process says until it ends."""
    while True:
        try:
            name, seconds = here.recv()
        except EOFError:
            return
        found[name] = seconds


def _try(claims: Sequence[Claim], conditions: Conditions, limit: float, there: Connection) -> None:
    """Two seeds of one claim after another; ends the process when one takes too long."""
    import torch

    torch.set_num_threads(1)
    watch = _Watch(limit, there)
    for claim in claims:
        watch.begin(claim.id)
        lacks = False
        with suppress(Exception):  # measuring will tell it
            lacks = claim.judged(conditions.of(claim, (TRIED, TRIED + 1))).n == 0
        watch.end(lacks)
    there.close()


class _Watch:
    """Says how long each row took, and ends this process when one takes longer than the limit."""

    def __init__(self, limit: float, there: Connection) -> None:
        self.limit, self.there, self.lock, self.name = limit, there, threading.Lock(), ""
        threading.Thread(target=self._look, daemon=True).start()

    def begin(self, name: str) -> None:
        with self.lock:
            self.name, self.begun = name, processor()

    def end(self, lacks: bool) -> None:
        with self.lock:
            self.there.send((self.name, 0.0 if lacks else max(processor() - self.begun, _TICK)))
            self.name = ""

    def _look(self) -> None:
        pause = threading.Event()
        while not pause.wait(_LOOK):
            with self.lock:
                if self.name and processor() - self.begun > self.limit:
                    self.there.send((self.name, None))
                    os._exit(0)


def _stopped(limit: float, minutes: float) -> str:
    return (
        f"Two seeds took more than {limit:.0f} s of one core, a tenth of the {minutes:g} core-minutes given, or share "
        "sweeps with a row that did."
    )


def _short(count: int, usual: Sequence[int], cost: float, minutes: float) -> str:
    if count == usual[0]:
        return ""
    each = f"a seed takes {cost:.3g} s of one core, with what it shares"
    if count:
        return f"{count} seeds, not {usual[0]}: {each}, and all had to fit {minutes:g} core-minutes."
    return f"Left out: {each}, and {usual[-1]} seeds did not fit what other rows left of {minutes:g} core-minutes."


def _path(claims: Sequence[Claim], conditions: Conditions, minutes: float) -> Path | None:
    if conditions.store is None or conditions.dataset is None:
        return None
    data = [conditions.dataset.name, conditions.dataset.fingerprint, repr(sorted(conditions.settings.items()))]
    what: list[Any] = [[[c.id, c.text] for c in claims], conditions.budget, data, minutes, versions(), device_name()]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    return conditions.store / "plans" / f"{conditions.dataset.name}-{digest}.json"
