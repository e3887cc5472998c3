"""What follows from the published tables alone: relative gains, and how a random cell of the grids does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ....claims import published
from ....utils.factors import first_best

if TYPE_CHECKING:
    import pandas as pd

GRIDS = {3: "Hateful Memes", 4: "MM-IMDb", 5: "UR-FUNNY", 6: "MOSEI"}
SWAPPED = {"video missing": "text missing", "text missing": "video missing"}
# The abstract's three numbers, in per cent.
ABSTRACT = {"normal": 0.9, "noise": 2.5, "missing": 2.1}


def relative_gains() -> pd.DataFrame:
    """WMA over ViLT in per cent, recomputed from Tab 1: by dataset, and their mean, by three ways to average the cases.

    Rows: (average, dataset); columns normal, noise, missing. Only "ratio of sums" (sum the cases of a kind, then take
    the ratio; then the plain mean over the four datasets) gives the abstract's 0.9, 2.5, 2.1.

    - ratio of sums:   Σ WMA / Σ ViLT - 1
    - mean of ratios:  mean of WMA / ViLT - 1
    - difference:      mean of WMA - ViLT, in points of the metric
    """
    import pandas as pd

    table = published.tables("wma", 1)
    sign = np.where(table["metric"] == "MAE", -1, 1)
    wide = table.assign(value=table["value"], sign=sign).pivot_table(
        index=["dataset", "case", "sign"], columns="method", values="value", sort=False
    )
    wide = wide.reset_index()
    wide["test"] = [case.split()[-1] for case in wide["case"]]
    rows = []
    for (dataset, test), part in wide.groupby(["dataset", "test"], sort=False):
        ours, base, turn = part["ViLT-WMA"], part["ViLT"], float(part["sign"].iloc[0])
        each = {
            "ratio of sums": ours.sum() / base.sum() - 1,
            "mean of ratios": (ours / base - 1).mean(),
            "difference": (ours - base).mean(),
        }
        rows += [{"average": k, "dataset": dataset, "test": test, "gain": 100 * turn * v} for k, v in each.items()]
    tidy = pd.DataFrame(rows)
    found = tidy.pivot_table(index=["average", "dataset"], columns="test", values="gain", sort=False)
    means = found.groupby(level="average", sort=False).mean()
    means.index = pd.MultiIndex.from_tuples([(k, "mean of four") for k in means.index], names=found.index.names)
    both = pd.concat([found, means])
    return both.reindex(columns=list(ABSTRACT)).sort_index(level="average", sort_remaining=False)


def falling_cells() -> pd.DataFrame:
    """The cells of Tab 1 in which WMA is worse than ViLT; one: video missing on UR-FUNNY, 0.602 → 0.601."""
    table = published.tables("wma", 1)
    wide = table.pivot_table(index=["dataset", "case", "metric"], columns="method", values="value", sort=False)
    flat: pd.DataFrame = wide.reset_index()
    turn = np.where(flat["metric"] == "MAE", -1, 1)
    return flat[turn * (flat["ViLT-WMA"] - flat["ViLT"]) < 0].reset_index(drop=True)


def cells_beating_baseline(equal: bool = False, realigned: bool = False) -> pd.DataFrame:
    """How often a cell of the published grids (Tab 3-6) is better than the printed baseline (Tab 1), by case.

    Cells that are not printed count for nothing: "not run" in Tab 4, and in Tab 6 the two rows that print 13 values for
    14 columns.

    Args:
        equal: count ties too, as the tables' bold type does.
        realigned: swap "video missing" and "text missing" of Tab 6, which Tab 1 has the other way round
            (:func:`selected_cells` shows it).

    Returns:
        One row per dataset and case: share, cells, mean and best gain in the metric's units.
    """
    import pandas as pd

    first = published.tables("wma", 1)
    base = first[first["method"] == "ViLT"].set_index(["dataset", "case"])["value"]
    rows = []
    for number, dataset in GRIDS.items():
        grid = published.tables("wma", number).dropna(subset="value")
        if realigned and dataset == "MOSEI":
            grid = grid.assign(case=grid["case"].replace(SWAPPED))
        for case, part in grid.groupby("case", sort=False):
            turn = -1 if part["metric"].iloc[0] == "MAE" else 1
            # Tables print three digits: differences are exact in thousandths.
            gained = np.round(turn * 1000 * (part["value"].to_numpy() - base[(dataset, case)])) / 1000
            better = gained >= 0 if equal else gained > 0
            rows.append(
                {"dataset": dataset, "case": case, "share": better.mean(), "cells": len(part),
                 "mean gain": gained.mean(), "best gain": gained.max()}
            )  # fmt: skip
    return pd.DataFrame(rows)


def selected_cells() -> pd.DataFrame:
    """Which cell (α, β) of each grid holds Tab 1's WMA numbers: those printed in both, to the last digit.

    No cell of MOSEI's grid fits all of them, unless its "video missing" and "text missing" rows change places: one of
    the two tables has them swapped.

    Returns:
        One row per dataset: α, β of the cell that agrees with Tab 1 in most cases, in how many of how many; and the
        same for MOSEI with the two rows swapped.
    """
    import pandas as pd

    table = published.tables("wma", 1)
    ours = table[table["method"] == "ViLT-WMA"].set_index(["dataset", "case"])["value"]
    rows = []
    for number, dataset in GRIDS.items():
        grid = published.tables("wma", number)
        for swapped in (False, True) if dataset == "MOSEI" else (False,):
            cases = grid["case"].replace(SWAPPED) if swapped else grid["case"]
            same = np.abs(grid["value"] - np.array([ours[(dataset, c)] for c in cases])) < 5e-4
            agree = grid.assign(same=same).groupby(["alpha", "beta"])["same"].sum()
            alpha, beta = np.array(list(agree.index))[first_best(agree.to_numpy())]
            rows.append(
                {"dataset": dataset + " (two rows swapped)" * swapped, "alpha": alpha, "beta": beta,
                 "agree": int(agree.max()), "cases": grid["case"].nunique()}
            )  # fmt: skip
    return pd.DataFrame(rows)


def best_betas() -> pd.Series:
    """The β of the best cell of each published grid, by mean over the cases (single runs: mostly luck)."""
    import pandas as pd

    found = {}
    for number, dataset in GRIDS.items():
        grid = published.tables("wma", number)
        turn = -1 if grid["metric"].iloc[0] == "MAE" else 1
        wide = grid.pivot_table(index=["alpha", "beta"], columns="case", values="value", dropna=False).dropna()
        mean = turn * wide.mean(axis=1)
        found[dataset] = float(mean.index.to_frame()["beta"].iloc[first_best(mean.to_numpy())])
    return pd.Series(found, name="best β")


def two_way_anova() -> pd.DataFrame:
    """Whether α or β matters at all in the published grids (Tab 3-6): a two-way analysis of variance by case.

    Each case of a dataset is one α x β table of single runs; the model is additive, so the residual is interaction and
    the noise of a run together. Cells that are not printed are left out with their row of α.

    Returns:
        One row per dataset and case: p of α and of β, sd of the residual, and the gain of Tab 1 beside it.
    """
    import pandas as pd
    from scipy import stats

    first = published.tables("wma", 1).pivot_table(index=["dataset", "case"], columns="method", values="value")
    rows = []
    for number, dataset in GRIDS.items():
        grid = published.tables("wma", number)
        turn = -1 if grid["metric"].iloc[0] == "MAE" else 1
        for case, part in grid.groupby("case", sort=False):
            table = part.pivot_table(index="alpha", columns="beta", values="value", dropna=False).dropna().to_numpy()
            if min(table.shape) < 2:
                continue
            by_row, by_column, mean = table.mean(1, keepdims=True), table.mean(0), table.mean()
            rest = table - by_row - by_column + mean
            a, b = table.shape
            free = (a - 1) * (b - 1)
            noise = float((rest**2).sum() / free)
            squares = {
                "alpha": b * float(((by_row - mean) ** 2).sum()),
                "beta": a * float(((by_column - mean) ** 2).sum()),
            }
            p = {
                f"p {name}": float(stats.f.sf(squares[name] / n / noise, n, free))
                for name, n in (("alpha", a - 1), ("beta", b - 1))
            }
            printed: Any = first.loc[(dataset, str(case))]
            rows.append(
                {"dataset": dataset, "case": case, **p, "residual sd": noise**0.5,
                 "printed gain": turn * (printed["ViLT-WMA"] - printed["ViLT"])}
            )  # fmt: skip
    return pd.DataFrame(rows)


def missing_cells() -> dict[int, int]:
    """How many cells of each published grid hold no number, by table."""
    return {n: int(published.tables("wma", n)["value"].isna().sum()) for n in GRIDS}
