"""``folder``: your own pictures (and sounds) and a csv that says what belongs to what."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import _checks as check
from ..samples import Dataset
from . import _media as media
from ._layout import Problems, data_root

LAYOUT = "Expected a csv with a column of file names, and the files it names in the same folder or below."


def load_folder(
    *,
    root: str | os.PathLike[str] | None = None,
    modalities: str | Sequence[str] | None = None,
    table: str | None = None,
    image: str | None = "image",
    audio: str | None = None,
    text: str | None = "text",
    label: str = "class",
    split: str | None = None,
    group: str | None = None,
    classes: Sequence[str] | None = None,
    size: int | tuple[int, int] = 64,
    mel: int = 32,
    seconds: float = 1.0,
    n_train: int | None = None,
    n_test: int | None = None,
    val_share: float = 0.1,
    test_share: float = 0.2,
    damaged: str = "raise",
    progress: bool | None = None,
    seed: int = 0,
) -> Dataset:
    """Samples from a folder of files and a csv with one line per sample.

    Images are (3, size, size) in [0, 1], sounds standardised log-mels (1, mel, mel), texts bags
    of hashed words (256,) with the texts in ``strings``: ``xl.encoders.pretrained`` gives better.

    An empty cell says that the row lacks the modality. Paths may be absolute, if they lie in the folder.

    Args:
        root: the folder; ``XMODAL_DATA`` for None.
        modalities: which of those that have a column; None for all.
        table: the csv in it; None where there is only one.
        image, audio, text: columns with picture files, sound files and texts; None for none.
        label: column of the class.
        split: column that says "train", "val" or "test"; None draws a split.
        group: column whose equal values must not be split (speaker, scene); None for none.
        classes: names in order; None for those in the csv, sorted. A class outside is an error.
        size: side of the images, or (height, width).
        mel: bands and frames of the sounds.
        seconds: that are heard of each.
        n_train, n_test: rows, balanced; None for all.
        val_share, test_share: of the rows, where a split is drawn.
        damaged: "raise", or "skip" to go on without rows whose files are missing or malformed.
        progress: show a bar; None shows one in a terminal.
        seed: draws splits and rows.

    Raises:
        LayoutError: all missing and malformed files and lines.
        ValueError: no modality, no csv, several.
    """
    columns = {m: c for m, c in (("image", image), ("audio", audio), ("text", text)) if c is not None}
    if not columns:
        raise ValueError("name at least one column: image=, audio= or text=.")
    columns = {m: columns[m] for m in check.modalities_of(modalities, columns)}
    check.share("test_share", test_share)
    if classes is not None and len(set(check.listed("classes", classes))) != len(list(classes)):
        raise ValueError(f"classes must differ from each other, got {list(classes)}.")
    folder = data_root(root)
    problems = Problems("folder", folder, LAYOUT, damaged)
    tables = list(problems.files(folder, [".csv"]).values())
    if table is None and len(tables) != 1:
        problems.finish()
        found = ", ".join(path.name for path in tables) or "none"
        raise ValueError(f"{folder} must hold one csv, found {found}; name it with table=.")
    path = folder / table if table else tables[0]
    wanted = [*columns.values(), label, *(c for c in (split, group) if c)]
    lines = [(i, [f"line {i}", *cells]) for i, cells in media.table(path, problems, wanted, header="needed")]
    at = {c: 1 + k for k, c in enumerate(wanted)}
    names = sorted({cells[at[label]] for _, cells in lines} - {""}) if classes is None else list(classes)
    media_files = _below(folder, problems)
    rows: dict[str, list[media.Row]] = {}
    used: dict[str, str] = {}
    for cells, number in media.numbered(path, lines, at[label], names, problems):
        views: dict[str, object] = {}
        for m, column in columns.items():
            cell = cells[at[column]]
            if not cell:  # absent from this row
                continue
            if m == "text":
                views[m] = cell
            elif (name := _inside(cell, folder)) is None:
                problems.malformed(path, f"{cells[0]}: {cell!r} lies outside of the folder; give root= above it")
            elif (where := _named(name, media_files)) is None:
                problems.missing(folder / name)
            elif len(where) > 1:
                problems.malformed(folder / name, "several files are called so but for their case; rename them")
            else:
                views[m] = where[0]
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
        rows["train"], rows["test"] = media.parted(rows.pop("all"), test_share, [seed, 5])
    readers: dict[str, media.Reader | None] = {
        "image": media.picture(size), "audio": media.sound("mel", mel, seconds), "text": None,
    }  # fmt: skip
    dataset = media.assemble(
        "folder", {"train": [], "test": [], **rows}, {m: readers[m] for m in columns}, problems, classes=names,
        sizes={"train": n_train, "test": n_test},
        val_share=val_share, seed=seed, progress=progress, provenance={"source": str(folder), "licence": "yours"},
    )  # fmt: skip
    return media.standardized(dataset, "audio")


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
