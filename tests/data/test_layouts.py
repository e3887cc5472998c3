"""Every layout on disk: its fake loads, and a damaged one is told in one message."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import xmodal_lab as xl
from xmodal_lab.data.datasets import LayoutError, fakes
from xmodal_lab.data.datasets.on_disk import imagenet_esc, multibench, prompts
from xmodal_lab.data.datasets.reading import media

MEDIA = ("cremad", "kinetics_sounds", "food101", "iemocap", "esc10", "emoji", "nlvr", "folder")
OTHER = ("mimic", "imagenet_esc", "features", "prompts")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Callable[[str], Path]:
    """A fake of each layout, written once; damage is done to a copy."""
    base, done = tmp_path_factory.mktemp("fakes"), {}

    def get(name: str) -> Path:
        if name not in done:
            done[name] = xl.datasets.fake(name, base / name)
        return done[name]

    return get


@pytest.fixture
def copy(made, tmp_path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(made(name), tmp_path / name))


@pytest.mark.parametrize("name", [*MEDIA, *OTHER])
def test_the_fake_of_each_layout_loads(made, name) -> None:
    dataset = xl.load(name, root=made(name))
    assert dataset.name == name and len(dataset.train) >= len(dataset.classes)
    assert set(dataset.train.labels.tolist()) == set(range(len(dataset.classes))) or name == "mimic"
    if "image" in dataset.modalities and dataset.kinds["image"] == "image":
        assert dataset.train.inputs["image"].aminmax().min >= 0 and dataset.train.inputs["image"].aminmax().max <= 1
    again = xl.load(name, root=made(name))
    for m, x in dataset.train.inputs.items():
        assert torch.equal(x, again.train.inputs[m])
    first = dataset.modalities[0]
    alone = xl.load(name, root=made(name), modalities=first)
    assert alone.modalities == (first,)


@pytest.mark.parametrize("which", list(multibench.AFFECT))
def test_multibench_sets(made, which) -> None:
    dataset = xl.load("multibench", which=which, root=made(which))
    assert {m: s[1] for m, s in dataset.shapes.items()} == dict(
        zip(multibench.MODALITIES, multibench.AFFECT[which][1], strict=True)
    )
    words = dataset.train.inputs["text"]
    assert words[:, 0].any() and not words[:, -10:].any(), "leading silence is moved to the end"
    if multibench.AFFECT[which][2]:
        values = xl.load("multibench", which=which, root=made(which), task="value")
        assert values.train.labels.is_floating_point() and not values.classes
        assert torch.equal((values.train.labels > 0).long(), dataset.train.labels)


def test_every_name_that_loads_has_a_fake_and_a_reference(tmp_path) -> None:
    for name in ("multibench", "mosi", "ur_funny"):
        root = xl.datasets.fake(name, tmp_path / name)
        ds = xl.load(name, root=root)
        assert ds.name in xl.datasets.options(name).values() and "no reference" not in xl.cite(ds)
    made = {"digits", "shapes", "gaussian"}
    assert {*xl.datasets.names()} - made <= {*fakes._WRITERS}


def test_a_net_learns_the_trace_of_the_class_in_a_fake(tmp_path) -> None:
    dataset = xl.load("folder", root=xl.datasets.fake("folder", tmp_path / "f", rows=10), size=16)
    net = xl.LateFusion.for_dataset(dataset, modalities=("image", "text"))
    assert xl.fit(net, dataset, epochs=15, seed=0).score > 0.7


def test_a_fake_never_mixes_with_what_is_there(tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="must be an empty or a new folder"):
        fakes.fake("cremad", tmp_path)
    with pytest.raises(ValueError, match=r"unknown dataset to fake 'creamd'.*Did you mean 'cremad'"):
        fakes.fake("creamd", tmp_path)


# -- one message for all that is wrong ---------------------------------------------------------------


def test_all_faults_of_a_cremad_are_named_at_once(copy) -> None:
    root = copy("cremad")
    sounds = sorted((root / "Audio").iterdir())
    sounds[0].unlink()
    sounds[1].write_bytes(sounds[1].read_bytes()[:600])
    sounds[2].write_bytes(b"no sound")
    frames = sorted((root / "Image-01-FPS").iterdir())
    shutil.rmtree(frames[3])
    for frame in frames[4].iterdir():
        frame.write_bytes(frame.read_bytes()[:200])
    (root / "Audio" / "9999_X_NEU_XX.wav").write_bytes(sounds[5].read_bytes())
    lines = (root / "train.csv").read_text().splitlines()
    (root / "train.csv").write_text("\n".join([*lines, "1001_new_NEU_XX,BORED", lines[5], lines[6].split(",")[0]]))
    with pytest.raises(LayoutError) as caught:
        xl.load("cremad", root=root)
    text = str(caught.value)
    assert (
        f"Audio/{sounds[0].name}" in caught.value.missing and f"Image-01-FPS/{frames[3].name}" in caught.value.missing
    )
    wrong = dict(caught.value.malformed)
    assert "truncated" in wrong[f"Audio/{sounds[1].name}"]
    assert "no readable sound file" in wrong[f"Audio/{sounds[2].name}"]
    assert "no readable picture" in wrong[f"Image-01-FPS/{frames[4].name}/1.jpg"]
    assert "unknown class 'BORED'" in wrong["train.csv"] and "already" in wrong["train.csv"]
    assert "columns id, EMO expected" in wrong["train.csv"]
    assert caught.value.extra == ("Audio/9999_X_NEU_XX.wav",)
    for expected in ("Expected train.csv", "missing (2)", "malformed (4)", "extra (1)", "9999_X_NEU_XX"):
        assert expected in text


def test_damaged_rows_can_be_left_out(copy) -> None:
    root = copy("food101")
    picture = next((root / "images" / "train" / "ramen").iterdir())
    picture.write_bytes(b"")
    with pytest.raises(LayoutError, match="no readable picture"):
        xl.load("food101", root=root)
    with pytest.warns(UserWarning, match=rf"{picture.name}.*\n.*left out"):
        dataset = xl.load("food101", root=root, damaged="skip")
    assert len(dataset.train) == 11 and picture.name not in dataset.train.strings["image"]


def test_extra_files_alone_only_warn(copy) -> None:
    root = copy("folder")
    shutil.copy(next((root / "pictures").iterdir()), root / "pictures" / "unnamed.png")
    (root / ".DS_Store").write_text("")
    with pytest.warns(UserWarning, match=r"nothing refers to 1 file\(s\): pictures/unnamed.png"):
        assert len(xl.load("folder", root=root).train) == 10


def test_kinds_of_damage_to_the_other_layouts(copy) -> None:
    root = copy("kinetics_sounds")
    shutil.rmtree(root / "test" / "video" / "tap dancing")
    (root / "train" / "audio" / "tap dancing" / "clip20train.wav").unlink()
    with pytest.raises(LayoutError, match=r"missing \(2\)") as caught:
        xl.load("kinetics_sounds", root=root)
    assert "test/video/tap dancing/clip20test" in caught.value.missing

    root = copy("iemocap")
    texts = sorted((root / "texts").iterdir())
    texts[0].write_text('{"Sentence": "?"}')
    texts[1].write_text("{")
    next((root / "Session1" / "sentences" / "wav").rglob("*F500.wav")).unlink()
    (root / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro00.txt").write_text("empty")
    with pytest.raises(LayoutError, match="key 'Utterance'") as caught:
        xl.load("iemocap", root=root)
    assert len(caught.value.malformed) == 3 and len(caught.value.missing) == 1

    root = copy("emoji")
    entries = json.loads((root / "emoji.json").read_text())
    entries["double"] = next(iter(entries.values()))
    (root / "emoji.json").write_text(json.dumps(entries))
    next((root / "png").iterdir()).unlink()
    with pytest.raises(LayoutError, match=r"unicode .* is food0's already"):
        xl.load("emoji", root=root)

    root = copy("nlvr")
    with (root / "dev" / "dev.json").open("a") as file:
        file.write('{"sentence": "x"}\n')
    with pytest.raises(LayoutError, match="line 33: sentence, label"):
        xl.load("nlvr", root=root)

    root = copy("esc10")
    (root / "README.txt").write_text("no attributions here")
    (root / "nameless").mkdir()
    shutil.copy(next(root.rglob("*.ogg")), root / "nameless" / "1-7-A.ogg")
    with pytest.raises(
        LayoutError, match=r"(?s)no line '- \[FILE\].*a folder named \{number\} - \{class\} expected"
    ) as caught:
        xl.load("esc10", root=root)
    assert "README.txt" in str(caught.value) and "nameless" in str(caught.value)

    root = copy("prompts")
    (root / "prompts.json").write_text('{"a": [], "b": ["x", ""], "c": ["fine"]}')
    with pytest.raises(LayoutError, match="'a' has no list of sentences; 'b' has an empty sentence"):
        xl.load("prompts", root=root)
    assert prompts.words_per_text({"a": ["one two", "three"]}) == 1.5

    root = copy("imagenet_esc")
    folds = torch.load(root / "esc-50" / "features.pt", weights_only=True)
    del folds[2]
    folds[3]["labels"] = folds[3]["labels"][:-1]
    torch.save(folds, root / "esc-50" / "features.pt")
    (root / "imagenet" / "test.pt").unlink()
    with pytest.raises(LayoutError, match="no fold 2; fold 3: 108 features, but 107 labels") as caught:
        xl.load("imagenet_esc", root=root)
    assert caught.value.missing == ("imagenet/test.pt",)


def test_ids_in_both_splits_and_files_that_a_folder_lacks(copy) -> None:
    root = copy("cremad")
    (root / "test.csv").write_text((root / "train.csv").read_text())
    with pytest.raises(LayoutError, match=r"is in train\.csv already"):
        xl.load("cremad", root=root)
    root = copy("folder")
    with (root / "samples.csv").open("a") as file:
        file.write("pictures/none.png,a cat,cat\npictures/cat0.png,a cat,cat\npictures/cat1.png,a cow,cow\n")
    with pytest.raises(LayoutError) as caught:
        xl.load("folder", root=root, classes=("cat", "dog"))
    assert caught.value.missing == ("pictures/none.png",)
    assert "unknown class 'cow' (known: cat, dog)" in str(caught.value) and "'pictures/cat0.png' is on line 2" in str(
        caught.value
    )
    (root / "samples.csv").write_text("file,label\na.png,cat\n")
    with pytest.raises(LayoutError, match="no column 'image', 'text', 'class'; it has 'file', 'label'"):
        xl.load("folder", root=root)


def test_mixed_case_and_other_encodings_of_a_csv(copy) -> None:
    root = copy("cremad")
    for path in [*(root / "Audio").iterdir(), *(root / "Image-01-FPS").rglob("*.jpg")]:
        path.rename(path.with_suffix({".wav": ".WAV", ".jpg": ".Jpg"}[path.suffix]))
    raw = (root / "train.csv").read_bytes()
    (root / "train.csv").write_bytes(b"\xef\xbb\xbf" + raw.replace(b"\r\n", b"\n"))
    assert len(xl.load("cremad", root=root).train) == 24
    (root / "train.csv").write_bytes(raw + b"\xff\xfe,NEU\n")
    with pytest.raises(LayoutError, match="not UTF-8"):
        xl.load("cremad", root=root)
    (root / "train.csv").write_bytes(b"")
    with pytest.raises(LayoutError, match="it holds no line"):
        xl.load("cremad", root=root)


def test_esc10_gives_several_stretches_of_a_clip_and_its_title(made) -> None:
    root = made("esc10")
    dataset = xl.load("esc10", root=root, parts=3, mel=16)
    assert sum(map(len, dataset.splits.values())) == 3 * len(list(root.rglob("*.ogg")))
    assert dataset.classes == ("dog bark", "rain", "rooster") and dataset.shapes["audio"] == (1, 16, 16)
    titles = {s: set(part.strings["text"]) for s, part in dataset.splits.items()}
    assert "dog bark 0" in set.union(*titles.values()), "without its ending and signs"
    assert not titles["train"] & titles["test"] and not titles["train"] & titles["val"], "a recording is in one split"
    wave = xl.load("esc10", root=root, parts=2, audio="wave", modalities="audio", seconds=0.5)
    assert wave.shapes == {"audio": (4000,)} and wave.modalities == ("audio",)
    assert wave.train.inputs["audio"].square().mean(1).sqrt() == pytest.approx(1.0, abs=1e-3), "no loudness tells"


def test_a_title_of_numbers_alone_is_no_text(copy) -> None:
    root = copy("esc10")
    path = root / "README.txt"
    path.write_text(
        path.read_text().replace("dog bark_0.wav", "20060810_12.aif").replace("rain_1.wav", "Häu-ser.v2.WAV")
    )
    whole = xl.load("esc10", root=root, parts=1)
    strings = [t for part in whole.splits.values() for t in part.strings["text"]]
    assert "Häu ser v2" in strings and sum(not t for t in strings) == 1
    assert sum(int((~part.present["text"]).sum()) for part in whole.splits.values()) == 1


def test_the_last_group_of_a_class_is_for_training() -> None:
    rows = [media.Row(f"{g}{i}", label, {}, g) for label, g in ((0, "a"), (0, "b"), (1, "c")) for i in range(8)]
    first, second = media.parted(rows, 0.5, [0])
    assert {row.label for row in first} == {0, 1} and {row.group for row in second} < {"a", "b"}


def test_splits_keep_groups_apart(made) -> None:
    dataset = xl.load("cremad", root=made("cremad"), split="actors", val_share=0.2)
    actors = {s: set(part.latents["actor"].tolist()) for s, part in dataset.splits.items()}
    assert not actors["train"] & actors["test"] and not actors["train"] & actors["val"]
    nlvr = xl.load("nlvr", root=made("nlvr"))
    assert not set(nlvr.train.strings["text"]) & set(nlvr.test.strings["text"])
    iemocap = xl.load("iemocap", root=made("iemocap"), test_session=2)
    assert len(iemocap.test) == 12 and iemocap.provenance["test_session"] == 2


def test_rows_are_balanced_and_too_many_are_refused(made) -> None:
    few = xl.load("food101", root=made("food101"), n_train=6, n_test=3)
    assert few.train.labels.bincount().tolist() == [2, 2, 2]
    more = xl.load("food101", root=made("food101"), n_train=9)
    assert set(few.train.strings["image"]) <= set(more.train.strings["image"])
    with pytest.raises(ValueError, match=r"n_train = 60 needs 20 rows of each class.*give at most 12"):
        xl.load("food101", root=made("food101"), n_train=60)


def test_roots_that_are_no_folders(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("XMODAL_DATA", raising=False)
    with pytest.raises(ValueError, match="give root=, or export XMODAL_DATA"):
        xl.load("cremad")
    with pytest.raises(ValueError, match="root must be a folder that exists"):
        xl.load("cremad", root=tmp_path / "none")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XMODAL_DATA", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="XMODAL_DATA must be a folder"):
        xl.load("emoji")
    with pytest.raises(LayoutError, match=r"Expected train.csv and test.csv"):
        xl.load("cremad", root=tmp_path)


def test_an_unreadable_folder_is_told(copy, monkeypatch) -> None:
    root = copy("food101")
    real = media.Problems.listing.__globals__["os"].scandir

    def refuse(path):
        if str(path).endswith("ramen"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("xmodal_lab.data.datasets.reading.layout.os.scandir", refuse)
    with pytest.raises(LayoutError, match=r"images/train/ramen: cannot be listed: Permission denied"):
        xl.load("food101", root=root)


# -- files -------------------------------------------------------------------------------------------


def test_pictures_of_every_mode_become_rgb_over_white(tmp_path) -> None:
    rgba = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    rgba.save(tmp_path / "clear.png")
    assert (media.read_image(tmp_path / "clear.png", 4) == 255).all()
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "p.png")
    assert media.read_image(tmp_path / "p.png", 4)[:, 0, 0].tolist() == [0, 0, 255]
    palette.save(tmp_path / "pt.png", transparency=1)
    assert (media.read_image(tmp_path / "pt.png", 4) == 255).all()
    Image.new("LA", (8, 8), (0, 255)).save(tmp_path / "la.png")
    Image.new("L", (8, 8), 7).save(tmp_path / "l.png")
    Image.fromarray(np.full((8, 8), 7 * 256, dtype=np.uint16)).save(tmp_path / "i16.png")
    assert [int(media.read_image(tmp_path / f"{n}.png", (2, 3), n != "i16").max()) for n in ("la", "l", "i16")] == [
        0,
        7,
        7,
    ]
    assert media.read_image(tmp_path / "l.png", (2, 3)).shape == (3, 2, 3)
    raw = (tmp_path / "clear.png").read_bytes()
    for bad in (raw[: len(raw) // 2], b"", b"GIF89a"):
        (tmp_path / "bad.png").write_bytes(bad)
        with pytest.raises(ValueError, match="no readable picture"):
            media.read_image(tmp_path / "bad.png", 4)


def test_waves_of_any_width_rate_and_number_of_channels(tmp_path) -> None:
    from xmodal_lab.data.datasets.reading.audio import read_wave

    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)
    for name, subtype in (("16", "PCM_16"), ("24", "PCM_24"), ("f", "FLOAT"), ("u8", "PCM_U8")):
        soundfile.write(tmp_path / f"{name}.wav", wave, 8000, subtype=subtype)
        got, rate = read_wave(tmp_path / f"{name}.wav")
        assert rate == 8000
        np.testing.assert_allclose(got, wave, atol={"u8": 1e-2}.get(name, 1e-4))
    soundfile.write(tmp_path / "stereo.wav", np.stack([wave, -wave], 1), 8000)
    assert abs(read_wave(tmp_path / "stereo.wav")[0]).max() < 1e-3
    with pytest.raises(ValueError, match="2 channels, expected mono"):
        read_wave(tmp_path / "stereo.wav", convert=False)
    with pytest.raises(ValueError, match="8000 Hz, expected 16000 Hz"):
        read_wave(tmp_path / "16.wav", 16000, convert=False)
    double, rate = read_wave(tmp_path / "24.wav", 16000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
    np.testing.assert_allclose(double[200:-200], expected[200:-200], atol=5e-3)
    soundfile.write(tmp_path / "x.ogg", wave, 8000)
    for name in ("16.wav", "x.ogg"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(ValueError, match=r"truncated|no readable sound"):
            read_wave(path)
    soundfile.write(tmp_path / "empty.wav", wave[:0], 8000)
    with pytest.raises(ValueError, match="holds no sample"):
        read_wave(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match="NaN"):
        read_wave(tmp_path / "nan.wav")


def test_hashed_words_know_words_only() -> None:
    a, b, c, none = media.hashed(["Red square, left", "left red SQUARE", "blue circle", "!"])
    np.testing.assert_allclose(a, b)
    assert abs(float(a @ c)) < 0.99 and np.isclose(np.linalg.norm(a), 1) and not none.any()


def test_feature_files_of_every_kind_give_the_same(tmp_path) -> None:
    from safetensors.torch import save_file

    arrays = {"image": torch.randn(30, 4), "labels": torch.arange(30) % 3}
    save_file(arrays, tmp_path / "a.safetensors")
    torch.save({"features": arrays["image"], "labels": arrays["labels"], "prompts": [f"p{i}" for i in range(30)],
                "lab2cname": {0: "x", 1: "y", 2: "z"}, "eot_indices": torch.zeros(30)}, tmp_path / "a.pth")  # fmt: skip
    np.savez(tmp_path / "a.npz", **{k: v.numpy() for k, v in arrays.items()})
    sets = [xl.load("features", root=tmp_path, train=f"a.{end}", n_train=9) for end in ("safetensors", "pth", "npz")]
    for one in sets[1:]:
        assert torch.equal(one.train.inputs["image"], sets[0].train.inputs["image"])
    assert sets[1].classes == ("x", "y", "z") and sets[1].train.strings["image"]
    np.savez(tmp_path / "bad.npz", image=np.zeros((3, 2)))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(LayoutError, match="no 'labels'; it has 'image'") as caught:
        xl.load("features", root=tmp_path, train="bad.npz", test="cut.npz", val="none.npz")
    assert caught.value.missing == ("none.npz",) and "damaged" in dict(caught.value.malformed)["cut.npz"]


def test_multibench_files_of_another_layout(copy) -> None:
    root = copy("mosi")
    content = pickle.loads((root / "mosi_data.pkl").read_bytes())
    content["test"]["audio"] = content["test"]["audio"][:, :, :3]
    content["valid"]["text"][:] = 0
    content["train"]["vision"][0, 0, 0] = np.nan
    (root / "mosi_data.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(LayoutError, match=r"vision holds NaN.*valid: no row has words.*\(N, T, 5\) expected, got"):
        xl.load("multibench", which="mosi", root=root)
    with pytest.raises(ValueError, match="unknown task 'value'"):
        xl.load("multibench", which="mustard", root=root, task="value")


def test_few_shot_indices(tmp_path) -> None:
    path = tmp_path / "shot_1-seed_1.json"
    path.write_text('{"train": {"indices": [1, 2]}, "val": {"indices": [3]}}')
    assert imagenet_esc.read_indices(path) == {"train": [1, 2], "val": [3]}
    path.write_text('{"train": [1.5]}')
    with pytest.raises(ValueError, match="lists of rows expected"):
        imagenet_esc.read_indices(path)
