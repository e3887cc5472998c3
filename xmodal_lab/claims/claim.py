"""What a claim is, and the conditions under which the ledger measures it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..data.samples import Dataset, Samples, rows_said
from ..sweeps import experiment as experiments
from ..sweeps import sweep
from ..sweeps.experiment import Experiment, Report
from ..utils import checks as check
from .rehearsal import Enough, Refused, cube_of
from .seeds import COSTS, seeds_of
from .verdicts import Effect, Measured, missing

if TYPE_CHECKING:
    import xarray as xr

BUDGETS = ("quick", "full")
SEEDS = tuple(range(5))
LEAST_SEEDS = 5  # a verdict on a trained model rests on at least so many
_ID = re.compile(r"[A-Za-z]\w*\.\S+")
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
        first: the first seed of claims that have their own number of them.
        alone: keep every sweep in this process, because other processes are at work on other claims.
        settings: of the experiments, in place of what a claim would take, as in ``{"epochs": 30}``; kept in the row.
        memory: results that several claims share, in this process.
        told: names of settings that were taken, and what the claim itself would have taken.
        devices: what the sweeps ran on.
        rows: on how many test rows the arms were scored, in a sentence, where that is not all of them.
        rehearsing: sweeps check what they are asked and give made-up numbers; nothing is trained.

    Raises:
        ValueError, TypeError: a budget, seeds or dataset that make no sense.
    """

    dataset: Dataset | None = None
    seeds: tuple[int, ...] = SEEDS
    budget: str = "quick"
    store: Path | None = None
    executor: Executor | None = None
    report: Report = _silent
    first: int = 0
    alone: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    told: dict[str, set[str]] = field(default_factory=dict, compare=False, repr=False)
    devices: set[str] = field(default_factory=set, compare=False, repr=False)
    rows: set[str] = field(default_factory=set, compare=False, repr=False)
    rehearsing: bool = field(default=False, compare=False, repr=False)

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
        object.__setattr__(self, "settings", dict(check.mapping("settings", self.settings, "values")))

    def of(self, claim: Claim, seeds: Sequence[int] | Mapping[str, Sequence[int]] | None) -> Conditions:
        """These conditions for one claim: its own number of seeds, unless some are given, for all or by id."""
        seeds = seeds.get(claim.id) if isinstance(seeds, Mapping) else seeds
        own = tuple(seeds) if seeds is not None else claim.seeds(self.budget, self.first)
        return replace(self, seeds=own, told={}, devices=set(), rows=set())

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
        axes |= (mine := self._set(known, axes))
        if "data_seed" in known.defaults and "data_seed" not in axes:
            known = known.with_defaults(data_seed=None)  # an interval over seeds is one over data too
        if "seed" in known.defaults:
            axes = {"seed": list(self.seeds), **axes}
        if self.rehearsing:
            return cube_of(known, axes, mine)
        key = _digest({"experiment": known.name, "version": known.version, "defaults": known.defaults, "axes": axes})

        def run() -> xr.Dataset:
            store = None if self.store is None else self.store / "sweeps" / f"{_plain_name(known.name)}-{key}.zarr"
            how = "auto" if not self.alone else "sequential" if known.stack is None else "stacked"
            return sweep(known, store=store, executor=self.executor, how=how, progress=False, **axes)

        cube = self.once(f"sweep {known.name} {key}", run)
        self.devices.add(str(cube.attrs.get("device", "")))
        self.rows.update({known.scored} - {""})
        return cube

    def trains(self) -> None:
        """Said by a claim before it trains nets without a sweep: a rehearsal of its settings ends there."""
        if self.rehearsing:
            raise Enough

    def scores_on(self, samples: Samples, modalities: Sequence[str]) -> None:
        """Note on how many test rows the arms are scored, for a claim that makes no sweep: a sweep tells it itself.

        Args:
            samples: the test split.
            modalities: what a row must have to be scored.
        """
        complete = int(reduce(lambda some, more: some & more, [samples.present[m] for m in modalities]).sum())
        self.rows.update({rows_said(complete, len(samples), modalities)} - {""})

    def setting(self, name: str, default: Found) -> Found:
        """The user's setting of this name, else ``default``: for a claim that works other settings out of it."""
        self.told[name] = {"taken"}
        found: Found = self.settings.get(name, default)
        return found

    def _set(self, known: Experiment, axes: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that this experiment knows, in place of the claim's own; never of what the claim compares."""
        found = {}
        for name, value in self.settings.items():
            if name not in known.defaults or self.told.get(name) == {"taken"}:
                continue
            if name == "seed":  # one for all would leave a row of one outcome, which says that it rests on many
                raise Refused("'seed' is no setting of a claim, which rests on several: give them as seeds.")
            own = axes.get(name, known.defaults[name])
            values = self.told.setdefault(name, set())
            values.add(repr(own))
            if (name in axes and not isinstance(own, str) and hasattr(own, "__len__")) or len(values) > 1:
                raise Refused(f"this claim compares values of {name!r} itself, so it cannot be set.")
            found[name] = value
        return found

    def once(self, key: str, function: Callable[[], Found]) -> Found:
        """``function()``, computed at most once per process and set of seeds under ``key``."""
        key = f"{key} {self.seeds}"
        if key not in self.memory:
            self.memory[key] = self._noting(key, function)
        devices, rows, told = self.memory.get(f"seen by {key}", ((), (), {}))
        self.devices.update(devices)
        self.rows.update(rows)
        self._tell(told)
        found: Found = self.memory[key]
        return found

    def _noting(self, key: str, function: Callable[[], Found]) -> Found:
        """``function()``; what its sweeps note goes with it, to every claim that shares it."""
        before = set(self.devices), set(self.rows), {name: set(values) for name, values in self.told.items()}
        for noted in (self.devices, self.rows, self.told):
            noted.clear()
        found = function()
        told = {name: set(values) for name, values in self.told.items()}
        self.memory[f"seen by {key}"] = set(self.devices), set(self.rows), told
        self.devices.update(before[0])
        self.rows.update(before[1])
        self._tell(before[2])
        return found

    def _tell(self, more: Mapping[str, set[str]]) -> None:
        """Note settings that were taken by what several claims share, as if each had asked for it itself.

        Raises:
            Refused: with these, the claim would take several values in place of one setting.
        """
        for name, values in more.items():
            both = self.told.get(name, set()) | values
            self.told[name] = {"taken"} if "taken" in both else both
            if len(self.told[name]) > 1:
                raise Refused(f"this claim compares values of {name!r} itself, so it cannot be set.")


@dataclass(frozen=True)
class Claim:
    """One row of the ledger.

    Attributes:
        id: as in "dml.A"; of a claim of your own, as in "mine.first".
        text: the paper's claim in one sentence.
        source: where it stands, as in "Tab 1".
        printed: the paper's own number in words; empty where it prints none.
        measure: function of :class:`Conditions` that measures it and gives the verdict by a rule of ``verdicts``.
        trained: whether it rests on trained models (then at least five seeds are asked for) or on exact checks.
        effect: the printed effect as a number, in the unit of the row, positive as the claim says; of a claim of
            several steps, name of the step -> effect. A null is "smaller than printed" only where it excludes this.
        sesoi: the smallest effect of interest, likewise (or one for all steps), where the paper prints none. "SML over
            *" is for steps of that name without a size of their own, as modalities of other data than the paper's give.
        unit: of both numbers. Outcomes in another unit are refused: 1.39 points beside a fall of 1.39 % say nothing.
        cost: what one seed costs, a key of ``seeds.SEEDS``; it fixes the number of seeds beforehand.
        shares: claims of one word share sweeps and are measured in one process; by default all of a paper.
        first: its first seed. Where a setting was fixed after a look at the seeds from 0 on, the row is measured on
            others.
        tasks: sorts of labels (``dataset.task``) that it can be asked of; none for all. On a dataset of other labels
            it "needs class labels", and nothing is trained.
        modalities: that a dataset must have at least; with fewer it "needs" them, likewise.

    Raises:
        ValueError: an id without its paper, an empty text, an unknown cost, or an effect that is no finite number.
        TypeError: words that are none, or a measure that cannot be called.
    """

    id: str
    text: str
    source: str
    printed: str
    measure: Callable[[Conditions], Measured]
    trained: bool = True
    effect: Effect = None
    sesoi: Effect = None
    unit: str = "points"
    cost: str = "minutes"
    shares: str = ""
    first: int = 0
    tasks: Sequence[str] = ()
    modalities: int = 1

    def __post_init__(self) -> None:
        check.integer("first", self.first, at_least=0)
        check.integer("modalities", self.modalities, at_least=1)
        tasks = tuple(check.one_of("sort of labels in tasks", t, _SORTS) for t in check.listed("tasks", self.tasks))
        object.__setattr__(self, "tasks", tasks)
        for name in ("id", "text", "source", "printed", "unit", "shares"):
            check.instance(name, getattr(self, name), str)
        check.function("measure", self.measure, "of Conditions that gives what a rule of verdicts made")
        check.one_of("cost", self.cost, COSTS)
        check.instance("trained", self.trained, bool)
        for name, sizes in (("effect", self.effect), ("sesoi", self.sesoi)):
            for size in sizes.values() if isinstance(sizes, Mapping) else [] if sizes is None else [sizes]:
                check.real(name, size)
        if not _ID.fullmatch(self.id):
            raise ValueError(f"a claim's id is its paper, a dot and a name, as in 'dml.A'; got {self.id!r}.")
        if not self.text or not self.source:
            raise ValueError(f"claim {self.id} needs a sentence and a source.")

    @property
    def paper(self) -> str:
        """The paper's short name."""
        return self.id.split(".")[0]

    def seeds(self, budget: str = "quick", first: int = 0) -> tuple[int, ...]:
        """Its seeds under a budget, from its own first seed on and ``first`` further: see ``seeds.SEEDS``."""
        begin = self.first + first
        return seeds_of(self.cost, budget, begin) if self.trained else tuple(range(begin, begin + LEAST_SEEDS))

    def judged(self, conditions: Conditions) -> Measured:
        """Measure it and judge what was found beside the printed effect.

        Args:
            conditions: under which it is measured.

        Returns:
            What was measured, with its word.

        Raises:
            ValueError: a setting that none of its experiments knows, or a value that they cannot take, both before
                anything is trained; an effect for a step that there is not, or in
                another unit than its outcomes have.
            What ``measure`` raises.
        """
        given = conditions.dataset
        if given is not None and self.tasks and given.task not in self.tasks:
            wanted = " or ".join(_SORTS[task] for task in self.tasks)
            return missing(wanted, note=f"The labels of {given.name} are {_SORTS[given.task]}.")
        if given is not None and len(given.modalities) < self.modalities:
            alone = ", ".join(given.modalities)
            return missing(f"a dataset with {self.modalities} modalities", note=f"{given.name} has {alone}.")
        if self.trained and conditions.settings:
            self._rehearse(conditions)
        found = self.measure(conditions)
        self._refuse_unknown(conditions)
        note = " ".join(part for part in (found.note, *sorted(conditions.rows)) if part)
        return self.beside(replace(found, note=note), partial=conditions.dataset is not None)

    def _rehearse(self, conditions: Conditions) -> None:
        """Refuse settings that it cannot take, before anything is trained."""
        before = replace(conditions, rehearsing=True, store=None, memory={}, told={}, devices=set(), rows=set())
        try:
            self.measure(before)
        except Refused:
            raise
        except Enough:
            pass
        except Exception:  # made-up numbers have led it astray: what it has not asked for yet, measuring will tell
            return
        self._refuse_unknown(before)

    def _refuse_unknown(self, conditions: Conditions) -> None:
        if unknown := [name for name in conditions.settings if name not in conditions.told and self.trained]:
            raise Refused(f"{self.id} takes no setting {unknown[0]!r}.")

    def beside(self, found: Measured, partial: bool = False) -> Measured:
        """What was measured beside the effect of this claim, which has to be in its unit.

        Args:
            found: outcomes, of now or of a row that was kept.
            partial: effects of steps that it does not have are left out; else they are an error.

        Returns:
            The same outcomes with their word.

        Raises:
            ValueError: an effect for a step that there is not, or in another unit than its outcomes have.
        """
        for step in found.steps:
            stated = any(
                step.name in sizes
                if isinstance(sizes, Mapping)
                else sizes is not None and step.rule in ("win", "ratio")
                for sizes in (self.effect, self.sesoi)
            )
            if stated and step.unit != self.unit:
                where = f" of {step.name!r}" if step.name else ""
                raise ValueError(
                    f"{self.id} states its effect in {self.unit!r}, but the outcomes{where} are in {step.unit!r}: give "
                    "Claim(unit=…) and the effect in that, or measure the row again."
                )
        return found.beside(self.effect, self.sesoi, partial=partial)


def about(claims: Sequence[Claim], *tasks: str, but: Sequence[str] = (), modalities: int = 1) -> tuple[Claim, ...]:
    """The claims, those about trained models with their ``tasks`` and how many ``modalities`` they compare.

    ``but`` names ids that look at no labels.
    """
    asked: dict[str, Any] = {"tasks": tasks, "modalities": modalities}
    return tuple(replace(c, **asked) if c.trained and c.id not in but else c for c in claims)


# Sorts of labels, in words.
_SORTS = {"classes": "class labels", "labels": "several classes a row", "values": "real values"}


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
