"""The side of a view that its trainer sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .grid import Grid
from .opened import fixed_settings


class ViewHost:
    """A :class:`~xmodal_widgets.SweepView` as the :class:`~xmodal_widgets.view.train.Host` of its trainer."""

    def __init__(self, view: Any) -> None:
        self._view = view

    def grid(self) -> Grid:
        """The cube as it is now."""
        grid: Grid = self._view._grid
        return grid

    def fixed(self) -> Mapping[str, Any]:
        """The settings that were the same for the whole cube."""
        return fixed_settings(self._view.cube)

    def drawn(self) -> tuple[str, ...]:
        """The dimensions that are settings of the experiment and have no control."""
        settings = getattr(self._view._experiment, "defaults", ())
        return tuple(name for name in self._view._grid.dims if name in settings)

    def known(self, setting: Mapping[str, Any]) -> bool:
        """Whether the cube holds a result for this setting."""
        return bool(self._view._grid.holds(setting, self._view._looked_at))

    def draft(self, setting: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Show what is known so far."""
        self._view._show_draft(setting, found)

    def drop(self) -> None:
        """Forget the draft."""
        self._view._drop_draft()

    def join(self, setting: Mapping[str, Any], result: Any) -> None:
        """Take a computed setting into the cube."""
        self._view._join(setting, result)

    def report(self, job: dict[str, Any]) -> None:
        """Tell the browser how far it is."""
        self._view._job = job

    def show_error(self, error: BaseException, remedy: str = "") -> None:
        """Show an exception in the view's error box."""
        self._view.show_error(error, remedy)
