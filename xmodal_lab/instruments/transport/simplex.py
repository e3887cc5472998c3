"""Exact transport by POT's network simplex: one pair (``simplex``) or a batch with gradients (``emd``)."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.shapes import Float
from .token_sets import TokenSets, TransportPlan

# Pivots before POT gives up; its own default of 1e5 stops short at about 2000 points.
PIVOTS = 10_000_000


def emd(
    cost: Any, mask_a: Any = None, mask_b: Any = None, *, workers: int | None = None, mass_a: Any = None,
    mass_b: Any = None,
) -> TransportPlan:  # fmt: skip
    """Exact optimal transport between token sets, uniform unless masses are given: min_T ⟨C, T⟩ (wma Eq 5-8).

    POT's network simplex, pair by pair in float64 on the CPU. The gradient of the value in the
    cost is the plan itself (envelope theorem), so nothing is recorded while solving.

    Args:
        cost: (..., p, q) cost of moving token p to token q; any sign.
        mask_a, mask_b: (..., p), (..., q); True (or 1) where there is a token. None: all are there.
        workers: threads to spread the pairs over; as many as torch uses when None.
        mass_a, mass_b: (..., p), (..., q); weights ≥ 0 of the tokens, brought to sum 1. None: all weigh the same.

    Warns:
        UserWarning: the simplex ran out of pivots.

    Returns:
        The plan with its value; its marginals are exact.

    Raises:
        ValueError: an empty token set, a mask that leaves none, NaN or Inf, shapes that do not fit.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> cost = torch.tensor([[0.0, 2.0], [1.0, 5.0]])
        >>> found = xl.transport.emd(cost)
        >>> found.plan, float(found.value)
        (tensor([[0.0000, 0.5000],
                [0.5000, 0.0000]]), 1.5)
    """
    sets = TokenSets.of(cost, mask_a, mask_b, mass_a, mass_b)
    workers = torch.get_num_threads() if workers is None else check.integer("workers", workers, at_least=1)
    plan, exact, error, optimal = _solve(sets, workers)
    value: Tensor = cast(Any, _Priced).apply(sets.cost, plan, exact)
    lower = torch.where(optimal, exact, -torch.inf)
    converged = bool(optimal.all())
    if not converged:
        warnings.warn(f"emd did not converge for {int((~optimal).sum())} of {len(plan)} pairs.", stacklevel=2)
    return sets.answer(plan, value, error, lower, converged, None)


class _Priced(torch.autograd.Function):
    """⟨C, T⟩ with T a constant, where the value is already known."""

    @staticmethod
    def forward(ctx: Any, _cost: Tensor, plan: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(plan)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (plan,) = ctx.saved_tensors
        return gradients[0][:, None, None] * plan, None, None


def _solve(sets: TokenSets, workers: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Plan, value, marginal error of each pair, and whether it is optimal.

    All of it pair by pair in NumPy, which keeps a pair in the cache and the threads out of each other's way.
    """
    costs = sets.cost.detach().cpu().numpy()
    a, b = (side.cpu().double().numpy() for side in (sets.a, sets.b))
    a, b = a / a.sum(1, keepdims=True), b / b.sum(1, keepdims=True)  # to the last digit, as the simplex wants it
    n = len(costs)
    plans, values, errors, optimal = np.zeros_like(costs), np.empty(n), np.empty(n), np.empty(n, dtype=bool)

    def solve(pairs: range) -> None:
        for k in pairs:
            if sets.masked:
                rows, columns = a[k] > 0, b[k] > 0
                cells: Any = np.ix_(rows, columns)
                mass_a, mass_b = a[k][rows], b[k][columns]
            else:
                cells, mass_a, mass_b = ..., a[k], b[k]
            cost = costs[k][cells].astype(np.float64)
            plan, optimal[k] = simplex(mass_a, mass_b, cost)
            plans[k][cells] = plan
            values[k] = (plan * cost).sum()
            errors[k] = max(np.abs(plan.sum(1) - mass_a).sum(), np.abs(plan.sum(0) - mass_b).sum())

    if workers == 1 or n < 2 * workers:
        solve(range(n))
    else:  # the simplex releases the interpreter lock; small pieces keep the threads level
        size = max(1, n // (4 * workers))
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(solve, [range(k, min(k + size, n)) for k in range(0, n, size)]))
    plan, value, error = (torch.from_numpy(x).to(sets.cost) for x in (plans, values, errors))
    return plan, value, error, torch.from_numpy(optimal).to(sets.cost.device)


def simplex(
    a: Float[np.ndarray, " p"], b: Float[np.ndarray, " q"], cost: Float[np.ndarray, "p q"]
) -> tuple[Float[np.ndarray, "p q"], bool]:
    """POT's exact plan between masses ``a`` and ``b`` (float64), and whether it is optimal."""
    import ot

    # The plan is the same for costs brought to [0, 1]. POT's tolerance is absolute, so tiny costs would all look
    # optimal, and costs below -1 are called infeasible (0.9.7).
    low, high = float(cost.min()), float(cost.max())
    cost = (cost - low) / ((high - low) or 1.0)
    plan, log = ot.lp.emd(a, b, cost, numItermax=PIVOTS, log=True, center_dual=False, check_marginals=False)
    return plan, log["warning"] is None
