"""A cache of tensors on disk: one safetensors file per entry, whole or not there at all.

An entry is written beside its place and then renamed, so that a reader never meets half of
one, two writers of the same entry do no harm, and a full disk leaves nothing behind. A
checksum of the contents lies in the file; an entry that does not fit it is thrown away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import checks as check
from .files import beside, seal

KINDS = ("datasets", "features")
_STALE = 24 * 3600.0  # seconds after which a file that nobody finished is taken for abandoned (ours)

Where = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Entry:
    """One file of the cache: what it holds, its size in bytes, and when it was written."""

    kind: str
    path: Path
    bytes: int
    written: float
    about: Mapping[str, Any]


def folder(where: Where = None) -> Path:
    """The cache folder: the argument, else ``XMODAL_CACHE``, else the user's own cache folder."""
    if where is not None:
        return check.path("cache", where)
    if named := os.environ.get("XMODAL_CACHE"):
        return check.path("XMODAL_CACHE", named)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return check.path("the cache folder", base) / "xmodal_lab"


def key(parts: Mapping[str, Any]) -> str:
    """A name for what ``parts`` describe: equal parts, equal name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def read(kind: str, name: str, where: Where = None) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and description of an entry; None if it is not there, unreadable, or damaged (then it is removed)."""
    from safetensors import SafetensorError, safe_open

    path = place(kind, name, where)
    there = _which(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a mapping)
        about = json.loads(metadata["about"])
        sealed = metadata.get("seal", seal(metadata["about"]))  # entries of earlier versions have none
        if metadata["checksum"] == checksum(tensors) and sealed == seal(metadata["about"]):
            return tensors, about
        why = "its contents do not fit its checksum"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # no right to read it, too many open files: the entry itself may be whole
        warnings.warn(f"the cached file {path} cannot be read ({error}); it is left alone.", stacklevel=2)
        return None
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        why = str(error)
    if _which(path) != there:  # another writer has put its own in place, and half of either was read
        return read(kind, name, where)
    warnings.warn(f"the cached file {path} is damaged ({why}); it is made again.", stacklevel=2)
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def write(kind: str, name: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any], where: Where = None) -> bool:
    """Keep ``tensors`` under ``name``; False, with a warning, where that is not possible."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = place(kind, name, where)
    whole = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
    told = json.dumps(about, default=str)
    metadata = {"about": told, "seal": seal(told), "checksum": checksum(whole)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(path) as unfinished:
            save_file(whole, unfinished, metadata)
    except (OSError, SafetensorError) as error:
        warnings.warn(
            f"could not cache in {path.parent}: {error}. Nothing is left there, and the result is still returned; "
            "free some space, or name another folder with XMODAL_CACHE.",
            stacklevel=2,
        )
        return False
    return True


def entries(where: Where = None) -> list[Entry]:
    """All entries, the newest first; files that no writer finished are not among them."""
    found = []
    for kind in KINDS:
        for path in sorted((folder(where) / kind).glob("*.safetensors")):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append(Entry(kind, path, status.st_size, status.st_mtime, _about(path)))
    return sorted(found, key=lambda entry: -entry.written)


def clear(kind: str | None = None, where: Where = None) -> tuple[int, int]:
    """Remove all entries (of one kind), and what dead writers left; (files, bytes) removed."""
    kinds = KINDS if kind is None else (check.one_of("kind of cache", kind, KINDS),)
    files = size = 0
    for path in _removable([folder(where) / k for k in kinds]):
        with contextlib.suppress(OSError):
            length = path.stat().st_size
            path.unlink()
            files, size = files + 1, size + length
    return files, size


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of names, dtypes, shapes and contents: tells damage (not malice), at a gigabyte per second."""
    total = 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total = named(name, tensor.dtype, tuple(tensor.shape), total)
        if tensor.numel():
            total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def named(name: str, dtype: torch.dtype, shape: tuple[int, ...], total: int = 0) -> int:
    """The CRC-32 of a tensor before its contents."""
    return zlib.crc32(f"{name} {dtype} {shape};".encode(), total)


def _which(path: Path) -> tuple[int, int] | None:
    """Tells one file from the next at the same place."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns
    return None


def place(kind: str, name: str, where: Where = None) -> Path:
    """File of an entry, there or not."""
    return folder(where) / check.one_of("kind of cache", kind, KINDS) / f"{name}.safetensors"


def _removable(folders: list[Path]) -> Iterator[Path]:
    for base in folders:
        yield from base.glob("*.safetensors")
        for part in base.glob("*.part"):
            with contextlib.suppress(OSError):  # its writer may just have finished
                if part.stat().st_mtime < time.time() - _STALE:
                    yield part


def _about(path: Path) -> dict[str, Any]:
    """The description in a file's header; says so where the file is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["about"])
        return about if isinstance(about, dict) else {"what": "damaged: its description is none"}
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        return {"what": f"damaged: {error}"}
