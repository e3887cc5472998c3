"""Whether data, net and options fit each other, asked before any work."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.samples import Dataset
from ..utils import checks as check
from .options import Options


def check_trainable(dataset: Dataset, options: Options) -> None:
    """Refuse what does not fit the dataset, such as ``choose="best"`` without a validation split.

    Also classes that no training row has, smoothed labels that are numbers, augmentation that no modality takes.

    Args:
        dataset: the whole, with its splits.
        options: how it is to be trained.

    Raises:
        TypeError: a split in place of the whole.
        ValueError: what does not fit.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"training needs a Dataset, got {type(dataset).__name__}; give the whole, not one split of it.")
    if options.choose == "best" and dataset.val is None:
        raise ValueError(f"choose='best' needs a validation split; {dataset.name!r} has none (load it with one).")
    options.changes(dataset)
    labels = dataset.train.labels
    if options.label_smoothing and dataset.task != "classes":
        sort = "real-valued" if dataset.task == "values" else "several a row"
        raise ValueError(f"label_smoothing needs class labels; these are {sort}.")
    if dataset.classes and dataset.task != "values":
        counts = (
            labels.sum(0) if dataset.task == "labels"
            else torch.bincount(labels[labels >= 0], minlength=len(dataset.classes))
        )  # fmt: skip
        empty = [repr(dataset.classes[c]) for c in (counts == 0).nonzero()[:, 0].tolist()]
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(dataset.classes)} classes have no training sample: {', '.join(empty[:10])}; "
                "add samples of them, or leave them out of `classes`."
            )


def check_known(split: str, labels: Tensor) -> None:
    """Refuse class labels -1, which mark rows whose class nobody knows."""
    unknown = 0 if labels.is_floating_point() or labels.dtype == torch.bool else int((labels < 0).sum())
    if unknown:
        raise ValueError(
            f"{unknown} of {len(labels)} {split} rows have unknown labels (-1), of which there is no loss; leave them "
            f"out with dataset.{split}.subset(dataset.{split}.labels >= 0)."
        )


def modalities_of(model: nn.Module, dataset: Dataset) -> tuple[str, ...]:
    """The modalities that the model sees; all of the dataset's when it does not say."""
    asked = getattr(model, "modalities", None)
    return check.modalities_of(asked, dataset.modalities)


def dtypes_of(net: nn.Module) -> set[torch.dtype]:
    """Of its parameters and buffers."""
    return {t.dtype for t in (*net.parameters(), *net.buffers())}
