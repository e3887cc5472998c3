"""``emoji``: 1820 small pictures with their names and keywords (EmojiOne 2.2.7)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset
from ..reading import media
from ..reading.layout import Problems, home, read_json
from ..reading.options import Files

MODALITIES = ("image", "text")
LAYOUT = "Expected emoji.json and png/{unicode}.png."
_TONE = re.compile(r"-1f3f[b-f]")


@takes(Files, "mel", "seconds", "audio", modalities=MODALITIES, size=32)
def load_emoji(how: Files, *, categories: Sequence[str] | None = None, keywords: bool = True) -> Dataset:
    """Categories of emoji, seen (3, size, size) in [0, 1] over white and read: hashed words (256,).

    The texts are in ``strings``. Skin tones of one emoji never fall on both sides of a split.
    Categories are of very different size; ``n_train`` gives balanced rows.

    Args:
        root: the folder of emoji.json, or the one above it; ``XMODAL_DATA`` for None.
        modalities: which of "image", "text".
        categories: in order; None for all of the json, sorted.
        {options}
        val_share, test_share: of the emoji.
        size: side of the picture, at most 64 pays.
        keywords: add them to the name.

    Raises:
        LayoutError: all missing and malformed files and entries.
    """
    chosen = how.chosen(MODALITIES)
    folder = home(how.root, ["emojione", "emoji"], ["emoji.json"])
    problems = Problems("emoji", folder, LAYOUT, how.damaged)
    path = folder / "emoji.json"
    entries = problems.attempt(path, lambda: _entries(path)) or {}
    pictures = media.suffixless(problems.files(folder / "png", [".png"]))
    known = sorted({entry["category"] for entry in entries.values()})
    if entries and categories is not None:
        known = [check.one_of("category", c, known) for c in categories]
    rows: list[media.Row] = []
    seen: dict[str, str] = {}
    for name, entry in entries.items():
        code = entry["unicode"].lower()
        if code in seen:
            problems.malformed(path, f"{name}: unicode {code} is {seen[code]}'s already")
        seen[code] = name
        if code not in pictures:
            problems.missing(folder / "png" / f"{code}.png")
        elif entry["category"] in known:
            words = " ".join([entry["name"], *(entry.get("keywords", []) if keywords else [])])
            views = {"image": pictures[code], "text": words}
            label = known.index(entry["category"])
            rows.append(media.Row(code, label, {m: views[m] for m in chosen}, _TONE.sub("", code)))
    without = len(pictures.keys() - seen.keys())  # the published set has 12 of them: no fault of the user's
    train, test = media.parted(rows, how.test_share, [how.seed, 5])
    readers: dict[str, media.Reader | None] = {"image": media.picture(how.size), "text": None}
    return media.assemble(
        "emoji", {"train": train, "test": test}, {m: readers[m] for m in chosen}, problems, how=how, classes=known,
        provenance={"source": "EmojiOne 2.2.7", "licence": "art CC BY 4.0, names MIT", "without entry": without},
    )  # fmt: skip


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: a json object of emoji expected")
    for name, entry in content.items():
        absent = [k for k in ("unicode", "name", "category") if not isinstance(entry, dict) or k not in entry]
        if absent:
            raise ValueError(f"{path}: emoji {name!r} has no {', '.join(absent)}")
        empty = [k for k in ("unicode", "name", "category") if not isinstance(entry[k], str) or not entry[k].strip()]
        if empty:
            raise ValueError(f"{path}: emoji {name!r} has a {', '.join(empty)} that is no text")
        words = entry.get("keywords", [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{path}: emoji {name!r} has keywords that are no list of words")
    return content
