"""Batches of any shape (tuples, dicts, nested): count their rows, pick some, cast them; whether one was too large."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from . import _checks as check


def batches_of(data: Any) -> list[Any]:
    """The batches in ``data``: itself, if it is one batch, or what an iterable of batches gives."""
    is_batch = isinstance(data, Mapping) or (isinstance(data, tuple) and len(data) >= 2)
    if not is_batch and not isinstance(data, Iterable):
        raise TypeError(f"data must be a batch (tuple or dict) or an iterable of batches, got {type(data).__name__}.")
    batches = [data] if is_batch else list(data)
    if not batches:
        raise ValueError("the loader gave no batch.")
    for batch in batches:
        ok = isinstance(batch, Mapping) or (isinstance(batch, (tuple, list)) and len(batch) >= 2)
        if not ok:
            raise TypeError(f"a batch must be a dict or a tuple (*inputs, target), got {type(batch).__name__}.")
        if rows_of(batch) == 0:
            raise ValueError("a batch is empty (no rows).")
    return batches


def tensors_in(batch: Any) -> Iterator[Tensor]:
    """The tensors of a batch, or of whatever is nested like one."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from tensors_in(value)
    elif isinstance(batch, (tuple, list)):
        for value in batch:
            yield from tensors_in(value)


def rows_of(batch: Any) -> int:
    """Rows of a batch: the leading size of the last tensor of a tuple, its target, and of most tensors of a dict."""
    sizes = [len(t) for t in tensors_in(batch) if t.ndim]
    if not sizes:
        raise TypeError("a batch holds no tensor.")
    if isinstance(batch, Mapping):  # one may hold positions (1, T) or class weights beside the data
        return max(reversed(sizes), key=sizes.count)
    return sizes[-1]


def telling_rows(batch: Any, rows: int, most: int) -> Tensor:
    """About ``most`` of the ``rows`` of a batch, among them those that show where rows do not count alike.

    Spread over the batch, one of each class (which may have a weight, or be ignored), and for each
    tensor the row with the least sum first and the one with the largest last (padding, masks).
    """
    first, middle, last = [], torch.linspace(0, rows - 1, min(rows, most)).long().tolist(), []
    for tensor in tensors_in(batch):
        if not _has_rows(tensor, rows) or not tensor.numel() or tensor.is_complex() or tensor.is_sparse:
            continue
        size = tensor.detach().reshape(rows, -1).sum(1).double().nan_to_num()
        first.append(int(size.argmin()))
        last.append(int(size.argmax()))
        if tensor.numel() == rows and not tensor.is_floating_point():
            middle += np.unique(size.cpu().numpy(), return_index=True)[1][:most].tolist()
    ends = [row for row in dict.fromkeys(last) if row not in first]
    inner = [row for row in dict.fromkeys(middle) if row not in first and row not in ends]
    return torch.tensor([*dict.fromkeys(first), *inner, *ends])


def pick(batch: Any, rows: int, which: slice | Tensor) -> Any:
    """The rows ``which`` of every tensor in ``batch`` that has ``rows`` rows; the rest as it is."""

    def picked(tensor: Tensor) -> Tensor:
        if not _has_rows(tensor, rows):
            return tensor
        return tensor[which if isinstance(which, slice) else which.to(tensor.device)]

    return each(batch, picked)


def _has_rows(tensor: Tensor, rows: int) -> bool:
    return tensor.ndim > 0 and len(tensor) == rows


def cast(batch: Any, dtype: torch.dtype) -> Any:
    """The batch with its floating tensors in another dtype."""
    return each(batch, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def ordinary(batch: Any) -> Any:
    """The batch, with copies of what was made in inference mode; see :func:`._checks.ordinary`."""
    return each(batch, check.ordinary) if any(t.is_inference() for t in tensors_in(batch)) else batch


def each(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The batch with ``change`` applied to its tensors, of the types it had: a model may ask for ``inputs.image``."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        parts = {key: each(value, change) for key, value in batch.items()}
        if not isinstance(batch, MutableMapping) or type(batch) is dict:
            return parts
        like = copy.copy(batch)
        for key, value in parts.items():
            like[key] = value
        return like
    if isinstance(batch, PackedSequence):  # its rows lie across each other
        data = change(batch.data)
        return batch._replace(data=data) if len(data) == len(batch.data) else batch
    if isinstance(batch, (tuple, list)):
        items = [each(value, change) for value in batch]
        if hasattr(batch, "_fields"):
            return type(batch)(*items)
        return items if isinstance(batch, list) else tuple(items)
    return batch


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on a GPU or a CPU, so that smaller batches may help."""
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "allocate memory" in text)
    )
