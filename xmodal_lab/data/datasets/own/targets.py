"""Somebody's labels and splits: words, numbers, several a row, real values → what ``Samples`` holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....utils import checks as check
from .blocks import empty, rows_told

TASKS = ("auto", "classes", "labels", "values")
SPLITS = {
    "train": "train", "training": "train", "fit": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip
_FEW = 50  # whole floats of more values than this are measurements, not classes (ours)
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Targets:
    """Labels (N,) int64, (N, C) bool or (N,), (N, D) float32; names of the classes; how they were read."""

    labels: Tensor
    classes: tuple[str, ...]
    said: str


def read_labels(
    labels: Any, classes: Sequence[Any] | None = None, task: str = "auto", separator: str | None = None
) -> Targets:
    """Labels of any sort.

    Args:
        labels: (N,) words, whole numbers, real numbers or lists of classes; (N, 1); one-hot (N, C); 0 and 1 (N, C).
        classes: their names, in order; None for those that occur, sorted (or in the order of a pandas category).
        task: "classes", "labels" (several a row), "values" (real numbers; of words their place in ``classes``), or
            "auto" to tell by the labels.
        separator: between several classes in one word, such as "|".

    Raises:
        ValueError, TypeError: labels that cannot be read, or read in two ways.
    """
    check.one_of("task", task, TASKS)
    known = None if classes is None else [_word(c) for c in check.listed("classes", classes)]
    if known is not None and len(set(known)) != len(known):
        raise ValueError(f"classes must differ from each other, got {known}.")
    if hasattr(labels, "cat") and hasattr(labels, "to_numpy"):  # a pandas category has an order
        known = [_word(c) for c in labels.cat.categories] if known is None else known
        labels = labels.astype(object)
    if hasattr(labels, "to_numpy"):
        labels = labels.to_numpy()
    cells = None
    if not isinstance(labels, Tensor) and getattr(getattr(labels, "dtype", None), "kind", "O") not in "fiub":
        cells = [c.tolist() if isinstance(c, np.ndarray) and c.ndim else c for c in check.listed("labels", labels)]
        if separator is not None:
            cells = [c.split(separator) if isinstance(c, str) else c for c in cells]
        if any(isinstance(c, (list, tuple, set, frozenset)) for c in cells) and not _is_table(cells):
            return _several([None if empty(c) else c for c in cells], known, task)
        if any(isinstance(c, str) for c in cells):
            return _words(cells, known, task)
        labels = np.array([math.nan if empty(c) else c for c in cells]) if not _is_table(cells) else np.array(cells)
    table = check.as_tensor("labels", labels).detach().cpu()
    if table.is_complex():
        raise TypeError(f"labels must be class numbers or real numbers, got {table.dtype}.")
    if table.ndim == 2 and table.shape[1] == 1:
        table = table[:, 0]
    if table.ndim == 2:
        return _columns(table, known, task)
    if table.ndim != 1 or not len(table):
        raise ValueError(f"labels must have shape (N,) or (N, C) and a row, got {tuple(table.shape)}.")
    return _numbers(table, known, task)


def _is_table(cells: list[Any]) -> bool:
    """Whether cells are rows of numbers of one length, which NumPy reads as (N, C)."""
    lengths = {len(c) if isinstance(c, (list, tuple)) else -1 for c in cells}
    numbers = all(
        isinstance(v, (int, float, np.number, np.bool_)) for c in cells if isinstance(c, (list, tuple)) for v in c
    )
    return len(lengths) == 1 and -1 not in lengths and 0 not in lengths and numbers


def _word(value: Any) -> str:
    """A class as text: 3.0, which pandas makes of 3 beside an empty cell, is 3."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _words(cells: list[Any], known: list[str] | None, task: str) -> Targets:
    words = ["" if empty(c) else _word(c).strip() for c in cells]
    names = sorted({w for w in words if w}) if known is None else known
    if not names:
        raise ValueError("labels are empty in every row.")
    at = {w: i for i, w in enumerate(names)}
    if odd := sorted({w for w in words if w and w not in at}):
        raise ValueError(f"labels {', '.join(map(repr, odd[:8]))} are none of the classes {', '.join(names[:12])}.")
    numbers = torch.tensor([at.get(w, -1) for w in words])
    unknown = f", {words.count('')} unknown (-1)" if "" in words else ""
    if task == "values":
        if known is None or "" in words:
            raise ValueError(
                "words become values by their place in classes=; give them in order, and a word to each row."
            )
        return Targets(numbers.float(), (), f"place of {len(names)} words in classes")
    said = f"{len(names)} words{'' if known is None else ' in the order given'}{unknown}"
    return Targets(numbers, tuple(names), said)


def _several(cells: list[Any], known: list[str] | None, task: str) -> Targets:
    if task not in ("auto", "labels"):
        raise ValueError(
            f"labels are lists, so a row has several classes; task must be 'labels' or 'auto', got {task!r}."
        )
    listed = [c if isinstance(c, (list, tuple, set, frozenset)) else [] if c is None else [c] for c in cells]
    rows = [{_word(v).strip() for v in c} - {""} for c in listed]
    every = set().union(*rows)
    numeric = all(w.isdigit() for w in every)
    names = sorted(every, key=(lambda w: int(w)) if numeric else None) if known is None else known
    if known is not None and numeric and every and not every <= set(known) and max(map(int, every)) < len(known):
        rows, every = (
            [{known[int(w)] for w in row} for row in rows],
            set(known),
        )  # their numbers, as ClassLabel has them
    if odd := sorted(every - set(names)):
        raise ValueError(f"labels {', '.join(map(repr, odd[:8]))} are none of the classes {', '.join(names[:12])}.")
    if len(names) < 2:
        raise ValueError(f"several classes a row need two names, got {names}; give classes=.")
    table = torch.tensor([[name in row for name in names] for row in rows])
    return Targets(
        table, tuple(names), f"several of {len(names)} classes a row ({table.sum(1).double().mean():.2g} on average)"
    )


def _columns(table: Tensor, known: list[str] | None, task: str) -> Targets:
    check.finite("labels", table)
    binary = bool(((table == 0) | (table == 1)).all())
    names = tuple(known) if known is not None else tuple(map(str, range(table.shape[1])))
    if (binary and task != "values") and len(names) != table.shape[1]:
        raise ValueError(f"labels have {table.shape[1]} columns, classes {len(names)} names.")
    if binary and task in ("auto", "classes") and bool((table.sum(1) == 1).all()):
        return Targets(table.long().argmax(1), names, f"one-hot, {table.shape[1]} columns")
    if binary and task in ("auto", "labels"):
        return Targets(table.bool(), names, f"several of {table.shape[1]} classes a row, from 0 and 1")
    if task == "auto" and table.is_floating_point() and _are_shares(table):
        raise ValueError(
            f"labels (N, {table.shape[1]}) are ≥ 0 and add up to 1, so they look like probabilities of classes: give "
            "labels.argmax(1) for one class a row, or say task='values' to fit the shares as real values."
        )
    if task == "values" or (task == "auto" and table.is_floating_point()):
        return Targets(table.float(), (), f"{table.shape[1]} real values a row")
    raise ValueError(
        f"labels of shape {tuple(table.shape)} hold {table.dtype} other than 0 and 1; give one column of classes, 0 "
        "and 1 for several classes a row, or task='values'."
    )


def _are_shares(table: Tensor) -> bool:
    """Whether each row adds up to 1, to what half precision keeps."""
    return bool((table >= 0).all()) and float((table.double().sum(1) - 1).abs().max()) <= 1e-3


def _numbers(table: Tensor, known: list[str] | None, task: str) -> Targets:
    """(N,) numbers: classes or values."""
    if table.dtype == torch.bool and task in ("auto", "classes"):
        return Targets(table.long(), tuple(known or ("False", "True")), "False and True")
    gaps = table.isnan() if table.is_floating_point() else torch.zeros(len(table), dtype=torch.bool)
    there = table[~gaps]
    if not len(there) or not bool(torch.isfinite(there.double()).all()):
        raise ValueError("labels are empty in every row, or infinite.")
    whole = bool((there == there.round()).all())
    if task == "auto" and known is None and table.is_floating_point() and whole and len(there.unique()) <= _FEW:
        low, high = int(there.min()), int(there.max())
        raise ValueError(
            f"labels are {table.dtype} but whole ({low} to {high}, {len(there.unique())} different): say "
            "task='classes' or task='values'."
        )
    if task == "values" or (task == "auto" and known is None and not whole):
        if bool(gaps.any()):
            raise ValueError(f"labels are NaN in {rows_told(gaps)}; a real value is needed there, so drop these rows.")
        return Targets(table.float(), (), "real values")
    if not whole or task == "labels":
        raise ValueError(
            f"labels must be whole class numbers for task {task!r}, got {table.dtype} such as {float(there[0]):g}."
        )
    numbers = torch.where(gaps, -1, table.nan_to_num().long() if table.is_floating_point() else table.long())
    return _classes(numbers, gaps, known)


def _classes(numbers: Tensor, gaps: Tensor, known: list[str] | None) -> Targets:
    values = numbers[~gaps].unique().tolist()
    if values == [-1, 1]:
        return Targets((numbers > 0).long(), tuple(known or ("-1", "1")), "-1 and 1 are two classes")
    unknown = numbers == -1
    values = [v for v in values if v != -1]
    said = f", {int(unknown.sum())} unknown (-1)" if bool(unknown.any()) else ""
    if not values:
        raise ValueError("labels are unknown (-1) in every row.")
    if known is None:
        straight = values == list(range(len(values)))
        places, names = {v: i for i, v in enumerate(values)}, tuple(map(str, values))
        how = f"class numbers 0 to {values[-1]}" if straight else f"numbers {values[0]} to {values[-1]}, numbered anew"
    elif set(map(str, values)) <= set(known):
        places, names, how = {v: known.index(str(v)) for v in values}, tuple(known), "names of classes"
    elif values[0] >= 0 and values[-1] < len(known):
        places, names, how = {v: v for v in values}, tuple(known), "class numbers"
    elif values[0] >= 1 and values[-1] == len(known):
        places, names, how = {v: v - 1 for v in values}, tuple(known), "class numbers from 1"
    else:
        raise ValueError(
            f"labels run from {values[0]} to {values[-1]}, but there are {len(known)} classes: {known[:12]}."
        )
    table = torch.full((len(numbers),), -1)
    for value, place in places.items():
        table[numbers == value] = place
    return Targets(table, names, how + said)


def read_split(
    split: Any, labels: Tensor, groups: Sequence[Any] | None, val_share: float | None, test_share: float, seed: int
) -> dict[str, Tensor]:
    """Split -> its rows, in order.

    Args:
        split: N words such as "train"; a mapping from such words to rows (numbers or a mask); None draws them, as many
            of each class as of any other, whole groups.
        labels: that :func:`read_labels` gave.
        groups: N values; rows of one are never split. None for none.
        val_share, test_share: of the rows, where a split is drawn. None: 0.1 where test is drawn too, else none.
        seed: of the draw.

    Raises:
        ValueError, TypeError: an unknown word, rows in two splits, no row to train on or to test.
    """
    n = len(labels)
    rows: dict[str, Tensor]
    if split is None:
        rest, test = _drawn(torch.arange(n), labels, groups, check.share("test_share", test_share), [seed, 5])
        val_share = 0.1 if val_share is None else val_share
        rows = {"train": rest, "test": test}
    elif isinstance(split, Mapping):
        rows = {_split_name(name): _row_numbers(name, given, n) for name, given in split.items()}
        counts = torch.bincount(torch.cat(list(rows.values())), minlength=n) if rows else torch.zeros(1)
        if bool((counts > 1).any()):
            raise ValueError(f"split names {rows_told(counts > 1)} in two splits, or twice.")
    else:
        cells = split.to_numpy() if hasattr(split, "to_numpy") else split
        words = [_split_name(w) for w in check.listed("split", cells)]
        if len(words) != n:
            raise ValueError(f"split must have one word a row, {n}, got {len(words)}.")
        rows = {s: torch.tensor([i for i, w in enumerate(words) if w == s]) for s in dict.fromkeys(words)}
    if "val" not in rows and val_share and "train" in rows:
        rows["train"], rows["val"] = _drawn(
            rows["train"], labels, groups, check.share("val_share", val_share), [seed, 1]
        )
    for needed in ("train", "test"):
        if not len(rows.get(needed, ())):
            raise ValueError(f"no row is left for {needed}, of {n}; the splits are {', '.join(rows) or 'none'}.")
    return {s: r for s, r in rows.items() if len(r)}


def _split_name(word: Any) -> str:
    plain = str(word).strip().lower()
    if plain not in SPLITS:
        raise ValueError(f"a split must be train, val or test, got {word!r}.")
    return SPLITS[plain]


def _row_numbers(name: Any, given: Any, n: int) -> Tensor:
    rows = torch.arange(n)[given] if isinstance(given, slice) else check.as_tensor(f"split[{name!r}]", given).cpu()
    if rows.dtype == torch.bool and rows.shape == (n,):
        return rows.nonzero().flatten()
    if rows.is_floating_point() or rows.ndim != 1 or (len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < n):
        raise ValueError(f"split[{name!r}] must be row numbers below {n}, a slice, or a mask of {n}.")
    return rows.long()


def _drawn(
    rows: Tensor, labels: Tensor, groups: Sequence[Any] | None, share: float, seed: list[int]
) -> tuple[Tensor, Tensor]:
    """``rows`` in two parts, the second with about ``share`` of each class, whole groups, both in their order."""
    classes = labels[rows].tolist() if labels.ndim == 1 and not labels.is_floating_point() else [0] * len(rows)
    together: dict[Any, list[int]] = {}
    for place, row in enumerate(rows.tolist()):
        together.setdefault(row if groups is None else ("group", groups[row]), []).append(place)
    units = list(together.values())
    order = np.random.default_rng(seed).permutation(len(units))
    wanted = {c: share * classes.count(c) for c in set(classes)}
    have = dict.fromkeys(wanted, 0)
    second = torch.zeros(len(rows), dtype=torch.bool)
    for unit in (units[i] for i in order):
        c = classes[unit[0]]
        if have[c] + 0.5 < wanted[c]:
            second[unit] = True
            for place in unit:
                have[classes[place]] += 1
    return rows[~second], rows[second]
