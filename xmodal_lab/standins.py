"""Stand-ins: parts of a module whose output on a grid is known without running them.

A part whose input does not depend on θ can be replaced while a grid is evaluated. If it is
a Linear or convolution, its output is affine in its weights, so x(W + aD₁ + bD₂) needs
three products for every point of a plane (:class:`AffineLayer`). If it moves along one axis
of the grid only, its outputs at the G steps serve all G² points (:class:`KnownOutput`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .losses import Params

AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d)


class AffineLayer(nn.Module):
    """A Linear or convolution on a known input: its value at θ + Σ cᵢ dᵢ is a weighted sum of D + 1 products."""

    def __init__(self, layer: nn.Module, prefix: str, x: Tensor, params: Params, directions: Sequence[Params]) -> None:
        super().__init__()

        def product(point: Params, otherwise_zero: bool) -> Tensor:
            weights = {}
            for name, own in layer.named_parameters(recurse=False):
                given = point.get(prefix + name)
                weights[name] = given if given is not None else (torch.zeros_like(own) if otherwise_zero else own)
            output: Tensor = functional_call(layer, weights, (x,))
            return output

        self.base = product(params, otherwise_zero=False)
        self.slopes = [product(d, otherwise_zero=True) for d in directions]
        self.out = torch.empty_like(self.base)

    def move(self, row: Sequence[float]) -> None:
        """Set the output to the one at θ + Σ cᵢ dᵢ."""
        torch.add(self.base, self.slopes[0], alpha=row[0], out=self.out)
        for slope, c in zip(self.slopes[1:], row[1:], strict=True):
            self.out.add_(slope, alpha=c)

    def forward(self, _x: Tensor) -> Tensor:
        """The output at the current point; the input is known already."""
        return self.out


class KnownOutput(nn.Module):
    """Any part whose outputs were computed before; ``step`` says which one is given out."""

    def __init__(self, outputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.outputs = outputs
        self.step = 0

    def forward(self, *_inputs: Any, **_named: Any) -> Tensor:
        """The output at the current step, as a copy: what follows may work in place."""
        return self.outputs[self.step].clone()


def affine_layers(
    module: nn.Module, forward: Callable[[], Any], params: Params, directions: Sequence[Params]
) -> dict[str, AffineLayer]:
    """Stand-ins for the first layers of ``module``, by name; ``forward`` runs it once."""
    layers = {
        name: layer
        for name, layer in module.named_modules()
        if name and type(layer) in AFFINE and set(layer._parameters) == {"weight", "bias"}
    }
    inputs = known_inputs(module, forward, layers)
    return {
        name: AffineLayer(layers[name], f"{name}.", args[0], params, directions)
        for name, args in inputs.items()
        if len(args) == 1 and isinstance(args[0], Tensor)
    }


def known_inputs(
    module: nn.Module, forward: Callable[[], Any], parts: Mapping[str, nn.Module]
) -> dict[str, tuple[Any, ...]]:
    """Inputs of those ``parts`` that run once and whose input does not depend on any parameter.

    Found by running ``forward`` with gradients: an input that needs none depends on no
    parameter, unless somebody detached it; who uses a stand-in therefore tries it first.
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
            module.requires_grad_(True)
            forward()
    finally:
        for p, flag in wanted.items():
            p.requires_grad_(flag)
        for hook in hooks:
            hook.remove()
    return {name: calls[0] for name, calls in seen.items() if len(calls) == 1 and calls[0] is not None}


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


def agree(seen: float, expected: float) -> bool:
    """Whether a value with stand-ins is the one without them, up to float32 round-off."""
    return seen == expected or abs(seen - expected) <= 1e-3 * abs(expected)
