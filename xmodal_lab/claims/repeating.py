"""Do the words repeat? A share of the rows again with seeds that no row of the ledger used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..utils import checks as check
from .claim import Claim, Conditions
from .ledger import measured_of, shipped
from .measuring import Asked, chosen
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
        One line per row: id, before, now (the words), agree, measured_before, measured_now, seeds. ``attrs`` holds
        "draw" and "agreement".

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
            "agree": _word(old["verdict"]) == _word(row["verdict"]), "measured_before": old["measured"],
            "measured_now": row["measured"] or row["note"], "seeds": row["seeds"],
        })  # fmt: skip
    found = pd.DataFrame(lines)
    found.attrs = {"draw": number, "agreement": float(found["agree"].mean())}
    return found


def resampled(draws: int = 200, *, ids: Asked = None, seed: int = 0) -> pd.DataFrame:
    """How likely is each shipped word with other seeds? Without training: the kept seeds are drawn with replacement.

    A bootstrap: it believes the measured mean and spread, so it says where a word stands near an edge, not whether the
    world was a lucky one. Rows that kept no outcomes, and those of theorems, are left out.

    Args:
        draws: of the seeds, for each row.
        ids: which claims; all by default.
        seed: of the draws.

    Returns:
        One line per row: id, word, agree (share of draws that give the same word), other (the word most often given
        instead), n. ``attrs["agreement"]`` is the mean of ``agree``.

    Raises:
        ValueError: an unknown id; no row with outcomes among those asked; draws below 1.

    Example:
        >>> import xmodal_lab as xl
        >>> found = xl.claims.resampled(20, ids=["cross.AF", "uml.X"])
        >>> list(found["word"])
        ['fails', 'holds']
    """
    import pandas as pd

    draws = check.integer("draws", draws, at_least=1)
    rng, known, lines = np.random.default_rng(check.integer("seed", seed, at_least=0)), shipped(), []
    for claim in chosen(ids):
        row = known.get(claim.id)
        if row is None or not claim.trained or not any(step.get("outcomes") for step in row["steps"]):
            continue
        measured, word = measured_of(row), _word(row["verdict"])
        said = Counter(_word(measured.resampled(rng).verdict) for _ in range(draws))
        agree = said.pop(word, 0) / draws
        other = said.most_common(1)[0][0] if said else ""
        lines.append({"id": claim.id, "word": word, "agree": agree, "other": other, "n": row["n"]})
    if not lines:
        raise ValueError("none of these rows of the shipped ledger has kept its outcomes.")
    found = pd.DataFrame(lines)
    found.attrs = {"agreement": float(found["agree"].mean())}
    return found


def _drawn(there: Sequence[Claim], share: float, number: int) -> list[Claim]:
    count = max(1, round(share * len(there)))
    rows = np.random.default_rng(number).choice(len(there), count, replace=False)
    return [there[i] for i in sorted(rows)]


def _word(verdict: str) -> str:
    return NEEDS if verdict.startswith(NEEDS) else verdict
