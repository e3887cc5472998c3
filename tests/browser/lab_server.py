"""JupyterLab, Voila and a headless Chromium for tests and measurements: loopback only, nothing leaves the machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xmodal_lab.app import browser as installed

# No sandbox: containers run as root. The rest keeps Chromium from calling home, and any name from resolving.
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
MISSING = (
    "NO CHROMIUM: browser tests are not run. Install one (apt-get install chromium, or: playwright install chromium) "
    "or name it in the variable CHROMIUM."
)
# Where Voila finds the template "xmodal".
APP = Path(__file__).parents[2] / "widgets" / "app"
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def chromium(playwright: Any) -> Iterator[Any]:
    """A headless Chromium, the system's or Playwright's own."""
    browser = playwright.chromium.launch(executable_path=installed.find(), args=list(FLAGS), headless=True)
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def serve(
    command: Sequence[str], url: str, folder: Path, patience: float = 120.0, variables: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run a Jupyter server until the block ends; its settings and logs stay in ``folder``."""
    places = {"CONFIG": "config", "DATA": "data", "RUNTIME": "runtime"}
    env = {**os.environ, **{f"JUPYTER_{name}_DIR": str(folder / place) for name, place in places.items()}}
    env |= {"IPYTHONDIR": str(folder / "ipython"), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    env |= variables or {}
    log = folder / "server.log"
    with log.open("w") as sink:
        process = subprocess.Popen([sys.executable, *command], env=env, stdout=sink, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + patience
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the Jupyter server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def jupyterlab(root: Path, folder: Path) -> Iterator[str]:
    """JupyterLab on the notebooks of ``root``; yields its address."""
    settings = folder / "settings"
    settings.mkdir(parents=True)
    overrides = {
        "@jupyterlab/apputils-extension:notification": NO_NEWS,
        "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # all cells are on the page at once
    }
    (settings / "overrides.json").write_text(json.dumps(overrides))
    url = f"http://127.0.0.1:{(port := free_port())}"
    options = [
        *on(port),
        "--LabApp.expose_app_in_browser=True",
        f"--LabServerApp.app_settings_dir={settings}",
        f"--LabApp.app_settings_dir={settings}",
        f"--LabApp.workspaces_dir={folder / 'workspaces'}",
        f"--LabApp.user_settings_dir={folder / 'user'}",
        f"--ServerApp.root_dir={root}",
        "--MappingKernelManager.kernel_info_timeout=240",
    ]
    with serve(["-m", "jupyterlab", *options], f"{url}/api/status", folder):
        yield url


def on(port: int) -> list[str]:
    """How every Jupyter server of the tests is started."""
    return [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
    ]


@contextmanager
def notebook(root: Path, folder: Path) -> Iterator[str]:
    """Notebook 7 on the notebooks of ``root``; yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{(port := free_port())}"
    options = [
        *on(port),
        "--JupyterNotebookApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={root}",
    ]
    own = {"JUPYTER_PATH": ""}  # its kernels are started as everybody's, not forked (tests/helpers/kernels.py)
    with serve(["-m", "notebook", *options], f"{url}/api/status", folder, variables=own):
        yield url


@contextmanager
def marimo(app: Path, folder: Path) -> Iterator[str]:
    """A marimo app; yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["run", str(app), "--headless", "--host=127.0.0.1", f"--port={port}", "--no-token"]
    with serve(["-m", "marimo", *options], f"{url}/health", folder, variables={"XDG_CONFIG_HOME": str(folder)}):
        yield url


@contextmanager
def voila(root: Path, folder: Path) -> Iterator[str]:
    """Voila on the notebooks of ``root``, as ``make app`` starts it; yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{(port := free_port())}"
    options = [
        "--no-browser",
        "--template=xmodal",
        "--classic-tree",
        "--Voila.ip=127.0.0.1",
        "--progressive_rendering=True",
        f"--port={port}",
        "--token=",
        str(root),
    ]
    with serve(["-m", "voila", *options], url, folder, variables={"JUPYTER_PATH": str(APP)}):
        yield url


def write_notebook(path: Path, cells: Sequence[str]) -> Path:
    """A notebook of code cells."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


# Voila loads the extensions of all front ends that are installed; Notebook 7's asks it for a module that it does not share.
ELSEWHERE = "The getter for the shared module is not a function"


def watch(page: Any) -> list[str]:
    """Collect what should not happen on a page: exceptions of the view, console errors, requests that leave the machine."""
    problems: list[str] = []

    def on_request(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "file:")):
            problems.append(f"request to {request.url}")

    page.on("pageerror", lambda error: is_ours(error) and problems.append(f"page error: {error}\n{error.stack}"))
    page.on(
        "console",
        lambda message: (
            message.type == "error" and ELSEWHERE not in message.text and problems.append(f"console: {message.text}")
        ),
    )
    page.on("request", on_request)
    return problems


def is_ours(error: Any) -> bool:
    """Whether an exception on a page may come from the view: JupyterLab has races of its own on a reload.

    The view's script is a blob (in the exported page, a file); the front end's are under /static/lab/.
    """
    stack = str(error.stack or "")
    return "blob:" in stack or "/static/lab/" not in stack


WAIT_FOR_KERNEL = """async () => {
  const panel = jupyterapp.shell.currentWidget;
  await panel.revealed;
  await panel.sessionContext.ready;
  window.callbackErrors = [];
  panel.sessionContext.iopubMessage.connect((_, message) => {
    if (message.header.msg_type === "error") callbackErrors.push(`${message.content.ename}: ${message.content.evalue}`);
  });
}"""
CELL_ERRORS = """() => jupyterapp.shell.currentWidget.content.model.sharedModel.cells.flatMap(
  (cell) => (cell.outputs || []).filter((o) => o.output_type === "error").map((o) => `${o.ename}: ${o.evalue}`))"""
EXECUTE = """async (code) => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code, store_history: false });
  let text = "";
  future.onIOPub = (message) => {
    if (message.header.msg_type === "stream") text += message.content.text;
    if (message.header.msg_type === "error") text += `${message.content.ename}: ${message.content.evalue}`;
  };
  await future.done;
  return text.trim();
}"""


RUN = """async (cells) => {
  const { content } = jupyterapp.shell.currentWidget;
  for (const index of cells) {
    content.deselectAll();
    content.activeCellIndex = index;
    await jupyterapp.commands.execute("notebook:run-cell");
  }
}"""
OPEN = """async (path) => {
  const panel = await jupyterapp.commands.execute("docmanager:open", { path, factory: "Notebook" });
  jupyterapp.shell.activateById(panel.id);
}"""
CLOSE = """async () => {
  window.callbackErrors = [];
  for (const panel of [...jupyterapp.shell.widgets("main")]) {
    if (panel.sessionContext?.session) await panel.sessionContext.shutdown();
    panel.dispose();
  }
}"""


def open_in_lab(page: Any, url: str, name: str, run: bool = True, cells: Sequence[int] | None = None) -> None:
    """Open a notebook and run its ``cells``, all unless said; raises when one raised.

    A page that has JupyterLab opens the notebook there: to load JupyterLab takes five seconds of a core.
    """
    if page.url.startswith(url):
        page.evaluate(OPEN, name)
    else:
        page.goto(f"{url}/doc/tree/{name}", wait_until="domcontentloaded")
    of_path = "(name) => window.jupyterapp?.shell.currentWidget?.sessionContext?.path === name"
    page.wait_for_function(of_path, arg=name, timeout=120_000)
    page.evaluate(WAIT_FOR_KERNEL)
    if run:
        if cells is None:
            page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
        else:
            page.evaluate(RUN, list(cells))
        errors = page.evaluate(CELL_ERRORS)
        if errors:
            raise RuntimeError(f"cells of {name} raised: {errors}")


def execute(page: Any, code: str) -> str:
    """Run code in the notebook's kernel, beside its cells; returns what it printed."""
    return str(page.evaluate(EXECUTE, code))


def close_in_lab(page: Any) -> None:
    """Close every notebook of a page, kernels and all; JupyterLab stays."""
    page.evaluate(CLOSE)


def shut_down(page: Any) -> None:
    """End the notebook's kernel."""
    page.evaluate("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.shutdown()")


def ink(page: Any, selector: str) -> list[float]:
    """For each canvas, the share of its pixels that differ from its commonest colour: 0 when nothing is drawn."""
    share = """(canvases) => canvases.map((canvas) => {
      const { width, height } = canvas;
      if (!width || !height) return 0;
      const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, width, height).data.buffer);
      const counts = new Map();
      for (const p of pixels) counts.set(p, (counts.get(p) || 0) + 1);
      return 1 - Math.max(...counts.values()) / pixels.length;
    })"""
    return list(page.eval_on_selector_all(selector, share))


FINGERPRINT = """(canvas) => {
  const { width, height } = canvas;
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, width, height).data.buffer);
  let hash = 0;
  for (const p of pixels) hash = (Math.imul(hash, 31) + p) | 0;
  return hash;
}"""


def fingerprint(canvas: Any) -> int:
    """A number that changes when any pixel of a canvas does."""
    return int(canvas.evaluate(FINGERPRINT))
