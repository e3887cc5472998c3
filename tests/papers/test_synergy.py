"""synergy: nets, targets, training and what is watched, each against an independent oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import xmodal_lab as xl
from xmodal_lab.models import stacked as nets
from xmodal_lab.papers import synergy
from xmodal_lab.papers.synergy import worlds
from xmodal_lab.papers.synergy.method import prompts, targets, training, views, watching

TINY: dict[str, Any] = {
    "steps": 12,
    "teacher_steps": 10,
    "images_per_class": 12,
    "clips_per_class": 20,
    "hidden": 8,
    "width": 6,
}


WORLD = synergy.SynergyWorld()


def settings(**given: Any) -> dict[str, Any]:
    return WORLD.normal(synergy.EXPERIMENT.settings(**{**TINY, **given}))


def world(**given: Any) -> worlds.Direction:
    return worlds.direction_of(WORLD, settings(**given))


# -- nets ----------------------------------------------------------------------------------------------


def test_stacked_nets_equal_torch_layers() -> None:
    starts = [nets.start(seed, (5,), 7, 4, 3) for seed in range(2)]
    params = {k: torch.stack([s[k] for s in starts]) for k in starts[0]}
    x = torch.randn(2, 9, 5)
    z = nets.features(params, x)
    for k, p in enumerate(starts):
        hidden = functional.linear(x[k], p["w1"].T, p["b1"][0]).relu()
        expected = functional.linear(hidden, p["w2"].T, p["b2"][0])
        torch.testing.assert_close(z[k], expected)
        torch.testing.assert_close(nets.logits(params, z)[k], functional.linear(expected, p["w3"].T, p["b3"][0]))
    torch.testing.assert_close(nets.features(params, x[0])[1], nets.features(params, x[:1].expand(2, -1, -1))[1])


def test_convolutions_of_members_do_not_mix() -> None:
    starts = [nets.start(seed, (3, 10, 12), 7, 4, 3, "cnn") for seed in range(2)]
    params = {k: torch.stack([s[k] for s in starts]) for k in starts[0]}
    x = torch.randn(2, 5, 3, 10, 12)
    z = nets.features(params, x)
    for k, p in enumerate(starts):
        h = x[k]
        for i in range(3):
            h = functional.conv2d(h, p[f"kernel{i}"], p[f"shift{i}"], stride=2, padding=1).relu()
        hidden = functional.linear(h.flatten(1), p["w1"].T, p["b1"][0]).relu()
        torch.testing.assert_close(z[k], functional.linear(hidden, p["w2"].T, p["b2"][0]))
    with pytest.raises(ValueError, match="'cnn' needs inputs"):
        nets.start(0, (12,), 7, 4, 3, "cnn")


# -- targets -------------------------------------------------------------------------------------------


def test_each_rule_draws_what_it_says() -> None:
    rng = torch.Generator().manual_seed(0)
    pool = targets.Pool(torch.randn(30, 2), torch.arange(30) % 3, torch.arange(30).flip(0))
    labels, rows = torch.randint(0, 3, (500,)), torch.randint(0, 30, (500,))
    by_label = targets.drawn(pool, "label", labels, rows, rng)
    assert bool((pool.labels[by_label] == labels).all()), "the target's class is the row's"
    assert len(by_label.unique()) == 30, "and every one of the class occurs"
    assert bool((targets.drawn(pool, "own", labels, rows, rng) == 29 - rows).all())
    at_random = targets.drawn(pool, "any", labels, rows, rng)
    agree = float((pool.labels[at_random] == labels).double().mean())
    assert abs(agree - 1 / 3) < 0.1, "no rule looks at the label unless it says so"


def test_targets_that_cannot_be_drawn_are_refused() -> None:
    pool, rng, y = targets.Pool(torch.randn(4, 2)), torch.Generator(), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match="belong to no row"):
        targets.drawn(pool, "own", y, y, rng)
    with pytest.raises(ValueError, match="have no class"):
        targets.drawn(pool, "label", y, y, rng)
    with pytest.raises(ValueError, match="no latent of M_j"):
        targets.drawn(targets.Pool(torch.randn(4, 2), torch.ones(4, dtype=torch.long)), "label", y, y, rng)
    with pytest.raises(ValueError, match="reads none"):
        targets.applicable("number", "A→V")
    with pytest.raises(ValueError, match="unknown target"):
        targets.applicable("prompt", "L→V")


def test_controls_have_the_moments_they_are_named_after() -> None:
    reference = torch.randn(400, 6) * 2 + 1
    found = targets.controls(reference)
    torch.testing.assert_close(found["constant"].z[0], reference.mean(0))
    assert float(found["zero"].z.abs().max()) == 0
    spread = float((found["noise"].z - reference.mean(0)).square().sum(1).mean())
    assert spread == pytest.approx(float((reference - reference.mean(0)).square().sum(1).mean()), rel=0.05)


def test_every_kind_of_the_brief_is_there() -> None:
    assert set(targets.PAPERS_OWN) == {"L→V", "L→A", "A→L", "V→A", "A→V"}
    for direction, own in targets.PAPERS_OWN.items():
        targets.applicable(own, direction)
    assert set(targets.CONTROLS) < set(targets.KINDS)
    assert [targets.KINDS[k].rule for k in targets.LEVELS.values()] == ["any", "any", "any", "own"]


# -- language ------------------------------------------------------------------------------------------


def test_prompts_are_unit_vectors_and_descriptions_fit_their_samples() -> None:
    for kind in ("class", "random", "unrelated", "description"):
        torch.testing.assert_close(
            prompts.vectors(kind).norm(dim=1), torch.ones(len(prompts.vectors(kind))), atol=1e-3, rtol=0
        )
    digits = xl.load("digits")
    read = prompts.descriptions(digits, digits.test, "text")
    assert read is not None
    torch.testing.assert_close(read.norm(dim=1), torch.ones(len(read)), atol=2e-3, rtol=0)
    shapes = xl.load("shapes", n_train=40, n_test=20, n_val=0)
    told = prompts.descriptions(shapes, shapes.train, "text")
    assert told is not None and told.shape == (40, prompts.WIDTH)
    z = shapes.train.latents
    assert z is not None
    same = [
        bool(torch.equal(told[i], told[0]))
        == all(int(z[p][i]) == int(z[p][0]) for p in ("shape", "color", "texture", "size"))
        for i in range(40)
    ]
    assert all(same), "two figures have one description exactly if their four causes agree"
    with pytest.raises(ValueError, match="prompts for 100 classes"):
        prompts.class_prompts(101)
    with pytest.raises(ValueError, match="unknown kind of prompt"):
        prompts.vectors("poem")


# -- training ------------------------------------------------------------------------------------------


def test_latent_losses_are_the_papers_and_torchs() -> None:
    z, target = torch.randn(3, 8, 5, dtype=torch.float64), torch.randn(3, 8, 5, dtype=torch.float64)
    found = training.latent_losses(z, target, training.LOSSES)
    assert float(found[0]) == pytest.approx(0.5 * float(functional.mse_loss(z[0], target[0])))
    assert float(found[1]) == pytest.approx(0.5 * float((z[1] - target[1]).norm(dim=1).square().mean()))
    one = functional.cosine_embedding_loss(z[2], target[2], torch.ones(8))
    assert float(found[2]) == pytest.approx(float(one))


def test_members_train_in_a_stack_as_alone() -> None:
    members = [settings(target=t, alpha=a, loss=lo, seed=s) for t, a, lo, s in (
        ("number", 0.3, "mse_mean", 0), ("none", 0.0, "mse_mean", 1), ("constant", 0.9, "cosine", 0), ("description", 0.5, "mse_sum", 1))]  # fmt: skip
    w = world()
    together = training.train(w, members, training.Plan.of(w, members), [s["seed"] for s in members])
    for k, s in enumerate(members):
        lone = training.train(w, [s], training.Plan.of(w, [s]), [s["seed"]])
        for name in lone:
            torch.testing.assert_close(together[name][k], lone[name][0], rtol=1e-4, atol=1e-5)


def test_a_target_drawn_once_stays_with_its_row() -> None:
    s = settings(target="number", redraw=False, steps=60)
    w = world(steps=60)
    plan = training.Plan.of(w, [s])
    rows, met = plan.batches[0].flatten().tolist(), plan.targets[0].flatten().tolist()
    first: dict[int, int] = {}
    assert all(first.setdefault(r, m) == m for r, m in zip(rows, met, strict=True))
    again = training.Plan.of(w, [settings(target="number", steps=60)])
    assert bool((again.batches == plan.batches).all()), "the target's kind leaves the batches alone"


def test_the_teacher_learns_from_rows_that_m_i_never_uses() -> None:
    for direction in ("A→V", "V→A", "A→L"):
        s = settings(direction=direction)
        w = worlds.direction_of(WORLD, s)
        ds = WORLD.load({**WORLD.defaults, **s})
        j, i = (worlds.LETTERS[c] for c in direction.split("→"))
        taught = int(worlds.teaching_rows(ds.train, j, i, s["teacher_share"]).sum())
        assert taught > 0 and w.teacher.pools["latents"].own is not None
        assert len(w.teacher.pools["latents"].z) == int(ds.train.present[j].sum()) - taught
        own = w.teacher.pools["latents"]
        assert bool((own.labels[own.own] == w.y["train"]).all()), "a row's own partner is of its class"
        assert float(w.teacher.pools["latents"].z.norm(dim=1).mean()) == pytest.approx(s["length"], rel=1e-4)


def test_spoilt_tests_change_the_inputs_and_keep_their_shape() -> None:
    w = world(direction="A→L")
    for name in views.TESTS[1:]:
        assert w.x[name].shape == w.x["clean"].shape and not torch.equal(w.x[name], w.x["clean"])
    zeroed = world(direction="A→L", severity=5).x["occluded"]
    eye = world(direction="A→L", severity=5).x["clean"]
    assert float((zeroed != eye).double().mean()) == pytest.approx(0.5, abs=0.05)


# -- what is watched -----------------------------------------------------------------------------------


def test_halves_share_no_row_and_moments_reach_both_ends() -> None:
    a, b = watching.halves(torch.arange(50.0)[:, None], 20)
    assert len(a) == len(b) == 20 and not set(a.flatten().tolist()) & set(b.flatten().tolist())
    assert watching.moments(400, 5)[0] == 0 and watching.moments(400, 5)[-1] == 400
    assert watching.moments(400, 0) == [] and watching.moments(400, 1) == [400]


def test_distances_are_those_between_the_clouds() -> None:
    # A lone member with α = 0 is its own baseline: ẑ_k = z_i, so W2(ẑ_k, z_i) is the bias of two halves.
    made = xl.sweep("synergy", **TINY, direction="A→V", target=["none", "constant"], watch=2, points=15, progress=False)
    bare = made.sel(target="none")
    np.testing.assert_allclose(bare.w2_ki, bare.w2_ii, rtol=1e-4)
    np.testing.assert_allclose(bare.w2_kj, bare.w2_ij, rtol=1e-4)
    assert float(made.latent_floor.sel(target="constant")) == pytest.approx(0, abs=1e-6)
    assert float(made.latent_loss.isel(moment=0).max()) == 1.0
    found = xl.transport.alpha_star(float(bare.delta_i), float(bare.delta_j), float(bare.w2_ij[-1]), tolerance=1.0)
    assert float(bare.alpha_star) == pytest.approx(found.raw, abs=0.6), "Eq 4, up to which half a cloud gives"


def test_the_latent_floor_is_the_variance_of_the_target() -> None:
    s = settings(direction="A→V", target="shuffled", loss="mse_sum", watch=1)
    w = worlds.direction_of(WORLD, s)
    watch = watching.Watch(w, [s], training.Plan.of(w, [s]))
    target = watch.plan.latents[watch.plan.val_targets][0]
    expected = 0.5 * float(target.var(0, correction=0).sum())
    assert float(watch.floor()[0]) == pytest.approx(expected, rel=1e-4)


def test_clouds_and_their_picture() -> None:
    found = synergy.clouds(synergy.EXPERIMENT, **TINY, direction="A→V", target="constant")
    assert set(found) == {"z_i", "ẑ_k", "z_j", "z*"} and {z.shape[1] for z in found.values()} == {TINY["width"]}
    small = {name: z[:20] for name, z in found.items()}
    flat = watching.embedding(small)
    assert flat.groupby("cloud").size().to_dict() == dict.fromkeys(small, 20)
    with pytest.raises(ValueError, match="unknown method"):
        watching.embedding(small, "pca")
    with pytest.raises(ValueError, match="one dimension"):
        watching.embedding({"a": torch.zeros(3, 2), "b": torch.zeros(3, 4)})


# -- the experiment ------------------------------------------------------------------------------------


def test_without_a_latent_loss_nothing_about_it_matters() -> None:
    cube = xl.sweep(
        "synergy",
        **TINY,
        alpha=[0.0, 0.5],
        target=["number", "constant", "none"],
        loss=["mse_sum", "cosine"],
        progress=False,
    )
    bare = cube.accuracy.sel(target="none")
    assert float(abs(cube.accuracy.sel(alpha=0.0) - bare.sel(alpha=0.0)).max()) == 0
    assert float(abs(bare.sel(alpha=0.5) - bare.sel(alpha=0.0)).max()) == 0
    assert cube.accuracy.dims[-1] == "test" and cube.test.values.tolist() == list(views.TESTS)


@pytest.mark.parametrize(("wrong", "why"), [
    ({"direction": "A→V", "target": "number"}, "reads none"), ({"direction": "V→X"}, "unknown direction"),
    ({"alpha": 1.2}, "between 0 and 1"), ({"loss": "mae"}, "unknown loss"), ({"teacher_share": 1.0}, "below 1"),
    ({"severity": 6}, "1, 2, 3, 4 or 5"), ({"architecture": "vit"}, "unknown architecture"),
    ({"weight_decay": -1.0}, "at least 0"), ({"steps": 0}, "at least 1"), ({"target": "prompt"}, "unknown target"),
    ({"dataset": "flowers"}, "unknown dataset"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        synergy.EXPERIMENT.settings(**wrong)
    with pytest.raises(ValueError, match="share the moments"):
        synergy.EXPERIMENT.outputs({**{k: (v,) for k, v in synergy.EXPERIMENT.defaults.items()}, "watch": (2, 3)})


def own_dataset(n: int = 80, text: bool = False) -> xl.Dataset:
    """Pictures and sounds of other sizes, no validation split, no text."""
    rng = torch.Generator().manual_seed(0)

    def split(rows: int) -> xl.Samples:
        y = torch.arange(rows) % 4
        inputs = {"picture": torch.randn(rows, 1, 20, 20, generator=rng) + y.view(-1, 1, 1, 1)}
        inputs["sound"] = torch.randn(rows, 1, 24, 18, generator=rng) + y.view(-1, 1, 1, 1)
        return xl.Samples(inputs, y)

    return xl.Dataset("own", split(n), split(40), classes=tuple("abcd"), kinds={"picture": "image", "sound": "audio"})


def test_it_runs_on_a_dataset_of_ones_own() -> None:
    mine = synergy.experiment(own_dataset(), steps=15, teacher_steps=10)
    cube = xl.sweep(mine, direction=["L→V", "L→A", "V→A", "A→V"], alpha=[0.0, 0.3], progress=False)
    assert not bool(cube.accuracy.isnull().any()) and float(cube.accuracy.max()) > 0.5
    for asked, why in (
        ({"direction": "A→L"}, "needs modalities of kind audio and text"),
        ({"target": "description"}, "does not exist here"),
    ):
        with pytest.raises(ValueError, match=why):
            mine.compute(asked)
    assert "images_per_class" not in mine.defaults


def test_shapes_are_seen_by_convolutions_and_described() -> None:
    cube = xl.sweep(
        "synergy", dataset="shapes", architecture="cnn", resolution=32, steps=4, batch_size=8,
        target=["description", "number"], progress=False,
    )  # fmt: skip
    assert cube.accuracy.shape == (2, 4)
