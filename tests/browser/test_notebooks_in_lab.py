"""Every notebook of the project in JupyterLab: no error, no request that leaves the machine, pictures where there are views.

Of each the cells run that show a view or a diagram, and those whose names they need: the others ask nothing of a page,
and the tier of notebooks runs every cell, against its outputs. XMODAL_EVERY_CELL=1 runs all here too.
"""

from __future__ import annotations

import ast
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


SHOWS = re.compile(r"explore\(|SweepView\(|\.live\(|\.watch\(|lessons\.method\(")


def names(text: str) -> tuple[set[str], set[str]]:
    """What a cell makes or changes, and what it needs."""
    made, needed = set(), set()
    for node in ast.walk(ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", text, flags=re.M))):
        if isinstance(node, ast.Name):
            (needed if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            made |= {(name.asname or name.name).split(".")[0] for name in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            made |= {inner.id for inner in ast.walk(node.value) if isinstance(inner, ast.Name)}
    return made, needed


def asked_of_a_page(cells: list[dict[str, Any]]) -> list[int]:
    """The cells that show something live, and backwards from each those that make what it needs; else the first."""
    code = {i: "".join(cell["source"]) for i, cell in enumerate(cells) if cell["cell_type"] == "code"}
    if os.environ.get("XMODAL_EVERY_CELL"):
        return list(code)
    open_names: set[str] = set()
    kept = []
    for i in sorted(code, reverse=True):
        made, needed = names(code[i])
        if SHOWS.search(code[i]) or open_names & made:
            kept.append(i)
            open_names |= needed
    return sorted(kept) or [min(code)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, lab: str, lab_root: Path, lab_page: Callable[..., Any]) -> None:
    source = json.loads(path.read_text(encoding="utf-8"))
    code = "".join("".join(cell["source"]) for cell in source["cells"] if cell["cell_type"] == "code")
    for file in path.parent.iterdir():  # notebooks may lean on files beside them
        if file.is_file():
            shutil.copy(file, lab_root / file.name)
    page = lab_page(width=1400)
    page.set_default_timeout(120_000)
    lab_server.open_in_lab(page, lab, path.name, cells=asked_of_a_page(source["cells"]))
    if "SweepView(" in code or "explore(" in code:
        page.evaluate("() => document.querySelector('.xm-root')?.scrollIntoView()")
        page.wait_for_selector(".xm-canvas")
        page.wait_for_function("() => [...document.querySelectorAll('.xm-canvas')].some((c) => c.width > 0)")
        assert max(lab_server.ink(page, ".xm-canvas")) > 0.02
        assert page.locator(".xm-error:visible").count() == 0
    assert page.evaluate("() => window.callbackErrors") == []
    assert page.problems == []
