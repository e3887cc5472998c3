"""A column of somebody's data (an array, a list, cells of a table) → one modality, and what is odd about it.

What is recognised is said: every column keeps a word on how it was read. What cannot be known is asked: it goes to the
list of problems, of which the user hears at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....utils import checks as check
from ... import kinds as _kinds
from ..on_disk.feature_files import ARRAYS, read_array
from ..reading.audio import full_scale, log_mel, read_wave, resample
from ..reading.media import PICTURES, SOUNDS, hashed, picture, read_image, sound
from .blocks import Array, Column, Reading, as_block, empty, from_block

RATE = 16_000  # samples per second to which recordings are brought, as pretrained encoders of sound want them


def read(name: str, values: Any, kind: str | None, how: Reading, problems: list[str]) -> Column | None:
    """One modality from ``values``; None where it cannot be read, and the problem is noted."""
    try:
        kind = None if kind is None else _kinds.kind_of(f"kind of modality {name!r}", kind)
        _kinds.check_name(name)
        array = as_block(name, values)
        if array is not None:
            return from_block(name, array, kind, how)
        return _from_cells(name, list(values), kind, how)
    except (ValueError, TypeError, OSError) as error:
        problems.append(f"{name!r}: {error}" if repr(name) not in str(error) else str(error))
        return None


# -- cells -------------------------------------------------------------------------------------------


def _from_cells(name: str, cells: list[Any], kind: str | None, how: Reading) -> Column:
    if not cells:
        raise ValueError(f"inputs[{name!r}] hold no row.")
    there = [not empty(c) for c in cells]
    present = torch.tensor(there)
    some = [c for c, here in zip(cells, there, strict=True) if here]
    if not some:
        raise ValueError(f"inputs[{name!r}] are empty in every row; leave the modality out.")
    said = [] if all(there) else [f"empty cells are absent ({len(cells) - len(some)})"]
    first = some[0]
    if all(isinstance(c, str) for c in some) and not _are_files(some, kind):
        return _texts(cells, there, present, said)
    if isinstance(first, (str, Path)):
        return _files(name, cells, there, kind, how, said)
    if isinstance(first, Mapping) or hasattr(first, "convert"):
        return _media(name, cells, there, kind, how, said)
    arrays = [_cell_array(name, i, c) for i, (c, here) in enumerate(zip(cells, there, strict=True)) if here]
    if kind is None and name not in _kinds.KINDS and len({a.shape for a in arrays}) > 1 and _are_ids(arrays):
        kind = "tokens"  # whole numbers from 0 on, of different length: nothing else comes so
    column = from_block(name, _padded(name, arrays, kind, said), kind, how)
    return _spread(column, present, said)


def _spread(column: Column, present: Tensor, said: list[str]) -> Column:
    """A column of the rows that are there, put where they stand."""
    column.said = [*said, *column.said]
    if bool(present.all()):
        return column
    view = torch.zeros(len(present), *column.view.shape[1:], dtype=column.view.dtype)
    here = present.clone()
    view[present], here[present] = column.view, column.present
    return Column(view, here, column.kind, said=column.said)


def _cell_array(name: str, row: int, cell: Any) -> Array:
    array = check.as_tensor(f"inputs[{name!r}][{row}]", cell)
    if array.is_complex():
        raise TypeError(f"inputs[{name!r}][{row}] must be real numbers, got {array.dtype}.")
    found: Array = array.detach().cpu().numpy() if array.dtype != torch.bfloat16 else array.float().numpy()
    return found


def _are_ids(arrays: Sequence[Array]) -> bool:
    return all(a.ndim == 1 and a.dtype.kind in "iu" and a.dtype.itemsize >= 4 and a.min(initial=0) >= 0 for a in arrays)


def _padded(name: str, arrays: Sequence[Array], kind: str | None, said: list[str]) -> Array:
    """Cells of one shape as a block; shorter ones get zeros behind, where that means silence or padding."""
    shapes = {a.shape for a in arrays}
    if len(shapes) == 1:
        return np.stack(arrays)
    ranks, rest = {a.ndim for a in arrays}, {a.shape[1:] for a in arrays}
    sort = name if kind is None else kind
    can = len(ranks) == len(rest) == 1 and (
        (ranks == {1} and sort in ("audio", *_kinds.TOKEN_NAMES)) or (ranks == {2} and kind in (None, "series"))
    )
    if not can:
        told = ", ".join(str(s) for s in sorted(shapes)[:4])
        raise ValueError(
            f"inputs[{name!r}] have rows of {len(shapes)} shapes ({told}{', …' if len(shapes) > 4 else ''}); bring "
            "them to one, or say kinds= (tokens, series and audio are padded)."
        )
    longest = max(len(a) for a in arrays)
    said.append(f"rows of {min(len(a) for a in arrays)} to {longest} padded with zeros")
    return np.stack([np.pad(a, [(0, longest - len(a)), *[(0, 0)] * (a.ndim - 1)]) for a in arrays])


def _texts(cells: list[Any], there: list[bool], present: Tensor, said: list[str]) -> Column:
    lines = tuple(c if here else "" for c, here in zip(cells, there, strict=True))
    return Column(torch.from_numpy(hashed(lines)), present, "text", lines, ["hashed words", *said])


def _are_files(cells: Sequence[str], kind: str | None) -> bool:
    """Whether strings name files: they are asked to be media, or all end as files do."""
    if kind == "text":
        return False
    endings = (*PICTURES, *SOUNDS, *ARRAYS)
    return kind is not None or all(c.lower().endswith(endings) and "\n" not in c for c in cells)


def _files(name: str, cells: list[Any], there: list[bool], kind: str | None, how: Reading, said: list[str]) -> Column:
    """Pictures, sounds or arrays, one file a row."""
    some = [Path(c).expanduser() for c, here in zip(cells, there, strict=True) if here]
    ends = {p.suffix.lower() for p in some}
    if kind is None:
        kinds = {"image": PICTURES, "audio": SOUNDS, "arrays": ARRAYS}
        kind = next((k for k, known in kinds.items() if ends <= set(known)), None)
        if kind is None:
            raise ValueError(f"inputs[{name!r}] name files of several sorts ({', '.join(sorted(ends))}); say kinds=.")
    reader = _reader(kind, how) if not ends <= set(ARRAYS) else read_array
    paths = [p if p.is_absolute() or how.root is None else how.root / p for p in some]
    views, wrong = [], []
    for path in paths:
        try:
            if not path.is_file():
                wrong.append(f"{path.name}: missing" if not path.exists() else f"{path.name}: not a file")
                continue
            views.append(np.asarray(reader(path)))
        except (ValueError, TypeError, OSError) as error:
            wrong.append(str(error))
    if wrong:
        more = f"; … and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        where = f" below {how.root}" if how.root else ""
        raise ValueError(f"inputs[{name!r}]: {len(wrong)} of {len(paths)} files{where}: {'; '.join(wrong[:20])}{more}.")
    own = None if kind == "arrays" else kind
    names = tuple(str(c) if here else "" for c, here in zip(cells, there, strict=True))
    return _stacked(name, views, own, how, torch.tensor(there), [f"files {', '.join(sorted(ends))}", *said], names)


def _stacked(
    name: str, views: list[Array], kind: str | None, how: Reading, present: Tensor, said: list[str],
    names: tuple[str, ...] | None = None,
) -> Column:  # fmt: skip
    first = Reading(**{**how.__dict__, "channels": "first"}) if kind == "image" else how
    block = _padded(name, views, kind, said)
    if kind == "audio" and block.ndim == 4:  # spectrograms
        column = Column(torch.from_numpy(block), torch.ones(len(block), dtype=torch.bool), "audio")
    else:
        column = from_block(name, block, kind, first)
    column = _spread(column, present, said)
    column.strings = names
    return column


def _reader(kind: str, how: Reading) -> Callable[[Path], Any]:
    if kind == "image":
        return picture(how.size)
    if kind == "audio":
        return sound(how.audio, how.mel, how.seconds, RATE)
    return read_array


def _media(name: str, cells: list[Any], there: list[bool], kind: str | None, how: Reading, said: list[str]) -> Column:
    """Pictures of Pillow, and dicts as Hugging Face gives them: {"bytes", "path"} or {"array", "sampling_rate"}."""
    views = []
    sort = kind
    for i, cell in enumerate(c for c, here in zip(cells, there, strict=True) if here):
        found, view = _one_medium(f"inputs[{name!r}][{i}]", cell, kind, how)
        if sort not in (None, found):
            raise ValueError(f"inputs[{name!r}] mix {sort} and {found}; one modality holds one kind.")
        sort = found
        views.append(view)
    return _stacked(name, views, sort, how, torch.tensor(there), said)


def _one_medium(what: str, cell: Any, kind: str | None, how: Reading) -> tuple[str, Array]:
    from io import BytesIO

    if hasattr(cell, "convert"):  # a picture of Pillow
        raw = BytesIO()
        cell.save(raw, "PNG")
        return "image", read_image(raw, how.size)
    array, rate = cell.get("array"), cell.get("sampling_rate")
    if array is not None:
        wave = full_scale(array)
        wave = wave.mean(int(np.argmin(wave.shape))) if wave.ndim == 2 else wave
        return "audio", _heard(wave.astype(np.float32), int(rate or how.rate or RATE), how)
    source = cell.get("bytes") or cell.get("path")
    if source is None:
        raise ValueError(
            f"{what} must hold 'array' and 'sampling_rate', or 'bytes' or 'path', got {sorted(map(str, cell))}."
        )
    is_sound = kind == "audio" or str(cell.get("path") or "").lower().endswith(SOUNDS)
    if is_sound:
        if cell.get("bytes"):
            raise ValueError(
                f"{what} holds a sound as bytes; decode it first (datasets.Audio(decode=True)), or give its path."
            )
        wave, _ = read_wave(str(source), RATE, seconds=how.seconds)
        return "audio", _heard(wave, RATE, how)
    where = BytesIO(source) if isinstance(source, bytes) else Path(str(source))
    return "image", read_image(where, how.size)


def _heard(wave: npt.NDArray[np.float32], rate: int, how: Reading) -> Array:
    """A wave as ``how`` wants sounds."""
    wave = wave if rate == RATE else resample(wave, rate, RATE)
    if how.audio == "wave":
        length = round(how.seconds * RATE)
        return np.pad(wave[:length], (0, max(0, length - len(wave))))
    n_fft = 512 if how.mel <= 64 else 1024 if how.mel <= 96 else 2048
    return log_mel(wave, RATE, bands=how.mel, frames=how.mel, seconds=how.seconds, n_fft=n_fft, floor_db=-80.0)[None]
