"""Static pictures: the plan over the picture, D against its target, gains over the band of reruns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...utils import checks as check
from ...utils.points import floating
from ...utils.statistics import mean_interval
from .claims import choosing as choices

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


SHOWN = ("minimise OT", "WMA, chosen on validation")


def draw_plan(plan: Any, words: Sequence[str], picture: Any = None, axes: Axes | None = None) -> Axes:
    """A transport plan as a heat map: words along the side; patches below, or over ``picture`` one copy per word.

    Args:
        plan: (p, q) mass from patch to word; the first ``len(words)`` columns are drawn, each scaled to sum to 1.
        words: of the caption, in order.
        picture: (C, H, W) or (H, W) with p square patches, row by row; each word then gets the picture, pale
            where its mass does not go.
        axes: to draw on; new ones when not given.

    Returns:
        The axes that were drawn on.

    Raises:
        ValueError: a plan that is no matrix, more words than columns, patches that do not tile a square.
    """
    from matplotlib import pyplot

    words = [check.instance("a word", word, str) for word in check.listed("words", words)]
    mass = np.asarray(check.finite("plan", check.as_tensor("plan", plan).detach().cpu().double()))
    if mass.ndim != 2 or len(words) > mass.shape[1] or not words:
        raise ValueError(
            f"plan must be (patches, tokens) with a column per word, got {mass.shape} for {len(words)} words."
        )
    mass = mass[:, : len(words)]
    if mass.min(initial=0.0) < 0 or not (mass.sum(0) > 0).all():
        raise ValueError("plan must hold masses of at least 0, and some for every word.")
    shares = mass / mass.sum(0, keepdims=True)
    if picture is None:
        axes = axes or pyplot.subplots(figsize=(7, 0.35 * len(words) + 1))[1]
        drawn = axes.imshow(shares.T, aspect="auto", cmap="viridis", vmin=0)
        axes.set(yticks=range(len(words)), yticklabels=list(words), xlabel="patch, row by row")
    else:
        side = round(len(shares) ** 0.5)
        if side * side != len(shares):
            raise ValueError(f"{len(shares)} patches do not tile a square picture; leave picture out.")
        pixels = check.finite("picture", floating("picture", picture)).detach().cpu()
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[0] not in (1, 3)):
            raise ValueError(f"picture must be (C, H, W) with 1 or 3 channels, or (H, W), got {tuple(pixels.shape)}.")
        if not pixels.numel() or pixels.shape[-2] != pixels.shape[-1] or pixels.shape[-1] % side:
            raise ValueError(f"picture must be square and split into {side}x{side} patches, got {tuple(pixels.shape)}.")
        shown = np.clip(pixels.numpy(), 0, 1)
        shown = shown.transpose(1, 2, 0) if shown.ndim == 3 else shown[..., None]
        shown = shown if shown.shape[2] == 3 else np.repeat(shown, 3, -1)
        size = shown.shape[0] // side
        axes = axes or pyplot.subplots(figsize=(1.25 * len(words), 1.6))[1]
        tiles = [_veiled(shown, shares[:, k].reshape(side, side), size) for k in range(len(words))]
        gap = np.ones((shown.shape[0], max(2, size // 4), 3))
        strip = [part for tile in tiles for part in (tile, gap)][:-1]
        axes.imshow(np.concatenate(strip, 1))
        step = shown.shape[1] + gap.shape[1]
        axes.set(xticks=[shown.shape[1] / 2 + k * step for k in range(len(words))], xticklabels=list(words), yticks=[])
        for edge in axes.spines.values():
            edge.set_visible(False)
        axes.tick_params(length=0)
        return axes
    axes.figure.colorbar(drawn, ax=axes, label="share of the word's mass")
    return axes


def _veiled(picture: np.ndarray, share: np.ndarray, size: int) -> np.ndarray:
    """The picture, pale where ``share`` is small."""
    light = np.kron(share / share.max(), np.ones((size, size)))[..., None]
    seen = 0.2 + 0.8 * light
    veiled: np.ndarray = picture * seen + 0.95 * (1 - seen)
    return veiled


def draw_gains(
    cube: xr.Dataset, ways: Sequence[str] = ("minimise OT", "WMA, chosen on validation"), axes: Any = None
) -> Axes:
    """Gain over the baseline by case, on a grey band: what reruns of the baseline reach by another order of batches.

    Args:
        cube: a sweep with axes alpha, beta, order and seed; tasks are averaged.
        ways: rows of :func:`choices`.
        axes: to draw on; new ones when not given.

    Returns:
        The axes that were drawn on.

    Raises:
        ValueError: a cube without reruns of the baseline, an unknown way.
    """
    from matplotlib import pyplot

    ways = check.listed("ways", ways)
    band, plain, found = choices.rerun_band(cube), choices.baseline(cube), choices.ways(cube)
    cases = plain["case"].values.tolist()
    axes = axes or pyplot.subplots(figsize=(8, 3.4))[1]
    rest = [d for d in band.dims if d not in ("end", "case")]
    low, high = (100 * band.mean(rest).sel(end=end).values for end in ("low", "high"))
    for k in range(len(cases)):
        label = "three runs of the baseline" if k == 0 else None
        axes.fill_between([k - 0.45, k + 0.45], low[k], high[k], color="0.85", label=label, zorder=0)
    for place, way in enumerate(ways):
        gained = found[check.one_of("way of choosing", way, found)] - plain
        stats = [mean_interval(100 * choices.per_seed(gained.sel(case=c))) for c in cases]
        x = np.arange(len(cases)) + (place - (len(ways) - 1) / 2) * 0.25
        axes.errorbar(x, [m for m, _ in stats], [h for _, h in stats], fmt="os^D"[place % 4], capsize=3, label=way)
    axes.axhline(0, color="0.4", lw=0.8)
    axes.set(xticks=range(len(cases)), xticklabels=cases, ylabel="gain over the baseline [points]")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower left")
    return axes


def draw_distance(cube: xr.Dataset, axes: Any = None) -> Axes:
    """D / D_0 along training, one line per β; its target dashed, and the ceiling of the cosine cost dotted.

    Args:
        cube: ``ratio`` over beta and step (one α), with ``ceiling``; other dimensions are averaged.
        axes: to draw on; new ones when not given.

    Returns:
        The axes that were drawn on.
    """
    import seaborn
    import xarray as xr
    from matplotlib import pyplot

    check.instance("cube", cube, xr.Dataset, "a sweep over beta")
    for name in ("ratio", "ceiling"):
        check.one_of("variable of the cube", name, cube)
    for dim in ("beta", "step"):
        check.one_of("dimension of ratio", dim, [str(d) for d in cube["ratio"].dims])
    axes = axes or pyplot.subplots(figsize=(6.5, 3.4))[1]
    path = cube["ratio"].mean([d for d in cube["ratio"].dims if d not in ("beta", "step")])
    colors = seaborn.color_palette("viridis", path.sizes["beta"])
    for color, beta in zip(colors, path["beta"].values, strict=True):
        axes.plot(path["step"], path.sel(beta=beta), color=color, label=f"β = {beta:g}")
        axes.axhline(beta, color=color, ls="--", lw=0.8)
    ceiling = float(cube["ceiling"].mean())
    if np.isfinite(ceiling):
        axes.axhline(ceiling, color="k", ls=":", lw=1.2)
        axes.text(float(path["step"][-1]), ceiling, "2 / D_0", ha="right", va="bottom", fontsize=8)
    axes.set(xlabel="step", ylabel="D / D_0")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    return axes
