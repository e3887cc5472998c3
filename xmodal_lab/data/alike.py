"""One set of held-out rows for everything that is compared: those complete in all modalities that take part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from .samples import Dataset

_KEY = "scored"  # in the provenance of a dataset whose test rows were cut


def judged_alike(dataset: Dataset) -> Dataset:
    """The dataset whose held-out splits are cut to the rows that are complete in all its modalities.

    Nets that see different modalities are then compared on the same rows. Otherwise a second modality of pure noise
    that is missing where the task is hard would seem to help: the net that needs it would be scored on the easy rows.
    A split in which no row is complete stays as it is: on it only nets of fewer modalities can be scored.

    Args:
        dataset: any.

    Returns:
        The dataset itself where nothing is cut; else one that :func:`scored_on` tells of.
    """
    cut = {}
    for name, samples in dataset.splits.items():
        whole = torch.stack([samples.present[m] for m in dataset.modalities]).all(0)
        if name == "train" or bool(whole.all()) or not bool(whole.any()):
            continue
        cut[name] = samples.complete(dataset.modalities)
    if not cut:
        return dataset
    told = {_KEY: rows_said(len(cut["test"]), len(dataset.test), dataset.modalities)} if "test" in cut else {}
    return replace(dataset, provenance={**dataset.provenance, **told}, **cut)  # type: ignore[arg-type]


def scored_on(dataset: Dataset | None) -> str:
    """On how many test rows all arms are scored, in a sentence; "" where it is all of them, or no dataset is given."""
    provenance: Mapping[str, object] = {} if dataset is None else dataset.provenance
    return str(provenance.get(_KEY, ""))


def rows_said(rows: int, of: int, modalities: tuple[str, ...]) -> str:
    """That ``rows`` of ``of`` test rows are scored, those with ``modalities``; "" for all of them."""
    return "" if rows == of else f"Scored on {rows} of {of} test rows, those with {' and '.join(modalities)}."
