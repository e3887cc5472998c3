"""The worst day: after every fault, what was finished is there, and what is shown is true.

``XMODAL_FAULTS=2000`` injects about so many; by default a few hundred. pytest prints how many it were.
"""

from __future__ import annotations

import errno
import functools
import gc
import http.server
import io
import json
import os
import random
import re
import shutil
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import children
import faults as harm
import numpy as np
import pytest
import torch
import xarray as xr
from safetensors import SafetensorError
from toy_experiments import CHEAP, lines
from worlds import toy
from xmodal_widgets import Lines, SweepView

import xmodal_lab as xl
from xmodal_lab.claims import ledger as _ledger
from xmodal_lab.claims import page as _page
from xmodal_lab.claims.claim import Conditions
from xmodal_lab.data.datasets import fakes
from xmodal_lab.data.datasets.reading import download
from xmodal_lab.models.pretrained.feature_cache import remembered
from xmodal_lab.sweeps import groups, sweep
from xmodal_lab.sweeps.facts import StoreError
from xmodal_lab.training import load_checkpoint, save_checkpoint
from xmodal_lab.utils import cache as disk

HELPERS = Path(__file__).parents[1] / "helpers"
WANTED = int(os.environ.get("XMODAL_FAULTS", "200"))
SEED = int(os.environ.get("XMODAL_FAULTS_SEED", "0"))
AXES = {"x": [0.5], "seed": range(3)}
DATA = {"a": torch.arange(12).reshape(3, 4), "b": torch.rand(5, generator=torch.Generator().manual_seed(0))}

pytestmark = pytest.mark.filterwarnings("ignore:could not cache", "ignore:the cached file", "ignore:.*were damaged")


def share(of: float) -> int:
    """How many of the wanted faults a test injects."""
    return max(3, round(of * WANTED))


def swept(store: Path | None, log: Path | str = "") -> xr.Dataset:
    return sweep(CHEAP, store=store, progress=False, log=str(log), **AXES)


def assert_true(cube: xr.Dataset, truth: xr.Dataset, what: str) -> None:
    for name, values in truth.data_vars.items():
        assert cube[name].values.tobytes() == values.values.tobytes(), f"{name} is wrong after: {what}"


def litter(folder: Path) -> list[str]:
    """What was left behind, but for a half-made store: a thread of Zarr's may write late, and it goes in an hour."""
    found = [p for p in folder.rglob("*") if ".part" in p.name or p.name.endswith(".new")]
    return [str(p.relative_to(folder)) for p in found if not p.name.startswith("s.zarr.")]


# -- full and read-only disks ------------------------------------------------------------------------


def endured(
    folder: Path, work: Callable[[Path], Any], check: Callable[[Path, Any], None], most: int, reads: bool = False
) -> int:
    """Let ``work`` meet a disk that refuses its k-th call, for many k; then let it go on. The faults.

    ``check`` looks at what ``work`` gave, in spite of the fault (None if it raised) and after it.
    """
    dice = random.Random(SEED)
    with harm.Disk(folder / "count", reads=reads).watched() as disk:
        (folder / "count").mkdir()
        if reads:
            work(folder / "count")
            disk.calls = 0
        work(folder / "count")
    assert disk.calls > 0
    chosen = harm.places(disk.calls, most, dice)
    for k in chosen:
        here = folder / str(k)
        here.mkdir()
        if reads:
            work(here)
        error, lasting = dice.choice(harm.ERRORS), dice.random() < 0.5
        got = None
        with harm.Disk(here, k, error, lasting, reads).watched(), suppress(OSError, SafetensorError, StoreError):
            got = work(here)
        check(here, got)
        got = work(here)
        assert got is not None
        check(here, got)
        assert not litter(here), f"left after call {k} of {disk.calls} failed with {os.strerror(error)}"
        shutil.rmtree(here)
    return len(chosen)


def test_a_sweep_whose_store_cannot_be_written(tmp_path: Path, faults: Callable[..., None]) -> None:
    truth = swept(None)

    def work(folder: Path) -> xr.Dataset:
        return swept(folder / "deep" / "s.zarr", folder.with_suffix(".log"))

    def check(folder: Path, got: xr.Dataset | None) -> None:
        if got is not None:
            assert_true(got, truth, folder.name)
            assert len(lines(folder.with_suffix(".log"))) <= 3 + 1, "what was finished is not computed again"
        marks = folder / "deep" / "s.zarr" / "done"
        if marks.is_dir():  # what anyone else may read at this moment
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                seen = xr.open_zarr(folder / "deep" / "s.zarr", chunks=None).load()
            for mark in marks.glob("*.json"):
                for place in json.loads(mark.read_text())["places"]:
                    assert_true(seen.isel(x=place[0], seed=place[1]), truth.isel(x=place[0], seed=place[1]), mark.name)

    faults("full or read-only disk", endured(tmp_path, work, check, share(0.15)))


def test_a_store_that_cannot_be_read_is_left_alone(tmp_path: Path, faults: Callable[..., None]) -> None:
    truth = swept(None)

    def work(folder: Path) -> xr.Dataset:
        return swept(folder / "s.zarr", folder.with_suffix(".log"))

    def check(folder: Path, got: xr.Dataset | None) -> None:
        if got is not None:
            assert_true(got, truth, folder.name)
        assert len(lines(folder.with_suffix(".log"))) == 3

    faults("unreadable file", endured(tmp_path, work, check, share(0.06), reads=True))


def test_a_cache_that_cannot_be_written_or_read(tmp_path: Path, faults: Callable[..., None]) -> None:
    truth = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))

    def work(folder: Path) -> torch.Tensor:
        return remembered({"model": "m"}, truth.clone, folder / "cache")

    def check(folder: Path, got: torch.Tensor | None) -> None:
        assert got is not None and torch.equal(got, truth), "the result is given even when it cannot be kept"

    faults("full or read-only disk", endured(tmp_path, work, check, share(0.03)))


def test_avmnist_that_cannot_be_kept(tmp_path: Path, faults: Callable[..., None]) -> None:
    data = fakes.fake("avmnist_sources", tmp_path / "data", rows=2)

    def work(folder: Path) -> torch.Tensor:
        options = {"n_train": 8, "n_val": 0, "n_test": 4, "mel": 16, "progress": False}
        return xl.load("avmnist", root=data, cache=folder / "cache", **options).train.inputs["audio"]

    truth = work(tmp_path / "first")

    def check(folder: Path, got: torch.Tensor | None) -> None:
        assert got is not None and torch.equal(got, truth)

    faults("full or read-only disk", endured(tmp_path, work, check, share(0.03)))


def test_a_ledger_that_cannot_be_written(tmp_path: Path, faults: Callable[..., None]) -> None:
    truth = harm.run_ledger(tmp_path / "truth", tmp_path / "log")

    def work(folder: Path) -> Any:
        return harm.run_ledger(folder / "store", folder.with_suffix(".log"))

    def check(folder: Path, got: Any) -> None:
        if got is not None:
            assert repr(got) == repr(truth)
            assert len(lines(folder.with_suffix(".log"))) <= 8 + 1

    faults("full or read-only disk", endured(tmp_path, work, check, share(0.08)))


def test_the_merged_ledger_is_the_old_or_the_new_one(tmp_path: Path, faults: Callable[..., None]) -> None:
    rows = [_ledger.row_of(c, Conditions(None, range(5), "quick", None, None), c.measure(None), 1.0, 1.0)
            for c in harm.toy_claims(tmp_path / "log")]  # fmt: skip
    ids = [row["id"] for row in rows]

    def work(folder: Path) -> list[str]:
        # How firm the words are is computed on the way to the page, and is no matter of disks.
        quick = harm.mock.patch.object(_page, "with_firmness", lambda row: row)
        with quick, harm.mock.patch.object(_ledger, "SHIPPED", folder / "claims.json"):
            first = folder / "claims.json", folder / "CLAIMS.md"
            if not first[1].exists():
                _page.write(rows[:3], ids, *first)
            _page.write(rows, ids, *first)
            return list(_ledger.rows_in(first[0]))

    def check(folder: Path, got: list[str] | None) -> None:
        assert got in (None, ids)
        if (folder / "claims.json").exists():
            assert len(_ledger.rows_in(folder / "claims.json")) in (3, 8)
        if (folder / "CLAIMS.md").exists():
            assert re.search(
                r"\n- [^\n]* minutes on two\.[^\n]*\n\Z", (folder / "CLAIMS.md").read_text()
            )  # its last line

    faults("full or read-only disk", endured(tmp_path, work, check, share(0.05)))


def test_a_page_is_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Callable[..., None]
) -> None:
    monkeypatch.setattr(SweepView, "_png", lambda _: b"picture")
    cubes = [xr.Dataset({"y": ("x", np.arange(4.0) + i)}, {"x": np.arange(4.0)}) for i in range(2)]
    views = [SweepView(cube, Lines("y", x="x")) for cube in cubes]
    pages = [view.to_html(tmp_path / f"{i}.html").read_text() for i, view in enumerate(views)]

    def work(folder: Path) -> str:
        target = folder / "view.html"
        if not target.exists():
            target.write_text(pages[0])
        return views[1].to_html(target).read_text()

    def check(folder: Path, got: str | None) -> None:
        target = folder / "view.html"
        if target.exists() and target.stat().st_size:
            assert target.read_text() in (pages if got is None else pages[1:])

    for k in range(2, 2 + share(0.02)):  # its first call is the test's own
        folder = tmp_path / f"page{k}"
        folder.mkdir()
        (folder / "view.html").write_text(pages[0])
        with harm.Disk(folder, k - 1).watched(), suppress(OSError):
            work(folder)
        check(folder, None)
        assert work(folder) == pages[1]
        assert not litter(folder)
        faults("full or read-only disk")


def test_a_checkpoint_is_the_old_or_the_new_one(tmp_path: Path, faults: Callable[..., None]) -> None:
    nets = [torch.nn.Linear(3, 2) for _ in range(2)]

    def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
        return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))

    def work(folder: Path) -> torch.nn.Module:
        path = folder / "net.safetensors"
        if not path.exists():
            save_checkpoint(nets[0], path)
        return load_checkpoint(torch.nn.Linear(3, 2), save_checkpoint(nets[1], path))

    def check(folder: Path, got: torch.nn.Module | None) -> None:
        assert got is None or same(got, nets[1])
        if (path := folder / "net.safetensors").exists():
            assert any(same(load_checkpoint(torch.nn.Linear(3, 2), path), net) for net in nets)

    faults("full or read-only disk", endured(tmp_path, work, check, share(0.03)))


def test_what_is_no_file_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link, a device and a pipe stay what they are; root could put a file in the place of /dev/null."""
    monkeypatch.setattr(SweepView, "_png", lambda _: b"picture")
    view = SweepView(xr.Dataset({"y": ("x", np.arange(4.0))}, {"x": np.arange(4.0)}), Lines("y", x="x"))
    page = view.to_html(tmp_path / "page.html").read_text()
    (tmp_path / "latest.html").symlink_to("deep.html")
    for old in (None, "old"):
        if old:
            (tmp_path / "deep.html").write_text(old)
        view.to_html(tmp_path / "latest.html")
        assert (tmp_path / "latest.html").is_symlink() and (tmp_path / "deep.html").read_text() == page
    if not hasattr(os, "mkfifo"):
        return
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    view.to_html(tmp_path / "pipe")
    reader.join(30)
    assert read == [page] and (tmp_path / "pipe").is_fifo()
    assert not litter(tmp_path)


class Files(http.server.BaseHTTPRequestHandler):
    """Serves one body with ranges, as a real server does."""

    body, asked = b"", []

    def do_GET(self) -> None:
        kind = type(self)
        wanted = self.headers.get("Range")
        kind.asked.append(wanted)
        start = int(wanted[6:-1]) if wanted else 0
        if start and start >= len(kind.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(kind.body)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(kind.body) - start))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(kind.body[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Files]]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as pack:
        for i in range(3):
            pack.writestr(f"top/recordings/{i}_ada_0.wav", random.Random(i).randbytes(3000))
    kind = type("Own", (Files,), {"asked": [], "body": packed.getvalue()})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=functools.partial(running.serve_forever, 0.01))
    thread.start()
    file = download.File(f"http://127.0.0.1:{running.server_port}/x.zip", "fsdd/recordings", None,
                          inside="top/recordings", unpack=True)  # fmt: skip
    monkeypatch.setitem(download.HOMES, "fsdd", download.Home([file], "9 kB", "CC0"))
    yield kind
    running.shutdown()
    thread.join()
    running.server_close()


def test_a_download_onto_a_full_disk_goes_on(tmp_path: Path, files: type[Files], faults: Callable[..., None]) -> None:
    def work(folder: Path) -> Path:
        return xl.datasets.download("fsdd", folder / "data", progress=False, announce=False)

    def check(folder: Path, got: Path | None) -> None:
        there = folder / "data" / "fsdd" / "recordings"
        assert got is None or there.is_dir()
        if there.is_dir() and any(there.iterdir()):
            found = sorted(p.read_bytes() for p in there.iterdir())
            assert found == sorted(random.Random(i).randbytes(3000) for i in range(3)), "whole or not there"

    faults("full or read-only disk", endured(tmp_path, work, check, share(0.08)))
    files.asked.clear()
    with harm.mock.patch.object(download.archives, "unpack", side_effect=OSError(errno.ENOSPC, "full")):
        with pytest.raises(OSError, match="full"):
            work(tmp_path)
        with pytest.raises(OSError, match="full"):
            work(tmp_path)
    check(tmp_path, work(tmp_path))
    whole = f"bytes={len(files.body)}-"
    assert files.asked == [None, whole, whole], "what was loaded is not loaded again"


def test_a_small_disk_fills_up(tmp_path: Path, faults: Callable[..., None]) -> None:
    """The system's own refusal: files may grow to so many bytes and no further."""
    pytest.importorskip("resource")
    code = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from toy_experiments import CHEAP
from xmodal_lab.sweeps import sweep
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
def run(): return sweep(CHEAP, store=sys.argv[1], progress=False, x=[0.5], seed=range(3))
try:
    run()
    sys.exit("the disk was large enough")
except OSError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(float(run()["surface"].sum()))
"""
    truth = float(swept(None)["surface"].sum())
    for size in (2500,):
        done = children.python(code, tmp_path / f"{size}.zarr", size, cwd=HELPERS)
        assert done.returncode == 0, done.stderr
        told, total = done.stdout.splitlines()
        assert "File too large" in told and float(total) == truth
        faults("full or read-only disk")


# -- damaged files -----------------------------------------------------------------------------------


def test_a_damaged_store_is_computed_again_or_refused(tmp_path: Path, faults: Callable[..., None]) -> None:
    truth, dice = swept(None), random.Random(SEED)
    swept(tmp_path / "whole.zarr")
    again = refused = 0
    for k in range(share(0.2)):
        store = tmp_path / f"{k}.zarr"
        shutil.copytree(tmp_path / "whole.zarr", store)
        victims = sorted(p for p in store.rglob("*") if p.is_file() and p.stat().st_size)
        what = harm.damaged(dice.choice(victims), dice)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                cube = sweep(CHEAP, store=store, progress=False, log="", **AXES)
            except (StoreError, OSError):
                refused += 1
            else:
                assert_true(cube, truth, what)
                again += any("are computed again" in str(w.message) for w in told)
        shutil.rmtree(store)
        faults("damaged file")
    assert again and refused


def test_a_lost_chunk_is_noticed(tmp_path: Path, faults: Callable[..., None]) -> None:
    truth = swept(tmp_path / "s.zarr")
    shutil.rmtree(tmp_path / "s.zarr" / "surface" / "c" / "0" / "1")
    with pytest.warns(UserWarning, match=r"1 finished members were damaged in the store .*computed again"):
        assert_true(swept(tmp_path / "s.zarr"), truth, "a chunk that is gone")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_true(swept(tmp_path / "s.zarr"), truth, "and mended")
    faults("damaged file")


def test_others_see_a_flipped_bit_too(tmp_path: Path, faults: Callable[..., None]) -> None:
    """Whoever opens the store without us, with xarray alone, gets an error and no wrong number."""
    truth, dice = swept(tmp_path / "s.zarr"), random.Random(SEED)
    chunks = sorted(p for p in (tmp_path / "s.zarr").glob("*/c/**/*") if p.is_file())
    for k in range(share(0.1)):
        path = chunks[k % len(chunks)]
        raw = path.read_bytes()
        what = harm.damaged(path, dice)
        with pytest.raises(Exception, match=r"(?i)checksum|crc|buffer|size|decom|shape|convert"):
            found = xr.open_zarr(tmp_path / "s.zarr", chunks=None).load()
            assert found.equals(truth), what
        path.write_bytes(raw)
        faults("damaged file")


def test_a_store_that_does_not_keep_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept(tmp_path / "s.zarr")
    monkeypatch.setattr("xmodal_lab.sweeps.marks.checksum", lambda *_: "other")
    with (
        pytest.warns(UserWarning, match="3 finished members were damaged"),
        pytest.raises(StoreError, match="does not keep what is written to it"),
    ):
        monkeypatch.setattr("xmodal_lab.sweeps.runner.Results.add", lambda *_: None)
        monkeypatch.setattr("xmodal_lab.sweeps.store.Store.forget_damaged", lambda self, arrays, places: set(places))
        swept(tmp_path / "s.zarr")


def test_a_damaged_cache_is_made_again(tmp_path: Path, faults: Callable[..., None]) -> None:
    disk.write("features", "x", DATA, {"what": "two tensors"}, tmp_path)
    path = tmp_path / "features" / "x.safetensors"
    raw, dice = path.read_bytes(), random.Random(SEED)
    cuts = [raw[:n] for n in range(len(raw))]
    flips = [bytearray(raw) for _ in range(share(0.4))]
    for flip in flips:
        flip[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    for broken in (*cuts, *map(bytes, flips)):
        path.write_bytes(broken)
        got = disk.read("features", "x", tmp_path)
        if got is not None:  # a bit that means nothing, such as padding
            assert got[1] == {"what": "two tensors"}
            assert all(torch.equal(got[0][name], tensor) for name, tensor in DATA.items())
        else:
            assert not path.exists()
    faults("damaged file", len(cuts) + len(flips))


def test_a_cached_file_that_cannot_be_read_now_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors

    disk.write("features", "x", DATA, {}, tmp_path)

    def refused(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors, "safe_open", refused)
        with pytest.warns(UserWarning, match="cannot be read .*Too many open files.* left alone"):
            assert disk.read("features", "x", tmp_path) is None
    assert disk.read("features", "x", tmp_path) is not None


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, faults: Callable[..., None]) -> None:
    net, dice = torch.nn.Linear(3, 2), random.Random(SEED)
    path = save_checkpoint(net, tmp_path / "net.safetensors", {"epoch": "1"})
    raw = path.read_bytes()
    refused = 0
    for _ in range(share(0.2)):
        what = harm.damaged(path, dice)
        try:
            loaded = load_checkpoint(torch.nn.Linear(3, 2), path)
        except ValueError:
            refused += 1
        else:
            assert torch.equal(loaded.weight, net.weight) and torch.equal(loaded.bias, net.bias), what
        path.write_bytes(raw)
        faults("damaged file")
    assert refused
    flipped = bytearray(raw)
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"net.safetensors is damaged: its weights do not fit its checksum"):
        load_checkpoint(net, path)


def test_a_damaged_row_of_the_ledger_is_measured_again(tmp_path: Path, faults: Callable[..., None]) -> None:
    truth, dice = harm.run_ledger(tmp_path / "store", tmp_path / "log"), random.Random(SEED)
    rows = sorted((tmp_path / "store" / "rows").glob("*.json"))
    for k in range(share(0.1)):
        what = harm.damaged(rows[k % len(rows)], dice)
        assert repr(harm.run_ledger(tmp_path / "store", tmp_path / "log")) == repr(truth), what
        faults("damaged file")
    assert len(lines(tmp_path / "log")) > 8


# -- clocks ------------------------------------------------------------------------------------------


def test_clocks_that_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Callable[..., None]) -> None:
    """Years forward and back at every look at the clock; files from 1970 and from 2100."""
    truth, real, dice = swept(None), time.time, random.Random(SEED)
    for k in range(share(0.03)):
        store = tmp_path / f"{k}.zarr"
        with monkeypatch.context() as patch:
            for clock in (f"{time.__name__}.time", "tqdm.std.time"):  # the progress bar has its own
                patch.setattr(clock, lambda: real() + dice.uniform(-5e8, 5e8))
            cube = sweep(CHEAP, store=store, progress=True, log="", **AXES)
            assert_true(cube, truth, "a jumping clock")
            for path in store.rglob("*"):
                os.utime(path, (when := dice.choice([0, 4102444800]), when))
            assert_true(swept(store), truth, "files of other times")
            disk.write("features", "x", DATA, {}, tmp_path / "cache")
            entry = tmp_path / "cache" / "features" / "x.safetensors"
            os.utime(entry, (0, 0))
            assert len(disk.entries(tmp_path / "cache")) == 1
            assert disk.read("features", "x", tmp_path / "cache") is not None
            assert cube.attrs["wall_seconds"] >= 0 and cube.attrs["compute_seconds"] >= 0
        faults("clock jump")


def test_a_store_that_another_swept_away_while_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a jump of the clock: the other's store is taken, or the error is the disk's own."""
    fill = groups.fill

    def swept_away(folder: Path, layout: Any, told: Any) -> None:
        fill(folder, layout, told)
        shutil.rmtree(folder)
        monkeypatch.setattr(groups, "fill", fill)
        if "both" in folder.name:
            swept(tmp_path / "both.zarr")

    monkeypatch.setattr(groups, "fill", swept_away)
    assert_true(swept(tmp_path / "both.zarr"), swept(None), "another was first")
    monkeypatch.setattr(groups, "fill", swept_away)
    with pytest.raises(FileNotFoundError):
        swept(tmp_path / "alone.zarr")
    assert_true(swept(tmp_path / "alone.zarr"), swept(None), "begun anew")


# -- Ctrl-C ------------------------------------------------------------------------------------------


def fitted(folder: Path) -> Any:
    ds = toy(n=12)
    net = xl.LateFusion.for_dataset(ds, fusion="concat_linear", architecture="mlp", width=4)
    run = xl.fit(net, ds, epochs=2, batch_size=6, progress=False)
    return [p.detach().numpy().tobytes() for p in run.model.parameters()], repr(run.score)


def looked_at(folder: Path) -> Any:
    torch.manual_seed(0)
    net, x = torch.nn.Linear(4, 3), torch.arange(20.0).reshape(5, 4)
    before = {name: p.clone() for name, p in net.named_parameters()}
    loss = xl.Loss(lambda p: torch.func.functional_call(net, p, x).square().mean(), dict(net.named_parameters()))
    plane = xl.landscape.plane(loss, points=3, span=1.0)
    top = xl.curvature.top_eigenvalues(loss, k=2)
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    return plane.values.tobytes(), top.values.numpy().tobytes()


def loaded(folder: Path) -> Any:
    return xl.load("gaussian", seed=3).train.labels.numpy().tobytes()


def kept(folder: Path) -> Any:
    return remembered({"model": "m"}, lambda: torch.arange(6.0), folder / "cache").numpy().tobytes()


def shown(folder: Path) -> Any:
    cube = xr.Dataset({"y": ("x", np.arange(4.0))}, {"x": np.arange(4.0)})
    return SweepView(cube, Lines("y", x="x")).to_html(folder / "view.html").read_bytes()


def stored(folder: Path) -> Any:
    cube = swept(folder / "s.zarr", folder / "log")
    assert len(lines(folder / "log")) <= 3 + 1, "finished members are not computed again"
    return [values.values.tobytes() for values in cube.data_vars.values()]


def ledger(folder: Path) -> Any:
    rows = harm.run_ledger(folder / "store", folder / "log")
    assert len(lines(folder / "log")) <= 8 + 1
    return repr(rows)


@pytest.mark.parametrize(
    ("work", "of"),
    [(loaded, 0.02), (fitted, 0.05), (looked_at, 0.05), (kept, 0.04), (shown, 0.02), (stored, 0.1), (ledger, 0.05)],
)
def test_ctrl_c_at_any_line(
    tmp_path: Path, work: Callable[[Path], Any], of: float, faults: Callable[..., None]
) -> None:
    """Interrupted anywhere in the library, the same call afterwards, in the same process, gives the same bits."""
    dice, caught = random.Random(SEED), []
    for name in ("truth", "count"):
        (tmp_path / name).mkdir()
    truth = work(tmp_path / "truth")
    with harm.Interrupt() as counted:
        work(tmp_path / "count")
    for k in harm.places(counted.lines, share(of), dice):
        folder = tmp_path / str(k)
        folder.mkdir()
        try:
            with harm.Interrupt(k):
                work(folder)
        except KeyboardInterrupt as error:
            caught.append(error)  # as a notebook does: the traceback and all its frames live on
        assert work(folder) == truth, f"after Ctrl-C at line {k} of {counted.lines}"
        assert not litter(folder)
        faults("Ctrl-C")
    assert caught
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a file may have been open at the very line
        caught.clear()
        gc.collect()


@pytest.mark.parametrize("moment", ["_locked", "release"])
def test_ctrl_c_around_a_lock_does_not_make_the_next_sweep_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, faults: Callable[..., None]
) -> None:
    from xmodal_lab.utils.locks import TaskLock

    act = getattr(TaskLock, moment)

    def interrupted(claim: TaskLock) -> bool:
        monkeypatch.setattr(TaskLock, moment, act)
        if moment == "_locked":
            act(claim)
        raise KeyboardInterrupt

    def waits(_: float) -> None:
        raise AssertionError("it waits for its own claim")

    monkeypatch.setattr(TaskLock, moment, interrupted)
    with pytest.raises(KeyboardInterrupt) as kept:
        swept(tmp_path / "s.zarr")
    with monkeypatch.context() as patch:
        patch.setattr("xmodal_lab.sweeps.runner.time", SimpleNamespace(sleep=waits, perf_counter=time.perf_counter))
        assert_true(swept(tmp_path / "s.zarr"), swept(None), "Ctrl-C around a lock")
    assert kept.value.__traceback__ is not None
    faults("Ctrl-C")


# -- SIGKILL -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("way", "of"), [("ledger", 0.04), ("features", 0.04), ("download", 0.03)])
def test_kills_lose_nothing_that_was_finished(tmp_path: Path, way: str, of: float, faults: Callable[..., None]) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), str(HELPERS.parents[1])])}
    script = (HELPERS / "faults.py").read_text()
    done = children.python(script, way, tmp_path, share(of), SEED, env=environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if way == "ledger":
        assert repr(harm.run_ledger(tmp_path / "store", tmp_path / "log")) == repr(
            harm.run_ledger(tmp_path / "other", tmp_path / "log2")
        )
        assert 8 <= len(lines(tmp_path / "log")) <= 8 + told["kills"]
    elif way == "features":
        assert 20 <= told["begun"] <= 20 + told["kills"]
        for seed in range(20):
            expected = torch.randn(400, 300, generator=torch.Generator().manual_seed(seed))
            got = remembered({"model": seed}, lambda: torch.zeros(1), tmp_path / "cache")
            assert torch.equal(got, expected)
    else:
        assert told["same"] and (told["resumed"] or not told["kills"])
    faults("SIGKILL", told["kills"])
