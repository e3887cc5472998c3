"""Block Lanczos: some products a step, which a GPU makes in one pass, and for which the host waits once.

Basis, projection, restarts and bounds are those of :mod:`.lanczos`, with a block of vectors that sticks out in place
of one (Golub and Van Loan, Matrix Computations, sec. 10.3.6). A block at least as broad as an eigenvalue is repeated
finds all its vectors in one look. It takes more products than one vector after the other does.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...utils.factors import orthonormal
from ...utils.torch_state import full_precision
from .lanczos import Array, Krylov, MatVec, lay_out

# Vectors of a block, at least and at most (ours): the host waits once for each block.
NARROW, BROAD = 5, 8


def breadth(k: int, room: int) -> int:
    """Vectors of a block for k eigenvalues; 1, no block, for one eigenvalue or where the basis has too little room."""
    block = min(max(k, NARROW), BROAD)
    return block if k > 1 and room >= k + 3 * block else 1


class BlockKrylov(Krylov):
    """An orthonormal basis V, the projection VᵀAV, and the block Q that sticks out: AV = V(VᵀAV) + QC.

    Args:
        matvec: v -> A v, symmetric; asked where a product is not finite, and says why.
        many: (m, n) -> A v for each of m rows, without a look at what comes out.
        start: (b, n) start vectors.
        fixed, capacity, scale, store: as in :class:`.lanczos.Krylov`; a ``store`` of b rows more than the basis.
    """

    def __init__(
        self, matvec: MatVec, many: MatVec, start: Tensor, fixed: Tensor, capacity: int, scale: float = 0.0,
        store: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.matvec, self.many, self.scale = matvec, many, scale
        self.fixed, self.steps = len(fixed), 0
        self.capacity = min(capacity, start.shape[1] - self.fixed)
        self._rows = lay_out(store, self.fixed + self.capacity + len(start), fixed)
        self._table = np.zeros((self.capacity, self.capacity))
        start = start / torch.linalg.vector_norm(start, dim=1, keepdim=True)
        self._clear_block(start, self.fixed)
        block, triangle = orthonormal(start)
        self._coupling = np.zeros((self._put(block, triangle.cpu().double(), self.fixed)[0], 0))

    @property
    def waiting(self) -> int:
        """Vectors that stick out: the next ones to be multiplied."""
        return len(self._coupling)

    @property
    def complete(self) -> bool:
        """Whether A maps the basis into itself (and ``fixed``), to rounding."""
        return not self.waiting or self.fixed + self.steps == self._rows.shape[1]

    def advance(self, most: int) -> int:
        """The products of one block, ``most`` at most; returns by how many the basis grew. The host waits once."""
        count = min(self.waiting, most, self.capacity - self.steps)
        first, known = self.fixed + self.steps, self.fixed + self.steps + self.waiting
        products = self.many(self._rows[first : first + count]).clone()
        taken = self._clear_block(products, known)[self.fixed :]
        block, triangle = orthonormal(products)
        numbers = torch.cat([taken, triangle]).cpu().double()
        if not bool(torch.isfinite(numbers).all()):
            for row in self._rows[first : first + count]:
                self.matvec(row)  # says what is wrong
        self._note(numbers[: len(taken)].numpy(), count)
        fresh, coupling = self._put(block, numbers[len(taken) :], known)
        waiting = numbers[self.steps + count : len(taken)].numpy()  # those whose turn has not come
        self._coupling = np.block([
            [self._coupling[count:], waiting], [np.zeros((fresh, self.steps)), coupling],
        ])  # fmt: skip
        self.steps += count
        return count

    def ritz(self) -> tuple[Array, Array, Array]:
        """Ritz values θ, coordinates Y of the Ritz vectors, and residual norms ‖A Vy - θ Vy‖ = ‖C y‖."""
        solved = torch.linalg.eigh(torch.from_numpy(self._table[: self.steps, : self.steps]))
        theta, coordinates = (part.numpy() for part in solved)
        return theta, coordinates, np.linalg.norm(self._coupling @ coordinates, axis=0)

    def compress(self, keep: Array) -> None:
        """Keep only the Ritz vectors with these indices, and go on from there (thick restart)."""
        theta, coordinates, _ = self.ritz()
        self._mix(theta[keep], coordinates[:, keep], self.waiting)
        self._coupling = self._coupling @ coordinates[:, keep]

    def unseen(self, bound: float, sign: int = 1) -> float:
        """0, for nothing is told: that all of a block's starts are as good as clear of an eigenvector is not likely."""
        return 0.0

    @full_precision()
    def _clear_block(self, block: Tensor, count: int) -> Tensor:
        """Take the first ``count`` rows out of ``block`` (b, n), twice and in place; return what was taken."""
        rows = self._rows[:count]
        taken = block.new_zeros(count, len(block))
        for _ in range(2):
            part = rows @ block.T
            block.addmm_(part.T, rows, alpha=-1)
            taken += part
        return taken

    def _note(self, taken: Array, count: int) -> None:
        """The columns of the projection that belong to the block that was multiplied."""
        old, new = slice(self.steps), slice(self.steps, self.steps + count)
        self._table[old, new], self._table[new, old] = taken[old], taken[old].T
        self._table[new, new] = (taken[new] + taken[new].T) / 2

    @full_precision()
    def _put(self, block: Tensor, triangle: Tensor, at: int) -> tuple[int, Array]:
        """Put what ``blockᵀ triangle`` spans behind ``at`` rows: how many vectors, and their coupling (vectors, b).

        What sticks out by less than rounding of the eigenvalues is noise. Along small directions what is left of the
        rows before is large beside them, so they are cleared of it once more.
        """
        left, sizes, right = torch.linalg.svd(triangle)
        scale = max(self.scale, np.abs(self._table[: self.steps, : self.steps]).sum(1).max(initial=0.0))
        count = int((sizes > float(torch.finfo(block.dtype).eps ** 0.75 * scale)).sum())
        count = min(count, block.shape[1] - at)
        if count:
            fresh = left[:, :count].T.to(block.dtype).to(block.device) @ block
            self._clear_block(fresh, at)
            again, turned = orthonormal(fresh)
            self._rows[at : at + count] = again * turned.diagonal().sign()[:, None]
        return count, (sizes[:count, None] * right[:count]).numpy()
