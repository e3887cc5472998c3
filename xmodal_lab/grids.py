"""How a grid of points is evaluated: whole, coarse to fine, or with each encoder's features kept."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from . import _checks as check
from .losses import Direction, Loss, Params
from .module_loss import ModuleLoss


def pairs_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All (a, b), the last index running fastest: (len(a) len(b), 2)."""
    return np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)


def evaluate(loss: Loss, pair: Sequence[Direction], coefficients: np.ndarray) -> np.ndarray:
    """``loss.along``, with half the rows per chunk as often as memory runs out."""
    table = torch.from_numpy(np.ascontiguousarray(coefficients))
    rows: int | None = None
    while True:
        try:
            return loss.along(pair, table, rows).numpy()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if "out of memory" not in str(error).lower() and not isinstance(error, torch.OutOfMemoryError):
                raise
            before = rows or (loss.cache_rows() if isinstance(loss, ModuleLoss) else 1)
            halved = before // 2
            if halved < 1:
                raise
            if rows is None:
                warnings.warn(f"out of memory: going on with {halved} samples at a time.", stacklevel=3)
            rows = halved


def coarse_to_fine(
    loss: Loss, pair: Sequence[Params], a: np.ndarray, tolerance: float
) -> tuple[np.ndarray, dict[str, Any]]:
    """Every other point computed, the rest filled by splines if the measured error allows it.

    The error is measured where it is known: splines through every fourth point predict the
    points between, which were computed. Filling from every second point halves the step, so
    the error made is smaller than the one measured wherever the surface is smooth.
    """
    from scipy.interpolate import RectBivariateSpline

    points = len(a)
    half = np.arange(0, points, 2)
    quarter = np.arange(0, points, 4)
    fits = half[-1] == points - 1 and quarter[-1] == points - 1 and len(quarter) >= 4
    coarse = evaluate(loss, pair, pairs_of(a[half], a[half])).reshape(len(half), len(half))
    if fits and np.isfinite(coarse).all():
        seen = RectBivariateSpline(a[quarter], a[quarter], coarse[::2, ::2])(a[half], a[half])
        bound = float(np.abs(seen - coarse).max())
        if bound <= tolerance * float(np.ptp(coarse)):
            filled = RectBivariateSpline(a[half], a[half], coarse)(a, a)
            filled[np.ix_(half, half)] = coarse
            return filled, {"error_bound": bound, "computed": len(half) ** 2 / points**2}
    values = np.empty((points, points))
    values[np.ix_(half, half)] = coarse
    mask = np.ones((points, points), dtype=bool)
    mask[np.ix_(half, half)] = False
    values[mask] = evaluate(loss, pair, pairs_of(a, a)[mask.ravel()])
    return values, {"error_bound": 0.0, "computed": 1.0}


def has_cached_encoders(loss: ModuleLoss, first: str, second: str) -> bool:
    """Whether the module is a late fusion whose two encoders can be evaluated on their own."""
    if loss.batchnorm != "keep":
        return False
    two = {first.removeprefix("encoders."), second.removeprefix("encoders.")}
    late = all(hasattr(loss.module, part) for part in ("encoders", "encode", "classify", "modalities"))
    return late and all(
        isinstance(batch, tuple) and len(batch) == 2 and isinstance(batch[0], Mapping) and two <= set(batch[0])
        for batch in loss.batches
    )


@torch.no_grad()
def cached_plane(loss: ModuleLoss, first: str, second: str, pair: Sequence[Params], a: np.ndarray) -> np.ndarray:
    """A modality plane from 2 G encoder passes and G² passes of fusion and head."""
    module: Any = loss.module
    criterion = loss.criterion or nn.functional.cross_entropy
    rows = loss.cache_rows()

    def along(m: str, direction: Params, x: Tensor) -> list[Tensor]:
        """Features of modality m at each step, (N, d) each."""
        block = f"encoders.{m}."
        steps = []
        for t in a.tolist():
            weights = {k.removeprefix(block): loss.params[k] + t * d for k, d in direction.items()}
            pieces = [functional_call(module.encoders[m], weights, (piece,)) for piece in x.split(rows)]
            steps.append(torch.cat(pieces))
        return steps

    values = np.zeros((len(a), len(a)))
    m1, m2 = first.removeprefix("encoders."), second.removeprefix("encoders.")
    with loss.looking():
        for weight, (inputs, labels) in loss.whole_batches():
            features = module.encode(inputs)
            ones, twos = along(m1, pair[0], inputs[m1]), along(m2, pair[1], inputs[m2])
            for i, f1 in enumerate(ones):
                for j, f2 in enumerate(twos):
                    logits = module.classify({**features, m1: f1, m2: f2})
                    values[i, j] += weight * float(criterion(logits, labels))
    return values


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
    batches, score = loss.whole_batches(), loss.score

    class Seen(Metric):  # type: ignore[misc]
        def __call__(self, wrapper: Any) -> float:
            return float(sum(weight * float(score(wrapper.forward, batch)) for weight, batch in batches))

    state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            np.random.seed(seed)
            model = copy.deepcopy(loss.module).eval()
            values = loss_landscapes.random_plane(model, Seen(), span, points, normalization)
    finally:
        np.random.set_state(state)
    return np.asarray(values, dtype=float)
