"""cox: training on views that no dataset here has; every switch changes what is trained."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

import xmodal_lab as xl
from xmodal_lab.claims.claim import Conditions
from xmodal_lab.claims.verdicts import VERDICTS
from xmodal_lab.models.stacked import affine
from xmodal_lab.papers import cox
from xmodal_lab.papers.cox import member as bench
from xmodal_lab.papers.cox.claims import arms
from xmodal_lab.papers.cox.claims import rows as claims
from xmodal_lab.papers.cox.method import nets, staged
from xmodal_lab.papers.cox.method.nets import connect, connections, mapped, optimal_classifiers
from xmodal_lab.papers.cox.method.scoring import agreement_accuracy, in_modal_posterior, retrieval
from xmodal_lab.papers.cox.worlds import perceptors, sources
from xmodal_lab.utils.random import Streams

NAMES = ("touch", "sight", "word", "smell")
SMALL: dict[str, Any] = {
    "steps": 18, "hidden": 12, "width": 8, "batch": 12, "refresh": 12, "lr": 0.01, "connect_steps": 24,
}  # fmt: skip
LEARNS = SMALL | {"steps": 100, "connect_steps": 300}


@pytest.fixture(autouse=True)
def _short_heads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The h_k* are fitted many times in a run; a few steps do for switches."""
    if "logistic" not in request.node.name and "learns" not in request.node.name:
        monkeypatch.setattr(nets, "HEAD_STEPS", 6)


def views(n: int = 120, classes: int = 3, seed: int = 0) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Each view a noisy turn of the class's place; widths differ, one view has a second axis."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    causes = torch.eye(classes)[labels] * 2 + 0.5 * torch.randn(n, classes, generator=g)
    found = {}
    for i, m in enumerate(NAMES):
        turn = torch.randn(classes, 6 + i, generator=torch.Generator().manual_seed(i))
        found[m] = causes @ turn + 0.5 * torch.randn(n, 6 + i, generator=g)
    found["word"] = found["word"].reshape(n, 2, 4)
    return found, labels


def problem(out: str = "touch", inside: tuple[str, ...] | None = ("sight", "word"), **options: Any) -> cox.Problem:
    given, labels = views()
    return cox.of_views(given, labels, out, inside=inside, **options)


def weights(found: cox.Outcome) -> torch.Tensor:
    return torch.cat([p.flatten() for name, p in found.params.items() if name.startswith(("learner", "head"))])


@pytest.mark.once
@pytest.mark.parametrize(("out", "scenario"), list(zip(NAMES, ["semi", "unsupervised"] * 2, strict=True)))
def test_any_view_may_be_out_and_three_may_be_in(out: str, scenario: str) -> None:
    p = problem(out, None)
    assert len(p.inside) == 3 and out not in p.inside
    found = cox.run(p, scenario=scenario, **SMALL)
    assert 0 <= found.accuracy <= found.relabelled <= 1
    assert found.curves["mmd"].shape == (6, 3)
    assert found.disagree is not None and found.disagree.shape == (len(p.train),)


def test_cox_learns_where_the_views_tell_the_class() -> None:
    p = problem(test_share=0.5)
    found = cox.run(p, label_share=0.2, **LEARNS)
    assert found.accuracy > 0.8
    assert cox.run(p, algorithm="aligned", **LEARNS).accuracy > 0.8
    assert cox.run(p, algorithm="random", **SMALL).accuracy < found.accuracy


@pytest.mark.parametrize("scenario", ["semi", "unsupervised"])
@pytest.mark.parametrize("method", ["cox", "moco"])
def test_a_stack_trains_as_its_members_do_alone(scenario: str, method: str) -> None:
    p = problem()
    asked = [
        cox.Options(scenario=scenario, algorithm=method, seed=s, explore_weight=w, **SMALL)
        for s, w in ((0, 0.1), (4, 0.5))
    ]
    for alone, together in zip([cox.run(p, o) for o in asked], cox.run_stack(p, asked), strict=True):
        assert torch.allclose(weights(alone), weights(together), atol=1e-4)
        assert alone.accuracy == together.accuracy


@pytest.mark.once
@pytest.mark.parametrize(
    ("scenario", "change"),
    [
        ("semi", {"connection": False}), ("semi", {"exploration": False}), ("semi", {"control": "scrambled"}),
        ("semi", {"control": "pairs"}), ("semi", {"rule": "self"}), ("semi", {"rule": "random"}),
        ("semi", {"control": "own"}), ("semi", {"staging": "joint"}), ("semi", {"connect_steps": 2}),
        ("semi", {"rounds": 1}), ("semi", {"beta_vib": 0.5}), ("semi", {"algorithm": "erm"}), ("semi", {"algorithm": "entmin"}),
        ("semi", {"algorithm": "ssl"}), ("semi", {"algorithm": "moco"}), ("semi", {"label_share": 0.3}),
        ("unsupervised", {"warmup": False}), ("unsupervised", {"exploration": False}),
        ("unsupervised", {"connection": False}), ("unsupervised", {"control": "oracle"}),
        ("unsupervised", {"anchors": 0.3}), ("unsupervised", {"balance": True}), ("unsupervised", {"rounds": 1}),
    ],
)  # fmt: skip
def test_every_switch_changes_what_is_trained(scenario: str, change: dict[str, Any]) -> None:
    asked = {"scenario": scenario, "explore_weight": 1.0, **SMALL, **change}
    assert not torch.allclose(weights(whole(scenario)), weights(cox.run(problem(), **asked)), atol=1e-3)


@lru_cache
def whole(scenario: str) -> cox.Outcome:
    return cox.run(problem(), scenario=scenario, explore_weight=1.0, **SMALL)


@pytest.mark.parametrize("scenario", ["semi", "unsupervised"])
def test_the_same_seed_gives_the_same_run(scenario: str) -> None:
    again = cox.run(problem(), scenario=scenario, explore_weight=1.0, **SMALL)
    assert torch.equal(weights(whole(scenario)), weights(again))


@pytest.mark.once
def test_switches_leave_out_what_they_name() -> None:
    p = problem()
    assert not any(name.startswith("connect") for name in cox.run(p, connection=False, **SMALL).params)
    off, weightless = cox.run(p, exploration=False, **SMALL), cox.run(p, explore_weight=0.0, **SMALL)
    assert torch.allclose(weights(off), weights(weightless), atol=1e-5)
    erm = cox.run(p, algorithm="erm", **SMALL)
    joint = cox.run(p, staging="joint", connection=False, exploration=False, **SMALL)
    assert torch.allclose(weights(erm), weights(joint))
    late = cox.run(p, explore_from=1.0, **SMALL)
    assert torch.allclose(weights(erm), weights(late), atol=1e-5), "until the split, a staged run is its ERM"
    assert torch.allclose(weights(erm), weights(cox.run(p, algorithm="entmin", entropy_weight=0.0, **SMALL)))
    cold = cox.run(p, scenario="unsupervised", warmup=False, **SMALL)
    assert "warmup_right" not in cold.numbers
    oracle = cox.run(p, scenario="unsupervised", control="oracle", **SMALL)
    assert oracle.numbers["warmup_right"] == cox.run(p, scenario="unsupervised", **SMALL).numbers["warmup_right"]


def test_before_exploration_both_arms_are_the_same_run() -> None:
    p = problem()
    asked = {"explore_from": 0.5, "explore_weight": 1.0, **SMALL}
    whole, off = cox.run(p, **asked), cox.run(p, exploration=False, **asked)
    for name in ("agree_before", "disagree_before", "disagreement_before"):
        assert whole.numbers[name] == pytest.approx(off.numbers[name], nan_ok=True)


def test_the_bottleneck_s_divergence_is_that_of_its_normals() -> None:
    p, options = problem(), cox.Options(beta_vib=1.0, **SMALL)
    params = connections(p, options, [0])
    z = p.train.inside["sight"]
    _, kl = connect(params, "sight", z)
    mean, log_variance = (affine(params, f"connect.sight.{part}", z) for part in ("mean", "spread"))
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    assert torch.allclose(kl, expected, atol=1e-4)
    drawn = [connect(params, "sight", z, Streams([0], 1))[0] for _ in range(2)]
    assert torch.equal(*drawn) and not torch.allclose(drawn[0], connect(params, "sight", z)[0])
    squeezed = cox.run(p, **SMALL | {"beta_vib": 10.0, "connect_steps": 100}).params
    still = {name: v[None] for name, v in squeezed.items()}
    assert float(connect(still, "sight", z)[1].mean()) < float(kl.mean())


def test_optimal_classifiers_classify_like_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    given, labels = views(300)
    x = given["touch"]
    head = optimal_classifiers(x[None], labels, 3)
    ours = (affine(head, "h", x)[0].argmax(-1) == labels).float().mean()
    theirs = LogisticRegression(max_iter=1000).fit(x.numpy(), labels.numpy()).score(x.numpy(), labels.numpy())
    assert float(ours) == pytest.approx(theirs, abs=0.02)


def test_without_connection_features_are_taken_as_they_are_or_turned() -> None:
    p = problem()
    v = mapped(p, cox.Options(connection=False, **SMALL | {"width": 7}), {"one": torch.zeros(2, 1)})
    assert v.shape == (2, 2, len(p.train), 7)
    z = p.train.inside["sight"]
    assert torch.allclose(v[0, 0], torch.nn.functional.layer_norm(z, (7,)), atol=1e-5)


def test_scores_by_hand() -> None:
    assert cox.best_relabelling(torch.tensor([1, 1, 0, 0]), torch.tensor([0, 0, 1, 0]), 2) == 0.75
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert retrieval(p, p) == (1.0, 1.0)
    assert retrieval(p, p.flip(0), torch.tensor([0, 1, 1]))[0] == pytest.approx(1 / 3)
    right, wrong = agreement_accuracy(
        torch.tensor([[0, 1, 1]]), torch.tensor([0, 1, 0]), torch.tensor([[False, False, True]])
    )
    assert (float(right), float(wrong)) == (1.0, 0.0)
    said = in_modal_posterior(problem())
    assert torch.allclose(said.sum(-1), torch.ones(len(said)))


@pytest.mark.parametrize("perceptor", cox.PERCEPTORS)
def test_perceptors_are_frozen_features_of_the_training_split(perceptor: str) -> None:
    p = problem(perceptor=perceptor, **({} if perceptor == "given" else {"steps": 3, "width": 5}))
    assert all(z.shape[1] == 5 for z in p.train.inside.values()) or perceptor == "given"
    for z in p.train.inside.values():
        assert not z.requires_grad
        assert float(z.mean().abs()) < 1e-4
    again = problem(perceptor=perceptor, **({} if perceptor == "given" else {"steps": 3, "width": 5}))
    assert torch.equal(p.train.inside["sight"], again.train.inside["sight"])


def test_binding_brings_pairs_together() -> None:
    given, labels = views(90)
    samples = xl.Samples({m: given[m] for m in ("sight", "touch")}, labels)
    kinds = {"sight": "vector", "touch": "vector"}

    def right(steps: int) -> float:
        z = cox.perceive([samples], kinds, ("sight", "touch"), "bound", classes=3, steps=steps, width=6)
        return float(xl.metrics.recall_at_k(z["sight"][0], z["touch"][0], 5))

    assert right(80) > right(0) + 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: problem(inside=("sight",)), "at least two in-modal modalities, got 1"),
        (lambda: cox.of_views({m: v for m, v in views()[0].items() if m in NAMES[:2]}, views()[1], "touch"), "at least two"),
        (lambda: problem(out="taste"), "unknown modality 'taste'"),
        (lambda: cox.Options(scenario="semi", label_share=0.0), "label_share is 0"),
        (lambda: cox.Options(scenario="unsupervised", algorithm="erm"), "learns from labels"),
        (lambda: cox.Options(label_share=0.0, algorithm="entmin"), "learns from labels"),
        (lambda: cox.Options(rule="best"), "unknown matching rule"),
        (lambda: cox.Options(control="oracles"), "unknown control"),
        (lambda: cox.Options(staging="at once"), "unknown staging"),
        (lambda: cox.Options(staging="joint", control="own"), "control 'own' is one of staging='staged'"),
        (lambda: bench.EXPERIMENT.settings(shared=0.5), "shared=0.5 is a dial of dataset 'halves'"),
        (lambda: bench.EXPERIMENT.settings(unbalance=0.5), "at least 1, got 0.5"),
        (lambda: cox.Options(anchors=0), "anchors must be above 0"),
        (lambda: cox.run(problem(), scenario="unsupervised", anchors=80, **SMALL), r"T = 80 anchors .* agree on \d+ of"),
        (lambda: cox.run(problem(), share=0.1), "unknown option of cox 'share'"),
        (lambda: cox.run(problem(), cox.Options(), seed=1), "not both"),
        (lambda: cox.run_stack(problem(), [cox.Options(), cox.Options(algorithm="erm")]), "may differ only in"),
        (lambda: cox.run_stack(problem(), []), "nothing to run"),
        (lambda: cox.of_views(views()[0], views()[1], "touch", test_labels=views()[1]), "or neither"),
        (lambda: cox.of_views(views()[0], views()[1].float(), "touch"), "class labels"),
        (lambda: cox.of_views(views()[0], views()[1] * 2, "touch"), "class '1' has no training row"),
        (lambda: problem(perceptor="clip"), "unknown perceptor"),
        (lambda: bench.EXPERIMENT.settings(inside="image"), "at least two in-modal"),
        (lambda: bench.EXPERIMENT.settings(dataset="gaussian"), "unknown dataset"),
        (lambda: bench.EXPERIMENT.settings(steps=3), "steps must be at least 5, got 3"),
    ],
)  # fmt: skip
def test_bad_input(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_aligned_needs_its_features() -> None:
    p = problem()
    bare = replace(p, train=replace(p.train, aligned=None))
    with pytest.raises(ValueError, match=r"Split\.aligned|algorithm 'aligned' needs"):
        cox.run(bare, algorithm="aligned", **SMALL)


# -- sweeps and claims -----------------------------------------------------------------------------------------------


def own_dataset() -> xl.Dataset:
    given, labels = views(90)
    three = {m: given[m] for m in NAMES[:3]}
    whole = xl.Samples(three, labels)
    return xl.Dataset("senses", whole.subset(slice(0, 60)), whole.subset(slice(60, 90)), ("a", "b", "c"))


def test_a_sweep_over_ones_own_views() -> None:
    mine = bench.CoxWorld(own_dataset()).experiment(perceptor="given", **SMALL)
    cube = xl.sweep(mine, out=["touch", "sight"], algorithm=["erm", "cox"], seed=[0, 1], points=20, progress=False)
    assert cube["accuracy"].shape == (2, 2, 2)
    assert cube["kind"].shape[-1] == 20
    assert bool(np.isfinite(cube["mmd"].sel(algorithm="cox")).all())
    assert bool(np.isnan(cube["mmd"].sel(algorithm="erm")).all())
    assert set(np.unique(cube["kind"].sel(algorithm="cox"))) <= {0, 1, 2}


def test_baselines_do_not_depend_on_what_only_cox_has() -> None:
    base = bench.EXPERIMENT
    one, two = base.settings(algorithm="erm", rule="self", beta_vib=1.0), base.settings(algorithm="erm")
    assert base.normal is not None and base.normal(one) == base.normal(two)


@pytest.mark.once
def test_every_claim_of_the_paper_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {"T1", "S", "SE", "U", "UB", "R", "M", "D1", "D2", "A", "P"}
    assert {claim.id.removeprefix("cox.") for claim in claims.CLAIMS} == ids
    small = SMALL | {"steps": 6, "perceptor_steps": 2, "connect_steps": 4, "rounds": 1}
    made = bench.CoxWorld.experiment
    monkeypatch.setattr(bench.CoxWorld, "experiment", lambda self, **how: made(self, **how | small))
    monkeypatch.setattr(claims, "LOOKED_AT", (2, 4))
    conditions = Conditions(dataset=own_dataset(), seeds=(0, 1))
    for claim in claims.CLAIMS:
        found = claim.measure(conditions)
        assert found.verdict.startswith(VERDICTS), claim.id
        assert found.text
        assert claim.trained is (claim.id != "cox.T1")
    assert claims.CLAIMS[0].measure(conditions).verdict == "fails"


def test_a_seed_of_the_ledger_draws_the_data_too() -> None:
    made: list[tuple[Any, dict[str, Any]]] = []

    class Seen(Conditions):
        def sweep(self, experiment: Any, **axes: Any) -> Any:
            import xarray as xr

            made.append((experiment, axes))
            return xr.Dataset({"accuracy": (("out", "seed"), np.arange(10.0)[None])}, {"out": axes["out"]})

    found = arms.of(Seen(seeds=tuple(range(100, 110))), algorithm="erm")
    experiment, axes = made[0]
    # Not held fixed by the row, so that the conditions may draw the data by the seed.
    assert "data_seed" in experiment.defaults and "data_seed" not in axes
    assert found.tolist() == list(range(10))


# -- worlds and anchors ----------------------------------------------------------------------------------------------


def test_halves_are_of_one_picture_as_often_as_asked() -> None:
    whole, none, some = (sources.load_world("halves", 0, shared) for shared in (1.0, 0.0, 0.4))
    assert whole.modalities == sources.names_of("halves")
    assert torch.equal(whole.train.inputs["upper"], none.train.inputs["upper"])
    same = [(d.train.inputs["lower"] == whole.train.inputs["lower"]).flatten(1).all(1) for d in (none, some)]
    assert float(same[0].float().mean()) < 0.02 and float(same[1].float().mean()) == pytest.approx(0.4, abs=0.06)
    drawn = whole.train.inputs["lower"].flatten(1)
    for row in (0, 7):  # another row of the same class
        match = (drawn == none.train.inputs["lower"][row].flatten()).all(1)
        assert bool((whole.train.labels[match] == whole.train.labels[row]).all()) and bool(match.any())


def test_uneven_classes_have_the_ratio_that_was_asked() -> None:
    counts = torch.bincount(sources.load_world("halves", 0, 1.0, 5.0).train.labels)
    assert int(counts.max()) == int(counts[0]) == 90 and float(counts[0] / counts[-1]) == pytest.approx(5, rel=0.05)
    assert bool((counts.diff() <= 0).all())


def test_one_list_for_all_classes_loses_classes_and_one_of_each_does_not() -> None:
    g = torch.Generator().manual_seed(0)
    label = torch.arange(60) % 3
    sure = torch.tensor([6.0, 3.0, 1.5])[label][:, None] * torch.eye(3)[label]
    scores = torch.stack([(sure + 0.1 * torch.randn(60, 3, generator=g)).softmax(-1) for _ in range(2)])
    assert cox.top_agreed(scores, 12).labels.unique().tolist() == [0]
    balanced = cox.top_agreed(scores, 12, balance=True)
    assert torch.bincount(balanced.labels).tolist() == [4, 4, 4]
    assert bool((balanced.score.diff() <= 0).all())
    points, mapped = torch.randn(30, 4, generator=g), torch.randn(2, 30, 4, generator=g)
    mapped[:, 10:] += 50  # far from every point, so no class but the first is near
    near = cox.emergent(points, mapped, torch.arange(30) // 10, 9, balance=True)
    assert torch.bincount(near.labels).tolist() == [3]


def test_rows_that_change_places_say_the_same() -> None:
    groups = torch.tensor([[0, 1, 0, 1, 1, 0, 2], [1, 1, 1, 0, 0, 0, 0]])
    moved = staged._within(groups, Streams([0, 1], 3))
    assert torch.equal(groups.gather(1, moved), groups)
    assert torch.equal(moved.sort(-1).values, torch.arange(7).expand(2, -1))
    assert not torch.equal(moved, torch.arange(7).expand(2, -1))


def test_scores_tell_a_learner_from_a_guess_of_the_largest_class() -> None:
    given, labels = views(120)
    keep = (labels == 0) | (torch.arange(120) < 30)
    p = cox.of_views({m: v[keep] for m, v in given.items()}, labels[keep], "touch", inside=["sight", "word"])
    guess = cox.run(p, algorithm="random", **SMALL)
    assert guess.majority == pytest.approx(float((p.test.labels == 0).float().mean()))
    assert 1 <= guess.predicted <= 3 and 0 <= guess.balanced <= 1
    learned = cox.run(p, algorithm="erm", **SMALL | {"steps": 60})
    each = [float((learned.predictions[p.test.labels == k] == k).float().mean()) for k in range(3)]
    assert learned.balanced == pytest.approx(np.mean(each))


def test_perceptors_are_trained_once_for_all_sweeps_of_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim goes over its ten data seeds again and again, on two splits; a memory of eight forgot each in time."""
    trained = []

    def drawn(name: str, seed: int, *dials: float) -> xl.Dataset:
        given, labels = views(seed=seed)
        samples = xl.Samples({m: given[n] for m, n in zip(("upper", "lower", "audio"), NAMES, strict=False)}, labels)
        return xl.Dataset("views", samples, samples, ("a", "b", "c"), val=samples)

    monkeypatch.setattr(bench, "load_world", drawn)
    monkeypatch.setattr(perceptors, "_supervise", lambda net, *rest: trained.append(net))
    asked: dict[str, Any] = {
        "dataset": "halves",
        "out": "upper",
        "data_seed": None,
        "seed": list(range(10)),
        "steps": 5,
    }
    experiment = bench.CoxWorld().experiment()
    for split in ("test", "val", "test", "val"):
        xl.sweep(experiment, algorithm="random", split=split, progress=False, **asked)
    assert len(trained) == 2 * 10 * 2, "two perceptors of each draw, for each split"
