"""Datasets by name: ``load("digits")``, ``names()``, ``describe()``; ``download`` and ``fake`` of those on disk.

Each loader is a function in a module of ``made`` or ``on_disk``, imported when it is asked for. To add
one, write the function (keyword arguments only, returns a :class:`~xmodal_lab.Dataset`) and
add a line to ``_KNOWN``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ...utils import checks as check
from ...utils.torch_state import float32
from ..samples import Dataset
from .reading.layout import LayoutError as LayoutError
from .reading.options import as_annotated

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
    "cremad": _Entry("cremad", "load_cremad", ("image", "audio"), "acted emotions: face and voice, from disk"),
    "kinetics_sounds": _Entry(
        "kinetics_sounds", "load_kinetics_sounds", ("image", "audio"), "actions: picture and sound, from disk"
    ),
    "food101": _Entry("food101", "load_food101", ("image", "text"), "dishes: picture and recipe title, from disk"),
    "iemocap": _Entry("iemocap", "load_iemocap", ("audio", "text"), "emotion in dialogue: voice and words, from disk"),
    "multibench": _Entry(
        "multibench",
        "load_multibench",
        ("vision", "audio", "text"),
        "MOSI, MOSEI, UR-FUNNY and MUStARD: sequences of features, from MultiBench's pickles",
    ),
    "mimic": _Entry("multibench", "load_mimic", ("static", "series"), "intensive care, from MultiBench's pickle"),
    "imagenet_esc": _Entry(
        "imagenet_esc", "load_imagenet_esc", ("image", "audio"), "classes both seen and heard: features, from disk"
    ),
    "esc10": _Entry(
        "esc10", "load_esc10", ("audio", "text"), "environment sounds and the names of their recordings, from disk"
    ),
    "emoji": _Entry("emoji", "load_emoji", ("image", "text"), "EmojiOne: pictures, names and keywords, from disk"),
    "nlvr": _Entry("nlvr", "load_nlvr", ("image", "text"), "a sentence true of a drawing or not, from disk"),
    "prompts": _Entry("prompts", "load_prompts", ("text",), "sentences that describe classes (CuPL), from disk"),
    "features": _Entry("feature_files", "load_features", (), "your own npz, safetensors or torch files of features"),
    "folder": _Entry(
        "folder", "load_folder", ("image", "audio", "text"), "your own pictures, sounds and a csv of texts and classes"
    ),
}
# These are drawn or ship with the package; all others lie on disk.
_AFFECT = ("mosi", "mosei", "ur_funny", "mustard")  # the sets of multibench, ``which=``
_MADE = ("digits", "shapes", "gaussian")


def names() -> tuple[str, ...]:
    """Names of the datasets that :func:`load` knows.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.datasets.names()[:4]
        ('digits', 'shapes', 'gaussian', 'avmnist')
    """
    return tuple(_KNOWN)


def describe() -> pd.DataFrame:
    """One row per dataset: name, modalities, description."""
    import pandas as pd

    rows = [(name, ", ".join(entry.modalities), entry.description) for name, entry in _KNOWN.items()]
    return pd.DataFrame(rows, columns=["name", "modalities", "description"])


def options(name: str) -> dict[str, Any]:
    """Options of the dataset ``name`` and their defaults; its loader's docstring says what they mean.

    Raises:
        ValueError: a dataset that is not known.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.datasets.options("avmnist")["n_train"]
        6000
    """
    return {key: parameter.default for key, parameter in inspect.signature(_loader(name)).parameters.items()}


def parsed(name: str, text: str) -> dict[str, Any]:
    """Options of the dataset ``name`` from one line, as a setting or a shell can hold them.

    Commas or semicolons, a value that JSON reads is that, any other a string; or a JSON object.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.datasets.parsed("avmnist", "n_train=3000, audio=wave")
        {'n_train': 3000, 'audio': 'wave'}
        >>> xl.datasets.parsed("avmnist", '{"n_train": 3000}')
        {'n_train': 3000}

    Raises:
        ValueError: text that is neither, an option given twice, a dataset or an option that is not known.
    """
    known, found = options(name), {}
    check.instance("text", text, str)
    pairs = re.split(r"[,;](?![^\[]*\])", text) if text.strip() else []
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"options of dataset {name!r} are no JSON object: {error}; got {text!r}.") from None
        pairs = []
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise ValueError(f"options of dataset {name!r} are written 'n_train=3000, mel=32', got {text!r}.")
        if key in found:
            raise ValueError(f"option {key!r} of dataset {name!r} is given twice in {text!r}.")
        found[key] = _plain(value)
    for key in found:
        check.one_of(f"option of dataset {name!r}:", key, known)
    return found


@float32()
def load(name: str, **options: Any) -> Dataset:
    """Load a dataset by name, with the options of its loader.

    Raises:
        ValueError: a dataset or an option that is not known, or an option out of its range.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.load("digits", modalities=("image", "audio"))
        Dataset('digits': train 1600, test 800, val 200; 10 classes; image 1x8x8, audio 1x32x32)
    """
    loader = _loader(name)
    known = inspect.signature(loader).parameters
    for option in options:
        check.one_of(f"option of dataset {name!r}:", option, known)
    return loader(**{k: as_annotated(k, v, str(known[k].annotation)) for k, v in options.items()})


def fake(name: str, folder: str | os.PathLike[str], *, rows: int = 4, seed: int = 0) -> Path:
    """Write a tiny set in the layout of ``name`` into a new ``folder``, for dry runs: see :func:`.fakes.fake`.

    Args:
        name: of the dataset.
        folder: new or empty.
        rows: per class and split.
        seed: of what is written.

    Returns:
        The folder, to be given as ``root``.

    Raises:
        ValueError: a name without a fake, a folder that holds something.
    """
    from .fakes import fake as write

    return write(name, folder, rows=rows, seed=seed)


def download(name: str, root: str | os.PathLike[str] | None = None, **options: Any) -> Path:
    """Fetch the public dataset ``name`` into ``root`` (``XMODAL_DATA`` for None): see :func:`.download.download`.

    ``options`` go there.

    Raises:
        ValueError: a set without a public home; it says where to turn.
        OSError: the network, or the disk.
    """
    from .reading.download import download as fetch

    return fetch(name, root, **options)


def _plain(text: str) -> Any:
    """A number, list, true, false or null as JSON writes it, or as Python does; a list of words; else the text."""
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except json.JSONDecodeError:
        words = text[1:-1].split(",") if text.startswith("[") and text.endswith("]") else []
        return [_plain(word.strip().strip("'")) for word in words] or text


def _loader(name: str) -> Callable[..., Dataset]:
    if isinstance(name, str) and name in _AFFECT:  # as its datasets, files and references are called
        return partial(_loader("multibench"), which=name)
    entry = _KNOWN[check.one_of("dataset", name, _KNOWN)]
    folder = "made" if entry.module in _MADE else "on_disk"
    module = importlib.import_module(f".{folder}.{entry.module}", __name__)
    return cast(Callable[..., Dataset], getattr(module, entry.function))
