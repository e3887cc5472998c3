"""MNIST's idx files, plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..reading.layout import Problems

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
SOURCE = "MNIST, Y. LeCun, C. Cortes and C. Burges"
LICENCE = "CC BY-SA 3.0, as commonly given"

Bytes = npt.NDArray[np.uint8]


def read_idx(path: Path) -> Bytes:
    """The array of bytes in an idx file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an idx file of bytes, or one that is cut off or damaged.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file ({error})") from None
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an idx file of bytes")
    rank = raw[3]
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    length = int(np.prod(shape, dtype=np.int64))
    if len(raw) != 4 + 4 * rank + length:
        raise ValueError(f"{path}: {length} bytes announced for shape {shape}, {len(raw) - 4 - 4 * rank} are there")
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def paths(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Split → files of images and labels; the gzipped one where the plain one is not there."""

    def choose(name: str) -> Path:
        return folder / name if (folder / name).is_file() else folder / f"{name}.gz"

    return {split: (choose(images), choose(labels)) for split, (images, labels) in FILES.items()}


def read(folder: Path, problems: Problems) -> dict[str, tuple[Bytes, Bytes]]:
    """Split → images (N, 28, 28) and labels (N,); what is wrong goes to ``problems``."""
    found: dict[str, tuple[Any, Any]] = {}
    for split, (image_path, label_path) in paths(folder).items():
        images = problems.attempt(image_path, lambda p=image_path: read_idx(p))  # type: ignore[misc]
        labels = problems.attempt(label_path, lambda p=label_path: read_idx(p))  # type: ignore[misc]
        if images is None or labels is None:
            continue
        if images.ndim != 3 or images.shape[1:] != (28, 28):
            problems.malformed(image_path, f"shape (N, 28, 28) expected, got {images.shape}")
        elif labels.shape != images.shape[:1]:
            problems.malformed(label_path, f"shape ({len(images)},) expected as there are images, got {labels.shape}")
        elif labels.size == 0 or int(labels.max()) > 9:
            problems.malformed(label_path, "labels from 0 to 9 expected")
        else:
            found[split] = (images, labels)
    return found
