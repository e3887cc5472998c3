"""The worlds in which cox is measured, and two dials: how much is shared, and how uneven the classes are."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ....data import datasets
from ....data.drawing import shuffled_classes
from ....data.samples import Dataset, Samples
from ....utils import checks as check

# The worlds (ours): 30 classes of shape and colour with instances to retrieve; ten digits, never recorded together.
# "senses" is a smaller "shapes" of six classes with its picture taken apart, so that three modalities can be in.
# "halves": the upper and the lower half of a handwritten digit, and its sound. Two halves are of one picture, so that
# modalities share more than the class.
WORLDS: dict[str, dict[str, Any]] = {
    "shapes": {"n_train": 1500, "n_test": 600, "n_val": 300, "label": ("shape", "color")},
    "senses": {"n_train": 600, "n_test": 400, "n_val": 200, "label": ("shape",)},
    "digits": {"images_per_class": 80, "clips_per_class": 80},
    "halves": {
        "modalities": ("image", "audio"), "images_per_class": 90, "clips_per_class": 90, "val_per_class": 20,
        "test_per_class": 60, "image_energy": None,
    },
}  # fmt: skip
NAMES = {"senses": ("hue", "outline", "audio", "text"), "halves": ("upper", "lower", "audio")}
DIALS = {"shared": 1.0, "unbalance": 1.0}
_SHARE, _KEEP = 90_001, 90_002  # streams of their own: a dial leaves what the others draw alone


@lru_cache(maxsize=24)  # more draws than a claim has seeds
def load_world(name: str, seed: int = 0, shared: float = 1.0, unbalance: float = 1.0) -> Dataset:
    """The world called ``name``.

    Args:
        name: one of ``WORLDS``.
        seed: of the draw.
        shared: of "halves": the share of rows whose two halves are of one picture; the others have the lower half of
            another picture of their class.
        unbalance: how many times as many rows as the rarest class the most frequent one has; class c of C keeps a
            share unbalance^(-c / (C - 1)) of its rows, in every split.

    Raises:
        ValueError: an unknown name, a share outside [0, 1], fewer than 1 times; ``shared`` in another world.
    """
    check.one_of("dataset", name, WORLDS)
    shared, unbalance = check_dials(name, shared, unbalance)
    source = {"senses": "shapes", "halves": "digits"}.get(name, name)
    whole = datasets.load(source, **WORLDS[name], seed=seed)
    if name == "senses":
        parts = {split: _apart(samples) for split, samples in whole.splits.items()}
        whole = _of_parts(whole, name, parts, {"hue": "vector", "outline": "image"})
    if name == "halves":
        parts = {k: _halved(samples, shared, seed + i) for i, (k, samples) in enumerate(whole.splits.items())}
        whole = _of_parts(whole, name, parts, {"upper": "image", "lower": "image"})
    return whole if unbalance == 1 else _uneven(whole, unbalance, seed)


def check_dials(name: str, shared: float, unbalance: float) -> tuple[float, float]:
    """Both, as they are allowed in the world ``name``."""
    shared, unbalance = check.share("shared", shared), check.positive("unbalance", unbalance)
    if unbalance < 1:
        raise ValueError(
            f"unbalance is how many times as many rows the most frequent class has: at least 1, got {unbalance:g}."
        )
    if shared != 1 and name != "halves":
        raise ValueError(f"shared={shared:g} is a dial of dataset 'halves'; {name!r} has no halves of one picture.")
    return shared, unbalance


def _of_parts(whole: Dataset, name: str, parts: dict[str, Samples], kinds: dict[str, str]) -> Dataset:
    return Dataset(name, parts["train"], parts["test"], whole.classes, parts.get("val"), kinds)


def _apart(samples: Samples) -> Samples:
    """The picture as two modalities: its colours, coarse (3, 4, 4), and its outline, gray (1, 32, 32)."""
    picture = samples.inputs["image"]
    rest = {m: samples.inputs[m] for m in ("audio", "text")}
    hue = torch.nn.functional.avg_pool2d(picture, 8).flatten(1)
    return Samples({"hue": hue, "outline": picture.mean(1, keepdim=True), **rest}, samples.labels)


def _halved(samples: Samples, shared: float, seed: int) -> Samples:
    """The picture's upper and lower half, (1, 4, 8) each, and the sound, coarse (1, 16, 16)."""
    picture, labels = samples.inputs["image"], samples.labels
    other = _of_another(labels, seed)
    kept = torch.rand(len(labels), generator=torch.Generator().manual_seed(_SHARE + seed)) < shared
    partner = torch.where(kept, torch.arange(len(labels)), other)
    inputs = {
        "upper": picture[:, :, :4],
        "lower": picture[partner][:, :, 4:],
    }
    inputs["audio"] = torch.nn.functional.avg_pool2d(samples.inputs["audio"], 2)
    return Samples(inputs, labels)


def _of_another(labels: Tensor, seed: int) -> Tensor:
    """For each row another row of its class: the next one in a random order of the class."""
    drawn = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SHARE + seed + 1))
    partner = torch.empty_like(drawn)
    for c in labels.unique():
        rows = drawn[labels[drawn] == c]
        partner[rows] = rows.roll(1)
    return partner


def _uneven(whole: Dataset, unbalance: float, seed: int) -> Dataset:
    classes = len(whole.classes)
    keep = [unbalance ** (-c / max(1, classes - 1)) for c in range(classes)]
    parts = {}
    for i, (split, samples) in enumerate(whole.splits.items()):
        generator = torch.Generator().manual_seed(_KEEP + 10 * seed + i)
        kept = torch.zeros(len(samples.labels), dtype=torch.bool)
        for c, rows in shuffled_classes(samples.labels, generator):
            kept[rows[: max(1, round(keep[c] * len(rows)))]] = True
        parts[split] = samples.subset(kept)
    return _of_parts(whole, whole.name, parts, dict(whole.kinds))


def names_of(dataset: str) -> tuple[str, ...]:
    """Its modalities, without drawing it."""
    return NAMES.get(dataset, ("image", "audio", "text"))
