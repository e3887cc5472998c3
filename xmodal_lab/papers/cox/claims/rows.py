"""The ledger's rows for cox. See :mod:`.arms` for the world and its settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....claims.claim import Claim, Conditions
from ....claims.seeds import LATER
from ....claims.verdicts import Measured, controlled, exact, gain, order, reads
from ....utils.factors import best_named
from ..theory.families import FAMILIES, counterexample, draw
from ..theory.terms import terms
from .arms import READINGS, UNSUPERVISED, cox, curve, entmin, of, reading
from .uneven import uneven

# Steps on labels before A and D are told apart (D1's curve); the runs end there (ours).
LOOKED_AT = (25, 50, 100, 200, 400)


def theorem(c: Conditions) -> Measured:
    """Eq 12 on random discrete distributions, every term enumerated."""
    cases = 500 if c.quick else 5000
    found = {f"{family}, {k} values": terms(draw(family, cases, k)) for family in FAMILIES for k in (2, 4)}
    held = sum(int(t.holds("eq12").sum()) for t in found.values())
    repaired = min(float(t.holds("repaired").double().mean()) for t in found.values())
    joint = sum(int(t.holds("eq11_joint").sum()) for t in found.values())
    worst = terms(counterexample(0.3))
    total = cases * len(found)
    note = (
        f"Counterexample: disagreement {float(worst.disagreement):.2f}, bound {abs(float(worst.eq12)):.2f}. Under the "
        f"proof's own reading of Eq 11: {joint} of {total}. With the constants of Assumptions 1-3 kept, where finite "
        f"ones exist: {repaired:.0%} in every family."
    )
    rates = {name: float(t.holds("eq12").double().mean()) for name, t in found.items()}
    return exact(held, total, "distributions (nats)", note=note, numbers=rates)


def semi(c: Conditions) -> Measured:
    """COX > EntMin > ERM > random, below aligned; controls: scrambled h_k*, and A and D by h_O alone."""
    acc = {m: of(c, algorithm=m) for m in ("random", "erm", "aligned")} | {"entmin": entmin(c), "cox": cox(c)}
    means = {m: float(np.nanmean(v)) for m, v in acc.items()}
    joint = gain(cox(c, staging="joint") - acc["entmin"]).text
    each = ", ".join(f"{rule} {gain(cox(c, rule=rule) - acc['entmin']).text}" for rule in READINGS)
    steps = {
        "COX over EntMin": acc["cox"] - acc["entmin"], "EntMin over ERM": acc["entmin"] - acc["erm"],
        "ERM over random": acc["erm"] - acc["random"], "aligned over COX": acc["aligned"] - acc["cox"],
    }  # fmt: skip
    note = (
        f"D is matched by {reading(c)!r}, on validation; over EntMin by reading of Eq 13: {each}. With all terms at "
        f"once from the start: {joint}. EntMin has the better of two weights."
    )
    judged = reads(order(steps, note=note, numbers=means), room=100 * (means["aligned"] - means["entmin"]))
    found = controlled(
        judged, acc["cox"] - cox(c, control="scrambled"),
        "over h_k* of other rows of the same prediction",
    )  # fmt: skip
    return controlled(found, acc["cox"] - cox(c, control="own"), "over training on h_O's own confidence")


def over_erm(c: Conditions) -> Measured:
    """COX over the same learner on labels alone; controls: A and D by h_O's own confidence, h_k* of other rows."""
    whole, erm = cox(c), of(c, algorithm="erm")
    each = ", ".join(f"{rule} {gain(cox(c, rule=rule) - erm).text}" for rule in READINGS)
    found = gain(whole - erm, note=f"D is matched by {reading(c)!r}, on validation; by reading of Eq 13: {each}.")
    found = reads(found, room=100 * (1 - float(np.nanmean(erm))), ERM_over_random=erm - of(c, algorithm="random"))
    found = controlled(found, whole - cox(c, control="scrambled"), "over h_k* of other rows of the same prediction")
    return controlled(found, whole - cox(c, control="own"), "over training on h_O's own confidence")


def unsupervised(c: Conditions) -> Measured:
    """COX > SSL > random without labels; beside it what the best renaming of classes would give."""
    mine: dict[str, Any] = {"algorithm": "cox", "rule": reading(c)}
    arms: dict[str, dict[str, Any]] = {
        "random": {"algorithm": "random"}, "ssl": {"algorithm": "ssl"}, "cox": mine,
        "class by class": {**mine, "balance": True}, "oracle": {**mine, "balance": True, "control": "oracle"},
    }  # fmt: skip
    acc = {m: of(c, **UNSUPERVISED, **a) for m, a in arms.items()}
    named = {m: float(np.nanmean(of(c, "relabelled", **UNSUPERVISED, **a))) for m, a in arms.items()}
    classes = {m: float(np.nanmean(of(c, "predicted", **UNSUPERVISED, **a))) for m, a in arms.items()}
    right = float(np.nanmean(of(c, "warmup_right", **UNSUPERVISED, **arms["cox"])))
    note = (
        f"Best renaming of classes: random {named['random']:.2f}, SSL {named['ssl']:.2f}, COX {named['cox']:.2f}, with "
        f"T / C anchors of each class {named['class by class']:.2f} (accuracy {acc['class by class'].mean():.2f}). "
        f"Classes predicted: {classes['cox']:.1f}, {classes['class by class']:.1f} with T / C: SORT_T of Eq 14 is one "
        f"list for all classes. {right:.1%} of the warm-up's anchors have the true class; with all of them right and "
        f"T / C COX reaches {acc['oracle'].mean():.2f}."
    )
    steps = {"COX over SSL": acc["cox"] - acc["ssl"], "SSL over random": acc["ssl"] - acc["random"]}
    found = order(steps, note=note, numbers={m: float(np.nanmean(v)) for m, v in acc.items()})
    return reads(found, anchors_that_are_right_over_SSL=acc["oracle"] - acc["ssl"])


def recall(c: Conditions) -> Measured:
    """Class R@1 and R@5 of COX against the best of the others, with labels."""
    steps: dict[str, np.ndarray] = {}
    numbers: dict[str, float] = {}
    rivals: dict[str, str] = {}
    others = {m: {"algorithm": m} for m in ("random", "erm", "moco")}
    for k in ("class_recall1", "class_recall5", "recall1"):
        found = {m: of(c, k, **a) for m, a in others.items()} | {"entmin": entmin(c, k), "cox": cox(c, k)}
        best = best_named({m: v for m, v in found.items() if m != "cox"})
        if k != "recall1":
            rivals[f"class R@{k[-1]}"] = best
            steps[f"class R@{k[-1]}"] = found["cox"] - found[best]
        numbers |= {f"{m} {k}": float(np.nanmean(v)) for m, v in found.items()}
    note = (
        f"Over the best of the others by mean: {', '.join(f'{m} in {k}' for k, m in rivals.items())}. "
        "Any instance of the class, in the space of class posteriors, which every method has; Tab 3's random learner "
        f"is at k / classes, so it is classes that are retrieved there. The very same instance, R@1: COX "
        f"{numbers['cox recall1']:.3f}, ERM {numbers['erm recall1']:.3f}."
    )
    read = of(c, "class_recall1", algorithm="erm") - of(c, "class_recall1", algorithm="random")
    return reads(order(steps, note=note, numbers=numbers), class_R1_of_ERM_over_random=read)


def connection(c: Conditions) -> Measured:
    """While connections are fitted MMD falls and the accuracy of h_k* rises: the first of six looks and the last."""
    mmd, accuracy = (curve(c, name) for name in ("mmd", "in_modal_accuracy"))
    falls = curve(c, "mmd", control="pairs")
    wrong = accuracy[:, -1] - curve(c, "in_modal_accuracy", control="pairs")[:, -1]
    note = (
        f"With wrong pairs MMD² falls too, {falls[:, 0].mean():.2f} to {falls[:, -1].mean():.2f}: it compares "
        "marginals only."
    )
    steps = {"MMD² (x100) falls by": mmd[:, 0] - mmd[:, -1], "h* accuracy rises by": accuracy[:, -1] - accuracy[:, 0]}
    numbers = {"mmd": mmd.mean(0), "in_modal_accuracy": accuracy.mean(0)}
    return controlled(order(steps, note=note, numbers=numbers), wrong, "over wrong pairs, in h* accuracy")


def before(c: Conditions) -> Measured:
    """Accuracy on A minus accuracy on D where the paper looks: after labels and connection, before exploration."""
    names = ("agree_before", "disagree_before", "disagreement_before")
    a, d, share = (cox(c, name) for name in names)
    gaps = {}
    for steps in LOOKED_AT:  # a run that ends where exploration would begin
        seen = [cox(c, name, steps=steps + 5, explore_from=steps / (steps + 5), rounds=1) for name in names[:2]]
        gaps[steps] = 100 * float(np.nanmean(seen[0] - seen[1]))
    said = ", ".join(f"{gap:+.0f} after {steps}" for steps, gap in gaps.items())
    note = f"A {a.mean():.2f}, D {d.mean():.2f}; D holds {share.mean():.0%} of rows. Gap by steps on labels: {said}."
    found = gain(a - d, note=note, numbers={"agree": a.mean(), "disagree": d.mean(), "gap by steps": gaps})
    return reads(found, COX_over_random=cox(c) - of(c, algorithm="random"))


def after(c: Conditions) -> Measured:
    """Whether more than half of the gap between A and D closes, on the same two sets; control: no exploration."""
    names = ("agree_before", "disagree_before", "agree_after", "disagree_after")
    s, plain = ({name: cox(c, name, **a) for name in names} for a in ({}, {"exploration": False}))
    first = s["agree_before"] - s["disagree_before"]
    last, without = (x["agree_after"] - x["disagree_after"] for x in (s, plain))
    note = (
        f"Gap before {100 * first.mean():.1f}, after {100 * last.mean():.1f}, after as many steps on anchors without "
        f"exploration {100 * without.mean():.1f} points."
    )
    found = gain(first / 2 - last, control=without - last, control_name="no exploration", note=note)
    return reads(found, gap_before_exploration=first)


def ablation(c: Conditions) -> Measured:
    """Without connection, exploration, warm-up: each worse than the whole; connection alone over ERM beside it."""
    whole, alone, erm = cox(c), cox(c, exploration=False), of(c, algorithm="erm")
    unlabelled = cox(c, **UNSUPERVISED)
    note = (
        f"Connection alone (anchors of A, no exploration) over ERM: {gain(alone - erm).text}; over wrong pairs: "
        f"{gain(alone - cox(c, exploration=False, control='pairs')).text}."
    )
    steps = {
        "with connection": whole - cox(c, connection=False), "with exploration": whole - alone,
        "with warm-up (unsupervised)": unlabelled - cox(c, **UNSUPERVISED, warmup=False),
    }  # fmt: skip
    room = 100 * (1 - max(float(np.nanmean(x)) for x in (whole, unlabelled)))
    return reads(order(steps, note=note), room=room, ERM_over_random=erm - of(c, algorithm="random"))


def perceptors(c: Conditions) -> Measured:
    """COX on trained against untrained perceptors; contrastively bound ones beside."""
    found = {name: cox(c, perceptor=name) for name in ("supervised", "bound", "random")}
    over = gain(found["bound"] - found["random"]).text
    note = f"Better means trained against untrained encoders of the same shape. Bound over untrained: {over}."
    numbers = {m: float(np.nanmean(v)) for m, v in found.items()}
    judged = gain(found["supervised"] - found["random"], note=note, numbers=numbers)
    return reads(judged, room=100 * (1 - numbers["random"]))


# One seed is about 50 s for all ten rows, which share most of their arms.
SECONDS: dict[str, Any] = {"cost": "seconds", "first": LATER}
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "cox.T1", "modality disagreement is bounded by I(X_O,Y) - I(X_O,X_1,X_2,Y) + I(X_O,Y|X_1,X_2)", "Thm 1", "",
        theorem, trained=False,
    ),
    Claim(
        "cox.S", "semi-supervised: COX > EntMin > ERM > random, below the aligned upper limit", "Tab 2",
        "NYU-D, RGB out: 52.3 > 48.0 > 45.2 > 10.2, aligned 61.8", semi, **SECONDS,
        effect={"COX over EntMin": 4.3, "EntMin over ERM": 2.8, "ERM over random": 35.0, "aligned over COX": 9.5},
    ),
    Claim(
        "cox.SE", "semi-supervised: COX > ERM, the same learner on labels alone", "Tab 2",
        "NYU-D, RGB out: 52.3 > 45.2", over_erm, **SECONDS, effect=7.1,
    ),
    Claim(
        "cox.U", "unsupervised: COX > SSL (Gaussian perturbation) > random", "Tab 2",
        "NYU-D, RGB out: 21.7 > 14.6 > 10.2", unsupervised, **SECONDS,
        effect={"COX over SSL": 7.1, "SSL over random": 4.4},
    ),
    Claim(
        "cox.UB", "unsupervised, on classes of uneven size: COX > SSL, by accuracy and by its mean over classes",
        "Tab 2; its sets are uneven, which it does not weigh", "NYU-D, RGB out: 21.7 > 14.6", uneven, **SECONDS,
        effect={"accuracy": 7.1}, sesoi={"balanced accuracy": 7.1},
    ),
    Claim(
        "cox.R", "retrieval: COX has the best R@1 and R@5 among random, ERM/SSL, EntMin, MoCo", "Tab 3",
        "MSR-VTT, video out, R@1: 5.4, 18.5, 21.0, 23.4, COX 26.5", recall, **SECONDS,
        effect={"class R@1": 3.1, "class R@5": 5.3},
    ),
    Claim(
        "cox.M", "in connection training the MMD of mapping and OOM features falls while h*'s accuracy rises", "Fig 5",
        "", connection, **SECONDS, sesoi=5.0,
    ),
    Claim(
        "cox.D1", "before exploration, accuracy on D is far below accuracy on A", "Fig 6a", "", before, **SECONDS,
        sesoi=10.0,
    ),
    Claim(
        "cox.D2", "exploration closes most of the gap between A and D", "Fig 6b", "", after, **SECONDS, sesoi=5.0,
    ),
    Claim(
        "cox.A", "without connection, without exploration, without warm-up: each is worse", "Tab 4",
        "Aud R@1: 8.7 and 16.4 < 25.2; 7.4 < 14.8", ablation, **SECONDS,
        effect={"with connection": 16.5, "with exploration": 8.8, "with warm-up (unsupervised)": 7.4},
    ),
    Claim(
        "cox.P", "better in-modal perceptors give better out-of-modal accuracy", "Tab 2, 3",
        "NYU-D, RGB out: ImageBind 52.3, LanguageBind 58.8", perceptors, **SECONDS, effect=6.5,
    ),
)  # fmt: skip
