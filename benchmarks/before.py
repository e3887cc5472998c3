"""Paths as they are beside as they were: ``python -m benchmarks.before PATH/TO/AN/OLDER/CHECKOUT [--write]``.

Each group of paths is one program, run in a fresh interpreter in turn with the older checkout and with this one. Times
are processor time, memory the system's own count (the peak of resident memory, less what it was before the path).
Ratios count; each path also gives a number, so that a faster wrong answer shows. ``--write`` puts the table into
``docs/speed.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "speed.md"
START, END = "<!-- before:start -->", "<!-- before:end -->"

HEAD = """
import json, resource, sys, tempfile, threading, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
import xmodal_lab as xl
told = {}

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def timed(name, work, runs=3):
    work()
    times = []
    for _ in range(runs):
        began = time.process_time()
        found = work()
        times.append(time.process_time() - began)
    told[name] = {"ms": 1e3 * sorted(times)[runs // 2], "value": float(found)}

def weighed(name, work):
    before, peak, done = resident(), [0], threading.Event()
    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.001)
    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.process_time()
    found = work()
    took = time.process_time() - began
    done.set()
    watcher.join()
    told[name] = {"ms": 1e3 * took, "value": float(found), "MB": max(0, peak[0] - before) / 1e6}
"""
TAIL = "\nprint('told ' + json.dumps(told))\n"

INSTRUMENTS = """
from torch import nn
from torch.nn import functional as F
g = torch.Generator().manual_seed(0)
cost = torch.rand(128, 40, 196, generator=g)
timed("IPOT, 128 plans 40x196, 50 steps", lambda: xl.transport.ipot(cost).plan.square().sum())
timed("Sinkhorn, 128 plans 40x196", lambda: xl.transport.sinkhorn(cost).plan.square().sum())
a, b = torch.randn(1000, 64, generator=g), 0.5 + torch.randn(1000, 64, generator=g)
timed("entropic W2, 1000 points a side", lambda: xl.transport.w2(a, b, "entropic"), 1)
c = torch.randn(5000, 64, generator=g, requires_grad=True)
d = torch.randn(5000, 64, generator=g)

def sliced():
    return torch.autograd.grad(xl.transport.w2(c, d, "sliced"), c)[0].norm()

timed("sliced W2 with its gradient, 5000 points", sliced)
few = torch.randn(200, 64, generator=g), torch.randn(200, 64, generator=g)
timed("MMD, 200 points a side", lambda: xl.metrics.mmd(*few).value, 5)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = (nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU()) for _ in "ab")
        self.head = nn.Sequential(nn.Linear(128, 40), nn.ReLU(), nn.Linear(40, 10))
    def forward(self, x, y):
        return self.head(torch.cat([self.a(x), self.b(y)], 1))

data = torch.randn(800, 64, generator=g), torch.randn(800, 64, generator=g), torch.arange(800) % 10
loss = xl.Loss.from_module(Net(), data)
timed("L_LPF, 100 draws, MLP of 30k", lambda: xl.flatness.lpf(loss, 0.01, 100).value)
radii = [3.0 * k for k in range(1, 11)]
timed("F_gap, 30 directions x 10 radii, MLP of 30k", lambda: xl.flatness.gap(loss, radii, 30).values.sum())
ds = xl.load("digits", modalities=("image", "audio"))
net = xl.LateFusion.for_dataset(ds, architecture="cnn", seed=0)
few = ds.test.subset(slice(200))
timed("PGD on the picture, ten steps, CNN", lambda: xl.robustness.pgd(net, few, "image", 0.1).adversarial_loss)
"""
LARGE = """
g = torch.Generator().manual_seed(0)
a, b = torch.randn(SIZE, 64, generator=g), 0.1 + torch.randn(SIZE, 64, generator=g)
xl.metrics.mmd(a[:100], b[:100])
weighed("MMD, SIZE points a side", lambda: xl.metrics.mmd(a, b).value)
"""
STORE = """
sys.path.insert(0, sys.argv[1])
from toy_of_speed import TOY
for size in SIZES:
    with tempfile.TemporaryDirectory() as folder:
        def swept():
            began = time.process_time()
            axes = {"a": [i / 10 for i in range(size // 10)], "b": range(10)}
            cube = xl.sweep(TOY, store=f"{folder}/s.zarr", progress=False, **axes)
            return 1e3 * (time.process_time() - began), float(cube["value"].sum())
        for name in ("filled", "resumed"):
            took, value = swept()
            told[f"store of {size} members, {name}"] = {"ms": took, "value": value}
        import xarray as xr
        began = time.process_time()
        copy = Path(f"{folder}/s.zarr/compact")  # which a finished grid has now
        cube = xr.open_zarr(copy if copy.is_dir() else copy.parent, chunks=None).load()
        took = 1e3 * (time.process_time() - began)
        told[f"store of {size} members, read"] = {"ms": took, "value": float(cube["value"].sum())}
"""
TOY = """
from xmodal_lab.sweeps import Experiment
def member(s, report):
    return {"value": s["a"] + s["b"], "curve": [0.0, 1.0, 2.0], "other": s["a"] * s["b"]}
try:
    from xmodal_lab.sweeps.experiment import Variable
except ImportError:
    from xmodal_lab.sweeps import Variable
VARIABLES = {"value": Variable(), "curve": Variable({"step": range(3)}), "other": Variable()}
TOY = Experiment("toy of speed", {"a": 0.0, "b": 0, "seed": 0}, member, VARIABLES)
"""
PANEL = """
from xmodal_widgets import explore
view = explore("dml")
told['explore("dml"), from the import to the view'] = {"ms": 1e3 * time.process_time(), "value": 0.0}
"""
# The head imports torch; a page that opens an explorer need not.
BARE = "import json, time, warnings\nwarnings.simplefilter('ignore')\ntold = {}\n"

# Of a path's name, the largest ratio that was aimed at (ours).
GOALS = {
    "IPOT": 0.3, "Sinkhorn": 0.4, "entropic W2": 0.25, "sliced W2": 0.4, "F_gap": 0.5, "L_LPF": 0.9, "MMD, 4000": 0.2,
    'explore("dml")': 0.4,
}  # fmt: skip


def groups() -> dict[str, tuple[str, int]]:
    """Of each group its program and how often it is run with each checkout."""
    return {
        "panel": (BARE + PANEL + TAIL, 2),
        "instruments": (HEAD + INSTRUMENTS + TAIL, 3),
        "mmd": (HEAD + LARGE.replace("SIZE", "2000") + LARGE.replace("SIZE", "4000") + TAIL, 3),
        "store": (HEAD + STORE.replace("SIZES", "(250, 500, 1000)") + TAIL, 3),
        "mmd, now alone": (HEAD + LARGE.replace("SIZE", "8000") + TAIL, 1),
        "2000, now alone": (HEAD + STORE.replace("SIZES", "(2000,)") + TAIL, 1),
        "5000, now alone": (HEAD + STORE.replace("SIZES", "(5000,)") + TAIL, 1),
    }


def run(program: str, checkout: Path, folder: Path) -> dict[str, dict[str, float]]:
    """What a program tells with the library of ``checkout``."""
    places = os.pathsep.join([str(checkout), str(checkout / "widgets")])
    environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, env=environment, cwd=folder
    )
    if done.returncode:
        raise RuntimeError(f"{checkout}: {done.stderr[-2000:]}")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("told "))
    told: dict[str, dict[str, float]] = json.loads(line.removeprefix("told "))
    return told


def measured(older: Path, folder: Path, only: list[str] | None) -> list[dict[str, Any]]:
    """A row for each path, medians of the runs of either checkout."""
    (folder / "toy_of_speed.py").write_text(TOY, encoding="utf-8")
    rows: list[dict[str, Any]] = []
    for name, (program, runs) in groups().items():
        if only and name not in only:
            continue
        sides: Mapping[str, Path] = {"now": ROOT} if name.endswith("now alone") else {"before": older, "now": ROOT}
        told = {side: [run(program, where, folder) for _ in range(1)] for side, where in sides.items()}
        for _ in range(runs - 1):
            for side, where in sides.items():
                told[side].append(run(program, where, folder))
        for path in told["now"][0]:
            row: dict[str, Any] = {"path": path, "runs": runs}
            for side, several in told.items():
                row[side] = statistics.median(one[path]["ms"] for one in several)
                row[f"{side}_value"] = several[0][path]["value"]
                row[f"{side}_MB"] = several[0][path].get("MB")
            rows.append(row)
            print(line(row), flush=True)
    return rows


def line(row: Mapping[str, Any]) -> str:
    """One row in Markdown."""
    before = row.get("before")
    goal = next((g for name, g in GOALS.items() if row["path"].startswith(name)), None)
    off = "–" if before is None else f"{_off(row['before_value'], row['now_value']):.0e}"
    ratio = "–" if before is None else f"**{row['now'] / before:.2f}**"
    memory = " / ".join("–" if row.get(f"{s}_MB") is None else f"{row[f'{s}_MB']:.0f}" for s in ("before", "now"))
    was = "–" if before is None else f"{before:.4g}"
    return (
        f"| {row['path']} | {was} | {row['now']:.4g} | {ratio} | {'–' if goal is None else goal} | {off} | {memory} "
        f"| {row['runs']} |"
    )


def _off(before: float, now: float) -> float:
    return 0.0 if before == now else abs(now - before) / max(abs(before), 1e-12)


def write(rows: list[dict[str, Any]]) -> None:
    """Put the table between the two marks of the page."""
    head = [
        "| path | before, ms | now, ms | now / before | aim | values differ by | extra memory, MB | runs |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(START)
    table = "\n".join([*head, *map(line, rows)])
    PAGE.write_text(f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> int:
    import tempfile

    parser = argparse.ArgumentParser(prog="python -m benchmarks.before", description=__doc__)
    parser.add_argument("older", type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--only", nargs="+", choices=list(groups()), help="groups to run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/speed.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(asked.older.resolve(), Path(folder), asked.only)
    if asked.write:
        write(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
