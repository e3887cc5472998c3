"""What a claim is, and the conditions under which the ledger measures it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..data.samples import Dataset
from ..sweeps import experiment as experiments
from ..sweeps import sweep
from ..sweeps.experiment import Experiment, Report
from ..utils import checks as check
from .verdicts import Measured

if TYPE_CHECKING:
    import xarray as xr

BUDGETS = ("quick", "full")
SEEDS = tuple(range(5))
LEAST_SEEDS = 5  # a verdict on a trained model rests on at least so many
_ID = re.compile(r"(synergy|cox|uml|wma|dml)\.\S+")
Found = TypeVar("Found")


def _silent(share: float = 0.0, message: str = "") -> None:
    return None


@dataclass(frozen=True)
class Conditions:
    """Under which conditions claims are measured; handed to each claim's ``measure``.

    Attributes:
        dataset: a dataset of the user's; None for each claim's own world.
        seeds: of trained models.
        budget: "quick" (minutes on a laptop) or "full".
        store: a folder that keeps every sweep, so that a killed run goes on; None keeps nothing.
        executor: any ``concurrent.futures.Executor``, for the sweeps.
        report: ``report(share, message)``.
        memory: results that several claims share, in this process.

    Raises:
        ValueError, TypeError: a budget, seeds or dataset that make no sense.
    """

    dataset: Dataset | None = None
    seeds: tuple[int, ...] = SEEDS
    budget: str = "quick"
    store: Path | None = None
    executor: Executor | None = None
    report: Report = _silent
    memory: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        check.one_of("budget", self.budget, BUDGETS)
        if self.dataset is not None and not isinstance(self.dataset, Dataset):
            raise TypeError(f"dataset must be a Dataset or None, got {type(self.dataset).__name__}; see xl.load.")
        if self.executor is not None:
            check.instance("executor", self.executor, Executor, "of a dask client give client.get_executor()")
        seeds = tuple(check.integer("seed", s, at_least=0) for s in self.seeds)
        if len(seeds) < 2 or len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds must be at least two different numbers, got {list(self.seeds)}.")
        object.__setattr__(self, "seeds", seeds)

    @property
    def quick(self) -> bool:
        """Whether the budget is "quick"."""
        return self.budget == "quick"

    def sweep(self, experiment: str | Experiment, **axes: Any) -> xr.Dataset:
        """A sweep over these seeds, computed once; claims that ask for the same one share it.

        Raises:
            What :func:`xmodal_lab.sweep` raises.
        """
        known = experiments.get(experiment)
        if "seed" in known.defaults:
            axes = {"seed": list(self.seeds), **axes}
        key = _digest({"experiment": known.name, "version": known.version, "defaults": known.defaults, "axes": axes})

        def run() -> xr.Dataset:
            store = None if self.store is None else self.store / "sweeps" / f"{_plain_name(known.name)}-{key}.zarr"
            return sweep(experiment, store=store, executor=self.executor, progress=False, **axes)

        return self.once(f"sweep {known.name} {key}", run)

    def once(self, key: str, function: Callable[[], Found]) -> Found:
        """``function()``, computed at most once per process under ``key``."""
        if key not in self.memory:
            self.memory[key] = function()
        found: Found = self.memory[key]
        return found


@dataclass(frozen=True)
class Claim:
    """One row of the ledger.

    Attributes:
        id: as in "dml.A".
        text: the paper's claim in one sentence.
        source: where it stands, as in "Tab 1".
        printed: the paper's own number; empty where it prints none.
        measure: function of :class:`Conditions` that measures it and gives the verdict by a rule of ``verdicts``.
        trained: whether it rests on trained models (then at least five seeds are asked for) or on exact checks.

    Raises:
        ValueError: an id without its paper, or an empty text.
    """

    id: str
    text: str
    source: str
    printed: str
    measure: Callable[[Conditions], Measured]
    trained: bool = True

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"a claim's id is its paper, a dot and a name, as in 'dml.A'; got {self.id!r}.")
        if not self.text or not self.source:
            raise ValueError(f"claim {self.id} needs a sentence and a source.")

    @property
    def paper(self) -> str:
        """The paper's short name."""
        return self.id.split(".")[0]


def _digest(what: Mapping[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if hasattr(value, "tolist"):
            return value.tolist()
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [plain(v) for v in value]
        return list(value) if isinstance(value, range) else value

    return hashlib.sha256(json.dumps(plain(what), sort_keys=True).encode()).hexdigest()[:12]


def _plain_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)
