"""A frozen teacher's latents as targets (synergy)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...models.latents import pooled
from ...utils import checks as check
from ..targets import LOSSES, Pool, controls, drawn, latent_losses
from .base import Context, Term, View

# What a latent target is: the pool that it is drawn from, and the rule (synergy Sec 4.1, Tab 5, App C.3).
TARGETS: Mapping[str, tuple[str, str]] = {
    "imperfect": ("latents", "any"),  # the teacher's latent of any row: shuffled, as in Tab 5
    "same_class": ("latents", "label"),
    "paired": ("latents", "own"),
    "constant": ("constant", "any"),  # control: the mean of the imperfect targets
    "zero": ("zero", "any"),  # control
    "noise": ("noise", "any"),  # control: mean and variance of the imperfect targets
}


@dataclass(frozen=True)
class Latent(Term):
    """Latents drawn to those of a frozen teacher: L_z of synergy, Sec 3.3.

    Args:
        teacher: a modality, on which a net of one encoder is trained first and then frozen; or latents (N, d) of
            the training rows that you computed.
        loss: "mse_mean", "mse_sum" or "cosine", see :mod:`xmodal_lab.training.targets`.
        kind: which latent a row meets: "imperfect" (any row's), "same_class", "paired" (its own), and the controls
            "constant", "zero", "noise".
        of: the modalities whose latents are drawn; all of the model's but the teacher's when not given.
        length: mean length that the teacher's latents are brought to; 0 leaves them as they are (4; ours).
        weight: α, the setting ``a_latent`` (0.3: synergy Sec 4.1).
    """

    name: ClassVar[str] = "latent"
    weighs: ClassVar[Mapping[str, str]] = {"a_latent": "weight"}
    teacher: Any = "text"
    loss: str = "mse_mean"
    kind: str = "imperfect"
    of: tuple[str, ...] | None = None
    length: float = 4.0
    weight: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check.one_of("loss", self.loss, LOSSES)
        check.one_of("kind of target", self.kind, TARGETS)
        check.non_negative("length", self.length)
        if not isinstance(self.teacher, str):
            object.__setattr__(self, "teacher", check.finite("teacher", check.as_tensor("teacher", self.teacher)))
        if self.of is not None:
            object.__setattr__(
                self, "of", (self.of,) if isinstance(self.of, str) else tuple(check.listed("of", self.of))
            )

    def drawn_modalities(self, model: nn.Module) -> tuple[str, ...]:
        """Whose latents are drawn, of those that ``model`` sees.

        Raises:
            ValueError: none is left, or one that it does not see.
        """
        names: Any = model.modalities
        asked = [m for m in names if m != self.teacher] if self.of is None else self.of
        for m in asked:
            check.one_of(f"modality whose latents {self.called!r} draws", m, names)
        if not asked:
            raise ValueError(
                f"term {self.called!r} has nothing to draw: the model sees {self.teacher!r} alone, its own teacher."
            )
        return tuple(asked)

    def prepare(self, context: Context) -> tuple[Pool, tuple[str, ...]]:
        """The pool of targets in this ``context``, and whose latents are drawn to them.

        Raises:
            ValueError: a teacher that the dataset has not, latents of another number or width.
        """
        of = self.drawn_modalities(context.model)
        width = context.width(of)
        if isinstance(self.teacher, str):
            check.one_of(f"teacher of term {self.called!r}", self.teacher, context.dataset.modalities)
            here = context.train.present[self.teacher].nonzero()[:, 0]
            net = context.teach(self.teacher, width)
            with torch.no_grad():
                found = net.latents({self.teacher: context.train.inputs[self.teacher][here]})  # type: ignore[operator]
            z = found[self.teacher]
        else:
            here = torch.arange(len(context.train), device=context.train.labels.device)
            z = self.teacher.to(context.train.labels.device)
            if z.shape != (len(context.train), width):
                raise ValueError(
                    f"teacher holds latents {tuple(z.shape)}; the training rows need ({len(context.train)}, {width}), "
                    "one for each, as wide as the model's latents. Project yours first."
                )
        return _pool(self, z.detach(), context.train.labels, here), of

    def draw(self, state: Any, rows: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The target of each row, (n, d): the pool in ``state`` asked for ``rows`` of these ``labels``.

        ``generator`` draws.

        Raises:
            ValueError: a row without a latent of its own.
        """
        pool, _ = state
        index = drawn(pool, TARGETS[self.kind][1], labels.cpu(), rows.cpu(), generator)
        if bool((index < 0).any()):
            raise ValueError(
                f"term {self.called!r}: kind 'paired' needs the teacher's modality {self.teacher!r} in every trained "
                "row; use 'same_class', or pair what is there."
            )
        return {"target": pool.z[index.to(pool.z.device)]}

    def value(self, view: View) -> Tensor:
        """(K,) the mean of L_z over the drawn modalities of ``view``."""
        _, of = view.states[0]
        names = [self.loss] * len(view.outputs)
        each = [latent_losses(pooled(view.latents[m], view.masks.get(m)), view.draws["target"], names) for m in of]
        return torch.stack(each).mean(0)


def _pool(term: Latent, z: Tensor, labels: Tensor, here: Tensor) -> Pool:
    """Targets (P, d) of the kind that ``term`` asks for; ``here`` (P,) are the rows that they belong to."""
    if term.length:
        z = z * (term.length / z.norm(dim=1).mean().clamp_min(1e-12))
    name = TARGETS[term.kind][0]
    if name != "latents":
        return controls(z)[name]
    own = torch.full((len(labels),), -1, dtype=torch.long)
    own[here.cpu()] = torch.arange(len(here))
    return Pool(z, None if labels.is_floating_point() else labels[here].cpu(), own)
