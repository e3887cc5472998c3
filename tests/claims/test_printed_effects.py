"""Each effect that a row is judged beside, worked out again from the paper's tables as printed: the sheet of them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from xmodal_lab.claims import measuring
from xmodal_lab.claims.published import tables


def at(paper: str, number: int, **keys: Any) -> float:
    """The one cell that these keys name."""
    table = tables(paper, number)
    for name, value in keys.items():
        table = table[table[name] == value]
    assert len(table) == 1, f"{paper} Tab {number} has {len(table)} cells for {keys}"
    return float(table["value"].iloc[0])


def less(paper: str, number: int, name: str, more: Any, fewer: Any, **keys: Any) -> float:
    return at(paper, number, **{name: more}, **keys) - at(paper, number, **{name: fewer}, **keys)


def latent(direction: str, alpha: float) -> float:
    """Tab 3 of synergy, over α = 0."""
    return less("synergy", 3, "alpha", alpha, 0.0, direction=direction)


def alphas(over: float) -> float:
    table = tables("synergy", 3).pivot(index="direction", columns="alpha", values="value")
    return float((table[0.3] - table[over]).mean())


def levels() -> list[float]:
    return [float(x) for x in np.diff(tables("synergy", 8).query("metric == 'accuracy'")["value"])]


def cox(more: str, fewer: str, **keys: str) -> float:
    where = {"dataset": "NYU-D", "modality": "RGB", "perceptor": "ImageBind", "setting": "semi-supervised", **keys}
    return less("cox", 2, "method", more, fewer, **where)


def ablated(without: str, setting: str = "semi-supervised") -> float:
    return less("cox", 4, "method", "COX", without, modality="Aud", setting=setting)


def few(number: int, shots: int, more: str = "Ours", fewer: str = "Unimodal") -> float:
    return less("uml", number, "method", more, fewer, dataset="Average", shots=float(shots))


def average(number: int) -> float:
    return less("uml", number, "method", "Ours", "Unimodal", dataset="Average")


def esc(number: int, more: str, fewer: str) -> float:
    keys = {"dataset": "ImageNet-ESC-19", "shots": 1.0, "metric": "accuracy"}
    return less("uml", number, "method", more, fewer, **keys)


def probes() -> float:
    table = tables("uml", 1).pivot_table(index="dataset", columns="method", values="value")
    return float((table["Ours"] - table["Unimodal"]).mean())


def wma(kind: str) -> float:
    """Mean over the datasets of what ViLT-WMA gains in Tab 1, in points of each metric; MAE falls."""
    table = tables("wma", 1)
    table = table[table["case"].str.endswith(kind)]
    table = table.assign(value=table["value"].where(table["metric"] != "MAE", -table["value"]))
    means = table.pivot_table(index="dataset", columns="method", values="value")
    return float(100 * (means["ViLT-WMA"] - means["ViLT"]).mean())


def dml(number: int, more: str, fewer: str, **keys: Any) -> float:
    return less("dml", number, "method", more, fewer, **{"dataset": "AVMNIST", **keys})


def recall(task: str) -> float:
    return less("dml", 7, "method", "DML", "SML", task=task, metric="R@1")


def rows_mean(shots: int) -> float:
    """Tab 17 of uml: what UML gains, mean of its rows (its 16-shot averages are not those of its rows: a trap)."""
    table = tables("uml", 17).query("shots == @shots and dataset != 'Average'")
    means = table.pivot_table(index="dataset", columns="method", values="value").mean()
    return float(means["Ours"] - means["Unimodal"])


def memes(method: str, number: int) -> float:
    """Mean of the five tests on Hateful Memes, in points of AUROC."""
    table = tables("wma", number).query("dataset == 'Hateful Memes' and method == @method")
    assert len(table) == 5
    return float(100 * table["value"].mean())


# id -> step ("" of a claim's only one) -> the effect, from the printed cells.
SHEET: dict[str, dict[str, Callable[[], float]]] = {
    "synergy.A1": {"": lambda: latent("V→A", 0.3)},
    "synergy.A2": {"": lambda: latent("A→V", 0.3)},
    "synergy.A3": {"": lambda: latent("L→A", 0.3)},
    "synergy.A4": {"": lambda: latent("A→L", 0.3)},
    "synergy.α": {"α = .3 over 0": lambda: alphas(0.0), "α = .3 over .7": lambda: alphas(0.7)},
    "synergy.V": {
        "level 1 over single": lambda: levels()[0], "level 2 over level 1": lambda: levels()[1],
        "level 3 over level 2": lambda: levels()[2],
    },
    "uml.S": {"": probes},
    "uml.F": {
        "UML over unimodal, 1-shot": lambda: few(17, 1), "UML over unimodal, 4-shot": lambda: few(17, 4),
        "UML(init) over UML, 1-shot": lambda: few(17, 1, "Ours (init)", "Ours"),
        "gain at 1 shot over gain at 16": lambda: rows_mean(1) - rows_mean(16),
        "Tab 5's recipe, UML over unimodal, 1-shot": lambda: few(17, 1),
        "Tab 5's recipe, UML(init) over UML, 1-shot": lambda: few(17, 1, "Ours (init)", "Ours"),
    },
    "uml.FT": {"full fine-tuning": lambda: average(6), "full-data probe": lambda: average(21)},
    "uml.3": {
        "image: text": lambda: esc(26, "Image + Text", "Image-Only"),
        "image: audio beside text": lambda: esc(26, "Image + Audio + Text", "Image + Text"),
        "audio: text": lambda: esc(25, "Audio + Text", "Audio-Only"),
        "audio: image beside text": lambda: esc(25, "Audio + Image + Text", "Audio + Text"),
    },
    "uml.A": {"1-shot": lambda: few(22, 1) - few(17, 1), "4-shot": lambda: few(22, 4) - few(17, 4)},
    "uml.X": {"": lambda: float(np.log(1034 / 228))},  # Fig 8, 9
    "wma.N": {"": lambda: wma("normal")},
    "wma.X": {"": lambda: wma("noise")},
    "wma.Y": {"": lambda: wma("missing")},
    "dml.A": {
        "SML over image": lambda: dml(1, "SML", "Modality i"), "SML over audio": lambda: dml(1, "SML", "Modality j"),
        "DML over SML": lambda: dml(1, "DML", "SML"),
    },
    "dml.R": {"R@1 image → text": lambda: recall("I2T"), "R@1 text → image": lambda: recall("T2I")},
    "dml.DA": {
        "augmentation on top of DML": lambda: less(
            "dml", 2, "augmentation", "J+C+F", "original", dataset="AVMNIST", method="DML"
        ),
        "DML on top of augmentation": lambda: dml(2, "DML", "SML", augmentation="J+C+F"),
    },
    "dml.S": {f"over SML + {k}": lambda k=k: dml(9, "DML", f"SML + {k}") for k in ("LS", "SWA", "SAM")},  # type: ignore[misc]
    "dml.3": {
        "SML over the best modality": lambda: dml(10, "SML", "Visual", dataset="UR-FUNNY", metric="accuracy"),
        "DML over SML": lambda: dml(10, "DML", "SML", dataset="UR-FUNNY", metric="accuracy"),
    },
    "wma.O": {
        "over minimising": lambda: memes("WMA", 2) - memes("minimize OT", 2),
        "over the baseline": lambda: memes("ViLT-WMA", 1) - memes("ViLT", 1),
    },
    "wma.3": {"": lambda: 100 * less("wma", 1, "method", "ViLT-WMA", "ViLT", dataset="UR-FUNNY", case="normal")},
    "cox.S": {
        "COX over EntMin": lambda: cox("COX", "EntMin"), "EntMin over ERM": lambda: cox("EntMin", "ERM"),
        "ERM over random": lambda: cox("ERM", "Random"), "aligned over COX": lambda: cox("aligned", "COX"),
    },
    "cox.SE": {"": lambda: cox("COX", "ERM")},
    "cox.U": {
        "COX over SSL": lambda: cox("COX", "SSL", setting="unsupervised"),
        "SSL over random": lambda: cox("SSL", "Random", setting="unsupervised"),
    },
    "cox.UB": {"accuracy": lambda: cox("COX", "SSL", setting="unsupervised")},
    "cox.R": {
        f"class R@{k}": lambda k=k: less(
            "cox", 3, "method", "COX", "MoCo", dataset="MSR-VTT", modality="Vid", metric=f"R@{k}",
            setting="semi-supervised", perceptor="ImageBind",
        )
        for k in (1, 5)
    },
    "cox.P": {
        "": lambda: less(
            "cox", 2, "perceptor", "LanguageBind", "ImageBind",
            dataset="NYU-D", modality="RGB", setting="semi-supervised", method="COX",
        )
    },
    "cox.A": {
        "with connection": lambda: ablated("w/o connection"), "with exploration": lambda: ablated("w/o exploration"),
        "with warm-up (unsupervised)": lambda: ablated("w/o warm-up", "unsupervised"),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SHEET)
def test_an_effect_is_what_the_tables_print(name: str) -> None:
    effect = measuring.known()[name].effect
    stated = effect if isinstance(effect, dict) else {"": effect}
    for step, printed in SHEET[name].items():
        assert stated[step] == pytest.approx(printed(), abs=0.051), f"{name}, {step or 'its only step'}"


def test_no_printed_effect_is_missing_from_the_sheet() -> None:
    # Worked out where they stand: dml.H, H5, LPF, P by printed_falls, dml.V by printed_correlation; synergy.A5 is two
    # tables' own differences, in its row's words.
    elsewhere = {"dml.H", "dml.H5", "dml.LPF", "dml.P", "dml.V", "synergy.A5"}
    stated = {c.id for c in measuring.known().values() if c.effect is not None}
    assert stated - elsewhere == set(SHEET), "every effect that a row states is worked out from a table"
    for name, steps in SHEET.items():
        effect = measuring.known()[name].effect
        assert set(steps) == (set(effect) if isinstance(effect, dict) else {""}), name
