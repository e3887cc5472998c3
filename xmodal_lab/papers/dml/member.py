"""What one member of the sweep does: train a late-fusion net under one pairing, then look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...data.samples import Dataset
from ...experiments.late_fusion import LateFusionWorld
from ...experiments.looks import LOOKS, check_looks, look, variables
from ...sweeps.experiment import WHY, Experiment, Report, Variable, tell
from ...training import Run

Values = Mapping[str, Any]


@dataclass(frozen=True)
class DmlWorld(LateFusionWorld):
    """Late-fusion nets under one pairing, which are asked for landscape, flatness and robustness too."""

    name: ClassVar[str] = "dml"

    @property
    def defaults(self) -> dict[str, Any]:
        """Settings of data, net, training and looks, with their defaults."""
        return {**super().defaults, **LOOKS}

    def every(self, s: Values) -> int | None:
        """``curve``: every so many epochs the training loss is looked at."""
        return s["curve"] or None

    def asked(self, run: Run, dataset: Dataset, s: Values, report: Report) -> dict[str, Any]:
        """Scores and curves of a ``run``, and the looks that the settings switch on, each told to ``report``."""
        scores = super().asked(run, dataset, s, report)
        tell(report, scores)
        answers = look(run, dataset, s, report)
        why = scores.get(WHY, {}) | answers.get(WHY, {})
        return scores | answers | ({WHY: why} if why else {})

    def variables(self, values: Mapping[str, tuple[Any, ...]]) -> dict[str, Variable]:
        """Scores, curves and looks."""
        return {**super().variables(values), **variables(values)}

    def check(self, s: Values) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        super().check(s)
        check_looks(s)


def experiment(dataset: Dataset | None = None, **defaults: Any) -> Experiment:
    """The experiment, on the digits world or on a dataset of one's own, with other defaults.

    Variables: ``accuracy`` and ``loss`` on the test split; ``val_accuracy``, to choose settings by;
    ``accuracy_curve``, ``loss_curve`` and ``train_loss_curve`` over ``epoch``. On demand:

    - ``landscape_points``: the ``landscape`` (a, b) of the ``look_at`` split; ``eigenvalues``: the
      leading ``eigenvalue`` (k) of its Hessian;
    - ``flatness``: ``lambda_max``, ``lambda_star``, ``lpf``, ``lpf_rise``, ``gap`` by split and kind of noise;
    - ``curve``: every so many epochs ``curve_loss`` and ``curve_lambda``, λ_max against training loss;
    - ``attacks``: ``drop``, PGD as printed and where ε binds; ``attack_curve``: ``under_attack`` over ε;
    - ``latents``: ``variance_ratio``, ``w2_squared``, ``shift_spread``.

    Args:
        dataset: used instead of the digits world, whose settings then go.
        defaults: instead of the usual ones.

    Returns:
        An experiment for :func:`~xmodal_lab.sweep` and for explorers.

    Raises:
        ValueError: a setting that is not known or makes no sense.
    """
    return DmlWorld(dataset).experiment(**defaults)


EXPERIMENT = experiment()
