"""The answer at a lesson's end."""

from __future__ import annotations

import pytest

from xmodal_lab import lessons


def test_lines_in_a_terminal_and_paragraphs_in_a_notebook() -> None:
    said = lessons.so("Does <b> help?", "By 1 point.")
    assert str(said) == repr(said) == "Does <b> help?\nBy 1 point."
    assert said._repr_html_().count("<p ") == 2 and "&lt;b&gt;" in said._repr_html_()


def test_no_sentence_is_told() -> None:
    with pytest.raises(ValueError, match="at least one sentence"):
        lessons.so()
    with pytest.raises(ValueError, match="is empty"):
        lessons.so("It does.", " ")
    with pytest.raises(TypeError, match="sentence"):
        lessons.so(3)  # type: ignore[arg-type]
