"""A variable over one dimension: as lines, as bars, as a spectral density."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..grid import Grid, one_of
from .view import View


@dataclass(frozen=True)
class _Series(View):
    """A variable over one dimension.

    Args:
        var: the variable.
        x: the dimension along the horizontal axis.
        hue: one colour per value of this dimension.
        band: average over this dimension (seeds) and show the 95 % interval of the mean (Student t).
        col: one panel per value of this dimension, all on one scale.
        log: open with a log10 scale; the reader can switch.
        fit: open with the scale fitted to what is shown, not to the whole cube; the reader can switch.
        limits: (low, high) of the vertical axis.
        title: what stands above the panel; the variable's name by default.
        floor: a variable with the dimension ``x``, drawn dashed and grey beside: what a measurement of nothing reads.
        versus: ``{"target": "zero"}``: draw each value less the one there, of the same seed; the band is that of the
            paired differences. Its dimension is ``hue`` or ``x``.
        absent: what the panel says where a setting was computed and the variable has no value there.
    """

    var: str
    x: str
    hue: str | None = None
    band: str | None = None
    col: str | None = None
    log: bool = False
    fit: bool = False
    limits: tuple[float, float] | None = None
    title: str | None = None
    floor: str | None = None
    versus: Mapping[str, Any] | None = None
    absent: str | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The values, and their floor."""
        return (self.var,) if self.floor is None else (self.var, self.floor)

    def own_axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions that the values must have; the floor needs x alone."""
        return super().axes(grid)

    def check(self, grid: Grid) -> None:
        """Compare with the cube.

        Raises:
            ValueError: ``versus`` names no value of ``hue`` or ``x``; a floor without the dimension ``x``.
        """
        super().check(grid)
        if self.floor is not None:
            one_of(f"dimension of floor={self.floor!r}", self.x, grid.axes[self.floor])
        if self.versus is None:
            return
        if not isinstance(self.versus, Mapping) or len(self.versus) != 1:
            raise ValueError(
                f"versus names one dimension and its reference, {{'target': 'zero'}}, got {self.versus!r}."
            )
        ((name, value),) = self.versus.items()
        one_of(f"dimension in versus of the {type(self).__name__} view", name, [d for d in (self.hue, self.x) if d])
        if grid.dims[name].index(value) is None:
            raise ValueError(f"versus: {name}={value!r} is not on the grid; choose one of {grid.dims[name].listed()}.")

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it, with the reference as the grid writes it."""
        spec = super().spec(grid)
        if self.versus is not None:
            ((name, value),) = self.versus.items()
            spec["versus"] = {name: grid.dims[name].values[grid.dims[name].index(value) or 0]}
        return spec


@dataclass(frozen=True)
class Lines(_Series):
    """Lines over a numeric dimension, with a mark on each computed point."""

    kind: ClassVar[str] = "lines"

    def numeric_axes(self) -> tuple[str, ...]:
        """The horizontal axis."""
        return (self.x,)


@dataclass(frozen=True)
class Density(_Series):
    """A spectral density over a symmetric-log axis, λ = scale · sinh(u): bulk, outliers and negative end at once.

    Values are densities per unit of u, as :func:`xmodal_lab.look` gives them, so that equal areas are equal shares of
    the eigenvalues.

    Args:
        x: the dimension of λ.
        marks: a variable of leading eigenvalues, such as ``eigenvalue`` (k), marked on the axis.
        along: the dimension that counts them; the last of ``marks`` by default.
        scale: where the axis turns from linear to logarithmic (0.1, that of the grid of ``look``).
    """

    kind: ClassVar[str] = "density"

    x: str = "lambda_"
    marks: str | None = None
    along: str | None = None
    scale: float = 0.1

    @property
    def variables(self) -> tuple[str, ...]:
        """The density, and the eigenvalues on its axis."""
        return super().variables if self.marks is None else (*super().variables, self.marks)

    def axes(self, grid: Grid) -> tuple[str, ...]:
        """The dimensions that it shows, with the one that counts eigenvalues."""
        return super().axes(grid) if self.marks is None else (*super().axes(grid), self.counted(grid))

    def own_axes(self, grid: Grid) -> tuple[str, ...]:
        """Those that the density itself must have."""
        return super().axes(grid)

    def counted(self, grid: Grid) -> str:
        """The dimension that counts the marked eigenvalues."""
        own = grid.axes[str(self.marks)]
        if self.along is None:
            return own[-1]
        return one_of(f"dimension of {self.marks!r} in the Density view", self.along, own)

    def numeric_axes(self) -> tuple[str, ...]:
        """The axis of λ."""
        return (self.x,)

    def check(self, grid: Grid) -> None:
        """Compare with the cube.

        Raises:
            ValueError: eigenvalues without a dimension that counts them, a scale that is not above 0.
        """
        if not isinstance(self.scale, int | float) or not 0 < self.scale < math.inf:
            raise ValueError(f"scale of the Density view must be a number above 0, got {self.scale!r}.")
        if self.versus is not None:
            raise ValueError(
                "a Density view has no versus: differences of densities are not densities; pin one instead."
            )
        super().check(grid)
        if self.marks is None:
            return
        if not grid.axes[self.marks]:
            raise ValueError(f"marks={self.marks!r} is a single number; it needs a dimension that counts eigenvalues.")
        one_of(f"dimension of {self.marks!r} in the Density view", self.counted(grid), grid.axes[self.marks])
        if self.counted(grid) in self.own_axes(grid):
            raise ValueError(f"along={self.counted(grid)!r} is an axis of the density; name what counts eigenvalues.")

    def spec(self, grid: Grid) -> dict[str, Any]:
        """The view as the browser reads it, with the inferred dimension."""
        label = "λ" if grid.dims[self.x].label == "lambda_" else grid.dims[self.x].label
        return {**super().spec(grid), "along": None if self.marks is None else self.counted(grid), "label": label}


@dataclass(frozen=True)
class Bars(_Series):
    """Bars over the values of a dimension."""

    kind: ClassVar[str] = "bars"
