"""A module called with other tensors in the places of its own, and left as it was.

PyTorch's ``functional_call`` ties weights by name. Where one module is registered twice (an embedding that encoder
and decoder share), it fills the same place twice, and puts back what it found there the second time: its own
stand-in. The user's module would keep a plain tensor, moved, where its parameter was. Here each place counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..data.batches import tensors_in

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


@contextmanager
def keeping_nothing_of_vmap(module: nn.Module) -> Iterator[None]:
    """A call inside ``vmap`` leaves no tensors of it on the module.

    Some modules keep what they made: the weight of an old ``weight_norm``, attention maps, a list of activations. What
    ``vmap`` handed them is dead when it ends, can neither be read nor copied, and holds its memory. What was there
    before comes back.
    """
    if torch._C._functorch.peek_interpreter_stack() is None:
        yield
        return
    held_by = [held for part in module.modules() for held in (vars(part), cast("dict[str, Any]", part._buffers))]
    before = [(held, dict(held)) for held in held_by]
    try:
        yield
    finally:
        for held, was in before:
            for name in [name for name, value in held.items() if _of_vmap(value)]:
                if held[name] is was.get(name) and isinstance(held[name], list):  # something was appended
                    held[name][:] = [item for item in held[name] if not _of_vmap(item)]
                elif name in was:
                    held[name] = was[name]
                else:
                    del held[name]


def _of_vmap(value: Any) -> bool:
    return any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors_in(value))
