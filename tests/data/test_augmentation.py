"""Augmentation: what changes, by how much, and what stays."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from xmodal_lab.data.augmentation import CROP, HUE, JITTER, MASK, augmentation, crop, flip, jitter, mask


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 400, channels: int = 1, side: int = 8) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=rng(9), dtype=torch.float64)


def test_names_go_to_the_modalities_of_their_kind() -> None:
    kinds, shapes = {"a": "image", "b": "audio", "c": "text"}, {"a": (1, 8, 8), "b": (1, 16, 12), "c": (5,)}
    change = augmentation("flip+time_mask", kinds, shapes)
    inputs = {m: torch.rand(50, *shape) for m, shape in shapes.items()}
    after = change(inputs, rng())
    assert not torch.equal(after["a"], inputs["a"])
    assert not torch.equal(after["b"], inputs["b"])
    assert torch.equal(after["c"], inputs["c"])
    assert {m: x.shape for m, x in after.items()} == {m: x.shape for m, x in inputs.items()}
    assert list(change({"b": inputs["b"]}, rng())) == ["b"]
    assert augmentation("", kinds, shapes) is None
    assert torch.equal(augmentation("jitter", {"b": "audio"}, shapes)(inputs, rng())["b"], inputs["b"])
    with pytest.raises(TypeError, match="names joined by"):
        augmentation(["flip"], kinds, shapes)  # type: ignore[arg-type]


def test_flip_mirrors_half_of_the_images() -> None:
    x = pictures()
    y = flip(x, rng())
    mirrored = (y == x.flip(3)).all((1, 2, 3))
    assert bool((mirrored | (y == x).all((1, 2, 3))).all())
    assert float(mirrored.double().mean()) == pytest.approx(0.5, abs=0.1)  # sd .025


def test_crop_moves_by_up_to_its_share_and_repeats_the_edge() -> None:
    x = pictures()
    y = crop(x, rng())
    most, moves = round(CROP * 8), set()
    padded = torch.nn.functional.pad(x, [most] * 4, mode="replicate")
    for k in range(len(x)):
        fits = [
            (i, j)
            for i in range(2 * most + 1)
            for j in range(2 * most + 1)
            if torch.equal(padded[k, :, i : i + 8, j : j + 8], y[k])
        ]
        assert len(fits) == 1
        moves |= set(fits)
    assert len(moves) == (2 * most + 1) ** 2


def test_jitter_scales_from_black_and_from_the_mean_and_does_not_mind_units() -> None:
    x = pictures()
    y = jitter(x, rng())
    ratio = (y.amax((1, 2, 3)) - y.amin((1, 2, 3))) / (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))
    assert float(ratio.min()) >= (1 - JITTER) ** 2
    assert float(ratio.max()) <= (1 + JITTER) ** 2
    assert float(ratio.std()) > 0.1
    assert_close(jitter(3 * x + 7, rng()), 3 * y + 7)  # the same pictures in other units
    # Each pixel goes the same way: an affine map of the picture.
    flat_x, flat_y = x.flatten(1), y.flatten(1)
    slope = (flat_y[:, 1:2] - flat_y[:, :1]) / (flat_x[:, 1:2] - flat_x[:, :1])
    assert_close(flat_y - flat_y[:, :1], slope * (flat_x - flat_x[:, :1]), rtol=1e-8, atol=1e-8)


def test_jitter_turns_hues_and_leaves_grey_grey() -> None:
    x = pictures(channels=3)
    grey = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    y = jitter(grey, rng())
    assert_close(y[:, 0], y[:, 2], rtol=1e-2, atol=1e-2)  # the YIQ table has three digits
    yiq = torch.tensor([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)

    def angle(z: torch.Tensor) -> torch.Tensor:
        i, q = torch.einsum("cj,njhw->cnhw", yiq, z)
        return torch.atan2(q, i)

    turned = (angle(jitter(x, rng())) - angle(x)) / (2 * torch.pi)
    turned = torch.remainder(turned + 0.5, 1) - 0.5
    strong = (x - x.mean(1, keepdim=True)).abs().amax(1) > 0.3  # where a colour can be told
    spread = torch.where(strong, turned, torch.nan).nanmedian(2).values.nanmedian(1).values
    assert float(spread.abs().max()) <= HUE + 0.01
    assert float(spread.std()) > 0.03


@pytest.mark.parametrize("axis", [2, 3])
def test_a_mask_is_one_band_of_the_mean(axis: int) -> None:
    x = pictures(side=16)
    y = mask(x, rng(), axis)
    changed = (x != y).any(dim=1).any(dim=5 - axis - 1)  # (n, 16) along the axis
    width = changed.sum(1)
    assert int(width.max()) == round(MASK * 16)
    assert int(width.min()) == 0
    edges = (changed[:, 1:].int() - changed[:, :-1].int()).abs().sum(1)
    assert int(edges.max()) <= 2, "one band"
    assert_close(torch.where(x == y, x.mean((1, 2, 3), keepdim=True), y), x.mean((1, 2, 3), keepdim=True).expand_as(x))
    assert bool(changed.any(0).all()), "every place is masked at times"


def test_the_same_draws_in_single_precision() -> None:
    x = pictures(channels=3)
    for change in (jitter, crop, flip):
        assert_close(change(x.float(), rng()), change(x, rng()).float(), rtol=1e-4, atol=1e-5)
