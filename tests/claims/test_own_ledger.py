"""Claims of one's own, settings, several processes, other seeds, and the picture that a ledger opens with."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import xmodal_lab as xl
from xmodal_lab.app import main as cli
from xmodal_lab.claims import claim as claim_module
from xmodal_lab.claims import ledger, measuring, rehearsal, repeating, seeds
from xmodal_lab.claims import page as pages
from xmodal_lab.claims.claim import Claim, Conditions
from xmodal_lab.claims.seeds import seeds_of
from xmodal_lab.claims.verdicts import Measured, exact, gain, order, same
from xmodal_lab.sweeps.experiment import Experiment


def member(settings: dict[str, Any], report: Any) -> dict[str, float]:
    rng = np.random.default_rng([settings["seed"], int(settings["x"])])  # noise that a difference does not lose
    return {"score": settings["x"] * settings["slope"] + 0.1 * rng.standard_normal()}


TOY = Experiment("own toy", {"seed": 0, "x": 1.0, "slope": 1.0}, member, ["score"])


def rises(c: Conditions) -> Measured:
    cube = c.sweep(TOY, x=[0.0, 1.0])
    return gain((cube.score.sel(x=1.0) - cube.score.sel(x=0.0)).values, scale=1, unit="of the score")


def exactly(c: Conditions) -> Measured:
    return exact(3, 3, "cases")


RISES = Claim(
    "mine.rises", "The score rises with x.", "Tab 1", "1.0", rises, effect=1.0, unit="of the score", cost="seconds"
)
CLAIMS = [RISES, Claim("mine.exact", "It is exact.", "Thm 1", "", exactly, trained=False)]
HERE = f"{__name__}:CLAIMS"


def test_a_ledger_of_ones_own_needs_no_edit_of_the_package() -> None:
    one = xl.claims.run(RISES, progress=False)
    several = xl.claims.run([*CLAIMS, "dml.T3"], progress=False)
    placed = xl.claims.run(HERE, progress=False)
    assert list(one["id"]) == ["mine.rises"] and one.iloc[0]["verdict"] == "holds"
    assert list(several["id"]) == ["mine.rises", "mine.exact", "dml.T3"] and list(placed["id"]) == list(
        several["id"][:2]
    )
    row = one.iloc[0]
    assert row["seeds"] == list(range(20)) and row["n"] == 20, "as many as its cost says"
    assert row["effect"] == 1.0 and 0 < row["mde"] < 0.2 and row["unit"] == "of the score" and row["device"] == "cpu"
    assert len(row["steps"][0]["outcomes"]) == 20 and row["steps"][0]["word"] == "holds"
    assert 0 < row["seconds"] < 60 and row["clock"] > 0


def test_a_row_without_a_sweep_tells_its_device_too() -> None:
    bare = Claim("mine.bare", "No sweep.", "Tab 1", "", lambda c: gain([0.1, 0.2, 0.1]), cost="minutes")
    rows = xl.claims.run([bare, CLAIMS[1]], progress=False)
    assert list(rows["device"]) == [ledger.device_name(), ""], "an exact check trains nothing"


def test_claims_that_are_none_are_refused() -> None:
    for place, why in (
        ("nowhere.at_all:CLAIMS", "No module named 'nowhere'"),
        (f"{__name__}:LATER", "has no attribute 'LATER'"),
        (f"{__name__}:TOY", "is no Claim and no list of them, but Experiment"),
    ):
        with pytest.raises(ValueError, match=why):
            xl.claims.run(place, progress=False)
    with pytest.raises(TypeError, match="a claim is meant by its id, its paper, a Claim or a place, got int"):
        xl.claims.run([3], progress=False)  # type: ignore[list-item]
    other = Claim("mine.rises", "Another.", "Tab 2", "", rises)
    with pytest.raises(ValueError, match=r"two claims are called .mine\.rises."):
        xl.claims.run([RISES, other], progress=False)
    with pytest.raises(ValueError, match="unknown cost 'an hour'"):
        Claim("mine.x", "x", "Tab 1", "", rises, cost="an hour")


def test_settings_reach_the_experiments_and_stand_in_the_row() -> None:
    row = xl.claims.run(RISES, settings={"slope": -2.0}, progress=False).iloc[0]
    assert row["verdict"] == "fails" and row["settings"] == {"slope": -2.0}
    assert row["value"] == pytest.approx(-2.0, abs=0.2)


@pytest.mark.parametrize(
    ("settings", "why"), [({"x": 3.0}, "compares values of 'x' itself"), ({"epochs": 3}, "takes no setting 'epochs'")]
)
def test_a_setting_that_cannot_be_taken_is_never_ignored(settings: dict[str, Any], why: str) -> None:
    with pytest.warns(RuntimeWarning, match="could not be measured"):
        row = xl.claims.run(RISES, settings=settings, progress=False).iloc[0]
    assert row["verdict"] == "not measured" and why in row["note"]


def test_an_arm_that_two_sweeps_give_differently_is_not_set() -> None:
    def arms(c: Conditions) -> Measured:
        low, high = (c.sweep(TOY, x=x).score.values for x in (0.0, 1.0))
        return gain(high - low, scale=1)

    with pytest.warns(RuntimeWarning, match="compares values of 'x' itself"):
        xl.claims.run(Claim("mine.arms", "x", "Tab 1", "", arms), settings={"x": 5.0}, progress=False)


@pytest.mark.parametrize("name", [c.id for c in xl.claims.known().values() if c.trained])
def test_a_setting_that_a_claim_does_not_know_is_refused_before_any_work(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a sweep was begun")

    monkeypatch.setattr(claim_module, "sweep", refused)
    with pytest.raises(ValueError, match=f"{name} takes no setting 'nonsense'"):
        xl.claims.known()[name].judged(Conditions(settings={"nonsense": 1}))


BAD = {
    "dml.A": {"seed": 3, "epochs": 0, "lr": "fast", "fusion": "sum", "images_per_class": -7, "architecture": "vit", "width": 2.5},
    "cross.AF": {"epochs": "many", "width": 0, "dataset_modalities": "image+smell", "data_seed": -1},
    "synergy.A1": {"steps": -1, "architecture": "vit", "hidden": [1, 2]},
    "cox.S": {"steps": 0, "perceptor": "best", "connection": "yes"},
    "uml.F": {"rank": 1, "steps": 1.5, "image_shots": 3},
    "uml.G": {"noise": -1.0, "width": 0},
    "wma.N": {"n_train": 0, "width": -3, "heads": 1e300, "data_seed": 1.5, "steps": None},
}  # fmt: skip


@pytest.mark.parametrize(("name", "setting"), [(name, setting) for name, given in BAD.items() for setting in given])
def test_a_value_that_a_setting_cannot_have_is_refused_before_any_work(
    name: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a sweep was begun")

    monkeypatch.setattr(claim_module, "sweep", refused)
    with pytest.raises(rehearsal.Refused, match=re.escape(setting)):
        xl.claims.known()[name].judged(Conditions(settings={setting: BAD[name][setting]}))


ABSURD = {
    "dml.A": {"lr": 1e300, "momentum": math.inf, "weight_decay": math.nan, "sam": -1.0, "epochs": 16_000_000},
    "cross.AF": {"lr": 1001.0, "lam": 1e30, "epochs": 10**15},
    "synergy.A1": {"lr": -1.0, "noise_variance": 1e300, "length": -math.inf, "width": 10**17},
    "cox.S": {"lr": math.nan, "noise": 1e300, "entropy_weight": -1.0, "hidden": 2**63},
    "uml.F": {"lam": 1e300, "momentum": -0.1, "logit_scale": math.nan},
    "uml.G": {"lr": 1e300, "noise": math.inf},
    "wma.N": {"lr": 1e300, "amplitude": 1e300, "steps": 10**13, "warmup": -1},
}  # fmt: skip


@pytest.mark.parametrize(("name", "setting"), [(name, one) for name, given in ABSURD.items() for one in given])
def test_an_absurd_number_is_refused_before_any_work(name: str, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a sweep was begun")

    monkeypatch.setattr(claim_module, "sweep", refused)
    with pytest.raises((rehearsal.Refused, TypeError), match=re.escape(setting)):
        xl.claims.known()[name].judged(Conditions(settings={setting: ABSURD[name][setting]}))


def test_the_door_says_which_rates_it_takes_and_how_long_is_too_long() -> None:
    claim = xl.claims.known()["dml.A"]
    with pytest.raises(rehearsal.Refused, match=r"lr must be a finite number, 1,000 at most in size, got 1e\+300"):
        claim.judged(Conditions(settings={"lr": 1e300}))
    slow = Experiment(
        "slow toy", {"seed": 0, "steps": 10}, lambda *_: {"score": 0.0}, ["score"], seconds=lambda s: s["steps"]
    )
    mine = Claim("mine.slow", "x", "Tab 1", "", lambda c: gain(c.sweep(slow).score.values))
    with pytest.raises(rehearsal.Refused, match=r"with steps=9000000 a sweep of this claim takes about 1\.4 years"):
        mine.judged(Conditions(settings={"steps": 9_000_000}))
    rehearsal._sized("data_seed", 2**60)  # a seed is a name, not a size


def test_a_rehearsal_trains_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    trained: list[float] = []

    def member(settings: dict[str, Any], report: Any) -> dict[str, float]:
        trained.append(settings["x"])
        return {"score": settings["x"] * settings["slope"]}

    toy = Experiment("rehearsed toy", {"seed": 0, "x": 0.0, "slope": 3.0}, member, ["score"])

    def late(c: Conditions) -> Measured:
        first = c.sweep(toy, x=1.0).score.values
        if first.mean() > 10:  # no made-up number gets there
            return gain(c.sweep(toy, x=0.5, slope=[1.0, 2.0]).score.values[:, 0], scale=1)
        return gain(c.sweep(toy, x=2.0).score.values - first, scale=1)

    claim = Claim("mine.late", "x", "Tab 1", "", late)
    for settings, said in (
        ({"slpoe": 1.0}, "takes no setting 'slpoe'"),
        ({"slope": "steep"}, "slope must be a number"),
    ):
        with pytest.warns(RuntimeWarning, match=said):
            xl.claims.run(claim, settings=settings, store=tmp_path, progress=False)
    assert not trained and not list(tmp_path.rglob("*.json"))
    assert xl.claims.run(claim, settings={"slope": 4.0}, progress=False).iloc[0]["value"] == pytest.approx(4.0)
    assert sorted(set(trained)) == [1.0, 2.0]


def test_a_claim_may_work_other_settings_out_of_one() -> None:
    def doubled(c: Conditions) -> Measured:
        slope = c.setting("slope", 1.0)
        return gain(c.sweep(TOY, slope=2 * slope, x=1.0).score.values, scale=1)

    claim = Claim("mine.doubled", "x", "Tab 1", "", doubled)
    row = xl.claims.run(claim, settings={"slope": 4.0}, progress=False).iloc[0]
    assert row["value"] == pytest.approx(8.0, abs=0.2)


def test_seeds_are_fixed_by_cost_and_given_ones_stand() -> None:
    assert [len(seeds_of(cost)) for cost in seeds.SEEDS] == [60, 20, 10, 5]
    assert len(seeds_of("seconds", "full")) > 20 and seeds_of("minutes", first=9) == (9, 10, 11, 12, 13)
    assert xl.claims.run(RISES, seeds=range(50, 56), progress=False).iloc[0]["seeds"] == list(range(50, 56))
    with pytest.raises(ValueError, match="unknown cost"):
        seeds_of("free")


def test_rows_of_other_settings_are_other_rows(tmp_path: Path) -> None:
    for settings in ({}, {"slope": 3.0}):
        xl.claims.run(RISES, settings=settings, store=tmp_path, progress=False)
    assert len(list((tmp_path / "rows").glob("mine.rises-*.json"))) == 2
    found = xl.claims.run(RISES, settings={"slope": 3.0}, store=tmp_path, progress=False).iloc[0]
    assert found["value"] == pytest.approx(3.0, abs=0.2)


def test_a_finished_row_is_judged_beside_the_effect_of_now(tmp_path: Path) -> None:
    xl.claims.run(RISES, store=tmp_path, progress=False)
    more = Claim("mine.rises", RISES.text, "Tab 1", "40", rises, effect=40.0, unit="of the score", cost="seconds")
    row = xl.claims.run(more, store=tmp_path, progress=False).iloc[0]
    assert row["verdict"] == "smaller than printed" and row["printed"] == "40"
    assert len(list((tmp_path / "rows").glob("*.json"))) == 1, "judged again, not measured again"


def test_an_effect_in_another_unit_is_refused_by_name(tmp_path: Path) -> None:
    """Kept outcomes in one unit, a printed number in another: the judge used to compare the two."""
    kept = xl.claims.run(RISES, store=tmp_path, progress=False).to_dict("records")[0]
    percent = replace(RISES, effect=100.0, unit="%")
    with pytest.raises(ValueError, match=r"mine.rises states its effect in '%', .* are in 'of the score'"):
        ledger.judged_again(kept, percent)
    with pytest.warns(RuntimeWarning, match="states its effect in '%'"):
        assert xl.claims.run(percent, progress=False).iloc[0]["verdict"] == ledger.NOT_MEASURED
    assert ledger.judged_again(kept, replace(RISES, effect=None, unit="%"))["verdict"] == "holds", "no effect, no unit"


@pytest.mark.slow
def test_two_processes_give_the_rows_in_the_order_asked(tmp_path: Path) -> None:
    ids = ["uml.P1", "dml.T1", "cox.T1"]  # the dearest in the middle, so that it comes in last
    both = xl.claims.run(ids, jobs=2, store=tmp_path, progress=False)
    assert list(both["id"]) == ids and list(both["verdict"]) == list(xl.claims.run(ids, progress=False)["verdict"])
    assert len(list((tmp_path / "rows").glob("*.json"))) == 3
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="either jobs or an executor, not both"):
        xl.claims.run(ids, jobs=2, executor=executor)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A shipped ledger of these claims."""
    every = {c.id: c for c in CLAIMS}
    monkeypatch.setattr(measuring, "known", lambda paper=None: every)
    monkeypatch.setattr(ledger, "SHIPPED", tmp_path / "claims.json")
    ledger.shipped.cache_clear()
    rows = xl.claims.run(CLAIMS, progress=False).to_dict("records")
    pages.write(rows, every, tmp_path / "claims.json", tmp_path / "CLAIMS.md", picture=tmp_path / "claims.svg")
    yield tmp_path
    ledger.shipped.cache_clear()


def test_words_are_compared_with_other_seeds(own: Path) -> None:
    found = xl.claims.repeat(1.0, progress=False, draw=3)
    assert list(found["id"]) == ["mine.rises"], "a theorem repeats whatever the seeds"
    assert found.iloc[0]["agree"] and found.iloc[0]["seeds"][0] == 1000 and len(found.iloc[0]["seeds"]) == 20
    assert found.attrs == {"draw": 3, "agreement": 1.0, "expected": 1.0, "within": [1, 1]}
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\]"):
        xl.claims.repeat(0)
    with pytest.raises(ValueError, match="rests on seeds and has a word"):
        xl.claims.repeat(ids="mine.exact")


def test_the_command_checks_and_fails_below_the_goal(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["claims", "--check", "1", "--store", str(own)]) == 0
    said = capsys.readouterr().out
    assert "mine.rises  holds = holds" in said and "1 of 1 words agree (100 %, goal 95 %); --draw" in said
    assert (
        "By the spread of their own seeds 1.0 were expected, 1 to 1 in 95 % of all such draws: within chance." in said
    )
    held = ledger.shipped()
    monkeypatch.setitem(held, "mine.rises", held["mine.rises"] | {"verdict": "fails"})
    assert cli.main(["claims", "--check", "1", "--store", str(own)]) == 1
    said = capsys.readouterr().out
    assert "fails ≠ holds" in said and "0.0 were expected, 0 to 0 in 95 % of all such draws: within chance." in said


def test_which_rows_are_drawn_is_repeatable() -> None:
    many = [Claim(f"mine.{i}", "x", "Tab 1", "", rises) for i in range(40)]
    assert len(repeating._drawn(many, 0.1, 5)) == 4 and repeating._drawn(many, 0.1, 5) == repeating._drawn(many, 0.1, 5)
    assert repeating._drawn(many, 0.1, 5) != repeating._drawn(many, 0.1, 6)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--judge --run", "--judge looks at rows that are kept"),
        ("--check --run", "give it alone"),
        ("--draw 3", "give both"),
        ("--check --draw -1", "draw must be at least 0, got -1"),
        ("--set epochs=3", "give --run too"),
        ("--run --set epochs", "written NAME=VALUE"),
        (f"--run --write {HERE}", "one of your own"),
    ],
)
def test_options_that_make_no_sense_together(line: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", *line.split()]) == 2
    assert why in capsys.readouterr().err


def test_the_command_takes_claims_and_settings_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", HERE, "--run", "--set", "slope=0.001", "--store", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"mine\.rises\s+smaller than printed", said) and "“The score rises with x.”" in said


def test_the_page_says_what_all_rows_cost() -> None:
    rows = [{**row, "seconds": seconds, "clock": 999.0}
            for row, seconds in zip(ledger.shipped().values(), (60.0, 180.0), strict=False)]  # fmt: skip
    assert "- 4 minutes of one core in all (synergy 4), so 2 minutes on two." in pages.render(rows)
    assert f"{rows[0]['id']} 60, {rows[1]['id']} 180" in pages.render(rows), "row by row"
    older = [rows[0], {k: v for k, v in rows[1].items() if k != "clock"}]
    assert "so 2 minutes on two. 1 rows from before" in pages.render(older)


def test_the_page_opens_with_a_picture_that_is_the_same_every_time(own: Path) -> None:
    page, picture = (own / "CLAIMS.md").read_text(), (own / "claims.svg").read_text()
    assert "](docs/claims.svg)" in page and page.index("docs/claims.svg") < page.index("| mine.rises |")
    assert "mine.rises" in picture and "mine.exact" not in picture, "a theorem has no interval"
    pages.draw(list(ledger.shipped().values()), own / "again.svg")
    assert (own / "again.svg").read_text() == picture
    pages.draw([], own / "none.svg")
    assert not (own / "none.svg").exists()


def test_effects_are_in_units_of_the_smallest_effect_seen(own: Path) -> None:
    found = xl.claims.effects().iloc[0]
    assert found["value_seen"] == pytest.approx(found["value"] / found["mde"])
    assert found["effect_seen"] == pytest.approx(1.0 / found["mde"]) and found["low_seen"] > 1
    rows = xl.claims.table()
    with pytest.raises(ValueError, match="these rows keep no steps"):
        xl.claims.effects(rows.drop(columns="steps"))
    with pytest.raises(TypeError, match="rows must be a DataFrame, got int"):
        xl.claims.effects(3)  # type: ignore[arg-type]


def test_each_step_has_a_line_and_the_claim_that_of_its_worst() -> None:
    rng = np.random.default_rng(0)

    def steps(c: Conditions) -> Measured:
        return order({"a": 5 + rng.standard_normal(5), "b": same(rng.standard_normal(5), margin=5, scale=1),
                      "c": rng.standard_normal(5)}, scale=1, sesoi={"c": 9.0})  # fmt: skip

    rows = xl.claims.run(Claim("mine.steps", "x", "Tab 1", "", steps), progress=False)
    assert list(xl.claims.effects(rows)["step"]) == ["c"] and rows.iloc[0]["verdict"] == "smaller than printed"
    each = xl.claims.effects(rows, steps=True).set_index("step")
    assert list(each["word"]) == ["holds", "holds", "smaller than printed"]
    assert each.loc["b", "margin"] == 5 and np.isnan(each.loc["a", "margin_seen"]) and each.loc["c", "effect"] == 9


def test_the_picture_shows_every_interval_and_says_what_it_cannot() -> None:
    found = xl.claims.effects()
    ax = xl.plots.effects(found)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(found["id"])
    plt.close("all")
    with pytest.raises(ValueError, match="no claim has an interval to draw"):
        xl.plots.effects(found.iloc[:0])
    with pytest.raises(ValueError, match="unknown column 'margin_seen'"):
        xl.plots.effects(found.drop(columns="margin_seen"))
    with pytest.raises(TypeError, match="found must be a DataFrame"):
        xl.plots.effects([1])  # type: ignore[arg-type]


@pytest.mark.parametrize("dataset", ["", "avmnist", "emoji", "shapes"])
def test_every_shipped_row_follows_from_what_it_keeps(dataset: str) -> None:
    for row in ledger.rows_in(ledger.place(dataset)).values():
        if row["steps"]:
            again = ledger.judged(ledger.measured_of(row).beside(None))
            assert {k: again[k] for k in ("verdict", "mde", "needed")} == {
                k: row[k] for k in ("verdict", "mde", "needed")
            }
    frame = pd.DataFrame(list(ledger.rows_in(ledger.place(dataset)).values()))
    assert json.dumps(frame["settings"].tolist())


def test_a_row_rests_on_the_seeds_that_its_cost_gives() -> None:
    """How many seeds stands in the table before anything is seen; a row on other seeds was measured by another rule."""
    claims, rows = measuring.known(), ledger.shipped()
    others = {
        name for name, row in rows.items() if claims[name].trained and tuple(row["seeds"]) != claims[name].seeds()
    }
    assert not others


def test_a_null_says_that_its_instrument_reads() -> None:
    """Rule 4: "smaller than printed", "undecided" and a tie say nothing where nothing could have been seen."""
    claims, rows = measuring.known(), ledger.shipped()
    silent = set()
    for name, row in rows.items():
        word, tie = row["verdict"], any(step.get("rule") in ("tie", "no worse") for step in row["steps"])
        null = word in ("smaller than printed", "undecided") or (tie and word in ("holds", "direction holds"))
        if claims[name].trained and null and not row["readings"] and row["room"] is None:
            silent.add(name)
    assert not silent


def test_only_theorems_and_what_is_needed_have_no_device() -> None:
    claims = measuring.known()
    for name, row in ledger.shipped().items():
        if not row["device"] and name != "uml.D":  # of before a row without a sweep told its device
            assert not claims[name].trained or row["verdict"].startswith("needs"), name
            assert not row["readings"] and row["room"] is None, f"{name} rests on no net, so it has no instrument"
        elif row["device"]:
            assert row["seeds"] or not claims[name].trained, name


def test_what_a_store_has_finished_is_read_without_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="there is no store at"):
        xl.claims.finished(RISES, store=tmp_path / "none")
    xl.claims.run(RISES, store=tmp_path, progress=False)

    def refused(*_: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(measuring, "measured", refused)
    found = xl.claims.finished(CLAIMS, store=tmp_path)
    assert list(found["id"]) == ["mine.rises"] and found.iloc[0]["verdict"] == "holds"
    assert found.iloc[0]["commit"] == xl.claims.finished(RISES, store=tmp_path).iloc[0]["commit"]
    assert xl.claims.finished(CLAIMS, store=tmp_path, settings={"slope": 2.0}).empty, "other settings, another row"
    assert cli.main(["claims", HERE, "--finished", "--store", str(tmp_path)]) == 0
    assert "mine.rises" in capsys.readouterr().out
    assert cli.main(["claims", "dml.T3", "--finished", "--store", str(tmp_path)]) == 2
    assert "finished none of these rows" in capsys.readouterr().err
    assert cli.main(["claims", HERE, "--finished", "--run", "--store", str(tmp_path)]) == 2
    assert "give it without --run" in capsys.readouterr().err


def test_a_row_begins_where_nobody_had_looked() -> None:
    later = Claim("mine.later", "Later.", "Tab 1", "", rises, cost="seconds", first=100)
    assert later.seeds()[:2] == (100, 101) and later.seeds(first=1000)[0] == 1100
    assert xl.claims.known()["synergy.A1"].seeds()[0] == 100, "α was fixed after a look at the seeds from 0 on"
    with pytest.raises(ValueError, match="first must be at least 0"):
        Claim("mine.before", "Before.", "Tab 1", "", rises, first=-1)


def test_an_interval_over_seeds_is_one_over_data() -> None:
    seen: list[tuple[Any, Any]] = []

    def drawn(settings: dict[str, Any], report: Any) -> dict[str, float]:
        seen.append((settings["seed"], settings["data_seed"]))
        return {"score": 0.0}

    def resolved(s: dict[str, Any]) -> dict[str, Any]:
        return {**s, "data_seed": s["seed"] if s["data_seed"] is None else s["data_seed"]}

    toy = Experiment("drawn toy", {"seed": 0, "data_seed": 0}, drawn, ["score"], normal=resolved)
    Conditions(seeds=(3, 4)).sweep(toy)
    assert seen == [(3, 3), (4, 4)]
    Conditions(seeds=(3, 4)).sweep(toy, data_seed=7)
    assert seen[2:] == [(3, 7), (4, 7)], "unless the claim, or the user, says which"
