"""A second core for one member: what of it need not wait for the rest, a process beside this one computes meanwhile.

Who looks on waits for one member, so a sweep's processes, each with a member of its own, are of no use. Here a member
is cut into :class:`Parts`: methods of its world, with arguments. The process takes one after the other; this one does
its own work first and then, from the same queue, what nobody has begun. What cannot be had from the process (it is not
up yet, functions of a notebook are unknown to it, it died) is computed here, by the same method: the numbers are the
same.
"""

from __future__ import annotations

import itertools
import pickle
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch

from ..sweeps.experiment import Report
from ..sweeps.tasks import cores
from ..sweeps.workers import Processes, terminate
from ..utils.torch_state import gradients

# Of a world with the user's own data, in bytes, at most: more is not sent to the process beside (ours).
MOST_BYTES = 256 << 20
# Seconds between two looks at whether the reader has cancelled, while there is nothing to do but wait (ours).
PATIENCE = 0.05

_WORLDS: dict[int, Any] = {}  # in the process beside: the last world that it was sent


def _computed(world: tuple[int, bytes | None] | None, method: str, args: Sequence[Any]) -> Any:
    """A part, in the process beside; without a world it says that it is up."""
    torch.set_num_threads(1)  # the other core is at work
    if world is None:
        return None
    token, packed = world
    if packed is not None:
        _WORLDS.clear()
        _WORLDS[token] = pickle.loads(packed)
    with gradients(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody reads them there
        return getattr(_WORLDS[token], method)(*args)


class Process:
    """One process, started when it is first asked and then kept: it has imported and loaded already."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._pool: Processes | None = None
        self._up = False
        self._fails = False  # at its start: it is not tried again
        self._tokens: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._new = itertools.count()
        self._knows = -1  # the token of the world that it was sent last

    def ready(self) -> bool:
        """Whether it is up; where it is not, it is started, and ready later."""
        with self._lock:
            if not self._up and self._pool is None:
                self._submit(None, "", ())
            return self._up

    def ask(self, world: Any, method: str, args: Sequence[Any]) -> Future[Any] | None:
        """``world.method(*args)`` of there; None where it cannot be had from there."""
        with self._lock:
            token = self._tokens.setdefault(world, next(self._new))
            try:
                packed = None if self._knows == token else pickle.dumps(world)
                pickle.dumps(args)
            except Exception:  # whatever an object's own __reduce__ may raise
                return None
            if packed is not None and len(packed) > MOST_BYTES:
                return None
            future = self._submit((token, packed), method, args)
            self._knows = token
            return future

    def _submit(self, world: tuple[int, bytes | None] | None, method: str, args: Sequence[Any]) -> Future[Any] | None:
        if self._fails or cores() < 2:
            return None
        try:
            self._pool = self._pool or Processes(1, known=True)
            future = self._pool.submit(_computed, world, method, args)
        except (OSError, RuntimeError, NotImplementedError):  # it died, or this platform has no processes
            self._forget()
            return None
        future.add_done_callback(self._ended)
        return future

    def close(self) -> None:
        """End it; whoever asks next starts another."""
        with self._lock:
            if self._pool is not None:
                terminate(self._pool)
            self._pool, self._knows, self._up, self._fails = None, -1, False, False

    def _ended(self, future: Future[Any]) -> None:
        if future.cancelled():
            return
        with self._lock:
            if future.exception() is None:
                self._up = True
            elif isinstance(future.exception(), RuntimeError) and getattr(self._pool, "_broken", False):
                self._forget()
            else:
                self._knows = -1  # perhaps it could not load the world

    def _forget(self) -> None:
        self._fails = not self._up
        self._pool, self._knows, self._up = None, -1, False


PROCESS = Process()


@dataclass(eq=False)
class _Part:
    """One part: what computes it, and who takes the result."""

    method: str
    args: tuple[Any, ...]
    take: Callable[[Any], None]
    meanwhile: dict[str, Any] = field(default_factory=dict)


class Parts:
    """Parts of one computation, each computed once: by the process beside, or by :meth:`rest` here.

    Args:
        world: whose methods compute them; they give back what can be pickled.
        beside: whether to ask the process at all.

    Example:
        >>> from xmodal_lab.experiments.beside import Parts
        >>> found = []
        >>> with Parts("a,b", beside=False) as parts:
        ...     parts.add("split", ",", take=found.append)
        ...     parts.rest()
        >>> found
        [['a', 'b']]
    """

    def __init__(self, world: Any, beside: bool) -> None:
        self._world, self._beside = world, beside
        self._waiting: deque[_Part] = deque()
        self._there: _Part | None = None
        self._came: SimpleQueue[tuple[_Part, Future[Any]]] = SimpleQueue()
        self._lock = RLock()

    def __enter__(self) -> Parts:
        self._threads = torch.get_num_threads()
        if self._beside and cores() > 1:
            torch.set_num_threads(max(1, self._threads - 1))
        return self

    def __exit__(self, *_: object) -> None:
        """Forget what nobody has begun; what the process is at comes to nobody."""
        torch.set_num_threads(self._threads)
        with self._lock:
            self._waiting.clear()

    def add(self, method: str, *args: Any, take: Callable[[Any], None], first: bool = False, **meanwhile: Any) -> None:
        """Add one part.

        Args:
            method: of the world, by name.
            args: for it.
            take: hears the result, in this thread, from within :meth:`come` or :meth:`rest`.
            first: whether it is begun before those that wait already.
            meanwhile: further arguments, where it is computed here: whom to tell what is known on the way.
        """
        part = _Part(method, args, take, meanwhile)
        with self._lock:
            (self._waiting.appendleft if first else self._waiting.append)(part)
            self._hand_over()

    def come(self) -> None:
        """Take what has come from beside, and let it go on."""
        with self._lock:
            self._hand_over()
        with suppress(Empty):
            while True:
                self._take(*self._came.get_nowait())

    def rest(self, waits: Callable[[], None] = lambda: None) -> None:
        """Compute here what nobody has begun, until every part is there; ``waits`` is called while there is none left.

        Raises:
            Exception: what the method raises, or ``waits``.
        """
        while True:
            self.come()
            with self._lock:
                part = self._waiting.popleft() if self._waiting else None
                done = part is None and self._there is None and self._came.empty()
            if done:
                return
            if part is not None:
                self._here(part)
                continue
            waits()
            with suppress(Empty):
                self._take(*self._came.get(timeout=PATIENCE))

    def _hand_over(self) -> None:
        """Give the process its next part, one at a time: this one may be free first."""
        if not self._beside or self._there is not None or not self._waiting or not PROCESS.ready():
            return
        part = self._waiting[0]
        future = PROCESS.ask(self._world, part.method, part.args)
        if future is None:
            self._beside = False
            return
        self._there = self._waiting.popleft()
        future.add_done_callback(lambda done: self._back(part, done))

    def _back(self, part: _Part, future: Future[Any]) -> None:
        with self._lock:
            self._came.put((part, future))
            self._there = None
            self._beside = self._beside and future.exception() is None
            self._hand_over()

    def _here(self, part: _Part) -> None:
        part.take(getattr(self._world, part.method)(*part.args, **part.meanwhile))

    def _take(self, part: _Part, future: Future[Any]) -> None:
        if future.exception() is None:
            part.take(future.result())
        else:  # whatever went wrong there: here it goes well, or says what is wrong
            self._here(part)


class Shares:
    """How far a member is whose stages go on side by side: the sum of what each has done, by what it weighs.

    Args:
        report: as the member got it.
        weights: stage -> its share of the member's time.

    Example:
        >>> from xmodal_lab.experiments.beside import Shares
        >>> shares = Shares(lambda share, message: print(share, message), {"training": 0.25, "looks": 0.75})
        >>> shares.of("looks")(1.0, "looked")
        0.75 looked
        >>> shares.of("training")(0.5, "epoch 3")
        0.875 epoch 3
    """

    def __init__(self, report: Report, weights: Mapping[str, float]) -> None:
        self._report, self._weights = report, weights
        self._done = dict.fromkeys(weights, 0.0)
        self._said = ""

    def of(self, stage: str) -> Report:
        """The report of one stage."""

        def report(share: float = 0.0, message: str = "") -> None:
            self._done[stage], self._said = max(self._done[stage], share), message
            self.again()

        if (listener := getattr(self._report, "tell", None)) is not None:
            report.tell = listener  # type: ignore[attr-defined]
        return report

    def again(self) -> None:
        """Say it once more: the report may raise to leave the member."""
        self._report(sum(share * self._weights[stage] for stage, share in self._done.items()), self._said)
