"""Augmentation: training inputs changed at random, each time they are seen.

    images        jitter, crop, flip              (dml, Sec 4.3 and App C.2)
    spectrograms  time_mask, frequency_mask       (SpecAugment, Park et al. 2019)

Names are joined by "+", as in ``fit(…, augment="jitter+crop+time_mask")``. Each goes to the
modalities of its kind. Nothing here knows what a class means: a flipped 2 is no 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..utils import checks as check

JITTER = 0.4  # brightness, contrast, saturation: factors in 1 ± 0.4 (dml, App C.2)
HUE = 0.1  # in turns of the colour circle, either way (dml, App C.2)
FLIP = 0.5  # chance (dml, App C.2)
CROP = 1 / 8  # of the side, either way (ours: 4 of 32 pixels, as is usual)
MASK = 1 / 4  # widest mask, as a share of the axis (ours)

# Several generators each draw for their own share of the rows, in turn: the members of a stack, changed at once.
Generators = torch.Generator | Sequence[torch.Generator]
Change = Callable[[Tensor, Generators], Tensor]


@dataclass(frozen=True)
class Augmentation:
    """What happens to each modality, in order; made by :func:`augmentation`."""

    changes: Mapping[str, tuple[Change, ...]]

    def __call__(self, inputs: Mapping[str, Tensor], generator: Generators) -> dict[str, Tensor]:
        """The changed inputs, modality -> (n, C, H, W); modalities without a change pass as they are.

        Of K generators each draws for n / K rows, and what it draws is what it would draw for them alone.
        """
        changed = dict(inputs)
        for m in inputs:
            for change in self.changes.get(m, ()):
                changed[m] = change(changed[m], generator)
        return changed


def augmentation(names: str, kinds: Mapping[str, str], shapes: Mapping[str, Sequence[int]]) -> Augmentation | None:
    """The augmentation called ``names`` for modalities of these kinds and shapes; None for "".

    Args:
        names: names out of :data:`NAMES`, joined by "+".
        kinds: modality -> "image" | "audio" | …, such as ``dataset.kinds``.
        shapes: modality -> shape of one sample.

    Raises:
        ValueError: an unknown name, one given twice, or one that no modality can take.
    """
    changes: dict[str, tuple[Change, ...]] = {}
    for name in named(names):
        kind, change = _KNOWN[name]
        fit = [m for m in kinds if kinds[m] == kind and len(shapes[m]) == 3]
        if not fit and kind in kinds.values():
            raise ValueError(f"augmentation {name!r} needs {kind} samples of shape (C, H, W); none is.")
        for m in fit:
            changes[m] = (*changes.get(m, ()), change)
    return Augmentation(changes) if names else None


def named(names: str) -> list[str]:
    """The single names in ``names``.

    Raises:
        ValueError: an unknown name, or one given twice. TypeError: no string.
    """
    if not isinstance(names, str):
        raise TypeError(f"augment must be names joined by '+', got {type(names).__name__} {names!r}.")
    found = [check.one_of("augmentation", name, _KNOWN) for name in names.split("+")] if names else []
    if len(set(found)) != len(found):
        raise ValueError(f"augment names one augmentation twice: {names!r}.")
    return found


# -- images ------------------------------------------------------------------------------------------


def jitter(x: Tensor, generator: Generators) -> Tensor:
    """Brightness, contrast and, of three channels, saturation and hue of each image (n, C, H, W).

    Brightness scales the distance from the image's darkest value, contrast that from its mean, so
    both mean the same in any units. Hue turns the two colour axes of YIQ.
    """
    dark = x.amin((1, 2, 3), keepdim=True)
    x = dark + _factor(x, generator) * (x - dark)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + _factor(x, generator) * (x - mean)
    if x.shape[1] != 3:
        return x
    grey = x.mean(1, keepdim=True)
    x = grey + _factor(x, generator) * (x - grey)
    yiq = x.new_tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    angle = (2 * torch.pi * HUE * (2 * _uniform(x, generator) - 1)).view(-1)
    turn = torch.eye(3, dtype=x.dtype, device=x.device).repeat(len(x), 1, 1)
    turn[:, 1, 1], turn[:, 2, 2] = angle.cos(), angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -angle.sin(), angle.sin()
    return torch.einsum("nij,njhw->nihw", torch.linalg.inv(yiq) @ turn @ yiq, x)


def crop(x: Tensor, generator: Generators) -> Tensor:
    """Each image (n, C, H, W) moved by up to ``CROP`` of its sides; what is laid bare repeats the edge."""
    for axis in (2, 3):
        size = x.shape[axis]
        most = max(1, round(CROP * size))
        by = ((2 * most + 1) * _uniform(x, generator)).long().clamp(max=2 * most) - most
        shape = [1] * 4
        shape[axis] = size
        source = (torch.arange(size, device=x.device).view(shape) + by).clamp(0, size - 1)
        x = x.gather(axis, source.expand(x.shape))
    return x


def flip(x: Tensor, generator: Generators) -> Tensor:
    """Each image (n, C, H, W) mirrored left to right with chance ``FLIP``."""
    return torch.where(_uniform(x, generator) < FLIP, x.flip(3), x)


# -- spectrograms ------------------------------------------------------------------------------------


def mask(x: Tensor, generator: Generators, axis: int) -> Tensor:
    """A band along ``axis`` of each spectrogram (n, C, bands, frames) set to its mean.

    Its width is uniform up to ``MASK`` of the axis, its place uniform (SpecAugment, Sec 2).
    """
    size = x.shape[axis]
    width = (MASK * size * _uniform(x, generator)).round()
    start = ((size - width + 1) * _uniform(x, generator)).floor()
    shape = [1] * 4
    shape[axis] = size
    at = torch.arange(size, device=x.device).view(shape)
    return torch.where((at >= start) & (at < start + width), x.mean((1, 2, 3), keepdim=True), x)


_KNOWN: dict[str, tuple[str, Change]] = {
    "jitter": ("image", jitter),
    "crop": ("image", crop),
    "flip": ("image", flip),
    "time_mask": ("audio", partial(mask, axis=3)),
    "frequency_mask": ("audio", partial(mask, axis=2)),
}
NAMES = tuple(_KNOWN)


def _uniform(x: Tensor, generator: Generators) -> Tensor:
    """One number in [0, 1) per row, (n, 1, 1, 1); drawn on the CPU in float64, the same for every device and dtype."""
    each = [generator] if isinstance(generator, torch.Generator) else generator
    rows = len(x) // len(each)
    drawn = [torch.rand(rows, 1, 1, 1, generator=g, dtype=torch.float64) for g in each]
    return (drawn[0] if len(drawn) == 1 else torch.cat(drawn)).to(x)


def _factor(x: Tensor, generator: Generators) -> Tensor:
    return 1 + JITTER * (2 * _uniform(x, generator) - 1)
