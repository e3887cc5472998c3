"""dml: Understanding multimodal learning: a loss landscape smoothness perspective.

One member trains a late-fusion net under one pairing and looks at what it became. ``alpha``
is the share of pairs that are drawn anew each epoch: 0 is standard multimodal learning
(SML, fixed pairs), 1 distributional multimodal learning (DML, Sec 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ... import _checks as check
from ... import curvature, landscape
from ...experiments import Experiment, Report, Variable
from ...module_loss import loss_on
from ...samples import Dataset
from ...training import DivergedError, Run
from ...trials import LABELS, Trials

Values = dict[str, Any]

# What is asked of a trained net, on which split; 0 leaves it out.
LOOKS = {
    "look_at": "test", "landscape_points": 0, "landscape_span": 1.0, "landscape_seed": 0, "eigenvalues": 0,
}  # fmt: skip


def experiment(dataset: Dataset | None = None, **defaults: Any) -> Experiment:
    """The experiment, on the digits world or on a dataset of one's own, with other defaults.

    Variables: ``accuracy`` and ``loss`` on the test split; ``accuracy_curve``, ``loss_curve`` and
    ``train_loss_curve`` over ``epoch``; with ``landscape_points``, the ``landscape`` (a, b) of the
    ``look_at`` split; with ``eigenvalues``, the leading ``eigenvalue`` (k) of its Hessian.

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
        labels=LABELS,
        version=trials.version,
    )
    return made.with_defaults(**defaults) if defaults else made


def _member(trials: Trials, s: Values, report: Report) -> dict[str, Any]:
    return _look(trials.train(s, report), trials.load(s), s)


def _stack(trials: Trials, members: list[Values], report: Report) -> Sequence[Mapping[str, Any] | Exception]:
    runs = trials.train_together(members, report)
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
        "accuracy_curve": xr.DataArray(history["test_accuracy"].to_numpy(), epoch),
        "loss_curve": xr.DataArray(history["test_loss"].to_numpy(), epoch),
        "train_loss_curve": xr.DataArray(history["loss"].to_numpy(), epoch),
    }
    loss = loss_on(run.model, dataset.splits[s["look_at"]])
    if s["landscape_points"]:
        plane = landscape.plane(loss, s["landscape_points"], s["landscape_span"], seed=s["landscape_seed"])
        found["landscape"] = plane.to_numpy()
    if s["eigenvalues"]:
        values = curvature.top_eigenvalues(loss, s["eigenvalues"]).values.numpy()
        found["eigenvalue"] = xr.DataArray(values, {"k": np.arange(1, len(values) + 1)})
    return found


def _variables(values: dict[str, tuple[Any, ...]]) -> dict[str, Variable]:
    epoch = {"epoch": range(1, max(values["epochs"]) + 1)}
    found = {
        "accuracy": Variable(label="test accuracy"),
        "loss": Variable(label="test loss", units="nats"),
        "accuracy_curve": Variable(epoch, "test accuracy"),
        "loss_curve": Variable(epoch, "test loss", "nats"),
        "train_loss_curve": Variable(epoch, "training loss", "nats"),
    }
    points, spans = set(values["landscape_points"]) - {0}, set(values["landscape_span"])
    if points:
        if len(points) > 1 or len(spans) > 1:
            raise ValueError("all members of a sweep share the landscape's grid; give one landscape_points and _span.")
        span = spans.pop()
        steps = np.linspace(-span, span, points.pop()).tolist()
        found["landscape"] = Variable({"a": steps, "b": steps}, "loss", "nats")
    if most := max(values["eigenvalues"]):
        found["eigenvalue"] = Variable({"k": range(1, most + 1)}, "eigenvalue of the Hessian")
    return found


def _check(trials: Trials, s: Values) -> None:
    trials.check(s)
    check.one_of("look_at", s["look_at"], ("train", "val", "test"))
    if check.integer("landscape_points", s["landscape_points"], at_least=0):
        check.integer("landscape_points", s["landscape_points"], at_least=3)
    check.positive("landscape_span", s["landscape_span"])
    check.integer("eigenvalues", s["eigenvalues"], at_least=0)


EXPERIMENT = experiment()
