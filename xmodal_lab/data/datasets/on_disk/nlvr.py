"""``nlvr``: drawn pictures and a sentence that is true of them or not (Suhr et al. 2017)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset
from ..reading import media
from ..reading.layout import Problems, home, parse_json
from ..reading.options import Files

CLASSES = ("false", "true")
MODALITIES = ("image", "text")
LAYOUT = "Expected {part}/{part}.json (a json object per line) and {part}/images/{directory}/{part}-{identifier}-0.png."


@takes(Files, "mel", "seconds", "audio", modalities=MODALITIES, val_share=0.15, test_share=0.3, size=(24, 96))
def load_nlvr(how: Files, *, part: str = "dev") -> Dataset:
    """Whether a sentence is true of a picture (3, *size) in [0, 1]; hashed words (256,), ``strings``.

    The few sentences serve several pictures each, so whole sentences are split, and neither
    modality tells much alone.

    Args:
        root: folder with "nlvr", or with its parts; ``XMODAL_DATA`` for None.
        part: "dev" (989 pictures, 249 sentences), or another that is there.
        modalities: which of "image", "text".
        {options}
        val_share, test_share: of the sentences.
        size: (height, width); the originals are 100 by 400.

    Raises:
        LayoutError: all missing and malformed files and lines.
    """
    chosen = how.chosen(MODALITIES)
    folder = home(how.root, ["nlvr"], [str(check.path("part", part))])
    problems = Problems("nlvr", folder, LAYOUT, how.damaged)
    path = folder / part / f"{part}.json"
    text = problems.attempt(path, lambda: path.read_text(encoding="utf-8")) or ""
    pictures: dict[str, dict[str, Path]] = {}
    rows: list[media.Row] = []
    seen: set[str] = set()
    for number, line in enumerate(text.rstrip().split("\n"), 1):  # splitlines would split at what a sentence may hold
        entry = _entry(line)
        if entry is None:
            problems.malformed(path, f"line {number}: sentence, label true or false, identifier, directory expected")
            continue
        name, where = entry["identifier"], folder / part / "images" / entry["directory"]
        if name in seen:
            problems.malformed(path, f"line {number}: identifier {name} comes twice")
            continue
        seen.add(name)
        if entry["directory"] not in pictures:
            pictures[entry["directory"]] = problems.files(where, [".png"])
        file = f"{part}-{name}-0.png"
        if file.lower() not in pictures[entry["directory"]]:
            problems.missing(where / file)
            continue
        views = {"image": pictures[entry["directory"]][file.lower()], "text": entry["sentence"]}
        group = " ".join(entry["sentence"].lower().split())
        rows.append(media.Row(name, CLASSES.index(entry["label"]), {m: views[m] for m in chosen}, group))
    train, test = media.parted(rows, how.test_share, [how.seed, 5])
    readers: dict[str, media.Reader | None] = {"image": media.picture(how.size), "text": None}
    return media.assemble(
        "nlvr", {"train": train, "test": test}, {m: readers[m] for m in chosen}, problems, how=how, classes=CLASSES,
        provenance={"source": "NLVR, Suhr et al. 2017", "licence": "CC BY 4.0", "part": part},
    )  # fmt: skip


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = parse_json(line)
    except ValueError:
        return None
    keys = ("sentence", "label", "identifier", "directory")
    whole = isinstance(entry, dict) and all(isinstance(entry.get(k), str) and entry[k].strip() for k in keys)
    return entry if whole and entry["label"] in CLASSES else None
