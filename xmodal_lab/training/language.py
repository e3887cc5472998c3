"""A small language model of this project's own sentences, for where no pretrained one is at hand."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import sentences as texts
from ..utils import checks as check
from ..utils.torch_state import seeded
from .loop import train

WIDTH, LAYERS, HEADS = 64, 2, 4  # (ours)
STEPS, BATCH, LR, HIDDEN_SHARE = 400, 32, 2e-3, 0.25  # (ours; BERT hides 15 %, here sentences are short)


def corpus() -> tuple[str, ...]:
    """Every sentence of the two worlds."""
    worlds = (texts.sentences(world, kind) for world in texts.CLASSES for kind in texts.KINDS)
    return tuple(line for groups in worlds for group in groups for line in group)


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, int]:
    """Words -> numbers; 0 padding, 1 hidden."""
    words = sorted({word for line in corpus() for word in _words(line)})
    return {word: i for i, word in enumerate(("<pad>", "<hidden>", *words))}


def tokens(lines: tuple[str, ...]) -> Tensor:
    """(n, L) word numbers, padded with 0."""
    rows = [torch.tensor([vocabulary()[word] for word in _words(line)]) for line in lines]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


@lru_cache(maxsize=2)
def small_model(trained: bool = True, steps: int = STEPS) -> Any:
    """A BERT of two layers, trained here to fill in hidden words (about ten seconds); or as initialised."""
    from transformers import BertConfig, BertForMaskedLM

    with seeded(0):
        config = BertConfig(
            vocab_size=len(vocabulary()), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            intermediate_size=2 * WIDTH, max_position_embeddings=128, pad_token_id=0, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        model = BertForMaskedLM(config)
        if trained:
            lines = tokens(corpus())

            def filled_in(step: int) -> Tensor:
                x = lines[torch.randint(len(lines), (BATCH,))]
                hidden = (torch.rand(x.shape) < HIDDEN_SHARE) & (x > 0)
                given = torch.where(hidden, 1, x)
                loss: Tensor = model(given, attention_mask=(x > 0).long(), labels=torch.where(hidden, x, -100)).loss
                return loss

            train(torch.optim.AdamW(model.parameters(), LR), filled_in, steps)
    return model.bert.eval()


@lru_cache(maxsize=8)
def embedded(world: str, kind: str) -> tuple[Tensor, Tensor]:
    """Sentence vectors (n, 128) of the small model and their classes: mean over words, centred, of unit length."""
    groups = texts.sentences(world, kind)
    x = tokens(tuple(line for group in groups for line in group))
    mask = (x > 0).long()
    model = small_model()  # trained here, with gradients
    with torch.no_grad():
        states = model(x, attention_mask=mask).last_hidden_state
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    mean = torch.nn.functional.pad(mean, (0, texts.DIMENSIONS - mean.shape[1]))
    labels = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([len(g) for g in groups]))
    return torch.nn.functional.normalize(mean - mean.mean(0), dim=1), labels


def pretrained(name: str | Path = "") -> Any:
    """The transformer of a language model: a local folder or a hub name of a BERT or GPT-2; else the small one.

    Raises:
        ValueError: nothing there, or a model that takes no embeddings.
    """
    if not str(name):
        return small_model()
    from transformers import AutoModel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of heads that the checkpoint has and we do not need
            model = AutoModel.from_pretrained(str(name))
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(
            f"there is no language model at {str(name)!r} ({first}); give a local folder with config.json and weights, "
            "a hub name while online, or nothing for the small model trained here."
        ) from None
    check.one_of("kind of language model", getattr(model.config, "model_type", "unknown"), ("bert", "gpt2"))
    return model.eval()


def _words(line: str) -> list[str]:
    return re.findall(r"[a-z]+", line.lower())
