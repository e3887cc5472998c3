"""Each lesson keeps its promises: what one learns and how long it takes, where to open it, exercises, verdicts, links."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS_PER_MINUTE, LINES_PER_MINUTE = 200, 30  # slow readers of prose and of code (ours)


def prose(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request: pytest.FixtureRequest) -> Any:
    """A notebook, with its path beside it."""
    notebook = nbformat.read(request.param, as_version=4)
    return request.param, notebook


def test_it_says_what_one_learns_and_how_long_that_takes(lesson: Any) -> None:
    path, notebook = lesson
    first = notebook.cells[0].source
    assert first.startswith("# ") and re.search(r"\*\*You will( learn)?\*\*", first)
    (minutes,) = re.findall(r"\*\*Time:\*\* (\d+) minutes", first)
    (promised,) = re.findall(rf"\({re.escape(f'notebooks/{path.name}')}\) \|.*\| (\d+) \|", README)
    assert minutes == promised, "the README says another time"
    lines = [line for cell in code(notebook) for line in cell.source.splitlines() if line.strip()]
    reading = len(prose(notebook).split()) / WORDS_PER_MINUTE + len(lines) / LINES_PER_MINUTE
    assert reading < int(minutes), "it cannot be read in the time it names"


def test_it_opens_in_colab_and_installs_what_is_missing(lesson: Any) -> None:
    _, notebook = lesson
    assert "[Open in Colab](https://colab.research.google.com/" in notebook.cells[0].source
    install = notebook.cells[1]
    assert install.cell_type == "code" and not install.outputs, "where the package is there, it says nothing"
    assert 'if importlib.util.find_spec("xmodal_lab") is None:\n    %pip install' in install.source
    package, extra = re.search(r'"?([\w-]+)(?:\[(\w+)\])?"?$', install.source).groups()
    assert package == PROJECT["name"]
    imported = set(re.findall(r"^(?:from|import) (\w+)", "\n".join(c.source for c in code(notebook)), re.M))
    assert (extra == "distributed") == ("distributed" in imported), "an extra that the lesson imports, and no other"


def test_its_exercises_have_checks_of_their_own(lesson: Any) -> None:
    _, notebook = lesson
    (at,) = [i for i, cell in enumerate(notebook.cells) if re.search(r"^## Exercises$", cell.source, re.M)]
    tail = notebook.cells[at:]
    asked = [n for cell in tail if cell.cell_type == "markdown" for n in re.findall(r"^(\d)\. ", cell.source, re.M)]
    answers = [cell.source for cell in tail if cell.cell_type == "code"]
    assert asked == [str(n + 1) for n in range(len(asked))] and len(asked) >= 3
    assert [re.search(r"^# (\d)\. ", source, re.M)[1] for source in answers] == asked
    assert all(re.search(r"^ *assert |assert_", source, re.M) for source in answers), "a check that can fail"


def test_it_shows_what_the_paper_says_beside_what_was_measured(lesson: Any) -> None:
    _, notebook = lesson
    columns = re.compile(r'"printed".*"measured"|claims\.show\(', re.DOTALL)
    tables = [cell for cell in code(notebook) if columns.search(cell.source)]
    assert tables, "a table from the ledger"
    shown = "".join(str(output.get("data")) for cell in tables for output in cell.outputs)
    assert "verdict" in shown and re.search(r"holds|fails|not seen here", shown)
    assert any(re.search(r"claims\.(table|show)\(", cell.source) for cell in code(notebook))


def test_it_was_run_from_top_to_bottom(lesson: Any) -> None:
    _, notebook = lesson
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert not any(output.output_type == "error" for cell in code(notebook) for output in cell.outputs)
    assert "widgets" not in notebook.metadata, "widget state is not stored"


def test_its_links_lead_somewhere(lesson: Any) -> None:
    path, notebook = lesson
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(notebook)):
        if target.startswith("#"):
            heading = target[1:].replace("-", " ").casefold()
            assert heading in prose(notebook).casefold(), target
        elif not re.match(r"(https?|attachment):", target):
            assert (path.parent / target.split("#")[0]).exists(), target


def test_every_lesson_is_in_the_first_one_and_in_the_readme() -> None:
    start = prose(nbformat.read(LESSONS[0], as_version=4))
    for path in LESSONS[1:]:
        assert f"]({path.name})" in start and f"](notebooks/{path.name})" in README
