"""Other systems, as far as this one can play them: no POSIX modules, an encoding that is not UTF-8, no command.

A process of its own has what Windows lacks taken away after the packages that the library stands on are loaded: they
have their own answer to it. ASCII stands for every encoding that is not UTF-8.
"""

from __future__ import annotations

import io
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import xmodal_lab
from xmodal_lab.app import main as cli

WITHOUT_POSIX = """
import os, pkgutil, importlib, signal, sys
import anywidget, numpy, ot, pandas, torch, xarray, zarr, transformers, matplotlib.pyplot, concurrent.futures.process
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "readline"):
    sys.modules[name] = None  # importing it raises ImportError
for module, names in {os: ("geteuid", "getuid", "getppid", "uname", "sched_getaffinity", "fork", "nice", "killpg",
                           "mkfifo", "sysconf", "statvfs", "getloadavg"),
                      signal: ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "SIGQUIT", "setitimer", "alarm")}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""
EVERY_MODULE = """
import xmodal_lab, xmodal_widgets
for package in (xmodal_lab, xmodal_widgets):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


SWEEP = """
import xmodal_lab as xl
from xmodal_lab.app.main import doctor
cube = xl.sweep("dml", alpha=[0.0, 1.0], epochs=1, progress=False, store=sys.argv[1])
again = xl.sweep("dml", alpha=[0.0, 1.0], epochs=1, progress=False, store=sys.argv[1])
assert cube.accuracy.equals(again.accuracy)
sys.exit(doctor())
"""


def python(code: str, *arguments: str, **environment: str) -> str:
    """What a fresh interpreter prints; its standard error is shown if it fails."""
    told = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=told)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_every_module_imports_and_a_sweep_is_stored_and_resumed_without_posix(tmp_path: Path) -> None:
    printed = python(WITHOUT_POSIX + EVERY_MODULE + SWEEP, str(tmp_path / "dml.zarr"))
    assert "Everything that is needed is here." in printed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the locale C is how POSIX says ASCII")
def test_files_are_read_as_utf8_whatever_the_locale() -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = """
import locale, xmodal_lab as xl
assert locale.getencoding().upper() not in ("UTF-8", "UTF8")
print(ascii(xl.claims.table().claim.iloc[0]), len(xl.tables("synergy", 1)), len(xl.load("digits").classes))
"""
    assert python(code, **ascii_only).startswith(r"'\u03b1* minimises")


@pytest.mark.parametrize("arguments", [["doctor"], ["claims", "--paper", "synergy"]], ids=" ".join)
def test_the_command_prints_on_a_console_without_greek(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    monkeypatch.delenv("XMODAL_DATA", raising=False)  # then doctor has an arrow to print
    assert cli.main(arguments) == 0
    sys.stdout.flush()
    assert b"?" in written.getvalue()


def test_the_package_runs_as_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["xmodal", "--version"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("xmodal_lab", run_name="__main__")  # as python -m does
    assert not left.value.code and capsys.readouterr().out == f"{xmodal_lab.__version__}\n"
