"""What a caller has set for all of PyTorch changes no result, and what the library does leaves all of it as it was.

Every call of the fuzz tables with its good arguments, below ``torch.no_grad()``, in inference mode, and with float64
as the default; beside it the state of the random generators, of PyTorch and of the environment.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_fuzz_data
import test_fuzz_instruments
import test_fuzz_papers
import torch
from abuses import Call, no_shape_checks, numbers_of
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.models.evaluation import eval_mode
from xmodal_lab.utils.torch_state import seeded

ROOMS: dict[str, Callable[[], dict[str, Call]]] = {
    **test_fuzz_instruments.ROOMS,
    **test_fuzz_data.ROOMS,
    **test_fuzz_papers.ROOMS,
}
# Modules of PyTorch's kind: to make one draws its weights from the global generator, in the default dtype.
DRAW = ("encoders.", "fusion.", "one_tower.")


@contextlib.contextmanager
def double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": double_by_default,
}


@pytest.fixture(autouse=True)
def _as_users_have_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    test_fuzz_data.PLACE.mkdir(parents=True, exist_ok=True)
    with no_shape_checks(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def left() -> dict[str, Any]:
    """All that a call could leave changed."""
    numpy = np.random.get_state()
    return {
        "torch's generator": torch.get_rng_state().tolist(),
        "NumPy's generator": (numpy[1].tolist(), numpy[2]),
        "Python's generator": random.getstate(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "NumPy's errors": np.geterr(),
        "folder": Path.cwd(),
        "environment": {k: v for k, v in os.environ.items() if k.startswith(("XMODAL", "HF_", "OMP", "MKL"))},
    }


def compared(found: list[np.ndarray], expected: list[np.ndarray]) -> str:
    """How two results differ, in words; dtypes count."""
    if len(found) != len(expected):
        return f"{len(found)} arrays instead of {len(expected)}"
    for x, y in zip(found, expected, strict=True):
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"{x.dtype} {x.shape} instead of {y.dtype} {y.shape}"
        if x.dtype.kind in "biufc" and not np.allclose(x, y, rtol=1e-5, atol=1e-6, equal_nan=True):
            return f"{x.ravel()[:3]} instead of {y.ravel()[:3]}"
    return ""


@pytest.mark.parametrize("room", [pytest.param(r, marks=[pytest.mark.slow] * (r == "cox")) for r in ROOMS])
def test_the_surroundings_change_nothing_and_stay(room: str) -> None:
    import matplotlib.pyplot as plt

    wrong = []
    for name, call in ROOMS[room]().items():
        try:
            expected = [x.copy() for x in numbers_of(call)]
        except Exception:  # its good arguments are refused, before any work
            continue
        for what, surroundings in SURROUNDINGS.items():
            with surroundings():
                before = left()
                try:
                    found = numbers_of(call)
                except Exception as error:
                    wrong.append(f"{name} | {what}: {type(error).__name__}: {str(error)[:120]}")
                    continue
                after = left()
            draws = name.startswith(DRAW) and not call.guises
            if differs := "" if draws or not call.guises else compared(found, expected):
                wrong.append(f"{name} | {what}: {differs}")
            changed = [k for k in before if before[k] != after[k] and not (draws and k == "torch's generator")]
            if changed:
                wrong.append(f"{name} | {what}: changed {', '.join(changed)}")
        plt.close("all")
    assert not wrong, "\n".join(wrong)


def test_what_is_made_in_inference_mode_serves_outside() -> None:
    with torch.inference_mode():
        dataset = toy(24)
        net = xl.LateFusion.for_dataset(dataset, architecture="mlp", width=4)
        module = torch.nn.Linear(3, 2)
        loss = xl.Loss.from_module(module, (torch.ones(4, 3), torch.zeros(4).long()))
        xl.landscape.plane(loss, points=3)
    again = xl.LateFusion.for_dataset(dataset, architecture="mlp", width=4)
    runs = [xl.fit(n, dataset, pairing="same_class", epochs=2) for n in (net, again)]
    assert all(torch.equal(p, q) for p, q in zip(*(r.model.parameters() for r in runs), strict=True))
    assert bool(torch.as_tensor(xl.curvature.top_eigenvalues(loss, k=1).converged).all())
    assert xl.landscape.plane(loss, points=3).shape == (3, 3)


def test_a_robust_looking_model_is_not_what_inference_mode_makes() -> None:
    """A gradient that is missing there is no gradient of zero."""
    dataset = toy(24)
    run = xl.fit(xl.LateFusion.for_dataset(dataset, architecture="mlp"), dataset, epochs=3)
    attacks = []
    for surroundings in (contextlib.nullcontext, torch.inference_mode):
        with surroundings():
            attacks.append(xl.robustness.pgd(run.model, dataset.test, "image", eps=0.3))
    assert attacks[0].max_perturbation == attacks[1].max_perturbation == pytest.approx(0.3)
    assert attacks[0].adversarial_loss == attacks[1].adversarial_loss > attacks[0].clean_loss


def test_threads_draw_their_own_weights_and_not_the_users() -> None:
    """PyTorch has one generator for all threads; a sweep on a pool of threads draws from it in each."""
    dataset = toy(24)

    def drawn(seed: int) -> float:
        kind = (xl.LateFusion, xl.one_tower.OneTower)[seed % 2]
        return float(sum(p.detach().double().abs().sum() for p in kind.for_dataset(dataset, seed=seed).parameters()))

    alone = [drawn(seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            assert list(pool.map(drawn, range(24))) == alone
    taken = threading.Event()
    with ThreadPoolExecutor(1) as pool, seeded(3):
        other = pool.submit(lambda: taken.set() or drawn(0))
        taken.wait()
        mine = torch.rand(5)
    assert other.result() == alone[0]
    with seeded(3):
        assert torch.equal(torch.rand(5), mine)


def test_instruments_keep_their_precision_below_autocast() -> None:
    loss = xl.Loss.from_module(torch.nn.Linear(3, 4), (torch.rand(8, 3), torch.arange(8) % 4))
    a, b = torch.rand(9, 3), torch.rand(8, 3)
    measures: list[Callable[[], Any]] = [
        lambda: xl.curvature.top_eigenvalues(loss, k=3).values,
        lambda: xl.curvature.density(loss, steps=5, probes=2).nodes,
        lambda: xl.curvature.trace(loss, probes=4).value,
        lambda: xl.transport.w2(a, b, "sliced"),
        lambda: xl.transport.sliced_w2(a, b, projections=torch.eye(3)).value,
        lambda: xl.transport.cost_matrix(a, b),
        lambda: xl.metrics.functional_margin(a, b, torch.zeros(9).long()),
        lambda: xl.robustness.corrupt({"image": a.expand(2, 1, 9, 3)}, "image", "gaussian_blur", 3, kind="image")[
            "image"
        ],
    ]
    for measure in measures:
        expected = torch.as_tensor(measure())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = torch.as_tensor(measure())
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_threads_look_at_one_model_one_after_the_other() -> None:
    """To look at a model is to put it into eval mode and other tensors into its places, and two cannot do so at once."""
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 64), torch.nn.BatchNorm1d(64), torch.nn.Dropout(), torch.nn.Linear(64, 3)
    ).train()
    parameters, values = list(net.parameters()), [p.detach().clone() for p in net.parameters()]
    inputs = torch.rand(64, 6, generator=torch.Generator().manual_seed(0))
    loss = xl.Loss.from_module(net, (inputs, torch.arange(64) % 3))

    def looked(k: int) -> float:
        if k % 4 == 0:
            return float(loss({name: p + 0.1 * k for name, p in loss.params.items()}).detach())
        if k % 4 == 1:
            return xl.flatness.lpf(loss, sigma=0.1, samples=3, seed=k).value
        if k % 4 == 2:
            return xl.curvature.trace(loss, probes=2, seed=k).value
        return float(xl.landscape.line(loss, points=5, seed=k).sum())

    alone = [looked(k) for k in range(24)]
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)
        with ThreadPoolExecutor(6) as pool:
            for _ in range(5):
                assert list(pool.map(looked, range(24))) == pytest.approx(alone, rel=1e-5)
    finally:
        sys.setswitchinterval(before)
    assert all(p is q for p, q in zip(net.parameters(), parameters, strict=True))
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), values, strict=True))
    assert all(m.training for m in net.modules())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_wait_for_its_parents_threads() -> None:
    dataset = toy(24)
    net = xl.LateFusion.for_dataset(dataset, architecture="mlp", width=4)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with seeded(1), eval_mode(net):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            xl.training.evaluate(net, dataset.test)
            with seeded(2):
                os._exit(7)
        deadline = time.monotonic() + 60
        while (found := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        if found == (0, 0):
            os.kill(child, 9)
            os.waitpid(child, 0)
    finally:
        done.set()
        thread.join()
    assert os.waitstatus_to_exitcode(found[1]) == 7 and found[0] == child
