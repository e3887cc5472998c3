"""The picture of the house in docs/architecture.md is the house that the imports build."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "xmodal_lab"


def storeys() -> dict[str, int]:
    """Module -> its storey in the picture, counted from the top."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    picture = re.search(r"```text\n(.*?)```", text, re.DOTALL)
    assert picture is not None
    found: dict[str, int] = {}
    for number, line in enumerate(picture.group(1).strip().splitlines()):
        _, *modules = re.split(r"\s+", re.sub(r"\s{10,}.*", "", line.strip()) if number == 0 else line.strip())
        for module in modules:
            found[module] = number
    return found


def imported(path: Path) -> set[str]:
    """Top-level modules of the package that a file imports, wherever in the file."""
    found: set[str] = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {node.module.split(".")[0]} if node.module else {a.name for a in node.names}
    return found


def public_files() -> list[Path]:
    return sorted(
        p for p in PACKAGE.rglob("*.py")
        if not p.relative_to(PACKAGE).parts[0].startswith("_")
    )  # fmt: skip


def test_every_module_is_in_the_picture_and_no_other() -> None:
    there = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in public_files()}
    assert set(storeys()) == there


@pytest.mark.parametrize("path", public_files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_as_in_the_picture(path: Path) -> None:
    picture = storeys()
    own = picture[path.relative_to(PACKAGE).parts[0].removesuffix(".py")]
    wrong = {m for m in imported(path) if m in picture and picture[m] > own}
    assert not wrong, f"{path.name} stands above {sorted(wrong)} in docs/architecture.md"


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    import xmodal_lab

    assert citation["version"] == xmodal_lab.__version__
    assert len(citation["references"]) == 5
