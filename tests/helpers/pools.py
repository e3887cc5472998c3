"""Pools of processes for tests, without the seconds that each spawned process needs to import PyTorch.

After ``fork_instead_of_spawning()``, a process that is "spawned" is forked by a server that has loaded the library. It gets
what a spawned one gets: its work pickled, the caller's script imported, the environment and the streams of this moment.
XMODAL_SPAWN=1 leaves spawning as it is; programs that tests start, which make pools of their own, spawn anyway.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import reduction
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess
from typing import Any

# What nearly every such process uses.
LOADED = ["torch", "xarray", "zarr", "xmodal_lab"]


class Forked(ForkServerProcess):
    """A process of the server; what it takes along is what its maker has when it starts."""

    def __getstate__(self) -> dict[str, Any]:
        streams = [reduction.DupFd(fd) for fd in (1, 2)]  # type: ignore[attr-defined]
        return {**self.__dict__, "_along": (dict(os.environ), streams)}

    def run(self) -> None:
        environment, streams = self.__dict__.pop("_along")
        os.environ.clear()
        os.environ.update(environment)
        for place, stream in zip((1, 2), streams, strict=True):
            os.dup2(stream.detach(), place)
        super().run()


class Context(ForkServerContext):
    Process = Forked  # type: ignore[assignment]


def fork_instead_of_spawning() -> None:
    """From now on, ``multiprocessing.get_context("spawn")`` is a context that forks; import nothing that asks before."""
    real, forking = multiprocessing.get_context, Context()
    there = "forkserver" in multiprocessing.get_all_start_methods() and not os.environ.get("XMODAL_SPAWN")
    if not there or isinstance(real("spawn"), Context):
        return
    forking.set_forkserver_preload(LOADED)

    def get_context(method: str | None = None) -> BaseContext:
        return forking if method == "spawn" else real(method)

    multiprocessing.get_context = get_context  # type: ignore[assignment]
