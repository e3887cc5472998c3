"""The sweepable experiment: fine-tune one tower with α and β, and test it as Tab 1 does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import torch

from ...data.samples import Dataset
from ...models.one_tower import OneTower
from ...sweeps.experiment import Experiment, Report, Variable
from ...training.alignment import CEILING
from ...utils import checks as check
from .method.loss import distances, pairs_of, plan_of
from .method.reading import counted
from .method.towers import EVERY, Towers, cases_of, tested, transport_of

Values = Mapping[str, Any]

LABELS = {
    "alpha": "α, weight of the regulariser", "beta": "β, target of D / D_0", "amplitude": "amplitude of the noise",
    "missing": "share of samples without the modality", "order": "order of the batches", "lr": "learning rate",
}  # fmt: skip
SPLITS = ("val", "test")
STRENGTHS = (0.5, 1.0, 2.0)  # times the noise and the gaps of wma Sec 4.1
LOOKED_AT = 200  # test samples whose D is taken after training (ours: an exact plan each)
# Seconds of a run on a quiet core: a step of the tower, and of transport per pair of modalities (ours, measured).
STEP, PAIR = 4e-3, 3e-3


@dataclass(frozen=True)
class WmaWorld(Towers):
    """Towers, each fine-tuned, tested as in Tab 1 and looked at."""

    name: ClassVar[str] = "wma"
    labels: ClassVar[Mapping[str, str]] = LABELS

    @property
    def defaults(self) -> dict[str, Any]:
        """All settings with their defaults."""
        return {**super().defaults, "shown": -1, "strengths": False}

    def member(self, s: dict[str, Any], report: Report) -> Mapping[str, Any]:
        """One tower: trained, tested, looked at."""
        import xarray as xr

        run, dataset, head = self.train(s, report), self.load(s), self.head(s)
        names, cases, pairs = s["modalities"].split("+"), cases_of(s["modalities"]), _pairs(s["modalities"])
        scores = [tested(run.tower, dataset.splits[split], head, s) for split in SPLITS]
        test = dataset.test.complete(run.tower.modalities)
        test = test.subset(slice(0, LOOKED_AT)).to(next(run.tower.parameters()).device)
        inputs = {m: test.inputs[m] for m in run.tower.modalities}
        with torch.no_grad():
            hidden = run.tower.hidden(inputs)
            apart = distances(hidden, transport_of(s), quiet=True).cpu() / run.start
            spread = run.tower.embed(inputs).spread()
        at = {"pair": pairs}
        result = {
            "score": xr.DataArray(scores, {"split": list(SPLITS), "case": cases}, ("split", "case")),
            "gain_sign": head.sign,
            "D_0": xr.DataArray(run.start.numpy(), at),
            "ratio": xr.DataArray(
                (run.curve / run.start).T.numpy(), {**at, "step": _looks(s["steps"])}, ("pair", "step")
            ),
            "ratio_test": xr.DataArray(apart.mean(0).numpy(), at),
            "spread_test": xr.DataArray(apart.std(0).numpy(), at),
            "ceiling": xr.DataArray((CEILING[s["cost"]] / run.start).numpy(), at),
            "noise_in_sd": xr.DataArray(
                [s["amplitude"] / (1.0 if s["relative"] else v) for v in spread.values()], {"modality": list(spread)}
            ),
            "added": run.added,
            "penalty_share": run.share,
        }
        if self.given is not None:
            tokens = counted(self.given, tuple(names), s["patch"], s["frames"])
            result["tokens"] = xr.DataArray(list(tokens.values()), {"modality": list(tokens)})
        if s["strengths"]:
            result["curve"] = xr.DataArray(
                [tested(run.tower, dataset.test, head, _times(s, k)) for k in STRENGTHS],
                {"strength": list(STRENGTHS), "case": cases}, ("strength", "case"),
            )  # fmt: skip
        if s["shown"] >= 0:
            result["plan"] = plan_of(_one(hidden, s["shown"]), *pairs_of(hidden)[0], transport_of(s))[0].cpu().numpy()
        return result

    def variables(self, values: Mapping[str, tuple[Any, ...]]) -> dict[str, Variable]:
        """Scores, distances along training, and on demand a curve and a plan."""
        seen = values["modalities"]
        metric = {"binary": "AUROC", "classes": "AUROC", "multilabel": "F1", "regression": "MAE"}
        pair = {"pair": _union([_pairs(m) for m in seen])}
        steps = sorted(_union([_looks(n) for n in values["steps"]]))
        declared = {
            "score": Variable(
                {"split": SPLITS, "case": _union([cases_of(m) for m in seen])},
                " or ".join(dict.fromkeys(metric.get(h, h) for h in values["head"])),
            ),
            "gain_sign": Variable(label="+1 where more is better"),
            "D_0": Variable(pair, "D of the first batch"),
            "ratio": Variable({**pair, "step": steps}, "D / D_0"),
            "ratio_test": Variable(pair, "D / D_0 on the test split"),
            "spread_test": Variable(pair, "sd of D / D_0 on the test split"),
            "ceiling": Variable(pair, "largest D / D_0 there is"),
            "noise_in_sd": Variable({"modality": _union([m.split("+") for m in seen])}, "amplitude of the noise", "sd"),
            "added": Variable(label="parameters added by the method"),
            "penalty_share": Variable(label="share of the penalty in the loss, mean over training"),
        }
        if self.given is not None:
            declared["tokens"] = Variable(declared["noise_in_sd"].dims, "tokens of a sample")
        if any(values["strengths"]):
            own = declared["score"].dims
            declared["curve"] = Variable(
                {"strength": STRENGTHS, "case": own["case"]}, declared["score"].label, optional=True
            )
        if max(values["shown"]) >= 0:
            s = {k: v[0] for k, v in values.items()}
            names = s["modalities"].split("+")
            shape = {k: s[k] for k in ("width", "layers", "heads", "patch", "frames")}
            readers: Any = OneTower.for_dataset(self.load(s), names[:2], outputs=1, **shape).readers
            counts = [readers[m].count for m in names[:2]]
            declared["plan"] = Variable(
                {"token_1": range(counts[0]), "token_2": range(counts[1])},
                f"mass from {names[0]} to {names[1]}",
                optional=True,
            )
        return declared

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        """Without what makes no difference: at α = 0 there is no target."""
        return s if s["alpha"] > 0 else {**s, "beta": 0.0, "reference": "first_batch"}

    def check(self, s: Values) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        super().check(s)
        check.integer("shown", s["shown"], at_least=-1)

    def seconds(self, s: Values) -> float:
        """By its steps and pairs of modalities, as measured."""
        pairs = len(_pairs(s["modalities"])) if s["alpha"] > 0 else 0.1
        return float(s["steps"]) * s["batch_size"] / 32 * (STEP + PAIR * pairs) + 0.5


def experiment(dataset: Dataset | None = None, **defaults: Any) -> Experiment:
    """The experiment, on the tasks on ``shapes`` or on a dataset of one's own, with other defaults.

    Variables: ``score`` (split, case) in the head's metric: AUROC and F1, where more is better, or MAE, where less is;
    ``gain_sign`` says which (+1, -1). ``D_0`` (pair), the mean transport cost of the first batch; ``ratio`` (pair,
    step), D / D_0 along training; ``ratio_test`` and ``spread_test`` (pair), mean and sd of D / D_0 on the test split;
    ``penalty_share``, the mean share of α (D - β D̄)² in the loss; ``ceiling`` (pair), the largest D / D_0 there is;
    ``noise_in_sd`` (modality), the noise's amplitude in units of the embedding's own sd; ``added``, parameters that the
    method added. With ``shown`` ≥ 0, the transport ``plan`` (token_1, token_2) of that test sample between the first
    two modalities. With ``strengths``, the test ``curve`` (strength, case) at half, once and twice the amplitude and
    the share. On a dataset of one's own ``tokens`` (modality) says into how many tokens a sample is cut.

    Args:
        dataset: used instead of ``shapes``. Pictures are cut into patches, sounds into slices, vectors into groups of
            features, with ``patch`` and ``frames`` as given or, at 0, chosen; (L, f) sequences are tokens already;
            sentences become ids of their words (:func:`xmodal_lab.one_tower.with_tokens`), in place of an embedding.
            What is no id is scaled by its training rows. It needs a validation split.
        defaults: instead of the usual ones.

    Returns:
        An experiment for :func:`~xmodal_lab.sweep` and for explorers.

    Raises:
        ValueError: a setting that is not known or makes no sense; a dataset of which no two modalities can be cut
            into tokens.
    """
    return WmaWorld(dataset).experiment(**defaults)


def _times(s: Values, strength: float) -> Values:
    """The settings with ``strength`` times the noise and the gaps; all samples at most."""
    return {**s, "amplitude": strength * s["amplitude"], "missing": min(1.0, strength * s["missing"])}


def _one(hidden: Any, row: int) -> Any:
    """The hidden tokens of one sample."""
    check.integer("shown", row, at_least=0)
    if row >= len(hidden.cls):
        raise ValueError(
            f"shown is sample {row}, but the test split has {len(hidden.cls)} (0 to {len(hidden.cls) - 1})."
        )
    here = slice(row, row + 1)
    return type(hidden)(
        {m: t[here] for m, t in hidden.tokens.items()}, {m: t[here] for m, t in hidden.masks.items()}, hidden.cls[here]
    )


def _pairs(modalities: str) -> list[str]:
    return ["-".join(pair) for pair in combinations(modalities.split("+"), 2)]


def _looks(steps: int) -> list[int]:
    """The steps at which D is looked at."""
    return sorted({*range(0, steps, EVERY), steps - 1})


def _union(lists: list[list[Any]]) -> list[Any]:
    return list(dict.fromkeys(x for each in lists for x in each))


EXPERIMENT = experiment()
