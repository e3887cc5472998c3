"""wma: α, β and what they do to the plan, to D, and to robustness; own runs beside the published grids.

Opens on a cube that ``make cubes`` computed. "Train here" trains the exact setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..view.grid import one_of
from ..view.joining import with_settings
from ..view.kinds import Bars, HeatMap, Lines
from ..view.train import translated
from . import shipped

if TYPE_CHECKING:
    import xarray as xr

AXES: dict[str, list[Any]] = {
    "task": ["red", "both", "wrong"],
    "alpha": [0.0, 0.2, 1.0],
    "beta": [0.0, 0.4, 1.0, 1.4, 4.0],
    "seed": [0, 1],
}
ORDERS = [1, 2]  # further orders of the baseline's batches
# One draw of the data for all seeds, so that all of them show the same picture.
FIXED: dict[str, Any] = {"data_seed": 0, "strengths": True, "n_val": 50, "n_test": 400}
OURS, RERUN = "this α and β", "baseline, rerun {}"
LINES = ("D / D_0", "target β", "ceiling of the cosine")
PATCHES = 4  # along a side
PRINTED_ALPHAS = [0.1, 0.2, 1.0, 5.0, 6.0, 8.0]
PRINTED_BETAS = [0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 4.0, 6.0, 10.0]
GRIDS = {3: "Hateful Memes", 4: "MM-IMDb", 5: "UR-FUNNY", 6: "MOSEI"}
VARIABLES = ("plan", "trajectory", "gain", "cell_gain")  # what a trained setting brings
BOTH = "image+text"
PLANS: dict[str, dict[str, Any]] = {
    "exact": {"transport": "exact"},
    **{f"IPOT, {n} steps": {"transport": "ipot", "ipot_steps": n} for n in (5, 10, 50, 200)},
}
# How the shipped runs were trained, and what "Follow" trains beside it.
TRAINED: dict[str, Any] = {"modalities": BOTH, "cost": "cosine", "reference": "first_batch", "transport": "exact"}
OFFERS: dict[str, list[Any]] = {
    "modalities": ["image+text+audio"], "cost": ["squared_euclidean"], "reference": ["batch"],
    "transport": list(PLANS)[1:],
}  # fmt: skip
CONTROLS = {
    "data": ["task", "modalities"],
    "method": ["alpha", "beta", "cost", "reference", "transport"],
    "training": ["seed"],
    "look": ["strength", "test", "published"],
}


def open(
    views: Any = None,
    controls: Any = None,
    compute: Callable[..., Any] | None = None,
    training: Mapping[str, Any] | None = None,
    **options: Any,
) -> SweepView:
    """The explorer of wma.

    Args:
        views, controls: in place of the default ones.
        compute: what "Train here" runs; trains the exact setting by default.
        training: further settings of the experiment for "Train here", such as ``steps=600``; they go before the
            controls.
        options: ``title``, ``average``, and a value for any control.
    """
    shown = views or [
        HeatMap("plan", x="column", y="row", col="word", under="picture", title="where each word's mass goes"),
        Lines("trajectory", x="step", hue="line", title="D along fine-tuning"),
        Bars("gain", x="case", hue="run", fit=True, title="gain over the baseline, beside plain reruns"),
        HeatMap(
            "cell_gain", x="beta", y="alpha", fit=True, palette="diverging", title="gain over the baseline, own runs"
        ),
        HeatMap(
            "printed",
            x="printed_beta",
            y="printed_alpha",
            fit=True,
            palette="diverging",
            title="gain over ViLT, Tab 3-6",
        ),
    ]
    opening: dict[str, Any] = {"task": "both", "alpha": 1.0, "beta": 1.4, "strength": 1.0, "test": "normal"}
    opening["title"] = "wma: a target for the distance between two modalities"
    opening["offers"] = OFFERS
    controls = controls or CONTROLS
    compute = compute or partial(train_here, training=dict(training or {}))
    cube = with_settings(load_cube(), TRAINED, VARIABLES)
    for name, label in {"cost": "cost of the plan", "reference": "D̄ of", "transport": "plan by"}.items():
        cube[name].attrs["long_name"] = label
    return SweepView(cube, shown, controls, compute=compute, **(opening | options))


def load_cube() -> xr.Dataset:
    """The shipped cube; the published grids at their values of α and β."""
    cube = shipped.load("wma")
    axes = {"printed_alpha": ("α", PRINTED_ALPHAS), "printed_beta": ("β", PRINTED_BETAS)}
    return cube.assign_coords({name: (name, values, {"long_name": label}) for name, (label, values) in axes.items()})


def compute_cube(axes: Mapping[str, Any] = AXES, **options: Any) -> xr.Dataset:
    """The cube on ``axes``, as float32; ``options`` go to :func:`xmodal_lab.sweep`."""
    import xarray as xr

    import xmodal_lab as xl

    sample, words, picture = shown_sample()
    runs = xl.sweep("wma", **axes, **FIXED, shown=sample, **options)
    baseline = {k: v for k, v in axes.items() if k not in ("alpha", "beta")}
    reruns = xl.sweep("wma", **baseline, **FIXED, order=ORDERS, **options)
    cube = xr.Dataset(
        {
            "plan": _plan(runs["plan"], words),
            "trajectory": _trajectory(runs["ratio"], runs["beta"], runs["ceiling"].mean("seed")),
            "baseline": runs["curve"].sel(alpha=0.0, beta=axes["beta"][0], drop=True),
            "printed": _printed(),
        }
    )
    gains = 100 * (runs["curve"] - cube["baseline"])
    others = 100 * (reruns["curve"] - cube["baseline"])
    named = [gains, *(others.sel(order=k, drop=True).broadcast_like(gains) for k in ORDERS)]
    cube["gain"] = xr.concat(named, xr.IndexVariable("run", [OURS, *(RERUN.format(k) for k in ORDERS)]))
    cube["cell_gain"] = gains.rename(case="test")
    cube["picture"] = (("up", "across"), picture.mean(0)[::-1].copy(), {"long_name": "brightness"})
    cube = cube.astype("float32")
    units = {"gain": "points of AUROC", "cell_gain": "points of AUROC", "printed": "points of the paper's metric"}
    for name, unit in units.items():
        cube[name].attrs = {"long_name": "gain over the baseline", "units": unit}
    cube["plan"].attrs = {"long_name": "share of the word's mass"}
    cube["trajectory"].attrs = {"long_name": "D / D_0"}
    labels = {
        "alpha": "α", "beta": "β", "strength": "noise and gaps ×",
        "printed_alpha": "α", "printed_beta": "β",
        "published": "grid", "test": "test",
    }  # fmt: skip
    for dim, label in labels.items():
        cube[dim].attrs["long_name"] = label
    cube.attrs = {**runs.attrs, "sample": sample, "words": words}
    return cube


def train_here(
    setting: Mapping[str, Any],
    progress: Callable[..., None],
    cancelled: Callable[[], bool],
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train one setting, for the view's "Train here"; ``progress`` leaves it when the reader cancels."""
    import xarray as xr

    from xmodal_lab.sweeps.cubes import fact
    from xmodal_lab.sweeps.experiment import get

    experiment, cube = get("wma"), load_cube()
    words, ours = fact(cube.attrs["words"]), {"shown": cube.attrs["sample"]} | dict(training or {})
    method = {"modalities": BOTH, **{k: setting[k] for k in TRAINED if k in setting}}
    method |= PLANS[one_of("plan", method.pop("transport", "exact"), PLANS)]
    asked = {k: setting[k] for k in AXES} | method | ours
    beta = xr.DataArray(float(setting["beta"]))

    def so_far(part: Mapping[str, Any]) -> dict[str, Any]:
        return {"trajectory": _trajectory(part["ratio"], beta, xr.full_like(part["ratio"].isel(step=0), np.nan))}

    found = dict(experiment.compute({**FIXED, **asked}, translated(progress, so_far)))
    found["curve"] = found["curve"].sel(case=cube["case"].values)
    at = {"task": setting["task"], "seed": setting["seed"]}
    if asked["modalities"] == BOTH and all(at[name] in cube[name].values for name in at):
        baseline = cube["baseline"].sel(at, drop=True)
        reruns = cube["gain"].sel(at, drop=True).isel(run=slice(1, None), alpha=0, beta=0, drop=True)
    else:  # a seed or a task without a baseline in the cube
        baseline = experiment.compute({**FIXED, **asked, "alpha": 0.0}, progress)["curve"].sel(case=cube["case"].values)
        reruns = xr.full_like(cube["gain"].isel(task=0, seed=0, alpha=0, beta=0, run=slice(1, None), drop=True), np.nan)
    gains = 100 * (found["curve"] - baseline)
    plan = xr.DataArray(np.asarray(found["plan"]), dims=("token_1", "token_2"))
    # What a run brings for all strengths and tests joins the cube for all of them.
    return {
        "plan": _plan(plan, words),
        "trajectory": _trajectory(found["ratio"], beta, found["ceiling"]),
        "gain": xr.concat([gains.expand_dims(run=[OURS]), reruns], "run"),
        "cell_gain": gains.rename(case="test"),
    }


def shown_sample(most: int = 9) -> tuple[int, list[str], np.ndarray]:
    """A test sample whose caption all tasks share and tells the colour: its number, words, picture (3, 32, 32)."""
    from xmodal_lab import load
    from xmodal_lab.data.datasets.made.shapes import SHARED
    from xmodal_lab.papers.wma import world

    sizes = {"n_train": 800, "n_val": FIXED["n_val"], "n_test": FIXED["n_test"]}
    worlds = {task: world(task, seed=FIXED["data_seed"], **sizes) for task in AXES["task"]}
    captions = [w.test.strings["text"] for w in worlds.values()]
    for row, same in enumerate(zip(*captions, strict=True)):
        words = same[0].split()
        if len(set(same)) == 1 and len(words) <= most and set(words) & set(SHARED["color"]):
            # The same draw without noise: each modality has its own stream, so nothing else changes.
            clean = load("shapes", seed=FIXED["data_seed"], modalities="image", image_noise=0.0, label="color", **sizes)
            return row, [f"{k + 1} {word}" for k, word in enumerate(words)], clean.test.inputs["image"][row].numpy()
    raise ValueError("no test caption is shared by all tasks.")


def _plan(plan: xr.DataArray, words: list[str]) -> xr.DataArray:
    """(…, patch, token) → (…, word, row, column): of each word the shares of its mass; row 0 is at the bottom."""
    side = range(PATCHES)
    plan = plan.isel(token_2=slice(0, len(words))).rename(token_2="word").assign_coords(word=words)
    plan = plan / plan.sum("token_1")
    rows = [plan.isel(token_1=slice(PATCHES * r, PATCHES * (r + 1))) for r in reversed(side)]
    import xarray as xr

    rows = [r.rename(token_1="column").assign_coords(column=list(side)) for r in rows]
    whole = xr.concat(rows, xr.IndexVariable("row", list(side)))
    return whole.transpose(..., "word", "row", "column")


def _trajectory(ratio: xr.DataArray, beta: xr.DataArray, ceiling: xr.DataArray) -> xr.DataArray:
    """D / D_0 over the steps, with its target and the ceiling, along ``line``; image and text only."""
    import xarray as xr

    path = ratio.isel(pair=0, drop=True)
    flat = [(beta + 0 * path), (ceiling.isel(pair=0, drop=True) + 0 * path)]
    parts = [path, *(f.transpose(*path.dims) for f in flat)]
    return xr.concat(parts, xr.IndexVariable("line", list(LINES)))


def _printed() -> xr.DataArray:
    """Tab 3-6 less the baseline of Tab 1, in points, signed so that more is better; image stands for image or video."""
    import pandas as pd

    import xmodal_lab as xl
    from xmodal_lab.papers.wma import cases_of

    first = xl.tables("wma", 1)
    base = first[first["method"] == "ViLT"].set_index(["dataset", "case"])["value"]
    frames = []
    for number in GRIDS:
        frame = xl.tables("wma", number)
        level = np.array([base[key] for key in zip(frame["dataset"], frame["case"], strict=True)])
        sign = np.where(frame["metric"] == "MAE", -1, 1)
        frames.append(frame.assign(gain=100 * sign * (frame["value"] - level)))
    table = pd.concat(frames)
    table["case"] = table["case"].str.replace("video", "image")
    table = table[~table["case"].str.startswith("audio")]
    table = table.rename(
        columns={"dataset": "published", "case": "test", "alpha": "printed_alpha", "beta": "printed_beta"}
    )
    keys = ["published", "printed_alpha", "printed_beta", "test"]
    found: xr.DataArray = table.set_index(keys)["gain"].to_xarray()
    return found.sel(published=list(GRIDS.values()), test=list(cases_of("image+text")))
