"""An entry of the cache that grows a few rows at a time: who is killed on the way goes on from there.

It is the final safetensors file from the start, of its final size, with the checksum left open; a journal beside it
says which rows stand in it, with a checksum of each write. At the end the checksum is filled in and the file renamed,
so that neither the rows nor a copy of them need lie in memory.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import cache as disk
from .files import seal
from .locks import TaskLock

_OPEN = "0" * 8  # in place of the checksum, which has as many letters
_PIECE = 1 << 20  # bytes read at a time


class Rows:
    """N rows of d numbers (float32) that come a few at a time, in memory.

    Attributes:
        done: (N,) bool, which rows are there.
    """

    def __init__(self, count: int, width: int) -> None:
        self.shape = (count, width)
        self.done = torch.zeros(count, dtype=torch.bool)
        self._held: Tensor | None = None

    def put(self, rows: Sequence[int], values: Tensor) -> None:
        """Keep ``values`` (n, d) as these rows."""
        if self._held is None:
            self._held = torch.empty(self.shape)
        self._held[list(rows)] = values
        self.done[list(rows)] = True

    def whole(self) -> Tensor:
        """All of them, (N, d)."""
        return torch.empty(self.shape) if self._held is None else self._held

    def close(self) -> None:
        """Let go of files; what is finished stays in them."""


class Growing(Rows):
    """The same in a file of the cache; in memory from where the disk is full.

    Args:
        path: of the finished entry.
        tensor: its name in the file.
        count, width: N and d.
        about: description of the entry.
        lock: held while this one writes.

    Raises:
        OSError: a folder or file that cannot be written.
    """

    def __init__(
        self, path: Path, tensor: str, count: int, width: int, about: Mapping[str, Any], lock: TaskLock
    ) -> None:
        super().__init__(count, width)
        self._path, self._tensor, self._lock = path, tensor, lock
        self._unfinished, self._log = (path.with_name(f".{path.name}.{w}.part") for w in ("growing", "journal"))
        told = json.dumps(about, default=str)
        self._facts = {"about": told, "seal": seal(told), "checksum": _OPEN}
        head, self._bytes = self._header(), 4 * width
        self._start, size = len(head), len(head) + count * 4 * width
        if not _begins(self._unfinished, head, size):
            self._log.unlink(missing_ok=True)
            with self._unfinished.open("wb") as file:
                file.write(head)
                file.truncate(size)
        # Unbuffered: what a full disk refuses must not come again with the next call.
        self._file: io.FileIO | None = self._unfinished.open("r+b", buffering=0)
        for rows, known in _noted(self._log, count):
            if zlib.crc32(b"".join(self._read(self._file, row) for row in rows)) == known:
                self.done[rows] = True

    def put(self, rows: Sequence[int], values: Tensor) -> None:
        """Keep ``values`` (n, d) as these rows; first the rows, then the line in the journal that says so."""
        if self._file is not None:
            raw = values.contiguous().numpy().tobytes()
            try:
                for k, row in enumerate(rows):
                    _write(self._file, self._start + row * self._bytes, raw[k * self._bytes : (k + 1) * self._bytes])
                with self._log.open("a", encoding="utf-8") as log:
                    log.write("\n" + json.dumps([list(rows), zlib.crc32(raw)]))  # after a line that was cut off, too
                self.done[list(rows)] = True
                return
            except OSError as error:
                self._give_up(error)
        super().put(rows, values)

    def whole(self) -> Tensor:
        """All of them, (N, d), mapped from the finished file."""
        if self._file is None:
            return super().whole()
        try:
            self._facts["checksum"] = f"{self._checked(self._file):08x}"
            _write(self._file, 0, self._header())
            self._file.close()
            self._unfinished.replace(self._path)
            self._log.unlink(missing_ok=True)
        except OSError as error:
            _told(self._path, error)
            return _mapped(self._unfinished, self._tensor)
        return _mapped(self._path, self._tensor)

    def _checked(self, file: io.FileIO) -> int:
        """CRC-32 of the rows as :func:`.cache.checksum` has it, a piece at a time."""
        total = disk.named(self._tensor, torch.float32, self.shape)
        file.seek(self._start)
        while piece := file.read(_PIECE):
            total = zlib.crc32(piece, total)
        return total

    def close(self) -> None:
        """Let go of the file and of the lock; what is finished stays."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        self._lock.release()

    def _header(self) -> bytes:
        count, width = self.shape
        place = {"dtype": "F32", "shape": [count, width], "data_offsets": [0, count * 4 * width]}
        text = json.dumps({"__metadata__": self._facts, self._tensor: place}).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def _read(self, file: io.FileIO, row: int) -> bytes:
        file.seek(self._start + row * self._bytes)
        return file.read(self._bytes)

    def _give_up(self, error: OSError) -> None:
        """Go on in memory, with what the file has."""
        _told(self._path, error)
        file, self._file = self._file, None
        self._held = torch.empty(self.shape)
        if file is not None:
            for row in self.done.nonzero().flatten().tolist():
                self._held[row] = torch.frombuffer(bytearray(self._read(file, row)), dtype=torch.float32)
            with contextlib.suppress(OSError):
                file.close()
        for path in (self._unfinished, self._log):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def growing(
    kind: str, name: str, tensor: str, count: int, width: int, about: Mapping[str, Any], where: disk.Where = None
) -> Iterator[Rows]:
    """Rows that go into the cache as they come; in memory where another process writes the same, or nobody can.

    Args:
        kind, name, where: of the entry, as for :func:`.cache.write`.
        tensor: name of the rows in it.
        count, width: N and d.
        about: description of the entry.
    """
    path = disk.place(kind, name, where)
    rows, lock = Rows(count, width), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = TaskLock.take(path.with_name(f".{path.name}.lock.part"))
        if lock is not None:
            rows = Growing(path, tensor, count, width, about, lock)
    except OSError as error:
        _told(path, error)
        if lock is not None:
            lock.release()
    try:
        yield rows
    finally:
        rows.close()


def _told(path: Path, error: OSError) -> None:
    warnings.warn(
        f"could not cache in {path.parent}: {error}. Nothing is left there, and the result is still returned; "
        "free some space, or name another folder with XMODAL_CACHE.",
        stacklevel=4,
    )


def _write(file: io.FileIO, place: int, raw: bytes) -> None:
    """Write all of ``raw`` there; a nearly full disk takes a part, and says at the next part that it is full."""
    file.seek(place)
    left = memoryview(raw)
    while left:
        left = left[file.write(left) :]


def _begins(path: Path, head: bytes, size: int) -> bool:
    """Whether an unfinished file is there, and is one of this entry."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size == size and file.read(len(head)) == head
    except FileNotFoundError:
        return False


def _noted(log: Path, count: int) -> Iterator[tuple[list[int], int]]:
    """Lines of a journal; the last may have been cut off."""
    with contextlib.suppress(FileNotFoundError), log.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                rows, known = json.loads(line)
                good = all(isinstance(row, int) and 0 <= row < count for row in rows)
            except (ValueError, TypeError):
                continue
            if good:
                yield rows, known


def _mapped(path: Path, tensor: str) -> Tensor:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        found: Tensor = file.get_tensor(tensor)
    return found
