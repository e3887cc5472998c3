"""How things are timed here: side by side, alternating, medians; ratios, since machines are shared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def alternate(
    functions: Mapping[str, Callable[[], Any]],
    repeats: int = 5,
    warm_up: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median milliseconds of each function, called in turn, after one warm-up each where a call is short.

    ``clock`` may be ``time.process_time`` where everything runs on one thread: the processor time of
    this process, which other programs disturb less.
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
    path: str, ours_ms: float, peer: str, peer_ms: float | None, bar: float, error: float | None, repeats: int
) -> dict[str, Any]:
    """One line of the table. ``bar`` is the largest ratio ours / theirs that we accept."""
    return {
        "path": path,
        "ours_ms": ours_ms,
        "peer": peer,
        "peer_ms": peer_ms,
        "ratio": None if peer_ms is None else ours_ms / peer_ms,
        "bar": bar,
        "error": error,
        "n_repeats": repeats,
    }
