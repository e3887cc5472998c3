"""From a recording to the log-mel arrays that the audio datasets hold.

One function serves the script that made the spoken digits, the loaders of recorded sound,
and users who want to put a recording of their own in front of a trained net.
"""

from __future__ import annotations

import os
from functools import cache
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ....utils import checks as check

FLOOR_DB = -60.0  # (ours) below the noise of every take, so that digital silence does not stand out
_RATES = (100, 768_000)  # samples per second that can be resampled: beyond them a header lies (ours)
_LOUDEST = 1e9  # full scale is 1, or 2^31 where someone forgot to scale (ours); far above it a power is infinite
_CHUNK = 32  # waves transformed at a time, so that their frames stay in the processor's cache

_ABOVE_FULL = 8.0  # clipped and resampled waves go a little above 1; whole numbers as floats go far beyond (ours)

Floats = npt.NDArray[np.float32]


def full_scale(wave: npt.ArrayLike, *, loud: bool = False) -> npt.NDArray[Any]:
    """A wave, or several, with full scale ±1: float32 or float64 as it came, whole numbers over their full scale.

    int8, int16 and int32 are divided by 2^7, 2^15 and 2^31; uint8 has its zero at 128, as in a WAV file.

    Args:
        wave: (..., samples).
        loud: let floats go far above 1.

    Returns:
        The same shape, floating.

    Raises:
        TypeError: no numbers, complex ones, bool, or whole numbers of a width that no recording has.
        ValueError: NaN, Inf, or floats far above 1, which are whole numbers that someone cast.
    """
    given = check.as_tensor("wave", wave).detach().cpu()
    if given.dtype in _FULL:
        zero = 128.0 if given.dtype == torch.uint8 else 0.0
        scaled = (given.double() - zero) / _FULL[given.dtype]
        return scaled.float().numpy()
    if not given.is_floating_point():
        raise TypeError(
            f"wave must be floating with full scale ±1, or int16, int32 or uint8 as recorders write it, got "
            f"{given.dtype}, which has no full scale; divide by it first (32768 for 16 bits)."
        )
    sound = given.to(torch.float64 if given.dtype == torch.float64 else torch.float32).numpy()
    if not np.isfinite(sound).all():
        raise ValueError("wave holds NaN or infinite values; remove or fill them first.")
    peak = float(np.abs(sound).max()) if sound.size else 0.0
    if peak > _ABOVE_FULL and not loud:
        raise ValueError(
            f"wave reaches {peak:.5g}, full scale is ±1; whole numbers cast to floats must be divided by their full "
            "scale first (32768 for 16 bits), or given as int16."
        )
    return sound


_FULL = {torch.uint8: 2.0**7, torch.int8: 2.0**7, torch.int16: 2.0**15, torch.int32: 2.0**31}


def log_mel(wave: npt.ArrayLike, rate: int = 8000, **options: Any) -> Floats:
    """Log-mel power spectrogram of the first ``seconds`` of a mono wave, in dB: (bands, frames).

    Args:
        wave: (samples,), full scale is ±1, or whole numbers, which :func:`full_scale` reads.
        rate: samples per second of ``wave`` (no resampling is done).
        options: of :func:`log_mels`.

    Raises:
        ValueError: a wave that is empty, not mono, NaN or Inf, or far above full scale; what :func:`log_mels` refuses.
    """
    sound = full_scale(wave, loud=bool(options.get("loud")))
    if sound.ndim != 1 or sound.size == 0:
        raise ValueError(f"wave must have shape (samples,) and hold a sample, got {sound.shape}; average the channels.")
    return log_mels(sound[None], rate, **options)[0]


def log_mels(
    waves: npt.ArrayLike,
    rate: int = 8000,
    *,
    bands: int = 32,
    frames: int = 32,
    seconds: float = 1.0,
    low: float = 50.0,
    high: float | None = None,
    n_fft: int = 256,
    floor_db: float = FLOOR_DB,
    loud: bool = False,
) -> Floats:
    """Log-mel power spectrograms of many mono waves of one length, in dB: (n, bands, frames).

    Only the first ``seconds`` count; shorter waves are padded with silence. Hann window of
    ``n_fft`` samples, one every ``rate * seconds / frames`` samples, mel bands on Slaney's scale
    with unit area, and 10 log10(max(power, floor)). Of float32 waves it is computed in float32.

    Args:
        waves: (n, samples), full scale is ±1, or whole numbers, which :func:`full_scale` reads.
        rate: samples per second (no resampling is done).
        bands: number of mel bands between ``low`` and ``high``.
        frames: number of windows.
        seconds: length that the spectrogram covers.
        low: lower edge of the lowest band in Hz.
        high: upper edge of the highest band in Hz; half the rate for None.
        n_fft: window length in samples.
        floor_db: smallest value that is returned.
        loud: let floats go far above full scale, as a mixture that is made and never played may.

    Raises:
        ValueError: waves that are empty, NaN or Inf; a frequency above half the rate; bands so
            narrow that one lies between two frequencies of the transform.
    """
    rate = check.integer("rate", rate, at_least=1)
    bands = check.integer("bands", bands, at_least=1)
    frames = check.integer("frames", frames, at_least=1)
    n_fft = check.integer("n_fft", n_fft, at_least=2)
    length = round(check.positive("seconds", seconds) * rate)
    low = check.non_negative("low", low)
    high = rate / 2 if high is None else check.positive("high", high)
    if not low < high <= rate / 2:
        raise ValueError(
            f"mel bands must lie between 0 and half the rate ({rate / 2:g} Hz), got {low:g} to {high:g} Hz."
        )
    hop = length // frames
    if hop < 1:
        raise ValueError(f"{seconds:g} s at {rate} Hz are {length} samples, too few for {frames} frames.")
    many = full_scale(waves, loud=loud)
    if many.ndim != 2 or many.size == 0:
        raise ValueError(f"waves must have shape (n, samples) and hold a sample, got {many.shape}.")
    kind = torch.float32 if many.dtype == np.float32 else torch.float64
    bank = torch.from_numpy(_bank(n_fft, bands, low, high, rate)).to(kind)
    taper = torch.hann_window(n_fft, dtype=kind)

    levels = np.empty((len(many), bands, frames), dtype=np.float32)
    for start in range(0, len(many), _CHUNK):
        some = many[start : start + _CHUNK, :length]
        some = np.pad(some, ((0, 0), (0, length - some.shape[1])))
        some = np.pad(some, ((0, 0), (n_fft // 2, n_fft // 2)), mode="reflect")  # frames are centred
        cut = torch.from_numpy(some).unfold(1, n_fft, hop)[:, :frames]
        power = torch.view_as_real(torch.fft.rfft(cut * taper)).square().sum(-1)
        energy = (power @ bank).clamp_min_(10.0 ** (floor_db / 10.0))
        levels[start : start + _CHUNK] = energy.log10_().mul_(10.0).transpose(1, 2).numpy()
    return levels


def read_wave(
    path: str | os.PathLike[str], rate: int | None = None, *, convert: bool = True, seconds: float | None = None
) -> tuple[Floats, int]:
    """A sound file (wav, ogg, flac, any sample width) as a mono wave and its rate.

    Args:
        path: of the file.
        rate: wanted samples per second; None keeps the file's.
        convert: resample and average channels where needed; False refuses such a file.
        seconds: read no more than this from the start.

    Raises:
        ValueError: a file that is missing, no sound, empty, or shorter than its header says; with
            ``convert=False`` one of another rate or with several channels.
    """
    import soundfile

    path = check.path("path", path)
    try:
        whole = _is_whole(path)
        with soundfile.SoundFile(path) as file:
            found, channels = file.samplerate, file.channels
            wave = file.read(-1 if seconds is None else int(seconds * found), dtype="float32", always_2d=True)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}.") from None
    except soundfile.SoundFileError as error:
        raise ValueError(f"{path} is no readable sound file: {error}") from None
    if not whole:
        raise ValueError(f"{path} is truncated: it ends before the length that it states; get it again.")
    if len(wave) == 0:
        raise ValueError(f"{path} holds no sample.")
    if not np.isfinite(wave).all():
        raise ValueError(f"{path} holds NaN or infinite samples.")
    if float(np.abs(wave).max()) > _LOUDEST:
        raise ValueError(f"{path} holds samples of up to {np.abs(wave).max():.3g}, where full scale is 1.")
    if not _RATES[0] <= found <= _RATES[1]:
        raise ValueError(f"{path} states {found} samples per second, expected {_RATES[0]} to {_RATES[1]}.")
    if not convert and channels != 1:
        raise ValueError(f"{path} has {channels} channels, expected mono; average them, or load with convert=True.")
    if not convert and rate is not None and found != rate:
        raise ValueError(f"{path} has {found} Hz, expected {rate} Hz; resample it, or load with convert=True.")
    mono = wave[:, 0] if channels == 1 else wave.mean(1)
    return (mono, found) if rate is None or rate == found else (resample(mono, found, rate), rate)


def resample(wave: Floats, before: int, after: int) -> Floats:
    """The same sound with ``after`` samples per second: polyphase filtering along the last axis.

    Returns:
        (..., samples) float32, full scale ±1, of what :func:`full_scale` reads.
    """
    from scipy.signal import resample_poly

    step = gcd(before, after)
    out: Floats = resample_poly(full_scale(wave), after // step, before // step, axis=-1).astype(np.float32)
    return out


@cache
def _bank(n_fft: int, bands: int, low: float, high: float, rate: int) -> npt.NDArray[np.float64]:
    """Mel filters (frequencies, bands)."""
    import warnings

    from transformers.audio_utils import mel_filter_bank

    settings: dict[str, Any] = {"norm": "slaney", "mel_scale": "slaney"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty band is refused below
        bank: npt.NDArray[np.float64] = mel_filter_bank(n_fft // 2 + 1, bands, low, high, rate, **settings)
    empty = int((bank.max(0) <= 0).sum())
    if empty:
        raise ValueError(
            f"{bands} mel bands are too narrow for frequencies {rate / n_fft:.3g} Hz apart: "
            f"{empty} would be empty; give fewer bands or a larger n_fft."
        )
    return bank


def _is_whole(path: Path) -> bool:
    """Whether a wav has the bytes, and an ogg the last page, that it announces; True for other formats."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            size, long = path.stat().st_size, 0
            while len(chunk := file.read(8)) == 8:
                length = int.from_bytes(chunk[4:], "little")
                if chunk[:4] == b"ds64":  # of RF64, whose lengths have 64 bits
                    long = int.from_bytes(file.read(16)[8:], "little")
                    file.seek(-16, 1)
                if chunk[:4] == b"data":  # streamed files announce 0 or the largest length: nothing to compare
                    length = long if length == 0xFFFFFFFF else length
                    return length == 0 or file.tell() + length <= size
                file.seek(length + length % 2, 1)
            return False
        if head[:4] == b"OggS":
            file.seek(max(0, path.stat().st_size - 65536))
            tail = file.read()
            at = tail.rfind(b"OggS")
            return at >= 0 and at + 27 <= len(tail) and _page_is_last_and_whole(tail[at:])
    return True


def _page_is_last_and_whole(page: bytes) -> bool:
    segments = page[26]
    length = 27 + segments + sum(page[27 : 27 + segments])
    return bool(page[5] & 4) and length <= len(page)
