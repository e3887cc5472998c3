"""Costs of moving one point to another, and the dtype in which they are counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...utils import checks as check
from ...utils.memory import require
from ...utils.points import floating, power_near, squared_distances
from ...utils.torch_state import full_precision

COSTS = ("cosine", "squared_euclidean")


@full_precision()
def cost_matrix(a: Any, b: Any, kind: str = "cosine") -> Tensor:
    """Cost of moving each token of ``a`` to each token of ``b``.

    ``cosine``: 1 - cos(a_p, b_q), which is ½‖â_p - b̂_q‖² on the sphere; norms below 1e-5 count
    as 1e-5, as in UNITER and ViLT. ``squared_euclidean``: ‖a_p - b_q‖².

    Args:
        a: (..., p, d) tokens.
        b: (..., q, d) tokens; leading sizes broadcast.
        kind: ``"cosine"`` or ``"squared_euclidean"``.

    Returns:
        (..., p, q), differentiable in both.

    NaN in a token is NaN in its row or column; the solvers refuse it unless a mask leaves that token out.

    Raises:
        ValueError: an unknown kind, no token on one side, different d or devices, more costs than memory holds.

    Source: wma Sec 3.2 leaves C open ("manually defined"); the cosine is UNITER's.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> tokens = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> xl.transport.cost_matrix(tokens, tokens)
        tensor([[0., 1.],
                [1., 0.]])
    """
    check.one_of("cost", kind, COSTS)
    a, b = _tokens("a", a), _tokens("b", b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"tokens of a have {a.shape[-1]} numbers each, tokens of b {b.shape[-1]}; "
            "project both into one space first."
        )
    try:
        leading = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except RuntimeError:
        raise ValueError(
            f"the leading sizes of a and b must broadcast, got shapes {tuple(a.shape)} and {tuple(b.shape)}."
        ) from None
    check.one_device(a=a, b=b)
    dtype = torch.promote_types(a.dtype, b.dtype)
    cells = leading.numel() * a.shape[-2] * b.shape[-2]
    require(
        f"a cost matrix of shape {(*leading, a.shape[-2], b.shape[-2])}", 3 * cells * dtype.itemsize,
        "take fewer tokens or samples at a time", a.device,
    )  # fmt: skip
    a, b = a.to(dtype), b.to(dtype)
    if kind == "cosine":
        # Tokens of huge numbers are made smaller first, since squares overflow.
        a, b = (x / power_near(x).clamp_min(1) for x in (a, b))
        return 1 - F.normalize(a, dim=-1, eps=1e-5) @ F.normalize(b, dim=-1, eps=1e-5).transpose(-1, -2)
    return squared_distances(a, b)


def _tokens(what: str, value: Any) -> Tensor:
    tokens = floating(what, value)
    if tokens.ndim < 2:
        raise ValueError(f"{what} must have shape (..., tokens, d), got {tuple(tokens.shape)}.")
    if 0 in tokens.shape:
        raise ValueError(f"{what} is empty, shape {tuple(tokens.shape)}; every set needs at least one token.")
    return tokens
