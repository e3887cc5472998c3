"""Exercises of lesson 06."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...instruments import landscape
from ...losses import Loss
from ..exercises import exercise


@exercise("model.1")
def sharpest(answer: Any, loss: Loss) -> str | None:
    """A plane along the sharpest directions is steeper than a random one; which one a paper shows is a choice."""
    if getattr(answer, "dims", None) != ("a", "b"):
        return "a plane was asked for, that is what xl.landscape.plane returns."
    if abs(float(answer.attrs["centre"]) - loss.value()) > 1e-3 * max(1.0, loss.value()):
        return f"its centre is {answer.attrs['centre']:.3f}, and the loss there {loss.value():.3f}: another loss?"
    span = float(answer.attrs["span"])
    random = landscape.plane(loss, points=5, span=span)
    if float(answer.max()) <= float(random.max()):
        return "it is no steeper than random directions of that span: are the eigenvectors given as directions=?"
    sharp = landscape.plane(loss, points=5, span=span, directions=landscape.eigenvectors(loss, 2))
    rise, most = (float(plane.mean()) - loss.value() for plane in (answer, sharp))
    if rise < 0.75 * most:
        return f"it rises by {rise:.2g} on average; along the two sharpest directions it would be {most:.2g}."
    return None


@exercise("model.2")
def batches(answer: Any, loss: Loss) -> str | None:
    """Batches of any size give the loss of all rows: each counts by its rows, not as one of so many batches."""
    if not isinstance(answer, Loss):
        return "a Loss was asked for: xl.Loss.from_module(model, loader)."
    if answer.size != loss.size:
        return f"it has {answer.size} parameters, the model {loss.size}: another model?"
    if answer is loss:
        return "this is the loss of the tuple itself: make another, of a DataLoader with batch_size=64."
    if any(not torch.equal(p, loss.params[k]) for k, p in answer.params.items() if k in loss.params):
        return "its parameters are not those of the model that was trained: give from_module that one."
    if abs(answer.value() - loss.value()) > 1e-5:
        return f"it is {answer.value():.5f} and not {loss.value():.5f}: does the loader have all rows (no drop_last)?"
    return None


@exercise("model.3")
def twin(answer: Any, model: nn.Module) -> str | None:
    """The same function at another point θ: curvature in θ alone cannot say which of the two is flatter."""
    if not isinstance(answer, type(model)):
        return f"a {type(model).__name__} was asked for, and this is {type(answer).__name__}."
    if answer is model:
        return "this is the model itself, so it has changed too: make another MyModel() and load the state_dict."
    theirs, ours = dict(answer.named_parameters()), dict(model.named_parameters())
    if all(torch.equal(theirs[k], ours[k]) for k in ours):
        return "its weights are those of the model; make one layer 10 times as large, the next 10 times as small."
    if not any(torch.equal(theirs[k], ours[k]) for k in ours):
        return "no layer is the model's: begin with load_state_dict(model.state_dict()), then change two layers."
    inputs = [torch.randn(40, n, generator=torch.Generator().manual_seed(n)) for n in (20, 30)]
    with torch.no_grad():
        off = float((answer(*inputs) - model(*inputs)).abs().max())
    if off > 1e-3:
        return f"the outputs differ by {off:.2g}: is the first layer's bias as large too, the last layer's bias left?"
    times = max(float(theirs[k].detach().norm() / ours[k].detach().norm()) for k in ours)
    if not 9.9 < times < 10.1:
        return f"the outputs agree; the layer that grew most is {times:.3g} times as large, and 10 was asked for."
    return None


@exercise("model.4")
def cannot_say(answer: Any) -> str | None:
    """A folder without sound cannot speak of sound; the ledger names what is needed, and trains nothing."""
    try:
        verdict, name = str(answer["verdict"]), str(answer["id"])
    except (KeyError, TypeError, IndexError):
        return "one row was asked for: xl.claims.run('synergy.A1', dataset=features).iloc[0]."
    if name != "synergy.A1":
        return f"this is {name}; [V→A] is synergy.A1."
    if not verdict.startswith("needs "):
        return f"the verdict is {verdict!r}: was it measured on the project's digits? Give dataset=features."
    return None
