"""Pickles of NumPy arrays and plain containers, and nothing else.

A pickle is a program. Here every name that it asks for is looked up in a short list: what
rebuilds arrays, and builtin containers. Anything else is refused before it is called.
"""

from __future__ import annotations

import importlib
import io
import pickle
from pathlib import Path
from typing import Any

_ALLOWED = {
    **{(f"numpy.{core}.{module}", name): ("numpy", name) for core in ("core", "_core") for module, name in (
        ("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))},
    ("numpy", "ndarray"): ("numpy", "ndarray"),
    ("numpy", "dtype"): ("numpy", "dtype"),
    ("_codecs", "encode"): ("_codecs", "encode"),  # how protocol 2 writes bytes
    **{(m, n): ("builtins", n) for m in ("builtins", "__builtin__")
       for n in ("bytearray", "complex", "frozenset", "set")},
}  # fmt: skip


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, no array and no plain container")
        home, known = _ALLOWED[module, name]
        if home != "numpy":
            return getattr(importlib.import_module(home), known)
        import numpy as np

        if known in ("ndarray", "dtype"):
            return getattr(np, known)
        core = importlib.import_module("numpy._core" if hasattr(np, "_core") else "numpy.core")
        return getattr(core.numeric if known == "_frombuffer" else core.multiarray, known)


def load(path: Path) -> Any:
    """What a pickle of arrays and containers holds; of Python 2 as well.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a pickle that asks for anything else, or that is damaged.
    """
    raw = path.read_bytes()
    for encoding in ("ASCII", "latin1"):
        try:
            return _Reader(io.BytesIO(raw), encoding=encoding).load()
        except UnicodeDecodeError:
            continue
        except pickle.UnpicklingError as error:
            raise ValueError(f"{path}: refused or damaged pickle: {error}") from None
        except Exception as error:  # a damaged pickle may fail in any way
            raise ValueError(f"{path}: damaged pickle ({type(error).__name__}: {error})") from None
    raise ValueError(f"{path}: damaged pickle (its strings are neither ASCII nor latin1)")
