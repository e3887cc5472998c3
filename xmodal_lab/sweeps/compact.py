"""A store on disk that grows, and its compact copy.

A store holds one file per member and variable, so that processes never write the same one. Fifteen thousand files take
ten seconds to read, so a finished grid also gets ``compact/``: a Zarr group of its own with a chunk per variable, which
``xarray.open_zarr`` reads at once. It says which tasks it holds and is believed for those alone; what was computed
later, or again, is read from the members' own files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import seal, write_text
from .chunks import codecs
from .cubes import Arrays, Layout, attributes

NAME = "compact"
INDEX = "tasks.json"
# Tasks from which on a copy pays for being written (ours): fewer are read in a tenth of a second.
LEAST = 100
# Bytes of a chunk at most (ours).
CHUNK = 64 << 20
# How often, and after how many seconds, the lock of a folder is looked for that is being renamed (ours).
TRIES, PAUSE = 50, 0.02


@contextlib.contextmanager
def alone(path: Path, *, others: bool = False) -> Iterator[None]:
    """Nobody else changes the shape of the store at ``path`` meanwhile; waits. No lock where the system has none.

    With ``others`` so may others who do not change it either.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    lock = path / ".growing"
    with contextlib.ExitStack() as held:
        for _ in range(TRIES):
            try:
                file = held.enter_context(lock.open("a", encoding="utf-8"))
            except FileNotFoundError:  # the folder is changing places with one that has a dimension more
                time.sleep(PAUSE)
                continue
            with contextlib.suppress(OSError):  # a network file system without locks
                fcntl.flock(file, fcntl.LOCK_SH if others else fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if lock.stat().st_ino == os.fstat(file.fileno()).st_ino:  # else it has changed places meanwhile
                    break
            file.close()
        yield


def root(path: Path) -> dict[str, Any]:
    """The metadata of the group at ``path``."""
    found: dict[str, Any] = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    return found


def put_facts(path: Path, held: dict[str, Any], facts: Mapping[str, Any]) -> None:
    """Write the group's metadata ``held`` with these facts: the moment from which on they hold."""
    held["attributes"] |= attributes({"xmodal_sweep": facts})
    write_text(path / "zarr.json", json.dumps(held, indent=2, ensure_ascii=False))


def extend(path: Path, layout: Layout, before: Mapping[str, Sequence[Any]], facts: Mapping[str, Any]) -> None:
    """Make room for the axes of ``layout``, which begin with those of ``before``.

    The group's own metadata come last, in one rename: until then every reader sees the store as it was, and whoever
    is killed on the way leaves arrays that are larger than they need be, which harms nobody.
    """
    import zarr

    shapes = {name: [*layout.shape, *variable.shape] for name, variable in layout.variables.items()}
    shapes |= {name: [len(values)] for name, values in layout.axes.items()}
    for name, shape in shapes.items():
        held = json.loads((path / name / "zarr.json").read_text(encoding="utf-8"))
        write_text(path / name / "zarr.json", json.dumps({**held, "shape": shape}, indent=2))
    coordinates = layout.coordinates()
    for name in layout.axes:
        if old := len(before[name]) if len(before[name]) < len(layout.axes[name]) else 0:
            values = coordinates[name][old:]
            array: Any = zarr.open_array(path / name, mode="r+")
            array[old:] = values.astype(object) if values.dtype.kind == "U" else values
    held = root(path)
    told = held.get("consolidated_metadata")
    for name, shape in shapes.items():
        if told is not None and name in told["metadata"]:
            told["metadata"][name]["shape"] = shape
    put_facts(path, held, facts)


@dataclass(frozen=True)
class Copy:
    """A compact copy: the marks that it holds (file name -> text, and when that file was written), and the arrays."""

    marks: Mapping[str, str]
    written: Mapping[str, int]
    path: Path

    @classmethod
    def at(cls, store: Path) -> Copy | None:
        """The copy in ``store``; None if there is none that can be read."""
        try:
            held = json.loads((store / NAME / INDEX).read_text(encoding="utf-8"))
            if held["seal"] != seal(held["tasks"]):
                return None
            tasks = held["tasks"]
            return cls({n: t[0] for n, t in tasks.items()}, {n: t[1] for n, t in tasks.items()}, store / NAME)
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            return None

    def arrays(self, layout: Layout) -> Arrays | None:
        """All variables in the shape of ``layout``, NaN beyond the copy's own; None if it is damaged."""
        import zarr

        found = layout.empty()
        try:
            group = zarr.open_group(self.path, mode="r")
            for name, array in found.items():
                held = np.asarray(group[name][...])  # type: ignore[index]
                array[tuple(map(slice, held.shape))] = held
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, IndexError):
            return None
        return found


def write(store: Path, layout: Layout, arrays: Arrays, marks: Sequence[str], told: Mapping[str, Any]) -> None:
    """Put a compact copy of ``arrays`` into ``store``, whole or not at all.

    Args:
        store: its folder.
        layout: of the store.
        arrays: of all members.
        marks: names of the files in ``done`` whose tasks it holds.
        told: attributes of the cube.
    """
    tasks = {}
    for name in marks:
        path = store / "done" / name
        tasks[name] = [path.read_text(encoding="utf-8"), path.stat().st_mtime_ns]
    unfinished = store / f".{NAME}.{uuid.uuid4().hex}"
    aside = store / f".{NAME}.{uuid.uuid4().hex}"
    try:
        _fill(unfinished, layout, arrays, told)
        write_text(unfinished / INDEX, json.dumps({"seal": seal(tasks), "tasks": tasks}))
        with contextlib.suppress(FileNotFoundError):
            (store / NAME).rename(aside)
        unfinished.rename(store / NAME)
    finally:
        for folder in (unfinished, aside):
            shutil.rmtree(folder, ignore_errors=True)


def clear(store: Path) -> None:
    """Sweep away what a killed process left half made."""
    for folder in store.glob(f".{NAME}.*"):
        shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path, layout: Layout, arrays: Arrays, told: Mapping[str, Any]) -> None:
    import zarr

    group = zarr.open_group(folder, mode="w", zarr_format=3, attributes=dict(told))
    values = {**layout.coordinates(), **{n: arrays[n] for n in layout.variables}}
    for name, value in values.items():
        text = value.dtype.kind == "U"
        array = group.create_array(
            name, shape=value.shape, dtype=str if text else value.dtype, chunks=_chunks(value), compressors=codecs(),
            dimension_names=layout.dims(name) if name in layout.variables else (name,), attributes=layout.words(name),
            **({"fill_value": float("nan")} if name in layout.variables else {}),
        )  # fmt: skip
        array[...] = value.astype(object) if text else value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other readers may not know consolidated metadata
        zarr.consolidate_metadata(folder)


def _chunks(value: np.ndarray) -> tuple[int, ...]:
    """One chunk, halved along the first dimensions until it is no larger than ``CHUNK``."""
    shape = [max(1, n) for n in value.shape]
    for k in range(len(shape)):
        while shape[k] > 1 and int(np.prod(shape)) * value.dtype.itemsize > CHUNK:
            shape[k] = -(-shape[k] // 2)
    return tuple(shape)


def names(folder: Path) -> list[str]:
    """Names of the files in a folder; many times faster than paths of them, where there are thousands."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def seen(folder: Path) -> dict[str, int]:
    """Marks in ``done`` and when they were written."""
    with os.scandir(folder) as entries:
        return {e.name: e.stat().st_mtime_ns for e in entries if e.name.endswith(".json")}
