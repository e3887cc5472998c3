"""The folders are the architecture: the picture in docs/architecture.md is what the imports build.

A room is a folder of the package, or a file beside the folders; ``instruments`` and ``papers`` are rows of rooms. The
picture gives each room its floor. Every file is judged, private ones and imports for type checkers and inside
functions too; only the packages' own faces (``__init__``, ``__main__``) stand outside, as the front door.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"xmodal_lab": ROOT / "xmodal_lab", "xmodal_widgets": ROOT / "widgets" / "xmodal_widgets"}
ROWS = ("instruments", "papers")
MOST_LINES = 60  # of a function's body


@cache
def files() -> dict[str, Path]:
    """Dotted name of every module -> its file."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str | None:
    """``xmodal_lab.papers.dml.claims.rows`` -> ``papers/dml``; None for the front door."""
    package, *inside = module.split(".")
    if not inside or inside == ["__main__"]:
        return None
    lab = package == "xmodal_lab"
    return "/".join(inside[:2]) if lab and inside[0] in ROWS else inside[0] if lab else f"widgets/{inside[0]}"


@cache
def floors() -> dict[str, int]:
    """Room -> its floor in the picture, the ground is 1."""
    picture = re.search(
        r"```text\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert picture is not None
    found: dict[str, int] = {}
    for line in picture.group(1).splitlines():
        number, rooms = re.fullmatch(r" *(\d+)  (.*?)(?:\s{3,}.*)?", line).groups()  # type: ignore[union-attr]
        row = ""
        for name in rooms.split():
            if name.endswith("/"):  # a row: what follows stands in it
                row = name
            else:
                assert row + name not in found, f"{row + name} is drawn twice"
                found[row + name] = int(number)
    return found


@cache
def imports(module: str) -> tuple[tuple[str, str], ...]:
    """(module, name) of what a file takes from the two packages; the name is empty for a module itself."""
    path, found = files()[module], []
    here = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) + 1 - node.level] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{whole}.{alias.name}"
                found.append((inner, "") if inner in files() else (whole, alias.name))
    return tuple((m, n) for m, n in found if m.split(".")[0] in PACKAGES)


def seen(module: str, name: str) -> str:
    """The module that a name comes from; what the package's own face passes on is followed to its room."""
    if name and module in PACKAGES:
        for inner, passed in imports(module):
            if passed == name or (not passed and inner.endswith(f".{name}")):
                return inner
    return module


def arrows() -> Iterator[tuple[str, str, str, str]]:
    """(module, its room, room of what it imports, what it imports) for every import across rooms."""
    for module in files():
        for other, name in imports(module):
            own, theirs = room(module), room(seen(other, name))
            if own is not None and theirs is not None and own != theirs:
                yield module, own, theirs, f"{other}.{name}".rstrip(".")


def test_the_picture_shows_the_folders_and_no_other_room() -> None:
    there = {
        r for module, path in files().items() if (r := room(module)) and (r not in ROWS or path.stem != "__init__")
    }
    drawn = set(floors())
    assert drawn == there, f"in docs/architecture.md, draw {sorted(there - drawn)}, take away {sorted(drawn - there)}"


def test_every_import_runs_down() -> None:
    """To a lower floor: so no circle of rooms, no instrument that knows another, no paper that knows another."""
    up = sorted({f"{m} ({a}, floor {floors()[a]}) imports {what} (floor {floors()[b]})"
                 for m, a, b, what in arrows() if floors()[b] >= floors()[a]})  # fmt: skip
    assert not up, "\n".join(up)


def test_no_circle_of_files() -> None:
    """Inside a room too, type checkers' imports and those at use included: of two files one can be read first."""
    ahead = {m: {seen(o, n) for o, n in imports(m)} - {m} for m, path in files().items() if path.stem != "__init__"}
    while ready := [m for m, others in ahead.items() if not others & set(ahead)]:
        for module in ready:
            del ahead[module]
    assert not ahead, f"circles among {sorted(ahead)}"


def test_private_names_stay_in_their_folder() -> None:
    def private(word: str) -> bool:
        return word.startswith("_") and not word.startswith("__")

    wrong = []
    for module, path in files().items():
        for other, name in imports(module):
            if private(name) or any(map(private, other.split("."))):
                at = files().get(other)
                if at is None or at.parent != path.parent or other.split(".")[0] != module.split(".")[0]:
                    wrong.append(f"{module} imports {other}.{name}".rstrip("."))
    assert not wrong, "\n".join(wrong)


def test_no_paper_names_another_in_a_string() -> None:
    """Sweeps and ledgers find papers by name; a paper that did so would know its neighbour all the same."""
    for module, path in files().items():
        if (own := room(module) or "").startswith("papers/"):
            named = set(re.findall(r"xmodal_lab\.papers\.(\w+)", path.read_text(encoding="utf-8")))
            assert named <= {own.removeprefix("papers/")}, module


def test_instruments_and_papers_are_judged_one_by_one() -> None:
    """What the rule above rests on: neighbours stand on one floor, where none may import another."""
    for row, apart in (("instruments", {"instruments/look"}), ("papers", set())):
        assert len({floor for r, floor in floors().items() if r.startswith(f"{row}/") and r not in apart}) == 1


def bodies() -> Iterator[tuple[str, int]]:
    """Each function with the lines of its body: neither docstring nor comments, which may be as long as they help."""
    for module, path in files().items():
        text = path.read_text(encoding="utf-8")
        told = [line.lstrip().startswith("#") for line in text.splitlines()]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body:
                    first, last = body[0].lineno - 1, body[-1].end_lineno or 0
                    yield f"{module}.{node.name}", last - first - sum(told[first:last])


def test_functions_stay_short() -> None:
    long = {name: lines for name, lines in bodies() if lines > MOST_LINES}
    assert not long, f"bodies of more than {MOST_LINES} lines: {long}"


@pytest.mark.parametrize(
    ("module", "name", "floor"),
    [
        ("xmodal_lab", "load", "data"),
        ("xmodal_lab", "landscape", "instruments/landscape"),
        ("xmodal_lab", "fit", "training"),
    ],
)
def test_what_the_front_door_hands_on_counts_as_its_room(module: str, name: str, floor: str) -> None:
    assert room(seen(module, name)) == floor


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    import xmodal_lab

    assert citation["version"] == xmodal_lab.__version__
    assert len(citation["references"]) == len(xmodal_lab.published.PAPERS)


def test_the_citation_file_and_the_bibtex_say_the_same_of_the_papers() -> None:
    import xmodal_lab

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    entries = re.split(r"\n\n", xmodal_lab.cite())
    assert f"Version {citation['version']}" in entries[0]
    for reference, entry, paper in zip(citation["references"], entries[1:], xmodal_lab.published.PAPERS, strict=True):
        assert reference["notes"].endswith(f'here "{paper}"') and entry.startswith(f"@misc{{{paper},")
        assert f"title = {{{reference['title']}}}" in entry
        names = [a.get("name") or f"{a['family-names']}, {a['given-names']}" for a in reference["authors"]]
        assert re.search(r"author = \{+(.*?)\}+,?$", entry, re.MULTILINE).group(1).split(" and ") == names  # type: ignore[union-attr]
