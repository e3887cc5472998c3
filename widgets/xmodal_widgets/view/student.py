"""Student's t, for the bands of a view. SciPy has it, and takes as long to import as a view takes to open."""

from __future__ import annotations

import math
from statistics import NormalDist

# Degrees of freedom beyond which a series in their inverse is exact to 1e-12: the sum below has half as many terms.
_MANY = 400
_STEPS = 60  # of Newton's method, at most


def quantiles(most: int, confidence: float = 0.95) -> list[float]:
    """The two-sided quantiles t with P(|T| ≤ t) = ``confidence``, for 1 to ``most`` degrees of freedom."""
    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    few = [_quantile(df, confidence, normal) for df in range(1, min(most, _MANY) + 1)]
    return few + [_series(df, normal) for df in range(_MANY + 1, most + 1)]


def _series(df: int, z: float) -> float:
    """The quantile from the normal one, in powers of 1/df; Abramowitz and Stegun, 26.7.5."""
    parts = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(part / df**power for power, part in enumerate(parts))


def _quantile(df: int, confidence: float, below: float) -> float:
    """Newton's method from ``below``, the normal quantile: P(|T| ≤ t) is concave, so that no step goes beyond."""
    factor = 2 * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    t = below
    for _ in range(_STEPS):
        step = (confidence - _within(math.atan(t / math.sqrt(df)), df)) / factor * (1 + t * t / df) ** ((df + 1) / 2)
        t += step
        if abs(step) <= 1e-13 * t:
            break
    return t


def _within(angle: float, df: int) -> float:
    """P(|T| ≤ √df tan(angle)); Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = df % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, df + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
