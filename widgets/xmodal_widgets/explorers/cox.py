"""cox: which modality is out, share of labels, T, K, and switches for connection, exploration and warm-up.

Opens on a cube that ``make cubes`` computed. "Train here" trains the exact setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..view.kinds import Bars, Lines, Scatter
from ..view.train import translated
from . import shipped

if TYPE_CHECKING:
    import xarray as xr

CUBES = shipped.FOLDER
AXES: dict[str, list[Any]] = {
    "out": ["audio", "text"],
    "count": [2, 3],
    "label_share": [0.0, 0.05, 0.2],
    "anchors": [0.05, 0.2],
    "connection": [False, True],
    "exploration": [False, True],
    "warmup": [False, True],
    "seed": [0, 1],
}
# Short runs with a larger step than the paper's, so that "Train here" answers in a second or two.
FIXED: dict[str, Any] = {"dataset": "senses", "steps": 120, "lr": 3e-3, "points": 150}
KINDS = ("agreement", "disagreement", "anchor")
SENSES = ("hue", "outline", "audio", "text")  # of the data set "senses", in its order
CONTROLS = {
    "data": ["out", "count", "label_share"],
    "method": ["anchors", "connection", "exploration", "warmup"],
    "training": ["seed"],
}
WHAT = ("COX", "COX, best renaming", "baseline", "baseline, best renaming")
VARIABLES = ("x", "y", "kind", "true_class", "score", "on_sets", "accuracy_curve", "mmd", "in_modal_accuracy")


def open(
    views: Any = None, controls: Any = None, compute: Callable[..., Any] | None = None, **options: Any
) -> SweepView:
    """The explorer of cox.

    Args:
        views, controls: in place of the default ones.
        compute: what "Train here" runs; trains the exact setting by default.
        options: ``title``, ``average``, and a value for any control.
    """
    shown = views or [
        Scatter("x", "y", color="kind", fit=True, title="learner's features: agreement, disagreement, anchors"),
        Scatter("x", "y", color="true_class", fit=True, title="the same points by their true class"),
        Bars("score", x="what", limits=(0.0, 1.0), title="test accuracy of h_O"),
        Bars("on_sets", x="when", hue="where", limits=(0.0, 1.0), title="before and after exploration"),
        Lines("mmd", x="share", hue="source", title="gap from mappings to features"),
        Lines(
            "in_modal_accuracy",
            x="share",
            hue="source",
            limits=(0.0, 1.0),
            title="h* of each mapping, on the modality out",
        ),
    ]
    opening: dict[str, Any] = {
        "out": "audio", "count": 2, "label_share": 0.2, "connection": True, "exploration": True, "warmup": True,
        "title": "cox: learning a modality through others", "seed": 0,
    }  # fmt: skip
    opening["offers"] = {"out": [name for name in SENSES if name not in AXES["out"]]}
    controls = controls or CONTROLS
    return SweepView(load_cube(), shown, controls, compute=compute or train_here, **(opening | options))


def load_cube() -> xr.Dataset:
    """The shipped cube."""
    return _named(shipped.load("cox"))


def compute_cube(axes: Mapping[str, Any] = AXES, **options: Any) -> xr.Dataset:
    """The cube on ``axes``; ``options`` go to :func:`xmodal_lab.sweep`.

    The baseline is EntMin with labels, SSL without, as in the paper's Tab 2; it has no switch.
    """
    import xmodal_lab as xl

    cube = xl.sweep("cox", algorithm="cox", **axes, **FIXED, **options)
    labels = {name: axes[name] for name in ("out", "seed")}
    shares = [s for s in axes["label_share"] if s > 0]
    parts = (
        [xl.sweep("cox", algorithm="ssl", label_share=[0.0], **labels, **FIXED, **options)]
        if 0 in axes["label_share"]
        else []
    )
    if shares:
        parts.append(xl.sweep("cox", algorithm="entmin", label_share=shares, **labels, **FIXED, **options))
    return _arranged(cube, parts)


def _arranged(cube: xr.Dataset, baselines: list[xr.Dataset]) -> xr.Dataset:
    """The variables as the views want them; codes as whole numbers, so that they are drawn as classes."""
    import xarray as xr

    base = xr.concat([b[["accuracy", "relabelled"]] for b in baselines], "label_share")
    base = base.broadcast_like(cube["accuracy"])
    arrays = [cube["accuracy"], cube["relabelled"], base["accuracy"], base["relabelled"]]
    score = xr.concat(arrays, "what").assign_coords(what=list(WHAT))
    sets = [
        xr.concat([cube[f"{where}_{when}"] for when in ("before", "after")], "when") for where in ("agree", "disagree")
    ]
    on_sets = xr.concat(sets, "where").assign_coords(where=["A", "D"], when=["before", "after"])
    made = cube[["x", "y", "kind", "true_class", "accuracy_curve", "mmd", "in_modal_accuracy"]]
    made = made.assign(score=score, on_sets=on_sets).transpose(
        ..., "what", "where", "when", "checkpoint", "source", "point"
    )
    made = made.rename(checkpoint="share").assign_coords(share=np.linspace(0, 1, cube.sizes["checkpoint"]).round(2))
    made = made.astype("float32").assign({n: made[n].astype("int8") for n in ("kind", "true_class")})
    made["kind"].attrs.update(long_name="set", flag_meanings=" ".join(KINDS))
    made["true_class"].attrs.update(long_name="class", flag_meanings="circle square triangle cross ring star")
    return _named(made)


def modalities_in(out: str) -> list[str]:
    """The modalities that are in when ``out`` is out, in the order of ``source``."""
    return [name for name in SENSES if name != out]


def _by_name(made: xr.Dataset) -> xr.Dataset:
    """``source`` by the names of the modalities, which hang on the one that is out; a gap for the one that is out."""
    import xarray as xr

    if made["source"].dtype.kind not in "iu":
        return made
    parts = [
        made.sel(out=[out]).assign_coords(source=modalities_in(out)).reindex(source=list(SENSES))
        if {"source", "out"} <= set(made.dims) else made
        for out in made["out"].values.tolist()
    ]  # fmt: skip
    numbered = [name for name in made.data_vars if "source" in made[name].dims]
    named = xr.concat([part[numbered] for part in parts], "out")
    return made.drop_dims("source").assign({n: named[n].transpose(*made[n].dims) for n in numbered})


def _named(made: xr.Dataset) -> xr.Dataset:
    """The cube with the words that stand at controls and axes."""
    made = _by_name(made)
    words = {
        "x": "first principal axis of z_O", "y": "second principal axis", "score": "test accuracy",
        "on_sets": "accuracy", "what": "", "when": "exploration", "where": "set", "share": "share of the training",
        "out": "modality out", "count": "K, modalities in", "anchors": "T, anchors / rows",
        "label_share": "share of labels", "source": "in-modal modality",
    }  # fmt: skip
    for name, text in words.items():
        made[name].attrs["long_name"] = text
    return made


def train_here(
    setting: Mapping[str, Any], progress: Callable[..., None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Train one setting, for the view's "Train here"; ``progress`` leaves it when the reader cancels."""
    from xmodal_lab.sweeps.experiment import get

    experiment = get("cox")
    asked = {name: setting[name] for name in AXES if name in setting}
    whole = experiment.settings(**FIXED, **asked)
    places = [SENSES.index(name) for name in modalities_in(str(setting["out"]))]
    result = experiment.member(whole, translated(progress, partial(_so_far, places)))
    rival = "ssl" if whole["label_share"] == 0 else "entmin"
    other = experiment.member(experiment.settings(**FIXED, **asked, algorithm=rival), progress)
    sets = [[result[f"{where}_{when}"] for when in ("before", "after")] for where in ("agree", "disagree")]
    scores = [result["accuracy"], result["relabelled"], other["accuracy"], other["relabelled"]]
    found = {name: np.asarray(result[name]) for name in VARIABLES if name in result}
    found |= {name: _on_senses(found[name], places) for name in ("mmd", "in_modal_accuracy")}
    return {**found, "score": np.asarray(scores), "on_sets": np.asarray(sets)}


def _on_senses(curves: np.ndarray, places: list[int]) -> np.ndarray:
    """(moment, source) by the names of the modalities; fewer sources leave gaps."""
    found = np.full((len(curves), len(SENSES)), np.nan)
    found[:, places[: curves.shape[1]]] = curves[:, : len(places)]
    return found


def _so_far(places: list[int], found: Mapping[str, Any]) -> dict[str, Any]:
    """The curves of a training that goes on, as variables of the cube."""
    import xarray as xr

    from xmodal_lab.papers.cox.method.runs import CHECKPOINTS

    shares = np.linspace(0, 1, CHECKPOINTS).round(2)
    result = {}
    for name, curve in found.items():
        at: dict[str, Any] = {"share": shares[: len(curve)]}
        values = curve.values
        if curve.ndim == 2:
            values, at["source"] = _on_senses(values, places), list(SENSES)
        result[name] = xr.DataArray(values, at, tuple(at))
    return result
