"""Random cubes with gaps, text axes and one-value axes: what a page shows at any state is what the kernel's cube holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from xmodal_widgets import Bars, HeatMap, Lines, SweepView

pytestmark = pytest.mark.browser
APP = "document.querySelector('.xm-root').xmodal"
SEEDS = [11, 12, 13, 14, 15]
SHOWN = f"() => {APP}.views.map((v) => [...v.panels[0].slice.values].map((x) => (Number.isNaN(x) ? null : x)))"


def random_cube(rng: np.random.Generator) -> xr.Dataset:
    """A variable (alpha, beta, name, switch, a, b), in any order of dimensions, with gaps; some axes have one value."""
    steps = np.cumsum(rng.uniform(0.1, 2.0, 6)).round(3)
    words = np.array(["one", "zwei", "<b>", "a long name, with a comma", "ö = 5 %"])
    axes: dict[str, Any] = {
        "alpha": steps[: rng.integers(1, 5)] - 2.0,
        "beta": [0.5] if rng.random() < 0.5 else [4, 2, 1],
        "name": words[: rng.integers(1, 6)],
        "switch": [False, True][: rng.integers(1, 3)],
        "a": steps[: rng.integers(2, 6)],
        "b": np.arange(rng.integers(2, 5)),
    }
    dims = list(rng.permutation(list(axes)))
    values = 10 ** rng.uniform(-3, 3) * rng.normal(size=[len(axes[d]) for d in dims])
    values[rng.random(values.shape) < 0.25] = np.nan
    values.flat[0] = 1.0  # a cube without any number is refused
    return xr.Dataset({"y": (dims, values)}, axes)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_cube_state_by_state(new_page: Callable[..., Any], tmp_path: Path, seed: int) -> None:
    """Opened from disk; every control stands where it was put, and each picture has the cube's numbers."""
    rng = np.random.default_rng(seed)
    cube = random_cube(rng)
    view = SweepView(cube, [HeatMap("y", x="a", y="b"), Lines("y", x="a", hue="b"), Bars("y", x="b")], free=True)
    keeps = [("a", "b"), ("b", "a"), ("b",)]
    page = new_page(width=1366, height=768)
    page.context.set_offline(True)
    page.goto(view.to_html(tmp_path / "cube.html").as_uri())
    page.wait_for_selector(".xm-canvas")
    controls = [c["dim"] for c in view._controls if not c["hidden"]]
    compared = 0
    for _ in range(12):
        state: dict[str, Any] = {}
        for dim in controls:
            known = [v.item() if hasattr(v, "item") else v for v in cube[dim].values]
            between = len(known) > 1 and isinstance(known[0], float) and rng.random() < 0.5
            state[dim] = float(np.mean(known[:2])) if between else known[int(rng.integers(len(known)))]
        page.evaluate(f"(state) => {APP}.set(state)", state)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        now = page.evaluate(f"() => {APP}.state")
        assert {d: now[d] for d in state} == state
        for keep, shown in zip(keeps, page.evaluate(SHOWN), strict=True):
            there = np.asarray([np.nan if v is None else v for v in shown])
            here = view._grid.take("y", now, keep).ravel()
            np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-6 * np.nanmax(np.abs(cube["y"].values)))
            compared += int(np.isfinite(here).sum())
    assert compared > 0
    assert page.locator(".xm-error").is_hidden() and page.problems == []
