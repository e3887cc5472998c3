"""The nets that dml's claims compare: each modality alone, SML, DML, and SML that sees every sample.

Claims of accuracy share a sweep that only trains, claims of flatness one that asks everything at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ....claims.claim import Conditions
from ....data.pairing import Pairing
from ....data.samples import Dataset, Samples
from ....experiments.world import world_of
from ....sweeps.experiment import Experiment
from ..member import EXPERIMENT, DmlWorld, experiment

if TYPE_CHECKING:
    import xarray as xr

EPOCHS = {"quick": 60, "full": 100}  # (ours; the paper trains 70); early stopping where there is a validation split
MOST_ROWS = {"train": 6000, "val": 1000, "test": 1000}  # of a user's dataset under the quick budget (ours)
LAST = 5  # epochs whose mean stands beside the best one (ours)
EVERYTHING: dict[str, Any] = {
    "flatness": True, "curve": 5, "attacks": True, "latents": True, "landscape_points": 11, "landscape_span": 0.5,
}  # fmt: skip

Read = Callable[[Any], np.ndarray]
Steps = dict[str, np.ndarray]


@dataclass(frozen=True)
class Site:
    """Where a claim is measured: an experiment, its modalities, and what to say of it."""

    experiment: Experiment
    names: tuple[str, ...]
    epochs: int
    note: str = ""

    @property
    def both(self) -> str:
        """All modalities together, as the setting is written."""
        return "+".join(self.names)


def site(c: Conditions, count: int = 2) -> Site:
    """The digits world, or the first ``count`` modalities of the user's dataset."""
    epochs = EPOCHS[c.budget]
    if c.dataset is None:
        names = ("image", "audio", "text")[:count]
        defaults = {"dataset_modalities": "+".join(names), "modalities": "+".join(names)}
        return Site(EXPERIMENT.with_defaults(**defaults) if count > 2 else EXPERIMENT, names, epochs)
    dataset = c.once(f"dml dataset {count} {c.budget}", lambda: _cut(c, count))
    note = "" if not c.quick or len(dataset.train) == len(c.dataset.train) else f"{len(dataset.train)} training rows."
    return Site(experiment(dataset), dataset.modalities, epochs, note)


def data(c: Conditions) -> Dataset:
    """The dataset of :func:`site`; the row says how many of its test rows are complete."""
    if c.dataset is not None:
        found = c.once(f"dml dataset 2 {c.budget}", lambda: _cut(c, 2))
        c.scores_on(found.test, found.modalities)
        return found
    return world_of(EXPERIMENT, DmlWorld).load(EXPERIMENT.defaults)


def _cut(c: Conditions, count: int) -> Dataset:
    """The user's dataset with its first modalities and, under the quick budget, at most ``MOST_ROWS`` rows."""
    assert c.dataset is not None
    names = c.dataset.modalities[:count]

    def few(split: str, samples: Samples) -> Samples:
        samples = samples.select(names)
        most = MOST_ROWS[split]
        if not c.quick or len(samples) <= most:
            return samples
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
        return samples.subset(order[:most])

    splits: dict[str, Any] = {k: few(k, s) for k, s in c.dataset.splits.items()}
    return replace(c.dataset, kinds={m: c.dataset.kinds[m] for m in names}, **splits)


def trained(c: Conditions) -> dict[str, xr.Dataset]:
    """As :func:`arms` with what training alone tells: the same numbers to the bit, at a tenth of the cost."""
    return _arms(c, site(c), {})


def arms(c: Conditions, at: Site | None = None, **more: Any) -> dict[str, xr.Dataset]:
    """Each single modality, "SML" and "DML" -> its part of the sweep, over ``seed``."""
    return _arms(c, at or site(c), more or EVERYTHING)


def _arms(c: Conditions, where: Site, asked: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    cube = c.sweep(
        where.experiment, modalities=[*where.names, where.both], alpha=[0.0, 1.0],
        epochs=where.epochs, **asked,
    )  # fmt: skip
    found = {m: cube.sel(modalities=m, alpha=0.0) for m in where.names}
    return found | {name: cube.sel(modalities=where.both, alpha=a) for name, a in (("SML", 0.0), ("DML", 1.0))}


def sees_all(c: Conditions, at: Site | None = None, **more: Any) -> xr.Dataset:
    """The control: fixed pairs, but every sample has one, in about as many steps."""
    where = at or site(c)
    epochs = max(3, round(where.epochs * _rows(where, "complete") / _rows(where, "all")))
    return c.sweep(where.experiment, modalities=where.both, pairing="fixed", rows="all", epochs=epochs, **more)


def _rows(where: Site, rows: str) -> int:
    train = world_of(where.experiment, DmlWorld).load(where.experiment.defaults).train
    return len(Pairing("fixed", rows=rows).draw(train, where.names))


def values(part: xr.Dataset, name: str, **at: Any) -> np.ndarray:
    """(seeds,) of one variable."""
    picked: np.ndarray = part[name].sel(**at).to_numpy()
    return picked


def best_single(found: Mapping[str, xr.Dataset], names: Sequence[str]) -> np.ndarray:
    """Test accuracy of the better modality, seed by seed."""
    best: np.ndarray = np.max([values(found[m], "accuracy") for m in names], axis=0)
    return best


def late(part: xr.Dataset) -> np.ndarray:
    """(seeds,) test accuracy as the mean of the last :data:`LAST` epochs, whatever weights were kept."""
    curve = part["accuracy_curve"].dropna("epoch", how="all").isel(epoch=slice(-LAST, None))
    mean: np.ndarray = curve.mean("epoch").to_numpy()
    return mean


def over_each(found: Mapping[str, xr.Dataset], names: Sequence[str], read: Read, *, less: bool = False) -> Steps:
    """Differences per seed, one modality → SML for each modality, and SML → DML, as the tables print them.

    Which of two nearly tied modalities is the better one turns with the seeds, so the word rests on both.

    Args:
        found: parts of the sweep by arm.
        names: of the modalities.
        read: part -> (seeds,).
        less: whether the claim is of a fall. It is then in parts of the mean of what it falls from, since λ_max, losses
            and drop rates of other nets and data are no measure of this one's.
    """
    each = {name: read(part) for name, part in found.items()}
    if not less:
        steps = {f"SML over {m}": each["SML"] - each[m] for m in names}
        return steps | {"DML over SML": each["DML"] - each["SML"]}
    falls = {f"SML below {m}": (each[m], each["SML"]) for m in names}
    falls["DML below SML"] = each["SML"], each["DML"]
    return {name: (above - below) / np.abs(np.nanmean(above)) for name, (above, below) in falls.items()}


def printed_falls(number: int, metric: str, **rows: str) -> dict[str, float]:
    """The falls that a table of the paper prints for AVMNIST, in % of what it falls from; those that rise are left out.

    Args:
        number: of the table.
        metric: its name there.
        rows: column -> value, for one modality's part of the table; both modalities otherwise.
    """
    from ....claims.published import tables

    table = tables("dml", number).query("dataset == 'AVMNIST' and metric == @metric")
    for column, row in rows.items():
        table = table[table[column] == row]
    value = table.set_index("method")["value"]
    steps = {"SML below image": ("Modality i", "SML"), "SML below audio": ("Modality j", "SML")}
    steps["DML below SML"] = "SML", "DML"
    found = {k: 100 * (1 - value[b] / value[a]) for k, (a, b) in steps.items() if a in value}
    return {name: float(share) for name, share in found.items() if share > 0}


def elsewhere(sizes: Mapping[str, float]) -> dict[str, float]:
    """The smaller of the effects that are printed for image and audio, as one of interest for other modalities."""
    found: dict[str, float] = {}
    for name, size in sizes.items():
        if (pattern := name.replace("image", "*").replace("audio", "*")) != name:
            found[pattern] = min(size, found.get(pattern, size))
    return found
