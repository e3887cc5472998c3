"""BibTeX for whatever one holds: a paper's name, a dataset, a table, a cube, a claim, an explorer.

The entries stand in ``references.bib``: of the papers and of what a paper's list of references has, as printed there.
An object is asked only for what it says of itself (its attributes, its columns), so that nothing is imported for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..utils import checks as check
from ..utils.version import __version__

SOFTWARE = "xmodal_lab"
_ESC = ("piczak2015esc",)
_AVMNIST = ("vielzeuf2018centralnet", "liang2021multibench", "lecun1998gradient", "jackson2018fsdd", *_ESC)
_BENCH = ("liang2021multibench",)
# What stands behind a name that a dataset, a cube or a row gives: keys of the entries. ``shapes`` is drawn here.
USES: Mapping[str, tuple[str, ...]] = {
    "digits": ("alpaydin1998optdigits", "espeakng"),
    "shapes": (),
    "gaussian": ("uml",),
    "avmnist": _AVMNIST,
    "cremad": ("cao2014cremad",),
    "kinetics_sounds": ("arandjelovic2017look",),
    "food101": ("wang2015recipe",),
    "iemocap": ("busso2008iemocap",),
    "multibench": (
        *_BENCH, "zadeh2016mosi", "zadeh2018mosei", "hasan2019urfunny", "castro2019mustard",
    ),
    "mosi": (*_BENCH, "zadeh2016mosi"),
    "mosei": (*_BENCH, "zadeh2018mosei"),
    "ur_funny": (*_BENCH, "hasan2019urfunny"),
    "mustard": (*_BENCH, "castro2019mustard"),
    "mimic": (*_BENCH, "johnson2016mimic"),
    "imagenet_esc": ("lin2023multimodality", "deng2009imagenet", *_ESC),
    "esc10": _ESC,
    "emoji": ("emojione",),
    "nlvr": ("suhr2017nlvr",),
    "prompts": ("pratt2023platypus",),
}  # fmt: skip
# One's own data, and questions across papers: no reference of ours.
_OWN = ("features", "folder", "", "cross", "bench", "late_fusion")
PAPERS = ("synergy", "cox", "uml", "wma", "dml")


class BibTeX(str):
    """Entries as text, shown line by line where a notebook shows a value.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.cite("nlvr").keys
        ('xmodal_lab', 'suhr2017nlvr')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the entries, in order."""
        return tuple(re.findall(r"^@\w+\{([^,]+),", self, re.MULTILINE))


def cite(*used: Any) -> BibTeX:
    """BibTeX of this software, and of the papers and data behind each thing that is given.

    Args:
        used: names of papers ("dml"), of datasets ("avmnist") or keys of entries; or what one holds: a dataset, a
            cube of ``xl.sweep``, a run, rows of the ledger or one of them, a claim, a table of ``xl.tables``, an
            explorer, a list of such. Nothing: the five papers.

    Returns:
        :class:`BibTeX`, a string: each entry once, the software first. Of a dataset that has no reference here, such as
        one's own, a comment says so.

    Raises:
        ValueError: a name that is no paper, dataset or key.
        TypeError: something that says neither where it comes from nor what it was made with.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.cite("dml", "cremad").keys
        ('xmodal_lab', 'dml', 'cao2014cremad')
        >>> print(xl.cite(xl.tables("wma", 3)).splitlines()[6])
        @misc{wma,
    """
    found, unknown = keys(*(used or PAPERS), rest=True)
    entries = [_software(), *(_entries()[key] for key in found if key != SOFTWARE)]
    told = [f"% no reference for {name!r} is known here: cite its own source" for name in unknown]
    return BibTeX("\n\n".join([*entries, *told]))


def keys(*used: Any, rest: bool = False) -> Any:
    """Keys of the entries for ``used``, without those that stand twice; with ``rest`` also names without an entry.

    Raises:
        ValueError, TypeError: as :func:`cite`.
    """
    names = [name for thing in used for name in _names(thing)]
    found: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for name in names:
        if name in USES:
            found |= dict.fromkeys(USES[name])
        elif name in _entries() or name == SOFTWARE:
            found[name] = None
        elif name not in _OWN:
            unknown[name] = None
    return (tuple(found), tuple(unknown)) if rest else tuple(found)


def _names(thing: Any) -> Iterator[str]:
    """Papers, datasets and keys that a thing names."""
    if isinstance(thing, str):
        yield check.one_of("paper, dataset or key of an entry", thing, (SOFTWARE, *PAPERS, *USES, *_entries(), *_OWN))
    elif isinstance(thing, Mapping) and not hasattr(thing, "attrs"):
        yield from _of_row(thing)
    elif hasattr(thing, "attrs") and hasattr(thing, "dims"):
        yield from _of_cube(thing)
    elif hasattr(thing, "attrs") and hasattr(thing, "columns"):
        yield from _of_table(thing)
    elif hasattr(thing, "cube") and not callable(thing.cube):
        yield from _names(thing.cube)
    elif isinstance(settings := getattr(thing, "settings", None), Mapping):
        yield from _of_row(settings)
    elif isinstance(paper := getattr(thing, "paper", None), str):
        yield from _of_row({"paper": paper})
    elif isinstance(name := getattr(thing, "name", None), str) and hasattr(thing, "provenance"):
        yield name
    elif check.is_listed(thing):
        for part in thing:
            yield from _names(part)
    else:
        raise TypeError(
            f"xl.cite knows nothing of a {type(thing).__name__}; give a paper, a dataset, a cube, a table, a run, a "
            "claim, rows of the ledger, an explorer, or a list of such."
        )


def _of_row(row: Mapping[Any, Any]) -> Iterator[str]:
    """A row of the ledger, or settings: their paper and their dataset."""
    for column in ("paper", "dataset"):
        if isinstance(value := row.get(column), str):
            yield value
    if (experiment := row.get("experiment")) in PAPERS:  # any other is the bench's, or one's own
        yield str(experiment)


def _of_table(table: Any) -> Iterator[str]:
    """A paper's table names its paper in ``source``, the ledger in ``paper``."""
    if "paper" in table.columns:
        for column in ("paper", "dataset"):
            if column in table.columns:
                yield from (str(value) for value in table[column].dropna().unique())
    elif "source" in table.columns:
        yield from dict.fromkeys(str(value).split(" ")[0] for value in table["source"])
    elif "cites" in table.attrs:
        yield from table.attrs["cites"]
    else:
        raise TypeError("xl.cite knows nothing of this table: it has neither a column paper nor a column source.")


def _of_cube(cube: Any) -> Iterator[str]:
    """A cube names its experiment and, in its axes, its settings or the defaults, its dataset."""
    attrs = cube.attrs
    if not {"experiment", "source"} & set(attrs):
        raise TypeError("xl.cite knows nothing of this cube: its attributes have neither an experiment nor a source.")
    if "experiment" not in attrs:
        yield str(attrs["source"]).split(" ")[0]
        return
    settings = {**_read(attrs.get("defaults")), **_read(attrs.get("settings"))}
    yield from _of_row({"experiment": attrs["experiment"]})
    if "dataset" in cube.coords:
        yield from (str(value) for value in cube["dataset"].values.reshape(-1))
    else:
        yield from _of_row({"dataset": settings.get("dataset")})


def _read(text: Any) -> dict[str, Any]:
    """Settings as a cube holds them: JSON, or a dict."""
    held = json.loads(text) if isinstance(text, str) else text
    return dict(held) if isinstance(held, Mapping) else {}


@cache
def _entries() -> dict[str, str]:
    """Entries of ``references.bib`` by key."""
    text = (Path(__file__).parent / "references.bib").read_text(encoding="utf-8")
    entries: Iterable[str] = (part.strip() for part in re.split(r"\n(?=@)", text))
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry for entry in entries}


def _software() -> str:
    """The software itself, in the version that runs."""
    facts = {
        "title": "{xmodal\\_lab}: a lab bench for cross-modal learning",
        "author": "{The xmodal\\_lab developers}",
        "note": f"Version {__version__}",
    }
    return f"@software{{{SOFTWARE},\n" + ",\n".join(f"  {k} = {{{v}}}" for k, v in facts.items()) + "\n}"
