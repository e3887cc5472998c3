"""wma's regulariser, tasks and towers: a batch by hand, POT, and what settings must and must not change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import ot
import pytest
import torch
from torch.nn import functional as F

import xmodal_lab as xl
from xmodal_lab.models.one_tower import OneTower
from xmodal_lab.models.tokens import Hidden
from xmodal_lab.papers import wma
from xmodal_lab.papers.wma import worlds as tasks

SMALL: dict[str, Any] = {"n_train": 40, "n_val": 40, "n_test": 40, "steps": 12, "pretraining": 0, "data_seed": 0}


def hidden(n: int = 6, seed: int = 0, three: bool = False) -> Hidden:
    """Random output tokens in double precision, with padding in the text."""
    g = torch.Generator().manual_seed(seed)
    counts = {"image": 5, "text": 4} | ({"audio": 3} if three else {})
    tokens = {m: torch.randn(n, k, 6, generator=g, dtype=torch.float64) for m, k in counts.items()}
    masks = {m: torch.ones(n, k, dtype=torch.bool) for m, k in counts.items()}
    masks["text"] = torch.arange(4) < torch.randint(1, 5, (n, 1), generator=g)
    return Hidden(tokens, masks, torch.zeros(n, 6))


# -- Eq 5 to 10 ------------------------------------------------------------------------------------


def test_both_references_of_eq_9_on_a_batch_by_hand() -> None:
    # D = 1, 2, 6, so the batch's mean is 3; the first batch's mean was 4.
    d = torch.tensor([[1.0], [2.0], [6.0]], dtype=torch.float64, requires_grad=True)
    first = torch.tensor([4.0], dtype=torch.float64)
    # α = 2, β = 0.5. first_batch: target 2, off by -1, 0, 4, so 2 · (1 + 0 + 16) / 3.
    text = wma.penalty(d, 2.0, 0.5, first)
    assert float(text.detach()) == pytest.approx(34 / 3)
    (slope,) = torch.autograd.grad(text, d)
    assert slope[:, 0].tolist() == pytest.approx([2 * 2 * (-1) / 3, 0, 2 * 2 * 4 / 3])
    # batch: target 1.5, off by -0.5, 0.5, 4.5, so 2 · (0.25 + 0.25 + 20.25) / 3.
    printed = wma.penalty(d, 2.0, 0.5)
    assert float(printed.detach()) == pytest.approx(2 * 20.75 / 3)
    # Its target moves along: ∂/∂D_i = 2 α/N (off_i - β · mean off), with mean off = 1.5.
    (slope,) = torch.autograd.grad(printed, d)
    assert slope[:, 0].tolist() == pytest.approx([2 * 2 / 3 * (o - 0.5 * 1.5) for o in (-0.5, 0.5, 4.5)])


def test_eq_9_as_printed_is_a_spread_and_a_pull_to_zero() -> None:
    d = torch.rand(50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for beta in (0.0, 0.4, 1.0, 2.0):
        whole = d.var(correction=0) + (1 - beta) ** 2 * d.mean() ** 2
        assert float(wma.penalty(d, 1.0, beta)) == pytest.approx(float(whole))


def test_a_grid_of_alphas_and_betas_is_every_cell_alone() -> None:
    d = torch.rand(4, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alpha, beta = torch.tensor([0.0, 0.1, 1.0, 5.0]), torch.tensor([0.2, 1.0, 1.4, 4.0])
    first = d[:, :4].mean(1)
    for reference in (first, None):
        together = wma.penalty(d, alpha, beta, reference)
        alone = [wma.penalty(d[k], alpha[k], beta[k], None if reference is None else first[k]) for k in range(4)]
        torch.testing.assert_close(together, torch.stack(alone))


@pytest.mark.parametrize("cost", ["cosine", "squared_euclidean"])
def test_distances_are_pots(cost: str) -> None:
    h = hidden()
    found = wma.distances(h, wma.Transport(cost=cost))[:, 0]
    for i in range(len(h.cls)):
        a, b = h.tokens["image"][i], h.tokens["text"][i][h.masks["text"][i]]
        c = 1 - F.cosine_similarity(a[:, None], b[None], dim=-1) if cost == "cosine" else torch.cdist(a, b) ** 2
        exact = ot.emd2(np.full(len(a), 1 / len(a)), np.full(len(b), 1 / len(b)), c.numpy())
        assert float(found[i]) == pytest.approx(exact, rel=1e-6)
    ipot = wma.distances(h, wma.Transport("ipot", cost, steps=3000, step_size=0.5), quiet=True)[:, 0]
    np.testing.assert_allclose(ipot, found, rtol=1e-3)
    blurred = wma.distances(h, wma.Transport("sinkhorn", cost, epsilon=0.5))[:, 0]
    assert bool((blurred >= found - 1e-6).all())
    assert float(blurred.mean()) > float(ipot.mean())


def test_three_modalities_have_three_pairs_and_eq_10_adds_them() -> None:
    h = hidden(three=True)
    assert wma.pairs_of(h) == (("image", "text"), ("image", "audio"), ("text", "audio"))
    d = wma.distances(h)
    alone = Hidden({m: h.tokens[m] for m in ("text", "audio")}, {m: h.masks[m] for m in ("text", "audio")}, h.cls)
    torch.testing.assert_close(d[:, 2], wma.distances(alone)[:, 0])
    first = d.mean(0)
    each = sum(wma.penalty(d[:, k : k + 1], 1.0, 1.4, first[k : k + 1]) for k in range(3))
    torch.testing.assert_close(wma.penalty(d, 1.0, 1.4, first), each)


def test_the_plan_has_uniform_marginals_over_what_is_there() -> None:
    h = hidden()
    plan = wma.plan_of(h, "image", "text")
    np.testing.assert_allclose(plan.sum(2), 1 / 5)
    columns = h.masks["text"] / h.masks["text"].sum(1, keepdim=True)
    np.testing.assert_allclose(plan.sum(1), columns)


def test_alignment_remembers_the_first_batch_and_has_no_parameters() -> None:
    align = wma.Alignment(1.0, 0.0)
    assert not hasattr(align, "parameters")
    first, later = hidden(seed=0), hidden(seed=1)
    align(first)
    value, d = align(later)
    mean = wma.distances(first).mean(0)
    torch.testing.assert_close(align.first, mean)
    torch.testing.assert_close(value, d.square().sum(-1).mean())
    aimed = wma.Alignment(0.5, 1.4)
    aimed.begin(first)
    torch.testing.assert_close(aimed(later)[0], 0.5 * (d - 1.4 * mean).square().mean())
    printed = wma.Alignment(0.5, 1.4, "batch")
    printed.begin(first)
    torch.testing.assert_close(printed(later)[0], 0.5 * (d - 1.4 * d.mean()).square().mean())


# -- tasks -----------------------------------------------------------------------------------------


def test_tasks_are_what_they_say() -> None:
    sizes = {"n_train": 1500, "n_val": 1, "n_test": 2}
    red, both, wrong = (wma.world(t, **sizes).train for t in wma.TASKS)
    colours = ("red", "green", "blue", "yellow", "purple")

    def said(samples: xl.Samples) -> list[tuple[int, int]]:
        z = samples.latents or {}
        words = [[colours.index(w) for w in s.split() if w in colours] for s in samples.strings["text"]]
        return [(w[0], int(c)) for w, c in zip(words, z["color"], strict=True) if w]

    assert all(w == c for w, c in said(red))
    share = np.mean([w == c for w, c in said(wrong)])
    assert 0.53 < share < 0.67, "half are drawn anew, a fifth of those hit"
    z = both.latents or {}
    label = both.labels.bool()
    assert bool((label == (z["image_bit"].bool() ^ (z["opening"] >= 3))).all())
    for half in (z["image_bit"] == 0, z["image_bit"] == 1, z["opening"] < 3, z["opening"] >= 3):
        assert abs(float(label[half].float().mean()) - 0.5) < 0.07, "neither bit alone tells the label"


def test_heads_have_the_papers_metrics() -> None:
    logits, tags = torch.tensor([[2.0, -1.0], [-1.0, 3.0], [1.0, 1.0]]), torch.tensor([[1, 0], [1, 1], [0, 1]])
    # first tag: 1 hit, 1 false alarm, 1 miss; second: 2 hits.
    assert tasks.HEAD["multilabel"].score(logits, tags) == pytest.approx((0.5 + 1.0) / 2)
    assert tasks.HEAD["regression"].score(logits[:, :1], torch.tensor([1.0, -1.0, 3.0])) == pytest.approx(1.0)
    # pairs (positive above negative): 2 > -1, 1 > -1
    assert tasks.HEAD["binary"].score(logits[:, :1], torch.tensor([1, 0, 1])) == 1.0
    for name, head in tasks.HEAD.items():
        if name != "classes":
            world = wma.world("both", name, n_train=30, n_val=2, n_test=30)
            assert head.targets(world.train).shape == ((30, 3) if name == "multilabel" else (30,))
            assert tasks.head_of(world) == name
    assert tasks.head_of(wma.world("red", "classes", n_train=30, n_val=2, n_test=30)) == "classes"


def test_bad_input_is_refused_with_a_remedy() -> None:
    for name, value in (("alpha", -0.1), ("beta", -1.0)):
        with pytest.raises(ValueError, match=rf"{name}, the .*, must be at least 0, got -"):
            wma.EXPERIMENT.settings(**{name: value})
        with pytest.raises(ValueError, match="must be at least 0"):
            wma.penalty(torch.ones(3, 1), **{"alpha": 1.0, "beta": 1.0, name: torch.tensor(value)})
    h = hidden()
    h.masks["text"][4] = False
    for ask in (lambda: wma.distances(h), lambda: wma.plan_of(h, "image", "text")):
        with pytest.raises(ValueError, match=r"all tokens of modality 'text' are masked in 1 of 6 samples \(4\)"):
            ask()
    lone = Hidden({"image": torch.ones(2, 2, 2)}, {"image": torch.ones(2, 2, dtype=torch.bool)}, torch.ones(2, 2))
    with pytest.raises(ValueError, match="at least two modalities"):
        wma.distances(lone)
    with pytest.raises(ValueError, match="unknown transport 'emd'"):
        wma.Transport("emd")
    with pytest.raises(ValueError, match="unknown reference 'running'"):
        wma.Alignment(1, 1, "running")
    with pytest.raises(ValueError, match="at least two modalities, got 'image'"):
        wma.EXPERIMENT.settings(modalities="image")
    with pytest.raises(ValueError, match="missing must lie between 0 and 1"):
        wma.EXPERIMENT.settings(missing=1.1)
    with pytest.raises(ValueError, match="task 'both' has two classes only"):
        wma.world("both", "classes")
    scans = xl.Samples({m: torch.zeros(4, 1, 2, 2, 2) for m in "ab"}, torch.arange(4) % 2)
    scanned = xl.Dataset("scans", scans, scans, ("no", "yes"), scans, {"a": "vector", "b": "vector"})
    with pytest.raises(ValueError, match=r"needs tokens: .* no reader cuts that into tokens"):
        wma.experiment(scanned).settings()
    with pytest.raises(ValueError, match="needs latents"):
        tasks.HEAD["multilabel"].targets(wma.world("red", n_train=4, n_val=2, n_test=4).train)


# -- towers ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cube() -> Any:
    return xl.sweep(
        "wma", **SMALL, alpha=[0.0, 1.0], beta=[0.0, 1.4], order=[0, 1], shown=3, strengths=True, progress=False,
        how="sequential",
    )  # fmt: skip


def test_alpha_moves_d_and_adds_nothing(cube: Any) -> None:
    assert float(abs(cube["added"]).max()) == 0
    ratio = cube["ratio"].isel(order=0, pair=0, step=-1)
    down, up = float(ratio.sel(alpha=1, beta=0)), float(ratio.sel(alpha=1, beta=1.4))
    assert down < float(ratio.sel(alpha=0, beta=0)) < up
    assert float(cube["ratio"].sel(step=0).max()) == pytest.approx(1.0), "before the first step D is D_0"
    np.testing.assert_allclose(cube["ceiling"], 2 / cube["D_0"])
    same = cube["score"].sel(alpha=0)
    np.testing.assert_array_equal(same.sel(beta=0), same.sel(beta=1.4))


def test_another_order_is_another_run_of_the_same_thing(cube: Any) -> None:
    plain = cube["score"].sel(alpha=0, beta=0)
    assert float(abs(plain.sel(order=0) - plain.sel(order=1)).max()) > 0
    again = wma.EXPERIMENT.compute({**SMALL, "order": 1})
    np.testing.assert_allclose(again["score"], plain.sel(order=1))
    assert cube["D_0"].sel(alpha=0, beta=0, order=0) != cube["D_0"].sel(alpha=0, beta=0, order=1), "another first batch"


def test_strengths_start_from_the_papers_tests(cube: Any) -> None:
    np.testing.assert_array_equal(cube["curve"].sel(strength=1.0), cube["score"].sel(split="test"))
    normal = cube["curve"].sel(case="normal")
    assert float((normal - normal.sel(strength=1.0)).max()) == 0
    assert cube["noise_in_sd"].sel(modality="image").min() > 1
    assert cube["plan"].sum(("token_1", "token_2")).values == pytest.approx(1.0)


@pytest.mark.parametrize(
    "change",
    [{"reference": "batch"}, {"cost": "squared_euclidean", "alpha": 1e-3}, {"transport": "ipot"},
     {"transport": "sinkhorn"}, {"modalities": "image+text+audio"}],
    ids=str,
)  # fmt: skip
def test_every_switch_changes_what_is_trained(change: dict[str, Any]) -> None:
    base = {**SMALL, "steps": 4, "alpha": 1.0, "beta": 1.4}
    known = wma.WmaWorld()
    runs = [known.train(wma.EXPERIMENT.settings(**{**base, **extra})) for extra in ({}, change)]
    weights = [run.tower.blocks[0].up.weight for run in runs]
    assert float((weights[0] - weights[1]).detach().abs().max()) > 1e-6
    assert all(bool(torch.isfinite(w).all()) for w in weights)
    assert runs[1].curve.shape[1] == (3 if "modalities" in change else 1)


@pytest.mark.parametrize(("head", "sign"), [("multilabel", 1), ("regression", -1), ("classes", 1)])
def test_every_head_trains(head: str, sign: int) -> None:
    found = wma.EXPERIMENT.compute({**SMALL, "head": head, "steps": 4})
    assert found["gain_sign"] == sign
    assert bool(np.isfinite(found["score"]).all())


def test_pretraining_teaches_words() -> None:
    s = wma.EXPERIMENT.settings(**{**SMALL, "pretraining": 3})
    world = wma.world("both", "binary", ("image", "text"), 60, 1, 2, 0)
    tower = OneTower.for_dataset(world, outputs=1)
    before = {k: v.clone() for k, v in tower.state_dict().items()}
    from xmodal_lab.papers.wma.method.pretraining import masked_words, word_modality

    assert word_modality(tower, world) == ("text", 45)
    masked_words(tower, world.train, "text", 45, 3)
    moved = {k for k, v in tower.state_dict().items() if bool((v != before[k]).any())}
    assert "blocks.0.mix.weight" in moved and "readers.text.table.weight" in moved
    assert not any(k.startswith("head") for k in moved)
    assert s["pretraining"] == 3


def test_a_dataset_of_ones_own() -> None:
    g = torch.Generator().manual_seed(0)

    def split(n: int) -> xl.Samples:
        y = torch.arange(n) % 2
        words = torch.randint(1, 9, (n, 5), generator=g)
        words[:, 3:] = 0
        video = torch.randn(n, 4, 6, generator=g) + y[:, None, None]
        return xl.Samples(
            {"video": video, "text": F.one_hot(words, 9).sum(1).float()}, y, latents={"text:tokens": words}
        )

    own = xl.Dataset("own", split(40), split(40), ("no", "yes"), split(40), {"video": "vector", "text": "text"})
    mine = wma.experiment(own, steps=3, pretraining=2)
    found = xl.sweep(mine, alpha=[0.0, 1.0], progress=False, how="sequential")
    assert found["case"].values.tolist() == ["normal", "video noise", "text noise", "video missing", "text missing"]
    assert bool(np.isfinite(found["score"]).all())
    with pytest.raises(ValueError, match="needs a validation split"):
        wma.experiment(replace(own, val=None)).settings()


def test_the_cases_of_tab_1() -> None:
    assert wma.cases_of("a+b") == ["normal", "a noise", "b noise", "a missing", "b missing"]
