"""The files around the code agree with each other: bounds, pins, workflow, containers, site builder."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import xmodal_lab as xl

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
REQUIRED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRA = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
LOWEST_PYTHON = PROJECT["requires-python"].removeprefix(">=")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("requirement", REQUIRED + EXTRA, ids=lambda requirement: requirement.name)
def test_what_the_tests_ran_with_lies_within_the_bounds(requirement: Requirement) -> None:
    pins = {plain(name): version for name, version in PINS.items()}
    assert plain(requirement.name) in pins, "constraints.txt names no version"
    assert requirement.specifier.contains(pins[plain(requirement.name)], prereleases=True)


@pytest.mark.parametrize("requirement", REQUIRED, ids=lambda requirement: requirement.name)
def test_a_dependency_has_a_lower_bound_and_no_upper_one(requirement: Requirement) -> None:
    assert [bound.operator for bound in requirement.specifier] == [">="]
    assert Version(metadata.version(requirement.name)) >= Version(next(iter(requirement.specifier)).version)


def test_containers_and_ci_use_the_lowest_python_and_the_pinned_torch() -> None:
    binder = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (pip,) = [part["pip"] for part in binder if isinstance(part, dict)]
    assert f"python={LOWEST_PYTHON}" in binder and f"torch=={PINS['torch']}+cpu" in pip
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert container["image"].endswith(f"python:{LOWEST_PYTHON}")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert set(re.findall(r'python-version: "([\d.]+)"', workflow)) == {LOWEST_PYTHON}
    assert Version(f"{sys.version_info.major}.{sys.version_info.minor}") >= Version(LOWEST_PYTHON)


def test_the_workflow_has_one_full_job_and_three_light_ones() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert {"run": ".ci/run"} in jobs["everything"]["steps"]
    light = jobs["light"]["strategy"]["matrix"]
    assert list(light) == ["include"], "no product of lists that could make more jobs"
    runs = {(job["os"].partition("-")[0], job["bounds"]) for job in light["include"]}
    assert runs == {("macos", "highest"), ("windows", "highest"), ("ubuntu", "lowest-direct")}


def test_the_release_list_names_commands_that_exist() -> None:
    steps = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## A release")[2]
    for path in re.findall(r"`([\w./]+/[\w.]+(?:\.py|\.cff|run)?)`", steps):
        assert (ROOT / path).exists() or path in ("site/",), path
    assert xl.__version__ and "twine check --strict" in steps and "python -m build" in steps


def test_a_release_is_one_commit() -> None:
    """Version, changelog, citation and the text of the tag speak of one version, released or not."""
    version = Version(xl.__version__)
    heading = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[1]
    named, when = re.fullmatch(r"(\S+) \((not yet released|\d{4}-\d\d-\d\d)\)", heading).groups()
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    released = not version.is_devrelease
    assert named == version.base_version and (when != "not yet released") == released
    assert re.search(r"^version: (\S+)$", citation, re.M)[1] == str(version)
    dated = re.search(r"^date-released: \"?([\d-]+)", citation, re.M)
    assert (dated is not None) == released and (dated is None or dated[1] == when)
    told = (ROOT / "docs" / "tags" / f"v{version.base_version}.txt").read_text(encoding="utf-8")
    assert told.startswith(f"xmodal_lab {version.base_version}\n")


@pytest.fixture(scope="module")
def builder():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import make_docs
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return make_docs


def test_the_reference_has_what_a_room_passes_on_and_nothing_private(builder) -> None:
    shown = builder.passed_on(xl.transport)
    assert {"w2", "ipot", "modality_gap", "ModalityGap"} <= set(shown)
    assert not any(name.startswith("_") for name in shown) and "torch" not in shown
    assert {"fit", "Run", "load", "Loss", "sweep"} <= set(builder.passed_on(xl))
    assert "transport" not in builder.passed_on(xl), "a room is listed as a module"


def test_a_users_own_notebook_has_a_page_and_half_a_file_ends_nothing(builder, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "class.md").write_text("| 05_dml | 29 | 700 |\n")
    import nbformat  # two seconds of processor time, in the one worker that comes here

    mine = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1/0")])
    nbformat.write(mine, tmp_path / "notebooks" / "my own.ipynb")
    slider = nbformat.v4.new_code_cell("import ipywidgets\nslider = ipywidgets.IntSlider(value=7)\nprint('ran')")
    nbformat.write(nbformat.v4.new_notebook(cells=[slider]), tmp_path / "notebooks" / "05_dml.ipynb")
    (tmp_path / "notebooks" / "half.ipynb").write_text('{"cells": [')
    monkeypatch.setattr(builder, "ROOT", tmp_path)
    builder._notebooks.cache_clear()
    try:
        good, told = builder._notebooks()
        assert [path.stem for path in good] == ["05_dml", "my own"]
        assert len(told) == 1 and told[0].startswith("half.ipynb is no notebook")
        assert "[05](05_dml.html) · [my own](my%20own.html)" in builder._navigation()
        assert [builder._work(path) for path in good] == [29, 0]
        told = builder.lesson(good[1], tmp_path / "my own.html", live=True)
        assert told == "my own.ipynb raised ZeroDivisionError: division by zero; it is shown as it was saved."
        assert (tmp_path / "my own.html").is_file()
        assert builder.lesson(good[0], tmp_path / "05_dml.html", live=True) == ""
        page = (tmp_path / "05_dml.html").read_text(encoding="utf-8")
        assert "ran" in page and "widget-state+json" not in page, "a view's cube is in its frame, not in the page too"
    finally:
        builder._notebooks.cache_clear()


def test_dead_links_are_found(builder, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top"></h1><a href="b.html#here">x</a><a href="#top">x</a><a href="https://e.org/none">x</a>'
        '<a href="b.html#gone">x</a><img src="none.png"><a href="#nowhere">x</a><a href="c.html">x</a>'
    )
    (tmp_path / "b.html").write_text('<p id="here"></p>')
    assert builder.dead_links(tmp_path) == [
        "a.html: #nowhere",
        "a.html: b.html#gone",
        "a.html: c.html",
        "a.html: none.png",
    ]


def test_a_word_of_the_glossary_says_what_it_means_where_a_lesson_first_says_it(builder) -> None:
    words = builder._words()
    assert len(words) > 30 and words["hessian"][0] == "Loss-and-its-shape" and not set(words) & set(builder.PLAIN)
    places = re.findall(r"^## (.*)$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.M)
    assert {place for place, _ in words.values()} <= {place.replace(" ", "-") for place in places}
    text = "# The Hessian\n`encoder` and $\\loss$ of [two encoders](x.html): the Encoders.\n\n    loss\n\nAn encoder."
    told = builder.glossed(text, words)
    assert told.count("glossary.html#") == 1 and '[Encoders](glossary.html#Nets "the part of a net' in told
    assert "encoder" not in words and "hessian" in words, "a later cell does not say it again"
    assert re.sub(r"\[(\w+)\]\(glossary[^)]*\)\"\)|\[(\w+)\]\(glossary.*?\"\)", r"\1\2", told) == text


def test_pages_fetch_nothing_from_elsewhere(builder, tmp_path: Path) -> None:
    builder.lesson(ROOT / "notebooks" / "04_wma.ipynb", tmp_path / "lesson.html", live=False)
    builder.page(ROOT / "docs" / "security.md", tmp_path / "page.html")
    for name in ("lesson", "page"):
        text = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="https?:[^"]*"', text) == []
    text = (tmp_path / "lesson.html").read_text(encoding="utf-8")
    assert 'src="data:image/svg+xml;base64,' in text
    assert (
        text.index('<style media="screen and (prefers-color-scheme: dark)">')
        < text.index("</head>")
        < text.index(builder.TELLS)
    )
    assert builder.FORMULA in text and 'class="formula"' in text, "black letters would stand on a dark page"
    folds = re.findall(r"<details><summary>Solution</summary>(.*?)</details>", text, re.S)
    assert len(folds) == 3 and all("answer_" in fold for fold in folds), "a solution is inside its fold"
    assert "⟦" not in text


def test_what_a_page_would_fetch_and_what_is_too_heavy_is_told(builder, tmp_path: Path) -> None:
    page = '<p><a href="https://e.org">x</a><script src="https://e.org/a.js"></script><link rel="x" href="http://e.org/b.css">'
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "views").mkdir()
    for name in ("b.html", "views/c.html"):
        (tmp_path / name).write_text("x" * (builder.MOST + 1))
    assert builder.requests(tmp_path) == ["a.html asks https://e.org/a.js", "a.html asks http://e.org/b.css"]
    assert list(builder.heavy(tmp_path)) == [f"{name} has 3.0 MB, more than 3" for name in ("b.html", "views/c.html")]


def test_a_notebook_that_raises_does_not_end_the_site(builder, tmp_path: Path) -> None:
    import nbformat  # two seconds of processor time, in the one worker that comes here

    mine = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Mine"), nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(mine, tmp_path / "mine.ipynb")
    told = builder.lesson(tmp_path / "mine.ipynb", tmp_path / "mine.html", live=True)
    assert told.startswith("mine.ipynb raised ZeroDivisionError")
    assert "Mine" in (tmp_path / "mine.html").read_text(encoding="utf-8")
