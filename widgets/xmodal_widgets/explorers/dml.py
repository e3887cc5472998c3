"""dml: modalities, fusion, pairing mode, share of pairs drawn anew; landscape, spectrum, accuracy, attacks.

Opens on a cube that ``make cubes`` computed. "Train here" trains the exact setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..view.kinds import Lines, Surface
from . import shipped

if TYPE_CHECKING:
    import xarray as xr

CUBES = shipped.FOLDER
BOTH = "image+audio"
AXES: dict[str, list[Any]] = {
    "modalities": ["image", "audio", BOTH],
    "fusion": ["concat_linear", "concat_mlp"],
    "pairing": ["same_class", "shuffled", "noisy"],
    "alpha": [0.0, 0.25, 0.5, 0.75, 1.0],
    "seed": [0, 1, 2],
}
SPANS = [0.5, 1.0]
# The rest as in lesson 05: the last of 40 epochs, the test split.
FIXED: dict[str, Any] = {"epochs": 40, "choose": "last", "landscape_points": 13, "eigenvalues": 5, "attack_curve": True}
TOLERANCE = 1e-2  # of a landscape that is trained here, as a share of its range: nobody sees less on a screen
VARIABLES = ("landscape", "accuracy_curve", "eigenvalue", "accuracy", "loss", "under_attack")


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
        Lines(
            "accuracy",
            x="alpha",
            hue="modalities",
            band="seed",
            versus={"modalities": "image"},
            title="test accuracy: gain over the picture alone",
        ),
        Lines("under_attack", x="eps", hue="attacked", title="test accuracy under PGD"),
    ]
    opening: dict[str, Any] = {"modalities": BOTH, "alpha": 0.0, "span": 0.5}
    opening["title"] = "dml: what a second modality does"
    controls = controls or ["modalities", "fusion", "pairing", "alpha", "span", "seed"]
    return SweepView(load_cube(), shown, controls, compute=compute or train_here, **(opening | options))


def load_cube() -> xr.Dataset:
    """The shipped cube."""
    return shipped.load("dml")


def compute_cube(axes: Mapping[str, Any] = AXES, **options: Any) -> xr.Dataset:
    """The cube on ``axes`` and the spans, as float32; ``options`` go to :func:`xmodal_lab.sweep`."""
    import xarray as xr

    import xmodal_lab as xl

    layers: list[xr.Dataset] = []
    for span in SPANS:  # a and b count in units of the span, so that both layers share them
        looks = FIXED if not layers else {k: v for k, v in FIXED.items() if k not in ("eigenvalues", "attack_curve")}
        layer = xl.sweep("dml", **axes, **looks, landscape_span=span, **options)
        layers.append(layer.assign_coords(a=layer["a"] / span, b=layer["b"] / span))
    cube = layers[0][list(VARIABLES)].astype("float32")
    cube["landscape"] = xr.concat([layer["landscape"] for layer in layers], "span").astype("float32")
    cube["under_attack"] = xr.concat(
        [unseen(cube["under_attack"].sel(modalities=[m]), m) for m in axes["modalities"]],
        "modalities",
    )  # fmt: skip
    cube = cube.assign_coords(span=("span", SPANS, {"long_name": "span of the plane"}))
    for axis in ("a", "b"):
        cube[axis].attrs["long_name"] = f"{axis} / span"
    cube["eps"].attrs["long_name"] = "ε of the attack, in standard deviations of the input"
    return cube


def unseen(under_attack: xr.DataArray, modalities: str) -> xr.DataArray:
    """``under_attack`` where a net does not see what is attacked: it does as well as without, or as on what it sees."""
    if "+" in modalities:
        return under_attack
    alone = under_attack.sel(attacked=modalities, drop=True)
    clean = alone.sel(eps=0.0, drop=True)
    attrs = under_attack.attrs
    both = under_attack.where(under_attack["attacked"] != BOTH, alone)
    return both.where((both["attacked"] == BOTH) | (both["attacked"] == modalities), clean).assign_attrs(attrs)


def train_here(
    setting: Mapping[str, Any], progress: Callable[..., None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Train one setting, for the view's "Train here"; ``progress`` leaves it when the reader cancels."""
    from xmodal_lab.sweeps.experiment import get

    experiment = get("dml")
    asked = {**setting, "landscape_span": setting["span"], "landscape_tolerance": TOLERANCE}
    del asked["span"]
    result = dict(experiment.member({**experiment.defaults, **FIXED, **asked}, progress))
    attacks: xr.DataArray = result["under_attack"]
    attacks = attacks.reindex(attacked=["image", "audio", BOTH])
    result["under_attack"] = unseen(attacks, asked["modalities"])
    return {name: np.asarray(result[name]) for name in VARIABLES}
