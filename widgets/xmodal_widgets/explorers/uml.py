"""uml: shots of pictures and sentences, related or not, start at text means or not, one or two auxiliaries.

Opens on a cube of the numbers world (real handwritten digits) that ``make cubes`` computed. "Train here" trains the
exact setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..view.grid import one_of
from ..view.joining import with_settings
from ..view.kinds import Bars, HeatMap, Lines
from . import shipped

if TYPE_CHECKING:
    import xarray as xr

AXES: dict[str, list[Any]] = {
    "image_shots": [1, 2, 4, 8, 16],
    "text_shots": [0, 1, 4, 12],
    "relation": ["related", "permuted", "unrelated"],
    "init": ["random", "text"],
    "modalities": ["image+text", "image+text+audio"],
    "seed": [0, 1, 2],
}
SHOTS = ("image_shots", "text_shots")
FIXED: dict[str, Any] = {"lr": 0.3, "audio_shots": 12}
VARIABLES = ("accuracy", "loss")
# Frozen encoders of pictures, by world: digits side by side, or drawn shapes; "aligned" saw pictures with captions.
ENCODERS: dict[str, dict[str, str]] = {
    "digits: pixels": {"world": "numbers", "encoder": "pixels"},
    "digits: trained": {"world": "numbers", "encoder": "trained"},
    "digits: random": {"world": "numbers", "encoder": "random"},
    "shapes: unaligned": {"world": "shapes", "encoder": "trained"},
    "shapes: aligned": {"world": "shapes", "encoder": "aligned"},
}
# How the shipped runs were trained, and what "Follow" trains beside it.
TRAINED: dict[str, Any] = {
    "encoder": "digits: pixels", "text_encoder": "minilm", "text_layer": "frozen", "lam": 1.0, "ratio": 1.0,
    "start": 0,
}  # fmt: skip
OFFERS: dict[str, list[Any]] = {
    "encoder": list(ENCODERS)[1:], "text_encoder": ["words", "letters", "lm"],
    "text_layer": ["trained"], "lam": [0.3, 3.0],
    "ratio": [0.25, 4.0], "start": [50, 100],
}  # fmt: skip
CONTROLS = {
    "data": ["image_shots", "text_shots", "relation", "modalities", "encoder", "text_encoder", "text_layer"],
    "method": ["init", "lam", "ratio", "start"],
    "training": ["seed"],
}
LABELS = {
    "image_shots": "pictures of each class",
    "text_shots": "sentences of each class",
    "relation": "the sentences are",
    "init": "start of the head",
    "encoder": "encoder of pictures",
    "text_encoder": "encoder of sentences",
    "text_layer": "last layer",
    "lam": "λ, sentences",
    "ratio": "r, batches",
    "start": "curriculum",
}


def open(
    views: Any = None, controls: Any = None, compute: Callable[..., Any] | None = None, **options: Any
) -> SweepView:
    """The explorer of uml.

    Args:
        views, controls: in place of the default ones.
        compute: what "Train here" runs; trains the exact setting by default.
        options: ``title``, ``average``, and a value for any control.
    """
    shown = views or [
        Lines("accuracy", x="image_shots", hue="text_shots", band="seed", title="test accuracy on pictures"),
        HeatMap("accuracy", x="image_shots", y="text_shots", levels=True, title="isolines: pictures for words"),
        Lines(
            "accuracy",
            x="image_shots",
            hue="text_shots",
            band="seed",
            versus={"text_shots": 0},
            title="gain over no sentences",
        ),
        Bars("accuracy", x="relation", band="seed", title="related, permuted or unrelated text"),
        Lines("accuracy", x="text_shots", hue="modalities", band="seed", title="does a third modality add?"),
    ]
    opening: dict[str, Any] = {"image_shots": 1, "text_shots": 12, "relation": "related", "modalities": "image+text"}
    opening["title"] = "uml: sentences that belong to no picture"
    opening["offers"] = OFFERS
    controls = controls or CONTROLS
    return SweepView(load_cube(), shown, controls, compute=compute or train_here, **(opening | options))


def load_cube() -> xr.Dataset:
    """The shipped cube, with the settings that were the same for all of it."""
    return _labelled(with_settings(shipped.load("uml"), TRAINED))


def compute_cube(axes: Mapping[str, Any] = AXES, **options: Any) -> xr.Dataset:
    """The cube on ``axes``, as float32; ``options`` go to :func:`xmodal_lab.sweep`."""
    import xmodal_lab as xl

    given = {k: v for k, v in axes.items() if k not in ("init", "modalities")}
    given |= {"init": [_init(name) for name in axes["init"]], "auxiliary": [_auxiliary(m) for m in axes["modalities"]]}
    cube = xl.sweep("uml", **given, **FIXED, **options)[list(VARIABLES)].astype("float32")
    cube = cube.rename(auxiliary="modalities").assign_coords(modalities=axes["modalities"], init=axes["init"])
    return _labelled(cube)


def _labelled(cube: xr.Dataset) -> xr.Dataset:
    for name in (n for n in LABELS if n in cube.coords):
        cube[name].attrs["long_name"] = LABELS[name]
    return cube


def train_here(
    setting: Mapping[str, Any], progress: Callable[..., None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Train one setting, for the view's "Train here"; ``progress`` leaves it when the reader cancels.

    On the grid of shots the whole plane under the setting is trained, so that its isolines can be drawn.
    """
    import xarray as xr

    from xmodal_lab.sweeps.experiment import get

    experiment = get("uml")
    here = {name: round(setting[name]) for name in SHOTS}  # a slider may stand between whole numbers
    asked = {k: v for k, v in setting.items() if k in experiment.defaults}
    asked |= ENCODERS[one_of("encoder", setting.get("encoder", TRAINED["encoder"]), ENCODERS)]
    asked |= {**FIXED, "init": _init(setting["init"]), "auxiliary": _auxiliary(setting["modalities"])}
    if any(here[name] not in AXES[name] for name in SHOTS):
        result = experiment.compute({**asked, **here}, progress, cancelled)
        return {name: np.asarray(result[name]) for name in VARIABLES}
    plane = {name: xr.DataArray(np.full([len(AXES[n]) for n in SHOTS], np.nan), {n: AXES[n] for n in SHOTS}, SHOTS)
             for name in VARIABLES}  # fmt: skip
    for k, images in enumerate(AXES["image_shots"]):
        row = [experiment.settings(**{**asked, "image_shots": images, "text_shots": n}) for n in AXES["text_shots"]]
        for texts, s in zip(AXES["text_shots"], row, strict=True):
            found = experiment.member(experiment.normal(s), lambda *_: None)  # type: ignore[misc]
            for name in VARIABLES:
                plane[name].loc[images, texts] = found[name]
        if (tell := getattr(progress, "tell", None)) is not None:
            tell({name: values.isel(image_shots=slice(k + 1)) for name, values in plane.items()})
        progress((k + 1) / len(AXES["image_shots"]), f"{images} pictures of each class")
    return plane


def _init(name: str) -> str:
    return "text_if_any" if name == "text" else name


def _auxiliary(modalities: str) -> str:
    return modalities.removeprefix("image+")
