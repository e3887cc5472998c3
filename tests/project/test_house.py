"""The house's own rules: imports run one way, importing is cheap, names exist, rooms stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xmodal_lab as xl

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "xmodal_lab"
# What a file may import from the package; a file that is in no list is a room.
LAST = (
    *("training", "stacking", "store", "experiments", "trials", "_cubes", "_runner", "_tasks", "_compact", "_edited"),
    *("sweeps", "claims"),
    *("look", "bench", "conditions", "plots", "cli", "__main__", "_sweep_command", "_claims_command", "_ledger"),
)
HEAVY = ("pandas", "xarray", "matplotlib", "sklearn", "transformers", "ot", "umap", "scipy", "seaborn", "zarr")


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")


def siblings(path: Path) -> set[str]:
    """Names of the package's modules that ``path`` imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module.split(".")[0]} if node.module else {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("xmodal_lab", "xmodal_widgets")):
            found.add(".".join((node.module or "").split(".")[:2]))
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith(("xmodal_lab", "xmodal_widgets"))}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    used = siblings(path)
    inside = path.relative_to(PACKAGE).parts
    if inside[0] not in (*(f"{name}.py" for name in LAST), "papers"):
        assert not used & set(LAST), "a room must not import what stands on the rooms"
    if path.stem in ("samples", "_checks", "_kinds", "_labels"):
        assert used <= {"_checks", "_kinds", "_labels", "_doors"}
    if path.stem == "plots":
        assert used <= {"_checks", "intervals"}, "plots trains and measures nothing"
    assert not any(name.startswith("xmodal_widgets") for name in used), "the library stands without the widgets"
    if inside[0] == "papers":
        papers = {p.stem for p in (PACKAGE / "papers").iterdir()} - {inside[1].removesuffix(".py"), "__init__"}
        assert not used & papers, "papers never import each other"


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, xmodal_lab; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before = subprocess.run(
        [sys.executable, "-c", f"import sys, torch; print([m for m in {HEAVY!r} if m in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == before.stdout


def test_public_names_exist_and_are_documented() -> None:
    for name in ("load", "Samples", "Dataset", "LateFusion", "fit", "loss_on", "Loss", "Pairing", "Run"):
        assert getattr(xl, name).__doc__, name
    for room in ("datasets", "landscape", "curvature", "flatness", "transport", "metrics", "plots", "pairing"):
        assert getattr(xl, room).__doc__, room


def test_no_machine_paths_or_hosts_in_the_project() -> None:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    forbidden = ("/" + "work/", "/ro" + "ot/", "/ho" + "me/")
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".txt", ".ipynb", ".js", ".json", ".yml") and path.is_file():
            text = path.read_text()
            assert not any(f in text for f in forbidden), name
