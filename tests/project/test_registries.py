"""Open registries: experiments, terms, looks, claims, explorers and papers by object, place and entry point."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from torch import nn
from xmodal_widgets import SweepView, explore

import xmodal_lab as xl
from xmodal_lab.sweeps.experiment import get

# A package of somebody's own; "both" is a paper: an experiment and claims under one name.
OWN = """
import xmodal_lab as xl
from xmodal_lab.claims.claim import Claim
from xmodal_lab.claims.verdicts import gain
from xmodal_lab.sweeps.experiment import Experiment
from xmodal_widgets import Lines, SweepView

def member(settings, report):
    return {"score": settings["x"] + settings["seed"] % 3}

EXPERIMENT = Experiment("both", {"x": 0.0, "seed": 0}, member, ["score"])

@xl.terms.term("calm", weight=0.1)
def CALM(view):
    return view.outputs.square().mean((-1, -2))

NORM = xl.Look("norm", lambda net, samples: max(float(p.detach().norm()) for p in net.parameters()))

def rises(c):
    cube = c.sweep(EXPERIMENT, x=[0.0, 1.0])
    return gain((cube.score.sel(x=1.0) - cube.score.sel(x=0.0)).values + 0.01 * cube.seed.values % 0.02, scale=1)

CLAIMS = [Claim("both.rises", "The score rises with x.", "Tab 1", "1.0", rises, effect=1.0, cost="seconds")]

def wrong(views=None, controls=None):
    return {}

def explorer(views=None, controls=None, **options):
    cube = xl.sweep(EXPERIMENT, x=[0.0, 1.0, 2.0], progress=False)
    return SweepView(cube, views or Lines("score", "x"), controls, **options)
"""
POINTS = """
[xmodal_lab.experiments]
own_sweep = own_package:EXPERIMENT
[xmodal_lab.terms]
calm = own_package:CALM
[xmodal_lab.looks]
norm = own_package:NORM
[xmodal_lab.claims]
own_rows = own_package:CLAIMS
[xmodal_lab.explorers]
own_view = own_package:explorer
[xmodal_lab.papers]
both = own_package
"""


def installed(folder: Path, points: str, name: str = "own-package") -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "own_package.py").write_text(OWN)
    installed(tmp_path, POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield importlib.import_module("own_package")
    sys.modules.pop("own_package", None)


def test_an_experiment_by_object_place_and_entry_point(own: Any) -> None:
    asked = [own.EXPERIMENT, "own_package:EXPERIMENT", "own_sweep", "both"]
    cubes = [xl.sweep(one, x=[0.0, 1.0], seed=[1], progress=False) for one in asked]
    assert all(cube.score.values.tolist() == [[1.0], [2.0]] for cube in cubes)
    assert {"own_sweep", "both", "dml"} <= set(xl.sweeps.names())


def test_a_term_and_a_look_by_object_place_and_entry_point(own: Any) -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=40, n_test=20)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp", width=8)
    seen = []
    for term, look in ((own.CALM, own.NORM), ("own_package:CALM", "own_package:NORM"), ("calm", "norm")):
        run = xl.fit(net, ds, recipe=xl.Recipe(("task", term)), epochs=1)
        assert {"task", "calm"} <= set(run.history)
        seen.append(float(xl.look(run, ds.test, looks=[look]).norm))
    assert len(set(seen)) == 1
    cube = xl.sweep(xl.bench(ds, xl.Recipe(("task", "calm")), {"looks": "norm"}, epochs=1), calm=[0.0, 1.0],
                    progress=False)  # fmt: skip
    assert bool(cube.norm.notnull().all())


def test_claims_by_object_place_list_and_paper_go_on(own: Any, tmp_path: Path) -> None:
    for asked in (own.CLAIMS, own.CLAIMS[0], "own_package:CLAIMS", "own_rows", "both"):
        table = xl.claims.run(asked, progress=False, store=tmp_path / "rows")
        assert list(table["id"]) == ["both.rises"] and table.iloc[0]["verdict"] == "holds"
    assert set(xl.claims.run([own.CLAIMS[0], "dml.T3"], progress=False)["id"]) == {"both.rises", "dml.T3"}


def test_an_explorer_by_place_and_entry_point(own: Any) -> None:
    for asked in ("own_package:explorer", "own_view"):
        view = explore(asked, title="mine")
        assert isinstance(view, SweepView) and view.title == "mine" and view.error == ""


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: get("nothing"), ValueError, "experiment must be one of|unknown experiment"),
        (lambda: get("own_package:NOTHING"), ValueError, "there is no experiment at 'own_package:NOTHING'"),
        (lambda: get("own_package:NORM"), TypeError, "is a Look, not an Experiment"),
        (lambda: xl.Recipe(("nothing",)), ValueError, "unknown term 'nothing'; choose one of alignment, calm"),
        (lambda: xl.Recipe(("own_package:NORM",)), TypeError, "a term"),
        (lambda: xl.look(nn.Linear(1, 1), None, looks=["nothing"]), ValueError, "unknown look 'nothing'"),
        (lambda: explore("nothing"), ValueError, "explorer"),
        (lambda: explore("own_package:NORM"), TypeError, "an explorer is a function or a module with open"),
        (lambda: explore("own_package:wrong"), TypeError, "gave a dict; it must return a SweepView"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(own: Any, call: Callable[[], Any], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize("name", ["dml", "own_sweep"])
def test_a_name_that_is_taken_is_told(own: Any, tmp_path: Path, name: str) -> None:
    installed(tmp_path, f"[xmodal_lab.experiments]\n{name} = other_package:EXPERIMENT\n", "other-package")
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match=rf"{name!r} of 'o\w+_package:EXPERIMENT' has a name that is taken"):
        xl.sweeps.names()
    if name == "dml":
        assert get("wma").name == "wma"


TAKEN: dict[str, tuple[str, Callable[[], Any]]] = {
    "terms": ("alignment", lambda: xl.Recipe(("calm",))),
    "looks": ("norm", lambda: xl.look(nn.Linear(1, 1), None, looks=["norm"])),
    "claims": ("dml", lambda: xl.claims.run("own_rows", progress=False)),
    "explorers": ("bench", lambda: explore("own_view")),
    "papers": ("cox", lambda: get("both")),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_so_is_a_name_of_every_other_kind(own: Any, tmp_path: Path, kind: str) -> None:
    """A name of the lab, or of a package that came first; whoever asks for another name of that kind is told as well."""
    name, asked = TAKEN[kind]
    installed(tmp_path, f"[xmodal_lab.{kind}]\n{name} = other_package:THING\n", "other-package")
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match=f"{kind[:-1]} {name!r} of .* has a name that is taken, by .*{kind}"):
        asked()


def test_a_tiny_net_of_transformers_takes_every_term_and_look() -> None:
    """Built from a config, nothing is downloaded: text by a BERT, images by a linear layer, one head for both."""
    from transformers import BertConfig, BertModel

    class Net(nn.Module):
        modalities = ("image", "text")

        def __init__(self) -> None:
            super().__init__()
            size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
            config = BertConfig(vocab_size=20, max_position_embeddings=8, attn_implementation="eager", **size)
            self.bert, self.pixels = BertModel(config, add_pooling_layer=False), nn.Linear(12, 8)
            self.head = nn.Linear(8, 3)

        def latents(self, inputs):  # type: ignore[no-untyped-def]
            found = {}
            for m, x in inputs.items():
                found[m] = self.pixels(x) if m == "image" else self.bert(x.long()).last_hidden_state[:, 0]
            return found

        def classify(self, latents, only=None):  # type: ignore[no-untyped-def]
            return self.head(latents[only] if only else sum(latents.values()))

        def forward(self, inputs):  # type: ignore[no-untyped-def]
            return self.classify(self.latents({m: inputs[m] for m in self.modalities}))

    g = torch.Generator().manual_seed(0)

    def split(n: int) -> xl.Samples:
        image, text = torch.randn(n, 12, generator=g), torch.randint(1, 20, (n, 6), generator=g)
        return xl.Samples({"image": image, "text": text}, torch.arange(n) % 3, kinds={"text": "tokens"})

    ds = xl.Dataset("tiny", split(24), split(12), ("a", "b", "c"), kinds={"text": "tokens"})
    T = xl.terms
    terms = (T.Task(), T.Latent(torch.randn(24, 8, generator=g)), T.Alignment(), T.Shared("text"), T.Connection("text"))
    run = xl.fit(Net(), ds, recipe=xl.Recipe(terms, "same_class"), epochs=2, batch_size=8, snapshots=1)
    assert run.history[["task", "latent", "alignment", "shared", "connection"]].notna().all().all()
    looks = {"landscape": 3, "density": "block", "eigenvalues": 2, "lpf": 0.02, "f_gap": [0.5], "gap": True,
             "missing": 0.5, "looks": {"rows": lambda net, samples: len(samples)}}  # fmt: skip
    seen = xl.look(run, ds.test, **looks)
    assert [name for name in seen if seen[name].isnull().all()] == [], seen.attrs["why"]
    path = xl.along(run, ds.test, trajectory=5, gap=True)
    assert path.sizes["epoch"] == 3 and bool(path.trajectory.notnull().all())
    assert isinstance(seen, xr.Dataset)
