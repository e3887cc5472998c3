"""Anyone's module on anyone's batches, seen as a model on samples: what it is called with keeps its names.

(x, y), (x1, x2, y)                  module(x), module(x1, x2)
({"image": …, "audio": …}, y)        module({"image": …, "audio": …})
{"pixel_values": …, "labels": y}     module(pixel_values=…).logits
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

from ..data.batches import batches_of
from ..data.samples import Samples

TARGETS = ("labels", "label", "targets", "target", "y")
EMBEDDED, IDS = "inputs_embeds", "input_ids"
Args = ParamSpec("Args")
Answer = TypeVar("Answer")


class Called(nn.Module):
    """A module behind a dict of its inputs: ``how`` is "dict", "names" or "places"."""

    def __init__(self, module: nn.Module, names: Sequence[str], how: str) -> None:
        super().__init__()
        self.module, self.modalities, self.how = module, tuple(names), how

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The logits: the tensor that the module returns, its ``logits``, or the first of a tuple."""
        if self.how == "dict":
            out = self.module(dict(inputs))
        elif self.how == "names":
            out = self.module(**{m: inputs[m] for m in self.modalities})
        else:
            out = self.module(*(inputs[m] for m in self.modalities))
        if isinstance(out, Mapping) and "logits" in out:
            out = out["logits"]
        elif hasattr(out, "logits"):
            out = out.logits
        return cast(Tensor, out[0] if isinstance(out, tuple) else out)


def on_any_batch(function: Callable[Args, Answer]) -> Callable[Args, Answer]:
    """Let a ``function(model, samples, …)`` take a batch, or a loader, of whatever the model is called with."""

    @wraps(function)
    def taking(*args: Args.args, **kwargs: Args.kwargs) -> Answer:
        given: dict[str, Any] = dict(zip(("model", "samples", "modality"), args, strict=False)) | kwargs
        model, data = given.get("model"), given.get("samples")
        if isinstance(model, nn.Module) and isinstance(data, (Mapping, tuple, list, torch.utils.data.DataLoader)):
            model, data = seen(model, data, given.get("modality"))
            places = {"model": model, "samples": data}
            kwargs.update({name: value for name, value in places.items() if name in kwargs})
            args = (*list(places.values())[: len(args)], *args[2:])  # type: ignore[assignment]
        return function(*args, **kwargs)

    return taking


def seen(module: nn.Module, data: Any, asked: Any = None) -> tuple[nn.Module, Samples]:
    """``module`` as a model of a dict of inputs, and the batch or batches ``data`` as samples.

    Args:
        module: called as the batch says, see the module's docstring; it returns a tensor, an object with ``logits``, or
            a tuple that begins with them.
        data: one batch or a loader; inputs have one shape, the target stands last or under one of ``TARGETS``.
        asked: the modalities that are asked for. With "inputs_embeds" among them, ``input_ids`` become what
            ``module.get_input_embeddings()`` makes of them.

    Raises:
        ValueError: no target, batches whose inputs differ in shape.
        TypeError: no batch; inputs that are no tensors.
    """
    parts = [_apart(batch) for batch in batches_of(data)]
    names, how = list(parts[0][0]), parts[0][2]
    inputs = {m: _joined(m, [part[0].get(m) for part in parts]) for m in names}
    labels = _joined("the target", [part[1] for part in parts])
    wanted = {asked} if isinstance(asked, str) else set(asked) if isinstance(asked, Collection) else set()
    if EMBEDDED in wanted and IDS in inputs and EMBEDDED not in inputs:
        inputs = _embedded(module, inputs)
    if how == "dict" and hasattr(module, "modalities"):
        return module, Samples(inputs, labels)
    return Called(module, list(inputs), how), Samples(inputs, labels)


def _apart(batch: Any) -> tuple[dict[str, Any], Any, str]:
    """Inputs by name, the target, and how the module is called."""
    if isinstance(batch, Mapping):
        target = next((name for name in TARGETS if name in batch), None)
        if target is None:
            raise ValueError(
                f"the batch has no target; it holds {', '.join(map(str, batch))}, expected {TARGETS[0]!r}."
            )
        return {str(m): x for m, x in batch.items() if m != target and x is not None}, batch[target], "names"
    *inputs, target = batch
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return {str(m): x for m, x in inputs[0].items()}, target, "dict"
    names = ["input"] if len(inputs) == 1 else [f"input_{k}" for k in range(len(inputs))]
    return dict(zip(names, inputs, strict=True)), target, "places"


def _joined(what: str, tensors: Sequence[Any]) -> Tensor:
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"{what!r} of a batch must be a tensor, got {type(x).__name__}.")
    shapes = {tuple(x.shape[1:]) for x in tensors}
    if len(shapes) > 1:
        raise ValueError(f"{what!r} has rows of shape {' and '.join(map(str, shapes))}; pad the batches to one length.")
    return torch.cat(list(tensors))


def _embedded(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``input_ids`` as the vectors that the module itself would look up."""
    ask = getattr(module, "get_input_embeddings", None)
    if not callable(ask):
        raise TypeError(f"{type(module).__name__} has no get_input_embeddings(); give {EMBEDDED!r} in the batch.")
    table = cast(nn.Module, ask())
    device = next(table.parameters()).device
    with torch.no_grad():
        vectors = table(inputs[IDS].to(device)).to(inputs[IDS].device)
    return {EMBEDDED: vectors, **{m: x for m, x in inputs.items() if m != IDS}}
