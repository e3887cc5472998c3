"""A loss as a function of parameters: the one thing every instrument looks at.

``loss(params)`` is a scalar, ``loss.many(stacked)`` one scalar per member of a stack,
``loss.along(directions, coefficients)`` the loss at θ + Σ cᵢ dᵢ without touching θ, and
``loss.at(params)`` the same loss with another θ.
``Loss(fn, params)`` wraps anyone's function, :meth:`Loss.from_module` any ``nn.Module``.

A loss over data is a weighted sum of terms, one per chunk of rows, so that the
instruments can keep memory small and stay inside the processor's cache.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from ..data.batches import batches_of, cast, each, rows_of, within_memory
from ..models.copies import bare, copy_in, copy_of
from ..models.modules import Direction as Direction
from ..models.modules import Params as Params
from ..utils import checks as check
from ..utils.memory import in_halves
from ..utils.torch_state import full_precision, has_float64
from . import standins
from .criteria import check_function
from .on_batches import OnBatches
from .parameters import Halves as Halves
from .parameters import Points, blocks_of, fitted, fitted_stack, moved, scalar, value_of
from .parameters import Term as Term

# Points evaluated together on a GPU (ours).
TOGETHER = 16


class Loss:
    """A scalar function of named parameters, with the point θ at which one looks at it.

    Args:
        fn: maps a dict of tensors, shaped like ``params``, to a scalar tensor.
        params: θ, name -> tensor. Held by reference and never written to.
        name: what plots and results call it.

    Raises:
        ValueError: no parameters, a parameter that is NaN or not floating point, ``fn`` not scalar.
        TypeError: ``fn`` is not callable or does not return a tensor.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([3.0, 4.0])})
        >>> bowl.value(), bowl.size
        (25.0, 2)
    """

    def __init__(self, fn: Callable[[Params], Tensor], params: Mapping[str, Tensor], *, name: str = "loss") -> None:
        if not callable(fn):
            raise TypeError(f"fn must be callable (params -> scalar tensor), got {type(fn).__name__}.")
        self._fn = fn
        self.name = name
        self._vmaps: bool | None = None  # whether vmap gives what it should; None: not tried yet
        self._looked = False  # at whether fn reads what it is given
        self.params: Params = {}
        for key, value in check.mapping("params", params, "tensors").items():
            tensor = check.as_tensor(f"params[{key!r}]", value).detach()
            if tensor.is_complex():
                raise ValueError(
                    f"params[{key!r}] is complex ({tensor.dtype}), and losses are functions of real numbers; let "
                    "the module hold torch.view_as_real(w) as its parameter, and use torch.view_as_complex of it."
                )
            if not tensor.is_floating_point():
                raise ValueError(f"params[{key!r}] must be floating point, got {tensor.dtype}; use .float().")
            self.params[key] = check.finite(f"params[{key!r}]", tensor)
        if sum(p.numel() for p in self.params.values()) == 0:
            raise ValueError("a loss needs at least one parameter, got none; is every parameter frozen?")

    # -- evaluation ------------------------------------------------------------------------------

    @property
    def fn(self) -> Callable[[Params], Tensor]:
        """From parameters to the loss."""
        return self._fn

    def __call__(self, params: Mapping[str, Tensor] | None = None) -> Tensor:
        """The loss at ``params`` (at θ when none are given), a scalar tensor that can be differentiated."""
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"params must be a dict of tensors named like the parameters, got {type(params).__name__}.")
        self._look()
        return scalar(self.fn({**self.params, **(params or {})}), self.name)

    def _look(self) -> None:
        """At the first evaluation: whether ``fn`` reads what it is given."""
        if self._looked or torch._C._functorch.peek_interpreter_stack() is not None:
            return
        check_function(self.fn, self.params, self.name)
        self._looked = True

    def at(self, params: Mapping[str, Tensor]) -> Loss:
        """The same loss looked at elsewhere: every instrument takes what this returns.

        Args:
            params: θ', all parameters or some of them (the others stay at θ), as a dict or a whole
                ``state_dict()``. Copied, so that training on does not move it.

        Returns:
            A loss with θ' in the place of θ; this one stays as it is.

        Raises:
            ValueError, TypeError: no dict, an unknown name, another shape, NaN, or nothing in it.

        Example:
            >>> import torch
            >>> import xmodal_lab as xl
            >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([3.0, 4.0])})
            >>> bowl.at({"w": torch.tensor([1.0, 2.0])}).value(), bowl.value()
            (5.0, 25.0)
        """
        there, held = self.split_state(params, "params")
        found = copy.copy(self)
        found.params = {name: there[name].clone() if name in there else p for name, p in self.params.items()}
        found._settle({name: value.clone() for name, value in held.items()})
        return found

    def _settle(self, held: Params) -> None:
        """Follow ``self.params`` to where they stand now; ``held`` are further tensors of a module."""

    def split_state(self, state: Direction, what: str) -> tuple[Params, Params]:
        """``state`` as parameters of the loss, checked, and as the rest of a module's state that differs from it."""
        return fitted(self.params, state, what), {}

    @full_precision()
    def many(self, stacked: Mapping[str, Tensor], vectorize: bool | None = None) -> Tensor:
        """The loss of each of K members: ``stacked[name]`` has shape (K, *shape of the parameter) -> (K,).

        Parameters that are missing stay at θ. ``vectorize`` runs all members at once (``vmap``), where that
        gives what one after another gives, which is tried on two members first;
        by default on a GPU only: on a CPU one after another is faster (benchmarks/).
        """
        parts, count = fitted_stack(self.params, stacked)
        if (self.device.type != "cpu" if vectorize is None else vectorize) and self._together(parts):

            def together(some: Sequence[int]) -> Sequence[Tensor]:
                return vmap(lambda p: self(p))({n: v[some[0] : some[-1] + 1] for n, v in parts.items()}).unbind()

            return torch.stack(in_halves(together, range(count), "members of a stack"))
        return torch.stack([self({name: value[k] for name, value in parts.items()}) for k in range(count)])

    def _together(self, stacked: Params) -> bool:
        """Whether ``vmap`` gives what one member after the other gives; tried once, on the first and the last one."""
        if self._vmaps is None:
            self._vmaps = standins.vmaps(self.terms(standins.FEW_ROWS)[0].fn, stacked, self.dtype)
        return self._vmaps

    @torch.inference_mode(False)
    @torch.no_grad()
    def along(
        self,
        directions: Sequence[Direction],
        coefficients: Tensor | Sequence[Sequence[float]],
        rows: int | None = None,
        stack: int | None = None,
    ) -> Tensor:
        """The loss at θ + Σⱼ cₖⱼ dⱼ for each row k of ``coefficients``, without gradients.

        Where memory runs out it goes on with half the points at once, then with half the rows, and says so.

        Args:
            directions: D dicts shaped like ``params``; a missing name means zero.
            coefficients: (K, D).
            rows: samples per chunk, for a loss over data; chosen to fit the cache when not given.
            stack: points evaluated together; 1 on a CPU, 16 on a GPU when not given (ours). One after
                another where the module cannot be vectorized.

        Returns:
            (K,) float64 on the CPU. Non-finite values are kept.

        Example:
            >>> import torch
            >>> import xmodal_lab as xl
            >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([3.0, 4.0])})
            >>> bowl.along([{"w": torch.tensor([1.0, 0.0])}], [[-3.0], [0.0], [1.0]])
            tensor([16., 25., 32.], dtype=torch.float64)
        """
        return self.along_drawn(*self.check_directions(directions, coefficients), rows, stack)

    @torch.inference_mode(False)
    @torch.no_grad()
    @full_precision()
    def along_drawn(
        self, directions: Sequence[Params], table: Tensor, rows: int | None = None, stack: int | None = None
    ) -> Tensor:
        """:meth:`along` for directions that fit θ, as what was drawn here does, and a ``table`` (K, D) on the CPU.

        ``rows`` of data at once and a ``stack`` of points at once; by default as many as fit.
        """
        parts = directions
        at_once = min(stack or (1 if self.device.type == "cpu" else TOGETHER), len(table))
        if at_once > 1 and not self._together(Points(self.params, parts).at(table[[0, -1]])):
            at_once = 1
        return within_memory(lambda n, cut: self._along(parts, table, cut, n), at_once, self.most_rows, rows)

    def _along(self, directions: Sequence[Params], table: Tensor, rows: int | None, at_once: int) -> Tensor:
        """:meth:`along`, ``at_once`` points together."""
        terms, values = self.terms(rows), []
        every = Points(self.params, directions) if at_once > 1 else None
        for part in table.split(at_once):
            if every is None:
                point = moved(self.params, directions, part[0].tolist())
                found = [term.weight * term.fn(point).reshape(1) for term in terms]
            else:
                points = every.at(part)
                found = [term.weight * vmap(term.fn)(points) for term in terms]
            values.append(torch.stack([_wide(value) for value in found]).sum(0))
        return torch.cat(values).cpu().double()

    @torch.inference_mode(False)
    @torch.no_grad()
    @full_precision()
    def along_each(self, draw: Callable[[], Params], count: int, table: Tensor) -> Tensor:
        """:meth:`along_drawn` of one direction after the other: (``count``, K) for a ``table`` (K, 1).

        ``draw`` gives the next direction, always of the same parameters; no more than one is held.
        """
        found: list[Tensor] = []
        held: list[Params] = []  # the direction at which memory ran out

        def attempt(_points: int, rows: int | None) -> Tensor:
            with self._open():
                while len(found) < count:
                    held[:] = held or [draw()]
                    found.append(self._along(held, table, rows, 1))
                    held.clear()
            return torch.stack(found)

        return within_memory(attempt, 1, self.most_rows)

    def _open(self) -> AbstractContextManager[Any]:
        """A context in which many calls of :meth:`_along` that move the same parameters are cheaper."""
        return nullcontext()

    @full_precision()
    def value(self) -> float:
        """The loss at θ; its first term is evaluated twice.

        Where memory runs out it goes on with half the rows at once, and says so.

        Raises:
            ValueError: the two evaluations differ, so no difference between points could be trusted.
        """
        return within_memory(
            lambda _points, rows: value_of(self.terms(rows), self.params, self.name), 1, self.most_rows
        )

    def most_rows(self) -> int:
        """Rows of the largest chunk; 1 for a loss that cannot be cut."""
        return 1

    def terms(self, rows: int | None = None) -> list[Term]:
        """The summands whose weighted sum is the loss; a single one unless the loss is over data,
        which is cut into chunks of ``rows``.
        """
        return [Term(1.0, self)]

    # -- facts -----------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where θ lives."""
        return next(iter(self.params.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of θ."""
        return next(iter(self.params.values())).dtype

    @property
    def size(self) -> int:
        """Number of scalars in θ."""
        return sum(p.numel() for p in self.params.values())

    @property
    def blocks(self) -> dict[str, list[str]]:
        """Parameter names by block: ``encoders.image``, ``fusion``, ``head``; else by first name."""
        return blocks_of(self.params)

    def to(self, dtype: torch.dtype) -> Loss:
        """The same loss with θ in another floating dtype (``fn`` must follow the dtype it is given)."""
        self._look()
        return Loss(self.fn, {k: v.to(dtype) for k, v in self.params.items()}, name=self.name)

    def check_directions(
        self, directions: Sequence[Direction], coefficients: Tensor | Sequence[Sequence[float]]
    ) -> tuple[list[Params], Tensor]:
        """Return directions, and ``coefficients`` as a (K, D) float64 table, or say what does not fit θ."""
        listed = check.listed("directions", directions)
        parts = [self.check_direction(d, f"directions[{i}]") for i, d in enumerate(listed)]
        table = check.as_tensor("coefficients", coefficients, torch.float64).cpu()
        if table.ndim != 2 or table.shape[1] != len(parts) or not len(table):
            raise ValueError(f"coefficients must have shape (K, {len(parts)}) with K > 0, got {tuple(table.shape)}.")
        return parts, table

    def check_direction(self, direction: Direction, what: str = "direction") -> Params:
        """Return ``direction`` on θ's device and dtype, or say which part has the wrong name or shape."""
        return fitted(self.params, direction, what)

    @staticmethod
    def from_module(
        module: nn.Module,
        data: Any,
        criterion: Callable[[Any, Any], Tensor] | None = None,
        *,
        target: str = "labels",
        batchnorm: str = "keep",
        name: str = "loss",
        batches: int | None = None,
    ) -> ModuleLoss:
        """A loss of any ``nn.Module`` on a fixed batch or on the batches of a loader.

        Args:
            module: looked at in eval mode; its own mode, parameters and buffers stay as they are.
            data: one batch, or an iterable of batches (a ``DataLoader``), read once, kept, and moved to
                the module's device. A tuple batch is ``(*inputs, target)`` and is called as
                ``module(*inputs)``; a dict batch is called as ``module(**batch)``. Several batches count
                by their rows; where that is not the loss of all rows at once, a warning says both.
            criterion: ``criterion(output, target) -> scalar``, a mean over samples. None for
                models that return their own loss (``transformers``: ``output.loss``), and
                cross-entropy for tuple batches. It must not read parameters besides its arguments.
            target: name of the target in a dict batch, when there is a criterion.
            batchnorm: "keep" the running statistics, or "recalibrate" them at every point
                from this loss's own data (moved weights no longer fit the statistics of θ): each batch
                by its own mean and 1/N variance, as in training. Give one batch for those of all data.
            name: what plots and results call it.
            batches: how many of the loader's batches to read; all when not given, which an endless
                loader refuses after 10,000 batches or 4 GiB (ours).

        Returns:
            A loss whose θ are the module's parameters; the module itself stays as it is.

        Raises:
            ValueError: labels that do not fit the module's outputs, a module that fails on the batch, no batch
                or no end of them; at the first evaluation a criterion that reads parameters besides
                its arguments, or has some of its own.
            TypeError: no module, no batch, labels that are text.

        Example:
            >>> import torch
            >>> import xmodal_lab as xl
            >>> net = torch.nn.Linear(4, 3)
            >>> batch = (torch.rand(8, 4), torch.arange(8) % 3)  # inputs, then the target
            >>> loss = xl.Loss.from_module(net, batch)
            >>> loss.size, list(loss.blocks)
            (15, ['weight', 'bias'])
        """
        return ModuleLoss(module, data, criterion, target=target, batchnorm=batchnorm, name=name, batches=batches)


class ModuleLoss(Loss):
    """The loss of an ``nn.Module`` on fixed data.

    Args:
        module, data, criterion, target, batchnorm, name, batches: as in :meth:`Loss.from_module`.
    """

    def __init__(
        self,
        module: nn.Module,
        data: Any,
        criterion: Callable[[Any, Any], Tensor] | None = None,
        *,
        target: str = "labels",
        batchnorm: str = "keep",
        name: str = "loss",
        batches: int | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"module must be a torch.nn.Module, got {type(module).__name__}; for a function use Loss(fn, params)."
            )
        module = bare(module)
        named = dict(module.named_parameters())
        trainable = {k: p for k, p in named.items() if p.requires_grad} or named
        most = None if batches is None else check.integer("batches", batches, at_least=1)
        # Unbound, and never called: what a loss holds goes with it.
        super().__init__(type(self)._evaluate, trainable, name=name)  # type: ignore[arg-type]
        read = batches_of(data, most)
        self.data = OnBatches(module, read, criterion, target, batchnorm, name, self.params)

    def _evaluate(self, params: Params) -> Tensor:
        return self.data(params)

    @property
    def fn(self) -> Callable[[Params], Tensor]:
        """From parameters to the loss."""
        return self._evaluate

    def _look(self) -> None:
        """The data look, at what criterion and module read."""

    def _settle(self, held: Params) -> None:
        self.data = self.data.at(self.params, held)

    def split_state(self, state: Direction, what: str) -> tuple[Params, Params]:
        """``state`` as parameters of the loss, checked, and as those buffers and frozen parameters that differ."""
        return self.data.split(state, what)

    def _along(self, directions: Sequence[Params], table: Tensor, rows: int | None, at_once: int) -> Tensor:
        if at_once > 1 or not self.has_scratch():
            return super()._along(directions, table, rows, at_once)
        return self.data.copy.along(self.data.few, self.chunks(rows), directions, table.tolist())

    def terms(self, rows: int | None = None) -> list[Term]:
        """One term per chunk of rows, weighted by its share of the rows."""
        self.data.look()

        def on(batch: Any) -> Callable[[Params], Tensor]:
            return lambda params: self.data.on({**self.params, **params}, batch)

        return [Term(weight, on(batch)) for weight, batch in self.chunks(rows)]

    def halves(self, rows: int | None = None) -> list[Halves]:
        """As :meth:`terms`, chunks of ``rows``, with the module and the criterion apart.

        Raises:
            ValueError: the module computes its loss by itself.
        """
        self.data.look()
        if self.data.criterion is None and any(isinstance(batch, Mapping) for batch in self.batches):
            raise ValueError(
                f"{self.name} is computed inside the module, so it cannot be told apart into outputs and a criterion; "
                "let forward return its outputs and give criterion=, such as torch.nn.functional.cross_entropy."
            )

        def on(batch: Any) -> Callable[[Params], tuple[Any, Any]]:
            return lambda params: self.data.outputs_on({**self.params, **params}, batch)

        return [Halves(w, rows_of(batch), on(batch), self.data.criterion_of) for w, batch in self.chunks(rows)]

    def is_mean(self) -> bool:
        """Whether the loss is a mean over rows, each of which has a loss of its own."""
        return self.data.batchnorm == "keep" and self.data.chunks.is_mean()

    def on_few(self, rows: int) -> Term:
        """The loss of ``rows`` telling rows, or of the first batch: to try something on, not a share of the whole."""
        few = self.data.chunks.few(rows)
        return Term(1.0, lambda params: self.data.on({**self.params, **params}, few))

    def on_repeated(self, rows: int) -> Term:
        """:meth:`on_few` as a chunk runs: the same rows, repeated to its length where that leaves the loss as it is."""
        again = self.data.chunks.repeated(rows, self.data.chunks.cache_rows())
        if again is None:
            return self.on_few(rows)
        return Term(1.0, lambda params: self.data.on({**self.params, **params}, again))

    # -- what the instruments ask of it ----------------------------------------------------------

    @property
    def module(self) -> nn.Module:
        """The module that is looked at."""
        return self.data.module

    @property
    def batches(self) -> list[Any]:
        """The batches as they are kept."""
        return self.data.batches

    def chunks(self, rows: int | None) -> list[tuple[float, Any]]:
        """(weight, batch) pairs; a batch is cut only if the loss is a mean over its rows."""
        return self.data.chunks.cut(rows)

    def most_rows(self) -> int:
        """Rows of the largest chunk; 1 for a loss that cannot be cut."""
        return self.data.chunks.most_rows()

    def has_scratch(self) -> bool:
        """Whether a copy of the module gives what the module gives."""
        return self.data.has_scratch()

    def _open(self) -> AbstractContextManager[Any]:
        return self.scratch() if self.has_scratch() else nullcontext()

    def scratch(self) -> AbstractContextManager[tuple[nn.Module, dict[str, Tensor]]]:
        """A private copy of the module in eval mode, and its parameters, which may be overwritten.

        Ask :meth:`has_scratch` first.
        """
        return self.data.copy.open(self.data.few)

    def to(self, dtype: torch.dtype) -> ModuleLoss:
        """The same loss in another floating dtype, on copies of module and data."""
        return self._again(
            lambda module: copy_in(module, dtype),
            lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor,
            [cast(batch, dtype) for batch in self.batches],
        )

    def on_cpu(self, rows: int) -> ModuleLoss:
        """The same loss of the first ``rows`` rows, on copies on the CPU."""
        few = each(self.data.chunks.few(rows), Tensor.cpu)
        return self._again(lambda module: copy_of(module).cpu(), Tensor.cpu, [few])

    def _again(
        self, moved: Callable[[nn.Module], nn.Module], put: Callable[[Tensor], Tensor], batches: list[Any]
    ) -> ModuleLoss:
        """The same on ``batches``, with module, criterion and state as the two functions give them."""
        data = self.data
        data.look()  # here, where a criterion that reads the module can be told from one that reads something else
        criterion = moved(data.criterion) if isinstance(data.criterion, nn.Module) else data.criterion
        asked: dict[str, Any] = {"target": data.target, "batchnorm": data.batchnorm, "name": self.name}
        found = ModuleLoss(moved(self.module), batches, criterion, **asked)
        found.params = {k: put(v) for k, v in self.params.items()}
        found._settle({k: put(v) for k, v in data.held.items()})
        return found


def as_loss(loss: object) -> Loss:
    """Return ``loss`` if it is a Loss.

    Raises:
        TypeError: anything else; says how to make one.
    """
    if not isinstance(loss, Loss):
        raise TypeError(
            f"loss must be a Loss, got {type(loss).__name__}; make one with xl.loss_on(model, samples), "
            "xl.Loss.from_module(module, batch) or xl.Loss(fn, params)."
        )
    return loss


def _wide(values: Tensor) -> Tensor:
    """In float64 where the device has it, so that sums over chunks keep what each chunk knows."""
    return values.double() if has_float64(values.device) else values
