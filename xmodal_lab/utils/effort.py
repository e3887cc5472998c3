"""A word before work that grows with the square of the points, so that nobody waits in front of a silent cell."""

from __future__ import annotations

import warnings

# Pairs of points that one core goes over in a second, within a factor of some three (ours, measured).
PAIRS_A_SECOND = 5e7
# From here on it is told before it starts (ours).
LONG_SECONDS = 60.0


def tell_if_long(what: str, pairs: float, way_out: str, stacklevel: int = 3) -> None:
    """Warn, before it starts, of work that takes a core more than about a minute.

    Args:
        what: the work, such as "the MMD of 200000 and 200000 points".
        pairs: how many pairs of points it goes over, counting each time.
        way_out: what to do instead.
        stacklevel: as of ``warnings.warn``, seen from the caller.

    Warns:
        UserWarning: it is long.
    """
    seconds = pairs / PAIRS_A_SECOND
    if seconds < LONG_SECONDS:
        return
    long = f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"
    warnings.warn(
        f"{what} goes over {pairs:.2g} pairs of points, which takes one core some {long}; {way_out}.",
        stacklevel=stacklevel + 1,
    )
