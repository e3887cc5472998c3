"""How much memory is left; a refusal before any work that would not fit, and a way on where it ran out."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

# Below this nothing is asked of the system (ours).
SMALL = 1 << 28
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device | None = None) -> int | None:
    """Bytes that may still be taken on ``device`` (the CPU when None); None where no system tells.

    On Linux what the kernel calls available, and no more than what the container has left.
    """
    if device is not None and device.type == "cuda":
        left, _ = torch.cuda.mem_get_info(device)
        return left + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device is not None and device.type != "cpu":
        return None
    found = [left for left in (_available(), _container()) if left is not None]
    return min(found) if found else None


def require(what: str, needed: float, way_out: str, device: torch.device | None = None) -> None:
    """Refuse ``what`` before it starts if it needs more bytes than there are.

    Raises:
        ValueError: names what is needed, what is there, and the way out.
    """
    if needed < SMALL:
        return
    left = free_bytes(device)
    if left is not None and needed > left:
        where = "this machine" if device is None or device.type == "cpu" else str(device)
        raise ValueError(
            f"{what} needs about {gigabytes(needed)} of memory, and {where} has {gigabytes(left)} left; {way_out}."
        )


def gigabytes(count: float) -> str:
    """Bytes as a reader takes them in."""
    return f"{count / 1e9:.3g} GB"


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    try:  # all there is, where nobody says what is free (macOS)
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _container() -> int | None:
    try:
        most = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        cached = next(
            (int(line.split()[1]) for line in (_CGROUP / "memory.stat").read_text().splitlines()
             if line.startswith("inactive_file ")), 0,
        )  # fmt: skip
        return None if most == "max" else max(0, int(most) - used + cached)
    except (OSError, ValueError):
        return None


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on a GPU or a CPU, so that smaller batches may help."""
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "allocate memory" in text)
    )


def in_halves(together: Callable[[Sequence[T]], Sequence[R]], members: Sequence[T], what: str) -> list[R]:
    """``together(members)``; where memory runs out, one half of them after the other, and so on down to one.

    Args:
        together: from some members to what each of them gives, in order.
        members: all of them; what one gives does not depend on which others are there.
        what: called in the message.

    Returns:
        What each gives.

    Raises:
        RuntimeError, MemoryError: of a member for which alone there is no room.

    Warns:
        UserWarning: memory ran out; how many go together from then on.
    """
    found: list[R] = []
    at_once = most = len(members)
    while len(found) < len(members):
        try:
            found += together(members[len(found) : len(found) + at_once])
        except (RuntimeError, MemoryError) as error:
            if at_once == 1 or not out_of_memory(error):
                raise
            at_once = -(-at_once // 2)
        else:
            continue
        gc.collect()  # what the failed try held may hang in a circle
    if at_once < most:
        warnings.warn(f"out of memory for {most} {what} at once: went on with {at_once}.", stacklevel=3)
    return found
