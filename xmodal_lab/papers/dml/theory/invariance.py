"""Assumption 1, approximate translation-invariance, for the four fusions (Def 1, App D.1, Tab 13).

    Δ_error = ‖φ(u, v + τ) - φ(u, v) - α ⊙ τ‖,   α = diag(∂φ/∂v)

The paper divides by ‖φ(u, v)‖, which says how small τ is. Divided by ‖φ(u, v + τ) - φ(u, v)‖ it
says how much of the shift the diagonal explains, and beside it stands α = 0, "nothing happens".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import jacfwd, vmap

from ....models.fusion import FUSIONS
from ....utils import checks as check
from ....utils.torch_state import seeded


@dataclass(frozen=True)
class Invariance:
    """Means over pairs (u, v).

    Attributes:
        norm: ‖φ(u, v)‖.
        error: Δ_error.
        of_feature: Δ_error / ‖φ(u, v)‖, as in Tab 13.
        of_shift: Δ_error / ‖φ(u, v + τ) - φ(u, v)‖.
        without: ‖φ(u, v + τ) - φ(u, v)‖ / ‖φ(u, v)‖, the error of α = 0.
        of_shift_matrix: Δ_error / ‖…‖ with the whole Jacobian in place of its diagonal.
    """

    norm: float
    error: float
    of_feature: float
    of_shift: float
    without: float
    of_shift_matrix: float


def invariance(
    fusion: str | nn.Module, *, width: int = 64, size: float = 0.01, samples: int = 128, seed: int = 0
) -> Invariance:
    """Test Assumption 1 on a fusion, as drawn (Tab 13) or trained.

    Args:
        fusion: a name, or a module from two features (n, width) to one.
        width: of the features.
        size: ‖τ‖ for features of unit norm (0.01: ours, which gives the paper's errors).
        samples: pairs (u, v), Gaussian, brought to unit norm.
        seed: of weights, pairs and τ.

    Raises:
        ValueError: an unknown fusion, a size not above 0.
    """
    check.positive("size", size)
    with seeded(check.integer("seed", seed, at_least=0)):
        if isinstance(fusion, str):
            fusion = FUSIONS[check.one_of("fusion", fusion, FUSIONS)](width, 2)
        u, v, tau = (torch.nn.functional.normalize(torch.randn(samples, width, dtype=torch.float64)) for _ in range(3))
    module = fusion.to(torch.float64)
    tau = size * tau
    matrix = jacobian(module, u, v)
    with torch.no_grad():
        before = module([u, v])
        moved = module([u, v + tau]) - before
        alpha = matrix.diagonal(dim1=1, dim2=2).mean(0)  # Def 1: one α for all u, v
        error = (moved - alpha * tau).norm(dim=1)
        whole = (moved - torch.einsum("nij,nj->ni", matrix, tau)).norm(dim=1)
    norm, length = before.norm(dim=1), moved.norm(dim=1)
    return Invariance(
        norm=float(norm.mean()),
        error=float(error.mean()),
        of_feature=float((error / norm).mean()),
        of_shift=float((error / length).mean()),
        without=float((length / norm).mean()),
        of_shift_matrix=float((whole / length).mean()),
    )


def jacobian(fusion: nn.Module, u: Tensor, v: Tensor) -> Tensor:
    """∂φ(u, v)/∂v of each row, (n, d, d)."""
    with torch.no_grad():
        found: Tensor = vmap(jacfwd(lambda one, other: fusion([one[None], other[None]])[0], argnums=1))(u, v)
    return found
