"""CUDA graphs without CUDA: operations on the CPU are noted while a graph is recorded, and run again by its replay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class Graph:
    """Stands for ``torch.cuda.CUDAGraph``."""

    def __init__(self) -> None:
        self.noted: list[tuple[Any, Any, Any, list[Any]]] = []
        self.replays = 0

    def replay(self) -> None:
        """Run what was noted, into the tensors of that time."""
        self.replays += 1
        with torch.no_grad():
            for function, args, kwargs, found in self.noted:
                for before, now in zip(found, tree_leaves(function(*args, **kwargs)), strict=True):
                    if isinstance(before, Tensor) and before.data_ptr() != now.data_ptr():
                        before.data.copy_(now)  # as kernels do, unseen by autograd


class Noting(TorchDispatchMode):
    """Notes all operations in a graph. A recording that ``fails`` raises at its end, as CUDA's does."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Aliases: what a tensor looks like may change later, in place.
        given = tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, (args, kwargs or {}))
        found = function(*args, **(kwargs or {}))
        aliases = [x.detach() if isinstance(x, Tensor) else x for x in tree_leaves(found)]
        self.graph.noted.append((function, *given, aliases))
        return found


class Cuda:
    """What was asked of it.

    Attributes:
        graphs: those that were recorded.
        fails: whether a recording raises.
        strays: whether a replay gives other numbers.
    """

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.fails = self.strays = False
        self.mode, self.drawn = 0, torch.zeros(1)

    @contextmanager
    def record(self, graph: Graph, **_: Any) -> Iterator[None]:
        """Stands for ``torch.cuda.graph``."""
        with Noting(graph):
            yield
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        if self.strays:
            graph.noted.pop()
        self.graphs.append(graph)

    @property
    def replays(self) -> int:
        """Of all graphs."""
        return sum(graph.replays for graph in self.graphs)


class Stream:
    """Stands for ``torch.cuda.Stream``."""

    def __init__(self, *_: Any) -> None:
        pass

    def wait_stream(self, other: Any) -> None:
        """Nothing to wait for."""


def install(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    """Let graphs be recorded on the CPU."""
    from xmodal_lab.utils import graphs

    cuda = Cuda()
    monkeypatch.setattr(graphs, "may_record", lambda device: True)
    monkeypatch.setattr(graphs, "_FAILED", set())
    for name, stand_in in {
        "CUDAGraph": Graph, "graph": cuda.record, "Stream": Stream, "current_stream": Stream,
        "stream": lambda stream: nullcontext(), "device": lambda device: nullcontext(),
        "graph_pool_handle": lambda: None, "get_rng_state": lambda device: cuda.drawn.clone(),
        "get_sync_debug_mode": lambda: cuda.mode, "set_sync_debug_mode": lambda mode: setattr(cuda, "mode", mode),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return cuda
