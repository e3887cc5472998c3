"""Supervised UML as an experiment, on the two worlds or on embeddings of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from ...data import sentences as texts
from ...data.alike import rows_said, scored_on
from ...data.samples import Dataset
from ...data.unpaired import Unpaired, unpaired
from ...sweeps.experiment import Experiment, Report, Variable, on_demand
from ...utils import checks as check
from ...utils.torch_state import pick_device
from .method import grids
from .method.geometry import Geometry, geometry
from .method.heads import Head
from .method.training import train_heads
from .worlds.small import COUNTING, ENCODERS, SHIFTS, WORLDS, world

Values = dict[str, Any]

# Which bank a member looks at.
WORLD = {"world": "numbers", "encoder": "pixels", "text_encoder": "minilm", "text": "caption", "shift": ""}
SHOTS = {"image_shots": 1, "audio_shots": 12, "text_shots": 12}
CLASSIFIERS = ("head", *grids.CLASSIFIERS)
RELATIONS = ("related", "permuted", "unrelated")
_HEAD = (
    "lam", "ratio", "start", "init", "relation", "projection", "optimizer", "lr", "weight_decay", "schedule", "warmup",
    "steps", "batch_size", "projection_scale", "head_scale", "logit_scale", "learn_scale", "choose", "seed",
)  # fmt: skip
HEAD = {f.name: f.default for f in fields(Head) if f.name in _HEAD}
DEFAULTS: Values = {
    **WORLD, "target": "image", "auxiliary": "text", **SHOTS, "classifier": "head", "geometry": False, **HEAD,
    "device": "auto",
}  # fmt: skip
# Makes no difference to a head without auxiliary samples.
_UNTAUGHT = {"lam": 1.0, "ratio": 1.0, "start": 0, "relation": "related"}


def experiment(data: Unpaired | Dataset | Mapping[str, Any] | None = None, **defaults: Any) -> Experiment:
    """The experiment, on the numbers world or on embeddings of one's own, with other defaults.

    Settings are those of :class:`Head`, with ``auxiliary`` as names joined by "+", and one ``<modality>_shots`` for
    each modality (None: all). In the two worlds ``text`` says which sentences, and relation "unrelated" takes those
    about animals; ``shift`` changes the test pictures; ``classifier`` takes a closed-form baseline instead.

    Variables: ``accuracy``, ``val_accuracy`` (to choose settings by), ``loss``; with ``geometry=True`` also
    ``margin``, ``margin_scale_free``, ``silhouette``, ``davies_bouldin``, ``alignment``.

    Args:
        data: see :func:`unpaired`; used instead of the worlds, whose settings then go.
        defaults: instead of the usual ones.

    Raises:
        ValueError, TypeError: data or settings that make no sense.
    """
    given = data if isinstance(data, Unpaired) or data is None else unpaired(data)
    own = dict(DEFAULTS)
    if given is not None:
        own = {k: v for k, v in DEFAULTS.items() if k not in (*WORLD, *SHOTS)}
        target = next((m for m in given.modalities if m in given.test), given.modalities[0])
        own |= {"target": target, "auxiliary": "+".join(m for m in given.modalities if m != target)}
        own |= {f"{m}_shots": 1 if m == target else None for m in given.modalities} | {"projection": "target"}
    made = Experiment(
        name="uml" if given is None else "uml on own embeddings",
        defaults=own,
        member=partial(_member, given),
        variables=_variables,
        stack=partial(_stack, given),
        stack_key=partial(_stack_key, given),
        normal=_normal,
        check=partial(_check, given),
        seconds=lambda s: 0.1 * s["steps"] / 200,
        labels={"image_shots": "pictures of each class", "text_shots": "texts of each class", "lam": "λ", "ratio": "r"},
        version="1" if given is None else _digest(given),
        scored=_scored(data, str(defaults.get("target", own["target"]))),
    )
    return made.with_defaults(**defaults) if defaults else made


def _scored(data: object, target: str) -> str:
    """Of a dataset's test rows, those that have the target are scored, whatever the auxiliaries have."""
    if not isinstance(data, Dataset) or target not in data.modalities:  # which is told elsewhere
        return ""
    present = data.test.present[target]
    return rows_said(int(present.sum()), len(present), (target,)) or scored_on(data)


def head_of(s: Mapping[str, Any]) -> Head:
    """The head of these settings, before any data are looked at."""
    auxiliary = [m for m in s["auxiliary"].split("+") if m]
    names = tuple(_bank(s, m) for m in auxiliary)
    shots = tuple(s[f"{m}_shots"] for m in auxiliary)
    own = {k: s[k] for k in _HEAD if k != "relation"}
    relation = "permuted" if s["relation"] == "permuted" else "related"
    return Head(
        target=s["target"], auxiliary=names, shots=s[f"{s['target']}_shots"], aux_shots=shots, relation=relation, **own
    )


def data_of(given: Unpaired | None, s: Mapping[str, Any]) -> Unpaired:
    """The embeddings of these settings."""
    return world(s["world"], s["encoder"], s["text_encoder"], s["shift"]) if given is None else given


def _bank(s: Mapping[str, Any], m: str) -> str:
    if m != "text" or "text" not in WORLD or "world" not in s:
        return m
    return "unrelated" if s["relation"] == "unrelated" else str(s["text"])


def _member(given: Unpaired | None, s: Values, report: Report) -> dict[str, Any]:
    return _stack(given, [s], report)[0]


def _stack(given: Unpaired | None, members: list[Values], report: Report) -> list[dict[str, Any]]:
    data = data_of(given, members[0])
    if members[0]["classifier"] != "head":
        found = [grids.baseline(data, head_of(s), s["classifier"]) for s in members]
        return [{"accuracy": test, "val_accuracy": val, "loss": float("nan")} for test, val in found]
    trained = train_heads(data, [head_of(s) for s in members], report=report, device=members[0]["device"])
    results = []
    for s, t in zip(members, trained, strict=True):
        result = {"accuracy": t.accuracy, "val_accuracy": t.val_accuracy, "loss": t.loss}
        results.append(result | (vars(geometry(data, t)) if s["geometry"] else {}))
    return results


def _stack_key(given: Unpaired | None, s: Values) -> Any:
    which = tuple(s[k] for k in WORLD) if given is None else ()
    return (*which, s["classifier"], s["device"], head_of(s).stack_key())


def _normal(s: Values) -> Values:
    """Without what makes no difference: closed-form baselines see no auxiliary, untaught heads no λ."""
    s = dict(s)
    if s["classifier"] != "head":
        for k in ("auxiliary", *_HEAD):
            s[k] = "" if k == "auxiliary" else s[k] if k == "seed" else HEAD[k]
        return {k: _UNREAD.get(k, v) for k, v in s.items()}
    if not head_of(s).taught:
        s |= _UNTAUGHT | {k: v for k, v in _UNREAD.items() if k in s}
        s["init"] = "random"
    return s


_UNREAD = {"text": "caption", "text_encoder": "minilm"}


def _variables(values: Mapping[str, Sequence[Any]]) -> dict[str, Variable]:
    found = {
        "accuracy": Variable(label="test accuracy"),
        "val_accuracy": Variable(label="validation accuracy"),
        "loss": Variable(label="test loss", units="nats"),
    }
    if any(values["geometry"]):
        found |= on_demand({f.name: Variable(label=f.name.replace("_", " ")) for f in fields(Geometry)})
    return found


def _check(given: Unpaired | None, s: Values) -> None:
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


def _digest(data: Unpaired) -> str:
    """Of the numbers, so that a store knows other data under the same name."""
    digest = hashlib.sha256()
    for split in (data.train, data.val, data.test):
        for m, (x, y) in split.items():
            digest.update(m.encode() + x.cpu().contiguous().numpy().tobytes() + y.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


EXPERIMENT = experiment()
