"""Small nets whose parameters are stacked: K encoders g with heads h, one product for all of them.

    z = features(params, x)      g, (K, N, d)
    logits(params, z)            h, (K, N, classes)

The encoder is x → hidden → ReLU → d, after three strided convolutions for architecture "cnn". Other small nets are put
together of the same parts: :func:`uniform` weights, and a :func:`linear` or :func:`affine` layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .modules import Params

ARCHITECTURES = ("mlp", "cnn")
_CHANNELS = (8, 16, 16)  # of the three convolutions (ours)


def uniform(generator: torch.Generator, fan_in: int, *size: int) -> Tensor:
    """Numbers uniform on ±1/√``fan_in``, of shape ``size``: torch's law for weights, drawn from ``generator``."""
    return (2 * torch.rand(*size, generator=generator, dtype=torch.float32) - 1) / math.sqrt(fan_in)


def linear(params: Params, name: str, h: Tensor) -> Tensor:
    """H W + b of the layer called ``name``, one product for all members: (K, N, i) → (K, N, o)."""
    return torch.baddbmm(params[f"{name}.bias"], h, params[f"{name}.weight"])


def affine(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """As :func:`linear`, of ``x`` with any leading sizes that broadcast with (K,): (n, i) or (K, …, n, i)."""
    return x @ params[f"{name}.weight"] + params[f"{name}.bias"]


def start(seed: int, shape: Sequence[int], hidden: int, width: int, classes: int, architecture: str = "mlp") -> Params:
    """One net's starting parameters, uniform on ±1/√fan-in as in torch.

    Args:
        seed: of the draw.
        shape: of one input; "cnn" needs (channels, height, width).
        hidden, width, classes: units of the hidden layer, of z, of the output.
        architecture: "mlp" or "cnn".

    Raises:
        ValueError: a "cnn" for inputs that are no picture.
    """
    generator = torch.Generator().manual_seed(seed * 7919 + 11)
    params: Params = {}

    def draw(name: str, fan_in: int, *size: int) -> None:
        params[name] = uniform(generator, fan_in, *size)

    inputs = math.prod(shape)
    if architecture == "cnn":
        if len(shape) != 3:
            raise ValueError(
                f"architecture 'cnn' needs inputs (channels, height, width), got {tuple(shape)}; use 'mlp'."
            )
        channels = (shape[0], *_CHANNELS)
        for i in range(len(_CHANNELS)):
            draw(f"kernel{i}", 9 * channels[i], channels[i + 1], channels[i], 3, 3)
            draw(f"shift{i}", 9 * channels[i], channels[i + 1])
        side = [-(-n // 8) for n in shape[1:]]
        inputs = _CHANNELS[-1] * side[0] * side[1]
    draw("w1", inputs, inputs, hidden)
    draw("b1", inputs, 1, hidden)
    draw("w2", hidden, hidden, width)
    draw("b2", hidden, 1, width)
    draw("w3", width, width, classes)
    draw("b3", width, 1, classes)
    return params


def features(params: Params, x: Tensor) -> Tensor:
    """Latents z = g(x), (K, N, d), of inputs (K, N, ...), or (N, ...) for all members."""
    members = len(params["w1"])
    if "kernel0" in params:
        if x.dim() == 4:
            x = x.expand(members, *x.shape)
        for i in range(len(_CHANNELS)):
            x = _convolved(x, params[f"kernel{i}"], params[f"shift{i}"]).relu()
        flat = x.flatten(2)
    elif x.dim() > 2 and len(x) == members and x[0, 0].numel() == params["w1"].shape[1]:
        flat = x.flatten(2)
    else:
        flat = x.flatten(1).expand(members, -1, -1)
    hidden = torch.baddbmm(params["b1"], flat, params["w1"]).relu()
    return torch.baddbmm(params["b2"], hidden, params["w2"])


def logits(params: Params, z: Tensor) -> Tensor:
    """Class scores h(z), (K, N, classes)."""
    return torch.baddbmm(params["b3"], z, params["w3"])


def _convolved(x: Tensor, kernel: Tensor, shift: Tensor) -> Tensor:
    """A 3x3 convolution with stride 2 for each member: (K, N, C, H, W) → (K, N, C', H/2, W/2), as one with groups."""
    members, n, channels, *side = x.shape
    rows = x.transpose(0, 1).reshape(n, members * channels, *side)
    done = functional.conv2d(rows, kernel.flatten(0, 1), shift.flatten(), stride=2, padding=1, groups=members)
    return done.view(n, members, kernel.shape[1], *done.shape[2:]).transpose(0, 1)
