"""What is known by name: the lab's own, what installed packages announce, and anything at "package.module:NAME".

A package of one's own announces things by entry points, and needs no edit of this one:

    [project.entry-points."xmodal_lab.experiments"]
    mine = "my_package.rows:EXPERIMENT"

The groups are ``xmodal_lab.experiments``, ``.terms``, ``.looks``, ``.claims``, ``.explorers`` and ``.papers``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any


@dataclass(frozen=True)
class Registry:
    """Things of one kind.

    Attributes:
        what: one of them, in words: "experiment"; its plural names the group of entry points.
        known: of the lab itself, name -> thing, or where it stands, "module:NAME".
    """

    what: str
    known: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Of the entry points."""
        return f"xmodal_lab.{self.what.removesuffix('s')}s"

    def announced(self) -> dict[str, EntryPoint]:
        """What installed packages announce, by name.

        Raises:
            ValueError: a name that is taken, by the lab or by another package.
        """
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            other = found.get(point.name)
            if point.name in self.known or (other is not None and other.value != point.value):
                by = "this package" if other is None else repr(other.value)
                raise ValueError(
                    f"the {self.what} {point.name!r} of {point.value!r} has a name that is taken, by {by}; rename it "
                    f"among the entry points of its package (group {self.group!r})."
                )
            found[point.name] = point
        return found

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted({*self.known, *self.announced()})

    def get(self, asked: str) -> Any:
        """What is called ``asked``, or stands at "package.module:NAME".

        Raises:
            ValueError: an unknown name, nothing at that place, a name that two things claim.
        """
        if ":" in asked:
            return self._at(asked, asked)
        if asked in self.known:
            held = self.known[asked]
            return self._at(held, asked) if isinstance(held, str) else held
        announced = self.announced()
        if asked not in announced:
            names = ", ".join(sorted({*self.known, *announced}))
            raise ValueError(
                f"unknown {self.what} {asked!r}; choose one of {names}, give the thing itself, or its place as "
                f'"package.module:NAME".'
            )
        return self._at(announced[asked].value, asked)

    def _at(self, place: str, asked: str) -> Any:
        module, _, path = place.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for name in filter(None, path.split(".")):
                found = getattr(found, name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"there is no {self.what} at {asked!r}: {error}.") from None
        return found
