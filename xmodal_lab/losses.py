"""A loss as a function of parameters: the one thing every instrument looks at.

``loss(params)`` is a scalar, ``loss.many(stacked)`` one scalar per member of a stack,
``loss.along(directions, coefficients)`` the loss at θ + Σ cᵢ dᵢ without touching θ.
``Loss(fn, params)`` wraps anyone's function, :meth:`Loss.from_module` any ``nn.Module``.

A loss over data is a weighted sum of terms, one per chunk of rows, so that the
instruments can keep memory small and stay inside the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from . import _checks as check

if TYPE_CHECKING:
    from .module_loss import ModuleLoss

Params = dict[str, Tensor]
Direction = Mapping[str, Tensor]


@dataclass(frozen=True)
class Term:
    """One summand of a loss: ``weight * fn(params)``, differentiable in ``params``."""

    weight: float
    fn: Callable[[Params], Tensor]


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
        self.fn = fn
        self.name = name
        self.params: Params = {}
        for key, value in check.mapping("params", params, "tensors").items():
            tensor = check.as_tensor(f"params[{key!r}]", value).detach()
            if not tensor.is_floating_point():
                raise ValueError(f"params[{key!r}] must be floating point, got {tensor.dtype}; use .float().")
            self.params[key] = check.finite(f"params[{key!r}]", tensor)
        if sum(p.numel() for p in self.params.values()) == 0:
            raise ValueError("a loss needs at least one parameter, got none; is every parameter frozen?")

    # -- evaluation ------------------------------------------------------------------------------

    def __call__(self, params: Mapping[str, Tensor] | None = None) -> Tensor:
        """The loss at ``params`` (at θ when none are given), a scalar tensor that can be differentiated."""
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"params must be a dict of tensors named like the parameters, got {type(params).__name__}.")
        return scalar(self.fn({**self.params, **(params or {})}), self.name)

    def many(self, stacked: Mapping[str, Tensor], vectorize: bool | None = None) -> Tensor:
        """The loss of each of K members: ``stacked[name]`` has shape (K, *shape of the parameter) -> (K,).

        Parameters that are missing stay at θ. ``vectorize`` runs all members at once (``vmap``);
        by default on a GPU only: on a CPU one after another is faster (benchmarks/).
        """
        stacked = {
            name: check.as_tensor(f"stacked[{name!r}]", value)
            for name, value in check.mapping("stacked", stacked, "tensors").items()
        }
        sizes = {name: len(value) if value.ndim else 0 for name, value in stacked.items()}
        if not sizes or len(set(sizes.values())) != 1:
            raise ValueError(f"every stacked parameter needs the same leading size K, got {sizes}.")
        for name, value in stacked.items():
            check.one_of("parameter", name, self.params)
            if value.shape[1:] != self.params[name].shape:
                raise ValueError(
                    f"stacked[{name!r}] must have shape (K, {', '.join(map(str, self.params[name].shape))}), "
                    f"got {tuple(value.shape)}."
                )
        count = next(iter(sizes.values()))
        if self.device.type == "cuda" if vectorize is None else vectorize:
            return vmap(lambda p: self(p), in_dims=0)(dict(stacked))
        return torch.stack([self({name: value[k] for name, value in stacked.items()}) for k in range(count)])

    @torch.no_grad()
    def along(
        self,
        directions: Sequence[Direction],
        coefficients: Tensor | Sequence[Sequence[float]],
        rows: int | None = None,
        stack: int | None = None,
    ) -> Tensor:
        """The loss at θ + Σⱼ cₖⱼ dⱼ for each row k of ``coefficients``, without gradients.

        Args:
            directions: D dicts shaped like ``params``; a missing name means zero.
            coefficients: (K, D).
            rows: samples per chunk, for a loss over data; chosen to fit the cache when not given.
            stack: points evaluated together; 1 on a CPU, 16 on a GPU when not given (ours).

        Returns:
            (K,) float64 on the CPU. Non-finite values are kept.

        Example:
            >>> import torch
            >>> import xmodal_lab as xl
            >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([3.0, 4.0])})
            >>> bowl.along([{"w": torch.tensor([1.0, 0.0])}], [[-3.0], [0.0], [1.0]])
            tensor([16., 25., 32.], dtype=torch.float64)
        """
        directions, table = self.check_directions(directions, coefficients)
        stack = stack or (16 if self.device.type == "cuda" else 1)
        values = []
        if stack == 1:
            for row in table.tolist():
                values.append(self(moved(self.params, directions, row)))
            return torch.stack(values).double().cpu()
        for part in table.split(stack):
            points = [moved(self.params, directions, row) for row in part.tolist()]
            values.append(self.many({name: torch.stack([p[name] for p in points]) for name in self.params}))
        return torch.cat(values).double().cpu()

    def value(self) -> float:
        """The loss at θ; its first term is evaluated twice.

        Raises:
            ValueError: the two evaluations differ, so no difference between points could be trusted.
        """
        with torch.no_grad():
            terms = self.terms()
            values = [float(scalar(term.fn(self.params), self.name)) for term in terms]
            first, second = values[0], float(scalar(terms[0].fn(self.params), self.name))
        both_nan = first != first and second != second
        if not both_nan and first != second and not abs(first - second) <= 1e-5 * max(abs(first), abs(second)):
            raise ValueError(
                f"{self.name} is stochastic: two evaluations at the same parameters gave {first:.6g} and {second:.6g}. "
                "Fix the sample and the seed, and put the model in eval mode (dropout, augmentation, sampling)."
            )
        return sum(term.weight * value for term, value in zip(terms, values, strict=True))

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
        groups: dict[str, list[str]] = {}
        for name in self.params:
            parts = name.split(".")
            deep = parts[0] == "encoders" and len(parts) > 2
            groups.setdefault(".".join(parts[: 2 if deep else 1]), []).append(name)
        return groups

    def to(self, dtype: torch.dtype) -> Loss:
        """The same loss with θ in another floating dtype (``fn`` must follow the dtype it is given)."""
        return Loss(self.fn, {k: v.to(dtype) for k, v in self.params.items()}, name=self.name)

    def check_directions(
        self, directions: Sequence[Direction], coefficients: Tensor | Sequence[Sequence[float]]
    ) -> tuple[list[Params], Tensor]:
        """Return directions, and ``coefficients`` as a (K, D) float64 table, or say what does not fit θ."""
        listed = check.listed("directions", directions)
        fitted = [self.check_direction(d, f"directions[{i}]") for i, d in enumerate(listed)]
        table = check.as_tensor("coefficients", coefficients, torch.float64).cpu()
        if table.ndim != 2 or table.shape[1] != len(fitted) or not len(table):
            raise ValueError(f"coefficients must have shape (K, {len(fitted)}) with K > 0, got {tuple(table.shape)}.")
        return fitted, table

    def check_direction(self, direction: Direction, what: str = "direction") -> Params:
        """Return ``direction`` on θ's device and dtype, or say which part has the wrong name or shape."""
        if not isinstance(direction, Mapping):
            raise TypeError(
                f"{what} must be a dict of tensors named like the parameters, got {type(direction).__name__}."
            )
        fitted: Params = {}
        for name, value in direction.items():
            check.one_of(f"parameter in {what}", name, self.params)
            part = check.as_tensor(f"{what}[{name!r}]", value).detach()
            if part.shape != self.params[name].shape:
                raise ValueError(
                    f"{what}[{name!r}] must have shape {tuple(self.params[name].shape)} like the parameter, "
                    f"got {tuple(part.shape)}."
                )
            fitted[name] = check.finite(f"{what}[{name!r}]", part.to(self.device, self.dtype))
        if not fitted:
            raise ValueError(f"{what} is empty; name at least one parameter.")
        return fitted

    @staticmethod
    def from_module(
        module: nn.Module,
        data: Any,
        criterion: Callable[[Any, Any], Tensor] | None = None,
        *,
        target: str = "labels",
        batchnorm: str = "keep",
        name: str = "loss",
    ) -> ModuleLoss:
        """A loss of any ``nn.Module`` on a fixed batch or on the batches of a loader.

        Args:
            module: looked at in eval mode; its own mode, parameters and buffers stay as they are.
            data: one batch, or an iterable of batches (a ``DataLoader``), read once and kept.
                A tuple batch is ``(*inputs, target)`` and is called as ``module(*inputs)``;
                a dict batch is called as ``module(**batch)``.
            criterion: ``criterion(output, target) -> scalar``, a mean over samples. None for
                models that return their own loss (``transformers``: ``output.loss``), and
                cross-entropy for tuple batches.
            target: name of the target in a dict batch, when there is a criterion.
            batchnorm: "keep" the running statistics, or "recalibrate" them at every point
                from this loss's own data (moved weights no longer fit the statistics of θ): each batch
                by its own mean and 1/N variance, as in training. Give one batch for those of all data.

        Example:
            >>> import torch
            >>> import xmodal_lab as xl
            >>> net = torch.nn.Linear(4, 3)
            >>> batch = (torch.rand(8, 4), torch.arange(8) % 3)  # inputs, then the target
            >>> loss = xl.Loss.from_module(net, batch)
            >>> loss.size, list(loss.blocks)
            (15, ['weight', 'bias'])
        """
        from .module_loss import ModuleLoss

        return ModuleLoss(module, data, criterion, target=target, batchnorm=batchnorm, name=name)


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


def moved(params: Params, directions: Sequence[Direction], row: Sequence[float]) -> Params:
    """θ + Σ cᵢ dᵢ as a new dict: ``params``, ``directions`` dᵢ and a ``row`` of coefficients cᵢ.

    Parameters that no direction names are shared with θ.
    """
    point = dict(params)
    for direction, c in zip(directions, row, strict=True):
        for name, part in direction.items():
            point[name] = point[name] + c * part
    return point


def scalar(value: Any, name: str) -> Tensor:
    """Return ``value`` as a 0-d tensor if it holds one number; ``name`` stands in the message.

    Raises:
        ValueError, TypeError: more numbers than one, or none.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must return a scalar tensor, got {type(value).__name__}.")
    if value.numel() != 1:
        raise ValueError(
            f"{name} must return a scalar, got shape {tuple(value.shape)}; reduce it with .mean() or .sum()."
        )
    return value.reshape(())
