"""Abuses of the instruments: transport, metrics, information, losses, curvature, flatness, landscape, robustness, plots.

Each room has a table of calls with good arguments; ``abuses`` spoils them one by one. By default a third of all
pairs (call, abuse) is tried, always the same; ``XMODAL_FUZZ=all`` tries all.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from abuses import (
    PROFILE,
    THEIRS,
    Abuse,
    Call,
    judge,
    missing_from,
    no_shape_checks,
    normal,
    offenders,
    report,
    spoilt_numbers,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from worlds import toy

import xmodal_lab as xl
from xmodal_lab import flatness as fl
from xmodal_lab import information as inf
from xmodal_lab import landscape as la
from xmodal_lab import metrics as me
from xmodal_lab import robustness as ro
from xmodal_lab import transport as tr

THEIRS.add(__name__)
Calls = dict[str, Call]

# A user's own module fails in its own words.
THEIR_OWN_WORDS = {
    "losses.Loss()": ("params: entry: a module",),
    "losses.Loss.from_module": ("module: a module",),
    "loss_on": ("model: a module",),
}
# What instruments give back: made by the library, not by users.
RESULTS = {
    "transport": {"AlphaStar", "ModalityGap", "SamplingBias", "SlicedW2", "TransportPlan"},
    "metrics": {"Disagreement", "MMD", "PrototypeAlignment"},
    "information": {"ExchangeRate", "Fit", "MonteCarlo", "Order"},
    "curvature": {"Density", "Eigenvalues", "FeatureHessian", "Trace"},
    "flatness": {"Gap", "Lpf"},
    "robustness": {"Attack", "Corruption", "Evaluation"},
    # A drawing of a method, whose parts the lessons name.
    "plots": {"Arrow", "Box", "Diagram"},
    # Parts of a loss that other rooms hand to each other, already checked.
    "losses": {"Halves", "ModuleLoss", "Term", "moved", "scalar"},
}


@pytest.fixture(autouse=True)
def _as_users_have_it() -> Iterator[None]:
    with no_shape_checks():
        yield


A, B, S = normal(6, 3), normal(5, 3, seed=1) + 0.5, normal(6, 3, seed=2)
Y = torch.tensor([0, 1, 2, 0, 1, 2])


# -- tables ------------------------------------------------------------------------------------------


def transport() -> Calls:
    weights, cost = torch.rand(6, generator=torch.Generator().manual_seed(0)), normal(2, 4, 3).abs()
    here = torch.tensor([1, 1, 1, 0])
    sides = {
        "delta_i": torch.tensor([1.0, 2.0]),
        "delta_j": torch.tensor([1.5, 1.0]),
        "delta_ij": torch.tensor([2, 1.5]),
    }
    numbers = {"delta_i": 1.0, "delta_j": 1.5, "delta_ij": 2.0, "delta": 0.1}
    net, samples = _net()
    ipot = {"cost": cost, "mask_a": here, "beta": 0.5, "iterations": 5, "inner": 1, "gradient": "envelope", "tol": 0.02}
    calls = {
        f"transport.w2, {method}": Call(
            tr.w2,
            {"a": A, "b": B, "method": method, "weights_a": weights, "projections": 8, "seed": 0, "blur": 0.05},
        )
        for method in ("exact", "gaussian", "sliced", "entropic")
    }
    return calls | {
        "transport.w2, whole": Call(tr.w2, {"a": A}, fixed={"b": A.flip(0) * 2}),
        "transport.sliced_w2": Call(tr.sliced_w2, {"a": A, "b": B, "weights_a": weights, "projections": 8, "seed": 0}),
        # One direction has no standard error.
        "transport.sliced_w2, given": Call(
            tr.sliced_w2, {"a": A, "b": B, "projections": torch.eye(3)}, leave=[("projections", "one column")]
        ),
        # NaN in a token is NaN in its row, as its docstring says.
        "transport.cost_matrix": Call(tr.cost_matrix, {"a": A, "b": B, "kind": "cosine"}, nan=True),
        "transport.cost_matrix, euclidean": Call(
            tr.cost_matrix, {"a": A, "b": B, "kind": "squared_euclidean"}, nan=True
        ),
        "transport.ipot": Call(tr.ipot, ipot),
        "transport.sinkhorn": Call(
            tr.sinkhorn, {"cost": cost, "mask_a": here, "epsilon": 0.05, "iterations": 20, "tol": 0.1}
        ),
        "transport.emd": Call(tr.emd, {"cost": cost, "mask_a": here, "workers": 1}, degree=None),
        "transport.alpha_star": Call(tr.alpha_star, {**sides, "delta": torch.tensor([0.1, 0.2]), "tolerance": 1e-6}),
        "transport.alpha_star, numbers": Call(tr.alpha_star, numbers),
        "transport.interpolation_cost": Call(tr.interpolation_cost, {"alpha": torch.tensor([0.3, 0.2]), **sides}),
        # A ratio of variances is infinite, or none, where a cloud is one point, as their docstrings say.
        "transport.modality_gap": Call(tr.modality_gap, {"z_a": A, "z_b": B, "method": "exact"}, degree=0, nan=True),
        "transport.modality_gaps": Call(
            tr.modality_gaps, {"model": net, "samples": samples, "method": "exact", "batch_size": 4}, nan=True
        ),
        "transport.latent_variance": Call(tr.latent_variance, {"z": A}, degree=0),
        "transport.variance_ratio": Call(tr.variance_ratio, {"z_a": A, "z_b": B}, degree=0, nan=True),
        "transport.sampling_bias": Call(
            tr.sampling_bias, {"a": A, "method": "exact", "splits": 3, "seed": 0}, degree=1
        ),
    }


def metrics() -> Calls:
    rows = torch.tensor([0, 1, 2, 3, 4, 0])
    mmd = {"a": A, "b": B, "kernel": "rbf", "bandwidth": 1.0, "permutations": 5, "seed": 0}
    return {
        "metrics.mmd": Call(me.mmd, mmd),
        **{
            f"metrics.mmd, {k}": Call(me.mmd, {"a": A, "b": B, "kernel": k}, nan=k in ("linear", "polynomial"))
            for k in ("rbf", "laplacian", "linear", "polynomial")
        },
        "metrics.accuracy": Call(me.accuracy, {"predictions": S, "labels": Y}, degree=0),
        "metrics.accuracy, classes": Call(me.accuracy, {"predictions": Y.flip(0), "labels": Y}),
        "metrics.auroc": Call(me.auroc, {"scores": S, "labels": Y}),
        "metrics.auroc, two": Call(me.auroc, {"scores": S[:, 0], "labels": Y.clamp(max=1)}, degree=0),
        "metrics.f1_macro": Call(me.f1_macro, {"predictions": S, "labels": Y}, degree=0),
        "metrics.expected_calibration_error": Call(
            me.expected_calibration_error, {"scores": S, "labels": Y, "bins": 15}
        ),
        "metrics.expected_calibration_error, given": Call(
            me.expected_calibration_error, {"scores": S.softmax(1), "labels": Y}, fixed={"probabilities": True}
        ),
        "metrics.disagreement": Call(me.disagreement, {"predictions": normal(3, 6, 4)}, degree=0),
        "metrics.disagreement, classes": Call(me.disagreement, {"predictions": torch.stack([Y, Y.flip(0)])}),
        "metrics.recall_at_k": Call(
            me.recall_at_k, {"queries": A, "gallery": A + 0.9 * S, "k": 1, "similarity": "cosine"}
        ),
        "metrics.recall_at_k, target": Call(me.recall_at_k, {"queries": A, "gallery": B, "k": [1, 2], "target": rows}),
        "metrics.recall_at_k, labels": Call(
            me.recall_at_k, {"queries": A, "gallery": S, "k": 1, "query_labels": Y, "gallery_labels": Y}
        ),
        "metrics.functional_margin": Call(
            me.functional_margin, {"features": A, "weights": B, "labels": rows, "bias": torch.full((5,), 0.1)}
        ),
        "metrics.functional_margin, free": Call(
            me.functional_margin, {"features": A, "weights": B, "labels": rows}, fixed={"scale_free": True}, degree=0
        ),
        "metrics.prototype_alignment": Call(me.prototype_alignment, {"prototypes": A, "text_means": S}, degree=0),
        "metrics.class_means": Call(me.class_means, {"features": A, "labels": Y, "classes": 3}, degree=1),
        "metrics.silhouette": Call(me.silhouette, {"features": A, "labels": Y, "metric": "euclidean"}, degree=0),
        "metrics.scores, of a model": Call(me.scores, dict(zip(("model", "samples"), _net(), strict=True)), nan=True),
        # Without a row of each class there is no AUROC, as its docstring says.
        "metrics.scores": Call(me.scores, {"model": S, "samples": Y, "batch_size": 4}, nan=True),
        "metrics.scores, values": Call(me.scores, {"model": S[:, 0], "samples": A[:, 0]}, nan=True),
        "metrics.davies_bouldin": Call(me.davies_bouldin, {"features": A, "labels": Y}, degree=0),
    }


def information() -> Calls:
    shots = np.log1p(np.array([1, 2, 4, 8]))
    grid = 0.3 + 0.02 * shots[:, None, None] + 0.03 * shots[:, None] + 0.001 * np.sin(np.arange(48)).reshape(4, 4, 3)
    rate = {
        "acc": torch.tensor(grid), "images": [1, 2, 4, 8], "texts": [1, 2, 4, 8], "words_per_text": 12.0,
        "images_window": (1, 8), "texts_window": (1, 8), "interval": "fieller", "level": 0.95, "least_r2": 0.5,
        "resamples": 20, "seed": 0,
    }  # fmt: skip
    own = A[:, :1] ** 2
    design, matrix = {"A_c": A, "A_x": own, "B_c": B}, torch.eye(3) * 2 + 0.1
    world = inf.fisher(design)
    v = torch.tensor([1.0, 0.0, 2.0])
    # The rate is NaN where it is refused; half precision rounds accuracies to a thousandth.
    return {
        "information.exchange_rate": Call(inf.exchange_rate, rate, nan=True, leave=("half", "bfloat16")),
        "information.exchange_rate, bootstrap": Call(
            inf.exchange_rate, rate | {"interval": "bootstrap"}, nan=True, leave=("half", "bfloat16")
        ),
        "information.ExchangeRate.isolines": Call(
            inf.exchange_rate(**rate).isolines, {"levels": [0.35, 0.36], "fit": "plane", "points": 5}, nan=True
        ),
        "information.order": Call(inf.order, {"a": matrix, "b": torch.diag(torch.tensor([4.0, 8, 16])), "rtol": 1e-10}),
        "information.schur": Call(inf.schur, {"matrix": matrix, "keep": 2, "rtol": 1e-10}),
        "information.Channel": Call(inf.Channel, {"shared": A, "own": own, "sigma": 0.5, "samples": 4}),
        "information.fisher": Call(
            inf.fisher, {"design": design, "sigma_x": 0.5, "sigma_y": 0.3, "n_x": 4, "n_y": 5, "rtol": 1e-10}
        ),
        "information.Fisher": Call(inf.Fisher, {"channels": {"x": inf.Channel(A), "y": inf.Channel(B)}, "rtol": 1e-10}),
        "information.Fisher.information": Call(world.information, {"data": "x+y", "method": "block"}),
        "information.Fisher.variance": Call(world.variance, {"v": v, "data": "x+y", "method": "schur"}, nan=True),
        "information.Fisher.rate": Call(world.rate, {"v": v, "method": "schur"}, nan=True),
        "information.Fisher.trade": Call(world.trade, {"v": v, "n": 1.5, "method": "schur"}, nan=True),
        "information.Fisher.lost": Call(world.lost, {"data": "x+y"}),
        "information.monte_carlo": Call(
            inf.monte_carlo, {"world": world, "data": "x", "draws": 5, "theta_c": torch.tensor([1.0, 2, 3]), "seed": 0}
        ),
    }


@cache
def _net() -> tuple[xl.LateFusion, xl.Samples]:
    dataset = toy(24)
    small = dataset.test.subset(range(8))
    bright = dataclasses.replace(small, inputs={m: x.sigmoid() for m, x in small.inputs.items()})
    return xl.LateFusion.for_dataset(dataset, architecture="mlp", width=4), bright


def _bowl(params: dict[str, Tensor]) -> Tensor:
    return params["w"].square().sum() + params["b"].square().sum()


def _loss() -> xl.Loss:
    return xl.Loss(_bowl, {"w": normal(2, 3), "b": torch.ones(2)})


def _direction(seed: int) -> dict[str, Tensor]:
    return {"w": normal(2, 3, seed=seed), "b": normal(2, seed=seed)}


# The same numbers in half precision are other parameters; a loss at NaN or beyond the range is NaN or infinite.
_AS_GIVEN: dict[str, Any] = {"nan": True, "leave": ("entry: half", "entry: bfloat16", "entry: double")}


def losses() -> Calls:
    loss, (net, samples) = _loss(), _net()
    data = (normal(4, 3), torch.tensor([0, 1, 0, 1]))
    cross_entropy = nn.functional.cross_entropy
    return {
        "losses.Loss": Call(lambda **k: xl.Loss(**k)(), {"fn": _bowl, "params": dict(loss.params)}, **_AS_GIVEN),
        "losses.Loss()": Call(lambda **k: loss(**k), {"params": dict(loss.params)}, **_AS_GIVEN),
        "losses.Loss.many": Call(
            loss.many, {"stacked": {"w": torch.ones(3, 2, 3), "b": torch.ones(3, 2)}}, **_AS_GIVEN
        ),
        "losses.Loss.along": Call(
            loss.along, {"directions": [_direction(0)], "coefficients": torch.tensor([[0.1], [0.2]])}, nan=True
        ),
        "losses.as_loss": Call(xl.losses.as_loss, {"loss": loss}),
        "losses.Loss.from_module": Call(
            lambda **k: xl.Loss.from_module(**k)(),
            {"module": nn.Linear(3, 2), "data": data, "criterion": cross_entropy, "batchnorm": "keep"},
        ),
        "loss_on": Call(
            lambda **k: xl.loss_on(**k)(),
            {"model": net, "samples": samples, "criterion": cross_entropy, "batchnorm": "keep", "name": "loss"},
        ),
    }


def curvature() -> Calls:
    loss, (net, samples) = _loss(), _net()
    over_data = xl.loss_on(net, samples)
    every = ["w", "b"]
    top = {"loss": loss, "k": 2, "which": "largest", "tol": 1e-4, "max_iterations": 20, "seed": 0, "params": every}
    return {
        "curvature.hessian": Call(xl.curvature.hessian, {"loss": loss, "params": ["w"], "rows": 4}),
        "curvature.Hessian": Call(xl.curvature.Hessian, {"loss": loss, "params": ["w"], "rows": 4}),
        **{
            f"curvature.{maker.__name__}": Call(maker, {"loss": over_data, "params": "head", "rows": 4, **options})
            for maker, options in (
                (xl.curvature.ggn, {"block_diagonal": True}),
                (xl.curvature.GGN, {}),
                (xl.curvature.fisher, {"block_diagonal": False}),
                (xl.curvature.EmpiricalFisher, {}),
            )
        },
        "curvature.top_eigenvalues": Call(
            xl.curvature.top_eigenvalues, {**top, "of": "hessian", "start": [_direction(0)]}
        ),
        "curvature.trace, Hutch++": Call(
            xl.curvature.trace, {"loss": over_data, "probes": 6, "of": "ggn", "method": "hutch++", "params": "head"}
        ),
        "curvature.top_eigenvalues, over data": Call(
            xl.curvature.top_eigenvalues, {"loss": over_data, "k": 1, "max_iterations": 5, "params": "head"}
        ),
        "curvature.density": Call(
            xl.curvature.density, {"loss": loss, "steps": 4, "probes": 2, "bandwidth": 0.01, "seed": 0, "params": every}
        ),
        "curvature.trace": Call(xl.curvature.trace, {"loss": loss, "probes": 3, "seed": 0, "params": every}),
        "curvature.eigenvectors": Call(xl.curvature.eigenvectors, {"loss": loss, "count": 2, "seed": 0, "scale": 1.0}),
        "curvature.by_block": Call(xl.curvature.by_block, {"loss": loss, "measure": xl.curvature.trace}),
        "curvature.feature_hessian": Call(
            xl.curvature.feature_hessian,
            {"loss_of_feature": lambda f: f.square().sum(1) * f[:, 0], "features": normal(4, 3)},
        ),
    }


def flatness() -> Calls:
    loss = _loss()
    both = {"measures": ["lpf", "gap"], "noises": ["absolute", "filter"]}
    return {  # values beyond the range of numbers are kept
        "flatness.lpf": Call(
            fl.lpf,
            {"loss": loss, "sigma": 0.1, "samples": 4, "noise": "absolute", "seed": 0, "params": ["w"]},
            nan=True,
        ),
        "flatness.gap": Call(
            fl.gap,
            {"loss": loss, "radii": [0.0, 1.0], "directions": 3, "noise": "relative", "seed": 0, "params": ["w"]},
            nan=True,
        ),
        "flatness.gap, tensor": Call(
            fl.gap, {"loss": loss, "radii": torch.tensor([0.0, 1]), "directions": 3}, nan=True
        ),
        "flatness.compare": Call(
            fl.compare,
            {
                "losses": {"a": loss},
                **both,
                "sigma": 0.1,
                "samples": 3,
                "radii": [0.0, 1.0],
                "directions": 3,
                "seed": 0,
            },
            nan=True,
        ),
    }


def landscape() -> Calls:
    loss, (net, samples) = _loss(), _net()
    over_data = xl.loss_on(net, samples)
    pair = [_direction(0), _direction(1)]
    drawn = {"loss": loss, "points": 3, "span": 1.0, "normalization": "filter", "seed": 0, "params": ["w"]}
    asked = {"loss": loss, "count": 2, "normalization": "filter", "seed": 0, "params": ["w"], "vectors": "normalize"}
    calls = {  # non-finite values are kept
        "landscape.draw": Call(la.draw, asked),
        "landscape.directions": Call(la.directions, asked),
        "landscape.eigenvectors": Call(la.eigenvectors, {"loss": loss, "count": 2, "seed": 0, "scale": 1.0}),
        "landscape.line": Call(la.line, drawn),
        "landscape.line, to": Call(la.line, {"loss": loss, "points": 5, "to": pair[0]}),
        "landscape.line, along": Call(la.line, {"loss": loss, "points": 5, "direction": pair[0]}),
        "landscape.plane": Call(la.plane, drawn | {"vectors": "normalize", "tolerance": 0.1}),
        "landscape.plane, given": Call(la.plane, {"loss": loss, "points": 3, "directions": pair}),
        "landscape.modality_plane": Call(
            la.modality_plane,
            {"loss": over_data, "first": "image", "second": "audio", "points": 3, "span": 1.0, "seed": 0},
        ),
        "landscape.trajectory_plane": Call(la.trajectory_plane, {"loss": loss, "runs": {"a": pair}, "points": 3}),
        "landscape.trajectory_plane, one run": Call(
            la.trajectory_plane, {"loss": loss, "runs": pair, "points": 3, "margin": 0.25}
        ),
    }
    return {k: dataclasses.replace(c, nan=k not in list(calls)[:3], leave=_AS_GIVEN["leave"]) for k, c in calls.items()}


def robustness() -> Calls:
    net, samples = _net()
    views = {"image": samples.inputs["image"][:4], "audio": samples.inputs["audio"][:4]}
    # Draws depend on the dtype of what they are added to.
    other = {"leave": ("entry: double", "entry: half", "entry: bfloat16")}
    attack = {
        "model": net, "samples": samples, "modality": "image", "eps": 0.1, "step": 0.05, "iterations": 2,
        "norm": "linf", "criterion": nn.functional.cross_entropy, "clip": (0.0, 1.0), "batch_size": 4, "seed": 0,
    }  # fmt: skip
    by_name = {"image": 0.1, "audio": 0.1}
    ce = nn.functional.cross_entropy
    spoil = {
        "model": net,
        "samples": samples,
        "transform": copy.copy,
        "where": "inputs",
        "criterion": ce,
        "batch_size": 4,
    }
    table = {
        "modalities": ["image", "audio"], "criterion": ce, "model": net, "samples": samples, "noise": [1.0], "noise_kind": "uniform", "missing": [0.5],
        "corruptions": ["gaussian_blur"], "severities": [1], "attacks": {"image": {"eps": 0.1, "iterations": 1}},
        "kinds": {"image": "image", "audio": "audio"}, "where": "inputs", "batch_size": 4, "seed": 0,
    }  # fmt: skip
    corruptions = {
        f"robustness.corrupt, {kind} {name}": Call(
            ro.corrupt, {"views": {kind: views[kind]}}, fixed={"modality": kind, "name": name, "severity": 3}, **other
        )
        for kind, known in ro.CORRUPTIONS.items()
        for name in known
    }
    return corruptions | {
        "robustness.add_noise": Call(
            ro.add_noise, {"views": views, "modality": "image", "amplitude": 1.0, "kind": "uniform", "seed": 0}, **other
        ),
        "robustness.add_noise, samples": Call(
            ro.add_noise, {"views": samples, "modality": ["image", "audio"], "amplitude": 1.0, "kind": "gaussian"}
        ),
        "robustness.drop_modality": Call(
            ro.drop_modality, {"views": views, "modality": "image", "share": 0.5, "seed": 0}, **other
        ),
        "robustness.drop_modality, samples": Call(
            ro.drop_modality, {"views": samples, "modality": ["image"], "share": 0.5, "seed": 0}
        ),
        "robustness.corrupt": Call(
            ro.corrupt,
            {"views": views, "modality": "image", "name": "contrast", "severity": 3, "kind": "image", "seed": 0},
            **other,
        ),
        "robustness.evaluate_under": Call(ro.evaluate_under, spoil),
        "robustness.evaluate_under, features": Call(ro.evaluate_under, spoil | {"where": "features"}),
        "robustness.report": Call(ro.report, table, nan=True),
        "robustness.pgd": Call(ro.pgd, attack),
        "robustness.pgd, joint": Call(
            ro.pgd, attack | {"modality": ["image", "audio"], "eps": by_name, "step": by_name, "iterations": 1}
        ),
    }


def plots() -> Calls:
    import pandas as pd

    axis = np.linspace(-1, 1, 4)
    plane = xr.DataArray(normal(4, 4).numpy(), {"a": axis, "b": axis}, ("a", "b"))
    two = xr.concat([plane, plane], "k").assign_coords(k=[0, 1])
    scores = pd.DataFrame({"arm": ["a", "a", "b"], "accuracy": [0.1, 0.2, 0.3]})
    shots = xr.DataArray(normal(3, 3).numpy(), {"images": [1, 2, 4], "texts": [0, 2, 4]}, ("images", "texts"))
    lines = pd.DataFrame({"level": [0.5, 0.5], "images": [1.0, 2.0], "texts": [0.0, 2.0]})
    history = pd.DataFrame({"test_accuracy": [0.1, 0.2]})
    spectrum = xr.DataArray([0.0, 1.0, 0.5], {"lambda_": [-1.0, 0.0, 2.0]}, "lambda_")
    path = plane.rename(a="ta", b="tb").to_dataset(name="trajectory").assign(path=(("epoch", "axis"), np.eye(3, 2)))
    drawn = {"values": plane, "kind": "contour", "limits": (0.0, 1.0), "title": "t", "levels": 4}
    calls = {
        "plots.landscape": Call(xl.plots.landscape, drawn),
        "plots.landscape, surface": Call(
            xl.plots.landscape, {"values": plane, "kind": "surface", "limits": (0.0, 1.0)}
        ),
        "plots.landscapes": Call(xl.plots.landscapes, {"values": {"a": plane, "b": plane}, "kind": "heatmap"}),
        "plots.landscapes, over": Call(xl.plots.landscapes, {"values": two, "over": "k", "kind": "heatmap"}),
        "plots.accuracies": Call(xl.plots.accuracies, {"scores": scores, "x": "arm", "y": "accuracy"}),
        "plots.spectra": Call(xl.plots.spectra, {"eigenvalues": {"a": [3.0, 2.0, 1.0]}}),
        "plots.history": Call(xl.plots.history, {"runs": {"a": history}, "column": "test_accuracy"}),
        "plots.style": Call(_styled, {"name": "paper", "columns": 2, "width": 3.0, "height": 2.0}),
        "plots.density": Call(xl.plots.density, {"spectra": spectrum, "eigenvalues": [2.0, -1.0]}),
        "plots.density, named": Call(xl.plots.density, {"spectra": {"a": spectrum}, "eigenvalues": {"a": [2.0]}}),
        "plots.trajectory": Call(xl.plots.trajectory, {"path": path, "title": "t"}),
        "plots.effects": Call(xl.plots.effects, {"found": xl.claims.effects("dml"), "limits": (-4.0, 8.0)}),
        "plots.isolines": Call(xl.plots.isolines, {"accuracy": shots, "lines": lines, "title": "t"}),
    }
    return {k: dataclasses.replace(c, guises=False) for k, c in calls.items()} | {
        "plots.mean_interval": Call(xl.plots.mean_interval, {"values": [0.1, 0.2, 0.4], "level": 0.95}, nan=True),
        "plots.mean_interval, tensor": Call(
            xl.plots.mean_interval, {"values": torch.tensor([0.1, 0.2, 0.4])}, nan=True
        ),
    }


ROOMS: dict[str, Callable[[], Calls]] = {
    f.__name__: f for f in (transport, metrics, information, losses, curvature, flatness, landscape, robustness, plots)
}


# -- tests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_an_error_of_its_own_or_a_right_answer(room: str) -> None:
    import matplotlib.pyplot as plt

    tried, found = offenders(ROOMS[room](), waiting=THEIR_OWN_WORDS, after=lambda: plt.close("all"))
    assert tried > 30
    assert not found, report(tried, found)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_callable_is_abused(room: str) -> None:
    assert missing_from(ROOMS[room](), getattr(xl, room), RESULTS.get(room, set())) == set()


def test_results_are_no_functions() -> None:
    """What is left out as a result is one: a class whose fields the library fills."""
    for room, names in RESULTS.items():
        for name in names - {"ModuleLoss", "moved", "scalar", "Evaluation"}:
            assert dataclasses.is_dataclass(getattr(getattr(xl, room), name)), f"{room}.{name}"


def _styled(**options: Any) -> None:
    with xl.plots.style(**options):
        pass


def _deep(x: Any) -> Tensor:
    return torch.ones(3) @ torch.as_tensor(x)


def _writes(x: Tensor) -> Tensor:
    return x.mul_(2)


def _forgets_strides(x: Tensor) -> Tensor:
    return torch.as_strided(x, x.shape, (x.shape[1], 1)) if isinstance(x, Tensor) else torch.zeros(())


BAD: dict[str, tuple[Callable[..., Any], str, str]] = {
    "an error from the depths": (lambda x: tr.cost_matrix(_deep(x), B), "a word", "from "),
    "a result that is NaN": (lambda x: torch.log(-torch.as_tensor(x)), "negative", ""),
    "an argument written to": (_writes, "zeros", ""),
    "an argument that is doubled": (_writes, "all alike", "written to"),
    "NaN let through": (lambda x: torch.as_tensor(x).sum(), "NaN", "holds NaN"),
    "strides forgotten": (_forgets_strides, "strided", "another result"),
}


@pytest.mark.parametrize("what", BAD)
def test_the_judge_sees_bad_answers(what: str) -> None:
    fn, abuse, words = BAD[what]
    THEIRS.discard(__name__)  # here they stand for functions of the library
    try:
        call = Call(lambda x: fn(x), {"x": A.clone()})
        spoilt: Abuse = spoilt_numbers(A)[abuse]
        assert words in judge(call, {"x": spoilt.value}, spoilt, [A.numpy()])
        assert bool(judge(call, {"x": spoilt.value}, spoilt, [A.numpy()])) == bool(words)
    finally:
        THEIRS.add(__name__)


def test_the_judge_knows_own_errors() -> None:
    call = Call(tr.w2, {"a": A, "b": B})
    assert judge(call, {"a": "nonsense", "b": B}, Abuse("nonsense"), None) == ""


GUISES = ("strided", "column order", "requires grad", "array", "read-only array", "backward array", "double", "a list")
SCORES: dict[str, Callable[[Any], Any]] = {
    "w2": lambda x: tr.w2(x, B),
    "gaussian": lambda x: tr.w2(x, B, "gaussian"),
    "sliced": lambda x: tr.w2(x, B, "sliced", projections=4),
    "mmd": lambda x: me.mmd(x, B).value,
    "cost": lambda x: tr.cost_matrix(x, B),
    "emd": lambda x: tr.emd(tr.cost_matrix(x, B)).value,
    "means": lambda x: me.class_means(x, [0] * len(x)),
}


@PROFILE
@given(
    name=st.sampled_from(sorted(SCORES)),
    guise=st.sampled_from(GUISES),
    rows=st.integers(1, 7),
    seed=st.integers(0, 99),
    scale=st.sampled_from((1.0, 1e-3, 1e4)),
)
def test_the_guise_of_numbers_makes_no_difference(name: str, guise: str, rows: int, seed: int, scale: float) -> None:
    x = scale * normal(rows, 3, seed=seed)
    plain, worn = SCORES[name](x), SCORES[name](spoilt_numbers(x)[guise].value)
    torch.testing.assert_close(worn.detach().double(), plain.detach().double(), rtol=1e-4, atol=1e-5 * max(1.0, scale))


@PROFILE
@given(power=st.integers(-120, 120), rows=st.integers(1, 6), seed=st.integers(0, 99))
def test_distances_grow_with_the_scale(power: int, rows: int, seed: int) -> None:
    """W2(s a, s b) = s W2(a, b), and scores without a unit stay, over 240 orders of magnitude."""
    s, a, b = 10.0**power, normal(rows, 3, seed=seed).double(), B.double()
    for method in ("exact", "gaussian", "sliced"):
        want = s * tr.w2(a, b, method, projections=4, seed=seed)
        if method == "sliced" and power > 100:
            want = want.clone()
        torch.testing.assert_close(tr.w2(s * a, s * b, method, projections=4, seed=seed), want, rtol=1e-9, atol=0.0)
    assert float(tr.latent_variance(s * b)) == pytest.approx(float(tr.latent_variance(b)), rel=1e-12)
    assert me.silhouette(s * A.double(), Y) == pytest.approx(me.silhouette(A.double(), Y), rel=1e-9)
    assert me.recall_at_k(s * A.double(), S) == me.recall_at_k(A.double(), S)


ANSWERS: dict[str, tuple[Callable[[], Any], str]] = {
    "masked entries": (
        lambda: tr.w2(np.ma.masked_array(A.numpy(), mask=A.numpy() > 1), B),
        r"a has \d+ masked entries; fill them first",
    ),
    "rows of different length": (
        lambda: me.class_means(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), Y),
        "features is nested, with rows of different length; pad it",
    ),
    "unsigned and huge": (lambda: me.accuracy(np.full(6, 2**64 - 1, dtype=np.uint64), Y), "numbers of 2.63 or more"),
    "a yes for a count": (
        lambda: me.class_means(A, Y, torch.tensor(True)),  # type: ignore[arg-type]
        "classes must be a whole number, got Tensor",
    ),
    "meta": (lambda: tr.w2(A.to("meta"), B), "a is on device 'meta' and holds no numbers"),
    "text as a number": (lambda: tr.w2(A, B, "entropic", blur="0.1"), "blur must be a number, got str"),  # type: ignore[arg-type]
    "a number beyond floats": (lambda: me.mmd(A, B, bandwidth=10**400), "bandwidth must be finite"),
    "a type for a count": (lambda: tr.sampling_bias(A, splits=int), "splits must be a whole number"),  # type: ignore[arg-type]
    "a count beyond 64 bits": (lambda: tr.sampling_bias(A, splits=10**30), "a number of 64 bits"),
    "sizes that do not broadcast": (lambda: tr.cost_matrix(A[:, None], B[:, None]), "leading sizes .* must broadcast"),
    "delta of another shape": (lambda: tr.alpha_star(1.0, 1.5, 2.0, delta=[1, 2]), "delta must broadcast"),
    "beta out of proportion": (lambda: tr.ipot(S.abs(), beta=1e300), "out of all proportion"),
    "a kernel that overflows": (lambda: me.mmd(1e300 * A.double(), B), "kernel overflows"),
    "squares that overflow": (lambda: tr.sliced_w2(1e300 * A.double(), B), "squared distances overflow"),
    "more classes than samples": (lambda: me.class_means(A, Y, 10**12), "cannot all have a mean"),
    "classifiers of other samples": (lambda: me.disagreement([Y, Y[:3]]), "must predict the same samples"),
    "classes far above the rows": (lambda: me.accuracy(Y, 10**12 * Y), "number the classes from 0"),
    "a window of words": (
        lambda: inf.exchange_rate(np.eye(3), [1, 2, 4], [0, 1, 2], 3.0, images_window=(1, 2, 3)),  # type: ignore[arg-type]
        "images_window must be .low, high.",
    ),
    "accuracies of 1e200": (lambda: inf.exchange_rate(1e200 * np.eye(3), [1, 2, 4], [0, 1, 2], 3.0), "acc reaches"),
    "a world of another kind": (lambda: inf.monte_carlo("x"), "world must be a Fisher, got str"),  # type: ignore[arg-type]
    "a transform that is none": (
        lambda: ro.evaluate_under(*_net(), transform="blur"),  # type: ignore[arg-type]
        "transform must be a function",
    ),
    "a model of tensors": (
        lambda: ro.evaluate_under(nn.Linear(3, 2), _net()[1]),
        "failed on a dict of tensors by modality",
    ),
    "limits upside down": (
        lambda: xl.plots.landscape(xr.DataArray(np.eye(3), dims=("a", "b")), limits=(1, 0)),
        r"limits must be \(low, high\)",
    ),
    "a table for a picture": (lambda: xl.plots.landscape(np.eye(3)), "values must be a DataArray, got ndarray"),  # type: ignore[arg-type]
}


GUISED: dict[str, Callable[[Tensor], Any]] = {
    "a subclass": lambda x: x.as_subclass(type("Sub", (Tensor,), {})),
    "nothing masked": lambda x: np.ma.masked_array(x.numpy(), mask=np.zeros(x.shape, bool)),
    "quantised": lambda x: torch.quantize_per_tensor(x, 2**-20, 0, torch.qint32),
    "negated lazily": lambda x: torch.complex(x, -x).conj().imag,
    "a table": lambda x: __import__("pandas").DataFrame(x.numpy(), index=range(5, 5 + len(x))),
    "labelled": lambda x: xr.DataArray(x.numpy()),
}


@pytest.mark.filterwarnings("ignore:.*quantiz.*:DeprecationWarning", "ignore:.*quantiz.*:UserWarning")
@pytest.mark.parametrize("guise", GUISED)
def test_rarer_guises_of_the_same_numbers(guise: str) -> None:
    worn = GUISED[guise](A.clone())
    torch.testing.assert_close(torch.as_tensor(tr.w2(worn, B)), tr.w2(A, B), rtol=1e-4, atol=1e-5)
    assert me.auroc(worn, Y) == pytest.approx(me.auroc(A, Y), rel=1e-4)
    loss = xl.Loss(lambda p: p["w"].square().sum(), {"w": worn})
    assert loss.value() == pytest.approx(float(A.square().sum()), rel=1e-4)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_unsigned_class_numbers(dtype: type) -> None:
    labels = Y.numpy().astype(dtype)
    assert me.accuracy(labels, torch.from_numpy(labels)) == 1.0
    assert me.silhouette(A, labels) == me.silhouette(A, Y)


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
@pytest.mark.parametrize("mistake", ANSWERS)
def test_what_the_answer_says(mistake: str) -> None:
    make, words = ANSWERS[mistake]
    with pytest.raises((ValueError, TypeError), match=words):
        make()
