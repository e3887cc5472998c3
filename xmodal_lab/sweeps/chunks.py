"""Chunks of a store's arrays: how they are encoded, and the file of one member, written as Zarr would write it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import beside
from .cubes import Place


def codecs() -> tuple[Any, ...]:
    """What chunks go through: whoever reads them, by whatever program, notices a damaged one."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return ZstdCodec(level=0), Crc32cCodec()


@cache
def _encoders() -> tuple[Any, ...]:
    """The same as plain functions."""
    from numcodecs.checksum32 import CRC32C
    from numcodecs.zstd import Zstd

    return Zstd(level=0).encode, CRC32C().encode


def write(array: Path, place: Place, values: np.ndarray) -> None:
    """Write the chunk of one member, whole or not at all.

    Zarr hands each chunk to a loop in another thread, and that to a third: for a few bytes twice the file's own cost.

    Args:
        array: the folder of an array that has a chunk per member, and the codecs of :func:`codecs`.
        place: of the member.
        values: of the member, in the dtype of the array.

    Raises:
        OSError: they cannot be written.
    """
    file = array.joinpath("c", *map(str, place), *"0" * values.ndim)
    if np.isnan(values).all():  # an array is NaN where it has no file
        file.unlink(missing_ok=True)
        return
    data: Any = values.astype(values.dtype.newbyteorder("<"), order="C")
    for encode in _encoders():
        data = encode(data)
    file.parent.mkdir(parents=True, exist_ok=True)
    with beside(file) as unfinished:
        unfinished.write_bytes(data)
