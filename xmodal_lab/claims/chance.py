"""Does any arm of a claim tell more than a guess? On a set where none does, a null is no finding.

On a user's data the test rows are the same for all seeds, so an interval over seeds does not know how far a guess may
come on just these rows. The level that counts as chance is therefore what a guess stays below in 97.5 % of all draws of
as many rows: the upper end of its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..data.samples import Dataset, judged_alike
from .claim import Conditions
from .verdicts import Measured, reads

QUANTILE, NORMAL = 0.975, 1.959964


def guessed_accuracy(dataset: Dataset, *, even: bool = False) -> float:
    """The accuracy on the test rows that counts as chance, in [0, 1].

    (1/n) Q_{.975}(Binomial(n, p)) with p the share of the commonest class among the n test rows, which is what a net
    that sees nothing can learn.

    Args:
        dataset: with class labels; its test rows that are complete count.
        even: of a net that was taught as many rows of each class: p is then 1 / classes.
    """
    from scipy import stats

    labels = judged_alike(dataset).test.labels
    counts = torch.bincount(labels.cpu(), minlength=dataset.outputs)
    p = 1 / len(counts) if even else float(counts.max()) / len(labels)
    return float(stats.binom.ppf(QUANTILE, len(labels), p)) / len(labels)


def guessed_area(dataset: Dataset) -> float:
    """The AUROC on the test rows that counts as chance, mean over classes against the rest, in [0, 1].

    ½ + 1.96 √((n + 1) / (12 n_c (n - n_c))) (Mann and Whitney 1947), averaged over the classes as if they moved
    together, which they do of two; of more it is too much rather than too little.
    """
    labels = judged_alike(dataset).test.labels
    counts = torch.bincount(labels.cpu()).double()
    n = len(labels)
    there = counts[(counts > 0) & (counts < n)]
    if not len(there):
        return 0.5
    return 0.5 + NORMAL * float(((n + 1) / (12 * there * (n - there))).sqrt().mean())


def guessed_side(dataset: Dataset) -> float:
    """The share of test rows on the right side of a boundary between two classes that counts as chance, in [0, 1].

    ½ + 1.96 / (2 √n): each class against one other, so that a guess is right in half of the rows, and the rows of all
    boundaries together are the n test rows.
    """
    return 0.5 + NORMAL / (2 * len(judged_alike(dataset).test) ** 0.5)


def over_chance(
    measured: Measured, conditions: Conditions, arms: Mapping[str, np.ndarray], *, even: bool = False
) -> Measured:
    """``measured`` with the reading that the best of its arms beats a guess on the user's test rows.

    Of an arm at chance alone nothing follows, as the method may lift it; where none is above chance the row needs an
    instrument that reads. On a claim's own world, whose rows are drawn anew for each seed, and on labels that are not
    classes, nothing is added.

    Args:
        measured: of the claim.
        conditions: under which it was measured.
        arms: name -> (n,) test accuracy, one per seed.
        even: as in :func:`guessed_accuracy`.

    Raises:
        ValueError: no arm, or none with a finite accuracy.
    """
    given = conditions.dataset
    if given is None or given.task != "classes":
        return measured
    return beats(measured, arms, guessed_accuracy(given, even=even))


def beats(measured: Measured, arms: Mapping[str, np.ndarray], chance: float) -> Measured:
    """``measured`` with the reading that the best of its arms lies above ``chance``.

    Args:
        measured: of the claim.
        arms: name -> (n,) scores in [0, 1], one per seed.
        chance: in [0, 1].

    Raises:
        ValueError: no arm, or none with a finite score.
    """
    means = {name: float(np.nanmean(scores)) for name, scores in arms.items() if np.isfinite(scores).any()}
    if not means:
        raise ValueError("no arm has a finite score: all runs diverged, or there were none.")
    best = max(means, key=lambda name: means[name])
    reading: dict[str, Any] = {f"{best} over chance, {100 * chance:.1f} %": np.asarray(arms[best]) - chance}
    return reads(measured, **reading)
