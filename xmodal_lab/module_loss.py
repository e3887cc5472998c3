"""The loss of any ``nn.Module`` on fixed data, cut into chunks and evaluated fast.

Three things make a grid of points cheap on a processor: a private copy of the module whose
parameters are written in place, chunks of rows that stay in the cache, and first layers
whose output is affine in their weights, so that three products serve every point.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from . import _checks as check
from .losses import Direction, Loss, Params, Term, scalar
from .samples import Samples

# Largest activation that a chunk may make, in bytes: about two cores' L2 cache (ours; see benchmarks/).
CHUNK_BYTES = 4 << 20


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
            criterion = nn.functional.cross_entropy
    batch = ({m: seen.inputs[m] for m in names}, labels)
    return ModuleLoss(model, batch, criterion, batchnorm=batchnorm, name=name or "loss")


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
        self.module = module
        self.criterion = criterion
        self.target = target
        self.batchnorm = check.one_of("batchnorm mode", batchnorm, ("keep", "recalibrate"))
        self.batches = _batches(data)
        self._chunkable: bool | None = None
        self._scratch_module: nn.Module | None = None
        named = dict(module.named_parameters())
        trainable = {k: p for k, p in named.items() if p.requires_grad} or named
        super().__init__(self._evaluate, trainable, name=name)

    # -- evaluation ------------------------------------------------------------------------------

    def _evaluate(self, params: Params) -> Tensor:
        weights = _shares([_rows(batch) for batch in self.batches])
        parts = [w * self._on(params, batch) for w, batch in zip(weights, self.batches, strict=True)]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def _on(self, params: Params, batch: Any) -> Tensor:
        with _looking(self.module, self.batchnorm):
            state: dict[str, Tensor] = dict(params)
            if self.batchnorm == "recalibrate":  # train-mode BatchNorm writes to its buffers: give it copies
                state |= {k: b.clone() for k, b in self.module.named_buffers()}
            return self._score(lambda *a, **k: functional_call(self.module, state, a, k), batch)

    def _score(self, call: Callable[..., Any], batch: Any) -> Tensor:
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
        criterion = self.criterion or nn.functional.cross_entropy
        return scalar(criterion(call(*inputs), wanted), self.name)

    @torch.no_grad()
    def along(
        self, directions: Sequence[Direction], coefficients: Tensor | Sequence[Sequence[float]], rows: int | None = None
    ) -> Tensor:
        directions, table = self.check_directions(directions, coefficients)
        if self.batchnorm == "recalibrate" or self.device.type == "cuda":
            return super().along(directions, table, rows)
        points = table.tolist()
        values = torch.zeros(len(points), dtype=torch.float64)
        with self._scratch() as (module, buffers):
            for weight, batch in self._chunks(rows):
                with _affine_first_layers(module, batch, self, directions, len(points)) as first_layers:
                    for k, row in enumerate(points):
                        _move(buffers, self.params, directions, row)
                        for layer in first_layers:
                            layer.move(row)
                        values[k] += weight * self._score(module, batch)
        return values

    def terms(self, rows: int | None = None) -> list[Term]:
        def on(batch: Any) -> Callable[[Params], Tensor]:
            return lambda params: self._on({**self.params, **params}, batch)

        return [Term(weight, on(batch)) for weight, batch in self._chunks(rows)]

    # -- data in chunks --------------------------------------------------------------------------

    def _chunks(self, rows: int | None) -> list[tuple[float, Any]]:
        """(weight, batch) pairs; a batch is cut only if the loss is a mean over its rows."""
        counts = [_rows(batch) for batch in self.batches]
        if rows is None:
            rows = self._cache_rows()
        elif rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}.")
        if self.batchnorm == "recalibrate" or max(counts) <= rows or not self._is_mean_over_rows():
            return list(zip(_shares(counts), self.batches, strict=True))
        pieces = [
            (min(rows, count - start), _cut(batch, count, start, start + rows))
            for count, batch in zip(counts, self.batches, strict=True)
            for start in range(0, count, rows)
        ]
        total = sum(counts)
        return [(n / total, piece) for n, piece in pieces]

    def _is_mean_over_rows(self) -> bool:
        """Whether cutting a batch in two leaves the loss as it is. Tried once, not assumed."""
        if self._chunkable is None:
            batch = self.batches[0]
            n = min(_rows(batch), 64)
            head, split = _cut(batch, _rows(batch), 0, n), max(1, n // 3)
            try:
                with torch.no_grad():
                    whole = float(self._on(self.params, head))
                    parts = (
                        [self._on(self.params, _cut(head, n, *se)) for se in ((0, split), (split, n))] if n > 1 else []
                    )
                together = sum(w * float(p) for w, p in zip((split / n, 1 - split / n), parts, strict=False))
                self._chunkable = n > 1 and abs(whole - together) <= 1e-4 * max(abs(whole), 1e-3)
            except (RuntimeError, ValueError, IndexError, TypeError):
                self._chunkable = False
            if not self._chunkable and n > 1:
                warnings.warn(
                    f"{self.name} is not a mean over the rows of its batch, so it is evaluated whole; "
                    "hand it over as a loader of smaller batches if memory is short.",
                    stacklevel=3,
                )
        return self._chunkable

    def _cache_rows(self) -> int:
        """Rows whose largest activation fills about ``CHUNK_BYTES``; all of them on a GPU."""
        counts = [_rows(batch) for batch in self.batches]
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
                self._on(self.params, _cut(self.batches[0], counts[0], 0, n))
        except (RuntimeError, ValueError, IndexError, TypeError):
            return max(counts)
        finally:
            for hook in hooks:
                hook.remove()
        return max(8, min(max(counts), CHUNK_BYTES // largest))

    @contextmanager
    def _scratch(self) -> Iterator[tuple[nn.Module, Params]]:
        """A private copy of the module in eval mode, whose parameters may be overwritten."""
        if self._scratch_module is None:
            self._scratch_module = copy.deepcopy(self.module).eval().requires_grad_(False)
        else:  # the user may have trained or moved the original since
            for mine, theirs in zip(self._scratch_module.buffers(), self.module.buffers(), strict=True):
                mine.copy_(theirs)
        named = dict(self._scratch_module.named_parameters())
        for name, theirs in self.module.named_parameters():
            named[name].copy_(theirs)
        yield self._scratch_module, {name: named[name].data for name in self.params}

    def to(self, dtype: torch.dtype) -> ModuleLoss:
        """The same loss in another floating dtype, on copies of module and data."""
        module = copy.deepcopy(self.module).to(dtype)
        data = [_cast(batch, dtype) for batch in self.batches]
        return ModuleLoss(module, data, self.criterion, target=self.target, batchnorm=self.batchnorm, name=self.name)


# -- first layers: x(W + aD₁ + bD₂) from three products ----------------------------------------------


class _AffineFirstLayer(nn.Module):
    """Stands in for a Linear or Conv layer whose input does not depend on θ.

    Such a layer's output is affine in its weights, so its value at θ + Σ cᵢ dᵢ is a
    weighted sum of D + 1 products that are computed once.
    """

    def __init__(self, layer: nn.Module, prefix: str, x: Tensor, params: Params, directions: Sequence[Params]) -> None:
        super().__init__()

        def product(point: Params, otherwise_zero: bool) -> Tensor:
            weights = {}
            for name, own in layer.named_parameters(recurse=False):
                given = point.get(prefix + name)
                weights[name] = given if given is not None else (torch.zeros_like(own) if otherwise_zero else own)
            return cast(Tensor, functional_call(layer, weights, (x,)))

        self.base = product(params, otherwise_zero=False)
        self.slopes = [product(d, otherwise_zero=True) for d in directions]
        self.out = torch.empty_like(self.base)

    def move(self, row: Sequence[float]) -> None:
        torch.add(self.base, self.slopes[0], alpha=row[0], out=self.out)
        for slope, c in zip(self.slopes[1:], row[1:], strict=True):
            self.out.add_(slope, alpha=c)

    def forward(self, _x: Tensor) -> Tensor:
        return self.out


_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d)


@contextmanager
def _affine_first_layers(
    module: nn.Module, batch: Any, loss: ModuleLoss, directions: Sequence[Params], points: int
) -> Iterator[list[_AffineFirstLayer]]:
    """Replace the first layers of ``module`` while the context lasts, where that pays."""
    if points <= 2 * (len(directions) + 1):
        yield []
        return
    seen: dict[str, list[Tensor | None]] = {}
    hooks = []
    for name, layer in module.named_modules():
        if type(layer) in _AFFINE and set(layer._parameters) == {"weight", "bias"}:

            def see(_layer: nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
                x = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], Tensor) else None
                seen.setdefault(name, []).append(None if x is None or x.requires_grad else x)

            hooks.append(layer.register_forward_pre_hook(see))
    try:
        with torch.enable_grad():  # an input that needs no gradient does not depend on θ
            module.requires_grad_(True)
            loss._score(module, batch)
    finally:
        module.requires_grad_(False)
        for hook in hooks:
            hook.remove()
    swapped: list[tuple[nn.Module, str, nn.Module]] = []
    first_layers = []
    try:
        for name, inputs in seen.items():
            if len(inputs) == 1 and inputs[0] is not None and name:
                parent_name, _, child = name.rpartition(".")
                parent = module.get_submodule(parent_name)
                layer = parent._modules[child]
                assert layer is not None  # named_modules just listed it
                stand_in = _AffineFirstLayer(layer, f"{name}.", inputs[0], loss.params, directions)
                parent._modules[child] = stand_in
                swapped.append((parent, child, layer))
                first_layers.append(stand_in)
        yield first_layers
    finally:
        for parent, child, layer in swapped:
            parent._modules[child] = layer


# -- small parts -------------------------------------------------------------------------------------


def _move(buffers: Params, params: Params, directions: Sequence[Params], row: Sequence[float]) -> None:
    """Write θ + Σ cᵢ dᵢ into ``buffers`` in place."""
    for name, buffer in buffers.items():
        base: Tensor | None = params[name]
        for direction, c in zip(directions, row, strict=True):
            part = direction.get(name)
            if part is None:
                continue
            if base is not None:
                torch.add(base, part, alpha=c, out=buffer)
                base = None
            else:
                buffer.add_(part, alpha=c)


@contextmanager
def _looking(module: nn.Module, batchnorm: str) -> Iterator[None]:
    """Eval mode while the context lasts (BatchNorm in train mode when it recalibrates)."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    if batchnorm == "recalibrate":
        for m in modes:
            if isinstance(m, nn.modules.batchnorm._BatchNorm):
                m.training = True
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode


def _batches(data: Any) -> list[Any]:
    is_batch = isinstance(data, Mapping) or (isinstance(data, tuple) and len(data) >= 2)
    if not is_batch and not isinstance(data, Iterable):
        raise TypeError(f"data must be a batch (tuple or dict) or an iterable of batches, got {type(data).__name__}.")
    batches = [data] if is_batch else list(data)
    if not batches:
        raise ValueError("the loader gave no batch.")
    for batch in batches:
        ok = isinstance(batch, Mapping) or (isinstance(batch, (tuple, list)) and len(batch) >= 2)
        if not ok:
            raise TypeError(f"a batch must be a dict or a tuple (*inputs, target), got {type(batch).__name__}.")
        if _rows(batch) == 0:
            raise ValueError("a batch is empty (no rows).")
    return batches


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _tensors(value)
    elif isinstance(batch, (tuple, list)):
        for value in batch:
            yield from _tensors(value)


def _rows(batch: Any) -> int:
    """Rows of a batch: the leading size of its last tensor, which is the target of a tuple batch."""
    sizes = [len(t) for t in _tensors(batch) if t.ndim]
    if not sizes:
        raise TypeError("a batch holds no tensor.")
    return sizes[-1]


def _shares(counts: Sequence[int]) -> list[float]:
    return [count / sum(counts) for count in counts]


def _cut(batch: Any, rows: int, start: int, stop: int) -> Any:
    """Rows ``start:stop`` of every tensor in ``batch`` that has ``rows`` rows; the rest as it is."""
    if isinstance(batch, Tensor):
        return batch[start:stop] if batch.ndim and len(batch) == rows else batch
    if isinstance(batch, Mapping):
        return {key: _cut(value, rows, start, stop) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return tuple(_cut(value, rows, start, stop) for value in batch)
    return batch


def _cast(batch: Any, dtype: torch.dtype) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(dtype) if batch.is_floating_point() else batch
    if isinstance(batch, Mapping):
        return {key: _cast(value, dtype) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return tuple(_cast(value, dtype) for value in batch)
    return batch
