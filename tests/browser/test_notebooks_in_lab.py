"""Every notebook of the project in JupyterLab: no error, no request that leaves the machine, pictures where there are views.

Each runs to its last view; what comes after asks nothing of a page, and the tier of notebooks runs every cell, against
its outputs. XMODAL_EVERY_CELL=1 runs all here too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab_server
import pytest

pytestmark = pytest.mark.browser
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def live_until(cells: list[dict[str, Any]]) -> int:
    """How many cells come before the last view is shown, with it; at least the first that has code."""
    code = {i: "".join(cell["source"]) for i, cell in enumerate(cells) if cell["cell_type"] == "code"}
    views = [i for i, text in code.items() if re.search(r"explore\(|SweepView\(|\.live\(|\.watch\(", text)]
    return len(cells) if os.environ.get("XMODAL_EVERY_CELL") else 1 + max(views, default=min(code))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, lab: str, lab_root: Path, new_page: Callable[..., Any]) -> None:
    source = json.loads(path.read_text(encoding="utf-8"))
    code = "".join("".join(cell["source"]) for cell in source["cells"] if cell["cell_type"] == "code")
    for file in path.parent.iterdir():  # notebooks may lean on files beside them
        if file.is_file():
            shutil.copy(file, lab_root / file.name)
    page = new_page(width=1400)
    page.set_default_timeout(120_000)
    lab_server.open_in_lab(page, lab, path.name, cells=live_until(source["cells"]))
    if "SweepView(" in code or "explore(" in code:
        page.evaluate("() => document.querySelector('.xm-root')?.scrollIntoView()")
        page.wait_for_selector(".xm-canvas")
        page.wait_for_function("() => [...document.querySelectorAll('.xm-canvas')].some((c) => c.width > 0)")
        assert max(lab_server.ink(page, ".xm-canvas")) > 0.02
        assert page.locator(".xm-error:visible").count() == 0
    assert page.evaluate("() => window.callbackErrors") == []
    assert page.problems == []
