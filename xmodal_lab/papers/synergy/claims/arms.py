"""Arms of synergy's training claims: with one α for all that was fixed beforehand, the paper's, compared seed by seed.

method     the target, at α = .3 (Sec 4.1)
control    the constant target, at the same α
alone      α = 0, all else as the method

Chosen on validation data α was a draw of lots (200 rows): in half of the rows it fell on .1, where the method is nearly
off, and the row judged nothing. So it is no longer chosen, and since outcomes at .3 had been seen for the seeds from 0
on, the rows are measured on others. What choosing α would give stands beside it where the row of α sweeps it anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....claims.claim import Conditions
from ....sweeps import choose
from ....sweeps.experiment import Experiment
from ..member import experiment
from ..method.targets import DIRECTIONS
from ..worlds import LETTERS, modality

if TYPE_CHECKING:
    import xarray as xr

# α of Tab 3 and 0.9; as many weight decays of alone as a control, 5e-4 being the paper's (App B.2), the rest ours.
ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
PAPERS_ALPHA = 0.3  # Sec 4.1
DECAYS = (0.0, 5e-4, 0.01, 0.1, 1.0)
LOSS = "mse_mean"
CURVED = ("L→A", "A→L", "V→A", "A→V")  # the directions of Tab 3, which are swept over α
# Worlds with room: AVMNIST's pictures keep a quarter of their energy (App B.1). Whole digits stand at 97 % alone; with
# a quarter of the energy and 20 rows a class a picture leaves a third to be gained (ours).
_WORLDS: dict[str, dict[str, Any]] = {
    "V→A": {"image_energy": 0.25}, "A→V": {"image_energy": 0.25}, "L→V": {"image_energy": 0.25, "rows_per_class": 20},
}  # fmt: skip
EPOCHS, MOST_STEPS = 30, 4000  # on a dataset of the user's: the paper's epochs (App B.2), as far as they fit (ours)


def experiment_of(conditions: Conditions) -> Experiment:
    """The experiment on the conditions' dataset, or on the digits world; longer for the full budget."""
    steps = 400 if conditions.quick else 1000
    if conditions.dataset is not None:
        steps = EPOCHS * max(1, round(0.6 * len(conditions.dataset.train) / 32))  # M_j keeps 40 % of the rows
        steps = min(steps, MOST_STEPS) if conditions.quick else steps
    key = f"synergy experiment {conditions.budget}"
    return conditions.once(key, lambda: experiment(conditions.dataset, steps=steps))


def directions(conditions: Conditions, among: Sequence[str] = DIRECTIONS) -> list[str]:
    """The directions that the dataset has modalities for; a language model needs none."""
    if conditions.dataset is None:
        return list(among)
    there = {letter for letter in LETTERS if modality(conditions.dataset, letter)} | {"L→"}
    return [d for d in among if d[2] in there and (d[0] == "L" or d[0] in there)]


def has_text(conditions: Conditions) -> bool:
    """Whether there are sentences that describe the samples."""
    from ..method.prompts import descriptions

    d = conditions.dataset
    return d is None or descriptions(d, d.train, modality(d, "L")) is not None


def arms(conditions: Conditions, direction: str, target: Sequence[str] = (), **fixed: Any) -> xr.Dataset:
    """Accuracy of the targets over α (dims seed, target, alpha, test); the paper's own and the constant by default."""
    targets = list(target) or ["imperfect", "constant"]
    alphas = fixed.pop("alpha", list(ALPHAS) if direction in CURVED else [PAPERS_ALPHA])
    return conditions.sweep(
        experiment_of(conditions), direction=direction, target=targets, alpha=alphas,
        **_world(conditions, direction), **{"loss": LOSS, **fixed},
    )  # fmt: skip


def alone(conditions: Conditions, direction: str, decays: Sequence[float] = DECAYS[:1]) -> xr.Dataset:
    """Accuracy of M_i alone over weight decay (dims seed, weight_decay, test)."""
    return conditions.sweep(
        experiment_of(conditions), direction=direction, alpha=0.0, weight_decay=list(decays),
        **_world(conditions, direction),
    )  # fmt: skip


def bare(conditions: Conditions, direction: str) -> np.ndarray:
    """Test accuracy (seeds, tests) of M_i alone, all else as the method."""
    plain = alone(conditions, direction)["accuracy"].isel(weight_decay=0)
    found: np.ndarray = plain.transpose("seed", "test").values
    return found


def chosen(cube: xr.Dataset, over: str) -> tuple[np.ndarray, float]:
    """Test accuracy (seeds, tests) at the value of ``over`` with the best mean validation accuracy, and that value.

    Of equal values of α the largest, of equal weight decays the smallest.
    """
    ordered = cube.sortby(over, ascending=over != "alpha")
    best = choose(ordered, over, across="seed")
    return best["accuracy"].transpose("seed", "test").values, float(best[over])


def at(cube: xr.Dataset, target: str, alpha: float = PAPERS_ALPHA) -> np.ndarray:
    """Test accuracy (seeds, tests) of a target at one α."""
    found: np.ndarray = cube["accuracy"].sel(target=target, alpha=alpha).transpose("seed", "test").values
    return found


def _world(conditions: Conditions, direction: str) -> dict[str, Any]:
    return {} if conditions.dataset is not None else _WORLDS.get(direction, {})
