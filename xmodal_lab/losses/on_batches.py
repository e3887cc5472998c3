"""A module on fixed batches: what a loss of it evaluates, checked at the door.

Three things make a grid of points cheap on a processor: a private copy of the module whose
parameters are written in place, chunks of rows that stay in the cache, and first layers
whose output is affine in their weights, so that three products serve every point.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batches import each, on_device, ordinary, own, said, tensors_in, versions
from ..models.copies import bare, uncompiled
from ..models.evaluation import eval_mode
from ..models.modules import Params, call_with, keeping_nothing_of_vmap, places_of
from ..utils import checks as check
from ..utils.memory import out_of_memory
from . import standins
from .chunks import Chunks
from .criteria import (
    FAILURES,
    Guard,
    HalfPrecision,
    Reads,
    ReadsMore,
    check_criterion,
    check_graph,
    keeps,
    owned_by,
    reads_nothing_else,
    unshared,
)
from .cross_entropy import cross_entropy
from .parameters import fitted, scalar
from .scratch import Scratch
from .targets import as_labels, check_alike, check_labels, takes_classes


class OnBatches:
    """A module, its batches and its criterion.

    Args:
        module: looked at in eval mode, and left as it was.
        batches: moved to the module's device.
        criterion, target, batchnorm, name: as in :meth:`xmodal_lab.Loss.from_module`.
        params: θ.
    """

    def __init__(
        self,
        module: nn.Module,
        batches: list[Any],
        criterion: Callable[[Any, Any], Tensor] | None,
        target: str,
        batchnorm: str,
        name: str,
        params: Params,
    ) -> None:
        self.module, self.target, self.name = bare(module), target, name
        if criterion is not None:
            check.function("criterion", criterion, "from (outputs, targets) to a scalar")
        self.criterion = cross_entropy if criterion is nn.functional.cross_entropy else criterion
        self._owned = None if reads_nothing_else(self.criterion or cross_entropy) else owned_by(self.module)
        self.batchnorm = check.one_of("batchnorm mode", batchnorm, ("keep", "recalibrate"))
        # Whether a call writes to buffers, as BatchNorm in train mode does; then each gets copies. None: not seen yet.
        self._writes_buffers: bool | None = True if batchnorm == "recalibrate" else None
        self._writes_batch = False  # likewise to its batch
        self._looked = False  # at what the criterion reads, and at whether batches may be averaged
        self._read_first: set[str] = set()  # parameters that the first forward read
        self._places = places_of(self.module)
        # Of a sparse gradient torch takes no second derivative; which kind it is changes no number.
        kinds = (nn.Embedding, nn.EmbeddingBag)
        self._sparse = [m for m in self.module.modules() if isinstance(m, kinds) and m.sparse]
        self.batches = [self._ready(batch) for batch in batches]
        self.params, self.held = params, Params()
        self._follow()
        self._try()

    def at(self, params: Params, held: Params) -> OnBatches:
        """The same with θ, and further tensors of the module's state, elsewhere."""
        found = object.__new__(type(self))
        vars(found).update(vars(self))
        found.params, found.held = params, {**self.held, **held}
        found._follow(self.chunks)
        return found

    def _follow(self, known: Chunks | None = None) -> None:
        whole, me = self.batchnorm == "recalibrate", weakref.proxy(self)  # no circle: what is held here goes with it

        def on(params: Params, batch: Any) -> Tensor:
            return me.on(params, batch)

        def score(call: Callable[..., Any], batch: Any) -> Tensor:
            return me.score(call, batch)

        self.chunks = Chunks(self.batches, on, self.params, self.module, self.name, whole, known)
        self.copy = Scratch(self.module, self.params, self.held, score, on)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which follow their own."""
        return {k: v for k, v in vars(self).items() if k not in ("chunks", "copy")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._follow()

    # -- evaluation ------------------------------------------------------------------------------

    def __call__(self, params: Params) -> Tensor:
        """The mean over the batches as they were given, weighted by their rows."""
        self.look()
        parts = [weight * self.on(params, batch) for weight, batch in self.chunks.whole()]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def on(self, params: Params, batch: Any) -> Tensor:
        """The loss of one batch at ``params``."""
        with self.looking():
            before = versions(batch)
            value, wrote = self._with(params, lambda call: self.score(call, batch))
            if self._writes_buffers is None:  # seen once: in place, or a new tensor under the name
                self._writes_buffers = wrote
            if versions(batch) != before:
                raise ValueError(
                    f"{self.name}: the module changed its inputs in place, and did not on the first rows; let its "
                    "forward work on a copy (x = x.clone())."
                )
            return value

    def outputs_on(self, params: Params, batch: Any) -> tuple[Any, Any]:
        """What the module gives for one batch at ``params``, differentiable, and the target."""
        with self.looking():
            given = own(batch) if self._writes_batch else batch
            return self._with(params, lambda call: self._answer(call, given))[0]

    def _with(self, params: Params, do: Callable[[Callable[..., Any]], Any]) -> tuple[Any, bool]:
        """``do(call)``, where ``call`` is the module with ``params`` in its places; and whether it wrote to buffers."""
        buffers = {} if self._writes_buffers is False else dict(self.module.named_buffers())
        copies = {k: check.ordinary(self.held.get(k, b).clone()) for k, b in buffers.items()}
        state = {**self.held, **params, **copies}
        with keeping_nothing_of_vmap(self.module):
            value = do(lambda *a, **k: call_with(self.module, state, a, k, self._places))
        return value, any(state[k] is not b or b._version for k, b in copies.items())

    def score(self, call: Callable[..., Any], batch: Any) -> Tensor:
        """The loss of one batch, where ``call`` stands for the module."""
        outputs, target = self._answer(call, own(batch) if self._writes_batch else batch)
        if self.criterion is None and isinstance(batch, Mapping):
            return scalar(self._own_loss(outputs), self.name)
        return self.criterion_of(outputs, target)

    def criterion_of(self, outputs: Any, target: Any) -> Tensor:
        """The criterion of outputs and target, a scalar; it reads nothing else of the module, however it came here."""
        criterion = self.criterion or cross_entropy
        if self._owned is None:
            return scalar(criterion(outputs, target), self.name)
        with Guard(self._owned, [outputs, target]):
            value = criterion(outputs, target)
        return scalar(value, self.name)

    def _answer(self, call: Callable[..., Any], batch: Any) -> tuple[Any, Any]:
        """What the module makes of a batch, and the target; a model with a loss of its own gets its target too."""
        if not isinstance(batch, Mapping):
            return call(*batch[:-1]), batch[-1]
        if self.criterion is None:
            return call(**batch), None
        return call(**{k: v for k, v in batch.items() if k != self.target}), self._target_of(batch)

    def _target_of(self, batch: Any) -> Any:
        if not isinstance(batch, Mapping):
            return batch[-1]
        if self.target not in batch:
            raise ValueError(f"the batch has no {self.target!r}; it has {list(batch)}. Name it with target=….")
        return batch[self.target]

    def _own_loss(self, output: Any) -> Any:
        loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if loss is None:
            raise ValueError(
                f"the model returned {type(output).__name__} without a loss; put {self.target!r} in the "
                "batch, or give a criterion(output, target), such as torch.nn.functional.cross_entropy."
            )
        return loss

    @contextmanager
    def looking(self) -> Iterator[None]:
        """The module in eval mode while the context lasts (BatchNorm in train mode when it recalibrates)."""
        with eval_mode(self.module), uncompiled(self.module):
            if self.batchnorm == "recalibrate":
                for m in self.module.modules():
                    if isinstance(m, nn.modules.batchnorm._BatchNorm):
                        m.training = True
            for table in self._sparse:
                table.sparse = False
            try:
                yield
            finally:
                for table in self._sparse:
                    table.sparse = True

    def has_scratch(self) -> bool:
        """Whether a copy of the module gives what the module gives."""
        self.look()
        return self.copy.copy(self.few) is not None and not self._writes_buffers

    def few(self) -> Any:
        """A few rows, on which a copy is tried."""
        return self.chunks.cut(standins.FEW_ROWS)[0][1]

    def rest(self) -> Params:
        """What the module holds besides θ: frozen parameters and floating buffers that are saved with it."""
        saved = self.module.state_dict()
        named = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        named = {**{k: named[k] for k in named if k in saved}, **self.held}
        return {k: v.detach() for k, v in named.items() if k not in self.params}

    def split(self, state: Mapping[str, Tensor], what: str) -> tuple[Params, Params]:
        """``state`` as parts of θ, checked, and as the buffers and frozen parameters that differ from ours."""
        rest = self.rest() if isinstance(state, Mapping) else {}
        beside = {k: state[k] for k in rest if k in state}
        theirs = fitted(rest, beside, what) if beside else {}
        differ = {k: v for k, v in theirs.items() if not torch.equal(v, rest[k])}
        if theirs and len(theirs) == len(state):
            return {}, differ
        return fitted(self.params, {k: v for k, v in state.items() if k not in rest} if rest else state, what), differ

    # -- at the door -----------------------------------------------------------------------------

    def _ready(self, batch: Any) -> Any:
        """The batch as it is kept: where the module is, and class numbers as int64."""
        if not isinstance(batch, Mapping):
            batch = tuple(batch) if type(batch) is list else batch
            if takes_classes(self.criterion) and not hasattr(batch, "_fields"):
                batch = (*batch[:-1], as_labels(batch[-1]))
        elif self.criterion is not None and takes_classes(self.criterion) and self.target in batch:
            batch = {**batch, self.target: as_labels(batch[self.target])}
        devices = {p.device for p in self.module.parameters()}
        moves = len(devices) == 1 and any(t.device not in devices for t in tensors_in(batch))
        return ordinary(on_device(batch, devices.pop()) if moves else batch)

    def _try(self) -> None:
        """Run the module once, on copies of a few rows: what does not fit is said before any work."""
        few = self.chunks.few(2)
        try:
            with Reads(unshared(self.params)) as reads:
                outputs, target = self._outputs(few)
            self._read_first = set(reads.seen)
        except FAILURES:  # perhaps because it cannot be cut
            few = self.batches[0]
            try:
                outputs, target = self._outputs(few)
            except FAILURES as error:
                if out_of_memory(error):
                    raise
                raise self._failed(error) from error
        if self.criterion is None and isinstance(few, Mapping):
            self._own_loss(outputs)
        elif takes_classes(self.criterion):
            targets = [self._target_of(batch) for batch in self.batches]
            if isinstance(outputs, Tensor) and len(outputs) != len(target):
                outputs, target = self._outputs(self.batches[0])
            check_labels(outputs, target, targets, self.criterion)
        else:
            check_alike(outputs, target, self.criterion)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _outputs(self, batch: Any, params: Params | None = None) -> tuple[Any, Any]:
        """Outputs and target of copies of ``batch``; notes whether the module works on its inputs in place."""
        mine = own(batch)
        before = versions(mine)
        with self.looking():
            (outputs, target), _ = self._with(params or self.params, lambda call: self._answer(call, mine))
        self._writes_batch |= versions(mine) != before
        return outputs, target

    def _failed(self, error: Exception) -> Exception:
        kind, first = (TypeError if isinstance(error, TypeError) else ValueError), self.batches[0]
        how = "module(*inputs) on all but the last item of a tuple batch"
        if isinstance(first, Mapping):
            how = "module(**batch) on a dict batch"
            how += "" if self.criterion is None else f" without {self.target!r}"
            if self.criterion is None:
                how += (
                    f" of {list(first)}, since no criterion was given; a model that returns no loss of its own needs "
                    "criterion=torch.nn.functional.cross_entropy, and one that takes one dict needs batches "
                    "(dict, labels)"
                )
        return kind(
            f"{type(self.module).__name__} failed on the first batch ({said(first)}), called as {how}: "
            f"{error}{self._other_dtype(first)}"
        )

    def _other_dtype(self, batch: Any) -> str:
        """A remedy, where module and batch are in different floating dtypes."""
        mine = {p.dtype for p in self.module.parameters() if p.is_floating_point()}
        theirs = {t.dtype for t in tensors_in(batch) if t.is_floating_point()}
        if len(mine) != 1 or not theirs or theirs <= mine:
            return ""
        one, other = next(iter(mine)), next(iter(theirs - mine))
        return f"; the module is in {one}, the batch in {other}: cast one of them, as by module.to({other})."

    def look(self) -> None:
        """At the first evaluation: what criterion and module read, and whether batches may be averaged."""
        if self._looked or torch._C._functorch.peek_interpreter_stack() is not None:
            return
        self._looked = True
        try:
            if self.criterion is not None and self.criterion is not cross_entropy:
                self._look_at_criterion(self.criterion)
            self._look_at_graph()
            self.chunks.tell_of_batches()
        except BaseException:
            self._looked = False
            raise

    @torch.inference_mode(False)
    def _look_at_criterion(self, criterion: Callable[[Any, Any], Any]) -> None:
        """Run the criterion on a few rows, or on all of the first batch where it fails on those."""
        tries = [self.chunks.few(standins.FEW_ROWS), self.chunks.few(2), self.batches[0]]
        for batch in tries:
            try:
                outputs, target = self._outputs(batch)
                target = each(target, Tensor.clone)
                before = versions(target)
                check_criterion(criterion, self.module, outputs, target)
                self._writes_batch |= versions(target) != before
                return
            except ReadsMore:
                raise
            except (*FAILURES, MemoryError):
                if batch is tries[-1]:
                    raise

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _look_at_graph(self) -> None:
        """Run the whole on a few rows with parameters of its own, and see which others its gradient would reach."""
        mine = {name: p.detach().clone().requires_grad_() for name, p in self.params.items()}
        for batch in (self.chunks.few(2), self.batches[0]):
            few = own(batch)
            try:
                with HalfPrecision(mine) as half, Reads(unshared(mine)) as reads:
                    value = self.on(mine, few)
            except ReadsMore:
                raise
            except (*FAILURES, MemoryError):  # what does not run without gradients either is told where it is asked
                continue
            check_graph(value, [mine, few, self.held], self.module)
            half.tell(self.name, type(self.module).__name__)
            if kept := self._read_first - set(reads.seen):
                self._look_at_kept(kept, mine)
            return

    @torch.no_grad()
    def _look_at_kept(self, kept: set[str], mine: Params) -> None:
        """Refuse a module that read parameters at its first forward and does not any more, called as it was then."""
        with Reads(unshared(mine)) as reads:
            self._outputs(self.chunks.few(2), mine)
        if kept := kept - set(reads.seen):
            raise ReadsMore(keeps(type(self.module).__name__, [name for name in mine if name in kept]))
