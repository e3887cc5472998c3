"""Lanczos with full double reorthogonalisation: leading eigenpairs of a symmetric operator.

The basis is orthonormal to rounding, so the projected matrix is computed, not assumed
tridiagonal. That makes restarts and fixed vectors a matter of a few lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...utils.memory import free_bytes, require
from ...utils.torch_state import full_precision, norm64

Array = NDArray[np.float64]
MatVec = Callable[[Tensor], Tensor]
Score = Callable[[Array], Array]

# Basis vectors held in memory, in bytes; beyond that the basis is compressed to its best Ritz vectors (ours). More than
# the k that are looked for there are in any case: with eight, restarts cost a third more products or so.
BASIS_BYTES, LEAST_ROOM = 1 << 30, 8
# Columns of the basis that are compressed at once: no second basis beside the first (ours).
_COLUMNS = 1 << 18

# Least steps of the first look (more than k) and of the later ones (ours). A later look ends when its best
# interval θ ± residual stays below what is known, so these are only there to let the start vector settle.
FIRST_LOOK, LATER_LOOK = 8, 4
# Steps between two looks on a GPU, for which the host waits (ours).
UNLOOKED = 5


class Krylov:
    """An orthonormal basis V, the projection VᵀAV, and the vector that sticks out.

    Args:
        matvec: v -> A v, symmetric.
        start: (n,) start vector; made orthogonal to ``fixed`` and to unit norm.
        fixed: (l, n) orthonormal vectors that the basis keeps clear of.
        capacity: most basis vectors.
        scale: size of A's eigenvalues, if known; what sticks out by less than rounding of it is noise.
        unlooked: ``matvec`` without a look at what comes out, for which the host would wait.
    """

    def __init__(
        self, matvec: MatVec, start: Tensor, fixed: Tensor, capacity: int, scale: float = 0.0,
        unlooked: MatVec | None = None,
    ) -> None:  # fmt: skip
        self.matvec = matvec
        self.unlooked = unlooked or matvec
        self.scale = scale
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

    @full_precision()
    def _clear(self, vector: Tensor, count: int) -> Tensor:
        """Take the first ``count`` rows out of ``vector``, twice and in place; return what was taken."""
        rows = self._rows[:count]
        taken = torch.zeros(count, dtype=vector.dtype, device=vector.device)
        for _ in range(2):  # twice is enough (Parlett)
            part = rows @ vector
            vector.addmv_(rows.T, part, alpha=-1)
            taken += part
        return taken

    @full_precision()
    def step(self) -> None:
        """One product: the basis grows by one vector."""
        count = self.fixed + self.steps + 1
        vector = self.matvec(self._rows[count - 1]).clone()
        column = self._clear(vector, count)[self.fixed :].cpu().double().numpy()
        self._table[: self.steps + 1, self.steps] = self._table[self.steps, : self.steps + 1] = column
        self.sticks_out = float(norm64(vector))
        self.steps += 1
        if not self.complete:
            self._rows[count] = vector / self.sticks_out

    def advance(self, most: int) -> int:
        """``most`` products at most: one on a CPU, ``UNLOOKED`` on a GPU; returns by how many the basis grew.

        The host waits once for all of them. What went on beyond a basis that was complete is thrown away.
        """
        first = self.steps
        if self._rows.device.type == "cpu":
            self.step()
        else:
            advance_together([self], lambda rows: self.unlooked(rows[0])[None], most)
        return self.steps - first

    def newest(self, ahead: int = 0) -> Tensor:
        """The vector (n,) that is multiplied next, or ``ahead`` steps later."""
        return self._rows[self.fixed + self.steps + ahead]

    def take(self, product: Tensor, ahead: int) -> list[Tensor]:
        """Put the product of :meth:`newest` into the basis; gives what it told, unread: its column and its norm."""
        count = self.fixed + self.steps + ahead + 1
        vector = product.clone()
        taken, norm = self._clear(vector, count)[self.fixed :], norm64(vector)
        self._rows[count] = vector / norm
        return [taken.to(norm.dtype), norm.reshape(1)]

    def read(self, column: Tensor, norm: Tensor) -> None:
        """Note what one product told, on the CPU; nothing where the basis was complete before."""
        if self.steps and self.complete:
            return
        if not bool(torch.isfinite(column).all() & torch.isfinite(norm).all()):
            self.matvec(self._rows[self.fixed + self.steps])  # says what is wrong
        self._table[: self.steps + 1, self.steps] = self._table[self.steps, : self.steps + 1] = column.numpy()
        self.sticks_out = float(norm)
        self.steps += 1

    @property
    def complete(self) -> bool:
        """Whether A maps the basis into itself (and ``fixed``), to rounding."""
        if self.fixed + self.steps == self._rows.shape[1]:
            return True
        scale = max(self.scale, np.abs(self._table[: self.steps, : self.steps]).sum(1).max(initial=0.0))
        return self.sticks_out <= float(torch.finfo(self._rows.dtype).eps ** 0.75 * scale)

    def ritz(self) -> tuple[Array, Array, Array]:
        """Ritz values θ, coordinates Y of the Ritz vectors, and residual norms ‖A Vy - θ Vy‖."""
        # torch's solver keeps to torch's threads, NumPy's has its own
        solved = torch.linalg.eigh(torch.from_numpy(self._table[: self.steps, : self.steps]))
        theta, coordinates = (part.numpy() for part in solved)
        residual = np.zeros(self.steps) if self.complete else self.sticks_out * np.abs(coordinates[-1])
        return theta, coordinates, residual

    @full_precision()
    def vectors(self, coordinates: Array) -> Tensor:
        """Ritz vectors (m, n) for coordinates (steps, m)."""
        rows = self._rows[self.fixed : self.fixed + self.steps]
        return torch.as_tensor(coordinates.T.copy(), dtype=rows.dtype, device=rows.device) @ rows

    @full_precision()
    def compress(self, keep: Array) -> None:
        """Keep only the Ritz vectors with these indices, and go on from there (thick restart)."""
        theta, coordinates, _ = self.ritz()
        rows = self._rows[self.fixed :]
        mix = torch.as_tensor(coordinates[:, keep].T.copy(), dtype=rows.dtype, device=rows.device)
        for columns in rows.split(_COLUMNS, 1):
            columns[: len(keep)] = mix @ columns[: self.steps]
        rows[len(keep)] = rows[self.steps].clone()
        self._table[:] = 0
        self._table[: len(keep), : len(keep)] = np.diag(theta[keep])
        self.steps = len(keep)


def advance_together(runs: Sequence[Krylov], many: MatVec, most: int) -> None:
    """``UNLOOKED`` products at most of each of some runs on a GPU, for which the host waits once.

    Args:
        runs: of one operator, all with as many steps; none is complete.
        many: (m, n) -> A v for each of m rows, without a look at what comes out.
        most: products of each.
    """
    ahead: list[Tensor] = []
    for at in range(max(1, min(most, UNLOOKED, runs[0].capacity - runs[0].steps))):
        products = many(torch.stack([run.newest(at) for run in runs]))
        ahead += [part for run, product in zip(runs, products, strict=True) for part in run.take(product, at)]
    numbers = iter(torch.cat(ahead).cpu().double().split([len(part) for part in ahead]))
    for k, (column, norm) in enumerate(zip(numbers, numbers, strict=True)):
        runs[k % len(runs)].read(column, norm)


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
) -> Eigenpairs:
    """The k eigenpairs of largest ``score(eigenvalue)``.

    Look from a start, ``near`` or random, until the k best Ritz values are within tolerance; then look again
    from other starts, clear of what was found, until nothing better turns up. The later looks
    find repeated eigenvalues.

    Raises:
        ValueError: the basis does not fit into memory.
    """
    generator = torch.Generator().manual_seed(seed)
    vector = torch.finfo(dtype).bits // 8 * size
    capacity = max(k + LEAST_ROOM, min(max_products, _basis_bytes(device) // vector))
    held = min(capacity + 1, size) + 2 * k + 4  # basis, what was found, and what one product needs
    require(
        f"a look for {k} eigenvalues among {size}, which holds {held} vectors ({vector / 1e9:.3g} GB each),",
        held * vector, "ask for fewer, or for one block at a time (params=…, curvature.by_block)", device,
    )  # fmt: skip
    best = Eigenpairs(np.zeros(0), torch.empty(0, size, dtype=dtype, device=device), np.zeros(0), np.zeros(0))
    products, settled = 0, False
    while not settled and products < max_products and len(best.values) < size:
        start = torch.randn(size, generator=generator, dtype=dtype).to(device)
        if near is not None and float(norm64(near)) > 0:
            start, near = near.to(start), None
        found = _look(matvec, start, best, k, score, tol, max_products - products, capacity, unlooked)
        products += found.products
        settled = len(best.values) == k and len(found.values) == 0
        best = _merge(best, found, k, score)
    within = best.errors <= _allowed(best.values, tol, best.scale, dtype)
    best.converged = len(best.values) == k and bool(within.all())
    best.errors = np.maximum(best.errors, torch.finfo(dtype).eps * best.scale)
    best.products = products
    return best


def _basis_bytes(device: torch.device) -> int:
    """Bytes that a basis may take; on an accelerator at most half of what is left there: products need the rest."""
    left = None if device.type == "cpu" else free_bytes(device)
    return BASIS_BYTES if left is None else min(BASIS_BYTES, left // 2)


def _look(
    matvec: MatVec,
    start: Tensor,
    known: Eigenpairs,
    k: int,
    score: Score,
    tol: float,
    max_products: int,
    capacity: int,
    unlooked: MatVec | None = None,
) -> Eigenpairs:
    """What a Lanczos run clear of the ``known`` pairs finds that is better than they are."""
    krylov = Krylov(matvec, start, known.vectors, capacity, known.scale, unlooked)
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
            floor = score(known.values[-1:]) + _allowed(known.values[-1:], tol, scale, start.dtype)
            best = best[score(theta[best]) > floor]
            undecided = len(best) == 0 and bool(score(theta[order[:1]]) + residual[order[:1]] > floor)
        errors = _errors(theta, residual, known, tol)
        within = np.all(errors[best] <= _allowed(theta[best], tol, scale, start.dtype))
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
