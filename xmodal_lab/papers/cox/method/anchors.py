"""Which rows anchor: labelled ones, agreed and confident ones (Eq 14), emergent pairs (below Eq 15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....data.drawing import shuffled_classes
from ....instruments.metrics import disagreement
from ....utils import checks as check
from ....utils.checks import class_numbers
from ....utils.factors import top
from ....utils.points import floating, magnitude


@dataclass(frozen=True, eq=False)
class Anchors:
    """Rows with a class.

    Attributes:
        rows: (T,) rows of the out-of-modal data.
        labels: (T,) their class: given, agreed or emergent.
        score: (T,) mean confidence (Eq 14), or minus the distance (Eq 15).
        partners: (T,) the in-modal row each one corresponds to, -1 where there is none.
        available: how many rows could have been chosen.
    """

    rows: Tensor
    labels: Tensor
    score: Tensor
    partners: Tensor
    available: int


def labelled_rows(labels: Any, share: float, seed: int = 0) -> Tensor:
    """Rows whose label and pair are given: the same number of each class (cox Sec 4.1).

    Args:
        labels: (M,) class numbers.
        share: of all rows; each class gets max(1, round(share · M / C)), at most what its rarest class has.
        seed: which ones.

    Returns:
        (L,) rows, class by class.

    Raises:
        ValueError: a share of 0 or outside [0, 1], a class without rows.
    """
    y = check.as_tensor("labels", labels)
    y, share = class_numbers("labels", y, y.numel()), check.share("label_share", share)
    if share == 0:
        raise ValueError("label_share is 0, so there are no labelled pairs; raise it, or go unsupervised.")
    counts = torch.bincount(y)
    if int(counts.min()) == 0:
        raise ValueError(f"class {int(counts.argmin())} has no row, so no anchor can have it.")
    each = min(max(1, round(share * len(y) / len(counts))), int(counts.min()))
    generator = torch.Generator().manual_seed(check.integer("seed", seed, at_least=0))
    return torch.cat([rows[:each] for _, rows in shuffled_classes(y, generator)])


def top_agreed(scores: Any, count: int, balance: bool = False) -> Anchors:
    """The ``count`` agreed rows with the largest mean confidence (Eq 14).

        A = {x : h_1*(x) = … = h_K*(x)},   sorted by (1/K) Σ_k max_y h_k*(y|x)

    As printed, SORT_T is one list for all classes. Where classes differ in how sure the h_k* are, the anchors are
    then all of a few classes, and the others are never learned. ``balance`` takes T / C of each class.

    Args:
        scores: (K, n, C) probabilities of the K optimal classifiers.
        count: T.
        balance: at most ceil(T / C) of each class (ours); there may then be fewer than T.

    Returns:
        Rows with their class and score.

    Raises:
        ValueError: T above the number of agreed rows (the message says how many there are); one classifier.
    """
    table = check.finite("scores", floating("scores", scores))
    if table.ndim != 3:
        raise ValueError(f"scores must have shape (K, n, C), got {tuple(table.shape)}.")
    sets = disagreement(table)
    count, there = check.integer("T", count, at_least=1), int(sets.agree.sum())
    if count > there:
        raise ValueError(
            f"T = {count} anchors were asked for, but the {len(table)} classifiers agree on {there} of "
            f"{table.shape[1]} rows; ask for at most {there}."
        )
    confidence = table.amax(-1).mean(0).masked_fill(~sets.agree, -torch.inf)
    score, rows = _first(confidence, sets.label, count, table.shape[2], balance)
    return Anchors(rows, sets.label[rows], score, torch.full_like(rows, -1), there)


def most_confident(scores: Tensor, agree: Tensor, share: float) -> Anchors:
    """Of each class's agreed rows the ``share`` with the largest mean confidence, at least one where there is any.

    Args:
        scores: (K, n, C) probabilities of the K optimal classifiers.
        agree: (n,) bool, which rows are in A; they have the class of the largest mean probability.
        share: in (0, 1].
    """
    confidence, label = scores.amax(-1).mean(0), scores.mean(0).argmax(-1)
    sizes = torch.bincount(label[agree], minlength=scores.shape[-1])
    picked = []
    for c in sizes.nonzero()[:, 0].tolist():
        mine = (agree & (label == c)).nonzero()[:, 0]
        picked.append(mine[top(confidence[mine], max(1, round(share * len(mine))))[1]])
    rows = torch.cat(picked) if picked else torch.zeros(0, dtype=torch.long)
    return Anchors(rows, label[rows], confidence[rows], torch.full_like(rows, -1), int(agree.sum()))


def emergent(points: Any, mapped: Any, labels: Any, count: int, balance: bool = False) -> Anchors:
    """The ``count`` out-of-modal points that lie nearest to all mappings of one in-modal row (below Eq 15).

        score_j = -min_i (1/K) Σ_k ‖z_j - v_{k,i}‖,   and z_j takes the label of that i

    Args:
        points: (M, d) out-of-modal features.
        mapped: (K, N, d) mappings of the in-modal rows.
        labels: (N,) of the in-modal rows.
        count: S, as many as T (Sec 4.1).
        balance: at most ceil(S / C) of each class, as in :func:`top_agreed`.

    Returns:
        Rows with their class, score and partner.

    Raises:
        ValueError: S above M, shapes that do not fit.
    """
    z, v = (check.finite(what, floating(what, x)) for what, x in (("points", points), ("mapped", mapped)))
    dtype = torch.promote_types(z.dtype, v.dtype)
    z, v, y = z.to(dtype), v.to(dtype), check.as_tensor("labels", labels)
    if z.ndim != 2 or v.ndim != 3 or v.shape[2] != z.shape[1] or y.shape != v.shape[1:2]:
        raise ValueError(
            f"points (M, d), mapped (K, N, d) and labels (N,) do not fit: {tuple(z.shape)}, {tuple(v.shape)}, "
            f"{tuple(y.shape)}."
        )
    if not z.numel() or not v.numel():
        raise ValueError(f"there must be points and mappings, got {tuple(z.shape)} and {tuple(v.shape)}.")
    y = class_numbers("labels", y, v.shape[1])
    unit = magnitude(z, v)  # squares neither overflow nor vanish
    count = check.integer("T", count, at_least=1)
    if count > len(z):
        raise ValueError(f"T = {count} anchors were asked for, but there are {len(z)} points.")
    apart = unit * torch.stack([torch.cdist(z / unit, vk / unit) for vk in v]).mean(0)
    nearest, partner = apart.min(1)
    score, rows = _first(-nearest, y[partner], count, int(y.max()) + 1, balance)
    return Anchors(rows, y[partner[rows]], score, partner[rows], len(z))


def _first(score: Tensor, label: Tensor, count: int, classes: int, balance: bool) -> tuple[Tensor, Tensor]:
    """The ``count`` largest finite scores and their rows; with ``balance`` at most ceil(count / classes) a class."""
    if not balance:
        return top(score, count)
    each, best = -(-count // classes), torch.full_like(score, -torch.inf)
    for c in range(classes):
        mine = ((label == c) & score.isfinite()).nonzero()[:, 0]
        value, place = top(score[mine], min(each, len(mine)))
        best[mine[place]] = value
    return top(best, min(count, int(best.isfinite().sum())))


def asked_count(anchors: float, rows: int, agreed: int) -> int:
    """T from the option ``anchors``: a share of the rows (as many of them as agree), or a number taken literally."""
    if anchors <= 1:
        return min(max(1, round(anchors * rows)), agreed)
    return check.integer("anchors above 1", round(anchors), at_least=1)
