"""The fast tier and the notebooks as other processors would run them; prints what differs.

    python scripts/everywhere.py                 # four machines, fast tier and notebooks: half an hour on two cores
    python scripts/everywhere.py --singly        # one knob at a time, nine of them: what a difference is due to
    python scripts/everywhere.py --only avx2     # one or several, by name
    python scripts/everywhere.py --far           # the machine farthest from this one, fast tier without its slow tests
    python scripts/everywhere.py --whole         # with the tests that rounding does not reach

A processor shows in the instructions that PyTorch (ATEN_CPU_CAPABILITY), oneDNN, MKL, NumPy, its OpenBLAS and Numba
choose, in how many threads share a sum, and in the order in which tests happen to run. All of these can be asked for
on one machine, downwards; an unknown one is ignored by the library that it speaks to. Farthest from any machine of
today is the oldest set of all of them. Each value of each knob is part of one of four machines, so that four runs stand
for all; the tests marked ``once``, which rounding does not reach, are left out. A run ends with what differs between
settings, and with status 1 if anything failed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "runs" / "everywhere"
OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


@dataclass(frozen=True)
class Setting:
    """What is asked of the libraries, of the threads and of the order of tests."""

    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    shuffle: int | None = None


# One knob at a time: what a difference that some machine shows is due to.
SINGLY = {
    "default": Setting({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
    "avx2": Setting(AVX2),
    "avx512": Setting({"ATEN_CPU_CAPABILITY": "avx512"}),
    "haswell": Setting({"OPENBLAS_CORETYPE": "Haswell"}),
    "skylakex": Setting({"OPENBLAS_CORETYPE": "SkylakeX"}),
    "zen": Setting({"OPENBLAS_CORETYPE": "Zen"}),
    "compatible": Setting({"MKL_CBWR": "COMPATIBLE"}),
    "two threads": Setting(threads=2),
    "shuffled": Setting(shuffle=1),
}
# Machines: each value of each knob in one of four runs.
MACHINES = {
    "old intel": Setting({**OLD, "OPENBLAS_CORETYPE": "Haswell"}, shuffle=1),
    "amd": Setting({**AVX2, "OPENBLAS_CORETYPE": "Zen"}, threads=2),
    "new intel": Setting({"ATEN_CPU_CAPABILITY": "avx512", "OPENBLAS_CORETYPE": "SkylakeX"}),
    "far": Setting({**OLD, "OPENBLAS_CORETYPE": "Prescott", "NUMBA_CPU_NAME": "generic"}, shuffle=2),
}
SETTINGS = {"as it is": Setting(), **MACHINES, **SINGLY}
TIERS = {"fast": ["tests"], "notebooks": ["notebooks"]}
OPTIONS = {
    "fast": ["--ignore=tests/browser", "--dist", "loadfile", "-p", "no:nbval", "-p", "no:zarr", "-p", "no:anyio"],
    "notebooks": ["--nbval", "--dist", "loadscope", "-p", "no:warnings"],
}


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--only", nargs="+", choices=SETTINGS, metavar="NAME", help=f"of {', '.join(SETTINGS)}")
    given.add_argument("--tiers", nargs="+", choices=TIERS, default=list(TIERS))
    given.add_argument("--paths", nargs="+", metavar="PATH", help="folders or files of the one tier asked for")
    given.add_argument("--far", action="store_true", help="only what differs most from this machine, fast tier")
    given.add_argument("--singly", action="store_true", help="one knob at a time, in place of machines")
    given.add_argument("--whole", action="store_true", help="also tests that rounding does not reach")
    given.add_argument("--compare", action="store_true", help="run nothing: compare the reports that are there")
    asked = given.parse_args()
    if asked.far:
        asked.only, asked.tiers = ["far"], ["fast"]
    if asked.paths and len(asked.tiers) != 1:
        given.error(f"--paths are of one tier, and --tiers names {len(asked.tiers)}; add --tiers fast or notebooks")
    if asked.compare:
        return tell(kept())
    found = {}
    for tier in asked.tiers:
        some = [] if asked.whole or tier != "fast" else ["-m", "not once and not slow" if asked.far else "not once"]
        for name in asked.only or (SINGLY if asked.singly else MACHINES):
            found[tier, name] = run(name, tier, asked.paths, some)
    return tell(found)


def run(name: str, tier: str, paths: list[str] | None, more: list[str]) -> dict[str, str]:
    """Test -> "passed", "failed" or "skipped" under one setting; pytest's report stays in ``runs/everywhere``."""
    setting = SETTINGS[name]
    threads = str(setting.threads)
    environment = {**os.environ, **setting.environment, "OMP_NUM_THREADS": threads, "XMODAL_TEST_THREADS": threads}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of some sixty processes compiles the package anew
    if name == "far" and (features := numpys_own()):
        environment["NPY_DISABLE_CPU_FEATURES"] = features
    workers = ["-n", str(max(1, (os.cpu_count() or 2) // setting.threads))]
    order = [] if setting.shuffle is None or tier != "fast" else ["--shuffle", str(setting.shuffle)]
    print(f"\n=== {tier}, {name} ===", flush=True)
    started = time.perf_counter()
    report = REPORTS / tier / name / (re.sub(r"\W+", "-", " ".join(paths or ["all"])) + ".xml")
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", *(paths or TIERS[tier]), *OPTIONS[tier], *workers, *order, *more]
    status = subprocess.call([*command, f"--junitxml={report}"], cwd=ROOT, env=environment)
    verdicts = read(report) if report.is_file() else {}
    if status not in (0, 1) or not verdicts:
        verdicts["pytest itself"] = f"failed with status {status}"
    print(f"{tier}, {name}: {time.perf_counter() - started:.0f} s", flush=True)
    return verdicts


def numpys_own() -> str:
    """The instructions that NumPy would choose here, beyond the least that it was built for."""
    try:
        from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    except ImportError:  # another layout of NumPy: its own loops stay as they are
        return ""
    return " ".join(feature for feature in __cpu_dispatch__ if __cpu_features__.get(feature))


def kept() -> dict[tuple[str, str], dict[str, str]]:
    """(tier, setting) -> verdicts, of all parts whose reports are there; the newest report of a test counts."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for report in sorted(REPORTS.glob("*/*/*.xml"), key=lambda path: path.stat().st_mtime):
        found.setdefault((report.parts[-3], report.parts[-2]), {}).update(read(report))
    if not found:
        sys.exit(f"no report in {REPORTS}: run some setting first, without --compare.")
    return found


def read(report: Path) -> dict[str, str]:
    """Test -> verdict, from JUnit's XML."""
    verdicts = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        verdict = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        verdicts[f"{case.get('classname')}::{case.get('name')}"] = verdict
    return verdicts


def differing(found: dict[tuple[str, str], dict[str, str]]) -> list[str]:
    """A line for each test that fails somewhere, or that is not run alike wherever it was run."""
    lines = []
    for tier in dict.fromkeys(tier for tier, _ in found):
        here = {name: verdicts for (of, name), verdicts in found.items() if of == tier}
        for test in dict.fromkeys(test for verdicts in here.values() for test in verdicts):
            words = {name: verdicts[test] for name, verdicts in here.items() if test in verdicts}
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
