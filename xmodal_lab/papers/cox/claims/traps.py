"""Places where the paper's tables and bounds do not hold together, computed from what is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....claims import published
from ..theory.families import FAMILIES, draw
from ..theory.terms import X1, X2, XO, Y, entropy, mutual_information

if TYPE_CHECKING:
    import pandas as pd


def ablation_against_retrieval() -> pd.DataFrame:
    """COX's R@1 on MSR-VTT in Tab 4 beside Tab 3's, by setting and modality: trap (a).

    One row per number of Tab 4; ``nearest`` is the value of Tab 3 (either perceptor) closest to it.
    """
    ablation, retrieval = published.tables("cox", 4), published.tables("cox", 3)
    mine = ablation[ablation.method == "COX"].reset_index(drop=True)[["setting", "modality", "value"]]
    cells = retrieval[(retrieval.method == "COX") & (retrieval.dataset == "MSR-VTT") & (retrieval.metric == "R@1")]
    wide = cells.pivot(index=["setting", "modality"], columns="perceptor", values="value").reset_index()
    both = mine.rename(columns={"value": "Tab 4"}).merge(wide, on=["setting", "modality"], how="left")
    choices = both[["ImageBind", "LanguageBind"]]
    both["apart"] = choices.sub(both["Tab 4"], axis=0).abs().min(axis=1).round(1)
    return both


def not_the_best() -> pd.DataFrame:
    """Cells of Tab 2 and 3 in which COX, set in bold throughout, is not the best below aligned: trap (b)."""
    import pandas as pd

    found = []
    for number in (2, 3):
        table = published.tables("cox", number)
        keys = ["dataset", "setting", "perceptor", "modality", "metric"]
        rivals = table[~table.method.isin(["COX", "aligned"])].dropna(subset="value")
        best = rivals.loc[rivals.groupby(keys)["value"].idxmax(), [*keys, "method", "value"]]
        cox = table[table.method == "COX"][[*keys, "value", "source"]].rename(columns={"value": "COX"})
        both = cox.merge(best.rename(columns={"method": "best other", "value": "its value"}), on=keys)
        found.append(both[both["COX"] < both["its value"]])
    return pd.concat(found, ignore_index=True)


def chance_levels() -> pd.DataFrame:
    """Random's recalls in Tab 3 beside 1/C and 5/C for 20 and 7 classes.

    MSR-VTT has 20 categories and MOSEI, says Sec 4.1, 7 emotions: R@1 of the random learner is what retrieval of a
    *class* gives, not of one instance among thousands.
    """
    table = published.tables("cox", 3)
    rows = table[table.method == "Random"].groupby(["dataset", "metric"], sort=False)["value"].mean().reset_index()
    classes = rows.dataset.map({"MSR-VTT": 20, "MOSEI": 7})
    rows["k / classes, %"] = (100 * rows.metric.str[2:].astype(int) / classes).round(1)
    return rows


def upper_bound_of_eq7(cases: int = 1000, size: int = 2, seed: int = 0) -> pd.DataFrame:
    """How often Eq 7 holds on discrete distributions, by family: its right side lacks entropies, and is below 0.

        I(X_O; X_I | Y) ≤ E log p(y|x_I) p(x_O|x_I) p(x_I) - E log h(y|x_O)

    At the best classifier h = p(y|x_O) the right side is H(Y|X_O) - H(Y|X_I) - H(X_O, X_I). Eq 8 subtracts it, so it
    bounds nothing either. X_I is the pair X_1, X_2 here.

    Args:
        cases, size, seed: as of :func:`~xmodal_lab.papers.cox.draw`, of each family.

    Returns:
        One row per family: the share in which Eq 7 holds, mean of its left and of its right side, in nats.
    """
    import pandas as pd

    rows, inside = [], (X1, X2)
    for family in FAMILIES:
        p = draw(family, cases, size, seed)
        left = mutual_information(p, (XO,), inside, (Y,)).flatten()
        unsure = entropy(p, (XO, Y)) - entropy(p, (XO,)) - entropy(p, (*inside, Y)) + entropy(p, inside)
        right = (unsure - entropy(p, (*inside, XO))).flatten()
        held = float((left <= right + 1e-9).double().mean())
        rows.append({"family": family, "holds": held, "left": float(left.mean()), "right": float(right.mean())})
    return pd.DataFrame(rows)
