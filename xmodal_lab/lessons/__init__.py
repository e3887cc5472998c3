"""What the lessons stand on: a diagram of each method, its answer, kept sweeps, and checks of exercises.

    >>> from xmodal_lab import lessons
    >>> lessons.check("synergy.1", ...)
    · synergy.1 waits for your answer
    >>> lessons.check("synergy.1", 0.64)
    ✗ synergy.1: 0.64 is the weight of z_i; α is the weight of z_j, the other one: 1 − 0.64.
    >>> lessons.check("synergy.1", 0.36).right
    True

- ``diagrams``: ``method("dml")``, the picture at a lesson's head
- ``answers``: ``so(…)``, the answer at a lesson's end
- ``computed``: ``kept("cox.guided")``, sweeps that take longer than a lesson
- ``exercises``: how an answer is checked
- ``checks``: the checks, a file per lesson
"""

from __future__ import annotations

from .answers import Answer as Answer
from .answers import so as so
from .computed import kept as kept
from .diagrams import DIAGRAMS as DIAGRAMS
from .diagrams import method as method
from .exercises import Checked as Checked
from .exercises import check as check
from .exercises import known as known
