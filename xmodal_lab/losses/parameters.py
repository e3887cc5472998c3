"""Points θ + Σ cᵢ dᵢ of parameter space: checked, made anew, stacked, or written in place into a module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..models.modules import Direction, Params
from ..utils import checks as check

# Up to this many scalars the parameters lie in one buffer, so that a point is one sum, not one for each
# parameter. Beyond, the copies that it takes would cost more memory than the calls cost time (ours).
ONE_BUFFER = 1 << 20
# Fewer points do not pay for the copies (ours).
FEW_POINTS = 8


def fitted(params: Params, direction: Direction, what: str = "direction") -> Params:
    """``direction`` on the device and in the dtype of ``params``; ``what`` stands in the message.

    Raises:
        ValueError, TypeError: no dict of tensors, a name or shape that ``params`` do not have, NaN, nothing in it.
    """
    if not isinstance(direction, Mapping):
        raise TypeError(f"{what} must be a dict of tensors named like the parameters, got {type(direction).__name__}.")
    parts: Params = {}
    for name, value in direction.items():
        check.one_of(f"parameter in {what}", name, params)
        part, like = check.as_tensor(f"{what}[{name!r}]", value).detach(), params[name]
        if part.shape != like.shape:
            raise ValueError(
                f"{what}[{name!r}] must have shape {tuple(like.shape)} like the parameter, got {tuple(part.shape)}."
            )
        parts[name] = part.to(like.device, like.dtype)
    if not parts:
        raise ValueError(f"{what} is empty; name at least one parameter.")
    check_finite(parts, what)
    return parts


def check_finite(parts: Params, what: str) -> None:
    """Refuse NaN and infinity in any of ``parts``; on a GPU the host waits once for all of them."""
    if next(iter(parts.values())).device.type != "cpu":
        found: dict[torch.device, list[Tensor]] = {}
        for part in parts.values():
            found.setdefault(part.device, []).append(part.sum() * 0)  # NaN where any is NaN or infinite
        if all(bool(torch.isfinite(torch.stack(each).sum())) for each in found.values()):
            return
    for name, part in parts.items():
        check.finite(f"{what}[{name!r}]", part)


def fitted_stack(params: Params, stacked: Mapping[str, Tensor]) -> tuple[Params, int]:
    """``stacked`` (name -> (K, *shape of the parameter)) as tensors, and K.

    Raises:
        ValueError, TypeError: no dict of tensors, an unknown name, another shape, several K.
    """
    parts = {
        name: check.as_tensor(f"stacked[{name!r}]", value)
        for name, value in check.mapping("stacked", stacked, "tensors").items()
    }
    sizes = {name: len(value) if value.ndim else 0 for name, value in parts.items()}
    if not sizes or len(set(sizes.values())) != 1:
        raise ValueError(f"every stacked parameter needs the same leading size K, got {sizes}.")
    for name, value in parts.items():
        check.one_of("parameter", name, params)
        if value.shape[1:] != params[name].shape:
            raise ValueError(
                f"stacked[{name!r}] must have shape (K, {', '.join(map(str, params[name].shape))}), "
                f"got {tuple(value.shape)}."
            )
    return parts, next(iter(sizes.values()))


def moved(params: Params, directions: Sequence[Direction], row: Sequence[float]) -> Params:
    """θ + Σ cᵢ dᵢ as a new dict: ``params``, ``directions`` dᵢ and a ``row`` of coefficients cᵢ.

    Parameters that no direction names are shared with θ.
    """
    point = dict(params)
    for direction, c in zip(directions, row, strict=True):
        if c == 0:
            continue
        for name, part in direction.items():
            point[name] = point[name] + c * part
    return point


class Points:
    """θ + Σ cᵢ dᵢ for many rows of coefficients at once: one product for all parameters of a dtype.

    Args:
        params: θ.
        directions: dicts of parts shaped like ``params``; a missing name means zero.
    """

    def __init__(self, params: Params, directions: Sequence[Params]) -> None:
        moving = [name for name in params if any(name in d for d in directions)]
        self.like = {name: params[name] for name in moving}
        self.groups: list[tuple[list[str], Tensor, Tensor]] = []
        for kind in dict.fromkeys((p.dtype, p.device) for p in self.like.values()):
            names = [name for name, p in self.like.items() if (p.dtype, p.device) == kind]
            base = torch.cat([params[name].reshape(-1) for name in names])
            zero = base.new_zeros(len(base))
            slopes = [
                torch.cat([d[n].reshape(-1) if n in d else zero[: params[n].numel()] for n in names])
                for d in directions
            ]
            self.groups.append((names, base, torch.stack(slopes)))

    def at(self, table: Tensor) -> Params:
        """The points of all rows of ``table`` (K, D), of the parameters that move: name -> (K, *shape)."""
        points: Params = {}
        for names, base, slopes in self.groups:
            flat = torch.addmm(base, table.to(base.dtype).to(base.device), slopes)
            parts = flat.split([self.like[name].numel() for name in names], 1)
            points |= {n: part.view(len(table), *self.like[n].shape) for n, part in zip(names, parts, strict=True)}
        return points


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


@dataclass(frozen=True)
class Term:
    """One summand of a loss: ``weight * fn(params)``, differentiable in ``params``."""

    weight: float
    fn: Callable[[Params], Tensor]


@dataclass(frozen=True)
class Halves:
    """One summand of a loss in two halves: ``weight * criterion(*outputs(params))``.

    Attributes:
        weight: its share of the loss.
        rows: samples in it.
        outputs: parameters -> (what the module gives, the target).
        criterion: (outputs, target) -> scalar.
    """

    weight: float
    rows: int
    outputs: Callable[[Params], tuple[Any, Any]]
    criterion: Callable[[Any, Any], Tensor]


@torch.no_grad()
def value_of(terms: Sequence[Term], params: Params, name: str) -> float:
    """The sum of ``terms`` at ``params``; the first is evaluated twice, and two values of it are refused."""
    values = [float(scalar(term.fn(params), name)) for term in terms]
    first, second = values[0], float(scalar(terms[0].fn(params), name))
    both_nan = first != first and second != second
    if not both_nan and first != second and not abs(first - second) <= 1e-5 * max(abs(first), abs(second)):
        raise ValueError(
            f"{name} is stochastic: two evaluations at the same parameters gave {first:.6g} and {second:.6g}. "
            "Fix the sample and the seed, and put the model in eval mode (dropout, augmentation, sampling)."
        )
    return sum(term.weight * value for term, value in zip(terms, values, strict=True))


def blocks_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Parameter names by block: ``encoders.image``, ``fusion``, ``head``; else by first name."""
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        deep = parts[0] == "encoders" and len(parts) > 2
        groups.setdefault(".".join(parts[: 2 if deep else 1]), []).append(name)
    return groups


class WeightedSum:
    """``out`` = base + Σ cᵢ slopeᵢ for one point after the other; a row of a grid shares all but its last term."""

    def __init__(self, base: Tensor, slopes: Sequence[Tensor], out: Tensor) -> None:
        self.base, self.slopes, self.out = base, slopes, out
        self._row = base if len(slopes) == 1 else base.clone()  # to which the terms before the last are added
        self._row_at: tuple[float, ...] = (0.0,) * (len(slopes) - 1)

    def forget(self) -> None:
        """The slopes have changed."""
        self._row_at = (math.nan,) * len(self._row_at)

    def move(self, point: Sequence[float]) -> None:
        """Write the sum with coefficients ``point`` into ``out``."""
        *before, last = point
        if tuple(before) != self._row_at:
            self._row.copy_(self.base)
            for slope, c in zip(self.slopes, before, strict=False):
                if c != 0:
                    self._row.add_(slope, alpha=c)
            self._row_at = tuple(before)
        torch.add(self._row, self.slopes[-1], alpha=last, out=self.out)


class Mover:
    """Writes θ + Σ cᵢ dᵢ into the parameters of a private module, once :meth:`aim` has said along which directions.

    Args:
        parameters: name -> parameter of that module, those that move; the others stay as they are.
        params: θ.
        count: of directions.
        points: how many points there will be along them.
    """

    def __init__(self, parameters: Mapping[str, Tensor], params: Params, count: int, points: int) -> None:
        self.moving, self.params = parameters, params
        self.directions: Sequence[Params] = [{}] * count
        size = sum(p.numel() for p in parameters.values())
        one_dtype = len({p.dtype for p in parameters.values()}) == 1
        self._sum: WeightedSum | None = None
        if one_dtype and size <= ONE_BUFFER and points > FEW_POINTS:
            out, base, *self._slopes = (self._buffer(size) for _ in range(2 + count))
            for name, parameter in parameters.items():
                base[1][name].copy_(params[name])
                parameter.data = out[1][name].copy_(params[name])
            self._sum = WeightedSum(base[0], [flat for flat, _ in self._slopes], out[0])

    def aim(self, directions: Sequence[Params]) -> None:
        """Go along these directions: dicts of parts shaped like the parameters; a missing name means zero."""
        self.directions = directions
        if self._sum is not None:
            for (_, views), direction in zip(self._slopes, directions, strict=True):
                for name, view in views.items():
                    view.copy_(direction[name]) if name in direction else view.zero_()
            self._sum.forget()

    def move(self, point: Sequence[float]) -> None:
        """Write the point with coefficients ``point``."""
        if self._sum is not None:
            self._sum.move(point)
        else:
            write(self.moving, self.params, self.directions, point)

    def _buffer(self, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Room for all that moves, and its parts."""
        flat, views, offset = next(iter(self.moving.values())).data.new_zeros(size), {}, 0
        for name, parameter in self.moving.items():
            views[name] = flat.as_strided(parameter.shape, _strides(parameter), offset)
            offset += parameter.numel()
        return flat, views


def write(parameters: Mapping[str, Tensor], params: Params, directions: Sequence[Params], row: Sequence[float]) -> None:
    """Write θ + Σ cᵢ dᵢ into ``parameters``, one at a time."""
    for name, parameter in parameters.items():
        base: Tensor | None = params[name]
        for direction, c in zip(directions, row, strict=True):
            part = direction.get(name)
            if part is None or (c == 0 and len(row) > 2):  # many directions: a draw each
                continue
            if base is not None:
                torch.add(base, part, alpha=c, out=parameter.data)
                base = None
            else:
                parameter.data.add_(part, alpha=c)
        if base is not None and len(row) > 2:
            parameter.data.copy_(base)


def _strides(parameter: Tensor) -> tuple[int, ...]:
    """Strides of a dense tensor, in the parameter's own order of axes where it is dense."""
    dense = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return parameter.stride() if dense else torch.empty(parameter.shape, device="meta").stride()
