"""Exercises of lesson 09."""

from __future__ import annotations

import json
from typing import Any

import torch

from ...data.datasets import load
from ...instruments.look import Look, look
from ...models.fusion import LateFusion
from ...training import fit, terms
from ...training.recipe import Recipe
from ..exercises import exercise


def _net() -> tuple[Any, Any]:
    ds = load("digits", modalities=("image", "audio"))
    return ds, LateFusion.for_dataset(ds, fusion="concat_linear", architecture="mlp")


@exercise("own.1")
def size(answer: Any) -> str | None:
    """A term is a function of a batch and one number per net; its weight is a setting like any other."""
    if not isinstance(answer, terms.Function):
        return "a term was asked for: a function under @xl.terms.term('size')."
    if answer.weight == 0:
        return "its weight is 0, and what weighs nothing is never computed: weight=1.0."
    ds, net = _net()
    held, free = (
        fit(net, ds, recipe=Recipe((terms.Task(), answer)).with_settings(**{answer.setting: w}), epochs=3)
        for w in (1.0, 0.0)
    )
    with torch.no_grad():
        large, small = (float(run.model(dict(ds.test.inputs)).square().mean()) for run in (free, held))
    if small >= large:
        return f"the outputs did not shrink ({large:.2f} without, {small:.2f} with it): the mean square of outputs?"
    return None


@exercise("own.2")
def parameters(answer: Any) -> str | None:
    """Any function of a net and samples lies beside the accuracy, over every setting of a sweep."""
    if not isinstance(answer, Look):
        return "a look was asked for: xl.Look('parameters', function)."
    ds, net = _net()
    seen = look(net, ds.test.subset(range(20)), looks=[answer])
    found = float(seen[answer.name])
    if found != found:
        return f"the look gave no number: {json.loads(seen.attrs['why']).get(answer.name, 'NaN')}"
    right = sum(p.numel() for p in net.parameters())
    if found == right:
        return None
    if found == len(list(net.parameters())):
        return f"{found:.0f} tensors; each has .numel() numbers."
    weights = sum(p.numel() for name, p in net.named_parameters() if "bias" not in name)
    if found == weights:
        return f"{found:.0f} without the biases, which are parameters too."
    return f"it counts {found:.0f}, the net has {right}."


@exercise("own.3")
def below_zero(answer: Any) -> str | None:
    """The door says what came and what was expected, before any training."""
    if not isinstance(answer, str):
        return f"the words of the error were asked for, str(error); this is {type(answer).__name__}."
    if not answer:
        return "no error was caught: with_settings(a_balance=-1.0) raises one."
    if "balance" not in answer:
        return "these are words about something else; they should name the term."
    return None
