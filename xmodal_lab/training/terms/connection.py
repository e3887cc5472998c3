"""One modality's latents predicted from the others' (cox)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...losses import Params
from ...models.latents import pooled
from ...models.stacked import affine, uniform
from ...utils import checks as check
from .base import Context, Term, View

BOTTLENECK = 32  # numbers of a connection's v (ours)


@dataclass(frozen=True)
class Connection(Term):
    """One modality's latents predicted from the others' through a bottleneck: ‖z_O - q(v)‖² + β KL, cox Eq 9.

    v ~ p(v|x_I) is a linear map of another modality's latent (held fixed), q a linear map of ReLU(v); both are
    parameters of the term. Latents are layer-normalised before they are compared, as in cox's nets here.

    Args:
        out: the modality whose latents are predicted; the model's last when not given.
        beta_vib: weight of KL(p(v|x_I) ‖ N(0, 1)) (0; ours: no bottleneck of information, only of width).
        weight: the setting ``a_connect`` (1: cox Eq 9).
    """

    name: ClassVar[str] = "connection"
    weighs: ClassVar[Mapping[str, str]] = {"a_connect": "weight"}
    out: str | None = None
    beta_vib: float = 0.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check.non_negative("beta_vib", self.beta_vib)
        if self.out is not None:
            check.instance("out", self.out, str, "the name of a modality")

    def prepare(self, context: Context) -> tuple[str, tuple[str, ...]]:
        """The modality that is out, and those inside, in this ``context``.

        Raises:
            ValueError: fewer than two modalities, one that the model does not see.
        """
        names: Any = context.model.modalities
        if len(names) < 2:
            raise ValueError(f"term {self.called!r} connects at least two modalities, the model sees {names[0]} alone.")
        out = names[-1] if self.out is None else check.one_of("out", self.out, names)
        context.width(names)
        return out, tuple(m for m in names if m != out)

    def start(self, context: Context, generator: torch.Generator) -> Params:
        """Maps p and q of each modality inside, for this ``context``: ``generator``'s uniform weights, biases 0."""
        out, inside = self.prepare(context)
        width, made = context.width((out, *inside)), {}
        like = next(context.model.parameters())
        sizes = {"mean": (width, BOTTLENECK), "out": (BOTTLENECK, width)}
        if self.beta_vib > 0:
            sizes["spread"] = (width, BOTTLENECK)
        for m in inside:
            for part, size in sizes.items():
                weight = uniform(generator, size[0], *size)
                made[f"{m}.{part}.weight"], made[f"{m}.{part}.bias"] = weight.to(like), like.new_zeros(1, size[1])
        return made

    def draw(self, state: Any, rows: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise of v for ``rows`` (any ``labels``): (n, modalities inside ``state``, bottleneck), of ``generator``.

        None without a KL term.
        """
        if not self.beta_vib:
            return {}
        return {"noise": torch.randn(len(rows), len(state[1]), BOTTLENECK, generator=generator)}

    def value(self, view: View) -> Tensor:
        """(K,) sum over the modalities inside ``view``, each a mean over rows."""
        out, inside = view.states[0]
        z = _normed(pooled(view.latents[out], view.masks.get(out)))
        total = z.new_zeros(len(z))
        for i, m in enumerate(inside):
            source = _normed(pooled(view.latents[m], view.masks.get(m)).detach())
            v = affine(view.params, f"{m}.mean", source)
            if self.beta_vib:
                log_variance = affine(view.params, f"{m}.spread", source)
                kl = 0.5 * (v**2 + log_variance.exp() - 1 - log_variance).sum(-1).mean(-1)
                total = total + self.beta_vib * kl
                v = v + (0.5 * log_variance).exp() * view.draws["noise"][:, :, i].to(v)
            total = total + (z - _normed(affine(view.params, f"{m}.out", v.relu()))).square().sum(-1).mean(-1)
        return total


def _normed(z: Tensor) -> Tensor:
    return nn.functional.layer_norm(z, z.shape[-1:])
