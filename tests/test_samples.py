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
        ({"labels": torch.zeros(3, 1)}, r"shape \(N,\)"),
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
