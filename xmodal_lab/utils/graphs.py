"""CUDA graphs: what repeats with the same shapes is recorded once and launched as one, where that works.

Small nets on a GPU wait for the host, which launches some hundred kernels for a Hessian product or a stacked step. A
recorded graph is one launch. Everything here is a shortcut: where recording fails, or gives something else than the
function gave, the function runs as before, and that is told once. ``XMODAL_CUDA_GRAPHS=0`` switches all of it off.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .memory import out_of_memory

# Calls of one shape before it is recorded; runs on the stream of the recording before it, for libraries to settle in;
# shapes that one function has graphs of (ours).
AFTER, WARM_UP, MOST = 4, 3, 4
# Largest difference between what a graph and what the function gives, over the largest number (ours; atomic sums).
TOLERANCE = 1e-3
_FAILED: set[str] = set()  # what could not be recorded in this process, by name


def may_record(device: torch.device) -> bool:
    """Whether graphs are recorded on ``device``: a real CUDA device, unless they are switched off."""
    built = torch.version.cuda is not None or getattr(torch.version, "hip", None) is not None
    return device.type == "cuda" and built and os.environ.get("XMODAL_CUDA_GRAPHS", "1") != "0"


@dataclass(frozen=True)
class _Recorded:
    """A graph, the tensors that it reads and those that it writes, and what else must live as long as it."""

    graph: Any
    given: Sequence[Tensor]
    found: Sequence[Tensor]
    kept: Any

    def replay(self, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the function gives for ``given``, in new tensors."""
        for here, there in zip(self.given, given, strict=True):
            here.copy_(there)
        self.graph.replay()
        return tuple(x.clone() for x in self.found)


class Graphed:
    """A function of tensors that becomes a CUDA graph once it has been called a few times with the same shapes.

    Args:
        function: of tensors, to a tuple of tensors without gradient; with ``setup``, of what that gave and tensors.
            What else it reads stays where it is in memory. It draws nothing and reads no number back: both are
            looked for before anything is recorded, and such a function runs as it is.
        what: called in the message where it cannot be recorded, "a stacked step".
        setup: made once, before the first product; recorded in a graph of its own, so that what is kept for
            ``function`` (an autograd graph) stands on the stream of the recording.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], what: str, setup: Callable[[], Any] | None = None
    ) -> None:
        self.function, self.what, self.setup = function, what, setup
        self.calls: dict[Any, int] = {}
        self.recorded: dict[Any, _Recorded] = {}

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...] | None:
        """What the function gives; None where there is a ``setup`` and no graph yet: the caller has its own way."""
        if not may_record(given[0].device) or self.what in _FAILED:
            return self._plain(given)
        key = tuple((x.shape, x.dtype, x.device, x.stride()) for x in given)
        if key in self.recorded:
            return self.recorded[key].replay(given)
        self.calls[key] = self.calls.get(key, 0) + 1
        if self.calls[key] < AFTER or len(self.recorded) == MOST:
            return self._plain(given)
        try:
            self.recorded[key] = self._record(given)
        except Exception as error:
            self._give_up(error)
            return self._plain(given)
        return self.recorded[key].replay(given)

    def _plain(self, given: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        return self.function(*given) if self.setup is None else None

    def _give_up(self, error: Exception) -> None:
        _FAILED.add(self.what)
        self.recorded.clear()
        why = (
            "out of memory"
            if out_of_memory(error)
            else f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        )
        warnings.warn(
            f"{self.what} could not be recorded as a CUDA graph ({why[:200]}) and runs kernel by kernel, with the "
            "same results.", UserWarning, stacklevel=4,
        )  # fmt: skip

    def _record(self, given: Sequence[Tensor]) -> _Recorded:
        """The graph, after it gave what the function gives on ``given`` and on the same numbers in another order.

        Raises:
            RuntimeError: it did not, or could not be recorded.
        """
        device = given[0].device
        with torch.cuda.device(device):
            held = [x.clone() for x in given]
            stream = torch.cuda.Stream(device)
            stream.wait_stream(torch.cuda.current_stream(device))
            drawn = torch.cuda.get_rng_state(device)
            with torch.cuda.stream(stream), _no_waiting():
                for _ in range(WARM_UP):
                    state = () if self.setup is None else (self.setup(),)
                    expected = self.function(*state, *held)
                others = [x.flip(0) for x in held]
                expected_of_others = self.function(*state, *others)
                del state
            torch.cuda.current_stream(device).wait_stream(stream)
            if not torch.equal(drawn, torch.cuda.get_rng_state(device)):
                raise RuntimeError("it draws random numbers")
            pool, kept = torch.cuda.graph_pool_handle(), []
            asked: dict[str, Any] = {"pool": pool, "stream": stream, "capture_error_mode": "thread_local"}
            if self.setup is not None:
                first = torch.cuda.CUDAGraph()
                with torch.cuda.graph(first, **asked):
                    kept.append(self.setup())
                first.replay()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, **asked):
                    found = self.function(kept[0], *held)
                kept.append(first)
            else:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, **asked):
                    found = self.function(*held)
            made = _Recorded(graph, held, found, kept)
            for numbers, right in ((others, expected_of_others), ([x.clone() for x in given], expected)):
                if not all(_near(a, b) for a, b in zip(made.replay(numbers), right, strict=True)):
                    raise RuntimeError("it gave other numbers than kernel by kernel")
            return made


def _near(found: Tensor, right: Tensor) -> bool:
    if found.shape != right.shape or found.dtype != right.dtype:
        return False
    if not right.is_floating_point():
        return torch.equal(found, right)
    size = float(right[torch.isfinite(right)].abs().max()) if bool(torch.isfinite(right).any()) else 1.0
    return torch.allclose(found, right, rtol=0, atol=TOLERANCE * size, equal_nan=True)


@contextmanager
def _no_waiting() -> Iterator[None]:
    """Inside, whatever the host would have to wait for raises. In a recording it would leave torch's memory broken."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
