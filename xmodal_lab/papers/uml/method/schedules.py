"""What differs between heads of one stack: batches, whose turn it is, and what a label is taken for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .heads import Head


def batches(rows: Sequence[Tensor], heads: Sequence[Head], m: str) -> Tensor:
    """(K, steps, turns, batch) rows: each member goes through its own sample in random order again and again."""
    many = 1 if m == heads[0].target else turns(heads)
    need = heads[0].steps * many * heads[0].batch_size
    found = []
    for mine, head in zip(rows, heads, strict=True):
        if len(mine) == 0:
            found.append(torch.zeros(need, dtype=torch.long))
            continue
        draw = torch.Generator().manual_seed(head.seed + (104729 if m == head.target else 1299709))
        order = torch.rand(math.ceil(need / len(mine)), len(mine), generator=draw).argsort(1)
        found.append(mine[order].flatten()[:need])
    return torch.stack(found).view(len(rows), heads[0].steps, many, heads[0].batch_size)


def turns(heads: Sequence[Head]) -> int:
    """Auxiliary batches in one step at most."""
    return max(1, math.ceil(max(h.ratio for h in heads)))


def weights(heads: Sequence[Head], m: str) -> Tensor:
    """(K, steps, turns): 1 where a member takes a batch of ``m``. Ratio r gives ⌊(t+1)r⌋ - ⌊tr⌋ in step t."""
    step = torch.arange(heads[0].steps, dtype=torch.float64)
    found = []
    for h in heads:
        count = ((step + 1) * h.ratio + 1e-9).floor() - (step * h.ratio + 1e-9).floor()
        taken = torch.arange(turns(heads))[None] < count[:, None]
        found.append(taken & (step[:, None] >= h.start) & (h.shots_of(m) != 0))
    return torch.stack(found).float()


def renamed(head: Head, classes: int) -> Tensor:
    """Which class an auxiliary label is taken for: itself, or another one for relation="permuted"."""
    if head.relation == "related":
        return torch.arange(classes)
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(head.seed + 15485863))
    renamed = torch.empty_like(order)
    renamed[order] = order.roll(1)  # one cycle through all classes: none keeps its name
    return renamed
