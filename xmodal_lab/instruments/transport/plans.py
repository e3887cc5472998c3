"""Transport plans by iteration: proximal (IPOT) and entropic (Sinkhorn), in the log domain where numbers underflow."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.shapes import Float
from . import scaling
from .token_sets import TokenSets, TransportPlan

GRADIENTS = ("envelope", "unrolled")

# Log mass of a pair that is not there: finite, so that differences of two such stay numbers.
_NOTHING = -1e30


def ipot(
    cost: Any,
    mask_a: Any = None,
    mask_b: Any = None,
    beta: float = 0.5,
    iterations: int = 50,
    inner: int = 1,
    gradient: str = "envelope",
    tol: float = 0.02,
    *,
    mass_a: Any = None,
    mass_b: Any = None,
) -> TransportPlan:
    """Optimal transport by inexact proximal points (Xie et al. 2018), which wma Sec 3.2 uses.

    T ← the plan closest to T ∘ exp(-C/β) in relative entropy, ``iterations`` times. Unlike Sinkhorn it tends to
    the exact plan, not to a blurred one. It scales rows and columns of exp(-C/β) where that is safe, and runs in the
    log domain where (max C - min C)/β is over 30 (300 in double precision), so no β underflows.

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
        mass_a, mass_b: (..., p), (..., q); weights ≥ 0 of the tokens, brought to sum 1. None: all weigh the same.

    Warns:
        UserWarning: not converged.

    Returns:
        The plan with its value, its marginal error and whether it converged.

    Raises:
        ValueError: an empty token set, a mask that leaves none, NaN or Inf, β ≤ 0, shapes that do not fit.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> found = xl.transport.ipot(cost)
        >>> found.plan.round(decimals=3), round(float(found.value), 3)
        (tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]]), 0.0)
    """
    beta, tol = check.positive("beta", beta), check.positive("tol", tol)
    iterations = check.integer("iterations", iterations, at_least=1)
    inner = check.integer("inner", inner, at_least=1)
    check.one_of("gradient", gradient, GRADIENTS)
    sets = TokenSets.of(cost, mask_a, mask_b, mass_a, mass_b)
    unrolled = gradient == "unrolled"
    with torch.set_grad_enabled(unrolled and torch.is_grad_enabled()):
        plan, dual = _proximal(sets, beta, iterations, inner, unrolled)
    value = sets.value(plan)
    with torch.no_grad():
        lower = sets.lower_bound(dual)
        error = sets.marginal_error(plan)
        scale = (sets.cost.abs() * sets.independent()).sum((-2, -1))
        good = (error <= tol) & (value - lower <= tol * scale)
    _refuse_overflow("beta", beta, sets, value.detach(), lower)
    if not bool(good.all()):
        warnings.warn(
            f"ipot did not converge for {int((~good).sum())} of {len(good)} pairs in {iterations} iterations: "
            f"marginal error up to {float(error.max()):.2g}, value up to {float((value.detach() - lower).max()):.2g} "
            f"above its lower bound. Raise iterations, or bring beta ({beta:g}) nearer to half the mean cost "
            f"({float(scale.mean()):.3g}); emd is exact.",
            stacklevel=2,
        )
    return sets.answer(plan, value, error, lower, bool(good.all()), iterations)


def sinkhorn(
    cost: Any,
    mask_a: Any = None,
    mask_b: Any = None,
    epsilon: float = 0.05,
    iterations: int = 1000,
    tol: float = 1e-3,
    *,
    mass_a: Any = None,
    mass_b: Any = None,
) -> TransportPlan:
    """Entropic optimal transport: the T that minimises ⟨C, T⟩ + ε KL(T ‖ a⊗b); in the log domain for a small ε.

    ``value`` is ⟨C, T⟩ alone, above the exact one (as POT's ``sinkhorn2``). Its gradient takes T as a constant,
    which is the derivative of the minimised sum rather than of ⟨C, T⟩.

    Args:
        cost: (..., p, q) cost of moving token p to token q.
        mask_a, mask_b: (..., p), (..., q); True (or 1) where there is a token. None: all are there.
        epsilon: blur, in the units of the cost (0.05: ours, for cosine costs).
        iterations: sweeps at most.
        tol: stops when the marginal error of every sample is at most this (1e-3: ours).
        mass_a, mass_b: (..., p), (..., q); weights ≥ 0 of the tokens, brought to sum 1. None: all weigh the same.

    Warns:
        UserWarning: not converged.

    Returns:
        The plan with its value, its marginal error and whether it converged.

    Raises:
        ValueError: an empty token set, a mask that leaves none, NaN or Inf, ε ≤ 0, shapes that do not fit.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> [round(float(xl.transport.sinkhorn(cost, epsilon=e).value), 3) for e in (1.0, 0.1)]  # blurred, less blurred
        [0.269, 0.0]
    """
    epsilon, tol = check.positive("epsilon", epsilon), check.positive("tol", tol)
    iterations = check.integer("iterations", iterations, at_least=1)
    sets = TokenSets.of(cost, mask_a, mask_b, mass_a, mass_b)
    with torch.no_grad():
        plan, u, _, made = entropic_plan(sets.cost, sets.a, sets.b, epsilon, iterations, tol)
        lower = sets.lower_bound(epsilon * u)
        error = sets.marginal_error(plan)
    value = sets.value(plan)
    _refuse_overflow("epsilon", epsilon, sets, value.detach(), lower)
    converged = bool((error <= tol).all())
    if not converged:
        warnings.warn(
            f"sinkhorn did not converge in {iterations} iterations: marginal error {float(error.max()):.2g}. "
            f"Raise iterations, or epsilon ({epsilon:g}).",
            stacklevel=2,
        )
    return sets.answer(plan, value, error, lower, converged, made)


def _refuse_overflow(what: str, step: float, sets: TokenSets, value: Tensor, lower: Tensor) -> None:
    if not bool(torch.isfinite(value + lower).all()):
        largest = float(sets.cost.detach().abs().max())
        raise ValueError(f"{what} {step:g} is out of all proportion to costs of up to {largest:.3g}: numbers overflow.")


def _proximal(sets: TokenSets, beta: float, iterations: int, inner: int, unrolled: bool) -> tuple[Tensor, Tensor]:
    """The plan after ``iterations`` proximal steps, and the dual variable of the rows that goes with it."""
    scale = not unrolled and scaling.may_scale(sets.cost.detach(), beta, sets.present(), scaling.PROXIMAL)

    def solve(part: TokenSets) -> tuple[Tensor, Tensor]:
        if scale:
            found = scaling.proximal(part.cost.detach(), part.a, part.b, part.present(), beta, iterations, inner)
            if found is not None and bool(torch.isfinite(found[0].sum() + found[1].sum())):
                return found
        log_plan, dual = _log_proximal(part, beta, iterations, inner)
        return log_plan.exp(), dual

    return sets.in_pieces(solve)


def _log_proximal(part: TokenSets, beta: float, iterations: int, inner: int) -> tuple[Tensor, Tensor]:
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
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Plan of entropic transport between weights ``a`` and ``b``, both potentials, sweeps made.

    log T = log a⊗b + u + v - C/ε, in whichever domain it was computed.
    """
    present = None if bool((a > 0).all() & (b > 0).all()) else (a > 0)[:, :, None] & (b > 0)[:, None, :]
    if scaling.may_scale(cost, epsilon, present):
        found = scaling.entropic(cost, a, b, present, epsilon, iterations, tol)
        if found is not None and bool(torch.isfinite(found[0].sum())):
            return found
    return _log_entropic(cost, a, b, epsilon, iterations, tol)


def _log_entropic(
    cost: Tensor, a: Tensor, b: Tensor, epsilon: float, iterations: int, tol: float
) -> tuple[Tensor, Tensor, Tensor, int]:
    log_a, log_b = _log(a), _log(b)
    kernel = log_a[..., :, None] + log_b[..., None, :] - cost / epsilon
    u, v = _sweep(kernel, log_a, log_b, torch.zeros_like(log_b))
    made, done = 1, False
    every = scaling.at_once(cost.device)
    while made < iterations and not done:
        seen, errors = [], []
        for _ in range(min(every, iterations - made)):
            before = u
            u, v = _sweep(kernel, log_a, log_b, v)
            # Rows of the plan before this sweep summed to a · exp(before - u): an error that costs no pass over it.
            errors.append((a * (before - u).exp() - a).abs().sum(-1).amax())
            seen.append((u, v))
        within = [k for k, error in enumerate(torch.stack(errors).tolist()) if error <= tol]
        chosen = within[0] if within else len(seen) - 1
        (u, v), made, done = seen[chosen], made + chosen + 1, bool(within)
    return (kernel + u[..., :, None] + v[..., None, :]).exp(), u, v, made


def _sweep(kernel: Tensor, log_a: Tensor, log_b: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Potentials that give ``kernel`` its row sums and then its column sums. Absent tokens keep 0."""
    u = log_a - torch.logsumexp(kernel + v[..., None, :], -1)
    u = torch.where(log_a > _NOTHING, u, 0)
    v = log_b - torch.logsumexp(kernel + u[..., :, None], -2)
    return u, torch.where(log_b > _NOTHING, v, 0)


def _log(mass: Tensor) -> Tensor:
    return torch.where(mass > 0, mass.clamp_min(torch.finfo(mass.dtype).tiny).log(), _NOTHING)
