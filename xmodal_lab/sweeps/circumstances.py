"""By which code and which command a result was made: this package's commit, the user's own, the command line.

All of it is told when it is known, and never stands in the way: no git, no repository, a slow disk give empty text.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SECONDS = 2.0  # that git may take (ours)
MOST = 1000  # characters of a command line that are kept (ours)
_SECRET = re.compile(r"(?i)^(-{0,2}[\w-]*(?:token|password|passwd|secret|api[-_]?key)[\w-]*)(?:=.*)?$")


def commit() -> str:
    """The commit of this package's checkout; empty where there is none."""
    return _git(Path(__file__).resolve().parent, "rev-parse", "HEAD")


def user_commit() -> str:
    """The commit of the repository that the user's script, or else the working directory, lies in; empty without one.

    "-dirty" behind it: a tracked file was changed since.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        # An installed command (xmodal, pytest) is no script of the user's.
        own = script is not None and not Path(script).resolve().is_relative_to(Path(sys.prefix).resolve())
        folder = Path(script).resolve().parent if script is not None and own else Path.cwd()
    except OSError:  # a working directory that is gone
        return ""
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def command() -> str:
    """The command line as it was given, or "notebook".

    The home folder is ``~``; values of options that are called a token, password, secret or key are ``…``.

    The interpreter and an installed command go by their names, so that no path is told that nobody gave.
    """
    given = list(getattr(sys, "orig_argv", ())) or list(sys.argv)
    if any("ipykernel" in part for part in given[:4]):
        return "notebook"
    told, hide = [], False
    for place, part in enumerate(given):
        if place == 0 or (place == 1 and Path(part).is_relative_to(sys.prefix)):
            part = Path(part).name
        secret = _SECRET.match(part)
        told.append("…" if hide else f"{secret[1]}=…" if secret and "=" in part else _homeless(part))
        hide = bool(secret) and part.startswith("-") and "=" not in part
    return " ".join(told)[:MOST]


def _homeless(part: str) -> str:
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE") or ""
    return part.replace(home, "~") if len(home) > 1 else part


def _git(folder: Path, *asked: str) -> str:
    """What git answers in ``folder``, without a hook of that repository's being run; empty where it does not."""
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *asked],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
