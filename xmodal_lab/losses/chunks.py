"""The batches of a loss, cut into chunks where that leaves the loss as it is, and what is said where it does not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batches import joined, pick, rows_of, telling_rows, tensors_in
from ..models.modules import Params
from ..utils.memory import out_of_memory
from .criteria import FAILURES

# Largest activation that a chunk may make, in bytes (ours; see benchmarks/). It fits the third-level cache, and
# memory of this size is used again; larger pieces go back to the system, and each page of them costs when it returns.
CHUNK_BYTES = 7 << 20
MOST_ROWS = 2048
# Rows and batches on which is tried whether a loss is a mean over rows (ours).
TRIED_ROWS, TRIED_BATCHES = 64, 8

Weighted = list[tuple[float, Any]]


class Chunks:
    """Fixed batches and how they may be cut.

    Args:
        batches: as the loss keeps them.
        on: from parameters and a batch to the loss of that batch.
        params: θ.
        module: seen while ``on`` runs, for the size of what it makes.
        name: of the loss, in messages.
        whole: never cut, because a batch has statistics of its own.
        known: chunks of the same loss at another θ; what was found out there holds here.
    """

    def __init__(
        self,
        batches: Sequence[Any],
        on: Callable[[Params, Any], Tensor],
        params: Params,
        module: nn.Module,
        name: str,
        whole: bool,
        known: Chunks | None = None,
    ) -> None:
        self.batches, self.on, self.params, self.module, self.name, self.uncut = (
            batches,
            on,
            params,
            module,
            name,
            whole,
        )
        self.counts = [rows_of(batch) for batch in batches]
        self._mean: bool | None = None if known is None else known._mean
        self._told: bool = known is not None and known._told
        self._cache_rows: int | None = None if known is None else known._cache_rows

    def whole(self) -> Weighted:
        """(share of all rows, batch) for each batch as it was given."""
        total = sum(self.counts)
        return [(n / total, batch) for n, batch in zip(self.counts, self.batches, strict=True)]

    def cut(self, rows: int | None) -> Weighted:
        """(weight, batch) pairs of at most ``rows`` rows; a batch is cut only if the loss is a mean over its rows."""
        if rows is None:  # pieces of about one size
            rows = self.cache_rows()
            rows = -(-max(self.counts) // -(-max(self.counts) // rows))
        elif rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}.")
        if self.uncut or max(self.counts) <= rows or not self._may_be_cut():
            return self.whole()
        total = sum(self.counts)
        return [
            (min(rows, count - start) / total, pick(batch, count, slice(start, start + rows)))
            for count, batch in zip(self.counts, self.batches, strict=True)
            for start in range(0, count, rows)
        ]

    def most_rows(self) -> int:
        """Rows from which halving may begin when memory runs out; 1 where nothing can be cut."""
        return self.cache_rows() if not self.uncut and self._may_be_cut() else 1

    def few(self, rows: int) -> Any:
        """The first rows of the first batch."""
        batch, count = self.batches[0], self.counts[0]
        return pick(batch, count, slice(min(rows, count)))

    def repeated(self, rows: int, most: int) -> Any:
        """:meth:`few`, each row as often as the others, until there are as many rows as a chunk of ``most`` has.

        A mean over rows is the same. None where the loss is no mean, or nothing is to be repeated.
        """
        count = self.counts[0]
        times = min(count, most) // rows
        if self.uncut or times < 2 or not self.is_mean():
            return None
        return pick(self.batches[0], count, torch.arange(times * rows) % rows)

    def cache_rows(self) -> int:
        """Rows whose largest activation fills about ``CHUNK_BYTES``; all of them on a GPU. Found out once."""
        if next(iter(self.params.values())).device.type != "cpu":
            return max(self.counts)
        if self._cache_rows is None:
            self._cache_rows = self._filling()
        return self._cache_rows

    def _filling(self) -> int:
        n = min(2, self.counts[0])
        largest = 1

        def see(_module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal largest
            if isinstance(output, Tensor):
                largest = max(largest, output.numel() * output.element_size() // n)

        hooks = [m.register_forward_hook(see) for m in self.module.modules() if not list(m.children())]
        try:
            with torch.no_grad():
                self.on(self.params, self.few(n))
        except FAILURES:
            return max(self.counts)
        finally:
            for hook in hooks:
                hook.remove()
        return max(8, min(max(self.counts), MOST_ROWS, CHUNK_BYTES // largest))

    # -- whether the loss is a mean over rows ------------------------------------------------------

    def _may_be_cut(self) -> bool:
        """Whether cutting a batch leaves the loss as it is. Tried once, not assumed."""
        mean = self.is_mean()
        if not mean and not self._told and len(self.batches) == 1:
            self._told = True
            warnings.warn(
                f"{self.name} is not a mean over the rows of its batch, so it is evaluated whole, all "
                f"{self.counts[0]} rows at once; in smaller batches it would be another number.",
                stacklevel=4,
            )
        return mean

    def is_mean(self) -> bool:
        """Whether the loss of some rows is the mean of those of their parts, within batches and across them."""
        if self._mean is None:
            tried = [few for i in self._tried() if rows_of(few := self._telling(i)) > 1]
            self._mean = all(self._agrees(few, _inner_ends(rows_of(few))) for few in tried)
            if self._mean and len(self.batches) > 1:
                self._mean = self._agrees_across()
        return self._mean

    def tell_of_batches(self) -> None:
        """Warn, with both numbers, where the mean over several batches is not the loss of all rows."""
        if len(self.batches) == 1 or self.uncut or self._told or self.is_mean():
            return
        self._told = True
        batches = self._first_batches()
        rows = sum(rows_of(batch) for batch in batches)
        try:
            with torch.no_grad():
                mean = sum(rows_of(b) / rows * float(self.on(self.params, b)) for b in batches)
                whole = f"{float(self.on(self.params, joined(batches))):.6g}"
        except FAILURES as error:
            if out_of_memory(error):
                raise
            few = self._telling(0)
            with torch.no_grad():
                mean = self._by_parts(self.params, few, _inner_ends(rows_of(few)))
                whole = f"{float(self.on(self.params, few)):.6g}"
            batches = batches[:1]
        share = "" if len(batches) == len(self.batches) else f" (for {len(batches)} of {len(self.batches)} batches)"
        warnings.warn(
            f"{self.name} is not a mean over rows, so its value depends on the batches: by batches it is {mean:.6g}, "
            f"on all rows at once {whole}{share}. What follows is the mean over the batches as given, weighted by "
            "their rows; give one batch for the other number, or a criterion that is a mean over rows.",
            stacklevel=4,
        )

    def _tried(self) -> list[int]:
        """Which batches are tried: spread over all, and the first ones that hold a class that those lack."""
        every = -(-len(self.batches) // TRIED_BATCHES)
        tried = list(range(0, len(self.batches), every))
        held = [self._classes(i) for i in range(len(self.batches))] if every > 1 else []
        for i, classes in enumerate(held):
            if len(tried) < 2 * TRIED_BATCHES and not classes <= set().union(*(held[k] for k in tried)):
                tried.append(i)
        return sorted(tried)

    def _classes(self, i: int) -> set[int]:
        """The class numbers in a batch, if its target is one for each row."""
        *_, target = tensors_in(self.batches[i])
        if target.is_floating_point() or target.is_complex() or target.numel() != self.counts[i]:
            return set()
        return set(target.unique().tolist())

    def _telling(self, i: int) -> Any:
        return pick(self.batches[i], self.counts[i], telling_rows(self.batches[i], self.counts[i], TRIED_ROWS))

    def _agrees_across(self) -> bool:
        """As within a batch, for rows of several batches: each may hold one class only, or one length."""
        parts = [self._telling(i) for i in self._tried()]
        try:
            together = joined(parts)
        except ValueError:  # padded to different lengths, say; then each batch was tried by itself
            return True
        return self._agrees(together, [0, *accumulate(rows_of(part) for part in parts)])

    @torch.no_grad()
    def _agrees(self, batch: Any, ends: Sequence[int]) -> bool:
        """Whether the loss of ``batch`` is the mean of those of its parts, at θ and beside it.

        At θ alone a head of zeros, say, gives all rows the same loss, of which any mean is the same.
        """
        dtype = next(iter(self.params.values())).dtype
        rounding = 1e-6 if dtype == torch.float64 else max(2e-5, 8 * torch.finfo(dtype).eps)
        try:
            for params in (self.params, self._beside()):
                whole = float(self.on(params, batch))
                parts = self._by_parts(params, batch, ends)
                odd = params is not self.params and whole != whole  # no second point, then
                if not odd and not abs(whole - parts) <= rounding * max(abs(whole), 1e-2):
                    return False
        except FAILURES:
            return False
        return True

    def _by_parts(self, params: Params, batch: Any, ends: Sequence[int]) -> float:
        rows = rows_of(batch)
        return sum(
            (stop - start) / rows * float(self.on(params, pick(batch, rows, slice(start, stop))))
            for start, stop in pairwise(ends)
        )

    def _first_batches(self) -> list[Any]:
        """As many batches as have ``MOST_ROWS`` rows together, two at least."""
        ends = list(accumulate(self.counts))
        return list(self.batches[: max(2, sum(end <= MOST_ROWS for end in ends))])

    def _beside(self) -> Params:
        """A point near θ, each parameter moved by a tenth of its size; one of zeros by a tenth of 1."""
        generator = torch.Generator().manual_seed(0)
        point: Params = {}
        for name, p in self.params.items():
            size = float(p.square().mean().sqrt()) if p.numel() else 0.0
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device)
            point[name] = noise.mul_((size or 1.0) / 10).add_(p)
        return point


def _inner_ends(rows: int) -> list[int]:
    """Where a batch is cut to be tried: small parts at both ends, where the rows stand that count otherwise."""
    return sorted({0, min(2, rows - 1), -(-rows // 3), max(1, rows - 2), rows})
