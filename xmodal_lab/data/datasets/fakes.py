"""Tiny fakes in each dataset's own layout: to try code, and to dry-run a paper, without the data.

Contents are noise with a trace of the class, so that a net can learn something, and nothing
about the real set. ``fake(name, folder)`` writes one; ``xl.load(name, root=folder)`` reads it.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...utils import checks as check
from .on_disk import cremad, iemocap, imagenet_esc, multibench
from .on_disk.avmnist import write_files

Generator = np.random.Generator
Array = npt.NDArray[Any]


def fake(name: str, folder: str | os.PathLike[str], *, rows: int = 4, seed: int = 0) -> Path:
    """Write a tiny set in the layout of ``name`` into ``folder``, which must be empty or new.

    Args:
        name: of a dataset that is read from disk ("multibench" is "mosi"), or "avmnist_sources" (MNIST, FSDD and ESC
            files).
        folder: where to.
        rows: training samples of each class; a quarter as many test samples, at least one.
        seed: of the contents.

    Raises:
        ValueError: a name without a fake, a folder that holds something.
    """
    write = _WRITERS[check.one_of("dataset to fake", name, _WRITERS)]
    rows = check.integer("rows", rows, at_least=2)
    seed, base = check.integer("seed", seed, at_least=0), check.path("folder", folder)
    if base.exists() and (not base.is_dir() or any(base.iterdir())):
        raise ValueError(f"{base} must be an empty or a new folder: a fake never mixes with what is there.")
    base.mkdir(parents=True, exist_ok=True)
    write(base, rows, np.random.default_rng([seed, 77]))
    return base


def _tests(rows: int) -> int:
    return max(1, rows // 4)


# -- files -------------------------------------------------------------------------------------------


def _picture(path: Path, label: int, rng: Generator, size: tuple[int, int] = (40, 32), mode: str = "RGB") -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    pixels = rng.integers(0, 120, (height, width, channels), dtype=np.uint8)
    pixels[:, :, label % min(channels, 3)] += np.uint8(40 + 8 * (label % 11))
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels, mode if channels == 1 else None).save(path)


def _tone(path: Path, label: int, rng: Generator, rate: int = 16000, seconds: float = 0.5) -> None:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(rate * seconds)) / rate
    wave = 0.3 * np.sin(2 * np.pi * (200 + 60 * label) * time) + 0.05 * rng.standard_normal(len(time))
    soundfile.write(path, wave, rate, subtype="VORBIS" if path.suffix == ".ogg" else "PCM_16")


def _csv(path: Path, lines: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)


def _json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _idx(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes(), 1))


# -- layouts -----------------------------------------------------------------------------------------


def _digit_images(labels: Array, rng: Generator) -> Array:
    images = rng.integers(0, 60, (len(labels), 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[4:24, 2 * label + 2 : 2 * label + 6] = 220
    return images


def _avmnist(base: Path, rows: int, rng: Generator) -> None:
    arrays = {}
    for split, n in (("train", rows), ("test", _tests(rows))):
        labels = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), n))
        audio = rng.integers(0, 80, (len(labels), 112, 112), dtype=np.uint8)
        for picture, label in zip(audio, labels.tolist(), strict=True):
            picture[10 * label : 10 * label + 10] += 120
        arrays[split] = {"image": _digit_images(labels, rng), "audio": audio, "labels": labels}
    write_files(arrays, base)


def _sources(base: Path, rows: int, rng: Generator) -> None:
    for stem, n in (("train", rows + 2), ("t10k", _tests(rows))):
        labels = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), n))
        _idx(base / "mnist" / f"{stem}-images-idx3-ubyte.gz", _digit_images(labels, rng))
        _idx(base / "mnist" / f"{stem}-labels-idx1-ubyte.gz", labels)
    for digit in range(10):
        for speaker in ("ada", "bo", "cy"):
            for index in range(5):
                _tone(base / "fsdd" / "recordings" / f"{digit}_{speaker}_{index}.wav", digit, rng, 8000, 0.4)
    for i in range(10):
        _tone(base / "esc10" / f"00{i % 5} - Sound {i % 5}" / f"1-{100 + i}-A.ogg", 20 + i, rng, 8000, 2.0)


def _cremad(base: Path, rows: int, rng: Generator) -> None:
    for part, n, offset in (("train", rows, 0), ("test", _tests(rows), rows)):
        lines: list[tuple[str, str]] = []
        for label, name in enumerate(cremad.CLASSES):
            for i in range(n):
                utterance = f"{1001 + (offset + i) % 5}_S{offset + i:02d}_{name}_XX"
                lines.append((utterance, name))
                _tone(base / "Audio" / f"{utterance}.wav", label, rng)
                for k in range(2):
                    _picture(base / "Image-01-FPS" / utterance / f"{k}.jpg", label, rng)
        _csv(base / f"{part}.csv", [("id", "EMO"), *lines])


def _kinetics(base: Path, rows: int, rng: Generator) -> None:
    for part, n in (("train", rows), ("test", _tests(rows))):
        lines = []
        for label, name in enumerate(("playing piano", "ripping paper", "tap dancing")):
            for i in range(n):
                clip = f"clip{label}{i}{part}"
                lines.append(f"{name}, {clip}.mp4")
                _tone(base / part / "audio" / name / f"{clip}.wav", label, rng)
                for k in (1, 2, 10):
                    _picture(base / part / "video" / name / clip / f"frame_{k}.jpg", label, rng)
        (base / f"ks_{part}_real.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _food(base: Path, rows: int, rng: Generator) -> None:
    for part, n in (("train", rows), ("test", _tests(rows))):
        lines = []
        for label, name in enumerate(("apple_pie", "ramen", "tacos")):
            for i in range(n):
                file = f"{name}_{part}_{i}.jpg"
                lines.append((file, f"Best {name.replace('_', ' ')}, quick and easy ({i})", name))
                _picture(base / "images" / part / name / file, label, rng)
        _csv(base / "texts" / f"{part}_titles.csv", lines)


def _iemocap(base: Path, rows: int, rng: Generator) -> None:
    for session in (1, 2, 5):
        inside = base / f"Session{session}"
        for k in range(2):
            dialogue, lines = f"Ses0{session}F_impro0{k}", ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
            for label, name in enumerate((*iemocap.CLASSES, "xxx")):
                for i in range(max(1, rows // 4)):
                    utterance = f"{dialogue}_F{label}{i:02d}"
                    lines.append(f"[{i}.0000 - {i + 1}.0000]\t{utterance}\t{name}\t[2.5000, 2.5000, 2.5000]")
                    _tone(inside / "sentences" / "wav" / dialogue / f"{utterance}.wav", label, rng)
                    _json(base / "texts" / f"{utterance}.json", {"Utterance": f"this is what {name} sounds like"})
            path = inside / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _affect(which: str) -> Callable[[Path, int, Generator], None]:
    def write(base: Path, rows: int, rng: Generator) -> None:
        file, widths, graded = multibench.AFFECT[which]
        content = {}
        for split, n in (("train", 2 * rows), ("valid", rows), ("test", rows)):
            signs = np.where(np.arange(n) % 2, 1.0, -1.0)
            views = {}
            for name, width in zip(multibench.MODALITIES, widths, strict=True):
                array = rng.standard_normal((n, 50, width)).astype(np.float32)
                array[:, :, 0] += signs[:, None]
                array[:, :10] = 0.0  # leading silence, as in the real files
                views[name] = array
            views["audio"][0, 20, 0] = -np.inf
            labels = (signs * rng.uniform(0.2, 3.0, n) if graded else (signs > 0)).astype(np.float32)
            content[split] = {
                **views,
                "labels": labels.reshape(n, 1, 1),
                "id": np.array([[f"{split}{i}"] for i in range(n)]),
            }
        (base / file).write_bytes(pickle.dumps(content))

    return write


def _mimic(base: Path, rows: int, rng: Generator) -> None:
    n = 20 * rows
    labels = np.zeros((n, 6))
    labels[np.arange(n), rng.integers(0, 6, n)] = 1
    series = rng.standard_normal((n, 24, 12))
    series[0, 0, 0] = np.nan
    content = {
        "ep_tdata": series, "adm_features_all": rng.standard_normal((n, 5)), "adm_labels_all": labels,
        "y_icd9": rng.integers(0, 2, (n, 20)),
    }  # fmt: skip
    (base / "im.pk").write_bytes(pickle.dumps(content))


def _esc(base: Path, rows: int, rng: Generator) -> None:
    import torch

    names = list(imagenet_esc.CLASS_MAP.values())
    centres = {m: rng.standard_normal((len(names), 16)) for m in ("audio", "image")}

    def features(m: str, classes: Array) -> Any:
        found = torch.from_numpy(centres[m][classes] + 0.5 * rng.standard_normal((len(classes), 16))).float()
        return torch.nn.functional.normalize(found, dim=1)

    classes = np.repeat(np.arange(len(names)), rows)
    folds = {}
    for k in range(5):
        folds[k] = {
            "features": features("audio", classes), "labels": torch.from_numpy(classes),
            "labelnames": [names[c] for c in classes], "paths": [f"{k}-{i}.wav" for i in range(len(classes))],
        }  # fmt: skip
    (base / "esc-50").mkdir()
    (base / "imagenet").mkdir()
    torch.save(folds, base / "esc-50" / "features.pt")
    numbers = torch.tensor(list(imagenet_esc.CLASS_MAP))
    for split in ("train", "test"):
        torch.save(
            {"features": features("image", classes), "labels": numbers[classes]}, base / "imagenet" / f"{split}.pt"
        )


def _esc10(base: Path, rows: int, rng: Generator) -> None:
    lines = ["# ESC-10", ""]
    for label, name in enumerate(("Dog bark", "Rain", "Rooster")):
        lines.append(f"{label + 1:03} - {name}:")
        for i in range(2 * rows):
            file = f"{1 + i % 5}-{100 * label + i}-A.ogg"
            lines.append(f"- [{file}]: clip derived from {name.lower()}_{i}.wav (http://example.org/{i}/) by ada [CC0]")
            _tone(base / f"{label + 1:03} - {name}" / file, label, rng, 8000, 2.0)
    (base / "README.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _emoji(base: Path, rows: int, rng: Generator) -> None:
    entries = {}
    for label, category in enumerate(("food", "nature", "people")):
        for i in range(2 * rows):
            code = f"1f{label}{i:02x}"
            name = f"{category} thing {i}"
            entries[f"{category}{i}"] = {"unicode": code, "name": name, "category": category, "keywords": [category]}
            _picture(base / "png" / f"{code}.png", label, rng, (64, 64), ("RGBA", "L", "RGB")[i % 3])
    _json(base / "emoji.json", entries)


def _nlvr(base: Path, rows: int, rng: Generator) -> None:
    lines = []
    for i in range(4 * rows):
        for k in range(2):
            label = ("true", "false")[k]
            name, directory = f"{i}-{k}", str(i % 3)
            entry = {"sentence": f"There is a box with {i} circles.", "label": label, "identifier": name}
            lines.append(json.dumps({**entry, "directory": directory}))
            _picture(base / "dev" / "images" / directory / f"dev-{name}-0.png", k, rng, (100, 400), "RGBA")
    (base / "dev" / "dev.json").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _folder(base: Path, rows: int, rng: Generator) -> None:
    lines = []
    for label, name in enumerate(("cat", "dog")):
        for i in range(2 * rows):
            _picture(base / "pictures" / f"{name}{i}.png", label, rng)
            lines.append((f"pictures/{name}{i}.png", f"a {name}, number {i}", name))
    _csv(base / "samples.csv", [("image", "text", "class"), *lines])


def _features(base: Path, rows: int, rng: Generator) -> None:
    for split, n in (("train", 2 * rows), ("test", rows)):
        labels = np.repeat(np.arange(3), n)
        image = (np.eye(3)[labels] @ np.ones((3, 8)) + rng.standard_normal((len(labels), 8))).astype(np.float32)
        np.savez(base / f"{split}.npz", image=image, text=rng.standard_normal((len(labels), 6)), labels=labels)


def _prompts(base: Path, rows: int, rng: Generator) -> None:
    names = ("red circle", "blue square", "green star")
    _json(
        base / "prompts.json",
        {name: [f"A {name} looks like a {name}, take {i}." for i in range(rows)] for name in names},
    )


_WRITERS: dict[str, Callable[[Path, int, Generator], None]] = {
    "avmnist": _avmnist, "avmnist_sources": _sources, "cremad": _cremad, "kinetics_sounds": _kinetics,
    "food101": _food, "iemocap": _iemocap, **{which: _affect(which) for which in multibench.AFFECT},
    "multibench": _affect("mosi"),
    "mimic": _mimic, "imagenet_esc": _esc, "emoji": _emoji, "esc10": _esc10, "nlvr": _nlvr, "folder": _folder,
    "features": _features, "prompts": _prompts,
}  # fmt: skip
