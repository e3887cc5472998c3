"""A model on samples, looked at in eval mode and left as it was: outputs, loss, accuracy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..data.samples import Samples
from ..utils import checks as check
from ..utils.torch_state import wide
from . import objectives
from .copies import without_recomputing
from .outputs import OnRows, joined, leading, logits_of


class Evaluation(NamedTuple):
    """How a model does on samples.

    Attributes:
        loss: mean cross-entropy; of several classes a row the binary one; mean squared error for real-valued labels.
        accuracy: share of right answers; minus the mean squared error for real-valued labels; minus the loss where a
            criterion of one's own judges outputs or targets of which no share of right answers is known.
    """

    loss: float
    accuracy: float


def seen_modalities(model: nn.Module, samples: Samples) -> tuple[str, ...]:
    """The modalities of ``samples`` that ``model`` looks at, if the two fit each other."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    if not isinstance(samples, Samples):
        raise TypeError(f"samples must be Samples, such as dataset.test, got {type(samples).__name__}.")
    names = check.modalities_of(getattr(model, "modalities", None), samples.modalities)
    objectives.check_known(samples.labels)
    # half precision goes on in float32, on either side
    dtypes = {torch.promote_types(p.dtype, torch.float32) for p in model.parameters() if p.is_floating_point()}
    for m in names:
        x = samples.inputs[m]
        if dtypes and x.is_floating_point() and torch.promote_types(x.dtype, torch.float32) not in dtypes:
            raise ValueError(
                f"inputs[{m!r}] are {samples.inputs[m].dtype}, the model is {', '.join(map(str, dtypes))}; "
                "use samples.to(dtype=…)."
            )
    return names


def device_of(model: nn.Module, fallback: torch.device) -> torch.device:
    """Where the model lives; ``fallback`` for one without parameters."""
    return next((p.device for p in model.parameters()), fallback)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """The model in eval mode while the context lasts, for one thread at a time; then every module as it was.

    Meanwhile its forward runs once, also where it checkpoints activations, and recurrent layers can be differentiated.
    """
    with alone_with(model), without_recomputing():
        modes = {m: m.training for m in model.modules()}
        with _differentiable_recurrence(modes):
            if any(modes.values()):
                model.eval()
            try:
                yield
            finally:
                for m, mode in modes.items():
                    if m.training != mode:
                        m.training = mode


@contextmanager
def _differentiable_recurrence(modules: Iterable[nn.Module]) -> Iterator[None]:
    """CuDNN off where RNN, LSTM or GRU layers on CUDA are among the ``modules``.

    cuDNN's have no gradient in eval mode and no second one in any; torch's own kernels have both.
    """
    recurrent = [m for m in modules if isinstance(m, nn.RNNBase)]
    if not any(p.device.type == "cuda" for m in recurrent for p in m.parameters()):
        yield
        return
    cudnn: Any = torch.backends.cudnn
    with _NO_CUDNN:
        before, cudnn.enabled = cudnn.enabled, False
        try:
            yield
        finally:
            cudnn.enabled = before


_NO_CUDNN = RLock()  # the switch is one for all threads
# Whoever looks at a model changes it for that time (its mode, the tensors in the places of its parameters), and two
# threads at once would see, and leave behind, what the other one has put there.
_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_MAKING = Lock()


def alone_with(model: nn.Module) -> Any:
    """The lock on ``model``, for ``with``; the same thread may take it again."""
    with _MAKING:
        return _LOCKS.setdefault(model, RLock())


def _forget_locks() -> None:
    """In a forked process, where the threads that held them do not exist."""
    global _MAKING, _NO_CUDNN
    _MAKING, _NO_CUDNN = Lock(), RLock()
    _LOCKS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


@torch.no_grad()
def encoded(model: nn.Module, inputs: Mapping[str, Tensor], batch_size: int) -> dict[str, Tensor]:
    """``model.encode`` of all rows, in batches: name -> (N, ...)."""
    device = device_of(model, next(iter(inputs.values())).device)
    parts = [model.encode(batch) for batch in _batches(inputs, batch_size, device)]  # type: ignore[operator]
    return {m: torch.cat([part[m] for part in parts]) for m in parts[0]}


@torch.no_grad()
def outputs_of(
    call: Callable[[dict[str, Tensor]], Any], views: Mapping[str, Tensor], batch_size: int, device: torch.device
) -> Any:
    """``call`` (a model, or its ``classify``) on all rows, in batches: (N, ...), or what a criterion reads."""
    return joined([check_outputs(answer(call, batch), call) for batch in _batches(views, batch_size, device)])


def answer(model: Callable[[dict[str, Tensor]], Any], inputs: dict[str, Tensor]) -> Any:
    """``model(inputs)``; where it fails for want of the right arguments, an error that says what it is called with."""
    try:
        return model(inputs)
    except (TypeError, AttributeError) as error:
        raise TypeError(
            f"{type(model).__name__} failed on a dict of tensors by modality ({', '.join(inputs)}): {error}; "
            "wrap it in a module whose forward takes such a dict."
        ) from error


def check_outputs(outputs: Any, call: object = None) -> Any:
    """Return the outputs of ``call`` if they are a tensor without NaN, or begin with one where ``call`` is raw."""
    if not isinstance(outputs, Tensor) and not getattr(call, "raw", False):
        raise TypeError(f"the model must return a tensor of logits (N, C), got {type(outputs).__name__}.")
    first = leading(outputs)
    bad = first.isnan().flatten(1).any(1) if first.ndim > 1 else first.isnan()
    if bool(bad.any()):
        raise ValueError(
            f"the model's outputs are NaN for {int(bad.sum())} of {len(bad)} rows of a batch; its weights may be NaN "
            "(a diverged training), or its inputs too large. Robustness has no meaning there."
        )
    return outputs


def evaluation(outputs: Any, labels: Tensor, criterion: Callable[[Any, Tensor], Tensor] | None = None) -> Evaluation:
    """Loss and accuracy of ``outputs`` against labels of any sort; see :mod:`.objectives`.

    Of a ``criterion`` (outputs, labels) -> scalar the loss is its own, on all rows at once.
    """
    labels = labels.to(leading(outputs).device)
    if criterion is not None:
        found = criterion(outputs, labels)
        if not isinstance(found, Tensor) or found.numel() != 1:
            raise TypeError(
                f"criterion must return a scalar tensor, got {type(found).__name__}; reduce it with .mean()."
            )
        loss, answered = float(found), not isinstance(criterion, OnRows)
        outputs = logits_of(outputs)
        try:
            objectives.check_outputs(outputs, labels)
        except (ValueError, AttributeError):  # outputs that the criterion alone can read
            answered = False
        return Evaluation(loss, float(wide(objectives.scores_of(outputs, labels)).mean()) if answered else -loss)
    mean_loss = float(summed_loss(outputs, labels)) / len(labels)
    task = objectives.task_of(labels)
    if task == "values":
        return Evaluation(mean_loss, -mean_loss)
    right = objectives.scores_of(outputs, labels)
    return Evaluation(mean_loss, float(wide(right).sum()) / len(labels))


def summed_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Sum over rows, so that the gradient of a row does not depend on the batch it is in."""
    objectives.check_outputs(outputs, labels)
    objectives.check_range(outputs, labels)
    return objectives.loss_of(outputs, labels, "sum")


def _batches(views: Mapping[str, Tensor], size: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
    rows = len(next(iter(views.values())))
    for k in range(0, rows, size):
        yield {m: x[k : k + size].to(device, copy=True) for m, x in views.items()}  # the model may work in place
