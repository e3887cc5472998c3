"""Cubes with known numbers, for tests in a browser and for measurements."""

from __future__ import annotations

import numpy as np
import xarray as xr

MODALITIES = ["image", "audio", "both, true pairs", "both, same class"]


def landscapes(n: int = 21) -> xr.Dataset:
    """Quadratics with a bump over modalities x share x span x seed x a x b, with accuracies and eigenvalues."""
    axis = np.linspace(-1.0, 1.0, n)
    curvature = xr.DataArray([3.0, 2.2, 1.6, 0.8], coords={"modalities": MODALITIES})
    share = xr.DataArray(np.linspace(0, 1, 5), coords={"share": np.linspace(0, 1, 5)})
    span = xr.DataArray([0.5, 1.0, 2.0], coords={"span": [0.5, 1.0, 2.0]})
    seed = xr.DataArray([0, 1, 2], coords={"seed": [0, 1, 2]})
    a = xr.DataArray(axis, coords={"a": axis}) * span
    b = xr.DataArray(axis, coords={"b": axis}) * span
    k = xr.DataArray(np.arange(1, 9), coords={"k": np.arange(1, 9)})
    bump = 0.5 * np.exp(-((a - 0.7) ** 2 + (b + 0.5) ** 2) / 0.1)
    loss = 0.2 + share / 2 + seed / 20 + curvature * (0.6 * a**2 + 0.35 * b**2 + 0.2 * a * b + bump)
    accuracy = 0.9 - 0.1 * curvature - 0.2 * share + 0.01 * seed
    eigenvalues = 10 * curvature / k**1.5 * (1 + share) * (1 + seed / 10)
    cube = xr.Dataset(
        {
            "loss": loss.transpose("modalities", "share", "span", "seed", "a", "b"),
            "accuracy": accuracy.transpose("modalities", "share", "seed"),
            "eigenvalues": eigenvalues.transpose("modalities", "share", "seed", "k"),
        }
    )
    cube["loss"].attrs.update(long_name="test loss", units="nats")
    cube["share"].attrs.update(long_name="share of shuffled pairs")
    return cube


def linked(states: int = 41, points: int = 2000, n: int = 41) -> xr.Dataset:
    """One slider ``alpha`` over a surface n x n, a spectrum of 100 values and an embedding of many points."""
    rng = np.random.default_rng(0)
    alpha = np.linspace(0.0, 1.0, states)
    axis = np.linspace(-2.0, 2.0, n)
    a, b = np.meshgrid(axis, axis, indexing="ij")
    flat = 1 - 0.8 * alpha[:, None, None]
    loss = flat * (0.5 * a**2 + 0.3 * b**2 + 0.4 * np.cos(4 * a) * np.cos(3 * b)) + 0.2
    k = np.arange(1, 101)
    spectrum = (12 * flat[:, :, 0]) * np.exp(-k / 15.0) + 0.05 * rng.normal(size=(1, 100))
    label = rng.integers(0, 2, points)
    centre = np.stack([2 * label - 1, 1 - 2 * label])[:, None, :] * (2 * alpha[None, :, None])
    u, v = centre + rng.normal(size=(2, 1, points))
    return xr.Dataset(
        {
            "loss": (("alpha", "a", "b"), loss),
            "spectrum": (("alpha", "k"), spectrum),
            "u": (("alpha", "point"), u),
            "v": (("alpha", "point"), v),
        },
        coords={"alpha": alpha, "a": axis, "b": axis, "k": k, "label": ("point", label)},
    )
