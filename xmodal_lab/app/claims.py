"""The command ``xmodal claims``: the ledger on the screen, measured again on request.

    xmodal claims --paper dml
    xmodal claims dml.A dml.H --run --seeds 0:10 --store runs/ledger
    xmodal claims dml.A synergy.A2 --run --dataset avmnist --data-options 'n_train=3000, mel=16'
    xmodal claims uml.F synergy.A5 --run --dataset emoji --encode text=minilm
    xmodal claims synergy uml --run --dataset emoji --encode text=minilm --within 20
    xmodal claims dml.A --run --set epochs=100
    xmodal claims my_package.rows:CLAIMS --run
    xmodal claims --check
    xmodal claims --judge --write
    xmodal claims --finished --write --store runs/ledger

The same line goes on where an interrupted one stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import claims
from ..claims import ledger, page
from ..claims.claim import BUDGETS
from ..claims.repeating import GOAL
from ..data import datasets
from ..models import encoders
from ..utils import checks as check
from .sweep import values

if TYPE_CHECKING:
    import pandas as pd


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status: 0 done, 1 claims that raised an error, 2 refused, 130 interrupted."""
    asked = _parser().parse_args(arguments)
    chosen = [*asked.ids, *(asked.paper or [])] or None
    try:
        _refuse(asked)
        if asked.check is not None:
            return _repeated(asked, chosen)
        shown = (
            _measured(asked, chosen)
            if asked.run or asked.finished
            else _of(claims.table(dataset=asked.dataset or ""), chosen)
        )
        if asked.judge:
            shown = _judged(shown)
    except (ValueError, TypeError, OSError) as error:
        print(f"xmodal claims: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ninterrupted; finished claims are kept in {asked.store}: the same line goes on.", file=sys.stderr)
        return 130
    print(as_text(shown, notes=asked.notes))
    if asked.write:
        _write(asked, shown)
    return int(bool((shown["verdict"] == ledger.NOT_MEASURED).any()) and asked.run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xmodal claims", description="The ledger on the screen, measured again on request."
    )
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="claims such as dml.A, or package.module:CLAIMS of yours; all by default"
    )
    parser.add_argument("--paper", choices=claims.PAPERS, action="append", help="all claims of a paper; may repeat")
    parser.add_argument("--run", action="store_true", help="measure now; otherwise show the ledger as it ships")
    parser.add_argument(
        "--check", nargs="?", type=float, const=0.1, metavar="SHARE",
        help="measure a random tenth of the rows with other seeds and print how many words agree",
    )  # fmt: skip
    parser.add_argument("--draw", type=int, help="which rows --check takes; other ones each time by default")
    parser.add_argument(
        "--judge", action="store_true", help="judge the kept outcomes again, by the rules and printed effects of now"
    )
    parser.add_argument(
        "--finished", action="store_true", help="show what --run has finished in --store so far; measure nothing"
    )
    parser.add_argument(
        "--budget", choices=BUDGETS, default="quick", help="quick (an hour on a laptop, the default) or full"
    )
    parser.add_argument(
        "--seeds", help="0:5 or 0,1,2,3,4 (at least five for trained models); by default each claim's own number"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a setting of the experiments, as in epochs=30; may repeat",
    )  # fmt: skip
    parser.add_argument(
        "--within", type=float, metavar="MINUTES",
        help="of one core, on a dataset: each row gets its number of seeds by what one costs there",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="processes; claims that share sweeps stay in one")
    parser.add_argument("--dataset", help="a dataset by name, in place of each claim's own world")
    parser.add_argument("--data-options", default="", help="of its loader, as in 'n_train=3000, mel=16'")
    parser.add_argument(
        "--encode", action="append", default=[], metavar="MODALITY=MODEL",
        help="a modality through a frozen encoder, as in text=minilm or image=FOLDER; may repeat",
    )  # fmt: skip
    parser.add_argument("--store", type=Path, default=Path("runs/ledger"), help="where finished claims are kept")
    parser.add_argument("--write", action="store_true", help="write the ledger and its page into this checkout")
    parser.add_argument("--notes", action="store_true", help="print the notes: controls and traps")
    return parser


def _refuse(asked: argparse.Namespace) -> None:
    """Options that make no sense together.

    Raises:
        ValueError: two that do not.
    """
    if asked.write and not (asked.run or asked.judge or asked.finished):
        raise ValueError(
            "--write keeps what --run measured; give both (or --finished or --judge, which train nothing)."
        )
    if asked.finished and (asked.run or asked.judge):
        raise ValueError("--finished shows rows of the store as they are; give it without --run and --judge.")
    if asked.judge and asked.run:
        raise ValueError("--judge looks at rows that are kept, --run makes new ones; give one of them.")
    if asked.check is not None and (
        asked.run or asked.judge or asked.finished or asked.seeds or asked.dataset or asked.settings
    ):
        raise ValueError("--check measures the shipped rows as they are, with seeds of its own; give it alone.")
    if asked.draw is not None and asked.check is None:
        raise ValueError("--draw says which rows --check takes; give both.")
    if (asked.seeds or asked.settings) and not (asked.run or asked.finished):
        raise ValueError("--seeds and --set are for rows that are measured; give --run too.")
    if asked.within is not None and not (asked.run or asked.finished):
        raise ValueError("--within is for rows that are measured; give --run too.")
    if asked.data_options and not asked.dataset:
        raise ValueError("--data-options belong to a dataset; name it with --dataset.")
    if asked.encode and not asked.dataset:
        raise ValueError("--encode is about a dataset's modality; name the dataset with --dataset.")
    foreign = [i for i in asked.ids if ":" in i]
    if asked.write and foreign:
        raise ValueError(f"--write writes the papers' ledger; {foreign[0]} is one of your own: keep what is printed.")


def _measured(asked: argparse.Namespace, chosen: Sequence[str] | None) -> pd.DataFrame:
    seeds = None if asked.seeds is None else [int(s) for s in _listed(values("seeds", asked.seeds, 0))]
    settings = {}
    for line in asked.settings:
        name, equals, value = line.partition("=")
        if not (name and equals and value):
            raise ValueError(f"--set is written NAME=VALUE, as in epochs=30; got {line!r}.")
        settings[name] = _plain(value)
    same: dict[str, Any] = {
        "dataset": _dataset(asked), "seeds": seeds, "budget": asked.budget, "settings": settings,
        "within": asked.within,
    }  # fmt: skip
    if asked.finished:
        found = claims.finished(chosen, store=asked.store, **same)
        if found.empty:
            raise ValueError(f"{asked.store} has finished none of these rows under these conditions.")
        return found
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*could not be measured")  # printed below
        return claims.run(chosen, store=asked.store, jobs=asked.jobs, **same)


def _plain(value: str) -> Any:
    """What JSON reads, else the words themselves."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _repeated(asked: argparse.Namespace, chosen: Sequence[str] | None) -> int:
    """Print how many words agree; 1 where fewer than the goal."""
    found = claims.repeat(
        asked.check, ids=chosen, draw=asked.draw, budget=asked.budget, store=asked.store, jobs=asked.jobs
    )
    wide = max(len(i) for i in found["id"])
    for row in found.to_dict("records"):
        print(f"{row['id'].ljust(wide)}  {row['before']} {'=' if row['agree'] else '≠'} {row['now']}")
        print(f"{' ' * wide}  {row['measured_before']}  |  {row['measured_now']}")
    agreed = int(found["agree"].sum())
    print(
        f"{agreed} of {len(found)} words agree ({100 * agreed / len(found):.0f} %, goal {100 * GOAL:.0f} %); "
        f"--draw {found.attrs['draw']} takes these rows again."
    )
    if "expected" in found.attrs:
        low, high = found.attrs["within"]
        where = "within" if low <= agreed <= high else "fewer than" if agreed < low else "more than"
        print(
            f"By the spread of their own seeds {found.attrs['expected']:.1f} were expected, {low} to {high} in 95 % of "
            f"all such draws: {where} chance."
        )
    return int(agreed < GOAL * len(found))


def _judged(shown: pd.DataFrame) -> pd.DataFrame:
    """The rows judged again by the rules of now, beside the effects that the claims state now."""
    import pandas as pd

    known = claims.known()
    held = [row for row in _records(shown) if row["verdict"] != ledger.NOT_MEASURED]
    return pd.DataFrame([ledger.judged_again(row, known[row["id"]]) for row in held])


def _write(asked: argparse.Namespace, shown: pd.DataFrame) -> None:
    name = asked.dataset or ""
    within = "" if asked.within is None else f"{asked.within:g}"
    options = {"data_options": asked.data_options, "encode": " ".join(asked.encode), "asked": _asked(asked, within)}
    known = claims.known()
    # A theorem rests on no data: its row belongs to the ledger of the claims' own worlds.
    rows = [
        {**row, **{k: v for k, v in options.items() if v}}
        for row in _records(shown)
        if not name or known[row["id"]].trained
    ]
    paths = ledger.place(name), ledger.place(name, "md")
    held = page.write(rows, known, *paths, dataset=name, picture=ledger.place(name, "svg"))
    readme = paths[1].with_name("README.md")
    if not name and readme.is_file():
        page.put_between(readme, "claims", page.summary(held))
    print(f"wrote {paths[0].name}, {paths[1].name}, its picture{'' if name else ' and the summary in README.md'}")


def _asked(asked: argparse.Namespace, within: str) -> str:
    """Which rows and seeds were asked for, as the line had it; "" where rows are only judged again."""
    if not (asked.run or asked.finished):
        return ""
    of = {"--seeds": asked.seeds, "--budget": asked.budget if asked.budget != "quick" else "", "--within": within}
    said = [*asked.ids, *(asked.paper or []), *(f"--set {line}" for line in asked.settings)]
    return " ".join([*said, *(f"{name} {value}" for name, value in of.items() if value)])


def _records(shown: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as the ledger keeps them: a frame has NaN where a row has nothing."""
    return [
        {str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in shown.to_dict("records")
    ]


def _dataset(asked: argparse.Namespace) -> Any:
    if not asked.dataset:
        return None
    found = datasets.load(asked.dataset, **datasets.parsed(asked.dataset, asked.data_options))
    for line in asked.encode:
        modality, equals, model = line.partition("=")
        if not (modality and equals and model):
            raise ValueError(f"--encode is written MODALITY=MODEL, as in text=minilm; got {line!r}.")
        check.one_of(f"modality of {asked.dataset}", modality, found.modalities)
        # Unit vectors, as sentence encoders are trained to give.
        found = encoders.pretrained(modality, model, normalize=True).on(found, modality)
    return found


def as_text(rows: pd.DataFrame, notes: bool = False, width: int | None = None) -> str:
    """The rows for the terminal: the claim's sentence, and below it verdict, measured, printed."""
    wide = width or max(80, min(160, shutil.get_terminal_size().columns))
    first = max(len(i) for i in rows["id"])
    words = [_word(row) for row in rows.to_dict("records")]
    second = max(len(word) for word in words)
    second = min(second, 28)
    rest = (wide - first - second - 6) // 2
    lines = [_columns(["id", "verdict", "measured here", "the paper"], (first, second, rest, rest))]
    lines.append("─" * wide)
    for word, row in zip(words, rows.to_dict("records"), strict=True):
        printed = "; ".join(part for part in (row["source"], row["printed"]) if part)
        cells = [row["id"], word, row["measured"], printed]
        lines.append(_columns(cells, (first, second, rest, rest)))
        indent = " " * (first + 2)
        lines += textwrap.wrap(f"“{row['claim']}”", wide, initial_indent=indent, subsequent_indent=indent)
        if row["note"] and (notes or row["verdict"] == ledger.NOT_MEASURED):  # why is what one needs to know there
            lines += textwrap.wrap(row["note"], wide - first - 2, initial_indent=indent, subsequent_indent=indent)
    counts = rows["verdict"].map(lambda v: "needs …" if v.startswith("needs ") else v).value_counts()
    lines += ["─" * wide, ", ".join(f"{n} {verdict}" for verdict, n in counts.items())]
    if said := page.expected(rows.to_dict("records")):
        lines += textwrap.wrap(said, wide)
    return "\n".join(lines)


def _word(row: dict[Any, Any]) -> str:
    """The verdict; of an undecided row also how many seeds would decide."""
    needed = row.get("needed")
    known = isinstance(needed, int | float) and not math.isnan(needed)
    return f"{row['verdict']} ({needed:.0f} seeds)" if known else str(row["verdict"])


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    wrapped = [textwrap.wrap(str(c), w) or [""] for c, w in zip(cells, widths, strict=True)]
    height = max(len(w) for w in wrapped)
    rows = (
        "  ".join((part[i] if i < len(part) else "").ljust(w) for part, w in zip(wrapped, widths, strict=True)).rstrip()
        for i in range(height)
    )
    return "\n".join(rows)


def _of(rows: pd.DataFrame, chosen: Sequence[str] | None) -> pd.DataFrame:
    if chosen is None:
        return rows
    wanted = [c.id for c in claims.chosen(chosen)]
    found = rows[rows["id"].isin(wanted)]
    if found.empty:
        raise ValueError(f"this ledger has no row of {', '.join(chosen)}; it has {', '.join(rows['id'])}.")
    return found


def _listed(found: Any) -> list[Any]:
    return list(found) if isinstance(found, (list, tuple, range)) or hasattr(found, "__iter__") else [found]
