"""The cache on disk: whole entries or none, whoever writes, whatever breaks."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from xmodal_lab.app import main as cli
from xmodal_lab.models.pretrained.feature_cache import data_hash, folder_hash, remembered
from xmodal_lab.utils import cache as disk

DATA = {"a": torch.arange(12).reshape(3, 4), "b": torch.rand(5, generator=torch.Generator().manual_seed(0))}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_written_is_read(cache) -> None:
    assert disk.read("features", "x") is None
    assert disk.write("features", "x", DATA, {"what": "two tensors"})
    tensors, about = disk.read("features", "x")
    assert about == {"what": "two tensors"}
    for name, tensor in DATA.items():
        assert torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype
    assert [p.name for p in (cache / "features").iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.99])
def test_a_truncated_file_is_thrown_away(cache, keep) -> None:
    disk.write("features", "x", DATA, {})
    path = cache / "features" / "x.safetensors"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep if keep >= 1 or keep == 0 else keep * len(raw))])
    with pytest.warns(UserWarning, match=r"x.safetensors is damaged .* made again"):
        assert disk.read("features", "x") is None
    assert not path.exists()


def test_a_flipped_bit_is_noticed(cache) -> None:
    disk.write("features", "x", DATA, {})
    path = cache / "features" / "x.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.warns(UserWarning, match="do not fit its checksum"):
        assert disk.read("features", "x") is None


def test_a_full_disk_leaves_nothing_half_written(tmp_path) -> None:
    code = """
import resource, sys, warnings, torch
from xmodal_lab.models.pretrained import feature_cache as c
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    got = c.remembered({"model": "m"}, lambda: torch.ones(100, 100), sys.argv[1])
assert torch.equal(got, torch.ones(100, 100))
assert "could not cache" in str(seen[0].message) and "XMODAL_CACHE" in str(seen[0].message), seen
"""
    pytest.importorskip("resource")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "c")], check=True)
    assert not [p for p in (tmp_path / "c").rglob("*") if p.is_file()]


def test_no_space_in_the_middle_of_a_write(cache, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, "replace", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert not disk.write("features", "x", DATA, {})
    assert not list((cache / "features").iterdir())


def test_a_cache_folder_that_is_a_file(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="could not cache"):
        assert not disk.write("features", "x", DATA, {}, tmp_path / "file")
    assert disk.read("features", "x", tmp_path / "file") is None


def test_writers_and_readers_at_once() -> None:
    wrong: list[object] = []

    def write(value: int) -> None:
        for _ in range(10):
            disk.write("features", "x", {"a": torch.full((2000,), value)}, {"value": value})

    def read() -> None:
        for _ in range(40):
            got = disk.read("features", "x")
            if got is not None and not bool((got[0]["a"] == got[1]["value"]).all()):
                wrong.append(got)

    threads = [threading.Thread(target=write, args=(v,)) for v in range(3)] + [threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and disk.read("features", "x") is not None and len(disk.entries()) == 1


def test_features_are_computed_once_per_key() -> None:
    calls: list[int] = []

    def compute() -> torch.Tensor:
        calls.append(1)
        return torch.ones(2, 3)

    for _ in range(2):
        assert torch.equal(remembered({"model": "m", "data": "1"}, compute), torch.ones(2, 3))
    assert len(calls) == 1
    remembered({"model": "m", "data": "2"}, compute)
    remembered({"model": "m", "data": "2"}, compute, False)
    assert len(calls) == 3 and len(disk.entries()) == 2


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_other_strings_have_another_hash(a: list[str], b: list[str]) -> None:
    assert (data_hash(a) == data_hash(b)) == (a == b)


def test_shape_and_dtype_belong_to_the_hash(tmp_path) -> None:
    ones = torch.ones(2, 3)
    hashes = [data_hash(x) for x in (ones, ones.double(), ones.reshape(3, 2), ones * 2, {"a": ones}, {"b": ones})]
    assert len(set(hashes)) == 6 and data_hash(ones.t().contiguous().t()) == hashes[0]
    (tmp_path / "w").write_bytes(b"1" * 3_000_000)
    before = folder_hash(tmp_path)
    (tmp_path / "w").write_bytes(b"1" * 2_999_999 + b"2")
    assert folder_hash(tmp_path) != before
    (tmp_path / "w").write_bytes(b"1" * 1_500_000 + b"2" + b"1" * 1_499_999)  # only a middle layer was trained
    assert folder_hash(tmp_path) != before


def test_the_command_lists_and_clears(cache, capsys) -> None:
    assert cli.main(["cache", "ls"]) == 0
    assert "empty" in capsys.readouterr().out
    disk.write("features", "x", DATA, {"what": "two tensors"})
    disk.write("datasets", "y", DATA, {"what": "a set"})
    (cache / "features" / "z.safetensors").write_bytes(b"broken")
    for name, about in (("list", "[]"), ("deep", "[" * 100_000)):
        save_file({"features": torch.zeros(1)}, cache / "features" / f"{name}.safetensors", {"about": about})
        with pytest.warns(UserWarning, match="is damaged"):
            assert disk.read("features", name) is None
        save_file({"features": torch.zeros(1)}, cache / "features" / f"{name}.safetensors", {"about": about})
    assert cli.main(["cache", "ls"]) == 0
    printed = capsys.readouterr().out
    assert "two tensors" in printed and "a set" in printed and "damaged" in printed and str(cache) in printed
    assert cli.main(["cache", "clear", "datasets"]) == 0
    assert "removed 1 file" in capsys.readouterr().out and len(disk.entries()) == 4
    assert cli.main(["cache", "clear"]) == 0
    assert not disk.entries()
    with pytest.raises(SystemExit):
        cli.main(["cache", "burn"])
    with pytest.raises(ValueError, match="unknown kind of cache 'plans'"):
        disk.clear("plans")


def test_the_folder_is_the_argument_then_the_environment_then_the_users(monkeypatch, tmp_path) -> None:
    assert disk.folder(tmp_path) == tmp_path and disk.folder() == tmp_path / "cache"
    monkeypatch.delenv("XMODAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert disk.folder() == tmp_path / "own" / "xmodal_lab"
