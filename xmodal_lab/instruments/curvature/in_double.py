"""A function run in float64, whatever it holds: data in a closure, buffers, casts to float32 by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

WIDER = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}
PLAIN = frozenset({bool, int, float, str, type(None), torch.Size})
CASTS = (Tensor.float, Tensor.half, Tensor.bfloat16)
# They ask for the very tensors that they are given.
AS_GIVEN = (torch.autograd.grad, torch.autograd.backward, Tensor.backward)


class InDouble(TorchFunctionMode):
    """A context in which every function of torch gets and gives float64, so that a small step is not lost in rounding.

    What a difference of gradients measures is then the formula, not the dtype in which it is computed.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """``func(*args, **kwargs)``."""
        if func in AS_GIVEN:
            return func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        in_place = name in ("__setitem__", "__set__") or (name.endswith("_") and not name.endswith("__"))
        kept = 1 if in_place else 0  # a copy of what is written to would be written to in vain
        wide = [*args[:kept], *map(_wide, args[kept:])]
        return _wide((Tensor.double if func in CASTS else func)(*wide, **(_wide(kwargs) if kwargs else {})))


def _wide(value: Any) -> Any:
    """``value`` with its floating tensors, and names of floating dtypes, in float64."""
    if type(value) in PLAIN:  # most of what functions are given, and give
        return value
    if isinstance(value, Tensor):
        return value.to(WIDER[value.dtype]) if value.dtype in WIDER else value
    if isinstance(value, torch.dtype):
        return WIDER.get(value, value)
    if type(value) in (list, tuple):
        return type(value)(_wide(v) for v in value)
    return {k: _wide(v) for k, v in value.items()} if type(value) is dict else value
