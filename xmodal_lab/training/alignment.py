"""How far the modalities of one sample are apart, and how far that is from a target (wma Sec 3.2).

D_i = min_T ⟨C, T⟩ between the tokens of two modalities of sample i     (Eq 5-8)
L   = α · 1/N Σ_i Σ_pairs (D_i - β D̄)²                                  (Eq 9, 10)
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from ..instruments import transport
from ..instruments.transport.costs import COSTS
from ..utils import checks as check

SOLVERS = ("exact", "ipot", "sinkhorn")
REFERENCES = ("first_batch", "batch")
# The largest cosine cost, between opposite tokens: no D can exceed it, so no target above it can be reached.
CEILING = {"cosine": 2.0, "squared_euclidean": float("inf")}


@dataclass(frozen=True)
class Transport:
    """How D is computed.

    Attributes:
        solver: "exact" (POT's network simplex; on a CPU also the fastest exact one), "ipot" as in wma Sec 3.2, or
            "sinkhorn", which blurs. From a GPU, exact costs go to the CPU and plans come back, in each step; the other
            two stay there, and their plans tell by ``lower_bound`` how far they can be from the exact one. Evaluate
            with "exact".
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


def token_distances(
    tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], how: Transport, *, quiet: bool = False
) -> Tensor:
    """D of every sample and pair of modalities: min_T ⟨C, T⟩ between their tokens (wma Eq 5-8).

    Args:
        tokens: modality -> (..., N, T, d), or (..., N, d): one token each, whose D is the cost between the two.
        masks: modality -> (..., N, T) bool; marginals are uniform over the tokens that are there (Eq 7). Needed
            for tokens only.
        how: solver and cost.
        quiet: do not warn where IPOT or Sinkhorn stop short (a training step needs no perfect plan).

    Returns:
        (..., N, pairs), differentiable, in the units of the cost; pairs (1, 2), (1, 3), (2, 3), … in order.

    Raises:
        ValueError: fewer than two modalities.
    """
    if len(tokens) < 2:
        raise ValueError(f"alignment needs at least two modalities, there is {', '.join(tokens) or 'none'}.")
    each = []
    with warnings.catch_warnings():
        if quiet:
            warnings.filterwarnings("ignore", message=".*did not converge", category=UserWarning)
        for a, b in combinations(tokens, 2):
            if a not in masks and b not in masks:
                each.append(
                    transport.cost_matrix(tokens[a][..., None, :], tokens[b][..., None, :], how.cost)[..., 0, 0]
                )
                continue
            lead = tokens[a].shape[:-2]
            flat = [(tokens[m].flatten(0, -3), masks[m].flatten(0, -2)) for m in (a, b)]
            each.append(how.plan(flat[0][0], flat[1][0], flat[0][1], flat[1][1]).value.view(lead))
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
    try:
        return a * off_reference(distance, b, first)
    except RuntimeError as error:
        raise ValueError(f"alpha, beta, first and distance {tuple(distance.shape)} do not broadcast: {error}") from None


def off_reference(distance: Tensor, beta: Tensor, first: Tensor | None) -> Tensor:
    """:func:`penalty` at α = 1 of what was checked before: inside a step, where a GPU's host is not to wait."""
    reference = distance.mean(-2) if first is None else first
    off = distance - (beta[..., None] * reference)[..., None, :]
    return off.square().sum(-1).mean(-1)


def coefficient(name: str, value: Any, like: Tensor) -> Tensor:
    """``value`` as a tensor like ``like``, refused below 0."""
    found = check.finite(name, check.as_tensor(name, value, like.dtype))
    if not bool((found >= 0).all()):
        what = "weight of the regulariser" if name == "alpha" else "target as a multiple of the reference"
        raise ValueError(f"{name}, the {what}, must be at least 0, got {found.tolist()} (wma Eq 9).")
    return found.to(like.device)
