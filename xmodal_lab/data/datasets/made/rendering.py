"""How the shapes world looks, sounds and reads: latents in, arrays out, whole batches at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

SHAPES = ("circle", "square", "triangle", "cross", "ring", "star")
COLORS = ("red", "green", "blue", "yellow", "purple")
TEXTURES = ("plain", "striped", "dotted")
SIZES = ("small", "medium", "large")
OPENINGS = ("a photo of a", "there is a", "an image showing a", "I can see a", "this is a", "a drawing of a")
ENDINGS = ("", "on a quiet day", "in the picture", "as I remember it", "of the usual kind")
VAGUE = ("shape", "figure", "thing")

SIDE = 32
RGB = np.array([[0.85, 0.2, 0.2], [0.2, 0.7, 0.3], [0.2, 0.35, 0.85], [0.9, 0.8, 0.2], [0.6, 0.25, 0.7]])
RADII = np.array([0.38, 0.5, 0.62])  # of small, medium, large; the picture reaches from -1 to 1
# Strength of six harmonics, one row per shape: what makes a timbre.
_K = np.arange(1, 7)
TIMBRES = np.stack(
    [
        1 / _K**2,
        (_K % 2) / _K,
        1 / _K,
        np.exp(-0.5 * ((_K - 3) / 0.8) ** 2),
        0.8 * np.array([1, 0, 1, 0, 0, 1]),
        _K * 0 + 0.5,
    ]
)
PULSES = np.array([1, 2, 4])  # beats per second, one per texture

Latents = Mapping[str, np.ndarray]


def images(z: Latents) -> np.ndarray:
    """Pictures (N, 3, 32, 32) float32, about 0 to 1, without noise."""
    axis = (np.arange(SIDE, dtype=np.float32) + 0.5) / (SIDE / 2) - 1
    place = z["place"].astype(np.float32)
    x = axis[None, None, :] - place[:, 0, None, None]
    y = axis[None, :, None] - place[:, 1, None, None]
    turn = z["rotation"].astype(np.float32)[:, None, None]
    x, y = np.cos(turn) * x + np.sin(turn) * y, -np.sin(turn) * x + np.cos(turn) * y
    radius = RADII[z["size"]].astype(np.float32)[:, None, None]
    distance = np.empty_like(x)
    for k in range(len(SHAPES)):
        rows = z["shape"] == k
        distance[rows] = _distance(k, x[rows], y[rows], radius[rows])
    inside = (1 / (1 + np.exp(np.clip(24 * distance, -30, 30))))[:, None]
    pattern = np.ones_like(x)
    striped, dotted = z["texture"] == 1, z["texture"] == 2
    pattern[striped] = 0.55 + 0.45 * np.sign(np.sin(18 * x[striped]))
    holes = (np.mod(5 * x[dotted], 1) - 0.5) ** 2 + (np.mod(5 * y[dotted], 1) - 0.5) ** 2
    pattern[dotted] = 0.45 + 0.55 * (holes > 0.08)
    hue = (RGB[z["color"]] * (1 + 0.15 * z["light"][:, None])).astype(np.float32)[:, :, None, None]
    backdrop = z["background"].astype(np.float32)[:, None, None, None]
    picture: np.ndarray = backdrop * (1 - inside) + hue * (pattern[:, None] * inside)
    return picture


def _distance(shape: int, x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Signed distance to the outline, below 0 inside."""
    if shape == 0:
        return np.hypot(x, y) - r
    if shape == 1:
        return np.maximum(abs(x), abs(y)) - 0.85 * r
    if shape == 2:
        sides = (0.5 * y + 0.75**0.5 * x, 0.5 * y - 0.75**0.5 * x, -y)
        return np.maximum.reduce(sides) - 0.55 * r
    if shape == 3:
        upright = np.maximum(abs(x) - 0.3 * r, abs(y) - r)
        return np.minimum(upright, np.maximum(abs(y) - 0.3 * r, abs(x) - r))
    if shape == 4:
        return abs(np.hypot(x, y) - 0.75 * r) - 0.22 * r
    return np.hypot(x, y) - r * (0.7 + 0.3 * np.cos(5 * np.arctan2(y, x)))


def tones(z: Latents) -> np.ndarray:
    """Log-mel spectrograms (N, 1, 32 bands, 32 frames) float32 of one second, sd about 1, without noise."""
    bands = np.arange(SIDE)[None, None, :]
    frames = np.arange(SIDE)[None, :]
    pitch = 3 + 2.2 * z["color"] + 0.5 * z["detuning"]
    partials = pitch[:, None] + 9 * np.log2(_K)[None]  # nine bands to the octave
    peaks = np.exp(-0.5 * ((bands - partials[:, :, None]) / 0.8) ** 2)
    spectrum = np.einsum("nk,nkb->nb", TIMBRES[z["shape"]], peaks)
    beat = np.mod(frames * PULSES[z["texture"]][:, None] / SIDE + z["phase"][:, None], 1)
    envelope = np.exp(-4 * z["decay"][:, None] * beat)
    loudness = np.exp(0.8 * (z["size"] - 1.0))[:, None, None]
    log_mel = np.log(1e-2 + loudness * spectrum[:, :, None] * envelope[:, None, :])
    scaled: np.ndarray = ((log_mel + 2.5) / 1.5)[:, None]
    return scaled.astype(np.float32)


def captions(z: Latents, drop: float, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Sentences, and their token ids (N, L) with 0 for padding; each telling word is dropped with chance ``drop``."""
    n = len(z["shape"])
    kept = rng.random((4, n)) >= drop
    vague = rng.integers(0, len(VAGUE), n)
    sentences = []
    for i in range(n):
        words = [OPENINGS[z["opening"][i]]]
        if kept[0, i]:
            words.append(SIZES[z["size"][i]])
        if kept[1, i]:
            words.append(COLORS[z["color"][i]])
        if kept[2, i] and z["texture"][i]:
            words.append(TEXTURES[z["texture"][i]])
        words.append(SHAPES[z["shape"][i]] if kept[3, i] else VAGUE[vague[i]])
        words.append(ENDINGS[z["ending"][i]])
        sentences.append(" ".join(w for w in words if w))
    ids = [[TOKEN[word] for word in sentence.split()] for sentence in sentences]
    tokens = np.zeros((n, LONGEST), dtype=np.int64)
    for i, row in enumerate(ids):
        tokens[i, : len(row)] = row
    return sentences, tokens


def bag_of_words(tokens: np.ndarray) -> np.ndarray:
    """Word counts (N, V) float32 scaled to unit norm; padding counts for nothing."""
    counts = np.zeros((len(tokens), len(VOCABULARY)), dtype=np.float32)
    rows = np.repeat(np.arange(len(tokens)), tokens.shape[1])
    np.add.at(counts, (rows, tokens.ravel()), 1.0)
    counts[:, 0] = 0
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def _vocabulary() -> tuple[str, ...]:
    phrases = [*OPENINGS, *ENDINGS, *SIZES, *COLORS, *TEXTURES, *SHAPES, *VAGUE]
    return ("<pad>", *dict.fromkeys(word for phrase in phrases for word in phrase.split()))


VOCABULARY = _vocabulary()
TOKEN = {word: i for i, word in enumerate(VOCABULARY)}
LONGEST = max(len(o.split()) for o in OPENINGS) + 4 + max(len(e.split()) for e in ENDINGS)
