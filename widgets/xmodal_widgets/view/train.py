"""Training the setting that the controls show: in a background thread, with progress and cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .grid import Grid

if TYPE_CHECKING:
    import xarray as xr

Compute = Callable[[dict[str, Any], Callable[..., None], Callable[[], bool]], Mapping[str, Any]]

# A browser needs no more than this many progress messages a second (ours).
RATE = 10.0


class Cancelled(Exception):  # not an error: the reader's wish
    """Raised inside ``progress`` once the reader has cancelled, to leave a compute that does not ask."""


class Host(Protocol):
    """What a trainer needs of the view it trains for."""

    cube: xr.Dataset
    _grid: Grid
    _job: dict[str, Any]

    def _join(self, dataset: xr.Dataset) -> None: ...

    def show_error(self, error: BaseException, remedy: str = "") -> None:
        """Show an exception in the view's error box."""


class Trainer:
    """Runs ``compute`` for one view, one setting at a time."""

    def __init__(self, view: Host, compute: Compute | None) -> None:
        self._view = view
        self._compute = compute
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, state: Mapping[str, Any]) -> None:
        """Start on the setting of ``state``; a control on "mean" trains each of its values in turn."""
        if self._compute is None:
            raise ValueError("this view cannot train; make it with SweepView(cube, compute=your_function).")
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise RuntimeError("this view is training already; wait, or cancel first.")
            self._stop.clear()
            settings = self._settings(state)
            self._report(0.0, "starting")
            self._thread = threading.Thread(target=self._run, args=(settings,), daemon=True, name="xmodal-train")
            self._thread.start()

    def cancel(self) -> None:
        """Ask the running compute to stop."""
        self._stop.set()

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def _settings(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        dims = self._view._grid.dims
        settings: list[dict[str, Any]] = [{}]
        for name in (n for n in state if n in dims):
            averaged = state[name] == "mean" and dims[name].index("mean") is None
            values = dims[name].values if averaged else (state[name],)
            settings = [{**setting, name: value} for setting in settings for value in values]
        return settings

    def _run(self, settings: list[dict[str, Any]]) -> None:
        done = 0
        try:
            for setting in settings:
                if self._stop.is_set():
                    break
                result = self._compute(dict(setting), self._progress(done, len(settings)), self._stop.is_set)  # type: ignore[misc]
                if self._stop.is_set() and result is None:
                    break
                self._view._join(joined(self._view.cube, setting, result))
                done += 1
            self._finish(f"cancelled after {done} of {len(settings)}" if self._stop.is_set() else "done")
        except Cancelled:
            self._finish(f"cancelled after {done} of {len(settings)}")
        except Exception as error:
            self._finish("failed")
            self._view.show_error(error, "while training here; correct the function given as compute= and try again")

    def _progress(self, done: int, total: int) -> Callable[..., None]:
        last = 0.0

        def progress(share: float, message: str = "") -> None:
            nonlocal last
            if self._stop.is_set():
                raise Cancelled
            now = time.monotonic()
            if now - last >= 1 / RATE or share >= 1:
                last = now
                at = f"{done + 1} of {total}" if total > 1 else ""
                self._report((done + min(1.0, max(0.0, float(share)))) / total, ", ".join(filter(None, [at, message])))

        return progress

    def _report(self, share: float, message: str) -> None:
        self._view._job = {"possible": True, "running": True, "share": share, "message": message}

    def _finish(self, message: str) -> None:
        self._view._job = {"possible": True, "running": False, "share": 1.0, "message": message}


def joined(cube: xr.Dataset, setting: Mapping[str, Any], result: Any) -> xr.Dataset:
    """``cube`` with ``result`` at ``setting``; a value that is new on an axis gets a place on it.

    Raises:
        TypeError: ``result`` is not a dict.
        ValueError: an unknown variable, or an array of the wrong shape.
    """
    if not isinstance(result, Mapping) or not result:
        raise TypeError(f"compute must return a dict such as {{'loss': array}}, got {type(result).__name__}.")
    for name in result:
        if name not in cube.data_vars:
            known = ", ".join(repr(str(v)) for v in cube.data_vars)
            raise ValueError(f"compute returned {name!r}, which is no variable of the cube; known: {known}.")
    grown = _with_places(cube, setting)
    for name, value in result.items():
        var = grown[name]
        here = {dim: _match(grown, dim, setting[dim]) for dim in var.dims if dim in setting}
        rest = [dim for dim in var.dims if dim not in setting]
        array = np.asarray(getattr(value, "values", value), dtype=float)
        if hasattr(value, "dims") and set(value.dims) == set(rest):
            array = np.asarray(value.transpose(*rest).values, dtype=float)
        shape = tuple(grown.sizes[dim] for dim in rest)
        if array.shape != shape:
            raise ValueError(
                f"compute returned {name!r} of shape {array.shape}, expected {shape} for the dimensions {tuple(rest)}."
            )
        place = tuple(here[dim] if dim in here else slice(None) for dim in var.dims)
        values = var.values.astype(float) if var.dtype.kind in "iub" else var.values.copy()
        values[place] = array
        grown[name] = (var.dims, values, var.attrs)
    return grown


def _with_places(cube: xr.Dataset, setting: Mapping[str, Any]) -> xr.Dataset:
    grown = cube.copy()
    for dim, value in setting.items():
        if dim in grown.coords and _match(grown, dim, value) is None:
            attrs = grown[dim].attrs
            grown = grown.reindex({dim: np.sort(np.append(grown[dim].values, value))})
            grown[dim].attrs.update(attrs)
    return grown


def _match(cube: xr.Dataset, dim: str, value: Any) -> int | None:
    if dim not in cube.coords:
        return int(value)
    values = cube[dim].values
    same = (
        np.isclose(values, value, rtol=1e-9, atol=1e-12)
        if values.dtype.kind == "f"
        else values.astype(str) == str(value)
    )
    found = np.flatnonzero(same)
    return int(found[0]) if len(found) else None
