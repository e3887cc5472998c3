"""uml: shots of pictures and sentences, related or not, start at text means or not, one or two auxiliaries.

Opens on a cube of the numbers world (real handwritten digits) that ``make cubes`` computed. "Train here" trains the
exact setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
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
FIXED: dict[str, Any] = {"lr": 0.3, "audio_shots": 12}
VARIABLES = ("accuracy", "loss")
LABELS = {
    "image_shots": "pictures of each class",
    "text_shots": "sentences of each class",
    "relation": "the sentences are",
    "init": "start of the head",
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
        HeatMap("accuracy", x="image_shots", y="text_shots", title="pictures against sentences"),
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
    controls = controls or ["image_shots", "text_shots", "relation", "init", "modalities", "seed"]
    return SweepView(load_cube(), shown, controls, compute=compute or train_here, **(opening | options))


def load_cube() -> xr.Dataset:
    """The shipped cube."""
    return shipped.load("uml")


def compute_cube(axes: Mapping[str, Any] = AXES, **options: Any) -> xr.Dataset:
    """The cube on ``axes``, as float32; ``options`` go to :func:`xmodal_lab.sweep`."""
    import xmodal_lab as xl

    given = {k: v for k, v in axes.items() if k not in ("init", "modalities")}
    given |= {"init": [_init(name) for name in axes["init"]], "auxiliary": [_auxiliary(m) for m in axes["modalities"]]}
    cube = xl.sweep("uml", **given, **FIXED, **options)[list(VARIABLES)].astype("float32")
    cube = cube.rename(auxiliary="modalities").assign_coords(modalities=axes["modalities"], init=axes["init"])
    for name, label in LABELS.items():
        cube[name].attrs["long_name"] = label
    return cube


def train_here(
    setting: Mapping[str, Any], progress: Callable[..., None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Train one setting, for the view's "Train here"; ``progress`` leaves it when the reader cancels."""
    from xmodal_lab.sweeps.experiment import get

    asked = {k: v for k, v in setting.items() if k not in ("init", "modalities")}
    for name in ("image_shots", "text_shots"):  # a slider may stand between whole numbers
        asked[name] = round(asked[name])
    asked |= {"init": _init(setting["init"]), "auxiliary": _auxiliary(setting["modalities"])}
    result = get("uml").compute({**FIXED, **asked}, progress, cancelled)
    return {name: np.asarray(result[name]) for name in VARIABLES}


def _init(name: str) -> str:
    return "text_if_any" if name == "text" else name


def _auxiliary(modalities: str) -> str:
    return modalities.removeprefix("image+")
