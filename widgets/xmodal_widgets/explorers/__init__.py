"""Explorers: ready-made views, one short file each, opened by name with ``explore("name")``.

A file defines ``open(views, controls, **options) -> SweepView`` and, where it opens on a shipped
cube, ``compute_cube(**options)``, which ``make cubes`` calls. It is listed in ``EXPLORERS``.
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
    view: SweepView = module(name).open(**options)
    return view
