"""Pictures, sounds and texts in files → samples: what the loaders of folders share."""

from __future__ import annotations

import csv
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....utils import checks as check
from ...samples import Dataset, Samples
from .audio import log_mel, read_wave
from .layout import Problems
from .options import Files
from .rows import balanced

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # Pillow would also hand PostScript to another program
SOUNDS = (".wav", ".ogg", ".flac")
TEXT_WIDTH = 256  # (ours) of the vector of hashed words that stands for a text until an encoder reads it

Floats = npt.NDArray[np.float32]
Reader = Callable[[Any], npt.NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """One sample: its id, label, modality → file (or files, or text), and the group that must not be split.

    A modality that ``views`` lacks is absent from the row, and so is an empty text.
    """

    id: str
    label: int
    views: Mapping[str, Any]
    group: str = ""
    latents: Mapping[str, int] = field(default_factory=dict)


# -- reading files -----------------------------------------------------------------------------------


def read_image(path: Path | BytesIO, size: int | tuple[int, int] | None, colour: bool = True) -> npt.NDArray[np.uint8]:
    """A picture as bytes (3 or 1, h, w): palette and alpha over white, middle part, scaled to ``size``; None: as it is.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, or a damaged one.
    """
    named = path if isinstance(path, Path) else "picture"
    from PIL import Image, ImageOps, UnidentifiedImageError

    sides = (size, size) if isinstance(size, int) else size
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            opened.load()
            image: Any = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits
                image = image.point(lambda v: v / 256).convert("L")
            if image.mode in ("P", "PA", "LA", "RGBA", "RGBa", "La") or "transparency" in image.info:
                over = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
            image = image.convert("RGB" if colour else "L")
            image = image if sides is None else ImageOps.fit(image, (sides[1], sides[0]))
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{named}: no readable picture ({error})") from None
    pixels = np.asarray(image, dtype=np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if colour else pixels[None])


def picture(size: int | tuple[int, int], colour: bool = True) -> Reader:
    """A reader of pictures; of the middle one where a row has several frames."""

    def read(path: Path | Sequence[Path]) -> npt.NDArray[Any]:
        return read_image(path if isinstance(path, Path) else path[len(path) // 2], size, colour)

    return read


def sound(kind: str, mel: int, seconds: float, rate: int = 16000) -> Reader:
    """A reader of recordings: "mel" (1, mel, mel) in dB, or "wave" (samples,), the first ``seconds``."""

    def read(path: Path) -> Floats:
        wave, _ = read_wave(path, rate, seconds=seconds)
        if kind == "wave":
            length = round(seconds * rate)
            return np.pad(wave[:length], (0, max(0, length - len(wave))))
        n_fft = 512 if mel <= 64 else 1024 if mel <= 96 else 2048
        return log_mel(wave, rate, bands=mel, frames=mel, seconds=seconds, n_fft=n_fft, floor_db=-80.0)[None]

    return read


def hashed(texts: Sequence[str], width: int = TEXT_WIDTH) -> Floats:
    """Bags of hashed words, (n, width), rows of length 1: no meaning, only which words are there."""
    out = np.zeros((len(texts), width), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"\w+", text.lower()):
            code = zlib.crc32(word.encode())
            out[row, code % width] += 1.0 if code >> 31 else -1.0
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)


def table(path: Path, problems: Problems, columns: Sequence[str], header: str = "auto") -> list[tuple[int, list[str]]]:
    """(line number, cells) of a csv; a first line that names ``columns`` is a header.

    With ``header="needed"`` the cells are those of ``columns``, wherever they stand.
    """

    def read() -> list[tuple[int, list[str]]]:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                return [(i, [c.strip() for c in line]) for i, line in enumerate(csv.reader(file), 1) if any(line)]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
        except csv.Error as error:
            raise ValueError(f"{path}: not a csv file ({error})") from None

    lines = problems.attempt(path, read)
    if not lines:
        if lines is not None:
            problems.malformed(path, "it holds no line")
        return []
    first = [cell.lower() for cell in lines[0][1]]
    if header == "needed":
        absent = [c for c in columns if c.lower() not in first]
        if absent:
            said = f"no column {', '.join(map(repr, absent))}; it has {', '.join(map(repr, first))}"
            other = len(first) == 1 and any(mark in first[0] for mark in ";\t")
            problems.malformed(path, said + (" (commas must stand between columns)" if other else ""))
            return []
        order = [first.index(c.lower()) for c in columns]
        short = [i for i, cells in lines if len(cells) <= max(order)]
        for i in short:
            problems.malformed(path, f"line {i} has too few columns")
        return [(i, [cells[k] for k in order]) for i, cells in lines[1:] if i not in short]
    if first[0] == columns[0].lower() or first[: len(columns)] == [c.lower() for c in columns]:
        lines = lines[1:]
    good = []
    for i, cells in lines:
        if len(cells) < len(columns):
            problems.malformed(path, f"line {i}: columns {', '.join(columns)} expected, got {len(cells)}")
        else:
            good.append((i, cells))
    return good


def numbered(
    where: Path, lines: Sequence[tuple[int, list[str]]], label: int, classes: Sequence[str], problems: Problems
) -> Iterator[tuple[list[str], int]]:
    """(cells, class number) of each line; unknown classes and ids (first cell) that come twice are noted."""
    seen: dict[str, int] = {}
    for line, cells in lines:
        if not cells[label]:
            problems.malformed(where, f"line {line}: no class")
        elif cells[label] not in classes:
            shown = ", ".join(classes[:12]) + (", …" if len(classes) > 12 else "")
            problems.malformed(where, f"line {line}: unknown class {cells[label]!r} (known: {shown})")
        elif cells[0] in seen:
            problems.malformed(where, f"line {line}: id {cells[0]!r} is on line {seen[cells[0]]} already")
        else:
            seen[cells[0]] = line
            yield cells, list(classes).index(cells[label])


# -- rows to samples ---------------------------------------------------------------------------------


def assemble(
    name: str, tables: Mapping[str, Sequence[Row]], readers: Mapping[str, Reader | None], problems: Problems, *,
    how: Files, classes: Sequence[str], provenance: Mapping[str, Any], kinds: Mapping[str, str] | None = None,
) -> Dataset:  # fmt: skip
    """Choose rows, read their files, and say all that is wrong at once.

    Args:
        name: of the dataset.
        tables: rows of "train", "test" and perhaps "val".
        readers: modality → reader of a view; None reads text.
        problems: what was found wrong so far.
        how: rows wanted per split (balanced), the share of the training rows (whole groups) that become a validation
            split where there is none, the seed that draws them, and whether there is a bar.
        classes: names.
        provenance: of the dataset.
        kinds: of modalities whose name does not tell.
    """
    from tqdm.auto import tqdm

    splits = {s: list(rows) for s, rows in tables.items()}
    sizes = {"train": how.n_train, "test": how.n_test}
    if "val" not in splits and check.share("val_share", how.val_share) > 0 and splits["train"]:
        splits["train"], splits["val"] = parted(splits["train"], how.val_share, [how.seed, 1])
    for s, rows in splits.items():
        wanted = sizes.get(s)
        if rows and (wanted is not None or s == "train"):
            picked = balanced(np.array([r.label for r in rows]), wanted, f"n_{s}", [how.seed, 0 if s == "train" else 2])
            splits[s] = [rows[i] for i in picked]
    total = sum(map(len, splits.values()))
    read: dict[str, list[tuple[Row, dict[str, Any]]]] = {}
    with tqdm(
        total=total, desc=f"reading {name}", unit="row", disable=None if how.progress is None else not how.progress
    ) as bar:
        for s, rows in splits.items():
            read[s] = []
            for row in rows:
                there = {m: row.views[m] for m in readers if _is_said(row.views.get(m))}
                views = {m: _view(source, readers[m], problems) for m, source in there.items()}
                if not there:
                    problems.malformed(problems.root / row.id, f"all of {', '.join(readers)} are empty")
                elif all(view is not None for view in views.values()):
                    read[s].append((row, views))
                bar.update()
    problems.finish()
    for s in ("train", "test"):
        if not read.get(s):
            raise ValueError(f"{name}: no row is left for the {s} split in {problems.root}. {problems.layout}")
    for m in readers:
        if not any(m in views for _, views in read["train"]):
            raise ValueError(f"{name}: no training row has modality {m!r} in {problems.root}; leave it out.")
    shapes = {m: np.shape(next(v[m] for _, v in read["train"] if m in v)) for m, r in readers.items() if r is not None}
    parts = {s: _samples(rows, readers, shapes) for s, rows in read.items() if rows}
    return Dataset(
        name=name, train=parts["train"], test=parts["test"], val=parts.get("val"), classes=tuple(classes),
        kinds=kinds or {}, provenance={**provenance, "seed": how.seed},
    )  # fmt: skip


def parted(rows: Sequence[Row], share: float, seed: Sequence[int]) -> tuple[list[Row], list[Row]]:
    """Rows in two parts, the second with about this share of each class; a group stays whole.

    The last group of a class stays in the first part: what is tested has to be learned from something.
    """
    names = sorted({row.group or row.id for row in rows})
    order = {names[i]: rank for rank, i in enumerate(np.random.default_rng(seed).permutation(len(names)))}
    taken: set[str] = set()
    for label in sorted({row.label for row in rows}):
        members = [row for row in rows if row.label == label]
        have = sum((row.group or row.id) in taken for row in members)
        for row in sorted(members, key=lambda r: order[r.group or r.id]):
            if have + 0.5 >= share * len(members) or len({r.group or r.id for r in members} - taken) <= 1:
                break
            if (row.group or row.id) not in taken:
                taken.add(row.group or row.id)
                have += sum((r.group or r.id) == (row.group or row.id) for r in members)
    second = [row for row in rows if (row.group or row.id) in taken]
    return [row for row in rows if (row.group or row.id) not in taken], second


def _view(source: Any, reader: Reader | None, problems: Problems) -> Any:
    if reader is None:
        return source
    path = source if isinstance(source, Path) else source[len(source) // 2]
    return problems.attempt(path, lambda: reader(source))


def _is_said(source: Any) -> bool:
    """Whether a row has something of a modality: no empty text, and no empty cell of a table."""
    return bool(source.strip()) if isinstance(source, str) else source is not None


def _samples(
    rows: Sequence[tuple[Row, dict[str, Any]]], readers: Mapping[str, Reader | None],
    shapes: Mapping[str, tuple[int, ...]],
) -> Samples:  # fmt: skip
    inputs: dict[str, Tensor] = {}
    strings: dict[str, tuple[str, ...]] = {}
    present = {m: torch.tensor([m in views for _, views in rows]) for m in readers}
    for m, reader in readers.items():
        if reader is None:
            strings[m] = tuple(views.get(m, "") for _, views in rows)
            inputs[m] = torch.from_numpy(hashed(strings[m]))
        else:
            views_of = [views.get(m) for _, views in rows]
            kind = next((view.dtype for view in views_of if view is not None), np.dtype(np.float32))
            empty = np.zeros(shapes[m], dtype=kind)
            stacked = torch.from_numpy(np.stack([empty if view is None else view for view in views_of]))
            inputs[m] = stacked.float().div_(255.0) if stacked.dtype == torch.uint8 else stacked
            if m == "image":
                strings[m] = tuple(row.id for row, _ in rows)
    names = rows[0][0].latents
    latents = {k: torch.tensor([row.latents[k] for row, _ in rows]) for k in names}
    labels = torch.tensor([row.label for row, _ in rows])
    return Samples(inputs, labels, present, latents=latents or None, strings=strings)


def standardized(dataset: Dataset, modality: str) -> Dataset:
    """The dataset with one modality shifted and scaled by its training mean and deviation (in provenance)."""
    from dataclasses import replace

    if modality not in dataset.modalities:
        return dataset
    seen = dataset.train.inputs[modality][dataset.train.present[modality]]
    mean, sd = float(seen.mean()), max(float(seen.std()), 1e-6)
    changed: dict[str, Any] = {
        s: replace(part, inputs={**part.inputs, modality: (part.inputs[modality] - mean) / sd})
        for s, part in dataset.splits.items()
    }
    statistics = {**dataset.provenance.get("statistics", {}), modality: {"mean": mean, "sd": sd}}
    return replace(dataset, **changed, provenance={**dataset.provenance, "statistics": statistics})


def suffixless(files: Mapping[str, Path]) -> dict[str, Path]:
    """Stem in lower case → path, of files by name."""
    return {os.path.splitext(name)[0]: path for name, path in files.items()}  # noqa: PTH122
