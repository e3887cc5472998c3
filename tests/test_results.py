"""What comes out of the lab comes back as it was, says how it was made, and carries what to cite."""

from __future__ import annotations

import json
import re
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xmodal_lab as xl

CUBE = xr.Dataset(
    {"accuracy": (("alpha", "seed"), np.float32([[0.1, np.nan], [0.3, 0.4]]), {"units": "", "odd": True})},
    {"alpha": [0.0, 1.0], "seed": [0, 1]},
    {"experiment": "dml", "defaults": '{"dataset": "nlvr"}', "settings": {"epochs": 3}, "user_commit": "abc"},
)
UNEVEN = CUBE.assign(plane=(("alpha", "a"), np.arange(6.0).reshape(2, 3)), total=7.0)


def test_netcdf_keeps_a_cube_whole(tmp_path) -> None:
    back = xl.read(xl.save(UNEVEN, tmp_path / "new" / "cube.nc"))
    xr.testing.assert_equal(back, UNEVEN)
    assert back.attrs["settings"] == '{"epochs": 3}' and back.attrs["user_commit"] == "abc"
    assert back.attrs["citation"] == xl.cite(UNEVEN) and "Suhr" in back.attrs["citation"]
    assert UNEVEN["accuracy"].attrs["odd"] is True  # what was given is left as it was
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["cube.nc"]


@pytest.mark.parametrize("name", [None, "accuracy"])
def test_netcdf_keeps_an_array_an_array(tmp_path, name: str | None) -> None:
    array = CUBE["accuracy"].rename(name).assign_attrs(told=[1, 2])
    back = xl.read(xl.save(array, tmp_path / "a.nc"))
    xr.testing.assert_equal(back, array)
    assert isinstance(back, xr.DataArray) and back.name == name and back.attrs["told"] == "[1, 2]"


def test_a_table_has_a_row_per_place_and_its_facts_beside_it(tmp_path) -> None:
    back = xl.read(xl.save(CUBE, tmp_path / "cube.csv"))
    assert list(back.columns) == ["alpha", "seed", "accuracy"] and len(back) == 4
    again = back.set_index(["alpha", "seed"]).to_xarray().astype("float32")
    np.testing.assert_array_equal(again["accuracy"], CUBE["accuracy"])
    assert back.attrs["settings"] == {"epochs": 3} and back.attrs["citation"] == xl.cite(CUBE)
    assert pd.read_csv(tmp_path / "cube.csv").shape == (4, 3)  # plain: no comment that a spreadsheet would stumble over


def test_variables_of_different_dimensions_have_a_row_per_value_and_nothing_is_lost(tmp_path) -> None:
    back = xl.read(xl.save(UNEVEN, tmp_path / "cube.csv"))
    assert list(back.columns) == ["alpha", "seed", "a", "variable", "value"]
    assert len(back) == sum(v.size for v in UNEVEN.data_vars.values())
    plane = back[back["variable"] == "plane"].set_index(["alpha", "a"])["value"].to_xarray()
    np.testing.assert_array_equal(plane, UNEVEN["plane"])
    assert back[back["variable"] == "total"]["value"].tolist() == [7.0]


def test_tables_rows_and_what_has_a_cube_go_the_same_way(tmp_path) -> None:
    table = xl.tables("wma", 3)
    back = xl.read(xl.save(table, tmp_path / "t.csv"))
    pd.testing.assert_series_equal(back["value"], table["value"])
    assert back.attrs["citation"] == xl.cite("wma")
    rows = xl.claims.table("wma")
    read = xl.read(xl.save(rows, tmp_path / "r.csv"))
    assert json.loads(read["seeds"][0]) == rows["seeds"][0] and list(read["verdict"]) == list(rows["verdict"])
    xr.testing.assert_equal(xl.read(xl.save(SimpleNamespace(cube=CUBE), tmp_path / "e.nc")), CUBE)
    xr.testing.assert_equal(
        xl.read(xl.save(xl.published.cube("wma", 3), tmp_path / "p.nc")), xl.published.cube("wma", 3)
    )


def test_parquet_needs_pyarrow_and_says_so(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install pyarrow"):
        xl.save(CUBE, tmp_path / "cube.parquet")
    assert not list(tmp_path.iterdir())


def test_parquet_comes_back(tmp_path) -> None:
    pytest.importorskip("pyarrow")
    back = xl.read(xl.save(CUBE, tmp_path / "cube.parquet"))
    assert back["accuracy"].dtype == np.float32 and back.attrs["experiment"] == "dml" and len(back) == 4


@pytest.mark.parametrize(
    ("result", "name", "error", "message"),
    [
        (CUBE, "cube.xlsx", ValueError, "ending of a result's file '.xlsx'"),
        (pd.DataFrame({"a": [1]}), "table.nc", ValueError, "ending of a result's file '.nc'"),
        ([1, 2], "list.csv", TypeError, "writes cubes, arrays, tables, figures and live views, got list"),
        (3, "three.nc", TypeError, "got int"),
    ],
)
def test_what_cannot_be_written_is_refused_before_a_file_is_there(tmp_path, result, name, error, message) -> None:
    with pytest.raises(error, match=re.escape(message)):
        xl.save(result, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_reading_names_the_missing_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file 'gone\.nc'"):
        xl.read(tmp_path / "gone.nc")
    with pytest.raises(ValueError, match=r"'\.txt'"):
        xl.read(tmp_path / "x.txt")


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_a_figure_has_its_size_and_its_fonts_and_no_date(tmp_path, ending: str) -> None:
    with xl.plots.style("paper", columns=1, height=2.0):
        ax = xl.plots.spectra({"net": [3.0, 1.0, 0.5]})
    one, two = (xl.save(thing, tmp_path / f"{k}.{ending}") for k, thing in enumerate((ax, ax.figure)))
    held = one.read_bytes()
    assert len(held) == len(two.read_bytes()) and b"<dc:date>" not in held and b"CreationDate" not in held
    if ending == "pdf":
        assert b"/MediaBox [ 0 0 234 144 ]" in held  # 3.25 x 2 inches in points
        assert b"/FontFile2" in held and b"/Type3" not in held
    if ending == "svg":
        assert b'width="234pt" height="144pt"' in held and b"<text" not in held  # outlines need no font
    plt.close(ax.figure)
