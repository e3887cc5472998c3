"""cox: Theorem 1 against brute force, sets and anchors by hand, switches that change what is trained."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from xmodal_lab.papers import cox
from xmodal_lab.papers.cox.claims import traps
from xmodal_lab.papers.cox.theory.terms import Y, bayes

# -- Theorem 1 -----------------------------------------------------------------------------------------------------


def brute_information(p: np.ndarray, a: tuple[int, ...], b: tuple[int, ...], given: tuple[int, ...] = ()) -> float:
    """I(A; B | G) = Σ p log [p(g) p(a, b, g) / p(a, g) p(b, g)], cell by cell."""

    def marginal(cell: tuple[int, ...], axes: tuple[int, ...]) -> float:
        return sum(p[c] for c in itertools.product(*map(range, p.shape)) if all(c[i] == cell[i] for i in axes))

    total = 0.0
    for cell in itertools.product(*map(range, p.shape)):
        if p[cell] > 0:
            top = marginal(cell, given) * marginal(cell, a + b + given)
            total += p[cell] * math.log(top / (marginal(cell, a + given) * marginal(cell, b + given)))
    return total


@pytest.mark.parametrize("seed", [0, 1])
def test_terms_are_those_of_the_sums_over_all_cells(seed: int) -> None:
    p = np.random.default_rng(seed).dirichlet(np.full(24, 0.5)).reshape(2, 3, 2, 2)
    t = cox.terms(p)
    x1, x2, xo, y = range(4)
    unique = brute_information(p, (xo,), (y,), (x1, x2))
    first, second = brute_information(p, (xo,), (y,), (x1,)), brute_information(p, (xo,), (y,), (x2,))
    overall = brute_information(p, (xo,), (y,))
    joint = [brute_information(p, (xo, x2), (y,), (x1,)), brute_information(p, (xo, x1), (y,), (x2,))]
    assert float(t.overall) == pytest.approx(overall, abs=1e-12)
    assert float(t.unique) == pytest.approx(unique, abs=1e-12)
    assert float(t.common) == pytest.approx(overall - first - second + unique, abs=1e-12)
    assert float(t.eq11_joint) == pytest.approx(sum(joint) + 2 * unique, abs=1e-12)
    # Fig 3: the four parts make up the whole, and Eq 11 with these parts is Eq 12.
    assert float(t.shared_1 + t.shared_2 + t.unique + t.common) == pytest.approx(overall, abs=1e-12)
    assert float(t.shared_1 + t.shared_2 + 2 * t.unique) == pytest.approx(float(t.eq12), abs=1e-12)
    h1, h2 = p.sum((1, 2)).argmax(1), p.sum((0, 2)).argmax(1)
    apart = sum(p.sum((2, 3))[a, b] for a in range(2) for b in range(3) if h1[a] != h2[b])
    assert float(t.disagreement) == pytest.approx(apart, abs=1e-12)
    best = 1 - p.max(3).sum()
    assert float(t.errors[3]) == pytest.approx(best, abs=1e-12)
    assert float(cox.terms(p, "bits").eq12) == pytest.approx(float(t.eq12) / math.log(2), abs=1e-12)


@pytest.mark.parametrize("flip", [0.1, 0.3, 0.45])
def test_the_counterexample_in_closed_form(flip: float) -> None:
    t = cox.terms(cox.counterexample(flip))
    assert float(t.disagreement) == pytest.approx(2 * flip * (1 - flip))
    assert float(t.eq12) == pytest.approx(0, abs=1e-12)
    assert not bool(t.holds("eq12"))
    assert math.isinf(float(t.constant)), "predictions differ where the errors do not: no constant exists"
    assert t.errors.tolist() == pytest.approx([flip] * 4)
    told = cox.terms(cox.counterexample(flip, coupling=1.0))
    assert float(told.overall) == pytest.approx(math.log(2))
    assert bool(told.holds("eq12"))


def test_ties_go_to_the_same_class_whoever_decides() -> None:
    p = cox.counterexample(0.3)
    assert bool((bayes(p, (-4, -3)) == bayes(p, (-4, -3, -2))).all())
    assert Y == -1


def test_with_its_constants_the_bound_holds_and_without_it_does_not() -> None:
    table = cox.rates(cases=300).set_index(["family", "values"])
    assert (table["repaired"] == 1).all()
    assert table["eq12"].max() == 1
    assert table["eq12"].min() == 0
    assert (table["eq12 in bits"] >= table["eq12"]).all()
    assert table.loc[("X_O useless", 2), "bound"] == pytest.approx(0, abs=1e-9)


def test_the_lesson_cube_holds_the_counterexample() -> None:
    cube = cox.counterexample_cube()
    here = cube.sel(flip=0.3, coupling=0.0)
    assert float(here["disagreement"]) == pytest.approx(0.42)
    assert float(here["eq12"]) == pytest.approx(0, abs=1e-12)
    assert cube["eq12"].attrs["units"] == "nats"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cox.terms(torch.ones(2, 2, 2)), "shape"),
        (lambda: cox.terms(torch.ones(2, 2, 2, 2)), "sum to 1"),
        (lambda: cox.terms(cox.counterexample(), "bytes"), "unknown unit"),
        (lambda: cox.terms(cox.counterexample()).holds("eq13"), "unknown bound"),
        (lambda: cox.draw("uniform", 3), "unknown family"),
        (lambda: cox.draw("X_O useless", 3, size=1), "size must be at least 2"),
        (lambda: cox.counterexample(1.2), "between 0 and 1"),
    ],
)
def test_bad_distributions(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


# -- anchors -------------------------------------------------------------------------------------------------------

BY_HAND = torch.tensor([
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05]],
    [[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]],
])  # fmt: skip


def test_agreed_and_confident_by_hand() -> None:
    """Rows 0, 2 and 3 are agreed, with mean confidence 0.65, 0.70 and 0.70."""
    found = cox.top_agreed(BY_HAND, 3)
    assert found.available == 3
    assert sorted(found.rows.tolist()) == [0, 2, 3]
    assert found.rows[-1] == 0
    assert found.score.tolist() == pytest.approx([0.7, 0.7, 0.65])
    assert dict(zip(found.rows.tolist(), found.labels.tolist(), strict=True)) == {0: 0, 2: 0, 3: 2}


def test_more_anchors_than_agreed_rows_says_how_many_there_are() -> None:
    with pytest.raises(ValueError, match="agree on 3 of 5 rows; ask for at most 3"):
        cox.top_agreed(BY_HAND, 4)
    with pytest.raises(ValueError, match="K ≥ 2"):
        cox.top_agreed(BY_HAND[:1], 1)


def test_emergent_pairs_by_hand() -> None:
    """Point 1 is at (1, 0) and in-modal row 0 is mapped to (1, 0) and (1, 0.2): mean distance 0.1."""
    points = torch.tensor([[5.0, 5.0], [1.0, 0.0], [0.0, 2.0]])
    mapped = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.2], [0.0, 3.0]]])
    found = cox.emergent(points, mapped, torch.tensor([7, 4]), 2)
    assert found.rows.tolist() == [1, 2]
    assert found.labels.tolist() == [7, 4]
    assert found.partners.tolist() == [0, 1]
    assert found.score.tolist() == pytest.approx([-0.1, -1.0])
    with pytest.raises(ValueError, match="there are 3 points"):
        cox.emergent(points, mapped, torch.tensor([7, 4]), 4)
    with pytest.raises(ValueError, match="do not fit"):
        cox.emergent(points, mapped[..., :1], torch.tensor([7, 4]), 1)


def test_labelled_rows_are_balanced() -> None:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    rows = cox.labelled_rows(labels, 0.15, seed=3)
    assert torch.bincount(labels[rows]).tolist() == [5, 5, 5]
    assert torch.bincount(labels[cox.labelled_rows(labels, 1.0)]).tolist() == [20, 20, 20]
    assert len(set(rows.tolist())) == 15
    with pytest.raises(ValueError, match="label_share is 0"):
        cox.labelled_rows(labels, 0.0)
    with pytest.raises(ValueError, match="class 1 has no row"):
        cox.labelled_rows(torch.tensor([0, 2]), 0.5)


# -- matching ------------------------------------------------------------------------------------------------------


def match(labels: list[int], own: list[float] | None = None) -> cox.Match:
    """One member, one point: h_1* says class 0, h_2* class 2; anchors have ``labels``."""
    scores = torch.tensor([[[[0.8, 0.1, 0.1]]], [[[0.1, 0.1, 0.8]]]], dtype=torch.float64).log()
    mine = torch.tensor([[own or [0.1, 0.8, 0.1]]], dtype=torch.float64).log()
    anchors = torch.arange(len(labels), dtype=torch.float64)[None, :, None]
    return cox.Match(
        scores, mine, torch.tensor([[[2.2]]], dtype=torch.float64), anchors, torch.tensor([labels]),
        torch.ones(1, len(labels), dtype=torch.bool), lambda high, shape: torch.zeros(1, *shape, dtype=torch.long),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "weights"),
    [
        ("predicted", [0.25, 0.25, 0.0, 0.5]),  # classes 0 and 2 alike, two anchors of class 0
        ("self", [0.0, 0.0, 1.0, 0.0]),
        ("random", [0.5, 0.5, 0.0, 0.0]),
        ("all", [1 / 6, 1 / 6, 1 / 3, 1 / 3]),
        ("nearest", [0.0, 1 / 3, 1 / 3, 1 / 3]),
        ("soft", [0.225, 0.225, 0.1, 0.45]),
        ("confident", [0.5, 0.5, 0.0, 0.0]),
    ],
)
def test_rules_by_hand(rule: str, weights: list[float]) -> None:
    assert cox.match_weights(rule, match([0, 0, 1, 2]))[0, 0].tolist() == pytest.approx(weights)


def test_a_rule_of_ones_own_and_one_that_is_none() -> None:
    second = cox.match_weights(lambda m: torch.eye(4, dtype=torch.float64)[None, 1:2], match([0, 0, 1, 2]))
    assert second[0, 0].tolist() == [0, 1, 0, 0]
    with pytest.raises(ValueError, match="weights of classes"):
        cox.match_weights(lambda m: torch.ones(2), match([0, 1]))
    with pytest.raises(ValueError, match="unknown matching rule"):
        cox.match_weights("best", match([0, 1]))


def test_a_class_that_no_anchor_has() -> None:
    with pytest.raises(ValueError, match="class 2 has no anchor"):
        cox.match_weights("predicted", match([0, 0, 1]))
    assert cox.match_weights("predicted", match([0, 0, 1]), "skip")[0, 0].tolist() == pytest.approx([0.5, 0.5, 0.0])
    assert cox.match_weights("self", match([0, 0, 2]), "skip").sum() == 0


def test_exploration_is_the_mean_divergence_to_the_matched_anchors() -> None:
    g = torch.Generator().manual_seed(0)
    own = torch.randn(2, 3, 4, generator=g, dtype=torch.float64).log_softmax(-1)
    anchors = torch.randn(2, 5, 4, generator=g, dtype=torch.float64).log_softmax(-1)
    weights = torch.zeros(2, 3, 5, dtype=torch.float64)
    weights[0, 0, :2] = 0.5
    weights[0, 2, 4] = 1.0

    def kl(p: torch.Tensor, q: torch.Tensor) -> float:
        return float(torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum"))

    first = 0.5 * kl(own[0, 0], anchors[0, 0]) + 0.5 * kl(own[0, 0], anchors[0, 1])
    expected = (first + kl(own[0, 2], anchors[0, 4])) / 2
    found = cox.exploration(own, anchors, weights)
    assert found.tolist() == pytest.approx([expected, 0.0])


# -- traps ---------------------------------------------------------------------------------------------------------


def test_traps_come_out_of_the_published_tables() -> None:
    apart = traps.ablation_against_retrieval()
    assert apart[apart.apart > 0][["setting", "modality"]].values.tolist() == [["semi-supervised", "Vid"]]
    beaten = traps.not_the_best()
    assert beaten[beaten.source == "cox Tab 2"][["dataset", "modality", "COX", "its value"]].values.tolist() == [
        ["LLVIP", "Lan", 56.4, 57.8]
    ]
    chance = traps.chance_levels().set_index(["dataset", "metric"])
    assert chance.loc[("MSR-VTT", "R@5"), "value"] == pytest.approx(
        chance.loc[("MSR-VTT", "R@5"), "k / classes, %"], abs=1
    )


def test_the_printed_upper_bound_lacks_entropies() -> None:
    table = traps.upper_bound_of_eq7(50)
    assert (table["holds"] == 0).all()
    assert (table["left"] >= -1e-12).all() and (table["right"] < 0).all()
