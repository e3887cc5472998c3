"""Late-fusion nets trained under plain settings, as the papers' experiments need them.

A setting is a number or a name, so that it can be a slider, an axis of a sweep, or a line of
JSON. ``alpha`` is the share of pairs that are drawn anew each epoch, ``modalities`` are names
joined by "+".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from torch.utils.flop_counter import FlopCounterMode

from ..data import xor as xor_labels
from ..data.pairing import Pairing
from ..data.samples import Dataset
from ..losses.module_loss import loss_on
from ..models.encoders import ARCHITECTURES
from ..models.fusion import FUSIONS, LateFusion
from ..sweeps.experiment import WHY, Report, Result, Variable, listens, tell
from ..training import DivergedError, Options, Run, fit, settings_of, stacking
from ..training.options import OWN, PLAIN
from ..training.stacks import why_not_mapped, why_not_products
from ..utils import checks as check
from ..utils.kept import kept
from ..utils.torch_state import pick_device
from .world import DATA, DatasetWorld, Values

# The share of the label that lives in the combination of modalities (see data/xor); None: the labels as they are.
LABEL = {"xor": None}
# Of the net and its training; early stopping and an MLP as in WORLDS, the rest as in fit.
DEFAULTS = {
    "modalities": "image+audio", "pairing": "same_class", "alpha": 1.0, "own": True, "rows": "complete",
    "fusion": "concat_linear", "architecture": "mlp", "width": 32,
    **settings_of(epochs=100, choose="best"),
}  # fmt: skip
LABELS = {
    "alpha": "α, share of pairs drawn anew",
    "xor": "share of XOR in the label",
    "data_options": "further options of the dataset's loader, as in n_train=3000;mel=32",
    "lr": "learning rate",
    "width": "feature width",
}

# What may differ inside a stack: initial weights, pairs and steps are data. And what shapes depend on.
_FREE = ("pairing", "alpha", "own", *(name for name in PLAIN if name in OWN))
_SHAPE = (*DATA, *LABEL, "modalities", "fusion", "architecture", "width", "device")
# Floating-point operations a second that small nets reach on one core, within a factor of 3 (ours).
_RATE = 2e10


@dataclass(frozen=True)
class LateFusionWorld(DatasetWorld):
    """Late-fusion nets on one dataset, each trained under one pairing and scored on the test split.

    Variables: ``accuracy`` and ``loss`` on the test split; ``val_accuracy``, to choose settings by;
    ``accuracy_curve``, ``loss_curve`` and ``train_loss_curve`` over ``epoch``.
    """

    name: ClassVar[str] = "late fusion"
    labels: ClassVar[Mapping[str, str]] = LABELS

    @property
    def defaults(self) -> dict[str, Any]:
        """Settings of data, net and training, with their defaults."""
        if self.given is None:
            return {**DATA, **LABEL, **DEFAULTS}
        choose = "best" if self.given.val is not None else "last"
        return {**LABEL, **DEFAULTS, "modalities": "+".join(self.given.modalities), "choose": choose}

    def load(self, s: Values) -> Dataset:
        """The dataset of these settings, its label mixed with XOR where ``xor`` is given; the last few are kept."""
        plain = super().load(s)
        return plain if s["xor"] is None else _mixed(plain, s["xor"])

    def net(self, s: Values) -> LateFusion:
        """The net before training; of the dataset's dtype."""
        options = {k: s[k] for k in ("fusion", "width", "architecture", "seed")}
        return LateFusion.for_dataset(self.load(s), s["modalities"].split("+"), **options)

    # -- training --------------------------------------------------------------------------------

    def train(self, s: Values, report: Report, snapshots: int | None = None) -> Run:
        """One net, trained; it stays on its device, to be looked at there."""
        options = {k: s[k] for k in PLAIN}
        say = Curves(report, s["epochs"])
        return fit(
            self.net(s), self.load(s), pairing=_pairing(s), device=s["device"], snapshots=snapshots, on_epoch=say,
            keep_on_device=True, **options,
        )  # fmt: skip

    def train_together(
        self, members: Sequence[Values], report: Report, snapshots: int | None = None
    ) -> list[Run | DivergedError]:
        """Many nets as one stack; what may differ between them is what :meth:`stack_key` leaves out."""
        first = members[0]
        options: Values = {k: [s[k] for s in members] if k in _FREE else first[k] for k in PLAIN}
        return stacking.fit_stack(
            [self.net(s) for s in members], self.load(first), pairing=[_pairing(s) for s in members],
            device=first["device"], snapshots=snapshots, on_epoch=Curves(report, first["epochs"]),
            keep_on_device=True, **options,
        )  # fmt: skip

    # -- members ---------------------------------------------------------------------------------

    def member(self, s: dict[str, Any], report: Report) -> Result:
        """One net, trained as :func:`~xmodal_lab.fit` does, and what it is asked."""
        return self.asked(self.train(s, report, self.every(s)), self.load(s), s, report)

    def stack(self, members: list[dict[str, Any]], report: Report) -> Sequence[Result | Exception]:
        """Nets trained as one stack, and what each is asked."""
        runs = self.train_together(members, report, self.every(members[0]))
        return [
            run if isinstance(run, DivergedError) else self.asked(run, self.load(s), s, report)
            for run, s in zip(runs, members, strict=True)
        ]

    def every(self, s: Values) -> int | None:
        """Every how many epochs the weights are kept, to be looked at; None for never."""
        return None

    def asked(self, run: Run, dataset: Dataset, s: Values, report: Report) -> dict[str, Any]:
        """What one trained ``run`` is asked; a world that asks more adds to it, and tells ``report`` as it goes."""
        import xarray as xr

        history, epoch = run.history, {"epoch": run.history.index.to_numpy()}
        return {
            "accuracy": run.score,
            "loss": float(loss_on(run.model, dataset.test)().detach()),
            "val_accuracy": val_accuracy(run, s["choose"]),
            "accuracy_curve": xr.DataArray(history["test_accuracy"].to_numpy(), epoch),
            "loss_curve": xr.DataArray(history["test_loss"].to_numpy(), epoch),
            "train_loss_curve": xr.DataArray(history["loss"].to_numpy(), epoch),
            **({} if "val_accuracy" in history else {WHY: {"val_accuracy": UNSPLIT}}),
        }

    def variables(self, values: Mapping[str, tuple[Any, ...]]) -> dict[str, Variable]:
        """What :meth:`asked` answers."""
        epoch = {"epoch": range(1, max(values["epochs"]) + 1)}
        return {
            "accuracy": Variable(label="test accuracy"),
            "loss": Variable(label="test loss", units="nats"),
            "val_accuracy": Variable(label="validation accuracy"),
            "accuracy_curve": Variable(epoch, "test accuracy"),
            "loss_curve": Variable(epoch, "test loss", "nats"),
            "train_loss_curve": Variable(epoch, "training loss", "nats"),
        }

    # -- what a sweep wants to know --------------------------------------------------------------

    def check(self, s: Values) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        Options(_pairing(s), **{k: s[k] for k in PLAIN})
        for name in ("modalities", "dataset_modalities"):
            check.instance(name, s.get(name, ""), str, "names joined by '+'")
        known = s["dataset_modalities"].split("+") if self.given is None else self.given.modalities
        check.modalities_of(s["modalities"].split("+"), known)
        self.check_data(s)
        if s["xor"] is not None:
            check.share("xor", s["xor"])
            check.modalities_of(s["modalities"].split("+"), tuple(known)[:2])
        check.one_of("fusion", s["fusion"], FUSIONS)
        check.one_of("architecture", s["architecture"], ARCHITECTURES)
        pick_device(s["device"])
        check.integer("width", s["width"], at_least=1)

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        """Without what makes no difference: a lone modality has no partner, fixed pairs and share 0 draw none."""
        s = super().normal(s)
        # A sweep over modalities and α computes the lone modality once, not once for each α.
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
        # A backward pass costs two forward passes, and SAM does everything twice.
        backward = 6 if s["sam"] else 3
        return counter.get_total_flops() / 2 * (backward * train + held_out) * float(s["epochs"]) / _RATE


# Why a net of a dataset that is not split has no validation accuracy.
UNSPLIT = "the dataset has no validation split"


def val_accuracy(run: Run, choose: str) -> float:
    """On the validation split, of the weights that were kept; NaN without one.

    Args:
        run: what training gave.
        choose: "best" or "last", as training was asked.

    Returns:
        A share in [0, 1], or minus a squared error, as in the history.
    """
    history = run.history
    if "val_accuracy" not in history:
        return math.nan
    kept_epoch = int(history["val_loss"].to_numpy().argmin()) if choose == "best" else -1
    return float(history["val_accuracy"].to_numpy()[kept_epoch])


def _pairing(s: Values) -> Pairing:
    return Pairing(s["pairing"], s["alpha"], s["own"], s["rows"])


# Column of a history -> variable of an experiment.
CURVES = {"test_accuracy": "accuracy_curve", "test_loss": "loss_curve", "loss": "train_loss_curve"}


class Curves:
    """An ``on_epoch`` that reports how far a training is, and tells its curves so far to whoever looks on.

    Args:
        report: as a member gets it.
        epochs: of the training.
        share: of the member's time that training takes.
    """

    def __init__(self, report: Report, epochs: int, share: float = 1.0) -> None:
        self._report, self._epochs, self._share = report, epochs, share
        self._rows: list[Mapping[str, float]] = []

    def __call__(self, row: Mapping[str, float]) -> None:
        """Take one row of the history."""
        if listens(self._report):
            self._rows.append(row)
            tell(self._report, self.so_far())
        self._report(self._share * row["epoch"] / self._epochs, f"epoch {int(row['epoch'])} of {self._epochs}")

    def so_far(self) -> dict[str, Any]:
        """The curves as variables over the epochs that are done."""
        import xarray as xr

        at = {"epoch": [int(row["epoch"]) for row in self._rows]}
        known = {column: name for column, name in CURVES.items() if column in self._rows[0]}
        return {name: xr.DataArray([row[column] for row in self._rows], at) for column, name in known.items()}


def _shape_of(s: Values) -> tuple[tuple[str, Any], ...]:
    return tuple((k, s[k]) for k in _SHAPE if k in s)


# What nets of a shape can do, found out once per world and forgotten with them: they hold the user's dataset.
_WAYS: WeakKeyDictionary[LateFusionWorld, dict[tuple[tuple[str, Any], ...], tuple[bool, bool, bool]]] = (
    WeakKeyDictionary()
)


def _ways(world: LateFusionWorld, shape: tuple[tuple[str, Any], ...]) -> tuple[bool, bool, bool]:
    """Whether nets of this shape can train as products, can through vmap, and gain by it."""
    known = _WAYS.setdefault(world, {})
    if shape not in known:
        s = {**world.defaults, **dict(shape)}
        net = world.net(s)
        pays = stacking.pays(net, s["device"])
        known[shape] = why_not_products([net]) is None, why_not_mapped([net]) is None, pays
    return known[shape]


@kept(8)
def _mixed(dataset: Dataset, share: float) -> Dataset:
    return xor_labels.xor(dataset, share)
