"""Points θ + Σ cᵢ dᵢ written in place: into the parameters of a module, or anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .losses import Params

# Up to this many scalars the parameters lie in one buffer, so that a point is one sum, not one for each
# parameter. Beyond, the copies that it takes would cost more memory than the calls cost time (ours).
ONE_BUFFER = 1 << 20
# Fewer points do not pay for the copies (ours).
FEW_POINTS = 8


class WeightedSum:
    """``out`` = base + Σ cᵢ slopeᵢ for one point after the other; a row of a grid shares all but its last term."""

    def __init__(self, base: Tensor, slopes: Sequence[Tensor], out: Tensor) -> None:
        self.base, self.slopes, self.out = base, slopes, out
        self._row = base.clone()
        self._row_at: tuple[float, ...] = (0.0,) * (len(slopes) - 1)

    def move(self, point: Sequence[float]) -> None:
        """Write the sum with coefficients ``point`` into ``out``."""
        *before, last = point
        if tuple(before) != self._row_at:
            self._row.copy_(self.base)
            for slope, c in zip(self.slopes, before, strict=False):
                self._row.add_(slope, alpha=c)
            self._row_at = tuple(before)
        torch.add(self._row, self.slopes[-1], alpha=last, out=self.out)


class Mover:
    """Writes θ + Σ cᵢ dᵢ into the parameters of a private module.

    Args:
        parameters: name -> parameter of that module; those that no direction names stay as they are.
        params: θ.
        directions: dicts of parts shaped like the parameters; a missing name means zero.
        points: how many points there will be.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], params: Params, directions: Sequence[Params], points: int
    ) -> None:
        self.params, self.directions = params, directions
        self.moving = {n: p for n, p in parameters.items() if any(n in d for d in directions)}
        size = sum(p.numel() for p in self.moving.values())
        one_dtype = len({p.dtype for p in self.moving.values()}) == 1
        self._sum = self._in_one_buffer(size) if one_dtype and size <= ONE_BUFFER and points > FEW_POINTS else None

    def move(self, point: Sequence[float]) -> None:
        """Write the point with coefficients ``point``."""
        if self._sum is not None:
            self._sum.move(point)
        else:
            write(self.moving, self.params, self.directions, point)

    def _in_one_buffer(self, size: int) -> WeightedSum:
        like = next(iter(self.moving.values())).data

        def pack(values: Mapping[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
            flat, views, offset = like.new_zeros(size), [], 0
            for name, parameter in self.moving.items():
                views.append(flat.as_strided(parameter.shape, _strides(parameter), offset))
                offset += parameter.numel()
                if name in values:
                    views[-1].copy_(values[name])
            return flat, views

        out, views = pack(self.params)
        for parameter, view in zip(self.moving.values(), views, strict=True):
            parameter.data = view
        return WeightedSum(pack(self.params)[0], [pack(d)[0] for d in self.directions], out)


def write(parameters: Mapping[str, Tensor], params: Params, directions: Sequence[Params], row: Sequence[float]) -> None:
    """Write θ + Σ cᵢ dᵢ into ``parameters``, one at a time."""
    for name, parameter in parameters.items():
        base: Tensor | None = params[name]
        for direction, c in zip(directions, row, strict=True):
            part = direction.get(name)
            if part is None:
                continue
            if base is not None:
                torch.add(base, part, alpha=c, out=parameter.data)
                base = None
            else:
                parameter.data.add_(part, alpha=c)


def _strides(parameter: Tensor) -> tuple[int, ...]:
    """Strides of a dense tensor, in the parameter's own order of axes where it is dense."""
    dense = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return parameter.stride() if dense else torch.empty(parameter.shape, device="meta").stride()
