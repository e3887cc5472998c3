"""What is known so far of a setting that is being computed, as a message to the browser; the cube stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import Grid
from .joining import joined, used_dims, with_places
from .opened import dims_of

if TYPE_CHECKING:
    import xarray as xr

Message = tuple[dict[str, Any], list[bytes]]


@dataclass
class Draft:
    """What is known so far of one setting, and the cube with room for it."""

    setting: Mapping[str, Any]
    found: dict[str, Any] = field(default_factory=dict)
    places: Mapping[str, Any] = field(default_factory=dict)
    cube: xr.Dataset | None = None

    def grown(self, cube: xr.Dataset, found: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """What is to be sent once ``found`` is known too; all of it, and True, where the cube needs other places."""
        self.found |= found
        places = {d: self.setting[d] for d in used_dims(cube, self.setting, self.found)}
        whole = self.cube is None or set(places) != set(self.places)
        if whole:
            self.places, self.cube = places, with_places(cube, places)[0]
        return (self.found if whole else dict(found)), whole

    def message(
        self, cube: xr.Dataset, known: Grid, layout: Mapping[str, Any], found: Mapping[str, Any], number: int
    ) -> Message:
        """What the browser is told of ``found``: draft ``number``, over the ``known`` cube with its ``layout``."""
        new, whole = self.grown(cube, found)
        grid = Grid.of(joined(self.cube[list(new)], self.setting, new))  # type: ignore[index]
        at = {name: value for name, value in self.setting.items() if name in grid.dims}
        slabs = grid.slabs(list(new), at, {n: dims_of(v) for n, v in new.items()})
        message: dict[str, Any] = {
            "kind": "draft",
            "version": layout["version"],
            "number": number,
            "slabs": [{"name": name, "at": place, "size": values.size} for name, place, values in slabs],
        }
        if whole:
            room = Grid.of(self.cube)
            kept = {k: layout[k] for k in ("quantiles", "id", "version")}
            message |= {"layout": {**room.layout(), **kept}, "new": room.since(known)}
        # What is still to come is no gap to be bridged: a curve ends where its training stands.
        numbers = [np.where(np.isnan(values), np.inf, values) for _, _, values in slabs]
        return message, [b"".join(values.astype("<f4").tobytes() for values in numbers)]
