"""Claims on a dataset within a given time: what two seeds cost, how many each row gets, and what is left out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import xmodal_lab as xl
from xmodal_lab.app import main as cli
from xmodal_lab.claims import fitting, seeds
from xmodal_lab.claims import page as pages
from xmodal_lab.claims.claim import Claim, Conditions
from xmodal_lab.claims.verdicts import Measured, gain, missing

MINE = xl.Dataset.from_arrays({"a": torch.arange(40.0).reshape(20, 2)}, [0, 1] * 10, name="mine")


def quick(c: Conditions) -> Measured:
    return gain(np.random.default_rng(list(c.seeds)).normal(0.1, 0.01, len(c.seeds)), note="as it was")


def endless(c: Conditions) -> Measured:
    while len(c.seeds):
        sum(range(10_000))
    return quick(c)


def at_its_end(c: Conditions) -> Measured:
    raise RuntimeError("of two seeds nothing can be said")


def lacking(c: Conditions) -> Measured:
    return missing("a modality")


def claims(*of: tuple[str, Any], **more: Any) -> list[Claim]:
    return [Claim(f"mine.{name}", "It gains.", "Tab 1", "", measure, **more) for name, measure in of]


def named(*names: str, **more: Any) -> list[Claim]:
    return claims(*((name, quick) for name in names), **more)


# -- the numbers of seeds ----------------------------------------------------------------------------


def test_a_seed_that_costs_more_gets_a_row_fewer_of_them() -> None:
    assert [seeds.counts_of(s)[0] for s in (0.0, 2.0, 2.1, 10.0, 29.0, 31.0)] == [60, 60, 20, 20, 10, 5]
    assert seeds.counts_of(1.0) == (60, 20, 10, 5) and seeds.counts_of(1.0, "full") == (120, 40, 20, 10)
    assert list(seeds.SECONDS) == list(seeds.SEEDS), "one rule for the table and for what is tried"


def test_with_time_enough_each_row_gets_its_number() -> None:
    plan = fitting.fitted(named("a", "b", "c"), {"mine.a": 0.2, "mine.b": 6.0, "mine.c": 100.0}, 60.0, "quick")
    assert [(fit.count, fit.usual, fit.why) for fit in plan.values()] == [(60, 60, ""), (20, 20, ""), (5, 5, "")]


def test_rows_that_share_sweeps_get_one_number_by_what_they_cost_together() -> None:
    three = named("a", "b", "c", shares="one sweep")
    plan = fitting.fitted(three, {"mine.a": 23.98, "mine.b": 0.01, "mine.c": 0.01}, 60.0, "quick")
    assert {fit.count for fit in plan.values()} == {20}, "12 s a seed, 4 s a row"
    assert [fit.seconds for fit in plan.values()] == pytest.approx([12.0] * 3)
    alone = fitting.fitted(named("a"), {"mine.a": 24.0}, 60.0, "quick")
    assert alone["mine.a"].count == 10


def test_a_row_that_lacks_data_says_so_even_where_what_shares_its_sweeps_is_left_out() -> None:
    found = {"mine.a": 0.0, "mine.b": 100.0, "mine.c": 0.01}
    plan = fitting.fitted(named("a", "b", "c", shares="one sweep"), found, 3.0, "quick")
    assert [fit.count for fit in plan.values()] == [5, 0, 0] and plan["mine.a"].why == ""
    assert plan["mine.b"].seconds == pytest.approx(50.005)


def test_rows_of_one_grid_say_that_they_share_it() -> None:
    """Else the cost of all goes to the first, and where that is left out another pays what nobody reckoned with."""
    known = xl.claims.known()
    for rows in (("wma.N", "wma.X", "wma.Y", "wma.O"), ("uml.A", "uml.X")):
        assert len({known[name].shares for name in rows}) == 1 and known[rows[0]].shares


def test_where_time_ends_none_has_more_than_twenty_and_then_the_dearest_are_left_out() -> None:
    found = {"mine.a": 2.0, "mine.b": 8.0, "mine.c": 9.0, "mine.d": 20.0}
    counts = {m: [fit.count for fit in _plan(found, m).values()] for m in (12.0, 6.0, 3.4, 2.5, 1.5)}
    assert counts[12.0] == [60, 20, 20, 20]
    assert counts[6.0] == [20, 20, 20, 10], "what remains goes to what was left out, with fewer seeds"
    assert counts[3.4] == [20, 20, 10, 0] and counts[2.5] == [20, 20, 0, 0] and counts[1.5] == [20, 5, 0, 0]
    few, none = _plan(found, 3.4)["mine.c"], _plan(found, 2.5)["mine.d"]
    assert few.why.startswith("10 seeds, not 20: a seed takes 4.5 s of one core, with what it shares, and all had to")
    assert none.why.startswith("Left out: a seed takes 10 s of one core, with what it shares, and 5 seeds did not fit")


def _plan(found: dict[str, Any], minutes: float) -> dict[str, fitting.Fit]:
    return fitting.fitted(named(*(name[5:] for name in found)), found, minutes, "quick")


@pytest.mark.parametrize("minutes", [0.2, 1.0, 5.0, 30.0, 200.0])
def test_no_plan_is_longer_than_what_was_given(minutes: float) -> None:
    rng = np.random.default_rng(int(10 * minutes))
    for _ in range(50):
        many = [Claim(f"mine.x{i}", "x", "Tab 1", "", quick, shares=("", "s", "t")[i % 3]) for i in range(9)]
        found = {c.id: float(rng.lognormal(1, 2)) for c in many}
        found = {name: s if s < 60 * minutes * fitting.SHARE else None for name, s in found.items()}
        plan = fitting.fitted(many, found, minutes, "quick")
        tried = sum(fit.tried for fit in plan.values())
        spent = sum(plan[c.id].count * (found[c.id] or 0) / 2 for c in many)
        assert spent == 0 or tried + spent <= 60 * minutes * (1 + 1e-9)
        assert all(fit.count <= fit.usual and (fit.count or fit.why) for fit in plan.values())


# -- trying ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_row_that_takes_too_long_is_stopped_and_what_shares_its_sweeps_is_not_tried() -> None:
    asked = [
        *named("first"), *claims(("late", endless), ("with_it", quick), shares="late"),
        *claims(("error", at_its_end), ("lacks", lacking)),
    ]  # fmt: skip
    begun = time.monotonic()
    found = fitting.tried(asked, Conditions(MINE), 3.0)
    assert found["mine.late"] is None and "mine.with_it" not in found
    assert found["mine.first"] is not None and found["mine.first"] < 3
    assert found["mine.error"] is not None, "measuring will tell the error"
    assert found["mine.lacks"] == 0 and found["mine.first"] > 0
    assert time.monotonic() - begun < 120
    plan = fitting.fitted(asked, found, 1.0, "quick")
    assert plan["mine.late"].count == plan["mine.with_it"].count == 0 and plan["mine.with_it"].tried == 0


def test_what_a_trial_finds_is_kept_and_never_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def tried(claims: Any, conditions: Any, limit: float) -> dict[str, float | None]:
        calls.append(1)
        return {"mine.a": 4.0, "mine.b": 80.0, "mine.c": None}

    monkeypatch.setattr(fitting, "tried", tried)
    three = named("a", "b", "c")
    for _ in range(2):
        rows = xl.claims.run(three, dataset=MINE, within=4.0, store=tmp_path, progress=False)
        assert list(rows["id"]) == ["mine.a", "mine.b", "mine.c"] and len(calls) == 1
        assert rows["seeds"].iloc[0] == list(range(60)) and rows["verdict"].iloc[0] == "holds"
        assert rows["verdict"].iloc[1] == "needs 3.3 core-minutes for 5 seeds" and "Left out" in rows["note"].iloc[1]
        assert rows["verdict"].iloc[2] == "needs more than 1 core-minutes for 5 seeds"
    assert len(list((tmp_path / "rows").glob("*.json"))) == 1
    again = xl.claims.finished(three, dataset=MINE, within=4.0, store=tmp_path)
    assert sorted(again["verdict"]) == sorted(rows["verdict"])
    with pytest.raises(ValueError, match="nobody has begun these claims within 9 minutes"):
        xl.claims.finished(three, dataset=MINE, within=9, store=tmp_path)
    plan = next((tmp_path / "plans").glob("*.json"))
    plan.write_text(plan.read_text().replace('"count": 60', '"count": 7'), encoding="utf-8")
    xl.claims.run(three, dataset=MINE, within=4.0, store=tmp_path, progress=False)
    assert len(calls) == 2, "a plan that somebody changed is made again"


def test_the_page_says_how_the_numbers_came_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "tried", lambda *_: {"mine.a": 20.0, "mine.b": None})
    rows = xl.claims.run(named("a", "b"), dataset=MINE, within=5, progress=False).to_dict("records")
    asked = {"asked": "mine --within 5", "encode": "text=x image=y"}
    held = pages.write(
        [{**row, **asked} for row in rows], ["mine.a", "mine.b"], tmp_path / "a.json", tmp_path / "A.md", dataset="mine"
    )
    page = (tmp_path / "A.md").read_text(encoding="utf-8")
    assert "`xmodal claims mine --within 5 --run --write --dataset mine --encode 'text=x' --encode 'image=y'`" in page
    assert "needs more than 1.2 core-minutes for 5 seeds" in page and "0.8 minutes more tried" in page
    assert "the test rows are\nthe same in all" in page and "what they found was not looked" in page
    assert json.loads((tmp_path / "a.json").read_text())["rows"][0]["within"]["usual"] == 20
    assert held[0]["n"] == 20 and held[1]["n"] == 0


# -- refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"within": 5}, "within is for a dataset"),
        ({"within": 5, "dataset": MINE, "seeds": range(5)}, "either seeds or within"),
        ({"within": 0, "dataset": MINE}, "within must be"),
        ({"within": float("nan"), "dataset": MINE}, "within must be"),
    ],
)
def test_refused_before_any_work(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        xl.claims.run(named("a"), progress=False, **given)
    with pytest.raises(ValueError, match="of these none is"):
        xl.claims.run("dml.T3", dataset=MINE, within=5, progress=False)


def test_the_command_refuses_within_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", "--within", "5", "--dataset", "emoji"]) == 2
    assert "give --run too" in capsys.readouterr().err
