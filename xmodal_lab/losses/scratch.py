"""A private copy of a module whose parameters are written in place: a grid of points is cheap on a processor then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batches import rows_of
from ..models.copies import copy_of, uncompiled
from ..models.evaluation import alone_with
from ..models.modules import Params
from ..utils.memory import out_of_memory
from . import standins
from .criteria import FAILURES
from .parameters import Mover, write

Score = Callable[[Callable[..., Any], Any], Tensor]
Layers = dict[str, standins.AffineLayer]

# Bytes of stand-ins that are kept from one direction to the next (ours).
KEPT_BYTES = 64 << 20


@dataclass
class Opened:
    """The copy while it is open: by which thread, its parameters, and stand-ins for its first layers by chunk."""

    thread: int
    module: nn.Module
    parameters: dict[str, Tensor]
    layers: dict[tuple[Any, ...], Layers] = field(default_factory=dict)
    movers: dict[tuple[Any, ...], Mover] = field(default_factory=dict)

    def room(self) -> bool:
        """Whether more stand-ins may be kept: on a CPU, for an accelerator's memory is cut by rows when it runs out."""
        if any(p.device.type != "cpu" for p in self.parameters.values()):
            return False
        return sum(layer.nbytes for layers in self.layers.values() for layer in layers.values()) < KEPT_BYTES


class Scratch:
    """The copy, made when it is first asked for, and what is evaluated on it.

    Args:
        module: the original.
        params: θ, which may stand elsewhere than the module does.
        held: further parameters and buffers of the module that stand elsewhere.
        score: from a module and a batch to its loss.
        on: the same through the original, from parameters and a batch: what the copy must agree with.
    """

    def __init__(
        self, module: nn.Module, params: Params, held: Params, score: Score, on: Callable[[Params, Any], Tensor]
    ) -> None:
        self.module, self.params, self.held, self.score, self.on = module, params, held, score, on
        self._copy: tuple[nn.Module | None, ...] = ()  # empty until asked for
        self._opened: Opened | None = None
        # Which first layers stand-ins replace, by the parameters that move: found out once for each.
        self._replaced: dict[frozenset[str], list[str]] = {}

    def copy(self, few: Callable[[], Any]) -> nn.Module | None:
        """The copy; None where it does not give what the module gives on the rows that ``few`` hands over."""
        with alone_with(self.module):
            if not self._copy:
                self._copy = (self._made(few()),)
            return self._copy[0]

    @torch.no_grad()
    def _made(self, few: Any) -> nn.Module | None:
        try:
            module = copy_of(self.module).eval().requires_grad_(False)
            tensors = _named(module)
            for name, value in {**self.params, **self.held}.items():
                tensors[name].copy_(value)
            moved = {name: tensors[name].mul_(1.1).add_(0.01) for name in self.params}
            # A copy can still be tied to the original, as by a hook that writes down what the latter's layers give.
            with uncompiled(module):
                seen, expected = float(self.score(module, few)), float(self.on(moved, few))
        except FAILURES as error:
            if out_of_memory(error):
                raise
            return None
        return module if standins.agree(seen, expected, next(iter(self.params.values())).dtype) else None

    @contextmanager
    @torch.no_grad()
    def open(self, few: Callable[[], Any]) -> Iterator[tuple[nn.Module, dict[str, Tensor]]]:
        """The copy in eval mode, and its parameters at θ, which may be overwritten.

        Inside itself it gives the same copy once more, as it stands: whoever moves the same parameters again and again
        opens it once around all of it.
        """
        if self._opened is not None and self._opened.thread == threading.get_ident():
            yield self._opened.module, self._opened.parameters
            return
        with alone_with(self.module), uncompiled(self.module):
            module = self.copy(few)
            if module is None:
                raise ValueError(f"{type(self.module).__name__} has no copy that gives what it gives.")
            tensors = _named(module)
            # The user may have trained or moved the original since.
            for name, theirs in {**_named(self.module), **self.held, **self.params}.items():
                tensors[name].copy_(theirs)
            parameters = {name: tensors[name] for name in self.params}
            self._opened = Opened(threading.get_ident(), module, parameters)
            try:
                yield module, parameters
            finally:
                self._opened = None

    def along(
        self,
        few: Callable[[], Any],
        pieces: Sequence[tuple[float, Any]],
        directions: Sequence[Params],
        points: Sequence[Sequence[float]],
    ) -> Tensor:
        """The loss on ``pieces`` at each point, (K,) float64: one point after the other, in place."""
        values = torch.zeros(len(points), dtype=torch.float64)
        with self.open(few) as (module, parameters):
            first = self._first_layers(module, parameters, pieces[0][1], directions, points)
            mover = self._mover(parameters, directions, len(points))
            if not first:  # then a point's parameters are written once, not once per chunk
                for k, point in enumerate(points):
                    mover.move(point)
                    values[k] = sum(weight * float(self.score(module, batch)) for weight, batch in pieces)
                return values
            for i, (weight, batch) in enumerate(pieces):
                call = partial(self.score, module, batch)
                layers = self._aimed((i, len(pieces), rows_of(batch), *first), call, directions)
                with standins.answering(module, layers):
                    for k, point in enumerate(points):
                        mover.move(point)
                        for layer in layers.values():
                            layer.move(point)
                        values[k] += weight * float(call())
        return values

    def _mover(self, parameters: Mapping[str, Tensor], directions: Sequence[Params], points: int) -> Mover:
        """What writes the points, from an earlier direction that moved the same."""
        assert self._opened is not None
        moving = {n: p for n, p in parameters.items() if any(n in d for d in directions)}
        key = (frozenset(moving), len(directions), points)
        if key not in self._opened.movers:
            for known in self._opened.movers.values():  # what moved before, and moves no more, stands at θ
                for name, parameter in known.moving.items():
                    parameter.copy_(self.params[name])
            self._opened.movers = {key: Mover(moving, self.params, len(directions), points)}
        mover = self._opened.movers[key]
        mover.aim(directions)
        return mover

    def _aimed(self, key: tuple[Any, ...], call: Callable[[], Any], directions: Sequence[Params]) -> Layers:
        """Stand-ins for the first layers on one chunk, from an earlier direction where they are kept."""
        opened = self._opened
        assert opened is not None
        if (known := opened.layers.get(key)) is not None:
            for layer in known.values():
                layer.aim(directions)
            return known
        made = standins.affine_layers(opened.module, call, key[3:], self.params, directions)
        if opened.room():
            opened.layers[key] = made
        return made

    def _first_layers(
        self,
        module: nn.Module,
        parameters: Mapping[str, Tensor],
        batch: Any,
        directions: Sequence[Params],
        points: Sequence[Sequence[float]],
    ) -> list[str]:
        """Names of the first layers of ``module`` that stand-ins replace, where they pay and agree."""
        if len(points) <= 2 * (len(directions) + 1):
            return []
        # A norm reduces in place; part.any() would make a mask as large as the layer.
        moves = partial(torch.linalg.vector_norm, ord=1)
        moving = frozenset(name for direction in directions for name, part in direction.items() if bool(moves(part)))
        if moving not in self._replaced:
            self._replaced[moving] = self._steady_layers(module, parameters, batch, directions, points)
        return self._replaced[moving]

    def _steady_layers(
        self,
        module: nn.Module,
        parameters: Mapping[str, Tensor],
        batch: Any,
        directions: Sequence[Params],
        points: Sequence[Sequence[float]],
    ) -> list[str]:
        """The first layers whose stand-ins agree far from θ, with every part of the directions moved."""
        call = partial(self.score, module, batch)
        inputs = standins.affine_candidates(module, call)
        if not inputs:
            return []
        # Tried far from θ: an input that somebody detached moves there, and a stand-in for its layer would be wrong.
        far = max(points, key=lambda point: sum(abs(c) for c in point))
        write(parameters, self.params, directions, far)
        names = list(standins.steady(module, call, inputs))
        expected = float(call())
        layers = standins.affine_layers(module, call, names, self.params, directions)
        with standins.answering(module, layers):
            for layer in layers.values():
                layer.move(far)
            agreed = standins.agree(float(call()), expected, next(iter(self.params.values())).dtype)
        write(parameters, self.params, directions, [0.0] * len(directions))
        return names if agreed else []


def _named(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a module by name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
