"""Claims about training without labels, and about language weights as a start: self-supervised UML, transfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ....claims.claim import Claim, Conditions
from ....claims.verdicts import Measured, controlled, gain, missing, order, reads
from ....data import datasets
from ....data.samples import Dataset
from ..method.sequence import Sequences, learn
from ..method.transfer import Transfer, transfer

# Chosen on other seeds than the ledger's for one thing: that training moves the probe (ours).
SIZES: dict[str, dict[str, Any]] = {
    "quick": {"layers": 2, "width": 40, "steps": 200}, "full": {"layers": 5, "width": 40, "steps": 1500},
}  # fmt: skip
STEPS = {"quick": 200, "full": 2000}
TARGET, OTHER = "audio", "image"  # of the drawn world: 32 steps of sound, 8 of a picture


def world(conditions: Conditions, seed: int) -> Dataset:
    """Whole pictures and spectrograms of spoken digits, 40 of each class, drawn by the seed; or the user's data."""
    if conditions.dataset is not None:
        return conditions.dataset
    made = {"images_per_class": 40, "image_energy": None, "seed": seed}
    return conditions.once(f"uml digits {seed}", lambda: datasets.load("digits", **made))


def self_supervised(conditions: Conditions) -> Measured:
    """uml.S: a linear probe on the target, with and without the other modality in training, and before training."""
    data = world(conditions, conditions.seeds[0])
    sequences = [m for m, shape in data.shapes.items() if len(shape) > 1]
    if len(sequences) < 2:
        return missing("two modalities that are sequences, pictures or spectrograms, not vectors")
    target, other = (TARGET, OTHER) if conditions.dataset is None else sequences[:2]
    conditions.scores_on(data.test, (target,))
    conditions.trains()
    base = Sequences(target=target, auxiliary=(other,), **SIZES[conditions.budget])
    scores: dict[str, list[float]] = {"untrained": [], "unimodal": [], "uml": [], "noise": []}
    for seed in conditions.seeds:
        data, start = world(conditions, seed), replace(base, seed=seed)
        scores["untrained"].append(learn(data, replace(start, auxiliary=(), steps=0)).accuracy)
        scores["unimodal"].append(learn(data, replace(start, auxiliary=())).accuracy)
        scores["uml"].append(learn(data, start).accuracy)
        scores["noise"].append(learn(_noise(data, other), start).accuracy)
    return judged_probe(scores, f"Probe of {target} with {other}, {base.layers} layers of width {base.width}, "
                                f"{base.steps} steps.")  # fmt: skip


def judged_probe(scores: Mapping[str, Any], what: str) -> Measured:
    """The word of accuracies (seeds,): "untrained", "unimodal", "uml", and with "noise" in place of the other."""
    untrained, alone, uml, noise = (np.asarray(scores[k]) for k in ("untrained", "unimodal", "uml", "noise"))
    means = ", ".join(f"{name} {100 * np.mean(v):.1f}" for name, v in scores.items())
    note = f"{what} {means}."
    found = gain(uml - alone, note=note, numbers=scores)
    found = reads(found, room=100 * (1 - float(alone.mean())), trained_over_untrained=alone - untrained)
    return controlled(found, uml - noise, "over noise in place of the other modality")


def _noise(data: Dataset, modality: str) -> Dataset:
    train = data.train
    drawn = torch.randn(train.inputs[modality].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return replace(data, train=replace(train, inputs={**train.inputs, modality: drawn}))


def language(conditions: Conditions) -> Measured:
    """uml.TR: the small language model's weights in a vision transformer, each arm with as many steps at one rate."""
    data = world(conditions, conditions.seeds[0])
    first = data.modalities[0]
    if data.kinds[first] != "image" or len(data.shapes[first]) != 3:
        return missing(f"pictures; {data.name}'s first modality is {first} {data.shapes[first]}")
    conditions.scores_on(data.test, (first,))
    steps = STEPS[conditions.budget]
    cases = {
        "frozen": Transfer("language", "frozen", steps=steps),
        "frozen scratch": Transfer("scratch", "frozen", steps=steps),
        "frozen shuffled": Transfer("shuffled", "frozen", steps=steps),
        "thawed": Transfer("language", "two_stage", first_stage=steps // 3, steps=steps, thaw=1.0),
        "scratch": Transfer("scratch", "unfrozen", steps=steps),
        "shuffled": Transfer("shuffled", "two_stage", first_stage=steps // 3, steps=steps, thaw=1.0),
    }  # fmt: skip
    conditions.trains()
    patch = 2 if data.shapes[first][-1] <= 8 else 8
    at: dict[str, Any] = {"modality": first, "look_every": steps}
    drawn = [(world(conditions, s), s) for s in conditions.seeds]
    found = {
        name: np.array([transfer(d, replace(c, seed=s, patch=patch), **at).accuracy for d, s in drawn])
        for name, c in cases.items()
    }
    return judged_transfer(found, steps)


def judged_transfer(found: Mapping[str, np.ndarray], steps: int) -> Measured:
    """The word of accuracies (seeds,) of the six arms: two claims, each beside the same weights shuffled."""
    means = ", ".join(f"{name} {100 * v.mean():.1f}" for name, v in found.items())
    thawed = gain(found["thawed"] - found["shuffled"]).text
    note = (
        f"{means}. A small BERT of this project's sentences, {steps} steps for every arm, the transformer at one rate "
        f"once it learns. Thawed over its own weights shuffled {thawed}. Fresh weights are as small as BERT starts (sd "
        ".02), so a frozen fresh transformer passes little on."
    )
    claimed = {"frozen": found["frozen"] - found["frozen scratch"], "unfrozen": found["thawed"] - found["scratch"]}
    judged = reads(order(claimed, note=note), room=100 * (1 - float(found["scratch"].mean())))
    return controlled(judged, found["frozen"] - found["frozen shuffled"], "frozen, over its own weights shuffled")


# A seed costs nine seconds, which was measured after ten of them: twenty others.
PRETRAINING: tuple[Claim, ...] = (
    Claim("uml.S", "Self-supervised, linear probe: UML beats unimodal.", "Tab 1",
          "its eight datasets, mean (ours): 67.70 → 69.21", self_supervised, effect=1.5, cost="seconds", first=100),
    Claim("uml.TR", "Language weights as vision initialisation beat training from scratch, frozen and unfrozen.",
          "Fig 7", "", language, sesoi=1.0, cost="seconds", first=100),
)  # fmt: skip
