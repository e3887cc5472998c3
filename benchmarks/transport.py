"""Transport side by side with POT: 128 batched transports, and a sliced distance.

Each row runs ours and the peer's in turn, in one process, and compares the medians. Both do the
whole work: from points to the value, and for the batch back to the gradient in the points.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xmodal_lab import transport


def rows(repeats: int = 9) -> list[dict[str, Any]]:
    """One dict per comparison; ``error`` is the largest relative difference of the values."""
    return [batched_transports(repeats), batched_transports_with_masks(repeats), sliced_distance(repeats)]


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


def sliced_distance(repeats: int = 9) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5000, 64, generator=generator)
    b = torch.randn(5000, 64, generator=generator) * torch.linspace(0.5, 1.5, 64) + 0.3
    theta = torch.nn.functional.normalize(torch.randn(64, 256, generator=generator), dim=0)

    def ours() -> Tensor:
        return transport.w2(a, b, method="sliced", projections=theta)

    def theirs() -> Tensor:
        import ot

        return ot.sliced_wasserstein_distance(a, b, projections=theta)

    return _row("sliced W2, n = 5000, d = 64, 256 directions", ours, theirs, "POT sliced on torch", 0.5, repeats)


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine, other = ours().double(), theirs().double()  # the first run also imports and warms up
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(repeats):
            for name, run in (("ours", ours), ("theirs", theirs)):
                start = time.perf_counter()
                run()
                times[name].append(1e3 * (time.perf_counter() - start))
    ours_ms, peer_ms = statistics.median(times["ours"]), statistics.median(times["theirs"])
    return {
        "path": path,
        "ours_ms": ours_ms,
        "peer_ms": peer_ms,
        "peer": peer,
        "ratio": ours_ms / peer_ms,
        "bar": bar,
        "error": float(((mine - other).abs() / other.abs()).max()),
        "n_repeats": repeats,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    for row in rows():
        print(row)
