"""Balls around inputs that floating-point numbers cannot leave.

x + ε is rounded, so a clamp to [x - ε, x + ε] can end up one step outside. Here every point
is rounded towards x instead: |x' - x| ≤ ε holds in exact arithmetic, and therefore also for
the difference computed in the tensor's own dtype (rounding is monotone).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.shapes import Bool, Float
from ...utils.torch_state import wide

Rows = Float[Tensor, "n ..."]


class LinfBall:
    """{x' : |x' - x| ≤ eps for every value}, cut to ``clip``; rows that are not ``here`` stay as they are."""

    def __init__(
        self, x: Tensor, here: Tensor, eps: float, step: float, clip: tuple[float, float] | None = None
    ) -> None:
        self.x, self.eps, self.step = x, _rounded_down(eps, x.dtype), step
        radius = self.eps * wide(_rowwise(here, x))
        self.low, self.high = rounded_inside(x, -radius), rounded_inside(x, radius)
        if clip is not None:  # x lies within clip, so this only moves the bounds towards it
            self.low = torch.where(_rowwise(here, x), self.low.clamp(min=clip[0]), x)
            self.high = torch.where(_rowwise(here, x), self.high.clamp(max=clip[1]), x)

    @staticmethod
    def draw(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """Every value uniform on [-1, 1]."""
        return 2 * torch.rand(shape, generator=rng, dtype=torch.float32) - 1

    def start(self, drawn: Tensor) -> Tensor:
        """The point x + eps · ``drawn``, in the ball."""
        return self._projected((wide(self.x) + self.eps * wide(drawn.to(self.x.device))).to(self.x))

    def ascend(self, point: Tensor, gradient: Tensor) -> Tensor:
        """Π(x_t + step · sign(gradient)) (dml App C.6)."""
        return self._projected(point + self.step * gradient.sign())

    def _projected(self, point: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(point, self.low), self.high)


class L2Ball:
    """{x' : ‖x' - x‖₂ ≤ eps for every row}, cut to ``clip``; rows that are not ``here`` stay as they are."""

    def __init__(
        self, x: Tensor, here: Tensor, eps: float, step: float, clip: tuple[float, float] | None = None
    ) -> None:
        self.x, self.here, self.step, self.clip = x, here, step, clip
        # Room for the rounding of a norm: of the one we compute, and of the one users compute in x's dtype.
        values = x[0].numel()
        slack = 2 * values * torch.finfo(torch.float64).eps + 4 * torch.finfo(x.dtype).eps
        self.radius = eps * (1 - slack)

    @staticmethod
    def draw(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """A random direction, at a distance of U^(1/d)."""
        direction = torch.randn(shape, generator=rng, dtype=torch.float32)
        distance = torch.rand(shape[0], generator=rng, dtype=torch.float32) ** (1 / math.prod(shape[1:]))
        return _unit(direction) * _rowwise(distance, direction)

    def start(self, drawn: Tensor) -> Tensor:
        """The point x + eps · ``drawn``, in the ball."""
        return self._projected(self.radius * wide(drawn.to(self.x.device)))

    def ascend(self, point: Tensor, gradient: Tensor) -> Tensor:
        """Π(x_t + step · gradient / ‖gradient‖); a row without gradient stays where it is."""
        return self._projected(wide(point) - wide(self.x) + self.step * _unit(wide(gradient)))

    def _projected(self, away: Tensor) -> Tensor:
        norm = _rowwise(away.flatten(1).norm(dim=1), away)
        away = torch.where(norm > self.radius, away * (self.radius / norm), away)
        point = rounded_inside(self.x, torch.where(_rowwise(self.here.to(away.device), away), away, 0.0))
        if self.clip is not None:  # clipping moves towards x, which lies within
            point = torch.where(_rowwise(self.here, point), point.clamp(*self.clip), point)
        return point


BALLS: dict[str, type[LinfBall] | type[L2Ball]] = {"linf": LinfBall, "l2": L2Ball}


@check.shapechecked
def rounded_inside(x: Rows, away: Float[Tensor, "n ..."]) -> Rows:
    """The sum x + ``away`` (float64) in x's dtype, rounded so that |result - x| ≤ |away| in exact arithmetic.

    The nearest float is one of the two around the true sum; if it lies too far out, the next
    one towards x does not.
    """
    there, x = x.device, x.to(away.device)  # on the CPU where the device of x has no float64
    moved = (x.double() + away).to(x.dtype)
    return torch.where(_too_far(moved, x, away.abs()), torch.nextafter(moved, x), moved).to(there)


def _rounded_down(eps: float, dtype: torch.dtype) -> float:
    """The largest number of ``dtype`` up to eps; 0.07 in float32 is above 0.07, and so would a difference be."""
    nearest = torch.tensor(eps, dtype=dtype)
    return float(nearest if float(nearest) <= eps else torch.nextafter(nearest, torch.zeros_like(nearest)))


def _too_far(moved: Tensor, x: Tensor, limit: Tensor) -> Bool[Tensor, "n ..."]:
    """|moved - x| > limit, decided exactly: at a tie the rounding error of the difference says (two-sum)."""
    a, b = moved.double(), -x.double()
    difference = a + b
    part = difference - a
    error = (a - (difference - part)) + (b - part)
    beyond = difference.abs() > limit
    return beyond | ((difference.abs() == limit) & (error * difference.sign() > 0))


def row_norms(away: Tensor, norm: str) -> Tensor:
    """The size of each row's perturbation in ``norm``, (N,) float64."""
    flat = wide(away).flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def _unit(rows: Tensor) -> Tensor:
    """Rows scaled to length 1; a zero row stays zero."""
    length = _rowwise(rows.flatten(1).norm(dim=1), rows)
    return torch.where(length > 0, rows / length.clamp(min=torch.finfo(rows.dtype).tiny), torch.zeros_like(rows))


def _rowwise(values: Tensor, like: Tensor) -> Tensor:
    """(N,) values shaped to broadcast over the rows of ``like``."""
    return values.view(-1, *[1] * (like.ndim - 1))
