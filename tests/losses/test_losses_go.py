"""What a loss holds goes when the loss goes, not when Python looks for circles: on a GPU memory runs out before."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import xmodal_lab as xl

LOOKS: dict[str, Callable[[xl.Loss], Any]] = {
    "value": lambda loss: loss.value(),
    "gradient": lambda loss: loss({n: p.clone().requires_grad_() for n, p in loss.params.items()}).backward(),
    "plane": lambda loss: xl.landscape.plane(loss, points=5),
    "line": lambda loss: xl.landscape.line(loss, points=5),
    "lpf": lambda loss: xl.flatness.lpf(loss, samples=2),
    "gap": lambda loss: xl.flatness.gap(loss, [0.1], directions=2),
    "eigenvalues": lambda loss: xl.curvature.top_eigenvalues(loss, 2),
    "density": lambda loss: xl.curvature.density(loss, steps=4, probes=2),
    "Gauss-Newton": lambda loss: xl.curvature.trace(loss, probes=2, of="ggn"),
    "Fisher": lambda loss: xl.curvature.trace(loss, probes=2, of="fisher"),
    "elsewhere": lambda loss: loss.at({n: 1.1 * p for n, p in loss.params.items()}).value(),
    "float64": lambda loss: loss.to(torch.float64).value(),
}


@pytest.fixture(autouse=True)
def no_looking_for_circles() -> Iterator[None]:
    made().value()  # what torch imports at a first call leaves circles, through all that called it
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def made() -> xl.losses.ModuleLoss:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))
    return xl.losses.ModuleLoss(net, (torch.randn(9, 4), torch.arange(9) % 3))


@pytest.mark.parametrize("look", list(LOOKS))
def test_a_loss_goes_with_its_last_name(look: str) -> None:
    loss = made()
    LOOKS[look](loss)
    gone = {
        "loss": weakref.ref(loss), "data": weakref.ref(loss.data), "batch": weakref.ref(loss.batches[0][0]),
        "module": weakref.ref(loss.module),
    }  # fmt: skip
    del loss
    assert [name for name, there in gone.items() if there() is not None] == []


def test_what_is_taken_from_a_loss_keeps_it() -> None:
    """A term, an operator and the same loss elsewhere go on when the name of the loss is gone."""
    expected = made().value()
    (term,), fn, there = made().terms(), made().fn, made().at(made().params)
    params = there.params
    assert float(term.fn(params)) == pytest.approx(expected) == float(fn(params)) == there.value()
    assert xl.curvature.hessian(made()).value == pytest.approx(expected)


def test_copies_of_a_loss_follow_their_own() -> None:
    loss = made()
    expected, plane = loss.value(), xl.landscape.plane(loss, points=5)
    copies = [copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), copy.copy(loss)]
    del loss
    for again in copies:
        assert again.value() == expected and xl.landscape.plane(again, points=5).equals(plane)


class Keeps(nn.Module):
    """Keeps what its parts gave, as modules do that show their attention, and as the old ``weight_norm`` does."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.seen, self.all, self.before = nn.Linear(4, 3), None, list[torch.Tensor](), torch.zeros(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = self.before = self.a(x)
        self.all.append(self.seen)
        self.more = {"last": self.seen}
        return self.seen


def test_vmap_leaves_nothing_of_its_own_on_a_module() -> None:
    module = Keeps()
    loss = xl.Loss.from_module(module, (torch.randn(6, 4), torch.arange(6) % 3))
    loss.value()
    module.all.clear()
    values = loss.many({n: torch.stack([p, 1.1 * p.detach()]) for n, p in loss.params.items()}, vectorize=True)
    assert loss._vmaps and len(values) == 2
    kept = [module.seen, module.before, module.more["last"], *module.all]
    assert all(not torch._C._functorch.is_functorch_wrapped_tensor(t) for t in kept)
    assert float(module.before.sum()) == float(copy.deepcopy(module.more["last"].detach()).sum())
    loss.to(torch.float64).value()
