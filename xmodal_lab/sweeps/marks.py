"""What stands in ``done/`` for a finished task of a store: which members, what they took, and the checksum of all."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..utils.files import seal
from .cubes import Layout, Place, Reasons

# How the reason begins of a member that raised, and was recorded as NaN.
RAISED = "raised "


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


def key(places: Sequence[Place]) -> str:
    """A name for a task: its first place, readable, and a hash of all."""
    first = "-".join(map(str, places[0])) or "0"
    return f"{first}.{hashlib.sha256(json.dumps(places).encode()).hexdigest()[:12]}"


def checksum(places: Iterable[Place], value: Callable[[str, Place], Any], layout: Layout) -> str:
    """CRC-32 of all variables of some members, in their order; every NaN counts as the same."""
    total = 0
    for place in places:
        for name, variable in layout.variables.items():
            raw = np.asarray(value(name, place), dtype=variable.dtype)
            total = zlib.crc32(np.where(np.isnan(raw), np.nan, raw).astype(variable.dtype).tobytes(), total)
    return f"{total:08x}"


def deeper(text: str, count: int) -> tuple[str, str]:
    """A mark of a store that gets ``count`` axes: the name of its file there, and its text.

    Raises:
        ValueError: it is damaged.
    """
    mark, more = Mark.loads(text), (0,) * count
    places = tuple((*place, *more) for place in mark.places)
    failed = {(*place, *more): why for place, why in mark.failed.items()}
    reasons = tuple((told, tuple((*place, *more) for place in at)) for told, at in mark.why)
    return f"{key(places)}.json", replace(mark, places=places, failed=failed, why=reasons).dumps()


def _tuples(places: Iterable[Iterable[int]]) -> tuple[Place, ...]:
    return tuple(tuple(place) for place in places)
