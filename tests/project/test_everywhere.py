"""Tests in any order, and what the script for other processors reads and tells."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = next(p for p in HERE.parents if (p / "pyproject.toml").is_file())


CONFTEST = next(p for p in (HERE / "conftest.py", HERE.parent / "conftest.py") if p.is_file())
SEED_THAT_TURNS_TWO = 0


def _module(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def everywhere() -> Any:
    return _module("everywhere", ROOT / "scripts" / "everywhere.py")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pytest in a process of its own, without the plugins of other packages."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return [sys.executable, "-m", "pytest", "-q"]


def test_a_test_that_leans_on_another_is_found_in_some_order(tmp_path: Path, alone: list[str]) -> None:
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_leaning.py").write_text(
        "seen = []\ndef test_first():\n    seen.append(1)\ndef test_second():\n    assert seen\n"
    )
    command = [*alone, "-p", "no:cacheprovider", str(tmp_path)]
    more = ["--shuffle", str(SEED_THAT_TURNS_TWO)]
    done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout, done.stdout
    assert "test_second" in done.stdout


def test_shuffling_loses_no_test_and_keeps_files_together() -> None:
    shuffled = _module("conftest_alone", CONFTEST).shuffled
    items = [SimpleNamespace(path=path, name=name) for path in "abcd" for name in range(5)]
    for seed in range(3):
        found = shuffled(items, seed)
        assert found != items and sorted(map(str, found)) == sorted(map(str, items))
        assert len([1 for one, two in pairwise(found) if one.path != two.path]) == 3, "files stay together"
        assert [i.name for i in found] == [i.name for i in shuffled(items, seed)]
    two = [SimpleNamespace(path="a", name=name) for name in range(2)]
    assert shuffled(two, SEED_THAT_TURNS_TWO) == two[::-1]


def test_files_with_slow_tests_come_first_and_stay_together() -> None:
    longest_first = _module("conftest_alone", CONFTEST).longest_first

    def item(path: str, name: int) -> SimpleNamespace:
        return SimpleNamespace(path=path, name=name, get_closest_marker=lambda kind: (path, name) == ("b", 1))

    found = longest_first([item(path, name) for path in "abc" for name in range(3)])
    assert [(one.path, one.name) for one in found] == [(path, name) for path in "bac" for name in range(3)]


def test_what_differs_is_told(everywhere: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="a" name="x"/><testcase classname="a" name="y"><failure/></testcase>'
        '<testcase classname="a" name="z"><skipped/></testcase></testsuite></testsuites>'
    )
    odd = everywhere.read(report)
    assert odd == {"a::x": "passed", "a::y": "failed", "a::z": "skipped"}
    usual = {"a::x": "passed", "a::y": "passed", "a::z": "skipped"}
    found = {("fast", "as it is"): usual, ("fast", "zen"): odd, ("fast", "avx2"): usual}
    assert everywhere.differing(found) == ["fast: a::y: passed; failed under zen"]
    assert everywhere.tell(found) == 1
    assert "1 passed, 1 failed, 1 skipped" in capsys.readouterr().out
    assert everywhere.tell({("fast", "as it is"): usual}) == 0
    assert everywhere.differing({("fast", "as it is"): {"a::x": "failed"}}) == ["fast: a::x: failed"]


def test_settings_name_what_the_issue_of_rounding_needs(everywhere: Any) -> None:
    asked = {(k, v) for s in everywhere.SETTINGS.values() for k, v in s.environment.items()}
    for capability in ("default", "avx2", "avx512"):
        assert ("ATEN_CPU_CAPABILITY", capability) in asked
    for core in ("Haswell", "SkylakeX", "Zen", "Prescott"):
        assert ("OPENBLAS_CORETYPE", core) in asked
    assert ("MKL_CBWR", "COMPATIBLE") in asked
    assert {s.threads for s in everywhere.SETTINGS.values()} == {1, 2}
    assert any(s.shuffle is not None for s in everywhere.SETTINGS.values())


def test_four_machines_stand_for_each_knob_alone(everywhere: Any) -> None:
    together = {(k, v) for s in everywhere.MACHINES.values() for k, v in s.environment.items()}
    for name, setting in everywhere.SINGLY.items():
        assert set(setting.environment.items()) <= together, name
    assert {s.threads for s in everywhere.MACHINES.values()} == {1, 2}
    assert any(s.shuffle is not None for s in everywhere.MACHINES.values())


def test_what_is_left_out_of_a_second_run_exists() -> None:
    once = _module("conftest_alone", CONFTEST).ONCE
    files = list(CONFTEST.parent.rglob("test_*.py"))
    known = {name for path in files for name in (path.stem, path.parent.name)}
    assert once <= known, once - known
    numbers = {"instruments", "papers", "training", "losses", "models"}  # where another rounding may show
    assert not once & numbers
    assert len([path for path in files if once & {path.stem, path.parent.name}]) < len(files) / 2


def test_only_what_failed_runs_once_more(tmp_path: Path, alone: list[str]) -> None:
    remembering = _module("run_all", ROOT / "tests" / "run_all.py").REMEMBERING
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    (tmp_path / "test_two.py").write_text("def test_red():\n    assert 0\ndef test_green():\n    pass\n")
    command = [*alone, *remembering, "test_two.py"]
    said = [
        subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
        for more in ([], ["--last-failed", "--last-failed-no-failures=none"])
    ]
    assert "1 failed, 1 passed" in said[0] and "1 failed" in said[1] and "passed" not in said[1]


def test_the_fast_tier_is_the_first_one_without_slow_tests() -> None:
    tiers = _module("run_all", ROOT / "tests" / "run_all.py").tiers
    (fast,), every = tiers(fast=True, browser=False).values(), tiers(fast=False, browser=True)
    assert fast == [*every["unit and property"], "-m", "not slow"]
    assert not any("-m" in arguments for arguments in every.values()), "make test leaves nothing out"
