"""Every test in one go: unit and property tests on two workers, then notebooks, browser and latency.

``make test`` calls this; ``make fast`` runs the first of these tiers without the tests that are marked ``slow``. It
finds a Chromium, or installs one where it may; without any the browser tests are skipped with one loud line, unless
XMODAL_REQUIRE_BROWSER=1. A browser test that fails beside others runs once more alone, and the last lines say so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "helpers"))

import kernels  # noqa: E402

# Pytest forgets what failed (pyproject.toml), but where it is to run again.
REMEMBERING = ["-o", "addopts=-ra --strict-markers --strict-config", "-o", "cache_dir=runs/pytest"]
# Plugins that come with packages and cost a process three seconds: a test that needs one imports it.
LEAN = ["-p", "no:nbval", "-p", "no:zarr", "-p", "no:anyio"]
# Two workers, each with whole files, which share what is dear: in the order that tests/conftest.py gives.
FILES = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
# Tiers whose kernels are forked; in the browser's, as in all of tests/ (conftest.py), shapes are checked.
KERNELS = {"notebooks": kernels.forked, "browser": lambda: kernels.forked({"XMODAL_CHECK_SHAPES": "1"})}
TESTS_FAILED, NO_TESTS = 1, 5  # pytest's exit status when a test failed, when it collected none


def main() -> int:
    fast = "--fast" in sys.argv
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores: more threads only fight
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of some sixty processes compiles the package anew
    results = {}
    for name, arguments in tiers(fast, browser=not fast and has_chromium()).items():
        print(f"\n=== {name} ===", flush=True)
        started = time.perf_counter()
        with KERNELS.get(name, nullcontext)() as variables:
            status = pytest(*arguments, variables=variables)
        verdict = "passed" if status == 0 else "FAILED (no test ran)" if status == NO_TESTS else "FAILED"
        if name in ("browser", "latency") and status == TESTS_FAILED:
            # A browser beside others on a busy machine may miss a deadline; a fault of ours fails alone as well.
            print(f"\n=== {name}: the failed ones once more, alone ===", flush=True)
            again = ["--last-failed", "--last-failed-no-failures=none", *REMEMBERING]
            if (status := pytest(arguments[0], *again)) == 0:
                verdict = "passed, some only when run again alone: see above"
        results[name] = (status, f"{verdict:<8} {time.perf_counter() - started:6.1f} s")
    if os.environ.get("XMODAL_PRETEND_DEVICE") and not fast:
        print("\n=== on a pretend device ===", flush=True)
        started = time.perf_counter()
        status = subprocess.call([sys.executable, "tests/device/tier.py"], cwd=ROOT)
        verdict = "passed" if status == 0 else "FAILED"
        results["on a device"] = (status, f"{verdict:<8} {time.perf_counter() - started:6.1f} s")
    print()
    for name, (_, words) in results.items():
        print(f"{name:<20} {words}")
    if not fast and "browser" not in results:
        print("browser              SKIPPED: NO CHROMIUM FOUND (apt-get install chromium), so no live view was tested.")
    if not fast and "on a device" not in results:
        print("on a device          SKIPPED: XMODAL_PRETEND_DEVICE names no pretend accelerator.")
    return int(any(status != 0 for status, _ in results.values()))


def tiers(fast: bool, browser: bool) -> dict[str, list[str]]:
    """Name of a tier -> pytest's arguments, in the order in which they run."""
    unit = ["tests", "--ignore=tests/browser", *FILES, *LEAN]
    if fast:
        return {"unit and property": [*unit, "-m", "not slow"]}
    found = {"unit and property": unit}
    found["notebooks"] = [
        *("--nbval", *lessons(), "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"),
        *("-p", "no:warnings", "-p", "no:zarr", "-p", "no:anyio"),
        "--nbval-kernel-startup-timeout=240",  # the first one waits until there is what it is forked from
    ]
    if browser:
        latency = "tests/browser/test_latency.py"
        found["browser"] = ["tests/browser", f"--ignore={latency}", *FILES, *LEAN, *REMEMBERING]
        found["latency"] = [latency, *LEAN, *REMEMBERING]  # alone: beside other tests it would be theirs
    return found


def lessons() -> list[str]:
    """The notebooks, the longest first: by the seconds that docs/class.md has of each."""
    rows = re.findall(r"^\| (\w+) \| (\d+) \|", (ROOT / "docs" / "class.md").read_text(encoding="utf-8"), re.M)
    seconds = {name: int(spent) for name, spent in rows}
    found = sorted((ROOT / "notebooks").glob("*.ipynb"), key=lambda path: (-seconds.get(path.stem, 0), path.stem))
    return [str(path.relative_to(ROOT)) for path in found]


def pytest(*arguments: str, variables: Mapping[str, str] | None = None) -> int:
    """Run pytest in a process of its own, with some variables more; its exit status."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    return subprocess.call(command, cwd=ROOT, env={**os.environ, **(variables or {})})


def has_chromium() -> bool:
    """Find a Chromium: the system's, else Playwright's own, else Debian's as root."""
    from xmodal_lab.app import browser

    if browser.find():
        return True
    playwright = subprocess.run(
        [sys.executable, "-m", "playwright", "install", "chromium"], capture_output=True, text=True
    )
    if playwright.returncode == 0 and browser.find():
        return True
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=environment, stdout=subprocess.DEVNULL, check=False)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "chromium"], env=environment, stdout=subprocess.DEVNULL, check=False
        )
        if browser.find():
            return True
    if os.environ.get("XMODAL_REQUIRE_BROWSER") == "1":
        sys.exit("a Chromium is required (XMODAL_REQUIRE_BROWSER=1) and none was found or could be installed.")
    return False


if __name__ == "__main__":
    sys.exit(main())
