"""Fixtures of the browser tier: one JupyterLab and one Chromium for the whole run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import lab_server
import pytest

from xmodal_lab.app import browser as installed


@cache
def chromium() -> str | None:
    return installed.find()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without a Chromium one test remains, which says so in one line (or fails, where a browser is required)."""
    is_test = collection_path.name.startswith("test_") and collection_path.parent == Path(__file__).parent
    return True if is_test and collection_path.name != "test_chromium.py" and chromium() is None else None


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if chromium() is None:
        if os.environ.get("XMODAL_REQUIRE_BROWSER") == "1":
            pytest.fail(lab_server.MISSING)
        pytest.skip(lab_server.MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, lab_server.chromium(playwright) as browser:
        yield browser


@pytest.fixture(scope="session")
def lab_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="session")
def lab(browser: Any, lab_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lab_server.jupyterlab(lab_root, tmp_path_factory.mktemp("lab")) as url:
        yield url


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """``new_page(width=1100, dark=True)`` -> a page whose ``problems`` must stay empty."""
    contexts = []

    def make(width: int = 1100, height: int = 900, dark: bool = False, **options: Any) -> Any:
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.problems = lab_server.watch(page)
        return page

    yield make
    for context in contexts:
        for page in context.pages:
            lab_server.shut_down(page)
        context.close()


@pytest.fixture
def open_cells(
    lab: str, lab_root: Path, new_page: Callable[..., Any], request: pytest.FixtureRequest
) -> Callable[..., Any]:
    """``open_cells("code", ...)`` -> a JupyterLab page with those cells run."""

    def make(*cells: str, **options: Any) -> Any:
        name = f"{request.node.name.translate(str.maketrans('[]/ ', '____'))}.ipynb"
        lab_server.write_notebook(lab_root / name, cells)
        page = new_page(**options)
        lab_server.open_in_lab(page, lab, name)
        page.notebook = name
        return page

    return make
