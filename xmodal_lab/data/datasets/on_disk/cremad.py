"""``cremad``: acted emotions, one frame of the face and the voice (CREMA-D, Cao et al. 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset
from ..reading import media
from ..reading.layout import Problems, home
from ..reading.options import Files

CLASSES = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
MODALITIES = ("image", "audio")
LAYOUT = "Expected train.csv and test.csv (id,EMO), Audio/{id}.wav and Image-01-FPS/{id}/*.jpg."


@takes(Files, "test_share", modalities=MODALITIES, seconds=3.0)
def load_cremad(how: Files, *, split: str = "published") -> Dataset:
    """Six emotions, seen (3, size, size) in [0, 1] and heard (1, mel, mel), standardised.

    The published split has all 91 actors in both parts; the latent ``actor`` is their number.

    Args:
        {options}
        modalities: which of "image", "audio".
        n_train, n_test: rows, balanced; None for all (published: 6698 and 744).
        size: side of the middle frame (64: ours; published: 224).
        mel: bands and frames of the log-mel (32: ours; dml: 128 bands, 300 frames).
        seconds: that are heard (3: dml's code).
        split: "published", or "actors": a fifth of the actors for test, others for validation.

    Raises:
        LayoutError: all missing and malformed files and lines.
    """
    chosen = how.chosen(MODALITIES)
    check.one_of("split", split, ("published", "actors"))
    folder = home(how.root, ["cremad", "crema-d", "CREMAD"], ["train.csv"])
    problems = Problems("cremad", folder, LAYOUT, how.damaged)
    place = next((folder / n for n in ("Audio", "AudioWAV") if (folder / n).is_dir()), folder / "Audio")
    sounds = media.suffixless(problems.files(place, [".wav"])) if "audio" in chosen else {}
    faces = problems.folders(folder / "Image-01-FPS") if "image" in chosen else {}
    tables: dict[str, list[media.Row]] = {}
    owner: dict[str, str] = {}
    for part in ("train", "test"):
        path = folder / f"{part}.csv"
        tables[part] = []
        for cells, label in media.numbered(path, media.table(path, problems, ["id", "EMO"]), 1, CLASSES, problems):
            if owner.setdefault(cells[0], part) != part:
                problems.malformed(path, f"id {cells[0]!r} is in {owner[cells[0]]}.csv already")
                continue
            views = _views(cells[0], chosen, place, folder, sounds, faces, problems)
            actor = cells[0].split("_")[0]
            latents = {"actor": int(actor) if actor.isdecimal() else -1}
            if len(views) == len(chosen):
                group = actor if split == "actors" else ""
                tables[part].append(media.Row(cells[0], label, views, group, latents))
    for stem, found in sounds.items():
        if stem not in {name.lower() for name in owner}:
            problems.extra(found)
    for name in faces.keys() - owner.keys():
        problems.extra(faces[name])
    if split == "actors":
        everyone = [row for rows in tables.values() for row in rows]
        tables["train"], tables["test"] = media.parted(everyone, 0.2, [how.seed, 5])
    readers = {"image": media.picture(how.size), "audio": media.sound(how.audio, how.mel, how.seconds)}
    dataset = media.assemble(
        "cremad", tables, {m: readers[m] for m in chosen}, problems, how=how, classes=CLASSES,
        provenance={"source": "CREMA-D, Cao et al. 2014", "licence": "ODbL 1.0", "split": split, "rate": 16000},
    )  # fmt: skip
    return dataset if how.audio == "wave" else media.standardized(dataset, "audio")


def _views(
    name: str, chosen: Sequence[str], place: Path, folder: Path, sounds: dict[str, Path], faces: dict[str, Path],
    problems: Problems,
) -> dict[str, object]:  # fmt: skip
    views: dict[str, object] = {}
    if "image" in chosen:
        if name not in faces:
            problems.missing(folder / "Image-01-FPS" / name)
        elif frames := list(problems.files(faces[name], media.PICTURES).values()):
            views["image"] = frames
        else:
            problems.malformed(faces[name], "it holds no frame")
    if "audio" in chosen:
        if name.lower() in sounds:
            views["audio"] = sounds[name.lower()]
        else:
            problems.missing(place / f"{name}.wav")
    return views
