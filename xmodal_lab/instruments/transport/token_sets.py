"""A batch of pairs of token sets, checked, and the plan that a solver finds for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.points import floating
from ...utils.shapes import Bool, Float

# Entries of a cost tensor that a solver works on at a time: about a core's L2 cache (ours; measured 1.5x).
_PIECE = 1 << 17


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


@dataclass(frozen=True, eq=False)
class TokenSets:
    """A checked batch with its leading sizes flattened: cost (n, p, q), marginals a (n, p) and b (n, q)."""

    cost: Tensor
    a: Tensor
    b: Tensor
    batch: tuple[int, ...]
    dtype: torch.dtype
    masked: bool

    @staticmethod
    def of(cost: Any, mask_a: Any, mask_b: Any, mass_a: Any = None, mass_b: Any = None) -> TokenSets:
        """What the user handed in, or an error that says what is wrong with it."""
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
        weight_a = _masses("mass_a", mass_a, here_a, cost)
        weight_b = _masses("mass_b", mass_b, here_b, cost)
        here_a, here_b = here_a & (weight_a > 0), here_b & (weight_b > 0)
        cost = cost.reshape(-1, p, q)
        masked = any(given is not None for given in (mask_a, mask_b, mass_a, mass_b))
        if masked:  # padding may hold anything, also NaN
            cost = torch.where(here_a[:, :, None] & here_b[:, None, :], cost, 0)
        if not bool(torch.isfinite(cost.detach().sum())):  # one pass, where check.finite makes several
            check.finite("cost", cost.detach())
        a = weight_a / weight_a.sum(-1, keepdim=True)
        b = weight_b / weight_b.sum(-1, keepdim=True)
        dtype = given.dtype if given.is_floating_point() else cost.dtype
        return TokenSets(cost, a, b, tuple(batch), dtype, masked)

    def independent(self) -> Tensor:
        """The plan that ignores the cost, a ⊗ b."""
        return self.a[:, :, None] * self.b[:, None, :]

    def present(self) -> Tensor | None:
        """(n, p, q) which pairs are there; None for all."""
        return (self.a > 0)[:, :, None] & (self.b > 0)[:, None, :] if self.masked else None

    def value(self, plan: Tensor) -> Tensor:
        """⟨C, T⟩ of each plan, in one pass over both."""
        return torch.bmm(self.cost.flatten(1)[:, None, :], plan.flatten(1)[:, :, None])[:, 0, 0]

    def marginal_error(self, plan: Tensor) -> Tensor:
        """max(‖T1 - a‖₁, ‖Tᵀ1 - b‖₁) of each plan."""
        rows = (plan.sum(-1) - self.a).abs().sum(-1)
        columns = (plan.sum(-2) - self.b).abs().sum(-1)
        return torch.maximum(rows, columns)

    def lower_bound(self, dual: Tensor) -> Tensor:
        """⟨a, f⟩ + ⟨b, g⟩ for the feasible pair made from ``dual`` (n, p): g = min_p C - dual, f = min_q C - g."""
        parts = zip(self.pieces(), dual.split(self._samples_at_once()), strict=True)
        return torch.cat([part._lower_bound(own) for part, own in parts])

    def _lower_bound(self, dual: Tensor) -> Tensor:
        cost = self.cost.detach()
        if self.masked:
            cost = torch.where(self.independent() > 0, cost, torch.inf)
        left = cost - dual[:, :, None]
        g = torch.where(self.b > 0, left.amin(-2), 0)
        f = torch.where(self.a > 0, torch.sub(cost, g[:, None, :], out=left).amin(-1), 0)
        return (self.a * f).sum(-1) + (self.b * g).sum(-1)

    def _samples_at_once(self) -> int:
        """As many as stay in the cache; all on a GPU."""
        n, p, q = self.cost.shape
        return n if self.cost.device.type != "cpu" else max(1, _PIECE // (p * q))

    def pieces(self) -> list[TokenSets]:
        """A few samples at a time."""
        size = self._samples_at_once()
        parts = zip(self.cost.split(size), self.a.split(size), self.b.split(size), strict=True)
        return [TokenSets(c, a, b, (len(c),), self.dtype, self.masked) for c, a, b in parts]

    def in_pieces(self, solve: Callable[[TokenSets], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Solve a few samples at a time, so that they stay in the cache."""
        solved = [solve(part) for part in self.pieces()]
        return torch.cat([plan for plan, _ in solved]), torch.cat([dual for _, dual in solved])

    def answer(
        self,
        plan: Tensor,
        value: Tensor,
        error: Tensor,
        lower: Tensor,
        converged: bool,
        iterations: int | None,
    ) -> TransportPlan:
        """The result in the shape and dtype of what was given."""
        return TransportPlan(
            plan=plan.reshape(*self.batch, *plan.shape[-2:]).to(self.dtype),
            value=value.reshape(self.batch).to(self.dtype),
            marginal_error=error.reshape(self.batch),
            lower_bound=lower.reshape(self.batch),
            converged=converged,
            iterations=iterations,
        )


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


def _masses(what: str, mass: Any, here: Tensor, cost: Tensor) -> Float[Tensor, "n tokens"]:
    """The weights of the tokens that are there, in the dtype of the cost; 0 for the others."""
    if mass is None:
        return here.to(cost.dtype)
    given = check.as_tensor(what, mass).detach()
    if given.dtype == torch.bool or given.is_complex():
        raise TypeError(
            f"{what} must hold weights, real numbers of at least 0, got {given.dtype}; a mask goes to mask_a."
        )
    given = check.finite(what, given.to(cost.device, torch.float64 if cost.device.type == "cpu" else cost.dtype))
    batch, tokens = cost.shape[:-2], here.shape[-1]
    try:
        weights = given.expand(*batch, tokens).reshape(-1, tokens) * here
    except RuntimeError:
        raise ValueError(
            f"{what} must have shape {(*batch, tokens)} (or broadcast to it) for a cost of shape {tuple(cost.shape)}, "
            f"got {tuple(given.shape)}."
        ) from None
    total = weights.sum(-1, keepdim=True)
    if bool((weights < 0).any()) or not bool((total > 0).all()):
        first = int(((weights < 0).any(-1) | ~(total[:, 0] > 0)).nonzero()[0])
        raise ValueError(f"{what} must be at least 0 and not all 0 where tokens are, which fails in sample {first}.")
    return (weights / total).to(cost.dtype)
