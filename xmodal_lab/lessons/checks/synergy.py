"""Exercises of lesson 01."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...instruments import transport
from ...papers.synergy.theory import identity
from ..exercises import exercise, number


@exercise("synergy.1")
def triangle(answer: Any) -> str | None:
    """M_i is the better model (its side is shorter), so α* stays below ½: lean on the other one a little."""
    sides = (3.0, 4.0, 5.0)
    right = transport.alpha_star(*sides).raw
    found = number(answer)
    if isinstance(found, str):
        return found
    if abs(found - right) < 5e-3:
        return None
    if abs(found - (1 - right)) < 5e-3:
        return f"{found:g} is the weight of z_i; α is the weight of z_j, the other one: 1 − {found:g}."
    if abs(found - (sides[0] - sides[1] + sides[2]) / (2 * sides[2])) < 5e-3:
        return "the sides enter squared: Δ_i² − Δ_j² + Δ_ij² over 2 Δ_ij²."
    if abs(found - 2 * right) < 5e-3:
        return "the denominator is 2 Δ_ij²; a factor 2 is missing."
    i, j, ij = (side**2 for side in sides)
    f = (1 - found) * i + found * j - found * (1 - found) * ij
    way = "smaller" if found > right else "larger"
    return f"at α = {found:g} the squared distance f is {f:.3g}; it falls further towards {way} α. Put 3, 4, 5 in."


@exercise("synergy.2")
def constant(answer: Any) -> str | None:
    """The mean over the draws: a random target that knows nothing of x pulls exactly as its mean does."""
    if not callable(answer):
        return "a function was asked for: constant_of(targets) gives one vector."
    drawn = 2.0 + torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    try:
        given = answer(drawn)
    except Exception as error:  # a class, or code that has a fault
        return f"called with a tensor of 500 draws of 3 entries, it raised {type(error).__name__}: {error}"
    if given is None:
        return "it gave back None: does the function end with return?"
    if isinstance(given, tuple):
        return f"{type(given).__name__} of several came back (torch's median gives places too); one vector is wanted."
    if not isinstance(given, (torch.Tensor, np.ndarray, list)):
        return f"it gave back {type(given).__name__}; one vector is wanted, a tensor of 3 entries."
    found = torch.as_tensor(given)
    if found.ndim == 0:
        return "this is one number for all entries; the mean is over the draws only (dim 0), one for each entry."
    if found.shape == (500,):
        return "this is one number per draw; the draws are the rows, so the mean is over dim 0."
    if found.shape != (3,):
        return f"one vector of 3 entries was asked for, this has shape {tuple(found.shape)}."
    if torch.allclose(found, torch.zeros(3)):
        return "zero is a constant, but it pulls elsewhere: the gradient of ½ ‖g − ẑ‖² is g − ẑ, on average g − E ẑ."
    if not torch.allclose(found, drawn.mean(0), atol=1e-4):
        return "the average gradient is g − E ẑ; which vector c has g − c equal to it?"
    return None


@exercise("synergy.3")
def reduction(answer: Any) -> str | None:
    """A sum over d entries weighs d times as much as their mean: α alone does not say how strong the target is."""
    found = number(answer)
    if isinstance(found, str):
        return found
    wanted = identity.effective_weight(0.9, 384, "mse_mean")
    if abs(found - wanted / 384) < 1e-4 and abs(found - wanted / (384 + wanted)) > 1e-4:
        return f"{found:.4f} is the ratio α/(1 − α); solve it for α."
    if not 0 < found < 1:
        return "α is a share, between 0 and 1."
    weight = identity.effective_weight(found, 384, "mse_sum")
    if abs(weight / wanted - 1) < 0.02:
        return None
    more = "more" if weight > wanted else "less"
    return f"a sum with α = {found:g} weighs {weight:.3g}, {more} than the {wanted:.3g} of the mean with α = 0.9."
