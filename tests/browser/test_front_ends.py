"""The same view in Notebook 7, Voila and marimo: drawn, moved by a key, and heard by the kernel. JupyterLab has files of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab_server
import pytest

pytestmark = pytest.mark.browser
SETUP = f"""import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import cubes
from xmodal_widgets import Bars, Contour, Own, SweepView
dial = Own("accuracy", js="(p) => p.text(p.values('accuracy')[0].toFixed(3), p.width / 2, p.height / 2)")
view = SweepView(cubes.landscapes(9), [Contour("loss"), Bars("accuracy", x="modalities"), dial])"""
HEARD = 'view.observe(lambda change: print("share is", change["new"]["share"]), "state")'
MARIMO = """import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
{setup}
    shown = mo.ui.anywidget(view)
    shown
    return mo, shown


@app.cell
def _(mo, shown):
    mo.md(f"share is {{shown.value['state']['share']}}")
    return


if __name__ == "__main__":
    app.run()
"""


def shown_and_moved(page: Any) -> None:
    """Three panels are drawn; a key on a slider changes the pixels of each."""
    page.wait_for_function(
        "() => { const all = []; const walk = (root) => root.querySelectorAll('*').forEach((e) => {"
        " if (e.matches('.xm-canvas')) all.push(e); if (e.shadowRoot) walk(e.shadowRoot); }); walk(document);"
        " return all.length === 3 && all.every((c) => c.width > 0); }"
    )
    page.wait_for_timeout(300)
    panels = page.locator(".xm-canvas").all()
    before = [lab_server.fingerprint(panel) for panel in panels]
    page.get_by_role("slider", name="share of shuffled pairs").press("ArrowRight")
    page.wait_for_timeout(300)
    assert all(old != lab_server.fingerprint(panel) for old, panel in zip(before, panels, strict=True))
    assert page.locator(".xm-error:visible").count() == 0


def test_notebook_7(tmp_path: Path, new_page: Callable[..., Any]) -> None:
    pytest.importorskip("notebook", reason="notebook is in the extra [test]")
    lab_server.write_notebook(tmp_path / "view.ipynb", [f"{SETUP}\nview", HEARD])
    page = new_page()
    page.set_default_timeout(120_000)
    with lab_server.notebook(tmp_path, tmp_path / "server") as url:
        page.goto(f"{url}/notebooks/view.ipynb", wait_until="domcontentloaded")
        page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
        page.evaluate(lab_server.WAIT_FOR_KERNEL)
        page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
        shown_and_moved(page)
        assert page.evaluate(lab_server.CELL_ERRORS) == []
        assert lab_server.execute(page, "print(view.state['share'])") == "0.25"
        lab_server.shut_down(page)
    # The front end's own console and core are its own affair: it asks for settings of plugins that are not there.
    own = [p for p in page.problems if p.startswith("console:") or "/static/notebook/notebook_core." in p]
    assert [problem for problem in page.problems if problem not in own] == []


def test_voila(tmp_path: Path, new_page: Callable[..., Any]) -> None:
    pytest.importorskip("voila", reason="voila is in the extra [app]")
    root = tmp_path / "notebooks"
    root.mkdir()
    lab_server.write_notebook(root / "view.ipynb", [f"{SETUP}\nview", HEARD])
    page = new_page()
    page.set_default_timeout(120_000)
    with lab_server.voila(root, tmp_path / "server") as url:
        page.goto(f"{url}/voila/render/view.ipynb", wait_until="domcontentloaded")
        shown_and_moved(page)
    assert page.problems == []


def test_marimo(tmp_path: Path, new_page: Callable[..., Any]) -> None:
    pytest.importorskip("marimo", reason="marimo is in the extra [test]")
    app = tmp_path / "app.py"
    app.write_text(MARIMO.format(setup="\n".join(f"    {line}" for line in SETUP.splitlines())), encoding="utf-8")
    page = new_page()
    page.set_default_timeout(120_000)
    with lab_server.marimo(app, tmp_path / "server") as url:
        page.goto(url, wait_until="domcontentloaded")
        shown_and_moved(page)
        page.get_by_text("share is 0.25").wait_for()  # the kernel heard it, and ran the cell that reads it
