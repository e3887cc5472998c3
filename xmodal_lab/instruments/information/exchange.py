"""How many words is an image worth: exchange rates from accuracies over shots of two modalities (uml, Sec 4.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...utils import checks as check
from ...utils.statistics import ratio_bounds
from .named_grid import in_order

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

SCALES = ("linear", "log")
INTERVALS = ("fieller", "bootstrap")
# Two fits whose R² differ by less are equally good, and less of the accuracy than this is rounding (both ours).
_TIE, _ROUNDING = 1e-9, 1e-10
ISOLINES = ["level", "images", "texts", "words"]


@dataclass(frozen=True, eq=False)
class Fit:
    """accuracy ≈ intercept + image_slope · s(images) + text_slope · s(texts); s(n) = n, or log(1 + n).

    Attributes:
        scale: "linear" (the paper's plane) or "log".
        intercept, image_slope, text_slope: least squares over the grid, mean of the seeds.
        ratio, interval: image_slope / text_slope, and its confidence interval. On the linear scale that is texts
            per image; on the log scale it is so where 1 + images = 1 + texts. NaN if refused.
        text_slope_interval: of text_slope.
        r2: share of the variance of the mean accuracies that the fit explains.
        residuals: (n_images, n_texts), mean accuracy minus fit.
        refused: why there is no rate; empty if there is one.
    """

    scale: str
    intercept: float
    image_slope: float
    text_slope: float
    ratio: float
    interval: tuple[float, float]
    text_slope_interval: tuple[float, float]
    r2: float
    residuals: np.ndarray
    refused: str

    def predict(self, images: Any, texts: Any) -> np.ndarray:
        """The fitted accuracy at these shots; arrays broadcast."""
        found = self.intercept + self.image_slope * _scaled(images, self.scale)
        return np.asarray(found + self.text_slope * _scaled(texts, self.scale))

    def texts_per_image(self, images: Any, texts: Any) -> np.ndarray:
        """The local rate (∂acc/∂images) / (∂acc/∂texts): constant on a plane, else ratio · (1 + texts)/(1 + images)."""
        images, texts = np.broadcast_arrays(np.asarray(images, dtype=float), np.asarray(texts, dtype=float))
        local = (1 + texts) / (1 + images) if self.scale == "log" else np.ones(images.shape)
        return np.asarray(self.ratio * local)

    def texts_at(self, level: float, images: Any) -> np.ndarray:
        """Texts that give accuracy ``level`` beside ``images``: the isoline."""
        left = (level - self.intercept - self.image_slope * _scaled(images, self.scale)) / self.text_slope
        with np.errstate(over="ignore"):
            return np.asarray(np.expm1(left) if self.scale == "log" else left)


@dataclass(frozen=True, eq=False)
class ExchangeRate:
    """What :func:`exchange_rate` found: the rate of the better fit, and both fits.

    Attributes:
        rate: words per image of the fit that ``leads``; NaN if refused.
        interval: its confidence interval.
        refused: why there is no rate, with the slope, its interval, R² and the largest residual; else "".
        leads: "plane" or "log", the fit with the larger R².
        plane, log: the two fits; each with its own ratio, interval, R², residuals and ``refused``.
        plane_rate, plane_interval: words per image by the plane, as in the paper.
        images, texts: the shots.
        accuracy: (n_images, n_texts), mean over seeds.
        words_per_text, level, seeds: as given; 0 seeds if the grid came without them.
        centre: (images, texts), where the log fit's rate is quoted: the middle of the window on its scale.
        log_rate, log_interval: words per image there, by the log fit.
    """

    rate: float
    interval: tuple[float, float]
    refused: str
    leads: str
    plane: Fit
    log: Fit
    plane_rate: float
    plane_interval: tuple[float, float]
    images: np.ndarray
    texts: np.ndarray
    accuracy: np.ndarray
    words_per_text: float
    level: float
    seeds: int
    centre: tuple[float, float]
    log_rate: float
    log_interval: tuple[float, float]

    @property
    def local(self) -> xr.DataArray:
        """The local marginal rate of the log fit on the grid, words per image, dims ("images", "texts").

        It falls with images and rises with texts, since both saturate; NaN if the log fit is refused.
        """
        import xarray as xr

        rate = self.words_per_text * self.log.texts_per_image(self.images[:, None], self.texts)
        name = {"long_name": "one more image is worth", "units": "words"}
        return xr.DataArray(rate, {"images": self.images, "texts": self.texts}, ("images", "texts"), "local", name)

    @property
    def measured(self) -> xr.DataArray:
        """The mean accuracies used, dims ("images", "texts"), for ``xl.plots.isolines``."""
        import xarray as xr

        axes = {"images": self.images, "texts": self.texts}
        return xr.DataArray(self.accuracy, axes, ("images", "texts"), "accuracy", {"long_name": "accuracy"})

    def isolines(
        self, levels: Sequence[float] | None = None, fit: str | None = None, points: int = 101
    ) -> pd.DataFrame:
        """Points of equal accuracy inside the window, as in Fig 8 and 9.

        Args:
            levels: accuracies; six between the fit's ends when left out (ours).
            fit: "plane" or "log"; the one that leads when left out.
            points: per line (ours).

        Returns:
            Columns level, images, texts, words; a level that the window does not reach has no rows.

        Raises:
            ValueError: the fit is refused (with its reason); an unknown fit; a level that is no number.
        """
        import pandas as pd

        fit = self.leads if fit is None else check.one_of("fit", fit, ("plane", "log"))
        chosen = self.plane if fit == "plane" else self.log
        if chosen.refused:
            raise ValueError(f"there are no isolines: {chosen.refused}")
        fitted = chosen.predict(self.images[:, None], self.texts)
        if levels is None:
            levels = np.linspace(fitted.min(), fitted.max(), 8)[1:-1].tolist()
        parts = []
        for level in (check.real("level", one) for one in check.listed("levels", levels)):
            images = np.linspace(self.images[0], self.images[-1], check.integer("points", points, at_least=2))
            texts = chosen.texts_at(level, images)
            edge = 1e-9 * max(1.0, self.texts[-1])
            inside = (texts >= self.texts[0] - edge) & (texts <= self.texts[-1] + edge)
            texts = np.clip(texts[inside], self.texts[0], self.texts[-1])
            columns = {"level": level, "images": images[inside], "texts": texts, "words": texts * self.words_per_text}
            parts.append(pd.DataFrame(columns))
        return (
            pd.concat(parts, ignore_index=True)
            if parts
            else pd.DataFrame(columns=["level", "images", "texts", "words"])
        )

    def summary(self) -> str:
        """One line: the better fit's rate with interval and R², or why there is none; the other fit beside it."""
        other = self._said("log" if self.leads == "plane" else "plane")
        if self.refused:
            return f"no exchange rate: {self.refused} (The other fit: {other}.)"
        return f"1 image ≈ {self._said(self.leads)}; {other}"

    def _said(self, fit: str) -> str:
        plane = fit == "plane"
        found = self.plane if plane else self.log
        rate, (low, high) = (self.plane_rate, self.plane_interval) if plane else (self.log_rate, self.log_interval)
        name = "plane" if plane else f"log fit at {self.centre[0]:.1f} images and {self.centre[1]:.1f} texts"
        if found.refused:
            return f"{name} refused, R² {found.r2:.2f}"
        interval = f"{100 * self.level:.0f} % interval {low:.0f} to {high:.0f}"
        return f"{rate:.0f} words ({interval}; {name}, R² {found.r2:.2f})"


def exchange_rate(
    acc: object,
    images: Sequence[float] | np.ndarray,
    texts: Sequence[float] | np.ndarray,
    words_per_text: float,
    *,
    images_window: tuple[float, float] | None = None,
    texts_window: tuple[float, float] | None = None,
    interval: str = "fieller",
    level: float = 0.95,
    least_r2: float = 0.5,
    resamples: int = 2000,
    seed: int = 0,
) -> ExchangeRate:
    """How many words one image is worth, from accuracies over (image shots, text shots) (uml, Sec 4.4, App E.4).

        acc ≈ b + b_I · images + b_T · texts,     words per image = b_I / b_T · words_per_text

    The paper fits this plane; its slope is global. Beside it stands a log fit, s(n) = log(1 + n), with a local rate,
    since accuracy saturates in both. Both have three numbers, so the one with the larger R² leads, and the plane where
    they are equal (ours); the other is told beside it. There is no rate, and ``refused`` says why, when the text
    slope is not above 0 (its confidence interval reaches 0, so the ratio has no upper bound), when the image slope
    is not above 0 (an image is not worth less than nothing), or when the fit explains less than ``least_r2`` of the
    variance. That is a result, not an error. The interval may reach below 0 where the image slope's does.

    Args:
        acc: (n_images, n_texts) or (n_images, n_texts, seeds), in any unit. The dimensions of a DataArray, and the
            index and columns of a DataFrame, are found by their names ("images", "image_shots", "text_shots",
            "seed", …), else by their coordinates, in whatever order they come.
        images, texts: the shots, increasing, at least two of each; 0 texts is allowed.
        words_per_text: mean number of words of a text.
        images_window, texts_window: (low, high), the shots to use, both ends included; all by default.
        interval: over seeds, from the slopes of each seed. "fieller" (Fieller 1954, Student's t) covers 93 to 96 %
            from 3 seeds on. "bootstrap" resamples seeds; its percentiles are expanded for few seeds (Hesterberg
            2015), and it still covers only 91 % with 5 and 75 % with 3 (both ours, simulated). Without seeds
            Fieller's rests on the fit's residuals.
        level: of confidence.
        least_r2: (ours).
        resamples, seed: of the bootstrap (ours).

    Returns:
        The rate in words per image with its interval, both fits, and why there is no rate where there is none.

    Raises:
        ValueError, TypeError: NaN in the grid (says where); shapes or shots that disagree; names that do not tell which
            axis is which; shots that do not increase or are negative; words_per_text not above 0; a window with fewer
            than two shots; a bootstrap without seeds.

    Example:
        >>> import numpy as np
        >>> import xmodal_lab as xl
        >>> images, texts = [1, 2, 4, 8], [0, 5, 10]
        >>> accuracy = 0.4 + 0.02 * np.array(images)[:, None] + 0.004 * np.array(texts)  # an image is worth 5 texts
        >>> noise = 0.001 * np.random.default_rng(0).standard_normal((4, 3, 3))  # three seeds
        >>> found = xl.information.exchange_rate(accuracy[..., None] + noise, images, texts, words_per_text=8)
        >>> round(found.rate)  # words
        40
    """
    grid, rows, columns = _checked(acc, images, texts, images_window, texts_window)
    words = check.positive("words_per_text", words_per_text)
    level = check.real("level", level)
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level!r}.")
    check.share("least_r2", least_r2)
    resamples, seed = check.integer("resamples", resamples, at_least=1), check.integer("seed", seed, at_least=0)
    if check.one_of("interval", interval, INTERVALS) == "bootstrap" and grid.shape[2] < 2:
        raise ValueError('a bootstrap interval resamples seeds and needs at least 2; use interval="fieller".')
    draws = (resamples, seed) if interval == "bootstrap" else None
    plane, log = (_fit(grid, rows, columns, scale, level, least_r2, draws) for scale in SCALES)
    centre = (float(np.expm1(np.log1p(rows).mean())), float(np.expm1(np.log1p(columns).mean())))
    leads, best = ("log", log) if log.r2 > plane.r2 + _TIE else ("plane", plane)
    local = words * (1 + centre[1]) / (1 + centre[0])
    unit = words if leads == "plane" else local
    seeds = grid.shape[2] if np.ndim(acc) == 3 else 0  # type: ignore[arg-type]
    return ExchangeRate(
        rate=unit * best.ratio,
        interval=(unit * best.interval[0], unit * best.interval[1]),
        refused=best.refused,
        leads=leads,
        plane=plane,
        log=log,
        plane_rate=words * plane.ratio,
        plane_interval=(words * plane.interval[0], words * plane.interval[1]),
        images=rows,
        texts=columns,
        accuracy=grid.mean(2),
        words_per_text=words,
        level=level,
        seeds=seeds,
        centre=centre,
        log_rate=local * log.ratio,
        log_interval=(local * log.interval[0], local * log.interval[1]),
    )


def _checked(
    acc: object, images: Any, texts: Any, images_window: Any, texts_window: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images, texts = check.listed("images", images), check.listed("texts", texts)
    acc = in_order(acc, images, texts)
    grid = check.finite("acc", check.as_tensor("acc", acc, torch.float64)).detach().cpu().numpy()
    if not np.abs(grid).max(initial=0.0) < 1e100:
        raise ValueError(f"acc reaches {np.abs(grid).max():.3g}; accuracies are shares or per cent.")
    if grid.ndim not in (2, 3) or 0 in grid.shape:
        raise ValueError(f"acc must be (n_images, n_texts) or (n_images, n_texts, seeds), got shape {grid.shape}.")
    shots = []
    for axis, (name, values, window) in enumerate((("images", images, images_window), ("texts", texts, texts_window))):
        found = check.finite(name, check.as_tensor(name, values, torch.float64)).numpy()
        if found.shape != (grid.shape[axis],):
            raise ValueError(f"{name} must name the {grid.shape[axis]} shots of acc's axis {axis}, got {len(found)}.")
        if (found < 0).any() or (np.diff(found) <= 0).any():
            raise ValueError(f"{name} must be numbers of shots that increase, from 0 on; got {found.tolist()}.")
        low, high = (-math.inf, math.inf) if window is None else _window(f"{name}_window", window)
        inside = (found >= low) & (found <= high)
        if inside.sum() < 2:
            raise ValueError(f"a fit needs at least two shots of {name}, got {found[inside].tolist()} in the window.")
        grid = np.compress(inside, grid, axis)
        shots.append(found[inside])
    return grid.reshape(*grid.shape[:2], -1), shots[0], shots[1]


def _window(what: str, window: object) -> tuple[float, float]:
    ends = check.as_tensor(what, check.listed(what, window), torch.float64)
    if ends.shape != (2,) or bool(ends.isnan().any()):
        raise ValueError(f"{what} must be (low, high), two numbers, got {window!r}.")
    return float(ends[0]), float(ends[1])


def _fit(
    grid: np.ndarray, images: np.ndarray, texts: np.ndarray, scale: str, level: float, least_r2: float,
    draws: tuple[int, int] | None,
) -> Fit:  # fmt: skip
    """Least squares on one scale, the interval of the ratio of its slopes, and whether there is one."""
    from scipy import stats

    i, t = np.meshgrid(_scaled(images, scale), _scaled(texts, scale), indexing="ij")
    design = np.stack([np.ones(i.size), i.ravel(), t.ravel()], 1)
    each = (np.linalg.pinv(design) @ grid.reshape(len(design), -1)).T  # (seeds, 3)
    intercept, b_i, b_t = each.mean(0)
    mean = grid.mean(2)
    residuals = mean - (design @ each.mean(0)).reshape(mean.shape)
    spread, freedom = _spread(each, design, residuals)
    quantile = float(stats.t.ppf(0.5 + level / 2, freedom))
    half = quantile * math.sqrt(spread[1, 1])
    variance = float(((mean - mean.mean()) ** 2).sum())
    r2 = 1 - float((residuals**2).sum()) / variance if variance > 0 else math.nan
    slope = (float(b_t - half), float(b_t + half))
    # A slope that moves the accuracy by no more than rounding is none, though its interval may have no width.
    least = [_ROUNDING * float(np.abs(grid).max()) / float(np.ptp(_scaled(s, scale))) for s in (images, texts)]
    refused = _refusal(scale, (float(b_i), float(b_t)), slope, least, level, r2, least_r2, residuals)
    ratio, interval = math.nan, (math.nan, math.nan)
    if not refused:
        ratio = float(b_i / b_t)
        interval = ratio_bounds(b_i, b_t, spread, quantile) if draws is None else _bootstrap(each[:, 1:], level, *draws)
    return Fit(
        scale, float(intercept), float(b_i), float(b_t), ratio, interval, slope, r2, residuals, refused
    )  # fmt: skip


def _spread(each: np.ndarray, design: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, int]:
    """Covariance of the two mean slopes, and its degrees of freedom: over seeds, else from the residuals."""
    if len(each) > 1:
        return np.cov(each[:, 1:].T) / len(each), len(each) - 1
    freedom = len(design) - 3
    unit = np.linalg.pinv(design.T @ design)[1:, 1:]
    return unit * float((residuals**2).sum()) / freedom, freedom


def _refusal(
    scale: str, slopes: tuple[float, float], of_text: tuple[float, float], rounding: Sequence[float], level: float,
    r2: float, least: float, residuals: np.ndarray,
) -> str:  # fmt: skip
    name = "plane" if scale == "linear" else "log fit"
    at = np.unravel_index(int(np.abs(residuals).argmax()), residuals.shape)
    fit = f"the {name} has R² {r2:.2f}, its largest residual is {residuals[at]:+.3g} at cell {tuple(map(int, at))}"
    if not of_text[0] > 0 or not slopes[1] > rounding[1]:
        interval = f"{100 * level:.0f} % interval {of_text[0]:.3g} to {of_text[1]:.3g}"
        return f"the text slope {slopes[1]:.3g} ({interval}) is not above 0, so words do not buy accuracy here; {fit}."
    if not r2 >= least:
        return f"{fit}; it explains less than {least:.2g} of the variance. Narrow the window, or look at the other fit."
    if not slopes[0] > rounding[0]:
        return f"the image slope {slopes[0]:.3g} is not above 0, so images do not buy accuracy here; {fit}."
    return ""


def _bootstrap(slopes: np.ndarray, level: float, resamples: int, seed: int) -> tuple[float, float]:
    """Expanded percentiles of the ratio over resampled seeds; infinite where the text slope leaves the positives."""
    from scipy import stats

    n = len(slopes)
    rows = np.random.default_rng(seed).integers(0, n, (resamples, n))
    mean = slopes[rows].mean(1)
    tail = float(stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(0.5 + level / 2, n - 1)))
    # as an angle the ratio has no pole
    low, high = np.quantile(np.arctan2(mean[:, 0], mean[:, 1]), [tail, 1 - tail])
    return (
        math.tan(low) if low > -math.pi / 2 else -math.inf,
        math.tan(high) if high < math.pi / 2 else math.inf,
    )


def _scaled(shots: Any, scale: str) -> np.ndarray:
    found = np.asarray(shots, dtype=float)
    return np.log1p(found) if scale == "log" else found
