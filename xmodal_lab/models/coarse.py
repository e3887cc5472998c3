"""Half precision at the door of what trains or scores a model: it goes on in float32, and says so once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from weakref import WeakSet

import torch
from torch import nn

from ..data.samples import Samples
from .copies import copy_in

_TOLD: WeakSet[object] = WeakSet()


def single(model: nn.Module) -> nn.Module:
    """``model``; of one that holds numbers in half precision a copy in float32.

    Warns:
        UserWarning: once for each model, where it is a copy.
    """
    held = [t.dtype for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    coarse = {d for d in held if d.itemsize < 4}
    if not coarse:
        return model
    tell_once(model, type(model).__name__, coarse, torch.float32)
    return copy_in(model, torch.float32)


def single_samples(samples: Samples) -> Samples:
    """``samples``; of those with inputs in half precision a copy in float32, as a dataset has them."""
    coarse = any(x.is_floating_point() and x.dtype.itemsize < 4 for x in samples.inputs.values())
    return samples.to(dtype=torch.float32) if coarse else samples


def tell_once(what: object, name: str, coarse: Iterable[torch.dtype], dtype: torch.dtype) -> None:
    """Warn that ``what`` is looked at in ``dtype``, the first time."""
    if what in _TOLD:
        return
    _TOLD.add(what)
    listed = " and ".join(sorted(map(plain, coarse)))
    warnings.warn(
        f"{name} is in {listed}, which holds too few digits for differences; it is looked at in {plain(dtype)}.",
        UserWarning,
        stacklevel=4,
    )


def plain(dtype: torch.dtype) -> str:
    """The dtype without ``torch.``."""
    return str(dtype).removeprefix("torch.")
