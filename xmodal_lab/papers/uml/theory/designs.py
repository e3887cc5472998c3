"""Random linear-Gaussian worlds on which uml's theorems are tried, and two that break them."""

from __future__ import annotations

import torch
from torch import Tensor

from ....instruments.information import Fisher, fisher
from ....utils import checks as check

KINDS = ("generic", "orthogonal", "inside", "aligned")


def spent() -> Fisher:
    """X = θ_1 + ε, Y = θ_1 + θ_2 + ε: Y is spent on θ_2, which X does not see, and Var(θ_1) stays 1.

    Against Cor 3, and Thm 2's "some u in range(M_X)": v = (1, 0) is an eigenvector of M_X, and Y sees it.
    """
    return fisher({"A_c": torch.tensor([[1.0, 0.0]]), "B_c": torch.tensor([[1.0, 1.0]])})


def half_seen() -> Fisher:
    """X sees nothing, Y = θ_1 + ε: no unbiased estimator of θ_1 + θ_2 exists, though vᵀM_Y v > 0 for v = (1, 1).

    Against Cor 2, and Thm 2 off the range of M_X.
    """
    return fisher({"A_c": torch.tensor([[0.0, 0.0]]), "B_c": torch.tensor([[1.0, 0.0]])})


def draw(
    seed: int,
    kind: str = "orthogonal",
    *,
    d_c: int = 3,
    d_x: int = 2,
    d_y: int = 3,
    rows: int = 5,
    n_x: int = 3,
    n_y: int = 3,
    rank_x: int | None = None,
    rank_y: int | None = None,
) -> Fisher:
    """A random world, Gaussian designs, σ between 0.3 and 2; all sizes are ours.

    Args:
        seed: of the design.
        kind: "orthogonal" (θ_c Fisher-orthogonal to θ_x and θ_y, as the paper assumes), "generic" (it is not),
            "inside" (range(B_c) ⊆ range(B_y): all that Y says of θ_c might as well be θ_y), or "aligned"
            (orthogonal, and M_X and M_Y have the same eigenvectors).
        d_c, d_x, d_y: numbers of parameters; rows: of one observation; n_x, n_y: samples, each with its own design.
        rank_x, rank_y: how many directions of θ_c each modality sees; all when left out.

    Raises:
        ValueError: an unknown kind; "inside" with d_y < d_c; a rank above d_c; sizes below 1.
    """
    check.one_of("kind", kind, KINDS)
    if kind == "inside" and d_y < d_c:
        raise ValueError(f"range(B_c) can lie inside range(B_y) only if d_y ≥ d_c, got {d_y} < {d_c}.")
    generator = torch.Generator().manual_seed(check.integer("seed", seed, at_least=0))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    axes = torch.linalg.qr(normal(d_c, d_c))[0]
    parts: dict[str, Tensor] = {}
    for letter, name, own_size, n, seen in (("A", "x", d_x, n_x, rank_x), ("B", "y", d_y, n_y, rank_y)):
        seen = d_c if seen is None else check.integer(f"rank_{name}", seen, at_least=0)
        if seen > d_c:
            raise ValueError(f"rank_{name} is at most d_c = {d_c}, got {seen}.")
        shared, own = normal(n, rows, d_c), normal(n, rows, own_size)
        if kind == "aligned":
            scales = torch.cat([normal(seen).abs() + 0.1, torch.zeros(d_c - seen)])[
                torch.randperm(d_c, generator=generator)
            ]
            shared = torch.linalg.qr(shared)[0] * scales @ axes.T
        elif kind == "inside" and name == "y":
            shared = own @ normal(own_size, d_c)
        if seen < d_c and kind != "aligned":
            basis = torch.linalg.qr(normal(d_c, max(seen, 1)))[0][:, :seen]
            shared = shared @ basis @ basis.T
        if kind in ("orthogonal", "aligned"):
            flat = shared.flatten(0, 1)
            own = own - (flat @ torch.linalg.pinv(flat) @ own.flatten(0, 1)).view_as(own)
        parts |= {f"{letter}_c": shared, f"{letter}_{name}": own}
    sigma_x, sigma_y = (0.3 + 1.7 * torch.rand(2, generator=generator, dtype=torch.float32)).tolist()
    return fisher(parts, sigma_x=sigma_x, sigma_y=sigma_y)
