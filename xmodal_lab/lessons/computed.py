"""Sweeps that take longer than a lesson: computed once, shipped, and computed again for whoever asks.

Each is what one call of ``xl.sweep`` gives; ``scripts/make_kept.py`` writes the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils import checks

if TYPE_CHECKING:
    import xarray as xr

FOLDER = Path(__file__).parent / "shipped"
SEEDS = range(10)
# The world and the steps of the ledger's rows of cox; without a data seed a seed draws data and perceptors too.
_HALVES: Mapping[str, Any] = {
    "dataset": "halves", "out": "lower", "label_share": 0.04, "data_seed": None, "perceptor_steps": 100,
    "steps": 500, "explore_from": 0.3, "rounds": 3, "connect_steps": 100, "rule": "self",
}  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """A sweep that is kept.

    Attributes:
        experiment: its name.
        fixed: settings that are the same for all.
        axes: what is swept.
        variables: those of the cube that are kept.
    """

    experiment: str
    fixed: Mapping[str, Any]
    axes: Mapping[str, Any]
    variables: tuple[str, ...] = ("accuracy",)


KEPT: Mapping[str, Kept] = {
    "cox.beside": Kept(
        "cox", {**_HALVES, "shared": 1.0},
        {"algorithm": ["erm", "entmin", "aligned"], "entropy_weight": [0.1, 0.3], "seed": SEEDS},
    ),
    "cox.guided": Kept(
        "cox", _HALVES,
        {"shared": [0.0, 0.5, 1.0], "control": ["none", "own", "scrambled"], "seed": SEEDS},
    ),
    "cox.uneven": Kept(
        "cox", {**_HALVES, "data_seed": 0, "shared": 1.0, "steps": 200, "scenario": "unsupervised"},
        {"unbalance": [1.0, 10.0, 30.0], "seed": SEEDS},
        ("accuracy", "balanced", "majority", "predicted"),
    ),
}  # fmt: skip


def kept(name: str, again: bool = False, **only: Any) -> xr.Dataset:
    """A sweep that ships with the lessons, or the same computed here.

    Args:
        name: one of :data:`KEPT`.
        again: compute it with the code at hand, which takes minutes.
        only: with ``again``, other values for an axis: ``seed=[0]`` for one seed.

    Returns:
        The cube; its ``attrs`` hold the settings, the versions and the commit that computed it.

    Raises:
        ValueError: no such sweep; ``only`` without ``again``, or for what is no axis.

    Example:
        >>> from xmodal_lab import lessons
        >>> dict(lessons.kept("cox.guided").sizes)
        {'shared': 3, 'control': 3, 'seed': 10}
    """
    sweep = KEPT[checks.one_of("name", name, KEPT)]
    for axis in only:
        checks.one_of("axis", axis, sweep.axes)
    if checks.boolean("again", again):
        return _computed(sweep, only)
    if only:
        raise ValueError(f"{', '.join(only)}: what is kept has all values; select from it, or say again=True.")
    import xarray as xr

    return xr.Dataset.from_dict(json.loads(_file(name).read_text(encoding="utf-8")))


def keep(name: str, cube: xr.Dataset) -> Path:
    """Write ``cube`` as what :func:`kept` gives; numbers with six digits.

    Args:
        name: one of :data:`KEPT`.
        cube: what ``kept(name, again=True)`` returned.

    Returns:
        The file.

    Raises:
        ValueError: no such sweep.
    """
    path = _file(checks.one_of("name", name, KEPT))
    told = {k: v for k, v in cube.attrs.items() if k in ("experiment", "settings", "versions", "device", "commit")}
    plain = cube.round(6)
    plain.attrs = told  # not the machine's clock, nor how it was called
    path.write_text(json.dumps(plain.to_dict(), ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _file(name: str) -> Path:
    return FOLDER / f"{name}.json"


def _computed(sweep: Kept, only: Mapping[str, Any]) -> xr.Dataset:
    from ..sweeps import sweep as swept

    axes: dict[str, Any] = {**sweep.fixed, **sweep.axes, **only}
    return swept(sweep.experiment, progress=False, **axes)[list(sweep.variables)]
