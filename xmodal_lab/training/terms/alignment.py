"""Transport between a sample's modalities, drawn to a target (wma)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...models.latents import pooled
from ...utils import checks as check
from ..alignment import REFERENCES, SOLVERS, Transport, off_reference, token_distances
from .base import Context, Term, View


@dataclass(frozen=True)
class Alignment(Term):
    """Transport between the modalities of a sample, drawn to β times what it was: (D - β D̄)², wma Eq 9 and 10.

    Args:
        cost: "cosine" or "squared_euclidean".
        over: "tokens": D of each sample, between its modalities' tokens; a latent that is one vector is one token,
            and D the cost between the two. "batch": one D, between the clouds of the batch's latents.
        reference: D̄ of the "first_batch" (the text under Eq 9), or of each "batch" (Eq 9 as printed).
        solver: "exact", "ipot" or "sinkhorn", where there are several tokens.
        weight: α, the setting ``a_align`` (0.1; ours, of the order that kept the task whole).
        target: β, the setting ``b_align`` (1 keeps D where it was; 0 minimises transport).
    """

    name: ClassVar[str] = "alignment"
    weighs: ClassVar[Mapping[str, str]] = {"a_align": "weight", "b_align": "target"}
    cost: str = "cosine"
    over: str = "tokens"
    reference: str = "first_batch"
    solver: str = "exact"
    weight: float = 0.1
    target: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check.one_of("over", self.over, ("tokens", "batch"))
        check.one_of("reference", self.reference, REFERENCES)
        check.one_of("solver", self.solver, SOLVERS)
        Transport(self.solver, self.cost)

    def prepare(self, context: Context) -> None:
        """Refuse a model of one modality.

        Raises:
            ValueError: the model of this ``context`` is one.
        """
        names: Any = context.model.modalities
        if len(names) < 2:
            raise ValueError(
                f"term {self.called!r} aligns at least two modalities, the model sees {', '.join(names)} alone; "
                "set a_align=0, or give it another modality."
            )
        context.width(names)

    def value(self, view: View) -> Tensor:
        """(K,) the penalty of ``view`` with weight 1."""
        distance = self.distance(view.latents, view.masks)
        first = None
        if self.reference == "first_batch":
            first = view.memory.setdefault("first", distance.detach().mean(-2))
        return off_reference(distance, view.settings["b_align"], first)

    def distance(self, latents: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """D of ``latents`` with their ``masks``: (K, B, pairs) over tokens, (K, 1, pairs) over the batch."""
        how = Transport(self.solver, self.cost)
        if self.over == "tokens":
            return token_distances(latents, masks, how, quiet=True)
        clouds = {m: pooled(z, masks.get(m)) for m, z in latents.items()}
        here = {m: z.new_ones(z.shape[:-1], dtype=torch.bool) for m, z in clouds.items()}
        found = token_distances({m: z[:, None] for m, z in clouds.items()}, {m: x[:, None] for m, x in here.items()},
                                how, quiet=True)  # fmt: skip
        return found
