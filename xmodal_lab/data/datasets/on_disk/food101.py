"""``food101``: pictures of dishes and the titles of their recipes (UPMC Food-101, Wang et al. 2015)."""

from __future__ import annotations

from ....utils.options import takes
from ...samples import Dataset
from ..reading import media
from ..reading.layout import Problems, home
from ..reading.options import Files

MODALITIES = ("image", "text")
LAYOUT = "Expected texts/{train,test}_titles.csv (image, text, class) and images/{split}/{class}/{image}."


@takes(Files, "test_share", "mel", "seconds", "audio", modalities=MODALITIES)
def load_food101(how: Files) -> Dataset:
    """Dishes (101), seen (3, size, size) in [0, 1] and read: hashed words (256,), titles in ``strings``.

    ``xl.encoders.pretrained("text", "bert-base-uncased", max_length=77).on(dataset)`` reads the
    titles as dml's code does.

    Args:
        {options}
        modalities: which of "image", "text".
        size: side of the image (64: ours; published: 224).

    Raises:
        LayoutError: all missing and malformed files and lines.
    """
    chosen = how.chosen(MODALITIES)
    folder = home(how.root, ["food101", "upmc_food101", "UPMC_Food101"], ["texts"])
    problems = Problems("food101", folder, LAYOUT, how.damaged)
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
    readers: dict[str, media.Reader | None] = {"image": media.picture(how.size), "text": None}
    return media.assemble(
        "food101", tables, {m: readers[m] for m in chosen}, problems, how=how, classes=classes,
        provenance={"source": "UPMC Food-101, Wang et al. 2015", "licence": "for research; pictures of their owners"},
    )  # fmt: skip
