"""α and β chosen as they should be, on validation, beside what other ways of choosing would have said.

    cube  = sweep("wma", task=TASKS, alpha=[0, 1], beta=[0, 0.4, 1, 1.4, 2], order=range(3), seed=range(5))
    wma.choices(cube)       # one row per way of choosing and case

Every number is a gain over the plain baseline (α = 0, first order of the batches) of the same seed, signed so that
more is better, in the metric's units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ....utils import checks as check
from ....utils.factors import first_best
from ....utils.statistics import mean_interval

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

MINIMISE = {"alpha": 1.0, "beta": 0.0}  # minimise OT (wma Tab 2)
GROUPS = {"N": "normal", "X": "noise", "Y": "missing"}


def signed(cube: xr.Dataset) -> xr.DataArray:
    """The scores, turned so that more is better (MAE becomes -MAE)."""
    import xarray as xr

    for name in ("score", "gain_sign"):
        check.one_of("variable of the cube", name, check.instance("cube", cube, xr.Dataset, "a sweep of wma"))
    return cube["score"] * cube["gain_sign"]


def groups(scores: xr.DataArray) -> xr.DataArray:
    """Mean over the cases of each kind of test, dim ``test`` = normal, noise, missing."""
    import xarray as xr

    kinds = list(GROUPS.values())
    cases = scores["case"].values.tolist()
    parts = [scores.sel(case=[c for c in cases if c.endswith(kind)]).mean("case") for kind in kinds]
    return xr.concat(parts, xr.IndexVariable("test", kinds))


def flat(scores: xr.DataArray) -> xr.DataArray:
    """(α, β) as one dimension ``cell``, only those with α > 0 and β > 0: the grid that WMA is chosen from."""
    _needs(scores, "alpha", "beta")
    grid = scores.sel(
        alpha=[a for a in scores["alpha"].values if a > 0], beta=[b for b in scores["beta"].values if b > 0]
    )
    if grid.sizes["alpha"] * grid.sizes["beta"] == 0:
        raise ValueError("the cube holds no cell with α > 0 and β > 0, so there is nothing to choose.")
    cells = grid.stack(cell=("alpha", "beta"))
    return cells.dropna("cell", how="all")  # a grid need not be full


def best_cell(cube: xr.Dataset, split: str = "val") -> xr.DataArray:
    """The WMA run with the best mean over all cases of ``split``, seed by seed; its signed scores on the test split."""
    scores = _first_order(signed(cube))
    if "alpha" not in scores.dims:
        raise ValueError("the cube needs alpha and beta as axes.")
    grid = flat(scores)
    chosen = first_best(grid.sel(split=split).mean("case"), "cell")
    return grid.sel(split="test").isel(cell=chosen).drop_vars(["cell", "alpha", "beta"], errors="ignore")


def baseline(cube: xr.Dataset, choose: str = "first") -> xr.DataArray:
    """The signed test scores of α = 0: of the "first" order of batches, or of the best rerun on "val" or "test".

    "each" takes the best rerun on test case by case, as one does who reads a table for its largest numbers.
    """
    check.one_of("choice of the baseline", choose, ("first", "val", "test", "each"))
    scores = _without(signed(cube))
    if choose == "first" or "order" not in scores.dims:
        return _first_order(scores).sel(split="test")
    if choose == "each":
        return scores.sel(split="test").max("order")
    chosen = first_best(scores.sel(split=choose).mean("case"), "order")
    return scores.sel(split="test").isel(order=chosen).drop_vars("order", errors="ignore")


def minimised(cube: xr.Dataset, choose: str = "printed") -> xr.DataArray:
    """The signed test scores of minimising transport, β = 0: at α = 1, "printed" in wma Tab 2, or α chosen on "val"."""
    check.one_of("choice of α", choose, ("printed", "val"))
    if choose == "val":
        scores = _first_order(signed(cube))
        _needs(scores, *MINIMISE)
        if 0.0 not in scores["beta"].values:
            raise ValueError("the cube holds no beta = 0, so nowhere is transport minimised; sweep that too.")
        line = scores.sel(beta=0.0, drop=True).sel(alpha=[a for a in scores["alpha"].values if a > 0])
        chosen = first_best(line.sel(split="val").mean("case"), "alpha")
        return line.sel(split="test").isel(alpha=chosen).drop_vars("alpha", errors="ignore")
    scores = _first_order(signed(cube))
    _needs(scores, *MINIMISE)
    for axis, value in MINIMISE.items():
        if value not in scores[axis].values:
            raise ValueError(
                f"the cube holds no {axis} = {value:g}, so nowhere is transport minimised; sweep that too."
            )
    return scores.sel(split="test", **MINIMISE).drop_vars(list(MINIMISE))


def ways(cube: xr.Dataset) -> dict[str, xr.DataArray]:
    """Signed test scores by way of choosing."""
    found = {
        "minimise OT": minimised(cube),
        "WMA, chosen on validation": best_cell(cube, "val"),
        "WMA, chosen on test": best_cell(cube, "test"),
        "WMA, best cell of each case on test": flat(_first_order(signed(cube))).sel(split="test").max("cell"),
    }
    if "order" in cube.dims:
        found |= {
            "baseline rerun, chosen on validation": baseline(cube, "val"),
            "baseline rerun, best of each case on test": baseline(cube, "each"),
        }
    return found


def choices(cube: xr.Dataset, scale: float = 100.0) -> pd.DataFrame:
    """Gain over the baseline by way of choosing and kind of test, in points: mean and 95 % half-width over seeds.

    "chosen on test" minus "chosen on validation" is how much that flatters (the paper's grids are single runs chosen on
    the metric they report); "baseline rerun, best of each case on test" is a gain that needs no method.

    Args:
        cube: a sweep with axes alpha (0 among them), beta (0 among them) and seed; order and task where there are.
        scale: 100 for points of AUROC and F1.

    Returns:
        One row per way of choosing and kind of test.

    Raises:
        ValueError: an axis that is missing.
    """
    import pandas as pd

    scale = check.real("scale", scale)
    _needs(signed(cube), "alpha", "beta", "seed")
    plain, rows = groups(baseline(cube)), []
    for way, scores in ways(cube).items():
        gained = groups(scores) - plain
        for test in gained["test"].values.tolist():
            mean, half = mean_interval(scale * per_seed(gained.sel(test=test)))
            rows.append({"way": way, "test": test, "gain": mean, "half": half})
    table = pd.DataFrame(rows)
    return table.pivot(index="way", columns="test", values=["gain", "half"]).reindex(index=list(ways(cube)))


def per_seed(values: xr.DataArray) -> np.ndarray:
    """Mean over everything but the seed (tasks, say)."""
    rest = [d for d in values.dims if d != "seed"]
    found: np.ndarray = values.mean(rest).values if rest else values.values
    return found


def rerun_band(cube: xr.Dataset) -> xr.DataArray:
    """The grey band: lowest and highest rerun of the baseline less the first order of batches; by case, mean of seeds.

    A gain inside the band is what one gets by shuffling the same data another way.

    Raises:
        ValueError: a cube without reruns.
    """
    import xarray as xr

    scores = _without(signed(cube)).sel(split="test")
    _needs(scores, "order")
    moved = scores - scores.isel(order=0)
    ends = [moved.min("order"), moved.max("order")]
    return xr.concat(ends, xr.IndexVariable("end", ["low", "high"])).mean("seed")


def best_beta(scores: xr.DataArray) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Whether β is worth choosing by task: gain of the task's own β over one β for all tasks, seed by seed.

    Both are learned from the *other* seeds' validation scores and judged on the left-out seed's test scores.

    Args:
        scores: signed, dims task, beta, split, case, seed; one α.

    Returns:
        (seeds,) gains, and the β that each task would take from all seeds.
    """
    _needs(scores, "task", "beta", "seed")
    mean = scores.mean("case")
    gained = []
    for seed in mean["seed"].values:
        others = mean.sel(split="val").drop_sel(seed=seed).mean("seed")
        test = mean.sel(split="test", seed=seed)
        own = test.isel(beta=first_best(others, "beta"))
        # Tasks differ in how much there is to gain; each counts by its own differences, not its level.
        shared = test.isel(beta=first_best((others - others.max("beta")).mean("task")))
        gained.append(float((own - shared).mean("task")))
    whole = mean.sel(split="val").mean("seed")
    picks = whole["beta"].isel(beta=first_best(whole, "beta"))
    return np.array(gained), dict(zip(whole["task"].values.tolist(), picks.values.tolist(), strict=True))


def beta_matters(scores: xr.DataArray) -> np.ndarray:
    """Whether β moves a task's score at all: its best β less its worst one, both learned from the other seeds.

    Args:
        scores: as in :func:`best_beta`.

    Returns:
        (seeds,) mean over the tasks, of the left-out seed's test scores.
    """
    _needs(scores, "task", "beta", "seed")
    mean, moved = scores.mean("case"), []
    for seed in mean["seed"].values:
        others = mean.sel(split="val").drop_sel(seed=seed).mean("seed")
        test = mean.sel(split="test", seed=seed)
        apart = test.isel(beta=first_best(others, "beta")) - test.isel(beta=first_best(-others, "beta"))
        moved.append(float(apart.mean("task")))
    return np.array(moved)


def _without(scores: xr.DataArray) -> xr.DataArray:
    """The baseline: α = 0, where β makes no difference."""
    _needs(scores, "alpha")
    if 0.0 not in scores["alpha"].values.tolist():
        raise ValueError(f"the cube has no baseline: add alpha=0 to its axes ({scores['alpha'].values.tolist()}).")
    plain = scores.sel(alpha=0.0, drop=True)
    return plain.isel(beta=0, drop=True) if "beta" in plain.dims else plain


def _first_order(scores: xr.DataArray) -> xr.DataArray:
    return scores.isel(order=0, drop=True) if "order" in scores.dims else scores


def _needs(scores: xr.DataArray, *dims: str) -> None:
    lacking = [d for d in dims if d not in scores.dims]
    if lacking:
        raise ValueError(f"the cube needs {', '.join(lacking)} as axes; it has {', '.join(map(str, scores.dims))}.")
