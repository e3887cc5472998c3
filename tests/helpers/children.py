"""Processes of their own for tests, without the seconds that importing PyTorch takes: forked from one that has it.

    done = children.python(code, "argument", env=…, cwd=…)   # as subprocess.run([sys.executable, "-c", code, …])

One process, started at the first call, has loaded PyTorch, the library and what keeps its stores, and has no threads; each
call forks it. A test that asks what an import does, or what an interpreter reads as it starts (its hash seed, its
locale, OMP_NUM_THREADS), starts an interpreter instead.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import forks


def python(
    code: str, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` as a program of its own; its status (-9: killed), and what it wrote to either stream."""
    with tempfile.TemporaryDirectory() as folder:
        said = {name: f"{folder}/{name}" for name in ("stdout", "stderr")}
        asked: dict[str, Any] = {"code": code, "argv": ["-c", *map(str, arguments)], "cwd": str(cwd or Path.cwd())}
        server = _server()
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps({**asked, **said, "env": dict(os.environ if env is None else env)}) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        texts = {name: Path(file).read_text() for name, file in said.items()}
    return subprocess.CompletedProcess(asked["argv"], status, **texts)


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Ends with its input, that is with the tests."""
    return subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _serve() -> None:
    import torch  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    import xmodal_lab  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints here is no answer
    while line := os.read(0, 1 << 20):
        while not line.endswith(b"\n"):
            line += os.read(0, 1 << 20)
        child = os.fork()
        if not child:
            _be(json.loads(line))
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        answers.flush()


def _be(asked: dict[str, Any]) -> None:
    """Become the program that was asked for; does not return."""
    status = 1
    try:
        for place, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT), place)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(asked["env"])
        os.chdir(asked["cwd"])
        sys.path[:0] = ["", *filter(None, asked["env"].get("PYTHONPATH", "").split(os.pathsep))]
        sys.argv = asked["argv"]
        forks.locks_of_its_own()
        exec(compile(asked["code"], "<child>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
