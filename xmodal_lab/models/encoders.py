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

from ..data.kinds import check_channels, kind_of
from ..utils import checks as check
from .pretrained.encoder import Pretrained as Pretrained
from .pretrained.encoder import pretrained as pretrained

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
        shape = sizes("shape", shape)
        width, hidden = check.integer("width", width, at_least=1), check.integer("hidden", hidden, at_least=1)
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
        shape, channels = sizes("shape", shape), sizes("channels", channels)
        width = check.integer("width", width, at_least=1)
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


class TokenEncoder(nn.Module):
    """Token ids → a table of vectors → their mean over what is no padding → Linear → ReLU: (N, L) → (N, width).

    Args:
        ids: rows of the table: the largest id, and one. Id 0 is padding.
        width: of the feature.
        hidden: of the vectors (64: ours).
    """

    def __init__(self, ids: int, width: int = 32, hidden: int = 64) -> None:
        super().__init__()
        width, hidden = check.integer("width", width, at_least=1), check.integer("hidden", hidden, at_least=1)
        self.table = nn.Embedding(check.integer("ids", ids, at_least=1), hidden)
        self.linear = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, width) of ids (N, L); zeros stand for the words of a row that is all padding."""
        here = (x > 0).unsqueeze(-1).to(self.table.weight.dtype)
        mean = (self.table(x) * here).sum(1) / here.sum(1).clamp(min=1)
        return torch.relu(self.linear(mean))


def encoder(
    kind: str,
    shape: Sequence[int],
    width: int = 32,
    architecture: str = "auto",
    norm: str = "group",
    ids: int | None = None,
) -> nn.Module:
    """The small encoder for one modality.

    Args:
        kind: "image" | "audio" | "text" | "vector" | "tokens" | "series", as in ``Dataset.kinds``.
        shape: of one sample.
        width: of the feature.
        architecture: "cnn", "mlp", or "auto": a CNN for images and audio of shape (C, H, W), else an MLP.
        norm: of the CNN.
        ids: how many token ids there are, for kind "tokens", such as ``dataset.vocabulary[modality]``.

    Returns:
        A module from (N, *shape) to (N, width).

    Raises:
        ValueError: unknown kind, architecture or norm; a CNN for samples that are not (C, H, W); tokens without
            ``ids`` or of more than one axis.
    """
    kind = kind_of("kind", kind)
    check.one_of("architecture", architecture, ARCHITECTURES)
    shape, width = sizes("shape", shape), check.integer("width", width, at_least=1)
    if kind == "image":
        check_channels("samples of an image encoder", shape)
    if kind == "tokens":
        if ids is None or len(shape) != 1:
            raise ValueError(f"an encoder of tokens needs samples of shape (L,) and ids=, got {shape} and {ids}.")
        return TokenEncoder(ids, width)
    if architecture == "auto":
        architecture = "cnn" if kind in ("image", "audio") and len(shape) == 3 else "mlp"
    return ConvEncoder(shape, width, norm) if architecture == "cnn" else MLPEncoder(shape, width)


def _norm(norm: str, channels: int) -> nn.Module:
    if norm == "group":
        return nn.GroupNorm(math.gcd(channels, 8), channels)
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()


def zeros_like_absent(reference: Tensor, shape: Sequence[int]) -> Tensor:
    """The input of an absent modality: zeros (dml, Eq 1, x̄_j), one row of ``shape`` per row of ``reference``.

    Raises:
        ValueError: a reference without rows.
    """
    rows = check.instance("reference", reference, Tensor, "the input of another modality")
    if rows.ndim == 0:
        raise ValueError("reference must have rows, got a 0-d tensor.")
    return torch.zeros(len(rows), *sizes("shape", shape), dtype=rows.dtype, device=rows.device)


def input_dtype(module: nn.Module, fallback: Tensor) -> torch.dtype:
    """The dtype that ``module`` reads: int64 where it holds a table of ids, else its own, else ``fallback``'s."""
    if any(isinstance(part, nn.Embedding) for part in module.modules()):
        return torch.int64
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), fallback.dtype)


def sizes(what: str, value: Sequence[int]) -> tuple[int, ...]:
    """Return ``value`` as a tuple of whole numbers of at least 1; ``what`` names it in the message."""
    return tuple(check.integer(f"a size in {what}", n, at_least=1) for n in check.listed(what, value))


def check_input(modality: str, x: object, shape: Sequence[int], module: nn.Module) -> None:
    """Say what does not fit, after ``module`` failed on the input ``x`` of a modality; nothing where it fits.

    Raises:
        TypeError, ValueError: no tensor; samples of another shape; another dtype; a tensor without numbers.
    """
    given = check.instance(f"inputs[{modality!r}]", x, Tensor)
    if given.ndim == 0 or tuple(given.shape[1:]) != tuple(shape):
        raise ValueError(
            f"inputs[{modality!r}] must have shape (N, {', '.join(map(str, shape))}), got {tuple(given.shape)}."
        )
    if given.is_inference() and torch.is_grad_enabled():
        raise ValueError(f"inputs[{modality!r}] come from inference mode, which no gradient can pass; use .clone().")
    known = next(module.parameters(), given)
    wanted = input_dtype(module, given)
    if given.dtype != wanted or given.device != known.device or given.layout != torch.strided:
        raise ValueError(
            f"inputs[{modality!r}] are {given.dtype}, {given.layout} on {given.device}, the net is {wanted} on "
            f"{known.device}; use .to(dtype) and .to(device)."
        )
