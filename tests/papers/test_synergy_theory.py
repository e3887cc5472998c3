"""synergy's theory: closed forms, couplings and the identity, against POT, brute force and finite sums."""

from __future__ import annotations

import itertools
import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodal_lab.instruments.transport import couplings, gaussians
from xmodal_lab.instruments.transport.gaussians import COUPLINGS, Gaussian, drawn, example
from xmodal_lab.papers.synergy.theory import identity

HALF = torch.tensor([0.5], dtype=torch.float64)


@pytest.mark.parametrize(("theta", "side", "f", "true", "generalised", "random"), [
    (30, 2.866, 2.332, 3.095, 1.694, 2.220), (45, 2.156, 1.357, 1.709, 1.219, 1.730),
])  # fmt: skip
def test_the_three_cigars(theta: float, side: float, f: float, true: float, generalised: float, random: float) -> None:
    triple = example(theta)
    assert [round(v, 3) for v in triple.sides[:2]] == [side, side]
    assert round(float(triple.quadratic(HALF)), 3) == f
    for name, value in zip(COUPLINGS, (true, generalised, random), strict=True):
        assert round(float(triple.delta_k(HALF, name)), 3) == value
    assert triple.alpha_star == pytest.approx(0.5)
    assert (true > side) == (theta == 30), "on the true geodesic the middle is worse than both ends at 30°"


def test_gaussian_distances_and_maps_are_pots() -> None:
    triple = drawn(4, torch.Generator().manual_seed(0))
    a, b = triple.i, triple.j
    pot = ot.gaussian.bures_wasserstein_distance(
        a.mean.numpy(), b.mean.numpy(), a.covariance.numpy(), b.covariance.numpy()
    )
    assert gaussians.squared(a, b) == pytest.approx(float(pot) ** 2, rel=1e-9)
    matrix, _ = ot.gaussian.bures_wasserstein_mapping(
        a.mean.numpy(), b.mean.numpy(), a.covariance.numpy(), b.covariance.numpy()
    )
    np.testing.assert_allclose(gaussians.transport_map(a, b).numpy(), matrix, atol=1e-9)
    assert gaussians.squared(a, a) == pytest.approx(0, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([2, 3, 5]))
def test_the_inequality_turns_round_with_the_coupling(seed: int, d: int) -> None:
    triple, alpha = drawn(d, torch.Generator().manual_seed(seed)), torch.linspace(0, 1, 5, dtype=torch.float64)
    f = triple.quadratic(alpha)
    slack = 1e-7 * float(f.max())
    assert float((triple.delta_k(alpha, "generalised") - f).max()) <= slack, "Eq 12 as printed"
    assert float((triple.delta_k(alpha, "true") - f).min()) >= -slack, "the other way round"
    for name in COUPLINGS:
        ends = triple.delta_k(alpha[[0, -1]], name)
        torch.testing.assert_close(ends, torch.tensor(triple.sides[:2], dtype=torch.float64), rtol=1e-6, atol=1e-7)


def test_gaussians_refuse_what_is_no_law() -> None:
    with pytest.raises(ValueError, match="covariance \\(d, d\\)"):
        Gaussian(torch.zeros(2), torch.eye(3))
    with pytest.raises(ValueError, match="symmetric"):
        Gaussian(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="positive definite"):
        Gaussian(torch.zeros(2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="NaN"):
        Gaussian(torch.tensor([math.nan, 0.0]), torch.eye(2))
    with pytest.raises(ValueError, match="unknown coupling"):
        example(30).interpolated(0.5, "paired")
    with pytest.raises(ValueError, match="gap must be above 0"):
        example(30, gap=0)


def test_matching_is_the_best_of_all_permutations() -> None:
    rng = torch.Generator().manual_seed(3)
    a, b = torch.randn(6, 3, generator=rng), torch.randn(6, 3, generator=rng)
    found = couplings.matched(a, b)
    best = min(float((a - b[list(p)]).square().sum()) for p in itertools.permutations(range(6)))
    assert float((a - b[found]).square().sum()) == pytest.approx(best, rel=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_couplings_of_points_obey_the_same_inequalities(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    star, z_i, z_j = (torch.randn(12, 3, generator=rng) * s for s in (1.0, 2.0, 0.5))
    found = couplings.curves(star, z_i, z_j + 1, torch.tensor([0.0, 0.4, 1.0]))
    assert float((found.squared["generalised"] - found.quadratic).max()) <= 1e-9
    assert float((found.squared["true"] - found.quadratic).min()) >= -1e-9
    d_i, d_j, d_ij = found.sides
    assert found.alpha_star == pytest.approx((d_i**2 - d_j**2 + d_ij**2) / (2 * d_ij**2))


def test_clouds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="equally many points"):
        couplings.curves(torch.zeros(3, 2), torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="NaN"):
        couplings.curves(torch.full((3, 2), math.nan), torch.zeros(3, 2), torch.zeros(3, 2))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 9), st.integers(1, 5))
def test_a_random_target_is_a_constant_one_plus_a_constant(seed: int, n: int, m: int, d: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    g, target = torch.randn(n, d, generator=rng), 3 * torch.randn(m, d, generator=rng) + 1
    found = identity.split(g, target)
    by_hand = np.mean([0.5 * np.sum((a - b) ** 2) for a in g.double().numpy() for b in target.double().numpy()])
    assert found.drawn == pytest.approx(float(by_hand), rel=1e-9)
    assert found.drawn == pytest.approx(found.constant + found.variance, rel=1e-9)
    assert found.gradient_error < 1e-12


def test_the_sum_weighs_d_times_the_mean() -> None:
    assert (
        identity.effective_weight(0.5, 384, "mse_sum") == 384 * identity.effective_weight(0.5, 384, "mse_mean") == 384
    )
    assert identity.effective_weight(1.0, 2, "mse_mean") == math.inf
    with pytest.raises(ValueError, match="unknown loss"):
        identity.effective_weight(0.5, 384, "cosine")
    with pytest.raises(ValueError, match="between 0 and 1"):
        identity.effective_weight(-0.1, 384, "mse_sum")
    with pytest.raises(ValueError, match="targets \\(m, d\\)"):
        identity.split(torch.zeros(3, 2), torch.zeros(3, 4))
