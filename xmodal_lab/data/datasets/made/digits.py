"""``digits``: real handwriting, spoken digits and sentences that imply a digit.

Images are scikit-learn's 1797 handwritten digits (Alpaydin and Kaynak, UCI, CC BY 4.0).
Spoken digits were synthesised with espeak-ng by ``scripts/make_spoken_digits.py``, sentences
were written for this project and embedded by ``scripts/embed_sentences.py``.

The three were never recorded together. A "fixed pair" is drawn once from the seed, within a
class, as AVMNIST does it. Validation and test use images, voices and sentences that training
never meets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....utils import checks as check
from ...samples import Dataset, Samples
from . import shipped as files

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MODALITIES = ("image", "audio", "text")
VAL_PER_CLASS = 20  # (ours)
TEST_PER_CLASS = 80  # as many as there are test clips of each digit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
_Table = tuple[Ints, dict[str, Ints]]
_Statistics = dict[str, float]

_OPTION = {"image": "images_per_class", "audio": "clips_per_class", "text": "texts_per_class"}
_INDEX = {"image": "image_index", "audio": "clip_index", "text": "text_index"}
# Random streams besides one per modality: a change of one option leaves what the others draw alone.
_ORDER, _NOISE = 3, 4


def load_digits(
    *,
    modalities: str | Sequence[str] = MODALITIES,
    images_per_class: int = 25,
    clips_per_class: int = 160,
    texts_per_class: int = 24,
    val_per_class: int | None = None,
    test_per_class: int | None = None,
    image_energy: float | None = 0.25,
    audio_noise: float = 1.0,
    seed: int = 0,
) -> Dataset:
    """Ten digits, seen (1, 8, 8), heard (1, 32, 32) and read (384,).

    A class has as many training rows as its most frequent modality; ``present`` says which
    modalities a row has, and where it has several they are a fixed pair. Validation and test
    rows have all modalities; there the few sentences are repeated evenly. Every modality is
    shifted and scaled by the mean and standard deviation of its training inputs (one number
    each, in ``provenance["statistics"]``).

    Latents, -1 where absent: ``image_index`` (row in scikit-learn's table), ``clip_index``,
    ``voice`` (into ``provenance["recipe"]["voices"]``), ``pitch``, ``speed``, ``text_index``.

    Args:
        modalities: which of "image", "audio", "text".
        images_per_class: training images of each digit (25: WORLDS, world of dml).
        clips_per_class: training clips of each digit, from training voices (160: same).
        texts_per_class: training sentences of each digit.
        val_per_class: rows of each digit in the validation split, with voices of its own; 0 for no
            such split, None for 20, or fewer where there are fewer.
        test_per_class: rows of each digit in the test split; None for 80, or fewer where the
            training images leave fewer.
        image_energy: share of the variance that the images keep: reconstruction from the fewest
            leading principal components, fitted on the training images, that reach this share
            (0.25 as in AVMNIST, dml Sec 5); None leaves the images whole.
        audio_noise: standard deviation σ of Gaussian noise on the standardised spectrogram x,
            drawn once per clip: (x + σ ε) / sqrt(1 + σ²).
        seed: draws the splits of the images, the selection, the pairs, the noise and the order.

    Raises:
        ValueError: an unknown modality, more samples than there are, a share outside (0, 1],
            negative noise, a size of zero.
    """
    chosen = check.modalities_of(modalities, MODALITIES)
    seed = check.integer("seed", seed, at_least=0)
    noise = check.non_negative("audio_noise", audio_noise)
    if image_energy is not None:
        check.positive("image_energy", check.share("image_energy", image_energy))
    asked = {"image": images_per_class, "audio": clips_per_class, "text": texts_per_class}
    sizes = {m: check.integer(_OPTION[m], asked[m], at_least=1) for m in chosen}
    val_size = None if val_per_class is None else check.integer("val_per_class", val_per_class, at_least=0)
    test_size = None if test_per_class is None else check.integer("test_per_class", test_per_class, at_least=1)

    pools = {m: _pool(m, seed) for m in chosen}
    val_rows, test_rows = _sizes(sizes, val_size, test_size, pools)
    if "image" in pools:
        pools["image"] = _cut(pools["image"]["all"], sizes["image"], val_rows, test_rows)
    plan = {"train": (sizes, ()), "val": (dict.fromkeys(chosen, val_rows), chosen)}
    plan["test"] = (dict.fromkeys(chosen, test_rows), chosen)
    rows = {
        split: _rows(wanted, {m: pools[m][split] for m in chosen}, filled, [seed, _ORDER, i])
        for i, (split, (wanted, filled)) in enumerate(plan.items())
        if max(wanted.values())
    }

    values, statistics = {}, {}
    for m in chosen:
        column = rows["train"][1][m]
        values[m], statistics[m] = _values(m, np.unique(column[column >= 0]), image_energy, noise, seed)
    splits = {split: _samples(labels, positions, values) for split, (labels, positions) in rows.items()}
    return Dataset(
        name="digits",
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        classes=CLASSES,
        provenance={
            "source": {m: _SOURCES[m][0] for m in chosen},
            "licence": {m: _SOURCES[m][1] for m in chosen},
            "seed": seed,
            "options": {
                "modalities": chosen,
                **{_OPTION[m]: sizes[m] for m in chosen},
                "val_per_class": val_rows,
                "test_per_class": test_rows,
                "image_energy": image_energy,
                "audio_noise": noise,
            },
            "statistics": statistics,
            "range": {"image": [0.0, 1.0]},
            "recipe": files.recipe("spoken_digits") if "audio" in chosen else {},
        },
    )


_SOURCES = {
    "image": (
        "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, "
        "doi:10.24432/C50P49, as in sklearn.datasets.load_digits",
        "CC BY 4.0",
    ),
    "audio": ("synthesised with espeak-ng by scripts/make_spoken_digits.py", "BSD-3-Clause"),
    "text": (
        "written for this project; vectors from all-MiniLM-L6-v2 (Apache-2.0) by scripts/embed_sentences.py",
        "BSD-3-Clause",
    ),
}


# -- which samples: per modality and split, positions in the shipped arrays --------------------------


def _pool(modality: str, seed: int) -> dict[str, Ints]:
    """Split -> positions (10, n) in random order; images have one pool, "all", for all splits."""
    rng = np.random.default_rng([seed, MODALITIES.index(modality)])
    if modality == "image":
        digit = files.arrays("handwritten_digits")["digit"]
        split = np.full(len(digit), "all")
    elif modality == "audio":
        takes = files.arrays("spoken_digits")
        digit = takes["digit"]
        split = np.array([voice["split"] for voice in files.recipe("spoken_digits")["voices"]])[takes["voice"]]
    else:
        digit = files.arrays("number_sentences")["digit"]
        split = np.array([where for where, _ in _sentences()])
    pools = {}
    for name in np.unique(split):
        members = [rng.permutation(np.flatnonzero((split == name) & (digit == c))) for c in range(len(CLASSES))]
        fewest = min(map(len, members))
        pools[str(name)] = np.stack([m[:fewest] for m in members])
    return pools


def _sizes(
    train: Mapping[str, int], val: int | None, test: int | None, pools: Mapping[str, Mapping[str, Ints]]
) -> tuple[int, int]:
    """Rows per class of the validation and the test split; refuses sizes beyond what exists."""
    for m, size in train.items():
        if m != "image" and size > (there := pools[m]["train"].shape[1]):
            raise ValueError(f"{_OPTION[m]} must be at most {there}, what there is of each digit, got {size}.")
    images = pools["image"]["all"].shape[1] if "image" in pools else 0
    sizes = {}
    for split, asked, usual in (("val", val, VAL_PER_CLASS), ("test", test, TEST_PER_CLASS)):
        # A sentence may serve several rows, unless it is the only thing that a row has.
        counts = [pools[m][split].shape[1] for m in pools if m == "audio" or tuple(pools) == ("text",)]
        there = min(counts, default=images)
        sizes[split] = min(usual, there) if asked is None else asked
        if sizes[split] > there:
            raise ValueError(f"{split}_per_class must be at most {there}, what there is of each digit, got {asked}.")
    if images:
        if test is None:
            sizes["test"] = max(1, min(sizes["test"], images - train["image"] - sizes["val"]))
        needed = train["image"] + sizes["val"] + sizes["test"]
        if needed > images:
            raise ValueError(
                f"there are {images} images of each digit for all splits together, but images_per_class="
                f"{train['image']}, val_per_class={sizes['val']} and test_per_class={sizes['test']} need {needed}; "
                "make one of them smaller."
            )
    return sizes["val"], sizes["test"]


def _cut(images: Ints, train: int, val: int, test: int) -> dict[str, Ints]:
    """Disjoint parts of the image pool: test from the front, training from the back.

    So a smaller training set is a part of a larger one, and the test images stay the same.
    """
    return {"test": images[:, :test], "val": images[:, test : test + val], "train": images[:, ::-1][:, :train]}


def _rows(sizes: Mapping[str, int], pools: Mapping[str, Ints], filled: Sequence[str], order: Sequence[int]) -> _Table:
    """Labels (n,) and positions per modality (n,), -1 where a row lacks it, in random order.

    A class has as many rows as its largest size; a modality in ``filled`` is repeated evenly
    until each row has one.
    """
    n = max(sizes.values())
    columns: dict[str, Ints] = {}
    for m, size in sizes.items():
        pool = pools[m][:, :size]
        column = np.full((len(CLASSES), n), -1)
        if m in filled:
            column[:] = pool[:, np.arange(n) % pool.shape[1]]
        else:
            column[:, :size] = pool
        columns[m] = column.ravel()
    shuffled = np.random.default_rng(order).permutation(n * len(CLASSES))
    labels = np.repeat(np.arange(len(CLASSES)), n)[shuffled]
    return labels, {m: column[shuffled] for m, column in columns.items()}


# -- what they hold ----------------------------------------------------------------------------------


def _sentences() -> list[tuple[str, str]]:
    """(split, sentence) in the order of the shipped vectors."""
    texts = files.recipe("number_sentences")["sentences"]
    found = [(split, line) for splits in texts.values() for split, lines in splits.items() for line in lines]
    fingerprint = hashlib.sha256("\n".join(line for _, line in found).encode()).hexdigest()
    if fingerprint != str(files.arrays("number_sentences")["sha256"]):
        raise ValueError(
            "number_sentences.json was changed, its vectors were not; run scripts/embed_sentences.py again."
        )
    return found


def _values(modality: str, seen: Ints, energy: float | None, noise: float, seed: int) -> tuple[Tensor, _Statistics]:
    """All samples of a modality, standardised by those that training sees (``seen``)."""
    raw: Floats
    if modality == "image":
        raw = files.arrays("handwritten_digits")["images"].astype(np.float32)[:, None] * np.float32(1 / 16)
        if energy is not None:
            raw = _leading_components(raw, raw[seen], energy)
    elif modality == "audio":
        code = files.recipe("spoken_digits")["code"]
        raw = files.arrays("spoken_digits")["levels"].astype(np.float32)[:, None]
        raw = raw * code["step_db"] + code["floor_db"]
    else:
        raw = files.arrays("number_sentences")["vectors"].astype(np.float32)
    mean, sd = float(raw[seen].mean(dtype=np.float64)), float(raw[seen].std(dtype=np.float64))
    values = torch.from_numpy((raw - mean) / sd)
    if modality == "audio" and noise:
        drawn = np.random.default_rng([seed, _NOISE]).standard_normal(raw.shape, dtype=np.float32)
        values = (values + noise * torch.from_numpy(drawn)) / (1.0 + noise**2) ** 0.5
    return values, {"mean": mean, "sd": sd}


def _leading_components(images: Floats, train: Floats, energy: float) -> Floats:
    """Images rebuilt from the fewest principal components of ``train`` that hold this share of its variance."""
    flat, fitted = images.reshape(len(images), -1), train.reshape(len(train), -1)
    centre = fitted.mean(0)
    _, singular, axes = np.linalg.svd(fitted - centre, full_matrices=False)
    share = np.cumsum(singular**2) / np.sum(singular**2)
    kept = axes[: int(np.searchsorted(share, energy - 1e-6)) + 1]  # round-off must not ask for one more at 1.0
    rebuilt: Floats = centre + (flat - centre) @ kept.T @ kept
    return rebuilt.reshape(images.shape)


def _samples(labels: Ints, positions: Mapping[str, Ints], values: Mapping[str, Tensor]) -> Samples:
    """The rows that ``positions`` names."""
    inputs, present, latents = {}, {}, {}
    strings: dict[str, tuple[str, ...]] = {}
    for m, column in positions.items():
        index = torch.from_numpy(column)
        present[m] = index >= 0
        inputs[m] = values[m][index.clamp(min=0)]
        latents[_INDEX[m]] = index
        if m == "audio":
            takes = files.arrays("spoken_digits")
            for name in ("voice", "pitch", "speed"):
                latents[name] = torch.from_numpy(np.where(column >= 0, takes[name][column].astype(np.int64), -1))
        if m == "text":
            lines = [line for _, line in _sentences()]
            strings[m] = tuple(lines[i] if i >= 0 else "" for i in column.tolist())
    return Samples(inputs, torch.from_numpy(labels), present=present, latents=latents, strings=strings)
