"""A grid of accuracies that says itself which axis is which: by the names of its dimensions, else by its shots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# How the names of dimensions begin, in the cubes of the house and in tables as people keep them (ours).
ROLES = {
    "images": ("image", "picture", "n_image"),
    "texts": ("text", "caption", "sentence", "n_text"),
    "seeds": ("seed", "run", "repeat", "repetition", "trial", "fold"),
}


def in_order(acc: object, images: Sequence[Any], texts: Sequence[Any]) -> object:
    """A DataArray or DataFrame as an array (images, texts[, seeds]); anything else as it is.

    Raises:
        ValueError: dimensions that cannot be told apart, or whose coordinates are other shots than those given.
    """
    if hasattr(acc, "columns") and hasattr(acc, "index"):
        names = [str(axis.name) for axis in (acc.index, acc.columns)]
        axes = (acc.index, acc.columns)
        counted = [None if axis.tolist() == list(range(len(axis))) else axis for axis in axes]  # mere row numbers
        return _ordered(np.asarray(acc), names, counted, images, texts)
    dims, coords = getattr(acc, "dims", None), getattr(acc, "coords", None)
    if dims is None or coords is None:
        return acc
    held = dict(coords)  # coords.get makes up row numbers for a dimension without any
    along = [held.get(d) for d in dims]
    return _ordered(np.asarray(acc), [str(d) for d in dims], along, images, texts)


def _ordered(
    grid: np.ndarray, names: list[str], along: list[Any], images: Sequence[Any], texts: Sequence[Any]
) -> np.ndarray:
    shots = {"images": _numbers(images), "texts": _numbers(texts)}
    known = [None if axis is None else _numbers(axis) for axis in along]
    roles = [_role(name, axis, shots) for name, axis in zip(names, known, strict=True)]
    left = [role for role in ("images", "texts", "seeds")[: len(names)] if role not in roles]
    if roles.count("") == 1 and len(left) == 1:  # the one that is left over
        roles[roles.index("")] = left[0]
    if sorted(roles) != sorted(("images", "texts", "seeds")[: len(names)]):
        raise ValueError(
            f"acc has dimensions {tuple(names)}, and which of them counts images and which texts cannot be told. Call "
            'them "images" and "texts" (rename of a DataArray, rename_axis of a DataFrame), and a third one "seed"; '
            "select or average all others."
        )
    for role, axis, name in zip(roles, known, names, strict=True):
        if role in shots and axis is not None and not _same(axis, shots[role]):
            raise ValueError(
                f"acc's dimension {name!r} holds the shots {axis.tolist()}, but {role}={shots[role].tolist()}; "
                "select these in acc, or give the shots that it has."
            )
    order = [roles.index(role) for role in ("images", "texts", "seeds")[: len(names)]]
    return np.ascontiguousarray(grid.transpose(order))


def _role(name: str, axis: np.ndarray | None, shots: dict[str, np.ndarray]) -> str:
    by_name = [role for role, starts in ROLES.items() if name.casefold().startswith(starts)]
    if len(by_name) == 1:
        return by_name[0]
    by_shots = [role for role, given in shots.items() if axis is not None and _same(axis, given)]
    return by_shots[0] if len(by_shots) == 1 else ""


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b))


def _numbers(values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=float).ravel()
    except (TypeError, ValueError, RuntimeError):  # names, or nothing like shots: the caller's own checks tell
        return np.empty(0)
