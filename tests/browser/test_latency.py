"""Key press to changed pixel with three linked panels: measured and printed, never asserted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab_server
import latency
import pytest

pytestmark = pytest.mark.browser


def test_latency_is_printed(
    lab: str, lab_root: Path, new_page: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lab_server.write_notebook(lab_root / "linked.ipynb", [latency.CELL])
    page = new_page(width=1400)
    result = latency.in_lab(page, lab, "linked.ipynb", presses=20)
    with capsys.disabled():
        print(f"\n{latency.line('JupyterLab', result)}; shown {result['shown']:.1f} s after the cell was run")
    assert result["seen"] == 20
    assert page.problems == []
