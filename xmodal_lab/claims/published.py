"""The numbered tables of the five papers as printed: tidy data, one row per printed cell.

    tables("wma", 3)    # a DataFrame
    cube("wma", 3)      # the same numbers as a cube: α x β x test case
    names()             # which tables there are

Columns of every table:

- ``dataset``: what is tested on; ``Average`` where the paper prints a mean over datasets.
- ``method``: who is compared (``SML``, ``Ours (init)``, ``single`` for a modality alone, ...).
- ``setting``: the regime (``semi-supervised``, ``full fine-tuning``, ...); empty where there is one only.
- ``metric``, ``unit``, ``value``: the number as printed, ``%`` for per cent and percentage points.
- ``error``: the printed ±; NaN where none is printed.
- ``source``: paper and table.
- ``note``: why a value is NaN, or what is odd about the cell; else empty.

Columns of some tables (their keys, beside dataset, method, setting and metric):

- ``alpha``, ``beta``: the regulariser's weight and target (wma), the latent loss's weight (synergy).
- ``case``: normal, or which modality is noisy or missing (wma).
- ``shots``: labelled samples per class; NaN where all are used (uml).
- ``ratio``: batches of text per batch of images (uml).
- ``direction``: ``L→V`` is language helping vision (synergy).
- ``level``, ``loss``: imperfection of the target, kind of latent loss (synergy).
- ``target``: imperfect or paired latent target (synergy); which modality is classified (uml).
- ``backbone``, ``text_encoder``: pretrained encoders; the model that is trained (synergy).
- ``perceptor``: who perceives the in-modal data (cox).
- ``modality``: the one left out (cox), the ones that are seen (dml): I or V, A, T.
- ``augmentation``: ``original``, or jitter, crop, flip as ``J``, ``C``, ``F`` (dml).
- ``attacked``: modality ``i`` or ``j``; empty for the clean accuracy (dml).
- ``task``: image-to-text or text-to-image retrieval (dml). ``benchmark``: its family (uml).
- ``text``: the cell's words, in tables that are not all numbers.

Numbers are floats, all else is text. Names are the papers', in one spelling per paper (``KS`` is
``Kinetics-Sounds``, ``Sun397`` is ``SUN397``). A printed dash means "does not apply" and has no row,
save in wma Tab 4, where it means "not run". A cell that the text leaves open is NaN, never guessed.
Left out is uml Tab 4, which holds example sentences.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..citations import cite
from ..sweeps.experiment import PAPERS as PAPERS
from ..utils import checks as check

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

FOLDER = Path(__file__).parent / "tables"
NUMBERS = ("value", "error", "alpha", "beta", "ratio", "shots")
# What a row says, beside the keys that tell it from the other rows.
SAID = ("metric", "unit", "value", "error", "text", "source", "note")


def names() -> dict[str, tuple[int, ...]]:
    """Numbers of the tables that are here, by paper.

    Example:
        >>> import xmodal_lab as xl
        >>> {paper: len(numbers) for paper, numbers in xl.published.names().items()}
        {'synergy': 8, 'cox': 4, 'uml': 28, 'wma': 6, 'dml': 13}
    """
    found = {paper: FOLDER.glob(f"{paper}_*.csv") for paper in PAPERS}
    return {paper: tuple(sorted(int(p.stem.rpartition("_")[2]) for p in paths)) for paper, paths in found.items()}


def tables(paper: str, number: int) -> pd.DataFrame:
    """Table ``number`` of ``paper``, one row per printed cell; the columns are in the module's docstring.

    ``attrs["citation"]`` is the paper's BibTeX, of :func:`~xmodal_lab.cite`.

    Raises:
        TypeError: a number that is not whole.
        ValueError: a paper or a table that is not here.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.tables("dml", 1)[["method", "metric", "value"]].head(3)
               method    metric  value
        0  Modality i  accuracy  51.95
        1  Modality i  accuracy  64.98
        2  Modality i  accuracy  57.30
    """
    import pandas as pd

    known = names()[check.one_of("paper", paper, PAPERS)]
    wanted = check.integer("number of a table", number)
    if wanted not in known:
        raise ValueError(f"{paper} has no Tab {wanted} here; there are {', '.join(map(str, known))}.")
    kinds: defaultdict[str, type] = defaultdict(lambda: str, dict.fromkeys(NUMBERS, float))
    table = pd.read_csv(
        FOLDER / f"{paper}_{wanted}.csv",
        dtype=kinds,
        keep_default_na=False,
        na_values={column: [""] for column in NUMBERS},
        encoding="utf-8",
    )
    table.attrs["citation"] = str(cite(paper))
    return table


def cube(paper: str, number: int) -> xr.Dataset:
    """Table ``number`` of ``paper`` as a cube: keys that vary are dimensions, metrics are variables.

    Dimensions of numbers come first and rise; names stand in printed order. Places that the
    paper does not print are NaN. A metric with ± has a second variable, ``<metric> error``.

    Raises:
        TypeError, ValueError: as for :func:`tables`.
        ValueError: the table holds words, or a key that some rows lack.

    Example:
        >>> import xmodal_lab as xl
        >>> dict(xl.published.cube("wma", 3).sizes)
        {'alpha': 4, 'beta': 14, 'case': 5}
    """
    import pandas as pd
    import xarray as xr

    table = tables(paper, number)
    if "text" in table:
        raise ValueError(f"{paper} Tab {number} holds words; read it with tables({paper!r}, {number}).")
    dims = [c for c in table.columns if c not in SAID and table[c].nunique(dropna=False) > 1]
    dims.sort(key=lambda name: name not in NUMBERS)
    open_keys = [d for d in dims if table[d].isna().any()]
    if open_keys:
        raise ValueError(
            f"some rows of {paper} Tab {number} have no {open_keys[0]!r}, so it is no grid; "
            f"choose rows of tables({paper!r}, {number}) instead."
        )
    axes = {d: pd.Index(sorted(table[d].unique()) if d in NUMBERS else table[d].unique(), name=d) for d in dims}
    data = {}
    for metric, rows in table.groupby("metric", sort=False):
        place = tuple(axes[d].get_indexer(rows[d]) for d in dims)
        for column, name in (("value", f"{metric}"), ("error", f"{metric} error")):
            if column == "error" and rows[column].isna().all():
                continue
            block = np.full([len(axis) for axis in axes.values()], np.nan)
            block[place] = rows[column]
            data[name] = (dims, block, {"long_name": name, "units": str(rows["unit"].iloc[0])})
    notes = "; ".join(note for note in table["note"].unique() if note)
    return xr.Dataset(data, axes, {"source": f"{paper} Tab {number}, as printed", "notes": notes, **table.attrs})
