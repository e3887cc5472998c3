"""Encoders that are trained along: full fine-tuning of the picture encoder, and an unfrozen layer of the text's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ....data.samples import Dataset
from ....data.unpaired import unpaired
from ..worlds import given as own
from ..worlds.small import digit_net, world
from .grids import search
from .heads import Head


class PairNet(nn.Module):
    """Two digits side by side, (n, 2 · 64) pixels → (n, 64): the net of one digit on each, scaled as in the worlds.

    Args:
        pixels: training pictures, for the scale.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()
        digit = digit_net("image")
        self.body = nn.Sequential(
            *[nn.Linear(p.in_features, p.out_features) if isinstance(p, nn.Linear) else p.__class__() for p in digit]
        )
        self.body.load_state_dict(digit.state_dict())
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("sd", torch.ones(1))
        with torch.no_grad():
            z = self(pixels)
            self.mean, self.sd = z.mean(0), (z.std(0) + 1e-6) * z.shape[1] ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """(n, 128) → (n, 64)."""
        each = self.body(x.reshape(-1, 64)).reshape(len(x), -1)
        out: Tensor = (each - self.mean) / self.sd
        return out


def full_accuracies(seeds: Sequence[int], grid: dict[str, Sequence[float]] | None = None) -> dict[str, np.ndarray]:
    """Test accuracy of full fine-tuning on all pictures of the numbers world: "unimodal" and "uml", (seeds,).

    Args:
        seeds: of start and batches.
        grid: searched on the validation split, for both alike (ours: two learning rates).
    """
    data = world("numbers", "raw")
    net = PairNet(data.train["image"][0])
    head = Head(auxiliary=("caption",), shots=None, aux_shots=16, tune=("image",))
    arms = {"unimodal": replace(head, aux_shots=0), "uml": head}
    heads = [replace(h, seed=s) for h in arms.values() for s in seeds]
    best = search(data, heads, grid or {"lr": (0.03, 0.1)}, {"image": net}).best
    accuracy = np.array([t.accuracy for t in best]).reshape(2, -1)
    return dict(zip(arms, accuracy, strict=True))


def last_layer(width: int) -> nn.Linear:
    """The encoder's last layer, on its frozen embeddings: linear (width, width), the identity at the start."""
    layer = nn.Linear(width, width, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(width))
    return layer


def text_layer(seeds: Sequence[int], dataset: Dataset | None = None, shots: int = 4) -> dict[str, np.ndarray]:
    """Test accuracy with the text encoder's last layer "frozen" and "unfrozen", (seeds,).

    Args:
        seeds: of shots, start and batches.
        dataset: of features (see :mod:`.own`); the numbers world by default.
        shots: of the target.
    """
    data, target, text = (world(), "image", "caption")
    if dataset is not None:
        data, target, text = unpaired(dataset), own.target_of(dataset), str(own.text_of(dataset))
    layer = last_layer(data.train[text][0].shape[1])
    most = {m: own.fewest(data.train[m][1]) for m in (target, text)}
    frozen = Head(target, (text,), shots=min(shots, most[target]), aux_shots=min(12, most[text]))
    arms = {"frozen": frozen, "unfrozen": replace(frozen, tune=(text,))}
    heads = [replace(h, seed=s) for h in arms.values() for s in seeds]
    best = search(data, heads, {"lr": (0.1, 0.3)}, {text: layer}).best
    accuracy = np.array([t.accuracy for t in best]).reshape(2, -1)
    return dict(zip(arms, accuracy, strict=True))
