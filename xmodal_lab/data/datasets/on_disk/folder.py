"""``folder``: your own pictures, sounds, texts and features, and tables or subfolders that say what belongs to what."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset
from ..own.doors import from_arrays
from ..reading import media
from ..reading.layout import Problems, data_root
from ..reading.options import Files
from ..reading.rows import balanced
from ..reading.tables import FILES, class_folders, found_tables, known_column, read_tables

LAYOUT = "Expected a csv with a column of file names, and the files it names in the same folder or below."


@takes(Files, "audio")
def load_folder(
    how: Files,
    *,
    table: str | None = None,
    image: str | None = "image",
    audio: str | None = None,
    text: str | None = "text",
    inputs: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    label: str | Sequence[str] = "class",
    task: str = "auto",
    separator: str | None = None,
    split: str | None = None,
    group: str | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Samples from a folder of files, and a table with one line per sample or subfolders that name the classes.

    Read are: one csv; a csv, tsv, parquet or jsonl per split (``train.csv``, ``test.csv``), or one of those; folders
    ``train``, ``test`` with a ``metadata.jsonl`` each; subfolders of classes (ImageFolder), below folders of splits or
    not, where a picture and a sound of one name are one row. In all but a csv, "file_name", "caption" and "label" serve
    for "image", "text" and "class", and of these columns those that are missing are left out.

    Images are (3, size, size) in [0, 1], sounds standardised log-mels (1, mel, mel), texts bags
    of hashed words (256,) with the texts in ``strings``: ``xl.encoders.pretrained`` gives better.

    An empty cell says that the row lacks the modality. Paths may be absolute, if they lie in the folder.

    Args:
        root: the folder; ``XMODAL_DATA`` for None.
        modalities: which of those that have a column; None for all.
        table: the table in it; None where there is only one, or one for each split.
        image, audio, text: columns with picture files, sound files and texts; None for none.
        inputs: modality -> column, in place of these three: any names, any number. Cells are texts, numbers, or names
            of picture, sound or array files (npy, npz, pt, pkl).
        kinds: modality -> its kind, where that is not to be guessed; see :class:`xmodal_lab.Dataset`.
        label: column of the class; several columns for several classes, or several real values, a row.
        task: "classes", "labels", "values" or "auto", as for :meth:`xmodal_lab.Dataset.from_arrays`.
        separator: between several classes in one cell, such as "|".
        split: column that says "train", "val" or "test"; None draws a split.
        group: column whose equal values must not be split (speaker, scene); None for none.
        classes: names in order; None for those in the csv, sorted. A class outside is an error.
        val_share, test_share: of the rows, where a split is drawn.
        {options}

    Raises:
        LayoutError: all missing and malformed files and lines.
        ValueError: no modality, no table, several that are not one for each split.
    """
    options = {**vars(how), **{k: v for k, v in locals().items() if k not in ("how", "table")}}
    plain = (
        inputs is None
        and kinds is None
        and task in ("auto", "classes")
        and separator is None
        and isinstance(label, str)
    )
    columns = {m: c for m, c in (("image", image), ("audio", audio), ("text", text)) if c is not None}
    if not columns and inputs is None:
        raise ValueError("name at least one column: image=, audio= or text=, or inputs=.")
    columns = {m: columns[m] for m in check.modalities_of(how.modalities if plain else None, columns)}
    if classes is not None and len(set(check.listed("classes", classes))) != len(list(classes)):
        raise ValueError(f"classes must differ from each other, got {list(classes)}.")
    folder = data_root(how.root)
    problems = Problems("folder", folder, LAYOUT, how.damaged)
    tables = [(folder / table, "", "")] if table else found_tables(folder, problems)
    if not plain or [path.suffix.lower() for path, split_, _ in tables if not split_] != [".csv"]:
        return _other_forms(folder, tables, problems, options)
    assert isinstance(label, str)  # plain says so; for mypy
    path = tables[0][0]
    wanted = [*columns.values(), label, *(c for c in (split, group) if c)]
    lines = [(i, [f"line {i}", *cells]) for i, cells in media.table(path, problems, wanted, header="needed")]
    at = {c: 1 + k for k, c in enumerate(wanted)}
    names = sorted({cells[at[label]] for _, cells in lines} - {""}) if classes is None else list(classes)
    media_files = _below(folder, problems)
    rows: dict[str, list[media.Row]] = {}
    used: dict[str, str] = {}
    for cells, number in media.numbered(path, lines, at[label], names, problems):
        views = _views(path, cells[0], {m: cells[at[c]] for m, c in columns.items()}, folder, media_files, problems)
        told = len(views) == sum(bool(cells[at[c]]) for c in columns.values())
        if not any(cells[at[c]] for c in columns.values()):
            problems.malformed(path, f"{cells[0]}: {', '.join(columns.values())} are all empty")
        first = next((cells[at[c]] for m, c in columns.items() if m != "text" and cells[at[c]]), cells[0])
        file = next((str(view) for m, view in views.items() if m != "text"), first)
        if file in used:
            problems.malformed(path, f"{cells[0]}: {first!r} is on {used[file]} already")
            continue
        used[file] = cells[0]
        part = cells[at[split]].lower() if split else "all"
        if split and part not in ("train", "val", "test"):
            problems.malformed(path, f"{cells[0]}: split must be train, val or test, got {part!r}")
        elif views and told:
            rows.setdefault(part, []).append(media.Row(first, number, views, cells[at[group]] if group else ""))
    named = {str(view) for part in rows.values() for row in part for view in row.views.values()}
    endings = (*(media.PICTURES if image else ()), *(media.SOUNDS if audio else ()))
    for name, found_paths in media_files.items():
        for found_path in found_paths:
            if name.endswith(endings) and str(found_path) not in named:
                problems.extra(found_path)
    if "all" in rows:
        rows["train"], rows["test"] = media.parted(rows.pop("all"), how.test_share, [how.seed, 5])
    readers: dict[str, media.Reader | None] = {
        "image": media.picture(how.size), "audio": media.sound(how.audio, how.mel, how.seconds), "text": None,
    }  # fmt: skip
    dataset = media.assemble(
        "folder", {"train": [], "test": [], **rows}, {m: readers[m] for m in columns}, problems, how=how, classes=names,
        provenance={"source": str(folder), "licence": "yours"},
    )  # fmt: skip
    return media.standardized(dataset, "audio")


def _views(
    path: Path, line: str, cells: Mapping[str, str], folder: Path, files: Mapping[str, list[Path]], problems: Problems
) -> dict[str, object]:
    """Modality -> text, or its file; without those whose cell is empty, or names no file that is there."""
    views: dict[str, object] = {}
    for m, cell in cells.items():
        if not cell:  # absent from this row
            continue
        if m == "text":
            views[m] = cell
        elif (name := _inside(cell, folder)) is None:
            problems.malformed(path, f"{line}: {cell!r} lies outside of the folder; give root= above it")
        elif (where := _named(name, files)) is None:
            problems.missing(folder / name)
        elif len(where) > 1:
            problems.malformed(folder / name, "several files are called so but for their case; rename them")
        else:
            views[m] = where[0]
    return views


def _other_forms(
    folder: Path, tables: Sequence[tuple[Path, str, str]], problems: Problems, options: Mapping[str, Any]
) -> Dataset:
    """A folder with other tables than one csv, or without any."""
    if options["damaged"] != "raise":
        raise ValueError(
            "damaged='skip' is known for one csv with image=, audio=, text= alone; mend or remove the files."
        )
    whole = {split for _, split, _ in tables}
    if tables and (len(tables) == 1 or "" not in whole):
        rows = read_tables(tables, problems)
    elif tables:
        problems.finish()
        found = ", ".join(path.name for path, _, _ in tables)
        raise ValueError(f"{folder} must hold one csv or one table for each split, found {found}; name it with table=.")
    else:
        rows = class_folders(folder, problems)
    problems.finish()
    known = rows.columns()
    if not rows.cells:
        raise ValueError(
            f"{folder} must hold one csv (or tsv, parquet, jsonl), a table for each split, or subfolders of pictures "
            "or sounds named by class; found none."
        )
    views = _columns(options, known, tables[0][0].suffix.lower() in (".csv", ".tsv") if tables else False)
    told = {check.one_of("modality in kinds", m, views): kind for m, kind in (options["kinds"] or {}).items()}
    if options["modalities"] is not None:
        views = {m: views[m] for m in check.modalities_of(options["modalities"], views)}
    cells = {m: _files_inside(rows.column(c), folder, m, problems) for m, c in views.items()}
    problems.finish()
    wanted = [options["label"]] if isinstance(options["label"], str) else list(options["label"])
    labels = [rows.column(_column(c, known)) for c in wanted]
    classes = options["classes"]
    if len(wanted) > 1 and classes is None and {v for column in labels for v in column} <= {0, 1}:
        classes = wanted
    split = rows.column(_column(options["split"], known)) if options["split"] else (rows.split or None)
    kinds = {**{m: m for m in views if m in ("image", "audio")}, **{m: kind for m, kind in told.items() if m in views}}
    dataset = from_arrays(
        cells, labels[0] if len(labels) == 1 else np.array(labels).T, split=split, kinds=kinds, classes=classes,
        task=options["task"], separator=options["separator"], name="folder", root=folder, size=options["size"],
        group=rows.column(_column(options["group"], known)) if options["group"] else None,
        mel=options["mel"], seconds=options["seconds"], val_share=options["val_share"],
        test_share=options["test_share"], seed=options["seed"],
    )  # fmt: skip
    for m, kind in dataset.kinds.items():
        dataset = media.standardized(dataset, m) if kind == "audio" else dataset
    facts = {**dataset.provenance, "source": str(folder), "licence": "yours", "form": rows.form}
    return _fewer(replace(dataset, provenance=facts), options)


def _columns(options: Mapping[str, Any], known: Sequence[str], strict: bool) -> dict[str, str]:
    """Modality -> its column: those of ``inputs``, else of image, audio and text that are there."""
    if options["inputs"] is not None:
        return {m: _column(c, known) for m, c in options["inputs"].items()}
    asked = {m: options[m] for m in ("image", "audio", "text") if options[m] is not None}
    if "audio" in known and options["audio"] is None:
        asked["audio"] = "audio"
    if strict:
        return {m: _column(c, known) for m, c in asked.items()}
    found = {m: c for m, name in asked.items() if (c := known_column(name, known)) is not None}
    if not found:
        raise ValueError(
            f"none of the columns {', '.join(map(repr, known))} is a modality; say inputs={{name: column}}."
        )
    return found


def _column(name: str, known: Sequence[str]) -> str:
    return check.one_of("column", known_column(name, known) or name, known)


def _files_inside(cells: list[Any], folder: Path, modality: str, problems: Problems) -> list[Any]:
    """Cells whose file names lie below the folder; others are noted."""
    found = []
    for i, cell in enumerate(cells):
        if isinstance(cell, str) and cell.strip().lower().endswith(FILES) and modality != "text":
            inside = _inside(cell.strip(), folder)
            if inside is None or posixpath.normpath(inside).startswith(".."):
                problems.malformed(folder, f"row {i}: {cell!r} lies outside of the folder; give root= above it")
            cell = inside
        found.append(cell)
    return found


def _fewer(dataset: Dataset, options: Mapping[str, Any]) -> Dataset:
    """The dataset with ``n_train`` and ``n_test`` rows."""
    for split in ("train", "test"):
        wanted = options[f"n_{split}"]
        if wanted is not None:
            part = dataset.splits[split]
            if dataset.task != "classes":
                raise ValueError(f"n_{split} draws rows by class; these labels are {dataset.task}.")
            rows = balanced(part.labels.numpy(), wanted, f"n_{split}", [options["seed"], split == "test"])
            changed: dict[str, Any] = {split: part.subset(torch.from_numpy(rows))}
            dataset = replace(dataset, **changed)
    return dataset


def _below(folder: Path, problems: Problems, above: frozenset[tuple[int, int]] = frozenset()) -> dict[str, list[Path]]:
    """Relative name as :func:`_plain` has it → paths, of all files below the folder; a link to a folder above ends."""
    found: dict[str, list[Path]] = {}
    try:
        status = folder.stat()
    except OSError as error:
        problems.malformed(folder, f"cannot be listed: {error.strerror or error}")
        return found
    if (own := (status.st_dev, status.st_ino)) in above:
        return found
    for name, is_folder in problems.listing(folder):
        if not is_folder:
            found.setdefault(_plain(name), []).append(folder / name)
            continue
        for below, paths in _below(folder / name, problems, above | {own}).items():
            found.setdefault(f"{_plain(name)}/{below}", []).extend(paths)
    return found


def _inside(cell: str, folder: Path) -> str | None:
    """A cell of the csv as a path below the folder, absolute or not; None for one that lies elsewhere."""
    plain = cell.replace("\\", "/")
    if not (plain.startswith(("/", "~")) or plain[1:3] == ":/"):
        return plain
    absolute = Path(posixpath.normpath(Path(plain).expanduser().as_posix()))
    for base in (folder.absolute(), folder.resolve()):  # a link may stand above the folder
        if absolute.is_relative_to(base):
            return absolute.relative_to(base).as_posix()
    return None


def _named(cell: str, files: Mapping[str, list[Path]]) -> list[Path] | None:
    """Files that a cell of the csv can mean: the one of exactly this name, else those of another case."""
    name = posixpath.normpath(cell.replace("\\", "/"))
    paths = files.get(_plain(name))
    exact = [path for path in paths or () if path.as_posix().endswith(f"/{name}")]
    return exact if len(exact) == 1 else paths


def _plain(name: str) -> str:
    """Without case, and composed: macOS writes é as two characters where a csv has one."""
    return unicodedata.normalize("NFC", name).lower()
