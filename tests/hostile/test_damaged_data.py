"""Files damaged in ways that hang, that read as something else, or that a library below answers with its own error."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import xmodal_lab as xl
from xmodal_lab.data.datasets import LayoutError
from xmodal_lab.data.datasets.reading import archives
from xmodal_lab.data.datasets.reading.audio import read_wave
from xmodal_lab.data.datasets.reading.media import read_image

LINES = [f"{k}.png,word{k},{'ab'[k % 2]}" for k in range(10)]


def folder(where: Path, lines: list[str], head: str = "image,text,class") -> Path:
    where.mkdir(exist_ok=True)
    for k in range(10):
        Image.new("RGB", (8, 8), (k * 20, 0, 0)).save(where / f"{k}.png")
    (where / "table.csv").write_text("\n".join([head, *lines]), encoding="utf-8")
    return where


# -- any folder of files -----------------------------------------------------------------------------


def test_files_whose_names_differ_in_case_are_not_mixed_up(tmp_path) -> None:
    root = folder(tmp_path / "a", [*LINES, "X.png,w,a", "x.png,w,b"])
    Image.new("RGB", (8, 8), (0, 255, 0)).save(root / "X.png")
    Image.new("RGB", (8, 8), (0, 0, 255)).save(root / "x.png")
    if len(list(root.glob("[xX].png"))) < 2:
        pytest.skip("this file system does not tell case")
    dataset = xl.load("folder", root=root, size=4)
    seen = {
        name: picture[:, 0, 0].tolist()
        for part in dataset.splits.values()
        for name, picture in zip(part.strings["image"], part.inputs["image"], strict=True)
    }
    assert seen["X.png"] == [0, 1, 0] and seen["x.png"] == [0, 0, 1]
    (root / "table.csv").write_text("\n".join(["image,text,class", *LINES, "X.PNG,w,a"]), encoding="utf-8")
    with pytest.raises(LayoutError, match=r"X.PNG: several files are called so but for their case"):
        xl.load("folder", root=root)


def test_recordings_whose_names_differ_in_case_are_refused(tmp_path) -> None:
    root = xl.datasets.fake("cremad", tmp_path / "cremad", rows=2)
    one = next((root / "Audio").iterdir())
    (root / "Audio" / f"{one.stem}.WAV").write_bytes(one.read_bytes())
    if len(list((root / "Audio").glob(f"{one.stem}.*"))) < 2:
        pytest.skip("this file system does not tell case")
    with pytest.raises(LayoutError, match="differ from it only in case; rename them"):
        xl.load("cremad", root=root)


def test_names_may_be_written_in_other_ways(tmp_path) -> None:
    root = folder(tmp_path / "a", [f"./sub/../{line}" for line in LINES] + ["caf\u00e9.png,w,a"])
    Image.new("RGB", (8, 8)).save(root / "cafe\u0301.png")  # as macOS writes it
    assert sum(map(len, xl.load("folder", root=root, size=4).splits.values())) == 11
    folder(root, [*LINES, "./3.png,again,a"])
    (root / "cafe\u0301.png").unlink()
    with pytest.raises(LayoutError, match=r"line 12: './3.png' is on line 5 already"):
        xl.load("folder", root=root)


def test_an_empty_cell_says_that_a_row_lacks_the_modality(tmp_path) -> None:
    root = folder(tmp_path / "a", [*LINES[:8], ",only words,a", "9.png, ,b"])
    (root / "8.png").unlink()
    dataset = xl.load("folder", root=root, size=4)
    rows = {text: (image, text_) for s in dataset.splits.values() for text, image, text_ in zip(
        s.strings["text"], s.present["image"].tolist(), s.present["text"].tolist(), strict=True)}  # fmt: skip
    assert rows["only words"] == (False, True) and rows[""] == (True, False)
    assert sum(not image for image, _ in rows.values()) == 1


def test_paths_may_be_absolute_below_the_folder(tmp_path) -> None:
    root = folder(tmp_path / "a", LINES)
    link = tmp_path / "link"
    link.symlink_to(root)
    folder(root, [f"{(link if i % 2 else root).absolute()}/{line}" for i, line in enumerate(LINES)])
    whole = xl.load("folder", root=link, size=4)
    assert sum(map(len, whole.splits.values())) == len(LINES)
    folder(root, [f"{root.absolute()}/none.png,w,a", *LINES])
    with pytest.raises(LayoutError) as told:
        xl.load("folder", root=root)
    assert told.value.missing == ("none.png",) and not told.value.extra


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of Unix")
def test_links_in_circles_and_pipes_end(tmp_path) -> None:
    root = folder(tmp_path / "a", [*LINES, "pipe.png,w,a"])
    for name, to in (("up", root), ("again", root), ("self", Path("self"))):
        (root / name).symlink_to(to)
    os.mkfifo(root / "pipe.png")
    with pytest.raises(LayoutError) as told:
        xl.load("folder", root=root)
    assert told.value.missing == ("pipe.png",) and not told.value.malformed
    emoji = xl.datasets.fake("emoji", tmp_path / "emoji", rows=2)
    (emoji / "emoji.json").unlink()
    os.mkfifo(emoji / "emoji.json")
    with pytest.raises(LayoutError, match=r"emoji.json: a folder, a pipe or a device"):
        xl.load("emoji", root=emoji)


@pytest.mark.parametrize(
    ("lines", "head", "message"),
    [
        ([*LINES, "9.png,w,"], "image,text,class", r"line 12: no class"),
        ([*LINES[:-1], ",,a"], "image,text,class", r"line 11: image, text are all empty"),
        ([*LINES[:-1], "/elsewhere/9.png,w,a"], "image,text,class", r"line 11: '/elsewhere/9.png' lies outside"),
        ([*LINES[:-1], "C:\\x\\9.png,w,a"], "image,text,class", r"line 11: .* lies outside of the folder; give root="),
        ([line.replace(",", ";") for line in LINES], "image;text;class", r"commas must stand between columns"),
        ([line.replace(",", "\t") for line in LINES], "image\ttext\tclass", r"commas must stand between columns"),
    ],
)
def test_lines_that_say_too_little(tmp_path, lines, head, message) -> None:
    with pytest.raises(LayoutError, match=message):
        xl.load("folder", root=folder(tmp_path / "a", lines, head))


def test_a_table_in_another_encoding_and_classes_named_twice(tmp_path) -> None:
    root = folder(tmp_path / "a", LINES)
    (root / "table.csv").write_bytes("image,text,class\n0.png,café,a".encode("latin-1"))
    with pytest.raises(LayoutError, match="not UTF-8") as told:
        xl.load("folder", root=root)
    assert "holds no line" not in str(told.value)
    with pytest.raises(ValueError, match="classes must differ from each other"):
        xl.load("folder", root=folder(root, LINES), classes=["a", "b", "b"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_files_name_does_not_speak_to_the_terminal(tmp_path) -> None:
    root = folder(tmp_path / "a", LINES)
    (root / "a\nb\x1b[31m.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"nothing refers to 1 file\(s\): a\?b\?\[31m.png"):
        xl.load("folder", root=root, size=4)


# -- pictures and sounds -----------------------------------------------------------------------------


def test_only_pictures_are_opened_as_pictures(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match=r"no readable picture .cannot identify"):  # and not: no Ghostscript
        read_image(tmp_path / "a.png", 8)


def wav(path: Path, *, rate: int = 16000, kind: int = 1, data: bytes = b"\1\0" * 4000) -> Path:
    width = {1: 2, 3: 4}[kind]
    form = struct.pack("<HHIIHH", kind, 1, rate, (rate * width) & 0xFFFFFFFF, width, 8 * width)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def test_headers_of_sounds_that_lie(tmp_path) -> None:
    import soundfile

    for rate in (1, 1_000_000_007, 0x7FFFFFFF):  # resampling would take gigabytes
        with pytest.raises(ValueError, match=f"states {rate} samples per second, expected 100 to 768000"):
            read_wave(wav(tmp_path / "a.wav", rate=rate), 16000)
    loud = (1e30 * np.ones(100)).astype("<f4").tobytes()
    with pytest.raises(ValueError, match=r"holds samples of up to 1e\+30, where full scale is 1"):
        read_wave(wav(tmp_path / "b.wav", kind=3, data=loud), 16000)
    soundfile.write(tmp_path / "c.rf64", 0.1 * np.ones(1000), 16000, format="RF64")
    raw = (tmp_path / "c.rf64").read_bytes()
    (tmp_path / "c.wav").write_bytes(raw)
    assert len(read_wave(tmp_path / "c.wav")[0]) == 1000
    (tmp_path / "c.wav").write_bytes(raw[:-1000])
    with pytest.raises(ValueError, match="truncated"):
        read_wave(tmp_path / "c.wav")


# -- arrays ------------------------------------------------------------------------------------------


def _npy_header(text: str) -> bytes:
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text.encode() + bytes(100)


def _archive() -> bytes:
    packed = io.BytesIO()
    np.savez(packed, a=np.zeros(3))
    return packed.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        b"", _archive(), _npy_header("((((("),
        _npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-5, 784)}"),
    ],
    ids=["empty", "archive", "no Python", "negative shape"],
)  # fmt: skip
def test_npy_files_that_numpy_cannot_answer_for(tmp_path, raw) -> None:
    root = xl.datasets.fake("avmnist", tmp_path / "avmnist", rows=2)
    (root / "image" / "train_data.npy").write_bytes(raw)
    with pytest.raises(LayoutError, match=r"image/train_data.npy: (no whole npy|an npy file expected)"):
        xl.load("avmnist", root=root)


def _features(where: Path, **arrays: Any) -> Path:
    where.mkdir(exist_ok=True)
    np.savez(where / "train.npz", **arrays)
    return where


X, Y = np.ones((12, 4), dtype=np.float32), np.arange(12) % 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": Y + 0.5, "image": X}, "labels must be class numbers, whole"),
        ({"labels": np.where(Y == 0, np.nan, Y), "image": X}, "labels must be class numbers, whole"),
        ({"labels": Y + 0j, "image": X}, "labels must be class numbers, whole"),
        ({"labels": np.where(Y == 0, 10**9, Y), "image": X}, r"labels must be class numbers below 1000000, got 1e\+09"),
        ({"labels": np.array(["a"] * 12), "image": X}, r"train.npz: labels must be a tensor or an array of numbers"),
        ({"labels": Y, "image": X + 0j}, "'image' must be real numbers"),
        ({"labels": Y, "image": X[:, :0]}, r"'image' must have shape \(12, ...\)"),
    ],
)
def test_labels_that_are_no_class_numbers(tmp_path, arrays, message) -> None:
    with pytest.raises(LayoutError, match=message):
        xl.load("features", root=_features(tmp_path / "f", **arrays))


def test_names_of_classes_stand_at_their_numbers(tmp_path) -> None:
    names = {str(c): f"name {c}" for c in range(12)}  # sorted as text, 10 comes before 2
    torch.save({"features": torch.ones(12, 4), "labels": torch.arange(12), "lab2cname": names}, tmp_path / "train.pth")
    dataset = xl.load("features", root=tmp_path, train="train.pth")
    assert dataset.classes == tuple(f"name {c}" for c in range(12))
    few = {0: "a", 2: "c"}
    torch.save({"features": torch.ones(12, 4), "labels": torch.tensor(Y), "lab2cname": few}, tmp_path / "train.pth")
    assert xl.load("features", root=tmp_path, train="train.pth").classes == ("a", "1", "c")
    bad = {"a": 0}
    torch.save({"features": torch.ones(12, 4), "labels": torch.tensor(Y), "lab2cname": bad}, tmp_path / "train.pth")
    with pytest.raises(LayoutError, match="must stand under their numbers"):
        xl.load("features", root=tmp_path, train="train.pth")
    named = _features(tmp_path / "f", image=X, labels=Y, classnames=np.array(["a", "b", "c"]))
    assert xl.load("features", root=named).classes == ("a", "b", "c")
    with pytest.raises(ValueError, match="no row is left to train on"):
        xl.load("features", root=_features(tmp_path / "f", image=X[:1], labels=Y[:1]))


def _set(part: str, key: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def spoil(content: Any) -> None:
        content[part][key] = change(content[part][key])

    return spoil


def _nan(labels: Any) -> Any:
    labels = labels.astype(float)
    labels.flat[0] = np.nan
    return labels


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_set("train", "labels", _nan), "train: labels hold NaN"),  # which would count as "negative"
        (_set("train", "labels", lambda y: np.array(3.0)), "train: 'labels' must be an array of numbers"),
        (_set("test", "vision", lambda x: np.array(3.0)), "test: 'vision' must be an array of numbers"),
        (_set("valid", "vision", lambda x: x[:, :5]), "valid: sequences of one length expected, got 5, 50"),
    ],
)
def test_multibench_arrays_of_odd_kinds(tmp_path, spoil, message) -> None:
    root = xl.datasets.fake("mosi", tmp_path / "mosi", rows=3)
    content = pickle.loads((root / "mosi_data.pkl").read_bytes())
    spoil(content)
    (root / "mosi_data.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(LayoutError, match=message):
        xl.load("multibench", which="mosi", root=root)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("adm_labels_all", lambda a: a[:, :3], "'adm_labels_all' must have 6 columns, got 3"),
        ("y_icd9", lambda a: a[:, :5], "'y_icd9' must have 20 columns, got 5"),
        ("y_icd9", lambda a: a * np.nan, "'y_icd9' holds NaN"),
        ("ep_tdata", lambda a: a[:, :0], "'ep_tdata' must hold at least 2 rows"),
        ("adm_features_all", lambda a: a[:1], "'adm_features_all' must hold at least 2 rows"),
    ],
)
def test_mimic_arrays_of_odd_kinds(tmp_path, key, change, message) -> None:
    root = xl.datasets.fake("mimic", tmp_path / "mimic", rows=3)
    content = pickle.loads((root / "im.pk").read_bytes())
    content[key] = change(content[key])
    (root / "im.pk").write_bytes(pickle.dumps(content))
    with pytest.raises(LayoutError, match=message):
        xl.load("mimic", root=root)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("labelnames", None, "fold 0: a name in 'labelnames' for each row"),
        ("labelnames", [[1]] * 81, "fold 0: a name in 'labelnames' for each row"),
        ("labels", torch.tensor(1), r"fold 0: tensors 'features' \(N, d\) and 'labels' \(N,\)"),
        ("features", torch.zeros(81, 5), "the folds' features must be of one width, got 5, 16"),
    ],
)
def test_imagenet_esc_folds_of_odd_kinds(tmp_path, key, value, message) -> None:
    root = xl.datasets.fake("imagenet_esc", tmp_path / "esc", rows=3)
    path = root / "esc-50" / "features.pt"
    content = torch.load(path, weights_only=True)
    content[0][key] = value
    torch.save(content, path)
    with pytest.raises(LayoutError, match=message):
        xl.load("imagenet_esc", root=root)


# -- json and archives -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["emoji", "nlvr", "prompts", "iemocap"])
def test_json_that_is_nested_too_deep(tmp_path, name) -> None:
    root = xl.datasets.fake(name, tmp_path / name, rows=2)
    path = sorted(root.rglob("*.json"))[0]
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(LayoutError, match=r"nested too deep|line 1: sentence"):
        xl.load(name, root=root)


@pytest.mark.parametrize("key", ["unicode", "name", "category", "keywords"])
@pytest.mark.parametrize("value", [None, 3, {"a": 1}, [3]])
def test_emoji_of_odd_kinds(tmp_path, key, value) -> None:
    root = xl.datasets.fake("emoji", tmp_path / "emoji", rows=2)
    content = json.loads((root / "emoji.json").read_text(encoding="utf-8"))
    next(iter(content.values()))[key] = value
    (root / "emoji.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(LayoutError, match=f"has (a )?{key} that (is|are) no"):
        xl.load("emoji", root=root)


def test_nlvr_lines_with_rare_separators(tmp_path) -> None:
    root = xl.datasets.fake("nlvr", tmp_path / "nlvr", rows=2)
    path = next(root.rglob("*.json"))
    lines = path.read_text(encoding="utf-8").split("\n")
    first = {**json.loads(lines[0]), "sentence": "one\u2028two"}
    path.write_text("\n".join([json.dumps(first, ensure_ascii=False), *lines[1:], "", ""]), encoding="utf-8")
    assert any("one\u2028two" in part.strings["text"] for part in xl.load("nlvr", root=root).splits.values())


def test_zips_that_cannot_be_unpacked(tmp_path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr("a", b"x" * 100)
    raw = path.read_bytes()
    directory = raw.index(b"PK\x01\x02")
    for at, value in ((directory + 8, 1), (directory + 10, 99)):  # encrypted; packed by an unknown method
        spoilt = bytearray(raw)
        spoilt[at] |= value
        spoilt[6 if value == 1 else 8] |= value
        path.write_bytes(bytes(spoilt))
        with pytest.raises(ValueError, match="cannot be unpacked: "):
            archives.unpack(path, tmp_path / "x")
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr("a", "file")
        pack.writestr("a/b", "below it")
    with pytest.raises(ValueError, match="a file and a folder of one name"):
        archives.unpack(path, tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
