"""The five presets against the papers' own trainers: each trains twice, once with its own loss, once with the preset's.

Everything else is the paper's (starts, batches, draws, optimiser, scores), so that trained parameters and accuracies
must agree, seed by seed. What may differ is the order of float32's sums; cox also normalises its features twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xmodal_lab as xl
from xmodal_lab.training.terms import TARGETS, View

SEEDS = (0, 1, 2)
Losses = Callable[[dict[str, Tensor], int], Tensor]


def view(latents: Mapping[str, Tensor], outputs: Tensor, labels: Tensor, **given: Any) -> View:
    k, b = outputs.shape[:2]
    plain = {
        "step": 0, "rows": torch.arange(b).expand(k, -1), "inputs": {}, "masks": {}, "settings": {}, "draws": {},
        "params": {}, "states": [None] * k, "memory": {}, "alone": lambda m, x: x,
    }  # fmt: skip
    return View(latents=latents, outputs=outputs, labels=labels, **{**plain, **given})


def in_place_of(monkeypatch: pytest.MonkeyPatch, module: Any, losses: Losses) -> list[int]:
    """The module's descent, with ``losses`` for its own; the list holds its steps."""
    descend, steps = module.descend, list[int]()

    def preset(params: Any, own: Losses, **how: Any) -> Any:
        def counted(now: dict[str, Tensor], step: int) -> Tensor:
            steps.append(step)
            return losses(now, step)

        return descend(params, counted, **how)

    monkeypatch.setattr(module, "descend", preset)
    return steps


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor], start: Mapping[str, Tensor], tolerance: float) -> None:
    """Trained parameters agree, and have moved."""
    for name in start:
        moved = float((a[name] - start[name]).abs().max())
        assert moved > 100 * tolerance, name
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_dml(alpha: float) -> None:
    from xmodal_lab.papers import dml

    experiment = dml.experiment(epochs=3, width=8)
    world = experiment.world
    for seed in SEEDS:
        s = experiment.settings(alpha=alpha, seed=seed)
        papers = experiment.member(dict(s), lambda *_: None)
        names = ("epochs", "batch_size", "lr", "optimizer", "momentum", "weight_decay", "choose", "sam", "swa", "seed")
        recipe = xl.recipes.dml(alpha, pairing=s["pairing"], own=s["own"], rows=s["rows"])
        run = xl.fit(world.net(s), world.load(s), recipe=recipe, **{name: s[name] for name in names})
        assert run.score == papers["accuracy"]
        torch.testing.assert_close(
            torch.tensor(run.history["loss"].to_numpy()), torch.tensor(papers["train_loss_curve"].values),
            rtol=1e-5, atol=1e-6,
        )  # fmt: skip


@pytest.mark.parametrize("loss", ["mse_mean", "cosine"])
@pytest.mark.parametrize(("kind", "target"), [("imperfect", "shuffled"), ("same_class", "same_class")])
def test_synergy(kind: str, target: str, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal_lab.models import stacked as nets
    from xmodal_lab.papers import synergy
    from xmodal_lab.papers.synergy.method import training
    from xmodal_lab.papers.synergy.method.targets import KINDS
    from xmodal_lab.papers.synergy.worlds import direction_of

    assert TARGETS[kind] == (KINDS[target].pool, KINDS[target].rule)
    experiment = synergy.experiment(images_per_class=10, steps=30, teacher_steps=20, loss=loss, alpha=0.4)
    world = direction_of(experiment.world, {**experiment.settings(), "direction": "A→V"})
    members = [{**experiment.settings(seed=seed), "target": target, "direction": "A→V"} for seed in SEEDS]
    plan = training.Plan.of(world, members)
    papers = training.train(world, members, plan, SEEDS)
    recipe = xl.recipes.synergy(0.4, "A→V", kind=kind, loss=loss)
    task, latent = recipe.terms
    weight = recipe.weights["latent"]

    def losses(now: dict[str, Tensor], step: int) -> Tensor:
        at = plan.batches[plan.streams, step]
        z = nets.features(now, world.x["train"][at])
        drawn = {"target": plan.latents[plan.targets[:, step]]}
        states = [(None, ("image",))] * len(SEEDS)
        seen = view({"image": z}, nets.logits(now, z), world.y["train"][at], draws=drawn, states=states)
        return (1 - weight) * task.value(seen) + weight * latent.value(seen)

    steps = in_place_of(monkeypatch, training, losses)
    start: dict[str, Tensor] = {}

    def begin(step: int, now: dict[str, Tensor]) -> None:
        if step == 0:
            start.update({n: p.detach().clone() for n, p in now.items()})

    preset = training.train(world, members, plan, SEEDS, begin)
    assert steps == list(range(30))
    same(preset, papers, start, 1e-5)
    scores = [training.accuracy(params, world.x["clean"], world.y["test"]) for params in (preset, papers)]
    assert torch.equal(*scores) and len(set(scores[0].tolist())) > 1


@pytest.mark.parametrize("reference", ["first_batch", pytest.param("batch", marks=pytest.mark.slow)])
def test_wma(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal_lab.papers.wma import WmaWorld, worlds
    from xmodal_lab.papers.wma.method import towers

    world = WmaWorld()
    asked = {**world.defaults, "head": "classes", "n_train": 60, "n_val": 20, "n_test": 40, "pretraining": 0,
             "steps": 8, "alpha": 0.7, "beta": 0.4, "warmup": 2, "width": 16, "reference": reference}  # fmt: skip
    recipe = xl.recipes.wma(asked["alpha"], asked["beta"], reference=reference)
    task, align = recipe.terms

    class Preset(towers.Alignment):
        """The paper's class, whose penalty is the preset's."""

        def __call__(self, hidden: Any) -> tuple[Tensor, Tensor]:
            self.memory = getattr(self, "memory", {})
            latents = {m: z[None] for m, z in hidden.tokens.items()}
            masks = {m: x[None] for m, x in hidden.masks.items()}
            outputs = next(iter(hidden.tokens.values())).new_zeros(1, len(next(iter(hidden.masks.values()))), 1)
            seen = view(latents, outputs, outputs[..., 0], masks=masks, memory=self.memory,
                        settings={n: torch.tensor([v]) for n, v in align.settings.items()})  # fmt: skip
            return recipe.weights["alignment"] * align.value(seen)[0], towers.distances(hidden, quiet=True)

    def crossed(z: Tensor, y: Tensor) -> Tensor:
        return task.value(view({}, z[None], y[None]))[0]

    for seed in SEEDS:
        s = {**asked, "seed": seed}
        papers = world.train(s)
        with monkeypatch.context() as here:
            here.setattr(towers, "Alignment", Preset)
            here.setitem(worlds.HEAD, "classes", replace(worlds.HEAD["classes"], loss=crossed))
            preset = towers._trained.__wrapped__(world, tuple(s.items()), report=lambda *_: None)
        assert preset is not papers
        start = dict(world.net(s).named_parameters())
        a, b = (dict(found.tower.named_parameters()) for found in (preset, papers))
        used = {n: p.detach() for n, p in start.items() if float((b[n] - p).detach().abs().max()) > 1e-3}
        assert len(used) > 10
        same({n: p.detach() for n, p in a.items()}, {n: p.detach() for n, p in b.items()}, used, 1e-5)
        torch.testing.assert_close(preset.curve, papers.curve, rtol=1e-4, atol=1e-5)
        scores = [towers.tested(t.tower, world.load(s).test, world.head(s), s) for t in (preset, papers)]
        torch.testing.assert_close(*map(torch.tensor, scores), rtol=0, atol=1e-6)


def test_uml(monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal_lab.papers import uml
    from xmodal_lab.papers.uml.method import training
    from xmodal_lab.papers.uml.method.nets import logits
    from xmodal_lab.papers.uml.method.schedules import batches

    draw = torch.Generator().manual_seed(0)
    code, maps = torch.randn(4, 5, generator=draw), {m: torch.randn(5, 8, generator=draw) for m in ("image", "text")}

    def split(count: int) -> dict[str, tuple[Tensor, Tensor]]:
        y = torch.arange(4).repeat(count)
        return {m: (code[y] @ maps[m] + 1.5 * torch.randn(len(y), 8, generator=draw), y) for m in maps}

    data = uml.unpaired(split(12), split(30), split(4))
    heads = [uml.Head(steps=40, lam=0.7, shots=4, aux_shots=8, seed=seed) for seed in SEEDS]
    papers = uml.train_heads(data, heads, device="cpu")
    recipe = xl.recipes.uml(0.7)
    task, shared = recipe.terms
    plan = training._Plan(data, heads, {})
    rows = [plan.rows(head) for head in heads]
    drawn = {m: batches([r[m] for r in rows], heads, m) for m in ("image", "text")}
    scales = torch.tensor([head.logit_scale for head in heads])

    def losses(now: dict[str, Tensor], step: int) -> Tensor:
        at = drawn["image"][:, step, 0]
        x, y = data.train["image"]
        aux = data.train["text"]
        seen = view(
            {}, logits(now, "image", x[at], scales, {}), y[at], draws={"row": drawn["text"][:, step, 0, :, None]},
            states=[(*aux, None)] * len(heads), alone=lambda m, rows: logits(now, m, rows, scales, {}),
        )  # fmt: skip
        return task.value(seen) + recipe.weights["shared"] * shared.value(seen)

    start = {n: p.clone() for n, p in plan._start(heads, rows).items()}
    steps = in_place_of(monkeypatch, training, losses)
    preset = uml.train_heads(data, heads, device="cpu")
    assert steps == list(range(40))
    for k, (mine, theirs) in enumerate(zip(preset, papers, strict=True)):
        same(mine.params, theirs.params, {n: p[k] for n, p in start.items()}, 1e-5)
        assert (mine.accuracy, mine.val_accuracy) == (theirs.accuracy, theirs.val_accuracy)
        assert mine.loss == pytest.approx(theirs.loss, abs=1e-5)
    assert len({t.accuracy for t in papers}) > 1


def test_cox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its joint training without exploration, which is what the preset carries of the paper; see its docstring."""
    from xmodal_lab.models.stacked import affine
    from xmodal_lab.papers import cox
    from xmodal_lab.papers.cox.method import nets, semi
    from xmodal_lab.papers.cox.method.anchors import labelled_rows
    from xmodal_lab.papers.cox.method.options import Options
    from xmodal_lab.papers.cox.worlds.problem import Split
    from xmodal_lab.utils.random import Streams

    draw = torch.Generator().manual_seed(0)
    code, y = torch.randn(3, 12, generator=draw), torch.arange(90) % 3

    def noisy(size: float) -> Tensor:
        return code[y] + size * torch.randn(90, 12, generator=draw)

    inside = {m: nn.functional.layer_norm(noisy(0.5), (12,)) for m in ("a", "b")}
    train, test = (Split(noisy(2.0), inside, y, None) for _ in range(2))
    problem = cox.Problem(train, test, "out", ("x", "y", "z"))
    members = [
        Options(seed=seed, staging="joint", exploration=False, label_share=0.5, connect_weight=0.4, width=12, hidden=10,
                steps=25, batch=16) for seed in SEEDS
    ]  # fmt: skip

    def unwatched(step: int, params: Mapping[str, Tensor]) -> None:
        pass

    papers = semi.train_semi(problem, members, unwatched)
    recipe = xl.recipes.cox(0.4, "out")
    task, connection = recipe.terms
    streams = Streams(list(SEEDS), 4, problem.device)
    rows = torch.stack([labelled_rows(y, 0.5, seed) for seed in SEEDS])

    def losses(now: dict[str, Tensor], step: int) -> Tensor:
        batch = rows.gather(1, streams.integers(rows.shape[1], (16,)))
        hidden = affine(now, "learner.1", train.out[batch]).relu()
        z = affine(now, "learner.2", hidden)
        outputs = affine(now, "head", nn.functional.layer_norm(z, z.shape[-1:]))
        own = {n.removeprefix("connect."): p for n, p in now.items() if n.startswith("connect.")}
        latents = {"out": z, **{m: x[batch] for m, x in train.inside.items()}}
        seen = view(latents, outputs, y[batch], params=own, states=[("out", ("a", "b"))] * len(SEEDS))
        return task.value(seen) + recipe.weights["connection"] * connection.value(seen)

    start = nets.start(problem, members[0], list(SEEDS)) | nets.connections(problem, members[0], list(SEEDS))
    steps = in_place_of(monkeypatch, semi, losses)
    preset = semi.train_semi(problem, members, unwatched)
    assert steps == list(range(25))
    # Features are normalised twice, ε each: 1e-5 of a feature, which Adam's steps of 1e-3 carry on.
    same(preset.params, papers.params, start, 1e-4)
    right = []
    for found in (preset, papers):
        now = {n: p.detach() for n, p in found.params.items()}
        right.append((nets.posterior(now, nets.encode(now, test.out)).argmax(-1) == y).double().mean(1))
    assert torch.equal(*right) and len(set(right[0].tolist())) > 1
