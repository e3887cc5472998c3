from __future__ import annotations

import ctypes
import gc
import math
import warnings
from pathlib import Path

import numpy as np
import ot
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from xmodal_lab import transport
from xmodal_lab.instruments.transport import clouds, scaling, simplex
from xmodal_lab.utils import memory as room

METHODS = ("exact", "gaussian", "sliced", "entropic")
quick = settings(max_examples=25, deadline=None)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pot_w2(a: Tensor, b: Tensor, mass_a: Tensor | None = None, mass_b: Tensor | None = None) -> float:
    empty = np.array([])
    masses = [empty if m is None else m.numpy() for m in (mass_a, mass_b)]
    return math.sqrt(ot.emd2(*masses, ot.dist(a.numpy(), b.numpy())))


def pot_values(cost: Tensor) -> Tensor:
    flat = cost.detach().reshape(-1, *cost.shape[-2:]).numpy()
    values = [ot.emd2([], [], c - c.min()) + c.min() for c in flat]  # POT calls costs below -1 infeasible
    return torch.tensor(values, dtype=torch.float64).reshape(cost.shape[:-2])


# -- exact W2 ----------------------------------------------------------------------------------------


@quick
@given(n=st.integers(1, 12), m=st.integers(1, 12), d=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_exact_is_pots_exact_value(n: int, m: int, d: int, seed: int) -> None:
    a, b = normal(n, d, seed=seed), normal(m, d, seed=seed + 1) + 0.5
    assert float(transport.w2(a, b)) == pytest.approx(pot_w2(a, b), rel=1e-9, abs=1e-9)


@quick
@given(n=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_exact_is_a_metric(n: int, seed: int) -> None:
    a, b, c = normal(n, 3, seed=seed), normal(n + 1, 3, seed=seed + 1), normal(n, 3, seed=seed + 2) * 2
    ab, ba, bc, ac = (float(transport.w2(x, y)) for x, y in ((a, b), (b, a), (b, c), (a, c)))
    assert float(transport.w2(a, a)) == 0
    assert ab > 0
    assert ab == pytest.approx(ba, rel=1e-9)
    assert ac <= ab + bc + 1e-9


@quick
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-8, 1e8))
def test_exact_moves_scales_and_forgets_order(seed: int, scale: float) -> None:
    a, b, shift = normal(7, 3, seed=seed), normal(9, 3, seed=seed + 1), normal(3, seed=seed + 2)
    base = float(transport.w2(a, b))
    assert float(transport.w2(a, a + shift)) == pytest.approx(float(shift.norm()), rel=1e-9)
    assert float(transport.w2(a + 1e3, b + 1e3)) == pytest.approx(base, rel=1e-9)
    assert float(transport.w2(scale * a, scale * b)) == pytest.approx(scale * base, rel=1e-9)
    assert float(transport.w2(a[torch.randperm(7)], b[torch.randperm(9)])) == pytest.approx(base, rel=1e-9)


def test_exact_on_a_line_is_the_sorted_distance() -> None:
    a, b = normal(50, 1), normal(50, 1, seed=1) * 3
    assert_close(transport.w2(a, b), (a.sort(0).values - b.sort(0).values).square().mean().sqrt())


@pytest.mark.parametrize("method", ["exact", "gaussian", "sliced", "entropic"])
def test_gradients_are_the_finite_differences(method: str) -> None:
    a, b = normal(6, 3).requires_grad_(), (normal(5, 3, seed=1) * 1.5 + 1).requires_grad_()
    mass = torch.tensor([1.0, 2, 3, 1, 1, 0.5])

    def distance(x: Tensor, y: Tensor) -> Tensor:
        if method == "entropic":  # ε is a constant to the gradient, so it must be one here
            return clouds._root(
                clouds._regularised(x, mass.double() / mass.sum(), y, torch.full((5,), 0.2).double(), 1.0)
            )
        return transport.w2(x, y, method, weights_a=mass, projections=16)

    atol = 1e-3 if method == "entropic" else 1e-6  # Sinkhorn stops at a marginal error of 1e-4
    assert torch.autograd.gradcheck(distance, (a, b), eps=1e-6, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_identical_clouds_are_at_0_with_gradient_0(method: str, dtype: torch.dtype) -> None:
    points = normal(20, 30).to(dtype)
    a, b = points.clone().requires_grad_(), points[torch.randperm(20)].clone().requires_grad_()
    distance = transport.w2(a, b, method)
    distance.backward()
    assert distance.dtype == dtype
    assert distance.shape == ()
    assert_close(distance.detach(), torch.zeros((), dtype=dtype), rtol=0, atol=0)
    assert_close(a.grad, torch.zeros_like(points), rtol=0, atol=0)
    assert_close(b.grad, torch.zeros_like(points), rtol=0, atol=0)


@pytest.mark.parametrize("d", [1, 3, 17, 30])
@pytest.mark.parametrize("method", METHODS)
def test_equal_measures_are_at_0_in_any_order_and_by_any_masses(method: str, d: int) -> None:
    """Zero is a rule, not luck: a matrix product may round one row by the place where it stands."""
    points = normal(37, d)
    points[5] = points[4] + 1e-9  # nearer to each other than the rounding of squared distances
    counts = torch.randint(1, 4, (37,), generator=torch.Generator().manual_seed(2))
    repeated, order = (
        points.repeat_interleave(counts, 0),
        torch.randperm(37, generator=torch.Generator().manual_seed(3)),
    )
    for a, b, w_a, w_b in (
        (points, points[order], None, None),
        (points, points[order], counts, counts[order]),
        (repeated.flip(0), points, None, counts),
        (points, torch.cat([points, points]), None, None),
    ):
        assert float(transport.w2(a, b, method, weights_a=w_a, weights_b=w_b)) == 0
    shares = transport.w2(points, points, method, weights_a=counts, weights_b=counts.flip(0))
    assert float(shares) > 0, "the same points with other masses are another cloud"
    moved = points[order].clone()
    moved[0, -1] += 1e-3
    assert float(transport.w2(points, moved, method)) > 0


def test_sliced_still_checks_its_directions_for_equal_clouds() -> None:
    with pytest.raises(ValueError, match="projections must have shape"):
        transport.w2(normal(4, 3), normal(4, 3), "sliced", projections=torch.eye(2))
    found = transport.sliced_w2(normal(4, 3), normal(4, 3), projections=8)
    assert float(found.value) == found.stderr == 0


@pytest.mark.parametrize("method", METHODS)
def test_one_point_each_is_their_distance(method: str) -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]])
    expected = 5 / math.sqrt(2) if method == "sliced" else 5.0
    assert float(transport.w2(a, b, method, projections=4000)) == pytest.approx(expected, rel=0.05)
    assert float(transport.w2(a, a, method)) == 0


@pytest.mark.parametrize("method", METHODS)
def test_weights_act_like_repeated_points(method: str) -> None:
    a, b = normal(5, 2), normal(4, 2, seed=1) + 1
    counts = torch.tensor([1, 3, 2, 1, 0])
    repeated = transport.w2(a.repeat_interleave(counts, 0), b, method)
    weighted = transport.w2(a, b, method, weights_a=counts)
    tolerance = 1e-4 if method == "entropic" else 1e-9
    assert_close(weighted, repeated, rtol=tolerance, atol=tolerance)


def test_weighted_exact_is_pots() -> None:
    a, b, mass_a, mass_b = normal(6, 3), normal(8, 3, seed=1), uniform(6), uniform(8, seed=1)
    expected = pot_w2(a, b, mass_a / mass_a.sum(), mass_b / mass_b.sum())
    assert float(transport.w2(a, b, weights_a=mass_a, weights_b=mass_b)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_arrays_of_any_kind_are_clouds(method: str) -> None:
    wide = np.arange(40, dtype=np.float32).reshape(8, 5) % 7
    strided = wide[::2, ::2]
    strided.flags.writeable = False
    counts = np.arange(6).reshape(2, 3)
    distance = transport.w2(strided, counts, method)
    assert distance.dtype == torch.float32
    assert_close(distance, transport.w2(torch.tensor(strided.copy()), torch.tensor(counts).float(), method))
    assert transport.w2(normal(3, 2).half(), normal(3, 2, seed=1).half(), method).dtype == torch.float32


def test_exact_warns_of_memory_and_of_a_stop_before_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "EXACT_PAIRS", 10)
    with pytest.warns(UserWarning, match=r"4 and 3 points takes about .* GB .* method='sliced'"):
        transport.w2(normal(4, 2), normal(3, 2))
    monkeypatch.setattr(clouds, "EXACT_PAIRS", 10**6)
    monkeypatch.setattr(simplex, "PIVOTS", 1)
    with warnings.catch_warnings(record=True) as caught:  # POT warns as well
        warnings.simplefilter("always")
        transport.w2(normal(20, 2), normal(20, 2, seed=1))
    assert any("exact W2 did not converge" in str(w.message) for w in caught)


def test_what_memory_does_not_hold_is_refused_before_it_starts() -> None:
    """These once ended in an allocator's error of 80 and of 7 GB, the first of them after a minute."""
    many = torch.zeros(200_000, 2)
    with pytest.raises(ValueError, match=r"exact W2 between 200000 and 200000 points needs about 2e\+03 GB .*sliced"):
        transport.w2(many, many + 1)
    with pytest.raises(ValueError, match=r"entropic W2 between 3 and 200000 points needs about .* GB .* subset"):
        transport.w2(many[:3], many, "entropic")
    with pytest.raises(ValueError, match=r"a cost matrix of shape \(200000, 200000\) needs about .* fewer tokens"):
        transport.cost_matrix(many, many)
    assert float(transport.w2(many, many, "sliced", projections=2)) == 0


def test_entropic_says_what_it_needs_by_the_domain_that_it_will_run_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing underflows it takes a quarter of what a plan does, and was refused all the same."""
    a, b = normal(400, 3), normal(400, 3, seed=1)
    free = transport.w2(a, b, "entropic", blur=0.2)
    monkeypatch.setattr(room, "SMALL", 0)
    monkeypatch.setattr(room, "free_bytes", lambda device=None: 3_000_000)
    assert transport.w2(a, b, "entropic", blur=0.2) == free
    monkeypatch.setattr(clouds, "_regularised", lambda *_: pytest.fail("work was done before it was refused"))
    with pytest.raises(ValueError, match=r"entropic W2 between 400 and 400 points needs about 0\.0064 GB of memory"):
        transport.w2(a, b, "entropic", blur=1e-4)
    with pytest.raises(ValueError, match=r"exact W2 between 400 and 400 points needs about 0\.008 GB of memory"):
        transport.w2(a, b)


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists() or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="the memory of glibc is read from /proc",
)
@pytest.mark.parametrize(("method", "size"), [("exact", 1000), ("entropic", 2500)])
def test_what_is_said_to_be_needed_is_what_the_system_counts(method: str, size: int) -> None:
    a, b = normal(size, 16), 0.5 + normal(size, 16, seed=1)
    transport.w2(a[:50], b[:50], method)
    told = {"exact": clouds.EXACT_BYTES, "entropic": clouds.SCALED_BYTES}[method] * size**2

    def resident(key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier tests have freed would serve again, and not be counted
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = resident("VmRSS")
    transport.w2(a, b, method)
    taken = resident("VmHWM") - before
    assert 0.5 * told < taken < 1.15 * told + 8e6


def test_what_the_system_has_left_is_what_may_be_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (room.free_bytes() or 0) > 1 << 20
    for name, text in {
        "memory.max": "5000000",
        "memory.current": "4000000",
        "memory.stat": "inactive_file 500000",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(room, "_CGROUP", tmp_path)
    assert room.free_bytes() == 1_500_000  # what a container has left counts too
    monkeypatch.setattr(room, "SMALL", 0)
    with pytest.raises(
        ValueError, match=r"needs about 0.002 GB of memory, and this machine has 0.0015 GB left; rest\."
    ):
        room.require("this", 2e6, "rest")
    (tmp_path / "memory.max").write_text("max")
    room.require("this", 2e6, "rest")


def test_dimensions_with_names_are_not_read_in_another_order() -> None:
    cloud = xr.DataArray(normal(4, 9).numpy(), dims=("feature", "sample"))
    with pytest.raises(
        ValueError, match=r"a has dimensions \('feature', 'sample'\).*a.transpose\('sample', 'feature'\)"
    ):
        transport.w2(cloud, cloud)
    assert float(transport.w2(cloud.T, cloud.T)) == 0
    i, j = xr.DataArray([1.0, 2.0], {"x": [0, 1]}, ("x",)), xr.DataArray([1.5, 2.5], {"y": [5, 6]}, ("y",))
    best = transport.alpha_star(i, j, 2.0)
    assert best.raw.dims == ("x", "y") and best.raw.coords["y"].values.tolist() == [5, 6]
    assert float(best.raw.sel(x=1, y=5)) == pytest.approx(transport.alpha_star(2.0, 1.5, 2.0).raw)
    with pytest.raises(ValueError, match="labels differ"):
        transport.alpha_star(i, i.assign_coords(x=[1, 2]), 2.0)
    with pytest.raises(ValueError, match="all distances as DataArrays, or none"):
        transport.alpha_star(i, np.ones(2), 2.0)


# -- the other three ---------------------------------------------------------------------------------


@quick
@given(n=st.integers(2, 30), m=st.integers(2, 30), d=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_gaussian_is_the_bures_formula_and_a_lower_bound(n: int, m: int, d: int, seed: int) -> None:
    a, b = normal(n, d, seed=seed), normal(m, d, seed=seed + 1) @ normal(d, d, seed=seed + 2) + 1
    cov_a, cov_b = (torch.atleast_2d(torch.cov(x.T, correction=0)) for x in (a, b))

    def root(matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        return (vectors * values.clamp_min(0).sqrt()) @ vectors.T

    cross = root(root(cov_a) @ cov_b @ root(cov_a)).trace()
    squared = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    gaussian = transport.w2(a, b, "gaussian")
    assert_close(gaussian.square(), squared, rtol=1e-6, atol=1e-6)
    assert float(gaussian) <= float(transport.w2(a, b)) + 1e-9


def test_gaussian_of_axis_aligned_clouds_is_the_closed_form() -> None:
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    a, b = corners * torch.tensor([2.0, 5.0]), corners * torch.tensor([3.0, 1.0]) + torch.tensor([7.0, 0.0])
    assert_close(transport.w2(a, b, "gaussian").square(), torch.tensor(7.0**2 + (2 - 3) ** 2 + (5 - 1) ** 2).double())


@quick
@given(n=st.integers(1, 20), m=st.integers(1, 20), seed=st.integers(0, 10**6), weighted=st.booleans())
def test_sliced_is_pots_on_the_same_directions(n: int, m: int, seed: int, weighted: bool) -> None:
    a, b = normal(n, 4, seed=seed), normal(m, 4, seed=seed + 1) + 0.3
    theta = torch.nn.functional.normalize(normal(4, 9, seed=seed + 2), dim=0)
    mass_a = uniform(n, seed=seed) + 0.01 if weighted else torch.ones(n).double()
    mass_b = uniform(m, seed=seed + 1) + 0.01 if weighted else torch.ones(m).double()
    mass_a, mass_b = mass_a / mass_a.sum(), mass_b / mass_b.sum()
    masses = {"weights_a": mass_a, "weights_b": mass_b} if weighted else {}
    expected = ot.sliced_wasserstein_distance(a, b, mass_a, mass_b, projections=theta)
    assert_close(transport.w2(a, b, "sliced", projections=theta, **masses), expected, rtol=1e-9, atol=1e-9)


def test_sliced_on_a_line_is_exact_and_gradient_mode_changes_nothing() -> None:
    a, b = normal(9, 1), normal(14, 1, seed=1) * 2
    assert_close(transport.w2(a, b, "sliced"), transport.w2(a, b))
    with_gradient = transport.w2(a.requires_grad_(), b, "sliced")
    assert_close(with_gradient.detach(), transport.w2(a.detach(), b, "sliced"), rtol=0, atol=0)


def test_scaled_sliced_measures_a_shift_and_stays_below_the_exact_one() -> None:
    a, b = normal(60, 8), normal(60, 8, seed=1) * 1.5
    shifted = transport.sliced_w2(a, a + 1, scaled=True, projections=4000)
    assert abs(float(shifted.value) - math.sqrt(8)) < 4 * shifted.stderr
    assert float(transport.w2(a, b, "sliced", scaled=True)) < float(transport.w2(a, b))
    plain = transport.sliced_w2(a, b)
    assert_close(transport.sliced_w2(a, b, scaled=True).value, plain.value * math.sqrt(8))


def test_sliced_standard_error_covers_the_spread_over_seeds() -> None:
    a, b = normal(40, 6), normal(30, 6, seed=1) + 0.5
    answers = [transport.sliced_w2(a, b, projections=64, seed=s) for s in range(200)]
    spread = torch.stack([r.value for r in answers]).std()
    assert float(spread) == pytest.approx(np.mean([r.stderr for r in answers]), rel=0.15)
    assert_close(answers[3].value, transport.w2(a, b, "sliced", projections=64, seed=3))
    assert_close(answers[0].squared.mean().sqrt(), answers[0].value)
    assert math.isnan(transport.sliced_w2(a, b, projections=1).stderr)
    assert transport.sliced_w2(a, a).stderr == 0


def test_entropic_is_the_divergence_made_of_pots_plans() -> None:
    a, b = normal(12, 3), normal(9, 3, seed=1) + 0.5
    epsilon = 0.1 * ot.dist(a.numpy(), b.numpy()).mean()

    def regularised(x: Tensor, y: Tensor) -> float:
        cost, independent = ot.dist(x.numpy(), y.numpy()), 1 / (len(x) * len(y))
        plan = ot.sinkhorn([], [], cost, epsilon, method="sinkhorn_log", numItermax=20000, stopThr=1e-12)
        return float((plan * cost).sum() + epsilon * (plan * np.log(plan / independent)).sum())

    divergence = regularised(a, b) - 0.5 * regularised(a, a) - 0.5 * regularised(b, b)
    assert float(transport.w2(a, b, "entropic", blur=0.1)) == pytest.approx(math.sqrt(divergence), rel=1e-4)
    raw = transport.w2(a, b, "entropic", blur=0.1, debiased=False)
    assert float(raw) == pytest.approx(math.sqrt(regularised(a, b)), rel=1e-4)
    assert float(raw) > float(transport.w2(a, b))


def test_entropic_tends_to_the_exact_distance() -> None:
    a, b = normal(15, 2), normal(15, 2, seed=1) + 1
    exact = float(transport.w2(a, b))
    errors = [abs(float(transport.w2(a, b, "entropic", blur=blur)) - exact) for blur in (0.5, 0.05, 0.005)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01 * exact


def test_entropic_says_when_it_did_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "_SWEEPS", 3)
    with pytest.warns(UserWarning, match=r"entropic W2 did not converge in 3 iterations .*raise blur"):
        transport.w2(normal(8, 2), normal(8, 2, seed=1), "entropic", blur=0.01, debiased=False)


# -- what users hand in ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_bad_clouds_are_named(method: str) -> None:
    good = normal(4, 3)
    with pytest.raises(ValueError, match="different dimension: a has 3 columns, b has 2"):
        transport.w2(good, normal(4, 2), method)
    with pytest.raises(ValueError, match=r"b is empty, shape \(0, 3\)"):
        transport.w2(good, torch.empty(0, 3), method)
    with pytest.raises(ValueError, match=r"a must have shape \(points, d\), got \(3,\); use a\[:, None\]"):
        transport.w2(torch.ones(3), good, method)
    with pytest.raises(ValueError, match="a holds 1 NaN or infinite"):
        transport.w2(torch.tensor([[1.0, float("nan")]]), normal(2, 2), method)
    with pytest.raises(TypeError, match="b must be real"):
        transport.w2(good, good + 1j, method)
    with pytest.raises(TypeError, match="a must be a tensor or an array"):
        transport.w2("cloud", good, method)


def test_bad_options_are_named() -> None:
    a = normal(4, 3)
    with pytest.raises(ValueError, match=r"unknown method 'exakt'.*Did you mean 'exact'"):
        transport.w2(a, a, "exakt")
    with pytest.raises(ValueError, match=r"weights_a must have shape \(4,\)"):
        transport.w2(a, a, weights_a=torch.ones(3))
    with pytest.raises(ValueError, match="weights_b must be at least 0 and not all 0"):
        transport.w2(a, a, weights_b=torch.zeros(4))
    with pytest.raises(ValueError, match="weights_b must be at least 0"):
        transport.w2(a, a, weights_b=[1, 1, 1, -1])
    with pytest.raises(ValueError, match=r"projections must have shape \(3, L\)"):
        transport.w2(a, a, "sliced", projections=torch.eye(2))
    with pytest.raises(ValueError, match="columns of length 1"):
        transport.w2(a, a, "sliced", projections=2 * torch.eye(3))
    with pytest.raises(ValueError, match="projections must be at least 1"):
        transport.w2(a, a, "sliced", projections=0)
    with pytest.raises(ValueError, match="blur must be above 0"):
        transport.w2(a, a, "entropic", blur=0)


# -- plans between token sets ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cosine", "squared_euclidean"])
def test_cost_matrix_is_the_pairwise_definition(kind: str) -> None:
    a, b = normal(2, 1, 5, 4), normal(3, 6, 4, seed=1)
    cost = transport.cost_matrix(a, b, kind)
    unit_a, unit_b = (x / x.norm(dim=-1, keepdim=True) for x in (a, b))
    x, y, half = (unit_a, unit_b, 0.5) if kind == "cosine" else (a, b, 1.0)
    assert cost.shape == (2, 3, 5, 6)
    assert_close(cost, half * (x[..., :, None, :] - y[..., None, :, :]).square().sum(-1))
    assert torch.autograd.gradcheck(
        lambda p, q: transport.cost_matrix(p, q, kind), (normal(3, 2).requires_grad_(), normal(2, 2).requires_grad_())
    )


def test_cost_matrix_of_zero_tokens_and_far_tokens_is_sound() -> None:
    zeros = torch.zeros(2, 3, requires_grad=True)
    cost = transport.cost_matrix(zeros, torch.ones(1, 3))
    cost.sum().backward()
    assert_close(cost.detach(), torch.ones(2, 1))
    assert bool(zeros.grad.isfinite().all())
    far = torch.tensor([[1e4, 0.0], [1e4, 1.0]])
    assert_close(transport.cost_matrix(far, far, "squared_euclidean"), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


@pytest.mark.parametrize("kind", ["cosine", "squared_euclidean"])
def test_nan_in_padded_tokens_stays_in_the_padding(kind: str) -> None:
    a, b = normal(4, 3), normal(5, 3, seed=1)
    padded = torch.cat([a, torch.full((2, 3), torch.nan).double()])
    here = torch.arange(6) < 4
    expected = transport.emd(transport.cost_matrix(a, b, kind)).value
    assert_close(transport.emd(transport.cost_matrix(padded, b, kind), here).value, expected)
    with pytest.raises(ValueError, match=r"cost holds 10 NaN or infinite"):
        transport.emd(transport.cost_matrix(padded, b, kind))


def test_cost_matrix_names_bad_tokens() -> None:
    with pytest.raises(ValueError, match="tokens of a have 3 numbers each, tokens of b 2"):
        transport.cost_matrix(torch.ones(4, 3), torch.ones(4, 2))
    with pytest.raises(ValueError, match="a is empty"):
        transport.cost_matrix(torch.ones(0, 3), torch.ones(4, 3))
    with pytest.raises(ValueError, match="b must have shape"):
        transport.cost_matrix(torch.ones(4, 3), torch.ones(3))
    with pytest.raises(ValueError, match="unknown cost 'cosin'"):
        transport.cost_matrix(torch.ones(4, 3), torch.ones(4, 3), "cosin")


SOLVERS = {
    "emd": transport.emd,
    "ipot": lambda cost, *masks, **k: transport.ipot(cost, *masks, beta=0.1, iterations=300, **k),
    "sinkhorn": lambda cost, *masks, **k: transport.sinkhorn(cost, *masks, epsilon=0.1, tol=1e-5, **k),
}
solvers = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS.keys())


@solvers
def test_plans_have_their_marginals_and_bracket_the_exact_value(solve) -> None:
    cost = transport.cost_matrix(normal(2, 3, 6, 4), normal(2, 3, 9, 4, seed=1))
    answer = solve(cost)
    assert answer.plan.shape == (2, 3, 6, 9)
    assert answer.value.shape == answer.marginal_error.shape == answer.lower_bound.shape == (2, 3)
    assert bool((answer.plan >= 0).all())
    assert_close(answer.plan.sum(-1), torch.full((2, 3, 6), 1 / 6).double(), rtol=0, atol=5e-3)
    assert_close(answer.plan.sum(-2), torch.full((2, 3, 9), 1 / 9).double(), rtol=0, atol=5e-3)
    assert float(answer.marginal_error.max()) <= 0.02
    assert_close(answer.value, (cost * answer.plan).sum((-2, -1)))
    exact = pot_values(cost)
    assert bool((answer.lower_bound <= exact + 1e-9).all())
    assert bool((answer.value >= exact - 2 * answer.marginal_error - 1e-9).all())
    assert answer.converged is True


@quick
@given(p=st.integers(1, 8), q=st.integers(1, 8), seed=st.integers(0, 10**6), scale=st.floats(1e-10, 1e10))
def test_emd_is_pots_exact_value(p: int, q: int, seed: int, scale: float) -> None:
    cost = scale * normal(3, p, q, seed=seed)
    answer = transport.emd(cost)
    assert_close(answer.value / scale, pot_values(cost / scale), rtol=1e-9, atol=1e-9)
    assert float(answer.marginal_error.max()) < 1e-12


@solvers
@pytest.mark.parametrize("one_side", [False, True])
def test_masked_is_the_plan_of_what_is_there(solve, one_side: bool) -> None:
    cost = uniform(4, 5, 7)
    here_a = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0], [1, 1, 1, 1, 0]])
    here_b = None if one_side else torch.tensor([[1] * 7, [1] * 3 + [0] * 4, [0] * 6 + [1], [0, 1] * 3 + [1]])
    filled = cost.clone()
    filled[~here_a.bool()] = float("nan")  # padding may hold anything
    answer = solve(filled, here_a, here_b)
    for k in range(4):
        rows = here_a[k].nonzero()[:, 0]
        columns = torch.arange(7) if here_b is None else here_b[k].nonzero()[:, 0]
        alone = solve(cost[k][rows][:, columns])
        # Sinkhorn stops when the slowest sample of a batch is done, hence not bit for bit
        assert_close(answer.plan[k][rows][:, columns], alone.plan, rtol=1e-4, atol=1e-7)
        assert_close(answer.value[k], alone.value, rtol=1e-5, atol=1e-8)
        assert_close(answer.lower_bound[k], alone.lower_bound, rtol=1e-4, atol=1e-6)
        left_out = torch.ones(5, 7, dtype=torch.bool)
        left_out[rows[:, None], columns] = False
        assert not answer.plan[k][left_out].any()


@solvers
def test_gradient_is_the_plan_and_skips_the_padding(solve) -> None:
    cost = uniform(2, 4, 5).requires_grad_()
    answer = solve(cost, torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool())
    answer.value.sum().backward()
    assert_close(cost.grad, answer.plan.detach())
    assert not cost.grad[0, 3].any()


def test_emd_gradient_is_the_finite_difference() -> None:
    cost = uniform(3, 4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: transport.emd(c).value, (cost,))


def test_unrolled_ipot_gradient_is_the_finite_difference() -> None:
    cost = uniform(2, 3, 4).requires_grad_()
    mask = torch.tensor([[True, True, True], [True, False, True]])

    def value(c: Tensor) -> Tensor:
        return transport.ipot(c, mask, beta=0.3, iterations=8, inner=2, gradient="unrolled", tol=1).value

    assert torch.autograd.gradcheck(value, (cost,))
    plan = transport.ipot(cost, mask, beta=0.3, iterations=8, gradient="unrolled", tol=1).plan
    assert plan.requires_grad
    assert not transport.ipot(cost, mask, tol=1).plan.requires_grad


def test_ipot_tends_to_the_exact_value_as_iterations_grow() -> None:
    cost = transport.cost_matrix(normal(3, 8, 5), normal(3, 11, 5, seed=1))
    exact = pot_values(cost)
    errors = []
    for iterations in (10, 50, 250, 3000):
        answer = transport.ipot(cost, iterations=iterations, tol=1)
        errors.append(float(((answer.value - exact) / exact).abs().max()))
        assert answer.iterations == iterations
    assert errors == sorted(errors, reverse=True)
    assert errors[1] < 0.02
    assert errors[3] < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", [0.05, 0.01, 1e-3])
def test_ipot_with_a_small_step_stays_finite_and_accurate(beta: float, dtype: torch.dtype) -> None:
    cost = transport.cost_matrix(normal(3, 6, 5), normal(3, 8, 5, seed=1)).to(dtype)
    answer = transport.ipot(cost, beta=beta, iterations=200, inner=10, tol=1)
    assert bool(answer.plan.isfinite().all())
    assert_close(answer.value.double(), pot_values(cost.double()), rtol=0.05, atol=1e-3)


def test_ipot_defaults_are_within_half_a_percent_on_cosine_costs_of_many_tokens() -> None:
    cost = transport.cost_matrix(normal(4, 40, 64), normal(4, 196, 64, seed=1)).float()
    answer = transport.ipot(cost)
    assert answer.converged
    assert_close(answer.value.double(), pot_values(cost.double()), rtol=5e-3, atol=0)


def test_solvers_that_did_not_converge_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = transport.cost_matrix(normal(2, 8, 5), normal(2, 8, 5, seed=1))
    with pytest.warns(UserWarning, match=r"ipot did not converge for 2 of 2 pairs in 1 iterations.*emd is exact"):
        assert transport.ipot(cost, iterations=1).converged is False
    with pytest.warns(UserWarning, match=r"nearer to half the mean cost \(1e\+03\)|nearer to half the mean cost"):
        assert not transport.ipot(1e3 * cost).converged
    with pytest.warns(UserWarning, match="sinkhorn did not converge in 3 iterations"):
        answer = transport.sinkhorn(cost, epsilon=0.005, iterations=3)
    assert answer.converged is False
    assert answer.iterations == 3
    monkeypatch.setattr(simplex, "PIVOTS", 1)
    with warnings.catch_warnings(record=True) as caught:  # POT warns as well
        warnings.simplefilter("always")
        answer = transport.emd(cost)
    assert any("emd did not converge for 2 of 2 pairs" in str(w.message) for w in caught)
    assert answer.converged is False
    assert_close(answer.lower_bound, torch.full((2,), -torch.inf).double())


def test_sinkhorn_is_pots() -> None:
    cost = uniform(7, 5)
    plan = ot.sinkhorn([], [], cost.numpy(), 0.05, method="sinkhorn_log", stopThr=1e-12, numItermax=10000)
    assert_close(transport.sinkhorn(cost, tol=1e-10).plan, torch.from_numpy(plan), rtol=1e-6, atol=1e-9)


SPREADS = [0.5, 0.1, 0.05, 0.03, 0.01]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", SPREADS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.filterwarnings("ignore:.*did not converge")
def test_scaling_and_the_log_domain_are_one(
    step: float, dtype: torch.dtype, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where exp(-C/β) is a number its fiftieth power is none: pairs lost that way once cost 5 % of the value."""
    cost = transport.cost_matrix(normal(9, 12, 8), normal(9, 15, 8, seed=1)).to(dtype)
    masks = (uniform(9, 12) > 0.3, uniform(9, 15, seed=1) > 0.2) if masked else (None, None)

    def both() -> list[transport.TransportPlan]:
        c = cost.clone().requires_grad_()
        return [transport.ipot(c, *masks, beta=step), transport.sinkhorn(c, *masks, epsilon=step, iterations=200)]

    quick = both()
    monkeypatch.setattr(scaling, "SPREAD", {})
    for fast, slow in zip(quick, both(), strict=True):
        assert fast.iterations == slow.iterations
        assert_close(fast.value, slow.value, rtol=1e-6, atol=1e-6)
        assert_close(fast.plan, slow.plan, rtol=1e-5, atol=1e-6)
        assert_close(fast.lower_bound, slow.lower_bound, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spread", [25.0, 45.0, 59.0])
@pytest.mark.filterwarnings("ignore:.*did not converge")
def test_ipot_in_single_precision_is_ipot_in_double(spread: float) -> None:
    """Hard problems: costs apart by ``spread`` β and masses of six orders. At 45 β scaling was once off by 0.5 %."""
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(60, 12, 12, generator=generator)
    cost[::2] = (cost[::2] > 0.7).float()
    cost = spread * (cost - cost.amin((1, 2), True)) / (cost.amax((1, 2), True) - cost.amin((1, 2), True))
    a, b = 10 ** (-6 * torch.rand(2, 60, 12, generator=generator))
    single = transport.ipot(cost, beta=1.0, mass_a=a, mass_b=b).plan
    double = transport.ipot(cost.double(), beta=1.0, mass_a=a, mass_b=b).plan
    assert float((single - double).abs().sum((1, 2)).max()) < 2e-4


def test_scalings_that_come_near_the_ends_of_the_precision_are_refused() -> None:
    """exp(59) in a row and again in a column overflowed single precision together once, and a column was dropped."""
    mass = torch.tensor([[1.0, 1e-30]])
    for factor in (1e35, 1e-35, torch.inf, torch.nan):
        assert scaling.potential(torch.tensor([[factor, 1e-30]]), mass) is None
    kept = scaling.potential(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert kept is not None
    assert_close(kept, torch.tensor([[2.0, 1.0]]).log(), rtol=1e-6, atol=0)
    cost = torch.tensor([[[0.0, 0.0], [59.0, 59.0]]])
    found = transport.sinkhorn(cost, epsilon=1.0, mass_a=mass, mass_b=mass)
    assert_close(found.plan.sum((1, 2)), torch.ones(1), rtol=1e-5, atol=0)


def test_sinkhorn_looks_seldom_where_the_host_would_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten sweeps between two looks stop at the same sweep: the ones beyond it are forgotten."""
    cost = transport.cost_matrix(normal(3, 12, 8), normal(3, 15, 8, seed=1))
    found = transport.sinkhorn(cost)
    for spread in ({torch.float64: 600.0}, {}):
        monkeypatch.setattr(scaling, "SPREAD", spread)
        monkeypatch.setattr(scaling, "at_once", lambda device: 10)
        seldom = transport.sinkhorn(cost)
        assert seldom.iterations == found.iterations and found.iterations % 10
        assert_close(seldom.plan, found.plan, rtol=1e-9, atol=1e-12)


@solvers
def test_masses_weigh_tokens(solve) -> None:
    cost, a, b = uniform(5, 4, 6), uniform(5, 4, seed=1), uniform(6, seed=2)
    b[2] = 0  # a token that weighs nothing is not there
    found = solve(cost, mass_a=a, mass_b=3 * b)
    share_a, share_b = a / a.sum(1, keepdim=True), (b / b.sum()).expand(5, 6)
    assert_close(found.plan.sum(1), share_b, rtol=0, atol=2e-2)
    assert_close(found.plan.sum(2), share_a, rtol=0, atol=2e-2)
    assert found.plan[:, :, 2].abs().max() == 0
    exact = [ot.emd2(p.numpy(), q.numpy(), c.numpy()) for p, q, c in zip(share_a, share_b, cost, strict=True)]
    assert (found.lower_bound <= torch.tensor(exact, dtype=torch.float64) + 1e-6).all()
    assert_close(found.value, torch.tensor(exact, dtype=torch.float64), rtol=0, atol=0.03)
    twice = solve(cost.repeat_interleave(2, -1), mask_b=(b > 0).repeat_interleave(2))
    even = solve(cost, mass_b=(b > 0).double())
    assert_close(twice.value, even.value, rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match=r"mass_a must be at least 0 and not all 0 where tokens are, .* sample 0"):
        solve(cost, mass_a=-a)
    with pytest.raises(ValueError, match=r"mass_b must have shape \(5, 6\)"):
        solve(cost, mass_b=torch.ones(7))
    with pytest.raises(TypeError, match="mass_a must hold weights"):
        solve(cost, mass_a=torch.ones(4, dtype=torch.bool))


def test_threads_change_nothing() -> None:
    cost = uniform(40, 6, 9)
    assert_close(transport.emd(cost, workers=3).plan, transport.emd(cost, workers=1).plan, rtol=0, atol=0)


@solvers
def test_costs_of_any_kind_are_taken(solve) -> None:
    read_only = np.random.default_rng(0).random((2, 8, 6)).astype(np.float32)[:, ::2, ::-1]
    read_only.flags.writeable = False
    assert solve(read_only.copy()[0].T).plan.shape == (6, 4)
    assert solve(np.broadcast_to(read_only, (2, 2, 4, 6))).value.dtype == torch.float32
    counts = solve(torch.tensor([[0, 1], [1, 0]]))
    assert float(counts.value) == pytest.approx(0, abs=1e-3)
    assert solve(torch.rand(2, 3, 4).half()).plan.dtype == torch.float16
    assert solve(uniform(1, 1)).plan.tolist() == [[1.0]]


@solvers
def test_empty_sets_and_masks_that_leave_nothing_are_refused(solve) -> None:
    with pytest.raises(ValueError, match=r"cost has an empty token set, shape \(2, 0, 3\)"):
        solve(torch.ones(2, 0, 3))
    with pytest.raises(ValueError, match="cost holds no sample"):
        solve(torch.ones(0, 2, 3))
    with pytest.raises(ValueError, match="mask_b leaves no token in 1 of 2 samples, the first at 1"):
        solve(torch.ones(2, 2, 3), None, torch.tensor([[1, 1, 0], [0, 0, 0]]))
    with pytest.raises(ValueError, match="mask_a leaves no token in 1 of 1 samples"):
        solve(torch.ones(2, 3), torch.zeros(2))


@solvers
def test_bad_costs_and_masks_are_named(solve) -> None:
    with pytest.raises(ValueError, match=r"cost must have shape \(..., p, q\), got \(3,\)"):
        solve(torch.ones(3))
    with pytest.raises(ValueError, match=r"cost holds 1 NaN or infinite value\(s\), the first at \(0, 1, 2\)"):
        solve(torch.ones(2, 3).index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(torch.inf)))
    with pytest.raises(ValueError, match=r"mask_a must have shape \(4, 2\) .* got \(3,\)"):
        solve(torch.ones(4, 2, 3), torch.ones(3))
    with pytest.raises(ValueError, match="mask_b must hold True/False or 1/0"):
        solve(torch.ones(2, 3), None, torch.tensor([0.5, 1, 1]))
    with pytest.raises(TypeError, match="cost must be real"):
        solve(torch.ones(2, 3, dtype=torch.complex64))


def test_bad_solver_options_are_named() -> None:
    cost = torch.ones(2, 3)
    with pytest.raises(ValueError, match="beta must be above 0"):
        transport.ipot(cost, beta=0)
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        transport.ipot(cost, iterations=0)
    with pytest.raises(TypeError, match="inner must be a whole number"):
        transport.ipot(cost, inner=1.5)
    with pytest.raises(ValueError, match=r"unknown gradient 'unroll'.*Did you mean 'unrolled'"):
        transport.ipot(cost, gradient="unroll")
    with pytest.raises(ValueError, match="epsilon must be above 0"):
        transport.sinkhorn(cost, epsilon=-1)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        transport.emd(cost, workers=0)


# -- clouds of latents -------------------------------------------------------------------------------


def test_modality_gap_is_measured_on_the_unit_sphere() -> None:
    a, b = normal(30, 6) + 1, 5 * normal(20, 6, seed=1) - 1
    unit_a, unit_b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    gap = transport.modality_gap(a, b)
    assert gap.w2_squared == pytest.approx(pot_w2(unit_a, unit_b) ** 2)
    assert gap.centroid_gap == pytest.approx(float((unit_a.mean(0) - unit_b.mean(0)).norm()))
    assert gap.variance_a == pytest.approx(np.trace(np.cov(unit_a.T.numpy(), ddof=0)))
    assert gap.variance_b == pytest.approx(1 - float(unit_b.mean(0).square().sum()))
    assert gap.variance_ratio == pytest.approx(
        max(gap.variance_a, gap.variance_b) / min(gap.variance_a, gap.variance_b)
    )
    assert transport.modality_gap(3 * a, b, "gaussian").w2_squared <= gap.w2_squared
    assert transport.modality_gap(a, a).w2_squared == 0


def test_latent_variance_has_a_gradient_and_forgets_length() -> None:
    z = normal(7, 3).requires_grad_()
    assert torch.autograd.gradcheck(transport.latent_variance, (z,))
    scaled = z.detach() * (uniform(7, 1) + 0.1)
    assert_close(transport.latent_variance(scaled), transport.latent_variance(z.detach()))
    assert float(transport.latent_variance(torch.ones(4, 3))) == pytest.approx(0, abs=1e-6)


def test_latents_without_direction_or_spread_are_refused() -> None:
    with pytest.raises(ValueError, match=r"z holds 1 latent\(s\) of length 0, the first at row 1"):
        transport.latent_variance(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="different dimension"):
        transport.modality_gap(normal(4, 3), normal(4, 2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_collapsed_modality_has_a_gap(method: str, dtype: torch.dtype) -> None:
    """Strong alignment makes one: all its latents point the same way, up to rounding."""
    point = normal(1, 7, seed=5).to(dtype)
    spread, lengths = normal(12, 7).to(dtype), uniform(9, 1).to(dtype) + 0.5
    gap = transport.modality_gap(spread, lengths * point, method, debiased=False)
    unit = spread / spread.norm(dim=1, keepdim=True)
    if method in ("exact", "gaussian"):  # to one point there is one plan, and no correlation
        expected = (unit - point / point.norm()).square().sum(1).mean()
        assert gap.w2_squared == pytest.approx(float(expected), rel=1e-5)
    assert gap.variance_b == 0 < gap.variance_a and gap.variance_ratio == math.inf
    assert float(transport.variance_ratio(spread, lengths * point)) == math.inf
    both = transport.modality_gap(point.expand(4, 7), -lengths * point, method)
    apart = 4 if method != "sliced" else float(transport.w2(point, -point, method)) ** 2 / float(point.norm()) ** 2
    assert both.w2_squared == pytest.approx(apart, rel=1e-4)
    assert both.centroid_gap == pytest.approx(2) and math.isnan(both.variance_ratio)
    one = transport.modality_gap(point, -point, method)  # a cloud of one point
    assert one.w2_squared == pytest.approx(apart, rel=1e-4) and one.variance_a == 0


def test_a_small_variance_is_no_collapse() -> None:
    base = normal(1, 5, seed=2)
    near = (base + 1e-4 * normal(30, 5)).float()
    found = float(transport.latent_variance(near))
    assert found == pytest.approx(float(transport.latent_variance(near.double())), rel=1e-2)
    assert math.isfinite(transport.modality_gap(near, normal(30, 5, seed=9).float()).variance_ratio)


def test_sampling_bias_is_the_mean_distance_of_halves() -> None:
    a = normal(41, 16)
    bias = transport.sampling_bias(a, splits=6, seed=3)
    assert bias.points == 20
    assert bias.values.shape == (6,)
    assert bias.value == pytest.approx(float(bias.values.mean()))
    assert bias.stderr == pytest.approx(float(bias.values.std()) / math.sqrt(6))
    assert bias.value > 2  # of a law whose distance to itself is 0
    again = transport.sampling_bias(a, splits=6, seed=3)
    assert_close(again.values, bias.values, rtol=0, atol=0)
    fresh = [float(transport.w2(normal(20, 16, seed=2 * s + 9), normal(20, 16, seed=2 * s + 10))) for s in range(20)]
    assert bias.value == pytest.approx(np.mean(fresh), rel=0.1)
    assert transport.sampling_bias(torch.ones(6, 2)).value == 0


def test_sampling_bias_needs_something_to_split() -> None:
    with pytest.raises(ValueError, match="at least 2 points to split, got 1"):
        transport.sampling_bias(torch.ones(1, 3))
    with pytest.raises(ValueError, match="splits must be at least 2"):
        transport.sampling_bias(torch.ones(4, 3), splits=1)
    with pytest.raises(ValueError, match="points of equal weight"):
        transport.sampling_bias(torch.ones(4, 3), weights_a=torch.ones(4))


# -- α* ----------------------------------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 10**6), d=st.integers(1, 5))
def test_alpha_star_is_the_projection_of_points_and_obeys_its_corollary(seed: int, d: int) -> None:
    true, z_i, z_j = normal(3, d, seed=seed)
    d_i, d_j, d_ij = (float((x - y).norm()) for x, y in ((true, z_i), (true, z_j), (z_i, z_j)))
    best = transport.alpha_star(d_i, d_j, d_ij)
    assert best.raw == pytest.approx(float((true - z_i) @ (z_j - z_i) / (z_j - z_i).square().sum()), abs=1e-6)
    assert best.clipped == min(max(best.raw, 0), 1)
    low, high = best.bounds
    assert low - 1e-9 <= best.clipped <= high + 1e-9
    assert (best.raw > 0.5) == (d_i > d_j)
    assert best.delta_k <= min(d_i, d_j) + 1e-9
    assert best.delta_k_raw <= best.delta_k + 1e-6
    line = [transport.interpolation_cost(alpha, d_i, d_j, d_ij) for alpha in np.linspace(0, 1, 21)]
    assert best.delta_k**2 <= min(line) + 1e-9
    interpolated = (1 - best.clipped) * z_i + best.clipped * z_j
    assert best.delta_k == pytest.approx(float((true - interpolated).norm()), abs=1e-6)


def test_alpha_star_leaves_the_unit_interval_where_the_triangle_allows() -> None:
    beyond = transport.alpha_star(3.0, 1.0, 2.5)
    assert beyond.raw == pytest.approx((9 - 1 + 6.25) / 12.5)
    assert beyond.raw > 1
    assert beyond.clipped == 1
    assert beyond.bounds == (pytest.approx(0.75), 1)
    assert beyond.delta_k == pytest.approx(1)
    assert transport.alpha_star(1.0, 3.0, 2.5).raw < 0
    assert transport.alpha_star(1.0, 3.0, 2.5).bounds == (0, pytest.approx(0.25))
    degenerate = transport.alpha_star(1, 2, 3)  # on a line: P* lies between the two
    assert degenerate.raw == pytest.approx(1 / 3)
    assert degenerate.delta_k == pytest.approx(0, abs=1e-7)


def test_alpha_star_of_an_imperfect_representation_has_the_lower_bound_of_corollary_2_1() -> None:
    assert transport.alpha_star(2.0, 1.0, 2.0, delta=0.5).bounds == (pytest.approx(2 / 3.5), 1)
    assert transport.alpha_star(1.0, 2.0, 2.0, delta=0.5).bounds == (0, pytest.approx(1 / 3))


def test_alpha_star_answers_in_kind() -> None:
    assert isinstance(transport.alpha_star(1, 1, 1).raw, float)
    array = transport.alpha_star(np.array([1.0, 2.0]), 1.5, np.array([[1.0], [2.0]]))
    assert isinstance(array.raw, np.ndarray)
    assert array.raw.shape == array.bounds[0].shape == (2, 2)
    side = torch.tensor([1.0, 2.0], requires_grad=True)
    tensor = transport.alpha_star(side, 1.5, 2.0)
    assert tensor.raw.dtype == torch.float32
    tensor.raw.sum().backward()
    assert_close(side.grad, side.detach() / 4)  # dα*/dΔ_i = Δ_i/Δ_ij²
    curve = transport.interpolation_cost(np.linspace(0, 1, 3), 1.0, 1.0, 1.0)
    np.testing.assert_allclose(curve, [1.0, 0.75, 1.0])


def test_alpha_star_refuses_what_is_no_triangle() -> None:
    with pytest.raises(ValueError, match=r"no triangle.*exceeds the sum of the others by 2.*Did you pass squares"):
        transport.alpha_star(1.0, 1.0, 4.0)
    with pytest.raises(ValueError, match=r"the first of 1 at \(1,\)"):
        transport.alpha_star(np.array([1.0, 9.0]), 1.0, 1.0)
    with pytest.raises(ValueError, match="delta_ij is 0: P_i and P_j are the same distribution"):
        transport.alpha_star(1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="delta_j is a distance and must be at least 0"):
        transport.alpha_star(1.0, -1.0, 1.0)
    with pytest.raises(ValueError, match="delta_i holds 1 NaN"):
        transport.alpha_star(float("nan"), 1.0, 1.0)
    with pytest.raises(ValueError, match="must broadcast, got shapes"):
        transport.alpha_star(np.ones(2), np.ones(3), 1.0)
    with pytest.raises(ValueError, match="alpha must broadcast"):
        transport.interpolation_cost(np.ones(2), np.ones(3), 1.0, 1.0)
    with pytest.raises(ValueError, match="tolerance must be at least 0"):
        transport.alpha_star(1.0, 1.0, 1.0, tolerance=-1)
    assert transport.alpha_star(1.0, 1.0, 2.01, tolerance=0.01).raw == pytest.approx(0.5)
