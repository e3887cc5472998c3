"""Does xmodal_lab do on a GPU what it does on a CPU, and how fast? One JSON; every section stands alone.

    python scripts/gpu_acceptance.py --out benchmarks/gpu.json          # on "cuda", 8 minutes at most
    python scripts/gpu_acceptance.py --device cpu --small --only plane  # a dry run anywhere
    python scripts/gpu_acceptance.py --readme                           # the README's row, from benchmarks/gpu.json

``agree`` is max |device - CPU| / max |CPU| at a small size, ``seconds`` the median at the full one. A section that is
not ``ok`` says what came.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import xmodal_lab as xl  # noqa: E402
from benchmarks import device as bench  # noqa: E402
from xmodal_lab.utils.graphs import may_record  # noqa: E402

RESULTS, README = ROOT / "benchmarks" / "gpu.json", ROOT / "README.md"
START, END = "<!-- gpu:start -->", "<!-- gpu:end -->"
NOT_YET = "On a GPU: not yet measured (`python scripts/gpu_acceptance.py` does it where there is one)."
NO_KERNEL = "Could not run 'aten::_thnn_fused"  # recurrent cells, which no pretend device has
BUDGET = 440.0  # seconds after which no section begins


class Own(nn.Module):
    """An ordinary module of the kind that people bring."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.a, self.b = kind, nn.Linear(16, 24), nn.Linear(24, 3)
        self.norm, self.rnn = nn.BatchNorm1d(24), nn.GRU(16, 24, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        h = self.a(x)
        if self.kind == "recurrent":
            h = self.rnn(x[:, None].expand(-1, 3, -1).contiguous())[0][:, -1]
        if self.kind == "if" and h.abs().max() > 1e4:
            h = h / 2
        if self.kind == "item":
            h = h / max(1.0, self.a.weight.norm().item())
        if self.kind == "mask":
            h[h > 5] = 5.0
        return self.b(self.norm(h) if self.kind == "recalibrate" else h)


def own_module(kind: str) -> Callable[[str, bool], bench.Job]:
    def job(device: str, small: bool) -> bench.Job:
        torch.manual_seed(0)
        module, x, y = Own(kind).eval().to(device), torch.randn(64, 16), torch.arange(64) % 3
        data: Any = DataLoader(TensorDataset(x, y), 32) if kind == "loader" else (x, y)
        norm = "recalibrate" if kind == "recalibrate" else "keep"
        return lambda: xl.landscape.plane(xl.Loss.from_module(module, data, batchnorm=norm), points=3)

    return job


def tensor_float_32(device: str, small: bool) -> dict[str, Any]:
    """The promised error of an eigenvalue is kept with torch's usual settings of convolutions."""
    loss, found = bench._cnn(device, 4 if small else 256), []
    before = torch.backends.cudnn.allow_tf32
    try:
        for allowed in (False, True):
            torch.backends.cudnn.allow_tf32 = allowed
            found.append(xl.curvature.top_eigenvalues(loss, 1))
    finally:
        torch.backends.cudnn.allow_tf32 = before
    moved, promised = float(abs(found[0].values[0] - found[1].values[0])), float(sum(f.errors[0] for f in found))
    return {"moved": moved, "promised": promised, "ok": moved <= 10 * promised}


def little_memory(device: str, small: bool) -> dict[str, Any]:
    """A plane and an eigenvalue go on in smaller pieces."""
    if torch.device(device).type != "cuda":
        return {"ok": True, "skipped": "needs cuda"}
    rows, wide = (8192, 128) if small else (65536, 2048)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, wide), nn.ReLU(), nn.Linear(wide, 10)).to(device)
    loss = xl.Loss.from_module(net, (torch.randn(rows, 64, device=device), torch.arange(rows, device=device) % 10))
    loss.data.look()
    torch.cuda.empty_cache()
    room = torch.cuda.memory_allocated() + 6 * rows * wide * 4
    torch.cuda.set_per_process_memory_fraction(min(1.0, room / torch.cuda.mem_get_info()[1]))
    try:
        xl.landscape.plane(loss, points=5)
        xl.curvature.top_eigenvalues(loss, 1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {"ok": True}


def graphs(device: str, small: bool) -> dict[str, Any]:
    """Seconds with CUDA graphs over those without, of what repeats; and whether any could not be recorded."""
    if not may_record(torch.device(device)):
        return {"ok": True, "skipped": "needs real CUDA, and XMODAL_CUDA_GRAPHS not 0"}
    found: dict[str, Any] = {"ok": True}
    for path in (p for p in bench.paths() if p.graphed):
        seconds, numbers = {}, {}
        for name, switch in (("without", "0"), ("with", "1")):
            os.environ["XMODAL_CUDA_GRAPHS"] = switch
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                job = path.job(device, small)
                numbers[name] = bench.flat(job())
                seconds[name] = bench.timed(job, device, path.repeats)
            told = [str(w.message) for w in said if "CUDA graph" in str(w.message)]
            found |= {f"{path.name}: told": told[0], "ok": False} if told else {}
        off = float(abs(numbers["with"] - numbers["without"]).max() / max(1e-30, abs(numbers["without"]).max()))
        found[path.name] = {**seconds, "agree": off}
        found["ok"] = found["ok"] and off <= path.tolerance
    return found


def judged(path: bench.Path, device: str, small: bool) -> dict[str, Any]:
    """Agreement, then seconds, of one path; and the most memory that the device held."""
    agree, once = bench.agreement(path, device)
    found: dict[str, Any] = {"agree": agree, "ok": agree <= path.tolerance, "seconds": once}
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    if not small:
        found["seconds"] = bench.timed(path.job(device, small), device, path.repeats)
    if path.goal is not None:
        found |= {"goal": path.goal, "met": None if small else found["seconds"] <= path.goal}
    if cuda:
        found["peak_mib"] = torch.cuda.max_memory_allocated() >> 20
        if path.most_gib is not None and not small:
            found |= {"most_gib": path.most_gib, "met": found["met"] and found["peak_mib"] <= path.most_gib * 1024}
    return found


def sections(device: str, small: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """Name -> section, in order of what one wants to know first."""
    found: dict[str, Callable[[], dict[str, Any]]] = {
        path.name: lambda path=path: judged(path, device, small) for path in bench.paths()
    }
    for kind in ("loader", "if", "item", "mask", "recurrent", "recalibrate"):
        path = bench.Path(f"own module: {kind}", own_module(kind), repeats=1)
        found[path.name] = lambda path=path: judged(path, device, small)
    return found | {
        "TensorFloat-32": lambda: tensor_float_32(device, small), "little memory": lambda: little_memory(device, small),
        "CUDA graphs": lambda: graphs(device, small),
    }  # fmt: skip


def guarded(section: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a section found, or which error came and where."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return section()
    except Exception as error:
        if NO_KERNEL in str(error):  # a device that is made of something else lacks some kernels; a GPU has this one
            return {"ok": True, "skipped": str(error)[:200]}
        last = traceback.extract_tb(error.__traceback__)[-1]
        return {"ok": False, "error": f"{type(error).__name__}: {str(error)[:500]}", "at": f"{last.name}:{last.lineno}"}


def row(report: dict[str, Any] | None) -> str:
    """What the README says of a GPU."""
    if report is None or report["small"] or report["device"].startswith("cpu"):
        return NOT_YET
    found = report["sections"]
    found = {n: s for n, s in found.items() if "skipped" not in s}
    lines = [
        f"| {n} | {s['seconds']:.3g} s | {s['goal']:g} s{' (missed)' if s.get('met') is False else ''} |"
        for n, s in found.items() if s.get("goal") and "seconds" in s
    ]  # fmt: skip
    right = sum(bool(s.get("ok")) for s in found.values())
    told = f"{right} of {len(found)} sections agree with the CPU on {report['device']}, torch {report['torch']}, "
    return "\n".join([told + f"{report['date']}.", "", "| path | took | goal |", "|---|--:|--:|", *lines])


def write_readme() -> None:
    """The README's row, from the JSON if there is one."""
    text = README.read_text(encoding="utf-8")
    (before, rest), report = text.split(START), json.loads(RESULTS.read_text()) if RESULTS.is_file() else None
    README.write_text(f"{before}{START}\n{row(report)}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--device", default="cuda", help="where (cuda)")
    ask.add_argument("--small", action="store_true", help="sizes for a dry run; no goal is judged")
    ask.add_argument("--only", nargs="+", default=[], help="sections whose names hold one of these words")
    ask.add_argument("--budget", type=float, default=BUDGET, help="seconds after which no section begins")
    ask.add_argument("--out", type=Path, help="a file for the JSON")
    ask.add_argument("--readme", action="store_true", help="write the README's row and leave")
    asked = ask.parse_args()
    if asked.readme:
        write_readme()
        return 0
    cuda, began = torch.device(asked.device).type == "cuda", time.perf_counter()
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if cuda else asked.device, "small": asked.small,
        "torch": torch.__version__, "xmodal_lab": xl.__version__, "sections": {},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip
    for name, section in sections(asked.device, asked.small).items():
        if asked.only and not any(word in name for word in asked.only):
            continue
        late = time.perf_counter() - began > asked.budget
        found = {"ok": False, "error": "no time was left"} if late else guarded(section)
        report["sections"][name] = found
        print(f"{name}: {json.dumps(found)}", file=sys.stderr, flush=True)
        if asked.out is not None:  # after each section: a run that is killed leaves what it knew
            asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))
    return int(not all(found["ok"] for found in report["sections"].values()))


if __name__ == "__main__":
    sys.exit(main())
