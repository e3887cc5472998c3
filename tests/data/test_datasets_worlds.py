"""The drawn worlds: shapes, whose causes are all known, and the linear-Gaussian one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodal_lab import datasets
from xmodal_lab.data.datasets.made import rendering as render
from xmodal_lab.data.datasets.made.shapes import HUES, SHARED, classes

FEW = {"n_train": 40, "n_test": 30, "n_val": 20}
MANY = {"n_train": 2000, "n_test": 10, "n_val": 0, "modalities": "text"}


def shapes(**options):
    return datasets.load("shapes", **{**FEW, **options})


def gaussian(**options):
    return datasets.load("gaussian", **{"n_x": 40, "n_y": 30, "n_val": 5, "n_test": 20, **options})


def equal(a, b) -> bool:
    return (
        torch.equal(a.labels, b.labels)
        and all(torch.equal(a.inputs[m], b.inputs[m]) for m in a.inputs)
        and all(torch.equal(a.latents[k], b.latents[k]) for k in a.latents)
        and a.strings == b.strings
    )


@pytest.mark.parametrize("world", [shapes, gaussian])
def test_the_seed_decides_everything(world):
    a, b, c = world(seed=5), world(seed=5), world(seed=6)
    for split in ("train", "val", "test"):
        assert equal(a.splits[split], b.splits[split])
        assert not equal(a.splits[split], c.splits[split])
    assert not torch.equal(next(iter(a.train.inputs.values()))[:5], next(iter(a.test.inputs.values()))[:5])


# -- shapes ------------------------------------------------------------------------------------------


def test_what_shapes_holds():
    ds = shapes()
    assert ds.shapes == {"image": (3, 32, 32), "audio": (1, 32, 32), "text": (len(render.VOCABULARY),)}
    assert ds.classes == render.SHAPES
    assert (len(ds.train), len(ds.test), len(ds.val)) == (40, 30, 20)
    assert shapes(n_val=0).val is None
    private = {"place", "rotation", "background", "light", "detuning", "phase", "decay", "opening", "ending"}
    assert {*SHARED, *private, "image_bit", "audio_bit", "text:tokens"} == set(ds.train.latents)
    assert all(x.dtype == torch.float32 for x in ds.train.inputs.values())
    assert all(z.dtype in (torch.float32, torch.int64) for z in ds.train.latents.values())
    assert ds.provenance["vocabulary"][0] == "<pad>"


@settings(max_examples=10, deadline=None)
@given(parts=st.lists(st.sampled_from(sorted(SHARED)), min_size=1, max_size=3, unique=True), seed=st.integers(0, 99))
def test_the_label_is_the_product_of_its_latents(parts, seed):
    ds = shapes(label=parts, seed=seed, modalities="text")
    assert len(ds.classes) == math.prod(len(SHARED[part]) for part in parts)
    latents = ds.train.latents
    for i, label in enumerate(ds.train.labels.tolist()):
        assert set(ds.classes[label].split()) == {SHARED[part][int(latents[part][i])] for part in parts}


def test_class_names_read_as_phrases():
    assert classes(("shape", "color"))[0] == "red circle"
    assert classes("xor") == ("same", "different")
    assert shapes(label="color").classes == render.COLORS


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_xor_dial(share):
    ds = datasets.load("shapes", label="xor", xor_share=share, **MANY)
    z, labels = ds.train.latents, ds.train.labels
    assert torch.equal(labels, z["image_bit"] ^ z["audio_bit"])
    cued = z["cued"]
    n = len(labels)
    assert float(cued.float().mean()) == pytest.approx(1 - share, abs=4 * math.sqrt(0.25 / n))
    told = (z["color"][:, None] == torch.from_numpy(HUES)[labels]).any(1)
    assert told[cued].all()
    # Where the colour tells nothing, it is independent of the label: two of five colours fit by chance.
    if share:
        uncued = told[~cued].float()
        assert float(uncued.mean()) == pytest.approx(0.4, abs=4 * math.sqrt(0.24 / len(uncued)))
    # One bit alone says nothing.
    for bit in ("image_bit", "audio_bit"):
        assert float((z[bit] == labels).float().mean()) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / n))


def test_the_best_guess_from_colour_alone_is_right_in_the_stated_share():
    share = 0.6
    ds = datasets.load("shapes", label="xor", xor_share=share, **{**MANY, "n_train": 8000})
    color, labels = ds.train.latents["color"], ds.train.labels
    best = sum(int(torch.bincount(labels[color == c]).max()) for c in range(5)) / len(labels)
    assert best == pytest.approx(1 - share / 2, abs=0.02)


@settings(max_examples=8, deadline=None)
@given(strength=st.floats(0, 1), latent=st.sampled_from(sorted(SHARED)), modality=st.sampled_from(["audio", "text"]))
def test_strength_is_the_chance_to_show_the_truth(strength, latent, modality):
    ds = datasets.load("shapes", sees={modality: {latent: strength}}, **{**MANY, "modalities": modality})
    z = ds.train.latents
    if strength == 1:
        assert f"{modality}:{latent}" not in z
        return
    chance = strength + (1 - strength) / len(SHARED[latent])
    agreement = float((z[f"{modality}:{latent}"] == z[latent]).float().mean())
    assert agreement == pytest.approx(chance, abs=4.5 * math.sqrt(0.25 / 2000))
    assert [k for k in z if k.startswith(f"{modality}:") and k != "text:tokens"] == [f"{modality}:{latent}"]


def test_what_is_shown_is_what_is_rendered():
    ds = shapes(sees={"text": {"color": 0.0}, "image": {"shape": 0.3}}, word_drop=0.0, image_noise=0.0)
    z = ds.train.latents
    for i, caption in enumerate(ds.train.strings["text"]):
        assert render.COLORS[int(z["text:color"][i])] in caption.split()
    shown = {k: v.numpy() for k, v in z.items()} | {"shape": z["image:shape"].numpy()}
    np.testing.assert_allclose(ds.train.inputs["image"].numpy(), render.images(shown), atol=1e-6)


def test_dials_of_one_modality_leave_the_rest_alone():
    plain, other = shapes(), shapes(image_noise=0.5, word_drop=0.9)
    assert torch.equal(plain.train.inputs["audio"], other.train.inputs["audio"])
    assert torch.equal(plain.train.labels, other.train.labels)
    assert plain.train.strings != other.train.strings
    alone = shapes(modalities=("text", "image"))
    assert alone.modalities == ("text", "image")
    assert torch.equal(alone.train.inputs["image"], plain.train.inputs["image"])
    assert alone.train.strings == plain.train.strings
    clean = shapes(image_noise=0.0, audio_noise=0.0)
    for modality, sd in {"image": 0.08, "audio": 0.5}.items():
        noise = plain.train.inputs[modality] - clean.train.inputs[modality]
        assert float(noise.std()) == pytest.approx(sd, rel=0.02)
        assert float(noise.mean()) == pytest.approx(0, abs=0.01)


def test_a_batch_is_rendered_like_each_row_alone():
    ds = shapes(image_noise=0.0, audio_noise=0.0)
    for i in (0, 7, 21):
        row = {k: v[i : i + 1].numpy() for k, v in ds.train.latents.items()}
        np.testing.assert_allclose(render.images(row)[0], ds.train.inputs["image"][i].numpy(), atol=1e-5)
        np.testing.assert_allclose(render.tones(row)[0], ds.train.inputs["audio"][i].numpy(), atol=1e-4)


def latents(**changes):
    """One figure in the middle, upright, plain, on black."""
    usual = {
        "shape": 0, "color": 0, "texture": 0, "size": 1, "rotation": 0.0, "light": 0.0, "background": 0.0,
        "detuning": 0.0, "phase": 0.0, "decay": 0.0,
    }  # fmt: skip
    return {k: np.array([v]) for k, v in (usual | changes).items()} | {"place": np.zeros((1, 2))}


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_drawn_circle_has_the_area_of_a_circle(size):
    image = render.images(latents(size=size))[0]
    covered = image[0] / render.RGB[0, 0]
    # A logistic edge 1 / (1 + exp(24 d)) adds π² / (3 · 24²) to r²; one pixel is 1/256 of the picture's 4.
    area = math.pi * (render.RADII[size] ** 2 + math.pi**2 / (3 * 24**2))
    assert covered.sum() / 256 == pytest.approx(area, rel=1e-3)
    np.testing.assert_allclose(image[:, 16, 16], render.RGB[0], atol=1e-3)
    np.testing.assert_allclose(image[:, 0, 0], 0, atol=1e-3)


def test_a_square_turned_by_a_quarter_is_the_same_square():
    images = [render.images(latents(shape=1, rotation=angle)) for angle in (0.0, math.pi / 2)]
    np.testing.assert_allclose(*images, atol=1e-4)


def test_higher_colours_sound_higher_and_textures_beat():
    peaks = [int(render.tones(latents(color=c))[0, 0].mean(1).argmax()) for c in range(5)]
    assert peaks == [round(3 + 2.2 * c) for c in range(5)]
    for texture, beats in enumerate(render.PULSES):
        loudness = render.tones(latents(texture=texture, decay=1.0))[0, 0].mean(0)
        assert 1 + int((np.diff(loudness) > 0.1).sum()) == beats


def test_captions_say_what_they_show_and_drop_what_they_must():
    ds = shapes(word_drop=0.0)
    z = ds.train.latents
    for i, caption in enumerate(ds.train.strings["text"]):
        words = caption.split()
        assert {render.SHAPES[int(z["shape"][i])], render.COLORS[int(z["color"][i])]} <= set(words)
        assert (render.TEXTURES[int(z["texture"][i])] in words) == (int(z["texture"][i]) > 0)
    mute = shapes(word_drop=1.0)
    telling = set(render.SHAPES) | set(render.COLORS) | set(render.TEXTURES) | set(render.SIZES)
    assert not telling & {word for caption in mute.train.strings["text"] for word in caption.split()}


def test_tokens_spell_the_caption_and_the_bag_counts_them():
    ds = shapes()
    vocabulary = ds.provenance["vocabulary"]
    tokens = ds.train.latents["text:tokens"]
    for row, caption, bag in zip(tokens.tolist(), ds.train.strings["text"], ds.train.inputs["text"], strict=True):
        spelled = [vocabulary[t] for t in row if t]
        assert " ".join(spelled) == caption
        counts = torch.tensor([float(spelled.count(word)) for word in vocabulary])
        torch.testing.assert_close(bag, counts / counts.norm())


@pytest.mark.parametrize(
    ("modality", "latent", "least"),
    [("image", "color", 0.9), ("image", "image_bit", 0.95), ("audio", "shape", 0.35), ("audio", "color", 0.9),
     ("audio", "audio_bit", 0.7), ("text", "shape", 0.7), ("text", "size", 0.7)],
)  # fmt: skip
def test_latents_can_be_read_from_what_shows_them(modality, latent, least):
    ds = datasets.load("shapes", n_train=1500, n_test=300, n_val=0, modalities=modality)
    values = int(ds.train.latents[latent].max()) + 1

    def features(samples):
        x = samples.inputs[modality]
        x = torch.nn.functional.avg_pool2d(x, 2) if modality == "image" else x
        return torch.cat([x.flatten(1), torch.ones(len(x), 1)], 1)

    x, target = features(ds.train), torch.nn.functional.one_hot(ds.train.latents[latent], values).float()
    readout = torch.linalg.solve(x.T @ x + 100.0 * torch.eye(x.shape[1]), x.T @ target)  # ridge regression
    guess = (features(ds.test) @ readout).argmax(1)
    accuracy = float((guess == ds.test.latents[latent]).float().mean())
    assert accuracy > least


def test_the_shape_can_be_read_from_a_clean_centred_outline():
    ds = datasets.load("shapes", n_train=600, n_test=300, n_val=0, modalities="image", image_noise=0.0)

    def outline(samples):
        """Centred coverage: the picture against its background, shifted back to the middle."""
        x = (samples.inputs["image"] - samples.latents["background"].view(-1, 1, 1, 1)).abs().sum(1)
        shift = (samples.latents["place"] * -16).round().int()
        moved = [torch.roll(a, (int(s[1]), int(s[0])), (0, 1)) for a, s in zip(x, shift, strict=True)]
        return (torch.stack(moved) > 0.15).float().flatten(1)

    train, test = outline(ds.train), outline(ds.test)
    means = torch.stack([train[ds.train.labels == c].mean(0) for c in range(6)])
    accuracy = float((torch.cdist(test, means).argmin(1) == ds.test.labels).float().mean())
    assert accuracy > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_train": 0}, "n_train must be at least 1"),
        ({"n_val": -1}, "n_val must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"image_noise": -0.1}, "image_noise must be at least 0"),
        ({"audio_noise": float("nan")}, "audio_noise must be finite"),
        ({"word_drop": 1.2}, "word_drop must lie between 0 and 1"),
        ({"xor_share": -0.2}, "xor_share must lie between 0 and 1"),
        ({"label": "colour"}, "unknown latent in the label 'colour'; known: .*Did you mean 'color'"),
        ({"label": ()}, "the label depends on nothing"),
        ({"label": ("shape", "shape")}, "names a latent twice"),
        ({"label": ("shape", "xor")}, "unknown latent in the label 'xor'"),
        ({"sees": {"video": {}}}, "unknown modality in `sees` 'video'"),
        ({"sees": {"image": {"pitch": 1.0}}}, r"unknown latent in sees\['image'\] 'pitch'; known: 'shape'"),
        ({"sees": {"image": {"shape": 1.5}}}, r"sees\['image'\]\['shape'\] must lie between 0 and 1"),
        ({"modalities": "video"}, "unknown modality 'video'"),
    ],
)
def test_bad_shapes_options(options, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("shapes", **options)


def test_one_sample_is_enough():
    ds = datasets.load("shapes", n_train=1, n_test=1, n_val=1)
    assert (len(ds.train), len(ds.test), len(ds.val)) == (1, 1, 1)


# -- gaussian ----------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_paper():
    ds = datasets.load("gaussian")
    design, options = ds.provenance["design"], ds.provenance["options"]
    assert (options["n_x"], options["n_y"]) == (5000, 5000)
    assert {k: tuple(v.shape) for k, v in design.items()} == {
        "A_c": (50, 10), "A_x": (50, 5), "B_c": (50, 10), "B_y": (50, 5), "a": (10,),
    }  # fmt: skip
    torch.testing.assert_close(design["a"], torch.tensor([1.0] + [0.05] * 9))
    assert options["noise"] ** 2 == pytest.approx(0.09)
    assert ds.kinds == {"x": "vector", "y": "vector"}
    assert ds.classes == () and set(ds.train.labels.tolist()) == {-1}
    entries = torch.cat([design[k].flatten() for k in ("A_c", "A_x", "B_c", "B_y")])
    assert float(entries.mean()) == pytest.approx(0, abs=4 / math.sqrt(len(entries)))
    assert float(entries.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / len(entries)))


def views(samples, design, attenuated):
    """Both views without noise, in float64, straight from App E.14."""
    z = {k: v.double() for k, v in samples.latents.items()}
    d = {k: v.double() for k, v in design.items()}
    a = d["a"] if attenuated else torch.ones_like(d["a"])
    x = torch.einsum("oi,ni->no", d["A_c"] * a, z["theta_c"]) + z["theta_x"] @ d["A_x"].T
    return x, torch.einsum("oi,ni->no", d["B_c"], z["theta_c"]) + z["theta_y"] @ d["B_y"].T


def test_without_noise_the_views_are_the_linear_maps():
    ds = gaussian(noise=0.0, paired=True, n_y=40)
    for split, samples in ds.splits.items():
        x, y = views(samples, ds.provenance["design"], attenuated=split == "train")
        torch.testing.assert_close(samples.inputs["x"].double(), x, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(samples.inputs["y"].double(), y, atol=1e-4, rtol=1e-4)
    dim = gaussian(noise=0.0, attenuate_test=True)
    x, _ = views(dim.test, dim.provenance["design"], attenuated=True)
    torch.testing.assert_close(dim.test.inputs["x"].double(), x, atol=1e-4, rtol=1e-4)


def test_what_the_maps_leave_is_noise_of_variance_009():
    ds = datasets.load("gaussian", n_x=2000, n_y=2000, n_test=1)
    x, y = views(ds.train, ds.provenance["design"], attenuated=True)
    for name, mean in {"x": x, "y": y}.items():
        here = ds.train.present[name]
        rest = (ds.train.inputs[name].double() - mean)[here]
        assert float(rest.var()) == pytest.approx(0.09, rel=0.02)
        assert float(rest.mean()) == pytest.approx(0, abs=0.01)


def test_unpaired_rows_have_one_modality():
    ds = gaussian()
    present = ds.train.present
    assert (int(present["x"].sum()), int(present["y"].sum())) == (40, 30)
    assert not (present["x"] & present["y"]).any() and (present["x"] | present["y"]).all()
    assert not ds.train.inputs["y"][present["x"]].any()
    assert all(bool(ds.test.present[m].all()) for m in ("x", "y"))
    both = gaussian(paired=True, n_y=40)
    assert len(both.train) == 40 and both.train.present["x"].all() and both.train.present["y"].all()


@settings(max_examples=15, deadline=None)
@given(n_x=st.integers(1, 60), n_y=st.integers(0, 60), seed=st.integers(0, 1000))
def test_fewer_rows_of_x_are_the_first_of_more(n_x, n_y, seed):
    part, whole = gaussian(n_x=n_x, n_y=n_y, seed=seed), gaussian(n_x=60, n_y=0, seed=seed)
    torch.testing.assert_close(part.train.inputs["x"][:n_x], whole.train.inputs["x"][:n_x], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(part.test.inputs["x"], whole.test.inputs["x"])
    assert gaussian(n_x=n_x, n_y=n_y, seed=seed, n_val=0).val is None


def test_unrelated_y_has_the_scale_and_nothing_else():
    sizes = {"n_x": 3000, "n_y": 3000, "paired": True, "n_test": 50}
    real, control = (datasets.load("gaussian", unrelated_y=flag, **sizes) for flag in (False, True))
    y = control.train.inputs["y"]
    torch.testing.assert_close(y.std(0), real.train.inputs["y"].std(0), rtol=0.08, atol=0)
    coupling = torch.corrcoef(torch.cat([y, control.train.latents["theta_c"]], 1).T)[:50, 50:]
    assert float(coupling.abs().max()) < 5 / math.sqrt(3000)
    torch.testing.assert_close(control.test.inputs["y"], real.test.inputs["y"])
    torch.testing.assert_close(control.train.inputs["x"], real.train.inputs["x"])


def test_sizes_are_arguments():
    ds = gaussian(shared=4, x_only=0, y_only=2, observed=7, kept=0.5, attenuation=0.0)
    assert ds.shapes == {"x": (7,), "y": (7,)}
    assert ds.train.latents["theta_x"].shape == (70, 0)
    torch.testing.assert_close(ds.provenance["design"]["a"], torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert gaussian(kept=0.0).provenance["design"]["a"].unique().tolist() == pytest.approx([0.05])
    assert gaussian(kept=1.0).provenance["design"]["a"].unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shared": 0}, "shared must be at least 1"),
        ({"x_only": -1}, "x_only must be at least 0"),
        ({"n_test": 0}, "n_test must be at least 1"),
        ({"n_x": 0, "n_y": 0}, "n_x and n_y are both 0"),
        ({"paired": True, "n_x": 3, "n_y": 4}, "paired samples need n_x = n_y, got 3 and 4"),
        ({"kept": 1.1}, "kept must lie between 0 and 1"),
        ({"attenuation": -0.1}, "attenuation must lie between 0 and 1"),
        ({"noise": -1.0}, "noise must be at least 0"),
        ({"noise": float("inf")}, "noise must be finite"),
    ],
)
def test_bad_gaussian_options(options, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("gaussian", **options)
