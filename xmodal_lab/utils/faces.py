"""What a room shows at its face says so."""

from __future__ import annotations

from types import FunctionType, ModuleType


def named_by(*rooms: ModuleType) -> None:
    """Let each function that a room's face shows say the room in ``help``, and not the file of it.

    Classes keep their file, since Python looks for the source of a class by its module: ``Hessian??`` would find none.

    Args:
        rooms: packages that pass on what their files define.
    """
    for room in rooms:
        for shown in list(vars(room).values()):
            if isinstance(shown, FunctionType) and shown.__module__.startswith(f"{room.__name__}."):
                shown.__module__ = room.__name__
