"""Rewrites that make a private copy of a module faster and leave its output as it is.

Each is applied, tried on a few rows, and taken back where the output changes or the module
no longer runs. What they bring is measured in benchmarks/, on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

Undo = Callable[[], None]

# Layers whose output is new memory, not a view of their input.
FRESH = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def rewrite(module: nn.Module, output: Callable[[], float]) -> None:
    """Apply those rewrites after which ``output()`` is what it was before, to rounding."""
    expected = output()
    for rewrites, tolerance in ((_relus_in_place, 0.0), (_pointwise_without_stride, 1e-5), (_channels_last, 1e-5)):
        undo = rewrites(module)
        if undo is None:
            continue
        try:
            same = abs(output() - expected) <= tolerance * max(1.0, abs(expected))
        except RuntimeError:  # such as .view() on what a convolution gave
            same = False
        if not same:
            undo()


def relus_on_fresh_output(module: nn.Module) -> list[nn.ReLU]:
    """ReLUs that follow a layer in a Sequential and are alone in reading its output."""
    found = []
    for part in module.modules():
        if type(part) is nn.Sequential:
            children = list(part)
            found += [r for layer, r in pairwise(children) if type(layer) in FRESH and type(r) is nn.ReLU]
    return found


def _relus_in_place(module: nn.Module) -> Undo | None:
    """Spares each a tensor of new memory: about a twentieth of a small MLP's forward pass."""
    relus = [r for r in relus_on_fresh_output(module) if not r.inplace]

    def put(inplace: bool) -> None:
        for relu in relus:
            relu.inplace = inplace

    put(True)
    return (lambda: put(False)) if relus else None


def _pointwise_without_stride(module: nn.Module) -> Undo | None:
    """A 1x1 convolution with a stride, as in a residual net's shortcuts, reads only the places that it uses."""
    found = [
        (m, m.stride)
        for m in module.modules()
        if type(m) is nn.Conv2d and m.kernel_size == (1, 1) and m.stride != (1, 1) and m.padding == (0, 0)
    ]

    def thin(stride: tuple[int, ...]) -> Callable[..., tuple[Tensor, ...]]:
        def see(_layer: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor, ...]:
            return tuple(x[..., :: stride[0], :: stride[1]] for x in args)  # none where it is called by keyword

        return see

    hooks = [m.register_forward_pre_hook(thin(stride)) for m, stride in found]
    for m, _ in found:
        m.stride = (1, 1)

    def undo() -> None:
        for hook, (m, stride) in zip(hooks, found, strict=True):
            hook.remove()
            m.stride = stride

    return undo if found else None


def _channels_last(module: nn.Module) -> Undo | None:
    """Spares convolutions a change of layout before and after; torch's GroupNorm is slower that way and costs more."""
    pictures = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    if any(isinstance(m, nn.GroupNorm) for m in module.modules()) or any(
        m.weight.dtype != torch.float32 for m in pictures
    ):
        return None

    def put(layout: torch.memory_format) -> None:
        for m in pictures:
            m.weight.data = m.weight.data.contiguous(memory_format=layout)

    put(torch.channels_last)
    return (lambda: put(torch.contiguous_format)) if pictures else None
