"""Archives unpacked without trust: no path leaves the folder, no links, no devices, no bombs."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

MOST_BYTES = 20 << 30  # (ours) more than any dataset here
MOST_FILES = 500_000


def unpack(archive: Path, folder: Path, *, inside: str = "", most_bytes: int = MOST_BYTES) -> int:
    """Unpack a zip or tar into ``folder``; all of it or nothing. The number of files.

    Args:
        archive: zip, tar, tar.gz, tar.bz2 or tar.xz.
        folder: where to; made, or merged into.
        inside: only what lies below this path of the archive, without that path.
        most_bytes: refuse more than this, unpacked.

    Raises:
        ValueError: a path that leaves the folder, a link, a device, too much, a damaged archive,
            or nothing below ``inside``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        count = total = 0
        for name, size, source in _members(archive):
            path = _checked(name, archive)
            total += size
            if total > most_bytes or count >= MOST_FILES:
                raise ValueError(f"{archive} unpacks to more than {most_bytes} bytes or {MOST_FILES} files; refused.")
            if inside and not path.is_relative_to(inside):
                continue
            target = beside / (path.relative_to(inside) if inside else path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with source as content, target.open("wb") as out:
                shutil.copyfileobj(_Limited(content, size, archive), out)  # type: ignore[misc]
            count += 1
        if not count:
            raise ValueError(f"{archive} holds no file{f' below {inside}' if inside else ''}.")
        shutil.copytree(beside, folder, dirs_exist_ok=True, copy_function=os.replace)
        return count
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{archive} is damaged: {error}; get it again.") from None
    except (RuntimeError, NotImplementedError) as error:  # a password, a method that zipfile does not know
        raise ValueError(f"{archive} cannot be unpacked: {error}.") from None
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise ValueError(f"{archive} holds a file and a folder of one name ({error.filename}); refused.") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class _Limited:
    """A member's content, which must not be longer than its header says."""

    def __init__(self, content: IO[bytes], size: int, archive: Path) -> None:
        self._content, self._left, self._archive = content, size, archive

    def read(self, n: int = -1) -> bytes:
        part = self._content.read(n)
        self._left -= len(part)
        if self._left < 0:
            raise ValueError(f"{self._archive}: a file is longer than announced; refused.")
        return part


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """(name, size, content) of each plain file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ValueError(f"{archive}: {info.filename!r} is a link or a device; refused.")
                _checked(info.filename, archive)
                if not info.is_dir():
                    yield info.filename, info.file_size, file.open(info)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as pack:
            for member in pack:
                _checked(member.name, archive)
                if member.isdir():
                    continue
                content = pack.extractfile(member) if member.isreg() else None
                if content is None:
                    raise ValueError(f"{archive}: {member.name!r} is a link or a device; refused.")
                yield member.name, member.size, content
    else:
        raise ValueError(f"{archive} is no whole zip or tar archive; get it again.")


def _checked(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
        raise ValueError(f"{archive}: {name!r} leaves the folder; refused.")
    return path
