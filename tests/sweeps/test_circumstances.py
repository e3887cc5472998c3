"""By which code and command a cube was made: told where it is known, never in the way, nobody's paths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from toy_experiments import CHEAP

import xmodal_lab as xl
from xmodal_lab.sweeps import circumstances


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@x"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "mine.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_cube_says_the_users_commit_and_whether_something_was_changed(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    cube = xl.sweep(CHEAP, x=[0.0], progress=False)
    assert cube.attrs["user_commit"] == head != cube.attrs["commit"]
    (repository / "new.txt").write_text("not tracked")
    assert circumstances.user_commit() == head
    (repository / "mine.py").write_text("2\n")
    assert circumstances.user_commit() == f"{head}-dirty"
    git(repository, "tag", "v1")  # a tag is no commit
    assert circumstances.user_commit().startswith(head)


def test_a_store_keeps_them(repository: Path) -> None:
    xl.sweep(CHEAP, x=[0.0], store="s.zarr", progress=False)
    told = xr.open_zarr("s.zarr").attrs
    assert told["user_commit"] == git(repository, "rev-parse", "HEAD") and told["command"]


def test_the_repository_of_the_script_goes_before_the_working_directory(repository: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    code = "from xmodal_lab.sweeps.circumstances import command, user_commit\nprint(user_commit())\nprint(command())"
    (repository / "mine.py").write_text(code)
    script = repository / "mine.py"
    done = subprocess.run([sys.executable, str(script), "--lr", "3"], cwd=elsewhere, capture_output=True, text=True)
    commit, command = done.stdout.splitlines()
    assert commit == git(repository, "rev-parse", "HEAD") + "-dirty"
    assert command == f"{Path(sys.executable).name} {script} --lr 3"


@pytest.mark.parametrize("way", ["no repository", "no git", "slow git"])
def test_what_is_not_known_is_empty_text(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if way == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    if way == "slow git":
        monkeypatch.setattr(circumstances, "SECONDS", 0.0)
    assert circumstances.user_commit() == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["/usr/bin/python3", "/where/she/lives/run.py", "--out=/where/she/lives/runs"],
            "python3 ~/run.py --out=~/runs",
        ),
        (
            ["python", "a.py", "--api-key", "abc", "--token=xyz", "--keys", "3"],
            "python a.py --api-key … --token=… --keys 3",
        ),
        (["python", "-m", "ipykernel_launcher", "-f", "/run/k.json"], "notebook"),
        ([sys.prefix + "/bin/python", sys.prefix + "/bin/xmodal", "sweep", "dml"], "python xmodal sweep dml"),
    ],
)
def test_the_command_as_given(given: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/where/she/lives")
    monkeypatch.setattr(sys, "orig_argv", given)
    assert circumstances.command() == told
