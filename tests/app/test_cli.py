from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import children
import pytest

from xmodal_lab.app import main as cli


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
    asked = ["torch>=2.6", "a-package-that-does-not-exist>=1", "numpy>=999", 'nobody-has-this; extra == "test"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: asked)
    assert cli.main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "NO  a-package-that-does-not-exist" in printed
    assert "pip install 'a-package-that-does-not-exist>=1'" in printed
    assert re.search(r"NO  numpy .*, needed is >=999 +→ pip install 'numpy>=999'", printed)
    assert re.search(r" -  nobody-has-this .*not installed +→ pip install 'xmodal-lab\[test\]'", printed)
    assert "export XMODAL_DATA" in printed


class Server:
    """In place of JupyterLab: it hears Ctrl-C once, and then ends."""

    started: ClassVar[list[list[str]]] = []

    def __init__(self, command: list[str], env: dict[str, str] | None = None) -> None:
        self.started.append(command)
        self.waits = [KeyboardInterrupt, 0]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self) -> int:
        answer = self.waits.pop(0)
        if isinstance(answer, int):
            return answer
        raise answer


def test_lab_opens_the_first_lesson_and_waits_for_the_server_after_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("subprocess.Popen", Server)
    assert cli.main(["lab", "--no-browser"]) == 0
    command = Server.started.pop()
    assert command[1:3] == ["-m", "jupyterlab"]
    assert command[3].endswith("00_start_here.ipynb")
    assert command[-1] == "--no-browser"
    assert "00_start_here.ipynb; Ctrl-C twice ends it." in capsys.readouterr().out


def test_lab_opens_a_notebook_that_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("subprocess.Popen", Server)
    mine = tmp_path / "mine.ipynb"
    assert cli.main(["lab", "--no-browser", str(mine)]) == 1
    assert f"there is no {mine}" in capsys.readouterr().err
    mine.write_text("{}")
    assert cli.main(["lab", "--no-browser", str(mine)]) == 0
    assert [a for a in Server.started.pop() if a.endswith(".ipynb")] == [str(mine)]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_lab_starts_without_a_warning_and_lets_the_server_end_itself(tmp_path: Path) -> None:
    import pty

    places = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "xmodal_lab", "lab", "--no-browser", "--ip=127.0.0.1", "--port=0"]
    keyboard, terminal = pty.openpty()  # Jupyter asks only where there is one
    lab = subprocess.Popen(
        command, env={**os.environ, **places}, text=True, start_new_session=True,
        stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert lab.stdout
    try:
        printed = ""
        while "/lab?token=" not in printed:
            line = lab.stdout.readline()
            assert line, f"ended early: {printed}"
            printed += line
        os.killpg(lab.pid, signal.SIGINT)
        os.write(keyboard, b"y\n")
        said, _ = lab.communicate(timeout=60)
    finally:
        if lab.poll() is None:
            os.killpg(lab.pid, signal.SIGKILL)
        os.close(keyboard)
        os.close(terminal)
    assert "Warning" not in printed + said
    assert "Shutdown confirmed" in said  # it was not killed while it asked
    assert lab.returncode == 0


def test_lab_outside_a_clone_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("xmodal_lab.app.lab.notebooks", lambda: None)
    assert cli.main(["lab"]) == 1
    assert "run this from a clone" in capsys.readouterr().err


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([])
    assert "command" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["sweep dml --epochs 1 --quiet", "claims dml.T3 --run"])
def test_a_store_that_cannot_be_made_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str) -> None:
    (tmp_path / "file").write_text("no folder")
    assert cli.main([*line.split(), "--store", str(tmp_path / "file" / "store")]) != 0
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(f"xmodal {line.split()[0]}: error:")  # a progress bar may stand before
    assert str(tmp_path / "file") in said
    assert "Traceback" not in said


def test_write_without_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", "--write"]) == 2
    assert "--write keeps what --run measured" in capsys.readouterr().err


# What the interpreter does last, and where it complains once more, is to write out what nobody has read.
LEAVES = """
import os, sys
os.dup2(os.open("/dev/full", os.O_WRONLY) if sys.argv[1] == "full" else os.pipe()[1], 1)
os.closerange(3, 100)
sys.stdout = open(1, "w")  # held back as usual, whatever PYTHONUNBUFFERED says
from xmodal_lab.app.main import main
status = main(sys.argv[2:])
sys.stdout.flush()
sys.exit(status)
"""


@pytest.mark.parametrize("line", ["claims", "cache ls"])  # more than Python holds back, and less
@pytest.mark.parametrize(
    ("output", "status", "told"), [("ended", 141, ""), ("full", 1, "xmodal: error: .*No space left")]
)
def test_an_output_that_ends_or_is_full_is_no_traceback(output: str, status: int, told: str, line: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs Linux")
    done = children.python(LEAVES, output, *line.split())
    assert done.returncode == status and not done.stdout
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert re.search(told, done.stderr)


def test_a_sweep_says_why_a_variable_is_nan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = ["sweep", "dml", "--modalities", "image,image+audio", "--epochs", "1", "--width", "4", "--latents", "true"]
    assert cli.main([*line, "--store", str(tmp_path / "s.zarr")]) == 0
    assert "w2_squared is NaN at modalities image: a gap is between two modalities" in capsys.readouterr().err


def test_every_setting_of_a_known_experiment_has_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    from xmodal_lab.app.words import WORDS, word
    from xmodal_lab.sweeps import experiment as experiments

    known = [experiments.get(name) for name in experiments.names()]
    silent = [f"{e.name}.{name}" for e in known for name in e.defaults if not word(e.name, name)]
    assert not silent
    meant = {f"{e.name}.{name}" for e in known for name in e.defaults} | {n for e in known for n in e.defaults}
    assert set(WORDS) - meant <= {"a_connect"}, "a word for a setting that there is not"
    with pytest.raises(SystemExit):
        cli.main(["sweep", "dml", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "share of pairs drawn anew, or weight of the paper's loss (1.0)" in shown


def test_a_claim_that_was_not_measured_says_why_on_the_screen() -> None:
    import pandas as pd

    from xmodal_lab.app.claims import as_text

    row = {"id": "a.B", "verdict": "not measured", "measured": "", "source": "Tab 1", "printed": "", "claim": "It holds.",
           "note": "ValueError: no such thing.", "needed": float("nan")}  # fmt: skip
    rows = pd.DataFrame([row, {**row, "id": "a.C", "verdict": "holds", "note": "long"}])
    assert "no such thing" in as_text(rows) and "long" not in as_text(rows)


def test_jupyterlab_reads_that_nobody_wants_its_news(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With no news address alone it still asks, in a toast over the first lesson."""
    settings = pytest.importorskip("jupyterlab_server.settings_utils")
    from xmodal_lab.app.lab import with_defaults

    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path / "mine"))
    found = with_defaults(tmp_path / "folder")["JUPYTER_CONFIG_PATH"]
    assert found.split(os.pathsep) == [str(tmp_path / "folder"), str(tmp_path / "mine")]
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", found)
    overrides, error = settings._get_overrides(str(tmp_path))
    assert not error and overrides["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
