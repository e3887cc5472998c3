"""Train many members of a sweep together: each is the :func:`~xmodal_lab.fit` of its own settings.

What differs between members is data: initial weights, the order of batches, pairings (and
their share), which modalities they see, learning rate and weight decay. So one program
serves them all, and a small net's step costs little more for sixteen members than for one.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..data.pairing import Pairs, draw_together
from ..data.samples import Dataset, Samples
from ..losses import Params
from ..models.coarse import single
from ..models.copies import copy_of
from ..models.fusion import LateFusion
from ..models.latents import Seen
from ..utils import checks as check
from ..utils.graphs import Graphed
from ..utils.memory import in_halves
from ..utils.torch_state import gradients, pick_device
from .fitting import Run, as_history, epochs_kept, fit, objective_of, scored_epochs
from .flat_minima import first_averaged, sharpened
from .machine import machine_for
from .member_steps import MemberStepper
from .options import NAMES, OWN, DivergedError, Options
from .stacks import (
    Alone,
    MappedStack,
    ProductStack,
    Stack,
    member_accuracies,
    member_losses,
    why_not_mapped,
    why_not_products,
)
from .trainable import check_known, check_trainable, dtypes_of, modalities_of

# Parameters per member up to which a stack beats members one after another on a CPU. Products were
# measured 1.4 to 1.5 times faster at 300k and even at 700k (benchmarks/sweeps.py); vmap: FIELD_NOTES.
PRODUCTS_PAY = 300_000
VMAP_PAYS = 70_000


@gradients()
def fit_stack(
    nets: Sequence[nn.Module],
    dataset: Dataset,
    *,
    device: str = "auto",
    keep_on_device: bool = False,
    snapshots: int | Sequence[int] | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    score_every: int = 1,
    **settings: Any,
) -> list[Run | DivergedError]:
    """Train copies of K nets together; member k is ``fit(nets[k], dataset, ...)`` to round-off.

    Args:
        nets: of one shape. Late-fusion nets of dense layers may see different modalities.
        dataset: the same for all.
        device, keep_on_device: as in :func:`~xmodal_lab.fit`.
        snapshots: as in :func:`~xmodal_lab.fit`, of every member.
        on_epoch: called with ``epoch`` and the mean ``loss`` over the members; where memory ran out, of each part.
        score_every: as in :func:`~xmodal_lab.fit`.
        settings: as in :func:`~xmodal_lab.fit`. A list or tuple gives one value per member for
            pairing, share, lr, weight_decay, seed and recipe; the others are the same for all. Recipes of one
            stack differ in their settings alone.

    Returns:
        One Run per net; where a member diverged, its :class:`DivergedError` instead, since the
        others are not concerned. ``history["seconds"]`` is the time of the whole stack.

    Raises:
        ValueError: nets that cannot be stacked (the message says why), settings of the wrong
            length, pairings with different numbers of rows; as :func:`~xmodal_lab.fit`.

    Warns:
        UserWarning: memory ran out for all of them at once; they were trained in smaller stacks, to the same results.
    """
    options = _options(len(nets), settings)
    check_trainable(dataset, options[0])
    kept_at = epochs_kept(snapshots, options[0].epochs)
    scored = scored_epochs(score_every, options[0])
    nets = [single(net) for net in nets]
    where = pick_device(device, set().union(*map(dtypes_of, nets)))

    def together(members: Sequence[int]) -> list[Run | DivergedError]:
        # Members that share learning rate and weight decay stand side by side: one optimizer serves each such part.
        order = sorted(members, key=lambda k: (options[k].lr, options[k].weight_decay))
        run = _StackedRun([_on(where, copy_of(nets[k])) for k in order], dataset, [options[k] for k in order], where)
        kept: list[dict[int, Params]] = [{} for _ in order]
        for epoch in range(options[0].epochs + 1):
            if epoch:
                run.epoch(epoch, scored(epoch))
            if epoch in kept_at:
                for k, mine in enumerate(kept):
                    mine[epoch] = {name: p.cpu() for name, p in run.stack.state(k).items()}
            if epoch and on_epoch is not None:
                on_epoch({"epoch": epoch, "loss": run.mean_loss()})
            if all(run.errors):
                break
        runs = dict(zip(order, run.results(kept, keep_on_device), strict=True))
        return [runs[k] for k in members]

    return in_halves(together, range(len(nets)), "members of a stack")


def stack_of(nets: Sequence[nn.Module], dataset: Dataset) -> Stack:
    """The fastest stack that fits ``nets``.

    Raises:
        ValueError: none does; says why.
    """
    if why_not_products(nets) is None:
        return ProductStack([net for net in nets if isinstance(net, LateFusion)], dataset.modalities)
    reason = why_not_mapped(nets)
    if reason is not None:
        raise ValueError(f"these nets cannot be trained as one stack: {reason}. Train them with fit, one by one.")
    return MappedStack(nets)


def stackable(nets: Sequence[nn.Module]) -> bool:
    """Whether these nets can train as one stack of some sort."""
    return why_not_products(nets) is None or why_not_mapped(nets) is None


def pays(net: nn.Module, device: str = "auto") -> bool:
    """Whether a stack of nets like this one is faster than one after another, as measured (benchmarks/).

    On a GPU always, if it can be stacked; on a CPU for small nets of dense layers.
    """
    if pick_device(device, dtypes_of(net)).type == "cuda":
        return stackable([net])
    products, mapped = why_not_products([net]) is None, why_not_mapped([net]) is None
    size = sum(p.numel() for p in net.parameters())
    conv = any(isinstance(m, nn.modules.conv._ConvNd) for m in net.modules())
    return (products and size <= PRODUCTS_PAY) or (mapped and not conv and size <= VMAP_PAYS)


class _StackedRun:
    """The members of one stack, epoch by epoch."""

    def __init__(
        self, nets: Sequence[nn.Module], dataset: Dataset, options: Sequence[Options], device: torch.device
    ) -> None:
        self.nets, self.dataset, self.options, self.device = nets, dataset, options, device
        self.names = [modalities_of(net, dataset) for net in nets]
        self.union = [m for m in dataset.modalities if any(m in names for names in self.names)]
        self.stack = stack_of(nets, dataset)
        asked = options[0]
        self.stack.use(machine_for(asked.precision, asked.compile, device, dtypes_of(nets[0])))
        self.fed = list(self.union)  # inputs in the order in which a step takes them
        me = weakref.proxy(self)  # no circle: what a run holds goes with it
        self.graphed = Graphed(lambda labels, *inputs: me._plain(labels, *inputs), "a stacked step")
        self.train = dataset.train.to(device)
        self.host_labels = dataset.train.labels.cpu()
        self.objective = objective_of(nets, dataset, self.train, options, device)
        if self.objective is not None and len(set(self.names)) > 1:
            raise ValueError("under a recipe the members of a stack see the same modalities; put others in another.")
        self.inputs = self.stack.prepare(self.train.inputs)
        self.splits = {k: self._held_out(k, s.to(device)) for k, s in dataset.splits.items() if k != "train"}
        self.first = self._draw(0)
        for pairs in self.first:
            check_known("train", pairs.labels(self.train))
        counts = sorted({len(pairs) for pairs in self.first})
        if len(counts) > 1:
            raise ValueError(
                f"the members of a stack need epochs of one length, these have {' and '.join(map(str, counts))} rows; "
                "put those with the same pairing rows (and, for rows='all', the same modalities) in one stack."
            )
        self.rows = counts[0]
        self.draws = [o.draws() for o in options]
        self.change = options[0].changes(dataset)
        self.stack.label_smoothing = options[0].label_smoothing
        self.first_averaged = first_averaged(options[0].epochs, options[0].swa)
        self.average: Params = {}
        self.steppers = self._steppers()
        self.history: list[list[dict[str, float]]] = [[] for _ in nets]
        self.errors: list[DivergedError | None] = [None] * len(nets)
        self.best = torch.full((len(nets),), math.inf, dtype=torch.float64)
        self.best_params: Params | None = None
        self.started = time.perf_counter()

    def epoch(self, epoch: int, scored: bool = True) -> None:
        """One pass of every member over its own pairs, in its own order, and one row of history each."""
        index, host_rows = self._table(epoch)
        rows = host_rows.to(self.device)
        labels = self.train.labels[rows]
        if self.objective is not None:
            self.objective.epoch(host_rows, self.host_labels[host_rows])
        sizes, losses, accuracies = [], [], []
        for start in range(0, self.rows, self.options[0].batch_size):
            part = slice(start, start + self.options[0].batch_size)
            wanted = labels[:, part]
            batch = self._changed({m: _gather(self.inputs[m], where[:, part]) for m, where in index.items()})
            each, outputs, gradients = self._gradients(part, rows[:, part], wanted, batch)
            if rho := self.options[0].sam:
                moved = [*self.stack.params.values(), *(self.objective.params.values() if self.objective else ())]
                with sharpened(moved, list(gradients.values()), rho, members=True):
                    gradients = self._gradients(part, rows[:, part], wanted, batch, again=True)[2]
            self._step(gradients)
            sizes.append(wanted.shape[1])
            losses.append(each)
            accuracies.append(member_accuracies(outputs, wanted))
        numbers = torch.stack([torch.stack(losses), torch.stack(accuracies).to(losses[0])]).cpu()  # one wait
        seen = zip(*(_epoch_mean(each, sizes) for each in numbers), strict=True)
        if epoch >= self.first_averaged:
            self._add_to_average(1 + epoch - self.first_averaged)
        held_out = self._evaluate() if scored else self._unscored()
        means = {} if self.objective is None else self.objective.means()
        for k, (loss, accuracy) in enumerate(seen):
            if self.errors[k] is None and not math.isfinite(loss):
                self.errors[k] = self.options[k].diverged(loss, epoch)
            terms = {name: float(mean[k]) for name, mean in means.items()}
            row = {"epoch": epoch, "loss": loss, "accuracy": accuracy, **terms, **held_out[k]}
            self.history[k].append({**row, "seconds": time.perf_counter() - self.started})
        if self.options[0].choose == "best":
            self._keep_best()

    def mean_loss(self) -> float:
        """Mean training loss of the members that have not diverged."""
        losses = [rows[-1]["loss"] for rows, error in zip(self.history, self.errors, strict=True) if error is None]
        return sum(losses) / len(losses) if losses else math.nan

    def results(self, kept: Sequence[Mapping[int, Params]], keep_on_device: bool = False) -> list[Run | DivergedError]:
        """What :func:`fit_stack` returns."""
        # In this order: weights chosen on validation, else the average, else the last ones; as in fit.
        self.stack.params = self.best_params or self.average or self.stack.params
        self.average = {}
        # The last epoch's scores are of the weights that it showed.
        rows = [each[-1] for each in self.history] if self.best_params is None else self._evaluate()
        runs: list[Run | DivergedError] = []
        for k, net in enumerate(self.nets):
            error = self.errors[k]
            if error is not None:
                runs.append(error)
                continue
            state = self.stack.state(k)
            with torch.no_grad():
                for name, p in net.named_parameters():  # it has no buffers
                    p.copy_(state[name])
            record = self.options[k].record(self.dataset, self.names[k], self.device)
            net = net if keep_on_device else _on(torch.device("cpu"), net)
            score = rows[k]["test_accuracy"]
            runs.append(Run(net.eval(), as_history(self.history[k]), score, record, dict(kept[k])))
        return runs

    # -- pairs -----------------------------------------------------------------------------------

    def _gradients(
        self, part: slice, rows: Tensor, labels: Tensor, batch: dict[str, Tensor], again: bool = False
    ) -> tuple[Tensor, Tensor, Params]:
        """Loss (K,), outputs and gradients of the batch; those of a recipe's own parameters behind the nets'."""
        objective = self.objective
        if objective is None:
            found = self.graphed(labels, *batch.values())
            assert found is not None
            each, outputs, *raw = found
            return each, outputs, dict(zip(self.stack.params, raw, strict=True))

        def loss(seen: Seen, alone: Alone, own: Params) -> Tensor:
            return objective(part, rows, labels, batch, seen, alone, own, again)

        each, outputs, ours, theirs = self.stack.under(batch, loss, objective.params)
        return each, outputs, {**ours, **theirs}

    def _plain(self, labels: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Loss, outputs and gradients of a batch, without a recipe."""
        each, outputs, raw = self.stack.gradients(dict(zip(self.fed, inputs, strict=True)), labels)
        return each, outputs, *raw.values()

    def _table(self, epoch: int) -> tuple[dict[str, Tensor], Tensor]:
        """By modality the rows that each member's inputs come from, in its order; its own rows, on the CPU: (K, n)."""
        # Inputs are gathered by index inside the stack, member by member: nobody holds K copies of the data.
        pairs = self.first if epoch == 1 else self._draw(epoch - 1)
        order = torch.stack([torch.randperm(self.rows, generator=draws) for draws, _ in self.draws])
        rows = torch.stack([p.rows for p in pairs])
        # Where a modality is masked, any row will do.
        index = {m: torch.stack([p.index.get(m, p.rows) for p in pairs]).gather(1, order) for m in self.union}
        return {m: where.to(self.device) for m, where in index.items()}, rows.gather(1, order)

    def _changed(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch (K, B, ...) after augmentation: each member draws for what it sees, as alone."""
        if self.change is None:
            return batch
        changed, alike = dict(batch), len(set(self.names)) == 1
        for names in dict.fromkeys(self.names):
            members = [k for k, theirs in enumerate(self.names) if theirs == names]
            mine = {m: batch[m] if alike else batch[m][members] for m in names}
            rows = {m: x.reshape(-1, *self.dataset.shapes[m]) for m, x in mine.items()}
            for m, x in self.change(rows, [self.draws[k][1] for k in members]).items():
                x = x.view(mine[m].shape)
                changed[m] = x if alike else changed[m].index_copy(0, torch.tensor(members, device=x.device), x)
        return changed

    def _draw(self, epoch: int) -> list[Pairs]:
        """The pairs of every member; those that never change are not drawn again."""
        plans = [o.plan for o in self.options]
        still = [k for k, p in enumerate(plans) if epoch and (p.mode == "fixed" or p.share == 0)]
        moving = [k for k in range(len(plans)) if k not in set(still)]
        drawn = draw_together(
            [plans[k] for k in moving], self.train, [self.names[k] for k in moving],
            seeds=[self.options[k].seed for k in moving], epoch=epoch,
        )  # fmt: skip
        found = {**{k: self.first[k] for k in still}, **dict(zip(moving, drawn, strict=True))}
        return [found[k] for k in range(len(plans))]

    # -- weights ---------------------------------------------------------------------------------

    def _steppers(self) -> list[tuple[slice, list[Tensor], torch.optim.Optimizer | MemberStepper]]:
        """(members, their part of the parameters, its optimizer) per distinct learning rate and weight decay.

        On a GPU, where an optimizer is a launch or more, one with rates per member serves all.
        """
        rates = [(o.lr, o.weight_decay) for o in self.options]
        steppers: list[tuple[slice, list[Tensor], torch.optim.Optimizer | MemberStepper]] = []
        if len(set(rates)) > 1 and self.device.type != "cpu":
            own = () if self.objective is None else self.objective.params.values()
            parts = [*self.stack.params.values(), *own]
            return [(slice(None), parts, MemberStepper(parts, self.options, self.device))]
        for rate in dict.fromkeys(rates):
            members = slice(rates.index(rate), rates.index(rate) + rates.count(rate))
            own = () if self.objective is None else self.objective.params.values()
            parts = [p[members] for p in (*self.stack.params.values(), *own)]
            steppers.append((members, parts, self.options[members.start].stepper(parts, self.device)))
        return steppers

    def _step(self, gradients: Params) -> None:
        for members, parts, stepper in self.steppers:
            for part, gradient in zip(parts, gradients.values(), strict=True):
                part.grad = gradient[members].contiguous()  # fused Adam on the CPU misreads transposed strides
            stepper.step()

    def _add_to_average(self, count: int) -> None:
        for name, p in self.stack.params.items():
            self.average[name] = p.clone() if count == 1 else self.average[name].lerp_(p, 1 / count)

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Inside, the stack has the weights that are reported: the trained ones, or their average."""
        trained, self.stack.params = self.stack.params, self.average or self.stack.params
        try:
            yield
        finally:
            self.stack.params = trained

    def _keep_best(self) -> None:
        losses = torch.tensor([rows[-1]["val_loss"] for rows in self.history], dtype=torch.float64)
        better, now = losses < self.best, self.average or self.stack.params
        if self.best_params is None:
            self.best_params = {name: p.clone() for name, p in now.items()}
        for name, kept in self.best_params.items():
            kept[better] = now[name][better]
        self.best = torch.where(better, losses, self.best)

    # -- held-out data ---------------------------------------------------------------------------

    def _held_out(self, split: str, samples: Samples) -> list[tuple[list[int], dict[str, Tensor], Tensor]]:
        """(members, inputs, labels): members whose modalities are present in the same rows stand together."""
        by_rows: dict[tuple[bool, ...], list[int]] = {}
        for k, names in enumerate(self.names):
            rows = torch.stack([samples.present[m] for m in names]).all(0)
            by_rows.setdefault(tuple(rows.tolist()), []).append(k)
        parts = []
        for members in by_rows.values():
            seen = samples.complete(self.names[members[0]])
            check_known(split, seen.labels)
            parts.append((members, self.stack.prepare(seen.inputs), seen.labels))
        return parts

    def _evaluate(self, rows: int = 1024) -> list[dict[str, float]]:
        """Loss and accuracy of every member on every held-out split."""
        with self._shown():
            return self._scores(rows)

    def _unscored(self) -> list[dict[str, float]]:
        names = [f"{split}_{what}" for split in self.splits for what in ("loss", "accuracy")]
        return [dict.fromkeys(names, math.nan) for _ in self.nets]

    def _scores(self, rows: int) -> list[dict[str, float]]:
        found: list[dict[str, float]] = [{} for _ in self.nets]
        seen: list[Tensor] = []  # read at once: the host waits for a GPU once
        places: list[tuple[str, int]] = []
        for split, groups in self.splits.items():
            for members, inputs, labels in groups:
                parts = [
                    self.stack.outputs({m: x[i : i + rows] for m, x in inputs.items()})
                    for i in range(0, len(labels), rows)
                ]
                outputs = torch.cat(parts, 1)[members]
                wanted = labels.expand(len(members), *labels.shape)
                losses = member_losses(outputs, wanted)
                seen.append(torch.stack([losses, member_accuracies(outputs, wanted).to(losses)], 1))
                places += [(split, k) for k in members]
        for (split, k), (loss, accuracy) in zip(places, torch.cat(seen).tolist() if seen else [], strict=True):
            found[k] |= {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
        return found


def _options(count: int, settings: Mapping[str, Any]) -> list[Options]:
    """One Options per member; a list gives one value per member."""
    for name, value in settings.items():
        check.one_of("setting", name, NAMES)
        if isinstance(value, (list, tuple)):
            if name not in OWN:
                raise ValueError(f"{name} must be the same for all members of a stack; per member: {', '.join(OWN)}.")
            if len(value) != count:
                raise ValueError(f"{name} has {len(value)} values for {count} nets; give one each, or a single value.")
    if count == 0:
        raise ValueError("a stack needs at least one net, got none.")
    each = {k: v if isinstance(v, (list, tuple)) else [v] * count for k, v in settings.items()}
    return [Options(**{name: values[k] for name, values in each.items()}) for k in range(count)]


def _on(device: torch.device, net: nn.Module) -> nn.Module:
    """``net`` on ``device``; where it is there, it is left alone: looking costs less than moving a small net."""
    return net if all(t.device == device for t in (*net.parameters(), *net.buffers())) else net.to(device)


def _epoch_mean(values: Tensor, sizes: Sequence[int]) -> list[float]:
    """Mean over the rows of an epoch of per-batch means (K,); where it stops being finite, what it was then."""
    sums = (values.double() * torch.tensor(sizes)[:, None]).cumsum(0)
    first_bad = (~torch.isfinite(sums)).int().argmax(0)
    last = torch.where(first_bad > 0, first_bad, len(sums) - 1)
    last[~torch.isfinite(sums[0])] = 0
    means: list[float] = (sums.gather(0, last[None])[0] / sum(sizes)).tolist()
    return means


def _gather(samples: Tensor, rows: Tensor) -> Tensor:
    """Samples (N, ...) at rows (K, B) -> (K, B, ...)."""
    return samples.index_select(0, rows.reshape(-1)).unflatten(0, rows.shape)


def fit_all(
    nets: Sequence[nn.Module], dataset: Dataset, *, together: bool | None = None, **settings: Any
) -> list[Run | DivergedError]:
    """Train all nets, as one stack where that is possible and wanted, else one by one.

    Args:
        nets, dataset, settings: as of :func:`fit_stack`.
        together: whether a stack is wanted; None asks :func:`pays`. A sweep asked that before it put members together.

    Returns:
        As :func:`fit_stack`.
    """
    wanted = pays(nets[0], settings.get("device", "auto")) if together is None else together
    if len(nets) > 1 and wanted and stackable(nets):
        return fit_stack(nets, dataset, **settings)
    runs: list[Run | DivergedError] = []
    for k, net in enumerate(nets):
        # A list of epochs in snapshots is for all members; of OWN a list has one value for each.
        each = {name for name, value in settings.items() if name in OWN and isinstance(value, (list, tuple))}
        mine = {name: value[k] if name in each else value for name, value in settings.items()}
        try:
            runs.append(fit(net, dataset, **mine))
        except DivergedError as error:
            runs.append(error)
    return runs
