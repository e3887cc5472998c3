"""The regulariser: how far each sample's modalities are apart, and how far that is from a target (wma Sec 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from ....models.tokens import Hidden, check_masks
from ....training.alignment import CEILING as CEILING
from ....training.alignment import REFERENCES as REFERENCES
from ....training.alignment import SOLVERS as SOLVERS
from ....training.alignment import Transport as Transport
from ....training.alignment import coefficient as coefficient
from ....training.alignment import penalty as penalty
from ....training.alignment import token_distances
from ....utils import checks as check


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
    return token_distances(hidden.tokens, hidden.masks, how, quiet=quiet)


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
