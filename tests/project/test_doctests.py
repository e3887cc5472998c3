"""Every example in a docstring runs as it stands, from its own imports, and prints what it says."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "xmodal_lab").rglob("*.py"), *(ROOT / "widgets" / "xmodal_widgets").rglob("*.py")])
# Without an example a newcomer would have to guess: the names of the README and of lesson 00, and every metric.
SHOWN = (
    *(
        "load",
        "Samples",
        "Dataset",
        "Pairing",
        "LateFusion",
        "fit",
        "Loss",
        "loss_on",
        "from_module",
        "sweep",
        "tables",
    ),
    "top_eigenvalues",
    *("line", "plane", "lpf", "gap", "w2", "emd", "ipot", "sinkhorn", "alpha_star", "modality_gap"),
    *(
        "fisher",
        "exchange_rate",
        "pgd",
        "add_noise",
        "drop_modality",
        "corrupt",
        "table",
        "run",
        "explore",
        "SweepView",
    ),
    *("accuracy", "f1_macro", "auroc", "expected_calibration_error", "disagreement", "recall_at_k", "silhouette"),
    *("functional_margin", "prototype_alignment", "class_means", "davies_bouldin", "mmd", "landscape", "cube"),
)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def docstrings(path: Path) -> Iterator[tuple[str, str, int]]:
    """Name, docstring and line of a file's module, classes and functions, private ones too."""
    waiting: list[ast.AST] = [_tree(path)]
    while waiting:
        node = waiting.pop()
        waiting += [
            x for x in ast.iter_child_nodes(node) if isinstance(x, ast.stmt | ast.excepthandler | ast.match_case)
        ]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", path.stem), text, getattr(node, "lineno", 1)


# Each worker collects: what has no prompt is not parsed for that.
EXAMPLES = {
    f"{path.relative_to(ROOT)}:{name}": (path, name, text, line)
    for path in FILES
    if ">>>" in path.read_text(encoding="utf-8")
    for name, text, line in docstrings(path)
    if ">>>" in text
}


@pytest.mark.parametrize("where", EXAMPLES)
def test_it_prints_what_it_says(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, name, text, line = EXAMPLES[where]
    monkeypatch.chdir(tmp_path)  # examples may write files
    example = doctest.DocTestParser().get_doctest(text, {}, name, str(path), line)  # {}: it imports what it needs
    written: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=written.append)
    assert not written, "".join(written)


def test_the_names_that_newcomers_meet_have_an_example() -> None:
    assert set(SHOWN) <= {name for _, name, _, _ in EXAMPLES.values()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_example_is_left_that_does_not_run(path: Path) -> None:
    """Code in a docstring stands behind a prompt: then the test above runs it."""
    for name, text, _ in docstrings(path):
        code = re.findall(r"^ {2,}(?:import \w+|from [\w.]+ import |(?:\w+ += )?xl\.).*$", text, re.M)
        code += re.findall(r"^ *```|::$", text, re.M)
        assert not code, f"{name}: {code}"
