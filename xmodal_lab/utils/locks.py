"""Locks on tasks of a store and entries of the cache, which the system lets go of when their holder dies."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO


@dataclass(eq=False)
class TaskLock:
    """A lock on one task or entry, held while it is computed. Where the file system has no locks, everyone gets one."""

    path: Path
    file: TextIO | None = None

    @classmethod
    def take(cls, path: Path, held: list[TaskLock] | None = None) -> TaskLock | None:
        """The lock, or None if another holds it; noted in ``held`` before it is taken."""
        lock = cls(path)
        if held is not None:
            held.append(lock)
        return lock if lock._locked() else None

    def _locked(self) -> bool:
        try:
            import fcntl
        except ImportError:  # Windows: work may be done twice, never lost
            return True
        self.file = self.path.open("w", encoding="utf-8")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            self.file = None
            return not isinstance(error, BlockingIOError)  # else a network file system without locks
        return True

    def release(self) -> None:
        """Let go."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        if self.file is not None:
            self.file.close()
            self.file = None
