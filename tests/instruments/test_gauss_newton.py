"""GGN, empirical Fisher, block-diagonal products and Hutch++ against matrices written out in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import xmodal_lab as xl
from xmodal_lab import curvature
from xmodal_lab.instruments.curvature import operator as operators
from xmodal_lab.losses import Loss
from xmodal_lab.models.one_tower import OneTower

DOUBLE = torch.float64
N = 10


class Branches(nn.Module):
    """A convolution with GroupNorm, one with BatchNorm, attention between them, and a head."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Tanh())
        self.audio = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.mix = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, outputs)

    def forward(self, image: Tensor, audio: Tensor) -> Tensor:
        tokens = torch.cat([self.image(image).flatten(2), self.audio(audio).flatten(2)], 2).mT
        logits: Tensor = self.head(self.mix(tokens, tokens, tokens, need_weights=False)[0].mean(1))
        return logits


def smooth(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, label_smoothing=0.2)


CRITERIA: dict[str, tuple[Callable[..., Tensor] | None, bool]] = {
    "cross-entropy": (None, True),
    "smoothed": (smooth, True),
    "squared": (F.mse_loss, False),
}


def net_loss(criterion: str = "cross-entropy", dtype: torch.dtype = DOUBLE) -> Loss:
    torch.manual_seed(0)
    model = Branches()
    image, audio = torch.randn(2, N, 1, 4, 4)
    model(image, audio)  # gives BatchNorm running statistics
    fn, classes = CRITERIA[criterion]
    target = torch.randint(0, 3, (N,)) if classes else torch.randn(N, 3)
    loss = Loss.from_module(model, (image, audio, target), fn)
    return loss.to(dtype) if dtype != loss.dtype else loss


def written_out(loss: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The Jacobian (N, C, n) of the outputs, row by row, the outputs, and the gradients (N, n) of each row's loss."""
    *inputs, target = loss.batches[0]
    names = list(loss.params)

    def outputs(*params: Tensor) -> Tensor:
        return torch.func.functional_call(loss.module.eval(), dict(zip(names, params, strict=True)), tuple(inputs))

    point = tuple(loss.params.values())
    jacobian = torch.cat([j.flatten(2) for j in torch.autograd.functional.jacobian(outputs, point)], 2)
    z = outputs(*point).detach().requires_grad_()
    criterion = loss.data.criterion or F.cross_entropy
    rows = [torch.autograd.grad(criterion(z[i : i + 1], target[i : i + 1]), z)[0][i] for i in range(len(target))]
    return jacobian, z.detach(), torch.einsum("ncp,nc->np", jacobian, torch.stack(rows))


def oracle(loss: Any, of: str) -> Tensor:
    jacobian, z, gradients = written_out(loss)
    if of == "fisher":
        return gradients.T @ gradients / len(gradients)
    target, criterion = loss.batches[0][-1], loss.data.criterion or F.cross_entropy
    inner = torch.autograd.functional.hessian(lambda z: criterion(z, target), z)
    return torch.einsum("ncp,ncmd,mdq->pq", jacobian, inner, jacobian)


@functools.cache
def matrix(of: str) -> Tensor:
    """That of ``net_loss()``: the Hessian's by its products, the others written out."""
    return curvature.hessian(net_loss()).dense() if of == "hessian" else oracle(net_loss(), of)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("of", ["ggn", "fisher"])
def test_products_are_those_of_the_matrix_written_out(of: str, criterion: str) -> None:
    loss = net_loss(criterion)
    exact = oracle(loss, of)
    make = getattr(curvature, of)
    vector = torch.randn(len(exact), dtype=DOUBLE)  # no wrong entry hides from numbers that are random
    torch.testing.assert_close(make(loss) @ vector, exact @ vector, rtol=1e-9, atol=1e-11)
    assert float(torch.linalg.eigvalsh(exact)[0]) > -1e-10
    operator = make(loss, rows=3)
    torch.testing.assert_close(operator @ vector, exact @ vector, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(operator.many(torch.stack([vector, -vector]))[1], -exact @ vector, rtol=1e-9, atol=1e-11)
    assert operator.products == 3 and operator.value == pytest.approx(float(loss()))


@pytest.mark.parametrize("of", ["ggn", "fisher"])
def test_several_vectors_go_back_at_once_to_the_same(of: str) -> None:
    operator = getattr(curvature, of)(net_loss())
    vectors = torch.randn(3, operator.size, dtype=DOUBLE)
    torch.testing.assert_close(operator._product(vectors), operator.many(vectors), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("of", ["ggn", "fisher"])
def test_nothing_retained_and_float32_and_double_on_request(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = matrix(of)
    single = net_loss(dtype=torch.float32)
    vector = torch.randn(len(exact), dtype=DOUBLE)
    monkeypatch.setattr(operators, "RETAIN_BYTES", 0)
    rough = getattr(curvature, of)(single, rows=4)
    for _ in range(2):
        torch.testing.assert_close((rough @ vector).double(), exact @ vector, rtol=1e-4, atol=1e-5)
    fine = getattr(curvature, of)(single, dtype=DOUBLE)
    torch.testing.assert_close(fine @ vector, exact @ vector, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("of", ["ggn", "fisher"])
def test_measures_take_the_matrix_by_its_word(of: str) -> None:
    loss = net_loss()
    exact = matrix(of)
    spectrum = torch.linalg.eigvalsh(exact).flip(0)
    top = curvature.top_eigenvalues(loss, 3, of=of, vectors=True)
    torch.testing.assert_close(top.values, spectrum[:3], rtol=1e-4, atol=0)
    assert top.converged and bool((top.errors <= 1e-4 * top.values).all())
    first = curvature.hessian(loss).as_vector(top.vectors[0])
    torch.testing.assert_close(exact @ first, spectrum[0] * first, rtol=0, atol=1e-4 * float(spectrum[0]))
    whole = curvature.density(loss, of=of, steps=len(exact))
    torch.testing.assert_close(whole.nodes[0].flip(0), spectrum, rtol=1e-7, atol=1e-9)
    some = curvature.density(loss, of=of, steps=10, probes=2)
    assert 0.9 * float(spectrum[0]) < float(some.nodes.max()) < 1.000001 * float(spectrum[0])
    found = curvature.trace(loss, of=of, probes=20)
    assert abs(found.value - float(exact.trace())) < 5 * found.stderr
    head = curvature.trace(loss, of=of, params="head", probes=20)
    inside = torch.cat([torch.full((p.numel(),), n.startswith("head")) for n, p in loss.params.items()])
    assert head.value == pytest.approx(float(exact.diagonal()[inside].sum()), rel=1e-9)


def test_lanczos_and_its_error_bounds_on_a_transformer() -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=60, n_test=8)
    loss = xl.loss_on(OneTower.for_dataset(ds, width=8, layers=1, patch=16, frames=16), ds.test)
    jacobian, z, gradients = written_out(loss.to(DOUBLE))
    p = z.softmax(1)
    values, vectors = torch.linalg.eigh(torch.diag_embed(p) - p[:, :, None] * p[:, None])
    root = torch.einsum("nck,nk,ncp->nkp", vectors, values.clamp_min(0).sqrt(), jacobian).flatten(0, 1)
    for of, factor in (("ggn", root), ("fisher", gradients)):
        exact = torch.linalg.eigvalsh(factor @ factor.T / len(z)).flip(0)[:3]
        top = curvature.top_eigenvalues(loss, 3, of=of)
        assert top.converged and top.hvps < 100 < loss.size / 10
        assert bool(((top.values - exact).abs() <= top.errors + 1e-5 * exact[0]).all())


def test_a_net_that_is_linear_in_its_weights_has_a_hessian_that_is_its_ggn() -> None:
    torch.manual_seed(0)
    loss = Loss.from_module(nn.Linear(4, 3).double(), (torch.randn(7, 4, dtype=DOUBLE), torch.arange(7) % 3))
    torch.testing.assert_close(curvature.ggn(loss).dense(), curvature.hessian(loss).dense(), rtol=1e-9, atol=1e-12)


def test_rows_with_tokens_count_as_one_row_each() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(5, 3, 4, dtype=DOUBLE), torch.randn(5, 3, 2, dtype=DOUBLE)
    loss = Loss.from_module(nn.Linear(4, 2).double(), (x, y), F.mse_loss)
    point = {n: p.detach().requires_grad_() for n, p in loss.params.items()}
    rows = []
    for i in range(5):
        value = F.mse_loss(x[i] @ point["weight"].T + point["bias"], y[i])
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, list(point.values()))]))
    exact = torch.stack(rows).T @ torch.stack(rows) / 5
    torch.testing.assert_close(curvature.fisher(loss).dense(), exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("of", ["hessian", "ggn", "fisher"])
def test_block_diagonal_products_leave_out_what_is_between_blocks(of: str) -> None:
    loss = net_loss()
    make = getattr(curvature, of)
    where = [torch.full((p.numel(),), list(loss.blocks).index(n.split(".")[0])) for n, p in loss.params.items()]
    block = torch.cat(where)
    exact = torch.where(block[:, None] == block[None], matrix(of), 0)
    operator = make(loss, block_diagonal=True)
    vector = torch.randn(len(exact), dtype=DOUBLE)
    torch.testing.assert_close(operator @ vector, exact @ vector, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(make(loss, rows=4, block_diagonal=True) @ vector, exact @ vector, rtol=1e-8, atol=1e-10)
    top = curvature.top_eigenvalues(operator, 1)
    torch.testing.assert_close(top.values, torch.linalg.eigvalsh(exact)[-1:], rtol=1e-4, atol=0)


def test_hutchpp_is_nearer_than_hutchinson_and_its_error_is_told() -> None:
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.cat([torch.tensor([50.0, 20.0, -9.0, 5.0]), 0.01 * torch.randn(196, generator=generator)]).double()
    rotation = torch.linalg.qr(torch.randn(200, 200, generator=generator, dtype=DOUBLE))[0]
    matrix = (rotation * spectrum) @ rotation.T
    loss = Loss(lambda p: 0.5 * p["x"] @ (matrix @ p["x"]), {"x": torch.ones(200, dtype=DOUBLE)})
    truth, errors = float(spectrum.sum()), {"hutchinson": [], "hutch++": []}
    for method, found in errors.items():
        for seed in range(8):
            one = curvature.trace(loss, probes=60, seed=seed, method=method)
            assert one.hvps == 60 and abs(one.value - truth) < 6 * one.stderr
            found.append(abs(one.value - truth))
    assert max(errors["hutch++"]) < 0.02 * sum(errors["hutchinson"]) / 8
    assert curvature.trace(loss, probes=200, method="hutch++").value == pytest.approx(truth)


def test_hutchpp_of_a_net() -> None:
    loss = net_loss()
    truth = float(matrix("hessian").trace())
    found = curvature.trace(loss, probes=90, method="hutch++")
    assert abs(found.value - truth) < 6 * found.stderr + 1e-9


# -- refusals ----------------------------------------------------------------------------------------


class OwnLoss(nn.Module):
    """Computes its loss by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor, labels: Tensor) -> Any:
        from types import SimpleNamespace

        return SimpleNamespace(loss=F.cross_entropy(self.layer(x), labels))


def weighted(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, torch.tensor([1.0, 5.0]))


class Pooled(nn.Module):
    """One row of outputs for all rows of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out.mT


BATCH = (torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: curvature.ggn(Loss(lambda p: p["w"].sum() ** 2, {"w": torch.ones(2)})), "a function of θ alone"),
        (lambda: curvature.ggn(3), "loss must be a Loss"),  # type: ignore[arg-type]
        (
            lambda: curvature.ggn(Loss.from_module(OwnLoss(), {"x": BATCH[0], "labels": BATCH[1]})),
            "computed inside the module",
        ),
        (lambda: curvature.fisher(Loss.from_module(nn.Linear(2, 2), BATCH, weighted)), "is not a mean over rows"),
        (
            lambda: curvature.fisher(Loss.from_module(Pooled(), BATCH, lambda out, _: out.square().mean())),
            "one entry for each of 6 rows",
        ),
        (lambda: curvature.trace(net_loss(), of="kfac"), "unknown matrix"),
        (lambda: curvature.trace(net_loss(), method="hutch"), "unknown method"),
        (lambda: curvature.trace(net_loss(), method="hutch++", probes=3), "probes must be at least 6"),
        (lambda: curvature.trace(curvature.ggn(net_loss()), of="ggn"), "is what it is"),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        made = make()
        made @ torch.ones(made.size)


def test_the_ggn_has_the_same_word_on_wrong_derivatives_as_the_hessian() -> None:
    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.square()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad

    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = Rounded.apply(self.layer(x))
            return out

    for make in (curvature.hessian, curvature.ggn, curvature.fisher):
        with pytest.raises(ValueError, match="not the derivative of its value"):
            make(Loss.from_module(Wrong(), BATCH))


# -- other kinds of net ------------------------------------------------------------------------------


class Tokens(nn.Module):
    """An encoder layer of a transformer over three tokens of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True, activation="gelu")
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x).mean(1))
        return logits


def mlp() -> tuple[nn.Module, Tensor]:
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), torch.randn(N, 5)


def cnn() -> tuple[nn.Module, Tensor]:
    layers = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 3, 2), nn.Flatten(), nn.Linear(27, 3)
    return nn.Sequential(*layers), torch.randn(N, 1, 6, 6)


def tokens() -> tuple[nn.Module, Tensor]:
    return Tokens(), torch.randn(N, 3, 4)


@pytest.mark.parametrize("of", ["hessian", "ggn", "fisher"])
@pytest.mark.parametrize("make", [mlp, cnn, tokens])
def test_matrix_density_trace_and_blocks_of_each_kind_of_net(make: Callable[[], Any], of: str) -> None:
    torch.manual_seed(0)
    net, x = make()
    loss = Loss.from_module(net, (x, torch.arange(N) % 3)).to(DOUBLE)
    operator = getattr(curvature, of)(loss)
    exact = (hessian_written_out if of == "hessian" else oracle)(loss, of)
    vectors = torch.randn(3, len(exact), dtype=DOUBLE)
    torch.testing.assert_close(operator.many(vectors), vectors @ exact, rtol=1e-8, atol=1e-10)
    spectrum = torch.linalg.eigvalsh(exact)
    found = curvature.density(operator, steps=40, probes=1)
    assert float(found.nodes.max()) == pytest.approx(float(spectrum[-1]), rel=1e-6)
    some = curvature.trace(operator, probes=60, method="hutch++")
    assert abs(some.value - float(exact.trace())) < 6 * some.stderr + 1e-8
    name, inside = list(loss.blocks.items())[-1]  # the head, a product for each of its few parameters
    where = torch.cat([torch.full((p.numel(),), n in inside) for n, p in loss.params.items()])
    block = getattr(curvature, of)(loss, name).dense()
    torch.testing.assert_close(block, exact[where][:, where], rtol=1e-8, atol=1e-10)


def hessian_written_out(loss: Any, _of: str) -> Tensor:
    """By ``torch.autograd.functional.hessian`` over one vector of all parameters."""
    x, target = loss.batches[0]
    sizes = [p.numel() for p in loss.params.values()]

    def value(vector: Tensor) -> Tensor:
        parts = vector.split(sizes)
        state = {n: v.view_as(p) for v, (n, p) in zip(parts, loss.params.items(), strict=True)}
        return F.cross_entropy(torch.func.functional_call(loss.module.eval(), state, (x,)), target)

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        found: Tensor = torch.autograd.functional.hessian(value, torch.cat([p.flatten() for p in loss.params.values()]))
    return found
