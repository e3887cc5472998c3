"""The house's own rules: importing is cheap, names exist, nothing tells of the machine it was made on."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import xmodal_lab as xl

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("pandas", "xarray", "matplotlib", "sklearn", "transformers", "ot", "umap", "scipy", "seaborn", "zarr")


def test_importing_loads_nothing_heavy() -> None:
    """Beyond what PyTorch loads itself."""
    there = f"print([m for m in {HEAVY!r} if m in sys.modules])"
    code = f"import sys, torch; {there}; import xmodal_lab; {there}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert before == after


def test_public_names_exist_and_are_documented() -> None:
    for name in ("load", "Samples", "Dataset", "LateFusion", "fit", "loss_on", "Loss", "Pairing", "Run"):
        assert getattr(xl, name).__doc__, name
    for room in ("datasets", "landscape", "curvature", "flatness", "transport", "metrics", "plots", "pairing"):
        assert getattr(xl, room).__doc__, room


def test_no_machine_paths_or_hosts_in_the_project() -> None:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    forbidden = ("/" + "work/", "/ro" + "ot/", "/ho" + "me/")
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".txt", ".ipynb", ".js", ".json", ".yml") and path.is_file():
            text = path.read_text()
            assert not any(f in text for f in forbidden), name


@pytest.mark.parametrize(("room", "name"), [
    ("transport", "w2"), ("landscape", "plane"), ("curvature", "density"), ("metrics", "mmd"), ("robustness", "pgd"),
    ("information", "fisher"), ("sweeps", "sweep"), ("claims", "table"), ("training", "fit"),
])  # fmt: skip
def test_help_says_the_room_and_not_its_file(room: str, name: str) -> None:
    face = getattr(xl, room)
    shown = getattr(face, name)
    assert shown.__module__ == face.__name__ and pickle.loads(pickle.dumps(shown)) is shown
    assert inspect.getsource(shown)


def test_the_source_of_a_class_that_a_face_shows_is_found() -> None:
    for room in (xl.curvature, xl.transport, xl.robustness, xl.sweeps, xl.losses, xl.training):
        for shown in vars(room).values():
            if inspect.isclass(shown) and shown.__module__.startswith("xmodal_lab"):
                assert f"class {shown.__name__}" in inspect.getsource(shown)


def test_the_sharpest_directions_stand_beside_the_drawn_ones() -> None:
    assert xl.landscape.eigenvectors is xl.curvature.eigenvectors
