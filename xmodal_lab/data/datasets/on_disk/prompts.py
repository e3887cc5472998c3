"""``prompts``: sentences that describe classes, as CuPL writes them (Pratt et al. 2023)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset, Samples
from ..reading import media
from ..reading.layout import Problems, data_root, read_json
from ..reading.options import OnDisk

LAYOUT = "Expected a json object {class: [sentence, ...]}."


def read(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Class → its sentences.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a json; all faults are named.
    """
    path = check.path("path", path)
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: a json object of classes expected")
    faults = []
    for name, sentences in content.items():
        if not isinstance(sentences, list) or not sentences:
            faults.append(f"{name!r} has no list of sentences")
        elif not all(isinstance(s, str) and s.strip() for s in sentences):
            faults.append(f"{name!r} has an empty sentence, or one that is no text")
    if faults:
        raise ValueError(f"{path}: {'; '.join(faults)}")
    return {name: [s.strip() for s in sentences] for name, sentences in content.items()}


def words_per_text(prompts: dict[str, list[str]]) -> float:
    """Mean number of words of a sentence (uml's exchange rate counts in words)."""
    return float(np.mean([len(s.split()) for sentences in prompts.values() for s in sentences]))


@takes(OnDisk, "n_train", "n_test", modalities=("text",))
def load_prompts(how: OnDisk, *, file: str = "prompts.json", test_share: float = 0.2) -> Dataset:
    """Sentences (hashed words, (256,)) of each class; the texts in ``strings``.

    Args:
        {options}
        root: folder of the file; ``XMODAL_DATA`` for None.
        modalities: "text", there is no other.
        file: its name.
        test_share: of each class's sentences; a class with one sentence has it in both splits.
        seed: draws the split.

    Raises:
        LayoutError: a file that is missing or malformed.
    """
    check.modalities_of(how.modalities, ("text",))
    check.share("test_share", test_share)
    folder = data_root(how.root)
    problems = Problems("prompts", folder, LAYOUT)
    content = problems.attempt(folder / file, lambda: read(folder / file)) or {}
    problems.finish()
    lines: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for label, sentences in enumerate(content.values()):
        order = np.random.default_rng([how.seed, label]).permutation(len(sentences)).tolist()
        cut = max(1, round(test_share * len(order)))
        lines["test"] += [(sentences[i], label) for i in order[:cut]]
        lines["train"] += [(sentences[i], label) for i in (order[cut:] or order)]
    splits: dict[str, Any] = {}
    for s, pairs in lines.items():
        texts = tuple(text for text, _ in pairs)
        labels = torch.tensor([label for _, label in pairs])
        splits[s] = Samples({"text": torch.from_numpy(media.hashed(texts))}, labels, strings={"text": texts})
    return Dataset(
        name="prompts", **splits, classes=tuple(content),
        provenance={"source": str(folder / file), "words_per_text": words_per_text(content), "seed": how.seed},
    )  # fmt: skip
