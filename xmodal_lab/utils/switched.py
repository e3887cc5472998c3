"""A setting of all threads that is another one while anybody is inside a context, and then what it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from threading import RLock, get_ident

Undo = list[Callable[[], None]]


class Switched:
    """Counts who is inside: the first one switches, the last one puts back.

    Whatever line Ctrl-C comes at, nothing is lost: what is to be put back is noted before it is changed, and what an
    interrupted visit left over is put back by the next one.

    Args:
        switch: changes the setting; before each change it appends to its argument what takes that back.
    """

    def __init__(self, switch: Callable[[Undo], None]) -> None:
        self._switch = switch
        self._lock = RLock()
        self._visits: dict[object, int] = {}  # and the thread of each: all that is left after a fork is one's own
        self._undo: Undo = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def visit(self, stack: ExitStack) -> None:
        """Be inside until ``stack`` is left."""
        visit = object()
        # Before the visit begins, and its end without a line of ours: Ctrl-C may come between any two.
        stack.callback(self._settle)
        stack.callback(self._visits.pop, visit, None)
        with self._lock:
            if not self._visits:
                self._put_back()
                self._visits[visit] = get_ident()
                self._switch(self._undo)
            self._visits[visit] = get_ident()

    def _settle(self) -> None:
        with self._lock:
            if not self._visits:
                self._put_back()

    def _put_back(self) -> None:
        while self._undo:
            self._undo[-1]()
            self._undo.pop()

    def _forked(self) -> None:
        """In the child the other threads do not exist, and will not leave."""
        self._lock = RLock()
        for visit in [visit for visit, thread in self._visits.items() if thread != get_ident()]:
            del self._visits[visit]
        self._settle()
