"""The ledger's machinery: choosing, measuring, resuming, rendering; and the ledger that ships."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import xmodal_lab as xl
from xmodal_lab import claims
from xmodal_lab.app import claims as claims_command
from xmodal_lab.app import main as cli
from xmodal_lab.claims import ledger
from xmodal_lab.claims import page as pages
from xmodal_lab.claims.claim import Claim, Conditions
from xmodal_lab.claims.verdicts import Measured, exact, gain
from xmodal_lab.sweeps.experiment import Experiment

# Ids that the five papers' claims have; none may be missing from the ledger.
IDS = {
    "synergy": "T1 C1 R1 T2 R2 A1 A2 A3 A4 A5 W L α P D V",
    "cox": "T1 S U R M D1 D2 A P",
    "uml": "T1 T2 C1 C2 C3 T3 P1 G S F FT R 3 TR X U B Z N K M E",
    "wma": "I N X Y O β 3 0",
    "dml": "T1 T2 T3 T0 A H H5 LPF G V DA S 3 P I R L",
}
calls: list[str] = []


def counted(name: str, measured: Measured) -> Any:
    def measure(conditions: Conditions) -> Measured:
        calls.append(name)
        return measured

    return measure


def broken(conditions: Conditions) -> Measured:
    raise FloatingPointError("the loss became nan")


CLAIMS = [
    Claim("dml.A", "It gains | a lot", "Tab 1", "70.30", counted("A", gain([0.1, 0.2, 0.1, 0.2, 0.1]))),
    Claim("dml.T", "It is exact.", "Thm 1", "", counted("T", exact(5, 5, "designs", worst=1e-12)), trained=False),
    Claim("uml.B", "It breaks.", "Tab 2", "", broken),
]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    every = {c.id: c for c in CLAIMS}

    def known(paper: str | None = None) -> dict[str, Claim]:
        return {i: c for i, c in every.items() if paper in (None, c.paper)}

    monkeypatch.setattr("xmodal_lab.claims.measuring.known", known)
    monkeypatch.setattr(ledger, "SHIPPED", Path("nowhere.json"))
    ledger.shipped.cache_clear()
    calls.clear()
    yield calls
    ledger.shipped.cache_clear()


def test_rows_say_claim_number_and_verdict(few: list[str]) -> None:
    found = claims.run("dml", progress=False)
    assert list(found["id"]) == ["dml.A", "dml.T"] and list(found["verdict"]) == ["holds", "holds"]
    row = found.iloc[0]
    assert row["printed"] == "70.30" and row["n"] == 5 and row["interval"][0] > 0 and row["seeds"] == [0, 1, 2, 3, 4]
    for column in ("id", "paper", "claim", "printed", "measured", "interval", "n", "verdict"):
        assert column in found.columns


def test_what_was_finished_is_not_measured_again(few: list[str], tmp_path: Path) -> None:
    first = claims.run("dml", store=tmp_path, progress=False)
    again = claims.run("dml", store=tmp_path, progress=False)
    assert few == ["A", "T"]
    assert first.to_dict("records")[0]["measured"] == again.to_dict("records")[0]["measured"]
    claims.run("dml", store=tmp_path, seeds=range(6), progress=False)
    assert few == ["A", "T", "A"], "other seeds are another measurement, except for a theorem"


def test_a_row_cut_short_is_measured_again(few: list[str], tmp_path: Path) -> None:
    claims.run("dml.A", store=tmp_path, progress=False)
    path = next((tmp_path / "rows").glob("*.json"))
    path.write_text(path.read_text()[:40])
    assert claims.run("dml.A", store=tmp_path, progress=False).iloc[0]["verdict"] == "holds"
    assert few == ["A", "A"]


@pytest.mark.parametrize("raw", ["", "null", "[" * 100_000])
def test_a_row_that_is_none_is_measured_again(few: list[str], tmp_path: Path, raw: str) -> None:
    claims.run("dml.A", store=tmp_path, progress=False)
    next((tmp_path / "rows").glob("*.json")).write_text(raw)
    claims.run("dml.A", store=tmp_path, progress=False)
    assert few == ["A", "A"]
    (tmp_path / "ledger.json").write_text(raw)
    with pytest.raises(ValueError, match="is no ledger of claims"):
        claims.table(path=tmp_path / "ledger.json")


def test_the_command_says_where_nothing_can_be_kept(
    few: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows").write_text("a file where the folder should be")
    assert cli.main(["claims", "dml.A", "--run", "--store", str(tmp_path)]) == 2
    assert "xmodal claims: error: " in (told := capsys.readouterr().err) and "rows" in told


def test_one_fault_does_not_cost_the_others(few: list[str], tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match=r"1 of 3 claims could not be measured; the first, uml\.B"):
        found = claims.run(store=tmp_path, progress=False)
    assert list(found["verdict"]) == ["holds", "holds", "not measured"]
    assert "FloatingPointError: the loss became nan" in found.iloc[2]["note"]
    assert len(list((tmp_path / "rows").glob("*.json"))) == 2, "an error is not a result"


def test_refused_before_any_work(few: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", "--write"]) == 2 and "give both" in capsys.readouterr().err
    with pytest.raises(TypeError, match="executor must be an Executor, got int"):
        claims.run("dml.A", executor=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 5 seeds, got 3"):
        claims.run("dml.A", seeds=range(3))
    with pytest.raises(ValueError, match=r"unknown claim 'dml\.Z'; known: 'dml\.A'"):
        claims.run("dml.Z")
    with pytest.raises(ValueError, match="budget"):
        claims.run("dml.A", budget="free")
    with pytest.raises(TypeError, match="must be a Dataset"):
        claims.run("dml.A", dataset=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no claim was asked for"):
        claims.run([])
    assert few == []
    assert claims.run("dml.T", seeds=range(2), progress=False).iloc[0]["verdict"] == "holds", "theorems need no seeds"


def test_the_ledger_merges_and_renders(few: list[str], tmp_path: Path) -> None:
    json_path, markdown = tmp_path / "claims.json", tmp_path / "CLAIMS.md"
    ids = ["dml.A", "dml.T", "uml.B"]
    pages.write(claims.run("dml.T", progress=False).to_dict("records"), ids, json_path, markdown)
    pages.write(claims.run("dml.A", progress=False).to_dict("records"), ids, json_path, markdown)
    assert list(ledger.rows_in(json_path)) == ["dml.A", "dml.T"], "in the order of the papers, none lost"
    text = markdown.read_text()
    assert r"| dml.A | It gains \| a lot | Tab 1; 70.30 | +14.0 ± 6.8 points | 9.2 | 5 | **holds** |" in text
    table = claims.table(path=json_path)
    assert list(table["verdict"]) == ["holds", "holds", "not measured"]
    with pytest.raises(FileNotFoundError, match="there is no ledger"):
        claims.table(path=tmp_path / "other.json")
    json_path.write_text("[]")
    with pytest.raises(ValueError, match="is no ledger of claims"):
        claims.table(path=json_path)
    json_path.write_text(json.dumps({"format": 99, "rows": []}))
    with pytest.raises(ValueError, match="ledger format 99"):
        claims.table(path=json_path)


def test_the_ledger_is_shown_with_no_sentence_cut() -> None:
    page = claims.show("cox")
    assert str(page) == page._repr_markdown_() and "…" not in str(page)
    table = claims.table("cox")
    lines = str(page).splitlines()[2:]
    for line, row in zip(lines, table.to_dict("records"), strict=True):
        assert line.startswith(f"| {row['id']} | {row['claim']}".replace("|X_1", "\\|X_1"))
        assert f"| {row['n'] or ''} | **{row['verdict']}**" in line
    assert str(claims.show(table.set_index("id").head(2))).splitlines()[2:] == lines[:2]
    remarks = str(claims.show("cox", notes=True)).removeprefix(str(page)).splitlines()
    assert remarks[1:3] == ["", "Notes:"] and len(remarks) == 4 + (table["note"] != "").sum()
    assert len(str(claims.show()).splitlines()) == 2 + len(claims.known())
    with pytest.raises(ValueError, match="no rows of the ledger: n is missing; give rows with all columns"):
        claims.show(table.drop(columns="n"))
    with pytest.raises(ValueError, match="unknown paper 'mine'"):
        claims.show("mine")
    with pytest.raises(TypeError, match="rows must be a DataFrame, got int; a paper, or rows of"):
        claims.show(3)  # type: ignore[arg-type]


def test_claims_that_share_a_sweep_compute_it_once(tmp_path: Path) -> None:
    ran: list[int] = []

    def member(settings: dict[str, Any], report: Any) -> dict[str, float]:
        ran.append(settings["seed"])
        return {"score": float(settings["seed"])}

    toy = Experiment("toy", {"seed": 0, "x": 1.0}, member, ["score"])
    conditions = Conditions(seeds=(0, 1), store=tmp_path)
    first = conditions.sweep(toy, x=[1.0, 2.0])
    assert (conditions.sweep(toy, x=[1.0, 2.0]) is first and ran == [0, 0, 1, 1]) or sorted(ran) == [0, 0, 1, 1]
    later = Conditions(seeds=(0, 1), store=tmp_path).sweep(toy, x=[1.0, 2.0])
    assert sorted(ran) == [0, 0, 1, 1] and later.equals(first), "kept on disk for the next process"
    with pytest.raises(ValueError, match="at least two different"):
        Conditions(seeds=(1, 1))
    with pytest.raises(ValueError, match=r"as in .dml\.A"):
        Claim("A", "text", "Tab 1", "", lambda c: exact(1, 1, "x"))


def test_the_command(few: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", str(tmp_path)]
    assert cli.main(["claims", "--paper", "dml", "--run", *store]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"dml\.A\s+holds\s+\+14\.0 ± 6\.8 points", shown) and "2 holds" in shown
    assert cli.main(["claims", "--run", "--notes", *store]) == 1
    assert "the loss became nan" in capsys.readouterr().out
    assert cli.main(["claims", "dml.A"]) == 0
    assert "not measured" in capsys.readouterr().out
    assert cli.main(["claims", "dml.A", "--run", "--seeds", "0:3", *store]) == 2
    assert "at least 5 seeds" in capsys.readouterr().err
    assert claims_command.main(["dml.Q"]) == 2


@pytest.mark.parametrize("paper", IDS)
def test_every_claim_of_the_papers_is_there(paper: str) -> None:
    assert {f"{paper}.{name}" for name in IDS[paper].split()} <= set(claims.known(paper)), (
        "rows of our own may join them"
    )


# Claims whose shipped row is still to be measured. The list may only shrink: a row that is measured leaves it.
UNMEASURED: tuple[str, ...] = ()


def test_the_shipped_ledger_is_complete_and_true_to_its_page() -> None:
    table = xl.claims.table()
    unmeasured = set(table["id"][table["verdict"] == "not measured"])
    assert unmeasured <= set(UNMEASURED), "run `make claims`"
    assert not set(UNMEASURED) & set(ledger.shipped()), "measured since: take it off UNMEASURED"
    page = Path(__file__).resolve().parents[2] / "CLAIMS.md"
    assert page.read_text() == pages.render(list(ledger.shipped().values()))
    readme = (page.parent / "README.md").read_text()
    assert pages.summary(ledger.shipped().values()) in readme
    trained = {i for i, c in claims.known().items() if c.trained}
    for row in table.to_dict("records"):
        if row["id"] in trained - unmeasured and not row["verdict"].startswith("needs"):
            assert len(row["seeds"]) >= 5, row["id"]


SOME_ROWS = [
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("synergy.C1", "wma.0")),
    "dml.T1",
    "uml.P1",
    "cox.T1",
]


@pytest.mark.parametrize("claim", SOME_ROWS)
def test_a_sample_of_rows_measured_again(claim: str) -> None:
    shipped = ledger.shipped()[claim]
    again = claims.run(claim, progress=False).iloc[0]
    assert again["verdict"] == shipped["verdict"] and again["n"] == shipped["n"]
    if shipped["value"] is not None:
        assert again["value"] == pytest.approx(shipped["value"], rel=0.05, abs=1e-9)
