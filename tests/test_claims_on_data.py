"""A dataset on disk in sweeps and in the ledger: its options, its fingerprint, a ledger of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xmodal_lab as xl
from xmodal_lab import datasets, experiments
from xmodal_lab.sweeps import StoreError
from xmodal_lab.trials import Trials, _loaded

FEW = "n_train=20;n_val=4;n_test=10;size=8;mel=8"


@pytest.fixture
def avmnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny AVMNIST in MultiBench's layout, where XMODAL_DATA points."""
    monkeypatch.setenv("XMODAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path / "cache"))
    return xl.datasets.fake("avmnist", tmp_path / "data" / "avmnist", rows=6)


# -- options of a loader as one setting --------------------------------------------------------------


def test_options_are_read_from_a_line() -> None:
    line = "n_train=3000, mel=16; split=speakers, noise=false, snr_db=[-10, 0], n_test=None"
    found = datasets.parsed("avmnist", line)
    assert found == {
        "n_train": 3000, "mel": 16, "split": "speakers", "noise": False, "snr_db": [-10, 0], "n_test": None,
    }  # fmt: skip
    assert datasets.parsed("avmnist", '{"n_train": 3000, "snr_db": [-10, 0]}') == {"n_train": 3000, "snr_db": [-10, 0]}
    assert datasets.parsed("avmnist", "") == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("n_train", "are written 'n_train=3000, mel=32', got 'n_train'"),
        ("n_train=", "are written"),
        ("mels=3", r"unknown option of dataset 'avmnist': 'mels'.*Did you mean 'mel'"),
        ("mel=3,mel=4", "'mel' of dataset 'avmnist' is given twice"),
        ('{"mel": 3', "no JSON object"),
    ],
)
def test_a_line_that_means_nothing_is_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.parsed("avmnist", line)
    with pytest.raises(ValueError, match=message):
        xl.sweep("dml", dataset="avmnist", data_options=line, progress=False)
    with pytest.raises(ValueError, match=message):
        experiments.get("synergy").settings(dataset="avmnist", data_options=line)


def test_an_option_with_a_setting_of_its_own_is_not_said_twice() -> None:
    for option, setting in (("seed=3", "data_seed"), ("modalities=image", "dataset_modalities")):
        with pytest.raises(ValueError, match=f"it has a setting, '{setting}'"):
            xl.sweep("dml", dataset="avmnist", data_options=option, progress=False)


def test_a_sweep_reaches_every_option_of_a_loader(avmnist: Path) -> None:
    trials = Trials()
    s = {**trials.defaults, "dataset": "avmnist", "data_options": FEW}
    dataset = trials.load(s)
    assert dataset.shapes == {"image": (1, 8, 8), "audio": (1, 8, 8)} and len(dataset.train) == 20
    cube = xl.sweep("dml", dataset="avmnist", data_options=FEW, epochs=2, alpha=[0.0, 1.0], progress=False)
    assert np.isfinite(cube["accuracy"].values).all() and cube.attrs["settings"]["data_options"] == FEW


# -- a store knows its data --------------------------------------------------------------------------


def test_a_store_notices_other_files_under_the_same_name(avmnist: Path, tmp_path: Path) -> None:
    def run() -> None:
        options = {"dataset": "avmnist", "data_options": FEW, "epochs": 1, "modalities": "image", "progress": False}
        xl.sweep("dml", store=tmp_path / "runs.zarr", **options)

    run()
    run()  # the same files: it goes on
    images = avmnist / "image" / "train_data.npy"
    np.save(images, np.load(images)[::-1].copy())
    _loaded.cache_clear()  # as in another process
    with pytest.raises(StoreError, match="fingerprint of its data"):
        run()


def test_worlds_that_are_made_have_no_fingerprint() -> None:
    trials = Trials()
    assert trials.fingerprint(trials.defaults) == "", "their version is the package's"
    a, b = (xl.load("gaussian", seed=s) for s in (0, 1))
    assert a.fingerprint != b.fingerprint and len(a.fingerprint) == 16
    assert Trials(a).version == a.fingerprint
