"""Every exercise: an empty answer waits, wrong ones are told what is off (three ways at least), nothing raises."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import xmodal_lab as xl
from xmodal_lab import lessons
from xmodal_lab.papers import cox
from xmodal_lab.training import Run

RUN = {"pairing": "noisy", "modalities": ["image", "audio"], "epochs": 30}


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(50, 8), nn.Linear(8, 3)

    def forward(self, picture: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(torch.cat([picture, sound], 1))))


def run(score: float = 0.4, **settings: Any) -> Run:
    return Run(nn.Linear(1, 1), None, score, RUN | settings)  # type: ignore[arg-type]


def outcome(accuracy: float = 0.9, **options: Any) -> cox.Outcome:
    made = object.__new__(cox.Outcome)
    object.__setattr__(made, "accuracy", accuracy)
    object.__setattr__(made, "options", cox.Options(**{"label_share": 0.1, **options}))
    return made


def twin(model: nn.Module, weight: float = 10.0, bias: float = 10.0, back: float = 10.0) -> nn.Module:
    made = Two()
    made.load_state_dict(model.state_dict())
    with torch.no_grad():
        made.first.weight.mul_(weight), made.first.bias.mul_(bias), made.last.weight.div_(back)
    return made


def swept(clips: int = 25, alpha: tuple[float, ...] = (0, 1), seeds: int = 3, epochs: int = 40) -> xr.Dataset:
    coords = {"alpha": list(alpha), "clips_per_class": [clips], "seed": list(range(seeds))}
    scores = {"accuracy": (tuple(coords), torch.rand(len(alpha), 1, seeds).numpy())}
    return xr.Dataset(scores, coords, {"settings": f'{{"epochs": {epochs}}}'})


def path(last: float, epochs: int = 4, name: str = "w2") -> xr.Dataset:
    return xr.Dataset({name: ("epoch", torch.linspace(1, last, epochs).numpy())})


@xl.terms.term("size", weight=1.0)
def size(view: Any) -> torch.Tensor:
    return view.outputs.square().mean((1, 2))


@xl.terms.term("grows", weight=1.0)
def grows(view: Any) -> torch.Tensor:
    return -view.outputs.square().mean((1, 2)).clamp_max(50.0)


def look(function: Callable[[Any], Any]) -> xl.Look:
    return xl.Look("parameters", lambda model, samples: function(model))


STEEP = torch.tensor([90.0, 40.0] + 60 * [0.01])
BOWL = xl.Loss(lambda p: (STEEP * (p["w"] - 1) ** 2).sum(), {"w": torch.full((62,), 1.1)})
COPY = xl.Loss(BOWL.fn, BOWL.params)
SHARP = xl.landscape.eigenvectors(BOWL, 3)
OTHER = xl.Loss(lambda p: 3 * (p["w"] ** 2).sum(), {"w": torch.ones(62)})
NET = Two()
ROW = {"id": "synergy.A1", "verdict": "needs audio"}
STORE = xl.sweeps.StoreError
IPOT = {5: 0.1, 50: 0.01, 500: 1e-4}
# Exercise -> what it is given, right answers, wrong ones with a word of what they are told.
ANSWERS: dict[str, tuple[tuple[Any, ...], list[Any], list[tuple[Any, str]]]] = {
    "start.1": ((), [{"image": 0.5, "audio": 0.8, "text": 0.6}],
                [("audio", "a dict"), ({"image": 50, "audio": 80, "text": 60}, "share"),
                 ({"image": 0.1, "audio": 0.2, "text": 0.1}, "chance"), ({"image": 0.9, "audio": 0.8, "text": 0.6}, "image leads"),
                 ({"image": 0.5, "audio": 0.5, "text": 0.5}, "own modality"), ({"image": "x", "audio": 1, "text": 1}, "number")]),
    "start.2": ((run(0.7),), [run()],
                [(0.4, "xl.fit"), (run(pairing="same_class"), "same_class"), (run(0.9), "swapped"),
                 (run(epochs=2), "2 epochs"), (run(modalities=["audio"]), "two modalities")]),
    "start.3": ((BOWL,), [xl.landscape.plane(BOWL, points=5, seed=3)],
                [(xl.landscape.plane(BOWL, points=5), "another seed"), (xl.landscape.plane(OTHER, points=5, seed=1), "another net"),
                 (3.0, "plane")]),
    "synergy.1": ((), [0.36], [(0.64, "other one"), (0.4, "squared"), (0.72, "factor 2"), (0.0, "larger α"), (0.9, "smaller α"), ("a", "number"), (float("nan"), "NaN")]),
    "synergy.2": ((), [lambda z: z.mean(0)],
                  [(lambda z: z.mean(), "all entries"), (lambda z: z.mean(1), "dim 0"), (lambda z: 0 * z[0], "zero"),
                   (lambda z: z[0], "g − c"), (3, "function"), (lambda z: z.median(0), "one vector"), (lambda z: z, "shape"), (lambda z: z / "a", "raised")]),
    "synergy.3": ((), [9 / 393, 0.0229], [(9 / 384, "ratio"), (0.9, "more"), (0.01, "less"), (9, "share")]),
    "cox.1": ((), [0.7], [(0.1, "above the bound"), (0.9, "smaller coupling"), (0.123, "no value"), ("much", "number")]),
    "cox.2": ((), [[0, 2, 3], torch.tensor([3, 2, 0]), torch.tensor([[0], [2], [3]]), {0, 2, 3}], [([1, 3, 4], "from 0"), ([1, 4], "disagree"), ([0, 2], "row 3 is missing"),
              ([0, 1, 2, 3], "row 1 is none"), (3, "list"), ("0, 2, 3", "list"), ([[0], [1]], "row 1 is none"), ([True, False, True, True, False], "numbers of those rows")]),
    "cox.3": ((), [outcome()], [(outcome(0.4), "40%"), (outcome(algorithm="erm"), "erm"), (outcome(label_share=0.9), "90%"), (0.9, "cox.run")]),
    "uml.1": ((), [75], [(5, "texts"), (0.2, "upside down"), (15, "length"), (150, "buy 0.06"), (1.0, "one image buys 0.030")]),
    "uml.3": ((), [{"block": True, "schur": False}],
              [({"block": False, "schur": True}, "other way"), ({"block": True, "schur": True}, "not by schur"),
               ({"block": False, "schur": False}, "not by block"), (True, "dict")]),
    "wma.1": ((), [1.0], [(4, "itself"), (0, "Var D"), (3, "larger than"), (0.25, "smaller than"), (-1, "squared"), (float("inf"), "not 0"), (None, "number")]),
    "wma.2": ((), [2.5], [(1.25, "goes up to 2"), (1.6, "product"), (2, "units"), (10, "D₀ = 8, above 2"), (1, "can be larger")]),
    "wma.3": ((), [IPOT], [({5: 0.1}, "dict"), ({**IPOT, 500: 0.2}, "closer"), ({5: 0.3, 50: 0.2, 500: 0.1}, "thousandth"),
              ({**IPOT, 5: -0.1}, "sign"), ({**IPOT, 5: "x"}, "after 5 steps")]),
    "dml.1": ((), [swept()], [(swept(160), "never hears"), (swept(alpha=(1,)), "both ends"), (swept(seeds=2), "seed"), (swept(epochs=1), "after 1 of 40"), (0.01, "cube")]),
    "dml.2": ((), [0.5, 50], [(1.0, "fixed pairs"), (0.75, "one bit"), (0.0, "always wrong"), (0.6, "60% is more"), (0.25, "less than a coin")]),
    "dml.3": ((), [1.0], [(0.5, "upside down"), (2, "smallest"), (0, "above 0"), (-1, "below 0"), (0.3, "multiplied")]),
    "model.1": ((BOWL,), [xl.landscape.plane(BOWL, points=5, span=0.5, directions=xl.landscape.eigenvectors(BOWL, 2))],
                [(xl.landscape.plane(BOWL, points=5, span=0.5), "no steeper"), (xl.landscape.plane(BOWL, points=5, span=0.5, directions=[SHARP[0], SHARP[2]]), "sharpest"), (1.0, "plane"), (xl.landscape.plane(OTHER, points=5), "another loss")]),
    "model.2": ((BOWL,), [COPY], [(BOWL, "tuple itself"), (OTHER, "that was trained"), (xl.Loss(lambda p: 3 + BOWL.fn(p), BOWL.params), "all rows"), (1.0, "Loss was asked"), (xl.Loss(lambda p: p["w"].sum(), {"w": torch.ones(3)}), "another model")]),
    "model.3": ((NET,), [twin(NET)], [(NET, "model itself"), (twin(NET, 1, 1, 1), "those of the model"), (twin(NET, 4, 4, 4), "4 times as large"), (twin(NET, 10, 1), "bias"), (Two(), "load_state_dict"), (nn.Linear(2, 2), "Two was asked"), (3, "Two was asked")]),
    "model.4": ((), [ROW], [({**ROW, "id": "dml.A"}, "this is dml.A"), ({**ROW, "verdict": "holds"}, "dataset="), ("needs audio", "one row")]),
    "scale.1": ((), [8], [(7, "more than an hour"), (20, "would do as well"), (7.5, "whole"), (0, "at least one")]),
    "scale.2": ((), [STORE("this store has epochs=10")], [(STORE("another code"), "another reason"), ("epochs", "StoreError"), (None, "StoreError")]),
    "scale.3": ((), [12.706, 12.7], [(1.96, "normal"), (4.303, "three seeds"), (6.314, "5 %"), (8.98, "over √2"), (2.0, "95 % should"), (0, "above 0")]),
    "bench.1": ((), [{0.0: 0.1, 1.0: 0.5}], [({0.0: 0.5, 1.0: 0.1}, "swapped"), (0.4, "dict"), ({0.0: 0.5, 1.0: 0.5}, "own recipe"), ({0.0: -1, 1.0: 0.5}, "below 0")]),
    "bench.2": ((), [{"teacher": 100.0, "constant": 90.0}],
                [({"teacher": 100.0, "constant": 100.0}, "kind='constant'"), ({"teacher": 100.0, "constant": 1.0}, "as long"),
                 ({"teacher": 0, "constant": 1.0}, "above 0"), ([1, 2], "dict")]),
    "bench.3": ((), [path(0.5)], [(path(2.0), "did not narrow"), (path(0.5, 2), "no path"), (path(0.5, name="x"), "no gap"), (0.5, "xl.along")]),
    "own.1": ((), [size], [(grows, "did not shrink"), (lambda view: 0, "@xl.terms.term"), (xl.terms.term("size", weight=0.0)(size.function), "weight is 0")]),
    "own.2": ((), [look(lambda net: sum(p.numel() for p in net.parameters()))],
              [(look(lambda net: len(list(net.parameters()))), "tensors"), (look(lambda net: 7), "counts 7"), (xl.Look("parameters", lambda model: 7), "no number: "), (7, "look was asked"),
               (look(lambda net: sum(p.numel() for n, p in net.named_parameters() if "bias" not in n)), "without the biases")]),
    "own.3": ((), ["the weight of 'balance' must be at least 0"], [("", "no error"), (ValueError("balance"), "str(error)"), ("something", "something else")]),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _world() -> None:
    from xmodal_widgets.explorers import uml_theory

    world = uml_theory.world(attenuation=0.2, n_x=16, n_y=8)
    rates = {
        d: float(world.rate([torch.tensor(d).deg2rad().cos(), torch.tensor(d).deg2rad().sin()]))
        for d in range(0, 180, 1)
    }
    best = min(rates, key=lambda d: abs(torch.tensor(rates[d]).log()))
    ANSWERS["uml.2"] = (
        (world,),
        [best],
        [((best + 60) % 180, "turn v away"), (1.2, "radians"), ("left", "number"), (best + 40, "turn v")],
    )


@pytest.mark.parametrize("name", lessons.known())
def test_wrong_answers_are_told_what_is_off_and_right_ones_what_follows(name: str) -> None:
    given, right, wrong = ANSWERS[name]
    assert len(wrong) >= 3
    for answer, word in wrong:
        told = lessons.check(name, answer, *given)
        assert told.right is False and word in told.words, (answer, told)
    for answer in right:
        told = lessons.check(name, answer, *given)
        assert told.right, told
        assert len(told.words) > 30
    for waiting in (..., (..., 1)):
        assert lessons.check(name, waiting, *given).right is None


NAN = float("nan")
ODD: dict[str, Any] = {
    "None": None, "NaN": NAN, "∞": float("inf"), "True": True, "-1": -1, "1e300": 1e300, "1j": 1j, "text": "x", "no text": "",
    "bytes": b"x", "list": [], "dict": {}, "tuple": (), "set": set(), "NaN in a list": [NAN], "None in a list": [None],
    "NaN in dicts": {5: NAN, 50: NAN, 500: NAN, "image": NAN, "audio": NAN, "text": NAN, "teacher": NAN, "constant": NAN, 0.0: NAN,
                     1.0: NAN, "block": NAN, "schur": NAN, "id": "synergy.A1", "verdict": NAN},
    "array": np.full(2, NAN), "table": np.zeros((2, 3)), "tensor": torch.tensor([]), "cube": xr.Dataset(), "NaN in a cube": xr.DataArray([NAN]),
    "object": object(), "class": int, "module": torch, "function of None": lambda *a: None, "function of NaN": lambda *a: torch.tensor(NAN),
    "net": nn.Linear(2, 2), "range": range(3), "error": Exception(""),
}  # fmt: skip


@pytest.mark.parametrize("name", lessons.known())
def test_an_odd_answer_neither_passes_nor_raises_and_is_told_in_words(name: str) -> None:
    given, _, _ = ANSWERS[name]
    for kind, odd in ODD.items():
        told = lessons.check(name, odd, *given)
        assert told.right is False and "looking at your answer" not in told.words, (kind, told)


def test_a_line_and_a_box_say_the_same() -> None:
    told = lessons.check("dml.2", 1.0)
    assert str(told).startswith("✗ dml.2: ") and repr(told) == str(told) and "✗ dml.2" in told._repr_html_()
    assert "<" not in lessons.check("synergy.2", lambda z: SimpleNamespace(x="<b>"))._repr_html_().split(">", 1)[1][:-6]


def test_an_exercise_that_there_is_not_is_told() -> None:
    with pytest.raises(ValueError, match=r"'dml\.1', 'dml\.2', 'dml\.3'"):
        lessons.check("dml.9", 1)
    with pytest.raises(ValueError, match="Did you mean 'dml'"):
        lessons.check("dlm.1", 1)
