"""Encoders: one modality's input to a feature of a given width.

Small on purpose: what the lessons ask of them is to train in a second and to have a
Hessian. GroupNorm is the default, because BatchNorm's running statistics belong to one
point of parameter space and the instruments visit many. Large and frozen ones come from
``pretrained``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from . import _checks as check
from ._pretrained import Pretrained as Pretrained
from ._pretrained import pretrained as pretrained

ARCHITECTURES = ("auto", "cnn", "mlp")
NORMS = ("group", "batch", "none")


class MLPEncoder(nn.Sequential):
    """Flatten → Linear → ReLU → Linear → ReLU: (N, ...) → (N, width).

    Args:
        shape: of one sample.
        width: of the feature.
        hidden: of the layer between (64: ours).
    """

    def __init__(self, shape: Sequence[int], width: int = 32, hidden: int = 64) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.ReLU(), nn.Linear(hidden, width), nn.ReLU()
        )


class ConvEncoder(nn.Sequential):
    """Three 3x3 convolutions, pooled to 4x4, then Linear: (N, C, H, W) → (N, width).

    Args:
        shape: (C, H, W) of one sample.
        width: of the feature.
        norm: "group" | "batch" | "none", after each convolution.
        channels: of the three convolutions (ours).
    """

    def __init__(
        self, shape: Sequence[int], width: int = 32, norm: str = "group", channels: Sequence[int] = (8, 16, 32)
    ) -> None:
        if len(shape) != 3:
            raise ValueError(f"a ConvEncoder needs samples of shape (C, H, W), got {tuple(shape)}; use an MLPEncoder.")
        check.one_of("norm", norm, NORMS)
        layers: list[nn.Module] = []
        before, side = shape[0], min(shape[1:])
        for c in channels:
            stride = 2 if side > 8 else 1  # an 8x8 digit is kept whole, a spectrogram is halved until it is small
            layers += [nn.Conv2d(before, c, 3, stride, 1, bias=norm == "none"), _norm(norm, c), nn.ReLU()]
            before, side = c, side // stride
        layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * before, width), nn.ReLU()]
        super().__init__(*layers)


def encoder(
    kind: str, shape: Sequence[int], width: int = 32, architecture: str = "auto", norm: str = "group"
) -> nn.Module:
    """The small encoder for one modality.

    Args:
        kind: "image" | "audio" | "text" | "vector", as in ``Dataset.kinds``.
        shape: of one sample.
        width: of the feature.
        architecture: "cnn", "mlp", or "auto": a CNN for images and audio of shape (C, H, W), else an MLP.
        norm: of the CNN.

    Raises:
        ValueError: unknown kind, architecture or norm; a CNN for samples that are not (C, H, W).
    """
    check.one_of("kind", kind, ("image", "audio", "text", "vector"))
    check.one_of("architecture", architecture, ARCHITECTURES)
    check.integer("width", width, at_least=1)
    if architecture == "auto":
        architecture = "cnn" if kind in ("image", "audio") and len(shape) == 3 else "mlp"
    return ConvEncoder(shape, width, norm) if architecture == "cnn" else MLPEncoder(shape, width)


def _norm(norm: str, channels: int) -> nn.Module:
    if norm == "group":
        return nn.GroupNorm(math.gcd(channels, 8), channels)
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()


def zeros_like_absent(reference: Tensor, shape: Sequence[int]) -> Tensor:
    """The input of an absent modality: zeros (dml, Eq 1, x̄_j), one row per row of ``reference``."""
    return torch.zeros(len(reference), *shape, dtype=reference.dtype, device=reference.device)
