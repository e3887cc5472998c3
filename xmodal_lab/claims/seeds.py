"""How many seeds each row gets: fixed beforehand, by what a seed costs, and never by what was seen.

A row that is measured again until it says something says it too often; so n stands here, before any run. Twenty seeds
see an effect of 0.66 standard deviations with 80 % power, ten 1.0, five 1.7, sixty 0.37 (``statistics.detectable``).

The rule is one for all rows: what rows share (a sweep, a baseline) is divided among them, and every row of such a cost
gets that many. A row that moves to another class after its outcome was seen begins at :data:`LATER` (or, where it moved
later still, :data:`LATEST`), with seeds that nobody has looked at: more seeds added to those that were seen would be a
look and a second try.
"""

from __future__ import annotations

from ..utils import checks as check

# Cost of one seed of a row on one core -> seeds, by budget. "full" is for a machine of one's own, or a GPU.
SEEDS = {
    "two seconds": {"quick": 60, "full": 120},  # up to about 2 s
    "seconds": {"quick": 20, "full": 40},  # up to about 10 s
    "half a minute": {"quick": 10, "full": 20},  # up to about 30 s
    "minutes": {"quick": 5, "full": 10},
}
COSTS = tuple(SEEDS)
LATER = 2000  # first seed of rows whose class, hence n, was changed after a look at other seeds
LATEST = 5000  # likewise, of rows that moved after LATER's seeds and their checks were in use
# Seconds that a seed of each cost takes at most.
SECONDS = {"two seconds": 2.0, "seconds": 10.0, "half a minute": 30.0, "minutes": float("inf")}
TRIED = 9000  # first of the seeds on which it is tried what one costs; no row uses them
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


def counts_of(seconds: float, budget: str = "quick") -> tuple[int, ...]:
    """The number of seeds of a row of which one takes so many seconds, and the smaller ones, most first.

    Args:
        seconds: of a core, per seed.
        budget: "quick" or "full".

    Example:
        >>> from xmodal_lab.claims.seeds import counts_of
        >>> counts_of(7.0), counts_of(90.0)
        ((20, 10, 5), (5,))
    """
    return tuple(SEEDS[cost][budget] for cost in COSTS if SECONDS[cost] >= seconds)
