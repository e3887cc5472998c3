"""One's own data → a :class:`~xmodal_lab.Dataset`: arrays, tables, torch datasets, rows as Hugging Face gives them.

All doors end in :func:`from_arrays`, which reads columns (:mod:`.columns`), labels and splits (:mod:`.targets`), and
tells all that is odd in one message. How everything was read is written into ``provenance["read"]``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ....utils import checks as check
from ....utils.options import known, names
from ...doors import ReadingOptions
from ...samples import Dataset, Samples
from . import blocks, targets
from . import columns as col

T = TypeVar("T")
SEVERAL = ("every", "first")
_MOST_ROWS = 10_000_000  # of an iterable that does not say its length (ours)


def from_arrays(inputs: Any, labels: Any, **options: Any) -> Dataset:
    """See :meth:`xmodal_lab.Dataset.from_arrays`."""
    known("from_arrays", options, names(ReadingOptions))
    how = ReadingOptions(**options)
    check.one_of("several", how.several, SEVERAL)
    seed = check.integer("seed", how.seed, at_least=0)
    base = None if how.root is None else check.path("root", how.root).expanduser()
    files = blocks.Reading(base, how.size, how.mel, how.seconds, how.audio, how.rate, how.channels)
    given = dict(inputs) if isinstance(inputs, Mapping) else {_only_name(inputs): inputs}
    if not given:
        raise ValueError("inputs are empty; give at least one modality, name -> array or list.")
    # All that is odd is told at once: a table of a thousand rows is not mended one error at a time.
    problems: list[str] = []
    asked = dict(check.mapping("kinds", how.kinds or {}, "kinds of modality"))
    masks = dict(check.mapping("present", how.present or {}, "masks"))
    for what, told in (("kinds", asked), ("present", masks)):
        for m in told:
            _attempt(problems, lambda m=m, what=what: check.one_of(f"modality in {what}", m, given))  # type: ignore[misc]
    lengths = {m: _length(m, x, problems) for m, x in given.items()}
    read = _attempt(problems, lambda: targets.read_labels(labels, how.classes, how.task, how.separator))
    n = _rows(lengths, None if read is None else len(read.labels), problems)
    if n is None or read is None:
        raise _all(how.name, problems)
    source, spread = _every_view(given, n, how.several)
    found = {m: col.read(m, x, asked.get(m), files, problems) for m, x in spread.items()}
    groups = None if how.group is None else _attempt(problems, lambda: _groups(how.group, n))
    rows = _attempt(
        problems, lambda: targets.read_split(how.split, read.labels, groups, how.val_share, how.test_share, seed)
    )
    good = {m: c for m, c in found.items() if c is not None}
    for m, c in good.items():
        if m in masks:
            mask = _attempt(problems, lambda m=m: _mask(m, masks[m], n))  # type: ignore[misc]
            if mask is not None:
                c.present &= mask[source]
    if len(good) == len(found) and not bool((nowhere := torch.stack([c.present for c in good.values()]).any(0)).all()):
        problems.append(f"{blocks.rows_told(~nowhere)} lack every modality; leave them out.")
    if problems or rows is None:
        raise _all(how.name, problems)
    parts = {s: _samples(good, read.labels, source, r, s, len(source) > n) for s, r in rows.items()}
    said = {m: c.told for m, c in good.items()}
    facts: dict[str, Any] = {"source": "your own", "seed": seed, "read": {**said, "labels": read.said}}
    if how.rate is not None or any(c.kind == "audio" for c in good.values()):
        facts["rate"] = how.rate or col.RATE
    kinds = {m: c.kind for m, c in good.items()}
    return Dataset(how.name, parts["train"], parts["test"], read.classes, parts.get("val"), kinds, facts)


def from_frame(
    frame: Any, *, label: str | Sequence[str], inputs: Mapping[str, str | Sequence[str]] | None, split: Any,
    group: str | None, **options: Any,
) -> Dataset:  # fmt: skip
    """See :meth:`xmodal_lab.Dataset.from_frame`."""
    table = _table(frame)
    wanted = [label] if isinstance(label, str) else check.listed("label", label)
    by_column = isinstance(split, str)
    aside = [*wanted, *([split] if by_column else []), *([group] if group is not None else [])]
    named = inputs if inputs is not None else _sorted_columns(table, aside)
    problems: list[str] = []
    needed = {
        c for of in check.mapping("inputs", named, "columns").values() for c in ([of] if isinstance(of, str) else of)
    }
    for column in (*aside, *sorted(map(str, needed))):
        _attempt(problems, lambda c=column: check.one_of("column", c, table))  # type: ignore[misc]
    if problems:
        raise _all(options.get("name", "mine"), problems)
    views: dict[str, Any] = {}
    for m, of in named.items():
        views[m] = table[of] if isinstance(of, str) else np.stack([_numbers(c, table[c]) for c in of], 1)
    labels: Any = table[wanted[0]]
    if len(wanted) > 1:
        labels = np.stack([_numbers(c, table[c]) for c in wanted], 1)
        if options.get("classes") is None and bool(np.isin(labels, (0, 1)).all()):
            options = {**options, "classes": wanted}
    return from_arrays(
        views, labels, split=table[split] if by_column else split,
        group=None if group is None else list(table[group]), **options,
    )  # fmt: skip


def from_torch(dataset: Any, *, names: Sequence[str] | None, label: str | int, split: Any, **options: Any) -> Dataset:
    """See :meth:`xmodal_lab.Dataset.from_torch`."""
    parts = dict(dataset) if isinstance(dataset, Mapping) else {"": dataset}
    rows, where = [], []
    for part, source in parts.items():
        source = getattr(source, "dataset", source) if hasattr(source, "batch_size") else source  # a DataLoader's own
        items = _items(source)
        rows += [_item(item, names, label) for item in items]
        where += [part] * len(items)
    first = getattr(next(iter(parts.values())), "classes", None)
    if first is not None and "classes" not in options and all(isinstance(c, str) for c in first):
        options["classes"] = list(first)
    return _from_rows(rows, where if len(parts) > 1 or "" not in parts else split, options)


def from_hf(
    rows: Any, *, label: str, inputs: Sequence[str] | Mapping[str, str] | None, split: Any, group: str | None,
    **options: Any,
) -> Dataset:  # fmt: skip
    """See :meth:`xmodal_lab.Dataset.from_hf`."""
    parts = rows if _is_splits(rows) else {"": rows}
    tables = {part: _hf_columns(of) for part, of in parts.items()}
    known = list(next(iter(tables.values())))
    aside = [label, *([group] if group else []), *([split] if isinstance(split, str) else [])]
    for column in aside:
        check.one_of("column", column, known)
    named = inputs if isinstance(inputs, Mapping) else {c: c for c in (inputs or [k for k in known if k not in aside])}
    for column in named.values():
        check.one_of("column", column, known)
    whole = {c: [v for table in tables.values() for v in table.get(c, [])] for c in known}
    features = getattr(next(iter(parts.values())), "features", None)
    words = _class_names(features[label]) if isinstance(features, Mapping) and label in features else None
    if words and "classes" not in options:
        options["classes"] = list(words)
    if len(parts) > 1 or "" not in parts:
        split = [part for part, table in tables.items() for _ in range(len(table[label]))]
    elif isinstance(split, str):
        split = whole[split]
    return from_arrays(
        {m: whole[c] for m, c in named.items()}, whole[label], split=split, group=whole[group] if group else None,
        **options,
    )  # fmt: skip


# -- private -----------------------------------------------------------------------------------------


def _attempt(problems: list[str], make: Callable[[], T]) -> T | None:
    """What ``make`` returns; None where it fails, and why is noted."""
    try:
        return make()
    except (ValueError, TypeError) as error:
        problems.append(str(error))
        return None


def _all(name: str, problems: Sequence[str]) -> ValueError:
    """One error that tells all problems."""
    if len(problems) == 1:
        return ValueError(f"{name}: {problems[0]}")
    return ValueError(
        "\n".join([f"{name}: {len(problems)} things are not as expected:", *(f"  {p}" for p in problems)])
    )


def _only_name(values: Any) -> str:
    """A name for the only modality."""
    shape = getattr(values, "shape", None)
    if shape is None:
        return "text" if len(values) and isinstance(values[0], str) else "x"
    return "image" if len(shape) == 4 else "x"


def _length(name: str, values: Any, problems: list[str]) -> int | None:
    if hasattr(values, "shape") and getattr(values, "ndim", 0) == 0:
        problems.append(f"inputs[{name!r}] must have one entry a row, got a single number.")
        return None
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        problems.append(
            f"inputs[{name!r}] must be an array or a list with one entry a row, got {type(values).__name__}."
        )
        return None
    return len(values)


def _rows(lengths: Mapping[str, int | None], labels: int | None, problems: list[str]) -> int | None:
    """The number of rows that all agree on."""
    counts = {f"inputs[{m!r}]": n for m, n in lengths.items() if n is not None}
    if labels is not None:
        counts["labels"] = labels
    if len(set(counts.values())) > 1:
        problems.append(f"all must have as many rows, got {', '.join(f'{what} {n}' for what, n in counts.items())}.")
        return None
    return next(iter(counts.values()), None)


def _groups(group: Any, n: int) -> list[Any]:
    values = list(group.to_numpy() if hasattr(group, "to_numpy") else check.listed("group", group))
    if len(values) != n:
        raise ValueError(f"group must have one value a row, {n}, got {len(values)}.")
    return [str(v) for v in values]


def _mask(name: str, given: Any, n: int) -> Tensor:
    mask = check.as_tensor(f"present[{name!r}]", given).cpu()
    if mask.dtype != torch.bool or mask.shape != (n,):
        raise ValueError(f"present[{name!r}] must be bool of shape ({n},), got {mask.dtype} {tuple(mask.shape)}.")
    return mask


def _views_of(cell: Any) -> list[Any] | None:
    """The views in a cell that holds several: strings, pictures, dicts or arrays in a list; None for one view."""
    if not isinstance(cell, (list, tuple)) or not cell:
        return None
    if all(isinstance(v, (str, os.PathLike, Mapping)) or hasattr(v, "convert") or getattr(v, "ndim", 0) for v in cell):
        return [v for v in cell if not blocks.empty(v)] or [None]
    return None


def _every_view(inputs: Mapping[str, Any], n: int, several: str) -> tuple[Tensor, dict[str, Any]]:
    """Row numbers, one for each view of a row, and the columns spread over them.

    A row of five captions becomes five rows; a modality with fewer views repeats them in turn.
    """
    lists: dict[str, list[list[Any]]] = {}
    inputs = {m: _plain(values) for m, values in inputs.items()}
    for m, values in inputs.items():
        if isinstance(values, Tensor) or (isinstance(values, np.ndarray) and values.dtype != object):
            continue
        cells = list(values)
        if any(_views_of(c) is not None for c in cells):
            lists[m] = [_views_of(c) or [c if not isinstance(c, (list, tuple)) or len(c) else None] for c in cells]
    if not lists:
        return torch.arange(n), dict(inputs)
    counts = [max(len(of[i]) for of in lists.values()) if several == "every" else 1 for i in range(n)]
    source = torch.repeat_interleave(torch.arange(n), torch.tensor(counts))
    turn = [k for count in counts for k in range(count)]
    spread: dict[str, Any] = {}
    for m, values in inputs.items():
        if m in lists:
            spread[m] = [lists[m][i][k % len(lists[m][i])] for i, k in zip(source.tolist(), turn, strict=True)]
        elif isinstance(values, Tensor):
            spread[m] = values[source]
        elif isinstance(values, np.ndarray):
            spread[m] = values[source.numpy()]
        else:
            cells = list(values)
            spread[m] = [cells[i] for i in source.tolist()]
    return source, spread


def _plain(values: Any) -> Any:
    """A column whose cells are no arrays of texts; as it is where none was."""
    if isinstance(values, Tensor) or (isinstance(values, np.ndarray) and values.dtype != object):
        return values
    cells = [blocks.plain_cell(cell) for cell in values]
    return cells if any(new is not old for new, old in zip(cells, values, strict=True)) else values


def _samples(
    found: Mapping[str, blocks.Column], labels: Tensor, source: Tensor, rows: Tensor, split: str, spread: bool
) -> Samples:
    """The rows of one split; views of the columns where the rows stand together, so that a mapped file stays one."""
    chosen = torch.isin(source, rows).nonzero().flatten() if spread else rows
    first, last = int(chosen[0]), int(chosen[-1])
    together = last - first + 1 == len(chosen) and bool((chosen.diff() == 1).all())
    if not together and (mapped := [m for m, c in found.items() if c.mapped]):
        raise ValueError(
            f"{', '.join(map(repr, mapped))} would be read into memory: the rows of {split} lie apart in the mapped "
            "file. Give split= in blocks, such as {'train': slice(0, 800), 'test': slice(800, 1000)}, of rows that lie "
            "in random order; or load the array without mmap_mode."
        )
    take: Any = slice(first, last + 1) if together else chosen
    lines = {m: tuple(c.strings[i] for i in chosen.tolist()) for m, c in found.items() if c.strings is not None}
    return Samples(
        {m: c.view[take] for m, c in found.items()}, labels[source[chosen]],
        {m: c.present[take] for m, c in found.items()},
        latents={"row": source[chosen]} if spread else None, strings=lines, kinds={m: c.kind for m, c in found.items()},
    )  # fmt: skip


def _table(frame: Any) -> Any:
    """Something whose columns go by name: a frame of pandas, or what can become one."""
    for convert in ("to_pandas",):  # polars, pyarrow
        if hasattr(frame, convert):
            return getattr(frame, convert)()
    if isinstance(frame, Mapping):
        import pandas as pd

        return pd.DataFrame({str(k): list(v) for k, v in frame.items()})
    if not hasattr(frame, "columns") or not hasattr(frame, "__getitem__"):
        raise TypeError(
            f"frame must be a table with named columns (pandas, polars, pyarrow), got {type(frame).__name__}."
        )
    return frame


def _sorted_columns(table: Any, aside: Sequence[str]) -> dict[str, Any]:
    """Columns by modality: numbers together are "features", any other column is one of its own name."""
    rest = [c for c in table.columns if c not in aside]
    numeric = [c for c in rest if getattr(table[c].dtype, "kind", "O") in "fiub"]
    if not rest:
        raise ValueError(
            f"the table has no column beside {', '.join(map(repr, aside))}; inputs= names those of a modality."
        )
    return {**({"features": numeric} if numeric else {}), **{str(c): c for c in rest if c not in numeric}}


def _numbers(column: Any, values: Any) -> Any:
    array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"column {column!r} must hold numbers to stand in a table of them, got {array.dtype}.")
    return array.astype(np.float64)


def _items(source: Any) -> list[Any]:
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return [source[i] for i in range(len(source))]
    found = list(islice(iter(source), _MOST_ROWS + 1))
    if len(found) > _MOST_ROWS:
        raise ValueError(f"the dataset gave more than {_MOST_ROWS:,} rows and no length; it may have no end.")
    return found


def _item(item: Any, names: Sequence[str] | None, label: str | int) -> tuple[dict[str, Any], Any]:
    """(inputs by modality, label) of an item: (x, y), (x1, x2, y), ({…}, y) or a dict with the label in it."""
    if isinstance(item, Mapping):
        key = next((k for k in ("label", "labels", "target", "y") if k in item), "label") if label == "auto" else label
        check.one_of("key of the label", key, item)
        return {str(k): v for k, v in item.items() if k != key and (names is None or k in names)}, item[key]
    if not isinstance(item, (tuple, list)) or len(item) < 2:
        raise TypeError(
            f"an item must be (input, label), ({{modality: input}}, label) or a dict, got {type(item).__name__}."
        )
    *views, answer = item
    if len(views) == 1 and isinstance(views[0], Mapping):
        return {str(k): v for k, v in views[0].items() if names is None or k in names}, answer
    if names is None:
        names = [_view_name(views[0])] if len(views) == 1 else [f"x{i + 1}" for i in range(len(views))]
    if len(names) != len(views):
        raise ValueError(f"an item has {len(views)} inputs, names= has {len(names)}: {list(names)}.")
    return dict(zip(names, views, strict=True)), answer


def _view_name(view: Any) -> str:
    picture = hasattr(view, "convert") or (getattr(view, "ndim", 0) == 3)
    return "image" if picture else "text" if isinstance(view, str) else "x"


def _from_rows(rows: Sequence[tuple[dict[str, Any], Any]], split: Any, options: dict[str, Any]) -> Dataset:
    if not rows:
        raise ValueError("the dataset has no row.")
    names = list(dict.fromkeys(m for views, _ in rows for m in views))
    labels = [y.tolist() if hasattr(y, "tolist") else y for _, y in rows]
    return from_arrays({m: [views.get(m) for views, _ in rows] for m in names}, labels, split=split, **options)


def _class_names(feature: Any) -> Any:
    """Names of a ``ClassLabel``, also within a ``Sequence`` or a list of it; None for another feature."""
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", feature)
    return getattr(inner, "names", None)


def _is_splits(rows: Any) -> bool:
    """Whether ``rows`` map splits to rows, as a DatasetDict does, and not columns to cells."""
    return isinstance(rows, Mapping) and bool(rows) and all(str(k).strip().lower() in targets.SPLITS for k in rows)


def _hf_columns(rows: Any) -> dict[str, list[Any]]:
    """Columns by name of a list of dicts, a dict of lists, or a dataset of Hugging Face."""
    if isinstance(rows, Mapping):
        return {str(k): list(v) for k, v in rows.items()}
    found = [dict(check.mapping("a row", row, "values")) for row in _items(rows)]
    if not found:
        raise ValueError("there is no row.")
    names = list(dict.fromkeys(k for row in found for k in row))
    return {str(k): [row.get(k) for row in found] for k in names}
