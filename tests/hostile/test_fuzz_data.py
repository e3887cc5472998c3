"""Abuses of data, models, training, sweeps, the ledger and the live views: an error of their own or a right answer.

See ``test_fuzz_instruments`` for how tables and shares work.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import xmodal_widgets as xw
from abuses import (
    PROFILE,
    THEIRS,
    Abuse,
    Call,
    judge,
    missing_from,
    no_shape_checks,
    normal,
    offenders,
    report,
    spoilt_numbers,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from worlds import toy

import xmodal_lab as xl
from xmodal_lab import encoders as en
from xmodal_lab import one_tower as ot
from xmodal_lab.claims.verdicts import gain
from xmodal_lab.data import samples as split

THEIRS.add(__name__)
Calls = dict[str, Call]
# Where tables write; taken away when the tests are done.
PLACE = Path(tempfile.mkdtemp(prefix="fuzz-"))

# Made by the library, not by users.
RESULTS = {
    "pairing": {"Pairs"},
    "datasets": {"LayoutError"},
    "one_tower": {"Tokens", "Hidden"},
    # A member hands a report of the house's own to the two last.
    "sweeps": {"StoreError", "commit", "names", "listens", "tell"},
    # Sentences that sweeps and claims put into their attributes.
    "samples": {"rows_said", "scored_on"},
    # What a term is given by training, the base of terms, and a part that training shares.
    "terms": {"Context", "Function", "Term", "View"},
    "recipes": {"base"},
    "looks": {"Looks", "looks_of", "model_of", "Neighbour", "taken"},
    "published": {"names"},
    "encoders": {"Pretrained"},
    # DivergedError and Run come back from fit; the others are parts of it that stacking and papers share.
    "training": {
        "DivergedError", "Run", "as_history", "check_trainable", "cut_rows", "held_out_splits", "settings_of",
        "modalities_of",
    },
}  # fmt: skip
# Functions without arguments have nothing to abuse.
RESULTS["datasets"] |= {"names", "describe"}
# transformers: its files and the network; ``tests/test_pretrained.py`` has its hostile input. Checks of other rooms.
RESULTS["encoders"] |= {"pretrained", "sizes", "check_input", "input_dtype"}
RESULTS["one_tower"] |= {"ViltTower"}


@pytest.fixture(autouse=True)
def _as_users_have_it(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (PLACE / "here").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(PLACE / "here")  # a name may be taken for a file's
    monkeypatch.delenv("XMODAL_DATA", raising=False)  # no root is none, not all the data that a machine holds
    with no_shape_checks():
        yield


@pytest.fixture(scope="module", autouse=True)
def _tidy() -> Iterator[None]:
    yield
    shutil.rmtree(PLACE, ignore_errors=True)


@cache
def _world() -> tuple[xl.Dataset, xl.LateFusion, dict[str, Tensor]]:
    dataset = toy(24)
    net = xl.LateFusion.for_dataset(dataset, architecture="mlp", width=4)
    return dataset, net, {m: x[:4] for m, x in dataset.test.inputs.items()}


# -- tables ------------------------------------------------------------------------------------------


def samples() -> Calls:
    dataset, _, _ = _world()
    inputs, labels = {"a": normal(4, 3), "b": normal(4, 2)}, torch.tensor([0, 1, 0, 1])
    present = {"a": torch.tensor([True, False, True, True])}
    rows = xl.Samples(inputs, labels)
    whole = {"name": "n", "train": rows, "test": rows, "classes": ("x", "y"), "val": rows}
    facts = {"kinds": {"a": "vector", "b": "vector"}, "provenance": {"k": 1}}
    texts = {"a": ("p", "q", "r", "s")}
    return {
        "samples.Samples": Call(  # what is absent may be NaN, and so may latents
            xl.Samples,
            {"inputs": inputs, "labels": labels, "present": present, "latents": {"z": torch.ones(4)}, "strings": texts},
            nan=True,
        ),
        "samples.Samples, real": Call(xl.Samples, {"inputs": inputs, "labels": torch.tensor([0.1, 0.2, 0.3, 0.4])}),
        "samples.Samples.subset": Call(rows.subset, {"index": torch.tensor([0, 2])}),
        "samples.Samples.subset, list": Call(rows.subset, {"index": [0, 2]}),
        "samples.Samples.select": Call(rows.select, {"modalities": ["a"]}),
        "samples.Samples.complete": Call(rows.complete, {"modalities": ["a"]}),
        "samples.Samples.to": Call(rows.to, {"device": "cpu", "dtype": torch.float64}),
        "samples.Dataset": Call(xl.Dataset, whole | facts),
        "samples.judged_alike": Call(split.judged_alike, {"dataset": dataset}),
        "samples.Dataset.to": Call(dataset.to, {"device": "cpu", "dtype": torch.float64}),
    }


def pairing() -> Calls:
    rows = xl.Samples({"a": normal(4, 3), "b": normal(4, 2)}, torch.tensor([0, 1, 0, 1]))
    plan = xl.Pairing("same_class", 0.5)
    pairs = plan.draw(rows)
    return {
        "pairing.Pairing": Call(xl.Pairing, {"mode": "same_class", "share": 0.5, "rows": "all"}),
        "pairing.Pairing.draw": Call(plan.draw, {"samples": rows, "modalities": ["a", "b"], "seed": 0, "epoch": 1}),
        "pairing.draw_together": Call(
            xl.pairing.draw_together,
            {"plans": [plan, plan], "samples": rows, "modalities": [["a", "b"]] * 2, "seeds": [0, 1], "epoch": 1},
        ),
        "pairing.Pairs.inputs": Call(pairs.inputs, {"samples": rows}),
        "pairing.Pairs.labels": Call(pairs.labels, {"samples": rows}),
    }


# Small worlds that are drawn, with every option that is a number or a name.
DRAWN: dict[str, dict[str, Any]] = {
    "digits": {
        "modalities": ["image", "text"], "images_per_class": 2, "clips_per_class": 2, "texts_per_class": 2,
        "val_per_class": 2, "test_per_class": 2, "image_energy": 0.25, "audio_noise": 1.0, "seed": 0,
    },
    "shapes": {
        "n_train": 8, "n_test": 6, "n_val": 4, "label": "shape", "xor_share": 1.0, "image_noise": 0.1,
        "audio_noise": 0.5, "word_drop": 0.2, "modalities": ["image"], "seed": 0, "sees": {"text": {"color": 1.0}},
    },
    "gaussian": {
        "n_x": 8, "n_y": 8, "shared": 2, "x_only": 1, "y_only": 1, "observed": 4, "kept": 0.5, "attenuation": 0.1,
        "noise": 0.3, "n_val": 4, "n_test": 4, "seed": 0,
    },
}  # fmt: skip


def datasets() -> Calls:
    calls = {f"datasets.load, {name}": Call(xl.load, options, fixed={"name": name}) for name, options in DRAWN.items()}
    for name in xl.datasets.names():
        folder = PLACE / name
        with contextlib.suppress(ValueError):  # a world that is drawn has no fake
            if not folder.exists():
                xl.datasets.fake(name, folder)
            plain = {k: v for k, v in xl.datasets.options(name).items() if v is not None}
            small = {k: 2 if k in ("n_train", "n_test", "n_val") else v for k, v in plain.items()}
            options = {k: list(v) if isinstance(v, tuple) else v for k, v in small.items()}
            # Pictures and spectrograms of two million pixels are none of the library's business.
            calls[f"datasets.load, {name}"] = Call(xl.load, {"root": str(folder), **options}, fixed={"name": name})

    def fake(folder: Any, **options: Any) -> None:
        place = Path(tempfile.mkdtemp(dir=PLACE)) / "x" if folder == "new" else folder
        xl.datasets.fake(folder=place, **options)

    return calls | {
        "datasets.load": Call(xl.load, {"name": "digits"}, fixed={"images_per_class": 2, "clips_per_class": 2}),
        "datasets.options": Call(xl.datasets.options, {"name": "digits"}),
        "datasets.parsed": Call(xl.datasets.parsed, {"name": "digits", "text": "seed=3"}),
        "datasets.fake": Call(fake, {"name": "emoji", "folder": "new", "rows": 4, "seed": 0}, leave=["far above"]),
        # What it would fetch from is another test's; here it refuses before it looks.
        "datasets.download": Call(
            xl.datasets.download, {"name": "no such set", "root": str(PLACE / "root")}, guises=False
        ),
    }


def encoders() -> Calls:
    sizes = {"shape": [1, 8, 8], "width": 4}
    calls = {
        "encoders.MLPEncoder": Call(en.MLPEncoder, sizes | {"hidden": 8}),
        "encoders.ConvEncoder": Call(en.ConvEncoder, sizes | {"norm": "group", "channels": [2, 4]}),
        "encoders.TokenEncoder": Call(en.TokenEncoder, {"ids": 9, "width": 4, "hidden": 8}),
        "encoders.encoder, tokens": Call(en.encoder, {"kind": "tokens", "shape": [4], "width": 4, "ids": 9}),
        "encoders.encoder": Call(en.encoder, {"kind": "image", **sizes, "architecture": "auto", "norm": "group"}),
        "encoders.zeros_like_absent": Call(en.zeros_like_absent, {"reference": torch.ones(3, 2), "shape": [1, 4]}),
    }
    return {k: dataclasses.replace(c, guises=False) for k, c in calls.items()}  # weights are drawn


def fusion() -> Calls:
    dataset, net, views = _world()
    parts = {"encoders": {"a": nn.Linear(3, 4)}, "fusion": xl.fusion.Additive(4, 1), "head": nn.Linear(4, 2)}
    present = {"image": torch.tensor([True, False, True, True])}
    asked = {
        "dataset": dataset, "modalities": ["image"], "fusion": "concat_mlp", "width": 4, "architecture": "mlp",
        "norm": "group", "outputs": 3, "seed": 0,
    }  # fmt: skip
    features = {m: f.detach() for m, f in net.encode(views).items()}
    calls = {f"fusion.{f.__name__}": Call(f, {"width": 4, "count": 2}) for f in xl.fusion.FUSIONS.values()} | {
        "fusion.CrossAttention, tokens": Call(xl.fusion.CrossAttention, {"width": 8, "count": 2, "tokens": 4}),
        "fusion.LateFusion": Call(xl.LateFusion, parts | {"shapes": {"a": (3,)}}),
    }
    return {k: dataclasses.replace(c, guises=False) for k, c in calls.items()} | {
        "fusion.LateFusion.for_dataset": Call(xl.LateFusion.for_dataset, asked),
        # A net passes NaN on.
        "fusion.LateFusion.forward": Call(net.forward, {"inputs": views, "present": present}, nan=True),
        "fusion.LateFusion.encode": Call(net.encode, {"inputs": views}, nan=True),
        "fusion.LateFusion.classify": Call(net.classify, {"features": features}, leave=["entry: sparse"], nan=True),
    }


def one_tower() -> Calls:
    dataset, _, views = _world()
    reader = ot.Patches([1, 8, 8], 4, 4)
    asked = {"modalities": ["image"], "width": 4, "layers": 1, "heads": 2, "patch": 4, "frames": 4, "outputs": 3}
    tower = ot.OneTower.for_dataset(dataset, ["image", "audio"], width=4, layers=1, heads=2, patch=4, frames=4)
    tokens = tower.embed(views)
    calls = {
        "one_tower.Patches": Call(ot.Patches, {"shape": [1, 8, 8], "width": 4, "size": 4, "pad": True}),
        "one_tower.Frames": Call(ot.Frames, {"shape": [1, 8, 8], "width": 4, "size": 4, "pad": True}),
        "one_tower.Words": Call(ot.Words, {"length": 4, "ids": 5, "width": 4}),
        "one_tower.Sequences": Call(ot.Sequences, {"shape": [4, 5], "width": 4, "size": 2}),
        "one_tower.Features": Call(ot.Features, {"length": 5, "width": 4, "size": 2}),
        "one_tower.Block": Call(ot.Block, {"width": 4, "heads": 2}),
        "one_tower.OneTower": Call(
            ot.OneTower, {"readers": {"image": reader}, "width": 4, "outputs": 2, "layers": 1, "heads": 2}
        ),
    }
    return {k: dataclasses.replace(c, guises=False) for k, c in calls.items()} | {
        "one_tower.OneTower.for_dataset": Call(ot.OneTower.for_dataset, {"dataset": dataset, **asked, "seed": 0}),
        "one_tower.OneTower.forward": Call(tower.forward, {"inputs": views}, nan=True),
        "one_tower.with_tokens": Call(ot.with_tokens, {"dataset": dataset}),
        "one_tower.Tokens.noisy": Call(tokens.noisy, {"modality": "image", "amplitude": 3.0, "seed": 0}),
        "one_tower.Tokens.without": Call(tokens.without, {"modality": "image", "share": 0.5, "seed": 0}),
    }


SETTINGS: dict[str, Any] = {
    "pairing": "fixed", "share": 0.5, "epochs": 1, "batch_size": 8, "lr": 1e-3, "optimizer": "adam", "momentum": 0.9,
    "weight_decay": 1e-4, "choose": "last", "seed": 0, "label_smoothing": 0.1, "sam": 0.05, "swa": 0.5,
    "augment": "jitter",
}  # fmt: skip


def training() -> Calls:
    dataset, net, _ = _world()
    outputs = {"outputs": normal(4, 3), "labels": torch.tensor([0, 1, 0, 1]), "label_smoothing": 0.1}
    rest = {"device": "cpu", "snapshots": 1, "checkpoints": str(PLACE / "kept"), "on_epoch": len}
    written, path = PLACE / "w.safetensors", str(PLACE / "v.safetensors")
    xl.training.save_checkpoint(net, written)
    run = xl.Run(net, xl.fit(net, dataset, epochs=1).history, 0.5)
    return {
        # A name that a folder may have makes one; so many epochs never end.
        "training.fit": Call(
            xl.fit, {"net": net, "dataset": dataset, **SETTINGS, **rest}, leave=[("epochs", "far above")]
        ),
        "training.Options": Call(xl.training.Options, SETTINGS),
        "training.Run.save": Call(run.save, {"path": path}),
        "training.evaluate": Call(xl.training.evaluate, {"model": net, "samples": dataset.test, "batch_size": 4}),
        # The loss of a net that diverged is NaN, and training looks for that.
        "training.criterion": Call(
            xl.training.criterion, outputs, leave=[("label_smoothing", "too large for a float")], nan=True
        ),
        "training.pick_device": Call(xl.training.pick_device, {"device": "cpu"}),
        "training.save_checkpoint": Call(
            xl.training.save_checkpoint, {"model": net, "path": path, "metadata": {"a": "b"}}
        ),
        "training.load_checkpoint": Call(xl.training.load_checkpoint, {"model": net, "path": str(written)}),
    }


def terms() -> Calls:
    te = xl.terms
    calls = {
        "terms.Task": Call(te.Task, {"label_smoothing": 0.1}),
        "terms.Latent": Call(
            te.Latent,
            {"teacher": "text", "loss": "mse_mean", "kind": "imperfect", "of": ["image"], "length": 4.0, "weight": 0.3},
        ),
        "terms.Latent, given": Call(te.Latent, {"teacher": normal(4, 3)}),
        "terms.Alignment": Call(
            te.Alignment,
            {"cost": "cosine", "over": "tokens", "reference": "batch", "solver": "exact", "weight": 0.1, "target": 1.0},
        ),
        "terms.Shared": Call(
            te.Shared, {"modality": "text", "shots": 2, "relation": "related", "weight": 1.0, "ratio": 1.0}
        ),
        "terms.Connection": Call(te.Connection, {"out": "image", "beta_vib": 0.1, "weight": 1.0}),
        "terms.term": Call(
            lambda function, **given: te.term(**given)(function),
            {"function": len, "name": "mine", "weight": 1.0, "setting": "a_mine"},
        ),
    }
    return {k: dataclasses.replace(c, guises=False) for k, c in calls.items()}


def recipes() -> Calls:
    re = xl.recipes
    made = xl.Recipe((xl.terms.Task(), xl.terms.Alignment()), name="r")
    calls = {
        "recipes.dml": Call(re.dml, {"alpha": 0.5, "pairing": "same_class", "rows": "complete"}),
        "recipes.synergy": Call(
            re.synergy, {"alpha": 0.3, "direction": "L→V", "kind": "imperfect", "loss": "mse_mean"}
        ),
        "recipes.wma": Call(re.wma, {"alpha": 0.1, "beta": 0.4, "reference": "batch", "cost": "cosine"}),
        "recipes.uml": Call(re.uml, {"lam": 1.0, "modality": "text", "shots": 2, "ratio": 1.0, "relation": "related"}),
        "recipes.cox": Call(re.cox, {"weight": 1.0, "out": "image", "beta_vib": 0.1}),
        "recipe.Recipe": Call(
            xl.Recipe, {"terms": [xl.terms.Task()], "pairing": "shuffled", "mix": "convex", "name": "r"}
        ),
        "recipe.Recipe.with_settings": Call(made.with_settings, {"a_align": 0.3, "share": 0.5}),
    }
    return {k: dataclasses.replace(c, guises=False) for k, c in calls.items()}


def looks() -> Calls:
    dataset, net, _ = _world()
    kept = {0: dict(net.state_dict()), 1: dict(net.state_dict())}
    asked = {"landscape": 3, "span": 1.0, "eigenvalues": 1, "lpf": 0.1, "f_gap": [0.5], "pgd": [0.1], "missing": 0.5,
             "noise": 1.0, "rows": 4, "seed": 0}  # fmt: skip
    calls = {
        "look.look": Call(xl.look, {"run": net, "samples": dataset.test, **asked}),
        "look.along": Call(
            xl.along, {"run": kept, "samples": dataset.test, "trajectory": 3, "rows": 4}, fixed={"model": net}
        ),
        "look.Look": Call(
            xl.Look, {"name": "n", "function": len, "dims": {"a": [0, 1]}, "label": "l", "units": "u"}, nan=True
        ),
        "bench.bench": Call(
            lambda **given: xl.bench(**given).defaults,
            {"dataset": dataset, "recipe": xl.recipes.dml(), "looks": {"landscape": 3}, "checkpoints": 2, "name": "n",
             "epochs": 1, "lr": 0.01},
        ),
    }  # fmt: skip
    return {k: dataclasses.replace(c, guises=False, nan=True) for k, c in calls.items()}


def _member(s: dict[str, Any], report: Any) -> dict[str, float]:
    return {"v": s["x"] + s["seed"]}


MINE = xl.sweeps.Experiment("mine", {"x": 0.0, "seed": 0}, _member, {"v": xl.sweeps.Variable()})


def _rises(c: Any) -> Any:
    cube = c.sweep(MINE, x=[0.0, 1.0])
    return gain((cube.v.sel(x=1.0) - cube.v.sel(x=0.0)).values, scale=1)


def sweeps() -> Calls:
    mine = MINE
    axes = {"x": [0.0, 1.0], "seed": [0, 1]}
    cube = xl.sweep(mine, progress=False, **axes)
    given = {"name": "n", "defaults": {"x": 0.0}, "member": _member, "variables": {"v": xl.sweeps.Variable()}}
    named = xr.Dataset(attrs={"experiment": "dml", "defaults": {}, "settings": {}})
    ways = {"how": "auto", "stack": 2, "retries": 1}
    return {
        "sweeps.sweep": Call(
            xl.sweep, {"experiment": mine, "store": None, **ways, **axes}, fixed={"progress": False}, leave=["store"]
        ),
        "sweeps.sweep, store": Call(
            xl.sweep, {"store": str(PLACE / "s.zarr")}, fixed={"experiment": mine, "progress": False, **axes}
        ),
        # A label may be anything that prints.
        "sweeps.Experiment": Call(xl.sweeps.Experiment, given | {"labels": {"x": "X"}, "version": "1"}, nan=True),
        "sweeps.Experiment.settings": Call(mine.settings, {"x": 1.0, "seed": 0}),
        "sweeps.Experiment.compute": Call(mine.compute, {"given": {"x": 1.0}}),
        "sweeps.Variable": Call(
            xl.sweeps.Variable, {"dims": {"a": [0, 1]}, "label": "l", "units": "u", "dtype": "float32"}, nan=True
        ),
        "sweeps.choose": Call(
            xl.sweeps.choose, {"cube": cube, "over": ["x"], "by": "v", "across": ["seed"]}, guises=False
        ),
        "sweeps.Devices": Call(lambda devices: len(xl.sweeps.Devices(devices).devices), {"devices": ["cpu", "cpu"]}),
        "sweeps.band": Call(xl.sweeps.band, {"values": cube, "dim": "seed", "level": 0.95}),
        "sweeps.trainer": Call(xl.sweeps.trainer, {"cube": named}),
        "sweeps.environment": Call(xl.sweeps.environment, {"experiment": mine, "fixed": {"x": 1.0}}),
    }


def published() -> Calls:  # a cell that is not printed is NaN
    return {
        "published.tables": Call(xl.tables, {"paper": "wma", "number": 3}, nan=True),
        "published.cube": Call(xl.published.cube, {"paper": "wma", "number": 3}, nan=True),
        "published.cite": Call(lambda used: xl.cite(used), {"used": "dml"}),
        # Good arguments would read a file of one's own (tests/test_results.py): only what is refused is tried.
        "published.read": Call(xl.read, {"path": str(PLACE / "none.nc")}, guises=False),
    }


def claims() -> Calls:
    shipped = str(Path(xl.__file__).parent / "claims" / "shipped" / "claims.json")
    own = xl.claims.Claim("mine.b", "It rises.", "Tab 1", "1", _rises, effect=1.0, cost="seconds")
    calls = {
        "claims.known": Call(xl.claims.known, {"paper": "dml"}),
        "claims.table": Call(xl.claims.table, {"paper": "dml"}),
        "claims.show": Call(xl.claims.show, {"rows": "dml"}),
        "claims.table, path": Call(xl.claims.table, {"path": shipped}),
        "claims.table, dataset": Call(xl.claims.table, {"dataset": "avmnist"}),
        "claims.Claim": Call(
            xl.claims.Claim,
            {"id": "mine.a", "text": "It is so.", "source": "Tab 1", "printed": "1", "trained": True, "effect": 1.0,
             "cost": "minutes", "shares": "", "tasks": ["classes"]},
            fixed={"measure": print},
        ),
        "claims.effects": Call(xl.claims.effects, {"rows": "dml"}),
        "claims.repeat": Call(
            xl.claims.repeat, {"share": 2.0, "budget": "no such budget"}, fixed={"progress": False}, guises=False
        ),
        # Good arguments would read what a run has finished; what is refused before that is tried.
        "claims.finished": Call(
            xl.claims.finished, {"ids": "dml.A", "store": str(PLACE / "no such store"), "budget": "quick"}, guises=False
        ),
        "claims.firmness": Call(xl.claims.firmness, {"rows": "uml", "ids": ["uml.X"], "draws": 2, "seed": 0}),
        "claims.chosen": Call(xl.claims.chosen, {"ids": ["dml.A"]}),
        # Good arguments would measure claims: only what is refused before that is tried.
        "claims.run": Call(
            xl.claims.run, {"ids": "no such claim", "budget": "no such budget"}, fixed={"progress": False}, guises=False,
            leave=[("ids", "None"), ("ids", "an empty list")],
        ),
        # A claim of one's own: where its seeds are spoilt into a right answer, none of the library's is measured.
        "claims.run, seeds": Call(
            xl.claims.run, {"seeds": [0]}, fixed={"ids": own, "progress": False}, guises=False, leave=["twice"]
        ),
        # Without a dataset, which is refused before anything is tried.
        "claims.run, within": Call(
            xl.claims.run, {"within": 5.0}, fixed={"ids": own, "progress": False}, guises=False, leave=["None"]
        ),
    }  # fmt: skip
    return {k: dataclasses.replace(c, nan=True) for k, c in calls.items()}


def widgets() -> Calls:
    axes = {"alpha": [0.0, 1.0], "seed": [0, 1], "a": [-1.0, 0.0, 1.0], "b": [-1.0, 0.0, 1.0]}
    cube = xr.Dataset({"loss": (tuple(axes), normal(2, 2, 3, 3).numpy())}, axes)
    spectrum = xr.Dataset(
        {"density": ("lambda_", [0.0, 1.0, 0.5]), "eigenvalue": ("k", [2.0, 1.0])},
        {"lambda_": [-1.0, 0, 2], "k": [0, 1]},
    )
    points = xr.Dataset({"u": (("k", "n"), np.eye(2, 5)), "w": (("k", "n"), np.eye(2, 5))}, {"k": [0, 1]})
    ranges = xr.Dataset(
        {n: ("row", [v, v]) for n, v in (("low", 0.1), ("mean", 0.4), ("high", 0.7))}, {"row": ["p", "q"]}
    )
    plane = {"var": "loss", "x": "a", "y": "b", "col": "alpha", "limits": (0.0, 1.0), "title": "t"}
    series = {"var": "loss", "x": "a", "hue": "alpha", "band": "seed", "limits": (0.0, 1.0), "title": "t"}
    view = xw.SweepView(cube, [xw.Surface("loss")])
    shown: dict[str, Any] = {"cube": cube, "views": [xw.Surface("loss")], "controls": ["alpha"], "title": "t"}

    def drawn(kind: type, cube: xr.Dataset) -> Callable[..., Any]:
        return lambda **options: xw.SweepView(cube, [kind(**options)])

    calls = {
        "SweepView": Call(xw.SweepView, {**shown, "average": ["seed"], "compute": lambda s, p, c: {}}),
        "SweepView, state": Call(xw.SweepView, {"alpha": 1.0, "seed": 1}, fixed={"cube": cube, "free": True}),
        "SweepView.set": Call(view.set, {"alpha": 1.0, "seed": 1}),
        "SweepView.to_html": Call(view.to_html, {"path": str(PLACE / "x.html"), "text": "# Mine", "below": "so"}),
        "SweepView.guard": Call(view.guard, {"fn": len}),
        "explore": Call(xw.explore, {"name_or_cube": cube}),
        "explore, name": Call(xw.explore, {"name_or_cube": "no such explorer"}),
        **{k.__name__: Call(drawn(k, cube), plane) for k in (xw.Surface, xw.Contour, xw.HeatMap)},
        **{k.__name__: Call(drawn(k, cube), series) for k in (xw.Lines, xw.Bars)},
        "Density": Call(
            drawn(xw.Density, spectrum),
            {"var": "density", "x": "lambda_", "marks": "eigenvalue", "along": "k", "scale": 0.1, "title": "t"},
        ),
        "Intervals": Call(
            drawn(xw.Intervals, ranges),
            {
                "var": "mean",
                "low": "low",
                "high": "high",
                "mark": "mean",
                "rows": "row",
                "limits": (0.0, 1.0),
                "shade": (0.0, 0.5),
                "title": "t",
            },
        ),
        # Variables and dimensions are looked up when it is drawn.
        "Own": Call(
            drawn(xw.Own, points), {"var": "u", "over": ("n",), "js": "(p) => p.text('a', 1, 1)", "title": "t"}
        ),
        "Scatter": Call(
            drawn(xw.Scatter, points), {"x": "u", "y": "w", "color": "w", "points": "n", "col": "k", "title": "t"}
        ),
    }
    return {k: dataclasses.replace(c, guises=False) for k, c in calls.items()}


ROOMS: dict[str, Callable[[], Calls]] = {
    f.__name__: f
    for f in (
        samples, pairing, datasets, encoders, fusion, one_tower, training, terms, recipes, looks, sweeps, published,
        claims, widgets,
    )
}  # fmt: skip


# -- tests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_an_error_of_its_own_or_a_right_answer(room: str) -> None:
    tried, found = offenders(ROOMS[room]())
    assert tried > 5
    assert not found, report(tried, found)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_callable_is_abused(room: str) -> None:
    module = {"widgets": xw, "samples": split, "looks": sys.modules["xmodal_lab.instruments.look"]}.get(
        room
    ) or getattr(xl, room)
    assert missing_from(ROOMS[room](), module, RESULTS.get(room, set())) == set()


def test_every_room_has_a_table() -> None:
    """The rooms that ``import xmodal_lab`` shows, and the names at its top."""
    import test_fuzz_instruments as instruments

    shown, names = set(), set()
    for node in ast.parse(Path(xl.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            for name in [alias.asname for alias in node.names if alias.asname not in (None, "__version__")]:
                (shown if isinstance(getattr(xl, name), types.ModuleType) else names).add(name)
    tables = {**ROOMS, **instruments.ROOMS}
    assert shown <= tables.keys()
    covered = {key.partition(",")[0] for make in tables.values() for key in make()} | {"training.Run"}
    assert {n for n in names if n not in {c.rpartition(".")[2] for c in covered}} == set()


@PROFILE
@given(
    guise=st.sampled_from(("strided", "column order", "requires grad", "read-only array", "backward array", "array")),
    rows=st.integers(2, 9),
    seed=st.integers(0, 99),
    share=st.sampled_from((0.0, 0.5, 1.0)),
)
def test_the_guise_of_inputs_changes_no_sample(guise: str, rows: int, seed: int, share: float) -> None:
    plain = {"a": normal(rows, 3, seed=seed), "b": normal(rows, 2, seed=seed + 1)}
    worn = {m: spoilt_numbers(x)[guise].value for m, x in plain.items()}
    labels = torch.arange(rows) % 2
    one, other = xl.Samples(plain, labels), xl.Samples(worn, labels.numpy()[::-1][::-1])
    plan = xl.Pairing("shuffled", share)
    for m, x in plan.draw(one, seed=seed).inputs(one).items():
        assert torch.equal(x, plan.draw(other, seed=seed).inputs(other)[m].detach())
    back = one.subset(torch.arange(rows).flip(0)).subset(list(range(rows))[::-1])
    assert all(torch.equal(back.inputs[m], x) for m, x in plain.items())


@PROFILE
@given(option=st.sampled_from(sorted(DRAWN["shapes"])), junk=st.sampled_from(("", "x", -3, 2.5, None, (), object())))
def test_a_loader_never_takes_junk_for_numbers(option: str, junk: Any) -> None:
    call = Call(xl.load, dict(DRAWN["shapes"]), fixed={"name": "shapes"})
    with no_shape_checks():
        assert judge(call, {**call.good, option: junk}, Abuse(junk), None) == ""


ANSWERS: dict[str, tuple[Callable[[], Any], str]] = {
    "a list for samples": (lambda: xl.Samples([1, 2], torch.zeros(2)), "inputs must be a dict from names to tensors"),  # type: ignore[arg-type]
    "complex labels": (
        lambda: xl.Samples({"a": torch.ones(2, 2)}, torch.ones(2) * 1j),
        "labels must be class numbers or",
    ),
    "latents of other rows": (
        lambda: xl.Samples({"a": torch.ones(2, 2)}, torch.zeros(2).long(), latents={"z": torch.ones(3)}),
        r"latents\['z'\] must have 2 rows, got shape \(3,\)",
    ),
    "a fraction for a row": (lambda: toy(6).train.subset([0.5]), "index must be a list of whole numbers"),  # type: ignore[list-item]
    "a row that is not there": (lambda: toy(6).train.subset([99]), "index must name rows of 6"),
    "a mask of another length": (lambda: toy(6).train.subset(torch.ones(3).bool()), "index must name rows of 6"),
    "a device that is none": (lambda: toy(6).to("abacus"), "device 'abacus' cannot be used here"),
    "a list for a device": (lambda: xl.training.pick_device(["cpu"]), "device must be a name such as 'cpu'"),  # type: ignore[arg-type]
    "whole numbers for inputs": (lambda: toy(6).to(dtype=torch.int64), "dtype must be a floating dtype"),
    "splits that are none": (lambda: xl.Dataset("d", 1, 2), "the train split must be a Samples, got int"),  # type: ignore[arg-type]
    "an epoch that is none": (
        lambda: xl.Pairing("shuffled").draw(toy(6).train, epoch=0.5),  # type: ignore[arg-type]
        "epoch must be a whole number",
    ),
    "a number as text": (lambda: xl.load("shapes", n_train="10"), "n_train must be a whole number, got str '10'"),
    "a text as a flag": (lambda: xl.load("gaussian", paired="no"), "paired must be a bool, got str"),
    "a word for a mapping": (lambda: xl.load("shapes", sees="all"), "sees must be a dict from names to dicts"),
    "a size of three": (lambda: xl.load("nlvr", root=".", size=(1, 2, 3)), "size must be two whole numbers"),
    "days of sound": (lambda: xl.load("cremad", root=".", seconds=1e9), "at most a day"),
    "no text and no number": (lambda: xl.load("avmnist", root=".", snr_db=[]), "snr_db must be a number or"),
    "a list for a root": (
        lambda: xl.load("emoji", root=["a"]),
        "root must be str or os.PathLike.str. or None, got list",
    ),
    "no name of a file": (lambda: xl.load("emoji", root="a\0b"), "root is no name of a file or folder"),
    "a checkpoint at a folder": (
        lambda: xl.training.save_checkpoint(nn.Linear(1, 1), "."),
        "path must name a file to write",
    ),
    "numbers as metadata": (
        lambda: xl.training.save_checkpoint(nn.Linear(1, 1), "x", {"a": 1}),  # type: ignore[dict-item]
        r"metadata\['a'\] must be a str",
    ),
    "a net of words": (lambda: xl.fit("net", toy(6)), "net must be a Module, got str; such as xl.LateFusion"),  # type: ignore[arg-type]
    "a net of tensors": (lambda: xl.fit(nn.Linear(3, 2), toy(6)), "Linear failed on a dict of tensors by modality"),
    "a callback that is none": (
        lambda: xl.fit(_world()[1], toy(6), on_epoch=3),  # type: ignore[arg-type]
        "on_epoch must be a function of a row",
    ),
    "labels without logits": (
        lambda: xl.training.criterion(torch.ones(2, 2), torch.tensor([0, 5])),
        "labels run from 0 to 5, and the module has 2 outputs",
    ),
    "inputs of another shape": (
        lambda: _world()[1]({"image": torch.ones(2, 3)}),
        r"inputs\['image'\] must have shape \(N, 1, 8, 8\), got \(2, 3\)",
    ),
    "inputs of another precision": (
        lambda: _world()[1]({m: x.double() for m, x in _world()[2].items()}),
        "torch.float64, torch.strided on cpu, the net is torch.float32",
    ),
    "a mask of other rows": (
        lambda: _world()[1](_world()[2], {"image": torch.ones(9).bool()}),
        r"present\['image'\] must mark the rows",
    ),
    "features that do not fit": (
        lambda: _world()[1].classify({"image": torch.ones(2, 9), "audio": torch.ones(2, 4)}),
        r"features must be \(N, d\), as encode gives them",
    ),
    "features of one modality": (lambda: _world()[1].classify({}), "one tensor for each of image, audio"),
    "an encoder that is none": (
        lambda: xl.LateFusion({"a": 3}, nn.ReLU(), nn.ReLU(), {"a": (2,)}),  # type: ignore[dict-item]
        r"encoders\['a'\] must be a Module",
    ),
    "a shape that lacks": (
        lambda: xl.LateFusion({"a": nn.ReLU()}, nn.ReLU(), nn.ReLU(), {}),
        "shapes lacks the modality",
    ),
    "a width of zero": (lambda: en.MLPEncoder([2], 0), "width must be at least 1, got 0"),
    "a tower of no tokens": (lambda: ot.OneTower({"a": nn.ReLU()}, 4, 2), "a module with a count of tokens"),
    "pictures that do not fit a tower": (
        lambda: ot.OneTower({"a": ot.Patches([1, 8, 8], 4, 4)}, 4, 2)({"a": torch.ones(2, 3)}),
        "do not fit the tower's Patches reader",
    ),
    "a sweep into a number": (lambda: xl.sweep("dml", store=3), "store must be a path, got int"),  # type: ignore[arg-type]
    "a band of a list": (lambda: xl.sweeps.band([1, 2]), "values must be a cube or one of its variables"),  # type: ignore[type-var]
    "a ledger that is a number": (lambda: xl.claims.table(dataset=3), "dataset must be a str"),  # type: ignore[arg-type]
    "a title that is a list": (
        lambda: xw.explore(xr.DataArray(np.eye(3), dims=("a", "b")), title=[1]),
        "title must be text",
    ),
    "a page at a folder": (
        lambda: xw.explore(xr.DataArray(np.eye(3), {"a": range(3), "b": range(3)}, ("a", "b"))).to_html("."),
        "path must name a file to write",
    ),
    "a view without an axis": (
        lambda: xw.SweepView(xr.DataArray(np.eye(3), dims=("a", "b"), name="l"), [xw.Lines("l", x=None)]),  # type: ignore[arg-type]
        "the Lines view needs x, got None",
    ),
}


@pytest.mark.parametrize("mistake", ANSWERS)
def test_what_the_answer_says(mistake: str) -> None:
    make, words = ANSWERS[mistake]
    with pytest.raises((ValueError, TypeError), match=words):
        make()
