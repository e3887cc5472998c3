from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from xmodal_lab import plots


@pytest.fixture(autouse=True)
def _close() -> object:
    yield
    plt.close("all")


def plane(scale: float = 1.0) -> xr.DataArray:
    a = np.linspace(-1, 1, 5)
    values = scale * (a[:, None] ** 2 + 2 * a[None] ** 2)
    return xr.DataArray(values, {"a": a, "b": a}, ("a", "b"), attrs={"long_name": "loss"})


@pytest.mark.parametrize("kind", plots.KINDS)
def test_each_kind_draws_names_axes_and_survives_gaps(kind: str) -> None:
    values = plane()
    values[0, 0] = np.nan
    values[4, 4] = np.inf
    ax = plots.landscape(values, kind, title="here")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("a", "b", "here")
    ax.figure.canvas.draw()


@pytest.mark.parametrize("kind", plots.KINDS)
@pytest.mark.parametrize("level", [0.0, 1e9, -3e12])
def test_a_flat_plane_has_a_picture(kind: str, level: float) -> None:
    plots.landscape(0 * plane() + level, kind).figure.canvas.draw()


def test_a_heatmap_puts_a_on_the_horizontal_axis() -> None:
    ax = plots.landscape(plane(), "heatmap")
    drawn = ax.collections[0].get_array().reshape(5, 5)
    assert drawn[0, 2] == pytest.approx(2.0)  # first row is b = -1, third column a = 0


def test_side_by_side_shares_one_colour_scale() -> None:
    both = xr.concat([plane(), plane(3.0)], pd.Index(["one", "two"], name="arm"))
    figure = plots.landscapes(both, over="arm", kind="heatmap")
    meshes = [c for ax in figure.axes for c in ax.collections if hasattr(c, "get_array") and ax.get_title()]
    assert len({m.get_clim() for m in meshes}) == 1
    assert [ax.get_title() for ax in figure.axes][:2] == ["one", "two"]


def test_accuracies_show_every_run_and_the_t_interval() -> None:
    scores = pd.DataFrame({"arm": ["x"] * 5 + ["y"] * 5, "accuracy": np.r_[np.arange(5), np.ones(5)]})
    ax = plots.accuracies(scores)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["x", "y"]
    mean, half = plots.mean_interval(np.arange(5))
    low, high = stats.t.interval(0.95, 4, loc=2.0, scale=stats.sem(np.arange(5)))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert np.isnan(plots.mean_interval([1.0])[1])


def test_spectra_and_history() -> None:
    assert len(plots.spectra({"one": [3, 2, 1], "two": [2, 1, 0]}).lines) == 2
    frame = pd.DataFrame({"test_accuracy": [0.1, 0.2]}, index=[1, 2])
    assert plots.history({"one": frame}).get_ylabel() == "test accuracy"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plots.landscape(plane(), "bars"), "unknown kind"),
        (lambda: plots.landscape(plane()[0]), "dims"),
        (lambda: plots.landscapes(plane()), "name the dimension"),
        (lambda: plots.landscapes(plane(), over="arm"), "unknown dimension 'arm'"),
        (lambda: plots.landscapes({}), "no landscape was given"),
        (lambda: plots.landscapes({"x": plane(np.nan)}), "no landscape has a finite value"),
        (lambda: plots.accuracies(pd.DataFrame({"arm": [1]})), "unknown column 'accuracy'"),
        (lambda: plots.spectra({}), "no eigenvalues"),
        (lambda: plots.history({}), "no history"),
        (lambda: plots.history({"x": pd.DataFrame({"loss": [1]})}), "unknown column"),
        (lambda: plots.mean_interval([]), "at least one value"),
    ],
)
def test_bad_pictures_say_what_is_wrong(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
