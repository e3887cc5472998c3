"""Set up the virtual environment of `make`, a part at a time: ``python scripts/set_up.py .venv lab``.

What opens the lessons is one part; what tests, checks and serves them are others, installed when they are first asked
for. It needs Python alone, and says on one line how far it is: packages and size, of what this set took when it was
last measured.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

EXTRAS = {"lab": "", "all": "[test,check,peers,app,distributed]", "app": "[app]", "distributed": "[distributed]"}
# Packages and GB of a whole environment with the CPU's torch, as measured: only the line of progress rests on them.
SIZES = {"lab": (156, 2.1), "all": (203, 2.8), "app": (158, 2.2), "distributed": (169, 2.2)}
WORDS = {
    "lab": "what the lessons need",
    "all": "tests, checks and peers too",
    "app": "Voila too",
    "distributed": "Dask too",
}


def progress(folder: Path) -> tuple[int, float]:
    """Packages in the environment, and their size in GB."""
    found = next(iter(folder.glob("lib/python*/site-packages")), None) or folder / "Lib" / "site-packages"
    size = 0
    for path in found.rglob("*") if found.is_dir() else ():
        try:
            size += path.stat().st_size if path.is_file() and not path.is_symlink() else 0
        except OSError:  # pip moves files while one looks
            continue
    return len(list(found.glob("*.dist-info"))), size / 1e9


def line(folder: Path, part: str, seconds: float) -> str:
    """How far it is, in words."""
    packages, size = progress(folder)
    of, whole = SIZES[part]
    return f"  {packages} of about {of} packages, {size:.1f} of about {whole:.1f} GB, {seconds:.0f} s"


def set_up(folder: Path, part: str) -> int:
    """Make the environment where there is none, and install one part into it; returns pip's status."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever has an older one is told so)
        print("xmodal_lab needs Python 3.11 or newer; set PYTHON=python3.11", file=sys.stderr)
        return 1
    packages, size = SIZES[part]
    have = progress(folder)
    print(
        f"Setting up {folder}, {WORDS[part]}: about {max(packages - have[0], 1)} packages, "
        f"{max(size - have[1], 0.1):.1f} GB. Once; later calls start at once.",
        flush=True,
    )
    started = time.monotonic()
    if not any((folder / place / name).exists() for place, name in (("bin", "python"), ("Scripts", "python.exe"))):
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = next(p for p in (folder / "bin" / "python", folder / "Scripts" / "python.exe") if p.exists())
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    with subprocess.Popen([*command, "-c", "constraints.txt", "-e", f".{EXTRAS[part]}"]) as pip:
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(folder, part, started, done), daemon=True)
        watcher.start()
        status = pip.wait()
        done.set()
        watcher.join()
    end = "\n" if sys.stdout.isatty() else ""
    print(f"{end}{'Done' if status == 0 else 'pip failed'} after {time.monotonic() - started:.0f} s.", flush=True)
    return status


def _watch(folder: Path, part: str, started: float, done: threading.Event) -> None:
    """A line of progress: in place in a terminal, every half minute in a log."""
    here = sys.stdout.isatty()
    while not done.wait(2 if here else 30):
        print(line(folder, part, time.monotonic() - started), end="\r" if here else "\n", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in EXTRAS:
        sys.exit(f"usage: python scripts/set_up.py FOLDER {'|'.join(EXTRAS)}")
    sys.exit(set_up(Path(sys.argv[1]), sys.argv[2]))
