"""``xmodal lab``: JupyterLab on the first lesson."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..utils import checks as check
from ..utils.files import write_text

# Warnings only; one's own --log-level still wins. notebook_shim serves extensions of the classic notebook; there are
# none here: it reads every setting of the server, deprecated ones too, and so makes Jupyter warn about itself.
# And no notice about Jupyter's news or updates covers a lesson, nor asks the net for them.
QUIET = (
    "--Application.log_level=WARN",
    "--ServerApp.jpserver_extensions=notebook_shim=False",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
)
# Without news JupyterLab still asks whether one wants them, over the first lesson, until its setting says no. As a
# default: what one has set oneself goes before it.
DEFAULTS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


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
    command = [sys.executable, "-m", "jupyterlab", str(start), *QUIET, *as_root, *arguments]
    with tempfile.TemporaryDirectory() as held, subprocess.Popen(command, env=with_defaults(Path(held))) as server:
        while True:  # a terminal sends Ctrl-C to the server too, which asks and then ends its kernels: wait for it
            try:
                return server.wait()
            except KeyboardInterrupt:
                continue


def with_defaults(folder: Path) -> dict[str, str]:
    """The environment with ``folder`` among Jupyter's, and there :data:`DEFAULTS` of its settings.

    Args:
        folder: that exists, and stays while the server runs.

    Returns:
        Variables for the server's process.
    """
    write_text(folder / "labconfig" / "default_setting_overrides.json", json.dumps(DEFAULTS))
    known = os.environ.get("JUPYTER_CONFIG_PATH", "")
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, (str(folder), known)))}


def notebooks() -> Path | None:
    """The folder of lessons: below the working folder, or in the clone that this package runs from."""
    for base in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (base / "notebooks").is_dir():
            return base / "notebooks"
    return None
