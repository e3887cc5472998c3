"""What a sweep has to do: jobs (one computation each), grouped into tasks (what one worker does at a time).

The grouping depends on the whole grid and on nothing that happened before, so a run that
resumes computes each member in the company it would have had, and gets the same bits.
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..utils import checks as check
from .cubes import Layout, Place
from .experiment import Experiment

WAYS = ("auto", "stacked", "sequential", "processes")
# Members in one stack at most: more gain little and leave the cache (ours; benchmarks/sweeps.py).
STACK = 16
# The same on a GPU, where 1,024 MLPs cost the host as many launches as 16; where memory runs out, a stack is halved
# (ours; not measured on one). An interruption loses the stack that was running.
STACK_ON_GPU = 1024
# Guessed seconds from which on processes pay for their start, about 5 s each (ours).
WORTH_PROCESSES = 60.0


@dataclass(frozen=True)
class Job:
    """One computation, and all places of the cube that it fills."""

    settings: Mapping[str, Any]
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Task:
    """Jobs that one worker does together: a stack of them, or a single one."""

    jobs: tuple[Job, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """All places that the task fills."""
        return tuple(place for job in self.jobs for place in job.places)

    @property
    def stacked(self) -> bool:
        """Whether its jobs are computed together."""
        return len(self.jobs) > 1

    def without(self, done: set[Place]) -> Task | None:
        """The part of the task that is not done yet; None if nothing is left."""
        left = tuple(job for job in self.jobs if not done.issuperset(job.places))
        return Task(left) if left else None


def jobs_of(experiment: Experiment, layout: Layout, fixed: Mapping[str, Any]) -> list[Job]:
    """One job per distinct normal form of the members' settings, checked.

    Raises:
        ValueError: settings that make no sense; the message names the member.
    """
    jobs: dict[str, tuple[dict[str, Any], list[Place]]] = {}
    for place in layout.places():
        at = layout.at(place)
        try:
            settings = experiment.settings(**fixed, **at)
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{error} (at {described({**fixed, **at}) or 'the defaults'})") from None
        if experiment.normal is not None:
            settings = dict(experiment.normal(dict(settings)))
        jobs.setdefault(json.dumps(settings, sort_keys=True), (settings, []))[1].append(place)
    return [Job(settings, tuple(places)) for settings, places in jobs.values()]


def tasks_of(experiment: Experiment, jobs: Sequence[Job], how: str, size: int, workers: int) -> list[Task]:
    """The jobs in stacks where that is possible and (for "auto") faster; the others one by one.

    Raises:
        ValueError: ``how="stacked"`` for an experiment that has no stack.
    """
    check.one_of("how", how, WAYS)
    if how == "stacked" and experiment.stack is None:
        raise ValueError(f"experiment {experiment.name!r} cannot be stacked; use how='sequential' or 'processes'.")
    if how in ("sequential", "processes") or experiment.stack is None or size == 1:
        return [Task((job,)) for job in jobs]
    groups: dict[Hashable, list[Job]] = {}
    for i, job in enumerate(jobs):
        key = None if experiment.stack_key is None else experiment.stack_key(dict(job.settings))
        alone = experiment.stack_key is not None and key is None
        groups.setdefault(("alone", i) if alone else ("stack", key), []).append(job)
    tasks = []
    for group in groups.values():
        pays = how == "stacked" or experiment.stack_pays is None or experiment.stack_pays(dict(group[0].settings))
        for part in _even(group, size, workers) if pays else [[job] for job in group]:
            tasks.append(Task(tuple(part)))
    return tasks


def worth_processes(experiment: Experiment, tasks: Sequence[Task]) -> bool:
    """Whether this many members, one after another, would take so long that processes pay."""
    alone = [task.jobs[0] for task in tasks if not task.stacked]
    if experiment.seconds is None or cores() < 2 or len(alone) < 2 * cores():
        return False
    some = alone[:: max(1, len(alone) // 8)]  # a guess at each would take its time too
    return len(alone) * sum(experiment.seconds(dict(job.settings)) for job in some) / len(some) > WORTH_PROCESSES


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def described(values: Mapping[str, Any]) -> str:
    """Settings as a reader writes them: alpha=0.5, seed=1."""
    return ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())


def _even(group: Sequence[Job], size: int, workers: int) -> list[Sequence[Job]]:
    """``group`` in parts of at most ``size``, as equal as they go, and one per worker if there are enough."""
    parts = max(-(-len(group) // size), min(workers, len(group)))
    bounds = [i * len(group) // parts for i in range(parts + 1)]
    return [group[a:b] for a, b in pairwise(bounds)]
