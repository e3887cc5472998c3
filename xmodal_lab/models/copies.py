"""Copies of a module that may be overwritten, and the module inside a wrapper."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

from ..data.batches import tensors_in
from ..utils.switched import Switched, Undo


def copy_of(module: nn.Module) -> nn.Module:
    """A deep copy; what the module keeps of its last call (attention maps, activations) comes without its graph.

    Raises:
        TypeError: it holds a lock or an open file, or forbids it.
    """
    # What every module has, and is mostly empty, is passed over: of a small net the search takes as long as the copy.
    held = [
        v for m in module.modules() for v in vars(m).values() if type(v) is not bool and not (_is_dict(v) and not v)
    ]
    kept = [t for t in tensors_in(held) if not t.is_leaf]
    try:
        with torch.inference_mode(False):  # a copy of parameters made in inference mode can be trained
            return copy.deepcopy(module, {id(t): t.detach() for t in kept})
    except (TypeError, RuntimeError) as error:
        why = str(error).partition(". ")[0]
        raise TypeError(
            f"{type(module).__name__} cannot be copied ({why}); keep what cannot be copied out of the module, or give "
            "that a __deepcopy__."
        ) from error


def _is_dict(value: object) -> bool:
    return type(value) is dict or type(value) is OrderedDict


def copy_in(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A deep copy whose floating tensors are in ``dtype``, and whose complex ones are as wide.

    ``module.to(dtype)`` would cut the imaginary part off complex buffers, such as those of rotary embeddings.
    """
    wide = torch.complex128 if dtype == torch.float64 else torch.complex64

    def cast(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_complex():
            return tensor.to(wide)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    with torch.inference_mode(False):
        return copy_of(module)._apply(cast)


def bare(module: nn.Module) -> nn.Module:
    """The module inside a wrapper whose parameters torch cannot replace for one call.

    Raises:
        ValueError: a part is scripted or traced.
    """
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):  # torch.compile
            module = inner
        else:
            break
    scripted = [name or "the module" for name, m in module.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        raise ValueError(
            f"{scripted[0]} is scripted or traced by torch.jit, and its parameters cannot be replaced; hand over the "
            "module that it was made from."
        )
    return module


@contextmanager
def uncompiled(module: nn.Module) -> Iterator[None]:
    """What ``torch.compile`` made of parts of ``module`` runs as it was written, since its parameters are replaced."""
    compiled = any(
        "_orig_mod" in m._modules or getattr(m, "_compiled_call_impl", None) is not None for m in module.modules()
    )
    if not compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


class _Plain:
    """What stands for the two ways of ``torch.utils.checkpoint`` while anyone asks for it, in any thread."""

    @staticmethod
    def apply(function: Any, _preserve: bool, *inputs: Any) -> Any:
        """In the place of the reentrant function."""
        return function(*inputs)

    @staticmethod
    def around(*_given: Any, **_named: Any) -> Iterator[None]:
        """In the place of what goes on before and after the other one's function."""
        yield


def _without(undo: Undo) -> None:
    """Put what computes once in the place of both ways."""
    ways = {"CheckpointFunction": _Plain, "_checkpoint_without_reentrant_generator": _Plain.around}
    for name, plain in ways.items():
        undo.append(partial(setattr, torch.utils.checkpoint, name, getattr(torch.utils.checkpoint, name)))
        setattr(torch.utils.checkpoint, name, plain)


_RECOMPUTING = Switched(_without)


@contextmanager
def without_recomputing() -> Iterator[None]:
    """Activation checkpointing keeps what it computes while the context lasts, as without it.

    It would run its part of the forward again in the backward, when the module has its own parameters back: gradients
    would be those of other weights than the ones looked at, or miss the weights altogether (``use_reentrant=True``).
    """
    with ExitStack() as stack:
        _RECOMPUTING.visit(stack)
        yield
