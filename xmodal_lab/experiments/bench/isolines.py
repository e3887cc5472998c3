"""The whole grid of shots under each member's recipe, from which the isolines of the exchange rate are drawn."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...sweeps.experiment import WHY, Report, tell
from ..beside import Parts
from ..world import Values
from .setup import Setup

# A net to be trained, by its settings, and the cells (member, text) that it answers.
Group = tuple[dict[str, Any], list[tuple[int, int]]]


def at_shots(
    setup: Setup, shots: Mapping[str, Sequence[int]], members: Sequence[Values], parts: Parts, report: Report
) -> list[dict[str, Any]]:
    """Test accuracy in every cell of the shots, under each member's recipe: a stack for each number of pictures.

    Args:
        setup: whose settings the members have.
        shots: of the target and of the auxiliary modality: the grid.
        members: their settings.
        parts: compute the cells, by the world's ``scores``; the results are filled in as they come.
        report: hears of each group of cells.

    Returns:
        For each member ``accuracy_at_shots`` (images, texts), and why a cell is NaN.
    """
    images, texts = (tuple(shots[m]) for m in (setup.target, str(setup.auxiliary)))
    found = np.full((len(members), len(images), len(texts)), np.nan)
    why: list[dict[str, str]] = [{} for _ in members]
    # Shots of the classified modality change the data, which members of a stack share; those of the other do not.
    groups = [
        (i, group) for i, image in enumerate(images)
        for group in _cells(setup, [{**s, f"{setup.target}_shots": image} for s in members], texts)
    ]  # fmt: skip
    done = itertools.count(1)

    def take(i: int, group: Sequence[Group], scores: Sequence[float | str]) -> None:
        for (_, cells), score in zip(group, scores, strict=True):
            for k, j in cells:
                if isinstance(score, str):
                    why[k].setdefault("accuracy_at_shots", f"{images[i]} pictures, {texts[j]} texts: {score}")
                else:
                    found[k, i, j] = score
        tell(report, {"accuracy_at_shots": found[0]})
        report(next(done) / len(groups), f"{images[i]} pictures of each class")

    for i, group in reversed(groups):  # the longest first, so that none is left at the end
        parts.add("scores", [s for s, _ in group], take=partial(take, i, group))
    return [{"accuracy_at_shots": one, WHY: reasons} for one, reasons in zip(found, why, strict=True)]


def _cells(setup: Setup, members: Sequence[Values], texts: Sequence[int]) -> list[list[Group]]:
    """What is trained for these texts: stacks of (setting, the cells (member, text) that it answers)."""
    answers: dict[Hashable, Group] = {}
    for k, s in enumerate(members):
        for j, text in enumerate(texts):
            normal = setup.normal({**s, f"{setup.auxiliary}_shots": text})
            # Where unpaired rows weigh nothing, all texts ask for the same net.
            answers.setdefault(tuple(sorted(normal.items())), (normal, []))[1].append((k, j))
    groups: dict[Hashable, list[Group]] = {}
    for answer in answers.values():
        groups.setdefault(setup.stack_key(answer[0]), []).append(answer)
    return list(groups.values())
