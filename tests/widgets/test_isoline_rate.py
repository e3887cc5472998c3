"""What a HeatMap says of an exchange rate, against xl.information; a path on its plane; a floor beside a line."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.special import stdtrit
from xmodal_widgets import Contour, HeatMap, Lines, SweepView
from xmodal_widgets.explorers import bench
from xmodal_widgets.page import assets

import xmodal_lab as xl

IMAGES, TEXTS = [1, 4, 16], [0, 1, 4, 12]
NODE = shutil.which("node")


def grids() -> list[np.ndarray]:
    """(seeds, images, texts): planes, logs, flat, falling, noisy, one seed and several."""
    rng = np.random.default_rng(0)
    i, t = np.meshgrid(IMAGES, TEXTS, indexing="ij")
    shapes = [
        0.3 + 0.02 * i + 0.005 * t, 0.3 + 0.1 * np.log1p(i) + 0.04 * np.log1p(t), 0.5 + 0.02 * i - 0.01 * t,
        0.5 - 0.004 * i + 0.03 * t, 0.5 + 0 * i,
    ]  # fmt: skip
    return [
        shape + noise * rng.standard_normal((seeds, 3, 4))
        for shape in shapes for noise in (0.002, 0.03) for seeds in (1, 2, 3, 6)
    ]  # fmt: skip


@pytest.mark.skipif(NODE is None, reason="no node on the search path")
def test_the_browser_finds_the_rate_that_the_library_finds(tmp_path: Path) -> None:
    cases = grids()
    quantiles = [float(stdtrit(df, 0.975)) for df in range(1, 12)]
    (tmp_path / "cases.json").write_text(json.dumps([[one.ravel().tolist() for one in case] for case in cases]))
    script = tmp_path / "run.mjs"
    module = (assets.FOLDER / "data" / "exchange.js").as_uri()
    script.write_text(
        f"""import {{ readFileSync }} from "node:fs";
        import {{ exchangeRate }} from "{module}";
        const cases = JSON.parse(readFileSync(process.argv[2]));
        const found = cases.map((grids) => exchangeRate(grids.map((g) => Float64Array.from(g)), {IMAGES}, {TEXTS}, 8,
          {quantiles}));
        console.log(JSON.stringify(found));"""
    )
    done = subprocess.run([str(NODE), str(script), str(tmp_path / "cases.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = set()
    for case, mine in zip(cases, json.loads(done.stdout), strict=True):
        grid = case[0] if len(case) == 1 else np.moveaxis(case, 0, -1)
        want = xl.information.exchange_rate(grid, IMAGES, TEXTS, 8)
        assert mine["leads"] == want.leads
        for name in ("plane", "log"):
            fit, theirs = mine[name], getattr(want, name)
            assert bool(fit["refused"]) == bool(theirs.refused)
            assert fit["r2"] == pytest.approx(theirs.r2, abs=1e-9)
            np.testing.assert_allclose(fit["slopes"], [theirs.image_slope, theirs.text_slope], atol=1e-12)
            np.testing.assert_allclose(fit["slope"], theirs.text_slope_interval, atol=1e-9)
            if not theirs.refused:
                assert fit["ratio"] == pytest.approx(theirs.ratio) and fit["interval"] == pytest.approx(theirs.interval)
            seen.add(fit["refused"])
    assert seen == {"", "x", "y", "r2"}


def cube() -> xr.Dataset:
    rng = np.random.default_rng(0)
    case = np.moveaxis(grids()[2], 0, -1)
    side = np.linspace(-1, 1, 5)
    return xr.Dataset(
        {
            "accuracy": (("images", "texts", "seed"), case),
            "plane": (("seed", "ta", "tb"), rng.uniform(0.5, 1, (3, 5, 5))),
            "path": (("seed", "moment", "axis"), rng.uniform(-1, 1, (3, 6, 2))),
            "w2": (("seed", "epoch"), rng.uniform(1, 2, (3, 4))),
            "bias": (("seed", "epoch"), rng.uniform(0.1, 0.2, (3, 4))),
            "name": (("kind", "texts"), rng.uniform(size=(2, 4))),
        },
        {"images": IMAGES, "texts": TEXTS, "seed": [0, 1, 2], "ta": side, "tb": side, "moment": range(6),
         "axis": ["ta", "tb"], "epoch": [0, 1, 2, 3], "kind": ["a", "b"]},
    )  # fmt: skip


def test_the_static_picture_says_the_rate_the_path_and_the_floor() -> None:
    views = [HeatMap("accuracy", "images", "texts", words=8.0), Contour("plane", "ta", "tb", path="path"),
             Lines("w2", "epoch", floor="bias")]  # fmt: skip
    view = SweepView(cube(), views)
    assert view.error == "" and len(view._layout["quantiles"]) >= 9
    axes = [axis for part in view.figure().subfigs[0].subfigs for axis in part.axes]
    heat, plane, lines = (next(a for a in axes if what in a.get_title()) for what in ("accuracy", "plane", "w2"))
    want = xl.information.exchange_rate(cube()["accuracy"].values, IMAGES, TEXTS, 8.0)
    assert f"≈ {want.rate:.2g} words" in heat.get_title()
    path = cube()["path"].sel(seed=0).values  # of one seed: a mean over seeds is no way that anyone went
    np.testing.assert_allclose(plane.lines[0].get_xydata(), path)
    np.testing.assert_allclose(lines.lines[-1].get_ydata(), cube()["bias"].mean("seed"))
    assert lines.get_ylim()[0] < 0.2
    assert {"images", "texts", "ta", "moment"}.isdisjoint(view.state)


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (lambda: HeatMap("accuracy", "images", "texts", words=0.0), "words of the HeatMap must be a number above 0"),
        (lambda: HeatMap("name", "texts", "kind", words=1.0), "needs numbers along both axes; 'kind' holds names"),
        (lambda: Contour("plane", "ta", "tb", path="w2"), "'w2' is no path"),
        (lambda: Contour("plane", "ta", "tb", path="nothing"), "variable path of the Contour"),
        (lambda: Lines("w2", "epoch", floor="plane"), "dimension of floor='plane'"),
    ],
)  # fmt: skip
def test_views_that_do_not_fit_are_refused(view: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SweepView(cube(), view())  # type: ignore[operator]


def test_the_words_of_a_number_sentence_are_counted() -> None:
    lines = [s for s in xl.load("digits", modalities=("image", "text")).train.strings["text"] if s]
    assert round(float(np.mean([len(s.split()) for s in lines])), 1) == bench.WORDS
