"""Exploration: which anchors a point of D is matched to, and the KL term (Eq 10, 13, 15).

Eq 13 sums KL(h_O(x_d) ‖ h_O(x_a)) over all pairs and divides by L + |D|, which is not the number of
pairs, and does not say which anchors belong to an x_d. Here the KL term is a *mean* over the matched
anchors, and the rule is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ....utils import checks as check

MISSING = ("raise", "skip")
# An anchor's log-probability is cut here, so that one sure anchor does not decide a mean (ours).
_FLOOR = -8.0


@dataclass(frozen=True, eq=False)
class Match:
    """What a rule may look at; S members of a stack, n points of D, T anchors.

    Attributes:
        scores: (K, S, n, C) log-probabilities of h_k* on the points.
        own: (S, n, C) log-probabilities of h_O on the points.
        points: (S, n, d) their features. anchors: (S, T, d) those of the anchors.
        labels: (S, T) classes of the anchors. there: (S, T) bool, which anchors exist.
        draw: ``draw(high, shape)`` -> (S, *shape) random whole numbers, from each member's own generator.
    """

    scores: Tensor
    own: Tensor
    points: Tensor
    anchors: Tensor
    labels: Tensor
    there: Tensor
    draw: Callable[[int, tuple[int, ...]], Tensor]

    @property
    def classes(self) -> int:
        """C."""
        return self.own.shape[-1]


Rule = Callable[[Match], Tensor]


def predicted(m: Match) -> Tensor:
    """Anchors of the classes that the h_k* predict, each class alike (the default)."""
    return F.one_hot(m.scores.argmax(-1), m.classes).to(m.own).mean(0)


def confident(m: Match) -> Tensor:
    """Anchors of the one class with the largest mean probability over the h_k*."""
    return F.one_hot(m.scores.exp().mean(0).argmax(-1), m.classes).to(m.own)


def soft(m: Match) -> Tensor:
    """All anchors, each class by the mean probability that the h_k* give it."""
    return m.scores.exp().mean(0)


def own_class(m: Match) -> Tensor:
    """Anchors of the class that h_O itself predicts: a control that needs no other modality."""
    return F.one_hot(m.own.argmax(-1), m.classes).to(m.own)


def random_class(m: Match) -> Tensor:
    """Anchors of a class drawn at random: a control."""
    return F.one_hot(m.draw(m.classes, (m.own.shape[1],)), m.classes).to(m.own)


def all_anchors(m: Match) -> Tensor:
    """Every anchor alike, as Eq 13 is printed."""
    return torch.ones_like(m.own)


def nearest(m: Match) -> Tensor:
    """The three nearest anchors in the learner's features, (S, n, T)."""
    apart = torch.cdist(m.points, m.anchors).masked_fill(~m.there[:, None], torch.inf)
    near = apart.argsort(dim=-1, stable=True)[..., :3]
    return torch.zeros_like(apart).scatter_(2, near, 1.0)


RULES: dict[str, Rule] = {
    "predicted": predicted, "confident": confident, "soft": soft, "self": own_class, "random": random_class,
    "all": all_anchors, "nearest": nearest,
}  # fmt: skip


def match_weights(rule: str | Rule, match: Match, missing: str = "raise") -> Tensor:
    """Weights of the anchors for each point, (S, n, T); rows sum to 1, or to 0 where nothing matches.

    Args:
        rule: a name in ``RULES``, or a function of :class:`Match` that gives weights of classes (S, n, C) or of
            anchors (S, n, T).
        match: the points and the anchors.
        missing: "raise" where a point is to be matched to a class that no anchor has, or "skip" the point.

    Returns:
        (S, n, T), on the device of the points.

    Raises:
        ValueError: an unknown rule, weights of another shape, a class that no anchor has.
    """
    check.one_of("missing", missing, MISSING)
    check.instance("match", match, Match)
    given = rule(match) if callable(rule) else RULES[check.one_of("matching rule", rule, RULES)](match)
    check.instance("what a matching rule gives", given, Tensor)
    members, n = match.own.shape[:2]
    per_class, per_anchor = (members, n, match.classes), (members, n, match.labels.shape[1])
    if tuple(given.shape) == per_class and rule not in ("nearest",):
        of_class = F.one_hot(match.labels, match.classes).to(given) * match.there[..., None]
        count = of_class.sum(1)
        lost = (given > 0).any(1) & (count == 0)
        if missing == "raise" and bool(lost.any()):
            c = int(lost.any(0).nonzero()[0])
            raise ValueError(
                f"class {c} has no anchor, but a point is to be matched to it ({int(lost.any(0).sum())} such classes); "
                "add an anchor of it, take more anchors, or leave such points out with missing='skip'."
            )
        weights = (given / count.clamp(min=1)[:, None]) @ of_class.transpose(1, 2)
    elif tuple(given.shape) == per_anchor:
        weights = given * match.there[:, None].to(given)
    else:
        raise ValueError(
            f"a matching rule must give weights of classes {per_class} or of anchors {per_anchor}, "
            f"got {tuple(given.shape)}."
        )
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights / total.clamp(min=1e-12), torch.zeros_like(weights))


def exploration(own: Tensor, anchors: Tensor, weights: Tensor) -> Tensor:
    """Mean over a point's matched anchors of KL(h_O(x_d) ‖ h_O(x_a)), averaged over the points (Eq 10, 13).

    Args:
        own: (S, n, C) log-probabilities of the points of D.
        anchors: (S, T, C) those of the anchors; taken as targets, without gradient.
        weights: (S, n, T) from :func:`match_weights`; points whose row is 0 are left out.

    Returns:
        (S,), 0 where no point is matched.

    Raises:
        TypeError, ValueError: tensors that are not dense, of three dimensions and of one dtype; shapes that do not fit.
    """
    for what, x in (("own", own), ("anchors", anchors), ("weights", weights)):
        if not isinstance(x, Tensor) or x.ndim != 3 or x.dtype not in (torch.float32, torch.float64) or x.is_meta:
            came = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{what} must be a dense tensor of three dimensions, float32 or float64, got {came}.")
    if (*own.shape[:2], anchors.shape[1]) != weights.shape or own.shape[::2] != anchors.shape[::2]:
        raise ValueError(
            f"own (S, n, C), anchors (S, T, C) and weights (S, n, T) do not fit: {tuple(own.shape)}, "
            f"{tuple(anchors.shape)}, {tuple(weights.shape)}."
        )
    if len({x.dtype for x in (own, anchors, weights)}) > 1 or any(
        x.layout != torch.strided for x in (own, anchors, weights)
    ):
        raise TypeError("own, anchors and weights must be dense and of one dtype; use .to(dtype).")
    target = weights @ anchors.detach().clamp(min=_FLOOR)
    kl = (own.exp() * (own - target)).sum(-1)
    matched = (weights.sum(-1) > 0).to(kl)
    mean: Tensor = (kl * matched).sum(-1) / matched.sum(-1).clamp(min=1)
    return mean
