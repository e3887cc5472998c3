"""The ledger as effects: each interval beside the printed effect, in units of the smallest effect that it could see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..utils import checks as check
from .measuring import table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "id", "paper", "step", "rule", "word", "verdict", "value", "low", "high", "effect", "margin", "mde", "n", "needed",
    "unit", "value_seen", "low_seen", "high_seen", "effect_seen", "margin_seen", "former",
)  # fmt: skip


def effects(rows: str | pd.DataFrame | None = None, *, steps: bool = False) -> pd.DataFrame:
    """What was measured beside what is printed: one line per claim, or per step of each, tidy.

    Args:
        rows: a paper, or rows of :func:`table` or :func:`run`; the whole shipped ledger by default.
        steps: a line for each step of a claim; otherwise only for that on which its verdict rests.

    Returns:
        Columns id, paper, step, rule, word (of the step), verdict (of the claim), value, low, high (95 %), effect
        (printed, else the smallest of interest), margin (of a tie), mde (the smallest effect that n sees with 80 %
        power), n, needed (seeds that would decide), unit, former; and value_seen, low_seen, high_seen, effect_seen,
        margin_seen: distances from "no effect" in units of mde. Theorems have no interval and no line.

    Raises:
        ValueError: an unknown paper; rows without steps.

    Example:
        >>> import xmodal_lab as xl
        >>> list(xl.claims.effects("wma")["id"])[:2]
        ['wma.N', 'wma.X']
    """
    import pandas as pd

    if rows is None or isinstance(rows, str):
        rows = table(rows)
    check.instance("rows", rows, pd.DataFrame, "a paper, or rows of xl.claims.table() or xl.claims.run()")
    if "steps" not in rows:
        raise ValueError("these rows keep no steps; give rows of xl.claims.table() or xl.claims.run().")
    found = [
        _line(row, step)
        for row in rows.to_dict("records")
        for step in (row["steps"] if isinstance(row["steps"], list) else [])
        if step.get("interval") and (steps or step["name"] == row["step"])
    ]
    return pd.DataFrame(found, columns=list(COLUMNS))


def _line(row: dict[Any, Any], step: dict[str, Any]) -> dict[str, Any]:
    null, (low, high) = step.get("null", 0.0), step["interval"]
    given = {"value": step["value"], "low": low, "high": high, "effect": step.get("effect", step.get("sesoi"))}
    mde = step.get("mde") or float("nan")  # outcomes without spread have no scale
    seen = {f"{k}_seen": float("nan") if v is None else (v - null) / mde for k, v in given.items()}
    margin = step.get("margin")
    return given | seen | {
        "id": row["id"], "paper": row["paper"], "step": step["name"], "rule": step.get("rule", "win"),
        "word": step["word"], "verdict": row["verdict"], "margin": margin, "mde": mde, "n": step["n"],
        "needed": step.get("needed"), "unit": step.get("unit", ""), "former": row.get("former") is True,
        "margin_seen": float("nan") if margin is None else margin / mde,
    }  # fmt: skip
