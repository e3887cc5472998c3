"""Explorers: ready-made views, one short file each, opened by name with ``explore("name")``.

A file defines ``open(views, controls, **options) -> SweepView`` and is listed in ``EXPLORERS``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._grid import one_of

if TYPE_CHECKING:
    from ..sweep_view import SweepView

# Name -> module in this package.
EXPLORERS: dict[str, str] = {"dml": "dml"}
# Papers of the lab whose explorer has no precomputed cube yet.
COMING = ("synergy", "cox", "uml", "wma")


def open_explorer(name: str, **options: Any) -> SweepView:
    """The explorer called ``name``.

    Raises:
        ValueError: an unknown name, or one whose cube is not shipped.
    """
    if name not in EXPLORERS and name in COMING:
        shipped = ", ".join(repr(n) for n in EXPLORERS) or "none"
        raise ValueError(
            f"explore({name!r}) needs a precomputed cube, and this version ships none for it (shipped: {shipped}); "
            "give a cube of your own: explore(cube) with an xarray.Dataset."
        )
    one_of("explorer", name, tuple(EXPLORERS) + COMING)
    view: SweepView = import_module(f".{EXPLORERS[name]}", __name__).open(**options)
    return view
