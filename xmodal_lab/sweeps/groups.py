"""The Zarr group of a store on disk: made whole or not at all, and opened with a look at whether it is sound."""

from __future__ import annotations

import shutil
import time
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .chunks import codecs
from .cubes import Layout, attributes
from .facts import REMEDY, StoreError

# A half-made store of a killed process is swept away after this many seconds (ours).
STALE = 3600


def create(path: Path, layout: Layout, told: Mapping[str, Any]) -> None:
    """Make the whole group beside its place and rename it there, so that it is never half made.

    Args:
        path: of the store.
        layout: axes and variables.
        told: attributes of the group.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{path.name}.*.part"):
        if time.time() - old.stat().st_mtime > STALE:
            shutil.rmtree(old, ignore_errors=True)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        fill(unfinished, layout, attributes(told))
        unfinished.rename(path)
    except BaseException as error:
        for _ in range(3):  # Zarr's other threads may still be writing into it
            shutil.rmtree(unfinished, ignore_errors=True)
            time.sleep(0.05)
        if not isinstance(error, OSError) or not (path / "zarr.json").is_file():
            raise
        # else another process was first; its store is checked like any other


def _chunks(layout: Layout, name: str) -> tuple[int, ...]:
    """A chunk per member."""
    return (*[1] * len(layout.axes), *(max(1, n) for n in layout.variables[name].shape))


def fill(folder: Path, layout: Layout, told: Mapping[str, Any]) -> None:
    """An empty group with all arrays and coordinates."""
    import zarr

    group = zarr.open_group(folder, mode="w", zarr_format=3, attributes=dict(told))
    for name, variable in layout.variables.items():
        group.create_array(
            name, shape=(*layout.shape, *variable.shape), chunks=_chunks(layout, name), dtype=variable.dtype,
            fill_value=float("nan"), dimension_names=layout.dims(name),
            attributes=layout.words(name), compressors=codecs(),
        )  # fmt: skip
    for name, values in layout.coordinates().items():
        array = group.create_array(
            name, shape=values.shape, dtype=str if values.dtype.kind == "U" else values.dtype,
            dimension_names=(name,), attributes=layout.words(name), compressors=codecs(),
        )  # fmt: skip
        array[...] = values.astype(object) if values.dtype.kind == "U" else values
    with warnings.catch_warnings():  # zarr says that other readers may not know consolidated metadata; they need not
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(folder)
    (folder / "done").mkdir()
    (folder / "claims").mkdir()


def opened(path: Path, layout: Layout) -> dict[str, Any]:
    """The arrays of the variables, of the shape that counts.

    Args:
        path: of the store.
        layout: axes and variables, as the whole store has them.

    Raises:
        StoreError: what is there is damaged.
    """
    import zarr

    try:
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        arrays = {name: group[name] for name in layout.variables}
        for name, variable in layout.variables.items():
            shape, axes = arrays[name].shape, len(layout.shape)
            room = len(shape) >= axes and all(a >= b for a, b in zip(shape, layout.shape, strict=False))
            if not room or (shape[axes:], arrays[name].dtype) != (variable.shape, variable.dtype):
                raise ValueError(f"{name!r} has another shape or type than its sweep")
            if (arrays[name].chunks, arrays[name].compressors) != (_chunks(layout, name), codecs()):
                raise ValueError(f"{name!r} is cut or encoded otherwise than here")
            if shape[:axes] != layout.shape:  # larger: whoever let it grow was killed before it counted
                arrays[name] = Part(arrays[name], layout.shape)
    except OSError:
        raise
    except Exception as error:  # whatever Zarr says of damaged metadata
        raise StoreError(f"the store {path} is damaged ({error}). {REMEDY}") from None
    return arrays


@dataclass(frozen=True)
class Part:
    """The part of an array that counts; the rest is room that nobody has asked for yet."""

    array: Any
    shape: tuple[int, ...]

    def __getitem__(self, place: Any) -> Any:
        return self.array[tuple(map(slice, self.shape))] if place is ... else self.array[place]
