"""The net of supervised UML on stacked parameters: encoders, linear maps to the head's width, one shared head."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import vmap

from ....data.unpaired import Split
from ....losses import Params
from ....models.modules import call_with
from .heads import Head


def logits(p: Params, m: str, x: Tensor, scales: Tensor, encoders: Mapping[str, nn.Module]) -> Tensor:
    """(K, n, C) of x (K, n, ...), or (1, n, ...) for all."""
    z, w = encoded(p, m, x, encoders), p["head"].transpose(1, 2)
    if (name := f"project:{m}") in p:
        small = z.shape[1] * w.shape[2] < z.shape[1] * w.shape[1]  # P W first, where classes are fewer than width
        found = z @ (p[name] @ w) if small else (z @ p[name]) @ w
    else:
        found = z @ w
    scale = scales * p[f"scale:{m}"].exp() if f"scale:{m}" in p else scales
    return found * scale[:, None, None]


def encoded(p: Params, m: str, x: Tensor, encoders: Mapping[str, nn.Module]) -> Tensor:
    """What the encoder makes of x (K or 1, n, ...): each member's own where it is tuned, else x itself."""
    mine = {n.split(":", 2)[2]: t for n, t in p.items() if n.startswith(f"encoder:{m}:")}
    if not mine:
        return x
    x = x.expand(len(next(iter(mine.values()))), *x.shape[1:])
    return vmap(lambda one, some: call_with(encoders[m], one, (some,)))(mine, x)


def frozen(encoders: Mapping[str, nn.Module], head: Head, m: str, x: Tensor) -> Tensor:
    """Embeddings, where the encoder is frozen; inputs, where it is tuned or the data are embeddings."""
    if m not in encoders or m in head.tune:
        return x.float()
    with torch.no_grad():
        return torch.cat([encoders[m](part) for part in x.float().split(512)])


def encoded_size(x: Tensor, m: str, head: Head, encoders: Mapping[str, nn.Module]) -> int:
    """Columns of the embeddings of a modality.

    Raises:
        ValueError: samples that are no vectors, without an encoder.
    """
    if m in encoders and m in head.tune:
        with torch.no_grad():
            return int(encoders[m](x[:2]).shape[1])
    if x.ndim != 2:
        raise ValueError(
            f"{m!r} has samples of shape {tuple(x.shape[1:])}, a head takes vectors; give encoders={{{m!r}: module}}."
        )
    return int(x.shape[1])


def held(split: Split, head: Head, encoders: Mapping[str, nn.Module]) -> tuple[Tensor, Tensor] | None:
    """Held-out inputs of the target and their labels, if there are any."""
    if head.target not in split:
        return None
    x, y = split[head.target]
    return frozen(encoders, head, head.target, x), y
