"""Loss and score of a net on a split: what training climbs down, and what held-out rows say of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..data.samples import Dataset, Samples
from ..losses.targets import check_labels
from ..models import objectives
from ..models.coarse import single, single_samples
from ..models.evaluation import answer, device_of, eval_mode
from ..utils import checks as check
from ..utils.memory import out_of_memory
from .trainable import check_known


@torch.no_grad()
def evaluate(model: nn.Module, samples: Samples, batch_size: int = 1024) -> tuple[float, float]:
    """Mean loss and accuracy on ``samples``; for real-valued labels the second is minus the mean squared error.

    Args:
        model: a module from a dict of inputs to outputs; asked in eval mode and left in the mode it came in.
        samples: a split, such as ``dataset.test``.
        batch_size: rows at a time.

    Returns:
        (loss, score), two numbers.

    Raises:
        TypeError: no module, no samples.
        ValueError: outputs that do not fit the labels.
    """
    check.instance("model", model, nn.Module)
    check.instance("samples", samples, Samples, "such as dataset.test")
    batch_size = check.integer("batch_size", batch_size, at_least=1)
    model, samples = single(model), single_samples(samples)
    where = device_of(model, samples.labels.device)
    with eval_mode(model):  # on copies, in case the model works on its inputs in place
        outputs = torch.cat(
            [
                answer(model, {m: x[k : k + batch_size].to(where, copy=True) for m, x in samples.inputs.items()})
                for k in range(0, len(samples), batch_size)
            ]
        )
    labels = samples.labels.to(where)
    return float(criterion(outputs, labels)), _accuracy(outputs, labels)


def criterion(outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean loss that the labels ask for: cross-entropy of classes or tags, squared error of numbers.

    Args:
        outputs: (N, C) logits, or (N, d) numbers.
        labels: (N,) classes, (N, C) tags, or numbers shaped like ``outputs``.
        label_smoothing: share of a class's weight that all classes get alike.

    Returns:
        A scalar, in nats for classes and tags; it has a gradient where ``outputs`` do.

    Raises:
        TypeError: no tensors.
        ValueError: labels that do not fit the outputs in number, shape, dtype or device.
    """
    for what, value in (("outputs", outputs), ("labels", labels)):
        check.instance(what, value, Tensor)
    try:
        return objectives.loss_of(outputs, labels, label_smoothing=label_smoothing)
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        if out_of_memory(error):
            raise
        if objectives.task_of(labels) == "classes" and outputs.device == labels.device:
            check_labels(outputs, labels, [labels], None)
        raise ValueError(
            f"outputs ({outputs.dtype}, {tuple(outputs.shape)}, {outputs.device}) and labels ({labels.dtype}, "
            f"{tuple(labels.shape)}, {labels.device}) make no loss with label smoothing {label_smoothing!r}: {error}."
        ) from error


def held_out_splits(dataset: Dataset, modalities: Sequence[str], device: torch.device) -> dict[str, Samples]:
    """The splits that are reported, not trained on; of each the rows that have all ``modalities``.

    Args:
        dataset: the whole.
        modalities: that a model sees.
        device: where the rows are put.

    Returns:
        Name -> samples, without "train".

    Raises:
        ValueError: rows of unknown class (-1).
    """
    held_out = {k: s.to(device).complete(modalities) for k, s in dataset.splits.items() if k != "train"}
    for split, samples in held_out.items():
        check_known(split, samples.labels)
    return held_out


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float(objectives.scores_of(outputs, labels).mean())
