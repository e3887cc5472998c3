"""Unpaired rows of a modality through the shared part of the net (uml)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...data.drawing import shuffled_classes
from ...data.labels import SORTS, task_of
from ...models.latents import alone, encoders_of
from ...utils import checks as check
from ...utils.random import seed_of
from ..stacks import member_losses
from .base import Context, Term, View


@dataclass(frozen=True)
class Shared(Term):
    """Unpaired rows of one modality through the shared part of the net: λ CE of uml, Alg 2.

    Args:
        modality: whose rows; the model has an encoder of it (``auxiliary=`` of LateFusion, or one it classifies).
        shots: rows of each class that are used; None for all.
        relation: "related", or the control "permuted": each class is called by another's name.
        weight: λ, the setting ``lam`` (1: uml, App B).
        ratio: r, unpaired rows for each row of the task (1; uml App E.11: .25 to 4).
    """

    name: ClassVar[str] = "shared"
    weighs: ClassVar[Mapping[str, str]] = {"lam": "weight"}
    prepared: ClassVar[tuple[str, ...]] = ("shots", "relation")
    modality: str = "text"
    shots: int | None = None
    relation: str = "related"
    weight: float = 1.0
    ratio: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check.instance("modality", self.modality, str)
        check.one_of("relation", self.relation, ("related", "permuted"))
        if not 0 < check.real("ratio", self.ratio) <= 8:
            raise ValueError(f"ratio must be above 0 and at most 8 unpaired rows per row, got {self.ratio!r}.")
        if self.shots is not None:
            check.integer("shots", self.shots, at_least=1)

    def prepare(self, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of this ``context`` that have the modality: inputs (M, ...), labels (M,), where they stand (M,).

        Raises:
            ValueError: no row, fewer than ``shots``, a model that cannot send the modality alone.
        """
        check.one_of(f"modality of term {self.called!r}", self.modality, encoders_of(context.model))
        train = context.train
        if (sort := task_of(train.labels)) != "classes" and self.relation == "permuted":
            raise ValueError(f"relation='permuted' renames classes; these labels are {SORTS[sort]}.")
        here = train.present[self.modality].nonzero()[:, 0]
        if self.shots is not None and sort == "labels":
            raise ValueError(f"shots are counted by class; these labels are {SORTS[sort]}.")
        if self.shots is not None and sort == "classes":
            generator = torch.Generator().manual_seed(seed_of(context.seed, f"{self.called}:shots"))
            here = here[_per_class(train.labels[here].cpu(), self.shots, generator).to(here.device)]
        if not len(here):
            raise ValueError(f"term {self.called!r}: no training row has {self.modality!r}.")
        labels = train.labels[here]
        if self.relation == "permuted":
            generator = torch.Generator().manual_seed(seed_of(context.seed, f"{self.called}:names"))
            order = torch.randperm(len(context.dataset.classes) or int(labels.max()) + 1, generator=generator)
            renamed = torch.empty_like(order)
            renamed[order] = order.roll(1)  # one cycle through all classes: none keeps its name
            labels = renamed.to(labels.device)[labels]
        with torch.no_grad():  # a model that cannot send it alone is refused here, not in the first step
            alone(context.model, self.modality, train.inputs[self.modality][here[:2]])
        return train.inputs[self.modality][here], labels, here

    def draw(self, state: Any, rows: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(n, ⌈r⌉) of the unpaired rows in ``state``, as many as ``rows`` ask for, whatever their ``labels``.

        Again and again through all of them, in an order that ``generator`` draws.
        """
        count = len(rows) * math.ceil(self.ratio)
        turns = [torch.randperm(len(state[1]), generator=generator) for _ in range(math.ceil(count / len(state[1])))]
        return {"row": torch.cat(turns)[:count].view(len(rows), -1)}

    def value(self, view: View) -> Tensor:
        """(K,) mean loss of the unpaired rows that ``view`` drew."""
        take = max(1, round(self.ratio * view.labels.shape[1]))
        rows = view.draws["row"].flatten(1)[:, :take]
        x = torch.stack([state[0][at.to(state[0].device)] for state, at in zip(view.states, rows, strict=True)])
        y = torch.stack([state[1][at.to(state[1].device)] for state, at in zip(view.states, rows, strict=True)])
        return member_losses(view.alone(self.modality, x), y)


def _per_class(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Positions of ``count`` rows of each class."""
    few = [n for n in labels.unique(return_counts=True)[1].tolist() if n < count]
    if few:
        raise ValueError(f"{count} rows of each class are asked for, and {len(few)} classes have {min(few)} or so.")
    return torch.cat([rows[:count] for _, rows in shuffled_classes(labels, generator)])
