"""How a machine takes a step: products in bfloat16, kernels of its own. What is learned from is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..models.latents import Seen

Function = TypeVar("Function", bound=Callable[..., Any])
BACKEND = "inductor"  # of torch.compile


@dataclass(frozen=True)
class Machine:
    """What a net's passes go through while it trains; made by :func:`machine_for`.

    Attributes:
        device: where.
        rounded: products in bfloat16.
        compiled: through ``torch.compile``.
    """

    device: str = "cpu"
    rounded: bool = False
    compiled: bool = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around a forward pass. What comes out of it goes through :func:`widened` where it is rounded."""
        if not self.rounded:
            yield
            return
        # A cache of rounded weights would outlive the step in which members are mapped over.
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, cache_enabled=False):
            yield

    def through(self, forward: Function) -> Function:
        """``forward`` as this machine runs it: compiled, rounded, with float32 at its end."""
        inner = torch.compile(forward, backend=BACKEND, dynamic=None) if self.compiled else forward

        def run(*given: Any) -> Any:
            with self.passing():
                found = inner(*given)
            return widened(found) if self.rounded else found

        return run if self.rounded or self.compiled else forward  # type: ignore[return-value]


def widened(found: Any) -> Any:
    """Tensors in bfloat16 as float32, also in dicts, tuples and what a model saw; everything else as it is."""
    if isinstance(found, Tensor):
        return found.float() if found.dtype == torch.bfloat16 else found
    if isinstance(found, Seen):
        return replace(found, latents=widened(dict(found.latents)), outputs=widened(found.outputs))
    if isinstance(found, Mapping):
        return {name: widened(value) for name, value in found.items()}
    return tuple(map(widened, found)) if type(found) is tuple else found


def machine_for(precision: str, compiled: bool, device: torch.device, dtypes: Iterable[torch.dtype]) -> Machine:
    """The machine that the options ask for.

    Args:
        precision: "full" or "bf16".
        compiled: whether steps go through ``torch.compile``.
        device: where the training will be.
        dtypes: of the net.

    Returns:
        The machine; it works there.

    Raises:
        ValueError: a device that cannot do it, a net in float64; says what to ask for instead.
    """
    rounded = precision == "bf16"
    if rounded and torch.float64 in set(dtypes):
        raise ValueError("precision='bf16' is for nets in float32, this one is in float64; use net.float().")
    if rounded and (why := _no_bfloat16(device)):
        raise ValueError(f"precision='bf16' does not work on {str(device)!r} ({why}); use precision='full'.")
    if compiled and (why := _no_compiler(device, BACKEND)):
        raise ValueError(f"compile=True does not work on {str(device)!r} ({why}); leave it out.")
    return Machine(str(device), rounded, compiled)


def _no_bfloat16(device: torch.device) -> str:
    """Why the device does not multiply in bfloat16; empty if it does."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "its cores have no bfloat16, which came with NVIDIA's Ampere"
    try:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            found = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
    except Exception as error:
        return _first_line(error)
    return "" if found.dtype == torch.bfloat16 else f"products come out in {found.dtype}"


@cache
def _no_compiler(device: torch.device, backend: str) -> str:
    """Why a function cannot be compiled for the device; empty if it can. The first time takes seconds."""
    try:
        torch.compile(lambda x: (2 * x).sum(), backend=backend)(torch.ones(3, device=device))
    except Exception as error:
        return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
