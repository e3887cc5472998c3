"""Recordings of spoken digits (FSDD) and environment sounds (ESC-10, ESC-50), at 8 kHz."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..reading.audio import read_wave
from ..reading.layout import Problems

RATE = 8000
_TAKE = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav", re.IGNORECASE)
_ESC = re.compile(r"(\d)-(\d+)-([A-Z])(-\d+)?\.(ogg|wav)", re.IGNORECASE)

Floats = npt.NDArray[np.float32]


class Take(NamedTuple):
    """One spoken digit: which, by whom, the how many-th."""

    path: Path
    digit: int
    speaker: str
    number: int


class Noise(NamedTuple):
    """One environment sound; takes of one ``recording`` belong together."""

    path: Path
    fold: int
    recording: str


def takes(folder: Path, problems: Problems) -> list[Take]:
    """FSDD's takes, sorted; names that are none, doubles and holes in the numbering go to ``problems``."""
    found: list[Take] = []
    seen: dict[tuple[object, ...], Path] = {}
    for path in problems.files(folder, [".wav"]).values():
        match = _TAKE.fullmatch(path.name)
        if match is None:
            problems.malformed(path, "named {digit}_{speaker}_{index}.wav expected")
            continue
        take = Take(path, int(match[1]), match[2].lower(), int(match[3]))
        if take[1:] in seen:
            problems.malformed(path, f"the same digit, speaker and index as {seen[take[1:]].name}")
        else:
            seen[take[1:]] = path
            found.append(take)
    last = max((take.number for take in found), default=-1)
    for speaker in sorted({take.speaker for take in found}):  # every speaker says every digit equally often
        for digit, index in itertools.product(range(10), range(last + 1)):
            if (digit, speaker, index) not in seen:
                problems.missing(folder / f"{digit}_{speaker}_{index}.wav")
    if not found:
        problems.missing(folder / "{digit}_{speaker}_{index}.wav")
    return sorted(found, key=lambda take: (take.digit, take.speaker, take.number))


def noises(folder: Path, problems: Problems) -> list[Noise]:
    """ESC's clips, sorted: of ESC-10 (folders of classes, ogg) or ESC-50 (``audio/*.wav``)."""
    inside = [folder / "audio"] if (folder / "audio").is_dir() else list(problems.folders(folder).values())
    found = []
    for place in inside:
        for path in problems.files(place, [".ogg", ".wav"]).values():
            match = _ESC.fullmatch(path.name)
            if match is None:
                problems.malformed(path, "named {fold}-{recording}-{take}.ogg expected")
            else:
                found.append(Noise(path, int(match[1]), match[2]))
    if not found:
        problems.missing(folder / "{class}/{fold}-{recording}-{take}.ogg")
    return sorted(found, key=lambda noise: noise.path.name)


def waves(paths: Sequence[Path], problems: Problems, convert: bool) -> dict[Path, Floats]:
    """Path → mono wave at 8 kHz; unreadable ones go to ``problems``."""
    found = {}
    for path in paths:
        if path not in found:
            got = problems.attempt(path, lambda p=path: read_wave(p, RATE, convert=convert))  # type: ignore[misc]
            if got is not None:
                found[path] = got[0]
    return found


def mixed(
    words: Sequence[Floats], noise: Sequence[Floats], starts: npt.ArrayLike, snr_db: npt.ArrayLike, length: int = RATE
) -> Floats:
    """Words with a stretch of noise under them, (n, length), each with RMS 0.1 over its speech.

    word / rms(word) + noise / rms(noise) · 10^(-snr/20), scaled by 0.1: loudness, which gives
    FSDD's speakers away, is gone. A word longer than ``length`` is cut, a shorter one starts
    at 0.

    Args:
        words, noise: waves, one per row; noise None for silence.
        starts: where in its noise a row's stretch begins, a share in [0, 1) of the places that
            are loud enough (at least a tenth of the clip's RMS; a few clips are partly silent).
        snr_db: speech to noise, in dB, per row.
        length: samples.
    """
    out = np.zeros((len(words), length), dtype=np.float32)
    shares, ratios = np.broadcast_to(starts, len(words)), np.broadcast_to(snr_db, len(words))
    for row, word in enumerate(words):
        cut = word[:length]
        out[row, : len(cut)] = cut / max(float(np.sqrt(np.mean(np.square(cut)))), 1e-6)
        if len(noise):
            under = stretch(noise[row], float(shares[row]), length)
            out[row] += under * np.float32(10.0 ** (-float(ratios[row]) / 20.0))
    return out * np.float32(0.1)


def stretch(wave: Floats, share: float, length: int) -> Floats:
    """``length`` samples of ``wave`` with RMS 1, from the share-th of the places that are loud enough."""
    if len(wave) < length:
        wave = np.resize(wave, length)
    step = length // 8
    total = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    places = np.arange(0, len(wave) - length + 1, step)
    loud = np.sqrt((total[places + length] - total[places]) / length)
    heard = places[loud >= max(0.1 * float(np.sqrt(total[-1] / len(wave))), 1e-6)]
    if not len(heard):
        return np.zeros(length, dtype=np.float32)
    start = int(heard[int(share * len(heard))])
    cut = wave[start : start + length]
    return cut / np.float32(np.sqrt(np.mean(np.square(cut, dtype=np.float64))))
