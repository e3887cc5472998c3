"""cox's explorer: its shipped cube is complete, and a sample of it is what the code computes today."""

from __future__ import annotations

import numpy as np
import pytest
from xmodal_widgets import explore
from xmodal_widgets.explorers import cox, shipped


def test_it_opens_complete_and_small() -> None:
    view = explore("cox", label_share=0.05)
    assert view.state["label_share"] == 0.05
    assert set(view.cube.data_vars) == set(cox.VARIABLES)
    for dim, values in cox.AXES.items():
        assert view.cube[dim].values.tolist() == values
    for name in ("x", "y", "score", "accuracy_curve"):
        assert not bool(view.cube[name].isnull().any()), name
    assert view.figure().axes
    assert (shipped.FOLDER / "cox.zarr.zip").stat().st_size <= 3 << 20


def test_its_switches_say_what_they_do() -> None:
    cube = cox.load_cube()
    assert [cube[name].attrs["long_name"] for name in ("count", "anchors")] == ["K, modalities in", "T, anchors / rows"]
    whole = {"connection": True, "exploration": True, "warmup": True, "anchors": 0.2}
    some = cube.sel(whole)
    labelled, bare = some["score"].sel(label_share=0.2, what="COX"), some["score"].sel(label_share=0.0, what="COX")
    assert float(labelled.mean()) > float(bare.mean()), "labels help"
    assert bool((cube["score"].sel(what="COX, best renaming") >= cube["score"].sel(what="COX") - 1e-6).all())
    # With labels there is no warm-up, so its switch moves nothing.
    moved = cube["score"].sel(label_share=0.2).std("warmup")
    assert float(moved.max()) == pytest.approx(0, abs=1e-6)
    assert set(np.unique(cube["kind"])) == {0, 1, 2}
    # Without exploration nothing but T points anchor; without labels T decides how many.
    few, many = ((cube["kind"].sel(label_share=0.0, anchors=t) == 2).mean() for t in (0.05, 0.2))
    assert float(few) < float(many)


@pytest.mark.slow
def test_a_sample_computed_again() -> None:
    """Training differs in the last digits between processors, so the stated tolerance is not round-off."""
    at = {"out": "text", "count": 2, "label_share": 0.2, "anchors": 0.05, "connection": True, "exploration": False,
          "warmup": True, "seed": 1}  # fmt: skip
    again = cox.train_here(at, lambda share, message="": None, lambda: False)
    shipped = cox.load_cube().sel(at)
    assert again["score"] == pytest.approx(shipped["score"].values, abs=0.05)
    assert again["mmd"][:, :2] == pytest.approx(shipped["mmd"].values[:, :2], abs=0.05)
    assert set(again) == set(cox.VARIABLES)
