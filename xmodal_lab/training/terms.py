"""The terms of a recipe: what is added up to a training loss, each weighed by a setting of its own.

    Task        cross-entropy (classes, or several at once) or squared error, by the labels
    Latent      a frozen teacher's latents as targets                         a_latent            synergy, Sec 3.3
    Alignment   transport between a sample's modalities, drawn to a target    a_align, b_align    wma, Eq 9, 10
    Shared      unpaired rows of a modality through the shared part           lam, ratio          uml, Alg 2
    Connection  one modality's latents predicted from the others'             a_connect           cox, Eq 9

A term is data and a function of one batch as K members see it (:class:`View`): everything has the members as its
first size, also where one net trains alone, so that a term is written once. One's own is a function with a name:

    >>> from xmodal_lab import terms
    >>> @terms.term("confidence", weight=0.1)
    ... def confidence(view):
    ...     p = view.outputs.softmax(-1)                      # (K, B, C)
    ...     return -(p * p.clamp_min(1e-9).log()).sum(-1).mean(-1)   # (K,): the mean entropy of each member
    >>> confidence.settings
    {'confidence': 0.1}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..data.drawing import shuffled_classes
from ..data.labels import SORTS, task_of
from ..data.samples import Dataset, Samples
from ..losses import Params
from ..models.latents import alone, apart, encoders_of, pooled
from ..models.stacked import affine, uniform
from ..utils import checks as check
from ..utils.random import seed_of
from ..utils.registry import Registry
from .alignment import REFERENCES, SOLVERS, Transport, off_reference, token_distances
from .stacks import member_losses
from .targets import LOSSES, Pool, controls, drawn, latent_losses

# What a latent target is: the pool that it is drawn from, and the rule (synergy Sec 4.1, Tab 5, App C.3).
TARGETS: Mapping[str, tuple[str, str]] = {
    "imperfect": ("latents", "any"),  # the teacher's latent of any row: shuffled, as in Tab 5
    "same_class": ("latents", "label"),
    "paired": ("latents", "own"),
    "constant": ("constant", "any"),  # control: the mean of the imperfect targets
    "zero": ("zero", "any"),  # control
    "noise": ("noise", "any"),  # control: mean and variance of the imperfect targets
}
BOTTLENECK = 32  # numbers of a connection's v (ours)


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
class Task(Term):
    """The task itself, by the labels: cross-entropy for classes, binary for several at once (bool), or squared error.

    Args:
        label_smoothing: as in :func:`~xmodal_lab.fit`.
    """

    name: ClassVar[str] = "task"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if check.share("label_smoothing", self.label_smoothing) == 1:
            raise ValueError("label_smoothing must be below 1: at 1 the labels say nothing.")

    def value(self, view: View) -> Tensor:
        """(K,) mean loss of ``view.outputs`` against its labels."""
        return member_losses(view.outputs, view.labels, self.label_smoothing)


@dataclass(frozen=True)
class Latent(Term):
    """Latents drawn to those of a frozen teacher: L_z of synergy, Sec 3.3.

    Args:
        teacher: a modality, on which a net of one encoder is trained first and then frozen; or latents (N, d) of
            the training rows that you computed.
        loss: "mse_mean", "mse_sum" or "cosine", see :mod:`xmodal_lab.training.targets`.
        kind: which latent a row meets: "imperfect" (any row's), "same_class", "paired" (its own), and the controls
            "constant", "zero", "noise".
        of: the modalities whose latents are drawn; all of the model's but the teacher's when not given.
        length: mean length that the teacher's latents are brought to; 0 leaves them as they are (4; ours).
        weight: α, the setting ``a_latent`` (0.3: synergy Sec 4.1).
    """

    name: ClassVar[str] = "latent"
    weighs: ClassVar[Mapping[str, str]] = {"a_latent": "weight"}
    teacher: Any = "text"
    loss: str = "mse_mean"
    kind: str = "imperfect"
    of: tuple[str, ...] | None = None
    length: float = 4.0
    weight: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check.one_of("loss", self.loss, LOSSES)
        check.one_of("kind of target", self.kind, TARGETS)
        check.non_negative("length", self.length)
        if not isinstance(self.teacher, str):
            object.__setattr__(self, "teacher", check.finite("teacher", check.as_tensor("teacher", self.teacher)))
        if self.of is not None:
            object.__setattr__(
                self, "of", (self.of,) if isinstance(self.of, str) else tuple(check.listed("of", self.of))
            )

    def drawn_modalities(self, model: nn.Module) -> tuple[str, ...]:
        """Whose latents are drawn, of those that ``model`` sees.

        Raises:
            ValueError: none is left, or one that it does not see.
        """
        names: Any = model.modalities
        asked = [m for m in names if m != self.teacher] if self.of is None else self.of
        for m in asked:
            check.one_of(f"modality whose latents {self.called!r} draws", m, names)
        if not asked:
            raise ValueError(
                f"term {self.called!r} has nothing to draw: the model sees {self.teacher!r} alone, its own teacher."
            )
        return tuple(asked)

    def prepare(self, context: Context) -> tuple[Pool, tuple[str, ...]]:
        """The pool of targets in this ``context``, and whose latents are drawn to them.

        Raises:
            ValueError: a teacher that the dataset has not, latents of another number or width.
        """
        of = self.drawn_modalities(context.model)
        width = context.width(of)
        if isinstance(self.teacher, str):
            check.one_of(f"teacher of term {self.called!r}", self.teacher, context.dataset.modalities)
            here = context.train.present[self.teacher].nonzero()[:, 0]
            net = context.teach(self.teacher, width)
            with torch.no_grad():
                found = net.latents({self.teacher: context.train.inputs[self.teacher][here]})  # type: ignore[operator]
            z = found[self.teacher]
        else:
            here = torch.arange(len(context.train), device=context.train.labels.device)
            z = self.teacher.to(context.train.labels.device)
            if z.shape != (len(context.train), width):
                raise ValueError(
                    f"teacher holds latents {tuple(z.shape)}; the training rows need ({len(context.train)}, {width}), "
                    "one for each, as wide as the model's latents. Project yours first."
                )
        return _pool(self, z.detach(), context.train.labels, here), of

    def draw(self, state: Any, rows: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The target of each row, (n, d): the pool in ``state`` asked for ``rows`` of these ``labels``.

        ``generator`` draws.

        Raises:
            ValueError: a row without a latent of its own.
        """
        pool, _ = state
        index = drawn(pool, TARGETS[self.kind][1], labels.cpu(), rows.cpu(), generator)
        if bool((index < 0).any()):
            raise ValueError(
                f"term {self.called!r}: kind 'paired' needs the teacher's modality {self.teacher!r} in every trained "
                "row; use 'same_class', or pair what is there."
            )
        return {"target": pool.z[index.to(pool.z.device)]}

    def value(self, view: View) -> Tensor:
        """(K,) the mean of L_z over the drawn modalities of ``view``."""
        _, of = view.states[0]
        names = [self.loss] * len(view.outputs)
        each = [latent_losses(pooled(view.latents[m], view.masks.get(m)), view.draws["target"], names) for m in of]
        return torch.stack(each).mean(0)


@dataclass(frozen=True)
class Alignment(Term):
    """Transport between the modalities of a sample, drawn to β times what it was: (D - β D̄)², wma Eq 9 and 10.

    Args:
        cost: "cosine" or "squared_euclidean".
        over: "tokens": D of each sample, between its modalities' tokens; a latent that is one vector is one token,
            and D the cost between the two. "batch": one D, between the clouds of the batch's latents.
        reference: D̄ of the "first_batch" (the text under Eq 9), or of each "batch" (Eq 9 as printed).
        solver: "exact", "ipot" or "sinkhorn", where there are several tokens.
        weight: α, the setting ``a_align`` (0.1; ours, of the order that kept the task whole).
        target: β, the setting ``b_align`` (1 keeps D where it was; 0 minimises transport).
    """

    name: ClassVar[str] = "alignment"
    weighs: ClassVar[Mapping[str, str]] = {"a_align": "weight", "b_align": "target"}
    cost: str = "cosine"
    over: str = "tokens"
    reference: str = "first_batch"
    solver: str = "exact"
    weight: float = 0.1
    target: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check.one_of("over", self.over, ("tokens", "batch"))
        check.one_of("reference", self.reference, REFERENCES)
        check.one_of("solver", self.solver, SOLVERS)
        Transport(self.solver, self.cost)

    def prepare(self, context: Context) -> None:
        """Refuse a model of one modality.

        Raises:
            ValueError: the model of this ``context`` is one.
        """
        names: Any = context.model.modalities
        if len(names) < 2:
            raise ValueError(
                f"term {self.called!r} aligns at least two modalities, the model sees {', '.join(names)} alone; "
                "set a_align=0, or give it another modality."
            )
        context.width(names)

    def value(self, view: View) -> Tensor:
        """(K,) the penalty of ``view`` with weight 1."""
        distance = self.distance(view.latents, view.masks)
        first = None
        if self.reference == "first_batch":
            first = view.memory.setdefault("first", distance.detach().mean(-2))
        return off_reference(distance, view.settings["b_align"], first)

    def distance(self, latents: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """D of ``latents`` with their ``masks``: (K, B, pairs) over tokens, (K, 1, pairs) over the batch."""
        how = Transport(self.solver, self.cost)
        if self.over == "tokens":
            return token_distances(latents, masks, how, quiet=True)
        clouds = {m: pooled(z, masks.get(m)) for m, z in latents.items()}
        here = {m: z.new_ones(z.shape[:-1], dtype=torch.bool) for m, z in clouds.items()}
        found = token_distances({m: z[:, None] for m, z in clouds.items()}, {m: x[:, None] for m, x in here.items()},
                                how, quiet=True)  # fmt: skip
        return found


@dataclass(frozen=True)
class Shared(Term):
    """Unpaired rows of one modality through the shared part of the net: λ CE of uml, Alg 2.

    Args:
        modality: whose rows; the model has an encoder of it (``auxiliary=`` of LateFusion, or one it classifies).
        shots: rows of each class that are used; None for all.
        relation: "related", or the control "permuted": each class is called by another's name.
        weight: λ, the setting ``lam`` (1: uml, App B).
        ratio: r, unpaired rows for each row of the task (1; uml App E.11: .25 to 4).
    """

    name: ClassVar[str] = "shared"
    weighs: ClassVar[Mapping[str, str]] = {"lam": "weight"}
    prepared: ClassVar[tuple[str, ...]] = ("shots", "relation")
    modality: str = "text"
    shots: int | None = None
    relation: str = "related"
    weight: float = 1.0
    ratio: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check.instance("modality", self.modality, str)
        check.one_of("relation", self.relation, ("related", "permuted"))
        if not 0 < check.real("ratio", self.ratio) <= 8:
            raise ValueError(f"ratio must be above 0 and at most 8 unpaired rows per row, got {self.ratio!r}.")
        if self.shots is not None:
            check.integer("shots", self.shots, at_least=1)

    def prepare(self, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of this ``context`` that have the modality: inputs (M, ...), labels (M,), where they stand (M,).

        Raises:
            ValueError: no row, fewer than ``shots``, a model that cannot send the modality alone.
        """
        check.one_of(f"modality of term {self.called!r}", self.modality, encoders_of(context.model))
        train = context.train
        if (sort := task_of(train.labels)) != "classes" and self.relation == "permuted":
            raise ValueError(f"relation='permuted' renames classes; these labels are {SORTS[sort]}.")
        here = train.present[self.modality].nonzero()[:, 0]
        if self.shots is not None and sort == "labels":
            raise ValueError(f"shots are counted by class; these labels are {SORTS[sort]}.")
        if self.shots is not None and sort == "classes":
            generator = torch.Generator().manual_seed(seed_of(context.seed, f"{self.called}:shots"))
            here = here[_per_class(train.labels[here].cpu(), self.shots, generator).to(here.device)]
        if not len(here):
            raise ValueError(f"term {self.called!r}: no training row has {self.modality!r}.")
        labels = train.labels[here]
        if self.relation == "permuted":
            generator = torch.Generator().manual_seed(seed_of(context.seed, f"{self.called}:names"))
            order = torch.randperm(len(context.dataset.classes) or int(labels.max()) + 1, generator=generator)
            renamed = torch.empty_like(order)
            renamed[order] = order.roll(1)  # one cycle through all classes: none keeps its name
            labels = renamed.to(labels.device)[labels]
        with torch.no_grad():  # a model that cannot send it alone is refused here, not in the first step
            alone(context.model, self.modality, train.inputs[self.modality][here[:2]])
        return train.inputs[self.modality][here], labels, here

    def draw(self, state: Any, rows: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(n, ⌈r⌉) of the unpaired rows in ``state``, as many as ``rows`` ask for, whatever their ``labels``.

        Again and again through all of them, in an order that ``generator`` draws.
        """
        count = len(rows) * math.ceil(self.ratio)
        turns = [torch.randperm(len(state[1]), generator=generator) for _ in range(math.ceil(count / len(state[1])))]
        return {"row": torch.cat(turns)[:count].view(len(rows), -1)}

    def value(self, view: View) -> Tensor:
        """(K,) mean loss of the unpaired rows that ``view`` drew."""
        take = max(1, round(self.ratio * view.labels.shape[1]))
        rows = view.draws["row"].flatten(1)[:, :take]
        x = torch.stack([state[0][at.to(state[0].device)] for state, at in zip(view.states, rows, strict=True)])
        y = torch.stack([state[1][at.to(state[1].device)] for state, at in zip(view.states, rows, strict=True)])
        return member_losses(view.alone(self.modality, x), y)


@dataclass(frozen=True)
class Connection(Term):
    """One modality's latents predicted from the others' through a bottleneck: ‖z_O - q(v)‖² + β KL, cox Eq 9.

    v ~ p(v|x_I) is a linear map of another modality's latent (held fixed), q a linear map of ReLU(v); both are
    parameters of the term. Latents are layer-normalised before they are compared, as in cox's nets here.

    Args:
        out: the modality whose latents are predicted; the model's last when not given.
        beta_vib: weight of KL(p(v|x_I) ‖ N(0, 1)) (0; ours: no bottleneck of information, only of width).
        weight: the setting ``a_connect`` (1: cox Eq 9).
    """

    name: ClassVar[str] = "connection"
    weighs: ClassVar[Mapping[str, str]] = {"a_connect": "weight"}
    out: str | None = None
    beta_vib: float = 0.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check.non_negative("beta_vib", self.beta_vib)
        if self.out is not None:
            check.instance("out", self.out, str, "the name of a modality")

    def prepare(self, context: Context) -> tuple[str, tuple[str, ...]]:
        """The modality that is out, and those inside, in this ``context``.

        Raises:
            ValueError: fewer than two modalities, one that the model does not see.
        """
        names: Any = context.model.modalities
        if len(names) < 2:
            raise ValueError(f"term {self.called!r} connects at least two modalities, the model sees {names[0]} alone.")
        out = names[-1] if self.out is None else check.one_of("out", self.out, names)
        context.width(names)
        return out, tuple(m for m in names if m != out)

    def start(self, context: Context, generator: torch.Generator) -> Params:
        """Maps p and q of each modality inside, for this ``context``: ``generator``'s uniform weights, biases 0."""
        out, inside = self.prepare(context)
        width, made = context.width((out, *inside)), {}
        like = next(context.model.parameters())
        sizes = {"mean": (width, BOTTLENECK), "out": (BOTTLENECK, width)}
        if self.beta_vib > 0:
            sizes["spread"] = (width, BOTTLENECK)
        for m in inside:
            for part, size in sizes.items():
                weight = uniform(generator, size[0], *size)
                made[f"{m}.{part}.weight"], made[f"{m}.{part}.bias"] = weight.to(like), like.new_zeros(1, size[1])
        return made

    def draw(self, state: Any, rows: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise of v for ``rows`` (any ``labels``): (n, modalities inside ``state``, bottleneck), of ``generator``.

        None without a KL term.
        """
        if not self.beta_vib:
            return {}
        return {"noise": torch.randn(len(rows), len(state[1]), BOTTLENECK, generator=generator)}

    def value(self, view: View) -> Tensor:
        """(K,) sum over the modalities inside ``view``, each a mean over rows."""
        out, inside = view.states[0]
        z = _normed(pooled(view.latents[out], view.masks.get(out)))
        total = z.new_zeros(len(z))
        for i, m in enumerate(inside):
            source = _normed(pooled(view.latents[m], view.masks.get(m)).detach())
            v = affine(view.params, f"{m}.mean", source)
            if self.beta_vib:
                log_variance = affine(view.params, f"{m}.spread", source)
                kl = 0.5 * (v**2 + log_variance.exp() - 1 - log_variance).sum(-1).mean(-1)
                total = total + self.beta_vib * kl
                v = v + (0.5 * log_variance).exp() * view.draws["noise"][:, :, i].to(v)
            total = total + (z - _normed(affine(view.params, f"{m}.out", v.relu()))).square().sum(-1).mean(-1)
        return total


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


# Terms by name: those with all arguments at their defaults, and what installed packages announce.
TERMS = Registry("term", {t.name: t() for t in (Task, Latent, Alignment, Shared, Connection)})


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


def _pool(term: Latent, z: Tensor, labels: Tensor, here: Tensor) -> Pool:
    """Targets (P, d) of the kind that ``term`` asks for; ``here`` (P,) are the rows that they belong to."""
    if term.length:
        z = z * (term.length / z.norm(dim=1).mean().clamp_min(1e-12))
    name = TARGETS[term.kind][0]
    if name != "latents":
        return controls(z)[name]
    own = torch.full((len(labels),), -1, dtype=torch.long)
    own[here.cpu()] = torch.arange(len(here))
    return Pool(z, None if labels.is_floating_point() else labels[here].cpu(), own)


def _per_class(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Positions of ``count`` rows of each class."""
    few = [n for n in labels.unique(return_counts=True)[1].tolist() if n < count]
    if few:
        raise ValueError(f"{count} rows of each class are asked for, and {len(few)} classes have {min(few)} or so.")
    return torch.cat([rows[:count] for _, rows in shuffled_classes(labels, generator)])


def _normed(z: Tensor) -> Tensor:
    return nn.functional.layer_norm(z, z.shape[-1:])
