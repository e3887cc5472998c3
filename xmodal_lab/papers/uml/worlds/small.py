"""The two worlds with compositional classes, as banks of embeddings that were never paired.

- ``numbers``: 36 two-digit numbers. A picture is two real handwritten digits side by side, a sound two spoken digits,
  a sentence says "forty-two". Real data, no download.
- ``shapes``: 30 shape × colour classes of the drawn world, through small frozen encoders that are shipped.

Banks are drawn once; a seed chooses the k-shot samples among them. Pictures, sounds and sentences of a class come
from separate draws, so no row of one belongs to a row of another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from ....data import sentences as texts
from ....data.datasets.made import shipped as files
from ....data.datasets.made.digits import load_digits
from ....data.datasets.made.shapes import load_shapes
from ....data.unpaired import Unpaired, unpaired
from ....models.encoders import ConvEncoder
from ....training.loop import train
from ....utils import checks as check
from ....utils.factors import principal_components
from ....utils.torch_state import seeded

WORLDS = ("numbers", "shapes")
WIDTH = 64  # of the small encoders' features (ours)
POOL, VAL, TEST = 24, 4, 30  # of each class: training pool, validation (paper: min(k, 4)), test (ours)
ENCODERS = {"numbers": ("pixels", "trained", "random", "raw"), "shapes": ("trained", "pixels", "random", "aligned")}
COUNTING = ("words", "letters")  # text encoders that read any word
SHIFTS = ("noise", "faint", "covered")

Pair = tuple[Tensor, Tensor]


def world(name: str = "numbers", encoder: str = "pixels", text_encoder: str = "minilm", shift: str = "") -> Unpaired:
    """A world's embeddings: "image", "audio" (64 to 128 wide), and the texts "name", "caption", "description" (128).

    Args:
        name: "numbers" (36 classes) or "shapes" (30).
        encoder: of pictures and sounds. "trained": a small net that learnt the factors (digits; shape, colour,
            texture, size) from other samples; "pixels": principal components; "random": an untrained net;
            "raw" (numbers): the pixels, for an encoder of your own;
            "aligned" (shapes): a contrastive pair of picture and caption encoders, trained on other samples.
        shift: of the test pictures, before they are encoded: "noise" (Gaussian, half their spread), "faint" (half the
            contrast), "covered" (a quarter of each picture is blank); none by default.
        text_encoder: "minilm", "words", "letters" (see ``texts``), or "lm": the small model of ``transfer``.

    Returns:
        Modalities image, audio, name, caption, description, unrelated, with validation and test for the first two;
        with "words" and "letters" also code and coded, an invented name and descriptions under it.

    Raises:
        ValueError: an unknown world or encoder.
    """
    check.one_of("world", name, WORLDS)
    check.one_of(f"encoder of {name}", encoder, ENCODERS[name])
    check.one_of("text encoder", text_encoder, (*texts.ENCODERS, "lm"))
    check.one_of("shift", shift, ("", *SHIFTS))
    return _made(name, encoder, text_encoder, shift)


@lru_cache(maxsize=16)
def _made(name: str, encoder: str, text_encoder: str, shift: str) -> Unpaired:
    pictures = _numbers(encoder, shift) if name == "numbers" else _shapes(encoder, shift)
    kinds = (*texts.KINDS, *(texts.CODED if text_encoder in COUNTING else ()))
    train = pictures["train"] | {kind: _text(name, kind, encoder, text_encoder) for kind in kinds}
    return unpaired(train, pictures["test"], pictures["val"], texts.CLASSES[name], scale=False)


def small_encoder(shape: tuple[int, ...]) -> nn.Module:
    """The convolutional encoder of the shapes world, without its last ReLU."""
    return nn.Sequential(*list(ConvEncoder(shape, WIDTH))[:-1])


def shipped_encoder(name: str) -> nn.Module:
    """A trained encoder of the shapes world: image_attributes, audio_attributes, image_aligned, text_aligned."""
    stored = files.arrays("uml_encoders")
    shape = {"image": (3, 32, 32), "audio": (1, 32, 32)}.get(name.split("_")[0])
    module = nn.Linear(texts.DIMENSIONS, WIDTH) if shape is None else small_encoder(shape)
    state = {k.removeprefix(f"{name}."): v for k, v in stored.items() if k.startswith(f"{name}.")}
    module.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in state.items()})
    return module.eval()


def _text(name: str, kind: str, encoder: str, text_encoder: str) -> Pair:
    if text_encoder == "lm":
        from ....training.language import embedded

        return embedded(name, kind)
    x, y = texts.vectors(name, kind, text_encoder)
    if encoder == "aligned":
        with torch.no_grad():
            x = shipped_encoder("text_aligned")(x)
        x = torch.nn.functional.normalize(x - x.mean(0), dim=1)
    return x, y


# -- numbers -----------------------------------------------------------------------------------------


def _numbers(encoder: str, shift: str) -> dict[str, dict[str, Pair]]:
    """Pictures and sounds of two digits, put together from single ones that only their split uses."""
    found: dict[str, dict[str, Pair]] = {"train": {}, "val": {}, "test": {}}
    for stream, modality in enumerate(("image", "audio")):
        singles = _singles(modality)
        encode = digit_encoder(modality, encoder)
        for split, size in (("train", POOL), ("val", VAL), ("test", TEST)):
            draw = np.random.default_rng([stream, ("train", "val", "test").index(split)])
            x, y = singles[split]
            of = [np.flatnonzero(y.numpy() == d) for d in range(10)]
            tens = np.concatenate([draw.choice(of[2 + c // 6], size) for c in range(36)])
            units = np.concatenate([draw.choice(of[4 + c % 6], size) for c in range(36)])
            z = encode(shifted(x, shift) if (split, modality) == ("test", "image") else x)
            labels = torch.arange(36).repeat_interleave(size)
            found[split][modality] = (torch.cat([z[tens], z[units]], 1), labels)
    if encoder == "raw":
        return found
    return {split: _standardized(parts, found["train"]) for split, parts in found.items()}


@lru_cache(maxsize=2)
def _singles(modality: str) -> dict[str, Pair]:
    """Single digits: "encoder" for training one, and the parts that numbers are put together from."""
    options = {"images_per_class": 90, "val_per_class": 20, "test_per_class": 60, "image_energy": None}
    digits = load_digits(modalities=(modality,), clips_per_class=160, **options)  # type: ignore[arg-type]
    whole = {s: (part.inputs[modality], part.labels) for s, part in digits.splits.items()}
    x, y = whole["train"]
    half = torch.arange(len(y)) % 2 == 0
    return {"encoder": (x[half], y[half]), "train": (x[~half], y[~half]), "val": whole["val"], "test": whole["test"]}


@lru_cache(maxsize=8)
def digit_encoder(modality: str, encoder: str) -> Callable[[Tensor], Tensor]:
    """What makes features (n, d) of single digits."""
    x, _ = _singles(modality)["encoder"]
    if encoder == "raw":
        return lambda z: z.flatten(1)
    if encoder == "pixels":
        return principal_components(x, WIDTH // 2)
    module = digit_net(modality, encoder)

    def encode(z: Tensor) -> Tensor:
        with torch.no_grad():
            return module(z)

    return encode


@lru_cache(maxsize=4)
def digit_net(modality: str, encoder: str = "trained") -> nn.Sequential:
    """A small net for single digits, (n, 1, s, s) → (n, 32): trained to tell them, or as it was initialised."""
    x, y = _singles(modality)["encoder"]
    with seeded(0):
        body = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 64), nn.ReLU(), nn.Linear(64, WIDTH // 2))
        head = nn.Linear(WIDTH // 2, 10).double()
        body.double()  # trained in float64, where Adam makes nothing of rounding
        if encoder == "trained":

            def loss_at(step: int) -> Tensor:
                rows = torch.randint(len(y), (128,))
                noisy = x[rows] + 0.3 * torch.randn_like(x[rows])
                return nn.functional.cross_entropy(head(body(noisy.double()).relu()), y[rows], label_smoothing=0.1)

            params = [*body.parameters(), *head.parameters()]
            train(torch.optim.AdamW(params, 2e-3, weight_decay=1e-2), loss_at, 300)
    return body.float().eval().requires_grad_(False)


# -- shapes ------------------------------------------------------------------------------------------


def _shapes(encoder: str, shift: str) -> dict[str, dict[str, Pair]]:
    samples = _drawn()
    splits: dict[str, dict[str, Pair]] = {"train": {}, "val": {}, "test": {}}
    for modality in ("image", "audio"):
        encode = frozen_encoder(modality, encoder, samples["train"][modality][0])
        for split, parts in samples.items():
            x, y = parts[modality]
            x = shifted(x, shift) if (split, modality) == ("test", "image") else x
            with torch.no_grad():
                splits[split][modality] = (torch.cat([encode(p) for p in x.split(512)]), y)
    return {split: _standardized(parts, splits["train"]) for split, parts in splits.items()}


@lru_cache(maxsize=1)
def _drawn() -> dict[str, dict[str, Pair]]:
    """Pictures and tones of different samples, so many of each class."""
    splits: dict[str, dict[str, Pair]] = {"train": {}, "val": {}, "test": {}}
    for seed, modality in enumerate(("image", "audio")):
        options = {"label": ("shape", "color"), "modalities": (modality,), "seed": 2000 + seed}
        whole = load_shapes(30 * POOL * 2, 30 * TEST, 30 * VAL * 4, **options)  # type: ignore[arg-type]
        for split, size in (("train", POOL), ("val", VAL), ("test", None)):
            x, y = whole.splits[split].inputs[modality], whole.splits[split].labels
            rows = torch.arange(len(y))
            if size is not None:
                order = torch.argsort(y, stable=True)
                count = torch.bincount(y)
                rank = torch.arange(len(y)) - (count.cumsum(0) - count)[y[order]]
                rows = order[rank < size]
            splits[split][modality] = (x[rows], y[rows])
    return splits


def frozen_encoder(modality: str, encoder: str, x: Tensor) -> Callable[[Tensor], Tensor]:
    """What makes features (n, 64) of the drawn world's pictures or sounds; "pixels" of any, from the training inputs.

    Args:
        modality: "image" or "audio".
        encoder: as in :func:`world`.
        x: (N, ...) training inputs.
    """
    if encoder == "pixels":
        return principal_components(x, WIDTH)
    if encoder == "random":
        with seeded(0):
            return small_encoder(tuple(x.shape[1:])).eval()
    kind = "aligned" if encoder == "aligned" and modality == "image" else "attributes"
    return shipped_encoder(f"{modality}_{kind}")


def shifted(x: Tensor, shift: str) -> Tensor:
    """Pictures (n, c, s, s) under a change that training never saw."""
    if shift == "noise":
        return x + 0.5 * x.std() * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    if shift == "faint":
        return x.mean() + 0.5 * (x - x.mean())
    if shift == "covered":
        half, covered = x.shape[-1] // 2, x.clone()
        covered[..., :half, :half] = x.amin()
        return covered
    return x


def _standardized(parts: dict[str, Pair], train: dict[str, Pair]) -> dict[str, Pair]:
    return {m: (standardizer(train[m][0])(x), y) for m, (x, y) in parts.items()}


def standardizer(train: Tensor) -> Callable[[Tensor], Tensor]:
    """Every column centred and scaled by the training pool, divided by √d: vectors of length about 1."""
    mean, sd = train.mean(0), train.std(0) + 1e-6
    return lambda x: (x - mean) / sd / x.shape[1] ** 0.5
