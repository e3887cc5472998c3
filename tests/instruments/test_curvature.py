"""Curvature against dense float64 Hessians, SciPy's eigsh and quadratics of known spectrum."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from xmodal_lab import curvature
from xmodal_lab.instruments.curvature import leading
from xmodal_lab.instruments.curvature import operator as hessian
from xmodal_lab.losses import Loss
from xmodal_lab.utils import memory

DOUBLE = torch.float64


def quadratic(spectrum: Sequence[float] | np.ndarray, dtype: torch.dtype = DOUBLE, seed: int = 0) -> Loss:
    """½ xᵀ(QΛQᵀ)x at a random point, with a random rotation Q."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.as_tensor(np.asarray(spectrum), dtype=DOUBLE)
    n = len(values)
    rotation = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=DOUBLE))[0]
    matrix = ((rotation * values) @ rotation.T).to(dtype)
    at = torch.randn(n, generator=generator, dtype=DOUBLE).to(dtype)
    return Loss(lambda p: 0.5 * p["x"] @ (matrix @ p["x"]), {"x": at}, name="quadratic")


def bulk(count: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, count)


def dense(loss: Loss, names: Sequence[str] | None = None) -> Tensor:
    """The oracle: torch.autograd.functional.hessian, row by row; torch.func has no rule for GroupNorm."""
    names = list(names or loss.params)
    shapes = [loss.params[n].shape for n in names]
    sizes = [s.numel() for s in shapes]

    def flat(vector: Tensor) -> Tensor:
        return loss({n: v.view(s) for n, v, s in zip(names, vector.split(sizes), shapes, strict=True)})

    at = torch.cat([loss.params[n].reshape(-1) for n in names])
    return torch.autograd.functional.hessian(flat, at)


class Twin(nn.Module):
    """Two small conv branches, one with GroupNorm, one with BatchNorm, and a head."""

    def __init__(self) -> None:
        super().__init__()

        def branch(norm: nn.Module) -> nn.Module:
            return nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.Tanh(), nn.Flatten(), nn.Linear(4 * 9, 2))

        self.encoders = nn.ModuleDict({"image": branch(nn.GroupNorm(2, 4)), "audio": branch(nn.BatchNorm2d(4))})
        self.head = nn.Linear(4, 3)

    def forward(self, image: Tensor, audio: Tensor) -> Tensor:
        return self.head(torch.cat([self.encoders["image"](image), self.encoders["audio"](audio)], 1))


@pytest.fixture(scope="module")
def twin() -> Loss:
    torch.manual_seed(0)
    model = Twin().double()
    image, audio = torch.randn(2, 12, 1, 5, 5, dtype=DOUBLE)
    model(image, audio)  # gives BatchNorm running statistics
    return Loss.from_module(model, (image, audio, torch.randint(0, 3, (12,))))


@pytest.fixture(scope="module")
def exact(twin: Loss) -> Tensor:
    return dense(twin)


def inside(loss: Loss, names: Sequence[str]) -> Tensor:
    """Which rows of the whole Hessian belong to the named parameters."""
    return torch.cat([torch.full((p.numel(),), n in names) for n, p in loss.params.items()])


# -- products ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [None, 7, 1])
@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_product_is_the_dense_product(
    twin: Loss, exact: Tensor, rows: int | None, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hessian, "RETAIN_BYTES", budget)
    operator = curvature.hessian(twin, rows=rows)
    vector = torch.randn(operator.size, dtype=DOUBLE)
    for _ in range(2):  # the graph is used more than once
        torch.testing.assert_close(operator @ vector, exact @ vector, rtol=1e-8, atol=1e-10)
    assert operator.products == 2
    assert operator.shape == (twin.size, twin.size)
    assert operator.value == pytest.approx(float(twin()))


def test_dense_matrix_in_float32_and_on_request_in_float64(twin: Loss, exact: Tensor) -> None:
    single = twin.to(torch.float32)
    head = inside(twin, twin.blocks["head"])
    torch.testing.assert_close(curvature.hessian(twin, "head").dense(), exact[head][:, head])
    operator = curvature.hessian(single, "head", dtype=DOUBLE)
    assert operator.dtype == DOUBLE
    torch.testing.assert_close(operator.dense(), exact[head][:, head], rtol=1e-4, atol=1e-5)
    rough = curvature.hessian(single)
    vector = torch.randn(rough.size)
    torch.testing.assert_close((rough @ vector).double(), exact @ vector.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("params", ["encoders.image", "image", ["head", "audio"], "head.weight"])
def test_block_is_the_diagonal_block(twin: Loss, exact: Tensor, params: str | list[str]) -> None:
    operator = curvature.hessian(twin, params)
    asked = [params] if isinstance(params, str) else params
    names = [n for n in twin.params if any(n.startswith((a, f"encoders.{a}")) for a in asked)]
    assert operator.names == tuple(names)
    block = inside(twin, names)
    vector = torch.randn(operator.size, dtype=DOUBLE)
    torch.testing.assert_close(operator @ vector, exact[block][:, block] @ vector, rtol=1e-8, atol=1e-10)


def test_dicts_and_vectors_are_inverse(twin: Loss) -> None:
    operator = curvature.hessian(twin, "head")
    vector = torch.randn(operator.size, dtype=DOUBLE)
    as_dict = operator.as_dict(vector)
    assert {n: p.shape for n, p in as_dict.items()} == {n: twin.params[n].shape for n in twin.blocks["head"]}
    torch.testing.assert_close(operator.as_vector(as_dict), vector)
    only_bias = operator.as_vector({"head.bias": torch.ones(3)})
    assert float(only_bias.sum()) == 3
    with pytest.raises(ValueError, match="unknown parameter"):
        operator.as_vector({"encoders": torch.ones(3)})


def test_unused_tied_and_frozen_parameters() -> None:
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.second.weight = self.first.weight
            self.out = nn.Linear(4, 2).requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.tanh(self.second(torch.tanh(self.first(x)))))

    model = Model().double()
    loss = Loss.from_module(model, (torch.randn(9, 4, dtype=DOUBLE), torch.randint(0, 2, (9,))))
    assert set(loss.params) == {"first.weight", "first.bias", "second.bias", "unused.weight", "unused.bias"}
    operator = curvature.hessian(loss)
    matrix = operator.dense()
    torch.testing.assert_close(matrix, dense(loss), rtol=1e-8, atol=1e-10)
    unused = operator.as_vector({n: torch.ones_like(p) for n, p in loss.params.items() if "unused" in n}).bool()
    assert not matrix[unused].any()
    everything_frozen = Loss.from_module(model.requires_grad_(False), loss.batches[0])
    assert math.isfinite(float(curvature.top_eigenvalues(everything_frozen).values[0]))
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_attention_can_be_differentiated_twice() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1).double()
    data = (torch.randn(3, 5, 8, dtype=DOUBLE), torch.randn(3, 5, 8, dtype=DOUBLE))
    loss = Loss.from_module(model, data, F.mse_loss)
    operator = curvature.hessian(loss, "norm2")
    torch.testing.assert_close(operator.dense(), dense(loss, loss.blocks["norm2"]), rtol=1e-7, atol=1e-9)
    attention = curvature.hessian(loss, "self_attn")
    assert bool(torch.isfinite(attention @ torch.ones(attention.size)).all())


def test_model_is_left_as_it_was(twin: Loss) -> None:
    model = twin.module.train()
    before = copy.deepcopy(model.state_dict())
    curvature.top_eigenvalues(twin)
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_works_where_gradients_are_off(twin: Loss) -> None:
    vector = torch.randn(curvature.hessian(twin, "head").size, dtype=DOUBLE)
    expected = curvature.hessian(twin, "head") @ vector
    with torch.no_grad():
        torch.testing.assert_close(curvature.hessian(twin, "head") @ vector, expected)
    with torch.inference_mode():
        torch.testing.assert_close(curvature.hessian(twin, "head") @ vector, expected)


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to allocate"), MemoryError("no")])
def test_out_of_memory_halves_the_chunk_warns_once_and_goes_on(error: Exception) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    tried: list[int] = []

    def criterion(output: Tensor, target: Tensor) -> Tensor:
        if output.requires_grad:
            tried.append(len(output))
            if len(output) > 4:
                raise error
        return F.cross_entropy(output, target)

    data = (torch.randn(20, 5, dtype=DOUBLE), torch.randint(0, 3, (20,)))
    loss = Loss.from_module(model, data, criterion)
    operator = curvature.hessian(loss)
    vector = torch.randn(operator.size, dtype=DOUBLE)
    with pytest.warns(RuntimeWarning, match="out of memory") as caught:
        first, second = operator @ vector, operator @ vector
    assert len(caught) == 1
    assert max(tried) == 20
    expected = dense(Loss.from_module(model, data)) @ vector
    torch.testing.assert_close(first, expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(second, first)


def test_out_of_memory_that_nothing_helps_is_raised() -> None:
    def fn(p: dict[str, Tensor]) -> Tensor:
        if p["x"].requires_grad:
            raise RuntimeError("out of memory")
        return p["x"].sum()

    with pytest.raises(RuntimeError, match="out of memory"):
        curvature.hessian(Loss(fn, {"x": torch.ones(3)})) @ torch.ones(3)


# -- eigenvalues -------------------------------------------------------------------------------------

SPECTRA = {
    "spread": np.linspace(0, 1, 300),
    "outliers": np.r_[10, 8, 5, 4, 3, bulk(300)],
    "repeated": np.r_[10, 10, 5, 5, 5, bulk(300)],
    "few distinct": np.r_[[5.0] * 7, [1.0] * 293],
    "identity": np.ones(300),
    "zero": np.zeros(300),
    "low rank": np.r_[5, 3, 2, np.zeros(297)],
    "indefinite": np.r_[3, 2, -20, -10, bulk(300, -1, 1)],
    "negative": -1 - bulk(300),
    "huge": 1e20 * bulk(300),
    "tiny": 1e-20 * bulk(300),
}
ORDER = {"largest": lambda e: -e, "smallest": lambda e: e, "magnitude": lambda e: -np.abs(e)}


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("which", ["largest", "magnitude"])
@pytest.mark.parametrize("name", SPECTRA)
def test_quadratics_are_exact(name: str, which: str, dtype: torch.dtype) -> None:
    spectrum = SPECTRA[name]
    found = curvature.top_eigenvalues(quadratic(spectrum, dtype), k=5, which=which)
    expected = spectrum[np.argsort(ORDER[which](spectrum), kind="stable")][:5]
    scale = np.abs(spectrum).max()
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=2e-6 * scale)
    assert found.converged
    assert found.values.dtype == DOUBLE
    assert bool((found.errors <= 1.1e-4 * found.values.abs() + 1e-5 * scale).all())


def test_smallest_come_in_ascending_order() -> None:
    spectrum = SPECTRA["indefinite"]
    found = curvature.top_eigenvalues(quadratic(spectrum), k=3, which="smallest")
    np.testing.assert_allclose(found.values, np.sort(spectrum)[:3], rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(-5, 5), min_size=130, max_size=160),
    st.integers(1, 8),
    st.sampled_from(["largest", "smallest", "magnitude"]),
)
def test_integer_spectra_with_any_multiplicity(spectrum: list[int], k: int, which: str) -> None:
    values = torch.tensor(spectrum, dtype=DOUBLE)
    loss = Loss(lambda p: 0.5 * (values * p["x"] ** 2).sum(), {"x": torch.ones(len(values), dtype=DOUBLE)})
    found = curvature.top_eigenvalues(loss, k=k, which=which)
    integers = np.array(spectrum, dtype=float)
    expected = integers[np.argsort(ORDER[which](integers), kind="stable")][:k]
    if which == "magnitude":  # 5 and -5 may stand in for each other
        np.testing.assert_allclose(found.values.abs(), np.abs(expected), rtol=1e-4, atol=1e-7)
    else:
        np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-7)


def test_network_against_dense_and_eigsh(twin: Loss, exact: Tensor) -> None:
    from scipy.sparse.linalg import LinearOperator, eigsh

    spectrum = torch.linalg.eigvalsh(exact)
    assert twin.size > curvature.DENSE
    found = curvature.top_eigenvalues(twin, k=6, vectors=True)
    torch.testing.assert_close(found.values, spectrum.flip(0)[:6], rtol=1e-4, atol=0)
    torch.testing.assert_close(
        curvature.top_eigenvalues(twin, which="smallest").values, spectrum[:5], rtol=1e-4, atol=1e-8
    )
    linear = LinearOperator(exact.shape, matvec=lambda v: exact.numpy() @ v, dtype=np.float64)
    scipy = np.sort(eigsh(linear, k=6, which="LA", return_eigenvectors=False))[::-1]
    np.testing.assert_allclose(found.values, scipy, rtol=1e-4)
    single = curvature.top_eigenvalues(twin.to(torch.float32), k=6)
    torch.testing.assert_close(single.values, spectrum.flip(0)[:6], rtol=1e-4, atol=0)
    operator = curvature.hessian(twin)
    basis = torch.stack([operator.as_vector(v) for v in found.vectors])
    torch.testing.assert_close(basis @ basis.T, torch.eye(6, dtype=DOUBLE), rtol=0, atol=1e-10)
    torch.testing.assert_close((basis @ exact * basis).sum(1), found.values, rtol=1e-6, atol=1e-9)
    true_residuals = (basis @ exact - found.values[:, None] * basis).norm(dim=1)
    torch.testing.assert_close(true_residuals, found.residuals, rtol=1e-3, atol=1e-6)
    assert bool(((found.values - spectrum.flip(0)[:6]).abs() <= found.errors + 1e-12).all())
    assert found.loss == pytest.approx(float(twin()))
    assert found.names == tuple(twin.params)
    assert found.hvps < 80


def test_basis_that_does_not_fit_is_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    spectrum = np.r_[1.5, 1.4, 1.3, bulk(500)]
    monkeypatch.setattr(leading, "BASIS_BYTES", 0)
    found = curvature.top_eigenvalues(quadratic(spectrum), k=4)
    np.testing.assert_allclose(found.values, np.sort(spectrum)[::-1][:4], rtol=1e-4)
    assert found.hvps > 28  # more than the basis holds


def test_what_does_not_fit_into_memory_is_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "free_bytes", lambda device=None: 300_000)
    loss = quadratic(bulk(2000))
    with pytest.raises(ValueError, match=r"holds \d+ vectors \(1\.6e-05 GB each\), needs about"):
        curvature.top_eigenvalues(loss, 5)
    with pytest.raises(ValueError, match=r"a density of 50 steps among 2000 parameters needs about 0\.00088 GB"):
        curvature.density(loss)


def test_eigenvalues_that_do_not_fit_are_refused_before_derivatives_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def bowl(p: dict[str, Tensor]) -> Tensor:
        calls.append(1)
        return (p["x"] ** 2).sum()

    loss = Loss(bowl, {"x": torch.ones(2000)})
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "free_bytes", lambda device=None: 60_000)
    with pytest.raises(ValueError, match=r"a look for 5 eigenvalues among 2000, .* has 6e-05 GB left"):
        curvature.top_eigenvalues(loss, 5)
    assert not calls


def test_a_look_at_derivatives_that_does_not_fit_is_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = Loss(lambda p: (p["x"] ** 2).sum(), {"x": torch.ones(2000)})
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "free_bytes", lambda device=None: 100_000)
    curvature.trace(loss, probes=2)  # not in float64, which would need 12 x 16 kB, but in float32
    monkeypatch.setattr(memory, "free_bytes", lambda device=None: 60_000)
    with pytest.raises(ValueError, match=r"a look at the derivatives in 2000 parameters needs about 9\.6e-05 GB"):
        curvature.hessian(loss.at({"x": torch.zeros(2000)}))


def test_a_start_near_the_eigenvectors_saves_products_and_changes_no_answer() -> None:
    spectrum = np.concatenate([[9.0, 8.0, 7.5], bulk(300, -1, 2)])
    loss = quadratic(spectrum)
    first = curvature.top_eigenvalues(loss, 3, vectors=True)
    again = curvature.top_eigenvalues(loss, 3, start=first.vectors)
    torch.testing.assert_close(again.values, first.values, rtol=1e-4, atol=0)
    assert again.converged and again.hvps < first.hvps
    # The sum of eigenvectors of the smallest ones is a poor start: the same answer, later.
    poor = curvature.top_eigenvalues(loss, 3, "smallest", vectors=True).vectors
    found = curvature.top_eigenvalues(loss, 3, start=poor)
    assert found.converged
    torch.testing.assert_close(found.values, first.values, rtol=1e-4, atol=0)
    with pytest.raises(TypeError, match=r"start\[0\] must be"):
        curvature.top_eigenvalues(loss, 3, start=[3])  # type: ignore[list-item]


def test_blocks(twin: Loss, exact: Tensor) -> None:
    found = curvature.by_block(twin, curvature.top_eigenvalues, k=2)
    assert set(found) == {"encoders.image", "encoders.audio", "head"}
    for block, result in found.items():
        rows = inside(twin, twin.blocks[block])
        spectrum = torch.linalg.eigvalsh(exact[rows][:, rows]).flip(0)
        torch.testing.assert_close(result.values, spectrum[:2], rtol=1e-4, atol=0)
        assert result.names == tuple(twin.blocks[block])


def test_same_seed_same_numbers_and_another_point_of_view(twin: Loss) -> None:
    first, again = (curvature.top_eigenvalues(twin, seed=3, vectors=True) for _ in range(2))
    torch.testing.assert_close(first.values, again.values, rtol=0, atol=0)
    torch.testing.assert_close(first.vectors[0], again.vectors[0], rtol=0, atol=0)
    other = curvature.top_eigenvalues(twin, seed=4)
    torch.testing.assert_close(other.values, first.values, rtol=1e-4, atol=0)


def test_one_operator_serves_many_measures(twin: Loss) -> None:
    operator = curvature.hessian(twin, "image")
    from_operator = curvature.top_eigenvalues(operator, k=2)
    torch.testing.assert_close(from_operator.values, curvature.top_eigenvalues(twin, k=2, params="image").values)
    curvature.trace(operator, probes=2)
    assert operator.products == from_operator.hvps + 2
    with pytest.raises(ValueError, match="has its params and dtype already"):
        curvature.top_eigenvalues(operator, params="head")


def test_ratio_is_first_by_fifth() -> None:
    found = curvature.top_eigenvalues(quadratic([10, 8, 6, 5, 4, 1]), k=6)
    assert found.ratio == pytest.approx(2.5)
    assert curvature.top_eigenvalues(quadratic([10, 8, 6, 5, -5, -6])).ratio == pytest.approx(-2)
    with pytest.raises(ValueError, match="needs the 5 largest"):
        _ = curvature.top_eigenvalues(quadratic([10, 8, 6]), k=3).ratio
    with pytest.raises(ValueError, match="which='smallest'"):
        _ = curvature.top_eigenvalues(quadratic([10, 8, 6, 5, 4]), which="smallest").ratio


def test_ratio_of_nothing() -> None:
    assert math.isnan(curvature.top_eigenvalues(Loss(lambda p: p["x"].sum(), {"x": torch.ones(6)})).ratio)


@pytest.mark.parametrize("size", [6, 400])
@pytest.mark.parametrize("kind", ["linear", "constant"])
def test_no_curvature_is_zero(size: int, kind: str) -> None:
    fn = {
        "linear": lambda p: (2 * p["x"]).sum() + 0 * p["y"].sum(),
        "constant": lambda p: torch.tensor(3.0),
    }[kind]
    loss = Loss(fn, {"x": torch.ones(size), "y": torch.ones(2)})
    found = curvature.top_eigenvalues(loss)
    torch.testing.assert_close(found.values, torch.zeros(5, dtype=DOUBLE), rtol=0, atol=0)
    assert found.converged
    assert curvature.trace(loss).value == 0
    assert curvature.density(loss).trace == 0


def test_one_parameter() -> None:
    loss = Loss(lambda p: 1.5 * p["x"] ** 2, {"x": torch.tensor(2.0)})
    found = curvature.top_eigenvalues(loss, k=1, vectors=True)
    assert float(found.values[0]) == pytest.approx(3)
    assert found.vectors[0]["x"].shape == ()


def test_what_does_not_converge_says_so() -> None:
    with pytest.warns(RuntimeWarning, match="did not reach tol=0.0001 in 12 products"):
        found = curvature.top_eigenvalues(quadratic(SPECTRA["spread"]), max_iterations=12)
    assert not found.converged
    assert found.hvps == 12
    assert float(found.errors.max()) > 1e-4
    with pytest.warns(RuntimeWarning, match="3 of 5 values"):
        few = curvature.top_eigenvalues(quadratic(SPECTRA["spread"]), max_iterations=3)
    assert len(few.values) == 3


# -- density and trace -------------------------------------------------------------------------------


def test_density_of_a_known_spectrum() -> None:
    spectrum = np.r_[bulk(500, -1, 1), np.full(100, 4.0)]
    found = curvature.density(quadratic(spectrum), steps=40, probes=6)
    assert not found.exact
    assert found.hvps == 240
    torch.testing.assert_close(found.weights.sum(1), torch.ones(6, dtype=DOUBLE))
    assert float(torch.trapezoid(found.density, found.grid)) == pytest.approx(1, abs=1e-3)
    assert found.moment(0) == pytest.approx(1)
    assert found.moment(1) == pytest.approx(spectrum.mean(), abs=0.1)
    assert found.moment(2) == pytest.approx((spectrum**2).mean(), rel=0.1)
    assert found.trace == pytest.approx(600 * found.moment(1))
    share = float(torch.trapezoid(found.smoothed(torch.linspace(3.5, 4.5, 400), 0.05), torch.linspace(3.5, 4.5, 400)))
    assert share == pytest.approx(1 / 6, abs=0.04)


def test_density_quadrature_is_exact_for_polynomials() -> None:
    loss = quadratic(bulk(200, -1, 1))
    found = curvature.density(loss, steps=4, probes=3, seed=5)
    matrix = dense(loss)
    generator = torch.Generator().manual_seed(5)
    for i in range(3):
        probe = torch.randn(200, generator=generator, dtype=DOUBLE)
        probe /= probe.norm()
        powered = probe
        for power in range(8):  # degree 2·4 - 1 = 7
            moment = float((found.weights[i] * found.nodes[i] ** power).sum())
            assert moment == pytest.approx(float(probe @ powered), abs=1e-10)
            powered = matrix @ powered


def test_density_of_a_small_matrix_is_its_eigenvalues(twin: Loss, exact: Tensor) -> None:
    found = curvature.density(twin, params="head", steps=50)
    head = inside(twin, twin.blocks["head"])
    spectrum = torch.linalg.eigvalsh(exact[head][:, head])
    assert found.exact
    torch.testing.assert_close(found.nodes[0], spectrum, rtol=1e-8, atol=1e-10)
    assert found.trace == pytest.approx(float(spectrum.sum()))


def test_density_where_lanczos_ends_early() -> None:
    found = curvature.density(quadratic(SPECTRA["low rank"]), probes=2)
    assert found.hvps < 2 * 10
    assert float(torch.trapezoid(found.density, found.grid)) == pytest.approx(1, abs=1e-3)
    flat = curvature.density(quadratic(SPECTRA["identity"], torch.float32), probes=2)
    assert flat.trace == pytest.approx(300, rel=1e-5)
    assert float(torch.trapezoid(flat.density, flat.grid)) == pytest.approx(1, abs=1e-3)


def test_density_display_is_free() -> None:
    found = curvature.density(quadratic(bulk(200)), steps=10, probes=2)
    wide, narrow = found.smoothed([0.0, 0.5], sigma=1.0), found.smoothed([0.0, 0.5], sigma=0.1)
    assert wide.shape == narrow.shape == (2,)
    assert float(narrow[1]) > float(wide[1])
    with pytest.raises(ValueError, match=r"grid must have shape \(points,\)"):
        found.smoothed(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="grid holds 1 NaN"):
        found.smoothed([float("nan"), 1.0])
    with pytest.raises(ValueError, match="sigma must be above 0"):
        found.smoothed([0.0], sigma=0)


def test_trace_is_unbiased_and_knows_its_error(twin: Loss, exact: Tensor) -> None:
    whole, head = float(exact.trace()), inside(twin, twin.blocks["head"])
    found = curvature.trace(twin, probes=100)
    assert found.hvps == len(found.samples) == 100
    assert 0 < found.stderr < abs(whole)
    assert abs(found.value - whole) < 4 * found.stderr
    assert curvature.trace(twin, params="head").stderr == 0
    assert curvature.trace(twin, params="head").value == pytest.approx(float(exact[head][:, head].trace()))
    diagonal = torch.arange(300.0, dtype=DOUBLE)
    one = Loss(lambda p: 0.5 * (diagonal * p["x"] ** 2).sum(), {"x": torch.ones(300, dtype=DOUBLE)})
    assert curvature.trace(one, probes=2).value == pytest.approx(float(diagonal.sum()))  # signs square to one


# -- in the fused feature ----------------------------------------------------------------------------


def test_feature_hessian_of_softmax_has_a_closed_form() -> None:
    torch.manual_seed(0)
    head, features, labels = nn.Linear(5, 4).double(), torch.randn(9, 5, dtype=DOUBLE), torch.randint(0, 4, (9,))
    found = curvature.feature_hessian(lambda f: F.cross_entropy(head(f), labels, reduction="none"), features)
    p = head(features).softmax(1).detach()
    w = head.weight.detach()
    matrices = w.T @ (torch.diag_embed(p) - p[:, :, None] * p[:, None]) @ w
    norms = torch.linalg.matrix_norm(matrices, ord=2)
    torch.testing.assert_close(found.norms, norms)
    torch.testing.assert_close(found.largest, norms)
    assert found.sup == pytest.approx(float(norms.max()))
    assert found.mean == pytest.approx(float(norms.mean()))


def test_feature_hessian_through_attention() -> None:
    features = torch.randn(5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def attended(f: Tensor) -> Tensor:
        tokens = f.view(-1, 1, 3, 4)
        return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).flatten(1).square().sum(1)

    def by_hand(f: Tensor) -> Tensor:
        tokens = f.view(3, 4)
        return ((tokens @ tokens.T / 2).softmax(1) @ tokens).square().sum()

    exact = [torch.autograd.functional.hessian(by_hand, f) for f in features]
    largest = torch.stack([torch.linalg.eigvalsh(h)[-1] for h in exact])
    torch.testing.assert_close(curvature.feature_hessian(attended, features).largest, largest, rtol=1e-9, atol=1e-12)


def test_feature_hessian_is_signed_and_zero_where_there_is_none() -> None:
    features = torch.randn(3, 2, dtype=DOUBLE)
    found = curvature.feature_hessian(lambda f: f[:, 0] ** 2 - 3 * f[:, 1] ** 2, features)
    torch.testing.assert_close(found.norms, torch.full((3,), 6.0, dtype=DOUBLE))
    torch.testing.assert_close(found.largest, torch.full((3,), 2.0, dtype=DOUBLE))
    for nothing in (lambda f: f.sum(1), lambda f: torch.ones(len(f))):
        assert curvature.feature_hessian(nothing, features[:1]).sup == 0


def test_feature_hessian_says_what_does_not_fit() -> None:
    features = torch.randn(4, 2)
    with pytest.raises(ValueError, match="mixes rows"):
        curvature.feature_hessian(lambda f: (f - f.mean(0)).square().sum(1), features)
    with pytest.raises(ValueError, match=r"must return shape \(4,\), one loss per row, got \(\)"):
        curvature.feature_hessian(lambda f: f.square().sum(), features)
    with pytest.raises(ValueError, match="got list"):
        curvature.feature_hessian(lambda f: [1.0], features)
    with pytest.raises(ValueError, match=r"shape \(n, d\), got torch.float32 \(0, 2\)"):
        curvature.feature_hessian(lambda f: f.sum(1), features[:0])
    with pytest.raises(ValueError, match=r"shape \(n, d\), got torch.int64"):
        curvature.feature_hessian(lambda f: f.sum(1), features.long())
    with pytest.raises(ValueError, match="features holds 1 NaN"):
        curvature.feature_hessian(lambda f: f.sum(1), torch.tensor([[0.0, float("nan")]]))
    with pytest.raises(ValueError, match="the losses of the features holds 4 NaN"):
        curvature.feature_hessian(lambda f: f.sum(1) / 0, features)


# -- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [7, 1000])
def test_k_above_the_dimension(k: int) -> None:
    with pytest.raises(ValueError, match=f"k = {k} eigenvalues were asked of a Hessian of dimension 6"):
        curvature.top_eigenvalues(quadratic(np.ones(6)), k=k)


def test_loss_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="loss is nan at θ"):
        curvature.top_eigenvalues(Loss(lambda p: p["x"].sum() * float("nan"), {"x": torch.ones(3)}))
    with pytest.raises(ValueError, match="loss is inf at θ"):
        curvature.trace(Loss(lambda p: p["x"].sum() / 0, {"x": torch.ones(3)}))
    with pytest.raises(ValueError, match="is not finite, though the loss is 0"):
        curvature.top_eigenvalues(Loss(lambda p: p["x"].sqrt().sum(), {"x": torch.zeros(3)}), k=1)


def test_loss_that_is_stochastic_or_not_scalar() -> None:
    noisy = Loss(lambda p: F.dropout(p["x"], 0.5).square().sum(), {"x": torch.linspace(1, 2, 50)})
    with pytest.raises(ValueError, match="is stochastic"):
        curvature.density(noisy)
    with pytest.raises(ValueError, match="must return a scalar"):
        curvature.hessian(Loss(lambda p: p["x"], {"x": torch.ones(3)}))
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).train()
    in_train_mode = Loss.from_module(model, (torch.randn(4, 3), torch.tensor([0, 1, 2, 0])))
    assert curvature.top_eigenvalues(in_train_mode, k=2).converged
    assert model.training


def test_an_operation_without_second_derivative_is_named() -> None:
    bag = nn.EmbeddingBag(6, 3, mode="sum")
    loss = Loss.from_module(bag, (torch.arange(6).view(3, 2), torch.arange(3)))
    with pytest.raises(ValueError, match=r"cannot be differentiated twice: .*embedding_bag_backward"):
        curvature.trace(loss)


def test_wrong_arguments() -> None:
    loss = quadratic(np.ones(6))
    with pytest.raises(TypeError, match="loss must be a Loss"):
        curvature.top_eigenvalues(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown which 'larges'.*Did you mean 'largest'"):
        curvature.top_eigenvalues(loss, which="larges")
    with pytest.raises(ValueError, match="unknown block or parameter 'y'"):
        curvature.top_eigenvalues(loss, params="y")
    with pytest.raises(ValueError, match="names no parameter"):
        curvature.top_eigenvalues(loss, params=[])
    with pytest.raises(ValueError, match="k must be at least 1"):
        curvature.top_eigenvalues(loss, k=0)
    with pytest.raises(TypeError, match="k must be a whole number"):
        curvature.top_eigenvalues(loss, k=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tol must be above 0"):
        curvature.top_eigenvalues(loss, tol=0)
    with pytest.raises(ValueError, match="max_iterations must be at least 1"):
        curvature.top_eigenvalues(loss, max_iterations=0)
    with pytest.raises(ValueError, match="dtype must be a floating dtype"):
        curvature.hessian(loss, dtype=torch.int64)
    with pytest.raises(ValueError, match="rows must be at least 1"):
        curvature.hessian(loss, rows=0)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        curvature.density(loss, steps=0)
    with pytest.raises(ValueError, match="bandwidth must be above 0"):
        curvature.density(loss, bandwidth=-1)
    with pytest.raises(ValueError, match="probes must be at least 2"):
        curvature.trace(loss, probes=1)
    with pytest.raises(ValueError, match=r"vector must have shape \(6,\), got \(5,\)"):
        curvature.hessian(loss) @ torch.ones(5)


def test_float64_of_a_function_that_holds_float32() -> None:
    x = torch.randn(5, 3)
    loss = Loss(lambda p: (x @ p["w"]).square().sum(), {"w": torch.ones(3)})
    with pytest.raises(ValueError, match=r"cannot be evaluated in float64"):
        curvature.top_eigenvalues(loss, k=1, dtype=DOUBLE)


def test_half_precision_and_mixed_dtypes_are_raised() -> None:
    values = torch.linspace(1, 2, 200)
    half = Loss(lambda p: 0.5 * (values.to(p["x"].dtype) * p["x"] ** 2).sum(), {"x": torch.ones(200).bfloat16()})
    with pytest.warns(UserWarning, match="in bfloat16, .* looked at in float32"):
        found = curvature.top_eigenvalues(half, k=2)
    torch.testing.assert_close(found.values.float(), values.flip(0)[:2], rtol=1e-4, atol=0)
    mixed = Loss(
        lambda p: p["x"].square().sum() + 2 * p["y"].double().square().sum(),
        {"x": torch.ones(2, dtype=DOUBLE), "y": torch.ones(1)},
    )
    np.testing.assert_allclose(curvature.top_eigenvalues(mixed, k=3).values, [4, 2, 2])


def test_arrays_of_any_kind_are_vectors() -> None:
    operator = curvature.hessian(quadratic(np.arange(1.0, 7.0)))
    array = np.ones(12)[::2]
    array.flags.writeable = False
    torch.testing.assert_close(operator.matvec(array), operator.matvec(torch.ones(6, dtype=DOUBLE)))


def test_no_warning_where_all_is_well(twin: Loss) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curvature.top_eigenvalues(twin)
