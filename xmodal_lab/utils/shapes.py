"""Shapes in annotations, ``Float[Tensor, "n d"]``: checked under pytest, elsewhere for people and type checkers.

jaxtyping costs as much to import as a third of this package, and nobody asks it anything outside of tests.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Whether annotations are checked at run time; see :func:`~xmodal_lab.utils.checks.shapechecked`.
CHECKED = os.environ.get("XMODAL_CHECK_SHAPES") == "1"

if TYPE_CHECKING or CHECKED:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
else:

    class Float:
        """``Float[Tensor, "n d"]`` is a Tensor."""

        def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
            """The array type; its shape is for people."""
            return item[0]

    Bool = Int = Float
