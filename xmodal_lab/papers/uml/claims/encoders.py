"""Claims about the encoders: other ones of texts and of pictures, and those that were aligned beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ....claims.claim import Claim, Conditions
from ....claims.verdicts import Measured, missing, order
from .. import member
from ..worlds import given as own
from ..worlds.small import COUNTING
from .few import arm, difference, printed, told

IMAGES, TEXTS = (1, 2, 4, 8, 16), (0, 1, 2, 5, 7, 10, 12, 15)  # texts: App E.4; images: 1 to 16
# Aligned: one contrastive pair, whose space the head shares as it is. Unaligned: encoders that never met.
PAIRS = {
    "aligned": {"encoder": "aligned", "projection": "none"},
    "unaligned": {"encoder": "trained", "projection": "target"},
}
BACKBONES = ("pixels", "trained", "random")  # encoders of the pictures of numbers


def encoders(conditions: Conditions) -> Measured:
    """uml.E: other text encoders."""
    data, alone = conditions.dataset, arm(conditions, taught=False, shots=(1,))
    if data is not None:
        m = own.text_of(data)
        if m is None or m == own.target_of(data) or m not in data.train.strings:
            return missing("the texts themselves, for other encoders to read")
        arms = {"the given": arm(conditions, shots=(1,))}
        arms |= {name: arm(conditions, shots=(1,), counts=name) for name in COUNTING}
        steps = {name: difference(found, alone, 1) for name, found in arms.items()}
        judged = order(steps, note=f"'words' and 'letters' are counts; the given: {own.encoder_of(data)}.")
        return told(judged, conditions, {"unimodal": alone, **arms}, 1)
    steps = {
        name: difference(arm(conditions, shots=(1,), text_encoder=name), alone, 1)
        for name in ("minilm", "words", "letters", "lm")
    }
    return order(steps, note="'words' and 'letters' are counts, 'lm' is a small model of these sentences.")


def backbones(conditions: Conditions) -> Measured:
    """uml.V: other encoders of the pictures."""
    if conditions.dataset is not None:
        return missing("pictures through several encoders; give each one's features as a dataset of its own")
    found = {
        name: tuple(arm(conditions, shots=(1,), encoder=name, taught=taught) for taught in (True, False))
        for name in BACKBONES
    }
    steps = {name: difference(uml, alone, 1) for name, (uml, alone) in found.items()}
    bases = ", ".join(f"{name} {100 * float(alone['accuracy'].mean()):.1f}" for name, (_, alone) in found.items())
    return order(steps, note=f"Small encoders of digits: principal components, a trained net, an untrained one. "
                             f"Unimodal: {bases} at 1 shot.")  # fmt: skip


def grid(conditions: Conditions, pair: str, **axes: Any) -> xr.Dataset:
    """Accuracies over pictures and sentences, for one pair of encoders: of the shapes world, or made from pairs."""
    if conditions.dataset is None:
        shots: dict[str, Any] = {"image_shots": list(IMAGES), "text_shots": list(TEXTS)}
        return conditions.sweep("uml", world="shapes", **shots, **PAIRS[pair], **axes)
    data = conditions.once("uml own met", lambda: own.met(own.featured(conditions.dataset)))[pair]  # type: ignore[arg-type]
    target, text = data.modalities
    most = own.fewest(data.train.labels)
    known = conditions.once(f"uml own {pair}", lambda: member.experiment(data, target=target, auxiliary=text))
    shots = {f"{target}_shots": list(own.within(IMAGES, most)), f"{text}_shots": list(own.within(TEXTS, most))}
    cube = conditions.sweep(known, projection=PAIRS[pair]["projection"], **shots, **axes)
    return cube.rename({f"{target}_shots": "image_shots", f"{text}_shots": "text_shots"})


def aligned(conditions: Conditions) -> Measured:
    """uml.A: what text brings where the encoders were aligned beforehand, over what it brings where not."""
    if conditions.dataset is not None and (lacking := own.lacks_pairs(conditions.dataset)) != "":
        return missing(lacking)
    gains: dict[str, dict[int, np.ndarray]] = {}
    said = []
    for pair in PAIRS:
        accuracy = grid(conditions, pair)["accuracy"]
        few, most = accuracy["image_shots"].values[:3:2], accuracy["text_shots"].values[-1]
        over = accuracy.sel(text_shots=most) - accuracy.sel(text_shots=0)
        gains[pair] = {int(k): np.asarray(over.sel(image_shots=k)) for k in few}
        base = float(accuracy.sel(text_shots=0, image_shots=few[0]).mean())
        said.append(f"{pair}: unimodal {100 * base:.1f}, gain {printed(gains[pair][int(few[0])])}")
    steps = {f"{k}-shot": gains["aligned"][k] - gains["unaligned"][k] for k in gains["aligned"]}
    note = (
        f"Gain of all texts with aligned encoders minus that with unaligned ones. At 1 shot {'; '.join(said)}. The "
        "paper compares CLIP with DINOv2 and OpenLLaMA: other nets on other data, not only aligned or not."
    )
    return order(steps, note=note)


# Averages of Tab 22 (CLIP ResNet-50) and Tab 17 (DINOv2 ViT-S/14) as printed: what UML gains there, less what here.
STRONGER = {"1-shot": 10.63, "4-shot": 2.19}

ENCODERS: tuple[Claim, ...] = (
    Claim("uml.E", "Gains hold across text encoders.", "Fig 30", "", encoders, sesoi=1.0, cost="seconds"),
    Claim("uml.V", "Gains hold across vision backbones.", "App E.5", "", backbones, sesoi=1.0, cost="seconds"),
    Claim("uml.A", "With encoders that were aligned beforehand the gains are even stronger.", "Sec 4.2, Tab 17, 22",
          "1-shot averages: CLIP 34.14 → 47.73, DINOv2 44.62 → 47.58", aligned, effect=STRONGER, sesoi=1.0,
          cost="seconds", shares="uml grid"),
)  # fmt: skip
