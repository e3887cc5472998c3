"""The live view first, its static picture when the cell is done: nobody waits for what GitHub and print will show.

A picture takes longer to draw than a view to open. In a notebook the view is displayed without it, and the same output
gets it before the cell ends, so that whatever saves or converts the notebook finds it there.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any

Bundle = tuple[Mapping[str, Any], Mapping[str, Any]]


def possible() -> bool:
    """Whether this is a cell that runs in a kernel: there an output can be completed."""
    return getattr(_shell(), "kernel", None) is not None


def display(live: Bundle, whole: Callable[[], Bundle]) -> None:
    """Display ``live`` now, and ``whole()`` in its place at the end of the running cell."""
    from IPython.display import display, update_display  # type: ignore[attr-defined]

    name, events = f"xmodal-{uuid.uuid4().hex}", _shell().events
    display(live[0], raw=True, metadata=live[1], display_id=name)  # type: ignore[no-untyped-call]

    def complete(*_: Any) -> None:
        events.unregister("post_run_cell", complete)
        data, metadata = whole()
        update_display(data, raw=True, metadata=metadata, display_id=name)  # type: ignore[no-untyped-call]

    events.register("post_run_cell", complete)


def _shell() -> Any:
    interactive = sys.modules.get("IPython")  # who runs in a notebook has it
    return interactive.get_ipython() if interactive is not None else None
