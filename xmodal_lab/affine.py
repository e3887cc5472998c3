"""First layers are affine in their weights: x(W + aD₁ + bD₂) needs three products for every point of a plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .losses import Params


class AffineFirstLayer(nn.Module):
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
        """Set the output to the one at θ + Σ cᵢ dᵢ."""
        torch.add(self.base, self.slopes[0], alpha=row[0], out=self.out)
        for slope, c in zip(self.slopes[1:], row[1:], strict=True):
            self.out.add_(slope, alpha=c)

    def forward(self, _x: Tensor) -> Tensor:
        """The output at the current point; the input is known already."""
        return self.out


_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d)


@contextmanager
def affine_first_layers(
    module: nn.Module, forward: Callable[[], Any], params: Params, directions: Sequence[Params], points: int
) -> Iterator[list[AffineFirstLayer]]:
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
            forward()
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
                stand_in = AffineFirstLayer(layer, f"{name}.", inputs[0], params, directions)
                parent._modules[child] = stand_in
                swapped.append((parent, child, layer))
                first_layers.append(stand_in)
        yield first_layers
    finally:
        for parent, child, layer in swapped:
            parent._modules[child] = layer
