"""Numbers in one block → one modality: its kind, scale and order of axes, and which rows it has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....utils import checks as check
from ... import kinds
from ..reading.audio import full_scale

CHANNELS = ("auto", "first", "last")
_SHOWN = 5  # rows that a problem names (ours)
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """How cells are read.

    Attributes:
        root: folder that file names are relative to; None for where Python runs.
        size: side of pictures from files, or (height, width).
        mel: bands and frames of sounds from files.
        seconds: that are heard of each.
        audio: "mel" or "wave" for sounds from files.
        rate: samples per second of waves that are given as arrays.
        channels: where those of a picture in an array stand: "first", "last", or "auto" to tell by the shape.
    """

    root: Path | None = None
    size: int | tuple[int, int] = 64
    mel: int = 32
    seconds: float = 1.0
    audio: str = "mel"
    rate: int | None = None
    channels: str = "auto"

    def __post_init__(self) -> None:
        check.one_of("audio", self.audio, ("mel", "wave"))
        check.one_of("channels", self.channels, CHANNELS)


@dataclass
class Column:
    """One modality as read.

    Attributes:
        view: (N, ...) tensor, with zeros where the row lacks it.
        present: (N,) bool.
        kind: see :class:`~xmodal_lab.Dataset`.
        strings: the texts or file names, where there are any.
        said: how it was read, in words.
        mapped: whether the numbers stay in a file until they are used.
    """

    view: Tensor
    present: Tensor
    kind: str
    strings: tuple[str, ...] | None = None
    said: list[str] = field(default_factory=list)
    mapped: bool = False

    @property
    def told(self) -> str:
        """Kind, shape and how it was read, in words."""
        words = [f"{self.kind} {tuple(self.view.shape[1:])}", *self.said]
        return ", ".join([*words, "mapped from its file"] if self.mapped else words)


def empty(cell: Any) -> bool:
    """Whether a cell says that nothing is there: None, NaN, pandas' NA, a text without a letter."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return True
    if isinstance(cell, (float, np.floating)):
        return math.isnan(cell)
    return type(cell).__name__ in ("NAType", "NaTType")


def plain_cell(cell: Any) -> Any:
    """A list where a cell is an array of texts, as parquet and pandas give lists; a block of arrays of one shape."""
    if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "OUS" or not cell.ndim:
        return cell
    items = [plain_cell(item) for item in cell.tolist()]
    numeric = all(isinstance(item, np.ndarray) and item.dtype.kind in "fiub" for item in items)
    return np.stack(items) if items and numeric and len({item.shape for item in items}) == 1 else items


def rows_told(mask: Tensor) -> str:
    """The rows where ``mask`` is True, the first of them by number."""
    rows = mask.nonzero().flatten().tolist()
    more = ", …" if len(rows) > _SHOWN else ""
    return f"{len(rows)} row(s): {', '.join(map(str, rows[:_SHOWN]))}{more}"


# -- arrays ------------------------------------------------------------------------------------------


def as_block(name: str, values: Any) -> Array | Tensor | None:
    """Numbers in one block, or None for cells of other things."""
    if isinstance(values, Tensor):
        return check.as_tensor(f"inputs[{name!r}]", values)
    if isinstance(values, (str, bytes, Mapping)):
        raise TypeError(
            f"inputs[{name!r}] must be an array or a list with one entry a row, got {type(values).__name__}."
        )
    if isinstance(values, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(values)
        return np.asarray(np.ma.filled(values.astype(float), math.nan) if hidden.any() else values.data)
    if hasattr(values, "dtype") and hasattr(values, "to_numpy"):  # a pandas column
        values = values.to_numpy()
    if isinstance(values, np.ndarray):
        return values if values.dtype.kind in "fiub" else None
    check.listed(f"inputs[{name!r}]", values)
    cells = list(values)
    if cells and all(isinstance(c, (int, float, np.number, np.bool_)) for c in cells):
        return np.asarray(cells)
    return None


def from_block(name: str, array: Array | Tensor, kind: str | None, how: Reading) -> Column:
    """One modality from numbers (N, ...); ``kind`` None is told by name, dtype and shape.

    Raises:
        ValueError, TypeError: numbers that cannot be read, or read in two ways.
    """
    said: list[str] = []
    mapped = isinstance(array, np.memmap)
    view = mapped_file(array) if isinstance(array, np.memmap) else check.as_tensor(f"inputs[{name!r}]", array)
    start = view.data_ptr()
    if view.is_complex():
        raise TypeError(f"inputs[{name!r}] must be real numbers, got {view.dtype}.")
    if view.ndim == 1:
        view = view[:, None]
    if view.ndim < 2 or not view.numel():
        raise ValueError(f"inputs[{name!r}] must have shape (N, ...) and hold values, got {tuple(view.shape)}.")
    kind = _kind(name, view) if kind is None else kind
    present = _rows_there(name, view)
    if not bool(present.all()):
        said.append(f"NaN rows are absent ({int((~present).sum())})")
        view = torch.where(present.view(-1, *[1] * (view.ndim - 1)), view, torch.zeros_like(view))
    if kind == "tokens":
        whole = kinds.whole_tokens(name, view, "tokens")
        return Column(view if whole is None else whole, present, kind, said=said)
    if kind == "image":
        view = _pictures(name, view, how, said)
    elif kind == "audio" and not view.is_floating_point() and view.ndim < 4:
        said.append(f"{view.dtype} over its full scale")
        view = torch.from_numpy(full_scale(view))
    if kind == "audio" and view.ndim == 3 and 2 in view.shape[1:] and view.shape[1] != view.shape[2]:
        axis = 1 if view.shape[1] == 2 else 2
        said.append("two channels averaged")
        view = view.mean(axis)
    if not view.is_floating_point() or view.dtype == torch.float16 or view.dtype == torch.bfloat16:
        view = view.float()
    elif view.dtype == torch.float64 and not mapped:
        view = view.float()  # NumPy's default; a net of one dtype reads all modalities
    return Column(view, present, kind, said=said, mapped=mapped and view.data_ptr() == start)


def _kind(name: str, view: Tensor) -> str:
    """The kind that name, dtype and shape tell.

    Raises:
        ValueError: whole numbers that may be ids or quantities.
    """
    if name in kinds.KINDS or name in ("features",):
        tokens = name == "text" and not view.is_floating_point()
        return "tokens" if tokens else kinds.kind_of("kind", name)
    if view.ndim == 2 and view.dtype == torch.int16:
        return "audio"
    if kinds.whole_tokens(name, view, None) is not None:
        return "tokens"
    if view.ndim == 3 and view.dtype == torch.uint8:
        return "image"
    return {2: "vector", 4: "image"}.get(view.ndim, "series")


def _pictures(name: str, view: Tensor, how: Reading, said: list[str]) -> Tensor:
    """(N, C, H, W) in [0, 1] where the pixels were bytes; floats in [0, 1] and standardised ones stay."""
    if view.ndim == 3:
        said.append("grey")
        view = view[:, None]
    if view.ndim != 4:
        raise ValueError(f"inputs[{name!r}] are images, so they must have shape (N, C, H, W), got {tuple(view.shape)}.")
    shape = tuple(view.shape[1:])
    if how.channels == "last" or (how.channels == "auto" and _last(name, shape)):
        said.append("channels stood last")
        view = view.permute(0, 3, 1, 2).contiguous()
    if view.dtype == torch.bool:
        return view.float()
    low, high = (float(v) for v in view.aminmax())
    whole = not view.is_floating_point() or (high > 1 and bool((view == view.round()).all()))
    if whole and low >= 0 and 1 < high <= 255:
        said.append("bytes divided by 255")
        return view.float() / 255.0
    if view.dtype in (torch.int16, torch.int32, torch.int64) and low >= 0 and 255 < high <= 65535:
        said.append("16 bits divided by 65535")
        return view.float() / 65535.0
    if view.is_floating_point() and high > 16 and low >= 0:
        raise ValueError(
            f"inputs[{name!r}] are images from {low:g} to {high:g}, neither [0, 1] nor bytes; divide them by their "
            "largest possible value first."
        )
    return view


def _last(name: str, shape: tuple[int, ...]) -> bool:
    """Whether channels stand last in (?, ?, ?).

    Raises:
        ValueError: a shape that reads either way.
    """
    first, last = shape[0] in (1, 3, 4), shape[2] in (1, 3, 4)
    if first and last and shape[0] != shape[2] and shape[1] > 4:
        raise ValueError(f"inputs[{name!r}] of shape (N, {shape[0]}, {shape[1]}, {shape[2]}) read either way; say "
                         "channels='first' or channels='last'.")  # fmt: skip
    if not first and not last and shape[2] < min(shape[:2]):
        raise ValueError(f"inputs[{name!r}] of shape (N, {shape[0]}, {shape[1]}, {shape[2]}) seem to have {shape[2]} "
                         "channels that stand last; say channels='last' or channels='first'.")  # fmt: skip
    return last and not first


def _rows_there(name: str, view: Tensor) -> Tensor:
    """Rows that are not NaN throughout, (N,) bool.

    Raises:
        ValueError: rows that are NaN in part, or hold Inf.
    """
    n = len(view)
    there = torch.ones(n, dtype=torch.bool)
    if not view.is_floating_point() or bool(torch.isfinite(view.sum())):
        return there
    for k in range(0, n, 1024):  # a map of a file may be larger than memory
        bad = ~torch.isfinite(view[k : k + 1024].flatten(1))
        there[k : k + 1024] = ~(bad.all(1) & torch.isnan(view[k : k + 1024]).flatten(1).all(1))
        part = bad.any(1) & there[k : k + 1024]
        if bool(part.any()):
            whole = torch.zeros(n, dtype=torch.bool)
            whole[k : k + 1024] = part
            raise ValueError(
                f"inputs[{name!r}] hold NaN or infinite values in part of {rows_told(whole)}; fill them, or make the "
                "whole row NaN to say that it is absent."
            )
    return there


def mapped_file(array: np.memmap[Any, Any]) -> Tensor:
    """A tensor over the file of a memory map, which is read where it is used.

    A read-only map is opened again, private: writing into it changes memory, never the file.
    """
    if array.flags.writeable:
        return check.as_tensor("a memory map", np.asarray(array))
    base = array
    while isinstance(base.base, np.memmap):
        base = base.base
    if array.filename is None or not array.flags.c_contiguous:
        return check.as_tensor("a memory map", np.array(array))
    offset = int(array.offset) if base is array else int(base.offset) + array.ctypes.data - base.ctypes.data
    return torch.from_numpy(np.asarray(np.memmap(array.filename, array.dtype, "c", offset, array.shape)))
