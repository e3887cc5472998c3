"""Claims about what supervised UML's gain depends on: the texts, their encoder, λ, r; and what it does to the head."""

from __future__ import annotations

from typing import Any

from ....claims.claim import Claim, Conditions
from ....claims.verdicts import HOLDS, Measured, gain, missing, order, reads, same
from ..worlds import given as own
from .few import arm, chosen, difference, printed

SENTENCES = (1, 2, 4, 16)  # of each class


def unrelated(conditions: Conditions) -> Measured:
    """uml.U: text about something else, with λ chosen on the validation split."""
    lam: dict[str, Any] = {"lam": [0.03, 0.3, 1.0]}
    alone = arm(conditions, taught=False, shots=(1, 4))
    other = "permuted" if conditions.dataset is not None else "unrelated"
    found = {r: chosen(arm(conditions, relation=r, shots=(1, 4), **lam), "lam") for r in {other, "permuted", "related"}}
    fixed = arm(conditions, relation=other, shots=(1, 4))
    note = (
        f"Related text {printed(difference(found['related'], alone, 1))} at 1 shot, permuted names "
        f"{printed(difference(found['permuted'], alone, 1))}. λ chosen from .03, .3, 1; with λ = 1 unrelated text "
        f"costs {printed(difference(fixed, alone, 4))} at 4 shots."
    )
    both = (difference(found[other], alone, 1) + difference(found[other], alone, 4)) / 2
    if float(both.mean()) > 0.02:
        return gain(-both, note=note)
    # A tie says something only where related text shows that there is a gain to be had.
    return reads(same(both, margin=2.0, note=note), related_text_over_none=difference(found["related"], alone, 1))


def ratio(conditions: Conditions) -> Measured:
    """uml.B: from four target batches per text batch to four text batches per target batch."""
    few = arm(conditions, shots=(4,), ratio=[0.25, 1.0, 4.0])
    accuracy = few["accuracy"].isel(shots=0)
    spread = accuracy.sel(ratio=4.0) - accuracy.sel(ratio=0.25)
    means = ", ".join(f"r = {r:g}: {100 * float(accuracy.sel(ratio=r).mean()):.1f}" for r in (0.25, 1.0, 4.0))
    weighed = [arm(conditions, shots=(4,), ratio=r, lam=1 / r)["accuracy"].isel(shots=0).values for r in (0.25, 4.0)]
    note = f"r = 4 minus r = .25 at 4 shots ({means}). λ = 1, so r weighs the text too; with λ = 1/r the difference is "
    return same(spread.values, margin=2.0, note=f"{note}{printed(weighed[1] - weighed[0])}.")


def unfrozen(conditions: Conditions) -> Measured:
    """uml.Z: the text encoder's last layer trained along."""
    from ..method.tuning import text_layer

    data = conditions.dataset
    if data is not None and own.text_of(data) in (None, own.target_of(data)):
        return missing("texts beside the target")
    features = None if data is None else own.featured(data)
    found = conditions.once(f"uml text layer {conditions.seeds}", lambda: text_layer(conditions.seeds, features))
    note = "What is unfrozen here is a last linear layer that starts at the identity; the paper unfreezes all of it."
    return same(found["unfrozen"] - found["frozen"], margin=2.0, note=f"Unfrozen minus frozen. {note}")


def prompts(conditions: Conditions) -> Measured:
    """uml.N: the first two sentences against all sixteen."""
    data, text = conditions.dataset, "text"
    if data is not None:
        text = str(own.auxiliaries_of(data)[0])
        if own.fewest(data.train.labels[data.train.present[text]]) < SENTENCES[-1]:
            return missing(f"{SENTENCES[-1]} texts of every class")
    axes: dict[str, Any] = {f"{text}_shots": list(SENTENCES)}
    accuracy = arm(conditions, shots=(1,), **axes)["accuracy"].isel(shots=0)
    alone = arm(conditions, shots=(1,), taught=False)["accuracy"].isel(shots=0)
    each = {k: (accuracy.sel({f"{text}_shots": k}) - alone).values for k in SENTENCES}
    gains = ", ".join(f"{k}: {printed(v)}" for k, v in each.items())
    whole = gain(each[16])
    note = f"Gain with two sentences minus half the gain with 16. Gains: {gains}."
    if whole.verdict != HOLDS:
        note += " With 16 there is no certain gain of which two could give most."
    return gain(each[2] - each[16] / 2, note=note)


def descriptions(conditions: Conditions) -> Measured:
    """uml.K: descriptions against bare names."""
    if conditions.dataset is not None:
        return missing("bare class names beside the texts, through the same encoder")
    found = {
        k: arm(conditions, shots=(1, 4), text=k, text_shots=1 if k == "name" else 16) for k in ("name", "description")
    }
    steps = {f"{k}-shot": difference(found["description"], found["name"], k) for k in (1, 4)}
    return order(steps, note="16 descriptions of each class against its bare name.")


def encoders(conditions: Conditions) -> Measured:
    """uml.E: other text encoders."""
    data, alone = conditions.dataset, arm(conditions, taught=False, shots=(1,))
    if data is not None:
        m = own.text_of(data)
        if m is None or m == own.target_of(data) or m not in data.train.strings:
            return missing("the texts themselves, for other encoders to read")
        arms = {"the given": arm(conditions, shots=(1,))}
        arms |= {name: arm(conditions, shots=(1,), counts=name) for name in own.COUNTED}
        steps = {name: difference(found, alone, 1) for name, found in arms.items()}
        return order(steps, note=f"'words' and 'letters' are counts; the given: {own.encoder_of(data)}.")
    steps = {
        name: difference(arm(conditions, shots=(1,), text_encoder=name), alone, 1)
        for name in ("minilm", "words", "letters", "lm")
    }
    return order(steps, note="'words' and 'letters' are counts, 'lm' is a small model of these sentences.")


def geometry(conditions: Conditions) -> Measured:
    """uml.M: raw and scale-free margins, clusters, prototypes."""
    uml = arm(conditions, shots=(4,), geometry=True)
    alone = arm(conditions, shots=(4,), geometry=True, taught=False)
    names = {"margin_scale_free": 1, "silhouette": 1, "davies_bouldin": -1, "alignment": 1}
    steps = {name: sign * difference(uml, alone, 4, name) for name, sign in names.items()}
    raw = gain(difference(uml, alone, 4, "margin"), scale=1, unit="").text
    note = f"4 shots. The raw margin changes by {raw}: it grows with the features, so the scale-free one is judged."
    return order(steps, scale=1, unit="", note=f"{note} Alignment with text means is nearly a tautology for UML.")


KNOBS: tuple[Claim, ...] = (
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
