"""A world: where the data of a sweep come from, and what one member does with them; an experiment follows from it.

    >>> from dataclasses import dataclass
    >>> import xmodal_lab as xl
    >>> from xmodal_lab.sweeps.experiment import Variable
    >>> from xmodal_lab.experiments.world import World
    >>> @dataclass(frozen=True)
    ... class Coin(World):
    ...     name = "coin"
    ...     given: None = None
    ...     defaults = {"bias": 0.5, "seed": 0}
    ...     def variables(self, values):
    ...         return {"heads": Variable(label="share of heads")}
    ...     def load(self, s):
    ...         return range(10)
    ...     def member(self, s, report):
    ...         return {"heads": sum(toss < 10 * s["bias"] for toss in self.load(s)) / 10}
    >>> xl.sweep(Coin().experiment(), bias=[0.2, 0.9], progress=False)["heads"].values
    array([0.2, 0.9])

Every method takes a member's settings ``s``, a plain dict. What takes long is kept on the world or on its dataset
(:mod:`~xmodal_lab.utils.kept`), so that it goes when they go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

from ..data import datasets
from ..data.samples import Dataset, judged_alike, scored_on
from ..sweeps.experiment import Experiment, Report, Result, Variable, of_values
from ..utils import checks as check

Values = Mapping[str, Any]
Made = TypeVar("Made", bound="World")

# Settings of a dataset by name: the world in which WORLDS saw DML gain, few images, many clips that fixed pairs
# never show.
DATA = {
    "dataset": "digits", "dataset_modalities": "image+audio", "images_per_class": 25, "clips_per_class": 160,
    "texts_per_class": 24, "image_energy": 0.25, "audio_noise": 1.0, "data_seed": 0, "data_options": "",
}  # fmt: skip


class World(ABC):
    """What an experiment repeats over a grid: a source of data, and what one member does with it.

    ``s`` are a member's settings, ``members`` those of several; ``values`` the values that each setting takes in a
    sweep; ``report(share, text)`` is called on the way.

    Attributes:
        name: of the experiment; on data of one's own, "<name> on <theirs>".
        labels: setting -> how axes write it.
        given: the user's own data, or None where the settings say which.
        defaults: every setting with its default.
    """

    name: ClassVar[str]
    labels: ClassVar[Mapping[str, str]] = {}
    given: Any
    defaults: Any  # a property where they depend on the data

    @abstractmethod
    def load(self, s: Values) -> Any:
        """The data of these settings."""

    @abstractmethod
    def variables(self, values: Mapping[str, tuple[Any, ...]]) -> Mapping[str, Variable]:
        """What a member returns, where the settings of the sweep take these values."""

    def named_variables(self, values: Mapping[str, tuple[Any, ...]]) -> Mapping[str, Variable]:
        """The variables as these data have them: of real values there is no accuracy, and no loss in nats."""
        found = self.variables(values)
        return of_values(found) if getattr(self.given, "task", "") == "values" else found

    @abstractmethod
    def member(self, s: dict[str, Any], report: Report) -> Result:
        """One member; ``report(share, text)`` says on the way how far it is."""

    def check(self, s: dict[str, Any]) -> None:  # noqa: B027
        """Refuse settings that make no sense, before any work.

        Raises:
            ValueError, TypeError: which, and what would.
        """

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        """The settings without what makes no difference: members with the same normal form are computed once."""
        return s

    def prepare(self, s: dict[str, Any]) -> None:
        """Make what the first member of a session would wait for: somebody is going to look on."""
        self.load(s)

    def seconds(self, s: Values) -> float:
        """A guess of how long a member takes; 0 where there is none."""
        return 0.0

    def fingerprint(self, s: Values) -> str:
        """Of the numbers that these settings read from disk; "" for what is made, or given."""
        return ""

    @property
    def version(self) -> str:
        """Of the data: the numbers in ``given``, so that a store knows other data under the same name."""
        return "1" if self.given is None else str(self.given.fingerprint)

    def experiment(self, **defaults: Any) -> Experiment:
        """As something to sweep.

        Args:
            defaults: of settings, instead of the usual ones.

        Returns:
            An experiment whose functions are this world's methods.

        Raises:
            ValueError, TypeError: settings that make no sense.
        """
        made = Experiment(
            name=self.name if self.given is None else f"{self.name} on {getattr(self.given, 'name', 'own data')}",
            defaults=self.defaults,
            member=self.member,
            variables=self.named_variables,
            normal=self.normal,
            check=self.check,
            seconds=self.seconds,
            data=self.fingerprint,
            labels=self.labels,
            version=self.version,
            scored=scored_on(self.given),
            world=self,
            **self._together(),
        )
        return made.with_defaults(**defaults) if defaults else made

    def _together(self) -> dict[str, Any]:
        return {}


class StackedWorld(World):
    """A world whose members can be computed together; one alone is a stack of one."""

    @abstractmethod
    def stack(self, members: list[dict[str, Any]], report: Report) -> Sequence[Result | Exception]:
        """Members of one :meth:`stack_key`; a FloatingPointError in place of the result of one that diverged."""

    @abstractmethod
    def stack_key(self, s: dict[str, Any]) -> Hashable:
        """Members with the same key may stand in one stack; None: this one stands alone."""

    def stack_pays(self, s: dict[str, Any]) -> bool:
        """Whether a stack is faster than one after another."""
        return True

    def member(self, s: dict[str, Any], report: Report) -> Result:
        """One member, alone.

        Raises:
            FloatingPointError: it diverged.
        """
        result = self.stack([self.normal(dict(s))], report)[0]
        if isinstance(result, Exception):
            raise result
        return result

    def _together(self) -> dict[str, Any]:
        return {"stack": self.stack, "stack_key": self.stack_key, "stack_pays": self.stack_pays}


@dataclass(frozen=True)
class DatasetWorld(StackedWorld):
    """A stacked world on a dataset: on ``given``, or on the one that the settings in :data:`DATA` name.

    All members are scored on the same rows, those that are complete in all modalities of the dataset.
    """

    given: Dataset | None = None

    # Members may see different modalities; scored on the rows that each can read, they would meet different tasks.
    def __post_init__(self) -> None:
        if self.given is not None:
            check.instance("dataset", self.given, Dataset, "or None for the world of the paper")
            object.__setattr__(self, "given", judged_alike(self.given))

    def load(self, s: Values) -> Dataset:
        """The dataset of these settings; the last few are kept."""
        if self.given is not None:
            return self.given
        known = datasets.options(s["dataset"])
        options = {k: s[k] for k in DATA if k in known}
        options |= {"modalities": tuple(s["dataset_modalities"].split("+")), "seed": data_seed(s)}
        options = {k: v for k, v in options.items() if k in known} | further_options(s)
        return _loaded(s["dataset"], tuple(sorted(options.items())))

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        """The settings with the seed that the data is drawn by: None means the member's own."""
        return {**s, "data_seed": data_seed(s)} if "data_seed" in s else s

    def fingerprint(self, s: Values) -> str:
        """Of the numbers that these settings read from disk; "" for a dataset that is made, or given."""
        if self.given is not None or "root" not in datasets.options(s["dataset"]):
            return ""
        return DatasetWorld.load(self, s).fingerprint

    def check_data(self, s: Values) -> None:
        """Refuse a dataset or options of its loader that are not known; the loader itself checks their values.

        Raises:
            ValueError: which, and what would do.
        """
        if self.given is None:
            if s["data_seed"] is not None:
                check.integer("data_seed", s["data_seed"], at_least=0)
            check.one_of("dataset", s["dataset"], datasets.names())
            own = {"modalities": "dataset_modalities", "seed": "data_seed", **{k: k for k in DATA}}
            for option in further_options(s):
                if option in own:
                    raise ValueError(f"data_options cannot hold {option!r}: it has a setting, {own[option]!r}.")


def world_of(experiment: Experiment, kind: type[Made]) -> Made:
    """The world that an experiment follows from.

    Args:
        experiment: made by :meth:`World.experiment`, or with other defaults.
        kind: which class of worlds is expected.

    Returns:
        The world; its methods are the experiment's functions.

    Raises:
        TypeError: no experiment, or one of another world.
    """
    check.instance("experiment", experiment, Experiment, f"that follows from a {kind.__name__}")
    return check.instance(f"the world of experiment {experiment.name!r}", experiment.world, kind)


def data_seed(s: Values) -> int:
    """The seed that the data of a member is drawn by: its ``data_seed``, or where that is None its own ``seed``."""
    own = s.get("data_seed", 0)
    return int(s["seed"] if own is None else own)


def further_options(s: Values) -> dict[str, Any]:
    """The options of a loader that only ``data_options`` names; hashable."""
    named = datasets.parsed(s["dataset"], s.get("data_options", ""))
    return {k: tuple(v) if isinstance(v, list) else v for k, v in named.items()}


@lru_cache(maxsize=32)  # as many draws as a claim has seeds
def _loaded(name: str, options: tuple[tuple[str, Any], ...]) -> Dataset:
    return judged_alike(datasets.load(name, **dict(options)))
