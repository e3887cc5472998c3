"""The loss of any ``nn.Module`` on fixed data, cut into chunks and evaluated fast.

Three things make a grid of points cheap on a processor: a private copy of the module whose
parameters are written in place, chunks of rows that stay in the cache, and first layers
whose output is affine in their weights, so that three products serve every point.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from . import _checks as check
from . import standins
from ._copies import bare, copy_in, copy_of
from ._cross_entropy import cross_entropy
from ._evaluation import alone_with, eval_mode
from ._functional import call_with, places_of
from ._moving import Mover, write
from ._rewrites import rewrite
from .batches import batches_of, cast, ordinary, out_of_memory, pick, rows_of, telling_rows
from .losses import Direction, Loss, Params, Term, scalar
from .samples import Samples

# Largest activation that a chunk may make, in bytes (ours; see benchmarks/). It fits the third-level cache, and
# memory of this size is used again; larger pieces go back to the system, and each page of them costs when it returns.
CHUNK_BYTES = 7 << 20
MOST_ROWS = 2048
# Rows and batches on which is tried whether a loss may be cut (ours).
TRIED_ROWS, TRIED_BATCHES = 64, 8


def loss_on(
    model: nn.Module,
    samples: Samples,
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    batchnorm: str = "keep",
    name: str | None = None,
) -> ModuleLoss:
    """The loss of ``model`` on ``samples`` as a function of its parameters.

    Rows that lack one of the model's modalities are left out. The model is looked at in eval
    mode and shared, not copied: θ is where the model stands when the loss is evaluated.

    Args:
        model: a module from a dict of inputs to outputs, such as :class:`~xmodal_lab.LateFusion`.
        samples: a split of a dataset.
        criterion: mean over samples; cross-entropy, or mean squared error for real-valued labels.
        batchnorm: "keep" or "recalibrate", see :meth:`Loss.from_module`.
        name: what plots call it.

    Raises:
        ValueError: a modality of the model that the samples lack; no complete row; unknown labels (-1).

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", modalities=("image", "audio"), n_train=20, n_test=10)
        >>> net = xl.LateFusion.for_dataset(ds, architecture="mlp")
        >>> loss = xl.loss_on(net, ds.test)
        >>> loss.value() > 0, list(loss.blocks)
        (True, ['encoders.image', 'encoders.audio', 'fusion', 'head'])
    """
    if not isinstance(samples, Samples):
        raise TypeError(f"samples must be Samples, such as dataset.test, got {type(samples).__name__}.")
    names = check.modalities_of(getattr(model, "modalities", None), samples.modalities)
    seen = samples.complete(names)
    labels = seen.labels
    if criterion is None:
        if labels.is_floating_point():
            criterion = _squared_error
        elif int(labels.min()) < 0:
            raise ValueError("some labels are unknown (-1); a loss needs them all. Use samples.subset(labels >= 0).")
        else:
            criterion = cross_entropy
    name = "loss" if name is None else check.instance("name", name, str)
    batch = ({m: seen.inputs[m] for m in names}, labels)
    return ModuleLoss(model, batch, criterion, batchnorm=batchnorm, name=name)


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.mse_loss(outputs.flatten(), targets.to(outputs.dtype))


class ModuleLoss(Loss):
    """The loss of an ``nn.Module`` on fixed data; see :meth:`Loss.from_module`."""

    def __init__(
        self,
        module: nn.Module,
        data: Any,
        criterion: Callable[[Any, Any], Tensor] | None = None,
        *,
        target: str = "labels",
        batchnorm: str = "keep",
        name: str = "loss",
    ) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"module must be a torch.nn.Module, got {type(module).__name__}; for a function use Loss(fn, params)."
            )
        module = bare(module)
        if criterion is not None:
            check.function("criterion", criterion, "from (outputs, targets) to a scalar")
        self.module = module
        self.criterion = cross_entropy if criterion is nn.functional.cross_entropy else criterion
        self.target = target
        self.batchnorm = check.one_of("batchnorm mode", batchnorm, ("keep", "recalibrate"))
        self.batches = [ordinary(batch) for batch in batches_of(data)]
        self._chunkable: bool | None = None
        # Whether a call writes to buffers, as BatchNorm in train mode does; then each gets copies. None: not seen yet.
        self._writes_buffers: bool | None = True if batchnorm == "recalibrate" else None
        self._scratch_module: tuple[nn.Module | None, ...] = ()  # empty until asked for
        self._places = places_of(module)
        named = dict(module.named_parameters())
        trainable = {k: p for k, p in named.items() if p.requires_grad} or named
        super().__init__(self._evaluate, trainable, name=name)

    # -- evaluation ------------------------------------------------------------------------------

    def _evaluate(self, params: Params) -> Tensor:
        parts = [weight * self._on(params, batch) for weight, batch in self.whole_batches()]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def _on(self, params: Params, batch: Any) -> Tensor:
        with self.looking():
            buffers = {} if self._writes_buffers is False else dict(self.module.named_buffers())
            copies = {k: check.ordinary(b.clone()) for k, b in buffers.items()}
            state = {**params, **copies}
            value = self.score(lambda *a, **k: call_with(self.module, state, a, k, self._places), batch)
            if self._writes_buffers is None:  # seen once: in place, or a new tensor under the name
                self._writes_buffers = any(state[k] is not b or b._version for k, b in copies.items())
            return value

    def score(self, call: Callable[..., Any], batch: Any) -> Tensor:
        """The loss of one batch, where ``call`` stands for the module."""
        if isinstance(batch, Mapping):
            if self.criterion is None:
                output = call(**batch)
                loss = getattr(output, "loss", None)
                if loss is None:
                    raise ValueError(
                        f"the model returned {type(output).__name__} without a loss; put {self.target!r} in the "
                        "batch, or give a criterion(output, target)."
                    )
                return scalar(loss, self.name)
            if self.target not in batch:
                raise ValueError(f"the batch has no {self.target!r}; it has {list(batch)}. Name it with target=….")
            rest = {k: v for k, v in batch.items() if k != self.target}
            return scalar(self.criterion(call(**rest), batch[self.target]), self.name)
        *inputs, wanted = batch
        criterion = self.criterion or cross_entropy
        return scalar(criterion(call(*inputs), wanted), self.name)

    @torch.inference_mode(False)
    @torch.no_grad()
    def along(
        self,
        directions: Sequence[Direction],
        coefficients: Tensor | Sequence[Sequence[float]],
        rows: int | None = None,
        stack: int | None = None,
    ) -> Tensor:
        """The loss at θ + Σⱼ cₖⱼ dⱼ for each row k; see :meth:`Loss.along`."""
        directions, table = self.check_directions(directions, coefficients)
        if stack or self.device.type == "cuda" or not self.has_scratch():
            return super().along(directions, table, rows, stack)
        points = table.tolist()
        values = torch.zeros(len(points), dtype=torch.float64)
        pieces = self.chunks(rows)
        with self.scratch() as (module, parameters):
            first = self._first_layers(module, parameters, pieces[0][1], directions, points)
            mover = Mover(parameters, self.params, directions, len(points))
            if not first:  # then a point's parameters are written once, not once per chunk
                for k, point in enumerate(points):
                    mover.move(point)
                    values[k] = sum(weight * float(self.score(module, batch)) for weight, batch in pieces)
                return values
            for weight, batch in pieces:
                call = partial(self.score, module, batch)
                layers = standins.affine_layers(module, call, first, self.params, directions)
                with standins.answering(module, layers):
                    for k, point in enumerate(points):
                        mover.move(point)
                        for layer in layers.values():
                            layer.move(point)
                        values[k] += weight * call()
        return values

    def _first_layers(
        self,
        module: nn.Module,
        parameters: Mapping[str, Tensor],
        batch: Any,
        directions: Sequence[Params],
        points: Sequence[Sequence[float]],
    ) -> list[str]:
        """Names of the first layers of ``module`` that stand-ins replace, where they pay and agree."""
        if len(points) <= 2 * (len(directions) + 1):
            return []
        call = partial(self.score, module, batch)
        inputs = standins.affine_candidates(module, call)
        if not inputs:
            return []
        # Tried far from θ: an input that somebody detached moves there, and a stand-in for its layer would be wrong.
        far = max(points, key=lambda point: sum(abs(c) for c in point))
        write(parameters, self.params, directions, far)
        names = list(standins.steady(module, call, inputs))
        expected = float(call())
        layers = standins.affine_layers(module, call, names, self.params, directions)
        with standins.answering(module, layers):
            for layer in layers.values():
                layer.move(far)
            agreed = standins.agree(float(call()), expected, self.dtype)
        write(parameters, self.params, directions, [0.0] * len(directions))
        return names if agreed else []

    def terms(self, rows: int | None = None) -> list[Term]:
        """One term per chunk of rows, weighted by its share of the rows."""

        def on(batch: Any) -> Callable[[Params], Tensor]:
            return lambda params: self._on({**self.params, **params}, batch)

        return [Term(weight, on(batch)) for weight, batch in self.chunks(rows)]

    def on_few(self, rows: int) -> Term:
        """The loss of ``rows`` telling rows of the first batch, to try something on; not a share of the whole."""
        batch = self.batches[0]
        count = rows_of(batch)
        few = pick(batch, count, telling_rows(batch, count, rows)[:rows]) if count > rows else batch
        return Term(1.0, lambda params: self._on({**self.params, **params}, few))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """The module in eval mode while the context lasts (BatchNorm in train mode when it recalibrates)."""
        with eval_mode(self.module):
            if self.batchnorm == "recalibrate":
                for m in self.module.modules():
                    if isinstance(m, nn.modules.batchnorm._BatchNorm):
                        m.training = True
            yield

    # -- data in chunks --------------------------------------------------------------------------

    def whole_batches(self) -> list[tuple[float, Any]]:
        """(share of all rows, batch) for each batch as it was given."""
        total = sum(rows_of(batch) for batch in self.batches)
        return list(zip([rows_of(batch) / total for batch in self.batches], self.batches, strict=True))

    def chunks(self, rows: int | None) -> list[tuple[float, Any]]:
        """(weight, batch) pairs; a batch is cut only if the loss is a mean over its rows."""
        counts = [rows_of(batch) for batch in self.batches]
        if rows is None:  # pieces of about one size
            rows = self.cache_rows()
            rows = -(-max(counts) // -(-max(counts) // rows))
        elif rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}.")
        if self.batchnorm == "recalibrate" or max(counts) <= rows or not self._is_mean_over_rows():
            return self.whole_batches()
        pieces = [
            (min(rows, count - start), pick(batch, count, slice(start, start + rows)))
            for count, batch in zip(counts, self.batches, strict=True)
            for start in range(0, count, rows)
        ]
        total = sum(counts)
        return [(n / total, piece) for n, piece in pieces]

    def _is_mean_over_rows(self) -> bool:
        """Whether cutting a batch leaves the loss as it is. Tried once, not assumed."""
        if self._chunkable is None:
            large = [batch for batch in self.batches if rows_of(batch) > 1]
            self._chunkable = all(self._may_be_cut(batch) for batch in large[:: -(-len(large) // TRIED_BATCHES)])
            if not self._chunkable:
                warnings.warn(
                    f"{self.name} is not a mean over the rows of its batch, so it is evaluated whole; "
                    "hand it over as a loader of smaller batches if memory is short.",
                    stacklevel=3,
                )
        return self._chunkable

    @torch.no_grad()
    def _may_be_cut(self, batch: Any) -> bool:
        """Whether the loss of some rows is the mean of those of their parts, at θ and beside it.

        At θ alone a head of zeros, say, gives all rows the same loss, of which any mean is the same.
        """
        which = telling_rows(batch, rows_of(batch), TRIED_ROWS)
        rows = len(which)
        few = pick(batch, rows_of(batch), which)
        # Small parts at both ends, where the rows stand that count otherwise: there they weigh most.
        ends = sorted({0, min(2, rows - 1), -(-rows // 3), max(1, rows - 2), rows})
        rounding = 1e-6 if self.dtype == torch.float64 else max(2e-5, 8 * torch.finfo(self.dtype).eps)
        try:
            for params in (self.params, self._beside()):
                whole = float(self._on(params, few))
                together = sum(
                    (stop - start) / rows * float(self._on(params, pick(few, rows, slice(start, stop))))
                    for start, stop in pairwise(ends)
                )
                odd = params is not self.params and whole != whole  # no second point, then
                if not odd and not abs(whole - together) <= rounding * max(abs(whole), 1e-2):
                    return False
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError):
            return False
        return True

    def _beside(self) -> Params:
        """A point near θ, each parameter moved by a tenth of its size; one of zeros by a tenth of 1."""
        generator = torch.Generator().manual_seed(0)
        point: Params = {}
        for name, p in self.params.items():
            size = float(p.square().mean().sqrt()) if p.numel() else 0.0
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device)
            point[name] = noise.mul_((size or 1.0) / 10).add_(p)
        return point

    def cache_rows(self) -> int:
        """Rows whose largest activation fills about ``CHUNK_BYTES``; all of them on a GPU."""
        counts = [rows_of(batch) for batch in self.batches]
        if self.device.type != "cpu":
            return max(counts)
        n = min(2, counts[0])
        largest = 1

        def see(_module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal largest
            if isinstance(output, Tensor):
                largest = max(largest, output.numel() * output.element_size() // n)

        hooks = [m.register_forward_hook(see) for m in self.module.modules() if not list(m.children())]
        try:
            with torch.no_grad():
                self._on(self.params, pick(self.batches[0], counts[0], slice(n)))
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError):
            return max(counts)
        finally:
            for hook in hooks:
                hook.remove()
        return max(8, min(max(counts), MOST_ROWS, CHUNK_BYTES // largest))

    @contextmanager
    @torch.no_grad()
    def scratch(self) -> Iterator[tuple[nn.Module, dict[str, nn.Parameter]]]:
        """A private copy of the module in eval mode, and its parameters, which may be overwritten.

        Ask :meth:`has_scratch` first.
        """
        with alone_with(self.module):
            module = self._copy_of_module()
            if module is None:
                raise ValueError(f"{type(self.module).__name__} has no copy that gives what it gives.")
            for mine, theirs in zip(module.buffers(), self.module.buffers(), strict=True):
                mine.copy_(theirs)  # the user may have trained or moved the original since
            named = dict(module.named_parameters())
            for name, theirs in self.module.named_parameters():
                named[name].copy_(theirs)
            yield module, {name: named[name] for name in self.params}

    def has_scratch(self) -> bool:
        """Whether a copy of the module gives what the module gives."""
        return self._copy_of_module() is not None and not self._writes_buffers

    def _copy_of_module(self) -> nn.Module | None:
        with alone_with(self.module):
            if not self._scratch_module:
                self._scratch_module = (self._private_copy(),)
            return self._scratch_module[0]

    @torch.no_grad()
    def _private_copy(self) -> nn.Module | None:
        """The module in eval mode, made faster on a CPU where a few rows say that it changes nothing."""
        _, few = self.chunks(standins.FEW_ROWS)[0]
        try:
            module = copy_of(self.module).eval().requires_grad_(False)
            named = dict(module.named_parameters())
            moved = {name: named[name].mul_(1.1).add_(0.01) for name in self.params}
            # A copy can still be tied to the original, as by a hook that writes down what the latter's layers give.
            seen, expected = float(self.score(module, few)), float(self._on(moved, few))
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            if out_of_memory(error):
                raise
            return None
        if not standins.agree(seen, expected, self.dtype):
            return None
        if self.device.type == "cpu":
            for name, theirs in self.module.named_parameters():
                named[name].copy_(theirs)
            rewrite(module, lambda: float(self.score(module, few)))
        return module

    def to(self, dtype: torch.dtype) -> ModuleLoss:
        """The same loss in another floating dtype, on copies of module and data."""
        module = copy_in(self.module, dtype)
        data = [cast(batch, dtype) for batch in self.batches]
        criterion = copy_in(self.criterion, dtype) if isinstance(self.criterion, nn.Module) else self.criterion
        return ModuleLoss(module, data, criterion, target=self.target, batchnorm=self.batchnorm, name=self.name)
