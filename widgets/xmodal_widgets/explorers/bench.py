"""The bench: five papers' controls on one net; landscape, spectrum, gap and isolines of one setting, side by side.

Opens on a cube that ``make cubes`` computed over the digits world. "Train here" trains the exact setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..view.kinds import Density, HeatMap, Lines, Surface
from . import shipped

if TYPE_CHECKING:
    import xarray as xr

    from xmodal_lab.sweeps.experiment import Experiment

AXES: dict[str, list[Any]] = {
    "modalities": ["image", "audio", "image+audio"],
    "pairing": ["same_class", "shuffled"],
    "share": [0.0, 0.5, 1.0],
    "a_latent": [0.0, 0.3],
    "a_align": [0.0, 0.03, 0.3],
    "b_align": [0.0, 1.4],
    "lam": [0.0, 1.0],
    "seed": [0, 1, 2],
}
CONTROLS = {
    "data": ["modalities", "pairing", "share"],
    "method": ["a_latent", "a_align", "b_align", "lam"],
    "training": ["seed"],
}
# What the views read; the cube holds more.
VARIABLES = ("landscape", "density", "eigenvalue", "curve_w2", "accuracy_at_shots", "accuracy_curve")
EPOCHS, CHECKPOINTS = 40, 3
# What the browser gets: digits of a number that nobody sees in a picture are rounded away (8 bits of mantissa).
KEPT_BITS = 8


def experiment() -> Experiment:
    """What the cube repeats, and "Train here" runs: every look and the isolines of one setting."""
    import xmodal_lab as xl
    from xmodal_lab.experiments.bench import ISOLINES, LOOKS

    return xl.bench(looks=LOOKS, isolines=ISOLINES, checkpoints=CHECKPOINTS, epochs=EPOCHS)


def open(
    views: Any = None, controls: Any = None, compute: Callable[..., Any] | None = None, **options: Any
) -> SweepView:
    """The explorer of the bench.

    Args:
        views, controls: in place of the default ones.
        compute: what "Train here" runs; trains the exact setting by default.
        options: ``title``, ``average``, and a value for any control.
    """
    shown = views or [
        Surface("landscape", log=True, title="landscape: test loss"),
        Density("density", marks="eigenvalue", log=True, title="spectrum: density of the Hessian"),
        Lines("curve_w2", x="checkpoint", title="gap: W2 between the modalities"),
        HeatMap("accuracy_at_shots", x="images", y="texts", levels=True, title="isolines: accuracy over shots"),
        Lines("accuracy_curve", x="epoch", title="test accuracy"),
    ]
    opening: dict[str, Any] = {"modalities": "image+audio", "share": 0.0, "lam": 1.0}
    opening["title"] = "bench: five papers in one net"
    controls = controls or CONTROLS
    return SweepView(load_cube(), shown, controls, compute=compute or train_here, **(opening | options))


def load_cube() -> xr.Dataset:
    """The shipped cube."""
    return shipped.load("bench")


def compute_cube(axes: Mapping[str, Any] = AXES, **options: Any) -> xr.Dataset:
    """The cube on ``axes``, as rounded float32; ``options`` go to :func:`xmodal_lab.sweep`."""
    import xmodal_lab as xl

    cube = xl.sweep(experiment(), **axes, **options)
    for name in cube.data_vars:
        values = np.ascontiguousarray(cube[name].to_numpy().astype(np.float32))
        cube[name] = (cube[name].dims, rounded(values), cube[name].attrs)
    cube["curve_density"] = cube["curve_density"].mean("seed", keep_attrs=True)  # one spectrum for all seeds is enough
    return cube


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 values with :data:`KEPT_BITS` bits of mantissa, to nearest: they pack four times smaller."""
    drop = 23 - KEPT_BITS
    bits = values.view(np.uint32)
    kept = (bits + (1 << (drop - 1))) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    return np.where(np.isfinite(values), kept.view(np.float32), values)


def train_here(
    setting: Mapping[str, Any], progress: Callable[..., None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Train one setting, for the view's "Train here"; ``progress`` leaves it when the reader cancels."""
    return dict(experiment().compute(setting, progress, cancelled))
