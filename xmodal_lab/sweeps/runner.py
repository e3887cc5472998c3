"""Run the tasks of a sweep on whatever computes them (:mod:`.workers`), and put up with lost workers."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..utils.locks import TaskLock
from .cubes import Answers, Arrays, Layout, Place, Reasons
from .experiment import Experiment
from .store import Store
from .tasks import Job, Task, described
from .workers import Ended, Outcome, broken, is_outcome, like, packed, terminate, window, work, work_packed

# Errors by which dask says that a worker died over a task; named, so that dask need not be installed.
LOST = ("KilledWorker", "FutureCancelledError")
# Seconds between looks at tasks that another process is computing.
POLL = 0.2
# Seconds to wait for the exit statuses of a pool that broke (ours).
PATIENCE = 5.0
# Seconds after which a wait looks whether anybody is there to end it (ours).
WAKE = 5.0
# A look through all marks of a store may take this share of the time, so that it stays linear however many there are.
SHARE = 0.02


@dataclass
class Results:
    """What has been computed: in memory, and in the store if there is one."""

    layout: Layout
    store: Store | None = None
    arrays: Arrays = field(default_factory=dict)
    here: set[Place] = field(default_factory=set)
    failures: dict[Place, str] = field(default_factory=dict)
    why: dict[Place, Reasons] = field(default_factory=dict)
    seconds: float = 0.0
    next_look: float = 0.0

    def __post_init__(self) -> None:
        self.arrays = self.layout.empty()

    def done(self) -> set[Place]:
        """Places that are computed, here or by another process that fills the same store, as far as one has looked."""
        return self.here if self.store is None else self.store.finished()

    def look(self, at_once: bool = False) -> None:
        """Look what other processes have finished; unless ``at_once``, only if that has not been done for long."""
        started = time.perf_counter()
        if self.store is not None and (at_once or started >= self.next_look):
            self.store.refresh()
            took = time.perf_counter() - started
            self.next_look = started + max(POLL, took / SHARE)

    def share(self, tasks: Sequence[Task]) -> None:
        """Copy results to places that mean the same settings: a grid that grew may hold such."""
        for job in (job for task in tasks for job in task.jobs if len(job.places) > 1):
            known = [place for place in job.places if place in self.done()]
            left = tuple(place for place in job.places if place not in self.done())
            if not known or not left or self.store is None:
                continue
            why = self.store.failed().get(known[0])
            found = self.store.read(known[:1]) if why is None else {}
            if any(np.isnan(a[known[0]]).all() for a in found.values()):  # damaged, perhaps: compute it anew
                continue
            reasons = self.store.why().get(known[0])
            arrays = {name: a[known[0]] for name, a in found.items()}
            one: Arrays | str = why if why is not None else Answers(arrays, reasons)
            self.add(Task((Job(job.settings, left),)), [one], 0.0)

    def adopt(self, members: Iterable[tuple[Job, Arrays]]) -> None:
        """Take in what was computed otherwise, where it is not known yet."""
        for job, arrays in members:
            if left := tuple(place for place in job.places if place not in self.done()):
                self.add(Task((Job(job.settings, left),)), [arrays], 0.0)

    def add(self, task: Task, outcome: Outcome, seconds: float) -> None:
        """Keep the outcome of one task."""
        found = [(job.places, arrays) for job, arrays in zip(task.jobs, outcome, strict=True)]
        if self.store is not None:
            self.store.write(found, seconds)
        for places, arrays in found:
            for place in places:
                if isinstance(arrays, str):
                    self.failures[place] = arrays
                    continue
                if reasons := getattr(arrays, "why", None):
                    self.why[place] = reasons
                for name, array in arrays.items():
                    self.arrays[name][place] = array
        self.here |= set(task.places)
        self.seconds += seconds

    def gather(self) -> set[Place]:
        """Take in what others have put into the store; the members that it did not keep as they were written."""
        if self.store is None:
            return set()
        self.look(at_once=True)
        others = self.done() - self.here
        found = self.store.read(others)
        damaged = self.store.forget_damaged(found, others)
        self.failures |= self.store.failed()
        self.why |= self.store.why()
        self.seconds = self.store.seconds()
        for name, array in found.items():
            for place in others - damaged:
                self.arrays[name][place] = array[place]
        return damaged


class Runner:
    """Runs tasks until none is left.

    Args:
        experiment: as workers are told of it: a name, if it has one.
        results: where outcomes go.
        executor: computes; :class:`Here` in this process.
        retries: how often a task may be lost with its worker before the sweep gives up.
        advance: called after every task with the number of members done, here or elsewhere.
        on_error: "raise" what a member raises, or "nan": record it.
    """

    def __init__(
        self,
        experiment: str | Experiment,
        results: Results,
        executor: Executor,
        retries: int,
        advance: Callable[[int], None],
        on_error: str = "raise",
    ) -> None:
        self.experiment, self.results, self.executor = experiment, results, executor
        self.retries, self.advance, self.on_error = retries, advance, on_error
        self.packed: bytes | None = None  # the experiment, once a pool of processes has asked for it
        self.pool: dict[int, Any] = {}  # its processes
        self.running: dict[Future[tuple[Outcome, float]], tuple[Task, TaskLock | None]] = {}
        self.losses: Counter[tuple[Place, ...]] = Counter()
        self.replaced: Executor | None = None

    def run(self, tasks: Sequence[Task]) -> None:
        """Compute what is not done yet.

        Raises:
            RuntimeError: a task was lost with its worker more often than ``retries``.
            Exception: whatever a member raised, with a note that names the member.
        """
        queue, elsewhere = deque(self._in_order(tasks)), deque[Task]()
        try:
            while queue or elsewhere or self.running:
                room = window(self.executor)
                while queue and len(self.running) < room:
                    task = queue.popleft()
                    if not self._start(task):
                        elsewhere.append(task)
                if self.running:
                    done = wait(self.running, timeout=WAKE, return_when=FIRST_COMPLETED).done
                    for future in done:
                        queue.extend(self._finish(future))
                    if not done:
                        self._check_scheduler()
                elif elsewhere and not queue:
                    time.sleep(POLL)
                    queue, elsewhere = elsewhere, queue
                    self.results.look(at_once=True)
                self.advance(len(self.results.done()))
        except BaseException as error:
            self._leave()
            if self.replaced is not None:
                terminate(self.replaced)
            if isinstance(error, Exception):
                self._check_scheduler(error)
            raise
        if self.replaced is not None:
            self.replaced.shutdown()

    def _check_scheduler(self, error: Exception | None = None) -> None:
        """Give up where dask has: of what it held with a scheduler that died, some futures never end.

        Args:
            error: that a client which is closing gave, of whatever kind.

        Raises:
            RuntimeError: the client has closed, after it looked for the scheduler.
        """
        client = getattr(self.executor, "_client", None)
        if getattr(client, "status", "running") in ("closing", "closed"):
            raise RuntimeError(
                "the scheduler of this cluster is gone; finished members are kept. Start a cluster, and call sweep "
                "again with the same store=."
            ) from error

    def _in_order(self, tasks: Sequence[Task]) -> list[Task]:
        """What is not done yet; tasks in which a member raised the last time come last."""
        self.results.look(at_once=True)
        left = [task for task in tasks if task.without(self.results.done()) is not None]
        if self.results.store is None or not (late := self.results.store.was_put_off()):
            return left
        name = self.results.store.name
        return sorted(left, key=lambda task: name(task.places) in late)

    def _start(self, task: Task) -> bool:
        """Begin what is left of a task; False if another process is at it."""
        store, claim = self.results.store, None
        try:
            self.results.look()
            if (left := task.without(self.results.done())) is None:
                return True
            if store is not None:
                if (claim := store.claim(task.places)) is None:
                    return False
                store.look_at(task.places, left.places)  # its last holder may have finished it since
                left = task.without(self.results.done())
            if left is None:
                _release(claim)
                return True
            future = self._submit([job.settings for job in left.jobs])
            if not isinstance(future, Future):
                raise TypeError(
                    f"{type(self.executor).__name__}.submit must return a concurrent.futures.Future, got "
                    f"{type(future).__name__}; of dask, give client.get_executor()."
                )
            self.running[future] = (left, claim)
        except BaseException:  # Ctrl-C among them: this process would wait for its own claim for ever
            _release(claim)
            raise
        return True

    def _submit(self, settings: Sequence[Mapping[str, Any]]) -> Future[tuple[Outcome, float]]:
        """Hand one task to the executor; to processes as bytes, so that a worker that cannot read them can say why."""
        rest = self.results.layout, settings, os.getpid()
        try:
            if not isinstance(self.executor, ProcessPoolExecutor):
                return self.executor.submit(work, self.experiment, *rest, on_error=self.on_error)
            if self.packed is None:
                self.packed = packed(self.experiment, self.executor)
            future = self.executor.submit(work_packed, self.packed, *rest, on_error=self.on_error)
            self.pool = dict(getattr(self.executor, "_processes", None) or {}) or self.pool
            return future
        except BrokenExecutor as error:
            lost: Future[tuple[Outcome, float]] = Future()
            lost.set_exception(error)
            return lost

    def _finish(self, future: Future[tuple[Outcome, float]]) -> list[Task]:
        """Keep what a task gave; returns it to be run again if its worker was lost."""
        task, claim = self.running.pop(future)
        try:
            found: Any = future.result()
            if not is_outcome(found):
                raise TypeError(
                    f"{type(self.executor).__name__} gave a {type(found).__name__} for a task; an executor must call "
                    "what it is given and hand over what that returns."
                )
            self.results.add(task, *found)
        except BaseException as error:
            if not (isinstance(error, (BrokenExecutor, CancelledError)) or type(error).__name__ in LOST):
                error.add_note(f"in {self._named(task)}")
                if self.results.store is not None and isinstance(error, Exception):
                    self.results.store.put_off(task.places, repr(error))
                raise
            self._lost(task, error)
            return [task]
        finally:
            _release(claim)
        return []

    def _lost(self, task: Task, error: BaseException) -> None:
        """A worker died over a task: count it, and go on with a new pool if this one is broken."""
        ended = self._ended()
        if ended.code > 0:  # it ended by itself, and would again
            raise RuntimeError(f"{ended.told}; finished members are kept.") from error
        self.losses[task.places] += 1
        if self.losses[task.places] > self.retries:
            raise RuntimeError(
                f"the worker of {self._named(task)} died {self.retries + 1} times ({ended.told}); finished members are "
                f"kept. {ended.remedy}"
            ) from error
        if isinstance(error, BrokenExecutor) and broken(self.executor):
            fresh, self.pool = like(self.executor), {}
            if fresh is None:
                raise RuntimeError(
                    f"the {type(self.executor).__name__} broke ({error}); finished members are kept. Make a new one "
                    "and call sweep again with the same store=."
                ) from error
            warnings.warn("a worker process died; its members are computed again in a new pool.", stacklevel=2)
            if self.replaced is not None:
                terminate(self.replaced)
            self.executor = self.replaced = fresh

    def _ended(self) -> Ended:
        """How the process ended over which a pool broke."""
        deadline = time.perf_counter() + PATIENCE
        while any(p.exitcode is None for p in self.pool.values()) and time.perf_counter() < deadline:
            time.sleep(0.01)  # the pool tells that it broke before it has seen them all end
        codes = [process.exitcode for process in self.pool.values()]
        # A pool that broke ends its other processes by SIGTERM.
        return Ended(next((c for c in codes if c not in (None, 0, -signal.SIGTERM)), 0))

    def _named(self, task: Task) -> str:
        names = [described(self.results.layout.at(job.places[0])) or "the defaults" for job in task.jobs]
        return f"the member{'s' * task.stacked} with {'; '.join(names[:3])}{' …' * (len(names) > 3)}"

    def _leave(self) -> None:
        """Drop what has not begun, keep what is done, let go of all claims."""
        for future in self.running:
            future.cancel()
        for future, (task, claim) in self.running.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                found = future.result()
                if is_outcome(found):
                    self.results.add(task, *found)
            _release(claim)
        self.running.clear()


def _release(claim: TaskLock | None) -> None:
    if claim is not None:
        claim.release()
