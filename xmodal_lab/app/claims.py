"""The command ``xmodal claims``: the ledger on the screen, measured again on request.

    xmodal claims --paper dml
    xmodal claims dml.A dml.H --run --seeds 0:10 --store runs/ledger
    xmodal claims dml.A synergy.A2 --run --dataset avmnist --data-options 'n_train=3000, mel=16'
    xmodal claims uml.F synergy.A5 --run --dataset emoji --encode text=minilm

The same line goes on where an interrupted one stopped.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import claims
from ..claims import ledger
from ..claims.claim import BUDGETS
from ..data import datasets
from ..models import encoders
from ..utils import checks as check
from .sweep import values

if TYPE_CHECKING:
    import pandas as pd


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status: 0 done, 1 claims that raised an error, 2 refused, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="xmodal claims", description="The ledger on the screen, measured again on request."
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="claims such as dml.A; all by default")
    parser.add_argument("--paper", choices=claims.PAPERS, action="append", help="all claims of a paper; may repeat")
    parser.add_argument("--run", action="store_true", help="measure now; otherwise show the ledger as it ships")
    parser.add_argument(
        "--budget", choices=BUDGETS, default="quick", help="quick (minutes on a laptop, the default) or full"
    )
    parser.add_argument("--seeds", default="0:5", help="0:5 or 0,1,2,3,4 (at least five for trained models)")
    parser.add_argument("--dataset", help="a dataset by name, in place of each claim's own world")
    parser.add_argument("--data-options", default="", help="of its loader, as in 'n_train=3000, mel=16'")
    parser.add_argument(
        "--encode", action="append", default=[], metavar="MODALITY=MODEL",
        help="a modality through a frozen encoder, as in text=minilm or image=FOLDER; may repeat",
    )  # fmt: skip
    parser.add_argument("--store", type=Path, default=Path("runs/ledger"), help="where finished claims are kept")
    parser.add_argument("--write", action="store_true", help="write the ledger and its page into this checkout")
    parser.add_argument("--notes", action="store_true", help="print the notes: controls and traps")
    asked = parser.parse_args(arguments)
    chosen = [*asked.ids, *(asked.paper or [])] or None
    try:
        if asked.write and not asked.run:
            raise ValueError("--write keeps what --run measured; give both.")
        if asked.data_options and not asked.dataset:
            raise ValueError("--data-options belong to a dataset; name it with --dataset.")
        if asked.encode and not asked.dataset:
            raise ValueError("--encode is about a dataset's modality; name the dataset with --dataset.")
        if not asked.run:
            shown = _of(claims.table(dataset=asked.dataset or ""), chosen)
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*could not be measured")  # printed below
                shown = claims.run(
                    chosen, dataset=_dataset(asked), seeds=[int(s) for s in _listed(values("seeds", asked.seeds, 0))],
                    budget=asked.budget, store=asked.store,
                )  # fmt: skip
    except (ValueError, TypeError, OSError) as error:
        print(f"xmodal claims: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ninterrupted; finished claims are kept in {asked.store}: the same line goes on.", file=sys.stderr)
        return 130
    print(as_text(shown, notes=asked.notes))
    if asked.run and asked.write:
        name = asked.dataset or ""
        rows = [{str(k): v for k, v in row.items()} for row in shown.to_dict("records")]
        options = {"data_options": asked.data_options, "encode": " ".join(asked.encode)}
        rows = [{**row, **{k: v for k, v in options.items() if v}} for row in rows]
        paths = ledger.place(name), ledger.place(name, "md")
        held = ledger.write(rows, claims.known(), *paths, dataset=name)
        readme = paths[1].with_name("README.md")
        if not name and readme.is_file():
            ledger.put_between(readme, "claims", ledger.summary(held))
        print(f"wrote {paths[0].name}, {paths[1].name}{'' if name else ' and the summary in README.md'}")
    return int(bool((shown["verdict"] == ledger.NOT_MEASURED).any()) and asked.run)


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
    """The rows as a table for the terminal: id, verdict, measured, printed."""
    wide = width or max(80, min(160, shutil.get_terminal_size().columns))
    first = max(len(i) for i in rows["id"])
    second = max(len(v) for v in rows["verdict"])
    second = min(second, 28)
    rest = (wide - first - second - 6) // 2
    lines = [_columns(["id", "verdict", "measured here", "the paper"], (first, second, rest, rest))]
    lines.append("─" * wide)
    for row in rows.to_dict("records"):
        printed = "; ".join(part for part in (row["source"], row["printed"]) if part)
        cells = [row["id"], row["verdict"], row["measured"], printed]
        lines.append(_columns(cells, (first, second, rest, rest)))
        if notes and row["note"]:
            indent = " " * (first + 2)
            lines += textwrap.wrap(row["note"], wide - first - 2, initial_indent=indent, subsequent_indent=indent)
    counts = rows["verdict"].map(lambda v: "needs …" if v.startswith("needs ") else v).value_counts()
    lines += ["─" * wide, ", ".join(f"{n} {verdict}" for verdict, n in counts.items())]
    return "\n".join(lines)


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
