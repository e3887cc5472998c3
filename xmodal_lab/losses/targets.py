"""Targets of a loss, checked at the door against what the module gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..data.batches import parts_of, said
from ..utils import checks as check
from .cross_entropy import cross_entropy

IGNORED = -100  # torch's own mark of a target that does not count


def takes_classes(criterion: object) -> bool:
    """Whether the targets of ``criterion`` are class numbers (or shares of classes)."""
    usual = (None, cross_entropy, nn.functional.cross_entropy)
    return any(criterion is known for known in usual) or type(criterion) is nn.CrossEntropyLoss


def as_labels(target: Any) -> Any:
    """Class numbers as torch's cross-entropy wants them, int64; real-valued targets as they are.

    Raises:
        TypeError: text, or anything else that holds no numbers.
    """
    if not isinstance(target, Tensor):
        if target is None or any(isinstance(part, Tensor) for part in parts_of(target)):
            raise TypeError(
                f"labels must be one tensor of class numbers, got {type(target).__name__}; give a criterion(output, "
                "target) that takes what you have, and several batches as a list."
            )
        items = np.asarray(target, dtype=object).ravel()[:1].tolist()
        if items and isinstance(items[0], (str, bytes)):
            raise TypeError(
                f"labels must be class numbers, got text such as {items[0]!r}; number the classes: "
                "torch.tensor([classes.index(label) for label in labels])."
            )
        target = check.as_tensor("labels", target)
    return target if target.is_floating_point() or target.is_complex() else target.long()


def check_labels(outputs: Any, target: Any, everything: Sequence[Any], criterion: object) -> None:
    """Refuse labels that do not fit the module's outputs: how many, what shape, which classes.

    ``outputs`` and ``target`` may be those of a few rows; ``everything`` are the targets of all batches.

    Raises:
        ValueError, TypeError: they do not fit; says what came and what to do.
    """
    if not isinstance(outputs, Tensor):
        cross_entropy(outputs, target)  # says so
        return
    if outputs.ndim < 2 or not isinstance(target, Tensor) or not target.ndim:
        return
    if outputs.shape[1] == 1:
        raise ValueError(
            "the module has one output, of which cross-entropy is 0 whatever it says; give it one for each class, or "
            "criterion=torch.nn.functional.binary_cross_entropy_with_logits and labels.float() of the outputs' shape."
        )
    if len(outputs) != len(target):
        raise ValueError(f"the module gives {len(outputs)} rows of outputs for {len(target)} labels.")
    classes = outputs.shape[1]
    shape = ", ".join(["N", *map(str, outputs.shape[1:])])
    came = f"labels {said(everything[0])} for outputs ({shape})"
    if target.is_floating_point():
        if target.shape[1:] != outputs.shape[1:]:
            raise ValueError(
                f"cross-entropy takes class numbers, got real-valued {came}; use labels.long() for class numbers, or "
                "criterion=torch.nn.functional.mse_loss for a regression."
            )
        return
    if target.shape[1:] != outputs.shape[2:]:
        remedy = "; use labels.squeeze(1)" if target.shape[1:] == (1,) and outputs.ndim == 2 else ""
        remedy = "; use labels.argmax(1), or labels.float() for shares" if target.shape == outputs.shape else remedy
        raise ValueError(f"labels must be one class number for each row of (N, C) outputs, got {came}{remedy}.")
    ignored = criterion.ignore_index if isinstance(criterion, nn.CrossEntropyLoss) else IGNORED
    for labels in everything:
        _check_classes(labels[labels != ignored], classes)


def _check_classes(labels: Tensor, classes: int) -> None:
    if not labels.numel():
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise ValueError(
            f"labels must be class numbers from 0 to {classes - 1}, got {low}; leave rows of unknown labels out, or "
            f"mark them {IGNORED}, which cross-entropy ignores."
        )
    if high >= classes:
        remedy = "use labels - 1" if low == 1 and high == classes else "give the module more outputs"
        raise ValueError(
            f"labels run from {low} to {high}, and the module has {classes} outputs, for the classes 0 to "
            f"{classes - 1}; {remedy}."
        )


# Functions, and their modules, that compare number by number.
_EACH = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_EACH_MODULES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)


def check_alike(outputs: Any, target: Any, criterion: object) -> None:
    """Refuse targets of another shape than the outputs for a criterion that compares number by number.

    Torch would compare each number with each, (N, 1) with (N,), and give a number for it.

    Raises:
        ValueError: the shapes differ; says what to do.
    """
    known = any(criterion is getattr(nn.functional, name) for name in _EACH) or isinstance(criterion, _EACH_MODULES)
    if not (known and isinstance(outputs, Tensor) and isinstance(target, Tensor)) or outputs.shape == target.shape:
        return
    remedy = ""
    if target.ndim + 1 == outputs.ndim and outputs.shape[-1] == 1:
        remedy = "; use target.unsqueeze(-1)"
    elif outputs.ndim + 1 == target.ndim and target.shape[-1] == 1:
        remedy = "; use target.squeeze(-1)"
    raise ValueError(
        f"this criterion compares number by number, and the module gives outputs {_rows_by(outputs)} for targets "
        f"{_rows_by(target)}, which would be compared each with each{remedy}."
    )


def _rows_by(tensor: Tensor) -> str:
    return f"({', '.join(['N', *map(str, tensor.shape[1:])])}{',' if tensor.ndim == 1 else ''})"
