"""Rows drawn class by class: the one walk through the classes that splits, shots and unevenness share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def shuffled_classes(
    labels: Tensor, generator: torch.Generator, among: Tensor | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Each class in order, with its rows in a random order: the first k of them are a draw of k.

    A draw of fewer is part of a draw of more, and a class's draw is that of its place among the classes, so that what
    is asked of one class leaves the others alone.

    Args:
        labels: (N,) class numbers.
        generator: on the CPU; advanced once per class.
        among: (N,) bool, the rows that count; all when not given.

    Yields:
        Class number and its rows, on the device of ``labels``; no row where none of ``among`` is of the class.
    """
    for c in labels.unique().tolist():
        here = labels == c if among is None else among & (labels == c)
        rows = here.nonzero()[:, 0]
        yield int(c), rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
