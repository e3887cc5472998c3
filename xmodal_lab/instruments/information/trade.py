"""What more samples of one modality take from a variance: the exchange rate at a point and of a whole step.

In coordinates in which the information at hand is the identity, the variance along v is ‖u‖², one more sample of a
modality adds Rᵀ R, and with R = U diag(s) Qᵀ

    Var(k more samples) = ‖u‖² − Σ_i c_i² · k s_i² / (1 + k s_i²),     c = Qᵀ u.

Endlessly many samples take Σ c_i². What a modality does not see is not in Q, whatever rounding left there, so a step
beyond Σ c_i² costs infinitely many samples and not a huge number of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import loewner

# Of the variance: less than this is the rounding of designs in single precision (ours).
_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class Help:
    """What more samples of one modality take from the variance.

    Attributes:
        whole: ‖u‖², the variance as it is.
        parts, strength: c_i², the parts of it that this modality sees, and s_i², how well one sample does.
        unseen: what endlessly many samples leave.
        slack: share by which rounding may have moved these numbers.
    """

    whole: float
    parts: Tensor
    strength: Tensor
    unseen: float
    slack: float

    @staticmethod
    def of(whole: Tensor, v: Tensor, sample: Tensor, rtol: float) -> Help:
        """Of samples with information ``sample`` each, beside the information ``whole``; v in the range of that."""
        values, vectors = torch.linalg.eigh(whole)
        vectors, values = vectors.flip(1), values.flip(0)  # what is seen stands first
        r = int((values > rtol * float(values[0])).sum())
        turned = vectors.T @ sample @ vectors
        turned = _without_strays((turned + turned.T) / 2, r, float(values[0] / values[r - 1]))
        # Directions of which nothing is known yet are nuisances of the new samples too.
        beside = loewner.schur(turned, r, rtol)
        root = values[:r].sqrt()
        u = (vectors[:, :r].T @ v) / root
        size, axes = torch.linalg.eigh(beside)
        kept = size > rtol * float(size[-1].clamp(min=0))
        seen = (size[kept].sqrt() * axes[:, kept]).T / root
        _, s, q = torch.linalg.svd(seen, full_matrices=False)
        c = q @ u
        spread = float(values[0] / values[r - 1]) * float((size[kept][-1] / size[kept][0]) if bool(kept.any()) else 1)
        slack = 16 * len(v) * torch.finfo(v.dtype).eps * math.sqrt(spread)
        total = float(u @ u)
        parts = torch.where(c.square() > _LEAST * total, c.square(), 0)
        return Help(total, parts, s.square(), float((u - q.T @ c).square().sum()), slack)

    def taken(self, k: float) -> float:
        """What ``k`` more samples take away."""
        return float((self.parts * (k * self.strength) / (1 + k * self.strength)).sum())

    def left(self, k: float) -> float:
        """What ``k`` more samples leave, to many digits also where that is little."""
        return self.unseen + float((self.parts / (1 + k * self.strength)).sum())

    def rate(self, other: Help) -> float:
        """How many samples of ``other`` one of these is worth; infinite where it does not help, NaN if neither does."""
        mine, theirs = (float((h.parts * h.strength).sum()) for h in (self, other))
        return mine / theirs if theirs else math.inf if mine else math.nan

    def trade(self, n: float, other: Help) -> float:
        """How many of ``other`` take as much as ``n`` of these; infinite if none do, NaN if these take nothing."""
        goal, rest = self.taken(n), self.left(n)
        if goal == 0:
            return math.nan
        if 2 * goal < self.whole:  # of the two numbers the smaller one is the more exact
            far = goal >= float(other.parts.sum()) * (1 - other.slack)
        else:
            far = rest <= other.unseen * (1 + other.slack) + other.slack**2 * self.whole

        def reached(k: float) -> bool:
            return other.taken(k) >= goal if 2 * goal < self.whole else other.left(k) <= rest

        high = 1.0
        while not far and not reached(high):
            high, far = 2 * high, high > 2.0**1000
        if far:
            return math.inf
        while reached(high / 2) and high > 2.0**-1000:
            high /= 2
        low = high / 2
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if reached(middle) else (middle, high)
        return high


def _without_strays(turned: Tensor, r: int, spread: float) -> Tensor:
    """What a sample says of the directions from ``r`` on, set to 0 where that is only rounding.

    Its share of them is taken out of what it says of the others, and of 1e-33 beside 1e-17 that share may be all.
    ``spread``: by it the eigenvectors that part them are less exact than rounding; a stray of δ in them leaves δ².
    """
    rounding = 16 * len(turned) * torch.finfo(turned.dtype).eps
    values, vectors = torch.linalg.eigh(turned[r:, r:])
    kept = vectors[:, values > max(rounding, (rounding * spread) ** 2) * float(turned.diagonal().sum())]
    seen = torch.block_diag(torch.eye(r, dtype=turned.dtype), kept @ kept.T)
    return seen @ turned @ seen
