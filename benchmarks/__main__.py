"""Measure every hot path beside its peer and write the results: ``python -m benchmarks [--only NAME ...]``.

Writes ``benchmarks/results.json`` (rows, versions, device) and the table in the README. Ratios
are ours / theirs in one run, medians of alternating repeats; absolute times are this machine's.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
README = HERE.parent / "README.md"
SUITES = ("landscape", "curvature", "flatness", "transport", "sweeps")
PACKAGES = (
    "torch", "numpy", "pot", "loss-landscapes", "loss-landscape-3d", "pyhessian", "hessian-eigenthings",
    "curvlinops-for-pytorch", "geomloss",
)  # fmt: skip
START, END = "<!-- bench:start -->", "<!-- bench:end -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SUITES, default=SUITES, help="suites to run")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (1)")
    parser.add_argument("--repeats", type=int, help="alternating repeats (each suite has its own default)")
    parser.add_argument("--device", default="cpu", help="another device: times the library's own paths there")
    parser.add_argument("--small", action="store_true", help="of --device: sizes for a dry run, which is not written")
    parser.add_argument("--paths", nargs="+", default=(), help="of --device: paths whose names hold one of these words")
    asked = parser.parse_args()
    peers = HERE.parent / ".peers"
    if peers.is_dir():
        sys.path.append(str(peers))
    import torch

    torch.set_num_threads(asked.threads)
    if asked.device != "cpu":
        return on_device(asked.device, asked.repeats, asked.small, asked.paths)
    report = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"rows": []}
    for suite in asked.only:
        if not (HERE / f"{suite}.py").is_file():
            continue
        torch.manual_seed(0)  # the nets that a suite makes are those of its last run
        measure = importlib.import_module(f"benchmarks.{suite}").rows
        facts = {"device": "cpu", "date": today()}
        rows = [{**row, **facts} for row in (measure(asked.repeats) if asked.repeats else measure())]
        for row in rows:
            print(line(row), flush=True)
        kept = [row for row in report["rows"] if row["suite"] != suite]
        report["rows"] = kept + [{"suite": suite, **row} for row in rows]
        report |= machine(asked.threads)
        RESULTS.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write_table(report)
    barred = [row for row in report["rows"] if row["bar"] is not None and row["ratio"] is not None]
    missed = [f"{row['path']} beside {row['peer']}" for row in barred if row["ratio"] > row["bar"]]
    print(f"{len(missed)} of {len(barred)} bars missed" + "".join(f"\n- {what}" for what in missed))
    return 0


def on_device(name: str, repeats: int | None, small: bool = False, only: Sequence[str] = ()) -> int:
    """The library's paths on another device, in a file of their own; the table of peers stays the CPU's.

    A dry run, or one of some paths only, is printed and not written.
    """
    import torch

    from .device import rows

    path = RESULTS.with_name(f"results_{torch.device(name).type}.json")
    found = rows(name, repeats, small, only)
    found = [{**row, "device": name} for row in found]
    for row in found:
        print(line(row), flush=True)
    if small or only:
        return 0
    report = {"rows": [{"suite": "device", **row} for row in found]} | machine(torch.get_num_threads(), name)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return 0


def machine(threads: int, where: str = "cpu") -> dict[str, Any]:
    """Versions, and the device that the figures are of, as they stand beside them."""
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    kind = torch.device(where).type
    device = torch.cuda.get_device_name(where) if kind == "cuda" else f"{kind} ({platform.machine()})"
    return {
        "date": today(),
        "device": device,
        "threads": threads,
        "python": platform.python_version(),
        "versions": versions,
    }


def today() -> str:
    """The date, as it stands beside what was measured."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def line(row: dict[str, Any]) -> str:
    """One row of the table, in Markdown."""
    if row["ratio"] is None:
        ratio = str(row.get("note") or "not installed")
        theirs = "–"
    else:
        met = "" if row["bar"] is None or row["ratio"] <= row["bar"] else " (bar missed)"
        ratio, theirs = f"**{row['ratio']:.2f}**{met}", f"{row['peer_ms']:.3g}"
    ours, other = ("–" if e is None else f"{e:.0e}" for e in (row["error"], row.get("peer_error")))
    bar = "–" if row["bar"] is None else f"{row['bar']:.2f}"
    times = f"{row['ours_ms']:.3g} | {theirs}"
    runs = row.get("n_repeats", "–")
    return (
        f"| {row['path']} | {row['peer']} | {times} | {ratio} | {bar} | {ours} | {other} | {runs} | {row['device']} |"
    )


def write_table(report: dict[str, Any]) -> None:
    """Put the table between the two marks in the README."""
    head = [
        "| path | beside | ours, ms | theirs, ms | ours / theirs | bar | error, ours | theirs | runs | device |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    order = sorted(({"device": "cpu", **row} for row in report["rows"]), key=lambda row: SUITES.index(row["suite"]))
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items() if version)
    dates = sorted({row.get("date", report["date"]) for row in order})
    days = " and ".join(part for part in (", ".join(dates[:-1]), dates[-1]) if part)
    note = (
        f"Written by `make bench` on {days}: {report['device']}, {report['threads']} thread(s), "
        f"{versions}. "
        "Medians of alternating runs in processor time (one run is no median: a first sight); "
        "the ratio counts, the milliseconds are one shared machine's. "
        "Errors are relative to float64, or to what the row names."
    )
    text = README.read_text()
    before, rest = text.split(START)
    after = rest.split(END)[1]
    table = "\n".join([*head, *(line(row) for row in order)])
    README.write_text(f"{before}{START}\n{table}\n\n{note}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
