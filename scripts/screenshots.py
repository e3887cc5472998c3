"""A picture of every explorer in JupyterLab, light and dark, on a laptop and on a projector.

    python scripts/screenshots.py pictures [explorer ...]

For the eyes before a release: text readable, ticks round, colours the same everywhere.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from xmodal_widgets.explorers import ready

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
import lab_server  # noqa: E402

SCREENS = {"laptop": (1366, 768), "projector": (1920, 1080)}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
DRAWN = "() => [...document.querySelectorAll('.xm-canvas')].some((c) => c.width > 0)"


def main() -> int:
    from playwright.sync_api import sync_playwright

    target = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")
    names = sys.argv[2:] or list(ready())
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder) / "notebooks"
        root.mkdir()
        with lab_server.chromium(playwright) as browser, lab_server.jupyterlab(root, Path(folder) / "lab") as lab:
            for name in names:
                take(browser, lab, root, name, target)
    return 0


def take(browser: object, lab: str, root: Path, name: str, target: Path) -> None:
    """The four pictures of one explorer; its problems are printed."""
    cell = f"from xmodal_widgets import explore\nexplore({name!r})"
    lab_server.write_notebook(root / f"{name}.ipynb", [cell])
    context = browser.new_context()  # type: ignore[attr-defined]
    page = context.new_page()
    problems = lab_server.watch(page)
    page.set_default_timeout(120_000)
    page.set_viewport_size(dict(zip(("width", "height"), SCREENS["laptop"], strict=True)))
    lab_server.open_in_lab(page, lab, f"{name}.ipynb")
    page.wait_for_function(DRAWN)
    for theme, title in THEMES.items():
        page.evaluate("(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })", title)
        for screen, size in SCREENS.items():
            page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
            page.evaluate("() => document.querySelector('.xm-root').scrollIntoView()")
            page.wait_for_timeout(1200)
            page.screenshot(path=target / f"{name}-{theme}-{screen}.png")
    print(name, problems or "no problems", flush=True)
    lab_server.shut_down(page)
    context.close()


if __name__ == "__main__":
    sys.exit(main())
