"""Training the setting that the controls show: in a background thread, with progress and cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .grid import Grid

Compute = Callable[[dict[str, Any], Callable[..., None], Callable[[], bool]], Mapping[str, Any]]

# A browser needs no more than this many progress messages a second (ours).
RATE = 10.0
# While it runs the browser hears of it this often, in seconds, so that it notices when the kernel has died (ours).
BEAT = 2.0


class Cancelled(Exception):  # not an error: the reader's wish
    """Raised inside ``progress`` once the reader has cancelled, to leave a compute that does not ask."""


class Host(Protocol):
    """What a trainer needs of the view it trains for."""

    def grid(self) -> Grid:
        """The cube as it is now."""

    def fixed(self) -> Mapping[str, Any]:
        """The settings that were the same for the whole cube."""

    def join(self, setting: Mapping[str, Any], result: Any) -> None:
        """Take one computed setting into the cube."""

    def report(self, job: dict[str, Any]) -> None:
        """Tell the browser how far it is."""

    def show_error(self, error: BaseException, remedy: str = "") -> None:
        """Show an exception in the view's error box."""


class Trainer:
    """Runs ``compute`` for one view, one setting at a time."""

    def __init__(self, host: Host, compute: Compute | None) -> None:
        self._host = host
        self._compute = compute
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._telling = threading.Lock()  # so that no beat comes after the last word
        self._job: dict[str, Any] = {}

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
        dims = self._host.grid().dims
        settings: list[dict[str, Any]] = [{}]
        for name in (n for n in state if n in dims):
            averaged = state[name] == "mean" and dims[name].index("mean") is None
            values = dims[name].values if averaged else (state[name],)
            settings = [{**setting, name: value} for setting in settings for value in values]
        return settings

    def _run(self, settings: list[dict[str, Any]]) -> None:
        done, failed = 0, list[tuple[dict[str, Any], Exception]]()
        over = threading.Event()
        threading.Thread(target=self._beat, args=(over,), daemon=True, name="xmodal-beat").start()
        try:
            for count, setting in enumerate(settings):
                if self._stop.is_set():
                    break
                try:
                    self._one(setting, count, len(settings))
                    done += 1
                except Cancelled:
                    break
                except Exception as error:  # the others may be well
                    failed.append((setting, error))
        finally:
            over.set()
        if failed:
            setting, first = failed[0]
            where = ", ".join(f"{k}={v}" for k, v in setting.items())
            others = (
                f"at {where}; {done} of {len(settings)} are computed" if len(settings) > 1 else "while training here"
            )
            self._host.show_error(first, f"{others}; correct what compute= runs and try again")
        stopped = f"cancelled after {done} of {len(settings)}"
        self._finish(stopped if self._stop.is_set() else "failed" if failed else "done")

    def _one(self, setting: dict[str, Any], count: int, total: int) -> None:
        asked = {**self._host.fixed(), **setting}
        result = self._compute(asked, self._progress(count, total), self._stop.is_set)  # type: ignore[misc]
        if self._stop.is_set() and result is None:
            raise Cancelled
        self._host.join(setting, result)

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

    def _beat(self, over: threading.Event) -> None:
        started = time.monotonic()
        while not over.wait(BEAT):
            with self._telling:
                if not over.is_set():
                    self._host.report({**self._job, "seconds": round(time.monotonic() - started)})

    def _report(self, share: float, message: str, running: bool = True) -> None:
        with self._telling:
            self._job = {"possible": True, "running": running, "share": share, "message": message}
            self._host.report(self._job)

    def _finish(self, message: str) -> None:
        self._report(1.0, message, running=False)
