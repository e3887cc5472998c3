"""AVMNIST from its sources (tiny ones), and what only the real files can show (XMODAL_DATA)."""

from __future__ import annotations

import os
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import xmodal_lab as xl
from xmodal_lab.data.datasets import LayoutError
from xmodal_lab.data.datasets.on_disk import avmnist_build, mnist, sounds
from xmodal_lab.utils import cache as disk

REAL = os.environ.get("XMODAL_DATA", "")
SMALL = {"n_train": 30, "n_val": 10, "n_test": 10}


def real(name: str) -> pytest.MarkDecorator:
    there = bool(REAL) and (Path(REAL) / name).exists()
    return pytest.mark.skipif(not there, reason=f"no {name} in XMODAL_DATA ({REAL or 'not set'})")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    return xl.datasets.fake("avmnist_sources", tmp_path_factory.mktemp("fake") / "sources")


@pytest.fixture
def copy(sources, tmp_path) -> Callable[[], Path]:
    return lambda: Path(shutil.copytree(sources, tmp_path / "sources"))


# -- building ----------------------------------------------------------------------------------------


def test_a_built_set_is_balanced_and_its_splits_share_nothing(sources) -> None:
    ds = xl.load("avmnist", root=sources, **SMALL)
    assert ds.shapes == {"image": (1, 28, 28), "audio": (1, 32, 32)}
    assert [part.labels.bincount().tolist() for part in ds.splits.values()] == [[3] * 10, [1] * 10, [1] * 10]
    for x in ds.train.inputs.values():
        assert abs(float(x.mean())) < 1e-4 and abs(float(x.std()) - 1) < 1e-4
    raw = xl.load("avmnist", root=sources, **SMALL, standardize=False)
    for m, x in raw.train.inputs.items():
        assert x.aminmax().min >= 0 and x.aminmax().max <= 1 and x.std() > 0.02
        scale = ds.provenance["statistics"][m]
        torch.testing.assert_close(ds.test.inputs[m] * scale["sd"] + scale["mean"], raw.test.inputs[m])
    clips = {s: set(part.latents["clip_index"].tolist()) for s, part in ds.splits.items()}
    assert not clips["train"] & clips["test"] and not clips["train"] & clips["val"] and not clips["val"] & clips["test"]
    images = {s: part.latents["image_index"].tolist() for s, part in ds.splits.items()}
    assert not set(images["train"]) & set(images["val"]) and len(set(images["train"])) == 30
    for row, clip in enumerate(ds.train.latents["clip_index"].tolist()):
        name = ds.provenance["clips"][clip]
        assert int(name[0]) == int(ds.train.labels[row])
        assert name.split("_")[1] == ds.provenance["speakers"][int(ds.train.latents["speaker"][row])]


def test_the_same_seed_gives_the_same_and_a_smaller_set_is_a_part_of_a_larger(sources) -> None:
    one = xl.load("avmnist", root=sources, **SMALL, cache=False)
    two = xl.load("avmnist", root=sources, **SMALL, cache=False)
    for m, x in one.train.inputs.items():
        assert torch.equal(x, two.train.inputs[m])
    less = xl.load("avmnist", root=sources, **{**SMALL, "n_train": 20}, cache=False)
    assert set(less.train.latents["image_index"].tolist()) < set(one.train.latents["image_index"].tolist())
    other = xl.load("avmnist", root=sources, **SMALL, seed=1, cache=False)
    assert not torch.equal(other.train.latents["image_index"], one.train.latents["image_index"])
    assert not disk.entries()


def test_the_cache_holds_the_set_at_each_resolution(sources) -> None:
    raw = {**SMALL, "standardize": False}
    built = xl.load("avmnist", root=sources, **raw)
    cached = xl.load("avmnist", root=sources, **raw)
    for m, x in built.train.inputs.items():
        assert torch.equal(x, cached.train.inputs[m])
    assert len(disk.entries()) == 2
    full = xl.load("avmnist", root=sources, **raw, mel=112)
    assert full.shapes["audio"] == (1, 112, 112) and len(disk.entries()) == 2
    mean = torch.nn.functional.adaptive_avg_pool2d(full.train.inputs["audio"], 32)
    torch.testing.assert_close(built.train.inputs["audio"], mean, atol=0.51 / 255, rtol=0)
    xl.load("avmnist", root=sources, **SMALL, size=14, mel=16, modalities="image")
    assert len(disk.entries()) == 3


def test_a_changed_source_is_noticed_and_a_damaged_entry_made_again(copy) -> None:
    root = copy()
    before = xl.load("avmnist", root=root, **SMALL)
    used = before.provenance["clips"][int(before.train.latents["clip_index"][0])]
    path = root / "fsdd" / "recordings" / used
    soundfile.write(path, np.random.default_rng(0).standard_normal(3000) * 0.1, 8000)
    after = xl.load("avmnist", root=root, **SMALL)
    assert len(disk.entries()) == 4 and not torch.equal(before.train.inputs["audio"], after.train.inputs["audio"])
    for entry in disk.entries():
        entry.path.write_bytes(entry.path.read_bytes()[:5000])
    with pytest.warns(UserWarning, match="is damaged"):
        again = xl.load("avmnist", root=root, **SMALL)
    assert torch.equal(again.train.inputs["audio"], after.train.inputs["audio"])


def test_builders_at_once_agree(sources) -> None:
    found: list[xl.Dataset] = []
    threads = [
        threading.Thread(target=lambda: found.append(xl.load("avmnist", root=sources, **SMALL))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and all(torch.equal(f.train.inputs["audio"], found[0].train.inputs["audio"]) for f in found)
    assert not list(disk.folder().rglob("*.part"))


def test_recordings_are_recycled_only_if_asked(sources) -> None:
    options = {"n_train": 60, "n_val": 0, "n_test": 10}
    again = xl.load("avmnist", root=sources, **options)
    once = xl.load("avmnist", root=sources, **options, repeat_clips=False, split="speakers")
    assert bool(again.train.present["audio"].all()) and bool(once.train.present["audio"].all())
    few = xl.load("avmnist", root=sources, **{**options, "n_test": 10}, repeat_clips=False, modalities="audio")
    clips = few.train.latents["clip_index"]
    assert len(set(clips[clips >= 0].tolist())) == int((clips >= 0).sum()), "no recording twice"
    with pytest.raises(ValueError, match="no recording of digit 0 is left for train with split='official'"):
        xl.load("avmnist", root=sources, **options, split="official")


def test_speakers_and_noise_and_waves(sources) -> None:
    ds = xl.load("avmnist", root=sources, **SMALL, split="speakers", audio="wave", noise=False)
    heard = {s: set(part.latents["speaker"].tolist()) for s, part in ds.splits.items()}
    assert all(len(v) == 1 for v in heard.values()) and len(set().union(*heard.values())) == 3
    wave = ds.train.inputs["audio"][0]
    assert wave.shape == (8000,) and ds.provenance["rate"] == 8000
    speech = wave[:3200]
    assert abs(float(speech.square().mean().sqrt()) - 0.1) < 2e-3 and not wave[3200:].any()


@pytest.mark.parametrize("snr", [-6.0, 0.0, 12.0])
def test_the_noise_is_as_loud_as_asked(snr) -> None:
    rng = np.random.default_rng(0)
    words = [rng.standard_normal(5000).astype(np.float32), rng.standard_normal(9000).astype(np.float32) * 30]
    noise = [
        np.sin(np.arange(30000) * 0.3).astype(np.float32),
        np.r_[np.zeros(20000), np.ones(9000)].astype(np.float32),
    ]
    got = sounds.mixed(words, noise, [0.2, 0.9], snr)
    clean = sounds.mixed(words, [], 0.0, 0.0)
    for row in range(2):
        under = got[row] - clean[row]
        spoken = clean[row][: len(words[row])]
        ratio = 20 * np.log10(np.sqrt(np.mean(spoken**2)) / np.sqrt(np.mean(under**2)))
        assert abs(ratio - snr) < 0.1


def test_images_keep_the_asked_share_of_variance() -> None:
    rng = np.random.default_rng(0)
    images = (rng.standard_normal((200, 6)) @ rng.standard_normal((6, 784)) * 12 + 128).clip(0, 255).astype(np.uint8)
    images = images.reshape(-1, 28, 28)
    flat = images.reshape(200, -1) - images.reshape(200, -1).mean(0)
    values = np.linalg.svd(flat, compute_uv=False) ** 2
    for energy in (0.25, 0.6, 0.9):
        near = avmnist_build._components(images, energy)(images).reshape(200, -1).astype(float)
        kept = 1 - np.square(near - images.reshape(200, -1)).sum() / values.sum()
        fewest = int(np.searchsorted(np.cumsum(values) / values.sum(), energy)) + 1
        assert abs(kept - values[:fewest].sum() / values.sum()) < 0.01 and kept > energy - 0.01
    assert avmnist_build._components(images, None)(images) is images


# -- MultiBench's files ------------------------------------------------------------------------------


def test_multibenchs_files_are_read_and_divided_by_255(tmp_path) -> None:
    root = xl.datasets.fake("avmnist", tmp_path / "avmnist")
    ds = xl.load("avmnist", root=tmp_path, n_train=20, n_val=0, n_test=None, mel=112, standardize=False)
    audio, labels = np.load(root / "audio" / "test_data.npy"), np.load(root / "test_labels.npy")
    assert sorted(ds.test.labels.tolist()) == sorted(labels.tolist())
    assert torch.isclose(ds.test.inputs["audio"].double().sum(), torch.tensor(audio.sum() / 255.0).double())
    assert ds.provenance["source"].startswith("AVMNIST as distributed")
    xl.datasets.fake("avmnist_sources", tmp_path / "both")
    root.rename(tmp_path / "both" / "AVMNIST")
    root = tmp_path / "both" / "AVMNIST"
    both = {"root": tmp_path / "both", "n_train": 20, "n_val": 0, "n_test": 10}
    assert "clips" not in xl.load("avmnist", **both).provenance, "files come first"
    assert "clips" in xl.load("avmnist", **both, source="build").provenance
    with pytest.raises(ValueError, match="built already, so split cannot be chosen"):
        xl.load("avmnist", root=root, split="speakers")


def test_all_faults_of_multibenchs_files_at_once(tmp_path) -> None:
    root = xl.datasets.fake("avmnist", tmp_path / "avmnist")
    np.save(root / "audio" / "train_data.npy", np.zeros((40, 100, 112), dtype=np.uint8))
    np.save(root / "test_labels.npy", np.full(10, 11))
    (root / "image" / "test_data.npy").unlink()
    np.save(root / "image" / "train_data.npy", np.array([{}, []], dtype=object))
    raw = (root / "audio" / "test_data.npy").read_bytes()
    (root / "audio" / "test_data.npy").write_bytes(raw[:1000])
    with pytest.raises(LayoutError, match=r"missing \(1\)(.|\n)*malformed \(4\)") as caught:
        xl.load("avmnist", root=root, **SMALL)
    wrong = dict(caught.value.malformed)
    assert "(N, 112, 112) expected, got (40, 100, 112)" in wrong["audio/train_data.npy"].replace("'", "")
    assert "labels from 0 to 9" in wrong["test_labels.npy"]


def test_values_out_of_range(tmp_path) -> None:
    root = xl.datasets.fake("avmnist", tmp_path / "avmnist")
    images = np.load(root / "image" / "train_data.npy")
    for scale, message in (
        (4.0, "from 0 to 255 expected, got"),
        (1 / 255, "divided already"),
        (np.nan, "NaN or infinite"),
    ):
        np.save(root / "image" / "train_data.npy", images * np.float32(scale))
        with pytest.raises(LayoutError, match=message):
            xl.load("avmnist", root=root, n_train=20, n_val=0, n_test=10)


# -- damaged sources ---------------------------------------------------------------------------------


def test_all_faults_of_the_sources_at_once(copy) -> None:
    root = copy()
    takes = root / "fsdd" / "recordings"
    (takes / "0_ada_0.wav").unlink()
    (takes / "mine.wav").write_bytes(b"x")
    shutil.copy(takes / "1_ada_0.wav", takes / "1_ADA_00.WAV")
    (root / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(LayoutError) as caught:
        xl.load("avmnist", root=root, **SMALL)
    assert set(caught.value.missing) == {"fsdd/recordings/0_ada_0.wav", "mnist/t10k-labels-idx1-ubyte.gz"}
    assert "named {digit}_{speaker}_{index}.wav expected" in dict(caught.value.malformed)["fsdd/recordings/mine.wav"]
    assert "the same digit, speaker and index as" in str(caught.value)
    assert not disk.entries()


def test_unreadable_sources_are_listed_together_or_left_out(copy) -> None:
    root = copy()
    takes = root / "fsdd" / "recordings"
    wave = np.random.default_rng(0).standard_normal(3000) * 0.1
    soundfile.write(takes / "0_ada_0.wav", wave, 16000)
    soundfile.write(takes / "1_ada_0.wav", np.stack([wave, wave], 1), 8000)
    soundfile.write(takes / "2_ada_0.wav", wave, 8000, subtype="PCM_24")
    (takes / "3_ada_0.wav").write_bytes((takes / "3_ada_0.wav").read_bytes()[:300])
    with pytest.raises(LayoutError) as caught:
        xl.load("avmnist", root=root, **SMALL)
    wrong = dict(caught.value.malformed)
    assert set(wrong) == {f"fsdd/recordings/{d}_ada_0.wav" for d in (0, 1, 3)}
    for digit, message in ((0, "16000 Hz, expected 8000 Hz"), (1, "2 channels"), (3, "truncated")):
        assert message in wrong[f"fsdd/recordings/{digit}_ada_0.wav"]
    with pytest.warns(UserWarning, match="left out"):
        ds = xl.load("avmnist", root=root, **SMALL, damaged="skip", convert=True)
    assert "3_ada_0.wav" not in ds.provenance["clips"] and "0_ada_0.wav" in ds.provenance["clips"]


def test_damaged_idx_files(tmp_path) -> None:
    for raw, message in (
        (b"\0\0\x08\x03" + b"\0" * 20, "bytes announced"),
        (b"\0\0\x0d\x03", "not an idx file of bytes"),
        (b"", "not an idx file"),
    ):
        (tmp_path / "x").write_bytes(raw + (b"x" if "announced" in message else b""))
        with pytest.raises(ValueError, match=message):
            mnist.read_idx(tmp_path / "x")
    (tmp_path / "x.gz").write_bytes(b"\x1f\x8b\x08garbage")
    with pytest.raises(ValueError, match="not a whole gzip file"):
        mnist.read_idx(tmp_path / "x.gz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mel": 113}, "mel must be at most 112"),
        ({"size": 0}, "size must be at least 1"),
        ({"snr_db": (3, 1)}, r"snr_db must be a number or \(lowest, highest\)"),
        ({"split": "voices"}, "unknown split 'voices'"),
        ({"image_energy": 0.0}, "image_energy must be above 0"),
        ({"n_train": 0}, "n_train must be at least 1"),
        ({"n_train": 100}, "n_train = 100 needs 10 rows of each class"),
        ({"damaged": "ignore"}, "unknown value of damaged 'ignore'"),
    ],
)
def test_refused_options(sources, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        xl.load("avmnist", root=sources, **{**SMALL, **options})


# -- real files --------------------------------------------------------------------------------------


@real("mnist")
def test_mnist_is_the_published_one() -> None:
    import hashlib

    found = {s: mnist.read_idx(Path(REAL) / "mnist" / f"{mnist.FILES[s][0]}.gz") for s in ("train", "test")}
    assert found["train"].shape == (60000, 28, 28) and found["test"].shape == (10000, 28, 28)
    raw = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in found["train"].shape) + found["train"].tobytes()
    assert hashlib.md5(raw, usedforsecurity=False).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"


@pytest.mark.slow
@real("fsdd/recordings")
def test_real_avmnist() -> None:
    ds = xl.load("avmnist", n_train=200, n_val=50, n_test=50)
    assert len(ds.provenance["clips"]) == 3000 and len(ds.provenance["speakers"]) == 6
    assert ds.provenance["clips_per_split"]["train"]["0"] == 210
    assert ds.shapes == {"image": (1, 28, 28), "audio": (1, 32, 32)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(xl.load("avmnist", n_train=200, n_val=50, n_test=50).train) == 200


@real("esc10")
def test_real_esc10() -> None:
    ds = xl.load("esc10", mel=8)
    assert len(ds.classes) == 10 and sum(map(len, ds.splits.values())) == 400 and ds.provenance["recordings"] == 61
    assert set(ds.train.labels.tolist()) == set(range(10)), "helicopters have two recordings"
    assert "MABEL 1" in {t for part in ds.splits.values() for t in part.strings["text"]}
    assert all(bool(part.present["text"].all()) for part in ds.splits.values())


@real("emojione/png")
def test_real_emoji() -> None:
    ds = xl.load("emoji", size=16)
    assert sum(map(len, ds.splits.values())) == 1820 and ds.provenance["without entry"] == 12
    tones = {s: {t.split("-1f3f")[0] for t in p.strings["image"] if "-1f3f" in t} for s, p in ds.splits.items()}
    assert tones["train"] and not tones["train"] & tones["test"]


@real("nlvr/dev")
def test_real_nlvr() -> None:
    ds = xl.load("nlvr", size=(10, 40))
    assert sum(map(len, ds.splits.values())) == 989
    sentences = {s: set(part.strings["text"]) for s, part in ds.splits.items()}
    assert not sentences["train"] & sentences["test"] and len(set.union(*sentences.values())) > 240
