"""How things are timed here: side by side, alternating, medians; ratios, since machines are shared."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def alternate(
    functions: Mapping[str, Callable[[], Any]],
    repeats: int = 5,
    warm_up: bool = True,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Median milliseconds of each function, called in turn, after one warm-up each where a call is short.

    In processor time of this process, which other programs disturb less; ``clock`` may be ``time.perf_counter`` where
    more than one thread computes.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values() if warm_up else ():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            started = clock()
            function()
            times[name].append(1e3 * (clock() - started))
    return {name: statistics.median(values) for name, values in times.items()}


def row(
    path: str,
    ours_ms: float,
    peer: str,
    peer_ms: float | None,
    bar: float | None,
    error: float | None,
    repeats: int,
    peer_error: float | None = None,
    note: str | None = None,
) -> dict[str, Any]:
    """One line of the table. ``bar`` is the largest ratio ours / theirs that we accept; errors are ours and theirs."""
    return {
        "path": path,
        "ours_ms": ours_ms,
        "peer": peer,
        "peer_ms": peer_ms,
        "ratio": None if peer_ms is None else ours_ms / peer_ms,
        "bar": bar,
        "error": error,
        "peer_error": peer_error,
        "note": note,
        "n_repeats": repeats,
    }


def contest(
    contestants: Mapping[str, Callable[[], Any]],
    repeats: int,
    bars: Mapping[str, float | None],
    path: str,
    error_of: Callable[[Any], float] | None = None,
) -> list[dict[str, Any]]:
    """The first contestant beside each other one, in turn, on one thread: a row for each peer of ``bars``.

    A peer that is not installed, or cannot do it, is told so in its row. ``error_of`` says how far an answer is off.
    """
    import torch

    ours, *_ = contestants
    times: dict[str, list[float]] = {name: [] for name in contestants}
    answers: dict[str, Any] = {}
    failed: dict[str, str] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for turn in range(repeats + 1):  # the first one also imports and warms up
                for name, run in contestants.items():
                    if name in failed:
                        continue
                    try:
                        began = time.process_time()
                        answers[name] = run()
                        if turn:
                            times[name].append(1e3 * (time.process_time() - began))
                    except ImportError:
                        failed[name] = "not installed"
                    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
                        if name == ours:
                            raise
                        failed[name] = f"fails: {str(error).splitlines()[0][:64]} …"
    finally:
        torch.set_num_threads(threads)
    errors = {name: None if error_of is None else error_of(answer) for name, answer in answers.items()}
    medians = {name: statistics.median(values) for name, values in times.items() if values}
    return [
        row(
            path, medians[ours], peer, medians.get(peer), bar, errors[ours], repeats, errors.get(peer), failed.get(peer)
        )
        for peer, bar in bars.items()
    ]
