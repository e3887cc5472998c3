"""The ledger's rows of uml: all of them in order, and exchange rates; the others are beside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....claims.claim import Claim, Conditions
from ....claims.verdicts import Measured, gain, missing
from ....data import sentences as texts
from ....instruments.information import exchange_rate
from ....utils.statistics import jackknife
from ..worlds import given as own
from .classifier import CLASSIFIER
from .encoders import ENCODERS, PAIRS, grid
from .few import FEW
from .knobs import KNOBS
from .pretraining import PRETRAINING
from .theory import THEORY_CLAIMS


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
        slopes[pair] = np.array([(fit.image_slope, fit.text_slope) for fit in each])
    said = "; ".join(f"{pair}: {r.summary()}" for pair, r in rates.items())
    note = (
        f"{how}{said}. Judged: log of (unaligned / aligned) words per image, each the ratio of mean slopes of the log "
        "fit, jackknife over seeds. Trap: a plane's rate is one slope for the whole window; look at the local ones."
    )
    refused = [pair for pair, found in slopes.items() if not _positive(found)]
    if refused:
        return missing(f"words that buy accuracy certainly with {' and '.join(refused)} encoders", note=note)
    both = jackknife(log_ratio, *slopes["unaligned"].T, *slopes["aligned"].T)
    return gain(both, scale=1, unit="in log words per image", note=note)


def log_ratio(*means: Any) -> float:
    """Log of one exchange rate over another, from mean slopes: images, texts; images, texts."""
    images, lines, other_images, other_lines = map(float, means)
    if min(images, lines, other_images, other_lines) <= 0:
        return float("nan")
    return math.log(images / lines) - math.log(other_images / other_lines)


def _positive(slopes: np.ndarray) -> bool:
    """Whether the means of both slopes are certainly above 0: without, a ratio of them has no bounds (Fieller)."""
    return all(gain(column, scale=1).verdict == "holds" for column in slopes.T)


CLAIMS: tuple[Claim, ...] = (
    *THEORY_CLAIMS, *PRETRAINING, *FEW, *KNOBS, *CLASSIFIER, *ENCODERS,
    Claim("uml.X", "Aligned encoders need fewer words per image than unaligned ones.", "Fig 8, 9, 14-29",
          "Pets: 228 against 1034 words", exchange, effect=1.51, unit="in log words per image",  # log(1034 / 228)
          cost="seconds", shares="uml grid"),
)  # fmt: skip
