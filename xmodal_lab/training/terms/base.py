"""What a term is: what it may look at before training, what it sees of a batch, its settings, and one of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...data.samples import Dataset, Samples
from ...losses import Params
from ...models.latents import apart
from ...utils import checks as check


@dataclass(frozen=True, eq=False)
class Context:
    """What a term may look at before training.

    Attributes:
        model: the net, as it starts, with ``modalities``, ``latents`` and ``classify``.
        dataset: what it trains on.
        train: the training split, where the model is.
        seed: of the run.
        teach: modality, width → a net on that modality alone, trained and in eval mode.
    """

    model: nn.Module
    dataset: Dataset
    train: Samples
    seed: int
    teach: Callable[[str, int], nn.Module]

    def width(self, modalities: Sequence[str]) -> int:
        """The size d of the latents of ``modalities``.

        Raises:
            ValueError, TypeError: they do not agree on it; what ``latents`` gives is none, or lacks one of them.
        """
        rows = {m: self.train.inputs[m][:2] for m in modalities}
        with torch.no_grad():
            found, _ = apart(self.model.latents(rows))  # type: ignore[operator]
        if lacking := [m for m in modalities if m not in found]:
            raise ValueError(
                f"latents(inputs) gave {', '.join(found)}, and no {lacking[0]!r}; a term reads the latents of each of "
                f"the model's modalities, {', '.join(modalities)}."
            )
        sizes = {m: z.shape[-1] for m, z in found.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"latents of {', '.join(sizes)} have {sizes} numbers; a term needs them alike.")
        return next(iter(sizes.values()))


@dataclass(frozen=True, eq=False)
class View:
    """One batch as a term sees it: K members, B rows each.

    Attributes:
        step: counted from 0 over the whole run.
        rows: (K, B) positions in the training split.
        labels: (K, B).
        inputs: modality -> (K, B, ...).
        latents: modality -> (K, B, d), or (K, B, T, d) tokens.
        masks: modality -> (K, B, T), which tokens are there; empty for vectors.
        outputs: (K, B, C) logits.
        settings: the term's own, name -> (K,).
        draws: what the term drew for these rows, name -> (K, B, ...).
        params: the term's own parameters, name -> (K, ...), trained along.
        states: what the term prepared, one of each member.
        memory: a dict of the term's that lives as long as the run.
        alone: (modality, x (K, n, ...)) → logits (K, n, C) of that modality alone.
    """

    step: int
    rows: Tensor
    labels: Tensor
    inputs: Mapping[str, Tensor]
    latents: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    outputs: Tensor
    settings: Mapping[str, Tensor]
    draws: Mapping[str, Tensor]
    params: Params
    states: Sequence[Any]
    memory: dict[str, Any]
    alone: Callable[[str, Tensor], Tensor]


@dataclass(frozen=True)
class Term:
    """The base of all terms: subclass it for a term that prepares, draws or has parameters; else see :func:`term`.

    A subclass is a frozen dataclass. ``weighs`` names its settings and the fields that hold them; the first is the
    weight, and a weight of 0 is never computed. ``prepared`` names the fields that ``prepare`` alone reads: members of
    one stack may differ in them.
    """

    name: ClassVar[str] = "term"
    weighs: ClassVar[Mapping[str, str]] = {}
    prepared: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for setting, held in self.weighs.items():
            check.non_negative(f"{setting} ({self.called})", getattr(self, held))

    @property
    def called(self) -> str:
        """The name of this term, by which histories and errors call it."""
        return self.name

    @property
    def settings(self) -> dict[str, float]:
        """Its settings and their values; a sweep may vary them."""
        return {setting: float(getattr(self, held)) for setting, held in self.weighs.items()}

    @property
    def weight_setting(self) -> str | None:
        """The setting that weighs it; None for what always counts once."""
        return next(iter(self.weighs), None)

    def with_settings(self, **given: float) -> Term:
        """The same term with the ``given`` settings in place of its own."""
        return replace(self, **{self.weighs[name]: value for name, value in given.items()})

    def shape(self) -> tuple[Any, ...]:
        """All but its settings and what is each member's own: members that agree on it may train as one stack."""
        held = {*self.weighs.values(), *self.prepared}
        plain = (str, int, float, bool, type(None), tuple)
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in held}
        return (type(self), *((k, v if isinstance(v, plain) else id(v)) for k, v in values.items()))

    def prepare(self, context: Context) -> Any:
        """What one member needs for its whole run, from its ``context``; refuses a model or data that do not fit.

        Raises:
            ValueError: what is lacking.
        """

    def start(self, context: Context, generator: torch.Generator) -> Params:
        """One member's own parameters of this term, drawn from ``generator`` for its ``context``; none by default."""
        return {}

    def draw(self, state: Any, rows: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """What is drawn for one member's epoch.

        Args:
            state: what :meth:`prepare` gave for it.
            rows, labels: (n,) of the epoch, in the order of training.
            generator: the member's own, of this term.

        Returns:
            Name -> (n, ...), an entry for each row.
        """
        return {}

    def value(self, view: View) -> Tensor:
        """(K,), the term of each member on the batch in ``view``, before its weight."""
        raise NotImplementedError


@dataclass(frozen=True)
class Function(Term):
    """A term that is a function of a :class:`View`; :func:`term` makes one.

    Args:
        function: View -> (K,).
        label: its name.
        setting: the name of the setting that weighs it.
        weight: its value.
    """

    function: Callable[[View], Tensor]
    label: str = "own"
    setting: str = "own"
    weight: float = 1.0

    def __post_init__(self) -> None:
        check.function("a term", self.function, "from a View to one number per member")
        for what, text in (("name of a term", self.label), ("setting of a term", self.setting)):
            if not isinstance(text, str) or not text.isidentifier():
                raise ValueError(f"the {what} must be a name such as 'confidence', got {text!r}.")
        check.non_negative(f"weight of {self.label!r}", self.weight)

    @property
    def called(self) -> str:
        """The name that :func:`term` gave it."""
        return self.label

    @property
    def settings(self) -> dict[str, float]:
        """The weight, under its name."""
        return {self.setting: float(self.weight)}

    @property
    def weight_setting(self) -> str:
        """The setting that weighs it."""
        return self.setting

    def with_settings(self, **given: float) -> Term:
        """The same term with the ``given`` weight, by its setting's name."""
        return replace(self, weight=given[self.setting])

    def shape(self) -> tuple[Any, ...]:
        """The function and the names."""
        return (type(self), id(self.function), self.label, self.setting)

    def value(self, view: View) -> Tensor:
        """(K,) what the function gave for ``view``.

        Raises:
            ValueError: it gave something else.
        """
        found = self.function(view)
        if not isinstance(found, Tensor) or found.shape != view.outputs.shape[:1]:
            came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"term {self.label!r} must give one number per member, shape ({len(view.outputs)},), got {came}; take "
                "means over rows with .mean(-1), and keep the first size."
            )
        return found


def term(
    name: str, *, weight: float = 1.0, setting: str | None = None
) -> Callable[[Callable[[View], Tensor]], Function]:
    """Make a function of a :class:`View` a term.

    Args:
        name: what histories call it.
        weight: its weight.
        setting: the setting of that weight, as an axis of a sweep; its name when not given.

    Returns:
        A decorator.

    Raises:
        ValueError: a name that is none, a weight below 0.
    """
    return lambda function: Function(function, name, name if setting is None else setting, weight)
