"""Lanczos with full double reorthogonalisation: leading eigenpairs of a symmetric operator.

The basis is orthonormal to rounding, so the projected matrix is computed, not assumed
tridiagonal. That makes restarts and fixed vectors a matter of a few lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

MatVec = Callable[[Tensor], Tensor]
Score = Callable[[np.ndarray], np.ndarray]

# Basis vectors held in memory, in bytes; beyond that the basis is compressed to its best Ritz vectors (ours).
BASIS_BYTES = 1 << 30

# Steps of a second look from a new start. One start vector sees a repeated eigenvalue once only;
# ten steps find what stands out of the bulk by a fifth of its width (Chebyshev: cosh(9 · .87) ≈ 1200; ours).
LOOK = 10


class Krylov:
    """An orthonormal basis V, the projection VᵀAV, and the vector that sticks out.

    Args:
        matvec: v -> A v, symmetric.
        start: (n,) start vector; made orthogonal to ``fixed`` and to unit norm.
        fixed: (l, n) orthonormal vectors that the basis keeps clear of.
        capacity: most basis vectors.
    """

    def __init__(self, matvec: MatVec, start: Tensor, fixed: Tensor, capacity: int) -> None:
        self.matvec = matvec
        self.fixed = len(fixed)
        self.capacity = min(capacity, len(start) - self.fixed)
        self.steps = 0
        self.sticks_out = 0.0
        self._rows = torch.empty(self.fixed + self.capacity + 1, len(start), dtype=start.dtype, device=start.device)
        self._rows[: self.fixed] = fixed
        self._table = np.zeros((self.capacity, self.capacity))
        start = start / start.norm()
        self._clear(start, self.fixed)
        self._rows[self.fixed] = start / start.norm()

    def _clear(self, vector: Tensor, count: int) -> Tensor:
        """Take the first ``count`` rows out of ``vector``, twice and in place; return what was taken."""
        rows = self._rows[:count]
        taken = torch.zeros(count, dtype=vector.dtype, device=vector.device)
        for _ in range(2):  # twice is enough (Parlett)
            part = rows @ vector
            vector.addmv_(rows.T, part, alpha=-1)
            taken += part
        return taken

    def step(self) -> None:
        """One product: the basis grows by one vector."""
        count = self.fixed + self.steps + 1
        vector = self.matvec(self._rows[count - 1]).clone()
        column = self._clear(vector, count)[self.fixed :].double().cpu().numpy()
        self._table[: self.steps + 1, self.steps] = self._table[self.steps, : self.steps + 1] = column
        self.sticks_out = float(vector.norm())
        self.steps += 1
        if not self.complete:
            self._rows[count] = vector / self.sticks_out

    @property
    def complete(self) -> bool:
        """Whether A maps the basis into itself (and ``fixed``), to rounding."""
        if self.fixed + self.steps == self._rows.shape[1]:
            return True
        scale = np.abs(self._table[: self.steps, : self.steps]).sum(1).max(initial=0.0)
        return self.sticks_out <= torch.finfo(self._rows.dtype).eps ** 0.75 * float(scale)

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values θ, coordinates Y of the Ritz vectors, and residual norms ‖A Vy - θ Vy‖."""
        theta, coordinates = np.linalg.eigh(self._table[: self.steps, : self.steps])
        residual = np.zeros(self.steps) if self.complete else self.sticks_out * np.abs(coordinates[-1])
        return theta, coordinates, residual

    def vectors(self, coordinates: np.ndarray) -> Tensor:
        """Ritz vectors (m, n) for coordinates (steps, m)."""
        rows = self._rows[self.fixed : self.fixed + self.steps]
        return torch.as_tensor(coordinates.T.copy(), dtype=rows.dtype, device=rows.device) @ rows

    def compress(self, keep: np.ndarray) -> None:
        """Keep only the Ritz vectors with these indices, and go on from there (thick restart)."""
        theta, coordinates, _ = self.ritz()
        sticking = self._rows[self.fixed + self.steps].clone()
        self._rows[self.fixed : self.fixed + len(keep)] = self.vectors(coordinates[:, keep])
        self._rows[self.fixed + len(keep)] = sticking
        self._table[:] = 0
        self._table[: len(keep), : len(keep)] = np.diag(theta[keep])
        self.steps = len(keep)


@dataclass(eq=False)
class Eigenpairs:
    """The best pairs so far, best first."""

    values: np.ndarray
    vectors: Tensor
    residuals: np.ndarray
    errors: np.ndarray
    converged: bool = False
    products: int = field(default=0)


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
) -> Eigenpairs:
    """The k eigenpairs of largest ``score(eigenvalue)``.

    Look from a random start until the k best Ritz values are within tolerance; then look again
    from other starts, clear of what was found, until nothing better turns up. The later looks
    find repeated eigenvalues.
    """
    generator = torch.Generator().manual_seed(seed)
    item = torch.finfo(dtype).bits // 8
    capacity = max(2 * k + 20, min(max_products, BASIS_BYTES // (item * size)))
    best = Eigenpairs(np.zeros(0), torch.empty(0, size, dtype=dtype, device=device), np.zeros(0), np.zeros(0))
    products, settled = 0, False
    while not settled and products < max_products and len(best.values) < size:
        start = torch.randn(size, generator=generator, dtype=dtype).to(device)
        krylov = Krylov(matvec, start, best.vectors, capacity)
        found, spent = _look(krylov, best, k, score, tol, max_products - products)
        products += spent
        settled = len(best.values) == k and len(found.values) == 0
        best = _merge(best, found, k, score)
    scale = np.abs(best.values).max(initial=0.0)
    best.converged = len(best.values) == k and bool(np.all(best.errors <= _allowed(best.values, tol, scale, dtype)))
    best.products = products
    return best


def _look(
    krylov: Krylov, known: Eigenpairs, k: int, score: Score, tol: float, max_products: int
) -> tuple[Eigenpairs, int]:
    """Run Lanczos until every Ritz value that is better than what is known has converged."""
    first = len(known.values) < k
    at_least = k + 1 if first else LOOK
    products = 0
    while True:
        krylov.step()
        products += 1
        out_of_budget = products >= max_products
        if not (products >= at_least or krylov.complete or out_of_budget):
            continue
        theta, coordinates, residual = krylov.ritz()
        order = np.argsort(-score(theta), kind="stable")
        scale = max(np.abs(theta).max(), np.abs(known.values).max(initial=0.0))
        best = order[:k]
        if not first:
            floor = known.values[-1]
            margin = _allowed(floor, tol, scale, krylov._rows.dtype)
            best = best[score(theta[best]) > score(floor) + margin]
        errors = _errors(theta, residual, known, tol)
        done = bool(np.all(errors[best] <= _allowed(theta[best], tol, scale, krylov._rows.dtype)))
        if done or krylov.complete or out_of_budget:
            found = Eigenpairs(theta[best], krylov.vectors(coordinates[:, best]), residual[best], errors[best])
            return found, products
        if krylov.steps == krylov.capacity:
            krylov.compress(np.sort(order[: k + (krylov.capacity - k) // 3]))


def _errors(theta: np.ndarray, residual: np.ndarray, known: Eigenpairs, tol: float) -> np.ndarray:
    """Bound of |θ - λ|: the residual ρ, or Σρ²/gap with the sum over Ritz values that are equal within ``tol``.

    The gap is the distance to the next Ritz value (Parlett, The symmetric eigenvalue problem, ch. 11).
    """
    everything = np.concatenate([theta, known.values])
    squares = np.concatenate([residual, known.residuals]) ** 2
    distance = np.abs(theta[:, None] - everything[None])
    together = distance <= tol * np.abs(theta)[:, None]
    together[np.arange(len(theta)), np.arange(len(theta))] = True
    gap = np.where(together, np.inf, distance).min(1)
    quadratic = np.where(together, squares, 0).sum(1) / np.maximum(gap, np.finfo(float).tiny)
    return np.minimum(residual, quadratic)


def _allowed(values: np.ndarray, tol: float, scale: float, dtype: torch.dtype) -> np.ndarray:
    """Tolerated error: relative to each value, but no smaller than rounding and ``tol``² of the largest."""
    return np.maximum(tol * np.abs(values), max(10 * torch.finfo(dtype).eps, tol**2) * scale)


def _merge(known: Eigenpairs, found: Eigenpairs, k: int, score: Score) -> Eigenpairs:
    values = np.concatenate([known.values, found.values])
    best = np.argsort(-score(values), kind="stable")[:k]
    return Eigenpairs(
        values[best],
        torch.cat([known.vectors, found.vectors])[torch.as_tensor(best, device=known.vectors.device)],
        np.concatenate([known.residuals, found.residuals])[best],
        np.concatenate([known.errors, found.errors])[best],
    )
