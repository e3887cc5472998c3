"""One optimizer for members that differ in learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .options import Options


class MemberStepper:
    """Steps of parameters (K, ...), each member at its own rate: θₖ ← θₖ + lrₖ · d(gₖ + λₖ θₖ).

    d is the step that the optimizer of the options takes at rate 1 and without decay, which is the same for all
    members; so one launch serves all of them, where an optimizer per rate takes one each. Adam and SGD are linear in
    their rate: up to the order in which floats are rounded these are the steps of one optimizer per member.

    Args:
        params: (K, ...), changed in place; their ``grad`` is read.
        options: of the K members.
        device: where they stand.
    """

    def __init__(self, params: Sequence[Tensor], options: Sequence[Options], device: torch.device) -> None:
        self.params = list(params)
        self.deltas = [torch.zeros_like(p) for p in self.params]
        self.optimizer = replace(options[0], recipe=None, lr=1.0, weight_decay=0.0).stepper(self.deltas, device)
        shapes = [(-1, *[1] * (p.ndim - 1)) for p in self.params]
        rates, decays = (
            torch.tensor([getattr(o, name) for o in options], dtype=torch.float64) for name in ("lr", "weight_decay")
        )
        self.rates = [rates.to(p.dtype).to(device).view(s) for p, s in zip(self.params, shapes, strict=True)]
        self.decays = [decays.to(p.dtype).to(device).view(s) for p, s in zip(self.params, shapes, strict=True)]

    @torch.no_grad()
    def step(self) -> None:
        """Take one step."""
        for p, delta, decay in zip(self.params, self.deltas, self.decays, strict=True):
            assert p.grad is not None
            delta.grad = torch.addcmul(p.grad, p, decay)
            delta.zero_()
        self.optimizer.step()
        for p, delta, rate in zip(self.params, self.deltas, self.rates, strict=True):
            p.addcmul_(delta, rate)
