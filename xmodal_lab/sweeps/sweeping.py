"""Sweeps: an experiment over a grid of settings gives one labelled cube.

    cube = sweep("dml", alpha=[0, 0.5, 1], pairing=["fixed", "same_class"], seed=range(5), store="runs/dml.zarr")
    cube["accuracy"].sel(pairing="same_class").mean("seed")

The same line runs on a laptop (small nets of one shape train together), on all its cores,
or on a cluster: ``executor=client.get_executor()`` hands the members to dask.
"""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from ..utils import checks as check
from ..utils.factors import first_best
from ..utils.torch_state import pick_device
from ..utils.version import __version__
from . import edited, trained
from . import experiment as experiments
from .circumstances import command, commit, user_commit
from .cubes import fact, grouped, layout_of
from .devices import Devices
from .experiment import WHY, Experiment
from .facts import StoreError, settled
from .runner import Results, Runner
from .store import Store
from .tasks import STACK, STACK_ON_GPU, WAYS, Job, Task, cores, described, jobs_of, tasks_of, worth_processes
from .workers import Here, processes, workers

if TYPE_CHECKING:
    import xarray as xr

Labelled = TypeVar("Labelled", "xr.DataArray", "xr.Dataset")


def sweep(
    experiment: str | Experiment,
    *,
    store: str | Path | None = None,
    executor: Executor | None = None,
    how: str = "auto",
    stack: int | None = None,
    retries: int = 3,
    progress: bool = True,
    on_error: str = "raise",
    accept_edited: bool = False,
    **axes: Any,
) -> xr.Dataset:
    """Compute an experiment at every point of a grid.

    Args:
        experiment: a name (``xl.sweeps.names()``), a place "package.module:attribute", or an
            :class:`Experiment` of your own.
        store: a folder for the results, such as "runs/dml.zarr" (a Zarr group). Finished members are
            kept there as they come; the same call goes on where a killed one stopped. Several
            processes may fill one store. It grows: new values of an axis compute only what is missing, and so does
            an axis where a setting was fixed, or the default: what is there stands at that value.
            A finished grid of many members gets a copy that is read at once, in ``compact/``. What a live view has
            trained into it (``trained/``) is not computed again.
        executor: any ``concurrent.futures.Executor``: a ``ProcessPoolExecutor`` (give it the spawn
            context), :class:`Devices` for several GPUs, or ``client.get_executor()`` of dask. None computes in this
            process, or in processes of its own where the members are many and long.
        how: "auto", "stacked" (members of one shape train together), "sequential", "processes".
        stack: members in one stack at most; 16, or 1024 on a GPU, when not given; where memory runs out, half as many.
        retries: how often a member may be lost with its worker.
        progress: show a tqdm bar.
        on_error: "raise" what a member raises: what is finished is kept, and the next call tries that member last;
            "nan": the member is NaN and listed in ``attrs["diverged"]`` with its error.
        accept_edited: take a store that was filled by another version of the experiment's code.
        axes: settings of the experiment. A list, tuple, range or vector becomes a dimension, a single
            value replaces the default.

    Returns:
        Dataset with one dimension per axis, and the experiment's own (epoch, a, b, k, …). Members that
        diverged are NaN and listed in ``attrs["diverged"]``; ``attrs["why"]`` says of single variables why and where
        they are NaN, as far as members say so. Attributes also hold versions, device,
        commit, the commit of the repository that one works in (``user_commit``), the command, seconds, the
        experiment's name, its defaults and the fixed settings; lists and dicts as JSON (``json.loads`` reads them), so
        that ``xl.save(cube, "cube.nc")``, ``cube.to_netcdf`` and ``cube.to_zarr`` can write them.

    Raises:
        ValueError, TypeError: an unknown experiment or setting, an axis that makes no sense;
            StoreError if the store belongs to another sweep, or its experiment has been edited since (its functions,
            what they call and the values they read). All before any work is done.
        RuntimeError: workers die again and again.

    Warns:
        RuntimeWarning: members that diverged. UserWarning: a worker died and was replaced.

    Example:
        >>> import xmodal_lab as xl
        >>> cube = xl.sweep("dml", alpha=[0.0, 1.0], epochs=1, progress=False)
        >>> cube.accuracy.dims, cube.accuracy.shape
        (('alpha',), (2,))
    """
    known = experiments.get(experiment)
    _check_ways(executor, how, stack, retries)
    check.one_of("on_error", on_error, ("raise", "nan"))
    store = None if store is None else check.path("store", store)
    layout, fixed = layout_of(known, axes)
    # A store keeps the values as it first saw them: 0.1 + 0.2 finds the column of 0.3.
    layout = layout if store is None else settled(store, layout)
    jobs = jobs_of(known, layout, fixed)
    story, facts = _story(known, fixed)
    size = stack or (STACK if facts["device"] == "cpu" else STACK_ON_GPU)
    tasks = tasks_of(known, jobs, how, size, workers(executor))
    identity = {} if store is None else _identity(known, story, jobs)
    opened = None if store is None else Store(store, layout, identity, facts, story, accept_edited)
    results = Results(layout, opened)
    if opened is not None:
        tasks = _by_generation(known, opened, jobs, how, size, workers(executor))
        if on_error == "raise":
            opened.forget_raised()
        results.share(tasks)
        results.adopt(trained.members(opened.path, known, layout, jobs))
    # Members are counted by places of the grid: several may share one job, where a setting makes no difference.
    started, total = time.perf_counter(), int(np.prod(layout.shape))
    by_name = isinstance(experiment, str)
    with ExitStack() as leaving:
        bar = leaving.enter_context(_bar(known.name, total, len(results.done()), progress))
        # Processes find an experiment by its name; one made in a notebook they could not import.
        if executor is None and by_name and how == "auto" and facts["device"] == "cpu":
            how = "processes" if worth_processes(known, tasks) else how
        if isinstance(executor, Devices):
            executor.known = by_name
        if how == "processes":
            executor = leaving.enter_context(processes(min(cores(), len(tasks)), by_name))
        here = Here(lambda share=0.0, message="": bar.set_postfix_str(message or f"{share:.0%}"))
        told = experiment if by_name else known
        runner = Runner(told, results, executor or here, retries, lambda n: bar.update(n - bar.n), on_error)
        try:
            _run(runner, tasks, results, store)
            if opened is not None:
                opened.tell_why()
                opened.pack(results.arrays)
        except BaseException as error:
            if opened is not None:
                opened.let_go()
            kept = _way_on(store, isinstance(error, Exception) and on_error == "raise")
            error.add_note(f"{len(results.done())} of {total} members are computed; {kept}")
            raise
        finally:
            if opened is not None:
                opened.unsteady(edited.differing(identity["code"], edited.parts(known)))
    diverged = [f"{described(layout.at(place))}: {why}" for place, why in sorted(results.failures.items())]
    if diverged:
        message = f"{len(diverged)} of {total} members diverged and are NaN; the first, {diverged[0]}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    attrs = {
        **story,
        "wall_seconds": time.perf_counter() - started,
        "compute_seconds": results.seconds,
        "members": total,
        "diverged": diverged,
        "why": grouped(layout.axes, results.why),
    }
    return layout.dataset(results.arrays, attrs)


def _identity(experiment: Experiment, story: Mapping[str, Any], jobs: Sequence[Job]) -> dict[str, Any]:
    """What a store must have been filled by: another of it is another sweep."""
    identity: dict[str, Any] = {"version": experiment.version, "xmodal_lab": __version__}
    identity |= {k: story[k] for k in ("experiment", "defaults", "settings")}
    if experiment.data is not None and (read := sorted({experiment.data(dict(job.settings)) for job in jobs} - {""})):
        identity["data"] = read
    return {**identity, "code": edited.parts(experiment)}


def _run(runner: Runner, tasks: Sequence[Task], results: Results, store: str | Path | None) -> None:
    """Run the tasks; what a store has lost by then, once more."""
    runner.run(tasks)
    if damaged := results.gather():
        told = f"{len(damaged)} finished members were damaged in the store {store}; they are computed again."
        warnings.warn(told, UserWarning, stacklevel=3)
        runner.run(tasks)
        if results.gather():
            raise StoreError(f"the store {store} does not keep what is written to it; name another store=.")


def _way_on(store: str | Path | None, raised: bool) -> str:
    """How to go on after an interruption, or after a member that ``raised``."""
    kept = "give sweep a store= to keep them."
    if store:
        kept = f"call sweep again with store={str(store)!r} to go on."
    return kept + (' on_error="nan" records members that raise and goes past them.' if raised else "")


def _by_generation(
    experiment: Experiment, store: Store, jobs: Sequence[Job], how: str, size: int, workers: int
) -> list[Task]:
    """Tasks of the jobs that found room in the store at the same time, one generation after the other."""
    born: dict[int, list[Job]] = {}
    for job in jobs:
        born.setdefault(store.generation(job.places), []).append(job)
    return [task for g in sorted(born) for task in tasks_of(experiment, born[g], how, size, workers)]


def names() -> list[str]:
    """Experiments that are known by name.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.sweeps.names()
        ['bench', 'cox', 'dml', 'synergy', 'uml', 'wma']
    """
    return experiments.names()


def trainer(cube: xr.Dataset, experiment: str | Experiment | None = None) -> Callable[..., dict[str, Any]]:
    """A function that computes one more member of ``cube``, made to be a live view's ``compute=``.

    ``compute(setting, progress, cancelled)`` takes any values of the axes, on the grid, between or beyond, and gives
    arrays shaped like the cube's variables. It trains with the defaults and the fixed settings that the cube tells.

    Args:
        cube: what :func:`sweep` returned.
        experiment: what it was swept with, where that is not known by name.

    Returns:
        A function of (settings, progress, cancelled) that returns name -> array of one member, and "why": name -> why
        it is NaN, where the member says so.

    Raises:
        ValueError: the cube does not say which known experiment it came from, comes from a later version or from
            another experiment than the one given.
    """
    import xarray as xr

    told = check.instance("cube", cube, xr.Dataset, "such as xl.sweep returns").attrs
    name = told.get("experiment")
    if experiment is None and name not in experiments.names():
        raise ValueError(
            f"the cube's experiment is {name!r}, which is not known by name ({', '.join(experiments.names())}); "
            "give the Experiment that it was made with: explore(cube, experiment=mine)."
        )
    known = experiments.get(name if experiment is None else experiment)
    if name is not None and name != known.name:
        raise ValueError(f"the cube comes from the experiment {name!r}, not from {known.name!r}; give that one.")
    known = known.with_defaults(**{**fact(told.get("defaults", "{}")), **fact(told.get("settings", "{}"))})
    given = {dim: cube[dim].values.tolist() for dim in cube.dims if dim in known.defaults}
    layout, _ = layout_of(known, given)

    def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
        # A control along which every result brings all values, such as a moment of training, is no setting.
        return {name: value for name, value in given.items() if name in known.defaults or name not in cube.dims}

    def compute(
        setting: Mapping[str, Any],
        progress: Callable[..., None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        arrays = layout.checked(known.compute(_settings(setting), progress, cancelled))
        found: dict[str, Any] = {name: values for name, values in arrays.items() if name in cube.data_vars}
        why = {name: sentence for name, sentence in arrays.why.items() if name in found}
        return {**found, WHY: why} if why else found

    compute.experiment = known  # type: ignore[attr-defined]
    compute.prepare = lambda setting: known.prepare(_settings(setting))  # type: ignore[attr-defined]
    return compute


def band(values: Labelled, dim: str = "seed", level: float = 0.95) -> Labelled:
    """Mean and confidence interval over ``dim``, as a new dimension ``band`` = mean, low, high.

        mean ± t_{(1+level)/2, n-1} · s / √n        (Student; n counts the members that are not NaN)

    With fewer than two members the interval is NaN.

    Args:
        values: a cube or one of its variables. Variables without ``dim`` stay as they are.
        dim: what to average over.
        level: of confidence, in (0, 1).

    Returns:
        The same variables with a dimension ``band`` in place of ``dim``.

    Raises:
        ValueError: ``dim`` is no dimension of ``values``; a level outside (0, 1).

    Example:
        >>> import xarray as xr
        >>> import xmodal_lab as xl
        >>> scores = xr.DataArray([0.5, 0.6, 0.7], dims="seed")
        >>> xl.sweeps.band(scores).round(3).to_series().to_dict()
        {'mean': 0.6, 'low': 0.352, 'high': 0.848}
    """
    import xarray as xr
    from scipy import stats

    if not isinstance(values, (xr.Dataset, xr.DataArray)):
        raise TypeError(f"values must be a cube or one of its variables, got {type(values).__name__}.")
    check.one_of("dimension", dim, [str(d) for d in values.dims])
    level = check.real("level", level)
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level!r}.")
    if isinstance(values, xr.Dataset):
        banded = {name: band(v, dim, level) if dim in v.dims else v for name, v in values.data_vars.items()}
        return xr.Dataset(banded, attrs=values.attrs)
    count = values.count(dim)
    mean = values.mean(dim)
    enough = count.where(count > 1)  # NaN where there is no spread to speak of
    spread = values.std(dim, ddof=0) * np.sqrt(enough / (enough - 1))
    half = spread / np.sqrt(enough) * stats.t.ppf((1 + level) / 2, enough - 1)
    banded = xr.concat([mean, mean - half, mean + half], xr.IndexVariable("band", ["mean", "low", "high"]))
    return banded.transpose(..., "band").assign_attrs(values.attrs).rename(values.name)


def choose(
    cube: xr.Dataset,
    over: str | Sequence[str],
    by: str | xr.DataArray = "val_accuracy",
    across: str | Sequence[str] = (),
) -> xr.Dataset:
    """The cube at the settings that do best on validation data; what is reported is then the test split's.

        best = argmax over ``over`` of mean over ``across`` of by

    Of equal ones (to rounding) the first along the cube's axes counts, the last of ``over`` running fastest: put the
    value that does least first (no weight decay, the smallest α). A member without a value (NaN) is never chosen while
    another has one.

    Args:
        cube: a sweep.
        over: axes to choose from, together.
        by: the variable to choose by, where more is better; or values of one's own, over axes of the cube.
        across: axes over which one choice is made for all (by the mean); for each of the others one of its own. By
            default each seed chooses for itself, as a reader would who has only that run.

    Returns:
        The cube without the axes ``over``; their chosen values are coordinates of what is left.

    Raises:
        ValueError: an axis or a variable that the cube lacks; no value at all to choose by.

    Example:
        >>> import xarray as xr
        >>> import xmodal_lab as xl
        >>> cube = xr.Dataset({"val_accuracy": ("lr", [0.6, 0.8]), "accuracy": ("lr", [0.7, 0.75])}, {"lr": [0.1, 0.3]})
        >>> best = xl.sweeps.choose(cube, over="lr")
        >>> float(best["lr"]), float(best["accuracy"])
        (0.3, 0.75)
    """
    import xarray as xr

    check.instance("cube", cube, xr.Dataset, "such as xl.sweep returns")
    axes, shared = (
        [names] if isinstance(names, str) else check.listed(what, names)
        for what, names in (("over", over), ("across", across))
    )
    for name in (*axes, *shared):
        check.one_of("dimension", name, [str(d) for d in cube.dims])
    if not axes:
        raise ValueError("over is empty; name the axes to choose from.")
    if isinstance(by, str):
        by = cube[check.one_of("variable of the cube", by, list(cube.data_vars))]
    check.instance("by", by, xr.DataArray, "or the name of a variable of the cube")
    for name in axes:
        check.one_of("dimension of what is chosen by", name, [str(d) for d in by.dims])
    score = by.mean([d for d in shared if d in by.dims]) if shared else by
    flat = score.stack({"point": axes}, create_index=False)
    if bool(flat.isnull().all()):
        split = " The data have no validation split, perhaps: val_share= draws one." if "val" in str(by.name) else ""
        raise ValueError(
            f"{by.name or 'by'} is NaN everywhere over {', '.join(axes)}, so there is nothing to choose.{split}"
        )
    best = first_best(flat, "point")
    sizes = [cube.sizes[name] for name in axes]
    places = np.unravel_index(best.values, sizes)
    return cube.isel({n: best.copy(data=np.asarray(at)) for n, at in zip(axes, places, strict=True)})


def _check_ways(executor: Executor | None, how: str, stack: int | None, retries: int) -> None:
    check.one_of("how", how, WAYS)
    if stack is not None:
        check.integer("stack", stack, at_least=1)
    check.integer("retries", retries, at_least=0)
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, got {type(executor).__name__}; "
            "of a dask client use client.get_executor()."
        )
    if executor is not None and how == "processes":
        raise ValueError("give either executor= or how='processes', not both.")


def _story(experiment: Experiment, fixed: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What a cube says of itself, and the facts whose change a store warns of."""
    facts = environment(experiment, fixed)
    story = {
        "experiment": experiment.name,
        "defaults": dict(experiment.defaults),
        "settings": dict(fixed),
        "versions": {k: facts[k] for k in ("xmodal_lab", "torch", "numpy", "python")},
        "device": facts["device"],
        "commit": commit(),
        "user_commit": user_commit(),
        "command": command(),
    }
    return story, facts


def environment(experiment: Experiment, fixed: Mapping[str, Any]) -> dict[str, str]:
    """Versions and device, as cube and store record them, for an ``experiment`` with its ``fixed`` settings."""
    check.instance("experiment", experiment, Experiment)
    device = {**experiment.defaults, **check.mapping("fixed", fixed, "values")}.get("device", "cpu")
    return {
        "xmodal_lab": __version__,
        "torch": str(torch.__version__),
        "numpy": str(np.__version__),
        "python": platform.python_version(),
        "device": pick_device(device).type if isinstance(device, str) else "cpu",
    }


def _bar(name: str, total: int, done: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=done, desc=name, unit="member", disable=not progress, leave=False)
