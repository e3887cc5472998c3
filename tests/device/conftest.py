"""Tests on an accelerator that is made of CPU: in a process of their own, because it changes torch for all of it.

    XMODAL_PRETEND_DEVICE=folder/of/pretend_device PRETEND_DEVICE=cuda pytest tests/device

It needs a C++ compiler and, once, a few minutes for it. Without the variable, without a compiler, or beside other tests
they are skipped. ``PRETEND_DEVICE`` is "cuda" (when not given), "mps" or "privateuseone".
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
FOLDER = os.environ.get("XMODAL_PRETEND_DEVICE", "")


def _why_not(config: pytest.Config) -> str:
    """Why there is no pretend device in this run; empty if there can be one."""
    if not FOLDER:
        return "no pretend device: XMODAL_PRETEND_DEVICE names no folder"
    if not (Path(FOLDER).expanduser() / "__init__.py").is_file():
        return f"no pretend device in XMODAL_PRETEND_DEVICE={FOLDER}"
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return "no pretend device: no C++ compiler (CXX, g++)"
    asked = [Path(str(arg).split("::")[0]).resolve() for arg in config.args]
    if not all(path == HERE or HERE in path.parents for path in asked):
        return "the pretend device changes torch for the whole process: run pytest tests/device by itself"
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    why = _why_not(config)
    for item in items:
        if why and HERE in Path(str(item.path)).parents:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def gpu() -> Any:
    """The control of the pretend device: ``gpu.type``, ``gpu.limited(bytes)``, ``gpu.counting()``."""
    folder = Path(FOLDER).expanduser().resolve()
    sys.path.insert(0, str(folder.parent))
    import importlib

    return importlib.import_module(folder.name).install(os.environ.get("PRETEND_DEVICE", "cuda"))
