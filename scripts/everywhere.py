"""The fast tier and the notebooks as other processors would run them; prints what differs.

    python scripts/everywhere.py                 # every setting, fast tier and notebooks: an hour or two on two cores
    python scripts/everywhere.py --only avx2     # one or several, by name
    python scripts/everywhere.py --far           # the setting farthest from this machine, fast tier, short: see below

A processor shows in the instructions that PyTorch (ATEN_CPU_CAPABILITY), oneDNN, MKL and NumPy's OpenBLAS choose, in
how many threads share a sum, and in the order in which tests happen to run. All of these can be asked for on one
machine, downwards; an unknown one is ignored by the library that it speaks to. Farthest from any machine of today is
the oldest set of all of them; that short run leaves out the tests marked ``once``, which rounding does not reach.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}


@dataclass(frozen=True)
class Setting:
    """What is asked of the libraries, of the threads and of the order of tests."""

    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    shuffle: int | None = None


SETTINGS = {
    "as it is": Setting(),
    "default": Setting({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
    "avx2": Setting({"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "avx512": Setting({"ATEN_CPU_CAPABILITY": "avx512"}),
    "haswell": Setting({"OPENBLAS_CORETYPE": "Haswell"}),
    "skylakex": Setting({"OPENBLAS_CORETYPE": "SkylakeX"}),
    "zen": Setting({"OPENBLAS_CORETYPE": "Zen"}),
    "compatible": Setting({"MKL_CBWR": "COMPATIBLE"}),
    "two threads": Setting(threads=2),
    "shuffled": Setting(shuffle=1),
    "far": Setting({**OLD, "OPENBLAS_CORETYPE": "Prescott"}, shuffle=2),
}
TIERS = {
    "fast": ["tests", "--ignore=tests/browser", "--dist", "loadfile"],
    "notebooks": ["--nbval", "notebooks", "--dist", "loadscope", "-p", "no:warnings"],
}


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--only", nargs="+", choices=SETTINGS, metavar="NAME", help=f"of {', '.join(SETTINGS)}")
    given.add_argument("--tiers", nargs="+", choices=TIERS, default=list(TIERS))
    given.add_argument("--far", action="store_true", help="only what differs most from this machine, fast tier, short")
    asked = given.parse_args()
    if asked.far:
        verdicts = run("far", "fast", ["-m", "not once"])
        return tell({("fast", "far"): verdicts})
    found = {}
    for tier in asked.tiers:
        for name in asked.only or SETTINGS:
            found[tier, name] = run(name, tier)
    return tell(found)


def run(name: str, tier: str, more: list[str] | None = None) -> dict[str, str]:
    """Test -> "passed", "failed" or "skipped" under one setting."""
    setting = SETTINGS[name]
    threads = str(setting.threads)
    environment = {**os.environ, **setting.environment, "OMP_NUM_THREADS": threads, "XMODAL_TEST_THREADS": threads}
    workers = ["-n", str(max(1, (os.cpu_count() or 2) // setting.threads))]
    order = [] if setting.shuffle is None or tier != "fast" else ["--shuffle", str(setting.shuffle)]
    print(f"\n=== {tier}, {name} ===", flush=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", *TIERS[tier], *workers, *order, *(more or [])]
        status = subprocess.call([*command, f"--junitxml={report}"], cwd=ROOT, env=environment)
        verdicts = read(report) if report.is_file() else {}
    if status not in (0, 1) or not verdicts:
        verdicts["pytest itself"] = f"failed with status {status}"
    print(f"{tier}, {name}: {time.perf_counter() - started:.0f} s", flush=True)
    return verdicts


def read(report: Path) -> dict[str, str]:
    """Test -> verdict, from JUnit's XML."""
    verdicts = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        verdict = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        verdicts[f"{case.get('classname')}::{case.get('name')}"] = verdict
    return verdicts


def differing(found: dict[tuple[str, str], dict[str, str]]) -> list[str]:
    """A line for each test that fails somewhere, or that is not run alike everywhere."""
    lines = []
    for tier in dict.fromkeys(tier for tier, _ in found):
        here = {name: verdicts for (of, name), verdicts in found.items() if of == tier}
        for test in dict.fromkeys(test for verdicts in here.values() for test in verdicts):
            words = {name: verdicts.get(test, "not run") for name, verdicts in here.items()}
            if len(set(words.values())) > 1 or words[next(iter(words))].startswith("failed"):
                usual = max(set(words.values()), key=list(words.values()).count)
                odd = ", ".join(f"{word} under {name}" for name, word in words.items() if word != usual)
                lines.append(f"{tier}: {test}: {usual}" + (f"; {odd}" if odd else ""))
    return lines


def tell(found: dict[tuple[str, str], dict[str, str]]) -> int:
    print()
    for (tier, name), verdicts in found.items():
        count = {word: list(verdicts.values()).count(word) for word in ("passed", "skipped")}
        failed = len(verdicts) - sum(count.values())
        print(f"{tier:<10} {name:<12} {count['passed']} passed, {failed} failed, {count['skipped']} skipped")
    lines = differing(found)
    print("\n".join(["", *lines]) if lines else "\nNothing differs.")
    return int(any(word.startswith("failed") for verdicts in found.values() for word in verdicts.values()))


if __name__ == "__main__":
    sys.exit(main())
