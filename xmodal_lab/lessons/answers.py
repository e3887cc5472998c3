"""The answer at a lesson's end: three or four sentences whose numbers the cell has computed."""

from __future__ import annotations

import html
from dataclasses import dataclass

from ..utils import checks


@dataclass(frozen=True)
class Answer:
    """What a lesson found.

    Attributes:
        sentences: in the order in which they are read.
    """

    sentences: tuple[str, ...]

    def __str__(self) -> str:
        """One sentence a line."""
        return "\n".join(self.sentences)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # A stream breaks long lines within words; paragraphs break between them.
        style = "border-left:4px solid #0173b2;padding:.2em 1em;margin:.2em 0;max-width:62em"
        paragraphs = "".join(f'<p style="margin:.5em 0">{html.escape(said)}</p>' for said in self.sentences)
        return f'<div style="{style}">{paragraphs}</div>'


def so(*sentences: str) -> Answer:
    """The answer to the question in a lesson's title.

    Args:
        sentences: each ends with a full stop; their numbers come out of the lesson's own cells.

    Returns:
        What a notebook shows as paragraphs, and a terminal as lines.

    Raises:
        TypeError: a sentence that is no string.
        ValueError: no sentence, or an empty one.

    Example:
        >>> from xmodal_lab import lessons
        >>> lessons.so("Does it?", f"It gains {1.2:+.1f} points.")
        Does it?
        It gains +1.2 points.
    """
    if not sentences:
        raise ValueError("an answer has at least one sentence, got none.")
    for said in sentences:
        if not checks.instance("sentence", said, str).strip():
            raise ValueError("a sentence of the answer is empty.")
    return Answer(sentences)
