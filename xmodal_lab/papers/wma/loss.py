"""The regulariser: how far each sample's modalities are apart, and how far that is from a target (wma Sec 3.2)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from ... import _checks as check
from ... import transport
from ..._costs import COSTS
from ...tokens import Hidden, check_masks

SOLVERS = ("exact", "ipot", "sinkhorn")
REFERENCES = ("first_batch", "batch")
# The largest cosine cost, between opposite tokens: no D can exceed it, so no target above it can be reached.
CEILING = {"cosine": 2.0, "squared_euclidean": float("inf")}


@dataclass(frozen=True)
class Transport:
    """How D is computed.

    Attributes:
        solver: "exact" (POT's network simplex; on a CPU also the fastest exact one), "ipot" as in wma Sec 3.2, or
            "sinkhorn", which blurs.
        cost: "cosine" or "squared_euclidean"; the paper leaves it open (Sec 3.2: "manually defined"), the cosine is
            UNITER's and ViLT's. α means another thing under another cost: compare runs by D / D_0.
        steps, step_size: proximal steps of IPOT and its β (50 and 0.5, as in UNITER and ViLT).
        epsilon: blur of Sinkhorn (0.05; ours).

    Raises:
        ValueError: an unknown solver or cost, a step or size that is not above 0.
    """

    solver: str = "exact"
    cost: str = "cosine"
    steps: int = 50
    step_size: float = 0.5
    epsilon: float = 0.05

    def __post_init__(self) -> None:
        check.one_of("transport", self.solver, SOLVERS)
        check.one_of("cost", self.cost, COSTS)
        check.integer("steps of IPOT", self.steps, at_least=1)
        check.positive("step size of IPOT", self.step_size)
        check.positive("epsilon of Sinkhorn", self.epsilon)

    def plan(self, a: Tensor, b: Tensor, mask_a: Tensor, mask_b: Tensor) -> transport.TransportPlan:
        """The plan between tokens a (N, p, d) and b (N, q, d), with its value D (N,) (wma Eq 5-8).

        ``mask_a`` (N, p) and ``mask_b`` (N, q) say which tokens count.
        """
        cost = transport.cost_matrix(a, b, self.cost)
        if self.solver == "exact":
            return transport.emd(cost, mask_a, mask_b)
        if self.solver == "ipot":
            return transport.ipot(cost, mask_a, mask_b, self.step_size, self.steps)
        return transport.sinkhorn(cost, mask_a, mask_b, self.epsilon)


def pairs_of(hidden: Hidden) -> tuple[tuple[str, str], ...]:
    """Pairs of modalities in ``hidden``: (1, 2); with three (1, 2), (1, 3), (2, 3) (wma Eq 10)."""
    return tuple(combinations(check.instance("hidden", hidden, Hidden, "tower.hidden(inputs)").tokens, 2))


def distances(hidden: Hidden, how: Transport | None = None, *, quiet: bool = False) -> Tensor:
    """D_i of every sample and pair of modalities: min_T ⟨C, T⟩ between output tokens (wma Eq 5-8).

    Args:
        hidden: output tokens of a tower, with masks; marginals are uniform over the tokens that are there (Eq 7).
        how: solver and cost; exact and cosine when not given.
        quiet: do not warn where IPOT or Sinkhorn stop short (a training step needs no perfect plan).

    Returns:
        (N, pairs), differentiable, in the units of the cost; the pairs of :func:`pairs_of`.

    Raises:
        ValueError: fewer than two modalities, a sample whose tokens are all masked (says which).
    """
    check.instance("hidden", hidden, Hidden, "tower.hidden(inputs)")
    if len(hidden.tokens) < 2:
        raise ValueError(f"alignment needs at least two modalities, the tower has {', '.join(hidden.tokens)}.")
    check_masks(hidden.masks)
    how = Transport() if how is None else check.instance("how", how, Transport)
    with warnings.catch_warnings():
        if quiet:
            warnings.filterwarnings("ignore", message=".*did not converge", category=UserWarning)
        each = [
            how.plan(hidden.tokens[a], hidden.tokens[b], hidden.masks[a], hidden.masks[b]).value
            for a, b in pairs_of(hidden)
        ]
    return torch.stack(each, -1)


def penalty(distance: Tensor, alpha: Any, beta: Any, first: Tensor | None = None) -> Tensor:
    """α · 1/N Σ_i Σ_pairs (D_i - β D̄)²  (wma Eq 9, 10).

    Args:
        distance: (..., N, pairs) from :func:`distances`; leading sizes are members of a grid.
        alpha, beta: ≥ 0; numbers, or tensors that broadcast with the leading sizes.
        first: (..., pairs) mean D of the first batch at initialisation, a constant: ``reference="first_batch"``, what
            the paper's text says. None: D̄ is the mean of this very batch, with its gradient, as Eq 9 is printed.
            That does not pull D to β D̄, since D̄ moves along: at β = 1 only the spread of D shrinks, otherwise
            mean (D - β D̄)² = Var D + (1 - β)² D̄² shrinks D itself.

    Returns:
        (...) one penalty per member.

    Raises:
        ValueError: α or β below 0.
    """
    for what, x in (("distance", distance), ("first", distance if first is None else first)):
        if (
            not isinstance(x, Tensor)
            or not x.is_floating_point()
            or x.element_size() == 1
            or x.is_meta
            or not x.numel()
        ):
            came = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{what} must be a tensor of real numbers, as distances gives them, got {came}.")
    if distance.ndim < 2 or (first is not None and first.shape[-1:] != distance.shape[-1:]):
        raise ValueError(
            f"distance must be (..., N, pairs) and first (..., pairs), got {tuple(distance.shape)} and "
            f"{None if first is None else tuple(first.shape)}."
        )
    a, b = coefficient("alpha", alpha, distance), coefficient("beta", beta, distance)
    reference = distance.mean(-2) if first is None else first
    try:
        off = distance - (b[..., None] * reference)[..., None, :]
        found: Tensor = a * off.square().sum(-1).mean(-1)
    except RuntimeError as error:
        raise ValueError(f"alpha, beta, first and distance {tuple(distance.shape)} do not broadcast: {error}") from None
    return found


def coefficient(name: str, value: Any, like: Tensor) -> Tensor:
    """``value`` as a tensor like ``like``, refused below 0."""
    found = check.finite(name, check.as_tensor(name, value, like.dtype)).to(like.device)
    if not bool((found >= 0).all()):
        what = "weight of the regulariser" if name == "alpha" else "target as a multiple of the reference"
        raise ValueError(f"{name}, the {what}, must be at least 0, got {found.tolist()} (wma Eq 9).")
    return found


class Alignment:
    """The regulariser of one run: remembers the first batch, adds no parameter (wma Sec 1).

    Args:
        alpha, beta: of Eq 9, ≥ 0. α = 0 leaves the task's loss alone; α = 1, β = 0 minimises transport (Tab 2).
        reference: "first_batch" (the text under Eq 9) or "batch" (Eq 9 as printed).
        how: solver and cost.

    Raises:
        ValueError: α or β below 0, an unknown reference.
    """

    def __init__(self, alpha: Any, beta: Any, reference: str = "first_batch", how: Transport | None = None) -> None:
        like = torch.zeros(())
        coefficient("alpha", alpha, like), coefficient("beta", beta, like)
        self.alpha, self.beta = alpha, beta
        self.how = Transport() if how is None else check.instance("how", how, Transport)
        self.reference = check.one_of("reference", reference, REFERENCES)
        self.first: Tensor | None = None

    def begin(self, hidden: Hidden) -> Tensor:
        """D of ``hidden``, the first batch at initialisation, (N, pairs); its mean is the reference from now on."""
        with torch.no_grad():
            distance = distances(hidden, self.how, quiet=True)
        self.first = distance.mean(0)
        return distance

    def __call__(self, hidden: Hidden) -> tuple[Tensor, Tensor]:
        """The penalty of a batch, and its D (N, pairs). The first call is the first batch, if :meth:`begin` was not."""
        if self.first is None:
            self.begin(hidden)
        distance = distances(hidden, self.how, quiet=True)
        return penalty(
            distance, self.alpha, self.beta, self.first if self.reference == "first_batch" else None
        ), distance


def plan_of(hidden: Hidden, a: str, b: str, how: Transport | None = None) -> Tensor:
    """The transport plans in ``hidden`` between modalities ``a`` and ``b``, (N, p, q), as ``how`` says.

    Rows sum to 1/p, columns to 1/q.

    Raises:
        ValueError: an unknown modality, a sample whose tokens are all masked.
    """
    check.instance("hidden", hidden, Hidden, "tower.hidden(inputs)")
    for m in (a, b):
        check.one_of("modality", m, hidden.tokens)
    masks: Mapping[str, Tensor] = {m: hidden.masks[m] for m in (a, b)}
    check_masks(masks)
    chosen = Transport() if how is None else check.instance("how", how, Transport)
    with torch.no_grad():
        return chosen.plan(hidden.tokens[a], hidden.tokens[b], masks[a], masks[b]).plan
