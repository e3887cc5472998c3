"""One tower: a transformer that reads the tokens of all modalities as one sequence.

    [cls; tokens_1; tokens_2; …]  →  one transformer  →  [H_cls; H_1; H_2; …]      (wma Eq 1-3)

    >>> import xmodal_lab as xl
    >>> ds = xl.one_tower.with_tokens(xl.load("shapes", n_train=30, n_test=20))  # captions as token ids
    >>> tower = xl.one_tower.OneTower.for_dataset(ds, ("image", "text"))
    >>> tower(ds.test.inputs).shape  # logits, as any net of the lab
    torch.Size([20, 6])
    >>> tower.hidden(ds.test.inputs).tokens["image"].shape  # what transport compares
    torch.Size([20, 16, 32])

Between embedding and transformer lies a seam, :class:`Tokens`: noise, missing modalities and
masks act there. :class:`ViltTower` gives the same seam to ``transformers``' ViLT.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..data.samples import Dataset, Samples
from ..utils import checks as check
from ..utils.memory import out_of_memory
from ..utils.random import seed_of
from ..utils.torch_state import seeded
from .cutting import frames_of, groups_of, patch_of, steps_of
from .encoders import sizes
from .tokens import Hidden as Hidden
from .tokens import Tokens as Tokens
from .tokens import alone
from .vilt import ViltTower as ViltTower
from .words import sentence_ids

# What `with_tokens` looks for in the latents of a split, and where it says how many ids there are.
IDS = "{}:tokens"
SIZES = "token_ids"
# Where it says what the ids stand for that it made of sentences.
WORDS = "token_words"


class Patches(nn.Module):
    """Square patches of a picture, each through one linear map: (N, C, H, W) → (N, HW/s², d).

    ``shape`` (C, H, W), ``width`` d, ``size`` s of a patch's side; with ``pad``, pictures that s does not divide get
    zeros at the right and below.
    """

    def __init__(self, shape: Sequence[int], width: int, size: int, pad: bool = False) -> None:
        super().__init__()
        channels, height, across = _three(shape)
        size, width = check.integer("size", size, at_least=1), check.integer("width", width, at_least=1)
        below, beside = -height % size, -across % size
        if not check.instance("pad", pad, bool) and (below or beside):
            raise ValueError(
                f"pictures of {height}x{across} do not split into patches of {size}x{size}; choose a divisor."
            )
        self.size, self.more = size, (0, beside, 0, below)
        self.count = ((height + below) // size) * ((across + beside) // size)
        self.linear = nn.Linear(channels * size * size, width)
        padded = f", padded to {height + below}x{across + beside}" if below or beside else ""
        self.said = f"{self.count} patches of {size}x{size}{padded}"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded patches, row by row, and their mask (all are there)."""
        s = self.size
        x = x[:, None] if x.ndim == 3 else x  # grey, without an axis for it
        x = nn.functional.pad(x, self.more) if any(self.more) else x
        n, c, h, w = x.shape
        cut = x.reshape(n, c, h // s, s, w // s, s).permute(0, 2, 4, 1, 3, 5).reshape(n, self.count, c * s * s)
        return self.linear(cut), x.new_ones(n, self.count, dtype=torch.bool)


class Frames(nn.Module):
    """Slices of a spectrogram along time, each through one linear map: (N, C, bands, frames) → (N, frames/s, d).

    ``shape`` (C, bands, frames), ``width`` d, ``size`` s: frames of a slice; with ``pad``, sounds that s does not
    divide end with zeros. A wave (N, samples) is read as one band.
    """

    def __init__(self, shape: Sequence[int], width: int, size: int, pad: bool = False) -> None:
        super().__init__()
        channels, bands, frames = _three(shape)
        size, width = check.integer("size", size, at_least=1), check.integer("width", width, at_least=1)
        self.more = -frames % size
        if not check.instance("pad", pad, bool) and self.more:
            raise ValueError(f"{frames} frames do not split into slices of {size}; choose a divisor.")
        self.size, self.count = size, (frames + self.more) // size
        self.linear = nn.Linear(channels * bands * size, width)
        padded = f", padded to {frames + self.more}" if self.more else ""
        self.said = f"{self.count} slices of {size} {'samples' if bands == 1 else 'frames'}{padded}"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded slices in order of time, and their mask (all are there)."""
        x = x[:, None, None] if x.ndim == 2 else x
        x = nn.functional.pad(x, (0, self.more)) if self.more else x
        n, c, bands, _ = x.shape
        cut = x.reshape(n, c, bands, self.count, self.size).permute(0, 3, 1, 2, 4).reshape(n, self.count, -1)
        return self.linear(cut), x.new_ones(n, self.count, dtype=torch.bool)


class Words(nn.Module):
    """Token ids through a table: (N, L) whole numbers, 0 for padding → (N, L, d).

    ``length`` L, ``ids`` in the table, ``width`` d.
    """

    def __init__(self, length: int, ids: int, width: int) -> None:
        super().__init__()
        self.count = check.integer("length", length, at_least=1)
        self.said = f"{length} ids of {ids}"
        self.table = nn.Embedding(check.integer("ids", ids, at_least=1), check.integer("width", width, at_least=1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded words, and which of them are no padding."""
        ids = x.long()
        return self.table(ids), ids > 0


class Sequences(nn.Module):
    """Tokens that come as features, each through one linear map: (N, L, f) → (N, L/s, d); rows of zeros are padding.

    ``shape`` (L, f), ``width`` d, ``size`` s: steps in one token; zeros follow where it does not divide L.
    """

    def __init__(self, shape: Sequence[int], width: int, size: int = 1) -> None:
        super().__init__()
        shape = sizes("shape", shape)
        if len(shape) != 2:
            raise ValueError(f"sequences have shape (L, f) per sample, got {tuple(shape)}.")
        self.size = check.integer("size", size, at_least=1)
        self.more = -shape[0] % self.size
        self.count = (shape[0] + self.more) // self.size
        self.linear = nn.Linear(shape[1] * self.size, check.integer("width", width, at_least=1))
        self.said = f"{self.count} tokens" + (f" of {size} steps each" if size > 1 else "")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded tokens, and which of them are no padding."""
        if self.size > 1:
            x = nn.functional.pad(x, (0, 0, 0, self.more)).reshape(len(x), self.count, -1)
        return self.linear(x), (x != 0).any(-1)


class Features(nn.Module):
    """Groups of neighbouring features as tokens, each through a map of its own: (N, f) → (N, f/s, d).

    Features have no common meaning, as patches have, so none share a map (Gorishniy et al. 2021, arXiv:2106.11959, with
    groups of one).

    ``length`` f, ``width`` d, ``size`` s: features of a group; zeros follow where it does not divide f.
    """

    def __init__(self, length: int, width: int, size: int = 1) -> None:
        super().__init__()
        length, width = check.integer("length", length, at_least=1), check.integer("width", width, at_least=1)
        self.size = check.integer("size", size, at_least=1)
        self.more = -length % self.size
        self.count = (length + self.more) // self.size
        bound = 1 / math.sqrt(self.size)  # as nn.Linear begins
        self.weight = nn.Parameter(torch.empty(self.count, self.size, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(self.count, width).uniform_(-bound, bound))
        self.said = f"{self.count} groups of {size} feature{'s' if size > 1 else ''}"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded groups in order, and their mask (all are there)."""
        x = nn.functional.pad(x, (0, self.more)) if self.more else x
        cut = x.reshape(len(x), self.count, self.size)
        return torch.einsum("nks,ksd->nkd", cut, self.weight) + self.bias, cut.new_ones(cut.shape[:2], dtype=torch.bool)


class Block(nn.Module):
    """Pre-norm transformer block, as in ViLT; plain products, since fused attention has no second derivative.

    ``width`` d, a multiple of ``heads``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        width, heads = check.integer("width", width, at_least=1), check.integer("heads", heads, at_least=1)
        if width % heads:
            raise ValueError(f"width {width} is no multiple of {heads} heads.")
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, unseen: Tensor) -> Tensor:
        """Tokens (N, L, d) → (N, L, d); ``unseen`` (N, 1, 1, L) is added to the scores, very negative at padding."""
        q, k, v = self.mix(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2) + unseen
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        grown: Tensor = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return grown


class OneTower(nn.Module):
    """A small one-tower transformer; ``net({"image": …, "text": …})`` → logits (N, C).

    Args:
        readers: modality -> module from its input to (embedded tokens (N, L, d), mask (N, L)), with ``count`` = L.
        width: d of every token.
        outputs: C of the head, which reads the class token (wma Eq 4).
        layers, heads: of the transformer.

    Raises:
        ValueError: no modality, a width that the heads do not divide.
    """

    def __init__(
        self, readers: Mapping[str, nn.Module], width: int, outputs: int, layers: int = 2, heads: int = 2
    ) -> None:
        super().__init__()
        if not check.mapping("readers", readers, "modules"):
            raise ValueError("a tower needs at least one modality, got none.")
        for m, reader in readers.items():
            check.instance("the name of a modality", m, str)
            if not isinstance(reader, nn.Module) or not hasattr(reader, "count"):
                raise TypeError(f"readers[{m!r}] must be a module with a count of tokens, got {type(reader).__name__}.")
        width, outputs = check.integer("width", width, at_least=1), check.integer("outputs", outputs, at_least=1)
        layers, heads = check.integer("layers", layers, at_least=1), check.integer("heads", heads, at_least=1)
        if width % heads:
            raise ValueError(f"width {width} is no multiple of {heads} heads.")
        self.readers = nn.ModuleDict(readers)
        self.cls = nn.Parameter(0.1 * torch.randn(1, 1, width))
        counts: dict[str, Any] = {m: reader.count for m, reader in readers.items()}
        self.position = nn.ParameterDict({m: nn.Parameter(0.1 * torch.randn(n, width)) for m, n in counts.items()})
        self.origin = nn.ParameterDict({m: nn.Parameter(0.1 * torch.randn(width)) for m in readers})
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order of the sequence."""
        return tuple(self.readers)

    def embed(self, inputs: Mapping[str, Tensor], modalities: Sequence[str] | None = None) -> Tokens:
        """Embedded tokens: content + position + type of modality (wma Eq 1, 2).

        ``modalities`` are those that enter the sequence; all of the tower's when not given.

        Raises:
            ValueError: a modality is not among the inputs.
        """
        values, masks = {}, {}
        for m in check.modalities_of(modalities, self.modalities):
            reader = self.readers[m]
            if m not in check.mapping("inputs", inputs, "tensors"):
                raise ValueError(f"inputs lack {m!r}, which the tower reads; they hold {list(inputs)}.")
            x = check.instance(f"inputs[{m!r}]", inputs[m], Tensor)
            try:
                content, masks[m] = reader(x)
                values[m] = content + self.position[m] + self.origin[m]
            except Exception as error:
                if out_of_memory(error):
                    raise
                raise ValueError(
                    f"inputs[{m!r}], {x.dtype} {tuple(x.shape)} on {x.device}, do not fit the tower's "
                    f"{type(reader).__name__} reader: {error}"
                ) from error
        n = len(next(iter(values.values())))
        if any(len(v) != n for v in values.values()):
            raise ValueError(f"the inputs differ in rows: { {m: len(v) for m, v in values.items()} }.")
        return Tokens(values, masks, self.cls.expand(n, -1, -1))

    def run(self, tokens: Tokens) -> Hidden:
        """The transformer on embedded tokens (wma Eq 3)."""
        x, mask = tokens.sequence()
        unseen = torch.zeros(mask.shape, dtype=x.dtype, device=x.device).masked_fill(~mask, -1e9)[:, None, None]
        for block in self.blocks:
            x = block(x, unseen)
        x = self.norm(x)
        return tokens.split(x, x[:, 0])

    def hidden(self, inputs: Mapping[str, Tensor]) -> Hidden:
        """Output tokens by modality, and the class token, of ``inputs`` by modality."""
        return self.run(self.embed(inputs))

    def latents(self, inputs: Mapping[str, Tensor]) -> Hidden:
        """Output tokens of the modalities among ``inputs``, which alone enter the sequence."""
        known = [m for m in self.modalities if m in check.mapping("inputs", inputs, "tensors")]
        if not known:
            raise ValueError(f"inputs hold none of {', '.join(self.modalities)}; they hold {list(inputs)}.")
        return self.run(self.embed(inputs, known))

    def classify(self, hidden: Hidden, only: str | None = None) -> Tensor:
        """Logits (N, C) from the class token of ``hidden`` (wma Eq 4).

        ``only`` says that the sequence held this modality alone; attention has mixed the others in otherwise.

        Raises:
            ValueError: ``only`` is given, and ``hidden`` comes from a sequence of more than that modality.
        """
        alone(hidden, only)
        logits: Tensor = self.head(hidden.cls)
        return logits

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits (N, C)."""
        return self.classify(self.hidden(inputs))

    @classmethod
    def for_dataset(
        cls,
        dataset: Dataset,
        modalities: str | Sequence[str] | None = None,
        *,
        width: int = 32,
        layers: int = 2,
        heads: int = 2,
        patch: int = 8,
        frames: int = 4,
        outputs: int | None = None,
        seed: int = 0,
    ) -> OneTower:
        """A small tower that fits ``dataset``.

        Args:
            dataset: gives shapes and kinds: pictures (C, H, W) are cut into patches, sounds (C, bands, frames) or waves
                into slices of time, vectors into groups of features; (L, f) are tokens already, and token ids are
                those of kind "tokens" or of :func:`with_tokens`.
            modalities: which, in which order; all of them when not given.
            width, layers, heads: 32, 2, 2 (ours: a cell of a sweep takes seconds).
            patch, frames: pixels along a patch, frames in a slice (8, 4; ours: 16 patches, 8 slices on ``shapes``); 0
                chooses for each modality, for some 16 to 64 tokens, and pads where no divisor is near.
            outputs: C; ``dataset.outputs`` when not given.
            seed: of the initial weights.

        Returns:
            The tower, untrained, on the CPU.

        Raises:
            ValueError: a modality that has no tokens, sizes that do not divide, an unknown modality.
        """
        check.instance("dataset", dataset, Dataset, "the whole, such as xl.load('shapes'), not one split of it")
        names = check.modalities_of(modalities, dataset.modalities)
        patch, frames = check.integer("patch", patch, at_least=0), check.integer("frames", frames, at_least=0)
        width = check.integer("width", width, at_least=1)
        outputs = None if outputs is None else check.integer("outputs", outputs, at_least=1)
        if outputs is None:
            outputs = dataset.outputs
        with _seeded(seed):
            readers = {m: _reader(dataset, m, width, patch, frames) for m in names}
            return cls(readers, width, outputs, layers, heads)


def with_tokens(dataset: Dataset) -> Dataset:
    """The dataset with token ids in place of word counts, wherever its latents have ``"<modality>:tokens"``.

    So have texts that are one vector a row and keep their sentences in every split: of those the ids are made, see
    :func:`~xmodal_lab.models.words.sentence_ids`, and ``provenance["token_words"]`` says what they stand for. Ids
    become inputs (N, L) of int64, of kind "tokens", 0 for padding. A dataset without either comes back as it is.

    Raises:
        ValueError: ids that are no (N, L) whole numbers ≥ 0, or that not every split has.
    """
    check.instance("dataset", dataset, Dataset, "the whole, such as xl.load('shapes'), not one split of it")
    given = [m for m in dataset.modalities if IDS.format(m) in (dataset.train.latents or {})]
    made = {m: sentence_ids(_sentences(dataset, m)) for m in dataset.modalities if m not in given and _says(dataset, m)}
    if not given and not made:
        return dataset
    ids = {m: {k: _ids(s, m, k) for k, s in dataset.splits.items()} for m in given}
    ids |= {m: found for m, (found, _) in made.items()}
    sizes = {m: max(int(x.max()) for x in each.values()) + 1 for m, each in ids.items()}
    sizes |= {m: len(table) for m, (_, table) in made.items()}
    longest = {m: max(x.shape[-1] for x in each.values()) for m, each in ids.items()}

    def told(split: str, samples: Samples) -> Samples:
        inputs = dict(samples.inputs)
        for m, each in ids.items():
            more = longest[m] - each[split].shape[-1]
            inputs[m] = nn.functional.pad(each[split], (0, more)).to(inputs[m].device)
        return replace(samples, inputs=inputs, kinds={**samples.kinds, **dict.fromkeys(ids, "tokens")})

    splits: dict[str, Any] = {k: told(k, s) for k, s in dataset.splits.items()}
    if "vocabulary" in dataset.provenance and len(given) == 1:
        sizes[given[0]] = max(sizes[given[0]], len(dataset.provenance["vocabulary"]))
    facts = {**dataset.provenance, SIZES: sizes}
    if made:
        facts[WORDS] = {m: table for m, (_, table) in made.items()}
    return replace(dataset, **splits, kinds={**dataset.kinds, **dict.fromkeys(ids, "tokens")}, provenance=facts)


def _says(dataset: Dataset, m: str) -> bool:
    """Whether a modality is one vector for a sentence that every split keeps."""
    told = all(len(s.strings.get(m, ())) == len(s) for s in dataset.splits.values())
    return dataset.kinds[m] == "text" and len(dataset.shapes[m]) == 1 and told


def _sentences(dataset: Dataset, m: str) -> dict[str, tuple[str, ...]]:
    return {k: tuple(s.strings[m]) for k, s in dataset.splits.items()}


def _ids(samples: Samples, m: str, split: str) -> Tensor:
    ids = (samples.latents or {}).get(IDS.format(m))
    if ids is None or ids.ndim != 2 or ids.is_floating_point() or int(ids.min()) < 0:
        raise ValueError(
            f"latents[{IDS.format(m)!r}] of the {split} split must be (N, L) whole numbers ≥ 0, 0 for padding, "
            f"got {None if ids is None else (ids.dtype, tuple(ids.shape))}."
        )
    return ids


def _reader(dataset: Dataset, m: str, width: int, patch: int, frames: int) -> nn.Module:
    """The reader of one modality; sizes of 0 are chosen, and what they do not divide is padded."""
    shape, ids = dataset.shapes[m], {**dataset.vocabulary, **dataset.provenance.get(SIZES, {})}
    kind = dataset.kinds[m]
    if m in ids:
        return Words(shape[0], ids[m], width)
    if kind == "audio" and len(shape) in (1, 3):
        sound = shape if len(shape) == 3 else (1, 1, *shape)
        return Frames(sound, width, frames or frames_of(sound), pad=not frames)
    if len(shape) == 3 or (kind == "image" and len(shape) == 2):
        picture = shape if len(shape) == 3 else (1, *shape)
        return Patches(picture, width, patch or patch_of(picture), pad=not patch)
    if len(shape) == 2:
        return Sequences(shape, width, 1 if frames else steps_of(shape))
    if len(shape) > 3:
        raise ValueError(
            f"modality {m!r} has {len(shape)} sizes per sample, {'x'.join(map(str, shape))}, and no reader cuts that "
            "into tokens; give (N, L, f) token features."
        )
    if IDS.format(m) in (dataset.train.latents or {}):
        raise ValueError(
            f"modality {m!r} is one vector of {shape[0]} numbers per sample and has token ids beside it; use "
            "one_tower.with_tokens(dataset)."
        )
    return Features(shape[0], width, groups_of(shape[0]))


def _three(shape: Sequence[int]) -> tuple[int, int, int]:
    found = sizes("shape", shape)
    if len(found) != 3:
        raise ValueError(f"samples must have three sizes, (channels, height, width), got {found}.")
    return found


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from ``seed``, leaving the global generator as it was."""
    check.integer("seed", seed, at_least=0)
    with seeded(seed_of(seed, "tower")):
        yield
