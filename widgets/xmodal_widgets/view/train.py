"""Training the setting that the controls show: in a background thread, with progress, drafts and cancel.

The button trains what it was pressed for, to its end. Follow trains what the controls show when one of them is let go;
a new release supersedes what is in work. While a member trains, its :class:`Progress` takes what is known of it so
far; the browser draws that as a draft. Only a whole result joins the cube.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from .grid import Grid

Compute = Callable[[dict[str, Any], Callable[..., None], Callable[[], bool]], Mapping[str, Any]]

# A browser needs no more than this many progress messages a second (ours).
RATE = 10.0
# While it runs the browser hears of it this often, in seconds, so that it notices when the kernel has died (ours).
BEAT = 2.0
# Of a landscape that is trained here, as a share of its range: nobody sees less on a screen (ours).
TOLERANCE = 1e-2
# Points of a learning curve that are sent at most, and curves (ours).
POINTS, CURVES = 200, 2


class Cancelled(Exception):  # not an error: the reader's wish
    """Raised inside ``progress`` once the reader has cancelled, to leave a compute that does not ask."""


class Host(Protocol):
    """What a trainer needs of the view it trains for."""

    def grid(self) -> Grid:
        """The cube as it is now."""

    def fixed(self) -> Mapping[str, Any]:
        """The settings that were the same for the whole cube."""

    def drawn(self) -> tuple[str, ...]:
        """The dimensions that are settings of the experiment and have no control, since every view draws them."""

    def known(self, setting: Mapping[str, Any]) -> bool:
        """Whether the cube holds a result for this setting."""

    def join(self, setting: Mapping[str, Any], result: Any) -> None:
        """Take one computed setting into the cube."""

    def draft(self, setting: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Show what is known so far of a setting; the cube stays as it is."""

    def drop(self) -> None:
        """Forget the draft: its setting will not be finished."""

    def report(self, job: dict[str, Any]) -> None:
        """Tell the browser how far it is."""

    def show_error(self, error: BaseException, remedy: str = "") -> None:
        """Show an exception in the view's error box."""


@dataclass(eq=False)
class Job:
    """Settings to be computed one after another, because of the button or because a control was let go."""

    settings: list[dict[str, Any]]
    follows: bool = False
    ask: int = 0  # by which the browser knows its question
    stop: threading.Event = field(default_factory=threading.Event)


class Trainer:
    """Runs ``compute`` for one view, one setting at a time, one job at a time."""

    def __init__(self, host: Host, compute: Compute | None) -> None:
        self._host = host
        self._compute = compute
        self._prepares: Callable[[dict[str, Any]], None] | None = getattr(compute, "prepare", None)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._running: Job | None = None
        self._next: Job | None = None
        self._telling = threading.Lock()  # so that no beat comes after the last word
        self._told: dict[str, Any] = {}

    def start(self, state: Mapping[str, Any], ask: int = 0) -> None:
        """Start on the setting of ``state``; of a control on "mean", and of a drawn setting, each value in turn.

        Raises:
            ValueError: the view was made without ``compute=``.
            RuntimeError: it is training already.
        """
        self._possible()
        with self._lock:
            if self._running is not None and not self._running.follows:
                raise RuntimeError("this view is training already; wait, or cancel first.")
            self._enter(Job(self._settings(state), ask=ask))

    def follow(self, state: Mapping[str, Any], ask: int = 0) -> None:
        """Compute what the cube lacks at ``state``; what was in work for an earlier state is superseded.

        What the button was pressed for is finished first.

        Raises:
            ValueError: the view was made without ``compute=``.
        """
        self._possible()
        self._prepare(state)
        with self._lock:
            missing = [s for s in self._settings(state) if not self._host.known(s)]
            running = self._running
            if running is not None and running.follows and not running.stop.is_set() and running.settings == missing:
                running.ask = ask
                self._next = None
            elif missing:
                self._enter(Job(missing, follows=True, ask=ask))
                return
            else:
                self._next = None
                if running is not None and running.follows:
                    running.stop.set()
            self._report(ask, "in the cube already" if running is None else "")

    def cancel(self) -> None:
        """Ask the running compute to stop; what waits behind it is forgotten."""
        with self._lock:
            self._next = None
            if self._running is not None:
                self._running.stop.set()

    def join(self) -> None:
        """Wait until nothing is in work."""
        if self._thread is not None:
            self._thread.join()

    def _prepare(self, state: Mapping[str, Any]) -> None:
        """Once, when the reader begins to follow: what the first release would wait for, if the compute says what."""
        prepare, self._prepares = self._prepares, None
        if prepare is None:
            return
        setting = {**self._host.fixed(), **self._settings(state)[0]}

        def quietly() -> None:
            with suppress(Exception):  # whatever is wrong the first release will say
                prepare(setting)

        threading.Thread(target=quietly, daemon=True, name="xmodal-prepare").start()

    def _possible(self) -> None:
        if self._compute is None:
            raise ValueError("this view cannot train; make it with SweepView(cube, compute=your_function).")

    def _enter(self, job: Job) -> None:
        """Let ``job`` be the next; what follows the controls gives way to it."""
        self._next = job
        if self._running is not None:
            if self._running.follows:
                self._running.stop.set()
            return
        self._running = job
        self._report(job.ask, "starting", share=0.0, running=True)
        self._thread = threading.Thread(target=self._work, daemon=True, name="xmodal-train")
        self._thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                job, self._next = self._next, None
                self._running = job
            if job is None:
                return
            last = self._run(job)
            with self._lock:
                if self._next is None:  # else the browser hears of that one
                    self._running = None
                    self._report(job.ask, last)
                    return

    def _settings(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        dims = self._host.grid().dims
        settings: list[dict[str, Any]] = [{}]
        drawn = [n for n in self._host.drawn() if n not in state]
        for name in (*(n for n in state if n in dims), *drawn):
            whole = name in drawn or (state[name] == "mean" and dims[name].index("mean") is None)
            values = dims[name].values if whole else (state[name],)
            settings = [{**setting, name: value} for setting in settings for value in values]
        return settings

    def _run(self, job: Job) -> str:
        """Compute the settings of a job; returns its last word."""
        done, failed = 0, list[tuple[dict[str, Any], Exception]]()
        self._report(job.ask, "starting", share=0.0, running=True, follows=job.follows)
        over = threading.Event()
        threading.Thread(target=self._beat, args=(over,), daemon=True, name="xmodal-beat").start()
        try:
            for count, setting in enumerate(job.settings):
                if job.stop.is_set():
                    break
                try:
                    self._one(job, setting, count)
                    done += 1
                except Cancelled:
                    break
                except Exception as error:  # the others may be well
                    failed.append((setting, error))
        finally:
            over.set()
            self._host.drop()
        if failed:
            setting, first = failed[0]
            where, total = ", ".join(f"{k}={v}" for k, v in setting.items()), len(job.settings)
            others = f"at {where}; {done} of {total} are computed" if total > 1 else "while training here"
            self._host.show_error(first, f"{others}; correct what compute= runs and try again")
        stopped = f"cancelled after {done} of {len(job.settings)}"
        return stopped if job.stop.is_set() else "failed" if failed else "done"

    def _one(self, job: Job, setting: dict[str, Any], count: int) -> None:
        progress = Progress(self._host, self._report, job, setting, count)
        result = self._compute({**self._host.fixed(), **setting}, progress, job.stop.is_set)  # type: ignore[misc]
        if job.stop.is_set() and result is None:
            raise Cancelled
        self._host.join(setting, result)

    def _beat(self, over: threading.Event) -> None:
        started = time.monotonic()
        while not over.wait(BEAT):
            with self._telling:
                if not over.is_set():
                    self._host.report({**self._told, "seconds": round(time.monotonic() - started)})

    def _report(self, ask: int, message: str, **more: Any) -> None:
        with self._telling:
            whole = {"share": 1.0, "running": False, **more} if self._running is None or more else {**self._told}
            self._told = {**whole, "possible": True, "ask": ask, "message": message or whole.get("message", "")}
            self._host.report(self._told)


class Progress:
    """What a compute reports with: ``progress(share, message)``, and ``progress.tell(found)`` for what it knows so far.

    ``found`` is variable -> array, as in its result, with coordinates where only a part is known yet. Curves over one
    dimension are shown beside the progress bar as well, whatever they are called.

    Both raise :class:`Cancelled` once the reader has cancelled.
    """

    def __init__(
        self, host: Host, report: Callable[..., None], job: Job, setting: Mapping[str, Any], count: int
    ) -> None:
        self._host, self._report, self._job, self._setting, self._count = host, report, job, setting, count
        self._said = self._drawn = 0.0
        self._told: set[str] = set()
        self._waiting: dict[str, Any] = {}
        self._curves: dict[str, list[float]] = {}
        self._words: tuple[float, str] = (0.0, "")

    def __call__(self, share: float = 0.0, message: str = "") -> None:
        """Say how far the computation is."""
        self._go_on()
        self._words = (min(1.0, max(0.0, float(share))), message)
        now = time.monotonic()
        if now - self._said >= 1 / RATE or share >= 1:
            self._said = now
            self._say()

    def tell(self, found: Mapping[str, Any]) -> None:
        """Show what is known so far; a variable that is new at once, others as often as a browser needs."""
        self._go_on()
        self._waiting |= found
        new = set(found) - self._told
        now = time.monotonic()
        if not new and now - self._drawn < 1 / RATE:
            return
        self._drawn = now
        self._curves |= {name: curve for name, v in self._waiting.items() if (curve := _curve(v)) is not None}
        self._told |= set(self._waiting)
        self._host.draft(self._setting, self._waiting)
        self._waiting = {}

    def _go_on(self) -> None:
        if self._job.stop.is_set():
            raise Cancelled

    def _say(self) -> None:
        total, (share, message) = len(self._job.settings), self._words
        at = f"{self._count + 1} of {total}" if total > 1 else ""
        curves = dict(list(self._curves.items())[:CURVES])
        self._report(
            self._job.ask, ", ".join(filter(None, [at, message])) or " ", running=True, follows=self._job.follows,
            share=(self._count + share) / total, curves=curves,
        )  # fmt: skip


def translated(progress: Any, words: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Any:
    """``progress`` for a computation that calls its variables otherwise than the cube does.

    Args:
        progress: as a compute gets it.
        words: what is told -> the same as variables of the cube.
    """

    def report(share: float = 0.0, message: str = "") -> None:
        progress(share, message)

    if (tell := getattr(progress, "tell", None)) is not None:
        report.tell = lambda found: tell(words(found))  # type: ignore[attr-defined]
    return report


def _curve(value: Any) -> list[float] | None:
    """A curve that has coordinates, thinned; None for anything else."""
    if not hasattr(value, "coords") or value.ndim != 1 or value.dims[0] not in value.coords or not value.size:
        return None
    numbers = [float(v) for v in value.values]
    return numbers[:: max(1, len(numbers) // POINTS)] if all(v == v and abs(v) < 1e30 for v in numbers) else None
