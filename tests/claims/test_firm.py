"""How firm a word is: what the rows promise of other seeds is what other seeds give."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import xmodal_lab as xl
from xmodal_lab.app import main as cli
from xmodal_lab.claims import firm, ledger, page
from xmodal_lab.claims.measured import Measured
from xmodal_lab.claims.verdicts import at_least, controlled, exact, gain, missing, order, ratio, reads, same

RULES = {
    "win": lambda x: gain(x, scale=1, effect=0.8),
    "tie": lambda x: same(x, scale=1, margin=0.6),
    "no worse": lambda x: at_least(x, scale=1, margin=0.6),
    "ratio": lambda x: ratio(3 + x, np.full_like(x, 3.0), effect=1.3),
    "control": lambda x: controlled(gain(x, scale=1, effect=0.8), x - 0.3, "over a control", scale=1),
    "reading": lambda x: reads(gain(x - 0.5, scale=1, effect=0.8), scale=1, trained_over_untrained=x),
    "chain": lambda x: order({"a": x, "b": x[::-1] + 0.4}, scale=1, effect={"a": 0.8, "b": 0.8}),
}


def outcomes(mean: float, n: int = 20) -> np.ndarray:
    """Of mean ``mean`` and standard deviation 1, exactly."""
    noise = np.random.default_rng(3).standard_normal(n)
    return mean + (noise - noise.mean()) / noise.std(ddof=1)


def share(measured: Measured, draws: int = 400, seed: int = 0) -> float:
    return firm.again(measured, np.random.default_rng(seed), draws)[firm.plain_word(measured.verdict)] / draws


@pytest.mark.parametrize("rule", RULES)
def test_so_many_words_come_again_as_the_rows_promise(rule: str) -> None:
    """Truths all over, a run of each and a second one: the mean promise is the rate, within 3.3 standard errors."""
    rng, judge = np.random.default_rng(5), RULES[rule]
    promised, kept = [], []
    for n, at in zip([5, 20] * 60, rng.uniform(-6, 6, 120), strict=True):
        truth = at / n**0.5
        first, second = (judge(truth + rng.standard_normal(n)) for _ in range(2))
        promised.append(share(first, 12, int(rng.integers(1_000_000))))
        kept.append(firm.plain_word(first.verdict) == firm.plain_word(second.verdict))
    error = (np.var(kept) + np.var(promised) / 12) ** 0.5 / len(kept) ** 0.5
    assert abs(np.mean(promised) - np.mean(kept)) < 3.3 * error, (np.mean(promised), np.mean(kept))


def test_the_next_mean_is_students_and_wider_than_a_bootstrap_has_it() -> None:
    n = 8
    x = np.random.default_rng(0).standard_normal((n, 2))
    rng = np.random.default_rng(1)
    drawn = np.array([np.mean(firm._others(x, rng), axis=1) for _ in range(4000)])
    scale = x.std(0, ddof=1) * (2 / n) ** 0.5
    for k in (0, 1):
        known = stats.t(n - 1, x.mean(0)[k], scale[k])
        assert stats.kstest(drawn[:, k], known.cdf).pvalue > 1e-3
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(np.corrcoef(x.T)[0, 1], abs=0.08), "seeds are drawn for both"


def test_a_word_at_an_edge_is_likely_to_turn_and_one_far_from_it_is_not() -> None:
    half = 2.093 / 20**0.5  # of the interval, in sd
    far, edge = (gain(outcomes(mean), scale=1, effect=2.0) for mean in (5 * half, 1.02 * half))
    assert far.verdict == edge.verdict == "holds"
    assert share(far) > 0.98 and 0.4 < share(edge) < 0.6


def test_what_has_no_seeds_does_not_turn() -> None:
    none = exact(3, 4, "cases")
    assert firm.again(none, np.random.default_rng(0), 3) == Counter({"fails": 3})
    for lacking in (none, missing("a pair")):
        row = ledger.judged(lacking) | {"id": "mine.x"}
        assert firm.firmness(row) is None and "again" not in firm.with_firmness(row | {"again": 0.3})
    still = gain([0.0] * 5, scale=1, effect=1.0)  # every difference is 0, in every draw too
    assert share(still, 5) == 1.0


def test_comparisons_that_lost_seeds_are_drawn_too() -> None:
    lost = order({"a": outcomes(0.5), "b": outcomes(0.5, 12)}, scale=1)
    runs = list(firm._runs(lost, np.random.default_rng(0), 4))
    assert [step.n for step in runs[0].steps] == [20, 12]
    assert len({run.steps[1].value for run in runs}) == 4


def test_how_many_of_some_words_are_expected() -> None:
    shares = [0.9, 0.5, 0.99, 0.7]
    mean, low, high = firm.agreeing(shares)
    drawn = (np.random.default_rng(0).random((20_000, 4)) < shares).sum(1)
    assert mean == pytest.approx(3.09) and (low, high) == tuple(np.quantile(drawn, [0.025, 0.975]))
    assert firm.agreeing([1.0, 1.0]) == (2.0, 2, 2)


def test_how_likely_the_shipped_words_are() -> None:
    found = xl.claims.firmness(ids=["uml", "dml.T1"], draws=30)
    assert set(found["id"]) <= {i for i in xl.claims.known("uml") if not i.startswith("uml.T1")}
    assert found["again"].between(0, 1).all() and found.attrs["agreement"] == pytest.approx(found["again"].mean())
    assert not (found["other"] == found["word"]).any()
    for asked, why in (({"ids": "dml.T1", "draws": 5}, "kept its outcomes"), ({"draws": 0}, "draws must be at least 1"),
                       ({"rows": pd.DataFrame({"id": ["a"]})}, "keep no steps")):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            xl.claims.firmness(**asked)


def test_the_shipped_ledger_says_how_firm_its_words_are(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ledger.shipped()
    firm_rows = {i: row for i, row in rows.items() if any(s.get("outcomes") for s in row["steps"])}
    assert {i for i, row in rows.items() if "again" in row} == set(firm_rows)
    for i in ("uml.X", "synergy.A2"):
        known = firm.firmness(rows[i])
        assert known is not None and rows[i]["again"] == pytest.approx(known[0], abs=1e-3), "the rules of now"
    assert cli.main(["claims", "--paper", "wma"]) == 0
    assert "With as many other seeds" in capsys.readouterr().out
    said = page.expected(rows.values())
    assert f"of the {len(firm_rows)} words that rest on seeds" in said
    assert said in page.render(rows.values()) and page.expected([rows["dml.T1"]]) == ""
