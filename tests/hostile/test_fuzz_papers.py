"""Abuses of what the five papers offer: an error of their own or a right answer.

See ``test_fuzz_instruments`` for how tables and shares work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from abuses import PROFILE, THEIRS, Call, missing_from, no_shape_checks, normal, offenders, report
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from worlds import toy

import xmodal_lab as xl
from xmodal_lab import one_tower
from xmodal_lab.papers import cox as cx
from xmodal_lab.papers import dml as dm
from xmodal_lab.papers import synergy as sy
from xmodal_lab.papers import uml as um
from xmodal_lab.papers import wma as wm

THEIRS.add(__name__)
Calls = dict[str, Call]
PAPERS = {"cox": cx, "dml": dm, "synergy": sy, "uml": um, "wma": wm}

# Made by the library, or without arguments.
RESULTS = {
    "cox": {"Anchors", "Terms", "Outcome", "Match", "Split"},
    "uml": {"Exchange", "Geometry", "Search", "Trained", "Unpaired"},
    "wma": {
        "best_betas", "cells_beating_baseline", "falling_cells", "missing_cells", "relative_gains", "selected_cells",
        "two_way_anova",
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _as_users_have_it() -> Iterator[None]:
    with no_shape_checks():
        yield


@cache
def _views() -> tuple[dict[str, Tensor], Tensor, xl.Dataset]:
    views = {"a": normal(30, 4), "b": normal(30, 3, seed=1), "c": normal(30, 2, seed=2)}
    labels = torch.arange(30) % 3
    rows = xl.Samples(views, labels)
    return views, labels, xl.Dataset("three", rows, rows, ("x", "y", "z"))


def _plain(options: Any) -> dict[str, Any]:
    """The defaults of a dataclass that are numbers, names or lists."""
    found = {f.name: f.default for f in dataclasses.fields(options)}
    return {k: v for k, v in found.items() if isinstance(v, (int, float, str, tuple)) and not isinstance(v, bool)}


# -- tables ------------------------------------------------------------------------------------------


def cox() -> Calls:
    views, labels, dataset = _views()
    problem = cx.of_views(views, labels, "a")
    points, classes = normal(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    mapped = torch.stack([points.roll(1, 0), points + 0.1])
    family, p = next(iter(cx.FAMILIES)), cx.counterexample(0.3, 0.1)
    own, anchors = normal(1, 4, 3).log_softmax(-1), normal(1, 3, 3, seed=1).log_softmax(-1)
    match = cx.Match(
        scores=own[None].repeat(2, 1, 1, 1), own=own, points=normal(1, 4, 2), anchors=normal(1, 3, 2),
        labels=torch.tensor([[0, 1, 2]]), there=torch.ones(1, 3, dtype=torch.bool),
        draw=lambda high, shape: torch.zeros(1, *shape, dtype=torch.long),
    )  # fmt: skip
    options = cx.Options(label_share=0.3, steps=2, connect_steps=2)
    seen = {"splits": [dataset.train], "kinds": dict(dataset.kinds), "names": ["a", "b"], "perceptor": "supervised"}
    asked = {
        "views": views,
        "labels": labels,
        "out": "a",
        "test_share": 0.3,
        "inside": ["b", "c"],
        "perceptor": "given",
    }
    return {
        "cox.emergent": Call(cx.emergent, {"points": points, "mapped": mapped, "labels": classes, "count": 1}),
        "cox.labelled_rows": Call(cx.labelled_rows, {"labels": classes, "share": 0.5, "seed": 0}),
        "cox.top_agreed": Call(cx.top_agreed, {"scores": normal(2, 6, 3).log_softmax(-1), "count": 1}),
        "cox.counterexample": Call(cx.counterexample, {"flip": 0.3, "coupling": 0.1}),
        # Where no constant exists the repaired bound is infinite.
        "cox.counterexample_cube": Call(
            cx.counterexample_cube, {"flips": [0.0, 0.1], "couplings": [0.0, 0.5]}, nan=True
        ),
        "cox.draw": Call(cx.draw, {"family": family, "cases": 3, "size": 2, "seed": 0}),
        "cox.rates": Call(cx.rates, {"families": [family], "sizes": [2], "cases": 5, "seed": 0}, nan=True),
        "cox.terms": Call(cx.terms, {"p": p, "unit": "nats"}, nan=True),
        "cox.information_diagram": Call(cx.information_diagram, {"p": p, "unit": "nats"}, guises=False),
        "cox.match_weights": Call(
            cx.match_weights, {"rule": "predicted", "match": match, "missing": "raise"}, leave=FN
        ),
        "cox.exploration": Call(
            cx.exploration, {"own": own, "anchors": anchors, "weights": torch.ones(1, 4, 3) / 3}, nan=True
        ),
        "cox.of_views": Call(cx.of_views, asked | {"seed": 0}),
        "cox.of_dataset": Call(
            cx.of_dataset, {"dataset": dataset, "out": "a", "inside": ["b", "c"], "perceptor": "given", "split": "test"}
        ),
        "cox.run": Call(cx.run, {"problem": problem, "options": options}, guises=False, nan=True, leave=["None"]),
        "cox.run, asked": Call(
            cx.run,
            {"label_share": 0.3, "algorithm": "erm"},
            fixed={"problem": problem, "steps": 2, "connect_steps": 2},
            nan=True,
        ),
        "cox.run_stack": Call(cx.run_stack, {"problem": problem, "members": [options]}, guises=False, nan=True),
        "cox.Options": Call(cx.Options, _plain(cx.Options)),
        "cox.perceive": Call(cx.perceive, seen | {"classes": 3, "steps": 1, "width": 4, "seed": 0}, guises=False),
        "cox.Problem": Call(
            cx.Problem, {"train": problem.train, "test": problem.test, "out": "a", "classes": ("0", "1", "2")}
        ),
        "cox.best_relabelling": Call(
            cx.best_relabelling, {"predictions": classes.flip(0), "labels": classes, "classes": 3}
        ),
        "cox.CoxWorld": Call(cx.CoxWorld, {"given": dataset}, nan=True),
    }


# A rule of one's own fails in its own way.
FN = [("rule", abuse) for abuse in ("a module", "a type", "a function", "the type of it")]


def uml() -> Calls:
    views, labels, dataset = _views()
    train = {"image": (views["a"], labels), "text": (views["b"], labels)}
    held = {"image": train["image"]}
    data = um.unpaired(train, held, held)
    head = um.Head(steps=2, shots=1, aux_shots=1, batch_size=4)
    trained = um.train_heads(data, head)[0]
    both = {"data": data, "trained": trained}
    calls = {
        "uml.unpaired": Call(um.unpaired, {"train": train, "test": held, "val": held, "classes": ["x", "y", "z"]}),
        "uml.unpaired, dataset": Call(um.unpaired, {"train": dataset}),
        "uml.draw_shots": Call(
            um.draw_shots, {"labels": labels, "shots": 2, "seed": 0, "what": "image", "classes": ["x", "y", "z"]}
        ),
        "uml.UmlWorld": Call(um.UmlWorld, {"given": data}, nan=True),
        "uml.Head": Call(um.Head, _plain(um.Head)),
        "uml.train_heads": Call(um.train_heads, {"data": data, "heads": head}, guises=False),
        "uml.train_heads, several": Call(um.train_heads, {"data": data, "heads": [head]}, guises=False),
        "uml.geometry": Call(um.geometry, both),
        "uml.boundary_plane": Call(um.boundary_plane, both | {"pair": [0, 1]}),
        "uml.nearest_classes": Call(um.nearest_classes, {"data": both["data"], "modality": "image"}),
        "uml.decision_plane": Call(um.decision_plane, both | {"classes": [0, 1, 2], "points": 5}),
        "uml.confused": Call(um.confused, both),
        "uml.draw_decisions": Call(
            um.draw_decisions,
            {"data": data, "heads": {"UML": trained}, "classes": [0, 1, 2], "points": 5},
            guises=False,
        ),
        "uml.prototypes": Call(um.prototypes, both | {"modality": "text"}),
        "uml.baseline": Call(um.baseline, {"data": data, "head": head, "classifier": "lda"}),
        "uml.gradient_cosines": Call(um.gradient_cosines, {"data": data, "heads": head, "steps": [1, 2]}, guises=False),
        "uml.search": Call(um.search, {"data": data, "heads": head, "grid": {"lr": [0.1, 0.2]}}, guises=False),
        "uml.experiment": Call(
            _defaults(um.experiment), {"data": data, "steps": 3, "lr": 0.1, "seed": 0, "init": "random"}
        ),
        "uml.exchange": Call(
            um.exchange,
            {
                "images": views["a"],
                "texts": views["b"],
                "labels": labels,
                "words_per_text": 5.0,
                "pca": 2,
                "image_shots": [1, 2],
                "text_shots": [0, 2],
                "seeds": [0, 1],
                "rates": [0.1],
                "level": 0.95,
                "split_seed": 0,
            },
            fixed={"head": um.Head(steps=2, batch_size=4)},
            guises=False,
        ),
        # Good arguments would draw a world.
        "uml.world": Call(um.world, {"name": "no such world", "encoder": "no such encoder"}, guises=False),
    }
    return {k: dataclasses.replace(c, nan=True) for k, c in calls.items()}


def _defaults(experiment: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **given: experiment(**given).defaults


def wma() -> Calls:
    dataset = toy(24)
    tower = one_tower.OneTower.for_dataset(dataset, ["image", "audio"], width=4, layers=1, heads=2, patch=4, frames=4)
    seen = tower.hidden({m: x[:4] for m, x in dataset.test.inputs.items()})
    hidden = dataclasses.replace(seen, tokens={m: t.detach() for m, t in seen.tokens.items()}, cls=seen.cls.detach())
    how = wm.Transport()
    align = wm.Alignment(0.5, 0.5)
    align.begin(hidden)
    axes: dict[str, Any] = {
        "alpha": [0.0, 0.5, 1.0], "beta": [0.0, 1.0], "order": [0, 1], "seed": [0, 1], "split": ["val", "test"],
        "case": wm.cases_of("image+text"),
    }  # fmt: skip
    shape = tuple(map(len, axes.values()))
    cube = xr.Dataset({"score": (tuple(axes), normal(*shape).sigmoid().double().numpy()), "gain_sign": 1.0}, axes)
    path = xr.Dataset(
        {"ratio": (("beta", "step"), np.ones((2, 3))), "ceiling": 2.0}, {"beta": [0.0, 1.0], "step": [0, 10, 20]}
    )
    plan, words = normal(4, 3).abs(), ["a", "b", "c"]
    distance, first = normal(4, 1).abs(), torch.ones(1)
    small = {"n_train": 8, "n_val": 6, "n_test": 6, "seed": 0}
    settings = {
        "alpha": 0.5,
        "beta": 0.5,
        "steps": 3,
        "transport": "exact",
        "seed": 0,
        "amplitude": 3.0,
        "missing": 0.5,
    }
    drawn = {
        "wma.draw_plan": Call(wm.draw_plan, {"plan": plan, "words": words}),
        "wma.draw_plan, picture": Call(wm.draw_plan, {"plan": plan, "words": words, "picture": normal(3, 8, 8)}),
        "wma.draw_gains": Call(wm.draw_gains, {"cube": cube, "ways": ["minimise OT"]}),
        "wma.draw_distance": Call(wm.draw_distance, {"cube": path}),
    }
    return {k: dataclasses.replace(c, guises=False) for k, c in drawn.items()} | {
        "wma.distances": Call(wm.distances, {"hidden": hidden, "how": how}),
        "wma.pairs_of": Call(wm.pairs_of, {"hidden": hidden}),
        # A loss that diverged is NaN, and training looks for that.
        "wma.penalty": Call(wm.penalty, {"distance": distance, "alpha": 0.5, "beta": 0.5, "first": first}, nan=True),
        "wma.plan_of": Call(wm.plan_of, {"hidden": hidden, "a": "image", "b": "audio", "how": how}),
        "wma.Transport": Call(
            wm.Transport, {"solver": "exact", "cost": "cosine", "steps": 5, "step_size": 0.5, "epsilon": 0.05}
        ),
        "wma.Alignment": Call(
            wm.Alignment, {"alpha": 0.5, "beta": 0.5, "reference": "first_batch", "how": how}, guises=False
        ),
        "wma.Alignment()": Call(align.__call__, {"hidden": hidden}),
        "wma.world": Call(
            wm.world, {"task": "red", "head": "binary", "modalities": ("image", "text"), **small}, leave=["far above"]
        ),
        "wma.cases_of": Call(wm.cases_of, {"modalities": "image+text"}),
        "wma.WmaWorld": Call(wm.WmaWorld, {"given": dataset}, nan=True),  # looked at in experiment
        "wma.experiment": Call(_defaults(wm.experiment), settings),
        "wma.experiment, dataset": Call(_defaults(wm.experiment), {"dataset": dataset}),
        "wma.choices": Call(wm.choices, {"cube": cube, "scale": 100.0}, nan=True),
        "wma.rerun_band": Call(wm.rerun_band, {"cube": cube}, nan=True),
    }


def dml() -> Calls:
    asked = {"alpha": 0.5, "pairing": "same_class", "epochs": 2, "lr": 0.01, "batch_size": 8, "seed": 0, "xor": 0.5}
    return {
        # Good arguments would train.
        "dml.DmlWorld": Call(dm.DmlWorld, {"given": toy(24)}, nan=True),
        "dml.gain_map": Call(
            dm.gain_map,
            {"clips": [10], "noise": [1.0], "images": 20, "epochs": 5, "seeds": [0]},
            fixed={"progress": False},
            guises=False,
        ),
        "dml.experiment": Call(_defaults(dm.experiment), asked | {"modalities": "image+audio", "fusion": "concat_mlp"}),
        "dml.experiment, dataset": Call(_defaults(dm.experiment), {"dataset": toy(24)}),
    }


def synergy() -> Calls:
    return {
        "synergy.SynergyWorld": Call(sy.SynergyWorld, {"given": toy(24)}, nan=True),
        "synergy.experiment": Call(_defaults(sy.experiment), {"alpha": 0.5, "seed": 0}),
        "synergy.experiment, dataset": Call(_defaults(sy.experiment), {"dataset": toy(24)}),
        # Good arguments would train.
        "synergy.clouds": Call(sy.clouds, {"experiment": "synergy", "alpha": 2.0, "no_such_setting": 1}, guises=False),
    }


ROOMS: dict[str, Callable[[], Calls]] = {f.__name__: f for f in (cox, uml, wma, dml, synergy)}


# -- tests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paper", ROOMS)
def test_an_error_of_its_own_or_a_right_answer(paper: str) -> None:
    import matplotlib.pyplot as plt

    tried, found = offenders(ROOMS[paper](), after=lambda: plt.close("all"))
    assert tried > 10
    assert not found, report(tried, found)


@pytest.mark.parametrize("paper", ROOMS)
def test_every_public_callable_is_abused(paper: str) -> None:
    assert missing_from(ROOMS[paper](), PAPERS[paper], RESULTS.get(paper, set())) == set()


@PROFILE
@given(rows=st.integers(2, 12), classes=st.integers(1, 4), shots=st.integers(0, 3), seed=st.integers(0, 99))
def test_shots_are_drawn_of_every_class_or_refused(rows: int, classes: int, shots: int, seed: int) -> None:
    labels = torch.arange(rows) % classes
    if shots > rows // min(classes, rows):
        with pytest.raises(ValueError, match="shots of image were asked"):
            um.draw_shots(labels, shots, seed, "image")
        return
    drawn = um.draw_shots(labels, shots, seed, "image")
    there = min(classes, rows)
    assert torch.bincount(labels[drawn], minlength=there).tolist() == [shots] * there
    assert len(drawn.unique()) == len(drawn)


@PROFILE
@given(power=st.integers(-100, 100), rows=st.integers(2, 6), seed=st.integers(0, 99))
def test_emergent_anchors_do_not_depend_on_the_scale(power: int, rows: int, seed: int) -> None:
    s, points = 10.0**power, normal(rows, 3, seed=seed).double()
    mapped, labels = normal(2, 5, 3, seed=seed + 1).double(), torch.arange(5) % 2
    small, large = (cx.emergent(k * points, k * mapped, labels, 2) for k in (1.0, s))
    assert torch.equal(small.rows, large.rows)
    assert torch.equal(small.labels, large.labels)


ANSWERS: dict[str, tuple[Callable[[], Any], str]] = {
    "labels of millions": (
        lambda: um.draw_shots(torch.tensor([0, 10**12]), 1, 0, "image"),
        "number the classes from 0",
    ),
    "a list of nothing for heads": (lambda: um.train_heads(_data(), "lda"), "heads must be a list, got str"),  # type: ignore[arg-type]
    "a dict for data": (lambda: um.train_heads({}, um.Head()), "data must be an Unpaired, got dict; make it with uml"),  # type: ignore[arg-type]
    "a setting of no head": (lambda: um.search(_data(), um.Head(), {"rate": [1]}), "unknown setting in grid 'rate'"),
    "a head for a plane": (lambda: um.geometry(_data(), um.Head()), "trained must be a Trained, got Head"),  # type: ignore[arg-type]
    "a world in a list": (lambda: um.world(["numbers"]), r"unknown world \['numbers'\]"),  # type: ignore[arg-type]
    "tensors of other classes": (
        lambda: cx.exploration(torch.ones(1, 2, 3), torch.ones(1, 2, 4), torch.ones(1, 2, 2)),
        "do not fit",
    ),
    "no points": (lambda: cx.emergent(torch.ones(1, 0), torch.ones(2, 3, 0), [0, 1, 2], 1), "there must be points"),
    "a problem in words": (lambda: cx.run("shapes"), "problem must be a Problem, got str; make one with cox"),  # type: ignore[arg-type]
    "no flips": (lambda: cx.counterexample_cube([], [0.5]), "flips and couplings need at least one"),
    "tokens of a list": (lambda: wm.distances([1, 2]), "hidden must be a Hidden, got list; tower.hidden"),  # type: ignore[arg-type]
    "a distance of words": (lambda: wm.penalty("d", 1, 0), "distance must be a tensor of real numbers"),  # type: ignore[arg-type]
    "a plan without mass": (lambda: wm.draw_plan(torch.zeros(4, 1), ["a"]), "some for every word"),
    "a picture that is no square": (
        lambda: wm.draw_plan(torch.ones(4, 1), ["a"], torch.ones(3, 8, 6)),
        "must be square and split into 2x2 patches",
    ),
    "a cube of something else": (lambda: wm.choices(xr.Dataset()), "unknown variable of the cube 'score'"),
    "one split for a dataset": (lambda: dm.experiment(toy(6).train), "dataset must be a Dataset, got Samples"),  # type: ignore[arg-type]
    "a name for an experiment": (lambda: sy.clouds("synergy"), "experiment must be an Experiment, got str"),  # type: ignore[arg-type]
}


def _data() -> um.Unpaired:
    views, labels, _ = _views()
    both = {"image": (views["a"], labels), "text": (views["b"], labels)}
    return um.unpaired(both, both, both)


@pytest.mark.parametrize("mistake", ANSWERS)
def test_what_the_answer_says(mistake: str) -> None:
    make, words = ANSWERS[mistake]
    with pytest.raises((ValueError, TypeError), match=words):
        make()
