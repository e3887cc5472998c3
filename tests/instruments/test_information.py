"""Fisher information against dense algebra, autograd and simulation; exchange rates against known planes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import xmodal_lab as xl
from xmodal_lab import information
from xmodal_lab.instruments.information import Channel, exchange_rate, fisher

DOUBLE = torch.float64
SEEDS = st.integers(0, 10_000)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def design(
    seed: int, n_x: int = 3, n_y: int = 4, d_c: int = 3, d_x: int = 2, d_y: int = 2, m: int = 4
) -> dict[str, Tensor]:
    """A design of its own for every sample."""
    shapes = {"A_c": (n_x, m, d_c), "A_x": (n_x, m, d_x), "B_c": (n_y, m + 1, d_c), "B_y": (n_y, m + 1, d_y)}
    return {name: normal(100 * seed + i, *shape) for i, (name, shape) in enumerate(shapes.items())}


# -- blocks --------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_the_whole_matrix_is_the_hessian_of_the_log_likelihood(seed: int) -> None:
    d, sx, sy = design(seed), 0.5, 2.0
    x, y = normal(seed + 1, 3, 4), normal(seed + 2, 4, 5)

    def nll(theta: Tensor) -> Tensor:
        c, own_x, own_y = theta[:3], theta[3:5], theta[5:]
        return ((x - d["A_c"] @ c - d["A_x"] @ own_x) ** 2).sum() / (2 * sx**2) + (
            (y - d["B_c"] @ c - d["B_y"] @ own_y) ** 2
        ).sum() / (2 * sy**2)

    expected = torch.func.hessian(nll)(torch.zeros(7, dtype=DOUBLE))
    found = fisher(d, sigma_x=sx, sigma_y=sy)
    torch.testing.assert_close(found.matrix(), expected)
    torch.testing.assert_close(found.matrix("x") + found.matrix("y"), expected)
    torch.testing.assert_close(found.information(method="block"), expected[:3, :3])
    # Var(θ_c) of the full problem is the θ_c block of the inverse, hence the inverse of the Schur complement
    torch.testing.assert_close(torch.linalg.inv(found.information()), torch.linalg.inv(expected)[:3, :3])
    torch.testing.assert_close(information.schur(expected, 3), found.information())
    printed = sum(a.T @ a for a in d["A_c"])
    torch.testing.assert_close(found.information("x", "printed"), printed)
    torch.testing.assert_close(found.information("x", "block"), printed / sx**2)


def test_schur_information_adds_over_modalities_too() -> None:
    f = fisher(design(5))
    whole = information.schur(f.matrix(), 3)
    torch.testing.assert_close(f.information("x") + f.information("y"), whole)


def test_n_samples_of_one_design_are_n_stacked_copies() -> None:
    one = {name: m[0] for name, m in design(1).items()}
    many = {name: m.expand(6, *m.shape) for name, m in one.items()}
    short, long = fisher(one, n_x=6, n_y=6, sigma_x=0.3), fisher(many, sigma_x=0.3)
    for method in information.METHODS:
        torch.testing.assert_close(short.information(method=method), long.information(method=method))
    v = normal(2, 3)
    assert short.rate(v) == pytest.approx(long.rate(v))
    assert fisher(one, n_x=0, n_y=2).information("x").abs().max() == 0
    assert short.report().loc["x+y", "samples"] == 12


def test_block_and_schur_agree_only_when_fisher_orthogonal() -> None:
    d = design(3)
    f = fisher(d)
    assert not f.orthogonal()
    assert bool(f.report().differ.all())
    shared = d["A_c"].flatten(0, 1)
    basis, _ = torch.linalg.qr(shared)
    own = d["A_x"].flatten(0, 1)
    d["A_x"] = (own - basis @ (basis.T @ own)).reshape(d["A_x"].shape)
    even = fisher(d)
    assert even.orthogonal("x") and not even.orthogonal("y")
    torch.testing.assert_close(even.information("x"), even.information("x", "block"))
    assert even.report().differ.tolist() == [False, True, True]


def test_lost_is_the_squared_canonical_correlation() -> None:
    d = design(7)
    f = fisher(d)
    a, b = (torch.linalg.qr(d[name].flatten(0, 1))[0] for name in ("A_c", "A_x"))
    assert f.lost("x") == pytest.approx(float(torch.linalg.svdvals(a.T @ b)[0]) ** 2)
    one = {"A_c": torch.ones(2, 1), "A_x": torch.ones(2, 1), "B_c": torch.eye(2)[:, :1]}
    assert fisher(one).lost("x") == pytest.approx(1)
    assert fisher(one).information("x").abs().max() == 0
    assert fisher(one).information("x", "block").item() == pytest.approx(2)
    assert fisher(one).report().loc["x", ["rank_block", "rank_schur"]].tolist() == [1, 0]


def test_the_gaussian_worlds_design_is_read_with_its_attenuation() -> None:
    known = xl.load("gaussian", n_x=10, n_y=10, n_val=0, n_test=1).provenance["design"]
    f = fisher(known, sigma_x=0.3, sigma_y=0.3, n_x=10, n_y=10)
    seen = known["A_c"].double() * known["a"].double()
    torch.testing.assert_close(f.information("x", "block"), 10 * seen.T @ seen / 0.09)


def test_three_modalities() -> None:
    parts = {
        name: Channel(normal(i, 5, 2), normal(i + 9, 5, 1), sigma=i + 1.0, samples=3) for i, name in enumerate("xyz")
    }
    f = fisher(parts)
    total = sum(f.information(name) for name in "xyz")
    torch.testing.assert_close(f.information(), total)
    torch.testing.assert_close(information.schur(f.matrix(), 2), f.information())
    assert list(f.report().index) == ["x", "y", "z", "x+y+z"]
    assert f.rate([1, 0], "z", "x") == pytest.approx(1 / f.rate([1, 0], "x", "z"))


# -- variance, Loewner, simulation -----------------------------------------------------------------------


def test_variance_is_infinite_off_the_range() -> None:
    f = fisher({"A_c": torch.tensor([[2.0, 0.0]]), "B_c": torch.tensor([[1.0, 1.0]])})
    assert f.variance([1, 0], "x") == pytest.approx(0.25)
    assert f.variance([0, 1], "x") == math.inf
    assert f.variance([1, 1], "y") == pytest.approx(1)
    assert f.variance([1, 0], "y") == math.inf
    torch.testing.assert_close(f.information(), torch.tensor([[5.0, 1.0], [1.0, 1.0]], dtype=DOUBLE))
    assert f.variance([0, 1]) == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("difference", "relation"),
    [
        ([1, 2], "a < b"),
        ([0, 2], "a <= b"),
        ([0, 0], "a = b"),
        ([-1, -1], "a > b"),
        ([0, -3], "a >= b"),
        ([1, -1], "incomparable"),
    ],
)
def test_loewner_order(difference: list[float], relation: str) -> None:
    turn, _ = torch.linalg.qr(normal(0, 2, 2))
    a = normal(1, 2, 2)
    a = a @ a.T
    found = information.order(a, a + turn @ torch.diag(torch.tensor(difference, dtype=DOUBLE)) @ turn.T)
    assert found.relation == relation
    assert found.smallest == pytest.approx(min(difference), abs=1e-12)
    assert found.largest == pytest.approx(max(difference), abs=1e-12)


@pytest.mark.parametrize("data", ["x", "y", "x+y"])
def test_least_squares_spreads_as_the_inverse_information_says(data: str) -> None:
    d = design(11, n_x=4, n_y=3)
    f = fisher(d, sigma_x=0.4, sigma_y=1.5)
    found = information.monte_carlo(f, data, draws=4000, theta_c=[1.0, -2.0, 0.5])
    assert float(found.z.abs().max()) < 4.5
    torch.testing.assert_close(found.expected, torch.linalg.inv(f.information(data)))
    error = (found.estimates.mean(0) - torch.tensor([1.0, -2.0, 0.5], dtype=DOUBLE)) / found.expected.diagonal().sqrt()
    assert float(error.abs().max()) < 4.5 / 4000**0.5


def test_simulation_agrees_with_raw_samples_and_plain_least_squares() -> None:
    """Nothing of the library but the design: samples drawn one by one, numpy's lstsq."""
    rng = np.random.default_rng(0)
    a_c, a_x, b_c, b_y = (rng.standard_normal(s) for s in ((3, 2), (3, 1), (4, 2), (4, 1)))
    n_x, n_y, sx, sy = 5, 7, 0.5, 0.8
    rows_x = np.hstack([np.tile(a_c, (n_x, 1)), np.tile(a_x, (n_x, 1)), np.zeros((3 * n_x, 1))]) / sx
    rows_y = np.hstack([np.tile(b_c, (n_y, 1)), np.zeros((4 * n_y, 1)), np.tile(b_y, (n_y, 1))]) / sy
    rows = np.vstack([rows_x, rows_y])
    data = rows @ np.array([1.0, -1.0, 2.0, 3.0])[:, None] + rng.standard_normal((len(rows), 3000))
    raw = np.cov(np.linalg.lstsq(rows, data, rcond=None)[0][:2])
    f = fisher({"A_c": a_c, "A_x": a_x, "B_c": b_c, "B_y": b_y}, sigma_x=sx, sigma_y=sy, n_x=n_x, n_y=n_y)
    expected = torch.linalg.inv(f.information()).numpy()
    spread = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / 2999)
    assert np.abs((raw - expected) / spread).max() < 4.5
    assert np.abs(raw - torch.linalg.inv(f.information(method="block")).numpy()).max() > 5 * spread.max()


def test_unseen_directions_do_not_spread_but_are_biased() -> None:
    f = fisher({"A_c": torch.tensor([[1.0, 0.0]]), "B_c": torch.tensor([[1.0, 0.0]])})
    found = information.monte_carlo(f, theta_c=[0.0, 5.0], draws=500)
    assert found.estimates[:, 1].abs().max() < 1e-12
    assert float(found.z.abs().max()) < 4.5


# -- local exchange rate -----------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_local_rate_is_the_ratio_of_the_derivatives_of_the_variance(seed: int) -> None:
    one = {name: m[0] for name, m in design(seed, d_c=2, d_x=1, d_y=1).items()}
    v, n_x, n_y, h = normal(seed, 2), 40.0, 30.0, 1e-4

    def var(x: float, y: float) -> float:
        mx, my = fisher(one).information("x"), fisher(one).information("y")
        return float(v @ torch.linalg.inv(x * mx + y * my) @ v)

    slopes = (var(n_x + h, n_y) - var(n_x - h, n_y)), (var(n_x, n_y + h) - var(n_x, n_y - h))
    f = fisher(one, n_x=40, n_y=30)
    assert f.rate(v) == pytest.approx(slopes[0] / slopes[1], rel=1e-4)
    whole = f.trade(v)
    if math.isfinite(whole):
        assert var(n_x + 1, n_y) == pytest.approx(var(n_x, n_y + whole), rel=1e-9)
    assert f.trade(v, n=1e-5) / 1e-5 == pytest.approx(f.rate(v), rel=1e-2)


def test_rates_at_the_edges() -> None:
    e1, e2 = [1.0, 0.0], [0.0, 1.0]
    f = fisher({"A_c": torch.diag(torch.tensor([2.0, 0.0])), "B_c": torch.eye(2)}, n_x=3, n_y=2)
    assert f.rate(e1) == pytest.approx(4)  # a common eigenvector: ratio of the informations
    assert f.rate(e2) == 0
    assert math.isnan(f.trade(e2))  # X does not see it
    assert f.trade(e1) == pytest.approx(4)
    blind = fisher({"A_c": torch.tensor([[1.0, 0.0]]), "B_c": torch.tensor([[0.0, 1.0]])})
    assert blind.rate(e1) == math.inf and blind.trade(e1) == math.inf
    none = fisher({"A_c": torch.tensor([[1.0, 0.0]]), "B_c": torch.tensor([[1.0, 0.0]])})
    assert math.isnan(none.rate(e2)) and math.isnan(none.trade(e2))
    assert fisher({"A_c": torch.eye(2), "B_c": torch.eye(2)}, sigma_y=0.5).rate([1, 3]) == pytest.approx(0.25)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(["schur", "block"]), st.sampled_from([torch.float32, DOUBLE]))
def test_a_trade_is_infinite_where_no_number_of_the_other_makes_up(seed: int, method: str, dtype: torch.dtype) -> None:
    """Where Y sees fewer directions than there are, rounding let 1e16 samples of it do what none can."""
    d, rows = 2 + seed % 3, 1 + seed % 2
    a, own, b = normal(seed, d + 2, d), normal(seed + 1, d + 2, 1), normal(seed + 2, rows, d)
    given = {"A_c": a.to(dtype), "A_x": own.to(dtype), "B_c": b.to(dtype)}
    f = fisher(given, n_x=3, n_y=2, sigma_y=(0.1, 1.0, 30.0)[seed % 3])
    v, whole = normal(seed + 3, d), f.information(method=method)
    blind = torch.linalg.svd(given["B_c"].double())[2][rows:].T  # what no Y sees
    rest = blind.T @ v @ torch.linalg.solve(blind.T @ whole @ blind, blind.T @ v)  # after endlessly many Y
    goal = v @ torch.linalg.solve(whole + f.channels["x"].per_sample(method), v)
    found = f.trade(v, method=method)
    if goal < rest:
        assert found == math.inf
    else:
        after = v @ torch.linalg.solve(whole + found * f.channels["y"].per_sample(method), v)
        assert float(after) == pytest.approx(float(goal), rel=1e-8)


def test_a_direction_that_nobody_sees_takes_nothing_from_a_trade() -> None:
    """Rounding of 1e-33 in it counted as a nuisance in one world of a hundred: trades 6 % and more too large."""
    for seed in range(0, 4000, 10):
        f = fisher({"A_c": normal(seed, 1, 4), "B_c": normal(seed + 1, 3, 4) * torch.tensor([0, 0, 1, 1])}, n_x=9)
        whole, more_x, more_y = f.information(), *(f.channels[m].per_sample("schur") for m in "xy")
        seen = torch.linalg.eigh(whole)[1][:, 1:]  # rank 1 + 2 of 4
        v = seen @ normal(seed + 3, 3)
        u, whole, more_x, more_y = seen.T @ v, *(seen.T @ m @ seen for m in (whole, more_x, more_y))
        goal = float(u @ torch.linalg.solve(whole + 5 * more_x, u))
        blind = torch.linalg.eigh(more_y)[1][:, :1]  # what Y leaves in the end
        least = float((blind.T @ u) @ torch.linalg.solve(blind.T @ whole @ blind, blind.T @ u))
        found = f.trade(v, 5.0)
        if math.isfinite(found):
            assert float(u @ torch.linalg.solve(whole + found * more_y, u)) == pytest.approx(goal, rel=1e-6), seed
        else:
            assert goal < least * (1 + 1e-9), seed


def test_a_rate_of_a_million_millions_is_a_rate() -> None:
    """It was called infinite: what helps a little was compared with what helps much, and not with rounding."""
    f = fisher({"A_c": torch.eye(2), "B_c": torch.eye(2)}, sigma_y=1e6)
    assert f.rate([1, 0]) == pytest.approx(1e12) == f.trade([1, 0])
    assert f.trade([1, 0], n=1e-9) == pytest.approx(1e3)
    assert f.rate([1, 0], "y", "x") == pytest.approx(1e-12) == f.trade([1, 0], one="y", of="x")


def test_new_samples_bring_their_own_nuisances() -> None:
    """θ_2 is unknown, and one Y more sees θ_1 + θ_2 only: it says nothing about θ_1."""
    f = fisher({"A_c": [[1.0, 0.0]], "B_c": [[1.0, 1.0]]}, n_x=4, n_y=0)
    assert f.rate([1, 0]) == math.inf == f.trade([1, 0])


# -- bad input ---------------------------------------------------------------------------------------------

GOOD = {"A_c": torch.eye(2), "B_c": torch.eye(2)}


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: fisher({}), TypeError, "maps names to matrices"),
        (lambda: fisher({"A_c": torch.eye(2)}), ValueError, "lacks B_c"),
        (lambda: fisher({**GOOD, "C": torch.eye(2)}), ValueError, "unknown matrix of a design 'C'"),
        (lambda: fisher({"A_c": torch.eye(2), "B_c": torch.eye(3)}), ValueError, "share the same θ_c"),
        (lambda: fisher({**GOOD, "A_x": torch.eye(3)}), ValueError, "differ in their last dimension only"),
        (lambda: fisher({**GOOD, "A_c": torch.full((2, 2), math.nan)}), ValueError, "NaN"),
        (lambda: fisher({**GOOD, "A_c": torch.ones(2)}), ValueError, r"a design is \(m, d_c\)"),
        (lambda: fisher(GOOD, sigma_x=0), ValueError, "sigma must be above 0"),
        (lambda: fisher(GOOD, n_x=-1), ValueError, "at least 0"),
        (lambda: fisher({**GOOD, "A_c": torch.ones(3, 2, 2)}, n_x=5), ValueError, "3 designs make 3 samples"),
        (lambda: fisher({"x": Channel(torch.eye(2))}, n_x=3), ValueError, "carry their own"),
        (lambda: fisher(GOOD).information("z"), ValueError, "unknown modality 'z'"),
        (lambda: fisher(GOOD).information("x", "schurr"), ValueError, "Did you mean 'schur'"),
        (lambda: fisher(GOOD).variance([0, 0]), ValueError, "not all 0"),
        (lambda: fisher(GOOD).variance([1, 0, 0]), ValueError, "vector of 2 numbers"),
        (lambda: fisher(GOOD).trade([1, 0], 0), ValueError, "n must be above 0"),
        (lambda: information.order(torch.eye(2), torch.eye(3)), ValueError, "one shape"),
        (lambda: information.order(torch.ones(2, 3), torch.eye(2)), ValueError, "square matrix"),
        (lambda: information.order(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.eye(2)), ValueError, "symmetric"),
        (lambda: information.schur(torch.eye(2), 3), ValueError, "at most 2"),
        (lambda: information.monte_carlo(fisher(GOOD), draws=1), ValueError, "at least 2"),
        (lambda: information.monte_carlo(fisher(GOOD), theta_c=[1.0]), ValueError, "vector of 2"),
    ],
)  # fmt: skip
def test_bad_worlds(call, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


# -- exchange rate -------------------------------------------------------------------------------------------

IMAGES, TEXTS = [1, 2, 4, 8, 16], [0, 1, 2, 5, 7, 10, 12, 15]


def plane(
    b_i: float = 0.02, b_t: float = 0.004, noise: float = 0.0, seeds: int | None = None, seed: int = 0
) -> np.ndarray:
    flat = 0.3 + b_i * np.array(IMAGES, dtype=float)[:, None] + b_t * np.array(TEXTS)
    shape = flat.shape if seeds is None else (*flat.shape, seeds)
    noisy = np.random.default_rng(seed).standard_normal(shape) * noise
    return (flat if seeds is None else flat[..., None]) + noisy


@settings(max_examples=25, deadline=None)
@given(st.floats(0.001, 0.05), st.floats(0.001, 0.05), st.floats(1, 40), st.sampled_from([None, 1, 4]))
def test_known_slopes_are_recovered(b_i: float, b_t: float, words: float, seeds: int | None) -> None:
    found = exchange_rate(plane(b_i, b_t, seeds=seeds), IMAGES, TEXTS, words)
    assert found.rate == pytest.approx(b_i / b_t * words, rel=1e-6)
    assert found.plane.r2 == pytest.approx(1)
    assert found.interval == pytest.approx((found.rate, found.rate), rel=1e-4)
    assert found.interval[0] <= found.rate <= found.interval[1]
    assert found.seeds == (seeds or 0)
    assert found.summary().startswith("1 image ≈")


def test_a_log_surface_is_recovered_by_the_log_fit() -> None:
    i, t = np.array(IMAGES, dtype=float)[:, None], np.array(TEXTS, dtype=float)
    found = exchange_rate(100 * (0.1 + 0.12 * np.log1p(i) + 0.03 * np.log1p(t)), IMAGES, TEXTS, 10)
    assert found.log.r2 == pytest.approx(1)
    assert found.plane.r2 < 0.95
    assert found.log.ratio == pytest.approx(4)
    assert float(found.local.sel(images=4, texts=5)) == pytest.approx(10 * (0.12 / 5) / (0.03 / 6))
    scale = 10 * (1 + found.centre[1]) / (1 + found.centre[0])
    assert found.log_rate == pytest.approx(4 * scale)
    lines = found.isolines([40.0], fit="log")
    assert found.log.predict(lines.images, lines.texts) == pytest.approx(np.full(len(lines), 40.0))


@pytest.mark.parametrize(
    ("kind", "seeds", "noise", "low"),
    [
        ("fieller", None, 0.02, 0.92),
        ("fieller", 3, 0.03, 0.92),
        ("fieller", 8, 0.03, 0.92),
        ("bootstrap", 10, 0.03, 0.9),
    ],
)
def test_intervals_cover(kind: str, seeds: int | None, noise: float, low: float) -> None:
    """Of 300 repeats about 95 % cover; three standard errors are 3.8 %."""
    hits = 0
    for k in range(300):
        found = exchange_rate(plane(noise=noise, seeds=seeds, seed=k), IMAGES, TEXTS, 10, interval=kind, resamples=400)
        hits += bool(found.refused) or found.interval[0] <= 50 <= found.interval[1]
    assert low <= hits / 300 <= 0.985


def test_isolines_lie_on_the_plane_inside_the_window() -> None:
    found = exchange_rate(plane(), IMAGES, TEXTS, 10)
    lines = found.isolines([0.36, 0.5, 9.0])
    assert sorted(set(lines.level)) == [0.36, 0.5]
    assert (0.3 + 0.02 * lines.images + 0.004 * lines.texts).to_numpy() == pytest.approx(lines.level.to_numpy())
    assert lines.texts.between(0, 15 + 1e-6).all() and lines.images.between(1, 16).all()
    assert lines.words.to_numpy() == pytest.approx(10 * lines.texts.to_numpy())
    assert found.isolines().level.nunique() == 6


def test_windows_use_only_their_shots() -> None:
    bent = plane()
    bent[:, 3:] += 0.5  # beyond 2 texts everything is different
    found = exchange_rate(bent, IMAGES, TEXTS, 10, texts_window=(0, 2), images_window=(2, 16))
    assert found.rate == pytest.approx(50)
    assert found.texts.tolist() == [0, 1, 2] and found.images.tolist() == [2, 4, 8, 16]


@pytest.mark.parametrize("b_t", [0.0, -0.004])
def test_no_rate_when_text_does_not_help(b_t: float) -> None:
    found = exchange_rate(plane(b_t=b_t, noise=0.001, seeds=5), IMAGES, TEXTS, 10)
    assert "is not above 0" in found.refused and "R²" in found.refused and "residual" in found.refused
    assert math.isnan(found.rate) and all(map(math.isnan, found.interval)) and math.isnan(found.log_rate)
    assert np.isnan(found.local).all()
    assert "no exchange rate" in found.summary()
    with pytest.raises(ValueError, match="no isolines: the text slope"):
        found.isolines()


def test_no_rate_when_text_is_drowned_in_noise_or_accuracy_is_flat() -> None:
    assert "not above 0" in exchange_rate(plane(b_t=1e-5, noise=0.05, seeds=5), IMAGES, TEXTS, 10).refused
    assert "not above 0" in exchange_rate(np.full((5, 8), 0.3), IMAGES, TEXTS, 10).refused


def test_no_rate_when_the_fit_is_poor() -> None:
    grid = plane(b_i=0.0005, noise=0.0005, seeds=6)
    grid[2] += 0.4  # one odd row of images
    found = exchange_rate(grid, IMAGES, TEXTS, 10)
    assert "explains less than 0.5 of the variance" in found.refused and "cell (2, " in found.refused
    assert "the image slope -0.00" in exchange_rate(grid, IMAGES, TEXTS, 10, least_r2=0).refused
    grid[2] -= 0.8
    assert not exchange_rate(grid, IMAGES, TEXTS, 10, least_r2=0).refused


def test_no_rate_when_images_do_not_help() -> None:
    """They once cost -12 words; and slopes of rounding alone made rates of 0 and of 1e15 words."""
    for b_i in (-0.005, 0.0):
        found = exchange_rate(plane(b_i=b_i, seeds=4), IMAGES, TEXTS, 10)
        assert "is not above 0, so images do not buy accuracy" in found.refused and math.isnan(found.rate)
        assert "no exchange rate: the image slope" in found.summary()
    found = exchange_rate(plane(b_t=0.0), IMAGES, TEXTS, 10)
    assert "words do not buy accuracy" in found.refused
    for noise in (1e-17, 1e-15):  # accuracies that differ by rounding alone
        bent = 0.5 + noise * np.arange(40).reshape(5, 8) + 0.02 * np.array(IMAGES)[:, None]
        assert "words do not buy accuracy" in exchange_rate(bent, IMAGES, TEXTS, 10).refused


def test_the_better_fit_leads_and_both_are_told() -> None:
    i, t = np.array(IMAGES, dtype=float)[:, None], np.array(TEXTS, dtype=float)
    bent = exchange_rate(0.1 + 0.12 * np.log1p(i) + 0.03 * np.log1p(t), IMAGES, TEXTS, 10)
    assert bent.leads == "log" and bent.log.r2 > bent.plane.r2
    assert bent.rate == bent.log_rate != bent.plane_rate and bent.interval == bent.log_interval
    assert f"1 image ≈ {bent.log_rate:.0f} words" in bent.summary() and "log fit at 4.4 images" in bent.summary()
    assert f"; {bent.plane_rate:.0f} words" in bent.summary() and "plane, R² 0." in bent.summary()
    lines = bent.isolines([0.4])  # of the fit that leads
    assert bent.log.predict(lines.images, lines.texts) == pytest.approx(np.full(len(lines), 0.4))
    flat = exchange_rate(plane(), IMAGES, TEXTS, 10)
    assert flat.leads == "plane" and flat.rate == flat.plane_rate == pytest.approx(50)


@pytest.mark.parametrize(
    "order", [("images", "texts", "seed"), ("texts", "images", "seed"), ("seed", "texts", "images")]
)
def test_named_dimensions_say_which_axis_is_which(order: tuple[str, ...]) -> None:
    """On a square grid nothing else tells: texts first once gave 0 words for 76."""
    shots = [1.0, 2.0, 4.0, 8.0]
    grid = 0.2 + 0.02 * np.array(shots)[:, None, None] + 0.005 * np.array(shots)[:, None] + np.zeros(3)
    cube = xr.DataArray(grid, dims=("images", "texts", "seed")).transpose(*order)
    assert exchange_rate(cube, shots, shots, 19).rate == pytest.approx(76)
    swept = cube.rename(images="image_shots", texts="text_shots")
    assert exchange_rate(swept, shots, shots, 19).rate == pytest.approx(76)
    half = cube.rename(images="audio_shots")  # the one that is left over
    assert exchange_rate(half, shots, shots, 19).rate == pytest.approx(76)
    table = cube.isel(seed=0).to_pandas()
    assert exchange_rate(table, shots, shots, 19).rate == pytest.approx(76)


def test_dimensions_without_names_are_told_by_their_shots() -> None:
    cube = xr.DataArray(plane().T, {"a": TEXTS, "b": IMAGES}, ("a", "b"))
    assert exchange_rate(cube, IMAGES, TEXTS, 10).rate == pytest.approx(50)


@pytest.mark.parametrize(
    ("cube", "match"),
    [
        (xr.DataArray(np.ones((3, 3)), dims=("a", "b")), r"dimensions \('a', 'b'\), and which of them counts images"),
        (xr.DataArray(np.ones((3, 3))), "cannot be told"),
        (xr.DataArray(np.ones((3, 3)), dims=("image_shots", "images")), "cannot be told"),
        (xr.DataArray(np.ones((3, 3, 2, 2)), dims=("images", "texts", "seed", "lr")), "select or average all others"),
        (xr.DataArray(np.ones((3, 3)), {"images": [1, 2, 3]}, ("images", "texts")), r"'images' holds the shots \[1.0, 2.0"),
    ],
)  # fmt: skip
def test_dimensions_that_do_not_tell_are_refused(cube: xr.DataArray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        exchange_rate(cube, [1, 2, 4], [1, 2, 4], 10)


GRID = plane()
HOLE = np.where(np.arange(40).reshape(5, 8) == 11, np.nan, GRID)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: exchange_rate(HOLE, IMAGES, TEXTS, 10), ValueError, r"NaN.*first at \(1, 3\)"),
        (lambda: exchange_rate(GRID, IMAGES, TEXTS, 0), ValueError, "words_per_text must be above 0"),
        (lambda: exchange_rate(GRID, IMAGES, TEXTS, -3), ValueError, "words_per_text must be above 0"),
        (lambda: exchange_rate(GRID, TEXTS, IMAGES, 10), ValueError, "images must name the 5 shots"),
        (lambda: exchange_rate(GRID, IMAGES[::-1], TEXTS, 10), ValueError, "images must be .* increase"),
        (lambda: exchange_rate(GRID, IMAGES, [-1, *TEXTS[1:]], 10), ValueError, "texts must be .* increase"),
        (lambda: exchange_rate(GRID[0], IMAGES, TEXTS, 10), ValueError, r"acc must be \(n_images, n_texts\)"),
        (lambda: exchange_rate("abc", IMAGES, TEXTS, 10), TypeError, "acc must be a tensor"),
        (lambda: exchange_rate(GRID, IMAGES, TEXTS, 10, texts_window=(1, 1)), ValueError, "at least two shots of texts"),
        (lambda: exchange_rate(GRID, IMAGES, TEXTS, 10, interval="bootstrap"), ValueError, "needs at least 2"),
        (lambda: exchange_rate(GRID, IMAGES, TEXTS, 10, interval="boot"), ValueError, "Did you mean 'bootstrap'"),
        (lambda: exchange_rate(GRID, IMAGES, TEXTS, 10, level=1), ValueError, "strictly between 0 and 1"),
        (lambda: exchange_rate(GRID, IMAGES, TEXTS, 10).isolines(fit="spline"), ValueError, "unknown fit"),
        (lambda: exchange_rate(GRID, IMAGES, TEXTS, 10).isolines([math.nan]), ValueError, "level must be finite"),
    ],
)  # fmt: skip
def test_bad_grids(call, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
