"""A drawn world whose causes are known: a picture, a tone and a caption of the same thing.

    Z* = (shared; image-only; audio-only; text-only)

| shared latent | picture | tone    | caption  |
|---------------|---------|---------|----------|
| shape (6)     | outline | timbre  | a noun   |
| color (5)     | hue     | pitch   | a colour |
| texture (3)   | pattern | rhythm  | a word   |
| size (3)      | extent  | loudness| a word   |

Image-only: place, rotation, background, light. Audio-only: detuning, phase, decay.
Text-only: the sentence around the words. The user says which shared latents each modality
sees and how strongly, what the label depends on, and how much noise there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch

from ....utils import checks as check
from ...samples import Dataset, Samples
from . import rendering as render

SHARED: dict[str, tuple[str, ...]] = {
    "shape": render.SHAPES,
    "color": render.COLORS,
    "texture": render.TEXTURES,
    "size": render.SIZES,
}
MODALITIES = ("image", "audio", "text")
IMAGE_NOISE = 0.08  # WORLDS: at .15 the stripes hide the shape
HUES = np.array([[0, 3], [1, 2]])  # red, yellow: warm; green, blue: cool


def load_shapes(
    n_train: int = 1200,
    n_test: int = 600,
    n_val: int = 300,
    *,
    label: str | Sequence[str] = ("shape",),
    sees: Mapping[str, Mapping[str, float]] | None = None,
    xor_share: float = 1.0,
    image_noise: float = IMAGE_NOISE,
    audio_noise: float = 0.5,
    word_drop: float = 0.2,
    modalities: str | Sequence[str] = MODALITIES,
    seed: int = 0,
) -> Dataset:
    """Draw the world.

    Args:
        n_train, n_test, n_val: samples of each split (ours); n_val = 0 for no validation split.
        label: shared latents whose product is the class, such as ("shape", "color") for 30 classes;
            or "xor": two classes, told by a bit of the picture (``image_bit``: a dark or a light
            background) and a bit of the tone (``audio_bit``: slow or fast decay) together: same or
            different. No caption tells either bit.
        sees: modality -> shared latent -> strength in [0, 1], the chance that the modality shows the
            true latent and not one drawn independently. What is not named is 1; every modality sees
            every shared latent when ``sees`` is not given.
        xor_share: for label "xor", the share of samples in which nothing else tells the label. In the
            others (latent ``cued``) the colour tells it too, warm for same and cool for different. So
            the best guess from one modality is right in a share of 1 - xor_share / 2, that from
            picture and tone together always (dml's Assumption 2 breaks as the share grows).
        image_noise: sd of Gaussian noise on pixels in about [0, 1] (0.08).
        audio_noise: sd of Gaussian noise on the log-mel, whose own sd is about 1 (0.5).
        word_drop: chance that the caption leaves a word out (0.2).
        modalities: which of "image", "audio", "text" to render.
        seed: of everything; each split has its own stream.

    Returns:
        A Dataset with inputs image (N, 3, 32, 32), audio (N, 1, 32, 32) log-mel, text (N, V) word counts
        scaled to unit norm; latents: all of Z*, what each modality showed as ``"image:shape"`` where a
        strength is below 1, and token ids ``"text:tokens"`` (N, L), 0 for padding, into
        ``provenance["vocabulary"]``; strings: the captions.

    Raises:
        ValueError: an unknown latent or modality, a strength or share outside [0, 1], negative noise.
    """
    for name, size, least in (("n_train", n_train, 1), ("n_test", n_test, 1), ("n_val", n_val, 0), ("seed", seed, 0)):
        check.integer(name, size, at_least=least)
    check.non_negative("image_noise", image_noise)
    check.non_negative("audio_noise", audio_noise)
    check.share("word_drop", word_drop)
    check.share("xor_share", xor_share)
    names = check.modalities_of(modalities, MODALITIES)
    strengths = _strengths(sees)
    parts = ("xor",) if label == "xor" else _label_parts(label)
    noise = {"image": image_noise, "audio": audio_noise, "text": word_drop}

    def split(n: int, stream: int) -> Samples:
        z, labels = _draw(n, parts, xor_share, np.random.default_rng([seed, stream]))
        latents = dict(z)
        inputs, strings = {}, {}
        for m in names:
            # A stream for each modality, so that leaving one out changes nothing in the others.
            rng = np.random.default_rng([seed, stream, 1 + MODALITIES.index(m)])
            shown = _shown(z, strengths[m], rng)
            latents |= {f"{m}:{k}": v for k, v in shown.items() if strengths[m][k] < 1}
            if m == "text":
                captions, tokens = render.captions({**z, **shown}, noise[m], rng)
                view = render.bag_of_words(tokens)
                latents["text:tokens"] = tokens
                strings["text"] = tuple(captions)
            else:
                draw = render.images if m == "image" else render.tones
                view = draw({**z, **shown})
                view += noise[m] * rng.standard_normal(view.shape, dtype=np.float32)
            inputs[m] = torch.from_numpy(view)
        return Samples(
            inputs,
            torch.from_numpy(labels),
            latents={
                k: torch.from_numpy(v if v.dtype.kind in "ib" else v.astype(np.float32)) for k, v in latents.items()
            },
            strings=strings,
        )

    options = {
        "label": list(parts), "sees": strengths, "xor_share": xor_share, "image_noise": image_noise,
        "audio_noise": audio_noise, "word_drop": word_drop, "modalities": names,
        "n_train": n_train, "n_test": n_test, "n_val": n_val,
    }  # fmt: skip
    return Dataset(
        "shapes",
        split(n_train, 0),
        split(n_test, 1),
        classes("xor" if parts == ("xor",) else parts),
        val=split(n_val, 2) if n_val else None,
        provenance={
            "source": "drawn by this project",
            "licence": "BSD-3-Clause",
            "seed": seed,
            "options": options,
            "vocabulary": render.VOCABULARY,
            "range": {"image": [0.0, 1.0]},  # without the noise that image_noise adds
        },
    )


def classes(label: str | Sequence[str]) -> tuple[str, ...]:
    """Names of the classes for a label: the product of the values of its latents."""
    if label == "xor":
        return ("same", "different")
    return tuple(" ".join(values) for values in product(*(SHARED[part] for part in _label_parts(label))))


def _label_parts(label: str | Sequence[str]) -> tuple[str, ...]:
    parts = (label,) if isinstance(label, str) else tuple(label)
    if not parts:
        raise ValueError(f"the label depends on nothing; name latents out of {', '.join(SHARED)}, or 'xor'.")
    for part in parts:
        check.one_of("latent in the label", part, [*SHARED, "xor"] if len(parts) == 1 else SHARED)
    if len(set(parts)) != len(parts):
        raise ValueError(f"the label names a latent twice: {parts}.")
    # captions say colour before shape, so that classes read as phrases
    return tuple(sorted(parts, key=("size", "color", "texture", "shape").index))


def _strengths(sees: Mapping[str, Mapping[str, float]] | None) -> dict[str, dict[str, float]]:
    strengths = {m: dict.fromkeys(SHARED, 1.0) for m in MODALITIES}
    for m, by_latent in (sees or {}).items():
        check.one_of("modality in `sees`", m, MODALITIES)
        for latent, strength in by_latent.items():
            check.one_of(f"latent in sees[{m!r}]", latent, SHARED)
            strengths[m][latent] = check.share(f"sees[{m!r}][{latent!r}]", strength)
    return strengths


def _draw(
    n: int, label: tuple[str, ...], xor_share: float, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All latents, and the label they make."""
    z: dict[str, np.ndarray] = {k: rng.integers(0, len(values), n) for k, values in SHARED.items()}
    bit = rng.integers(0, 2, (2, n))
    z |= {"image_bit": bit[0], "audio_bit": bit[1]}
    cued, hue = rng.random(n) >= xor_share, rng.integers(0, 2, n)
    if label == ("xor",):
        labels = bit[0] ^ bit[1]
        z["color"] = np.where(cued, HUES[labels, hue], z["color"])
        z["cued"] = cued
    else:
        labels = np.zeros(n, dtype=np.int64)
        for part in label:
            labels = labels * len(SHARED[part]) + z[part]
    z |= {
        "place": rng.uniform(-0.3, 0.3, (n, 2)), "rotation": rng.uniform(-0.5, 0.5, n),
        "background": rng.uniform(0.05, 0.2, n) + 0.3 * z["image_bit"], "light": rng.standard_normal(n),
        "detuning": rng.standard_normal(n), "phase": rng.uniform(0, 1, n),
        "decay": rng.uniform(0.1, 0.4, n) + 1.0 * z["audio_bit"],
        "opening": rng.integers(0, len(render.OPENINGS), n), "ending": rng.integers(0, len(render.ENDINGS), n),
    }  # fmt: skip
    return z, labels.astype(np.int64)


def _shown(
    z: Mapping[str, np.ndarray], strengths: Mapping[str, float], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The shared latents as one modality shows them: true with the chance ``strength``, else drawn anew."""
    shown = {}
    for latent, values in SHARED.items():
        other = rng.integers(0, len(values), len(z[latent]))
        shown[latent] = np.where(rng.random(len(other)) < strengths[latent], z[latent], other)
    return shown
