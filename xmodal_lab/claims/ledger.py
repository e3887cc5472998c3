"""The ledger on disk: one JSON row per claim, merged into ``claims.json`` and rendered as ``CLAIMS.md``.

Rows of another dataset than the claims' own worlds make a ledger of their own: ``claims_avmnist.json``.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import math
import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..data import datasets
from ..sweeps import commit
from ..utils.files import seal, write_text
from ..utils.torch_state import pick_device
from ..utils.version import __version__
from .claim import Claim, Conditions
from .steps import Step
from .tidy import tidy
from .verdicts import NEEDS, VERDICTS, Measured

Row = dict[str, Any]
FORMAT = 2
PARTS = ("steps", "controls", "readings")
SHIPPED = Path(__file__).parent / "shipped" / "claims.json"
NOT_MEASURED = "not measured"
LATER = ("former", "clock")  # what only some rows have: a frame of all gives the others None
TITLE = "The ledger of claims"
INTRO = """\
Every claim of the five papers, the number the paper prints, what was measured here, and the verdict
that a rule gave it. Made by `make claims`; not edited by hand. Intervals are 95 %, over seeds, of paired
differences. "Sees" is the smallest effect that so many seeds see with 80 % power. The number of seeds was fixed
beforehand, by what a seed costs."""
FORMER = "† Measured before this ledger kept outcomes seed by seed; judged again from the numbers as printed."


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    import numpy as np
    import torch

    return {"xmodal_lab": __version__, "torch": str(torch.__version__), "numpy": str(np.__version__)}


def device_name() -> str:
    """What ``device="auto"`` trains on here: "cpu", "mps", or the name of the GPU."""
    import torch

    kind = pick_device().type
    return torch.cuda.get_device_name() if kind == "cuda" else kind


def machine() -> str:
    """The machine of a row, with its GPU if it has one."""
    device = device_name()
    return f"{platform.machine()}, {os.cpu_count()} cores" + ("" if device == "cpu" else f", {device}")


@dataclass(frozen=True)
class Rows:
    """Finished rows in a folder, so that a killed run goes on; None keeps nothing."""

    folder: Path | None
    conditions: Conditions

    def get(self, claim: Claim) -> Row | None:
        """The row of ``claim`` under these conditions, if it was finished."""
        if self.folder is None or not self._path(claim).is_file():
            return None
        try:
            held = json.loads(self._path(claim).read_text(encoding="utf-8"))
            row: Row = held["row"]
            if held["seal"] != seal(row):
                return None
            return judged_again(row, claim, partial=self.conditions.dataset is not None)
        except (ValueError, KeyError, TypeError, RecursionError):  # cut short, or damaged on disk: measure it again
            return None

    def keep(self, claim: Claim, measured: Measured | Exception, seconds: float, clock: float) -> Row:
        """The row of what was measured; written unless it is an error."""
        row = row_of(claim, self.conditions, measured, seconds, clock)
        if self.folder is not None and not isinstance(measured, Exception):
            held = json.loads(json.dumps(row))  # as it will be read
            write_text(self._path(claim), json.dumps({"seal": seal(held), "row": held}, ensure_ascii=False, indent=1))
        return row

    def _path(self, claim: Claim) -> Path:
        assert self.folder is not None
        c = self.conditions
        seeds = list(c.seeds) if claim.trained else []
        data = "" if c.dataset is None else [c.dataset.name, c.dataset.fingerprint]
        measure = [getattr(claim.measure, name, "") for name in ("__module__", "__qualname__")]
        what = [claim.id, claim.text, measure, c.budget, seeds, data, repr(sorted(c.settings.items())), versions()]
        if (device := device_name()) != "cpu":  # other rounding: a row of its own
            what.append(device)
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
        return self.folder / f"{claim.id}-{digest}.json"


def row_of(claim: Claim, conditions: Conditions, measured: Measured | Exception, seconds: float, clock: float) -> Row:
    """One row: the claim, what was measured, and how.

    ``seconds`` are of processor time, all processes together; what rows share counts once, with the row that was
    measured first. ``clock`` is how long one waited for it.
    """
    if isinstance(measured, Exception):
        measured = Measured(f"{NEEDS} …", "", note=f"{type(measured).__name__}: {measured}")
        measured_part = judged(measured) | {"verdict": NOT_MEASURED}
    else:  # from what the row keeps, which is rounded: it reads the same when it is judged again
        measured_part = judged(measured_of(judged(measured)).beside(None, partial=True))
    told = ", ".join(sorted(conditions.devices - {""}))
    if not told and claim.trained:  # nets that no sweep trained are trained on "auto"
        told = device_name()
    return {
        "id": claim.id, "paper": claim.paper, "claim": claim.text, "source": claim.source, "printed": claim.printed,
        **measured_part,
        "budget": conditions.budget, "seeds": list(conditions.seeds) if claim.trained else [],
        "settings": dict(conditions.settings), "device": told,
        **_data(conditions), "seconds": round(seconds, 2), "clock": round(clock, 2),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "commit": commit(),
        "versions": versions(), "machine": machine(),
    }  # fmt: skip


def judged(measured: Measured) -> Row:
    """What a row says of a measurement: the word, the interval it rests on, and what that could have seen."""
    step = measured.weakest
    row = {
        "measured": measured.text, "value": measured.value, "interval": measured.interval, "n": measured.n,
        "verdict": measured.verdict, "note": measured.note, "numbers": dict(measured.numbers),
        "step": step.name if step else "", "unit": step.unit if step else "",
        "effect": step.target if step else None, "mde": step.seen if step else None,
        "needed": step.needed if step else None, "room": measured.room, "cap": measured.cap,
        **{name: [s.row() for s in getattr(measured, name)] for name in PARTS},
    }  # fmt: skip
    found: Row = json.loads(json.dumps(row))  # as it reads from a file
    return found


def measured_of(row: Mapping[str, Any]) -> Measured:
    """The measurement that a row keeps, for a rule to judge again."""
    parts = {name: tuple(Step.of(step) for step in row.get(name, ())) for name in PARTS}
    return Measured(
        row["verdict"], row["measured"], row["value"], row["interval"], row["n"], row["note"], row["numbers"],
        **parts, room=row.get("room"), cap=row.get("cap", ""),
    )  # fmt: skip


def judged_again(row: Row, claim: Claim, partial: bool = True) -> Row:
    """A finished row beside the effect that the claim states now: another printed number is no new measurement.

    Args:
        row: as :func:`row_of` made it.
        claim: of the same id.
        partial: whether effects of steps that the row does not have are left out; else they are an error.

    Raises:
        ValueError: an effect in another unit than the kept outcomes have.
    """
    found = claim.beside(measured_of(row), partial=partial)
    return {**row, "printed": claim.printed, "source": claim.source, **judged(found)}


def rows_in(path: Path) -> dict[str, Row]:
    """Rows by id of a ``claims.json``.

    Raises:
        FileNotFoundError, ValueError: no such file; a file that is no ledger.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger at {path}; `xmodal claims --run --write` makes one.")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        rows = {row["id"]: row for row in held["rows"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path.name} is no ledger of claims: {error!r}.") from None
    if held.get("format") != FORMAT:
        raise ValueError(f"{path.name} has ledger format {held.get('format')!r}, this version reads {FORMAT}.")
    return rows


@lru_cache(maxsize=8)
def shipped(dataset: str = "") -> dict[str, Row]:
    """Rows of the ledger that ships with this version: on the claims' own worlds, or on ``dataset``."""
    path = place(dataset)
    return rows_in(path) if path.is_file() else {}


def place(dataset: str = "", suffix: str = "json") -> Path:
    """Where the ledger on ``dataset`` stands in the package, or its page ("md") and picture ("svg") in the checkout.

    Raises:
        ValueError: a name that is no file name.
    """
    if not re.fullmatch(r"\w{0,100}", dataset):
        raise ValueError(f"a ledger is called by letters, digits and underscores, got dataset {dataset!r}.")
    beside = f"_{dataset}" if dataset else ""
    checkout = Path(__file__).resolve().parents[2]
    if suffix == "md":
        return checkout / f"CLAIMS{beside.upper()}.md"
    if suffix == "svg":
        return checkout / "docs" / f"claims{beside}.svg"
    return SHIPPED.with_name(f"{SHIPPED.stem}{beside}.json")


def words(dataset: str, rows: Iterable[Row]) -> dict[str, str]:
    """Title and introduction of the page of the ledger on ``dataset``, for :func:`render`."""
    if not dataset:
        return {"title": TITLE, "intro": INTRO}
    held, options = list(rows), ""
    for name in ("data_options", "encode"):
        asked = {row.get(name, "") for row in held} - {""}
        options += f" --{name.replace('_', '-')} '{asked.pop()}'" if len(asked) == 1 else ""
    read = dataset not in datasets.names() or "root" in datasets.options(dataset)
    disk = ", read from disk," if read else ", which is drawn,"
    intro = (
        f"Claims measured on {dataset}{disk} in place of their own worlds. Made by\n"
        f"`xmodal claims … --run --write --dataset {dataset}{options}`; not edited by hand.\n"
        "Intervals are 95 %, over seeds, of paired differences. The rows used stand at the end: a subset says how\n"
        "the claim fares on so much data with nets of this size, not whether the paper's own numbers are right."
    )
    return {"title": f"The ledger on {dataset}", "intro": intro}


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
    merged = rows_in(json_path) if json_path.is_file() else {}
    for row in rows:
        if row["verdict"] != NOT_MEASURED:  # what to cite follows from paper and dataset, and is not written
            known = {k: v for k, v in row.items() if k != "cites" and not (k in LATER and v is None)}
            merged[row["id"]] = known
    if others := sorted({row["dataset"] for row in merged.values()} - {dataset}):
        named = [name or "the claims' own worlds" for name in (dataset, *others)]
        raise ValueError(f"this ledger is about {named[0]}, but there are rows about {', '.join(named[1:])}.")
    held = [_without_nan(merged[i]) for i in ids if i in merged]
    text = json.dumps({"format": FORMAT, "rows": held}, ensure_ascii=False, indent=1, allow_nan=False)
    write_text(json_path, text + "\n")
    write_text(markdown_path, render(held, **words(dataset, held)))
    shipped.cache_clear()
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
    return (
        f"{total:.0f} minutes of one core in all ({each}), so {total / 2:.0f} minutes on two.{clock} Seconds of one "
        f"core by row, where what rows share counts once, with the first that was measured: {rows}."
    )


def _pictured(held: list[Row]) -> list[str]:
    """The line that shows the picture of :func:`draw`, and how to read it."""
    if not any(step.get("interval") for row in held for step in row["steps"]):
        return []
    name = place(held[0]["dataset"], "svg").name
    return [
        "", f"![each claim's interval beside the printed effect, coloured by its word](docs/{name})", "",
        "Each line is the interval that the word rests on, in units of the smallest effect that so many seeds see with "
        "80 % power (the grey band). A diamond is the printed effect; inside the band it could not have been seen. "
        "Brackets are the margin of a tie. Theorems have no interval and stand in the tables. `explore(\"claims\")` "
        "shows the same live.",
    ]  # fmt: skip


def grid(rows: Iterable[Row]) -> list[str]:
    """Lines of a Markdown table, one row per claim: the claim, what the paper says, what was measured, the verdict."""
    lines = ["| id | claim | paper | measured | sees | n | verdict |", "|:--|:--|:--|:--|:--|--:|:--|"]
    for row in rows:
        printed = "; ".join(part for part in (row["source"], row["printed"]) if part)
        sees = "" if not _number(row.get("mde")) else f"{row['mde']:.2g}"
        if _number(row.get("effect")):
            sees = f"{sees or '?'} of {row['effect']:.3g}"
        word = f"**{row['verdict']}**{'†' if row.get('former') is True else ''}"
        if _number(row.get("needed")):
            word += f" ({row['needed']:.0f} seeds would decide)"
        cells = (row["id"], row["claim"], printed, row["measured"], sees, row["n"] or "", word)
        lines.append("| " + " | ".join(_cell(c) for c in cells) + " |")
    return lines


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


def _data(conditions: Conditions) -> Row:
    """The name of the user's dataset, its sizes, encoders and fingerprint; an empty name for a claim's own world."""
    given = conditions.dataset
    if given is None:
        return {"dataset": ""}
    sizes = repr(given).partition(": ")[2].rstrip(")")
    encoders = {m: given.provenance.get(f"{m} encoder") for m in given.modalities}
    through = "".join(f"; {m} through {Path(e['model']).name} {e['revision'][:8]}" for m, e in encoders.items() if e)
    return {"dataset": given.name, "data": f"{sizes}{through}; fingerprint {given.fingerprint}"}


def _without_nan(value: Any) -> Any:
    """``value`` with None where a number is not finite: JSON knows no NaN, and a frame turns None into one."""
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
