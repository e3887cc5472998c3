"""``make app``: lessons as Voila apps, with no error and no request that leaves the machine.

Every lesson runs in JupyterLab already; the app differs in its page, so two of them stand for all
here. XMODAL_EVERY_APP=1 runs them all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lab_server
import pytest

pytestmark = pytest.mark.browser
pytest.importorskip("voila", reason="voila is in the extra [app]")
FOLDER = Path(__file__).parents[2] / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb" if os.environ.get("XMODAL_EVERY_APP") else "0[05]_*.ipynb"))
ERRORS = '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]'


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lab_server.voila(FOLDER, tmp_path_factory.mktemp("app")) as url:
        yield url


def test_the_list_of_lessons(app: str, new_page: Callable[..., Any]) -> None:
    page = new_page()
    page.goto(app)
    names = {path.name for path in FOLDER.glob("*.ipynb")}
    links = page.get_by_role("link").evaluate_all("links => links.map((link) => link.href)")
    assert sorted(links) == sorted(f"{app}/voila/render/{name}" for name in names)
    assert page.get_by_role("link", name="start here").is_visible()
    assert page.problems == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson(path: Path, app: str, new_page: Callable[..., Any]) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    page = new_page(width=1400)
    page.set_default_timeout(240_000)
    page.goto(f"{app}/voila/render/{path.name}", wait_until="commit")
    page.locator("#rendered_cells").wait_for()
    if "lessons.method(" in code:
        page.locator("img[alt*='→']").first.wait_for()  # the diagram: the first picture, before the lesson has run
    done = "() => !document.querySelector('[cell-index] > .voila-skeleton-container')"
    page.wait_for_function(done, timeout=240_000)  # the last cell has run
    assert page.get_by_text("waits for your answer").locator("visible=true").count() == 0, "exercises are hidden"
    if "SweepView(" in code or "explore(" in code:
        page.wait_for_function("() => [...document.querySelectorAll('.xm-canvas')].some((c) => c.width > 0)")
        page.evaluate("() => document.querySelector('.xm-root').scrollIntoView()")
        page.wait_for_timeout(500)
        assert max(lab_server.ink(page, ".xm-canvas")) > 0.02
        assert page.locator(".xm-error:visible").count() == 0
    assert page.locator(ERRORS).all_inner_texts() == []
    assert page.problems == []
