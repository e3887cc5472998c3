"""How a grid of points is evaluated: whole, as few as a tolerance allows, or part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...data.batches import each, within_memory
from ...losses import Direction, Loss, ModuleLoss, Params, standins
from ...losses.parameters import moved, write
from ...models.copies import copy_of
from ...utils import checks as check
from ...utils.torch_state import seeded
from .adaptive import adaptive

# Rows whose features are kept at once for a separable plane (ours).
SEPARABLE_ROWS = 1024


def pairs_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All (a, b), the last index running fastest: (len(a) len(b), 2)."""
    return np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)


def evaluate(loss: Loss, pair: Sequence[Direction], coefficients: np.ndarray) -> np.ndarray:
    """``loss.along`` for NumPy."""
    return loss.along(pair, torch.from_numpy(np.ascontiguousarray(coefficients))).numpy()


@torch.no_grad()
def between(loss: Loss, direction: Params, beside: Params, a: np.ndarray) -> np.ndarray:
    """The loss at θ + a d, where buffers and frozen parameters go from their own values to those in ``beside`` too.

    Whole numbers, such as counters, jump at the end.
    """
    if not isinstance(loss, ModuleLoss):
        raise TypeError(f"only the loss of a module has more state than its parameters, got {type(loss).__name__}.")
    start = loss.data.rest()

    def value(t: float, rows: int | None) -> float:
        held = {
            k: start[k] + t * (v - start[k]) if v.is_floating_point() else (v if t == 1 else start[k])
            for k, v in beside.items()
        }
        there = loss.at({**moved(loss.params, [direction], [t]), **held})
        return sum(term.weight * float(term.fn(there.params)) for term in there.terms(rows))

    return within_memory(lambda _points, rows: np.array([value(t, rows) for t in a.tolist()]), 1, loss.most_rows)


def plane_values(
    loss: Loss, pair: Sequence[Params], a: np.ndarray, b: np.ndarray, tolerance: float | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """A plane with ``a`` along the first direction and ``b``, as long, along the second: every point, or as few as do.

    Returns:
        (len(a), len(b)) float64, and what a plane's attributes say of ``tolerance``, if there is one.
    """
    if tolerance is None:
        return evaluate(loss, pair, pairs_of(a, b)).reshape(len(a), len(b)), {}
    tolerance = check.positive("tolerance", tolerance)
    found = adaptive(lambda at: evaluate(loss, pair, np.stack([a[at[:, 0]], b[at[:, 1]]], 1)), len(a), tolerance)
    share = found.computed / found.values.size
    return found.values, {
        "tolerance": tolerance, "computed": share, "points_computed": found.computed, "error_estimate": found.error,
    }  # fmt: skip


@torch.inference_mode(False)
@torch.no_grad()
def separable_plane(loss: Loss, pair: Sequence[Params], a: np.ndarray) -> np.ndarray | None:
    """A plane whose two directions live in two parts of a module: 2 G passes of the parts, G² of the rest.

    Works for any module in which each part runs once, on an input that does not depend on θ.
    Parts beside them that do not move run once in all.

    Returns:
        (G, G) float64, or None where the module is not built that way.
    """
    if not isinstance(loss, ModuleLoss) or not loss.has_scratch():
        return None
    return within_memory(lambda _points, rows: _separable(loss, pair, a, rows), 1, loss.most_rows)


def _separable(loss: ModuleLoss, pair: Sequence[Params], a: np.ndarray, rows: int | None) -> np.ndarray | None:
    """:func:`separable_plane`, with ``rows`` at once."""
    names = [_part_of(direction) for direction in pair]
    if not all(names) or any(f"{x}.".startswith(f"{y}.") for x, y in (names, names[::-1])):
        return None
    values = np.zeros((len(a), len(a)))
    piece = rows or loss.data.chunks.cache_rows()
    with loss.scratch() as (module, parameters):
        beside = _siblings(module, names[0]) + _siblings(module, names[1])
        beside = [n for n in beside if not any(f"{name}.".startswith(f"{n}.") for name in names)]  # nor around them
        parts = {name: module.get_submodule(name) for name in [*names, *beside]}
        few = partial(loss.data.score, module, loss.chunks(standins.FEW_ROWS)[0][1])
        inputs = standins.known_inputs(module, few, parts)
        if not set(names) <= set(inputs) or not all(inputs.values()):
            return None
        steps: dict[str, list[Params]] = {name: [{}] for name in inputs}
        for name, direction in zip(names, pair, strict=True):
            points = [moved(loss.params, [direction], [t]) for t in a.tolist()]
            steps[name] = [{n.removeprefix(f"{name}."): point[n] for n in direction} for point in points]

        def known() -> dict[str, standins.KnownOutput]:
            return {name: standins.KnownOutput(parts[name], points, piece) for name, points in steps.items()}

        corners = known()
        with standins.swapped(module, corners):
            try:
                for name in names:
                    corners[name].points = [steps[name][0], steps[name][-1]]
                few()  # at one corner, where the parts see their inputs; then at the other one
                for name in names:
                    corners[name].step = 1
                seen = float(few())
            except (AttributeError, TypeError):  # a part that does not give one tensor
                return None
        write(parameters, loss.params, pair, [a[-1], a[-1]])
        agreed = (
            standins.agree(seen, float(few()), loss.dtype)
            and standins.steady(module, few, inputs).keys() == inputs.keys()
        )
        write(parameters, loss.params, pair, [0.0, 0.0])
        if not agreed:
            return None
        for weight, batch in loss.chunks(rows or max(piece, SEPARABLE_ROWS)):
            grid = known()
            one, two = (grid[name] for name in names)
            with standins.swapped(module, grid):
                for one.step, two.step in np.ndindex(values.shape):
                    values[one.step, two.step] += weight * float(loss.data.score(module, batch))
    return values


def _part_of(direction: Mapping[str, Tensor]) -> str:
    """Name of the deepest module that holds all parameters of ``direction``; empty for the whole module."""
    paths = [name.split(".")[:-1] for name in direction]
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))]
    return ".".join(shared)


def _siblings(module: nn.Module, name: str) -> list[str]:
    """Names of the parts that share a ModuleDict or ModuleList with ``name``."""
    parent_name, _, _ = name.rpartition(".")
    parent = module.get_submodule(parent_name)
    if not isinstance(parent, (nn.ModuleDict, nn.ModuleList)):
        return []
    return [f"{parent_name}.{child}" for child, _ in parent.named_children()]


def peer_plane(loss: Loss, points: int, span: float, normalization: str | None, seed: int) -> np.ndarray:
    """What the package loss-landscapes draws, on a copy of the module, with its own geometry.

    Version 3.0.6 shears odd rows by one step, leaves θ off the grid, draws directions from
    [0, 1] and halves the step when ``distance`` doubles; coordinates here are nominal.

    Returns:
        (points, points) float64.

    Raises:
        ValueError: the loss is not one of a module.
        ImportError: the package is not installed.
    """
    if not isinstance(loss, ModuleLoss):
        raise ValueError("engine='loss-landscapes' needs a loss of a module (xl.loss_on or Loss.from_module).")
    try:
        import loss_landscapes
        from loss_landscapes.metrics.metric import Metric
    except ImportError:
        raise check.missing_extra("loss-landscapes", "peers") from None
    # It keeps its directions on the CPU, so its copy of the module and the batches are there too.
    batches = [(weight, each(batch, lambda tensor: tensor.cpu())) for weight, batch in loss.data.chunks.whole()]
    score = loss.data.score

    class Seen(Metric):  # type: ignore[misc]
        def __call__(self, wrapper: Any) -> float:
            # The module itself: the wrapper's own forward passes one input and no keywords.
            module = wrapper.get_modules()[0]
            return float(sum(weight * float(score(module, batch)) for weight, batch in batches))

    state = np.random.get_state()
    try:
        with seeded(seed), torch.no_grad():
            np.random.seed(seed)
            model = copy_of(loss.module).cpu().eval()
            values = loss_landscapes.random_plane(model, Seen(), span, points, normalization)
    finally:
        np.random.set_state(state)
    return np.asarray(values, dtype=float)
