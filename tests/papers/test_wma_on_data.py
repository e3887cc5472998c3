"""wma on datasets of one's own: any modality becomes tokens, and the world on ``shapes`` stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import xmodal_lab as xl
from xmodal_lab.claims.claim import Conditions
from xmodal_lab.models.one_tower import WORDS, Features, Frames, OneTower, Patches, Sequences, with_tokens
from xmodal_lab.models.words import LONGEST, UNKNOWN, sentence_ids
from xmodal_lab.papers import wma
from xmodal_lab.papers.wma import worlds as tasks
from xmodal_lab.papers.wma.claims import choosing
from xmodal_lab.papers.wma.claims import rows as claims
from xmodal_lab.papers.wma.method import reading

KINDS = {"image": "image", "scan": "image", "sound": "audio", "wave": "audio", "facts": "vector", "walk": "series"}
SHORT: dict[str, Any] = {"steps": 2, "pretraining": 2, "batch_size": 8, "layers": 1, "width": 8}


def mixed(n: int = 24, seed: int = 0) -> xl.Samples:
    """Rows of two classes in every kind of modality, of sizes that nothing divides."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    shapes = {"image": (3, 13, 11), "scan": (14, 14), "sound": (1, 5, 17), "wave": (203,), "facts": (19,),
              "walk": (130, 3)}  # fmt: skip
    inputs = {m: 5 + 100 * torch.randn(n, *shape, generator=g) for m, shape in shapes.items()}
    inputs["walk"][:, 100:] = 0
    inputs["text"] = torch.randn(n, 6, generator=g)
    lines = [("a red cat sat" if int(label) else "one blue dog ran") for label in y]
    return xl.Samples(inputs, y, strings={"text": tuple(lines)})


@pytest.fixture(scope="module")
def own() -> xl.Dataset:
    kinds = {**KINDS, "text": "text"}
    return xl.Dataset("own", mixed(), mixed(seed=1), ("no", "yes"), mixed(seed=2), kinds)


# -- tokens ----------------------------------------------------------------------------------------


def test_every_modality_of_ones_own_is_cut_into_tokens(own: xl.Dataset) -> None:
    tokens = {"image": 20, "scan": 16, "sound": 6, "wave": 51, "facts": 10, "walk": 44, "text": 4}
    names = tuple(own.modalities)
    assert reading.counted(own, names) == tokens
    tower = OneTower.for_dataset(reading.readable(own), patch=0, frames=0)
    hidden = tower.hidden(reading.readable(own).test.inputs)
    assert {m: t.shape[1] for m, t in hidden.tokens.items()} == tokens
    assert int(hidden.masks["walk"][0].sum()) == 34, "what follows step 100 is padding"
    assert bool(torch.isfinite(wma.distances(hidden, quiet=True)).all())
    said = reading.said(own, names)
    assert "image as 20 patches of 3x3, padded to 15x12" in said and "(words of its sentences)" in said


@pytest.mark.parametrize("pair", ["image+text", "wave+facts", "scan+walk", "sound+facts"])
def test_any_two_modalities_train_and_are_tested(own: xl.Dataset, pair: str) -> None:
    found = wma.experiment(own, modalities=pair, **SHORT).compute({"alpha": 0.2, "beta": 1.2})
    assert bool(np.isfinite(found["score"]).all()) and bool(np.isfinite(found["ratio"]).all())
    assert found["tokens"]["modality"].values.tolist() == pair.split("+")


def test_a_sweep_says_how_many_tokens_there_are(own: xl.Dataset) -> None:
    mine = wma.experiment(own, modalities="image+text", **SHORT)
    cube = xl.sweep(mine, alpha=[0.0, 1.0], progress=False, how="sequential")
    assert cube["tokens"].isel(alpha=0).values.tolist() == [20, 4]


def test_sizes_of_ones_own_are_obeyed_or_refused(own: xl.Dataset) -> None:
    digits = {"image": torch.randn(8, 1, 28, 28), "sound": torch.randn(8, 1, 4, 12)}
    rows = xl.Samples(digits, torch.arange(8) % 2)
    square = xl.Dataset("square", rows, rows, ("a", "b"), rows, {"image": "image", "sound": "audio"})
    assert wma.experiment(square, patch=7, frames=3).settings()["patch"] == 7
    assert reading.counted(square, ("image", "sound"), 14, 6) == {"image": 4, "sound": 2}
    with pytest.raises(ValueError, match="'image' of 'square': pictures of 28x28 do not split into patches of 8x8"):
        wma.experiment(square, patch=8).settings()
    with pytest.raises(ValueError, match="12 frames do not split into slices of 5"):
        wma.experiment(square, frames=5).settings()


def test_a_modality_that_no_reader_cuts_is_left_out(own: xl.Dataset) -> None:
    def more(samples: xl.Samples) -> xl.Samples:
        scan = {"brain": torch.randn(len(samples), 1, 2, 2, 2)}
        return replace(samples.select(("image", "text")), inputs={**samples.select(("image", "text")).inputs, **scan},
                       present={**samples.select(("image", "text")).present, "brain": samples.present["image"]})  # fmt: skip

    splits: Any = {k: more(s) for k, s in own.splits.items()}
    wide = replace(own, **splits, kinds={"image": "image", "text": "text", "brain": "vector"})
    assert wma.WmaWorld(wide).defaults["modalities"] == "image+text"
    assert wma.WmaWorld(wide).lacking() == "" and "no reader cuts" in wma.WmaWorld(wide).lacking(3)
    with pytest.raises(ValueError, match=r"'brain' .* no reader cuts that into tokens"):
        wma.experiment(wide, modalities="image+brain").settings()


def test_readers_are_linear_maps_of_what_they_cut() -> None:
    x = torch.randn(3, 7, dtype=torch.float64)
    groups = Features(7, 4, 3).double()
    found, mask = groups(x)
    padded = torch.nn.functional.pad(x, (0, 2))
    for k in range(3):
        torch.testing.assert_close(found[:, k], padded[:, 3 * k : 3 * k + 3] @ groups.weight[k] + groups.bias[k])
    assert mask.shape == (3, 3) and bool(mask.all())

    pictures = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    reader = Patches((3, 5, 6), 8, 4, pad=True).double()
    whole = Patches((3, 8, 8), 8, 4).double()
    whole.load_state_dict(reader.state_dict())
    torch.testing.assert_close(reader(pictures)[0], whole(torch.nn.functional.pad(pictures, (0, 2, 0, 3)))[0])

    wave = torch.randn(2, 10, dtype=torch.float64)
    slices = Frames((1, 1, 10), 8, 4, pad=True).double()
    torch.testing.assert_close(slices(wave)[0][:, 1], slices.linear(wave[:, 4:8]))
    assert slices.count == 3

    walk = torch.randn(2, 5, 3, dtype=torch.float64)
    walk[0, 2:] = 0
    steps = Sequences((5, 3), 8, 2).double()
    told, there = steps(walk)
    torch.testing.assert_close(told[:, 0], steps.linear(walk[:, :2].flatten(1)))
    assert there.tolist() == [[True, False, False], [True, True, True]]


def test_sentences_get_ids_from_the_training_rows_alone() -> None:
    ids, table = sentence_ids({"train": ["A red cat.", "a RED dog.", "one"], "test": ["a dog, blue", "", "a " * 60]})
    assert table == ("", "?", ".", "a", "red")
    assert [table[i] for i in ids["train"][0].tolist()[:4]] == ["a", "red", "?", "."]
    assert ids["test"][0].tolist()[:4] == [3, UNKNOWN, UNKNOWN, UNKNOWN]
    assert ids["test"][1].tolist()[:2] == [UNKNOWN, 0], "nothing said is one unknown token, so there is one to move"
    assert ids["test"].shape[1] == LONGEST
    letters, table = sentence_ids({"train": ["猫が好き", "犬が好き", "猫と犬"], "test": ["犬"]})
    assert {"猫", "犬", "が"} <= set(table) and letters["test"][0, 0] == table.index("犬")


def test_a_text_is_read_by_its_sentences_whatever_stood_for_it(own: xl.Dataset) -> None:
    told = with_tokens(own)
    table = told.provenance[WORDS]["text"]
    first = [table[i] for i in told.test.inputs["text"][1].tolist()]
    assert " ".join(first) == own.test.strings["text"][1] == "a red cat sat"
    assert told.kinds["text"] == "tokens" and told.test.strings == own.test.strings
    bare = replace(own, test=replace(own.test, strings={}))
    assert with_tokens(bare) is bare, "a split without sentences could not be read"


def test_numbers_are_scaled_by_training_rows_and_padding_stays(own: xl.Dataset) -> None:
    told = reading.readable(own)
    for m in ("image", "sound", "wave"):
        x, seen = own.test.inputs[m], own.train.inputs[m]
        torch.testing.assert_close(told.test.inputs[m], (x - seen.mean()) / seen.std(correction=0))
    seen = own.train.inputs["facts"]
    expected = (own.test.inputs["facts"] - seen.mean(0)) / seen.std(0, correction=0)
    torch.testing.assert_close(told.test.inputs["facts"], expected)
    walk = told.train.inputs["walk"]
    assert bool((walk[:, 100:] == 0).all()) and abs(float(walk[:, :100].mean())) < 1e-4
    torch.testing.assert_close(walk[:, :100].flatten(0, 1).std(0, correction=0), torch.ones(3))
    flat = replace(own.train, inputs={**own.train.inputs, "facts": torch.full((24, 19), 7.0)})
    still = reading.readable(replace(own, train=flat)).test.inputs["facts"]
    torch.testing.assert_close(still, own.test.inputs["facts"] - 7.0)


# -- the world on shapes ---------------------------------------------------------------------------


def test_chosen_sizes_are_those_that_shapes_has_always_had() -> None:
    world = wma.world("red", "binary", ("image", "text", "audio"), 20, 2, 4)
    chosen, named = (OneTower.for_dataset(world, patch=p, frames=f).state_dict() for p, f in ((0, 0), (8, 4)))
    assert all(bool((chosen[k] == named[k]).all()) for k in named)


def test_the_tasks_on_shapes_are_read_as_they_are() -> None:
    s = wma.EXPERIMENT.settings(n_train=20, n_val=4, n_test=6)
    assert (s["patch"], s["frames"], s["modalities"]) == (8, 4, "image+text")
    assert wma.WmaWorld().load(s) is wma.world("red", n_train=20, n_val=4, n_test=6)
    values = {name: (value,) for name, value in s.items()}
    assert "tokens" not in wma.WmaWorld().variables(values)


# -- scores and claims -----------------------------------------------------------------------------


def test_a_class_that_a_split_lacks_is_left_out_of_the_mean() -> None:
    g = torch.Generator().manual_seed(0)
    z, y = torch.randn(40, 4, generator=g), torch.arange(40) % 3
    area = tasks.HEAD["classes"].score(z, y)
    p = z.double().softmax(1).numpy()
    assert area == pytest.approx(np.mean([roc_auc_score((y == c).numpy(), p[:, c]) for c in range(3)]))
    whole = torch.arange(40) % 4
    assert tasks.HEAD["classes"].score(z, whole) == xl.metrics.auroc(z, whole)


def test_cells_that_were_not_trained_are_not_chosen_from() -> None:
    import xarray as xr

    axes = {"alpha": [0.0, 0.2, 1.0], "beta": [0.0, 1.2], "split": ["val", "test"], "case": ["normal"], "seed": [0, 1]}
    score = xr.DataArray(np.random.default_rng(0).random([len(v) for v in axes.values()]), axes, tuple(axes))
    score.loc[{"alpha": 1.0, "beta": 1.2}] = np.nan
    cube = xr.Dataset({"score": score, "gain_sign": 1.0})
    assert choosing.flat(score).sizes["cell"] == 1
    np.testing.assert_array_equal(choosing.best_cell(cube), score.sel(alpha=0.2, beta=1.2, split="test"))


def pair(own: xl.Dataset) -> xl.Dataset:
    return replace(
        own, **{k: s.select(("image", "text")) for k, s in own.splits.items()}, kinds={"image": "image", "text": "text"}
    )  # type: ignore[arg-type]


def test_rows_that_share_a_grid_all_take_the_settings(own: xl.Dataset) -> None:
    rows = xl.claims.run(["wma.N", "wma.X"], dataset=pair(own), seeds=range(5), settings=SHORT, progress=False)
    assert "not measured" not in set(rows["verdict"]) and (rows["n"] == 5).all()


def test_rows_of_the_ledger_run_on_a_dataset_of_ones_own(own: xl.Dataset) -> None:
    c = Conditions(dataset=pair(own), seeds=(0, 1), settings=SHORT)
    found = {claim.id: claim.measure(c) for claim in claims.CLAIMS if claim.id not in ("wma.I", "wma.0")}
    assert "image as 20 patches of 3x3, padded to 15x12, text as 4 ids of" in found["wma.N"].note
    for name in ("wma.N", "wma.X", "wma.Y", "wma.O"):
        assert found[name].steps and any("over chance" in r.name for r in found[name].readings)
    assert found["wma.β"].verdict == "needs several tasks; the dataset given is one"
    assert found["wma.3"].verdict == "needs a dataset with 3 modalities"
