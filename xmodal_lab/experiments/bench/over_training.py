"""What a bench sees over training: gap and spectra at checkpoints, and the plane that the path lies in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from ...data.samples import Samples
from ...instruments.landscape import trajectory_plane
from ...instruments.look import Looks, along
from ...losses.module_loss import loss_on
from ...training import Run

# A look -> the variable that it fills at every checkpoint.
OVER = {
    "density": "curve_density", "w2": "curve_w2", "w2_bias": "curve_w2_bias", "eigenvalue": "curve_lambda",
    "loss": "curve_loss",
}  # fmt: skip
# What is looked at on the way.
LOOKS = Looks(density=True, eigenvalues=1, gap=True, rows=200)


def gaps(
    model: nn.Module, kept: Mapping[int, Any], samples: Samples, on_checkpoint: Callable[[int, Any], None]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The gap over training, which takes a tenth of the spectra's time; and why it is NaN."""
    import xarray as xr

    path = along(kept, samples, model=model, on_checkpoint=on_checkpoint, gap=True, rows=LOOKS.rows)
    at = {"checkpoint": path["epoch"].to_numpy()}
    return {OVER[name]: xr.DataArray(path[name].to_numpy(), at) for name in ("w2", "w2_bias")}, _why(path)


def spectra(
    model: nn.Module,
    kept: Mapping[int, Any],
    samples: Samples,
    on_checkpoint: Callable[[int, Any], None] | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Density, λ_max and loss at each checkpoint, and why one is NaN."""
    import xarray as xr

    looks: dict[str, Any] = {"density": True, "eigenvalues": 1, "rows": LOOKS.rows}
    path = along(kept, samples, model=model, on_checkpoint=on_checkpoint, **looks)
    at = {"checkpoint": path["epoch"].to_numpy()}
    found = {
        "curve_density": xr.DataArray(path["density"].to_numpy(), {**at, "lambda_": path["lambda_"].to_numpy()}),
        "curve_lambda": xr.DataArray(path["eigenvalue"].to_numpy()[:, 0], at),
        "curve_loss": xr.DataArray(path["loss"].to_numpy(), at),
    }
    return found, _why(path)


def plane(run: Run, samples: Samples, points: int, tolerance: float | None) -> tuple[dict[str, Any], dict[str, str]]:
    """The plane that training took, in half widths of itself; NaN, and why, where it led along a line."""
    import xarray as xr

    names_seen: Any = run.model.modalities
    seen = samples.complete(names_seen).subset(slice(0, LOOKS.rows))
    names = {name for name, _ in run.model.named_parameters()}
    path = {epoch: {n: p for n, p in kept.items() if n in names} for epoch, kept in run.snapshots.items()}
    try:
        led = trajectory_plane(loss_on(run.model, seen), list(path.values()), points, tolerance=tolerance)
    except ValueError as error:
        nothing = {"trajectory": np.full((points,) * 2, np.nan), "path": None}
        return nothing, dict.fromkeys(nothing, str(error))
    ends = np.array([[float(led[n][0]), float(led[n][-1])] for n in ("a", "b")])
    places = (led["path"].to_numpy()[0] - ends.mean(1)) / ((ends[:, 1] - ends[:, 0]) / 2)
    at = {"moment": list(path), "axis": ["ta", "tb"]}
    return {"trajectory": led["loss"].to_numpy(), "path": xr.DataArray(places, at)}, {}


def _why(path: Any) -> dict[str, str]:
    """Why variables over training are NaN, from what :func:`~xmodal_lab.along` says of its looks."""
    return {OVER[name]: sentence for name, sentence in json.loads(path.attrs["why"]).items() if name in OVER}
