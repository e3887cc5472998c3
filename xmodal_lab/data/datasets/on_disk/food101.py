"""``food101``: pictures of dishes and the titles of their recipes (UPMC Food-101, Wang et al. 2015)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ....utils import checks as check
from ...samples import Dataset
from ..reading import media
from ..reading.layout import Problems, home

MODALITIES = ("image", "text")
LAYOUT = "Expected texts/{train,test}_titles.csv (image, text, class) and images/{split}/{class}/{image}."


def load_food101(
    *,
    root: str | os.PathLike[str] | None = None,
    modalities: str | Sequence[str] = MODALITIES,
    n_train: int | None = None,
    n_test: int | None = None,
    val_share: float = 0.1,
    size: int = 64,
    damaged: str = "raise",
    progress: bool | None = None,
    seed: int = 0,
) -> Dataset:
    """Dishes (101), seen (3, size, size) in [0, 1] and read: hashed words (256,), titles in ``strings``.

    ``xl.encoders.pretrained("text", "bert-base-uncased", max_length=77).on(dataset)`` reads the
    titles as dml's code does.

    Args:
        root: the set's folder, or the one above it; ``XMODAL_DATA`` for None.
        modalities: which of "image", "text".
        n_train, n_test: rows, balanced; None for all.
        val_share: of the training rows (0.1: dml, App B.1).
        size: side of the image (64: ours; published: 224).
        damaged: "raise", or "skip" rows whose files are missing or malformed.
        progress: show a bar; None shows one in a terminal.
        seed: draws splits and rows.

    Raises:
        LayoutError: all missing and malformed files and lines.
    """
    chosen = check.modalities_of(modalities, MODALITIES)
    folder = home(root, ["food101", "upmc_food101", "UPMC_Food101"], ["texts"])
    problems = Problems("food101", folder, LAYOUT, damaged)
    lines = {
        part: media.table(folder / "texts" / f"{part}_titles.csv", problems, ["image", "text", "class"])
        for part in ("train", "test")
    }
    classes = sorted({cells[2] for _, cells in lines["train"]})
    tables: dict[str, list[media.Row]] = {}
    for part, found in lines.items():
        path = folder / "texts" / f"{part}_titles.csv"
        base = folder / "images" / part
        pictures = {c: problems.files(base / c, media.PICTURES)
                    for c in (problems.folders(base) if "image" in chosen else ())}  # fmt: skip
        tables[part], named = [], set()
        for cells, label in media.numbered(path, found, 2, classes, problems):
            views: dict[str, object] = {}
            named.add((cells[2], cells[0].lower()))
            if "text" in chosen:
                views["text"] = cells[1]
            if "image" in chosen:
                if (where := pictures.get(cells[2], {}).get(cells[0].lower())) is None:
                    problems.missing(base / cells[2] / cells[0])
                else:
                    views["image"] = where
            if len(views) == len(chosen):
                tables[part].append(media.Row(cells[0], label, views))
        for group, files in pictures.items():
            for name in files.keys() - {n for c, n in named if c == group}:
                problems.extra(files[name])
    readers: dict[str, media.Reader | None] = {"image": media.picture(size), "text": None}
    return media.assemble(
        "food101", tables, {m: readers[m] for m in chosen}, problems, classes=classes,
        sizes={"train": n_train, "test": n_test}, val_share=val_share, seed=seed, progress=progress,
        provenance={"source": "UPMC Food-101, Wang et al. 2015", "licence": "for research; pictures of their owners"},
    )  # fmt: skip
