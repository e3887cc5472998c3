"""The training loop of a module: a loss in, a step out. :func:`~xmodal_lab.fit` and the papers' own nets go through it.

Stacks of members, whose parameters are (K, ...), go through :mod:`.descent` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .flat_minima import sharpened

FUSED = ("cpu", "cuda", "mps")  # devices for which torch has a fused Adam: one kernel for all parameters and operations


def train(
    optimizer: torch.optim.Optimizer,
    loss_at: Callable[[int], Tensor | None],
    steps: int,
    *,
    rate: Callable[[int], float] | None = None,
    after: Callable[[int], None] | None = None,
) -> None:
    """Take ``steps`` steps.

    Args:
        optimizer: of the parameters that move.
        loss_at: step, from 0 -> a scalar, or None where this batch teaches nothing and the step is left out. Draws its
            batch from a generator of its own, and raises to stop.
        steps: how many.
        rate: step -> learning rate of all groups; the optimizer's own when not given.
        after: called with each step once it is taken.
    """
    for step in range(steps):
        loss = loss_at(step)
        if loss is None:
            continue
        if rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
        take_step(optimizer, loss)
        if after is not None:
            after(step)


def take_step(
    optimizer: torch.optim.Optimizer, loss: Tensor, rho: float = 0.0, again: Callable[[], Tensor] | None = None
) -> None:
    """One step down ``loss``; with ``rho``, along the gradient at θ + ρ g/‖g‖ (sharpness-aware minimisation).

    Args:
        optimizer: of all parameters that move.
        loss: a scalar.
        rho: 0 for a plain step.
        again: the same batch's loss once more, needed with ``rho``.
    """
    params = [p for group in optimizer.param_groups for p in group["params"]]
    _backward(loss, params)
    if rho and again is not None:
        moved = [p for p in params if p.grad is not None]
        with sharpened(moved, [p.grad for p in moved if p.grad is not None], rho):
            _backward(again(), params)
    optimizer.step()


def warmed_up(lr: float, steps: int, warmup: int) -> Callable[[int], float]:
    """A rate that rises over the warm-up and then falls linearly to 0 (wma Sec 4.1).

    Args:
        lr: the highest rate that there would be.
        steps: of the whole training.
        warmup: steps in which it rises.

    Returns:
        step -> learning rate.
    """
    return lambda step: lr * min(1.0, (step + 1) / max(1, warmup)) * (1 - step / steps)


def _backward(loss: Tensor, params: Sequence[Tensor]) -> None:
    for p in params:
        p.grad = None
    loss.backward()  # type: ignore[no-untyped-call]
    for p in params:  # fused Adam on the CPU misreads gradients with transposed strides
        if p.grad is not None and not p.grad.is_contiguous():
            p.grad = p.grad.contiguous()
