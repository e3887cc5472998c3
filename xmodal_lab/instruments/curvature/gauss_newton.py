"""Positive relatives of the Hessian of a net: the generalised Gauss-Newton matrix and the empirical Fisher.

Both are Jᵀ M J, with J the Jacobian of the net's outputs in θ and M small and known for each row. J v is a backward
pass of a backward pass, since J has a forward-mode rule for fewer layers; Jᵀ is one more.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...data.batches import each
from ...losses import Halves, ModuleLoss
from ...utils import checks as check
from .derivatives import twice_differentiable
from .operator import Operator


@dataclass(frozen=True)
class _Graph:
    """What products with one chunk go back through.

    Attributes:
        outputs: floating tensors that the module gives and that depend on θ.
        weights: one w for each of them, in which ``pulled`` is linear.
        pulled: (position, part of Jᵀw).
        leaves: the outputs, cut off from θ.
        slopes: the gradient of the criterion in ``leaves``, differentiable where M is its Hessian.
        rows: samples in the chunk.
    """

    outputs: list[Tensor]
    weights: list[Tensor]
    pulled: list[tuple[int, Tensor]]
    leaves: list[Tensor]
    slopes: list[Tensor]
    rows: int


class _Sandwich(Operator):
    """Jᵀ M J; a kind says what M does to an output's change."""

    def _positions(self) -> list[list[int]]:
        if not isinstance(self.loss, ModuleLoss):
            raise ValueError(
                f"{self.called} needs outputs and a criterion, and {self.loss.name} is a function of θ alone; make the "
                "loss with xl.loss_on(model, samples) or xl.Loss.from_module(module, batch, criterion)."
            )
        return super()._positions()

    def _cut(self, rows: int | None) -> list[Any]:
        return list(check.instance("loss", self.loss, ModuleLoss).halves(rows))

    def _graph(self, term: Halves) -> _Graph | None:
        with twice_differentiable():
            given, target = term.outputs(self._theta)
            outputs: list[Tensor] = []
            leaves: list[Tensor] = []

            def cut(tensor: Tensor) -> Tensor:
                if not (tensor.is_floating_point() and tensor.requires_grad):
                    return tensor
                outputs.append(tensor)
                leaves.append(tensor.detach().clone().requires_grad_())
                return leaves[-1].clone()  # which a criterion may work on in place

            value = term.criterion(each(given, cut), target)
            if not outputs or not value.requires_grad:
                return None
            self._fits(outputs, term.rows)
            slopes = torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True)
            used = [i for i, slope in enumerate(slopes) if slope is not None]
            outputs, leaves = [outputs[i] for i in used], [leaves[i] for i in used]
            weights = [torch.zeros_like(z, requires_grad=True) for z in outputs]
            pulled = torch.autograd.grad(
                outputs, list(self._theta.values()), weights, create_graph=True, allow_unused=True
            )
        parts = [(j, g) for j, g in enumerate(pulled) if g is not None and g.requires_grad]
        return _Graph(outputs, weights, parts, leaves, [s for s in slopes if s is not None], term.rows)

    def _fits(self, outputs: list[Tensor], rows: int) -> None:
        """Refuse outputs for which M is not defined."""

    @abstractmethod
    def _curved(self, graph: _Graph, changes: list[Tensor], batched: bool) -> list[Tensor]:
        """M times a change of each output, with a leading axis of several where ``batched``."""

    def _rows_of(
        self, graph: _Graph, block: Sequence[int], parts: Sequence[Tensor], retain: bool, batched: bool
    ) -> Iterator[tuple[int, Tensor]]:
        inside = [(j, g) for j, g in graph.pulled if j in block]
        if not inside:
            return
        changes = torch.autograd.grad(
            [g for _, g in inside],
            graph.weights,
            [parts[j] for j, _ in inside],
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=batched,
        )
        many = parts[0].shape[:1] if batched else ()
        whole = [
            z.new_zeros((*many, *z.shape)) if c is None else c for c, z in zip(changes, graph.outputs, strict=True)
        ]
        leaves = list(self._theta.values())
        rows = torch.autograd.grad(
            graph.outputs,
            [leaves[j] for j in block],
            self._curved(graph, whole, batched),
            retain_graph=retain,
            allow_unused=True,
            is_grads_batched=batched,
        )
        yield from ((j, row) for j, row in zip(block, rows, strict=True) if row is not None)


class GGN(_Sandwich):
    """The generalised Gauss-Newton matrix G = Σ Jᵀ (∇²_z ℓ) J of a net z(θ) under a criterion ℓ (Schraudolph 2002).

    The Hessian without the curvature of the net itself: positive semi-definite where ℓ is convex in z, and equal to the
    Hessian where z is linear in θ. For cross-entropy and squared error it is the Fisher information (Martens 2020,
    Sec 9).
    """

    called = "a GGN"

    def _curved(self, graph: _Graph, changes: list[Tensor], batched: bool) -> list[Tensor]:
        curved = [(s, c) for s, c in zip(graph.slopes, changes, strict=True) if s.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(changes)
        # A criterion that is linear in its outputs, such as a mean of them, has slopes that hang on nothing.
        if curved:
            found = torch.autograd.grad(
                [s for s, _ in curved],
                graph.leaves,
                [c for _, c in curved],
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=batched,
            )
        return [torch.zeros_like(c) if f is None else f for c, f in zip(changes, found, strict=True)]


class EmpiricalFisher(_Sandwich):
    """The empirical Fisher F = (1/N) Σ gₙ gₙᵀ, with gₙ = ∇ℓₙ(θ) the gradient of the loss of row n alone.

    Uncentred; it uses the labels that are there, not the model's own, so it is no Fisher information and need not be
    near the Hessian (Kunstner et al. 2019). Of a net whose rows know nothing of each other, and a criterion that is
    their mean.
    """

    called = "an empirical Fisher"

    def _positions(self) -> list[list[int]]:
        found = super()._positions()
        if isinstance(self.loss, ModuleLoss) and not self.loss.is_mean():
            raise ValueError(
                f"{self.called} needs a loss of each row, and {self.loss.name} is not a mean over rows (class weights, "
                "a sum, a contrastive term, or BatchNorm that recalibrates); give a criterion that is a mean, or ask "
                "for the ggn."
            )
        return found

    def _fits(self, outputs: list[Tensor], rows: int) -> None:
        strange = [tuple(z.shape) for z in outputs if z.ndim == 0 or len(z) != rows]
        if strange:
            raise ValueError(
                f"{self.called} needs outputs with one entry for each of {rows} rows, and the module of "
                f"{self.loss.name} gave shape {strange[0]}; put the rows first, or ask for the ggn."
            )

    def _curved(self, graph: _Graph, changes: list[Tensor], batched: bool) -> list[Tensor]:
        # The slope of the mean is 1/N of that of a row's own loss: Σ (N s)(N s)ᵀ / N = N Σ s sᵀ.
        slopes = [slope.detach().flatten(1) if slope.ndim > 1 else slope.detach()[:, None] for slope in graph.slopes]
        flat = [c.reshape(*c.shape[: batched + 1], -1) for c in changes]
        along = torch.stack([(s * c).sum(-1) for s, c in zip(slopes, flat, strict=True)]).sum(0) * graph.rows
        return [(along[..., None] * s).reshape(c.shape) for s, c in zip(slopes, changes, strict=True)]
