"""The library's paths on a device: what ``--device`` times, and what ``scripts/gpu_acceptance.py`` judges.

Each path is a job at two sizes: a small one, which the CPU does as well, for the agreement of the two; and the one
that is timed on the device. Goals are for an H200, in seconds.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import xmodal_lab as xl
from xmodal_lab.sweeps.experiment import get
from xmodal_lab.training.stacking import fit_stack

from . import models

Job = Callable[[], Any]


@dataclass(frozen=True)
class Path:
    """One path.

    Attributes:
        name: as tables write it.
        job: (device, small) -> what is run; gives numbers.
        tolerance: of |device - CPU| / max |CPU|, at the small size.
        goal: seconds on an H200, if any.
        repeats: timed runs, after one that is not.
        most_gib: memory that the goal is to be met within, if any.
        graphed: whether it repeats what may be a CUDA graph.
    """

    name: str
    job: Callable[[str, bool], Job]
    tolerance: float = 1e-3
    goal: float | None = None
    repeats: int = 3
    most_gib: float | None = None
    graphed: bool = False


def _digits() -> xl.Dataset:
    return xl.load("digits", modalities=("image", "audio"))


def _stack(members: int, architecture: str, pairing: str) -> Callable[[str, bool], Job]:
    def job(device: str, small: bool) -> Job:
        ds, count = _digits(), 3 if small else members
        nets = [xl.LateFusion.for_dataset(ds, architecture=architecture, fusion="concat_linear", seed=0)] * count
        asked = {"pairing": pairing, "epochs": 2 if small else 60, "seed": list(range(count)), "device": device}
        return lambda: [run.history["loss"].to_numpy() for run in fit_stack(nets, ds, **asked)]  # type: ignore[union-attr]

    return job


def _fit(device: str, small: bool) -> Job:
    ds = _digits()
    net = xl.LateFusion.for_dataset(ds)
    return lambda: xl.fit(net, ds, epochs=2 if small else 20, device=device).history["loss"].to_numpy()


def _cnn(device: str, rows: int, norm: str = "group") -> xl.Loss:
    torch.manual_seed(0)
    module = models.TwoBranchCNN(norm).eval()
    image, audio, labels = models.batch(module, rows)
    there = copy.deepcopy(module).to(device)
    return xl.Loss.from_module(there, (image.to(device), audio.to(device), labels.to(device)))


def _plane(device: str, small: bool) -> Job:
    loss = _cnn(device, 8 if small else 1000)
    return lambda: xl.landscape.plane(loss, points=3 if small else 41)


def _eigenvalues(device: str, small: bool) -> Job:
    loss = _cnn(device, 4 if small else 1000)
    return lambda: xl.curvature.top_eigenvalues(loss, 1 if small else 5).values


def _product(device: str, small: bool) -> Job:
    operator = xl.curvature.hessian(_cnn(device, 4 if small else 1000))
    vector = torch.randn(operator.size, generator=torch.Generator().manual_seed(0)).to(device)
    return lambda: operator.matvec(vector)


def _trace(device: str, small: bool) -> Job:
    loss = _cnn(device, 4 if small else 1000)
    return lambda: xl.curvature.trace(loss, probes=2 if small else 32).value


def _lpf(device: str, small: bool) -> Job:
    loss = _cnn(device, 8 if small else 1000)
    return lambda: xl.flatness.lpf(loss, 0.1, samples=4 if small else 64, noise="filter").value


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(inside, outside, 3, stride, 1), nn.Conv2d(outside, outside, 3, 1, 1)
        self.first, self.second = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
        same = stride == 1 and inside == outside
        self.beside = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.two(F.relu(self.first(self.one(x))))) + self.beside(x))


def resnet18() -> nn.Module:
    """ResNet-18 for pictures of 32x32 (He et al. 2016), 11 million parameters."""
    sizes = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    blocks = [_Block(*size) for size in [*sizes, (512, 512, 1)]]
    stem = [nn.Conv2d(3, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def _resnet(device: str, small: bool) -> Job:
    torch.manual_seed(0)
    rows = 4 if small else 10_000
    module = resnet18().eval().to(device)
    x = torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    loss = xl.Loss.from_module(module, (x.to(device), (torch.arange(rows) % 10).to(device)))
    return lambda: xl.landscape.plane(loss, points=3 if small else 21)


def _transport(name: str) -> Callable[[str, bool], Job]:
    def job(device: str, small: bool) -> Job:
        draw, (n, p, q) = torch.Generator().manual_seed(0), (4, 8, 9) if small else (128, 40, 196)
        x, y = (torch.randn(n, k, 64, generator=draw).to(device) for k in (p, q))

        def both_ways() -> Tensor:
            z = x.clone().requires_grad_()
            getattr(xl.transport, name)(xl.transport.cost_matrix(z, y)).value.sum().backward()
            assert z.grad is not None
            return z.grad

        return both_ways

    return job


def _w2(device: str, small: bool) -> Job:
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(20 if small else 2000, 64, generator=draw).to(device) + k for k in (0, 0.5))
    return lambda: torch.stack([xl.transport.w2(a, b, how) for how in ("gaussian", "sliced", "entropic")])


def _pgd(device: str, small: bool) -> Job:
    ds = _digits()
    net, test = xl.LateFusion.for_dataset(ds).to(device), ds.test.subset(slice(0, 20)) if small else ds.test
    return lambda: xl.robustness.pgd(net, test, "image", 0.1, iterations=2 if small else 20, seed=0).adversarial_loss


PAPER = {
    "dml": {"epochs": 2, "choose": "last", "landscape_points": 3, "eigenvalues": 1},
    "synergy": {"steps": 20, "teacher_steps": 20},
    "uml": {"steps": 20},
    "cox": {"steps": 20, "perceptor_steps": 3},
    "wma": {"n_train": 60, "n_val": 20, "n_test": 20, "steps": 5, "pretraining": 5, "alpha": 0.5},
    "bench": {"epochs": 2},
}


def _paper(name: str) -> Callable[[str, bool], Job]:
    def job(device: str, small: bool) -> Job:
        experiment = get(name)

        def compute() -> list[Any]:
            return list(experiment.compute({**PAPER[name], "device": device}).values())

        return compute

    return job


def paths() -> Iterator[Path]:
    """All of them, what is judged by a goal first."""
    yield Path("256 digits MLPs, 60 epochs, fixed pairs", _stack(256, "mlp", "fixed"), goal=1.0, graphed=True)
    yield Path("256 digits MLPs, 60 epochs, pairs drawn by class", _stack(256, "mlp", "same_class"), goal=1.0)
    yield Path("41x41 plane, CNN of 150k, 1,000 rows", _plane, goal=1.0)
    yield Path("top 5 eigenvalues, CNN of 150k, 1,000 rows", _eigenvalues, goal=1.0, graphed=True)
    yield Path("21x21 plane, ResNet-18, 10,000 rows", _resnet, goal=60.0, repeats=1, most_gib=40.0)
    for name in ("sinkhorn", "ipot", "emd"):
        long = f"128 transports 40x196, {name}, forward and backward"
        yield Path(long, _transport(name), goal=0.02, repeats=5, graphed=name == "ipot")
    yield Path("16 digits CNNs, 60 epochs", _stack(16, "cnn", "fixed"), repeats=1)
    yield Path("one digits CNN, 20 epochs", _fit, repeats=2)
    yield Path("one Hessian product, CNN of 150k, 1,000 rows", _product, repeats=9)
    yield Path("trace, 32 probes, CNN of 150k, 1,000 rows", _trace)
    yield Path("LPF, 64 samples, CNN of 150k, 1,000 rows", _lpf)
    yield Path("W2 of 2,000 points: gaussian, sliced, entropic", _w2)
    yield Path("PGD, 20 steps, digits CNN", _pgd)
    for name in PAPER:
        yield Path(f"{name}, one short member", _paper(name), tolerance=0.05, repeats=1)


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    kind = torch.device(device).type
    if kind in ("cuda", "mps"):
        getattr(torch, kind).synchronize()


def timed(job: Job, device: str, repeats: int) -> float:
    """Median seconds of ``job``, the device's work included, after one run that is not counted."""
    job()
    took = []
    for _ in range(repeats):
        wait(device)
        began = time.perf_counter()
        job()
        wait(device)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def flat(found: Any) -> np.ndarray:
    """All numbers of a result, in one row."""
    if isinstance(found, (list, tuple)):
        return np.concatenate([flat(part) for part in found]) if found else np.zeros(0)
    plain = found.detach().cpu().numpy() if isinstance(found, Tensor) else getattr(found, "values", found)
    return np.asarray(plain, dtype=float).ravel()


def agreement(path: Path, device: str) -> tuple[float, float]:
    """Largest difference from the CPU at the small size, over the largest number there; seconds on the device."""
    here, job = flat(path.job("cpu", True)()), path.job(device, True)
    wait(device)
    began = time.perf_counter()
    there = flat(job())
    wait(device)
    took = time.perf_counter() - began
    if here.shape != there.shape or not (np.isfinite(here) == np.isfinite(there)).all():
        return float("inf"), took
    here, there = np.nan_to_num(here, posinf=0, neginf=0), np.nan_to_num(there, posinf=0, neginf=0)
    return float(np.abs(here - there).max(initial=0) / max(np.abs(here).max(initial=0), 1e-30)), took


def rows(
    device: str, repeats: int | None = None, small: bool = False, only: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The table of ``python -m benchmarks --device``: seconds there, and the agreement with the CPU.

    ``small`` takes the sizes of the comparison, once; ``only`` the paths whose names hold one of these words.
    """
    found = []
    for path in (p for p in paths() if not only or any(word in p.name for word in only)):
        agree, once = agreement(path, device)
        took = once if small else timed(path.job(device, small), device, repeats or path.repeats)
        found.append({
            "path": path.name, "device": device, "ours_ms": 1e3 * took, "peer": "goal", "peer_ms": None, "ratio": None,
            "bar": None, "error": agree, "n_repeats": repeats or path.repeats,
            "note": "–" if path.goal is None else f"goal {1e3 * path.goal:.0f} ms",
        })  # fmt: skip
    return found
