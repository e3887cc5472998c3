"""The one training loop of modules, against steps by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from xmodal_lab.training.loop import take_step, train, warmed_up


def _net() -> tuple[nn.Linear, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    net = nn.Linear(3, 2).double()
    with torch.no_grad():
        net.weight.copy_(torch.randn(2, 3, generator=g, dtype=torch.float64))
        net.bias.zero_()
    return net, torch.randn(8, 3, generator=g, dtype=torch.float64), torch.randn(8, 2, generator=g, dtype=torch.float64)


def _trained(by_hand: bool) -> Tensor:
    net, x, y = _net()
    adam = torch.optim.AdamW(net.parameters(), 0.1, weight_decay=0.01)

    def loss_at(step: int) -> Tensor:
        return ((net(x) - y) ** 2).mean() * (step + 1)

    if by_hand:
        for step in range(5):
            adam.zero_grad()
            loss_at(step).backward()
            adam.step()
    else:
        train(adam, loss_at, 5)
    return net.weight.detach()


def test_it_takes_the_steps_of_the_optimizer_to_the_bit() -> None:
    assert torch.equal(_trained(by_hand=True), _trained(by_hand=False))


def test_steps_may_be_left_out_and_are_told_when_taken() -> None:
    net, x, y = _net()
    taken: list[int] = []
    train(torch.optim.SGD(net.parameters(), 0.1), lambda step: None if step % 2 else ((net(x) - y) ** 2).mean(), 5,
          after=taken.append)  # fmt: skip
    assert taken == [0, 2, 4]


def test_the_rate_is_that_of_the_step_for_all_groups() -> None:
    net, x, y = _net()
    sgd = torch.optim.SGD([{"params": [net.weight], "lr": 9.0}, {"params": [net.bias], "lr": 9.0}])
    seen: list[list[float]] = []
    train(sgd, lambda step: ((net(x) - y) ** 2).mean(), 4, rate=warmed_up(0.1, 4, 2),
          after=lambda step: seen.append([group["lr"] for group in sgd.param_groups]))  # fmt: skip
    assert seen == [[pytest.approx(r)] * 2 for r in (0.05, 0.1 * 3 / 4, 0.1 * 2 / 4, 0.1 / 4)]


def test_a_sharp_step_takes_the_gradient_further_up() -> None:
    net, x, y = _net()
    start, rho = net.weight.detach().clone(), 0.3
    net.bias.requires_grad_(False)

    def loss() -> Tensor:
        return ((net(x) - y) ** 2).mean()

    (gradient,) = torch.autograd.grad(loss(), [net.weight])
    with torch.no_grad():
        net.weight.add_(rho * gradient / gradient.norm())
    (further,) = torch.autograd.grad(loss(), [net.weight])
    with torch.no_grad():
        net.weight.copy_(start)
    take_step(torch.optim.SGD(net.parameters(), 0.1), loss(), rho, loss)
    torch.testing.assert_close(net.weight.detach(), start - 0.1 * further)
    assert net.bias.grad is None and math.isfinite(float(net.bias.sum()))


def test_gradients_that_are_transposed_reach_the_fused_optimizer_as_they_are() -> None:
    weight = nn.Parameter(torch.arange(6.0).view(2, 3))
    adam = torch.optim.Adam([weight], 0.1, fused=True)
    take_step(adam, (weight.t().reshape(-1) * torch.arange(6.0)).sum())
    assert weight.grad is not None and weight.grad.is_contiguous()
    plain = nn.Parameter(torch.arange(6.0).view(2, 3))
    take_step(torch.optim.Adam([plain], 0.1), (plain.t().reshape(-1) * torch.arange(6.0)).sum())
    torch.testing.assert_close(weight.detach(), plain.detach())
