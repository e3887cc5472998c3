"""The two networks that all benchmarks look at, and data that they can learn.

Both have two branches and meet in a small head, like the late-fusion nets of the dml
paper: a CNN of about 150 thousand parameters with GroupNorm (or BatchNorm), and an MLP of about 30 thousand.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 10


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a 1x1 shortcut; halves height and width."""

    def __init__(self, inside: int, outside: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False),
            _norm(norm, outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False),
            _norm(norm, outside),
        )
        self.shortcut = nn.Conv2d(inside, outside, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class _Branch(nn.Module):
    """One-channel picture -> 64 features: a stem, two residual blocks, the mean over places."""

    def __init__(self, kernel: int, stride: int, norm: str) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, kernel, stride=stride, padding=kernel // 2, bias=False), _norm(norm, 16), nn.ReLU()
        )
        self.blocks = nn.Sequential(_Residual(16, 32, norm), _Residual(32, 64, norm))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.stem(x)).mean((2, 3))
        return features


class TwoBranchCNN(nn.Module):
    """Image (N, 1, 28, 28) and spectrogram (N, 1, 112, 112) -> logits (N, 10)."""

    def __init__(self, norm: str = "group") -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(
            {"image": _Branch(kernel=3, stride=1, norm=norm), "audio": _Branch(kernel=5, stride=2, norm=norm)}
        )
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, CLASSES))

    def forward(self, image: Tensor, audio: Tensor) -> Tensor:
        """Logits of every row."""
        logits: Tensor = self.head(torch.cat([self.encoders["image"](image), self.encoders["audio"](audio)], 1))
        return logits


class TwoBranchMLP(nn.Module):
    """Two vectors (N, 64) -> logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()

        def branch() -> nn.Module:
            return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU())

        self.encoders = nn.ModuleDict({"image": branch(), "audio": branch()})
        self.head = nn.Sequential(nn.Linear(128, 40), nn.ReLU(), nn.Linear(40, CLASSES))

    def forward(self, image: Tensor, audio: Tensor) -> Tensor:
        """Logits of every row."""
        logits: Tensor = self.head(torch.cat([self.encoders["image"](image), self.encoders["audio"](audio)], 1))
        return logits


class Packed(nn.Module):
    """The same network behind one argument, for peers that call ``model(inputs)``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Logits of every row."""
        logits: Tensor = self.model(*inputs)
        return logits


def batch(model: nn.Module, samples: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(image, audio, labels): a class mean that ``seed`` does not change, plus noise that it does."""
    means, noise = torch.Generator().manual_seed(100), torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (samples,), generator=noise)
    if isinstance(model, TwoBranchCNN):
        centres = [
            4 * F.avg_pool2d(torch.randn(CLASSES, 1, 28, 28, generator=means), 5, 1, 2),
            6 * F.avg_pool2d(torch.randn(CLASSES, 1, 112, 112, generator=means), 9, 1, 4),
        ]
        scales = (0.5, 0.4)
    else:
        centres = [torch.randn(CLASSES, 64, generator=means) for _ in range(2)]
        scales = (0.35, 0.25)
    image, audio = (
        scale * centre[labels] + torch.randn(samples, *centre.shape[1:], generator=noise)
        for scale, centre in zip(scales, centres, strict=True)
    )
    return image, audio, labels


def train(model: nn.Module, steps: int, seed: int = 0) -> nn.Module:
    """A few steps of Adam on batches of 64, so that the loss has the shape of a trained net's."""
    torch.manual_seed(seed)
    image, audio, labels = batch(model, 1024, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for rows in torch.randint(0, len(labels), (steps, 64)):
        optimizer.zero_grad()
        F.cross_entropy(model(image[rows], audio[rows]), labels[rows]).backward()
        optimizer.step()
    return model.eval()


def _norm(kind: str, channels: int) -> nn.Module:
    return {"group": nn.GroupNorm(8, channels), "batch": nn.BatchNorm2d(channels)}[kind]
