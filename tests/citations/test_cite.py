"""What is cited for what one holds: each entry once, by name, object or table; what is not known is said."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import xarray as xr

import xmodal_lab as xl
from xmodal_lab.citations.cite import PAPERS, USES, _entries
from xmodal_lab.sweeps.circumstances import command

CUBE = xr.Dataset(
    {"accuracy": ("alpha", [0.5, 0.7])},
    {"alpha": [0.0, 1.0]},
    {"experiment": "dml", "defaults": '{"dataset": "digits"}', "settings": '{"dataset": "cremad", "epochs": 1}'},
)


def test_nothing_given_is_the_software_and_the_five_papers() -> None:
    assert xl.cite().keys == ("xmodal_lab", *xl.published.PAPERS) and xl.published.PAPERS == PAPERS


@pytest.mark.parametrize("name", xl.datasets.names())
def test_every_dataset_says_what_to_cite(name: str) -> None:
    """A loader that is added without a line here is told by this test."""
    assert "no reference" not in xl.cite(name)
    assert name in USES or name in ("features", "folder")


def test_every_entry_is_well_formed_and_used() -> None:
    used = {key for keys in USES.values() for key in keys} | set(PAPERS)
    assert used == set(_entries())
    for key, entry in _entries().items():
        assert re.fullmatch(r"@\w+\{[^\s,]+,\n(  \w+ = \{.*\},?\n)+\}", entry), key
        assert entry.count("{") == entry.count("}") and "title = " in entry and "author = " in entry, key
        assert entry.splitlines()[-2].endswith("}") and all(x.endswith(",") for x in entry.splitlines()[1:-2]), key


def test_a_cube_names_its_paper_and_its_data() -> None:
    """The setting goes before the default, an axis before both."""
    assert xl.cite(CUBE).keys == ("xmodal_lab", "dml", "cao2014cremad")
    along = CUBE.expand_dims(dataset=["nlvr", "emoji"])
    assert xl.cite(along).keys == ("xmodal_lab", "dml", "suhr2017nlvr", "emojione")
    assert xl.cite(SimpleNamespace(cube=CUBE)).keys == xl.cite(CUBE).keys  # as an explorer holds it


def test_a_run_and_a_list_of_things_can_be_cited() -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=60, n_test=6)
    run = xl.fit(xl.LateFusion.for_dataset(ds, architecture="mlp"), ds, epochs=1, device="cpu")
    assert xl.cite(run).keys == ("xmodal_lab",) and xl.cite(ds).keys == ("xmodal_lab",)
    assert xl.cite(ds, CUBE, "cremad").keys == ("xmodal_lab", "dml", "cao2014cremad")


def test_tables_and_rows_carry_their_citation() -> None:
    table = xl.tables("wma", 3)
    assert table.attrs["citation"] == xl.cite(table) == xl.cite("wma") and "Zhi, Zhuo" in xl.cite(table)
    assert xl.published.cube("wma", 3).attrs["citation"] == xl.cite("wma") == xl.cite(xl.published.cube("wma", 3))
    rows = xl.claims.table("uml")
    assert set(rows["cites"]) == {"uml"} and xl.cite(rows).keys == ("xmodal_lab", "uml")
    assert xl.cite(rows.iloc[0].to_dict()).keys == ("xmodal_lab", "uml")
    assert xl.cite(next(iter(xl.claims.known("cox").values()))).keys == ("xmodal_lab", "cox")
    on_data = xl.claims.table(dataset="avmnist")
    assert all("vielzeuf2018centralnet" in cites for cites in on_data["cites"])


def test_ones_own_data_are_told_and_what_says_nothing_is_refused() -> None:
    mine = xl.Dataset.from_arrays({"x": torch.rand(8, 3)}, [0, 1] * 4, name="mine")
    assert "no reference for 'mine'" in xl.cite(mine) and xl.cite(mine).keys == ("xmodal_lab",)
    with pytest.raises(ValueError, match="paper, dataset or key of an entry"):
        xl.cite("dmI")
    for thing in (3, pd.DataFrame({"a": [1]}), xr.Dataset({"a": 1})):
        with pytest.raises(TypeError, match=r"xl\.cite knows nothing of"):
            xl.cite(thing)


def test_looks_planes_and_densities_are_made_with_the_software(tmp_path) -> None:
    net = torch.nn.Linear(4, 3)
    batch = (torch.rand(8, 4), torch.arange(8) % 3)
    loss = xl.Loss.from_module(net, batch)
    looked = xl.look(net, batch, eigenvalues=1, f_gap=0.5)
    assert looked.attrs["settings"] == '{"eigenvalues": 1, "f_gap": [0.5]}'
    for made in (
        looked,
        xl.landscape.plane(loss, points=3),
        xl.curvature.density(loss, steps=3, probes=1).to_xarray(),
        xl.robustness.report(net, batch),
    ):
        assert xl.cite(made).keys == ("xmodal_lab",)
    back = xl.read(xl.save(looked, tmp_path / "look.nc"))
    assert back.attrs["command"] == command() and "user_commit" in back.attrs and "@software" in back.attrs["citation"]
