"""The command ``xmodal sweep``: an experiment over a grid, from the shell.

    xmodal sweep dml --alpha 0:1:21 --pairing fixed,same_class --seed 0:5 --store runs/dml.zarr

The same line goes on where an interrupted one stopped.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweeps import band, sweep
from ..sweeps import experiment as experiments
from ..sweeps.cubes import fact
from ..sweeps.experiment import Experiment
from ..sweeps.tasks import STACK, STACK_ON_GPU, WAYS
from ..sweeps.workers import processes
from ..utils import checks as check
from .words import word

if TYPE_CHECKING:
    import xarray as xr

GRAMMAR = """values of a setting:
  0.5            one value: fixed, not a dimension
  0.1,0.2,0.5    a list; names too: fixed,same_class
  0:1:21         numbers start:stop:count, both ends included
  0:5            whole numbers start:stop, without the end: 0,1,2,3,4
  true,false     yes and no
"""
# Lines of the table at the end (ours).
LINES = 40


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status: 0 done, 1 the store failed, 2 refused before any work, 130 interrupted."""
    usage = "xmodal sweep EXPERIMENT [--SETTING VALUES …] [--store FOLDER]"
    if not arguments or arguments[0].startswith("-"):
        known = ", ".join(experiments.names())
        print(f"usage: {usage}\n\nexperiments: {known}, or package.module:attribute for your own\n\n{GRAMMAR}")
        print("xmodal sweep EXPERIMENT --help lists its settings.")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    if ":" in arguments[0] and str(Path.cwd()) not in sys.path:  # one's own experiment.py stands here
        sys.path.insert(0, str(Path.cwd()))
    try:
        experiment = experiments.get(arguments[0])
    except (ValueError, TypeError) as error:
        print(f"xmodal sweep: error: {error}", file=sys.stderr)
        return 2
    parser = _parser(experiment, f"xmodal sweep {arguments[0]}")
    asked, rest = parser.parse_known_args(arguments[1:])
    store = asked.store or Path("runs") / f"{experiment.name}.zarr"
    try:
        if rest:
            name = check.one_of(f"option of {experiment.name!r}:", rest[0].lstrip("-"), experiment.defaults)
            raise ValueError(f"{rest[0]!r} stands alone; a setting is written --{name} VALUES.")
        axes = {  # in the order of the line: it is that of the dimensions
            name: values(name, text, experiment.defaults[name])
            for name, text in vars(asked).items()
            if name in experiment.defaults
        }
        with ExitStack() as leaving:
            leaving.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message=".*members diverged")  # listed below
            executor = leaving.enter_context(processes(asked.workers, True)) if asked.workers else None
            cube = sweep(
                arguments[0], store=store, executor=executor, how=asked.how, stack=asked.stack,
                progress=not asked.quiet, on_error=asked.on_error, accept_edited=asked.accept_edited, **axes,
            )  # fmt: skip
    except (ValueError, TypeError) as error:
        if getattr(error, "__notes__", None):  # from within a member: the traceback is needed
            raise
        print(f"xmodal sweep: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if getattr(error, "__notes__", None):
            raise
        print(f"xmodal sweep: error: the store {store} cannot be used: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        counted = [note.split(";")[0] for note in getattr(interrupt, "__notes__", [])][-1:]
        told = f"{counted[0]}. They are in {store}: run the same line to go on." if counted else "nothing was begun."
        print(f"\ninterrupted: {told}", file=sys.stderr)
        return 130
    print(table(cube, axes))
    print(f"\n{cube.attrs['members']} members in {store}, {cube.attrs['wall_seconds']:.1f} s; open it with")
    print(f'  xarray.open_zarr("{store}")')
    for line in fact(cube.attrs["diverged"]):
        print(f"diverged: {line}", file=sys.stderr)
    for name, held in fact(cube.attrs["why"]).items():
        for one in held:
            where = ", ".join(f"{axis} {'|'.join(map(str, at))}" for axis, at in one["at"].items())
            print(f"{name} is NaN{f' at {where}' if where else ''}: {one['why']}", file=sys.stderr)
    return 0


def values(name: str, text: str, default: Any) -> Any:
    """The value or the list of values that ``text`` means for a setting with this default.

    Raises:
        ValueError: text that means nothing; says what would.
    """
    found = [value for part in text.split(",") for value in _part(name, part.strip(), default)]
    return found if "," in text or (":" in text and not isinstance(default, str)) else found[0]


def table(cube: xr.Dataset, axes: Mapping[str, Any]) -> str:
    """Mean and 95 % interval over seeds of every number, one line per setting."""
    import pandas as pd

    dims = [name for name in axes if name in cube.dims]
    numbers = cube[[name for name, v in cube.data_vars.items() if set(v.dims) <= set(dims)]]
    rows = [d for d in dims if d != "seed"]
    columns = {}
    for name, values in numbers.data_vars.items():
        if "seed" in values.dims:
            banded = band(values)
            mean, half = banded.sel(band="mean"), banded.sel(band="high") - banded.sel(band="mean")
            cells = [_cell(m, h) for m, h in zip(mean.values.ravel(), half.values.ravel(), strict=True)]
        else:
            cells = [_cell(v, np.nan) for v in values.values.ravel()]
        columns[str(name)] = cells
    if not rows:
        return pd.Series({name: cells[0] for name, cells in columns.items()}).to_string()
    index = pd.MultiIndex.from_product([cube[d].values for d in rows], names=rows)
    frame = pd.DataFrame(columns, index=index).reset_index()
    left = len(frame) - LINES
    return frame.head(LINES).to_string(index=False) + (f"\n… and {left} more" if left > 0 else "")


def _parser(experiment: Experiment, program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [--SETTING VALUES …] [--store FOLDER]",
        epilog=GRAMMAR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--store", type=Path, help=f"folder of the results (runs/{experiment.name}.zarr)")
    parser.add_argument("--how", choices=WAYS, default="auto", help="how members run (auto)")
    parser.add_argument("--stack", type=int, help=f"members trained together ({STACK}; {STACK_ON_GPU} on a GPU)")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 lets the sweep choose")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--on-error", choices=("raise", "nan"), default="raise", help="of members that raise: raise")
    parser.add_argument("--accept-edited", action="store_true", help="of a store that other code has filled")
    settings = parser.add_argument_group("settings, and their defaults")
    for name, default in experiment.defaults.items():
        spellings = dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])
        note = word(experiment.name, name, experiment.labels.get(name, ""))
        described = f"{note} ({default!r})".strip().replace("%", "%%")
        settings.add_argument(
            *spellings, dest=name, metavar="VALUES", help=described, action=_InOrder, default=argparse.SUPPRESS
        )
    return parser


class _InOrder(argparse.Action):
    """Keeps settings in the order in which they were given."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        vars(namespace).pop(self.dest, None)
        setattr(namespace, self.dest, values)


def _part(name: str, text: str, default: Any) -> list[Any]:
    """The values of one part between commas."""
    if isinstance(default, str):
        return [text]
    pieces = text.split(":")
    try:
        if len(pieces) == 3:
            return _between(float(pieces[0]), float(pieces[1]), int(pieces[2]), _whole(default))
        if len(pieces) == 2 and not isinstance(default, float):
            found = range(int(pieces[0]), int(pieces[1]))
            if 0 < found.stop - found.start <= experiments.MOST:
                return list(found)
        if len(pieces) == 1:
            return [_single(text, default)]
    except ValueError:
        pass
    kinds = "start:stop:count, start:stop or whole numbers" if _whole(default) else "start:stop:count or numbers"
    kinds = "true or false" if isinstance(default, bool) else kinds
    raise ValueError(f"--{name} {text}: expected {kinds}, such as {_example(default)}.")


def _between(start: float, stop: float, count: int, whole: bool) -> list[Any]:
    """``count`` numbers from ``start`` to ``stop``, both included."""
    if not 1 <= count <= experiments.MOST:
        raise ValueError
    found = [round(v, 12) for v in np.linspace(start, stop, count).tolist()]  # 0.3, not 0.30000000000000004
    if whole:
        if any(v != int(v) for v in found):
            raise ValueError
        return [int(v) for v in found]
    return found


def _single(text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError
        return text.lower() == "true"
    if isinstance(default, int):
        return int(text)
    if isinstance(default, float):
        return float(text)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None if text.lower() == "none" else text


def _whole(default: Any) -> bool:
    return isinstance(default, int) and not isinstance(default, bool)


def _example(default: Any) -> str:
    if isinstance(default, bool):
        return "true,false"
    return "0:5" if _whole(default) else "0:1:21"


def _cell(value: float, half: float) -> str:
    if np.isnan(value):
        return "-"
    return f"{value:.4g}" if np.isnan(half) else f"{value:.4g} ± {half:.2g}"
