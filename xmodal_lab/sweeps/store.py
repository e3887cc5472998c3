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
import hashlib
import json
import os
import platform
import shutil
import time
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.files import beside, seal, write_text
from ..utils.locks import TaskLock
from . import compact, window
from . import edited as _edited
from .cubes import Arrays, Layout, Place, Reasons, alike, attributes, fact, grouped, places_of
from .experiment import WHY, as_json
from .window import Window

FORMAT = 1
# Facts that must agree, and what to call them; then facts whose change is worth a warning.
IDENTITY = {
    "format": "store format", "experiment": "experiment", "xmodal_lab": "version of xmodal_lab",
    "version": "version of the experiment", "data": "fingerprint of its data", "defaults": "default",
    "variables": "variable",
}  # fmt: skip
ENVIRONMENT = ("torch", "numpy", "python", "device")
# A half-made store of a killed process is swept away after this many seconds (ours).
STALE = 3600
# What Zarr raises over a chunk that is cut short or whose bits have changed.
DAMAGE = (ValueError, RuntimeError)
REMEDY = "Name another store=, or delete this folder to begin anew."
# How the reason begins of a member that raised, and was recorded as NaN.
RAISED = "raised "
EDITED = (
    "If the edit changes no result, give accept_edited=True; if it does, raise the experiment's version= and name "
    "another store=."
)


class StoreError(ValueError):
    """The store cannot serve this sweep; the message says why and what to do."""


@dataclass(frozen=True)
class Mark:
    """What stands in ``done`` for one task: its places, seconds, reasons of members that diverged, and of NaN."""

    places: tuple[Place, ...]
    seconds: float
    failed: Mapping[Place, str] = field(default_factory=dict)
    data: str = ""  # checksum of what was computed; empty in stores of earlier versions
    why: tuple[tuple[Reasons, tuple[Place, ...]], ...] = ()  # variable -> why it is NaN, and where

    def dumps(self) -> str:
        """As JSON, with a checksum of its own."""
        failed = {json.dumps(place): reason for place, reason in self.failed.items()}
        raw = {"places": self.places, "seconds": self.seconds, "failed": failed, "data": self.data}
        raw |= {"why": self.why} if self.why else {}
        return json.dumps({**raw, "seal": seal(raw)})

    @classmethod
    def loads(cls, text: str) -> Mark:
        """From JSON.

        Raises:
            ValueError: it is damaged.
        """
        try:
            raw = json.loads(text)
            if raw.pop("seal", None) not in (None, seal(raw)):
                raise ValueError("the mark does not fit its checksum")
            failed = {tuple(json.loads(place)): reason for place, reason in raw["failed"].items()}
            why = tuple((dict(reasons), _tuples(places)) for reasons, places in raw.get("why", ()))
            return cls(_tuples(raw["places"]), raw["seconds"], failed, raw.get("data", ""), why)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no mark of a finished task: {error!r}") from None


class Store:
    """The store at ``path``; made if there is none, else checked against this sweep.

    Args:
        path: a folder; by custom it ends in ".zarr".
        layout: axes and variables.
        identity: facts that must agree with the store's, by the names in ``IDENTITY``.
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
                "format": FORMAT,
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
            raise StoreError(f"the store {self.path} is a file; name a folder, such as runs/name.zarr.")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            self._create(environment, story or {})
        self._facts = self._check(environment, accept_edited)
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
        return _checksum(computed, lambda name, place: arrays[name][place], self.layout)

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
            if self._stamp != _stamp(self.path):  # it has grown meanwhile
                return
            compact.clear(self.path)
            compact.write(self.path, self._whole, whole, list(self.marks), told)
            self._copy = compact.Copy.at(self.path)

    def tell_why(self) -> None:
        """Say in the store's attributes why variables are NaN, as :func:`why_at` finds it now."""
        found = attributes({WHY: why_at(self.path)})
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
            if mark.data == _checksum(
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
            if any(reason.startswith(RAISED) for reason in mark.failed.values()):
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
                    for name, array in self._arrays.items():
                        array[place] = arrays[name]
            data = _checksum(computed, lambda name, place: computed[place][name], self.layout)
            whole = tuple(self._there(p) for places, _ in results for p in places)
            mark = Mark(whole, seconds, failed, data, tuple(why))
            name = f"{_key(mark.places)}.json"
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

    def _create(self, environment: Mapping[str, str], story: Mapping[str, Any]) -> None:
        """Make the whole group beside its place and rename it there, so that it is never half made."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for old in self.path.parent.glob(f"{self.path.name}.*.part"):
            if time.time() - old.stat().st_mtime > STALE:
                shutil.rmtree(old, ignore_errors=True)
        unfinished = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}.part")
        told = attributes({**story, "xmodal_sweep": {**self.facts, "environment": dict(environment)}})
        try:
            _fill(unfinished, self.layout, told)
            unfinished.rename(self.path)
        except BaseException as error:
            for _ in range(3):  # Zarr's other threads may still be writing into it
                shutil.rmtree(unfinished, ignore_errors=True)
                time.sleep(0.05)
            if not isinstance(error, OSError) or not (self.path / "zarr.json").is_file():
                raise
            # else another process was first; its store is checked like any other

    def _open(self) -> dict[str, Any]:
        """The arrays of the variables."""
        import zarr

        try:
            group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            arrays = {name: group[name] for name in self.layout.variables}
            for name, variable in self.layout.variables.items():
                shape, axes = arrays[name].shape, len(self._whole.shape)
                room = len(shape) >= axes and all(a >= b for a, b in zip(shape, self._whole.shape, strict=False))
                if not room or (shape[axes:], arrays[name].dtype) != (variable.shape, variable.dtype):
                    raise ValueError(f"{name!r} has another shape or type than its sweep")
                if shape[:axes] != self._whole.shape:  # larger: whoever let it grow was killed before it counted
                    arrays[name] = _Part(arrays[name], self._whole.shape)
        except OSError:
            raise
        except Exception as error:  # whatever Zarr says of damaged metadata
            raise StoreError(f"the store {self.path} is damaged ({error}). {REMEDY}") from None
        return arrays

    def _check(self, environment: Mapping[str, str], accept_edited: bool = False) -> dict[str, Any]:
        """The facts of the store, if they are those of this sweep."""
        try:
            held = json.loads((self.path / "zarr.json").read_text(encoding="utf-8"))
            found = dict(fact(held["attributes"]["xmodal_sweep"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            found = None
        if not isinstance(found, dict):
            raise StoreError(f"{self.path} is not the store of a sweep. {REMEDY}")
        # A fixed setting may shape a variable (epochs, its curves): the setting is told, for that is what was given.
        *first, last = IDENTITY.items()
        for key, what in (*first, ("settings", "fixed setting"), last):
            theirs, ours = found.get(key), self.facts.get(key)
            if key == "settings":
                theirs, ours = self._fixed_in(found)
            if alike(theirs, ours) or (key == "data" and self._data_fit(found)):
                continue
            told = what, _short(theirs), _short(ours)
            if isinstance(theirs, dict) and isinstance(ours, dict):
                told = _difference(what, theirs, ours)
            raise StoreError(f"the store {self.path} has {told[0]} {told[1]}, this sweep has {told[2]}. {REMEDY}")
        then = found.get("environment", {})
        changed = [
            f"{k} {then.get(k)} → {environment.get(k)}" for k in ENVIRONMENT if then.get(k) != environment.get(k)
        ]
        if changed:
            warnings.warn(
                f"the store {self.path} was begun with another environment ({', '.join(changed)}): its older and newer "
                "members may differ by rounding.",
                UserWarning,
                stacklevel=4,
            )
        self._check_code(found, accept_edited)
        return found

    def _fixed_in(self, found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the store and this sweep hold fixed, of the settings that neither varies."""
        varied = {*found.get("axes", ()), *self.layout.axes}
        theirs, ours = ({n: v for n, v in _fixed(facts).items() if n not in varied} for facts in (found, self.facts))
        return theirs, ours

    def _data_fit(self, found: Mapping[str, Any]) -> bool:
        """Whether this sweep reads a part of the files that the store has read, or all of them and more."""
        theirs, ours = set(found.get("data") or ()), set(self.facts.get("data") or ())
        same = alike(found.get("axes"), self.facts["axes"])
        return not same and (theirs <= ours or ours <= theirs)

    def _check_code(self, found: dict[str, Any], accept: bool) -> None:
        """Refuse a store that was filled by other code; stores of earlier versions do not say by which."""
        then, now = found.get("code"), self.facts.get("code")
        same_python = found.get("environment", {}).get("python", "").split(".")[:2] == list(
            platform.python_version_tuple()[:2]
        )  # bytecode differs from one to the next
        if then is None or now is None or not same_python:
            return
        if edited := _edited.differing(then, now):
            named = ", ".join(f"`{name}`" for name in edited[:5])
            if not accept:
                raise StoreError(
                    f"the store {self.path} was filled by another version of the experiment's code: {named} "
                    f"{'have' if len(edited) > 1 else 'has'} been edited since. {EDITED}"
                )
            found["code"] = now
            self._put({"code": now})

    def unsteady(self, names: Iterable[str]) -> None:
        """Parts of the code that a sweep itself changes (a list that a member appends to) say nothing of an edit."""
        if (changed := dict.fromkeys(names, "")) and "code" in self._facts:
            self._facts["code"] = {**self._facts["code"], **changed}
            self._put({"code": self._facts["code"]})

    def _put(self, changes: Mapping[str, Any]) -> None:
        with compact.alone(self.path):
            compact.put_facts(self.path, compact.root(self.path), {**_facts_at(self.path), **changes})

    # -- this sweep's places and the store's -----------------------------------------------------

    def _deepen(self) -> None:
        """Give the store the axes of this sweep that it lacks: all that it holds stands at their fixed values."""
        if not any(name not in self._facts["axes"] for name in self.layout.axes):
            return
        with compact.alone(self.path):
            self._facts = found = _facts_at(self.path)  # another has done it, perhaps
            new = [name for name in self.layout.axes if name not in found["axes"]]
            if not new:
                return
            fixed = _fixed(found)
            for name in new:
                if fixed.get(name) is None:
                    raise StoreError(
                        f"the store {self.path} holds members without a value of {name!r} (None), which has no place "
                        f"on an axis. {REMEDY}"
                    )
            if self._in_work():
                raise StoreError(
                    f"another process is computing members of the store {self.path}; it can take the new axis "
                    f"{new[0]!r} once they are finished. Wait for it, or stop it, and call again."
                )
            held = {name: tuple(values) for name, values in found["axes"].items()}
            axes = {**held, **{name: (fixed[name],) for name in new}}
            _joined(self.path, axes, self._asked(axes))
            told = {**found, "axes": {k: list(v) for k, v in axes.items()}}
            told["settings"] = {k: v for k, v in found["settings"].items() if k not in new}
            before = found.get("grown") or [list(map(len, held.values()))]
            told["grown"] = [[*shape, *[1] * len(new)] for shape in before]
            window.deepen(self.path, replace(self.layout, axes=axes), len(new), told, _fill, _deeper)
            self._facts = _facts_at(self.path)

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
        wanted = _joined(self.path, axes, self._asked(axes))
        if wanted != axes:
            with compact.alone(self.path):
                self._facts = _facts_at(self.path)  # another's, perhaps
                axes = {name: tuple(values) for name, values in self._facts["axes"].items()}
                wanted = _joined(self.path, axes, self._asked(axes))
                shape = list(map(len, wanted.values()))
                read = sorted({*self._facts.get("data", ()), *self.facts.get("data", ())})
                self._facts |= {"axes": {k: list(v) for k, v in wanted.items()}} | ({"data": read} if read else {})
                before = self._facts.get("grown") or [list(map(len, axes.values()))]
                self._facts["grown"] = before if shape == before[-1] else [*before, shape]
                compact.extend(self.path, replace(self.layout, axes=wanted), axes, self._facts)

    def _asked(self, names: Iterable[str]) -> dict[str, tuple[Any, ...]]:
        """What this sweep asks for of each axis of the store: its values, or the one that it holds fixed."""
        fixed = _fixed(self.facts)
        return {name: self.layout.axes.get(name, (fixed.get(name),)) for name in names}

    def _lay(self) -> None:
        """Find this sweep in the store as it is now."""
        self._stamp = _stamp(self.path)
        axes = {name: tuple(values) for name, values in self._facts["axes"].items()}
        self._whole = replace(self.layout, axes=axes)
        self._window = Window.of(axes, self.layout.axes, _fixed(self.facts))
        self._arrays = self._open()
        self._copy = compact.Copy.at(self.path)
        self.marks.clear()
        self._finished.clear()
        self._take_copy()

    def _settle(self) -> None:
        """Take in a dimension that another process has given the store since."""
        if (stamp := _stamp(self.path)) in (None, self._stamp):
            return
        found = _facts_at(self.path)
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
        return f"{_key([self._there(place) for place in places])}.json"

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


def _fill(folder: Path, layout: Layout, told: Mapping[str, Any]) -> None:
    """An empty group with all arrays and coordinates."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    codecs = [ZstdCodec(), Crc32cCodec()]  # whoever reads it, by whatever program, notices a damaged chunk
    group = zarr.open_group(folder, mode="w", zarr_format=3, attributes=dict(told))
    for name, variable in layout.variables.items():
        chunks = (*[1] * len(layout.axes), *(max(1, n) for n in variable.shape))
        group.create_array(
            name, shape=(*layout.shape, *variable.shape), chunks=chunks, dtype=variable.dtype,
            fill_value=float("nan"), dimension_names=layout.dims(name),
            attributes=layout.words(name), compressors=codecs,
        )  # fmt: skip
    for name, values in layout.coordinates().items():
        array = group.create_array(
            name, shape=values.shape, dtype=str if values.dtype.kind == "U" else values.dtype,
            dimension_names=(name,), attributes=layout.words(name), compressors=codecs,
        )  # fmt: skip
        array[...] = values.astype(object) if values.dtype.kind == "U" else values
    with warnings.catch_warnings():  # zarr says that other readers may not know consolidated metadata; they need not
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(folder)
    (folder / "done").mkdir()
    (folder / "claims").mkdir()


@dataclass(frozen=True)
class _Part:
    """The part of an array that counts; the rest is room that nobody has asked for yet."""

    array: Any
    shape: tuple[int, ...]

    def __getitem__(self, place: Any) -> Any:
        return self.array[tuple(map(slice, self.shape))] if place is ... else self.array[place]

    def __setitem__(self, place: Any, value: Any) -> None:
        self.array[place] = value


def settled(path: Path, layout: Layout) -> Layout:
    """``layout`` with the values of its axes as a store at ``path`` has them, where they differ by rounding."""
    try:
        facts = _facts_at(path)
        fixed = {name: (value,) for name, value in _fixed(facts).items()}
        known = {name: tuple({**fixed, **facts["axes"]}.get(name, ())) for name in layout.axes}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return layout
    axes = {}
    for name, values in layout.axes.items():
        found = places_of(known[name], values)
        axes[name] = tuple(
            known[name][i] if i is not None and type(known[name][i]) is type(v) else v
            for i, v in zip(found, values, strict=True)
        )
    return replace(layout, axes=axes)


def _facts_at(path: Path) -> dict[str, Any]:
    """What the store at ``path`` says of its sweep."""
    return dict(fact(compact.root(path)["attributes"]["xmodal_sweep"]))


def _fixed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every setting that a sweep with these facts does not vary."""
    return {**facts.get("defaults", {}), **facts.get("settings", {})}


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes with the store's metadata; None while there are none."""
    try:
        found = (path / "zarr.json").stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def _deeper(text: str, count: int) -> tuple[str, str]:
    """A mark of a store that gets ``count`` axes: the name of its file there, and its text.

    Raises:
        ValueError: it is damaged.
    """
    mark, more = Mark.loads(text), (0,) * count
    places = tuple((*place, *more) for place in mark.places)
    failed = {(*place, *more): why for place, why in mark.failed.items()}
    reasons = tuple((told, tuple((*place, *more) for place in at)) for told, at in mark.why)
    return f"{_key(places)}.json", replace(mark, places=places, failed=failed, why=reasons).dumps()


def _joined(path: Path, held: Mapping[str, tuple[Any, ...]], asked: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """The axes of the store and, behind their values, those that a sweep asks for besides.

    Raises:
        StoreError: values of another type.
    """
    found = {}
    for name, values in held.items():
        new = [v for v, i in zip(asked[name], places_of(values, asked[name]), strict=True) if i is None]
        kinds = {type(v) for v in (*values, *new)}
        if kinds == {int, float} and isinstance(values[0], float):
            new, kinds = [float(v) for v in new], {float}
        if len(kinds) > 1:
            raise StoreError(
                f"axis {name!r} of the store {path} holds values of type {type(values[0]).__name__}, such as "
                f"{values[0]!r}; {new[0]!r} cannot join them. {REMEDY}"
            )
        found[name] = (*values, *new)
    return found


def why_at(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Why variables of the store at ``path`` are NaN, as :func:`~xmodal_lab.sweeps.cubes.grouped` tells it.

    Args:
        path: of a store, which may be filling.

    Returns:
        Variable -> reasons and where; nothing for a folder that is no store.
    """
    found: dict[Place, Reasons] = {}
    try:
        axes = _facts_at(path)["axes"]
        for name in compact.names(path / "done"):
            with contextlib.suppress(ValueError, FileNotFoundError):
                mark = Mark.loads((path / "done" / name).read_text(encoding="utf-8"))
                found |= {place: reasons for reasons, places in mark.why for place in places}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return grouped(axes, found)


def _tuples(places: Iterable[Iterable[int]]) -> tuple[Place, ...]:
    return tuple(tuple(place) for place in places)


def _checksum(places: Iterable[Place], value: Callable[[str, Place], Any], layout: Layout) -> str:
    """CRC-32 of all variables of some members, in their order; every NaN counts as the same."""
    total = 0
    for place in places:
        for name, variable in layout.variables.items():
            raw = np.asarray(value(name, place), dtype=variable.dtype)
            total = zlib.crc32(np.where(np.isnan(raw), np.nan, raw).astype(variable.dtype).tobytes(), total)
    return f"{total:08x}"


def _key(places: Sequence[Place]) -> str:
    """A name for a task: its first place, readable, and a hash of all."""
    first = "-".join(map(str, places[0])) or "0"
    return f"{first}.{hashlib.sha256(json.dumps(places).encode()).hexdigest()[:12]}"


def _difference(what: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, str, str]:
    """The first entry in which two dicts differ, as (what, theirs, ours)."""
    name = next(n for n in {**theirs, **ours} if n not in theirs or n not in ours or theirs[n] != ours[n])
    then, now = (_short(d[name]) if name in d else "none of that name" for d in (theirs, ours))
    return f"{what} {name!r} as", then, now


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
