"""Losses on an accelerator: data follow the model, odd modules go on, and memory that runs out is survived."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import xmodal_lab as xl


def rows(n: int = 24, width: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3


class Branches(nn.Module):
    """Asks a number which way to go."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.a(x)
        return z / 2 if z.abs().max() > 50 else z


class Masks(Branches):
    """Writes where a mask says so."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.a(x).clone()
        z[z > 0.3] = 0.3
        return z


class Reads(Branches):
    """Takes a number to the host."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.a(x)
        return z * (1 + z.detach().mean().item())


def norm() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def perceptron(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 3))


def looks(loss: xl.Loss) -> list[np.ndarray]:
    plane = xl.landscape.plane(loss, points=5)
    return [
        plane.values,
        xl.landscape.line(loss, points=5).values,
        np.array(xl.flatness.lpf(loss, 0.1, samples=3).value),
        np.array(float(plane.sel(a=0, b=0)) - plane.attrs["centre"]),
    ]


@pytest.mark.parametrize(
    ("make", "how"),
    [(perceptron, "keep"), (Branches, "keep"), (Masks, "keep"), (Reads, "keep"), (norm, "keep"), (norm, "recalibrate")],
)
def test_instruments_on_a_device_give_what_the_cpu_gives(gpu: Any, make: Any, how: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loss is not a mean over the rows")  # the masks and means look at all rows
        torch.manual_seed(0)
        module = make()
        expected = looks(xl.Loss.from_module(module, rows(), batchnorm=how))
        seen = looks(xl.Loss.from_module(module.to(gpu.type), rows(), batchnorm=how))
    for a, b in zip(seen, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_batches_and_samples_follow_the_model(gpu: Any) -> None:
    x, y = rows()
    module = perceptron()
    expected = xl.Loss.from_module(module, (x, y)).value()
    loader = DataLoader(TensorDataset(x, y), batch_size=8)
    loss = xl.Loss.from_module(module.to(gpu.type), loader)
    assert loss.value() == pytest.approx(expected, rel=1e-5)
    assert {t.device.type for batch in loss.batches for t in batch} == {gpu.type}
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=20, n_test=10)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp")
    here, score = xl.loss_on(net, ds.test).value(), xl.training.evaluate(net, ds.test)
    assert xl.loss_on(net.to(gpu.type), ds.test).value() == pytest.approx(here, rel=1e-5)
    assert xl.training.evaluate(net, ds.test) == pytest.approx(score, rel=1e-5)
    assert xl.loss_on(net, ds.test.to(gpu.type)).value() == pytest.approx(here, rel=1e-5)
    assert xl.loss_on(net.cpu(), ds.test.to(gpu.type)).value() == pytest.approx(here, rel=1e-5)


@pytest.mark.parametrize("room", [100, 40, 20])
def test_a_plane_survives_out_of_memory(gpu: Any, room: int) -> None:
    x, y = rows(4096, 64)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    table = [[0.1 * i] for i in range(20)]
    cpu = xl.Loss.from_module(module, (x, y))
    direction = {k: torch.ones_like(p) for k, p in cpu.params.items()}
    expected = cpu.along([direction], table)
    loss = xl.Loss.from_module(module.to(gpu.type), (x, y))
    with gpu.limited(room << 20), pytest.warns(UserWarning, match=r"out of memory: going on with \d points at a time"):
        seen = loss.along([direction], table)
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)


def test_rows_are_halved_when_one_point_is_too_much(gpu: Any) -> None:
    x, y = rows(4096, 64)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    expected = xl.Loss.from_module(module, (x, y)).value()
    loss = xl.Loss.from_module(module.to(gpu.type), (x, y))
    loss.data.look()
    said = r"out of memory: going on with (\d+) samples at a time"
    with gpu.limited(3 << 20):
        with pytest.warns(UserWarning, match=said):
            assert loss.value() == pytest.approx(expected, rel=1e-5)
        with pytest.warns(UserWarning, match=said):
            plane = xl.landscape.plane(loss, points=3)
    assert float(plane.sel(a=0, b=0)) == pytest.approx(expected, rel=1e-5)


def test_a_point_of_a_plane_launches_few_kernels(gpu: Any) -> None:
    """Parameters of 16 points move together; one after the other each point took 52 launches for this net."""
    loss = xl.Loss.from_module(perceptron().to(gpu.type), rows())
    pair = xl.landscape.directions(loss, 2)
    table = [[0.1 * i, 0.2 * i] for i in range(64)]
    loss.along(pair, table)
    with gpu.counting() as seen:
        loss.along(pair, table)
    assert seen["launches"] < 8 * len(table)


def test_a_basis_takes_no_more_than_there_is(gpu: Any) -> None:
    """300 vectors of this net are 12 MB; with less left, eigenvalues restart more often and are the same."""
    if gpu.type != "cuda":
        pytest.skip("only CUDA tells how much memory is left")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    x, y = rows(64, 64)
    expected = xl.curvature.top_eigenvalues(xl.Loss.from_module(module, (x, y)), 1)
    loss = xl.Loss.from_module(module.to(gpu.type), (x, y))
    loss.data.look()
    with gpu.limited(8 << 20):
        seen = xl.curvature.top_eigenvalues(loss, 1)
    np.testing.assert_allclose(seen.values, expected.values, rtol=1e-3)


class Recurrent(nn.Module):
    """Notes which kernels it would get; the layer itself has none on a pretend device."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head, self.cudnn = nn.LSTM(8, 8), nn.Linear(8, 3), set[bool]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.cudnn.add(torch.backends.cudnn.enabled)
        return self.head(torch.tanh(x @ self.rnn.weight_hh_l0[:8]))


def test_recurrent_layers_are_looked_at_without_cudnn(gpu: Any) -> None:
    """Its kernels have no gradient in eval mode, in which models are looked at, and never a second one."""
    torch.manual_seed(0)
    module = Recurrent()
    for place in ("cpu", gpu.type):
        with warnings.catch_warnings():  # that there is no cuDNN
            warnings.simplefilter("ignore")
            module.to(place).cudnn.clear()
        before = torch.backends.cudnn.enabled
        loss = xl.Loss.from_module(module, rows())
        xl.curvature.trace(loss, probes=2)
        xl.robustness.pgd(module, rows(), "input", 0.1, iterations=1)
        assert module.cudnn == {place != "cuda"} and torch.backends.cudnn.enabled == before


def test_members_and_ways_between_states_survive_little_memory(gpu: Any) -> None:
    """Each is asked for with a part of the memory that it takes when there is enough."""
    x, y = rows(2048)
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(8, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 3))
    module = wide.to(gpu.type)
    loss = xl.Loss.from_module(module, (x, y))
    stacked = {n: torch.stack([(1 + 0.01 * k) * p.detach() for k in range(12)]) for n, p in loss.params.items()}
    there = {n: 1.1 * t if t.is_floating_point() else t for n, t in module.state_dict().items()}
    jobs = {
        ("members of a stack at once", 0.3): lambda: loss.many(stacked).detach().cpu(),
        ("samples at a time", 0.5): lambda: torch.as_tensor(xl.landscape.line(loss, 5, to=there).values),
    }
    for (told, share), job in jobs.items():
        expected = job()
        with gpu.counting() as seen:
            job()
        room = int(share * (seen["peak"] - seen["bytes"]))
        with gpu.limited(room), pytest.warns(UserWarning, match=told):
            found = job()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
