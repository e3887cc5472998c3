"""AVMNIST built from MNIST, FSDD and ESC; kept in the cache."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ....utils import cache as disk
from ..reading.audio import log_mels
from ..reading.layout import Problems
from ..reading.rows import balanced, shares
from . import mnist as _mnist
from . import sounds as _sounds

VERSION = 1  # of the recipe below; a change makes cached sets unknown
SIDE = 112
FULL = {"image": 28, "audio": SIDE}
N_FFT = 512  # (ours) the shortest whose frequencies are closer than 112 mel bands
FLOOR_DB, STEP_DB = -60.0, 0.4  # byte b means FLOOR + STEP · b dB, up to 42 dB (ours)
_CHUNK = 256

Ints = npt.NDArray[np.int64]
Where = str | os.PathLike[str] | bool | None


@dataclass(frozen=True)
class Recipe:
    """What a built set depends on besides its sources."""

    wanted: tuple[tuple[str, int | None], ...]
    audio: str = "mel"
    energy: float | None = 0.25
    snr: tuple[float, float] = (-10.0, 0.0)
    noise: bool = True
    repeat: bool = True
    split: str = "recordings"
    seed: int = 0


@dataclass(frozen=True)
class Sources:
    """The files that a set is built from."""

    mnist: Path
    takes: list[_sounds.Take]
    noises: list[_sounds.Noise]

    def fingerprint(self) -> str:
        """Changes when a file comes, goes or is written anew."""
        images = [path for pair in _mnist.paths(self.mnist).values() for path in pair]
        found = [*images, *(take.path for take in self.takes), *(noise.path for noise in self.noises)]
        states = [(path.name, path.stat()) for path in found]
        return disk.key({"files": [(name, state.st_size, state.st_mtime_ns) for name, state in states]})


def cached(
    folder: Path, problems: Problems, recipe: Recipe, sides: Mapping[str, int], convert: bool, cache: Where,
    progress: bool | None,
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:  # fmt: skip
    """Split → bytes and indices of the set, from the cache or built; and where they come from.

    The set is kept at its full resolution, and once more at each smaller one that was asked for.
    """
    sources = _sources(folder, recipe, problems)
    problems.finish()
    parts = {
        "version": VERSION, "recipe": asdict(recipe), "sources": sources.fingerprint(), "convert": convert,
        "skip": problems.skip,
    }  # fmt: skip
    full, small = (f"avmnist-{disk.key(p)}" for p in (parts, parts | {"sides": dict(sides)}))
    reduced = dict(sides) != FULL
    where = None if isinstance(cache, bool) else cache
    got = None if cache is False else disk.read("datasets", small if reduced else full, where)
    if got is None:
        if reduced and cache is not False:
            got = disk.read("datasets", full, where)
        if got is None:
            got = _build(sources, recipe, problems, convert, progress)
            if cache is not False:
                disk.write("datasets", full, *got, where)
        if reduced:
            tensors = {k: pooled(t, sides.get(k.partition(".")[2])) for k, t in got[0].items()}
            got = tensors, got[1] | {"what": f"{got[1]['what']}, image {sides['image']}, audio {sides['audio']}"}
            if cache is not False:
                disk.write("datasets", small, *got, where)
    splits: dict[str, dict[str, Tensor]] = {}
    for key, tensor in got[0].items():
        split, _, what = key.partition(".")
        splits.setdefault(split, {})[what] = tensor
    return splits, got[1]


def pooled(stored: Tensor, side: int | None) -> Tensor:
    """Stored pictures (N, h, w) as bytes (N, side, side), means over patches; anything else as it is."""
    if side is None or stored.dtype != torch.uint8 or stored.shape[-1] == side:
        return stored
    out = torch.empty(len(stored), side, side, dtype=torch.uint8)
    for start in range(0, len(stored), _CHUNK):  # as floats the whole set would take four times its size
        part = stored[start : start + _CHUNK].float()
        out[start : start + _CHUNK] = nn.functional.adaptive_avg_pool2d(part, side).round_().byte()
    return out


def _sources(folder: Path, recipe: Recipe, problems: Problems) -> Sources:
    mnist = next((p for p in (folder / "mnist", folder / "MNIST" / "raw", folder) if _has_idx(p)), folder / "mnist")
    for pair in _mnist.paths(mnist).values():
        for path in pair:
            if not path.is_file():
                problems.missing(path)
    takes = _sounds.takes(folder / "fsdd" / "recordings", problems)
    noises: list[_sounds.Noise] = []
    if recipe.noise:
        known = ("esc10", "ESC-10", "esc50", "ESC-50-master", "esc-50/ESC-50-master")
        noises = _sounds.noises(next((folder / n for n in known if (folder / n).is_dir()), folder / "esc10"), problems)
    return Sources(mnist, takes, noises)


def _has_idx(folder: Path) -> bool:
    return any(path.is_file() for pair in _mnist.paths(folder).values() for path in pair)


# -- building ----------------------------------------------------------------------------------------


def _build(
    sources: Sources, recipe: Recipe, problems: Problems, convert: bool, progress: bool | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    digits = _mnist.read(sources.mnist, problems)
    takes = _sounds.waves([take.path for take in sources.takes], problems, convert)
    noises = _sounds.waves([noise.path for noise in sources.noises], problems, convert=True)
    if len(digits) < 2:
        problems.skip = False  # without images there is nothing to go on with
    problems.finish()
    rows = _images(digits, recipe)
    used = [take for take in sources.takes if take.path in takes]
    clip_pools = _share_takes(used, recipe)
    noise_pools = _share_noises([n for n in sources.noises if n.path in noises], recipe)
    keep = _components(digits["train"][0], recipe.energy)

    from tqdm.auto import tqdm

    tensors: dict[str, Tensor] = {}
    total = sum(len(chosen) for _, chosen in rows.values())
    speakers = sorted({take.speaker for take in used})
    quiet = None if progress is None else not progress
    with tqdm(total=total, desc="building avmnist", unit="pair", disable=quiet) as bar:
        for number, (split, (file, chosen)) in enumerate(rows.items()):
            images, labels = digits[file]
            own = labels[chosen].astype(np.int64)
            clips = _clips(own, clip_pools[split], recipe, number)
            rng = np.random.default_rng([recipe.seed, 20, number])
            drawn = rng.random((len(own), 3))  # which noise, from where, how loud: rows grow at the end
            sounds = []
            for start in range(0, len(own), _CHUNK):
                part = slice(start, start + _CHUNK)
                sounds.append(_sound(used, takes, noise_pools[split], noises, clips[part], drawn[part], recipe))
                bar.update(len(own[part]))
            spoken = np.array([speakers.index(used[i].speaker) if i >= 0 else -1 for i in clips])
            stored = {
                "image": keep(images[chosen]), "audio": np.concatenate(sounds), "labels": own,
                "image_index": chosen, "clip_index": clips, "speaker": spoken,
            }  # fmt: skip
            tensors |= {f"{split}.{k}": torch.from_numpy(np.ascontiguousarray(v)) for k, v in stored.items()}
    about = {
        "what": f"avmnist, {total} pairs",
        "source": {
            "image": _mnist.SOURCE, "audio": "Free Spoken Digit Dataset, Z. Jackson et al.",
            **({"noise": "ESC, K. J. Piczak"} if recipe.noise else {}),
        },
        "licence": {
            "image": _mnist.LICENCE, "audio": "CC BY-SA 4.0",
            **({"noise": "ESC-10: CC BY 3.0; ESC-50: CC BY-NC 3.0"} if recipe.noise else {}),
        },
        "seed": recipe.seed,
        "rate": _sounds.RATE,
        "recipe": asdict(recipe) | {"version": VERSION, "floor_db": FLOOR_DB, "step_db": STEP_DB},
        "clips": [take.path.name for take in used],
        "speakers": speakers,
        "clips_per_split": {s: {str(c): len(pool) for c, pool in pools.items()} for s, pools in clip_pools.items()},
    }  # fmt: skip
    return tensors, about


def _images(digits: Mapping[str, tuple[Any, Any]], recipe: Recipe) -> dict[str, tuple[str, Ints]]:
    """Split → MNIST's file and rows; validation and training rows differ."""
    wanted = dict(recipe.wanted)
    labels = digits["train"][1]
    rows: dict[str, tuple[str, Ints]] = {}
    free = np.arange(len(labels))
    if wanted["val"]:
        val = balanced(labels, wanted["val"], "n_val", [recipe.seed, 1])
        free = np.setdiff1d(free, val)
        rows["val"] = ("train", val)
    train = free[balanced(labels[free], wanted["train"], "n_train", [recipe.seed, 0])]
    test = balanced(digits["test"][1], wanted["test"], "n_test", [recipe.seed, 2])
    return {"train": ("train", train), **rows, "test": ("test", test)}


def _components(images: npt.NDArray[np.uint8], energy: float | None) -> Any:
    """A function that rebuilds images from the fewest components with this share of the variance."""
    if energy is None:
        return lambda some: some
    flat = images.reshape(len(images), -1)
    mean = flat.mean(0, dtype=np.float64).astype(np.float32)
    total = np.zeros((flat.shape[1],) * 2)
    for start in range(0, len(flat), 8192):
        centred = flat[start : start + 8192] - mean
        total += centred.T @ centred
    values, axes = np.linalg.eigh(total)
    share = np.cumsum(values[::-1].clip(min=0.0)) / values.clip(min=0.0).sum()
    kept = axes[:, ::-1][:, : int(np.searchsorted(share, energy - 1e-9)) + 1].astype(np.float32)

    def rebuild(some: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        near = mean + ((some.reshape(len(some), -1) - mean) @ kept) @ kept.T
        return np.rint(near.clip(0, 255)).astype(np.uint8).reshape(some.shape)

    return rebuild


def _share_takes(takes: Sequence[_sounds.Take], recipe: Recipe) -> dict[str, dict[int, Ints]]:
    """Split → digit → positions in ``takes``, in random order."""
    val = bool(dict(recipe.wanted)["val"])
    speakers = sorted({take.speaker for take in takes})
    if recipe.split == "speakers":
        needed = 3 if val else 2
        if len(speakers) < needed:
            raise ValueError(f"split='speakers' needs at least {needed} speakers, the recordings have {len(speakers)}.")
        order = [speakers[i] for i in np.random.default_rng([recipe.seed, 10]).permutation(len(speakers))]
        part = {name: "test" if i == 0 else "val" if i == 1 and val else "train" for i, name in enumerate(order)}
    pools: dict[str, dict[int, Ints]] = {s: {} for s in ("train", "val", "test") if s != "val" or val}
    for digit in range(10):
        members = [i for i, take in enumerate(takes) if take.digit == digit]
        members = np.random.default_rng([recipe.seed, 11, digit]).permutation(members).tolist()
        if recipe.split == "recordings":
            sizes = shares(len(members), 0.1 if val else 0.0, 0.2)
            where = np.repeat(["train", "val", "test"], [max(0, n) for n in sizes]).tolist()
        elif recipe.split == "official":
            turns = [takes[i].number // 5 for i in members]
            where = ["test" if turn == 0 else "val" if turn == 1 and val else "train" for turn in turns]
        else:
            where = [part[takes[i].speaker] for i in members]
        for split, pool in pools.items():
            pool[digit] = np.array([i for i, w in zip(members, where, strict=False) if w == split], dtype=np.int64)
            if not len(pool[digit]):
                raise ValueError(f"no recording of digit {digit} is left for {split} with split={recipe.split!r}.")
    return pools


def _share_noises(noises: Sequence[_sounds.Noise], recipe: Recipe) -> dict[str, list[Path]]:
    """Split → clips; takes of one field recording stay together."""
    if not recipe.noise:
        return {split: [] for split in ("train", "val", "test")}
    recordings = sorted({noise.recording for noise in noises})
    if len(recordings) < 3:
        raise ValueError(f"at least 3 noise recordings are needed, one per split, got {len(recordings)}.")
    order = np.random.default_rng([recipe.seed, 12]).permutation(len(recordings))
    sizes = shares(len(recordings), 0.1, 0.2)
    part = dict(zip((recordings[i] for i in order), np.repeat(["train", "val", "test"], sizes), strict=True))
    return {s: [n.path for n in noises if part[n.recording] == s] for s in ("train", "val", "test")}


def _clips(labels: Ints, pools: Mapping[int, Ints], recipe: Recipe, number: int) -> Ints:
    """A take for each row: every one once, then again, and so on; or -1 when all are used and none is repeated."""
    clips = np.full(len(labels), -1)
    for digit, pool in pools.items():
        members = np.flatnonzero(labels == digit)
        turn = np.arange(len(members))
        clips[members] = np.where(recipe.repeat | (turn < len(pool)), pool[turn % len(pool)], -1)
    return clips


def _sound(
    used: Sequence[_sounds.Take], takes: Mapping[Path, Any], pool: Sequence[Path], noises: Mapping[Path, Any],
    clips: Ints, drawn: npt.NDArray[np.float64], recipe: Recipe,
) -> npt.NDArray[Any]:  # fmt: skip
    """Stored sound of some rows; zeros where a row has none."""
    shape = (_sounds.RATE,) if recipe.audio == "wave" else (SIDE, SIDE)
    out = np.zeros((len(clips), *shape), dtype=np.int16 if recipe.audio == "wave" else np.uint8)
    heard = np.flatnonzero(clips >= 0)
    if not len(heard):
        return out
    words = [takes[used[i].path] for i in clips[heard]]
    under = [noises[pool[int(share * len(pool))]] for share in drawn[heard, 0]] if recipe.noise else []
    low, high = recipe.snr
    waves = _sounds.mixed(words, under, drawn[heard, 1], low + (high - low) * drawn[heard, 2])
    if recipe.audio == "wave":
        out[heard] = np.rint(waves.clip(-1, 1) * 32767)
    else:
        levels = log_mels(waves, _sounds.RATE, bands=SIDE, frames=SIDE, n_fft=N_FFT, floor_db=FLOOR_DB, loud=True)
        out[heard] = np.rint((levels - FLOOR_DB) / STEP_DB).clip(0, 255)
    return out
