"""Confidence intervals of a mean over seeds, and numbers as they are printed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import checks as check

# Below this, a number of size 1 computed in float64 is rounding: it is another on every processor (ours: 5000 eps).
ROUND_OFF = 1e-12


def printed(value: float, spec: str = ".2g") -> str:
    """An error as it is printed: "< 1e-12" where it is rounding, 0 included, else by the format ``spec``.

    Example:
        >>> from xmodal_lab.utils.statistics import printed
        >>> printed(2.9e-14), printed(0.0), printed(0.0123)
        ('< 1e-12', '< 1e-12', '0.012')
    """
    return f"< {ROUND_OFF:.0e}" if abs(value) < ROUND_OFF else format(value, spec)


def mean_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Mean and half width of Student's t interval.

        mean ± t_{(1+level)/2, n-1} · s / √n

    Args:
        values: (n,), one per seed.
        level: of confidence, in (0, 1).

    Returns:
        (mean, half width), in the units of ``values``; the half width of a single value is NaN, and so are both
        where a value is.

    Raises:
        ValueError: no value, or a level outside (0, 1).

    Example:
        >>> from xmodal_lab.utils.statistics import mean_interval
        >>> mean, half = mean_interval([0.5, 0.6, 0.7])
        >>> round(mean, 3), round(half, 3)
        (0.6, 0.248)
    """
    from scipy import stats

    given = check.as_tensor("values", values)
    if given.is_complex():
        raise TypeError(f"values must be real numbers, got {given.dtype}.")
    numbers = given.detach().cpu().double().numpy().ravel()
    if len(numbers) == 0:
        raise ValueError("an interval needs at least one value.")
    level = check.real("level", level)
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level!r}.")
    if len(numbers) == 1:
        return float(numbers[0]), float("nan")
    with np.errstate(invalid="ignore", over="ignore"):  # of infinite values, and of huge ones
        spread = float(numbers.std(ddof=1))
    half = float(stats.t.ppf(0.5 + level / 2, len(numbers) - 1)) * spread / len(numbers) ** 0.5
    return float(numbers.mean()), half
