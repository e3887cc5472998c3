from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from worlds import toy

import xmodal_lab as xl


def one(**change: object) -> xl.Samples:
    given = {"inputs": {"image": torch.ones(3, 2)}, "labels": torch.tensor([0, 1, 0])} | change
    return xl.Samples(**given)


def test_absent_inputs_are_zeros_and_everything_is_present_by_default() -> None:
    samples = one(present={"image": torch.tensor([True, False, True])})
    assert_close(samples.inputs["image"], torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))
    assert bool(one().present["image"].all())


def test_absent_rows_may_hold_nan() -> None:
    x = torch.tensor([[1.0], [float("nan")], [2.0]])
    samples = one(inputs={"image": x}, present={"image": torch.tensor([True, False, True])})
    assert_close(samples.inputs["image"], torch.tensor([[1.0], [0.0], [2.0]]))


def test_read_only_arrays_and_integers_become_float_tensors() -> None:
    x = np.arange(6, dtype=np.uint8).reshape(3, 2)
    x.flags.writeable = False
    samples = one(inputs={"image": x}, labels=np.array([0, 1, 2], dtype=np.uint8))
    assert samples.inputs["image"].dtype == torch.float32
    assert samples.labels.dtype == torch.int64


def test_subset_select_and_complete_keep_rows_together() -> None:
    samples = toy(n=12, absent=True).train
    part = samples.subset([5, 1])
    assert_close(part.inputs["audio"], samples.inputs["audio"][[5, 1]])
    assert part.select("audio").modalities == ("audio",)
    assert len(samples.complete()) == 6
    assert len(samples.complete("audio")) == 12
    assert len(samples.subset(slice(2, 4))) == 2


def test_latents_and_strings_follow_the_rows() -> None:
    samples = one(latents={"z": torch.tensor([7, 8, 9])}, strings={"image": ("a", "b", "c")}).subset([2, 0])
    assert samples.latents is not None
    assert samples.latents["z"].tolist() == [9, 7]
    assert samples.strings["image"] == ("c", "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {}}, "at least one modality"),
        ({"labels": torch.zeros(0)}, "empty"),
        ({"labels": torch.zeros(3, 1)}, r"shape \(N,\).*use labels\[:, 0\]"),
        ({"labels": torch.eye(3).long()}, r"one-hot rows \(3, 3\); use labels.argmax\(1\)"),
        ({"labels": torch.eye(3)}, r"one-hot rows"),
        ({"labels": torch.ones(3, 2)}, r"several classes a row; say so with .bool\(\)"),
        ({"labels": torch.tensor([[1, 2], [0, 3], [1, 1]])}, r"one column, or .float\(\)"),
        ({"labels": torch.zeros(2, dtype=torch.long)}, r"3 rows against 2 labels"),
        ({"inputs": {"image": torch.ones(3)}}, r"use x\[:, None\]"),
        ({"inputs": {"my.mod": torch.ones(3, 2)}}, "no dot.*use 'my_mod'"),
        ({"inputs": {"train": torch.ones(3, 2)}}, "'train' cannot name a modality.*use 'train_view'"),
        ({"inputs": {"": torch.ones(3, 2)}}, "must not be empty"),
        ({"inputs": {" ": torch.ones(3, 2)}}, "must not be empty"),
        ({"inputs": {"a": torch.tensor([[3, 7], [1, 0], [2, 2]])}}, "token ids or quantities.*kinds="),
        ({"inputs": {"text": torch.tensor([[3, -7], [1, 0], [2, 2]])}}, "whole numbers from 0 on"),
        ({"inputs": {"a": torch.full((3, 2), 0.5)}, "kinds": {"a": "tokens"}}, "must be whole numbers"),
        ({"kinds": {"image": "smell"}}, "unknown kind of modality 'image' 'smell'"),
        ({"labels": torch.tensor([0, -2, 1])}, "labels must be -1"),
        ({"labels": torch.tensor([0.0, float("nan"), 1.0])}, "labels holds 1 NaN"),
        ({"inputs": {"image": torch.ones(2, 2)}}, r"shape \(3, ...\)"),
        (
            {"inputs": {"image": torch.tensor([[0.0], [float("nan")], [1.0]])}},
            r"NaN or infinite value\(s\), the first at",
        ),
        ({"present": {"image": torch.ones(2, dtype=torch.bool)}}, "present"),
        ({"present": {"imagge": torch.ones(3, dtype=torch.bool)}}, "Did you mean 'image'"),
        ({"strings": {"image": ("a",)}}, "3 entries"),
        ({"latents": {"z": torch.zeros(2)}}, "3 rows"),
    ],
)
def test_bad_samples_say_what_is_wrong(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        one(**change)


@pytest.mark.parametrize(
    "labels", [["cat", "dog", "cat"], np.array(["cat", "dog", "cat"]), np.array(["a", None, 1], dtype=object)]
)
def test_words_for_labels_are_told_what_to_do(labels: object) -> None:
    with pytest.raises(TypeError, match=r"class numbers, got words .*Dataset.from_arrays numbers them"):
        one(labels=labels)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool])
def test_whole_labels_of_any_width_are_class_numbers(dtype: torch.dtype) -> None:
    samples = one(labels=torch.tensor([0, 1, 0], dtype=dtype))
    assert samples.labels.dtype == torch.int64 and samples.labels.tolist() == [0, 1, 0]


def test_token_ids_stay_whole_numbers_and_nobody_adds_noise_to_them() -> None:
    ids = torch.tensor([[5, 9, 0], [7, 0, 0], [3, 2, 1]], dtype=torch.int32)
    for given in ({"inputs": {"text": ids}}, {"inputs": {"a": ids}, "kinds": {"a": "tokens"}}):
        samples = one(**given, present={next(iter(given["inputs"])): torch.tensor([True, True, False])})
        m = samples.modalities[0]
        assert samples.inputs[m].dtype == torch.int64
        assert samples.inputs[m].tolist() == [[5, 9, 0], [7, 0, 0], [0, 0, 0]]
        assert samples.to(dtype=torch.float64).subset([0, 1]).inputs[m].dtype == torch.int64
        ds = xl.Dataset("d", samples, samples)
        assert ds.kinds[m] == "tokens" and ds.vocabulary == {m: 10}
        net = xl.LateFusion.for_dataset(ds, width=4)
        assert net(ds.test.inputs).shape == (3, 2)
        with pytest.raises(TypeError, match=r"token ids .*no gradient"):
            xl.robustness.pgd(net, ds.test, m, eps=0.1)
        with pytest.raises(TypeError, match=r"token ids .*no noise"):
            xl.robustness.add_noise(ds.test, m, 0.1)
        assert set(xl.robustness.report(net, ds.test, missing=(0.5,)).condition) == {"clean", "missing"}
    read = one(inputs={"a": ids}, kinds={"a": "features"})
    assert read.inputs["a"].dtype == torch.float32 and xl.Dataset("d", read, read).kinds["a"] == "vector"


def test_a_net_of_words_and_pictures_trains_and_does_without_either() -> None:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    words = torch.randint(1, 5, (60, 4), generator=g) + 5 * labels[:, None]
    views = {"image": torch.randn(60, 1, 8, 8, generator=g), "text": words}
    samples = xl.Samples(views, labels)
    ds = xl.Dataset("d", samples, samples, ("a", "b"))
    run = xl.fit(xl.LateFusion.for_dataset(ds, width=8), ds, epochs=12, lr=1e-2)
    assert run.score > 0.9
    for gone in ds.modalities:
        assert run.model({m: x for m, x in views.items() if m != gone}).shape == (60, 2)


def test_an_empty_text_is_absent_unless_the_mask_says_otherwise() -> None:
    given = {"inputs": {"text": torch.ones(3, 2)}, "strings": {"text": ("a", " ", "b")}}
    assert one(**given).present["text"].tolist() == [True, False, True]
    assert not one(**given).inputs["text"][1].any()
    told = one(**given, present={"text": torch.ones(3, dtype=torch.bool)})
    assert bool(told.present["text"].all())
    files = one(strings={"image": ("a.png", "", "b.png")})
    assert bool(files.present["image"].all()), "names of files are no texts"


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([1, 2, 3], ("a", "b", "c"), r"label 3, but there are only 3 classes .*use labels - 1"),
        ([1, 2, 3], (), r"labels 1 to 3; classes are numbered from 0: use labels - 1"),
        ([0.0, 1.0, 1.0], ("a", "b"), r"float32 labels beside 2 classes, which would be a regression; use .long\(\)"),
    ],
)
def test_labels_that_do_not_fit_the_classes(labels: list, classes: tuple, message: str) -> None:
    samples = one(labels=labels)
    with pytest.raises(ValueError, match=message):
        xl.Dataset("d", samples, samples, classes)


def test_pictures_whose_channels_stand_last_are_asked_about() -> None:
    last = one(inputs={"photo": torch.rand(3, 24, 24, 3)})
    with pytest.raises(ValueError, match=r"looks like \(H, W, C\) with 3 channel\(s\); use .permute\(0, 3, 1, 2\)"):
        xl.Dataset("d", last, last)
    assert xl.Dataset("d", last, last, kinds={"photo": "series"}).kinds["photo"] == "series"
    with pytest.raises(ValueError, match=r"looks like \(H, W, C\)"):
        xl.encoders.encoder("image", (24, 24, 3))
    wide = one(inputs={"photo": torch.rand(3, 13, 24, 24)})  # many bands are no mistake
    assert xl.Dataset("d", wide, wide).shapes["photo"] == (13, 24, 24)


def test_half_precision_is_widened_and_two_dtypes_are_told() -> None:
    half = one(inputs={"a": torch.rand(3, 2).half(), "b": torch.rand(3, 2).bfloat16()})
    ds = xl.Dataset("d", half, half)
    assert {x.dtype for x in ds.train.inputs.values()} == {torch.float32}
    assert next(xl.LateFusion.for_dataset(ds).parameters()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"held in torch\.float32 or torch\.float64, got torch\.float16"):
        ds.to(dtype=torch.float16)
    mixed = one(inputs={"a": torch.rand(3, 2), "b": torch.rand(3, 2).double()})
    with pytest.raises(ValueError, match=r"'a' is torch.float32, 'b' is torch.float64; use dataset.to"):
        xl.LateFusion.for_dataset(xl.Dataset("d", mixed, mixed))


def test_inputs_that_are_not_numbers() -> None:
    with pytest.raises(TypeError, match="must be a tensor or an array"):
        one(inputs={"image": ["a", "b", "c"]})


def test_empty_subset_and_unknown_modality() -> None:
    with pytest.raises(ValueError, match="subset is empty"):
        one().subset([])
    with pytest.raises(ValueError, match="unknown modality 'sound'; known: 'image'"):
        one().select("sound")
    with pytest.raises(ValueError, match="no row has all"):
        one(present={"image": torch.zeros(3, dtype=torch.bool)}).complete()


def test_dataset_checks_labels_against_classes_and_splits_against_each_other() -> None:
    train = one()
    with pytest.raises(ValueError, match="label 1, but there are only 1 classes"):
        xl.Dataset("d", train, train, ("a",))
    with pytest.raises(ValueError, match="has modalities"):
        xl.Dataset("d", train, one(inputs={"audio": torch.ones(3, 2)}))
    with pytest.raises(ValueError, match="per sample"):
        xl.Dataset("d", train, one(inputs={"image": torch.ones(3, 4)}))
    with pytest.raises(ValueError, match="kind of modality 'image'"):
        xl.Dataset("d", train, train, kinds={"image": "smell"})


def test_dataset_knows_its_shapes_and_moves_as_a_whole() -> None:
    ds = toy()
    assert ds.shapes == {"image": (1, 8, 8), "audio": (1, 16, 16)}
    assert dict(ds.kinds) == {"image": "image", "audio": "audio"}
    double = ds.to(dtype=torch.float64)
    assert double.test.inputs["image"].dtype == torch.float64
    assert double.test.labels.dtype == torch.int64
    assert "60" in repr(ds)
