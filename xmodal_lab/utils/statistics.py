"""Confidence intervals over seeds (means, ratios of means), their power, and numbers as they are printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

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
    half = _student(level, len(numbers) - 1) * spread / len(numbers) ** 0.5
    return float(numbers.mean()), half


@cache
def _student(level: float, freedom: int) -> float:
    """t_{(1+level)/2, freedom}; kept, since SciPy takes longer for it than for all else of an interval."""
    from scipy import stats

    return float(stats.t.ppf(0.5 + level / 2, freedom))


def detectable(sd: float, n: int, power: float = 0.8, level: float = 0.95) -> float:
    """The smallest mean that n values of this standard deviation tell from 0 with the given power.

    Two-sided t test, by the noncentral t distribution: δ with P(|T(δ √n / sd)| > t) = power.

    Args:
        sd: standard deviation of one value, at least 0.
        n: how many values, at least 2.
        power: in (0, 1).
        level: of the interval that has to exclude 0.

    Returns:
        δ, in the units of ``sd``; 0 for a standard deviation of 0.

    Raises:
        ValueError: fewer than two values, or a share outside (0, 1).

    Example:
        >>> from xmodal_lab.utils.statistics import detectable
        >>> round(detectable(1.0, 5), 2), round(detectable(1.0, 20), 2)
        (1.68, 0.66)
    """
    return sd * _detectable(check.integer("n", n, at_least=2), check.real("power", power), check.real("level", level))


@cache
def _detectable(n: int, power: float, level: float) -> float:
    from scipy import optimize, stats

    if not (0 < power < 1 and 0 < level < 1):
        raise ValueError(f"power and level must lie strictly between 0 and 1, got {power!r} and {level!r}.")
    edge = stats.t.ppf(0.5 + level / 2, n - 1)

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(edge, n - 1, shift)) - power  # the other tail is below 1e-4 here

    about = float(edge + stats.t.ppf(power, n - 1))
    return float(optimize.brentq(lacking, 0.0, 4 * about)) / n**0.5


def seeds_within(sd: float, half: float, level: float = 0.95, most: int = 10_000) -> int | None:
    """The smallest number of values whose interval of the mean is narrower than ± ``half``; None above ``most``.

    Args:
        sd: standard deviation of one value.
        half: half width, in the units of ``sd``.
        level: of confidence.
        most: where to give up.

    Example:
        >>> from xmodal_lab.utils.statistics import seeds_within
        >>> seeds_within(1.0, 1.0), seeds_within(1.0, 0.5), seeds_within(1.0, 1e-6)
        (7, 18, None)
    """
    widths = sd * _half_widths(level, most)
    enough = np.flatnonzero(widths < half)
    return int(enough[0]) + 2 if len(enough) else None


@cache
def _half_widths(level: float, most: int) -> np.ndarray:
    """Of Student's interval for a standard deviation of 1, from n = 2 on."""
    from scipy import stats

    n = np.arange(2, most + 1)
    widths: np.ndarray = stats.t.ppf(0.5 + level / 2, n - 1) / np.sqrt(n)
    return widths


def fieller(
    top: Sequence[float] | np.ndarray, bottom: Sequence[float] | np.ndarray, level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of a ratio of means, mean(top) / mean(bottom), of paired values (Fieller 1954).

    All ρ for which mean(top - ρ bottom) is not significantly different from 0.

    Args:
        top, bottom: (n,) paired, n at least 2.
        level: of confidence.

    Returns:
        (low, high); None where mean(bottom) may be 0, so that no finite interval exists.

    Raises:
        ValueError: fewer than two values, or not as many below as above.

    Example:
        >>> import numpy as np
        >>> from xmodal_lab.utils.statistics import fieller
        >>> low, high = fieller([2.0, 2.2, 1.9, 2.1], [1.0, 1.1, 1.0, 0.9])
        >>> bool(low < 2.05 < high)
        True
    """
    pairs = np.stack([np.asarray(top, dtype=float).ravel(), np.asarray(bottom, dtype=float).ravel()])
    n = pairs.shape[1]
    if n < 2:
        raise ValueError(f"a ratio's interval needs at least two pairs, got {n}.")
    quantile = _student(level, n - 1)
    spread = np.cov(pairs) / n
    above, below = pairs.mean(1)
    if not abs(below) > quantile * spread[1, 1] ** 0.5:
        return None
    return ratio_bounds(above, below, spread, quantile)


def ratio_bounds(top: float, bottom: float, spread: np.ndarray, quantile: float) -> tuple[float, float]:
    """Fieller's bounds of top / bottom: all ρ with (top - ρ bottom)² ≤ quantile² var(top - ρ bottom).

    Args:
        top, bottom: two means, ``bottom`` significantly different from 0.
        spread: (2, 2) their covariance.
        quantile: of Student's t.
    """
    q = quantile**2
    a = bottom**2 - q * spread[1, 1]
    b = top * bottom - q * spread[0, 1]
    c = top**2 - q * spread[0, 0]
    root = max(b * b - a * c, 0.0) ** 0.5
    ratio = top / bottom  # always inside; without noise it is both ends, up to rounding
    return float(min((b - root) / a, ratio)), float(max((b + root) / a, ratio))


def jackknife(function: Callable[..., float], *columns: Sequence[float] | np.ndarray) -> np.ndarray:
    """Pseudo-values of a function of means (Quenouille 1956, Tukey 1958): one per seed, for any rule about a mean.

    n f(all) - (n - 1) f(all but one). Their mean is the jackknife's estimate of f, and Student's interval of that
    mean is the jackknife's: so a ratio of mean slopes is judged without a ratio in every seed.

    Args:
        function: of the means of the columns, as in ``lambda a, b: np.log(a / b)``.
        columns: (n,) or (n, …) each, one row per seed.

    Returns:
        (n,) pseudo-values.

    Raises:
        ValueError: no column, fewer than two seeds, or columns of different length.

    Example:
        >>> import numpy as np
        >>> from xmodal_lab.utils.statistics import jackknife
        >>> jackknife(lambda a: a, [1.0, 2.0, 4.0])  # of a mean they are the values themselves
        array([1., 2., 4.])
    """
    given = [np.asarray(column, dtype=float) for column in columns]
    sizes = sorted({len(column) for column in given})
    if len(sizes) != 1 or sizes[0] < 2:
        raise ValueError(f"the jackknife needs columns of one length, at least 2; got lengths {sizes}.")
    n = sizes[0]
    whole = function(*[column.mean(0) for column in given])
    without = [function(*[np.delete(column, i, 0).mean(0) for column in given]) for i in range(n)]
    return np.array([n * whole - (n - 1) * part for part in without], dtype=float)
