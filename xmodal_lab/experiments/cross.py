"""Questions across papers, asked of the bench: rows of the ledger that no paper prints (paper "cross"; ours).

One net, one world, one budget; the papers' terms are weights (see :mod:`xmodal_lab.experiments.bench`). Weights are
chosen on validation data, among those named here, and every arm has the same seeds, which move the world as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..claims.claim import Claim, Conditions
from ..claims.verdicts import Measured, controlled, gain, missing, order, reads
from ..sweeps.experiment import Experiment
from ..training.recipe import Recipe
from ..training.terms import Alignment, Latent, Shared, Task
from ..utils.factors import best_named
from .bench import bench

if TYPE_CHECKING:
    import xarray as xr

EPOCHS = 60
# The arms, beside the plain task: one paper's term each (weights: the papers', or chosen among ALIGNMENTS).
DML: dict[str, Any] = {"share": 1.0}
SYNERGY: dict[str, Any] = {"a_latent": 0.3}
UML: dict[str, Any] = {"lam": 1.0}
ALIGNMENTS = (0.03, 0.1, 0.3)
# A loss of accuracy at which an alignment still counts as leaving the task whole, on validation data (ours).
WHOLE = 0.01
# Slopes in log shots need the ends; the whole grid of the bench would cost twice as much and the ends carry most of it.
ISOLINES = {"image": (1, 4, 16), "text": (0, 12)}
LOOKS = {"eigenvalues": 1, "lpf": 0.1, "gap": True, "missing": 0.5, "noise": 1.0}
KINDS = ("imperfect", "constant")


def world(kind: str = "imperfect", isolines: bool = False, dataset: Any = None) -> Experiment:
    """The bench of these questions; ``kind`` of latent target, with the grid of shots or without."""
    last = "text" if dataset is None else dataset.modalities[-1]
    terms = (Task(), Latent(last, kind=kind, weight=0.0), Alignment(weight=0.0, target=0.0), Shared(last, weight=0.0))
    recipe = Recipe(terms, "same_class", name="cross").with_settings(share=0.0)
    shots: Mapping[str, Any] = ISOLINES if isolines else {}
    looks = {"gap": True} if isolines else LOOKS
    return bench(dataset, recipe, looks, isolines=shots, name=f"cross {kind}{' shots' if shots else ''}", epochs=EPOCHS)


def arm(c: Conditions, kind: str = "imperfect", **settings: Any) -> xr.Dataset:
    """One arm over the seeds, or several along an axis: those of one seed train together, in a third of the time."""
    return c.sweep(world(kind, dataset=c.dataset), **settings)


def alignments(c: Conditions) -> xr.Dataset:
    """The plain task and each weight of alignment, over ``a_align``."""
    return arm(c, a_align=[0.0, *ALIGNMENTS])


def plain(c: Conditions) -> xr.Dataset:
    """The task alone."""
    return alignments(c).sel(a_align=0.0)


def alignment(c: Conditions) -> tuple[float, xr.Dataset]:
    """The largest weight of alignment that leaves the task whole on validation data, and its arm."""
    cube, base, chosen = alignments(c), plain(c), ALIGNMENTS[0]
    for weight in ALIGNMENTS:
        if float((cube.sel(a_align=weight)["val_accuracy"] - base["val_accuracy"]).mean()) >= -WHOLE:
            chosen = weight
    return chosen, cube.sel(a_align=chosen)


def crossed(weight: float) -> dict[str, Any]:
    """Axes of all combinations of dml, synergy and wma, at this weight of alignment; (0, 0, 0) is the plain task."""
    return {"share": [0.0, DML["share"]], "a_latent": [0.0, SYNERGY["a_latent"]], "a_align": [0.0, weight]}


def arms(c: Conditions) -> dict[str, xr.Dataset]:
    """The arms that are compared by rank: the task, each term alone, and pairs of them."""
    weight, aligned = alignment(c)
    cube, shared = arm(c, **crossed(weight)), taught(c)
    wma: dict[str, Any] = {"a_align": weight}

    def of(**on: Any) -> xr.Dataset:
        return cube.sel({name: on.get(name, 0.0) for name in ("share", "a_latent", "a_align")})

    return {
        "task": plain(c), "dml": of(**DML), "synergy": of(**SYNERGY), "wma": aligned, "uml": shared.sel(share=0.0),
        "dml + synergy": of(**DML, **SYNERGY), "dml + wma": of(**DML, **wma), "synergy + wma": of(**SYNERGY, **wma),
        "dml + uml": shared.sel(share=1.0),
    }  # fmt: skip


def taught(c: Conditions) -> xr.Dataset:
    """The term of uml, without and with dml, over ``share``."""
    return arm(c, **UML, share=[0.0, 1.0])


def readable(m: Measured, c: Conditions) -> Measured:
    """Whether the distance of latents can be seen to move: alignment at its largest weight, which pulls at it, does.

    The headroom is what lies above the distance of two halves of one cloud, a finite sample's bias.
    """
    cube = alignments(c)
    base, pulled = plain(c), cube.sel(a_align=ALIGNMENTS[-1])
    room = 100 * (1 - float((base["w2_bias"] / base["w2"]).mean()))
    return reads(m, unit="%", room=room, alignment_narrows_the_gap=_fall(base, pulled, "w2"))


def flattens(c: Conditions) -> Measured:
    """Measure cross.AF: does alignment lower λ_max and L_LPF, at a weight that leaves the task whole."""
    if lacking := _lacking(c):
        return missing(lacking)
    base, (weight, aligned) = plain(c), alignment(c)
    steps = {
        "λ_max falls": _fall(base, aligned, "eigenvalue"),
        "L_LPF falls": _fall(base, aligned, "lpf"),
    }
    loss = gain(_fall(base, aligned, "loss"), unit="%")
    note = f"α = {weight:g}; the clean test loss falls by {loss.text}."
    return order(steps, unit="%", note=note, numbers={"alpha": weight})


def narrows(c: Conditions) -> Measured:
    """Measure cross.PG: does pairing anew within the class bring the modalities' latents nearer."""
    if lacking := _lacking(c):
        return missing(lacking)
    base, dml = plain(c), arms(c)["dml"] if _has_text(c) else arm(c, **DML)
    return readable(gain(_fall(base, dml, "w2"), unit="%", numbers=_gaps(base=base, dml=dml)), c)


def latent_narrows(c: Conditions) -> Measured:
    """Measure cross.LG: does a latent target bring them nearer, and more than a constant one."""
    if lacking := _lacking(c, text=True):
        return missing(lacking)
    base, latent, constant = plain(c), arms(c)["synergy"], arm(c, "constant", **SYNERGY)
    found = gain(_fall(base, latent, "w2"), unit="%", numbers=_gaps(base=base, latent=latent, constant=constant))
    found = readable(found, c)
    return controlled(found, _fall(constant, latent, "w2"), "over a constant target", unit="%")


def shared_narrows(c: Conditions) -> Measured:
    """Measure cross.SG: do unpaired rows through the shared part bring them nearer."""
    if lacking := _lacking(c, text=True):
        return missing(lacking)
    base, uml = plain(c), taught(c).sel(share=0.0)
    return readable(gain(_fall(base, uml, "w2"), unit="%", numbers=_gaps(base=base, uml=uml)), c)


def gap_and_rate(c: Conditions) -> Measured:
    """Measure cross.GX: over recipes, does a smaller gap go with texts that are worth more images."""
    if lacking := _lacking(c, text=True):
        return missing(lacking)
    if c.dataset is not None:
        return missing("the shipped world, whose grid of shots it uses")
    weight, _ = alignment(c)
    cube = c.sweep(world(isolines=True), **UML, **crossed(weight)).stack(recipe=("share", "a_latent", "a_align"))
    gaps = cube["w2"].transpose("recipe", "seed").to_numpy()
    images, texts = (np.log1p(cube[d].to_numpy().astype(float)) for d in ("images", "texts"))
    found = cube["accuracy_at_shots"].transpose("recipe", "seed", "images", "texts").to_numpy()
    slopes = [_slopes(one, images, texts) for one in found]
    over_images, over_texts = (np.stack([one[k] for one in slopes]) for k in range(2))
    worth = np.where(over_images > 0, over_texts / np.where(over_images > 0, over_images, 1), np.nan)
    each = [-_spearman(gaps[:, s], worth[:, s]) for s in range(gaps.shape[1])]
    note = (
        "Worth of a text: its slope over an image's, in log shots, seed by seed; rank correlation over the eight "
        "combinations of dml, synergy and wma."
    )
    numbers = {"gap": gaps.mean(1).tolist(), "worth": np.nanmedian(worth, 1).tolist()}
    # Without texts that help there is no worth, and without a gap that moves nothing goes with it.
    m = reads(gain(each, unit="ρ", scale=1.0, note=note, numbers=numbers), texts_help=over_texts.mean(0))
    w2 = cube["w2"].unstack("recipe").mean(["share", "a_latent"])
    moved = (w2.sel(a_align=0.0) - w2.sel(a_align=weight)).to_numpy() / gaps.mean()
    return reads(m, unit="%", alignment_narrows_the_gap=moved)


def flat_and_robust(c: Conditions) -> Measured:
    """Measure cross.FR: do flatter nets lose less under noise and missing modalities, at equal clean loss."""
    if lacking := _lacking(c, text=True):
        return missing(lacking)
    found = arms(c)
    curved = np.stack([a["eigenvalue"].isel(k=0).to_numpy() for a in found.values()])
    loss = np.stack([a["loss"].to_numpy() for a in found.values()])
    lost = np.stack([_lost(a) for a in found.values()])
    each = [_partial(curved[:, s], lost[:, s], loss[:, s]) for s in range(curved.shape[1])]
    bare = gain([_spearman(curved[:, s], lost[:, s]) for s in range(curved.shape[1])], unit="ρ", scale=1.0)
    note = f"Partial rank correlation of λ_max and the share of accuracy lost, clean loss held; without: {bare.text}."
    m = gain(each, unit="ρ", scale=1.0, note=note, numbers={"arms": list(found)})
    return reads(m, accuracy_lost_under_noise_and_missing=lost.mean(0))


def adds_up(c: Conditions) -> Measured:
    """Measure cross.C: are all terms together better than the best one, which is chosen on validation data."""
    if lacking := _lacking(c, text=True):
        return missing(lacking)
    weight, _ = alignment(c)
    single = {name: arms(c)[name] for name in ("dml", "synergy", "wma", "uml")}
    best = best_named({name: one["val_accuracy"].to_numpy() for name, one in single.items()})
    both = arm(c, **DML, **SYNERGY, **UML, a_align=weight)
    means = {name: float(a["accuracy"].mean()) for name, a in {"task": plain(c), **single, "all": both}.items()}
    difference = both["accuracy"].to_numpy() - single[best]["accuracy"].to_numpy()
    m = gain(difference, note=f"Best alone, on validation data: {best}.", numbers=means)
    return reads(m, room=100 * (1 - means[best]))


def _claim(
    name: str,
    text: str,
    measure: Callable[[Conditions], Measured],
    sesoi: float,
    unit: str = "%",
    first: int = 0,
) -> Claim:
    # A net with all its looks costs about a second: twenty seeds for each row of this paper, also for GX, whose eight
    # recipes train together on its grid of shots.
    return Claim(f"cross.{name}", text, "ours", "", measure, sesoi=sesoi, unit=unit, cost="seconds", first=first)


# The smallest effects of interest (ours): a tenth of the mean, a rank correlation of .3, one point of accuracy.
CLAIMS: tuple[Claim, ...] = (
    _claim("AF", "alignment (wma) flattens: λ_max and L_LPF fall while the task stays whole", flattens, 10.0),
    _claim("PG", "random pairing within the class (dml) narrows the modality gap", narrows, 10.0),
    _claim("LG", "a latent target (synergy) narrows the gap more than a constant target", latent_narrows, 10.0),
    _claim("SG", "a shared head (uml) narrows the gap", shared_narrows, 10.0),
    _claim("GX", "over recipes, a smaller gap goes with texts that are worth more images", gap_and_rate, 0.3,
           "ρ", first=100),  # after a look at five
    _claim(
        "FR", "over recipes, flatter nets lose less under noise and missing modalities, at equal clean loss",
        flat_and_robust, 0.3, "ρ",
    ),
    _claim("C", "the gains add up: all terms together beat the best one", adds_up, 1.0, "points"),
)  # fmt: skip


def _has_text(c: Conditions) -> bool:
    return not _lacking(c, text=True)


def _lacking(c: Conditions, text: bool = False) -> str:
    if c.dataset is None:
        return ""
    if len(c.dataset.modalities) < (3 if text else 2):
        return f"a dataset with {'three' if text else 'two'} modalities"
    return "" if c.dataset.val is not None else "a validation split, on which weights are chosen"


def _fall(before: xr.Dataset, after: xr.Dataset, name: str) -> np.ndarray:
    """By how much of its mean a look falls, seed by seed; the first eigenvalue of several."""
    one, two = ((x[name].isel(k=0) if "k" in x[name].dims else x[name]).to_numpy() for x in (before, after))
    found: np.ndarray = (one - two) / np.abs(one.mean())
    return found


def _lost(cube: xr.Dataset) -> np.ndarray:
    """The share of the clean accuracy that noise and missing rows cost, a mean over both and over modalities."""
    under = 0.5 * (cube["missing"].mean("modality") + cube["noisy"].mean("modality"))
    return (1 - under / cube["accuracy"]).to_numpy()


def _gaps(**cubes: xr.Dataset) -> dict[str, float]:
    return {name: round(float(cube["w2"].mean()), 4) for name, cube in cubes.items()}


def _slopes(accuracy: np.ndarray, images: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(seeds,) slopes over images and over texts, of a plane in log shots."""
    grid = np.stack([np.ones(images.size * texts.size), np.repeat(images, texts.size), np.tile(texts, images.size)], 1)
    _, over_images, over_texts = np.linalg.lstsq(grid, accuracy.reshape(len(accuracy), -1).T, rcond=None)[0]
    return over_images, over_texts


def _ranks(x: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    found: np.ndarray = rankdata(x)
    return found


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    kept = np.isfinite(x) & np.isfinite(y)
    if kept.sum() < 4 or np.ptp(x[kept]) == 0 or np.ptp(y[kept]) == 0:
        return float("nan")
    return float(np.corrcoef(_ranks(x[kept]), _ranks(y[kept]))[0, 1])


def _partial(x: np.ndarray, y: np.ndarray, held: np.ndarray) -> float:
    """Rank correlation of x and y with that of both with ``held`` taken out."""
    a, b, c = _spearman(x, y), _spearman(x, held), _spearman(y, held)
    rest = (1 - b * b) * (1 - c * c)
    return (a - b * c) / rest**0.5 if rest > 1e-9 else float("nan")
