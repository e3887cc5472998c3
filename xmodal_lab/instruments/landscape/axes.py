"""Directions in parameter space: Gaussian, filter- or layer-normalised, Hessian eigenvectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...losses import Loss, Params, as_loss
from ...losses.directions import gaussian, normalize_, parameter_names
from ...utils import checks as check

NORMALIZATIONS = ("filter", "layer")
VECTORS = ("normalize", "zero")


def draw(
    loss: Loss,
    count: int = 2,
    *,
    normalization: str | None = "filter",
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    vectors: str = "normalize",
) -> list[Params]:
    """Random directions in parameter space, the ones that ``landscape.plane`` draws for the same arguments.

    Args:
        loss: gives θ.
        count: how many.
        normalization: "filter" scales each filter (first index of a tensor of two or more
            dimensions) to the norm of θ's (Li et al. 2018, Sec 4); "layer" each tensor;
            None leaves the Gaussian as drawn.
        seed: of the Gaussian.
        params: a block of ``loss.blocks``, a parameter name or a list of names; all when not given.
        vectors: biases and other one-dimensional parameters have no filters. "normalize" treats
            each as one filter; "zero" leaves them where they are, as Li et al.'s code does.

    Returns:
        A list of dicts shaped like the chosen parameters. A filter of zeros stays zero.

    Raises:
        ValueError: unknown normalization or block; every entry of a direction is zero.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([[3.0, 4.0]])})
        >>> [direction] = xl.landscape.draw(bowl, count=1)
        >>> round(float(direction["w"].norm()), 4)  # as long as its filter in θ
        5.0
    """
    as_loss(loss)
    count, seed = check.integer("count", count, at_least=1), check.integer("seed", seed, at_least=0)
    if normalization is not None:
        check.one_of("normalization", normalization, NORMALIZATIONS)
    check.one_of("treatment of vectors", vectors, VECTORS)
    names = parameter_names(loss, params)
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(count):
        direction = {}
        for name in names:
            theta = loss.params[name]
            theta = theta.to(torch.promote_types(theta.dtype, torch.float32))  # as the instruments see it
            part = gaussian(theta, generator)
            if vectors == "zero" and theta.ndim < 2:
                part.zero_()
            elif normalization is not None:
                normalize_(part, theta, normalization)
            direction[name] = part
        if not any(bool(part.any()) for part in direction.values()):
            raise ValueError(
                f"the {normalization}-normalised direction is zero because θ is zero there; "
                "use normalization=None, or give directions."
            )
        drawn.append(direction)
    return drawn
