"""Which rows: balanced choices that grow without changing what was chosen before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def balanced(labels: npt.NDArray[Any], n: int | None, option: str, seed: Sequence[int]) -> Ints:
    """``n`` rows in random order, as many of each class as of any other, give or take one; all for None.

    The choice for a smaller ``n`` is part of that for a larger one.

    Raises:
        ValueError: a class has too few rows.
    """
    labels = np.asarray(labels)
    if n is None:
        return np.random.default_rng([*seed, 9]).permutation(len(labels))
    classes = np.unique(labels)
    sizes = [n // len(classes) + (i < n % len(classes)) for i in range(len(classes))]
    chosen = []
    for i, (c, size) in enumerate(zip(classes.tolist(), sizes, strict=True)):
        members = np.flatnonzero(labels == c)
        if size > len(members):
            most = len(classes) * min(int((labels == k).sum()) for k in classes)
            raise ValueError(
                f"{option} = {n} needs {size} rows of each class, class {c} has {len(members)}; give at most {most}, "
                "or None for all rows as they come."
            )
        chosen.append(np.random.default_rng([*seed, i]).permutation(members)[:size])
    together = np.concatenate(chosen)
    return together[np.random.default_rng([*seed, 9]).permutation(len(together))]


def shares(n: int, *parts: float) -> list[int]:
    """``n`` things shared out by ``parts`` of the whole, the rest to the first; each part at least 1 if it is above 0.

    Returns the sizes: first the rest, then one per part.
    """
    sizes = [max(1, round(n * part)) if part > 0 else 0 for part in parts]
    return [n - sum(sizes), *sizes]
