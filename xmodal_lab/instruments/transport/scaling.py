"""Transport plans by scaling rows and columns of exp(-C/ε), where nothing in it underflows; see :mod:`._plans`.

A sweep is two products of a matrix with a vector, where the log domain takes exponentials and logarithms of the whole
matrix. What both compute is the same.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ...utils.graphs import Graphed

# Largest (max C - min C) / ε at which potentials and their products stay far from the ends of a precision (ours). A
# proximal step multiplies a plan that may be small already: half of it, beyond which plans were off by 0.5 %.
SPREAD = {torch.float32: 60.0, torch.float64: 600.0}
PROXIMAL = 0.5
# Scalings of rows and columns beyond which a sum that they come from has lost digits (ours).
_FAR = {torch.float32: 1e30, torch.float64: 1e290}
# Proximal steps between two looks for lost mass, and log T / ab below which a pair carries none (ours).
_LOOK, _NEGLIGIBLE = 10, -21.0


def at_once(device: torch.device) -> int:
    """Sweeps between two looks at the error: ten where the host would have to wait for each (ours)."""
    return 1 if device.type == "cpu" else 10


def may_scale(cost: Tensor, step: float, present: Tensor | None, share: float = 1.0) -> bool:
    """Whether exp(-C/step) of the pairs that are there can be held as numbers, within a ``share`` of ``SPREAD``."""
    if present is None:
        low, high = cost.amin((-2, -1)), cost.amax((-2, -1))  # each faster than half of aminmax
    else:
        low = cost.masked_fill(~present, torch.inf).amin((-2, -1))
        high = cost.masked_fill(~present, -torch.inf).amax((-2, -1))
    return bool(((high - low) / step <= share * SPREAD.get(cost.dtype, 0.0)).all())


def proximal(
    cost: Tensor, a: Tensor, b: Tensor, present: Tensor | None, beta: float, iterations: int, inner: int
) -> tuple[Tensor, Tensor] | None:
    """IPOT: the plan (n, p, q) after ``iterations`` proximal steps, and the rows' dual variable (n, p).

    None where a pair underflowed that its potentials give mass to: T ∘ exp(-C/β) fifty times may well underflow where
    exp(-C/β) does not, and what is 0 stays 0.
    """
    steps = (cost - _lowest(cost, present)).mul_(1 / beta)
    apart = max(1, int(SPREAD[cost.dtype] / 2 / max(1.0, float(steps.amax()))))
    found = _proximal_steps(iterations, inner, apart)(steps, a, b)
    assert found is not None
    plan, log_rows, lost = found
    return None if bool(lost) else (plan, log_rows * (beta / iterations))


@lru_cache(maxsize=4)
def _proximal_steps(iterations: int, inner: int, apart: int) -> Graphed:
    """(C/β, a, b) -> the plan, log scalings of its rows, and whether mass was lost; on a GPU as one launch."""

    def run(steps: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _proximal(steps, a, b, iterations, inner, apart)

    return Graphed(run, "IPOT")


def _proximal(
    steps: Tensor, a: Tensor, b: Tensor, iterations: int, inner: int, apart: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Proximal steps; factors go into the plan after every ``apart`` of them. On a CPU it leaves where mass is lost."""
    kernel = (-steps).clamp_(max=0).exp_()
    plan = a[:, :, None] * b[:, None, :]
    rows, columns = a[:, :, None], b[:, None, :]
    empty_rows, empty_columns = (rows == 0).to(a), (columns == 0).to(b)
    log_rows, log_columns = torch.zeros_like(rows), torch.zeros_like(columns)
    sigma, present = torch.ones_like(columns), plan > 0
    # Factors of rows and columns that the plan does not hold yet: one pass over it serves several steps.
    on_rows, on_columns = torch.ones_like(rows), torch.ones_like(columns)
    lost, ahead = torch.zeros((), dtype=torch.bool, device=steps.device), steps.device.type != "cpu"
    # What the next steps may bring below the smallest normal number, where a product takes ten times as long, is 0.
    least = torch.finfo(plan.dtype).tiny * math.exp(SPREAD[plan.dtype] / 2)
    for k in range(1, iterations + 1):
        plan.mul_(kernel)
        for _ in range(inner):
            sums = torch.bmm(on_columns * sigma, plan.mT).mT  # a vector from the left: a third of the time
            delta = rows / (on_rows * sums + empty_rows)
            sigma = columns / (on_columns * torch.bmm((on_rows * delta).mT, plan) + empty_columns)
        on_rows, on_columns = on_rows * delta, on_columns * sigma
        log_rows += torch.log(delta + empty_rows)
        log_columns += torch.log(sigma + empty_columns)
        if k % apart == 0 or k == iterations:
            torch.threshold_(plan.mul_(on_rows).mul_(on_columns), least, 0.0)
            on_rows, on_columns = torch.ones_like(rows), torch.ones_like(columns)
        if k % _LOOK == 0 or k == iterations:
            gone = (plan < torch.finfo(plan.dtype).tiny).logical_and_(present)
            if ahead or bool(gone.any()):
                still = torch.add(log_rows, log_columns).sub_(steps, alpha=k) > _NEGLIGIBLE
                lost = lost | gone.logical_and_(still).any()
                if not ahead and bool(lost):
                    break
    return plan, log_rows[..., 0], lost


def entropic(
    cost: Tensor, a: Tensor, b: Tensor, present: Tensor | None, epsilon: float, iterations: int, tol: float
) -> tuple[Tensor, Tensor, Tensor, int] | None:
    """Sinkhorn: the plan (n, p, q), both potentials u (n, p), v (n, q), and the sweeps made.

    log T = log a⊗b + u + v - C/ε. Stops after the first sweep whose rows were within ``tol`` before it.
    None where scalings came near the ends of the precision. ``present`` (n, p, q): which pairs are there; None for all.
    """
    lowest = _lowest(cost, present)
    kernel = torch.add(lowest / epsilon, cost, alpha=-1 / epsilon)
    if present is not None:  # what a pair that is not there holds may be anything
        kernel.clamp_(max=0)
    on_rows, on_columns, made = scaled(kernel.exp_(), a, b, iterations, tol)
    u, v = potential(on_rows, a), potential(on_columns, b)
    if u is None or v is None:
        return None
    u = torch.where(a > 0, u + lowest[..., 0] / epsilon, 0)
    return kernel.mul_(on_rows[:, :, None]).mul_(on_columns[:, None, :]), u, v, made


def scaled(kernel: Tensor, a: Tensor, b: Tensor, iterations: int, tol: float) -> tuple[Tensor, Tensor, int]:
    """Factors of rows (n, p) and columns (n, q) that give ``kernel`` the sums ``a`` and ``b``, and the sweeps made."""
    rows, columns = a[:, None, :], b[:, None, :]
    empty_rows, empty_columns = (rows == 0).to(a), (columns == 0).to(b)
    on_rows, on_columns = rows, columns
    turned = kernel.mT
    every = at_once(kernel.device)
    made, done = 0, False
    while made < iterations and not done:
        seen, errors = [], []
        for _ in range(min(every, iterations - made)):
            before = on_rows
            # A vector times a matrix is fast from the left, also where the matrix is turned.
            on_rows = rows / (torch.bmm(on_columns, turned) + empty_rows)
            on_columns = columns / (torch.bmm(on_rows, kernel) + empty_columns)
            # Rows of the plan before this sweep summed to a · before / now: an error that costs no pass over it.
            errors.append((rows * (before / (on_rows + empty_rows) - 1)).abs().sum((-2, -1)).amax())
            seen.append((on_rows, on_columns))
        first = made == 0  # before the first sweep there was no plan
        within = [k for k, error in enumerate(torch.stack(errors).tolist()) if error <= tol and not (first and k == 0)]
        chosen = within[0] if within else len(seen) - 1
        (on_rows, on_columns), made, done = seen[chosen], made + chosen + 1, bool(within)
    return on_rows[:, 0], on_columns[:, 0], made


def potential(factor: Tensor, mass: Tensor) -> Tensor | None:
    """log(factor / mass), 0 where no mass is; None if one of them is near overflow or near 0, or is no number."""
    scaling, far = torch.where(mass > 0, factor / mass, 1), _FAR[factor.dtype]
    return torch.log(scaling) if bool(((scaling < far) & (scaling > 1 / far)).all()) else None


def _lowest(cost: Tensor, present: Tensor | None) -> Tensor:
    """The lowest cost of a pair that is there, of each sample, (n, 1, 1)."""
    if present is not None:
        cost = cost.masked_fill(~present, torch.inf)
    return cost.amin((-2, -1), keepdim=True)
