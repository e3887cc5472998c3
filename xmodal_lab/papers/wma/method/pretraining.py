"""Before fine-tuning: a tower that has learned to fill in masked words, as ViLT has (Kim et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ....data.samples import Dataset, Samples
from ....models.one_tower import SIZES, OneTower
from ....models.tokens import Tokens
from ....training.loop import FUSED, train, warmed_up
from ....utils.torch_state import seeded

LR, WEIGHT_DECAY, WARMUP, BATCH = 2e-3, 0.01, 50, 32  # ours
HIDDEN = 0.5  # share of words that are masked (ours; captions are short)


def masked_words(tower: OneTower, samples: Samples, word: str, ids: int, steps: int, seed: int = 0) -> OneTower:
    """Train ``tower`` in place to guess masked words of modality ``word`` from the rest; returns it.

    A masked word keeps its place and type and loses its content. The word head is thrown away.

    Args:
        tower: changed in place.
        samples: labels are not looked at.
        word: the modality with token ids.
        ids: how many there are.
        steps: of AdamW; 0 leaves the tower as it is.
        seed: of batches, masks and the word head.
    """
    draw = torch.Generator().manual_seed(seed)
    with seeded(seed):
        guess = nn.Linear(tower.head.in_features, ids)
    where = tower.head.weight.device
    guess, samples = guess.to(where), samples.to(where)
    adam = torch.optim.AdamW(
        [*tower.parameters(), *guess.parameters()],
        LR,
        weight_decay=WEIGHT_DECAY,
        fused=where.type in FUSED,
    )

    def guessed(step: int) -> Tensor | None:
        rows = torch.randint(0, len(samples), (min(BATCH, len(samples)),), generator=draw).to(where)
        inputs = {m: samples.inputs[m][rows] for m in tower.modalities}
        tokens = tower.embed(inputs)
        drawn = torch.rand(tokens.masks[word].shape, generator=draw, dtype=torch.float32)
        hidden = tokens.masks[word] & (drawn < HIDDEN).to(where)
        if not bool(hidden.any()):
            return None  # no word of the batch is hidden
        empty = tower.position[word] + tower.origin[word]
        values = {**tokens.values, word: torch.where(hidden[..., None], empty, tokens.values[word])}
        out = tower.run(Tokens(values, tokens.masks, tokens.special)).tokens[word][hidden]
        return nn.functional.cross_entropy(guess(out), inputs[word].long()[hidden])

    train(adam, guessed, steps, rate=warmed_up(LR, steps, WARMUP))
    return tower


def word_modality(tower: OneTower, dataset: Dataset) -> tuple[str, int] | None:
    """The first modality of the tower that has token ids, and how many; None where there is none."""
    sizes = {**dataset.vocabulary, **dataset.provenance.get(SIZES, {})}
    return next(((m, sizes[m]) for m in tower.modalities if m in sizes), None)
