"""Corruptions of images and of log-mel spectrograms, in five severities.

The idea of five severities and most of the image kinds are those of ImageNet-C (Hendrycks and
Dietterich 2019), on which synergy (Tab 1) tests. The levels are ours: ImageNet-C's are made for
photographs in [0, 1], ours are in units of the data (standard deviations, shares of a side), so
that they mean the same for 8x8 digits, standardised arrays and decibels.

Everything is deterministic by seed, and the same seed draws the same noise field, block centre
and direction at every severity, so a higher severity distorts the same way, and more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..utils import checks as check
from ..utils.random import seed_of
from ..utils.shapes import Float
from ..utils.torch_state import full_precision, wide

Batch = Float[Tensor, "n c h w"]
Apply = Callable[[Any, float, torch.Generator], Any]

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One way to spoil a batch: ``corruption(x, severity, seed=0)``, (N, C, H, W) → the same shape, dtype, device.

    Attributes:
        name, kind: "gaussian_noise", … of an "image" or of "audio".
        levels: what severities 1 to 5 mean, in ``unit``.
        unit: of the levels.
        apply: (x, level, generator) -> the spoilt x.
    """

    name: str
    kind: str
    levels: tuple[float, ...]
    unit: str
    apply: Apply = field(repr=False)

    def __call__(self, x: Tensor, severity: int, seed: int = 0) -> Tensor:
        """The corrupted batch.

        Args:
            x: (N, C, H, W); of audio, H are the mel bands (low first) and W the frames. Units of
                standard deviation, minimum and maximum are those of this whole batch.
            severity: 1 to 5.
            seed: of what is drawn.

        Raises:
            ValueError: another shape, an empty batch, NaN or Inf, a severity that is not 1 to 5, constant values.
            TypeError: not a floating-point tensor.
        """
        level = self.levels[severity_of(severity) - 1]
        seed = check.integer("seed", seed, at_least=0)
        what = f"the batch for {self.name!r}"
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(f"{what} must be a floating-point tensor, got {getattr(x, 'dtype', type(x).__name__)}.")
        if x.ndim != 4 or x.numel() == 0:
            raise ValueError(f"{what} must have shape (N, C, H, W) and hold values, got {tuple(x.shape)}.")
        check.finite(what, x)
        # Half precision lacks kernels for resampling and loses what a small severity does.
        work = x.detach() if x.dtype in (torch.float32, torch.float64) else x.detach().float()
        spoilt: Tensor = self.apply(work, level, generator(seed, self.kind, self.name))
        return spoilt.to(x.dtype)


def severity_of(severity: object) -> int:
    """Return ``severity`` if it is one of 1 to 5."""
    number = check.integer("severity", severity)
    if number not in SEVERITIES:
        raise ValueError(f"severity must be 1, 2, 3, 4 or 5, got {number}.")
    return number


def generator(seed: int, *parts: str) -> torch.Generator:
    """A CPU generator for (seed, parts), so that every part draws its own numbers, on every device the same."""
    number = check.integer("seed", seed)
    return torch.Generator().manual_seed(seed_of(number, *parts))


def deviation(what: str, x: Tensor) -> float:
    """Standard deviation (1/N) of all values of ``x``, the unit of relative amplitudes."""
    sd = float(wide(x).std(correction=0))
    if not math.isfinite(sd):
        raise ValueError(
            f"{what} reaches {float(x.abs().max()):.3g}, and its variance overflows; make it smaller first."
        )
    if sd == 0.0:
        raise ValueError(f"{what} is constant, so its standard deviation, the unit of this noise, is 0.")
    return sd


def _normal(x: Tensor, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=x.dtype).to(x.device)


def _uniform(x: Tensor, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng, dtype=x.dtype).to(x.device)


def _signs(x: Tensor, rng: torch.Generator) -> Tensor:
    """One ±1 per row, (N, 1, 1, 1)."""
    return torch.where(_uniform(x, (len(x), 1, 1, 1), rng) < 0.5, -1.0, 1.0).to(x.dtype)


def _band(x: Tensor, dim: int, share: float, rng: torch.Generator) -> Tensor:
    """Per row, the positions along ``dim`` within a band of ``share`` of it; at one seed, wider bands hold narrower."""
    size = x.shape[dim]
    shape = [1, 1, 1, 1]
    shape[dim] = size
    middle = torch.arange(size, device=x.device, dtype=x.dtype).add(0.5).view(shape)
    centre = _uniform(x, (len(x), 1, 1, 1), rng) * size
    return (middle - centre).abs() <= max(share * size, 1.0) / 2


def _silence(x: Tensor) -> Tensor:
    """The lowest value of each row, (N, 1, 1, 1)."""
    return x.amin((1, 2, 3), keepdim=True)


# -- images ------------------------------------------------------------------------------------------


@check.shapechecked
def _gaussian_noise(x: Batch, level: float, rng: torch.Generator) -> Batch:
    return x + level * deviation("the batch", x) * _normal(x, tuple(x.shape), rng)


@full_precision()
@check.shapechecked
def _gaussian_blur(x: Batch, level: float, rng: torch.Generator) -> Batch:
    sigma = level * min(x.shape[2:])
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    weights = (-0.5 * (offsets / sigma) ** 2).exp()
    weights = weights / weights.sum()
    planes = functional.pad(x.flatten(0, 1)[:, None], (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(planes, weights.view(1, 1, -1, 1))
    return functional.conv2d(rows, weights.view(1, 1, 1, -1)).view(x.shape)


@check.shapechecked
def _contrast(x: Batch, level: float, rng: torch.Generator) -> Batch:
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + level * (x - mean)


@check.shapechecked
def _brightness(x: Batch, level: float, rng: torch.Generator) -> Batch:
    return x + level * deviation("the batch", x)


@check.shapechecked
def _occlusion(x: Batch, level: float, rng: torch.Generator) -> Batch:
    block = _band(x, 2, level, rng) & _band(x, 3, level, rng)
    return torch.where(block, x.mean((0, 2, 3), keepdim=True), x)


@check.shapechecked
def _translation(x: Batch, level: float, rng: torch.Generator) -> Batch:
    angle = 2 * math.pi * _uniform(x, (len(x),), rng)
    maps = torch.eye(2, 3, device=x.device, dtype=x.dtype).repeat(len(x), 1, 1)
    maps[:, :, 2] = 2 * level * torch.stack([angle.cos(), angle.sin()], 1)  # a side has length 2 in this frame
    return _resampled(x, maps)


@check.shapechecked
def _rotation(x: Batch, level: float, rng: torch.Generator) -> Batch:
    angle = math.radians(level) * _signs(x, rng).flatten()
    aspect = x.shape[2] / x.shape[3]
    maps = torch.zeros(len(x), 2, 3, device=x.device, dtype=x.dtype)
    maps[:, 0, 0] = maps[:, 1, 1] = angle.cos()
    maps[:, 0, 1] = -angle.sin() * aspect
    maps[:, 1, 0] = angle.sin() / aspect
    return _resampled(x, maps)


@full_precision()
def _resampled(x: Tensor, maps: Tensor) -> Tensor:
    """Bilinear resampling by (N, 2, 3) affine maps; what comes in from outside repeats the edge."""
    grid = functional.affine_grid(maps, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


@full_precision()
@check.shapechecked
def _pixelate(x: Batch, level: float, rng: torch.Generator) -> Batch:
    rows, columns = (_averaging(x, side, level) for side in x.shape[2:])
    return rows @ x @ columns.T


def _averaging(x: Tensor, side: int, share: float) -> Tensor:
    """The (side, side) matrix that replaces each position by the mean of its cell, of ``share`` · side cells."""
    cells = max(1, round(share * side))
    cell = torch.arange(side, device=x.device) * cells // side
    same = (cell[:, None] == cell).to(x.dtype)
    return same / same.sum(1)


@check.shapechecked
def _salt_and_pepper(x: Batch, level: float, rng: torch.Generator) -> Batch:
    drawn = _uniform(x, (len(x), 1, *x.shape[2:]), rng)
    salted = torch.where(drawn < level / 2, x.max(), x)
    return torch.where(drawn > 1 - level / 2, x.min(), salted)


# -- log-mel spectrograms: rows are bands, low first; columns are frames -----------------------------


@check.shapechecked
def _time_mask(x: Batch, level: float, rng: torch.Generator) -> Batch:
    return torch.where(_band(x, 3, level, rng), _silence(x), x)


@check.shapechecked
def _frequency_mask(x: Batch, level: float, rng: torch.Generator) -> Batch:
    return torch.where(_band(x, 2, level, rng), _silence(x), x)


@check.shapechecked
def _time_shift(x: Batch, level: float, rng: torch.Generator) -> Batch:
    frames = x.shape[3]
    by = _signs(x, rng).long() * math.ceil(level * frames)
    source = torch.arange(frames, device=x.device).view(1, 1, 1, -1) - by
    moved = x.gather(3, source.clamp(0, frames - 1).expand(x.shape))
    return torch.where((source >= 0) & (source < frames), moved, _silence(x))


@check.shapechecked
def _gain(x: Batch, level: float, rng: torch.Generator) -> Batch:
    return x + level * deviation("the batch", x) * _signs(x, rng)


@check.shapechecked
def _low_pass(x: Batch, level: float, rng: torch.Generator) -> Batch:
    bands = x.shape[2]
    passed = torch.arange(bands, device=x.device).view(1, 1, -1, 1) < max(1, round(level * bands))
    return torch.where(passed, x, _silence(x))


_SDS = (0.25, 0.5, 0.75, 1.0, 1.5)
_MASKS = (0.1, 0.2, 0.3, 0.4, 0.5)
_SD = "standard deviations of the batch"

_ALL = (
    Corruption("gaussian_noise", "image", _SDS, _SD, _gaussian_noise),
    Corruption("gaussian_blur", "image", (0.03, 0.05, 0.075, 0.1, 0.15), "sigma / shorter side", _gaussian_blur),
    Corruption("contrast", "image", (0.75, 0.6, 0.45, 0.3, 0.15), "share of the contrast kept", _contrast),
    Corruption("brightness", "image", _SDS, _SD, _brightness),
    Corruption("occlusion", "image", (0.2, 0.3, 0.4, 0.5, 0.6), "side of a grey block / side", _occlusion),
    Corruption("translation", "image", (0.04, 0.08, 0.12, 0.16, 0.2), "distance / side", _translation),
    Corruption("rotation", "image", (5.0, 10.0, 15.0, 20.0, 30.0), "degrees, either way", _rotation),
    Corruption("pixelate", "image", (0.8, 0.65, 0.5, 0.35, 0.25), "share of the resolution kept", _pixelate),
    Corruption("salt_and_pepper", "image", (0.02, 0.05, 0.1, 0.15, 0.25), "share of the pixels", _salt_and_pepper),
    Corruption("gaussian_noise", "audio", _SDS, _SD, _gaussian_noise),
    Corruption("time_mask", "audio", _MASKS, "share of the frames silenced", _time_mask),
    Corruption("frequency_mask", "audio", _MASKS, "share of the bands silenced", _frequency_mask),
    Corruption("time_shift", "audio", (0.05, 0.1, 0.15, 0.2, 0.3), "share of the frames, either way", _time_shift),
    Corruption("gain", "audio", _SDS, _SD + ", either way", _gain),
    Corruption("low_pass", "audio", (0.85, 0.7, 0.55, 0.4, 0.25), "share of the bands kept", _low_pass),
)

CORRUPTIONS: Mapping[str, Mapping[str, Corruption]] = MappingProxyType(
    {kind: MappingProxyType({c.name: c for c in _ALL if c.kind == kind}) for kind in ("image", "audio")}
)
"""Kind of modality ("image", "audio") -> name -> :class:`Corruption`."""


def corruption(name: str, kind: str) -> Corruption:
    """The corruption ``name`` for modalities of ``kind``.

    Raises:
        ValueError: a kind without corruptions, or a name that is not known; lists the known ones.
    """
    known = CORRUPTIONS[check.one_of("kind of modality with corruptions", kind, CORRUPTIONS)]
    return known[check.one_of(f"{kind} corruption", name, known)]
