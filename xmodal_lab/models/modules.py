"""A module called with other tensors in the places of its own, and left as it was.

PyTorch's ``functional_call`` ties weights by name. Where one module is registered twice (an embedding that encoder
and decoder share), it fills the same place twice, and puts back what it found there the second time: its own
stand-in. The user's module would keep a plain tensor, moved, where its parameter was. Here each place counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Places = dict[str, list[str]]
Params = dict[str, Tensor]
Direction = Mapping[str, Tensor]


def places_of(module: nn.Module) -> Places:
    """The name of each parameter and buffer -> the names of all places that hold it, each place once."""
    by_tensor: dict[int, list[str]] = {}
    for prefix, part in module.named_modules():  # a module that is registered twice comes once
        for name, held in (*part._parameters.items(), *part._buffers.items()):
            if held is not None:
                by_tensor.setdefault(id(held), []).append(f"{prefix}.{name}" if prefix else name)
    return {names[0]: names for names in by_tensor.values()}


def call_with(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    places: Places | None = None,
) -> Any:
    """``module(*args, **kwargs)`` with ``tensors`` for the parameters and buffers that they are named after.

    ``places`` spares a look through the module, where the caller has taken one.
    """
    places = places_of(module) if places is None else places
    state = {place: tensor for name, tensor in tensors.items() for place in places.get(name, [name])}
    return torch.func.functional_call(module, state, tuple(args), dict(kwargs or {}), tie_weights=False)
