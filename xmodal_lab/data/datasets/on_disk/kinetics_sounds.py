"""``kinetics_sounds``: actions that are seen and heard (Arandjelović and Zisserman 2017)."""

from __future__ import annotations

import os

from ....utils.options import takes
from ...samples import Dataset
from ..reading import media
from ..reading.layout import Problems, home
from ..reading.options import Files

MODALITIES = ("image", "audio")
LAYOUT = (
    "Expected ks_train_real.txt and ks_test_real.txt (class,id.mp4), {split}/audio/{class}/{id}.wav and "
    "{split}/video/{class}/{id}/frame_{k}.jpg."
)


@takes(Files, "test_share", modalities=MODALITIES, seconds=10.0)
def load_kinetics_sounds(how: Files) -> Dataset:
    """Actions (31 in dml's Sec 4.1, 34 in its App B.1), seen (3, size, size) and heard (1, mel, mel), standardised.

    Classes are the folders under ``train/audio``, sorted.

    Args:
        {options}
        modalities: which of "image", "audio".
        size: side of the middle frame (64: ours; published: 224, three frames).
        mel: bands and frames of the log-mel (32: ours; dml: 128 bands, 1000 frames).
        seconds: that are heard (10: dml, App B.1).

    Raises:
        LayoutError: all missing and malformed files and lines.
    """
    chosen = how.chosen(MODALITIES)
    folder = home(how.root, ["kinetics_sounds", "kinetics-sounds", "ks"], ["ks_train_real.txt"])
    problems = Problems("kinetics_sounds", folder, LAYOUT, how.damaged)
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
    readers = {"image": media.picture(how.size), "audio": media.sound(how.audio, how.mel, how.seconds)}
    dataset = media.assemble(
        "kinetics_sounds", tables, {m: readers[m] for m in chosen}, problems, how=how, classes=classes,
        provenance={"source": "Kinetics-Sounds, Arandjelović and Zisserman 2017", "licence": "of the videos' owners",
                    "rate": 16000},
    )  # fmt: skip
    return dataset if how.audio == "wave" else media.standardized(dataset, "audio")


def _number(path: os.PathLike[str]) -> int:
    """The k of frame_{k}.jpg; as text, frame_10 would come before frame_2."""
    digits = "".join(c for c in os.path.basename(path) if c.isdigit())  # noqa: PTH119
    return int(digits or 0)
