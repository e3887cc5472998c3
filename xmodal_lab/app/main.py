"""The command ``xmodal``: ``doctor`` looks around, ``lab`` opens the lessons, ``sweep`` and ``claims`` measure."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence

from ..utils.version import __version__
from .doctor import doctor
from .lab import lab


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
