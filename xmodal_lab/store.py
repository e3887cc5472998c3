"""A sweep on disk: a Zarr group that is filled member by member and survives being killed.

    dml.zarr/            a Zarr v3 group: xarray.open_zarr reads it at any time
      alpha/ seed/ …     coordinates
      accuracy/ …        one chunk per member, so that processes never write the same file
      done/              one small file per finished task, renamed into place after its chunks; holds their checksum
      claims/            a file lock per task in work; the system lets go of it when its holder dies

What has no file in ``done`` does not count, however much of it was written. So a run that
is killed between two writes or inside one loses what it was computing, and nothing else.
Nor does a member count that the disk gives back otherwise than it was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ._cubes import Arrays, Layout, Place, attributes, fact
from ._whole_files import beside, seal
from .experiments import as_json

FORMAT = 1
# Facts that must agree, and what to call them; then facts whose change is worth a warning.
IDENTITY = {
    "format": "store format", "experiment": "experiment", "xmodal_lab": "version of xmodal_lab",
    "version": "version of the experiment", "data": "fingerprint of its data", "defaults": "default",
    "settings": "fixed setting", "axes": "axis", "order": "order of axes", "variables": "variable",
}  # fmt: skip
ENVIRONMENT = ("torch", "numpy", "python", "device")
# A half-made store of a killed process is swept away after this many seconds (ours).
STALE = 3600
# What Zarr raises over a chunk that is cut short or whose bits have changed.
DAMAGE = (ValueError, RuntimeError)
REMEDY = "Name another store=, or delete this folder to begin anew."


class StoreError(ValueError):
    """The store cannot serve this sweep; the message says why and what to do."""


@dataclass(frozen=True)
class Mark:
    """What stands in ``done`` for one task: its places, seconds, and reasons of members that diverged."""

    places: tuple[Place, ...]
    seconds: float
    failed: Mapping[Place, str] = field(default_factory=dict)
    data: str = ""  # checksum of what was computed; empty in stores of earlier versions

    def dumps(self) -> str:
        """As JSON, with a checksum of its own."""
        failed = {json.dumps(place): reason for place, reason in self.failed.items()}
        raw = {"places": self.places, "seconds": self.seconds, "failed": failed, "data": self.data}
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
            return cls(tuple(tuple(p) for p in raw["places"]), raw["seconds"], failed, raw.get("data", ""))
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
    ) -> None:
        self.path = Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)  # a link stays where it is
        self.layout = layout
        described = {name: {"dims": dict(v.dims), "dtype": v.dtype} for name, v in layout.variables.items()}
        self.facts = as_json(
            {"format": FORMAT, **identity, "axes": layout.axes, "order": list(layout.axes), "variables": described}
        )
        self.marks: dict[str, Mark] = {}
        self._held: list[Claim] = []
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"the store {self.path} is a file; name a folder, such as runs/name.zarr.")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            self._create(environment, story or {})
        self._check(environment)
        self._arrays = self._open()
        self.refresh()

    # -- what is there ---------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look for tasks that were finished since the last look, by this process or another."""
        for path in (self.path / "done").iterdir():
            if path.suffix == ".json" and path.name not in self.marks:
                with contextlib.suppress(ValueError, FileNotFoundError):  # damaged: its task is not finished
                    self.marks[path.name] = Mark.loads(path.read_text(encoding="utf-8"))

    def finished(self) -> set[Place]:
        """Places of all members that count as computed."""
        return {place for mark in self.marks.values() for place in mark.places}

    def failed(self) -> dict[Place, str]:
        """Members that diverged, and why."""
        return {place: reason for mark in self.marks.values() for place, reason in mark.failed.items()}

    def seconds(self) -> float:
        """Time that went into all finished members, over all runs and workers."""
        return sum(mark.seconds for mark in self.marks.values())

    def read(self, places: Iterable[Place]) -> Arrays:
        """All variables, NaN everywhere but at ``places``; also where a chunk is damaged."""
        arrays = self.layout.empty()
        wanted = set(places)
        whole = len(wanted) == int(np.prod(self.layout.shape))
        for name, array in self._arrays.items():
            with contextlib.suppress(*DAMAGE):
                if whole:
                    arrays[name][...] = array[...]
                    continue
            for place in wanted:  # chunks of unfinished members may be cut off: they are not looked at
                with contextlib.suppress(*DAMAGE):
                    arrays[name][place] = array[place]
        return arrays

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
            computed = [place for place in mark.places if place not in mark.failed]
            if not mark.data or not seen.issuperset(mark.places):
                continue
            if mark.data == _checksum(computed, lambda name, place: arrays[name][place], self.layout):
                continue
            lost |= set(mark.places)
            del self.marks[name]
            if claim := self.claim(mark.places):  # else another process has noticed, and is at it
                path = self.path / "done" / name
                with contextlib.suppress(ValueError, FileNotFoundError):
                    if Mark.loads(path.read_text(encoding="utf-8")) == mark:
                        path.unlink()
                claim.release()
        return lost

    # -- writing ---------------------------------------------------------------------------------

    def write(self, results: Sequence[tuple[Sequence[Place], Arrays | str]], seconds: float) -> None:
        """Write the members of one task, all or none.

        Args:
            results: (places, arrays) of each computed member, or (places, reason) of one that diverged.
            seconds: what the task took.
        """
        failed: dict[Place, str] = {}
        computed: dict[Place, Arrays] = {}
        for places, arrays in results:
            for place in places:
                if isinstance(arrays, str):
                    failed[place] = arrays
                    continue
                computed[place] = arrays
                for name, array in self._arrays.items():
                    array[place] = arrays[name]
        data = _checksum(computed, lambda name, place: computed[place][name], self.layout)
        mark = Mark(tuple(p for places, _ in results for p in places), seconds, failed, data)
        name = f"{_key(mark.places)}.json"
        with beside(self.path / "done" / name) as unfinished:
            unfinished.write_text(mark.dumps(), encoding="utf-8")
        self.marks[name] = mark

    def claim(self, places: Sequence[Place]) -> Claim | None:
        """The right to compute a task; None while another process is at it."""
        self._held = [claim for claim in self._held if claim.file is not None]
        return Claim.take(self.path / "claims" / f"{_key(places)}.lock", self._held)

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
            self._fill(unfinished, told)
            unfinished.rename(self.path)
        except BaseException as error:
            for _ in range(3):  # Zarr's other threads may still be writing into it
                shutil.rmtree(unfinished, ignore_errors=True)
                time.sleep(0.05)
            if not isinstance(error, OSError) or not (self.path / "zarr.json").is_file():
                raise
            # else another process was first; its store is checked like any other

    def _fill(self, folder: Path, told: Mapping[str, Any]) -> None:
        """An empty group with all arrays and coordinates."""
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec

        codecs = [ZstdCodec(), Crc32cCodec()]  # whoever reads it, by whatever program, notices a damaged chunk
        group = zarr.open_group(folder, mode="w", zarr_format=3, attributes=dict(told))
        for name, variable in self.layout.variables.items():
            chunks = (*[1] * len(self.layout.axes), *(max(1, n) for n in variable.shape))
            group.create_array(
                name, shape=(*self.layout.shape, *variable.shape), chunks=chunks, dtype=variable.dtype,
                fill_value=float("nan"), dimension_names=self.layout.dims(name),
                attributes=self.layout.words(name), compressors=codecs,
            )  # fmt: skip
        for name, values in self.layout.coordinates().items():
            array = group.create_array(
                name, shape=values.shape, dtype=str if values.dtype.kind == "U" else values.dtype,
                dimension_names=(name,), attributes=self.layout.words(name), compressors=codecs,
            )  # fmt: skip
            array[...] = values.astype(object) if values.dtype.kind == "U" else values
        with (
            warnings.catch_warnings()
        ):  # zarr says that other readers may not know consolidated metadata; they need not
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(folder)
        (folder / "done").mkdir()
        (folder / "claims").mkdir()

    def _open(self) -> dict[str, Any]:
        """The arrays of the variables."""
        import zarr

        try:
            group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            arrays = {name: group[name] for name in self.layout.variables}
            for name, variable in self.layout.variables.items():
                if (arrays[name].shape, arrays[name].dtype) != ((*self.layout.shape, *variable.shape), variable.dtype):
                    raise ValueError(f"{name!r} has another shape or type than its sweep")
        except OSError:
            raise
        except Exception as error:  # whatever Zarr says of damaged metadata
            raise StoreError(f"the store {self.path} is damaged ({error}). {REMEDY}") from None
        return arrays

    def _check(self, environment: Mapping[str, str]) -> None:
        try:
            held = json.loads((self.path / "zarr.json").read_text(encoding="utf-8"))
            found = dict(fact(held["attributes"]["xmodal_sweep"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            found = None
        if not isinstance(found, dict):
            raise StoreError(f"{self.path} is not the store of a sweep. {REMEDY}")
        for key, what in IDENTITY.items():
            theirs, ours = found.get(key), self.facts.get(key)
            if theirs == ours:
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


@dataclass(eq=False)
class Claim:
    """A lock on one task, held while it is computed. Where the file system has no locks, everyone gets one."""

    path: Path
    file: TextIO | None = None

    @classmethod
    def take(cls, path: Path, held: list[Claim] | None = None) -> Claim | None:
        """The claim, or None if another holds it; noted in ``held`` before it is taken."""
        claim = cls(path)
        if held is not None:
            held.append(claim)
        return claim if claim._locked() else None

    def _locked(self) -> bool:
        try:
            import fcntl
        except ImportError:  # Windows: work may be done twice, never lost
            return True
        self.file = self.path.open("w", encoding="utf-8")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            self.file = None
            return not isinstance(error, BlockingIOError)  # else a network file system without locks
        return True

    def release(self) -> None:
        """Let go."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        if self.file is not None:
            self.file.close()
            self.file = None


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
