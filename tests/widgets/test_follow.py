"""Follow: what is let go of is trained, what is superseded leaves nothing, drafts stay drafts; offers and groups."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from xmodal_widgets import Lines, SweepView
from xmodal_widgets.view.grid import Grid
from xmodal_widgets.view.joining import with_settings

import xmodal_lab as xl
from xmodal_lab import sweeps
from xmodal_lab.sweeps import Experiment, Variable, trained
from xmodal_lab.sweeps.experiment import listens, tell

EPOCHS = 6
PATIENCE = 30.0


def little(compute: Callable[..., Any], **options: Any) -> SweepView:
    """Curves over epochs for two names, two α and two seeds."""
    values = np.arange(2 * 2 * 2 * EPOCHS, dtype=float).reshape(2, 2, 2, EPOCHS)
    cube = xr.Dataset(
        {"curve": (("name", "alpha", "seed", "epoch"), values)},
        {"name": ["a", "b"], "alpha": [0.0, 1.0], "seed": [0, 1], "epoch": range(1, EPOCHS + 1)},
    )
    return SweepView(cube, Lines("curve", x="epoch"), compute=compute, seed=0, **options)


class Steps:
    """A training of which a test gives each epoch free."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.left: list[float] = []
        self.go = threading.Semaphore(0)
        self.waits = threading.Semaphore(0)

    def __call__(self, setting: dict[str, Any], progress: Any, cancelled: Callable[[], bool]) -> dict[str, Any]:
        self.begun.append(setting["alpha"])
        curve: list[float] = []
        try:
            for epoch in range(1, EPOCHS + 1):
                self.waits.release()
                assert self.go.acquire(timeout=PATIENCE)
                curve.append(setting["alpha"] + epoch)
                progress.tell({"curve": xr.DataArray(curve, {"epoch": range(1, epoch + 1)}, ("epoch",))})
                progress(epoch / EPOCHS, f"epoch {epoch}")
        except BaseException:
            self.left.append(setting["alpha"])
            raise
        self.ended.append(setting["alpha"])
        return {"curve": np.asarray(curve)}


def sent_by(view: SweepView) -> list[tuple[dict[str, Any], bytes]]:
    """Messages to the page, as they are sent from now on."""
    messages: list[tuple[dict[str, Any], bytes]] = []
    object.__setattr__(
        view, "send", lambda content, buffers=None: messages.append((content, bytes((buffers or [b""])[0])))
    )
    return messages


def test_a_release_trains_what_the_cube_lacks_and_nothing_else() -> None:
    steps = Steps()
    view = little(steps)
    for _ in range(EPOCHS):
        steps.go.release()
    view.set(follow=True, alpha=0.5)
    assert view.state["free"] is True, "what follows may stand between the grid's steps"
    view._trainer.join()
    assert steps.ended == [0.5] and view._job["message"] == "done"
    np.testing.assert_array_equal(view.cube["curve"].sel(name="a", alpha=0.5, seed=0), 0.5 + np.arange(1, EPOCHS + 1))
    view.set(alpha=1.0)
    view.set(alpha=0.5)
    view._trainer.join()
    assert steps.begun == [0.5], "both are in the cube"
    view.set(follow=False, alpha=0.25)
    view._trainer.join()
    assert steps.begun == [0.5], "without Follow nothing is trained"


def test_a_new_release_supersedes_within_one_epoch_and_leaves_no_half_result() -> None:
    steps = Steps()
    view = little(steps, follow=True)
    sent = sent_by(view)
    view.set(alpha=0.25)
    assert steps.waits.acquire(timeout=PATIENCE)
    steps.go.release()  # one epoch of the first
    assert steps.waits.acquire(timeout=PATIENCE)
    view.set(alpha=0.5)  # seen, and superseded before it begins
    view.set(alpha=0.75)
    for _ in range(1 + EPOCHS):
        steps.go.release()
    view._trainer.join()
    assert steps.begun == [0.25, 0.75] and steps.left == [0.25] and steps.ended == [0.75]
    assert view.cube["alpha"].values.tolist() == [0.0, 0.75, 1.0], "no place and no number of what was given up"
    kinds = [message["kind"] for message, _ in sent]
    assert kinds.index("dropped") < kinds.index("joined") and kinds.count("joined") == 1
    assert view._job["running"] is False and view.error == ""


def test_back_in_the_cube_gives_up_what_was_followed_but_not_what_the_button_asked() -> None:
    steps = Steps()
    view = little(steps, follow=True)
    view.set(alpha=0.25)
    assert steps.waits.acquire(timeout=PATIENCE)
    view.set(alpha=1.0)
    steps.go.release()
    view._trainer.join()
    assert steps.left == [0.25] and view.cube.sizes["alpha"] == 2
    view.set(follow=False, alpha=0.25)
    view.train(wait=False)
    assert steps.waits.acquire(timeout=PATIENCE)
    view.set(follow=True, alpha=0.5)  # waits behind the button
    for _ in range(2 * EPOCHS):
        steps.go.release()
    view._trainer.join()
    assert steps.ended == [0.25, 0.5]
    with pytest.raises(ValueError, match="this view cannot train"):
        SweepView(view.cube, Lines("curve", x="epoch"))._trainer.follow({})


def test_rows_of_progress_are_drafts_in_the_page_and_not_in_the_cube() -> None:
    steps = Steps()
    view = little(steps, follow=True)
    sent = sent_by(view)
    before = view.cube
    view.set(alpha=0.5)
    for _ in range(EPOCHS):
        assert steps.waits.acquire(timeout=PATIENCE)
        assert view.cube is before, "a draft is no result"
        steps.go.release()
    view._trainer.join()
    drafts = [(m, b) for m, b in sent if m["kind"] == "draft"]
    first, numbers = drafts[0]
    assert first["new"] == {"alpha": [1]} and [s["at"] for s in first["slabs"]] == [{"name": 0, "alpha": 1, "seed": 0}]
    row = np.frombuffer(numbers, "<f4")
    assert row[0] == 1.5 and np.isinf(row[1:]).all(), "one epoch is known, and what comes is not bridged"
    assert all("layout" not in m for m, _ in drafts[1:]), "the axes are sent once"
    told = [m["number"] for m, _ in drafts]
    assert told == sorted(set(told))
    assert view._job["share"] == 1.0 and view._version == 1


def test_a_part_that_fits_nowhere_is_an_error_in_the_box() -> None:
    def compute(setting: dict[str, Any], progress: Any, cancelled: Any) -> dict[str, Any]:
        progress.tell({"not in the cube": np.ones(3)})  # of a richer experiment: passed over
        progress.tell({"curve": np.ones(3)})
        return {"curve": np.ones(EPOCHS)}

    view = little(compute, follow=True)
    view.set(alpha=0.5)
    view._trainer.join()
    assert "shape (3,), expected (6,)" in view.error and view._job["message"] == "failed"
    assert view.cube.sizes["alpha"] == 2


def test_means_train_every_seed_that_is_missing() -> None:
    asked: list[dict[str, Any]] = []

    def compute(setting: dict[str, Any], *_: Any) -> dict[str, Any]:
        asked.append(setting)
        return {"curve": np.ones(EPOCHS)}

    view = little(compute, follow=True)
    view.set(alpha=0.5)
    view._trainer.join()
    view.set(seed="mean")
    view._trainer.join()
    assert [(s["alpha"], s["seed"]) for s in asked] == [(0.5, 0), (0.5, 1)]


def test_looks_of_one_result_are_not_trained_again() -> None:
    """Along what stands under "look" a result brings everything."""
    cube = xr.Dataset(
        {
            "plane": (("alpha", "strength", "k"), np.ones((2, 2, 3))),
            "score": (("alpha",), [1.0, np.nan]),
            "table": (("other",), [1.0, 2.0]),
        },
        {"alpha": [0.0, 1.0], "strength": [1.0, 2.0], "other": ["x", "y"]},
    )
    grid = Grid.of(cube)
    assert grid.holds({"alpha": 0.0, "strength": 2.0, "other": "x"})
    assert not grid.holds({"alpha": 0.0, "strength": 1.5})
    assert grid.holds({"alpha": 0.0, "strength": 1.5}, ("strength",))
    assert not grid.holds({"alpha": 0.5}) and grid.holds({"other": "y"})
    groups = {"method": ["alpha"], "look": ["strength"]}
    view = SweepView(cube, Lines("plane", x="k"), groups, compute=lambda *_: {})
    assert [(c["dim"], c["group"]) for c in view._controls] == [("alpha", "method"), ("strength", "look")]
    assert view._looked_at == ("strength",)


def test_offers_are_values_that_the_cube_lacks() -> None:
    trained = {"loss": "square", "lam": 1.0}
    cube = with_settings(xr.Dataset({"y": (("alpha", "k"), np.ones((2, 3)))}, {"alpha": [0.0, 1.0]}), trained)
    assert cube["y"].dims == ("loss", "lam", "alpha", "k") and cube["y"].size == 6

    def compute(setting: dict[str, Any], *_: Any) -> dict[str, Any]:
        return {"y": np.full(3, setting["lam"])}

    offers = {"lam": [0.5, 1.0, 2], "loss": ["cosine"]}
    view = SweepView(cube, Lines("y", x="k"), compute=compute, offers=offers, follow=True)
    by_name = {c["dim"]: c["offers"] for c in view._controls}
    assert by_name == {"loss": ["cosine"], "lam": [0.5, 2.0], "alpha": []}
    view.set(lam=2.0)
    view._trainer.join()
    assert view.cube["lam"].values.tolist() == [1.0, 2.0]
    assert view.cube["y"].sel(lam=2.0, loss="square", alpha=0.0).values.tolist() == [2.0] * 3
    plain = SweepView(cube, Lines("y", x="k"), offers=offers)
    assert all(c["offers"] == [] for c in plain._controls), "without a compute there is nothing to offer"
    with pytest.raises(ValueError, match="unknown dimension in offers 'lan'"):
        SweepView(cube, Lines("y", x="k"), compute=compute, offers={"lan": [1]})
    with pytest.raises(ValueError, match="'lam' cannot have"):
        SweepView(cube, Lines("y", x="k"), compute=compute, offers={"lam": ["much"]})
    with pytest.raises(TypeError, match="offers must be a dict"):
        SweepView(cube, Lines("y", x="k"), compute=compute, offers=["lam"])


def _member(settings: dict[str, Any], report: Any) -> dict[str, Any]:
    tell(report, lambda: {"curve": xr.DataArray([1.0], {"k": [0]}, ("k",))})
    return {"curve": [settings["alpha"], settings["lam"]]}


MINE = Experiment("follows", {"alpha": 0.0, "lam": 1.0}, _member, {"curve": Variable({"k": range(2)})})


def test_a_sweep_offers_a_setting_that_was_fixed_and_members_tell_on_the_way() -> None:
    cube = xl.sweep(MINE, alpha=[0.0, 1.0], lam=2.0, progress=False)
    view = SweepView(cube, Lines("curve", x="k"), experiment=MINE, offers={"lam": [3.0]}, follow=True)
    sent = sent_by(view)
    assert view.state["lam"] == 2.0
    view.set(lam=3.0)
    view._trainer.join()
    assert view.error == ""
    assert view.cube["curve"].sel(lam=3.0, alpha=0.0).values.tolist() == [0.0, 3.0]
    assert [m["kind"] for m, _ in sent] == ["draft", "joined"]
    at_k = sweeps.trainer(cube, MINE)({"alpha": 0.5, "k": 1})["curve"]  # a control of what every result brings
    assert at_k.tolist() == [0.5, 2.0]
    heard: list[Any] = []

    class Report:
        def __call__(self, *_: Any) -> None: ...

        def tell(self, found: Any) -> None:
            heard.append(found)

    assert listens(Report()) and not listens(lambda *_: None)
    MINE.member({"alpha": 0.0, "lam": 1.0}, Report())
    assert heard[0]["curve"].values.tolist() == [1.0]
    tell(lambda *_: None, lambda: pytest.fail("nobody listens: nothing is made"))


CALLS: list[dict[str, Any]] = []


def _counted(settings: dict[str, Any], report: Any) -> dict[str, Any]:
    CALLS.append(settings)
    return {"curve": [settings["alpha"], settings["lam"]]}


COUNTED = Experiment("counted", {"alpha": 0.0, "lam": 1.0}, _counted, {"curve": Variable({"k": range(2)})})


def test_a_later_sweep_finds_what_the_button_trained_and_a_view_what_a_sweep_did(tmp_path: Path) -> None:
    CALLS.clear()
    store = tmp_path / "mine.zarr"
    cube = xl.sweep(COUNTED, alpha=[0.0, 1.0], lam=2.0, store=store, progress=False)
    view = SweepView(cube, Lines("curve", x="k"), experiment=COUNTED, store=store, follow=True)
    view.set(alpha=0.25)
    view._trainer.join()
    assert [s["alpha"] for s in CALLS] == [0.0, 1.0, 0.25] and view.error == ""
    more = xl.sweep(COUNTED, alpha=[0.0, 0.25, 0.5, 1.0], lam=2.0, store=store, progress=False)
    assert [s["alpha"] for s in CALLS[3:]] == [0.5], "one is new; the button's is found"
    assert more["curve"].sel(alpha=0.25).values.tolist() == [0.25, 2.0]
    again = SweepView(xr.open_zarr(store, chunks=None), Lines("curve", x="k"), experiment=COUNTED, follow=True)
    again.set(alpha=0.5)
    again._trainer.join()
    assert len(CALLS) == 4, "what the sweep computed is in the view's cube"


def test_what_other_code_or_settings_trained_is_not_taken(tmp_path: Path) -> None:
    CALLS.clear()
    store = tmp_path / "mine.zarr"
    cube = xl.sweep(COUNTED, alpha=[0.0, 1.0], lam=2.0, store=store, progress=False)

    def other(setting: dict[str, Any], *_: Any) -> dict[str, Any]:
        return {"curve": np.full(2, -1.0)}

    view = SweepView(cube, Lines("curve", x="k"), compute=other, store=store, follow=True)
    view.set(alpha=0.25)  # nobody's experiment
    view._trainer.join()
    edited = replace(COUNTED, version="2")
    trained.write(
        store,
        {"alpha": 0.5},
        {},
        {"curve": xr.DataArray([9.0, 9.0], dims="k")},
        trained.source(edited, {"alpha": 0.5, "lam": 2.0}),
    )
    trained.write(
        store,
        {"alpha": 0.75},
        {},
        {"curve": xr.DataArray([9.0, 9.0], dims="k")},
        trained.source(COUNTED, {"alpha": 0.75}),
    )
    more = xl.sweep(COUNTED, alpha=[0.0, 0.25, 0.5, 0.75, 1.0], lam=2.0, store=store, progress=False)
    assert more["curve"].sel(k=1).values.tolist() == [2.0] * 5 and len(CALLS) == 5
