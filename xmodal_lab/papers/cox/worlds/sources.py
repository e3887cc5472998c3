"""The worlds in which cox is measured."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from ....data import datasets
from ....data.samples import Dataset, Samples

# The two worlds (ours): 30 classes of shape and colour with instances to retrieve; ten digits, never recorded together.
# "senses" is a smaller "shapes" of six classes with its picture taken apart, so that three modalities can be in.
WORLDS: dict[str, dict[str, Any]] = {
    "shapes": {"n_train": 1500, "n_test": 600, "n_val": 300, "label": ("shape", "color")},
    "senses": {"n_train": 600, "n_test": 400, "n_val": 200, "label": ("shape",)},
    "digits": {"images_per_class": 80, "clips_per_class": 80},
}


@lru_cache(maxsize=4)
def load_world(name: str, seed: int = 0) -> Dataset:
    """The world called ``name``."""
    if name != "senses":
        return datasets.load(name, **WORLDS[name], seed=seed)
    whole = datasets.load("shapes", **WORLDS[name], seed=seed)
    parts = {split: _apart(samples) for split, samples in whole.splits.items()}
    return Dataset(
        name, parts["train"], parts["test"], whole.classes, parts["val"], {"hue": "vector", "outline": "image"}
    )


def _apart(samples: Samples) -> Samples:
    """The picture as two modalities: its colours, coarse (3, 4, 4), and its outline, gray (1, 32, 32)."""
    picture = samples.inputs["image"]
    rest = {m: samples.inputs[m] for m in ("audio", "text")}
    hue = torch.nn.functional.avg_pool2d(picture, 8).flatten(1)
    return Samples({"hue": hue, "outline": picture.mean(1, keepdim=True), **rest}, samples.labels)


def names_of(dataset: str) -> tuple[str, ...]:
    """Its modalities, without drawing it."""
    return ("hue", "outline", "audio", "text") if dataset == "senses" else ("image", "audio", "text")
