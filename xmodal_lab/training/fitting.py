"""Training: one net, one dataset, one pairing; the same seed gives the same run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..data import augmentation
from ..data.augmentation import Augmentation
from ..data.batches import out_of_memory
from ..data.pairing import MODES, Pairing, Pairs
from ..data.samples import Dataset, Samples
from ..losses import Params
from ..losses.criteria import check_labels
from ..models import objectives
from ..models.coarse import single, single_samples
from ..models.copies import copy_of
from ..models.evaluation import answer, device_of, eval_mode
from ..models.fusion import LateFusion
from ..models.latents import Seen, alone, answering, see
from ..utils import checks as check
from ..utils.torch_state import gradients, pick_device
from .checkpoints import save_checkpoint
from .flat_minima import Average, first_averaged, sharpened
from .recipe import Objective, Recipe
from .terms import Context

if TYPE_CHECKING:
    import pandas as pd

OPTIMIZERS = ("adam", "sgd")
CHOICES = ("last", "best")
TEACHER_EPOCHS = 30  # of the net that a term's latents come from (ours)


class DivergedError(FloatingPointError):
    """The loss became NaN or infinite; the message names epoch and learning rate."""


@dataclass(frozen=True)
class Options:
    """What one training run is asked, checked as it is made; :func:`fit` says what each field means.

    Raises:
        ValueError, TypeError: a setting that makes no sense.
    """

    pairing: str | Pairing = "fixed"
    share: float = 1.0
    epochs: int = 60
    batch_size: int = 64
    lr: float = 1e-3
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    choose: str = "last"
    seed: int = 0
    label_smoothing: float = 0.0
    sam: float = 0.0
    swa: float = 0.0
    augment: str = ""
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        if self.recipe is not None:
            check.instance("recipe", self.recipe, Recipe, "such as xl.recipes.dml(1.0)")
            if self.pairing != "fixed":
                raise ValueError("a recipe names its own pairing; give recipe.with_settings(pairing=…, share=…).")
            if self.label_smoothing:
                raise ValueError("a recipe smooths labels itself; give xl.terms.Task(label_smoothing=…).")
            object.__setattr__(self, "pairing", self.recipe.plan)
        if not isinstance(self.pairing, Pairing):
            mode = check.one_of("pairing", self.pairing, MODES)
            object.__setattr__(self, "pairing", Pairing(mode, self.share))
        plain: dict[str, float] = {
            "epochs": check.integer("epochs", self.epochs, at_least=1),
            "batch_size": check.integer("batch_size", self.batch_size, at_least=1),
            "seed": check.integer("seed", self.seed, at_least=0),
            "lr": check.positive("lr", self.lr),
            "momentum": check.non_negative("momentum", self.momentum),
            "weight_decay": check.non_negative("weight_decay", self.weight_decay),
            "label_smoothing": check.share("label_smoothing", self.label_smoothing),
            "sam": check.non_negative("sam", self.sam),
            "swa": check.share("swa", self.swa),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        check.one_of("optimizer", self.optimizer, OPTIMIZERS)
        check.one_of("choose", self.choose, CHOICES)
        if self.label_smoothing == 1:
            raise ValueError("label_smoothing must be below 1: at 1 the labels say nothing.")
        augmentation.named(self.augment)

    @property
    def plan(self) -> Pairing:
        """The pairing, as an object."""
        return cast(Pairing, self.pairing)  # __post_init__ made it one

    def stepper(self, params: Iterable[Any], device: torch.device) -> torch.optim.Optimizer:
        """The optimizer of ``params`` (tensors, or groups of them)."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(params, self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        # Adam's update is fused: one kernel instead of one per parameter and operation.
        fused = device.type in ("cpu", "cuda")
        return torch.optim.Adam(params, self.lr, weight_decay=self.weight_decay, fused=fused)

    def changes(self, dataset: Dataset) -> Augmentation | None:
        """What is done to training inputs."""
        return augmentation.augmentation(self.augment, dataset.kinds, dataset.shapes)

    def draws(self) -> tuple[torch.Generator, torch.Generator]:
        """Generators of the order of the rows, and of what augmentation draws."""
        return torch.Generator().manual_seed(self.seed), torch.Generator().manual_seed(self.seed + (1 << 40))

    def record(self, dataset: Dataset, modalities: Sequence[str], device: torch.device) -> dict[str, Any]:
        """Everything that decided the run, JSON-able."""
        plan = self.plan
        return {
            "dataset": dataset.name, "modalities": list(modalities), "pairing": plan.mode, "share": plan.share,
            "own": plan.own, "rows": plan.rows, "epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr,
            "optimizer": self.optimizer, "momentum": self.momentum, "weight_decay": self.weight_decay,
            "choose": self.choose, "label_smoothing": self.label_smoothing, "sam": self.sam, "swa": self.swa,
            "augment": self.augment, "seed": self.seed, "device": str(device), "torch": torch.__version__,
            **({} if self.recipe is None else {"recipe": self.recipe.record()}),
        }  # fmt: skip

    def diverged(self, loss: float, epoch: int) -> DivergedError:
        """The error to raise when the training loss is not finite."""
        return DivergedError(
            f"the training loss became {loss} in epoch {epoch} with learning rate {self.lr:g}; "
            "try a smaller lr, and look for extreme values in the inputs."
        )


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

    def save(self, path: str | Path) -> Path:
        """Write weights, history and settings to one safetensors file; returns its path."""
        meta = {
            "history": self.history.to_json(orient="split"),
            "settings": json.dumps(dict(self.settings), default=str),
        }
        return save_checkpoint(self.model, path, {**meta, "score": repr(self.score)})


@gradients()
def fit(
    net: nn.Module,
    dataset: Dataset,
    *,
    recipe: Recipe | None = None,
    pairing: str | Pairing = "fixed",
    share: float = 1.0,
    epochs: int = 60,
    batch_size: int = 64,
    lr: float = 1e-3,
    optimizer: str = "adam",
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    choose: str = "last",
    label_smoothing: float = 0.0,
    sam: float = 0.0,
    swa: float = 0.0,
    augment: str = "",
    seed: int = 0,
    device: str = "auto",
    keep_on_device: bool = False,
    snapshots: int | None = None,
    checkpoints: str | Path | None = None,
    progress: bool = False,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Run:
    """Train a copy of ``net``; the net itself stays as it was.

    Args:
        net: a :class:`~xmodal_lab.LateFusion`, or any module from a dict of inputs to logits
            that has a ``modalities`` attribute.
        dataset: trains on ``train``, reports ``test`` (and ``val``, if there is one) every epoch.
        recipe: the pairing and the terms of the loss, see :class:`~xmodal_lab.Recipe`; the task alone, under
            ``pairing``, when not given. Held-out losses are the task's.
        pairing: a mode ("fixed", "same_class", "permuted", "shuffled", "noisy") or a :class:`Pairing`.
        share: of the pairs that are drawn anew, in [0, 1]; 0 is SML, 1 is DML (dml, Sec 3.3).
        epochs, batch_size, lr, weight_decay: 60, 64, 1e-3, 1e-4 (WORLDS' digits world; ours).
        optimizer: "adam", or "sgd" with ``momentum`` 0.9 as in dml, App B.2.
        choose: keep the weights of the "last" epoch, or of the "best" one on ``dataset.val``.
        label_smoothing: share of the target that is spread over all classes (0.1 in Szegedy et al. 2016).
        sam: ρ of sharpness-aware minimisation (0.05 in Foret et al. 2021): each step takes the gradient at
            θ + ρ g/‖g‖, at twice the cost. 0: none.
        swa: share of the epochs, the last ones, whose weights are averaged (0.25 in Izmailov et al. 2018, at
            a constant learning rate); from then on the average is what is reported, chosen and returned.
        augment: names joined by "+" out of jitter, crop, flip, time_mask, frequency_mask; see
            :mod:`xmodal_lab.data.augmentation`.
        seed: of batches, pairings and augmentation. Initial weights belong to the net (``for_dataset(seed=…)``).
        device: "auto" (cuda, else mps, else cpu; cpu for float64 where a GPU has none), or a device name.
        keep_on_device: leave the trained model there, to be looked at; else it comes back to the CPU.
        snapshots: keep the parameters every so many epochs (and at the start), as trained, not averaged.
        checkpoints: a folder that gets ``epoch-0001.safetensors`` … as training goes.
        progress: show a tqdm bar.
        on_epoch: called with each row of the history.

    Raises:
        ValueError: bad settings, an unknown pairing, a modality that the dataset lacks,
            a class without a training sample, ``choose="best"`` without a validation split.
        DivergedError: the loss is NaN or infinite; names the epoch and the learning rate.

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", modalities=("image", "audio"), n_train=120, n_test=60)
        >>> net = xl.LateFusion.for_dataset(ds, architecture="mlp")
        >>> run = xl.fit(net, ds, pairing="same_class", share=0.5, epochs=2)
        >>> len(run.history), run.settings["share"]
        (2, 0.5)
    """
    options = Options(
        pairing, share, epochs, batch_size, lr, optimizer, momentum, weight_decay, choose, seed,
        label_smoothing, sam, swa, augment, recipe,
    )  # fmt: skip
    plan, seed = options.plan, options.seed
    epochs, batch_size, swa = options.epochs, options.batch_size, options.swa
    check.instance("net", net, nn.Module, "such as xl.LateFusion.for_dataset(dataset)")
    check_trainable(dataset, options)
    snapshots = None if snapshots is None else check.integer("snapshots", snapshots, at_least=0)
    checkpoints = None if checkpoints is None else check.path("checkpoints", checkpoints)
    if on_epoch is not None:
        check.function("on_epoch", on_epoch, "of a row of the history")
    net = single(net)
    where = pick_device(device, dtypes_of(net))
    model = copy_of(net).to(where).train()
    names = modalities_of(model, dataset)
    train = dataset.train.to(where)
    first = plan.draw(train, names, seed=seed, epoch=0)
    check_known("train", first.labels(train))
    objective = objective_of([model], dataset, train, [options], where)
    own = [] if objective is None else [p.requires_grad_() for p in objective.params.values()]
    steps = options.stepper([*model.parameters(), *own], where)
    held_out = held_out_splits(dataset, names, where)
    rows: list[dict[str, float]] = []
    kept: dict[int, Params] = {0: _snapshot(model)} if snapshots else {}
    best: tuple[float, Params] | None = None
    change, draws = options.changes(dataset), options.draws()
    average = Average(model, first_averaged(epochs, swa))
    shown = model
    started = time.perf_counter()
    for epoch in _bar(epochs, progress):
        pairs = first if epoch == 1 else plan.draw(train, names, seed=seed, epoch=epoch - 1)
        loss, accuracy = _epoch(model, steps, train, pairs, options, change, draws, objective)
        if not math.isfinite(loss):
            raise options.diverged(loss, epoch)
        shown = average.after(
            epoch, (pairs.inputs(train, k) for k in cut_rows(torch.arange(len(pairs)), batch_size, model))
        )
        row = {"epoch": epoch, "loss": loss, "accuracy": accuracy}
        if objective is not None:
            row |= {name: float(mean) for name, mean in objective.means().items()}
        for split, samples in held_out.items():
            row[f"{split}_loss"], row[f"{split}_accuracy"] = evaluate(shown, samples)
        row["seconds"] = time.perf_counter() - started
        rows.append(row)
        if choose == "best" and (best is None or row["val_loss"] < best[0]):
            best = (row["val_loss"], {k: v.clone() for k, v in shown.state_dict().items()})
        if snapshots and epoch % snapshots == 0:
            kept[epoch] = _snapshot(model)
        if checkpoints is not None:
            save_checkpoint(model, Path(checkpoints) / f"epoch-{epoch:04d}.safetensors", {"epoch": str(epoch)})
        if on_epoch is not None:
            on_epoch(row)
    if best is not None:
        shown.load_state_dict(best[1])
    _, score = evaluate(shown, held_out["test"])
    shown = shown if keep_on_device else shown.cpu()
    return Run(shown.eval(), as_history(rows), score, options.record(dataset, names, where), kept)


@torch.no_grad()
def evaluate(model: nn.Module, samples: Samples, batch_size: int = 1024) -> tuple[float, float]:
    """Mean loss and accuracy on ``samples``; for real-valued labels the second is minus the mean squared error.

    Args:
        model: a module from a dict of inputs to outputs; asked in eval mode and left in the mode it came in.
        samples: a split, such as ``dataset.test``.
        batch_size: rows at a time.

    Returns:
        (loss, score), two numbers.

    Raises:
        TypeError: no module, no samples.
        ValueError: outputs that do not fit the labels.
    """
    check.instance("model", model, nn.Module)
    check.instance("samples", samples, Samples, "such as dataset.test")
    batch_size = check.integer("batch_size", batch_size, at_least=1)
    model, samples = single(model), single_samples(samples)
    where = device_of(model, samples.labels.device)
    with eval_mode(model):  # on copies, in case the model works on its inputs in place
        outputs = torch.cat(
            [
                answer(model, {m: x[k : k + batch_size].to(where, copy=True) for m, x in samples.inputs.items()})
                for k in range(0, len(samples), batch_size)
            ]
        )
    labels = samples.labels.to(where)
    return float(criterion(outputs, labels)), _accuracy(outputs, labels)


def criterion(outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean loss that the labels ask for: cross-entropy of classes or tags, squared error of numbers.

    Args:
        outputs: (N, C) logits, or (N, d) numbers.
        labels: (N,) classes, (N, C) tags, or numbers shaped like ``outputs``.
        label_smoothing: share of a class's weight that all classes get alike.

    Returns:
        A scalar, in nats for classes and tags; it has a gradient where ``outputs`` do.

    Raises:
        TypeError: no tensors.
        ValueError: labels that do not fit the outputs in number, shape, dtype or device.
    """
    for what, value in (("outputs", outputs), ("labels", labels)):
        check.instance(what, value, Tensor)
    try:
        return objectives.loss_of(outputs, labels, label_smoothing=label_smoothing)
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        if out_of_memory(error):
            raise
        if objectives.task_of(labels) == "classes" and outputs.device == labels.device:
            check_labels(outputs, labels, [labels], None)
        raise ValueError(
            f"outputs ({outputs.dtype}, {tuple(outputs.shape)}, {outputs.device}) and labels ({labels.dtype}, "
            f"{tuple(labels.shape)}, {labels.device}) make no loss with label smoothing {label_smoothing!r}: {error}."
        ) from error


def _epoch(
    model: nn.Module,
    steps: torch.optim.Optimizer,
    train: Samples,
    pairs: Pairs,
    options: Options,
    change: Augmentation | None,
    draws: tuple[torch.Generator, torch.Generator],
    objective: Objective | None = None,
) -> tuple[float, float]:
    """One pass over ``pairs``: mean loss and accuracy, as seen while training."""
    labels, params = pairs.labels(train), [*model.parameters(), *(objective.params.values() if objective else ())]
    count, seen, sizes = len(pairs), [], []
    order = torch.randperm(count, generator=draws[0])
    if objective is not None:
        objective.epoch(pairs.rows[order][None].to(labels.device), labels[order.to(labels.device)][None])
    for at, take in enumerate(cut_rows(order, options.batch_size, model)):
        wanted, inputs = labels[take.to(labels.device)], pairs.inputs(train, take)
        if change is not None:
            inputs = change(inputs, draws[1])
        batch = _Batch(at * options.batch_size, pairs.rows[take].to(wanted.device), wanted, inputs)
        outputs, loss = _outputs_and_loss(model, batch, options, objective)
        _backward(loss, params)
        if options.sam:
            moved = [p for p in params if p.grad is not None]
            with sharpened(moved, [p.grad for p in moved if p.grad is not None], options.sam):
                _backward(_outputs_and_loss(model, batch, options, objective, again=True)[1], params)
        steps.step()
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


def check_known(split: str, labels: Tensor) -> None:
    """Refuse class labels -1, which mark rows whose class nobody knows."""
    unknown = 0 if labels.is_floating_point() or labels.dtype == torch.bool else int((labels < 0).sum())
    if unknown:
        raise ValueError(
            f"{unknown} of {len(labels)} {split} rows have unknown labels (-1), of which there is no loss; leave them "
            f"out with dataset.{split}.subset(dataset.{split}.labels >= 0)."
        )


@dataclass(frozen=True, eq=False)
class _Batch:
    """Rows of an epoch from ``start`` on: where they stand in the split, their labels and inputs."""

    start: int
    rows: Tensor
    labels: Tensor
    inputs: dict[str, Tensor]


def _outputs_and_loss(
    model: nn.Module, batch: _Batch, options: Options, objective: Objective | None, again: bool = False
) -> tuple[Tensor, Tensor]:
    """The model's outputs, and the criterion or what the recipe makes of them."""
    if objective is None:
        outputs = answer(model, batch.inputs)
        return outputs, criterion(outputs, batch.labels, options.label_smoothing)
    seen = see(model, batch.inputs)
    first = Seen(
        {m: z[None] for m, z in seen.latents.items()}, {m: x[None] for m, x in seen.masks.items()}, seen.outputs[None]
    )
    part = slice(batch.start, batch.start + len(batch.labels))
    loss = objective(
        part, batch.rows[None], batch.labels[None], {m: x[None] for m, x in batch.inputs.items()}, first,
        lambda m, x: alone(model, m, x[0])[None], again=again,
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


def _backward(loss: Tensor, params: Sequence[Tensor]) -> None:
    for p in params:
        p.grad = None
    loss.backward()
    for p in params:  # fused Adam on the CPU misreads gradients with transposed strides
        if p.grad is not None and not p.grad.is_contiguous():
            p.grad = p.grad.contiguous()


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float(objectives.scores_of(outputs, labels).mean())


def dtypes_of(net: nn.Module) -> set[torch.dtype]:
    """Of its parameters and buffers."""
    return {t.dtype for t in (*net.parameters(), *net.buffers())}


def modalities_of(model: nn.Module, dataset: Dataset) -> tuple[str, ...]:
    """The modalities that the model sees; all of the dataset's when it does not say."""
    asked = getattr(model, "modalities", None)
    return check.modalities_of(asked, dataset.modalities)


def check_trainable(dataset: Dataset, options: Options) -> None:
    """Refuse what does not fit the dataset, such as ``choose="best"`` without a validation split.

    Also classes that no training row has, smoothed labels that are numbers, augmentation that no modality takes.

    Args:
        dataset: the whole, with its splits.
        options: how it is to be trained.

    Raises:
        TypeError: a split in place of the whole.
        ValueError: what does not fit.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"training needs a Dataset, got {type(dataset).__name__}; give the whole, not one split of it.")
    if options.choose == "best" and dataset.val is None:
        raise ValueError(f"choose='best' needs a validation split; {dataset.name!r} has none (load it with one).")
    options.changes(dataset)
    labels = dataset.train.labels
    if options.label_smoothing and dataset.task != "classes":
        sort = "real-valued" if dataset.task == "values" else "several a row"
        raise ValueError(f"label_smoothing needs class labels; these are {sort}.")
    if dataset.classes and dataset.task != "values":
        counts = (
            labels.sum(0) if dataset.task == "labels"
            else torch.bincount(labels[labels >= 0], minlength=len(dataset.classes))
        )  # fmt: skip
        empty = [repr(dataset.classes[c]) for c in (counts == 0).nonzero()[:, 0].tolist()]
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(dataset.classes)} classes have no training sample: {', '.join(empty[:10])}; "
                "add samples of them, or leave them out of `classes`."
            )


def held_out_splits(dataset: Dataset, modalities: Sequence[str], device: torch.device) -> dict[str, Samples]:
    """The splits that are reported, not trained on; of each the rows that have all ``modalities``.

    Args:
        dataset: the whole.
        modalities: that a model sees.
        device: where the rows are put.

    Returns:
        Name -> samples, without "train".

    Raises:
        ValueError: rows of unknown class (-1).
    """
    held_out = {k: s.to(device).complete(modalities) for k, s in dataset.splits.items() if k != "train"}
    for split, samples in held_out.items():
        check_known(split, samples.labels)
    return held_out


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
