"""What a target that does not know the label can do: no more than its mean (ours; it decides how to read the paper).

For ẑ drawn independently of (x, y),

    E ½‖g(x) - ẑ‖² = ½ E‖g(x) - E ẑ‖² + ½ Var ẑ

so a random prompt *is* the constant target E ẑ, plus noise in the gradient of mean zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from ....utils import checks as check


@dataclass(frozen=True)
class Split:
    """The latent loss against a target that is drawn independently of x.

    Attributes:
        drawn: E ½‖g - ẑ‖² over all pairs of a latent and a target.
        constant: ½ E‖g - E ẑ‖².
        variance: ½ Var ẑ = ½ E‖ẑ - E ẑ‖².
        gradient_error: the largest entry of ∇_g of drawn - ∇_g of constant; 0 up to rounding.
    """

    drawn: float
    constant: float
    variance: float
    gradient_error: float


def split(g: Any, targets: Any) -> Split:
    """Both sides of the identity, with every latent meeting every target.

    Args:
        g: (n, d) latents.
        targets: (m, d).

    Raises:
        ValueError: clouds that are empty, or of different dimension; NaN or Inf.
    """
    latents = check.finite("g", check.as_tensor("g", g, torch.float64)).detach().requires_grad_()
    pool = check.finite("targets", check.as_tensor("targets", targets, torch.float64)).detach()
    if latents.dim() != 2 or pool.dim() != 2 or latents.shape[1] != pool.shape[1] or not len(latents) or not len(pool):
        raise ValueError(f"expected g (n, d) and targets (m, d), got {tuple(latents.shape)} and {tuple(pool.shape)}.")
    mean = pool.mean(0)
    drawn = 0.5 * (latents[:, None] - pool).square().sum(2).mean()
    constant = 0.5 * (latents - mean).square().sum(1).mean()
    gradients = [torch.autograd.grad(value, latents)[0] for value in (drawn, constant)]
    error = float((gradients[0] - gradients[1]).abs().max())
    return Split(
        float(drawn.detach()), float(constant.detach()), 0.5 * float((pool - mean).square().sum(1).mean()), error
    )


def effective_weight(alpha: float, width: int, loss: str) -> float:
    """How strongly L_z pulls beside L_cls, as a mean over entries: d · α/(1-α) for a sum, α/(1-α) for a mean.

    The paper's formula sums over the d entries, torch's MSE averages: the same α then means d times as much.

    Args:
        alpha: in [0, 1].
        width: d.
        loss: "mse_sum" or "mse_mean".

    Raises:
        ValueError: α outside [0, 1], another loss (a cosine has no such scale).
    """
    check.share("alpha", alpha)
    check.one_of("loss", loss, ("mse_mean", "mse_sum"))
    odds = math.inf if alpha == 1 else alpha / (1 - alpha)
    return odds * (check.integer("width", width, at_least=1) if loss == "mse_sum" else 1)
