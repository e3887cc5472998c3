"""Planes: ours beside loss-landscapes and beside a plain forward pass per point, in processor time of one thread."""

from __future__ import annotations

import copy
import time
import warnings
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import xmodal_lab as xl

from . import models
from .timing import alternate, row

GRID = 7


def rows(repeats: int = 3) -> list[dict[str, Any]]:
    """One row per comparison."""
    return [*cnn_plane(repeats), mlp_plane(2 * repeats), cnn_modality_plane(repeats)]


def cnn_plane(repeats: int) -> list[dict[str, Any]]:
    """About 150k parameters, 256 samples.

    Once per loss we try what may be cut, which takes as long as three points. On a usual
    plane of 41x41 that is nothing, on this small one it shows: so the first plane has a row of its own.
    """
    module, loss, data = _subject(models.TwoBranchCNN(), 256, steps=30)
    peer = _peer(module, data)
    _plain(module, data, 1, rows=32)
    first = alternate(
        {"ours": lambda: xl.landscape.plane(loss, points=GRID)}, 1, warm_up=False, clock=time.process_time
    )
    timed = alternate(
        {
            "ours": lambda: xl.landscape.plane(loss, points=GRID),
            "chunks": lambda: _plain(module, data, GRID**2, rows=32),
            **({"peer": peer} if peer else {}),
        },
        repeats,
        warm_up=False,
        clock=time.process_time,
    )
    error = _error(loss)
    once = f"plane, CNN, the first of a loss, {GRID}x{GRID}"
    floor = "a plain forward, 32 rows at a time: the floor of any exact plane"
    return [
        row("plane, CNN", timed["ours"], "loss-landscapes", timed.get("peer"), 0.5, error, repeats),
        row(once, first["ours"], "loss-landscapes", timed.get("peer"), None, error, 1),
        row(floor, timed["chunks"], "loss-landscapes", timed.get("peer"), None, None, repeats),
        row("plane, CNN", timed["ours"], "plain forward, 32 rows at a time", timed["chunks"], 1.1, error, repeats),
    ]


def mlp_plane(repeats: int) -> dict[str, Any]:
    """About 30k parameters, 2048 samples."""
    module, loss, data = _subject(models.TwoBranchMLP(), 2048, steps=200)
    points = 21
    timed = alternate(
        {
            "ours": lambda: xl.landscape.plane(loss, points=points),
            "plain": lambda: _plain(module, data, points**2, rows=2048),
        },
        repeats,
        clock=time.process_time,
    )
    return row("plane, MLP", timed["ours"], "plain forward", timed["plain"], 0.85, _error(loss), repeats)


def cnn_modality_plane(repeats: int) -> dict[str, Any]:
    """One encoder along each axis, beside the same plane by brute force."""
    _, loss, _ = _subject(models.TwoBranchCNN(), 256, steps=30)
    pair = [xl.landscape.directions(loss, 1, seed=i, params=m)[0] for i, m in enumerate(("image", "audio"))]
    results: dict[str, Any] = {}

    def ours() -> None:
        results["ours"] = xl.landscape.modality_plane(loss, "image", "audio", points=GRID, directions=pair)

    def brute() -> None:
        results["brute"] = xl.landscape.plane(loss, points=GRID, directions=pair)

    timed = alternate({"ours": ours, "brute": brute}, repeats, warm_up=False, clock=time.process_time)
    error = float(np.abs(results["ours"] - results["brute"]).max())
    path, bar = f"modality plane {GRID}x{GRID}, CNN", 1.5 / GRID
    return row(path, timed["ours"], "brute force", timed["brute"], bar, error, repeats)


def _subject(module: torch.nn.Module, samples: int, steps: int) -> tuple[torch.nn.Module, xl.Loss, Any]:
    models.train(module, steps)
    data = models.batch(module, samples, seed=1)
    return module, xl.Loss.from_module(module, data), data


@torch.no_grad()
def _plain(module: torch.nn.Module, data: Any, points: int, rows: int) -> float:
    """The least anyone can do: one forward pass per point, parameters left where they are."""
    image, audio, labels = data
    total = 0.0
    for _ in range(points):
        for k in range(0, len(labels), rows):
            part = slice(k, k + rows)
            total += float(F.cross_entropy(module(image[part], audio[part]), labels[part], reduction="sum"))
    return total


def _peer(module: torch.nn.Module, data: Any) -> Any:
    try:
        import loss_landscapes
        from loss_landscapes.metrics import Loss
    except ImportError:
        return None
    packed = models.Packed(module)
    metric = Loss(F.cross_entropy, tuple(data[:2]), data[2])

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss_landscapes.random_plane(copy.deepcopy(packed), metric, 1, GRID, normalization="filter")

    return run


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
