"""Convolutions whose second derivative is as fast as their first.

Torch differentiates a convolution's gradient in its weights through a convolution with the
batch as channels and a kernel as large as the picture. The same sum is the gradient in the
weights of another convolution, which has a kernel of its own: a fifth of a CNN's Hessian
product (benchmarks/). A BatchNorm in eval mode right after a convolution is a factor and an
addend per channel: it moves into the weights, which saves another sixth. Values and first
derivatives stay what they are, to rounding. Beside them one operation whose second derivative torch has wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
_gradients = torch.ops.aten.convolution_backward.default


class FastSecondDerivatives(TorchFunctionMode):
    """A context in which every convolution, whoever calls it, is a :class:`_Convolution`."""

    def __init__(self) -> None:
        super().__init__()
        # output of the latest convolution, how often it was written to, and the arguments
        self._last: tuple[Any, int, Sequence[Any]] = (None, 0, ())

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """``func(*args, **kwargs)``."""
        if func in CONVOLUTIONS and not kwargs and _fits(args):
            output = _Convolution.apply(*args)  # type: ignore[no-untyped-call]
            self._last = output, output._version, args
            return output
        if func is nn.functional.batch_norm and args and self._untouched(args[0]):
            x, w, b, *options = self._last[2]
            folded = _with_norm(w, b, *args, **(kwargs or {}))
            if folded is not None:
                return _Convolution.apply(x, *folded, *options)  # type: ignore[no-untyped-call]
        if func is torch._weight_norm:
            return _weight_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _untouched(self, output: Any) -> bool:
        """Whether this is what the latest convolution gave: ``y += shortcut`` is the same tensor and other numbers."""
        return output is self._last[0] and output._version == self._last[1]


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """The direction of ``v`` times ``g``. Torch's own has a wrong second derivative on a CPU (2.13; not symmetric)."""
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _fits(args: Sequence[Any]) -> bool:
    """Whether this is how a module calls a convolution of a batch, with nothing else at work."""
    if len(args) != 7 or args[0].ndim != args[1].ndim or args[1].is_complex():
        return False
    if not all(isinstance(option, (tuple, list)) for option in args[3:6]):  # padding="same", or numbers
        return False
    return (
        len({a.dtype for a in args[:3] if a is not None}) == 1
        and not torch.is_autocast_enabled(args[0].device.type)
        and torch._C._functorch.maybe_current_level() is None  # vmap and grad of torch.func bring their own
    )


def _with_norm(
    w: Tensor,
    b: Tensor | None,
    output: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,  # of the statistics, which stay as they are
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor] | None:
    """Weights and bias of the convolution and a BatchNorm with statistics of its own, as one convolution.

    (x * w + b - mean) weight / sqrt(var + eps) + bias; None where it takes them from its batch. The
    arguments after ``b`` are those of :func:`torch.nn.functional.batch_norm`.
    """
    if training or mean is None or var is None or mean.dtype != output.dtype:
        return None
    factor = (var + eps).rsqrt() if weight is None else weight * (var + eps).rsqrt()
    centre = -mean if b is None else b - mean
    return w * factor.view(-1, *[1] * (w.ndim - 1)), centre * factor + (0 if bias is None else bias)


class _Convolution(Function):
    """y = x * w + b."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.options = (stride, padding, dilation, False, (0,) * len(stride), groups)
        return torch.convolution(x, w, b, *ctx.options)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        for_x, for_w, for_b, *_ = ctx.needs_input_grad
        gx, gw = _Gradients.apply(g, *ctx.saved_tensors, ctx.options, for_x, for_w)  # type: ignore[no-untyped-call]
        gb = g.sum((0, *range(2, g.ndim))) if for_b else None
        return gx, gw, gb, None, None, None, None


class _Gradients(Function):
    """(g, x, w) -> gx = ∂<g, x * w>/∂x and gw = ∂<g, x * w>/∂w.

    With v for gx and u for gw: <v, gx> = <g, v * w> and <u, gw> = <g, x * u>, so that
    everything is again a convolution or one of its two gradients.
    """

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, w: Tensor, options: Any, for_x: bool, for_w: bool) -> Any:
        ctx.save_for_backward(g, x, w)
        ctx.options = options
        ctx.set_materialize_grads(False)
        return _gradients(g, x, w, None, *options, [for_x, for_w, False])[:2]

    @staticmethod
    def backward(ctx: Any, v: Tensor | None, u: Tensor | None) -> Any:
        g, x, w = ctx.saved_tensors
        for_g, for_x, for_w, *_ = ctx.needs_input_grad
        og = ox = ow = None
        if for_g:
            pairs = [(a, b) for a, b in ((v, w), (x, u)) if a is not None and b is not None]
            parts = [torch.convolution(a, b, None, *ctx.options) for a, b in pairs]
            og = parts[0].add_(parts[1]) if len(parts) == 2 else parts[0] if parts else None
        if for_x and u is not None:
            ox = _gradients(g, x, u, None, *ctx.options, [True, False, False])[0]
        if for_w and v is not None:
            ow = _gradients(g, v, w, None, *ctx.options, [False, True, False])[1]
        return og, ox, ow, None, None, None
