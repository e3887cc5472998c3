"""Arms of synergy's training claims: chosen on validation data with one budget for all, compared seed by seed.

method     the target, α among ``ALPHAS``
control    constant, zero or noise target, α among the same
alone      α = 0, weight decay among as many values
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....claims.claim import Conditions
from ....sweeps import choose
from ....sweeps.experiment import Experiment
from ..member import experiment
from ..method.targets import CONTROLS, DIRECTIONS
from ..worlds import LETTERS, modality

if TYPE_CHECKING:
    import xarray as xr

# α of Tab 3 and 0.9; as many weight decays for the baseline, 5e-4 being the paper's (App B.2), the rest ours.
ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)
DECAYS = (0.0, 5e-4, 0.01, 0.1, 1.0)
LOSS = "mse_mean"
# AVMNIST's pictures keep a quarter of their energy (App B.1); for language they are whole, as ImageNet's.
_ENERGY = {"V→A": 0.25, "A→V": 0.25}


def experiment_of(conditions: Conditions) -> Experiment:
    """The experiment on the conditions' dataset, or on the digits world; longer for the full budget."""
    key = f"synergy experiment {conditions.budget}"
    steps = 400 if conditions.quick else 1000
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
    """Accuracy of the targets over α (dims seed, target, alpha, test), the paper's own and all controls by default."""
    targets = list(target) or ["imperfect", *CONTROLS]
    return conditions.sweep(
        experiment_of(conditions), direction=direction, target=targets, alpha=list(ALPHAS),
        **_world(conditions, direction), **{"loss": LOSS, **fixed},
    )  # fmt: skip


def alone(conditions: Conditions, direction: str) -> xr.Dataset:
    """Accuracy of M_i alone over weight decay (dims seed, weight_decay, test)."""
    return conditions.sweep(
        experiment_of(conditions), direction=direction, alpha=0.0, weight_decay=list(DECAYS),
        **_world(conditions, direction),
    )  # fmt: skip


def chosen(cube: xr.Dataset, over: str) -> tuple[np.ndarray, float]:
    """Test accuracy (seeds, tests) at the value of ``over`` with the best mean validation accuracy, and that value.

    Of equal ones the first, so a baseline without weight decay and the smallest α are preferred.
    """
    best = choose(cube, over, across="seed")
    return best["accuracy"].transpose("seed", "test").values, float(best[over])


def _world(conditions: Conditions, direction: str) -> dict[str, Any]:
    energy = _ENERGY.get(direction)
    return {} if energy is None or conditions.dataset is not None else {"image_energy": energy}
