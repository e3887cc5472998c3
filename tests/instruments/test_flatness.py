"""Flatness against closed forms: quadratics, linear functions and the geometry of the noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from xmodal_lab import flatness
from xmodal_lab.losses import Loss, ModuleLoss
from xmodal_lab.losses.directions import norm_of, normalize_

DOUBLE = torch.float64


def quadratic(diagonal: Tensor, at: Tensor | None = None) -> Loss:
    point = torch.zeros_like(diagonal) if at is None else at
    return Loss(lambda p: 0.5 * (diagonal * p["x"] ** 2).sum() + 1, {"x": point})


def linear(slope: Tensor, at: Tensor) -> Loss:
    return Loss(lambda p: (slope * p["x"]).sum(), {"x": at})


def recorder(params: dict[str, Tensor]) -> tuple[Loss, list[dict[str, Tensor]]]:
    """A loss that remembers where it was looked at."""
    seen: list[dict[str, Tensor]] = []

    def fn(p: dict[str, Tensor]) -> Tensor:
        seen.append({n: v.detach().clone() for n, v in p.items()})
        return torch.stack([v.square().sum() for v in p.values()]).sum()

    return Loss(fn, params), seen


def moves(params: dict[str, Tensor], seen: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """All displacements that are not zero, (K, *shape) per parameter."""
    away = [s for s in seen if any(not torch.equal(s[n], params[n]) for n in params)]
    return {n: torch.stack([s[n] - params[n] for s in away]) for n in params}


@pytest.fixture
def params() -> dict[str, Tensor]:
    torch.manual_seed(0)
    weight = torch.randn(3, 40, dtype=DOUBLE) * torch.tensor([[0.1], [1.0], [10.0]], dtype=DOUBLE)
    return {
        "layer.weight": weight,
        "layer.bias": torch.randn(5, dtype=DOUBLE),
        "zero.bias": torch.zeros(4, dtype=DOUBLE),
    }


# -- low-pass filter ---------------------------------------------------------------------------------


@pytest.mark.parametrize("antithetic", [False, True])
def test_lpf_of_a_quadratic_adds_half_sigma_squared_trace(antithetic: bool) -> None:
    diagonal = torch.linspace(0, 2, 50, dtype=DOUBLE)
    found = flatness.lpf(quadratic(diagonal), sigma=0.3, samples=400, antithetic=antithetic)
    expected = 0.5 * 0.3**2 * float(diagonal.sum())
    assert found.loss == pytest.approx(1)
    assert abs(found.delta - expected) < 4 * found.stderr
    # the variance of ½σ² Σ λ z² is ½σ⁴ Σ λ²; a pair ±ε counts once
    independent = 200 if antithetic else 400
    stderr = math.sqrt(0.5 * 0.3**4 * float(diagonal.square().sum()) / independent)
    assert found.stderr == pytest.approx(stderr, rel=0.15)
    assert found.value == pytest.approx(found.loss + found.delta)
    assert found.samples_values.shape == (400,)
    assert found.value == pytest.approx(float(found.samples_values.mean()))


def test_lpf_antithetic_pairs_cancel_the_gradient() -> None:
    slope = torch.linspace(-1, 1, 20, dtype=DOUBLE)
    loss = linear(slope, torch.ones(20, dtype=DOUBLE))
    plain, paired = (flatness.lpf(loss, 0.1, 50, antithetic=a) for a in (False, True))
    assert plain.stderr == pytest.approx(0.1 * float(slope.norm()) / math.sqrt(50), rel=0.4)
    assert abs(paired.delta) < 1e-12
    assert paired.stderr < 1e-12


@pytest.mark.parametrize("noise", flatness.NOISES)
def test_lpf_noise_has_the_size_it_says(params: dict[str, Tensor], noise: str) -> None:
    loss, seen = recorder(params)
    flatness.lpf(loss, sigma=0.2, samples=300, noise=noise)
    found = {n: m.square().flatten(1).sum(1).mean().item() for n, m in moves(params, seen).items()}
    if noise == "absolute":
        expected = {n: 0.04 * p.numel() for n, p in params.items()}
    elif noise == "relative":
        per_entry = 0.04 * sum(p.square().sum() for p in params.values()) / sum(p.numel() for p in params.values())
        expected = {n: float(per_entry) * p.numel() for n, p in params.items()}
    else:
        expected = {n: 0.04 * float(p.square().sum()) for n, p in params.items()}
    for name in params:
        assert found[name] == pytest.approx(expected[name], rel=0.1)
    if noise == "filter":
        rows = moves(params, seen)["layer.weight"].square().sum(2).mean(0)
        np.testing.assert_allclose(rows, 0.04 * params["layer.weight"].square().sum(1), rtol=0.1)


def test_filter_noise_does_not_see_a_rescaled_network() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(64, 5, dtype=DOUBLE), torch.randn(64, 1, dtype=DOUBLE)

    def fn(p: dict[str, Tensor]) -> Tensor:
        return (torch.relu(x @ p["a"].T) @ p["b"].T - y).square().mean()

    here = {"a": torch.randn(8, 5, dtype=DOUBLE), "b": torch.randn(1, 8, dtype=DOUBLE)}
    there = {"a": 10 * here["a"], "b": here["b"] / 10}
    for measure in (flatness.lpf, flatness.gap):
        same = [measure(Loss(fn, p), noise="filter") for p in (here, there)]
        np.testing.assert_allclose(
            *[m.value if isinstance(m, flatness.Lpf) else m.values for m in same], rtol=1e-9, atol=1e-12
        )
    plain = [flatness.lpf(Loss(fn, p), 0.1).delta for p in (here, there)]
    assert plain[1] > 5 * plain[0]


# -- gap at a radius ---------------------------------------------------------------------------------


def test_gap_of_a_linear_function_has_a_closed_form() -> None:
    slope = torch.randn(30, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    found = flatness.gap(linear(slope, torch.ones(30, dtype=DOUBLE)), radii=[0, 1, 2.5], directions=500)
    # E|u·g| = ‖g‖ Γ(P/2) / (√π Γ((P+1)/2)) for u uniform on the sphere in P dimensions
    mean = float(slope.norm()) * math.exp(math.lgamma(15) - math.lgamma(15.5)) / math.sqrt(math.pi)
    assert float(found.values[0]) == 0
    assert float(found.stderr[0]) == 0
    for i, r in ((1, 1.0), (2, 2.5)):
        assert abs(float(found.values[i]) - r * mean) < 4 * float(found.stderr[i])
        # E(u·g)² = ‖g‖²/P
        deviation = r * math.sqrt(float(slope.square().sum()) / 30 - mean**2)
        assert float(found.stderr[i]) == pytest.approx(deviation / math.sqrt(500), rel=0.15)
    np.testing.assert_allclose(found.values[2], 2.5 * found.values[1])  # the same directions at every radius


def test_gap_of_an_isotropic_quadratic_is_exact() -> None:
    found = flatness.gap(quadratic(torch.full((40,), 3.0, dtype=DOUBLE)), directions=2)
    np.testing.assert_allclose(found.radii, np.arange(0, 31, 3))
    np.testing.assert_allclose(found.values, 1.5 * found.radii**2, rtol=1e-12)
    np.testing.assert_allclose(found.stderr, 0, atol=1e-10)
    assert found.differences.shape == (2, 11)
    assert found.loss == 1


@pytest.mark.parametrize("noise", flatness.NOISES)
def test_gap_directions_have_the_length_they_say(params: dict[str, Tensor], noise: str) -> None:
    loss, seen = recorder(params)
    flatness.gap(loss, radii=[0.5], directions=20, noise=noise)
    found = moves(params, seen)
    total = sum(m.square().flatten(1).sum(1) for m in found.values()).sqrt()
    norm = math.sqrt(sum(float(p.square().sum()) for p in params.values()))
    np.testing.assert_allclose(total, 0.5 if noise == "absolute" else 0.5 * norm, rtol=1e-9)
    if noise == "filter":
        rows = found["layer.weight"].norm(dim=2)
        np.testing.assert_allclose(rows, 0.5 * params["layer.weight"].norm(dim=1).expand(20, 3), rtol=1e-9)
        assert not found["zero.bias"].any()


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 100), st.integers(1, 30), st.sampled_from(flatness.NOISES))
def test_scaling_the_loss_scales_the_measures(factor: float, size: int, noise: str) -> None:
    at = torch.linspace(1, 2, size, dtype=DOUBLE)
    one = Loss(lambda p: p["x"].pow(4).sum(), {"x": at})
    many = Loss(lambda p: factor * p["x"].pow(4).sum(), {"x": at})
    low = [flatness.lpf(loss, 0.1, 5, noise=noise) for loss in (one, many)]
    assert low[1].delta == pytest.approx(factor * low[0].delta, rel=1e-6, abs=1e-9 * factor)
    wide = [flatness.gap(loss, [0.1, 0.2], 5, noise=noise) for loss in (one, many)]
    np.testing.assert_allclose(wide[1].values, factor * wide[0].values, rtol=1e-6, atol=1e-9 * factor)
    np.testing.assert_allclose(wide[1].stderr, factor * wide[0].stderr, rtol=1e-5, atol=1e-9 * factor)


# -- what both share ---------------------------------------------------------------------------------


@pytest.fixture
def net() -> tuple[nn.Module, Loss, Loss]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    train, test = ((torch.randn(50, 6), torch.randint(0, 3, (50,))) for _ in range(2))
    model(train[0])
    return model, Loss.from_module(model, train), Loss.from_module(model, test)


def test_module_in_train_mode_is_looked_at_in_eval_mode_and_left_alone(net: tuple[nn.Module, Loss, Loss]) -> None:
    model, train, test = net
    model.train()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    on_train, on_test = flatness.lpf(train, samples=5), flatness.lpf(test, samples=5)
    again = flatness.gap(train, directions=3, radii=[1.0])
    assert model.training
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert on_train.loss != on_test.loss
    torch.testing.assert_close(again.values, flatness.gap(train, directions=3, radii=[1.0]).values, rtol=0, atol=0)


def test_seeds_and_dtypes(net: tuple[nn.Module, Loss, Loss]) -> None:
    _, train, _ = net
    one, same, other = (flatness.lpf(train, 0.1, 5, seed=s) for s in (1, 1, 2))
    torch.testing.assert_close(one.samples_values, same.samples_values, rtol=0, atol=0)
    assert one.value != other.value
    double = flatness.lpf(train.to(DOUBLE), 0.1, 5, seed=1)  # the same noise in another dtype
    torch.testing.assert_close(double.samples_values, one.samples_values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("noise", flatness.NOISES)
def test_only_the_chosen_parameters_move(params: dict[str, Tensor], noise: str) -> None:
    loss, seen = recorder(params)
    flatness.lpf(loss, samples=3, params="layer.bias", noise=noise)
    flatness.gap(loss, radii=[1.0], directions=3, params=["layer.bias", "zero"], noise=noise)
    found = moves(params, seen)
    assert not found["layer.weight"].any()
    assert bool(found["layer.bias"].flatten(1).any(1).all())


def test_values_that_are_not_finite_are_kept() -> None:
    loss = Loss(lambda p: torch.where(p["x"].norm() > 2, torch.inf, p["x"].sum()), {"x": torch.zeros(4)})
    found = flatness.gap(loss, radii=[1.0, 3.0], directions=5)
    assert math.isfinite(float(found.values[0]))
    assert float(found.values[1]) == math.inf
    assert flatness.lpf(loss, sigma=100.0, samples=5).value == math.inf
    undefined = Loss(lambda p: (1 - p["x"]).log().sum(), {"x": torch.zeros(4)})
    assert math.isnan(flatness.lpf(undefined, sigma=10.0, samples=20).value)


def test_compare_is_a_tidy_table(net: tuple[nn.Module, Loss, Loss]) -> None:
    _, train, test = net
    table = flatness.compare({"train": train, "test": test}, samples=4, directions=3, radii=[0.0, 0.5])
    assert list(table) == ["name", "parameters", "loss", "measure", "noise", "radius", "value", "stderr"]
    assert len(table) == 2 * 3 * (1 + 2)
    row = table.query("name == 'test' and measure == 'lpf' and noise == 'filter'").iloc[0]
    single = flatness.lpf(test, samples=4, noise="filter")
    assert (row.value, row.stderr, row.radius) == (single.delta, single.stderr, 0.01)
    assert row.parameters == train.size
    only = flatness.compare({"train": train}, "gap", "absolute", directions=2)
    assert list(only.radius) == list(flatness.ABSOLUTE_RADII)
    with pytest.raises(ValueError, match="no loss to compare"):
        flatness.compare({})
    with pytest.raises(ValueError, match=r"unknown measure 'lfp'.* Did you mean 'lpf'"):
        flatness.compare({"train": train}, "lfp")
    with pytest.raises(ValueError, match="unknown noise 'filters'"):
        flatness.compare({"train": train}, noises=["filters"])


def test_arrays_of_any_kind_are_radii() -> None:
    radii = np.linspace(0, 2, 6)[::2]
    radii.flags.writeable = False
    found = flatness.gap(quadratic(torch.ones(3)), radii=radii, directions=2)
    np.testing.assert_allclose(found.values, 0.5 * radii**2, rtol=1e-5)
    assert flatness.gap(quadratic(torch.ones(3)), radii=range(3), directions=2).values.shape == (3,)


@pytest.mark.parametrize("measure", [flatness.lpf, flatness.gap])
def test_bad_losses(measure: object) -> None:
    one = torch.linspace(1, 2, 50)
    for loss, message in (
        (Loss(lambda p: nn.functional.dropout(p["x"], 0.5).sum(), {"x": one}), "is stochastic"),
        (Loss(lambda p: p["x"].sum() * float("nan"), {"x": one}), "loss is nan at θ"),
        (Loss(lambda p: p["x"] * 2, {"x": one}), "must return a scalar"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(loss)  # type: ignore[operator]
    with pytest.raises(TypeError, match="loss must be a Loss"):
        measure(nn.Linear(2, 2))  # type: ignore[operator]
    for noise in ("relative", "filter"):
        with pytest.raises(ValueError, match="θ is zero there; use noise='absolute'"):
            measure(quadratic(torch.ones(3)), noise=noise)  # type: ignore[operator]


def test_bad_arguments() -> None:
    loss = quadratic(torch.ones(3))
    with pytest.raises(ValueError, match="sigma must be above 0"):
        flatness.lpf(loss, sigma=0)
    with pytest.raises(ValueError, match="sigma must be finite"):
        flatness.lpf(loss, sigma=float("nan"))
    with pytest.raises(ValueError, match="samples must be at least 2"):
        flatness.lpf(loss, samples=1)
    with pytest.raises(ValueError, match="come in pairs"):
        flatness.lpf(loss, samples=5, antithetic=True)
    with pytest.raises(ValueError, match=r"unknown noise 'relativ'.* Did you mean 'relative'"):
        flatness.lpf(loss, noise="relativ")
    with pytest.raises(ValueError, match="unknown block or parameter 'y'"):
        flatness.gap(loss, params="y")
    with pytest.raises(ValueError, match="names no parameter"):
        flatness.gap(loss, params=[])
    with pytest.raises(ValueError, match="directions must be at least 2"):
        flatness.gap(loss, directions=1)
    with pytest.raises(ValueError, match="seed must be at least 0"):
        flatness.gap(loss, seed=-1)
    for radii in ([-1.0], [], [[1.0]]):
        with pytest.raises(ValueError, match="radii must be a list of numbers of at least 0"):
            flatness.gap(loss, radii=radii)
    with pytest.raises(ValueError, match="radii holds 1 NaN"):
        flatness.gap(loss, radii=[float("inf")])


class Counted(nn.Sequential):
    """Two layers, the first wide enough for a stand-in, and how often they were run."""

    runs = 0

    def __init__(self) -> None:
        super().__init__(nn.Linear(80, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        type(self).runs += 1
        return super().forward(x)


def counted_loss() -> Loss:
    torch.manual_seed(0)
    return Loss.from_module(Counted().double(), (torch.randn(40, 80, dtype=torch.float64), torch.arange(40) % 3))


def test_a_further_direction_of_the_gap_costs_one_pass_a_radius() -> None:
    loss, radii, runs = counted_loss(), [0.2 * k for k in range(1, 8)], []
    for directions in (3, 3, 8):  # the first also looks at the loss
        before = Counted.runs
        flatness.gap(loss, radii, directions)
        runs.append(Counted.runs - before)
    assert runs[2] - runs[1] == 5 * len(radii)


@pytest.mark.parametrize("noise", flatness.NOISES)
def test_the_gap_is_that_of_explicit_moves(noise: str) -> None:
    loss, radii = counted_loss(), [0.2 * k for k in range(1, 8)]
    found = flatness.gap(loss, radii, 3, noise=noise)
    generator = torch.Generator().manual_seed(0)
    for row in found.differences:
        drawn = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in loss.params.items()}
        length = norm_of(loss.params) if noise == "relative" else 1
        d = {n: z * (length / norm_of(drawn)) for n, z in drawn.items()}
        if noise == "filter":
            d = {n: normalize_(z, loss.params[n], "filter") for n, z in drawn.items()}
        moved = [float(loss({n: p + r * d[n] for n, p in loss.params.items()}).detach()) for r in radii]
        assert row.tolist() == pytest.approx([value - loss.value() for value in moved], rel=1e-9, abs=1e-12)


def test_directions_are_not_drawn_again_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    loss, calls, along = counted_loss(), [], ModuleLoss._along
    expected = flatness.lpf(loss, samples=6).samples_values

    def short(self: ModuleLoss, *args: Any) -> Tensor:
        calls.append(args[2])
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return along(self, *args)

    monkeypatch.setattr(ModuleLoss, "_along", short)
    with pytest.warns(UserWarning, match="20 samples at a time"):
        found = flatness.lpf(loss, samples=6).samples_values
    assert calls == [None, None, None, 20, 20, 20, 20]
    assert_close(found, expected, rtol=1e-12, atol=0)
