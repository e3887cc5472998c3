"""Transport side by side with POT, geomloss and what one writes in NumPy or PyTorch.

Each row runs ours and the peer's in turn, in one process, and compares the medians. Both do the
whole work: from points to the value, and where it says so back to the gradient in the points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xmodal_lab import transport

from .timing import contest


def rows(repeats: int = 9) -> list[dict[str, Any]]:
    """One dict per comparison; ``error`` is the largest relative difference of the values."""
    return [
        batched_transports(repeats),
        batched_transports_with_masks(repeats),
        *proximal(repeats),
        *entropic(repeats),
        *sliced_distance(repeats),
        *debiased(max(1, repeats // 3)),
        *discrepancy(max(1, repeats // 3)),
    ]


def batched_transports(repeats: int = 9) -> dict[str, Any]:
    x, y = tokens()

    def ours(a: Tensor, b: Tensor) -> Tensor:
        return transport.emd(transport.cost_matrix(a, b)).value

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        import ot

        mass_a, mass_b = torch.full((a.shape[1],), 1 / a.shape[1]), torch.full((b.shape[1],), 1 / b.shape[1])
        return torch.stack([ot.emd2(mass_a, mass_b, cost) for cost in transport.cost_matrix(a, b)])

    ours_run, their_run = _there_and_back(ours, x, y), _there_and_back(theirs, x, y)
    return _row("128 transports 40x196, forward + backward", ours_run, their_run, "ot.emd2 on torch", 0.9, repeats)


def batched_transports_with_masks(repeats: int = 9) -> dict[str, Any]:
    x, y = tokens()
    generator = torch.Generator().manual_seed(1)
    here = torch.arange(40) < torch.randint(8, 41, (128, 1), generator=generator)

    def ours(a: Tensor, b: Tensor) -> Tensor:
        return transport.emd(transport.cost_matrix(a, b), here).value

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        import ot

        masses = here.float() / here.sum(1, keepdim=True)
        mass_b = torch.full((b.shape[1],), 1 / b.shape[1])
        costs = transport.cost_matrix(a, b)
        return torch.stack([ot.emd2(mass, mass_b, cost) for mass, cost in zip(masses, costs, strict=True)])

    ours_run, their_run = _there_and_back(ours, x, y), _there_and_back(theirs, x, y)
    path = "128 transports 40x196, masked, forward + backward"
    return _row(path, ours_run, their_run, "ot.emd2 on torch, weights 0", None, repeats)


def proximal(repeats: int = 9) -> list[dict[str, Any]]:
    """IPOT with 50 steps, beside the loop that the code of UNITER and ViLT runs; errors against the same in float64."""
    cost = transport.cost_matrix(*tokens(), "cosine")
    truth = transport.ipot(cost.double()).value

    def loop() -> Tensor:
        """Ten lines, in the numbers themselves: no error bounds, and a small beta underflows."""
        n, p, q = cost.shape
        kernel, plan = torch.exp(-cost / 0.5), torch.ones_like(cost)
        sigma = torch.full((n, q, 1), 1 / q)
        for _ in range(50):
            step = kernel * plan
            delta = 1 / (p * torch.bmm(step, sigma))
            sigma = 1 / (q * torch.bmm(step.mT, delta))
            plan = delta * step * sigma.mT
        return (plan * cost).sum((1, 2))

    contestants: dict[str, Callable[[], Tensor]] = {"ours": lambda: transport.ipot(cost).value, "UNITER's loop": loop}
    return contest(contestants, repeats, {"UNITER's loop": None}, "128 IPOT plans 40x196", _apart(truth))


def entropic(repeats: int = 9) -> list[dict[str, Any]]:
    """Sinkhorn to a marginal error of 1e-3, beside POT's batch; errors against plans to 1e-9 in float64."""
    cost = transport.cost_matrix(*tokens(), "cosine")
    truth = transport.sinkhorn(cost.double(), tol=1e-9, iterations=20000).value

    def theirs() -> Tensor:
        from ot.batch import solve_batch

        plan = solve_batch(cost, reg=0.05, tol=1e-3, max_iter=1000).plan
        return (plan * cost).sum((1, 2))

    contestants: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: transport.sinkhorn(cost).value,
        "ot.solve_batch": theirs,
    }
    return contest(contestants, repeats, {"ot.solve_batch": None}, "128 Sinkhorn plans 40x196", _apart(truth))


def sliced_distance(repeats: int = 9) -> list[dict[str, Any]]:
    """Along 256 given directions; with gradients beside torch's own sort."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5000, 64, generator=generator)
    b = torch.randn(5000, 64, generator=generator) * torch.linspace(0.5, 1.5, 64) + 0.3
    theta = torch.nn.functional.normalize(torch.randn(64, 256, generator=generator), dim=0)

    def pot() -> Tensor:
        import ot

        return torch.tensor(ot.sliced_wasserstein_distance(a.numpy(), b.numpy(), projections=theta.numpy()))

    def numpy() -> Tensor:
        x, y = (np.sort((points @ theta).numpy(), axis=0) for points in (a, b))
        return torch.tensor(np.sqrt(np.square(x - y).mean()))

    def by_sort(x: Tensor, y: Tensor) -> Tensor:
        return ((x @ theta).sort(0).values - (y @ theta).sort(0).values).square().mean().sqrt()

    def ours(x: Tensor, y: Tensor) -> Tensor:
        return transport.w2(x, y, method="sliced", projections=theta)

    truth = _apart(ours(a.double(), b.double()))
    path = "sliced W2, n = 5000, d = 64, 256 directions"
    forward: dict[str, Callable[[], Tensor]] = {"ours": lambda: ours(a, b), "np.sort": numpy, "POT on NumPy": pot}
    back: dict[str, Callable[[], Tensor]] = {
        "ours": _there_and_back(ours, a, b), "torch.sort": _there_and_back(by_sort, a, b),
    }  # fmt: skip
    return [
        *contest(forward, repeats, {"np.sort": None, "POT on NumPy": 0.5}, path, truth),
        *contest(back, repeats, {"torch.sort": None}, f"{path}, forward + backward", truth),
    ]


def debiased(repeats: int = 3, n: int = 1000) -> list[dict[str, Any]]:
    """The Sinkhorn divergence of two clouds, beside geomloss; errors against plans to 1e-9 in float64."""
    a, b = tokens(1, n, n)
    a, b = a[0], b[0] + 0.3
    mean = float(torch.cdist(a.double(), b.double()).square().mean())
    truth = _divergence(a.double(), b.double(), 0.05 * mean)

    def theirs() -> Tensor:
        from geomloss import SamplesLoss

        # Its cost is |x - y|² / 2, so its ε = blur² is half of ours.
        divergence = SamplesLoss("sinkhorn", p=2, blur=(0.05 * mean / 2) ** 0.5, scaling=0.9, backend="tensorized")
        return (2 * divergence(a, b)).sqrt()

    contestants: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: transport.w2(a, b, method="entropic"), "geomloss, scaling .9": theirs,
    }  # fmt: skip
    bars: dict[str, float | None] = {"geomloss, scaling .9": None}
    return contest(contestants, repeats, bars, f"debiased entropic W2, n = {n}, d = 64", _apart(truth))


def _divergence(a: Tensor, b: Tensor, epsilon: float) -> Tensor:
    """Written out in the log domain."""

    def value(x: Tensor, y: Tensor) -> Tensor:
        cost, u, v = torch.cdist(x, y).square(), x.new_zeros(len(x)), y.new_zeros(len(y))
        for _ in range(300):
            u = -torch.logsumexp(v - cost / epsilon, 1) + math.log(len(y))
            v = -torch.logsumexp(u[:, None] - cost / epsilon, 0) + math.log(len(x))
        return epsilon * (u.mean() + v.mean())

    return (value(a, b) - value(a, a) / 2 - value(b, b) / 2).sqrt()


def discrepancy(repeats: int = 3, n: int = 2000) -> list[dict[str, Any]]:
    """MMD² with the median bandwidth, beside the whole Gram matrix in ten lines; errors against those in float64."""
    from xmodal_lab import metrics

    a, b = tokens(1, n, n)
    a, b = a[0], b[0] + 0.1

    def gram(x: Tensor, y: Tensor) -> Tensor:
        both = torch.cat([x, y])
        apart = torch.cdist(both, both).square()
        sigma = apart[apart > 0].sqrt().median()
        k, m = torch.exp(-apart / (2 * sigma**2)), len(x)
        return k[:m, :m].mean() + k[m:, m:].mean() - 2 * k[:m, m:].mean()

    contestants: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: metrics.mmd(a, b).value, "ten lines of PyTorch": lambda: gram(a, b),
    }  # fmt: skip
    truth = _apart(gram(a.double(), b.double()))
    return contest(contestants, repeats, {"ten lines of PyTorch": None}, f"MMD², n = {n} a side, d = 64", truth)


def _apart(truth: Tensor) -> Callable[[Tensor], float]:
    """The largest relative difference from ``truth``."""
    return lambda found: float(((found.detach().double() - truth.detach()).abs() / truth.detach().abs()).max())


def tokens(batch: int = 128, p: int = 40, q: int = 196, d: int = 64) -> tuple[Tensor, Tensor]:
    """Tokens around 12 common centres, as many as a ViLT has words and patches."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(12, d, generator=generator)

    def draw(count: int) -> Tensor:
        which = torch.randint(0, 12, (batch, count), generator=generator)
        return centres[which] + 0.7 * torch.randn(batch, count, d, generator=generator)

    return draw(p), draw(q)


def _there_and_back(value: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        values = value(a, b)
        values.sum().backward()
        return values.detach()

    return run


def _row(
    path: str, ours: Callable[[], Tensor], theirs: Callable[[], Tensor], peer: str, bar: float | None, repeats: int
) -> dict[str, Any]:
    """Both solve it exactly; the error is the largest difference between them."""
    truth = _apart(theirs().double())
    [line] = contest({"ours": ours, peer: theirs}, repeats, {peer: bar}, path, truth)
    return line


if __name__ == "__main__":
    for row in rows():
        print(row)
