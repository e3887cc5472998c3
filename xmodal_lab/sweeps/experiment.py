"""Experiments: what a sweep repeats over a grid of settings, and where the known ones are.

An experiment is data: a name, the default of every setting, a function that computes one
member, and the variables it returns, so that the cube can be laid out before anything ran.

    >>> import xmodal_lab as xl
    >>> from xmodal_lab.sweeps.experiment import Experiment, Variable
    >>> def member(settings, report):
    ...     return {"accuracy": 1 - settings["noise"], "spectrum": [3.0, 2.0]}
    >>> mine = Experiment("mine", {"noise": 0.0, "seed": 0}, member,
    ...                   {"accuracy": Variable(), "spectrum": Variable({"k": range(2)})})
    >>> cube = xl.sweep(mine, noise=[0.0, 0.1, 0.2], seed=range(5), progress=False)
    >>> cube["spectrum"].dims, cube["accuracy"].mean("seed").values
    (('noise', 'seed', 'k'), array([1. , 0.9, 0.8]))

Processes and clusters find a member's function by its name, so it stands in a module of
its own, not in a notebook's cell (dask sends those along; processes cannot).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..utils import checks as check
from ..utils.registry import Registry
from ..utils.torch_state import gradients

Setting = str | int | float | bool | None
Settings = Mapping[str, Setting]
# report(share, message): how far a member is; may raise to leave it.
Report = Callable[..., None]
Result = Mapping[str, Any]


def listens(report: Report) -> bool:
    """Whether somebody looks on while a member is computed, so that :func:`tell` is worth its while.

    Args:
        report: as a member gets it.

    Returns:
        True where somebody does; in a sweep nobody.
    """
    return getattr(report, "tell", None) is not None


def tell(report: Report, found: Result | Callable[[], Result]) -> None:
    """Hand over what is known of a member before all of it is: a live view shows it while the rest is computed.

    A sweep does not listen; then nothing happens.

    Args:
        report: as a member gets it; its listener is its attribute ``tell``.
        found: some of the member's variables, with coordinates where they are known for a part; or a function that
            makes them, called where somebody listens.

    Example:
        >>> from xmodal_lab.sweeps.experiment import tell
        >>> def member(settings, report):
        ...     for step in range(3):
        ...         tell(report, {"accuracy": step / 3})
        ...     return {"accuracy": 1.0}
    """
    listener = getattr(report, "tell", None)
    if listener is not None:
        listener(found() if callable(found) else found)


# Folders of papers/, in the order in which ledger, tables and lessons name them: a new paper is named here, once.
PAPERS = ("synergy", "cox", "uml", "wma", "dml")
# Name -> module that holds EXPERIMENT. Imported when asked for, since papers stand on sweeps.
KNOWN: dict[str, str] = {"bench": "xmodal_lab.experiments.bench", **{p: f"xmodal_lab.papers.{p}" for p in PAPERS}}
EXPERIMENTS = Registry("experiment", {name: f"{module}:EXPERIMENT" for name, module in KNOWN.items()})
# Packages that hold EXPERIMENT and, of a paper with a ledger, CLAIMS.
PAPERS_OF_OTHERS = Registry("paper", dict.fromkeys(KNOWN))
# Under this name a member's result may say why variables of it are NaN: variable -> a sentence.
WHY = "why"
# Arguments of sweep itself.
RESERVED = (
    "experiment",
    "store",
    "executor",
    "how",
    "stack",
    "progress",
    "retries",
    "workers",
    "quiet",
    "help",
    "on_error",
    "accept_edited",
)
DTYPES = ("float64", "float32")
# Values along one dimension, and members of one grid, at most: more is a slip of the pen (ours).
MOST = 1_000_000


@dataclass(frozen=True)
class Variable:
    """One output of an experiment.

    Attributes:
        dims: its own dimensions, name -> coordinates; none for a number. Those of the axes come before.
        label, units: as axes and colour bars write them.
        dtype: "float64" or "float32"; NaN stands where nothing was computed yet.
        optional: a member may leave it out or give None (NaN), as one that was not asked for it; otherwise that is
            an error. NaN in the result is always a number.
    """

    dims: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    label: str = ""
    units: str = ""
    dtype: str = "float64"
    optional: bool = False

    def __post_init__(self) -> None:
        check.one_of("dtype of a variable", self.dtype, DTYPES)
        check.mapping("dims", self.dims, "coordinates")
        dims = {str(name): _coordinate(name, values) for name, values in self.dims.items()}
        object.__setattr__(self, "dims", dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of its own dimensions."""
        return tuple(len(values) for values in self.dims.values())


def of_values(variables: Mapping[str, Variable]) -> dict[str, Variable]:
    """The same variables of real-valued labels, whose loss is a squared error and whose score is minus that."""
    return {
        name: replace(
            v,
            label=v.label.replace("accuracy", "minus squared error"),
            units="" if v.units == "nats" else v.units,
        )
        for name, v in variables.items()
    }


def on_demand(variables: Mapping[str, Variable]) -> dict[str, Variable]:
    """The same variables, which a member that was not asked for them may leave out."""
    return {name: replace(variable, optional=True) for name, variable in variables.items()}


@dataclass(frozen=True)
class Experiment:
    """What a sweep repeats.

    Attributes:
        name: what cubes and stores call it.
        defaults: every setting with its default; str, int, float, bool or None.
        member: ``member(settings, report) -> {variable: number, array or DataArray}``. A DataArray may
            cover a part of the coordinates. ``report(share, message)`` moves the progress bar. Beside its variables it
            may give ``{"why": {variable: sentence}}``, why one is NaN: the cube keeps that in ``attrs["why"]``.
        variables: name -> :class:`Variable`, or names alone for numbers; or a function of the values that
            the settings take (name -> tuple), for variables whose size depends on them.
        stack: ``stack(list of settings, report) -> list of results``, where members can be computed
            together; a FloatingPointError in place of a result marks a member that diverged.
        stack_key: settings -> members with the same key may stand in one stack; None: cannot be stacked.
            All members together when not given.
        stack_pays: settings -> whether a stack is faster than one after another; always, when not given.
        normal: settings -> settings, without what makes no difference (the pairing of a lone modality):
            members with the same normal form are computed once.
        check: raises ValueError for settings that make no sense, before any work is done.
        seconds: a rough guess of how long one member takes; long sweeps of known experiments go to processes.
        data: settings -> a fingerprint of what they read from disk ("" for nothing), so that a store
            notices other files under the same name; may load them.
        labels: setting -> how axes write it.
        version: raise it when results change: stores of another version are refused.
        scored: on which held-out rows all members are scored, in a sentence, where that is not all of them.
        world: the object whose methods the functions are, where there is one; see :mod:`xmodal_lab.experiments.world`.

    Raises:
        ValueError, TypeError: no name, no variable, a default that is no plain value or whose name is taken.
    """

    name: str
    defaults: Mapping[str, Any]
    member: Callable[[dict[str, Any], Report], Result]
    variables: Mapping[str, Variable] | Sequence[str] | Callable[[dict[str, tuple[Any, ...]]], Mapping[str, Variable]]
    stack: Callable[[list[dict[str, Any]], Report], Sequence[Result | Exception]] | None = None
    stack_key: Callable[[dict[str, Any]], Hashable] | None = None
    stack_pays: Callable[[dict[str, Any]], bool] | None = None
    normal: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    check: Callable[[dict[str, Any]], None] | None = None
    seconds: Callable[[dict[str, Any]], float] | None = None
    data: Callable[[dict[str, Any]], str] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    version: str = "1"
    scored: str = ""
    world: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"an experiment needs a name, got {self.name!r}.")
        if not callable(self.member):
            raise TypeError(f"member must be a function of (settings, report), got {type(self.member).__name__}.")
        for name in check.mapping("defaults", self.defaults, "values"):
            if name in RESERVED:
                raise ValueError(f"a setting cannot be called {name!r}: that is an argument of sweep. Rename it.")
        plain = {str(k): plain_value(f"the default of {k!r}", v) for k, v in self.defaults.items()}
        object.__setattr__(self, "defaults", plain)

    def outputs(self, values: Mapping[str, Sequence[Any]]) -> dict[str, Variable]:
        """The variables, given the values that each setting takes.

        Raises:
            ValueError: none declared; two that disagree on the coordinates of a dimension.
        """
        declared = self.variables
        if callable(declared):
            declared = declared({k: tuple(v) for k, v in values.items()})
        named = dict(declared) if isinstance(declared, Mapping) else {str(name): Variable() for name in declared}
        if not named:
            raise ValueError(f"experiment {self.name!r} declares no variable.")
        seen: dict[str, tuple[Any, ...]] = {}
        for name, variable in named.items():
            if not isinstance(variable, Variable):
                raise TypeError(f"variable {name!r} of {self.name!r} must be a Variable, got {variable!r}.")
            if name in self.defaults:
                raise ValueError(f"{self.name!r} has a variable and a setting called {name!r}; rename one.")
            if name == WHY:
                raise ValueError(f"a variable cannot be called {WHY!r}: there a member says why one is NaN. Rename it.")
            for dim, coordinates in variable.dims.items():
                if dim in self.defaults or dim in named:
                    raise ValueError(f"dimension {dim!r} of variable {name!r} has the name of a setting or variable.")
                if seen.setdefault(dim, tuple(coordinates)) != tuple(coordinates):
                    raise ValueError(f"the variables of {self.name!r} disagree on the coordinates of {dim!r}.")
        return named

    def settings(self, **given: Any) -> dict[str, Any]:
        """All settings of one member: the defaults, and what is given instead.

        Raises:
            ValueError: an unknown setting, or values that make no sense together.
        """
        for name in given:
            check.one_of(f"setting of {self.name!r}", name, self.defaults)
        whole = {**self.defaults, **{k: plain_value(k, v) for k, v in given.items()}}
        if self.check is not None:
            self.check(dict(whole))
        return whole

    @gradients()
    def compute(
        self, given: Settings, progress: Report | None = None, cancelled: Callable[[], bool] | None = None
    ) -> Result:
        """One member, at any settings; made to be a live view's ``compute=``.

        ``progress(share, text)`` is called on the way, and ``cancelled()`` asked whether to stop.
        """
        for name in check.mapping("given", given, "values"):
            check.one_of(f"setting of {self.name!r}", name, self.defaults)
        return self.member(self.settings(**given), progress or (lambda *_: None))

    def prepare(self, given: Settings) -> None:
        """Make what the first :meth:`compute` of a session would wait for, where its world knows: load the data."""
        if (prepare := getattr(self.world, "prepare", None)) is not None:
            prepare(self.settings(**given))

    def with_defaults(self, **given: Any) -> Experiment:
        """The same experiment with other defaults."""
        return replace(self, defaults=self.settings(**given))


def names() -> list[str]:
    """Names that :func:`get` knows."""
    return sorted({*EXPERIMENTS.names(), *PAPERS_OF_OTHERS.announced()})


def get(experiment: str | Experiment) -> Experiment:
    """The experiment of that name, or at that place: "package.module:attribute".

    Names are the lab's own, and those that installed packages announce as experiments or as papers (entry points, see
    :mod:`xmodal_lab.utils.registry`).

    Raises:
        ValueError: an unknown name, a module or attribute that does not exist.
        TypeError: neither a name nor an Experiment.
    """
    if isinstance(experiment, Experiment):
        return experiment
    if not isinstance(experiment, str):
        raise TypeError(f"experiment must be a name or an Experiment, got {type(experiment).__name__}.")
    if ":" in experiment or experiment in KNOWN:
        found = EXPERIMENTS.get(experiment)
    else:
        paper = PAPERS_OF_OTHERS.announced().get(check.one_of("experiment", experiment, names()))
        found = EXPERIMENTS.get(experiment) if paper is None else PAPERS_OF_OTHERS.get(f"{paper.value}:EXPERIMENT")
    if not isinstance(found, Experiment):
        raise TypeError(f"{experiment!r} is a {type(found).__name__}, not an Experiment.")
    return found


def plain_value(what: str, value: Any) -> Any:
    """Return ``value`` as a str, int, float, bool or None.

    Raises:
        TypeError: anything else.
        ValueError: NaN or infinite.
    """
    if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0):
        value = check.as_tensor(what, value).item() if hasattr(value, "is_meta") else value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return check.real(what, value)
    raise TypeError(f"{what} must be a number, a string, a bool or None, got {type(value).__name__} {value!r}.")


def as_json(value: Any) -> Any:
    """``value`` as JSON would give it back."""
    return json.loads(json.dumps(value))


def not_too_many(what: str, values: object) -> None:
    """Refuse more values than a cube can hold, before they are listed: it would take for ever, or all memory.

    Raises:
        ValueError: more than :data:`MOST` values.
    """
    try:
        count = len(values) if hasattr(values, "__len__") else 0
    except OverflowError:  # a range beyond what len can say
        count = MOST + 1
    if count > MOST:
        raise ValueError(f"{what} has more than {MOST:,} values; give fewer of them, such as start:stop:count.")


def _coordinate(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    not_too_many(f"dimension {name!r}", values)
    listed = tuple(plain_value(f"a coordinate of {name!r}", v) for v in check.listed(f"dims[{name!r}]", values))
    if len(set(listed)) != len(listed):
        raise ValueError(f"the coordinates of dimension {name!r} repeat; give each once.")
    return listed
