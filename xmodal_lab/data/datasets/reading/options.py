"""Options of loaders: what most of them share, written once; all checked against the annotations of the loaders.

A loader is ``@takes(OnDisk, …)`` or ``@takes(Files, …)`` of a function whose first parameter holds these options;
whatever else it knows are keywords of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....utils import checks as check
from ....utils.options import check_fields, option

SOUNDS = ("mel", "wave")
# Below these, an option makes no sense in any loader.
_LEAST = {"seed": 0, "size": 1, "mel": 1}
# No sound of a dataset is longer (ours): a day.
_MOST_SECONDS = 86_400.0


@dataclass(frozen=True)
class OnDisk:
    """Where a set lies, and which of its rows are wanted."""

    root: str | os.PathLike[str] | None = option(
        None, "the set's folder, or the one above it; ``XMODAL_DATA`` for None."
    )
    modalities: str | Sequence[str] | None = option(None, "which of them; None for all.")
    n_train: int | None = option(None, "training rows, balanced; None for all.")
    n_test: int | None = option(None, "test rows, balanced; None for all.")
    seed: int = option(0, "draws splits and rows.")

    def __post_init__(self) -> None:
        check_fields(self)

    def chosen(self, known: Sequence[str]) -> tuple[str, ...]:
        """The modalities that are asked for, out of those ``known``."""
        return check.modalities_of(self.modalities, known)


@dataclass(frozen=True)
class Files(OnDisk):
    """How pictures, sounds and texts of a set are read."""

    val_share: float = option(0.1, "of the training rows, for validation (0.1: dml, App B.1).")
    test_share: float = option(0.2, "of the rows, for the test split.", check.share)
    size: int | tuple[int, int] = option(64, "side of a picture (64: ours), or (height, width).")
    mel: int = option(32, "bands and frames of the log-mel (32: ours).")
    seconds: float = option(1.0, "of each sound that are heard.")
    audio: str = option(
        "mel",
        '"mel" (1, mel, mel), or "wave" at 16 kHz.',
        lambda name, value: check.one_of(name, value, ("mel", "wave")),
    )
    damaged: str = option("raise", '"raise", or "skip" rows whose files are missing or malformed.')
    progress: bool | None = option(None, "show a bar; None shows one in a terminal.")


def as_annotated(option: str, value: Any, annotation: str) -> Any:
    """``value`` as the kind that ``annotation`` names, such as "int | None"; 0-d tensors and arrays as numbers.

    Raises:
        TypeError, ValueError: another kind, or a number out of all range.
    """
    kinds = [kind.strip() for kind in annotation.split(" | ")]
    if value is None and "None" in kinds:
        return None
    found = [kind for kind in kinds if kind != "None"]
    if isinstance(value, str) and "str" in found:
        return str(check.path(option, value)) if "os.PathLike[str]" in found and value else value
    if isinstance(value, os.PathLike) and "os.PathLike[str]" in found:
        return check.path(option, value)
    if isinstance(value, bool) and "bool" in found:
        return value
    for kind in found:
        if kind in _KINDS and (len(found) == 1 or check.is_listed(value) == kind.endswith("]")):
            return _KINDS[kind](option, value)
    raise TypeError(f"{option} must be {annotation.replace(' | ', ' or ')}, got {type(value).__name__} {value!r}.")


def _whole(option: str, value: Any) -> int:
    return check.integer(option, value, _LEAST.get(option))


def _real(option: str, value: Any) -> float:
    number = check.real(option, value)
    if option == "seconds" and not 0 < number <= _MOST_SECONDS:
        raise ValueError(f"seconds must lie above 0 and be at most a day, got {number:g}.")
    return number


def _text(option: str, value: Any) -> str:
    return check.instance(option, value, str)


def _flag(option: str, value: Any) -> bool:
    return check.instance(option, value, bool)


def _texts(option: str, value: Any) -> tuple[str, ...]:
    return tuple(check.instance(f"an entry of {option}", one, str) for one in check.listed(option, value))


def _reals(option: str, value: Any) -> tuple[float, ...]:
    return tuple(check.real(f"an entry of {option}", one) for one in check.listed(option, value))


def _pair(option: str, value: Any) -> tuple[int, int]:
    found = [check.integer(f"an entry of {option}", one, at_least=1) for one in check.listed(option, value)]
    if len(found) != 2:
        raise ValueError(f"{option} must be two whole numbers, got {value!r}.")
    return found[0], found[1]


_KINDS: Mapping[str, Callable[[str, Any], Any]] = {
    "int": _whole, "float": _real, "str": _text, "bool": _flag, "Sequence[str]": _texts, "Sequence[float]": _reals,
    "Mapping[str, str]": lambda option, value: {
        check.instance(f"a name in {option}", name, str): check.instance(f"{option}[{name!r}]", one, str)
        for name, one in check.mapping(option, value, "names of columns").items()
    },
    "tuple[int, int]": _pair, "Mapping[str, Mapping[str, float]]": lambda option, value: {
        name: check.mapping(f"{option}[{name!r}]", one, "numbers")
        for name, one in check.mapping(option, value, "dicts").items()
    },
}  # fmt: skip
