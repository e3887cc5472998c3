"""Curvature side by side with what a user would write or install: eigenvalues, GGN and Fisher products, traces.

The peers are not dependencies. PyHessian needs ``--no-deps`` (it pulls torchvision). One that
cannot be imported is reported as not installed; one that cannot do the model, with its error.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

import xmodal_lab as xl
from benchmarks.models import Packed, TwoBranchCNN, TwoBranchMLP, batch, train
from benchmarks.timing import contest
from xmodal_lab import curvature
from xmodal_lab.instruments.curvature.operator import Operator

K = 5
TOLERANCE = 1e-3  # asked of everyone
TEN_LINES = "ten lines of PyTorch + eigsh"
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
        "cnn": ("CNN, GroupNorm", TwoBranchCNN, 60, samples, repeats),
        "cnn_batchnorm": ("CNN, BatchNorm", lambda: TwoBranchCNN("batch"), 60, samples, repeats),
        "mlp": ("MLP", TwoBranchMLP, 300, 1024, 3 * repeats),
    }
    table = []
    for name in models:
        path, make, steps, count, times = makers[name]
        torch.manual_seed(0)
        model = train(make(), steps)
        data = batch(model, count, seed=1)
        table += _eigenvalues(path, model, data, times, accurate)
        if name == "mlp":
            table += [*_again(path, model, data, times), *_relatives(model, data, times), *_traces(model, data, times)]
    return table


def _eigenvalues(path: str, model: nn.Module, data: Data, repeats: int, accurate: bool) -> list[dict[str, Any]]:
    truth = _reference(curvature.hessian(xl.Loss.from_module(model, data), dtype=torch.float64))
    contestants: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: _ours(model, data),
        TEN_LINES: lambda: _ten_lines(model, data),
        "PyHessian": partial(_pyhessian, model, data, tol=TOLERANCE, most=100),
        "curvlinops + eigsh": lambda: _with_curvlinops("HessianLinearOperator", model, data),
        "hessian-eigenthings": lambda: _eigenthings(model, data),
    }
    bars: dict[str, float | None] = {
        TEN_LINES: None, "PyHessian": 1 / 3, "curvlinops + eigsh": 0.6, "hessian-eigenthings": None,
    }  # fmt: skip
    if accurate:
        contestants["PyHessian, tol 1e-5"] = partial(_pyhessian, model, data, tol=1e-5, most=500)
        bars["PyHessian, tol 1e-5"] = 1 / 3
    return contest(contestants, repeats, bars, f"top-5 eigenvalues, {path}", lambda values: _error(values, truth))


def _again(path: str, model: nn.Module, data: Data, repeats: int) -> list[dict[str, Any]]:
    """The same of a loss whose derivatives were looked at before: that look is had once for each loss."""
    loss = xl.Loss.from_module(model, data)
    truth = _reference(curvature.hessian(loss, dtype=torch.float64))
    contestants: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: curvature.top_eigenvalues(loss, k=K, tol=TOLERANCE).values.numpy(),
        TEN_LINES: lambda: _ten_lines(model, data),
    }
    return contest(
        contestants,
        repeats,
        {TEN_LINES: None},
        f"top-5 eigenvalues, {path}, of a loss seen before",
        partial(_off, truth),
    )


def _relatives(model: nn.Module, data: Data, repeats: int) -> list[dict[str, Any]]:
    """The five largest eigenvalues of the GGN and of the empirical Fisher, MLP."""
    table, loss = [], xl.Loss.from_module(model, data)
    for of, theirs in (("ggn", "GGNLinearOperator"), ("fisher", "EFLinearOperator")):
        truth = _reference(getattr(curvature, of)(loss, dtype=torch.float64))
        contestants: dict[str, Callable[[], np.ndarray]] = {
            "ours": partial(_ours, model, data, of),
            "curvlinops + eigsh": partial(_with_curvlinops, theirs, model, data),
        }
        bars: dict[str, float | None] = {"curvlinops + eigsh": None}
        name = {"ggn": "GGN", "fisher": "empirical Fisher"}[of]
        table += contest(contestants, repeats, bars, f"top-5 of the {name}, MLP", partial(_off, truth))
    return table


def _traces(model: nn.Module, data: Data, repeats: int) -> list[dict[str, Any]]:
    """The Hessian's trace from 99 products; the truth is 300 of them by Hutch++ in float64."""
    loss = xl.Loss.from_module(model, data)
    truth = curvature.trace(loss, probes=300, method="hutch++", dtype=torch.float64, seed=7).value
    contestants: dict[str, Callable[[], float]] = {
        "ours": lambda: curvature.trace(xl.Loss.from_module(model, data), probes=99, method="hutch++").value,
        "ours, by Hutchinson": lambda: curvature.trace(xl.Loss.from_module(model, data), probes=99).value,
        "hessian-eigenthings, Hutch++": lambda: _eigenthings_trace(model, data),
    }
    bars: dict[str, float | None] = {"ours, by Hutchinson": None, "hessian-eigenthings, Hutch++": None}
    path = "trace from 99 products (Hutch++), MLP"
    return contest(contestants, repeats, bars, path, lambda value: abs(value - truth) / abs(truth))


def _off(truth: np.ndarray, values: np.ndarray) -> float:
    return _error(values, truth)


def _error(values: np.ndarray, truth: np.ndarray) -> float:
    return float(np.max(np.abs(values - truth) / np.abs(truth)))


def _reference(operator: Operator) -> np.ndarray:
    from scipy.sparse.linalg import LinearOperator, eigsh

    def matvec(vector: np.ndarray) -> np.ndarray:
        return operator.matvec(torch.from_numpy(vector.ravel())).numpy()

    linear = LinearOperator(operator.shape, matvec=matvec, dtype=np.float64)
    return np.sort(eigsh(linear, k=K, which="LA", tol=1e-4, return_eigenvectors=False))[::-1]


def _ours(model: nn.Module, data: Data, of: str = "hessian") -> np.ndarray:
    return curvature.top_eigenvalues(xl.Loss.from_module(model, data), k=K, tol=TOLERANCE, of=of).values.numpy()


def _ten_lines(model: nn.Module, data: Data) -> np.ndarray:
    """What a user writes: one retained double backward, and SciPy."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    params, (image, audio, labels) = list(model.parameters()), data
    slopes = torch.autograd.grad(nn.functional.cross_entropy(model(image, audio), labels), params, create_graph=True)
    flat = torch.cat([slope.reshape(-1) for slope in slopes])

    def matvec(vector: np.ndarray) -> np.ndarray:
        v = torch.from_numpy(np.ascontiguousarray(vector.ravel(), dtype=np.float32))
        return torch.cat([p.reshape(-1) for p in torch.autograd.grad(flat, params, v, retain_graph=True)]).numpy()

    linear = LinearOperator((len(flat), len(flat)), matvec=matvec, dtype=np.float32)
    return np.sort(eigsh(linear, k=K, which="LA", tol=TOLERANCE, return_eigenvectors=False))[::-1]


def _pyhessian(model: nn.Module, data: Data, tol: float, most: int) -> np.ndarray:
    from pyhessian import hessian

    image, audio, labels = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about backward with create_graph
        theirs = hessian(Packed(copy.deepcopy(model)), nn.CrossEntropyLoss(), data=((image, audio), labels), cuda=False)
    return np.sort(np.array(theirs.eigenvalues(maxIter=most, tol=tol, top_n=K)[0]))[::-1]


def _with_curvlinops(name: str, model: nn.Module, data: Data) -> np.ndarray:
    import curvlinops
    from scipy.sparse.linalg import LinearOperator, eigsh

    image, audio, labels = data
    theirs = getattr(curvlinops, name)(
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


def _eigenthings_operator(model: nn.Module, data: Data) -> Any:
    import hessian_eigenthings as peer

    image, audio, labels = data
    loss = peer.supervised_loss(nn.functional.cross_entropy)
    return peer.HessianOperator(Packed(model), [((image, audio), labels)], loss)


def _eigenthings(model: nn.Module, data: Data) -> np.ndarray:
    """30 steps: its default, 2 k, leaves errors of tens of percent, and it has no bound to stop by."""
    import hessian_eigenthings as peer

    found = peer.lanczos(_eigenthings_operator(model, data), k=K, max_iter=30, which="LA", seed=0)
    return np.sort(found.eigenvalues.detach().cpu().double().numpy())[::-1]


def _eigenthings_trace(model: nn.Module, data: Data) -> float:
    import hessian_eigenthings as peer

    return float(peer.hutch_plus_plus(_eigenthings_operator(model, data), num_matvecs=99, seed=0).estimate)


if __name__ == "__main__":
    for row in rows():
        print(row)
