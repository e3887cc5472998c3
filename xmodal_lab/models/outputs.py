"""What a module returns, whatever its form: its logits, several batches of it as one, a criterion on other targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

LOGITS = ("logits", "logits_per_image")  # the second of CLIP and its like, with a column for each text
Criterion = Callable[[Any, Tensor], Tensor]


def logits_of(out: Any) -> Any:
    """The tensor that a module returned, its ``logits``, or the first of a tuple; all of it where it has none."""
    for name in LOGITS:
        found = out.get(name) if isinstance(out, Mapping) else getattr(out, name, None)
        if isinstance(found, Tensor):
            return found
    return logits_of(out[0]) if isinstance(out, tuple) and out else out


def leading(out: Any) -> Tensor:
    """The logits, or the first tensor of what a module returned.

    Raises:
        TypeError: there is none.
    """
    found = logits_of(out)
    while not isinstance(found, Tensor):
        parts = found.values() if isinstance(found, Mapping) else found if isinstance(found, (tuple, list)) else ()
        parts = [part for part in parts if part is not None]
        if not parts:
            raise TypeError(f"the model must return a tensor of logits (N, C), got {type(out).__name__}.")
        found = parts[0]
    return found


def joined(parts: Sequence[Any]) -> Any:
    """What a module returned for several batches, as if for all rows at once.

    Raises:
        ValueError: a part that has no rows, such as a loss of its batch.
    """
    first = parts[0]
    if len(parts) == 1 or first is None:
        return first
    if isinstance(first, Tensor) and first.ndim:
        return torch.cat(list(parts))
    if isinstance(first, Mapping):
        return cast(Any, type(first))(**{k: joined([part[k] for part in parts]) for k in first})
    if isinstance(first, (tuple, list)):
        items = [joined(column) for column in zip(*parts, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    raise ValueError(
        f"the model returns a {type(first).__name__} that has no rows, so batches of its output cannot be joined; give "
        "batch_size= of all rows."
    )


class OnRows:
    """A criterion on targets that are no labels (masks, sequences, several tensors in one), given the rows' numbers.

    Attributes:
        criterion: (outputs, targets) -> scalar.
        targets: (N, ...).
    """

    def __init__(self, criterion: Criterion, targets: Tensor) -> None:
        self.criterion, self.targets = criterion, targets

    def __call__(self, outputs: Any, rows: Tensor) -> Tensor:
        """The criterion on the targets of ``rows`` (N,)."""
        return self.criterion(outputs, self.targets[rows.to(self.targets.device)].to(leading(outputs).device))
