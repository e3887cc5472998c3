"""The JavaScript and CSS of the view.

A widget's module is one text, so the files are joined in this order; each holds one idea
and may use what stands in the files before it. There is no build step.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
SCRIPTS = (
    "palette.js",  # colours
    "numbers.js",  # ticks, number formats, scales
    "cube.js",  # layout + float32 -> the slice that a setting shows
    "theme.js",  # colours and fonts of the page around it
    "canvas.js",  # crisp canvases, frames with axes, colour bars
    "raster.js",  # heat map and contour
    "camera.js",  # projection and box of a surface
    "surface.js",  # WebGL and 2-D painters of a surface
    "series.js",  # lines and bars
    "scatter.js",  # points
    "kinds.js",  # one table: how each kind of view reads, draws and answers the pointer
    "controls.js",  # sliders, segments, selects
    "panel.js",  # a view's element: header, canvases, read-out
    "train.js",  # "train here": button, progress, cancel
    "view.js",  # state, frames, errors: what anywidget calls
)


@cache
def script() -> str:
    """The module's source without its export; it defines ``render({ model, el })``."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)


@cache
def module() -> str:
    """The ES module that anywidget loads."""
    return script() + "\nexport default { render };\n"


@cache
def style() -> str:
    """The style sheet."""
    return (STATIC / "view.css").read_text(encoding="utf-8")
