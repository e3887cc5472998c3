"""The task itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...utils import checks as check
from ..stacks import member_losses
from .base import Term, View


@dataclass(frozen=True)
class Task(Term):
    """The task itself, by the labels: cross-entropy for classes, binary for several at once (bool), or squared error.

    Args:
        label_smoothing: as in :func:`~xmodal_lab.fit`.
    """

    name: ClassVar[str] = "task"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if check.share("label_smoothing", self.label_smoothing) == 1:
            raise ValueError("label_smoothing must be below 1: at 1 the labels say nothing.")

    def value(self, view: View) -> Tensor:
        """(K,) mean loss of ``view.outputs`` against its labels."""
        return member_losses(view.outputs, view.labels, self.label_smoothing)
