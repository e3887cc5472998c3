"""One call from two sets of embeddings to "one image is worth n words"."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from xmodal_lab.papers import uml


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def world(spread: float = 2.0, classes: int = 6, d: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images and texts of one space, each about its class's centre."""
    of_images, of_texts = torch.arange(32 * classes) % classes, torch.arange(16 * classes) % classes
    centres = normal(0, classes, d)
    images = centres[of_images] + 1.6 * normal(1, len(of_images), d)
    return images, centres[of_texts] + spread * normal(2, len(of_texts), d), of_images, of_texts


FEW = {"seeds": (0, 1, 2), "image_shots": (1, 4), "text_shots": (0, 5), "aligned": True}
IMAGES, TEXTS, OF_IMAGES, OF_TEXTS = world()
STRINGS = [f"thing {int(c)} seen from here" for c in OF_TEXTS]


@pytest.fixture(scope="module")
def numbers() -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Two-digit numbers and their names: embeddings that never met, whose classes are related in one way."""
    data = uml.world()
    (images, of_images), (texts, of_texts) = data.train["image"], data.train["caption"]
    return images, texts, (of_images, of_texts)


NUMBERS = {"seeds": (0, 1, 2), "image_shots": (1, 4, 99), "text_shots": (0, 4, 12)}


def test_two_sets_of_embeddings_have_a_rate_with_its_control(numbers) -> None:
    strings = ["this is the number here now"] * len(numbers[1])
    found = uml.exchange(*numbers, strings, **NUMBERS)
    assert found.refused == "" and found.interval[0] < found.rate < found.interval[1]
    assert found.rate == found.found.rate and found.found.words_per_text == 6
    assert found.grid.accuracy.sizes == {"images": 2, "texts": 3, "seed": 3}  # 99 images there are not
    assert set(np.unique(found.grid.lr)) <= {0.1, 0.3}
    np.testing.assert_array_equal(found.grid.accuracy.sel(texts=0), found.grid.permuted.sel(texts=0))
    assert float((found.grid.accuracy - found.grid.permuted).sel(texts=12).mean()) > 0.1
    assert "1 image ≈" in str(found) and "With permuted texts there is none:" in str(found)
    assert "864 images, 576 texts of 6 words, 36 classes" in str(found)
    level = float(found.grid.accuracy.mean())
    assert (found.isolines([level]).level == level).all()
    with pytest.raises(AttributeError):
        found.refused = "no"  # type: ignore[misc]


def test_names_arrays_and_one_list_of_labels_are_the_same() -> None:
    few = {**FEW, "seeds": (0, 1), "image_shots": (1, 4), "text_shots": (0, 5)}
    plain = uml.exchange(IMAGES, TEXTS, (OF_IMAGES, OF_TEXTS), words_per_text=3, **few)
    names = [[f"class {c}" for c in side.tolist()] for side in (OF_IMAGES, OF_TEXTS)]
    named = uml.exchange(IMAGES.double().numpy(), TEXTS, names, words_per_text=3, **few)
    np.testing.assert_array_equal(plain.grid.accuracy, named.grid.accuracy)
    pairs = uml.exchange(IMAGES[:96], TEXTS, OF_TEXTS, words_per_text=3, **few)
    assert pairs.grid.accuracy.shape == (2, 2, 2)


def test_texts_that_say_nothing_are_refused_in_words() -> None:
    found = uml.exchange(IMAGES, normal(9, *TEXTS.shape), (OF_IMAGES, OF_TEXTS), STRINGS, **FEW)
    assert found.refused and math.isnan(found.rate) and all(map(math.isnan, found.interval))
    assert str(found).startswith("No exchange rate: ")
    with pytest.raises(ValueError, match="there are no isolines: "):
        found.isolines()


@pytest.mark.slow
def test_accuracy_that_permuted_names_buy_as_well_is_no_rate(numbers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control as good as the real thing: what the texts say is not what helps."""
    real = uml.exchange.__globals__["search"]

    def blind(data, heads, grid):
        return real(data, [replace(h, relation="related") for h in heads], grid)

    monkeypatch.setitem(uml.exchange.__globals__, "search", blind)
    found = uml.exchange(*numbers, words_per_text=6, **NUMBERS)
    assert not found.found.refused and "permuted names buy as much accuracy" in found.refused


def test_wide_embeddings_ask_for_principal_components() -> None:
    few = {**FEW, "seeds": (0, 1), "image_shots": (1, 4), "text_shots": (0, 5), "words_per_text": 3}
    turn = torch.linalg.qr(normal(5, 600, 12))[0].T
    wide = (IMAGES @ turn, TEXTS @ turn, (OF_IMAGES, OF_TEXTS))
    with pytest.raises(UserWarning, match=r"images 600 and texts 600 numbers: .* pca=64"):  # before any training
        uml.exchange(*wide, **few)
    found = uml.exchange(*wide, **{**few, "aligned": False}, pca=8)
    assert found.grid.accuracy.shape == (2, 2, 2)
    with pytest.raises(ValueError, match="pca must be at most 12, as many components as the training images have"):
        uml.exchange(IMAGES, TEXTS, (OF_IMAGES, OF_TEXTS), words_per_text=3, pca=13)


BOTH = (OF_IMAGES, OF_TEXTS)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: uml.exchange(IMAGES, TEXTS, BOTH), ValueError, "give the texts as strings"),
        (lambda: uml.exchange(IMAGES, TEXTS, BOTH, STRINGS[:3]), ValueError, "must be the 96 texts .* got 3"),
        (lambda: uml.exchange(IMAGES, TEXTS, BOTH, ["", *STRINGS[1:]][:1] * 96), ValueError, "number of words"),
        (lambda: uml.exchange(IMAGES, TEXTS, OF_IMAGES, STRINGS), ValueError, r"labels of the texts must be \(96,\)"),
        (lambda: uml.exchange(IMAGES, TEXTS, BOTH[::-1], STRINGS), ValueError, r"labels of the images must be \(192,\)"),
        (lambda: uml.exchange(IMAGES, TEXTS, (OF_IMAGES, OF_TEXTS + 9), STRINGS), ValueError, "no class in common"),
        (lambda: uml.exchange(IMAGES, TEXTS, (OF_IMAGES, ["a"] * 96), STRINGS), TypeError, "both be numbers or both"),
        (lambda: uml.exchange(IMAGES, TEXTS, (OF_IMAGES / 2, OF_TEXTS), STRINGS), TypeError, "whole numbers or names"),
        (lambda: uml.exchange(IMAGES[:18], TEXTS, (OF_IMAGES[:18], OF_TEXTS), STRINGS), ValueError, "class '0' has 3 image"),
        (lambda: uml.exchange(IMAGES, TEXTS, BOTH, STRINGS, seeds=(0,)), ValueError, "at least 2 of them"),
        (lambda: uml.exchange(IMAGES, TEXTS, BOTH, STRINGS, text_shots=(0, 99)), ValueError, "at most 16"),
        (lambda: uml.exchange(IMAGES, TEXTS[:, :5], BOTH, STRINGS, aligned=True), ValueError, "share one space, got 12"),
        (lambda: uml.exchange(IMAGES[0], TEXTS, BOTH, STRINGS), ValueError, r"images must have shape \(points, d\)"),
    ],
)  # fmt: skip
def test_bad_sets_are_named(call, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
