"""All scores that labels ask for, of outputs or of a model: of classes, of several classes a row, of real values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from ...data.labels import as_labels, task_of
from ...data.samples import Samples
from ...models import objectives
from ...models.any_batch import seen
from ...models.coarse import single, single_samples
from ...models.evaluation import device_of, eval_mode, outputs_of, seen_modalities
from ...utils import checks as check
from ...utils.points import floating
from .predictions import accuracy, auroc, expected_calibration_error, f1_macro


def scores(model: Any, samples: Any, *, batch_size: int = 1024) -> dict[str, float]:
    """What is usually said of predictions, by the sort of the labels.

    - One class a row: ``accuracy``, ``f1_macro``, ``auroc``, ``calibration_error`` (15 bins), and ``majority``, the
      accuracy of always saying the most frequent class.
    - Several classes a row (N, C): ``accuracy``, the share of right answers (1 - Hamming loss); ``exact``, the share of
      rows with all answers right; ``f1_macro`` and ``f1_micro`` at probability 0.5; ``average_precision`` and
      ``auroc``, means over the classes that have rows with and without; ``majority``, the accuracy of always giving
      each class's more frequent answer.
    - Real values: ``mse``, ``mae``, ``r2`` (against the mean of these labels), ``pearson``, ``spearman``; of several
      values means over them.

    Args:
        model: a module, or what :func:`~xmodal_lab.fit` returned; or outputs: logits (N, C) or real values.
        samples: beside a model a split, or a batch or loader of what it is called with, as in ``xl.robustness.pgd``;
            beside outputs the labels, as :class:`~xmodal_lab.Samples` holds them.
        batch_size: rows at a time.

    Returns:
        Name -> score. NaN where these labels do not give it: AUROC without a class, R² of constant values.

    Raises:
        ValueError: outputs that do not answer the labels, unknown labels (-1), outputs that are NaN.
        TypeError: neither a model nor outputs.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> found = xl.metrics.scores(torch.tensor([0.0, 1.0, 2.5]), torch.tensor([0.0, 1.0, 2.0]))
        >>> round(found["mse"], 4), found["spearman"]
        (0.0833, 1.0)
    """
    batch_size = check.integer("batch_size", batch_size, at_least=1)
    net = getattr(model, "model", model)
    if isinstance(net, nn.Module):
        if not isinstance(samples, Samples):
            net, samples, _ = seen(net, samples)
        names = seen_modalities(net, samples)
        net, samples = single(net), single_samples(samples)
        with eval_mode(net):
            inputs = {m: samples.inputs[m] for m in names}
            outputs = outputs_of(net, inputs, batch_size, device_of(net, samples.labels.device))
        labels = samples.labels
    else:
        outputs, labels = check.finite("outputs", floating("outputs", model)), as_labels(samples)
    outputs, labels = outputs.detach().cpu().double(), labels.detach().cpu()
    objectives.check_known(labels)
    objectives.check_outputs(outputs, labels)
    objectives.check_range(outputs, labels)
    return {"classes": _of_classes, "labels": _of_several, "values": _of_values}[task_of(labels)](outputs, labels)


def _of_classes(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    lone = outputs.shape[1] < 2
    every = len(labels.unique()) == outputs.shape[1]
    return {
        "accuracy": float((labels == 0).double().mean()) if lone else accuracy(outputs, labels),
        "f1_macro": math.nan if lone else f1_macro(outputs, labels),
        "auroc": auroc(outputs, labels, probabilities=False) if every and not lone else math.nan,
        "calibration_error": math.nan if lone else expected_calibration_error(outputs, labels, probabilities=False),
        "majority": float(labels.bincount().max()) / len(labels),
    }


def _of_several(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    said, true, raw = (outputs > 0).numpy(), labels.numpy(), outputs.numpy()
    both = [c for c in range(true.shape[1]) if 0 < true[:, c].sum() < len(true)]
    share = true.mean(0)

    def mean(score: Any) -> float:
        return float(np.mean([score(true[:, c], raw[:, c]) for c in both])) if both else math.nan

    return {
        "accuracy": float((said == true).mean()),
        "exact": float((said == true).all(1).mean()),
        "f1_macro": float(f1_score(true, said, average="macro", zero_division=0.0)),
        "f1_micro": float(f1_score(true, said, average="micro", zero_division=0.0)),
        "average_precision": mean(average_precision_score),
        "auroc": mean(roc_auc_score),
        "majority": float(np.maximum(share, 1 - share).mean()),
    }


def _of_values(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    from scipy.stats import rankdata

    true = labels.double().reshape(len(labels), -1).numpy()
    said = outputs.reshape(true.shape).numpy()
    off = said - true
    spread = true.var(0)

    def correlation(a: Any, b: Any) -> float:
        a, b = a - a.mean(0), b - b.mean(0)
        scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
        return float(np.mean((a * b).sum(0) / scale)) if (scale > 0).all() else math.nan

    return {
        "mse": float((off**2).mean()),
        "mae": float(np.abs(off).mean()),
        "r2": float(np.mean(1 - (off**2).mean(0) / spread)) if (spread > 0).all() else math.nan,
        "pearson": correlation(said, true),
        "spearman": correlation(rankdata(said, axis=0), rankdata(true, axis=0)),
    }
