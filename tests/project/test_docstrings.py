"""Every public name says what it takes and gives: each parameter is named in its docstring, and so are its own errors.

Public is what the package's map names: the rooms of ``xmodal_lab``, the papers, and ``xmodal_widgets``, each with the
names that it defines or passes on (``from ._x import f as f``).
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
import xmodal_widgets
from xmodal_widgets import explorers

import xmodal_lab as xl

PAPERS = [importlib.import_module(f"xmodal_lab.papers.{name}") for name in xl.published.PAPERS]
CHECKED = (ValueError, TypeError, FileNotFoundError, KeyError)


def public_names(module: ModuleType) -> Iterator[str]:
    """What a module's source defines or passes on under its own name."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom):
            yield from (a.name for a in node.names if a.asname == a.name)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name


ROOMS = [getattr(xl, name) for name in public_names(xl) if inspect.ismodule(getattr(xl, name))]


def with_references(module: ModuleType, text: str) -> str:
    """``text``, with the docstrings of the functions that it refers to for arguments or errors."""
    if not re.search(r"[Aa]rguments|Raises", text):
        return text
    named = (getattr(module, name, None) for name in re.findall(r":func:`[~.\w]*?(\w+)`", text))
    return " ".join([text, *(found.__doc__ or "" for found in named)])


def public() -> Iterator[tuple[str, Any, str]]:
    """Name, function or class, and the text in which its parameters stand: for a method, its class's too."""
    for module in (xl, *ROOMS, *PAPERS, xmodal_widgets, explorers):
        for name in public_names(module):
            found = getattr(module, name, None)
            if name.startswith("_") or not (inspect.isfunction(found) or inspect.isclass(found)):
                continue
            if inspect.isfunction(found):
                yield f"{module.__name__}.{name}", found, with_references(module, found.__doc__ or "")
                continue
            of_class = " ".join(base.__doc__ or "" for base in found.__mro__ if base.__module__.startswith("xmodal"))
            of_class = with_references(module, of_class)  # what a function makes has its arguments there
            yield f"{module.__name__}.{name}", found, of_class
            for member, value in vars(found).items():
                method = value.__func__ if isinstance(value, staticmethod | classmethod) else value
                overrides = issubclass(found, torch.nn.Module) and member == "forward"
                if inspect.isfunction(method) and not member.startswith("_") and not overrides:
                    yield f"{module.__name__}.{name}.{member}", method, f"{method.__doc__ or ''} {of_class}"


PUBLIC = {name: (found, text) for name, found, text in public()}


@pytest.mark.parametrize("name", PUBLIC)
def test_it_is_documented(name: str) -> None:
    found, text = PUBLIC[name]
    assert inspect.getdoc(found), "a docstring"
    if inspect.isclass(found) and issubclass(found, BaseException):
        return
    parameters = [p for p in inspect.signature(found).parameters if p not in ("self", "cls") and not p.startswith("_")]
    silent = [p for p in parameters if not re.search(rf"(?<!\w){re.escape(p)}(?!\w)", text)]
    assert not silent, f"not a word on {', '.join(silent)}"


FUNCTIONS = [name for name, (found, _) in PUBLIC.items() if inspect.isfunction(found)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_says_what_it_returns(name: str) -> None:
    """In a section of its own, where the arguments have one; else the first line is what is returned."""
    found, doc = PUBLIC[name][0], inspect.getdoc(PUBLIC[name][0]) or ""
    if "Args:" in doc and inspect.signature(found).return_annotation not in (None, "None"):
        assert re.search(r"^(Returns|Yields):$", doc, re.MULTILINE), "Returns: is missing"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_names_the_errors_that_it_raises_itself(name: str) -> None:
    found, text = PUBLIC[name]
    source = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(found))))
    raised = {
        node.exc.func.id
        for node in ast.walk(source)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    if raised & {error.__name__ for error in CHECKED}:
        assert re.search(r"Raises|[Ee]rrors as|as :func:", text), (
            f"raises {', '.join(sorted(raised))}, and does not say when"
        )
