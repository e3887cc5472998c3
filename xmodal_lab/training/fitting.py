"""Training: one net, one dataset, one pairing; the same seed gives the same run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..data.augmentation import Augmentation
from ..data.pairing import Pairs
from ..data.samples import Dataset, Samples
from ..losses import Params
from ..models import objectives
from ..models.coarse import single
from ..models.copies import copy_of
from ..models.evaluation import answer
from ..models.fusion import LateFusion
from ..models.latents import Seen, alone, answering, see
from ..utils import checks as check
from ..utils.options import known
from ..utils.torch_state import gradients, pick_device
from .checkpoints import save_checkpoint
from .flat_minima import Average, first_averaged
from .loop import take_step
from .machine import Machine, machine_for
from .options import NAMES, Options, with_options
from .recipe import Objective
from .scoring import criterion, evaluate, held_out_splits
from .terms import Context
from .trainable import check_known, check_trainable, dtypes_of, modalities_of

if TYPE_CHECKING:
    import pandas as pd

TEACHER_EPOCHS = 30  # of the net that a term's latents come from (ours)


@dataclass(frozen=True)
class Run:
    """What :func:`fit` returns.

    Attributes:
        model: the trained net, in eval mode, on the CPU unless ``keep_on_device`` was asked for.
        history: one row per epoch: loss, accuracy, test_loss, test_accuracy (val_… too), seconds; of a recipe also
            the mean of each term before its weight, by its name.
        score: accuracy on the test split, of ``model``; minus the mean squared error for regression.
        settings: everything that :func:`fit` was asked, with versions and device.
        snapshots: parameters at the epochs named by ``snapshots``, for a trajectory plane.
    """

    model: nn.Module
    history: pd.DataFrame
    score: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    snapshots: Mapping[int, Params] = field(default_factory=dict)

    def __repr__(self) -> str:
        where = f" on {self.settings['dataset']}" if "dataset" in self.settings else ""
        return f"Run({type(self.model).__name__}{where}: {len(self.history)} epochs, test score {self.score:.3f})"

    def save(self, path: str | Path) -> Path:
        """Write weights, history and settings to one safetensors file; returns its path."""
        meta = {
            "history": self.history.to_json(orient="split"),
            "settings": json.dumps(dict(self.settings), default=str),
        }
        return save_checkpoint(self.model, path, {**meta, "score": repr(self.score)})


@with_options
@gradients()
def fit(
    net: nn.Module,
    dataset: Dataset,
    *,
    device: str = "auto",
    keep_on_device: bool = False,
    snapshots: int | Sequence[int] | None = None,
    checkpoints: str | Path | None = None,
    progress: bool = False,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    score_every: int = 1,
    **settings: Any,
) -> Run:
    """Train a copy of ``net``; the net itself stays as it was.

    Args:
        net: a :class:`~xmodal_lab.LateFusion`, or any module from a dict of inputs to logits
            that has a ``modalities`` attribute.
        dataset: trains on ``train``, reports ``test`` (and ``val``, if there is one) every epoch.
        {options}
        device: "auto" (cuda, else mps, else cpu; cpu for float64 where a GPU has none), or a device name.
        keep_on_device: leave the trained model there, to be looked at; else it comes back to the CPU.
        snapshots: keep the parameters every so many epochs (and at the start), or at these epochs (0 is the start),
            as trained, not averaged.
        checkpoints: a folder that gets ``epoch-0001.safetensors`` … as training goes.
        progress: show a tqdm bar.
        on_epoch: called with each row of the history.
        score_every: score the held-out splits every so many epochs, and after the last; their columns are NaN in
            between. Of short epochs the scores take half of the time.
        settings: the options above; :class:`~xmodal_lab.training.Options` writes each once.

    Returns:
        A :class:`Run`: the trained copy, its history and its score on the test split.

    Raises:
        ValueError: bad settings, an unknown pairing, a modality that the dataset lacks, a class without a training
            sample, ``choose="best"`` without a validation split or with ``score_every`` above 1.
        TypeError: an option that there is none of.
        DivergedError: the loss is NaN or infinite; names the epoch and the learning rate.

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", modalities=("image", "audio"), n_train=120, n_test=60)
        >>> net = xl.LateFusion.for_dataset(ds, architecture="mlp")
        >>> run = xl.fit(net, ds, pairing="same_class", share=0.5, epochs=2)
        >>> len(run.history), run.settings["share"]
        (2, 0.5)
    """
    known("fit", settings, NAMES)
    options = Options(**settings)
    check.instance("net", net, nn.Module, "such as xl.LateFusion.for_dataset(dataset)")
    check_trainable(dataset, options)
    kept_at = epochs_kept(snapshots, options.epochs)
    scored = scored_epochs(score_every, options)
    checkpoints = None if checkpoints is None else check.path("checkpoints", checkpoints)
    if on_epoch is not None:
        check.function("on_epoch", on_epoch, "of a row of the history")
    net = single(net)
    where = pick_device(device, dtypes_of(net))
    machine = machine_for(options.precision, options.compile, where, dtypes_of(net))
    model = copy_of(net).to(where).train()  # a sweep starts many runs from one net
    names = modalities_of(model, dataset)
    train = dataset.train.to(where)
    # Drawn before anything is trained, so that a pairing that cannot be drawn is told at once.
    first = options.plan.draw(train, names, seed=options.seed, epoch=0)
    check_known("train", first.labels(train))
    objective = objective_of([model], dataset, train, [options], where)
    own = [] if objective is None else [p.requires_grad_() for p in objective.params.values()]
    steps = options.stepper([*model.parameters(), *own], where)
    passes = _Passes.of(model, machine)
    held_out = held_out_splits(dataset, names, where)
    rows: list[dict[str, float]] = []
    kept: dict[int, Params] = {0: _snapshot(model)} if 0 in kept_at else {}
    best: tuple[float, Params] | None = None
    change, draws = options.changes(dataset), options.draws()
    average = Average(model, first_averaged(options.epochs, options.swa))
    shown = model
    started = time.perf_counter()
    for epoch in _bar(options.epochs, progress):
        pairs = first if epoch == 1 else options.plan.draw(train, names, seed=options.seed, epoch=epoch - 1)
        loss, accuracy = _epoch(model, passes, steps, train, pairs, options, change, draws, objective)
        if not math.isfinite(loss):
            raise options.diverged(loss, epoch)
        # From swa on, what is reported is the average of the weights; its BatchNorm statistics want the rows once more.
        shown = average.after(
            epoch, (pairs.inputs(train, k) for k in cut_rows(torch.arange(len(pairs)), options.batch_size, model))
        )
        row = {"epoch": epoch, "loss": loss, "accuracy": accuracy}
        if objective is not None:
            row |= {name: float(mean) for name, mean in objective.means().items()}
        for split, samples in held_out.items():
            scores = evaluate(shown, samples) if scored(epoch) else (math.nan, math.nan)
            row[f"{split}_loss"], row[f"{split}_accuracy"] = scores
        row["seconds"] = time.perf_counter() - started
        rows.append(row)
        if options.choose == "best" and (best is None or row["val_loss"] < best[0]):
            best = (row["val_loss"], {k: v.clone() for k, v in shown.state_dict().items()})
        if epoch in kept_at:
            kept[epoch] = _snapshot(model)
        if checkpoints is not None:
            save_checkpoint(model, Path(checkpoints) / f"epoch-{epoch:04d}.safetensors", {"epoch": str(epoch)})
        if on_epoch is not None:
            on_epoch(row)
    # Scored after the choice, which looks at validation rows alone.
    if best is not None:
        shown.load_state_dict(best[1])
    _, score = evaluate(shown, held_out["test"])
    shown = shown if keep_on_device else shown.cpu()
    return Run(shown.eval(), as_history(rows), score, options.record(dataset, names, where), kept)


def scored_epochs(score_every: int, options: Options) -> Callable[[int], bool]:
    """Whether the held-out splits are scored after an epoch: every so many, and after the last.

    Args:
        score_every: how many.
        options: of the run.

    Returns:
        epoch -> whether.

    Raises:
        ValueError: the best epoch is to be chosen, and some are not scored.
    """
    every = check.integer("score_every", score_every, at_least=1)
    if every > 1 and options.choose == "best":
        raise ValueError(f"choose='best' compares all epochs; score_every must be 1 for it, got {every}.")
    return lambda epoch: epoch % every == 0 or epoch == options.epochs


def _epoch(
    model: nn.Module,
    passes: _Passes,
    steps: torch.optim.Optimizer,
    train: Samples,
    pairs: Pairs,
    options: Options,
    change: Augmentation | None,
    draws: tuple[torch.Generator, torch.Generator],
    objective: Objective | None = None,
) -> tuple[float, float]:
    """One pass over ``pairs``: mean loss and accuracy, as seen while training."""
    labels = pairs.labels(train)
    count, seen, sizes = len(pairs), [], []
    # Pairs come in the order of the split. A generator of its own shuffles them: another pairing, the same order.
    order = torch.randperm(count, generator=draws[0])
    if objective is not None:
        objective.epoch(pairs.rows[order][None].to(labels.device), labels[order.to(labels.device)][None])
    for at, take in enumerate(cut_rows(order, options.batch_size, model)):
        wanted, inputs = labels[take.to(labels.device)], pairs.inputs(train, take)
        if change is not None:
            inputs = change(inputs, draws[1])
        batch = _Batch(at * options.batch_size, pairs.rows[take].to(wanted.device), wanted, inputs)
        outputs, loss = _outputs_and_loss(passes, batch, options, objective)
        again = partial(_outputs_and_loss, passes, batch, options, objective, again=True)
        take_step(steps, loss, options.sam, lambda again=again: again()[1])  # type: ignore[misc]
        seen.append(torch.stack([loss.detach(), objectives.scores_of(outputs.detach(), wanted).mean().to(loss)]))
        sizes.append(len(take))
        if seen[-1].device.type == "cpu" and not math.isfinite(float(seen[-1][0])):
            break  # on a GPU the numbers are read once an epoch, so that no step waits for the one before
    total = right = 0.0
    for (loss_seen, share), size in zip(torch.stack(seen).tolist(), sizes, strict=True):
        total += loss_seen * size
        right += share * size
        if not math.isfinite(total):
            break
    return total / count, right / count


def cut_rows(order: Tensor, batch_size: int, model: nn.Module) -> list[Tensor]:
    """``order`` in batches; a last batch of one row joins the one before where BatchNorm needs two to have a variance.

    Args:
        order: (N,) row numbers.
        batch_size: rows of a batch.
        model: may hold a BatchNorm.

    Returns:
        The batches, each a piece of ``order``.

    Raises:
        ValueError: BatchNorm and batches of one row only.
    """
    parts = list(order.split(batch_size))
    if len(parts[-1]) > 1 or not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        return parts
    if len(parts[0]) == 1 and any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
        raise ValueError(
            f"BatchNorm needs at least two rows in a batch, and there is one (batch_size {batch_size}, {len(order)} "
            "rows of training data); use a larger batch_size, more rows, or norm='group'."
        )
    return [*parts[:-2], torch.cat(parts[-2:])] if batch_size > 1 else parts


@dataclass(frozen=True, eq=False)
class _Batch:
    """Rows of an epoch from ``start`` on: where they stand in the split, their labels and inputs."""

    start: int
    rows: Tensor
    labels: Tensor
    inputs: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class _Passes:
    """The ways through a model that a step asks for, as the machine runs them."""

    outputs: Callable[[dict[str, Tensor]], Tensor]
    seen: Callable[[dict[str, Tensor]], Seen]
    alone: Callable[[str, Tensor], Tensor]

    @classmethod
    def of(cls, model: nn.Module, machine: Machine) -> _Passes:
        """Those of ``model``."""
        through = machine.through
        return cls(through(partial(answer, model)), through(partial(see, model)), through(partial(alone, model)))


def _outputs_and_loss(
    passes: _Passes, batch: _Batch, options: Options, objective: Objective | None, again: bool = False
) -> tuple[Tensor, Tensor]:
    """The model's outputs, and the criterion or what the recipe makes of them."""
    if objective is None:
        outputs = passes.outputs(batch.inputs)
        return outputs, criterion(outputs, batch.labels, options.label_smoothing)
    seen = passes.seen(batch.inputs)
    first = Seen(
        {m: z[None] for m, z in seen.latents.items()}, {m: x[None] for m, x in seen.masks.items()}, seen.outputs[None]
    )
    part = slice(batch.start, batch.start + len(batch.labels))
    loss = objective(
        part, batch.rows[None], batch.labels[None], {m: x[None] for m, x in batch.inputs.items()}, first,
        lambda m, x: passes.alone(m, x[0])[None], again=again,
    )  # fmt: skip
    return seen.outputs, loss[0]


def objective_of(
    models: Sequence[nn.Module], dataset: Dataset, train: Samples, options: Sequence[Options], device: torch.device
) -> Objective | None:
    """The recipes' loss for members that train together; None where it is the plain task of :func:`criterion`.

    Raises:
        ValueError, TypeError: a recipe that the model or the data do not fit.
    """
    recipes = [o.recipe for o in options if o.recipe is not None]
    if not recipes or all(recipe.plain for recipe in recipes):
        return None
    for model in models:
        answering(model)
    contexts = [
        Context(model, dataset, train, o.seed, _teaching(dataset, o.seed, device))
        for model, o in zip(models, options, strict=True)
    ]
    return Objective(recipes, contexts)


# Nets that terms learn from, by dataset; forgotten with it.
_TEACHERS: WeakKeyDictionary[Dataset, dict[tuple[str, int, int, str], nn.Module]] = WeakKeyDictionary()


def share_teachers(dataset: Dataset, of: Dataset) -> None:
    """Let ``dataset``, which has the same rows of what teachers learn, know those that ``of`` has."""
    _TEACHERS[dataset] = _TEACHERS.setdefault(of, {})


def _teaching(dataset: Dataset, seed: int, device: torch.device) -> Callable[[str, int], nn.Module]:
    """``teach`` of a :class:`~xmodal_lab.terms.Context`: a net on one modality's training rows, trained once."""

    def teach(modality: str, width: int) -> nn.Module:
        known, key = _TEACHERS.setdefault(dataset, {}), (modality, width, seed, str(device))
        if key not in known:
            rows = dataset.train.select(modality).complete()
            kinds = {modality: dataset.kinds[modality]}
            world = Dataset(f"{dataset.name}: {modality}", rows, rows, dataset.classes, kinds=kinds)
            net = LateFusion.for_dataset(world, modality, width=width, seed=seed)
            known[key] = fit(
                net, world, epochs=TEACHER_EPOCHS, seed=seed, device=str(device), keep_on_device=True
            ).model
        return known[key]

    return teach


def epochs_kept(snapshots: int | Sequence[int] | None, epochs: int) -> frozenset[int]:
    """The epochs at whose end parameters are kept: every ``snapshots`` of ``epochs`` and the start, or those named.

    Raises:
        ValueError, TypeError: neither a whole number from 0 on nor such numbers up to ``epochs``.
    """
    if snapshots is None:
        return frozenset()
    if isinstance(snapshots, int) or not hasattr(snapshots, "__len__"):
        every = check.integer("snapshots", snapshots, at_least=0)
        return frozenset(range(0, epochs + 1, every)) if every else frozenset()
    named = [check.integer("an epoch in snapshots", one, at_least=0) for one in check.listed("snapshots", snapshots)]
    if late := [one for one in named if one > epochs]:
        raise ValueError(f"snapshots asks for epoch {late[0]}, the training has {epochs}.")
    return frozenset(named)


def as_history(rows: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """The history of a run as a table.

    Args:
        rows: one per epoch, name -> number, "epoch" among them.

    Returns:
        One row per epoch, indexed by it, one column per name.
    """
    import pandas as pd

    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "epoch"}
    return pd.DataFrame(columns, pd.Index([int(row["epoch"]) for row in rows], name="epoch"))


def _snapshot(model: nn.Module) -> Params:
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters()}


def _bar(epochs: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(range(1, epochs + 1), desc="training", unit="epoch", disable=not progress, leave=False)
