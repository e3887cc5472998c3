"""Ten small data sets as people have them, through the public doors alone; and what is odd, told in one message."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image

import xmodal_lab as xl


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def split_of(ds: xl.Dataset) -> dict[str, int]:
    return {s: len(part) for s, part in ds.splits.items()}


# -- ten data sets -----------------------------------------------------------------------------------


def test_1_bytes_with_channels_last_and_words_for_classes() -> None:
    photos = rng().integers(0, 256, (40, 24, 20, 3), dtype=np.uint8)
    ds = xl.Dataset.from_arrays({"photo": photos}, np.array(["cat", "dog"] * 20))
    assert ds.shapes == {"photo": (3, 24, 20)} and ds.classes == ("cat", "dog") and ds.kinds["photo"] == "image"
    assert split_of(ds) == {"train": 28, "test": 8, "val": 4}
    whole = torch.cat([s.inputs["photo"] for s in ds.splits.values()])
    wanted = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(whole.flatten(1).sort(0).values, wanted.flatten(1).sort(0).values)
    assert ds.provenance["read"]["photo"] == "image (3, 24, 20), channels stood last, bytes divided by 255"
    run = xl.fit(xl.LateFusion.for_dataset(ds, width=8), ds, epochs=1)
    assert 0 <= run.score <= 1


def test_2_a_table_with_texts_numbers_empty_cells_and_a_split() -> None:
    frame = pd.DataFrame({
        "age": [1.0, 2.0, np.nan, 4.0] * 5, "weight": [5.0, 6.0, np.nan, 8.0] * 5,
        "note": ["well", None, "ill again", ""] * 5, "outcome": ["good", "bad"] * 10,
        "part": ["train"] * 12 + ["validation"] * 4 + ["test"] * 4,
    })  # fmt: skip
    ds = xl.Dataset.from_frame(frame, label="outcome", split="part", inputs={"body": ["age", "weight"], "note": "note"})
    assert split_of(ds) == {"train": 12, "test": 4, "val": 4}
    assert ds.train.present["body"].tolist()[:4] == [True, True, False, True]
    assert ds.train.present["note"].tolist()[:4] == [True, False, True, False]
    assert ds.test.inputs["body"][0].tolist() == [1.0, 5.0] and ds.train.strings["note"][2] == "ill again"
    assert ds.classes == ("bad", "good") and ds.kinds == {"body": "vector", "note": "text"}
    told = xl.Dataset.from_frame(frame.drop(columns="part"), label="outcome")
    assert told.modalities == ("features", "note") and told.shapes["features"] == (2,)


def test_3_token_ids_of_different_length_stay_whole() -> None:
    rows = [{"input_ids": [5 + i % 2, 9, 2][: 1 + i % 3], "label": i % 2} for i in range(30)]
    ds = xl.Dataset.from_hf(rows)
    assert ds.kinds == {"input_ids": "tokens"} and ds.train.inputs["input_ids"].dtype == torch.int64
    assert ds.vocabulary == {"input_ids": 10} and ds.shapes == {"input_ids": (3,)}
    assert xl.fit(xl.LateFusion.for_dataset(ds, width=8), ds, epochs=30, lr=1e-2).score == 1.0
    ids = np.array([r["input_ids"] + [0] * (3 - len(r["input_ids"])) for r in rows])
    same = xl.Dataset.from_arrays({"input_ids": ids}, [r["label"] for r in rows])
    assert torch.equal(same.train.inputs["input_ids"], ds.train.inputs["input_ids"])


def test_4_five_captions_to_a_picture_never_cross_the_split() -> None:
    photos = [Image.fromarray(rng(i).integers(0, 256, (30, 40, 3), dtype=np.uint8)) for i in range(20)]
    captions = [[f"picture {i} said {k}" for k in range(1 + i % 5)] for i in range(20)]
    ds = xl.Dataset.from_arrays({"photo": photos, "caption": captions}, [i % 2 for i in range(20)], size=16)
    assert sum(split_of(ds).values()) == sum(map(len, captions))
    rows = {s: set(part.latents["row"].tolist()) for s, part in ds.splits.items()}
    assert not rows["train"] & rows["test"] and not rows["train"] & rows["val"]
    part = ds.train
    for i, line in zip(part.latents["row"].tolist(), part.strings["caption"], strict=True):
        assert line.startswith(f"picture {i} ")
    first = xl.Dataset.from_arrays({"photo": photos, "caption": captions}, [i % 2 for i in range(20)], several="first")
    assert sum(split_of(first).values()) == 20 and set(first.train.strings["caption"]) <= {c[0] for c in captions}


def test_5_a_torch_dataset_with_classes_and_two_splits() -> None:
    class Pictures(torch.utils.data.Dataset):
        classes = ("no", "yes")

        def __init__(self, n: int) -> None:
            self.n = n

        def __len__(self) -> int:
            return self.n

        def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
            if i >= self.n:
                raise IndexError
            return torch.full((1, 8, 8), float(i % 2)), i % 2

    ds = xl.Dataset.from_torch({"train": Pictures(20), "test": torch.utils.data.DataLoader(Pictures(6), batch_size=2)})
    assert (
        ds.classes == ("no", "yes") and split_of(ds) == {"train": 20, "test": 6} and ds.shapes == {"image": (1, 8, 8)}
    )
    named = torch.utils.data.TensorDataset(torch.rand(10, 3), torch.rand(10, 5, 2), torch.arange(10) % 2)
    both = xl.Dataset.from_torch(named, names=["pulse", "gait"])
    assert both.kinds == {"pulse": "vector", "gait": "series"}


def test_6_waves_of_sixteen_bits_and_a_modality_that_is_absent() -> None:
    waves = (rng().standard_normal((12, 800)) * 9000).astype(np.int16)
    lidar = rng(1).standard_normal((12, 6))
    lidar[3] = np.nan
    seen = {"lidar": np.arange(12) != 5}
    ds = xl.Dataset.from_arrays(
        {"voice": waves, "lidar": lidar}, [0, 1, 2] * 4, present=seen, rate=8000, kinds={"voice": "audio"},
        split={"train": slice(0, 9), "test": [9, 10, 11]},
    )  # fmt: skip
    torch.testing.assert_close(ds.test.inputs["voice"], torch.from_numpy(waves[9:].astype(np.float32)) / 32768)
    assert ds.train.present["lidar"].tolist() == [i not in (3, 5) for i in range(9)]
    assert ds.provenance["rate"] == 8000 and ds.kinds["voice"] == "audio"
    stereo = np.stack([waves, waves], -1)
    same = xl.Dataset.from_arrays({"audio": stereo}, [0, 1, 2] * 4, split={"train": slice(0, 9), "test": [9, 10, 11]})
    torch.testing.assert_close(same.test.inputs["audio"], ds.test.inputs["voice"])


@pytest.mark.parametrize(
    "labels",
    [
        [["red"], ["blue", "red"], [], ["blue"]] * 5,
        ["red", "blue|red", "", "blue"] * 5,
        np.array([[0, 1], [1, 1], [0, 0], [1, 0]] * 5),
        torch.tensor([[False, True], [True, True], [False, False], [True, False]] * 5),
    ],
)
def test_7_several_classes_a_row(labels: object) -> None:
    x = rng().standard_normal((20, 3))
    ds = xl.Dataset.from_arrays(
        {"x": x},
        labels,
        separator="|",
        classes=["blue", "red"],
        task="labels" if isinstance(labels, list) and labels[0] == "red" else "auto",
    )
    assert ds.task == "labels" and ds.train.labels.dtype == torch.bool and ds.outputs == 2
    everything = torch.cat([s.labels for s in ds.splits.values()])
    assert everything.sum(0).tolist() == [10, 10] and "several a row" in repr(ds)


def test_8_real_and_ordinal_labels() -> None:
    x = rng().standard_normal((30, 3)).astype(np.float32)
    real = xl.Dataset.from_arrays({"x": x}, x.sum(1))
    assert real.task == "values" and real.classes == () and "real values" in repr(real)
    run = xl.fit(xl.LateFusion.for_dataset(real), real, epochs=60, lr=1e-2)
    assert run.score > -0.5
    grades = pd.Series(pd.Categorical(["low", "high", "mid"] * 10, ["low", "mid", "high"], ordered=True))
    ranked = xl.Dataset.from_frame(pd.DataFrame({"a": range(30), "grade": grades}), label="grade")
    assert ranked.classes == ("low", "mid", "high")
    rank = xl.Dataset.from_arrays({"x": x}, ["low", "high", "mid"] * 10, classes=["low", "mid", "high"], task="values")
    assert rank.task == "values" and set(rank.train.labels.tolist()) == {0.0, 1.0, 2.0}
    stars = xl.Dataset.from_arrays({"x": x}, [1, 3, 5] * 10)
    assert stars.classes == ("1", "3", "5") and "numbered anew" in stars.provenance["read"]["labels"]


def test_9_rows_with_files_of_sounds_pictures_and_arrays(tmp_path: Path) -> None:
    lines = []
    for i in range(12):
        Image.new("RGB", (9, 9), (20 * i, 0, 0)).save(tmp_path / f"{i}.png")
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * np.sin(np.arange(8000) * (i + 1) / 50), 8000)
        np.save(tmp_path / f"{i}.npy", np.full(4, i, dtype=np.float32))
        lines.append(
            {"face": f"{i}.png", "voice": f"{i}.wav" if i != 2 else "", "skin": f"{i}.npy", "mood": "ab"[i % 2]}
        )
    with (tmp_path / "11.pkl").open("wb") as file:
        pickle.dump(np.full(4, 11.0), file)
    torch.save(torch.full((4,), 10.0), tmp_path / "10.pt")
    lines[11]["skin"], lines[10]["skin"] = "11.pkl", "10.pt"
    ds = xl.Dataset.from_frame(pd.DataFrame(lines), label="mood", root=tmp_path, size=8, seconds=0.5)
    assert ds.kinds == {"face": "image", "voice": "audio", "skin": "vector"}
    assert ds.shapes == {"face": (3, 8, 8), "voice": (1, 32, 32), "skin": (4,)}
    for part in ds.splits.values():
        for name, row, face in zip(part.strings["face"], part.inputs["skin"], part.inputs["face"], strict=True):
            assert row.tolist() == [float(Path(name).stem)] * 4
            assert float(face[0].mean()) == pytest.approx(20 * int(Path(name).stem) / 255, abs=1e-6)
    assert sum(int((~s.present["voice"]).sum()) for s in ds.splits.values()) == 1


def test_10_features_larger_than_a_budget_stay_in_their_file(tmp_path: Path) -> None:
    made = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(1000, 2000))
    made[:] = rng().standard_normal((1000, 2000), dtype=np.float32)
    made.flush()
    labels = np.arange(1000) % 2
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    blocks = {"train": slice(0, 800), "test": slice(800, 1000)}
    ds = xl.Dataset.from_arrays({"x": mapped}, labels, split=blocks)
    assert "mapped from its file" in ds.provenance["read"]["x"]
    for part, rows in (("train", slice(0, 800)), ("test", slice(800, 1000))):
        x = ds.splits[part].inputs["x"]
        assert torch.equal(x, torch.from_numpy(np.array(mapped[rows]))) and x._is_view()
    assert ds.train.inputs["x"].untyped_storage().data_ptr() == ds.test.inputs["x"].untyped_storage().data_ptr()
    run = xl.fit(xl.LateFusion.for_dataset(ds, width=4), ds, epochs=1)
    assert 0 <= run.score <= 1
    ds.train.inputs["x"][0, 0] = 77.0
    assert np.load(tmp_path / "x.npy")[0, 0] != 77.0, "the file is never written"
    with pytest.raises(ValueError, match=r"'x' would be read into memory.*Give split= in blocks"):
        xl.Dataset.from_arrays({"x": mapped}, labels)
    tail = xl.Dataset.from_arrays(
        {"x": mapped[500:]}, labels[500:], split={"train": slice(0, 400), "test": slice(400, 500)}
    )
    assert torch.equal(tail.test.inputs["x"], torch.from_numpy(np.array(mapped[900:]))), "a part of a map"


# -- what is odd -------------------------------------------------------------------------------------


def test_all_that_is_odd_stands_in_one_message() -> None:
    x = rng().standard_normal((8, 3))
    x[2, 1] = np.inf
    with pytest.raises(ValueError, match="things are not as expected") as told:
        xl.Dataset.from_arrays(
            {"a": x, "b": rng().integers(3, 9, (8, 4)), "c.d": np.ones((8, 2)), "e": [[1.0], [1.0, 2.0]] * 4},
            ["p", "q"] * 4, kinds={"zz": "image"}, split=["train"] * 7 + ["tset"],
        )  # fmt: skip
    text = str(told.value)
    for words in (
        "'a'] hold NaN or infinite values in part of 1 row(s): 2", "'b'] hold whole numbers", "no dot", "rows of 2 shapes",
        "unknown modality in kinds 'zz'", "train, val or test, got 'tset'",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1]}, r"as many rows, got inputs\['x'\] 6, labels 2"),
        ({"labels": [1.0, 2.0, 3.0] * 2}, "task='classes' or task='values'"),
        ({"labels": [1.5, np.nan, 3.0] * 2}, "NaN in 2 row"),
        ({"labels": ["a", "b", "c"] * 2, "classes": ["a", "b"]}, "labels 'c' are none of the classes a, b"),
        ({"labels": [0, 1, 2] * 2, "classes": ["a", "a", "b"]}, "classes must differ"),
        ({"labels": [0, 5, 9] * 2, "classes": ["a", "b", "c"]}, "labels run from 0 to 9, but there are 3 classes"),
        ({"inputs": {"x": np.zeros((6, 9, 9, 5))}}, "channels that stand last; say channels="),
        ({"inputs": {"x": np.zeros((6, 3, 9, 1))}}, "read either way; say channels="),
        ({"inputs": {"image": np.full((6, 3, 9, 9), 300.0)}}, r"neither \[0, 1\] nor bytes"),
        ({"inputs": {"x": [None] * 6}}, "empty in every row"),
        ({"inputs": {"x": "abc"}}, "one entry a row, got str"),
        ({"inputs": {"x": np.zeros((6, 2))}, "present": {"x": [True] * 5 + [False]}}, "1 row.* lack every modality"),
        ({"split": ["train"] * 6}, "no row is left for test"),
        ({"split": {"train": [0, 1, 2], "test": [2, 3]}}, "in two splits"),
        ({"labels": np.full((6, 4), 0.25)}, r"look like probabilities of classes: give labels.argmax\(1\)"),
        ({"group": [1, 2]}, "group must have one value a row"),
        ({"several": "all"}, "unknown several 'all'"),
        ({"inputs": {"x": ["a.png", "b.png"] * 3}}, r"6 of 6 files.*a.png: missing"),
        ({"task": "class"}, "unknown task 'class'"),
    ],
)
def test_what_the_answer_says(change: dict, message: str) -> None:
    given = {"inputs": {"x": rng().standard_normal((6, 3))}, "labels": [0, 1, 2] * 2} | change
    with pytest.raises((ValueError, TypeError), match=message):
        xl.Dataset.from_arrays(given.pop("inputs"), given.pop("labels"), **given)


def test_groups_stay_whole_and_classes_keep_their_share() -> None:
    x = np.arange(200.0)[:, None]
    group = [f"speaker {i // 4}" for i in range(200)]
    ds = xl.Dataset.from_arrays({"x": x}, [i // 4 % 2 for i in range(200)], group=group)
    speakers = {s: {int(v) // 4 for v in part.inputs["x"]} for s, part in ds.splits.items()}
    assert not speakers["train"] & speakers["test"] and not speakers["train"] & speakers["val"]
    assert len(ds.test) == 40 and ds.test.labels.double().mean() == 0.5
    again = xl.Dataset.from_arrays({"x": x}, [i // 4 % 2 for i in range(200)], group=group)
    assert again.fingerprint == ds.fingerprint


def test_unknown_labels_and_one_hot_ones() -> None:
    x = rng().standard_normal((20, 3))
    ds = xl.Dataset.from_arrays({"x": x}, ["a", None, "b", "a"] * 5)
    assert int(torch.cat([s.labels for s in ds.splits.values()]).eq(-1).sum()) == 5
    hot = xl.Dataset.from_arrays({"x": x}, np.eye(4)[np.arange(20) % 4])
    assert hot.task == "classes" and len(hot.classes) == 4 and "one-hot" in hot.provenance["read"]["labels"]
    column = xl.Dataset.from_arrays({"x": x}, (np.arange(20) % 2)[:, None].astype(np.int32))
    assert column.train.labels.ndim == 1


def test_masked_object_and_foreign_columns() -> None:
    x = np.ma.masked_array(np.arange(24.0).reshape(8, 3), mask=False)
    x[2] = np.ma.masked
    other = np.ones((8, 1))
    ds = xl.Dataset.from_arrays({"x": x, "y": other}, [0, 1] * 4, split=["train"] * 6 + ["test"] * 2)
    assert ds.train.present["x"].tolist() == [True, True, False, True, True, True]
    cells = np.empty(8, dtype=object)
    cells[:] = [np.arange(3.0) if i != 1 else None for i in range(8)]
    ds = xl.Dataset.from_arrays({"x": cells, "y": other}, [0, 1] * 4, split=["train"] * 6 + ["test"] * 2)
    assert ds.train.present["x"].tolist()[1] is False and ds.shapes["x"] == (3,)
    series = [rng(i).standard_normal((2 + i % 3, 4)) for i in range(8)]
    ds = xl.Dataset.from_arrays({"gait": series}, [0, 1] * 4)
    assert ds.kinds["gait"] == "series" and ds.shapes["gait"] == (4, 4)
    sounds = [{"array": np.sin(np.arange(4000) / 9), "sampling_rate": 8000} for _ in range(8)]
    ds = xl.Dataset.from_hf([{"audio": s, "label": i % 2} for i, s in enumerate(sounds)], seconds=0.5, mel=16)
    assert ds.shapes["audio"] == (1, 16, 16) and ds.kinds["audio"] == "audio"


# -- folders -----------------------------------------------------------------------------------------


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), (shade, shade, 0)).save(path)


def test_classes_as_subfolders_with_and_without_splits(tmp_path: Path) -> None:
    for i in range(20):
        picture(tmp_path / "flat" / ("cat", "dog")[i % 2] / f"{i}.jpg", 10 * i)
        part = ("train", "train", "val", "test")[i % 4]
        picture(tmp_path / "split" / part / ("cat", "dog")[i // 4 % 2] / f"{i}.png", 10 * i)
        soundfile.write(
            tmp_path / "split" / part / ("cat", "dog")[i // 4 % 2] / f"{i}.wav", np.zeros(800) + 0.01 * i, 8000
        )
    flat = xl.load("folder", root=tmp_path / "flat", size=8)
    assert flat.classes == ("cat", "dog") and flat.modalities == ("image",) and sum(split_of(flat).values()) == 20
    assert flat.provenance["form"] == "classes as subfolders"
    both = xl.load("folder", root=tmp_path / "split", size=8, mel=16, seconds=0.1)
    assert split_of(both) == {"train": 10, "val": 5, "test": 5} and both.shapes["audio"] == (1, 16, 16)
    for part in both.splits.values():
        for name, label in zip(part.strings["image"], part.labels.tolist(), strict=True):
            assert name.split("/")[1] == both.classes[label]
        assert [n[:-4] for n in part.strings["image"]] == [n[:-4] for n in part.strings["audio"]]


def test_a_table_for_each_split_in_any_form(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": [f"{i}.png" for i in range(12)], "text": ["a b", "c"] * 6, "class": ["x", "y"] * 6})
    for form in ("csv", "tsv", "jsonl"):
        root = tmp_path / form
        for i in range(12):
            picture(root / f"{i}.png", 10 * i)
        for part, rows in (("train", slice(0, 8)), ("validation", slice(8, 10)), ("test", slice(10, 12))):
            some = frame.iloc[rows]
            if form == "jsonl":
                some.to_json(root / f"{part}.jsonl", orient="records", lines=True)
            else:
                some.to_csv(root / f"{part}.{form}", sep=",\t"[form == "tsv"], index=False)
        ds = xl.load("folder", root=root, size=8)
        assert split_of(ds) == {"train": 8, "test": 2, "val": 2} and ds.modalities == ("image", "text")
        assert ds.test.strings["image"] == ("10.png", "11.png") and ds.classes == ("x", "y")


def test_metadata_jsonl_as_hugging_face_has_it(tmp_path: Path) -> None:
    for part, n in (("train", 8), ("test", 4)):
        lines = []
        for i in range(n):
            picture(tmp_path / part / f"{i}.png", 20 * i)
            lines.append(
                f'{{"file_name": "{i}.png", "caption": {"null" if i == 1 else f"""["one {i}", "two"]"""}, "label": {i % 2}}}'
            )
        (tmp_path / part / "metadata.jsonl").write_text("\n".join(lines))
    ds = xl.load("folder", root=tmp_path, size=8)
    assert ds.modalities == ("image", "text") and split_of(ds) == {"train": 15, "test": 7}
    assert ds.train.strings["image"][:2] == ("train/0.png", "train/0.png")
    assert ds.train.strings["text"][:2] == ("one 0", "two") and not bool(ds.train.present["text"][2])
    (tmp_path / "train" / "metadata.jsonl").write_text('{"file_name": "9.png", "label": 0}\n[1]\n{')
    with pytest.raises(xl.datasets.LayoutError, match=r"line 2: a json object expected, got list; line 3: not json"):
        xl.load("folder", root=tmp_path)


def test_own_names_several_labels_and_values_in_a_folder(tmp_path: Path) -> None:
    lines = ["left,right,tags,score"]
    for i in range(10):
        picture(tmp_path / f"l{i}.png", 10 * i)
        np.save(tmp_path / f"r{i}.npy", np.full(3, i))
        lines.append(f"l{i}.png,{'' if i == 3 else f'r{i}.npy'},{('red|blue', 'blue', '')[i % 3]},{i / 4}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    inputs = {"left_eye": "left", "right_ear": "right"}
    kinds = {"right_ear": "features"}
    ds = xl.load(
        "folder", root=tmp_path, inputs=inputs, label="tags", separator="|", task="labels", size=8, kinds=kinds
    )
    assert ds.kinds == {"left_eye": "image", "right_ear": "vector"} and ds.classes == ("blue", "red")
    assert ds.task == "labels" and sum(int((~s.present["right_ear"]).sum()) for s in ds.splits.values()) == 1
    real = xl.load("folder", root=tmp_path, inputs=inputs, label="score", task="values", size=8, kinds=kinds)
    assert real.task == "values" and sum(float(s.labels.sum()) for s in real.splits.values()) == pytest.approx(45 / 4)
    both = xl.load(
        "folder", root=tmp_path, inputs=inputs, label="score", task="values", modalities="left_eye", kinds=kinds
    )
    assert both.modalities == ("left_eye",)
    with pytest.raises(ValueError, match=r"unknown column 'centre'"):
        xl.load("folder", root=tmp_path, inputs={"a": "centre"}, label="score")
    (tmp_path / "t.csv").write_text("\n".join([*lines[:4], "/elsewhere/x.png,r1.npy,blue,1"]))
    with pytest.raises(xl.datasets.LayoutError, match=r"row 3: '/elsewhere/x.png' lies outside"):
        xl.load("folder", root=tmp_path, inputs=inputs, label="score")


def test_folders_in_no_known_form_say_what_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold one csv .*subfolders of pictures"):
        xl.load("folder", root=tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("image,class\n")
    with pytest.raises(ValueError, match=r"found a.csv, b.csv; name it with table="):
        xl.load("folder", root=tmp_path)


@pytest.mark.parametrize("suffix", ["npy", "pkl", "pt", "npz"])
def test_feature_files_of_every_sort(tmp_path: Path, suffix: str) -> None:
    x, y = rng().standard_normal((20, 5)).astype(np.float32), np.arange(20) % 2
    if suffix == "npy":
        np.save(tmp_path / "f.npy", x)
        np.save(tmp_path / "labels.npy", y)
    elif suffix == "pkl":
        (tmp_path / "f.pkl").write_bytes(pickle.dumps({"features": x, "labels": y}))
    elif suffix == "pt":
        torch.save({"features": x, "labels": y}, tmp_path / "f.pt")
    else:
        np.savez(tmp_path / "f.npz", features=x, labels=y)
    ds = xl.load("features", root=tmp_path, train=f"f.{suffix}", modality="touch")
    whole = torch.cat([s.inputs["touch"] for s in ds.splits.values()])
    assert torch.equal(whole.sort(0).values, torch.from_numpy(x).sort(0).values)


def test_pickles_that_ask_for_code_are_refused(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("harm",))

    (tmp_path / "f.pkl").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ValueError, match=r"asks for builtins.print"):
        xl.load("features", root=tmp_path, train="f.pkl")
    frame = pd.DataFrame({"x": ["f.pkl"] * 4, "y": ["a", "b"] * 2})
    with pytest.raises(ValueError, match=r"asks for builtins.print"):
        xl.Dataset.from_frame(frame, label="y", root=tmp_path)


def test_lists_that_parquet_gives_as_arrays(tmp_path: Path) -> None:
    import pandas as pd

    pytest.importorskip("pyarrow")
    rows = [
        {"caption": [f"a {i}", f"the {i}"][: 1 + i % 2], "tags": ["x", "y"][: i % 3], "walk": [[1.0, i], [2.0, 3.0]]}
        for i in range(12)
    ]
    for split, part in (("train", rows[:8]), ("test", rows[8:])):
        pd.DataFrame(part).to_parquet(tmp_path / f"{split}.parquet")
    ds = xl.load("folder", root=tmp_path, inputs={"text": "caption", "walk": "walk"}, label="tags")
    assert ds.classes == ("x", "y") and ds.train.labels.dtype == torch.bool
    assert ds.test.strings["text"] == ("a 8", "a 9", "the 9", "a 10", "a 11", "the 11")
    assert ds.kinds["walk"] == "series" and ds.test.inputs["walk"][:3, 0].tolist() == [[1, 8], [1, 9], [1, 9]]


def test_class_labels_within_a_sequence_keep_their_names() -> None:
    class Names:
        names = ("cat", "dog", "owl")

    class Sequence:
        feature = Names()

    for features in ({"labels": Sequence(), "x": None}, {"labels": [Names()], "x": None}):
        rows = type("Rows", (list,), {"features": features})(
            {"x": [float(i), 1.5], "labels": [0, 2] if i % 2 else []} for i in range(20)
        )
        ds = xl.Dataset.from_hf(rows, label="labels", val_share=0)
        assert ds.classes == ("cat", "dog", "owl")
        assert set(map(tuple, ds.train.labels.tolist())) == {(True, False, True), (False, False, False)}


def test_a_folder_of_other_feature_files_says_which_are_there(tmp_path: Path) -> None:
    for name in ("visual_train", "visual_test"):
        np.savez(tmp_path / f"{name}.npz", features=np.ones((3, 2)), labels=np.arange(3))
    with pytest.raises(
        ValueError, match=r"is not there, but visual_test\.npz, visual_train\.npz; name the file of each"
    ):
        xl.load("features", root=tmp_path)
