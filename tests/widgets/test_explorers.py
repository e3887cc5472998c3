"""The explorers open on their shipped cubes, and a sample of each cube is what the code computes today."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from xmodal_widgets import explore
from xmodal_widgets.explorers import EXPLORERS, dml, module, ready, shipped

SHIPPED = [name for name in ready() if hasattr(module(name), "compute_cube")]


def test_dml_opens_complete_and_small() -> None:
    view = explore("dml", alpha=0.5)
    assert view.state["alpha"] == 0.5
    assert set(view.cube.data_vars) == set(dml.VARIABLES)
    for dim, values in {**dml.AXES, "span": dml.SPANS}.items():
        assert view.cube[dim].values.tolist() == values
    pairs = ("variance_ratio", "w2_squared")  # of two modalities
    assert all(bool(view.cube[name].sel(modalities="image").isnull().all()) for name in pairs)
    both = view.cube.sel(modalities=dml.BOTH)
    assert not any(bool((both if n in pairs else view.cube)[n].isnull().any()) for n in dml.VARIABLES), "no other gap"
    assert view.figure().axes
    for name in SHIPPED:
        assert (dml.CUBES / f"{name}.zarr.zip").stat().st_size <= 3 << 20


def test_an_explorer_without_a_cube_computes_its_own() -> None:
    assert {name for name in EXPLORERS if not hasattr(module(name), "compute_cube")} == {"uml_theory", "claims"}
    view = explore("uml_theory", angle=45.0)
    assert view.state["angle"] == 45.0 and len(view.figure().axes) == 4


@pytest.mark.parametrize("name", SHIPPED)
def test_every_paper_has_an_explorer_that_opens_by_name(name: str) -> None:
    view = explore(name)
    explorer = module(name)
    path = shipped.FOLDER / f"{name}.zarr.zip"
    assert path.stat().st_size <= shipped.LARGEST
    assert set(explorer.VARIABLES) <= set(view.cube.data_vars)
    for dim, values in explorer.AXES.items():
        if dim in view.cube.dims:
            assert view.cube[dim].values.tolist() == list(values), dim
    assert view.error == "" and len(view.figure().axes) >= 2
    restored = explore(name, **{k: v for k, v in view.state.items() if k in view.cube.dims})
    assert restored.state == view.state


def test_a_cube_that_is_not_shipped_or_too_large(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"ships no cube 'dml'.*make cubes"):
        shipped.load("dml")
    cube = xr.Dataset({"y": ("x", np.random.default_rng(0).normal(size=4000))}, {"x": range(4000)})
    shipped.save(cube, "mine")
    assert shipped.load("mine").equals(cube)
    monkeypatch.setattr(shipped, "LARGEST", 1000)
    with pytest.raises(ValueError, match="more than the 1000 that may ship"):
        shipped.save(cube, "mine")


def test_one_modality_has_no_pairs_to_shuffle() -> None:
    cube = dml.load_cube().sel(modalities="image")
    for dim in ("alpha", "pairing"):
        assert float(cube["accuracy"].std(dim).max()) == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("modalities", "alpha"), [("image+audio", 1.0), ("audio", 0.0)])
def test_a_sample_of_the_cube_computed_again(modalities: str, alpha: float) -> None:
    """Training differs in the last digits between processors, so the stated tolerance is not round-off."""
    at = {"modalities": modalities, "alpha": alpha, "fusion": "concat_mlp", "pairing": "same_class", "seed": 1}
    at["span"] = 1.0
    again = dml.train_here(at, lambda share, message="": None, lambda: False)
    shipped = dml.load_cube().sel(at)
    assert float(again["accuracy"]) == pytest.approx(float(shipped["accuracy"]), abs=0.03)
    np.testing.assert_allclose(np.asarray(again["landscape"]), shipped["landscape"], rtol=0.2, atol=0.1)
    np.testing.assert_allclose(np.asarray(again["under_attack"]), shipped["under_attack"], atol=0.06)


def test_an_attack_on_what_a_net_does_not_see_changes_nothing() -> None:
    attacked = dml.load_cube()["under_attack"]
    image = attacked.sel(modalities="image")
    assert float(image.sel(attacked="audio").std("eps").max()) == 0
    assert bool((image.sel(attacked="image+audio") == image.sel(attacked="image")).all())
    both = attacked.sel(modalities="image+audio")
    assert bool((both.sel(eps=0.4) < both.sel(eps=0.0)).all())


@pytest.mark.slow
def test_train_here_puts_a_setting_between_the_shipped_ones_into_the_cube() -> None:
    view = explore("dml", alpha=0.5, seed=0, span=1.0)
    view.set(free=True, alpha=0.6)
    view.train(wait=True)
    assert view.error == ""
    assert 0.6 in view.cube["alpha"].values.tolist()
    here = view.cube.sel(alpha=0.6, modalities="image+audio", pairing="same_class", seed=0, span=1.0)
    here = here.sel(fusion="concat_linear")
    assert 0.5 < float(here["accuracy"]) < 1.0
