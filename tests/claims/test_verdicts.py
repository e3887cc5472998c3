"""A clear win, a tie and a loss give three different verdicts; intervals against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xmodal_lab import claims
from xmodal_lab.claims.verdicts import (
    Measured,
    exact,
    gain,
    missing,
    order,
    same,
)
from xmodal_lab.utils.statistics import mean_interval

WIN, TIE, LOSS = [0.03, 0.04, 0.05, 0.04, 0.03], [0.03, -0.04, 0.02, -0.01, 0.01], [-0.03, -0.04, -0.05, -0.04, -0.03]


def test_the_interval_is_students() -> None:
    mean, half = mean_interval(WIN)
    low, high = stats.t.interval(0.95, 4, np.mean(WIN), stats.sem(WIN))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        mean_interval(WIN, 1.0)


def test_a_win_a_tie_and_a_loss() -> None:
    assert [gain(d).verdict for d in (WIN, TIE, LOSS)] == ["holds", "undecided", "fails"]
    found = gain(WIN)
    assert found.value == pytest.approx(3.8) and found.n == 5 and found.text.startswith("+3.8 ± 1.0 points")
    assert gain([1e-4, 2e-4], scale=1, unit="nats").text.startswith("+0.00015")


def test_a_control_that_shows_as_much_explains_the_gain() -> None:
    assert gain(WIN, control=WIN).verdict == "holds"
    explained = gain(WIN, control=TIE, control_name="a zero target")
    assert explained.verdict == "direction holds" and "Over a zero target: +" in explained.note
    assert gain(LOSS, control=TIE).verdict == "fails"


def test_steps_hold_together_or_in_part() -> None:
    assert order({"a": WIN, "b": WIN}).verdict == "holds"
    part = order({"a": WIN, "b": [abs(x) if x < -0.03 else x for x in TIE]})
    assert part.verdict == "undecided" and [s.word for s in part.steps] == ["holds", "undecided"]
    assert order({"a": WIN, "b": LOSS}).verdict == "fails"
    assert order({"a": TIE, "b": TIE}).verdict == "undecided"
    with pytest.raises(ValueError, match="at least one"):
        order({})


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_more_steps_the_more_it_takes_to_refute_one(k: int) -> None:
    shape = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    needed = stats.t.ppf(1 - 0.025 / k, 4) * stats.sem(shape)  # Bonferroni: α / k for each of k steps
    for mean, verdict in ((1.02 * needed, "fails"), (0.98 * needed, "undecided")):
        steps = {"refuted?": shape - mean} | {f"step {i}": WIN for i in range(k - 1)}
        assert order(steps).verdict == verdict
    if k == 1:
        assert order({"one": LOSS}).verdict == gain(LOSS).verdict


def test_no_difference_has_to_be_shown_not_assumed() -> None:
    assert same(TIE, margin=10).verdict == "holds"
    assert same(TIE, margin=0.1).verdict == "undecided", "too few seeds to tell is not the same as equal"
    assert same(WIN, margin=1).verdict == "fails"
    with pytest.raises(ValueError, match="above 0"):
        same(TIE, margin=0)


def test_a_theorem_holds_in_all_cases_or_fails() -> None:
    assert exact(10, 10, "designs", worst=1e-12).verdict == "holds"
    assert exact(9, 10, "designs").verdict == "fails"
    with pytest.raises(ValueError, match="between 0 and total"):
        exact(3, 2, "designs")


def test_lost_seeds_are_counted_and_lone_seeds_prove_nothing() -> None:
    found = gain([*WIN, float("nan")])
    assert found.n == 5 and "1 of 6 seeds diverged" in found.note
    assert gain([0.1]).verdict == "undecided" and gain([0.1]).interval is None
    with pytest.raises(ValueError, match="no finite difference"):
        gain([float("nan")])


def test_what_is_missing_is_named() -> None:
    assert missing("ImageNet").verdict == "needs ImageNet"
    with pytest.raises(ValueError, match="say what is needed"):
        missing("")
    with pytest.raises(ValueError, match="a verdict is one of"):
        Measured("great", "")
    assert Measured("holds", "", numbers={"x": np.arange(2)}).numbers == {"x": [0, 1]}


def test_the_text_shows_on_which_side_of_zero_the_interval_ends() -> None:
    spread = np.array([-1.0, 0.0, 1.0, 0.5, -0.5])
    spread *= 1.4630 / mean_interval(spread)[1]
    assert gain(spread - 1.4907, scale=1).text == "-1.49 ± 1.46 points", "with one digit 1.5 ± 1.5, as if 0 were inside"
    assert (
        gain(spread - 1.6, scale=1).text == "-1.6 ± 1.5 points"
        and gain([1.0, 1.0], scale=1).text == "+1.0 ± 0.0 points"
    )


def test_what_is_left_of_equal_numbers_is_no_outcome() -> None:
    found = gain([1.38778e-17, -0.00138889, 0.0, 0.00046, -1.38778e-17])
    assert found.steps[0].outcomes == (0.0, -0.138889, 0.0, 0.046, 0.0)
    alone = gain([1e-17, 2e-17, 3e-17])
    assert min(alone.steps[0].outcomes) > 0, "outcomes that are all small keep what they say"


def test_a_name_with_a_star_is_for_steps_of_other_data_without_a_size_of_their_own() -> None:
    steps = {"SML over image": [0.05, 0.06, 0.05, 0.07], "SML over left": [0.0, 0.001, -0.001, 0.0005]}
    found = order(steps).beside({"SML over image": 5.0, "SML over audio": 28.0}, {"SML over *": 5.0}, partial=True)
    assert [step.target for step in found.steps] == [5.0, 5.0] and found.steps[0].sesoi is None
    assert [step.word for step in found.steps] == ["holds", "smaller than printed"]
    with pytest.raises(ValueError, match="no step is called 'SML over audio'"):
        order(steps).beside({"SML over audio": 28.0}, {"SML over *": 5.0})


def test_dml_states_an_effect_for_modalities_that_the_paper_does_not_have() -> None:
    known = claims.known("dml")
    for name, step in {
        "A": "SML over text", "H": "SML below text", "H5": "SML below text", "LPF": "Δ_LPF: SML below text",
        "P": "text: SML below text",
    }.items():  # fmt: skip
        claim = known[f"dml.{name}"]
        outcomes = order({step: [0.0, 0.001, -0.001, 0.0005]}, unit="points" if name == "A" else "%")
        found = claim.beside(outcomes, partial=True)
        assert (found.steps[0].target or 0) > 0, name
