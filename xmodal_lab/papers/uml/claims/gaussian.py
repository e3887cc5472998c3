"""The Gaussian experiment (App E.14) as a surface over learning rate and steps: where on it the claim is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ....claims.claim import Claim, Conditions
from ....claims.verdicts import Measured, controlled, gain, missing
from ..theory.autoencoder import DEFAULTS, pca_error

if TYPE_CHECKING:
    import xarray as xr

AUTOENCODER = "xmodal_lab.papers.uml.theory.autoencoder:EXPERIMENT"
ARMS = ("X", "X+Y", "X+noise")
N = 10_000  # App E.14; the paper says neither rate nor for how long
EPOCHS = {"quick": 20, "full": 100}
RATES = (1e-3, 3e-3, 6e-3)  # the experiment's own first: the claim is judged there, and then with each arm at its best


def surface(curve: xr.DataArray) -> xr.DataArray:
    """Relative gain of N/2 + N/2 over N of X, of mean errors over seeds.

    Args:
        curve: validation errors over (arm, lr, epoch, seed), with arms "X" and "X+Y".

    Returns:
        1 - mean error of X+Y / mean error of X, over (lr, epoch).
    """
    mean = curve.mean("seed")
    return (1 - mean.sel(arm="X+Y", drop=True) / mean.sel(arm="X", drop=True)).transpose("lr", "epoch")


def gaussian(conditions: Conditions) -> Measured:
    """App E.14: relative gain of N/2 + N/2 over N of X on unattenuated X, over learning rate and steps."""
    if conditions.dataset is not None:
        return missing("its own world: two linear views of Gaussian causes")
    epochs = EPOCHS[conditions.budget]
    cube = conditions.sweep(AUTOENCODER, arm=list(ARMS), n=[N], epochs=[epochs], lr=list(RATES))
    cube = cube.isel(n=0, epochs=0)
    pca = float(np.mean([pca_error(N, seed) for seed in conditions.seeds]))
    return judged(cube.curve, cube.error, N // DEFAULTS["batch"], f"N = {N}. PCA of X alone reaches {pca:.2f}.")


def judged(curve: xr.DataArray, error: xr.DataArray, per_epoch: int, said: str) -> Measured:
    """The word: ahead at the first rate after the last epoch, beyond noise for Y, and with each arm at its best.

    Args:
        curve: validation errors over (arm, lr, epoch, seed).
        error: test errors of the best epoch over (arm, lr, seed).
        per_epoch: steps of an epoch.
        said: in front of the note.
    """
    gains = surface(curve)
    first, last = float(curve.lr[0]), int(curve.epoch[-1])
    now = {str(a): curve.sel(arm=a, lr=first, epoch=last).to_numpy() for a in curve.arm.values}
    best = curve.min("epoch").mean("seed").idxmin("lr")
    chosen = {str(a): error.sel(arm=a, lr=float(best.sel(arm=a))).to_numpy() for a in curve.arm.values}
    peak = gains.argmax(...)
    top = gains.isel(peak)
    means = {arm: round(float(np.mean(values)), 2) for arm, values in chosen.items()}
    ends = ", ".join(f"{float(lr):g}: {100 * float(g):+.0f} %" for lr, g in zip(gains.lr, gains[:, -1], strict=True))
    note = (
        f"{said} Judged after {last * per_epoch:,} steps at rate {first:g}. Ahead by then, by rate: {ends}; "
        f"most, {100 * float(top):+.0f} %, at {float(top.lr):g} after {int(top.epoch) * per_epoch:,} steps. Errors "
        f"with each arm at its best rate and epoch: {means}."
    )
    unit = "% of X's error"
    numbers = {"lr": gains.lr.values, "steps": (gains.epoch * per_epoch).values, "gain": gains.values}
    found = gain((now["X"] - now["X+Y"]) / now["X"], unit=unit, note=note, numbers=numbers)
    found = controlled(found, (now["X+noise"] - now["X+Y"]) / now["X"], "over noise for Y", unit=unit)
    settled = (chosen["X"] - chosen["X+Y"]) / chosen["X"]
    return controlled(found, settled, "with each arm at its best rate and epoch (else it is transient)", unit=unit)


GAUSSIAN = (
    Claim("uml.G", "N/2 samples of X and N/2 of Y reconstruct X better than N samples of X.",
          "Fig 3, 37", "figure only", gaussian, sesoi=5.0, unit="% of X's error", cost="minutes"),
)  # fmt: skip
