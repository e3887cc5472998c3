"""Towards what latents are drawn: pools of another model's latents, how a row meets one, and how far it is (synergy).

any     drawn without looking at the row: independent of the label
label   drawn among those of the row's class
own     the row's own

L_z = ½ ‖g(x) - ẑ_j‖²           "mse_sum": summed over the d entries, as the paper's formula says (Sec 3.3)
½ ‖g(x) - ẑ_j‖² / d       "mse_mean": their mean, as torch's MSE does by default
1 - cos(g(x), ẑ_j)        "cosine" (App C.1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LOSSES = ("mse_mean", "mse_sum", "cosine")
RULES = ("any", "label", "own")


def latent_losses(z: Tensor, target: Tensor, names: Sequence[str]) -> Tensor:
    """L_z of each member, (K,), for latents and targets (K, N, d).

    Args:
        names: per member, one of :data:`LOSSES`. A target of length 0 has cosine 0 with everything.
    """
    d = z.shape[2]
    half = 0.5 * (z - target).square().sum(2).mean(1)
    scales = [1 / d if name == "mse_mean" else 1.0 for name in names]
    # One number for all needs no copy to a device, in every step.
    each = half * (scales[0] if len(set(scales)) == 1 else torch.tensor(scales).to(half.device))
    if "cosine" in names:
        angles = 1 - functional.cosine_similarity(z, target, dim=2).mean(1)
        each = torch.where(torch.tensor([name == "cosine" for name in names]).to(half.device), angles, each)
    return each


@dataclass(frozen=True, eq=False)
class Pool:
    """Latents (P, d) to draw from; ``labels`` (P,) for the rule label, ``own`` (rows,) for the rule own."""

    z: Tensor
    labels: Tensor | None = None
    own: Tensor | None = None

    def to(self, device: str | torch.device) -> Pool:
        """The same latents on another device."""
        labels, own = (None if t is None else t.to(device) for t in (self.labels, self.own))
        return Pool(self.z.to(device), labels, own)


def drawn(pool: Pool, rule: str, labels: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Which latent of ``pool`` each entry meets, int64 of the shape of ``labels``; drawn on the CPU for any device.

    Args:
        pool: the latents.
        rule: "any", "label" or "own".
        labels: of the entries.
        rows: of the entries, into ``pool.own``.
        generator: of the draw.

    Raises:
        ValueError: a class without a latent; a pool that does not know its rows' own.
    """
    if rule == "own":
        if pool.own is None:
            raise ValueError("these latents belong to no row, so there is none of a row's own.")
        return pool.own[rows.to(pool.own.device)].to(labels.device)
    where, labels = labels.device, labels.cpu()
    chance = torch.rand(labels.shape, generator=generator, dtype=torch.float64)
    if rule == "any":
        return (chance * len(pool.z)).long().to(where)
    if pool.labels is None:
        raise ValueError("these latents have no class, so none can be drawn by label.")
    theirs = pool.labels.cpu()
    order = torch.argsort(theirs, stable=True)
    counts = torch.bincount(theirs, minlength=int(labels.max()) + 1)
    if bool((counts[labels.flatten().unique()] == 0).any()):
        raise ValueError("a class of M_i has no latent of M_j to draw; add samples, or use another target.")
    starts = counts.cumsum(0) - counts
    return order[starts[labels] + (chance * counts[labels]).long()].to(where)


def controls(reference: Tensor, seed: int = 0, rows: int = 2048) -> dict[str, Pool]:
    """The pools of the three controls, for the imperfect latents ``reference`` (P, d)."""
    mean = reference.mean(0, keepdim=True)
    per_entry = (reference - mean).square().mean().sqrt()
    noise = torch.randn(
        rows, reference.shape[1], generator=torch.Generator().manual_seed(seed + 17), dtype=torch.float32
    )
    return {"constant": Pool(mean), "zero": Pool(torch.zeros_like(mean)), "noise": Pool(mean + per_entry * noise)}
