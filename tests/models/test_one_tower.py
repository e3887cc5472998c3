"""One tower: embedding, masks and attention against plain oracles; the same seam on transformers' ViLT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import xmodal_lab as xl
from xmodal_lab import one_tower
from xmodal_lab.models.one_tower import Block, Frames, OneTower, Patches, with_tokens
from xmodal_lab.models.tokens import Tokens, check_masks
from xmodal_lab.models.vilt import ViltTower


@pytest.fixture(scope="module")
def shapes() -> xl.Dataset:
    return with_tokens(xl.load("shapes", n_train=60, n_test=12, n_val=6))


def test_captions_become_ids_and_come_back_as_words(shapes: xl.Dataset) -> None:
    vocabulary = shapes.provenance["vocabulary"]
    for ids, caption in zip(shapes.test.inputs["text"], shapes.test.strings["text"], strict=True):
        assert [vocabulary[int(i)] for i in ids if i > 0] == caption.split()
    assert shapes.provenance[one_tower.SIZES]["text"] == len(vocabulary)
    other = xl.load("gaussian")
    assert with_tokens(other) is other


def test_patches_stand_row_by_row_and_frames_in_time() -> None:
    x = torch.arange(2 * 3 * 8 * 12, dtype=torch.float64).reshape(2, 3, 8, 12)
    patches = Patches((3, 8, 12), 48, 4).double()
    nn.init.eye_(patches.linear.weight), nn.init.zeros_(patches.linear.bias)
    cut, mask = patches(x)
    unfolded = nn.functional.unfold(x, 4, stride=4).transpose(1, 2)
    torch.testing.assert_close(cut, unfolded)
    assert cut.shape[1] == patches.count == 6 and bool(mask.all())
    frames = Frames((3, 8, 12), 72, 3).double()
    nn.init.eye_(frames.linear.weight), nn.init.zeros_(frames.linear.bias)
    slices, _ = frames(x)
    torch.testing.assert_close(slices[:, 1], x[..., 3:6].flatten(1))


def test_a_block_is_torchs_pre_norm_layer() -> None:
    torch.manual_seed(0)
    ours = Block(16, 4).double()
    theirs = nn.TransformerEncoderLayer(16, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True).double()
    with torch.no_grad():
        for a, b in (
            (theirs.norm1, ours.norm1), (theirs.norm2, ours.norm2), (theirs.self_attn.out_proj, ours.out),
            (theirs.linear1, ours.up), (theirs.linear2, ours.down),
        ):  # fmt: skip
            a.weight.copy_(b.weight), a.bias.copy_(b.bias)
        theirs.self_attn.in_proj_weight.copy_(ours.mix.weight), theirs.self_attn.in_proj_bias.copy_(ours.mix.bias)
    x, here = torch.randn(3, 7, 16, dtype=torch.float64), torch.arange(7) < torch.tensor([[7], [4], [2]])
    unseen = torch.zeros(3, 7, dtype=torch.float64).masked_fill(~here, -1e9)[:, None, None]
    expected = theirs(x, src_key_padding_mask=~here)
    torch.testing.assert_close(ours(x, unseen)[here], expected[here])


def test_padding_says_nothing(shapes: xl.Dataset) -> None:
    tower = OneTower.for_dataset(shapes, ("image", "text"), seed=1)
    inputs = {m: shapes.test.inputs[m] for m in tower.modalities}
    longer = {**inputs, "text": inputs["text"].clone()}
    tokens = tower.embed(inputs)
    loud = torch.where(tokens.masks["text"][..., None], tokens.values["text"], 100.0)
    same = tower.run(Tokens({**tokens.values, "text": loud}, tokens.masks, tokens.special))
    torch.testing.assert_close(same.cls, tower.hidden(longer).cls)
    assert tower(inputs).shape == (12, 6)
    assert {m: t.shape[1] for m, t in same.tokens.items()} == {"image": 16, "text": 12}


def test_the_same_seed_gives_the_same_tower(shapes: xl.Dataset) -> None:
    state = torch.get_rng_state()
    first, again, other = (OneTower.for_dataset(shapes, "image", seed=k).state_dict() for k in (3, 3, 4))
    assert all(bool((first[k] == again[k]).all()) for k in first)
    assert any(bool((first[k] != other[k]).any()) for k in first)
    assert bool((torch.get_rng_state() == state).all()), "the global generator stays as it was"


def test_a_tower_is_a_net_of_the_lab(shapes: xl.Dataset) -> None:
    tower = OneTower.for_dataset(shapes, ("image", "text"), layers=1)
    run = xl.fit(tower, shapes, epochs=1)
    loss = xl.loss_on(run.model, shapes.test)
    assert torch.isfinite(loss())
    plain = nn.functional.cross_entropy(run.model(shapes.test.inputs), shapes.test.labels)
    torch.testing.assert_close(loss().detach(), plain.detach())


def test_sequences_of_features_are_tokens_and_zeros_are_padding() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(10, 5, 7, generator=g), torch.randn(10, 4, 3, generator=g)
    x[:, 3:] = 0
    both = xl.Samples({"video": x, "speech": y}, torch.arange(10) % 2)
    dataset = xl.Dataset("own", both, both, ("no", "yes"), kinds={"video": "vector", "speech": "vector"})
    hidden = OneTower.for_dataset(dataset).hidden(both.inputs)
    assert hidden.masks["video"].sum(1).tolist() == [3] * 10
    assert hidden.tokens["speech"].shape == (10, 4, 32)


# -- the seam --------------------------------------------------------------------------------------


def test_noise_is_bounded_relative_on_request_and_leaves_the_rest(shapes: xl.Dataset) -> None:
    with torch.no_grad():
        tokens = OneTower.for_dataset(shapes, ("image", "text")).embed(shapes.train.inputs)
    noisy = tokens.noisy("image", 3.0, seed=5)
    moved = noisy.values["image"] - tokens.values["image"]
    assert 2.9 < float(moved.abs().max()) <= 3.0 + 1e-5
    assert float(moved.std()) == pytest.approx(3 / 3**0.5, rel=0.03)
    assert noisy.values["text"] is tokens.values["text"]
    own = tokens.values["text"][tokens.masks["text"]].double().std(correction=0)
    assert tokens.spread()["text"] == pytest.approx(float(own))
    scaled = tokens.noisy("text", 1.0, relative=True).values["text"] - tokens.values["text"]
    assert float(scaled.abs().max()) == pytest.approx(float(own), rel=0.01)
    assert bool((tokens.noisy("image", 3.0, seed=5).values["image"] == noisy.values["image"]).all())


def test_a_missing_modality_is_zeros_in_exactly_the_share(shapes: xl.Dataset) -> None:
    with torch.no_grad():
        tokens = OneTower.for_dataset(shapes, ("image", "text")).embed(shapes.train.inputs)
    gone = tokens.without("text", 0.5, seed=1)
    zero = (gone.values["text"] == 0).flatten(1).all(1)
    assert int(zero.sum()) == 30
    assert bool((gone.values["text"][~zero] == tokens.values["text"][~zero]).all())
    assert gone.masks is tokens.masks, "they are still attended to"


def test_masks_that_leave_nothing_are_named() -> None:
    mask = torch.tensor([[True, False], [False, False], [True, True], [False, False]])
    with pytest.raises(ValueError, match=r"all tokens of modality 'text' are masked in 2 of 4 samples \(1, 3\)"):
        check_masks({"image": torch.ones(4, 2, dtype=torch.bool), "text": mask})


# -- ViLT ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vilt() -> ViltTower:
    return ViltTower.random(3).eval()


def vilt_inputs() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(2, 60, (3, 7), generator=g)
    ids[1, 5:] = 0
    shown = torch.ones(3, 32, 32)
    shown[2, :, 24:], shown[2, 16:] = 0, 0
    return {"image": torch.randn(3, 3, 32, 32, generator=g), "text": ids, "image_mask": shown}


def test_vilt_gives_what_transformers_gives(vilt: ViltTower) -> None:
    x = vilt_inputs()
    theirs = vilt.vilt(
        input_ids=x["text"], attention_mask=(x["text"] != 0).long(), pixel_values=x["image"],
        pixel_mask=x["image_mask"].long(),
    )  # fmt: skip
    ours = vilt.hidden(x)
    torch.testing.assert_close(ours.cls, theirs.pooler_output)
    torch.testing.assert_close(ours.tokens["text"], theirs.last_hidden_state[:, 1:7])
    assert ours.masks["image"].sum(1).tolist() == [16, 16, 6]
    assert ours.masks["text"].sum(1).tolist() == [6, 4, 6]
    assert vilt(x).shape == (3, 3)


def test_vilts_patches_stand_row_by_row_whatever_it_draws(vilt: ViltTower) -> None:
    x = vilt_inputs()
    first, again = vilt.embed(x).values["image"], vilt.embed(x).values["image"]
    torch.testing.assert_close(first[:2], again[:2])
    moved = {**x, "image": x["image"].clone()}
    moved["image"][0, :, 8:16, 24:32] += 1  # second row, fourth column: patch 7
    changed = (vilt.embed(moved).values["image"][0] - first[0]).abs().sum(-1) > 1e-6
    assert changed.nonzero().flatten().tolist() == [7]


def test_vilt_from_a_folder(vilt: ViltTower, tmp_path: Path) -> None:
    vilt.vilt.save_pretrained(tmp_path)
    loaded = ViltTower.from_pretrained(str(tmp_path), 2).eval()
    torch.testing.assert_close(loaded.hidden(vilt_inputs()).cls, vilt.hidden(vilt_inputs()).cls)


# -- bad input -------------------------------------------------------------------------------------


def test_bad_input_is_refused_with_a_remedy(shapes: xl.Dataset, vilt: ViltTower) -> None:
    with pytest.raises(ValueError, match=r"'text' is one vector of 45 numbers .* use one_tower.with_tokens"):
        OneTower.for_dataset(xl.load("shapes", n_train=8, n_test=4, n_val=0), "text")
    volumes = {"scan": torch.zeros(4, 1, 2, 2, 2)}
    scans = xl.Samples(volumes, torch.arange(4) % 2)
    with pytest.raises(ValueError, match=r"4 sizes per sample, 1x2x2x2, .* give \(N, L, f\)"):
        OneTower.for_dataset(xl.Dataset("scans", scans, scans, ("a", "b"), kinds={"scan": "vector"}))
    with pytest.raises(ValueError, match="do not split into patches of 5x5"):
        OneTower.for_dataset(shapes, "image", patch=5)
    with pytest.raises(ValueError, match="32 frames do not split into slices of 5"):
        OneTower.for_dataset(shapes, "audio", frames=5)
    with pytest.raises(ValueError, match="width 30 is no multiple of 4 heads"):
        OneTower.for_dataset(shapes, "image", width=30, heads=4)
    with pytest.raises(ValueError, match="inputs lack 'text'"):
        OneTower.for_dataset(shapes, ("image", "text"))({"image": shapes.test.inputs["image"]})
    with pytest.raises(ValueError, match="at least one modality"):
        OneTower({}, 8, 2)
    tokens = OneTower.for_dataset(shapes, "image").embed(shapes.test.inputs)
    with pytest.raises(ValueError, match="unknown modality 'text'"):
        tokens.noisy("text", 1.0)
    with pytest.raises(ValueError, match="amplitude of the noise must be at least 0"):
        tokens.noisy("image", -1.0)
    with pytest.raises(ValueError, match="share of samples"):
        tokens.without("image", 1.5)
    with pytest.raises(TypeError, match=r"must be a transformers.ViltModel, got Linear"):
        ViltTower(nn.Linear(2, 2), 2)
    with pytest.raises(ValueError, match="inputs lack 'image', which ViLT reads"):
        vilt({"text": torch.ones(1, 3)})
    samples = replace(shapes.test, latents={"text:tokens": torch.full((12, 3), -1)})
    with pytest.raises(ValueError, match=r"must be \(N, L\) whole numbers"):
        with_tokens(replace(shapes, train=samples, test=samples, val=None))
