"""Each lesson has its diagram."""

from __future__ import annotations

import pytest

from xmodal_lab import lessons
from xmodal_lab.plots import Diagram
from xmodal_lab.sweeps.experiment import PAPERS

NAMES = (*PAPERS, *lessons.DIAGRAMS)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_learns_and_where_the_loss_acts(name: str) -> None:
    shown = lessons.method(name)
    assert isinstance(shown, Diagram) and shown.note
    at = [box.at for box in shown.boxes]
    assert len(set(at)) == len(at), "two boxes in one place"
    assert all(len(line) <= 24 for box in shown.boxes for line in box.text.splitlines()), "a line wider than its box"
    linked = {key for arrow in shown.arrows for key in (arrow.start, arrow.end)}
    assert linked == {box.key for box in shown.boxes}, "a box that nothing reaches"
    if name in PAPERS:
        assert {"trained", "loss"} <= {box.role for box in shown.boxes}


def test_an_unknown_one_is_told() -> None:
    with pytest.raises(ValueError, match="Did you mean 'dml'"):
        lessons.method("dlm")
