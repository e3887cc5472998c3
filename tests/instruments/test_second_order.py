"""Second derivatives of convolutions beside torch's own, and with functions that bring their own rules."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from xmodal_lab import curvature
from xmodal_lab.instruments.curvature.second_order import FastSecondDerivatives
from xmodal_lab.losses import Loss

DOUBLE = torch.float64
LAYERS = {
    "stride": (nn.Conv2d(4, 6, 3, stride=2, padding=1), (3, 4, 7, 6)),
    "groups": (nn.Conv2d(4, 6, 3, dilation=2, groups=2, bias=False), (3, 4, 7, 6)),
    "same": (nn.Conv2d(4, 6, 3, padding="same"), (3, 4, 7, 6)),
    "circular": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (3, 4, 7, 6)),
    "one dimension": (nn.Conv1d(4, 5, 4, stride=3), (2, 4, 11)),
    "three dimensions": (nn.Conv3d(2, 3, 2), (2, 2, 4, 3, 4)),
    "transposed": (nn.ConvTranspose2d(4, 2, 3), (2, 4, 4, 4)),
    "no batch": (nn.Conv2d(4, 2, 3), (4, 5, 5)),
    "twice": (nn.Sequential(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 2, 2)), (2, 4, 6, 6)),
}


def normed(training: bool, affine: bool = True, bias: bool = True) -> nn.Module:
    """A convolution and a BatchNorm whose statistics are far from 0 and 1."""
    pair = nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine)).double().train(training)
    generator = torch.Generator().manual_seed(2)
    for tensor in (pair[1].running_mean, pair[1].weight, pair[1].bias):
        if tensor is not None:
            tensor.data.normal_(generator=generator)
    pair[1].running_var.uniform_(0.3, 3.0, generator=generator)
    return pair


LAYERS |= {
    "norm": (normed(training=False), (2, 3, 5, 5)),
    "norm, no bias": (normed(training=False, bias=False), (2, 3, 5, 5)),
    "norm, no factors": (normed(training=False, affine=False), (2, 3, 5, 5)),
    "norm of its batch": (normed(training=True), (4, 3, 5, 5)),
}


def products(layer: nn.Module, x: Tensor, fast: bool) -> list[Tensor]:
    """Gradients of a curved function of the layer's output, and Hessian products, in input and weights."""
    leaves = {n: p.detach().to(DOUBLE).requires_grad_() for n, p in layer.named_parameters()}
    x = x.clone().requires_grad_()
    at = [x, *leaves.values()]
    with FastSecondDerivatives() if fast else nullcontext():
        value = functional_call(layer, leaves, (x,)).sin().square().sum()
        first = torch.autograd.grad(value, at, create_graph=True)
    generator = torch.Generator().manual_seed(1)
    vectors = [torch.randn(g.shape, generator=generator, dtype=DOUBLE) for g in first]
    second = torch.autograd.grad(first, at, vectors)
    return [part.detach() for part in (*first, *second)]


@pytest.mark.parametrize("name", LAYERS)
def test_as_torch_does_it(name: str) -> None:
    layer, shape = LAYERS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    for mine, theirs in zip(products(layer, x, fast=True), products(layer, x, fast=False), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("frozen", ["weight", "input"])
def test_one_side_only(frozen: str) -> None:
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 3, 6, 6, generator=g, dtype=DOUBLE), torch.randn(4, 3, 3, 3, generator=g, dtype=DOUBLE)
    leaf = (x if frozen == "weight" else w).requires_grad_()
    with FastSecondDerivatives():
        first = torch.autograd.grad(F.conv2d(x, w).exp().sum(), leaf, create_graph=True)[0]
    plain = torch.autograd.grad(F.conv2d(x, w).exp().sum(), leaf, create_graph=True)[0]
    vector = torch.randn(first.shape, generator=g, dtype=DOUBLE)
    mine, theirs = (torch.autograd.grad(grad, leaf, vector)[0] for grad in (first, plain))
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_a_loss_that_vmaps_over_its_samples() -> None:
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(5, 2, 6, generator=g, dtype=DOUBLE), torch.randn(3, 2, 3, generator=g, dtype=DOUBLE)
    each = Loss(lambda p: vmap(lambda row: F.conv1d(row[None], p["w"]).square().mean())(x).mean(), {"w": w})
    together = Loss(lambda p: F.conv1d(x, p["w"]).square().mean(), {"w": w})
    mine, theirs = (curvature.hessian(loss).dense() for loss in (each, together))
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_a_loss_under_autocast() -> None:
    w = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 2, 6, generator=torch.Generator().manual_seed(1))

    def fn(params: dict[str, Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return F.conv1d(x, params["w"]).square().mean().float()

    assert torch.isfinite(curvature.hessian(Loss(fn, {"w": w})).dense()).all()


def test_any_order_of_derivative_and_any_way_to_call() -> None:
    """A gradient penalty is a derivative already; numbers for tuples; a shortcut added before the norm."""
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(4, 3, 5, 5, generator=g, dtype=DOUBLE), torch.randn(3, 3, 3, 3, generator=g, dtype=DOUBLE)
    norm = normed(training=False)[1]

    def penalty(p: dict[str, Tensor]) -> Tensor:
        with torch.enable_grad():
            leaf = x.clone().requires_grad_()
            slope = torch.autograd.grad(
                nn.Conv2d(3, 3, 3)._conv_forward(leaf, p["w"], None).tanh().sum(), leaf, create_graph=True
            )
        return slope[0].square().mean()

    def shortcut(p: dict[str, Tensor]) -> Tensor:
        y = nn.Conv2d(3, 4, 3, padding=1, bias=False).double()
        y = functional_call(y, {"weight": torch.cat([p["w"], p["w"][:1]])}, (x,))
        y += x.sum(1, keepdim=True)
        return F.batch_norm(y, norm.running_mean, norm.running_var).tanh().mean()

    def numbers(p: dict[str, Tensor]) -> Tensor:
        return F.conv2d(x, p["w"], None, 2, 1, 1, 1).tanh().mean()

    for fn in (penalty, shortcut, numbers):
        exact = torch.autograd.functional.hessian(lambda v, fn=fn: fn({"w": v.view_as(w)}), w.flatten())
        torch.testing.assert_close(curvature.hessian(Loss(fn, {"w": w})).dense(), exact, rtol=1e-9, atol=1e-11)


def test_a_norm_after_a_convolution_moves_into_its_weights() -> None:
    x = torch.randn(2, 3, 5, 5, dtype=DOUBLE)
    with FastSecondDerivatives():
        kept, own = normed(training=False)(x), normed(training=True)(x)
    assert type(kept.grad_fn).__name__ == "_ConvolutionBackward"
    assert type(own.grad_fn).__name__ == "NativeBatchNormBackward0"
