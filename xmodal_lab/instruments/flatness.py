"""Flatness of a loss around θ: the low-pass filter measure and the gap at a radius.

Both move θ at random and look at the loss there. How far is a question of units, because
rescaling a layer changes the distance and not the function, and a fixed radius r is
r/√P per parameter, so a model of twice the size gets √2 less. Three kinds of noise:

- "absolute": the same for every parameter, as the papers do it. Fit to compare one architecture with itself.
- "relative": in units of ‖θ‖.
- "filter": in units of each filter's own norm ‖θ_f‖, as in filter-normalised landscapes
  (Li et al. 2018). A filter is the first index of a tensor of two or more dimensions; a bias or
  another vector is one filter. Filters of zeros stay zero.

Give a loss on training data and one on test data to see both. BatchNorm keeps the running
statistics of θ, unless the loss was made with ``batchnorm="recalibrate"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..losses import Loss, Params
from ..losses.directions import Gaussians, norm_of, normalize_, parameter_names
from ..losses.loss import TOGETHER
from ..losses.precision import looked_at, value_in
from ..utils import checks as check
from ..utils.shapes import Float
from ..utils.torch_state import full_precision

if TYPE_CHECKING:
    import pandas as pd

NOISES = ("absolute", "relative", "filter")
MEASURES = ("lpf", "gap")

# dml's code: r = 0, 3, …, 30 (FIELD_NOTES); in units of ‖θ‖ or ‖θ_f‖: up to θ's own size (ours).
ABSOLUTE_RADII = tuple(float(r) for r in range(0, 31, 3))
RELATIVE_RADII = tuple(r / 10 for r in range(11))


# -- low-pass filter ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Lpf:
    """The low-pass filtered loss at θ.

    Attributes:
        value: L_LPF = E L(θ + ε).
        delta: Δ_LPF = L_LPF - L(θ) (dml Tab 4).
        stderr: Monte Carlo standard error of both.
        loss: L(θ).
        samples_values: (samples,) the single L(θ + ε); NaN and infinity are kept and reach ``value``.
        sigma, noise: the perturbation.
        dtype: in which the losses were computed.
    """

    value: float
    delta: float
    stderr: float
    loss: float
    samples_values: Float[Tensor, " samples"]
    sigma: float
    noise: str
    dtype: str = "float32"


@full_precision()
def lpf(
    loss: Loss,
    sigma: float = 0.01,
    samples: int = 100,
    *,
    noise: str = "absolute",
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    antithetic: bool = False,
    dtype: torch.dtype | None = None,
) -> Lpf:
    """L_LPF = E L(θ + ε), the loss under Gaussian weight noise (Bisla et al. 2022; dml Sec 5.1).

    With P parameters and ε independent and normal, the standard deviation is

    - "absolute": σ;
    - "relative": σ ‖θ‖/√P, so that E‖ε‖² = σ²‖θ‖²;
    - "filter": σ ‖θ_f‖/√n_f for the n_f entries of a filter f, so that E‖ε_f‖² = σ²‖θ_f‖².

    Args:
        loss: a deterministic loss.
        sigma, samples: .01 and 100 as in LPF-SGD; dml's code takes (.004, 50) on AVMNIST, (.005, 50) on
            CREMA-D, (.003, 30) on Kinetics-Sounds, (.007, 10) on Food101 (FIELD_NOTES).
        noise: see above.
        seed: of the noise. The same seed and shapes give the same ε, so train and test are paired.
        params: a block, a modality (its encoder), parameter names; the rest stays put. All for None.
        antithetic: use ε and -ε in pairs, which removes the gradient's share of the variance.
        dtype: in which losses are computed; the loss's own when not given, at least float32.

    Returns:
        ``value``, ``delta`` and their ``stderr``, in the units of the loss, with the single draws.

    Raises:
        ValueError: sigma not above 0, fewer than 2 samples (4 and even if antithetic), unknown noise or
            parameters, a loss that is stochastic, NaN or infinite at θ, relative noise where θ is zero.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.zeros(10)})
        >>> flat = xl.flatness.lpf(bowl, sigma=0.1, samples=1000)  # E |ε|² = 10 σ² = 0.1
        >>> round(float(flat.delta), 2), round(float(flat.stderr), 4)
        (0.1, 0.0014)
    """
    sigma = check.positive("sigma", sigma)
    samples = check.integer("samples", samples, at_least=4 if antithetic else 2)
    if antithetic and samples % 2:
        raise ValueError(f"antithetic samples come in pairs, got an odd number: {samples}.")
    loss, centre, names = _start(loss, noise, params, dtype)
    generator = torch.Generator().manual_seed(check.integer("seed", seed, at_least=0))
    table = [[sigma], [-sigma]] if antithetic else [[sigma]]
    values = _at_draws(
        loss,
        _noise({n: loss.params[n] for n in names}, noise, generator),
        samples // len(table),
        torch.tensor(table, dtype=torch.float64),
    )
    value = float(values.mean())
    return Lpf(
        value=value,
        delta=value - centre,
        stderr=float(values.mean(1).std() / math.sqrt(len(values))),
        loss=centre,
        samples_values=values.reshape(-1),
        sigma=sigma,
        noise=noise,
        dtype=str(loss.dtype).removeprefix("torch."),
    )


# -- gap at a radius ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Gap:
    """The gap in loss at each radius.

    Attributes:
        radii: (R,) in the units of ``noise``.
        values: (R,) F_gap = E|L(θ') - L(θ)| at each radius.
        stderr: (R,) Monte Carlo standard errors.
        differences: (directions, R) the single L(θ') - L(θ), signed; NaN and infinity are kept.
        loss: L(θ).
        noise: the kind of direction.
        dtype: in which the losses were computed.
    """

    radii: Float[Tensor, " R"]
    values: Float[Tensor, " R"]
    stderr: Float[Tensor, " R"]
    differences: Float[Tensor, "directions R"]
    loss: float
    noise: str
    dtype: str = "float32"


@full_precision()
def gap(
    loss: Loss,
    radii: Sequence[float] | Tensor | None = None,
    directions: int = 100,
    *,
    noise: str = "absolute",
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
) -> Gap:
    """F_gap(θ) = E|L(θ + r d) - L(θ)| at each radius r, over random directions d (SWAD; dml Sec 5.1, Fig 4).

    Each direction is used at every radius. Its length is fixed, not only on average:

    - "absolute": ‖d‖ = 1, uniform on the sphere;
    - "relative": ‖d‖ = ‖θ‖, uniform on that sphere;
    - "filter": ‖d_f‖ = ‖θ_f‖ for every filter f.

    Args:
        loss: a deterministic loss.
        radii: 0, 3, …, 30 for absolute noise as in dml's code (SWAD: to 60 by 5); 0, .1, …, 1 else (ours).
        directions: 100 as in dml Sec 5.1 (its code: 150).
        noise: see above.
        seed: of the directions. The same seed and shapes give the same d, so train and test are paired.
        params: a block, a modality (its encoder), parameter names; the rest stays put. All for None.
        dtype: in which losses are computed; the loss's own when not given, at least float32.

    Returns:
        ``values`` and ``stderr``, one per radius (R,), in the units of the loss, with the single differences.

    Raises:
        ValueError: a radius below 0 or not finite, fewer than 2 directions, and as :func:`lpf`.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.zeros(10)})
        >>> xl.flatness.gap(bowl, radii=[0.1, 1.0], directions=5).values  # r², whatever the direction
        tensor([0.0100, 1.0000], dtype=torch.float64)
    """
    if radii is None:
        radii = ABSOLUTE_RADII if noise == "absolute" else RELATIVE_RADII
    steps = check.finite("radii", check.as_tensor("radii", radii, torch.float64).detach().cpu())
    if steps.ndim != 1 or len(steps) == 0 or bool((steps < 0).any()):
        raise ValueError(f"radii must be a list of numbers of at least 0, got {radii!r}.")
    directions = check.integer("directions", directions, at_least=2)
    loss, centre, names = _start(loss, noise, params, dtype)
    generator = torch.Generator().manual_seed(check.integer("seed", seed, at_least=0))
    differences = torch.zeros(directions, len(steps), dtype=torch.float64)
    moves = steps > 0  # at radius 0 nothing moves and the gap is 0, to the last digit
    if bool(moves.any()):
        draw = _fixed_length({n: loss.params[n] for n in names}, noise, generator)
        found = _at_draws(loss, draw, directions, steps[moves, None])
        differences[:, moves] = found - centre
    gaps = differences.abs()
    return Gap(
        radii=steps,
        values=gaps.mean(0),
        stderr=gaps.std(0) / math.sqrt(directions),
        differences=differences,
        loss=centre,
        noise=noise,
        dtype=str(loss.dtype).removeprefix("torch."),
    )


# -- side by side ------------------------------------------------------------------------------------


def compare(
    losses: Mapping[str, Loss],
    measures: str | Sequence[str] = MEASURES,
    noises: str | Sequence[str] = NOISES,
    *,
    sigma: float = 0.01,
    samples: int = 100,
    radii: Sequence[float] | None = None,
    directions: int = 100,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> pd.DataFrame:
    """A tidy table of :func:`lpf` and :func:`gap` for several losses, such as train and test, uni and multi.

    The ranking of models of different size can turn round between kinds of noise: look at all three.

    Args:
        losses: name -> :class:`~xmodal_lab.Loss`.
        measures: "lpf", "gap" or both.
        noises: kinds of noise, as there.
        sigma, samples: of :func:`lpf`.
        radii, directions: of :func:`gap`.
        seed, dtype: of both.

    Returns:
        One row per loss, measure, noise and radius: ``name``, ``parameters``, ``loss``, ``measure``,
        ``noise``, ``radius`` (σ for "lpf"), ``value`` (Δ_LPF for "lpf"), ``stderr``.

    Raises:
        ValueError: no loss, an unknown measure or noise, and as :func:`lpf` and :func:`gap`.
    """
    import pandas as pd

    if not check.mapping("losses", losses, "Losses"):
        raise ValueError("there is no loss to compare; give a dict name -> Loss.")
    sigma = check.positive("sigma", sigma)
    wanted = [check.one_of("measure", m, MEASURES) for m in _listed(measures)]
    kinds = [check.one_of("noise", n, NOISES) for n in _listed(noises)]
    table: list[dict[str, Any]] = []
    for name, loss in losses.items():
        for measure in wanted:
            for noise in kinds:
                if measure == "lpf":
                    low = lpf(loss, sigma, samples, noise=noise, seed=seed, dtype=dtype)
                    centre, points = low.loss, [(sigma, low.delta, low.stderr)]
                else:
                    wide = gap(loss, radii, directions, noise=noise, seed=seed, dtype=dtype)
                    centre = wide.loss
                    points = list(zip(*(t.tolist() for t in (wide.radii, wide.values, wide.stderr)), strict=True))
                facts = {"name": name, "parameters": loss.size, "loss": centre, "measure": measure, "noise": noise}
                table += [{**facts, "radius": r, "value": v, "stderr": e} for r, v, e in points]
    return pd.DataFrame(table)


# -- noise -------------------------------------------------------------------------------------------


def _start(
    given: Loss, noise: str, params: str | Sequence[str] | None, dtype: torch.dtype | None
) -> tuple[Loss, float, list[str]]:
    """Check what every measure needs; return the loss in its dtype, L(θ) and the parameters that move."""
    loss = looked_at(given, dtype)
    check.one_of("noise", noise, NOISES)
    names = parameter_names(loss, params)
    if not names:
        raise ValueError("params names no parameter; give a block or parameter names, or None for all.")
    if noise != "absolute" and not any(bool(loss.params[n].any()) for n in names):
        raise ValueError(f"{noise} noise is in units of θ, and θ is zero there; use noise='absolute'.")
    centre = value_in(loss, given)
    if not math.isfinite(centre):
        raise ValueError(
            f"{loss.name} is {centre} at θ, so nothing can be compared with it; check data and parameters."
        )
    return loss, centre, names


def _at_draws(loss: Loss, draw: Callable[[], Params], count: int, table: Tensor) -> Tensor:
    """L(θ + c d) for ``count`` draws d and each c of ``table`` (R, 1): (count, R). On a GPU many draws at once."""
    if loss.device.type == "cpu":
        return loss.along_each(draw, count, table)
    at_once, values = max(1, TOGETHER // len(table)), []
    for first in range(0, count, at_once):
        drawn = [draw() for _ in range(min(at_once, count - first))]
        rows = torch.block_diag(*[table] * len(drawn)) if len(drawn) > 1 else table  # each draw moves by itself
        values.append(loss.along_drawn(drawn, rows).view(len(drawn), -1))
    return torch.cat(values)


def _noise(theta: Params, noise: str, generator: torch.Generator) -> Callable[[], Params]:
    """Draws noise for σ = 1."""
    draw, scales = Gaussians(theta, generator), _scales(theta, noise)

    def scaled() -> Params:
        drawn = draw()
        for name, scale in scales.items():
            drawn[name].mul_(scale)
        return drawn

    return scaled


def _scales(theta: Params, noise: str) -> dict[str, Any]:
    """By what the noise of each parameter is multiplied; nothing where it stays as it is."""
    if noise == "relative":
        scale = float(norm_of(theta)) / math.sqrt(sum(p.numel() for p in theta.values()))
        return dict.fromkeys(theta, scale)
    if noise == "filter":
        axes = {n: tuple(range(1 if p.ndim > 1 else 0, p.ndim)) for n, p in theta.items()}
        return {n: p.square().mean(axes[n], keepdim=True).sqrt() for n, p in theta.items()}
    return {}


def _fixed_length(theta: Params, noise: str, generator: torch.Generator) -> Callable[[], Params]:
    """Draws directions for r = 1."""
    draw = Gaussians(theta, generator)
    length = float(norm_of(theta)) if noise == "relative" else 1.0

    def drawn() -> Params:
        found = draw()
        if noise == "filter":
            return {n: normalize_(z, theta[n], "filter") for n, z in found.items()}
        scale = length / float(norm_of(found))
        return {n: z.mul_(scale) for n, z in found.items()}

    return drawn


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else check.listed("measures and noises", names)
