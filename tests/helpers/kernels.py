"""Jupyter's kernels for tests, without the seconds that their imports take: forked from a process that has made them.

    with kernels.forked() as variables:  # a server started with these variables has its kernel "python3" from there

A kernel's own command, which the server starts and signals, is a small program that stands for it: it hands what the
kernel needs to that process, passes signals on, and ends as the kernel does. Where it dies the kernel dies. What a
user's kernel does at its start is seen where servers have no such variables: Voila, Notebook 7, the tests of latency.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing.process
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve()
# What lessons and views import; torch._dynamo comes with an optimizer's first step and is as dear as PyTorch itself.
LOADED = [
    "torch", "torch._dynamo", "ipykernel.ipkernel", "ipykernel.kernelapp", "anywidget", "matplotlib.figure",
    "matplotlib.backends.backend_agg", "scipy.stats", "xarray", "xmodal_lab", "xmodal_widgets",
]  # fmt: skip


@contextmanager
def forked(variables: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """Variables for a Jupyter server; the kernels are what they would be under ``variables`` (``os.environ`` unless given)."""
    if not hasattr(os, "fork"):
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/nursery"
        env = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline", **(variables or {})}
        nursery = subprocess.Popen(
            [sys.executable, __file__, "nurse", place, folder], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert nursery.stdin is not None and nursery.stdout is not None
        try:
            assert nursery.stdout.readline(), "the process that forks kernels did not start: see above"
            yield {"JUPYTER_PATH": os.pathsep.join(filter(None, (folder, env.get("JUPYTER_PATH"))))}
        finally:
            nursery.stdin.close()
            nursery.wait()
            nursery.stdout.close()


def ask(place: str, connection: str) -> int:
    """Stand for a kernel; its status."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(place)
        wanted = {"connection": connection, "cwd": str(Path.cwd()), "env": dict(os.environ)}
        socket.send_fds(line, [b"\n"], [1, 2])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: line.sendall(f"{number:d}\n".encode()))
        line.sendall(json.dumps(wanted).encode() + b"\n")
        said = b""
        with suppress(ConnectionResetError):  # what it is forked from has ended
            while part := line.recv(100):
                said += part
    return int(said or b"1")


class Nursery:
    """Forks a kernel for each that asks at ``place``, until its own input ends."""

    def __init__(self, place: str) -> None:
        import selectors

        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(place)
        self.door.listen(64)
        self.waiting = selectors.DefaultSelector()
        self.kernels: dict[int, socket.socket] = {}
        self.open = True
        self.fallen, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for source, act in ((self.door, self.begin), (self.fallen, self.bury), (0, self.end)):
            self.waiting.register(source, selectors.EVENT_READ, act)

    def serve(self) -> None:
        try:
            while self.open:
                for key, _ in self.waiting.select():
                    key.data(key.fileobj)
        finally:
            for pid in self.kernels:
                os.kill(pid, signal.SIGKILL)

    def end(self, _: object) -> None:
        self.open = False

    def begin(self, _: object) -> None:
        """Fork the kernel that is asked for."""
        line, _ = self.door.accept()
        _, streams, _, _ = socket.recv_fds(line, 1, 2)
        wanted = b""
        while (part := line.recv(1 << 16)) and not (wanted := wanted + part).endswith(b"\n"):
            pass
        pid = os.fork() if part else -1  # none asks any more
        if not pid:
            become(json.loads(wanted), streams)
        for stream in streams:
            os.close(stream)
        if pid < 0:
            return line.close()
        self.kernels[pid] = line
        self.waiting.register(line, 1, lambda line, pid=pid: self.tell(line, pid))

    def tell(self, line: socket.socket, pid: int) -> None:
        """Pass a signal on; whose stand-in is gone is killed."""
        if pid not in self.kernels:  # it ended in the same moment
            return
        said = line.recv(100)
        for number in said.split() or [b"9"]:
            os.kill(pid, int(number))
        if not said:
            self.waiting.unregister(line)

    def bury(self, _: object) -> None:
        os.read(self.fallen, 1000)
        for pid, line in list(self.kernels.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self.kernels[pid]
                if line in self.waiting.get_map():
                    self.waiting.unregister(line)
                    code = os.waitstatus_to_exitcode(status)
                    with suppress(OSError):
                        line.sendall(str(code if code >= 0 else 128 - code).encode())
                line.close()


def become(wanted: dict[str, object], streams: list[int]) -> None:
    """Be the kernel that was asked for; does not return."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for place, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, place)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, 256)  # the others' lines
    os.environ.clear()
    os.environ.update(wanted["env"])  # type: ignore[call-overload]
    os.chdir(str(wanted["cwd"]))
    multiprocessing.process.ORIGINAL_DIR = str(wanted["cwd"])  # where processes that it spawns begin
    from forks import locks_of_its_own  # the nursery has it; whoever stands in for a kernel has no path to it

    locks_of_its_own()
    import pandas  # asked as it was imported whether it prints into a terminal, and there was no kernel yet

    pandas.set_option("display.max_columns", 20)
    status = 1
    try:
        from ipykernel import kernelapp

        sys.argv = ["ipykernel_launcher.py", "-f", str(wanted["connection"])]
        sys.argv.append(f"--IPKernelApp.parent_handle={os.getppid()}")  # it ends where that does
        kernelapp.launch_new_instance()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def nurse(place: str, folder: str) -> None:
    """Name the kernel in ``folder``, import what lessons and views do, then fork; who asks meanwhile waits."""
    import forks  # noqa: F401

    sys.path.remove(str(HERE.parent))
    import ipykernel.kernelspec

    nursery = Nursery(place)
    named = ipykernel.kernelspec.get_kernel_dict()
    named["argv"] = [sys.executable, "-I", "-S", str(HERE), "ask", place, "{connection_file}"]
    known = Path(folder, "kernels", "python3")
    known.mkdir(parents=True)
    (known / "kernel.json").write_text(json.dumps(named), encoding="utf-8")
    print("come in", flush=True)
    for name in LOADED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork would leave threads behind"
    nursery.serve()


if __name__ == "__main__":
    if sys.argv[1] == "nurse":
        nurse(*sys.argv[2:])
    else:
        sys.exit(ask(*sys.argv[2:]))
