"""The rules on outcomes whose true effect is known: how often each word is said, over 1,000 draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from scipy import stats

from xmodal_lab.claims.steps import Step
from xmodal_lab.claims.verdicts import Measured, at_least, capped, controlled, exact, gain, order, ratio, reads, same
from xmodal_lab.utils.statistics import detectable, fieller, jackknife, mean_interval, seeds_within

DRAWS = 1000
ERROR = 0.05 + 2 * (0.05 * 0.95 / DRAWS) ** 0.5  # 5 %, and what so many draws leave open
SIZES = (5, 10, 20)
EVERY_SIZE = (*SIZES, 40, 60)  # those of the ledger's rows; where one draw costs much, each draw takes one of them


def rates(judge: Callable[[np.random.Generator], Measured], seed: int = 0) -> Mapping[str, float]:
    """How often each word came; "needs …" counts as "needs"."""
    rng = np.random.default_rng(seed)
    words = Counter(judge(rng).verdict.partition(" …")[0] for _ in range(DRAWS))
    short: Counter[str] = Counter()
    for word, count in words.items():
        short["needs" if word.startswith("needs") else word] += count
    return Counter({word: count / DRAWS for word, count in short.items()})


def plain(true: float, n: int, printed: float = 1.0) -> Callable[[np.random.Generator], Measured]:
    return lambda rng: gain(true + rng.standard_normal(n), effect=printed, scale=1)


@pytest.mark.parametrize("n", SIZES)
def test_no_effect_is_seldom_called_one_and_a_printed_effect_seldom_excluded(n: int) -> None:
    none, there = rates(plain(0.0, n)), rates(plain(1.0, n), seed=1)
    assert none["holds"] <= ERROR and none["fails"] <= ERROR
    assert there["smaller than printed"] <= ERROR and there["fails"] <= ERROR
    assert rates(plain(-1.0, n), seed=2)["holds"] <= ERROR


def test_undecided_shrinks_with_n_whatever_is_true() -> None:
    for true in (0.0, 0.5, 1.0):
        undecided = [rates(plain(true, n))["undecided"] for n in (*SIZES, 60)]
        assert undecided == sorted(undecided, reverse=True) and undecided[0] > undecided[-1] + 0.3
    assert rates(plain(0.0, 60))["smaller than printed"] > 0.9, (
        "a null is a finding once the paper's effect is excluded"
    )
    assert rates(plain(1.0, 60))["holds"] > 0.9


def test_a_null_without_a_printed_effect_is_never_a_finding() -> None:
    found = rates(lambda rng: gain(rng.standard_normal(200), scale=1))
    assert found["undecided"] > 0.9 and found["smaller than printed"] == 0
    assert rates(lambda rng: gain(rng.standard_normal(200), sesoi=0.5, scale=1))["smaller than printed"] > 0.9


@pytest.mark.parametrize("n", (*SIZES, 40))
def test_the_smallest_effect_seen_is_seen_in_four_of_five(n: int) -> None:
    size = detectable(1.0, n)
    assert rates(plain(size, n, printed=size))["holds"] == pytest.approx(0.8, abs=0.04)
    shift, edge = size * n**0.5, stats.t.ppf(0.975, n - 1)
    assert stats.nct.sf(edge, n - 1, shift) == pytest.approx(0.8), "the noncentral t itself"


def test_an_effect_that_is_certain_and_tiny_is_smaller_than_printed() -> None:
    assert rates(plain(0.05, 4000))["smaller than printed"] > 0.8
    assert rates(plain(0.5, 60))["holds"] > 0.9, "half the printed effect is an effect"


def test_the_seeds_that_would_decide_do() -> None:
    rng, decided, tries = np.random.default_rng(0), 0, 0
    while tries < 300:
        first = gain(0.3 + rng.standard_normal(5), effect=1.0, scale=1)
        needed = first.steps[0].needed
        if first.verdict != "undecided" or needed is None:
            continue
        assert needed > 5 and f"{needed} seeds would decide" in first.steps[0].said
        tries += 1
        decided += gain(0.3 + rng.standard_normal(needed), effect=1.0, scale=1).verdict != "undecided"
    assert decided / tries > 0.75  # five seeds know the spread within a factor of two only
    assert seeds_within(1.0, 0.5) == 18 and mean_interval(np.array([-1.0, 1.0] * 9))[1] < 0.52
    assert seeds_within(1.0, 1e-9) is None


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 4])
def test_several_steps_refuse_no_more_often_than_one(k: int) -> None:
    def of(true: float) -> Callable[[np.random.Generator], Measured]:
        names = [f"step {i}" for i in range(k)]
        return lambda rng: order(
            dict(zip(names, true + rng.standard_normal((k, rng.choice(EVERY_SIZE))), strict=True)),
            effect=dict.fromkeys(names, 1.0), scale=1,
        )  # fmt: skip

    assert rates(of(0.0))["fails"] <= ERROR
    assert rates(of(1.0), seed=1)["smaller than printed"] <= ERROR
    assert rates(of(0.0), seed=2)["holds"] <= ERROR


@pytest.mark.slow
def test_a_chain_holds_only_if_its_weakest_link_does() -> None:
    """One step has no effect, the others a large one, of whatever rule: "holds" is said as seldom as of that step alone."""

    def of(weak: Callable[[np.random.Generator, int], Measured]) -> Callable[[np.random.Generator], Measured]:
        def chain(rng: np.random.Generator) -> Measured:
            n = int(rng.choice(EVERY_SIZE))
            strong = {"a": 4 + rng.standard_normal(n), "b": at_least(2 + rng.standard_normal(n), margin=1.0, scale=1)}
            return order({**strong, "weak": weak(rng, n)}, scale=1)

        return chain

    for weak in (
        lambda rng, n: gain(rng.standard_normal(n), scale=1),
        lambda rng, n: at_least(-1.0 + rng.standard_normal(n), margin=1.0, scale=1),
        lambda rng, n: same(1.0 + rng.standard_normal(n), margin=1.0, scale=1),
        lambda rng, n: ratio(1 + 0.4 * rng.standard_normal(n), 1 + 0.4 * rng.standard_normal(n)),
    ):
        said = rates(of(weak))
        assert said["holds"] <= ERROR and said["fails"] <= ERROR


@pytest.mark.parametrize("n", SIZES)
def test_ties_and_no_worse_have_to_be_shown(n: int) -> None:
    assert rates(lambda rng: same(1.0 + rng.standard_normal(n), margin=1.0, scale=1))["holds"] <= ERROR
    assert rates(lambda rng: at_least(-1.0 + rng.standard_normal(n), margin=1.0, scale=1))["holds"] <= ERROR
    assert rates(lambda rng: at_least(rng.standard_normal(n), margin=1.0, scale=1))["fails"] <= 0.01


def test_a_refusal_at_its_edge_is_seldom_and_beyond_it_certain() -> None:
    """Where the truth is the margin itself, or the share from which an effect is no longer tiny: 5 % at most."""

    def drawn(rng: np.random.Generator, true: float) -> np.ndarray:
        return true + rng.standard_normal(int(rng.choice(EVERY_SIZE)))

    refusals = {
        "fails": [
            (lambda rng: same(drawn(rng, 1.0), margin=1.0, scale=1), lambda rng: same(drawn(rng, 4.0), margin=1.0, scale=1)),
            (lambda rng: at_least(drawn(rng, -1.0), margin=1.0, scale=1), lambda rng: at_least(drawn(rng, -4.0), margin=1.0, scale=1)),
        ],
        "smaller than printed": [
            (lambda rng: gain(drawn(rng, 5.0), effect=20.0, scale=1), lambda rng: gain(drawn(rng, 2.0), effect=20.0, scale=1)),
        ],
    }  # fmt: skip
    for word, pairs in refusals.items():
        for edge, beyond in pairs:
            assert rates(edge)[word] <= ERROR and rates(beyond)[word] > 0.9, word


def test_no_worse_holds_where_a_win_does_not() -> None:
    assert rates(lambda rng: at_least(rng.standard_normal(20), margin=1.0, scale=1))["holds"] > 0.9
    assert rates(lambda rng: same(rng.standard_normal(20), margin=1.0, scale=1))["holds"] > 0.9
    assert rates(plain(0.0, 20))["holds"] <= ERROR


@pytest.mark.parametrize("n", SIZES)
def test_a_ratio_of_means_needs_no_ratio_in_every_seed(n: int) -> None:
    def of(true: float) -> Callable[[np.random.Generator], Measured]:
        return lambda rng: ratio(true + 0.6 * rng.standard_normal(n), 1 + 0.6 * rng.standard_normal(n), effect=2.0)

    assert rates(of(1.0))["holds"] <= ERROR and rates(of(2.0), seed=1)["smaller than printed"] <= ERROR
    rng = np.random.default_rng(2)
    pairs = [(2 + 0.4 * rng.standard_normal(n), 1 + 0.2 * rng.standard_normal(n)) for _ in range(DRAWS)]
    inside = [b is not None and b[0] < 2.0 < b[1] for b in (fieller(*pair) for pair in pairs)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.025)


def test_more_seeds_say_more_of_a_ratio() -> None:
    def of(n: int) -> Callable[[np.random.Generator], Measured]:
        return lambda rng: ratio(2 + 1.5 * rng.standard_normal(n), 1 + 0.8 * rng.standard_normal(n))

    holds = [rates(of(n))["holds"] for n in (5, 20, 60)]
    assert holds == sorted(holds) and holds[-1] > 0.8
    noisy = ratio([1.0, 2.0, 1.5], [0.1, -0.2, 0.2])
    assert noisy.verdict == "undecided" and noisy.interval is None, "a denominator that may be 0 gives no interval"
    assert ratio([2.0, 2.1, 2.2], [1.0, float("nan"), 1.1]).n == 2


def test_the_jackknife_of_a_mean_is_the_mean_and_of_a_log_ratio_covers() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(7)
    assert jackknife(lambda a: a, values) == pytest.approx(values)
    inside = 0
    for _ in range(DRAWS):
        top, bottom = 3 + rng.standard_normal(20), 1.5 + 0.5 * rng.standard_normal(20)
        mean, half = mean_interval(jackknife(lambda a, b: np.log(a / b), top, bottom))
        inside += abs(mean - np.log(2)) < half
    assert inside / DRAWS == pytest.approx(0.95, abs=0.025)
    with pytest.raises(ValueError, match="columns of one length, at least 2; got lengths"):
        jackknife(lambda a, b: a / b, [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="at least two pairs, got 1"):
        fieller([1.0], [1.0])


def test_a_control_that_shows_as_much_caps_and_a_deaf_instrument_needs() -> None:
    def explained(rng: np.random.Generator) -> Measured:
        return controlled(plain(3.0, 10)(rng), rng.standard_normal(10), "over a constant", scale=1)

    assert rates(explained)["direction holds"] > 0.9 and rates(explained, seed=1)["holds"] <= ERROR
    deaf = rates(lambda rng: reads(plain(0.0, 10)(rng), trained_over_untrained=rng.standard_normal(10), scale=1))
    assert deaf["needs"] > 0.9
    hears = rates(lambda rng: reads(plain(0.0, 60)(rng), trained_over_untrained=2 + rng.standard_normal(60), scale=1))
    assert hears["smaller than printed"] > 0.9


def test_a_world_without_headroom_tells_nothing_of_a_null_but_of_an_effect() -> None:
    flat, up = np.array([0.1, -0.1, 0.05, -0.05, 0.0]), np.array([0.4, 0.5, 0.6, 0.5, 0.4])
    assert gain(flat, effect=1.1, scale=1).verdict == "smaller than printed"
    full = reads(gain(flat, effect=1.1, scale=1), room=0.8)
    assert full.verdict == "needs headroom (0.8 points left, the effect looked for is 1.1)"
    assert reads(gain(flat, effect=1.1, scale=1), room=20).verdict == "smaller than printed"
    assert reads(gain(up, effect=1.1, scale=1), room=0.8).verdict == "holds"
    with pytest.raises(ValueError, match="say what shows that the instrument reads"):
        reads(gain(up))


def test_a_comparison_in_which_nothing_differs_is_none() -> None:
    assert gain(np.zeros(5), effect=1.0).verdict == "needs outcomes that differ: every difference is exactly 0"
    assert same(np.zeros(5), margin=1.0).verdict.startswith("needs outcomes that differ")


def test_a_kept_step_is_judged_again_as_it_was() -> None:
    found = order({"a": [1.0, 2.0, 3.0], "b": at_least([0.1, -0.1, 0.2], margin=1, scale=1)}, scale=1, sesoi={"a": 0.5})
    assert [Step.of(step.row()) for step in found.steps] == list(found.steps)
    assert [s.word for s in found.steps] == ["undecided", "holds"] and found.text.count("(") == 2
    again = found.beside({"a": 9.0})
    assert again.steps[0].word == "smaller than printed" and again.verdict == "smaller than printed"
    old = Step(summary=(1.0, 2.776445 / 5**0.5, 5), effect=2.0)
    assert old.sd == pytest.approx(1.0) and old.word == "undecided"


def test_effects_that_fit_no_step_are_refused() -> None:
    found = order({"a": [1.0, 2.0], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="no step is called 'c'; there are 'a', 'b'"):
        found.beside({"c": 1.0})
    assert found.beside({"c": 1.0}, partial=True).verdict == found.verdict
    with pytest.raises(ValueError, match="give the printed effect of each by name: 'a', 'b'"):
        found.beside(1.0)
    with pytest.raises(ValueError, match="must lie on the claimed side of 0, got -1"):
        gain([1.0, 2.0], effect=-1.0)
    with pytest.raises(ValueError, match="must be one comparison, this one has 2"):
        order({"both": found})
    with pytest.raises(ValueError, match="a rule is one of"):
        Step(rule="guess")
    with pytest.raises(ValueError, match="say why"):
        capped(found, "")
    assert capped(exact(3, 3, "x"), "because").verdict == "direction holds"
