"""Scores of predictions: accuracy, F1, AUROC, calibration, and where classifiers disagree.

The public names live in :mod:`xmodal_lab.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.checks import class_numbers
from ...utils.points import floating
from ...utils.torch_state import wide


def accuracy(predictions: Any, labels: Any) -> float:
    """Share of samples whose predicted class is the label.

    Args:
        predictions: (n,) class numbers, or (n, C) scores, of which the largest counts.
        labels: (n,) class numbers.

    Returns:
        A share in [0, 1].

    Raises:
        ValueError: no sample, lengths that differ, NaN, unknown labels (-1).

    Example:
        >>> import xmodal_lab as xl
        >>> xl.metrics.accuracy([0, 1, 1, 2], [0, 1, 2, 2])
        0.75
    """
    predicted, true = _predicted(predictions, labels)
    return float(wide(predicted == true).mean())


def f1_macro(predictions: Any, labels: Any) -> float:
    """Mean over classes of F1 = 2PR / (P + R); a class that is never hit counts 0.

    Classes are those that occur in either. Arguments and errors as :func:`accuracy`.

    Example:
        >>> import xmodal_lab as xl
        >>> round(xl.metrics.f1_macro([0, 1, 1, 2], [0, 1, 2, 2]), 3)
        0.778
    """
    from sklearn.metrics import f1_score

    predicted, true = _predicted(predictions, labels)
    return float(f1_score(true.numpy(), predicted.numpy(), average="macro", zero_division=0.0))


def auroc(scores: Any, labels: Any, *, probabilities: bool | None = None, multiclass: str = "ovr") -> float:
    """Area under the ROC curve; with more than two classes the mean of one class against the rest, or of pairs.

    It ranks rows by the score of one class, so scores must be comparable between rows. Logits are not (a number added
    to all logits of a row changes nothing that the model says): rows are ranked by the class's log-odds
    z_c - log Σ_{k≠c} e^{z_k}, which is their order by softmax(z)_c. So the value is scikit-learn's ``roc_auc_score`` on
    the probabilities, and does not lose rows that softmax rounds to 0 or 1.

    Args:
        scores: (n,) score of class 1, of which only the order counts; or (n, C) logits or probabilities.
        labels: (n,) class numbers below C.
        probabilities: whether ``scores`` (n, C) are probabilities; None: they are if all rows are ≥ 0 with sum 1.
        multiclass: "ovr", the mean over classes of one against the rest; "ovo", the mean over pairs of classes
            (Hand and Till 2001), which the classes' frequencies leave as it is. Both unweighted (macro).

    Returns:
        0 to 1; 0.5 is chance.

    Raises:
        ValueError: a class without samples, or all samples in one class; rows of ``probabilities`` that are no
            probabilities; and as :func:`accuracy`.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.metrics.auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.75
    """
    from sklearn.metrics import roc_auc_score

    check.one_of("multiclass", multiclass, ("ovr", "ovo"))
    table = check.finite("scores", floating("scores", scores).detach().cpu().double())
    if table.ndim == 1:
        table = torch.stack([-table, table], 1)
    elif table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"scores must have shape (n,) or (n, C) with C ≥ 2, got {tuple(table.shape)}.")
    true = class_numbers("labels", labels, len(table), below=table.shape[1])
    missing = sorted(set(range(table.shape[1])) - set(true.tolist()))
    if missing:
        raise ValueError(f"auroc needs samples of every class; class {missing[0]} has none among {len(true)} labels.")
    if not _are_probabilities(table, probabilities):
        table = _log_odds(table)
    if table.shape[1] == 2:
        return float(roc_auc_score(true.numpy(), table[:, 1].numpy()))
    count = range(table.shape[1])
    if multiclass == "ovr":
        areas = [roc_auc_score((true == c).numpy(), table[:, c].numpy()) for c in count]
    else:
        pairs = ((c, (true == c) | (true == d)) for c in count for d in count if c != d)
        areas = [roc_auc_score((true[two] == c).numpy(), table[two, c].numpy()) for c, two in pairs]
    return float(sum(areas) / len(areas))


def expected_calibration_error(scores: Any, labels: Any, bins: int = 15, *, probabilities: bool | None = None) -> float:
    """Σ over bins of share · |accuracy - mean confidence|, 0 (calibrated) to 1.

    Args:
        scores: (n, C) logits or probabilities.
        labels: (n,) class numbers below C.
        probabilities: whether ``scores`` are probabilities; None: they are if all rows are ≥ 0 with sum 1.
        bins: equal bins of confidence over (0, 1]; 15 as in Guo et al. 2017.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: rows of ``probabilities`` that are no probabilities; and as :func:`accuracy`.

    Example:
        >>> import xmodal_lab as xl
        >>> sure = [[1.0, 0.0], [1.0, 0.0]]  # certain both times, right once
        >>> xl.metrics.expected_calibration_error(sure, [0, 1], probabilities=True)
        0.5
    """
    bins = check.integer("bins", bins, at_least=1)
    table = check.finite("scores", floating("scores", scores).detach().cpu().double())
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"scores must have shape (n, C) with C ≥ 2, got {tuple(table.shape)}.")
    if not _are_probabilities(table, probabilities):
        table = table.softmax(1)
    true = class_numbers("labels", labels, len(table), below=table.shape[1])
    confidence, predicted = table.max(1)
    which = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, which, (predicted == true).double() - confidence)
    return float(gaps.abs().sum() / len(true))


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Where K classifiers agree on a sample and where they do not (cox Sec 3.2, Eq 14).

    Attributes:
        agree: (n,) bool, the set A: all K predict the same class.
        disagree: (n,) bool, the set D: the others.
        label: (n,) the class they agree on, -1 on D.
        rate: share of D.
        pairwise: (K, K) share of samples on which two classifiers differ (Def 1 with the 0-1 distance).
    """

    agree: Tensor
    disagree: Tensor
    label: Tensor
    rate: float
    pairwise: Tensor


def disagreement(predictions: Any) -> Disagreement:
    """Agreement and disagreement sets of K classifiers on the same n samples.

    Args:
        predictions: (K, n) class numbers, or (K, n, C) scores, of which the largest counts; K ≥ 2.

    Returns:
        The sets A and D as masks (n,), the label agreed on, and how often two classifiers differ.

    Raises:
        ValueError: one classifier, no sample, NaN.

    Example:
        >>> import xmodal_lab as xl
        >>> two = xl.metrics.disagreement([[0, 1, 2], [0, 1, 1]])
        >>> two.agree.tolist(), two.label.tolist()
        ([True, True, False], [0, 1, -1])
    """
    if isinstance(predictions, (list, tuple)):
        each = [check.as_tensor(f"predictions[{k}]", p) for k, p in enumerate(predictions)]
        if len({p.shape for p in each}) != 1:
            raise ValueError(f"classifiers must predict the same samples, got shapes {[tuple(p.shape) for p in each]}.")
        predictions = torch.stack(each)
    given = check.as_tensor("predictions", predictions).detach()
    if given.ndim == 3 and 0 not in given.shape:
        given = _largest(given)
    if given.ndim != 2 or len(given) < 2 or given.shape[1] == 0:
        raise ValueError(
            f"predictions must have shape (K, n) or (K, n, C), K ≥ 2 classifiers, n ≥ 1, got {tuple(given.shape)}."
        )
    if given.is_floating_point() or given.is_complex():
        raise ValueError(
            f"predictions of shape (K, n) must be class numbers, got {given.dtype}; take .argmax(-1) first."
        )
    given = given.long()
    agree = (given == given[0]).all(0)
    label = torch.where(agree, given[0], -1)
    pairwise = wide(given[:, None] != given[None, :]).mean(-1)
    return Disagreement(agree, ~agree, label, float(wide(~agree).mean()), pairwise)


def _are_probabilities(table: Tensor, said: bool | None) -> bool:
    """Whether rows (n, C) are probabilities, as ``said`` or, when None, as they look."""
    off = (table.sum(1) - 1).abs().max() if len(table) else torch.zeros(())
    fit = not bool((table < 0).any()) and float(off) <= 1e-3  # half precision rounds a sum of 1 by so much
    if said and not fit:
        raise ValueError("scores are not probabilities (rows ≥ 0 with sum 1); for logits give probabilities=False.")
    return fit if said is None else said


def _log_odds(logits: Tensor) -> Tensor:
    """Log p_c - log(1 - p_c) of p = softmax(logits), for every class (n, C)."""
    others = ~torch.eye(logits.shape[1], dtype=torch.bool)
    rest = [logits[:, keep].logsumexp(1) for keep in others]
    return logits - torch.stack(rest, 1)


def _predicted(predictions: Any, labels: Any) -> tuple[Tensor, Tensor]:
    given = check.as_tensor("predictions", predictions).detach().cpu()
    classes = None
    if given.ndim == 2 and given.shape[1] > 0:
        given, classes = _largest(given), given.shape[1]  # a label beyond them would count as a wrong answer
    if given.ndim != 1 or given.is_floating_point() or given.is_complex():
        raise ValueError(
            f"predictions must be (n,) class numbers or (n, C) scores, got {given.dtype} of shape {tuple(given.shape)}."
        )
    return given.long(), class_numbers("labels", labels, len(given), classes)


def _largest(scores: Tensor) -> Tensor:
    """The class with the largest score (..., C); one score has no largest one."""
    if scores.shape[-1] == 1:
        raise ValueError(
            f"predictions {tuple(scores.shape)} hold one column, whose largest says nothing; give class numbers: "
            "predictions[..., 0], or (scores[..., 0] > 0).long() of logits of class 1."
        )
    if scores.dtype == torch.bool or scores.is_complex():  # the former have a largest one, the latter none
        scores = floating("predictions", scores)
    return check.finite("predictions", scores).argmax(-1)
