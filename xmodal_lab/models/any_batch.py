"""Anyone's module on anyone's batches, seen as a model on samples: what it is called with keeps its names.

(x, y), (x1, x2, y)                  module(x), module(x1, x2)
({"image": …, "audio": …}, y)        module({"image": …, "audio": …})
{"pixel_values": …, "labels": y}     module(pixel_values=…).logits
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..data.batches import batches_of
from ..data.kinds import TOKEN_NAMES
from ..data.labels import as_labels
from ..data.samples import Samples
from ..utils import checks as check
from .evaluation import eval_mode
from .outputs import Criterion, OnRows, logits_of

TARGETS = ("labels", "label", "targets", "target", "y")
EMBEDDED, IDS = "inputs_embeds", "input_ids"


class Called(nn.Module):
    """A module behind a dict of its inputs.

    Args:
        module: anyone's.
        names: of its inputs, in order.
        how: it is called, "dict", "names" or "places".
        whole: dtypes of the inputs that are whole numbers or flags, which it gets back as they came.
        places: modality -> the submodule that gives its latents.

    Attributes:
        raw: whether it returns all that the module does, for a criterion that reads more than logits.
    """

    raw = False

    def __init__(
        self,
        module: nn.Module,
        names: Sequence[str],
        how: str,
        whole: Mapping[str, torch.dtype] | None = None,
        places: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.module, self.modalities, self.how = module, tuple(names), how
        self.whole, self.places = dict(whole or {}), dict(places or {})

    def latents(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Latents by modality: what the module's own ``latents`` says, or what the named submodules give.

        Raises:
            TypeError: neither.
        """
        if not self.places and self.how == "dict" and callable(own := getattr(self.module, "latents", None)):
            return cast("dict[str, Tensor]", own(dict(inputs)))
        if not self.places:
            raise TypeError(
                f"{type(self.module).__name__} does not say where its latents are; name a submodule for each modality, "
                "latents={'image': 'vision_model', 'text': 'text_model'}."
            )
        with listening(self.module, self.places) as heard:
            self(inputs)
        if silent := [m for m in self.places if m not in heard]:
            raise ValueError(
                f"the submodule {self.places[silent[0]]!r} was not called, so {silent[0]!r} has no latents."
            )
        return heard

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The logits: the tensor that the module returns, its ``logits``, or the first of a tuple; all if ``raw``."""
        given = {m: inputs[m].to(self.whole[m]) if m in self.whole else inputs[m] for m in self.modalities}
        if self.how == "dict":
            out = self.module(given)
        elif self.how == "names":
            out = self.module(**given)
        else:
            out = self.module(*given.values())
        return cast(Tensor, out if self.raw else logits_of(out))


def tried(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Those of ``names`` that noise, gaps and attacks are about: no masks, positions or types of tokens."""
    whole = getattr(model, "whole", {})
    return tuple(m for m in names if m not in whole or m in TOKEN_NAMES) or tuple(names)


@contextmanager
def listening(module: nn.Module, latents: Mapping[str, str]) -> Iterator[dict[str, Tensor]]:
    """What the submodules named in ``latents`` give while the context lasts, by modality.

    Of an object of ``transformers`` the pooled output, else the last hidden state; of a tuple the first.

    Raises:
        ValueError: a name that no submodule has.
        TypeError: a submodule that gave no tensor.
    """
    heard: dict[str, Tensor] = {}
    known = dict(module.named_modules())

    def hear(modality: str, _module: nn.Module, _args: Any, out: Any) -> None:
        for name in ("pooler_output", "last_hidden_state"):
            if not isinstance(out, Tensor) and getattr(out, name, None) is not None:
                out = getattr(out, name)
        out = out[0] if isinstance(out, (tuple, list)) and out else out
        heard[modality] = check.instance(f"what {latents[modality]!r} gives", out, Tensor)

    handles = []
    try:
        for m, place in latents.items():
            part = known[check.one_of("submodule", place, [name for name in known if name])]
            handles.append(part.register_forward_hook(partial(hear, m)))
        yield heard
    finally:
        for handle in handles:
            handle.remove()


BATCHES = (Mapping, tuple, list, torch.utils.data.DataLoader)


def on_samples(
    model: Any,
    data: Any,
    asked: Any = None,
    criterion: Criterion | None = None,
    latents: Mapping[str, str] | None = None,
) -> tuple[Any, Any, Criterion | None]:
    """``model`` (or the run that holds it), ``data`` and ``criterion``, by :func:`seen` where ``data`` are no samples.

    A batch, or a loader, of whatever the model is called with; all else comes back as it is, for others to judge.
    """
    module = model if isinstance(model, nn.Module) else getattr(model, "model", model)
    if not (isinstance(module, nn.Module) and isinstance(data, BATCHES)):
        return model, data, criterion
    return seen(module, data, asked, criterion, latents)


def seen(
    module: nn.Module,
    data: Any,
    asked: Any = None,
    criterion: Criterion | None = None,
    latents: Mapping[str, str] | None = None,
    target: bool = True,
) -> tuple[nn.Module, Samples, Criterion | None]:
    """``module`` as a model of a dict of inputs, the batch or batches ``data`` as samples, and the criterion on them.

    Args:
        module: called as the batch says, see the module's docstring; it returns a tensor, an object with ``logits``, or
            a tuple that begins with them.
        data: one batch or a loader; inputs have one shape, the target stands last or under one of ``TARGETS``.
        asked: the modalities that are asked for. With "inputs_embeds" among them, ``input_ids`` become what
            ``module.get_input_embeddings()`` makes of them.
        criterion: (outputs, target) -> scalar; with one, the target may be any tensor with a row for each sample.
        latents: modality -> the submodule that gives its latents, such as "vision_model"; None where nobody asks.
        target: whether a dict must hold one; without it the labels are zeros.

    Raises:
        ValueError: no target, batches whose inputs differ in shape; without a criterion a target that is no label.
        TypeError: no batch; inputs that are no tensors.
    """
    parts = [_apart(batch, target) for batch in batches_of(data)]
    names, how = list(parts[0][0]), parts[0][2]
    inputs = {m: _joined(m, [part[0].get(m) for part in parts]) for m in names}
    given = [part[1] for part in parts]
    labels = _joined("the target", given) if given[0] is not None else torch.zeros(len(inputs[names[0]])).long()
    if criterion is not None:
        try:
            as_labels(labels)
        except (ValueError, TypeError):  # the criterion's own matter
            criterion, labels = OnRows(criterion, labels), torch.arange(len(labels))
    wanted = {asked} if isinstance(asked, str) else set(asked) if isinstance(asked, Collection) else set()
    if EMBEDDED in wanted and IDS in inputs and EMBEDDED not in inputs:
        inputs = _embedded(module, inputs)
    if how == "dict" and hasattr(module, "modalities") and not latents:
        return module, Samples(inputs, labels), criterion
    whole = {m: x.dtype for m, x in inputs.items() if not (x.is_floating_point() or x.dtype == torch.uint8)}
    # Whole numbers that are not below 0 stay whole on the way, whatever they mean to the module.
    kinds = {m: "tokens" for m in whole if not inputs[m].numel() or int(inputs[m].min()) >= 0}
    places = check.mapping("latents", latents or {}, "names of submodules")
    model = Called(
        module, getattr(module, "modalities", list(inputs)) if how == "dict" else list(inputs), how, whole, places
    )
    samples = Samples(inputs, labels, kinds=kinds)
    model.raw = criterion is not None and _takes_all(criterion, model, samples)
    return model, samples, criterion


def _takes_all(criterion: Criterion, model: Called, samples: Samples) -> bool:
    """Whether a criterion reads what the module returns as a whole, as ``Loss.from_module`` hands it over."""
    device = next((p.device for p in model.parameters()), samples.labels.device)
    model.raw = True
    try:
        with eval_mode(model), torch.no_grad():
            out = model({m: x[:2].to(device, copy=True) for m, x in samples.inputs.items()})
            return not isinstance(out, Tensor) and isinstance(criterion(out, samples.labels[:2].to(device)), Tensor)
    except Exception:  # of logits alone, or of neither: then the instrument itself says what is wrong
        return False


def _apart(batch: Any, needed: bool = True) -> tuple[dict[str, Any], Any, str]:
    """Inputs by name, the target, and how the module is called."""
    if isinstance(batch, Mapping):
        target = next((name for name in TARGETS if name in batch), None)
        if target is None and not needed:
            return {str(m): x for m, x in batch.items() if x is not None}, None, "names"
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
