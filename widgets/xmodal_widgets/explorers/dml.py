"""dml: modalities, pairing mode, share of pairs drawn anew; landscape, spectrum and accuracy.

Opens on a cube that ``make cubes`` computed. "Train here" trains the exact setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..views import Lines, Surface

if TYPE_CHECKING:
    import xarray as xr

CUBES = Path(__file__).parent / "cubes"
AXES: dict[str, list[Any]] = {
    "modalities": ["image", "audio", "image+audio"],
    "pairing": ["same_class", "shuffled", "noisy"],
    "alpha": [0.0, 0.25, 0.5, 0.75, 1.0],
    "seed": [0, 1, 2],
}
SPANS = [0.5, 1.0]
# The rest as in lesson 05: the last of 40 epochs, the test split.
FIXED: dict[str, Any] = {"epochs": 40, "choose": "last", "landscape_points": 17, "eigenvalues": 5}
VARIABLES = ("landscape", "accuracy_curve", "eigenvalue", "accuracy", "loss")


def open(
    views: Any = None, controls: Any = None, compute: Callable[..., Any] | None = None, **options: Any
) -> SweepView:
    """The explorer of dml.

    Args:
        views, controls: in place of the default ones.
        compute: what "Train here" runs; trains the exact setting by default.
        options: ``title``, ``average``, and a value for any control.
    """
    shown = views or [
        Surface("landscape", log=True, title="test loss around the solution"),
        Lines("accuracy_curve", x="epoch", title="test accuracy"),
        Lines("eigenvalue", x="k", log=True, title="largest eigenvalues of the Hessian"),
        Lines("accuracy", x="alpha", hue="modalities", band="seed", title="test accuracy after training"),
    ]
    opening: dict[str, Any] = {"modalities": "image+audio", "alpha": 0.0, "span": 0.5}
    opening["title"] = "dml: what a second modality does"
    controls = controls or ["modalities", "pairing", "alpha", "span", "seed"]
    return SweepView(load_cube(), shown, controls, compute=compute or train_here, **(opening | options))


def load_cube() -> xr.Dataset:
    """The shipped cube."""
    import xarray as xr
    import zarr

    with zarr.storage.ZipStore(CUBES / "dml.zarr.zip", mode="r") as store:
        return xr.open_zarr(store, consolidated=False, zarr_format=3).load()


def compute_cube(axes: Mapping[str, Any] = AXES, **options: Any) -> xr.Dataset:
    """The cube on ``axes`` and the spans, as float32; ``options`` go to :func:`xmodal_lab.sweep`."""
    import xarray as xr

    import xmodal_lab as xl

    layers = []
    for span in SPANS:  # a and b count in units of the span, so that both layers share them
        layer = xl.sweep("dml", **axes, **FIXED, landscape_span=span, **options)[list(VARIABLES)]
        layers.append(layer.assign_coords(a=layer["a"] / span, b=layer["b"] / span))
    cube = layers[0].astype("float32")
    cube["landscape"] = xr.concat([layer["landscape"] for layer in layers], "span").astype("float32")
    cube = cube.assign_coords(span=("span", SPANS, {"long_name": "span of the plane"}))
    for axis in ("a", "b"):
        cube[axis].attrs["long_name"] = f"{axis} / span"
    return cube


def train_here(
    setting: Mapping[str, Any], progress: Callable[..., None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Train one setting, for the view's "Train here"; ``progress`` leaves it when the reader cancels."""
    from xmodal_lab.experiments import get

    experiment = get("dml")
    asked = {**setting, "landscape_span": setting["span"]}
    del asked["span"]
    result = experiment.member({**experiment.defaults, **FIXED, **asked}, progress)
    return {name: np.asarray(result[name]) for name in VARIABLES}
