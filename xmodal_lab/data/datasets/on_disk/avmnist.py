"""``avmnist``: written digits with most of their variance gone, beside spoken digits in noise.

Read from MultiBench's arrays where they are, else built from MNIST, FSDD (spoken digits) and
ESC-10 or ESC-50 (noise) as Vielzeuf et al. 2018 describe it: images rebuilt from the principal
components that hold 25 % of the variance ("75 % of their energy removed"; dml, App B.1 prints
"retaining 75 %", which no set of that name does), 112x112 log-mel spectrograms of a spoken
digit over environment noise, paired at random within a class. A built set is cached.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset, Samples
from ..reading.layout import Problems, data_root, home
from ..reading.options import Files
from . import avmnist_build as build
from . import avmnist_files as files

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MODALITIES = ("image", "audio")
SPLITS = ("recordings", "official", "speakers")
LAYOUT = (
    "Expected MultiBench's image/{train,test}_data.npy, audio/{train,test}_data.npy, {train,test}_labels.npy, "
    "or the sources mnist/*-ubyte(.gz), fsdd/recordings/*.wav, and esc10/{class}/*.ogg or ESC-50-master/audio/*.wav."
)


@takes(Files, "val_share", "test_share", "seconds", modalities=MODALITIES, n_train=6000, n_test=2000, size=28)
def load_avmnist(
    how: Files,
    *,
    n_val: int = 1000,
    image_energy: float | None = 0.25,
    snr_db: float | Sequence[float] = (-10.0, 0.0),
    noise: bool = True,
    repeat_clips: bool = True,
    split: str = "recordings",
    standardize: bool = True,
    source: str = "auto",
    convert: bool = False,
    cache: str | os.PathLike[str] | bool | None = None,
) -> Dataset:
    """Ten digits, seen (1, size, size) and heard (1, mel, mel), each with mean 0 and deviation 1.

    Splits have different images, recordings and noises. A number of rows is spread evenly over
    the classes (they differ by at most one); None takes all images as they come. A smaller set
    is a part of a larger one. Latents of a built set, -1 where absent: ``image_index`` (row in
    MNIST's file), ``clip_index`` and ``speaker`` (into ``provenance["clips"]``, ``["speakers"]``).

    Args:
        root: folder with the sets or with the sources; ``XMODAL_DATA`` for None.
        modalities: which of "image", "audio".
        n_train: training rows (6000: ours, what a laptop carries; the published set has 55000).
        n_val: validation rows, taken from MNIST's training file (published: 5000); 0 for none.
        n_test: test rows, from MNIST's test file (published: 10000).
        size: side of the image, at most 28: means over patches.
        mel: bands and frames of the spectrogram, at most 112: means over patches (32: ours; 112
            is the published size).
        audio: "mel", or "wave" for the sound itself, (8000,) at 8 kHz, full scale ±1.
        image_energy: share of the images' variance that is kept, fitted on MNIST's training
            file (0.25: Vielzeuf et al. 2018; 0.75 is what dml's App B.1 prints); None keeps all of it.
        snr_db: speech to noise in dB, one number or a range to draw from (the papers do not say
            theirs; ours).
        noise: whether there is any.
        repeat_clips: repeat the few recordings, each time under other noise, until every row has
            one, as the published set does (160 recordings of a digit serve 5500 rows). False
            leaves the audio of the other rows absent.
        split: "recordings" (each digit's takes shared out 70/10/20), "official" (FSDD's: takes 0-4
            test, here 5-9 validation) or "speakers" (one speaker for test, one for validation).
        standardize: shift and scale image and spectrogram by their mean and deviation over training rows; False
            leaves them in [0, 1], as the published set has them, where nets without norm layers hardly learn the
            audio. A wave is never rescaled.
        source: "files" (MultiBench's), "build", or "auto" for files where there are any.
        damaged: "raise", or "skip" to go on without missing and malformed recordings.
        convert: accept recordings of another rate or with several channels, and convert them.
        cache: folder for built sets; None for the usual one (``XMODAL_CACHE``), False for none.
        {options}
        seed: draws rows, splits, pairs and noise.

    Raises:
        LayoutError: all missing and malformed files.
        ValueError: an option out of its range, more rows than there are.
    """
    chosen = how.chosen(MODALITIES)
    wanted = {
        "train": None if how.n_train is None else check.integer("n_train", how.n_train, at_least=1),
        "val": check.integer("n_val", n_val, at_least=0),
        "test": None if how.n_test is None else check.integer("n_test", how.n_test, at_least=1),
    }
    sides = {"image": _side("size", how.size, 28), "audio": _side("mel", how.mel, 112)}
    check.one_of("split", split, SPLITS)
    check.one_of("source", source, ("auto", "files", "build"))
    if image_energy is not None:
        check.positive("image_energy", check.share("image_energy", image_energy))
    ends = [check.real("snr_db", end) for end in (snr_db if isinstance(snr_db, Sequence) else (snr_db, snr_db))]
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError(f"snr_db must be a number or (lowest, highest), got {snr_db!r}.")
    recipe = build.Recipe(
        wanted=tuple(wanted.items()), audio=how.audio, energy=image_energy, snr=(ends[0], ends[1]), noise=bool(noise),
        repeat=bool(repeat_clips), split=split, seed=check.integer("seed", how.seed, at_least=0),
    )  # fmt: skip

    arrays = [place for places in files.PLACES.values() for place in places.values()]
    folder = home(how.root, ["avmnist", "av-mnist"], arrays)
    made = source != "build" and any((folder / place).exists() for place in arrays)
    if source != "files" and not made and not any((folder / name).is_dir() for name in ("mnist", "fsdd")):
        folder = data_root(how.root)  # the sources lie beside each other
    problems = Problems("avmnist", folder, LAYOUT, how.damaged)
    if source == "files" or made:
        _refuse_recipe(recipe)
        splits, about = files.read(folder, problems, wanted, recipe.seed)
        splits = {s: {k: build.pooled(t, sides.get(k)) for k, t in arrays.items()} for s, arrays in splits.items()}
    else:
        splits, about = build.cached(folder, problems, recipe, sides, convert, cache, how.progress)

    inputs = {s: {m: _input(arrays[m]) for m in chosen} for s, arrays in splits.items()}
    statistics = {}
    for m in chosen:
        if inputs["train"][m].dim() == 2:  # a wave stays at full scale, as in the other sets
            continue
        heard = splits["train"].get("clip_index")
        seen = inputs["train"][m] if m != "audio" or heard is None else inputs["train"][m][heard >= 0]
        statistics[m] = {"mean": float(seen.mean()), "sd": float(seen.std())}
        if standardize:
            for views in inputs.values():
                views[m].sub_(statistics[m]["mean"]).div_(statistics[m]["sd"])
    made_of = {s: _samples(arrays, inputs[s]) for s, arrays in splits.items()}
    return Dataset(
        name="avmnist",
        train=made_of["train"],
        val=made_of.get("val"),
        test=made_of["test"],
        classes=CLASSES,
        provenance={
            **about,
            "options": {
                "modalities": chosen, **wanted, "size": how.size, "mel": how.mel, "standardize": bool(standardize),
            },
            "statistics": statistics,
        },
    )  # fmt: skip


def _side(name: str, value: Any, most: int) -> int:
    side = check.integer(name, value, at_least=1)
    if side > most:
        raise ValueError(f"{name} must be at most {most}, the set's own resolution, got {side}.")
    return side


def _refuse_recipe(recipe: build.Recipe) -> None:
    """MultiBench's files are built already: how is not ours to choose."""
    usual = build.Recipe(wanted=recipe.wanted, seed=recipe.seed)
    changed = [name for name in ("audio", "energy", "snr", "noise", "repeat", "split")
               if getattr(recipe, name) != getattr(usual, name)]  # fmt: skip
    if changed:
        raise ValueError(
            f"MultiBench's files are built already, so {', '.join(changed)} cannot be chosen; "
            "give source='build' and the sources (mnist, fsdd, esc10)."
        )


def _input(stored: Tensor) -> Tensor:
    """Stored bytes as (N, 1, side, side) in [0, 1]; stored waves as (N, samples)."""
    if stored.dtype == torch.int16:
        return stored.float().div_(32768.0)
    return stored.unsqueeze(1).float().div_(255.0)


def _samples(arrays: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Samples:
    present = {}
    if "audio" in inputs and "clip_index" in arrays:
        present["audio"] = arrays["clip_index"] >= 0
    latents = {k: v for k, v in arrays.items() if k in ("image_index", "clip_index", "speaker")}
    return Samples(inputs, arrays["labels"].long(), present=present, latents=latents or None)


def write_files(dataset: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Write arrays in MultiBench's layout: split → image (N, 28, 28), audio (N, 112, 112), labels (N,)."""
    for split, arrays in dataset.items():
        for name, place in files.PLACES[split].items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            array = np.asarray(arrays[name])
            if name == "image":
                array = array.reshape(len(array), -1).astype(np.float32)
            np.save(folder / place, array)
