"""The leading eigenpairs of a symmetric operator: looks from new starts, until nothing better turns up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...utils.memory import free_bytes, out_of_memory, require
from ...utils.torch_state import norm64
from .block_lanczos import BlockKrylov, breadth
from .lanczos import Array, Krylov, MatVec

Score = Callable[[Array], Array]

# Basis vectors held in memory, in bytes; beyond that the basis is compressed to its best Ritz vectors (ours). More than
# the k that are looked for there are in any case: with eight, restarts cost a third more products or so.
BASIS_BYTES, LEAST_ROOM = 1 << 30, 8
# Least steps of the first look (more than k) and of the later ones (ours). A later look ends when its best
# interval θ ± residual stays below what is known, so these are only there to let the start vector settle.
FIRST_LOOK, LATER_LOOK = 8, 4


@dataclass(eq=False)
class Eigenpairs:
    """The best pairs so far, best first; ``scale`` is the largest Ritz value seen, in absolute value."""

    values: Array
    vectors: Tensor
    residuals: Array
    errors: Array
    scale: float = 0.0
    products: int = 0
    converged: bool = False


def leading(
    matvec: MatVec,
    size: int,
    k: int,
    score: Score,
    tol: float,
    max_products: int,
    seed: int,
    dtype: torch.dtype,
    device: torch.device,
    unlooked: MatVec | None = None,
    near: Tensor | None = None,
    many: MatVec | None = None,
) -> Eigenpairs:
    """The k eigenpairs of largest ``score(eigenvalue)``.

    Look from a start, ``near`` or random, until the k best Ritz values are within tolerance; then look again
    from other starts, clear of what was found, until nothing better turns up. The later looks
    find repeated eigenvalues. With ``many``, (m, n) -> A v for each of m rows at once, it goes block by block; a block
    of k vectors sees an eigenvalue as often as it counts, so that one look does.

    Raises:
        ValueError: the basis does not fit into memory.
    """
    generator = torch.Generator().manual_seed(seed)
    capacity, block = capacity_for(size, k, max_products, dtype, device, many is not None)
    best = Eigenpairs(np.zeros(0), torch.empty(0, size, dtype=dtype, device=device), np.zeros(0), np.zeros(0))
    products, settled = 0, False
    while not settled and products < max_products and len(best.values) < size:
        starts = torch.stack([torch.randn(size, generator=generator, dtype=dtype) for _ in range(block)]).to(device)
        if near is not None and float(norm64(near)) > 0:
            starts[0], near = near.to(starts), None
        # The basis goes with the look: no second one beside it.
        found = _look(_begun(matvec, starts, best, k, capacity, unlooked, many), best, k, score, tol,
                      max_products - products)  # fmt: skip
        products += found.products
        settled = len(best.values) == k and len(found.values) == 0
        best = _merge(best, found, k, score)
        settled = settled or 1 < block >= k == len(best.values)
    within = best.errors <= _allowed(best.values, tol, best.scale, dtype)
    best.converged = len(best.values) == k and bool(within.all())
    best.errors = np.maximum(best.errors, torch.finfo(dtype).eps * best.scale)
    best.products = products
    return best


def capacity_for(
    size: int, k: int, most: int, dtype: torch.dtype, device: torch.device, blocks: bool = False
) -> tuple[int, int]:
    """How many basis vectors a look for k eigenvalues holds, of ``most`` that it could use; how many go at once.

    Raises:
        ValueError: those, with what stands beside them, do not fit into memory; with the number.
    """
    vector = torch.finfo(dtype).bits // 8 * size
    capacity = max(k + LEAST_ROOM, min(most, _basis_bytes(device) // max(1, vector)))
    block = breadth(k, capacity) if blocks else 1
    held = min(capacity + block, size) + 2 * k + 4 * block  # basis, what was found, and what one product needs
    require(
        f"a look for {k} eigenvalues among {size}, which holds {held} vectors ({vector / 1e9:.3g} GB each),",
        held * vector, "ask for fewer, or for one block at a time (params=…, curvature.by_block)", device,
    )  # fmt: skip
    return capacity, block


def _begun(
    matvec: MatVec, starts: Tensor, known: Eigenpairs, k: int, capacity: int, unlooked: MatVec | None,
    many: MatVec | None,
) -> Krylov:  # fmt: skip
    """A run from ``starts`` (b, n) clear of what is known; where memory runs out with a basis of half the size."""
    while True:
        try:
            if many is None or len(starts) == 1:
                return Krylov(matvec, starts[0], known.vectors, capacity, known.scale, unlooked)
            return BlockKrylov(matvec, many, starts, known.vectors, capacity, known.scale)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or capacity <= k + LEAST_ROOM:
                raise
            capacity = max(k + LEAST_ROOM, capacity // 2)


def _basis_bytes(device: torch.device) -> int:
    """Bytes that a basis may take; on an accelerator at most half of what is left there: products need the rest."""
    left = None if device.type == "cpu" else free_bytes(device)
    return BASIS_BYTES if left is None else min(BASIS_BYTES, left // 2)


def _look(krylov: Krylov, known: Eigenpairs, k: int, score: Score, tol: float, max_products: int) -> Eigenpairs:
    """What a Lanczos run clear of the ``known`` pairs finds that is better than they are."""
    first = len(known.values) < k
    at_least = max(FIRST_LOOK, k + 1) if first else LATER_LOOK
    products = 0
    while True:
        products += krylov.advance(max_products - products)
        last = krylov.complete or products >= max_products
        if products < at_least and not last:
            continue
        theta, coordinates, residual = krylov.ritz()
        scale = max(float(np.abs(theta).max()), known.scale)
        order = np.argsort(-score(theta), kind="stable")
        best, undecided = order[:k], False
        if not first:
            floor = score(known.values[-1:]) + _allowed(known.values[-1:], tol, scale, krylov.dtype)
            best = best[score(theta[best]) > floor]
            undecided = len(best) == 0 and bool(score(theta[order[:1]]) + residual[order[:1]] > floor)
        errors = _errors(theta, residual, known, tol)
        within = np.all(errors[best] <= _allowed(theta[best], tol, scale, krylov.dtype))
        if last or (within and not undecided):
            break
        if krylov.steps == krylov.capacity:
            krylov.compress(np.sort(order[: k + (krylov.capacity - k) // 3]))
    vectors = krylov.vectors(coordinates[:, best])
    return Eigenpairs(theta[best], vectors, residual[best], errors[best], scale, products)


def _errors(theta: Array, residual: Array, known: Eigenpairs, tol: float) -> Array:
    """Bound of |θ - λ|: the residual ρ, or Σρ²/gap with the sum over Ritz values that are equal within ``tol``.

    The gap is the distance to the next Ritz value (Parlett, The symmetric eigenvalue problem, ch. 11).
    """
    everything = np.concatenate([theta, known.values])
    squares = np.concatenate([residual, known.residuals]) ** 2
    distance = np.abs(theta[:, None] - everything[None])
    together = distance <= tol * np.abs(theta)[:, None]
    together[np.arange(len(theta)), np.arange(len(theta))] = True
    gap = np.where(together, np.inf, distance).min(1)
    known_gap = np.isfinite(gap)
    quadratic = np.where(together, squares, 0).sum(1) / np.where(known_gap, gap, 1)
    return np.where(known_gap, np.minimum(residual, quadratic), residual)


def _allowed(values: Array, tol: float, scale: float, dtype: torch.dtype) -> Array:
    """Tolerated error: relative to each value, but no smaller than rounding and ``tol``² of the largest."""
    return np.maximum(tol * np.abs(values), max(2 * torch.finfo(dtype).eps, tol**2) * scale)


def _merge(known: Eigenpairs, found: Eigenpairs, k: int, score: Score) -> Eigenpairs:
    if not len(found.values) or not len(known.values):  # no copies: they may be large
        one = known if len(known.values) else found
        return Eigenpairs(one.values, one.vectors, one.residuals, one.errors, found.scale)
    values = np.concatenate([known.values, found.values])
    best = np.argsort(-score(values), kind="stable")[:k]
    return Eigenpairs(
        values[best],
        torch.cat([known.vectors, found.vectors])[torch.as_tensor(best, device=known.vectors.device)],
        np.concatenate([known.residuals, found.residuals])[best],
        np.concatenate([known.errors, found.errors])[best],
        found.scale,
    )
