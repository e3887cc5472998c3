"""Factors that mathematics leaves free, made definite: the same on every processor and with every number of threads.

An eigenvector or a singular vector may change its sign, equal eigenvalues may turn their vectors into each other, and
of equal scores any may come first. Which one comes out is a matter of rounding, so of the processor and its threads.
Here each gets a rule, and everybody who factors a matrix or ranks scores comes here:

- sign: the entry of largest magnitude is positive, the first of those that equal it to rounding;
- equal eigenvalues: of their space, the directions nearest to coordinate axes, the axis that it holds most of first;
- directions in which the data have no extent are 0, not whatever rounding makes of them;
- equal scores: the first.

Factors are computed in float64 whatever comes in, so that what rounding leaves is far below float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .torch_state import full_precision, seeded, wide

Name = TypeVar("Name")

# Eigenvalues this near, as a share of the largest, are one (ours): rounding turns vectors of nearer ones by
# 1e-16 / 1e-10 = 1e-6 or more, above the rounding of float32.
SAME = 1e-10
# Directions with less extent than this share of the largest are none: the rounding of float32 data, whose squares
# float64 still holds (1e-14 > eps).
NOTHING = 1e-7
# Means of the same scores in another order differ by rounding, at most by this share of the largest (ours; 100 times
# that of float32).
EQUAL_SCORES = 1e-5
# Up to this size on the smaller side, axes are exact; beyond, sought in random directions (ours: half a minute).
EXACT = 4096


def signs(vectors: Tensor) -> Tensor:
    """The ±1, (..., k), by which columns (..., d, k) are multiplied to stand as the rule says; 1 for a column of 0."""
    magnitude = vectors.abs()
    # Half the digits: entries that are equal by symmetry differ by rounding, and it may not choose between them.
    near = magnitude >= magnitude.amax(-2, keepdim=True) * (1 - torch.finfo(vectors.dtype).eps ** 0.5)
    first = near.to(torch.uint8).argmax(-2, keepdim=True)
    return torch.where(vectors.gather(-2, first).squeeze(-2) < 0, -1.0, 1.0).to(vectors)


def oriented(vectors: Tensor) -> Tensor:
    """Columns (..., d, k) with the sign of the rule."""
    return vectors * signs(vectors)[..., None, :]


@full_precision()
def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (d,) in ascending order and eigenvectors (d, d), columns, of a symmetric matrix, in float64."""
    values, vectors = torch.linalg.eigh(wide(matrix.detach()))
    parts = [_settled(vectors[:, space], len(values)).flip(1) for space in _spaces(values, len(values))]
    return values, torch.cat(parts[::-1], 1) if parts else vectors


@full_precision()
def svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin U (n, k), s (k,) descending, V (d, k) with matrix = U diag(s) Vᵀ, in float64; V's signs by the rule."""
    u, s, vt = torch.linalg.svd(wide(matrix.detach()), full_matrices=False)
    turn = signs(vt.mT)
    return u * turn, s, vt.mT * turn


@full_precision()
def orthonormal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Q (b, n) of orthonormal rows and an upper triangle R (b, b) with ``rows``ᵀ = QᵀR, where the rows are.

    For those who need the span alone: signs are left free. Computed on the CPU for a device that is neither that nor
    CUDA: torch may have no such factor there.
    """
    there = rows if rows.device.type in ("cpu", "cuda") else rows.cpu()
    basis, triangle = torch.linalg.qr(there.T)
    return basis.T.to(rows.device), triangle.to(rows.device)


@full_precision()
def leading_axes(rows: Tensor, count: int) -> Tensor:
    """The ``count`` leading right singular vectors of ``rows`` (n, d), as columns (d, min(count, n, d)), in float64.

    Principal axes, for centred rows. Axes along which the rows have no extent are 0.
    """
    x = wide(rows.detach())
    n, d = x.shape
    count = min(count, n, d)
    if min(n, d) > EXACT:
        with seeded(0):  # the search starts at random; more directions than asked for make the last ones right
            axes = torch.svd_lowrank(x, min(count + 16, n, d), niter=8)[2][:, :count]
        return _with_extent(axes, (x @ axes).norm(dim=0))
    # Through the smaller of the two Gram matrices.
    values, vectors = torch.linalg.eigh(x @ x.T if n < d else x.T @ x)
    best = torch.cat([_settled(vectors[:, space], count) for space in _spaces(values, count)], 1)[:, :count]
    scaled = (x.T if n < d else x) @ best
    return _with_extent(scaled if n < d else best, scaled.norm(dim=0))


def principal_components(seen: Tensor, count: int) -> Callable[[Tensor], Tensor]:
    """Map (m, ...) inputs to their principal components (m, min(count, N, d)): centre and axes of ``seen`` (N, ...)."""
    flat = wide(seen.detach().flatten(1))
    centre = flat.mean(0)
    axes = leading_axes(flat - centre, count)
    return lambda x: ((wide(x.flatten(1)) - centre) @ axes).to(x)


def first_best(scores: Any, dim: str | None = None) -> Any:
    """Index of the largest along the last axis: the first of those that equal it to rounding; an int for one row.

    For scores that are means, where 0.8 and 0.8 differ in the last digit by the order of the sum. NaN is never best.
    With ``dim``, of a DataArray along that dimension, as a DataArray over the others.
    """
    if dim is not None:
        others = scores.isel({dim: 0}, drop=True)
        return others.copy(data=first_best(scores.transpose(..., dim).values))
    table = np.asarray(scores, dtype=np.float64)
    size = np.where(np.isfinite(table), np.abs(table), 0.0).max(-1, keepdims=True)
    table = np.where(np.isnan(table), -np.inf, table)
    best = table.max(-1, keepdims=True)
    found = (table >= best - EQUAL_SCORES * size).argmax(-1)
    return int(found) if found.ndim == 0 else found


def best_named(scores: Mapping[Name, Any]) -> Name:
    """The name with the largest mean score, by the rule of :func:`first_best`; NaN among a name's scores is left out.

    Args:
        scores: name -> its scores over seeds, or one number.
    """
    with warnings.catch_warnings():  # of a name whose every run diverged there is no mean, and it is never best
        warnings.simplefilter("ignore", RuntimeWarning)
        means = [float(np.nanmean(np.asarray(each, dtype=np.float64))) for each in scores.values()]
    return list(scores)[first_best(means)]


def top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of (n,) and their rows, largest first, equal ones in the order in which they stand."""
    values, rows = scores.sort(descending=True, stable=True)
    return values[:count], rows[:count]


def _spaces(values: Tensor, count: int) -> Iterator[slice]:
    """The columns of one eigenvalue each, of the ``count`` largest of ascending ``values``, from above."""
    edge, stop = SAME * float(values.abs().max()) if len(values) else 0.0, len(values)
    while stop > max(0, len(values) - count):
        start = stop - 1
        while start > 0 and float(values[start] - values[start - 1]) <= edge:
            start -= 1
        yield slice(start, stop)
        stop = start


def _settled(basis: Tensor, most: int) -> Tensor:
    """At most so many vectors of an orthonormal basis of the space of (d, k) that does not hang on the one given."""
    if basis.shape[1] == 1:
        return oriented(basis)
    left, found = basis @ basis.T, []
    for _ in range(min(basis.shape[1], most)):
        share = left.diagonal()
        first = int((share >= share.max() * (1 - torch.finfo(basis.dtype).eps ** 0.5)).to(torch.uint8).argmax())
        axis = left[:, first] / left[:, first].norm()  # of a projector's column, the diagonal entry is the largest
        found.append(axis)
        left = left - torch.outer(axis, axis @ left)
    return torch.stack(found, 1)


def _with_extent(axes: Tensor, extent: Tensor) -> Tensor:
    """Axes of length 1 with the sign of the rule, of length 0 where the rows have no extent along them."""
    return oriented(torch.nn.functional.normalize(axes, dim=0)) * (extent > NOTHING * extent.amax())
