"""Downloads from public homes: size and licence told first, resumed, and checked by contents."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ....utils import checks as check
from . import archives
from .layout import Where

_CHUNK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte (ours)


@dataclass(frozen=True)
class File:
    """One file of a set: where it is, what of it is kept, and how its contents are known.

    ``sha256`` is that of the contents, since a host may pack anew: of what a gz unpacks to, of an
    archive's files (:func:`contents_hash`). None where none is known to us.
    """

    url: str
    target: str
    sha256: str | None = None
    inside: str = ""
    unpack: bool = False


@dataclass(frozen=True)
class Home:
    """A set with a public home."""

    files: Sequence[File]
    size: str
    licence: str


_GITHUB = "https://github.com"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
HOMES: dict[str, Home] = {
    "fsdd": Home(
        [File(f"{_GITHUB}/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip", "fsdd/recordings",
              "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f",
              inside="free-spoken-digit-dataset-1.0.10/recordings", unpack=True)],
        "about 27 MB", "CC BY-SA 4.0"),
    "mnist": Home(
        [File(f"{_MNIST}/{name}.gz", f"mnist/{name}.gz", digest) for name, digest in (
            ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"))],
        "about 12 MB", "CC BY-SA 3.0, as commonly given"),
    "esc50": Home(
        [File("https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.zip", "ESC-50-master",
              inside="ESC-50-master", unpack=True)],
        "about 600 MB", "CC BY-NC 3.0 (its ESC-10 part CC BY 3.0)"),
    "nlvr": Home(
        [File("https://github.com/lil-lab/nlvr/archive/refs/heads/master.zip", "nlvr",
              inside="nlvr-master/nlvr", unpack=True)],
        "about 250 MB", "CC BY 4.0"),
}  # fmt: skip
# Sets that no program may or can fetch: what to do instead.
ELSEWHERE = {
    "avmnist": "it is built from mnist, fsdd and esc50: download these three, then load it",
    "cremad": "git lfs at github.com/CheyneyComputerScience/CREMA-D (ODbL); cut 1 frame a second from its videos",
    "kinetics_sounds": "its videos are on YouTube and belong to their owners; get Kinetics-400 and cut the clips",
    "food101": "from its authors' page at Sorbonne University (visiir), for research",
    "iemocap": "by signed request to USC's SAIL (sail.usc.edu/iemocap)",
    "multibench": "from the links in MultiBench's README (github.com/pliangcs/MultiBench)",
    "mimic": "from PhysioNet, after training and a signed agreement",
    "imagenet_esc": "ImageNet by agreement (image-net.org); download('esc50') gets the sounds",
    "esc10": "ESC-10 from its author's page at Harvard Dataverse (doi:10.7910/DVN/YDEPUT), for its README.txt",
    "emoji": "EmojiOne 2.2.7 from its authors' archive at github.com/joypixels/emojione (art CC BY 4.0)",
}


def download(
    name: str, root: Where = None, *, url: str | None = None, progress: bool | None = None, announce: bool = True
) -> Path:
    """Fetch a public dataset into ``root`` (``XMODAL_DATA`` for None); the folder it is in.

    Size and licence are told first. A broken download goes on where it stopped; contents are
    checked before they take their place. What is there already is left as it is.

    Args:
        name: of the set.
        root: folder of real data; made if it is not there.
        url: another address for all files of the set (a mirror: the last part of each is added
            unless it is the only one).
        progress: show a bar; None shows one in a terminal.
        announce: print size and licence.

    Raises:
        ValueError: a set without a public home (it says where to turn), contents that are not as expected.
        OSError: the network, or the disk.
    """
    if isinstance(name, str) and name in ELSEWHERE:
        raise ValueError(f"{name} cannot be downloaded by a program: {ELSEWHERE[name]}.")
    home = HOMES[check.one_of("dataset to download", name, HOMES)]
    named = str(check.path("root", root)) if root is not None else os.environ.get("XMODAL_DATA")
    if not named:
        raise ValueError("give root=, or export XMODAL_DATA=/folder/for/datasets, to say where the data should lie.")
    base = check.path("XMODAL_DATA", named)
    base.mkdir(parents=True, exist_ok=True)
    if announce:
        print(f"{name}: {home.size}, {home.licence}, from {urlsplit(url or home.files[0].url).netloc}, to {base}")
    for file in home.files:
        target = base / file.target
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            continue
        address = file.url
        if url is not None:  # a mirror
            address = url if len(home.files) == 1 else f"{url.rstrip('/')}/{file.url.rsplit('/', 1)[1]}"
        part = base / f".{name}-{hashlib.sha256(address.encode()).hexdigest()[:8]}.part"
        fetch(address, part, progress=progress)
        try:
            _place(file, part, target)
        except ValueError:  # not what was expected; after a full disk or Ctrl-C it is used the next time
            _discard(part)
            raise
        _discard(part)
    return base / home.files[0].target.split("/")[0]


def _discard(part: Path) -> None:
    for path in (part, _mark(part)):
        path.unlink(missing_ok=True)


def _mark(part: Path) -> Path:
    """The file that tells whether the rest of a download would be of the same file."""
    return part.with_suffix(".etag")


def _place(file: File, part: Path, target: Path) -> None:
    """Check the contents and put them where they belong."""
    if not file.unpack:
        _expect(file, hashlib.sha256(_plain(part.read_bytes(), file)).hexdigest())
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        return
    beside = target.with_name(f".{target.name}.new")
    for old in (beside, *target.parent.glob(f".{beside.name}.*")):  # of a process that was killed
        shutil.rmtree(old, ignore_errors=True)
    try:
        archives.unpack(part, beside, inside=file.inside)
        _expect(file, contents_hash(beside))
        if target.is_dir():
            target.rmdir()  # it is empty, or download would have left it alone
        beside.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _plain(raw: bytes, file: File) -> bytes:
    """The contents of a gz; other bytes as they are."""
    if not file.target.endswith(".gz"):
        return raw
    try:
        return gzip.decompress(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{file.url} is no whole gzip file ({error}); nothing was kept.") from None


def _expect(file: File, found: str) -> None:
    if file.sha256 is not None and found != file.sha256:
        raise ValueError(
            f"{file.url} is not what was expected: checksum {found}, expected {file.sha256}. The download was damaged, "
            "or the set has changed; nothing was kept."
        )


def contents_hash(folder: Path) -> str:
    """SHA-256 over the relative names and the contents of all files below a folder."""
    total = hashlib.sha256()
    for path in sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.relative_to(folder).as_posix()):
        inner = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {inner}\n".encode())
    return total.hexdigest()


def fetch(url: str, part: Path, *, tries: int = 4, progress: bool | None = None) -> None:
    """Load ``url`` into ``part``, going on where an earlier try (or run) stopped.

    Raises:
        ValueError: not an http(s) address.
        OSError: no answer, or an incomplete one, after all tries.
    """
    from tqdm.auto import tqdm

    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"only http and https addresses are fetched, got {url!r}.")
    mark = _mark(part)
    last: Exception | None = None
    for _ in range(tries):
        have = part.stat().st_size if part.exists() else 0
        tag = mark.read_text(encoding="utf-8") if mark.exists() else ""
        headers = {"User-Agent": "xmodal-lab", "Accept-Encoding": "identity"}
        if have and tag:
            headers |= {"Range": f"bytes={have}-", "If-Range": tag}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as answer:
                resumed = answer.status == 206
                _keep_tag(answer.headers, mark)
                length = str(answer.headers.get("Content-Length"))
                total = int(length) + (have if resumed else 0) if length.isdecimal() else None
                quiet = None if progress is None else not progress
                with (
                    part.open("ab" if resumed else "wb") as out,
                    tqdm(total=total, initial=have if resumed else 0, unit="B", unit_scale=True, disable=quiet) as bar,
                ):
                    while piece := answer.read(_CHUNK):
                        out.write(piece)
                        bar.update(len(piece))
            if total is None or part.stat().st_size == total:
                return
            last = OSError(f"{part.stat().st_size} of {total} bytes came")
        except urllib.error.HTTPError as error:
            if error.code == 416:
                if tag and error.headers.get("Content-Range") == f"bytes */{have}":
                    return  # it was whole already
                part.unlink(missing_ok=True)  # what is there has changed: begin again
            elif error.code < 500:
                raise OSError(f"{url}: {error.code} {error.reason}; the set may have moved.") from None
            last = error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            last = error
        except ValueError as error:  # an address, or one that it leads to, that is none
            raise OSError(f"{url} leads to no address: {error}.") from None
    raise OSError(f"{url} could not be loaded ({last}); run this again to go on from {part.name}.")


def _keep_tag(headers: Mapping[str, Any], mark: Path) -> None:
    tag = headers.get("ETag") or headers.get("Last-Modified")
    if tag and not str(tag).startswith("W/"):
        mark.write_text(str(tag), encoding="utf-8")
    else:
        mark.unlink(missing_ok=True)
