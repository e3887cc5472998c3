"""Planes: ours beside what one would install, beside a plain forward pass per point, and within a tolerance.

Peers get the data in chunks that suit them: 32 rows of the CNN at a time, all rows of the MLP. In processor time of one
thread.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import xmodal_lab as xl

from . import models
from .timing import alternate, contest, row

GRID = 7
ROWS = {"CNN": 32, "MLP": 2048}


def rows(repeats: int = 3) -> list[dict[str, Any]]:
    """One row per comparison."""
    return [
        *cnn_plane(repeats),
        *mlp_plane(2 * repeats),
        *within_tolerance("CNN", models.TwoBranchCNN(), 32, 30, repeats),
        *within_tolerance("MLP", models.TwoBranchMLP(), 2048, 200, repeats),
        cnn_modality_plane(repeats),
    ]


def cnn_plane(repeats: int) -> list[dict[str, Any]]:
    """About 150k parameters, 256 samples.

    Once per loss we try what may be cut, which takes as long as three points. On a usual
    plane of 41x41 that is nothing, on this small one it shows: so the first plane has a row of its own.
    """
    module, loss, data = _subject(models.TwoBranchCNN(), 256, steps=30)
    _plain(module, data, 1, rows=32)
    first = alternate({"ours": lambda: xl.landscape.plane(loss, points=GRID)}, 1, warm_up=False)
    began = time.process_time()
    _plain(module, data, GRID**2, rows=32)
    plain = 1e3 * (time.process_time() - began)
    once = f"plane {GRID}x{GRID}, CNN, the first of a loss"
    return [
        row(once, first["ours"], "plain forward, 32 rows at a time", plain, None, _error(loss), 1),
        *_planes("CNN", module, loss, data, GRID, repeats, 1.1),
    ]


def mlp_plane(repeats: int) -> list[dict[str, Any]]:
    """About 30k parameters, 2048 samples."""
    return _planes("MLP", *_subject(models.TwoBranchMLP(), 2048, steps=200), 21, repeats, 0.85)


def _planes(
    kind: str, module: nn.Module, loss: xl.Loss, data: Any, points: int, repeats: int, bar: float
) -> list[dict[str, Any]]:
    count = ROWS[kind]
    plain = "plain forward" if count >= len(data[2]) else f"plain forward, {count} rows at a time"
    contestants: dict[str, Callable[[], Any]] = {
        "ours": lambda: xl.landscape.plane(loss, points=points),
        plain: lambda: _plain(module, data, points**2, count),
        "loss-landscapes": lambda: _loss_landscapes(module, data, points, count),
        "loss-landscape-3d": lambda: _loss_landscape_3d(module, data, points, count),
    }
    bars: dict[str, float | None] = {plain: bar, "loss-landscapes": None, "loss-landscape-3d": None}
    table = contest(contestants, repeats, bars, f"plane {points}x{points}, {kind}")
    return [{**line, "error": _error(loss)} for line in table]


def within_tolerance(kind: str, module: nn.Module, samples: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    """41x41 points to within 1e-2 of the range of values, beside every point; the error is the largest of any point."""
    _, loss, _ = _subject(module, samples, steps)
    full = xl.landscape.plane(loss, points=41)
    contestants: dict[str, Callable[[], Any]] = {
        "ours": lambda: xl.landscape.plane(loss, points=41, tolerance=1e-2),
        "every point": lambda: xl.landscape.plane(loss, points=41),
    }

    def off(plane: Any) -> float:
        return float(np.abs(plane - full).max() / np.ptp(full.values))

    share = contestants["ours"]().attrs["computed"]
    path = f"plane 41x41 within 1e-2 ({share:.0%} of the points), {kind}"
    return contest(contestants, 1 if kind == "CNN" else repeats, {"every point": None}, path, off)


def cnn_modality_plane(repeats: int) -> dict[str, Any]:
    """One encoder along each axis, beside the same plane by brute force."""
    _, loss, _ = _subject(models.TwoBranchCNN(), 256, steps=30)
    pair = [xl.landscape.directions(loss, 1, seed=i, params=m)[0] for i, m in enumerate(("image", "audio"))]
    results: dict[str, Any] = {}

    def ours() -> None:
        results["ours"] = xl.landscape.modality_plane(loss, "image", "audio", points=GRID, directions=pair)

    def brute() -> None:
        results["brute"] = xl.landscape.plane(loss, points=GRID, directions=pair)

    timed = alternate({"ours": ours, "brute": brute}, repeats, warm_up=False)
    error = float(np.abs(results["ours"] - results["brute"]).max())
    path, bar = f"modality plane {GRID}x{GRID}, CNN", 1.5 / GRID
    return row(path, timed["ours"], "brute force", timed["brute"], bar, error, repeats)


def _subject(module: nn.Module, samples: int, steps: int) -> tuple[nn.Module, xl.Loss, Any]:
    models.train(module, steps)
    data = models.batch(module, samples, seed=1)
    return module, xl.Loss.from_module(module, data), data


@torch.no_grad()
def _plain(module: nn.Module, data: Any, points: int, rows: int) -> float:
    """The least anyone can do: one forward pass per point, parameters left where they are."""
    image, audio, labels = data
    total = 0.0
    for _ in range(points):
        for k in range(0, len(labels), rows):
            part = slice(k, k + rows)
            total += float(F.cross_entropy(module(image[part], audio[part]), labels[part], reduction="sum"))
    return total


class _Joined(nn.Module):
    """The same network behind one tensor, for peers that know no other input."""

    def __init__(self, model: nn.Module, shapes: tuple[torch.Size, torch.Size]) -> None:
        super().__init__()
        self.model, self.shapes = model, shapes

    def forward(self, joined: Tensor) -> Tensor:
        """Logits of every row."""
        image, audio = joined.split([shape.numel() for shape in self.shapes], 1)
        logits: Tensor = self.model(image.unflatten(1, self.shapes[0]), audio.unflatten(1, self.shapes[1]))
        return logits


def _loss_landscapes(module: nn.Module, data: Any, points: int, rows: int) -> Any:
    import loss_landscapes
    from loss_landscapes.metrics.metric import Metric

    class InChunks(Metric):
        """The mean loss, ``rows`` at a time: its own metric takes all at once."""

        def __call__(self, wrapper: Any) -> float:
            return _plain(wrapper.get_modules()[0], data, 1, rows) / len(data[2])

    with torch.no_grad():
        return loss_landscapes.random_plane(copy.deepcopy(module), InChunks(), 1, points, normalization="filter")


def _loss_landscape_3d(module: nn.Module, data: Any, points: int, rows: int) -> Any:
    import loss_landscape_3d as peer

    image, audio, labels = data
    model = _Joined(copy.deepcopy(module), (image.shape[1:], audio.shape[1:]))
    # Batches made beforehand: a DataLoader would put them together row by row at every point.
    batches = list(zip(torch.cat([image.flatten(1), audio.flatten(1)], 1).split(rows), labels.split(rows), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x, y = peer.generate_random_directions(model)
        steps = np.linspace(-1, 1, points)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        return peer.LossLandscapeCalculator(model, batches, nn.CrossEntropyLoss()).calculate(steps, steps, x, y, state)


def _error(loss: xl.Loss) -> float:
    """Largest relative difference from θ + a d1 + b d2 written out, at five points."""
    pair = xl.landscape.directions(loss, 2)
    table = [[0.0, 0.0], [1.0, 1.0], [-1.0, 0.5], [0.3, -0.7], [-1.0, -1.0]] * 2
    ours = loss.along(pair, table)
    worst = 0.0
    for value, (a, b) in zip(ours.tolist(), table, strict=True):
        point = {k: p + a * pair[0][k] + b * pair[1][k] for k, p in loss.params.items()}
        expected = float(loss(point).detach())
        worst = max(worst, abs(value - expected) / abs(expected))
    return worst
