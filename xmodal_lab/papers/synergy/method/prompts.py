"""Language latents: sentence vectors of prompts, shipped with the package (``scripts/embed_prompts.py`` made them).

The frozen language model is all-MiniLM-L6-v2: unit vectors (n, 384). A dataset's own text modality counts as read by
it if a sample is a vector of 384 numbers; the shapes world is described from its known causes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ....data.datasets.made import shipped as files
from ....data.datasets.made.shapes import SHARED
from ....data.samples import Dataset, Samples

WIDTH = 384
_PARTS = ("shape", "color", "texture", "size")


def vectors(kind: str) -> Tensor:
    """Unit vectors (n, 384) of "class", "random", "unrelated" or "description" (``prompts.json`` says what they are).

    Raises:
        ValueError: another kind.
    """
    found = files.arrays("prompts")
    if kind not in found or kind == "model":
        raise ValueError(f"unknown kind of prompt {kind!r}; known: class, random, unrelated, description.")
    return torch.from_numpy(found[kind].astype("float32"))


def class_prompts(classes: int) -> Tensor:
    """Vectors of "This is about Class #." for # = 0 … classes - 1.

    Raises:
        ValueError: more classes than there are prompts.
    """
    known = vectors("class")
    if classes > len(known):
        raise ValueError(f"there are prompts for {len(known)} classes, the dataset has {classes}; use target 'number'.")
    return known[:classes]


def descriptions(dataset: Dataset, samples: Samples, modality: str | None) -> Tensor | None:
    """A sentence vector (N, 384) that describes each sample, or None where the dataset has none."""
    if modality is not None and dataset.shapes[modality] == (WIDTH,):
        scale = dataset.provenance.get("statistics", {}).get(modality, {"mean": 0.0, "sd": 1.0})
        return samples.inputs[modality].float() * scale["sd"] + scale["mean"]
    latents = samples.latents or {}
    if not all(part in latents for part in _PARTS):
        return None
    at = torch.zeros(len(samples), dtype=torch.long)
    for part in _PARTS:
        at = at * len(SHARED[part]) + latents[part].long()
    return vectors("description")[at]
