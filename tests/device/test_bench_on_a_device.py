"""The bench of a device and the acceptance script run there to their ends, and what the README says comes from them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("fixed pairs", "41x41", "Hessian product", "sinkhorn", "W2", "PGD", "uml")
SECTIONS = (
    "sinkhorn",
    "own module: if",
    "own module: loader",
    "own module: recurrent",
    "PGD",
    "little memory",
    "CUDA graphs",
)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def script() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_acceptance", ROOT / "scripts" / "gpu_acceptance.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # where there is no float64, derivatives are checked less sharply
@pytest.mark.parametrize("part", PARTS)
def test_a_path_of_the_bench_agrees_with_the_cpu(gpu: Any, here: None, part: str) -> None:
    from benchmarks import device

    found = device.rows(gpu.type, small=True, only=(part,))
    assert found and all(row["error"] < 1e-2 and row["device"] == gpu.type for row in found)


def test_the_acceptance_script_writes_one_json(
    gpu: Any, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accept, out = script(), tmp_path / "gpu.json"
    asked = ["gpu_acceptance.py", "--device", gpu.type, "--small", "--out", str(out), "--only", *SECTIONS]
    monkeypatch.setattr(sys, "argv", asked)
    assert accept.main() == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report == json.loads(capsys.readouterr().out) and report["small"]
    assert len(report["sections"]) == len(SECTIONS) and all(s["ok"] for s in report["sections"].values())


def test_the_row_of_the_readme_comes_from_a_whole_run_on_a_gpu(here: None, tmp_path: Path, gpu: Any) -> None:
    accept = script()
    section = {"ok": True, "agree": 1e-6, "seconds": 0.25, "goal": 1.0, "met": True}
    report = {
        "device": "A GPU", "small": False, "torch": "2", "date": "2026-01-01",
        "sections": {"a plane": section, "other": {"ok": False, "error": "no"}},
    }  # fmt: skip
    row = accept.row(report)
    assert "1 of 2 sections agree with the CPU on A GPU" in row and "| a plane | 0.25 s | 1 s |" in row
    missed = {**report, "sections": {"a plane": {**section, "met": False}, "not here": {"ok": True, "skipped": "why"}}}
    row_of_missed = accept.row(missed)
    assert "1 of 1 sections" in row_of_missed and "| 1 s (missed) |" in row_of_missed
    for empty in (None, {**report, "small": True}, {**report, "device": "cpu"}):
        assert accept.row(empty) == accept.NOT_YET
    accept.README, accept.RESULTS = tmp_path / "README.md", tmp_path / "gpu.json"
    accept.README.write_text(f"before\n{accept.START}\nold\n{accept.END}\nafter\n", encoding="utf-8")
    accept.write_readme()
    assert accept.NOT_YET in accept.README.read_text(encoding="utf-8")
    accept.RESULTS.write_text(json.dumps(report), encoding="utf-8")
    accept.write_readme()
    text = accept.README.read_text(encoding="utf-8")
    assert row in text and "old" not in text and text.startswith("before") and text.endswith("after\n")
