"""What one member of the sweep does: train a late-fusion net under one pairing, then look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ...data.samples import Dataset
from ...experiments.late_fusion import LABELS, Trials
from ...experiments.looks import LOOKS, check_looks, look, variables
from ...losses.module_loss import loss_on
from ...sweeps.experiment import Experiment, Report, Variable
from ...training import DivergedError, Run

Values = dict[str, Any]


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

    Raises:
        ValueError: a setting that is not known or makes no sense.
    """
    trials = Trials(dataset)
    made = Experiment(
        name="dml" if dataset is None else f"dml on {dataset.name}",
        defaults={**trials.defaults, **LOOKS},
        member=partial(_member, trials),
        variables=_variables,
        stack=partial(_stack, trials),
        stack_key=trials.stack_key,
        stack_pays=trials.stack_pays,
        normal=trials.normal,
        check=partial(_check, trials),
        seconds=trials.seconds,
        data=trials.fingerprint,
        labels=LABELS,
        version=trials.version,
        scored=trials.scored,
    )
    return made.with_defaults(**defaults) if defaults else made


def _member(trials: Trials, s: Values, report: Report) -> dict[str, Any]:
    return _look(trials.train(s, report, snapshots=s["curve"] or None), trials.load(s), s)


def _stack(trials: Trials, members: list[Values], report: Report) -> Sequence[Mapping[str, Any] | Exception]:
    runs = trials.train_together(members, report, snapshots=members[0]["curve"] or None)
    return [
        r if isinstance(r, DivergedError) else _look(r, trials.load(s), s) for r, s in zip(runs, members, strict=True)
    ]


def _look(run: Run, dataset: Dataset, s: Values) -> dict[str, Any]:
    """What one trained net is asked."""
    import xarray as xr

    history, epoch = run.history, {"epoch": run.history.index.to_numpy()}
    found: dict[str, Any] = {
        "accuracy": run.score,
        "loss": float(loss_on(run.model, dataset.test)().detach()),
        "val_accuracy": _val_accuracy(run, s),
        "accuracy_curve": xr.DataArray(history["test_accuracy"].to_numpy(), epoch),
        "loss_curve": xr.DataArray(history["test_loss"].to_numpy(), epoch),
        "train_loss_curve": xr.DataArray(history["loss"].to_numpy(), epoch),
    }
    return found | look(run, dataset, s)


def _val_accuracy(run: Run, s: Values) -> float:
    """On the validation split, of the weights that were kept; NaN without one."""
    history = run.history
    if "val_accuracy" not in history:
        return float("nan")
    kept = int(history["val_loss"].to_numpy().argmin()) if s["choose"] == "best" else -1
    return float(history["val_accuracy"].to_numpy()[kept])


def _variables(values: dict[str, tuple[Any, ...]]) -> dict[str, Variable]:
    epoch = {"epoch": range(1, max(values["epochs"]) + 1)}
    return {
        "accuracy": Variable(label="test accuracy"),
        "loss": Variable(label="test loss", units="nats"),
        "val_accuracy": Variable(label="validation accuracy"),
        "accuracy_curve": Variable(epoch, "test accuracy"),
        "loss_curve": Variable(epoch, "test loss", "nats"),
        "train_loss_curve": Variable(epoch, "training loss", "nats"),
        **variables(values),
    }


def _check(trials: Trials, s: Values) -> None:
    trials.check(s)
    check_looks(s)


EXPERIMENT = experiment()
