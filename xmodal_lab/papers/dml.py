"""dml: Understanding multimodal learning: a loss landscape smoothness perspective.

One member trains a late-fusion net under one pairing and looks at what it became. ``alpha``
is the share of pairs that are drawn anew each epoch: 0 is standard multimodal learning
(SML, fixed pairs), 1 distributional multimodal learning (DML, Sec 3.3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache, partial
from threading import Lock
from typing import Any

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from .. import _checks as check
from .. import curvature, datasets, landscape, stacking
from .._stacks import why_not_mapped, why_not_products
from ..experiments import Experiment, Report, Variable
from ..fusion import FUSIONS, LateFusion
from ..module_loss import loss_on
from ..pairing import Pairing
from ..samples import Dataset
from ..training import DivergedError, Options, Run, fit

Values = dict[str, Any]
Load = Callable[[Values], Dataset]

# The world in which WORLDS saw DML gain: few images, many clips that fixed pairs never show.
DATA = {
    "dataset": "digits", "dataset_modalities": "image+audio", "images_per_class": 25, "clips_per_class": 160,
    "image_energy": 0.25, "audio_noise": 1.0, "recycle": "", "data_seed": 0,
}  # fmt: skip
DEFAULTS = {
    "modalities": "image+audio", "pairing": "same_class", "alpha": 1.0, "own": True, "rows": "complete",
    "fusion": "concat_linear", "architecture": "mlp", "width": 32,
    "epochs": 100, "batch_size": 64, "lr": 1e-3, "optimizer": "adam", "momentum": 0.9, "weight_decay": 1e-4,
    "choose": "best", "seed": 0, "device": "auto",
    "look_at": "test", "landscape_points": 0, "landscape_span": 1.0, "landscape_seed": 0, "eigenvalues": 0,
}  # fmt: skip
LABELS = {
    "alpha": "α, share of pairs drawn anew", "modalities": "modalities", "pairing": "pairing", "seed": "seed",
    "lr": "learning rate", "width": "feature width", "epochs": "epochs",
}  # fmt: skip
# Settings that may differ inside a stack: initial weights, pairs and steps are data.
_FREE = ("seed", "pairing", "alpha", "own", "lr", "weight_decay")
_LOOKS = ("look_at", "landscape_points", "landscape_span", "landscape_seed", "eigenvalues")
# Floating-point operations a second that a small net reaches on one core (ours; a cautious guess).
_RATE = 5e9
# Initial weights are drawn from torch's global generator, which the threads of an executor share.
_DRAWING = Lock()


def experiment(dataset: Dataset | None = None, **defaults: Any) -> Experiment:
    """The experiment, on the digits world or on a dataset of one's own, with other defaults.

    Variables: ``accuracy`` and ``loss`` on the test split; ``accuracy_curve``, ``loss_curve`` and
    ``train_loss_curve`` over ``epoch``; with ``landscape_points``, the ``landscape`` (a, b) of the
    ``look_at`` split; with ``eigenvalues``, the ``eigenvalue`` (k) of its Hessian.

    Args:
        dataset: used instead of the digits world, whose settings then go.
        defaults: instead of the usual ones.

    Raises:
        ValueError: a setting that is not known or makes no sense.
    """
    load: Load = _load if dataset is None else partial(_given, dataset)
    settings = {**DATA, **DEFAULTS} if dataset is None else dict(DEFAULTS)
    if dataset is not None:
        settings["modalities"] = "+".join(dataset.modalities)
    made = Experiment(
        name="dml" if dataset is None else f"dml on {dataset.name}",
        defaults=settings,
        member=partial(_member, load),
        variables=_variables,
        stack=partial(_stack, load),
        stack_key=partial(_stack_key, load),
        stack_pays=partial(_stack_pays, load),
        version="1" if dataset is None else _fingerprint(dataset),
        normal=_normal,
        check=_check,
        seconds=partial(_seconds, load),
        labels=LABELS,
    )
    return made.with_defaults(**defaults) if defaults else made


def _member(load: Load, s: Values, report: Report) -> dict[str, Any]:
    dataset = load(s)
    options = _options(s)
    run = fit(
        _net(dataset, s), dataset, pairing=options.plan, device=s["device"],
        on_epoch=lambda row: report(row["epoch"] / s["epochs"], f"epoch {int(row['epoch'])} of {s['epochs']}"),
        **{k: s[k] for k in _TRAINING},
    )  # fmt: skip
    return _look(run, dataset, s)


def _stack(load: Load, members: list[Values], report: Report) -> Sequence[Mapping[str, Any] | Exception]:
    dataset, epochs = load(members[0]), members[0]["epochs"]
    training: Values = {k: [s[k] for s in members] if k in _FREE else members[0][k] for k in _TRAINING}
    runs = stacking.fit_stack(
        [_net(dataset, s) for s in members], dataset,
        pairing=[_options(s).plan for s in members], device=members[0]["device"],
        on_epoch=lambda row: report(row["epoch"] / epochs, f"epoch {int(row['epoch'])} of {epochs}"),
        **training,
    )  # fmt: skip
    return [
        run if isinstance(run, DivergedError) else _look(run, dataset, s) for run, s in zip(runs, members, strict=True)
    ]


_TRAINING = (
    "epochs", "batch_size", "lr", "optimizer", "momentum", "weight_decay", "choose", "seed",
)  # fmt: skip


def _look(run: Run, dataset: Dataset, s: Values) -> dict[str, Any]:
    """What one trained net is asked."""
    import xarray as xr

    history = run.history
    epoch = {"epoch": history.index.to_numpy()}
    samples = dataset.splits[s["look_at"]]
    loss = loss_on(run.model, samples)
    found: dict[str, Any] = {
        "accuracy": run.score,
        "loss": float(loss_on(run.model, dataset.test)().detach()),
        "accuracy_curve": xr.DataArray(history["test_accuracy"].to_numpy(), epoch),
        "loss_curve": xr.DataArray(history["test_loss"].to_numpy(), epoch),
        "train_loss_curve": xr.DataArray(history["loss"].to_numpy(), epoch),
    }
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
    if len(points) > 1 or (points and len(spans) > 1):
        raise ValueError("all members of a sweep share the landscape's grid; give one landscape_points and _span.")
    if points:
        span = spans.pop()
        steps = np.linspace(-span, span, points.pop()).tolist()
        found["landscape"] = Variable({"a": steps, "b": steps}, "loss", "nats")
    if max(values["eigenvalues"]):
        found["eigenvalue"] = Variable({"k": range(1, max(values["eigenvalues"]) + 1)}, "eigenvalue of the Hessian")
    return found


def _check(s: Values) -> None:
    _options(s)
    seen = s["modalities"].split("+")
    if "dataset_modalities" in s:
        check.modalities_of(seen, s["dataset_modalities"].split("+"))
    check.one_of("fusion", s["fusion"], FUSIONS)
    check.integer("width", s["width"], at_least=1)
    check.one_of("look_at", s["look_at"], ("train", "val", "test"))
    if check.integer("landscape_points", s["landscape_points"], at_least=0):
        check.integer("landscape_points", s["landscape_points"], at_least=3)
    check.positive("landscape_span", s["landscape_span"])
    check.integer("eigenvalues", s["eigenvalues"], at_least=0)


def _normal(s: Values) -> Values:
    """A lone modality has no partner; fixed pairs are drawn at no share; share 0 draws none."""
    if "+" not in s["modalities"] or s["pairing"] == "fixed" or s["alpha"] == 0:
        return {**s, "pairing": "fixed", "alpha": 0.0, "own": True}
    return s


def _stack_key(load: Load, s: Values) -> Hashable:
    net = _net(load(s), s)
    products = why_not_products([net]) is None
    if not products and why_not_mapped([net]) is not None:
        return None
    # Products take members that see different modalities, where their epochs are equally long.
    free = (*_FREE, "modalities") if products and s["rows"] == "complete" else _FREE
    return tuple((k, v) for k, v in sorted(s.items()) if k not in free)


def _stack_pays(load: Load, s: Values) -> bool:
    return stacking.pays(_net(load(s), s), s["device"])


def _seconds(load: Load, s: Values) -> float:
    """Operations of the training passes (backward costs two forward passes), at a cautious rate."""
    dataset = load(s)
    net = _net(dataset, s)
    batch = {m: dataset.train.inputs[m][:2] for m in net.modalities}
    with FlopCounterMode(display=False) as counter:
        net(batch)
    return 3 * counter.get_total_flops() / 2 * len(dataset.train) * float(s["epochs"]) / _RATE


def _options(s: Values) -> Options:
    plan = Pairing(s["pairing"], s["alpha"], s["own"], s["rows"])
    return Options(plan, **{k: s[k] for k in _TRAINING})


def _net(dataset: Dataset, s: Values) -> LateFusion:
    options = {k: s[k] for k in ("fusion", "width", "architecture", "seed")}
    with _DRAWING:
        net = LateFusion.for_dataset(dataset, s["modalities"].split("+"), **options)
    return net.to(dataset.train.inputs[net.modalities[0]].dtype)


def _fingerprint(dataset: Dataset) -> str:
    """Of the numbers in a dataset, so that a store knows other data under the same name."""
    digest = hashlib.sha256()
    for samples in dataset.splits.values():
        for tensor in (*samples.inputs.values(), *samples.present.values(), samples.labels):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _given(dataset: Dataset, s: Values) -> Dataset:
    return dataset


def _load(s: Values) -> Dataset:
    known = datasets.options(s["dataset"])
    options = {k: s[k] for k in DATA if k in known}
    options |= {"modalities": tuple(s["dataset_modalities"].split("+")), "seed": s["data_seed"]}
    return _loaded(s["dataset"], tuple(sorted((k, v) for k, v in options.items() if k in known)))


@lru_cache(maxsize=8)
def _loaded(name: str, options: tuple[tuple[str, Any], ...]) -> Dataset:
    return datasets.load(name, **dict(options))


EXPERIMENT = experiment()
