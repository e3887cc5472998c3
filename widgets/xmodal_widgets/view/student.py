"""Student's t, for the bands of a view. SciPy has it, and takes as long to import as a view takes to open."""

from __future__ import annotations

import math

_HALVINGS = 60  # of the angle's interval: to the last bit of a double


def quantiles(most: int, confidence: float = 0.95) -> list[float]:
    """The two-sided quantiles t with P(|T| ≤ t) = ``confidence``, for 1 to ``most`` degrees of freedom."""
    return [_quantile(df, confidence) for df in range(1, most + 1)]


def _quantile(df: int, confidence: float) -> float:
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, df) < confidence else (low, middle)
    return math.sqrt(df) * math.tan((low + high) / 2)


def _within(angle: float, df: int) -> float:
    """P(|T| ≤ √df tan(angle)); Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = df % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, df + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
