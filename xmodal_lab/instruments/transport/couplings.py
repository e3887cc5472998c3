"""The three couplings on clouds of points, where the inequalities hold exactly too (synergy Eq 12).

With equally many points in each cloud, an optimal plan is a permutation, so z_k is a cloud of as many points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...utils import checks as check
from .clouds import w2
from .costs import cost_matrix
from .gaussians import COUPLINGS
from .triangle import alpha_star, interpolation_cost


@dataclass(frozen=True, eq=False)
class Curves:
    """Δ_k² over α, by coupling.

    Attributes:
        alpha: (n,).
        quadratic: (n,) f(α), from the three distances.
        squared: coupling -> (n,) W2²(P*, P_k), exact.
        sides: Δ_i, Δ_j, Δ_ij.
        alpha_star: raw, Eq 4.
    """

    alpha: Tensor
    quadratic: Tensor
    squared: dict[str, Tensor]
    sides: tuple[float, float, float]
    alpha_star: float


def matched(a: Tensor, b: Tensor) -> Tensor:
    """For each row of ``a``, the row of ``b`` that an optimal plan sends it to, (n,).

    Raises:
        ValueError: clouds of different size or dimension, empty ones.
    """
    from scipy.optimize import linear_sum_assignment

    if a.dim() != 2 or a.shape != b.shape or len(a) == 0:
        raise ValueError(
            f"expected two clouds (n, d) of equally many points, got {tuple(a.shape)} and {tuple(b.shape)}."
        )
    _, columns = linear_sum_assignment(cost_matrix(a.double(), b.double(), "squared_euclidean").numpy())
    return torch.from_numpy(columns)


def curves(star: Any, z_i: Any, z_j: Any, alpha: Tensor | None = None, seed: int = 0) -> Curves:
    """Δ_k² of the three couplings, against f(α).

    Args:
        star, z_i, z_j: (n, d) each, equally many points.
        alpha: where; 11 points from 0 to 1 by default.
        seed: of the random pairing.

    Raises:
        ValueError: clouds of different size or dimension; NaN or Inf.
    """
    named = {"star": star, "z_i": z_i, "z_j": z_j}
    base, i, j = (check.finite(k, check.as_tensor(k, v, torch.float64)).detach() for k, v in named.items())
    alpha = torch.linspace(0, 1, 11, dtype=torch.float64) if alpha is None else alpha.double()
    to_i, to_j, across = matched(base, i), matched(base, j), matched(i, j)
    order = torch.randperm(len(j), generator=torch.Generator().manual_seed(seed))
    pairs = {"true": (i, j[across]), "generalised": (i[to_i], j[to_j]), "random": (i, j[order])}
    sides = tuple(
        float((a - b).square().sum(1).mean().sqrt()) for a, b in ((base, i[to_i]), (base, j[to_j]), (i, j[across]))
    )
    squared = {
        name: torch.stack([w2(base, (1 - a) * pairs[name][0] + a * pairs[name][1]).square() for a in alpha])
        for name in COUPLINGS
    }
    quadratic = interpolation_cost(alpha, *sides)
    found = alpha_star(*sides).raw if sides[2] > 0 else float("nan")
    return Curves(alpha, quadratic, squared, (sides[0], sides[1], sides[2]), float(found))
