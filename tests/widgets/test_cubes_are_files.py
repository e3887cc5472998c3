"""Every shipped cube, and a cube of every experiment, goes into a file and comes back as it was, attributes too."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xarray as xr
from xmodal_widgets.explorers import shipped

import xmodal_lab as xl
from xmodal_lab.sweeps.cubes import fact

ROOT = Path(__file__).parents[2]
CUBES = sorted(path.name.removesuffix(".zarr.zip") for path in shipped.FOLDER.glob("*.zarr.zip"))
SMALL = {  # the cheapest settings of each, with axes of numbers, words, yes and no
    "dml": {"alpha": [0.0, 1.0], "epochs": 1, "width": 4},
    "synergy": {"direction": ["A→V", "V→A"], "steps": 2},
    "cox": {"steps": [5, 6], "connect_steps": 10, "perceptor_steps": 5},
    "uml": {"seed": [0, 1], "steps": 2},
    "wma": {"steps": [1, 2], "width": 8, "layers": 1, "batch_size": 8, "pretraining": 2},
    "bench": {"a_align": [0.0, 1.0], "epochs": 1},
}


def there_and_back(cube: xr.Dataset, folder: Path) -> None:
    assert all(isinstance(value, (str, int, float)) for value in cube.attrs.values())  # what a file may hold
    cube.to_netcdf(folder / "cube.nc")
    cube.to_zarr(folder / "cube.zarr", zarr_format=3, consolidated=False)
    again = {
        "netcdf": xr.open_dataset(folder / "cube.nc").load(),
        "zarr": xr.open_zarr(folder / "cube.zarr", consolidated=False).load(),
    }
    for way, found in again.items():
        xr.testing.assert_equal(found, cube)
        assert set(found.attrs) == set(cube.attrs), way
        for name, value in cube.attrs.items():
            assert found.attrs[name] == value or (found.attrs[name] != found.attrs[name] and value != value), (
                way,
                name,
            )
        for name, variable in cube.variables.items():
            kept = {k: v for k, v in found[name].attrs.items() if k in variable.attrs}
            assert kept == dict(variable.attrs), (way, name)


@pytest.mark.filterwarnings("ignore:.*data type:Warning")  # zarr: text has no settled form in version 3 yet
@pytest.mark.parametrize("name", CUBES)
def test_a_shipped_cube_survives_netcdf_and_zarr(name: str, tmp_path: Path) -> None:
    there_and_back(shipped.load(name), tmp_path)


@pytest.mark.filterwarnings("ignore:.*data type:Warning")
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in ("dml", "uml"))) for n in SMALL])
def test_a_swept_cube_survives_netcdf_and_zarr(name: str, tmp_path: Path) -> None:
    cube = xl.sweep(name, progress=False, **SMALL[name])
    there_and_back(cube, tmp_path)
    facts = {k: fact(cube.attrs[k]) for k in ("defaults", "settings")}
    assert all(isinstance(f, dict) for f in facts.values()) and json.dumps(facts)


def test_every_experiment_is_tried() -> None:
    assert set(SMALL) == set(xl.sweeps.names())


STACKS = """
import os
from xmodal_lab.sweeps.experiment import Experiment
def member(s, report):
    return stack([s], report)[0]
def stack(members, report):
    return [{"pid": os.getpid(), "together": len(members)} for _ in members]
WHERE = Experiment("where", {"seed": 0}, member, ["pid", "together"], stack=stack)
"""


@pytest.mark.slow
def test_cubes_are_made_by_a_process_on_each_core_in_stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stacks_on_cores.py").write_text(STACKS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.spec_from_file_location("make_cubes", ROOT / "scripts" / "make_cubes.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def compute_cube(**options: Any) -> xr.Dataset:
        return xl.sweep(importlib.import_module("stacks_on_cores").WHERE, seed=range(6), **options)

    monkeypatch.setattr(script, "cores", lambda: 2)
    monkeypatch.setattr(script.explorers, "module", lambda name: SimpleNamespace(compute_cube=compute_cube))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "cubes")
    path, took = script.make("where")
    cube = shipped.load("where")
    assert path.is_file() and cube.attrs["processor_seconds"] == pytest.approx(took, abs=1)
    assert os.getpid() not in cube["pid"].values and bool((cube["together"] == 3).all()), "two stacks, elsewhere"
