"""The bench: five papers' controls on one net; landscape, spectrum, gap and isolines of one setting, side by side.

Opens on a cube that ``make cubes`` computed over the digits world. "Train here" trains the exact setting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..view.kinds import Bars, Contour, Density, HeatMap, Lines, Surface
from ..view.train import TOLERANCE, translated
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
    "training": ["seed", "checkpoint"],
}
# What the views read; the cube holds more.
VARIABLES = ("landscape", "density", "eigenvalue", "curve_w2", "accuracy_at_shots", "accuracy_under")
# Beside them, what cubes of former versions lack.
ALONG = ("curve_w2_bias", "trajectory", "path", "curve_density")
ALONE = "one modality alone has no gap: choose two"
EPOCHS, CHECKPOINTS, TRAJECTORY = 40, 3, 9
# Conditions of accuracy, of the looks "accuracy", "noisy" and "missing".
CONDITIONS = ("clean", "image noisy", "audio noisy", "image missing", "audio missing")
PLACES = {
    "ta": "first principal axis of training", "tb": "second principal axis", "checkpoint": "epoch",
    "images": "images", "texts": "sentences",
}  # fmt: skip
WORDS = 8.3  # in one of the number sentences of the training split, on average; a test counts them
# What the browser gets: digits of a number that nobody sees in a picture are rounded away (8 bits of mantissa).
KEPT_BITS = 8


def experiment(tolerance: float | None = None) -> Experiment:
    """What the cube repeats, and "Train here" runs: every look and the isolines of one setting.

    ``tolerance`` is how far landscape and trajectory may be off for the sake of fewer points, where their shape allows
    that; None computes every point. Planes as coarse as these, up to 11 points along a side, are computed whole anyway.
    """
    import xmodal_lab as xl
    from xmodal_lab.experiments.bench import ISOLINES, LOOKS

    looks = replace(LOOKS, tolerance=tolerance)
    return xl.bench(looks=looks, isolines=ISOLINES, checkpoints=CHECKPOINTS, trajectory=TRAJECTORY, epochs=EPOCHS)


def open(
    views: Any = None, controls: Any = None, compute: Callable[..., Any] | None = None, **options: Any
) -> SweepView:
    """The explorer of the bench.

    Args:
        views, controls: in place of the default ones.
        compute: what "Train here" runs; trains the exact setting by default.
        options: ``title``, ``average``, and a value for any control.
    """
    cube = load_cube()
    epochs = "curve_density" in cube  # else nothing is played over them
    shown = views or [
        Surface("landscape", log=True, title="landscape: test loss [nats]"),
        Density("density", marks="eigenvalue", log=True, title="spectrum: density of the Hessian over λ"),
        Lines(
            "curve_w2",
            x="checkpoint",
            floor="curve_w2_bias" if "curve_w2_bias" in cube else None,
            title="gap: W2; dashed: its sampling bias",
            absent=ALONE,
        ),
        HeatMap(
            "accuracy_at_shots", x="images", y="texts", levels=True, words=WORDS, title="isolines: accuracy over shots"
        ),
        Bars("accuracy_under", x="condition", limits=(0.0, 1.0), title="accuracy: clean, noisy, half missing"),
        Contour(
            "trajectory",
            x="ta",
            y="tb",
            path="path",
            at="checkpoint" if epochs else None,
            log=True,
            title="training on its own plane: test loss [nats]",
        ),
        Density("curve_density", log=True, title="spectrum while training"),
    ]
    opening: dict[str, Any] = {"modalities": "image+audio", "share": 0.0, "lam": 1.0}
    if epochs:
        opening["checkpoint"] = int(cube["checkpoint"][-1])
    opening["title"] = "bench: five papers in one net"
    controls = controls or {k: [n for n in names if epochs or n != "checkpoint"] for k, names in CONTROLS.items()}
    compute = compute or _trains(tuple(map(str, cube.data_vars)))
    if views is None:
        shown = [view for view in shown if set(view.variables) <= set(cube.data_vars)]  # a cube of fewer looks
    return SweepView(cube, shown, controls, compute=compute, **(opening | options))


def load_cube() -> xr.Dataset:
    """The shipped cube."""
    return _with_conditions(shipped.load("bench"))


def compute_cube(axes: Mapping[str, Any] = AXES, **options: Any) -> xr.Dataset:
    """The cube on ``axes``, as rounded float32; ``options`` go to :func:`xmodal_lab.sweep`."""
    import xmodal_lab as xl

    cube = xl.sweep(experiment(), **axes, **options)
    for name in cube.data_vars:
        values = np.ascontiguousarray(cube[name].to_numpy().astype(np.float32))
        cube[name] = (cube[name].dims, rounded(values), cube[name].attrs)
    cube["curve_density"] = cube["curve_density"].mean("seed", keep_attrs=True)  # one spectrum for all seeds is enough
    return cube


def _with_conditions(cube: xr.Dataset) -> xr.Dataset:
    """The cube with ``accuracy_under`` (condition): clean, each modality noisy, each lost by half of the rows."""
    import xarray as xr

    parts = [cube["accuracy"]]
    for name in CONDITIONS[1:]:
        modality, how = name.split()
        parts.append(cube[how].sel(modality=modality, drop=True))
    under = xr.concat(parts, xr.IndexVariable("condition", list(CONDITIONS)), coords="minimal", compat="override")
    under.attrs = {"long_name": "test accuracy"}
    cube = cube.assign(accuracy_under=under.transpose(..., "condition"))
    for name in cube.dims:
        if name in PLACES:
            cube[name].attrs["long_name"] = PLACES[str(name)]
    return cube


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 values with :data:`KEPT_BITS` bits of mantissa, to nearest: they pack four times smaller."""
    drop = 23 - KEPT_BITS
    bits = values.view(np.uint32)
    kept = (bits + (1 << (drop - 1))) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    return np.where(np.isfinite(values), kept.view(np.float32), values)


def _trains(known: Collection[str]) -> Callable[..., Any]:
    """What "Train here" runs, and what it makes beforehand where somebody follows."""
    compute = partial(train_here, known=known)
    compute.prepare = lambda setting: _prepare(experiment(TOLERANCE), setting)  # type: ignore[attr-defined]
    return compute


def _prepare(made: Experiment, setting: Mapping[str, Any]) -> None:
    made.prepare(_settings(made, setting))


def _settings(made: Experiment, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Without the controls that are no settings: a result brings every moment of its training."""
    return {name: value for name, value in setting.items() if name in made.defaults}


def train_here(
    setting: Mapping[str, Any],
    progress: Callable[..., None],
    cancelled: Callable[[], bool],
    known: Collection[str] | None = None,
) -> dict[str, Any]:
    """Train one setting, for the view's "Train here"; ``progress`` leaves it when the reader cancels.

    ``known`` are the variables of the cube, where it has not all.
    """
    words = partial(_as_cube, known)
    made = experiment(TOLERANCE)
    return words(made.compute(_settings(made, setting), translated(progress, words), cancelled))


def _as_cube(known: Collection[str] | None, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the experiment found, or a part of it, as variables of the cube."""
    import xarray as xr

    kept = {n: value for n, value in found.items() if (known is None or n in known) and value is not None}
    if why := {n: sentence for n, sentence in found.get("why", {}).items() if known is None or n in known}:
        kept["why"] = why
    under = {"clean": found["accuracy"]} if "accuracy" in found else {}
    for name in CONDITIONS[1:]:
        modality, how = name.split()
        if how in found and modality in found[how]["modality"].values.tolist():
            under[name] = float(found[how].sel(modality=modality))
    if under:
        kept["accuracy_under"] = xr.DataArray(list(under.values()), {"condition": list(under)}, ("condition",))
    return kept
