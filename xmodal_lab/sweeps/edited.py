"""What an experiment's functions are made of, part by part, so that a store notices that one was edited.

A part is a function of the user's (its bytecode and defaults), a value that it was given (an argument of a
``partial``, a variable of a closure) or a global that it reads: other functions, constants, arrays. Code of installed
packages and of this one counts by its name: their versions are recorded beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import os
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from .experiment import Experiment

# Functions of an experiment whose edit changes results.
ROLES = ("member", "stack", "normal")
# Objects within objects that are looked into (ours).
DEPTH = 6
MOST = 1000  # of them that are looked through in one container (ours)
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CONSTANT = (*_PLAIN, tuple, list, dict, set, frozenset, np.ndarray, torch.Tensor)
_CODE = (types.FunctionType, types.MethodType, functools.partial, type)
_LIBRARIES = (
    *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(sys.modules[__name__.partition(".")[0]].__file__ or "").parent),
)
_INSTALLED = tuple(os.path.realpath(p) + os.sep for p in _LIBRARIES if p)


def parts(experiment: Experiment) -> dict[str, str]:
    """Name of each part -> a digest of it: {"member": …, "helper": …, "RATE": …}."""
    look = _Look()
    for role in ROLES:
        if (function := getattr(experiment, role)) is not None:
            look.at(role, function)
    return look.found


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Parts that are not what they were; those that a sweep itself changes ("") do not count."""
    return [k for k in {**then, **now} if then.get(k) != now.get(k) and "" not in (then.get(k), now.get(k))]


class _Look:
    """Gathers parts. Two of one name (a helper in each of two files) are numbered."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._seen: dict[int, Any] = {}  # with the object, so that its id stays its own

    def at(self, label: str, value: Any) -> None:
        """Note ``value`` and, where functions or classes of the user's are in it, whatever they read."""
        if isinstance(value, types.MethodType):
            self.at(f"{label}, self", value.__self__)
            value = value.__func__
        if isinstance(value, functools.partial):
            self.at(label, value.func)
            for key, given in (*enumerate(value.args), *value.keywords.items()):
                self.at(f"{label}, argument {key}", given)
            return
        if id(value) in self._seen:
            return
        if not isinstance(value, _PLAIN):
            self._seen[id(value)] = value
        self._note(label, digest(value))
        if isinstance(value, type):
            self._class(label, value)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        else:
            for name, inner in _held(value):
                self.at(f"{label}{name}", inner)
        wrapped = getattr(value, "__wrapped__", None)  # of a decorator, which was noted; a cache has nothing else
        if callable(wrapped) and not isinstance(value, type):
            self.at(f"{label}, wrapped", wrapped)

    def _note(self, label: str, told: str) -> None:
        several, count = label, 1
        while self.found.get(several, told) != told:
            count += 1
            several = f"{label} ({count})"
        self.found[several] = told

    def _function(self, value: types.FunctionType) -> None:
        if not _own(value):
            return
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                self.at(name, cell.cell_contents)
            except ValueError:  # not filled yet
                continue
        for inner in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()):
            if not isinstance(inner, _PLAIN):
                self.at(f"{value.__name__}'s default", inner)
        for name in dict.fromkeys(_names(value.__code__)):
            if name in value.__globals__:
                self._global(name, value.__globals__[name], value.__code__)

    def _global(self, name: str, value: Any, code: types.CodeType) -> None:
        """Note a global that code reads; of a module of the user's what it reads from there."""
        if not isinstance(value, types.ModuleType):
            self.at(name, value)
        elif _is_own(getattr(value, "__file__", None)):
            for inner in dict.fromkeys(_names(code)):
                if inner in vars(value) and not isinstance(vars(value)[inner], types.ModuleType):
                    self.at(f"{name}.{inner}", vars(value)[inner])

    def _class(self, label: str, value: type) -> None:
        """Note the methods and constants of a class of the user's, and of those that it is made from."""
        if not _own(value):
            return
        for base in value.__mro__[1:]:
            if base is not object and _own(base):
                self.at(base.__qualname__, base)
        for name, inner in vars(value).items():
            if isinstance(inner, property):
                for way in filter(None, (inner.fget, inner.fset)):
                    self.at(f"{label}.{name}", way)
            elif isinstance(inner, functools.cached_property):
                self.at(f"{label}.{name}", inner.func)
            elif isinstance(inner, (types.FunctionType, staticmethod, classmethod)):
                self.at(f"{label}.{name}", getattr(inner, "__func__", inner))
            elif not name.startswith("__") and isinstance(inner, _CONSTANT):
                self.at(f"{label}.{name}", inner)


def _held(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(how it is reached, object) of functions, classes and partials that stand in a container or an object."""
    if depth >= DEPTH or isinstance(value, (*_PLAIN, np.ndarray, torch.Tensor, types.ModuleType)):
        return
    inside: Iterable[tuple[str, Any]] = ()
    if isinstance(value, Mapping):
        inside = ((f"[{key!r}]", inner) for key, inner in value.items())
    elif isinstance(value, (list, tuple)):
        inside = ((f"[{i}]", inner) for i, inner in enumerate(value))
    else:
        if _own(type(value)):
            yield f", {type(value).__qualname__}", type(value)
        inside = ((f".{name}", inner) for name, inner in dict(getattr(value, "__dict__", {})).items())
    for name, inner in islice(inside, MOST):
        if isinstance(inner, _CODE):
            yield name, inner
        else:
            for further, found in _held(inner, depth + 1):
                yield f"{name}{further}", found


def digest(value: Any) -> str:
    """A short digest of anything; equal things, equal digests, in any process."""
    return hashlib.sha256("\0".join(_told(value, 0)).encode()).hexdigest()[:16]


def _told(value: Any, depth: int) -> Iterator[str]:
    """``value`` as text, piece by piece."""
    kind = type(value)
    yield f"{kind.__module__}.{kind.__qualname__}"
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, Path)):
        yield repr(value)
    elif isinstance(value, (torch.Tensor, np.ndarray)):
        yield _array(value)
    elif isinstance(value, types.FunctionType):
        yield from _function(value, depth)
    elif isinstance(value, (type, types.BuiltinFunctionType, types.ModuleType)):
        yield f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    elif isinstance(value, types.CodeType):
        yield from _code(value, depth)
    elif depth >= DEPTH:
        yield "…"
    elif isinstance(fingerprint := getattr(value, "fingerprint", None), str):
        yield fingerprint
    elif isinstance(value, torch.nn.Module):
        yield from _told(value.state_dict(), depth + 1)
    elif isinstance(value, functools.partial):
        yield from _told((value.func, value.args, value.keywords), depth + 1)
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield repr(key)
            yield from _told(value[key], depth + 1)
    elif isinstance(value, (set, frozenset)):
        yield from sorted(map(repr, value))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _told(inner, depth + 1)
    elif dataclasses.is_dataclass(value):
        yield from _told({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, depth + 1)
    else:
        yield from _told(dict(getattr(value, "__dict__", {})), depth + 1)


def _function(value: types.FunctionType, depth: int) -> Iterator[str]:
    if not _own(value):
        yield f"{value.__module__}.{value.__qualname__}"
        return
    first = value.__code__.co_consts[:1]
    yield from _code(value.__code__, depth, skip=int(first in ((value.__doc__,), (None,))))
    yield from _told((value.__defaults__, value.__kwdefaults__), depth + 1)


def _code(code: types.CodeType, depth: int, skip: int = 0) -> Iterator[str]:
    """Bytecode without line numbers, comments and the first ``skip`` constants (the docstring)."""
    yield code.co_code.hex()
    yield " ".join((*code.co_names, "|", *code.co_varnames, "|", *code.co_freevars))
    for inner in code.co_consts[skip:]:
        yield from _told(inner, depth + 1)


def _array(value: Any) -> str:
    plain = value.detach().cpu() if isinstance(value, torch.Tensor) else value
    if isinstance(plain, torch.Tensor):
        plain = plain.float().numpy() if plain.dtype == torch.bfloat16 else plain.numpy()
    raw = repr(plain.tolist()).encode() if plain.dtype == object else np.ascontiguousarray(plain).tobytes()
    return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(raw).hexdigest()}"


def _names(code: types.CodeType) -> Iterator[str]:
    """Global names that code, or functions within it, may read."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names(inner)


def _own(value: Any) -> bool:
    """Whether a function or class is the user's."""
    if isinstance(value, types.FunctionType):
        return _is_own(value.__code__.co_filename)
    module = inspect.getmodule(value)
    return module is None or module.__name__ == "__main__" or _is_own(getattr(module, "__file__", None))


def _is_own(file: str | None) -> bool:
    if file is None or file.startswith("<frozen"):
        return False
    return not os.path.realpath(file).startswith(_INSTALLED)
