"""synergy's live views: Theorem 1 and the couplings are exact, the shipped cube is what the code computes today."""

from __future__ import annotations

import numpy as np
import pytest
from xmodal_widgets import explore
from xmodal_widgets.explorers import shipped, synergy

import xmodal_lab as xl


def test_the_triangle_says_what_theorem_1_says() -> None:
    view = synergy.triangle()
    at = {"delta_i": 0.4, "delta_j": 1.4, "delta_ij": 1.2}
    found = xl.transport.alpha_star(*at.values())
    said = view.cube["said"].sel(at, method="nearest").to_series()
    assert said["α* raw"] == pytest.approx(found.raw) and found.raw < 0
    assert said["α* clipped"] == 0 and said["bound, high"] == pytest.approx(found.bounds[1])
    assert said["Δ_k = √f(α*)"] == pytest.approx(found.delta_k)
    no_triangle = {"delta_i": 0.2, "delta_j": 0.2, "delta_ij": 2.0}
    assert bool(np.isnan(view.cube["said"].sel(no_triangle, method="nearest")).all())
    f = view.cube["f"].sel(at, method="nearest")
    assert float(f.sel(alpha=0.0, method="nearest")) == pytest.approx(0.16)
    assert view.figure().axes


def test_drawn_sides_have_the_lengths_they_stand_for() -> None:
    dots = synergy.sides(1.2, 1.0, 0.8, 0.5, 0.3).reshape(4, synergy.DOTS, 2)
    lengths = np.linalg.norm(dots[:, -1] - dots[:, 0], axis=1)
    np.testing.assert_allclose(lengths[:3], [1.2, 1.0, 0.8])
    apart = synergy.sides(1.0, 1.0, 3.0, 1.5, 1.5).reshape(4, synergy.DOTS, 2)
    assert float(np.abs(apart[..., 1]).max()) == 0, "sides that are no triangle lie on the line"


def test_the_cigars_are_the_worked_example() -> None:
    view = synergy.cigars(theta=45.0)
    middle = view.cube["squared"].sel(alpha=0.5)
    assert middle.sel(theta=30).values.round(3).tolist() == [2.332, 3.095, 1.694, 2.22]
    assert middle.sel(theta=45).values.round(3).tolist() == [1.357, 1.709, 1.219, 1.73]
    assert view.state["theta"] == 45.0 and view.figure().axes


def test_the_explorer_opens_complete() -> None:
    view = explore("synergy", alpha=0.5, direction="A→V")
    assert view.state["alpha"] == 0.5
    assert set(synergy.VARIABLES) <= set(view.cube.data_vars)
    for dim, values in synergy.AXES.items():
        assert view.cube[dim].values.tolist() == values
    assert not any(bool(view.cube[name].isnull().any()) for name in synergy.VARIABLES), "a shipped cube has no gap"
    assert view.figure().axes


@pytest.mark.parametrize(
    ("direction", "target", "loss"), [("A→V", "imperfect", "mse_sum"), ("L→V", "constant", "cosine")]
)
def test_a_sample_of_the_cube_computed_again(direction: str, target: str, loss: str) -> None:
    """Training differs in the last digits between processors, so the stated tolerance is not round-off."""
    at = {"direction": direction, "target": target, "loss": loss, "alpha": 0.5, "seed": 1}
    again = synergy.train_here(at, lambda share, message="": None, lambda: False)
    known = shipped.load("synergy").sel(at)
    np.testing.assert_allclose(again["accuracy"], known["accuracy"].values, atol=0.03)
    np.testing.assert_allclose(again["w2"], known["w2"].transpose("pair", "moment").values, rtol=0.1, atol=0.2)
    np.testing.assert_allclose(again["latent_loss"], known["latent_loss"].values, rtol=0.1, atol=0.1)


def test_train_here_puts_a_setting_between_the_shipped_ones_into_the_cube() -> None:
    view = explore("synergy", direction="A→V", target="constant", loss="mse_sum", alpha=0.3, seed=0)
    view.set(free=True, alpha=0.4)
    view.train(wait=True)
    assert view.error == ""
    here = view.cube.sel(direction="A→V", target="constant", loss="mse_sum", alpha=0.4, seed=0)
    assert 0.3 < float(here["clean"]) < 1 and not bool(here["w2"].isnull().any())
