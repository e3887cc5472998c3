"""In which dtype an instrument looks at a loss: in the loss's own, but no coarser than float32 unless asked to.

Half and bfloat16 hold three digits. A difference of two losses in them is mostly rounding: a plane of a bfloat16 net
shows a handful of values, the gap at a radius comes out as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import reduce

import torch
from torch import nn

from ..models.coarse import plain, tell_once
from ..utils.memory import out_of_memory
from .loss import Loss, as_loss


def looked_at(loss: Loss, dtype: torch.dtype | None = None, *, uniform: bool = False) -> Loss:
    """``loss`` in ``dtype``, on copies of module and data; itself where it is in that already.

    Args:
        loss: what an instrument was given.
        dtype: None for the loss's own, at least float32; else as asked, half precision too.
        uniform: whether all parameters must have one dtype, the widest of them; else those of float32 and more stay.

    Raises:
        TypeError: ``loss`` is not a Loss, ``dtype`` no dtype.
        ValueError: ``dtype`` not floating, or of 8 bits.

    Warns:
        UserWarning: once for each loss, where half precision is looked at in float32.
    """
    own = dtypes_of(as_loss(loss))
    if dtype is not None:
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"dtype must be a torch.dtype such as torch.float64, got {type(dtype).__name__} {dtype!r}.")
        if not dtype.is_floating_point or dtype.itemsize < 2:
            raise ValueError(f"dtype must be a floating dtype of 16 bits or more such as torch.float64, got {dtype}.")
    coarse = {d for d in own if torch.finfo(d).bits < 32}
    if dtype is None:
        if not coarse and not (uniform and len(own) > 1):
            return loss
        dtype = widest(own)
        if coarse:
            tell_once(loss, loss.name, coarse, dtype)
    if own == {dtype}:
        return loss
    with _another(loss, dtype):
        return loss.to(dtype)


def value_in(loss: Loss, given: Loss) -> float:
    """L(θ) of ``loss``, which :func:`looked_at` made of ``given``.

    Raises:
        ValueError: it runs in the dtype of ``given`` only; or as :meth:`Loss.value`.
    """
    if loss is given:
        return loss.value()
    with _another(given, loss.dtype):
        return loss.value()


@contextmanager
def _another(given: Loss, dtype: torch.dtype) -> Iterator[None]:
    """What goes wrong because ``given`` runs in its own dtype only, said as that."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        if out_of_memory(error) or not any(word in str(error).lower() for word in ("dtype", "scalar type")):
            raise
        own = dtypes_of(given)
        as_it_is = f"; dtype={next(iter(own))} looks at it as it is" if len(own) == 1 else ""
        raise ValueError(
            f"{given.name} cannot be evaluated in {plain(dtype)}: {error}. Its function holds data of another "
            "dtype, or casts to one by name: build the loss in that dtype, or let casts follow the parameters "
            f"(x.to(weight.dtype)){as_it_is}."
        ) from error


def dtypes_of(loss: Loss) -> set[torch.dtype]:
    """Floating dtypes of θ and, for the loss of a module, of all that the module holds."""
    held: list[torch.Tensor] = list(loss.params.values())
    module = getattr(loss, "module", None)
    if isinstance(module, nn.Module):
        held += [*module.parameters(), *module.buffers()]
    return {t.dtype for t in held if t.is_floating_point()}


def widest(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """The dtype that holds the numbers of all of them, at least float32."""
    return reduce(torch.promote_types, (d for d in dtypes if d.itemsize > 1), torch.float32)
