"""The bench: one recipe and its looks as an experiment, so that a question can be moved through all five papers.

``xl.sweep("bench", share=[0, 1], a_latent=[0, 0.3], seed=range(5))`` asks the shipped one; ``xl.bench(my_dataset,
recipe=my_recipe, looks={"density": True})`` makes one of your own, for ``xl.sweep(mine, my_weight=[0, 1], store=…)``.

A setting of the recipe is a setting of the experiment. ``<modality>_shots`` limit how many training rows of each class
have the first modality, and how many unpaired rows of the auxiliary one are used; ``isolines`` trains the whole grid of
both under the present recipe.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from ..data.drawing import shuffled_classes
from ..data.labels import SORTS, task_of
from ..data.samples import Dataset, Samples
from ..instruments.landscape import trajectory_plane
from ..instruments.look import Looks, along, looks_of, taken
from ..losses.module_loss import loss_on
from ..models.encoders import ARCHITECTURES
from ..models.fusion import FUSIONS, LateFusion
from ..sweeps.experiment import WHY, Experiment, Report, Variable, listens, tell
from ..training import DivergedError, Options, Run, recipes, settings_of, stacking
from ..training.fitting import share_teachers
from ..training.options import OWN
from ..training.recipe import Recipe
from ..training.terms import Alignment, Connection, Latent, Shared, Task, Term
from ..utils import checks as check
from ..utils.random import seed_of
from ..utils.torch_state import pick_device
from . import beside
from .beside import Parts, Shares
from .late_fusion import UNSPLIT, Curves, val_accuracy
from .world import DATA as DIGITS
from .world import DatasetWorld, Values

# The digits world of dml, with the sentences that uml and synergy use. data_seed None: the world moves with the seed.
WORLD = ("image", "audio", "text")
DATA = {**DIGITS, "dataset_modalities": "+".join(WORLD), "data_seed": None}
# 60 epochs, Adam 1e-3, batch 64 as in fit; width 32, concatenation and one linear map (ours).
NET = {"modalities": "image+audio", "fusion": "concat_linear", "architecture": "mlp", "width": 32}
TRAINING = settings_of("label_smoothing")  # of which a recipe has its own
# Beside the recipe's settings: what may differ inside a stack.
FREE = tuple(name for name in TRAINING if name in OWN and name != "seed")
LABELS = {  # short: on a laptop all controls stand beside the pictures
    "share": "dml α: pairs anew",
    "a_latent": "synergy α: latent",
    "a_align": "wma α: align",
    "b_align": "wma β: target",
    "lam": "uml λ: unpaired",
    "a_connect": "cox: connection",
}
# What the shipped cube is asked: everything that a user must see on one screen (ours).
LOOKS = Looks(landscape=11, density=True, eigenvalues=3, lpf=0.1, f_gap=(0.5,), gap=True, missing=0.5, noise=1.0)
ISOLINES = {"image": (1, 4, 16), "text": (0, 1, 4, 12)}
MOST_CHECKPOINTS = 8
# A look -> the variable that it fills at every checkpoint.
OVER = {
    "density": "curve_density", "w2": "curve_w2", "w2_bias": "curve_w2_bias", "eigenvalue": "curve_lambda",
    "loss": "curve_loss",
}  # fmt: skip
# Stages of a member -> their share of its time; as measured (ours).
STAGES = {"training": 0.25, "looks": 0.35, "isolines": 0.4}
NEVER = 1 << 30  # epochs between two scores: after the last alone
# A net to be trained, by its settings, and the cells (member, text) that it answers.
Group = tuple[dict[str, Any], list[tuple[int, int]]]


def bench(
    dataset: Dataset | None = None,
    recipe: Recipe | None = None,
    looks: Looks | Mapping[str, Any] | None = None,
    *,
    isolines: Mapping[str, Sequence[int]] | None = None,
    checkpoints: int = 0,
    trajectory: int = 0,
    name: str = "bench",
    **defaults: Any,
) -> Experiment:
    """One recipe and its looks, as an experiment.

    Args:
        dataset: of your own; the digits world with images, sounds and sentences when not given.
        recipe: whose settings become axes; when not given the task, a latent target, alignment and unpaired rows,
            all with weight 0, on pairs of the same class with share 0.
        looks: options of :func:`~xmodal_lab.look`, taken on the test split; accuracy and loss alone when not given.
        isolines: modality -> shots, for the two whose exchange is asked: the classified one and the auxiliary one.
            Each member then trains a net in every cell of the grid too: ``accuracy_at_shots``.
        checkpoints: at so many moments of training, evenly, ``curve_density``, ``curve_w2`` with its sampling bias
            ``curve_w2_bias``, ``curve_lambda`` and ``curve_loss``.
        trajectory: points along a side of the plane that training took, with the ``path``; needs checkpoints. Both
            axes run from -1 to 1, over the plane, so that planes of all members have the same coordinates. The
            looks' ``tolerance`` holds for it too.
        name: what cubes and stores call it.
        defaults: of settings, instead of the usual ones.

    Returns:
        An experiment for :func:`~xmodal_lab.sweep` and for explorers. Variables: ``accuracy``, ``loss``,
        ``val_accuracy``, ``accuracy_curve`` and ``train_loss_curve`` (epoch), and those of the looks.

    Raises:
        ValueError, TypeError: a recipe, look or setting that makes no sense; a name that two of them claim.

    Example:
        >>> import xmodal_lab as xl
        >>> quick = xl.bench(looks={"gap": True}, epochs=1)
        >>> cube = xl.sweep(quick, a_align=[0.0, 1.0], progress=False)
        >>> cube.w2.dims, bool(cube.w2.notnull().all())
        (('a_align',), True)
    """
    if dataset is not None:
        check.instance("dataset", dataset, Dataset, "or None for the digits world")
    if recipe is not None:
        check.instance("recipe", recipe, Recipe, "such as xl.recipes.dml()")
    chosen = looks_of(looks)
    made = Bench(
        dataset, _default_recipe(dataset) if recipe is None else recipe, chosen, dict(isolines or {}),
        check.integer("checkpoints", checkpoints, at_least=0), check.integer("trajectory", trajectory, at_least=0),
        name,
    )  # fmt: skip
    return made.experiment(**defaults)


@dataclass(frozen=True, eq=False)
class Bench(DatasetWorld):
    """What a bench does with one setting: load, train, look."""

    recipe: Recipe = field(default_factory=Recipe)
    looks: Looks = field(default_factory=Looks)
    isolines: Mapping[str, Sequence[int]] = field(default_factory=dict)
    checkpoints: int = 0
    trajectory: int = 0
    named: str = "bench"

    labels: ClassVar[Mapping[str, str]] = LABELS
    # As any object's: what it caches is its own.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        check.instance("recipe", self.recipe, Recipe, "such as xl.recipes.dml(1.0)")
        if self.checkpoints > MOST_CHECKPOINTS:
            raise ValueError(f"checkpoints must be at most {MOST_CHECKPOINTS}, got {self.checkpoints}.")
        if self.trajectory and not (self.trajectory >= 3 and self.checkpoints):
            raise ValueError(
                f"a trajectory has at least 3 points along a side and leads through checkpoints; got "
                f"trajectory={self.trajectory}, checkpoints={self.checkpoints}."
            )
        known = {**self._data(), **NET, **TRAINING, **dict.fromkeys(self.shots)}
        for setting in self.recipe.settings:
            if setting in known:
                raise ValueError(f"the recipe's setting {setting!r} is taken by the bench; name yours otherwise.")
        for modality, shots in self.isolines.items():
            check.one_of("modality of isolines", modality, self._modalities())
            for count in check.listed(f"isolines[{modality!r}]", shots):
                check.integer("shots", count, at_least=0 if modality == self.auxiliary else 1)
        if self.isolines and set(self.isolines) != {self.target, self.auxiliary}:
            raise ValueError(
                f"isolines are over {self.target!r} and the recipe's unpaired modality, which is {self.auxiliary!r}; "
                f"got {sorted(self.isolines)}."
            )

    # -- settings --------------------------------------------------------------------------------

    def _data(self) -> dict[str, Any]:
        return dict(DATA) if self.given is None else {}

    def _modalities(self) -> tuple[str, ...]:
        given = self.given
        return WORLD if given is None else given.modalities

    @property
    def name(self) -> str:  # type: ignore[override]
        """What cubes and stores call it."""
        return self.named

    @property
    def target(self) -> str:
        """The modality whose shots are traded: the first."""
        return self._modalities()[0]

    @property
    def auxiliary(self) -> str | None:
        """The modality of unpaired rows, if the recipe has any."""
        return next((t.modality for t in self.recipe.terms if isinstance(t, Shared)), None)

    @property
    def shots(self) -> tuple[str, ...]:
        """The settings that limit rows, one of each modality that is traded."""
        return tuple(f"{m}_shots" for m in dict.fromkeys((self.target, self.auxiliary)) if m is not None)

    @property
    def defaults(self) -> dict[str, Any]:
        """All settings with their defaults."""
        net = dict(NET)
        if self.given is not None:
            others = [m for m in self._modalities() if m != self.auxiliary] or [self.target]
            net["modalities"] = "+".join(others)
        return {**self._data(), **net, **TRAINING, **self.recipe.settings, **dict.fromkeys(self.shots)}

    def recipe_of(self, s: Values) -> Recipe:
        """The recipe under these settings; shots of the auxiliary modality are those of its unpaired rows."""
        found: Recipe = self.recipe.with_settings(**{name: s[name] for name in self.recipe.settings})
        shots = s.get(f"{self.auxiliary}_shots")
        if not shots:
            return found
        return replace(found, terms=tuple(replace(t, shots=shots) if isinstance(t, Shared) else t for t in found.terms))

    def check(self, s: dict[str, Any]) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        known = self._modalities()
        check.modalities_of(check.instance("modalities", s["modalities"], str, "names joined by '+'").split("+"), known)
        recipe = self.recipe_of(s)
        Options(recipe=recipe, **{k: s[k] for k in TRAINING if k != "device"})
        self.check_data(s)
        check.one_of("fusion", s["fusion"], FUSIONS)
        check.one_of("architecture", s["architecture"], ARCHITECTURES)
        pick_device(s["device"])
        check.integer("width", s["width"], at_least=1)
        for setting in self.shots:
            if s[setting] is not None:
                check.integer(setting, s[setting], at_least=0 if setting == f"{self.auxiliary}_shots" else 1)

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        """Without what makes no difference: what a weight of 0 leaves unused, partners of a lone modality."""
        s = dict(s)
        names, recipe = s["modalities"].split("+"), self.recipe
        if len(names) < 2 or s["pairing"] == "fixed" or s["share"] == 0:
            s |= {"pairing": "fixed", "share": 0.0}
        for part in recipe.terms:
            weight = part.weight_setting
            if weight is None:
                continue
            # Weight 0, no row to learn from, or a term that this net has no use for: all three train the same net.
            silent = isinstance(part, Shared) and s.get(f"{part.modality}_shots") == 0
            if s[weight] == 0 or silent or not applies(part, names):
                s |= {**part.settings, weight: 0.0}
        if self.auxiliary is not None and not any(
            s[str(t.weight_setting)] > 0 for t in recipe.terms if isinstance(t, Shared)
        ):
            s[f"{self.auxiliary}_shots"] = None
        return s

    def variables(self, values: Mapping[str, tuple[Any, ...]]) -> dict[str, Variable]:
        """The variables of a sweep whose settings take these values."""
        epochs = max(values["epochs"])
        names = list(dict.fromkeys(m for one in values["modalities"] for m in one.split("+")))
        blocks = [*(f"encoders.{m}" for m in self._modalities()), "fusion", "head"]
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
            density = self._curve().variables(names)["density"]
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

    def _curve(self) -> Looks:
        return Looks(density=True, eigenvalues=1, gap=True, rows=200)

    def prepare(self, s: dict[str, Any]) -> None:
        """Make here, and in the process beside this one, what the first member would wait for."""
        s = self.normal(s)
        if pick_device(s["device"]).type == "cpu":
            beside.PROCESS.ask(self, "first", (s,))
        self.first(s)

    def first(self, s: Values) -> None:
        """Load the data, and take one step: what torch makes when it is first asked is there then."""
        self._train([{**s, "epochs": 1}], self.load(s), score_every=NEVER)

    # -- data and nets ---------------------------------------------------------------------------

    def load(self, s: Values) -> Dataset:
        """The dataset of these settings, with as many rows of each class as the shots say."""
        given = self.given
        if given is None:
            given = super().load(s)
        shots = s[f"{self.target}_shots"]
        if shots is None:
            return given
        some = with_shots(given, {self.target: shots}, s["seed"])
        if not any(isinstance(t, Latent) and t.teacher == self.target for t in self.recipe.terms):
            share_teachers(some, given)
        return some

    def net(self, s: Values, dataset: Dataset) -> LateFusion:
        """The net before training; with an encoder of the unpaired modality where its rows are used."""
        names = s["modalities"].split("+")
        lam = self.recipe_of(s).weights
        extra = [
            t.modality for t in self.recipe.terms
            if isinstance(t, Shared) and lam[t.called] > 0 and t.modality not in names
        ]  # fmt: skip
        options = {k: s[k] for k in ("fusion", "width", "architecture", "seed")}
        return LateFusion.for_dataset(dataset, names, auxiliary=tuple(extra), **options)

    # -- members ---------------------------------------------------------------------------------

    def stack_key(self, s: Values) -> Hashable:
        """Members with the same key train together: same data, net and seed, other weights and pairs."""
        free = {*FREE, *self.recipe.settings}
        if self.auxiliary != self.target:  # which rows are unpaired is each member's own
            free.add(f"{self.auxiliary}_shots")
        weights = self.recipe_of(s).weights
        used = tuple(t.called for t in self.recipe.terms if isinstance(t, Shared) and weights[t.called] > 0)
        return tuple((k, s[k]) for k in sorted(s) if k not in free), used

    def stack_pays(self, s: Values) -> bool:
        """Whether training together is faster; as measured for plain nets."""
        return stacking.pays(self.net(s, self.load(s)), s["device"])

    def stack(self, members: Sequence[Values], report: Report) -> list[Mapping[str, Any] | Exception]:
        """Train the members together, then look at each; for who looks on, a second core does its part meanwhile."""
        first, shares = members[0], Shares(report, STAGES)
        dataset = self.load(first)
        # The sweep has asked whether a stack pays; the cells of the shots ask for themselves.
        kept = self.steps(first["epochs"]) if self.checkpoints else None
        with Parts(self, beside=listens(report) and pick_device(first["device"]).type == "cpu") as parts:
            # What takes longest comes last, but where somebody else may begin with it.
            grids = self._at_shots(members, parts, shares.of("isolines")) if self.isolines else [{} for _ in members]
            curves = Curves(shares.of("training"), first["epochs"])

            def on_epoch(row: Mapping[str, float]) -> None:
                curves(row)
                parts.come()

            runs = self._train(members, dataset, on_epoch=on_epoch, snapshots=kept, together=True)
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

    def _train(self, members: Sequence[Values], dataset: Dataset, **how: Any) -> Sequence[Run | DivergedError]:
        """One net per member; ``how`` as in :func:`~xmodal_lab.training.stacking.fit_all`."""
        first, recipe = members[0], [self.recipe_of(s) for s in members]
        nets = [self.net(s, dataset) for s in members]
        shared: dict[str, Any] = {k: first[k] for k in TRAINING if k not in (*FREE, "device", "seed")}
        own: dict[str, Any] = {k: [s[k] for s in members] for k in (*FREE, "seed")}
        return stacking.fit_all(
            nets, dataset, recipe=recipe, device=first["device"], keep_on_device=True, **shared, **own, **how
        )

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
            told = partial(self._told, report)
            parts.add("over_training", run.model, kept, s, take=join, first=True, on_checkpoint=told)
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
            join(self._led(run, dataset.test))
            parts.come()
        if kept:
            join(self._gaps(run.model, kept, dataset.test, partial(self._told, report)))
            parts.come()
        return whole

    def _told(self, report: Report, epoch: int, one: Any) -> None:
        """What was seen at one checkpoint, to who looks on."""
        taken = [n for n in ("w2", "w2_bias", "density") if n in one]
        tell(report, {f"curve_{n}": one[n].expand_dims(checkpoint=[epoch]) for n in taken})
        report(0.0, f"looked at epoch {epoch}")

    def _gaps(
        self, model: nn.Module, kept: Mapping[int, Any], samples: Samples, on_checkpoint: Callable[[int, Any], None]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The gap over training, which takes a tenth of the spectra's time; and why it is NaN."""
        import xarray as xr

        rows = self._curve().rows
        gaps = along(kept, samples, model=model, on_checkpoint=on_checkpoint, gap=True, rows=rows)
        at = {"checkpoint": gaps["epoch"].to_numpy()}
        return {OVER[name]: xr.DataArray(gaps[name].to_numpy(), at) for name in ("w2", "w2_bias")}, _why(gaps)

    def over_training(
        self,
        model: nn.Module,
        kept: Mapping[int, Any],
        s: Values,
        on_checkpoint: Callable[[int, Any], None] | None = None,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The spectra over training, and why one is NaN; a part of a member that may be computed beside it.

        Args:
            model: the net.
            kept: epoch -> its parameters.
            s: the member's settings.
            on_checkpoint: as in :func:`~xmodal_lab.along`.

        Returns:
            ``curve_density``, ``curve_lambda`` and ``curve_loss``; variable -> reason.
        """
        import xarray as xr

        samples, rows = self.load(s).test, self._curve().rows
        path = along(kept, samples, model=model, on_checkpoint=on_checkpoint, density=True, eigenvalues=1, rows=rows)
        at = {"checkpoint": path["epoch"].to_numpy()}
        found = {
            "curve_density": xr.DataArray(path["density"].to_numpy(), {**at, "lambda_": path["lambda_"].to_numpy()}),
            "curve_lambda": xr.DataArray(path["eigenvalue"].to_numpy()[:, 0], at),
            "curve_loss": xr.DataArray(path["loss"].to_numpy(), at),
        }
        return found, _why(path)

    def _led(self, run: Run, samples: Samples) -> tuple[dict[str, Any], dict[str, str]]:
        """The plane that training took, in half widths of itself; NaN, and why, where it led along a line."""
        import xarray as xr

        names_seen: Any = run.model.modalities
        seen = samples.complete(names_seen).subset(slice(0, self._curve().rows))
        names = {name for name, _ in run.model.named_parameters()}
        path = {epoch: {n: p for n, p in kept.items() if n in names} for epoch, kept in run.snapshots.items()}
        try:
            loss, tolerance = loss_on(run.model, seen), self.looks.tolerance
            plane = trajectory_plane(loss, list(path.values()), self.trajectory, tolerance=tolerance)
        except ValueError as error:
            nothing = {"trajectory": np.full((self.trajectory,) * 2, np.nan), "path": None}
            return nothing, dict.fromkeys(nothing, str(error))
        ends = np.array([[float(plane[n][0]), float(plane[n][-1])] for n in ("a", "b")])
        places = (plane["path"].to_numpy()[0] - ends.mean(1)) / ((ends[:, 1] - ends[:, 0]) / 2)
        at = {"moment": list(path), "axis": ["ta", "tb"]}
        return {"trajectory": plane["loss"].to_numpy(), "path": xr.DataArray(places, at)}, {}

    def _at_shots(self, members: Sequence[Values], parts: Parts, report: Report) -> list[dict[str, Any]]:
        """Test accuracy in every cell of the shots, under each member's recipe: a stack for each number of pictures.

        The results are filled in as ``parts`` computes them.
        """
        images, texts = (tuple(self.isolines[m]) for m in (self.target, str(self.auxiliary)))
        found = np.full((len(members), len(images), len(texts)), np.nan)
        why: list[dict[str, str]] = [{} for _ in members]
        # Shots of the classified modality change the data, which members of a stack share; those of the other do not.
        groups = [
            (i, group) for i, image in enumerate(images)
            for group in self._cells([{**s, f"{self.target}_shots": image} for s in members], texts)
        ]  # fmt: skip
        done = itertools.count(1)

        def take(i: int, group: Sequence[Group], scores: Sequence[float | str]) -> None:
            for (_, cells), score in zip(group, scores, strict=True):
                for k, j in cells:
                    if isinstance(score, str):
                        why[k].setdefault("accuracy_at_shots", f"{images[i]} pictures, {texts[j]} texts: {score}")
                    else:
                        found[k, i, j] = score
            tell(report, {"accuracy_at_shots": found[0]})
            report(next(done) / len(groups), f"{images[i]} pictures of each class")

        for i, group in reversed(groups):  # the longest first, so that none is left at the end
            parts.add("scores", [s for s, _ in group], take=partial(take, i, group))
        return [{"accuracy_at_shots": one, WHY: reasons} for one, reasons in zip(found, why, strict=True)]

    def scores(self, members: Sequence[Values]) -> list[float | str]:
        """Test accuracy of nets that train together, or why one diverged; a part that may be computed beside others.

        Args:
            members: their settings.

        Returns:
            For each a share in [0, 1] (minus a squared error for values), or a sentence.
        """
        every = 1 if members[0]["choose"] == "best" else NEVER
        runs = self._train(members, self.load(members[0]), score_every=every)
        return [str(run) if isinstance(run, DivergedError) else run.score for run in runs]

    def _cells(self, members: Sequence[Values], texts: Sequence[int]) -> list[list[Group]]:
        """What is trained for these texts: stacks of (setting, the cells (member, text) that it answers)."""
        answers: dict[Hashable, Group] = {}
        for k, s in enumerate(members):
            for j, text in enumerate(texts):
                normal = self.normal({**s, f"{self.auxiliary}_shots": text})
                # Where unpaired rows weigh nothing, all texts ask for the same net.
                answers.setdefault(tuple(sorted(normal.items())), (normal, []))[1].append((k, j))
        groups: dict[Hashable, list[Group]] = {}
        for answer in answers.values():
            groups.setdefault(self.stack_key(answer[0]), []).append(answer)
        return list(groups.values())


def applies(part: Term, modalities: Sequence[str]) -> bool:
    """Whether a term says anything about a net that sees these modalities."""
    if isinstance(part, (Alignment, Connection)):
        return len(modalities) > 1
    if isinstance(part, Latent) and part.of is None:
        return any(m != part.teacher for m in modalities)
    return True


def with_shots(dataset: Dataset, shots: Mapping[str, int], seed: int = 0) -> Dataset:
    """The dataset with ``shots[m]`` training rows of each class that have modality m; the others lose it.

    Args:
        dataset: with class labels.
        shots: modality -> rows of each class; 0 for none.
        seed: of the choice; a larger number takes the same rows and more.

    Raises:
        ValueError: fewer rows in a class than asked for, real-valued labels, an unknown modality.
    """
    if not shots:
        return dataset
    train, present = dataset.train, dict(dataset.train.present)
    if (sort := task_of(train.labels)) != "classes":
        raise ValueError(f"shots are counted by class; these labels are {SORTS[sort]}.")
    for m, count in shots.items():
        check.one_of("modality", m, dataset.modalities)
        keep = torch.zeros(len(train), dtype=torch.bool, device=train.labels.device)
        generator = torch.Generator().manual_seed(seed_of(seed, f"{m}:shots"))
        for c, rows in shuffled_classes(train.labels, generator, present[m]):
            if len(rows) < count:
                name = dataset.classes[c] if dataset.classes else c
                raise ValueError(f"class {name!r} has {len(rows)} training rows with {m!r}; {count} are asked for.")
            keep[rows[:count]] = True
        present[m] = keep
    some = torch.stack(list(present.values())).any(0)
    return replace(dataset, train=replace(train, present=present).subset(some))


def _why(path: Any) -> dict[str, str]:
    """Why variables over training are NaN, from what :func:`~xmodal_lab.along` says of its looks."""
    return {OVER[name]: sentence for name, sentence in json.loads(path.attrs["why"]).items() if name in OVER}


def _default_recipe(dataset: Dataset | None) -> Recipe:
    """The task and every paper's term with weight 0, as far as the dataset has the modalities for them."""
    names = WORLD if dataset is None else dataset.modalities
    terms: list[Term] = [Task()]
    if len(names) > 1:
        last = names[-1]
        terms += [Latent(last, weight=0.0), Alignment(weight=0.0, target=0.0), Shared(last, weight=0.0)]
    return Recipe(tuple(terms), recipes.dml(0.0).pairing, name="bench")


EXPERIMENT = bench()
