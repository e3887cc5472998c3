"""M_j and its latents: the frozen sentence encoder, or a net that learned the labels from its own modality and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ....data.drawing import shuffled_classes
from ....data.samples import Dataset, Samples
from ....losses import Params
from ....models import stacked as nets
from ....training.descent import descend, stack
from ....training.targets import Pool, controls
from . import prompts
from .views import Standardizer

_TEACHER_SEED, _NOISE_SEED, _MATE_SEED = 7, 31, 37  # M_j is one and frozen: no member's seed moves it


@dataclass(frozen=True, eq=False)
class Split:
    """Which rows of a dataset M_i uses, and its validation and test samples."""

    dataset: Dataset
    rows: Tensor
    val: Samples
    test: Samples


@dataclass(frozen=True, eq=False)
class Teacher:
    """Latents of the frozen M_j.

    Attributes:
        pools: name -> latents to draw targets from; for the rule "own", rows are those of M_i's training rows.
        z_val: (N_val, d) of M_i's validation rows, or None.
        z_j: (N, d) of test rows.
        score: test accuracy; NaN for the sentence encoder.
    """

    pools: dict[str, Pool]
    z_val: Tensor | None
    z_j: Tensor
    score: float

    def to(self, device: str | torch.device) -> Teacher:
        """The same latents on another device."""
        pools = {name: pool.to(device) for name, pool in self.pools.items()}
        z_val = None if self.z_val is None else self.z_val.to(device)
        return Teacher(pools, z_val, self.z_j.to(device), self.score)


def sentences(split: Split, j: str | None, classes: int, s: Mapping[str, Any]) -> Teacher:
    """The sentence encoder: prompts for any dataset, descriptions where it has them; vectors of the asked length."""
    dataset, scale = split.dataset, s["length"] or 1.0
    pools = {name: Pool(scale * prompts.vectors(name)) for name in ("random", "unrelated")}
    if classes <= len(prompts.vectors("class")):
        pools["class"] = Pool(scale * prompts.class_prompts(classes), torch.arange(classes))
    z_val, z_j = None, pools["random"].z
    written = prompts.descriptions(dataset, dataset.train, j)
    if written is not None:
        has = dataset.train.present[j].cpu() if j else torch.ones(len(dataset.train), dtype=torch.bool)
        texts, labels = scale * written[has], dataset.train.labels[has]
        pools["latents"] = Pool(texts, labels, _own(split, has))
        pools["noisy"] = Pool(texts + scale * _noise(texts, s), labels)
        of_val, of_test = (prompts.descriptions(dataset, part, j) for part in (split.val, split.test))
        if of_val is not None and of_test is not None:
            z_val, z_j = scale * of_val, scale * of_test
    return Teacher(pools | controls(pools["random"].z), z_val, z_j, float("nan"))


def taught(split: Split, j: str, teaching: Tensor, classes: int, s: Mapping[str, Any]) -> Teacher:
    """A net that learned from the rows ``teaching`` (bool, of the training split) and is then frozen."""
    train = split.dataset.train
    standardize = Standardizer(train.inputs[j][teaching], s["resolution"])
    learned = fitted([_TEACHER_SEED], standardize(train.inputs[j][teaching]), train.labels[teaching], classes, s)
    given = train.present[j].cpu() & ~teaching
    labels, seen = train.labels[given], standardize(train.inputs[j][given])

    def latents(x: Tensor) -> Tensor:
        with torch.no_grad():
            return nets.features(learned, x)[0]

    z, there = latents(seen), split.test.complete(j)
    scale = s["length"] / float(z.norm(dim=1).mean()) if s["length"] else 1.0
    z_test = latents(standardize(there.inputs[j]))
    score = float((nets.logits(learned, z_test[None])[0].argmax(1) == there.labels).float().mean())
    z_val = scale * latents(standardize(split.val.inputs[j])) if bool(split.val.present[j].all()) else None
    pools = {
        "latents": Pool(scale * z, labels, _own(split, given)),
        "noisy": Pool(scale * latents(seen + _noise(seen, s)), labels),
    }
    return Teacher(pools | controls(pools["latents"].z), z_val, scale * z_test, score)


def teaching_rows(train: Samples, j: str, i: str, share: float) -> Tensor:
    """Rows (bool) that M_j learns from: a share of each class's rows that have it, first those that M_i cannot use."""
    chosen, rng = torch.zeros(len(train), dtype=torch.bool), torch.Generator().manual_seed(29)
    for _, drawn in shuffled_classes(train.labels, rng, train.present[j]):
        rows = drawn[torch.argsort(train.present[i][drawn].int(), stable=True)]
        chosen[rows[: max(1, int(share * len(rows)))]] = True
    return chosen


def fitted(
    seeds: Sequence[int], x: Tensor, y: Tensor, classes: int, s: Mapping[str, Any], architecture: str = "mlp"
) -> Params:
    """Nets (one per seed, stacked) that learned the labels ``y`` from ``x``, with Adam (settings as M_i's own)."""
    starts = [nets.start(k, x.shape[1:], s["hidden"], s["width_of_z"], classes, architecture) for k in seeds]
    rng = torch.Generator().manual_seed(41)

    def losses(params: Params, step: int) -> Tensor:
        rows = torch.randint(len(x), (len(seeds), min(64, len(x))), generator=rng).to(x.device)
        out = nets.logits(params, nets.features(params, x[rows]))
        return functional.cross_entropy(out.transpose(1, 2), y[rows], reduction="none").mean(1)

    begin = {name: p.to(x.device) for name, p in stack(starts).items()}
    return descend(begin, losses, steps=s["teacher_steps"], lr=1e-3, schedule="cosine")


def _noise(like: Tensor, s: Mapping[str, Any]) -> Tensor:
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(_NOISE_SEED), dtype=torch.float32)
    return drawn * float(s["noise_variance"]) ** 0.5


def _own(split: Split, given: Tensor) -> Tensor | None:
    """For each of M_i's rows, where its own latent stands among those of the rows ``given``.

    A row without one meets one of its class, drawn once for the whole run; None if a class has none at all.
    """
    labels = split.dataset.train.labels
    place = torch.full((len(labels),), -1)
    place[given] = torch.arange(int(given.sum()))
    own, rng = place[split.rows], torch.Generator().manual_seed(_MATE_SEED)
    for at in (own < 0).nonzero()[:, 0].tolist():
        mates = (labels[given] == labels[split.rows[at]]).nonzero()[:, 0]
        if len(mates) == 0:
            return None
        own[at] = mates[torch.randint(len(mates), (1,), generator=rng)]
    return own
