"""Token ids of sentences: a small table of the words that training rows share, or of letters where they share none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

LONGEST = 40  # tokens of a sentence; what follows is cut off, as in ViLT (Kim et al. 2021, arXiv:2102.03334)
MOST = 4000  # entries of the table, the commonest (ours)
PADDING, UNKNOWN = 0, 1
_SHARED = 2  # training rows that a word must stand in: one that stands in a single row tells nothing of another
_WORD = re.compile(r"\w+|[^\w\s]")


def sentence_ids(sentences: Mapping[str, Sequence[str]]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Ids of the sentences of each split, by a table of what its training split says.

    A word (lower case; a mark is one too) that stands in fewer than two training rows is unknown, in training as well,
    so that the id of unknown words learns something. Where that leaves more than half of the training words unknown, as
    in a script without spaces, letters are the tokens instead. A sentence without any token is one unknown token.

    Args:
        sentences: split -> one sentence per row; the split "train" makes the table.

    Returns:
        Split -> (N, L) int64, 0 for padding, L at most :data:`LONGEST`; and the table: what each id stands for, "" and
        "?" being padding and unknown.

    Raises:
        KeyError: no split "train".

    Example:
        >>> from xmodal_lab.models.words import sentence_ids
        >>> ids, table = sentence_ids({"train": ["a red cat", "a red dog"], "test": ["a blue dog"]})
        >>> table
        ('', '?', 'a', 'red')
        >>> ids["test"].tolist()
        [[2, 1, 1]]
    """
    cut = {split: [_words(line) for line in lines] for split, lines in sentences.items()}
    known = _shared(cut["train"])
    all_words = [word for row in cut["train"] for word in row]
    if 2 * sum(word in known for word in all_words) < len(all_words):
        cut = {split: [_letters(line) for line in lines] for split, lines in sentences.items()}
        known = _shared(cut["train"])
    table = ("", "?", *known)
    number = {word: i for i, word in enumerate(table)}
    longest = max((len(row) for rows in cut.values() for row in rows), default=0) or 1
    ids = {}
    for split, rows in cut.items():
        told = torch.full((len(rows), longest), PADDING, dtype=torch.int64)
        for i, row in enumerate(rows):
            found = [number.get(word, UNKNOWN) for word in row] or [UNKNOWN]
            told[i, : len(found)] = torch.tensor(found)
        ids[split] = told
    return ids, table


def _words(line: str) -> list[str]:
    return _WORD.findall(line.lower())[:LONGEST]


def _letters(line: str) -> list[str]:
    return list("".join(line.lower().split()))[:LONGEST]


def _shared(rows: Iterable[Sequence[str]]) -> list[str]:
    """What stands in several rows, the commonest first, then by the alphabet."""
    counts = Counter(word for row in rows for word in set(row))
    shared = [word for word, n in counts.items() if n >= _SHARED]
    return sorted(shared, key=lambda word: (-counts[word], word))[: MOST - 2]
