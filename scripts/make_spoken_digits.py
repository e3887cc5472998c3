"""Synthesise the spoken digits that ``xl.load("digits")`` ships, with espeak-ng.

    python scripts/make_spoken_digits.py [--out FOLDER] [--seed 0]

Needs ``espeak-ng`` on the path (Debian: ``apt-get install espeak-ng``); the library itself
never does. The same seed and the same version of espeak-ng give the same takes.

A voice is an accent and a variant (the variant sets vocal tract, source and pitch range).
Training, validation and test share no voice and no variant, and the accents of validation
and test are not heard in training. All voices come from one formant synthesiser: they differ
less than people do.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter, resample_poly

from xmodal_lab.data.datasets.reading.audio import FLOOR_DB, log_mel

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 8000
ESPEAK_RATE = 22050
STEP_DB = 0.5
TAKES_PER_VOICE = {"train": 5, "val": 8, "test": 8}
PITCHES = (25, 40, 50, 60, 75)  # espeak-ng's scale: 0 to 99, 50 is the voice's own
SPEEDS = (120, 140, 160, 180, 200)  # words per minute
ENDINGS = (".", "?", "!", ",")  # each has its own melody

VOICES = {
    "train": (
        ("en-us", ("f1", "f5", "m1", "m6", "Diogo", "aunty", "boris", "Michael")),
        ("en-gb", ("f2", "anika", "m3", "Alex", "edward", "robert", "travis")),
        ("en-gb-scotland", ("f3", "zac", "m4", "Mario", "ed", "klatt4", "max")),
        ("en-gb-x-gbclan", ("f4", "Andrea", "m7", "Denis", "pedro", "Jacky", "m5")),
        ("en-029", ("steph", "m2", "marcelo", "quincy", "victor", "paul", "john")),
    ),
    "val": (("en-gb-x-rp", ("shelby", "grandma", "sandro", "Gene", "m8")),),
    "test": (
        ("en-us-nyc", ("belinda", "Storm", "Andy", "iven", "norbert")),
        ("en-gb-x-gbcwmd", ("linda", "Annie", "Mr serious", "antonio", "david")),
    ),
}


class Take(NamedTuple):
    """What is said, and how; voice and digit are positions in the tables."""

    voice: int
    digit: int
    number: int
    pitch: int
    speed: int


def speak(espeak: str, voice: str, text: str, pitch: int, speed: int) -> np.ndarray:
    """One spoken word at 8 kHz, silence at both ends cut, peak 1."""
    command = [espeak, "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", text]
    sound = subprocess.run(command, check=True, capture_output=True).stdout
    header = sound.index(b"data") + 8  # the sizes in a streamed header are not filled in
    samples = np.frombuffer(sound[header : len(sound) - (len(sound) - header) % 2], "<i2")
    wave = resample_poly(samples / 32768.0, 2 * RATE // 100, 2 * ESPEAK_RATE // 100)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1]
    return wave / np.abs(wave).max()


def in_a_room(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The word in a small room, through a cheap microphone: echo, colour, level, place in time, noise."""
    decay_time = rng.uniform(0.08, 0.3)  # seconds to -60 dB
    tail = np.arange(int(decay_time * RATE)) / RATE
    response = rng.standard_normal(tail.size) * 10.0 ** (-3.0 * tail / decay_time)
    response *= rng.uniform(0.05, 0.4) / np.linalg.norm(response)
    response[0] += 1.0
    wave = np.convolve(wave, response)
    wave = lfilter([1.0, -rng.uniform(-0.5, 0.6)], [1.0], wave)  # tilt: dull to bright
    wave = lfilter([1.0, -1.0], [1.0, -(1.0 - 2.0 * np.pi * rng.uniform(40.0, 250.0) / RATE)], wave)  # no lows
    wave = wave / np.abs(wave).max() * 10.0 ** (rng.uniform(-8.0, 0.0) / 20.0)
    start = int(rng.uniform(0.0, 0.05) * RATE)
    heard = np.pad(wave, (start, 0))[:RATE]
    heard = np.pad(heard, (0, RATE - heard.size))
    hiss = lfilter([1.0], [1.0, -rng.uniform(0.0, 0.9)], rng.standard_normal(RATE))
    noise_db = rng.uniform(-35.0, -20.0)
    hiss *= np.sqrt(np.mean(wave**2)) / np.sqrt(np.mean(hiss**2)) * 10.0 ** (noise_db / 20.0)
    return np.clip(heard + hiss, -1.0, 1.0)


def voice_table() -> list[dict[str, str]]:
    """All voices in the order in which the arrays number them."""
    return [
        {"split": split, "accent": accent, "variant": variant}
        for split, accents in VOICES.items()
        for accent, variants in accents
        for variant in variants
    ]


def takes(seed: int) -> list[Take]:
    """Which word each voice says, at which pitch and speed: no pitch and speed twice for a voice and word."""
    plan = []
    for v, voice in enumerate(voice_table()):
        for digit in range(len(WORDS)):
            cells = np.random.default_rng([seed, v, digit]).permutation(len(PITCHES) * len(SPEEDS))
            for number, cell in enumerate(cells[: TAKES_PER_VOICE[voice["split"]]]):
                plan.append(Take(v, digit, number, PITCHES[cell % len(PITCHES)], SPEEDS[cell // len(PITCHES)]))
    return plan


def record(espeak: str, take: Take, seed: int) -> np.ndarray:
    """One take as 8-bit levels (32 bands, 32 frames); its effects have their own random stream."""
    rng = np.random.default_rng([seed, take.voice, take.digit, take.number + 1])
    voice = voice_table()[take.voice]
    text = WORDS[take.digit] + ENDINGS[int(rng.integers(len(ENDINGS)))]
    word = speak(espeak, f"{voice['accent']}+{voice['variant']}", text, take.pitch, take.speed)
    decibel = log_mel(in_a_room(word, rng), RATE)
    return np.clip(np.rint((decibel - FLOOR_DB) / STEP_DB), 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=Path, default=here / "xmodal_lab" / "datasets" / "data")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        sys.exit("espeak-ng was not found; install it (Debian: apt-get install espeak-ng).")
    version = subprocess.run([espeak, "--version"], check=True, capture_output=True, text=True).stdout
    plan = takes(arguments.seed)
    with ThreadPoolExecutor(2) as pool:  # most of the time is espeak-ng's, in processes of its own
        levels = np.stack(list(pool.map(lambda take: record(espeak, take, arguments.seed), plan)))
    arrays = {
        name: np.array([getattr(take, name) for take in plan], dtype=np.uint8)
        for name in ("voice", "digit", "pitch", "speed")
    }
    recipe = {
        "what": "spoken digits as log-mel spectrograms",
        "made_by": "scripts/make_spoken_digits.py",
        "synthesiser": version.split("  Data at")[0].strip(),
        "seed": arguments.seed,
        "words": WORDS,
        "endings": ENDINGS,
        "pitches": PITCHES,
        "speeds_words_per_minute": SPEEDS,
        "takes_per_voice_and_digit": TAKES_PER_VOICE,
        "room": {
            "reverb_seconds_to_-60_dB": [0.08, 0.3],
            "reverb_to_direct_amplitude": [0.05, 0.4],
            "tilt_tap": [-0.5, 0.6],
            "high_pass_hz": [40, 250],
            "level_db_below_full_scale": [0, 8],
            "onset_seconds": [0.0, 0.05],
            "noise_db_below_speech": [20, 35],
            "noise_colour_pole": [0.0, 0.9],
        },
        "mel": {
            "rate_hz": RATE,
            "bands": 32,
            "frames": 32,
            "seconds": 1.0,
            "low_hz": 50,
            "high_hz": RATE // 2,
            "n_fft": 256,
            "hop": 250,
            "window": "hann",
            "scale_and_norm": "slaney",
        },
        "code": {"decibel": "floor_db + step_db * level", "floor_db": FLOOR_DB, "step_db": STEP_DB},
        "voices": voice_table(),
    }
    np.savez_compressed(arguments.out / "spoken_digits.npz", levels=levels, **arrays)
    (arguments.out / "spoken_digits.json").write_text(json.dumps(recipe, indent=1) + "\n")
    size = (arguments.out / "spoken_digits.npz").stat().st_size
    print(f"{len(plan)} takes, {len(voice_table())} voices, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
