"""Recipes: each term against its formula, a stack against nets alone, presets against what they stand for."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

import xmodal_lab as xl
from xmodal_lab.models.latents import Seen, see
from xmodal_lab.training.recipe import Objective
from xmodal_lab.training.stacking import fit_stack
from xmodal_lab.training.terms import Context, View

T = xl.terms
ALL = (T.Task(), T.Latent("text"), T.Alignment(), T.Shared("text"), T.Connection("audio", weight=0.1))


@pytest.fixture(scope="module")
def ds() -> xl.Dataset:
    return xl.load("digits", modalities=("image", "audio", "text"))


def net_of(ds: xl.Dataset, seed: int = 0, **options: object) -> xl.LateFusion:
    options = {"architecture": "mlp", "width": 8, "auxiliary": ("text",), **options}
    return xl.LateFusion.for_dataset(ds, ("image", "audio"), seed=seed, **options)


def view(latents: dict[str, torch.Tensor], **given: object) -> View:
    k, b = next(iter(latents.values())).shape[:2]
    plain = {
        "step": 0, "rows": torch.arange(b).expand(k, -1), "labels": torch.zeros(k, b, dtype=torch.long), "inputs": {},
        "masks": {}, "outputs": torch.zeros(k, b, 3, dtype=torch.float64), "settings": {}, "draws": {}, "params": {},
        "states": [None] * k, "memory": {}, "alone": lambda m, x: x,
    }  # fmt: skip
    return View(latents=latents, **{**plain, **given})


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- terms by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse_mean", "mse_sum", "cosine"])
def test_a_latent_target_is_the_papers_loss_and_its_gradient(loss: str) -> None:
    z, target = drawn(2, 5, 4).requires_grad_(), drawn(2, 5, 4, seed=1)
    term = T.Latent("text", loss)
    value = term.value(view({"image": z}, draws={"target": target}, states=[(None, ("image",))] * 2))
    found = torch.autograd.grad(value.sum(), z)[0]
    for k in range(2):
        off = z[k].detach() - target[k]
        if loss == "cosine":
            length = z[k].detach().norm(dim=1, keepdim=True)
            unit, other = z[k].detach() / length, target[k] / target[k].norm(dim=1, keepdim=True)
            cos = (unit * other).sum(1, keepdim=True)
            want, slope = (1 - cos).mean(), -(other - cos * unit) / length / 5
        else:
            share = 4 if loss == "mse_mean" else 1
            want, slope = 0.5 * off.square().sum() / 5 / share, off / 5 / share
        torch.testing.assert_close(value[k].detach(), want)
        torch.testing.assert_close(found[k], slope)


def test_alignment_is_equation_9_with_the_first_batch_as_reference() -> None:
    a, b = drawn(2, 6, 3), drawn(2, 6, 3, seed=1)
    term = T.Alignment(cost="squared_euclidean", target=0.5)
    settings = {"a_align": torch.ones(2), "b_align": torch.tensor([0.5, 2.0], dtype=torch.float64)}
    memory: dict[str, object] = {}
    first = term.value(view({"image": a, "audio": b}, settings=settings, memory=memory))
    d = (a - b).square().sum(-1)
    want = torch.stack([(d[k] - settings["b_align"][k] * d[k].mean()).square().mean() for k in range(2)])
    torch.testing.assert_close(first, want)
    later = term.value(view({"image": 2 * a, "audio": b}, settings=settings, memory=memory))
    moved = (2 * a - b).square().sum(-1)
    want = torch.stack([(moved[k] - settings["b_align"][k] * d[k].mean()).square().mean() for k in range(2)])
    torch.testing.assert_close(later, want)


def test_alignment_of_tokens_and_of_batches_is_optimal_transport() -> None:
    a, b = drawn(1, 2, 4, 3), drawn(1, 2, 4, 3, seed=1)
    masks = {m: torch.ones(1, 2, 4, dtype=torch.bool) for m in ("image", "text")}
    tokens = T.Alignment(cost="squared_euclidean").distance({"image": a, "text": b}, masks)
    for i in range(2):
        w2 = xl.transport.w2(a[0, i], b[0, i])
        torch.testing.assert_close(tokens[0, i, 0], w2.square())
    clouds = T.Alignment(cost="squared_euclidean", over="batch").distance({"image": a[:, 0], "text": b[:, 0]}, {})
    torch.testing.assert_close(clouds[0, 0, 0], xl.transport.w2(a[0, 0], b[0, 0]).square())


def test_a_connection_predicts_one_modality_from_the_others(ds: xl.Dataset) -> None:
    z = {"image": drawn(1, 7, 5).requires_grad_(), "audio": drawn(1, 7, 5, seed=1).requires_grad_()}
    params = {
        f"image.{part}.{kind}": drawn(*shape, seed=i)
        for i, (part, kind, shape) in enumerate(
            [("mean", "weight", (1, 5, 32)), ("mean", "bias", (1, 1, 32)), ("out", "weight", (1, 32, 5)),
             ("out", "bias", (1, 1, 5))]
        )
    }  # fmt: skip
    value = T.Connection("audio").value(view(z, params=params, states=[("audio", ("image",))]))
    norm = lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()  # noqa: E731
    v = norm(z["image"][0].detach()) @ params["image.mean.weight"][0] + params["image.mean.bias"][0]
    out = norm(v.relu() @ params["image.out.weight"][0] + params["image.out.bias"][0])
    torch.testing.assert_close(value[0].detach(), (norm(z["audio"][0].detach()) - out).square().sum(-1).mean())
    image, audio = torch.autograd.grad(value.sum(), (z["image"], z["audio"]), allow_unused=True)
    assert image is None and bool(audio.abs().sum() > 0), "the in-modal features are held fixed"


def test_unpaired_rows_pass_the_shared_part_alone(ds: xl.Dataset) -> None:
    net = net_of(ds, fusion="concat_linear").double()
    x = ds.train.inputs["text"][:4].double()
    alone = net.classify(net.latents({"text": x}), only="text")
    f = net.encoders["text"](x)
    weight = net.fusion.linear.weight
    want = net.head(f @ weight[:, 16:24].T + net.fusion.linear.bias)  # the third block of columns is the text's
    torch.testing.assert_close(alone, want)
    paired = {m: ds.test.inputs[m][:4].double() for m in ("image", "audio")}
    torch.testing.assert_close(see(net, paired).outputs, net(paired))


def test_a_convex_mix_leaves_the_task_the_rest(ds: xl.Dataset) -> None:
    recipe = xl.Recipe((T.Task(), T.Latent("text", weight=0.25)), mix="convex")
    net = net_of(ds)
    train = ds.train.complete(("image", "audio"))
    context = Context(net, ds, ds.train, 0, lambda m, width: net_of(ds))
    both, task = Objective([recipe], [context]), Objective([recipe.with_settings(a_latent=0.0)], [context])
    rows, labels = torch.arange(6)[None], train.labels[None, :6]
    inputs = {m: train.inputs[m][:6] for m in ("image", "audio")}
    seen = see(net, inputs)
    one = Seen({m: z[None] for m, z in seen.latents.items()}, {}, seen.outputs[None])
    losses = []
    for objective in (both, task):
        objective.epoch(rows, labels)
        losses.append(
            objective(slice(0, 6), rows, labels, {m: x[None] for m, x in inputs.items()}, one, lambda m, x: x)
        )
    want = 0.75 * losses[1] + 0.25 * both.seen["latent"][0]
    torch.testing.assert_close(losses[0], want)


# -- training ----------------------------------------------------------------------------------------


def test_the_preset_of_dml_is_fit_with_that_pairing(ds: xl.Dataset) -> None:
    two = xl.load("digits", modalities=("image", "audio"))
    net = xl.LateFusion.for_dataset(two, architecture="mlp")
    plain = xl.fit(net, two, pairing="same_class", share=0.5, epochs=3, seed=4)
    recipe = xl.fit(net, two, recipe=xl.recipes.dml(0.5), epochs=3, seed=4)
    assert plain.history.drop(columns="seconds").equals(recipe.history.drop(columns="seconds"))
    for a, b in zip(plain.model.parameters(), recipe.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("fusion", ["concat_mlp", "additive", "cross_attention"])
def test_a_stack_trains_each_member_as_alone(ds: xl.Dataset, fusion: str) -> None:
    base = xl.Recipe(ALL, "same_class")
    recipes = [base.with_settings(a_latent=0.1 * k, share=k / 3, b_align=k / 3, lam=0.5 + k) for k in range(3)]
    double = ds.to(dtype=torch.float64)
    nets = [net_of(double, seed=k, fusion=fusion) for k in range(3)]
    together = fit_stack(nets, double, recipe=recipes, epochs=2, seed=[0, 1, 2])
    for k, run in enumerate(together):
        alone = xl.fit(nets[k], double, recipe=recipes[k], epochs=2, seed=k)
        off = (alone.history - run.history).drop(columns="seconds").abs().max().max()
        assert off < 1e-8, "float64 sums in another order"
        for a, b in zip(alone.model.parameters(), run.model.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


def test_members_of_a_stack_have_their_own_unpaired_rows(ds: xl.Dataset) -> None:
    """How many rows, and by which names, is prepared for each: a stack of them is each of them alone."""
    terms = [{"shots": 2}, {"shots": 9}, {"relation": "permuted"}]
    recipes = [xl.Recipe((xl.terms.Task(), xl.terms.Shared("text", **t))) for t in terms]  # type: ignore[arg-type]
    nets = [net_of(ds, auxiliary=("text",)) for _ in recipes]
    together = fit_stack(nets, ds, recipe=recipes, epochs=2)
    for net, recipe, run in zip(nets, recipes, together, strict=True):
        alone = xl.fit(net, ds, recipe=recipe, epochs=2)
        assert isinstance(run, xl.Run)
        assert run.history["loss"].tolist() == pytest.approx(alone.history["loss"].tolist(), rel=1e-4)
    with pytest.raises(ValueError, match="differ in their settings alone"):
        other = xl.Recipe((xl.terms.Task(), xl.terms.Shared("text", ratio=2.0)))
        fit_stack(nets[:2], ds, recipe=[recipes[0], other], epochs=1)


def test_a_tower_and_a_net_of_ones_own_take_the_same_recipe(ds: xl.Dataset) -> None:
    shapes = xl.one_tower.with_tokens(xl.load("shapes", n_train=60, n_test=30))
    tower = xl.one_tower.OneTower.for_dataset(shapes, width=8)
    recipe = xl.Recipe((T.Task(), T.Alignment(weight=0.1), T.Shared("text", weight=0.5)))
    run = xl.fit(tower, shapes, recipe=recipe, epochs=1)
    assert run.history[["task", "alignment", "shared"]].notna().all().all()

    class Mine(nn.Module):
        modalities = ("image", "audio")

        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleDict({"image": nn.Linear(64, 6), "audio": nn.Linear(1024, 6)})
            self.head = nn.Linear(6, 10)

        def latents(self, inputs):  # type: ignore[no-untyped-def]
            return {m: self.parts[m](x.flatten(1)).tanh() for m, x in inputs.items()}

        def classify(self, latents, only=None):  # type: ignore[no-untyped-def]
            return self.head(sum(latents.values()) if only is None else latents[only])

        def forward(self, inputs):  # type: ignore[no-untyped-def]
            return self.classify(self.latents({m: inputs[m] for m in self.modalities}))

    run = xl.fit(Mine(), ds, recipe=xl.Recipe((T.Task(), T.Alignment(), T.Shared("audio"))), epochs=1)
    assert {"task", "alignment", "shared"} <= set(run.history)


@pytest.mark.parametrize("kind", ["cross_attention", "one_tower"])
def test_attention_takes_every_term_and_every_look(kind: str) -> None:
    shapes = xl.load("shapes", n_train=60, n_test=30)
    if kind == "one_tower":
        shapes = xl.one_tower.with_tokens(shapes)
        net: nn.Module = xl.one_tower.OneTower.for_dataset(shapes, width=8, layers=1)
    else:
        options: dict[str, object] = {"architecture": "mlp", "width": 8, "auxiliary": ("text",)}
        net = xl.LateFusion.for_dataset(shapes, ("image", "audio"), "cross_attention", **options)  # type: ignore[arg-type]
    terms = (T.Task(), T.Latent("image"), T.Alignment(), T.Shared("text"), T.Connection("audio"))
    run = xl.fit(net, shapes, recipe=xl.Recipe(terms, "same_class"), epochs=2, batch_size=20, snapshots=1)
    assert run.history[[t.called for t in terms]].notna().all().all()
    assert run.history["task"].iloc[-1] < run.history["task"].iloc[0]
    seen = xl.look(
        run, shapes.test, landscape=3, density="block", eigenvalues=2, lpf=0.1, f_gap=[0.5], gap=True, pgd=[0.1],
        missing=0.5, noise=1.0, looks={"rows": lambda model, samples: len(samples)},
    )  # fmt: skip
    lacking = {str(name) for name in seen if seen[name].isnull().any()}
    why = json.loads(seen.attrs["why"])
    # Token ids have no ball around them and take no noise; the other modalities of the same look answer.
    assert lacking == set(why) == (set() if kind == "cross_attention" else {"pgd", "noisy"})
    for name in lacking:
        assert (
            bool(seen[name].sel(modality=["image", "audio"]).notnull().all()) and "'text' holds token ids" in why[name]
        )
    path = xl.along(run, shapes.test, gap=True, trajectory=3)
    assert bool(path.trajectory.notnull().all()) and float(path.w2[-1]) > 0


def test_vilt_takes_the_same_recipe_and_looks() -> None:
    from xmodal_lab.models.vilt import ViltTower

    g = torch.Generator().manual_seed(0)

    def split(n: int) -> xl.Samples:
        pixels, ids = torch.rand(n, 3, 32, 32, generator=g), torch.randint(1, 20, (n, 6), generator=g)
        return xl.Samples({"image": pixels, "text": ids}, torch.arange(n) % 3, kinds={"text": "tokens"})

    ds = xl.Dataset("tiny", split(18), split(9), ("a", "b", "c"), kinds={"text": "tokens"})
    vilt = ViltTower.random(3)
    recipe = xl.Recipe((T.Task(), T.Alignment(weight=0.1), T.Shared("text", weight=0.5)))
    run = xl.fit(vilt, ds, recipe=recipe, epochs=1, batch_size=9)
    assert run.history[["task", "alignment", "shared"]].notna().all().all()
    seen = xl.look(run, ds.test, landscape=3, gap=True)
    assert bool(seen.landscape.notnull().all()) and float(seen.w2) > 0
    with pytest.raises(ValueError, match="class token has seen"):
        vilt.classify(vilt.latents(ds.test.inputs), only="text")


def test_a_term_of_ones_own_is_a_function(ds: xl.Dataset) -> None:
    @T.term("entropy", weight=0.5, setting="a_entropy")
    def entropy(view: View) -> torch.Tensor:
        p = view.outputs.softmax(-1)
        return -(p * p.clamp_min(1e-9).log()).sum(-1).mean(-1)

    recipe = xl.Recipe((T.Task(), entropy))
    assert recipe.settings["a_entropy"] == 0.5
    runs = [xl.fit(net_of(ds), ds, recipe=recipe.with_settings(a_entropy=w), epochs=4) for w in (0.0, 0.5)]
    assert "entropy" not in runs[0].history, "a weight of 0 is never computed"
    assert 0 < runs[1].history["entropy"].iloc[-1] < math.log(10)


# -- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: T.Latent(weight=-0.1), r"a_latent \(latent\) must be at least 0, got -0.1"),
        (lambda: T.Alignment(weight=-1.0), r"a_align \(alignment\) must be at least 0"),
        (lambda: T.Alignment(target=-1.0), r"b_align \(alignment\) must be at least 0"),
        (lambda: T.Shared(weight=-1.0), r"lam \(shared\) must be at least 0"),
        (lambda: T.Connection(weight=-1.0), r"a_connect \(connection\) must be at least 0"),
        (lambda: T.Function(lambda v: v.outputs, "mine", "a_mine", -1.0), "'mine' must be at least 0"),
        (lambda: xl.recipes.wma(0.1).with_settings(a_align=-0.1), "a_align"),
        (lambda: xl.sweep(xl.bench(epochs=1), lam=[0.0, -1.0], progress=False), r"lam .*-1.*at lam=-1"),
        (lambda: xl.Recipe((T.Task(), T.Latent(weight=0.6), T.Alignment(weight=0.6)), mix="convex"), "at most 1"),
        (lambda: xl.recipes.synergy(0.3).with_settings(a_latent=1.1), "at most 1, these give 1.1"),
        (lambda: xl.Recipe((T.Task(), T.Task())), "two terms are called 'task'"),
        (lambda: xl.Recipe((T.Task(), T.Function(lambda v: v.outputs, "task", "a_mine"))), "two terms are called 'task'"),
        (lambda: xl.Recipe(("alignment", T.Alignment(weight=0.5))), "two terms are called 'alignment'"),
        (lambda: xl.Recipe(()), "at least one term"),
        (lambda: xl.Recipe((T.Task(), T.Function(lambda v: v.outputs, "mine", "share"))), "'share' .* is taken"),
        (lambda: xl.Recipe((T.Task(),)).with_settings(a_latent=1.0), "setting of the recipe"),
        (lambda: xl.recipes.synergy(0.3, "X→V"), "direction"),
        (lambda: T.Shared(ratio=0.0), "ratio"),
        (lambda: xl.Recipe((T.Latent(weight=0.5),), mix="convex"), "add xl.terms.Task"),
    ],
)  # fmt: skip
def test_bad_recipes_are_refused(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]


def test_what_the_model_lacks_is_said_before_training(ds: xl.Dataset) -> None:
    image = xl.LateFusion.for_dataset(ds, "image", architecture="mlp")
    both = net_of(ds, auxiliary=())
    for net, term, says in [
        (image, T.Alignment(), "at least two modalities"),
        (image, T.Connection(), "at least two modalities"),
        (both, T.Shared("text"), "modality of term 'shared'"),
        (both, T.Latent("smell"), "teacher of term 'latent'"),
        (image, T.Latent("image"), "nothing to draw"),
        (both, T.Latent(torch.zeros(3, 8)), "one for each"),
        (both, T.Latent("text", kind="paired"), "in every trained"),
        (both, T.Latent("text", of=("smell",)), "smell"),
        (both, T.Connection("smell"), "smell"),
    ]:
        with pytest.raises(ValueError, match=says):
            recipe = xl.Recipe((T.Task(), term), xl.Pairing("fixed", rows="all"))
            xl.fit(net, ds, recipe=recipe, epochs=1)
    with pytest.raises(TypeError, match="lacks latents, classify"):
        plain = nn.Module()
        plain.modalities = ("image",)
        plain.p = nn.Linear(2, 2)
        xl.fit(plain, ds, recipe=xl.recipes.uml(), epochs=1)
    for gives, error, says in [
        (None, TypeError, r"must give \{modality: tensor\}"),
        ({"image": torch.zeros(2, 8)}, ValueError, "gave image, and no 'audio'"),
        ({"image": torch.zeros(2, 8), "audio": torch.zeros(2, 4)}, ValueError, "need"),
        ({"image": torch.zeros(2), "audio": torch.zeros(2)}, ValueError, r"must be \(N, d\)"),
    ]:
        odd = net_of(ds)
        odd.latents = lambda inputs, gives=gives: gives  # type: ignore[method-assign,assignment,misc]
        with pytest.raises(error, match=says):
            xl.fit(odd, ds, recipe=xl.recipes.wma(), epochs=1)
    with pytest.raises(ValueError, match="names its own pairing"):
        xl.fit(both, ds, recipe=xl.recipes.base(), pairing="shuffled", epochs=1)

    @T.term("wrong")
    def wrong(view: View) -> torch.Tensor:
        return view.outputs.sum()

    with pytest.raises(ValueError, match="one number per member"):
        xl.fit(both, ds, recipe=xl.Recipe((T.Task(), wrong)), epochs=1)


# -- presets against the papers' own training ----------------------------------------------------------


def test_the_preset_of_wma_takes_the_steps_of_the_papers_tower() -> None:
    from xmodal_lab.papers import wma
    from xmodal_lab.papers.wma import WmaWorld

    towers = WmaWorld()
    s = {**towers.defaults, "n_train": 60, "n_val": 20, "n_test": 20, "pretraining": 0, "steps": 4, "alpha": 0.7,
         "beta": 0.4, "warmup": 0}  # fmt: skip
    dataset, head = towers.load(s), towers.head(s)
    tower, train = towers.net(s).train(), dataset.train.complete()
    align = wma.Alignment(s["alpha"], s["beta"])
    recipe = xl.recipes.wma(s["alpha"], s["beta"])
    preset = Objective([xl.Recipe(recipe.terms[1:])], [Context(tower, dataset, train, 0, lambda m, width: tower)])
    draw = torch.Generator().manual_seed(1000 * s["seed"] + s["order"])
    steps = torch.optim.AdamW(tower.parameters(), s["lr"], weight_decay=s["weight_decay"])
    for _ in range(4):
        rows = torch.randint(0, len(train), (s["batch_size"],), generator=draw)
        inputs = {m: train.inputs[m][rows] for m in tower.modalities}
        hidden = tower.hidden(inputs)
        papers, _ = align(hidden)
        seen = see(tower, inputs)
        one = Seen({m: z[None] for m, z in seen.latents.items()}, {m: x[None] for m, x in seen.masks.items()},
                   seen.outputs[None])  # fmt: skip
        preset.epoch(rows[None], train.labels[rows][None])
        mine = preset(slice(0, len(rows)), rows[None], train.labels[rows][None], inputs, one, lambda m, x: x)[0]
        torch.testing.assert_close(mine, papers, rtol=1e-5, atol=1e-7)
        params = list(tower.parameters())
        for a, b in zip(
            torch.autograd.grad(mine, params, retain_graph=True, materialize_grads=True, allow_unused=True),
            torch.autograd.grad(papers, params, retain_graph=True, materialize_grads=True, allow_unused=True),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
        steps.zero_grad()
        (papers + head.loss(tower.classify(hidden), head.targets(train)[rows])).backward()
        steps.step()


@pytest.mark.parametrize("loss", ["mse_mean", "cosine"])
def test_the_preset_of_synergy_is_the_loss_of_the_papers_plan(loss: str) -> None:
    from xmodal_lab.models import stacked as nets
    from xmodal_lab.papers import synergy
    from xmodal_lab.papers.synergy.method.training import Plan, latent_losses
    from xmodal_lab.papers.synergy.worlds import direction_of

    experiment = synergy.experiment(images_per_class=10, steps=3, teacher_steps=5, loss=loss, alpha=0.4)
    s = {**experiment.settings(), "target": "same_class", "direction": "A→V"}
    world = direction_of(experiment.world, s)
    plan = Plan.of(world, [s])
    params = nets.start(0, world.x["train"].shape[1:], s["hidden"], world.width, world.classes)
    params = {name: p[None] for name, p in params.items()}
    at = plan.batches[plan.streams, 0]
    z, target = nets.features(params, world.x["train"][at]), plan.latents[plan.targets[:, 0]]
    out = nets.logits(params, z)
    papers = (
        0.6 * nn.functional.cross_entropy(out[0], world.y["train"][at][0]) + 0.4 * (latent_losses(z, target, [loss])[0])
    )
    recipe = xl.recipes.synergy(0.4, "A→V", kind="same_class", loss=loss)
    task, latent = recipe.terms
    seen = view({"image": z}, draws={"target": target}, states=[(None, ("image",))], outputs=out,
                labels=world.y["train"][at])  # fmt: skip
    weight = recipe.weights["latent"]
    torch.testing.assert_close((1 - weight) * task.value(seen)[0] + weight * latent.value(seen)[0], papers)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_the_preset_of_cox_takes_the_steps_of_the_papers_joint_training(seed: int, beta: float) -> None:
    from xmodal_lab.models.stacked import affine
    from xmodal_lab.papers import cox
    from xmodal_lab.papers.cox.method.nets import connections, encode, posterior, start
    from xmodal_lab.papers.cox.method.options import Options
    from xmodal_lab.papers.cox.method.semi import connection_term
    from xmodal_lab.papers.cox.worlds.problem import Split

    g = torch.Generator().manual_seed(seed)
    normed = {m: nn.functional.layer_norm(torch.randn(60, 12, generator=g), (12,)) for m in ("a", "b")}
    split = Split(torch.randn(60, 12, generator=g), normed, torch.arange(60) % 3, None)
    problem = cox.Problem(split, split, "out", ("x", "y", "z"))
    options = Options(seed=seed, width=12, hidden=10, label_share=0.5, connect_weight=0.4, beta_vib=beta)
    params = start(problem, options, [seed]) | connections(problem, options, [seed])
    params = {name: p.clone().requires_grad_() for name, p in params.items()}
    rows = torch.arange(30)[None]
    papers_link = connection_term(problem, [options], rows)

    class Learner(nn.Module):
        modalities = ("a", "b", "out")

        def latents(self, inputs):  # type: ignore[no-untyped-def]
            hidden = affine(params, "learner.1", inputs["out"]).relu() if "out" in inputs else None
            return {m: affine(params, "learner.2", hidden)[0] if m == "out" else x for m, x in inputs.items()}

        def classify(self, latents, only=None):  # type: ignore[no-untyped-def]
            z = latents[only or "out"][None]
            return affine(params, "head", nn.functional.layer_norm(z, z.shape[-1:]))[0]

        def forward(self, inputs):  # type: ignore[no-untyped-def]
            return self.classify(self.latents(inputs))

    learner = Learner()
    learner.register_parameter("one", nn.Parameter(torch.zeros(1)))  # the papers' are in a dict of their own
    train = xl.Samples({"out": problem.train.out, **problem.train.inside}, problem.train.labels)
    ds = xl.Dataset("views", train, train, ("x", "y", "z"))
    recipe = xl.recipes.cox(options.connect_weight, "out", beta_vib=beta / options.connect_weight)
    preset = Objective([recipe], [Context(learner, ds, train, seed, lambda m, width: learner)])
    mine = {n: params[f"connect.{n.partition(':')[2]}"] for n in preset.params}
    assert {n.partition(":")[2]: tuple(p.shape) for n, p in preset.params.items()} == {
        n.removeprefix("connect."): tuple(p.shape) for n, p in params.items() if n.startswith("connect.")
    }
    adam = torch.optim.Adam(params.values(), lr=1e-2)
    dice = torch.Generator().manual_seed(100_003 * (seed + 1) + 7)  # the stream of the papers' noise
    for _ in range(4):
        batch = torch.randint(0, 30, (1, 8), generator=g)
        z = encode(params, problem.train.out[batch])
        nll = nn.functional.nll_loss(posterior(params, z).transpose(1, 2), problem.train.labels[batch])
        papers = (nll + papers_link(params, z, batch))[0]
        inputs = {m: x[batch[0]] for m, x in train.inputs.items()}
        seen = see(learner, inputs)
        one = Seen({m: z[None] for m, z in seen.latents.items()}, {}, seen.outputs[None])
        preset.epoch(batch, train.labels[batch])
        if beta:  # the same noise: a stack of draws by modality, where the recipe draws by row
            noise = torch.stack([torch.randn(8, 32, generator=dice) for _ in ("a", "b")], 1)
            preset.draws["connection"] = {"noise": noise[None]}
        stacked = {m: x[None] for m, x in inputs.items()}
        found = preset(slice(0, 8), batch, train.labels[batch], stacked, one, lambda m, x: x, mine)[0]
        torch.testing.assert_close(found, papers, rtol=2e-5, atol=1e-6)
        both = [torch.autograd.grad(v, list(params.values()), retain_graph=True) for v in (found, papers)]
        for a, b in zip(*both, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)  # features are normalised twice: ε of LayerNorm
        adam.zero_grad()
        papers.backward()
        adam.step()


def test_the_preset_of_uml_is_the_loss_of_the_papers_shared_head() -> None:
    from xmodal_lab.papers.uml.method.nets import logits

    x, y = {m: drawn(6, 4, seed=i) for i, m in enumerate(("image", "text"))}, torch.arange(6) % 3
    params = {"head": drawn(1, 3, 4, seed=9)}

    class Head(nn.Module):
        modalities, auxiliary = ("image",), ("text",)

        def latents(self, inputs):  # type: ignore[no-untyped-def]
            return dict(inputs)

        def classify(self, latents, only=None):  # type: ignore[no-untyped-def]
            return latents[only or "image"] @ params["head"][0].T

    one = torch.ones(1, dtype=torch.float64)
    papers = sum(nn.functional.cross_entropy(logits(params, m, x[m][None], one, {})[0], y) for m in ("image", "text"))
    recipe = xl.recipes.uml(1.0)
    seen = view({"image": x["image"][None]}, outputs=Head().classify(x)[None], labels=y[None],
                draws={"row": torch.arange(6).view(1, 6, 1)}, states=[(x["text"], y, None)],
                alone=lambda m, rows: Head().classify({m: rows[0]}, only=m)[None])  # fmt: skip
    mine = recipe.terms[0].value(seen) + recipe.settings["lam"] * recipe.terms[1].value(seen)
    torch.testing.assert_close(mine[0], papers)
