"""Panels of one's own: what is taken, what is refused, and what the browser gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from own_panels import example
from xmodal_widgets import Lines, Own, SweepView
from xmodal_widgets.view.kinds import View

DRAW = "(p) => p.text('here', 10, 10)"


@pytest.fixture
def cube() -> xr.Dataset:
    values = np.arange(12.0).reshape(2, 2, 3)
    return xr.Dataset(
        {"loss": (("alpha", "seed", "x"), values), "size": ("alpha", [1.0, 2.0])},
        {"alpha": [0, 1], "seed": [0, 1], "x": [1, 2, 3]},
    )


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    view = example()["view"]
    dial, lines = view.figure().subfigs[0].subfigs
    assert len(dial.axes[0].patches) == 2 and len(lines.axes[0].lines) == 1
    source = view.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert source.count("accuracy as a dial") and "unsafe" not in source


def test_other_dimensions_become_controls(cube: xr.Dataset) -> None:
    view = SweepView(cube, Own(["loss", "size"], over="x", js=DRAW), alpha=1)
    assert [c["dim"] for c in view._controls] == ["alpha", "seed"] and view.state["seed"] == "mean"
    (spec,) = view._views
    assert (spec["vars"], spec["over"], spec["var"]) == (["loss", "size"], ["x"], "loss")


def test_matplotlib_gets_the_chosen_part(cube: xr.Dataset) -> None:
    seen = []
    view = SweepView(cube, Own(("loss", "size"), over="x", matplotlib=lambda axis, shown: seen.append(shown)), alpha=1)
    view.figure()
    (shown,) = seen
    np.testing.assert_array_equal(shown.values("loss"), cube["loss"].sel(alpha=1).mean("seed"))
    assert shown.values("size") == 2.0 and shown.dim("x").values == (1, 2, 3) and shown.label("x") == "x"


def test_a_function_may_stand_in_a_file(cube: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "dot.js"
    path.write_text("const r = 3;\nexport default function dot(p) { p.ctx.arc(r, r, r, 0, 7); }\n")
    code = Own("loss", over="x", js=path).code()
    assert code is not None and "return function dot(p)" in code and "export" not in code


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({}, TypeError, "needs a drawing function"),
        ({"matplotlib": "pie"}, TypeError, "function \\(axis, shown\\), got str"),
        ({"js": 3}, TypeError, "js must be text or a pathlib.Path"),
        ({"js": "  "}, ValueError, "js must hold a function"),
        ({"js": "dial.js"}, ValueError, "for a file, give pathlib.Path"),
        ({"js": Path("nowhere.js")}, ValueError, "which is not there"),
        ({"js": "(p) => '</script>'"}, ValueError, "would end the page's script"),
        ({"js": DRAW, "title": 3}, TypeError, "title must be text"),
    ],
)
def test_what_cannot_draw_is_refused(given: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        Own("loss", **given)


def test_what_the_cube_does_not_have_is_refused(cube: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="variable in the Own view"):
        SweepView(cube, Own("accuracy", js=DRAW))
    with pytest.raises(ValueError, match="dimension of size in the Own view"):
        SweepView(cube, Own("size", over="x", js=DRAW))
    with pytest.raises(ValueError, match="var of the Own view is empty"):
        SweepView(cube, Own((), js=DRAW))


def test_a_class_that_the_browser_cannot_draw_is_refused(cube: xr.Dataset) -> None:
    @dataclass(frozen=True)
    class Violin(View):
        kind = "violin"
        var: str

    @dataclass(frozen=True)
    class Renamed(Lines):
        kind = "renamed"

    @dataclass(frozen=True)
    class Titled(Lines):
        title: str | None = "losses"

    for view in (Violin("loss"), Renamed("loss", x="x")):
        with pytest.raises(TypeError, match=r"js='\(p\) => .* or matplotlib=function"):
            SweepView(cube, view)
    assert SweepView(cube, Titled("loss", x="x"))._views[0]["title"] == "losses"


def test_the_kernel_draws_what_only_matplotlib_can(cube: xr.Dataset) -> None:
    view = SweepView(cube, Own("size", matplotlib=lambda axis, shown: axis.bar(["size"], [shown.values("size")])))
    sent: list[Any] = []
    object.__setattr__(view, "send", lambda content, buffers=None: sent.append((content, buffers)))
    size = {"width": 200, "height": 150, "ratio": 2}
    ask = {"kind": "picture", "index": 0, "key": "k", "state": {**view.state, "alpha": 1}, "size": size, "dark": True}
    view._hear(view, ask, [])
    ((content, (picture,)),) = sent
    assert content == {"kind": "picture", "index": 0, "key": "k"} and view.error == ""
    assert picture[16:24] == (400).to_bytes(4, "big") + (300).to_bytes(4, "big")  # width and height of a PNG
    view._hear(view, {**ask, "index": 7}, [])
    assert "IndexError" in view.error
