"""Labels: class numbers, several classes at once, or real numbers; and what else people have, told at the door."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils import checks as check

TASKS = ("classes", "labels", "values")
SORTS = {"classes": "class numbers", "labels": "several classes a row", "values": "real-valued"}


def task_of(labels: Tensor) -> str:
    """What labels ask for: "classes" (whole numbers), "labels" (bool, several at once) or "values" (real numbers)."""
    if labels.is_floating_point():
        return "values"
    return "labels" if labels.dtype == torch.bool and labels.ndim >= 2 else "classes"


def as_labels(value: Any) -> Tensor:
    """Labels as :class:`~xmodal_lab.Samples` holds them: (N,) int64, (N, C) bool, (N,) or (N, D) floating.

    Raises:
        TypeError, ValueError: words, (N, 1), one-hot rows, NaN, numbers below -1, no row; each with its remedy.
    """
    _no_words(value)
    labels = check.ordinary(check.as_tensor("labels", value))
    if labels.is_complex():
        raise TypeError(f"labels must be class numbers or real numbers, got {labels.dtype}.")
    if labels.ndim != 1:
        labels = _table(labels)
    if len(labels) == 0:
        raise ValueError("Samples are empty: labels has length 0. Check the split or the filter that made them.")
    if labels.is_floating_point():
        return check.finite("labels", labels.float() if labels.element_size() < 4 else labels)
    if task_of(labels) == "labels":
        return labels
    labels = check.ordinary(labels.long())
    if int(labels.min()) < -1:
        raise ValueError(f"labels must be -1 (unknown) or a class number, got {int(labels.min())}.")
    return labels


def _no_words(value: Any) -> None:
    """Refuse labels that are words, which ``torch.as_tensor`` would refuse without a remedy."""
    if isinstance(value, Tensor):
        return
    try:
        words = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # ragged, and what tells its own fault
        return
    if words.dtype.kind in "US" or (words.dtype.kind == "O" and any(isinstance(w, str) for w in words.ravel()[:1000])):
        shown = ", ".join(repr(str(w)) for w in dict.fromkeys(words.ravel()[:1000].tolist()) if w is not None)
        raise TypeError(
            f"labels must be class numbers, got words ({shown[:60]}…); xl.Dataset.from_arrays numbers them, or use "
            "np.unique(labels, return_inverse=True)[1]."
        )


def _table(labels: Tensor) -> Tensor:
    """Labels with two axes, if those are several classes or several numbers per row."""
    shape = tuple(labels.shape)
    if labels.ndim != 2 or shape[1] < 2:
        remedy = "; use labels[:, 0]" if labels.ndim == 2 and shape[1] == 1 else ""
        raise ValueError(f"labels must have shape (N,), or (N, C) bool for several classes a row, got {shape}{remedy}.")
    if labels.dtype == torch.bool or labels.numel() == 0:
        return labels
    if bool(((labels == 0) | (labels == 1)).all()):
        if bool((labels.sum(1) == 1).all()):
            raise ValueError(
                f"labels must have shape (N,), got one-hot rows {shape}; use labels.argmax(1), or .bool() where a row "
                "may have several classes."
            )
        raise ValueError(
            f"labels of 0 and 1 of shape {shape} mark several classes a row; say so with .bool(), or give class "
            "numbers of shape (N,)."
        )
    if not labels.is_floating_point():
        raise ValueError(
            f"labels must have shape (N,), or (N, C) bool for several classes a row, got {labels.dtype} of {shape}; "
            "use one column, or .float() for several real targets."
        )
    return labels


def check_classes(where: str, labels: Tensor, classes: tuple[str, ...]) -> None:
    """Refuse labels that do not fit the names of the classes.

    Raises:
        ValueError: real numbers beside classes, a number without a name, another number of columns than classes.
    """
    task = task_of(labels)
    if task == "values":
        raise ValueError(
            f"{where} has {labels.dtype} labels beside {len(classes)} classes, which would be a regression; use "
            ".long() for class numbers, or leave classes out."
        )
    if task == "labels":
        if labels.shape[1] != len(classes):
            raise ValueError(f"{where} marks {labels.shape[1]} classes a row, but there are {len(classes)} names.")
        return
    top = int(labels.max())
    if top >= len(classes):
        known = labels[labels >= 0]
        from_one = "; they run from 1, classes are numbered from 0: use labels - 1"
        raise ValueError(
            f"{where} has label {top}, but there are only {len(classes)} classes (0 to {len(classes) - 1})"
            f"{from_one if top == len(classes) and int(known.min()) == 1 else ''}."
        )


def check_from_zero(where: str, labels: Tensor) -> None:
    """Refuse class numbers 1 to C, each of which occurs, where no names say how many classes there are.

    Raises:
        ValueError: such labels. A net would get a class 0 that no row has.
    """
    if task_of(labels) != "classes":
        return
    known = labels[labels >= 0].unique()
    if len(known) > 1 and int(known[0]) == 1 and int(known[-1]) == len(known):
        raise ValueError(
            f"{where} has labels 1 to {len(known)}; classes are numbered from 0: use labels - 1, or name the classes."
        )
