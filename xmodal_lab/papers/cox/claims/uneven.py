"""Uneven classes: an accuracy near the share of the largest class may be the guess of one class."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....claims.claim import Conditions
from ....claims.verdicts import Measured, gain, order, reads
from .arms import UNSUPERVISED, cox, of

# The most frequent class has ten times as many rows as the rarest (ours; of EmojiOne's eight groups it has more).
UNEVEN = 10.0


def uneven(c: Conditions) -> Measured:
    """COX over SSL without labels, by accuracy and by mean over classes; controls: majority, ERM with the prior."""
    world: dict[str, Any] = {"unbalance": UNEVEN} if c.dataset is None else {}
    names = ("accuracy", "balanced", "predicted")
    ssl = {name: of(c, name, **UNSUPERVISED, **world, algorithm="ssl") for name in names}
    found = {name: cox(c, name, **UNSUPERVISED, **world) for name in names}
    most, prior = (of(c, name, **world, algorithm="erm") for name in ("majority", "accuracy_prior"))
    whole = cox(c, **world)
    note = (
        f"The most frequent class has {100 * most.mean():.0f} % of the rows. COX predicts "
        f"{found['predicted'].mean():.1f} classes, SSL {ssl['predicted'].mean():.1f}. COX over always guessing that "
        f"class: {gain(found['accuracy'] - most).text}. With labels, COX over ERM with the class frequencies as prior: "
        f"{gain(whole - prior).text}."
    )
    steps = {
        "accuracy": found["accuracy"] - ssl["accuracy"], "balanced accuracy": found["balanced"] - ssl["balanced"],
    }  # fmt: skip
    numbers = {f"{m} {k}": float(np.nanmean(v)) for m, d in (("ssl", ssl), ("cox", found)) for k, v in d.items()}
    return reads(order(steps, note=note, numbers=numbers), room=100 * (1 - numbers["ssl accuracy"]))
