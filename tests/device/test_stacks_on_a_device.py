"""Stacks as large as memory allows: where it runs out they are halved, and give what they would have given."""

from __future__ import annotations

import gc
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import xmodal_lab as xl
from xmodal_lab.training.stacking import fit_stack


@pytest.fixture(scope="module")
def digits() -> xl.Dataset:
    return xl.load("digits", modalities=("image", "audio"), images_per_class=13, clips_per_class=13)


def test_a_stack_is_halved_where_memory_runs_out(gpu: Any, digits: xl.Dataset) -> None:
    nets = [xl.LateFusion.for_dataset(digits, architecture="mlp", seed=s) for s in range(6)]
    size = sum(p.numel() for p in nets[0].parameters()) * 4
    asked: dict[str, Any] = {
        "epochs": 2, "pairing": "same_class", "seed": list(range(6)), "lr": [1e-3, 2e-3] * 3, "device": gpu.type,
    }  # fmt: skip
    expected = fit_stack(nets, digits, **asked)
    told = []
    # A member takes its weights, their gradients, Adam's two moments and what a step makes; six of them not at once.
    with gpu.limited(40 * size), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = fit_stack(nets, digits, on_epoch=told.append, **asked)
    (said,) = [str(w.message) for w in caught if "out of memory" in str(w.message)]
    assert said.startswith("out of memory for 6 members of a stack at once: went on with ")
    assert len(told) > asked["epochs"]
    for one, two in zip(found, expected, strict=True):
        assert isinstance(one, xl.training.Run) and isinstance(two, xl.training.Run)
        np.testing.assert_allclose(one.history["loss"], two.history["loss"], rtol=1e-5)
        assert one.score == two.score and one.settings["lr"] == two.settings["lr"]


def test_one_member_without_room_says_so(gpu: Any, digits: xl.Dataset) -> None:
    nets = [xl.LateFusion.for_dataset(digits, architecture="mlp", seed=s) for s in range(2)]
    with gpu.limited(1 << 16), pytest.raises(RuntimeError, match="out of memory"):
        fit_stack(nets, digits, epochs=1, device=gpu.type)


@pytest.mark.parametrize("paper", ["synergy", "uml", "cox"])
def test_members_of_a_paper_are_halved_too(gpu: Any, paper: str) -> None:
    """Their stacks are their own; what halves them is the sweep."""
    small = {"synergy": {"steps": 5, "teacher_steps": 5, "direction": "A→V"}, "uml": {"steps": 5},
             "cox": {"steps": 5, "perceptor_steps": 2}}[paper]  # fmt: skip
    asked: dict[str, Any] = {**small, "device": gpu.type, "progress": False, "how": "stacked"}
    xl.sweep(paper, seed=range(6), **asked)  # which puts there what is kept
    peaks = []
    for members in (1, 6):
        gc.collect()
        with gpu.counting() as seen:
            xl.sweep(paper, seed=range(members), **asked)
        peaks.append(seen["peak"])
    assert peaks[0] < peaks[1]
    gc.collect()
    room = sum(peaks) // 2 - gpu.counts()["bytes"]
    with gpu.limited(room), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = xl.sweep(paper, seed=range(6), **asked)
    said = [str(w.message) for w in caught if "members of a stack at once" in str(w.message)]
    at_once = int(re.findall(r"went on with (\d+)", said[-1])[0])
    assert at_once < 6
    # Beside stacks of the same size: others round otherwise, and rows on a border fall on its other side.
    parts = [range(first, min(first + at_once, 6)) for first in range(0, 6, at_once)]
    expected = xr.concat([xl.sweep(paper, seed=part, **asked) for part in parts], "seed")
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].values, values.values, rtol=2e-3, atol=1e-4)


def test_what_is_done_leaves_nothing_on_the_device(gpu: Any, digits: xl.Dataset) -> None:
    """What hangs in a circle stays there until Python looks for circles, and memory runs out before."""
    if gpu.type != "cuda":
        pytest.skip("only CUDA tells how much memory is taken")
    net = xl.LateFusion.for_dataset(digits, architecture="mlp")

    def stacked() -> None:
        fit_stack([net, net], digits, epochs=1, seed=[0, 1], device=gpu.type)

    def alone() -> None:
        xl.fit(net, digits, epochs=1, device=gpu.type)

    gc.collect()
    gc.disable()
    try:
        left = {}
        for do in (stacked, alone):
            before = torch.cuda.memory_allocated()
            do()
            left[do.__name__] = torch.cuda.memory_allocated() - before
    finally:
        gc.enable()
    assert max(left.values()) < 1 << 16, left
