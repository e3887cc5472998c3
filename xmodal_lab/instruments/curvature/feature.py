"""The Hessian in the fused feature, sample by sample: the quantity of dml Thm 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.shapes import Float
from ...utils.torch_state import full_precision
from .checked import check_function, refused, symmetrised
from .derivatives import twice_differentiable


@dataclass(frozen=True, eq=False)
class FeatureHessian:
    """Curvature of a loss in the fused feature, sample by sample.

    Attributes:
        norms: (n,) spectral norms ‖∇²_f ℓ(f | y)‖₂.
        largest: (n,) signed largest eigenvalues.
        sup, mean: of the norms over the given features; ``sup`` is a lower bound of dml's sup over all f.
    """

    norms: Float[Tensor, " n"]
    largest: Float[Tensor, " n"]

    @property
    def sup(self) -> float:
        """Largest norm."""
        return float(self.norms.max())

    @property
    def mean(self) -> float:
        """Mean norm."""
        return float(self.norms.mean())


@full_precision()
def feature_hessian(loss_of_feature: Callable[[Tensor], Tensor], features: Tensor) -> FeatureHessian:
    """∇²_f ℓ(f | y), the Hessian of dml Thm 2 (Eq 6), for each of n features.

    Thm 2 bounds the supremum over f of this norm. It says nothing of the Hessian in θ at a
    minimum, which is what dml Tab 4 measures (:func:`top_eigenvalues`): show both.

    Args:
        loss_of_feature: features (n, d) -> losses (n,), each of its own row only: head and criterion,
            with the labels inside and ``reduction="none"``.
        features: (n, d). Costs d backward passes and n·d² numbers of memory.

    Returns:
        Norms and largest eigenvalues, one per row (n,), with their supremum and mean.

    Raises:
        ValueError: features not (n, d) or not finite, losses not (n,) or not finite, a loss that
            depends on another row, a second derivative that is not the derivative of the first.
    """
    check.function("loss_of_feature", loss_of_feature, "from features (n, d) to losses (n,)")
    given = check.finite("features", check.as_tensor("features", features))
    if given.dtype in (torch.float16, torch.bfloat16):  # no eigenvalues in these
        given = given.float()
    if given.ndim != 2 or given.numel() == 0 or not given.is_floating_point():
        raise ValueError(f"features must be floating point of shape (n, d), got {given.dtype} {tuple(given.shape)}.")
    with twice_differentiable(), refused("loss_of_feature"):
        point = given.detach().clone().requires_grad_()
        losses = loss_of_feature(point)
        if not isinstance(losses, Tensor) or losses.shape != point.shape[:1]:
            got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(f"loss_of_feature must return shape ({len(point)},), one loss per row, got {got}.")
        check.finite("the losses of the features", losses.detach())
        zero = torch.zeros_like(point)
        slope = torch.autograd.grad(losses.sum(), point, create_graph=True)[0] if losses.requires_grad else zero
        matrix = torch.zeros(*point.shape, point.shape[1], dtype=point.dtype, device=point.device)
        if losses.requires_grad:
            _only_own_row(losses, point)
        if slope.requires_grad:
            for i in range(point.shape[1]):
                row = torch.autograd.grad(slope[:, i].sum(), point, retain_graph=True, allow_unused=True)[0]
                matrix[:, i] = zero if row is None else row
    matrix = check.finite("the Hessian in the feature", matrix.detach())
    check_function("loss_of_feature", lambda p: loss_of_feature(p["features"]).sum(), {"features": given})
    rounding = 16 * torch.finfo(matrix.dtype).eps * float(losses.detach().abs().max())
    spectrum = torch.linalg.eigvalsh(symmetrised(matrix, "loss_of_feature", rounding))
    return FeatureHessian(norms=spectrum.abs().amax(1), largest=spectrum[:, -1])


def _only_own_row(losses: Tensor, point: Tensor) -> None:
    """Raise where the first half of the losses depends on the second half of the features, or the reverse."""
    half = len(point) // 2
    for inside, outside in ((slice(None, half), slice(half, None)), (slice(half, None), slice(None, half))):
        slope = torch.autograd.grad(losses[inside].sum(), point, retain_graph=True, allow_unused=True)[0]
        if slope is not None and bool((slope[outside] != 0).any()):
            raise ValueError(
                "loss_of_feature mixes rows: one sample's loss depends on another sample's feature. "
                "Put BatchNorm in eval mode and use a loss per sample."
            )
