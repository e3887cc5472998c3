"""One λ axis for all spectra: linear near 0, logarithmic beyond, on both sides."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

# λ = LINEAR sinh(u), u in equal steps up to |λ| = TOP (ours).
LINEAR, TOP, LAMBDAS = 0.1, 1e4, 97
WIDTH = 0.3  # standard deviation of a spectral line in u (ours)


def lambdas() -> np.ndarray:
    """The λ axis of every density: λ = 0.1 sinh(u), u in equal steps, from -10⁴ to 10⁴."""
    reach = math.asinh(TOP / LINEAR)
    return np.round(LINEAR * np.sinh(np.linspace(-reach, reach, LAMBDAS)), 9)


def on_lambdas(nodes: Tensor, weights: Tensor) -> np.ndarray:
    """A density on :func:`lambdas`, per unit of u = asinh(λ / 0.1): it integrates to 1 over u.

    Each node of the quadrature is a bell of width :data:`WIDTH` in u: on a scale that is logarithmic on both sides
    of 0, a bell of one width in λ would be a needle at 10³ and cover everything at 10⁻³.

    Args:
        nodes, weights: (probes, steps) of the quadrature; a :class:`.spectrum.Density` has both.
    """
    at = np.arcsinh(lambdas() / LINEAR)
    places = np.arcsinh(nodes.reshape(-1).numpy() / LINEAR).clip(at[0], at[-1])
    shares = weights.reshape(-1).numpy() / len(nodes)
    used = shares > 0
    bells = np.exp(-0.5 * ((at[:, None] - places[used]) / WIDTH) ** 2) / (WIDTH * math.sqrt(2 * math.pi))
    density: np.ndarray = bells @ shares[used]
    return np.where(density < 1e-9, 0.0, density)
