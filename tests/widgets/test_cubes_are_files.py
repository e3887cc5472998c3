"""Every shipped cube, and a cube of every experiment, goes into a file and comes back as it was, attributes too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xarray as xr
from xmodal_widgets.explorers import shipped

import xmodal_lab as xl
from xmodal_lab.sweeps.cubes import fact

CUBES = sorted(path.name.removesuffix(".zarr.zip") for path in shipped.FOLDER.glob("*.zarr.zip"))
SMALL = {  # the cheapest settings of each, with axes of numbers, words, yes and no
    "dml": {"alpha": [0.0, 1.0], "epochs": 1, "width": 4},
    "synergy": {"direction": ["A→V", "V→A"], "steps": 2},
    "cox": {"steps": [5, 6], "connect_steps": 10},
    "uml": {"seed": [0, 1], "steps": 2},
    "wma": {"steps": [1, 2], "width": 8, "layers": 1, "batch_size": 8},
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
@pytest.mark.parametrize("name", SMALL)
def test_a_swept_cube_survives_netcdf_and_zarr(name: str, tmp_path: Path) -> None:
    cube = xl.sweep(name, progress=False, **SMALL[name])
    there_and_back(cube, tmp_path)
    facts = {k: fact(cube.attrs[k]) for k in ("defaults", "settings")}
    assert all(isinstance(f, dict) for f in facts.values()) and json.dumps(facts)


def test_every_experiment_is_tried() -> None:
    assert set(SMALL) == set(xl.sweeps.names())
