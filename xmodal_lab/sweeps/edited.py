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
from collections.abc import Iterator, Mapping
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
_LIBRARIES = (
    *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(sys.modules[__name__.partition(".")[0]].__file__ or "").parent),
)
_INSTALLED = tuple(os.path.realpath(p) + os.sep for p in _LIBRARIES if p)


def parts(experiment: Experiment) -> dict[str, str]:
    """Name of each part -> a digest of it: {"member": …, "helper": …, "RATE": …}."""
    found: dict[str, str] = {}
    for role in ROLES:
        if (function := getattr(experiment, role)) is not None:
            _look(role, function, found)
    return found


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Parts that are not what they were; those that a sweep itself changes ("") do not count."""
    return [k for k in {**then, **now} if then.get(k) != now.get(k) and "" not in (then.get(k), now.get(k))]


def _look(label: str, value: Any, found: dict[str, str]) -> None:
    """Note ``value`` and, if it is a function of the user's, whatever it reads."""
    if label in found:
        return
    value = inspect.unwrap(value) if callable(value) and not isinstance(value, type) else value
    if isinstance(value, functools.partial):
        _look(label, value.func, found)
        for key, given in (*enumerate(value.args), *value.keywords.items()):
            found[f"{label}, argument {key}"] = digest(given)
        return
    if isinstance(value, types.MethodType):
        found[f"{label}, self"] = digest(value.__self__)
        value = value.__func__
    found[label] = digest(value)
    if isinstance(value, type) and _own(value):
        for name, inner in vars(value).items():
            if isinstance(inner, (types.FunctionType, staticmethod, classmethod)):
                _look(f"{label}.{name}", getattr(inner, "__func__", inner), found)
    if not isinstance(value, types.FunctionType) or not _own(value):
        return
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        try:
            _look(name, cell.cell_contents, found)
        except ValueError:  # not filled yet
            continue
    for name in dict.fromkeys(_names(value.__code__)):
        if name in value.__globals__:
            _global(name, value.__globals__[name], value.__code__, found)


def _global(name: str, value: Any, code: types.CodeType, found: dict[str, str]) -> None:
    """Note a global that code reads; of a module of the user's what it reads from there."""
    if not isinstance(value, types.ModuleType):
        _look(name, value, found)
    elif _is_own(getattr(value, "__file__", None)):
        for inner in dict.fromkeys(_names(code)):
            if inner in vars(value) and not isinstance(vars(value)[inner], types.ModuleType):
                _look(f"{name}.{inner}", vars(value)[inner], found)


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
