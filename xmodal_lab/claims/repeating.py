"""Do the words repeat? A share of the rows again with seeds that no row of the ledger used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..utils import checks as check
from . import firm
from .claim import Claim, Conditions
from .firm import DRAWS
from .ledger import shipped, without_nan
from .measuring import Asked, chosen, table
from .seeds import FRESH
from .verdicts import NEEDS
from .working import measured

if TYPE_CHECKING:
    import pandas as pd

GOAL = 0.95  # share of words that agree, at least


def repeat(
    share: float = 0.1,
    *,
    ids: Asked = None,
    draw: int | None = None,
    first: int = FRESH,
    budget: str = "quick",
    store: str | Path | None = None,
    jobs: int = 1,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure a random share of the shipped rows again with other seeds, as many as the row has, and compare words.

    Rows of theorems use no seeds, and rows that need something say nothing: neither is drawn.

    Args:
        share: of the rows, in (0, 1]; at least one row is drawn.
        ids: from which claims; all by default.
        draw: which rows; the same number draws the same ones. By default others each time.
        first: the first seed; the rows of the ledger begin at 0.
        budget, store, jobs, progress: as in :func:`run`.

    Returns:
        One line per row: id, before, now (the words), agree, expected (how likely the old seeds made that, see
        :func:`firmness`), measured_before, measured_now, seeds. ``attrs`` holds "draw" and "agreement" (a share);
        "expected" (how many words) and "within" (from how many to how many in 95 % of all draws) where all rows kept
        their outcomes.

    Raises:
        ValueError: a share outside (0, 1]; no row to draw from; what :func:`run` refuses.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    share = check.real("share", share)
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share!r}.")
    own = int(np.random.SeedSequence().generate_state(1)[0])
    number = own if draw is None else check.integer("draw", draw, at_least=0)
    known = shipped()
    worded = {i for i, row in known.items() if not row["verdict"].startswith(NEEDS)}
    there = [c for c in chosen(ids) if c.trained and c.id in worded]
    if not there:
        raise ValueError("none of these rows of the shipped ledger rests on seeds and has a word.")
    picked = _drawn(there, share, number)
    folder = None if store is None else check.path("store", store)
    conditions = Conditions(None, picked[0].seeds(budget, first), budget, folder, first=first, alone=jobs > 1)
    lines = []
    for row in tqdm(measured(picked, conditions, None, jobs), total=len(picked), disable=not progress, leave=False):
        old = known[row["id"]]
        lines.append({
            "id": row["id"], "before": old["verdict"], "now": row["verdict"],
            "agree": firm.plain_word(old["verdict"]) == firm.plain_word(row["verdict"]),
            "expected": (firm.firmness(old) or (math.nan, ""))[0], "measured_before": old["measured"],
            "measured_now": row["measured"] or row["note"], "seeds": row["seeds"],
        })  # fmt: skip
    found = pd.DataFrame(lines)
    found.attrs = {"draw": number, "agreement": float(found["agree"].mean())}
    if found["expected"].notna().all():
        found.attrs["expected"], *found.attrs["within"] = firm.agreeing(found["expected"].tolist())
    return found


def firmness(
    rows: str | pd.DataFrame | None = None, *, ids: Asked = None, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """How likely is each word with as many other seeds? From the outcomes that the rows keep, without training.

    The probability of replication under a flat prior: where the truth may lie by the seeds that were seen, and how the
    next ones scatter around that (:mod:`xmodal_lab.claims.firm` has the formula). It knows the spread of the seeds and
    not whether the world was a lucky one. Theorems, and rows that kept no outcomes, are left out.

    Args:
        rows: a paper, or rows of :func:`table` or :func:`run`; the shipped ledger by default.
        ids: which claims of these; all by default.
        draws: runs with other seeds, for each row.
        seed: of the draws.

    Returns:
        One line per row: id, word, again (share of draws that give the same word), other (the word most often given
        instead), n. ``attrs["agreement"]`` is the mean of ``again``.

    Raises:
        ValueError: an unknown id; no row with outcomes among those asked; draws below 1.

    Example:
        >>> import xmodal_lab as xl
        >>> found = xl.claims.firmness(ids=["cross.AF", "uml.X"], draws=20)
        >>> list(found["word"])
        ['holds', 'fails']
    """
    import pandas as pd

    draws, seed = check.integer("draws", draws, at_least=1), check.integer("seed", seed, at_least=0)
    given = table(rows) if rows is None or isinstance(rows, str) else rows
    check.instance("rows", given, pd.DataFrame, "a paper, or rows of xl.claims.table() or xl.claims.run()")
    if "steps" not in given:
        raise ValueError("these rows keep no steps; give rows of xl.claims.table() or xl.claims.run().")
    wanted = None if ids is None else {claim.id for claim in chosen(ids)}
    lines = []
    for row in given.to_dict("records"):
        listed = (wanted is None or row["id"] in wanted) and isinstance(row["steps"], list)
        found = firm.firmness(without_nan({str(k): v for k, v in row.items()}), draws, seed) if listed else None
        if found is not None:
            again, other = found
            word = firm.plain_word(row["verdict"])
            lines.append({"id": row["id"], "word": word, "again": again, "other": other, "n": row["n"]})
    if not lines:
        raise ValueError("none of these rows has kept its outcomes; theorems have none.")
    held = pd.DataFrame(lines)
    held.attrs = {"agreement": float(held["again"].mean())}
    return held


def _drawn(there: Sequence[Claim], share: float, number: int) -> list[Claim]:
    count = max(1, round(share * len(there)))
    rows = np.random.default_rng(number).choice(len(there), count, replace=False)
    return [there[i] for i in sorted(rows)]
