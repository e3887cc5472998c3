"""Sounds as an encoder takes them, each made when it is asked for, so that a set may be larger than memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...data.datasets.own.blocks import mapped_file
from ...data.datasets.reading.audio import full_scale, read_wave, resample
from ...utils import checks as check


class Waves(Sequence[Tensor]):
    """N waves, (samples,) float32 each, of arrays, a mapped array, or files.

    Args:
        inputs: (N, samples), a list of N waves, or of N files.
        rate: their samples per second; files say their own.
        wanted: that of the encoder, to which they are brought.
        least: samples that it needs.
        name: of the encoder.

    Raises:
        ValueError: none, no mono waves, no rate, files that are not there; of a wave when it is asked for, one that is
            not finite or too short.
    """

    def __init__(self, inputs: Any, rate: int | None, wanted: int, least: int, name: str) -> None:
        self._files = _files(inputs)
        self._given = [] if self._files else _given(inputs)
        if rate is None and not self._files:
            raise ValueError(f"give rate=, the waves' samples per second; {name} expects {wanted}.")
        self._rate = wanted if rate is None else check.integer("rate", rate, at_least=1)
        self._wanted, self._least, self._name = wanted, least, name
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._files or self._given)

    def __getitem__(self, row: Any) -> Any:
        wave = self._read(row)
        self._lengths[row] = len(wave)
        if len(wave) < self._least:
            raise ValueError(
                f"wave {row} has {len(wave)} samples at {self._wanted} Hz, {self._name} needs {self._least} for a "
                "feature; leave that row out, mark it absent, or pad it with silence."
            )
        return wave

    def _read(self, row: int) -> Tensor:
        if self._files:
            return torch.from_numpy(read_wave(self._files[row], self._wanted)[0])
        wave = torch.from_numpy(full_scale(check.finite(f"wave {row}", self._given[row]))).float()
        if self._rate != self._wanted:
            wave = torch.from_numpy(resample(wave.numpy(), self._rate, self._wanted))
        return wave

    def lengths(self) -> list[int]:
        """Samples of each; those of waves that were read are known."""
        return [self._lengths[i] if i in self._lengths else len(self[i]) for i in range(len(self))]

    def by_name(self) -> Mapping[str, Tensor]:
        """The waves by their number as text, as the cache's key hashes them."""
        return _ByName(self)


class _ByName(Mapping[str, Tensor]):
    def __init__(self, waves: Waves) -> None:
        self._waves = waves

    def __getitem__(self, name: str) -> Tensor:
        wave: Tensor = self._waves[int(name)]
        return wave

    def __iter__(self) -> Iterator[str]:
        return map(str, range(len(self._waves)))

    def __len__(self) -> int:
        return len(self._waves)


def _files(inputs: Any) -> list[Path]:
    """The files, where inputs are names of such."""
    if not (isinstance(inputs, (list, tuple)) and inputs and isinstance(inputs[0], (str, os.PathLike))):
        return []
    paths = [check.path(f"sound {i}", name).expanduser() for i, name in enumerate(inputs)]
    if absent := [str(p) for p in paths if not p.is_file()]:
        more = f", and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise ValueError(f"{len(absent)} of {len(paths)} sounds are not there: {', '.join(absent[:3])}{more}.")
    return paths


def _given(inputs: Any) -> Any:
    """Waves in memory or in a mapped file, one a row."""
    if isinstance(inputs, np.memmap):
        inputs = mapped_file(inputs)
    given = inputs if isinstance(inputs, Tensor) else [check.as_tensor(f"wave {i}", w) for i, w in enumerate(inputs)]
    shapes = [tuple(w.shape) for w in (given[:3] if isinstance(given, Tensor) else given)]
    if not len(given) or any(len(s) != 1 or not s[0] for s in shapes):
        raise ValueError(
            "audio encoders take mono waves (N, samples), not spectrograms; load the data with audio='wave', average "
            f"the channels. Got {shapes[:3]}."
        )
    return given
