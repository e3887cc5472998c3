from __future__ import annotations

import pytest

from xmodal_lab import cli


def test_doctor_reports_versions_device_and_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    (tmp_path / "fsdd" / "recordings").mkdir(parents=True)
    monkeypatch.setenv("XMODAL_DATA", str(tmp_path))
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for expected in ("torch", "device", "chromium", "fsdd", "Everything that is needed is here."):
        assert expected in printed


def test_doctor_names_what_is_missing_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("XMODAL_DATA", raising=False)
    monkeypatch.setattr(cli, "PACKAGES", ("torch", "a-package-that-does-not-exist"))
    assert cli.main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "NO  a-package-that-does-not-exist" in printed
    assert "pip install a-package-that-does-not-exist" in printed
    assert "export XMODAL_DATA" in printed


def test_lab_opens_the_first_lesson(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command: called.append(command) or 0)
    assert cli.main(["lab", "--no-browser"]) == 0
    assert called[0][1:3] == ["-m", "jupyterlab"]
    assert called[0][3].endswith("00_start_here.ipynb")
    assert called[0][-1] == "--no-browser"


def test_lab_outside_a_clone_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "notebooks", lambda: None)
    assert cli.main(["lab"]) == 1
    assert "run this from a clone" in capsys.readouterr().err


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([])
    assert "command" in capsys.readouterr().err
