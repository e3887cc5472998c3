"""Stacked descent equals torch.optim, member by member, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from xmodal_lab.training.descent import descend, member, stack


def start(seed: int) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {"w": torch.randn(3, 2, generator=g, dtype=torch.float64), "b": torch.zeros(2, dtype=torch.float64)}


X = torch.linspace(-1, 1, 24, dtype=torch.float64).view(8, 3)
Y = torch.tensor([0, 1, 0, 1, 1, 0, 1, 0])


def losses(params: dict[str, torch.Tensor], step: int) -> torch.Tensor:
    logits = torch.einsum("nd,kdc->knc", X, params["w"]) + params["b"][:, None]
    rows = logits.log_softmax(-1)[:, torch.arange(8), Y]
    return -rows.mean(1)


OPTIMIZERS: dict[str, Any] = {
    "adam": lambda p, lr, wd: torch.optim.Adam(p, lr, weight_decay=wd),
    "adamw": lambda p, lr, wd: torch.optim.AdamW(p, lr, weight_decay=wd),
    "sgd": lambda p, lr, wd: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=wd),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_member_trains_as_torch_would_alone(name: str) -> None:
    rates, decays = torch.tensor([0.1, 0.03, 0.01]), torch.tensor([0.0, 0.1, 0.01])
    trained = descend(
        stack([start(k) for k in range(3)]), losses, steps=12, lr=rates, weight_decay=decays, optimizer=name,
        schedule="cosine", warmup=3,
    )  # fmt: skip
    for k in range(3):
        p = {n: v.clone().requires_grad_() for n, v in start(k).items()}
        optimizer = OPTIMIZERS[name](list(p.values()), float(rates[k]), float(decays[k]))
        warm = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda i: (i + 1) / 3 if i < 3 else 0.5 * (1 + torch.cos(torch.tensor(torch.pi * (i - 3) / 9)).item()),
        )
        for step in range(12):
            optimizer.zero_grad()
            losses({n: v[None] for n, v in p.items()}, step).sum().backward()
            optimizer.step()
            warm.step()
        for n, v in p.items():
            torch.testing.assert_close(member(trained, k)[n], v.detach(), rtol=1e-6, atol=1e-8)


def test_a_member_that_diverges_leaves_the_others_alone() -> None:
    both = descend(stack([start(0), start(1)]), lambda p, s: losses(p, s) * torch.tensor([1.0, torch.nan]), steps=3)
    alone = descend(stack([start(0)]), losses, steps=3)
    assert bool(both["w"][1].isnan().all())
    torch.testing.assert_close(both["w"][0], alone["w"][0])


def test_starts_stay_and_steps_are_told() -> None:
    params, told = stack([start(0)]), []
    before = params["w"].clone()
    descend(params, losses, steps=4, on_step=lambda step, each, now: told.append((step, each.shape)))
    assert torch.equal(params["w"], before)
    assert told == [(i, (1,)) for i in range(4)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": {}}, "no parameters"),
        ({"params": {"w": torch.zeros(2, 3), "b": torch.zeros(3)}}, "as their first dimension"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"schedule": "step"}, "schedule"),
        ({"steps": 0}, "steps"),
        ({"lr": torch.ones(4)}, "one per member"),
        ({"lr": float("nan")}, "finite and at least 0"),
        ({"losses": lambda p, s: losses(p, s).sum()}, "one loss per member"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"params": stack([start(0), start(1)]), "losses": losses, "steps": 2, **change}
    with pytest.raises((ValueError, TypeError), match=message):
        descend(**arguments)
    with pytest.raises(ValueError, match="nothing to stack"):
        stack([])
    with pytest.raises(ValueError, match="member 1 has parameters"):
        stack([start(0), {"w": X}])
