"""Transport plans between two sets of tokens: exact, proximal (IPOT) and entropic.

All three take a batch of cost matrices (..., p, q) and a mask per side, put uniform mass on
the tokens that are there, and answer with the same :class:`TransportPlan`. The public names
live in :mod:`xmodal_lab.transport`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from . import _checks as check
from ._costs import floating

GRADIENTS = ("envelope", "unrolled")

# Log mass of a pair that is not there: finite, so that differences of two such stay numbers.
_NOTHING = -1e30
# Entries of a cost tensor that a solver works on at a time: about a core's L2 cache (ours; measured 1.5x).
_PIECE = 1 << 17
# Network simplex pivots before POT gives up; its own default of 1e5 stops short at about 2000 points.
PIVOTS = 10_000_000


@dataclass(frozen=True, eq=False)
class TransportPlan:
    """A coupling of two token sets, with what it costs and how good it is.

    Attributes:
        plan: (..., p, q) T ≥ 0. Rows and columns that a mask leaves out are exactly 0.
        value: (...) ⟨C, T⟩, in the units of the cost. Differentiable in the cost.
        marginal_error: (...) share of the mass that is not where it should be:
            max(‖T1 - a‖₁, ‖Tᵀ1 - b‖₁).
        lower_bound: (...) no plan with the right marginals costs less than this (from the dual).
            The exact value lies between it and ``value`` as far as ``marginal_error`` is 0.
        converged: whether every sample of the batch met the solver's tolerance.
        iterations: how many were made; None for ``emd``, whose solver does not tell.
    """

    plan: Tensor
    value: Tensor
    marginal_error: Tensor
    lower_bound: Tensor
    converged: bool
    iterations: int | None


# -- solvers -----------------------------------------------------------------------------------------


def emd(cost: Any, mask_a: Any = None, mask_b: Any = None, *, workers: int | None = None) -> TransportPlan:
    """Exact optimal transport between uniform token sets: min_T ⟨C, T⟩ (wma Eq 5-8).

    POT's network simplex, pair by pair in float64 on the CPU. The gradient of the value in the
    cost is the plan itself (envelope theorem), so nothing is recorded while solving.

    Args:
        cost: (..., p, q) cost of moving token p to token q; any sign.
        mask_a, mask_b: (..., p), (..., q); True (or 1) where there is a token. None: all are there.
        workers: threads to spread the pairs over; as many as torch uses when None.

    Raises:
        ValueError: an empty token set, a mask that leaves none, NaN or Inf, shapes that do not fit.
    """
    problem = _Problem.of(cost, mask_a, mask_b)
    workers = torch.get_num_threads() if workers is None else check.integer("workers", workers, at_least=1)
    plan, optimal = problem.solve_exactly(workers)
    value = (problem.cost * plan).sum((-2, -1))
    lower = torch.where(optimal, value.detach(), -torch.inf)
    if not bool(optimal.all()):
        warnings.warn(f"emd did not converge for {int((~optimal).sum())} of {len(plan)} pairs.", stacklevel=2)
    return problem.answer(plan, value, lower, bool(optimal.all()), None)


def ipot(
    cost: Any,
    mask_a: Any = None,
    mask_b: Any = None,
    beta: float = 0.5,
    iterations: int = 50,
    inner: int = 1,
    gradient: str = "envelope",
    tol: float = 0.02,
) -> TransportPlan:
    """Optimal transport by inexact proximal points (Xie et al. 2018), which wma Sec 3.2 uses.

    T ← the plan closest to T ∘ exp(-C/β) in relative entropy, ``iterations`` times. Unlike Sinkhorn it tends to
    the exact plan, not to a blurred one. It runs in the log domain, so no β underflows.

    Args:
        cost: (..., p, q) cost of moving token p to token q.
        mask_a, mask_b: (..., p), (..., q); True (or 1) where there is a token. None: all are there.
        beta: proximal step in the units of the cost. A small one takes long to reach the marginals, a large one
            to lose the blur. 0.5 as in UNITER and ViLT, for cosine costs.
        iterations: proximal steps, all of them made; 50 as in UNITER and ViLT.
        inner: Sinkhorn sweeps per step; 1 as in Xie et al. and UNITER.
        gradient: ``"envelope"``: the plan is a constant, as in UNITER, ∂value/∂C = T, right in the limit.
            ``"unrolled"``: through every iteration, the derivative of what was computed; keeps them all in memory.
        tol: called converged when ``marginal_error`` ≤ tol and value - lower_bound ≤ tol · mean |C| (ours).

    Warns:
        UserWarning: not converged.

    Raises:
        ValueError: an empty token set, a mask that leaves none, NaN or Inf, β ≤ 0, shapes that do not fit.
    """
    beta, tol = check.positive("beta", beta), check.positive("tol", tol)
    iterations = check.integer("iterations", iterations, at_least=1)
    inner = check.integer("inner", inner, at_least=1)
    check.one_of("gradient", gradient, GRADIENTS)
    problem = _Problem.of(cost, mask_a, mask_b)
    unrolled = gradient == "unrolled"
    with torch.set_grad_enabled(unrolled and torch.is_grad_enabled()):
        log_plan, dual = problem.in_pieces(lambda part: _proximal(part, beta, iterations, inner))
        plan = log_plan.exp()
    value = (problem.cost * plan).sum((-2, -1))
    with torch.no_grad():
        lower = problem.lower_bound(dual)
        error = problem.marginal_error(plan)
        scale = (problem.cost.abs() * problem.independent()).sum((-2, -1))
        good = (error <= tol) & (value - lower <= tol * scale)
    if not bool(good.all()):
        warnings.warn(
            f"ipot did not converge for {int((~good).sum())} of {len(good)} pairs in {iterations} iterations: "
            f"marginal error up to {float(error.max()):.2g}, value up to {float((value - lower).max()):.2g} above its "
            f"lower bound. Raise iterations, or bring beta ({beta:g}) nearer to half the mean cost "
            f"({float(scale.mean()):.3g}); emd is exact.",
            stacklevel=2,
        )
    return problem.answer(plan, value, lower, bool(good.all()), iterations)


def sinkhorn(
    cost: Any,
    mask_a: Any = None,
    mask_b: Any = None,
    epsilon: float = 0.05,
    iterations: int = 1000,
    tol: float = 1e-3,
) -> TransportPlan:
    """Entropic optimal transport: the T that minimises ⟨C, T⟩ + ε KL(T ‖ a⊗b), in the log domain.

    ``value`` is ⟨C, T⟩ alone, above the exact one (as POT's ``sinkhorn2``). Its gradient takes T as a constant,
    which is the derivative of the minimised sum rather than of ⟨C, T⟩.

    Args:
        cost: (..., p, q) cost of moving token p to token q.
        mask_a, mask_b: (..., p), (..., q); True (or 1) where there is a token. None: all are there.
        epsilon: blur, in the units of the cost (0.05: ours, for cosine costs).
        iterations: sweeps at most.
        tol: stops when the marginal error of every sample is at most this (1e-3: ours).

    Warns:
        UserWarning: not converged.

    Raises:
        ValueError: an empty token set, a mask that leaves none, NaN or Inf, ε ≤ 0, shapes that do not fit.
    """
    epsilon, tol = check.positive("epsilon", epsilon), check.positive("tol", tol)
    iterations = check.integer("iterations", iterations, at_least=1)
    problem = _Problem.of(cost, mask_a, mask_b)
    with torch.no_grad():
        log_plan, dual, made = entropic_plan(problem.cost, problem.a, problem.b, epsilon, iterations, tol)
        plan = log_plan.exp()
        lower = problem.lower_bound(dual)
        error = problem.marginal_error(plan)
    value = (problem.cost * plan).sum((-2, -1))
    converged = bool((error <= tol).all())
    if not converged:
        warnings.warn(
            f"sinkhorn did not converge in {iterations} iterations: marginal error {float(error.max()):.2g}. "
            f"Raise iterations, or epsilon ({epsilon:g}).",
            stacklevel=2,
        )
    return problem.answer(plan, value, lower, converged, made)


def _proximal(part: _Problem, beta: float, iterations: int, inner: int) -> tuple[Tensor, Tensor]:
    """Log plan after ``iterations`` proximal steps, and the dual variable of the rows that goes with it."""
    log_a, log_b = _log(part.a), _log(part.b)
    log_plan = log_a[..., :, None] + log_b[..., None, :]
    step = part.cost / beta
    u_sum = torch.zeros_like(log_a)
    v = torch.zeros_like(log_b)  # kept from step to step: with one sweep each, a fresh start would never converge
    for _ in range(iterations):
        log_plan = log_plan - step
        for _ in range(inner):
            u, v = _sweep(log_plan, log_a, log_b, v)
        log_plan = log_plan + u[..., :, None] + v[..., None, :]
        u_sum = u_sum + u.detach()
    return log_plan, u_sum * (beta / iterations)  # log T = log ab + Σu + Σv - iterations · C/β


def entropic_plan(
    cost: Float[Tensor, "n p q"],
    a: Float[Tensor, "n p"],
    b: Float[Tensor, "n q"],
    epsilon: float,
    iterations: int,
    tol: float,
) -> tuple[Tensor, Tensor, int]:
    """Log plan of entropic transport between weights ``a`` and ``b``, the rows' dual variable, sweeps made."""
    log_a, log_b = _log(a), _log(b)
    kernel = log_a[..., :, None] + log_b[..., None, :] - cost / epsilon
    u, v = _sweep(kernel, log_a, log_b, torch.zeros_like(log_b))
    made = 1
    while made < iterations:
        before = u
        u, v = _sweep(kernel, log_a, log_b, v)
        made += 1
        # Rows of the plan before this sweep summed to a · exp(before - u): an error that costs no pass over the plan.
        if bool(((a * (before - u).exp() - a).abs().sum(-1) <= tol).all()):
            break
    return kernel + u[..., :, None] + v[..., None, :], epsilon * u, made


def _sweep(kernel: Tensor, log_a: Tensor, log_b: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Potentials that give ``kernel`` its row sums and then its column sums. Absent tokens keep 0."""
    u = log_a - torch.logsumexp(kernel + v[..., None, :], -1)
    u = torch.where(log_a > _NOTHING, u, 0)
    v = log_b - torch.logsumexp(kernel + u[..., :, None], -2)
    return u, torch.where(log_b > _NOTHING, v, 0)


def _log(mass: Tensor) -> Tensor:
    return torch.where(mass > 0, mass.clamp_min(torch.finfo(mass.dtype).tiny).log(), _NOTHING)


# -- a checked batch ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Problem:
    """A batch with its leading sizes flattened: cost (n, p, q), marginals a (n, p) and b (n, q)."""

    cost: Tensor
    a: Tensor
    b: Tensor
    batch: tuple[int, ...]
    dtype: torch.dtype
    masked: bool

    @staticmethod
    def of(cost: Any, mask_a: Any, mask_b: Any) -> _Problem:
        given = check.as_tensor("cost", cost)
        cost = floating("cost", given)
        if cost.ndim < 2:
            raise ValueError(f"cost must have shape (..., p, q), got {tuple(cost.shape)}.")
        *batch, p, q = cost.shape
        if p == 0 or q == 0:
            raise ValueError(
                f"cost has an empty token set, shape {tuple(cost.shape)}; every sample needs at least one token "
                "on each side. Drop such samples first."
            )
        if 0 in batch:
            raise ValueError(f"cost holds no sample, shape {tuple(cost.shape)}.")
        here_a = _mask("mask_a", mask_a, cost, p)
        here_b = _mask("mask_b", mask_b, cost, q)
        cost = cost.reshape(-1, p, q)
        masked = mask_a is not None or mask_b is not None
        if masked:  # padding may hold anything, also NaN
            cost = torch.where(here_a[:, :, None] & here_b[:, None, :], cost, 0)
        check.finite("cost", cost.detach())
        a = here_a.to(cost.dtype) / here_a.sum(-1, keepdim=True)
        b = here_b.to(cost.dtype) / here_b.sum(-1, keepdim=True)
        dtype = given.dtype if given.is_floating_point() else cost.dtype
        return _Problem(cost, a, b, tuple(batch), dtype, masked)

    def independent(self) -> Tensor:
        """The plan that ignores the cost, a ⊗ b."""
        return self.a[:, :, None] * self.b[:, None, :]

    def marginal_error(self, plan: Tensor) -> Tensor:
        rows = (plan.sum(-1) - self.a).abs().sum(-1)
        columns = (plan.sum(-2) - self.b).abs().sum(-1)
        return torch.maximum(rows, columns)

    def lower_bound(self, dual: Tensor) -> Tensor:
        """⟨a, f⟩ + ⟨b, g⟩ for the feasible pair made from ``dual`` (n, p): g = min_p C - dual, f = min_q C - g."""
        cost = self.cost.detach()
        if self.masked:
            cost = torch.where(self.independent() > 0, cost, torch.inf)
        g = torch.where(self.b > 0, (cost - dual[:, :, None]).amin(-2), 0)
        f = torch.where(self.a > 0, (cost - g[:, None, :]).amin(-1), 0)
        return (self.a * f).sum(-1) + (self.b * g).sum(-1)

    def in_pieces(self, solve: Callable[[_Problem], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Solve a few samples at a time, so that they stay in the cache; all at once on a GPU."""
        n, p, q = self.cost.shape
        size = n if self.cost.device.type != "cpu" else max(1, _PIECE // (p * q))
        parts = zip(self.cost.split(size), self.a.split(size), self.b.split(size), strict=True)
        solved = [solve(_Problem(c, a, b, (len(c),), self.dtype, self.masked)) for c, a, b in parts]
        return torch.cat([plan for plan, _ in solved]), torch.cat([dual for _, dual in solved])

    def solve_exactly(self, workers: int) -> tuple[Tensor, Tensor]:
        """Exact plans (n, p, q), and whether each is optimal (n,)."""
        costs = self.cost.detach().to("cpu", torch.float64).numpy()
        a, b = (side.detach().to("cpu", torch.float64).numpy() for side in (self.a, self.b))
        plans, optimal = np.zeros_like(costs), np.zeros(len(costs), dtype=bool)

        def solve(which: range) -> None:
            for k in which:
                if self.masked:
                    cells = np.ix_(a[k] > 0, b[k] > 0)
                    plan, optimal[k] = simplex(a[k][a[k] > 0], b[k][b[k] > 0], costs[k][cells])
                    plans[k][cells] = plan
                else:
                    plans[k], optimal[k] = simplex(a[k], b[k], costs[k])

        if workers == 1 or len(costs) < 2 * workers:
            solve(range(len(costs)))
        else:  # the simplex releases the interpreter lock; small pieces keep the threads level
            size = max(1, len(costs) // (4 * workers))
            pieces = [range(k, min(k + size, len(costs))) for k in range(0, len(costs), size)]
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(solve, pieces))
        return torch.from_numpy(plans).to(self.cost), torch.from_numpy(optimal).to(self.cost.device)

    def answer(
        self, plan: Tensor, value: Tensor, lower: Tensor, converged: bool, iterations: int | None
    ) -> TransportPlan:
        error = self.marginal_error(plan.detach())
        return TransportPlan(
            plan=plan.reshape(*self.batch, *plan.shape[-2:]).to(self.dtype),
            value=value.reshape(self.batch).to(self.dtype),
            marginal_error=error.reshape(self.batch),
            lower_bound=lower.reshape(self.batch),
            converged=converged,
            iterations=iterations,
        )


def simplex(
    a: Float[np.ndarray, " p"], b: Float[np.ndarray, " q"], cost: Float[np.ndarray, "p q"]
) -> tuple[Float[np.ndarray, "p q"], bool]:
    """POT's exact plan between weights ``a`` and ``b`` (float64), and whether it is optimal."""
    import ot

    # The plan is the same for costs brought to [0, 1]. POT's tolerance is absolute, so tiny costs would all look
    # optimal, and costs below -1 are called infeasible (0.9.7).
    low, high = float(cost.min()), float(cost.max())
    cost = (cost - low) / ((high - low) or 1.0)
    plan, log = ot.lp.emd(a, b, cost, numItermax=PIVOTS, log=True, center_dual=False, check_marginals=False)
    return plan, log["warning"] is None


def _mask(what: str, mask: Any, cost: Tensor, tokens: int) -> Bool[Tensor, "n tokens"]:
    """The mask as booleans (n, tokens), for the flattened batch."""
    batch = cost.shape[:-2]
    if mask is None:
        return torch.ones(cost.shape[:-2].numel(), tokens, dtype=torch.bool, device=cost.device)
    given = check.as_tensor(what, mask).to(cost.device)
    here = given != 0
    if given.dtype != torch.bool and not bool(((given == 0) | (given == 1)).all()):
        raise ValueError(
            f"{what} must hold True/False or 1/0 (1 where there is a token), got other {given.dtype} values."
        )
    try:
        here = here.expand(*batch, tokens).reshape(-1, tokens)
    except RuntimeError:
        raise ValueError(
            f"{what} must have shape {(*batch, tokens)} (or broadcast to it) for a cost of shape {tuple(cost.shape)}, "
            f"got {tuple(given.shape)}."
        ) from None
    nothing = ~here.any(-1)
    if bool(nothing.any()):
        first = int(nothing.nonzero()[0])
        raise ValueError(
            f"{what} leaves no token in {int(nothing.sum())} of {len(here)} samples, the first at {first}; "
            "drop those samples, or keep one token (the class token, say)."
        )
    return here
