"""Directions in parameter space: Gaussian, filter- or layer-normalised, Hessian eigenvectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...losses import Loss, Params, as_loss
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


def normalize_(direction: Tensor, theta: Tensor, normalization: str) -> Tensor:
    """Scale each filter of ``direction`` ("filter"), or all of it ("layer"), to the norm of ``theta``'s, in place."""
    whole = normalization == "layer" or theta.ndim < 2
    axes = tuple(range(theta.ndim)) if whole else tuple(range(1, theta.ndim))
    mine: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    wanted: Tensor = torch.linalg.vector_norm(theta, dim=axes, keepdim=True)
    return direction.mul_(wanted.div(mine.clamp_min(torch.finfo(mine.dtype).tiny)))


def gaussian(theta: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers shaped like θ, the same for every dtype and device.

    Drawn in float64 a piece at a time, so that a large layer needs no second copy.
    """
    flat = torch.empty(theta.numel(), dtype=theta.dtype, device=theta.device)
    for piece in flat.split(1 << 17):
        piece.copy_(torch.randn(len(piece), generator=generator, dtype=torch.float64))
    return flat.view(theta.shape)


def eigenvectors(loss: Loss, count: int = 2, *, seed: int = 0, scale: float | None = None) -> list[Params]:
    """The Hessian's top eigenvectors as directions: where the loss is sharpest.

    Args:
        loss: gives θ and the Hessian.
        count: how many.
        seed: of the Lanczos start.
        scale: norm of each direction; ‖θ‖ when not given, so that spans compare with other planes.
    """
    from .. import curvature

    wanted = None if scale is None else check.positive("scale", scale)
    found = curvature.top_eigenvalues(loss, k=count, vectors=True, seed=seed)
    norm = float(norm_of(loss.params)) if wanted is None else wanted
    return [
        {name: check.finite(f"scale {norm:g} times the eigenvector", part * norm) for name, part in vector.items()}
        for vector in found.vectors
    ]


def parameter_names(loss: Loss, params: str | Sequence[str] | None) -> list[str]:
    """Names of the parameters that a block name, a parameter name or a list of names stands for."""
    if params is None:
        return list(loss.params)
    blocks = loss.blocks
    asked = [params] if isinstance(params, str) else check.listed("params", params)
    names: list[str] = []
    for item in asked:
        check.instance("a block or parameter in params", item, str)
        if item in blocks:
            names += blocks[item]
        elif f"encoders.{item}" in blocks:  # a modality stands for its encoder
            names += blocks[f"encoders.{item}"]
        else:
            inside = [name for name in loss.params if name.startswith(f"{item}.")]
            names += inside or [check.one_of("block or parameter", item, [*blocks, *loss.params])]
    return list(dict.fromkeys(names))


def norm_of(params: Mapping[str, Tensor]) -> Tensor:
    """‖θ‖ over all parameters, float64."""
    parts = [torch.linalg.vector_norm(p).double() for p in params.values()]
    total: Tensor = torch.linalg.vector_norm(torch.stack(parts))
    return total
