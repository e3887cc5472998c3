"""dml: modalities, fusion, pairing mode, share of pairs drawn anew; landscape, spectrum, accuracy, attacks.

Opens on a cube that ``make cubes`` computed. "Train here" trains the exact setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..sweep_view import SweepView
from ..view.kinds import Lines, Surface
from ..view.train import TOLERANCE, translated
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
FIXED: dict[str, Any] = {
    "epochs": 40, "choose": "last", "landscape_points": 13, "eigenvalues": 5, "attack_curve": True, "flatness": True,
    "latents": True,
}  # fmt: skip
FIRST = ("eigenvalues", "attack_curve", "flatness", "latents")  # looks that do not hang on the landscape's span
VARIABLES = (
    "landscape", "accuracy_curve", "eigenvalue", "accuracy", "loss", "under_attack", "gap", "lpf_rise",
    "variance_ratio", "w2_squared",
)  # fmt: skip
SPLITS, NOISES = ("train", "test"), ("absolute", "filter")  # of the experiment, in its order
NOISE = "filter"  # F_gap and Δ_LPF in units of each filter's norm, which do not hang on the weights' size
ALONE = "one modality alone has no gap: choose both"
# What the cube lacks, and "Follow" trains.
OFFERS = {"fusion": ["additive", "cross_attention"]}
CONTROLS = {
    "data": ["modalities", "pairing", "alpha"],
    "method": ["fusion"],
    "training": ["seed"],
    "look": ["span"],
}  # fmt: skip


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
        Lines("gap", x="radius", hue="split", title="F_gap: how far the loss moves within a radius"),
        Lines("lpf_rise", x="alpha", hue="split", band="seed", title="Δ_LPF: rise under Gaussian weight noise"),
        Lines("w2_squared", x="alpha", hue="fusion", band="seed", absent=ALONE, title="W2² between the modalities"),
        Lines(
            "variance_ratio",
            x="alpha",
            hue="fusion",
            band="seed",
            absent=ALONE,
            log=True,
            title="ratio of their variances",
        ),
    ]
    opening: dict[str, Any] = {"modalities": BOTH, "alpha": 0.0, "span": 0.5}
    opening["title"] = "dml: what a second modality does"
    opening["offers"] = OFFERS
    controls = controls or CONTROLS
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
        looks = FIXED if not layers else {k: v for k, v in FIXED.items() if k not in FIRST}
        layer = xl.sweep("dml", **axes, **looks, landscape_span=span, **options)
        layers.append(layer.assign_coords(a=layer["a"] / span, b=layer["b"] / span))
    cube = layers[0][list(VARIABLES)].sel(noise=NOISE, drop=True).astype("float32")
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
    words = partial(_as_cube, asked["modalities"])
    return words(experiment.member(experiment.settings(**{**FIXED, **asked}), translated(progress, words)))


def _as_cube(modalities: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the experiment found, or a part of it, as variables of the cube."""
    import xarray as xr

    result = {name: value for name, value in found.items() if name in VARIABLES}
    if "gap" in found:
        at = {"split": list(SPLITS), "noise": list(NOISES)}
        for name in ("gap", "lpf_rise"):
            dims = ("split", "noise", *(["radius"] if name == "gap" else []))
            result[name] = xr.DataArray(found[name], at, dims).sel(noise=NOISE, drop=True).values
    if "under_attack" in found:
        result["under_attack"] = unseen(found["under_attack"].reindex(attacked=["image", "audio", BOTH]), modalities)
    return result
