"""Options that are written once: the fields of a frozen dataclass, which functions take as their keywords.

    >>> from dataclasses import dataclass
    >>> from xmodal_lab.utils.options import option, takes
    >>> @dataclass(frozen=True)
    ... class Cut:
    ...     size: int = option(64, "side of a picture.")
    ...     seed: int = option(0, "draws the rows.")
    >>> @takes(Cut, size=28)
    ... def load(how: Cut, *, name: str = "mine") -> str:
    ...     '''Load it.
    ...
    ...     Args:
    ...         {options}
    ...         name: of the set.
    ...     '''
    ...     return f"{name} {how.size} {how.seed}"
    >>> load(seed=3)
    'mine 28 3'
    >>> import inspect
    >>> list(inspect.signature(load).parameters)
    ['size', 'seed', 'name']
    >>> "size: side of a picture." in load.__doc__
    True

So an option has one default, one check and one sentence, wherever it can be given.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields
from functools import wraps
from typing import Any

from . import checks as check

WIDTH = 110  # of the lines of a docstring


def option(default: Any, says: str, checked: Callable[[str, Any], Any] | None = None, **marks: Any) -> Any:
    """A field of a dataclass of options.

    Args:
        default: its value where none is given.
        says: what it means, for the docstring of every function that takes it.
        checked: (name, value) -> the value, or an error; see :func:`check_fields`.
        marks: further facts, kept in the field's metadata.

    Returns:
        What stands behind ``name: type =`` in the dataclass.
    """
    return field(default=default, metadata={"says": says, "checked": checked, **marks})


def names(kind: type) -> tuple[str, ...]:
    """The options of a dataclass, in order."""
    return tuple(f.name for f in fields(kind))


def check_fields(options: Any) -> None:
    """Check every field of a frozen dataclass by its own rule, and keep what the rule returns.

    Raises:
        ValueError, TypeError: what does not fit.
    """
    for f in fields(options):
        if (checked := f.metadata["checked"]) is not None:
            object.__setattr__(options, f.name, checked(f.name, getattr(options, f.name)))


def known(function: str, given: Iterable[str], options: Iterable[str]) -> None:
    """Refuse keywords that a function does not have.

    Raises:
        TypeError: which, and what is near it.
    """
    listed = tuple(options)
    for name in given:
        try:
            check.one_of(f"option of {function}()", name, listed)
        except ValueError as error:
            raise TypeError(str(error)) from None


def shown(function: Callable[..., Any], kind: type, defaults: Mapping[str, Any], only: Iterable[str]) -> None:
    """Write options into the signature of ``function`` and, in place of "{options}", into its docstring.

    Args:
        function: whose ``**keywords``, or first parameter, stand for the options. Those that its docstring explains
            itself, since it says more, are not explained twice.
        kind: the dataclass.
        defaults: where they differ from the fields' own.
        only: names of the options that it takes.
    """
    taken, text = set(only), function.__doc__ or ""
    chosen = [f for f in fields(kind) if f.name in taken]
    signature = inspect.signature(function)
    kept = [
        p for p in signature.parameters.values()
        if p.kind is not inspect.Parameter.VAR_KEYWORD and p.annotation not in (kind, kind.__name__)
    ]  # fmt: skip
    added = [
        inspect.Parameter(
            f.name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(f.name, f.default), annotation=f.type
        )
        for f in chosen
    ]
    at = next((i for i, p in enumerate(kept) if p.kind is inspect.Parameter.KEYWORD_ONLY), len(kept))
    function.__signature__ = signature.replace(parameters=[*kept[:at], *added, *kept[at:]])  # type: ignore[attr-defined]
    told = "\n".join(
        textwrap.fill(f"{f.name}: {f.metadata['says']}", WIDTH, subsequent_indent="    ", break_on_hyphens=False)
        for f in chosen
        if not re.search(rf"^ +(\w+, )*{f.name}(, \w+)*:", text, re.MULTILINE)
    )
    function.__doc__ = re.sub(r"^( *)\{options\}$", lambda m: textwrap.indent(told, m[1]), text, flags=re.MULTILINE)


def takes(kind: type, *without: str, **defaults: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function's first parameter, a ``kind``, is made of its keywords.

    Args:
        kind: a dataclass of options.
        without: those that this function has no use for.
        defaults: where they differ from the fields' own.

    Returns:
        The decorator. The decorated function takes keywords alone, and shows them all in ``help``.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        only = [name for name in names(kind) if name not in without]

        @wraps(function)
        def call(**given: Any) -> Any:
            known(function.__name__, given, call.__signature__.parameters)  # type: ignore[attr-defined]
            own = {name: given.pop(name) for name in list(given) if name not in only}
            return function(kind(**{**defaults, **given}), **own)

        shown(call, kind, defaults, only)
        return call

    return decorate
