"""Scores of trained members: accuracy, best relabelling, A and D, retrieval."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ....instruments.metrics import recall_at_k
from ....models.stacked import affine
from ....utils import checks as check
from ....utils.checks import class_numbers
from ..worlds.problem import Problem
from .nets import optimal_classifiers

LEVELS = ("instance", "class")


def best_relabelling(predictions: Any, labels: Any, classes: int) -> float:
    """Accuracy after the renaming of predicted classes that fits best (Hungarian algorithm).

    Without labels nothing tells which cluster has which name: this is what the clusters are worth, and an upper
    limit that looks at the test labels.

    Args:
        predictions, labels: (n,) class numbers.
        classes: C.

    Returns:
        A share in [0, 1].
    """
    from scipy.optimize import linear_sum_assignment

    classes = check.integer("classes", classes, at_least=1)
    count = check.as_tensor("labels", labels).numel()
    given = class_numbers("predictions", predictions, count, below=classes).cpu()
    true = class_numbers("labels", labels, count, below=classes).cpu()
    table = torch.zeros(classes, classes).index_put_((given, true), torch.ones(len(true)), accumulate=True)
    rows, columns = linear_sum_assignment(-table.numpy())
    return float(table[rows, columns].sum() / len(true))


def agreement_accuracy(predictions: Tensor, labels: Tensor, disagree: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy on A and on D (Fig 6): (S, n), (n,), (S, n) bool → (S,), (S,); NaN for an empty set."""
    right = (predictions == labels).float()

    def on(which: Tensor) -> Tensor:
        return (right * which).sum(1) / which.sum(1)

    return on(~disagree), on(disagree)


def in_modal_posterior(problem: Problem) -> Tensor:
    """What linear classifiers on the perceptors' features say of the test rows, mean over modalities: (n, C)."""
    found = []
    for m, z in problem.train.inside.items():
        head = optimal_classifiers(z[None], problem.train.labels, len(problem.classes))
        found.append(affine(head, "h", problem.test.inside[m]).softmax(-1)[0])
    return torch.stack(found).mean(0)


def retrieval(out: Tensor, inside: Tensor, labels: Tensor | None = None) -> tuple[float, float]:
    """R@1 and R@5 from the out-of-modal test rows to the in-modal ones.

    The paper does not say in which space its methods meet; here, for every method alike, in that of the class
    posteriors (cosine of their square roots): ERM, SSL and MoCo have no map between feature spaces.

    Args:
        out: (n, C) probabilities of h_O.
        inside: (n, C) probabilities from :func:`in_modal_posterior`.
        labels: (n,) for "any instance of the same class"; the very same instance when None.
    """
    asked: dict[str, Any] = {} if labels is None else {"query_labels": labels, "gallery_labels": labels}
    found = recall_at_k(out.clamp(min=0).sqrt(), inside.clamp(min=0).sqrt(), [1, min(5, len(inside))], **asked)
    one, five = found.values() if len(found) == 2 else (*found.values(), *found.values())
    return one, five
