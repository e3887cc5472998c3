"""The ledger's rows of uml: self-supervised training, transfer, exchange rates; the others are beside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from ....claims.claim import Claim, Conditions
from ....claims.verdicts import Measured, gain, missing, order
from ....data import datasets
from ....data import sentences as texts
from ....data.samples import Dataset
from ....instruments.information import exchange_rate
from .. import member as fewshot
from ..method.sequence import Sequences, learn
from ..method.transfer import Transfer, transfer
from ..worlds import given as own
from .few import FEW
from .knobs import KNOBS
from .theory import THEORY_CLAIMS

IMAGES, TEXTS = (1, 2, 4, 8, 16), (0, 1, 2, 5, 7, 10, 12, 15)  # texts: App E.4; images: 1 to 16
# Aligned: one contrastive pair, whose space the head shares as it is. Unaligned: encoders that never met.
PAIRS = {
    "aligned": {"encoder": "aligned", "projection": "none"},
    "unaligned": {"encoder": "trained", "projection": "target"},
}


def _dataset(conditions: Conditions) -> Dataset:
    if conditions.dataset is not None:
        return conditions.dataset
    return conditions.once("uml digits", lambda: datasets.load("digits", images_per_class=40))


def self_supervised(conditions: Conditions) -> Measured:
    """uml.S: a linear probe on the target, with and without the other modality in training."""
    data = _dataset(conditions)
    sequences = [m for m, shape in data.shapes.items() if len(shape) > 1]
    if len(sequences) < 2:
        return missing("two modalities that are sequences, pictures or spectrograms, not vectors")
    target, other = sequences[:2]
    size: dict[str, Any] = {"steps": 150} if conditions.quick else {"layers": 5, "width": 40, "steps": 1500}
    base = Sequences(target=target, auxiliary=(other,), **size)
    scores: dict[str, list[float]] = {"uml": [], "unimodal": [], "noise": []}
    noise = _noise(data, other)
    for seed in conditions.seeds:
        start = replace(base, seed=seed)
        alone = learn(data, replace(start, auxiliary=()))
        # Tuned on validation data, twice the unimodal budget as in the paper: joint from the start or after half.
        joint = max(
            (learn(data, replace(start, start=at)) for at in (0, base.steps // 2)), key=lambda r: r.val_accuracy
        )
        scores["unimodal"].append(alone.accuracy)
        scores["uml"].append(joint.accuracy)
        scores["noise"].append(learn(noise, start).accuracy)
    uml, alone_, control = (np.array(scores[k]) for k in ("uml", "unimodal", "noise"))
    net = f"{base.layers} layers of width {base.width}, {base.steps} steps"
    note = f"Probe of {target}, {net}. The control trains on noise of the other's shape."
    return gain(
        uml - alone_,
        control=uml - control,
        control_name="noise in place of the other modality",
        note=note,
        numbers=scores,
    )


def _noise(data: Dataset, modality: str) -> Dataset:
    import torch

    train = data.train
    drawn = torch.randn(train.inputs[modality].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return replace(data, train=replace(train, inputs={**train.inputs, modality: drawn}))


def language(conditions: Conditions) -> Measured:
    """uml.TR: the small language model's weights in a vision transformer."""
    data = _dataset(conditions)
    first = data.modalities[0]
    if data.kinds[first] != "image" or len(data.shapes[first]) != 3:
        return missing(f"pictures; {data.name}'s first modality is {first} {data.shapes[first]}")
    steps = 200 if conditions.quick else 2000
    cases = {
        "frozen": Transfer("language", "frozen", steps=steps),
        "frozen scratch": Transfer("scratch", "frozen", steps=steps),
        "frozen shuffled": Transfer("shuffled", "frozen", steps=steps),
        "thawed": Transfer("language", "two_stage", first_stage=steps // 3, steps=steps),
        "scratch": Transfer("scratch", "unfrozen", steps=steps),
    }  # fmt: skip
    patch = 2 if data.shapes[data.modalities[0]][-1] <= 8 else 8
    at: dict[str, Any] = {"modality": data.modalities[0], "look_every": steps}
    found = {
        name: np.array([transfer(data, replace(c, seed=s, patch=patch), **at).accuracy for s in conditions.seeds])
        for name, c in cases.items()
    }
    means = ", ".join(f"{name} {100 * v.mean():.1f}" for name, v in found.items())
    control = gain(found["frozen"] - found["frozen shuffled"]).text
    note = (
        f"{means}. A small BERT of this project's sentences; frozen over its own weights shuffled {control}. "
        f"Fresh weights are as small as BERT starts (sd .02), so a frozen fresh transformer passes little on."
    )
    steps_ = {"frozen": found["frozen"] - found["frozen scratch"], "unfrozen": found["thawed"] - found["scratch"]}
    return order(steps_, note=note)


def grid(conditions: Conditions, pair: str) -> xr.Dataset:
    """Accuracies over pictures and sentences, for one pair of encoders: of the shapes world, or made from pairs."""
    if conditions.dataset is None:
        return conditions.sweep("uml", world="shapes", image_shots=list(IMAGES), text_shots=list(TEXTS), **PAIRS[pair])
    data = conditions.once("uml own met", lambda: own.met(own.featured(conditions.dataset)))[pair]  # type: ignore[arg-type]
    target, text = data.modalities
    most = own.fewest(data.train.labels)
    known = conditions.once(f"uml own {pair}", lambda: fewshot.experiment(data, target=target, auxiliary=text))
    shots = {f"{target}_shots": list(own.within(IMAGES, most)), f"{text}_shots": list(own.within(TEXTS, most))}
    cube = conditions.sweep(known, projection=PAIRS[pair]["projection"], **shots)
    return cube.rename({f"{target}_shots": "image_shots", f"{text}_shots": "text_shots"})


def exchange(conditions: Conditions) -> Measured:
    """uml.X: words per image with aligned and with unaligned encoders."""
    how, data = "", conditions.dataset
    if data is not None:
        if (lacking := own.lacks_pairs(data)) != "":
            return missing(lacking)
        how = "Aligned: canonical correlations of half the pairs, which no shot uses. "
    words = texts.words_per_text("shapes", "caption") if data is None else own.words_per_text(data)
    rates, slopes = {}, {}
    for pair in PAIRS:
        cube = grid(conditions, pair)["accuracy"].transpose("image_shots", "text_shots", "seed")
        accuracy, images, lines = cube.to_numpy(), cube["image_shots"].values, cube["text_shots"].values
        rates[pair] = exchange_rate(accuracy, images, lines, words)
        each = (exchange_rate(accuracy[..., k], images, lines, words).log for k in range(accuracy.shape[2]))
        slopes[pair] = np.array([(fit.image_slope, fit.text_slope) for fit in each]).T
    said = "; ".join(f"{pair}: {r.summary()}" for pair, r in rates.items())
    trap = "Trap: a plane's rate is one slope for the whole window; look at the local ones."
    images, lines = (np.stack([slopes[pair][k] for pair in ("unaligned", "aligned")]) for k in (0, 1))
    if min(images.min(), lines.min()) > 0:
        logs = np.log(images / lines)
        note = f"{how}{said}. Judged: the log of the ratio of the two rates of the log fit, seed by seed. {trap}"
        return gain(logs[0] - logs[1], scale=1, unit="in log words per image", note=note)
    none = (np.minimum(images, lines) <= 0).sum(1)
    apart = gain(np.diff(np.degrees(np.arctan2(lines, images)), axis=0)[0], scale=1, unit="degrees").text
    note = (
        f"{how}{said}. Without a rate in every seed there is nothing to compare. Where accuracy rises fastest, from 0 "
        f"(pictures alone) to 90 degrees (words alone), aligned minus unaligned: {apart}. {trap}"
    )
    seeds = lines.shape[1]
    text = f"a slope is not above 0, so there is no rate, in {none[1]} of {seeds} seeds aligned, {none[0]} unaligned"
    return Measured("not seen here", text, n=seeds, note=note)


CLAIMS: tuple[Claim, ...] = (
    *THEORY_CLAIMS,
    Claim("uml.S", "Self-supervised, linear probe: UML beats unimodal.", "Tab 1", "", self_supervised),
    *FEW,
    *KNOBS,
    Claim("uml.TR", "Language weights as vision initialisation beat training from scratch, frozen and unfrozen.",
          "Fig 7", "", language),
    Claim("uml.X", "Aligned encoders need fewer words per image than unaligned ones.", "Fig 8, 9, 14-29",
          "Pets: 228 against 1034 words", exchange),
)  # fmt: skip
