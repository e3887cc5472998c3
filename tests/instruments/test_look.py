"""Looks: each is what its instrument says, on coordinates that all nets share; and the bench that sweeps them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import xmodal_lab as xl
from xmodal_lab.experiments.bench import with_shots
from xmodal_lab.instruments.curvature.spectral_axis import LINEAR, WIDTH, lambdas, on_lambdas
from xmodal_lab.training import stacking


@pytest.fixture(scope="module")
def world() -> tuple[xl.Dataset, xl.Run]:
    ds = xl.load("digits", modalities=("image", "audio"))
    net = xl.LateFusion.for_dataset(ds, architecture="mlp", width=8)
    return ds, xl.fit(net, ds, epochs=6, snapshots=3)


def test_every_look_is_what_its_instrument_says(world: tuple[xl.Dataset, xl.Run]) -> None:
    ds, run = world
    seen = xl.look(
        run, ds.test, landscape=5, density=True, eigenvalues=2, lpf=0.1, f_gap=[0.5], gap=True, pgd=[0.1], missing=0.5,
        noise=1.0,
    )  # fmt: skip
    loss = xl.loss_on(run.model, ds.test)
    assert float(seen.loss) == pytest.approx(loss.value(), rel=1e-5)
    assert float(seen.accuracy) == pytest.approx(run.score)
    np.testing.assert_allclose(seen.landscape, xl.landscape.plane(loss, 5, 1.0), rtol=1e-5)
    np.testing.assert_allclose(seen.eigenvalue, xl.curvature.top_eigenvalues(loss, 2).values, rtol=2e-2)
    u = np.arcsinh(lambdas() / LINEAR)
    assert np.trapezoid(seen.density, u) == pytest.approx(1, abs=1e-3)
    with torch.no_grad():
        z = run.model.encode({m: x[:300] for m, x in ds.test.inputs.items()})
    gap = xl.transport.modality_gap(z["image"], z["audio"])
    assert float(seen.w2) == pytest.approx(gap.w2_squared**0.5, rel=1e-6)
    cosine = torch.nn.functional.cosine_similarity(z["image"], z["audio"])
    assert float(seen.distance) == pytest.approx(float((1 - cosine).mean()), rel=1e-5)
    lost = xl.robustness.evaluate_under(run.model, ds.test, lambda s: xl.robustness.drop_modality(s, "audio", 0.5))
    assert float(seen.missing.sel(modality="audio")) == pytest.approx(lost.accuracy)
    assert json.loads(seen.attrs["why"]) == {}


def test_a_density_of_known_eigenvalues_stands_where_they_are() -> None:
    values = torch.tensor([-3.0, 0.0, 0.0, 20.0], dtype=torch.float64)
    loss = xl.Loss(lambda p: 0.5 * (values * p["w"] ** 2).sum(), {"w": torch.ones(4, dtype=torch.float64)})
    spectrum = xl.curvature.density(loss)
    found = on_lambdas(spectrum.nodes, spectrum.weights)
    u = np.arcsinh(lambdas() / LINEAR)
    want = sum(
        share * np.exp(-0.5 * ((u - np.arcsinh(at / LINEAR)) / WIDTH) ** 2) / (WIDTH * (2 * np.pi) ** 0.5)
        for at, share in ((-3.0, 0.25), (0.0, 0.5), (20.0, 0.25))
    )
    np.testing.assert_allclose(found, want, atol=1e-6)
    labelled = xl.curvature.density(loss).to_xarray()
    np.testing.assert_array_equal(labelled, found)
    assert labelled.attrs["trace"] == pytest.approx(17)


def test_what_a_net_cannot_answer_is_nan_and_says_why(world: tuple[xl.Dataset, xl.Run]) -> None:
    ds, _ = world
    lone = xl.LateFusion.for_dataset(ds, "image", architecture="mlp")
    seen = xl.look(lone, ds.test, gap=True, missing=0.5)
    assert bool(seen.w2.isnull()) and bool(seen.missing.notnull().all())
    assert "sees image alone" in json.loads(seen.attrs["why"])["w2"]

    def broken(model: object, samples: object) -> float:
        raise ValueError("no such thing")

    seen = xl.look(lone, ds.test, looks={"mine": broken, "rows": lambda model, samples: len(samples)})
    assert bool(seen.mine.isnull()) and float(seen.rows) == 800
    assert json.loads(seen.attrs["why"])["mine"] == "no such thing"


@pytest.mark.parametrize(("dead", "answers"), [(slice(0, 30), True), (slice(None), False)])
def test_a_gap_is_between_the_latents_that_have_a_direction(
    world: tuple[xl.Dataset, xl.Run], dead: slice, answers: bool
) -> None:
    ds, _ = world
    net = xl.LateFusion.for_dataset(ds, architecture="mlp", width=8)
    latents = net.latents

    def some_are_zero(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = {m: z.clone() for m, z in latents(inputs).items()}
        found["audio"][dead] = 0
        return found

    net.latents = some_are_zero  # type: ignore[method-assign]
    seen = xl.look(net, ds.test, gap=True, rows=100)
    with torch.no_grad():
        z = {m: v[30:100] if m == "audio" else v[:100] for m, v in latents(ds.test.inputs).items()}
    if answers:
        want = xl.transport.modality_gap(*(v[v.norm(dim=1) > 0] for v in z.values()))
        assert float(seen.w2) == pytest.approx(want.w2_squared**0.5, rel=1e-5) and bool(seen.w2_bias > 0)
    else:
        assert bool(seen.w2.isnull())
        assert json.loads(seen.attrs["why"])["w2"] == "the latents of 'audio' are all zero; none has a direction"


def test_a_look_that_a_member_cannot_answer_does_not_end_the_sweep() -> None:
    def fused(model: torch.nn.Module, samples: xl.Samples) -> float:
        if len(model.modalities) < 2:
            raise ValueError("nothing is fused here")
        return 1.0

    bench = xl.bench(looks={"gap": True, "looks": {"fused": fused}}, epochs=1)
    cube = xl.sweep(bench, modalities=["image", "image+audio"], progress=False)
    assert cube["fused"].isnull().values.tolist() == [True, False] == cube["w2"].isnull().values.tolist()
    assert bool(cube["accuracy"].notnull().all()) and cube.attrs["diverged"] == "[]"


def test_bad_looks_are_refused(world: tuple[xl.Dataset, xl.Run]) -> None:
    ds, run = world
    for options, says in [
        ({"landscape": 2}, "landscape"),
        ({"density": "layer"}, "density must be"),
        ({"missing": 1.5}, "missing"),
        ({"gap": True, "looks": {"w2": lambda m, s: 1.0}}, "'w2' is taken"),
        ({"looks": {"two": lambda m, s: [1.0, 2.0]}}, "name its dimensions"),
    ]:
        with pytest.raises(ValueError, match=says):
            xl.look(run, ds.test, **options)
    with pytest.raises(TypeError, match="run must be"):
        xl.look("a net", ds.test)


def test_along_looks_at_every_checkpoint(world: tuple[xl.Dataset, xl.Run]) -> None:
    ds, run = world
    path = xl.along(run, ds.test, gap=True, trajectory=5)
    assert path.epoch.values.tolist() == [0, 3, 6]
    last = xl.look(run, ds.test, gap=True)
    assert float(path.w2[-1]) == pytest.approx(float(last.w2))
    assert path.trajectory.shape == (5, 5) and path.path.shape == (3, 2)
    np.testing.assert_allclose(path.path[-1], 0, atol=1e-5)
    states = [run.snapshots[e] for e in (0, 6)]
    again = xl.along(states, ds.test, model=run.model)
    np.testing.assert_allclose(again.loss, path.loss.sel(epoch=[0, 6]))
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    assert all(torch.equal(before[k], v) for k, v in run.model.state_dict().items())
    part = ds.test.subset(slice(0, 100))
    whole, quick = (xl.along(run, part, trajectory=33, tolerance=t).trajectory for t in (None, 1e-2))
    missed = float(np.abs(whole - quick).max())
    assert 0 < missed <= 1e-2 * float(whole.max() - whole.min()), "fewer points, within the tolerance"
    with pytest.raises(ValueError, match="no checkpoint"):
        xl.along({}, ds.test, model=run.model)
    with pytest.raises(TypeError, match="give the net"):
        xl.along(states, ds.test)


def test_a_bench_sweeps_the_settings_of_its_recipe() -> None:
    bench = xl.bench(looks={"gap": True}, epochs=2)
    cube = xl.sweep(bench, a_align=[0.0, 1.0], share=[0.0, 1.0], modalities=["image", "image+audio"], progress=False)
    assert cube.accuracy.notnull().all()
    lone = cube.sel(modalities="image")
    assert bool(lone.w2.isnull().all())
    assert float(lone.accuracy.std()) == 0, "a lone modality has neither partner nor gap: one net serves all cells"
    both = cube.sel(modalities="image+audio")
    assert bool((both.w2.sel(a_align=1.0) != both.w2.sel(a_align=0.0)).all())
    alone = bench.compute({"a_align": 1.0, "share": 1.0})
    assert float(alone["accuracy"]) == pytest.approx(float(both.accuracy.sel(a_align=1.0, share=1.0)), abs=2e-3)


def test_a_bench_of_ones_own_data_recipe_and_look() -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=80, n_test=40)

    @xl.terms.term("small", weight=0.0)
    def small(view: xl.terms.View) -> torch.Tensor:
        return view.outputs.square().mean((1, 2))

    bench = xl.bench(ds, xl.Recipe((xl.terms.Task(), small)), {"looks": {"rows": lambda m, s: float(len(s))}}, epochs=1)
    cube = xl.sweep(bench, small=[0.0, 1.0], seed=range(2), progress=False)
    assert cube.accuracy.dims == ("small", "seed") and bool((cube["rows"] == 40).all())
    with pytest.raises(ValueError, match="'width' is taken"):
        xl.bench(ds, xl.Recipe((xl.terms.Task(), xl.terms.Function(small.function, "w", "width"))))


def test_isolines_train_every_cell_of_the_shots() -> None:
    bench = xl.bench(isolines={"image": (1, 4), "text": (0, 4)}, epochs=2, lam=1.0)
    found = bench.compute({})["accuracy_at_shots"]
    assert found.shape == (2, 2)
    one = bench.compute({"image_shots": 4, "text_shots": 4})
    assert float(one["accuracy"]) == pytest.approx(float(found[1, 1]), abs=2e-3)


def test_isolines_train_a_net_once_and_texts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of one number of pictures are one stack; where they weigh nothing, all of them are one net."""
    stacks: list[int] = []
    real = stacking.fit_all

    def counted(nets: Any, *args: Any, **options: Any) -> Any:
        stacks.append(len(nets))
        return real(nets, *args, **options)

    monkeypatch.setattr(stacking, "fit_all", counted)
    bench = xl.bench(isolines={"image": (1, 4), "text": (0, 2, 4)}, epochs=1, lam=1.0)
    found = bench.compute({})["accuracy_at_shots"]
    assert stacks == [1, 2, 1, 2, 1]  # the member, and for each number of pictures the texts, and none
    assert np.isfinite(found).all()
    stacks.clear()
    plain = bench.compute({"lam": 0.0})["accuracy_at_shots"]
    assert stacks == [1, 1, 1] and (plain == plain[:, :1]).all()


def test_shots_are_nested_and_counted_by_class() -> None:
    ds = xl.load("digits", modalities=("image", "audio"))
    some, more = with_shots(ds, {"image": 2}, seed=1), with_shots(ds, {"image": 5}, seed=1)
    counts = torch.bincount(some.train.labels[some.train.present["image"]])
    assert counts.tolist() == [2] * 10
    pictures = {x.numpy().tobytes() for x in more.train.inputs["image"][more.train.present["image"]]}
    few = {x.numpy().tobytes() for x in some.train.inputs["image"][some.train.present["image"]]}
    assert few <= pictures
    with pytest.raises(ValueError, match="are asked for"):
        with_shots(ds, {"image": 10_000})


def test_densities_and_trajectories_are_drawn(world: tuple[xl.Dataset, xl.Run]) -> None:
    ds, run = world
    seen = xl.look(run, ds.test, density=True, eigenvalues=3)
    axes = xl.plots.density({"last": seen.density}, eigenvalues={"last": seen.eigenvalue.values})
    assert axes.get_xscale() == "symlog" and len(axes.lines) == 1 + 3
    with pytest.raises(TypeError, match="density over lambda_"):
        xl.plots.density(seen.eigenvalue)
    path = xl.along(run, ds.test, trajectory=5)
    axes = xl.plots.trajectory(path)
    assert axes.lines[0].get_xydata().shape == (3, 2)
    with pytest.raises(TypeError, match="must hold a trajectory"):
        xl.plots.trajectory(seen)
