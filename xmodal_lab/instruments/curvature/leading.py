"""The leading eigenpairs of a symmetric operator: looks from new starts, until nothing better turns up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...utils.factors import eigh
from ...utils.memory import SMALL, free_bytes, out_of_memory, require
from ...utils.torch_state import full_precision, norm64
from .block_lanczos import BlockKrylov, breadth
from .lanczos import Array, Krylov, MatVec, mixed

Score = Callable[[Array], Array]

# Basis vectors held in memory, in bytes; beyond that the basis is compressed to its best Ritz vectors (ours). More than
# the k that are looked for there are in any case: with eight, restarts cost a third more products or so. Where memory
# does not hold them it does with four; a restart has to keep some, and to get somewhere.
BASIS_BYTES, LEAST_ROOM, TIGHT_ROOM = 1 << 30, 8, 4
# Vectors that stand beside the basis: θ, its gradient, and a product, which comes in parts first (measured).
BESIDE = 4
# Least steps of the first look (more than k) and of the later ones (ours).
FIRST_LOOK, LATER_LOOK = 8, 4
# Chance that a later look ends although something better is there (ours). Its best interval θ ± residual holds *an*
# eigenvalue, not the best; but what the steps have not seen is only a small share of the start, and a random start has
# a smaller share of a given direction with about this probability.
MISSED = 0.01
# By how much of what is allowed the value of a missed eigenvector may fall where later looks keep clear of further Ritz
# vectors too; how many of those at most (ours).
SHIFT, MOST_BESIDE = 0.1, 16
# By how much a first look is held to less, where what it took for eigenvectors turned out to be mixtures (ours).
FINER = 0.1


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
    from other starts, clear of what was found, until nothing better turns up and hardly anything can have been missed.
    The later looks find repeated eigenvalues, and those to which the first start happened to be nearly orthogonal: it
    takes what is between two eigenvectors for one. The next one keeps clear of what the first knows well besides the k:
    each outlier would cost it a product or two to see again. With ``many``, (m, n) -> A v for each of m rows at once,
    it goes block by block; a block of k vectors sees an eigenvalue as often as it counts, so that one look does.

    Raises:
        ValueError: the basis does not fit into memory.
    """
    generator = torch.Generator().manual_seed(seed)
    capacity, block = capacity_for(size, k, max_products, dtype, device, many is not None)
    store = _store(size, k, capacity, block, dtype, device)
    best = beside = _nothing(store)
    most_beside = min(MOST_BESIDE, (capacity - k - LEAST_ROOM) // 3) if block == 1 else 0  # they lie among the rows
    products, finer, settled = 0, 1.0, False
    while not settled and products < max_products and len(best.values) < size:
        start, near = [_starts(store, block, generator, near)], None  # it goes once the basis has it
        first = len(best.values) < k
        # The basis goes with the look: no second one beside it.
        found, rest = _look(_begun(matvec, start.pop(), best, beside, store, unlooked, many), best, beside, k, score,
                            tol * finer if first else tol, max_products - products, most_beside)  # fmt: skip
        products += found.products
        if first:
            best, beside = _merged(store, best, found, k, score), rest
            settled = 1 < block >= k == len(best.values)
            continue
        beside = _dropped(store, best, beside, found, rest)
        if not len(found.values):
            settled, spent = _confirmed(matvec, best, rest, tol, max_products - products)
            products += spent
        if settled:
            break
        if max_products - products < max(FIRST_LOOK, 2 * k) + 2 * len(found.values):  # as they are, by their own bounds
            best = _merged(store, best, found, k, score)
            break
        # What was known may be mixtures of eigenvectors with what turned up beside them.
        if len(found.values):
            best = _resolved(matvec, store, best, found, k, score, tol)
            products += best.products
        else:  # a longer look from all of them tells them apart
            near, best = store[: k + len(rest.values)].sum(0), _nothing(store)
            finer *= FINER
    within = best.errors <= _allowed(best.values, tol, best.scale, dtype)
    best.converged = len(best.values) == k and bool(within.all())
    best.errors = np.maximum(best.errors, torch.finfo(dtype).eps * best.scale)
    best.products = products
    return best


def _nothing(store: Tensor) -> Eigenpairs:
    return Eigenpairs(np.zeros(0), store[:0], np.zeros(0), np.zeros(0))


def _starts(store: Tensor, block: int, generator: torch.Generator, near: Tensor | None) -> Tensor:
    """(block, n) random vectors, the first of them ``near`` where that is given and not 0."""
    if near is not None and block == 1 and float(norm64(near)) > 0:
        torch.randn(store.shape[1], generator=generator, dtype=store.dtype)  # later looks start where they would have
        return near.to(store)[None]
    drawn = [torch.randn(store.shape[1], generator=generator, dtype=store.dtype) for _ in range(block)]
    starts = (torch.stack(drawn) if block > 1 else drawn[0][None]).to(store.device)
    if near is not None and float(norm64(near)) > 0:
        starts[0] = near.to(starts)
    return starts


def _known_well(theta: Array, residual: Array, rest: Any, floor: Array, allowed: Array, score: Score, most: int) -> Any:
    """Which of the Ritz pairs ``rest``, with scores below ``floor``, later looks may keep clear of, ``most`` of them.

    Let ρ be their residuals r, and γ how far below the floor, from which on an eigenvalue would be missed, their scores
    are. An eigenvector w of a score λ above it has yᵀw = rᵀw/(λ - θ) with each Ritz vector y, at most ρ/γ. Of w a share
    of 1 - Σρ²/γ² or more is thus clear of all of them, and has the score λ - Σρ²/γ/(1 - Σρ²/γ²) or more: nothing hides.
    """
    gap = floor - score(theta[rest])
    by = np.argsort(residual[rest] ** 2 / gap, kind="stable")
    shift, share = (np.cumsum(residual[rest][by] ** 2 / gap[by] ** power) for power in (1, 2))
    return rest[np.sort(by[(shift <= SHIFT / 2 * allowed) & (share <= 1 / 2)])[: max(0, most)]]


def _dropped(store: Tensor, known: Eigenpairs, beside: Eigenpairs, found: Eigenpairs, rest: Eigenpairs) -> Eigenpairs:
    """Nothing is left ``beside``: in ``store`` what was found comes right behind the known, as others expect it."""
    count = len(found.values)
    if len(beside.values):
        at = len(known.values)
        for i in range(at, at + count + len(rest.values)):
            store[i] = store[i + len(beside.values)]
        found.vectors, rest.vectors = store[at : at + count], store[at + count : at + count + len(rest.values)]
    return _nothing(store)


def _confirmed(matvec: MatVec, known: Eigenpairs, rest: Eigenpairs, tol: float, max_products: int) -> tuple[bool, int]:
    """Whether the known are within tolerance beside the best of the rest that another look has seen; and products.

    That one was seen clear of them, so that the two may be coupled by all of a residual, however near they are; where
    that would be too much, a product tells by how much they are.
    """
    dtype = known.vectors.dtype
    if not len(rest.values):
        return True, 0
    gap = np.maximum(np.abs(known.values - rest.values[0]), np.finfo(float).tiny)
    coupled = known.residuals
    for measured in range(1 + (max_products > 0)):
        if measured:
            with full_precision():
                coupled = (known.vectors @ matvec(rest.vectors[0])).abs().cpu().double().numpy()
        errors = np.maximum(known.errors, np.minimum(coupled, coupled**2 / gap))
        if (errors <= _allowed(known.values, tol, known.scale, dtype)).all():
            known.errors = errors
            return True, measured
    return False, measured


def _resolved(
    matvec: MatVec, store: Tensor, known: Eigenpairs, found: Eigenpairs, k: int, score: Score, tol: float
) -> Eigenpairs:
    """The k best Ritz pairs in the span of the known and the found, which ``store`` begins with, by products with each.

    The products are kept where ``store`` has room for them, and made again of the Ritz vectors where it has none.
    """
    count = len(known.values) + len(found.values)
    vectors, kept = store[:count], 2 * count <= len(store)
    table = torch.zeros(count, count, dtype=torch.float64)
    with full_precision():
        for j in range(count):
            product = matvec(vectors[j])
            table[:, j] = (vectors @ product).cpu().double()
            if kept:
                store[count + j] = product
        values, columns = eigh((table + table.T) / 2)
        order = np.argsort(-score(values.numpy()), kind="stable")
        theta, turn = values.numpy()[order], columns.numpy()[:, order]
        mixed(vectors, turn)
        products = mixed(store[count : 2 * count], turn) if kept else map(matvec, vectors)
        pairs = zip(products, vectors, theta, strict=True)
        residuals = np.array([float(norm64(product - float(value) * vector)) for product, vector, value in pairs])
    errors = _errors(theta, residuals, _nothing(store), tol)
    scale, spent = max(float(np.abs(theta).max()), found.scale), count if kept else 2 * count
    return Eigenpairs(theta[:k], vectors[:k], residuals[:k], errors[:k], scale, spent)


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
    left = free_bytes(device) if vector * (capacity + BESIDE) > SMALL else None
    if left is not None and block == 1:
        capacity = min(capacity, max(k + TIGHT_ROOM, left // vector - 1 - BESIDE))
    held = min(capacity + block, size) + BESIDE * block
    require(
        f"a look for {k} eigenvalues among {size}, which holds {held} vectors ({vector / 1e9:.3g} GB each),",
        held * vector, "ask for fewer, or for one block at a time (params=…, curvature.by_block)", device,
    )  # fmt: skip
    return capacity, block


def _store(size: int, k: int, capacity: int, block: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Rows for the basis of every look, and what was found before it; fewer where memory runs out."""
    while True:
        try:
            return torch.empty(min(capacity, size) + block, size, dtype=dtype, device=device)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or capacity <= k + TIGHT_ROOM:
                raise
            capacity = max(k + TIGHT_ROOM, capacity // 2)


def _begun(
    matvec: MatVec, starts: Tensor, known: Eigenpairs, beside: Eigenpairs, store: Tensor, unlooked: MatVec | None,
    many: MatVec | None,
) -> Krylov:  # fmt: skip
    """A run from ``starts`` (b, n) clear of what is known, in what is left of the ``store`` that begins with it."""
    fixed = store[: len(known.values) + len(beside.values)]
    capacity = len(store) - len(starts) - len(fixed)
    if many is None or len(starts) == 1:
        return Krylov(matvec, starts[0], fixed, capacity, known.scale, unlooked, store)
    return BlockKrylov(matvec, many, starts, fixed, capacity, known.scale, store)


def _basis_bytes(device: torch.device) -> int:
    """Bytes that a basis may take; on an accelerator at most half of what is left there: products need the rest."""
    left = None if device.type == "cpu" else free_bytes(device)
    return BASIS_BYTES if left is None else min(BASIS_BYTES, left // 2)


def _look(
    krylov: Krylov, known: Eigenpairs, beside: Eigenpairs, k: int, score: Score, tol: float, max_products: int,
    most_beside: int,
) -> tuple[Eigenpairs, Eigenpairs]:  # fmt: skip
    """What a Lanczos run clear of the ``known`` pairs, and of those ``beside``, finds that is better than they are.

    And of the rest: the best one; after a first look those, ``most_beside`` at most, that the next may keep clear of.
    """
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
            allowed = _allowed(known.values[-1:], tol, scale, krylov.dtype)
            floor = score(known.values[-1:]) + allowed * (1 - SHIFT * (len(beside.values) > 0))
            best = best[score(theta[best]) > floor]
            undecided = len(best) == 0 and (
                bool(score(theta[order[:1]]) + residual[order[:1]] > floor)
                or _may_be_missed(krylov, float(floor[0]), score)
            )
        errors = _errors(theta, residual, known, tol)
        within = np.all(errors[best] <= _allowed(theta[best], tol, scale, krylov.dtype))
        if last or (within and not undecided):
            break
        if krylov.steps == krylov.capacity:
            krylov.compress(np.sort(order[: _kept(k if first else len(best), krylov.capacity)]))

    rest = order[len(best) : len(best) + 1]
    if first:
        allowed = _allowed(theta[best[-1:]], tol, scale, krylov.dtype)
        alone = len(best) == k and not len(known.values)
        floor = score(theta[best[-1:]]) + allowed
        rest = _known_well(theta, residual, order[k:], floor, allowed, score, most_beside if alone else 0)
    if len(beside.values):  # what sticks out towards those was cleared away
        residual = np.hypot(residual, np.linalg.norm(beside.residuals))
        errors = np.maximum(errors, _errors(theta, residual, known, tol))
    vectors = krylov.settle(coordinates[:, np.r_[best, rest]])

    def pairs(of: Any, rows: Tensor) -> Eigenpairs:
        return Eigenpairs(theta[of], rows, residual[of], errors[of], scale, products)

    return pairs(best, vectors[: len(best)]), pairs(rest, vectors[len(best) :])


def _kept(wanted: int, capacity: int) -> int:
    """Ritz vectors that a restart keeps: those ``wanted``, and a third of the rest of the basis."""
    return wanted + max(1, (capacity - wanted) // 3)


def _may_be_missed(krylov: Krylov, floor: float, score: Score) -> bool:
    """Whether an eigenvalue with a score above ``floor`` may well be there, all Ritz values being below.

    A random start in n dimensions has less than a share c of its squared length along a given direction with
    probability √(2nc/π) or so.
    """
    sides = [sign for sign in (1, -1) if score(np.array([sign * np.inf]))[0] > floor]
    share = max(krylov.unseen(floor, sign) for sign in sides)
    return share > MISSED**2 * np.pi / 2 / krylov.dimension


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


def _merged(store: Tensor, known: Eigenpairs, found: Eigenpairs, k: int, score: Score) -> Eigenpairs:
    """The k best of the known and the found, which ``store`` begins with, in place."""
    values = np.concatenate([known.values, found.values])
    best = np.argsort(-score(values), kind="stable")[:k]
    if (best != np.arange(len(best))).any():
        mixed(store[: len(values)], np.eye(len(values))[:, best])
    return Eigenpairs(
        values[best],
        store[: len(best)],
        np.concatenate([known.residuals, found.residuals])[best],
        np.concatenate([known.errors, found.errors])[best],
        found.scale,
    )
