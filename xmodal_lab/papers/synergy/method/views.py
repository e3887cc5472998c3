"""What a net of M_i or M_j is given to see: standardised inputs, and the spoilt test splits beside the clean one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ....data.corruptions import corruption
from ....data.samples import Samples

# Test splits: name -> corruption, by kind of modality; severity 3 of 5 unless asked otherwise (ours).
SPOILT = {
    "image": {"shifted": "translation", "occluded": "occlusion", "noisy": "gaussian_noise"},
    "audio": {"shifted": "time_shift", "occluded": "time_mask", "noisy": "gaussian_noise"},
}
TESTS = ("clean", "shifted", "occluded", "noisy")
# Of vectors (sentences), by severity 1 to 5: sd of a common offset, share of entries zeroed, sd of noise (ours).
_VECTOR = {"shifted": (0.25, 0.5, 0.75, 1.0, 1.5), "occluded": (0.1, 0.2, 0.3, 0.4, 0.5)}
_VECTOR["noisy"] = _VECTOR["shifted"]


class Standardizer:
    """Shifts and scales inputs by mean and sd of the training inputs, and averages pictures down to ``resolution``.

    Args:
        train: (N, ...) training inputs, which set mean and sd.
        resolution: pixels a side at most; 0 leaves pictures as they are.
    """

    def __init__(self, train: Tensor, resolution: int) -> None:
        self.resolution = resolution
        seen = self._small(train)
        self.mean, self.sd = float(seen.mean()), float(seen.std().clamp_min(1e-12))

    def __call__(self, x: Tensor) -> Tensor:
        """Inputs as the net sees them, float32."""
        return (self._small(x) - self.mean) / self.sd

    def _small(self, x: Tensor) -> Tensor:
        x = x.float()
        if x.dim() != 4 or not self.resolution or max(x.shape[2:]) <= self.resolution:
            return x
        height, width = (min(n, self.resolution) for n in x.shape[2:])
        return functional.adaptive_avg_pool2d(x, (height, width))


def spoilt(samples: Samples, modality: str, kind: str, severity: int, seed: int = 0) -> dict[str, Tensor]:
    """The modality's inputs of a test split, clean and in three ways spoilt: name of :data:`TESTS` -> (N, ...)."""
    x = samples.inputs[modality]
    found = {"clean": x}
    for name in TESTS[1:]:
        if kind in SPOILT and x.dim() == 4:
            found[name] = corruption(SPOILT[kind][name], kind)(x, severity, seed)
        else:
            found[name] = _spoilt_vector(x, name, _VECTOR[name][severity - 1], seed)
    return found


def _spoilt_vector(x: Tensor, how: str, level: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 101)
    sd = x.std()
    if how == "shifted":
        direction = torch.randn(x.shape[1:], generator=generator, dtype=torch.float32)
        return x + level * sd * direction
    if how == "occluded":
        return torch.where(
            torch.rand(x.shape, generator=generator, dtype=torch.float32) < level, torch.zeros_like(x), x
        )
    return x + level * sd * torch.randn(x.shape, generator=generator, dtype=torch.float32)
