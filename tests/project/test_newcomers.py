"""Mistakes that newcomers make: each gets an answer that names what was expected or what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from xmodal_widgets import Lines, SweepView, explore

import xmodal_lab as xl


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    ds = xl.load("digits", modalities=("image", "audio"))
    net = xl.LateFusion.for_dataset(ds, architecture="mlp")
    cube = xr.DataArray(np.zeros((2, 3)), {"alpha": [0, 1], "x": [0, 1, 2]}, ("alpha", "x"), "loss")
    return {"ds": ds, "net": net, "cube": cube, "bowl": xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.ones(3)})}


MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a dataset misspelt": (lambda w: xl.load("digit"), r"Did you mean 'digits'\?"),
    "a modality that is not there": (lambda w: xl.load("digits", modalities=("sound",)), "known: 'image', 'audio'"),
    "an option of another dataset": (lambda w: xl.load("digits", n_train=10), "known: .*'images_per_class'"),
    "a fusion misspelt": (lambda w: xl.LateFusion.for_dataset(w["ds"], fusion="concat"), "Did you mean 'concat_"),
    "a hyphen in a pairing": (lambda w: xl.fit(w["net"], w["ds"], pairing="same-class"), "Did you mean 'same_class'"),
    "a share in per cent": (lambda w: xl.Pairing("same_class", 50), "between 0 and 1, got 50"),
    "a fraction of an epoch": (lambda w: xl.fit(w["net"], w["ds"], epochs=1.5), "whole number, got float 1.5"),
    "one split in place of the dataset": (lambda w: xl.fit(w["net"], w["ds"].train), "needs a Dataset, got Samples"),
    "the dataset in place of a split": (lambda w: xl.loss_on(w["net"], w["ds"]), "such as dataset.test, got Dataset"),
    "gpu for cuda": (lambda w: xl.fit(w["net"], w["ds"], epochs=1, device="gpu"), "use 'auto'"),
    "a loss that is no number": (lambda w: xl.Loss(lambda p: p["w"], {"w": torch.ones(3)})(), r"\.mean\(\) or \.sum"),
    "a module where a Loss is needed": (lambda w: xl.landscape.plane(w["net"]), r"got LateFusion; .*xl\.loss_on"),
    "a module for the spectrum": (lambda w: xl.curvature.top_eigenvalues(w["net"]), r"got LateFusion; .*xl\.loss_on"),
    "a module for the flatness": (lambda w: xl.flatness.lpf(w["net"], sigma=0.1, samples=3), r"xl\.loss_on"),
    "one point": (lambda w: xl.landscape.plane(w["bowl"], points=1), "points must be at least 3"),
    "more eigenvalues than parameters": (lambda w: xl.curvature.top_eigenvalues(w["bowl"], k=9), "at most 3"),
    "clouds of two spaces": (lambda w: xl.transport.w2(torch.ones(3, 2), torch.ones(3, 4)), "project both"),
    "NaN in the data": (lambda w: xl.transport.w2(torch.full((3, 2), torch.nan), torch.ones(3, 2)), "nan_to_num"),
    "capitals in a name": (lambda w: xl.sweep("DML", seed=[0]), r"Did you mean 'dml'\?"),
    "an axis misspelt": (lambda w: xl.sweep("dml", alphas=[0, 1]), r"Did you mean 'alpha'\?"),
    "a value outside its range": (lambda w: xl.sweep("dml", alpha=[0, 2]), "between 0 and 1, got 2"),
    "a table that is none": (lambda w: xl.tables("dml", 99), "there are 1, 2, 3"),
    "a claim misspelt": (lambda w: xl.claims.run("dml.a"), r"Did you mean 'dml\.A'\?"),
    "too few seeds": (lambda w: xl.claims.run("dml.A", seeds=[0, 1]), "at least 5 seeds"),
    "an explorer misspelt": (lambda w: explore("dlm"), r"Did you mean 'dml'\?"),
    "a dict in place of a cube": (lambda w: explore({"a": 1}), r"make one with xl\.sweep"),
    "a variable misspelt": (lambda w: SweepView(w["cube"], [Lines("los", x="x")]), r"Did you mean 'loss'\?"),
    "a control misspelt": (lambda w: explore(w["cube"], alfa=1), r"Did you mean 'alpha'\?"),
    "no words per text": (
        lambda w: xl.information.exchange_rate(np.eye(3), [1, 2, 4], [0, 1, 2], words_per_text=0),
        "words_per_text must be above 0",
    ),
    "labels and rows that disagree": (
        lambda w: xl.Samples(inputs={"a": torch.zeros(3, 2)}, labels=torch.zeros(4).long()),
        r"must have shape \(4, \.\.\.\) like labels",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_answer_names_the_remedy(mistake: str, world: dict[str, Any]) -> None:
    make, answer = MISTAKES[mistake]
    with pytest.raises((ValueError, TypeError), match=answer):
        make(world)
