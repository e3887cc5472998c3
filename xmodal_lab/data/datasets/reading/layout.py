"""What a folder of data should hold, what it does hold, and one message that says all that is wrong."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ....utils import checks as check

Where = str | os.PathLike[str] | None
T = TypeVar("T")
_LISTED = 100  # files that a message names of each sort; the error's attributes hold all (ours)


class LayoutError(ValueError):
    """Files that are missing, malformed or extra; the message names them, the attributes hold them all.

    Attributes:
        missing, extra: paths.
        malformed: (path, what is wrong with it).
    """

    def __init__(
        self, message: str, missing: Sequence[str], malformed: Sequence[tuple[str, str]], extra: Sequence[str]
    ) -> None:
        super().__init__(message)
        self.missing, self.malformed, self.extra = tuple(missing), tuple(malformed), tuple(extra)


class Problems:
    """Collects what is wrong with a folder, so that the user hears of it all at once.

    Args:
        name: of the dataset.
        root: its folder; paths are told relative to it.
        layout: one or two lines that say what was expected.
        damaged: "raise", or "skip" to warn and go on without what is missing or malformed.
    """

    def __init__(self, name: str, root: Path, layout: str, damaged: str = "raise") -> None:
        self.name, self.root, self.layout = name, root, layout
        self.skip = check.one_of("value of damaged", damaged, ("raise", "skip")) == "skip"
        self._missing: dict[str, str] = {}
        self._malformed: dict[str, str] = {}
        self._extra: dict[str, None] = {}

    def missing(self, path: Path | str, hint: str = "") -> None:
        """Something that should be there; ``hint`` says what to do."""
        self._missing[self._told(path)] = hint

    def malformed(self, path: Path | str, why: object) -> None:
        """Something that is there, but not as it should be."""
        told = str(why).removeprefix(str(path)).lstrip(": ")
        here = self._told(path)
        self._malformed[here] = f"{self._malformed[here]}; {told}" if here in self._malformed else told

    def extra(self, path: Path | str) -> None:
        """Something that nothing refers to."""
        self._extra[self._told(path)] = None

    def attempt(self, path: Path, read: Callable[[], T]) -> T | None:
        """What ``read`` returns; None where the file is missing or malformed, and that is noted."""
        try:
            if not path.is_file() and path.exists():  # reading a pipe or a device may never end
                raise ValueError("a folder, a pipe or a device, not a file")
            return read()
        except FileNotFoundError:
            self.missing(path)
        except (ValueError, TypeError, OSError) as error:
            self.malformed(path, (error.strerror or error) if isinstance(error, OSError) else error)
        return None

    def files(self, folder: Path, suffixes: Iterable[str] = ()) -> dict[str, Path]:
        """Name in lower case → path of each visible file in ``folder`` with one of ``suffixes`` (any case).

        Of files whose names differ only in case none is taken, and that is noted: which one is meant cannot be known.
        """
        ends, found = tuple(suffixes), dict[str, list[str]]()
        for name, is_folder in self.listing(folder):
            if not is_folder and (not ends or name.lower().endswith(ends)):
                found.setdefault(name.lower(), []).append(name)
        for names in found.values():
            if len(names) > 1:
                self.malformed(folder / names[0], f"{' and '.join(names[1:])} differ from it only in case; rename them")
        return {plain: folder / names[0] for plain, names in found.items() if len(names) == 1}

    def folders(self, folder: Path) -> dict[str, Path]:
        """Name → path of each visible folder in ``folder``."""
        return {name: folder / name for name, is_folder in self.listing(folder) if is_folder}

    def listing(self, folder: Path) -> list[tuple[str, bool]]:
        """(name, is a folder) of the files and folders in ``folder``, sorted, nothing hidden.

        An unreadable folder is noted. Pipes, devices and links that lead nowhere are none.
        """
        try:
            with os.scandir(folder) as found:
                return sorted((e.name, e.is_dir()) for e in found if not e.name.startswith(".") and _is_there(e))
        except FileNotFoundError:
            self.missing(folder)
        except (OSError, ValueError) as error:  # the last: a name that no file system can hold
            self.malformed(folder, f"cannot be listed: {getattr(error, 'strerror', None) or error}")
        return []

    def finish(self) -> None:
        """Warn of extra files; raise (or warn, if these are skipped) where any is missing or malformed.

        Raises:
            LayoutError: with all that was noted.
        """
        if not (self._missing or self._malformed):
            if self._extra:
                text = f"{self.name}: nothing refers to {_several(list(self._extra), 'file')}; they are left out."
                warnings.warn(text, stacklevel=3)
                self._extra.clear()
            return
        lines = [f"{self.name}: the files in {self.root} are not as expected. {self.layout}"]
        told = [f"{path}: {why}" for path, why in self._malformed.items()]
        lacking = [f"{path}{hint and ': '}{hint}" for path, hint in self._missing.items()]
        for title, found in (("missing", lacking), ("malformed", told), ("extra", list(self._extra))):
            if found:
                lines.append(f"{title} ({len(found)}):")
                lines += [f"  {line}" for line in found[:_LISTED]]
                if len(found) > _LISTED:
                    lines.append(f"  … and {len(found) - _LISTED} more, in the error's attribute .{title}")
        if self.skip:
            warnings.warn("\n".join([*lines, "All of these are left out, as damaged='skip' says."]), stacklevel=3)
            for noted in (self._missing, self._malformed, self._extra):
                noted.clear()
            return
        raise LayoutError("\n".join(lines), list(self._missing), list(self._malformed.items()), list(self._extra))

    def _told(self, path: Path | str) -> str:
        try:
            told = str(Path(path).relative_to(self.root))
        except ValueError:
            told = str(path)
        return "".join(c if c.isprintable() else "?" for c in told)  # a file's name may speak to the terminal


def read_json(path: Path) -> Any:
    """The contents of a json file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no json in UTF-8, or one that is nested too deep to be read.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except ValueError as error:
        raise ValueError(f"{path}: not json ({error})") from None


def parse_json(text: str) -> Any:
    """What a json text says.

    Raises:
        ValueError: no json, or one that is nested too deep to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _is_there(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir() or entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def data_root(root: Where = None) -> Path:
    """The folder of real data: the argument, else ``XMODAL_DATA``.

    Raises:
        ValueError: neither is given, or it is no folder.
    """
    named = str(check.path("root", root)) if root is not None else os.environ.get("XMODAL_DATA")
    if not named:
        raise ValueError(
            "this dataset is read from disk: give root=, or export XMODAL_DATA=/folder/with/datasets; "
            "xl.datasets.download(name) and xl.datasets.fake(name, folder) make such folders."
        )
    path = check.path("XMODAL_DATA", named)
    if not path.is_dir():
        source = "root" if root is not None else "XMODAL_DATA"
        raise ValueError(f"{source} must be a folder that exists, got {named!r}.")
    return path


def home(root: Where, names: Sequence[str], marks: Sequence[str] = ()) -> Path:
    """The dataset's own folder: ``root`` itself if it holds one of ``marks``, else one of ``names`` below it."""
    base = data_root(root)
    if any((base / mark).exists() for mark in marks):
        return base
    below = {p.name.lower(): p for p in base.iterdir() if p.is_dir()} if os.access(base, os.R_OK) else {}
    for name in names:
        if name.lower() in below:
            return below[name.lower()]
    return base


def _several(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:10])
    return f"{len(names)} {what}(s): {shown}{', …' if len(names) > 10 else ''}"
