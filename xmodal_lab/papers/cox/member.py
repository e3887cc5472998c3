"""cox as a sweep: ``xl.sweep("cox", out=["image", "audio"], algorithm=["erm", "cox"], seed=range(5))``.

A member is one run of :func:`xmodal_lab.papers.cox.run`; members that differ in seed and weights of the
terms train together. The data and the frozen perceptors are those of ``data_seed``; ``seed`` draws the
labelled rows, the learner's weights and the batches. ``data_seed=None`` draws the data and the perceptors by
``seed`` too, so that an interval over seeds is one over data; such members train one by one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch

from ...data.samples import Dataset, judged_alike
from ...experiments.world import StackedWorld, data_seed
from ...sweeps.experiment import Report, Variable, on_demand
from ...utils import checks as check
from ...utils.factors import principal_components
from ...utils.kept import kept
from ...utils.torch_state import pick_device
from .method.options import Options
from .method.runs import CHECKPOINTS, Outcome, run_stack
from .worlds.perceptors import PERCEPTORS, STEPS
from .worlds.problem import Problem, of_dataset
from .worlds.sources import DIALS, WORLDS, check_dials, load_world, names_of

Values = Mapping[str, Any]

DATA: dict[str, Any] = {"dataset": "shapes", "data_seed": 0, **DIALS}
VIEW = {"out": "audio", "inside": "", "count": 0, "perceptor": "supervised", "perceptor_steps": STEPS, "split": "test"}
LOOKED = {"points": 0, "device": "auto"}
LABELS = {
    "out": "modality that is out", "count": "K, in-modal modalities", "anchors": "T, anchors",
    "label_share": "share of labels (0: unsupervised)", "perceptor": "in-modal perceptors",
    "rule": "anchors that a point of D is matched to",
}  # fmt: skip
NUMBERS = {
    "accuracy": "accuracy of h_O", "balanced": "balanced accuracy of h_O (mean over classes)",
    "accuracy_prior": "accuracy of h_O with the class frequencies of the in-modal rows as prior",
    "predicted": "number of classes that h_O predicts", "majority": "share of the most frequent class",
    "relabelled": "accuracy after the best renaming of classes",
    "recall1": "R@1, same instance", "recall5": "R@5, same instance",
    "class_recall1": "R@1, same class", "class_recall5": "R@5, same class",
    "agree_before": "accuracy on A before exploration", "disagree_before": "accuracy on D before exploration",
    "agree_after": "accuracy on A after exploration", "disagree_after": "accuracy on D after exploration",
    "disagreement_before": "share of D before exploration", "disagreement_last": "share of D at the end",
    "anchors_right": "share of anchors with the true class", "warmup_right": "the same, in the warm-up",
    "warmup_agreed": "rows agreed at the warm-up",
}  # fmt: skip
_RECALLS = {
    "recall1": "instance R@1",
    "recall5": "instance R@5",
    "class_recall1": "class R@1",
    "class_recall5": "class R@5",
}


@dataclass(frozen=True, eq=False)
class CoxWorld(StackedWorld):
    """Runs on one dataset: on ``given``, or on the world that the settings name.

    ``s`` and ``settings`` are a member's settings, ``members`` those of several; ``report(share, text)`` is called
    on the way.
    """

    name: ClassVar[str] = "cox"
    labels: ClassVar[Mapping[str, str]] = LABELS
    given: Dataset | None = None

    def __post_init__(self) -> None:
        if self.given is not None:
            given = check.instance("given", self.given, Dataset, "or None for a world of the lab")
            object.__setattr__(self, "given", judged_alike(given))

    @property
    def defaults(self) -> dict[str, Any]:
        """Settings of data, perceptors and training, with their defaults."""
        asked = {f.name: f.default for f in fields(Options)}
        if self.given is None:
            return {**DATA, **VIEW, **asked, **LOOKED}
        return {**VIEW, "out": self.given.modalities[0], **asked, **LOOKED}

    def seconds(self, s: Values) -> float:
        """By the steps of the learner alone, as measured (ours)."""
        return float(s["steps"]) / 150

    @property
    def sources(self) -> int:
        """How many in-modal modalities there can be; curves of fewer are NaN beyond."""
        return 3 if self.given is None else max(2, len(self.given.modalities) - 1)

    def load(self, s: Values) -> Dataset:
        """The dataset of these settings."""
        if self.given is not None:
            return self.given
        return load_world(s["dataset"], data_seed(s), s["shared"], s["unbalance"])

    def problem(self, s: Values) -> Problem:
        """The problem of these settings; the last few are kept, and so are the perceptors."""
        wanted = ("out", "inside", "count", "perceptor", "perceptor_steps", "split")
        key = (data_seed(s), *((s[k]) for k in (*DATA, *wanted) if k in s), s["algorithm"] == "aligned")
        dataset = self.load(s)
        inside = self.inside(s, dataset.modalities)
        # Where views are missing, which rows there are depends on the views that are asked for.
        whole = all(bool(p.all()) for rows in dataset.splits.values() for p in rows.present.values())
        shown = frozenset() if whole else frozenset((s["out"], *inside))
        drawn = tuple(s.get(k) for k in DATA)
        memory = _memory(self, (*drawn, data_seed(s)), s["split"], shown)
        if key not in memory:
            memory[key] = of_dataset(
                dataset, s["out"], inside=inside, perceptor=s["perceptor"], split=s["split"],
                aligned=s["algorithm"] == "aligned", steps=s["perceptor_steps"], memory=memory,
            )  # fmt: skip
        problem: Problem = memory[key]
        return problem

    def outcomes(self, members: Sequence[Values], report: Report) -> list[Outcome]:
        """Members of one stack, trained and scored."""
        return run_stack(self.problem(members[0]), [_options(s) for s in members], report, members[0]["device"])

    def stack(self, members: list[dict[str, Any]], report: Report) -> list[dict[str, Any]]:
        """What a sweep keeps of them."""
        done, sources = self.outcomes(members, report), self.sources
        return [_result(o, s, self.problem(s), sources) for o, s in zip(done, members, strict=True)]

    def check(self, s: dict[str, Any]) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        _options(s)
        check.integer("steps", s["steps"], at_least=CHECKPOINTS - 1)  # curves have that many steps between their points
        check.one_of("perceptor", s["perceptor"], PERCEPTORS)
        check.integer("perceptor_steps", s["perceptor_steps"], at_least=0)
        check.integer("points", s["points"], at_least=0)
        pick_device(s["device"])
        if self.given is None:
            check.one_of("dataset", s["dataset"], WORLDS)
            check_dials(s["dataset"], s["shared"], s["unbalance"])
            if s["data_seed"] is not None:
                check.integer("data_seed", s["data_seed"], at_least=0)
        known = names_of(s["dataset"]) if self.given is None else self.given.modalities
        check.one_of("modality that is out", s["out"], known)
        check.integer("count", s["count"], at_least=0)
        inside = self.inside(s, known)
        if len(inside) < max(2, s["count"]):
            raise ValueError(
                f"agreement needs at least two in-modal modalities, got {len(inside)} ({', '.join(inside) or 'none'}) "
                f"beside {s['out']!r} for count={s['count']}."
            )

    @staticmethod
    def inside(s: Values, known: Sequence[str]) -> list[str]:
        """In-modal names of ``known``: those of ``inside`` (all others when empty), the first ``count`` (0: all)."""
        named = check.modalities_of(s["inside"].split("+") if s["inside"] else None, known)
        names = [m for m in named if m != s["out"]]
        return names[: s["count"]] if s["count"] else names

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        """Without what makes no difference: switches and weights of COX for a baseline."""
        # A slider of COX moves no baseline: what an algorithm does not read goes back to its default.
        base = {f.name: f.default for f in fields(Options)}
        mine = {"entmin": ("entropy_weight",), "ssl": ("noise",), "moco": ("noise", "entropy_weight")}.get(
            s["algorithm"], ()
        )
        if s["algorithm"] != "cox":
            idle: tuple[str, ...]
            idle = ("anchors", "connection", "exploration", "warmup", "rule", "control", "beta_vib", "connect_weight",
                    "explore_weight", "explore_from", "warmup_share", "rounds", "refresh", "staging", "connect_steps",
                    "balance")  # fmt: skip
            s = {**s, **{k: base[k] for k in idle}}
        elif s["scenario"] == "unsupervised" or (s["scenario"] == "auto" and s["label_share"] == 0):
            s = {**s, "label_share": 0.0, **{k: base[k] for k in ("explore_from", "staging", "connect_steps")}}
        else:
            rest: tuple[str, ...] = ("anchors", "warmup", "warmup_share", "balance")
            own: tuple[str, ...] = ("rounds", "connect_steps") if s["staging"] == "joint" else ("refresh",)
            s = {**s, **{k: base[k] for k in (*rest, *own)}}
        if not s["exploration"]:
            s = {**s, **{k: base[k] for k in ("rule", "explore_weight")}}
        return {**s, **{k: base[k] for k in ("entropy_weight", "noise") if k not in mine}}

    def stack_key(self, s: Values) -> Hashable:
        """Members with the same key train together: their seeds and the weights of their terms are numbers."""
        rest = (data_seed(s), *(s[k] for k in (*DATA, *VIEW, *LOOKED) if k in s))
        return (*rest, _options(s).key())

    def variables(self, values: Mapping[str, tuple[Any, ...]]) -> dict[str, Variable]:
        """Scores, curves over training, and on demand an embedding."""
        declared = {name: Variable(label=label) for name, label in NUMBERS.items()}
        at, each = {"checkpoint": range(CHECKPOINTS)}, {"source": range(1, self.sources + 1)}
        declared |= {"accuracy_curve": Variable(at, label="accuracy of h_O")}
        declared |= {"mmd": Variable({**at, **each}, label="MMD² from mapping to out-of-modal features")}
        declared |= {"in_modal_accuracy": Variable({**at, **each}, label="accuracy of h_k* on out-of-modal data")}
        points = max(values["points"])
        if points:
            row = {"point": range(points)}
            declared |= on_demand({name: Variable(row, dtype="float32") for name in ("x", "y", "kind", "true_class")})
        return declared


def _options(s: Values) -> Options:
    return Options(**{f.name: s[f.name] for f in fields(Options)})


def _result(o: Outcome, s: Values, problem: Problem, sources: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        k: getattr(o, k) for k in ("accuracy", "balanced", "accuracy_prior", "predicted", "majority", "relabelled")
    }
    result |= {name: o.recall[key] for name, key in _RECALLS.items()}
    result |= {name: o.numbers.get(name, np.nan) for name in NUMBERS if name not in result}
    result["accuracy_curve"] = o.curves["accuracy"].numpy() if o.curves else np.full(CHECKPOINTS, np.nan)
    for name in ("mmd", "in_modal_accuracy"):
        curve = o.curves[name].numpy() if o.curves else np.zeros((CHECKPOINTS, 0))
        result[name] = np.pad(curve, ((0, 0), (0, sources - curve.shape[1])), constant_values=np.nan)
    if s["points"]:
        result |= {name: v.astype(np.float32) for name, v in embedding(o, problem, s["points"]).items()}
    return result


def embedding(o: Outcome, problem: Problem, points: int) -> dict[str, np.ndarray]:
    """The first training rows on the two leading principal axes of z_O, for a picture.

    Returns:
        x, y; kind: 0 agreement, 1 disagreement, 2 anchor (0 and no D for a baseline); true_class.
    """
    flat = principal_components(o.features, 2)(o.features)
    kind = torch.zeros(len(flat)) if o.disagree is None else o.disagree.float()
    kind[o.anchors] = 2.0
    order = np.random.default_rng(0).permutation(len(flat))[:points]
    chosen = {"x": flat[:, 0], "y": flat[:, 1], "kind": kind, "true_class": problem.train.labels.float()}
    return {name: v.numpy()[order] for name, v in chosen.items()}


@kept(64)  # of ten draws, twice: evened out or not, on two splits
def _memory(world: CoxWorld, drawn: tuple[Any, ...], split: str, shown: frozenset[str]) -> dict[Any, Any]:
    return {}  # one dict for each set of rows, filled by whoever asks


EXPERIMENT = CoxWorld().experiment()
