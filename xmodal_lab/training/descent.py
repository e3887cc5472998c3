"""Gradient descent on stacked parameters: many small models, one backward pass.

    >>> import torch
    >>> from xmodal_lab.training.descent import descend, member, stack
    >>> params = stack([{"w": torch.tensor([start])} for start in (1.0, 2.0, 3.0)])  # {name: (K, ...)}
    >>> trained = descend(params, lambda p, step: (p["w"] ** 2).sum(1), steps=200, lr=0.1, optimizer="sgd")
    >>> bool(member(trained, 0)["w"].abs() < 1e-3)
    True

``losses(params, step)`` gives one loss per member, (K,). As member k's loss depends on its own
slice alone, the gradient of the sum is every member's own gradient, and each trains as if alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..losses import Params
from ..utils import checks as check

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine")
Losses = Callable[[Params, int], Tensor]


def descend(
    params: Mapping[str, Tensor],
    losses: Losses,
    *,
    steps: int,
    lr: float | Tensor = 1e-3,
    optimizer: str = "adam",
    momentum: float = 0.9,
    weight_decay: float | Tensor = 0.0,
    schedule: str = "constant",
    warmup: int = 0,
    betas: tuple[float, float] = (0.9, 0.999),
    on_step: Callable[[int, Tensor, Params], None] | None = None,
) -> Params:
    """Train K members that share shapes.

    Args:
        params: name -> (K, ...), the starts; left as they are.
        losses: (params, step) -> (K,), step counted from 0. Draw batches inside, from a generator of your own.
        steps: how many.
        lr, weight_decay: one for all, or (K,).
        optimizer: "adam" (weight decay in the gradient), "adamw" (decoupled), "sgd" (heavy ball, as in torch).
        momentum: of "sgd".
        schedule: of the learning rate after the warm-up: "constant", or "cosine" down to 0.
        warmup: steps in which the learning rate rises linearly from 0.
        betas: of Adam (Kingma and Ba 2015).
        on_step: called after each step with (step, losses (K,) before it, params); may raise to leave.

    Returns:
        name -> (K, ...), trained, without gradient. Members whose loss is not finite become NaN; the others go on.

    Raises:
        ValueError, TypeError: no parameter, parameters that disagree on K, an unknown optimizer or schedule,
            ``losses`` that does not give (K,).
    """
    members = _members(params)
    check.integer("steps", steps, at_least=1)
    check.one_of("optimizer", optimizer, OPTIMIZERS)
    check.one_of("schedule", schedule, SCHEDULES)
    check.integer("warmup", warmup, at_least=0)
    now = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    like = next(iter(now.values()))
    rates, decays = _per_member("lr", lr, members, like), _per_member("weight_decay", weight_decay, members, like)
    first = {name: torch.zeros_like(p) for name, p in now.items()}
    second = {} if optimizer == "sgd" else {name: torch.zeros_like(p) for name, p in now.items()}
    for step in range(steps):
        each = losses(now, step)
        if each.shape != (members,):
            raise ValueError(f"losses must give one loss per member, ({members},), got {tuple(each.shape)}.")
        gradients = torch.autograd.grad(each.sum(), list(now.values()), allow_unused=True)
        rate = rates * _factor(step, steps, warmup, schedule)
        with torch.no_grad():
            for (name, p), gradient in zip(now.items(), gradients, strict=True):
                g = torch.zeros_like(p) if gradient is None else gradient
                shape = (members,) + (1,) * (p.dim() - 1)
                r, decay = rate.view(shape), decays.view(shape)
                if optimizer == "adamw":
                    p.mul_(1 - r * decay)
                else:
                    g = g + decay * p
                if optimizer == "sgd":
                    first[name].mul_(momentum).add_(g)
                    p.sub_(r * first[name])
                else:
                    first[name].lerp_(g, 1 - betas[0])
                    second[name].mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
                    scale = (second[name] / (1 - betas[1] ** (step + 1))).sqrt_().add_(1e-8)
                    p.sub_(r / (1 - betas[0] ** (step + 1)) * first[name] / scale)
        if on_step is not None:
            on_step(step, each.detach(), now)
    return {name: p.detach() for name, p in now.items()}


def stack(members: Sequence[Mapping[str, Tensor]]) -> Params:
    """One dict of parameters (K, ...) from K dicts of the same names and shapes.

    Raises:
        ValueError: none, or names that differ.
    """
    if not members:
        raise ValueError("there is nothing to stack.")
    names = list(members[0])
    for k, m in enumerate(members):
        if set(m) != set(names):
            raise ValueError(f"member {k} has parameters {sorted(m)}, the first has {sorted(names)}.")
    return {name: torch.stack([m[name] for m in members]) for name in names}


def member(params: Mapping[str, Tensor], k: int) -> Params:
    """The parameters of member ``k``."""
    return {name: p[k] for name, p in params.items()}


def _factor(step: int, steps: int, warmup: int, schedule: str) -> float:
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _members(params: Mapping[str, Tensor]) -> int:
    if not params:
        raise ValueError("there are no parameters to train.")
    sizes = {name: p.shape[0] if p.dim() else 0 for name, p in params.items()}
    if len(set(sizes.values())) > 1 or 0 in sizes.values():
        raise ValueError(f"all parameters need the members as their first dimension, got sizes {sizes}.")
    return next(iter(sizes.values()))


def _per_member(name: str, value: float | Tensor, members: int, like: Tensor) -> Tensor:
    each = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if each.dim() > 1 or each.numel() not in (1, members):
        raise ValueError(f"{name} must be one number or one per member ({members},), got {tuple(each.shape)}.")
    if not bool((torch.isfinite(each) & (each >= 0)).all()):
        raise ValueError(f"{name} must be finite and at least 0, got {each.tolist()}.")
    return each.expand(members)
