"""A spectral density on a symmetric-log axis, with leading eigenvalues marked: checked in Python, drawn without a browser."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from xmodal_widgets import Density, HeatMap, SweepView
from xmodal_widgets.page.series import lambda_span

LAMBDA = 0.1 * np.sinh(np.linspace(-8.0, 8.0, 65))


def spectra() -> xr.Dataset:
    """Two blocks over a slider: a bulk at 0, a hill at λ = −1 for the head, nothing beyond |λ| = 20."""
    u = xr.DataArray(np.arcsinh(LAMBDA / 0.1), {"lambda_": LAMBDA})
    share = xr.DataArray([0.0, 1.0], {"share": [0.0, 1.0]})
    head = xr.DataArray([0.0, 1.0], {"block": ["encoder", "head"]})
    density = np.exp(-(u**2) / 0.5) + head * (1 + share) * 0.2 * np.exp(-((u + 3) ** 2) / 0.1)
    density = density.where(abs(density.lambda_) < 20, 0.0)
    k = xr.DataArray([1, 2, 3], {"k": [1, 2, 3]})
    return xr.Dataset({
        "density": density.transpose("share", "block", "lambda_"),
        "eigenvalue": ((1 + share) * 40.0 / k).transpose("share", "k"),
    })  # fmt: skip


def test_the_static_picture_marks_eigenvalues_and_shows_the_negative_end() -> None:
    view = SweepView(spectra(), Density("density", marks="eigenvalue", hue="block"), share=1.0)
    (axis,) = view.figure().axes
    low, high = axis.get_xlim()
    assert -20 < low < -0.8 and high == pytest.approx(80.0), "out to the largest eigenvalue, no further"
    (marks,) = [line for line in axis.lines if line.get_marker() == "^"]
    np.testing.assert_allclose(np.asarray(marks.get_xdata(), dtype=float), [80.0, 40.0, 80 / 3], rtol=1e-6)
    place = axis.transScale.transform(np.array([[-1.0, 1], [0.0, 1], [1.0, 1], [10.0, 1]]))[:, 0]
    np.testing.assert_allclose(place, np.arcsinh(np.array([-10.0, 0.0, 10.0, 100.0])), rtol=1e-6, atol=1e-9)
    assert axis.get_xlabel() == "λ" and axis.get_ylim()[0] == 0.0
    assert len(view._controls) == 1, "k and λ are shown, share alone is left to the reader"


def test_eigenvalues_of_blocks_have_the_colours_of_their_blocks() -> None:
    cube = spectra()
    cube["eigenvalue"] = cube["eigenvalue"] * xr.DataArray([1.0, 0.5], {"block": ["encoder", "head"]})
    view = SweepView(cube, Density("density", marks="eigenvalue", hue="block", along="k"), share=0.0)
    marks = [line for line in view.figure().axes[0].lines if line.get_marker() == "^"]
    assert [float(np.asarray(line.get_xdata())[0]) for line in marks] == [40.0, 20.0]
    assert len({to_hex(line.get_color()) for line in marks}) == 2


def test_a_cube_without_density_yet_spans_the_grid() -> None:
    view = SweepView(spectra().assign(density=lambda c: c.density * np.nan), Density("density", hue="block"))
    assert lambda_span(view._grid, view._shown[0]) == (pytest.approx(LAMBDA[0]), pytest.approx(LAMBDA[-1]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"marks": "nothing"}, "variable in the Density view"),
        ({"marks": "single"}, "needs a dimension that counts eigenvalues"),
        ({"marks": "eigenvalue", "along": "lambda_"}, "dimension of 'eigenvalue'"),
        ({"scale": 0.0}, "scale of the Density view must be a number above 0, got 0.0"),
        ({"versus": {"share": 0.0}, "hue": "share"}, "differences of densities are not densities"),
        ({"x": "share", "hue": "share"}, "uses a dimension twice"),
    ],
)
def test_a_density_view_that_does_not_fit_is_refused(options: dict[str, object], match: str) -> None:
    cube = spectra().assign(single=1.0)
    with pytest.raises(ValueError, match=match):
        SweepView(cube, Density("density", **options))  # type: ignore[arg-type]


def test_isolines_lie_between_the_middles_of_cells() -> None:
    table = xr.DataArray(
        [[0.1, 0.2, 0.3], [0.3, 0.4, 0.5], [0.5, 0.6, 0.7]], {"x": [1, 4, 16], "y": [0, 1, 12]}, name="acc"
    )
    plain, lined = (SweepView(table, HeatMap("acc", x="x", y="y", levels=on)).figure() for on in (False, True))
    assert len(lined.axes[0].collections) > len(plain.axes[0].collections)
