"""The ledger as a page: Markdown with its picture, and the summary that the README has."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import datasets
from ..utils.files import write_text
from . import ledger
from .firm import with_firmness
from .ledger import FORMAT, NOT_MEASURED, Row
from .tidy import tidy
from .verdicts import NEEDS, VERDICTS

LATER = ("former", "clock", "within", "asked", "again")  # what only some rows have: a frame of all gives others None
TITLE = "The ledger of claims"
INTRO = """\
Every claim of the five papers, the number the paper prints, what was measured here, and the verdict
that a rule gave it. Made by `make claims`; not edited by hand. Intervals are 95 %, over seeds, of paired
differences. "Sees" is the smallest effect that so many seeds see with 80 % power. The number of seeds was fixed
beforehand, by what a seed costs. "Again" is how often as many other seeds would give the same word, by the spread of
these (`xl.claims.firmness`)."""
FITTED = """

How many seeds: two that no row uses were tried, to learn what one costs on these data; what they found was not looked
at. A row of which a seed takes up to 2 s of one core gets 60, up to 10 s 20, up to 30 s 10, else 5, together with the
rows that share its sweeps. What the time given does not hold has fewer seeds, or needs more time, and says so. The
times are one machine's, and a trial is made once for a store: elsewhere the same command may give other numbers of
seeds."""
FORMER = "† Measured before this ledger kept outcomes seed by seed; judged again from the numbers as printed."


def words(dataset: str, rows: Iterable[Row]) -> dict[str, str]:
    """Title and introduction of the page of the ledger on ``dataset``, for :func:`render`."""
    if not dataset:
        return {"title": TITLE, "intro": INTRO}
    held = list(rows)
    read = dataset not in datasets.names() or "root" in datasets.options(dataset)
    disk = ", read from disk," if read else ", which is drawn,"
    made = "\n".join(dict.fromkeys(_command(dataset, row) for row in held))
    intro = (
        f"Claims measured on {dataset}{disk} in place of their own worlds. Made by\n"
        f"{made}; not edited by hand.\n"
        "Intervals are 95 %, over seeds, of paired differences. Seeds draw nets, batches and shots; the test rows are\n"
        "the same in all, so no interval is one over other rows. What was used stands at the end: a subset says how\n"
        "the claim fares on so much data with nets of this size, not whether the paper's own numbers are right."
    )
    if any(_number(row.get("again")) for row in held):
        intro += '\n"Again" is how often as many other seeds would give the same word (`xl.claims.firmness`).'
    if any(row.get("within") for row in held):
        intro += FITTED
    if older := [row for row in held if row.get("former") is True]:
        dates = ", ".join(sorted({row["date"] for row in older}))
        intro += (
            f"\n\nBy which rules: {len(older)} of {len(held)} rows (†) were measured by those of {dates}:\n"
            "on five seeds, with settings chosen on the seeds that are judged, without asking whether the instrument\n"
            "reads. Their words follow the rules of now from what the rows kept; a null is no stronger than that."
        )
    return {"title": f"The ledger on {dataset}", "intro": intro}


def _command(dataset: str, row: Row) -> str:
    """The line that made a row."""
    options = [f"--data-options '{row['data_options']}'"] if row.get("data_options") else []
    options += [f"--encode '{encoder}'" for encoder in row.get("encode", "").split()]
    return " ".join([f"`xmodal claims {row.get('asked') or '…'} --run --write --dataset {dataset}", *options]) + "`"


def write(
    rows: Iterable[Mapping[str, Any]],
    ids: Iterable[str],
    json_path: Path,
    markdown_path: Path,
    dataset: str = "",
    picture: Path | None = None,
) -> list[Row]:
    """Put ``rows`` into the ledger at ``json_path`` and render it; rows of other claims stay.

    Args:
        rows: as :func:`row_of` makes them; those that could not be measured are left out.
        ids: every claim, in order.
        json_path, markdown_path: of ``claims.json`` and ``CLAIMS.md``.
        dataset: the name of the one that it is about; empty for the claims' own worlds.
        picture: of the SVG that the page opens with; none by default.

    Returns:
        The rows written.

    Raises:
        ValueError: rows that were measured on something else.
    """
    merged = ledger.rows_in(json_path) if json_path.is_file() else {}
    for row in rows:
        if row["verdict"] != NOT_MEASURED:  # what to cite follows from paper and dataset, and is not written
            known = {k: v for k, v in row.items() if k != "cites" and not (k in LATER and v is None)}
            merged[row["id"]] = with_firmness(ledger.without_nan(known))
    if others := sorted({row["dataset"] for row in merged.values()} - {dataset}):
        named = [name or "the claims' own worlds" for name in (dataset, *others)]
        raise ValueError(f"this ledger is about {named[0]}, but there are rows about {', '.join(named[1:])}.")
    held = [ledger.without_nan(merged[i]) for i in ids if i in merged]
    text = json.dumps({"format": FORMAT, "rows": held}, ensure_ascii=False, indent=1, allow_nan=False)
    write_text(json_path, text + "\n")
    write_text(markdown_path, render(held, **words(dataset, held)))
    ledger.shipped.cache_clear()
    if picture is not None:
        draw(held, picture)
    return held


def draw(rows: Iterable[Row], path: Path) -> None:
    """The picture that a ledger opens with, the same bytes for the same rows; none where no row has an interval."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    from ..plots import effects as forest

    found = tidy(rows)
    if not len(found):
        return
    figure = Figure(figsize=(9, 0.9 + 0.2 * len(found)), layout="constrained")
    FigureCanvasSVG(figure)
    forest(found, ax=figure.subplots())
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "claims", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    write_text(path, buffer.getvalue())


def summary(rows: Iterable[Row]) -> str:
    """How often each verdict was given, per paper: the README's table."""
    held = list(rows)
    lines = ["| paper | " + " | ".join(VERDICTS) + " |", "|---|" + "--:|" * len(VERDICTS)]
    for paper in dict.fromkeys(row["paper"] for row in held):
        counts = _counts([row for row in held if row["paper"] == paper])
        lines.append(f"| {paper} | " + " | ".join(str(n) for n in counts.values()) + " |")
    lines.append("| all | " + " | ".join(str(n) for n in _counts(held).values()) + " |")
    return "\n".join(lines) + "\n"


def put_between(path: Path, mark: str, text: str) -> None:
    """Replace what stands between ``<!-- mark:start -->`` and ``<!-- mark:end -->`` in a Markdown file."""
    before, start, rest = path.read_text(encoding="utf-8").partition(f"<!-- {mark}:start -->\n")
    _, end, after = rest.partition(f"<!-- {mark}:end -->")
    if start and end:
        write_text(path, before + start + text + end + after)


def _counts(rows: Iterable[Row]) -> dict[str, int]:
    words = [NEEDS if row["verdict"].startswith(NEEDS) else row["verdict"] for row in rows]
    return {verdict: words.count(verdict) for verdict in VERDICTS}


def render(rows: Iterable[Row], title: str = TITLE, intro: str = INTRO) -> str:
    """The ledger as Markdown."""
    held = list(rows)
    counts = _counts(held)
    lines = [
        f"# {title}",
        "",
        *intro.split("\n"),
        "",
        "| " + " | ".join(counts) + " |",
        "|" + "---|" * len(counts),
        "| " + " | ".join(str(n) for n in counts.values()) + " |",
        *(["", said] if (said := expected(held)) else []),
        *_pictured(held),
    ]
    for paper in dict.fromkeys(row["paper"] for row in held):
        mine = [row for row in held if row["paper"] == paper]
        lines += ["", f"## {paper}", "", *grid(mine)]
        lines += noted(mine)
    if any(row.get("former") is True for row in held):
        lines += ["", FORMER]
    stories = dict.fromkeys(_story(row) for row in held)
    lines += ["", "## How the rows were made", "", *[f"- {_words(story)}" for story in stories]]
    lines.append(f"- {_cost(held)}")
    return "\n".join(lines) + "\n"


def _cost(held: Iterable[Row]) -> str:
    """What the rows cost in processor time, by paper, and so on two cores; older rows count by the clock."""
    held = list(held)
    spent: dict[str, float] = {}
    older = 0
    for row in held:
        older += row.get("clock") is None
        spent[row["paper"]] = spent.get(row["paper"], 0.0) + row["seconds"] / 60
    total = sum(spent.values())
    each = ", ".join(f"{paper} {minutes:.0f}" for paper, minutes in spent.items())
    clock = f" {older} rows from before it was kept count by the clock of a shared machine." if older else ""
    rows = ", ".join(f"{row['id']} {row['seconds']:.0f}" for row in held)
    tried = sum((row.get("within") or {}).get("tried", 0.0) for row in held) / 60
    clock += f" {tried:.1f} minutes more tried what a seed costs." if tried else ""
    return (
        f"{total:.0f} minutes of one core in all ({each}), so {total / 2:.0f} minutes on two.{clock} Seconds of one "
        f"core by row, where what rows share counts once, with the first that was measured: {rows}."
    )


def _pictured(held: list[Row]) -> list[str]:
    """The line that shows the picture of :func:`draw`, and how to read it."""
    if not any(step.get("interval") for row in held for step in row["steps"]):
        return []
    name = ledger.place(held[0]["dataset"], "svg").name
    return [
        "", f"![each claim's interval beside the printed effect, coloured by its word](docs/{name})", "",
        "Each line is the interval that the word rests on, in units of the smallest effect that so many seeds see with "
        "80 % power (the grey band). A diamond is the printed effect; inside the band it could not have been seen. "
        "Brackets are the margin of a tie. Theorems have no interval and stand in the tables. `explore(\"claims\")` "
        "shows the same live.",
    ]  # fmt: skip


def grid(rows: Iterable[Row]) -> list[str]:
    """Lines of a Markdown table, one row per claim: the claim, what the paper says, what was measured, the verdict."""
    lines = ["| id | claim | paper | measured | sees | n | verdict | again |", "|:--|:--|:--|:--|:--|--:|:--|--:|"]
    for row in rows:
        printed = "; ".join(part for part in (row["source"], row["printed"]) if part)
        sees = "" if not _number(row.get("mde")) else f"{row['mde']:.2g}"
        if _number(row.get("effect")):
            sees = f"{sees or '?'} of {row['effect']:.3g}"
        word = f"**{row['verdict']}**{'†' if row.get('former') is True else ''}"
        if _number(row.get("needed")):
            word += f" ({row['needed']:.0f} seeds would decide)"
        cells = (row["id"], row["claim"], printed, row["measured"], sees, row["n"] or "", word, firmly(row))
        lines.append("| " + " | ".join(_cell(c) for c in cells) + " |")
    return lines


def firmly(row: Mapping[Any, Any]) -> str:
    """How often other seeds would give the row's word, in percent; empty where that is not known."""
    return f"{100 * row['again']:.0f} %" if _number(row.get("again")) else ""


def expected(rows: Iterable[Mapping[Any, Any]]) -> str:
    """How many of the words other seeds would give again, in a sentence; empty where no row knows."""
    held = [row for row in rows if _number(row.get("again"))]
    if not held:
        return ""
    count = sum(row["again"] for row in held)
    least = ", ".join(f"{row['id']} {firmly(row)}" for row in sorted(held, key=lambda row: row["again"])[:3])
    return (
        f"With as many other seeds {count:.0f} of the {len(held)} words that rest on seeds are expected again "
        f"({100 * count / len(held):.0f} %); least firm: {least}."
    )


def _number(value: Any) -> bool:
    """Whether it is one: a frame makes NaN of a None."""
    return isinstance(value, int | float) and math.isfinite(value)


def noted(rows: Iterable[Row]) -> list[str]:
    """Lines of the notes that claims have, as they stand below their table."""
    notes = [f"- {row['id']}: {_words(row['note'])}" for row in rows if row["note"]]
    return ["", "Notes:", "", *notes] if notes else []


@dataclass(frozen=True)
class Page:
    """Markdown that a notebook shows laid out and ``print`` shows as it is."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def _story(row: Row) -> str:
    mine = [f"{name} {version}" for name, version in row["versions"].items()]
    where = f"{row['date']}, commit {row['commit'][:7] or 'unknown'}, budget {row['budget']}"
    on = f", {row['dataset']} ({row['data']})" if row.get("data") else ""
    return f"{row['paper']}: {where}{on}, {row['machine']}, {', '.join(mine)}"


def _cell(value: Any) -> str:
    return _words(value).replace("|", "\\|")


def _words(value: Any) -> str:
    """Text on one line in which no name of a class or dataset is an HTML tag or a link."""
    return re.sub(r"<(?=[a-zA-Z/!?])|\[(?=[^\[\]]*\]\()", r"\\\g<0>", " ".join(str(value).split()))
