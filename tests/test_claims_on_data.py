"""A dataset on disk in sweeps and in the ledger: its options, its fingerprint, a ledger of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xmodal_lab as xl
from xmodal_lab import _ledger, claims, cli, datasets, experiments
from xmodal_lab.conditions import Claim, Conditions
from xmodal_lab.sweeps import StoreError
from xmodal_lab.trials import Trials, _loaded
from xmodal_lab.verdicts import Measured, gain

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


# -- a ledger of its own -----------------------------------------------------------------------------

seen: list[str] = []


def measure(conditions: Conditions) -> Measured:
    seen.append("" if conditions.dataset is None else conditions.dataset.name)
    rows = 0 if conditions.dataset is None else len(conditions.dataset.train)
    return gain([0.1, 0.2, 0.1, 0.2, 0.1], note=f"{rows} rows")


CLAIM = Claim("dml.A", "It gains.", "Tab 1", "70.30", measure)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One claim, and ledgers in a folder of the test's own."""

    def place(dataset: str = "", suffix: str = "json") -> Path:
        return tmp_path / f"{dataset or 'own'}.{suffix}"

    monkeypatch.setattr(claims, "known", lambda paper=None: {"dml.A": CLAIM})
    monkeypatch.setattr(_ledger, "place", place)
    _ledger.shipped.cache_clear()
    seen.clear()
    yield tmp_path
    _ledger.shipped.cache_clear()


def test_rows_on_another_dataset_go_to_a_ledger_of_their_own(
    few: Path, avmnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["claims", "dml.A", "--dataset", "avmnist", "--store", str(few / "store")]
    assert cli.main([*line, "--data-options", FEW, "--run", "--write"]) == 0
    assert "wrote avmnist.json, avmnist.md\n" in capsys.readouterr().out and seen == ["avmnist"]
    assert not (few / "own.json").exists(), "the ledger on the claims' own worlds is left alone"
    row = claims.table(dataset="avmnist").iloc[0]
    assert row["dataset"] == "avmnist" and row["note"] == "20 rows" and row["data_options"] == FEW
    assert "train 20, test 10, val 4" in row["data"] and "fingerprint" in row["data"]
    page = (few / "avmnist.md").read_text()
    assert page.startswith("# The ledger on avmnist\n") and f"--dataset avmnist --data-options '{FEW}'" in page
    assert "| dml.A | It gains. | Tab 1; 70.30 | +14.0 ± 6.8 points | 5 | **holds** |" in page and row["data"] in page
    assert cli.main(line) == 0 and "holds" in capsys.readouterr().out, "shown again without measuring"
    assert cli.main(["claims", "dml.A", "--run", "--write", "--store", str(few / "store")]) == 0
    assert seen == ["avmnist", ""] and (few / "own.md").read_text().startswith("# The ledger of claims\n")


def test_rows_are_measured_again_for_other_data_under_the_same_name(few: Path, avmnist: Path) -> None:
    small, large = (xl.load("avmnist", n_train=n, n_val=4, n_test=10, size=8, mel=8) for n in (10, 20))
    for dataset in (small, large, small):
        row = claims.run("dml.A", dataset=dataset, store=few / "store", progress=False).iloc[0]
        assert row["note"] == f"{len(dataset.train)} rows"
    assert len(seen) == 2


def test_refused_ledgers(few: Path, avmnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", "--dataset", "avmnist"]) == 2
    assert "no ledger on 'avmnist' ships with this version" in capsys.readouterr().err
    assert cli.main(["claims", "--run", "--data-options", "mel=3"]) == 2
    assert "name it with --dataset" in capsys.readouterr().err
    assert cli.main(["claims", "--run", "--dataset", "avmnist", "--data-options", "mels=3"]) == 2
    assert "unknown option of dataset 'avmnist': 'mels'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="either path= or dataset="):
        claims.table(path="x.json", dataset="avmnist")
    rows = claims.run("dml.A", progress=False).to_dict("records")
    with pytest.raises(ValueError, match="is about avmnist, but there are rows about the claims' own worlds"):
        _ledger.write(rows, ["dml.A"], few / "a.json", few / "a.md", dataset="avmnist")
    assert not (few / "a.json").exists()


def test_a_ledger_has_a_plain_name() -> None:
    assert _ledger.place("avmnist").name == "claims_avmnist.json"
    assert _ledger.place("avmnist", "md").name == "CLAIMS_AVMNIST.md"
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        _ledger.place("../avmnist")


# -- the ledger on avmnist that ships ----------------------------------------------------------------

MEASURED = [f"synergy.{name}" for name in ("A1", "A2", "W", "α")]
MEASURED += [f"dml.{name}" for name in ("A", "H", "H5", "LPF", "G", "V", "P")]


def test_the_ledger_on_real_avmnist_is_complete_and_true_to_its_page() -> None:
    table = xl.claims.table(dataset="avmnist")
    assert list(table["id"]) == MEASURED
    assert (table["n"] >= 5).all() and (table["dataset"] == "avmnist").all() and table["data"].nunique() == 1
    rows = list(_ledger.shipped("avmnist").values())
    assert _ledger.place("avmnist", "md").read_text() == _ledger.render(rows, **_ledger.words("avmnist", rows))
    assert list(xl.claims.table("dml", dataset="avmnist")["id"]) == MEASURED[4:]
    assert cli.main(["claims", "uml", "--dataset", "avmnist"]) == 2
