"""The trace of a curvature, from products with random signs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...losses import Loss
from ...utils import checks as check
from ...utils.factors import orthonormal
from ...utils.memory import require
from ...utils.shapes import Float
from ...utils.torch_state import full_precision, wide
from .matrices import operator_of
from .operator import TOGETHER, Operator


@dataclass(frozen=True, eq=False)
class Trace:
    """Trace of a Hessian or its like, with the standard error of the estimate.

    Attributes:
        value: tr H.
        stderr: standard error over probes; 0 where the trace is exact.
        samples: (probes,) single estimates, whose mean is ``value``.
        hvps: matrix-vector products spent.
        names: the parameters of the block.
    """

    value: float
    stderr: float
    samples: Float[Tensor, " probes"]
    hvps: int
    names: tuple[str, ...] = field(repr=False)


def trace(
    loss: Loss | Operator,
    *,
    probes: int = 100,
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
    of: str | None = None,
    method: str = "hutchinson",
) -> Trace:
    """The trace from products with random signs; exact where n ≤ probes.

    "hutchinson": tr H = E vᵀHv, with a standard error that falls as probes^-½. "hutch++" (Meyer et al. 2021) spends a
    third of the products on the range Q of H S, takes tr QᵀHQ exactly and estimates (I - QQᵀ)H(I - QQᵀ) alone:
    far better where few eigenvalues make the trace, as in trained nets, and unbiased for any symmetric H.

    Args:
        loss: a loss, or the operator that :func:`hessian`, :func:`ggn` or :func:`fisher` made of it.
        probes: random vectors, at least 2 (100 as in PyHessian); for "hutch++" products, at least 6.
        seed: of the probes.
        params, dtype: as in :func:`hessian`.
        of: "hessian" (when not given), "ggn" or "fisher".
        method: "hutchinson" or "hutch++"; the latter holds probes / 3 vectors.

    Returns:
        ``value`` and its ``stderr``, with the single estimates.

    Raises:
        ValueError: as :func:`hessian`; too few probes, vectors that do not fit into memory.
    """
    check.one_of("method", method, ("hutchinson", "hutch++"))
    probes = check.integer("probes", probes, at_least=2 if method == "hutchinson" else 6)
    operator = operator_of(loss, params, dtype, of)
    before, n = operator.products, operator.size
    if n <= probes:
        samples = torch.diagonal(operator.dense()).sum()[None]
        stderr = 0.0
    else:
        generator = torch.Generator().manual_seed(check.integer("seed", seed))
        samples = _hutchinson(operator, probes, generator) if method == "hutchinson" else _hutchpp(
            operator, probes, generator
        )  # fmt: skip
        stderr = float(samples.std() / math.sqrt(len(samples)))
    return Trace(float(samples.mean()), stderr, samples, operator.products - before, operator.names)


def _signs(operator: Operator, count: int, generator: torch.Generator) -> Tensor:
    """(count, n) random signs."""
    drawn = [torch.randint(0, 2, (operator.size,), generator=generator).mul_(2).sub_(1) for _ in range(count)]
    return torch.stack(drawn).to(operator.dtype).to(operator.device)


def _quadratic(operator: Operator, vectors: Tensor) -> Tensor:
    """vᵀAv of each row of ``vectors``, on the CPU."""
    vectors, products = wide(vectors), wide(operator.many(vectors))
    return torch.stack([torch.dot(v, p) for v, p in zip(vectors, products, strict=True)]).cpu().double()


def _hutchinson(operator: Operator, probes: int, generator: torch.Generator) -> Tensor:
    at_once = 1 if operator.device.type == "cpu" else TOGETHER
    counts = [len(part) for part in torch.arange(probes).split(at_once)]
    return torch.cat([_quadratic(operator, _signs(operator, count, generator)) for count in counts])


@full_precision()
def _hutchpp(operator: Operator, products: int, generator: torch.Generator) -> Tensor:
    """One estimate for each probe of what is left beside the range of A S, whose part is exact."""
    rank = min(products // 3, operator.size)
    needed = 3 * rank * operator.size * operator.dtype.itemsize
    require(
        f"hutch++ with {rank} vectors of {operator.size}", needed, "take fewer probes, or hutchinson", operator.device
    )
    at_once = 1 if operator.device.type == "cpu" else TOGETHER
    sketch = torch.cat([operator.many(part) for part in _signs(operator, rank, generator).split(at_once)])
    basis = orthonormal(sketch)[0]  # (rank, n)
    exact = torch.cat([_quadratic(operator, part) for part in basis.split(at_once)]).sum()
    found = []
    for count in [len(part) for part in torch.arange(products - 2 * rank).split(at_once)]:
        drawn = _signs(operator, count, generator)
        for _ in range(2):  # clear of the basis to rounding
            drawn = drawn - (drawn @ basis.T) @ basis
        found.append(exact + _quadratic(operator, drawn))
    return torch.cat(found)
