"""Trials: late-fusion nets trained under plain settings, as the papers' experiments need them.

A setting is a number or a name, so that it can be a slider, an axis of a sweep, or a line of
JSON. ``alpha`` is the share of pairs that are drawn anew each epoch, ``modalities`` are names
joined by "+".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from torch.utils.flop_counter import FlopCounterMode

from ..data import datasets
from ..data import xor as parity
from ..data.alike import judged_alike, scored_on
from ..data.pairing import Pairing
from ..data.samples import Dataset
from ..models.fusion import FUSIONS, LateFusion
from ..sweeps.experiment import Report
from ..training import DivergedError, Options, Run, fit, stacking
from ..training.stacks import why_not_mapped, why_not_products
from ..utils import checks as check
from ..utils.kept import kept

Values = Mapping[str, Any]

# The world in which WORLDS saw DML gain: few images, many clips that fixed pairs never show.
DATA = {
    "dataset": "digits", "dataset_modalities": "image+audio", "images_per_class": 25, "clips_per_class": 160,
    "texts_per_class": 24, "image_energy": 0.25, "audio_noise": 1.0, "data_seed": 0, "data_options": "",
}  # fmt: skip
# The share of the label that lives in the combination of modalities (see parity); None: the labels as they are.
LABEL = {"xor": None}
# Of the net and its training; early stopping and an MLP as in WORLDS, the rest as in fit.
DEFAULTS = {
    "modalities": "image+audio", "pairing": "same_class", "alpha": 1.0, "own": True, "rows": "complete",
    "fusion": "concat_linear", "architecture": "mlp", "width": 32,
    "epochs": 100, "batch_size": 64, "lr": 1e-3, "optimizer": "adam", "momentum": 0.9, "weight_decay": 1e-4,
    "choose": "best", "label_smoothing": 0.0, "sam": 0.0, "swa": 0.0, "augment": "", "seed": 0, "device": "auto",
}  # fmt: skip
LABELS = {
    "alpha": "α, share of pairs drawn anew",
    "xor": "share of XOR in the label",
    "data_options": "further options of the dataset's loader, as in n_train=3000;mel=32",
    "lr": "learning rate",
    "width": "feature width",
}

_OPTIONS = (
    "epochs", "batch_size", "lr", "optimizer", "momentum", "weight_decay", "choose", "seed",
    "label_smoothing", "sam", "swa", "augment",
)  # fmt: skip
# What may differ inside a stack: initial weights, pairs and steps are data. And what shapes depend on.
_FREE = ("seed", "pairing", "alpha", "own", "lr", "weight_decay")
_SHAPE = (*DATA, *LABEL, "modalities", "fusion", "architecture", "width", "device")
# Floating-point operations a second that small nets reach on one core, within a factor of 3 (ours).
_RATE = 2e10


@dataclass(frozen=True)
class Trials:
    """Nets on one dataset: on ``given``, or on the one that the settings in ``DATA`` name.

    All are scored on the same rows, those that are complete in all modalities of the dataset.
    """

    given: Dataset | None = None

    def __post_init__(self) -> None:
        if self.given is not None:
            check.instance("dataset", self.given, Dataset, "or None for the world of the paper")
            object.__setattr__(self, "given", judged_alike(self.given))

    @property
    def defaults(self) -> dict[str, Any]:
        """Settings of data, net and training, with their defaults."""
        if self.given is None:
            return {**DATA, **LABEL, **DEFAULTS}
        choose = "best" if self.given.val is not None else "last"
        return {**LABEL, **DEFAULTS, "modalities": "+".join(self.given.modalities), "choose": choose}

    @property
    def version(self) -> str:
        """Of the data: the numbers in ``given``, so that a store knows other data under the same name."""
        return "1" if self.given is None else self.given.fingerprint

    @property
    def scored(self) -> str:
        """On how many test rows all are scored, where that is not all of them."""
        return scored_on(self.given)

    def fingerprint(self, s: Values) -> str:
        """Of the numbers that these settings read from disk; "" for a world that is made, or the dataset given."""
        if self.given is not None or "root" not in datasets.options(s["dataset"]):
            return ""
        return self._plain(s).fingerprint

    def load(self, s: Values) -> Dataset:
        """The dataset of these settings; the last few are kept."""
        return self._plain(s) if s["xor"] is None else _mixed(self._plain(s), s["xor"])

    def _plain(self, s: Values) -> Dataset:
        if self.given is not None:
            return self.given
        known = datasets.options(s["dataset"])
        options = {k: s[k] for k in DATA if k in known}
        options |= {"modalities": tuple(s["dataset_modalities"].split("+")), "seed": s["data_seed"]}
        options = {k: v for k, v in options.items() if k in known} | _further(s)
        return _loaded(s["dataset"], tuple(sorted(options.items())))

    def net(self, s: Values) -> LateFusion:
        """The net before training; of the dataset's dtype."""
        options = {k: s[k] for k in ("fusion", "width", "architecture", "seed")}
        return LateFusion.for_dataset(self.load(s), s["modalities"].split("+"), **options)

    # -- training --------------------------------------------------------------------------------

    def train(self, s: Values, report: Report, snapshots: int | None = None) -> Run:
        """One net, trained; it stays on its device, to be looked at there."""
        options = {k: s[k] for k in _OPTIONS}
        say = _reporting(report, s["epochs"])
        return fit(
            self.net(s), self.load(s), pairing=_pairing(s), device=s["device"], snapshots=snapshots, on_epoch=say,
            keep_on_device=True, **options,
        )  # fmt: skip

    def train_together(
        self, members: Sequence[Values], report: Report, snapshots: int | None = None
    ) -> list[Run | DivergedError]:
        """Many nets as one stack; what may differ between them is what :meth:`stack_key` leaves out."""
        first = members[0]
        options: Values = {k: [s[k] for s in members] if k in _FREE else first[k] for k in _OPTIONS}
        return stacking.fit_stack(
            [self.net(s) for s in members], self.load(first), pairing=[_pairing(s) for s in members],
            device=first["device"], snapshots=snapshots, on_epoch=_reporting(report, first["epochs"]),
            keep_on_device=True, **options,
        )  # fmt: skip

    # -- what a sweep wants to know --------------------------------------------------------------

    def check(self, s: Values) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        Options(_pairing(s), **{k: s[k] for k in _OPTIONS})
        for name in ("modalities", "dataset_modalities"):
            check.instance(name, s.get(name, ""), str, "names joined by '+'")
        known = s["dataset_modalities"].split("+") if self.given is None else self.given.modalities
        check.modalities_of(s["modalities"].split("+"), known)
        self.check_data(s)
        if s["xor"] is not None:
            check.share("xor", s["xor"])
            check.modalities_of(s["modalities"].split("+"), tuple(known)[:2])
        check.one_of("fusion", s["fusion"], FUSIONS)
        check.integer("width", s["width"], at_least=1)

    def check_data(self, s: Values) -> None:
        """Refuse a dataset or options of its loader that are not known; the loader itself checks their values.

        Raises:
            ValueError: which, and what would do.
        """
        if self.given is None:
            check.one_of("dataset", s["dataset"], datasets.names())
            own = {"modalities": "dataset_modalities", "seed": "data_seed", **{k: k for k in DATA}}
            for option in _further(s):
                if option in own:
                    raise ValueError(f"data_options cannot hold {option!r}: it has a setting, {own[option]!r}.")

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        """Without what makes no difference: a lone modality has no partner, fixed pairs and share 0 draw none."""
        if "+" not in s["modalities"] or s["pairing"] == "fixed" or s["alpha"] == 0:
            return {**s, "pairing": "fixed", "alpha": 0.0, "own": True}
        return s

    def stack_key(self, s: Values) -> Hashable:
        """Members with the same key can train together; None where they cannot."""
        products, mapped, _ = _ways(self, _shape_of(s))
        if not products and not mapped:
            return None
        # Products take members that see different modalities, where their epochs are equally long.
        free = (*_FREE, "modalities") if products and s["rows"] == "complete" else _FREE
        return tuple((k, s[k]) for k in self.defaults if k not in free)

    def stack_pays(self, s: Values) -> bool:
        """Whether training together is faster."""
        return _ways(self, _shape_of(s))[2]

    def seconds(self, s: Values) -> float:
        """A guess of the training time from its operations; a backward pass costs two forward passes."""
        dataset, net = self.load(s), self.net(s)
        with FlopCounterMode(display=False) as counter:
            net({m: dataset.train.inputs[m][:2] for m in net.modalities})
        train = len(_pairing(s).draw(dataset.train, net.modalities, seed=s["seed"]))
        held_out = sum(len(samples) for split, samples in dataset.splits.items() if split != "train")
        backward = 6 if s["sam"] else 3
        return counter.get_total_flops() / 2 * (backward * train + held_out) * float(s["epochs"]) / _RATE


def _further(s: Values) -> dict[str, Any]:
    """The options that only ``data_options`` names; hashable."""
    found = datasets.parsed(s["dataset"], s.get("data_options", ""))
    return {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}


def _pairing(s: Values) -> Pairing:
    return Pairing(s["pairing"], s["alpha"], s["own"], s["rows"])


def _reporting(report: Report, epochs: int) -> Any:
    return lambda row: report(row["epoch"] / epochs, f"epoch {int(row['epoch'])} of {epochs}")


def _shape_of(s: Values) -> tuple[tuple[str, Any], ...]:
    return tuple((k, s[k]) for k in _SHAPE if k in s)


# What nets of a shape can do, found out once per trials and forgotten with them: they hold the user's dataset.
_WAYS: WeakKeyDictionary[Trials, dict[tuple[tuple[str, Any], ...], tuple[bool, bool, bool]]] = WeakKeyDictionary()


def _ways(trials: Trials, shape: tuple[tuple[str, Any], ...]) -> tuple[bool, bool, bool]:
    """Whether nets of this shape can train as products, can through vmap, and gain by it."""
    known = _WAYS.setdefault(trials, {})
    if shape not in known:
        s = {**trials.defaults, **dict(shape)}
        net = trials.net(s)
        gains = stacking.pays(net, s["device"])
        known[shape] = why_not_products([net]) is None, why_not_mapped([net]) is None, gains
    return known[shape]


@lru_cache(maxsize=8)
def _loaded(name: str, options: tuple[tuple[str, Any], ...]) -> Dataset:
    return judged_alike(datasets.load(name, **dict(options)))


@kept(8)
def _mixed(dataset: Dataset, share: float) -> Dataset:
    return parity.xor(dataset, share)
