"""The ledger: every claim of the five papers, what it printed, what was measured, and a verdict.

- ``xl.claims.table()``: the ledger that ships with this version; ``xl.claims.show("dml")`` for reading
- ``xl.claims.run(["dml.A", "dml.H"])``: measure again, here
- ``xl.claims.run("dml", dataset=my_dataset)``: does it hold on my data? With ``within=20``, as far as twenty minutes go
- ``xl.claims.run(my_claim)``, ``xl.claims.run("my_package.rows:CLAIMS")``: a ledger of one's own
- ``xl.claims.repeat()``: a tenth of the rows again with other seeds; how many words agree?
- ``xl.claims.effects()``: each step's interval beside the printed effect, tidy, for a picture
- ``xl.claims.table(dataset="avmnist")``: as measured on real AVMNIST

A claim stands beside its paper (``papers/<paper>/claims.py``); the words come from ``verdicts``.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..citations import keys as cites
from ..data import datasets
from ..data.samples import Dataset
from ..sweeps.experiment import PAPERS as FIVE
from ..sweeps.experiment import PAPERS_OF_OTHERS
from ..utils import checks as check
from ..utils.registry import Registry
from . import fitting
from .claim import LEAST_SEEDS, Claim, Conditions
from .ledger import NOT_MEASURED, Row, Rows, rows_in, shipped
from .page import Page, grid, noted
from .tidy import tidy
from .working import measured

if TYPE_CHECKING:
    import pandas as pd

# Where the rows stand: of each paper, and of the questions across papers, which none of them prints.
PLACES = {
    **{paper: f"xmodal_lab.papers.{paper}.claims" for paper in FIVE},
    "cross": "xmodal_lab.experiments.cross",
}
PAPERS = tuple(PLACES)
# Lists of claims that installed packages announce.
LISTS = Registry("claim", dict.fromkeys(PLACES))
Asked = str | Claim | Iterable[str | Claim] | None
SHOWN = ("id", "claim", "source", "printed", "measured", "n", "verdict", "note")


def known(paper: str | None = None) -> dict[str, Claim]:
    """Claims by id, in the order of the papers.

    Raises:
        ValueError: a paper that is none of the five.

    Example:
        >>> import xmodal_lab as xl
        >>> list(xl.claims.known("wma"))[:3]
        ['wma.I', 'wma.N', 'wma.X']
    """
    papers = PAPERS if paper is None else (check.one_of("paper", paper, PAPERS),)
    found: dict[str, Claim] = {}
    for name in papers:
        for claim in importlib.import_module(PLACES[name]).CLAIMS:
            found[claim.id] = claim
    return found


def table(paper: str | None = None, path: str | Path | None = None, dataset: str = "") -> pd.DataFrame:
    """The ledger as it was last written: one row per claim, those not measured yet included.

    Args:
        paper: one paper; all by default.
        path: a ``claims.json``; the one that ships with this version by default.
        dataset: the ledger on this dataset that ships with this version, with only the claims that were
            measured on it; by default the one on each claim's own world.

    Returns:
        Columns id, paper, claim, source, printed, measured, value, interval, n, verdict, note, and how the row
        was made: budget, seeds, dataset, seconds (of processor time; what rows share counts once, with the row that
        was measured first), clock (how long one waited), date, commit, versions, machine; ``again``: how likely other
        seeds give the same word, see :func:`~xmodal_lab.claims.firmness`; ``cites``: keys of what to cite, of which
        ``xl.cite`` gives the BibTeX.

    Raises:
        ValueError: an unknown paper; a file that is no ledger; a dataset with none, or named beside a path.

    Example:
        >>> import xmodal_lab as xl
        >>> ledger = xl.claims.table("dml").set_index("id")
        >>> ledger.loc["dml.T1", "verdict"]
        'holds'
    """
    if check.instance("dataset", dataset, str, "the name of a ledger, such as 'avmnist'"):
        if path is not None:
            raise ValueError("give either path= or dataset=, not both.")
        rows = shipped(dataset)
        if not rows:
            remedy = f"`xmodal claims --dataset {dataset} --run --write` makes one."
            raise ValueError(f"no ledger on {dataset!r} ships with this version; {remedy}")
        return _frame([rows[i] for i in known(paper) if i in rows])
    measured = shipped() if path is None else rows_in(check.path("path", path))
    return _frame([measured.get(c.id) or _blank(c) for c in known(paper).values()])


def show(rows: str | pd.DataFrame | None = None, notes: bool = False) -> Page:
    """The ledger for reading: what the paper says, what was measured, the verdict, no sentence cut.

    Args:
        rows: a paper, or rows of :func:`table` or :func:`run`; the whole shipped ledger by default.
        notes: what was chosen, what the controls gave, what to beware of, below the table.

    Returns:
        A page that a notebook lays out as a table; as text, Markdown.

    Raises:
        ValueError: an unknown paper; a frame without the ledger's columns.
        TypeError: neither.

    Example:
        >>> import xmodal_lab as xl
        >>> print(str(xl.claims.show("wma")).splitlines()[0])
        | id | claim | paper | measured | sees | n | verdict | again |
    """
    import pandas as pd

    if rows is None or isinstance(rows, str):
        rows = table(rows)
    check.instance("rows", rows, pd.DataFrame, "a paper, or rows of xl.claims.table() or xl.claims.run()")
    frame = rows if "id" in rows else rows.rename_axis(index="id").reset_index()
    if missing := [name for name in SHOWN if name not in frame]:
        raise ValueError(f"no rows of the ledger: {', '.join(missing)} is missing; give rows with all columns.")
    held = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    return Page("\n".join([*grid(held), *(noted(held) if notes else ())]))


def effects(rows: str | pd.DataFrame | None = None, *, steps: bool = False) -> pd.DataFrame:
    """What was measured beside what is printed: one line per claim, or per step of each, tidy.

    Args:
        rows: a paper, or rows of :func:`table` or :func:`run`; the whole shipped ledger by default.
        steps: a line for each step of a claim; otherwise only for that on which its verdict rests.

    Returns:
        Columns id, paper, step, rule, word (of the step), verdict (of the claim), value, low, high (95 %), effect
        (printed, else the smallest of interest), margin (of a tie), mde (the smallest effect that n sees with 80 %
        power), n, needed (seeds that would decide), unit, former; and value_seen, low_seen, high_seen, effect_seen,
        margin_seen: distances from "no effect" in units of mde. Theorems have no interval and no line.

    Raises:
        ValueError: an unknown paper; rows without steps.

    Example:
        >>> import xmodal_lab as xl
        >>> list(xl.claims.effects("wma")["id"])[:2]
        ['wma.N', 'wma.X']
    """
    import pandas as pd

    if rows is None or isinstance(rows, str):
        rows = table(rows)
    check.instance("rows", rows, pd.DataFrame, "a paper, or rows of xl.claims.table() or xl.claims.run()")
    if "steps" not in rows:
        raise ValueError("these rows keep no steps; give rows of xl.claims.table() or xl.claims.run().")
    return tidy(rows.to_dict("records"), steps)


def run(
    ids: Asked = None,
    *,
    dataset: str | Dataset | None = None,
    seeds: Sequence[int] | None = None,
    budget: str = "quick",
    settings: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    executor: Executor | None = None,
    within: float | None = None,
    jobs: int = 1,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure claims here and now.

    Args:
        ids: ids such as "dml.A", names of papers, :class:`Claim` objects of your own, a place
            "package.module:CLAIMS", or several of them; all claims by default.
        dataset: a dataset of your own, or the name of one; each claim's own world by default. Claims that
            rest on no data (theorems, printed tables) do not look at it.
        seeds: of trained models; at least 5. By default each claim's own number of them, fixed by what a seed
            costs (``claims.seeds.SEEDS``).
        budget: "quick" (the whole ledger within an hour) or "full".
        settings: of the experiments, in place of what the claims would take, as in ``{"epochs": 30}``; kept in the
            row. A claim that knows no such setting, cannot take its value, or compares values of it itself, is not
            measured and says so, before anything is trained. Seeds are no setting.
        store: a folder that keeps finished claims and every sweep under them: the same call goes on where a
            killed one stopped, and computes nothing twice.
        executor: any ``concurrent.futures.Executor``, for the sweeps.
        within: core-minutes that a run on a dataset may take. Two seeds of each claim about trained models are tried
            first, seeds that no row uses, and what they find is not looked at. Each row then gets as many as one of
            such a cost gets; where the time ends fewer, and a row for which it does not reach "needs" it. Kept in the
            store. Needs claims that another process can import.
        jobs: processes; claims that share sweeps stay in one. More than one needs claims that another process
            can import, and no executor.
        progress: show a bar.

    Returns:
        The rows, as in :func:`table`, in the order asked. A claim whose measurement raised an error has the verdict
        "not measured" and the error in its note; the others are not lost.

    Raises:
        ValueError: an unknown id, fewer than 5 seeds for a claim about trained models, an unknown budget, several
            jobs and an executor, ``within`` beside seeds or without a dataset. All before any work is done.

    Warns:
        RuntimeWarning: claims whose measurement raised an error.

    Example:
        >>> import xmodal_lab as xl
        >>> row = xl.claims.run("dml.T3", progress=False).iloc[0]
        >>> row["verdict"], row["measured"]
        ('fails', '3 of 4 kernels of finite variance damp high frequencies')
    """
    wanted = chosen(ids)
    folder = None if store is None else check.path("store", store)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ValueError(f"store must be a folder, {str(folder)!r} is a file.")
    given = datasets.load(dataset) if isinstance(dataset, str) else dataset
    own = None if seeds is None else tuple(check.listed("seeds", seeds))
    if check.integer("jobs", jobs, at_least=1) > 1 and executor is not None:
        raise ValueError("give either jobs or an executor, not both: an executor spreads the sweeps of one process.")
    first = Conditions(
        given, own or wanted[0].seeds(budget), budget, folder, executor, settings=settings or {}, alone=jobs > 1
    )
    if own is not None and len(own) < LEAST_SEEDS and (trained := [c.id for c in wanted if c.trained]):
        raise ValueError(
            f"a verdict on trained models rests on at least {LEAST_SEEDS} seeds, got {len(own)}; "
            f"give more, or leave out {', '.join(trained[:5])}{' …' if len(trained) > 5 else ''}."
        )
    rows: dict[str, Row] = {}
    if within is not None:
        wanted, minutes = _timed(wanted, first, own, within)
    work = measured(wanted, first, own, jobs) if within is None else fitting.within(wanted, first, minutes, jobs)
    with _bar(len(wanted), progress) as bar:
        bar.set_postfix_str("" if within is None else "trying what a seed costs")
        for row in work:
            rows[row["id"]] = row
            bar.set_postfix_str(row["id"])
            bar.update()
    found = [rows[claim.id] for claim in wanted]
    lost = [row for row in found if row["verdict"] == NOT_MEASURED]
    if lost:
        message = (
            f"{len(lost)} of {len(found)} claims could not be measured; the first, {lost[0]['id']}: {lost[0]['note']}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return _frame(found)


def finished(
    ids: Asked = None,
    *,
    store: str | Path,
    dataset: str | Dataset | None = None,
    seeds: Sequence[int] | None = None,
    budget: str = "quick",
    settings: Mapping[str, Any] | None = None,
    within: float | None = None,
) -> pd.DataFrame:
    """The rows that :func:`run` has finished in a store, judged by the rules of now; nothing is measured.

    A row is known by its claim, seeds, budget, data, settings and the versions of this package, torch and NumPy, not by
    the code that measured it: a refactoring leaves it, and its ``commit`` says by which code it was made. Who changes
    what a row measures gives ``measure`` another name, or takes another store.

    Args:
        ids: as in :func:`run`; those that are not finished are left out.
        store: the folder that :func:`run` was given.
        dataset, seeds, budget, settings, within: as :func:`run` was given them.

    Returns:
        The rows, as in :func:`table`, in the order asked; none where nothing is finished.

    Raises:
        ValueError: what :func:`run` refuses; a store that is no folder.
    """
    wanted, folder = chosen(ids), check.path("store", store)
    if not folder.is_dir():
        raise ValueError(f"there is no store at {str(folder)!r}; `xmodal claims --run` makes one.")
    given = datasets.load(dataset) if isinstance(dataset, str) else dataset
    own = None if seeds is None else tuple(check.listed("seeds", seeds))
    first = Conditions(given, own or wanted[0].seeds(budget), budget, folder, settings=settings or {})
    if within is not None:
        wanted, minutes = _timed(wanted, first, own, within)
        rows = {row["id"]: row for row in fitting.finished(wanted, first, minutes)}
        return _frame([rows[claim.id] for claim in wanted if claim.id in rows])
    found = [Rows(folder / "rows", first.of(claim, own)).get(claim) for claim in wanted]
    return _frame([row for row in found if row is not None])


def _timed(
    wanted: Sequence[Claim], first: Conditions, own: tuple[int, ...] | None, within: float
) -> tuple[list[Claim], float]:
    """The claims that look at the data, and the minutes that they may take.

    Raises:
        ValueError: no dataset, seeds that are given, no such claim, minutes that are none.
    """
    minutes = check.positive("within", within)
    if first.dataset is None:
        raise ValueError("within is for a dataset; on the claims' own worlds the number of seeds is fixed.")
    if own is not None:
        raise ValueError("give either seeds or within, which chooses how many.")
    trained = [claim for claim in wanted if claim.trained]
    if not trained:
        raise ValueError("within is for claims about trained models; of these none is.")
    return trained, minutes


def chosen(ids: Asked) -> list[Claim]:
    """The claims that are meant: ids, names of papers, claims, places "package.module:CLAIMS", or None for all.

    Raises:
        ValueError: an unknown id, none, or two claims of one id; a place that holds no claims.
        TypeError: something that is neither.
    """
    if ids is None:
        return list(known().values())
    asked = [ids] if isinstance(ids, str | Claim) else check.listed("ids", ids)
    meant: dict[str, Claim] = {}
    for given in asked:
        for claim in _meant(given):
            if meant.setdefault(claim.id, claim) != claim:
                raise ValueError(f"two claims are called {claim.id!r}; give each an id of its own.")
    if not meant:
        raise ValueError("no claim was asked for; give ids, a paper, or None for all.")
    return list(meant.values())


def _meant(given: object) -> list[Claim]:
    if isinstance(given, Claim):
        return [given]
    if not isinstance(given, str):
        raise TypeError(f"a claim is meant by its id, its paper, a Claim or a place, got {type(given).__name__}.")
    if ":" in given:
        return _placed(given)
    every = known()
    if given in PAPERS:
        return [claim for claim in every.values() if claim.paper == given]
    if given in (lists := LISTS.announced()):
        return _placed(lists[given].value)
    if given in (others := PAPERS_OF_OTHERS.announced()):
        return _placed(f"{others[given].value}:CLAIMS")
    return [every[check.one_of("claim", given, every)]]


def _placed(place: str) -> list[Claim]:
    """What stands at "package.module:CLAIMS"."""
    try:
        found = LISTS.get(place)
    except ValueError as error:
        raise ValueError(f"no claims at {place!r}: {error} Write 'package.module:CLAIMS'.") from None
    listed = [found] if isinstance(found, Claim) else list(found) if isinstance(found, list | tuple) else []
    if not listed or not all(isinstance(claim, Claim) for claim in listed):
        raise ValueError(f"{place!r} is no Claim and no list of them, but {type(found).__name__}.")
    return listed


def _blank(claim: Claim) -> Row:
    return {
        "id": claim.id, "paper": claim.paper, "claim": claim.text, "source": claim.source, "printed": claim.printed,
        "measured": "", "value": None, "interval": None, "n": 0, "verdict": NOT_MEASURED, "note": "",
    }  # fmt: skip


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(list(rows))
    if len(frame):
        frame["cites"] = [", ".join(cites(row)) for row in rows]
    return frame


def _bar(total: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="claims", unit="claim", disable=not progress, leave=False)
