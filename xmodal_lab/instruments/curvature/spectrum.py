"""Leading eigenvalues of a curvature, their eigenvectors as directions, and measurements block by block."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...losses import Direction, Loss, Params, as_loss
from ...losses.directions import norm_of, parameter_names
from ...losses.precision import widest
from ...utils import checks as check
from ...utils.factors import eigh, signs
from ...utils.shapes import Float
from .lanczos import Array
from .leading import capacity_for, leading
from .matrices import operator_of
from .operator import Operator

R = TypeVar("R")

# Up to this size the matrix is formed and solved exactly: as many products as a Lanczos run needs (ours).
DENSE = 128


_SCORES: dict[str, Callable[[Array], Array]] = {
    "largest": lambda values: values,
    "smallest": lambda values: -values,
    "magnitude": np.abs,
}


@dataclass(frozen=True, eq=False)
class Eigenvalues:
    """Leading eigenvalues of a Hessian or its like.

    Attributes:
        values: (k,) float64, signed; the order says ``which``.
        vectors: k unit-norm dicts shaped like the parameters, if asked for; else empty.
        errors: (k,) bounds of the distance to an eigenvalue: the residual, or residual²/gap where that is smaller.
        residuals: (k,) norms ‖Hv - λv‖.
        converged: whether every error is within the tolerance.
        hvps: matrix-vector products spent.
        which: "largest" (descending), "smallest" (ascending) or "magnitude" (descending absolute value).
        names: the parameters of the block.
        loss: L(θ); λ_max depends on it, so report both.
    """

    values: Float[Tensor, " k"]
    errors: Float[Tensor, " k"]
    residuals: Float[Tensor, " k"]
    converged: bool
    hvps: int
    which: str
    names: tuple[str, ...] = field(repr=False)
    loss: float
    vectors: tuple[Params, ...] = field(default=(), repr=False)

    @property
    def ratio(self) -> float:
        """λ* = λ_max / λ_5 (dml Tab 4); negative or infinite where λ_5 is not above zero.

        Raises:
            ValueError: fewer than five eigenvalues, or not the largest ones.
        """
        if self.which != "largest" or len(self.values) < 5:
            raise ValueError(
                f"λ* = λ_max/λ_5 needs the 5 largest eigenvalues, got {len(self.values)} of which={self.which!r}."
            )
        first, fifth = float(self.values[0]), float(self.values[4])
        return first / fifth if fifth else math.copysign(math.inf, first) if first else math.nan


def top_eigenvalues(
    loss: Loss | Operator,
    k: int = 5,
    which: str = "largest",
    *,
    tol: float = 1e-4,
    max_iterations: int = 300,
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    vectors: bool = False,
    dtype: torch.dtype | None = None,
    of: str | None = None,
    start: Sequence[Direction] = (),
) -> Eigenvalues:
    """The k leading eigenvalues of the Hessian, or of the matrix ``of`` names: λ₁ ≥ λ₂ ≥ …, signed.

    Lanczos with full double reorthogonalisation. It stops when residual²/gap says that an
    eigenvalue lies within ``tol`` of each value, then looks again from new starts, clear of what was found, for
    repeated eigenvalues and for any that the first start hid: until less than one look in a hundred would miss
    one, and no value is a mixture with what they see. (Where the k-th lies in a dense bulk, the eigenvalue so near may
    be the next one.)
    Where the matrix is small, or k near its size, it is formed and solved.
    Unlike power iteration, which returns the largest absolute value, this is right for an indefinite Hessian.

    Args:
        loss: a loss, or the operator that :func:`hessian`, :func:`ggn` or :func:`fisher` made of it.
        k: how many.
        which: "largest", "smallest" (most negative first) or "magnitude".
        tol: relative error of each value (1e-4: ours; PyHessian's 1e-3 compares successive steps instead).
        max_iterations: most Hessian-vector products (ours).
        seed: of the start vectors.
        params, dtype: as in :func:`hessian`.
        vectors: return the eigenvectors too.
        of: "hessian" (when not given), "ggn" or "fisher"; see :func:`ggn`, :func:`fisher`.
        start: directions near the eigenvectors, such as ``.vectors`` found at a neighbouring θ: the first look begins
            with their sum, which saves products where they are near. What is found, and its bounds, hold all the same.

    Returns:
        ``values`` (k,), with error bounds, whether they converged, and how many products were spent.

    Raises:
        ValueError: k below 1 or above the dimension; a basis of k + 4 vectors that does not fit into memory, with the
            number; as :func:`hessian`.

    Warns:
        RuntimeWarning: not converged; ``.errors`` says how far.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> bowl = xl.Loss(lambda p: (p["w"] ** 2 * torch.tensor([3.0, 1.0])).sum(), {"w": torch.ones(2)})
        >>> found = xl.curvature.top_eigenvalues(bowl, k=2)
        >>> [round(float(v), 4) for v in found.values], found.converged
        ([6.0, 2.0], True)
    """
    which = check.one_of("which", which, _SCORES)
    k = check.integer("k", k, at_least=1)
    tol = check.positive("tol", tol)
    max_iterations = check.integer("max_iterations", max_iterations, at_least=1)
    if isinstance(loss, Loss):  # before derivatives are looked at, which takes minutes where this does not fit
        _room(loss, params, dtype, k, max_iterations)
    operator = operator_of(loss, params, dtype, of)
    n = operator.size
    if k > n:
        raise ValueError(f"k = {k} eigenvalues were asked of {operator.called} of dimension {n}; ask for at most {n}.")
    before, near = operator.products, _sum_of(operator, start)
    if n <= DENSE or 4 * k >= n:
        matrix = operator.dense()
        spectrum, basis = eigh(matrix)
        best = np.argsort(-_SCORES[which](spectrum.numpy()), kind="stable")[:k]
        values, found = spectrum.numpy()[best], basis.T[torch.as_tensor(best)]
        residuals = (found @ matrix - torch.as_tensor(values)[:, None] * found).norm(dim=1).numpy()
        rounding = torch.finfo(operator.dtype).eps * float(spectrum.abs().max())
        errors, converged = np.maximum(residuals, rounding), True
    else:
        pairs = leading(
            operator.matvec,
            n,
            k,
            _SCORES[which],
            tol,
            max_iterations,
            seed,
            operator.dtype,
            operator.device,
            operator.product,
            near,
            operator.products_of if _in_blocks(operator, k) else None,
        )
        values, residuals, errors = pairs.values, pairs.residuals, pairs.errors
        found = pairs.vectors.clone() if vectors else pairs.vectors[:0]  # not the basis that they lie in
        converged = pairs.converged
    for vector in found:  # one at a time: they may be large
        vector *= signs(vector[:, None])
    result = Eigenvalues(
        values=torch.as_tensor(values),
        errors=torch.as_tensor(errors),
        residuals=torch.as_tensor(residuals),
        converged=converged,
        hvps=operator.products - before,
        which=which,
        names=operator.names,
        loss=operator.value,
        vectors=tuple(operator.as_dict(v.to(operator.device, operator.dtype)) for v in found) if vectors else (),
    )
    if not converged:
        warnings.warn(
            f"top_eigenvalues did not reach tol={tol:g} in {result.hvps} products: {len(values)} of {k} values, "
            f"error bounds up to {errors.max(initial=0.0):.2g}. Raise max_iterations or tol.",
            RuntimeWarning,
            stacklevel=2,
        )
    return result


def _room(loss: Loss, params: str | Sequence[str] | None, dtype: torch.dtype | None, k: int, most: int) -> None:
    """Refuse what does not fit into memory."""
    size = sum(loss.params[n].numel() for n in parameter_names(loss, params))
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):  # what is none is refused by hessian
        dtype = widest({loss.dtype})
    capacity_for(size, k, most, dtype, loss.device)


def _sum_of(operator: Operator, directions: Sequence[Direction]) -> Tensor | None:
    """The sum of some directions as a vector; None of none."""
    given = [check.mapping(f"start[{i}]", d, "tensors") for i, d in enumerate(check.listed("start", directions))]
    return torch.stack([operator.as_vector(d) for d in given]).sum(0) if given else None


def _in_blocks(operator: Operator, k: int) -> bool:
    """Whether several products are made at once: on CUDA, where torch has the factor that makes blocks orthonormal."""
    return k > 1 and operator.device.type == "cuda" and operator.goes_together()


def by_block(loss: Loss, measure: Callable[..., R], **options: Any) -> dict[str, R]:
    """One measurement per block of parameters: ``by_block(loss, top_eigenvalues, k=1)``.

    The Hessian of a block is the diagonal block of the whole one: one encoder, the fusion, the head.

    Args:
        loss: a loss; its ``blocks`` say which parameters belong together.
        measure: :func:`top_eigenvalues`, :func:`density`, :func:`trace`, or anything with ``params=``.
        options: handed to ``measure``.

    Returns:
        Name of the block -> what ``measure`` returned for it.
    """
    check.function("measure", measure, "of a loss, such as curvature.trace")
    return {block: measure(loss, params=block, **options) for block in as_loss(loss).blocks}


def eigenvectors(loss: Loss, count: int = 2, *, seed: int = 0, scale: float | None = None) -> list[Params]:
    """The Hessian's top eigenvectors as directions: where the loss is sharpest.

    Args:
        loss: gives θ and the Hessian.
        count: how many.
        seed: of the Lanczos start.
        scale: norm of each direction; ‖θ‖ when not given, so that spans compare with other planes.

    Returns:
        k directions of unit norm, each a dict shaped like the parameters, the sharpest first.
    """
    wanted = None if scale is None else check.positive("scale", scale)
    found = top_eigenvalues(loss, k=count, vectors=True, seed=seed)
    norm = float(norm_of(loss.params)) if wanted is None else wanted
    return [
        {name: check.finite(f"scale {norm:g} times the eigenvector", part * norm) for name, part in vector.items()}
        for vector in found.vectors
    ]
