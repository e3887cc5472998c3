"""Towards what M_i's latents are drawn: the imperfect ẑ_j of every kind, and controls (synergy Sec 4.1, App B, C.3).

A kind is a pool of latents and a rule that says which of them a training row meets:

    any     drawn without looking at the row: independent of the label
    label   drawn among those of the row's class
    own     the row's own
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ....training.targets import Pool as Pool
from ....training.targets import controls as controls
from ....training.targets import drawn as drawn
from ....utils import checks as check


@dataclass(frozen=True)
class Kind:
    """How one kind of target is drawn: ``pool`` names latents of the world, ``rule`` is any, label or own."""

    pool: str
    rule: str
    language: bool = False  # a prompt: there is one only where M_j is the language model
    says: str = ""


KINDS: Mapping[str, Kind] = {
    "number": Kind("random", "any", True, '"This is about Class #.", # a random number (Sec 4.1)'),
    "class_index": Kind("class", "label", True, "the same with the row's class index (Introduction)"),
    "random_class": Kind("class", "any", True, "the same with a random class (level 2 of Tab 8)"),
    "unrelated": Kind("unrelated", "any", True, "a sentence about something else (level 1 of Tab 8)"),
    "description": Kind("latents", "own", True, "a true description of the row (level 3 of Tab 8)"),
    "noise_shuffled": Kind("noisy", "any", False, "Gaussian noise on M_j's inputs, rows shuffled (Tab 5)"),
    "shuffled": Kind("latents", "any", False, "M_j's latent of any row (Tab 5)"),
    "same_class": Kind("latents", "label", False, "M_j's latent of a row of the same class"),
    "paired": Kind("latents", "own", False, "M_j's latent of the row itself, z_j"),
    "constant": Kind("constant", "any", False, "control: the mean of the imperfect ẑ_j, the same for every row"),
    "zero": Kind("zero", "any", False, "control: zero"),
    "noise": Kind("noise", "any", False, "control: Gaussian noise with mean and total variance of the imperfect ẑ_j"),
    "none": Kind("zero", "any", False, "control: no target, α = 0"),
}
CONTROLS = ("constant", "zero", "noise")
# Tab 8 of the paper: how imperfect the language target is.
LEVELS: Mapping[str, str] = {
    "single": "none",
    "level 1": "unrelated",
    "level 2": "random_class",
    "level 3": "description",
}
# Tab 5 of the paper: the imperfect target of each direction; Table 1 and 2 rest on them.
PAPERS_OWN: Mapping[str, str] = {
    "L→V": "number", "L→A": "number", "A→L": "noise_shuffled", "V→A": "shuffled", "A→V": "noise_shuffled",
}  # fmt: skip
DIRECTIONS = tuple(PAPERS_OWN)


def applicable(target: str, direction: str) -> None:
    """Refuse a kind that the direction does not have.

    Raises:
        ValueError: an unknown kind or direction; a prompt where M_j is no language model.
    """
    kind = KINDS[check.one_of("target", target, KINDS)]
    check.one_of("direction", direction, DIRECTIONS)
    if kind.language and not direction.startswith("L"):
        spoken = ", ".join(repr(d) for d in DIRECTIONS if d.startswith("L"))
        raise ValueError(
            f"target {target!r} is a sentence, but M_j of {direction} reads none; use a direction of {spoken}."
        )
