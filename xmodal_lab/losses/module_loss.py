"""The loss of a model on samples."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ..data.samples import Samples
from ..models import objectives
from ..utils import checks as check
from .cross_entropy import cross_entropy
from .loss import ModuleLoss


def loss_on(
    model: nn.Module,
    samples: Samples,
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    batchnorm: str = "keep",
    name: str | None = None,
) -> ModuleLoss:
    """The loss of ``model`` on ``samples`` as a function of its parameters.

    Rows that lack one of the model's modalities are left out. The model is looked at in eval
    mode and shared, not copied: θ is where the model stands when the loss is evaluated.

    Args:
        model: a module from a dict of inputs to outputs, such as :class:`~xmodal_lab.LateFusion`.
        samples: a split of a dataset.
        criterion: mean over samples; None: the one that the labels ask for, see :mod:`.objectives`.
        batchnorm: "keep" or "recalibrate", see :meth:`Loss.from_module`.
        name: what plots call it.

    Returns:
        A loss whose θ are the model's parameters, on the device of the model.

    Raises:
        ValueError: a modality of the model that the samples lack; no complete row; unknown labels (-1).

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", modalities=("image", "audio"), n_train=20, n_test=10)
        >>> net = xl.LateFusion.for_dataset(ds, architecture="mlp")
        >>> loss = xl.loss_on(net, ds.test)
        >>> loss.value() > 0, list(loss.blocks)
        (True, ['encoders.image', 'encoders.audio', 'fusion', 'head'])
    """
    if not isinstance(samples, Samples):
        raise TypeError(f"samples must be Samples, such as dataset.test, got {type(samples).__name__}.")
    names = check.modalities_of(getattr(model, "modalities", None), samples.modalities)
    seen = samples.complete(names)
    labels = seen.labels
    if criterion is None:
        objectives.check_known(labels)
        # Of class labels an own cross-entropy, which has a fast second derivative.
        criterion = cross_entropy if objectives.task_of(labels) == "classes" else objectives.loss_of
    name = "loss" if name is None else check.instance("name", name, str)
    batch = ({m: seen.inputs[m] for m in names}, labels)
    return ModuleLoss(model, batch, criterion, batchnorm=batchnorm, name=name)
