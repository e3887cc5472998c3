"""How long a key press takes to change pixels, in JupyterLab and Voila.

Run as ``python tests/browser/latency.py``; ``benchmarks/`` and the tests import ``measure``.
Three linked panels (surface 41 x 41, spectrum of 100 values, 2000 points) behind one slider.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lab_server
import numpy as np

HERE = Path(__file__).parent
CELL = f"""import sys
sys.path.insert(0, {str(HERE)!r})
from cubes import linked
from xmodal_widgets import Lines, Scatter, Surface, SweepView
view = SweepView(linked(), [Surface("loss"), Lines("spectrum", x="k"), Scatter("u", "v", color="label")])
view"""
# The output is written anew once more, when the static picture has been drawn: who presses keys meanwhile sees nothing.
PICTURE = """() => {
  const cells = jupyterapp.shell.currentWidget.content.model.cells;
  return [...cells].some((cell) => {
    const outputs = cell.outputs;
    for (let k = 0; outputs && k < outputs.length; k++) if ("image/png" in outputs.get(k).data) return true;
    return false;
  });
}"""
SHOW = "() => document.querySelectorAll('.xm-canvas').length === 3"

# Looks at every panel right after each frame is made: the task that a frame's own callback posts runs when its pictures
# have been handed to the screen. It asks anew which panels there are, since an output may be written anew.
PROBE = """() => {
  const LOOKS = 60; // milliseconds after a key press, and longer until all panels have changed
  const small = new OffscreenCanvas(96, 48).getContext("2d", { willReadFrequently: true });
  const look = (canvas) => {
    small.clearRect(0, 0, 96, 48);
    small.drawImage(canvas, 0, 0, 96, 48);
    return new Uint32Array(small.getImageData(0, 0, 96, 48).data.buffer).reduce((h, p) => (Math.imul(h, 31) + p) | 0, 0);
  };
  const last = new Map();
  const probe = (window.probe = { pressed: Infinity, changes: [] });
  document.addEventListener("keydown", (event) => { probe.pressed = event.timeStamp; probe.changes = []; }, true);
  const made = new MessageChannel();
  made.port1.onmessage = () => {
    requestAnimationFrame(frame);
    const now = performance.now();
    if (last.size && now - probe.pressed > LOOKS && probe.changes.length >= last.size) return; // it rests: so does this
    for (const canvas of document.querySelectorAll(".xm-canvas")) {
      const seen = look(canvas);
      if (last.has(canvas) && seen !== last.get(canvas) && now >= probe.pressed) probe.changes.push(now - probe.pressed);
      last.set(canvas, seen);
    }
  };
  const frame = () => made.port2.postMessage(0);
  requestAnimationFrame(frame);
}"""


def measure(page: Any, presses: int = 60, pause: float = 0.12) -> dict[str, float]:
    """Press a key on the page's first slider; milliseconds until the first and the last of three panels has changed."""
    slider = page.locator(".xm-root input[type=range]").first
    slider.scroll_into_view_if_needed()
    page.evaluate(PROBE)
    slider.focus()
    time.sleep(0.5)
    first, last = [], []
    for k in range(presses):
        page.keyboard.press("ArrowRight" if k % 40 < 20 else "ArrowLeft")
        time.sleep(pause)
        changes = _changes(page)
        if len(changes) >= 3:
            first.append(changes[0])
            last.append(changes[2])
    if not last:
        raise RuntimeError("no key press changed all three panels")
    names = {"first_p50": (first, 50), "first_p95": (first, 95), "all_p50": (last, 50), "all_p95": (last, 95)}
    return {
        "presses": presses,
        "seen": len(last),
        **{name: float(np.percentile(values, share)) for name, (values, share) in names.items()},
    }


def _changes(page: Any, patience: float = 2.0) -> list[float]:
    deadline = time.monotonic() + patience
    while len(changes := page.evaluate("() => probe.changes")) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    return list(changes)


def line(place: str, result: dict[str, float]) -> str:
    """One line of a report."""
    return (
        f"{place}: key to pixel, first panel p50 {result['first_p50']:.0f} ms, p95 {result['first_p95']:.0f} ms; "
        f"all three panels p50 {result['all_p50']:.0f} ms, p95 {result['all_p95']:.0f} ms "
        f"({result['seen']:.0f} of {result['presses']:.0f} presses)"
    )


@contextmanager
def _page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, lab_server.chromium(playwright) as browser:
        yield browser.new_page(viewport={"width": 1400, "height": 900})


def in_lab(page: Any, url: str, name: str, presses: int = 60) -> dict[str, float]:
    """Open the notebook in JupyterLab, run it and measure; ``shown`` is seconds from running the cell to pictures."""
    lab_server.open_in_lab(page, url, name, run=False)
    start = time.monotonic()
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")
    page.wait_for_function(SHOW, timeout=60_000)
    shown = time.monotonic() - start
    page.wait_for_function(PICTURE, timeout=60_000)
    page.wait_for_function(SHOW, timeout=60_000)
    return {**measure(page, presses), "shown": shown}


def main() -> None:
    """Measure in JupyterLab and Voila and print the figures."""
    with tempfile.TemporaryDirectory() as temporary, _page() as page:
        root = Path(temporary) / "notebooks"
        root.mkdir()
        lab_server.write_notebook(root / "linked.ipynb", [CELL])
        with lab_server.jupyterlab(root, Path(temporary) / "lab") as url:
            result = in_lab(page, url, "linked.ipynb")
            print(line("JupyterLab", result), f"shown {result['shown']:.1f} s after the cell was run", sep="; ")
            lab_server.shut_down(page)
        with lab_server.voila(root, Path(temporary) / "voila") as url:
            page.goto(f"{url}/voila/render/linked.ipynb", wait_until="domcontentloaded")
            page.wait_for_function(SHOW, timeout=60_000)
            print(line("Voila", measure(page)))


if __name__ == "__main__":
    main()
