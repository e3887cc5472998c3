"""The ledger, live: each row's interval beside the printed effect, in units of the smallest effect that its seeds see.

It is read from the ledger that ships (or any rows), so there is nothing to compute and nothing is shipped beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..view.kinds import Intervals

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

EVERY = "all"
LIMITS = (-4.0, 8.0)  # of the axis, in the smallest effects seen; beyond, an arrow (ours)
NUMBERS = {
    "value": "effect, in units of the smallest that these seeds see (80 % power)",
    "low": "lower end", "high": "upper end", "effect": "printed, or smallest of interest",
    "margin": "margin of a tie, ±",
}  # fmt: skip


def open(
    views: Any = None, controls: Any = None, compute: Any = None, rows: str | pd.DataFrame | None = None, **options: Any
) -> SweepView:
    """The ledger as intervals, by paper and by word.

    Args:
        views, controls: in place of the default ones.
        compute: what "Train here" would run; a row is measured by ``xl.claims.run``, so no button by default.
        rows: a paper, or rows of ``xl.claims.table()`` or ``xl.claims.run()``; the shipped ledger by default.
        options: ``title``, and a value for any control: ``paper``, ``word``.

    Raises:
        ValueError: rows none of which has an interval.
    """
    from xmodal_lab import plots

    found, notes = ledger(rows)
    cube = effects_cube(found)
    words = cube["said"].attrs["flag_meanings"]
    shown = views or [
        Intervals(
            "value", "low", "high", mark="effect", margin="margin", color="said", rows="id", limits=LIMITS,
            colors=tuple(plots.WORDS[w] for w in words), shade=(-1.0, 1.0), notes=tuple(notes),
            title="what was measured, beside what is printed",
        )
    ]  # fmt: skip
    opening: dict[str, Any] = {"paper": EVERY, "word": EVERY, "title": "The ledger: each claim's interval, by its word"}
    return SweepView(cube, shown, controls or ["paper", "word"], compute=compute, **(opening | options))


def ledger(rows: str | pd.DataFrame | None = None) -> tuple[pd.DataFrame, list[str]]:
    """The effects of the rows that have an interval, and a sentence on each: the claim and the measurement."""
    from xmodal_lab import claims

    table = claims.table(rows) if rows is None or isinstance(rows, str) else rows
    found = claims.effects(table)
    found = found[np.isfinite(found["value_seen"].astype(float))].reset_index(drop=True)
    if found.empty:
        raise ValueError("none of these rows has an interval to draw; theorems have none.")
    known = table.set_index("id")
    return found, [_sentence(known.loc[i]) for i in found["id"]]


def _sentence(row: pd.Series) -> str:
    """The claim, the measurement, and how firm its word is where that is known."""
    from xmodal_lab.claims.page import firmly

    share = firmly(dict(row))
    again = f" With other seeds the same word in {share}." if share else ""
    return f"{row['claim']} Measured: {row['measured']}.{again}"


def effects_cube(found: pd.DataFrame) -> xr.Dataset:
    """The effects over (paper, word, id), NaN where a row is of another paper or has another word."""
    import xarray as xr

    from xmodal_lab import plots

    said = ["needs" if str(v).startswith("needs") else str(v) for v in found["verdict"]]
    papers = [EVERY, *dict.fromkeys(found["paper"])]
    words = [word for word in plots.WORDS if word in said]
    of_paper = np.array([[p in (EVERY, q) for q in found["paper"]] for p in papers])
    of_word = np.array([[w in (EVERY, q) for q in said] for w in [EVERY, *words]])
    there = of_paper[:, None] & of_word
    variables: dict[str, Any] = {
        name: (("paper", "word", "id"), np.where(there, found[f"{name}_seen"].to_numpy(dtype=float), np.nan),
               {"long_name": label})
        for name, label in NUMBERS.items()
    }  # fmt: skip
    codes = np.array([words.index(w) for w in said], dtype=np.int16)
    variables["said"] = (("id",), codes, {"long_name": "word", "flag_meanings": words})
    cube = xr.Dataset(variables, {"paper": papers, "word": [EVERY, *words], "id": list(found["id"])})
    cube["id"].attrs["long_name"] = "claim"
    return cube
