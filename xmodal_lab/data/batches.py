"""Batches of any shape (tuples, dicts, nested): read them, count their rows, pick, join and cast them; smaller ones."""

from __future__ import annotations

import copy
import gc
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence, Sized
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ..utils import checks as check
from ..utils.memory import out_of_memory
from ..utils.torch_state import wide

T = TypeVar("T")
# What is read from a loader that does not say how long it is, before it is taken for endless (ours).
MOST_BATCHES, MOST_BYTES = 10_000, 4 << 30


def batches_of(data: Any, most: int | None = None) -> list[Any]:
    """The batches in ``data``: itself, if it is one batch, or the (first ``most``) ones of an iterable of batches.

    Raises:
        ValueError: no batch, an empty one, an iterable without an end.
        TypeError: what is neither a batch nor an iterable of batches.
    """
    is_batch = isinstance(data, Mapping) or (isinstance(data, tuple) and len(data) >= 2) or _is_listed_batch(data)
    if isinstance(data, (Tensor, str, bytes)) or (not is_batch and not isinstance(data, Iterable)):
        remedy = "; wrap it in torch.utils.data.DataLoader" if hasattr(data, "__getitem__") else ""
        raise TypeError(
            f"data must be a batch (tuple or dict) or an iterable of batches, got {type(data).__name__}{remedy}."
        )
    batches = [data] if is_batch else _read(data, most)
    if not batches:
        used_up = "; a generator can be read only once" if isinstance(data, Iterator) else ""
        raise ValueError(f"the loader gave no batch{used_up}.")
    for batch in batches:
        ok = isinstance(batch, Mapping) or (isinstance(batch, (tuple, list)) and len(batch) >= 2)
        if not ok:
            raise TypeError(f"a batch must be a dict or a tuple (*inputs, target), got {type(batch).__name__}.")
        if not isinstance(batch, Mapping) and isinstance(batch[-1], Tensor) and not batch[-1].ndim:
            raise TypeError(
                "a batch has a target of one number, without rows: this is a sample, not a batch; join samples by "
                "torch.utils.data.DataLoader(samples, batch_size=…)."
            )
        if any(tensor.is_nested for tensor in tensors_in(batch)):
            raise TypeError(
                "a batch holds a nested tensor, whose rows cannot be picked; pad it with "
                "torch.nested.to_padded_tensor, and give the module a mask."
            )
        if rows_of(batch) == 0:
            raise ValueError("a batch is empty (no rows).")
    return batches


def _is_listed_batch(data: Any) -> bool:
    """Whether a list is one batch, as ``next(iter(loader))`` gives it: one of its items is a tensor."""
    return isinstance(data, list) and len(data) >= 2 and any(isinstance(item, Tensor) for item in data)


def _read(data: Iterable[Any], most: int | None) -> list[Any]:
    """The batches of a loader, the first ``most`` of them; without that number an endless one is refused."""
    if most is not None:
        return list(islice(data, most))
    try:
        length = len(data) if isinstance(data, Sized) else 0
    except (TypeError, NotImplementedError):  # a DataLoader over an IterableDataset
        length = 0
    batches: list[Any] = []
    held = 0
    for batch in data:
        batches.append(batch)
        if len(batches) <= length:
            continue
        held += sum(t.numel() * t.element_size() for t in tensors_in(batch))
        if len(batches) > max(MOST_BATCHES, length) or held > MOST_BYTES:
            raise ValueError(
                f"the loader does not say how many batches it has, and after {len(batches)} batches "
                f"({held / 2**30:.1f} GiB) there was no end; data are read once and kept, so say how many to read "
                "with batches=…."
            )
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


def parts_of(batch: Any) -> Iterator[Any]:
    """Everything that is nested in a batch, and the batch itself."""
    yield batch
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, (tuple, list)):
        for value in batch:
            yield from parts_of(value)


def rows_of(batch: Any) -> int:
    """Rows of a batch: the leading size of the last tensor of a tuple, its target, and of most tensors of a dict."""
    sizes = [len(t) for t in tensors_in(batch) if t.ndim]
    if not sizes:
        kinds = ", ".join(type(v).__name__ for v in (batch.values() if isinstance(batch, Mapping) else batch))
        raise TypeError(f"a batch holds no tensor, it holds {kinds}; make tensors of them with torch.as_tensor.")
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
        if not _has_rows(tensor, rows) or not tensor.numel() or tensor.is_complex():
            continue
        if tensor.layout is not torch.strided:
            continue
        size = wide(tensor.detach().reshape(rows, -1).sum(1)).nan_to_num()
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
        at = which if isinstance(which, slice) else which.to(tensor.device)
        return tensor[at] if tensor.layout is torch.strided else _of_sparse(tensor, at)

    return each(batch, picked)


def _of_sparse(tensor: Tensor, which: slice | Tensor) -> Tensor:
    """Rows of a sparse tensor, in its own layout; only one that lists its entries can be asked for some."""
    rows = torch.arange(len(tensor), device=tensor.device)[which]
    return _in_layout_of(tensor, tensor.to_sparse_coo().index_select(0, rows))


def _in_layout_of(like: Tensor, tensor: Tensor) -> Tensor:
    return tensor if like.layout is tensor.layout else tensor.to_sparse(layout=like.layout)


def joined(batches: Sequence[Any]) -> Any:
    """One batch of the rows of several; what has no rows is taken from the first.

    Raises:
        ValueError: they do not fit together, as batches padded to different lengths do not.
    """
    counts, lists = [rows_of(batch) for batch in batches], [list(tensors_in(batch)) for batch in batches]
    if len({len(tensors) for tensors in lists}) != 1:
        raise ValueError("the batches hold different numbers of tensors.")
    if any(isinstance(part, PackedSequence) for part in parts_of(batches)):
        raise ValueError("packed sequences lie across each other.")
    places = zip(*lists, strict=True)

    def join(tensor: Tensor) -> Tensor:
        alike = next(places)
        if not all(_has_rows(t, n) for t, n in zip(alike, counts, strict=True)):
            return tensor
        if len({(t.shape[1:], t.dtype) for t in alike}) != 1:
            raise ValueError(f"the batches have different shapes, {', '.join(str(tuple(t.shape)) for t in alike[:3])}.")
        if tensor.layout is torch.strided:
            return torch.cat(alike)
        return _in_layout_of(tensor, torch.cat([t.to_sparse_coo() for t in alike]))

    return each(batches[0], join)


def own(batch: Any) -> Any:
    """The batch, with copies of its tensors, which whoever works in place may overwrite."""
    return each(batch, Tensor.clone)


def versions(batch: Any) -> list[int]:
    """How often each tensor of a batch was written to in place."""
    return [t._version for t in tensors_in(batch) if not t.is_inference()]


def on_device(batch: Any, device: torch.device) -> Any:
    """The batch where the model is."""
    return each(batch, lambda tensor: tensor.to(device))


def said(batch: Any) -> str:
    """What a batch holds, for a message: ``float32 (8, 5), int64 (8,)``."""
    listed = [f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in tensors_in(batch)]
    return ", ".join(listed[:4]) + (", …" if len(listed) > 4 else "") or "no tensor"


def _has_rows(tensor: Tensor, rows: int) -> bool:
    return tensor.ndim > 0 and len(tensor) == rows


def cast(batch: Any, dtype: torch.dtype) -> Any:
    """The batch with its floating tensors in another dtype."""
    return each(batch, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def ordinary(batch: Any) -> Any:
    """The batch, with copies of what was made in inference mode; see :func:`.utils.checks.ordinary`."""
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
        if len(data) != len(batch.data):
            return batch
        orders = [None if i is None else i.to(data.device) for i in (batch.sorted_indices, batch.unsorted_indices)]
        return batch._replace(data=data, sorted_indices=orders[0], unsorted_indices=orders[1])
    if isinstance(batch, (tuple, list)):
        items = [each(value, change) for value in batch]
        if hasattr(batch, "_fields"):
            return type(batch)(*items)
        return items if isinstance(batch, list) else tuple(items)
    return batch


def within_memory(
    attempt: Callable[[int, int | None], T], points: int, most: Callable[[], int], rows: int | None = None
) -> T:
    """``attempt(points, rows)``; where memory runs out with half the points at once, then with half the rows.

    Args:
        attempt: from the points at once and the rows per chunk (None: chosen by the loss) to a result.
        points: at once, to begin with.
        most: gives the largest chunk that the loss would choose; 1 where its rows cannot be cut.
        rows: per chunk, to begin with.
    """
    begun = (points, rows)
    while True:
        try:
            result = attempt(points, rows)
            break
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            gc.collect()  # what hangs in a circle goes now, on a GPU too
            if points > 1:
                points //= 2
            elif (half := (rows or most()) // 2) >= 1:
                rows = half
            else:
                raise
    if (points, rows) != begun:
        how = f"{points} points at a time" if rows == begun[1] else f"{rows} samples at a time"
        warnings.warn(f"out of memory: going on with {how}.", stacklevel=4)
    return result
