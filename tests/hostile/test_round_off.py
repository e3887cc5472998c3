"""Rounding is another on every processor, so no text, ledger row or lesson shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from xmodal_lab.claims import verdicts
from xmodal_lab.utils import statistics as intervals

ROOT = Path(__file__).resolve().parents[2]
ROUNDING = re.compile(r"(?<![<\d.] )(?<![\w.])\d(?:\.\d+)?e-(?:1[2-9]|[2-9]\d)\b")


@pytest.mark.parametrize("value", [2.9e-14, -3.9e-14, 0.0, 1e-17])
def test_rounding_is_printed_alike(value: float) -> None:
    assert intervals.printed(value) == "< 1e-12"
    assert verdicts.exact(3, 3, "designs", worst=value).text == "3 of 3 designs, worst < 1e-12"
    assert verdicts.exact(3, 3, "designs", worst=value).value == 0.0


def test_what_is_no_rounding_stays() -> None:
    found = verdicts.exact(3, 3, "designs", worst=0.0123, numbers={"off": 3e-16, "more": [1e-15, 0.5, 2], "n": 3})
    assert (found.text, found.value) == ("3 of 3 designs, worst 0.012", 0.0123)
    assert found.numbers == {"off": 0.0, "more": [0.0, 0.5, 2], "n": 3}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_no_lesson_shows_rounding(path: Path) -> None:
    for cell in json.loads(path.read_text())["cells"]:
        for output in cell.get("outputs", []):
            shown = [
                output.get("text", ""),
                *(output.get("data", {}).get(f"text/{k}", "") for k in ("plain", "markdown")),
            ]
            found = ROUNDING.findall(" ".join("".join(part) for part in shown))
            assert not found, f"{found}: print through xmodal_lab.utils.statistics.printed"


@pytest.mark.parametrize(
    "name", ["claims", "claims_avmnist", "claims_emoji", "claims_shapes", "claims_esc10", "claims_nlvr"]
)
def test_no_ledger_holds_rounding(name: str) -> None:
    (path,) = (p for p in (ROOT / "xmodal_lab").rglob(f"{name}.json"))
    page = ROOT / f"{name.upper()}.md"
    assert not ROUNDING.findall(path.read_text() + page.read_text())
