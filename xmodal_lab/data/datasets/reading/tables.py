"""Folders in other forms than one csv: classes as subfolders, a table per split, parquet, tsv, ``metadata.jsonl``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..on_disk.feature_files import ARRAYS
from ..own.targets import SPLITS
from .layout import Problems, parse_json
from .media import PICTURES, SOUNDS

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
FILES = (*PICTURES, *SOUNDS, *ARRAYS)
# Columns of these names serve where the usual one is not there, as `datasets` and torchaudio write them.
_IMAGES = ("file_name", "filename", "image_path", "path", "file")
_OTHER = {"image": _IMAGES, "text": ("caption", "sentence"), "class": ("label", "category", "target")}


@dataclass
class Rows:
    """Rows of a folder: cells by column, and the split of each, where the folder says it.

    Attributes:
        cells: one dict a row.
        split: one word a row, or empty.
        form: what the folder is, in words.
        place: folder of each row, relative to the root, that its file names start from.
    """

    cells: list[Mapping[str, Any]] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    form: str = ""
    place: list[str] = field(default_factory=list)

    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(dict.fromkeys(str(k) for row in self.cells for k in row))

    def column(self, name: str) -> list[Any]:
        """The cells of a column; file names are relative to the root."""
        return [_placed(row.get(name), place) for row, place in zip(self.cells, self.place, strict=True)]


def found_tables(folder: Path, problems: Problems) -> list[tuple[Path, str, str]]:
    """(table, split or "", place) of the tables in ``folder``: all of one split each, or any."""
    here = [path for path in problems.files(folder, SUFFIXES).values() if not path.name.lower().endswith("labels.csv")]
    splits = [_split_of(path.stem) for path in here]
    if len(here) > 1 and all(splits):
        return [(path, split, "") for path, split in zip(here, splits, strict=True)]
    if here:
        return [(path, "", "") for path in here]
    below = []
    for name, path in problems.folders(folder).items():
        if name.lower() in SPLITS:
            tables = problems.files(path, SUFFIXES)
            below += [(table, SPLITS[name.lower()], name) for table in tables.values()]
    return below


def read_tables(tables: Sequence[tuple[Path, str, str]], problems: Problems) -> Rows:
    """The rows of all tables, one after the other."""
    rows = Rows(form=", ".join(dict.fromkeys(path.name for path, _, _ in tables)))
    for path, split, place in tables:
        cells = problems.attempt(path, lambda p=path: _lines(p, problems)) or []  # type: ignore[misc]
        rows.cells += cells
        rows.place += [place] * len(cells)
        rows.split += [split] * len(cells) if split else []
    return rows


def class_folders(folder: Path, problems: Problems) -> Rows:
    """Rows of pictures and sounds in subfolders that name their class, below folders of splits or not.

    A picture and a sound of one class that differ in nothing but their ending are one row.
    """
    parts = problems.folders(folder)
    by_split = parts and all(name.lower() in SPLITS for name in parts)
    rows = Rows(form="classes as subfolders" + (" of splits" if by_split else ""))
    for split, base in parts.items() if by_split else [("", folder)]:
        for name, where in problems.folders(base).items():
            both: dict[str, dict[str, Any]] = {}
            for path in _media_below(where, problems):
                kind = "image" if path.suffix.lower() in PICTURES else "audio"
                relative = path.relative_to(folder)
                key = str(relative.with_suffix(""))
                if kind in both.get(key, {}):  # a.png beside a.jpg: two pictures
                    key = str(relative)
                both.setdefault(key, {"class": name})[kind] = relative.as_posix()
            rows.cells += both.values()
            rows.split += [SPLITS[split.lower()]] * len(both) if by_split else []
    rows.place = [""] * len(rows.cells)
    return rows


def known_column(name: str, columns: Sequence[str]) -> str | None:
    """The column called ``name`` or, where there is none, as other tools call it; None for neither."""
    if name in columns:
        return name
    return next((other for other in _OTHER.get(name, ()) if other in columns), None)


def _split_of(stem: str) -> str:
    """The split in the name of a table: ``train``, ``validation-00000-of-00001``; "" for none."""
    match = re.match(r"([a-z]+)(?![a-z])", stem.lower())
    return SPLITS.get(match[1], "") if match else ""


def _lines(path: Path, problems: Problems) -> list[Mapping[str, Any]]:
    """The rows of one table.

    Raises:
        ValueError: a table that cannot be read.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        lines: list[Mapping[str, Any]] = []
        for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                problems.malformed(path, f"line {i}: not json ({error})")
                continue
            if isinstance(row, dict):
                lines.append(row)
            else:
                problems.malformed(path, f"line {i}: a json object expected, got {type(row).__name__}")
        return lines
    try:
        if suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            mark = "\t" if suffix == ".tsv" else ","
            frame = pd.read_csv(path, sep=mark, keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    except ImportError as error:
        raise ValueError(f"{path}: parquet needs pyarrow (pip install pyarrow): {error}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError, ValueError) as error:
        raise ValueError(f"{path}: no readable table ({error})") from None
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _media_below(folder: Path, problems: Problems) -> list[Path]:
    """Pictures and sounds in a folder and below; other files are noted as extra."""
    found = []
    for name, is_folder in problems.listing(folder):
        path = folder / name
        if is_folder and not path.is_symlink():
            found += _media_below(path, problems)
        elif path.suffix.lower() in (*PICTURES, *SOUNDS):
            found.append(path)
        elif not is_folder:
            problems.extra(path)
    return found


def _placed(cell: Any, place: str) -> Any:
    if place and isinstance(cell, str) and cell.strip().lower().endswith(FILES) and not cell.startswith(("/", "~")):
        return f"{place}/{cell.strip()}"
    return cell
