"""The Gaussian experiment of uml (App E.14): do N/2 of X and N/2 unpaired Y reconstruct X better than N of X.

    x ─ adapter_x ─┐                                ┌─ head_x ─ x̂
                   ├─ encoder (ReLU) ─ z ─ decoder ─┤             loss: MSE(x̂, x) + MSE(ŷ, y)
    y ─ adapter_y ─┘                                └─ head_y ─ ŷ

Training X hardly shows nine of the ten shared causes, Y shows all; the test X shows all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....data.datasets import load
from ....losses import Params
from ....models.stacked import linear, uniform
from ....sweeps.experiment import Experiment, Report, Variable
from ....training.descent import descend, stack
from ....utils import checks as check
from ....utils.factors import leading_axes

# arm: share of N that is X, and what Y is
ARMS = {"X": (1.0, None), "X+Y": (0.5, "y"), "half X": (0.5, None), "X+noise": (0.5, "noise")}
DEFAULTS: dict[str, Any] = {
    "arm": "X+Y",
    "n": 10000,  # App E.14, as all down to noise
    "shared": 10,
    "x_only": 5,
    "y_only": 5,
    "observed": 50,
    "kept": 0.1,
    "attenuation": 0.05,
    "noise": 0.3,
    "width": 128,
    "latent": 10,
    "attenuate_test": False,
    "epochs": 20,  # passes over n samples; ours, as all below
    "batch": 128,
    "lr": 1e-3,
    "n_val": 500,
    "n_test": 2000,
    "seed": 0,
}
WORLD = ("shared", "x_only", "y_only", "observed", "kept", "attenuation", "noise", "attenuate_test", "n_val", "n_test")
LABELS = {"arm": "training data", "n": "N, samples in all", "attenuation": "attenuation of θ_c in training X"}


def parameters(s: Mapping[str, Any]) -> Params:
    """The weights at the start, torch's default law; the same for every arm of one seed."""
    generator = torch.Generator().manual_seed(s["seed"])
    d, w, k = s["observed"], s["width"], s["latent"]
    layers = {"adapter_x": (d, w), "adapter_y": (d, w), "encoder_1": (w, w), "encoder_2": (w, k), "decoder_1": (k, w),
              "decoder_2": (w, w), "head_x": (w, d), "head_y": (w, d)}  # fmt: skip
    drawn = {}
    for name, (fan_in, fan_out) in layers.items():
        for part, shape in (("weight", (fan_in, fan_out)), ("bias", (1, fan_out))):
            drawn[f"{name}.{part}"] = uniform(generator, fan_in, *shape)
    return drawn


def reconstruct(params: Params, rows: Tensor, modality: str) -> Tensor:
    """(K, n, observed) → the same, through the modality's adapter, the shared autoencoder and the modality's head."""
    h = linear(params, "encoder_1", linear(params, f"adapter_{modality}", rows)).relu()
    h = linear(params, "decoder_1", linear(params, "encoder_2", h)).relu()
    return linear(params, f"head_{modality}", linear(params, "decoder_2", h))


def train(members: Sequence[Mapping[str, Any]], report: Report) -> list[dict[str, Any] | Exception]:
    """Train members of one size together; those with Y and those without take separate stacks."""
    s = members[0]
    worlds = [_world(m) for m in members]
    x = torch.stack([w["train"]["x"] for w in worlds])
    y = None if "y" not in worlds[0]["train"] else torch.stack([w["train"]["y"] for w in worlds])
    val, test = (torch.stack([w[split] for w in worlds]) for split in ("val", "test"))
    draws = [np.random.default_rng([m["seed"], 14]) for m in members]
    per_epoch = max(1, s["n"] // s["batch"])
    steps, rows = s["epochs"] * per_epoch, torch.arange(len(members))[:, None]
    size = s["batch"] if y is None else s["batch"] // 2

    def batch(data: Tensor) -> Tensor:
        picked = np.stack([draw.integers(0, data.shape[1], size) for draw in draws])
        return data[rows, torch.from_numpy(picked)]

    def losses(params: Params, step: int) -> Tensor:
        seen = batch(x)
        loss = (reconstruct(params, seen, "x") - seen).square().mean((1, 2))
        if y is not None:
            other = batch(y)
            loss = loss + (reconstruct(params, other, "y") - other).square().mean((1, 2))
        return loss

    curve = torch.full((len(members), s["epochs"]), math.nan)
    best = {"error": torch.full((len(members),), math.inf), "test": torch.full((len(members),), math.nan)}

    def look(step: int, loss: Tensor, params: Params) -> None:
        if (step + 1) % per_epoch:
            return
        epoch = (step + 1) // per_epoch
        with torch.no_grad():
            now = (reconstruct(params, val, "x") - val).square().mean((1, 2))
            better = now < best["error"]
            if bool(better.any()):
                chosen = {name: p[better] for name, p in params.items()}
                held = test[better]
                best["test"][better] = (reconstruct(chosen, held, "x") - held).square().mean((1, 2))
                best["error"] = torch.minimum(now, best["error"])
        curve[:, epoch - 1] = now
        report(epoch / s["epochs"], f"epoch {epoch}, validation error {float(now.mean()):.3f}")

    starts = stack([parameters(m) for m in members])
    rates = torch.tensor([float(m["lr"]) for m in members])
    trained = descend(starts, losses, steps=steps, lr=rates, on_step=look)
    with torch.no_grad():
        last = (reconstruct(trained, test, "x") - test).square().mean((1, 2))
    return [
        {"error": float(error), "last_error": float(end), "curve": line.numpy()}
        if math.isfinite(float(end))
        else FloatingPointError("the autoencoder diverged; lower lr.")
        for error, end, line in zip(best["test"], last, curve, strict=True)
    ]


def pca_error(n: int, seed: int, **settings: Any) -> float:
    """Test error of X by PCA of n training X alone, with ``latent`` components: the best linear autoencoder (control).

    Args:
        n, seed, settings: as in the experiment.
    """
    s = {**DEFAULTS, **settings, "arm": "X", "n": n, "seed": seed}
    world = _world(s)
    train = world["train"]["x"].double()
    mean = train.mean(0)
    basis = leading_axes(train - mean, s["latent"])
    held = world["test"].double() - mean
    return float((held - held @ basis @ basis.T).square().mean())


def _world(s: Mapping[str, Any]) -> dict[str, Any]:
    """Training rows of each modality, and X of the validation and test splits."""
    share, other = ARMS[s["arm"]]
    n_x = round(share * s["n"])
    ds = load(
        "gaussian", n_x=n_x, n_y=s["n"] - n_x if other else 0, unrelated_y=other == "noise", seed=s["seed"],
        **{name: s[name] for name in WORLD},
    )  # fmt: skip
    assert ds.val is not None
    seen = {m: ds.train.inputs[m][ds.train.present[m]] for m in ("x", "y") if bool(ds.train.present[m].any())}
    return {"train": seen, "val": ds.splits["val"].inputs["x"], "test": ds.test.inputs["x"]}


def _member(s: dict[str, Any], report: Report) -> Mapping[str, Any]:
    found = train([s], report)[0]
    if isinstance(found, Exception):
        raise found
    return found


def _stack_key(s: dict[str, Any]) -> tuple[Any, ...]:
    share, other = ARMS[s["arm"]]
    return (
        share,
        other is None,
        *(v for name, v in s.items() if name not in ("arm", "seed", "lr", "attenuation", "kept")),
    )


def _variables(values: dict[str, tuple[Any, ...]]) -> dict[str, Variable]:
    return {
        "error": Variable(label="test reconstruction error of X", units="MSE"),
        "last_error": Variable(label="test reconstruction error of X after the last epoch", units="MSE"),
        "curve": Variable({"epoch": range(1, max(values["epochs"]) + 1)}, "validation error of X", "MSE"),
    }


def _check(s: dict[str, Any]) -> None:
    check.one_of("arm", s["arm"], ARMS)
    for name in ("n", "batch", "n_val"):
        check.integer(name, s[name], at_least=2)
    for name in ("epochs", "width", "latent", "n_test", "shared", "observed"):
        check.integer(name, s[name], at_least=1)
    for name in ("x_only", "y_only", "seed"):
        check.integer(name, s[name], at_least=0)
    for name in ("kept", "attenuation"):
        check.share(name, s[name])
    check.non_negative("noise", s["noise"])
    check.positive("lr", s["lr"])


EXPERIMENT = Experiment(
    name="xmodal_lab.papers.uml.theory.autoencoder:EXPERIMENT",
    defaults=DEFAULTS,
    member=_member,
    variables=_variables,
    stack=train,
    stack_key=_stack_key,
    check=_check,
    labels=LABELS,
)
