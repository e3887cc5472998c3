"""Search on the validation split, with the same budget for every method; and the closed-form baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch

from ....data.unpaired import Unpaired, draw_shots
from ....utils import checks as check
from .heads import Head, checked_heads
from .training import Trained, train_heads

# Tab 5, as printed, and what it leaves to every method. 24 settings of 12,800 steps each.
PAPER: dict[str, Sequence[Any]] = {
    "optimizer": ("adamw",), "schedule": ("cosine",), "warmup": (50,), "steps": (12_800,), "choose": ("best",),
    "lr": (1e-3, 1e-4), "weight_decay": (0.0, 0.01, 0.001), "batch_size": (8, 32), "learn_scale": (False, True),
}  # fmt: skip
# Ours, measured: what decides on few shots and small embeddings.
QUICK: dict[str, Sequence[Any]] = {"lr": (0.03, 0.1, 0.3), "lam": (0.3, 1.0, 3.0)}

CLASSIFIERS = ("lda", "logistic", "means")


@dataclass(frozen=True, eq=False)
class Search:
    """What a grid search found.

    Attributes:
        best: of each head, the trained one with the best validation accuracy (ties: the first in the grid).
        chosen: the settings that were searched, of each best head.
        tried: settings in the grid.
    """

    best: tuple[Trained, ...]
    chosen: tuple[Mapping[str, Any], ...]
    tried: int


def search(
    data: Unpaired, heads: Head | Sequence[Head], grid: Mapping[str, Sequence[Any]] | None = None,
    encoders: Mapping[str, Any] | None = None, device: str = "auto",
) -> Search:  # fmt: skip
    """Train every head at every point of a grid; choose each head's own point on the validation split.

    Args:
        data: with a validation split of the target.
        heads: whose other settings stay; λ and r make no difference to a head without auxiliary samples, so its grid
            has those axes once, and is searched as finely in the others.
        grid: setting -> values; :data:`QUICK` by default, :data:`PAPER` is the paper's.
        encoders, device: see :func:`train_heads`.

    Returns:
        The best of each head, its settings, and how many there were.

    Raises:
        ValueError: an empty grid, no validation split of a target.
    """
    asked = checked_heads(data, heads)
    axes = {}
    for name, values in (QUICK if grid is None else check.mapping("grid", grid, "lists of values")).items():
        check.one_of("setting in grid", name, Head.__dataclass_fields__)
        axes[name] = check.listed(f"grid[{name!r}]", values)
    if not asked or not axes or any(len(values) == 0 for values in axes.values()):
        raise ValueError("the grid is empty; give at least one value for each setting, or none for the default grid.")
    for head in asked:
        if head.target not in data.val:
            raise ValueError(f"a search needs a validation split of {head.target!r}; give unpaired(..., val={{...}}).")
    plans = []
    for head in asked:
        mine = {k: v for k, v in axes.items() if head.taught or k not in ("lam", "ratio", "start")}
        points = [dict(zip(mine, values, strict=True)) for values in product(*mine.values())]
        plans.append([(point, replace(head, **point)) for point in points])
    trained = iter(train_heads(data, [head for plan in plans for _, head in plan], encoders, device=device))
    best, chosen = [], []
    for plan in plans:
        mine_trained = [(point, next(trained)) for point, _ in plan]
        point, top = max(mine_trained, key=lambda pair: pair[1].val_accuracy)
        best.append(top)
        chosen.append(point)
    return Search(tuple(best), tuple(chosen), max(len(plan) for plan in plans))


def baseline(data: Unpaired, head: Head, classifier: str = "lda") -> tuple[float, float]:
    """A closed-form classifier on the same k-shot sample of the target: what a gain must be compared with.

    Args:
        data, head: as in :func:`train_heads`; of the head only target, shots and seed are used.
        classifier: "lda" (linear discriminant, Ledoit-Wolf shrinkage), "logistic" (regression, strength chosen on
            the validation split), "means" (nearest class mean).

    Returns:
        Accuracy on the test and on the validation split (NaN without one).

    Raises:
        ValueError: an unknown classifier, more shots than a class has.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression

    check.one_of("classifier", classifier, CLASSIFIERS)
    check.instance("data", data, Unpaired, "make it with uml.unpaired(...)")
    check.one_of("target", check.instance("head", head, Head).target, data.modalities)
    x, y = data.train[head.target]
    rows = draw_shots(y, head.shots, head.seed, head.target, data.classes)
    seen, labels = x[rows].flatten(1).double().numpy(), y[rows].numpy()
    held = {s: split.get(head.target) for s, split in (("test", data.test), ("val", data.val))}
    if classifier == "lda" and len(labels) > len(data.classes):
        models: list[Any] = [LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")]
    elif classifier == "logistic":
        models = [LogisticRegression(C=c, max_iter=1000) for c in (1.0, 10.0, 100.0)]
    else:  # with one sample of each class there is no covariance: LDA is the nearest mean
        models = [_Means()]

    def accuracy(model: Any, pair: tuple[torch.Tensor, torch.Tensor] | None) -> float:
        if pair is None:
            return float("nan")
        return float((model.predict(pair[0].flatten(1).double().numpy()) == pair[1].numpy()).mean())

    scores = [(accuracy(m.fit(seen, labels), held["test"]), accuracy(m, held["val"])) for m in models]
    return max(scores, key=lambda s: s[1] if s[1] == s[1] else 0.0)


class _Means:
    """Nearest class mean; fine with one sample of each class, where scikit-learn's warns."""

    def fit(self, x: Any, y: Any) -> _Means:
        self.classes = np.unique(y)
        self.means = np.stack([x[y == c].mean(0) for c in self.classes])
        return self

    def predict(self, x: Any) -> Any:
        return self.classes[((x[:, None] - self.means[None]) ** 2).sum(2).argmin(1)]
