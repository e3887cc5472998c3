"""Flatness side by side with ten lines of PyTorch: a copy of the net, noise added to its parameters, a forward pass."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import xmodal_lab as xl

from . import models
from .timing import contest

TEN_LINES = "ten lines of PyTorch"


def rows(repeats: int = 3) -> list[dict[str, Any]]:
    """One row per measure, of an MLP of 30k parameters on 800 rows; errors in standard errors of either estimate."""
    module = models.TwoBranchMLP()
    models.train(module, 200)
    data = models.batch(module, 800, seed=1)
    loss = xl.Loss.from_module(module, data)
    sigma, samples, radii, directions = 0.01, 100, [3.0 * k for k in range(1, 11)], 30
    many = xl.flatness.lpf(loss, sigma, 2000, seed=9)
    low: dict[str, Callable[[], float]] = {
        "ours": lambda: xl.flatness.lpf(loss, sigma, samples).value,
        TEN_LINES: lambda: _lpf(module, data, sigma, samples),
    }
    gap: dict[str, Callable[[], Any]] = {
        "ours": lambda: xl.flatness.gap(loss, radii, directions).values,
        TEN_LINES: lambda: _gap(module, data, radii, directions),
    }
    spread = many.stderr * math.sqrt(2000 / samples)
    return [
        *contest(
            low,
            repeats,
            {TEN_LINES: None},
            "L_LPF, 100 draws, MLP; errors in standard errors",
            lambda value: abs(value - many.value) / spread,
        ),
        *contest(gap, repeats, {TEN_LINES: None}, "F_gap, 30 directions x 10 radii, MLP"),
    ]


@torch.no_grad()
def _lpf(module: nn.Module, data: Any, sigma: float, samples: int) -> float:
    image, audio, labels = data
    noisy, total = copy.deepcopy(module), 0.0
    for _ in range(samples):
        for p, theta in zip(noisy.parameters(), module.parameters(), strict=True):
            p.copy_(theta + sigma * torch.randn_like(theta))
        total += float(F.cross_entropy(noisy(image, audio), labels))
    return total / samples


@torch.no_grad()
def _gap(module: nn.Module, data: Any, radii: list[float], directions: int) -> torch.Tensor:
    image, audio, labels = data
    moved, centre = copy.deepcopy(module), float(F.cross_entropy(module(image, audio), labels))
    found = torch.zeros(directions, len(radii))
    for i in range(directions):
        drawn = [torch.randn_like(p) for p in module.parameters()]
        length = math.sqrt(sum(float(d.square().sum()) for d in drawn))
        for k, radius in enumerate(radii):
            for p, theta, d in zip(moved.parameters(), module.parameters(), drawn, strict=True):
                p.copy_(theta + (radius / length) * d)
            found[i, k] = abs(float(F.cross_entropy(moved(image, audio), labels)) - centre)
    return found.mean(0)
