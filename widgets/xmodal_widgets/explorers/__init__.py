"""Explorers: ready-made views, one short file each, opened by name with ``explore("name")``.

A file defines ``open(views, controls, **options) -> SweepView`` and, where it opens on a shipped
cube, ``compute_cube(**options)``, which ``make cubes`` calls. It is listed in ``EXPLORERS``. Others stand anywhere:
``explore("package.module:EXPLORER")``, or under a name that an installed package announces (entry points of the group
``xmodal_lab.explorers``); they are such a module, or a function like its ``open``.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..view.grid import one_of

if TYPE_CHECKING:
    from ..sweep_view import SweepView

# Name -> module in this package.
EXPLORERS: dict[str, str] = {
    "synergy": "synergy", "cox": "cox", "uml": "uml", "uml_theory": "uml_theory", "wma": "wma", "dml": "dml",
    "bench": "bench", "claims": "claims",
}  # fmt: skip


def module(name: str) -> ModuleType:
    """The module of the explorer called ``name``.

    Raises:
        ValueError: an unknown name.
    """
    return import_module(f".{EXPLORERS[one_of('explorer', name, tuple(EXPLORERS))]}", __name__)


def ready() -> tuple[str, ...]:
    """The names of the explorers that can open here: those that compute their cube, and those whose cube is shipped."""
    from . import shipped

    return tuple(n for n in EXPLORERS if not hasattr(module(n), "compute_cube") or shipped.has(n))


def open_explorer(name: str, **options: Any) -> SweepView:
    """The explorer called ``name``; ``options`` are those of its ``open``.

    Raises:
        ValueError: an unknown name, or one whose cube is not shipped.
    """
    if name in EXPLORERS:
        view: SweepView = module(name).open(**options)
        return view
    from xmodal_lab.utils.registry import Registry  # at use: a view needs no torch

    known = Registry("explorer", dict.fromkeys(EXPLORERS))
    if ":" not in name:
        one_of("explorer", name, tuple(known.names()))
    found = known.get(name)
    opened = getattr(found, "open", found)
    if not callable(opened):
        raise TypeError(f"{name!r} is a {type(found).__name__}; an explorer is a function or a module with open().")
    return _opened(name, opened(**options))


def _opened(name: str, view: Any) -> SweepView:
    from ..sweep_view import SweepView

    if not isinstance(view, SweepView):
        raise TypeError(f"the explorer {name!r} gave a {type(view).__name__}; it must return a SweepView.")
    return view
