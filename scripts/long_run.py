"""A long session in short: explorers, fits, sweeps, pages, planes and spectra, over and over in one process.

    python scripts/long_run.py --minutes 10

Prints memory, open files, threads and live tensors after every round; the exit status is 1 if any of them
still grows over the second half of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from xmodal_widgets import explore, explorers

import xmodal_lab as xl
from xmodal_lab.papers import dml

# Growth over the second half that is put up with (ours): the allocator keeps some pages, and nothing else may grow.
SLACK = {"megabytes": 25.0, "files": 0.5, "threads": 0.5, "tensors": 0.5}


@dataclass(frozen=True)
class Sample:
    """What the process holds after a round."""

    megabytes: float
    files: int
    threads: int
    tensors: int


def a_fit(folder: Path, round_: int) -> None:
    """A net trained, looked at from all sides."""
    ds = xl.load("digits", images_per_class=5, clips_per_class=10, seed=round_)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp", width=8, seed=round_)
    run = xl.fit(net, ds, epochs=2, seed=round_, progress=False)
    loss = xl.loss_on(run.model, ds.test)
    xl.landscape.plane(loss, points=7)
    xl.landscape.modality_plane(loss, "image", "audio", points=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few steps: it may not converge
        xl.curvature.top_eigenvalues(loss, k=2)
        xl.curvature.density(loss, probes=1, steps=8)
    xl.flatness.lpf(loss, sigma=0.01, samples=8)
    run.save(folder / "net.safetensors")


def a_sweep(folder: Path, round_: int) -> None:
    """A sweep into a store, twice: computed, then found there."""
    ds = xl.load("digits", images_per_class=5, clips_per_class=10)
    for _ in range(2):
        xl.sweep(
            dml.experiment(ds, epochs=1, width=4), store=folder / f"{round_}.zarr", progress=False,
            alpha=[0.0, 1.0], seed=range(2), landscape_points=3,
        )  # fmt: skip


def a_distance(folder: Path, round_: int) -> None:
    """Distances between clouds."""
    a, b = torch.randn(2, 60, 4, generator=torch.Generator().manual_seed(round_))
    for method in ("exact", "gaussian", "sliced"):
        xl.transport.w2(a, b, method=method)


def a_view(folder: Path, round_: int, names: Sequence[str] = ()) -> None:
    """An explorer opened, moved, drawn, exported, closed."""
    known = tuple(names) or explorers.ready()
    view = explore(known[round_ % len(known)])
    for spec in view._controls:
        dim = view._grid.dims.get(spec.get("dim", spec.get("name", "")))
        if dim is not None:
            view.set(**{dim.name: dim.values[round_ % len(dim.values)]})
    view.to_html(folder / "view.html")
    view.close()


WORK: tuple[Callable[[Path, int], None], ...] = (a_fit, a_sweep, a_distance, a_view)


def sample() -> Sample:
    """Of this process, after everything that can be freed has been."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not the C library of Linux
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with open("/proc/self/statm") as file:  # noqa: PTH123 (one line of the kernel's)
        pages = int(file.read().split()[1])
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some objects of torch warn when they are looked at
        tensors = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
    return Sample(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, threading.active_count(), tensors)


def rounds(until: Callable[[int], bool], work: Sequence[Callable[[Path, int], None]] = WORK) -> Iterator[Sample]:
    """A sample after each round of all ``work``, until ``until(round)`` says so."""
    with tempfile.TemporaryDirectory() as base:
        round_ = 0
        while not until(round_):
            with tempfile.TemporaryDirectory(dir=base) as folder:
                for do in work:
                    do(Path(folder), round_)
            round_ += 1
            yield sample()


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Of each quantity over the second half: slope per round (least squares), and what that comes to."""
    half = samples[len(samples) // 2 :]
    found = {}
    for name in SLACK:
        values = np.asarray([getattr(s, name) for s in half], dtype=float)
        slope = float(np.polyfit(np.arange(len(values)), values, 1)[0]) if len(values) > 1 else 0.0
        found[name] = slope, slope * (len(values) - 1)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    started, samples = time.monotonic(), []
    for s in rounds(lambda _: time.monotonic() - started > 60 * asked.minutes):
        samples.append(s)
        told = f"{s.megabytes:8.1f} MB  {s.files:3d} files  {s.threads:3d} threads  {s.tensors:6d} tensors"
        print(f"round {len(samples):4d}  {time.monotonic() - started:6.0f} s  {told}", flush=True)
    over = False
    for name, (slope, total) in growth(samples).items():
        over |= total > SLACK[name]
        print(f"{name:<10} {slope:+.4f} a round, {total:+.2f} over the second half (at most {SLACK[name]:g})")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
