"""What a bench does with one setting: load, train, look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from ...data.samples import Dataset
from ...instruments.look import Looks, taken
from ...sweeps.experiment import WHY, Report, Variable, listens, tell
from ...training import DivergedError, Run
from ...utils import checks as check
from ...utils.torch_state import pick_device
from .. import beside
from ..beside import Parts, Shares
from ..late_fusion import UNSPLIT, Curves, val_accuracy
from ..world import Values
from . import over_training
from .isolines import at_shots
from .setup import Setup

MOST_CHECKPOINTS = 8
# Stages of a member -> their share of its time; as measured (ours).
STAGES = {"training": 0.25, "looks": 0.35, "isolines": 0.4}
NEVER = 1 << 30  # epochs between two scores: after the last alone


@dataclass(frozen=True, eq=False)
class Bench(Setup):
    """What a bench does with one setting: load, train, look."""

    looks: Looks = field(default_factory=Looks)
    isolines: Mapping[str, Sequence[int]] = field(default_factory=dict)
    checkpoints: int = 0
    trajectory: int = 0
    named: str = "bench"

    # As any object's: what it caches is its own.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.checkpoints > MOST_CHECKPOINTS:
            raise ValueError(f"checkpoints must be at most {MOST_CHECKPOINTS}, got {self.checkpoints}.")
        if self.trajectory and not (self.trajectory >= 3 and self.checkpoints):
            raise ValueError(
                f"a trajectory has at least 3 points along a side and leads through checkpoints; got "
                f"trajectory={self.trajectory}, checkpoints={self.checkpoints}."
            )
        for modality, shots in self.isolines.items():
            check.one_of("modality of isolines", modality, self.known_modalities())
            for count in check.listed(f"isolines[{modality!r}]", shots):
                check.integer("shots", count, at_least=0 if modality == self.auxiliary else 1)
        if self.isolines and set(self.isolines) != {self.target, self.auxiliary}:
            raise ValueError(
                f"isolines are over {self.target!r} and the recipe's unpaired modality, which is {self.auxiliary!r}; "
                f"got {sorted(self.isolines)}."
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        """What cubes and stores call it."""
        return self.named

    def variables(self, values: Mapping[str, tuple[Any, ...]]) -> dict[str, Variable]:
        """The variables of a sweep whose settings take these values."""
        epochs = max(values["epochs"])
        names = list(dict.fromkeys(m for one in values["modalities"] for m in one.split("+")))
        blocks = [*(f"encoders.{m}" for m in self.known_modalities()), "fusion", "head"]
        epoch = {"epoch": range(1, epochs + 1)}
        found = {
            **self.looks.variables(names, blocks),
            "val_accuracy": Variable(label="validation accuracy"),
            "accuracy_curve": Variable(epoch, "test accuracy", dtype="float32"),
            "train_loss_curve": Variable(epoch, "training loss", "nats", "float32"),
        }
        if self.isolines:
            images, texts = (tuple(self.isolines[m]) for m in (self.target, str(self.auxiliary)))
            found["accuracy_at_shots"] = Variable({"images": images, "texts": texts}, "test accuracy", dtype="float32")
        if self.checkpoints:
            if len(set(values["epochs"])) > 1:
                raise ValueError("checkpoints are moments of a training; give one number of epochs.")
            at = {"checkpoint": self.moments(epochs)}
            density = over_training.LOOKS.variables(names)["density"]
            found |= {
                "curve_density": Variable({**at, **density.dims}, density.label, dtype="float32"),
                "curve_w2": Variable(at, "W2 between the modalities"),
                "curve_w2_bias": Variable(at, "W2 of two halves of one cloud: bias of the finite sample"),
                "curve_lambda": Variable(at, "λ_max"),
                "curve_loss": Variable(at, "test loss", "nats"),
            }
        if self.trajectory:
            side = np.linspace(-1, 1, self.trajectory).tolist()
            found["trajectory"] = Variable({"ta": side, "tb": side}, "test loss", "nats", "float32")
            steps: dict[str, Sequence[Any]] = {"moment": self.steps(epochs), "axis": ["ta", "tb"]}
            found["path"] = Variable(steps, "place on the plane", dtype="float32", optional=True)
        return found

    def moments(self, epochs: int) -> list[int]:
        """The epochs that are looked at on the way."""
        every = max(1, epochs // self.checkpoints)
        return list(range(0, epochs + 1, every))[: self.checkpoints + 1]

    def steps(self, epochs: int) -> list[int]:
        """The epochs whose parameters are kept: the moments and, for a trajectory, eight more or so between them."""
        between = range(0, epochs + 1, max(1, epochs // 8)) if self.trajectory else ()
        return sorted({*self.moments(epochs), *between})

    def prepare(self, s: dict[str, Any]) -> None:
        """Make here, and in the process beside this one, what the first member would wait for."""
        s = self.normal(s)
        if pick_device(s["device"]).type == "cpu":
            beside.PROCESS.ask(self, "first", (s,))
        self.first(s)

    def first(self, s: Values) -> None:
        """Load the data, and take one step: what torch makes when it is first asked is there then."""
        self.train([{**s, "epochs": 1}], self.load(s), score_every=NEVER)

    def stack(self, members: Sequence[Values], report: Report) -> list[Mapping[str, Any] | Exception]:
        """Train the members together, then look at each; for who looks on, a second core does its part meanwhile."""
        first, shares = members[0], Shares(report, STAGES)
        dataset = self.load(first)
        # The sweep has asked whether a stack pays; the cells of the shots ask for themselves.
        kept = self.steps(first["epochs"]) if self.checkpoints else None
        with Parts(self, beside=listens(report) and pick_device(first["device"]).type == "cpu") as parts:
            # What takes longest comes last, but where somebody else may begin with it.
            grids = (
                at_shots(self, self.isolines, members, parts, shares.of("isolines"))
                if self.isolines
                else [{} for _ in members]
            )
            curves = Curves(shares.of("training"), first["epochs"])

            def on_epoch(row: Mapping[str, float]) -> None:
                curves(row)
                parts.come()

            runs = self.train(members, dataset, on_epoch=on_epoch, snapshots=kept, together=True)
            found: list[Any] = []
            for i, (run, s) in enumerate(zip(runs, members, strict=True)):
                shares.of("looks")(i / len(members), f"looking at member {i + 1} of {len(members)}")
                if isinstance(run, DivergedError):
                    found.append(run)
                else:
                    found.append(self._looked(run, dataset, s, shares.of("looks"), parts))
            parts.rest(shares.again)
        for one, grid in zip(found, grids, strict=True):
            if isinstance(one, dict):
                one |= {**grid, WHY: one[WHY] | grid.get(WHY, {})}
        return found

    def _looked(self, run: Run, dataset: Dataset, s: Values, report: Report, parts: Parts) -> dict[str, Any]:
        """The looks at one net; the spectra over training join them once ``parts`` has come to an end."""
        import xarray as xr

        whole: dict[str, Any] = {WHY: {}}

        def join(new: tuple[Mapping[str, Any], Mapping[str, str]]) -> None:
            found, why = new
            tell(report, found)
            whole.update({**found, WHY: whole[WHY] | why})

        def on_look(new: Mapping[str, Any]) -> None:
            tell(report, new)
            report(0.0, f"looked: {', '.join(new)}")
            parts.come()

        kept = (
            {e: run.snapshots[e] for e in self.moments(s["epochs"]) if e in run.snapshots} if self.checkpoints else {}
        )
        if kept:
            parts.add("spectra", run.model, kept, s, take=join, first=True, on_checkpoint=partial(_told, report))
        history, epoch = run.history, {"epoch": run.history.index.to_numpy()}
        found, why = taken(self.looks, run.model, dataset.test, on_look=on_look)
        found |= {
            "val_accuracy": val_accuracy(run, s["choose"]),
            "accuracy_curve": xr.DataArray(history["test_accuracy"].to_numpy(), epoch),
            "train_loss_curve": xr.DataArray(history["loss"].to_numpy(), epoch),
        }
        if "val_accuracy" not in history:
            why["val_accuracy"] = UNSPLIT
        whole.update({**found, WHY: whole[WHY] | why})
        if self.trajectory:
            join(over_training.plane(run, dataset.test, self.trajectory, self.looks.tolerance))
            parts.come()
        if kept:
            join(over_training.gaps(run.model, kept, dataset.test, partial(_told, report)))
            parts.come()
        return whole

    def spectra(
        self,
        model: nn.Module,
        kept: Mapping[int, Any],
        s: Values,
        on_checkpoint: Callable[[int, Any], None] | None = None,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """:func:`~.over_training.spectra` on this member's test split; a part that may be computed beside others.

        Args:
            model: the net.
            kept: epoch -> its parameters.
            s: the member's settings.
            on_checkpoint: as in :func:`~xmodal_lab.along`.

        Returns:
            ``curve_density``, ``curve_lambda`` and ``curve_loss``; variable -> reason.
        """
        return over_training.spectra(model, kept, self.load(s).test, on_checkpoint)

    def scores(self, members: Sequence[Values]) -> list[float | str]:
        """Test accuracy of nets that train together, or why one diverged; a part that may be computed beside others.

        Args:
            members: their settings.

        Returns:
            For each a share in [0, 1] (minus a squared error for values), or a sentence.
        """
        every = 1 if members[0]["choose"] == "best" else NEVER
        runs = self.train(members, self.load(members[0]), score_every=every)
        return [str(run) if isinstance(run, DivergedError) else run.score for run in runs]


def _told(report: Report, epoch: int, one: Any) -> None:
    """What was seen at one checkpoint, to who looks on."""
    taken = [n for n in ("w2", "w2_bias", "density") if n in one]
    tell(report, {f"curve_{n}": one[n].expand_dims(checkpoint=[epoch]) for n in taken})
    report(0.0, f"looked at epoch {epoch}")
