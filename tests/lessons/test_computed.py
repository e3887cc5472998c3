"""Sweeps that lessons keep: what ships is what the code at hand computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xmodal_lab import lessons
from xmodal_lab.lessons import computed

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", computed.KEPT)
def test_what_ships_has_the_axes_and_settings_that_it_is_said_to_have_and_a_lesson_reads_it(name: str) -> None:
    asked, cube = computed.KEPT[name], lessons.kept(name)
    assert {axis: cube[axis].values.tolist() for axis in asked.axes} == {k: list(v) for k, v in asked.axes.items()}
    assert json.loads(cube.attrs["settings"]).items() >= asked.fixed.items()
    assert set(cube.data_vars) == set(asked.variables) and not bool(cube.to_dataarray().isnull().any())
    paper = name.split(".")[0]
    (lesson,) = (ROOT / "notebooks").glob(f"*_{paper}.ipynb")
    assert f'lessons.kept(\\"{name}\\")' in lesson.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.once
def test_one_seed_computed_anew_is_what_ships() -> None:
    """Two numbers of 600 rows: training on another processor moves a few of them."""
    only = {"algorithm": ["erm"], "entropy_weight": [0.1], "seed": [0, 1]}
    anew, shipped = lessons.kept("cox.beside", again=True, **only), lessons.kept("cox.beside").sel(only)
    assert float(abs(anew.accuracy - shipped.accuracy).max()) < 0.05


def test_what_is_kept_can_be_kept_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = lessons.kept("cox.uneven")
    monkeypatch.setattr(computed, "FOLDER", tmp_path)
    computed.keep("cox.uneven", cube)
    assert lessons.kept("cox.uneven").identical(cube)


def test_no_such_sweep_and_axes_that_make_no_sense_are_told() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'cox\.guided'"):
        lessons.kept("cox.guide")
    with pytest.raises(ValueError, match="axis"):
        lessons.kept("cox.guided", again=True, alpha=[1])
    with pytest.raises(ValueError, match="again=True"):
        lessons.kept("cox.guided", seed=[0])
    with pytest.raises(TypeError, match="again must be"):
        lessons.kept("cox.guided", again="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"cox\.guided"):
        computed.keep("x", lessons.kept("cox.uneven"))
