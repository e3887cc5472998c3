"""What is asked of a trained net: one function per question, and the variables of the cube they fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..data.samples import Dataset, Samples
from ..instruments import curvature, flatness, landscape, transport
from ..losses import Loss
from ..losses.module_loss import loss_on
from ..models.evaluation import device_of
from ..models.fusion import LateFusion
from ..sweeps.experiment import WHY, Report, Variable, on_demand, tell
from ..training import Run
from ..utils import checks as check
from .attacks import EPS, REACHES, drops, under_attack

Values = Mapping[str, Any]

# Questions and their defaults; 0 and False leave one out.
LOOKS: dict[str, Any] = {
    "look_at": "test", "landscape_points": 0, "landscape_span": 1.0, "landscape_seed": 0, "landscape_tolerance": 0.0,
    "eigenvalues": 0,
    "flatness": False, "curve": 0, "attacks": False, "attack_curve": False, "latents": False,
}  # fmt: skip
SPLITS = ("train", "test")
NOISES = ("absolute", "filter")
RADII = (0.1, 0.2, 0.3, 0.5)  # of F_gap in units of a filter's norm; ten times as much in absolute units (ours)
SIGMA = {"absolute": 0.01, "filter": 0.1}  # of the LPF: LPF-SGD's reference; a tenth of each filter (ours)
SAMPLES, DIRECTIONS = 20, 20  # draws of LPF and F_gap (the paper: 10 to 50, and 100)


def variables(values: Mapping[str, tuple[Any, ...]]) -> dict[str, Variable]:
    """The variables of all questions that any member is asked."""
    declared: dict[str, Variable] = {}
    points, spans = set(values["landscape_points"]) - {0}, set(values["landscape_span"])
    if points:
        if len(points) > 1 or len(spans) > 1:
            raise ValueError("all members of a sweep share the landscape's grid; give one landscape_points and _span.")
        span = spans.pop()
        steps = np.linspace(-span, span, points.pop()).tolist()
        declared["landscape"] = Variable({"a": steps, "b": steps}, "loss", "nats")
    if most := max(values["eigenvalues"]):
        declared["eigenvalue"] = Variable({"k": range(1, most + 1)}, "eigenvalue of the Hessian")
    if any(values["flatness"]):
        split, noise = {"split": SPLITS}, {"noise": NOISES}
        declared |= {
            "loss_at": Variable(split, "loss", "nats"),
            "lambda_max": Variable(split, "λ_max"),
            "lambda_star": Variable(split, "λ* = λ_max/λ_5"),
            "lpf": Variable({**split, **noise}, "L_LPF", "nats"),
            "lpf_rise": Variable({**split, **noise}, "Δ_LPF", "nats"),
            "gap": Variable({**split, **noise, "radius": RADII}, "F_gap", "nats"),
        }
    if any(values["curve"]):
        checkpoints = sorted({e for every in set(values["curve"]) - {0} for e in _checkpoints(every, values["epochs"])})
        declared |= {
            "curve_loss": Variable({"checkpoint": checkpoints}, "training loss", "nats"),
            "curve_lambda": Variable({"checkpoint": checkpoints}, "λ_max of the training loss"),
        }
    attacked = {"attacked": _attacked(values["modalities"])}
    if any(values["attacks"]):
        declared["drop"] = Variable({**attacked, "reach": REACHES}, "drop rate under PGD")
    if any(values["attack_curve"]):
        declared["under_attack"] = Variable({**attacked, "eps": EPS}, "accuracy under PGD")
    if any(values["latents"]):
        declared |= {
            "variance_ratio": Variable(label="ratio of the modalities' variances"),
            "w2_squared": Variable(label="W2² between the modalities"),
            "shift_spread": Variable(label="spread of the shift, in that of the other modality's feature"),
        }
    return on_demand(declared)


def check_looks(s: Values) -> None:
    """Refuse questions that make no sense."""
    check.one_of("look_at", s["look_at"], ("train", "val", "test"))
    if check.integer("landscape_points", s["landscape_points"], at_least=0):
        check.integer("landscape_points", s["landscape_points"], at_least=3)
    check.positive("landscape_span", s["landscape_span"])
    check.non_negative("landscape_tolerance", s["landscape_tolerance"])
    check.integer("eigenvalues", s["eigenvalues"], at_least=0)
    check.integer("curve", s["curve"], at_least=0)


def look(run: Run, dataset: Dataset, s: Values, report: Report) -> dict[str, Any]:
    """The answers of one trained net; each is told to whoever looks on as soon as it is there.

    Args:
        run, dataset: the net and its data.
        s: the settings that ask.
        report: as a member gets it.

    Returns:
        Variable -> number, array or DataArray; under "why" variable -> why it is NaN, where the net has no answer.
    """
    net = run.model
    loss = loss_on(net, dataset.splits[s["look_at"]])
    questions: dict[str, Callable[[], dict[str, Any]]] = {
        "landscape_points": lambda: _landscape(loss, s),
        "eigenvalues": lambda: _eigenvalues(loss, s),
        "flatness": lambda: _flatness(net, dataset),
        "curve": lambda: _curve(run, dataset),
        "attacks": lambda: {"drop": drops(net, dataset)},
        "attack_curve": lambda: {"under_attack": under_attack(net, dataset)},
        "latents": lambda: _latents(net, dataset.test),
    }
    answers: dict[str, Any] = {}
    why: dict[str, str] = {}
    for asked, answer in questions.items():
        if s[asked]:
            new = answer()
            why |= new.pop(WHY, {})
            tell(report, new)
            report(1.0, f"looked: {', '.join(new)}")
            answers |= new
    return {**answers, WHY: why} if why else answers


def _landscape(loss: Loss, s: Values) -> dict[str, Any]:
    options = {"seed": s["landscape_seed"], "tolerance": s["landscape_tolerance"] or None}
    plane = landscape.plane(loss, s["landscape_points"], s["landscape_span"], **options)
    return {"landscape": plane.to_numpy()}


def _eigenvalues(loss: Loss, s: Values) -> dict[str, Any]:
    import xarray as xr

    top = curvature.top_eigenvalues(loss, s["eigenvalues"]).values.numpy()
    return {"eigenvalue": xr.DataArray(top, {"k": np.arange(1, len(top) + 1)})}


def _flatness(net: torch.nn.Module, dataset: Dataset) -> dict[str, Any]:
    """λ, LPF and F_gap on the rows that were trained on (paired as they came) and on the test split."""
    import xarray as xr

    answers = []
    for samples in (dataset.train.complete(), dataset.test):
        loss = loss_on(net, samples)
        top = curvature.top_eigenvalues(loss, 5, tol=1e-2)
        low = [flatness.lpf(loss, SIGMA[n], SAMPLES, noise=n) for n in NOISES]
        wide = [
            flatness.gap(loss, [10 * r if n == "absolute" else r for r in RADII], DIRECTIONS, noise=n) for n in NOISES
        ]
        answers.append(
            xr.Dataset(
                {
                    "loss_at": top.loss,
                    "lambda_max": float(top.values[0]),
                    "lambda_star": top.ratio,
                    "lpf": ("noise", [x.value for x in low]),
                    "lpf_rise": ("noise", [x.delta for x in low]),
                    "gap": (("noise", "radius"), np.stack([x.values.numpy() for x in wide])),
                }
            )
        )
    both = xr.concat(answers, "split")
    return {name: both[name].to_numpy() for name in both.data_vars}


def _curve(run: Run, dataset: Dataset) -> dict[str, Any]:
    """Training loss and its λ_max at the kept checkpoints: λ_max follows the loss, so compare at equal loss."""
    import xarray as xr

    loss = loss_on(run.model, dataset.train.complete())
    kept = {epoch: params for epoch, params in run.snapshots.items() if epoch}
    at = {"checkpoint": list(kept)}
    tops = [curvature.top_eigenvalues(loss.at(p), 1, tol=1e-2) for p in kept.values()]
    return {
        "curve_loss": xr.DataArray([t.loss for t in tops], at),
        "curve_lambda": xr.DataArray([float(t.values[0]) for t in tops], at),
    }


def _latents(net: torch.nn.Module, samples: Samples) -> dict[str, Any]:
    """Sec 5.2 on the test split, and how far x_j moves f given the label (Def 2); NaN for a lone modality."""
    if not isinstance(net, LateFusion) or len(net.modalities) < 2:
        none: Any = ("variance_ratio", "w2_squared", "shift_spread")
        lone = "a gap is between two modalities of a late fusion; this net has none"
        return {**dict.fromkeys(none, float("nan")), WHY: dict.fromkeys(none, lone)}
    seen = samples.complete(net.modalities)
    seen = seen.to(device_of(net, seen.labels.device))
    with torch.no_grad():
        features = net.encode(seen.inputs)
        first, second = (features[m][features[m].norm(dim=1) > 0] for m in net.modalities[:2])
        absent = net.encode({net.modalities[0]: seen.inputs[net.modalities[0]]})
        alone = net.fuse(absent)
        shift = net.fuse(features) - alone
    inside = shift.clone()
    for c in seen.labels.unique():
        inside[seen.labels == c] -= shift[seen.labels == c].mean(0)
    spread = inside.square().sum(1).mean().sqrt() / (alone - alone.mean(0)).square().sum(1).mean().sqrt()
    if not len(first) or not len(second):  # an encoder that gives zeros alone: no latent has a direction
        zero = dict.fromkeys(("variance_ratio", "w2_squared"), "all latents of a modality are zero, without direction")
        return {**dict.fromkeys(zero, float("nan")), "shift_spread": float(spread), WHY: zero}
    gap = transport.modality_gap(first, second)
    return {"variance_ratio": gap.variance_ratio, "w2_squared": gap.w2_squared, "shift_spread": float(spread)}


def _checkpoints(every: int, epochs: Sequence[int]) -> list[int]:
    return list(range(every, max(epochs) + 1, every))


def _attacked(modalities: Sequence[str]) -> list[str]:
    single = dict.fromkeys(m for names in modalities for m in names.split("+"))
    return [*single, *dict.fromkeys(names for names in modalities if "+" in names)]
