"""Supervised UML (Alg 2): one shared classification head for the embeddings of every modality.

    logits_m = s_m · (P_m z_m) Wᵀ,      loss = CE_target + Σ_m λ_m CE_m

W (C, width) is shared. P_m is a linear map without bias to the head's width, where a modality needs one; s_m a scale
of the logits. The unimodal baseline is the same net with ``aux_shots=0``: same layers, same optimiser, no text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ....data.unpaired import Unpaired
from ....training.descent import OPTIMIZERS, SCHEDULES
from ....utils import checks as check

INITS = ("random", "text", "text_if_any")
PROJECTIONS = ("target", "needed", "all", "none")
RELATIONS = ("related", "permuted")
CHOICES = ("last", "best")


@dataclass(frozen=True)
class Head:
    """One head to train: every knob of supervised UML.

    Attributes:
        target: the modality to classify.
        auxiliary: the unpaired others, in order; the head's width is the first one's size.
        shots, aux_shots: samples of each class, of the target and of each auxiliary (one number for all of them,
            or one each, in order); None for all. With ``aux_shots=0`` this is the unimodal baseline with the same
            layers.
        lam: λ, the weight of each auxiliary loss (paper: 1; its code also .3 to 1.5).
        ratio: r, auxiliary batches per target batch (Sec E.11: .25 to 4; elsewhere 1).
        start: steps on the target alone before the others join (the curriculum of App B.4.1).
        init: rows of W: "random"; "text": each class's mean embedding of the first auxiliary, of unit length, as
            in UML(init); "text_if_any": the latter where there are auxiliary shots.
        relation: "related", or "permuted": each auxiliary class is called by another's name.
        projection: who gets a P_m: the "target"; every modality whose size is not the head's ("needed"); "all"; "none".
            With "target", auxiliaries of another size than the head's get one too.
        width: of the head; the size of the first auxiliary by default, or the target's without any.
        tune: modalities whose encoder is trained along (full fine-tuning; the unfrozen text encoder of Tab 29).
        optimizer, lr, momentum, weight_decay, schedule, warmup, steps, batch_size: of the descent. SGD at .1 and a
            small start are ours, measured: the gain depends on both. The paper: AdamW, see ``grids.PAPER``.
        projection_scale: of P_m at the start, times 1/√d (ours: .1).
        head_scale: of W at the start, times 1/√width (ours: .05).
        logit_scale: s_m at the start (ours: 10, as embeddings of length 1 are).
        learn_scale: whether each s_m is trained (paper: a choice of its grid).
        choose: "last", or "best": the step with the best validation accuracy, looked at every 25 steps.
        seed: of shots, start and batches.

    Raises:
        ValueError, TypeError: a value that makes no sense.
    """

    target: str = "image"
    auxiliary: tuple[str, ...] = ("text",)
    shots: int | None = 1
    aux_shots: int | tuple[int | None, ...] | None = 12
    lam: float = 1.0
    ratio: float = 1.0
    start: int = 0
    init: str = "random"
    relation: str = "related"
    projection: str = "target"
    width: int | None = None
    tune: tuple[str, ...] = ()
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: int = 20
    steps: int = 200
    batch_size: int = 64
    projection_scale: float = 0.1
    head_scale: float = 0.05
    logit_scale: float = 10.0
    learn_scale: bool = False
    choose: str = "last"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("auxiliary", "tune"):
            given = getattr(self, name)
            names = (given,) if isinstance(given, str) else tuple(check.listed(name, given))
            object.__setattr__(self, name, tuple(check.instance(f"a modality in {name}", m, str) for m in names))
        check.instance("target", self.target, str)
        if self.target in self.auxiliary or len(set(self.auxiliary)) != len(self.auxiliary):
            raise ValueError(f"target and auxiliaries must differ, got {self.target!r} and {self.auxiliary}.")
        for name, known in (
            ("init", INITS), ("relation", RELATIONS), ("projection", PROJECTIONS), ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES), ("choose", CHOICES),
        ):  # fmt: skip
            check.one_of(name, getattr(self, name), known)
        for name in ("lam", "momentum", "weight_decay", "ratio", "projection_scale", "head_scale"):
            check.non_negative(name, getattr(self, name))
        for name in ("lr", "logit_scale"):
            check.positive(name, getattr(self, name))
        for name, least in (("steps", 1), ("batch_size", 1), ("seed", 0), ("start", 0), ("warmup", 0)):
            check.integer(name, getattr(self, name), at_least=least)
        each = self.aux_shots if isinstance(self.aux_shots, (tuple, list)) else (self.aux_shots,) * len(self.auxiliary)
        if len(each) != len(self.auxiliary):
            raise ValueError(f"aux_shots gives {len(each)} numbers for {len(self.auxiliary)} auxiliaries.")
        object.__setattr__(self, "aux_shots", tuple(each))
        given = [("shots", self.shots, 1), ("width", self.width, 1), *(("aux_shots", k, 0) for k in each)]
        for name, value, least in given:
            if value is not None:
                check.integer(name, value, at_least=least)
        if self.ratio > 8:
            raise ValueError(f"ratio must be at most 8 auxiliary batches per target batch, got {self.ratio}.")
        if self.init == "text" and not self.from_text:
            raise ValueError(
                "init='text' starts the head at the mean embeddings of the first auxiliary, but there are none "
                "(aux_shots=0 or no auxiliary); give aux_shots ≥ 1, or init='random'."
            )

    def shots_of(self, modality: str) -> int | None:
        """Samples of each class of a modality; None for all."""
        if modality == self.target:
            return self.shots
        found: int | None = self.aux_shots[self.auxiliary.index(modality)]  # type: ignore[index]
        return found

    @property
    def taught(self) -> bool:
        """Whether there is any auxiliary sample."""
        return any(self.shots_of(m) != 0 for m in self.auxiliary)

    @property
    def from_text(self) -> bool:
        """Whether the head starts at text means."""
        return self.init != "random" and bool(self.auxiliary) and self.shots_of(self.auxiliary[0]) != 0

    def stack_key(self) -> tuple[Any, ...]:
        """Heads with the same key train as one stack: what shapes and steps depend on."""
        return tuple(getattr(self, f.name) for f in fields(self) if f.name in _SHARED)


# The others are data: rows, weights, starts, labels.
_SHARED = (
    "target", "auxiliary", "projection", "width", "tune", "optimizer", "momentum", "schedule", "warmup", "steps",
    "batch_size", "learn_scale", "choose",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Sizes of the net: which modality enters how."""

    width: int
    sizes: Mapping[str, int]  # modality -> d_m, after its encoder
    projected: tuple[str, ...]
    encoders: Mapping[str, Any] = field(default_factory=dict)  # of tuned modalities


def layout(data: Unpaired, head: Head, sizes: Mapping[str, int], encoders: Mapping[str, Any]) -> Layout:
    """The net of a head on these data.

    Raises:
        ValueError: an unknown modality; sizes that differ where nothing is projected; no encoder to tune.
    """
    used = (head.target, *head.auxiliary)
    for m in used:
        check.one_of("modality", m, data.modalities)
    for m in head.tune:
        check.one_of("modality to tune", m, used)
        if m not in encoders:
            raise ValueError(f"there is no encoder of {m!r} to tune; give it as encoders={{{m!r}: module}}.")
    width = head.width or sizes[head.auxiliary[0] if head.auxiliary else head.target]
    unequal = tuple(m for m in used if sizes[m] != width)
    if head.projection == "none" and unequal:
        listed = ", ".join(f"{m} {sizes[m]}" for m in used)
        raise ValueError(
            f"embedding sizes differ ({listed}; head {width}) and projection='none'; choose projection='needed' to "
            f"map {', '.join(unequal)} linearly to {width}."
        )
    projected: Sequence[str] = unequal
    if head.projection == "target":
        projected = [m for m in used if m == head.target or m in unequal]
    elif head.projection == "all":
        projected = used
    return Layout(width, {m: sizes[m] for m in used}, tuple(projected), {m: encoders[m] for m in head.tune})


def checked_heads(data: Unpaired, heads: Head | Sequence[Head]) -> list[Head]:
    """One head or several for ``data``, as a list, or an error that says what came."""
    check.instance("data", data, Unpaired, "make it with uml.unpaired(...)")
    several = [heads] if isinstance(heads, Head) else check.listed("heads", heads)
    return [check.instance("a head", head, Head) for head in several]


def note(data: Unpaired, head: Head, net: Layout) -> str:
    """Which modality is projected, and what happens to classes that a modality lacks."""
    said = [f"{m} ({net.sizes[m]}) is mapped linearly to {net.width}." for m in net.projected]
    for m, missing in data.only_in().items():
        if m in net.sizes:
            what = "trained by the other modalities alone" if m == head.target else "trained without it"
            start = "; with init from text it starts at random" if head.auxiliary[:1] == (m,) else ""
            said.append(f"Classes without {m}: {len(missing)}. Of the head their part is {what}{start}.")
    return " ".join(said)
