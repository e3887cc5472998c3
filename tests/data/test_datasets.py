"""The registry of datasets, the digits, and the log-mel that they are stored as."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodal_lab import datasets
from xmodal_lab.data.datasets.made import shipped as files
from xmodal_lab.data.datasets.reading import audio
from xmodal_lab.data.datasets.reading.audio import log_mel

DATA = resources.files("xmodal_lab.data.datasets.made") / "arrays"
SMALL = {"images_per_class": 3, "clips_per_class": 5, "texts_per_class": 2, "val_per_class": 2, "test_per_class": 4}
INDEX = {"image": "image_index", "audio": "clip_index", "text": "text_index"}


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def clean():
    return datasets.load("digits", image_energy=None, audio_noise=0.0)


def same(a, b) -> bool:
    """Whether two splits hold the same numbers, to the last bit."""
    return (
        torch.equal(a.labels, b.labels)
        and all(torch.equal(a.inputs[m], b.inputs[m]) and torch.equal(a.present[m], b.present[m]) for m in a.inputs)
        and all(torch.equal(a.latents[k], b.latents[k]) for k in a.latents)
        and a.strings == b.strings
    )


# -- registry ----------------------------------------------------------------------------------------


def test_names_and_table():
    assert datasets.names()[:3] == ("digits", "shapes", "gaussian")
    table = datasets.describe()
    assert tuple(table["name"]) == datasets.names()
    assert table.loc[0, "modalities"] == "image, audio, text"
    assert datasets.options("digits")["image_energy"] == 0.25


@pytest.mark.parametrize("name", ["digits", "shapes", "gaussian"])
def test_the_table_says_what_is_loaded(name):
    ds = datasets.load(name)
    listed = datasets.describe().set_index("name").loc[name, "modalities"]
    assert ds.name == name
    assert ", ".join(ds.modalities) == listed
    assert {"source", "licence", "seed", "options"} <= set(ds.provenance)
    for option, value in ds.provenance["options"].items():
        assert option in datasets.options(name), option
        assert value is not None


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"unknown dataset 'digit'; known: 'digits', 'shapes'.*Did you mean 'digits'\?"
    ):
        datasets.load("digit")
    with pytest.raises(ValueError, match=r"option of dataset 'digits': 'image_per_class'.*mean 'images_per_class'"):
        datasets.load("digits", image_per_class=3)
    with pytest.raises(ValueError, match="unknown dataset"):
        datasets.options("mnist-1998")


def test_loading_needs_neither_network_nor_slow_imports():
    code = (
        "import socket, sys\n"
        "def no(*a, **k): raise OSError('network')\n"
        "socket.socket.connect = no\n"
        "from xmodal_lab import datasets\n"
        "before = set(sys.modules)\n"
        "for name in ('digits', 'shapes', 'gaussian'): datasets.load(name)\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(new & {'sklearn', 'scipy', 'transformers', 'pandas', 'matplotlib'})\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.stderr) == ("set()", "")


# -- digits: what is in it ---------------------------------------------------------------------------


def test_default_sizes_and_masks(digits):
    train = digits.train
    assert digits.shapes == {"image": (1, 8, 8), "audio": (1, 32, 32), "text": (384,)}
    assert digits.kinds == {"image": "image", "audio": "audio", "text": "text"}
    assert digits.classes == ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    assert (len(train), len(digits.val), len(digits.test)) == (1600, 200, 800)
    for modality, each in {"image": 25, "audio": 160, "text": 24}.items():
        here = train.present[modality]
        assert torch.bincount(train.labels[here], minlength=10).tolist() == [each] * 10
        assert not train.inputs[modality][~here].any()
        assert torch.equal(train.latents[INDEX[modality]] >= 0, here)
    for split in (digits.val, digits.test):
        assert all(bool(mask.all()) for mask in split.present.values())
        assert len(set(torch.bincount(split.labels).tolist())) == 1
    assert [bool(line) for line in train.strings["text"]] == train.present["text"].tolist()
    assert len(set(train.labels[:100].tolist())) == 10  # in random order, so that a head is a sample


def test_every_view_of_a_row_is_of_its_digit(digits):
    owner = {
        "image": files.arrays("handwritten_digits")["digit"],
        "audio": files.arrays("spoken_digits")["digit"],
        "text": files.arrays("number_sentences")["digit"],
    }
    for samples in digits.splits.values():
        for modality, index in INDEX.items():
            here = samples.present[modality]
            digit = torch.from_numpy(owner[modality].astype(np.int64))[samples.latents[index][here]]
            assert torch.equal(digit, samples.labels[here])


def test_images_are_those_of_scikit_learn(clean):
    from sklearn.datasets import load_digits

    truth = load_digits()
    for samples in clean.splits.values():
        here = samples.present["image"]
        rows = samples.latents["image_index"][here].numpy()
        scale = clean.provenance["statistics"]["image"]
        pixels = samples.inputs["image"][here].double().numpy()[:, 0] * scale["sd"] + scale["mean"]
        np.testing.assert_allclose(pixels, truth.images[rows] / 16, atol=1e-6)
        np.testing.assert_array_equal(samples.labels[here].numpy(), truth.target[rows])
    np.testing.assert_array_equal(files.arrays("handwritten_digits")["images"], truth.images)


@pytest.mark.parametrize("modality", ["image", "audio", "text"])
def test_training_inputs_are_standardised(clean, modality):
    seen = clean.train.inputs[modality][clean.train.present[modality]].double()
    assert float(seen.mean()) == pytest.approx(0, abs=1e-5)
    assert float(seen.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_sentence_vectors_have_unit_length(clean):
    scale = clean.provenance["statistics"]["text"]
    vectors = clean.test.inputs["text"].double() * scale["sd"] + scale["mean"]
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors), dtype=torch.float64), atol=1e-3, rtol=0)


def test_image_energy_is_pca_fitted_on_training_images(clean):
    from sklearn.decomposition import PCA

    energy = 0.25
    ds = datasets.load("digits", image_energy=energy, audio_noise=0.0)
    images = files.arrays("handwritten_digits")["images"].reshape(-1, 64) / 16.0
    train_rows = ds.train.latents["image_index"][ds.train.present["image"]].numpy()
    shares = np.cumsum(PCA().fit(images[train_rows]).explained_variance_ratio_)
    k = 1 + int((shares < energy).sum())
    assert shares[k - 1] >= energy and (k == 1 or shares[k - 2] < energy)
    model = PCA(n_components=k).fit(images[train_rows])
    expected = model.inverse_transform(model.transform(images[ds.test.latents["image_index"].numpy()]))
    scale = ds.provenance["statistics"]["image"]
    got = ds.test.inputs["image"].double().flatten(1).numpy() * scale["sd"] + scale["mean"]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    # All the variance of the training images; what only test images have is still left out.
    whole = datasets.load("digits", image_energy=1.0)
    torch.testing.assert_close(whole.train.inputs["image"], clean.train.inputs["image"], atol=1e-4, rtol=0)


def test_audio_noise_is_gaussian_and_one_per_clip(clean):
    level = 1.5
    loud = datasets.load("digits", image_energy=None, audio_noise=level)
    noise = (loud.test.inputs["audio"] * (1 + level**2) ** 0.5 - clean.test.inputs["audio"]) / level
    assert float(noise.mean()) == pytest.approx(0, abs=0.005)
    assert float(noise.std()) == pytest.approx(1, abs=0.005)
    assert torch.equal(loud.test.inputs["image"], clean.test.inputs["image"])
    assert torch.equal(loud.train.latents["clip_index"], clean.train.latents["clip_index"])
    # A clip keeps its noise when the selection around it changes.
    fewer = datasets.load("digits", image_energy=None, audio_noise=level, modalities="audio", test_per_class=30)
    row = {int(i): x for i, x in zip(loud.test.latents["clip_index"], loud.test.inputs["audio"], strict=True)}
    mine = torch.stack([row[int(i)] for i in fewer.test.latents["clip_index"]])
    torch.testing.assert_close(fewer.test.inputs["audio"], mine)


def test_absent_modality_leaves_the_others_alone(digits):
    alone = datasets.load("digits", modalities="audio")
    assert alone.modalities == ("audio",)
    assert alone.train.strings == {}
    assert set(alone.train.latents["clip_index"].tolist()) == set(digits.train.latents["clip_index"].tolist())
    pair = datasets.load("digits", modalities=("audio", "image"))
    assert pair.modalities == ("audio", "image")
    assert pair.test.present["image"].all()


def test_a_smaller_training_set_is_part_of_a_larger_one_and_the_test_stays(digits):
    fewer = datasets.load("digits", images_per_class=10, clips_per_class=40)
    for index in ("image_index", "clip_index"):
        assert set(fewer.train.latents[index].tolist()) <= set(digits.train.latents[index].tolist())
        assert torch.equal(fewer.test.latents[index], digits.test.latents[index])


# -- digits: what must not leak ----------------------------------------------------------------------


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    images=st.integers(1, 60),
    clips=st.integers(1, 180),
    texts=st.integers(1, 24),
    val=st.integers(0, 30),
)
def test_no_sample_is_in_two_splits(seed, images, clips, texts, val):
    sizes = {"images_per_class": images, "clips_per_class": clips, "texts_per_class": texts, "val_per_class": val}
    ds = datasets.load("digits", seed=seed, audio_noise=0.0, **sizes)
    assert len(ds.train) == 10 * max(images, clips, texts)
    assert (ds.val is None) == (val == 0)
    for modality, each in {"image": images, "audio": clips, "text": texts}.items():
        here = ds.train.present[modality]
        assert torch.bincount(ds.train.labels[here], minlength=10).tolist() == [each] * 10
    for name in (*INDEX.values(), "voice"):
        used = [set(s.latents[name].tolist()) - {-1} for s in ds.splits.values()]
        assert sum(map(len, used)) == len(set().union(*used))
    lines = [set(s.strings["text"]) - {""} for s in ds.splits.values()]
    assert sum(map(len, lines)) == len(set().union(*lines))
    if val:
        assert len(set(ds.val.latents["image_index"].tolist())) == 10 * val


def test_test_voices_share_neither_variant_nor_accent_with_training(digits):
    voices = digits.provenance["recipe"]["voices"]
    groups = {s: [v for v in voices if v["split"] == s] for s in ("train", "val", "test")}
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        for part in ("accent", "variant"):
            assert not {v[part] for v in groups[a]} & {v[part] for v in groups[b]}
    for split, samples in digits.splits.items():
        heard = samples.latents["voice"][samples.present["audio"]]
        assert {voices[int(v)]["split"] for v in heard} == {split}


def test_the_recipe_holds_what_was_promised():
    takes, recipe = files.arrays("spoken_digits"), files.recipe("spoken_digits")
    assert len({(v["accent"], v["variant"]) for v in recipe["voices"]}) == len(recipe["voices"]) >= 26
    split = np.array([v["split"] for v in recipe["voices"]])[takes["voice"]]
    for digit in range(10):
        mine = takes["digit"] == digit
        assert (mine & (split == "train")).sum() >= 160
        assert (mine & (split == "test")).sum() >= 40
        assert mine.sum() >= 180
    assert {"synthesiser", "seed", "pitches", "speeds_words_per_minute", "mel", "room"} <= set(recipe)
    assert set(takes["pitch"].tolist()) == set(recipe["pitches"])
    assert set(takes["speed"].tolist()) == set(recipe["speeds_words_per_minute"])


def test_sentences_are_many_and_distinct():
    texts = files.recipe("number_sentences")["sentences"]
    assert list(texts) == list(datasets.load("digits", **SMALL).classes)
    every = [line for splits in texts.values() for lines in splits.values() for line in lines]
    assert len(set(every)) == len(every)
    for splits in texts.values():
        assert {split: len(lines) for split, lines in splits.items()} == {"train": 24, "val": 4, "test": 8}


def test_shipped_files_are_small():
    sizes = {Path(str(file)).name: len(file.read_bytes()) for file in DATA.iterdir()}
    assert sizes["spoken_digits.npz"] < 3e6
    assert sum(sizes.values()) < 6e6


# -- digits: seeds, difficulty -----------------------------------------------------------------------


def test_the_seed_decides_everything():
    a, b, c = (datasets.load("digits", seed=s, **SMALL) for s in (3, 3, 4))
    for split in ("train", "val", "test"):
        assert same(a.splits[split], b.splits[split])
        assert not same(a.splits[split], c.splits[split])
    for index in INDEX.values():
        assert set(a.test.latents[index].tolist()) != set(c.test.latents[index].tolist())


def nearest_mean(ds, modality: str) -> float:
    """Test accuracy of the nearest class mean."""
    train = ds.train.complete(modality)
    means = torch.stack([train.inputs[modality][train.labels == c].flatten(1).mean(0) for c in range(10)])
    guess = torch.cdist(ds.test.inputs[modality].flatten(1), means).argmin(1)
    return float((guess == ds.test.labels).float().mean())


def test_each_modality_tells_the_digit_to_new_writers_voices_and_sentences(clean, digits):
    assert nearest_mean(clean, "image") > 0.75
    assert nearest_mean(clean, "audio") > 0.45
    assert nearest_mean(clean, "text") > 0.45
    assert 0.3 < nearest_mean(digits, "image") < nearest_mean(clean, "image")


# -- digits: bad options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"images_per_class": 150, "test_per_class": 80},
            "there are 174 images of each digit for all splits.*need 250",
        ),
        ({"images_per_class": 174}, "make one of them smaller"),
        ({"clips_per_class": 181}, "clips_per_class must be at most 180, what there is of each digit, got 181"),
        ({"texts_per_class": 25}, "texts_per_class must be at most 24"),
        ({"test_per_class": 81}, "test_per_class must be at most 80"),
        ({"val_per_class": 41}, "val_per_class must be at most 40"),
        ({"modalities": "text", "test_per_class": 9}, "test_per_class must be at most 8"),
        ({"images_per_class": 0}, "images_per_class must be at least 1"),
        ({"test_per_class": 0}, "test_per_class must be at least 1"),
        ({"val_per_class": -1}, "val_per_class must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"image_energy": 1.5}, "image_energy must lie between 0 and 1"),
        ({"image_energy": 0.0}, "image_energy must be above 0"),
        ({"image_energy": float("nan")}, "image_energy must be finite"),
        ({"audio_noise": -0.1}, "audio_noise must be at least 0"),
        ({"modalities": ("image", "video")}, "unknown modality 'video'; known: 'image', 'audio', 'text'"),
        ({"modalities": ()}, "no modality was named"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("digits", **options)


def test_sizes_must_be_whole_numbers():
    with pytest.raises(TypeError, match="clips_per_class must be a whole number"):
        datasets.load("digits", clips_per_class=2.5)


def test_a_modality_alone_has_sizes_that_fit():
    assert len(datasets.load("digits", modalities="text").val) == 40
    assert len(datasets.load("digits", images_per_class=100).test) == 540
    assert len(datasets.load("digits", modalities="image", images_per_class=153, val_per_class=20).test) == 10


def test_sentences_without_their_vectors_are_refused(monkeypatch):
    changed = files.recipe("number_sentences")
    changed["sentences"]["zero"]["train"][0] += "!"
    monkeypatch.setattr(files, "recipe", lambda name: changed)
    with pytest.raises(ValueError, match=r"its vectors were not; run scripts/embed_sentences\.py"):
        datasets.load("digits", modalities="text")


def test_a_missing_data_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"own data file 'nothing\.npz' is missing; install xmodal_lab again"):
        files.arrays("nothing")


# -- the script that made the sound ------------------------------------------------------------------


def _script():
    path = Path(__file__).resolve().parents[2] / "scripts" / "make_spoken_digits.py"
    spec = importlib.util.spec_from_file_location("make_spoken_digits", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_plan_of_the_script_is_that_of_the_shipped_takes():
    script, shipped = _script(), files.arrays("spoken_digits")
    recipe = files.recipe("spoken_digits")
    plan = script.takes(recipe["seed"])
    for name in ("voice", "digit", "pitch", "speed"):
        np.testing.assert_array_equal([getattr(take, name) for take in plan], shipped[name])
    assert script.voice_table() == recipe["voices"]
    assert recipe["code"]["step_db"] == script.STEP_DB
    assert recipe["code"]["floor_db"] == script.FLOOR_DB


def test_the_script_makes_the_shipped_takes():
    espeak, recipe = shutil.which("espeak-ng"), files.recipe("spoken_digits")
    if espeak is None:
        pytest.skip("espeak-ng is not installed")
    version = subprocess.run([espeak, "--version"], capture_output=True, text=True, check=True).stdout
    if not version.startswith(recipe["synthesiser"]):
        pytest.skip(f"the shipped takes were made by {recipe['synthesiser']!r}")
    script, levels = _script(), files.arrays("spoken_digits")["levels"]
    plan = script.takes(recipe["seed"])
    for row in (0, 1234, 2999):
        made = script.record(espeak, plan[row], recipe["seed"]).astype(int)
        np.testing.assert_allclose(made, levels[row], atol=1)  # one step of rounding between machines


# -- log-mel -----------------------------------------------------------------------------------------


def test_log_mel_is_the_power_of_windowed_frames_in_bands():
    from transformers.audio_utils import mel_filter_bank

    rng = np.random.default_rng(0)
    wave = 0.1 * rng.standard_normal(8000)
    got = log_mel(wave, 8000)
    assert got.shape == (32, 32) and got.dtype == np.float32
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    padded = np.pad(wave, 128, mode="reflect")
    frames = np.stack([padded[250 * t : 250 * t + 256] * window for t in range(32)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    bank = mel_filter_bank(129, 32, 50.0, 4000.0, 8000, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(got, 10 * np.log10(np.maximum(power @ bank, 1e-6)).T, atol=1e-3)


@pytest.mark.parametrize("hertz", [200.0, 800.0, 2500.0])
def test_a_pure_tone_lights_up_the_band_that_holds_it(hertz):
    from transformers.audio_utils import hertz_to_mel

    wave = np.sin(2 * np.pi * hertz * np.arange(8000) / 8000)
    levels = log_mel(wave).mean(1)
    edges = np.linspace(hertz_to_mel(50.0, "slaney"), hertz_to_mel(4000.0, "slaney"), 34)
    nearest = np.abs(edges[1:-1] - hertz_to_mel(hertz, "slaney")).argmin()
    assert abs(int(levels.argmax()) - int(nearest)) <= 1


@pytest.mark.parametrize(
    ("kind", "full", "zero"), [("int8", 2**7, 0), ("int16", 2**15, 0), ("int32", 2**31, 0), ("uint8", 2**7, 128)]
)
def test_whole_numbers_are_read_over_their_full_scale(kind, full, zero) -> None:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    whole = (np.rint(wave * (full - 1)) + zero).astype(kind)
    near = 30.0 if "8" in kind else 0.1  # the step is noise: 50 dB below the tone with 8 bits, below the floor with 16
    for made in (whole, torch.from_numpy(whole)):
        levels = log_mel(made)
        assert float(levels.max()) == pytest.approx(float(log_mel(wave).max()), abs=0.1)
        np.testing.assert_allclose(levels, log_mel(wave), atol=near)
    np.testing.assert_allclose(audio.resample(whole, 8000, 4000), audio.resample(wave, 8000, 4000), atol=0.02)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.arange(8000.0) - 4000, r"wave reaches 4000, full scale is ±1.*32768 for 16 bits"),
        (np.arange(8000) % 9, r"got torch.int64, which has no full scale"),
        (np.ones(8000, dtype=bool), r"got torch.bool"),
        (np.zeros((2, 8000), dtype=np.int16), "average the channels"),
        (np.array(["a"] * 10), "must be a tensor or an array of numbers"),
    ],
)
def test_waves_whose_scale_nobody_knows(wave, message) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        log_mel(wave)


def test_log_mel_pads_and_cuts_to_the_same_shape():
    wave = np.random.default_rng(0).standard_normal(20000) * 0.1
    np.testing.assert_array_equal(log_mel(wave), log_mel(wave[:8000]))
    assert log_mel(wave[:100]).shape == (32, 32)
    assert float(log_mel(np.zeros(8000)).max()) == -60.0
    assert log_mel(np.zeros(300), 16000, bands=20, frames=10, n_fft=512).shape == (20, 10)
    read_only = wave.astype(np.float32)
    read_only.flags.writeable = False
    np.testing.assert_allclose(log_mel(read_only[::-1]), log_mel(wave[::-1]), atol=1e-3)


@pytest.mark.parametrize(
    ("wave", "options", "message"),
    [
        (np.zeros((2, 8000)), {}, r"wave must have shape \(samples,\).*average the channels"),
        (np.zeros(0), {}, "hold a sample"),
        (np.array([0.0, np.nan]), {}, "NaN or infinite"),
        (np.zeros(10), {"high": 5000.0}, "half the rate"),
        (np.zeros(10), {"frames": 9000}, "too few for 9000 frames"),
        (np.zeros(10), {"bands": 0}, "bands must be at least 1"),
    ],
)
def test_bad_waves(wave, options, message):
    with pytest.raises(ValueError, match=message):
        log_mel(wave, **options)


def test_recipes_are_plain_json():
    for file in DATA.iterdir():
        if file.name.endswith(".json"):
            assert json.loads(file.read_text(encoding="utf-8"))
        else:
            with file.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
                assert all(archive[name].dtype != object for name in archive.files)
