"""Top-5 Hessian eigenvalues, side by side with PyHessian and with curvlinops + eigsh.

The peers are not dependencies. PyHessian needs ``--no-deps`` (it pulls torchvision). One that
cannot be imported is reported as not installed; one that cannot do the model, with its error.
"""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

import xmodal_lab as xl
from benchmarks.models import Packed, TwoBranchCNN, TwoBranchMLP, batch, train
from xmodal_lab import curvature

K = 5
TOLERANCE = 1e-3  # asked of everyone
Data = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def rows(
    repeats: int = 3,
    samples: int = 24,
    models: tuple[str, ...] = ("cnn", "cnn_batchnorm", "mlp"),
    accurate: bool = False,
) -> list[dict[str, Any]]:
    """One row per model and peer: times in ms, ours / theirs, the bar, the worst relative error of the five.

    Errors are against eigsh on float64 products. On one thread, in processor time, which other
    programs on the machine disturb less; contestants alternate ``repeats`` times (the MLP three
    times as often). PyHessian as shipped stops when two steps differ by 1e-3, at errors of about
    1e-2; ``accurate`` adds it with 1e-5, where it comes near the 1e-3 that the bar asks for.
    """
    makers: dict[str, tuple[str, Callable[[], nn.Module], int, int, int]] = {
        "cnn": ("top-5 eigenvalues, CNN, GroupNorm", TwoBranchCNN, 60, samples, repeats),
        "cnn_batchnorm": ("top-5 eigenvalues, CNN, BatchNorm", lambda: TwoBranchCNN("batch"), 60, samples, repeats),
        "mlp": ("top-5 eigenvalues, MLP", TwoBranchMLP, 300, 1024, 3 * repeats),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [row for name in models for row in _compare(*makers[name], accurate)]
    finally:
        torch.set_num_threads(threads)


def _compare(
    path: str, make: Callable[[], nn.Module], steps: int, samples: int, repeats: int, accurate: bool
) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    model = train(make(), steps)
    data = batch(model, samples, seed=1)
    truth = _reference(model, data)
    contestants: dict[str, Callable[[nn.Module, Data], np.ndarray]] = {
        "ours": _ours,
        "PyHessian": partial(_pyhessian, tol=TOLERANCE, most=100),
        "curvlinops + eigsh": _curvlinops,
    }
    bars = {"PyHessian": 1 / 3, "curvlinops + eigsh": 0.6}
    if accurate:
        contestants["PyHessian, tol 1e-5"] = partial(_pyhessian, tol=1e-5, most=500)
        bars["PyHessian, tol 1e-5"] = 1 / 3
    times: dict[str, list[float]] = {name: [] for name in contestants}
    values: dict[str, np.ndarray] = {}
    failed: dict[str, str] = {}
    for _ in range(repeats):
        for name, run in contestants.items():
            if name in failed:
                continue
            try:
                begin = time.process_time()
                values[name] = run(model, data)
                times[name].append(1e3 * (time.process_time() - begin))
            except ImportError:
                failed[name] = "not installed"
            except (RuntimeError, NotImplementedError, TypeError) as error:
                failed[name] = f"fails: {str(error).splitlines()[0][:64]} …"
    ours = statistics.median(times["ours"])
    table = []
    for peer, bar in bars.items():
        theirs = statistics.median(times[peer]) if peer not in failed else None
        table.append(
            {
                "path": path,
                "ours_ms": ours,
                "peer_ms": theirs,
                "peer": peer,
                "note": failed.get(peer),
                "ratio": ours / theirs if theirs else None,
                "bar": bar,
                "error": _error(values["ours"], truth),
                "peer_error": _error(values[peer], truth) if theirs else None,
                "n_repeats": repeats,
            }
        )
    return table


def _error(values: np.ndarray, truth: np.ndarray) -> float:
    return float(np.max(np.abs(values - truth) / np.abs(truth)))


def _reference(model: nn.Module, data: Data) -> np.ndarray:
    from scipy.sparse.linalg import LinearOperator, eigsh

    operator = curvature.hessian(xl.Loss.from_module(model, data), dtype=torch.float64)

    def matvec(vector: np.ndarray) -> np.ndarray:
        return operator.matvec(torch.from_numpy(vector.ravel())).numpy()

    linear = LinearOperator(operator.shape, matvec=matvec, dtype=np.float64)
    return np.sort(eigsh(linear, k=K, which="LA", tol=1e-4, return_eigenvectors=False))[::-1]


def _ours(model: nn.Module, data: Data) -> np.ndarray:
    return curvature.top_eigenvalues(xl.Loss.from_module(model, data), k=K, tol=TOLERANCE).values.numpy()


def _pyhessian(model: nn.Module, data: Data, tol: float, most: int) -> np.ndarray:
    from pyhessian import hessian

    image, audio, labels = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about backward with create_graph
        theirs = hessian(Packed(copy.deepcopy(model)), nn.CrossEntropyLoss(), data=((image, audio), labels), cuda=False)
    return np.sort(np.array(theirs.eigenvalues(maxIter=most, tol=tol, top_n=K)[0]))[::-1]


def _curvlinops(model: nn.Module, data: Data) -> np.ndarray:
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import LinearOperator, eigsh

    image, audio, labels = data
    theirs = HessianLinearOperator(
        Packed(model),
        nn.CrossEntropyLoss(),
        list(model.parameters()),
        [((image, audio), labels)],
        check_deterministic=False,
        batch_size_fn=lambda inputs: len(inputs[0]),
    )

    def matvec(vector: np.ndarray) -> np.ndarray:
        return (theirs @ torch.from_numpy(np.ascontiguousarray(vector.ravel()))).detach().numpy()

    linear = LinearOperator(theirs.shape, matvec=matvec, dtype=np.float32)
    return np.sort(eigsh(linear, k=K, which="LA", tol=TOLERANCE, return_eigenvectors=False))[::-1]


if __name__ == "__main__":
    for row in rows():
        print(row)
