"""A few rounds of the long session: what is done with is let go of (``scripts/long_run.py`` goes on for minutes)."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "long_run.py"


@pytest.fixture(scope="module")
def session() -> ModuleType:
    spec = importlib.util.spec_from_file_location("long_run", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["long_run"] = module  # where its dataclass is looked up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_files_threads_and_tensors_do_not_grow(session: ModuleType) -> None:
    work = (session.a_fit, session.a_sweep, session.a_distance, partial(session.a_view, names=("uml_theory",)))
    _, before, after = session.rounds(lambda done: done == 3, work)
    assert after.files <= before.files and after.threads <= before.threads and after.tensors <= before.tensors


def test_growth_is_seen(session: ModuleType) -> None:
    flat = [session.Sample(500.0 + i % 2, 15, 11, 0) for i in range(20)]
    assert all(total <= session.SLACK[name] for name, (_, total) in session.growth(flat).items())
    leaking = [session.Sample(500.0 + 7 * i, 15 + i, 11, 39 * i) for i in range(20)]
    found = session.growth(leaking)
    assert found["megabytes"] == pytest.approx((7.0, 63.0)) and found["tensors"] == pytest.approx((39.0, 351.0))
    assert found["threads"] == pytest.approx((0.0, 0.0))
