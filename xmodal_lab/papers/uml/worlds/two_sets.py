"""Two sets of embeddings as people hold them, with the labels of both: checked, split, made shorter."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....data.drawing import shuffled_classes
from ....utils import checks as check
from ....utils.factors import principal_components
from ....utils.points import cloud
from . import given as own

# The share of a class's images that chooses and measures; and numbers of an embedding from which on its map to the head
# is slow and has more weights than rows to learn from (ours).
HELD_OUT, WIDE = 0.5, 512


def given(images: Any, texts: Any, labels: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, list[str]]:
    """Both embeddings as float32 on the CPU, class numbers of both, and the classes' names."""
    x, z = (cloud(what, e).detach().cpu().float() for what, e in (("images", images), ("texts", texts)))
    if not (isinstance(labels, (tuple, list)) and len(labels) == 2 and all(map(check.is_listed, labels))):
        labels = (labels, labels)
    sides = []
    for what, given, count in (("images", labels[0], len(x)), ("texts", labels[1], len(z))):
        side = np.asarray(given.cpu() if isinstance(given, Tensor) else given)
        if side.shape != (count,):
            raise ValueError(
                f"labels of the {what} must be ({count},), one for each, got shape {side.shape}; give labels=(of the "
                "images, of the texts)."
            )
        if side.dtype.kind not in "iubUSO":
            raise TypeError(f"labels of the {what} must be whole numbers or names, got {side.dtype}.")
        sides.append(side)
    if len({side.dtype.kind in "USO" for side in sides}) > 1:
        raise TypeError("labels of images and texts must both be numbers or both be names.")
    named = sides[0].dtype.kind in "USO"
    sides = [side.astype(str) if named else side for side in sides]
    classes, numbers = np.unique(np.concatenate(sides), return_inverse=True)
    if not set(sides[0].tolist()) & set(sides[1].tolist()):
        raise ValueError("images and texts have no class in common, so texts cannot teach about images.")
    both = torch.from_numpy(np.asarray(numbers, dtype=np.int64).ravel())
    return x, z, both[: len(x)], both[len(x) :], [str(c) for c in classes]


def words(strings: Sequence[str] | None, words_per_text: float | None, count: int) -> float:
    """Mean number of words of a text."""
    if (strings is None) == (words_per_text is None):
        raise ValueError("give the texts as strings=…, whose words are counted, or words_per_text=… (1: count texts).")
    if strings is None:
        return check.positive("words_per_text", words_per_text)
    lines = [check.instance("a text in strings", s, str) for s in check.listed("strings", strings)]
    if len(lines) != count:
        raise ValueError(f"strings must be the {count} texts that were embedded, got {len(lines)}.")
    return check.positive("the mean number of words in strings", np.mean([len(line.split()) for line in lines]))


def split(labels: Tensor, names: Sequence[str], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows for shots, for choosing and for measuring: in each class a half and two quarters."""
    generator = torch.Generator().manual_seed(check.integer("split_seed", seed))
    parts: list[list[Tensor]] = [[], [], []]
    for c, rows in shuffled_classes(labels, generator):
        if len(rows) < 4:
            raise ValueError(
                f"class {names[c]!r} has {len(rows)} image(s); it needs 4: for shots, to choose by and to measure."
            )
        shots = int(len(rows) * (1 - HELD_OUT))
        quarter = (len(rows) - shots) // 2
        for part, some in zip(parts, rows.split([shots, quarter, len(rows) - shots - quarter]), strict=True):
            part.append(some)
    train, val, test = (torch.cat(part) for part in parts)
    return train, val, test


def components(e: Tensor, rows: Any, count: int, what: str) -> Tensor:
    """Principal components of the training ``rows``, of all."""
    count, most = check.integer("pca", count, at_least=1), min(e[rows].shape)
    if count > most:
        raise ValueError(f"pca must be at most {most}, as many components as the training {what} have; got {count}.")
    if not bool(e[rows].double().square().sum().isfinite()):
        raise ValueError(f"{what} are too large for pca: their squares are beyond the range of numbers; scale them.")
    return principal_components(e[rows], count)(e)


def wide(x: Tensor, z: Tensor, pca: int | None) -> None:
    """Warn where principal components are asked for."""
    wide = [f"{what} {e.shape[1]}" for what, e in (("images", x), ("texts", z)) if e.shape[1] > WIDE]
    if wide and pca is None:
        warnings.warn(
            f"embeddings of {' and '.join(wide)} numbers: a head learns from more weights than rows here, and slowly. "
            "Bring them to principal components first: pca=64, say.",
            stacklevel=3,
        )


def within(what: str, shots: Sequence[int], most: int) -> tuple[int, ...]:
    """Those of the shots that there are, if there are two of them."""
    asked = sorted({check.integer(f"a number in {what}", k, at_least=0) for k in check.listed(what, shots)})
    found = own.within(asked, most)
    if len(found) < 2:
        raise ValueError(f"{what} needs two different numbers of at most {most}, the smallest class; got {asked}.")
    return found
