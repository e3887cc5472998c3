"""A view's error box: exceptions of callbacks, which ipywidgets drops, are shown where the reader looks."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

import traitlets


class ErrorBox(traitlets.HasTraits):  # type: ignore[misc]
    """What a widget with a ``state`` shows when a callback or a computation raises.

    Attributes:
        error: what the box shows; empty when there is none.
    """

    _error_of = ""  # whose error the box shows
    error = traitlets.Unicode("").tag(sync=True)

    def notify_change(self, change: Any) -> None:
        """Call the observers of a trait with ``change``; what one of them raises is shown in the view and raised on."""
        try:
            super().notify_change(change)
        except Exception as error:
            self._error_of = "observe"
            self.show_error(error, "in a callback of view.observe; correct it, run its cell again and move a control")
            raise
        if change["name"] == "state" and self._error_of == "observe":
            self.error, self._error_of = "", ""

    def guard(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a callback so that its exception shows in the view: ``view.observe(view.guard(fn), "state")``.

        ipywidgets drops exceptions of callbacks. The box names the exception and where it arose;
        the next call that succeeds clears it. For callbacks of other widgets too; also a decorator.
        """
        if not callable(fn):
            raise TypeError(f"guard wraps a function, got {type(fn).__name__}.")
        name = getattr(fn, "__name__", type(fn).__name__)

        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                self._error_of = name
                self.show_error(error, f"in your callback {name!r}; correct it, run its cell again and move a control")
                return None
            if self._error_of == name:
                self.error, self._error_of = "", ""
            return result

        return guarded

    def show_error(self, error: BaseException, remedy: str = "") -> None:
        """Show an exception in the view's error box: what, where, and what to do (``remedy``)."""
        where = "".join(traceback.format_exception(error)).strip()
        summary = " ".join(f"{type(error).__name__}: {error}".split())
        self.error = f"{summary} ({remedy})\n{where}" if remedy else f"{summary}\n{where}"
