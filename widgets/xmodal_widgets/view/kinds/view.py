"""What every panel is: a small frozen description, checked against the cube before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ..grid import Grid, one_of

# More panels in a row than this are too small to read (ours).
MOST_PANELS = 12


@dataclass(frozen=True)
class View:
    """One view: a drawing of one variable, in one panel or in one per value of ``col``.

    ``grid`` is the cube as the browser gets it; a view is checked against it before it is drawn.
    """

    kind: ClassVar[str] = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables it reads; the first one carries the controls."""
        return (getattr(self, "var"),)  # noqa: B009

    def axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions it shows; all others of its variables become controls."""
        return tuple(v for name in ("x", "y", "hue", "band", "col") if (v := getattr(self, name, None)) is not None)

    def own_axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions that its first variable must have."""
        return self.axes(grid)

    def check(self, grid: Grid) -> None:
        """Compare with the cube.

        Raises:
            ValueError: an unknown variable or dimension, one used twice, limits upside down.
            TypeError: an axis that needs numbers is not numeric; ``absent`` is no sentence.
        """
        title = f"{type(self).__name__} view"
        for name in self.variables:
            one_of(f"variable in the {title}", name, tuple(grid.arrays))
        axes = self.own_axes(grid)
        for dim in axes:
            one_of(f"dimension of {self.variables[0]!r} in the {title}", dim, grid.axes[self.variables[0]])
        if missing := [name for name in ("x", "y") if getattr(self, name, "") is None]:
            raise TypeError(f"the {title} needs {' and '.join(missing)}, got None.")
        if len(set(axes)) != len(axes):
            raise ValueError(f"the {title} uses a dimension twice: {axes}; each may carry one role.")
        for name in self.numeric_axes():
            if not grid.dims[name].numeric:
                raise TypeError(
                    f"the {title} draws {name!r} as an axis of numbers, but it holds names; use Bars or col=."
                )
        col = getattr(self, "col", None)
        if col is not None and len(grid.dims[col].values) > MOST_PANELS:
            raise ValueError(
                f"col={col!r} would make {len(grid.dims[col].values)} panels, at most {MOST_PANELS} are readable; "
                f"leave it to a slider, or thin the cube along {col!r}."
            )
        absent = getattr(self, "absent", None)
        if not (absent is None or isinstance(absent, str)):
            raise TypeError(f"absent of the {title} must be a sentence or None, got {type(absent).__name__}.")
        limits = getattr(self, "limits", None)
        if limits is not None and not two_numbers(limits):
            raise ValueError(f"limits of the {title} must be (low, high) with low < high, got {limits!r}.")
        if limits is not None and getattr(self, "log", False) and limits[0] <= 0:
            raise ValueError(f"limits of a {title} on a log scale must be above 0, got {limits!r}.")

    def numeric_axes(self) -> tuple[str, ...]:
        """The axes that must be numbers."""
        return ()

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it."""
        return {"kind": self.kind, **asdict(self)}


def two_numbers(limits: object) -> bool:
    """Whether these are (low, high) with low < high."""
    if not isinstance(limits, Sequence) or len(limits) != 2:
        return False
    return all(isinstance(end, int | float) and math.isfinite(end) for end in limits) and limits[0] < limits[1]


def controls_of(view: View, grid: Grid) -> tuple[str, ...]:
    """The dimensions of the view's variables that it does not show: the reader chooses their values."""
    shown = view.axes(grid)
    found = dict.fromkeys(d for name in view.variables for d in grid.axes[name] if d not in shown)
    return tuple(found)
