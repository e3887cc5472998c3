"""A sweep as a part of a store: its places and the store's; and a store that takes a new dimension.

A store has at least the axes of every sweep that it serves. An axis that a sweep does not vary stands at the sweep's
fixed value of that setting. A setting that was fixed so far becomes an axis in a new folder beside the store's, in
which every file of a member stands one number deeper; the two change places by renaming.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .compact import root
from .cubes import Layout, Place, attributes, fact, places_of

# What a folder holds that the new one gets otherwise: its own metadata, marks, locks and copies.
_MADE_ANEW = ("zarr.json", "done", "claims", "raised", "compact", ".growing")


@dataclass(frozen=True)
class Window:
    """Where the members of a sweep stand in a store.

    Attributes:
        index: of each axis of the store, the places that the sweep asks for, in its order.
        slots: of each axis of the store, which axis of the sweep it is; None where the sweep does not vary it.
    """

    index: tuple[tuple[int, ...], ...]
    slots: tuple[int | None, ...]

    @classmethod
    def of(
        cls, held: Mapping[str, Sequence[Any]], asked: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any]
    ) -> Window:
        """The window of a sweep over ``asked``, at ``fixed`` otherwise, in a store with the axes ``held``."""
        found = [places_of(values, asked.get(name, (fixed.get(name),))) for name, values in held.items()]
        names = list(asked)
        return cls(
            tuple(tuple(i for i in along if i is not None) for along in found),
            tuple(names.index(name) if name in asked else None for name in held),
        )

    def there(self, place: Place) -> Place:
        """The store's place of a member of the sweep."""
        at = zip(self.index, self.slots, strict=True)
        return tuple(along[0] if slot is None else along[place[slot]] for along, slot in at)

    def here(self, there: Place) -> Place | None:
        """The sweep's place of a member of the store; None where the sweep does not ask for it."""
        found = [0] * sum(slot is not None for slot in self.slots)
        for i, back, slot in zip(there, self._back, self.slots, strict=True):
            if (at := back.get(i)) is None:
                return None
            if slot is not None:
                found[slot] = at
        return tuple(found)

    @cached_property
    def _back(self) -> list[dict[int, int]]:
        return [{there: here for here, there in enumerate(along)} for along in self.index]

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The sweep's part of an array of the store, in the sweep's order of axes."""
        own = array.shape[len(self.index) :]
        part = array[self._where(own)]
        varied = [n for n, slot in zip(part.shape, self.slots, strict=False) if slot is not None]
        order = self._order()
        return part.reshape((*varied, *own)).transpose((*order, *range(len(order), len(order) + len(own))))

    def put(self, array: np.ndarray, part: np.ndarray) -> None:
        """Write the sweep's ``part`` into an array of the store."""
        own = array.shape[len(self.index) :]
        back = np.argsort(self._order())
        turned = part.transpose((*map(int, back), *range(len(back), part.ndim)))
        array[self._where(own)] = turned.reshape((*map(len, self.index), *own))

    def _where(self, own: Sequence[int]) -> tuple[np.ndarray, ...]:
        return np.ix_(*self.index, *map(range, own))

    def _order(self) -> list[int]:
        """Of each axis of the sweep, its number among the store's axes that the sweep varies."""
        varied = [slot for slot in self.slots if slot is not None]
        return [varied.index(k) for k in range(len(varied))]


def deepen(
    path: Path,
    layout: Layout,
    count: int,
    facts: Mapping[str, Any],
    fill: Callable[[Path, Layout, Mapping[str, Any]], None],
    marks: Callable[[str, int], tuple[str, str]],
) -> None:
    """Give the store at ``path`` its last ``count`` axes of ``layout``, on which all that it holds stands first.

    Files of members are linked, not copied, where the file system can. Whoever is killed on the way leaves the store
    as it was; between the two renames at the end, :func:`mended` puts it back.

    Args:
        path: of the store, which nobody else may be changing.
        layout: of the grown store.
        count: of new axes.
        facts: of the grown store.
        fill: makes an empty store in a folder.
        marks: text of a mark, new axes → its new file name and text.

    Raises:
        OSError: it cannot be written, or another sweep was given this place meanwhile.
    """
    held = root(path)["attributes"]
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        told = {**held, "xmodal_sweep": facts}
        fixed = fact(held.get("settings", "{}"))
        told["settings"] = {k: v for k, v in fixed.items() if k not in layout.axes}
        fill(new, layout, attributes(told))
        before = len(layout.axes) - count
        for name in layout.variables:
            _link_chunks(path / name / "c", new / name / "c", before, count)
        for old in sorted((path / "done").glob("*.json")):
            with contextlib.suppress(ValueError):  # damaged: it does not count
                file, text = marks(old.read_text(encoding="utf-8"), count)
                (new / "done" / file).write_text(text, encoding="utf-8")
        for entry in path.iterdir():  # what else stands there: results of a live view, files of the user's
            if entry.name not in _MADE_ANEW and not (new / entry.name).exists():
                copy: Any = shutil.copytree if entry.is_dir() else shutil.copy2
                copy(entry, new / entry.name)
        aside = _aside(path)
        path.rename(aside)
        new.rename(path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        mended(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def mended(path: Path) -> None:
    """Put back a store whose folder was renamed by a process that was killed over it."""
    aside = _aside(path)
    if not (aside / "zarr.json").is_file():
        return
    if path.exists():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # another process was first
            aside.rename(path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.before-its-new-dimension")


def _link_chunks(old: Path, new: Path, before: int, count: int) -> None:
    """Link every chunk to where it stands with ``count`` axes behind the first ``before``, at their first value."""
    if old.is_file():  # an array without dimensions is one file
        files: list[tuple[str, ...]] = [()]
    else:
        files = [
            (*Path(folder).relative_to(old).parts, name) for folder, _, names in os.walk(old) for name in names
        ]  # fmt: skip
    for parts in files:
        target = new.joinpath(*parts[:before], *["0"] * count, *parts[before:])
        target.parent.mkdir(parents=True, exist_ok=True)
        source = old.joinpath(*parts)
        try:
            os.link(source, target)
        except OSError:  # a file system without links
            shutil.copy2(source, target)
