"""A world is what an experiment follows from: its methods are the experiment's functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.experiments.bench import EXPERIMENT as BENCH
from xmodal_lab.experiments.bench import Bench
from xmodal_lab.experiments.late_fusion import LateFusionWorld
from xmodal_lab.experiments.world import DatasetWorld, StackedWorld, World, world_of
from xmodal_lab.papers import cox, dml, synergy, uml, wma
from xmodal_lab.sweeps.experiment import Variable

WORLDS = {
    "bench": (BENCH, Bench), "dml": (dml.EXPERIMENT, dml.DmlWorld), "synergy": (synergy.EXPERIMENT, synergy.SynergyWorld),
    "cox": (cox.EXPERIMENT, cox.CoxWorld), "uml": (uml.EXPERIMENT, uml.UmlWorld), "wma": (wma.EXPERIMENT, wma.WmaWorld),
}  # fmt: skip


@dataclass(frozen=True)
class Doubling(StackedWorld):
    """y = 2 x; diverges below 0."""

    name: ClassVar[str] = "doubling"
    given: None = None
    defaults: ClassVar[dict[str, Any]] = {"x": 1.0, "unread": 0}

    def load(self, s: Any) -> None:
        return None

    def variables(self, values: Any) -> dict[str, Variable]:
        return {"y": Variable()}

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        return {**s, "unread": 0}

    def stack_key(self, s: Any) -> int:
        return 0

    def stack(self, members: list[dict[str, Any]], report: Any) -> list[Any]:
        return [FloatingPointError("below 0") if s["x"] < 0 else {"y": 2 * s["x"] + 9 * s["unread"]} for s in members]


@pytest.mark.parametrize("name", WORLDS)
def test_every_experiment_that_is_known_follows_from_a_world(name: str) -> None:
    experiment, kind = WORLDS[name]
    world = world_of(experiment, kind)
    assert experiment.member == world.member and experiment.check == world.check
    assert experiment.defaults == world.defaults and experiment.name == name
    assert world_of(experiment.with_defaults(seed=3), kind) is world, "other defaults, the same world"
    with pytest.raises(TypeError, match=f"the world of experiment '{name}' must be a Doubling, got {kind.__name__}"):
        world_of(experiment, Doubling)
    with pytest.raises(
        TypeError, match=f"experiment must be an Experiment, got str; that follows from a {kind.__name__}"
    ):
        world_of(name, kind)  # type: ignore[arg-type]


def test_an_experiment_on_ones_own_data_says_whose() -> None:
    ds = toy(24)
    for made in (
        dml.experiment(ds),
        synergy.experiment(ds),
        cox.CoxWorld(ds).experiment(),
        LateFusionWorld(ds).experiment(),
    ):
        assert made.name.endswith(f" on {ds.name}") and made.version == made.world.given.fingerprint != "1"


def test_a_lone_member_is_a_stack_of_one_in_its_normal_form() -> None:
    made = Doubling().experiment(x=3.0)
    assert made.compute({"unread": 1}) == {"y": 6.0}
    with pytest.raises(FloatingPointError, match="below 0"):
        made.compute({"x": -1.0})
    cube = xl.sweep(made, x=[1.0, 2.0], how="stacked", progress=False)
    assert cube["y"].values.tolist() == [2.0, 4.0]


def test_what_does_not_stack_is_refused_as_such() -> None:
    with pytest.raises(ValueError, match="'wma' cannot be stacked"):
        xl.sweep("wma", how="stacked", progress=False)


def test_late_fusion_is_a_world_of_its_own() -> None:
    made = LateFusionWorld(toy(24)).experiment(epochs=2, width=4)
    cube = xl.sweep(made, alpha=[0.0, 1.0], progress=False)
    assert set(cube.data_vars) == {
        "accuracy",
        "loss",
        "val_accuracy",
        "accuracy_curve",
        "loss_curve",
        "train_loss_curve",
    }
    assert bool(cube["loss"].notnull().all()) and cube["loss_curve"].dims == ("alpha", "epoch")


def test_a_world_says_everything_that_it_must() -> None:
    with pytest.raises(TypeError, match="abstract"):
        World()  # type: ignore[abstract]
    with pytest.raises(TypeError, match="abstract"):
        DatasetWorld()  # type: ignore[abstract]
    with pytest.raises(TypeError, match="dataset must be a Dataset"):
        LateFusionWorld("digits")  # type: ignore[arg-type]
