"""AVMNIST as MultiBench distributes it: six arrays, values from 0 to 255."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..reading.layout import Problems
from ..reading.rows import balanced

PLACES = {
    split: {"image": f"image/{split}_data.npy", "audio": f"audio/{split}_data.npy", "labels": f"{split}_labels.npy"}
    for split in ("train", "test")
}
_SHAPES = {"image": ((784,), (28, 28)), "audio": ((112, 112),), "labels": ((),)}
_VAL_SHARE = 1 / 12  # the last 5000 of 60000 rows, as MultiBench splits them

Array = npt.NDArray[Any]


def read(
    folder: Path, problems: Problems, wanted: Mapping[str, int | None], seed: int
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Split → image, audio (bytes) and labels of the wanted rows; and where they come from."""
    opened = {split: _open(folder, split, problems) for split in PLACES}
    problems.skip = False  # a set without one of its six arrays is none
    problems.finish()
    rows = _rows({split: np.asarray(arrays["labels"]) for split, arrays in opened.items()}, wanted, seed)
    found = {}
    for split, (file, chosen) in rows.items():
        found[split] = {m: _bytes(opened[file][m], chosen, folder / PLACES[file][m], m, problems) for m in _SHAPES}
        found[split]["image"] = found[split]["image"].reshape(-1, 28, 28)
    problems.finish()
    source = "AVMNIST as distributed by MultiBench (Liang et al. 2021)"
    return found, {"source": source, "licence": "of its sources: MNIST, FSDD, ESC-50", "seed": seed}


def _mapped(path: Path) -> Array:
    """The array of an npy file, as it lies on disk.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no npy file, or a damaged one.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:  # NumPy reads the header as Python, and fails in as many ways
        raise ValueError(f"{path}: no whole npy file ({error})") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: an npy file expected, this is an archive of several arrays")
    return array


def _open(folder: Path, split: str, problems: Problems) -> dict[str, Array]:
    """The arrays of a split, mapped, with the right shapes."""
    found: dict[str, Array] = {}
    for name, place in PLACES[split].items():
        path = folder / place
        array = problems.attempt(path, lambda p=path: _mapped(p))  # type: ignore[misc]
        if array is None:
            continue
        if array.ndim < 1 or array.shape[1:] not in _SHAPES[name]:
            expected = " or ".join(str(("N", *shape)).replace("'", "") for shape in _SHAPES[name])
            problems.malformed(path, f"shape {expected} expected, got {array.shape}")
        elif array.dtype.kind not in "uif":
            problems.malformed(path, f"numbers expected, got {array.dtype}")
        elif len(array) == 0:
            problems.malformed(path, "it holds no row")
        else:
            found[name] = array
    for name, array in found.items():
        if "labels" in found and len(array) != len(found["labels"]):
            problems.malformed(folder / PLACES[split][name], f"{len(found['labels'])} rows expected, got {len(array)}")
    if "labels" in found and not set(np.unique(found["labels"]).tolist()) <= set(range(10)):
        problems.malformed(folder / PLACES[split]["labels"], "labels from 0 to 9 expected")
    return found


def _rows(
    labels: Mapping[str, Array], wanted: Mapping[str, int | None], seed: int
) -> dict[str, tuple[str, npt.NDArray[np.int64]]]:
    """Split → the file it comes from and the rows in it."""
    n = len(labels["train"])
    cut = n - max(1, round(n * _VAL_SHARE)) if wanted["val"] else n
    train = balanced(labels["train"][:cut], wanted["train"], "n_train", [seed, 0])
    rows = {"train": ("train", train), "test": ("test", balanced(labels["test"], wanted["test"], "n_test", [seed, 2]))}
    if wanted["val"]:
        rows["val"] = ("train", cut + balanced(labels["train"][cut:], wanted["val"], "n_val", [seed, 1]))
    return rows


def _bytes(array: Array, rows: npt.NDArray[np.int64], path: Path, name: str, problems: Problems) -> Tensor:
    """The rows, in range, as bytes (labels as int64)."""
    order = np.argsort(rows)  # a mapped file is read fastest from front to back
    values = np.empty((len(rows), *array.shape[1:]), dtype=array.dtype)
    values[order] = array[rows[order]]
    if name == "labels":
        return torch.from_numpy(values.astype(np.int64))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        problems.malformed(path, "NaN or infinite values")
    elif float(values.min()) < -0.5 or float(values.max()) > 255.5:
        problems.malformed(path, f"values from 0 to 255 expected, got {values.min():g} to {values.max():g}")
    elif values.dtype.kind == "f" and float(values.max()) <= 1.0:
        problems.malformed(path, f"values from 0 to 255 expected, got at most {values.max():g}; divided already?")
    else:
        return torch.from_numpy(np.rint(values).astype(np.uint8))
    return torch.zeros(values.shape, dtype=torch.uint8)
