"""What `make` installs, and when: the lessons first, the rest when it is first asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import set_up  # noqa: E402


def steps(target: str, folder: Path) -> list[str]:
    """The parts that a target would install into an environment that is not there."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    said = subprocess.run(
        ["make", "-n", f"VENV={folder}", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [line.split()[-1] for line in said.splitlines() if "scripts/set_up.py" in line]


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("lab", ["lab"]),
        ("app", ["lab", "app"]),
        ("test", ["lab", "all"]),
        ("check", ["lab", "all"]),
        ("claims", ["lab"]),
        ("dask", ["lab", "distributed"]),
    ],
)
def test_each_target_installs_what_it_needs(target: str, parts: list[str], tmp_path) -> None:
    assert steps(target, tmp_path / "venv") == parts


def test_nothing_is_installed_twice(tmp_path) -> None:
    for stamp in (".lab", ".installed"):
        (tmp_path / stamp).touch()
    assert steps("lab", tmp_path) == [] == steps("test", tmp_path)


def test_progress_counts_packages_and_bytes(tmp_path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in ("one-1.0.dist-info", "two-2.0.dist-info", "one"):
        (packages / name).mkdir(parents=True)
    (packages / "one" / "data.bin").write_bytes(bytes(2_000_000))
    assert set_up.progress(tmp_path) == (2, 0.002)
    assert set_up.line(tmp_path, "lab", 61.4).startswith("  2 of about ")
    assert set_up.progress(tmp_path / "none") == (0, 0.0)


def test_the_parts_are_extras_of_the_package() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = {name for text in set_up.EXTRAS.values() for name in text.strip("[]").split(",") if name}
    assert asked <= set(extras) and set(set_up.EXTRAS) == set(set_up.SIZES) == set(set_up.WORDS)
