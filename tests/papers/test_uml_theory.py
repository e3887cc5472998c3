"""uml's theory: each theorem on random designs, what breaks each premise, and the Gaussian experiment."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from xmodal_widgets.explorers import uml_theory

import xmodal_lab as xl
from xmodal_lab.claims.claim import Conditions
from xmodal_lab.instruments.information import fisher, monte_carlo
from xmodal_lab.papers.uml.claims import gaussian
from xmodal_lab.papers.uml.claims import theory as theory_claims
from xmodal_lab.papers.uml.claims.theory import THEORY_CLAIMS
from xmodal_lab.papers.uml.theory import autoencoder, designs
from xmodal_lab.papers.uml.theory import theorems as theory
from xmodal_lab.training.descent import stack

SEEDS = st.integers(0, 100_000)
SIZES = st.integers(1, 4)
E1, E2 = [1.0, 0.0], [0.0, 1.0]
many = settings(max_examples=30, deadline=None)


def vector(seed: int, size: int = 3) -> Tensor:
    return torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# -- theorems, each with its premise --------------------------------------------------------------------


@many
@given(SEEDS, SIZES, SIZES, st.sampled_from(["orthogonal", "generic", "aligned"]))
def test_theorem_1(seed: int, d_c: int, n: int, kind: str) -> None:
    world = designs.draw(seed, kind, d_c=d_c, n_x=n, n_y=n)
    for method in ("block", "schur") if kind != "generic" or n > 2 else ("block",):
        found = theory.theorem_1(world, method)
        assert found.assumed and found.concluded and found.margin > 0
    # the same, by inverses alone
    x, both = (world.information(data, "block") for data in ("x", "x+y"))
    if torch.linalg.matrix_rank(x) == d_c:
        assert float(torch.linalg.eigvalsh(torch.linalg.inv(x) - torch.linalg.inv(both))[0]) > 0


@many
@given(SEEDS)
def test_theorem_1_needs_full_rank_and_known_own_parameters(seed: int) -> None:
    flat = designs.draw(seed, rank_y=2)
    assert not theory.theorem_1(flat).assumed and not theory.theorem_1(flat).concluded
    # no single B_c,j has full rank, but together they have: the premise is sufficient, not necessary
    thin = designs.draw(seed, rows=2, n_y=4)
    assert not theory.theorem_1(thin).assumed and theory.theorem_1(thin).concluded
    hidden = designs.draw(seed, "inside")
    assert theory.theorem_1(hidden, "block").holds and not theory.theorem_1(hidden, "schur").holds
    assert float(hidden.information("y").abs().max()) < 1e-9 * float(hidden.information("y", "block").abs().max())


@many
@given(SEEDS, st.integers(0, 3), st.integers(1, 3))
def test_theorem_2_by_part(seed: int, rank_x: int, rank_y: int) -> None:
    world = designs.draw(seed, rank_x=rank_x, rank_y=rank_y)
    everything = torch.linalg.matrix_rank(world.information(method="block")) == 3
    m_x = world.information("x", "block")
    for v in (vector(seed), *torch.linalg.eigh(m_x)[1].T):
        assert theory.theorem_2(world, v, "information").holds
        off = theory.theorem_2(world, v, "off range")
        assert off.holds or not everything
        if rank_x == 3:
            assert not off.assumed
            assert theory.theorem_2(world, v, "some direction").holds
            inside = theory.theorem_2(world, v, "inside")
            assert inside.holds and inside.assumed == (theory.condition(world, v) > 0)


@many
@given(SEEDS, st.integers(1, 3), st.integers(1, 3))
def test_corollary_1(seed: int, rank_x: int, rank_y: int) -> None:
    world = designs.draw(seed, "aligned", rank_x=rank_x, rank_y=rank_y)
    axes = torch.linalg.eigh(world.information("x") + 1.3 * world.information("y"))[1].T
    found = [theory.corollary_1(world, 2 * v) for v in axes]
    assert all(c.holds for c in found)
    assert sum(c.assumed for c in found) >= rank_x + rank_y - 3
    assert not theory.corollary_1(designs.draw(seed), vector(seed)).assumed


@many
@given(SEEDS, st.integers(0, 2))
def test_corollaries_2_and_3_where_everything_is_seen(seed: int, rank_x: int) -> None:
    world = designs.draw(seed, rank_x=rank_x)
    unseen = torch.linalg.eigh(world.information("x"))[1].T[: 3 - rank_x]
    for v in unseen:
        found = theory.corollary_2(world, v)
        assert found.assumed and found.concluded
    whole = designs.draw(seed)
    for v in torch.linalg.eigh(whole.information("x"))[1].T:
        found = theory.corollary_3(whole, v)
        assert found.assumed and found.concluded
        alone = whole.variance(v, "x", "block")
        assert alone == pytest.approx(1 / float(v @ whole.information("x", "block") @ v))


def test_a_world_against_corollary_3_and_theorem_2() -> None:
    """X = θ1 + ε, Y = θ1 + θ2 + ε: both together see all, and the variance of θ1 stays as it was."""
    world = designs.spent()
    found = theory.corollary_3(world, E1)
    assert found.assumed and not found.concluded and not found.holds
    some = theory.theorem_2(world, E1, "some direction")
    assert some.assumed and not some.holds and some.margin == 0
    assert theory.condition(world, E1) > 0  # the paper's condition is met, and Var along E1 does not shrink
    inside = theory.theorem_2(world, E1, "inside")
    assert inside.assumed and not inside.holds and inside.margin == pytest.approx(0)
    assert theory.theorem_2(world, E1, "information").holds
    assert world.variance(E1, "x") == pytest.approx(1) == world.variance(E1, "x+y")
    # by hand: Var = (M_X + M_Y)^-1 = [[2, 1], [1, 1]]^-1 = [[1, -1], [-1, 2]]
    simulated = monte_carlo(world, draws=20_000).covariance
    assert simulated.numpy() == pytest.approx(np.array([[1, -1], [-1, 2]]), abs=0.08)
    assert theory.corollary_2(world, E2).holds


def test_a_world_against_corollary_2() -> None:
    world = designs.half_seen()
    found = theory.corollary_2(world, [1, 1])
    assert found.assumed and not found.concluded
    off = theory.theorem_2(world, [1, 1], "off range")
    assert off.assumed and not off.holds
    assert theory.corollary_2(world, E1).holds
    # the least-norm estimate of θ1 + θ2 is off by θ2, whatever that is: no unbiased estimator
    estimate = monte_carlo(world, theta_c=[0.0, 50.0], draws=200).estimates.sum(1)
    assert abs(float(estimate.mean()) - 50) > 40


@many
@given(SEEDS, st.integers(0, 2), st.integers(1, 3))
def test_theorem_3(seed: int, rank_x: int, rank_y: int) -> None:
    world = designs.draw(seed, rank_x=rank_x, rank_y=rank_y, n_x=4, n_y=4)
    for method in ("block", "schur"):
        found = theory.theorem_3(world, method)
        assert found.holds and found.assumed  # generic subspaces, none inside the other, for rank_x < 3
    assert not theory.theorem_3(designs.draw(seed)).assumed
    silent = fisher({"A_c": torch.eye(2), "B_c": torch.zeros(1, 2)})
    assert not theory.theorem_3(silent).assumed and not theory.theorem_3(silent).concluded


@many
@given(SEEDS, st.floats(0.2, 0.9), st.sampled_from(["block", "schur"]))
def test_proposition_1_and_its_premise(seed: int, correlation: float, method: str) -> None:
    world = designs.draw(seed, "generic")
    assert theory.proposition_1(world, 0.0, method).holds
    broken = theory.proposition_1(world, correlation, method)
    assert not broken.assumed and not broken.concluded


def test_proposition_1_beyond_gaussians() -> None:
    """X Gaussian with mean tanh(φ), Y Bernoulli with logit wᵀφ: exact Fisher information of (x, y) by enumeration."""
    phi, w = torch.tensor([0.3, -0.8], dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64)
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)  # exact for polynomials of the score

    def log_likelihood(p: Tensor, noise: Tensor, y: float) -> Tensor:
        x = torch.tanh(phi[0]) + noise
        return -((x - torch.tanh(p[0])) ** 2) / 2 + y * (w @ p) - torch.nn.functional.softplus(w @ p)

    p_one = torch.sigmoid(w @ phi)
    joint = torch.zeros(2, 2, dtype=torch.float64)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        for y in (0.0, 1.0):
            score = torch.func.grad(log_likelihood)(phi, torch.tensor(node), y)
            joint += float(weight * (p_one if y else 1 - p_one)) * torch.outer(score, score)
    slope = 1 - torch.tanh(phi[0]) ** 2
    x_alone = torch.diag(torch.stack([slope**2, torch.zeros((), dtype=torch.float64)]))
    y_alone = p_one * (1 - p_one) * torch.outer(w, w)
    torch.testing.assert_close(joint, x_alone + y_alone)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: designs.draw(0, "inside", d_y=1), "d_y ≥ d_c"),
        (lambda: designs.draw(0, "random"), "unknown kind"),
        (lambda: designs.draw(0, rank_x=4), "at most d_c"),
        (lambda: theory.theorem_2(designs.draw(0), [1, 0, 0], "all"), "unknown part"),
        (lambda: theory.proposition_1(designs.draw(0), 1.0), "strictly between -1 and 1"),
    ],
)
def test_bad_input(call, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


# -- the Gaussian experiment -------------------------------------------------------------------------------

SMALL = {"n": 400, "epochs": 3, "batch": 32, "width": 16, "observed": 12, "n_val": 50, "n_test": 100}


def small(**settings: object) -> dict[str, object]:
    return {**autoencoder.DEFAULTS, **SMALL, **settings}


def test_the_autoencoder_is_the_one_of_the_paper() -> None:
    params = autoencoder.parameters(autoencoder.DEFAULTS)
    assert params["adapter_x.weight"].shape == (50, 128) and params["encoder_2.weight"].shape == (128, 10)
    x = torch.randn(7, 50)
    net = torch.nn.Sequential(*(torch.nn.Linear(*params[f"{n}.weight"].shape) for n in
          ("adapter_x", "encoder_1", "encoder_2", "decoder_1", "decoder_2", "head_x")))  # fmt: skip
    for layer, name in zip(
        net, ("adapter_x", "encoder_1", "encoder_2", "decoder_1", "decoder_2", "head_x"), strict=True
    ):
        layer.weight.data, layer.bias.data = params[f"{name}.weight"].T, params[f"{name}.bias"][0]
    h = net[2](net[1](net[0](x)).relu())
    expected = net[5](net[4](net[3](h).relu()))
    torch.testing.assert_close(autoencoder.reconstruct(stack([params]), x[None], "x")[0], expected)


def test_members_of_a_stack_train_as_if_alone() -> None:
    members = [small(arm=arm, seed=seed, lr=lr) for arm, seed, lr in (("X+Y", 0, 1e-3), ("X+noise", 1, 3e-3))]
    together = autoencoder.train(members, lambda *_: None)
    alone = [autoencoder.train([m], lambda *_: None)[0] for m in members]
    for a, b in zip(together, alone, strict=True):
        assert isinstance(a, dict) and isinstance(b, dict)
        assert a["error"] == pytest.approx(b["error"], rel=1e-4)
        assert a["curve"] == pytest.approx(b["curve"], rel=1e-4)


def test_arms_see_what_they_should() -> None:
    world = {arm: autoencoder._world(small(arm=arm)) for arm in autoencoder.ARMS}
    assert {arm: {m: len(v) for m, v in w["train"].items()} for arm, w in world.items()} == {
        "X": {"x": 400}, "X+Y": {"x": 200, "y": 200}, "half X": {"x": 200}, "X+noise": {"x": 200, "y": 200},
    }  # fmt: skip
    torch.testing.assert_close(world["X"]["train"]["x"][:200], world["X+Y"]["train"]["x"])
    torch.testing.assert_close(world["X"]["test"], world["X+noise"]["test"])
    assert not torch.equal(world["X+Y"]["train"]["y"], world["X+noise"]["train"]["y"])
    # θ_c is attenuated in training X, not in test X
    assert float(world["X"]["test"].var()) > 1.5 * float(world["X"]["train"]["x"].var())


def test_sweep_of_the_autoencoder() -> None:
    cube = xl.sweep(
        autoencoder.EXPERIMENT, arm=["X", "X+Y"], seed=range(2), progress=False, **{k: [v] for k, v in SMALL.items()}
    )
    assert cube.error.notnull().all() and cube.curve.sizes["epoch"] == 3
    assert float(cube.curve.isel(epoch=0).mean()) > float(cube.curve.isel(epoch=-1).mean())


def test_pca_is_the_best_linear_autoencoder_of_x() -> None:
    from sklearn.decomposition import PCA

    world = autoencoder._world(small(arm="X"))
    pca = PCA(10, svd_solver="full").fit(world["train"]["x"].double().numpy())
    held = world["test"].double().numpy()
    expected = ((held - pca.inverse_transform(pca.transform(held))) ** 2).mean()
    settings = {k: v for k, v in SMALL.items() if k != "n"}
    assert autoencoder.pca_error(400, 0, **settings) == pytest.approx(expected)


def test_a_diverged_autoencoder_is_said() -> None:
    with pytest.raises(FloatingPointError, match="diverged"):
        autoencoder.EXPERIMENT.member(small(lr=1e30), lambda *_: None)


@pytest.mark.parametrize(
    ("setting", "match"), [({"arm": "Y"}, "unknown arm"), ({"n": 1}, "n must be"), ({"lr": 0}, "lr must")]
)
def test_bad_settings(setting: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        xl.sweep(autoencoder.EXPERIMENT, progress=False, **{k: [v] for k, v in setting.items()})


# -- the ledger's rows --------------------------------------------------------------------------------------


def test_all_rows_of_the_theory_are_there() -> None:
    assert [c.id for c in THEORY_CLAIMS] == [f"uml.{name}" for name in ("T1", "T2", "C1", "C2", "C3", "T3", "P1", "G")]


@pytest.mark.parametrize(("name", "verdict"), [("T1", "holds"), ("T2", "holds"), ("C1", "holds"), ("C2", "fails"),
                                               ("C3", "fails"), ("T3", "holds"), ("P1", "holds")])  # fmt: skip
def test_rows_of_theorems(name: str, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory_claims, "_seeds", lambda conditions: range(12))
    claim = next(c for c in THEORY_CLAIMS if c.id == f"uml.{name}")
    found = claim.measure(Conditions())
    assert found.verdict == verdict and not claim.trained
    assert not math.isnan(found.value or 0)


def test_rows_of_theorems_draw_other_designs_for_other_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        theory_claims, "draw", lambda seed, *args, **sizes: seen.append(seed) or designs.draw(seed, *args, **sizes)
    )
    for first in (0, 7):
        theory_claims.theorem_3(Conditions(seeds=(first, first + 1)))
    assert set(seen) == {*range(64), *range(7000, 7064)}


def test_where_the_parts_of_theorem_2_hold_is_said_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory_claims, "_seeds", lambda conditions: range(24))
    off, inside = (measure(Conditions()) for measure in (theory_claims.off_range, theory_claims.inside_range))
    for found in (off, inside):
        told, total = re.search(r"(\d+) of (\d+); elsewhere", found.note).groups()
        assert told == total != "0"  # whole where the note says so
        assert found.numbers == {"counterexample": 1}


def test_row_of_the_gaussian_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = autoencoder.EXPERIMENT.with_defaults(**{k: v for k, v in SMALL.items() if k not in ("n", "epochs")})
    monkeypatch.setattr(gaussian, "AUTOENCODER", tiny)
    monkeypatch.setattr(gaussian, "N", 400)
    monkeypatch.setattr(gaussian, "EPOCHS", {"quick": 2})
    found = THEORY_CLAIMS[-1].measure(Conditions(seeds=(0, 1)))
    assert found.verdict and "ver noise for Y" in found.note and "PCA of X alone" in found.note
    assert np.shape(found.numbers["gain"]) == (3, 2) and len(found.numbers["steps"]) == 2


def curves(ahead: float, late: float, noise: float) -> tuple[xr.DataArray, xr.DataArray]:
    """Errors of three arms: X+Y is ``ahead`` at the slow rate and ``late`` at the fast one, noise for Y as told."""
    lr, epoch, seed = [1e-3, 6e-3], range(1, 21), range(8)
    gain = {"X": [0.0, 0.0], "X+Y": [ahead, late], "X+noise": [noise, noise]}
    level = np.array([8.0, 4.0])[:, None, None]
    spread = 0.02 * np.random.default_rng(0).standard_normal((2, 20, 8))
    error = np.stack([level * (1 - np.array(g)[:, None, None]) + spread for g in gain.values()])
    curve = xr.DataArray(error, {"arm": list(gain), "lr": lr, "epoch": list(epoch), "seed": list(seed)})
    return curve, curve.isel(epoch=-1, drop=True)


def test_a_lead_that_the_best_rate_takes_back_is_transient() -> None:
    lasting = gaussian.judged(*curves(0.3, 0.2, 0.1), 78, "")
    assert lasting.verdict == "holds"
    passing = gaussian.judged(*curves(0.3, -0.2, 0.1), 78, "")
    assert passing.verdict == "direction holds" and "else it is transient" in passing.note
    assert gaussian.judged(*curves(0.3, 0.2, 0.3), 78, "").verdict == "direction holds"  # noise does as much
    assert gaussian.judged(*curves(-0.3, 0.2, 0.1), 78, "").verdict == "fails"
    lead = gaussian.surface(curves(0.3, -0.2, 0.1)[0])
    np.testing.assert_allclose(lead.mean("epoch"), [0.3, -0.2], atol=0.01)


# -- live views ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cube():
    return uml_theory.theory_cube().sel(uml_theory.FIXED)


@pytest.mark.parametrize("own", uml_theory.AXES["own"])
@pytest.mark.parametrize(
    ("attenuation", "n_x", "n_y", "angle"),
    [(0.2, 16, 8, 45.0), (1.0, 4, 0, 120.0), (0.0, 8, 0, 30.0), (0.05, 2, 32, 0.0)],
)
def test_the_live_view_shows_what_fisher_says(
    cube, own: str, attenuation: float, n_x: int, n_y: int, angle: float
) -> None:
    at = cube.sel(own=own, attenuation=attenuation, n_x=n_x, n_y=n_y, angle=angle)
    known, method = uml_theory.world(attenuation, n_x, n_y), uml_theory.METHODS[own]
    v = [math.cos(math.radians(angle)), math.sin(math.radians(angle))]
    for data, modality in (("x", "X"), ("y", "Y"), ("x+y", "X + Y")):
        deviation = known.variance(v, data, method) ** 0.5
        shown = float(at.deviation.sel(modality=modality))
        assert shown == pytest.approx(deviation) if math.isfinite(deviation) else math.isnan(shown)
    assert float(at.rate) == pytest.approx(known.rate(v, method=method), rel=1e-6) or not math.isfinite(known.rate(v))
    ring = at.sel(point=at.seen_by == 2)
    points = np.stack([ring.theta_1, ring.theta_2])
    inverse = known.information(method=method).numpy()
    if np.linalg.eigvalsh(inverse)[0] > 1 / uml_theory.EDGE**2:  # not cut
        assert np.einsum("ip,ij,jp->p", points, inverse, points) == pytest.approx(np.ones(points.shape[1]))
    line = at.sel(point=at.seen_by == 3)
    assert (line.theta_1 * v[1] - line.theta_2 * v[0]).to_numpy() == pytest.approx(np.zeros(uml_theory.ALONG))


def test_a_budget_is_split_as_fisher_says(cube) -> None:
    at = cube.budget.sel(own="unknown (Schur)", attenuation=0.2, angle=90)
    for share, n_y in ((0.2, 8), (0.5, 20), (1.0, 40)):
        expected = uml_theory.world(0.2, 40 - n_y, n_y).variance([0, 1]) ** 0.5
        assert float(at.sel(share=share)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "other", [{"sigma_y": 2.0}, {"size": 6}, {"own_size": 0}, {"own_size": 2, "sigma_y": 0.5}, {"attenuation": 0.3}]
)
def test_noise_and_dimensions_are_worked_out_when_they_are_chosen(other: dict[str, float]) -> None:
    """Of all values of the other controls at once, so that they answer without the kernel afterwards."""
    view = uml_theory.open(free=True)
    view.set(**other)
    view.train()
    assert not view.error
    fixed = {**uml_theory.FIXED, **{k: v for k, v in other.items() if k in uml_theory.FIXED}}
    for own, n_x, n_y, angle in (("unknown (Schur)", 16, 8, 90.0), ("known (block)", 2, 32, 45.0)):
        at = {"own": own, "attenuation": 0.2, "n_x": n_x, "n_y": n_y, "angle": angle, **fixed, **other}
        known = uml_theory.world(at["attenuation"], n_x, n_y, **fixed)
        v = [math.cos(math.radians(angle)), math.sin(math.radians(angle))]
        for data, modality in (("x", "X"), ("y", "Y"), ("x+y", "X + Y")):
            right = known.variance(v, data, uml_theory.METHODS[own]) ** 0.5
            shown = float(view.cube.deviation.sel(at).sel(modality=modality))
            assert shown == pytest.approx(right, rel=1e-5) if math.isfinite(right) else math.isnan(shown), (
                at,
                modality,
            )


def test_what_y_does_not_see_has_no_rate_whatever_rounding_leaves_of_it() -> None:
    """Where Y says nothing of θ_c along w, an X is worth no number of Y; rounding once made 1e30 of it, or a 1/0."""
    for own_size in (0, 1, 2):
        for size in (2, 3):
            cube = uml_theory.theory_cube(fixed={"sigma_y": 0.5, "size": size, "own_size": own_size})
            assert not bool((cube.rate > 1e9).any()) and not bool(np.isinf(cube.rate).any())
    blind = np.array(
        [[[0.0], [1.0]]]
    )  # w along the second parameter, of which M says 1e-17 of what it says of the first
    assert uml_theory._worth(blind, np.diag([1.0, 1e-17])) == 0
    assert uml_theory._worth(blind, np.diag([1.0, 1e-3])) == pytest.approx(1e-3)


def test_the_views_open_and_draw() -> None:
    view = uml_theory.open(attenuation=0.0, n_y=0, angle=90.0)
    assert not view.error and view.figure() is not None
    i, t = np.array([1.0, 2, 4, 8])[:, None, None], np.array([0.0, 1, 2, 5])[:, None]
    acc = 0.2 + 0.1 * np.log1p(i) + 0.04 * np.log1p(t) + 0.01 * np.random.default_rng(0).standard_normal((4, 4, 5))
    view = uml_theory.isolines(acc, [1, 2, 4, 8], [0, 1, 2, 5], 10, most_images=4, most_texts=2)
    assert view.figure() is not None
    found = xl.information.exchange_rate(acc, [1, 2, 4, 8], [0, 1, 2, 5], 10, images_window=(0, 4), texts_window=(0, 2))
    here = view.cube.sel(most_images=4, most_texts=2)
    assert float(here.words.sel(surface="plane")) == pytest.approx(found.plane_rate, rel=1e-6)
    assert float(here.words.sel(surface="log fit")) == pytest.approx(found.log_rate, rel=1e-6)
    assert bool(here.accuracy.sel(images=8).isnull().all()) and bool(
        here.accuracy.sel(images=4, texts=2).notnull().all()
    )


def test_isolines_are_drawn_and_a_wrong_grid_is_said() -> None:
    grid = np.arange(12.0).reshape(3, 4) + np.array([0, 2, 3, 3])
    found = xl.information.exchange_rate(grid, [1, 2, 3], [0, 1, 2, 3], 10)
    axes = xl.plots.isolines(found.measured, found.isolines(), title=found.summary())
    assert axes.get_title().startswith("1 image ≈") and len(axes.lines) == 6
    with pytest.raises(ValueError, match="dims \\('images', 'texts'\\)"):
        xl.plots.isolines(found.measured.T, found.isolines())
