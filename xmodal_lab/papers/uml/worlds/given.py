"""A dataset of one's own, as uml's claims look at it: frozen features of every modality.

Vectors are features already and stay as they are. Pictures and sounds go through a frozen encoder that is at hand:
the shipped ones of the shapes world for that world, principal components of what they hold for any other. Texts are
brought to :data:`~.texts.DIMENSIONS` numbers of unit length, as in the two worlds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ....data import sentences as texts
from ....data.samples import Dataset, Samples
from ....utils.factors import eigh, leading_axes, svd
from .small import WIDTH, frozen_encoder, shifted, standardizer

# Of the canonical correlations: ridge, times the mean variance, and power of a correlation by which its direction is
# weighed (ours; by how often held-out pairs of emoji and shapes find each other, not by any claim).
RIDGE, POWER = 1.0, 2

Encode = Callable[[Tensor], Tensor]


def text_of(dataset: Dataset) -> str | None:
    """The first modality that is text, by kind or by name (an encoder's features are vectors); None without one."""
    return next((m for m, kind in dataset.kinds.items() if "text" in (kind, m)), None)


def target_of(dataset: Dataset) -> str:
    """What is classified: the first modality that is no text, or the only one."""
    return next((m for m in dataset.modalities if m != text_of(dataset)), dataset.modalities[0])


def auxiliaries_of(dataset: Dataset) -> tuple[str, ...]:
    """What teaches: the text where there is one, else every other modality."""
    target, text = target_of(dataset), text_of(dataset)
    return (text,) if text not in (None, target) else tuple(m for m in dataset.modalities if m != target)  # type: ignore[return-value]


def featured(dataset: Dataset, shift: str = "") -> Dataset:
    """The dataset with every modality as vectors (N, d); the target's test inputs first put under a ``shift``."""
    train, target = dataset.train, target_of(dataset)
    encode: dict[str, Encode] = {}
    for m in dataset.modalities:
        x = train.inputs[m][train.present[m]]
        if m == text_of(dataset):
            encode[m] = _short(x)
        elif x.ndim > 2:
            encoder = frozen_encoder(m, "trained" if _drawn(dataset, m) else "pixels", x)
            scale = standardizer(_in_parts(encoder, x))
            encode[m] = lambda z, encoder=encoder, scale=scale: scale(_in_parts(encoder, z))  # type: ignore[misc]
    splits: dict[str, Any] = {}
    for split, samples in dataset.splits.items():
        seen = {m: shifted(x, shift) if (split, m) == ("test", target) else x for m, x in samples.inputs.items()}
        splits[split] = _with(samples, {m: f(seen[m]) for m, f in encode.items()})
    return replace(dataset, **splits, kinds={**dataset.kinds, **dict.fromkeys(encode, "vector")})


def said(dataset: Dataset) -> str:
    """How :func:`featured` made the target's features, for a note."""
    m = target_of(dataset)
    if dataset.train.inputs[m].ndim == 2:
        return f"Features of {m} as given."
    if _drawn(dataset, m):
        return f"{m.capitalize()} through the shipped encoder of the drawn world, trained on other samples of it."
    return f"{m.capitalize()} as {WIDTH} principal components; features of a pretrained encoder may do better."


def counted(dataset: Dataset, encoder: str) -> Dataset:
    """The dataset with its training texts as counts of "words" or of runs of "letters", not a language model's."""
    m = str(text_of(dataset))
    splits: dict[str, Any] = {}
    for split, samples in dataset.splits.items():
        if split == "train":
            splits[split] = _with(samples, {m: texts.counted(list(samples.strings[m]), encoder)})
        else:
            absent = torch.zeros(len(samples), texts.DIMENSIONS)
            present = {**samples.present, m: torch.zeros(len(samples), dtype=torch.bool)}
            splits[split] = replace(_with(samples, {m: absent}), present=present)
    return replace(dataset, **splits)


def met(dataset: Dataset) -> dict[str, Dataset]:
    """Features as "unaligned" encoders give them, and "aligned" by pairs; of a dataset of features.

    Half of each class's pairs are where target and text met: ridge-regularised canonical correlations of these rows
    make the aligned space. The other half is the training split of both, so no shot has helped to align.

    Raises:
        ValueError: what :func:`lacks_pairs` says.
    """
    if lacking := lacks_pairs(dataset):
        raise ValueError(f"aligning needs {lacking}.")
    target, text, train = target_of(dataset), str(text_of(dataset)), dataset.train
    pairs = _pairs(dataset)
    order = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(53))]
    order = order[torch.argsort(train.labels[order], stable=True)]
    of_target, of_text = _correlated(train.inputs[target][order[::2]], train.inputs[text][order[::2]])
    unaligned: dict[str, Any] = {s: part.select((target, text)) for s, part in dataset.splits.items()}
    unaligned["train"] = unaligned["train"].subset(order[1::2])
    aligned: dict[str, Any] = {
        s: _with(part, {target: of_target(part.inputs[target]), text: of_text(part.inputs[text])})
        for s, part in unaligned.items()
    }
    kinds = {target: "vector", text: "vector"}
    return {
        "aligned": replace(dataset, **aligned, kinds=kinds), "unaligned": replace(dataset, **unaligned, kinds=kinds),
    }  # fmt: skip


def lacks_pairs(dataset: Dataset) -> str:
    """What is lacking to align encoders by pairs and to count words; "" for nothing."""
    text = text_of(dataset)
    if text in (None, target_of(dataset)) or text not in dataset.train.strings:
        return "the texts themselves beside the target, to count their words"
    pairs = _pairs(dataset)
    if len(pairs) == 0 or fewest(dataset.train.labels[pairs]) < 4:
        return "four pairs of every class: two to align by, two to learn from"
    return ""


def encoder_of(dataset: Dataset) -> str:
    """Which encoder made the text's vectors, for a note."""
    known = dataset.provenance.get(f"{text_of(dataset)} encoder", {})
    return Path(known["model"]).name if "model" in known else "the vectors that came with the data"


def words_per_text(dataset: Dataset) -> float:
    """Mean number of words of a training text; rows without one do not count."""
    counts = [len(line.split()) for line in dataset.train.strings[str(text_of(dataset))]]
    return float(np.mean([n for n in counts if n > 0]))


def fewest(labels: Tensor) -> int:
    """Rows of the smallest class that has any."""
    found = labels[labels >= 0].bincount()
    return int(found[found > 0].min())


def within(shots: Sequence[int], most: int) -> tuple[int, ...]:
    """Those of the shots that there are."""
    return tuple(k for k in shots if k <= most)


def _correlated(x: Tensor, y: Tensor) -> tuple[Encode, Encode]:
    """Maps of both to the space of their canonical correlations, each direction weighed by a power of it."""
    means, whitened = (x.double().mean(0), y.double().mean(0)), []
    for z, mean in zip((x, y), means, strict=True):
        centred = z.double() - mean
        cov = centred.T @ centred / len(z)
        ridge = RIDGE * cov.diagonal().mean() * torch.eye(len(cov), dtype=cov.dtype)
        values, axes = eigh(cov + ridge)
        whitened.append((centred, axes * values.rsqrt() @ axes.T))
    (a, white_a), (b, white_b) = whitened
    u, s, v = svd(white_a @ (a.T @ b / len(x)) @ white_b)
    maps = (white_a @ u * s**POWER)[:, :WIDTH], (white_b @ v * s**POWER)[:, :WIDTH]

    def through(mean: Tensor, to: Tensor) -> Encode:
        return lambda z: normalize((z.double() - mean) @ to, dim=1).float()

    return through(means[0], maps[0]), through(means[1], maps[1])


def _short(x: Tensor) -> Encode:
    """Text vectors of unit length and at most ``DIMENSIONS`` numbers, centred; axes and centre from ``x``."""
    flat = x.flatten(1).double()
    axes = leading_axes(flat, texts.DIMENSIONS)
    centre = (flat @ axes).mean(0)
    return lambda z: normalize((z.flatten(1).double() @ axes - centre).float(), dim=1)


def _drawn(dataset: Dataset, modality: str) -> bool:
    """Whether the shipped encoders of the drawn world read this input."""
    known = {"image": (3, 32, 32), "audio": (1, 32, 32)}
    return dataset.name == "shapes" and dataset.shapes[modality] == known.get(modality)


def _pairs(dataset: Dataset) -> Tensor:
    train = dataset.train
    return (train.present[target_of(dataset)] & train.present[str(text_of(dataset))] & (train.labels >= 0)).nonzero()[
        :, 0
    ]


def _in_parts(encode: Encode, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([encode(part) for part in x.split(512)])


def _with(samples: Samples, inputs: Mapping[str, Tensor]) -> Samples:
    return replace(samples, inputs={m: inputs.get(m, x) for m, x in samples.inputs.items()})
