"""Files from elsewhere: pickles, torch files and archives that would do harm, downloads that break off."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import pickle
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import xmodal_lab as xl
from xmodal_lab.data.datasets.on_disk.feature_files import read_features
from xmodal_lab.data.datasets.reading import archives, download, unpickle


class Harm:
    """Pickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Sneaky:
    """Through names that look harmless."""

    def __init__(self, module: str, name: str) -> None:
        self.where = (module, name)

    def bytes(self) -> bytes:
        module, name = self.where
        return b"c" + module.encode() + b"\n" + name.encode() + b"\n(S'1+1'\ntR."


# -- pickles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_containers_come_back(tmp_path, protocol) -> None:
    content = {
        "a": np.arange(6.0).reshape(2, 3), "b": [1, 2.5, None, True, "é"], "c": (np.float32(2), np.int64(3)),
        "d": {1, 2}, "e": np.array([["x"], ["yy"]]), "f": b"raw", "g": np.asfortranarray(np.eye(3)),
        "h": np.array(["o", None], dtype=object), "i": complex(1, 2), "j": frozenset([1]),
    }  # fmt: skip
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    got = unpickle.load(tmp_path / "x.pkl")
    assert list(got) == list(content)
    for key, value in content.items():
        np.testing.assert_array_equal(np.asarray(got[key], dtype=object), np.asarray(value, dtype=object))


def test_a_pickle_that_would_run_code_is_refused_before_it_does(tmp_path) -> None:
    mark = tmp_path / "harmed"
    for content in (Harm(mark), {"train": [Harm(mark)]}, np.array([Harm(mark)], dtype=object)):
        (tmp_path / "mosi_data.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(xl.datasets.LayoutError, match=r"refused or damaged pickle: it asks for posix.system"):
            xl.load("multibench", which="mosi", root=tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"), ("__builtin__", "eval"), ("builtins", "getattr"), ("builtins", "__import__"),
        ("os", "system"), ("numpy", "load"), ("numpy", "os.system"), ("numpy.core.multiarray", "__builtins__"),
        ("numpy._core.numeric", "open"), ("functools", "partial"), ("codecs", "open"), ("torch", "load"),
        ("collections", "OrderedDict"), ("subprocess", "Popen"),
    ],
)  # fmt: skip
def test_names_beside_the_list_are_refused(tmp_path, module, name) -> None:
    (tmp_path / "x.pkl").write_bytes(Sneaky(module, name).bytes())
    with pytest.raises(ValueError, match=f"asks for {module}.{name}"):
        unpickle.load(tmp_path / "x.pkl")


def test_damaged_pickles_are_told(tmp_path) -> None:
    whole = pickle.dumps({"a": np.zeros(100)})
    for raw in (b"", whole[:50], b"\x80\x05garbage", whole[:-1], b"\x80\x04\x8c\xff."):
        (tmp_path / "x.pkl").write_bytes(raw)
        with pytest.raises(ValueError, match="damaged pickle"):
            unpickle.load(tmp_path / "x.pkl")
    python2 = b"(dp0\nS'a'\np1\nS'caf\\xe9'\np2\ns."
    (tmp_path / "x.pkl").write_bytes(python2)
    assert unpickle.load(tmp_path / "x.pkl") == {"a": "café"}


def test_torch_files_hold_tensors_only(tmp_path) -> None:
    mark = tmp_path / "harmed"
    torch.save({"labels": torch.zeros(2), "x": Harm(mark)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="holds more than tensors and plain containers"):
        read_features(tmp_path / "x.pth")
    np.savez(tmp_path / "x.npz", labels=np.array([Harm(mark)], dtype=object))
    with pytest.raises(ValueError, match=r"damaged|allow_pickle"):
        read_features(tmp_path / "x.npz")
    assert not mark.exists()


# -- archives ----------------------------------------------------------------------------------------


def tar(path: Path, members: list[tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as pack:
        for member in members:
            pack.addfile(member, io.BytesIO(b"x" * member.size) if member.isreg() else None)
    return path


def entry(name: str, size: int = 1, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = (size if kind == tarfile.REGTYPE else 0), kind, link
    return info


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (entry("../out"), "leaves the folder"),
        (entry("/abs"), "leaves the folder"),
        (entry("a/../../out"), "leaves the folder"),
        (entry("c:\\x"), "leaves the folder"),
        (entry("link", kind=tarfile.SYMTYPE, link="/etc"), "link or a device"),
        (entry("hard", kind=tarfile.LNKTYPE, link="good"), "link or a device"),
        (entry("dev", kind=tarfile.CHRTYPE), "link or a device"),
        (entry("big", 2000), "unpacks to more than 1000 bytes"),
    ],
)
def test_archives_that_would_do_harm_leave_nothing(tmp_path, member, message) -> None:
    archive = tar(tmp_path / "a.tar.gz", [entry("good"), member])
    with pytest.raises(ValueError, match=message):
        archives.unpack(archive, tmp_path / "in" / "x", most_bytes=1000)
    assert not list((tmp_path / "in").iterdir()) and not (tmp_path / "out").exists()


def test_zips_are_checked_too(tmp_path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr("top/a/1.txt", "one")
        pack.writestr("top/b.txt", "two")
    assert archives.unpack(path, tmp_path / "x", inside="top") == 2
    assert (tmp_path / "x" / "a" / "1.txt").read_text() == "one"
    with pytest.raises(ValueError, match="holds no file below none"):
        archives.unpack(path, tmp_path / "y", inside="none")
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as pack:
        pack.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="link or a device"):
        archives.unpack(path, tmp_path / "y")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="no whole zip or tar"):
        archives.unpack(path, tmp_path / "y")
    assert not (tmp_path / "y").exists()


# -- downloads ---------------------------------------------------------------------------------------


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one body; breaks off after ``cut`` bytes as often as ``cuts`` says."""

    body, tag, cut, cuts, asked, status, length, to = b"", '"1"', None, 0, [], 200, "", ""

    def do_GET(self) -> None:
        kind = type(self)
        kind.asked.append(self.headers.get("Range"))
        if kind.status != 200:
            self.send_error(kind.status)
            return
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == kind.tag:
            start = int(self.headers["Range"][6:-1])
        part = kind.body[start:]
        if kind.to:
            self.send_response(302)
            self.send_header("Location", kind.to)
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", kind.length or str(len(part)))
        self.send_header("ETag", kind.tag)
        self.end_headers()
        if kind.cut is not None and kind.cuts > 0:
            kind.cuts -= 1
            self.wfile.write(part[: kind.cut])
            self.close_connection = True
        else:
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    kind = type("Own", (Server,), {"asked": []})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=functools.partial(running.serve_forever, 0.01))
    thread.start()
    kind.url = f"http://127.0.0.1:{running.server_port}/x.zip"
    yield kind
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def fsdd(server, monkeypatch):
    """A small stand-in for FSDD's archive, with the checksum of its contents."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as pack:
        for i in range(3):
            pack.writestr(f"top/recordings/{i}_ada_0.wav", os.urandom(1000))
        pack.writestr("top/README", "no")
    server.body = packed.getvalue()
    with zipfile.ZipFile(packed) as pack:
        lines = [
            f"{n[15:]} {hashlib.sha256(pack.read(n)).hexdigest()}\n" for n in sorted(pack.namelist()) if "ada" in n
        ]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    file = download.File(server.url, "fsdd/recordings", digest, inside="top/recordings", unpack=True)
    monkeypatch.setitem(download.HOMES, "fsdd", download.Home([file], "3 kB", "CC0"))
    return server


def test_a_download_is_announced_checked_and_put_in_place(fsdd, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("XMODAL_DATA", str(tmp_path / "data"))
    folder = xl.datasets.download("fsdd")
    assert folder == tmp_path / "data" / "fsdd" and len(list((folder / "recordings").iterdir())) == 3
    assert "fsdd: 3 kB, CC0, from 127.0.0.1" in capsys.readouterr().out
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["fsdd"]
    xl.datasets.download("fsdd", announce=False)
    assert len(fsdd.asked) == 1, "what is there is not fetched again"


def test_a_broken_download_goes_on_where_it_stopped(fsdd, tmp_path) -> None:
    fsdd.cut, fsdd.cuts = 700, 2
    xl.datasets.download("fsdd", tmp_path)
    assert fsdd.asked == [None, "bytes=700-", "bytes=1400-"]


@pytest.mark.parametrize("length", ["many", "-5", "1e3"])
def test_a_length_that_is_no_number_is_not_believed(fsdd, tmp_path, length) -> None:
    fsdd.length = length
    assert len(list((xl.datasets.download("fsdd", tmp_path) / "recordings").iterdir())) == 3


def test_an_address_that_leads_to_none(fsdd, tmp_path) -> None:
    fsdd.to = "http://[::1"
    with pytest.raises(OSError, match="leads to no address"):
        xl.datasets.download("fsdd", tmp_path)


def test_a_later_run_goes_on_unless_the_file_has_changed(fsdd, tmp_path) -> None:
    part = tmp_path / "p.part"
    fsdd.cut, fsdd.cuts = 500, 9
    with pytest.raises(OSError, match=r"could not be loaded .*run this again to go on from p.part"):
        download.fetch(fsdd.url, part, tries=2)
    assert part.stat().st_size == 1000
    fsdd.cuts, fsdd.tag, fsdd.body = 0, '"2"', b"another file" * 200
    download.fetch(fsdd.url, part)
    assert part.read_bytes() == fsdd.body


def test_contents_that_are_not_as_expected_are_not_kept(fsdd, tmp_path) -> None:
    fsdd.body = fsdd.body.replace(b"README", b"readme")
    xl.datasets.download("fsdd", tmp_path / "fine")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as pack:
        pack.writestr("top/recordings/0_ada_0.wav", b"other")
    for body, message in ((packed.getvalue(), "checksum"), (b"<html>sorry</html>", "no whole zip or tar")):
        fsdd.body = body
        with pytest.raises(ValueError, match=message):
            xl.datasets.download("fsdd", tmp_path / "bad")
        assert not [p for p in (tmp_path / "bad").rglob("*") if p.is_file()]
    fsdd.status = 404
    with pytest.raises(OSError, match=r"404.*may have moved"):
        xl.datasets.download("fsdd", tmp_path / "bad")


def test_sets_without_a_public_home_say_so(tmp_path, monkeypatch) -> None:
    for name in download.ELSEWHERE:
        with pytest.raises(ValueError, match=f"{name} cannot be downloaded by a program: "):
            xl.datasets.download(name, tmp_path)
    monkeypatch.delenv("XMODAL_DATA", raising=False)
    with pytest.raises(ValueError, match="to say where the data should lie"):
        xl.datasets.download("fsdd")
    with pytest.raises(ValueError, match="unknown dataset to download 'digit'"):
        xl.datasets.download("digit", tmp_path)
    with pytest.raises(ValueError, match="only http and https"):
        download.fetch("file:///etc/passwd", tmp_path / "x")
