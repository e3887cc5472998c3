"""Derivatives that are none are refused by the name of their layer; those that are pass, kinks and casts and all."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

import xmodal_lab as xl
from xmodal_lab import curvature
from xmodal_lab.instruments.curvature import derivatives
from xmodal_lab.losses import Loss

DOUBLE = torch.float64


class Once(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * (1 - x.tanh() ** 2)


class Keeps(Once):
    """Saves an intermediate, and so leaves out a term: a symmetric matrix, and a wrong one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.tanh()
        ctx.slope = 1 - y * y
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * ctx.slope


class Wrong(Once):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 1.1 * g * (1 - x.tanh() ** 2)


class Right(Once):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * (1 - x.tanh() ** 2)


class Straight(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g


class Reversed(Straight):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return -g


class Applied(nn.Module):
    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def through_numpy(x: Tensor) -> Tensor:
    """Its second factor gets no gradient."""
    return x * torch.from_numpy(x.detach().cpu().double().sigmoid().numpy()).to(x)


SECOND = {"once": Once.apply, "keeps": Keeps.apply}
FIRST = {
    "wrong": Wrong.apply,
    "straight through": Straight.apply,
    "reversed": Reversed.apply,
    "detached": lambda x: x * x.detach().sigmoid(),
    "numpy": through_numpy,
}


def net(activation: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), Applied(activation), nn.Linear(12, 3)
    return nn.Sequential(*layers).to(dtype)


def data(rows: int = 40, size: int = 6, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(1), dtype=dtype), torch.arange(rows) % 3


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("kind", SECOND)
def test_a_wrong_second_derivative_names_its_layer(kind: str, dtype: torch.dtype) -> None:
    loss = Loss.from_module(net(SECOND[kind], dtype), data(dtype=dtype))
    looks: list[Callable[[], Any]] = [
        lambda: curvature.top_eigenvalues(loss, k=1),
        lambda: curvature.trace(loss, probes=2),
        lambda: curvature.density(loss, probes=1, steps=3),
        lambda: curvature.hessian(loss, "4"),  # a block above it: the Hessian there is right, and passes
        lambda: xl.landscape.eigenvectors(loss),
    ]
    for k, look in enumerate(looks):
        if k == 3:
            look()
            continue
        with pytest.raises(ValueError, match=r"second derivative .* layer '3' \(Applied\) in loss"):
            look()


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "in float32": lambda x: x.tanh() if x.dtype == DOUBLE else Once.apply(x),
    "from 16 rows on": lambda x: x.tanh() if len(x) < 16 else Keeps.apply(x),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_layer_that_goes_another_way_as_it_runs_is_named(way: str) -> None:
    """Fused kernels know float32 only, or pay from some size on; on a few rows in float64 all was right."""
    loss = Loss.from_module(net(WAYS[way]), data(rows=45))
    with pytest.raises(ValueError, match=r"layer '3' \(Applied\) in loss, as it runs \(float32, many rows\)"):
        curvature.trace(loss, probes=2)
    if way == "in float32":
        assert curvature.hessian(loss, dtype=DOUBLE).value > 0  # there it is right


def test_a_function_or_criterion_that_goes_another_way_in_float32_is_refused() -> None:
    crooked = WAYS["in float32"]
    mine = Loss(lambda p: crooked(p["x"]).square().sum(), {"x": torch.tensor([0.3, -0.5, 1.0])}, name="mine")
    with pytest.raises(ValueError, match="torch gives for mine, as it runs"):
        curvature.top_eigenvalues(mine, 1)
    with pytest.raises(ValueError, match="as it runs"):
        curvature.trace(Loss.from_module(net(torch.tanh), data(), lambda o, y: crooked(o).square().mean()), probes=2)
    with pytest.raises(ValueError, match="second derivative that torch gives for loss_of_feature"):
        curvature.feature_hessian(lambda f: crooked(f).square().sum(1), torch.randn(5, 3))


def test_torchs_own_refusal_reaches_the_user() -> None:
    with pytest.raises(ValueError, match="@once_differentiable"):
        curvature.hessian(Loss.from_module(net(Once.apply), data()))

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.out = nn.EmbeddingBag(5, 4, mode="sum"), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.bag(x).tanh())

    tokens = torch.randint(0, 5, (12, 3), generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="cannot be differentiated twice"):
        curvature.top_eigenvalues(Loss.from_module(Bag(), (tokens, torch.arange(12) % 3)))


@pytest.mark.parametrize("kind", FIRST)
def test_a_gradient_that_is_none_names_its_layer(kind: str) -> None:
    with pytest.raises(ValueError, match=r"gradient .* layer '3' \(Applied\) in loss is not the derivative"):
        curvature.hessian(Loss.from_module(net(FIRST[kind]), data()))


def test_what_a_forward_does_between_its_layers_is_its_own_fault() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.head = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                features = self.encoder(x)
            return self.head(features)

    frozen = Frozen()
    with pytest.raises(ValueError, match="the forward of Frozen, outside its layers"):
        curvature.hessian(Loss.from_module(frozen, data()))
    curvature.hessian(Loss.from_module(frozen, data()), "head")
    frozen.encoder.requires_grad_(False)
    curvature.hessian(Loss.from_module(frozen, data()))


def test_a_criterion_of_its_own_and_a_function() -> None:
    x, y = data()
    with pytest.raises(ValueError, match="gradient that torch gives for the criterion"):
        loss = Loss.from_module(net(torch.tanh), (x, y), lambda out, t: F.cross_entropy(Reversed.apply(out), t))
        curvature.hessian(loss)
    for function, match in ((Keeps, "second derivative"), (Straight, "gradient")):
        fn = Loss(lambda p, f=function: f.apply(x @ p["w"]).square().mean(), {"w": torch.ones(6, 2)}, name="mine")
        with pytest.raises(ValueError, match=f"{match} that torch gives for mine"):
            curvature.hessian(fn)


@pytest.mark.parametrize("kind", {**SECOND, **FIRST})
def test_in_the_feature(kind: str) -> None:
    y, w = torch.arange(8) % 3, torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    features = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    call = {**SECOND, **FIRST}[kind]
    with pytest.raises(ValueError, match="loss_of_feature is not"):
        curvature.feature_hessian(lambda f: F.cross_entropy(call(f) @ w, y, reduction="none"), features)
    right = curvature.feature_hessian(lambda f: F.cross_entropy(Right.apply(f) @ w, y, reduction="none"), features)
    plain = curvature.feature_hessian(lambda f: F.cross_entropy(f.tanh() @ w, y, reduction="none"), features)
    torch.testing.assert_close(right.norms, plain.norms)


def test_a_matrix_that_is_not_symmetric_is_no_hessian(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = curvature.hessian(Loss(lambda p: p["x"].square().sum() * p["x"][0], {"x": torch.ones(3)}))
    product = operator.matvec
    monkeypatch.setattr(operator, "matvec", lambda v: product(v) + torch.tensor([0.0, 1.0, 0.0]) * v[0])
    with pytest.raises(ValueError, match="is not symmetric: it differs from its transpose by"):
        operator.dense()


# -- what passes ---------------------------------------------------------------------------------------------


class Rms(nn.Module):
    """Casts to float32 by name, as in many language models."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        h = x.float()
        return self.weight * (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class Experts(nn.Module):
    """Kinks of all kinds: a choice, a mask without gradient, a maximum taken off before a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x)
        weight, which = (gate - gate.amax(-1, keepdim=True).detach()).softmax(-1).topk(2)
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        with torch.no_grad():
            mask = (outputs > -0.5).to(outputs)
        chosen = (outputs * mask).gather(1, which[..., None].expand(-1, -1, 3))
        return (chosen * weight[..., None]).sum(1)


class Pictures(nn.Module):
    """Biases of zero on pictures that are black in part: every such place sits on a kink."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * 9, 3)
        nn.init.zeros_(self.body[0].bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(F.pad(x.view(-1, 1, 2, 3), (0, 3, 0, 4))))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.view(len(x), 3, 2))[0][:, -1])


PASSES: dict[str, Callable[[], nn.Module]] = {
    "right": lambda: net(Right.apply),
    "relu": lambda: nn.Sequential(nn.Linear(6, 900), nn.ReLU(), nn.Linear(900, 300), nn.ReLU6(True), nn.Linear(300, 3)),
    "experts": Experts,
    "pictures": Pictures,
    "casts": lambda: nn.Sequential(nn.Linear(6, 80), Rms(80), nn.ReLU(), nn.Linear(80, 80), Rms(80), nn.Linear(80, 3)),
    "recurrent": Recurrent,
    "abs": lambda: net(torch.abs),
    "norms": lambda: nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Hardswish(), nn.LayerNorm(8), nn.Linear(8, 3)
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE, torch.bfloat16])
@pytest.mark.parametrize("kind", PASSES)
def test_what_is_right_passes_without_a_word(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = PASSES[kind]().to(dtype).eval()
    x, y = data(dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*looked at in float32")
        curvature.hessian(Loss.from_module(module, (x, y)))
        if dtype != torch.bfloat16:  # all rows at once, and data in a closure
            params = dict(module.named_parameters())
            fn = Loss(lambda p: F.cross_entropy(torch.func.functional_call(module, p, (x,)), y), params)
            curvature.hessian(fn)


def test_the_curvature_of_weight_norm_is_that_of_its_formula() -> None:
    """Torch's own second derivative of it is off by more than half on a CPU."""
    g = torch.Generator().manual_seed(0)
    v, size, c = (torch.randn(s, generator=g, dtype=DOUBLE) for s in ((4, 3), (4, 1), (4, 3)))

    def of(weight: Callable[[Tensor], Tensor]) -> Loss:
        return Loss(lambda p: (weight(p["v"]) * c).sin().sum(), {"v": v})

    own = curvature.hessian(of(lambda v: torch._weight_norm(v, size, 0))).dense()
    formula = of(lambda v: size * v / v.norm(dim=1, keepdim=True))
    exact = torch.autograd.functional.hessian(lambda flat: formula({"v": flat.view(4, 3)}), v.flatten())
    torch.testing.assert_close(own, exact, rtol=1e-10, atol=1e-12)


def test_a_loss_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal_lab.instruments.curvature import checked

    looked = []
    compared = derivatives.compared
    monkeypatch.setattr(checked, "compared", lambda *a: looked.append(1) or compared(*a))
    module = net(torch.tanh)
    loss = Loss.from_module(module, data())
    curvature.trace(loss, probes=2)
    curvature.top_eigenvalues(loss, k=1, params="2")
    curvature.top_eigenvalues(loss, k=1, dtype=DOUBLE)
    assert len(looked) == 1
    module[3] = Applied(Keeps.apply)  # another module by now
    with pytest.raises(ValueError, match="layer '3'"):
        curvature.trace(loss, probes=2)


def test_what_is_too_rough_to_tell_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal_lab.instruments.curvature import checked

    monkeypatch.setattr(checked, "compared", lambda *_: derivatives.Report(sure=False))
    loss = Loss(lambda p: p["x"].square().sum(), {"x": torch.ones(3)}, name="mine")
    with pytest.warns(RuntimeWarning, match="second derivative of mine could not be checked"):
        curvature.hessian(loss)
    curvature.hessian(loss)  # once is enough


def test_what_cancels_to_rounding_is_0_and_not_wrong() -> None:
    """Of three equal logits the loss is log 3 whatever the weights are: its derivatives are rounding alone."""

    class Equal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(6, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).expand(-1, 3)

    x, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert curvature.hessian(Loss.from_module(Equal(), (x, y))).dense().abs().max() < 1e-6
        even = torch.ones(6, 3)
        found = curvature.feature_hessian(lambda f: F.cross_entropy(f @ even, y, reduction="none"), x)
    assert found.norms.max() < 1e-6
