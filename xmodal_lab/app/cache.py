"""``xmodal cache``: what lies in the cache of built datasets and features, and removing it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from ..utils import cache as disk


def main(argv: Sequence[str]) -> int:
    """List or clear the cache."""
    parser = argparse.ArgumentParser(prog="xmodal cache", description="Built datasets and encoders' features.")
    parser.add_argument("action", choices=("ls", "clear"))
    parser.add_argument("kind", nargs="?", choices=disk.KINDS, help="only entries of this kind")
    parser.add_argument("--folder", help="the cache folder (default: XMODAL_CACHE, else the user's cache folder)")
    asked = parser.parse_args(argv)
    if asked.action == "clear":
        files, size = disk.clear(asked.kind, asked.folder)
        print(f"removed {files} file{'' if files == 1 else 's'}, {size / 1e6:.1f} MB, from {disk.folder(asked.folder)}")
        return 0
    found = [entry for entry in disk.entries(asked.folder) if asked.kind in (None, entry.kind)]
    for entry in found:
        written = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.written))
        what = str(entry.about.get("what", entry.path.stem))
        what = "".join(c if c.isprintable() else "?" for c in what)  # a file from elsewhere may speak to the terminal
        print(f"{written}  {entry.bytes / 1e6:8.1f} MB  {entry.kind:<8}  {what}")
    total = sum(entry.bytes for entry in found) / 1e6
    print(f"{disk.folder(asked.folder)}: {f'{len(found)} files, {total:.1f} MB' if found else 'empty'}")
    return 0
