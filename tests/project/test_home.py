"""``~`` is one's home wherever a path comes in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy_experiments
from xmodal_widgets import explore

import xmodal_lab as xl
from xmodal_lab.training.checkpoints import load_checkpoint, save_checkpoint
from xmodal_lab.utils import cache as disk_cache
from xmodal_lab.utils import checks as check


@pytest.fixture
def home(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def test_what_is_written_goes_home(home: Path) -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=120, n_test=60)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp")
    run = xl.fit(net, ds, epochs=1, checkpoints="~/training", progress=False)
    run.save("~/run.safetensors")
    save_checkpoint(net, Path("~/net.safetensors"))
    load_checkpoint(net, "~/net.safetensors")
    cube = xl.sweep(toy_experiments.CHEAP, seed=[0, 1], store="~/sweep.zarr", progress=False)
    xl.claims.run("dml.T3", store="~/claims", progress=False)
    explore(cube).to_html("~/page.html")
    xl.datasets.fake("folder", "~/fake")
    disk_cache.write("features", "key", {"x": torch.zeros(1)}, {}, "~/cache")
    names = ("cache", "claims", "fake", "net.safetensors", "page.html", "run.safetensors", "sweep.zarr", "training")
    assert sorted(path.name for path in home.iterdir() if not path.name.startswith(".")) == list(names)
    assert not list(Path().iterdir())


def test_a_home_that_is_not_there_is_told(home: Path) -> None:
    with pytest.raises(ValueError, match="store '~nobody-of-that-name/x' begins with a home folder that there is not"):
        check.path("store", "~nobody-of-that-name/x")
    assert check.path("store", "./~nobody-of-that-name/x") == Path("./~nobody-of-that-name/x")
