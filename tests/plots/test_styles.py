"""A style holds inside its ``with``, for this package's pictures and Matplotlib's, and is gone afterwards."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

import xmodal_lab as xl

SPECTRUM = {"net": [3.0, 1.0, 0.5]}


@pytest.mark.parametrize(
    ("options", "inches"),
    [
        ({"name": "paper"}, (3.25, 3.25 * 3.2 / 5)),
        ({"name": "paper", "columns": 2}, (6.75, 6.75 * 3.2 / 5)),
        ({"name": "paper", "width": 4, "height": 3}, (4.0, 3.0)),
        ({"name": "slides"}, (10.0, 6.4)),
        ({"name": "screen"}, (5.0, 3.2)),
    ],
)
def test_size_follows_the_style(options: dict[str, object], inches: tuple[float, float]) -> None:
    before = dict(mpl.rcParams)
    with xl.plots.style(**options):
        ax = xl.plots.spectra(SPECTRUM)
        plain, _ = plt.subplots()
    assert ax.figure.get_size_inches() == pytest.approx(inches)
    if options["name"] != "screen":
        assert plain.get_size_inches()[0] == pytest.approx(inches[0])
        assert ax.xaxis.label.get_size() == {"paper": 8.0, "slides": 16.0}[str(options["name"])]
    assert dict(mpl.rcParams) == before
    after = xl.plots.spectra(SPECTRUM)
    assert after.figure.get_size_inches() == pytest.approx((5.0, 3.2))
    plt.close("all")


def test_a_style_is_gone_after_an_error_and_may_stand_in_another() -> None:
    with xl.plots.style("slides"), pytest.raises(ZeroDivisionError), xl.plots.style("paper"):
        raise ZeroDivisionError
    with xl.plots.style("slides"):
        with xl.plots.style("paper"):
            pass
        assert mpl.rcParams["font.size"] == 16.0 and mpl.rcParams["figure.figsize"][0] == 10.0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"name": "poster"}, "style 'poster'"), ({"columns": 3}, "number of columns '3'"), ({"height": 0}, "height")],
)
def test_a_style_that_is_none_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message), xl.plots.style(**options):
        pass
