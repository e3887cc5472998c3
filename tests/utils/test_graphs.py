"""What becomes of a function that could be a CUDA graph: with an interface to CUDA that notes operations on the CPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import fake_cuda
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xmodal_lab as xl
from xmodal_lab.instruments.transport import scaling
from xmodal_lab.training.stacking import fit_stack
from xmodal_lab.utils import graphs
from xmodal_lab.utils.graphs import AFTER, MOST, Graphed


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> fake_cuda.Cuda:
    return fake_cuda.install(monkeypatch)


def numbers(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))


def test_it_is_recorded_after_a_few_calls_and_replayed_then(cuda: fake_cuda.Cuda) -> None:
    weight, called = torch.ones(3), []

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        called.append(len(x))
        return (x * weight).sum(1), x.argmax(1)

    graphed = Graphed(function, "a product")
    for k in range(AFTER + 3):
        sums, places = graphed(numbers(4, k))
        assert torch.equal(sums, (numbers(4, k) * weight).sum(1)) and torch.equal(places, numbers(4, k).argmax(1))
        assert len(cuda.graphs) == (k + 1 >= AFTER)
    before = len(called)
    weight += 1  # what a function reads beside its arguments stays where it is
    first, _ = graphed(numbers(4, 0))
    second, _ = graphed(numbers(4, 1))
    assert len(called) == before and torch.equal(first, 2 * numbers(4, 0).sum(1)) and not torch.equal(first, second)
    for rows in range(5, 5 + MOST):  # of each shape one, up to a number
        for k in range(AFTER + 1):
            assert torch.equal(graphed(numbers(rows, k))[0], 2 * numbers(rows, k).sum(1))
    assert len(cuda.graphs) == MOST


@pytest.mark.parametrize("how", ["fails", "strays", "draws", "raises", "no room"])
def test_what_cannot_be_recorded_runs_as_before_and_is_told_once(cuda: fake_cuda.Cuda, how: str) -> None:
    said = {"fails": "not permitted when stream is capturing", "strays": "other numbers", "draws": "draws random numbers",
            "raises": "a wait", "no room": "out of memory"}[how]  # fmt: skip

    def function(x: Tensor) -> tuple[Tensor]:
        if how == "draws":
            cuda.drawn += 1
        if how == "raises" and cuda.mode == "error":
            raise RuntimeError("a wait")
        if how == "no room" and cuda.mode == "error":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (x.double().cos() + x.square(),)

    cuda.fails, cuda.strays = how == "fails", how == "strays"
    for _ in range(2):  # the second one of that name does not try again
        graphed = Graphed(function, "a thing")
        for k in range(AFTER - 1):
            graphed(numbers(4, k))
        if "a thing" not in graphs._FAILED:
            with pytest.warns(UserWarning, match=f"a thing could not be recorded as a CUDA graph .*{said}"):
                found = graphed(numbers(4, 9))
        else:
            found = graphed(numbers(4, 9))
        assert torch.equal(found[0], function(numbers(4, 9))[0])
    assert cuda.mode == 0


def test_only_real_cuda_devices_record(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not graphs.may_record(cuda)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert graphs.may_record(cuda) and not graphs.may_record(torch.device("cpu"))
    monkeypatch.setenv("XMODAL_CUDA_GRAPHS", "0")
    assert not graphs.may_record(cuda)


def test_products_with_a_hessian_are_replayed(cuda: fake_cuda.Cuda) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 3))
    loss = xl.Loss.from_module(net, (numbers(12, 0), torch.arange(12) % 3))
    for make in (xl.curvature.hessian, xl.curvature.ggn, xl.curvature.fisher):
        operator, before = make(loss), cuda.replays
        matrix = operator.dense()
        assert cuda.replays > before + operator.size - AFTER
        torch.testing.assert_close(matrix, graphless(lambda m=make: m(loss).dense()), rtol=1e-5, atol=1e-7)


def graphless(do: Any) -> Any:
    """``do()`` without graphs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "may_record", lambda device: False)
        return do()


@pytest.mark.parametrize("architecture", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_stacked_steps_are_replayed(cuda: fake_cuda.Cuda, architecture: str) -> None:
    ds = xl.load("digits", modalities=("image", "audio"), images_per_class=13, clips_per_class=13)
    nets = [xl.LateFusion.for_dataset(ds, architecture=architecture, seed=s) for s in range(2)]
    asked: dict[str, Any] = {"epochs": 3, "batch_size": 26, "pairing": "same_class", "seed": [0, 1], "lr": [1e-3, 2e-3]}
    found = fit_stack(nets, ds, **asked)
    assert cuda.replays > 5
    for one, two in zip(found, graphless(lambda: fit_stack(nets, ds, **asked)), strict=True):
        np.testing.assert_allclose(one.history["loss"], two.history["loss"], rtol=1e-5)


def test_ipot_is_replayed(cuda: fake_cuda.Cuda) -> None:
    scaling._proximal_steps.cache_clear()
    costs = [torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(k)) for k in range(AFTER + 2)]
    expected = graphless(lambda: [xl.transport.ipot(cost).plan for cost in costs])
    for cost, plan in zip(costs, expected, strict=True):
        torch.testing.assert_close(xl.transport.ipot(cost).plan, plan)
    assert cuda.replays > 2
    scaling._proximal_steps.cache_clear()


def test_the_acceptance_script_judges_graphs(cuda: fake_cuda.Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parent.parent.parent
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setenv("XMODAL_CUDA_GRAPHS", "1")  # put back afterwards
    spec = importlib.util.spec_from_file_location("gpu_acceptance", root / "scripts" / "gpu_acceptance.py")
    assert spec is not None and spec.loader is not None
    accept = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(accept)
    monkeypatch.setattr(accept, "may_record", lambda device: False)
    assert accept.graphs("cpu", True)["skipped"]
    monkeypatch.setattr(accept, "may_record", lambda device: True)
    few = [p for p in accept.bench.paths() if "ipot" in p.name]
    monkeypatch.setattr(accept.bench, "paths", lambda: iter(few))
    scaling._proximal_steps.cache_clear()
    found = accept.graphs("cpu", True)
    assert found["ok"] and len(found) == 2 and cuda.replays
    cuda.fails = True
    scaling._proximal_steps.cache_clear()
    found = accept.graphs("cpu", True)
    assert not found["ok"] and any("could not be recorded" in str(told) for told in found.values())
    scaling._proximal_steps.cache_clear()
