"""How firm a word is: how often a run with as many other seeds would give it again, by what the row kept.

Nothing is trained. Outcomes of n seeds with means x̄ and covariance S say where the truth may lie, and the next n seeds
scatter around that in turn. With the usual flat prior on mean and log spread, a draw of the next ones is

    y_i = x̄ + s (w_0 / √n + w_i),   w ~ N(0, S),   s² = (n - 1) / χ²(n - 1),

whose mean is √2 times as far from x̄ as a bootstrap of the seeds would put it: the bootstrap takes x̄ for the truth and
promises too much. The share of draws with the same word is the probability of its replication (Goodman 1992,
doi:10.1002/sim.4780110705). One s for all comparisons of a row, and normal outcomes, are ours.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from .ledger import Row, measured_of
from .measured import Measured, word_of
from .steps import NEEDS, Step

DRAWS = 400  # by which a share is known to 2.5 %, one standard error at most (ours)


def again(measured: Measured, rng: np.random.Generator, draws: int = DRAWS) -> Counter[str]:
    """The words that runs with as many other seeds would give, and how often each of them; "needs" without its what.

    Args:
        measured: with the outcomes of each seed.
        rng: of the draws.
        draws: how many runs.
    """
    return Counter(plain_word(word_of(run)) for run in _runs(measured, rng, draws))


def firmness(row: Mapping[str, Any], draws: int = DRAWS, seed: int = 0) -> tuple[float, str] | None:
    """The share of other runs that would give a row's word again, and the word they give most often instead.

    Args:
        row: of a ledger.
        draws: runs.
        seed: of the draws; each row has its own from it.

    Returns:
        (share in [0, 1], the other word or ""); None for a theorem, and for a row that kept no outcomes.
    """
    if not any(step.get("outcomes") for step in row["steps"]):
        return None
    rng = np.random.default_rng([seed, zlib.crc32(row["id"].encode())])
    said, word = again(measured_of(row), rng, draws), plain_word(row["verdict"])
    share = said.pop(word, 0) / draws
    return share, said.most_common(1)[0][0] if said else ""


def with_firmness(row: Row) -> Row:
    """The row with ``again``, the share of other runs that would give its word; without it where nothing is known."""
    found = firmness(row)
    rest = {k: v for k, v in row.items() if k != "again"}
    return rest if found is None else {**rest, "again": round(found[0], 3)}


def agreeing(shares: Sequence[float], level: float = 0.95) -> tuple[float, int, int]:
    """How many of some words are expected again: the mean, and the central range that holds ``level`` of all draws.

    Args:
        shares: of each word, in [0, 1]; the words turn independently of each other.
        level: of the range.
    """
    chances = np.ones(1)
    for share in shares:
        chances = np.convolve(chances, [1 - share, share])
    below, edge = np.cumsum(chances), (1 - level) / 2
    low, high = (int(np.searchsorted(below, at - 1e-12)) for at in (edge, 1 - edge))
    return float(np.sum(shares)), low, min(high, len(shares))


def plain_word(verdict: str) -> str:
    """The word alone: "needs" without what it needs."""
    return NEEDS if verdict.startswith(NEEDS) else verdict


def _runs(measured: Measured, rng: np.random.Generator, draws: int) -> Iterator[Measured]:
    """Runs with other seeds, drawn for all comparisons alike; those that lost seeds are drawn by themselves."""
    parts = (measured.steps, measured.controls, measured.readings)
    columns: dict[int, list[tuple[float, ...]]] = {}
    for step in chain(*parts):
        columns.setdefault(step.n, []).extend(_columns(step))
    for _ in range(draws):
        drawn = {n: iter(_others(np.array(held).T, rng)) for n, held in columns.items() if n > 1 and held}
        steps, controls, readings = (tuple(_step(s, drawn) for s in part) for part in parts)
        yield replace(measured, steps=steps, controls=controls, readings=readings)


def _others(outcomes: np.ndarray, rng: np.random.Generator) -> list[tuple[float, ...]]:
    """Outcomes (n, k) of as many other seeds, as k columns."""
    n, mean = len(outcomes), outcomes.mean(0)
    scale = (1 / rng.chisquare(n - 1)) ** 0.5  # s / √(n - 1), which makes of w' (x - x̄) a draw of s N(0, S)
    weights = rng.standard_normal((n, n)) + rng.standard_normal(n) / n**0.5
    return [tuple(column) for column in (mean + scale * weights @ (outcomes - mean)).T.tolist()]


def _columns(step: Step) -> list[tuple[float, ...]]:
    return [values for values in (step.outcomes, step.below) if values]


def _step(step: Step, drawn: Mapping[int, Iterator[tuple[float, ...]]]) -> Step:
    """The step with the outcomes of other seeds; one without any stays."""
    if not step.outcomes or step.n not in drawn:
        return step
    outcomes = next(drawn[step.n])
    return replace(step, outcomes=outcomes, below=next(drawn[step.n]) if step.below else ())
