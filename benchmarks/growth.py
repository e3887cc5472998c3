"""How paths grow: each at 1, 2, 4 and 8 times its size, ``python -m benchmarks.growth [--only NAME ...] [--write]``.

Each path has an interpreter of its own, which imports and warms up, and a fork of it for each size. Time is processor
time on one thread; memory is the system's own count, the peak of resident memory (VmHWM, which is set back before the
call; else ru_maxrss) less what was resident before it. An exponent p is the slope of a line through the logarithms:
size^p. ``--write`` puts the table into ``docs/speed.md``.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .before import HEAD, PAGE, ROOT, TAIL, TOY, run

START, END = "<!-- growth:start -->", "<!-- growth:end -->"
# Less than this is the allocator's, and no exponent is told of it (ours).
LEAST_MB = 8.0

GROWN = """
import ctypes, os
from torch import nn
g = torch.Generator().manual_seed(0)

def peak_set_back():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass

def peak():
    with open("/proc/self/status") as file:
        lines = [line for line in file if line.startswith("VmHWM")]
    return 1024 * int(lines[0].split()[1]) if lines else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def measured(work):
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps would hide what is asked of it
    except (OSError, AttributeError):
        pass
    peak_set_back()
    before, times = resident(), []
    for run in range(5):
        began = time.process_time()
        found = work()
        times.append(time.process_time() - began)
        if not run:
            extra = peak() - before
        if sum(times) > (0.3 if run > 1 else 1):
            break
    return {"ms": 1e3 * sorted(times)[len(times) // 2], "MB": max(0, extra) / 1e6}

def grown(make, sizes):
    for _, work, _ in make(sizes[0]):
        work()
    for size in sizes:
        reads, writes = os.pipe()
        if not os.fork():
            rows = {name: {"size": n, **measured(work)} for name, work, n in make(size)}
            with os.fdopen(writes, "w") as file:
                json.dump(rows, file)
            os._exit(0)
        os.close(writes)
        with os.fdopen(reads) as file:
            text = file.read()
        os.wait()
        for name, row in json.loads(text).items():
            told.setdefault(name, []).append(row)

def mlp(parameters):
    width = max(8, round((parameters + 1024) ** 0.5) - 32)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    x, y = torch.randn(256, 64, generator=g), torch.arange(256) % 10
    return xl.Loss.from_module(net, (x, y))

def clouds(n):
    return torch.randn(n, 64, generator=g), 0.2 + torch.randn(n, 64, generator=g)
"""

STORE = """
sys.path.insert(0, sys.argv[1])
from toy_of_speed import TOY
import xarray as xr

def make(size):
    folder = tempfile.mkdtemp(dir=sys.argv[1])
    axes = {"a": [i / 10 for i in range(size // 10)], "b": range(10)}
    place = [folder, 0]
    def filled():
        place[1] += 1
        return xl.sweep(TOY, store=f"{folder}/{place[1]}.zarr", progress=False, **axes)
    def resumed():
        return xl.sweep(TOY, store=f"{folder}/1.zarr", progress=False, **axes)
    def loaded():
        return xr.open_zarr(f"{folder}/1.zarr/compact", chunks=None).load()
    yield "store filled", filled, size
    yield "store resumed", resumed, size
    yield "store loaded", loaded, size

grown(make, SIZES)
"""
CLOUDS = """
def make(size):
    a, b = clouds(size)
    yield "CALLED", lambda: WORK, size
grown(make, SIZES)
"""
IPOT = """
def make(size):
    cost = torch.rand(size, 40, 196, generator=g)
    yield "IPOT, 40x196, 50 steps", lambda: xl.transport.ipot(cost), size
grown(make, SIZES)
"""
PLANE = """
def make(size):
    side = 2 * round((size**0.5 - 1) / 2) + 1
    loss = mlp(20_000)
    yield "plane, MLP of 20k", lambda: xl.landscape.plane(loss, side), side**2
grown(make, SIZES)
"""
PLANE_PARAMETERS = """
def make(size):
    loss = mlp(size)
    yield "plane 5x5, MLP", lambda: xl.landscape.plane(loss, 5), loss.size
grown(make, SIZES)
"""
PATH = """
def path_of(loss, checkpoints):
    draw = torch.Generator().manual_seed(1)
    def near(p, i):
        return p + 0.1 * (i / checkpoints) * torch.randn(p.shape, generator=draw)
    return [{n: near(p, i + 1) for n, p in loss.params.items()} for i in range(checkpoints)]
"""
TRAJECTORY = (
    PATH
    + """
def make(size):
    side = 2 * round((size**0.5 - 1) / 2) + 1
    loss = mlp(20_000)
    path = path_of(loss, 8)
    yield "trajectory_plane, MLP of 20k", lambda: xl.landscape.trajectory_plane(loss, path, side), side**2
grown(make, SIZES)
"""
)
TRAJECTORY_PARAMETERS = (
    PATH
    + """
def make(size):
    loss = mlp(size)
    path = path_of(loss, 8)
    yield "trajectory_plane 5x5, 8 checkpoints", lambda: xl.landscape.trajectory_plane(loss, path, 5), loss.size
grown(make, SIZES)
"""
)
CHECKPOINTS = (
    PATH
    + """
def make(size):
    loss = mlp(500_000)
    path = path_of(loss, size)
    yield "trajectory_plane 5x5, MLP of 500k", lambda: xl.landscape.trajectory_plane(loss, path, 5), size
grown(make, SIZES)
"""
)
EIGENVALUES = """
def make(size):
    loss = mlp(size)
    yield "top_eigenvalues, MLP", lambda: xl.curvature.top_eigenvalues(loss.at(loss.params)), loss.size
grown(make, SIZES)
"""
STACK = """
from xmodal_lab.training.stacking import fit_stack
ds = xl.load("digits", modalities=("image", "audio"))
def make(size):
    nets = [xl.LateFusion.for_dataset(ds, architecture="mlp", seed=k) for k in range(size)]
    yield "a stack of digits MLPs, 2 epochs", lambda: fit_stack(nets, ds, seed=list(range(size)), epochs=2), size
grown(make, SIZES)
"""
PGD = """
ds = xl.load("digits", modalities=("image", "audio"))
net = xl.LateFusion.for_dataset(ds, architecture="cnn", seed=0)
def make(size):
    few = ds.test.subset(torch.arange(size) % len(ds.test))
    yield "PGD on the picture, ten steps, CNN", lambda: xl.robustness.pgd(net, few, "image", 0.1), size
grown(make, SIZES)
"""
RATE = """
import numpy as np
images, texts = np.array([1, 2, 4, 8]), np.array([0, 5, 10])
noise = np.random.default_rng(0).standard_normal((4, 3, 5))
accuracy = (0.4 + 0.02 * images[:, None] + 0.004 * texts)[..., None] + 0.001 * noise
def make(size):
    options = {"words_per_text": 8, "interval": "bootstrap", "resamples": size}
    rate = xl.information.exchange_rate
    yield "exchange rate with isolines", lambda: rate(accuracy, images, texts, **options).isolines(), size
grown(make, SIZES)
"""
EXPLORE = """
import numpy as np, xarray as xr
from xmodal_widgets import explore
def make(size):
    values = np.random.default_rng(0).standard_normal((10, 10, size // 10_000, 100))
    cube = xr.DataArray(values, dims=("alpha", "beta", "seed", "epoch"), name="loss")
    cube = cube.assign_coords({d: np.arange(n) for d, n in cube.sizes.items()})
    yield "explore(cube)", lambda: explore(cube), size
grown(make, SIZES)
"""


def paths() -> dict[str, tuple[str, str, int]]:
    """Of each path its program, what it grows with, and the size that counts as 1x."""

    def cloud(called: str, work: str) -> str:
        return CLOUDS.replace("CALLED", called).replace("WORK", work)

    return {
        "store": (STORE, "members", 100),
        "mmd": (cloud("MMD, 64 numbers a point", "xl.metrics.mmd(a, b)"), "points a side", 500),
        "exact": (cloud("exact W2", "xl.transport.w2(a, b)"), "points a side", 250),
        "entropic": (cloud("entropic W2", "xl.transport.w2(a, b, 'entropic')"), "points a side", 500),
        "sliced": (cloud("sliced W2", "xl.transport.w2(a, b, 'sliced')"), "points a side", 5000),
        "ipot": (IPOT, "problems", 32),
        "plane": (PLANE, "points", 121),
        "plane, parameters": (PLANE_PARAMETERS, "parameters", 250_000),
        "trajectory": (TRAJECTORY, "points", 121),
        "trajectory, parameters": (TRAJECTORY_PARAMETERS, "parameters", 250_000),
        "trajectory, checkpoints": (CHECKPOINTS, "checkpoints", 4),
        "eigenvalues": (EIGENVALUES, "parameters", 250_000),
        "stack": (STACK, "members", 4),
        "pgd": (PGD, "rows", 50),
        "rate": (RATE, "draws", 50_000),
        "explore": (EXPLORE, "numbers in the cube", 1_000_000),
    }


def measured(folder: Path, only: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """A row for each path; each is printed as it comes."""
    (folder / "toy_of_speed.py").write_text(TOY, encoding="utf-8")
    rows = []
    for name, (program, of, size) in paths().items():
        if only and name not in only:
            continue
        sizes = str([size * factor for factor in (1, 2, 4, 8)])
        told: Mapping[str, Any] = run(HEAD + GROWN + program.replace("SIZES", sizes) + TAIL, ROOT, folder)
        for path, sizes_told in told.items():
            rows.append({"path": path, "of": of, "sizes": sizes_told})
            print(line(rows[-1]), flush=True)
    return rows


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The p of the line log value = p · log size + c that fits best (least squares)."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    middle, height = sum(x) / len(x), sum(y) / len(y)
    return sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)


def line(row: Mapping[str, Any]) -> str:
    """One row in Markdown."""
    sizes, ms, mb = ([one[key] for one in row["sizes"]] for key in ("size", "ms", "MB"))
    grown = [exponent(sizes, ms), exponent(sizes[-2:], ms[-2:])]
    taken = f"{exponent(sizes[-2:], mb[-2:]):.1f}" if min(mb[-2:]) >= LEAST_MB else "–"
    times, memory = (
        " / ".join(f"{value:.{digits}}" for value in values) for values, digits in ((ms, "3g"), (mb, "0f"))
    )
    return (
        f"| {row['path']} | {row['of']} | {sizes[0]:,} | {times} | **{grown[0]:.2f}** | {grown[1]:.2f} "
        f"| {memory} | {taken} |"
    )


def write(rows: Sequence[Mapping[str, Any]]) -> None:
    """Put the table between the two marks of the page."""
    head = [
        "| path | grows with | 1x | ms at 1x / 2x / 4x / 8x | exponent | from 4x to 8x | extra MB | from 4x to 8x |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    table = "\n".join([*head, *map(line, rows)])
    PAGE.write_text(f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(paths()), help="paths to run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/speed.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), asked.only)
    if asked.write:
        write(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
