"""What a forked child must have of its own, because it may be killed at any moment."""

from __future__ import annotations

import threading


def locks_of_its_own() -> None:
    """The lock of tqdm is one of all processes: a child that is killed while it holds it would stop its parent for ever."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())
