"""wma's choices on cubes whose answer is known, the published tables looked at again, and every claim's verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr

import xmodal_lab as xl
from xmodal_lab.claims.claim import Conditions
from xmodal_lab.claims.verdicts import VERDICTS
from xmodal_lab.papers import wma
from xmodal_lab.papers.wma import member as runs
from xmodal_lab.papers.wma.claims import choosing
from xmodal_lab.papers.wma.claims import rows as claims

IDS = ("wma.I", "wma.N", "wma.X", "wma.Y", "wma.O", "wma.β", "wma.3", "wma.0")


def made(seed: int = 0, tasks: int = 2, sign: int = 1, seeds: int = 6) -> xr.Dataset:
    """Scores of a world without any effect: noise alone, α = 0 the same for all β, other orders for α = 0 only."""
    rng = np.random.default_rng(seed)
    cases = wma.cases_of("image+text")
    axes = {"task": ["a", "b", "c"][:tasks], "alpha": [0.0, 1.0], "beta": [0.0, 1.0, 1.4], "order": [0, 1, 2],
            "seed": list(range(seeds)), "split": ["val", "test"], "case": cases}  # fmt: skip
    score = xr.DataArray(0.8 + 0.02 * rng.standard_normal([len(v) for v in axes.values()]), axes, tuple(axes))
    score = score.where(score["alpha"] > 0, score.isel(beta=0, drop=True))
    score = score.where((score["alpha"] == 0) | (score["order"] == 0))
    return xr.Dataset({"score": score, "gain_sign": float(sign)})


# -- choosing --------------------------------------------------------------------------------------


def test_a_cell_is_chosen_on_validation_and_judged_on_test() -> None:
    cube = made()
    cube["score"].loc[{"alpha": 1.0, "beta": 1.4, "order": 0, "split": "val"}] = 0.99
    cube["score"].loc[{"alpha": 1.0, "beta": 1.0, "order": 0, "split": "test"}] = 0.95
    chosen = choosing.best_cell(cube)
    expected = cube["score"].sel(alpha=1.0, beta=1.4, order=0, split="test")
    np.testing.assert_array_equal(chosen.transpose(*expected.dims), expected)
    assert float(choosing.best_cell(cube, "test").min()) == 0.95
    np.testing.assert_array_equal(choosing.minimised(cube), cube["score"].sel(alpha=1, beta=0, order=0, split="test"))


def test_errors_count_the_other_way_round() -> None:
    cube = made(sign=-1)
    cube["score"].loc[{"alpha": 1.0, "beta": 1.4, "order": 0, "split": "val"}] = 0.1
    cube["score"].loc[{"alpha": 1.0, "beta": 1.4, "order": 0, "split": "test"}] = 0.2
    np.testing.assert_array_equal(choosing.best_cell(cube), -0.2)


def test_where_there_is_no_effect_choosing_on_test_makes_one() -> None:
    table = wma.choices(made(seeds=60))
    gain, half = table["gain"], table["half"]
    honest = "WMA, chosen on validation"
    assert (gain.loc[honest].abs() < 2 * half.loc[honest] + 0.5).all()
    for flattering in ("WMA, best cell of each case on test", "baseline rerun, best of each case on test"):
        assert (gain.loc[flattering] > half.loc[flattering]).all(), "a gain from nothing"
    assert (gain.loc["WMA, best cell of each case on test"] > gain.loc[honest]).all()


def test_the_band_holds_the_first_order_and_the_best_rerun() -> None:
    band = wma.rerun_band(made())
    assert bool((band.sel(end="low") <= 0).all()) and bool((band.sel(end="high") >= 0).all())


def test_the_tasks_own_beta_wins_only_where_tasks_differ() -> None:
    scores = choosing.signed(made()).isel(order=0, drop=True).sel(alpha=1.0, drop=True)
    alike = xr.zeros_like(scores) + xr.DataArray([0.0, 0.1, 0.2], {"beta": scores["beta"]})
    gained, picks = choosing.best_beta(alike)
    assert gained.tolist() == pytest.approx([0] * 6) and picks == {"a": 1.4, "b": 1.4}
    other = alike.copy()
    other.loc[{"task": "b"}] = other.sel(task="b") * -1
    gained, picks = choosing.best_beta(other)
    # one β for both gains as much on one task as it loses on the other; each its own gains 0.2 of 2 tasks
    assert gained.tolist() == pytest.approx([0.1] * 6) and picks == {"a": 1.4, "b": 0.0}


def test_cubes_that_lack_an_axis_are_refused() -> None:
    with pytest.raises(ValueError, match="needs seed as axes"):
        wma.choices(made().isel(seed=0))
    with pytest.raises(ValueError, match="no baseline: add alpha=0"):
        choosing.baseline(made().sel(alpha=[1.0]))
    with pytest.raises(ValueError, match="no cell with α > 0 and β > 0"):
        choosing.flat(made()["score"].sel(beta=[0.0]))
    with pytest.raises(ValueError, match="needs order as axes"):
        wma.rerun_band(made().isel(order=0, drop=True))


# -- published tables ------------------------------------------------------------------------------


def test_one_average_gives_the_abstract() -> None:
    means = wma.relative_gains().xs("mean of four", level="dataset")
    assert means.loc["ratio of sums"].round(1).tolist() == [0.9, 2.5, 2.1]
    assert means.loc["mean of ratios"].round(1).tolist() != [0.9, 2.5, 2.1]
    hateful = wma.relative_gains().loc[("ratio of sums", "Hateful Memes")]
    assert hateful["noise"] == pytest.approx(100 * ((0.718 + 0.591) / (0.711 + 0.571) - 1))


def test_traps_of_the_printed_tables() -> None:
    falls = wma.falling_cells()
    assert falls[["dataset", "case"]].values.tolist() == [["UR-FUNNY", "video missing"]]
    assert wma.missing_cells() == {3: 0, 4: 110, 5: 0, 6: 28}
    shares = wma.cells_beating_baseline().set_index(["dataset", "case"])
    assert shares.loc[("Hateful Memes", "normal"), "share"] == pytest.approx(10 / 56)
    assert shares.loc[("MOSEI", "normal"), "cells"] == 28
    assert (wma.cells_beating_baseline(equal=True)["share"] >= wma.cells_beating_baseline()["share"]).all()
    cells = wma.selected_cells().set_index("dataset")
    assert cells.loc["Hateful Memes", ["alpha", "beta", "agree"]].tolist() == [1.0, 2.0, 5]
    assert cells.loc["MOSEI", "agree"] == 5 and cells.loc["MOSEI (two rows swapped)", "agree"] == 7
    swapped = wma.cells_beating_baseline(realigned=True).set_index(["dataset", "case"])
    assert shares.loc[("MOSEI", "video missing"), "share"] == 1 > swapped.loc[("MOSEI", "text missing"), "share"]
    assert set(wma.best_betas().index) == set(cells.index) - {"MOSEI (two rows swapped)"}


# -- claims ----------------------------------------------------------------------------------------


def test_every_claim_of_the_paper_has_its_row() -> None:
    assert tuple(c.id for c in claims.CLAIMS) == IDS
    assert {c.id for c in claims.CLAIMS if not c.trained} == {"wma.I", "wma.0"}


@pytest.mark.once
def test_every_claim_gives_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = runs.EXPERIMENT.with_defaults(
        n_train=24, n_val=24, n_test=24, steps=2, pretraining=0, batch_size=8, layers=1, data_seed=0
    )
    for module in (wma, claims):
        monkeypatch.setattr(module, "EXPERIMENT", tiny)
    monkeypatch.setattr(claims, "QUICK_BETAS", (1.2, 1.4))
    monkeypatch.setattr(claims, "TASKS", ("red", "both"))
    conditions = Conditions(seeds=(0, 1))
    found = {c.id: c.measure(conditions) for c in claims.CLAIMS}
    assert all(m.verdict.startswith(VERDICTS) for m in found.values())
    assert found["wma.I"].verdict == found["wma.0"].verdict == "holds"
    assert "chosen on test it would read" in found["wma.X"].note
    assert set(found["wma.β"].numbers["best beta"]) == {"red", "both"}
    assert {s.name for s in found["wma.O"].steps} == {"over minimising", "over the baseline"}


def test_claims_say_what_a_dataset_lacks() -> None:
    conditions = Conditions(dataset=replace(xl.load("gaussian"), val=None))
    for claim in claims.CLAIMS:
        if claim.id != "wma.I":
            assert claim.measure(conditions).verdict.startswith("needs ")


# -- pictures --------------------------------------------------------------------------------------


def test_pictures_show_what_they_are_given() -> None:
    plan = torch.full((4, 5), 0.05)
    assert [t.get_text() for t in wma.draw_plan(plan, ["a", "red", "ring"]).get_yticklabels()] == ["a", "red", "ring"]
    wma.draw_plan(plan, ["a", "red"], torch.rand(3, 8, 8))
    axes = wma.draw_gains(made())
    assert [t.get_text() for t in axes.get_xticklabels()] == wma.cases_of("image+text")
    path = {"beta": [0.0, 1.4], "step": [0, 10]}
    cube = xr.Dataset({"ratio": xr.DataArray(np.ones((2, 2)), path, tuple(path)), "ceiling": 2.4})
    assert len(wma.draw_distance(cube).lines) == 5, "two paths, two targets, the ceiling"
    plt.close("all")
    with pytest.raises(ValueError, match="3 patches do not tile"):
        wma.draw_plan(torch.ones(3, 2), ["a"], torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match="a column per word"):
        wma.draw_plan(torch.ones(4, 1), ["a", "b"])
    with pytest.raises(ValueError, match="unknown way of choosing"):
        bad: Any = ["best"]
        wma.draw_gains(made(), bad)


def test_minimising_gets_its_weight_on_validation_too() -> None:
    cube = made()
    wide = xr.concat([cube, cube.sel(alpha=[1.0]).assign_coords(alpha=[0.2])], "alpha", data_vars="minimal")
    wide["score"].loc[{"alpha": 0.2, "beta": 0.0, "order": 0, "split": "val"}] = 0.99
    wide["score"].loc[{"alpha": 0.2, "beta": 0.0, "order": 0, "split": "test"}] = 0.7
    np.testing.assert_array_equal(choosing.minimised(wide, "val"), 0.7)
    assert float(choosing.minimised(wide).min()) != 0.7
    with pytest.raises(ValueError, match="no beta = 0"):
        choosing.minimised(wide.sel(beta=[1.0, 1.4]), "val")


def test_beta_moves_the_printed_grids_in_few_cases() -> None:
    table = wma.two_way_anova().set_index(["dataset", "case"])
    assert (table.xs("normal", level="case")["p beta"] > 0.05).all()
    assert len(table) == 24 and int((table["p beta"] < 0.05).sum()) == 4
    assert table.loc[("MM-IMDb", "image missing"), "p beta"] < 0.001


def test_the_analysis_of_variance_is_that_of_two_means() -> None:
    from scipy import stats

    grid = xl.claims.published.tables("wma", 3)
    normal = grid[grid["case"] == "normal"].pivot_table(index="alpha", columns="beta", values="value").to_numpy()
    found = wma.two_way_anova().set_index(["dataset", "case"]).loc[("Hateful Memes", "normal")]
    a, b = normal.shape
    rest = normal - normal.mean(1, keepdims=True) - normal.mean(0) + normal.mean()
    ratio = a * ((normal.mean(0) - normal.mean()) ** 2).sum() / (b - 1) / ((rest**2).sum() / ((a - 1) * (b - 1)))
    assert found["p beta"] == pytest.approx(stats.f.sf(ratio, b - 1, (a - 1) * (b - 1)))
