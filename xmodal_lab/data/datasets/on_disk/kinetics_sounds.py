"""``kinetics_sounds``: actions that are seen and heard (Arandjelović and Zisserman 2017)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ....utils import checks as check
from ...samples import Dataset
from ..reading import media
from ..reading.layout import Problems, home

MODALITIES = ("image", "audio")
LAYOUT = (
    "Expected ks_train_real.txt and ks_test_real.txt (class,id.mp4), {split}/audio/{class}/{id}.wav and "
    "{split}/video/{class}/{id}/frame_{k}.jpg."
)


def load_kinetics_sounds(
    *,
    root: str | os.PathLike[str] | None = None,
    modalities: str | Sequence[str] = MODALITIES,
    n_train: int | None = None,
    n_test: int | None = None,
    val_share: float = 0.1,
    size: int = 64,
    mel: int = 32,
    seconds: float = 10.0,
    audio: str = "mel",
    damaged: str = "raise",
    progress: bool | None = None,
    seed: int = 0,
) -> Dataset:
    """Actions (31 in dml's Sec 4.1, 34 in its App B.1), seen (3, size, size) and heard (1, mel, mel), standardised.

    Classes are the folders under ``train/audio``, sorted.

    Args:
        root: the set's folder, or the one above it; ``XMODAL_DATA`` for None.
        modalities: which of "image", "audio".
        n_train, n_test: rows, balanced; None for all.
        val_share: of the training rows (0.1: dml, App B.1).
        size: side of the middle frame (64: ours; published: 224, three frames).
        mel: bands and frames of the log-mel (32: ours; dml: 128 bands, 1000 frames).
        seconds: that are heard (10: dml, App B.1).
        audio: "mel", or "wave" at 16 kHz.
        damaged: "raise", or "skip" rows whose files are missing or malformed.
        progress: show a bar; None shows one in a terminal.
        seed: draws splits and rows.

    Raises:
        LayoutError: all missing and malformed files and lines.
    """
    chosen = check.modalities_of(modalities, MODALITIES)
    check.one_of("audio", audio, ("mel", "wave"))
    folder = home(root, ["kinetics_sounds", "kinetics-sounds", "ks"], ["ks_train_real.txt"])
    problems = Problems("kinetics_sounds", folder, LAYOUT, damaged)
    tables: dict[str, list[media.Row]] = {}
    kind = "audio" if "audio" in chosen else "video"
    classes = sorted(problems.folders(folder / "train" / kind))
    for part in ("train", "test"):
        base = folder / part
        sounds = {c: media.suffixless(problems.files(base / "audio" / c, [".wav"]))
                  for c in (problems.folders(base / "audio") if "audio" in chosen else ())}  # fmt: skip
        clips = {c: problems.folders(base / "video" / c)
                 for c in (problems.folders(base / "video") if "image" in chosen else ())}  # fmt: skip
        path = folder / f"ks_{part}_real.txt"
        lines = [(i, [f"{c[0]}/{c[-1]}", c[0], c[-1]]) for i, c in media.table(path, problems, ["class", "file"])]
        tables[part], named = [], set()
        for (name, group, file), label in media.numbered(path, lines, 1, classes, problems):
            stem = os.path.splitext(file)[0]  # noqa: PTH122
            named.add((group, stem.lower()))
            views: dict[str, object] = {}
            if "image" in chosen:
                where = clips.get(group, {}).get(stem)
                if where is None:
                    problems.missing(base / "video" / group / stem)
                elif frames := sorted(problems.files(where, [".jpg", ".jpeg"]).values(), key=_number):
                    views["image"] = frames
                else:
                    problems.malformed(where, "it holds no frame_{k}.jpg")
            if "audio" in chosen:
                if (wav := sounds.get(group, {}).get(stem.lower())) is None:
                    problems.missing(base / "audio" / group / f"{stem}.wav")
                else:
                    views["audio"] = wav
            if len(views) == len(chosen):
                tables[part].append(media.Row(name, label, views))
        for group, found in sounds.items():
            for stem in found.keys() - {s for c, s in named if c == group}:
                problems.extra(found[stem])
    readers = {"image": media.picture(size), "audio": media.sound(audio, mel, seconds)}
    dataset = media.assemble(
        "kinetics_sounds", tables, {m: readers[m] for m in chosen}, problems, classes=classes,
        sizes={"train": n_train, "test": n_test}, val_share=val_share, seed=seed, progress=progress,
        provenance={"source": "Kinetics-Sounds, Arandjelović and Zisserman 2017", "licence": "of the videos' owners",
                    "rate": 16000},
    )  # fmt: skip
    return dataset if audio == "wave" else media.standardized(dataset, "audio")


def _number(path: os.PathLike[str]) -> int:
    """The k of frame_{k}.jpg; as text, frame_10 would come before frame_2."""
    digits = "".join(c for c in os.path.basename(path) if c.isdigit())  # noqa: PTH119
    return int(digits or 0)
