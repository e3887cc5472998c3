"""Who computes the members of a task: this process, processes of one's own, or any ``concurrent.futures.Executor``."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from ..utils.memory import in_halves
from ..utils.torch_state import gradients
from . import experiment as experiments
from .cubes import Arrays, Layout
from .experiment import Experiment, Report
from .marks import RAISED

# Seconds that a scheduler has to say how many workers it has (ours).
ANSWER = 10.0
# For each job of a task: its arrays, or why it diverged.
Outcome = list[Arrays | str]


def work_packed(packed: bytes, *rest: Any, **options: Any) -> tuple[Outcome, float]:
    """:func:`work` in a worker process: whatever goes wrong comes back as an error that the other side can read."""
    try:
        experiment = pickle.loads(packed)
    except Exception as error:
        raise RuntimeError(
            f"a worker process cannot load the experiment: {type(error).__name__}: {error}. It imports "
            "anew the modules that its functions come from; they must be found from there too."
        ) from error
    try:
        return work(experiment, *rest, **options)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an exception with arguments of its own; it would break the pool
            raise RuntimeError("".join(traceback.format_exception(error)).strip()) from None
        raise


@gradients()
def work(
    experiment: str | Experiment,
    layout: Layout,
    settings: Sequence[Mapping[str, Any]],
    parent: int,
    report: Report | None = None,
    on_error: str = "raise",
) -> tuple[Outcome, float]:
    """Compute one task; runs on workers, so all it takes and gives can be pickled."""
    if os.getpid() != parent and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # workers share the cores; threads within each would only fight over them
    known, say = experiments.get(experiment), report or _silent
    started = time.perf_counter()
    found: Sequence[Any]
    if len(settings) > 1 and known.stack is not None:
        try:
            found = in_halves(partial(_stacked, known, say), settings, "members of a stack")
        except Exception:
            if on_error == "raise":
                raise
            found = [_alone(known, dict(s), say, Exception) for s in settings]  # one of them: which?
    else:
        caught = FloatingPointError if on_error == "raise" else Exception
        found = [_alone(known, dict(s), say, caught) for s in settings]
    outcome: Outcome = []
    for result in found:
        try:
            if isinstance(result, Exception):
                raise result
            outcome.append(layout.checked(result))
        except FloatingPointError as error:  # a member that diverged is a result, not a fault
            outcome.append(str(error) or type(error).__name__)
        except Exception as error:
            if on_error == "raise":
                raise
            outcome.append(f"{RAISED}{type(error).__name__}: {error}")
    return outcome, time.perf_counter() - started


def _stacked(experiment: Experiment, report: Report, settings: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
    """What the stack of these members gives; where memory left room for one alone, that member."""
    if len(settings) == 1 or experiment.stack is None:
        return [_alone(experiment, dict(s), report, FloatingPointError) for s in settings]
    found: Sequence[Any] = experiment.stack([dict(s) for s in settings], report)
    if len(found) != len(settings):
        raise ValueError(f"the stack of {experiment.name!r} gave {len(found)} results for {len(settings)} members.")
    return found


def _alone(experiment: Experiment, settings: dict[str, Any], report: Report, caught: type[Exception]) -> Any:
    try:
        return experiment.member(settings, report)
    except caught as error:
        return error


def _silent(*_: Any) -> None:
    """The report of a worker: nobody listens."""


class Here(Executor):
    """Computes where it is asked, at once; the executor of those who give none."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done already."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, report=self._report, **kwargs))
        except Exception as error:  # an interrupt goes up at once
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Ended:
    """The exit status of a worker process: negative for a signal, 0 where it is not known."""

    code: int

    @property
    def told(self) -> str:
        """In words."""
        if self.code > 0:
            return (
                f"a worker process ended by itself with status {self.code}, at its start or in a member (what it says "
                'stands above); a script that sweeps with processes needs `if __name__ == "__main__":` around the call'
            )
        if self.code == 0:
            return "out of memory? killed by the system?"
        try:
            name = signal.Signals(-self.code).name
        except ValueError:
            name = f"signal {-self.code}"
        return f"killed by {name}: " + (
            "a crash in compiled code" if self._crashed else "out of memory, or by the system"
        )

    @property
    def remedy(self) -> str:
        """What to do."""
        if self._crashed:
            return 'Run this member alone with how="sequential" under `python -X faulthandler` to see where it crashes.'
        return "Give workers more memory, fewer workers, or a smaller stack=."

    @property
    def _crashed(self) -> bool:
        return self.code < 0 and -self.code != getattr(signal, "SIGKILL", None)


def packed(experiment: str | Experiment, pool: ProcessPoolExecutor) -> bytes:
    """The experiment as bytes for the processes of ``pool``.

    Raises:
        ValueError: functions that other processes cannot find: of a notebook, lambdas, functions in functions.
    """
    forked = getattr(getattr(pool, "_mp_context", None), "get_start_method", lambda: "")() == "fork"
    main = sys.modules["__main__"]
    # Neither a module nor a script: a notebook, a prompt, or lines from a pipe ("<stdin>").
    script = getattr(main, "__file__", None)
    interactive = getattr(main, "__spec__", None) is None and not (script and Path(script).is_file())
    if isinstance(experiment, Experiment) and not forked:
        for place, function in functions_of(experiment):
            name = getattr(function, "__qualname__", "")
            if "<lambda>" in name or "<locals>" in name:
                raise ValueError(
                    f"{place} is {name.replace('.<locals>', '')!r}, a lambda or a function within a function, which "
                    "other processes cannot find: write it as a function of a module, or use threads "
                    "(executor=ThreadPoolExecutor())."
                )
            if interactive and getattr(function, "__module__", "") == "__main__":
                raise ValueError(
                    f"`{name}` lives in this notebook, where other processes cannot find it: put it in a module and "
                    "import it from there, or use threads (executor=ThreadPoolExecutor())."
                )
    try:
        return pickle.dumps(experiment)
    except Exception as error:  # whatever an object's own __reduce__ may raise
        raise ValueError(f"the experiment cannot be sent to other processes: {error}.") from error


def functions_of(experiment: Experiment) -> Iterator[tuple[str, Any]]:
    """The functions of an experiment and those that they were given as arguments, with where each stands."""
    for place, value in vars(experiment).items():
        inner = [value] if callable(value) else []
        while inner:
            function = inner.pop()
            if isinstance(function, partial):
                inner += [a for a in (function.func, *function.args, *function.keywords.values()) if callable(a)]
            else:
                yield place, function


def is_outcome(found: object) -> bool:
    """Whether an executor gave back what :func:`work` returns."""
    return isinstance(found, tuple) and len(found) == 2


def window(executor: Executor) -> int:
    """Tasks to keep with an executor: two per worker, so that none waits and others may share the store."""
    if isinstance(executor, Here):
        return 1
    return 2 * (workers(executor) or 16)


def workers(executor: Executor | None) -> int:
    """Workers of an executor; 0 where it does not say."""
    if isinstance(executor, Here) or executor is None:
        return 1
    if hasattr(executor, "_max_workers"):
        return int(executor._max_workers)
    client = getattr(executor, "_client", None)  # dask's
    if client is None:
        return 0
    try:  # a scheduler that died never answers
        return len(client.sync(client.scheduler.ncores, callback_timeout=ANSWER))
    except (TimeoutError, OSError):
        return 0


class Processes(ProcessPoolExecutor):
    """A pool of our own: spawned processes that leave Ctrl-C to the sweep.

    Args:
        count: of processes.
        known: the experiment is known by name, so workers need not import the caller's script
            again (which would sweep again, unless it has a guard).
    """

    def __init__(self, count: int, known: bool) -> None:
        super().__init__(count, get_context("spawn"), ignore_interrupt)
        self.count, self.known = count, known

    def anew(self) -> Processes:
        """The same, for one whose processes have died."""
        return Processes(self.count, self.known)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand over one call; processes are started here, as they are needed."""
        if not self.known:
            return super().submit(fn, *args, **kwargs)
        script = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            sys.modules["__main__"] = script


@contextmanager
def processes(count: int, known: bool) -> Iterator[Processes]:
    """A pool of our own. It is ended at once when the sweep is interrupted or fails."""
    pool = Processes(count, known)
    try:
        yield pool
    except BaseException:
        terminate(pool)
        raise
    pool.shutdown()


def terminate(pool: Executor) -> None:
    """End a pool's processes without waiting for what they are at."""
    alive = dict(getattr(pool, "_processes", None) or {})  # Python 3.14 has terminate_workers for this
    if _is_loky(pool):  # which ends them itself, and knows no cancel_futures
        stop: Any = pool.shutdown
        stop(wait=False, kill_workers=True)
        return
    pool.shutdown(wait=False, cancel_futures=True)
    for process in alive.values():
        process.terminate()


def ignore_interrupt() -> None:
    """In a worker: Ctrl-C in a terminal reaches workers too; the sweep itself decides what becomes of them.

    One whose parent was killed would wait for its next task for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_leave_with_parent, daemon=True, name="xmodal-parent").start()


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _is_loky(executor: Executor) -> bool:
    """Whether these are joblib's processes, which are no pool of the standard library."""
    return any(kind.__module__.startswith(("joblib.externals.loky", "loky.")) for kind in type(executor).__mro__)


def broken(executor: Executor) -> bool:
    """Whether a pool is broken; True for one that does not say."""
    flags = getattr(executor, "_flags", None)  # joblib's
    return bool(getattr(executor, "_broken", getattr(flags, "broken", True)))


def like(executor: Executor) -> Executor | None:
    """A fresh process pool like a broken one."""
    if isinstance(executor, Processes):
        return executor.anew()
    if _is_loky(executor):
        from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

        count: Any = executor
        return get_reusable_executor(max_workers=count._max_workers)  # a new one, since that one broke
    if not isinstance(executor, ProcessPoolExecutor):
        return None
    kept: Any = executor  # how it was made is in private attributes only
    return ProcessPoolExecutor(kept._max_workers, kept._mp_context, kept._initializer, kept._initargs)
