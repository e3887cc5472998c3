"""Run the lessons from top to bottom and keep their outputs, without widget state or timestamps.

python scripts/run_notebooks.py [notebooks/05_dml.ipynb ...]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"


def run(path: Path) -> float:
    """Execute one notebook in place; returns the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False, extra_arguments=["--log-level=ERROR"],
    ).execute()  # fmt: skip
    seconds = time.perf_counter() - started
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)
    return seconds


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(str(p) for p in FOLDER.glob("*.ipynb")):
        print(f"{name}: {run(Path(name)):.1f} s", flush=True)
