"""Things that go wrong, on purpose: full and read-only disks, damaged files, Ctrl-C, SIGKILL.

    python faults.py ledger FOLDER KILLS SEED      SIGKILL at random moments of a ledger run
    python faults.py features FOLDER KILLS SEED    … of writes to the cache of features
    python faults.py download FOLDER KILLS SEED    … of a download that goes on where it stopped

The script forks from a process without threads and prints what happened as JSON.
"""

from __future__ import annotations

import errno
import inspect
import io
import json
import linecache
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

PACKAGES = ("xmodal_lab", "xmodal_widgets")
ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT)


class Disk:
    """A disk that refuses its ``at``-th call below ``root``, or (``lasting``) every call from then on.

    Calls are what changes the disk: opening for writing, each write to a file, mkdir, rename, link; with
    ``reads``, opening for reading instead. A write that fails leaves half of its bytes behind. Removing
    works, as on a full disk.
    """

    def __init__(
        self, root: Path, at: int = 0, error: int = errno.ENOSPC, lasting: bool = True, reads: bool = False
    ) -> None:
        self.root, self.at, self.error, self.lasting, self.reads = f"{root}{os.sep}", at, error, lasting, reads
        self.calls, self._counting = 0, threading.Lock()

    def refuses(self, path: Any = None) -> bool:
        if path is not None and not self.holds(path):
            return False
        with self._counting:
            self.calls += 1
            return 0 < self.at <= self.calls if self.lasting else self.calls == self.at

    def holds(self, path: Any) -> bool:
        return isinstance(path, (str, os.PathLike)) and f"{path}{os.sep}".startswith(self.root)

    def fault(self, path: Any = None) -> OSError:
        return OSError(self.error, os.strerror(self.error), None if path is None else str(path))

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        """While this lasts, the disk is as described."""
        with ExitStack() as patches:
            for module, name, new in self._replacements():
                patches.enter_context(mock.patch.object(module, name, new))
            yield self

    def _replacements(self) -> Iterator[tuple[Any, str, Any]]:
        import builtins

        import safetensors.torch

        opened = self._opening(io.open)
        yield io, "open", opened
        yield builtins, "open", opened
        if self.reads:
            return
        yield os, "open", self._os_open(os.open)
        yield safetensors.torch, "save_file", self._save_file(safetensors.torch.save_file)
        for name in ("mkdir", "rename", "replace", "link"):
            yield os, name, self._path_call(getattr(os, name))

    def _path_call(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def refused_at_times(path: Any, *more: Any, **options: Any) -> Any:
            if self.refuses(path):
                raise self.fault(path)
            return call(path, *more, **options)

        return refused_at_times

    def _os_open(self, call: Callable[..., int]) -> Callable[..., int]:
        def refused_at_times(path: Any, flags: int, *more: Any, **options: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self.refuses(path):
                raise self.fault(path)
            return call(path, flags, *more, **options)

        return refused_at_times

    def _save_file(self, call: Callable[..., None]) -> Callable[..., None]:
        """It writes from Rust, where nothing can be replaced; its error is as there."""

        def refused_at_times(tensors: Any, path: Any, *more: Any, **options: Any) -> None:
            from safetensors import SafetensorError

            call(tensors, path, *more, **options)
            if self.refuses(path):
                os.truncate(path, Path(path).stat().st_size // 2)
                raise SafetensorError(f"I/O error: {os.strerror(self.error)} (os error {self.error})")

        return refused_at_times

    def _opening(self, call: Callable[..., Any]) -> Callable[..., Any]:
        disk = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                raw = memoryview(data).cast("B")
                if disk.refuses():
                    super().write(raw[: len(raw) // 2])
                    raise disk.fault(self.name)
                return super().write(raw)

        def opened(path: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
            writes = any(letter in mode for letter in "wax+")
            if not disk.holds(path) or writes == disk.reads:
                return call(path, mode, buffering, *more, **options)
            if disk.refuses():
                raise disk.fault(path)
            if disk.reads:
                return call(path, mode, buffering, *more, **options)
            raw = File(path, mode.replace("b", "").replace("t", ""))
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *more, **options)

        return opened


def damaged(path: Path, dice: random.Random, cut: float = 0.3) -> str:
    """Flip one bit of a file, or cut it short; says what was done."""
    raw = bytearray(path.read_bytes())
    if not raw:
        return ""
    if dice.random() < cut:
        length = dice.randrange(len(raw))
        path.write_bytes(bytes(raw[:length]))
        return f"{path.name} cut to {length} of {len(raw)} bytes"
    place = dice.randrange(len(raw))
    raw[place] ^= 1 << dice.randrange(8)
    path.write_bytes(bytes(raw))
    return f"a bit of byte {place} of {len(raw)} in {path.name}"


class Interrupt:
    """Ctrl-C at the ``at``-th line of the library's own code that this thread runs; 0 only counts them.

    But not where a ``with`` ends: a trace stops at its line again, and Python looks for no signal there before
    ``__exit__`` is called. A lock that stays taken would be every later test's.
    """

    def __init__(self, at: int = 0) -> None:
        self.at, self.lines = at, 0
        self._inside: dict[Any, set[int]] = {}  # a call of a function -> lines of the ``with`` that it is in

    def __enter__(self) -> Interrupt:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: Any, event: str, argument: Any) -> Any:
        return self._line if frame.f_globals.get("__name__", "").startswith(PACKAGES) else None

    def _line(self, frame: Any, event: str, argument: Any) -> Any:
        if event == "line" and not self._ends_with(frame):
            self.lines += 1
            if self.lines == self.at:
                raise KeyboardInterrupt
        elif event == "return" and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            self._inside.pop((id(frame), frame.f_code), None)
        return self._line

    def _ends_with(self, frame: Any) -> bool:
        """Whether the line is that of a ``with`` which the function is in already."""
        if not linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with "):
            return False
        inside = self._inside.setdefault((id(frame), frame.f_code), set())
        ends = frame.f_lineno in inside
        (inside.remove if ends else inside.add)(frame.f_lineno)
        return ends


def places(count: int, most: int, dice: random.Random) -> list[int]:
    """At most ``most`` of the calls 1 … count, spread over all of them."""
    if count <= most:
        return list(range(1, count + 1))
    width = count / most
    return sorted({min(count, 1 + int(width * (i + dice.random()))) for i in range(most)})


# -- SIGKILL -----------------------------------------------------------------------------------------


def killed_until_done(work: Callable[[], None], kills: int, longest: float, dice: random.Random) -> int:
    """Run ``work`` in children that are killed at random moments, the last one to its end; the kills."""
    import kill_sweeps

    done = 0
    while done < kills:
        if not kill_sweeps.killed_after(kill_sweeps.in_child(work), dice.uniform(0, longest)):
            return done
        done += 1
        longest *= 1.05
    kill_sweeps.killed_after(kill_sweeps.in_child(work), 120.0)
    return done


def toy_claims(log: Path) -> list[Any]:
    """Claims that take no time, each with a line in ``log``."""
    from xmodal_lab.claims.claim import Claim, Conditions
    from xmodal_lab.claims.verdicts import Measured, gain

    def measure(name: str, conditions: Conditions) -> Measured:
        with log.open("a") as file:
            file.write(f"{name}\n")
        time.sleep(0.01)
        return gain([0.1 * len(name), 0.2, 0.1, 0.2, 0.3])

    names = [f"dml.{'x' * n}" for n in range(1, 9)]
    return [Claim(name, f"claim {name}", "Tab 1", "1.0", partial(measure, name)) for name in names]


def run_ledger(folder: Path, log: Path) -> Any:
    """The toy claims through the ledger; the rows without what the clock and the checkout say."""
    from xmodal_lab import claims

    every = {c.id: c for c in toy_claims(log)}
    with mock.patch("xmodal_lab.claims.measuring.known", lambda paper=None: every):
        rows = claims.run(store=folder, progress=False)
    return rows.drop(columns=["seconds", "clock", "date", "commit"]).to_dict("records")


def kill_ledger(folder: Path, kills: int, dice: random.Random) -> dict[str, Any]:
    store, log = folder / "store", folder / "log"
    done = killed_until_done(lambda: run_ledger(store, log), kills, 0.2, dice)
    return {"kills": done, "begun": len(log.read_text().splitlines())}


def kill_features(folder: Path, kills: int, dice: random.Random) -> dict[str, Any]:
    import torch

    from xmodal_lab.models.pretrained.feature_cache import remembered

    log = folder / "log"

    def compute(seed: int) -> torch.Tensor:
        with log.open("a") as file:
            file.write(f"{seed}\n")
        return torch.randn(400, 300, generator=torch.Generator().manual_seed(seed))

    def work() -> None:
        for seed in range(20):
            remembered({"model": seed}, partial(compute, seed), folder / "cache")

    done = killed_until_done(work, kills, 0.03, dice)
    return {"kills": done, "begun": len(log.read_text().splitlines())}


def kill_download(folder: Path, kills: int, dice: random.Random) -> dict[str, Any]:
    from xmodal_lab.data.datasets.reading import download

    body = random.Random(0).randbytes(1 << 20)
    ready, asked = folder / "address", folder / "asked"
    server = os.fork()
    if not server:
        serve(body, ready, asked)
    while not ready.exists():
        time.sleep(0.01)
    url = ready.read_text()
    try:
        with mock.patch.object(download, "_CHUNK", 1 << 13):
            done = killed_until_done(lambda: download.fetch(url, folder / "x.part", progress=False), kills, 0.1, dice)
    finally:
        os.kill(server, 9)
        os.waitpid(server, 0)
    same = (folder / "x.part").read_bytes() == body
    return {"kills": done, "same": same, "resumed": asked.read_text().count("bytes=")}


def serve(body: bytes, ready: Path, asked: Path) -> None:
    """Serve ``body`` slowly, for ever; writes its address, and the Range of every request."""
    import http.server

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range") or ""
            with asked.open("a") as file:
                file.write(f"{wanted}\n")
            start = int(wanted[6:-1]) if wanted else 0
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.send_header("ETag", '"1"')
            self.end_headers()
            for at in range(start, len(body), 1 << 13):
                self.wfile.write(body[at : at + (1 << 13)])
                time.sleep(0.002)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the reader was killed
                self.close_connection = True

    with http.server.HTTPServer(("127.0.0.1", 0), Slow) as running:
        unfinished = ready.with_suffix(".part")
        unfinished.write_text(f"http://127.0.0.1:{running.server_port}/x")
        unfinished.replace(ready)
        running.serve_forever()


if __name__ == "__main__":
    way, where, *numbers = sys.argv[1:]
    ways = {"ledger": kill_ledger, "features": kill_features, "download": kill_download}
    how_many, seed = map(int, numbers)
    print(json.dumps(ways[way](Path(where), how_many, random.Random(seed))))
