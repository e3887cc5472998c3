"""Modules that return more than logits, and criteria that read it: the same from every instrument."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import xmodal_lab as xl

X, Y = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


@dataclass
class Out:
    logits: torch.Tensor
    hidden: torch.Tensor


class Net(nn.Module):
    """Returns its logits and what lies before them, in the form that is asked."""

    def __init__(self, form: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.form = nn.Linear(5, 4), nn.Linear(4, 3), form

    def forward(self, x: torch.Tensor) -> object:
        hidden = self.first(x).tanh()
        logits = self.last(hidden)
        forms = {"tuple": (logits, hidden), "dict": {"logits": logits, "hidden": hidden}, "object": Out(logits, hidden)}
        return forms[self.form]


def parts(out: object) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(out, tuple):
        return out  # type: ignore[return-value]
    return (out["logits"], out["hidden"]) if isinstance(out, dict) else (out.logits, out.hidden)  # type: ignore[attr-defined]


def judged(out: object, target: torch.Tensor) -> torch.Tensor:
    logits, hidden = parts(out)
    return F.cross_entropy(logits, target) + 0.5 * hidden.square().mean()


@pytest.mark.parametrize("form", ["tuple", "dict", "object"])
def test_a_criterion_reads_all_that_the_module_returns(form: str) -> None:
    net = Net(form)
    want = judged(net(X), Y).item()
    assert xl.Loss.from_module(net, (X, Y), judged).value() == pytest.approx(want, abs=1e-6)
    whole = xl.robustness.evaluate_under(net, (X, Y), criterion=judged)
    assert whole.loss == pytest.approx(want, abs=1e-6)
    assert whole.accuracy == pytest.approx(float((parts(net(X))[0].argmax(1) == Y).float().mean()))
    assert float(xl.look(net, (X, Y), criterion=judged).loss) == pytest.approx(want, abs=1e-6)
    attack = xl.robustness.pgd(net, (X, Y), "input", 0.1, 0.1, 1, criterion=judged)
    x = X.clone().requires_grad_()
    judged(net(x), Y).backward()
    torch.testing.assert_close(attack.inputs["input"], X + 0.1 * x.grad.sign())
    table = xl.robustness.report(net, (X, Y), criterion=judged, noise=(), missing=())
    assert table["loss"][0] == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_batches_of_what_a_module_returns_are_joined(form: str) -> None:
    net = Net(form)
    small = xl.robustness.evaluate_under(net, (X, Y), criterion=judged, batch_size=5)
    assert small.loss == pytest.approx(judged(net(X), Y).item(), abs=1e-6)


def test_a_criterion_on_logits_alone_still_gets_them() -> None:
    for form in ("tuple", "dict", "object"):
        found = xl.robustness.evaluate_under(Net(form), (X, Y), criterion=F.cross_entropy)
        assert found.loss == pytest.approx(F.cross_entropy(parts(Net(form)(X))[0], Y).item(), abs=1e-6)


class OwnLoss(nn.Module):
    """As many write it: a dict with the loss in it."""

    def __init__(self, many: bool) -> None:
        super().__init__()
        self.line, self.many = nn.Linear(5, 1), many

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        told = self.line(x)[:, 0]
        found = {} if labels is None else {"loss": (told - labels).square().mean()}
        return {**found, **({"told": told} if self.many else {"logits": told})}


def test_a_loss_in_a_dict_is_the_modules_own() -> None:
    net, target = OwnLoss(many=False), torch.randn(12)
    want = (net.line(X)[:, 0] - target).square().mean().item()
    assert xl.Loss.from_module(net, {"x": X, "labels": target}).value() == pytest.approx(want, abs=1e-6)
    assert xl.metrics.scores(net, {"x": X, "labels": target})["mse"] == pytest.approx(want, abs=1e-6)


def test_what_has_no_logits_and_what_cannot_be_joined_is_told() -> None:
    net, batch = OwnLoss(many=True), {"x": X, "labels": torch.randn(12)}
    with pytest.raises(TypeError, match="must return a tensor of logits"):
        xl.metrics.scores(net, batch)

    class WithMean(Net):
        def forward(self, x: torch.Tensor) -> object:
            logits, hidden = super().forward(x)  # type: ignore[misc]
            return logits, hidden, hidden.mean()

    with pytest.raises(ValueError, match="batches of its output cannot be joined; give batch_size= of all rows"):
        xl.robustness.evaluate_under(
            WithMean("tuple"), (X, Y), criterion=lambda out, y: judged(out[:2], y), batch_size=5
        )
