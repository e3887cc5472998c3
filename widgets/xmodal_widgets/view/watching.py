"""Watching a store that another process fills: look whether it has changed, and read it again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .joining import WHY

if TYPE_CHECKING:
    import xarray as xr


def opened(store: str | Path) -> xr.Dataset:
    """The cube in a store as it is now: NaN where no member is finished.

    Raises:
        ValueError: there is no store.
    """
    import xarray as xr

    from xmodal_lab.sweeps.facts import why_at  # at use: a view needs no torch

    path = Path(store)
    if not (path / "zarr.json").is_file():
        raise ValueError(f"there is no store at {str(store)!r}; name the folder that a sweep was given as store=.")
    cube = xr.open_zarr(path, chunks=None).load()
    cube.encoding["source"] = str(path)
    if why := why_at(path):
        cube.attrs[WHY] = json.dumps(why, ensure_ascii=False)
    return cube


def stamp(path: Path) -> Any:
    """Changes when a member is finished or the store grows; None while its folder is being renamed."""
    try:
        return (
            (path / "zarr.json").stat().st_mtime_ns,
            (path / "done").stat().st_mtime_ns,
            (path / "done").stat().st_ino,
        )
    except FileNotFoundError:
        return None


class Watcher:
    """Calls ``changed(cube)`` whenever the store at ``path`` has, until it is stopped.

    Args:
        path: of the store.
        every: seconds between two looks.
        changed: takes the cube, on a thread of the watcher's own; what it raises is given to ``failed``.
        failed: takes an exception; the watcher goes on.
        seen: the :func:`stamp` of what is known already.
    """

    def __init__(
        self, path: Path, every: float, changed: Callable[[xr.Dataset], None], failed: Callable[[Exception], None],
        seen: Any = None,
    ) -> None:  # fmt: skip
        self._path, self._every, self._changed, self._failed = path, every, changed, failed
        self._seen = seen
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xmodal-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when the last look is over."""
        self._stopped.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            now = stamp(self._path)
            if now in (None, self._seen):
                continue
            try:
                self._changed(opened(self._path))
                self._seen = now
            except Exception as error:  # a store that is just growing, or a view that does not fit: tell, look again
                self._seen = now
                self._failed(error)
