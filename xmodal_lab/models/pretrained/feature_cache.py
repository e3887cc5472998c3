"""Features of frozen encoders, kept on disk: the same model on the same data runs once.

The key holds the model (its files or its hub revision), how inputs are prepared, and the
contents of the data, so a change of any of them is another entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...utils import cache as disk
from ...utils.growing import Rows, growing
from .pictures import Pictures

VERSION = 2  # of how features are computed here; 1 let padding into waves of unequal length
_PIECE = 1 << 20  # bytes read at a time


def remembered(parts: Mapping[str, Any], compute: Callable[[], Tensor], cache: disk.Where | bool = None) -> Tensor:
    """The features that ``parts`` describe: from the cache, or computed and kept.

    Args:
        parts: everything that they depend on.
        compute: makes them, (N, d).
        cache: folder; None for the usual one, False for none.
    """
    if cache is False:
        return compute()
    where = None if isinstance(cache, bool) else cache
    name = disk.key({"version": VERSION, **parts})
    got = disk.read("features", name, where)
    if got is not None:
        return got[0]["features"]
    features = compute()
    what = f"{parts.get('model', 'features')}, {len(features)} x {tuple(features.shape[1:])}"
    disk.write("features", name, {"features": features}, {"what": what, **parts}, where)
    return features


def remembered_rows(
    parts: Mapping[str, Any], count: int, width: int, compute: Callable[[Rows], None], cache: disk.Where | bool = None
) -> Tensor:
    """The same for features (N, d) that are computed a few rows at a time, and kept as they come.

    Whoever is killed goes on from what was finished, and features that are larger than memory stay in their file.

    Args:
        parts: everything that they depend on.
        count, width: N and d.
        compute: puts the rows that are not ``done``.
        cache: folder; None for the usual one, False for none.
    """
    if cache is False:
        rows = Rows(count, width)
        compute(rows)
        return rows.whole()
    where = None if isinstance(cache, bool) else cache
    name = disk.key({"version": VERSION, **parts})
    got = disk.read("features", name, where)
    if got is not None:
        return got[0]["features"]
    about = {"what": f"{parts.get('model', 'features')}, {count} x {(width,)}", **parts}
    with growing("features", name, "features", count, width, about, where) as rows:
        compute(rows)
        return rows.whole()


def data_hash(data: Tensor | Sequence[str] | Mapping[str, Any]) -> str:
    """A hash of tensors, strings, or a mapping of those: of contents, shapes and dtypes."""
    total = hashlib.blake2b(digest_size=16)
    _update(total, data)
    return total.hexdigest()


def folder_hash(folder: Path) -> str:
    """A hash of a model's folder: names, sizes and contents of its files.

    All of the contents: who trains only the middle layers leaves both ends of a weight file as they were. It takes
    about as long as reading the file.
    """
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        total.update(f"{path.name} {path.stat().st_size};".encode())
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                total.update(piece)
    return total.hexdigest()


def _update(total: Any, data: Any) -> None:
    if isinstance(data, Pictures):  # a tensor of them has the hash that the whole would have
        for k, part in enumerate(data.parts()):
            if isinstance(part, list):
                for one in part:
                    _update(total, one)
                continue
            if k == 0:
                total.update(f"tensor {part.dtype} {(len(data), *part.shape[1:])};".encode())
            total.update(part.contiguous().numpy().data)
        return
    if isinstance(data, Tensor):
        whole = data.detach().cpu().contiguous()
        total.update(f"tensor {whole.dtype} {tuple(whole.shape)};".encode())
        if whole.numel():
            total.update(whole.reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(data, Mapping):
        for key in sorted(data):
            total.update(f"key {key};".encode())
            _update(total, data[key])
    else:
        total.update(f"strings {len(data)};".encode())
        for line in data:
            raw = str(line).encode()
            total.update(f"{len(raw)}:".encode() + raw)
