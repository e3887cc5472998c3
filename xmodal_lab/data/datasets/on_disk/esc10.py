"""``esc10``: environment sounds, and the names that those who recorded them gave their files (Piczak 2015)."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset
from ..reading import media
from ..reading.audio import log_mel, read_wave
from ..reading.layout import Problems, home
from ..reading.options import Files
from . import sounds

MODALITIES = ("audio", "text")
LAYOUT = "Expected README.txt and {number} - {class}/{fold}-{recording}-{take}.ogg."
# Of the attributions in README.txt: "- [1-100032-A.ogg]: clip derived from rose_bark.wav (http://… by …".
_TITLE = re.compile(r"^-\s*\[(?P<file>[^\]]+)\]:\s*clip derived from\s+(?P<title>.+?)\s+\(https?://", re.IGNORECASE)
_ENDING = re.compile(r"\.(wav|aiff?|mp3|ogg|flac|m4a|wma)$", re.IGNORECASE)
_CLASS = re.compile(r"\d+\s*-\s*(.+)")


@takes(Files, "size", modalities=MODALITIES, test_share=0.25)
def load_esc10(how: Files, *, parts: int = 5) -> Dataset:
    """Ten classes of sounds, heard (1, mel, mel) and named: the recording's title on Freesound, hashed words (256,).

    A clip lasts some 5 s and gives several rows, each a stretch of ``seconds`` that is loud enough, with RMS 1, at
    8 kHz. All rows of a recording fall into one split. The titles (``strings``) were written by those who recorded:
    most name the sound, some only a place or a dog ("MABEL 1").

    Args:
        root: folder of the classes and README.txt, or the one above it; ``XMODAL_DATA`` for None.
        modalities: which of "audio", "text".
        {options}
        val_share, test_share: of the recordings.
        parts: stretches of a clip; at 1 s, five hardly overlap.

    Raises:
        LayoutError: all missing and malformed files.
    """
    chosen = how.chosen(MODALITIES)
    check.integer("parts", parts, at_least=1)
    folder = home(how.root, ["esc10", "esc-10"], ["README.txt"])
    problems = Problems("esc10", folder, LAYOUT, how.damaged)
    path = folder / "README.txt"
    titles = (problems.attempt(path, lambda: _titles(path)) or {}) if "text" in chosen else {}
    named: dict[str, str] = {}
    clips: list[tuple[sounds.Noise, str]] = []
    for noise in sounds.noises(folder, problems):
        match = _CLASS.fullmatch(noise.path.parent.name)
        if match is None:
            problems.malformed(noise.path.parent, "a folder named {number} - {class} expected")
        else:
            named[noise.path.parent.name] = match[1].strip().lower()
            clips.append((noise, noise.path.parent.name))
    folders = sorted(named)
    rows = [
        media.Row(
            f"{noise.path.stem} {k}", folders.index(where),
            {m: {"audio": (k, noise.path), "text": titles.get(noise.path.name.lower(), "")}[m] for m in chosen},
            noise.recording,
        )
        for noise, where in clips for k in range(parts)
    ]  # fmt: skip
    about = {"source": "ESC-10, Piczak 2015", "licence": "CC BY 3.0", "recordings": len({row.group for row in rows})}
    train, test = media.parted(rows, how.test_share, [how.seed, 5])
    readers: dict[str, media.Reader | None] = {"audio": _reader(how, parts), "text": None}
    found = media.assemble(
        "esc10", {"train": train, "test": test}, {m: readers[m] for m in chosen}, problems, how=how,
        classes=[named[f] for f in folders], provenance=about,
    )  # fmt: skip
    return media.standardized(found, "audio") if how.audio == "mel" else found


def _reader(how: Files, parts: int) -> media.Reader:
    """A reader of the k-th stretch of a clip; stretches of one clip come one after another."""
    length = round(how.seconds * sounds.RATE)

    @lru_cache(maxsize=8)
    def wave(path: Path) -> sounds.Floats:
        return read_wave(path, sounds.RATE, convert=True)[0]

    def read(part: tuple[int, Path]) -> sounds.Floats:
        k, path = part
        cut = sounds.stretch(wave(path), (k + 0.5) / parts, length)
        if how.audio == "wave":
            return cut
        return log_mel(cut, sounds.RATE, bands=how.mel, frames=how.mel, seconds=how.seconds, floor_db=-80.0, loud=True)[
            None
        ]

    return read


def _titles(path: Path) -> dict[str, str]:
    """File name in lower case -> words of its title: without ending and signs; "" where nothing but a number is left.

    Raises:
        ValueError: no line that attributes a clip.
    """
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if (match := _TITLE.match(line.strip())) is not None:
            title = _ENDING.sub("", match["title"])
            words = " ".join(re.findall(r"[^\W_]+", title))
            found[match["file"].strip().lower()] = words if re.search(r"[^\W\d_]{2}", words) else ""
    if not found:
        raise ValueError(f"{path}: no line '- [FILE]: clip derived from TITLE (http…'")
    return found
