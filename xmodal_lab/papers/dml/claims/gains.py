"""Claims of accuracy: DML over SML over one modality, augmentation, flatness methods, three modalities, retrieval."""

from __future__ import annotations

import numpy as np

from ....claims.claim import Conditions
from ....claims.verdicts import Measured, controlled, gain, missing, order
from ..method.retrieval import retrieve
from .arms import arms, bench, best_single, data, sees_all, trained, values

COVERAGE = "DML over SML that sees every sample"
AUGMENT = "jitter+crop+flip"  # Tab 2
FLAT = {"LS": {"label_smoothing": 0.1}, "SWA": {"swa": 0.25}, "SAM": {"sam": 0.05}}  # Tab 9, at their sources' settings
RHOS = (0.02, 0.05, 0.1, 0.2)  # of SAM under the full budget, chosen on validation data (ours)


def accuracy(c: Conditions) -> Measured:
    """dml.A, with the control that decides it: SML that sees every sample."""
    where, found = bench(c), trained(c)
    sml, dml = values(found["SML"], "accuracy"), values(found["DML"], "accuracy")
    everything = values(sees_all(c), "accuracy")
    means = {name: float(values(part, "accuracy").mean()) for name, part in found.items()}
    means["SML, every sample"] = float(everything.mean())
    steps = {"SML over the best modality": sml - best_single(found, where.names), "DML over SML": dml - sml}
    m = order(steps, note=where.note, numbers=means)
    return controlled(m, gain(dml - everything), COVERAGE)


def augmentation(c: Conditions) -> Measured:
    """dml.DA."""
    where = bench(c)
    kinds, shapes = data(c).kinds, data(c).shapes
    if not any(kinds[m] == "image" and len(shapes[m]) == 3 for m in where.names):
        return missing("a dataset with images", note="Augmentation is for images of shape (C, H, W).")
    more = c.sweep(where.experiment, modalities=where.both, alpha=[0.0, 1.0], epochs=where.epochs, augment=AUGMENT)
    fewer = c.sweep(
        where.experiment, modalities=where.both, alpha=[0.0, 1.0], epochs=where.epochs, augment="jitter+crop"
    )
    sml_more, dml_more = (values(more, "accuracy", alpha=a) for a in (0.0, 1.0))
    dml = values(trained(c)["DML"], "accuracy")
    steps = {"augmentation on top of DML": dml_more - dml, "DML on top of augmentation": dml_more - sml_more}
    calm = gain(values(fewer, "accuracy", alpha=1.0) - dml)
    m = order(steps, note=f"Without flips, which make other digits: {calm.text} on top of DML ({calm.verdict}).")
    everything = values(sees_all(c, augment=AUGMENT), "accuracy")
    return controlled(m, gain(dml_more - everything), f"{COVERAGE}, augmented")


def flat_methods(c: Conditions) -> Measured:
    """dml.S: DML against SML with label smoothing, SWA and SAM."""
    where = bench(c)

    def run(**options: float) -> np.ndarray:
        cube = c.sweep(where.experiment, modalities=where.both, alpha=0.0, epochs=where.epochs, **options)
        return np.stack([cube[name].to_numpy() for name in ("accuracy", "val_accuracy")])

    dml, sml = (values(trained(c)[name], "accuracy") for name in ("DML", "SML"))
    others = {name: run(**options)[0] for name, options in FLAT.items() if name != "SAM" or c.quick}
    chosen = FLAT["SAM"]["sam"]
    if not c.quick:
        tried = {rho: run(sam=rho) for rho in RHOS}
        chosen = max(tried, key=lambda rho: float(np.nanmean(tried[rho][1])))
        others["SAM"] = tried[chosen][0]
    each = "; ".join(f"SML + {name} over SML {gain(a - sml).text}" for name, a in others.items())
    m = order({f"over SML + {name}": dml - a for name, a in others.items()}, note=f"SAM at ρ = {chosen:g}. {each}.")
    best = np.max(list(others.values()), axis=0)
    everything = values(sees_all(c), "accuracy")
    m = controlled(m, gain(dml - everything), COVERAGE)
    return controlled(m, gain(dml - best), "DML over the best of them, seed by seed")


def three_modalities(c: Conditions) -> Measured:
    """dml.3: accuracy, with λ_max and the test loss beside it as in Tab 10."""
    if c.dataset is not None and len(c.dataset.modalities) < 3:
        return missing("a dataset with three modalities")
    where = bench(c, 3)
    found = arms(c, where, eigenvalues=1)
    sml, dml = values(found["SML"], "accuracy"), values(found["DML"], "accuracy")
    top = {name: float(values(part, "eigenvalue").mean()) for name, part in found.items()}
    note = f"λ_max on test: {', '.join(f'{name} {v:.3g}' for name, v in top.items())}."
    steps = {"SML over the best modality": sml - best_single(found, where.names), "DML over SML": dml - sml}
    means = {name: float(values(part, "accuracy").mean()) for name, part in found.items()}
    m = order(steps, note=f"{where.note} {note}".strip(), numbers=means)
    return controlled(m, gain(dml - values(sees_all(c, where), "accuracy")), COVERAGE)


def retrieval(c: Conditions) -> Measured:
    """dml.R on captions and pictures, or on the user's first two modalities."""
    from ....data import datasets

    seeds, steps = list(c.seeds), 600 if c.quick else 2000
    world = datasets.load("shapes", modalities=("image", "text")) if c.dataset is None else data(c)
    table = c.once("dml retrieval", lambda: retrieve(world, seeds, steps=steps))
    first = table[table.k == 1].pivot_table(index="seed", columns=["task", "arm"], values="recall")
    tasks = list(dict.fromkeys(table.task))
    claimed = {f"R@1 {task}, DML over SML": (first[task]["DML"] - first[task]["SML"]).to_numpy() for task in tasks}
    mean = table.groupby(["task", "k", "arm"]).recall.mean()
    said = "; ".join(
        f"{task} R@{k} SML {mean[task, k, 'SML']:.2f}, DML {mean[task, k, 'DML']:.2f}"
        for task in tasks for k in sorted(set(table.k))
    )  # fmt: skip
    m = order(claimed, note=f"Encoders from scratch on small data, not CLIP on Flickr-30k. {said}.")
    control = np.mean([first[t]["DML"] - first[t]["DML, random clusters"] for t in tasks], axis=0)
    return controlled(m, gain(control), "Clusters over random clusters of the same sizes")
