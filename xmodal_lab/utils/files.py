"""Files that are there whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of ``path`` at the end, or is removed if anything goes wrong.

    So a full disk, a kill or Ctrl-C leaves what stood at ``path`` as it was. A link stays a link: the file that it
    points to is replaced. A device or a pipe is no file whose place could be taken (root's rename would take that of
    /dev/null): it is written to as it is.
    """
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def seal(content: Any) -> str:
    """CRC-32 of JSON content: tells damage, not malice."""
    return f"{zlib.crc32(json.dumps(content).encode()):08x}"
