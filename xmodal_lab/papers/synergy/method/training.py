"""Training [M_j → M_i]: L = (1 - α) L_cls + α L_z, stacked over everything that is a number (synergy Sec 3.3, Alg 1).

L_cls = cross-entropy of h(g(x))
L_z   = ½ ‖g(x) - ẑ_j‖²           "mse_sum": summed over the d entries, as the paper's formula says
        ½ ‖g(x) - ẑ_j‖² / d       "mse_mean": their mean, as torch's MSE does by default
        1 - cos(g(x), ẑ_j)        "cosine" (App C.1)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ....data.drawing import shuffled_classes
from ....losses import Params
from ....models import stacked as nets
from ....training.descent import descend, stack
from ....training.targets import LOSSES as LOSSES
from ....training.targets import Pool, drawn
from ....training.targets import latent_losses as latent_losses
from ....utils.random import mixed
from ....utils.torch_state import float32, wide
from ..worlds import Direction
from .targets import KINDS

Values = Mapping[str, Any]
# A stream of random numbers for each purpose, so that members that differ in one setting differ in nothing else.
_BATCHES, _TARGETS, _ROWS, _VAL = 1, 2, 3, 4


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is drawn before training: rows, batches and targets of each member.

    Attributes:
        streams: (K,) which stream of batches a member follows (one per seed).
        batches: (S, steps, B) positions in M_i's training rows.
        latents: (P, d) all targets that occur.
        targets: (K, steps, B) positions in ``latents``.
        val_targets: (K, N_val) the same for the validation rows.
    """

    streams: Tensor
    batches: Tensor
    latents: Tensor
    targets: Tensor
    val_targets: Tensor

    @staticmethod
    def of(world: Direction, members: Sequence[Values]) -> Plan:
        """The plan of ``members``, which agree on rows, steps and batch size."""
        first, y, y_val = members[0], world.y["train"].cpu(), world.y["val"].cpu()  # drawn there for any device
        seeds = list(dict.fromkeys(s["seed"] for s in members))
        rows = {seed: _chosen_rows(y, first["rows_per_class"], seed) for seed in seeds}
        batch = min(first["batch_size"], min(map(len, rows.values())))
        batches = torch.stack([_batches(rows[seed], first["steps"], batch, seed) for seed in seeds])
        streams = torch.tensor([seeds.index(s["seed"]) for s in members])
        pools = _pools(world, members)
        # All pools stand in one table of latents, so that a target is a row number whatever its kind.
        starts, total = {}, 0
        for name, pool in pools.items():
            starts[name], total = total, total + len(pool.z)
        targets, val_targets = [], []
        for s, stream in zip(members, streams.tolist(), strict=True):
            kind = KINDS[s["target"]]
            at, name = batches[stream], _pool_name(world, s)
            rng = _stream(s["seed"], _TARGETS)
            if s["redraw"] or kind.rule == "own":
                found = drawn(pools[name], kind.rule, y[at], at, rng)
            else:  # one target per row for the whole run
                found = drawn(pools[name], kind.rule, y, torch.arange(len(y)), rng)[at]
            targets.append(found + starts[name])
            held_out = pools.get(f"{name}/val", pools[name])
            positions = torch.arange(len(y_val))
            rule = kind.rule if kind.rule != "own" or f"{name}/val" in pools else "label"
            found = drawn(held_out, rule, y_val, positions, _stream(s["seed"], _VAL))
            val_targets.append(found + (starts[f"{name}/val"] if rule == "own" else starts[name]))
        latents = torch.cat([pool.z for pool in pools.values()])
        chosen = (streams, batches, latents, torch.stack(targets), torch.stack(val_targets))
        return Plan(*(t.to(world.device) for t in chosen))


@float32()
def train(
    world: Direction,
    members: Sequence[Values],
    plan: Plan,
    starts: Sequence[int],
    on_step: Callable[[int, Params], None] | None = None,
) -> Params:
    """The members' nets, trained with Adam (decoupled weight decay) and a cosine schedule; stacked (K, ...).

    Args:
        world: what they share.
        members: settings; those in the experiment's ``FREE`` may differ.
        plan: of these members.
        starts: (K,) seeds of the starting parameters.
        on_step: called with (0, starts) before the first step and (t, params) after step t.
    """
    first = members[0]
    shape, options = world.x["train"].shape[1:], (first["hidden"], world.width, world.classes, first["architecture"])
    params = {n: p.to(world.device) for n, p in stack([nets.start(k, shape, *options) for k in starts]).items()}
    alpha = torch.tensor([0.0 if s["target"] == "none" else float(s["alpha"]) for s in members], device=world.device)
    names = [s["loss"] for s in members]
    if on_step is not None:
        on_step(0, params)

    def losses(now: Params, step: int) -> Tensor:
        at = plan.batches[plan.streams, step]
        z = nets.features(now, world.x["train"][at])
        labels = world.y["train"][at]
        out = nets.logits(now, z).transpose(1, 2)
        cls = functional.cross_entropy(out, labels, reduction="none").mean(1)
        drawn_to = latent_losses(z, plan.latents[plan.targets[:, step]], names)
        return (1 - alpha) * cls + alpha * drawn_to

    return descend(
        params, losses, steps=first["steps"], lr=torch.tensor([float(s["lr"]) for s in members]), optimizer="adamw",
        weight_decay=torch.tensor([float(s["weight_decay"]) for s in members]), schedule="cosine",
        on_step=None if on_step is None else lambda step, _, now: on_step(step + 1, now),
    )  # fmt: skip


def accuracy(params: Params, x: Tensor, y: Tensor) -> Tensor:
    """(K,) share of right answers, on the CPU; members in groups, so that features of many do not fill the memory."""
    shares = []
    with torch.no_grad():
        for k in range(len(params["w1"])):
            one = {name: p[k : k + 1] for name, p in params.items()}
            right = nets.logits(one, nets.features(one, x)).argmax(2) == y
            shares.append(wide(right).mean(1))
    return torch.cat(shares).cpu()


def _pool_name(world: Direction, s: Values) -> str:
    kind = KINDS[s["target"]]
    if kind.pool not in world.teacher.pools:
        why = (
            "the dataset has no text that the sentence encoder reads"
            if kind.pool != "class"
            else "it has too many classes"
        )
        raise ValueError(f"target {s['target']!r} of {s['direction']} does not exist here: {why}.")
    if kind.rule == "own" and world.teacher.pools[kind.pool].own is None:
        raise ValueError(f"target {s['target']!r} of {s['direction']} needs a latent of M_j for every class.")
    return kind.pool


def _pools(world: Direction, members: Sequence[Values]) -> dict[str, Pool]:
    """The pools that occur, and for targets of a row's own, those of the validation rows."""
    pools: dict[str, Pool] = {}
    for s in members:
        name = _pool_name(world, s)
        pools[name] = world.teacher.pools[name]
        if KINDS[s["target"]].rule == "own" and world.teacher.z_val is not None:
            z = world.teacher.z_val
            pools[f"{name}/val"] = Pool(z, world.y["val"], torch.arange(len(z)))
    return pools


def _chosen_rows(y: Tensor, per_class: int, seed: int) -> Tensor:
    """``per_class`` rows of each class, or all for 0."""
    if per_class == 0:
        return torch.arange(len(y))
    return torch.cat([rows[:per_class] for _, rows in shuffled_classes(y, _stream(seed, _ROWS))])


def _batches(rows: Tensor, steps: int, size: int, seed: int) -> Tensor:
    """(steps, size) rows, in epochs of random order; an epoch's rest is left out."""
    rng = _stream(seed, _BATCHES)
    batches: list[Tensor] = []
    while len(batches) < steps:
        order = rows[torch.randperm(len(rows), generator=rng)]
        batches += order[: len(order) // size * size].split(size)
    return torch.stack(batches[:steps])


def _stream(seed: int, purpose: int) -> torch.Generator:
    return torch.Generator().manual_seed(mixed(seed, purpose, offset=3))
