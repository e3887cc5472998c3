"""Results as files, and back: netCDF, CSV, Parquet; figures as PDF, SVG, PNG; live views as pages.

xl.save(cube, "runs/dml.nc");   xl.read("runs/dml.nc")
xl.save(xl.plots.landscape(plane), "plane.pdf")
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .citations import cite
from .sweeps.circumstances import command, user_commit
from .utils import checks as check
from .utils.files import beside, write_text

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

TABLES = (".csv", ".parquet")
PICTURES = (".pdf", ".svg", ".png")
_ARRAY = "xmodal_array"  # of a netCDF file: its one variable was a DataArray
# Text stays text: fonts are embedded in PDF as TrueType, and drawn as outlines in SVG, which need no font at all.
_VECTOR: Any = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "xmodal_lab"}


def save(result: Any, path: str | Path) -> Path:
    """Write a result to ``path``; the ending says how. Whole or not at all; what stood there is replaced.

    Args:
        result: a cube or an array of xarray, a table of pandas, whatever has ``to_xarray()`` or a ``cube`` (a density,
            an explorer), a run (its history), or a figure or Axes of Matplotlib.
        path: ``.nc`` (netCDF), ``.csv``, ``.parquet`` (needs pyarrow); of a figure ``.pdf``, ``.svg``, ``.png``; of a
            live view also ``.html``. Its folder is made.

    Returns:
        The path.

        A table in CSV and Parquet has one row per place of the grid and one column per variable; of variables with
        different dimensions one row per value, with columns variable and value, and empty cells where a variable has
        not the dimension. What the result says of itself (experiment, settings, versions, …), the user's commit,
        the command and the BibTeX of what to cite stand in the netCDF file's attributes, or beside a table as JSON, in
        ``<path>.json``.

    Raises:
        ValueError: an ending that does not fit the result.
        TypeError: nothing that can be written.
        ImportError: Parquet without pyarrow.

    Example:
        >>> import tempfile, pathlib, xmodal_lab as xl
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "wma_3.nc"
        >>> xl.read(xl.save(xl.published.cube("wma", 3), path)).attrs["source"]
        'wma Tab 3, as printed'
    """
    target = check.path("path", path)
    ending = target.suffix.lower()
    if hasattr(result, "to_html") and hasattr(result, "cube") and ending == ".html":
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(result.to_html(target))
    figure = getattr(result, "figure", None) if not callable(getattr(result, "figure", None)) else None
    figure = result if hasattr(result, "savefig") else figure
    if hasattr(figure, "savefig"):
        check.one_of("ending of a figure's file", ending, PICTURES)
        return _draw(figure, target)
    held = _held(result)
    facts = {str(k): v for k, v in held.attrs.items()}
    check.one_of("ending of a result's file", ending, (".nc", *TABLES) if hasattr(held, "dims") else TABLES)
    if ending == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ImportError("Parquet needs pyarrow (pip install pyarrow); .nc and .csv need nothing more.")
    facts.setdefault("citation", _citation(held))
    for name, told in (("user_commit", user_commit), ("command", command)):  # a cube of a sweep says it of its making
        if name not in facts:
            facts[name] = told()
    target.parent.mkdir(parents=True, exist_ok=True)
    if ending == ".nc":
        _to_netcdf(held, facts, target)
        return target
    table = _table(held)
    table.attrs = {}
    with beside(target) as unfinished:
        if ending == ".csv":
            table.to_csv(unfinished, index=False, encoding="utf-8")
        else:
            table.to_parquet(unfinished, index=False, engine="pyarrow")
    write_text(_facts_of(target), json.dumps(facts, ensure_ascii=False, indent=1, default=str) + "\n")
    return target


def read(path: str | Path) -> xr.Dataset | xr.DataArray | pd.DataFrame:
    """What :func:`save` wrote: a cube or an array from ``.nc``, a table from ``.csv`` and ``.parquet``.

    With the attributes that it had, the citation among them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another ending.
        ImportError: Parquet without pyarrow.
    """
    import pandas as pd
    import xarray as xr

    source = check.path("path", path)
    ending = check.one_of("ending of a result's file", source.suffix.lower(), (".nc", *TABLES))
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source.name!r} in {str(source.parent)!r}.")
    if ending == ".nc":
        with xr.open_dataset(source) as opened:
            found = opened.load()
        if found.attrs.pop(_ARRAY, None) is None:
            return found
        array = found[next(iter(found.data_vars))]
        array.attrs |= found.attrs
        return array.rename(None if array.name == "value" else array.name)
    if ending == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ImportError("Parquet needs pyarrow (pip install pyarrow).")
    table = pd.read_csv(source, encoding="utf-8") if ending == ".csv" else pd.read_parquet(source, engine="pyarrow")
    if _facts_of(source).is_file():
        table.attrs = json.loads(_facts_of(source).read_text(encoding="utf-8"))
    return table


def _facts_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _held(result: Any) -> Any:
    """The cube, array or table that a result is or has."""
    import pandas as pd
    import xarray as xr

    if isinstance(result, (xr.Dataset, xr.DataArray, pd.DataFrame)):
        return result
    if callable(getattr(result, "to_xarray", None)):
        return result.to_xarray()
    for name in ("cube", "history"):
        if isinstance(held := getattr(result, name, None), (xr.Dataset, xr.DataArray, pd.DataFrame)):
            return held
    raise TypeError(
        f"xl.save writes cubes, arrays, tables, figures and live views, got {type(result).__name__}; "
        "put numbers into a pandas.DataFrame or an xarray.Dataset first."
    )


def _citation(held: Any) -> str:
    """BibTeX of what the result rests on; of one that does not say it, of the software."""
    try:
        return str(cite(held))
    except TypeError:
        return str(cite("xmodal_lab"))


def _to_netcdf(held: Any, facts: Mapping[str, Any], target: Path) -> None:
    import xarray as xr

    array = isinstance(held, xr.DataArray)
    cube = held.to_dataset(name=held.name or "value") if array else held.copy()
    for part in cube.variables.values():
        part.attrs = _plain(part.attrs)
    cube.attrs = _plain({**facts, **({_ARRAY: 1} if array else {})})
    with beside(target) as unfinished:
        cube.to_netcdf(unfinished)


def _plain(facts: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes that netCDF can hold: text and numbers as they are, all else as JSON."""
    kept = {k: v for k, v in facts.items() if isinstance(v, (str, int, float)) and not isinstance(v, bool)}
    return {str(k): kept[k] if k in kept else json.dumps(v, ensure_ascii=False, default=str) for k, v in facts.items()}


def _table(held: Any) -> pd.DataFrame:
    """A tidy table: one row per place of the grid, or per value where variables differ in their dimensions."""
    import pandas as pd
    import xarray as xr

    if isinstance(held, pd.DataFrame):
        named = held.index.names != [None] or not isinstance(held.index, pd.RangeIndex)
        return (held.reset_index() if named else held.copy()).map(_cell)
    cube = held.to_dataset(name=held.name or "value") if isinstance(held, xr.DataArray) else held
    if len({frozenset(v.dims) for v in cube.data_vars.values()}) <= 1:
        return _rows(cube)
    parts = [_rows(v.to_dataset(name="value")).assign(variable=str(name)) for name, v in cube.data_vars.items()]
    dims = [str(d) for d in cube.dims]
    long = pd.concat(parts, ignore_index=True)
    return long[[*(d for d in dims if d in long), "variable", "value"]]


def _rows(cube: xr.Dataset) -> pd.DataFrame:
    import pandas as pd

    if not cube.dims:
        return pd.DataFrame({str(k): [v.item()] for k, v in cube.data_vars.items()})
    return cube.reset_coords(drop=True).to_dataframe().reset_index()


def _cell(value: Any) -> Any:
    """Lists and dicts in a cell as JSON, which reads back."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, tuple, dict)) else value


def _draw(figure: Any, target: Path) -> Path:
    """The figure in its own size, without the date."""
    import matplotlib as mpl

    target.parent.mkdir(parents=True, exist_ok=True)
    form = target.suffix.lower()[1:]
    dated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})
    figure = figure.get_figure(root=True) if hasattr(figure, "get_figure") else figure
    with mpl.rc_context(_VECTOR), beside(target) as unfinished:
        figure.savefig(unfinished, format=form, metadata=dated, **({"dpi": 300} if form == "png" else {}))
    return target
