"""The ledger as effects: each interval beside the printed effect, in units of the smallest effect that it could see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "id", "paper", "step", "rule", "word", "verdict", "value", "low", "high", "effect", "margin", "mde", "n", "needed",
    "unit", "value_seen", "low_seen", "high_seen", "effect_seen", "margin_seen", "former",
)  # fmt: skip


def tidy(rows: Iterable[dict[Any, Any]], steps: bool = False) -> pd.DataFrame:
    """One line per claim, or per step of each, of rows of a ledger: see :func:`~.measuring.effects`."""
    import pandas as pd

    found = [
        _line(row, step)
        for row in rows
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
