"""Each lesson keeps its promises: a diagram, a prediction, an answer, exercises that say what is off, verdicts, links."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from lesson_names import binds, needs, slice_for

from xmodal_lab import lessons
from xmodal_lab.claims.published import PAPERS
from xmodal_lab.sweeps.experiment import get

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECONDS = (
    75  # of processor time for a whole lesson, as docs/class.md notes it; beside others it is a fifth more than alone
)
MOST_LINES, USUAL_LINES = 12, 7  # of a cell
WORDS_PER_MINUTE, LINES_PER_MINUTE = 200, 30  # slow readers of prose and of code (ours)


def read(path: Path) -> Any:
    import nbformat  # two seconds of processor time, in the one worker that comes here

    return nbformat.read(path, as_version=4)


def prose(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", [])) - {"nbval-ignore-output", "effect"}


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request: pytest.FixtureRequest) -> Any:
    """A notebook, with its path beside it."""
    notebook = read(request.param)
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


def test_its_first_cells_are_words_the_installation_and_a_diagram(lesson: Any) -> None:
    path, notebook = lesson
    first, install, diagram = notebook.cells[:3]
    assert "(../docs/glossary.md)" in first.source and "(../docs/class.md)" in first.source
    assert tags(install) == {"plumbing"} and install.metadata["jupyter"]["source_hidden"] and not install.outputs
    assert 'if importlib.util.find_spec("xmodal_lab") is None:\n    %pip install' in install.source
    package, extra = re.search(r'"?([\w-]+)(?:\[(\w+)\])?"?$', install.source).groups()
    assert package == PROJECT["name"]
    imported = set(re.findall(r"^(?:from|import) (\w+)", "\n".join(c.source for c in code(notebook)), re.M))
    assert (extra == "distributed") == ("distributed" in imported), "an extra that the lesson imports, and no other"
    (name,) = re.findall(r'^lessons\.method\("(\w+)"\)$', diagram.source, re.M)
    assert tags(diagram) == {"diagram"}
    assert diagram.outputs[0]["data"]["text/plain"] == str(lessons.method(name)), "the diagram as it is now"
    paper = path.stem.split("_", 1)[1]
    if paper in PAPERS:
        assert name == paper
        (link,) = re.findall(
            rf"^- \[{paper}\]\((https://\S+)\): .*\[lesson \d\d\]\(notebooks/{path.name}\)$", README, re.M
        )
        assert f"]({link})" in first.source, "the paper, named and linked as in the README"


def test_it_asks_for_a_prediction_before_something_moves(lesson: Any) -> None:
    _, notebook = lesson
    asked = [i for i, cell in enumerate(notebook.cells) if "prediction" in tags(cell)]
    assert asked
    for i in asked:
        assert re.match(r"\*\*Predict", notebook.cells[i].source) and "?" in notebook.cells[i].source
        after = [cell for cell in notebook.cells[i + 1 :] if cell.cell_type == "code"]
        assert after[0].outputs or after[1].outputs, "what comes next shows something"


def test_it_ends_with_its_answer_and_computes_it(lesson: Any) -> None:
    _, notebook = lesson
    (at,) = [i for i, cell in enumerate(notebook.cells) if cell.source == "## So"]
    answer, after = notebook.cells[at + 1], notebook.cells[at + 2]
    assert {"so"} <= tags(answer) and after.source.startswith("## Exercises")
    said = [line for output in answer.outputs for line in output["data"]["text/plain"].splitlines()]
    assert re.search(r"^lessons\.so\($", answer.source, re.M), "an answer that wraps between words"
    assert 3 <= len(said) <= 4 and all(line.endswith(".") for line in said)
    assert re.search(r"\d", " ".join(said)) and not re.search(r"\bnan\b", " ".join(said))
    typed = re.sub(r"\{[^{}]*\}", "", answer.source)
    assert not re.search(r"\d+(\.\d+)? (points|%)", typed), "a number that no cell computes"


def parts_of(notebook: Any) -> list[tuple[str, Any, Any]]:
    """(name, question, blank cell) of each exercise."""
    cells, found = notebook.cells, []
    for i, cell in enumerate(cells):
        if name := re.search(r'^lessons\.check\("(\w+\.\d)"', cell.source, re.M):
            found.append((name[1], cells[i - 1], cell))
    return found


def test_its_exercises_have_hints_a_folded_solution_and_a_check(lesson: Any) -> None:
    _, notebook = lesson
    (at,) = [i for i, cell in enumerate(notebook.cells) if cell.source.startswith("## Exercises")]
    rest = [cell for cell in notebook.cells[at:] if tags(cell) != {"further"}]
    assert all(tags(cell) == {"exercise"} for cell in rest)
    exercises = parts_of(notebook)
    assert len(exercises) >= 3 and 2 * len(exercises) == len(rest) - 1
    for n, (name, question, blank) in enumerate(exercises, 1):
        assert (
            name in lessons.known()
            and name.endswith(f".{n}")
            and re.match(rf"\*\*{n}\.\*\* \*\([a-z ]+, \d+ min\)\* ", question.source)
        )
        folded = re.findall(r"<details><summary>(\w+)[ \d]*</summary>\n\n(.*?)\n\n</details>", question.source, re.S)
        assert [word for word, _ in folded].count("Solution") == 1 and folded[0][0] == "Hint"
        assert blank.source.startswith(f"answer_{n} = ...\n\nlessons.check(")
        assert blank.outputs[0]["data"]["text/plain"] == f"· {name} waits for your answer"


def test_what_a_paper_leaves_open_stands_at_the_end_with_a_line_that_begins_it(lesson: Any) -> None:
    """Settings of each sweep are ones that its experiment takes, and there are as many runs as it says."""
    path, notebook = lesson
    paper = path.stem.split("_", 1)[1]
    last = notebook.cells[-1]
    assert (tags(last) == {"further"}) == (paper in PAPERS or paper == "the_bench")
    found = re.findall(r"\((\d+) runs[^)]*\)\.?\n  `(xl\.sweep\(.*\))`$", last.source, re.M)
    assert len(found) == last.source.count("xl.sweep") == (2 if "further" in tags(last) else 0)
    for runs, line in found:
        call = ast.parse(line, mode="eval").body
        assert isinstance(call, ast.Call)
        experiment = get(ast.literal_eval(call.args[0]))
        axes = {k.arg: eval(ast.unparse(k.value)) for k in call.keywords}
        axes = {k: list(v) if isinstance(v, (list, range)) else [v] for k, v in axes.items()}
        assert set(axes) <= set(experiment.defaults)
        members = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
        assert len(members) == int(runs)
        for member in members:
            experiment.check({**experiment.defaults, **member})


@pytest.mark.slow
def test_a_handout_has_no_exercises(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "class.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (command,) = re.findall(r"^    jupyter (nbconvert .*--output handout .*)$", page, re.M)
    asked = command.replace("--output-dir .", f"--output-dir {tmp_path}").split()
    subprocess.run([sys.executable, "-m", *asked], cwd=ROOT, check=True, capture_output=True)
    handout = read(tmp_path / "handout.ipynb")
    assert len(handout.cells) > 20 and not any("exercise" in tags(cell) for cell in handout.cells)


@pytest.mark.slow
def test_its_solutions_pass_their_checks(lesson: Any) -> None:
    """Each solution runs on the cells that it needs, and no others, and its check says that it is right."""
    path, notebook = lesson
    before = [cell.source for cell in code(notebook) if not tags(cell) & {"exercise", "plumbing", "so"}]
    effects = {cell.source for cell in code(notebook) if "effect" in cell.metadata.get("tags", [])}
    names: dict[str, Any] = {"__name__": "lesson"}
    ran: set[str] = set()
    with chdir(path.parent):
        for name, question, blank in parts_of(notebook):
            solution = re.search(r"```python\n(.*?)\n```", question.source, re.S)[1]
            asked = blank.source.split("\n\n", 1)[1]
            for source in slice_for(f"{solution}\n{asked}", before, effects):
                if source not in ran:
                    ran.add(source)
                    exec(compile(source, path.name, "exec"), names)
            exec(compile(solution, name, "exec"), names)
            told = eval(compile(asked, name, "eval"), names)
            assert told.right, told


def test_no_name_that_a_lesson_needs_is_assigned_anew(lesson: Any) -> None:
    _, notebook = lesson
    cells = code(notebook)
    read = set().union(*(needs(cell.source) for cell in cells))
    for name in sorted(read):
        where = [cell.id for cell in cells if name in binds(cell.source)]
        assert len(where) <= 1, f"{name} is bound in {where}, and read in other cells"


def test_its_cells_are_short(lesson: Any) -> None:
    _, notebook = lesson
    shown = [cell for cell in code(notebook) if "plumbing" not in tags(cell)]
    lines = sorted(sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in shown)
    assert lines[-1] <= MOST_LINES and lines[len(lines) // 2] <= USUAL_LINES


def test_it_was_noted_to_run_within_a_minute(lesson: Any) -> None:
    path, _ = lesson
    table = (ROOT / "docs" / "class.md").read_text(encoding="utf-8")
    (seconds,) = re.findall(rf"^\| {path.stem} \| (\d+) \| \d+ \|$", table, re.M)
    assert int(seconds) <= SECONDS, "make notebooks notes the processor time of a whole run"


@pytest.mark.parametrize("name", ["01_synergy", "02_cox", "03_uml", "04_wma", "05_dml"])
def test_its_papers_core_is_written_out(name: str) -> None:
    """The method's central step is done by hand once, and the library is held to it."""
    notebook = read(ROOT / "notebooks" / f"{name}.ipynb")
    (at,) = [i for i, c in enumerate(notebook.cells) if re.search(r"\*\*[Bb]y hand|^## By hand", c.source)]
    by_hand = notebook.cells[at + 1 : at + 3]
    assert all(cell.cell_type == "code" for cell in by_hand)
    assert "assert" in by_hand[1].source, "the library's answer is the same"


def test_it_names_its_neighbours(lesson: Any) -> None:
    path, notebook = lesson
    place = LESSONS.index(path)
    for neighbour in LESSONS[max(0, place - 1) : place] + LESSONS[place + 1 : place + 2]:
        assert f"]({neighbour.name})" in notebook.cells[0].source


def test_no_cell_begins_with_plumbing(lesson: Any) -> None:
    _, notebook = lesson
    assert not any("NBVAL" in cell.source for cell in code(notebook)), "what nbval leaves out is said in tags"


def test_it_shows_what_the_paper_says_beside_what_was_measured(lesson: Any) -> None:
    _, notebook = lesson
    columns = re.compile(r'"printed".*"measured"|claims\.show\(', re.DOTALL)
    tables = [cell for cell in code(notebook) if columns.search(cell.source)]
    assert tables, "a table from the ledger"
    shown = "".join(str(output.get("data")) for cell in tables for output in cell.outputs)
    assert "verdict" in shown and re.search(r"holds|fails|undecided|smaller than printed", shown)
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
    start = prose(read(LESSONS[0]))
    for path in LESSONS[1:]:
        assert f"]({path.name})" in start and f"](notebooks/{path.name})" in README
