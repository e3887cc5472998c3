"""Lanczos with full double reorthogonalisation: an orthonormal basis of a symmetric operator's Krylov space.

The basis is orthonormal to rounding, so the projected matrix is computed, not assumed
tridiagonal. That makes restarts and fixed vectors a matter of a few lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...utils.torch_state import full_precision, norm64

Array = NDArray[np.float64]
MatVec = Callable[[Tensor], Tensor]

# Columns of the basis that are compressed at once: no second basis beside the first (ours).
_COLUMNS = 1 << 18

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
        store: (fixed + capacity + 1, n) or more rows in which the basis shall lie, ``fixed`` first; new ones if None.
    """

    def __init__(
        self, matvec: MatVec, start: Tensor, fixed: Tensor, capacity: int, scale: float = 0.0,
        unlooked: MatVec | None = None, store: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.matvec = matvec
        self.unlooked = unlooked or matvec
        self.scale = scale
        self.fixed = len(fixed)
        self.capacity = min(capacity, len(start) - self.fixed)
        self.steps = 0
        self.sticks_out = 0.0
        self._restarted = False
        self._rows = lay_out(store, self.fixed + self.capacity + 1, fixed)
        self._table = np.zeros((self.capacity, self.capacity))
        first = torch.div(start, start.norm(), out=self._rows[self.fixed])
        self._clear(first, self.fixed)
        first /= first.norm()

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
        vector = self._rows[count].copy_(self.matvec(self._rows[count - 1]))  # and the product goes
        column = self._clear(vector, count)[self.fixed :].cpu().double().numpy()
        self._table[: self.steps + 1, self.steps] = self._table[self.steps, : self.steps + 1] = column
        self.sticks_out = float(norm64(vector))
        self.steps += 1
        if not self.complete:
            vector /= self.sticks_out

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
        vector = self._rows[count].copy_(product)
        taken, norm = self._clear(vector, count)[self.fixed :], norm64(vector)
        vector /= norm
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
    def dtype(self) -> torch.dtype:
        """Of the basis."""
        return self._rows.dtype

    @property
    def dimension(self) -> int:
        """Of the space, clear of what is fixed, that starts are drawn from."""
        return self._rows.shape[1] - self.fixed

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

    def unseen(self, bound: float, sign: int = 1) -> float:
        """The largest share of the start's squared length that can belong to eigenvalues ``sign`` λ ≥ ``bound``.

        It is 1/Σ pⱼ(bound)², j = 0 … m, of the polynomials that are orthonormal for the start's spectral measure: the
        weight of a Gauss-Radau rule's node at the bound, above all Ritz values (Chebyshev, Markov and Stieltjes). After
        a restart the start is no longer in the basis: 0, for nothing is told.
        """
        if self._restarted or self.complete:
            return 0.0
        beside = [*np.diagonal(self._table, 1)[: self.steps - 1], self.sticks_out]
        before, now, total = 0.0, 1.0, 1.0
        last = 0.0
        for diagonal, following in zip(np.diagonal(self._table), beside, strict=False):
            before, now = now, ((bound - sign * diagonal) * now - last * before) / following
            last, total = following, total + now**2
        return 1 / total

    def settle(self, coordinates: Array) -> Tensor:
        """Ritz vectors (m, n) for coordinates (steps, m), in the place of the basis: with it the run has ended."""
        return mixed(self._rows[self.fixed : self.fixed + self.steps], coordinates)

    def compress(self, keep: Array) -> None:
        """Keep only the Ritz vectors with these indices, and go on from there (thick restart)."""
        theta, coordinates, _ = self.ritz()
        self._mix(theta[keep], coordinates[:, keep], 1)

    def _mix(self, theta: Array, coordinates: Array, waiting: int) -> None:
        """The basis becomes its Ritz vectors with these ``coordinates``; ``waiting`` vectors stick out behind it."""
        rows, kept, self._restarted = self._rows[self.fixed :], len(theta), True
        mixed(rows[: self.steps], coordinates)
        rows[kept : kept + waiting] = rows[self.steps : self.steps + waiting].clone()
        self._table[:] = 0
        self._table[:kept, :kept] = np.diag(theta)
        self.steps = kept


def lay_out(store: Tensor | None, count: int, fixed: Tensor) -> Tensor:
    """``count`` rows that begin with ``fixed``: those of ``store``, where it may lie already, or new ones."""
    rows = fixed.new_empty(count, fixed.shape[1]) if store is None else store[:count]
    if len(fixed) and rows.data_ptr() != fixed.data_ptr():
        rows[: len(fixed)] = fixed
    return rows


@full_precision()
def mixed(rows: Tensor, coordinates: Array) -> Tensor:
    """The first m of some ``rows`` (k, n) become coordinatesᵀ rows, for ``coordinates`` (k, m), in place; those m."""
    mix = torch.as_tensor(coordinates.T.copy(), dtype=rows.dtype, device=rows.device)
    for columns in rows.split(_COLUMNS, 1):
        columns[: len(mix)] = mix @ columns
    return rows[: len(mix)]


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
