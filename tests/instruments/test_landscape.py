from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from worlds import quadratic, toy

import xmodal_lab as xl
from xmodal_lab import landscape
from xmodal_lab.instruments.landscape import planes as planes_module
from xmodal_lab.instruments.landscape.adaptive import TREND, _matern, _Surface, adaptive, start
from xmodal_lab.losses import Loss
from xmodal_lab.models.one_tower import OneTower


def explicit(loss: Loss, directions: list[dict[str, torch.Tensor]], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    values = np.empty((len(a), len(b)))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            point = {
                k: p + x * directions[0].get(k, torch.zeros_like(p)) + y * directions[1].get(k, torch.zeros_like(p))
                for k, p in loss.params.items()
            }
            values[i, j] = float(loss(point).detach())
    return values


@pytest.mark.parametrize("normalization", ["filter", "layer", None])
def test_plane_of_a_quadratic_is_exact_and_leaves_theta_alone(normalization: str | None) -> None:
    loss, _, _ = quadratic()
    before = {k: p.clone() for k, p in loss.params.items()}
    plane = landscape.plane(loss, points=9, span=1.5, normalization=normalization, seed=4)
    pair = landscape.directions(loss, 2, normalization=normalization, seed=4)
    assert plane.dims == ("a", "b")
    np.testing.assert_allclose(plane.values, explicit(loss, pair, plane.a.values, plane.b.values), rtol=1e-10)
    assert float(plane.sel(a=0, b=0)) == pytest.approx(float(loss()))
    for k, p in loss.params.items():
        assert torch.equal(p, before[k])
    assert plane.attrs | {"norm": 0} == {
        "source": "xmodal_lab landscape", "long_name": "quadratic", "centre": pytest.approx(float(loss())), "span": 1.5,
        "seed": 4, "normalization": str(normalization), "engine": "xmodal", "parameters": 10, "norm": 0, "dtype": "float64",
    }  # fmt: skip


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_plane_of_a_net_equals_explicit_evaluation(architecture: str, norm: str) -> None:
    ds = toy()
    net = xl.LateFusion.for_dataset(ds, architecture=architecture, norm=norm, width=8).double()
    loss = xl.loss_on(net, ds.test.to(dtype=torch.float64))
    plane = landscape.plane(loss, points=5, seed=1)
    pair = landscape.directions(loss, 2, seed=1)
    np.testing.assert_allclose(plane.values, explicit(loss, pair, plane.a.values, plane.b.values), rtol=1e-9)


def test_given_directions_are_used_as_given_and_may_be_partial() -> None:
    loss, _, _ = quadratic()
    pair = [{"weight": torch.ones(2, 3, dtype=torch.float64)}, {"bias": torch.ones(4, dtype=torch.float64)}]
    plane = landscape.plane(loss, points=3, directions=pair)
    np.testing.assert_allclose(plane.values, explicit(loss, pair, plane.a.values, plane.b.values), rtol=1e-12)
    assert plane.attrs["normalization"] == "given"


def test_filter_normalisation_gives_each_filter_the_norm_of_thetas() -> None:
    params = {"conv": torch.randn(4, 3, 2, 2), "bias": torch.randn(4), "zero": torch.zeros(5)}
    loss = Loss(lambda p: sum((x**2).sum() for x in p.values()), params)
    (d,) = landscape.directions(loss, 1, normalization="filter")
    assert_close(d["conv"].flatten(1).norm(dim=1), params["conv"].flatten(1).norm(dim=1))
    assert_close(d["bias"].norm(), params["bias"].norm())
    assert not bool(d["zero"].any())
    (d,) = landscape.directions(loss, 1, normalization="layer")
    assert_close(d["conv"].norm(), params["conv"].norm())
    (d,) = landscape.directions(loss, 1, normalization="filter", vectors="zero")
    assert not bool(d["bias"].any())
    assert bool(d["conv"].any())


def test_gaussian_directions_are_gaussian() -> None:
    loss = Loss(lambda p: p["w"].sum(), {"w": torch.ones(200, 100, dtype=torch.float64)})
    (d,) = landscape.directions(loss, 1, normalization=None)
    assert float(d["w"].mean()) == pytest.approx(0, abs=0.05)
    assert float(d["w"].std()) == pytest.approx(1, abs=0.03)
    assert float((d["w"] ** 4).mean()) == pytest.approx(3, abs=0.3)  # a uniform one would give 1.8


def test_line_to_another_point_includes_both_ends() -> None:
    loss, _, _ = quadratic()
    target = {k: torch.zeros_like(p) for k, p in loss.params.items()}
    line = landscape.line(loss, points=5, to=target)
    assert line.a.values.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert float(line[0]) == pytest.approx(float(loss()))
    assert float(line[-1]) == pytest.approx(float(loss(target)))


def test_line_is_the_middle_of_a_plane() -> None:
    loss, _, _ = quadratic()
    (d,) = landscape.directions(loss, 1, seed=2)
    line = landscape.line(loss, points=7, span=0.5, seed=2)
    given = landscape.line(loss, points=7, span=0.5, direction=d)
    np.testing.assert_allclose(line.values, given.values, rtol=1e-12)
    plane = landscape.plane(loss, points=7, span=0.5, seed=2)
    np.testing.assert_allclose(line.values, plane.sel(b=0).values, rtol=1e-12)


@pytest.mark.parametrize("fusion", ["additive", "concat_mlp", "cross_attention"])
def test_modality_plane_with_kept_features_equals_brute_force(fusion: str) -> None:
    ds = toy()
    net = xl.LateFusion.for_dataset(ds, fusion=fusion, width=8).double()
    loss = xl.loss_on(net, ds.test.to(dtype=torch.float64))
    plane = landscape.modality_plane(loss, "image", "audio", points=5, seed=3)
    pair = [landscape.directions(loss, 1, seed=6 + i, params=m)[0] for i, m in enumerate(("image", "audio"))]
    np.testing.assert_allclose(plane.values, explicit(loss, pair, plane.a.values, plane.b.values), rtol=1e-9)
    assert (plane.a.attrs["long_name"], plane.b.attrs["long_name"]) == ("image", "audio")


def test_modality_plane_of_any_module_moves_the_named_blocks() -> None:
    torch.manual_seed(0)
    net = nn.ModuleDict({"left": nn.Linear(3, 2), "right": nn.Linear(3, 2)}).double()

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = net["left"], net["right"]

        def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            return self.left(x) * self.right(z)

    data = (*torch.randn(2, 6, 3, dtype=torch.float64), torch.zeros(6, dtype=torch.long))
    loss = Loss.from_module(Two(), data)
    plane = landscape.modality_plane(loss, "left", "right", points=3)
    pair = [landscape.directions(loss, 1, seed=i, params=m)[0] for i, m in enumerate(("left", "right"))]
    np.testing.assert_allclose(plane.values, explicit(loss, pair, plane.a.values, plane.b.values), rtol=1e-10)


def wavy() -> Loss:
    start = {"w": torch.full((1, 2), 0.3, dtype=torch.float64)}
    return Loss(lambda p: torch.cos(3 * p["w"]).sum() + (p["w"] ** 2).sum(), start)


def test_a_tolerance_is_kept_with_few_points_or_every_point_is_computed() -> None:
    full = landscape.plane(wavy(), points=33, span=2.0)
    quick = landscape.plane(wavy(), points=33, span=2.0, tolerance=1e-2)
    assert quick.attrs["points_computed"] == round(33**2 * quick.attrs["computed"]) < 33**2 / 4
    error = float(np.abs(quick - full).max())
    assert 0 < error <= quick.attrs["error_estimate"] <= 1e-2 * float(np.ptp(full.values))
    assert quick.attrs["tolerance"] == 1e-2
    strict = landscape.plane(wavy(), points=33, span=2.0, tolerance=1e-12)
    assert (strict.attrs["computed"], strict.attrs["points_computed"], strict.attrs["error_estimate"]) == (1, 33**2, 0)
    np.testing.assert_allclose(strict.values, full.values, rtol=1e-10)


@pytest.mark.parametrize("kind", ["mlp", *(pytest.param(k, marks=pytest.mark.slow) for k in ("cnn", "transformer"))])
def test_planes_of_trained_nets_are_within_the_tolerance_at_every_point(kind: str) -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=120, n_test=16)
    if kind == "transformer":
        net: nn.Module = OneTower.for_dataset(ds, width=8, layers=1, patch=16, frames=16)
    else:
        net = xl.LateFusion.for_dataset(ds, architecture=kind, width=8)
    loss = xl.loss_on(xl.fit(net, ds, epochs=3).model, ds.test.subset(slice(8 if kind == "cnn" else None)))
    planes: list[dict[str, Any]] = [{"seed": 1}, {"directions": landscape.eigenvectors(loss, 2), "span": 0.3}]
    for options in planes:
        full = landscape.plane(loss, 33, **options)
        quick = landscape.plane(loss, 33, tolerance=1e-2, **options)
        assert float(np.abs(quick - full).max()) <= 1e-2 * float(np.ptp(full.values))
        assert quick.attrs["error_estimate"] <= 1e-2 * float(np.ptp(full.values))
        assert quick.attrs["computed"] < 0.7


def test_a_spike_between_the_points_that_were_looked_at_is_found_where_it_is_held_out() -> None:
    def evaluate(at: np.ndarray) -> np.ndarray:
        smooth = ((at - 20) ** 2).sum(1) / 800
        return smooth + 0.5 * (np.abs(at - np.array([28, 28])).max(1) <= 3)  # between points of the first grid

    every = np.stack(np.meshgrid(np.arange(41), np.arange(41), indexing="ij"), -1).reshape(-1, 2)
    truth = evaluate(every).reshape(41, 41)
    found = adaptive(evaluate, 41, 1e-2)
    assert 121 < found.computed < 41**2 / 2
    np.testing.assert_allclose(found.values, truth, atol=1e-2)


@pytest.mark.parametrize(("points", "share"), [(5, 1.0), (11, 1.0), (13, 0.3), (21, 0.2), (41, 0.1)])
def test_a_tolerance_saves_nothing_on_coarse_planes(points: int, share: float) -> None:
    """As the docstrings say it, at 1e-2 and where it saves most: a bowl."""
    at = np.linspace(-1, 1, points)
    found = adaptive(lambda i: at[i[:, 0]] ** 2 + 0.3 * at[i[:, 1]] ** 2, points, 1e-2)
    computed = found.computed / points**2
    assert computed == 1 if share == 1 else share - 0.1 < computed <= share


@pytest.mark.parametrize("points", [12, 13, 33, 41])
def test_what_is_computed_first_is_a_grid_with_the_corners_and_rings_around_the_centre(points: int) -> None:
    at = [divmod(i, points) for i in start(points)]
    assert len(set(at)) == len(at) <= 36 + 17
    assert {(i, j) for i in (0, points - 1) for j in (0, points - 1)} <= set(at)
    centre = points // 2
    assert {(centre + i, centre + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} <= set(at)


def test_a_surface_is_the_gaussian_process_that_linear_algebra_gives() -> None:
    surface, generator = _Surface(9, _matern), np.random.default_rng(0)
    values = generator.standard_normal(81)
    new = generator.permutation(81)[:20].tolist()
    for part in (new[:12], new[12:]):
        surface.add(part, values[part])
    trend = np.column_stack([np.ones(81), surface.at])
    apart = np.sqrt(np.square(surface.at[:, None] - surface.at[None]).sum(-1))
    kernel = _matern(apart) + TREND * trend @ trend.T
    inverse = np.linalg.inv(kernel[np.ix_(new, new)])
    np.testing.assert_allclose(surface.mean, kernel[:, new] @ inverse @ values[new], atol=1e-6)
    variance = np.diag(kernel) - np.einsum("ij,jk,ik->i", kernel[:, new], inverse, kernel[:, new])
    np.testing.assert_allclose(surface.variance, variance, atol=1e-6)  # beside a trend of variance 100
    missed = np.abs(inverse @ values[new]) / np.sqrt(np.diag(inverse))
    np.testing.assert_allclose(surface.left_out(), missed, rtol=1e-6)


def test_a_peak_at_the_centre_and_a_ridge_are_within_the_tolerance() -> None:
    """Nets with normalised layers peak at θ along sharp directions; piecewise linear ones have ridges."""

    def evaluate(at: np.ndarray) -> np.ndarray:
        a, b = (at.T - 20) / 20
        return np.sqrt(np.hypot(a, b)) + np.abs(a - 0.4 * b - 0.2)

    every = np.stack(np.meshgrid(np.arange(41), np.arange(41), indexing="ij"), -1).reshape(-1, 2)
    truth = evaluate(every).reshape(41, 41)
    found = adaptive(evaluate, 41, 1e-2)
    assert found.computed < 41**2 / 2
    assert np.abs(found.values - truth).max() <= found.error <= 1e-2 * np.ptp(truth)


def test_a_plane_that_cannot_be_foreseen_is_computed_whole() -> None:
    noise = np.random.default_rng(0).standard_normal((41, 41))
    asked: list[tuple[int, int]] = []

    def evaluate(at: np.ndarray) -> np.ndarray:
        asked.extend(map(tuple, at.tolist()))
        return noise[at[:, 0], at[:, 1]]

    found = adaptive(evaluate, 41, 1e-2)
    assert (found.computed, found.error) == (41**2, 0)
    assert len(asked) == len(set(asked)) == 41**2, "no point twice"
    np.testing.assert_array_equal(found.values, noise)
    flat = adaptive(lambda at: np.full(len(at), 3.0), 41, 1e-2)
    np.testing.assert_allclose(flat.values, 3.0, rtol=1e-14)
    assert flat.computed < 150


def test_a_trajectory_plane_takes_a_tolerance_too() -> None:
    loss, _, _ = quadratic()
    g = torch.Generator().manual_seed(0)
    path = [{k: p + torch.randn(p.shape, generator=g, dtype=p.dtype) for k, p in loss.params.items()} for _ in "abc"]
    full = landscape.trajectory_plane(loss, path, 33)["loss"]
    quick = landscape.trajectory_plane(loss, path, 33, tolerance=1e-6)["loss"]
    assert quick.attrs["computed"] < 0.2  # a quadratic is its own spline
    np.testing.assert_allclose(quick, full, rtol=1e-9)


def test_non_finite_values_are_kept() -> None:
    loss = Loss(lambda p: torch.log(p["w"]).sum(), {"w": torch.ones(1, 2, dtype=torch.float64)})
    pair = [{"w": torch.tensor([[1.0, 0.0]])}, {"w": torch.tensor([[0.0, 1.0]])}]
    plane = landscape.plane(loss, points=5, span=2.0, directions=pair, tolerance=0.1)
    assert bool(np.isnan(plane.sel(a=-2, b=-1)))
    assert float(plane.sel(a=-1, b=0)) == -np.inf
    assert float(plane.sel(a=1, b=0)) == pytest.approx(np.log(2))


def test_top_eigenvectors_span_the_sharpest_plane() -> None:
    loss, hessian, _ = quadratic()
    pair = landscape.eigenvectors(loss, 2, scale=1.0)
    values, vectors = torch.linalg.eigh(hessian)
    for k in (1, 2):
        flat = torch.cat([p.reshape(-1) for p in pair[k - 1].values()])
        assert abs(float(flat @ vectors[:, -k])) == pytest.approx(1, abs=1e-5)
    line = landscape.line(loss, points=3, span=1.0, direction=pair[0])
    second = float(line[0] + line[2] - 2 * line[1])
    assert second == pytest.approx(float(values[-1]), rel=1e-4)


def test_a_trajectory_of_many_checkpoints_is_worked_out_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces were as long for each checkpoint, however many there were."""
    theta = {"w": torch.zeros(70_000)}
    far = torch.linspace(0, 2, 100)
    path = [{"w": torch.cat([x.expand(40_000), (x**2).expand(30_000)])} for x in far]
    bowl = Loss(lambda p: (p["w"] ** 2).mean(), theta)
    pieces = [piece for _, _, piece in planes_module._offsets(theta, path)]
    assert sum(piece.shape[1] for piece in pieces) == 70_000
    assert max(piece.numel() * piece.element_size() for piece in pieces) <= 1 << 23
    whole = landscape.trajectory_plane(bowl, path, 5)
    monkeypatch.setattr(planes_module, "STRETCH", 999)
    few = landscape.trajectory_plane(bowl, path, 5)
    np.testing.assert_allclose(few["path"], whole["path"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(few["loss"], whole["loss"], rtol=1e-5, atol=1e-6)


def test_trajectory_plane_holds_the_path_and_shares_it_between_runs() -> None:
    loss, _, _ = quadratic()
    theta = loss.params
    g = torch.Generator().manual_seed(0)
    u, v = ({k: torch.randn(p.shape, generator=g, dtype=p.dtype) for k, p in theta.items()} for _ in range(2))

    def at(s: float, t: float) -> dict[str, torch.Tensor]:
        return {k: p + s * u[k] + t * v[k] for k, p in theta.items()}

    result = landscape.trajectory_plane(
        loss, {"one": [at(1, 0), at(0.5, 0.2), at(0, 0)], "two": [at(0, 1), at(0, 0)]}, 9
    )
    assert float(result.explained) == pytest.approx(1.0)
    assert result.path.shape == (2, 3, 2)
    assert bool(np.isnan(result.path.sel(run="two")[2]).all())
    np.testing.assert_allclose(result.path.sel(run="one")[2], 0, atol=1e-9)
    step = result.path.sel(run="one").values[0] - result.path.sel(run="two").values[0]
    distance = torch.cat([(u[k] - v[k]).reshape(-1) for k in theta]).norm()
    assert np.linalg.norm(step) == pytest.approx(float(distance))  # the plane is isometric


@pytest.mark.parametrize("size", [1.0, -1.0])
def test_training_begins_left_of_its_end_and_below_it(size: float) -> None:
    """Whatever the signs of the parameters, so that one training is not seen mirrored beside another."""
    loss, _, _ = quadratic()
    g = torch.Generator().manual_seed(1)
    u, v = ({k: size * torch.randn(p.shape, generator=g, dtype=p.dtype) for k, p in loss.params.items()} for _ in "ab")
    steps = [(1.0, 0.3), (0.5, 0.4), (0.2, 0.1), (0.0, 0.0)]
    path = [{k: p + s * u[k] + t * v[k] for k, p in loss.params.items()} for s, t in steps]
    result = landscape.trajectory_plane(loss, path, 41)
    first = result.path.sel(run="run")[0].values
    assert (first < 0).all()
    there = float(result.loss.interp(a=first[0], b=first[1]))
    assert there == pytest.approx(loss.at(path[0]).value(), rel=1e-3), "the plane is turned with it"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda q: landscape.plane(q, points=2), "points must be at least 3"),
        (lambda q: landscape.plane(q, span=0), "span must be above 0"),
        (lambda q: landscape.plane(q, span=float("nan")), "span must be finite"),
        (
            lambda q: landscape.plane(q, normalization="weight"),
            "unknown normalization 'weight'; known: 'filter', 'layer'",
        ),
        (lambda q: landscape.plane(q, engine="pyhessian"), "unknown engine"),
        (lambda q: landscape.plane(q, engine="loss-landscapes"), "needs a loss of a module"),
        (lambda q: landscape.plane(q, params="head"), "unknown block or parameter 'head'"),
        (lambda q: landscape.plane(q, vectors="drop"), "unknown treatment of vectors"),
        (lambda q: landscape.plane(q, tolerance=0), "tolerance must be above 0"),
        (lambda q: landscape.plane(q, directions=[{"bias": torch.ones(4)}]), "a pair of parameter dicts, got 1"),
        (lambda q: landscape.plane(q, directions={"bias": torch.ones(4)}), "a pair of parameter dicts, got 1"),
        (
            lambda q: landscape.plane(q, directions=[{"bias": torch.ones(5)}] * 2),
            r"directions\[0\]\['bias'\] must have shape",
        ),
        (lambda q: landscape.line(q, to=q.params, direction=q.params), "either to="),
        (lambda q: landscape.modality_plane(q, "bias", "bias"), "share parameters"),
        (lambda q: landscape.trajectory_plane(q, [q.params]), "at least two checkpoints"),
        (lambda q: landscape.trajectory_plane(q, [q.params] * 3), "span no plane"),
        (lambda q: landscape.directions(q, 0), "count must be at least 1"),
    ],
)
def test_bad_requests_say_what_is_wrong(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(quadratic()[0])


def test_a_point_at_zero_has_no_filter_normalised_direction() -> None:
    loss = Loss(lambda p: p["w"].sum(), {"w": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match="normalization=None"):
        landscape.plane(loss, points=3)


def test_the_peers_plane_is_available_for_comparison_and_off_centre() -> None:
    pytest.importorskip("loss_landscapes")
    ds = toy()
    net = xl.LateFusion.for_dataset(ds, architecture="mlp", width=8)
    loss = xl.loss_on(net, ds.test)
    before = {k: p.clone() for k, p in net.state_dict().items()}
    theirs = landscape.plane(loss, points=5, engine="loss-landscapes")
    again = landscape.plane(loss, points=5, engine="loss-landscapes")
    assert theirs.dims == ("a", "b")
    assert theirs.attrs["engine"] == "loss-landscapes"
    np.testing.assert_allclose(theirs.values, again.values)
    for k, p in net.state_dict().items():
        assert torch.equal(p, before[k])


def test_out_of_memory_halves_the_chunk_warns_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ds = toy()
    loss = xl.loss_on(xl.LateFusion.for_dataset(ds, architecture="mlp", width=8), ds.test)
    honest = type(loss)._along
    asked = []

    def cramped(self, directions, table, rows, at_once):
        asked.append((at_once, rows))
        if rows is None or rows > 15:
            raise torch.OutOfMemoryError("out of memory")
        return honest(self, directions, table, rows, at_once)

    expected = landscape.plane(loss, points=3).values
    monkeypatch.setattr(type(loss), "_along", cramped)
    with pytest.warns(UserWarning, match="out of memory: going on with 15 samples at a time"):
        values = landscape.plane(loss, points=3).values
    assert asked == [(1, None), (1, 30), (1, 15)]
    np.testing.assert_allclose(values, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["dict", "two inputs"])
def test_the_peer_draws_modules_of_any_batch(kind: str) -> None:
    """Its wrapper passes one input and no keywords: dicts and several inputs failed."""
    pytest.importorskip("loss_landscapes")

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.one(a) + self.two(b)

    torch.manual_seed(0)
    a, b, y = torch.randn(8, 3), torch.randn(8, 4), torch.arange(8) % 2
    batch = {"a": a, "b": b, "labels": y} if kind == "dict" else (a, b, y)
    loss = Loss.from_module(Sum(), batch, nn.functional.cross_entropy)
    drawn = landscape.plane(loss, points=3, engine="loss-landscapes")
    assert np.isfinite(drawn.values).all() and np.ptp(drawn.values) > 0
