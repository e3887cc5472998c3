"""Ways of training that look for flat minima: SAM's second gradient, SWA's average of weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def sharpened(
    params: Sequence[Tensor], gradients: Sequence[Tensor], rho: float, members: bool = False
) -> Iterator[None]:
    """Inside, the parameters are at θ + ρ g/‖g‖ (SAM, Foret et al. 2021, Eq 2); afterwards at θ again, to the bit.

    Args:
        params, gradients: tensors of the same shapes.
        rho: ρ.
        members: their first index counts nets, each with its own norm.
    """
    first = 1 if members else 0
    squares = torch.stack([g.square().flatten(first).sum(-1) for g in gradients])
    scale = rho / (squares.sum(0).sqrt() + 1e-12)
    before = [p.detach().clone() for p in params]
    with torch.no_grad():
        for p, g in zip(params, gradients, strict=True):
            p.add_(g * (scale.view(-1, *[1] * (g.ndim - 1)) if members else scale))
    try:
        yield
    finally:
        with torch.no_grad():
            for p, was in zip(params, before, strict=True):
                p.copy_(was)


def first_averaged(epochs: int, share: float) -> int:
    """The first epoch whose weights SWA averages; one beyond the last where it averages none."""
    return epochs + 1 if share == 0 else epochs + 1 - max(1, round(share * epochs))


class Average:
    """The running mean of a net's weights over epochs (SWA, Izmailov et al. 2018, Alg 1)."""

    def __init__(self, model: nn.Module, first: int) -> None:
        self.model, self.first, self.count = model, first, 0
        self.averaged: nn.Module | None = None

    def after(self, epoch: int, batches: Iterable[dict[str, Tensor]]) -> nn.Module:
        """The net to look at after this epoch: the trained one, or the average so far.

        Args:
            epoch: counted from 1.
            batches: training inputs, for BatchNorm's statistics at the average.
        """
        if epoch < self.first:
            return self.model
        if self.averaged is None:
            self.averaged = copy.deepcopy(self.model)
        self.count += 1
        with torch.no_grad():
            for mean, p in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(p, 1 / self.count)
        _renew_statistics(self.averaged, batches)
        return self.averaged


@torch.no_grad()
def _renew_statistics(model: nn.Module, batches: Iterable[dict[str, Tensor]]) -> None:
    """BatchNorm's running statistics at the weights that the net has now."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # a plain mean over the batches
    model.train()
    for inputs in batches:
        model(inputs)
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
