"""Sentences about the classes of the two worlds, and their vectors.

Three granularities, as in Fig 31: the bare ``name``, ``captions`` that name the class, and ``descriptions`` that
say more of it; and ``unrelated`` sentences about animals, one animal per class. ``code`` is an invented name that
tells nothing, ``coded`` a description under it: what a description adds where the name does not say all. No sentence
belongs to an image.

The vectors of a sentence encoder are shipped; word counts, character counts and a small language model trained on
these sentences are made here.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ..utils.factors import leading_axes
from .datasets.made import shipped as files
from .datasets.made.rendering import COLORS, SHAPES, SIZES, TEXTURES

KINDS = ("name", "caption", "description", "unrelated")
# A name that says nothing of its class, and descriptions under it; for encoders that only count.
CODED = ("code", "coded")
ENCODERS = ("minilm", "words", "letters")
PER_CLASS = 16  # sentences of each class (ours)
DIMENSIONS = 128  # of every text vector, by principal components (ours)

TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy")
UNITS = ("four", "five", "six", "seven", "eight", "nine")
NUMBERS = tuple(f"{a}-{b}" for a, b in product(TENS, UNITS))
FIGURES = tuple(f"{color} {shape}" for color, shape in product(COLORS, SHAPES))  # the order of the shapes world
CLASSES = {"numbers": NUMBERS, "shapes": FIGURES}

CODES = tuple(
    a + b for a, b in product(("bax", "kef", "lim", "mog", "nuz", "zyr"), ("ad", "eb", "ik", "ol", "up", "ys"))
)

_ANIMALS = (
    "cat", "dog", "horse", "trout", "eagle", "ant", "cow", "goat", "whale", "mouse", "frog", "spider", "tiger",
    "sheep", "rabbit", "camel", "otter", "crow", "salmon", "bee", "lizard", "panda", "wolf", "deer", "penguin",
    "shark", "turtle", "zebra", "monkey", "donkey", "squid", "owl", "beaver", "moth", "badger", "hamster",
)  # fmt: skip
_FRAMES = {
    "numbers": (
        "the number {}", "there are {} of them", "she counted to {}", "page {} of the book", "he is {} years old",
        "room {} is on the left", "a handwritten {}", "the bus line {}", "it costs {} coins", "the answer is {}",
        "chapter {} was long", "wait {} minutes", "the house has number {}", "they won {} games",
        "about {} people came", "{} written in ink",
    ),
    "shapes": (
        "a photo of a {}", "there is a {}", "an image showing a {}", "I can see a {}", "this is a {}",
        "a drawing of a {}", "a {} on a quiet day", "a {} in the picture", "a {} of the usual kind",
        "somebody drew a {}",
        "look at the {}", "one {} on a dark ground", "the {} again", "a picture with a {}", "a {} as I remember it",
        "only a {} and nothing else",
    ),
    "unrelated": (
        "a photo of a {}", "there is a {}", "I can see a {}", "this is a {}", "a {} slept by the river",
        "the old {} was hungry", "a {} crossed the road", "my neighbour keeps a {}", "the {} ran away",
        "a drawing of a {}", "they found a {} in the wood", "a {} on a quiet day", "the {} and its young",
        "a small {} at night", "nobody fed the {}", "the {} looked at us",
    ),
}  # fmt: skip
_OF_SHAPE = (
    "round with no corners, like a coin", "with four equal sides, like a tile", "with three corners, like a roof",
    "made of two crossing bars, like a plus sign", "hollow in the middle, like a doughnut",
    "with five points, like a starfish",
)  # fmt: skip
_OF_COLOR = (
    "the colour of blood and tomatoes", "the colour of grass and leaves", "the colour of the sky and the sea",
    "the colour of lemons and the sun", "the colour of violets and plums",
)  # fmt: skip


@lru_cache(maxsize=16)
def sentences(world: str, kind: str) -> tuple[tuple[str, ...], ...]:
    """For each class its sentences: one for "name" and "code", :data:`PER_CLASS` else."""
    rng = np.random.default_rng([(*KINDS, *CODED).index(kind), len(CLASSES[world])])
    found: list[tuple[str, ...]] = []
    for c, name in enumerate(CLASSES[world]):
        if kind in ("name", "code"):
            found.append((name if kind == "name" else CODES[c],))
        elif kind == "unrelated":
            found.append(tuple(frame.format(_ANIMALS[c]) for frame in _FRAMES["unrelated"]))
        else:
            found.append(tuple(_sentence(world, kind, c, frame, rng) for frame in _FRAMES[world]))
    return tuple(found)


def _sentence(world: str, kind: str, c: int, frame: str, rng: np.random.Generator) -> str:
    if world == "numbers":
        if kind == "caption":
            return frame.format(NUMBERS[c])
        ten, unit = TENS[c // len(UNITS)], UNITS[c % len(UNITS)]
        more = (f"it starts like {ten} and ends in {unit}", f"{ten} and {unit} more", f"{unit} above {ten}")
        called = CODES[c] if kind == "coded" else NUMBERS[c]
        return f"{frame.format(called)}, {more[rng.integers(len(more))]}"
    color, shape = divmod(c, len(SHAPES))
    size, texture = SIZES[rng.integers(len(SIZES))], TEXTURES[rng.integers(len(TEXTURES))]
    told = (CODES[c],) if kind == "coded" else (COLORS[color], SHAPES[shape])
    words = [size, *told[:-1], *([] if texture == "plain" else [texture]), told[-1]]
    caption = frame.format(" ".join(words))
    return caption if kind == "caption" else f"{caption}, {_OF_SHAPE[shape]}, {_OF_COLOR[color]}"


def words_per_text(world: str, kind: str) -> float:
    """Mean number of words of a sentence; "forty-two" counts as one."""
    lines = [line for group in sentences(world, kind) for line in group]
    return float(np.mean([len(line.split()) for line in lines]))


@lru_cache(maxsize=32)
def vectors(world: str, kind: str, encoder: str = "minilm") -> tuple[Tensor, Tensor]:
    """Vectors (n, 128) and their classes (n,): centred, of unit length, as few-shot heads want them (ours).

    Raises:
        ValueError: the shipped vectors belong to other sentences; none are shipped of sentences with invented names.
    """
    if kind in CODED and encoder == "minilm":
        raise ValueError(f"no vectors of {kind!r} sentences are shipped; choose encoder 'words' or 'letters'.")
    groups = sentences(world, kind)
    lines = [line for group in groups for line in group]
    labels = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([len(g) for g in groups]))
    if encoder == "minilm":
        stored = files.arrays("uml_texts")
        if str(stored[f"{world}_{kind}_sha256"]) != fingerprint(lines):
            raise ValueError(
                "the sentences were changed, their vectors were not; run scripts/embed_uml_texts.py again."
            )
        raw = torch.from_numpy(stored[f"{world}_{kind}"].astype(np.float32))
    else:
        raw = counted(lines, encoder)
    centred = raw - raw.mean(0)
    return torch.nn.functional.normalize(centred, dim=1), labels


def counted(lines: list[str], encoder: str) -> Tensor:
    """Counts of words, or of runs of two to four letters, on their leading principal components."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    options = {"analyzer": "char_wb", "ngram_range": (2, 4)} if encoder == "letters" else {"token_pattern": r"[a-z]+"}
    counts = TfidfVectorizer(**options).fit_transform(lines).toarray().astype(np.float32)
    return compressed(torch.from_numpy(counts))


def compressed(raw: Tensor, dimensions: int = DIMENSIONS) -> Tensor:
    """(n, d) → (n, dimensions): leading components, not centred; zeros are added where there are fewer."""
    kept = (raw.double() @ leading_axes(raw, dimensions)).to(raw)
    return torch.nn.functional.pad(kept, (0, dimensions - kept.shape[1]))


def fingerprint(lines: list[str]) -> str:
    """Of sentences, so that vectors of others are refused."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
