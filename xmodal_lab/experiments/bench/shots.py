"""Few rows of each class: what a modality is worth is seen where it is rare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from ...data.drawing import shuffled_classes
from ...data.labels import SORTS, task_of
from ...data.samples import Dataset
from ...utils import checks as check
from ...utils.random import seed_of


def with_shots(dataset: Dataset, shots: Mapping[str, int], seed: int = 0) -> Dataset:
    """The dataset with ``shots[m]`` training rows of each class that have modality m; the others lose it.

    Args:
        dataset: with class labels.
        shots: modality -> rows of each class; 0 for none.
        seed: of the choice; a larger number takes the same rows and more.

    Raises:
        ValueError: fewer rows in a class than asked for, real-valued labels, an unknown modality.
    """
    if not shots:
        return dataset
    train, present = dataset.train, dict(dataset.train.present)
    if (sort := task_of(train.labels)) != "classes":
        raise ValueError(f"shots are counted by class; these labels are {SORTS[sort]}.")
    for m, count in shots.items():
        check.one_of("modality", m, dataset.modalities)
        keep = torch.zeros(len(train), dtype=torch.bool, device=train.labels.device)
        generator = torch.Generator().manual_seed(seed_of(seed, f"{m}:shots"))
        for c, rows in shuffled_classes(train.labels, generator, present[m]):
            if len(rows) < count:
                name = dataset.classes[c] if dataset.classes else c
                raise ValueError(f"class {name!r} has {len(rows)} training rows with {m!r}; {count} are asked for.")
            keep[rows[:count]] = True
        present[m] = keep
    some = torch.stack(list(present.values())).any(0)
    return replace(dataset, train=replace(train, present=present).subset(some))
