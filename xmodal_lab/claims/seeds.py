"""How many seeds each row gets: fixed beforehand, by what a seed costs, and never by what was seen.

A row that is measured again until it says something says it too often; so n stands here, before any run. Twenty seeds
see an effect of 0.66 standard deviations with 80 % power, ten 1.0, five 1.7, forty 0.45, sixty 0.37 (``statistics.detectable``).

The rule is one for all rows. What rows share (a sweep, a baseline) is divided among them, and what is left caps n by the
table. A row that sees its printed effect (or its margin) with 80 % power on fewer seeds, by the spread of earlier ones,
may stay with fewer: a word is firm where the effect is within sight, and the ledger has an hour.

A row that moves to another class after its outcome was seen begins at :data:`LATER`, or at :data:`POWERED`, with seeds
that nobody has looked at: more seeds added to those that were seen would be a look and a second try.
"""

from __future__ import annotations

from ..utils import checks as check

# Cost of one seed of a row on one core -> seeds, by budget. "full" is for a machine of one's own, or a GPU.
SEEDS = {
    "two seconds": {"quick": 60, "full": 120},  # up to about 2 s
    "five seconds": {"quick": 40, "full": 80},  # up to about 5 s
    "seconds": {"quick": 20, "full": 40},  # up to about 10 s
    "half a minute": {"quick": 10, "full": 20},  # up to about 30 s
    "minutes": {"quick": 5, "full": 10},
}
COSTS = tuple(SEEDS)
LATER = 2000  # first seed of rows whose class, hence n, was changed after a look at other seeds
POWERED = 5000  # likewise, of rows that got more because they saw less than the printed effect
FRESH = 1000  # first of the seeds that no row of the shipped ledger uses, for a check of its words


def seeds_of(cost: str, budget: str = "quick", first: int = 0) -> tuple[int, ...]:
    """The seeds of a row: 0, 1, … or from ``first`` on.

    Args:
        cost: one of :data:`COSTS`.
        budget: "quick" or "full".
        first: the first seed.

    Raises:
        ValueError: an unknown cost or budget.

    Example:
        >>> from xmodal_lab.claims.seeds import seeds_of
        >>> len(seeds_of("seconds")), seeds_of("minutes", first=100)
        (20, (100, 101, 102, 103, 104))
    """
    table = SEEDS[check.one_of("cost", cost, COSTS)]
    count = table[check.one_of("budget", budget, tuple(table))]
    return tuple(range(first, first + count))
