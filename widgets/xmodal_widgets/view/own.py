"""A panel of one's own: a small drawing function, in JavaScript or by Matplotlib. ``docs/own_panels.md`` shows both."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .grid import Dim, Grid, listed, one_of
from .kinds import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST = 100_000  # letters of a drawing function; more is a program (ours)


@dataclass(frozen=True)
class Shown:
    """What a Matplotlib function of one's own draws: the part of the cube that the controls choose."""

    grid: Grid
    setting: Mapping[str, Any]
    over: tuple[str, ...]

    def values(self, name: str) -> np.ndarray:
        """The numbers of a variable at the setting, over those of the dimensions ``over`` that it has."""
        return self.grid.take(name, self.setting, self.over)

    def dim(self, name: str) -> Dim:
        """A dimension: its ``values``, ``label`` and ``units``."""
        return self.grid.dims[one_of("dimension", name, tuple(self.grid.dims))]

    def label(self, name: str) -> str:
        """A variable or dimension as an axis writes it."""
        return self.grid.named(name)


@dataclass(frozen=True)
class Own(View):
    """A panel of one's own.

    Args:
        var: the variable, or several, that it draws.
        over: their dimensions that it shows itself; all others become controls.
        js: a JavaScript function ``(p) => {...}`` as text, or the path of a file that has one after ``export default``.
            It draws on ``p.ctx`` and is called whenever what it shows has changed.
        matplotlib: ``function(axis, shown)`` on Matplotlib axes, with ``shown.values(name)``: the static picture;
            without ``js`` also the live one, which the kernel then draws whenever a control rests.
        title: what stands above the panel.

    Raises:
        TypeError: neither ``js`` nor ``matplotlib``, or something else than a text, a path, a function.
        ValueError: a file that is not there, an empty or endless text, one that would end the page's script.

    Example:
        >>> import xarray as xr
        >>> from xmodal_widgets import Own, SweepView
        >>> cube = xr.DataArray([[1.0, 0.5], [0.8, 0.3]], {"alpha": [0, 1], "x": [1, 2]}, name="loss")
        >>> panel = Own("loss", over="x", js="(p) => p.text(`${p.values('loss')[0]}`, p.width / 2, p.height / 2)")
        >>> SweepView(cube, panel).state["alpha"]
        0
    """

    kind: ClassVar[str] = "own"

    var: str | tuple[str, ...]
    over: str | tuple[str, ...] = ()
    js: str | Path | None = None
    matplotlib: Callable[[Axes, Shown], Any] | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        if self.js is None and self.matplotlib is None:
            raise TypeError(
                "a panel of one's own needs a drawing function: js='(p) => {...}' (text or a .js file), or "
                "matplotlib=function(axis, shown); docs/own_panels.md shows both."
            )
        if self.matplotlib is not None and not callable(self.matplotlib):
            raise TypeError(f"matplotlib must be a function (axis, shown), got {type(self.matplotlib).__name__}.")
        if self.js is not None:
            self.code()
        if self.title is not None and not isinstance(self.title, str):
            raise TypeError(f"title must be text, got {type(self.title).__name__}.")

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that it draws."""
        return (self.var,) if isinstance(self.var, str) else tuple(listed("var", self.var))

    def axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions that it shows itself."""
        return (self.over,) if isinstance(self.over, str) else tuple(listed("over", self.over))

    def own_axes(self, grid: Grid) -> tuple[str, ...]:
        """None that its first variable must have: each has those of ``over`` that it has."""
        return tuple(name for name in self.axes(grid) if name in grid.axes[self.variables[0]])

    def check(self, grid: Grid) -> None:
        """Compare with the cube.

        Raises:
            ValueError: an unknown variable, or a dimension that none of the variables has.
        """
        if not self.variables:
            raise ValueError("var of the Own view is empty; name at least one variable of the cube.")
        super().check(grid)
        known = tuple(dict.fromkeys(dim for name in self.variables for dim in grid.axes[name]))
        for name in self.axes(grid):
            one_of(f"dimension of {', '.join(self.variables)} in the Own view", name, known)

    def code(self) -> str | None:
        """The JavaScript as one expression that gives the function; None without."""
        if self.js is None:
            return None
        text = _source(self.js)
        if re.search(r"</script|<!--", text, re.IGNORECASE):
            raise ValueError("js holds '</script' or '<!--', which would end the page's script; write '<\\/script'.")
        body, found = re.subn(r"^export default\s", "return ", text, count=1, flags=re.MULTILINE)
        return f"(() => {{\n{body}\n}})()" if found else f"(() => {{\nreturn (\n{text.rstrip().rstrip(';')}\n);\n}})()"

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it."""
        return {
            "kind": self.kind,
            "var": self.variables[0],
            "vars": list(self.variables),
            "over": list(self.axes(grid)),
            "title": self.title,
            "code": self.code(),
        }


def _source(js: object) -> str:
    """The JavaScript of a text or a file."""
    if isinstance(js, Path):
        if not js.expanduser().is_file():
            raise ValueError(f"js names the file {str(js)!r}, which is not there; give its path, or the text itself.")
        text = js.expanduser().read_text(encoding="utf-8")
    elif isinstance(js, str):
        text = js
    else:
        raise TypeError(f"js must be text or a pathlib.Path of a file, got {type(js).__name__}.")
    if not text.strip() or len(text) > LARGEST:
        raise ValueError(f"js must hold a function, 1 to {LARGEST} letters, got {len(text.strip())}.")
    if "=>" not in text and "function" not in text:
        hint = "; for a file, give pathlib.Path(...)" if text.strip().endswith(".js") else ""
        raise ValueError(f"js holds no function, got {text.strip()[:60]!r}; write '(p) => {{...}}'{hint}.")
    return text
