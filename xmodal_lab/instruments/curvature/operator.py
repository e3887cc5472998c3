"""Curvature of a loss as a linear operator, from graphs that are retained, chunk by chunk; the Hessian itself."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...losses import Loss, Params, Term, as_loss
from ...losses.directions import parameter_names
from ...losses.precision import looked_at, value_in
from ...utils import checks as check
from ...utils.graphs import Graphed
from ...utils.memory import out_of_memory
from ...utils.shapes import Float
from ...utils.torch_state import full_precision
from .checked import check_derivatives, refused, symmetrised
from .derivatives import twice_differentiable

# Graphs of gradients that stay alive between products, in bytes on a CPU (ours); on a GPU half of what is free.
RETAIN_BYTES = 2 << 30
# Products that go back through one graph together on a GPU (ours).
TOGETHER = 16

Gradient = list[tuple[int, Tensor]]


class Operator:
    """A symmetric matrix of a loss, over all parameters or a block of them: ``A.matvec(v)`` or ``A @ v``.

    What a product goes back through is built once, chunk by chunk, and kept for many products, as far as it fits
    into ``RETAIN_BYTES``; chunks beyond are rebuilt for every product, which costs about half as much again.
    Reverse mode twice, because GroupNorm has no forward-mode derivative (FIELD_NOTES). Unused parameters give
    zeros. A snapshot: θ is copied.

    Attributes:
        loss: the loss that is looked at, in the dtype of the products.
        names: parameters of the block, in order.
        size: n, number of scalars in them.
        value: L(θ).
        products: products made so far.
        block_diagonal: whether entries between two blocks of ``loss.blocks`` count as 0.
        called: what messages call the matrix.

    Raises:
        ValueError: see :func:`xmodal_lab.curvature.hessian`.
    """

    called: ClassVar[str] = "an operator"

    @full_precision()
    def __init__(
        self,
        loss: Loss,
        params: str | Sequence[str] | None = None,
        rows: int | None = None,
        dtype: torch.dtype | None = None,
        block_diagonal: bool = False,
    ) -> None:
        as_loss(loss)
        if rows is not None:
            rows = check.integer("rows", rows, at_least=1)
        self.names = _chosen(loss, params)
        self.loss = looked_at(loss, dtype, uniform=True)
        self.products = 0
        self.value = self._value(loss)
        with torch.inference_mode(False):
            self._theta = {n: self.loss.params[n].clone().requires_grad_() for n in self.names}
        self._sizes = [p.numel() for p in self._theta.values()]
        self._rows = rows
        self._warned = False
        self.block_diagonal = check.instance("block_diagonal", block_diagonal, bool)
        self._blocks = self._positions()
        self._terms: list[Any] = self._cut(rows)
        self._graphs: list[Any] | None = None
        self._retain = True
        self._recorded = self._recording()
        self._batches: bool | None = None  # whether many products go back at once; None: not tried yet
        self._at_once = TOGETHER  # how many, as far as memory allows
        with refused(self.loss.name):
            check_derivatives(loss, self.loss, self.names)

    # -- facts -----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """n, the number of scalars in the block."""
        return sum(self._sizes)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.size, self.size

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of the products."""
        return self.loss.dtype

    @property
    def _rounding(self) -> float:
        """Of the value, in the dtype of the products: what is no larger says nothing."""
        return 16 * torch.finfo(self.dtype).eps * abs(self.value)

    @property
    def device(self) -> torch.device:
        """Where the products are made."""
        return self.loss.device

    def as_dict(self, vector: Tensor) -> Params:
        """Cut a vector (n,) into a dict shaped like the parameters."""
        parts = vector.split(self._sizes)
        return {name: part.view_as(p) for part, (name, p) in zip(parts, self._theta.items(), strict=True)}

    def as_vector(self, direction: Mapping[str, Tensor]) -> Tensor:
        """Join ``direction``, a dict shaped like the parameters, to a vector (n,); a missing name means zero."""
        for name in direction:
            check.one_of("parameter", name, self.names)
        fitted = self.loss.check_direction(direction)
        return torch.cat([fitted.get(n, torch.zeros_like(p)).detach().reshape(-1) for n, p in self._theta.items()])

    # -- products --------------------------------------------------------------------------------

    def matvec(self, vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """A v, in the operator's dtype.

        Out of memory lets go of the retained graphs and halves the chunk, warns once, and goes on.

        Raises:
            ValueError: the vector has the wrong shape, the product is not finite, or torch has no second derivative
                of some operation.
        """
        product = self.product(vector)
        self._check(product)
        return product

    def product(self, vector: Tensor) -> Tensor:
        """A v of a ``vector`` (n,), as :meth:`matvec`, but no look at what comes out, for which the host would wait."""
        vector = check.as_tensor("vector", vector).detach()
        if vector.shape != (self.size,):
            raise ValueError(f"vector must have shape ({self.size},), got {tuple(vector.shape)}.")
        vector = vector.to(self.device, self.dtype)
        while True:
            try:
                with refused(self.loss.name):
                    product = self._product(vector)
                break
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or not self._shrink():
                    raise
        self.products += 1
        return product

    def many(self, vectors: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
        """A v for each row of ``vectors``; on a GPU all go back through the graph at once, where torch can.

        Raises:
            ValueError: as :meth:`matvec`.
        """
        if self.device.type == "cpu" or len(vectors) == 1:
            return torch.stack([self.matvec(vector) for vector in vectors])
        found = self.products_of(vectors)
        self._check(found)
        return found

    def products_of(self, vectors: Tensor) -> Tensor:
        """:meth:`many`, but no look at what comes out, for which the host would wait."""
        if self.device.type == "cpu" or len(vectors) == 1:
            return torch.stack([self.product(vector) for vector in vectors])
        found: list[Tensor] = []
        while (made := sum(map(len, found))) < len(vectors):
            part = vectors[made : made + self._at_once]
            together = self._together(part) if len(part) > 1 else None
            if together is not None:
                found.append(together)
            elif len(part) <= self._at_once:  # else there was no room: fewer of them
                found.append(torch.stack([self.product(vector) for vector in part]))
        return torch.cat(found)

    def goes_together(self) -> bool:
        """Whether several products go back through the graph at once; tried once, by two."""
        if self.device.type == "cpu" or self._at_once == 1:
            return False
        if self._batches is None:
            draw = torch.Generator().manual_seed(0)
            self._together(torch.randn(2, self.size, generator=draw, dtype=self.dtype).to(self.device))
        return bool(self._batches)

    def _together(self, vectors: Tensor) -> Tensor | None:
        """All products in one backward pass; None where that fails or gives something else, tried on the first."""
        if self._batches is False:
            return None
        try:
            with refused(self.loss.name):
                found = self._product(vectors)
        except (RuntimeError, MemoryError, ValueError) as error:
            if out_of_memory(error):
                self._at_once = len(vectors) // 2
            else:  # no rule for vmap: one by one, then
                self._batches = False
            return None
        if self._batches is None:
            alone = self.product(vectors[0])
            off = torch.linalg.vector_norm(found[0] - alone) <= 1e-3 * torch.linalg.vector_norm(alone)
            self._batches = bool(off | ~torch.isfinite(alone).all())
            if not self._batches:
                return None
        self.products += len(vectors)
        return found

    def _check(self, product: Tensor) -> None:
        # The sum is a quarter of the work, and finite where all of them are, unless it overflows.
        if not bool(torch.isfinite(product.sum())) and not bool(torch.isfinite(product).all()):
            raise ValueError(
                f"{self.called}-vector product of {self.loss.name} is not finite, though the loss is {self.value:.6g}: "
                "the loss has no second derivative at these parameters (sqrt or a norm at 0?), or it overflows."
            )

    def __matmul__(self, vector: Tensor) -> Tensor:
        return self.matvec(vector)

    def dense(self) -> Float[Tensor, "n n"]:
        """The whole matrix in float64 on the CPU, from n products, symmetrised.

        Raises:
            ValueError: as :meth:`matvec`; the products are not those of a symmetric matrix, by more than rounding.
        """
        matrix = torch.empty(self.shape, dtype=torch.float64)
        unit = torch.zeros(self.size, dtype=self.dtype, device=self.device)
        if self.device.type != "cpu":
            every = torch.eye(self.size, dtype=self.dtype).split(TOGETHER)
            matrix = torch.cat([self.many(rows.to(self.device)).cpu().double() for rows in every])
            return symmetrised(matrix, self.loss.name, self._rounding)
        for i in range(self.size):
            unit[i] = 1
            matrix[i] = self.matvec(unit)
            unit[i] = 0
        return symmetrised(matrix, self.loss.name, self._rounding)

    # -- inside ----------------------------------------------------------------------------------

    def _value(self, given: Loss) -> float:
        value = value_in(self.loss, given)
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(
                f"{self.loss.name} is {value} at θ, so it has no curvature there; check data and parameters."
            )
        return value

    def _cut(self, rows: int | None) -> list[Any]:
        """The summands of the loss, each with its ``weight``, of at most ``rows`` rows."""
        raise NotImplementedError

    def _graph(self, term: Any) -> Any:
        """What products of one term go back through; empty or None where there is nothing."""
        raise NotImplementedError

    def _rows_of(
        self, graph: Any, block: Sequence[int], parts: Sequence[Tensor], retain: bool, batched: bool
    ) -> Iterator[tuple[int, Tensor]]:
        """(position, part of the product) for the diagonal block of the parameters at these positions."""
        raise NotImplementedError

    def _positions(self) -> list[list[int]]:
        """The positions of the parameters of each block; one of all of them, unless the matrix is block-diagonal."""
        if not self.block_diagonal:
            return [list(range(len(self.names)))]
        at = {name: i for i, name in enumerate(self.names)}
        blocks = [[at[name] for name in block if name in at] for block in self.loss.blocks.values()]
        return [block for block in blocks if block]

    @full_precision()
    def _product(self, vector: Tensor) -> Tensor:
        """A v for a vector (n,), or for each row of (m, n)."""
        if self._graphs is None:
            self._graphs = self._build()
        if vector.ndim == 1 and self._graphs and len(self._graphs) == len(self._terms):
            found = self._recorded(vector)
            if found is not None:
                return found[0]
        return self._back_through(self._graphs, vector)

    def _back_through(self, graphs: Sequence[Any], vector: Tensor) -> Tensor:
        """A v, through the ``graphs`` of the first terms and new ones of the others."""
        parts, total = self._parts(vector), torch.zeros_like(vector)
        slots = self._parts(total)
        for i, term in enumerate(self._terms):
            retained = i < len(graphs)
            graph = graphs[i] if retained else self._graph(term)
            if not graph:  # constant or linear in θ
                continue
            for block in self._blocks:
                again = retained or block is not self._blocks[-1]
                for j, row in self._rows_of(graph, block, parts, again, vector.ndim == 2):
                    slots[j].add_(row, alpha=term.weight)
        return total

    def _recording(self) -> Graphed:
        """Products as a CUDA graph, which goes back through graphs of its own."""
        me = weakref.proxy(self)  # no circle: what an operator holds goes with it
        return Graphed(
            lambda graphs, vector: (me._back_through(graphs, vector),), f"a product with {self.called}",
            setup=lambda: [me._graph(term) for term in me._terms],
        )  # fmt: skip

    def _parts(self, vector: Tensor) -> list[Tensor]:
        """Views of (…, n), shaped like the parameters."""
        cut = vector.split(self._sizes, -1)
        return [part.view((*vector.shape[:-1], *p.shape)) for part, p in zip(cut, self._theta.values(), strict=True)]

    def _build(self) -> list[Any]:
        """The graphs of as many terms as fit into memory, judging by the first one."""
        if not self._retain:
            return []
        if len(self._terms) == 1:
            return [self._graph(self._terms[0])]
        storages: dict[int, int] = {}

        def count(tensor: Tensor) -> Tensor:
            if tensor.layout is torch.strided:
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
            else:  # entries and where they stand
                storages[id(tensor)] = tensor._nnz() * (tensor.element_size() + 8 * tensor.ndim)
            return tensor.detach()

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            first = self._graph(self._terms[0])
        room = torch.cuda.mem_get_info(self.device)[0] // 2 if self.device.type == "cuda" else RETAIN_BYTES
        fits = room // max(1, sum(storages.values()))
        return [first, *(self._graph(term) for term in self._terms[1:fits])] if fits else []

    def _shrink(self) -> bool:
        """Let go of the graphs and halve the chunk; False when there is nothing smaller."""
        gc.collect()  # what hangs in a circle goes now, on a GPU too
        self._graphs, held = None, self._graphs
        self._recorded = self._recording()
        released, self._retain = self._retain and bool(held), False
        rows, cut = self._rows or 1 << 20, False
        while rows > 1 and not cut:
            rows //= 2
            terms = self._cut(rows)
            cut = len(terms) > len(self._terms)
        if cut:
            self._rows, self._terms = rows, terms
        if (cut or released) and not self._warned:
            self._warned = True
            chunk = f"chunks of {rows} rows" if cut else "one chunk"
            warnings.warn(
                f"out of memory in {self.called}-vector product of {self.loss.name}; going on with {chunk} "
                "and no retained graph, which is slower.",
                RuntimeWarning,
                stacklevel=3,
            )
        return cut or released


class Hessian(Operator):
    """∇²L(θ), or a diagonal block of it, as a linear operator: ``H.matvec(v)`` or ``H @ v``.

    ``Hv = ∇(∇L · v)`` (Pearlmutter 1994), the graph of ∇L kept as :class:`Operator` says.
    """

    called = "a Hessian"

    def _cut(self, rows: int | None) -> list[Any]:
        return list(self.loss.terms(rows))

    def _graph(self, term: Term) -> Gradient:
        """∇ of one term, differentiable once more: (position of the parameter, its gradient)."""
        with twice_differentiable():
            value = term.fn(self._theta)
            if not value.requires_grad:
                return []
            parts = torch.autograd.grad(value, list(self._theta.values()), create_graph=True, allow_unused=True)
        return [(i, g) for i, g in enumerate(parts) if g is not None and g.requires_grad]

    def _rows_of(
        self, graph: Gradient, block: Sequence[int], parts: Sequence[Tensor], retain: bool, batched: bool
    ) -> Iterator[tuple[int, Tensor]]:
        leaves, inside = list(self._theta.values()), [(j, g) for j, g in graph if j in block]
        if not inside:
            return
        rows = torch.autograd.grad(
            [g for _, g in inside],
            [leaves[j] for j in block],
            [parts[j] for j, _ in inside],
            retain_graph=retain,
            allow_unused=True,
            is_grads_batched=batched,
        )
        yield from ((j, row) for j, row in zip(block, rows, strict=True) if row is not None)


def _chosen(loss: Loss, params: str | Sequence[str] | None) -> tuple[str, ...]:
    asked = set(parameter_names(loss, params))
    if not asked:
        raise ValueError("params names no parameter; give a block or parameter names, or None for all.")
    return tuple(name for name in loss.params if name in asked)
