"""Small data files that lie inside the package."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
import numpy.typing as npt


@cache
def arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of ``arrays/<name>.npz``, read once and read-only."""
    with _path(f"{name}.npz").open("rb") as file, np.load(file, allow_pickle=False) as archive:
        found = {key: archive[key] for key in archive.files}
    for array in found.values():
        array.flags.writeable = False
    return found


def recipe(name: str) -> dict[str, Any]:
    """The contents of ``arrays/<name>.json``."""
    content: dict[str, Any] = json.loads(_path(f"{name}.json").read_text(encoding="utf-8"))
    return content


def _path(name: str) -> Traversable:
    path = resources.files(__package__).joinpath("arrays", name)
    if not path.is_file():
        raise FileNotFoundError(f"the package's own data file {name!r} is missing; install xmodal_lab again.")
    return path
