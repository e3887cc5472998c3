"""The ledger as a live view: what it draws is what the ledger says; rows without an interval, or of another paper, go."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from xmodal_widgets import Intervals, SweepView, explore
from xmodal_widgets.explorers import claims as explorer

import xmodal_lab as xl
from xmodal_lab import plots
from xmodal_lab.claims.claim import Claim, Conditions
from xmodal_lab.claims.verdicts import Measured, gain, same


def small(**changed: object) -> xr.Dataset:
    rows = {"row": ["a", "b", "c"], "world": ["one", "two"]}
    value = xr.DataArray([[1.0, np.nan, -2.0], [0.5, 0.6, 0.7]], rows, ("world", "row"))
    kind = xr.DataArray(np.array([0, 1, 1], dtype=np.int8), {"row": rows["row"]}, attrs={"flag_meanings": "good bad"})
    return xr.Dataset({"value": value, "low": value - 1, "high": value + 1, "kind": kind, **changed})


def drawn(view: SweepView) -> list[str]:
    return [tick.get_text() for tick in view.figure().axes[0].get_yticklabels()]


def test_the_ledger_opens_by_name_and_draws_what_it_says() -> None:
    view = explore("claims")
    effects = xl.claims.effects()
    there = effects[np.isfinite(effects["value_seen"].astype(float))]
    assert view.cube["id"].values.tolist() == list(there["id"]) == drawn(view)
    at = {"paper": "all", "word": "all"}
    for name in explorer.NUMBERS:
        np.testing.assert_array_equal(view.cube[name].sel(at), there[f"{name}_seen"].astype(float))
    (shown,) = view._shown
    assert isinstance(shown, Intervals) and shown.notes is not None and len(shown.notes) == len(there)
    words = view.cube["said"].attrs["flag_meanings"]
    assert shown.colors == tuple(plots.WORDS[w] for w in words), "one colour for a word, here and in the picture"
    said = [words[int(code)] for code in view.cube["said"]]
    assert said == ["needs" if v.startswith("needs") else v for v in there["verdict"]]


def test_a_paper_and_a_word_leave_the_others_out() -> None:
    effects = xl.claims.effects("dml").dropna(subset=["value_seen"])
    view = explore("claims", paper="dml")
    assert drawn(view) == list(effects["id"])
    word = effects["verdict"].iloc[0]
    view.set(word=word)
    assert drawn(view) == list(effects["id"][effects["verdict"] == word])


def test_rows_of_ones_own_and_rows_that_have_no_interval() -> None:
    def wins(c: Conditions) -> Measured:
        return gain(0.02 + 0.01 * np.arange(len(c.seeds)))

    def ties(c: Conditions) -> Measured:
        return same(0.001 * np.arange(len(c.seeds)), margin=1.0)

    mine = [Claim(f"mine.{f.__name__}", "Mine.", "Tab 1", "", f, effect=e) for f, e in ((wins, 1.0), (ties, None))]
    view = explore("claims", rows=xl.claims.run(mine, progress=False))
    assert drawn(view) == ["mine.wins", "mine.ties"]
    assert np.isfinite(view.cube["margin"].sel(paper="mine", word="all")).values.tolist() == [False, True]
    with pytest.raises(ValueError, match="none of these rows has an interval"):
        explore("claims", rows=xl.claims.run("dml.T3", progress=False))


def test_intervals_check_the_cube() -> None:
    good = Intervals("value", "low", "high", color="kind", notes=("x", "y", "z"), shade=(-1.0, 1.0))
    view = SweepView(small(), good, world="one")
    assert drawn(view) == ["a", "c"], "b has no number there"
    view.set(world="two")
    assert drawn(view) == ["a", "b", "c"]
    for bad, why in (
        (Intervals("value", "low", "top"), "unknown variable in the Intervals view"),
        (Intervals("value", "low", "high", notes=("x",)), "one note for each of 3 rows, got 1"),
        (Intervals("value", "low", "high", shade=(1.0, -1.0)), "shade of the Intervals view must be"),
        (Intervals("value", "low", "high", limits=(1.0, 0.0)), "limits of the Intervals view must be"),
        (Intervals("value", "low", "high", color="value"), "holds no whole numbers"),
    ):
        with pytest.raises(ValueError, match=why):
            SweepView(small(), bad)
    lone = small(mean=xr.DataArray(1.0))
    with pytest.raises(ValueError, match="need many rows, 'mean' is a single number"):
        SweepView(lone, Intervals("mean", "low", "high"))
    apart = small(other=xr.DataArray([1.0, 2.0], {"k": [0, 1]}))
    with pytest.raises(ValueError, match="count rows along 'row', but 'other'"):
        SweepView(apart, Intervals("value", "low", "other"))


def test_a_row_says_how_firm_its_word_is_where_that_is_known() -> None:
    from xmodal_widgets.explorers.claims import ledger

    rows = xl.claims.table("uml")
    found, notes = ledger(rows)
    assert len(found) == len(notes) and all("With other seeds the same word in " in note for note in notes)
    _, bare = ledger(rows.drop(columns="again"))
    assert not any("other seeds" in note for note in bare)
