"""Run the lessons from top to bottom and keep their outputs, without widget state or timestamps.

python scripts/run_notebooks.py [notebooks/05_dml.ipynb ...]

What each took, its kernel's processor time (with that of workers it started) and memory, goes into the table of
docs/class.md: processor time, because a clock on the wall says as much about the neighbours as about the lesson.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
FOLDER, TABLE = ROOT / "notebooks", ROOT / "docs" / "class.md"
# Asked of the kernel at the end; the cell is taken away again. Linux counts in KiB, macOS in bytes.
ASK = """import resource, sys
own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime,
      own.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))"""


def run(path: Path) -> tuple[float, float]:
    """Execute one notebook in place; returns seconds of processor time, and the kernel's largest memory in MiB."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(ASK))
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False, extra_arguments=["--log-level=ERROR"],
    ).execute()  # fmt: skip
    seconds, memory = map(float, notebook.cells.pop().outputs[0].text.split())
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)
    return seconds, memory


def note(name: str, seconds: float, memory: float) -> None:
    """Put one lesson's line into the table, in the lessons' order."""
    page = TABLE.read_text(encoding="utf-8")
    start, held, end = re.split(r"(?<=<!-- lessons:start -->\n)(.*?)(?=<!-- lessons:end -->)", page, flags=re.S)
    rows = dict(re.findall(r"^\| (\d\d_\w+) (\|.*)$", held, re.M))
    rows[name] = f"| {seconds:.0f} | {memory:.0f} |"
    lines = [f"| {k} {v}" for k, v in sorted(rows.items())]
    table = "\n".join(["| lesson | seconds of one core | memory of its kernel, MiB |", "|---|--:|--:|", *lines])
    TABLE.write_text(f"{start}{table}\n{end}", encoding="utf-8")


if __name__ == "__main__":
    for given in sys.argv[1:] or sorted(str(p) for p in FOLDER.glob("*.ipynb")):
        took = run(Path(given))
        print(f"{given}: {took[0]:.1f} s, {took[1]:.0f} MiB", flush=True)
        if Path(given).resolve().parent == FOLDER:
            note(Path(given).stem, *took)
