"""``xmodal doctor``: versions, device, data and browser; what is here and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass

from packaging.requirements import Requirement

from ..utils import checks as check
from ..utils.version import __version__
from .lab import notebooks

DATA = {
    "avmnist": "avmnist", "mnist": "mnist", "fsdd": "fsdd/recordings", "esc10": "esc10",
    "emojione": "emojione/png", "nlvr": "nlvr/dev",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report: ``ok`` is True, False (missing) or None (optional and absent)."""

    what: str
    value: str
    ok: bool | None = True
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at versions, device, data and browser; change nothing."""
    findings = [
        Finding("xmodal-lab", __version__),
        Finding("python", platform.python_version(), sys.version_info >= (3, 11), "install Python 3.11 or newer"),
        Finding("platform", platform.platform()),
    ]
    findings += [_package(Requirement(line)) for line in importlib.metadata.requires("xmodal-lab") or ()]
    findings += [_device(), *_data(), _chromium(), _notebooks_finding()]
    return findings


def doctor() -> int:
    """Print the report; the exit status is 1 if something needed is missing."""
    findings = examine()
    width = max(len(f.what) for f in findings)
    for f in findings:
        mark = {True: "ok ", False: "NO ", None: " - "}[f.ok]
        remedy = "" if f.ok else f"   → {f.remedy}"
        print(f"{mark} {f.what:<{width}}  {f.value}{remedy}")
    missing = [f for f in findings if f.ok is False]
    print()
    print(
        "Everything that is needed is here."
        if not missing
        else f"{len(missing)} thing(s) needed are missing; see → above."
    )
    return 1 if missing else 0


def _package(needed: Requirement) -> Finding:
    """What pyproject.toml asks for beside what is installed; of an extra, its absence is no fault."""
    version = _version(needed.name)
    extra = re.search(r"extra *== *['\"]([\w-]+)", str(needed.marker or ""))
    remedy = (
        f"pip install 'xmodal-lab[{extra.group(1)}]'" if extra else f"pip install '{needed.name}{needed.specifier}'"
    )
    if version is None:
        return Finding(needed.name, "not installed" if extra else "missing", None if extra else False, remedy)
    enough = needed.specifier.contains(version, prereleases=True)
    value = version if enough else f"{version}, needed is {needed.specifier}"
    return Finding(needed.name, value, enough or (None if extra else False), remedy)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("device", "unknown without torch", None, "pip install torch")
    if torch.cuda.is_available():
        return Finding("device", f"cuda: {torch.cuda.get_device_name()}")
    if torch.backends.mps.is_available():
        return Finding("device", "mps (Apple)")
    return Finding("device", f"cpu, {os.cpu_count()} cores, {torch.get_num_threads()} threads")


def _data() -> list[Finding]:
    root = os.environ.get("XMODAL_DATA")
    if not root:
        remedy = "only for real data: export XMODAL_DATA=/folder/with/datasets (the embedded ones need nothing)"
        return [Finding("XMODAL_DATA", "not set", None, remedy)]
    found = [name for name, inside in DATA.items() if (check.path("XMODAL_DATA", root) / inside).exists()]
    return [Finding("XMODAL_DATA", f"{root}: {', '.join(found) or 'no known dataset in it'}", bool(found) or None, "")]


def _chromium() -> Finding:
    from . import browser

    path = browser.find()
    remedy = "only for browser tests: apt-get install chromium, or playwright install chromium"
    return Finding("chromium", path or "not found", True if path else None, remedy)


def _notebooks_finding() -> Finding:
    folder = notebooks()
    jupyter = shutil.which("jupyter-lab") or _version("jupyterlab")
    remedy = "clone the project to get the lessons"
    return Finding("notebooks", str(folder or "not found"), True if folder and jupyter else None, remedy)
