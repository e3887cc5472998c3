"""Parts of one member, some of them computed by a process beside: each once, the same numbers, and never lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import xmodal_lab as xl
from xmodal_lab.experiments import beside
from xmodal_lab.experiments.beside import Parts, Process, Shares

PATIENCE = 120.0  # a spawned process imports torch


class World:
    """A world of plain methods, which a process can load."""

    def where(self, number: int) -> tuple[int, int]:
        return number, os.getpid()

    def falls(self, number: int) -> None:
        raise ValueError(f"number {number}")

    def falls_there(self, parent: int) -> int:
        if os.getpid() != parent:
            raise ArithmeticError("only there")
        return parent

    def dies_there(self, parent: int) -> int:
        if os.getpid() != parent:
            os._exit(3)
        return parent


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    """A process that is up, as in a session where somebody follows."""
    made = Process()
    deadline = time.monotonic() + PATIENCE
    while not made.ready():
        assert time.monotonic() < deadline, "it does not start"
        time.sleep(0.05)
    yield made
    made.close()


@pytest.fixture
def two_cores(process: Process, monkeypatch: pytest.MonkeyPatch) -> Process:
    monkeypatch.setattr(beside, "PROCESS", process)
    monkeypatch.setattr(beside, "cores", lambda: 2)
    return process


@pytest.mark.slow
def test_each_part_is_computed_once_and_both_cores_take_from_one_queue(two_cores: Process) -> None:
    taken: list[tuple[int, int]] = []
    threads = torch.get_num_threads()
    with Parts(World(), beside=True) as parts:
        for number in range(6):
            parts.add("where", number, take=taken.append)
        deadline = time.monotonic() + PATIENCE
        while len(taken) < 2 and time.monotonic() < deadline:
            parts.come()  # as a training does between two epochs
        begun = len(taken)
        parts.rest()
    assert begun >= 2 and {pid for _, pid in taken[:begun]} != {os.getpid()}, "the process works while this one trains"
    assert sorted(number for number, _ in taken) == list(range(6))
    assert torch.get_num_threads() == threads


def test_without_a_process_all_is_computed_here_in_order() -> None:
    taken: list[tuple[int, int]] = []
    with Parts(World(), beside=False) as parts:
        for number in (1, 2):
            parts.add("where", number, take=taken.append)
        parts.add("where", 0, take=taken.append, first=True)
        parts.come()
        assert taken == []
        parts.rest()
    assert taken == [(number, os.getpid()) for number in range(3)]
    with Parts(World(), beside=False) as parts, pytest.raises(ValueError, match="number 7"):
        parts.add("falls", 7, take=taken.append)
        parts.rest()


@pytest.mark.slow
def test_what_goes_wrong_there_goes_well_here_or_says_what_is_wrong(two_cores: Process) -> None:
    taken: list[Any] = []
    here = os.getpid()
    with Parts(World(), beside=True) as parts:
        parts.add("falls_there", here, take=taken.append)
        parts.rest()
    with Parts(World(), beside=True) as parts, pytest.raises(ValueError, match="number 3"):
        parts.add("falls", 3, take=taken.append)
        parts.rest()
    local = type("Local", (World,), {})()  # no other process finds this class
    with Parts(local, beside=True) as parts:
        parts.add("where", 5, take=taken.append)
        parts.rest()
    assert taken == [here, (5, here)]


@pytest.mark.slow
def test_who_leaves_leaves_nothing_behind(two_cores: Process) -> None:
    """A reader who cancels while this process waits for the other one."""
    taken: list[Any] = []

    def leave() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), Parts(World(), beside=True) as parts:
        for number in range(3):
            parts.add("where", number, take=taken.append)
        parts._waiting.clear()
        parts._there = parts._there or beside._Part("where", (9,), taken.append)
        parts._came = beside.SimpleQueue()
        parts.rest(leave)
    with Parts(World(), beside=True) as parts:
        parts.add("where", 4, take=taken.append)
        parts.rest()
    assert [number for number, _ in taken] == [4]


@pytest.mark.slow
def test_a_process_that_died_is_replaced_and_its_part_computed_here() -> None:
    process, here = Process(), os.getpid()
    deadline = time.monotonic() + PATIENCE
    while not process.ready() and time.monotonic() < deadline:
        time.sleep(0.05)
    future = process.ask(World(), "dies_there", (here,))
    assert future is not None and future.exception(timeout=PATIENCE) is not None
    died = threading.Event()
    while not process.ready() and time.monotonic() < deadline:
        died.wait(0.05)
    again = process.ask(World(), "where", (1,))
    assert again is not None and again.result(timeout=PATIENCE)[0] == 1
    process.close()


def test_stages_side_by_side_never_go_back() -> None:
    said: list[tuple[float, str]] = []
    shares = Shares(lambda share, message="": said.append((share, message)), {"a": 0.25, "b": 0.75})
    shares.of("a")(0.5, "half of a")
    shares.of("b")(1.0, "all of b")
    shares.of("a")(1.0, "all of a")
    shares.of("b")(0.0, "a word")
    shares.again()
    assert said == [(0.125, "half of a"), (0.875, "all of b"), (1.0, "all of a"), (1.0, "a word"), (1.0, "a word")]
    assert not hasattr(shares.of("a"), "tell")


class Listening:
    """A report to somebody who looks on."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def __call__(self, *_: Any) -> None: ...

    def tell(self, found: dict[str, Any]) -> None:
        self.told |= found


@pytest.mark.slow
def test_a_bench_looked_on_finds_what_one_in_a_sweep_does(two_cores: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = two_cores.ask
    monkeypatch.setattr(two_cores, "ask", lambda world, method, args: asked.append(method) or ask(world, method, args))
    looks = {"density": True, "eigenvalues": 1, "gap": True, "rows": 60}
    shots = {"image": (1, 2), "text": (0, 1)}
    mine = xl.bench(looks=looks, isolines=shots, checkpoints=2, trajectory=3, epochs=4, data_seed=0)
    given = {"lam": 1.0, "share": 0.5}
    mine.prepare(given)
    alone = mine.compute(given)
    assert asked == ["first"]
    report = Listening()
    together = mine.compute(given, report)
    assert {"scores", "spectra"} & set(asked[1:]) and set(together) == set(alone) <= {*report.told, "why", *alone}
    assert together["why"] == alone["why"]
    for name in set(alone) - {"why"}:
        np.testing.assert_allclose(np.asarray(together[name]), np.asarray(alone[name]), rtol=1e-3, atol=1e-4)
    assert {"accuracy_at_shots", "curve_density"} <= set(report.told)
