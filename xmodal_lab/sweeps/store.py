"""A sweep on disk: a Zarr group that is filled member by member and survives being killed.

    dml.zarr/            a Zarr v3 group: xarray.open_zarr reads it at any time
      alpha/ seed/ …     coordinates
      accuracy/ …        one chunk per member, so that processes never write the same file
      done/              one small file per finished task, renamed into place after its chunks; holds their checksum
      claims/            a file lock per task in work; the system lets go of it when its holder dies
      raised/            tasks in which a member raised; they are tried last
      compact/           of a finished grid, all of it in one chunk per variable, for reading

What has no file in ``done`` does not count, however much of it was written. So a run that
is killed between two writes or inside one loses what it was computing, and nothing else.
Nor does a member count that the disk gives back otherwise than it was written.

A store grows: new values of an axis are appended, in whatever order they are asked for, and a setting that was fixed
becomes an axis. A sweep is a view of the store: its places are translated to the store's at the boundary of
:class:`Store`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import beside, write_text
from ..utils.locks import TaskLock
from . import chunks, compact, facts, groups, marks, window
from .cubes import Arrays, Layout, Place, Reasons, attributes
from .experiment import WHY, as_json
from .marks import Mark
from .window import Window

# What Zarr raises over a chunk that is cut short or whose bits have changed.
DAMAGE = (ValueError, RuntimeError)


class Store:
    """The store at ``path``; made if there is none, else checked against this sweep.

    Args:
        path: a folder; by custom it ends in ".zarr".
        layout: axes and variables.
        identity: facts that must agree with the store's, by the names in ``facts.IDENTITY``.
        environment: facts that may differ, with a warning.
        story: what else the cube says of itself.
        accept_edited: take a store that was filled by other code of the experiment, and remember this one.

    Raises:
        StoreError: the path is something else, or belongs to another sweep; says which fact differs.
    """

    def __init__(
        self,
        path: str | Path,
        layout: Layout,
        identity: Mapping[str, Any],
        environment: Mapping[str, str],
        story: Mapping[str, Any] | None = None,
        accept_edited: bool = False,
    ) -> None:
        self.path = Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)  # a link stays where it is
        self.layout = layout
        described = {name: {"dims": dict(v.dims), "dtype": v.dtype} for name, v in layout.variables.items()}
        self.facts = as_json(
            {
                "format": facts.FORMAT,
                **identity,
                "axes": layout.axes,
                "variables": described,
                "grown": [layout.shape],
            }
        )
        self.marks: dict[str, Mark] = {}
        self._finished: set[Place] = set()
        self._held: list[TaskLock] = []
        self._copy: compact.Copy | None = None
        window.mended(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise facts.StoreError(f"the store {self.path} is a file; name a folder, such as runs/name.zarr.")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            told = {**(story or {}), "xmodal_sweep": {**self.facts, "environment": dict(environment)}}
            groups.create(self.path, layout, told)
        self._facts = facts.checked(self.path, self.facts, environment)
        if facts.edited_code(self.path, self._facts, self.facts, accept=accept_edited):
            self._facts["code"] = self.facts["code"]
            self._put({"code": self.facts["code"]})
        self._deepen()
        self._fit()
        self._lay()
        self.refresh()

    # -- what is there ---------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look for tasks that were finished since the last look, by this process or another."""
        self._settle()
        for name in compact.names(self.path / "done"):
            if name not in self.marks and name.endswith(".json"):
                self._look(name)

    def _look(self, name: str) -> None:
        """Take in one mark, if it is there and whole."""
        with contextlib.suppress(ValueError, FileNotFoundError):  # damaged: its task is not finished
            self._note(name, Mark.loads((self.path / "done" / name).read_text(encoding="utf-8")))

    def _note(self, name: str, mark: Mark) -> None:
        self.marks[name] = mark
        self._finished.update(place for place in map(self._here, mark.places) if place is not None)

    def _take_copy(self) -> None:
        """Take in the marks that the compact copy holds and that have not been written anew since."""
        if self._copy is not None:
            seen = compact.seen(self.path / "done")
            for name, text in self._copy.marks.items():
                if seen.get(name) == self._copy.written[name]:
                    with contextlib.suppress(ValueError):
                        self._note(name, Mark.loads(text))

    def look_at(self, *tasks: Sequence[Place]) -> None:
        """Look whether these tasks are finished, without looking through all."""
        for places in tasks:
            if (name := self._name(places)) not in self.marks:
                self._look(name)

    def finished(self) -> set[Place]:
        """Places of all members that count as computed; the set itself, which grows."""
        return self._finished

    def failed(self) -> dict[Place, str]:
        """Members that diverged or raised, and why."""
        found = ((self._here(p), reason) for mark in self.marks.values() for p, reason in mark.failed.items())
        return {place: reason for place, reason in found if place is not None}

    def why(self) -> dict[Place, Reasons]:
        """Members some of whose variables are NaN, and why."""
        found = ((self._here(p), r) for mark in self.marks.values() for r, places in mark.why for p in places)
        return {place: reasons for place, reasons in found if place is not None}

    def seconds(self) -> float:
        """Time that went into all finished members of this sweep, over all runs and workers."""
        return sum(m.seconds for m in self.marks.values() if any(self._here(p) is not None for p in m.places))

    def read(self, places: Iterable[Place]) -> Arrays:
        """All variables, NaN everywhere but at ``places``; also where a chunk is damaged."""
        wanted = list(places)
        whole = self._read([self._there(place) for place in wanted])
        return {name: self._window.cut(array) for name, array in whole.items()}

    def _read(self, there: Sequence[Place]) -> Arrays:
        """The same in the store's places: from the compact copy what it holds, else from the members' own files."""
        left, arrays = set(there), self._whole.empty()
        held = None if self._copy is None else self._copy.arrays(self._whole)
        if self._copy is not None and held is not None:
            for name, mark in self.marks.items():
                copied = self._copy.marks.get(name) == mark.dumps() and left.issuperset(mark.places)
                if copied and mark.data == self._sum(mark, held):
                    left.difference_update(mark.places)
                    for place in mark.places:
                        for variable, array in held.items():
                            arrays[variable][place] = array[place]
        for name, array in self._arrays.items():
            if 4 * len(left) > self._whole.members:  # one look at all files is cheaper than many at each
                with contextlib.suppress(*DAMAGE):
                    whole = array[...]
                    for place in left:
                        arrays[name][place] = whole[place]
                    continue
            for place in left:  # chunks of unfinished members may be cut off: they are not looked at
                with contextlib.suppress(*DAMAGE):
                    arrays[name][place] = array[place]
        return arrays

    def _sum(self, mark: Mark, arrays: Arrays) -> str:
        """Checksum of the members of a mark in ``arrays``, which have the store's places."""
        computed = [place for place in mark.places if place not in mark.failed]
        return marks.checksum(computed, lambda name, place: arrays[name][place], self.layout)

    def pack(self, arrays: Arrays) -> None:
        """Write the compact copy, unless it is there or the store is small.

        Args:
            arrays: of this sweep, all members of which are finished.
        """
        self._settle()
        held = self._copy.marks if self._copy is not None else {}
        if len(self.marks) < compact.LEAST or all(held.get(n) == m.dumps() for n, m in self.marks.items()):
            return
        mine = {self._there(place) for place in self._finished}
        whole = self._read([p for mark in self.marks.values() for p in mark.places if p not in mine])
        for name in self.layout.variables:
            self._window.put(whole[name], arrays[name])
        told = compact.root(self.path)["attributes"]
        with contextlib.suppress(OSError), compact.alone(self.path):  # a full disk: then there is no copy
            if self._stamp != facts.stamp(self.path):  # it has grown meanwhile
                return
            compact.clear(self.path)
            compact.write(self.path, self._whole, whole, list(self.marks), told)
            self._copy = compact.Copy.at(self.path)

    def tell_why(self) -> None:
        """Say in the store's attributes why variables are NaN, as ``facts.why_at`` finds it."""
        found = attributes({WHY: facts.why_at(self.path)})
        with compact.alone(self.path):
            held = compact.root(self.path)
            if found[WHY] != held["attributes"].get(WHY, "{}"):
                held["attributes"] |= found
                write_text(self.path / "zarr.json", json.dumps(held, indent=2, ensure_ascii=False))

    def forget_damaged(self, arrays: Arrays, places: Iterable[Place]) -> set[Place]:
        """Take back the marks of members that were read otherwise than they were written.

        Args:
            arrays: what :meth:`read` gave for ``places``.
            places: members that count as finished.

        Returns:
            The members that no longer do.
        """
        seen, lost = set(places), set[Place]()
        for name, mark in list(self.marks.items()):
            here = {place: self._here(place) for place in mark.places}
            mine = [here[place] for place in mark.places if place not in mark.failed]
            if not mark.data or not seen.issuperset(here.values()):
                continue
            if mark.data == marks.checksum(
                [p for p in mine if p is not None], lambda name, place: arrays[name][place], self.layout
            ):
                continue
            lost |= {place for place in here.values() if place is not None}
            del self.marks[name]
            if claim := self._claim(name.removesuffix(".json")):  # else another process has noticed, and is at it
                path = self.path / "done" / name
                with contextlib.suppress(ValueError, FileNotFoundError):
                    if Mark.loads(path.read_text(encoding="utf-8")) == mark:
                        path.unlink()
                claim.release()
        self._finished -= lost
        return lost

    def forget_raised(self) -> None:
        """Take back the marks of members that raised, so that they are tried again."""
        for name, mark in list(self.marks.items()):
            if any(reason.startswith(marks.RAISED) for reason in mark.failed.values()):
                (self.path / "done" / name).unlink(missing_ok=True)
                del self.marks[name]
                self._finished.difference_update(place for place in map(self._here, mark.places) if place is not None)

    # -- writing ---------------------------------------------------------------------------------

    def write(self, results: Sequence[tuple[Sequence[Place], Arrays | str]], seconds: float) -> None:
        """Write the members of one task, all or none.

        Args:
            results: (places, arrays) of each computed member, or (places, reason) of one that diverged.
            seconds: what the task took.
        """
        failed: dict[Place, str] = {}
        computed: dict[Place, Arrays] = {}
        why: list[tuple[Reasons, tuple[Place, ...]]] = []
        with compact.alone(self.path, others=True):
            self._settle()
            for places, arrays in results:
                if reasons := getattr(arrays, "why", None):
                    why.append((reasons, tuple(map(self._there, places))))
                for place in map(self._there, places):
                    if isinstance(arrays, str):
                        failed[place] = arrays
                        continue
                    computed[place] = arrays
                    for name, variable in self.layout.variables.items():
                        chunks.write(self.path / name, place, np.asarray(arrays[name], variable.dtype))
            data = marks.checksum(computed, lambda name, place: computed[place][name], self.layout)
            whole = tuple(self._there(p) for places, _ in results for p in places)
            mark = Mark(whole, seconds, failed, data, tuple(why))
            name = f"{marks.key(mark.places)}.json"
            with beside(self.path / "done" / name) as unfinished:
                unfinished.write_text(mark.dumps(), encoding="utf-8")
        self._note(name, mark)

    def put_off(self, places: Sequence[Place], why: str) -> None:
        """Remember that a member of this task raised, so that the next run tries it last."""
        with contextlib.suppress(OSError):
            write_text(self.path / "raised" / self._name(places), json.dumps(why, ensure_ascii=False))

    def was_put_off(self) -> set[str]:
        """Names of the tasks that were put off; see :meth:`name`."""
        with contextlib.suppress(OSError):
            return set(compact.names(self.path / "raised"))
        return set()

    def name(self, places: Sequence[Place]) -> str:
        """What files about a task are called."""
        return self._name(places)

    def claim(self, places: Sequence[Place]) -> TaskLock | None:
        """The right to compute a task; None while another process is at it."""
        with compact.alone(self.path, others=True):  # nobody gives the store a dimension between the look and the claim
            self._settle()
            return self._claim(self._name(places).removesuffix(".json"))

    def _claim(self, key: str) -> TaskLock | None:
        self._held = [claim for claim in self._held if claim.file is not None]
        return TaskLock.take(self.path / "claims" / f"{key}.lock", self._held)

    def let_go(self) -> None:
        """Release what is still claimed here: Ctrl-C may come between taking a claim and noting it down."""
        for claim in self._held:
            if claim.file is not None:
                claim.release()

    # -- making and checking ---------------------------------------------------------------------

    def unsteady(self, names: Iterable[str]) -> None:
        """Parts of the code that a sweep itself changes (a list that a member appends to) say nothing of an edit."""
        if (changed := dict.fromkeys(names, "")) and "code" in self._facts:
            self._facts["code"] = {**self._facts["code"], **changed}
            self._put({"code": self._facts["code"]})

    def _put(self, changes: Mapping[str, Any]) -> None:
        with compact.alone(self.path):
            compact.put_facts(self.path, compact.root(self.path), {**facts.held_at(self.path), **changes})

    # -- this sweep's places and the store's -----------------------------------------------------

    def _deepen(self) -> None:
        """Give the store the axes of this sweep that it lacks: all that it holds stands at their fixed values."""
        if not any(name not in self._facts["axes"] for name in self.layout.axes):
            return
        with compact.alone(self.path):
            self._facts = found = facts.held_at(self.path)  # another has done it, perhaps
            new = [name for name in self.layout.axes if name not in found["axes"]]
            if not new:
                return
            fixed = facts.fixed(found)
            for name in new:
                if fixed.get(name) is None:
                    raise facts.StoreError(
                        f"the store {self.path} holds members without a value of {name!r} (None), which has no place "
                        f"on an axis. {facts.REMEDY}"
                    )
            if self._in_work():
                raise facts.StoreError(
                    f"another process is computing members of the store {self.path}; it can take the new axis "
                    f"{new[0]!r} once they are finished. Wait for it, or stop it, and call again."
                )
            held = {name: tuple(values) for name, values in found["axes"].items()}
            axes = {**held, **{name: (fixed[name],) for name in new}}
            facts.joined(self.path, axes, self._asked(axes))
            told = {**found, "axes": {k: list(v) for k, v in axes.items()}}
            told["settings"] = {k: v for k, v in found["settings"].items() if k not in new}
            before = found.get("grown") or [list(map(len, held.values()))]
            told["grown"] = [[*shape, *[1] * len(new)] for shape in before]
            window.deepen(self.path, replace(self.layout, axes=axes), len(new), told, groups.fill, marks.deeper)
            self._facts = facts.held_at(self.path)

    def _in_work(self) -> bool:
        """Whether any process, this one among them, is computing a task of the store."""
        for lock in (self.path / "claims").glob("*.lock"):
            claim = TaskLock.take(lock)
            if claim is None:
                return True
            claim.release()
        return False

    def _fit(self) -> None:
        """Give the store's axes the values of this sweep that they lack."""
        axes = {name: tuple(values) for name, values in self._facts["axes"].items()}
        wanted = facts.joined(self.path, axes, self._asked(axes))
        if wanted != axes:
            with compact.alone(self.path):
                self._facts = facts.held_at(self.path)  # another's, perhaps
                axes = {name: tuple(values) for name, values in self._facts["axes"].items()}
                wanted = facts.joined(self.path, axes, self._asked(axes))
                shape = list(map(len, wanted.values()))
                read = sorted({*self._facts.get("data", ()), *self.facts.get("data", ())})
                self._facts |= {"axes": {k: list(v) for k, v in wanted.items()}} | ({"data": read} if read else {})
                before = self._facts.get("grown") or [list(map(len, axes.values()))]
                self._facts["grown"] = before if shape == before[-1] else [*before, shape]
                compact.extend(self.path, replace(self.layout, axes=wanted), axes, self._facts)

    def _asked(self, names: Iterable[str]) -> dict[str, tuple[Any, ...]]:
        """What this sweep asks for of each axis of the store: its values, or the one that it holds fixed."""
        fixed = facts.fixed(self.facts)
        return {name: self.layout.axes.get(name, (fixed.get(name),)) for name in names}

    def _lay(self) -> None:
        """Find this sweep in the store as it is now."""
        self._stamp = facts.stamp(self.path)
        axes = {name: tuple(values) for name, values in self._facts["axes"].items()}
        self._whole = replace(self.layout, axes=axes)
        self._window = Window.of(axes, self.layout.axes, facts.fixed(self.facts))
        self._arrays = groups.opened(self.path, self._whole)
        self._copy = compact.Copy.at(self.path)
        self.marks.clear()
        self._finished.clear()
        self._take_copy()

    def _settle(self) -> None:
        """Take in a dimension that another process has given the store since."""
        if (stamp := facts.stamp(self.path)) in (None, self._stamp):
            return
        found = facts.held_at(self.path)
        if list(found["axes"]) != list(self._facts["axes"]):
            self._facts = found
            self._lay()
        self._stamp = stamp

    def _there(self, place: Place) -> Place:
        return self._window.there(place)

    def _here(self, there: Place) -> Place | None:
        """The sweep's place of a member of the store; None where the sweep does not ask for it."""
        return self._window.here(there)

    def _name(self, places: Sequence[Place]) -> str:
        return f"{marks.key([self._there(place) for place in places])}.json"

    def generation(self, places: Sequence[Place]) -> int:
        """How often the store had grown when a job's first member found room in it.

        Members of one generation are grouped among themselves, so that a store that grows, or is killed over it,
        computes each in the company in which it would have been anyway.
        """
        sizes = self._facts.get("grown") or [self._whole.shape]
        return min(
            next(
                (g for g, size in enumerate(sizes) if all(i < n for i, n in zip(there, size, strict=True))), len(sizes)
            )
            for there in map(self._there, places)
        )
