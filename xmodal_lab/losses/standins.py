"""Stand-ins: parts of a module whose output on a grid is known without running them.

A part whose input does not depend on θ can be replaced while a grid is evaluated. If it is
a Linear or convolution, its output is affine in its weights, so x(W + aD₁ + bD₂) needs
three products for every point of a plane (:class:`AffineLayer`). If it moves along one axis
of the grid only, its outputs at the G steps serve all G² points (:class:`KnownOutput`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..models.modules import Params, call_with
from ..utils.memory import out_of_memory
from .criteria import FAILURES
from .parameters import WeightedSum

AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d)
# Rows on which a module's parts are looked for, and tried (ours).
FEW_ROWS = 8
# A layer with fewer products per output is about as fast as the sum that would replace it (ours, measured).
LEAST_FAN_IN = 64


class AffineLayer:
    """The forward of a Linear or convolution on a known input: at θ + Σ cᵢ dᵢ a weighted sum of D + 1 products.

    It stands in for the layer's ``forward`` only: hooks run, and whoever asks the layer for its
    weight (a tied decoder, a penalty, ``x.to(layer.weight.dtype)``) gets the one of the point.
    """

    def __init__(self, layer: nn.Module, prefix: str, x: Tensor, params: Params, directions: Sequence[Params]) -> None:
        self._layer, self._prefix, self._x = layer, prefix, x
        self._base = self._product(params, otherwise_zero=False)
        self._out = torch.empty_like(self._base)
        self.aim(directions)

    def _product(self, point: Params, otherwise_zero: bool) -> Tensor:
        weights = {}
        for name, own in self._layer.named_parameters(recurse=False):
            given = point.get(self._prefix + name)
            weights[name] = given if given is not None else (torch.zeros_like(own) if otherwise_zero else own)
        w, b = weights["weight"], weights.get("bias")
        if isinstance(self._layer, nn.Linear):
            return nn.functional.linear(self._x, w, b)
        output: Tensor = self._layer._conv_forward(self._x, w, b)  # type: ignore[operator]
        return output

    def aim(self, directions: Sequence[Params]) -> None:
        """Go along other directions: a product for each; that of θ is known."""
        slopes = [self._product(d, otherwise_zero=True) for d in directions]
        self._sum = WeightedSum(self._base, slopes, self._out)

    @property
    def nbytes(self) -> int:
        """Of what is held between points."""
        return (3 + len(self._sum.slopes)) * self._base.nbytes

    def move(self, point: Sequence[float]) -> None:
        """Set the output to the one at θ + Σ cᵢ dᵢ."""
        self._sum.move(point)

    def __call__(self, _x: Tensor) -> Tensor:
        """The output at the current point; the input is known already."""
        return self._out


class KnownOutput(nn.Module):
    """A part at G values of its parameters, all run when it is called first; ``step`` says which output is given."""

    def __init__(self, part: nn.Module, points: Sequence[Params], rows: int) -> None:
        super().__init__()
        self._part = (part,)  # in a tuple: a module would register it, and it is in the other one already
        self.points, self.rows = points, rows
        self.outputs: list[Tensor] = []
        self.step = 0

    def forward(self, *inputs: Any) -> Tensor:
        """The output at the current step, as a copy: what follows may work in place."""
        if not self.outputs:
            self.outputs = [self._run(point, inputs) for point in self.points]
        return self.outputs[self.step].clone()

    def _run(self, point: Params, inputs: tuple[Any, ...]) -> Tensor:
        """The part's output at ``point``, a few rows at a time where its inputs allow it."""
        whole = len(inputs) > 1 or not isinstance(inputs[0], Tensor) or inputs[0].ndim < 2
        pieces = [inputs] if whole else [(x,) for x in inputs[0].split(self.rows)]
        outputs = [call_with(self._part[0], point, piece) for piece in pieces]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def affine_candidates(module: nn.Module, forward: Callable[[], Any]) -> dict[str, tuple[Any, ...]]:
    """The first layers of ``module`` for which a stand-in pays, and their inputs; ``forward`` runs it once."""
    layers = {
        name: layer
        for name, layer in module.named_modules()
        if name
        and type(layer) in AFFINE
        and set(layer._parameters) == {"weight", "bias"}
        and "forward" not in vars(layer)  # somebody else stands in already
        and math.prod(layer.weight.shape[1:]) >= LEAST_FAN_IN
    }
    return known_inputs(module, forward, layers)


def affine_layers(
    module: nn.Module, forward: Callable[[], Any], names: Sequence[str], params: Params, directions: Sequence[Params]
) -> dict[str, AffineLayer]:
    """Stand-ins for the layers in ``names`` on the inputs that ``forward`` gives them."""
    inputs: dict[str, Tensor] = {}

    def seeing(name: str) -> Callable[..., None]:
        def see(_layer: nn.Module, args: tuple[Any, ...]) -> None:
            inputs[name] = args[0]

        return see

    hooks = [module.get_submodule(name).register_forward_pre_hook(seeing(name)) for name in names]
    try:
        if names:
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: AffineLayer(module.get_submodule(name), f"{name}.", x, params, directions) for name, x in inputs.items()
    }


def known_inputs(
    module: nn.Module, forward: Callable[[], Any], parts: Mapping[str, nn.Module]
) -> dict[str, tuple[Any, ...]]:
    """Inputs of those ``parts`` that run once and whose input does not depend on any parameter.

    Found by running ``forward`` with gradients: an input that needs none depends on no
    parameter, unless somebody detached it; see :func:`steady`.
    """
    seen: dict[str, list[tuple[Any, ...] | None]] = {}
    hooks = []
    for name, part in parts.items():

        def see(_part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> None:
            moves = any(isinstance(a, Tensor) and a.requires_grad for a in args)
            seen.setdefault(name, []).append(None if kwargs or moves else args)

        hooks.append(part.register_forward_pre_hook(see, with_kwargs=True))
    wanted = {p: p.requires_grad for p in module.parameters()}
    try:
        with torch.enable_grad():
            for p in wanted:
                p.requires_grad_(p.is_floating_point())
            forward()
    finally:
        for p, flag in wanted.items():
            p.requires_grad_(flag)
        for hook in hooks:
            hook.remove()
    return {name: calls[0] for name, calls in seen.items() if len(calls) == 1 and calls[0] is not None}


def steady(
    module: nn.Module, forward: Callable[[], Any], inputs: Mapping[str, tuple[Any, ...]]
) -> dict[str, tuple[Any, ...]]:
    """Those of the ``inputs`` by part that are what they were, now that θ has moved."""
    now: dict[str, tuple[Any, ...]] = {}

    def seeing(name: str) -> Callable[..., None]:
        return lambda _part, args: now.__setitem__(name, args)

    hooks = [module.get_submodule(name).register_forward_pre_hook(seeing(name)) for name in inputs]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return {name: args for name, args in inputs.items() if _equal(args, now.get(name))}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, (tuple, list)):
        return isinstance(other, (tuple, list)) and len(one) == len(other) and all(map(_equal, one, other))
    return one is other or (isinstance(one, (int, float, str)) and one == other)


@contextmanager
def answering(module: nn.Module, stand_ins: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """``module`` with ``stand_ins`` for the ``forward`` of its parts while the context lasts."""
    parts = {name: module.get_submodule(name) for name in stand_ins}
    try:
        for name, part in parts.items():
            part.forward = stand_ins[name]
        yield
    finally:
        for part in parts.values():
            vars(part).pop("forward", None)


@contextmanager
def swapped(module: nn.Module, stand_ins: Mapping[str, nn.Module]) -> Iterator[None]:
    """``module`` with its parts replaced by ``stand_ins`` while the context lasts."""
    originals: list[tuple[nn.Module, str, nn.Module | None]] = []
    try:
        for name, stand_in in stand_ins.items():
            parent_name, _, child = name.rpartition(".")
            parent = module.get_submodule(parent_name)
            originals.append((parent, child, parent._modules[child]))
            parent._modules[child] = stand_in
        yield
    finally:
        for parent, child, original in originals:
            parent._modules[child] = original


def vmaps(fn: Callable[[Params], Tensor], stacked: Params, dtype: torch.dtype) -> bool:
    """Whether ``vmap`` of ``fn`` gives what ``fn`` gives, for the first and the last member of ``stacked``.

    It cannot follow an ``if`` on a value, cells of recurrent nets, random numbers, or masks of any number.
    """
    ends = {name: value.detach()[[0, -1]] for name, value in stacked.items()}
    try:
        with torch.no_grad():
            seen = torch.func.vmap(fn)(ends).tolist()
            expected = [float(fn({name: value[k] for name, value in ends.items()})) for k in (0, 1)]
    except FAILURES as error:
        if out_of_memory(error):
            raise
        return False
    return all(agree(a, b, dtype) for a, b in zip(seen, expected, strict=True))


def agree(seen: float, expected: float, dtype: torch.dtype) -> bool:
    """Whether a value with stand-ins is the one without them, up to round-off."""
    both_nan = seen != seen and expected != expected
    return (
        both_nan
        or seen == expected
        or abs(seen - expected) <= (1e-6 if dtype == torch.float64 else 1e-4) * abs(expected)
    )
