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

# The longest files first, so that at the end no worker waits long for the other (tests/run_all.py gives each whole files).
LONG = ("test_notebooks_in_lab", "test_view_page", "test_one_screen", "test_app", "test_view_in_lab", "test_front_ends")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


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


@pytest.fixture(scope="session")
def _tabs(browser: Any) -> Iterator[list[Any]]:
    """The page in which JupyterLab is loaded, if there is one."""
    tabs: list[Any] = []
    yield tabs
    for page in tabs:
        page.context.close()


@pytest.fixture
def lab_page(browser: Any, _tabs: list[Any]) -> Iterator[Callable[..., Any]]:
    """``lab_page(width=1100, dark=True)`` -> a page for a notebook, one for test after test while all goes well."""
    used: list[Any] = []

    def make(width: int = 1100, height: int = 900, dark: bool = False) -> Any:
        if _tabs:
            page = _tabs.pop()
        else:
            page = browser.new_context().new_page()
            page.problems = lab_server.watch(page)
        used.append(page)
        page.set_default_timeout(30_000)
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if dark else "light")
        return page

    yield make
    for page in used:
        fine = page.problems == []
        try:
            lab_server.close_in_lab(page)
        except Exception:
            fine = False
        if fine and not _tabs:
            page.problems.clear()
            _tabs.append(page)
        else:
            page.context.close()


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
    lab: str, lab_root: Path, lab_page: Callable[..., Any], request: pytest.FixtureRequest
) -> Callable[..., Any]:
    """``open_cells("code", ...)`` -> a JupyterLab page with those cells run."""

    def make(*cells: str, **options: Any) -> Any:
        name = f"{request.node.name.translate(str.maketrans('[]/ ', '____'))}.ipynb"
        lab_server.write_notebook(lab_root / name, cells)
        page = lab_page(**options)
        lab_server.open_in_lab(page, lab, name)
        page.notebook = name
        return page

    return make
