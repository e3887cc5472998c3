"""A dataset of one's own as a tower reads it: every modality as tokens, numbers of one scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ....data.samples import Dataset
from ....models.one_tower import WORDS, OneTower, with_tokens
from ....utils.kept import kept

_TINY = 1e-6  # a feature that varies less in training is shifted only


@kept(1)
def readable(dataset: Dataset) -> Dataset:
    """The dataset on the CPU with token ids for sentences, and all else shifted and scaled by its training rows.

    The paper's noise has one amplitude for all modalities (Sec 4.1), so embedded tokens must be of one size. Pictures
    and sounds are scaled by one mean and deviation each, features of vectors and sequences by their own; rows of zeros
    in a sequence are padding and stay.
    """
    told = with_tokens(dataset.to("cpu"))
    splits: dict[str, Any] = {}
    scales = {m: _scale(told, m) for m, x in told.train.inputs.items() if x.is_floating_point()}
    for name, samples in told.splits.items():
        inputs = {m: _scaled(x, *scales[m]) if m in scales else x for m, x in samples.inputs.items()}
        splits[name] = replace(samples, inputs=inputs)
    return replace(told, **splits)


def unreadable(dataset: Dataset, patch: int = 0, frames: int = 0) -> dict[str, str]:
    """Modality -> why a tower cannot read it, of those that it cannot."""
    told, found = readable(dataset), {}
    for m in told.modalities:
        try:
            OneTower.for_dataset(told, (m,), width=1, heads=1, layers=1, patch=patch, frames=frames, outputs=1)
        except ValueError as error:
            found[m] = str(error)
    return found


def counted(dataset: Dataset, modalities: tuple[str, ...], patch: int = 0, frames: int = 0) -> dict[str, int]:
    """Modality -> how many tokens a sample has."""
    readers: Any = _tower(dataset, modalities, patch, frames).readers
    return {m: int(readers[m].count) for m in modalities}


def said(dataset: Dataset, modalities: tuple[str, ...], patch: int = 0, frames: int = 0) -> str:
    """How each modality is cut into tokens, in a sentence."""
    readers: Any = _tower(dataset, modalities, patch, frames).readers
    table = readable(dataset).provenance.get(WORDS, {})
    each = [f"{m} as {readers[m].said}" + (" (words of its sentences)" if m in table else "") for m in modalities]
    return f"Tokens: {', '.join(each)}."


def _tower(dataset: Dataset, modalities: tuple[str, ...], patch: int, frames: int) -> OneTower:
    return OneTower.for_dataset(
        readable(dataset), modalities, width=1, heads=1, layers=1, patch=patch, frames=frames, outputs=1
    )


def _scale(dataset: Dataset, m: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a modality over its training rows: of each feature where there are features, else one."""
    seen, kind = dataset.train.inputs[m][dataset.train.present[m]], dataset.kinds[m]
    if seen.ndim == 3 and kind != "image":
        seen = seen.flatten(0, 1)[(seen != 0).any(-1).flatten()]
    elif seen.ndim != 2 or kind == "audio":
        seen = seen.flatten()
    if not len(seen):
        return torch.zeros(()), torch.ones(())
    deviation = seen.std(0, correction=0)
    return seen.mean(0), torch.where(deviation < _TINY, 1.0, deviation)


def _scaled(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    scaled = (x - mean) / deviation
    if x.ndim == 3 and mean.ndim:
        return torch.where((x != 0).any(-1, keepdim=True), scaled, 0.0)
    return scaled
