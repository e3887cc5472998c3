"""From a waveform to the log-mel arrays that the audio datasets hold.

One function serves the script that made the spoken digits, the loaders of recorded sound,
and users who want to put a recording of their own in front of a trained net.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _checks as check

FLOOR_DB = -60.0  # (ours) below the noise of every take, so that digital silence does not stand out


def log_mel(
    wave: npt.ArrayLike,
    rate: int = 8000,
    *,
    bands: int = 32,
    frames: int = 32,
    seconds: float = 1.0,
    low: float = 50.0,
    high: float | None = None,
    n_fft: int = 256,
    floor_db: float = FLOOR_DB,
) -> npt.NDArray[np.float32]:
    """Log-mel power spectrogram of the first ``seconds`` of a mono wave, in dB: (bands, frames).

    A shorter wave is padded with silence. Hann window of ``n_fft`` samples, one every
    ``rate * seconds / frames`` samples, mel bands on Slaney's scale with unit area, and
    10 log10(max(power, floor)).

    Args:
        wave: (samples,), full scale is ±1.
        rate: samples per second of ``wave`` (no resampling is done).
        bands: number of mel bands between ``low`` and ``high``.
        frames: number of windows.
        seconds: length that the spectrogram covers.
        low: lower edge of the lowest band in Hz.
        high: upper edge of the highest band in Hz; half the rate for None.
        n_fft: window length in samples.
        floor_db: smallest value that is returned.

    Raises:
        ValueError: a wave that is empty, not mono, NaN or Inf; a frequency above half the rate.
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
    sound = np.asarray(wave, dtype=np.float64)
    if sound.ndim != 1 or sound.size == 0:
        raise ValueError(f"wave must have shape (samples,) and hold a sample, got {sound.shape}; average the channels.")
    if not np.isfinite(sound).all():
        raise ValueError("wave holds NaN or infinite values; remove or fill them first.")

    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    settings: dict[str, Any] = {"norm": "slaney", "mel_scale": "slaney"}
    bank = mel_filter_bank(n_fft // 2 + 1, bands, low, high, rate, **settings)
    sound = np.pad(sound[:length], (0, max(0, length - sound.size)))
    power = spectrogram(sound, window_function(n_fft, "hann"), n_fft, hop, power=2.0, mel_filters=bank)
    levels = 10.0 * np.log10(np.maximum(power[:, :frames], 10.0 ** (floor_db / 10.0)))
    return levels.astype(np.float32)
