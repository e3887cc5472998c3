"""Claims about supervised UML: few shots, shifts, modalities, and what the gain depends on."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ...conditions import Claim, Conditions
from ...published import tables
from ...verdicts import Measured, gain, order, same
from . import fewshot as exp
from .unpaired import unpaired
from .worlds import SHIFTS

SHOTS = (1, 4, 16)
RATES = (0.1, 0.3)  # learning rates; each arm chooses on the validation split, seed by seed


def chosen(cube: xr.Dataset, *over: str) -> xr.Dataset:
    """The cube where, for each of the other settings, the best validation accuracy over ``over`` was found."""
    flat = cube.stack(point=list(over))
    best = flat["val_accuracy"].fillna(-1).argmax("point")
    return flat.isel(point=best).drop_vars(["point", *over])


def _known(conditions: Conditions) -> Any:
    if conditions.dataset is None:
        return exp.EXPERIMENT
    return conditions.once("uml own", lambda: exp.experiment(unpaired(conditions.dataset)))  # type: ignore[arg-type]


def arm(conditions: Conditions, *, taught: bool = True, shots: tuple[int, ...] = SHOTS, **axes: Any) -> xr.Dataset:
    """One arm over shots of the target and seeds, at its best learning rate on the validation split."""
    known = _known(conditions)
    s = {**known.defaults, **axes}
    target, auxiliary = s["target"], [m for m in str(s["auxiliary"]).split("+") if m]
    if conditions.dataset is not None:
        labels = unpaired(conditions.dataset).train[target][1].bincount()
        shots = tuple(k for k in shots if k <= int(labels[labels > 0].min()))
    if not taught:
        axes |= {f"{m}_shots": 0 for m in auxiliary}
    cube = conditions.sweep(known, **{f"{target}_shots": list(shots)}, lr=list(RATES), **axes)
    return chosen(cube, "lr").rename({f"{target}_shots": "shots"})


def _difference(a: xr.Dataset, b: xr.Dataset, shots: int, name: str = "accuracy") -> np.ndarray:
    at = shots if shots in a["shots"].values else int(a["shots"].values[-1])
    return np.asarray(a[name].sel(shots=at) - b[name].sel(shots=at))


def few_shot(conditions: Conditions) -> Measured:
    """uml.F with its controls: permuted names, and a stronger unimodal classifier."""
    alone, uml = arm(conditions, taught=False), arm(conditions)
    start = arm(conditions, init="text_if_any")
    permuted = arm(conditions, relation="permuted")
    lda = arm(conditions, taught=False, classifier="lda")
    steps = {
        f"UML over unimodal, {k}-shot": _difference(uml, alone, int(k)) for k in uml["shots"].values[:2]
    }  # fmt: skip
    steps["UML(init) over UML, 1-shot"] = _difference(start, uml, 1)
    steps["gain at 1 shot over gain at 16"] = _difference(uml, alone, 1) - _difference(uml, alone, 16)
    note = (
        f"{_text(_difference(permuted, alone, 1))} with permuted names at 1 shot; UML over shrinkage LDA "
        f"{_text(_difference(uml, lda, 1))} at 1 and {_text(_difference(uml, lda, 4))} at 4 shots. Optimiser SGD; "
        f"see uml.U for λ. {averages()}"
    )
    return order(
        steps,
        note=note,
        numbers={name: cube["accuracy"].mean("seed").to_numpy() for name, cube in (("unimodal", alone), ("uml", uml))},
    )


def averages() -> str:
    """Trap: Tab 2's few-shot averages leave ImageNet out, Tab 17's keep it."""
    whole = tables("uml", 17)
    shots = whole["shots"].astype(str).str.removesuffix(".0")
    one = whole[(shots == "1") & (whole["method"] == "Unimodal")].set_index("dataset")["value"]
    one = one.drop(labels=[n for n in one.index if "verage" in n])
    without = one.drop(labels=[n for n in one.index if "ImageNet" in n])
    both = f"{one.mean():.2f}; without ImageNet, as in Tab 2, {without.mean():.2f}"
    return f"Trap: Tab 17's 1-shot unimodal average is {both}."


def fine_tuning(conditions: Conditions) -> Measured:
    """uml.FT: all layers on all data, and the probe on all data."""
    from .tuning import full_accuracies

    tuned = conditions.once(f"uml tuning {conditions.seeds}", lambda: full_accuracies(conditions.seeds))
    full = {"image_shots": [24], "text_shots": 16}
    alone = chosen(conditions.sweep("uml", **full | {"text_shots": 0}, lr=list(RATES)), "lr")["accuracy"]
    probe = chosen(conditions.sweep("uml", **full, lr=list(RATES)), "lr")["accuracy"]
    steps = {"full fine-tuning": tuned["uml"] - tuned["unimodal"], "full-data probe": (probe - alone).values.ravel()}
    return order(steps, note=f"24 pictures of each class. {mislabelled()}")


def mislabelled() -> str:
    """Trap: which of Tab 8's rows stands in Tab 2 as "Ours"."""
    second, eighth = tables("uml", 2), tables("uml", 8)
    ours = (second["setting"] == "full fine-tuning") & second["method"].str.startswith("Ours")
    a = dict(zip(second["dataset"][ours], second["value"][ours], strict=True))
    init = eighth["method"] == "Ours (init)"
    b = dict(zip(eighth["dataset"][init], eighth["value"][init], strict=True))
    both = [name for name in a if name in b]
    equal = f"{sum(a[name] == b[name] for name in both)} of {len(both)} columns"
    return f"Trap: Tab 2's fine-tuning row 'Ours' equals Tab 8's 'Ours (init)' in {equal}."


def shift(conditions: Conditions) -> Measured:
    """uml.R: test pictures changed in ways that training never saw."""
    options = {"image_shots": [4], "shift": list(SHIFTS), "lr": list(RATES)}
    uml = chosen(conditions.sweep("uml", **options), "lr")["accuracy"].squeeze("image_shots")
    alone = chosen(conditions.sweep("uml", text_shots=0, **options), "lr")["accuracy"].squeeze("image_shots")
    clean = _difference(arm(conditions), arm(conditions, taught=False), 4)
    steps = {str(k): (uml - alone).sel(shift=k).values for k in SHIFTS}
    mean = np.mean(list(steps.values()), 0)
    each = ", ".join(f"{name} {_text(d)}" for name, d in steps.items())
    note = f"Accuracy gained under shift: {each}. On clean pictures UML gains {_text(clean)}."
    return gain(mean, control=mean - clean, control_name="its gain on clean pictures", note=note)


def third(conditions: Conditions) -> Measured:
    """uml.3: each auxiliary modality adds, for pictures and for sounds as the target."""
    steps = {}
    for target, other in (("image", "audio"), ("audio", "image")):
        options: dict[str, Any] = {"target": target, f"{other}_shots": 12, "text_shots": 1}
        alone = arm(conditions, shots=(1,), taught=False, **options | {"auxiliary": "text"})
        text = arm(conditions, shots=(1,), **options | {"auxiliary": "text"})
        both = arm(conditions, shots=(1,), **options | {"auxiliary": f"text+{other}"})
        steps[f"{target}: text"] = _difference(text, alone, 1)
        steps[f"{target}: {other} beside text"] = _difference(both, text, 1)
    return order(
        steps,
        note="One sentence and 12 samples of the other modality per class: plenty of text leaves little to add.",
    )


def unrelated(conditions: Conditions) -> Measured:
    """uml.U: text about something else, with λ chosen on the validation split."""
    lam: dict[str, Any] = {"lam": [0.03, 0.3, 1.0]}
    alone = arm(conditions, taught=False, shots=(1, 4))
    other = "permuted" if conditions.dataset is not None else "unrelated"
    found = {r: chosen(arm(conditions, relation=r, shots=(1, 4), **lam), "lam") for r in {other, "permuted", "related"}}
    fixed = arm(conditions, relation=other, shots=(1, 4))
    note = (
        f"Related text {_text(_difference(found['related'], alone, 1))} at 1 shot, permuted names "
        f"{_text(_difference(found['permuted'], alone, 1))}. λ chosen from .03, .3, 1; with λ = 1 unrelated text costs "
        f"{_text(_difference(fixed, alone, 4))} at 4 shots."
    )
    both = (_difference(found[other], alone, 1) + _difference(found[other], alone, 4)) / 2
    return gain(-both, note=note) if float(both.mean()) > 0.02 else same(both, 0.02, note=note)


def ratio(conditions: Conditions) -> Measured:
    """uml.B: from four target batches per text batch to four text batches per target batch."""
    few = arm(conditions, shots=(4,), ratio=[0.25, 1.0, 4.0])
    accuracy = few["accuracy"].isel(shots=0)
    spread = accuracy.sel(ratio=4.0) - accuracy.sel(ratio=0.25)
    means = ", ".join(f"r = {r:g}: {100 * float(accuracy.sel(ratio=r).mean()):.1f}" for r in (0.25, 1.0, 4.0))
    weighed = [arm(conditions, shots=(4,), ratio=r, lam=1 / r)["accuracy"].isel(shots=0).values for r in (0.25, 4.0)]
    note = f"r = 4 minus r = .25 at 4 shots ({means}). λ = 1, so r weighs the text too; with λ = 1/r the difference is "
    return same(spread.values, 0.02, note=f"{note}{_text(weighed[1] - weighed[0])}.")


def unfrozen(conditions: Conditions) -> Measured:
    """uml.Z: the text encoder's last layer trained along."""
    from .tuning import text_layer

    found = conditions.once(f"uml text layer {conditions.seeds}", lambda: text_layer(conditions.seeds))
    note = "What is unfrozen here is a last linear layer that starts at the identity; the paper unfreezes all of it."
    return same(found["unfrozen"] - found["frozen"], 0.02, note=f"Unfrozen minus frozen. {note}")


def prompts(conditions: Conditions) -> Measured:
    """uml.N: the first two sentences against all sixteen."""
    texts = arm(conditions, shots=(1,), text_shots=[1, 2, 4, 16])["accuracy"].isel(shots=0)
    alone = arm(conditions, shots=(1,), taught=False)["accuracy"].isel(shots=0)
    each = {k: (texts.sel(text_shots=k) - alone).values for k in (1, 2, 4, 16)}
    gains = ", ".join(f"{k}: {_text(v)}" for k, v in each.items())
    return gain(each[2] - each[16] / 2, note=f"Gain with two sentences minus half the gain with 16. Gains: {gains}.")


def descriptions(conditions: Conditions) -> Measured:
    """uml.K: descriptions against bare names."""
    found = {
        k: arm(conditions, shots=(1, 4), text=k, text_shots=1 if k == "name" else 16) for k in ("name", "description")
    }
    steps = {f"{k}-shot": _difference(found["description"], found["name"], k) for k in (1, 4)}
    return order(steps, note="16 descriptions of each class against its bare name.")


def encoders(conditions: Conditions) -> Measured:
    """uml.E: other text encoders."""
    alone = arm(conditions, shots=(1,), taught=False)
    steps = {
        name: _difference(arm(conditions, shots=(1,), text_encoder=name), alone, 1)
        for name in ("minilm", "words", "letters", "lm")
    }
    return order(steps, note="'words' and 'letters' are counts, 'lm' is a small model of these sentences.")


def geometry(conditions: Conditions) -> Measured:
    """uml.M: raw and scale-free margins, clusters, prototypes."""
    uml = arm(conditions, shots=(4,), geometry=True)
    alone = arm(conditions, shots=(4,), geometry=True, taught=False)
    names = {"margin_scale_free": 1, "silhouette": 1, "davies_bouldin": -1, "alignment": 1}
    steps = {name: sign * _difference(uml, alone, 4, name) for name, sign in names.items()}
    raw = gain(_difference(uml, alone, 4, "margin"), scale=1, unit="").text
    note = f"4 shots. The raw margin changes by {raw}: it grows with the features, so the scale-free one is judged."
    return order(steps, scale=1, unit="", note=f"{note} Alignment with text means is nearly a tautology for UML.")


def _text(differences: np.ndarray) -> str:
    return gain(differences).text


FEW: tuple[Claim, ...] = (
    Claim("uml.F", "Few shots: UML beats unimodal, UML(init) beats UML, and the gain shrinks as shots grow.",
          "Tab 2, 15-19, 22, 23", "SUN397 1-shot 34.15 → 41.79 (init)", few_shot),
    Claim("uml.FT", "Full fine-tuning and the full-data linear probe: UML is at least as good as unimodal.",
          "Tab 6-14, 20, 21", "ViT-S/14, SUN397: 66.20 → 66.72", fine_tuning),
    Claim("uml.R", "UML is more robust under test-time shift.", "Fig 5, 10-13", "", shift),
    Claim("uml.3", "Accuracy rises with each auxiliary modality.", "Tab 25, 26",
          "ESC-19, audio, 1-shot: 28.78, 34.59, 35.47, 44.46", third),
    Claim("uml.U", "Unrelated auxiliary text gives no gain.", "Tab 24", "1-shot: 34.15, 35.27, 41.79", unrelated),
    Claim("uml.B", "The batch ratio r hardly matters.", "Tab 27, 28", "4-shot: 59.05 (r .25), 58.70 (r 4)", ratio),
    Claim("uml.Z", "Freezing or unfreezing the text encoder: mixed, small.", "Tab 29",
          "Cars 84.87, 84.23; SUN397 66.72, 65.80", unfrozen),
    Claim("uml.N", "Most of the gain comes from the first few prompts.", "Fig 33", "", prompts),
    Claim("uml.K", "Descriptions beat bare class names.", "Fig 31, 32", "", descriptions),
    Claim("uml.M", "Margin and silhouette rise, Davies-Bouldin falls, prototypes align with text means.",
          "Fig 41-44", "", geometry),
    Claim("uml.E", "Gains hold across text encoders.", "Fig 30", "", encoders),
)  # fmt: skip
