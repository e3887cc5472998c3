"""The command ``xmodal``: ``doctor`` looks around, ``lab`` opens the lessons, ``sweep`` and ``claims`` measure."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..utils import checks as check
from ..utils.version import __version__

PACKAGES = (
    "torch", "numpy", "scipy", "pandas", "xarray", "zarr", "pot", "scikit-learn", "transformers", "umap-learn",
    "seaborn", "soundfile", "jupyterlab", "ipywidgets", "anywidget",
)  # fmt: skip
OPTIONAL = {
    "nbval": "test", "playwright": "test", "voila": "app", "distributed": "distributed", "loss-landscapes": "peers",
}  # fmt: skip
DATA = {
    "avmnist": "avmnist", "mnist": "mnist", "fsdd": "fsdd/recordings", "esc10": "esc10",
    "emojione": "emojione/png", "nlvr": "nlvr/dev",
}  # fmt: skip

# Warnings only; one's own --log-level still wins. notebook_shim serves extensions of the classic notebook; there are
# none here: it reads every setting of the server, deprecated ones too, and so makes Jupyter warn about itself.
QUIET = ("--Application.log_level=WARN", "--ServerApp.jpserver_extensions=notebook_shim=False")


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
    for package in PACKAGES:
        version = _version(package)
        findings.append(Finding(package, version or "missing", version is not None, f"pip install {package}"))
    for package, extra in OPTIONAL.items():
        version = _version(package)
        remedy = f"pip install 'xmodal-lab[{extra}]'"
        findings.append(Finding(package, version or "not installed", True if version else None, remedy))
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


def lab(arguments: Sequence[str] = ()) -> int:
    """Open JupyterLab on the first lesson, or on a notebook that is named; all arguments go to ``jupyter lab``."""
    folder = notebooks()
    named = next((a for a in arguments if a.endswith(".ipynb") and not a.startswith("-")), None)
    first = None if folder is None else folder / "00_start_here.ipynb"
    start = check.path("notebook", named) if named else first
    if start is None or not start.is_file():
        lesson = "no notebooks/00_start_here.ipynb here; run this from a clone of the project."
        print(f"there is no {named}." if named else lesson, file=sys.stderr)
        return 1
    arguments = [a for a in arguments if a != named]
    print(f"JupyterLab opens on {start}; Ctrl-C twice ends it.", flush=True)
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # in containers
    with subprocess.Popen([sys.executable, "-m", "jupyterlab", str(start), *QUIET, *as_root, *arguments]) as server:
        while True:  # a terminal sends Ctrl-C to the server too, which asks and then ends its kernels: wait for it
            try:
                return server.wait()
            except KeyboardInterrupt:
                continue


def notebooks() -> Path | None:
    """The folder of lessons: below the working folder, or in the clone that this package runs from."""
    for base in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (base / "notebooks").is_dir():
            return base / "notebooks"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command ``xmodal``; ``argv`` is what follows it, the process's own arguments when None."""
    try:
        status = _command(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except OSError as error:
        if any(note.startswith("in the member") for note in getattr(error, "__notes__", [])):
            raise  # the user's own experiment: the traceback is needed
        _say_no_more()
        if isinstance(error, BrokenPipeError):  # the reader has what it wanted, as head does
            return 128 + 13
        print("\n".join([f"xmodal: error: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted.", file=sys.stderr)
        return 130


def _say_no_more() -> None:
    """Let go of an output that cannot be written, or Python complains once more as it leaves."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command(argv: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):  # a Windows console or pipe may lack → and α: show ? rather than fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    parser = argparse.ArgumentParser(prog="xmodal", description="A lab bench for cross-modal learning.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("doctor", help="versions, device, data, browser: what is here and what is missing")
    opener = commands.add_parser("lab", help="open JupyterLab on the first lesson")
    opener.epilog = "A notebook among the arguments is opened in its place; all other arguments go to jupyter lab."
    commands.add_parser("sweep", help="an experiment over a grid of settings, kept in a store")
    commands.add_parser("cache", help="ls or clear: built datasets and features of encoders on disk")
    commands.add_parser("claims", help="the ledger: every claim of the papers and its verdict")
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["sweep"]:  # its options depend on the experiment
        from . import sweep as sweep_command

        return sweep_command.main(given[1:])
    if given[:1] == ["cache"]:
        from . import cache as cache_command

        return cache_command.main(given[1:])
    if given[:1] == ["claims"]:
        from . import claims as claims_command

        return claims_command.main(given[1:])
    asked, rest = parser.parse_known_args(given)
    if rest and asked.command != "lab":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return doctor() if asked.command == "doctor" else lab(rest)


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
