"""Which loss, and which score: told by the labels, in one place for training, evaluation, attacks and every instrument.

    labels            task        loss of a row                                   score of a row
    (N,) int64        classes     cross-entropy                                   1 for the right class
    (N, C) bool       labels      binary cross-entropy of logits, mean over C     share of the C answers that are right
    (N,), (N, D) float  values    squared error, mean over D                      minus the loss

The mean over rows of the second is 1 - the Hamming loss. Where few rows have a class, "none of them" scores high: look
at F1 or average precision beside it.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..data.labels import task_of as task_of

REDUCTIONS = ("mean", "sum", "none")


def loss_of(outputs: Tensor, labels: Tensor, reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """The loss of ``outputs`` (N, C), or (N,) for one real value a row, against ``labels``.

    Args:
        outputs: logits, or real values.
        labels: as :class:`~xmodal_lab.Samples` holds them.
        reduction: over rows: "mean" → (), "sum" → () or "none" → (N,).
        label_smoothing: of class labels; see :func:`torch.nn.functional.cross_entropy`.

    Returns:
        The loss, in nats or squared units.

    Raises:
        ValueError: outputs of another shape than the labels ask for.
    """
    task = task_of(labels)
    check_outputs(outputs, labels)
    if task == "classes":
        loss: Tensor = nn.functional.cross_entropy(
            outputs, labels, reduction=reduction, label_smoothing=label_smoothing
        )
        return loss
    answers = outputs.reshape(labels.shape)
    wanted = labels.to(outputs.dtype)
    each = nn.functional.mse_loss if task == "values" else nn.functional.binary_cross_entropy_with_logits
    if labels.ndim == 1 or reduction == "mean":
        return each(answers, wanted, reduction=reduction)
    rows = each(answers, wanted, reduction="none").mean(1)
    return rows.sum() if reduction == "sum" else rows


def scores_of(outputs: Tensor, labels: Tensor) -> Tensor:
    """The score of each row (N,), of ``outputs`` as :func:`loss_of` takes them; see the table above for ``labels``.

    Returns:
        Shares in [0, 1] in float32, or minus squared errors in the outputs' dtype.
    """
    task = task_of(labels)
    if task == "classes":
        return (outputs.argmax(-1) == labels).float()
    if task == "values":
        return -loss_of(outputs, labels, "none")
    return ((outputs.reshape(labels.shape) > 0) == labels).float().mean(1)


def check_outputs(outputs: Tensor, labels: Tensor) -> None:
    """Refuse ``outputs`` that do not answer ``labels``.

    Raises:
        ValueError: another shape.
    """
    task = task_of(labels)
    n = len(labels)
    if task == "values":
        if outputs.numel() != labels.numel() or len(outputs) != n:
            each = "one output" if labels.ndim == 1 else f"{labels.shape[1]} outputs"
            raise ValueError(f"real-valued labels need {each} per row, got outputs {tuple(outputs.shape)}.")
    elif task == "labels":
        if outputs.shape != labels.shape:
            raise ValueError(
                f"several classes a row need one logit for each, {tuple(labels.shape)}, got outputs "
                f"{tuple(outputs.shape)}."
            )
    elif outputs.ndim != 2 or len(outputs) != n:
        raise ValueError(f"the model must return logits of shape ({n}, C), got {tuple(outputs.shape)}.")


def check_range(outputs: Tensor, labels: Tensor) -> None:
    """Refuse class ``labels`` beyond the ``outputs``; it reads the labels, so it waits for a GPU.

    Raises:
        ValueError: a class that has no logit.
    """
    if task_of(labels) == "classes" and len(labels) and int(labels.max()) >= outputs.shape[-1]:
        raise ValueError(f"label {int(labels.max())} has no logit: the model returns {outputs.shape[-1]} of them.")


def check_known(labels: Tensor) -> None:
    """Refuse ``labels`` of which some are unknown.

    Raises:
        ValueError: class numbers below 0.
    """
    if task_of(labels) == "classes" and int(labels.min()) < 0:
        unknown = int((labels < 0).sum())
        raise ValueError(
            f"some labels are unknown (-1): {unknown} of {len(labels)}; use samples.subset(samples.labels >= 0)."
        )
