"""Measure claims one after another, or in several processes: what is finished is kept, what is cheap comes first."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

from .claim import Claim, Conditions
from .ledger import Row, Rows, shipped

Group = list[Claim]
Seeds = Sequence[int] | Mapping[str, Sequence[int]] | None


def measured(claims: Sequence[Claim], conditions: Conditions, seeds: Seeds, jobs: int = 1) -> Iterator[Row]:
    """The row of each claim, as it is finished.

    Args:
        claims: what to measure; all other things being equal, in this order.
        conditions: shared by all.
        seeds: for all, or by id; None for each claim's own.
        jobs: processes.
    """
    if jobs == 1:
        for claim in claims:
            yield row_of(claim, conditions, seeds)
        return
    groups = in_order(claims)
    pool = ProcessPoolExecutor(min(jobs, len(groups)), mp_context=get_context("spawn"), initializer=_one_thread)
    try:
        for done in as_completed([pool.submit(_rows, group, conditions, seeds) for group in groups]):
            yield from done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def row_of(claim: Claim, conditions: Conditions, seeds: Seeds) -> Row:
    """The row of one claim: as it was kept, or measured now."""
    own = conditions.of(claim, seeds)
    kept = Rows(None if own.store is None else own.store / "rows", own)
    if (found := kept.get(claim)) is not None:
        return found
    started, spent = time.perf_counter(), processor()
    try:
        result: Any = claim.judged(own)
    except Exception as error:  # one claim's fault must not cost the others
        result = error
    return kept.keep(claim, result, processor() - spent, time.perf_counter() - started)


def processor() -> float:
    """Seconds of processor time that this process and its ended children have used so far."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def in_order(claims: Sequence[Claim]) -> list[Group]:
    """Claims that share sweeps in one group; what no ledger has first, then the dearest."""
    known = shipped()
    groups: dict[str, Group] = {}
    for claim in claims:
        groups.setdefault(claim.id if not claim.trained else claim.shares or claim.paper, []).append(claim)

    def rank(group: Group) -> tuple[bool, float]:
        return all(c.id in known for c in group), -sum(known.get(c.id, {}).get("seconds", 0.0) for c in group)

    return sorted(groups.values(), key=rank)


def _rows(group: Group, conditions: Conditions, seeds: Seeds) -> list[Row]:
    """In a process of its own; a sweep that a claim shares with the next is in memory."""
    return [row_of(claim, replace(conditions), seeds) for claim in group]


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
