"""The cache on disk: whole entries or none, whoever writes, whatever breaks."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import children
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from xmodal_lab.app import main as cli
from xmodal_lab.models.pretrained.feature_cache import data_hash, folder_hash, remembered, remembered_rows
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
    children.python(code, tmp_path / "c").check_returncode()
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


# -- entries that grow ---------------------------------------------------------------------------------


def rows_of(first: int, last: int) -> torch.Tensor:
    return torch.arange(first * 3, last * 3).float().reshape(-1, 3)


def fill(seen: list[list[int]], until: int = 10, batch: int = 2):
    """Puts rows two at a time, and stops with an error at ``until``."""

    def compute(rows) -> None:
        for start in range(0, 10, batch):
            if rows.done[start]:
                continue
            if start >= until:
                raise KeyboardInterrupt
            seen.append(list(range(start, start + batch)))
            rows.put(seen[-1], rows_of(start, start + batch))

    return compute


def interrupted(seen: list[list[int]], until: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        remembered_rows({"model": "m"}, 10, 3, fill(seen, until))


def test_rows_that_are_finished_are_not_computed_again(cache) -> None:
    first: list[list[int]] = []
    interrupted(first, 6)
    assert first == [[0, 1], [2, 3], [4, 5]] and not disk.entries()
    second: list[list[int]] = []
    got = remembered_rows({"model": "m"}, 10, 3, fill(second))
    assert second == [[6, 7], [8, 9]] and torch.equal(got, rows_of(0, 10))
    assert [p.name.endswith(".safetensors") for p in (cache / "features").iterdir()] == [True]
    third: list[list[int]] = []
    assert torch.equal(remembered_rows({"model": "m"}, 10, 3, fill(third)), rows_of(0, 10)) and not third
    entry = disk.entries()[0]
    assert disk.read("features", entry.path.stem)[1]["model"] == "m"  # its checksum fits


@pytest.mark.parametrize("harm", ["torn line", "other bytes", "no journal", "other header", "cut off"])
def test_rows_that_were_damaged_are_computed_again(cache, harm) -> None:
    interrupted([], 6)
    data, log = (next((cache / "features").glob(f".*.{w}.part")) for w in ("growing", "journal"))
    if harm == "torn line":
        log.write_bytes(log.read_bytes()[:-9])
    elif harm == "no journal":
        log.unlink()
    else:
        raw = bytearray(data.read_bytes())
        raw[-5 * 12 if harm == "other bytes" else 20] ^= 1  # row 5; or a letter of the header
        data.write_bytes(bytes(raw if harm != "cut off" else raw[:-12]))
    seen: list[list[int]] = []
    assert torch.equal(remembered_rows({"model": "m"}, 10, 3, fill(seen)), rows_of(0, 10))
    lost = [[4, 5], [6, 7], [8, 9]]
    assert seen == (lost if harm in ("torn line", "other bytes") else [[0, 1], [2, 3], *lost])


def test_two_that_write_the_same_do_not_mix(cache) -> None:
    got: list[torch.Tensor] = []

    def compute(rows) -> None:
        rows.put([0, 1], rows_of(0, 2))
        if len(got) == 0:
            got.append(torch.zeros(0))
            got.append(remembered_rows({"model": "m"}, 10, 3, fill([])))  # another, in the middle of this one
        for start in range(2, 10, 2):
            rows.put([start, start + 1], rows_of(start, start + 2))

    assert torch.equal(remembered_rows({"model": "m"}, 10, 3, compute), rows_of(0, 10))
    assert torch.equal(got[1], rows_of(0, 10)) and len(disk.entries()) == 1


def test_a_disk_that_fills_up_on_the_way_costs_no_row(tmp_path) -> None:
    code = """
import resource, sys, warnings, torch
from xmodal_lab.models.pretrained import feature_cache as c
def compute(rows):
    for i in range(100):
        if i == 50:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        rows.put([i], torch.full((1, 100), float(i)))
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    got = c.remembered_rows({"model": "m"}, 100, 100, compute, sys.argv[1])
assert torch.equal(got, torch.arange(100.0)[:, None].expand(100, 100))
assert len(seen) == 1 and "could not cache" in str(seen[0].message), seen
"""
    pytest.importorskip("resource")
    children.python(code, tmp_path / "c").check_returncode()
    assert not [p for p in (tmp_path / "c").rglob("*") if p.is_file()]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_features_larger_than_memory_stay_in_their_file(tmp_path) -> None:
    code = """
import re, sys, torch
from pathlib import Path
from xmodal_lab.models.pretrained import feature_cache as c
def own():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
def compute(rows):
    for i in range(0, 40_000, 100):
        rows.put(range(i, i + 100), torch.full((100, 1000), float(i)))
before, most = own(), 0.0
for _ in range(2):
    got = c.remembered_rows({"model": "m"}, 40_000, 1000, compute, sys.argv[1])
    assert got[::100, 0].tolist() == [float(i) for i in range(0, 40_000, 100)]
    assert own() - before < 40, own() - before  # of 160 MB
"""
    children.python(code, tmp_path / "c").check_returncode()
