"""What the rows of cox compare: runs in one world, one number per seed.

The ledger's world is "halves": two halves of a handwritten digit and its sound, with four labelled pairs a class. A
seed draws data and perceptors too, so an interval is one over data as well.

Which anchors a point of D is matched to the paper leaves open: Eq 13 and 15 sum over all pairs ("all", as printed) and
have h_1* and h_2* as arguments, and Sec 3.3 has "IM data posteriors" select *and explore* ("predicted": anchors of the
classes that the h_k* predict); a posterior may as well be drawn to anchors of the class that it names itself ("self").
So the reading is chosen as any setting is, on validation data, and cox.S says what each gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ....claims.claim import Conditions
from ....utils.factors import best_named
from ..member import EXPERIMENT, CoxWorld

if TYPE_CHECKING:
    import xarray as xr

    from ....sweeps.experiment import Experiment

# (ours) Short enough for seconds a seed; few labels, since with many the learner needs no other modality.
HALVES: Mapping[str, Any] = {
    "dataset": "halves", "perceptor_steps": 100, "label_share": 0.04, "steps": 500,
    "explore_from": 0.3, "rounds": 3, "connect_steps": 100,
}  # fmt: skip
OUTS = ("lower", "upper")
QUICK = 1
UNSUPERVISED: Mapping[str, Any] = {"scenario": "unsupervised"}
READINGS = ("all", "predicted", "self")
# EntMin gets the better of two weights, by mean over the same seeds: an upper limit for it.
ENTROPIES = (0.1, 0.3)


def experiment(c: Conditions) -> Experiment:
    """In the ledger's world, or on the conditions' dataset."""
    if c.dataset is None:
        return c.once("cox halves", lambda: EXPERIMENT.with_defaults(**HALVES))
    given, how = c.dataset, {k: v for k, v in HALVES.items() if k not in ("dataset", "label_share")}
    return c.once("cox on a dataset", lambda: CoxWorld(given).experiment(**how))


def outs(c: Conditions) -> list[str]:
    """Which modalities are out, in turn."""
    names = OUTS if c.dataset is None else c.dataset.modalities
    return list(names[:QUICK] if c.quick and c.dataset is None else names)


def swept(c: Conditions, **axes: Any) -> xr.Dataset:
    """A sweep over the modalities that are out."""
    return c.sweep(experiment(c), out=outs(c), **axes)


def of(c: Conditions, name: str = "accuracy", **setting: Any) -> np.ndarray:
    """One number per seed, mean over the modalities that are out."""
    found = swept(c, **setting)[name].mean("out")
    return np.asarray(found.transpose("seed", ...).values).squeeze()


def entmin(c: Conditions, name: str = "accuracy", **setting: Any) -> np.ndarray:
    """EntMin at the better of its weights."""

    def at(weight: float, what: str) -> np.ndarray:
        return of(c, what, **setting, algorithm="entmin", entropy_weight=weight)

    return at(best_named({w: at(w, "accuracy") for w in ENTROPIES}), name)


def cox(c: Conditions, name: str = "accuracy", **setting: Any) -> np.ndarray:
    """COX, staged where it has labels, by the chosen reading of what D is matched to."""
    return of(c, name, algorithm="cox", **{"rule": reading(c), **setting})


def reading(c: Conditions) -> str:
    """The rule of :data:`READINGS` with the best mean accuracy on the validation split; without one, the default."""
    if c.dataset is not None and c.dataset.val is None:
        return str(experiment(c).defaults["rule"])
    return best_named({rule: of(c, algorithm="cox", rule=rule, split="val") for rule in READINGS})


def curve(c: Conditions, name: str, **setting: Any) -> np.ndarray:
    """(seed, checkpoint) of COX, mean over modalities out and in."""
    found = swept(c, algorithm="cox", **setting)[name].mean(["out", "source"])
    table = np.asarray(found.transpose("seed", "checkpoint", ...).values)
    return table.reshape(len(table), -1)
