"""Answers to exercises: an empty one waits, a wrong one is told what is off, a right one what follows from it."""

from __future__ import annotations

import html
import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..utils import checks

# Lessons with exercises, each a file of ``checks/``, in the order of the notebooks.
LESSONS = ("start", "synergy", "cox", "uml", "wma", "dml", "model", "scale", "bench", "own")
# Looks at an answer: None if it is right, else what is off. Its docstring is what a right answer teaches.
Check = Callable[..., str | None]
_KNOWN: dict[str, Check] = {}


@dataclass(frozen=True)
class Checked:
    """What became of one answer.

    Attributes:
        exercise: such as "dml.1".
        right: None while nothing is answered.
        words: what is off, or what follows.
    """

    exercise: str
    right: bool | None
    words: str

    def __str__(self) -> str:
        """One line: · waits, ✗ is off, ✓ is right."""
        if self.right is None:
            return f"· {self.exercise} {self.words}"
        return f"{'✓' if self.right else '✗'} {self.exercise}: {self.words}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour = {None: "#8a8a94", False: "#c06c00", True: "#029e73"}[self.right]
        style = f"border-left:4px solid {colour};padding:.3em .8em;margin:.2em 0"
        return f'<div style="{style}">{html.escape(str(self))}</div>'


def exercise(name: str) -> Callable[[Check], Check]:
    """Register the check of an exercise; its docstring is said to a right answer.

    Args:
        name: lesson and number, such as "dml.1".

    Returns:
        A decorator that hands the check back.
    """

    def keep(made: Check) -> Check:
        _KNOWN[name] = made
        return made

    return keep


def known() -> tuple[str, ...]:
    """Names of all exercises, in the order of the lessons."""
    for lesson in LESSONS:
        importlib.import_module(f"{__package__}.checks.{lesson}")
    return tuple(sorted(_KNOWN, key=lambda name: (LESSONS.index(name.split(".")[0]), name)))


def check(exercise: str, answer: Any, *given: Any) -> Checked:
    """Look at an answer; a wrong one raises nothing, so that "Run All" goes on.

    Args:
        exercise: lesson and number, such as "dml.1".
        answer: yours; ``...`` waits.
        given: what else the exercise says, such as the loss it is about.

    Returns:
        What is off or what follows, shown by a notebook as one line.

    Raises:
        ValueError: an exercise that there is not.
    """
    lesson = exercise.split(".")[0]
    checks.one_of("lesson of the exercise", lesson, LESSONS)
    importlib.import_module(f"{__package__}.checks.{lesson}")
    checks.one_of("exercise", exercise, [name for name in _KNOWN if name.startswith(f"{lesson}.")])
    if answer is ... or (isinstance(answer, (tuple, list)) and any(part is ... for part in answer)):
        return Checked(exercise, None, "waits for your answer")
    judge = _KNOWN[exercise]
    try:
        off = judge(answer, *given)
    except Exception as error:  # an answer of another kind, or code of the student's that raises
        off = f"looking at your answer ({type(answer).__name__}) raised {type(error).__name__}: {error}"
    follows = " ".join((inspect.getdoc(judge) or "").split())
    return Checked(exercise, off is None, follows if off is None else off)


def number(answer: Any, infinite: bool = False) -> float | str:
    """The answer as a number, or what to say to one that is none.

    Args:
        answer: a student's.
        infinite: whether ±∞ is a number that the check has words for.

    Returns:
        The number, or words.
    """
    try:
        found = float("x" if isinstance(answer, (bool, np.bool_)) else answer)  # True would count as 1
    except (TypeError, ValueError):
        return f"a number was asked for, and this is {type(answer).__name__}."
    if math.isinf(found) and not infinite:
        return "this is infinite: some step before it divided by 0."
    return found if found == found else "this is NaN: some step before it divided by 0, or had no rows."
