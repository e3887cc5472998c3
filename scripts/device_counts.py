"""What each path costs a device: kernels launched, times that the host waits, copies. Written into docs/device.md.

    XMODAL_PRETEND_DEVICE=folder/of/pretend_device python scripts/device_counts.py --write

Counts are exact and say nothing of seconds: of small nets they decide them. The device is the one that the tests use.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import xmodal_lab as xl  # noqa: E402
from xmodal_lab.training.stacking import fit_stack  # noqa: E402

PAGE, START, END = ROOT / "docs" / "device.md", "<!-- counts:start -->", "<!-- counts:end -->"
ROWS, CLASSES = 48, 4
Count = dict[str, float]


class Transformer(nn.Module):
    """Two encoder layers on eight tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.head = nn.Linear(8, 16), nn.Linear(16, CLASSES)
        layers = [nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0) for _ in range(2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 4)."""
        return self.head(self.layers(self.into(x)).mean(1))  # type: ignore[no-any-return]


def perceptron() -> nn.Module:
    """Eight layers."""
    inner = [part for _ in range(6) for part in (nn.Linear(32, 32), nn.ReLU())]
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), *inner, nn.Linear(32, CLASSES))


def convolutions() -> nn.Module:
    """Four of them, each with BatchNorm."""
    sizes = [(1, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2)]
    parts = [p for a, b, s in sizes for p in (nn.Conv2d(a, b, 3, s, 1), nn.BatchNorm2d(b), nn.ReLU())]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP of 8 layers": (perceptron, (16,)),
    "CNN with BatchNorm": (convolutions, (1, 12, 12)),
    "transformer, 2 layers": (Transformer, (8, 8)),
}


def loss_of(name: str, device: str) -> xl.Loss:
    """Of a net of the table, on random rows."""
    torch.manual_seed(0)
    make, shape = NETS[name]
    x = torch.randn(ROWS, *shape, generator=torch.Generator().manual_seed(1))
    return xl.Loss.from_module(make().eval().to(device), (x, torch.arange(ROWS) % CLASSES))


def counted(gpu: Any, act: Callable[[], object]) -> Count:
    """Launches, waits and copies of one call."""
    with gpu.counting() as seen:
        act()
    return {"launches": seen["launches"], "waits": seen["waits"], "copies": seen["to_device"] + seen["to_host"]}


def each(gpu: Any, few: tuple[int, Callable[[], object]], many: tuple[int, Callable[[], object]]) -> Count:
    """Of one unit more: what ``many`` of them cost beyond ``few``."""
    less, more = counted(gpu, few[1]), counted(gpu, many[1])
    return {name: (more[name] - less[name]) / (many[0] - few[0]) for name in more}


def looks(gpu: Any, name: str) -> dict[str, Count]:
    """What instruments cost a net, after a first call, in which things are found out."""
    loss = loss_of(name, gpu.type)
    operator = xl.curvature.hessian(loss)
    vector = torch.ones(operator.size, device=gpu.type)
    jobs: dict[str, tuple[Callable[[int], object], int, int]] = {
        "a point of a plane": (lambda n: loss.along(pair, [[0.01 * k, 0.0] for k in range(n)]), 16, 48),
        "a draw of L_LPF": (lambda n: xl.flatness.lpf(loss, 0.1, samples=n), 16, 32),
        "a Hessian product": (lambda n: [operator.product(vector) for _ in range(n)], 1, 3),
        "a product of a trace": (lambda n: xl.curvature.trace(operator, probes=n), 16, 32),
        "a product of 4 probes' density": (lambda n: xl.curvature.density(operator, steps=n // 4, probes=4), 20, 40),
    }
    pair, found = xl.landscape.directions(loss, 2), {}
    for what, (job, few, many) in jobs.items():
        job(few)
        found[what] = each(gpu, (few, lambda job=job, n=few: job(n)), (many, lambda job=job, n=many: job(n)))
    products: list[int] = []
    whole = counted(gpu, lambda: products.append(xl.curvature.top_eigenvalues(operator, 5).hvps))
    found["a product of 5 eigenvalues"] = {k: v / products[0] for k, v in whole.items()}
    return found


def training(gpu: Any, architecture: str) -> dict[str, Count]:
    """What epochs of one net and of stacks cost; an epoch has two steps, or ten."""
    ds = xl.load("digits", modalities=("image", "audio"), images_per_class=13, clips_per_class=13)

    def nets(count: int) -> list[xl.LateFusion]:
        return [xl.LateFusion.for_dataset(ds, architecture=architecture, seed=s) for s in range(count)]

    def epoch(train: Callable[[int], object]) -> Count:
        train(1)
        return each(gpu, (2, lambda: train(2)), (4, lambda: train(4)))

    def alone(size: int) -> Count:
        asked: dict[str, Any] = {"batch_size": size, "pairing": "same_class", "device": gpu.type}
        return epoch(lambda n: xl.fit(nets(1)[0], ds, epochs=n, **asked))

    def stacked(size: int, count: int, **more: Any) -> Count:
        asked: dict[str, Any] = {"batch_size": size, "pairing": "same_class", "device": gpu.type, **more}
        return epoch(lambda n: fit_stack(nets(count), ds, epochs=n, seed=list(range(count)), **asked))

    def step(of: Callable[[int], Count]) -> Count:
        few, many = of(65), of(13)
        return {name: (many[name] - few[name]) / 8 for name in few}

    rates = {"lr": [1e-3, 2e-3, 3e-3, 4e-3]}
    return {
        "a step of fit": step(alone), "a step of a stack of 4": step(lambda size: stacked(size, 4)),
        "with a rate of its own for each": step(lambda size: stacked(size, 4, **rates)),
        "with augmentation": step(lambda size: stacked(size, 4, augment="jitter+crop")),
        "an epoch of a stack of 2": stacked(65, 2), "an epoch of a stack of 8": stacked(65, 8),
    }  # fmt: skip


def table(gpu: Any) -> str:
    """Markdown."""
    found = {f"{name} | {what}": count for name in NETS for what, count in looks(gpu, name).items()}
    for architecture in ("mlp", "cnn"):
        name = f"digits {architecture.upper()}, two modalities"
        found |= {f"{name} | {what}": count for what, count in training(gpu, architecture).items()}
    lines = [f"| {what} | {c['launches']:.3g} | {c['waits']:.2g} | {c['copies']:.2g} |" for what, c in found.items()]
    return "\n".join(["| net | path | launches | waits | copies |", "|---|---|--:|--:|--:|", *lines])


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--write", action="store_true", help="into docs/device.md; else printed")
    asked = ask.parse_args()
    folder = Path(os.environ["XMODAL_PRETEND_DEVICE"]).expanduser().resolve()
    sys.path.insert(0, str(folder.parent))
    gpu = importlib.import_module(folder.name).install("cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = table(gpu)
    if not asked.write:
        print(made)
        return 0
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    PAGE.write_text(f"{before}{START}\n{made}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
