"""How finely a modality is cut into tokens where nobody says: some 16 tokens, 64 at most where there is more to see."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST, MOST = 16, 64  # tokens of a picture (ours; ``shapes`` has 16, and every pair of tokens costs time in transport)
SLICES = 8  # of a sound at least (ours; as on ``shapes``)
PIXELS, FRAMES = 8, 4  # what is wanted where the picture or sound allows it, as on ``shapes``
NEAR = 1.5  # how many times as large or small a divisor may be in place of what is wanted (ours)


def patch_of(shape: Sequence[int]) -> int:
    """Pixels along a patch of a picture (C, H, W): 8, or what gives 16 to 64 patches; a divisor if one is near.

    Example:
        >>> from xmodal_lab.models.cutting import patch_of
        >>> [patch_of(shape) for shape in ((3, 32, 32), (1, 28, 28), (1, 14, 14), (3, 24, 96), (3, 224, 224))]
        [8, 7, 4, 8, 28]
    """
    height, width = shape[-2:]
    area = height * width
    return _near(_between(PIXELS, math.sqrt(area / MOST), math.sqrt(area / LEAST)), math.gcd(height, width))


def frames_of(shape: Sequence[int]) -> int:
    """Frames in a slice of a sound (C, bands, frames): 4, or what gives 8 to 64 slices; a divisor if one is near."""
    frames = shape[-1]
    return _near(_between(FRAMES, frames / MOST, frames / SLICES), frames)


def steps_of(shape: Sequence[int]) -> int:
    """Steps in one token of a sequence (L, f): 1, or what leaves 64 tokens."""
    return math.ceil(shape[0] / MOST)


def groups_of(length: int) -> int:
    """Features in one token of a vector: 1, or what leaves 16 tokens."""
    return math.ceil(length / LEAST)


def _between(wanted: float, low: float, high: float) -> int:
    """``wanted``, no more than ``high``, no less than ``low``, as a whole number of at least 1."""
    return max(1, math.ceil(max(low, min(wanted, high))))


def _near(wanted: int, length: int) -> int:
    """The divisor of ``length`` nearest to ``wanted`` by ratio, the larger of two; ``wanted`` where none is near."""
    divisors = [d for d in range(length, 0, -1) if length % d == 0 and max(d / wanted, wanted / d) <= NEAR]
    return min(divisors, key=lambda d: max(d / wanted, wanted / d), default=wanted)
