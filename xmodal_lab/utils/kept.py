"""Results that are kept with the object that they come from, and forgotten with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Function = TypeVar("Function", bound=Callable[..., Any])


def kept(most: int) -> Callable[[Function], Function]:
    """A decorator: ``function(owner, *rest)`` is computed once per owner and ``rest``; the last ``most`` are kept.

    As ``functools.lru_cache``, but the owner (a dataset of the user's, or what holds one) is held weakly: a cache that
    held it would keep the data in memory for the life of the kernel. What the function returns must not hold its owner.
    What is given by name (whom to tell how far it is) says how to compute, not what, and does not count.
    """

    def decorate(function: Function) -> Function:
        held: WeakKeyDictionary[Any, OrderedDict[tuple[Hashable, ...], Any]] = WeakKeyDictionary()
        lock = Lock()

        @wraps(function)
        def call(owner: Any, *rest: Hashable, **how: Any) -> Any:
            with lock:
                mine = held.setdefault(owner, OrderedDict())
                if rest in mine:
                    mine.move_to_end(rest)
                    return mine[rest]
            # Computed outside of the lock: two threads may do it twice, but none waits for another's training.
            found = function(owner, *rest, **how)
            with lock:
                found = mine.setdefault(rest, found)  # another thread's, if it was faster
                while len(mine) > most:
                    mine.popitem(last=False)
            return found

        return call  # type: ignore[return-value]

    return decorate
