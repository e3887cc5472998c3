"""One process per device: who stands where, without any GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy_experiments as toy

import xmodal_lab as xl
from xmodal_lab.sweeps import devices
from xmodal_lab.sweeps.workers import like
from xmodal_lab.utils import torch_state


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_state, "_SETTLED", [])


class Count:
    """Stands for a number that processes share."""

    value = 0

    def get_lock(self) -> torch.autograd.no_grad:
        return torch.no_grad()  # any context


def test_processes_take_devices_in_turn(settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "ignore_interrupt", lambda: None)
    monkeypatch.setattr(torch_state.check, "device", torch.device)  # as if there were such devices
    monkeypatch.setattr(torch.cuda, "set_device", lambda place: None)
    started, seen = Count(), []
    for _ in range(5):
        devices._begin(started, ("cuda:0", "cuda:1"))
        seen.append([str(torch_state.pick_device(name)) for name in ("auto", "cuda", "cuda:0", "cpu")])
    assert [row[0] for row in seen] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    assert all(row[1] == row[0] and row[2:] == ["cuda:0", "cpu"] for row in seen)


@pytest.mark.slow
def test_a_sweep_goes_through_them_and_a_broken_pool_is_made_anew(tmp_path: Path) -> None:
    asked = {"x": [0.0, 1.0, 2.0], "seed": [0, 1]}
    expected = xl.sweep(toy.CHEAP, progress=False, **asked)
    with xl.sweeps.Devices(["cpu", "cpu"]) as executor:
        found = xl.sweep(toy.CHEAP, executor=executor, progress=False, log=str(tmp_path / "log"), **asked)
        fresh = like(executor)
    assert isinstance(fresh, xl.sweeps.Devices) and fresh.devices == ("cpu", "cpu")
    fresh.shutdown()
    assert len(toy.lines(tmp_path / "log")) == 6
    for name in expected:
        assert found[name].equals(expected[name])


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="device 'cuda:93' cannot be used here"):
        xl.sweeps.Devices(["cpu", "cuda:93"])
    with pytest.raises(ValueError, match="devices is empty"):
        xl.sweeps.Devices([])
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"there is no CUDA device here; name the devices"):
            xl.sweeps.Devices()
