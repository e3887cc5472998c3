"""Exercises of lesson 00."""

from __future__ import annotations

from typing import Any

from ...losses import Loss
from ...training import Run
from ..exercises import exercise, number


@exercise("start.1")
def best_alone(answer: Any) -> str | None:
    """From few rows a small net reads the shape best off the sound; its picture needs a net that convolves."""
    if not isinstance(answer, dict) or set(answer) != {"image", "audio", "text"}:
        return "a dict was asked for, with one score each for 'image', 'audio' and 'text'."
    scores = {m: number(v) for m, v in answer.items()}
    for m, v in scores.items():
        if isinstance(v, str):
            return f"{m}: {v}"
        if v > 1:
            return f"{m}: run.score is a share between 0 and 1, and this is {v:g}."
    shares = {m: float(v) for m, v in scores.items()}
    if max(shares.values()) < 0.4:
        return "all three are near chance (one in six): are the nets trained, with fit(…, epochs=20)?"
    if len(set(shares.values())) == 1:
        return "all three are equal: does each net see its own modality only?"
    if max(shares, key=lambda m: shares[m]) != "audio":
        return f"{max(shares, key=lambda m: shares[m])} leads here; from n_train=300 rows and with architecture='mlp'?"
    return None


@exercise("start.2")
def wrong_partners(answer: Any, true: Run) -> str | None:
    """With partners of other classes the sound misleads, and what is right about the label is the picture alone."""
    if not isinstance(answer, Run):
        return "the run was asked for, that is what xl.fit returns."
    asked = answer.settings
    if asked["pairing"] != "noisy":
        return f"this net was trained with pairing={asked['pairing']!r}; partners of other classes are 'noisy'."
    if set(asked["modalities"]) != {"image", "audio"}:
        return f"it sees {' and '.join(asked['modalities'])}; a wrong partner takes two modalities."
    if int(asked["epochs"]) < 20:
        return f"after {asked['epochs']} epochs it has learned little of either; the others had 30."
    if answer.score >= true.score:
        return f"it scores {answer.score:.0%}, the true pairs {true.score:.0%}: were the two runs swapped?"
    return None


@exercise("start.3")
def other_directions(answer: Any, loss: Loss) -> str | None:
    """Another pair of directions, the same centre: two of very many. Compare several before you believe one."""
    if getattr(answer, "dims", None) != ("a", "b"):
        return "a plane was asked for, that is what xl.landscape.plane returns."
    if abs(float(answer.attrs["centre"]) - loss.value()) > 1e-3:
        return f"its centre is {answer.attrs['centre']:.3f}, and losses['both'] is {loss.value():.3f}: another net?"
    if answer.attrs["seed"] == 0:
        return "seed 0 draws the directions of the first picture again; give another seed."
    return None
