"""Supervised UML as an experiment, on the two worlds or on embeddings of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from ...data import sentences as texts
from ...data.samples import Dataset, rows_said, scored_on
from ...data.unpaired import Unpaired, unpaired
from ...experiments.world import StackedWorld
from ...sweeps.experiment import WHY, Experiment, Report, Variable, on_demand
from ...utils import checks as check
from ...utils.torch_state import pick_device
from .method import grids
from .method.geometry import Geometry, geometry
from .method.heads import Head
from .method.training import train_heads
from .method.tuning import last_layer
from .worlds.small import COUNTING, ENCODERS, SHIFTS, WORLDS, world

Values = dict[str, Any]

# Which bank a member looks at.
WORLD = {"world": "numbers", "encoder": "pixels", "text_encoder": "minilm", "text": "caption", "shift": ""}
SHOTS = {"image_shots": 1, "audio_shots": 12, "text_shots": 12}
CLASSIFIERS = ("head", *grids.CLASSIFIERS)
RELATIONS = ("related", "permuted", "unrelated")
TEXT_LAYERS = ("frozen", "trained")
_HEAD = (
    "lam", "ratio", "start", "init", "relation", "projection", "optimizer", "lr", "weight_decay", "schedule", "warmup",
    "steps", "batch_size", "projection_scale", "head_scale", "logit_scale", "learn_scale", "choose", "seed",
)  # fmt: skip
HEAD = {f.name: f.default for f in fields(Head) if f.name in _HEAD}
DEFAULTS: Values = {
    **WORLD, "target": "image", "auxiliary": "text", **SHOTS, "classifier": "head", "geometry": False,
    "text_layer": "frozen", **HEAD, "device": "auto",
}  # fmt: skip
# Makes no difference to a head without auxiliary samples.
_UNTAUGHT = {"lam": 1.0, "ratio": 1.0, "start": 0, "relation": "related"}
# Nor does what is said of texts.
_UNREAD = {"text": "caption", "text_encoder": "minilm", "text_layer": "frozen"}
LABELS = {"image_shots": "pictures of each class", "text_shots": "texts of each class", "lam": "λ", "ratio": "r"}


@dataclass(frozen=True, eq=False)
class UmlWorld(StackedWorld):
    """Heads on embeddings that were never paired: those ``given``, or those of the world that the settings name."""

    name: ClassVar[str] = "uml"
    labels: ClassVar[Mapping[str, str]] = LABELS
    given: Unpaired | None = None

    def __post_init__(self) -> None:
        if self.given is not None:
            check.instance("given", self.given, Unpaired, "from uml.unpaired(…), or None for the worlds")

    @property
    def defaults(self) -> Values:
        """All settings with their defaults; every modality of one's own has its shots."""
        given = self.given
        if given is None:
            return DEFAULTS
        target = next((m for m in given.modalities if m in given.test), given.modalities[0])
        return {
            **{k: v for k, v in DEFAULTS.items() if k not in (*WORLD, *SHOTS, "text_layer")},
            "target": target, "auxiliary": "+".join(m for m in given.modalities if m != target),
            **{f"{m}_shots": 1 if m == target else None for m in given.modalities}, "projection": "target",
        }  # fmt: skip

    def load(self, s: Mapping[str, Any]) -> Unpaired:
        """The embeddings of these settings."""
        if self.given is not None:
            return self.given
        return world(s["world"], s["encoder"], s["text_encoder"], s["shift"])

    def seconds(self, s: Mapping[str, Any]) -> float:
        """By its steps, as measured (ours)."""
        return 0.1 * float(s["steps"]) / 200

    def stack(self, members: list[Values], report: Report) -> list[dict[str, Any]]:
        """Heads trained together on one set of embeddings; closed-form baselines one by one."""
        data = self.load(members[0])
        if members[0]["classifier"] != "head":
            scores = [grids.baseline(data, head_of(s), s["classifier"]) for s in members]
            none = {"loss": f"the {members[0]['classifier']} baseline is in closed form and has no loss"}
            return [{"accuracy": test, "val_accuracy": val, "loss": float("nan"), WHY: none} for test, val in scores]
        heads = [head_of(s) for s in members]
        tuned = {m: last_layer(data.train[m][0].shape[1]) for m in heads[0].tune}
        trained = train_heads(data, heads, tuned, report=report, device=members[0]["device"])
        results = []
        for s, t in zip(members, trained, strict=True):
            result = {"accuracy": t.accuracy, "val_accuracy": t.val_accuracy, "loss": t.loss}
            results.append(result | (vars(geometry(data, t)) if s["geometry"] else {}))
        return results

    def stack_key(self, s: Values) -> Any:
        """Members with the same key train together."""
        which = tuple(s[k] for k in WORLD) if self.given is None else ()
        return (*which, s["classifier"], s["device"], head_of(s).stack_key())

    def normal(self, s: Values) -> Values:
        """Without what makes no difference: closed-form baselines see no auxiliary, untaught heads no λ."""
        s = dict(s)
        if s["classifier"] != "head":
            for k in ("auxiliary", *_HEAD):
                s[k] = "" if k == "auxiliary" else s[k] if k == "seed" else HEAD[k]
            return {k: _UNREAD.get(k, v) for k, v in s.items()}
        if not head_of(s).taught:
            s |= _UNTAUGHT | {k: v for k, v in _UNREAD.items() if k in s}
            s["init"] = "random"
        elif "text" not in s["auxiliary"].split("+") and "text_layer" in s:
            s["text_layer"] = "frozen"
        return s

    def variables(self, values: Mapping[str, tuple[Any, ...]]) -> dict[str, Variable]:
        """Scores, and on demand the geometry of the head."""
        declared = {
            "accuracy": Variable(label="test accuracy"),
            "val_accuracy": Variable(label="validation accuracy"),
            "loss": Variable(label="test loss", units="nats"),
        }
        if any(values["geometry"]):
            declared |= on_demand({f.name: Variable(label=f.name.replace("_", " ")) for f in fields(Geometry)})
        return declared

    def check(self, s: Values) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        given = self.given
        check.one_of("relation", s["relation"], RELATIONS)
        pick_device(s["device"])
        check.one_of("classifier", s["classifier"], CLASSIFIERS)
        if given is None:
            check.one_of("world", s["world"], WORLDS)
            check.one_of(f"encoder of {s['world']}", s["encoder"], ENCODERS[s["world"]])
            check.one_of("text encoder", s["text_encoder"], (*texts.ENCODERS, "lm"))
            check.one_of("text", s["text"], (*texts.KINDS[:3], *texts.CODED))
            if s["text"] in texts.CODED and s["text_encoder"] not in COUNTING:
                raise ValueError(
                    f"text={s['text']!r} holds invented names, which {s['text_encoder']!r} has not read; choose "
                    f"text_encoder {' or '.join(map(repr, COUNTING))}."
                )
            check.one_of("text_layer", s["text_layer"], TEXT_LAYERS)
            check.one_of("shift", s["shift"], ("", *SHIFTS))
            known: Sequence[str] = ("image", "audio", "text")
            check.one_of("target", s["target"], known[:2])
        else:
            known = given.modalities
            check.one_of("target", s["target"], given.test)
            if s["relation"] == "unrelated":
                raise ValueError("embeddings of your own have no unrelated texts; add them as a modality, and name it.")
        for m in s["auxiliary"].split("+"):
            if m:
                check.one_of("auxiliary modality", m, known)
        if s["geometry"] and s["classifier"] != "head":
            raise ValueError("geometry looks at a shared head; use classifier='head'.")
        head_of(s)


def experiment(data: Unpaired | Dataset | Mapping[str, Any] | None = None, **defaults: Any) -> Experiment:
    """The experiment, on the numbers world or on embeddings of one's own, with other defaults.

    Settings are those of :class:`Head`, with ``auxiliary`` as names joined by "+", and one ``<modality>_shots`` for
    each modality (None: all). In the two worlds ``text`` says which sentences, and relation "unrelated" takes those
    about animals; ``shift`` changes the test pictures; ``text_layer="trained"`` trains a last linear layer of the text
    encoder along (Tab 29); ``classifier`` takes a closed-form baseline instead.

    Variables: ``accuracy``, ``val_accuracy`` (to choose settings by), ``loss``; with ``geometry=True`` also
    ``margin``, ``margin_scale_free``, ``silhouette``, ``davies_bouldin``, ``alignment``.

    Args:
        data: see :func:`unpaired`; used instead of the worlds, whose settings then go.
        defaults: instead of the usual ones.

    Returns:
        An experiment for :func:`~xmodal_lab.sweep` and for explorers.

    Raises:
        ValueError, TypeError: data or settings that make no sense.
    """
    world = UmlWorld(data if isinstance(data, Unpaired) or data is None else unpaired(data))
    made = world.experiment(**defaults)
    return replace(made, scored=_scored(data, made.defaults["target"])) if isinstance(data, Dataset) else made


def _scored(data: Dataset, target: str) -> str:
    """The test rows that have the target are scored, whatever the auxiliaries have."""
    present = data.test.present[target]
    return rows_said(int(present.sum()), len(present), (target,)) or scored_on(data)


def head_of(s: Mapping[str, Any]) -> Head:
    """The head of these settings, before any data are looked at."""
    auxiliary = [m for m in s["auxiliary"].split("+") if m]
    names = tuple(_bank(s, m) for m in auxiliary)
    shots = tuple(s[f"{m}_shots"] for m in auxiliary)
    own = {k: s[k] for k in _HEAD if k != "relation"}
    relation = "permuted" if s["relation"] == "permuted" else "related"
    tune = (_bank(s, "text"),) if s.get("text_layer") == "trained" and "text" in auxiliary else ()
    return Head(
        target=s["target"], auxiliary=names, shots=s[f"{s['target']}_shots"], aux_shots=shots, relation=relation,
        tune=tune, **own,
    )  # fmt: skip


def _bank(s: Mapping[str, Any], m: str) -> str:
    if m != "text" or "text" not in WORLD or "world" not in s:
        return m
    return "unrelated" if s["relation"] == "unrelated" else str(s["text"])


EXPERIMENT = experiment()
