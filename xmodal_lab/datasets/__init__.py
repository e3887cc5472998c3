"""Datasets by name: ``load("digits")``, ``names()``, ``describe()``.

Each loader is a function in a module of this folder, imported when it is asked for. To add
one, write the function (keyword arguments only, returns a :class:`~xmodal_lab.Dataset`) and
add a line to ``_KNOWN``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .. import _checks as check
from ..samples import Dataset

if TYPE_CHECKING:
    import pandas as pd


class _Entry(NamedTuple):
    module: str
    function: str
    modalities: tuple[str, ...]
    description: str


_KNOWN = {
    "digits": _Entry(
        "digits",
        "load_digits",
        ("image", "audio", "text"),
        "handwritten digits, spoken digits and sentences that imply a digit",
    ),
    "shapes": _Entry(
        "shapes",
        "load_shapes",
        ("image", "audio", "text"),
        "a procedural world: picture, tone and caption of one figure, all causes known",
    ),
    "gaussian": _Entry(
        "gaussian",
        "load_gaussian",
        ("x", "y"),
        "two linear views of shared and private Gaussian causes (uml, App E.14)",
    ),
    "avmnist": _Entry(
        "avmnist",
        "load_avmnist",
        ("image", "audio"),
        "written and spoken digits, from disk: MultiBench's files, or built from MNIST, FSDD and ESC",
    ),
}


def names() -> tuple[str, ...]:
    """Names of the datasets that :func:`load` knows."""
    return tuple(_KNOWN)


def describe() -> pd.DataFrame:
    """One row per dataset: name, modalities, description."""
    import pandas as pd

    rows = [(name, ", ".join(entry.modalities), entry.description) for name, entry in _KNOWN.items()]
    return pd.DataFrame(rows, columns=["name", "modalities", "description"])


def options(name: str) -> dict[str, Any]:
    """Options of a dataset and their defaults; its loader's docstring says what they mean.

    Raises:
        ValueError: a dataset that is not known.
    """
    return {key: parameter.default for key, parameter in inspect.signature(_loader(name)).parameters.items()}


def load(name: str, **options: Any) -> Dataset:
    """Load a dataset by name, with the options of its loader.

    Raises:
        ValueError: a dataset or an option that is not known, or an option out of its range.
    """
    loader = _loader(name)
    known = inspect.signature(loader).parameters
    for option in options:
        check.one_of(f"option of dataset {name!r}:", option, known)
    return loader(**options)


def _loader(name: str) -> Callable[..., Dataset]:
    entry = _KNOWN[check.one_of("dataset", name, _KNOWN)]
    module = importlib.import_module(f".{entry.module}", __name__)
    return cast(Callable[..., Dataset], getattr(module, entry.function))
