"""Pictures as an encoder takes them, each made when it is asked for, so that a set may be larger than memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...data.datasets.own.blocks import mapped_file
from ...data.datasets.reading.media import read_image
from ...data.kinds import check_channels
from ...utils import checks as check
from ...utils.torch_state import wide

PIECE = 256  # pictures in memory at a time while they are checked and hashed (ours)


class Pictures(Sequence[Tensor]):
    """N pictures, (3, H, W) bytes each, of a tensor, a mapped array, or files.

    Args:
        count: N.
        part: from a slice of rows to their pictures, (n, 3, H, W) bytes, or a list of (3, H, W) of different size.
    """

    def __init__(self, count: int, part: Callable[[slice], Tensor | list[Tensor]]) -> None:
        self._count, self._part = count, part

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        return self._part(slice(row, row + 1))[0]

    def parts(self) -> Iterator[Tensor | list[Tensor]]:
        """All of them, a piece at a time."""
        for k in range(0, self._count, PIECE):
            yield self._part(slice(k, min(k + PIECE, self._count)))


def pictures(inputs: Any) -> Pictures:
    """The pictures in a tensor or array (N, 1 or 3, H, W), or in a list of N files.

    Raises:
        ValueError: none, another shape, values out of range or not finite; a file that is no picture.
    """
    if isinstance(inputs, (list, tuple)) and inputs and isinstance(inputs[0], (str, os.PathLike)):
        return _of_files([check.path(f"picture {i}", name).expanduser() for i, name in enumerate(inputs)])
    whole = mapped_file(inputs) if isinstance(inputs, np.memmap) else check.as_tensor("images", inputs).detach()
    if whole.ndim == 4:
        check_channels("images of an encoder", whole.shape[1:])
    if whole.ndim != 4 or whole.shape[1] not in (1, 3) or not len(whole):
        raise ValueError(f"image encoders take (N, 1 or 3, H, W), or N files, got {tuple(whole.shape)}.")
    change = _to_bytes(whole)
    return Pictures(len(whole), lambda rows: change(whole[rows].cpu()).expand(-1, 3, -1, -1))


def _of_files(paths: list[Path]) -> Pictures:
    if absent := [str(p) for p in paths if not p.is_file()]:
        more = f", and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise ValueError(f"{len(absent)} of {len(paths)} pictures are not there: {', '.join(absent[:3])}{more}.")
    return Pictures(len(paths), lambda rows: [torch.from_numpy(read_image(p, None)) for p in paths[rows]])


def _to_bytes(whole: Tensor) -> Callable[[Tensor], Tensor]:
    """How a part of ``whole`` becomes bytes; what all of it tells is looked at a piece at a time.

    Raises:
        ValueError: values that are not finite, or of another range.
    """
    if whole.dtype == torch.uint8:
        return lambda part: part
    low, high = float("inf"), -float("inf")
    for k in range(0, len(whole), PIECE):
        part = whole[k : k + PIECE]
        check.finite("images", part)
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    if not whole.is_floating_point() and low >= 0 and 1 < high <= 255:
        return lambda part: part.to(torch.uint8)  # bytes, as other libraries hold them
    if low < -1e-6 or high > 1 + 1e-6:
        raise ValueError(
            f"images must lie in [0, 1], or be bytes (uint8, 0 to 255), got {whole.dtype} from {low:.3g} to "
            f"{high:.3g}; "
            + ("divide them by 255." if low >= 0 and 1 < high <= 255 else "undo their standardisation first, "
               "x * sd + mean; encoder.on(dataset) does it for datasets of xl.load, which keep both numbers.")
        )  # fmt: skip
    return lambda part: part.mul(255).round().to(torch.uint8)


def pixels_of(dataset: Any, modality: str, images: Tensor) -> tuple[Tensor, str]:
    """Images of a dataset as a camera gives them, in [0, 1], and a word on what was done.

    Datasets say in their provenance by which mean and deviation they were standardised (``statistics``), and
    between which values they would lie without noise (``range``).
    """
    facts, done = dataset.provenance, []
    known = facts.get("statistics", {}).get(modality)
    if known and facts.get("options", {}).get("standardize", True):
        images = images * known["sd"] + known["mean"]
        done.append(f"times {known['sd']:.4g} plus {known['mean']:.4g}")
    span = facts.get("range", {}).get(modality)
    if span is not None:
        low, high = span
        outside = float(wide((images < low - 1e-6) | (images > high + 1e-6)).mean())
        images = ((images - low) / (high - low)).clamp(0, 1)
        done.append(f"from [{low:g}, {high:g}] to [0, 1], {outside:.1%} of the values clipped")
    return images, ", ".join(done) or "as they are"
